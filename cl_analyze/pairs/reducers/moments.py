"""Per-row sums over a set of pairs: similarities and their squares, and counts under thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array
from cl_analyze.pairs.tile import PairSet, Tile


class RowSums:
    """States that are (n_rows, m) arrays and merge by addition."""

    side = "rows"

    @property
    def sort_key(self) -> tuple[float, ...]:
        """After everything that uses exponentials."""
        return (np.inf,)

    def bound(self, state: NDArray[np.float64]) -> None:
        """Every pair matters."""
        return

    def merge(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums add."""
        return a + b

    def finalize(self, states: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """(N, m) sums."""
        return np.concatenate(states)


@dataclass(frozen=True)
class PairMoments(RowSums):
    """Per row: sum of s_ij and of s_ij^2 over a set of pairs; finalizes to (N, 2).

    Attributes:
        pairs: which pairs count.
    """

    pairs: PairSet = "same_class"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Zero sums."""
        return np.zeros((n_rows, 2))

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Row sums and column sums of the masked similarities and their squares."""
        masked = tile.product(tile.similarity, tile.mask(self.pairs))
        sums = [both_sides(tile, masked), both_sides(tile, tile.product(masked, tile.similarity))]
        return stacked(sums)


@dataclass(frozen=True)
class RowCountsBelow(RowSums):
    """Per row: how many pairs of a set have s_ij <= threshold; finalizes to (N, thresholds).

    Attributes:
        thresholds: similarities.
        pairs: which pairs count.
    """

    thresholds: tuple[float, ...]
    pairs: PairSet = "same_class"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Zero counts."""
        return np.zeros((n_rows, len(self.thresholds)))

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Counts of the rows and of the columns."""
        mask = tile.mask(self.pairs)
        return stacked(
            [both_sides(tile, tile.product(mask, tile.similarity <= t)) for t in self.thresholds]
        )


_Sides = tuple[NDArray[np.float64], NDArray[np.float64] | None]


def both_sides(tile: Tile, matrix: Array) -> _Sides:
    """Row sums and, where the tile stands for its transpose as well, column sums."""
    return tile.row_sums(matrix), tile.col_sums(matrix) if tile.both_sides else None


def stacked(sums: list[_Sides]) -> _Sides:
    """(n_rows, m) and (n_cols, m) from m pairs of vectors."""
    rows = np.stack([row for row, _ in sums], axis=1)
    cols = [col for _, col in sums if col is not None]
    return rows, np.stack(cols, axis=1) if cols else None
