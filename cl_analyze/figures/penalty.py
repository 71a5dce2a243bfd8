"""Figures of the relative penalty: curves over similarities, and a summary by temperature."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Rule, Scale, Style
from cl_analyze.figures.marks import (
    Rows,
    axis_of_cosines,
    by_tau,
    decades,
    defined,
    extremes,
    line_of_records,
    logarithmic_axis,
    negatives_line,
    one_record,
    read_column,
    records_of,
    reference_line,
    value_of,
)
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.metrics.headlines import has_two_towers
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
    "After Wang & Liu (CVPR 2021), Fig. 3: the share of an anchor's penalty on one negative at "
    "similarity s, averaged over anchors. It is drawn where there are negatives. The dashed line "
    "is an even share.",
)
_PENALTY_MASS = _Curve(
    "penalty_mass",
    "penalty_curve",
    "penalty_mass",
    "Where the penalty goes",
    "share of penalty per 0.01",
    "Each line sums to 1 over an anchor's negatives. Grey: how similar the negatives are. At a "
    "very large τ the penalty follows this curve.",
    is_log=False,
)
_PENALTY_CURVE_HARD = _Curve(
    "penalty_curve_hard",
    "penalty_curve_hard",
    "relative_penalty",
    "Relative penalty over the hardest {alpha:g}% of the negatives",
    "relative penalty r(s)",
    "After Wang & Liu (CVPR 2021), eq. 9: the penalty is shared among the hardest negatives of "
    "each anchor and is zero below the anchor's threshold, so that a large temperature does not "
    "spend it on far negatives. The dashed line is an even share among the kept negatives.",
)


def penalty_curve_figure(document: Document) -> Figure | None:
    """The paper's Fig. 3: relative penalty against similarity, a line for each temperature."""
    return _curve_figure(document, _PENALTY_CURVE)


def penalty_mass_figure(document: Document) -> Figure | None:
    """The mass of the penalty over similarities, beside all negatives.

    Where the gradients of the losses are known, their figure shows the same of the contrastive one.
    """
    return None if document.rows("loss_gradient") else _curve_figure(document, _PENALTY_MASS)


def penalty_curve_hard_figure(document: Document) -> Figure | None:
    """The relative penalty where each anchor keeps its hardest negatives alone."""
    return _curve_figure(document, _PENALTY_CURVE_HARD)


