"""Entropy of the penalties against the temperature (Wang & Liu, CVPR 2021, Fig. 4)."""

from __future__ import annotations

import math

from cl_analyze.figures.colours import BLUE
from cl_analyze.figures.description import Axis, Figure, Mark, Panel, Rule
from cl_analyze.figures.marks import (
    defined,
    line_of_records,
    logarithmic_axis,
    read_column,
    reference_line,
    value_of,
)
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document


def entropy_figure(document: Document) -> Figure | None:
    """The entropy of the softmax over the negatives, a line for each source."""
    records = defined(document.records("penalty_entropy"))
    taus = sorted({float(record.params["tau"]) for record in records})
    if len(taus) < 2:
        return None
    names, colours = short_names(document), source_colours(document)
    marks: list[Mark] = []
    sources = [s for s in natural_order(document) if any(r.source == s for r in records)]
    for source in sources:
        own = sorted(
            (record for record in records if record.source == source),
            key=lambda record: float(record.params["tau"]),
        )
        label, colour = (names[source], colours[source]) if len(sources) > 1 else ("", BLUE)
        xs = [float(record.params["tau"]) for record in own]
        marks.append(line_of_records(xs, own, label, colour, source=names[source]))
    curves = {
        tuple(zip(read_column(rows, "tau"), read_column(rows, "value"), strict=True))
        for source in sources
        if (rows := document.rows("penalty_reference", source=source, quantity="penalty_entropy"))
    }
    if len(curves) == 1:  # of several numbers of rows or dimensions none is the reference
        (curve,) = curves
        points = sorted(curve)
        xs, ys = [tau for tau, _ in points], [value for _, value in points]
        marks.append(reference_line(xs, ys, "uniform sphere"))
    sizes = {document.n_negatives.get(source, 0.0) for source in sources}
    ceiling = ""
    if len(sizes) == 1 and min(sizes) > 0:
        (size,) = sizes
        marks.append(Rule("all alike", y=math.log(size), style="dotted"))
        ceiling = f"; at the dotted line, log {size:.0f}, every negative gets the same"
    lowest = [record for record in records if record.params["tau"] == taus[0]]
    ends = min(map(value_of, lowest)), max(map(value_of, lowest))
    span = f"{ends[0]:.2f} nats" if len(lowest) == 1 else f"{ends[0]:.2f} to {ends[1]:.2f} nats"
    return Figure(
        "penalty_entropy",
        "Entropy of the penalty against the temperature",
        "After Wang & Liu (CVPR 2021), Fig. 4. Where the entropy is low, a few of the hardest "
        f"negatives get nearly all of the repulsion{ceiling}. Bands are 95% intervals."
        + (" Dashed: uniform points with the same N and d." if len(curves) == 1 else ""),
        [
            Panel(
                marks,
                logarithmic_axis("temperature τ", taus),
                Axis("entropy of the penalty  [nats]"),
            )
        ],
        panel_size=(4.4, 3.2),
        finding=f"At τ = {taus[0]:g} the entropy of the penalty is {span}.",
    )
