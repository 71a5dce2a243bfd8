"""The HTML report: one file, no network, everything escaped."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from cl_analyze.figures.colours import on_dark
from cl_analyze.figures.description import Figure
from cl_analyze.figures.interactive_renderer import interactive
from cl_analyze.figures.sources import by_temperature, short_names
from cl_analyze.metrics import DECLARED, family_named
from cl_analyze.metrics.losses.metrics import PARTS
from cl_analyze.metrics.metric import Metric
from cl_analyze.report.comparison import (
    alike_sentences,
    comparison_of,
    dimensions_sentences,
    pareto_sentence,
    reference_of,
)
from cl_analyze.report.headlines import Headline, headlines
from cl_analyze.report.sentences import meaning
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Record, number_text

if TYPE_CHECKING:
    from jinja2 import Template

_SCRIPTS = (
    "page-state.js",
    "page-selection.js",
    "page-panels.js",
    "page-drawing.js",
    "page-controls.js",
    "page-tables.js",
)
"""The page's script, whose parts share one scope."""
_COLOUR = re.compile(r'"(#[0-9A-Fa-f]{6})"')
_PIXELS = 96
"""Pixels of a page to the inch."""
_MOST_IN_FULL = 12
"""Checkpoints up to which every number is on the page; of more they are in the tables."""
_LOSS_PARTS = tuple(part.name for part in PARTS[1:])
"""Not in the table of losses: the sentence of each loss has them."""
_IN_OTHER_SENTENCES = ("uniformity_gap", "between_class_similarity", "effective_rank")
"""Headlines that the sentences of uniformity and tolerance, or the verdict on collapse, name."""


def template(name: str) -> Template:
    """A template of this package, in which every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cl_analyze.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render_html(document: Document, figures: Sequence[tuple[Figure, bytes]]) -> str:
    """The report, or the comparison, as one HTML document that needs no network.

    Args:
        document: results with their inputs.
        figures: each figure with a png, which a page without JavaScript shows.
    """
    names, order = short_names(document), by_temperature(document)
    reference = reference_of(document)
    listed = headlines(document)
    plots = {figure.name: interactive(figure) for figure, _ in figures}
    levels = sorted({level for plot in plots.values() if plot for level in plot["meta"]["levels"]})
    families = _families(document) if len(document.sources) <= _MOST_IN_FULL else []
    shown = {
        row["metric"] for family in families for rows in family["sources"].values() for row in rows
    }
    shown |= {headline.metric for headline in listed}
    return template("report.html.j2").render(
        document=document,
        title="Comparison of checkpoints" if reference else "Embedding report",
        names=names,
        order=order,
        columns=listed,
        summary=[
            {"source": source, "cells": [number_cell(h.find(document, source)) for h in listed]}
            for source in order
        ],
        verdicts=verdicts(document, order),
        findings=[] if reference else findings(document, order, listed),
        reference=reference,
        has_variants=any(row["variant"] for row in document.rows("checkpoints")),
        front=pareto_sentence(document, names),
        further=[*alike_sentences(document), *dimensions_sentences(document)],
        comparisons=[
            comparison_of(document, source) for source in order if reference not in (None, source)
        ],
        moved_rows=document.rows("moved_rows"),
        moved_classes=document.rows("moved_classes"),
        figures=[_figure(figure, png, plots[figure.name]) for figure, png in figures],
        families=families,
        definitions={name: _defined(DECLARED[name]) for name in sorted(shown)},
        command=shlex.join(["cl-analyze", *document.arguments]) if document.arguments else "",
        plotly=_packed(_static("plotly-cartesian.min.js")),
        plots=_packed(_plots_text(plots)),
        levels=levels,
        script=Markup("\n").join(map(_static, _SCRIPTS)),
        style=_static("report.css"),
    )


def _defined(metric: Metric) -> str:
    """A metric in words, and which side is better."""
    better = "" if metric.better is None else f" {metric.better.capitalize()} is better."
    return f"{metric.in_words}{better}"


def _static(name: str) -> Markup:
    """The text of a static file, for the page."""
    return Markup((resources.files("cl_analyze.report") / "static" / name).read_text("utf-8"))


def verdicts(document: Document, order: Sequence[str]) -> list[dict[str, str]]:
    """The verdicts on collapse, worst first."""
    rows = [row for source in order for row in document.rows("collapse", source=source)]
    worst_first = ("complete", "dimensional", "partial", "unknown", "none")
    rows.sort(key=lambda row: worst_first.index(str(row["verdict"])))
    return [{key: str(row[key]) for key in ("source", "verdict", "text")} for row in rows]


def number_cell(record: Record | None) -> dict[str, Any]:
    """A number with its error, and the value that a table is sorted by."""
    if record is None:
        return {"value": "", "error": "", "sort": ""}
    if record.value is None:
        return {"value": "–", "error": "", "sort": ""}
    value = number_text(record.value, record.total_error)
    return {"value": value, "error": record.error_text, "sort": record.value}


def findings(
    document: Document, order: Sequence[str], listed: Sequence[Headline]
) -> list[dict[str, Any]]:
    """For each source, the sentences of its headline numbers, and the verdict on collapse."""
    found = []
    for source in order:
        records = [(headline.title, headline.find(document, source)) for headline in listed]
        sentences = [
            {"title": title, "text": meaning(record, document)}
            for title, record in records
            if record is not None and record.metric not in _IN_OTHER_SENTENCES
        ]
        sentences += [
            {"title": "collapse", "text": str(row["text"])}
            for row in document.rows("collapse", source=source)
        ]
        found.append({"source": source, "sentences": sentences})
    return found


def _plots_text(plots: dict[str, Any]) -> str:
    """The figures' data, and for each of their colours its partner on a dark page."""
    text = json.dumps(plots, ensure_ascii=False, separators=(",", ":"))
    colours = sorted({colour.lower() for colour in _COLOUR.findall(text)})
    dark = json.dumps({colour: on_dark(colour) for colour in colours}, separators=(",", ":"))
    return f'{{"figures":{text},"dark":{dark}}}'


def _packed(text: str) -> str:
    """Text as gzip in base64, the same bytes every time; the page unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def pixels(figure: Figure) -> int:
    """The width of a figure on a page."""
    return round(figure.panel_size[0] * figure.columns * _PIXELS)


def _figure(figure: Figure, png: bytes, plot: dict[str, Any] | None) -> dict[str, Any]:
    """The static image of a figure, with title and caption."""
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "data": f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "width": pixels(figure),
        "is_interactive": plot is not None,
        "choices": [panel.title for panel in figure.panels] if figure.choice else [],
        "choice": figure.choice,
    }


def _families(document: Document) -> list[dict[str, Any]]:
    """Rows of the table of every metric family, by source."""
    families = []
    for name, indices in document.families.items():
        rows_of: dict[str, list[dict[str, Any]]] = {}
        for record in (document.results[i] for i in indices):
            if record.metric not in _LOSS_PARTS:
                rows_of.setdefault(record.source, []).append(_row(record, document))
        families.append({"name": name, "title": family_named(name).title, "sources": rows_of})
    return families


def _row(record: Record, document: Document) -> dict[str, Any]:
    params = (
        f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in record.params.items()
    )
    return {
        **number_cell(record),
        "metric": record.metric,
        "definition": record.definition or "",
        "params": ", ".join(params),
        "unit": record.unit if record.value is not None else "none",
        "exact": record.exact,
        "meaning": meaning(record, document),
    }
