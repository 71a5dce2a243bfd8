"""Figures of positives against negatives: the ROC, and where thresholds lie."""

from __future__ import annotations

from itertools import pairwise

from cl_analyze.figures.colours import BLACK, BLUE, GREY, HUES, VERMILION
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Points, Rule, Steps
from cl_analyze.figures.marks import (
    Rows,
    axis_of_cosines,
    decades,
    extremes,
    figure_of_sources,
    highest,
    panel_sources,
    read_column,
    reference_line,
    roots,
)
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document

_LEAST_RATE = 1e-5
"""The smallest false-positive rate that is drawn."""


def separation_figure(document: Document) -> Figure | None:
    """The ROC of every source, with the chosen false-positive rates marked."""
    names, colours = short_names(document), source_colours(document)
    marks: list[Mark] = []
    points: list[Mark] = []
    least = 1.0
    for source in natural_order(document):
        rows = document.rows("threshold", source=source)
        curve = [
            (float(row["false_positive_rate"] or 0.0), float(row["true_positive_rate"] or 0.0))
            for row in rows
        ]
        drawn = sorted({point for point in curve if point[0] >= _LEAST_RATE})
        if not drawn:
            continue
        xs, ys = [x for x, _ in drawn], [y for _, y in drawn]
        least = min(least, *xs)
        name = names[source]
        marks.append(Line(xs, ys, name, colours[source], source=name))
        chosen = _points(document, source, "tpr_at_fpr")
        at = read_column(chosen, "false_positive_rate"), read_column(chosen, "true_positive_rate")
        kept = [(x, y) for x, y in zip(*at, strict=True) if x >= _LEAST_RATE]
        if kept:
            label = "" if points else "rates of --fpr"
            xs, ys = [x for x, _ in kept], [y for _, y in kept]
            points.append(Points(xs, ys, label, colours[source], size=6, hollow=True, source=name))
    if not marks:
        return None
    low = min(max(least, _LEAST_RATE), 0.1)
    chance = [low * (1.0 / low) ** (step / 40) for step in range(41)]
    marks = [reference_line(chance, chance, "by chance"), *marks, *points]
    return Figure(
        "separation",
        "How well one threshold separates positives from negatives",
        "One threshold on the cosine for all anchors, from strict on the left to lax on the "
        "right. Up: the share of positives that pass; to the right: the share of negatives that "
        "pass. Higher is better. Circles are the false-positive rates of --fpr.",
        [
            Panel(
                marks,
                decades("false-positive rate  [share of negatives]", low, 1.0),
                Axis("true-positive rate  [share of positives]", limits=(0.0, 1.03)),
            )
        ],
        panel_size=(5.6, 3.8),
        finding=extremes(document, document.records("auroc"), "area under the curve", "{:.4f}"),
    )


def threshold_figure(document: Document) -> Figure | None:
    """Densities of positives and negatives of each source, with the threshold of each rate."""
    names = short_names(document)
    drawn: dict[str, list[Mark]] = {}
    for source in panel_sources(document):
        rows = document.rows("threshold", source=source)
        if not rows:
            continue
        wide = _wide(rows)
        edges = read_column(wide, "threshold")
        marks: list[Mark] = []
        for rate, label, colour, filled in (
            ("false_positive_rate", "negatives", "#bdbdbd", True),
            ("true_positive_rate", "positives", BLUE, False),
        ):
            shares = read_column(wide, rate)
            densities = [
                max(upper - lower, 0.0) / max(right - left, 1e-12)
                for (upper, lower), (left, right) in zip(
                    pairwise(shares), pairwise(edges), strict=True
                )
            ]
            marks.append(Steps(edges, densities, label, colour, filled))
        for row, colour in zip(_points(document, source, "tpr_at_fpr"), _RATES, strict=False):
            label = f"false-positive rate {float(row['fpr'] or 0.0):g}"
            marks.append(Rule(label, x=float(row["threshold"] or 0.0), colour=colour))
        for row in _points(document, source, "equal_error_rate"):
            threshold = float(row["threshold"] or 0.0)
            marks.append(Rule("equal error rate", x=threshold, colour=BLACK, style="dotted"))
        drawn[source] = marks
    if not drawn:
        return None
    top = highest(mark for marks in drawn.values() for mark in marks)
    x_axis, y_axis = axis_of_cosines("cosine similarity"), roots("density", top)
    return figure_of_sources(
        document,
        "thresholds",
        "Positives and negatives, and the thresholds between them",
        "Right of a threshold, pairs are taken for positives. At a dashed line the share of "
        "negatives that pass is the one in the legend; at the dotted line both error rates are "
        "equal. operating_points.csv has the cosines. Heights are square roots of densities.",
        [Panel(marks, x_axis, y_axis, names[s], source=names[s]) for s, marks in drawn.items()],
        share_y=True,
        finding=extremes(
            document, document.records("equal_error_rate"), "equal error rate", "{:.2%}"
        ),
    )


def _wide(rows: Rows) -> Rows:
    """Thresholds that are far enough apart for the density between them to be smooth."""
    ends = read_column(rows, "threshold")
    least, kept = (ends[-1] - ends[0]) / _DENSITY_BINS, [rows[0]]
    for row, threshold in zip(rows[1:-1], ends[1:-1], strict=True):
        last = float(kept[-1]["threshold"] or 0.0)
        if threshold - last >= least and ends[-1] - threshold >= least:
            kept.append(row)
    return [*kept, rows[-1]]


_DENSITY_BINS = 120
_RATES = (VERMILION, HUES[4], HUES[3], HUES[2], GREY)


def _points(document: Document, source: str, point: str) -> Rows:
    return document.rows("operating_points", source=source, point=point)
