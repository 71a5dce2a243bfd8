"""Norms of the saved rows, the mean cosine, the distance of cosines from the uniform law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.uniform_law import cosine_share_below

Vector = NDArray[np.float64]

BINS = 1 << 14
"""Bins of the empirical distribution of cosines: their width is the error of its distance."""


@dataclass(frozen=True)
class MeanCosine:
    """Mean cosine over ordered pairs i != j, its values without each row, and the mean row."""

    value: float
    without: Vector
    mean: Vector


def mean_cosine(rows: UnitRows) -> MeanCosine:
    """From the sum of the rows, in two passes."""
    n, step = rows.n_rows, block_rows(rows.dim)
    total, own, squares = np.zeros(rows.dim), np.empty(n), np.empty(n)
    for start in range(0, n, step):
        total += rows.exact_block(start, min(start + step, n)).sum(axis=0)
    for start in range(0, n, step):
        stop = min(start + step, n)
        block = rows.exact_block(start, stop)
        squares[start:stop] = np.einsum("ij,ij->i", block, block)
        own[start:stop] = block @ total - squares[start:stop]
    pairs = float(own.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (pairs - 2.0 * own) / ((n - 1) * (n - 2.0))
    return MeanCosine(pairs / (n * (n - 1)), without, total / n)


def deviation_without(values: Vector) -> Vector:
    """(N,) standard deviation (divided by the count) without each row."""
    n = len(values)
    left = values - values.mean()
    total = float((left**2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.maximum(total - left**2 * n / (n - 1), 0.0) / (n - 1)))


def wasserstein_from_histogram(counts: Vector, d: int) -> float:
    """W1 = integral of |F - F0| over cosines, F0 the law of the cosine of two uniform points.

    Args:
        counts: (bins,) pairs in equal bins on [-1, 1].
        d: dimensions.

    >>> counts = np.zeros(BINS)
    >>> counts[BINS // 2] = 6.0                       # orthogonal rows
    >>> round(wasserstein_from_histogram(counts, 3), 3)
    0.5
    """
    below, law, width = _distributions(counts, d)
    return float(np.abs(below - law).sum() * width)


def wasserstein_slope(counts: Vector, d: int) -> Vector:
    """(bins,) derivative of W1 with respect to the share of pairs in each bin."""
    below, law, width = _distributions(counts, d)
    signs = np.sign(below - law) * width
    # a pair in bin b raises F at every edge to its right
    slope: Vector = np.cumsum(signs[::-1])[::-1]
    return slope


def _distributions(counts: Vector, d: int) -> tuple[Vector, Vector, float]:
    """Both distribution functions at the bins' centres, pairs spread evenly within their bins."""
    n_bins = len(counts)
    width = 2.0 / n_bins
    centres: Vector = (np.arange(n_bins) + 0.5).astype(np.float64) * width - 1.0
    share = counts / counts.sum()
    below = np.cumsum(share) - 0.5 * share
    return below, cosine_share_below(d, centres), width
