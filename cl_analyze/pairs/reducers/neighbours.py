"""The k most similar others of every row, with pruning.

A tile's entries matter for a row only if they reach the row's k-th best so far; after the first
tiles almost none do, so a tile costs one maximum a row and little else.  Entries are ordered by
(similarity descending, index ascending), which makes the result independent of the order of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array, Index
from cl_analyze.pairs.tile import PairSet, Tile

NO_NEIGHBOUR = -1


@dataclass(frozen=True)
class NeighbourState:
    """The best entries of some rows of a block.

    Attributes:
        n_rows: rows of the block.
        rows: (m,) the rows that have entries, ascending.
        values: (m, k) similarities, descending, minus infinity where there are fewer.
        indices: (m, k) global column of each, -1 where there are fewer.
    """

    n_rows: int
    rows: Index
    values: NDArray[np.float64]
    indices: Index


@dataclass(frozen=True)
class Neighbours:
    """(N, k) similarities, descending, and column indices; minus infinity and -1 past the last."""

    values: NDArray[np.float64]
    indices: Index


@dataclass(frozen=True)
class NearestNeighbours:
    """The k largest similarities of each row over a set of pairs; finalizes to `Neighbours`.

    Attributes:
        k: how many, >= 1.
        pairs: which pairs count.
    """

    k: int
    pairs: PairSet = "all"
    side = "rows"

    @property
    def sort_key(self) -> tuple[float, ...]:
        """After everything that uses exponentials: it overwrites none of their buffers."""
        return (np.inf,)

    def identity(self, n_rows: int) -> NeighbourState:
        """No row has entries."""
        none = np.zeros((0, self.k))
        return NeighbourState(n_rows, np.zeros(0, np.int64), none, none.astype(np.int64))

    def bound(self, state: NeighbourState) -> NDArray[np.float64]:
        """Each row's k-th best so far."""
        bounds = np.full(state.n_rows, -np.inf)
        bounds[state.rows] = state.values[:, -1]
        return bounds

    def reduce(self, tile: Tile) -> tuple[NeighbourState, NeighbourState | None]:
        """Entries that reach their row's bound, or the tile's own k-th best where it has none."""
        unmasked = self.pairs == "all" and not len(tile.left_out[0])
        similarity = tile.similarity if unmasked else tile.selected(self.pairs)
        row_bounds, col_bounds = tile.bounds.get(
            self, (np.full(tile.shape[0], -np.inf), np.full(tile.shape[1], -np.inf))
        )
        for_rows = self._best(tile, similarity, row_bounds, columns=False)
        if not tile.both_sides:
            return for_rows, None
        return for_rows, self._best(tile, similarity, col_bounds, columns=True)

    def _best(
        self, tile: Tile, similarity: Array, bounds: NDArray[np.float64], columns: bool
    ) -> NeighbourState:
        backend = tile.backend
        n_rows, others = (tile.shape[1], tile.rows) if columns else (tile.shape[0], tile.cols)
        if np.isneginf(bounds).any():
            tile_best = backend.kth_largest(similarity.T if columns else similarity, self.k)
            bounds = np.maximum(bounds, tile_best)
        owner, partner, value = backend.entries_at_least(similarity, bounds, columns)
        real = np.isfinite(value)
        owner, index, value = owner[real], others[partner[real]], value[real]
        order = np.lexsort((index, -value, owner))
        owner, index, value = owner[order], index[order], value[order]
        rows, first = np.unique(owner, return_index=True)
        rank = np.arange(len(owner)) - np.repeat(first, np.diff(np.append(first, len(owner))))
        best = rank < self.k
        at = np.searchsorted(rows, owner[best])
        values = np.full((len(rows), self.k), -np.inf)
        indices = np.full((len(rows), self.k), NO_NEIGHBOUR, dtype=np.int64)
        values[at, rank[best]] = value[best]
        indices[at, rank[best]] = index[best]
        return NeighbourState(n_rows, rows.astype(np.int64), values, indices)

    def merge(self, a: NeighbourState, b: NeighbourState) -> NeighbourState:
        """The best k of both, row by row."""
        if not len(b.rows):
            return a
        if not len(a.rows):
            return b
        rows = np.union1d(a.rows, b.rows)
        values = np.full((len(rows), self.k), -np.inf)
        indices = np.full((len(rows), self.k), NO_NEIGHBOUR, dtype=np.int64)
        at_a, at_b = np.searchsorted(rows, a.rows), np.searchsorted(rows, b.rows)
        values[at_b], indices[at_b] = b.values, b.indices
        _, in_a, in_b = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
        both_values = np.concatenate([a.values[in_a], b.values[in_b]], axis=1)
        both_indices = np.concatenate([a.indices[in_a], b.indices[in_b]], axis=1)
        values[at_a], indices[at_a] = a.values, a.indices
        order = np.lexsort((both_indices, -both_values))[:, : self.k]
        values[at_a[in_a]] = np.take_along_axis(both_values, order, axis=1)
        indices[at_a[in_a]] = np.take_along_axis(both_indices, order, axis=1)
        return NeighbourState(a.n_rows, rows, values, indices)

    def finalize(self, states: Sequence[NeighbourState]) -> Neighbours:
        """Dense (N, k) arrays."""
        n_rows = sum(state.n_rows for state in states)
        values = np.full((n_rows, self.k), -np.inf)
        indices = np.full((n_rows, self.k), NO_NEIGHBOUR, dtype=np.int64)
        start = 0
        for state in states:
            values[start + state.rows], indices[start + state.rows] = state.values, state.indices
            start += state.n_rows
        return Neighbours(values, indices)
