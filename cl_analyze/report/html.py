"""The HTML report: one file, no network, everything escaped."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from typing import Any

from cl_analyze.document import Document
from cl_analyze.figures.description import Figure
from cl_analyze.report.meaning import meaning
from cl_analyze.tables import Record, number_text

_HEADLINES: tuple[tuple[str, str, str | None, dict[str, Any]], ...] = (
    ("uniformity", "uniformity", "u_stat", {}),
    ("gap to uniform law", "uniformity_gap", None, {}),
    ("tolerance", "tolerance", "micro_excl", {}),
    ("between classes", "between_class_similarity", None, {}),
    ("positive", "similarity_mean", None, {"group": "positive"}),
    ("nearest negative", "similarity_mean", None, {"group": "negative_1"}),
)
# the sentences of uniformity and tolerance speak of these as well
_SAID_BY_OTHERS = ("uniformity_gap", "between_class_similarity")
_TITLES = {
    "uniformity": "Uniformity",
    "tolerance": "Tolerance",
    "similarity": "Positives and nearest negatives",
    "penalty": "Relative penalty",
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
        columns=_columns(document),
        summary=_summary(document),
        findings=_findings(document),
        figures=[_figure(figure, svg) for figure, svg in figures],
        families=_families(document),
        command=shlex.join(["cl-analyze", *document.arguments]) if document.arguments else "",
    )


def _smallest_tau(document: Document) -> float | None:
    taus = [float(r.params["tau"]) for r in document.records("penalty_entropy")]
    return min(taus) if taus else None


def _headlines(document: Document) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    tau = _smallest_tau(document)
    listed = list(_HEADLINES)
    if tau is not None:
        listed += [
            (
                f"effective negatives, τ {tau:g}",
                "penalty_effective_negatives",
                "exp_mean",
                {"tau": tau},
            ),
            (
                f"false-negative share, τ {tau:g}",
                "penalty_false_negative_share",
                None,
                {"tau": tau},
            ),
        ]
    return [
        entry
        for entry in listed
        if any(_find(document, source, *entry[1:]) for source in document.sources)
    ]


def _find(
    document: Document, source: str, metric: str, definition: str | None, params: dict[str, Any]
) -> Record | None:
    for record in document.records(metric, definition):
        if record.source == source and all(record.params.get(k) == v for k, v in params.items()):
            return record
    return None


def _columns(document: Document) -> list[str]:
    return [title for title, *_ in _headlines(document)]


def _summary(document: Document) -> list[dict[str, Any]]:
    rows = []
    for source in document.sources:
        cells = []
        for _, metric, definition, params in _headlines(document):
            record = _find(document, source, metric, definition, params)
            cells.append(_cell(record) if record is not None else {"value": "", "error": ""})
        rows.append({"source": source, "cells": cells})
    return rows


def _cell(record: Record) -> dict[str, str]:
    if record.value is None:
        return {"value": "–", "error": ""}
    error = record.std_error
    return {
        "value": number_text(record.value, error),
        "error": f"± {number_text(error, error)}" if error else "",
    }


def _findings(document: Document) -> list[dict[str, Any]]:
    """For each source, the sentences of its headline numbers."""
    found = []
    for source in document.sources:
        sentences = []
        for title, metric, definition, params in _headlines(document):
            record = _find(document, source, metric, definition, params)
            if record is not None and metric not in _SAID_BY_OTHERS:
                sentences.append({"title": title, "text": meaning(record, document)})
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
