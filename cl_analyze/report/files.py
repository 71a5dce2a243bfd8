"""Which files a command writes, and their content."""

from __future__ import annotations

from pathlib import Path

from cl_analyze.document import Document
from cl_analyze.figures.catalogue import draw
from cl_analyze.figures.matplotlib_renderer import render
from cl_analyze.output import write_files
from cl_analyze.tables import to_json


def _tables_and_figures(document: Document, formats: tuple[str, ...]) -> dict[str, bytes]:
    files = {
        f"tables/{name}.csv": table.to_csv().encode()
        for name, table in document.all_tables().items()
    }
    for figure in draw(document):
        for kind, content in render(figure, formats).items():
            files[f"figures/{figure.name}.{kind}"] = content
    return files


def write_tables_and_figures(
    document: Document, folder: Path, formats: tuple[str, ...]
) -> list[Path]:
    """Write a metric command's tables/*.csv and figures/*.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    return write_files(folder, document.command, _tables_and_figures(document, formats))


def write_report(document: Document, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write report.html, results.json, tables/*.csv and figures/*.

    Returns:
        The written paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from cl_analyze.report.html import render_html

    files = {"report.html": render_html(document).encode(), "results.json": b""}
    files.update(_tables_and_figures(document, formats))
    names = tuple(str(folder / name) for name in files)
    files["results.json"] = to_json(document.to_dict(names)).encode()
    return write_files(folder, document.command, files)
