"""Figures of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.figures.colours import GREY, HUES
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Style
from cl_analyze.figures.marks import (
    MOST_PICTURED,
    Z95,
    Rows,
    axis_of_cosines,
    banded_line,
    by_tau,
    extremes,
    figure_of_sources,
    limits_around,
    line_of_records,
    logarithmic_axis,
    negatives_line,
    one_record,
    panel_columns,
    panel_size,
    panel_sources,
    read_column,
    true_minus,
)
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Record

_TAU_LOSSES: tuple[tuple[str, str | None, str], ...] = (
    ("contrastive", "one_way", "contrastive (InfoNCE)"),
    ("hard_contrastive", None, "hard contrastive"),
    ("dcl", "symmetric", "DCL"),
    ("supcon", "out", "SupCon"),
    ("nscl", "decoupled", "NSCL"),
    ("nt_xent", None, "NT-Xent"),
    ("dhel", "symmetric", "DHEL"),
)
"""Name, definition and title; pictures show the first."""
_LIMITS: tuple[tuple[str, str, Style], ...] = (
    ("small_tau", "contrastive, limit τ → 0", "dotted"),
    ("large_tau", "contrastive, limit τ → ∞", "dashdot"),
)
"""Column of the table of limits, label, and dashes."""
_GRADIENTS = (
    ("contrastive", "contrastive"),
    ("hard_contrastive", "hard contrastive"),
    ("nt_xent", "NT-Xent and DCL"),
    ("dhel", "DHEL"),
    ("nscl", "NSCL (other classes)"),
)
"""Loss and title of the panel."""
_KERNELS = ("gaussian", "log", "imq", "riesz")
_LIKE_CONTRASTIVE = ("nt_xent", "dhel")
"""Losses whose panels pictures leave out."""
_LIMITS_IN_WORDS = (
    " Grey: the limits of the contrastive loss, max(0, hardest negative − positive) / τ for "
    "small and log N + mean difference / τ for large temperatures."
)


def loss_by_temperature_figure(document: Document) -> Figure | None:
    """Every loss with a temperature against it, a panel each; limits of the contrastive loss."""
    losses = [
        r for r in document.records("loss") if "tau" in r.params and "batch_size" not in r.params
    ]
    taus = sorted({float(r.params["tau"]) for r in losses})
    if len(taus) < 2:
        return None
    panels = []
    for name, definition, title in _TAU_LOSSES:
        own = [r for r in losses if r.definition == definition and r.params["name"] == name]
        panel = _loss_panel(document, own, name, title, taus)
        if panel is not None:
            panels.append(panel)
    if not panels:
        return None
    pictured_losses = [panel.title for panel in panels][:MOST_PICTURED]
    caption = (
        "Values of different losses cannot be compared, so each loss has its own axis. Compare "
        "shapes, and checkpoints at one temperature."
    )
    if document.rows("loss_limits") and len(document.sources) == 1:
        caption += _LIMITS_IN_WORDS
    if len(panels) > MOST_PICTURED:
        caption += f" Pictures show {MOST_PICTURED} of {len(panels)} losses; the page has all."
    middle = taus[len(taus) // 2]
    first = [r for r in losses if (r.params["name"], r.definition) == _TAU_LOSSES[0][:2]]
    return Figure(
        "loss_by_temperature",
        "Losses against their temperature",
        caption,
        [replace(panel, is_minor=panel.title not in pictured_losses) for panel in panels],
        columns=panel_columns(len(panels)),
        panel_size=(3.3, 2.5),
        finding=extremes(
            document,
            [record for record in first if record.params["tau"] == middle],
            f"contrastive loss at τ = {middle:g}",
        ),
    )


def _loss_panel(
    document: Document, records: Sequence[Record], name: str, title: str, taus: Sequence[float]
) -> Panel | None:
    """One loss against the temperature, a line for each source."""
    names, colours = short_names(document), source_colours(document)
    lines: list[Line] = []
    for source in natural_order(document):
        at_taus = (one_record(records, source, tau=tau) for tau in taus)
        own = [record for record in at_taus if record is not None]
        if own:
            xs, label = [float(record.params["tau"]) for record in own], names[source]
            line = line_of_records(xs, own, label, colours[source], source=label)
            lines.append(line)
    if not lines:
        return None
    spread = [y for line in lines for y in [*line.low, *line.high]]
    if name == "contrastive" and len(document.sources) == 1:
        limits = document.rows("loss_limits")
        xs = read_column(limits, "tau")
        for column, label, style in _LIMITS if limits else ():
            lines.append(Line(xs, read_column(limits, column), label, GREY, style, width=1.2))
    x_axis = logarithmic_axis("temperature τ of the loss", taus)
    # the limits reach far beyond
    return Panel(lines, x_axis, Axis("loss  [nats]", limits=limits_around(*spread)), title)


def loss_by_batch_figure(document: Document) -> Figure | None:
    """InfoNCE minus log K against the size of the batch, a panel for each source."""
    names = short_names(document)
    panels: dict[str, list[Mark]] = {}
    table = [
        row
        for row in document.rows("loss_batch")
        if (row["name"], row["definition"]) == ("contrastive", "one_way")
    ]
    if not table:
        return None
    sizes = sorted({int(str(row["batch_size"])) for row in table})
    around = 1.1 if len(sizes) > 1 else 2.0
    x_limits = (sizes[0] / around, around * sizes[-1])
    for source in panel_sources(document):
        rows = [row for row in table if row["source"] == source]
        marks: list[Mark] = []
        for tau, colour, own in by_tau(rows):
            marks.append(_batch_line(own, f"τ = {tau:g}", colour, tau))
            limit = own[0]["limit"]
            if isinstance(limit, float):
                marks.append(
                    Line(x_limits, [limit, limit], "", colour, "dotted", width=1.1, level=tau)
                )
        if marks:
            panels[source] = marks
    x_axis = Axis("pairs in a batch", "log", [(float(n), str(n)) for n in sizes], x_limits)
    y_axis = Axis("L − log K  [nats]")
    lowest = next(by_tau(table))[0]
    far = {
        names[str(row["source"])]: float(row["normalised"] or 0.0) - float(row["limit"])
        for row in table
        if row["tau"] == lowest and row["batch_size"] == sizes[-1] and row["limit"] is not None
    }
    finding = ""
    if far:
        worst = max(far, key=far.__getitem__)
        finding = (
            f"At τ = {lowest:g} and {sizes[-1]} pairs in a batch the loss is still "
            f"{far[worst]:.2g} nats above its limit ({worst})."
        )
    return figure_of_sources(
        document,
        "loss_by_batch",
        "The contrastive loss against the size of the batch",
        "Means over random batches; the 95% intervals are those of the random choice. InfoNCE "
        "minus log K, with K negatives, falls towards its limit as batches grow (dotted, from "
        "all rows). Kernel losses have no curve: as U-statistics they have the same mean at "
        "every size (loss_batch.csv).",
        [
            Panel(marks, x_axis, y_axis, names[s] if len(names) > 1 else "", source=names[s])
            for s, marks in panels.items()
        ],
        share_y=True,
        dial="τ",
        finding=finding,
    )


def _batch_line(rows: Rows, label: str, colour: str, tau: float) -> Line:
    bars = [Z95 * error for error in read_column(rows, "sampling_error")]
    sizes, ys = read_column(rows, "batch_size"), read_column(rows, "normalised")
    return banded_line(sizes, ys, bars, label, colour, level=tau)


def loss_gradient_figure(document: Document) -> Figure | None:
    """Which similarities each loss pushes apart, a panel for each loss."""
    table = document.rows("loss_gradient")
    if not table:
        return None
    several = len(document.sources) > 1
    taus = sorted({float(str(row["tau"])) for row in table if row["tau"] is not None})
    level = taus[len(taus) // 2] if several and taus else None
    panels = []
    for name, title in _GRADIENTS:
        own = [row for row in table if row["name"] == name]
        if own:
            is_minor = name in _LIKE_CONTRASTIVE
            panels.append(_gradient_panel(_by_tau(document, own, several), title, is_minor))
    of_kernels = {name: [r for r in table if r["name"] == f"kcl_{name}"] for name in _KERNELS}
    of_kernels = {name: own for name, own in of_kernels.items() if own}
    if several:
        for i, (name, own) in enumerate(of_kernels.items()):
            lines = _by_source(document, own, None)
            panels.append(_gradient_panel(lines, f"kernel loss, {name}", i > 0))
    elif of_kernels:
        rows = list(of_kernels.values())
        lines = [
            _gradient(own, name, hue)
            for (name, own), hue in zip(of_kernels.items(), HUES, strict=False)
        ]
        panels.append(_gradient_panel([negatives_line(rows[0]), *lines], "kernel losses"))
    caption = (
        "Each line sums to 1 over an anchor's negatives, in bins of 0.04. At a small temperature "
        "a loss pushes only the most similar negatives away; at a large temperature it pushes "
        "all equally, as the simple loss always does."
    )
    if not several:
        caption += " Grey: how similar the negatives are."
    if any(panel.is_minor for panel in panels):
        caption += " NT-Xent, DCL and DHEL, which resemble the contrastive loss, are on the page."
    if level is not None:
        caption += f" Pictures show τ = {level:g}; on the page the dial chooses the temperature."
    return Figure(
        "loss_gradient",
        "Where losses push: share of the repulsion by similarity",
        caption,
        panels,
        columns=1 if len(panels) == 1 else 2 if len(panels) < 5 else 3,
        share_y=True,
        dial="τ",
        level=level,
        panel_size=panel_size(len(panels)),
        finding=_push_in_words(panels[0], level or max(taus[:1], default=0.0)) if taus else "",
    )


def _push_in_words(panel: Panel, level: float) -> str:
    """Where the first loss pushes most."""
    peaks = {
        line.source: line.x[max(range(len(line.x)), key=line.y.__getitem__)]
        for line in panel.marks
        if isinstance(line, Line) and line.level == level and line.source
    }
    if not peaks:
        return ""
    low, high = min(peaks.values()), max(peaks.values())
    where = true_minus(f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}")
    return f"At τ = {level:g} the {panel.title} loss pushes most at similarity {where}."


def _by_tau(document: Document, rows: Rows, several: bool) -> list[Line]:
    """The lines of a loss with a temperature."""
    if several:
        return [line for tau, _, part in by_tau(rows) for line in _by_source(document, part, tau)]
    name = next(iter(short_names(document).values()))
    lines = [
        replace(_gradient(part, f"τ = {tau:g}", hue), level=tau, source=name)
        for tau, hue, part in by_tau(rows)
    ]
    _, _, lowest = next(by_tau(rows))
    return [negatives_line(lowest), *lines]


def _by_source(document: Document, rows: Rows, tau: float | None) -> list[Line]:
    """A line for each source."""
    names, colours = short_names(document), source_colours(document)
    lines = []
    for source in natural_order(document):
        own = [row for row in rows if row["source"] == source]
        if own:
            name = names[source]
            line = _gradient(own, name, colours[source])
            lines.append(replace(line, level=tau, source=name))
    return lines


def _gradient(rows: Rows, label: str, colour: str) -> Line:
    xs, ys = read_column(rows, "similarity"), read_column(rows, "gradient_share")
    taus = {row["tau"] for row in rows}  # a kernel has none
    level = float(str(taus.pop())) if taus not in ({None}, set()) else None
    return Line(xs, ys, label, colour, level=level)


def _gradient_panel(lines: Sequence[Line], title: str, is_minor: bool = False) -> Panel:
    x_axis, y_axis = axis_of_cosines("cosine similarity s"), Axis("share per 0.04")
    return Panel(lines, x_axis, y_axis, title, is_minor=is_minor)
