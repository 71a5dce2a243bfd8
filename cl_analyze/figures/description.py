"""The parts of a figure, before a renderer draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Numbers = Sequence[float]
Bars = Sequence[float | tuple[float, float]]
"""Half lengths of error bars, or lengths of each bar below and above the point."""
Scale = Literal["linear", "log", "sqrt"]
Side = Literal[
    "right", "left", "above", "below", "upper right", "lower right", "upper left", "lower left", ""
]
Style = Literal["solid", "dashed", "dotted", "dashdot"]
DIRECTIONS: dict[Side, tuple[int, int]] = {
    "lower right": (1, -1),
    "upper left": (-1, 1),
    "upper right": (1, 1),
    "lower left": (-1, -1),
    "right": (1, 0),
    "left": (-1, 0),
    "above": (0, 1),
    "below": (0, -1),
}
"""Side of a point -> direction to the right and up; sides where a name covers least come first."""


@dataclass(frozen=True)
class Line:
    """A line through points, with an optional band and markers.

    Attributes:
        x, y: coordinates.
        label: in the legend; empty: not there.
        colour: hexadecimal.
        low, high: band around the line; empty: no band.
        arrows: whether each piece points to the next point.
        level: where the page's dial shows the line; None: everywhere.
        source: the checkpoint that the line is of, by its short name; empty: of none or several.
        sources: the checkpoint of each point, where a line joins several.
        hovers: what a reader sees who hovers over each point, in place of its numbers.
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
    source: str = ""
    sources: Sequence[str] = ()
    hovers: Sequence[str] = ()


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
        x_error, y_error: see `Bars`; empty: no bars.
        opacity: 1 hides the marks below.
        values: numbers that colour the points, beside a colour bar; empty: all have `colour`.
        value_label: of the colour bar.
        names: of the points, shown at the sides, and where a reader hovers.
        sides: where each name stands; empty: nowhere.
        hovers: what a reader sees who hovers over each point, in place of its numbers.
        level, source: see `Line`.
        sources: the checkpoint of each point, where one mark has those of several.
        rows: the number of the row that each point is; empty: points are no rows.
        neighbours: numbers of the rows that are nearest to each point's row; empty: not known.
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
    symbol: Literal["o", "s", "D", "^", "|", "_"] = "o"
    values: Numbers = ()
    value_label: str = ""
    names: Sequence[str] = ()
    sides: Sequence[Side] = ()
    hovers: Sequence[str] = ()
    level: float | None = None
    source: str = ""
    sources: Sequence[str] = ()
    rows: Sequence[int] = ()
    neighbours: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Steps:
    """The outline of a histogram, or a filled one.

    Attributes:
        edges: one more than heights.
        level, source: see `Line`.
    """

    edges: Numbers
    heights: Numbers
    label: str = ""
    colour: str = "#000000"
    filled: bool = False
    width: float = 1.4
    level: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Rule:
    """A straight reference line across a panel, at one x or one y; see `Line` for `source`."""

    label: str = ""
    x: float | None = None
    y: float | None = None
    colour: str = "#444444"
    style: Style = "dashed"
    source: str = ""


@dataclass(frozen=True)
class Cells:
    """A matrix of values as coloured squares, row 0 on top, with a colour bar.

    Attributes:
        values: rows of the matrix; NaN cells stay empty.
        label: of the colour bar.
        low, high: values at the ends of the colours.
        texts: what stands in each cell; empty: nothing.
        is_diverging: whether colours go from blue through white at 0 to red, for values of both
            signs; otherwise from dark to light.
    """

    values: Sequence[Numbers]
    low: float
    high: float
    label: str = ""
    texts: Sequence[Sequence[str]] = ()
    is_diverging: bool = False


Mark = Line | Points | Steps | Rule | Cells


@dataclass(frozen=True)
class Axis:
    """One axis of a panel.

    Attributes:
        label: with the unit.
        ticks: (position, text); empty: automatic.
        limits: None: automatic.
        in_full: the texts of the ticks before they were cut, for readers who hover; empty: as they
            are.
        is_share: whether values are shares and ticks per cent.
    """

    label: str = ""
    scale: Scale = "linear"
    ticks: Sequence[tuple[float, str]] = ()
    limits: tuple[float, float] | None = None
    in_full: Sequence[str] = ()
    is_share: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        marks: drawn in order.
        upright: whether texts of the x axis stand upright, for long ones side by side.
        source: the checkpoint that the panel is of, by its short name; empty: of none or several.
        note: a short remark inside the panel, as "all rows are one point".
        note_left: whether it stands at the upper left, else at the upper right.
        is_minor: whether the page alone has the panel, and pictures leave it out.
    """

    marks: Sequence[Mark]
    x: Axis
    y: Axis
    title: str = ""
    upright: bool = False
    source: str = ""
    note: str = ""
    is_minor: bool = False
    note_left: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: file name without suffix.
        caption: how to read the figure, one or two sentences.
        finding: what the figure shows of these numbers, in one sentence, for readers who do not see
            it; empty: nothing to say.
        panels: in reading order.
        columns: panels in a row.
        share_y: whether the panels have one y axis.
        dial: name of the levels of marks, as "τ"; empty: no dial.
        level: the level that pictures show, and where the dial starts; None: all levels.
        choice: what the panels differ in; the page shows one of them at a time, which a reader
            chooses; empty: it shows all.
        panel_size: inches of a panel on the page; pictures keep the shape.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    columns: int = 1
    share_y: bool = False
    dial: str = ""
    choice: str = ""
    panel_size: tuple[float, float] = (4.6, 3.0)
    finding: str = ""
    level: float | None = None
