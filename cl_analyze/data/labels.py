"""Labels and groups as integer codes, unlabelled rows as -1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.opening import Opened
from cl_analyze.errors import DataError

UNLABELLED = -1


@dataclass(frozen=True)
class Labels:
    """Class of each row.

    Attributes:
        codes: (N,) int64, an index into `names`, -1 where the row is unlabelled.
        names: the classes, sorted, as the user wrote them.
    """

    codes: NDArray[np.int64]
    names: tuple[str, ...]

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
        return Labels(out, tuple(self.names[c] for c in present))


def encode(opened: Opened, unlabelled: str | None = None, what: str = "labels") -> Labels:
    """Turn an array of labels into codes.

    Integers, integral floats, strings and booleans are labels.  NaN, None and empty strings mean
    unlabelled, and so does the value `unlabelled` where one is given.

    Raises:
        DataError: not one value a row, or values that cannot be classes.
    """
    shape = opened.array.shape
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        hint = "; for one-hot rows save their argmax(axis=1)" if len(shape) == 2 else ""
        raise DataError(f"{opened.name}: {what} must be one value a row, found shape {shape}{hint}")
    values: NDArray[Any] = opened.array.values()[:].reshape(-1)
    if values.dtype.kind == "f" or opened.array.dtype == "bfloat16":
        values = opened.array.read(0, len(values)).reshape(-1).astype(np.float64)
        missing = np.isnan(values)
        whole = np.where(missing, 0.0, values)
        bad = np.flatnonzero(~np.isfinite(whole) | (whole != np.floor(whole)))
        if len(bad):
            raise DataError(
                f"{opened.name}: {what} must be classes (integers, strings or booleans), found "
                f"{float(values[bad[0]])!r} in row {bad[0]}; bin continuous values first"
            )
        words = np.array([str(int(value)) for value in whole], dtype=object)
        keys: NDArray[Any] = whole
    elif values.dtype.kind in "iub":
        missing = np.zeros(len(values), dtype=bool)
        keys, words = values, values.astype(str).astype(object)
    elif values.dtype.kind in "US" or values.dtype.hasobject:
        text = [
            "" if _is_missing(value) else value.decode() if isinstance(value, bytes) else str(value)
            for value in values.tolist()
        ]
        words = np.array(text, dtype=object)
        keys = np.array(text)
        missing = np.isin(keys, ["", "nan", "NaN"])
    else:
        raise DataError(f"{opened.name}: {what} cannot be of dtype {values.dtype}")
    if unlabelled is not None:
        missing = missing | (words == unlabelled)
    present, inverse = np.unique(keys[~missing], return_inverse=True)
    codes = np.full(len(keys), UNLABELLED, dtype=np.int64)
    codes[~missing] = inverse
    first = np.zeros(len(present), dtype=np.int64)
    rows = np.flatnonzero(~missing)
    first[inverse[::-1]] = rows[::-1]
    return Labels(codes, tuple(str(words[row]) for row in first))


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or value == b""


def has_suspicious_minus_one(labels: Labels) -> bool:
    """Whether -1 is among the classes: often meant as unlabelled, never taken so unasked."""
    return "-1" in labels.names
