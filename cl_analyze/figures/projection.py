"""Maps of the rows in two dimensions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from cl_analyze.figures.colours import CLASS_HUES
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Points
from cl_analyze.figures.marks import Rows, figure_of_sources, panel_sources, read_column
from cl_analyze.figures.sources import short_names
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import shortened
from cl_analyze.results.tables import Cell

_TITLES = {
    "pca": "Rows on their two principal axes",
    "tsne": "Rows by t-SNE",
    "umap": "Rows by UMAP",
}
_SYMBOLS: tuple[Literal["o", "s", "^"], ...] = ("o", "s", "^")
_MOST_COLOURS = len(CLASS_HUES) * len(_SYMBOLS)
_OTHERS = "#b5b5b5"
_LEAST_REACH = 0.1
"""Half the least length of principal axes: rows that nearly coincide must look like one point."""
_ONE_POINT = 0.05
"""Distance of rows from their mean up to which a panel says how near they are."""
_MOST_PAIRS = 50
"""Partners that are joined by a line."""
_MANY_ROWS = 400
_LONGEST_ID = 60
_DIGITS = 4


def projection_figure(document: Document) -> Figure | None:
    """A map of the rows in two dimensions, coloured by class."""
    sources = [s for s in panel_sources(document) if document.rows("projection", source=s)]
    if not sources:
        return None
    tables = {source: document.rows("projection", source=source) for source in sources}
    names = short_names(document)
    shown, which = _coloured(document, tables)
    labels = dict(zip(shown, shortened(shown, 24), strict=True))
    methods = {source: str(table[0]["method"]) for source, table in tables.items()}
    reach = max(
        [_LEAST_REACH]
        + [
            max(map(abs, read_column(table, "x") + read_column(table, "y")))
            for source, table in tables.items()
            if methods[source] == "pca"
        ]
    )
    panels = []
    for source, table in tables.items():
        x_axis, y_axis = _axis(table[0], "x", 1), _axis(table[0], "y", 2)
        if methods[source] == "pca":  # one scale for all: a collapsed file is a dot
            limits = (-1.05 * reach, 1.05 * reach)
            x_axis, y_axis = replace(x_axis, limits=limits), replace(y_axis, limits=limits)
        name, note = names[source], _note(document, source)
        panel = Panel(_marks(table, labels), x_axis, y_axis, name, source=name, note=note)
        panels.append(panel)
    common = Counter(methods.values()).most_common(1)[0][0]
    side = 4.4 if len(panels) == 1 else 3.1
    return figure_of_sources(
        document,
        "projection",
        _TITLES[common],
        " ".join(filter(None, (_caption(document, tables, methods), which))),
        panels,
        panel_size=(side * 1.1, side),
    )


def _caption(document: Document, tables: Mapping[str, Rows], methods: Mapping[str, str]) -> str:
    """How to read the map, and how many rows it shows."""
    texts = []
    if set(methods.values()) & {"tsne", "umap"}:
        texts.append(
            "Rows that are near in the space are near in this picture. Distances between far "
            "points, and sizes of clusters, mean nothing here."
        )
    if "pca" in methods.values():
        texts.append(
            "Principal axes: unit rows minus their mean, along the two directions of largest "
            "variance. Groups that look mixed here may be separate in other directions."
        )
    parts = {
        (sum(row["tower"] == 1 for row in table), document.n_rows[source])
        for source, table in tables.items()
    }
    if any(n_shown < n for n_shown, n in parts):
        counts = ", ".join(f"{n_shown:,} of {n:,}" for n_shown, n in sorted(parts))
        texts.append(f"A random sample of the rows is shown ({counts}).")
    if any(row["tower"] == 2 for table in tables.values() for row in table):
        texts.append(
            "Squares are the rows of the second file, laid out together with those of the first; "
            f"grey lines join up to {_MOST_PAIRS} partners."
        )
    return " ".join(texts)


def _coloured(document: Document, tables: Mapping[str, Rows]) -> tuple[list[str], str]:
    """The classes that have colours, in the order of the classes, and which they are in words.

    All where there are colours for all.  Of more classes the largest; where the sizes do not choose
    them, those that are classified worst.
    """
    counts = Counter(
        str(row["class"]) for table in tables.values() for row in table if row["class"] is not None
    )
    order = _order_of_classes(document, counts)
    if len(counts) <= _MOST_COLOURS:
        return order, ""
    largest = sorted(order, key=lambda name: -counts[name])
    if counts[largest[0]] >= 2 * counts[largest[_MOST_COLOURS]]:
        kept = set(largest[:_MOST_COLOURS])
        which = f"The {_MOST_COLOURS} largest of {len(counts)} classes have colours."
        return [name for name in order if name in kept], which
    for column, words in (("knn_accuracy", "kNN"), ("probe_accuracy", "linear probe")):
        accuracies: dict[str, list[float]] = {}
        for source in tables:
            for row in document.rows("quality_by_class", source=source):
                if row[column] is not None and str(row["class"]) in counts:
                    accuracies.setdefault(str(row["class"]), []).append(float(str(row[column])))
        if len(accuracies) >= len(CLASS_HUES):
            worst = sorted(accuracies, key=lambda c: sum(accuracies[c]) / len(accuracies[c]))
            kept = set(worst[: len(CLASS_HUES)])
            which = (
                f"Of {len(counts)} classes the {len(CLASS_HUES)} with the lowest accuracy "
                f"({words}) have colours."
            )
            return [name for name in order if name in kept], which
    kept = set(largest[: len(CLASS_HUES)])
    which = f"{len(CLASS_HUES)} of {len(counts)} classes have colours."
    return [name for name in order if name in kept], which


def _order_of_classes(document: Document, counts: Mapping[str, int]) -> list[str]:
    """The classes in the order of their numbers, which the table of classes has."""
    listed = [str(row["class"]) for row in document.rows("quality_by_class")]
    places = {name: i for i, name in reversed(list(enumerate(listed)))}
    return sorted(counts, key=lambda name: (places.get(name, len(listed)), name))


def _marks(table: Rows, labels: Mapping[str, str]) -> list[Mark]:
    """A cloud for each class that has a colour, one for the others, and lines between partners."""
    size = 2.6 if len(table) > _MANY_ROWS else 4.0
    marks: list[Mark] = []
    second = {row["row"]: row for row in table if row["tower"] == 2}
    if second:
        marks.append(_pairs([row for row in table if row["tower"] == 1], second))
    for tower in (1, 2):
        of_tower = [row for row in table if row["tower"] == tower]
        others = [row for row in of_tower if str(row["class"]) not in labels]
        if others:
            label = "other classes" if labels else ""
            marks.append(replace(_cloud(others, label, _OTHERS, "o", tower), size=size))
        for i, (name, label) in enumerate(labels.items()):
            own = [row for row in of_tower if row["class"] == name]
            if own:
                cloud = _cloud(own, label, *look_of_class(i), tower)
                marks.append(replace(cloud, size=size))
    return marks


Symbol = Literal["o", "s", "^"]


def look_of_class(i: int) -> tuple[str, Symbol]:
    """Colour and symbol of a class: those of the next colour have the next symbol.

    >>> look_of_class(0)[1], look_of_class(1)[1]
    ('o', 's')
    """
    n = len(CLASS_HUES)
    return CLASS_HUES[i % n], _SYMBOLS[(i + i // n) % len(_SYMBOLS)]


def _cloud(rows: Rows, label: str, colour: str, symbol: Symbol, tower: int) -> Points:
    """The rows of one class."""
    near = [str(row["neighbours"] or "").split() for row in rows]
    return Points(
        _rounded(rows, "x"),
        _rounded(rows, "y"),
        label,
        colour,
        opacity=0.65,
        symbol="s" if tower == 2 else symbol,
        hollow=tower == 2,
        hovers=[_told(row) for row in rows],
        rows=[int(str(row["row"])) for row in rows],
        neighbours=[list(map(int, own)) for own in near] if any(near) else (),
    )


def _rounded(rows: Rows, column: str) -> list[float]:
    """Coordinates with a few digits, which is what a page can show."""
    return [float(f"{value:.{_DIGITS}g}") for value in read_column(rows, column)]


def _told(row: Mapping[str, Cell]) -> str:
    """What a reader sees who hovers over a row."""
    parts = [f"row {row['row']}" if row["tower"] == 1 else f"partner of row {row['row']}"]
    if row["id"] is not None:
        text = str(row["id"])
        parts.append(f"id {text if len(text) <= _LONGEST_ID else text[: _LONGEST_ID - 1] + '…'}")
    if row["class"] is not None:
        parts.append(f"class {row['class']}")
    return ", ".join(parts)


def _pairs(rows: Rows, second: Mapping[Cell, Mapping[str, Cell]]) -> Line:
    """Short lines between some rows and their partners, evenly over the rows."""
    step = max(1, math.ceil(len(rows) / _MOST_PAIRS))
    xs: list[float] = []
    ys: list[float] = []
    for row in rows[::step]:
        other = second[row["row"]]
        for values, column in ((xs, "x"), (ys, "y")):
            values += [*_rounded([dict(row), dict(other)], column), math.nan]
    return Line(xs, ys, "", _OTHERS, width=0.8)


def _axis(row: Mapping[str, Cell], column: str, number: int) -> Axis:
    share = row[f"explained_{column}"]
    if share is None:  # distances have no unit, so that numbers would say nothing
        return Axis(f"axis {number} (no unit)", ticks=((0.0, ""),))
    return Axis(f"axis {number} ({100 * float(str(share)):.0f}% of variance)")


def _note(document: Document, source: str) -> str:
    """How far rows are from their mean, where they nearly coincide; else empty.

    The variances along all directions add up to the mean squared distance.
    """
    rows: Sequence[Mapping[str, Cell]] = document.rows(
        "spectrum", source=source, definition="normalised_centred"
    )
    distance = math.sqrt(sum(float(str(row["eigenvalue"])) for row in rows))
    if not rows or distance > _ONE_POINT:
        return ""
    return f"rows are about {distance:.1g} from their mean"
