"""From the declared options to the parameters and the help of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cl_analyze.cli.commands import Command
from cl_analyze.cli.lists import ListCommand
from cl_analyze.options import DECLARING
from cl_analyze.options.declaration import OUTPUT, PANELS, Option, options_for
from cl_analyze.options.kinds import Flag


def function_of(command: Command) -> Callable[..., None]:
    """A function that Typer takes for the command: a parameter for each of its options."""

    def run(**given: Any) -> None:
        command.run(given)

    parameters = [_files(command)]
    parameters += [_parameter(each) for each in options_for(command.name, DECLARING)]
    run.__name__, run.__doc__ = command.name, command.about
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)


def _files(command: Command) -> inspect.Parameter:
    metavar, text = command.files
    argument = typer.Argument(metavar=metavar, help=text)
    if command.needs_files:
        return _keyword("embeddings", Annotated[list[str], argument], inspect.Parameter.empty)
    return _keyword("embeddings", Annotated[list[str] | None, argument], None)


def _parameter(each: Option) -> inspect.Parameter:
    declared = typer.Option(*each.flags, metavar=each.kind.metavar or None, help=each.help)
    if isinstance(each.kind, Flag):
        return _keyword(each.name, Annotated[bool, declared], False)
    return _keyword(each.name, Annotated[each.kind.type | None, declared], None)


class PanelCommand(ListCommand):
    """A command whose help groups its options into panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each panel, an option a line where it fits."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        for param in self.params:
            if param.param_type_name == "argument":
                panels[PANELS[0]].append((param.metavar or "", getattr(param, "help", "") or ""))
        for each in options_for(self.name or "", DECLARING):
            default = f"  [default: {each.default_text}]" if each.default_text else ""
            written = f"{', '.join(each.flags)} {_values(each)}".strip()
            panels[each.panel].append((written, each.help + default))
        panels[OUTPUT].append(("-h, --help", "Show this message and exit"))
        for panel, lines in panels.items():
            if lines:
                with formatter.section(panel):
                    formatter.write_dl(lines, col_max=24)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] EMB...`."""
        files = [p.metavar or "" for p in self.params if p.param_type_name == "argument"]
        return ["[OPTIONS]", *files]


def _values(each: Option) -> str:
    words = getattr(each.kind, "words", ())
    return each.kind.metavar or "|".join(words)
