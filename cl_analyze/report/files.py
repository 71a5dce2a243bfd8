"""Which files a command writes, and their content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_analyze.document import Document
from cl_analyze.figures.catalogue import draw
from cl_analyze.figures.description import Figure
from cl_analyze.figures.matplotlib_renderer import FIXED_SVG, render
from cl_analyze.output import write_files
from cl_analyze.tables import to_json

PAGES = {
    "report": ("report.html", "results.json"),
    "compare": ("compare.html", "compare.json"),
}
"""Commands that write a page: its name and that of the JSON document."""
Drawn = list[tuple[Figure, dict[str, bytes]]]


def _tables(document: Document) -> dict[str, bytes]:
    return {
        f"tables/{name}.csv": table.to_csv().encode()
        for name, table in document.all_tables().items()
    }


def _figures(drawn: Drawn, formats: Sequence[str]) -> dict[str, bytes]:
    return {
        f"figures/{figure.name}.{kind}": files[kind] for figure, files in drawn for kind in formats
    }


def write_tables_and_figures(
    document: Document, folder: Path, formats: tuple[str, ...]
) -> list[Path]:
    """Write a metric command's tables/*.csv and figures/*.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    drawn = [(figure, render(figure, formats)) for figure in draw(document)]
    return write_files(folder, document.command, {**_tables(document), **_figures(drawn, formats)})


def write_report(document: Document, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write a page, the JSON document, tables/*.csv and figures/*.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from cl_analyze.report.html import render_html

    drawn = [(figure, render(figure, (*formats, FIXED_SVG))) for figure in draw(document)]
    page = render_html(document, [(figure, files[FIXED_SVG]) for figure, files in drawn])
    html, data = PAGES.get(document.command, PAGES["report"])
    files = {html: page.encode(), data: b""}
    files.update({**_tables(document), **_figures(drawn, formats)})
    names = tuple(str(folder / name) for name in files)
    files[data] = to_json(document.to_dict(names)).encode()
    return write_files(folder, document.command, files)
