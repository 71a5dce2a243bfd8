"""The plane of alignment and uniformity (Wang & Isola, ICML 2020)."""

from __future__ import annotations

from cl_analyze.figures import measures
from cl_analyze.figures.colours import BLACK
from cl_analyze.figures.description import Axis, Figure, Mark, Panel, Rule
from cl_analyze.figures.marks import half_width, one_record, value_of
from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.figures.trade_off import plane_marks
from cl_analyze.results.document import Document

_POWER = 2.0
"""Of the distances between positives, as in the paper."""


def alignment_uniformity_figure(document: Document) -> Figure | None:
    """How far positives are apart against how evenly rows are spread, a point for each source."""
    uniformity = measures.uniformity(document)
    alignment = document.records("alignment", power=_POWER)
    points = {
        source: (u, a)
        for source in natural_order(document)
        if (u := one_record(uniformity.records, source)) is not None
        and (a := one_record(alignment, source)) is not None
    }
    if len(points) < 2:
        return None
    marks: list[Mark] = []
    if uniformity.uniform_sphere is not None:
        marks.append(Rule("uniform sphere", x=uniformity.uniform_sphere, colour=BLACK))
    on_plane, has_runs = plane_marks(document, points)
    marks += on_plane
    highest = max(value_of(a) + half_width(a) for _, a in points.values())
    names = short_names(document)
    most_aligned = min(points, key=lambda source: value_of(points[source][1]))
    most_uniform = min(points, key=lambda source: value_of(points[source][0]))
    aligned = f"{value_of(points[most_aligned][1]):.3f}"
    spread = f"{value_of(points[most_uniform][0]):.3f} nats".replace("-", "−")
    finding = (
        f"{names[most_aligned]} is the most aligned ({aligned}) and the most uniform ({spread})."
        if most_aligned == most_uniform
        else f"{names[most_aligned]} is the most aligned ({aligned}), {names[most_uniform]} the "
        f"most uniform ({spread})."
    )
    return Figure(
        "alignment_uniformity",
        "Alignment and uniformity",
        "After Wang & Isola (ICML 2020). Further down, the two views of a row lie closer "
        "together; further left, rows are spread more evenly. A checkpoint further down and left "
        "than another is better in both. At the bottom the views are equal, also for an encoder "
        "that ignores its input. The dashed line: points spread evenly over the sphere. Bars are "
        "95% intervals." + (" Arrows go along the run." if has_runs else ""),
        [
            Panel(
                marks,
                Axis(f"{uniformity.label}   ←\u00a0more\u00a0uniform"),
                Axis(
                    "alignment  [squared distance]",
                    limits=(0.0, 1.1 * max(highest, 1e-9)),
                ),
                note="↙ better",
            )
        ],
        panel_size=(4.4, 3.6),
        finding=finding,
    )
