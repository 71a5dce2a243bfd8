"""Descriptions as PNG, SVG or PDF files, the same bytes every time."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from cl_analyze.figures.description import (
    Cells,
    Figure,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Steps,
    reaches,
)
from cl_analyze.figures.fonts import families, matplotlib, texts_of

_STYLES = {"solid": "-", "dashed": "--", "dotted": ":", "dashdot": "-."}
_SETTINGS: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.edgecolor": "#555555",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "cl-analyze",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}

_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


@contextmanager
def _canvas(figure: Figure) -> Iterator[Any]:
    mpl = matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    fonts, _ = families(texts_of(figure))
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    chosen = {**defaults, **_SETTINGS, "font.family": fonts}
    with mpl.rc_context(chosen):
        n_rows = math.ceil(len(figure.panels) / figure.columns)
        width, height = figure.panel_size
        canvas = Canvas(
            figsize=(width * figure.columns, height * n_rows + 0.75), layout="constrained"
        )
        FigureCanvasAgg(canvas)
        engine: Any = canvas.get_layout_engine()
        engine.set(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.05)
        yield canvas


_MANY = 50
"""Points of a cloud above which svg and pdf hold it as an image, a tenth of the size."""

_PAGE_DPI = 100
"""Dots an inch of clouds of points in a page, which has each figure twice."""

FIXED_SVG = "svg-outlines"
"""An svg whose text is drawn as outlines, so that it looks the same where fonts differ."""


def render(figure: Figure, formats: Sequence[str], dpi: int = 160) -> dict[str, bytes]:
    """Draw a figure once and save it in several formats.

    Args:
        figure: the description.
        formats: png, svg (with text that can be edited and searched), pdf, or `FIXED_SVG`.
        dpi: dots an inch of the png.

    Returns:
        Format -> file content, the same bytes every time.
    """
    mpl = matplotlib()
    out: dict[str, bytes] = {}
    with warnings.catch_warnings(), _canvas(figure) as canvas:
        # names in scripts that no font has are drawn as boxes, and told of
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _draw(canvas, figure)
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # the layout is found once, for all formats
        for kind in dict.fromkeys(formats):
            stream = io.BytesIO()
            mpl.rcParams["svg.fonttype"] = "path" if kind == FIXED_SVG else "none"
            suffix = "svg" if kind == FIXED_SVG else kind
            dots = min(dpi, _PAGE_DPI) if kind == FIXED_SVG else dpi
            canvas.savefig(stream, format=suffix, dpi=dots, metadata=_METADATA[suffix])
            out[kind] = stream.getvalue()
    return out


def _draw(canvas: Any, figure: Figure) -> None:
    n_rows = math.ceil(len(figure.panels) / figure.columns)
    grid = canvas.subplots(
        n_rows, figure.columns, squeeze=False, sharey=figure.share_y, sharex=False
    )
    axes = list(grid.ravel())
    handles: dict[str, Any] = {}
    for index, (panel, axis) in enumerate(zip(figure.panels, axes, strict=False)):
        for label, handle in _panel(axis, panel):
            handles.setdefault(label, handle)
        if figure.share_y and index % figure.columns:
            axis.set_ylabel("")
        below = index + figure.columns < len(figure.panels)
        if below and len({p.x_label for p in figure.panels}) == 1:
            axis.set_xlabel("")
        if index % figure.columns and len({p.y_label for p in figure.panels}) == 1:
            axis.set_ylabel("")
    for axis in axes[len(figure.panels) :]:
        axis.remove()
    width = figure.panel_size[0] * figure.columns
    title = textwrap.fill(
        figure.title, int(11.5 * width), break_on_hyphens=False, break_long_words=False
    )  # bold letters of 10.5 points
    canvas.suptitle(title, fontsize=10.5, x=0.01, ha="left", fontweight="bold")
    if handles:
        longest = max(len(label) for label in handles)
        most = max(1, int(width / (0.5 + 0.066 * longest)))
        n_legend_rows = math.ceil(len(handles) / most)
        columns = math.ceil(len(handles) / n_legend_rows)
        labels = _across(list(handles), columns)
        canvas.legend(
            [handles[label] for label in labels],
            labels,
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            columnspacing=1.4,
            handlelength=1.8,
            markerscale=2.0 if _all_small(figure) else 1.0,
        )


def _all_small(figure: Figure) -> bool:
    """Whether the legend has dots alone, too small to see their colour."""
    marks = [mark for panel in figure.panels for mark in panel.marks if mark.label]
    return all(isinstance(mark, Points) and mark.size < 3.0 for mark in marks)


def _across(labels: list[str], columns: int) -> list[str]:
    """Labels in the order that reads left to right in a legend that is filled downwards."""
    return [label for column in range(columns) for label in labels[column::columns]]


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _log_text(value: float, _: object = None) -> str:
    """A tick of a log axis without TeX, which could be in a file's name as well.

    >>> _log_text(100.0), _log_text(0.001), _log_text(1e-6)
    ('100', '0.001', '10⁻⁶')
    """
    if 1e-3 <= value <= 1e4:
        return f"{value:g}"
    exponent = round(math.log10(value))
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def _scale(axis: Any, which: str, scale: str) -> None:
    if scale == "sqrt":
        import numpy as np

        getattr(axis, f"set_{which}scale")(
            "function", functions=(lambda v: np.sqrt(np.maximum(v, 0.0)), np.square)
        )
        return
    getattr(axis, f"set_{which}scale")(scale)
    if scale == "log":
        from matplotlib.ticker import FuncFormatter, NullFormatter

        getattr(axis, f"{which}axis").set_major_formatter(FuncFormatter(_log_text))
        getattr(axis, f"{which}axis").set_minor_formatter(NullFormatter())


def _panel(axis: Any, panel: Panel) -> Iterator[tuple[str, Any]]:
    _scale(axis, "x", panel.x_scale)
    _scale(axis, "y", panel.y_scale)
    for mark in panel.marks:
        handle = _mark(axis, mark)
        if mark.label and not isinstance(mark, Cells):
            yield mark.label, handle
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    if panel.title:
        axis.set_title(panel.title, loc="left")
    for which, ticks in (("x", panel.x_ticks), ("y", panel.y_ticks)):
        if ticks:
            getattr(axis, f"set_{which}ticks")([at for at, _ in ticks], [text for _, text in ticks])
            axis.tick_params(axis=which, which="minor", bottom=False, left=False, labelleft=False)
            if getattr(panel, f"{which}_scale") == "log":
                from matplotlib.ticker import NullFormatter, NullLocator

                getattr(axis, f"{which}axis").set_minor_locator(NullLocator())
                getattr(axis, f"{which}axis").set_minor_formatter(NullFormatter())
    for which, ticks in (("x", panel.x_ticks), ("y", panel.y_ticks)):
        if not ticks and getattr(panel, f"{which}_scale") == "linear":
            axis.locator_params(axis=which, nbins=6, min_n_ticks=3)
    if panel.upright:
        axis.tick_params(axis="x", labelrotation=90)
    if panel.x_limits:
        axis.set_xlim(*panel.x_limits)
    if panel.y_limits:
        axis.set_ylim(*panel.y_limits)


def _mark(axis: Any, mark: Mark) -> Any:
    if isinstance(mark, Line):
        if len(mark.low):
            axis.fill_between(mark.x, mark.low, mark.high, color=mark.colour, alpha=0.18, lw=0)
        if mark.arrows:
            _arrows(axis, mark)
        return axis.plot(
            mark.x,
            mark.y,
            _STYLES[mark.style],
            color=mark.colour,
            lw=mark.width,
            marker="o" if mark.marker or len(mark.x) == 1 else None,
            ms=3.5,
            solid_capstyle="butt",
        )[0]
    if isinstance(mark, Points):
        if len(mark.values):
            return _coloured(axis, mark)
        _names(axis, mark)
        return axis.errorbar(
            mark.x,
            mark.y,
            xerr=reaches(mark.x_error) if mark.x_error else None,
            yerr=reaches(mark.y_error) if mark.y_error else None,
            fmt=mark.symbol,
            ms=mark.size,
            color=mark.colour,
            mfc="none" if mark.hollow else mark.colour,
            mec=mark.colour,
            elinewidth=1.2,
            capsize=0,
            ls="none",
            zorder=3,
            rasterized=len(mark.x) > _MANY,
            alpha=None if mark.opacity == 1.0 else mark.opacity,
            mew=0 if mark.opacity < 1.0 and not mark.hollow else None,
        )
    if isinstance(mark, Cells):
        return _cells(axis, mark)
    if isinstance(mark, Steps):
        if mark.filled:
            return axis.stairs(mark.heights, mark.edges, fill=True, color=mark.colour)
        return axis.stairs(mark.heights, mark.edges, color=mark.colour, lw=mark.width)
    return _rule(axis, mark)


def _arrows(axis: Any, mark: Line) -> None:
    """An arrow's head in the middle of each piece."""
    points = list(zip(mark.x, mark.y, strict=True))
    for (x0, y0), (x1, y1) in pairwise(points):
        axis.annotate(
            "",
            (x0 + 0.58 * (x1 - x0), y0 + 0.58 * (y1 - y0)),
            (x0 + 0.42 * (x1 - x0), y0 + 0.42 * (y1 - y0)),
            arrowprops={"arrowstyle": "-|>", "color": mark.colour, "lw": mark.width, "shrinkA": 0},
        )


