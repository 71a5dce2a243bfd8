"""The files that a command writes, and their content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cl_analyze.figures.catalogue import draw
from cl_analyze.figures.description import Figure
from cl_analyze.figures.fonts import families, texts_of
from cl_analyze.figures.matplotlib_renderer import PAGE, render
from cl_analyze.output import write_files
from cl_analyze.quoting import quoted
from cl_analyze.results.document import Document
from cl_analyze.results.tables import to_json

PAGES = {
    "report": ("report.html", "results.json"),
    "compare": ("compare.html", "compare.json"),
}
"""Command -> names of the page and of the JSON document; other commands write neither."""
Note = Callable[[str], None]


def write_tables_and_figures(
    document: Document,
    folder: Path,
    formats: tuple[str, ...],
    note: Note | None = None,
    n_processes: int = 1,
) -> list[Path]:
    """Write the tables/*.csv and figures/* of a metric's command.

    Args:
        document: results with their inputs.
        folder: made when it is missing.
        formats: of the figures.
        note: hears of characters that no font has; None: nobody does.
        n_processes: that draw at a time.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    drawn = _drawn(document, formats, note, n_processes)
    return write_files(folder, document.command, _tables_and_figures(document, drawn, formats))


def write_report(
    document: Document,
    folder: Path,
    formats: tuple[str, ...],
    note: Note | None = None,
    n_processes: int = 1,
    full_json: bool = False,
) -> list[Path]:
    """Write a page and the JSON document as well; see `write_tables_and_figures`.

    Args:
        full_json: whether the JSON document has the rows of all tables, not only their files.
    """
    from cl_analyze.report.html import render_html

    drawn = _drawn(document, (*formats, PAGE), note, n_processes)
    page = render_html(document, [(figure, files[PAGE]) for figure, files in drawn])
    html, data = PAGES.get(document.command, PAGES["report"])
    files = {html: page.encode(), data: b"", **_tables_and_figures(document, drawn, formats)}
    names = tuple(str(folder / name) for name in files)
    csv_files = None if full_json else {name: _csv_file(name) for name in document.all_tables}
    files[data] = to_json(document.to_dict(names, csv_files)).encode()
    return write_files(folder, document.command, files)


def _drawn(
    document: Document, formats: Sequence[str], note: Note | None, n_processes: int
) -> list[tuple[Figure, dict[str, bytes]]]:
    """The figures in some formats, with a note on characters that no font here has."""
    figures = draw(document)
    _, boxes = families(text for figure in figures for text in texts_of(figure))
    if boxes and note is not None:
        note(
            f"figures: no font that is installed here has {quoted(boxes, 20)}, which are drawn as "
            "boxes: install one (for Chinese, Japanese and Korean fonts-noto-cjk)"
        )
    return list(zip(figures, render(figures, formats, n_processes), strict=True))


def _csv_file(table: str) -> str:
    return f"tables/{table}.csv"


def _tables_and_figures(
    document: Document, drawn: Sequence[tuple[Figure, dict[str, bytes]]], formats: Sequence[str]
) -> dict[str, bytes]:
    """Contents of the files by their names."""
    tables = {
        _csv_file(name): table.to_csv().encode() for name, table in document.all_tables.items()
    }
    figures = {
        f"figures/{figure.name}.{kind}": files[kind] for figure, files in drawn for kind in formats
    }
    return {**tables, **figures}
