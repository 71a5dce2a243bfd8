"""What every fused backend does with a tile: the sums of exponentials of a whole pass at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cl_analyze.pairs.tile import PairSet, SoftmaxAsk, Tile

Vector = NDArray[np.float64]
Index = NDArray[np.int64]
Sides = tuple[Vector, Vector | None]

SETS: dict[str, int] = {"all": 0, "same_class": 1, "other_class": 2}
SQUARES = 6
"""Slots of sums: mass and gap of each set in turn, then the squares of all pairs (rows alone)."""
_NOTHING = np.zeros(0)


@dataclass(frozen=True)
class Sums:
    """Sums of one side of a tile.

    Attributes:
        values: (taus, slots, n); slots that are not among the bits are left out.
        bits: the slots that there are, as bits.
    """

    values: Vector
    bits: int

    def of(self, at: int, slots: Iterable[int]) -> Vector:
        """(n, m) sums of m slots at one temperature."""
        places = [(self.bits & ((1 << slot) - 1)).bit_count() for slot in slots]
        return self.values[at, places].T


class FusedTile(ABC):
    """A tile whose softmax sums are taken in one sweep for all temperatures and sets of pairs.

    Args:
        tile: whose sums are wanted.
    """

    def __init__(self, tile: Tile) -> None:
        self._tile = tile
        self._softmax: dict[SoftmaxAsk, tuple[Sides, Vector]] = {}

    def serves(self, *taus: float) -> bool:
        """Whether exponentials at these temperatures stay in range without a shift."""
        return all(1.0 / tau <= self._tile.exponent_range for tau in taus)

    def softmax_sums(self, ask: SoftmaxAsk) -> Sides:
        """(n_rows, m) and (n_cols, m) sums of exp(s / tau), and of exp(s / tau) (1 - s) with gaps.

        Those of all temperatures and pair sets that the pass asks for are computed in one sweep,
        the first time; the columns' are None where the pass does not ask for them.
        """
        return self._of_pass(ask)[0]

    def sum_of_squares(self, ask: SoftmaxAsk) -> float:
        """Sum of exp(s / tau)^2 over the tile's pairs."""
        return float(self._of_pass(ask)[1].sum())

    def _of_pass(self, ask: SoftmaxAsk) -> tuple[Sides, Vector]:
        if ask not in self._softmax:
            asks = [other for other in self._tile.asks if self.serves(other.tau)]
            self._take(asks if ask in asks else [ask])
        return self._softmax[ask]

    def _take(self, asks: list[SoftmaxAsk]) -> None:
        taus = sorted({ask.tau for ask in asks})
        wanted = np.zeros(len(taus), np.int32)
        for ask in asks:
            set_of(self._tile, ask.pairs)
            wanted[taus.index(ask.tau)] |= _bits(ask)
        both = self._tile.both_sides or any(ask.of_columns for ask in asks)
        rows, cols = self._sweep(1.0 / np.array(taus), wanted, both)
        for ask in asks:
            at, first = taus.index(ask.tau), 2 * SETS[ask.pairs]
            slots = range(first, first + 1 + ask.gaps)
            if ask.squares:
                self._softmax[ask] = (_NOTHING, None), rows.of(at, [SQUARES])
            else:
                sides = rows.of(at, slots), None if cols is None else cols.of(at, slots)
                self._softmax[ask] = sides, _NOTHING

    @abstractmethod
    def _sweep(
        self, inverse_taus: Vector, wanted: NDArray[np.int32], both: bool
    ) -> tuple[Sums, Sums | None]:
        """The sums of the rows, and where both is true of the columns (without squares).

        Args:
            inverse_taus: (taus,) one over each temperature.
            wanted: (taus,) bits of the slots whose sums are asked for; others have no meaning.
            both: whether columns get sums.
        """


def _bits(ask: SoftmaxAsk) -> int:
    """The slots of an ask, as bits."""
    if ask.squares:
        return 1 << SQUARES
    return (0b11 if ask.gaps else 0b01) << 2 * SETS[ask.pairs]


MOST_CUTS = 2
"""Pairs of one row that a sweep can leave out of a tile."""


def set_of(tile: Tile, pairs: PairSet) -> int:
    """The number of a set of pairs.

    Raises:
        ValueError: the set needs labels, and the tile has none.
    """
    if pairs != "all" and (tile.row_labels is None or tile.col_labels is None):
        raise ValueError(f"the pair set {pairs!r} needs labels")
    return SETS[pairs]


def cuts_of(tile: Tile) -> NDArray[np.int32] | None:
    """(n_rows, 2) columns that never count in each row, ascending; None where there are none.

    Where a row has fewer, the largest number that the type holds stands in.
    """
    rows, cols = tile.left_out
    if not len(rows):
        return None
    cuts = np.full((tile.shape[0], MOST_CUTS), np.iinfo(np.int32).max, np.int32)
    is_first = np.zeros(len(rows), bool)
    is_first[np.unique(rows, return_index=True)[1]] = True
    cuts[rows[is_first], 0] = cols[is_first]
    cuts[rows[~is_first], 1] = cols[~is_first]
    cuts.sort(axis=1)
    return cuts
