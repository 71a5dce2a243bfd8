"""Values of anchors, and the change of their mean where a row is deleted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.reducers.neighbours import Neighbours

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorValues:
    """A mean over anchors, with its change when each row is deleted.

    Attributes:
        values: (N,) the anchors' values, NaN where a row is no anchor.
        gains: (N,) change of the sum of the values when the row is deleted as a negative.
        lost: (N,) number of anchors that lose their value when the row is deleted.
    """

    values: Vector
    gains: Vector
    lost: Vector

    def mean_without(self) -> Vector:
        """(N,) mean without each row, deleted as anchor and as negative; NaN: no anchor is left."""
        is_anchor = ~np.isnan(self.values)
        filled = np.where(is_anchor, self.values, 0.0)
        count = is_anchor.sum() - is_anchor - self.lost
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (filled.sum() - filled + self.gains) / count
        return np.where(count > 0, without, np.nan)


def nth_neighbour(
    neighbours: Neighbours, rank: int, function: Callable[[Vector], Vector], n_rows: int
) -> AnchorValues:
    """f(similarity of the nearest negative of a rank from 0), with the deletion of each row.

    When the negative or a nearer one is deleted, the next negative takes its rank.  Values belong
    to the rows of `neighbours`; gains belong to all N rows.
    """
    similarity, next_one = neighbours.values[:, rank], neighbours.values[:, rank + 1]
    has_value, has_next = np.isfinite(similarity), np.isfinite(next_one)
    values = np.where(has_value, function(np.where(has_value, similarity, 0.0)), np.nan)
    next_values = np.where(has_next, function(np.where(has_next, next_one, 0.0)), 0.0)
    gain = next_values - np.nan_to_num(values)
    nearer = neighbours.indices[has_value, : rank + 1].ravel()
    gains = np.bincount(nearer, np.repeat(gain[has_value], rank + 1), n_rows)
    is_last = (has_value & ~has_next)[has_value]
    lost = np.bincount(nearer, np.repeat(is_last, rank + 1), n_rows)
    return AnchorValues(values, gains.astype(np.float64), lost.astype(np.float64))


def of_anchors(neighbours: Neighbours, rows: NDArray[np.int64]) -> Neighbours:
    """The neighbours of some anchors."""
    return Neighbours(neighbours.values[rows], neighbours.indices[rows])


def own_values(values: Vector, function: Callable[[Vector], Vector]) -> AnchorValues:
    """f(value) of anchors whose value no other row changes."""
    zero = np.zeros(len(values))
    return AnchorValues(function(values), zero, zero)
