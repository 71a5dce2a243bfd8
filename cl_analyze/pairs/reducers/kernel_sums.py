"""Row sums of a kernel of the distance, and pairs whose distance a cosine does not give.

d2 = 2 - 2s loses all digits where rows nearly coincide.  This does not matter for kernels that are
bounded there.  The Riesz kernel depends on such pairs most of all: its sums leave out pairs under
a floor, and `NearPairs` lists them, to be computed from the explicit difference of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array, Index
from cl_analyze.pairs.distance_kernels import Kernel, kernel_values
from cl_analyze.pairs.engine import Reducer, State
from cl_analyze.pairs.reducers.moments import RowSums
from cl_analyze.pairs.tile import PairSet, Tile

_MOST_POWER = 16


@dataclass(frozen=True)
class KernelSums(RowSums):
    """Per row: sum of k(d2_ij) and of its square over a set of pairs; finalizes to (N, 2).

    Attributes:
        kernel: which.
        t: its parameter.
        floor: pairs with 2 - 2s under it are left out.
        pairs: which pairs count.
    """

    kernel: Kernel
    t: float
    floor: float = 0.0
    pairs: PairSet = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, 2))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        kernel, is_of_all = self.kernel, self.pairs == "all"
        if tile.compiled is not None and is_of_all and (kernel == "log" or kernel == "imq"):
            return self.of_sides(tile, *tile.compiled.kernel_sums(kernel, self.t, self.floor))
        is_whole = kernel == "riesz" and self.t == int(self.t) and 1 <= self.t <= _MOST_POWER
        if tile.compiled_float64 is not None and is_of_all and is_whole:
            sums = tile.compiled_float64.riesz_sums(int(self.t), self.floor)
            return self.of_sides(tile, *sums)
        with np.errstate(over="ignore", divide="ignore"):
            return super().reduce(tile)

    def terms(self, tile: Tile) -> Iterator[Array]:
        xp = tile.backend.xp
        d2 = xp.clip(tile.product(tile.gaps(), 2.0), 0.0, None)
        if self.pairs == "all":
            counted = xp.ones_like(d2)
            tile.backend.set_at(counted, *tile.left_out, 0.0)
        else:
            counted = tile.mask(self.pairs)
        counted = counted * (d2 >= self.floor)
        # at 2 the kernels are harmless; what does not count is set there before the power
        d2 = xp.where(counted > 0, d2, xp.full_like(d2, 2.0))
        values = kernel_values(self.kernel, d2, self.t, xp)
        values = xp.where(counted > 0, values, xp.zeros_like(values))
        yield values
        yield values * values


@dataclass(frozen=True)
class NearPairsFound:
    """Unordered pairs (first, second) of near rows, first < second; `n` counts all there are."""

    first: Index
    second: Index
    n: int


@dataclass(frozen=True)
class NearPairs(Reducer):
    """Pairs with 2 - 2s under a floor, up to `most` of them; finalizes to `NearPairsFound`.

    Of symmetric passes, or rectangular ones whose rows are among the columns.

    Attributes:
        floor: of 2 - 2s.
        most: how many are kept.
    """

    floor: float
    most: int = 1 << 20
    pairs: PairSet = "all"
    side = "all"

    def identity(self, n_rows: int) -> NearPairsFound:
        return NearPairsFound(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)

    def reduce(self, tile: Tile) -> tuple[NearPairsFound, None]:
        limit = 1.0 - 0.5 * self.floor
        if tile.compiled_float64 is not None:
            rows, cols = tile.compiled_float64.near_pairs(limit)
            return self._ordered(tile.rows[rows], tile.cols[cols]), None
        limits = np.full(tile.shape[0], limit, dtype=tile.backend.dtype)
        (rows, cols, _), _ = tile.backend.entries_at_least(tile.selected("all"), limits, None)
        return self._ordered(tile.rows[rows], tile.cols[cols]), None

    def _ordered(self, first: Index, second: Index) -> NearPairsFound:
        return self._kept(np.minimum(first, second), np.maximum(first, second), 0)

    def _kept(self, first: Index, second: Index, hidden: int) -> NearPairsFound:
        both = np.unique(np.stack([first, second], axis=1), axis=0)
        n = len(both) + hidden
        return NearPairsFound(both[: self.most, 0], both[: self.most, 1], n)

    def merge(self, a: NearPairsFound, b: NearPairsFound) -> NearPairsFound:
        if not b.n or not a.n:
            return a if a.n else b
        hidden = a.n - len(a.first) + b.n - len(b.first)
        first = np.concatenate([a.first, b.first])
        return self._kept(first, np.concatenate([a.second, b.second]), hidden)
