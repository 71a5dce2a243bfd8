"""Descriptions as data for plotly.js: the same figures, with hover, zoom and toggles.

A page places the panels itself (side by side, or one below the other on a phone), so axes have no
domains here; `meta` says how many panels there are and how tall one is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from cl_analyze.figures.colours import DIVERGING, ordered
from cl_analyze.figures.description import (
    DIRECTIONS,
    Axis,
    Bars,
    Cells,
    Figure,
    Line,
    Mark,
    Numbers,
    Panel,
    Points,
    Rule,
    Scale,
    Steps,
    reaches,
)

_DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot", "dashdot": "dashdot"}
_ORDERED = [[i / 12, colour] for i, colour in enumerate(ordered(13))]
_SYMBOLS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "|": "line-ns",
    "_": "line-ew",
}
_DIVERGING = [[at, colour] for at, colour in DIVERGING]
_HORIZONTAL = {-1: "left", 0: "center", 1: "right"}
_VERTICAL = {-1: "bottom", 0: "middle", 1: "top"}
_DIGITS = 5
MOST_POINTS = 25_000
"""Points above which a page shows the static image of a figure, which is quicker."""


def interactive(figure: Figure) -> dict[str, Any] | None:
    """A figure as plotly.js takes it: `data`, `layout`, and `meta` for the page.

    Args:
        figure: the description.

    Returns:
        JSON-ready data; None where there are too many points.
    """
    n_points = sum(
        len(mark.x) for panel in figure.panels for mark in panel.marks if isinstance(mark, Points)
    )
    if n_points > MOST_POINTS:
        return None
    drawing = _Drawing()
    for number, panel in enumerate(figure.panels, 1):
        drawing.panel(panel, number, figure.share_y)
    levels = sorted({t["meta"]["level"] for t in drawing.traces if t["meta"]["level"] is not None})
    return {
        "data": drawing.traces,
        "layout": {**drawing.axes, "shapes": drawing.shapes, "annotations": drawing.notes},
        "meta": {
            "panels": len(figure.panels),
            "columns": figure.columns,
            "height": round(96 * figure.panel_size[1]),
            "titles": [panel.title for panel in figure.panels],
            "sources": [panel.source for panel in figure.panels],
            "choice": figure.choice,
            "levels": levels if figure.dial else [],
            "level": figure.level,
        },
    }


class _Drawing:
    """Traces, axes and shapes so far."""

    def __init__(self) -> None:
        self.traces: list[dict[str, Any]] = []
        self.axes: dict[str, Any] = {}
        self.shapes: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.named: set[str] = set()
        self._colour_bars: set[tuple[float, float, str]] = set()

    def panel(self, panel: Panel, number: int, share_y: bool) -> None:
        """One pair of axes with its marks."""
        suffix = "" if number == 1 else str(number)
        self.axes[f"xaxis{suffix}"] = {**_axis(panel, "x"), "anchor": f"y{suffix}"}
        self.axes[f"yaxis{suffix}"] = {**_axis(panel, "y"), "anchor": f"x{suffix}"}
        if share_y and number > 1:
            self.axes[f"yaxis{suffix}"]["matches"] = "y"
        if panel.note:
            self.notes.append(_note(panel, suffix))
        for mark in panel.marks:
            for trace in self._traces(mark, panel, suffix):
                meta = {"level": getattr(mark, "level", None), **_origin(mark, panel)}
                trace["meta"] = {**meta, **trace.get("meta", {})}
                self.traces.append({**trace, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}"})

    def _named(self, label: str) -> dict[str, Any]:
        """A name for the legend, listed once in a figure."""
        is_new = bool(label) and label not in self.named
        self.named |= {label} if label else set()
        return {"name": label, "legendgroup": label, "showlegend": is_new}

    def _traces(self, mark: Mark, panel: Panel, suffix: str) -> Iterator[dict[str, Any]]:
        if isinstance(mark, Rule):
            self.shapes.append(self._rule(mark, panel, suffix))
        elif isinstance(mark, Cells):
            yield self._cells(mark, panel)
        elif isinstance(mark, Steps):
            yield {
                "type": "scatter",
                "mode": "lines",
                **_along_x(mark.edges, panel.x.scale),
                **_along_y([*mark.heights, mark.heights[-1]], panel.y.scale),
                **_hovers(mark, panel),
                "line": {"shape": "hv", "color": mark.colour, "width": mark.width},
                **({"fill": "tozeroy"} if mark.filled else {}),
                **self._named(mark.label),
            }
        elif isinstance(mark, Line):
            if len(mark.low):
                yield _band(mark, panel)
            dash = _DASHES[mark.style]
            positions = {} if mark.sources else _along_x(mark.x, panel.x.scale)
            yield {
                "type": "scatter",
                "mode": "lines+markers" if mark.marker or len(mark.x) == 1 else "lines",
                **(positions or {"x": _numbers(mark.x, panel.x.scale)}),
                **_along_y(mark.y, panel.y.scale),
                **_hovers(mark, panel),
                "line": {"color": mark.colour, "width": 1.25 * mark.width, "dash": dash},
                "marker": {"color": mark.colour, "size": 6},
                **({"meta": {"arrows": True}} if mark.arrows else {}),
                **self._named(mark.label),
            }
        else:
            yield self._points(mark, panel)

    def _points(self, mark: Points, panel: Panel) -> dict[str, Any]:
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers+text" if len(mark.sides) else "markers",
            "x": _numbers(mark.x, panel.x.scale),
            **_along_y(mark.y, panel.y.scale),
            **_hovers(mark, panel),
            "marker": _marker(mark),
            **self._named(mark.label),
        }
        if len(mark.sides):
            pairs = zip(mark.names, mark.sides, strict=True)
            trace["cliponaxis"] = False  # a name beside the last point is not cut
            trace["text"] = [f"\u2002{name}\u2002" if side else "" for name, side in pairs]
            directions = (DIRECTIONS.get(side, (1, 0)) for side in mark.sides)
            if not len(mark.values):
                trace["textfont"] = {"color": mark.colour}
            trace["textposition"] = [f"{_VERTICAL[up]} {_HORIZONTAL[to]}" for to, up in directions]
        colour = "#555555" if len(mark.values) else mark.colour
        if len(mark.x_error) and panel.x.scale != "sqrt":
            trace["error_x"] = _error_bars(mark.x_error, colour)
        if len(mark.y_error) and panel.y.scale != "sqrt":
            trace["error_y"] = _error_bars(mark.y_error, colour)
        return trace

    def _cells(self, mark: Cells, panel: Panel) -> dict[str, Any]:
        key = (mark.low, mark.high, mark.label)
        is_new = key not in self._colour_bars
        self._colour_bars.add(key)
        in_full = [axis.in_full or [text for _, text in axis.ticks] for axis in (panel.y, panel.x)]
        is_cut = in_full != [[text for _, text in axis.ticks] for axis in (panel.y, panel.x)]
        of_cells = "%{hovertext}" if is_cut else "%{y}, %{x}"
        return {
            "type": "heatmap",
            "z": [_numbers(row) for row in mark.values],
            "zmin": mark.low,
            "zmax": mark.high,
            "colorscale": _DIVERGING if mark.is_diverging else "Cividis",
            **({"text": [list(row) for row in mark.texts]} if len(mark.texts) else {}),
            **({"texttemplate": "%{text}"} if len(mark.texts) else {}),
            "showscale": is_new,
            "colorbar": _colour_bar(mark.label),
            "hovertemplate": f"{of_cells}: %{{text}}" if len(mark.texts) else f"{of_cells}: %{{z}}",
            "zhoverformat": ".2f",
            **({"hovertext": _pairs(*in_full)} if is_cut else {}),
        }

    def _rule(self, mark: Rule, panel: Panel, suffix: str) -> dict[str, Any]:
        if mark.x is not None:
            (x,) = _numbers([mark.x], panel.x.scale)
            ends = {"x0": x, "x1": x, "y0": 0, "y1": 1}
            refs = {"xref": f"x{suffix}", "yref": f"y{suffix} domain"}
        else:
            (y,) = _numbers([mark.y or 0.0], panel.y.scale)
            ends = {"x0": 0, "x1": 1, "y0": y, "y1": y}
            refs = {"xref": f"x{suffix} domain", "yref": f"y{suffix}"}
        line = {"color": mark.colour, "width": 1.4, "dash": _DASHES[mark.style]}
        origin = {"source": _origin(mark, panel)["source"]}
        return {"type": "line", **ends, **refs, "line": line, **origin, **self._named(mark.label)}


def _origin(mark: Mark, panel: Panel) -> dict[str, Any]:
    """The checkpoint of a mark and of its points, and the rows that points stand for."""
    lists = {}
    if isinstance(mark, Points):
        lists = {"rows": list(mark.rows), "neighbours": [list(own) for own in mark.neighbours]}
    return {
        "source": getattr(mark, "source", "") or panel.source,
        "sources": list(getattr(mark, "sources", ())),
        **{key: items for key, items in lists.items() if items},
    }


def _hovers(mark: Line | Points | Steps, panel: Panel) -> dict[str, Any]:
    """What a reader sees who hovers: the mark's texts, else its name, axes and numbers.

    Lines without a name are part of a drawing, as of a tree: they say nothing.
    """
    hovers, names = getattr(mark, "hovers", ()), getattr(mark, "names", ())
    if len(hovers):
        return {"hovertext": list(hovers), "hoverinfo": "text"}
    source = mark.source or panel.source
    own = ["%{meta.source}"] if source and source != mark.label and not len(names) else []
    own += ["%{hovertext}"] if len(names) else ["%{fullData.name}"] if mark.label else []
    if isinstance(mark, Line) and not mark.label and not mark.source:
        return {"hoverinfo": "skip"}
    y = "%{customdata:.3~g}" if panel.y.scale == "sqrt" else "%{y}"
    parts = [*own, _with_unit(panel.x.label, "%{x}"), _with_unit(panel.y.label, y)]
    texts = {"hovertext": list(names)} if len(names) else {}
    return {**texts, "hovertemplate": " · ".join(parts)}


_UNIT = re.compile(r"\s*\[([^\[\]]*)\]")
_ASIDE = re.compile(r"\s{2,}[←→].*|\s{2,}more\W.*|, 95% intervals.*|, axis of square roots.*")


def _with_unit(label: str, number: str) -> str:
    """The name of an axis before a number, and its unit behind it.

    >>> _with_unit("loss  [nats]", "3.2"), _with_unit("density, axis of square roots", "0.1")
    ('loss 3.2 nats', 'density 0.1')
    """
    label = _ASIDE.sub("", label)
    unit = _UNIT.search(label)
    name = _UNIT.sub("", label).strip()
    own_unit = unit[1] if unit and not unit[1].startswith(("share", "cosine")) else ""
    return " ".join(part for part in (name, number, own_unit) if part)


def _pairs(rows: Sequence[str], columns: Sequence[str]) -> list[list[str]]:
    """Both names of each cell of a matrix."""
    return [[f"{row}, {column}" for column in columns] for row in rows]


def _note(panel: Panel, suffix: str) -> dict[str, Any]:
    """A remark at an upper corner of a panel."""
    return {
        "text": panel.note,
        "xref": f"x{suffix} domain",
        "yref": f"y{suffix} domain",
        "x": 0.02 if panel.note_left else 0.98,
        "y": 0.98,
        "xanchor": "left" if panel.note_left else "right",
        "yanchor": "top",
        "showarrow": False,
    }


def _band(mark: Line, panel: Panel) -> dict[str, Any]:
    """The band around a line, there and back."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers([*mark.x, *reversed(mark.x)], panel.x.scale),
        "y": _numbers([*mark.high, *reversed(mark.low)], panel.y.scale),
        "fill": "toself",
        "fillcolor": mark.colour,
        "line": {"width": 0, "color": mark.colour},
        "opacity": 0.18,
        "hoverinfo": "skip",
        "name": mark.label,
        "legendgroup": mark.label,
        "showlegend": False,
        **({"meta": {"sources": [*mark.sources, *reversed(mark.sources)]}} if mark.sources else {}),
    }


