"""Figures of representation quality."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Literal

from cl_analyze.document import Document
from cl_analyze.figures.colours import BLACK, CLASS_HUES, GREY, HUES
from cl_analyze.figures.description import Cells, Figure, Line, Mark, Panel, Points, Rule, Steps
from cl_analyze.figures.sources import (
    MAX_PANELS,
    bar,
    by_temperature,
    one_record,
    panel_columns,
    panel_note,
    panel_sources,
    panel_title,
    read_column,
    short_names,
    source_colours,
    value_of,
)
from cl_analyze.tables import Cell

_MOST_CLASSES = 40
"""Classes up to which a heat map can be read."""
_SYMBOLS: tuple[Literal["o", "s", "^"], ...] = ("o", "s", "^")
_MOST_COLOURS = len(CLASS_HUES) * len(_SYMBOLS)
_SHOWN = "normalised_centred"


def spectrum_figure(document: Document) -> Figure | None:
    """Variance along each principal direction, and what the first of them hold."""
    if not document.rows("spectrum"):
        return None
    names, colours = short_names(document), source_colours(document)
    along: list[Mark] = []
    sums: list[Mark] = []
    dims: dict[int, None] = {}
    longest, least = 1, 1.0
    for source in by_temperature(document):
        rows = document.rows("spectrum", source=source, definition=_SHOWN)
        values = read_column(rows, "eigenvalue")
        there = [i for i, value in enumerate(values) if value > 1e-12]
        longest = max(longest, len(values))
        dims[len(values)] = None
        if not there:
            continue
        ranks = [float(i + 1) for i in there]
        held = [values[i] for i in there]
        least = min(least, *held)
        along.append(Line(ranks, held, names[source], colours[source]))
        total = [0.0, *accumulate(held)]
        sums.append(Line([0.0, *ranks], total, names[source], colours[source]))
    if not along:
        return None
    if len(dims) == 1:
        along.append(Rule("uniform sphere", y=1.0 / longest))
        sums.append(Line([0.0, float(longest)], [0.0, 1.0], "", "#444444", "dashed", width=1.1))
    reach = (0.0, longest + 0.5)
    return Figure(
        "spectrum",
        "Spectrum of the rows on the sphere, about their mean",
        "On the left the variance of unit rows along each principal direction, on the right what "
        "the first of them hold together: all of it is 1 less the square of the mean row. A curve "
        "that falls off a cliff has collapsed onto few directions, one that stays at the bottom on "
        "the right has collapsed altogether. Dashed: the uniform sphere.",
        [
            Panel(
                along,
                "rank of the direction",
                "variance",
                y_scale="log",
                x_limits=reach,
                y_limits=(max(least / 2.0, 1e-12), 1.0),
            ),
            Panel(
                sums,
                "number of directions",
                "variance held together",
                x_limits=reach,
                y_limits=(0.0, 1.03),
            ),
        ],
        columns=2,
        panel_size=(3.9, 3.0),
    )


def class_similarity_figure(document: Document) -> Figure | None:
    """Mean cosine between classes, similar classes side by side, a panel for each source."""
    names = short_names(document)
    found: list[tuple[str, list[str], dict[tuple[str, str], float]]] = []
    for source in panel_sources(document):
        pairs = document.rows("class_pairs", source=source)
        classes = sorted(
            document.rows("quality_by_class", source=source), key=lambda row: int(str(row["order"]))
        )
        listed = [str(row["class"]) for row in classes]
        if pairs and len(listed) <= _MOST_CLASSES:
            values = {}
            for row in pairs:
                a, b = str(row["class_a"]), str(row["class_b"])
                values[a, b] = values[b, a] = float(str(row["similarity"]))
            found.append((source, listed, values))
    if not found:
        return None
    everything = [value for _, _, values in found for value in values.values()]
    low, high = min(everything), max(everything)
    size = max(len(listed) for _, listed, _ in found)
    # one order for all, so that panels can be compared: that of the most structured
    clearest = max(found, key=lambda each: max(each[2].values()) - min(each[2].values()))
    panels = []
    for source, own, values in found:
        same = sorted(own) == sorted(clearest[1])
        listed = clearest[1] if same else own
        matrix = [[values.get((a, b), float("nan")) for b in listed] for a in listed]
        ticks = [(float(i), _short(name)) for i, name in enumerate(listed)]
        panels.append(
            Panel(
                [Cells(matrix, low, high, "mean cosine")],
                "class",
                "class",
                title=names[source] if len(found) > 1 else "",
                x_ticks=ticks,
                y_ticks=ticks,
                upright=True,
            )
        )
    side = min(3.0 + 0.09 * size, 6.5)
    return Figure(
        "class_similarity",
        panel_title(document, "Mean cosine between classes"),
        "Classes are in an order that puts similar ones side by side (average linkage"
        + (f", from {names[clearest[0]]}" if len(found) > 1 else "")
        + "); the diagonal is the cosine within a class, self pairs counted. Blocks off the "
        "diagonal are classes that overlap." + panel_note(document),
        panels,
        columns=min(panel_columns(len(panels)), 3),
        panel_size=(side + 0.9, side - 0.4),
    )


def _short(text: str, most: int = 14) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def knn_figure(document: Document) -> Figure | None:
    """kNN accuracy against the number of voters, beside the linear probe."""
    records = [r for r in document.records("knn_accuracy") if r.value is not None]
    if not records:
        return None
    names, colours = short_names(document), source_colours(document)
    ks = sorted({int(r.params["k"]) for r in records})
    marks: list[Mark] = []
    probes = document.records("probe_accuracy", "normalised")
    beyond = 2.2 * ks[-1]
    order = [s for s in by_temperature(document) if one_record(records, s) is not None]
    diamonds: list[Mark] = []
    for i, source in enumerate(order):
        aside = 1.0 + 0.03 * (i - 0.5 * (len(order) - 1))  # intervals side by side
        own = [r for k in ks if (r := one_record(records, source, k=k)) is not None]
        xs = [aside * float(r.params["k"]) for r in own]
        ys, errors = [value_of(r) for r in own], [bar(r) for r in own]
        marks.append(Line(xs, ys, names[source], colours[source], marker=True))
        marks.append(Points(xs, ys, names[source], colours[source], y_error=errors, size=3.5))
        probe = one_record(probes, source)
        if probe is not None:
            diamonds.append(
                Points(
                    [beyond * aside],
                    [value_of(probe)],
                    "linear probe",
                    colours[source],
                    y_error=[bar(probe)],
                    hollow=True,
                    symbol="D",
                )
            )
    marks += diamonds
    ticks = [(float(k), str(k)) for k in ks]
    if probes:
        ticks.append((beyond, "probe"))
    how = records[0].definition
    return Figure(
        "knn_accuracy",
        "kNN accuracy against the number of neighbours, and a linear probe",
        (
            "Each row is classified by the other rows (leave-one-out)"
            if how == "leave_one_out"
            else "Each row is classified by the training set"
        )
        + ", votes weighted by exp(s / 0.07); bars are 95% intervals. Diamonds: the linear probe "
        "on normalised rows.",
        [
            Panel(
                marks,
                "neighbours k",
                "accuracy, 95% intervals",
                x_scale="log",
                x_ticks=ticks,
                x_limits=(0.8 * ks[0], beyond * 1.3 if probes else 1.25 * ks[-1]),
            )
        ],
        panel_size=(5.4, 3.4),
    )


def hubness_figure(document: Document) -> Figure | None:
    """How often rows are among the ten nearest of others, beside neighbours drawn at random."""
    names = short_names(document)
    panels = []
    for source in panel_sources(document):
        rows = document.rows("hubness_histogram", source=source, k=10)
        if not rows:
            continue
        # bars stand on their number
        edges = [float(str(row["in_degree_from"])) - 0.5 for row in rows]
        edges.append(float(str(rows[-1]["in_degree_to"])) + 0.5)
        widths = [b - a for a, b in pairwise(edges)]
        counts, law = read_column(rows, "rows"), read_column(rows, "rows_if_random")
        heights = [c / w for c, w in zip(counts, widths, strict=True)]
        expected = [c / w for c, w in zip(law, widths, strict=True)]
        panels.append(
            Panel(
                [
                    Steps(edges, heights, "rows", HUES[0], filled=True),
                    Steps(edges, expected, "if neighbours were random", BLACK),
                    Rule("k = 10", x=10.0, colour=GREY, style="dotted"),
                ],
                "times among the 10 nearest of others",
                "rows (square-root scale)",
                title=names[source],
                y_scale="sqrt",
            )
        )
    if not panels:
        return None
    return Figure(
        "hubness",
        panel_title(document, "Hubs and antihubs"),
        "A long right tail means hubs: a few rows that are neighbours of very many, which spoils "
        "retrieval. The leftmost bar are antihubs, nobody's neighbours." + panel_note(document),
        panels,
        columns=panel_columns(len(panels)),
        panel_size=(5.4, 3.2) if len(panels) == 1 else (3.3, 2.4),
    )


def projection_figure(document: Document) -> Figure | None:
    """A map of the rows in two dimensions, coloured by class."""
    if not document.rows("projection"):
        return None
    names = short_names(document)
    panels = []
    method, reach = "pca", 1e-9
    for source in panel_sources(document):
        rows = document.rows("projection", source=source)
        if not rows:
            continue
        method = str(rows[0]["method"])
        classes = [row["class"] for row in rows if row["class"] is not None]
        shown = sorted(set(classes), key=lambda c: (-classes.count(c), str(c)))[:_MOST_COLOURS]
        shown.sort(key=str)
        others = [row for row in rows if row["class"] not in shown]
        marks: list[Mark] = []
        if others:
            label = "other classes" if shown else ""
            marks.append(_cloud(others, label, "#b5b5b5"))
        for i, name in enumerate(shown):
            own = [row for row in rows if row["class"] == name]
            cloud = _cloud(own, _short(str(name), 24), CLASS_HUES[i % len(CLASS_HUES)])
            marks.append(replace(cloud, symbol=_SYMBOLS[i // len(CLASS_HUES)]))
        reach = max(reach, *(abs(float(str(row[which]))) for row in rows for which in "xy"))
        panels.append(
            Panel(
                marks,
                _axis(rows[0], "x", 1),
                _axis(rows[0], "y", 2),
                title=names[source],
            )
        )
    if method == "pca":  # one scale for all: a collapsed file is a dot
        limits = (-1.05 * reach, 1.05 * reach)
        panels = [replace(panel, x_limits=limits, y_limits=limits) for panel in panels]
    title = {"pca": "Rows on their two principal axes", "tsne": "Rows by t-SNE"}.get(
        method, "Rows by UMAP"
    )
    caption = (
        "Unit rows less their mean, projected on the two directions of most variance: what looks "
        "mixed here may be apart in the other directions."
        if method == "pca"
        else "Distances between far points, and sizes of clusters, mean nothing in this picture."
    )
    if any(mark.label == "other classes" for panel in panels for mark in panel.marks):
        caption += f" The {_MOST_COLOURS} largest classes have colours."
    side = 4.4 if len(panels) == 1 else 3.1
    return Figure(
        "projection",
        panel_title(document, title),
        caption + panel_note(document),
        panels[:MAX_PANELS],
        columns=panel_columns(len(panels)),
        panel_size=(side * 1.1, side),
    )


def _cloud(rows: list[dict[str, Cell]], label: str, colour: str) -> Points:
    return Points(
        read_column(rows, "x"),
        read_column(rows, "y"),
        label,
        colour,
        size=2.6 if len(rows) > 40 else 4.0,
        opacity=0.65,
    )


def _axis(row: dict[str, Cell], which: str, number: int) -> str:
    share = row[f"explained_{which}"]
    if share is None:
        return f"axis {number} (no unit)"
    return f"axis {number} ({100 * float(str(share)):.0f}% of variance)"
