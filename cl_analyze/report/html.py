"""The HTML report: one file, no network, everything escaped."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
from collections.abc import Sequence
from importlib import resources
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from cl_analyze.document import Document
from cl_analyze.figures.description import Figure
from cl_analyze.figures.interactive_renderer import interactive
from cl_analyze.figures.sources import by_temperature, short_names
from cl_analyze.report.comparison import pareto_sentence, reference_of, told_apart
from cl_analyze.report.definitions import DEFINITIONS
from cl_analyze.report.headlines import headlines
from cl_analyze.report.meaning import meaning
from cl_analyze.tables import Record, number_text

# the sentence of a loss has its parts
_PARTS = ("loss_alignment", "loss_uniformity")
# the sentences of uniformity and tolerance, and the verdict on collapse, speak of these as well
_SAID_BY_OTHERS = ("uniformity_gap", "between_class_similarity", "effective_rank")
_TITLES = {
    "uniformity": "Uniformity",
    "tolerance": "Tolerance",
    "similarity": "Positives and nearest negatives",
    "penalty": "Relative penalty",
    "losses": "Losses",
    "quality": "Representation quality",
    "movement": "How the space moved",
}


def render_html(document: Document, figures: Sequence[tuple[Figure, bytes]]) -> str:
    """The report, or the comparison, as one HTML document that needs no network.

    Args:
        document: what was found.
        figures: the figures with their svg files, which show where there is no JavaScript.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cl_analyze.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = short_names(document)
    reference = reference_of(document)
    plots = {figure.name: interactive(figure) for figure, _ in figures}
    shown = [_figure(figure, svg, plots[figure.name]) for figure, svg in figures]
    families = _families(document) if len(document.sources) <= _MOST_IN_FULL else []
    used = {row["metric"] for family in families for of in family["sources"].values() for row in of}
    used |= {headline.metric for headline in headlines(document)}
    return environment.get_template("report.html.j2").render(
        document=document,
        title="Comparison of checkpoints" if reference else "Embedding report",
        names=names,
        order=by_temperature(document),
        columns=[
            {"title": headline.title, "metric": headline.metric} for headline in headlines(document)
        ],
        summary=_summary(document),
        verdicts=_verdicts(document),
        findings=[] if reference else _findings(document),
        reference=reference,
        front=pareto_sentence(document, names),
        told=[
            told_apart(document, source)
            for source in document.sources
            if reference is not None and source != reference
        ],
        moved_rows=document.rows("moved_rows"),
        moved_classes=document.rows("moved_classes"),
        figures=shown,
        families=families,
        definitions={name: DEFINITIONS[name] for name in sorted(used)},
        command=shlex.join(["cl-analyze", *document.arguments]) if document.arguments else "",
        plotly=_packed(_static("plotly-cartesian.min.js")),
        plots=_packed(json.dumps(plots, ensure_ascii=False, separators=(",", ":"))),
        script=_static("report.js"),
        style=_static("report.css"),
    )


_MOST_IN_FULL = 12
"""Checkpoints up to which every number is on the page; of more they are in the tables."""


def _static(name: str) -> Markup:
    """A file of this package that becomes part of the page."""
    return Markup((resources.files("cl_analyze.report") / "static" / name).read_text("utf-8"))


def _verdicts(document: Document) -> list[dict[str, str]]:
    """The verdicts on collapse, worst first."""
    rows = [row for s in by_temperature(document) for row in document.rows("collapse", source=s)]
    order = ("complete", "dimensional", "partial", "unknown", "none")
    rows.sort(key=lambda row: order.index(str(row["verdict"])))
    return [{key: str(row[key]) for key in ("source", "verdict", "text")} for row in rows]


def _summary(document: Document) -> list[dict[str, Any]]:
    rows = []
    for source in by_temperature(document):
        found = [headline.find(document, source) for headline in headlines(document)]
        cells = [
            {**_cell(r), "sort": r.value}
            if r is not None
            else {"value": "", "error": "", "sort": ""}
            for r in found
        ]
        rows.append({"source": source, "cells": cells})
    return rows


def _cell(record: Record) -> dict[str, str]:
    if record.value is None:
        return {"value": "–", "error": ""}
    return {"value": number_text(record.value, record.total_error), "error": record.error_text}


def _findings(document: Document) -> list[dict[str, Any]]:
    """For each source, the sentences of its headline numbers."""
    found = []
    for source in by_temperature(document):
        sentences = []
        for headline in headlines(document):
            record = headline.find(document, source)
            if record is not None and headline.metric not in _SAID_BY_OTHERS:
                sentences.append({"title": headline.title, "text": meaning(record, document)})
        sentences += [
            {"title": "collapse", "text": str(row["text"])}
            for row in document.rows("collapse", source=source)
        ]
        found.append({"source": source, "sentences": sentences})
    return found


_LONG_DECIMALS = re.compile(rb"(-?[0-9]*\.[0-9]{2})[0-9]+")
_NOT_SEEN = re.compile(
    rb"<\?xml[^>]*>|<!DOCTYPE[^>]*>|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL
)
_PATHS = re.compile(rb' (?:d|x|y|points)="[^"]*"')


def _packed(text: str) -> str:
    """Text as gzip in base64, which the page unpacks; always the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _figure(figure: Figure, svg: bytes, plot: dict[str, Any] | None) -> dict[str, Any]:
    """A figure's static image, and what the page says about the interactive one."""
    # a hundredth of a point is more than a screen shows
    lean = _PATHS.sub(lambda found: _LONG_DECIMALS.sub(rb"\1", found[0]), svg)
    lean = _NOT_SEEN.sub(b"", lean)
    lean = re.sub(rb">\s+<", b"><", lean).replace(b"\n", b" ")
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        # neither a quotation mark nor an ampersand is left that could end the attribute
        "data": Markup("data:image/svg+xml," + quote(lean, safe=" =:/,;()!*'@?+$[]^|{}<>")),
        "is_interactive": plot is not None,
        "dial": figure.dial if plot is not None and len(plot["meta"]["levels"]) > 1 else "",
    }


def _families(document: Document) -> list[dict[str, Any]]:
    out = []
    for name, indices in document.families.items():
        sources: dict[str, list[dict[str, Any]]] = {}
        for index in indices:
            record = document.results[index]
            if record.metric in _PARTS:
                continue
            sources.setdefault(record.source, []).append(
                {
                    "metric": record.metric,
                    "definition": record.definition or "",
                    "params": ", ".join(
                        f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
                        for key, value in record.params.items()
                    ),
                    **_cell(record),
                    "raw": "" if record.value is None else record.value,
                    "unit": record.unit if record.value is not None else "",
                    "exact": record.exact,
                    "meaning": meaning(record, document),
                }
            )
        out.append({"name": name, "title": _TITLES.get(name, name), "sources": sources})
    return out
