"""How many rows of the other side are nearer than a row's partner, in either direction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array
from cl_analyze.pairs.reducers.moments import RowSums
from cl_analyze.pairs.tile import PairSet, Tile

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class PartnerRanks(RowSums):
    """Per row i: columns j != i with s_ij above partner_i, and columns about as near.

    Finalizes to (N, 2): counts of s_ij > partner_i + slack, and of those within slack of it.

    Attributes:
        slack: similarities this near count as equal.
        pairs: which pairs count.
        partners: (N,) similarity of each row with its partner.
    """

    slack: float
    pairs: PairSet = "all"
    partners: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0), compare=False, repr=False
    )

    def identity(self, n_rows: int) -> Counts:
        """Nothing counted."""
        return np.zeros((n_rows, 2))

    def reduce(self, tile: Tile) -> tuple[Counts, Counts | None]:
        """Counts of the rows and, where the tile stands for its transpose as well, the columns."""
        rows = self._counts(tile, True)
        return rows, self._counts(tile, False) if tile.both_sides else None

    def _counts(self, tile: Tile, of_rows: bool) -> Counts:
        mask = tile.mask(self.pairs)
        partners = self.partners[tile.rows if of_rows else tile.cols]
        sums = tile.row_sums if of_rows else tile.col_sums

        def above(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
            given: Array = tile.backend.vector(thresholds)
            given = given[:, None] if of_rows else given[None, :]
            return sums(tile.product(mask, tile.similarity > given))

        nearer = above(partners + self.slack)
        return np.stack([nearer, above(partners - self.slack) - nearer], axis=1)


@dataclass(frozen=True)
class ColumnPartnerRanks(PartnerRanks):
    """The same for the columns of a rectangular pass: rows i != j with s_ij above partner_j."""

    side = "columns"

    def reduce(self, tile: Tile) -> tuple[Counts | None, Counts]:  # type: ignore[override]
        """Counts of the columns and, where the tile stands for its transpose, of the rows."""
        return self._counts(tile, True) if tile.both_sides else None, self._counts(tile, False)
