"""Records and tables: one description of every number for JSON, CSV, the terminal and pandas."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.quoting import printable, quoted
from cl_analyze.results.stats import share_interval

if TYPE_CHECKING:
    import pandas as pd

Param = float | int | str
ARRAYS = ("pseudo", "noise")
"""Names of a record's arrays in stores: jackknife pseudo-values, and the noise of their mean."""
Unit = Literal[
    "nats",
    "cosine",
    "share",
    "ratio",
    "count",
    "dimensions",
    "squared_distance",
    "accuracy",
    "none",
]
Cell = float | int | str | bool | None

_RUNS_AS_FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9.]+\Z|\Z)")

CATEGORIES = ("source", "family", "metric", "definition")
"""Columns of frames that hold few different words: pandas sorts and groups them in our order."""
INTERVAL_COLUMNS = ("interval_low", "interval_high")
_FEW_HITS = 5.0
"""With fewer hits or misses, the interval of a share is far from symmetric."""
_UNUSUAL = re.compile(r"[^\n\x20-\x7e]")


RECORD_KEYS = (
    "source",
    "metric",
    "definition",
    "params",
    "value",
    "std_error",
    "sampling_error",
    "interval",
    "unit",
    "n",
    "d",
    "exact",
    "reason",
)


@dataclass(frozen=True)
class Record:
    """One number with its name, parameters, errors and unit.

    Attributes:
        source: name of the file or array.
        metric: name of the metric, as in the metric reference.
        definition: name of the definition; None for a metric with a single definition.
        params: parameters of the metric.
        value: the number; None where it is undefined, see `reason`.
        std_error: standard error, with the rows as a sample of a population; None where unknown.
        unit: unit of the value and of its errors.
        n: number of rows (anchors) in the average.
        d: number of dimensions; None for a number without dimensions.
        sampling_error: standard error of an estimate of the exact value on this file; None where
            the value is exact.
        exact: whether all pairs of the definition were counted.
        reason: reason why there is no value.
        pseudo_values: (N,) jackknife pseudo-values, for comparisons; not part of the output.
        pseudo_noise: (N,) noise of pseudo-values that are the mean of two noisy copies, see
            `stats.merged_copies`.
        effective_n: for a share, the number of independent rows behind its interval; None for
            numbers whose interval is the value +- 1.96 errors.

    >>> Record("a.npy", "uniformity", "u_stat", {"t": 2.0}, -3.6, 0.004, "nats", 5000, 64).name
    'uniformity[u_stat]'
    """

    source: str
    metric: str
    definition: str | None
    params: dict[str, Param]
    value: float | None
    std_error: float | None
    unit: Unit
    n: int
    d: int | None
    sampling_error: float | None = None
    exact: bool = True
    reason: str | None = None
    pseudo_values: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    pseudo_noise: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    effective_n: float | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"{self.metric}: a value or a reason, one of the two")
        for number in (self.value, self.std_error, self.sampling_error):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.metric}: {number} is no number to report")

    def bare(self) -> Record:
        """The record without pseudo-values, which only comparisons need.

        >>> record = Record("a.npy", "tolerance", None, {}, 0.2, None, "cosine", 10, 3)
        >>> replace(record, pseudo_values=np.zeros(10)).bare().pseudo_values is None
        True
        """
        return replace(self, pseudo_values=None, pseudo_noise=None)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it, keys in the documented order.

        >>> record = Record("a.npy", "tolerance", None, {}, 0.2, None, "cosine", 10, 3)
        >>> list(record.to_dict())[:5]
        ['source', 'metric', 'definition', 'params', 'value']
        """
        return {key: getattr(self, key) for key in RECORD_KEYS}

    def stored(self) -> dict[str, Any]:
        """The fields of the record for `restored`, without the arrays of `arrays`.

        >>> record = Record("a.npy", "knn_accuracy", None, {"k": 1}, 1.0, 0.0, "accuracy", 20, 3)
        >>> Record.restored(replace(record, effective_n=20.0).stored()).effective_n
        20.0
        """
        fields = {**self.to_dict(), "effective_n": self.effective_n}
        del fields["interval"]
        return fields

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Pseudo-values and noise by the names in `ARRAYS`; arrays that are None are left out.

        >>> record = Record("a.npy", "tolerance", None, {}, 0.2, None, "cosine", 10, 3)
        >>> list(replace(record, pseudo_values=np.zeros(10)).arrays())
        ['pseudo']
        """
        arrays = {"pseudo": self.pseudo_values, "noise": self.pseudo_noise}
        return {kind: values for kind, values in arrays.items() if values is not None}

    @classmethod
    def restored(
        cls,
        fields: dict[str, Any],
        pseudo: NDArray[np.float64] | None = None,
        noise: NDArray[np.float64] | None = None,
    ) -> Record:
        """The record, from the fields of `stored` and the arrays of `arrays`."""
        return cls(**fields, pseudo_values=pseudo, pseudo_noise=noise)

    @property
    def interval(self) -> list[float] | None:
        """The 95% interval of a share, see `interval_at`."""
        ends = self.interval_at(0.95)
        return None if ends is None else list(ends)

    def interval_at(self, confidence: float) -> tuple[float, float] | None:
        """The Clopper-Pearson interval of a share, valid near 0 and 1; None for other numbers.

        >>> record = Record("a.npy", "knn_accuracy", None, {"k": 1}, 0.9, 0.1, "accuracy", 20, 3)
        >>> [round(end, 3) for end in replace(record, effective_n=20.0).interval_at(0.5)]
        [0.813, 0.952]
        """
        if self.effective_n is None or self.value is None:
            return None
        return share_interval(self.value, self.effective_n, confidence)

    @property
    def total_error(self) -> float | None:
        """Root of the sum of squares of standard error and sampling error; None: both unknown."""
        errors = [error for error in (self.std_error, self.sampling_error) if error is not None]
        return math.hypot(*errors) if errors else None

    @property
    def error_text(self) -> str:
        """`± 0.004`, and for an estimate `(sampling 0.01)`; empty where no error is known.

        For a share near 0 or 1 the standard error is too small; the text is its 95% interval.

        >>> record = Record("a.npy", "knn_accuracy", None, {"k": 1}, 1.0, 0.0, "accuracy", 20, 3)
        >>> replace(record, effective_n=20.0).error_text
        '(0.83 to 1)'
        """
        parts = []
        if self.is_beside_an_end and self.interval is not None:
            low, high = self.interval
            ends = [
                f"{end:g}" if end in (0.0, 1.0) else number_text(end, high - low)
                for end in (low, high)
            ]
            parts.append(f"({' to '.join(ends)})")
        elif self.std_error:
            parts.append(f"± {number_text(self.std_error, self.std_error)}")
        if self.sampling_error:
            parts.append(f"(sampling {number_text(self.sampling_error, self.sampling_error)})")
        return " ".join(parts)

    @property
    def is_beside_an_end(self) -> bool:
        """Whether this is a share so near 0 or 1 that a symmetric error would mislead."""
        if self.value is None or self.effective_n is None:
            return False
        return min(self.value, 1.0 - self.value) * self.effective_n < _FEW_HITS

    @property
    def name(self) -> str:
        """The name in messages without parameters: metric[definition]."""
        return full_name(self.metric, self.definition, {})

    @property
    def full_name(self) -> str:
        """The name in messages with every parameter, see `full_name`."""
        return full_name(self.metric, self.definition, self.params)


