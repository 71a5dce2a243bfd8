"""Nearest neighbours whose order does not depend on rounding.

The pass proposes candidates in its own precision, a few more than asked for.  Here they are
scored again by explicit dot products in float64 and ordered by (similarity descending, index
ascending).  Similarities are compared on a grid of 2^-40, so that equal pairs tie whatever the
order of summation.  Rows whose last candidate is within rounding of the k-th neighbour (many
near-ties: collapsed or duplicated embeddings) are ambiguous: they are scored against every column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import LeftOut
from cl_analyze.pairs.executors import Executor, SerialExecutor
from cl_analyze.pairs.plan import spans
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours

MARGIN = 6
GRID = float(2**40)
_VALUES_AT_ONCE = 1 << 18  # products of a few rows, small enough for the cache
_SHORT = 256
_ROWS_AT_ONCE = 128
_COLUMNS_AT_ONCE = 2048
_ROWS_OF_A_UNIT = 1024


def rounding(dtype: np.dtype[np.floating], dim: int) -> float:
    """A generous bound of the distance between a cosine of that precision and the exact one."""
    return float(np.finfo(dtype).eps) * (8.0 + math.sqrt(dim))


@dataclass(frozen=True)
class _Candidates:
    """Job: the k best of the candidates of some rows, and which of these rows are unsure.

    `slack` is twice the distance that a candidate's float32 value may have from the exact one.
    """

    rows: UnitRows
    cols: UnitRows
    k: int
    slack: float

    def run(self, unit: tuple[Index, Neighbours]) -> tuple[Neighbours, NDArray[np.bool_]]:
        """Values and columns of a slice of the rows, and a flag for each row that is unsure."""
        own, candidates = unit
        values, indices = [], []
        dim = max(self.rows.dim, _SHORT)  # short rows are spread over as many pages of a file
        step = max(1, _VALUES_AT_ONCE // (candidates.indices.shape[1] * dim))
        for start in range(0, len(own), step):
            columns = candidates.indices[start : start + step]
            scores = self.rows.products(
                own[start : start + step], np.maximum(columns, 0), self.cols
            )
            scores[columns == NO_NEIGHBOUR] = -np.inf
            best_values, best_columns = _best(scores, columns, self.k)
            values.append(best_values)
            indices.append(best_columns)
        result = Neighbours(np.concatenate(values), np.concatenate(indices))
        last = candidates.values[:, -1]
        unsure = np.isfinite(last) & (last >= result.values[:, -1] - self.slack)
        return result, unsure


@dataclass(frozen=True)
class _AllColumns:
    """Job: the k best columns of some rows (by index), every column scored; see `rescore`."""

    rows: UnitRows
    cols: UnitRows
    k: int
    codes: Index | None
    apart: bool
    left_out: LeftOut | None

    def run(self, chosen: Index) -> Neighbours:
        """Values and columns of these rows."""
        own = self.rows.take(chosen)
        left_out = None if self.left_out is None else self.left_out.of_rows(chosen)
        values = np.full((len(chosen), self.k), -np.inf)
        indices = np.full((len(chosen), self.k), NO_NEIGHBOUR, dtype=np.int64)
        for start in range(0, self.cols.n_rows, _COLUMNS_AT_ONCE):
            stop = min(start + _COLUMNS_AT_ONCE, self.cols.n_rows)
            scores = own @ self.cols.exact_block(start, stop).T
            np.clip(scores, -1.0, 1.0, out=scores)
            if not self.apart:
                inside = np.flatnonzero((chosen >= start) & (chosen < stop))
                scores[inside, chosen[inside] - start] = -np.inf
            if left_out is not None:
                scores[left_out.inside((0, len(chosen)), (start, stop))] = -np.inf
            if self.codes is not None:
                of_rows, of_cols = self.codes[chosen][:, None], self.codes[start:stop]
                scores[(of_rows == of_cols) | (of_rows < 0) | (of_cols < 0)] = -np.inf
            # a column that only ties with the k-th best comes after it, for columns ascend
            changed = np.flatnonzero(scores.max(axis=1) > values[:, -1] - 1.0 / GRID)
            if not len(changed):
                continue
            scores = scores[changed]
            best = _best_columns(scores, min(self.k, stop - start))
            columns = np.concatenate([indices[changed], start + best], axis=1)
            merged = np.concatenate([values[changed], np.take_along_axis(scores, best, 1)], axis=1)
            columns[np.isneginf(merged)] = self.cols.n_rows  # absent: after every column
            values[changed], indices[changed] = _best(merged, columns, self.k)
        return Neighbours(values, indices)


def rescore(
    candidates: Neighbours,
    k: int,
    rows: UnitRows,
    cols: UnitRows,
    codes: Index | None = None,
    row_index: Index | None = None,
    executor: Executor | None = None,
    apart: bool = False,
    left_out: LeftOut | None = None,
) -> Neighbours:
    """Exact order of the k nearest among candidates, or among all columns for ambiguous rows.

    Args:
        candidates: (n, >= k), from a pass over these rows and columns.
        k: neighbours wanted.
        rows, cols: unit rows of both sides.
        codes: class codes of rows and columns, given where only columns of another class count.
        row_index: (n,) which rows the candidates belong to; None: all.
        executor: where the work runs; default serial.
        apart: whether column i may be a neighbour of row i, because they are different items.
        left_out: further columns of each row of `rows` that are no neighbours.

    Returns:
        (n, k) similarities in float64 and their columns.

    Cost: n (k + margin) D, plus N D for each ambiguous row.
    """
    n_rows, n_candidates = candidates.values.shape
    executor = executor or SerialExecutor()
    own = np.arange(n_rows) if row_index is None else row_index
    parts = [np.arange(a, b) for a, b in spans(n_rows, _ROWS_OF_A_UNIT)]
    slack = 2.0 * max(rounding(rows.dtype, rows.dim), float(np.finfo(np.float32).eps))
    units = (
        (own[part], Neighbours(candidates.values[part], candidates.indices[part])) for part in parts
    )
    values = np.empty((n_rows, k))
    indices = np.empty((n_rows, k), dtype=np.int64)
    unsure = np.zeros(n_rows, dtype=bool)
    job = _Candidates(rows, cols, k, slack)
    for part, (best, flags) in zip(parts, executor.run(job, units), strict=True):
        values[part], indices[part] = best.values, best.indices
        unsure[part] = flags
    if n_candidates < cols.n_rows - (not apart) and unsure.any():
        ambiguous = np.flatnonzero(unsure)
        pieces = [ambiguous[a:b] for a, b in spans(len(ambiguous), _ROWS_AT_ONCE)]
        all_columns = _AllColumns(rows, cols, k, codes, apart, left_out)
        results = executor.run(all_columns, (own[piece] for piece in pieces))
        for piece, best in zip(pieces, results, strict=True):
            values[piece], indices[piece] = best.values, best.indices
    return Neighbours(values, indices)


def _best_columns(scores: NDArray[np.float64], k: int) -> Index:
    """The k best columns of each row, in no order: all above the k-th best, then the first ties."""
    n = scores.shape[1]
    grid = np.round(scores * GRID)
    kth = np.partition(grid, n - k, axis=1)[:, n - k][:, None]
    above, level = grid > kth, grid == kth
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1) <= room))
    return np.nonzero(chosen)[1].reshape(len(scores), k)


def _best(scores: NDArray[np.float64], columns: Index, k: int) -> tuple[NDArray[np.float64], Index]:
    order = np.lexsort((columns, -np.round(scores * GRID)))[:, :k]
    values = np.full((len(scores), k), -np.inf)
    indices = np.full((len(scores), k), NO_NEIGHBOUR, dtype=np.int64)
    values[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    indices[:, : order.shape[1]] = np.take_along_axis(columns, order, axis=1)
    indices[np.isneginf(values)] = NO_NEIGHBOUR
    return values, indices
