"""Figures of uniformity, tolerance and similarity.

Nothing is computed here but positions on the page: values, errors and references (the uniform
sphere of the same N and D) are read from the document.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from cl_analyze.figures.colours import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILION
from cl_analyze.figures.description import (
    Axis,
    Figure,
    Line,
    Mark,
    Numbers,
    Panel,
    Points,
    Rule,
    Steps,
)
from cl_analyze.figures.marks import (
    axis_of_cosines,
    axis_of_sources,
    defined,
    dots,
    edges_of,
    ends_of,
    extremes,
    figure_of_sources,
    height_of_sources,
    highest,
    hover_of,
    limits_around,
    line_of_records,
    one_record,
    panel_sources,
    read_column,
    records_of,
    reference_line,
    roots,
    true_minus,
    value_of,
)
from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.metrics.headlines import has_two_towers
from cl_analyze.results.document import Document
from cl_analyze.results.similarity_groups import POSITIVE, negative_group, negative_rank
from cl_analyze.results.tables import Record

_BETWEEN_FILES = (
    " All pairs are pairs of rows of the first file. Positives and nearest negatives are pairs "
    "of a row of the first file and a row of the second, so that a gap between the files moves "
    "only these."
)
_MOST_RANKS = 12
"""Ranks of negatives up to which each has a tick and a thick bar."""


def uniform_law(document: Document, t: float) -> dict[int, float]:
    """Uniformity of the uniform sphere for each number of dimensions in the document."""
    records = document.records("uniformity_of_uniform_law", t=t)
    return {int(record.d or 0): value_of(record) for record in records}


def uniformity_figure(document: Document) -> Figure | None:
    """Uniformity of each source beside the uniform law's value, and similarity by class."""
    records = records_of(document, "uniformity", "u_stat")
    if not records:
        return None
    ts = list(dict.fromkeys(float(record.params["t"]) for record in records))
    panels = [
        _uniformity_panel(document, [r for r in records if r.params["t"] == t], t, len(ts) > 1)
        for t in ts
    ]
    title, caption = "Uniformity of the embeddings", _UNIFORMITY_IN_WORDS
    by_class = _classes_panel(document)
    if by_class is not None:
        panels.append(by_class)
        title = "Uniformity, and similarity within and between classes"
        caption += f" {_TOLERANCE_IN_WORDS}"
    first = [record for record in records if record.params["t"] == ts[0]]
    return Figure(
        "uniformity",
        title,
        caption,
        panels,
        columns=min(len(panels), 2),
        share_y=len(panels) > 1,
        panel_size=(4.6 if len(panels) > 1 else 5.6, height_of_sources(document)),
        finding=_evenness(document, first, ts[0]),
    )


def _evenness(document: Document, records: Sequence[Record], t: float) -> str:
    """Which checkpoint is spread most evenly, and which least."""
    own, names = defined(records), short_names(document)
    if len(own) < 2:
        return extremes(document, own, f"uniformity at t = {t:g}")
    even, other = min(own, key=value_of), max(own, key=value_of)
    return (
        f"{names[even.source]} is spread most evenly, with uniformity {value_of(even):.3g} at t "
        f"= {t:g}; {names[other.source]} is spread least evenly, with {value_of(other):.3g}."
    ).replace(" -", " −")


_UNIFORMITY_IN_WORDS = (
    "Uniformity: further left is more even. The dashed line is the uniformity of independent "
    "points spread evenly over the sphere of the same dimension; a finite set can lie beyond it. "
    "Bars are 95% intervals."
)
_TOLERANCE_IN_WORDS = (
    "Tolerance is the mean cosine of same-class pairs; light ticks are single classes. The "
    "larger the gap between the two dots, the better classes are separated."
)


