"""Recall among the k nearest, both ways."""

from __future__ import annotations

from collections.abc import Sequence

from cl_analyze.figures.colours import GREY
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Style
from cl_analyze.figures.marks import defined, line_of_records, logarithmic_axis, value_of
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Record

_MOST_BANDS = 8
"""Checkpoints up to which lines have their intervals."""
_STYLES: tuple[tuple[str, Style], ...] = (("forward", "solid"), ("backward", "dashed"))


def recall_figure(document: Document) -> Figure | None:
    """Recall against k, a line for each source and direction."""
    records = defined(document.records("recall_at_k"))
    ks = sorted({int(record.params["k"]) for record in records})
    if len(ks) < 2:
        return None
    names, colours = short_names(document), source_colours(document)
    sources = [s for s in natural_order(document) if any(r.source == s for r in records)]
    marks: list[Mark] = []
    directions = []
    for direction, style in _STYLES:
        for source in sources:
            own = [r for r in records if r.source == source and r.params["direction"] == direction]
            own.sort(key=lambda record: int(record.params["k"]))
            if not own:
                continue
            directions.append(direction)
            xs = [float(record.params["k"]) for record in own]
            # one entry of the legend for both directions
            label = names[source] if direction == _STYLES[0][0] else ""
            line = line_of_records(
                xs, own, label, colours[source], style=style, source=names[source]
            )
            if len(sources) > _MOST_BANDS or direction != _STYLES[0][0]:
                ys = [value_of(record) for record in own]
                line = Line(
                    xs, ys, label, colours[source], style, marker=True, source=names[source]
                )
            marks.append(line)
    chance = _chance(document, records, ks)
    if chance:
        xs = [float(k) for k in ks]
        marks.append(Line(xs, chance, "by chance", GREY, "dotted", width=1.2))
    least = ks[0]
    at_least = [r for r in records if r.params["k"] == least and r.params["direction"] == "forward"]
    best = max(at_least, key=value_of, default=None)
    finding = ""
    if best is not None:
        whose = f" ({names[best.source]})" if len(sources) > 1 else ""
        where = "the nearest" if least == 1 else f"among the {least} nearest"
        finding = (
            f"The right item is {where} for {100 * value_of(best):.1f}% of the queries{whose}."
        )
    bands = " Bands are 95% intervals of the solid lines." if len(sources) <= _MOST_BANDS else ""
    dashed = " Dashed: the other direction, from the second view to the first."
    return Figure(
        "recall_curve",
        "Recall against the number of neighbours",
        "The share of the relevant items that are among the k nearest. The curve of a good "
        "embedding is near the top already on the left. Solid: the queries are rows of the "
        f"first view.{dashed * ('backward' in directions)}{bands}"
        + (" Dotted: the share among k items drawn at random." if chance else ""),
        [
            Panel(
                marks,
                logarithmic_axis("neighbours k", [float(k) for k in ks]),
                Axis("recall  [share]", limits=(0.0, 1.03)),
            )
        ],
        panel_size=(4.4, 3.2),
        finding=finding,
    )


def _chance(document: Document, records: Sequence[Record], ks: Sequence[int]) -> list[float]:
    """Recall of items drawn at random; empty where checkpoints differ in their number of items."""
    sizes = {document.n_rows.get(record.source, 0) for record in records}
    if len(sizes) != 1 or any(record.definition != "pairs" for record in records):
        return []
    (n,) = sizes
    return [min(k / n, 1.0) for k in ks] if n else []
