"""Parameters and help of a command, derived from the declared options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cl_analyze.cli.commands import ARGUMENTS, FROM_FILE, Command
from cl_analyze.cli.defaults import from_project
from cl_analyze.cli.lists import ListCommand
from cl_analyze.compatible import add_note
from cl_analyze.errors import AnalysisError, ConfigError
from cl_analyze.options import DECLARING
from cl_analyze.options.declaration import OUTPUT, PANELS, Option, options_for
from cl_analyze.options.kinds import Flag

DEFAULTS_FILE = "defaults_file"
"""Name of the option that chooses the file."""


def function_of(command: Command) -> Callable[..., None]:
    """The function that Typer runs for a command, with a parameter for each option."""

    def run(context: typer.Context, **values: Any) -> None:
        _run(command, context, values)

    parameters = [
        inspect.Parameter("context", _KEYWORD, annotation=typer.Context),
        _files(command),
    ]
    parameters += [_parameter(declared) for declared in options_for(command.name, DECLARING)]
    run.__name__, run.__doc__ = command.name, command.about
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _run(command: Command, context: typer.Context, values: dict[str, Any]) -> None:
    """Run a command with the defaults of the project's file for what was not typed."""
    typed = [name for name in values if _is_typed(context, name)]
    try:
        from_file = from_project(command.name, values[DEFAULTS_FILE], typed)
    except ConfigError as error:
        command.refuse(values, error)
        raise
    arguments: list[str] = [] if context.obj is None else context.obj
    if from_file is None:
        command.run({**values, ARGUMENTS: arguments, FROM_FILE: None})
        return
    arguments[1:1] = from_file.tokens  # behind the command, before a `--` that ends the options
    try:
        command.run({**values, **from_file.values, ARGUMENTS: arguments, FROM_FILE: from_file})
    except AnalysisError as error:
        note = from_file.note(str(error))
        if note:
            add_note(error, note)
        raise


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether a parameter was typed; a default of the parser has another source."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, _KEYWORD, annotation=annotation, default=default)


def _files(command: Command) -> inspect.Parameter:
    metavar, text = command.files
    argument = typer.Argument(metavar=metavar, help=text)
    if command.needs_files:
        return _keyword("embeddings", Annotated[list[str], argument], inspect.Parameter.empty)
    return _keyword("embeddings", Annotated[list[str] | None, argument], None)


def _parameter(option: Option) -> inspect.Parameter:
    flags = option.flags
    if isinstance(option.kind, Flag):
        flags = (*flags[:-1], f"{option.flag}/{option.off_flag}")
    typer_option = typer.Option(*flags, metavar=option.kind.metavar or None, help=option.help)
    if isinstance(option.kind, Flag):
        return _keyword(option.name, Annotated[bool, typer_option], False)
    return _keyword(option.name, Annotated[option.kind.type | None, typer_option], None)


class PanelCommand(ListCommand):
    """A command whose help groups its options into panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel, with one line for an option if it fits."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for param in self.params:
            if param.param_type_name == "argument":
                panels[PANELS[0]].append((param.metavar or "", getattr(param, "help", "") or ""))
        for option in options_for(self.name or "", DECLARING):
            default = f"  [default: {option.default_text}]" if option.default_text else ""
            spelling = f"{', '.join(option.flags)} {_values(option)}".strip()
            panels[option.panel].append((spelling, option.help + default))
        panels[OUTPUT].append(("-h, --help", "Show this message and exit"))
        for panel, lines in panels.items():
            if lines:
                with formatter.section(panel):
                    formatter.write_dl(lines, col_max=24)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] EMB...`."""
        files = [p.metavar or "" for p in self.params if p.param_type_name == "argument"]
        return ["[OPTIONS]", *files]


def _values(option: Option) -> str:
    words = getattr(option.kind, "words", ())
    return option.kind.metavar or "|".join(words)