def _curve_figure(document: Document, curve: _Curve) -> Figure | None:
    table = document.rows(curve.table)
    if not table:
        return None
    sources = {str(row["source"]) for row in table}
    order = [source for source in natural_order(document) if source in sources]
    taus = sorted({float(str(row["tau"])) for row in table})
    several = len(order) > 1
    level = taus[len(taus) // 2] if several else None
    lines = [
        line
        for source in order
        for line in _lines(document, curve, [r for r in table if r["source"] == source], several)
    ]
    panel = _curve_panel(document, curve, table, order, lines)
    if len(order) == 1 and _dimensions(document, order[0]) is None:
        panel = replace(panel, title="similarities spread evenly over [−1, 1]")
    title = curve.title.format(alpha=100 * float(table[0].get("hard_alpha") or 0.0))
    caption = curve.caption + _negatives_in_words(document)
    if level is not None:
        caption += f" Pictures show τ = {level:g}; on the page the dial chooses the temperature."
    return Figure(
        curve.name,
        title,
        caption,
        [panel],
        dial="τ",
        level=level,
        panel_size=(5.4, 3.4),
        finding=_curve_in_words(curve, lines, level),
    )


def _curve_in_words(curve: _Curve, lines: Sequence[Line], level: float | None) -> str:
    """Which checkpoint, or which temperature, is highest in the middle of the right half."""
    if level is None and len({line.level for line in lines}) < 2:
        return ""
    at_half = {
        line.source if level is not None else f"τ = {line.level:g}": line.y[i]
        for line in lines
        if level is None or line.level == level
        for i in [min(range(len(line.x)), key=lambda i: abs(line.x[i] - _HALF), default=-1)]
        if i >= 0 and abs(line.x[i] - _HALF) < 0.05
    }
    if len(at_half) < 2:
        return ""
    high, low = max(at_half, key=at_half.__getitem__), min(at_half, key=at_half.__getitem__)
    where = "" if level is None else f" at τ = {level:g}"
    return (
        f"At similarity {_HALF:g} the {curve.y_label.split(' per ')[0]}{where} is highest for "
        f"{high} ({at_half[high]:.2g}) and lowest for {low} ({at_half[low]:.2g})."
    )


_HALF = 0.5


def _negatives_in_words(document: Document) -> str:
    """Which rows are negatives, and of which file where there are two."""
    of_file = ", of the first file" if has_two_towers(document) else ""
    return f" Negatives: {document.negatives}{of_file}."


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


def _lines(document: Document, curve: _Curve, rows: Rows, several: bool) -> Iterator[Line]:
    """The curves of one source over the similarities that negatives have, one a temperature."""
    names, colours = short_names(document), source_colours(document)
    source = str(rows[0]["source"])
    for tau, hue, part in by_tau(rows):
        xs, ys = read_column(part, "similarity"), read_column(part, curve.column)
        there = [i for i, row in enumerate(part) if row["negative_fraction"]]
        kept = list(range(min(there), max(there) + 1))
        if curve.is_log:
            kept = [i for i in kept if _LEAST_PENALTY <= ys[i] <= 1]
        label, colour = (names[source], colours[source]) if several else (f"τ = {tau:g}", hue)
        own = names[source] if _dimensions(document, source) is not None else ""
        xs, ys = [xs[i] for i in kept], [ys[i] for i in kept]
        yield Line(xs, ys, label, colour, level=tau, source=own)


_LEAST_PENALTY = 1e-9


def _curve_panel(
    document: Document, curve: _Curve, table: Rows, order: Sequence[str], lines: Sequence[Line]
) -> Panel:
    """The curves of all sources."""
    x_axis = axis_of_cosines("cosine similarity s")
    title = ""
    if len(order) == 1 and _dimensions(document, order[0]) is None:
        title = "similarities spread evenly over [−1, 1]"
    if not curve.is_log:
        marks: list[Mark] = list(lines)
        if len(order) == 1:
            _, _, lowest = next(by_tau(table))
            marks = [negatives_line(lowest), *lines]
        return Panel(marks, x_axis, Axis(curve.y_label), title)
    n_kept = {max(_n_negatives(document, source), 1.0) for source in order}
    ys = [y for line in lines for y in line.y]
    if "hard_alpha" in table[0]:
        alpha = float(table[0]["hard_alpha"] or 1.0)
        n_kept = {max(1.0, math.ceil(alpha * n - 1e-9)) for n in n_kept}
        first = min(float(row["similarity"] or 0.0) for row in table if row["relative_penalty"])
        x_axis = Axis(x_axis.label, limits=(max(first - 0.05, -1.0), 1.0))
    even = [Rule("even share", y=1.0 / n) for n in n_kept] if len(n_kept) == 1 else []
    y_axis = Axis(curve.y_label, "log")
    if len(order) == 1:  # of several, each temperature has its own range
        y_axis = decades(curve.y_label, max(min(ys) / 2.0, _LEAST_PENALTY), min(3.0 * max(ys), 1.0))
    return Panel([*lines, *even], x_axis, y_axis, title)


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
    effective = records_of(document, *_SUMMARY[0][:2])
    middle = taus[len(taus) // 2]
    return Figure(
        "penalty_summary",
        "How each temperature spreads the penalty",
        "Small temperatures spend the penalty on few, near negatives"
        + (", many of them of the anchor's own class" if has_classes else "")
        + ". Bands are 95% intervals. Dashed: uniform points with the same N and d"
        + (". Dotted: even weights." if has_classes else ".")
        + _negatives_in_words(document),
        panels,
        columns=len(panels),
        panel_size=(3.4, 2.9),
        finding=extremes(
            document,
            [record for record in effective if record.params["tau"] == middle],
            f"number of effective negatives at τ = {middle:g}",
            "{:,.0f}",
        ),
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
    for source in natural_order(document):
        own = [r for tau in taus if (r := one_record(records, source, tau=tau)) is not None]
        xs = [float(record.params["tau"]) for record in own]
        name = names[source]
        marks.append(line_of_records(xs, own, name, colours[source], source=name))
    if metric == _FALSE_NEGATIVES:
        marks += _even_share(document)
    else:
        marks += _uniform_sphere(document, metric, taus)
    spread = [y for mark in marks if isinstance(mark, Line) for y in mark.y if y > 0]
    if scale == "log" and max(spread) < 20 * min(spread):
        scale = "linear"  # too little for a log axis to have ticks
    top, bottom = max(spread, default=0.0), min(spread, default=0.0)
    if scale == "log":
        label_axis = decades(y_label, 0.8 * bottom, 1.25 * top)
        return Panel(marks, logarithmic_axis("temperature τ of the penalty", taus), label_axis)
    is_flat = top - bottom < 1e-3 * top  # differences of rounding must not look like structure
    y_axis = Axis(y_label, limits=(0.0, 1.2 * top) if is_flat and top > 0 else None)
    return Panel(marks, logarithmic_axis("temperature τ of the penalty", taus), y_axis)


def _even_share(document: Document) -> list[Rule]:
    """The share of the anchor's own class under even weights."""
    for source in natural_order(document):
        share = one_record(document.records(_FALSE_NEGATIVES), source)
        ratio = one_record(document.records("penalty_false_negative_ratio"), source)
        if share is not None and ratio is not None and value_of(ratio) > 0:
            return [Rule("even weights", y=value_of(share) / value_of(ratio), style="dotted")]
    return []


def _uniform_sphere(document: Document, metric: str, taus: Sequence[float]) -> list[Line]:
    """A line for each number of rows and dimensions, where they are few."""
    labels: dict[tuple[float, ...], str] = {}
    for source in natural_order(document):
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
