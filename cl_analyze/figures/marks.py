"""Marks, axes and layouts that several figures share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cl_analyze.figures.colours import BLACK, GREY, ordered
from cl_analyze.figures.description import (
    Axis,
    Figure,
    Line,
    Mark,
    Panel,
    Points,
    Steps,
    Style,
    reaches,
)
from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import evenly
from cl_analyze.results.tables import Cell, Param, Record, nearest_k, number_text

Rows = Sequence[dict[str, Cell]]

Z95 = 1.959964
"""Standard errors to each side of a 95% interval."""
MAX_PANELS = 12
"""Panels up to which the page shows all of them; of more a reader chooses one."""


# ---- numbers of records and tables


def records_of(document: Document, metric: str, definition: str | None) -> list[Record]:
    """Records of one definition; of all definitions where no record has this one."""
    return document.records(metric, definition) or document.records(metric)


def defined(records: Iterable[Record]) -> list[Record]:
    """The records that have a value."""
    return [record for record in records if record.value is not None]


def one_record(records: Iterable[Record], source: str, **params: Param) -> Record | None:
    """The first record of a source with these parameters; None where it has no value."""
    for record in records:
        if record.source == source and all(record.params.get(k) == v for k, v in params.items()):
            return record if record.value is not None else None
    return None


def value_of(record: Record) -> float:
    """The value; NaN where it is undefined."""
    return math.nan if record.value is None else record.value


def half_width(record: Record) -> float:
    """Half the 95% interval of a value."""
    return Z95 * (record.total_error or 0.0)


def bar(record: Record) -> float | tuple[float, float]:
    """The 95% interval as an error bar: half the length, or both lengths for a share."""
    if record.interval is None or record.value is None:
        return half_width(record)
    low, high = record.interval
    return record.value - low, high - record.value


def read_column(rows: Rows, name: str) -> list[float]:
    """A column of numbers, 0 in empty cells."""
    return [float(row[name] or 0.0) for row in rows]


def edges_of(rows: Rows) -> list[float]:
    """Edges of the bins that a table lists."""
    return [*read_column(rows, "bin_left"), *read_column(rows[-1:], "bin_right")]


def by_tau(rows: Rows) -> Iterator[tuple[float, str, Rows]]:
    """Temperature, colour and rows of each temperature of a table, from low to high."""
    taus = sorted({float(str(row["tau"])) for row in rows})
    for tau, colour in zip(taus, ordered(len(taus)), strict=True):
        yield tau, colour, [row for row in rows if row["tau"] == tau]


# ---- what a reader sees who hovers over a point


def true_minus(text: str) -> str:
    """A text whose numbers have minus signs in place of hyphens.

    >>> true_minus("false-negative share -0.25")
    'false-negative share −0.25'
    """
    return re.sub(r"(?<![\w-])-(?=\d)", "\u2212", text)


def hover_of(record: Record, name: str, *, at: str = "", what: str = "") -> str:
    """What a point is of, where it stands, its value as in the tables, and its 95% interval.

    ± is one standard error, as everywhere on the page.

    Args:
        record: with a value.
        name: of the checkpoint or the line; empty: left out.
        at: the position; empty: k and τ, where the record has them.
        what: name of the value; empty: the metric's.

    >>> record = Record("a", "knn_accuracy", None, {"k": 20}, 0.78, 0.009, "accuracy", 2000, 3)
    >>> hover_of(record, "tau-0.07")
    'tau-0.07 · k 20 · kNN accuracy 0.7800 ± 0.0090 · 95% 0.7624 to 0.7976'
    """
    params = {"k": "k", "tau": "τ"}
    known = [
        f"{sign} {record.params[key]:g}" for key, sign in params.items() if key in record.params
    ]
    parts = [name, at or " · ".join(known), *value_in_words(record, what)]
    return " · ".join(part for part in parts if part)


_SPELT = {"knn": "kNN", "cka": "CKA", "procrustes": "Procrustes", "penalty": ""}


def _metric_in_words(metric: str) -> str:
    """A metric's name as text.

    >>> _metric_in_words("penalty_effective_negatives"), _metric_in_words("knn_accuracy")
    ('effective negatives', 'kNN accuracy')
    """
    return " ".join(word for part in metric.split("_") if (word := _SPELT.get(part, part)))


def value_in_words(record: Record, what: str = "") -> list[str]:
    """A value with its standard error, and its 95% interval where it has one."""
    if record.value is None:
        return []
    what = what or _metric_in_words(record.metric)
    unit = record.unit if record.unit == "nats" else ""
    value = number_text(record.value, record.total_error)
    words = [f"{what} {value}", record.error_text, unit]
    parts = [" ".join(word for word in words if word)]
    if record.total_error and not record.is_beside_an_end:
        below, above = reaches([bar(record)])
        ends = record.value - below[0], record.value + above[0]
        low, high = (number_text(end, record.total_error) for end in ends)
        parts.append(f"95% {low} to {high}")
    return [true_minus(part) for part in parts]


# ---- marks


def banded_line(
    xs: Sequence[float],
    ys: Sequence[float],
    bars: Sequence[Any],
    label: str,
    colour: str,
    **options: Any,
) -> Line:
    """A line with markers and a band, see `Line` for options and `reaches` for error bars."""
    below, above = reaches(bars)
    low = [y - e for y, e in zip(ys, below, strict=True)]
    high = [y + e for y, e in zip(ys, above, strict=True)]
    return Line(xs, ys, label, colour, **{"marker": True, **options}, low=low, high=high)


def line_of_records(
    xs: Sequence[float], records: Sequence[Record], label: str, colour: str, **options: Any
) -> Line:
    """Values of records with their 95% intervals; see `banded_line`."""
    ys = [value_of(record) for record in records]
    options = {"hovers": [hover_of(record, label) for record in records], **options}
    return banded_line(xs, ys, [bar(record) for record in records], label, colour, **options)


def reference_line(
    xs: Sequence[float], ys: Sequence[float], label: str, style: Style = "dashed"
) -> Line:
    """A thin black line for the uniform sphere."""
    return Line(xs, ys, label, BLACK, style, width=1.1)


def negatives_line(rows: Rows) -> Line:
    """The share of all negatives in each bin of similarity, grey below the other lines."""
    xs, ys = read_column(rows, "similarity"), read_column(rows, "negative_fraction")
    return Line(xs, ys, "negatives", GREY, width=3.0)


def dots(document: Document, records: Sequence[Record], colour: str, label: str) -> Points:
    """A dot with its 95% interval for each source, sources down the page."""
    sources, names = enumerate(natural_order(document)), short_names(document)
    placed = [(float(i), r) for i, s in sources if (r := one_record(records, s)) is not None]
    return Points(
        [value_of(record) for _, record in placed],
        [i for i, _ in placed],
        label,
        colour,
        x_error=[bar(record) for _, record in placed],
        sources=[names[record.source] for _, record in placed],
        hovers=[hover_of(record, names[record.source]) for _, record in placed],
    )


# ---- axes


def axis_of_names(names: Sequence[str]) -> Axis:
    """A y axis with a line for each name down the page."""
    ticks = [(float(i), name) for i, name in enumerate(names)]
    return Axis("", ticks=ticks, limits=(len(names) - 0.4, -0.6))


def axis_of_sources(document: Document) -> Axis:
    """A y axis with a line for each source down the page."""
    names = short_names(document)
    return axis_of_names([names[source] for source in natural_order(document)])


def height_of_sources(document: Document) -> float:
    """Inches of a panel with a line for each source."""
    return 0.9 + 0.25 * len(document.sources)


def limits_around(*values: float) -> tuple[float, float]:
    """An axis with all of the values, and a margin: none lies under its end."""
    low, high = min(values), max(values)
    margin = 0.07 * (high - low)
    if margin <= 1e-6 * abs(high):  # differences of rounding must not look like structure
        margin = max(0.05 * abs(high), 1e-3)
    return low - margin, high + margin


def ends_of(points: Points) -> list[float]:
    """Where the horizontal error bars of points end."""
    below, above = reaches(points.x_error)
    return [
        *(x - e for x, e in zip(points.x, below, strict=True)),
        *(x + e for x, e in zip(points.x, above, strict=True)),
    ]


def axis_of_cosines(label: str) -> Axis:
    """An x axis from -1 to 1."""
    ticks = ((-1.0, "−1"), (-0.5, "−0.5"), (0.0, "0"), (0.5, "0.5"), (1.0, "1"))
    return Axis(label, ticks=ticks, limits=(-1.0, 1.0))


def logarithmic_axis(label: str, taus: Sequence[float]) -> Axis:
    """A logarithmic x axis with ticks far enough apart for their texts in a narrow panel."""
    kept: list[float] = []
    reach = math.log(max(taus) / min(taus)) if len(taus) > 1 else 0.0
    for tau in taus:
        if not kept or math.log(tau / kept[-1]) > 0.17 * reach:
            kept.append(tau)
    return Axis(label, "log", [(tau, f"{tau:g}") for tau in kept])


def decades(label: str, low: float, high: float) -> Axis:
    """A logarithmic axis whose ticks are the same in pictures and on the page.

    Args:
        label: of the axis.
        low, high: its ends, above 0.
    """
    steps: Sequence[float] = (1.0,)
    span = math.log10(high / low)
    if span < 2.5:
        steps = (1.0, 2.0, 5.0) if span < 1.6 else (1.0, 3.0)
    every = max(1, math.ceil(span / 6))
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    at = [10.0**e * step for e in exponents if e % every == 0 for step in steps]
    ticks = [(value, power_text(value)) for value in at if low <= value <= high]
    return Axis(label, "log", ticks, (low, high))


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_text(value: float) -> str:
    """A tick of a logarithmic axis.

    >>> power_text(100.0), power_text(0.02), power_text(1e-6), power_text(3e-5)
    ('100', '0.02', '10⁻⁶', '3·10⁻⁵')
    """
    if 1e-3 <= value <= 1e4:
        return f"{value:g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = f"{value / 10.0**exponent:.3g}"
    return ("" if factor == "1" else f"{factor}·") + "10" + str(exponent).translate(_SUPERSCRIPTS)


def highest(marks: Iterable[Mark]) -> float:
    """The height of the highest step."""
    return max(height for mark in marks if isinstance(mark, Steps) for height in mark.heights)


def roots(label: str, top: float) -> Axis:
    """A y axis from 0 to a top on which the square root of a value is its height.

    Small counts are seen beside large ones; the label says so.
    """
    ticks = [0.0]
    for share in (0.05, 0.2, 0.5, 1.0):
        value = share * top
        power = 10.0 ** math.floor(math.log10(value))
        rounded = max((s * power for s in (1, 2, 5) if s * power <= value * 1.001), default=power)
        if rounded > ticks[-1]:
            ticks.append(rounded)
    text = f"{label}, axis of square roots"
    return Axis(text, "sqrt", [(at, f"{at:g}") for at in ticks], (0.0, 1.06 * top))


# ---- figures with a panel for each source


MOST_PICTURED = 4
"""Checkpoints with a panel in a picture; the page has all."""
MOST_ON_PAGE = 40


def panel_sources(document: Document) -> list[str]:
    """The sources that have a panel of their own: of very many some, evenly along the run."""
    return evenly(natural_order(document), MOST_ON_PAGE)


def votes(document: Document) -> dict[str, float]:
    """kNN accuracy of each source that has one, at about 20 neighbours."""
    records = defined(document.records("knn_accuracy"))
    if not records:
        return {}
    k = nearest_k((int(record.params["k"]) for record in records), 20)
    return {r.source: value_of(r) for r in records if r.params["k"] == k}


def pictured(document: Document, most: int = MOST_PICTURED) -> list[str]:
    """The sources that pictures show: best and worst by kNN accuracy, and the ends of the order."""
    order = natural_order(document)
    if len(order) <= most:
        return order
    accuracy = votes(document)
    best = [pick(accuracy, key=accuracy.__getitem__) for pick in (max, min) if accuracy]
    chosen = list(dict.fromkeys([*best, order[0], order[-1], *evenly(order, most)]))[:most]
    return [source for source in order if source in chosen]


def panel_size(n_panels: int) -> tuple[float, float]:
    """Inches of a panel where there are so many."""
    return (5.4, 3.2) if n_panels == 1 else (3.3, 2.4)


def panel_columns(n_panels: int) -> int:
    """Panels in a row."""
    return 1 if n_panels == 1 else 2 if n_panels in (2, 4) else 3 if n_panels <= 9 else 4


def figure_of_sources(
    document: Document, name: str, title: str, caption: str, panels: Sequence[Panel], **options: Any
) -> Figure:
    """A figure with a panel for each source, of which pictures show a few; see `Figure`.

    The caption says which these are, and where the rest is.
    """
    names = short_names(document)
    n, n_shown = len(document.sources), len({panel.source or panel.title for panel in panels})
    if len(panels) > MOST_PICTURED and n_shown == len(panels):
        drawn = [panel.source or panel.title for panel in panels]
        shown = [names[source] for source in pictured(document) if names[source] in drawn]
        shown += [name for name in (*drawn[:1], *drawn[-1:], *drawn) if name not in shown]
        shown = shown[:MOST_PICTURED]
        panels = [replace(p, is_minor=(p.source or p.title) not in shown) for p in panels]
        which = "the best and the worst by kNN accuracy, " if votes(document) else ""
        caption += (
            f" Pictures show {sum(not p.is_minor for p in panels)} of {n}: {which}the first, the "
            f"last; the page has {'all' if n_shown == n else n_shown}."
        )
    if len(panels) > MAX_PANELS:
        options = {"choice": "checkpoint", **options}
    if 1 < n_shown == len(panels) < n and n > MAX_PANELS:
        caption += f" {n - n_shown} more checkpoints are in the tables."
    layout = {"columns": panel_columns(len(panels)), "panel_size": panel_size(len(panels))}
    return Figure(name, title, caption, panels, **{**layout, **options})


# ---- what a figure shows, in words


def extremes(
    document: Document,
    records: Sequence[Record],
    what: str,
    text: str = "{:.3g}",
    most: str = "highest",
) -> str:
    """Which checkpoint has the highest value, and which the lowest, in one sentence.

    Args:
        document: names the checkpoints.
        records: the first of each checkpoint counts.
        what: the number, as "kNN accuracy at k = 20".
        text: how a value is written.
        most: "highest", or another word for the first that is named.
    """
    of_source = {record.source: record for record in reversed(defined(records))}
    own = [of_source[source] for source in natural_order(document) if source in of_source]
    names = short_names(document)
    if not own:
        return ""
    top, low = max(own, key=value_of), min(own, key=value_of)
    equal = [names[record.source] for record in own if value_of(record) == value_of(top)]
    has = "has" if len(equal) == 1 else "have"
    first = f"{' and '.join(equal)} {has} the {most} {what}: {_written(text, top)}"
    if len(own) == 1:
        return f"{names[top.source]}: {what} is {_written(text, top)}."
    if _written(text, top) == _written(text, low):
        return f"The {what} is {_written(text, top)} for all {len(own)} checkpoints."
    return f"{first}; the lowest is {_written(text, low)} ({names[low.source]})."


def _written(text: str, record: Record) -> str:
    return text.format(value_of(record)).replace("-", "−")
