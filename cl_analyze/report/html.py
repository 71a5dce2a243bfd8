"""The HTML report: one file, no network, everything escaped."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from typing import Any

from cl_analyze.document import Document
from cl_analyze.figures.description import Figure
from cl_analyze.figures.sources import by_temperature
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
}


def render_html(document: Document, figures: Sequence[tuple[Figure, bytes]]) -> str:
    """The report as one HTML document.

    Args:
        document: what was found.
        figures: the figures with their svg files.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cl_analyze.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        document=document,
        columns=[headline.title for headline in headlines(document)],
        summary=_summary(document),
        findings=_findings(document),
        figures=[_figure(figure, svg) for figure, svg in figures],
        families=_families(document),
        command=shlex.join(["cl-analyze", *document.arguments]) if document.arguments else "",
    )


def _summary(document: Document) -> list[dict[str, Any]]:
    rows = []
    for source in by_temperature(document):
        found = [headline.find(document, source) for headline in headlines(document)]
        cells = [_cell(r) if r is not None else {"value": "", "error": ""} for r in found]
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


def _figure(figure: Figure, svg: bytes) -> dict[str, str]:
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "data": "data:image/svg+xml;base64," + base64.b64encode(svg).decode(),
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
                    "unit": record.unit if record.value is not None else "",
                    "exact": record.exact,
                    "meaning": meaning(record, document),
                }
            )
        out.append({"name": name, "title": _TITLES.get(name, name), "sources": sources})
    return out
