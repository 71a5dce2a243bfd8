"""What a figure is, before anything draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Numbers = Sequence[float]
Bars = Sequence[float | tuple[float, float]]
"""Half lengths of error bars, or how far each reaches below and above its point."""
Scale = Literal["linear", "log", "sqrt"]
Side = Literal[
    "right", "left", "above", "below", "upper right", "lower right", "upper left", "lower left", ""
]
Style = Literal["solid", "dashed", "dotted", "dashdot"]


@dataclass(frozen=True)
class Line:
    """A line through points, with an optional band and markers.

    Attributes:
        x, y: coordinates.
        label: in the legend; empty: not there.
        colour: hexadecimal.
        low, high: band around the line; empty: none.
        arrows: whether each piece points to the next point.
        level: what a dial chooses it by, None where it always shows.
    """

    x: Numbers
    y: Numbers
    label: str = ""
    colour: str = "#000000"
    style: Style = "solid"
    marker: bool = False
    width: float = 1.6
    low: Numbers = ()
    high: Numbers = ()
    arrows: bool = False
    level: float | None = None


def reaches(bars: Bars) -> tuple[list[float], list[float]]:
    """How far error bars reach below and above their points.

    >>> reaches([0.1, (0.2, 0.0)])
    ([0.1, 0.2], [0.1, 0.0])
    """
    both = [bar if isinstance(bar, tuple) else (bar, bar) for bar in bars]
    return [below for below, _ in both], [above for _, above in both]


@dataclass(frozen=True)
class Points:
    """Points with optional error bars.

    Attributes:
        x, y: coordinates.
        x_error, y_error: see `Bars`; empty: none.
        opacity: 1 hides what is below.
        values: numbers that colour the points, beside a colour bar; empty: `colour` does.
        value_label: of the colour bar.
        names: what each point is, shown beside it where `sides` has a place, and when hovered.
        sides: where each name stands; empty: nowhere.
    """

    x: Numbers
    y: Numbers
    label: str = ""
    colour: str = "#000000"
    x_error: Bars = ()
    y_error: Bars = ()
    size: float = 6.0
    hollow: bool = False
    opacity: float = 1.0
    symbol: Literal["o", "s", "D", "^", "|"] = "o"
    values: Numbers = ()
    value_label: str = ""
    names: Sequence[str] = ()
    sides: Sequence[Side] = ()


@dataclass(frozen=True)
class Steps:
    """A histogram's outline, filled where asked.

    Attributes:
        edges: one more than heights.
    """

    edges: Numbers
    heights: Numbers
    label: str = ""
    colour: str = "#000000"
    filled: bool = False
    width: float = 1.4


@dataclass(frozen=True)
class Rule:
    """A straight reference line across a panel, at one x or one y."""

    label: str = ""
    x: float | None = None
    y: float | None = None
    colour: str = "#444444"
    style: Style = "dashed"


@dataclass(frozen=True)
class Cells:
    """A matrix of values as coloured squares, row 0 on top, with a colour bar.

    Attributes:
        values: rows of the matrix; NaN cells stay empty.
        label: of the colour bar.
        low, high: values at the ends of the colours.
    """

    values: Sequence[Numbers]
    low: float
    high: float
    label: str = ""


Mark = Line | Points | Steps | Rule | Cells


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        marks: drawn in order.
        x_label, y_label: with units.
        x_ticks, y_ticks: (position, text); empty: automatic.
        x_limits, y_limits: None: automatic.
        upright: whether texts of the x axis stand upright, for long ones side by side.
    """

    marks: Sequence[Mark]
    x_label: str
    y_label: str
    title: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    x_ticks: Sequence[tuple[float, str]] = ()
    y_ticks: Sequence[tuple[float, str]] = ()
    x_limits: tuple[float, float] | None = None
    y_limits: tuple[float, float] | None = None
    upright: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: file name without suffix.
        title: what is shown.
        caption: how to read it, one or two sentences.
        panels: in reading order.
        columns: panels in a row.
        share_y: whether the panels have one y axis.
        dial: what the lines' levels are, as "τ"; empty: no dial.
        panel_size: inches.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    columns: int = 1
    share_y: bool = False
    dial: str = ""
    panel_size: tuple[float, float] = (4.6, 3.0)
