"""How many rows of the other side are nearer than a row's partner, in either direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.engine import Reducer, from_earlier_pass
from cl_analyze.pairs.tile import PairSet, Tile


@dataclass(frozen=True)
class PartnerRanks(Reducer):
    """Per row i: columns j != i with s_ij above partner_i, and columns about as near.

    Finalizes to (N, 2): counts of s_ij > partner_i + slack, and of those within slack of it.

    Attributes:
        slack: similarities this near count as equal.
        pairs: which pairs count.
        partners: (N,) similarity of each row with its partner.
    """

    slack: float
    pairs: PairSet = "all"
    partners: NDArray[np.float64] = from_earlier_pass()

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, 2))

    def reduce_side(self, tile: Tile, of_rows: bool) -> NDArray[np.float64]:
        mask = tile.mask(self.pairs)
        partners = self.partners[tile.rows if of_rows else tile.cols]

        def above(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
            is_above = tile.similarity > tile.spread(thresholds, of_rows)
            return tile.sums(tile.product(mask, is_above), of_rows)

        nearer = above(partners + self.slack)
        return np.stack([nearer, above(partners - self.slack) - nearer], axis=1)


@dataclass(frozen=True)
class ColumnPartnerRanks(PartnerRanks):
    """The same for the columns of a rectangular pass: rows i != j with s_ij above partner_j."""

    side = "columns"