def _coloured(axis: Any, mark: Points) -> Any:
    """Points coloured by a value, with a colour bar."""
    axis.errorbar(
        mark.x,
        mark.y,
        xerr=reaches(mark.x_error) if mark.x_error else None,
        yerr=reaches(mark.y_error) if mark.y_error else None,
        fmt="none",
        ecolor="#555555",
        elinewidth=1.0,
        zorder=2.5,
    )
    shown = axis.scatter(
        mark.x,
        mark.y,
        c=list(mark.values),
        cmap="viridis",
        s=mark.size**2,
        marker=mark.symbol,
        edgecolors="black",
        linewidths=0.6,
        zorder=3,
    )
    bar = axis.figure.colorbar(shown, ax=axis, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(mark.value_label)
    _names(axis, mark)
    return shown


_OFFSETS: dict[str, tuple[tuple[float, float], str, str]] = {
    "right": ((7, 0), "left", "center"),
    "left": ((-7, 0), "right", "center"),
    "above": ((0, 7), "center", "bottom"),
    "below": ((0, -7), "center", "top"),
    "upper right": ((9, 9), "left", "bottom"),
    "lower right": ((9, -9), "left", "top"),
    "upper left": ((-9, 9), "right", "bottom"),
    "lower left": ((-9, -9), "right", "top"),
}


def _names(axis: Any, mark: Points) -> None:
    """The points' names beside them."""
    if not len(mark.sides):
        return
    for x, y, name, side in zip(mark.x, mark.y, mark.names, mark.sides, strict=True):
        if side:
            offset, across, along = _OFFSETS[side]
            axis.annotate(
                name,
                (x, y),
                offset,
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=7.5,
                zorder=4,
            )


def _cells(axis: Any, mark: Cells) -> Any:
    import numpy as np

    axis.grid(visible=False)
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    shown = axis.imshow(
        np.asarray(mark.values, dtype=np.float64),
        cmap="cividis",
        vmin=mark.low,
        vmax=mark.high,
        interpolation="nearest",
    )
    bar = axis.figure.colorbar(shown, ax=axis, shrink=0.85, pad=0.02)
    bar.outline.set_visible(False)
    if mark.label:
        bar.set_label(mark.label)
    return shown


def _rule(axis: Any, mark: Rule) -> Any:
    style = _STYLES[mark.style]
    if mark.x is not None:
        return axis.axvline(mark.x, ls=style, color=mark.colour, lw=1.1)
    return axis.axhline(mark.y, ls=style, color=mark.colour, lw=1.1)
