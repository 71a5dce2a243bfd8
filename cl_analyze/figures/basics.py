"""Figures of uniformity, tolerance and similarity.

Nothing is computed here but positions on the page: values, errors and references (the uniform
sphere of the same N and D) are read from the document.
"""

from __future__ import annotations

import math
from itertools import pairwise

from cl_analyze.figures.colours import BLACK, BLUE, GREEN, ORANGE, VERMILION
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Points, Rule, Steps
from cl_analyze.figures.marks import (
    axis_of_cosines,
    axis_of_sources,
    defined,
    dots,
    edges_of,
    figure_of_sources,
    height_of_sources,
    hover_of,
    line_of_records,
    one_record,
    panel_sources,
    read_column,
    records_of,
    reference_line,
    true_minus,
    value_of,
)
from cl_analyze.figures.sources import by_temperature, short_names
from cl_analyze.results.document import Document
from cl_analyze.results.similarity_groups import POSITIVE, negative_group, negative_rank
from cl_analyze.results.tables import Record

_MOST_RANKS = 12
"""Ranks of negatives up to which each has a tick and a thick bar."""


def uniform_law(document: Document, t: float) -> dict[int, float]:
    """Uniformity of the uniform sphere for each number of dimensions in the document."""
    records = document.records("uniformity_of_uniform_law", t=t)
    return {int(record.d or 0): value_of(record) for record in records}


def uniformity_figure(document: Document) -> Figure | None:
    """Uniformity of each source beside the uniform law's value, a panel for each t."""
    records = records_of(document, "uniformity", "u_stat")
    if not records:
        return None
    ts = list(dict.fromkeys(float(record.params["t"]) for record in records))
    names, order = short_names(document), by_temperature(document)
    panels = []
    for t in ts:
        chosen = [record for record in records if record.params["t"] == t]
        laws = uniform_law(document, t)
        marks: list[Mark] = [Rule(f"uniform sphere, d = {d}", x=law) for d, law in laws.items()]
        if len(laws) > 1:  # each checkpoint has its own reference
            places = [
                (float(i), laws[int(record.d or 0)])
                for i, source in enumerate(order)
                if (record := one_record(chosen, source)) is not None
            ]
            values, ys = [law for _, law in places], [i for i, _ in places]
            label = "uniform sphere of its dimension"
            own = [names[order[int(y)]] for y in ys]
            marks = [Points(values, ys, label, BLACK, symbol="|", size=14, sources=own)]
        marks.append(dots(document, chosen, BLUE, "embeddings, 95% interval"))
        x_label = f"log mean exp(−{t:g}·‖x − y‖²)  [nats]   ← more uniform"
        title = f"t = {t:g}" if len(ts) > 1 else ""
        panels.append(Panel(marks, Axis(x_label), axis_of_sources(document), title))
    return Figure(
        "uniformity",
        "Uniformity of the embeddings",
        "Further left is more uniform. The dashed line is what independent points spread evenly "
        "over the sphere of the same dimension would give; a finite set can lie beyond it.",
        panels,
        columns=min(len(panels), 2),
        panel_size=(5.6, height_of_sources(document)),
    )


def tolerance_figure(document: Document) -> Figure | None:
    """Mean similarity within and between classes, with the tolerance of each class."""
    within = records_of(document, "tolerance", "micro_excl")
    if not within:
        return None
    sources = by_temperature(document)
    classes = [row for row in document.rows("tolerance_by_class") if row["tolerance"] is not None]
    xs = read_column(classes, "tolerance")
    ys = [float(sources.index(str(row["source"]))) for row in classes]
    names = short_names(document)
    owners = [names[str(row["source"])] for row in classes]
    hovers = [
        f"{owner} · class {row['class']} · {true_minus(f'tolerance {x:.3f}')}"
        for owner, row, x in zip(owners, classes, xs, strict=True)
    ]
    marks: list[Mark] = [
        Points(xs, ys, "one class", "#9ecae1", symbol="|", size=9, sources=owners, hovers=hovers),
        Rule("uniform sphere", x=0.0),
        dots(document, document.records("between_class_similarity"), ORANGE, "different classes"),
        dots(document, within, BLUE, f"same class ({within[0].definition}), 95% interval"),
    ]
    return Figure(
        "tolerance",
        "Similarity within and between classes",
        "Tolerance is the mean cosine of same-class pairs; light ticks are single classes. The "
        "gap between the two dots is what separates classes.",
        [Panel(marks, Axis("mean cosine similarity"), axis_of_sources(document))],
        panel_size=(5.6, height_of_sources(document)),
    )


_HISTOGRAMS = (
    ("all", "all pairs", "#bdbdbd", True),
    (POSITIVE, "positives", BLUE, False),
    (negative_group(1), "nearest negative", VERMILION, False),
    (negative_group(10), "10th nearest", ORANGE, False),
)
"""Group, label, colour, and whether the histogram is filled."""


