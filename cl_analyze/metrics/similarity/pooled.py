"""Positives and negatives of all anchors together: ROC, equal error rate, d'.

Both groups are counted in bins, and every statistic is a function of the two distributions.  Its
error follows from its derivative by a row: what the row's positives add, and what the negative
pairs that the row takes part in add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.bins import FINE_BINS

Vector = NDArray[np.float64]

WIDTH = 2.0 / FINE_BINS


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold: pairs at or above it are taken for positives.

    Attributes:
        threshold: cosine.
        true_positive_rate, false_positive_rate: shares of positives and negatives at or above it.
    """

    threshold: float
    true_positive_rate: float
    false_positive_rate: float


@dataclass(frozen=True)
class Distributions:
    """Positives and negatives in fine bins of similarity on [-1, 1].

    Attributes:
        positives, negatives: (bins,) counts, or sums of votes.
        n_positive: rows behind the positives, for the width of densities.
    """

    positives: Vector
    negatives: Vector
    n_positive: int

    @cached_property
    def positive(self) -> Vector:
        """(bins,) shares of positives."""
        shares: Vector = self.positives / self.positives.sum()
        return shares

    @cached_property
    def negative(self) -> Vector:
        """(bins,) shares of negatives."""
        shares: Vector = self.negatives / self.negatives.sum()
        return shares

    @cached_property
    def edges(self) -> Vector:
        """(bins + 1,) edges."""
        return np.linspace(-1.0, 1.0, FINE_BINS + 1)

    @cached_property
    def true_positive(self) -> Vector:
        """(bins + 1,) share of positives at or above each edge."""
        return _at_or_above(self.positives)

    @cached_property
    def false_positive(self) -> Vector:
        """(bins + 1,) share of negatives at or above each edge."""
        return _at_or_above(self.negatives)

    def at_edge(self, edge: int) -> OperatingPoint:
        """The rates at an edge of a bin."""
        return OperatingPoint(
            float(self.edges[edge]),
            float(self.true_positive[edge]),
            float(self.false_positive[edge]),
        )

    @cached_property
    def auroc(self) -> float:
        """P(negative < positive), pairs in one bin half."""
        under = np.cumsum(self.negative) - 0.5 * self.negative
        return float(self.positive @ under)

    @property
    def shared(self) -> float:
        """Half the chance that a positive and a negative are in one bin."""
        return 0.5 * float(self.positive @ self.negative)

    def edge_of_rate(self, rate: float) -> int:
        """The lowest edge with a false-positive rate of at most `rate`."""
        return int(np.argmax(self.false_positive <= rate))

    @cached_property
    def edge_of_equal_errors(self) -> int:
        """The lowest edge at which no more negatives are accepted than positives are missed."""
        return int(np.argmax(self.false_positive <= 1.0 - self.true_positive))

    @cached_property
    def equal_error_rate(self) -> float:
        """Where both error rates are equal, linear within a bin."""
        edge = self.edge_of_equal_errors
        miss = 1.0 - self.true_positive
        if edge == 0:
            return 0.5 * float(self.false_positive[0] + miss[0])
        over = float(self.false_positive[edge - 1] - miss[edge - 1])
        under = float(miss[edge] - self.false_positive[edge])
        part = over / (over + under) if over + under > 0 else 0.0
        step = self.false_positive[edge] - self.false_positive[edge - 1]
        return float(self.false_positive[edge - 1] + part * step)

    def densities(self, at: float) -> tuple[float, float]:
        """Densities of positives and negatives near a similarity."""
        centres = 0.5 * (self.edges[1:] + self.edges[:-1])
        mean = float(self.positive @ centres)
        spread = math.sqrt(max(float(self.positive @ (centres - mean) ** 2), 0.0))
        half = max(spread * max(self.n_positive, 2) ** -0.2, 2.0 * WIDTH)
        low, high = (float(np.clip(at + shift, -1.0, 1.0)) for shift in (-half, half))
        positive, negative = (
            float(np.interp(low, self.edges, share) - np.interp(high, self.edges, share))
            for share in (self.true_positive, self.false_positive)
        )
        return positive / (high - low), negative / (high - low)

    def slope_of_roc(self, rate: float, error: float) -> float:
        """Slope of the true-positive rate by the false-positive rate, within two errors of it."""
        low, high = max(rate - 2.0 * error, 0.25 * rate), rate + 2.0 * error
        ends = [float(self.true_positive[self.edge_of_rate(r)]) for r in (low, high)]
        return (ends[1] - ends[0]) / (high - low) if high > low else 0.0

    def thresholds(self, n: int) -> list[OperatingPoint]:
        """Rates at n thresholds, ascending: for small false-positive rates, others between them."""
        occupied = np.flatnonzero((self.positives > 0) | (self.negatives > 0))
        first, last = int(occupied[0]), int(occupied[-1]) + 1
        of_rates = (self.edge_of_rate(float(rate)) for rate in np.logspace(-5.0, -1.0, n // 4))
        edges = sorted({first, last, *(edge for edge in of_rates if first < edge < last)})
        while len(edges) < n and max(gaps := np.diff(edges)) > 1:
            widest = int(np.argmax(gaps))
            edges.insert(widest + 1, (edges[widest] + edges[widest + 1]) // 2)
        return [self.at_edge(edge) for edge in edges]


def _at_or_above(counts: Vector) -> Vector:
    """(bins + 1,) share at or above each edge; 1 and 0 at the ends."""
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]])
    shares: Vector = above / above[0]
    return shares


def fine_histogram(values: Vector, weights: Vector | None = None) -> Vector:
    """(bins,) similarities, or their votes, in fine bins."""
    counts, _ = np.histogram(values, bins=FINE_BINS, range=(-1.0, 1.0), weights=weights)
    return counts.astype(np.float64)


def d_prime(positive: tuple[float, float], negative: tuple[float, float]) -> float | None:
    """Difference of the means over the root mean of the variances; None where both are constant.

    Args:
        positive, negative: mean and population variance.
    """
    spread = math.sqrt(max(0.5 * (positive[1] + negative[1]), 0.0))
    return (positive[0] - negative[0]) / spread if spread > 0 else None
