"""Descriptions as data for plotly.js: the same figures, with hover, zoom and toggles.

A page places the panels itself (side by side, or one below the other on a phone), so axes have no
domains here; `meta` says how many panels there are and how tall one is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from cl_analyze.figures.description import (
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
_SYMBOLS = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "|": "line-ns"}
_POSITIONS = {
    "right": "middle right",
    "left": "middle left",
    "above": "top center",
    "below": "bottom center",
    "upper right": "top right",
    "lower right": "bottom right",
    "upper left": "top left",
    "lower left": "bottom left",
    "": "middle right",
}
_DIGITS = 5
MOST_POINTS = 25_000
"""Points above which a page cannot draw a figure quickly; its static image stands for it."""


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
            "width": round(96 * figure.panel_size[0]),
            "titles": [panel.title for panel in figure.panels],
            "dial": figure.dial,
            "levels": levels if figure.dial else [],
            "legend": bool(drawing.named),
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
        self._bars: set[tuple[float, float, str]] = set()

    def panel(self, panel: Panel, number: int, share_y: bool) -> None:
        """One pair of axes with its marks."""
        suffix = "" if number == 1 else str(number)
        self.axes[f"xaxis{suffix}"] = {**_axis(panel, "x"), "anchor": f"y{suffix}"}
        self.axes[f"yaxis{suffix}"] = {**_axis(panel, "y"), "anchor": f"x{suffix}"}
        if share_y and number > 1:
            self.axes[f"yaxis{suffix}"]["matches"] = "y"
        for mark in panel.marks:
            for trace in self._traces(mark, panel, suffix):
                level = getattr(mark, "level", None)
                trace["meta"] = {"panel": panel.title, "level": level}
                self.traces.append({**trace, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}"})

    def _named(self, label: str) -> dict[str, Any]:
        """A name for the legend, listed once in a figure."""
        shown = bool(label) and label not in self.named
        if label:
            self.named.add(label)
        return {"name": label, "legendgroup": label, "showlegend": shown}

    def _traces(self, mark: Mark, panel: Panel, suffix: str) -> Iterator[dict[str, Any]]:
        xs, ys = panel.x_scale, panel.y_scale
        if isinstance(mark, Rule):
            self._rule(mark, panel, suffix)
        elif isinstance(mark, Cells):
            yield self._cells(mark, panel)
        elif isinstance(mark, Steps):
            yield {
                "type": "scatter",
                "mode": "lines",
                **_along(mark.edges, xs),
                "y": _numbers([*mark.heights, mark.heights[-1]], ys),
                **_originals([*mark.heights, mark.heights[-1]], ys),
                "line": {"shape": "hv", "color": mark.colour, "width": mark.width},
                **({"fill": "tozeroy"} if mark.filled else {}),
                **self._named(mark.label),
            }
        elif isinstance(mark, Line):
            if len(mark.low):
                yield {
                    "type": "scatter",
                    "mode": "lines",
                    "x": _numbers([*mark.x, *reversed(mark.x)], xs),
                    "y": _numbers([*mark.high, *reversed(mark.low)], ys),
                    "fill": "toself",
                    "fillcolor": mark.colour,
                    "line": {"width": 0, "color": mark.colour},
                    "opacity": 0.18,
                    "hoverinfo": "skip",
                    "name": mark.label,
                    "legendgroup": mark.label,
                    "showlegend": False,
                }
            if mark.arrows:
                self._arrows(mark, suffix)
            yield {
                "type": "scatter",
                "mode": "lines+markers" if mark.marker or len(mark.x) == 1 else "lines",
                **_along(mark.x, xs),
                "y": _numbers(mark.y, ys),
                **_originals(mark.y, ys),
                "line": {
                    "color": mark.colour,
                    "width": 1.25 * mark.width,
                    "dash": _DASHES[mark.style],
                },
                "marker": {"color": mark.colour, "size": 6},
                **self._named(mark.label),
            }
        else:
            yield self._points(mark, panel)

    def _points(self, mark: Points, panel: Panel) -> dict[str, Any]:
        symbol = _SYMBOLS[mark.symbol] + ("-open" if mark.hollow or mark.symbol == "|" else "")
        marker: dict[str, Any] = {
            "symbol": symbol,
            "size": 1.5 * mark.size,
            "opacity": mark.opacity,
            "color": mark.colour,
        }
        if mark.hollow:
            marker["line"] = {"width": 1.5, "color": mark.colour}
        if len(mark.values):
            marker |= {
                "color": _numbers(mark.values, "linear"),
                "colorscale": "Viridis",
                "showscale": True,
                "colorbar": {"title": {"text": mark.value_label, "side": "right"}, "thickness": 12},
                "line": {"width": 1, "color": "#000000"},
            }
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers+text" if len(mark.sides) else "markers",
            "x": _numbers(mark.x, panel.x_scale),
            "y": _numbers(mark.y, panel.y_scale),
            **_originals(mark.y, panel.y_scale),
            "marker": marker,
            **self._named(mark.label),
        }
        if len(mark.names):
            trace["hovertext"] = list(mark.names)
        if len(mark.sides):
            pairs = zip(mark.names, mark.sides, strict=True)
            trace["text"] = [f"\u2002{name}\u2002" if side else "" for name, side in pairs]
            trace["textposition"] = [_POSITIONS[side] for side in mark.sides]
        for which, errors in (("x", mark.x_error), ("y", mark.y_error)):
            if len(errors) and getattr(panel, f"{which}_scale") != "sqrt":
                below, above = reaches(errors)
                trace[f"error_{which}"] = {
                    "type": "data",
                    "array": _numbers(above, "linear"),
                    **({} if below == above else {"arrayminus": _numbers(below, "linear")}),
                    "width": 0,
                    "thickness": 1.2,
                    "color": "#555555" if len(mark.values) else mark.colour,
                }
        return trace

    def _cells(self, mark: Cells, panel: Panel) -> dict[str, Any]:
        key = (mark.low, mark.high, mark.label)
        shown = key not in self._bars
        self._bars.add(key)
        texts = [[text for _, text in sorted(ticks)] for ticks in (panel.x_ticks, panel.y_ticks)]
        return {
            "type": "heatmap",
            "z": [_numbers(row, "linear") for row in mark.values],
            "zmin": mark.low,
            "zmax": mark.high,
            "colorscale": "Cividis",
            "showscale": shown,
            "colorbar": {"title": {"text": mark.label, "side": "right"}, "thickness": 12},
            "hovertemplate": "%{y}, %{x}: %{z:.4g}<extra></extra>" if all(texts) else None,
        }

    def _rule(self, mark: Rule, panel: Panel, suffix: str) -> None:
        line = {"color": mark.colour, "width": 1.4, "dash": _DASHES[mark.style]}
        if mark.x is not None:
            (x,) = _numbers([mark.x], panel.x_scale)
            ends = {"x0": x, "x1": x, "y0": 0, "y1": 1}
            refs = {"xref": f"x{suffix}", "yref": f"y{suffix} domain"}
        else:
            (y,) = _numbers([mark.y or 0.0], panel.y_scale)
            ends = {"x0": 0, "x1": 1, "y0": y, "y1": y}
            refs = {"xref": f"x{suffix} domain", "yref": f"y{suffix}"}
        self.shapes.append(
            {"type": "line", **ends, **refs, "line": line, **self._named(mark.label)}
        )

    def _arrows(self, mark: Line, suffix: str) -> None:
        for (x0, y0), (x1, y1) in pairwise(zip(mark.x, mark.y, strict=True)):
            self.notes.append(
                {
                    "x": x0 + 0.6 * (x1 - x0),
                    "y": y0 + 0.6 * (y1 - y0),
                    "ax": x0 + 0.4 * (x1 - x0),
                    "ay": y0 + 0.4 * (y1 - y0),
                    "xref": f"x{suffix}",
                    "yref": f"y{suffix}",
                    "axref": f"x{suffix}",
                    "ayref": f"y{suffix}",
                    "text": "",
                    "showarrow": True,
                    "arrowhead": 2,
                    "arrowwidth": 1.5,
                    "arrowcolor": mark.colour,
                }
            )


def _axis(panel: Panel, which: str) -> dict[str, Any]:
    """An axis without its place."""
    scale: Scale = getattr(panel, f"{which}_scale")
    limits = getattr(panel, f"{which}_limits")
    ticks = getattr(panel, f"{which}_ticks")
    is_matrix = any(isinstance(mark, Cells) for mark in panel.marks)
    axis: dict[str, Any] = {
        "title": {"text": getattr(panel, f"{which}_label"), "standoff": 8},
        "type": "log" if scale == "log" else "linear",
        "automargin": True,
        "zeroline": False,
        "showgrid": not is_matrix,
    }
    if limits is not None:
        ends = [limits[0], limits[1]]
        axis["range"] = [_position(end, scale) for end in ends]
    elif is_matrix and which == "y":
        axis["autorange"] = "reversed"
    if ticks:
        # on a logarithmic axis ticks stand at values, only ranges are exponents
        axis["tickvals"] = [math.sqrt(max(at, 0.0)) if scale == "sqrt" else at for at, _ in ticks]
        axis["ticktext"] = [text for _, text in ticks]
        if which == "x" and panel.upright:
            axis["tickangle"] = -90
    elif scale == "sqrt":
        top = _largest(panel, which)
        values = _square_ticks(top if limits is None else limits[1])
        axis["tickvals"] = [math.sqrt(value) for value in values]
        axis["ticktext"] = [f"{value:g}" for value in values]
    elif scale == "log":
        axis["dtick"] = 1
        axis["exponentformat"] = "power"
    if is_matrix:
        axis["constrain"] = "domain"
    return axis


def _largest(panel: Panel, which: str) -> float:
    """The largest value along an axis."""
    values: list[float] = [1e-9]
    for mark in panel.marks:
        if isinstance(mark, Steps):
            values += mark.heights if which == "y" else mark.edges
        elif isinstance(mark, Line | Points):
            values += getattr(mark, which)
    return max(value for value in values if math.isfinite(value))


def _square_ticks(top: float) -> list[float]:
    """A few round values from 0 to about the top, evenly apart on a square-root axis."""
    found = [0.0]
    for share in (0.05, 0.2, 0.5, 1.0):
        value = share * top
        power = 10.0 ** math.floor(math.log10(value))
        rounded = min((1, 2, 5, 10), key=lambda step: abs(step * power - value)) * power
        if rounded > found[-1]:
            found.append(rounded)
    return found


def _position(value: float, scale: Scale) -> float:
    """Where an end of a range lies in the axis's own numbers."""
    if scale == "log":
        return math.log10(value)
    return math.sqrt(max(value, 0.0)) if scale == "sqrt" else value


