"""Columns of numbers with one number of decimals, and the tables of every number of a page."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cl_analyze.metrics import DECLARED, family_named
from cl_analyze.metrics.losses.metrics import PARTS
from cl_analyze.report.sentences import meaning
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Param, Record

_MOST_DECIMALS = 7
_DIGITS = 4
"""Significant digits of the largest of some numbers without errors."""
_LITTLE_SMALLER = 1.25
_LARGE = 1e6
"""Numbers from here on are written with three digits and a power of ten."""
_LOSS_PARTS = tuple(part.name for part in PARTS[1:])
"""Not in the table of losses: the sentence of each loss has them."""


@dataclass(frozen=True)
class NumberText:
    """A number as a table shows it.

    Attributes:
        value: "–" where the number is undefined; empty where there is none.
        error: with ±, or the interval of a share beside 0 or 1; empty where none is known.
        sort: what a table is sorted by.
    """

    value: str = ""
    error: str = ""
    sort: float | str = ""


def column_texts(records: Sequence[Record | None]) -> list[NumberText]:
    """Numbers that are read one under the other: all of them have the same number of decimals.

    The decimals show two digits of the middle one of the errors, and of those a little smaller;
    four significant digits of the largest number where none has an error.  A number that would be
    zeros alone has digits of its own.

    >>> from cl_analyze.results.tables import Record
    >>> rows = [Record("a", "m", None, {}, v, e, "share", 9, 2) for v, e in
    ...         [(0.78, 0.0102), (0.7894, 0.0091), (0.5, 2e-9)]]
    >>> [f"{text.value} {text.error}" for text in column_texts(rows)]
    ['0.7800 ± 0.0102', '0.7894 ± 0.0091', '0.5000 ± <0.0001']
    >>> rows = [Record("a", "m", None, {}, v, None, "none", 9, 2) for v in (1998.6, 1.046, 0.227)]
    >>> [text.value for text in column_texts(rows)]
    ['1999', '1', '0.23']
    """
    defined = [record for record in records if record is not None and record.value is not None]
    decimals = _decimals(defined)
    return [_text(record, decimals) for record in records]


def _decimals(records: Sequence[Record]) -> int:
    errors = sorted(record.total_error for record in records if record.total_error)
    if errors:
        middle = errors[len(errors) // 2]
        least = next(error for error in errors if error >= middle / _LITTLE_SMALLER)
        return min(max(1 - math.floor(math.log10(least)), 0), _MOST_DECIMALS)
    largest = max((abs(record.value or 0.0) for record in records), default=0.0)
    if not largest:
        return 0
    room = min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), _MOST_DECIMALS)
    fixed = [f"{record.value:.{room}f}" for record in records]
    used = [len(text.partition(".")[2].rstrip("0")) for text in fixed]
    return max(used, default=0)


def _text(record: Record | None, decimals: int) -> NumberText:
    if record is None:
        return NumberText()
    if record.value is None:
        return NumberText("–")
    text = fixed(record.value, decimals)
    error = record.total_error or 0.0
    is_tiny = not text.strip("-0.") and error < 10.0**-decimals
    if record.value and is_tiny and not record.is_beside_an_end:
        value = f"{record.value:.2g}"  # far smaller than the rest of the column
        return NumberText(value, f"± {error:.2g}" if error else "", record.value)
    return NumberText(text, _error(record, decimals), record.value)


def fixed(value: float, decimals: int) -> str:
    """A number with some decimals, or with three digits where it is very large.

    >>> fixed(-0.00001, 3), fixed(2.5, 1), fixed(12345678.0, 0)
    ('0.000', '2.5', '1.23e+07')
    """
    if abs(value) >= _LARGE:
        return f"{value:.3g}"
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def _error(record: Record, decimals: int) -> str:
    if record.is_beside_an_end:
        return record.error_text
    parts = []
    if record.std_error:
        parts.append(f"± {_fixed_error(record.std_error, decimals)}")
    if record.sampling_error:
        parts.append(f"(sampling {_fixed_error(record.sampling_error, decimals)})")
    return " ".join(parts)


def _fixed_error(error: float, decimals: int) -> str:
    text = fixed(error, decimals)
    return text if text.strip("0.") else f"<{fixed(10.0**-decimals, decimals)}"


@dataclass(frozen=True)
class NumberRow:
    """One number of every checkpoint.

    Attributes:
        metric, definition: of the number; an empty text for the only definition.
        params: the parameters in words.
        unit: empty where the number has none.
        cells: value and error of each checkpoint in their order, "~" before an estimate.
        meaning: the number of the first checkpoint that has one, in a sentence.
        of: this checkpoint, where there are several.
    """

    metric: str
    definition: str
    params: str
    unit: str
    cells: tuple[str, ...]
    meaning: str
    of: str


@dataclass(frozen=True)
class NumberTable:
    """All numbers of one family of metrics."""

    name: str
    title: str
    rows: tuple[NumberRow, ...]


def number_tables(document: Document, order: Sequence[str]) -> list[NumberTable]:
    """For each family of metrics, its numbers (rows) of all checkpoints (columns, in order)."""
    tables = []
    for name, indices in document.families.items():
        rows: dict[tuple[object, ...], dict[str, Record]] = {}
        for record in (document.results[i] for i in indices):
            if record.metric not in _LOSS_PARTS:
                key = (record.metric, record.definition, *record.params.items())
                rows.setdefault(key, {})[record.source] = record
        listed = tuple(_row(document, of_source, order) for of_source in rows.values())
        if listed:
            tables.append(NumberTable(name, family_named(name).title, listed))
    return tables


def _row(document: Document, of_source: dict[str, Record], order: Sequence[str]) -> NumberRow:
    records = [of_source.get(source) for source in order]
    found = [record for record in records if record is not None]
    told = next((record for record in found if record.value is not None), found[0])
    return NumberRow(
        metric=told.metric,
        definition=told.definition or "",
        params=params_in_words(told.params),
        unit="" if told.value is None or told.unit == "none" else told.unit.replace("_", " "),
        cells=tuple(
            _cell(record, text) for record, text in zip(records, column_texts(records), strict=True)
        ),
        meaning=meaning(told, document),
        of=told.source if len(order) > 1 else "",
    )


def _cell(record: Record | None, text: NumberText) -> str:
    mark = "~" if record is not None and record.value is not None and not record.exact else ""
    return f"{mark}{text.value} {text.error}".rstrip()


_SIGNS = {"tau": "τ", "tau_plus": "τ⁺", "beta": "β", "alpha": "α"}


def params_in_words(params: dict[str, Param]) -> str:
    """Parameters as a table shows them.

    >>> params_in_words({"tau": 0.07, "direction": "forward", "k": 20})
    'τ 0.07, direction forward, k 20'
    """
    words = (
        f"{_SIGNS.get(key, key.replace('_', ' '))} "
        + (f"{value:g}" if isinstance(value, float) else str(value).replace("_", " "))
        for key, value in params.items()
    )
    return ", ".join(words)


def in_reading_order(names: Collection[str]) -> list[str]:
    """Names of metrics in the order of their declarations, so that neighbours explain each other.

    >>> in_reading_order({"penalty_effective_negatives", "uniformity", "penalty_entropy"})
    ['uniformity', 'penalty_entropy', 'penalty_effective_negatives']
    """
    return [name for name in DECLARED if name in names]