def _marker(mark: Points) -> dict[str, Any]:
    marker: dict[str, Any] = {
        "symbol": _SYMBOLS[mark.symbol] + ("-open" if mark.hollow or mark.symbol in "|_" else ""),
        "size": 1.5 * mark.size,
        "opacity": mark.opacity,
        "color": mark.colour,
    }
    if mark.hollow:
        marker["line"] = {"width": 1.5, "color": mark.colour}
    if len(mark.values):
        marker |= {
            "color": _numbers(mark.values),
            "colorscale": _ORDERED,
            "showscale": True,
            "colorbar": _colour_bar(mark.value_label),
            "line": {"width": 1, "color": "#000000"},
        }
    return marker


def _colour_bar(label: str) -> dict[str, Any]:
    title = {"text": label, "side": "right"}
    return {
        "title": title,
        "thickness": 12,
        "nticks": 6,
        "exponentformat": "power",
        "minexponent": 6,
    }


def _error_bars(bars: Bars, colour: str) -> dict[str, Any]:
    below, above = reaches(bars)
    return {
        "type": "data",
        "array": _numbers(above),
        **({} if below == above else {"arrayminus": _numbers(below)}),
        "width": 0,
        "thickness": 1.2,
        "color": colour,
    }


def _axis(panel: Panel, name: str) -> dict[str, Any]:
    """An axis without a domain, which the page sets."""
    own: Axis = getattr(panel, name)
    is_matrix = any(isinstance(mark, Cells) for mark in panel.marks)
    axis: dict[str, Any] = {
        "title": {"text": own.label, "standoff": 8},
        "type": "log" if own.scale == "log" else "linear",
        "automargin": True,
        "zeroline": False,
        "showgrid": not is_matrix,
        "exponentformat": "power",
        "hoverformat": ".3~g",
    }
    if own.limits is not None:
        axis["range"] = [
            math.log10(end) if own.scale == "log" else _position(end, own.scale)
            for end in own.limits
        ]
    elif is_matrix and name == "y":
        axis["autorange"] = "reversed"
    ticks = own.ticks
    if own.scale == "sqrt" and not ticks:
        top = _largest(panel, name) if own.limits is None else own.limits[1]
        ticks = [(value, f"{value:g}") for value in _square_ticks(top)]
    if ticks:
        # on a logarithmic axis ticks stand at values, only ranges are exponents
        axis["tickvals"] = [_position(at, own.scale) for at, _ in ticks]
        axis["ticktext"] = [text for _, text in ticks]
        if panel.upright and name == "x":
            axis["tickangle"] = -90
    elif own.scale == "log":
        axis["dtick"] = 1
    elif own.is_share:
        axis["tickformat"] = "~%"
    if is_matrix:
        axis["constrain"] = "domain"
    return axis


