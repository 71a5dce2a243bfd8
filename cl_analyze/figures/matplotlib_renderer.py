"""Descriptions as PNG, SVG or PDF files, the same bytes every time, or as figures of Matplotlib.

A figure is laid out once, with its PNG where there is one, and drawn once for each format.
"""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from cl_analyze.figures.colours import DIVERGING
from cl_analyze.figures.description import (
    DIRECTIONS,
    Axis,
    Cells,
    Figure,
    Line,
    Mark,
    Panel,
    Points,
    Steps,
    reaches,
)
from cl_analyze.figures.fonts import families, matplotlib, texts_of
from cl_analyze.processes import in_processes

PAGE = "page"
"""The png once more, in 256 colours: a third of the size, and seen without scripts and in print."""
_DPI = 160
"""Dots an inch of a png."""
_NEARLY_WHITE = 252
_COMPRESSION = 3
"""Of zlib, for pngs: half of the time of its usual 6, for files that are a fifteenth larger."""
_MANY = 50
"""Points of a cloud above which svg and pdf hold it as an image, a tenth of the size."""
_STYLES = {"solid": "-", "dashed": "--", "dotted": ":", "dashdot": "-."}
_SETTINGS: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titley": 1.0,  # no panel has ticks on top, which titles would be moved above
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
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def render(
    figures: Iterable[Figure], formats: Iterable[str], n_processes: int = 1
) -> list[dict[str, bytes]]:
    """Draw figures.

    Args:
        figures: the descriptions.
        formats: png, svg (with text that can be edited and searched), pdf, or `PAGE`.
        n_processes: number of processes that draw, where this process can fork.

    Returns:
        For each figure, format -> file content, the same bytes every time.
    """
    kinds = tuple(dict.fromkeys(formats))
    with _own_settings():
        listed = [figure.on_paper for figure in figures]
        # those of many panels first, so that all processes end at about the same time
        order = sorted(range(len(listed)), key=lambda at: -len(listed[at].panels))
        drawn = in_processes(lambda at, _: _files(listed[at], kinds), order, n_processes)
        files = dict(zip(order, drawn, strict=True))
        return [files[at] for at in range(len(listed))]


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """The settings of all figures, whichever the calling program has."""
    mpl = matplotlib()
    defaults = {name: value for name, value in mpl.rcParamsDefault.items() if name != "backend"}
    with mpl.rc_context({**defaults, **_SETTINGS}):
        yield


def as_matplotlib(figure: Figure) -> Any:
    """A description as a figure of Matplotlib, which pyplot does not know and a caller may change.

    It looks like the files of `render`, whatever the settings of the calling program are.
    """
    with _own_settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = figure.on_paper
        matplotlib().rcParams["font.family"] = families(texts_of(figure))[0]
        canvas = _canvas(figure)
        _draw(canvas, figure)
        canvas.draw_without_rendering()  # ticks take the settings when they are made
    return canvas


def draw_into(axes: Any, panel: Panel, title: str) -> None:
    """Draw one panel into axes of the caller, in the caller's style.

    Args:
        axes: `matplotlib.axes.Axes`.
        panel: marks, scales and labels of the axes.
        title: of a panel that has none.
    """
    from matplotlib.text import Text

    written = {id(text) for text in axes.findobj(Text) if text.get_text()}
    with matplotlib().rc_context({"text.parse_math": False}):
        handles: dict[str, Any] = {}
        for label, handle in _panel(axes, panel):
            handles.setdefault(label, handle)
        axes.set_title(panel.title or title, loc="left")
        if handles:
            axes.legend(list(handles.values()), list(handles), fontsize="small")
        for text in axes.findobj(Text):  # a name in a file may contain dollar signs
            if id(text) not in written:
                text.set_parse_math(False)


def _files(figure: Figure, kinds: Sequence[str]) -> dict[str, bytes]:
    """One figure in some formats."""
    matplotlib().rcParams["font.family"] = families(texts_of(figure))[0]
    canvas = _canvas(figure)
    files: dict[str, bytes] = {}
    with warnings.catch_warnings():
        # names in scripts that no font has are drawn as boxes, and a note says so
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _draw(canvas, figure)
        if {"png", PAGE} & set(kinds):
            image = _image(canvas)  # this lays the figure out as well
            files |= {kind: _png(image, kind) for kind in kinds if kind in ("png", PAGE)}
        else:
            canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # one layout serves all formats
        for kind in kinds:
            if kind not in files:
                files[kind] = _vectors(canvas, kind)
    return files


def _vectors(canvas: Any, kind: str) -> bytes:
    """The figure as svg or pdf; `savefig` would draw it once more, to look for its size."""
    from matplotlib.backends import backend_pdf, backend_svg

    stream = io.BytesIO()
    canvas.set_dpi(_DPI)  # of images inside; printing leaves the 72 of its points
    printing: Any = (
        backend_svg.FigureCanvasSVG(canvas).print_svg
        if kind == "svg"
        else backend_pdf.FigureCanvasPdf(canvas).print_pdf
    )
    printing(stream, metadata=_METADATA[kind])
    return stream.getvalue()


