"""Figures of representation quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    decades,
    defined,
    extremes,
    figure_of_sources,
    hover_of,
    one_record,
    panel_sources,
    read_column,
    roots,
    value_of,
    votes,
)
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import shortened
from cl_analyze.results.tables import Record, nearest_k

_MOST_CLASSES = 40
"""Classes up to which the names of a heat map can be read."""
_MOST_NUMBERS = 12
"""Classes up to which numbers stand in the cells."""
_LETTERS_ACROSS = 36
"""Letters of names side by side up to which they need not stand upright."""
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
            name, colour, total = names[source], colours[source], [0.0, *accumulate(held)]
            variances.append(Line(ranks, held, name, colour, source=name))
            sums.append(Line([0.0, *ranks], total, name, colour, source=name))
    if not variances:
        return None
    longest = max(1, *dims)
    if len(dims) == 1:
        variances.append(Rule("uniform sphere", y=1.0 / longest))
        sums.append(Line([0.0, float(longest)], [0.0, 1.0], "", "#444444", "dashed", width=1.1))
    reach = (0.0, longest + 0.5)
    variance = decades("variance", max(least / 2.0, 1e-12), 1.0)
    share = Axis("share of the variance", limits=(0.0, 1.03), is_share=True)
    return Figure(
        "spectrum",
        "Spectrum of the rows on the sphere, about their mean",
        "Left: variance of unit rows along each principal direction. Right: share of the variance "
        "in the first k directions. A curve that ends below 100% has lost the rest to a common "
        "direction. A curve that falls before the others uses fewer directions. Dashed: the "
        "uniform sphere.",
        [
            Panel(variances, Axis("rank of the direction", limits=reach), variance),
            Panel(sums, Axis("first k directions", limits=reach), share),
        ],
        columns=2,
        panel_size=(3.9, 3.0),
        finding=extremes(document, document.records("effective_rank", "raw"), "effective rank"),
    )


def class_similarity_figure(document: Document) -> Figure | None:
    """Mean cosine between classes, similar classes side by side, a panel for each source."""
    names = short_names(document)
    orders: dict[str, list[str]] = {}
    cosines: dict[str, dict[tuple[str, str], float]] = {}
    for source in panel_sources(document):
        pairs = document.rows("class_pairs", source=source)
        classes = document.rows("quality_by_class", source=source)
        if pairs and classes:
            classes.sort(key=lambda row: int(str(row["order"])))
            orders[source] = [str(row["class"]) for row in classes]
            cosines[source] = {}
            for row in pairs:
                a, b = str(row["class_a"]), str(row["class_b"])
                cosines[source][a, b] = cosines[source][b, a] = float(str(row["similarity"]))
    if not orders:
        return None
    ends = {source: (min(own.values()), max(own.values())) for source, own in cosines.items()}
    # the same colour is the same cosine in all panels, and white is 0
    reach = max(0.1, *(abs(end) for both in ends.values() for end in both))
    # one order for all, so that panels can be compared: that of the most structured
    clearest = max(ends, key=lambda source: ends[source][1] - ends[source][0])
    accuracy = votes(document)
    shown = max(orders, key=lambda source: accuracy.get(source, 0.0))
    panels = []
    for source, order in orders.items():
        if sorted(order) == sorted(orders[clearest]):
            order = orders[clearest]
        cells = [[cosines[source].get((a, b), float("nan")) for b in order] for a in order]
        panel = _classes_panel(cells, order, reach)
        name = names[source]
        title = name if len(orders) > 1 else ""
        panels.append(replace(panel, title=title, source=name, is_minor=source != shown))
    n_most = max(map(len, orders.values()))
    side = min(3.4 + 0.09 * n_most, 6.5)
    caption = (
        "Classes are in an order that puts similar ones side by side (average linkage"
        + (f", from {names[clearest]}" if len(orders) > 1 else "")
        + "); the diagonal is the mean cosine within a class, pairs of a row with itself "
        "included. Red off the diagonal: classes that overlap. White: cosine 0, as on the "
        "uniform sphere."
    )
    if n_most > _MOST_CLASSES:
        caption += " Names of so many classes are in quality_by_class.csv (column order)."
    if len(orders) > 1:
        which = "the best by kNN accuracy" if accuracy else "the first"
        caption += f" Pictures show {names[shown]}, {which}; the page has all."
    return Figure(
        "class_similarity",
        "Mean cosine between classes",
        caption,
        panels,
        choice="checkpoint" if len(panels) > 1 else "",
        panel_size=(side + 0.7, side),
        finding=_overlap(cosines[shown], names[shown]),
    )


def _classes_panel(cells: Sequence[Sequence[float]], order: Sequence[str], reach: float) -> Panel:
    """The heat map of one source: with numbers where classes are few, without names of many."""
    texts: Sequence[Sequence[str]] = ()
    if len(order) <= _MOST_NUMBERS:
        texts = [["" if math.isnan(v) else _two_digits(v) for v in row] for row in cells]
    cut = shortened(order, _MOST_LETTERS)
    axis = Axis("class", ticks=[(float(i), text) for i, text in enumerate(cut)], in_full=order)
    if len(order) > _MOST_CLASSES:
        axis = Axis(
            f"{len(order)} classes", ticks=[(0.0, "1"), (len(order) - 1.0, str(len(order)))]
        )
    upright = len(order) <= _MOST_CLASSES and max(map(len, order)) * len(order) > _LETTERS_ACROSS
    marks = [Cells(cells, -reach, reach, "mean cosine", texts, is_diverging=True)]
    return Panel(marks, axis, axis, upright=upright)


def _two_digits(value: float) -> str:
    """A cosine with two decimals, as short as it can be.

    >>> _two_digits(0.25), _two_digits(-0.031), _two_digits(-0.001), _two_digits(1.0)
    ('.25', '−.03', '0', '1')
    """
    text = f"{value:.2f}".replace("0.", ".").replace("-", "−")
    return {".00": "0", "−.00": "0", "1.00": "1", "−1.00": "−1"}.get(text, text)


def _overlap(cosines: Mapping[tuple[str, str], float], name: str) -> str:
    """Which two classes are most alike."""
    others = {pair: value for pair, value in cosines.items() if pair[0] != pair[1]}
    if not others:
        return ""
    a, b = max(others, key=others.__getitem__)
    return f"In {name} the classes {a} and {b} are most alike: mean cosine {others[a, b]:.2f}."


def knn_figure(document: Document) -> Figure | None:
    """kNN accuracy against the number of voters, beside the linear probe."""
    records = defined(document.records("knn_accuracy"))
    if not records:
        return None
    names, colours = short_names(document), source_colours(document)
    ks = sorted({int(record.params["k"]) for record in records})
    probes = document.records("probe_accuracy", "normalised")
    at_probe = 2.2 * ks[-1]
    gaps = [math.log(b / a) for a, b in pairwise([*map(float, ks), at_probe])]
    marks: list[Mark] = []
    diamonds: list[Mark] = []
    order = [s for s in natural_order(document) if one_record(records, s) is not None]
    # intervals side by side, never nearer to another k than to their own
    spread = min(0.03 * (len(order) - 1), 0.6 * min(gaps))
    for i, source in enumerate(order):
        aside = math.exp(spread * (i / max(len(order) - 1, 1) - 0.5))
        name, colour = names[source], colours[source]
        own = [r for k in ks if (r := one_record(records, source, k=k)) is not None]
        xs, ys = [aside * float(r.params["k"]) for r in own], [value_of(r) for r in own]
        hovers = [hover_of(record, name) for record in own]
        line = Line(xs, ys, name, colour, marker=True, width=1.0, source=name, hovers=hovers)
        marks.append(line)
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
        f"Each row is classified by the vote of its k nearest among the {voters}; a vote has the "
        "weight exp(s / 0.07). Bars are 95% intervals. Diamonds: the linear probe on normalised "
        "rows.",
        [Panel([*marks, *diamonds], x_axis, Axis("accuracy, 95% intervals", is_share=True))],
        panel_size=(5.4, 3.4),
        finding=_accuracy_in_words(document, records, probes),
    )


def _accuracy_in_words(
    document: Document, records: Sequence[Record], probes: Sequence[Record]
) -> str:
    """The best by kNN and by the probe."""
    k = nearest_k((int(record.params["k"]) for record in records), 20)
    of_k = [record for record in records if record.params["k"] == k]
    said = [
        extremes(document, of_k, f"kNN accuracy at k = {k}", "{:.1%}"),
        extremes(document, probes, "linear probe accuracy", "{:.1%}"),
    ]
    return " ".join(text for text in said if text)


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
    skewness = [r for r in document.records("hubness_skewness") if r.params["k"] == _HUBS_OF]
    drawn: dict[str, list[Steps]] = {}
    for source in panel_sources(document):
        rows = document.rows("hubness_histogram", source=source, k=_HUBS_OF)
        if not rows:
            continue
        # bars stand on their number
        edges = [degree - 0.5 for degree in read_column(rows, "in_degree_from")]
        edges.append(float(str(rows[-1]["in_degree_to"])) + 0.5)
        heights, expected = (
            [count / (b - a) for count, (a, b) in zip(counts, pairwise(edges), strict=True)]
            for counts in (read_column(rows, "rows"), read_column(rows, "rows_if_random"))
        )
        drawn[source] = [
            Steps(edges, heights, "rows", HUES[5], filled=True),
            Steps(edges, expected, "if neighbours were random", BLACK),
        ]
    if not drawn:
        return None
    top = max(height for marks in drawn.values() for mark in marks for height in mark.heights)
    x_axis = Axis(f"times among the {_HUBS_OF} nearest of others")
    y_axis = replace(roots("rows", top), limits=(0.0, 1.45 * top))  # room for the remark
    panels = []
    for source, marks in drawn.items():
        own = one_record(skewness, source)
        note = "" if own is None else f"skewness {value_of(own):.2g}".replace("-", "−")
        rule = Rule(f"mean, {_HUBS_OF}", x=float(_HUBS_OF), colour=GREY, style="dotted")
        name = names[source]
        panels.append(Panel([*marks, rule], x_axis, y_axis, name, source=name, note=note))
    return figure_of_sources(
        document,
        "hubness",
        "Hubs and antihubs",
        "A long right tail means hubs: a few rows that are neighbours of very many others, which "
        "harms retrieval. A skewness below 1 means no hubs to speak of, above 3 strong hubs. The "
        "leftmost bar counts antihubs: rows that are nobody's neighbour.",
        panels,
        share_y=True,
        finding=extremes(document, skewness, f"skewness of hubs at k = {_HUBS_OF}", "{:.2g}"),
    )


_HUBS_OF = 10
