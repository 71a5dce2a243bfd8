"""Histograms of similarities on [-1, 1]: bins of the tables, and fine bins for quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cl_analyze.results.tables import Cell

TABLE_BINS = 200
FINE_BINS = 200 * 82  # at least 2^14, and a multiple of TABLE_BINS

Vector = NDArray[np.float64]


def bin_centres() -> Vector:
    """Centres of the tables' bins on [-1, 1]."""
    return (np.arange(TABLE_BINS) + 0.5).astype(np.float64) * (2.0 / TABLE_BINS) - 1.0


def histogram(values: Vector) -> Vector:
    """Counts of similarities in the tables' bins."""
    counts, _ = np.histogram(values, bins=TABLE_BINS, range=(-1.0, 1.0))
    return counts.astype(np.float64)


def histogram_quantiles(counts: Vector, q: NDArray[np.float64]) -> Vector:
    """Quantiles of a histogram on [-1, 1], by linear interpolation within a bin."""
    width = 2.0 / len(counts)
    cumulative = np.cumsum(counts) / counts.sum()
    occupied = np.flatnonzero(counts)
    at = occupied[np.minimum(np.searchsorted(cumulative[occupied], q), len(occupied) - 1)]
    below = cumulative[at] - counts[at] / counts.sum()
    inside = np.clip((q - below) / (cumulative[at] - below), 0.0, 1.0)
    quantiles: Vector = -1.0 + width * (at + inside)
    return quantiles


def histogram_shares(counts: Vector, at: Vector) -> Vector:
    """Share of a histogram on [-1, 1] below each of some similarities."""
    edges = np.linspace(-1.0, 1.0, len(counts) + 1)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    shares: Vector = np.interp(at, edges, cumulative)
    return shares


def bin_rows(source: str, group: str, counts: Vector, exact: bool) -> list[dict[str, Cell]]:
    """Rows of the histogram table for one group."""
    width = 2.0 / len(counts)
    total = float(counts.sum())
    return [
        {
            "source": source,
            "group": group,
            "bin_left": round(-1.0 + b * width, 10),
            "bin_right": round(-1.0 + (b + 1) * width, 10),
            "count": int(count),
            "density": float(count / (total * width)) if total else 0.0,
            "exact": exact,
        }
        for b, count in enumerate(counts)
    ]