def _canvas(figure: Figure) -> Any:
    """An empty canvas for a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from cl_analyze.figures.notebook import NotebookFigure

    width, height = figure.panel_size
    size = (width * figure.columns, height * _n_rows(figure) + 0.75)
    canvas = NotebookFigure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(canvas)
    engine: Any = canvas.get_layout_engine()
    engine.set(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.05)
    return canvas


def _image(canvas: Any) -> Any:
    """The pixels of a canvas, as an image of Pillow."""
    from PIL import Image

    canvas.canvas.draw()
    pixels = canvas.canvas.buffer_rgba()
    height, width = pixels.shape[:2]
    return Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1).convert("RGB")


def _png(image: Any, kind: str) -> bytes:
    from PIL import Image

    if kind == PAGE:
        image = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        # the mean of nearly white pixels is less than white, which a page shows beside white
        palette = image.getpalette()
        image.putpalette([255 if value > _NEARLY_WHITE else value for value in palette])
    stream = io.BytesIO()
    image.save(stream, "png", dpi=(_DPI, _DPI), compress_level=_COMPRESSION)
    return stream.getvalue()


def _n_rows(figure: Figure) -> int:
    return math.ceil(len(figure.panels) / figure.columns)


def _draw(canvas: Any, figure: Figure) -> None:
    """Panels, title and legend."""
    n_panels, columns = len(figure.panels), figure.columns
    grid = canvas.subplots(_n_rows(figure), columns, squeeze=False, sharey=figure.share_y)
    one_x_label = len({panel.x.label for panel in figure.panels}) == 1
    one_y_label = len({panel.y.label for panel in figure.panels}) == 1
    handles: dict[str, Any] = {}
    for index, axes in enumerate(grid.ravel()):
        if index >= n_panels:
            axes.remove()
            continue
        for label, handle in _panel(axes, figure.panels[index]):
            handles.setdefault(label, handle)
        if index % columns and (figure.share_y or one_y_label):
            axes.set_ylabel("")
        if index + columns < n_panels and one_x_label:
            axes.set_xlabel("")
    width = figure.panel_size[0] * columns
    letters = int(11.5 * width)  # bold letters of 10.5 points
    title = textwrap.fill(figure.title, letters, break_on_hyphens=False, break_long_words=False)
    canvas.suptitle(title, fontsize=10.5, x=0.01, ha="left", fontweight="bold")
    if handles:
        _legend(canvas, figure, handles, width)


def _legend(canvas: Any, figure: Figure, handles: dict[str, Any], width: float) -> None:
    """The labels of all panels below them, in the order that reads left to right."""
    longest = max(len(label) for label in handles)
    most = max(1, int(width / (0.5 + 0.066 * longest)))
    columns = math.ceil(len(handles) / math.ceil(len(handles) / most))
    # Matplotlib fills a legend downwards
    labels = [label for column in range(columns) for label in list(handles)[column::columns]]
    marks = [mark for panel in figure.panels for mark in panel.marks if mark.label]
    only_small_dots = all(isinstance(mark, Points) and mark.size < 3.0 for mark in marks)
    canvas.legend(
        [handles[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        columnspacing=1.4,
        handlelength=1.8,
        markerscale=2.0 if only_small_dots else 1.0,  # their colour must be seen
    )


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


def _panel(axes: Any, panel: Panel) -> Iterator[tuple[str, Any]]:
    """Draw a panel and yield labels and handles for the legend."""
    both = (("x", panel.x), ("y", panel.y))
    for name, axis in both:
        _set_scale(axes, name, axis)
    for mark in panel.marks:
        handle = _mark(axes, mark)
        if mark.label and not isinstance(mark, Cells):
            yield mark.label, handle
    if panel.title:
        axes.set_title(panel.title, loc="left")
    if panel.note:
        axes.text(0.98, 0.97, panel.note, transform=axes.transAxes, ha="right", va="top")
    for name, axis in both:
        getattr(axes, f"set_{name}label")(axis.label)
        if axis.ticks:
            _set_ticks(axes, name, axis)
        elif axis.scale == "linear":
            axes.locator_params(axis=name, nbins=6, min_n_ticks=3)
    if panel.upright:
        axes.tick_params(axis="x", labelrotation=90)
    for name, axis in both:
        if axis.limits:
            getattr(axes, f"set_{name}lim")(*axis.limits)


def _root(values: Any) -> Any:
    """Square roots, those of negative numbers 0: a scale that can be pickled with its figure."""
    import numpy as np

    return np.sqrt(np.maximum(values, 0.0))


def _set_scale(axes: Any, name: str, axis: Axis) -> None:
    import numpy as np
    from matplotlib.ticker import FuncFormatter, NullFormatter

    set_scale = getattr(axes, f"set_{name}scale")
    if axis.scale == "sqrt":
        set_scale("function", functions=(_root, np.square))
        return
    set_scale(axis.scale)
    if axis.scale == "log":
        getattr(axes, f"{name}axis").set_major_formatter(FuncFormatter(_log_text))
        getattr(axes, f"{name}axis").set_minor_formatter(NullFormatter())


def _set_ticks(axes: Any, name: str, axis: Axis) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    positions, texts = [at for at, _ in axis.ticks], [text for _, text in axis.ticks]
    getattr(axes, f"set_{name}ticks")(positions, texts)
    axes.tick_params(axis=name, which="minor", bottom=False, left=False, labelleft=False)
    if axis.scale == "log":
        getattr(axes, f"{name}axis").set_minor_locator(NullLocator())
        getattr(axes, f"{name}axis").set_minor_formatter(NullFormatter())


def _mark(axes: Any, mark: Mark) -> Any:
    """Draw a mark and return a handle for the legend."""
    if isinstance(mark, Line):
        return _line(axes, mark)
    if isinstance(mark, Points):
        return _points(axes, mark)
    if isinstance(mark, Cells):
        return _cells(axes, mark)
    if isinstance(mark, Steps):
        options: dict[str, Any] = {"fill": True} if mark.filled else {"lw": mark.width}
        return axes.stairs(mark.heights, mark.edges, color=mark.colour, **options)
    options = {"ls": _STYLES[mark.style], "color": mark.colour, "lw": 1.1}
    if mark.x is not None:
        return axes.axvline(mark.x, **options)
    return axes.axhline(mark.y, **options)


def _line(axes: Any, mark: Line) -> Any:
    if len(mark.low):
        axes.fill_between(mark.x, mark.low, mark.high, color=mark.colour, alpha=0.18, lw=0)
    if mark.arrows:  # a head in the middle of each piece
        style = {"arrowstyle": "-|>", "color": mark.colour, "lw": mark.width, "shrinkA": 0}
        for (x0, y0), (x1, y1) in pairwise(zip(mark.x, mark.y, strict=True)):
            start, end = ((x0 + s * (x1 - x0), y0 + s * (y1 - y0)) for s in (0.42, 0.58))
            axes.annotate("", end, start, arrowprops=style)
    return axes.plot(
        mark.x,
        mark.y,
        _STYLES[mark.style],
        color=mark.colour,
        lw=mark.width,
        marker="o" if mark.marker or len(mark.x) == 1 else None,
        ms=3.5,
        solid_capstyle="butt",
    )[0]


def _points(axes: Any, mark: Points) -> Any:
    """Points of one colour, or coloured by a value beside a colour bar."""
    bars = {
        "xerr": reaches(mark.x_error) if mark.x_error else None,
        "yerr": reaches(mark.y_error) if mark.y_error else None,
    }
    if not len(mark.values):
        _names(axes, mark)
        return axes.errorbar(
            mark.x,
            mark.y,
            **bars,
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
    options = {"fmt": "none", "ecolor": "#555555", "elinewidth": 1.0, "zorder": 2.5}
    axes.errorbar(mark.x, mark.y, **bars, **options)
    shown = axes.scatter(
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
    _colour_bar(axes, shown, mark.value_label, 0.9)
    _names(axes, mark)
    return shown


def _colour_bar(axes: Any, shown: Any, label: str, shrink: float) -> None:
    bar = axes.figure.colorbar(shown, ax=axes, shrink=shrink, pad=0.02)
    bar.outline.set_visible(False)
    if label:
        bar.set_label(label)


_ACROSS = {-1: "right", 0: "center", 1: "left"}
_ALONG = {-1: "top", 0: "center", 1: "bottom"}


def _names(axes: Any, mark: Points) -> None:
    """Names of the points beside them."""
    if not len(mark.sides):
        return
    for x, y, name, side in zip(mark.x, mark.y, mark.names, mark.sides, strict=True):
        if side:
            right, up = DIRECTIONS[side]
            points = 9 if right and up else 7
            axes.annotate(
                name,
                (x, y),
                (points * right, points * up),
                textcoords="offset points",
                ha=_ACROSS[right],
                va=_ALONG[up],
                fontsize=7.5,
                zorder=4,
            )


_DARK = 0.5
"""Lightness of a cell below which its text is white."""


def _diverging() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("diverging", list(DIVERGING))


def _cells(axes: Any, mark: Cells) -> Any:
    import numpy as np

    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    shown = axes.imshow(
        np.asarray(mark.values, dtype=np.float64),
        cmap=_diverging() if mark.is_diverging else "cividis",
        vmin=mark.low,
        vmax=mark.high,
        interpolation="nearest",
    )
    for y, row in enumerate(mark.texts):
        for x, text in enumerate(row):
            red, green, blue, _ = shown.cmap(shown.norm(mark.values[y][x]))
            is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < _DARK
            colour = "white" if is_dark else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=7.0, color=colour)
    _colour_bar(axes, shown, mark.label, 0.85)
    return shown
