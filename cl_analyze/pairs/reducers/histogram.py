"""Similarities, and the penalty on them, in equal bins on [-1, 1].

Both count ordered pairs (i, j): in a symmetric pass each unordered pair counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array, Index
from cl_analyze.pairs.engine import Reducer, from_earlier_pass
from cl_analyze.pairs.reducers.moments import RowSums
from cl_analyze.pairs.tile import PairSet, Tile


@dataclass(frozen=True)
class PairHistogram(Reducer):
    """Ordered pairs in each of `n_bins` equal bins on [-1, 1]; finalizes to (n_bins,) counts.

    Attributes:
        n_bins: number of bins.
        pairs: which pairs count.
    """

    n_bins: int
    pairs: PairSet = "all"
    side = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros(self.n_bins)

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], None]:
        if tile.compiled is not None:
            counts = tile.compiled.counts(self.n_bins, self.pairs)
        elif self.pairs == "all":
            counts = tile.counts(self.n_bins)
        else:
            counted = tile.similarity[tile.mask(self.pairs) != 0]
            counts = tile.backend.bin_sums(tile.backend.bins(counted, self.n_bins), self.n_bins)
        return counts * (2.0 if tile.both_sides else 1.0), None


@dataclass(frozen=True)
class PenaltyHistogram(Reducer):
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
    anchors: Index = from_earlier_pass()
    log_masses: NDArray[np.float64] = from_earlier_pass()
    row_weights: NDArray[np.float64] = from_earlier_pass()
    counts: NDArray[np.float64] = from_earlier_pass()
    side = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((1 + len(self.taus), self.n_bins))

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], None]:
        if tile.both_sides:
            raise ValueError("penalty histograms belong to rectangular passes")
        rows = np.searchsorted(self.anchors, tile.rows)
        weights, counts = self.row_weights[rows], self.counts[rows]
        share = np.divide(weights, counts, out=np.zeros(len(rows)), where=counts > 0)
        most = tile.exponent_range + 25  # more than this only where the tile has no pair of a row
        if tile.compiled is not None and tile.compiled.serves(*self.taus):
            log_masses = self.log_masses[:, rows]
            valid = (weights > 0) & np.isfinite(log_masses)
            levels = np.minimum(np.where(valid, -log_masses, 0.0), most)
            of_rows = np.vstack([share, np.where(valid, weights, 0.0) * np.exp(levels)])
            return tile.compiled.penalty_histogram(
                self.n_bins, self.pairs, self.taus, of_rows
            ), None
        bins = tile.bins(self.n_bins)

        def binned(values: Array, row_weights: NDArray[np.float64]) -> NDArray[np.float64]:
            weighted = tile.product(values, tile.spread(row_weights))
            return tile.backend.bin_sums(bins, self.n_bins, weighted)

        if self.pairs == "all" and np.ptp(share) == 0:  # every row weighs the same
            sums = [share[0] * tile.counts(self.n_bins)]
        else:
            sums = [binned(tile.mask(self.pairs), share)]
        for tau, log_mass in zip(self.taus, self.log_masses[:, rows], strict=True):
            exponentials = tile.restricted(tau, self.pairs)
            valid = (weights > 0) & np.isfinite(log_mass)
            level = np.where(valid, exponentials.shift / tau - log_mass, 0.0)
            scale = np.exp(np.minimum(level, most))
            sums.append(binned(exponentials.values, np.where(valid, weights, 0.0) * scale))
        return np.stack(sums), None


@dataclass(frozen=True)
class BinSums(RowSums):
    """Per row: sum over its pairs of a value that each bin of similarity has; finalizes to (N,).

    Attributes:
        n_bins: equal bins on [-1, 1].
        values: (n_bins,) of each.
        pairs: which pairs count.
    """

    n_bins: int
    values: NDArray[np.float64] = from_earlier_pass()
    pairs: PairSet = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, 1))

    def terms(self, tile: Tile) -> Iterator[Array]:
        values = tile.backend.vector(self.values)[tile.bins(self.n_bins)]
        yield tile.product(values, tile.mask(self.pairs))

    def finalize(self, states: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate(states)[:, 0]
