"""Rows on the unit sphere, block by block, within a budget of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import BFLOAT16, Rows, SelectedRows

_ROWS_AT_ONCE = 1024
_PART_OF_FEW = 16
"""Rows in float64 are few where they fit into this part of the budget; they are kept twice."""


def row_norms(block: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) Euclidean norms in float64; rows are scaled first, so 1e-30 and 1e200 survive.

    >>> row_norms(np.array([[3e200, 4e200], [0.0, 0.0]]))
    array([5.e+200, 0.e+000])
    """
    wide = np.abs(np.asarray(block, dtype=np.float64))
    largest = wide.max(axis=1, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0)
    wide /= scale[:, None]
    norms: NDArray[np.float64] = scale * np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return norms


def normalise(block: NDArray[Any]) -> NDArray[np.float64]:
    """A copy of rows divided by their norms, in float64; rows must not be zero."""
    wide = np.array(block, dtype=np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    wide /= largest
    wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    return wide


class UnitRows:
    """Unit rows of a source in a chosen precision.

    Within `budget_bytes` every block is normalised once and kept.  Beyond it the blocks that were
    used least recently are read and normalised again.  Few rows, which fit into a small part of
    the budget, are read once and kept in float64 as well.  Safe to call from several threads.

    Args:
        rows: the source; all rows finite and non-zero.
        dtype: precision of the unit rows.
        budget_bytes: memory for the kept blocks.
    """

    def __init__(self, rows: Rows, dtype: type[np.floating[Any]], budget_bytes: int) -> None:
        self._rows = rows
        self._dtype = np.dtype(dtype)
        self._budget = budget_bytes
        self._blocks: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._held = 0
        self._norms: NDArray[np.float64] | None = None
        self._lock = threading.RLock()
        n_rows, dim = rows.shape
        self._are_few = 8 * n_rows * dim <= budget_bytes // _PART_OF_FEW
        self._few: dict[str, NDArray[np.float64]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"rows": self._rows, "dtype": self._dtype.type, "budget": self._budget}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["rows"], state["dtype"], state["budget"])  # type: ignore[misc]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._rows.shape[0]

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return self._rows.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the rows that `block` returns."""
        return self._dtype

    def block(self, start: int, stop: int) -> NDArray[Any]:
        """Unit rows start..stop-1, shape (stop - start, dim)."""
        span = (start, stop)
        with self._lock:
            if span in self._blocks:
                self._blocks.move_to_end(span)
                return self._blocks[span]
        unit = self.exact_block(start, stop).astype(self._dtype)
        with self._lock:
            if span not in self._blocks:
                self._blocks[span] = unit
                self._held += unit.nbytes
            while self._held > self._budget and len(self._blocks) > 1:
                self._held -= self._blocks.popitem(last=False)[1].nbytes
        return unit

    def release(self) -> None:
        """Drop the kept blocks."""
        with self._lock:
            self._blocks.clear()
            self._few.clear()
            self._held = 0

    def stored_norms(self) -> NDArray[np.float64]:
        """(n_rows,) norms of the rows as they are saved, each read once."""
        with self._lock:
            if self._norms is None:
                norms = np.empty(self.n_rows)
                for start in range(0, self.n_rows, _ROWS_AT_ONCE):
                    stop = min(start + _ROWS_AT_ONCE, self.n_rows)
                    norms[start:stop] = row_norms(self.stored_block(start, stop))
                self._norms = norms
            return self._norms

    def norms(self) -> NDArray[np.float64] | None:
        """(n_rows,) norms of the stored rows; None where their squares would leave float64."""
        norms = self.stored_norms()
        return norms if norms.min() > 1e-140 and norms.max() < 1e140 else None

    def products(
        self, own: NDArray[np.int64], others: NDArray[np.int64], cols: UnitRows
    ) -> NDArray[np.float64]:
        """Cosines of row own[i] with rows others[i, j] of `cols`, float64 sums over float64 terms.

        Every cosine is summed in the same order, so that equal rows have equal cosines.
        """
        norms, their_norms = self.norms(), cols.norms()
        if norms is None or their_norms is None:
            mine, theirs = self.take(own), cols.take(others.ravel())
            scale: Any = 1.0
        else:
            mine, theirs = self.stored_take(own), cols.stored_take(others.ravel())
            scale = norms[own][:, None] * their_norms[others]
        cosines = np.einsum("ijk,ik->ij", theirs.reshape(*others.shape, -1), mine) / scale
        clipped: NDArray[np.float64] = np.clip(cosines, -1.0, 1.0, out=cosines)
        return clipped

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The given rows as unit rows in float64."""
        if self._are_few:
            return self._kept("unit")[rows]
        return normalise(self.stored_take(rows))

    def select(self, chosen: NDArray[np.int64], budget_bytes: int, dtype: Any = None) -> UnitRows:
        """Some of the rows, in the given order."""
        rows = SelectedRows(self._rows, chosen)
        return UnitRows(rows, dtype or self._dtype.type, budget_bytes)

    def in_precision(self, dtype: type[np.floating[Any]]) -> UnitRows:
        """The same rows in another precision, within the same budget."""
        return UnitRows(self._rows, dtype, self._budget)

    @property
    def stored_eps(self) -> float:
        """Spacing at 1 of the precision that the rows are saved in; float64's for integers."""
        dtype = self._rows.dtype
        if dtype == BFLOAT16:
            return 2.0**-7
        kind = np.dtype(dtype)
        return float(np.finfo(kind if kind.kind == "f" else np.float64).eps)

    def stored_block(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows start..stop-1 as they are saved, in float64; not to be changed."""
        if self._are_few:
            return self._kept("stored")[start:stop]
        return self._read(start, stop)

    def _read(self, start: int, stop: int) -> NDArray[np.float64]:
        block = self._rows.read(start, stop).astype(np.float64)
        self._rows.give_back()
        return block

    def _kept(self, form: str) -> NDArray[np.float64]:
        """All rows as they are `stored`, or of `unit` norm: read once, nobody can change them."""
        with self._lock:
            if form not in self._few:
                rows = (
                    normalise(self._kept("stored"))
                    if form == "unit"
                    else self._read(0, self.n_rows)
                )
                rows.setflags(write=False)
                self._few[form] = rows
            return self._few[form]

    def stored_take(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The given rows as they are saved, in float64."""
        if self._are_few:
            return self._kept("stored")[rows]
        block = self._rows.take(rows).astype(np.float64)
        self._rows.give_back()
        return block

    def exact_block(self, start: int, stop: int) -> NDArray[np.float64]:
        """Unit rows start..stop-1 in float64; not to be changed."""
        if self._are_few:
            return self._kept("unit")[start:stop]
        return normalise(self.stored_block(start, stop))


def paired(first: UnitRows, second: UnitRows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) cosines and (N,) squared distances of rows that pair up, in float64.

    Distances are those of the explicit differences: 2 - 2s has no digits left near 0.
    """
    cosines, distances = np.empty(first.n_rows), np.empty(first.n_rows)
    for start in range(0, first.n_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, first.n_rows)
        u, v = first.exact_block(start, stop), second.exact_block(start, stop)
        cosines[start:stop] = np.clip(np.einsum("ij,ij->i", u, v), -1.0, 1.0)
        distances[start:stop] = np.square(u - v).sum(axis=1)
    return cosines, distances
