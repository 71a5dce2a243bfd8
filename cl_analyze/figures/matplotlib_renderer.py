"""Descriptions as PNG, SVG or PDF files, the same bytes every time, or as figures of Matplotlib.

Every picture is as wide as one column of a paper, with letters of `LEAST_POINTS` at least, so that
it is put there as it is.  Titles are not drawn: pages have them as headings, files in their
metadata.  A figure is laid out once, with its PNG where there is one, and drawn once for each
format.
"""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from cl_analyze.figures.colours import DIVERGING, ordered
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
from cl_analyze.figures.marks import power_text
from cl_analyze.processes import in_processes

PAGE = "page"
"""The png once more, in 256 colours: a third of the size, and seen without scripts and in print."""
WIDTH = 3.35
"""Inches of every picture: 85 mm, one column of a paper."""
LEAST_POINTS = 6.0
"""Height of the smallest letters, in points."""
_MOST_COLUMNS = 2
"""Panels side by side."""
_DPI = 300
"""Dots an inch of a png."""
_THINNER = 0.7
"""Of lines and dots, whose sizes are those of a page."""
_NEARLY_WHITE = 252
_COMPRESSION = 3
"""Of zlib, for pngs: half of the time of its usual 6, for files that are a fifteenth larger."""
_MANY = 50
"""Points of a cloud above which svg and pdf hold it as an image, a tenth of the size."""
_STYLES = {"solid": "-", "dashed": "--", "dotted": ":", "dashdot": "-."}
_SETTINGS: dict[str, Any] = {
    "font.size": 6.5,
    "axes.titlesize": 7.0,
    "axes.titley": 1.0,  # no panel has ticks on top, which titles would be moved above
    "axes.titlepad": 3.0,
    "axes.labelsize": 6.8,
    "axes.labelpad": 2.0,
    "xtick.labelsize": 6.3,
    "ytick.labelsize": 6.3,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "xtick.major.size": 2.2,
    "ytick.major.size": 2.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.3,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
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
_ABOUT = {"svg": "Description", "pdf": "Subject"}
"""Where each format has the caption."""


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
        listed = list(figures)
        # those of many panels first, so that all processes end at about the same time
        order = sorted(range(len(listed)), key=lambda at: -len(_panels(listed[at])))
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

    It looks like the files of `render`, whatever the settings of the calling program are; its
    label is the title.
    """
    with _own_settings(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
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
        for label, handle in _panel(axes, panel, 1.0):
            handles.setdefault(label, handle)
        for bar in _bars([(axes, panel)]):
            _colour_bar([axes], *bar)
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
            files |= {kind: _png(image, kind, figure) for kind in kinds if kind in ("png", PAGE)}
        else:
            canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # one layout serves all formats
        for kind in kinds:
            if kind not in files:
                files[kind] = _vectors(canvas, kind, figure)
    return files


def _vectors(canvas: Any, kind: str, figure: Figure) -> bytes:
    """The figure as svg or pdf; `savefig` would draw it once more, to look for its size."""
    from matplotlib.backends import backend_pdf, backend_svg

    stream = io.BytesIO()
    canvas.set_dpi(_DPI)  # of images inside; printing leaves the 72 of its points
    printing: Any = (
        backend_svg.FigureCanvasSVG(canvas).print_svg
        if kind == "svg"
        else backend_pdf.FigureCanvasPdf(canvas).print_pdf
    )
    about = {"Title": figure.title, _ABOUT[kind]: figure.caption}
    printing(stream, metadata={**_METADATA[kind], **about})
    return stream.getvalue()


def _panels(figure: Figure) -> list[Panel]:
    """The panels of a picture, with the marks of its level."""
    shown = [panel for panel in figure.panels if not panel.is_minor] or list(figure.panels)
    if figure.level is None:
        return shown
    of_level = (None, figure.level)
    return [
        replace(p, marks=[m for m in p.marks if getattr(m, "level", None) in of_level])
        for p in shown
    ]


def _canvas(figure: Figure) -> Any:
    """An empty canvas for a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from cl_analyze.figures.notebook import NotebookFigure

    panels = _panels(figure)
    height = sum(_heights(figure, panels)) + (0.0 if _hole(figure, panels) else _below(panels))
    canvas = NotebookFigure(figsize=(WIDTH, height), dpi=_DPI, layout="constrained")
    canvas.set_label(figure.title)
    FigureCanvasAgg(canvas)
    engine: Any = canvas.get_layout_engine()
    engine.set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.03)
    return canvas


