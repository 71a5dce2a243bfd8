"""The k most similar others of every row, with pruning.

An entry of a tile matters for a row only if it reaches the row's k-th best so far.  After the
first tiles almost no entry does, so a tile costs a comparison an entry and little else.

An entry is one 64-bit key: the similarity's float32 bits, made to ascend, over the complement of
its column.  Larger keys are better, ties of similarity go to the lowest column, and the best k of a
set of keys do not depend on the order in which they came: neither tiles nor units nor pruning
change the result.  Similarities are kept to float32 in every precision; `rescoring` gives the
neighbours that come out of here their exact values and order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs import kernels
from cl_analyze.pairs.backend import Array, Entries, Index
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.kernels.tile import least_values, merged_keys, with_keys
from cl_analyze.pairs.tile import Bound, PairSet, Tile

NO_NEIGHBOUR = -1
Keys = NDArray[np.uint64]

_SIGN = np.uint32(1 << 31)
_LOW = np.uint64((1 << 32) - 1)
_HALF = np.uint64(32)


def pack(values: NDArray[np.float32], columns: Index) -> Keys:
    """Keys that order by (value descending, column ascending); columns under 2^32 - 1."""
    bits = (values + np.float32(0.0)).view(np.uint32)  # minus zero is zero
    ascending = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ascending.astype(np.uint64) << _HALF) | (_LOW - columns.astype(np.uint64))


def unpack(keys: Keys) -> tuple[NDArray[np.float64], Index]:
    """Values and columns of keys; minus infinity and -1 where there is none."""
    ascending = (keys >> _HALF).astype(np.uint32)
    bits = np.where(ascending & _SIGN, ascending & ~_SIGN, ~ascending)
    values = bits.view(np.float32).astype(np.float64)
    columns = (_LOW - (keys & _LOW)).astype(np.int64)
    return np.where(keys, values, -np.inf), np.where(keys, columns, NO_NEIGHBOUR)


@dataclass(frozen=True)
class NeighbourState:
    """The best entries of the rows of a block, and entries that wait to be sorted in.

    Attributes:
        n_rows: rows of the block.
        best: (n_rows, k) keys, ascending in each row; (0, k) before the first sorting.
        owners: (m,) rows of the waiting entries.
        waiting: (m,) keys of the waiting entries.
    """

    n_rows: int
    best: Keys
    owners: Index
    waiting: Keys


@dataclass(frozen=True)
class Neighbours:
    """(N, k) similarities, descending, and column indices; minus infinity and -1 past the last."""

    values: NDArray[np.float64]
    indices: Index


@dataclass(frozen=True)
class NearestNeighbours(Reducer):
    """The k largest similarities (to float32) of each row over a set of pairs, as `Neighbours`.

    Attributes:
        k: how many, >= 1.
        pairs: which pairs count.
    """

    k: int
    pairs: PairSet = "all"

    def identity(self, n_rows: int) -> NeighbourState:
        return NeighbourState(
            n_rows, np.zeros((0, self.k), np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint64)
        )

    def bound(self, state: NeighbourState) -> NDArray[np.float64] | None:
        if not len(state.best):
            return None
        library = kernels.loaded()
        if library is None:
            return unpack(state.best[:, 0])[0]
        return least_values(library, state.best)

    def reduce(self, tile: Tile) -> tuple[NeighbourState, NeighbourState | None]:
        if tile.compiled is not None:
            bounds = tile.bounds.get(self, (None, None))
            best, of_cols = tile.compiled.neighbours(self.k, self.pairs, *bounds)
            return self._sorted(best), None if of_cols is None else self._sorted(of_cols)
        unmasked = self.pairs == "all" and not len(tile.left_out[0])
        similarity = tile.similarity if unmasked else tile.selected(self.pairs)
        for_rows, for_cols = tile.bounds.get(self, (None, None))
        row_limits, rows_are_new = self._limits(tile, similarity, True, for_rows)
        col_limits = None
        cols_are_new = False
        if tile.both_sides:
            col_limits, cols_are_new = self._limits(tile, similarity, False, for_cols)
        rows, cols = tile.backend.entries_at_least(similarity, row_limits, col_limits)
        state = self._state(rows, tile.shape[0], tile.cols, rows_are_new)
        if cols is None:
            return state, None
        return state, self._state(cols, tile.shape[1], tile.rows, cols_are_new)

    def _limits(
        self, tile: Tile, similarity: Array, of_rows: bool, bounds: Bound
    ) -> tuple[NDArray[np.floating], bool]:
        """The value that an entry of each row must reach, and whether a row had no bound yet."""
        is_new = bounds is None or bool(np.isneginf(bounds).any())
        if is_new:
            best = tile.backend.reached_by(similarity, self.k, of_rows)
            bounds = best if bounds is None else np.maximum(bounds, best)
        assert bounds is not None
        limits = bounds.astype(np.float32)
        if tile.backend.dtype == np.float64:  # values that round up to the bound reach it
            limits = np.nextafter(limits, np.float32(-np.inf))
        limits = np.maximum(limits, np.float32(-2.0))  # left-out entries lie at minus infinity
        return limits.astype(tile.backend.dtype), is_new

    def _state(self, entries: Entries, n_rows: int, others: Index, sort: bool) -> NeighbourState:
        owners, partners, values = entries
        keys = pack(values.astype(np.float32), others[partners])
        state = NeighbourState(n_rows, np.zeros((0, self.k), np.uint64), owners, keys)
        return self._sorted_in(state) if sort else state

    def _sorted(self, best: Keys) -> NeighbourState:
        return NeighbourState(len(best), best, np.zeros(0, np.int64), np.zeros(0, np.uint64))

    def merge(self, a: NeighbourState, b: NeighbourState) -> NeighbourState:
        library = kernels.loaded()
        if (
            library is not None
            and len(a.best)
            and len(b.best)
            and not len(a.owners) + len(b.owners)
        ):
            return self._sorted(merged_keys(library, a.best, b.best))
        if not len(a.best):
            a, b = b, a
        owners, waiting = [a.owners, b.owners], [a.waiting, b.waiting]
        if len(b.best):  # few of them reach a's k-th best
            rows, ranks = np.nonzero(b.best > a.best[:, :1])
            owners.append(rows)
            waiting.append(b.best[rows, ranks])
        merged = NeighbourState(a.n_rows, a.best, np.concatenate(owners), np.concatenate(waiting))
        return self._sorted_in(merged) if len(merged.owners) >= a.n_rows else merged

    def _sorted_in(self, state: NeighbourState) -> NeighbourState:
        """The state after the waiting entries are sorted in."""
        if not len(state.owners):
            return state
        library = kernels.loaded()
        if library is not None:
            owners = np.ascontiguousarray(state.owners, np.int64)
            keys = np.ascontiguousarray(state.waiting)
            return self._sorted(with_keys(library, self._dense(state), owners, keys))
        order = np.argsort(state.owners, kind="stable")
        owners, waiting = state.owners[order], state.waiting[order]
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        counts = np.diff(starts, append=len(owners))
        touched = owners[starts]
        rank = np.arange(len(owners)) - np.repeat(starts, counts)
        widened = np.zeros((len(touched), self.k + int(counts.max())), np.uint64)
        if len(state.best):
            widened[:, : self.k] = state.best[touched]
        widened[np.repeat(np.arange(len(touched)), counts), self.k + rank] = waiting
        widened.sort(axis=1)
        best = self._dense(state).copy()
        best[touched] = widened[:, -self.k :]
        return NeighbourState(state.n_rows, best, owners[:0], waiting[:0])

    def _dense(self, state: NeighbourState) -> Keys:
        return state.best if len(state.best) else np.zeros((state.n_rows, self.k), np.uint64)

    def join(self, states: Sequence[NeighbourState]) -> NeighbourState:
        best = np.concatenate([self._dense(state) for state in states])
        starts = np.cumsum([0, *(state.n_rows for state in states)])
        owners = [state.owners + start for state, start in zip(states, starts, strict=False)]
        waiting = [state.waiting for state in states]
        return NeighbourState(len(best), best, np.concatenate(owners), np.concatenate(waiting))

    def finalize(self, states: Sequence[NeighbourState]) -> Neighbours:
        keys = np.concatenate([self._dense(self._sorted_in(state)) for state in states])
        keys.sort(axis=1)
        return Neighbours(*unpack(keys[:, ::-1]))
