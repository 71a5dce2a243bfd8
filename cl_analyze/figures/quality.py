"""Figures of representation quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from cl_analyze.figures.colours import BLACK, GREY, HUES
from cl_analyze.figures.description import (
    Axis,
    Cells,
    Figure,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Steps,
)
from cl_analyze.figures.marks import (
    bar,
    defined,
    figure_of_sources,
    hover_of,
    one_record,
    panel_columns,
    panel_sources,
    read_column,
    value_of,
)
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import shortened
from cl_analyze.results.tables import Record

_MOST_CLASSES = 40
"""Classes up to which a heat map can be read."""
_MOST_LETTERS = 14
"""Letters of a class on an axis, about."""
_SPECTRUM_SHOWN = "normalised_centred"


def spectrum_figure(document: Document) -> Figure | None:
    """Variance along each principal direction, and the sum of the first of them."""
    names, colours = short_names(document), source_colours(document)
    variances: list[Mark] = []
    sums: list[Mark] = []
    dims: set[int] = set()
    least = 1.0
    for source in natural_order(document):
        rows = document.rows("spectrum", source=source, definition=_SPECTRUM_SHOWN)
        values = read_column(rows, "eigenvalue")
        dims.add(len(values))
        ranked = [(float(i), value) for i, value in enumerate(values, 1) if value > 1e-12]
        if ranked:
            ranks, held = [rank for rank, _ in ranked], [value for _, value in ranked]
            least = min(least, *held)
            variances.append(Line(ranks, held, names[source], colours[source]))
            total = [0.0, *accumulate(held)]
            sums.append(Line([0.0, *ranks], total, names[source], colours[source]))
    if not variances:
        return None
    longest = max(1, *dims)
    if len(dims) == 1:
        variances.append(Rule("uniform sphere", y=1.0 / longest))
        sums.append(Line([0.0, float(longest)], [0.0, 1.0], "", "#444444", "dashed", width=1.1))
    reach = (0.0, longest + 0.5)
    variance = Axis("variance", "log", limits=(max(least / 2.0, 1e-12), 1.0))
    sum_of_variances = Axis("variance held together", limits=(0.0, 1.03))
    return Figure(
        "spectrum",
        "Spectrum of the rows on the sphere, about their mean",
        "On the left the variance of unit rows along each principal direction, on the right what "
        "the first of them hold together: all of it is 1 less the square of the mean row. A curve "
        "that falls off a cliff has collapsed onto few directions, one that stays at the bottom on "
        "the right has collapsed altogether. Dashed: the uniform sphere.",
        [
            Panel(variances, Axis("rank of the direction", limits=reach), variance),
            Panel(sums, Axis("number of directions", limits=reach), sum_of_variances),
        ],
        columns=2,
        panel_size=(3.9, 3.0),
    )


def class_similarity_figure(document: Document) -> Figure | None:
    """Mean cosine between classes, similar classes side by side, a panel for each source."""
    names = short_names(document)
    orders: dict[str, list[str]] = {}
    cosines: dict[str, dict[tuple[str, str], float]] = {}
    for source in panel_sources(document):
        pairs = document.rows("class_pairs", source=source)
        classes = document.rows("quality_by_class", source=source)
        if pairs and len(classes) <= _MOST_CLASSES:
            classes.sort(key=lambda row: int(str(row["order"])))
            orders[source] = [str(row["class"]) for row in classes]
            cosines[source] = {}
            for row in pairs:
                a, b = str(row["class_a"]), str(row["class_b"])
                cosines[source][a, b] = cosines[source][b, a] = float(str(row["similarity"]))
    if not orders:
        return None
    ends = {source: (min(own.values()), max(own.values())) for source, own in cosines.items()}
    low, high = min(low for low, _ in ends.values()), max(high for _, high in ends.values())
    # one order for all, so that panels can be compared: that of the most structured
    clearest = max(ends, key=lambda source: ends[source][1] - ends[source][0])
    panels = []
    for source, order in orders.items():
        if sorted(order) == sorted(orders[clearest]):
            order = orders[clearest]
        cells = [[cosines[source].get((a, b), float("nan")) for b in order] for a in order]
        ticks = [(float(i), text) for i, text in enumerate(shortened(order, _MOST_LETTERS))]
        axis = Axis("class", ticks=ticks, in_full=order)
        title = names[source] if len(orders) > 1 else ""
        marks = [Cells(cells, low, high, "mean cosine")]
        panels.append(Panel(marks, axis, axis, title, upright=True, source=names[source]))
    side = min(3.0 + 0.09 * max(map(len, orders.values())), 6.5)
    order_of = f", from {names[clearest]}" if len(orders) > 1 else ""
    return figure_of_sources(
        document,
        "class_similarity",
        "Mean cosine between classes",
        f"Classes are in an order that puts similar ones side by side (average linkage{order_of}); "
        "the diagonal is the cosine within a class, self pairs counted. Blocks off the diagonal "
        "are classes that overlap.",
        panels,
        columns=min(panel_columns(len(panels)), 3),
        panel_size=(side + 0.9, side - 0.4),
    )


def knn_figure(document: Document) -> Figure | None:
    """kNN accuracy against the number of voters, beside the linear probe."""
    records = defined(document.records("knn_accuracy"))
    if not records:
        return None
    names, colours = short_names(document), source_colours(document)
    ks = sorted({int(record.params["k"]) for record in records})
    probes = document.records("probe_accuracy", "normalised")
    at_probe = 2.2 * ks[-1]
    marks: list[Mark] = []
    diamonds: list[Mark] = []
    order = [s for s in natural_order(document) if one_record(records, s) is not None]
    for i, source in enumerate(order):
        aside = 1.0 + 0.03 * (i - 0.5 * (len(order) - 1))  # intervals side by side
        name, colour = names[source], colours[source]
        own = [r for k in ks if (r := one_record(records, source, k=k)) is not None]
        xs, ys = [aside * float(r.params["k"]) for r in own], [value_of(r) for r in own]
        hovers = [hover_of(record, name) for record in own]
        marks.append(Line(xs, ys, name, colour, marker=True, hovers=hovers))
        marks.append(_dots(xs, own, name, colour, name, size=3.5))
        probe = one_record(probes, source)
        if probe is not None:
            diamond = _dots([at_probe * aside], [probe], "linear probe", colour, name)
            diamonds.append(replace(diamond, hollow=True, symbol="D"))
    ticks = [(float(k), str(k)) for k in ks]
    x_limits = (0.8 * ks[0], 1.25 * ks[-1])
    if probes:
        ticks.append((at_probe, "probe"))
        x_limits = (0.8 * ks[0], at_probe * 1.3)
    x_axis = Axis("neighbours k", "log", ticks, x_limits)
    among_themselves = records[0].definition == "leave_one_out"
    voters = "other rows (leave-one-out)" if among_themselves else "training set"
    return Figure(
        "knn_accuracy",
        "kNN accuracy against the number of neighbours, and a linear probe",
        f"Each row is classified by the {voters}, votes weighted by exp(s / 0.07); bars are 95% "
        "intervals. Diamonds: the linear probe on normalised rows.",
        [Panel([*marks, *diamonds], x_axis, Axis("accuracy, 95% intervals"))],
        panel_size=(5.4, 3.4),
    )


def _dots(
    xs: Sequence[float],
    records: Sequence[Record],
    label: str,
    colour: str,
    source: str,
    size: float = 6.0,
) -> Points:
    """Values of records with their 95% intervals; beside their true positions, which texts say."""
    ys, bars = [value_of(record) for record in records], [bar(record) for record in records]
    hovers = [hover_of(record, source) for record in records]
    return Points(xs, ys, label, colour, y_error=bars, size=size, source=source, hovers=hovers)


def hubness_figure(document: Document) -> Figure | None:
    """How often rows are among the ten nearest of others, beside neighbours drawn at random."""
    names = short_names(document)
    panels = []
    for source in panel_sources(document):
        rows = document.rows("hubness_histogram", source=source, k=10)
        if not rows:
            continue
        # bars stand on their number
        edges = [degree - 0.5 for degree in read_column(rows, "in_degree_from")]
        edges.append(float(str(rows[-1]["in_degree_to"])) + 0.5)
        heights, expected = (
            [count / (b - a) for count, (a, b) in zip(counts, pairwise(edges), strict=True)]
            for counts in (read_column(rows, "rows"), read_column(rows, "rows_if_random"))
        )
        marks: list[Mark] = [
            Steps(edges, heights, "rows", HUES[0], filled=True),
            Steps(edges, expected, "if neighbours were random", BLACK),
            Rule("k = 10", x=10.0, colour=GREY, style="dotted"),
        ]
        x_axis = Axis("times among the 10 nearest of others")
        panels.append(Panel(marks, x_axis, Axis("rows (square-root scale)", "sqrt"), names[source]))
    if not panels:
        return None
    return figure_of_sources(
        document,
        "hubness",
        "Hubs and antihubs",
        "A long right tail means hubs: a few rows that are neighbours of very many, which spoils "
        "retrieval. The leftmost bar are antihubs, nobody's neighbours.",
        panels,
    )