def _largest(panel: Panel, name: str) -> float:
    """The largest value along an axis."""
    values: list[float] = [1e-9]
    for mark in panel.marks:
        if isinstance(mark, Steps):
            values += mark.heights if name == "y" else mark.edges
        elif isinstance(mark, Line | Points):
            values += getattr(mark, name)
    return max(value for value in values if math.isfinite(value))


def _square_ticks(top: float) -> list[float]:
    """A few round values from 0 to about the top, evenly apart on a square-root axis."""
    ticks = [0.0]
    for share in (0.05, 0.2, 0.5, 1.0):
        value = share * top
        power = 10.0 ** math.floor(math.log10(value))
        rounded = min((1, 2, 5, 10), key=lambda step: abs(step * power - value)) * power
        if rounded > ticks[-1]:
            ticks.append(rounded)
    return ticks


def _position(value: float, scale: Scale) -> float:
    """Where a value lies: at its root on a square-root axis."""
    return math.sqrt(max(value, 0.0)) if scale == "sqrt" else value


def _numbers(values: Numbers, scale: Scale = "linear") -> list[float | None]:
    """Positions with a few digits, None for NaN and infinity."""
    return [
        float(f"{_position(float(value), scale):.{_DIGITS}g}") if math.isfinite(value) else None
        for value in values
    ]


def _along_x(values: Numbers, scale: Scale) -> dict[str, Any]:
    """Positions along x; evenly spaced ones by their start and step, which is shorter."""
    n = len(values)
    if scale == "linear" and n > 10:
        start, step = values[0], (values[-1] - values[0]) / (n - 1)
        even = (start + i * step for i in range(n))
        if all(
            math.isclose(value, at, rel_tol=1e-9, abs_tol=1e-9)
            for value, at in zip(values, even, strict=True)
        ):
            return {"x0": float(f"{start:.9g}"), "dx": float(f"{step:.9g}")}
    return {"x": _numbers(values, scale)}


def _along_y(values: Numbers, scale: Scale) -> dict[str, Any]:
    """Positions along y; where the axis has roots, hovering shows the values."""
    if scale != "sqrt":
        return {"y": _numbers(values, scale)}
    return {
        "y": _numbers(values, scale),
        "customdata": _numbers(values),
    }
