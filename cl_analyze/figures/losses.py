"""Figures of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.figures.colours import GREY, HUES
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Rule, Style
from cl_analyze.figures.marks import (
    Z95,
    Rows,
    axis_of_cosines,
    banded_line,
    by_tau,
    figure_of_sources,
    line_of_records,
    logarithmic_axis,
    negatives_line,
    one_record,
    panel_sources,
    read_column,
)
from cl_analyze.figures.sources import short_names
from cl_analyze.results.document import Document

_TAU_LOSSES: tuple[tuple[str, str | None, str, Style], ...] = (
    ("contrastive", "one_way", "contrastive (InfoNCE)", "solid"),
    ("hard_contrastive", None, "hard contrastive", "solid"),
    ("nt_xent", None, "NT-Xent", "solid"),
    ("dcl", "symmetric", "DCL", "dashed"),
    ("dhel", "symmetric", "DHEL", "dashed"),
    ("supcon", "out", "SupCon", "solid"),
    ("nscl", "decoupled", "NSCL", "solid"),
)
"""Name, definition, label, and dashes for a line that often lies on another line."""
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
_MOST_OF_BATCHES = 4
"""Sources up to which each has two panels in the figure of batches."""


_LIMITS_IN_WORDS = (
    " Grey: what the contrastive loss tends to, max(0, hardest negative − positive) / τ for small "
    "and log N + mean difference / τ for large temperatures."
)


def loss_by_temperature_figure(document: Document) -> Figure | None:
    """Every loss with a temperature against it, and the limits of the contrastive loss."""
    losses = [
        r for r in document.records("loss") if "tau" in r.params and "batch_size" not in r.params
    ]
    taus = sorted({float(r.params["tau"]) for r in losses})
    if len(taus) < 2:
        return None
    names = short_names(document)
    panels: list[Panel] = []
    spread: list[float] = []
    for source in panel_sources(document):
        lines: list[Line] = []
        for (name, definition, label, style), colour in zip(_TAU_LOSSES, HUES, strict=True):
            defined_so = [r for r in losses if r.definition == definition]
            at_taus = (one_record(defined_so, source, name=name, tau=tau) for tau in taus)
            own = [record for record in at_taus if record is not None]
            if own:
                xs = [float(record.params["tau"]) for record in own]
                lines.append(line_of_records(xs, own, label, colour, style=style))
        if not lines:
            continue
        spread += [y for line in lines for y in line.y]
        limits = document.rows("loss_limits", source=source)
        xs = read_column(limits, "tau")
        for column, label, style in _LIMITS if limits else ():
            lines.append(Line(xs, read_column(limits, column), label, GREY, style, width=1.2))
        x_axis = logarithmic_axis("temperature τ of the loss", taus)
        title = names[source] if len(names) > 1 else ""
        panels.append(Panel(lines, x_axis, Axis("loss  [nats]"), title))
    if spread:  # the limits reach far beyond
        margin = 0.06 * (max(spread) - min(spread)) or 1.0
        y_axis = Axis("loss  [nats]", limits=(min(spread) - margin, max(spread) + margin))
        panels = [replace(panel, y=y_axis) for panel in panels]
    return figure_of_sources(
        document,
        "loss_by_temperature",
        "Losses against their temperature",
        "Values of different losses have different zeros: compare shapes, and checkpoints at one "
        "temperature." + (_LIMITS_IN_WORDS if document.rows("loss_limits") else ""),
        panels,
        share_y=True,
        panel_size=(5.6, 3.6) if len(panels) == 1 else (3.3, 2.5),
    )


def loss_by_batch_figure(document: Document) -> Figure | None:
    """InfoNCE minus log K moves with the batch, kernel losses do not."""
    table = document.rows("loss_batch")
    if not table:
        return None
    names = short_names(document)
    sizes = sorted({int(str(row["batch_size"])) for row in table})
    panels = []
    for source in panel_sources(document)[:_MOST_OF_BATCHES]:
        rows = [row for row in table if row["source"] == source]
        title = f"{names[source]}: " if len(names) > 1 else ""
        own = _batch_panels(rows, sizes, title)
        panels += [replace(panel, source=names[source]) for panel in own]
    return Figure(
        "loss_by_batch",
        "Losses against the size of the batch",
        "Means over drawn batches with 95% intervals of the drawing. InfoNCE less the log of its "
        "number of negatives falls with the batch towards its limit (dotted, from all rows); "
        "kernel losses (on the same scale) are U-statistics, whose mean is that of all rows at "
        "every size.",
        panels,
        columns=2,
        dial="τ",
        panel_size=(4.0, 2.9),
    )


def _batch_panels(rows: Rows, sizes: Sequence[int], title: str) -> list[Panel]:
    """InfoNCE and kernel losses of one source against the size of the batch."""
    around = 1.1 if len(sizes) > 1 else 2.0
    x_limits = (sizes[0] / around, around * sizes[-1])
    of_infonce = [
        row for row in rows if (row["name"], row["definition"]) == ("contrastive", "one_way")
    ]
    infonce: list[Mark] = []
    for tau, colour, own in by_tau(of_infonce):
        line = _batch_line(own, "normalised", f"τ = {tau:g}", colour)
        infonce.append(replace(line, level=tau))
        limit = own[0]["limit"]
        if isinstance(limit, float):
            ends = [limit, limit]
            infonce.append(Line(x_limits, ends, "", colour, "dotted", width=1.1, level=tau))
    kernels: list[Mark] = []
    for kernel, colour in zip(_KERNELS[:3], HUES, strict=False):
        own = [
            row
            for row in rows
            if row["name"] == f"kcl_{kernel}" and row["definition"] in (None, "consistent")
        ]
        of_all_rows = own[0]["limit"] if own else None
        if isinstance(of_all_rows, float):
            kernels.append(_batch_line(own, "loss", kernel, colour, of_all_rows))
    kernels.append(Rule("all rows", y=0.0, style="dotted"))
    heights = read_column(of_infonce, "normalised") + read_column(of_infonce, "limit")
    reach = 0.55 * (max(heights) - min(heights)) if heights else 1.0
    ticks = [(float(size), str(size)) for size in sizes]
    x_axis = Axis("pairs in a batch", "log", ticks, x_limits)
    y_axis = Axis("L − L of all rows", limits=(-reach, reach))
    return [
        Panel(infonce, x_axis, Axis("L − log K  [nats]"), f"{title}InfoNCE (dotted: limit)"),
        Panel(kernels, x_axis, y_axis, f"{title}kernel losses"),
    ]


def _batch_line(rows: Rows, column: str, label: str, colour: str, origin: float = 0.0) -> Line:
    ys = [y - origin for y in read_column(rows, column)]
    bars = [Z95 * error for error in read_column(rows, "sampling_error")]
    return banded_line(read_column(rows, "batch_size"), ys, bars, label, colour)


def loss_gradient_figure(document: Document) -> Figure | None:
    """Which similarities each loss pushes apart."""
    table = document.rows("loss_gradient")
    if not table:
        return None
    names = short_names(document)
    several = len(names) > 1
    panels = []
    for source in panel_sources(document):
        rows = [row for row in table if row["source"] == source]
        for name, title in _GRADIENTS[:1] if several else _GRADIENTS:
            own = [row for row in rows if row["name"] == name]
            if own:
                lines = [_gradient(part, f"τ = {tau:g}", hue) for tau, hue, part in by_tau(own)]
                _, _, lowest = next(by_tau(own))
                title = names[source] if several else title
                panels.append(_gradient_panel([negatives_line(lowest), *lines], title))
        if not several:
            of_kernels = [[r for r in rows if r["name"] == f"kcl_{name}"] for name in _KERNELS]
            lines = [
                _gradient(own, kernel, hue)
                for own, kernel, hue in zip(of_kernels, _KERNELS, HUES, strict=False)
            ]
            negatives = [negatives_line(own) for own in of_kernels if own][:1]
            panels.append(_gradient_panel([*negatives, *lines], "kernel losses"))
    return figure_of_sources(
        document,
        "loss_gradient",
        "Where losses push: share of the repulsion by similarity",
        "Each line sums to 1 over an anchor's negatives, in bins of 0.04. Grey: the negatives "
        "themselves, which is where the simple loss pushes."
        + (" The contrastive loss of each checkpoint." if several else ""),
        panels,
        dial="τ",
    )


def _gradient(rows: Rows, label: str, colour: str) -> Line:
    xs, ys = read_column(rows, "similarity"), read_column(rows, "gradient_share")
    taus = {row["tau"] for row in rows}  # a kernel has none
    level = float(str(taus.pop())) if taus not in ({None}, set()) else None
    return Line(xs, ys, label, colour, level=level)


def _gradient_panel(lines: Sequence[Line], title: str) -> Panel:
    return Panel(lines, axis_of_cosines("cosine similarity s"), Axis("share per 0.04"), title)
