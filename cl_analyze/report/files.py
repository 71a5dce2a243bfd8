"""Which files a command writes, and their content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cl_analyze.document import Document
from cl_analyze.figures.catalogue import draw
from cl_analyze.figures.description import Figure
from cl_analyze.figures.fonts import families, texts_of
from cl_analyze.figures.matplotlib_renderer import FIXED_SVG, render
from cl_analyze.output import write_files
from cl_analyze.quoting import quoted
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


def _drawn(document: Document, formats: Sequence[str], note: Callable[[str], None] | None) -> Drawn:
    """The figures in some formats; characters that no font here has are told of."""
    figures = list(draw(document))
    _, boxes = families(text for figure in figures for text in texts_of(figure))
    if boxes and note is not None:
        note(
            f"figures: no font that is installed here has {quoted(boxes, 20)}, which are drawn as "
            "boxes: install one (for Chinese, Japanese and Korean fonts-noto-cjk)"
        )
    return [(figure, render(figure, formats)) for figure in figures]


def write_tables_and_figures(
    document: Document,
    folder: Path,
    formats: tuple[str, ...],
    note: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write a metric command's tables/*.csv and figures/*.

    Args:
        document: what was found.
        folder: made when it is missing.
        formats: of the figures.
        note: hears what of the figures is not as it should be; None: nobody.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    drawn = _drawn(document, formats, note)
    return write_files(folder, document.command, {**_tables(document), **_figures(drawn, formats)})


def write_report(
    document: Document,
    folder: Path,
    formats: tuple[str, ...],
    note: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write a page, the JSON document, tables/*.csv and figures/*; see `write_tables_and_figures`.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from cl_analyze.report.html import render_html

    drawn = _drawn(document, (*formats, FIXED_SVG), note)
    page = render_html(document, [(figure, files[FIXED_SVG]) for figure, files in drawn])
    html, data = PAGES.get(document.command, PAGES["report"])
    files = {html: page.encode(), data: b""}
    files.update({**_tables(document), **_figures(drawn, formats)})
    names = tuple(str(folder / name) for name in files)
    files[data] = to_json(document.to_dict(names)).encode()
    return write_files(folder, document.command, files)
