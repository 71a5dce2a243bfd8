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
    """A statistic that is a mean over anchors, with what deleting each row does to it.

    Attributes:
        values: (N,) the anchors' values, NaN where a row is no anchor.
        gains: (N,) for each row, what deleting it as a negative adds to the anchors' sum.
        lost: (N,) for each row, how many anchors lose their value with it.
    """

    values: Vector
    gains: Vector
    lost: Vector

    def mean_without(self) -> Vector:
        """(N,) the mean without each row, as anchor and as negative; NaN where nothing is left."""
        is_anchor = ~np.isnan(self.values)
        own = np.where(is_anchor, self.values, 0.0)
        count = is_anchor.sum() - is_anchor - self.lost
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (own.sum() - own + self.gains) / count
        return np.where(count > 0, without, np.nan)


def nth_neighbour(
    neighbours: Neighbours, rank: int, function: Callable[[Vector], Vector], n_rows: int
) -> AnchorValues:
    """f(similarity of the rank-th nearest), rank from 0, with deletions of any nearer row exact.

    Values are about the rows that the neighbours belong to, gains about all N.
    """
    value, after = neighbours.values[:, rank], neighbours.values[:, rank + 1]
    has, has_next = np.isfinite(value), np.isfinite(after)
    own = np.where(has, function(np.where(has, value, 0.0)), np.nan)
    step = np.where(
        has_next, function(np.where(has_next, after, 0.0)) - np.nan_to_num(own), -np.nan_to_num(own)
    )
    nearer = neighbours.indices[has, : rank + 1].ravel()
    gains, lost = np.zeros(n_rows), np.zeros(n_rows)
    np.add.at(gains, nearer, np.repeat(step[has], rank + 1))
    ends = (has & ~has_next)[has].astype(np.float64)
    np.add.at(lost, nearer, np.repeat(ends, rank + 1))
    return AnchorValues(own, gains, lost)


def of_anchors(neighbours: Neighbours, rows: NDArray[np.int64]) -> Neighbours:
    """The neighbours of some anchors."""
    return Neighbours(neighbours.values[rows], neighbours.indices[rows])


def own_values(values: Vector, function: Callable[[Vector], Vector]) -> AnchorValues:
    """f(value), where no other row acts on the value of an anchor."""
    zero = np.zeros(len(values))
    return AnchorValues(function(values), zero, zero)
