"""Figures of the losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.document import Document
from cl_analyze.figures.colours import (
    GREY,
    HUES,
    ordered,
)
from cl_analyze.figures.description import (
    Figure,
    Line,
    Mark,
    Panel,
    Rule,
    Style,
)
from cl_analyze.figures.sources import (
    COSINE_TICKS,
    Z95,
    defined,
    half_width,
    one_record,
    panel_columns,
    panel_note,
    panel_size_of,
    panel_sources,
    panel_title,
    read_column,
    short_names,
    spread_out,
    value_of,
)
from cl_analyze.tables import Cell

_TAU_LOSSES = (
    ("contrastive", "one_way", "contrastive (InfoNCE)", "solid"),
    ("hard_contrastive", None, "hard contrastive", "solid"),
    ("nt_xent", None, "NT-Xent", "solid"),
    ("dcl", "symmetric", "DCL", "dashed"),
    ("dhel", "symmetric", "DHEL", "dashed"),
    ("supcon", "out", "SupCon", "solid"),
    ("nscl", "decoupled", "NSCL", "solid"),
)
"""Name, definition, label, and dashes for what often lies on another line."""


def loss_by_temperature_figure(document: Document) -> Figure | None:
    """Every loss with a temperature against it, and the limits of the contrastive loss."""
    records = [
        r for r in document.records("loss") if "tau" in r.params and "batch_size" not in r.params
    ]
    taus = sorted({float(r.params["tau"]) for r in records})
    if len(taus) < 2:
        return None
    names = short_names(document)
    panels: list[Panel] = []
    spread: list[float] = []
    for source in panel_sources(document):
        marks: list[Mark] = []
        for (name, definition, label, style), colour in zip(_TAU_LOSSES, HUES, strict=True):
            own = [
                r
                for tau in taus
                if (r := one_record(defined(records, definition), source, name=name, tau=tau))
            ]
            if not own:
                continue
            ys, errors = [value_of(r) for r in own], [half_width(r) for r in own]
            marks.append(
                Line(
                    [float(r.params["tau"]) for r in own],
                    ys,
                    label,
                    colour,
                    "dashed" if style == "dashed" else "solid",
                    marker=True,
                    low=[y - e for y, e in zip(ys, errors, strict=True)],
                    high=[y + e for y, e in zip(ys, errors, strict=True)],
                )
            )
        if not marks:
            continue
        spread += [y for mark in marks if isinstance(mark, Line) for y in mark.y]
        limits = document.rows("loss_limits", source=source)
        limit_lines: tuple[tuple[str, str, Style], ...] = (
            ("small_tau", "contrastive, limit τ → 0", "dotted"),
            ("large_tau", "contrastive, limit τ → ∞", "dashdot"),
        )
        for column, label, line_style in limit_lines:
            marks.append(
                Line(
                    read_column(limits, "tau"),
                    read_column(limits, column),
                    label,
                    GREY,
                    line_style,
                    width=1.2,
                )
            )
        panels.append(
            Panel(
                marks,
                "temperature τ of the loss",
                "loss  [nats]",
                title=names[source] if len(document.sources) > 1 else "",
                x_scale="log",
                x_ticks=[(tau, f"{tau:g}") for tau in spread_out(taus)],
            )
        )
    if spread:  # the limits reach far beyond
        margin = 0.06 * (max(spread) - min(spread)) or 1.0
        reach = (min(spread) - margin, max(spread) + margin)
        panels = [replace(panel, y_limits=reach) for panel in panels]
    return Figure(
        "loss_by_temperature",
        panel_title(document, "Losses against their temperature"),
        "Values of different losses have different zeros: compare shapes, and checkpoints at one "
        "temperature. Grey: what the contrastive loss tends to, max(0, hardest negative − "
        "positive) / τ for small and log N + mean difference / τ for large temperatures."
        + panel_note(document),
        panels,
        columns=panel_columns(len(panels)),
        share_y=True,
        panel_size=(5.6, 3.6) if len(panels) == 1 else (3.3, 2.5),
    )


def loss_by_batch_figure(document: Document) -> Figure | None:
    """InfoNCE minus log K moves with the batch, kernel losses do not."""
    table = document.rows("loss_batch")
    if not table:
        return None
    names = short_names(document)
    panels = []
    sizes = sorted({int(str(row["batch_size"])) for row in table})
    ticks = [(float(size), str(size)) for size in sizes]
    around = 1.1 if len(sizes) > 1 else 2.0
    x_limits = (sizes[0] / around, around * sizes[-1])
    for source in panel_sources(document)[:4]:
        rows = [row for row in table if row["source"] == source]
        of_infonce = [
            row for row in rows if (row["name"], row["definition"]) == ("contrastive", "one_way")
        ]
        taus = sorted({float(str(row["tau"])) for row in of_infonce})
        marks: list[Mark] = []
        for tau, colour in zip(taus, ordered(len(taus)), strict=True):
            own = [row for row in of_infonce if row["tau"] == tau]
            marks.append(_batch_line(own, "normalised", f"τ = {tau:g}", colour))
            limit = own[0]["limit"]
            if isinstance(limit, float):
                marks.append(Line(x_limits, [limit, limit], "", colour, "dotted", width=1.1))
        where = f"{names[source]}: " if len(document.sources) > 1 else ""
        heights = read_column(of_infonce, "normalised") + read_column(of_infonce, "limit")
        reach = 0.55 * (max(heights) - min(heights)) if heights else 1.0
        panels.append(
            Panel(
                marks,
                "pairs in a batch",
                "L − log K  [nats]",
                title=f"{where}InfoNCE (dotted: limit)",
                x_scale="log",
                x_ticks=ticks,
                x_limits=x_limits,
            )
        )
        marks = []
        for kernel, colour in zip(("gaussian", "log", "imq"), HUES, strict=False):
            own = [
                row
                for row in rows
                if row["name"] == f"kcl_{kernel}" and row["definition"] in (None, "consistent")
            ]
            whole = own[0]["limit"] if own else None
            if isinstance(whole, float):
                marks.append(_batch_line(own, "loss", kernel, colour, whole))
        marks.append(Rule("all rows", y=0.0, style="dotted"))
        panels.append(
            Panel(
                marks,
                "pairs in a batch",
                "L − L of all rows",
                title=f"{where}kernel losses",
                x_scale="log",
                x_ticks=ticks,
                x_limits=x_limits,
                y_limits=(-reach, reach),
            )
        )
    return Figure(
        "loss_by_batch",
        "Losses against the size of the batch",
        "Means over drawn batches with 95% intervals of the drawing. InfoNCE less the log of its "
        "number of negatives falls with the batch towards its limit (dotted, from all rows); "
        "kernel losses (on the same scale) are U-statistics, whose mean is that of all rows at "
        "every size.",
        panels,
        columns=2,
        panel_size=(4.0, 2.9),
    )


def _batch_line(
    rows: Sequence[dict[str, Cell]], column: str, label: str, colour: str, origin: float = 0.0
) -> Line:
    ys = [y - origin for y in read_column(rows, column)]
    errors = [Z95 * error for error in read_column(rows, "sampling_error")]
    return Line(
        read_column(rows, "batch_size"),
        ys,
        label,
        colour,
        marker=True,
        low=[y - e for y, e in zip(ys, errors, strict=True)],
        high=[y + e for y, e in zip(ys, errors, strict=True)],
    )


def loss_gradient_figure(document: Document) -> Figure | None:
    """Which similarities each loss pushes apart."""
    table = document.rows("loss_gradient")
    if not table:
        return None
    names = short_names(document)
    several = len(document.sources) > 1
    panels = []
    chosen: tuple[tuple[str, str], ...] = (("contrastive", "contrastive"),)
    if not several:
        chosen = (
            ("contrastive", "contrastive"),
            ("hard_contrastive", "hard contrastive"),
            ("nt_xent", "NT-Xent and DCL"),
            ("dhel", "DHEL"),
            ("nscl", "NSCL (other classes)"),
        )
    for source in panel_sources(document):
        rows = [row for row in table if row["source"] == source]
        for name, title in chosen:
            own = [row for row in rows if row["name"] == name]
            if own:
                panels.append(_gradient_panel(own, names[source] if several else title))
        if not several:
            panels.append(_kernel_gradient_panel(rows))
    return Figure(
        "loss_gradient",
        panel_title(document, "Where losses push: share of the repulsion by similarity"),
        "Each line sums to 1 over an anchor's negatives, in bins of 0.04. Grey: the negatives "
        "themselves, which is where the simple loss pushes."
        + (" The contrastive loss of each checkpoint." if several else "")
        + panel_note(document),
        panels,
        columns=panel_columns(len(panels)),
        panel_size=panel_size_of(len(panels)),
    )


def _gradient_panel(rows: Sequence[dict[str, Cell]], title: str) -> Panel:
    taus = sorted({float(str(row["tau"])) for row in rows})
    first = [row for row in rows if row["tau"] == taus[0]]
    marks: list[Mark] = [_negatives_line(first)]
    for tau, colour in zip(taus, ordered(len(taus)), strict=True):
        own = [row for row in rows if row["tau"] == tau]
        marks.append(
            Line(
                read_column(own, "similarity"),
                read_column(own, "gradient_share"),
                f"τ = {tau:g}",
                colour,
            )
        )
    return _share_panel(marks, title)


def _kernel_gradient_panel(rows: Sequence[dict[str, Cell]]) -> Panel:
    marks: list[Mark] = []
    for kernel, colour in zip(("gaussian", "log", "imq", "riesz"), HUES, strict=False):
        own = [row for row in rows if row["name"] == f"kcl_{kernel}"]
        if own and not marks:
            marks.append(_negatives_line(own))
        marks.append(
            Line(read_column(own, "similarity"), read_column(own, "gradient_share"), kernel, colour)
        )
    return _share_panel(marks, "kernel losses")


def _negatives_line(rows: Sequence[dict[str, Cell]]) -> Line:
    return Line(
        read_column(rows, "similarity"),
        read_column(rows, "negative_fraction"),
        "negatives",
        GREY,
        width=3.0,
    )


def _share_panel(marks: Sequence[Mark], title: str) -> Panel:
    return Panel(
        marks,
        "cosine similarity s",
        "share per 0.04",
        title=title,
        x_ticks=COSINE_TICKS,
        x_limits=(-1.0, 1.0),
    )
