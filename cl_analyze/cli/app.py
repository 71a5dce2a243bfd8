"""The Typer application.  The import loads only Typer and the standard library."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cl_analyze._version import __version__
from cl_analyze.cli.commands import COMMANDS
from cl_analyze.cli.help import ABOUT, HELP, HELP_ALL
from cl_analyze.cli.parameters import PanelCommand, Program, function_of
from cl_analyze.pairs import kernels

app = typer.Typer(
    name="cl-analyze",
    cls=Program,
    help=ABOUT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", HELP, HELP_ALL],
        "max_content_width": sys.maxsize,  # the width of the terminal
    },
)


def _version(is_requested: bool) -> None:
    if is_requested:
        sys.stdout.write(f"cl-analyze {__version__}\nkernels: {kernels.described()}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


for command in COMMANDS:
    app.command(command.name, cls=PanelCommand)(function_of(command))
