"""The matrix of every pair of checkpoints, in clustered order, with its dendrogram beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cl_analyze.figures.colours import GREY
from cl_analyze.figures.description import Axis, Cells, Figure, Line, Mark, Panel
from cl_analyze.figures.marks import Rows
from cl_analyze.figures.sources import short_names
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell

FEWEST = 3
"""Checkpoints from which on a matrix shows more than a number."""
_MEASURES = {
    "cka": ("linear CKA, debiased", "CKA", 1.0),
    "neighbour_overlap": ("nearest neighbours shared", "share", 1.0),
    "rsa": ("rank correlation of cosines (RSA)", "correlation", 1.0),
    "procrustes_residual": ("squared distance after rotation", "squared distance", 0.0),
}
"""Metric -> title of its panel, label of the colours, and the value of a checkpoint with itself."""
_GAP, _DEPTH = 0.4, 0.3
"""Free cells between the matrix and the dendrogram, and its depth as a share of the matrix."""


def matrix_figure(document: Document) -> Figure | None:
    """How alike every two checkpoints are, a panel for each measure."""
    table, nodes = document.rows("compare_matrix"), document.rows("compare_clusters")
    leaves = sorted(
        (row for row in nodes if row["source"] is not None),
        key=lambda row: float(row["position"] or 0.0),
    )
    order = [str(row["source"]) for row in leaves]
    if len(order) < FEWEST:
        return None
    names = short_names(document)
    n = len(order)
    y_axis = Axis(ticks=[(float(i), names[s]) for i, s in enumerate(order)], limits=(n - 0.5, -0.5))
    x_axis = Axis(ticks=y_axis.ticks, limits=(-0.5, n - 0.5 + _GAP + _DEPTH * n))
    panels: list[Panel] = []
    for metric, (title, label, own_value) in _MEASURES.items():
        rows = [row for row in table if row["metric"] == metric and row["value"] is not None]
        if not rows:
            continue
        if rows[0]["k"] is not None:
            title = f"{rows[0]['k']} {title}"
        marks: list[Mark] = [_cells(rows, order, own_value, label), *_dendrogram(nodes, n)]
        panels.append(Panel(marks, x_axis, y_axis, title, upright=True, is_minor=bool(panels)))
    side = min(2.9 + 0.11 * n, 6.0)
    p_values = [float(row["p_permutation"]) for row in table if row["p_permutation"] is not None]
    chance = max(p_values, default=1.0)
    within = "No pair is as alike by chance" if chance < 0.05 else "Some pairs are alike by chance"
    return Figure(
        "compare_matrix",
        "Every pair of checkpoints",
        "The order puts similar checkpoints side by side. The tree joins clusters at their mean "
        "1 − CKA (average linkage), which grows to the right. Yellow is similar; for the "
        f"distance, dark is similar. White: all rows of a checkpoint coincide. {within} (largest "
        f"p under permuted rows {chance:.2g})."
        + (f" Pictures show {panels[0].title}; the page has all." if len(panels) > 1 else ""),
        panels,
        columns=2,
        choice="measure" if len(panels) > 1 else "",
        panel_size=(side * (1 + _DEPTH), side),
        finding=_alike_in_words(document, table),
    )


def _alike_in_words(document: Document, table: Rows) -> str:
    """Which two checkpoints are most alike, and which least."""
    rows = [row for row in table if row["metric"] == "cka" and row["value"] is not None]
    if len(rows) < FEWEST:
        return ""
    names = short_names(document)
    most, least = (pick(rows, key=lambda row: float(row["value"] or 0.0)) for pick in (max, min))

    def pair(row: Mapping[str, Cell]) -> str:
        return " and ".join(names[str(row[key])] for key in ("source_a", "source_b"))

    return (
        f"By linear CKA {pair(most)} are most alike ({float(most['value'] or 0.0):.2f}), "
        f"{pair(least)} least ({float(least['value'] or 0.0):.2f})."
    )


def _cells(rows: Rows, order: Sequence[str], own_value: float, label: str) -> Cells:
    """The matrix of a measure; the range of colours reaches from no likeness to all."""
    values = {
        pair: float(row["value"] or 0.0)
        for row in rows
        for pair in (
            (row["source_a"], row["source_b"]),
            (row["source_b"], row["source_a"]),
        )
    }
    least, most = min(values.values()), max(values.values())
    matrix = [
        [own_value if a == b else values.get((a, b), float("nan")) for b in order] for a in order
    ]
    return Cells(matrix, min(least, 0.0), max(most, own_value), label)


def _dendrogram(nodes: Rows, n: int) -> Iterator[Line]:
    """The merges, to the right of the matrix."""
    places = {
        row["node"]: (float(row["height"] or 0.0), float(row["position"] or 0.0)) for row in nodes
    }
    highest = max((height for height, _ in places.values()), default=0.0) or 1.0
    start, depth = n - 0.5 + _GAP, _DEPTH * n - 0.2
    for row in nodes:
        if row["left"] is None:
            continue
        (low, upper), (high, lower) = places[row["left"]], places[row["right"]]
        height = places[row["node"]][0]
        xs = [start + depth * h / highest for h in (low, height, height, high)]
        yield Line(xs, [upper, upper, lower, lower], colour=GREY, width=1.2)
