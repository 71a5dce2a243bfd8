"""Names, order and colours of checkpoints, and other things that figures share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from cl_analyze.document import Document
from cl_analyze.figures.colours import (
    HUES,
    OTHER_HUES,
    ordered,
)
from cl_analyze.figures.description import (
    Points,
)
from cl_analyze.tables import Cell, Record

Z95 = 1.959964
_TAU_IN_NAME = re.compile(
    r"(?<![a-z])(?:tau|temp|temperature)[-_=]?(\d+(?:\.\d+)?)(?!\d)", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9.]+\Z")
MAX_PANELS = 12
COSINE_TICKS = ((-1.0, "−1"), (-0.5, "−0.5"), (0.0, "0"), (0.5, "0.5"), (1.0, "1"))


def training_temperature(source: str) -> float | None:
    """The temperature in a checkpoint's name, as in tau-0.07 or tau=0.5; None where there is none.

    >>> training_temperature("fashion-mnist-tau-0.07.npz"), training_temperature("epoch3.npy")
    (0.07, None)
    """
    match = _TAU_IN_NAME.search(source.replace(".npz", "").replace(".npy", ""))
    return float(match[1]) if match else None


def series_name(source: str) -> str:
    """A checkpoint's name without its temperature and suffix: what it has in common with others.

    >>> series_name("fashion-mnist-hard-tau-1.0.npz")
    'fashion-mnist-hard'
    """
    stem = re.sub(r"\.(npz|npy|pt|pth|csv|tsv)\b", "", source)
    return _TAU_IN_NAME.sub("", stem).strip("-_/. ") or "checkpoints"


def short_names(document: Document) -> dict[str, str]:
    """Sources without the start and the suffix that all of them share, for axes and legends."""
    sources = list(document.sources)
    stems = [re.sub(r"\.(npz|npy|pt|pth|csv|tsv)$", "", source) for source in sources]
    if len(stems) > 1:
        common = 0
        while all(len(s) > common and s[common] == stems[0][common] for s in stems):
            common += 1
        common = _word_start(stems[0], common)
        if any(_NUMBER.match(s[common:]) for s in stems):  # a number alone says little: tau-0.2
            common = _word_start(stems[0], common - 1)
        if all(len(s) > common for s in stems):
            stems = [s[common:] for s in stems]
    names = [_middle(s) for s in stems]
    return dict(zip(sources, names if len(set(names)) == len(names) else stems, strict=True))


def _word_start(text: str, position: int) -> int:
    """The start of the word at a position, 0 at least; a decimal point is part of its number.

    >>> _word_start("temperature-0.07", 14), _word_start("run.step-10", 10)
    (12, 9)
    """
    while position > 0 and not (text[position - 1] in "-_/ " or _is_full_stop(text, position - 1)):
        position -= 1
    return max(position, 0)


def _is_full_stop(text: str, at: int) -> bool:
    """Whether a character is a point, and no decimal one."""
    return text[at] == "." and not (text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit())


def _middle(text: str, most: int = 28) -> str:
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def by_temperature(document: Document) -> list[str]:
    """Sources ordered by series and training temperature, as given where names tell none."""
    order = {source: i for i, source in enumerate(document.sources)}
    first: dict[str, int] = {}
    for source in order:
        first.setdefault(series_name(source), order[source])
    if any(training_temperature(source) is None for source in order):
        return list(order)
    return sorted(
        order,
        key=lambda s: (
            -sum(series_name(o) == series_name(s) for o in order),
            first[series_name(s)],
            training_temperature(s) or 0.0,
            order[s],
        ),
    )


def source_colours(document: Document) -> dict[str, str]:
    """A colour for each source: by temperature where names tell it, else hues."""
    sources = by_temperature(document)
    temperatures = [training_temperature(source) for source in sources]
    if len(sources) > 1 and all(value is not None for value in temperatures):
        main = [s for s in sources if series_name(s) == series_name(sources[0])]
        others = [s for s in sources if s not in main]
        found = dict(zip(main, ordered(len(main)), strict=True))
        return {**found, **{s: OTHER_HUES[i % len(OTHER_HUES)] for i, s in enumerate(others)}}
    if len(sources) > len(HUES):
        return dict(zip(sources, ordered(len(sources)), strict=True))
    return {source: HUES[i % len(HUES)] for i, source in enumerate(sources)}


def one_record(records: Sequence[Record], source: str, **params: object) -> Record | None:
    """The first of these records of a source with these parameters, where it has a value."""
    for record in records:
        if record.source == source and all(record.params.get(k) == v for k, v in params.items()):
            return record if record.value is not None else None
    return None


def nearest_k(ks: Iterable[int], wanted: int) -> int:
    """The number of neighbours nearest to a wanted one, the lower of two; 0 where there is none."""
    return min(ks, key=lambda k: (abs(k - wanted), k), default=0)


def half_width(record: Record) -> float:
    """Half the 95% interval of a value."""
    return Z95 * (record.total_error or 0.0)


def bar(record: Record) -> float | tuple[float, float]:
    """The 95% interval as an error bar: half its length, or of a share how far it reaches."""
    if record.interval is None or record.value is None:
        return half_width(record)
    low, high = record.interval
    return record.value - low, high - record.value


def value_of(record: Record) -> float:
    """The value, NaN where there is none."""
    return math.nan if record.value is None else record.value


def dots(document: Document, records: Sequence[Record], colour: str, label: str) -> Points:
    """A record for each source as a dot with its 95% interval, sources down the page."""
    sources = by_temperature(document)
    found = [(i, one_record(records, source)) for i, source in enumerate(sources)]
    there = [(float(i), record) for i, record in found if record is not None]
    return Points(
        [value_of(record) for _, record in there],
        [i for i, _ in there],
        label=label,
        colour=colour,
        x_error=[bar(record) for _, record in there],
    )


def source_axis(document: Document) -> list[tuple[float, str]]:
    """Ticks of an axis that has a place for each source."""
    names = short_names(document)
    return [(float(i), names[source]) for i, source in enumerate(by_temperature(document))]


def row_height(document: Document) -> float:
    """Inches of a panel with a line for each source."""
    return 1.3 + 0.3 * len(document.sources)


def panel_sources(document: Document) -> list[str]:
    """The sources that have a panel of their own."""
    return by_temperature(document)[:MAX_PANELS]


def panel_note(document: Document) -> str:
    """What a caption says where some sources have none."""
    hidden = len(document.sources) - MAX_PANELS
    return (
        f" The first {MAX_PANELS} checkpoints are shown; {hidden} more are in the tables."
        if (hidden > 0)
        else ""
    )


def panel_title(document: Document, title: str) -> str:
    """The title, saying so where not every checkpoint has a panel."""
    n = len(document.sources)
    return title if n <= MAX_PANELS else f"{title} (first {MAX_PANELS} of {n} checkpoints)"


def panel_columns(n_panels: int) -> int:
    """Panels in a row."""
    return 1 if n_panels == 1 else 2 if n_panels in (2, 4) else 3 if n_panels <= 9 else 4


def panel_size_of(n_panels: int) -> tuple[float, float]:
    """Inches of a panel among so many."""
    return (5.4, 3.2) if n_panels == 1 else (3.3, 2.4)


def edges_of(rows: Sequence[dict[str, Cell]]) -> list[float]:
    """Edges of the bins that a table lists."""
    return [*read_column(rows, "bin_left"), *read_column(rows[-1:], "bin_right")]


def read_column(rows: Sequence[dict[str, Cell]], name: str) -> list[float]:
    """A column of numbers, 0 in empty cells."""
    return [float(row[name] or 0.0) for row in rows]


def spread_out(taus: Sequence[float]) -> list[float]:
    """Temperatures far enough apart on a log axis for their texts to stand side by side."""
    kept: list[float] = []
    reach = math.log(max(taus) / min(taus)) if len(taus) > 1 else 0.0
    for tau in taus:
        if not kept or math.log(tau / kept[-1]) > 0.09 * reach:
            kept.append(tau)
    return kept


def defined(records: Sequence[Record], definition: str | None) -> list[Record]:
    """Those of one definition."""
    return [record for record in records if record.definition == definition]
