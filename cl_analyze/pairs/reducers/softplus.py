"""Sums of log(1 + exp(s / tau + bias)): what SigLIP asks of the pairs that do not belong together.

One reducer takes all temperatures.  Each term is computed as max(z, 0) + log(1 + exp(-|z|)), which
neither overflows nor loses the small terms of far pairs, so that every temperature is served in
every dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.engine import State
from cl_analyze.pairs.reducers.moments import RowSums
from cl_analyze.pairs.tile import PairSet, Tile


@dataclass(frozen=True)
class SoftplusSums(RowSums):
    """Per row: sum over its pairs of log(1 + exp(s / tau + bias)); finalizes to (N, taus).

    Attributes:
        taus: temperatures, > 0.
        bias: added to s / tau.
        pairs: which pairs count: all.
    """

    taus: tuple[float, ...]
    bias: float
    pairs: PairSet = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, len(self.taus)))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        return self.of_sides(tile, *tile.softplus_sums(self.taus, self.bias))


@dataclass(frozen=True)
class ColumnSoftplusSums(SoftplusSums):
    """The same of each column of a rectangular pass.

    In a symmetric pass the same as `SoftplusSums`.
    """

    side = "columns"
