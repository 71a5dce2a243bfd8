"""Figures of the relative penalty: curves over similarities, and a summary by temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cl_analyze.figures.description import Axis, Figure, Line, Panel, Rule, Scale, Style
from cl_analyze.figures.marks import (
    Rows,
    axis_of_cosines,
    by_tau,
    defined,
    figure_of_sources,
    line_of_records,
    logarithmic_axis,
    negatives_line,
    one_record,
    panel_sources,
    read_column,
    records_of,
    reference_line,
    value_of,
)
from cl_analyze.figures.sources import by_temperature, short_names, source_colours
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Record

_STYLES: tuple[Style, ...] = ("dashed", "dotted", "dashdot")
"""Of the lines of references; a reader cannot distinguish more of them."""


@dataclass(frozen=True)
class _Curve:
    """A quantity over similarities, a line for each temperature.

    Attributes:
        name: of the figure.
        table: of the document.
        column: of the table, drawn against its column `similarity`.
        is_log: whether the y axis is logarithmic, with an even share as a rule; else with a line
            of all negatives.
    """

    name: str
    table: str
    column: str
    title: str
    y_label: str
    caption: str
    is_log: bool = True


_PENALTY_CURVE = _Curve(
    "penalty_curve",
    "penalty_curve",
    "relative_penalty",
    "Relative penalty of a negative against its similarity",
    "relative penalty r(s)",
    "After Wang & Liu (CVPR 2021), Fig. 3: the share of an anchor's penalty that one negative at "
    "similarity s gets, averaged over anchors, over the range where there are negatives. The "
    "dashed line is an even share.",
)
_PENALTY_MASS = _Curve(
    "penalty_mass",
    "penalty_curve",
    "penalty_mass",
    "Where the penalty goes",
    "share of penalty per 0.01",
    "Each line sums to 1 over an anchor's negatives. Grey: the negatives themselves, which is "
    "where a very large temperature would put it.",
    is_log=False,
)
_PENALTY_CURVE_HARD = _Curve(
    "penalty_curve_hard",
    "penalty_curve_hard",
    "relative_penalty",
    "Relative penalty over the hardest {alpha:g}% of the negatives",
    "relative penalty r(s)",
    "After Wang & Liu (CVPR 2021), eq. 9: the penalty is shared among each anchor's hardest "
    "negatives and is zero below its threshold, so that large temperatures no longer spend it "
    "on far ones. The dashed line is an even share of the kept negatives.",
)


def penalty_curve_figure(document: Document) -> Figure | None:
    """The paper's Fig. 3: relative penalty against similarity, a line for each temperature."""
    return _curve_figure(document, _PENALTY_CURVE)


def penalty_mass_figure(document: Document) -> Figure | None:
    """The mass of the penalty over similarities, beside all negatives."""
    return _curve_figure(document, _PENALTY_MASS)


def penalty_curve_hard_figure(document: Document) -> Figure | None:
    """The relative penalty where each anchor keeps its hardest negatives alone."""
    return _curve_figure(document, _PENALTY_CURVE_HARD)


def _curve_figure(document: Document, curve: _Curve) -> Figure | None:
    table = document.rows(curve.table)
    if not table:
        return None
    names = short_names(document)
    sources = {str(row["source"]) for row in table}
    order = [source for source in panel_sources(document) if source in sources]
    if len(order) == 1 and _dimensions(document, order[0]) is None:
        names = {order[0]: "similarities spread evenly over [−1, 1]"}
    panels = []
    for source in order:
        rows = [row for row in table if row["source"] == source]
        panels.append(_curve_panel(document, curve, rows, names[source]))
    title = curve.title.format(alpha=100 * float(table[0].get("hard_alpha") or 0.0))
    return figure_of_sources(
        document, curve.name, title, curve.caption, panels, share_y=curve.is_log, dial="τ"
    )


def _dimensions(document: Document, source: str) -> int | None:
    """Dimensions of a source; None for similarities that belong to no rows."""
    return next(record.d for record in document.results if record.source == source)


def _n_negatives(document: Document, source: str) -> float:
    """Negatives of a row; of similarities without rows, how many there are."""
    n = next(record.n for record in document.results if record.source == source)
    return document.n_negatives.get(source, n)


def _law_of(document: Document, source: str) -> str:
    """Which uniform law the reference of a source is, in words."""
    n, d = document.n_rows[source], _dimensions(document, source)
    n_negatives = document.n_negatives[source]
    size = f"N = {n}" if n_negatives == n - 1 else f"{n_negatives:.0f} negatives"
    return f"uniform sphere, {size}, d = {d}"