def _uniformity_panel(
    document: Document, chosen: Sequence[Record], t: float, has_title: bool
) -> Panel:
    """Uniformity of each source at one t."""
    laws = uniform_law(document, t)
    marks: list[Mark] = [Rule("uniform sphere", x=law) for law in laws.values()]
    if len(laws) > 1:  # each checkpoint has its own reference
        places = [
            (float(i), laws[int(record.d or 0)])
            for i, source in enumerate(natural_order(document))
            if (record := one_record(chosen, source)) is not None
        ]
        values, ys = [law for _, law in places], [i for i, _ in places]
        label = "uniform sphere of its dimension"
        marks = [Points(values, ys, label, BLACK, symbol="|", size=14)]
    shown = dots(document, chosen, BLUE, "uniformity")
    x_axis = Axis(
        f"uniformity, t = {t:g}  [nats]   ←\u00a0more\u00a0even",
        limits=limits_around(*ends_of(shown), *laws.values()),
    )
    title = f"t = {t:g}" if has_title else ""
    return Panel([*marks, shown], x_axis, axis_of_sources(document), title)


def tolerance_figure(document: Document) -> Figure | None:
    """Mean similarity within and between classes, where no other figure shows it."""
    if records_of(document, "uniformity", "u_stat"):
        return None
    panel = _classes_panel(document)
    if panel is None:
        return None
    within = records_of(document, "tolerance", "micro_excl")
    return Figure(
        "tolerance",
        "Similarity within and between classes",
        _TOLERANCE_IN_WORDS,
        [panel],
        panel_size=(5.6, height_of_sources(document)),
        finding=extremes(document, within, "mean cosine within classes"),
    )