def full_name(metric: str, definition: str | None, params: Mapping[str, Param]) -> str:
    """The name of a number in messages: metric[definition], then `key=value` for every parameter.

    >>> full_name("penalty_entropy", None, {"tau": 0.2}), full_name("uniformity", "u_stat", {})
    ('penalty_entropy tau=0.2', 'uniformity[u_stat]')
    """
    name = metric if definition is None else f"{metric}[{definition}]"
    shown = {"temperature": "vote temperature"}  # of kNN, not the training's
    return " ".join(
        [name, *(f"{shown.get(key, key)}={quoted(value)[1:-1]}" for key, value in params.items())]
    )


def undefined(
    source: str,
    metric: str,
    definition: str | None,
    params: dict[str, Param],
    unit: Unit,
    d: int | None,
    reason: str,
) -> Record:
    """A record without a value, with the reason."""
    return Record(source, metric, definition, params, None, None, unit, 0, d, reason=reason)


class Results(Sequence[Record]):
    """A sequence of records, with a search by name and a conversion to a pandas DataFrame.

    >>> import cl_analyze as cla
    >>> results = cla.tolerance([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], labels=["a", "a", "b"])
    >>> len(results), results[0].name, round(results[0].value, 6)
    (6, 'tolerance[micro_excl]', 0.6)
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def __repr__(self) -> str:
        return f"Results({len(self._records)} records)"

    def find(
        self, metric: str, definition: str | None = None, source: str | None = None, **params: Param
    ) -> Record:
        """The first record with these properties; without a definition, the metric's default.

        Raises:
            KeyError: no record has them; the message lists the records.

        >>> import cl_analyze as cla
        >>> results = cla.penalty([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], taus=[0.07, 0.5])
        >>> results.find("penalty_top1_share", tau=0.5).unit
        'share'
        """
        for record in self._records:
            if (
                record.metric == metric
                and (definition is None or record.definition == definition)
                and (source is None or record.source == source)
                and all(record.params.get(key) == value for key, value in params.items())
            ):
                return record
        names = {
            f"{record.name} name={record.params['name']}"
            if "name" in record.params
            else record.name
            for record in self._records
        }
        raise KeyError(f"no record {metric} {definition or ''} {params}; there are {sorted(names)}")

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with the record's keys as columns, and one column for each parameter.

        >>> import cl_analyze as cla
        >>> frame = cla.penalty([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], taus=[0.07]).to_frame()
        >>> frame.loc[frame["metric"] == "penalty_entropy", "tau"].tolist()
        [0.07]
        """
        return record_table("results", self._records).to_frame()


