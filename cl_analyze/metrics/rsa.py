"""Representational similarity analysis: the rank correlation of the cosines of two checkpoints.

Two checkpoints may order the pairs of rows alike though their cosines have other values, as
temperatures make them.  Ranks see the order alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.pairs.rescoring import GRID
from cl_analyze.results.stats import standard_error

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

RSA = Metric(
    "rsa",
    "none",
    "Spearman's rank correlation of the cosines of all pairs of rows in both checkpoints "
    "(representational similarity analysis), 1 where both checkpoints order the pairs alike.",
    parameters=(Parameter("against"),),
    source="Kriegeskorte et al. 2008.",
    title="RSA",
)
MOST_ROWS = 500
"""Rows whose pairs are ranked; of more rows, a seeded sample."""
FEWEST_ROWS = 5


@dataclass(frozen=True)
class RankedPairs:
    """The cosines of all pairs i < j of some rows, by rank.

    Attributes:
        n: number of rows.
        ranks: (P,) mid-ranks from 1; equal cosines share the mean of their ranks.
        order: (P,) pairs by ascending cosine.
    """

    n: int
    ranks: NDArray[np.float32]
    order: NDArray[np.int32]

    @property
    def shares(self) -> Vector:
        """(P,) the mid-distribution function of the cosines: the share that is less."""
        return (self.ranks.astype(np.float64) - 0.5) / len(self.ranks)

    @cached_property
    def variance(self) -> float:
        """Variance of the shares: 1/12 where no two cosines are equal."""
        return float(np.square(self.shares - 0.5).mean())

    @cached_property
    def own_rows(self) -> Vector:
        """(n,) sums over each row's pairs of what they move the variance by."""
        shares = self.shares
        return self.row_sums(np.square(shares) + 2.0 * self.above(shares))

    def row_sums(self, of_pairs: Vector) -> Vector:
        """(n,) sums over each row's pairs of values less their mean."""
        values = of_pairs - of_pairs.mean()
        first, second = np.triu_indices(self.n, 1)
        sums = np.zeros(self.n)
        sums += np.bincount(first, values, self.n) + np.bincount(second, values, self.n)
        return sums

    def above(self, weights: Vector) -> Vector:
        """(P,) for each pair, the mean over all pairs of the weight of those with a greater cosine.

        Pairs with an equal cosine count half.
        """
        sums = np.r_[0.0, np.cumsum(weights[self.order])]
        ranks = self.ranks[self.order]
        starts = np.flatnonzero(np.r_[True, ranks[1:] != ranks[:-1]])
        ends = np.r_[starts[1:], len(weights)]
        above = np.empty(len(weights))
        above[self.order] = np.repeat(sums[-1] - 0.5 * (sums[starts] + sums[ends]), ends - starts)
        return above / len(weights)


def sample_of(n: int) -> Index:
    """The rows whose pairs are ranked: all, or a seeded sample of `MOST_ROWS`."""
    if n <= MOST_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MOST_ROWS, replace=False))


def ranked_pairs(rows: Matrix) -> RankedPairs:
    """The cosines of all pairs of (n, D) unit rows, by rank, those on one point of `GRID` equal.

    Cost: n^2 D / 2 multiplications, a sort of n^2 / 2 numbers; 4 n^2 bytes are kept.
    """
    n = len(rows)
    cosines = np.rint((rows @ rows.T)[np.triu_indices(n, 1)] * GRID)
    return RankedPairs(n, *_mid_ranks(cosines))


def _mid_ranks(values: Vector) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(P,) mid-ranks from 1, and (P,) positions by ascending value."""
    order = np.argsort(values, kind="stable").astype(np.int32)
    ascending = values[order]
    starts = np.flatnonzero(np.r_[True, ascending[1:] != ascending[:-1]])
    sizes = np.diff(np.r_[starts, len(values)])
    ranks = np.empty(len(values), dtype=np.float32)
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks, order


def rank_correlation(
    one: RankedPairs, other: RankedPairs, groups: Index | None = None
) -> Number | None:
    """Spearman's correlation of the cosines of the same pairs, with its error over rows.

    The error is that of the influence of rows: a pair moves the product of the ranks, and the ranks
    of all other pairs; a row moves its n - 1 pairs.

    Args:
        one, other: pairs of the same rows in two checkpoints.
        groups: (n,) codes of rows that belong together.

    Returns:
        None where there are fewer than `FEWEST_ROWS` rows, or all cosines of a checkpoint are
        equal.

    Cost: O(n^2).
    """
    n = one.n
    if n < FEWEST_ROWS or min(one.variance, other.variance) <= 1e-12:
        return None
    f, g = one.shares, other.shares
    size = math.sqrt(one.variance * other.variance)
    value = float(((f - 0.5) * (g - 0.5)).mean()) / size
    moved = one.row_sums(f * g + one.above(g) + other.above(f)) / size
    for pairs in (one, other):
        moved -= 0.5 * value * pairs.own_rows / pairs.variance
    return Number(value, standard_error(value + 2.0 * moved / (n - 1), groups), n)