_LETTER, _LINE_OF_TEXT = 0.052, 0.125
"""Inches of a letter, and of a line of text."""


def _columns(figure: Figure, panels: Sequence[Panel]) -> int:
    return min(figure.columns, len(panels), _MOST_COLUMNS)


def _rows(figure: Figure, panels: Sequence[Panel]) -> list[Sequence[Panel]]:
    columns = _columns(figure, panels)
    return [panels[at : at + columns] for at in range(0, len(panels), columns)]


def _heights(figure: Figure, panels: Sequence[Panel]) -> list[float]:
    """Inches of each row of panels: of the shape that the page has, and room for all texts."""
    columns = _columns(figure, panels)
    width, height = figure.panel_size
    shaped = height * WIDTH / (width * columns)
    if columns > 1:
        shaped = max(1.1 * shaped, 1.3)
    heights = []
    for row in _rows(figure, panels):
        n_names = max(len(p.y.ticks) for p in row)
        below = max((len(t) for p in row if p.upright for _, t in p.x.ticks), default=0)
        least = 0.5 + (0.11 * n_names if n_names > _MOST_TICKS else 0.0)
        heights.append(max(shaped, least) + 0.75 * _LETTER * below)
    return heights


_MOST_TICKS = 8
"""Ticks of an axis with numbers; more are names, which need room."""


def _labels(panels: Sequence[Panel]) -> list[str]:
    """What the legend says, each once; of very many checkpoints some of the order."""
    marks = [mark for panel in panels for mark in panel.marks if not isinstance(mark, Cells)]
    labels = list(dict.fromkeys(mark.label for mark in marks if mark.label))
    own = {getattr(mark, "source", "") for mark in marks}
    of_sources = [label for label in labels if label in own]
    n = len(of_sources)
    if n <= _MOST_ENTRIES:
        return labels
    step = (n - 1) / (_ENTRIES_OF_MANY - 1)
    kept = {of_sources[round(i * step)] for i in range(_ENTRIES_OF_MANY)}
    others = [label for label in labels if label not in own]
    return [label for label in of_sources if label in kept] + [f"{n - len(kept)} between"] + others


_MOST_ENTRIES, _ENTRIES_OF_MANY = 12, 5
"""Checkpoints up to which the legend has all of them, and how many it has of more."""


def _hole(figure: Figure, panels: Sequence[Panel]) -> bool:
    """Whether the legend has room where a panel could be."""
    columns, labels = _columns(figure, panels), _labels(panels)
    if not labels or len(panels) % columns == 0:
        return False
    wrapped = [line for label in labels for line in _wrapped(label, WIDTH / columns - 0.4)]
    return _LINE_OF_TEXT * len(wrapped) < _heights(figure, panels)[-1] - 0.15


def _below(panels: Sequence[Panel]) -> float:
    """Inches of the legend below the panels."""
    labels = _labels(panels)
    if not labels:
        return 0.0
    return 0.1 + _LINE_OF_TEXT * math.ceil(len(labels) / _across(labels))


def _across(labels: Sequence[str]) -> int:
    """Entries of the legend side by side, each column as wide as its longest."""
    for columns in range(min(len(labels), 5), 1, -1):
        lengths = [max(map(len, labels[at::columns])) for at in range(columns)]
        if sum(0.36 + _LETTER * min(length, _LONGEST) for length in lengths) <= WIDTH:
            return math.ceil(len(labels) / math.ceil(len(labels) / columns))
    return 1


_LONGEST = 56
"""Letters of an entry of the legend."""


def _wrapped(text: str, inches: float) -> list[str]:
    """Lines of a text that has so much room."""
    letters = max(int(inches / _LETTER), 8)
    return textwrap.wrap(text, letters, break_on_hyphens=False, break_long_words=False) or [""]


