"""Per-row sums over a set of pairs: similarities and their squares, and counts under thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array
from cl_analyze.pairs.engine import Reducer, State
from cl_analyze.pairs.tile import PairSet, Tile


class RowSums(Reducer):
    """Per row: sums over its pairs of some functions of the similarity; finalizes to (N, m)."""

    def terms(self, tile: Tile) -> Iterator[Array]:
        """The m matrices whose sums are wanted, each valid until the next is asked for."""
        raise NotImplementedError

    def reduce(self, tile: Tile) -> tuple[State, State]:
        return tile.side_sums(self.terms(tile), *self.sides(tile))

    def of_sides(self, tile: Tile, rows: State, columns: State) -> tuple[State, State]:
        """The sums of the sides that the tile feeds."""
        of_rows, of_columns = self.sides(tile)
        return rows if of_rows else None, columns if of_columns else None


@dataclass(frozen=True)
class PairMoments(RowSums):
    """Per row: sum of s_ij and of s_ij^2 over a set of pairs; finalizes to (N, 2).

    Attributes:
        pairs: which pairs count.
    """

    pairs: PairSet = "same_class"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, 2))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        if tile.compiled is None:
            return super().reduce(tile)
        return self.of_sides(tile, *tile.compiled.moments(self.pairs))

    def terms(self, tile: Tile) -> Iterator[Array]:
        masked = tile.product(tile.similarity, tile.mask(self.pairs))
        yield masked
        yield tile.product(masked, tile.similarity)


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
        return np.zeros((n_rows, len(self.thresholds)))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        if tile.compiled is None:
            return super().reduce(tile)
        return self.of_sides(tile, *tile.compiled.counts_below(self.pairs, self.thresholds))

    def terms(self, tile: Tile) -> Iterator[Array]:
        mask = tile.mask(self.pairs)
        for threshold in self.thresholds:
            yield tile.product(mask, tile.similarity <= threshold)