def similarity_histogram_figure(document: Document) -> Figure | None:
    """Densities of all pairs, positives and nearest negatives, with the cosine law."""
    if "similarity_histogram" not in document.tables:
        return None
    names = short_names(document)
    panels = []
    for source in panel_sources(document):
        marks: list[Mark] = []
        for group, label, colour, filled in _HISTOGRAMS:
            rows = document.rows("similarity_histogram", source=source, group=group)
            if rows:
                heights = read_column(rows, "density")
                marks.append(Steps(edges_of(rows), heights, label, colour, filled))
        law = document.rows("similarity_histogram", source=source, group="uniform_law")
        if law:
            edges = edges_of(law)
            centres = [(a + b) / 2 for a, b in pairwise(edges)]
            marks.append(reference_line(centres, read_column(law, "density"), "uniform sphere"))
            y_axis = Axis("density (square-root scale)", "sqrt")
            panels.append(Panel(marks, axis_of_cosines("cosine similarity"), y_axis, names[source]))
    return figure_of_sources(
        document,
        "similarity_histogram",
        "Similarities of positives, nearest negatives and all pairs",
        "The further the nearest negatives reach into the positives, the harder the negatives. The "
        "dashed line is the cosine of two uniform points in this dimension.",
        panels,
    )


_CLASSES_IN_WORDS = (
    " Green: the share of these negatives that are of the anchor's own class. The higher above the "
    "dotted line, the more of the repulsion of a small temperature is wrong."
)


def nearest_negatives_figure(document: Document) -> Figure | None:
    """The paper's Fig. 8: the positive and the ten nearest negatives, a panel for each source."""
    if not document.records("similarity_mean"):
        return None
    return figure_of_sources(
        document,
        "nearest_negatives",
        "Positive and nearest negatives by rank",
        "After Wang & Liu (CVPR 2021), Fig. 8. Dots are means over anchors, bars reach from the "
        "25% to the 75% quantile; dashed, what is expected on the uniform sphere of this N and d."
        + (_CLASSES_IN_WORDS if document.records("same_class_share") else ""),
        [_ranks_panel(document, source) for source in panel_sources(document)],
        share_y=True,
    )


def _ranks_panel(document: Document, source: str) -> Panel:
    """Means and quartiles of one source: positives, then negatives by rank."""
    means = defined(document.records("similarity_mean", source=source))
    ranked = [(rank, r) for r in means if (rank := negative_rank(r.params["group"])) is not None]
    negatives, ranks = [record for _, record in ranked], [float(rank) for rank, _ in ranked]
    positives = [record for record in means if record.params["group"] == POSITIVE]
    # far enough from rank 1 for their texts to stand side by side
    at_positive = 0.0 if len(ranks) <= _MOST_RANKS else -len(ranks) / 20
    marks: list[Mark] = []
    for records, xs, colour, label in (
        (positives, [at_positive], BLUE, "positive"),
        (negatives, ranks, VERMILION, "negatives by rank"),
    ):
        if records:
            width = 3.5 if len(xs) < _MOST_RANKS else 1.5
            spans = [[_quantile(document, record, q) for q in (0.25, 0.75)] for record in records]
            for x, span in zip(xs, spans, strict=True):
                marks.append(Line([x, x], span, "", colour, width=width))
            hovers = [
                hover_of(r, label, at=f"rank {x:g}" if x > 0 else "", what="mean cosine")
                for x, r in zip(xs, records, strict=True)
            ]
            ys = [value_of(record) for record in records]
            marks.append(Points(xs, ys, label, colour, size=5, hovers=hovers))
    reference = {
        row["group"]: row["value"]
        for row in document.rows("similarity_reference", source=source, quantity="similarity_mean")
    }
    law = [reference.get(str(record.params["group"])) for record in negatives]
    if law and all(isinstance(value, float) for value in law):
        heights = [float(value or 0.0) for value in law]
        marks.append(reference_line(ranks, heights, "negatives on the uniform sphere"))
    shares = _class_shares(document, source)
    marks += shares
    last = max(ranks, default=1)
    shown = ranks if len(ranks) <= _MOST_RANKS else [1.0, *map(float, range(5, int(last) + 1, 5))]
    ticks = [(at_positive, "pos"), *((rank, f"{rank:g}") for rank in shown)]
    x_axis = Axis("rank of the negative", "linear", ticks, (at_positive - 0.7, last + 0.7))
    y_axis = Axis("cosine, and share of the class" if shares else "cosine similarity")
    return Panel(marks, x_axis, y_axis, short_names(document)[source])


def _class_shares(document: Document, source: str) -> list[Mark]:
    """How many of the negatives of each rank are false, and how many are by chance."""
    records = defined(document.records("same_class_share", source=source))
    if not records:
        return []
    ranks = [float(negative_rank(record.params["group"]) or 0) for record in records]
    label = "share of the anchor's class: false negatives"
    marks: list[Mark] = [line_of_records(ranks, records, label, GREEN, width=1.2)]
    rows = document.rows("similarity_reference", source=source, quantity="same_class_share")
    if rows:
        chance = float(rows[0]["value"] or 0.0)
        ends = [0.5, max(ranks) + 0.5]
        marks.append(
            Line(ends, [chance, chance], "that share by chance", GREEN, "dotted", width=1.2)
        )
    return marks


def _quantile(document: Document, record: Record, q: float) -> float:
    quantiles = document.records("similarity_quantile", group=record.params["group"])
    quantile = one_record(quantiles, record.source, q=q)
    return math.nan if quantile is None else value_of(quantile)