@dataclass(frozen=True)
class Table:
    """A tidy table: named columns, rows as dictionaries.

    Attributes:
        name: file name without its suffix.
        columns: names of the columns in order.
        rows: one dictionary for each row; a missing key is an empty cell.

    >>> Table("scores", ("name", "score"), ({"name": "a", "score": 0.5},)).rows[0]["score"]
    0.5
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Cell], ...]

    def to_frame(self) -> pd.DataFrame:
        """The table as a DataFrame; names of sources and metrics are categories in their order.

        >>> table = Table("scores", ("source",), ({"source": "b"}, {"source": "a"}))
        >>> table.to_frame().sort_values("source")["source"].tolist()
        ['b', 'a']
        """
        import pandas as pd

        frame = pd.DataFrame(self.rows, columns=list(self.columns))
        for column in CATEGORIES:
            if column in self.columns:
                words = dict.fromkeys(
                    row[column] for row in self.rows if row.get(column) is not None
                )
                frame[column] = pd.Categorical(frame[column], categories=list(words))
        return frame

    def to_csv(self) -> str:
        """RFC 4180 text with line feeds; numbers as the shortest text that reads back equal.

        >>> print(Table("scores", ("name", "score"), ({"name": "a", "score": 0.1 + 0.2},)).to_csv())
        name,score
        a,0.30000000000000004
        <BLANKLINE>
        """
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            cells = map(row.get, self.columns)
            # most cells are numbers
            writer.writerow(
                [repr(cell) if type(cell) is float else csv_cell(cell) for cell in cells]
            )
        return stream.getvalue()


def csv_cell(value: Cell) -> str:
    """One cell; text that a spreadsheet would run as a formula gets a leading apostrophe.

    >>> csv_cell("=1+1"), csv_cell("-1"), csv_cell("-"), csv_cell(0.1)
    ("'=1+1", '-1', '-', '0.1')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _text_cell(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)


@functools.lru_cache(1024)
def _text_cell(value: str) -> str:
    """The text of a cell, of which most repeat those above."""
    text = printable(value)
    return f"'{text}" if _RUNS_AS_FORMULA.match(value) else text


def record_table(name: str, records: Iterable[Record]) -> Table:
    """Records as a table: the record's keys, and one column for each parameter."""
    listed = list(records)
    params = list(dict.fromkeys(key for record in listed for key in record.params))
    columns = tuple(
        column
        for key in RECORD_KEYS
        for column in {"params": params, "interval": INTERVAL_COLUMNS}.get(key, (key,))
    )
    rows = []
    for record in listed:
        row = record.to_dict()
        row.update(row.pop("params"))
        row.update(zip(INTERVAL_COLUMNS, row.pop("interval") or (None, None), strict=True))
        rows.append({column: row.get(column) for column in columns})
    return Table(name, columns, tuple(rows))


def to_json(document: dict[str, Any]) -> str:
    """JSON text with one line for each entry of a list: readable, and small.

    >>> print(to_json({"schema": "example/1", "rows": [{"value": 0.25}, {"value": 0.5}], "n": 2}))
    {"schema": "example/1", "rows": [{"value": 0.25}, {"value": 0.5}], "n": 2}
    <BLANKLINE>

    Raises:
        ValueError: a number is NaN or infinite; JSON has no such numbers.
    """
    text = _json_lines(document, 0) + "\n"
    # escape control characters of terminals, and characters that cannot be encoded
    return _UNUSUAL.sub(lambda m: m[0] if m[0].isprintable() else json.dumps(m[0])[1:-1], text)


_JSON = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def _json_lines(value: Any, depth: int) -> str:
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict) and value and depth < 2 and not _fits_a_line(value):
        items = [
            f"{inner}{_JSON.encode(key)}: {_json_lines(item, depth + 1)}"
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(items) + f"\n{outer}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        items = [f"{inner}{_JSON.encode(item)}" for item in value]
        return "[\n" + ",\n".join(items) + f"\n{outer}]"
    return _JSON.encode(value)


def _fits_a_line(value: Any, most: int = 80) -> bool:
    """Whether the JSON text has so few characters; a long text is not made for it."""
    length = 0
    for part in _JSON.iterencode(value):
        length += len(part)
        if length > most:
            return False
    return True


KEPT_DIMENSIONS = "dimensions kept"
"""The axis of checkpoints and their variants of fewer dimensions."""


def nearest_k(ks: Iterable[int], wanted: int) -> int:
    """The k nearest to a wanted one, the lower of two; 0 where there is no k."""
    return min(ks, key=lambda k: (abs(k - wanted), k), default=0)


def number_text(value: float, std_error: float | None = None) -> str:
    """A number for people: digits up to the second digit of its error, or six significant digits.

    >>> number_text(-3.647214, 0.0040), number_text(0.5), number_text(12345678.0)
    ('-3.6472', '0.5', '1.23457e+07')
    >>> number_text(0.999586204, 4e-8)
    '0.999586'
    """
    if std_error is None or std_error <= 0 or not math.isfinite(std_error):
        return f"{value:.6g}"
    decimals = 1 - math.floor(math.log10(std_error))
    if decimals > 7 or abs(value) >= 1e6:
        return f"{value:.6g}" if decimals > 7 else f"{value:.3g}"
    return f"{value:.{max(decimals, 0)}f}"
