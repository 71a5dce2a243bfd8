"""Wasserstein distance of the cosines of all pairs from the law of uniform points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.uniform_law import cosine_share_below

Vector = NDArray[np.float64]

BINS = 1 << 14
"""Bins of the empirical distribution: their width is the value's error."""


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
