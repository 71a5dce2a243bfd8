"""Nearest neighbours whose order does not hang on rounding.

The pass proposes candidates in its own precision, a margin more than asked for.  Here they are
scored again by explicit dot products in float64 and ordered by (similarity descending, index
ascending), similarities compared on a grid of 2^-40, so that equal pairs tie whatever the order of
summation.
Rows whose last candidate is still within rounding of the k-th neighbour (many near-ties: collapsed
or duplicated embeddings) are scored against every column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.executors import Executor, SerialExecutor
from cl_analyze.pairs.plan import spans
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours

MARGIN = 6
_GRID = float(2**40)
_VALUES_AT_ONCE = 1 << 18  # products of a few rows, small enough for the cache
_VALUES_OF_ALL = 1 << 22
_ROWS_OF_A_UNIT = 1024


def rounding(dtype: np.dtype[np.floating], dim: int) -> float:
    """How far a cosine of that precision may be from the exact one, generously."""
    return float(np.finfo(dtype).eps) * (8.0 + math.sqrt(dim))


@dataclass(frozen=True)
class _Candidates:
    """Job: the k best of the candidates of some rows, and which of these rows are unsure.

    Attributes:
        rows, cols: unit rows of both sides.
        k: neighbours wanted.
        slack: how far a candidate's float32 value may be from the exact one, twice.
    """

    rows: UnitRows
    cols: UnitRows
    k: int
    slack: float

    def run(self, unit: tuple[Index, Neighbours]) -> tuple[Neighbours, NDArray[np.bool_]]:
        """Values and columns of a slice of the rows, and a flag for each."""
        own, found = unit
        values, indices = [], []
        step = max(1, _VALUES_AT_ONCE // (found.indices.shape[1] * self.rows.dim))
        for start in range(0, len(own), step):
            candidates = found.indices[start : start + step]
            scores = self.rows.products(
                own[start : start + step], np.maximum(candidates, 0), self.cols
            )
            scores[candidates == NO_NEIGHBOUR] = -np.inf
            best, columns = _best(scores, candidates, self.k)
            values.append(best)
            indices.append(columns)
        for side in (self.rows, self.cols):
            side.give_back()
        result = Neighbours(np.concatenate(values), np.concatenate(indices))
        last = found.values[:, -1]
        unsure = np.isfinite(last) & (last >= result.values[:, -1] - self.slack)
        return result, unsure


@dataclass(frozen=True)
class _AllColumns:
    """Job: the k best columns of some rows (by index), every column scored; see `rescore`."""

    rows: UnitRows
    cols: UnitRows
    k: int
    row_labels: Index | None
    col_labels: Index | None

    def run(self, chosen: Index) -> Neighbours:
        """Values and columns of these rows."""
        scores = _scores_of_all(self.rows.take(chosen), self.cols)
        scores[np.arange(len(chosen)), chosen] = -np.inf
        if self.row_labels is not None and self.col_labels is not None:
            own_label = self.row_labels[chosen][:, None]
            other = (own_label != self.col_labels) & (own_label >= 0) & (self.col_labels >= 0)
            scores[~other] = -np.inf
        best = _best_columns(scores, min(self.k, self.cols.n_rows))
        return Neighbours(*_best(np.take_along_axis(scores, best, 1), best, self.k))


def rescore(
    found: Neighbours,
    k: int,
    rows: UnitRows,
    cols: UnitRows,
    row_labels: Index | None = None,
    col_labels: Index | None = None,
    row_index: Index | None = None,
    executor: Executor | None = None,
) -> Neighbours:
    """Exact order of the k nearest among candidates, and all columns where those do not suffice.

    Args:
        found: candidates, (n, >= k), from a pass over these rows and columns.
        k: neighbours wanted.
        rows, cols: unit rows of both sides.
        row_labels, col_labels: given where only columns of another class count.
        row_index: (n,) which rows were looked at; None: all.  Column i is no neighbour of row i.
        executor: where the work runs; default serial.

    Returns:
        (n, k) similarities in float64 and their columns.

    Cost: n (k + margin) D, plus N D for each ambiguous row.
    """
    n_rows, n_candidates = found.values.shape
    where = executor or SerialExecutor()
    own = np.arange(n_rows) if row_index is None else row_index
    parts = [np.arange(a, b) for a, b in spans(n_rows, _ROWS_OF_A_UNIT)]
    slack = 2.0 * max(rounding(rows.dtype, rows.dim), float(np.finfo(np.float32).eps))
    units = ((part, Neighbours(found.values[part], found.indices[part])) for part in parts)
    values = np.empty((n_rows, k))
    indices = np.empty((n_rows, k), dtype=np.int64)
    unsure = np.zeros(n_rows, dtype=bool)
    job = _Candidates(rows, cols, k, slack)
    for part, (best, flags) in zip(parts, where.run(job, units), strict=True):
        values[part], indices[part] = best.values, best.indices
        unsure[part] = flags
    if n_candidates < cols.n_rows - 1 and unsure.any():
        ambiguous = np.flatnonzero(unsure)
        step = max(1, _VALUES_OF_ALL // cols.n_rows)
        pieces = [ambiguous[start : start + step] for start in range(0, len(ambiguous), step)]
        every = _AllColumns(rows, cols, k, row_labels, col_labels)
        results = where.run(every, (own[piece] for piece in pieces))
        for piece, best in zip(pieces, results, strict=True):
            values[piece], indices[piece] = best.values, best.indices
    return Neighbours(values, indices)


def _scores_of_all(own: NDArray[np.float64], cols: UnitRows) -> NDArray[np.float64]:
    scores = np.empty((len(own), cols.n_rows))
    for start in range(0, cols.n_rows, 4096):
        stop = min(start + 4096, cols.n_rows)
        scores[:, start:stop] = own @ cols.exact_block(start, stop).T
    return np.clip(scores, -1.0, 1.0, out=scores)


def _best_columns(scores: NDArray[np.float64], k: int) -> Index:
    """The k best columns of each row, in no order: all above the k-th best, then the first ties."""
    n = scores.shape[1]
    grid = np.round(scores * _GRID)
    kth = np.partition(grid, n - k, axis=1)[:, n - k][:, None]
    above, level = grid > kth, grid == kth
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(scores), k)


def _best(scores: NDArray[np.float64], columns: Index, k: int) -> tuple[NDArray[np.float64], Index]:
    order = np.lexsort((columns, -np.round(scores * _GRID)))[:, :k]
    values = np.full((len(scores), k), -np.inf)
    indices = np.full((len(scores), k), NO_NEIGHBOUR, dtype=np.int64)
    values[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    indices[:, : order.shape[1]] = np.take_along_axis(columns, order, axis=1)
    indices[np.isneginf(values)] = NO_NEIGHBOUR
    return values, indices
