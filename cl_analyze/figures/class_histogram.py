"""Similarities of pairs of one class beside those of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.figures.classes import best_first
from cl_analyze.figures.colours import BLACK, BLUE
from cl_analyze.figures.description import Axis, Figure, Mark, Panel, Rule, Steps
from cl_analyze.figures.marks import (
    Rows,
    axis_of_cosines,
    edges_of,
    one_record,
    read_column,
    records_of,
    value_of,
)
from cl_analyze.figures.sources import short_names
from cl_analyze.results.document import Document

_MERGED = 4
"""Bins of the table that are drawn as one, for a smooth outline."""
_MOST_ON_PAPER = 4


def class_histogram_figure(document: Document) -> Figure | None:
    """Densities of same-class and other-class pairs, a panel for each source."""
    names = short_names(document)
    within = records_of(document, "tolerance", "micro_excl")
    between = document.records("between_class_similarity")
    panels = []
    means = {}
    for source in best_first(document):
        same, other = (
            document.rows("similarity_histogram", source=source, group=group)
            for group in ("same_class", "other_class")
        )
        if not same or not other:
            continue
        marks: list[Mark] = [
            _steps(other, "other classes", "#c4c4c4", names[source], filled=True),
            _steps(same, "same class", BLUE, names[source], filled=False),
        ]
        ends = one_record(within, source), one_record(between, source)
        if ends[0] is not None and ends[1] is not None:
            means[source] = value_of(ends[0]), value_of(ends[1])
            marks.append(Rule("mean, same class", x=means[source][0], colour=BLUE))
            marks.append(
                Rule("mean, other classes", x=means[source][1], colour=BLACK, style="dotted")
            )
        panels.append(
            Panel(
                marks,
                axis_of_cosines("cosine similarity"),
                Axis("density"),
                names[source],
                source=names[source],
            )
        )
    if not panels:
        return None
    highest = max(
        height
        for panel in panels
        for mark in panel.marks
        if isinstance(mark, Steps)
        for height in mark.heights
    )
    y_axis = Axis("density", limits=(0.0, 1.05 * highest))  # one scale, to compare checkpoints
    panels = [
        replace(panel, y=y_axis, is_minor=i >= _MOST_ON_PAPER) for i, panel in enumerate(panels)
    ]
    finding = ""
    if means:
        widest = max(means, key=lambda source: means[source][0] - means[source][1])
        ends_in_words = " and ".join(f"{mean:.3f}".replace("-", "−") for mean in means[widest])
        finding = (
            f"Same-class and other-class pairs have mean cosines of {ends_in_words}."
            if len(means) == 1
            else f"The means of same-class and other-class pairs are furthest apart in "
            f"{names[widest]} ({ends_in_words})."
        )
    return Figure(
        "class_histogram",
        "Similarities within and between classes",
        "Pairs of rows of one class (blue) and of different classes (grey); each outline has "
        "area 1. The less the two overlap, the better cosines separate the classes. Grey far on "
        "the right: rows of different classes that are very similar."
        + (" Lines mark the means." if means else ""),
        panels,
        columns=min(len(panels), 2),
        choice="checkpoint" if len(panels) > 1 else "",
        panel_size=(4.2, 3.0) if len(panels) == 1 else (2.3, 2.1),
        finding=finding,
    )


def _steps(rows: Rows, label: str, colour: str, source: str, *, filled: bool) -> Steps:
    """A histogram of the table, with a few of its bins as one."""
    heights, edges = read_column(rows, "density"), edges_of(rows)
    merged = [_mean(heights[at : at + _MERGED]) for at in range(0, len(heights), _MERGED)]
    kept = [*edges[:-1:_MERGED], edges[-1]]
    return Steps(kept, merged, label, colour, filled=filled, source=source)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