def _image(canvas: Any) -> Any:
    """The pixels of a canvas, as an image of Pillow."""
    from PIL import Image

    canvas.canvas.draw()
    pixels = canvas.canvas.buffer_rgba()
    height, width = pixels.shape[:2]
    return Image.frombuffer("RGBA", (width, height), pixels, "raw", "RGBA", 0, 1).convert("RGB")


def _png(image: Any, kind: str, figure: Figure) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if kind == PAGE:
        image = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        # the mean of nearly white pixels is less than white, which a page shows beside white
        palette = image.getpalette()
        image.putpalette([255 if value > _NEARLY_WHITE else value for value in palette])
    about = PngInfo()
    if kind != PAGE:
        about.add_itxt("Title", figure.title)
        about.add_itxt("Description", figure.caption)
    stream = io.BytesIO()
    image.save(stream, "png", dpi=(_DPI, _DPI), compress_level=_COMPRESSION, pnginfo=about)
    return stream.getvalue()


def _draw(canvas: Any, figure: Figure) -> None:
    """Panels, and their legend below them or in a free corner."""
    from matplotlib.lines import Line2D

    panels = _panels(figure)
    n_panels, columns, heights = len(panels), _columns(figure, panels), _heights(figure, panels)
    grid = canvas.subplots(
        len(heights), columns, squeeze=False, sharey=figure.share_y, height_ratios=heights
    )
    one_x_label = len({panel.x.label for panel in panels}) == 1
    one_y_label = len({panel.y.label for panel in panels}) == 1
    handles: dict[str, Any] = dict.fromkeys(_labels(panels))
    corner, has_hole = None, _hole(figure, panels)
    drawn = []
    for index, axes in enumerate(grid.ravel()):
        if index >= n_panels:
            if has_hole and corner is None:
                corner = axes
                axes.set_axis_off()
            else:
                axes.remove()
            continue
        drawn.append((axes, panels[index]))
        for label, handle in _panel(axes, panels[index], _THINNER):
            if label in handles and handles[label] is None:
                handles[label] = handle
        _thin_out(axes, panels[index], WIDTH / columns, heights[index // columns])
        _fit(axes, WIDTH / columns, heights[index // columns])
        if columns > 1:
            for name, axis in (("x", panels[index].x), ("y", panels[index].y)):
                if axis.scale == "linear" and not axis.ticks:
                    axes.locator_params(axis=name, nbins=4, min_n_ticks=3)
        if index % columns and (figure.share_y or one_y_label):
            axes.set_ylabel("")
        if index + columns < n_panels and one_x_label:
            axes.set_xlabel("")
    of_bars: dict[tuple[Any, ...], list[Any]] = {}
    for axes, panel in drawn:
        for shown, label in _bars([(axes, panel)]):
            of_bars.setdefault((label, *shown.get_clim()), []).append((axes, shown))
    for (label, *_), own in of_bars.items():
        _colour_bar([axes for axes, _ in own], own[-1][1], label)
    if handles:
        nothing = Line2D([], [], alpha=0.0)
        handles = {label: handle or nothing for label, handle in handles.items()}
        _legend(canvas, panels, handles, corner, WIDTH / columns)


def _thin_out(axes: Any, panel: Panel, width: float, height: float) -> None:
    """Name every second, third ... line where names would lie on each other."""
    is_matrix = any(isinstance(mark, Cells) for mark in panel.marks)
    room = {"x": width - (1.4 if is_matrix else 0.45), "y": height - 0.5}
    for name, axis in (("x", panel.x), ("y", panel.y)):
        if (panel.upright and name == "x") or (is_matrix and panel.upright):
            every = math.ceil(0.095 * len(axis.ticks) / max(room[name], 0.5))
            if every > 1:
                _set_ticks(axes, name, replace(axis, ticks=axis.ticks[::every]))


def _fit(axes: Any, width: float, height: float) -> None:
    """Break the texts of a panel where they are longer than it is."""
    title = axes.get_title(loc="left")
    if title:
        axes.set_title("\n".join(_wrapped(title, 0.9 * width)), loc="left")
    axes.set_xlabel("\n".join(_wrapped(axes.get_xlabel(), width - 0.45)))
    axes.set_ylabel("\n".join(_wrapped(axes.get_ylabel(), height - 0.3)))


def _legend(
    canvas: Any, panels: Sequence[Panel], handles: dict[str, Any], corner: Any, width: float
) -> None:
    """The labels of all panels, in the order that reads left to right."""
    marks = [mark for panel in panels for mark in panel.marks if mark.label]
    only_small_dots = all(isinstance(mark, Points) and mark.size < 3.0 for mark in marks)
    options: dict[str, Any] = {
        "frameon": False,
        "columnspacing": 1.0,
        "handlelength": 1.8,
        "handletextpad": 0.5,
        "labelspacing": 0.35,
        "borderpad": 0.0,
        "markerscale": 2.5 if only_small_dots else 1.0,  # their colour must be seen
    }
    if corner is not None:
        texts = ["\n".join(_wrapped(label, width - 0.4)) for label in handles]
        corner.legend(list(handles.values()), texts, loc="center", **options)
        return
    columns = _across(list(handles))
    # Matplotlib fills a legend downwards
    labels = [label for column in range(columns) for label in list(handles)[column::columns]]
    texts = ["\n".join(_wrapped(label, _LETTER * _LONGEST)) for label in labels]
    canvas.legend(
        [handles[label] for label in labels],
        texts,
        loc="outside lower center",
        ncols=columns,
        **options,
    )


def _power(value: float, _: object = None) -> str:
    """A tick of a logarithmic axis, by a function that can be pickled with its figure."""
    return power_text(value)


def number_on_axis(value: float, _: object = None) -> str:
    """A tick of an axis: no zeros at its end, and a minus, not a hyphen.

    >>> number_on_axis(0.80), number_on_axis(-2e-7), number_on_axis(0.1 + 0.2)
    ('0.8', '−2·10⁻⁷', '0.3')
    """
    if value and not 1e-4 <= abs(value) < 1e6:
        return ("−" if value < 0 else "") + power_text(abs(value))
    return f"{value:.10g}".replace("-", "−")


def _share_on_axis(value: float, _: object = None) -> str:
    return f"{number_on_axis(100.0 * value)}%"


def _panel(axes: Any, panel: Panel, thinner: float) -> Iterator[tuple[str, Any]]:
    """Draw a panel and yield labels and handles for the legend."""
    both = (("x", panel.x), ("y", panel.y))
    for name, axis in both:
        _set_scale(axes, name, axis)
    for mark in panel.marks:
        handle = _mark(axes, mark, thinner)
        if mark.label and not isinstance(mark, Cells):
            yield mark.label, handle
    if panel.title:
        axes.set_title(panel.title, loc="left")
    if panel.note:
        x, side = (0.02, "left") if panel.note_left else (0.98, "right")
        axes.text(x, 0.98, panel.note, transform=axes.transAxes, ha=side, va="top")
    for name, axis in both:
        getattr(axes, f"set_{name}label")(axis.label)
        if axis.ticks:
            _set_ticks(axes, name, axis)
        elif axis.scale == "linear":
            axes.locator_params(axis=name, nbins=6, min_n_ticks=3)
            text = _share_on_axis if axis.is_share else number_on_axis
            getattr(axes, f"{name}axis").set_major_formatter(text)
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
        getattr(axes, f"{name}axis").set_major_formatter(FuncFormatter(_power))
        getattr(axes, f"{name}axis").set_minor_formatter(NullFormatter())


def _set_ticks(axes: Any, name: str, axis: Axis) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    positions, texts = [at for at, _ in axis.ticks], [text for _, text in axis.ticks]
    getattr(axes, f"set_{name}ticks")(positions, texts)
    axes.tick_params(axis=name, which="minor", bottom=False, left=False, labelleft=False)
    if axis.scale == "log":
        getattr(axes, f"{name}axis").set_minor_locator(NullLocator())
        getattr(axes, f"{name}axis").set_minor_formatter(NullFormatter())


def _mark(axes: Any, mark: Mark, thinner: float) -> Any:
    """Draw a mark and return a handle for the legend."""
    if isinstance(mark, Line):
        return _line(axes, replace(mark, width=thinner * mark.width), thinner)
    if isinstance(mark, Points):
        return _points(axes, replace(mark, size=thinner * mark.size), thinner)
    if isinstance(mark, Cells):
        return _cells(axes, mark)
    if isinstance(mark, Steps):
        options: dict[str, Any] = {"fill": True} if mark.filled else {"lw": thinner * mark.width}
        return axes.stairs(mark.heights, mark.edges, color=mark.colour, **options)
    options = {"ls": _STYLES[mark.style], "color": mark.colour, "lw": 1.1 * thinner}
    if mark.x is not None:
        return axes.axvline(mark.x, **options)
    return axes.axhline(mark.y, **options)


def _line(axes: Any, mark: Line, thinner: float) -> Any:
    if len(mark.low):
        axes.fill_between(mark.x, mark.low, mark.high, color=mark.colour, alpha=0.18, lw=0)
    if mark.arrows:  # a head in the middle of each piece
        style = {
            "arrowstyle": "-|>",
            "color": mark.colour,
            "lw": mark.width,
            "shrinkA": 0,
            "mutation_scale": 9 * thinner,
        }
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
        ms=3.5 * thinner,
        solid_capstyle="butt",
    )[0]


def _points(axes: Any, mark: Points, thinner: float) -> Any:
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
            elinewidth=1.2 * thinner,
            capsize=0,
            ls="none",
            zorder=3,
            rasterized=len(mark.x) > _MANY,
            alpha=None if mark.opacity == 1.0 else mark.opacity,
            mew=0 if mark.opacity < 1.0 and not mark.hollow else max(thinner, 0.8),
        )
    options = {"fmt": "none", "ecolor": "#555555", "elinewidth": thinner, "zorder": 2.5}
    axes.errorbar(mark.x, mark.y, **bars, **options)
    shown = axes.scatter(
        mark.x,
        mark.y,
        c=list(mark.values),
        cmap=_ordered(),
        s=mark.size**2,
        marker=mark.symbol,
        edgecolors="black",
        linewidths=0.6 * thinner,
        zorder=3,
    )
    shown.set_label(f"_{_BAR}{mark.value_label}")
    _names(axes, mark)
    return shown


_BAR = "bar:"
"""Before the label of what has a colour bar; Matplotlib shows no label after an underscore."""


def _bars(drawn: Sequence[tuple[Any, Panel]]) -> Iterator[tuple[Any, str]]:
    """What needs a colour bar in some panels, and the label of the bar."""
    for axes, _ in drawn:
        for shown in [*axes.images, *axes.collections]:
            label = str(shown.get_label())
            if label.startswith(f"_{_BAR}"):
                yield shown, label[len(_BAR) + 1 :]


def _colour_bar(axes: Sequence[Any], shown: Any, label: str) -> None:
    """One bar beside all axes that have its colours."""
    bar = axes[0].figure.colorbar(shown, ax=list(axes), shrink=0.85, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.locator = _round_numbers()
    bar.formatter = _number_formatter()
    bar.update_ticks()
    if label:
        bar.set_label(label)


def _round_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _number_formatter() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(number_on_axis)


_NAMES = 6.3
"""Points of the letters of names beside points, and in cells."""
_ACROSS = {-1: "right", 0: "center", 1: "left"}
_ALONG = {-1: "top", 0: "center", 1: "bottom"}


def _names(axes: Any, mark: Points) -> None:
    """Names of the points beside them."""
    if not len(mark.sides):
        return
    for x, y, name, side in zip(mark.x, mark.y, mark.names, mark.sides, strict=True):
        if side:
            right, up = DIRECTIONS[side]
            points = 3.5 if right and up else 4.5
            axes.annotate(
                name,
                (x, y),
                (points * right, points * up),
                textcoords="offset points",
                ha=_ACROSS[right],
                va=_ALONG[up],
                fontsize=_NAMES,
                color=mark.colour,
                zorder=4,
            )


_DARK = 0.5
"""Lightness of a cell below which its text is white."""


def _ordered() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ordered", ordered(13))


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
            axes.text(x, y, text, ha="center", va="center", fontsize=LEAST_POINTS, color=colour)
    shown.set_label(f"_{_BAR}{mark.label}")
    return shown
