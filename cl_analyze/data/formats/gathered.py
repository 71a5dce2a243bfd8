"""Rows that come one after the other from text, whose number is not known before the end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.joined import Joined
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import InMemory, RowArray
from cl_analyze.quoting import quoted, some

_FIRST_BYTES, _MOST_BYTES = 64 << 10, 8 << 20
"""Bytes of the first block of rows, and of later ones, each twice as large as the one before."""
_WORTH_A_TABLE = 16 << 20
"""Bytes from which on words are kept one by one where one long word would widen all others."""
_SLACK = 4
"""A block is taken while this fraction of the rows so far would fit once more."""


class GatheredRows:
    """Rows of equal shape in blocks of growing size; none is copied once it is there.

    Args:
        name: of the rows in messages.
        shape: of a row.
        dtype: of the values.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._name, self.shape, self._dtype = name, shape, dtype
        self._blocks: list[NDArray[Any]] = []
        self._n_last = 0
        self.n_rows = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of the rows so far."""
        return self.n_rows * math.prod(self.shape) * self._dtype.itemsize

    def add(self, row: Any) -> None:
        """Add a row, or the same value for all of its entries.

        Raises:
            DataError: the next block of rows would not fit into memory.
        """
        if not self._blocks or self._n_last == len(self._blocks[-1]):
            row_bytes = max(math.prod(self.shape) * self._dtype.itemsize, 1)
            size = min(_FIRST_BYTES << len(self._blocks), _MOST_BYTES)
            n_rows = max(1, size // row_bytes)
            require_room(self._name, n_rows * row_bytes + self.n_bytes // _SLACK)
            self._blocks.append(np.empty((n_rows, *self.shape), self._dtype))
            self._n_last = 0
        self._blocks[-1][self._n_last] = row
        self._n_last += 1
        self.n_rows += 1

    def as_array(self) -> RowArray:
        """All rows as an array of a container, in memory."""
        blocks = [*self._blocks[:-1], *(b[: self._n_last] for b in self._blocks[-1:])]
        shape = (self.n_rows, *self.shape)
        rows = blocks[0] if len(blocks) == 1 else Joined(blocks)
        return RowArray(shape, self._dtype.str, InMemory(rows), self.n_bytes)


def array_of_words(words: Sequence[str]) -> NDArray[Any]:
    """Words as an array of strings, or of objects where one long word would widen all others."""
    width = max(map(len, words), default=0)
    table = 4 * width * len(words)
    if table > _WORTH_A_TABLE and table > 8 * sum(map(len, words)):
        return np.array(words, dtype=object)
    return np.array(words, dtype=str)


def note_on_repeated(words: Sequence[str]) -> tuple[str, ...]:
    """A note where rows cannot be told apart by their words; empty where they can.

    >>> note_on_repeated(["a", "b", "a"])
    ("1 words stand for more than one row ('a'): rows are not matched by them",)
    """
    if len(set(words)) == len(words):
        return ()
    twice = [word for word, count in Counter(words).items() if count > 1]
    listed = some((quoted(word, 40) for word in twice), 3)
    return (f"{len(twice)} words stand for more than one row ({listed}): rows are not matched "
            "by them",)  # fmt: skip