def _classes_panel(document: Document) -> Panel | None:
    """Mean similarity within and between classes, with the tolerance of each class."""
    within = records_of(document, "tolerance", "micro_excl")
    if not within:
        return None
    sources, names = natural_order(document), short_names(document)
    classes = [row for row in document.rows("tolerance_by_class") if row["tolerance"] is not None]
    of_classes = Points(
        read_column(classes, "tolerance"),
        [float(sources.index(str(row["source"]))) for row in classes],
        "one class",
        SKY,
        symbol="|",
        size=9,
        sources=[names[str(row["source"])] for row in classes],
        hovers=[
            true_minus(
                f"{names[str(row['source'])]} · class {row['class']} · tolerance "
                f"{float(row['tolerance'] or 0.0):.3f}"
            )
            for row in classes
        ],
    )
    of_others = document.records("between_class_similarity")
    between = dots(document, of_others, ORANGE, "different classes")
    same = dots(document, within, BLUE, "same class")
    ends = [*ends_of(between), *ends_of(same), *of_classes.x, 0.0]
    return Panel(
        [of_classes, Rule("uniform sphere", x=0.0), between, same],
        Axis("mean cosine similarity", limits=limits_around(*ends)),
        axis_of_sources(document),
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
    drawn: dict[str, list[Mark]] = {}
    for source in panel_sources(document):
        marks: list[Mark] = []
        for group, label, colour, filled in _HISTOGRAMS:
            rows = document.rows("similarity_histogram", source=source, group=group)
            if rows:
                edges, heights = wider_bins(edges_of(rows), read_column(rows, "density"))
                if edges:
                    marks.append(Steps(edges, heights, label, colour, filled))
        law = document.rows("similarity_histogram", source=source, group="uniform_law")
        if law:
            edges, heights = wider_bins(edges_of(law), read_column(law, "density"))
            centres = [(a + b) / 2 for a, b in pairwise(edges)]
            marks.append(reference_line(centres, heights, "uniform sphere"))
            drawn[source] = marks
    if not drawn:
        return None
    top = highest(mark for marks in drawn.values() for mark in marks)
    x_axis, y_axis = axis_of_cosines("cosine similarity"), roots("density", top)
    return figure_of_sources(
        document,
        "similarity_histogram",
        "Similarities of positives, nearest negatives and all pairs",
        "The more the nearest negatives overlap the positives, the harder they are. The dashed "
        "line is the distribution of the cosine of two uniform points in this dimension. Bins "
        "are 0.02 wide. Heights are square roots of densities, so that small groups of pairs can "
        "be seen too." + (_BETWEEN_FILES if has_two_towers(document) else ""),
        [Panel(marks, x_axis, y_axis, names[s], source=names[s]) for s, marks in drawn.items()],
        share_y=True,
        finding=extremes(
            document,
            [r for r in document.records("similarity_mean") if r.params["group"] == _NEAREST],
            "mean cosine with the nearest negative",
        ),
    )


_NEAREST = negative_group(1)


def wider_bins(edges: Sequence[float], heights: Sequence[float]) -> tuple[Numbers, Numbers]:
    """Every two bins of equal width as one, without the empty ones at both ends."""
    joined = [(a + b) / 2 for a, b in zip(heights[::2], heights[1::2], strict=True)]
    there = [i for i, height in enumerate(joined) if height > 0]
    if not there:
        return [], []
    first, last = there[0], there[-1]
    return edges[2 * first : 2 * last + 3 : 2], joined[first : last + 1]


_CLASSES_IN_WORDS = (
    " Green: the share of the negatives of this rank that are of the anchor's own class. The "
    "higher it is above the dotted line (chance), the more a small temperature pushes rows of "
    "one class apart."
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
        "25% to the 75% quantile. Dashed: the expected cosines of uniform points with the same N "
        "and d." + (_CLASSES_IN_WORDS if document.records("same_class_share") else ""),
        [_ranks_panel(document, source) for source in panel_sources(document)],
        share_y=True,
        finding=_ranks_in_words(document),
    )


def _ranks_in_words(document: Document) -> str:
    """Where the nearest negatives come closest to the positives."""
    means = defined(document.records("similarity_mean"))
    near = [record for record in means if record.params["group"] == _NEAREST]
    gaps = {
        record.source: value_of(positive) - value_of(record)
        for record in near
        if (positive := one_record(means, record.source, group=POSITIVE)) is not None
    }
    if not gaps:
        return extremes(document, near, "mean cosine with the nearest negative")
    names = short_names(document)
    least = min(gaps, key=gaps.__getitem__)
    if gaps[least] < 0:
        beyond = [names[source] for source in natural_order(document) if gaps.get(source, 1.0) < 0]
        return (
            f"The nearest negative is on average nearer than the positive in {', '.join(beyond)}: "
            f"by a mean cosine of {-gaps[least]:.2g} in {names[least]}."
        )
    return (
        f"The nearest negative comes closest to the positive in {names[least]}: its mean cosine "
        f"is {gaps[least]:.2g} lower."
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
    has_law = bool(law) and all(isinstance(value, float) for value in law)
    if has_law:
        heights = [float(value or 0.0) for value in law]
        marks.append(reference_line(ranks, heights, "negatives on the uniform sphere"))
    shares = _class_shares(document, source)
    marks += shares
    name = short_names(document)[source]
    last = max(ranks, default=1)
    shown = ranks if len(ranks) <= _MOST_RANKS else [1.0, *map(float, range(5, int(last) + 1, 5))]
    ticks = [(at_positive, "pos"), *((rank, f"{rank:g}") for rank in shown)]
    x_axis = Axis("rank of the negative", "linear", ticks, (at_positive - 0.7, last + 0.7))
    y_axis = Axis("cosine, and share of the class" if shares else "cosine similarity")
    return Panel(marks, x_axis, y_axis, name, source=name)


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
            Line(ends, [chance, chance], "this share by chance", GREEN, "dotted", width=1.2)
        )
    return marks


def _quantile(document: Document, record: Record, q: float) -> float:
    quantiles = document.records("similarity_quantile", group=record.params["group"])
    quantile = one_record(quantiles, record.source, q=q)
    return math.nan if quantile is None else value_of(quantile)
