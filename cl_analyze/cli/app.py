"""The commands.  Importing this loads Typer and the standard library alone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cl_analyze._version import __version__
from cl_analyze.cli import (
    check,
    compare,
    inspect,
    losses,
    penalty,
    quality,
    report,
    similarity,
    tolerance,
    uniformity,
)
from cl_analyze.cli.lists import ListCommand

app = typer.Typer(
    name="cl-analyze",
    help=(
        "Measure saved contrastive embeddings: uniformity, tolerance, nearest negatives, and what "
        "a temperature does to them.\n\n"
        "Every number comes with an error bar and the name of its definition. Results go to stdout "
        "(--json: one document), tables and figures to --out, everything else to stderr.\n\n"
        "Exit codes: 0 done, 1 a check failed, 2 could not judge (usage, unreadable or invalid "
        "data, internal error), 130/143 interrupted."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"cl-analyze {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command(cls=ListCommand)(uniformity.uniformity)
app.command(cls=ListCommand)(tolerance.tolerance)
app.command(cls=ListCommand)(similarity.similarity)
app.command(cls=ListCommand)(penalty.penalty)
app.command(cls=ListCommand)(losses.losses)
app.command(cls=ListCommand)(quality.quality)
app.command(cls=ListCommand)(compare.compare)
app.command(cls=ListCommand)(report.report)
app.command(cls=ListCommand)(check.check)
app.command(cls=ListCommand)(inspect.inspect)
