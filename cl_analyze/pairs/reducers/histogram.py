"""Similarities, and the penalty on them, in equal bins on [-1, 1].

Both count ordered pairs (i, j): in a symmetric pass each unordered pair counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.reducers.moments import RowSums, both_sides
from cl_analyze.pairs.tile import PairSet, Tile


class _Bins:
    """States that are arrays of bins, no matter which rows, and merge by addition."""

    side = "all"
    sort_key = (np.inf,)

    def bound(self, state: NDArray[np.float64]) -> None:
        """Every pair matters."""
        return

    def merge(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bins add."""
        return a + b

    def finalize(self, states: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """The bins of all rows together."""
        total: NDArray[np.float64] = np.sum(states, axis=0)
        return total


@dataclass(frozen=True)
class PairHistogram(_Bins):
    """Ordered pairs in each of `n_bins` equal bins on [-1, 1]; finalizes to (n_bins,) counts.

    Attributes:
        n_bins: number of bins.
        pairs: which pairs count.
    """

    n_bins: int
    pairs: PairSet = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Empty bins."""
        return np.zeros(self.n_bins)

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], None]:
        """Counts of the tile, twice where it stands for its transpose as well."""
        if self.pairs == "all":
            counts = tile.counts(self.n_bins)
        else:
            chosen = tile.backend.select(tile.similarity, tile.mask(self.pairs))
            counts = tile.backend.bin_counts(tile.backend.bins(chosen, self.n_bins), self.n_bins)
        return counts * (2.0 if tile.both_sides else 1.0), None


@dataclass(frozen=True)
class PenaltyHistogram(_Bins):
    """Penalty mass and share of negatives in bins, averaged by given row weights.

    For each bin b: row 0 of the result is sum_i w_i #{j in b} / K_i, and row 1 + m is
    sum_i w_i sum_{j in b} exp(s_ij / tau_m) / Z_i(tau_m).  Rows (anchors) only: for rectangular
    passes.  Finalizes to (1 + len(taus), n_bins).

    Attributes:
        taus: temperatures.
        n_bins: number of bins.
        pairs: which pairs are negatives.
        anchors: (m,) the rows of the pass, ascending.
        log_masses: (taus, m) log Z of each.
        row_weights: (m,) w_i, 0 for rows that have no negatives.
        counts: (m,) K_i, negatives of each row.
    """

    taus: tuple[float, ...]
    n_bins: int
    pairs: PairSet = "all"
    anchors: Index = field(default_factory=lambda: np.zeros(0, np.int64), compare=False, repr=False)
    log_masses: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros((0, 0)), compare=False, repr=False
    )
    row_weights: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0), compare=False, repr=False
    )
    counts: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0), compare=False, repr=False
    )

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Empty bins."""
        return np.zeros((1 + len(self.taus), self.n_bins))

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], None]:
        """Bins of the tile's rows."""
        if tile.both_sides:
            raise ValueError("penalty histograms belong to rectangular passes")
        backend, rows = tile.backend, np.searchsorted(self.anchors, tile.rows)
        bins = tile.bins(self.n_bins)
        weights, counts = self.row_weights[rows], self.counts[rows]
        share = np.divide(weights, counts, out=np.zeros(len(rows)), where=counts > 0)
        if self.pairs == "all" and np.ptp(share) == 0:  # every row weighs the same
            out = [share[0] * tile.counts(self.n_bins)]
        else:
            spread = tile.product(tile.mask(self.pairs), backend.vector(share)[:, None])
            out = [backend.bin_sums(bins, spread, self.n_bins)]
        for tau, log_mass in zip(self.taus, self.log_masses[:, rows], strict=True):
            found = tile.restricted(tau, self.pairs)
            valid = (weights > 0) & np.isfinite(log_mass)
            level = np.where(valid, found.shift / tau - log_mass, 0.0)
            # more than this only where the tile holds no pair of the anchor
            scale = np.exp(np.minimum(level, tile.exponent_range + 25))
            scale = np.where(valid, weights, 0.0) * scale
            scaled = tile.product(found.values, backend.vector(scale)[:, None])
            out.append(backend.bin_sums(bins, scaled, self.n_bins))
        return np.stack(out), None


@dataclass(frozen=True)
class BinSums(RowSums):
    """Per row: sum over its pairs of a value that each bin of similarity has; finalizes to (N,).

    Attributes:
        n_bins: equal bins on [-1, 1].
        values: (n_bins,) of each.
        pairs: which pairs count.
    """

    n_bins: int
    values: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0), compare=False, repr=False
    )
    pairs: PairSet = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Zero sums."""
        return np.zeros(n_rows)

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Row sums and column sums of the bins' values."""
        chosen = tile.backend.vector(self.values)[tile.bins(self.n_bins)]
        return both_sides(tile, tile.product(chosen, tile.mask(self.pairs)))