def _numbers(values: Numbers, scale: Scale) -> list[float | None]:
    """Numbers of a few digits, None for what is no number; roots on a square-root axis."""
    found: list[float | None] = []
    for value in values:
        number = float(value)
        if not math.isfinite(number):
            found.append(None)
            continue
        if scale == "sqrt":
            number = math.sqrt(max(number, 0.0))
        found.append(float(f"{number:.{_DIGITS}g}"))
    return found


def _along(values: Numbers, scale: Scale) -> dict[str, Any]:
    """Positions along x; evenly spaced ones by their start and step, which is shorter."""
    n = len(values)
    if scale == "linear" and n > 10:
        step = (values[-1] - values[0]) / (n - 1)
        if all(
            math.isclose(value, values[0] + i * step, rel_tol=1e-9, abs_tol=1e-9)
            for i, value in enumerate(values)
        ):
            return {"x0": float(f"{values[0]:.9g}"), "dx": float(f"{step:.9g}")}
    return {"x": _numbers(values, scale)}


def _originals(values: Sequence[float], scale: Scale) -> dict[str, Any]:
    """What hovering shows where the axis has roots."""
    if scale != "sqrt":
        return {}
    return {
        "customdata": _numbers(values, "linear"),
        "hovertemplate": "%{x:.4g}, %{customdata:.4g}",
    }
