"""Labels and groups as integer codes, unlabelled rows as -1."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.memory import require_room
from cl_analyze.data.opening import Opened
from cl_analyze.data.rows import BFLOAT16, is_missing, is_real
from cl_analyze.errors import DataError
from cl_analyze.quoting import printable, quoted

UNLABELLED = -1
_LOOKED_AT = 4096
"""Rows of a matrix of labels that tell what it is."""
_WORD_BYTES = 150
"""Memory that a label takes as a word, about."""


@dataclass(frozen=True)
class Labels:
    """Class of each row.

    Attributes:
        codes: (N,) int64, an index into `names`, -1 where the row is unlabelled.
        names: the classes, sorted, as the user wrote them, invisible characters escaped.
        missing: words that were taken for missing values, as NA.
        written: the classes as the user wrote them, where `names` are other names for them; empty:
            these are the names.
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()
    written: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes as the user wrote them: what says whether two sources have the same."""
        return self.written or self.names

    @property
    def counts(self) -> NDArray[np.int64]:
        """(C,) rows of each class."""
        labelled = self.codes[self.codes >= 0]
        return np.bincount(labelled, minlength=len(self.names)).astype(np.int64)

    @property
    def n_unlabelled(self) -> int:
        """Rows without a class."""
        return int((self.codes < 0).sum())

    @property
    def n_singletons(self) -> int:
        """Classes with one member."""
        return int((self.counts == 1).sum())

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """Labels of the given rows; classes that lose all rows go."""
        codes = self.codes[rows]
        present, recoded = np.unique(codes[codes >= 0], return_inverse=True)
        out = np.full(len(codes), UNLABELLED, dtype=np.int64)
        out[codes >= 0] = recoded
        names, written = (
            tuple(words[c] for c in present) if words else ()
            for words in (self.names, self.written)
        )
        return Labels(out, names, self.missing, written)


_MISSING = frozenset(
    {
        "", "nan", "NaN", "NAN", "-nan", "-NaN", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA",
        "#N/A N/A", "NaT", "None", "none", "null", "NULL", "Null", "1.#IND", "-1.#IND", "1.#QNAN",
        "-1.#QNAN", "--", "\\N", "(null)",
    }
)  # fmt: skip
"""How pandas, Arrow, NumPy, JSON, R and databases write a value that is missing."""


def encode(opened: Opened, unlabelled: str | None = None, what: str = "labels") -> Labels:
    """Turn an array of labels into codes.

    Integers, integral floats, strings and booleans are labels.  NaN, None, NaT, masked and empty
    values, and words that stand for these in pandas, Arrow and NumPy (`nan`, `NA`, `null`, ...),
    mean unlabelled, and so does the value `unlabelled` where one is given.

    Raises:
        DataError: not one value a row, or values that cannot be classes.
    """
    shape = opened.array.shape
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise DataError(
            f"{opened.name}: {what} must be one value a row, found shape {shape}{_remedy(opened)}"
        )
    values: NDArray[Any] = opened.array.values()[:].reshape(-1)
    dtype = values.dtype
    missing = np.zeros(len(values), dtype=bool)
    spelt: list[str] = []
    if dtype.kind == "f" or opened.array.dtype == BFLOAT16:
        values = opened.array.read(0, len(values)).reshape(-1).astype(np.float64)
        missing = np.isnan(values)
        keys = np.where(missing, 0.0, values)
        bad = np.flatnonzero(~np.isfinite(keys) | (keys != np.floor(keys)))
        if len(bad):
            raise _not_a_class(opened.name, what, float(values[bad[0]]), int(bad[0]))
        words = np.array([str(int(value)) for value in keys], dtype=object)
    elif dtype.kind in "iubUS" or dtype.hasobject:
        require_room(f"{opened.name}: words of {what}", _WORD_BYTES * len(values))
        if dtype.kind in "iub":
            keys, words = values, values.astype(str).astype(object)
        else:
            keys = words = np.array(_as_text(values, opened.name, what), dtype=object)
            missing = np.array([word.strip() in _MISSING for word in words], dtype=bool)
            spelt = sorted(set(words[missing].tolist()) - {""})
    elif dtype.kind in "mM":
        raise _no_dates(opened.name, what, f"dtype {dtype}")
    else:
        raise DataError(f"{opened.name}: {what} cannot be of dtype {dtype}")
    if unlabelled is not None:
        missing = missing | (words == unlabelled)
    present, inverse = np.unique(keys[~missing], return_inverse=True)
    codes = np.full(len(keys), UNLABELLED, dtype=np.int64)
    codes[~missing] = inverse
    first = np.zeros(len(present), dtype=np.int64)
    rows = np.flatnonzero(~missing)
    first[inverse[::-1]] = rows[::-1]
    return Labels(codes, _names([str(words[row]) for row in first]), tuple(spelt))


def _remedy(opened: Opened) -> str:
    """What to save in place of a matrix of labels, by its first rows; empty where it is none."""
    array = opened.array
    if len(array.shape) != 2 or not is_real(array.dtype):
        return ""
    rows = array.read(0, min(array.n_rows, _LOOKED_AT))
    if not np.isin(rows, (0, 1)).all():
        return "; for scores of classes save their argmax(axis=1)"
    per_row = (rows == 1).sum(axis=1)
    if (per_row == 1).all():
        return "; its rows are one-hot: save labels.argmax(axis=1)"
    return (
        f"; a row has {per_row.min()} to {per_row.max()} classes (several labels a row): save one "
        "class a row, or measure one class at a time: labels[:, 0]"
    )


def _names(words: list[str]) -> tuple[str, ...]:
    r"""Names of classes, invisible characters escaped; of different words they differ.

    >>> _names(["a" + chr(10), "a\\n"]), _names(["a" + chr(10)])
    (('a\\n', 'a\\\\n'), ('a\\n',))
    """
    names = [printable(word) for word in words]
    if len(set(names)) < len(names):  # a word is written like another's escape
        names = [printable(word.replace("\\", "\\\\")) for word in words]
    return tuple(names)


def _as_text(values: NDArray[Any], name: str, what: str) -> list[str]:
    """Words as they are, whole numbers by their digits, missing values as empty words."""
    text = []
    for row, value in enumerate(values.tolist()):
        if isinstance(value, bytes):  # which may be no text at all
            text.append(value.decode("utf-8", "backslashreplace"))
        elif isinstance(value, str):
            text.append(value)
        elif is_missing(value):
            text.append("")
        elif isinstance(value, float | np.floating):
            if value != value // 1:
                raise _not_a_class(name, what, value, row)
            text.append(str(int(value)))
        elif isinstance(value, datetime.date | datetime.time | datetime.timedelta):
            raise _no_dates(name, what, f"{value} in row {row}")
        elif isinstance(value, list | tuple | dict | set | np.ndarray):
            raise DataError(
                f"{name}: {what} must be one value a row, found {type(value).__name__} "
                f"{quoted(value, 40)} in row {row}"
            )
        else:
            text.append(str(value))
    return text


def _no_dates(name: str, what: str, found: str) -> DataError:
    return DataError(
        f"{name}: {what} must be classes, found dates or times ({found}); if each is a class, save "
        "them as words, y.astype(str)"
    )


def _not_a_class(name: str, what: str, value: Any, row: int) -> DataError:
    return DataError(
        f"{name}: {what} must be classes (integers, strings or booleans), found {value!r} in row "
        f"{row}; bin continuous values first"
    )


def negative_classes(labels: Labels) -> list[str]:
    """Classes that are negative numbers: -1 and -100 often mean unlabelled, but never unasked."""
    return [name for name in labels.classes if re.fullmatch(r"-[0-9]+", name)]


def distinct_rows(labels: Labels) -> bool:
    """Whether nearly every row has a class of its own, so that labels are rather ids or texts."""
    n_labelled = len(labels.codes) - labels.n_unlabelled
    return n_labelled > 3 and len(labels.names) >= 0.95 * n_labelled
