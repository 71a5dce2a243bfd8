"""Representational similarity analysis: the rank correlation of the cosines of two checkpoints.

Two checkpoints may order the pairs of rows alike though their cosines have other values, as
temperatures make them.  Ranks see the order alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.results.stats import standard_error

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

RSA = Metric(
    "rsa",
    "none",
    "Spearman's rank correlation of the cosines of all pairs of rows in both checkpoints "
    "(representational similarity analysis), 1 where they order the pairs alike.",
    parameters=(Parameter("against"),),
    source="Kriegeskorte et al. 2008.",
)
MOST_ROWS = 1_000
"""Rows whose pairs are ranked; of more rows, a seeded sample."""
FEWEST_ROWS = 5
_GRID = 2.0**40
"""Cosines are compared on a grid of 2^-40, so that rounding makes no order of equal ones."""


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


def sample_of(n: int) -> Index:
    """The rows whose pairs are ranked: all, or a seeded sample of `MOST_ROWS`."""
    if n <= MOST_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MOST_ROWS, replace=False))


def ranked_pairs(rows: Matrix) -> RankedPairs:
    """The cosines of all pairs of (n, D) unit rows, by rank.

    Cost: n^2 D / 2 multiplications, a sort of n^2 / 2 numbers; 4 n^2 bytes are kept.
    """
    n = len(rows)
    cosines = np.rint((rows @ rows.T)[np.triu_indices(n, 1)] * _GRID)
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
    n, n_pairs = one.n, len(one.ranks)
    if n < FEWEST_ROWS:
        return None
    # mid-distribution functions
    f, g = ((pairs.ranks.astype(np.float64) - 0.5) / n_pairs for pairs in (one, other))
    variances = [float(np.square(share - 0.5).mean()) for share in (f, g)]
    if min(variances) <= 1e-12:
        return None
    covariance = float(((f - 0.5) * (g - 0.5)).mean())
    value = covariance / math.sqrt(variances[0] * variances[1])
    products = f * g + _above(one, g) + _above(other, f)
    squares = [share**2 + 2.0 * _above(pairs, share) for pairs, share in ((one, f), (other, g))]
    moved = (products - products.mean()) / math.sqrt(variances[0] * variances[1])
    for square, variance in zip(squares, variances, strict=True):
        moved -= 0.5 * value * (square - square.mean()) / variance
    of_row = np.zeros(n)
    first, second = np.triu_indices(n, 1)
    of_row += np.bincount(first, moved, n) + np.bincount(second, moved, n)
    influence = 2.0 * of_row / (n - 1)
    return Number(value, standard_error(value + influence, groups), n)


def _above(pairs: RankedPairs, weights: Vector) -> Vector:
    """(P,) for each pair the mean over all pairs of the weight of those with a greater cosine.

    Pairs with an equal cosine count half.
    """
    n_pairs = len(weights)
    ascending = weights[pairs.order].astype(np.float64)
    sums = np.r_[0.0, np.cumsum(ascending)]
    ranks = pairs.ranks[pairs.order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, ranks[1:] != ranks[:-1]])
    ends = np.r_[starts[1:], n_pairs]
    half = sums[-1] - 0.5 * (sums[starts] + sums[ends])
    result = np.empty(n_pairs)
    result[pairs.order] = np.repeat(half, ends - starts) / n_pairs
    return result
