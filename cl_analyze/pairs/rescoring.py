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

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours

MARGIN = 6
_GRID = float(2**40)
_VALUES_AT_ONCE = 1 << 23


def rounding(dtype: np.dtype[np.floating], dim: int) -> float:
    """How far a cosine of that precision may be from the exact one, generously."""
    return float(np.finfo(dtype).eps) * (8.0 + math.sqrt(dim))


def rescore(
    found: Neighbours,
    k: int,
    rows: UnitRows,
    cols: UnitRows,
    row_labels: Index | None = None,
    col_labels: Index | None = None,
) -> Neighbours:
    """Exact order of the k nearest among candidates, and all columns where those do not suffice.

    Args:
        found: candidates, (N, >= k), from a pass over these rows and columns.
        k: neighbours wanted.
        rows, cols: unit rows of both sides; column i is never a neighbour of row i.
        row_labels, col_labels: given where only columns of another class count.

    Returns:
        (N, k) similarities in float64 and their columns.

    Cost: N (k + margin) D, plus N D for each ambiguous row.
    """
    n_rows, n_candidates = found.values.shape
    values = np.full((n_rows, k), -np.inf)
    indices = np.full((n_rows, k), NO_NEIGHBOUR, dtype=np.int64)
    ambiguous = []
    slack = 2.0 * rounding(rows.dtype, rows.dim)
    step = max(1, _VALUES_AT_ONCE // (n_candidates * rows.dim))
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        candidates = found.indices[start:stop]
        own = rows.exact_block(start, stop)
        theirs = cols.take(np.maximum(candidates, 0).ravel()).reshape(*candidates.shape, -1)
        scores = np.clip((theirs * own[:, None, :]).sum(axis=2), -1.0, 1.0)
        scores[candidates == NO_NEIGHBOUR] = -np.inf
        values[start:stop], indices[start:stop] = _best(scores, candidates, k)
        if n_candidates < cols.n_rows - 1:
            last = found.values[start:stop, -1]
            unsure = (last >= values[start:stop, -1] - slack) & np.isfinite(last)
            ambiguous.append(start + np.flatnonzero(unsure))
    unsure_rows = np.concatenate(ambiguous) if ambiguous else np.zeros(0, dtype=np.int64)
    step = max(1, _VALUES_AT_ONCE // cols.n_rows)
    for start in range(0, len(unsure_rows), step):
        chosen = unsure_rows[start : start + step]
        scores = _scores_of_all(rows.take(chosen), cols)
        scores[np.arange(len(chosen)), chosen] = -np.inf
        if row_labels is not None and col_labels is not None:
            own_label = row_labels[chosen][:, None]
            other = (own_label != col_labels[None, :]) & (own_label >= 0) & (col_labels >= 0)
            scores[~other] = -np.inf
        best = _best_columns(scores, min(k, cols.n_rows))
        values[chosen], indices[chosen] = _best(np.take_along_axis(scores, best, 1), best, k)
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
