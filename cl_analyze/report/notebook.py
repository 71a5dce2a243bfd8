"""A report as a notebook shows it: summary, sentences and the main figures, without scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from typing import Any

from markupsafe import Markup

from cl_analyze.figures.description import Figure
from cl_analyze.figures.matplotlib_renderer import PAGE, render
from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.metrics.headlines import headlines
from cl_analyze.report.comparison import (
    alike_sentences,
    comparison_of,
    dimensions_sentences,
    pareto_sentence,
    reference_of,
)
from cl_analyze.report.decision import decision
from cl_analyze.report.html import pixels, template
from cl_analyze.report.numbers import column_texts
from cl_analyze.report.summary import column, columns_of, findings, page_title, verdicts
from cl_analyze.results.document import Document

_FIRST = (
    "trade_off",
    "differences",
    "movement",
    "separation",
    "penalty_curve",
    "nearest_negatives",
    "loss_by_temperature",
    "spectrum",
    "knn_accuracy",
)
"""Figures that say most, the first ones first; then the others, in the order of the report."""
_MOST_FIGURES = 4
_MOST_BYTES = 140_000
"""Of all pictures; a notebook keeps them, a third larger, with every output."""
_MOST_ROWS = 40
_MOST_IN_WORDS = 12
"""Checkpoints that the table, and the sentences, are of; a note tells where the others are."""


def render_fragment(document: Document, figures: Sequence[Figure]) -> str:
    """A part of a page, less than 300 kB, with styles that reach nothing outside of it.

    Args:
        document: results with their inputs.
        figures: those of the report, of which the main ones are drawn.
    """
    names, order = short_names(document), natural_order(document)
    reference = reference_of(document)
    columns = columns_of(document)
    shown_order = order[:_MOST_ROWS]
    texts = [column_texts([h.find(document, source) for source in shown_order]) for h in columns]
    shown = _pictures(figures)
    drawn = {picture["name"] for picture in shown}
    compared = [source for source in order if reference not in (None, source)]
    style = resources.files("cl_analyze.report") / "static" / "notebook.css"
    return template("notebook.html.j2").render(
        document=document,
        reference=reference,
        decision=decision(document),
        columns=[column(document, headline) for headline in columns],
        summary=[
            {"source": source, "cells": cells}
            for source, *cells in zip(shown_order, *texts, strict=True)
        ],
        title=page_title(document),
        n_more=len(order) - min(len(order), _MOST_ROWS),
        verdicts=[
            row
            for row in verdicts(document, order)[:_MOST_IN_WORDS]
            if row["verdict"] != "none" or len(order) == 1
        ],
        texts=[
            text
            for text in (
                pareto_sentence(document, names),
                *(alike_sentences(document) if reference else []),
                *(dimensions_sentences(document) if reference else []),
            )
            if text
        ],
        cards=[
            {
                "source": source,
                "against": comparison.against,
                "sentences": [{"title": "", "text": t} for t in comparison.sentences()],
            }
            for source in compared[:_MOST_IN_WORDS]
            for comparison in [comparison_of(document, source)]
        ]
        if reference
        else [
            {**card, "against": "", "sentences": _without_verdict(card["sentences"])}
            for card in findings(document, order[:_MOST_IN_WORDS], headlines(document))
        ],
        figures=shown,
        others=[figure.name for figure in figures if figure.name not in drawn],
        style=Markup(style.read_text("utf-8")),
    )


def _without_verdict(sentences: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Sentences other than the one on collapse, which stands above the table."""
    return [one for one in sentences if one["text"] and one["title"] != "collapse"]


def _pictures(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The main figures as pictures, as many as there is room for, in the order of the report."""
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    ranked = sorted(figures, key=lambda figure: ranks.get(figure.name, len(ranks)))
    chosen = ranked[:_MOST_FIGURES]
    pictures, room = {}, _MOST_BYTES
    for figure, files in zip(chosen, render(chosen, (PAGE,)), strict=True):
        png = files[PAGE]
        if len(png) <= room:
            room -= len(png)
            pictures[figure.name] = {
                "name": figure.name,
                "title": figure.title,
                "caption": figure.caption,
                "width": pixels(figure),
                "data": f"data:image/png;base64,{base64.b64encode(png).decode()}",
            }
    return [pictures[figure.name] for figure in figures if figure.name in pictures]