def _curve_panel(document: Document, curve: _Curve, rows: Rows, title: str) -> Panel:
    """The curves of one source, over the similarities that negatives have."""
    lines = []
    for tau, colour, part in by_tau(rows):
        xs, ys = read_column(part, "similarity"), read_column(part, curve.column)
        there = [i for i, row in enumerate(part) if row["negative_fraction"]]
        kept = list(range(min(there), max(there) + 1))
        if curve.is_log:
            kept = [i for i in kept if 0 < ys[i] <= 1]
        line = Line([xs[i] for i in kept], [ys[i] for i in kept], f"τ = {tau:g}", colour, level=tau)
        lines.append(line)
    x_axis, y_axis = axis_of_cosines("cosine similarity s"), Axis(curve.y_label)
    if not curve.is_log:
        _, _, lowest = next(by_tau(rows))
        return Panel([negatives_line(lowest), *lines], x_axis, y_axis, title)
    source = str(rows[0]["source"])
    n_kept = max(_n_negatives(document, source), 1.0)
    y_limits = (1e-9, 1.0)
    if "hard_alpha" in rows[0]:
        n_kept = max(1, math.ceil(float(rows[0]["hard_alpha"] or 1.0) * n_kept - 1e-9))
        first = min(float(row["similarity"] or 0.0) for row in rows if row["relative_penalty"])
        x_axis = Axis(x_axis.label, limits=(max(first - 0.05, -1.0), 1.0))
        ys = [y for line in lines for y in line.y]
        y_limits = (max(min(ys) / 2.0, 1e-9), min(3.0 * max(ys), 1.0))
    even_share = Rule("even share", y=1.0 / n_kept)
    y_axis = Axis(curve.y_label, "log", limits=y_limits)
    return Panel([*lines, even_share], x_axis, y_axis, title)


def penalty_summary_figure(document: Document) -> Figure | None:
    """Effective negatives, top-10 share and false-negative share against the temperature."""
    taus = sorted({float(r.params["tau"]) for r in document.records("penalty_entropy")})
    if not taus:
        return None
    panels = [
        _summary_panel(document, records, y_label, scale, taus)
        for metric, definition, y_label, scale in _SUMMARY
        if defined(records := records_of(document, metric, definition))
    ]
    has_classes = defined(records_of(document, _FALSE_NEGATIVES, None))
    return Figure(
        "penalty_summary",
        "How each temperature spreads the penalty",
        "Small temperatures spend the penalty on few, near negatives"
        + (", many of them of the anchor's own class" if has_classes else "")
        + ". Bands are 95% intervals; dashed, uniform points, as many and of this d"
        + ("; dotted, what even weights would give." if has_classes else "."),
        panels,
        columns=len(panels),
        panel_size=(3.4, 2.9),
    )


_FALSE_NEGATIVES = "penalty_false_negative_share"
_SUMMARY: tuple[tuple[str, str | None, str, Scale], ...] = (
    ("penalty_effective_negatives", "mean_exp", "effective negatives", "log"),
    ("penalty_top10_share", None, "share on 10 nearest", "linear"),
    (_FALSE_NEGATIVES, None, "share on own class", "linear"),
)


def _summary_panel(
    document: Document, records: Sequence[Record], y_label: str, scale: Scale, taus: Sequence[float]
) -> Panel:
    """One metric against the temperature, a line for each source."""
    metric = records[0].metric
    names, colours = short_names(document), source_colours(document)
    marks: list[Line | Rule] = []
    for source in by_temperature(document):
        own = [r for tau in taus if (r := one_record(records, source, tau=tau)) is not None]
        xs = [float(record.params["tau"]) for record in own]
        marks.append(line_of_records(xs, own, names[source], colours[source]))
    if metric == _FALSE_NEGATIVES:
        marks += _even_share(document)
    else:
        marks += _uniform_sphere(document, metric, taus)
    spread = [y for mark in marks if isinstance(mark, Line) for y in mark.y if y > 0]
    if scale == "log" and max(spread) < 20 * min(spread):
        scale = "linear"  # too little for a log axis to have ticks
    top, bottom = max(spread, default=0.0), min(spread, default=0.0)
    is_flat = top - bottom < 1e-3 * top  # differences of rounding must not look like structure
    y_axis = Axis(y_label, scale, limits=(0.0, 1.2 * top) if is_flat and top > 0 else None)
    return Panel(marks, logarithmic_axis("temperature τ of the penalty", taus), y_axis)


def _even_share(document: Document) -> list[Rule]:
    """The share of the anchor's own class under even weights."""
    for source in by_temperature(document):
        share = one_record(document.records(_FALSE_NEGATIVES), source)
        ratio = one_record(document.records("penalty_false_negative_ratio"), source)
        if share is not None and ratio is not None and value_of(ratio) > 0:
            return [Rule("even weights", y=value_of(share) / value_of(ratio), style="dotted")]
    return []


def _uniform_sphere(document: Document, metric: str, taus: Sequence[float]) -> list[Line]:
    """A line for each number of rows and dimensions, where they are few."""
    labels: dict[tuple[float, ...], str] = {}
    for source in by_temperature(document):
        rows = document.rows("penalty_reference", source=source, quantity=metric)
        if rows:
            value_at = {row["tau"]: float(row["value"] or 0.0) for row in rows}
            values = tuple(value_at[tau] for tau in taus)
            labels.setdefault(values, _law_of(document, source))
    if len(labels) > len(_STYLES):
        return []
    return [
        reference_line(list(taus), values, label, style)
        for (values, label), style in zip(labels.items(), _STYLES, strict=False)
    ]
