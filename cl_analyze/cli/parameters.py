"""Parameters and help of a command, derived from the declared options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cl_analyze.cli.commands import ARGUMENTS, COMMANDS, FROM_FILE, Command
from cl_analyze.cli.defaults import from_project
from cl_analyze.cli.help import HELP, HELP_ALL, command_help, root_help
from cl_analyze.cli.lists import IS_WHOLE, ListCommand
from cl_analyze.compatible import add_note
from cl_analyze.errors import AnalysisError, ConfigError
from cl_analyze.options import DECLARING
from cl_analyze.options.declaration import Option, options_for
from cl_analyze.options.kinds import Flag
from cl_analyze.quoting import nearest, printable

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
    run.__name__, run.__doc__ = command.name, command.text
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
    """A command whose help comes from the declarations."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help: the usual options, or with `--help-all` all of them."""
        command = next(each for each in COMMANDS if each.name == self.name)
        is_whole = ctx.meta.get(IS_WHOLE, False)
        options = options_for(command.name, DECLARING)
        formatter.write(command_help(command, options, formatter.width, is_whole))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] EMB...`."""
        files = [p.metavar or "" for p in self.params if p.param_type_name == "argument"]
        return ["[OPTIONS]", *files]


class Program(TyperGroup):
    """The program: its help lists the commands by what people want."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note which help is asked for, then let Typer parse the tokens."""
        ctx.meta[IS_WHOLE] = HELP_ALL in args[:1]
        known = ["-h", HELP, HELP_ALL, *(name for param in self.params for name in param.opts)]
        first = printable(args[0].partition("=")[0]) if args else ""
        if first.startswith("-") and first not in known and not ctx.resilient_parsing:
            suggestion = nearest(first, known)
            of_commands = "; options of a command stand behind its name"
            ctx.fail(f"unknown option {first}{suggestion or of_commands}")
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`COMMAND [OPTIONS] FILE...`."""
        return ["COMMAND", "[OPTIONS]", "FILE..."]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the program, and with `--help-all` that of every command."""
        parts = [root_help(formatter.width)]
        if ctx.meta.get(IS_WHOLE):
            parts += [
                command_help(command, options_for(command.name, DECLARING), formatter.width, True)
                for command in COMMANDS
            ]
        formatter.write("\n\n".join(parts))
