"""The hardest negatives of each anchor where their number grows with N: whole rows at a time.

A share alpha of the negatives is too many to keep from tile to tile.  A strip is a few anchors with
their whole rows of similarities.  With q the k-th largest similarity of a row and f(s) =
exp(s / tau), the sum over the kept negatives needs one elementwise maximum:

    sum_kept f(s) = sum_j (f(max(s_j, q)) - f(q)) + k f(q)

A term is zero under the threshold, and ties at the threshold count right whichever of them are
kept.  One row more adds f(max(s_j, q)) - f(q) + alpha f(q), for k grows with the number of
negatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Array, Backend, Index
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.kernels.tile import hard_negatives as hard_sums
from cl_analyze.pairs.plan import spans

Vector = NDArray[np.float64]

_VALUES_OF_A_STRIP, _VALUES_WITH_KERNELS = 1 << 20, 1 << 22
_MOST_ROWS = 128


def n_kept(alpha: float, n_negatives: int) -> int:
    """How many negatives a share alpha keeps: k = max(1, ceil(alpha K - 1e-9)).

    The small number keeps products such as 0.07 * 100, which floats put above 7, at 7.

    >>> n_kept(0.07, 100), n_kept(0.071, 100), n_kept(1e-6, 100), n_kept(1.0, 100)
    (7, 8, 1, 100)
    """
    return max(1, math.ceil(alpha * n_negatives - 1e-9))


@dataclass(frozen=True)
class HardNegatives:
    """The k nearest negatives of each anchor, summed up.

    Attributes:
        threshold: (m,) the k-th largest similarity.
        similarity: (m,) sum of the kept similarities.
        log_mass: (taus, m) log of the kept sum of exp(s / tau).
        received: (taus, n_cols) sum over anchors of exp((max(s_ij, q_i)) / tau) - exp(q_i / tau),
            each over its anchor's total.
        excess: (n_cols,) sum over anchors of max(s_ij - q_i, 0).
        histogram: (taus, bins) mean over anchors of the share of the kept mass in each bin of
            similarity on [-1, 1]; empty where no bins are asked for.
    """

    threshold: Vector
    similarity: Vector
    log_mass: NDArray[np.float64]
    received: NDArray[np.float64]
    excess: Vector
    histogram: NDArray[np.float64]


@dataclass(frozen=True)
class Strips:
    """The anchors, their negatives and the sums that are wanted; a job for executors.

    Attributes:
        rows, cols: unit rows of anchors and candidates, of one precision.
        own: (m,) the column that is no negative of each anchor, -1 none.
        positives: (m,) similarity of each anchor's positive, in the total that weights refer to;
            minus infinity where the total is that of the negatives alone.
        k: negatives kept, 1 <= k < number of columns.
        taus: temperatures.
        backend: where similarities are computed.
        block: columns at a time.
        n_bins: of the histogram of kept mass; 0 for none.
    """

    rows: UnitRows
    cols: UnitRows
    own: Index
    positives: Vector
    k: int
    taus: tuple[float, ...]
    backend: Backend
    block: int
    n_bins: int = 0

    def run(self, span: tuple[int, int]) -> HardNegatives:
        """Sums of the anchors in a span; `histogram` is their sum, not their mean."""
        with self.backend.computing():
            return self._run(span)

    def _run(self, span: tuple[int, int]) -> HardNegatives:
        start, stop = span
        backend, xp = self.backend, self.backend.xp
        n, m = self.cols.n_rows, stop - start
        strip = backend.scratch("strip", (m, n))
        anchors = backend.to_device(self.rows.block(start, stop))
        for first, last in spans(n, self.block):
            part = backend.scratch("similarity", (m, last - first))
            others = backend.to_device(self.cols.block(first, last))
            strip[:, first:last] = backend.xp.matmul(anchors, others.T, out=part)
        own = self.own[start:stop]
        excluded = np.flatnonzero(own >= 0)
        backend.set_at(strip, excluded, own[excluded], -2.0)
        if self.is_compiled:
            return self._compiled(strip, self.positives[start:stop])
        threshold = backend.kth_largest(strip, self.k)
        peak = backend.to_host(xp.max(strip, axis=1))
        limit = backend.vector(threshold)[:, None]
        ones = backend.vector(np.ones(n))
        raised = xp.maximum(strip, limit)
        excess = raised - limit
        similarity = backend.to_host(excess @ ones) + self.k * threshold
        excess_of_columns = backend.to_host(backend.vector(np.ones(m)) @ excess)
        log_mass = np.empty((len(self.taus), m))
        received = np.empty((len(self.taus), n))
        histogram = np.zeros((len(self.taus), self.n_bins))
        top = backend.vector(peak)[:, None]
        values = excess  # its buffer is used again
        bins = backend.bins(strip, self.n_bins) if self.n_bins else None
        for at, tau in enumerate(self.taus):
            # the same operations as for the row: negatives that are not kept come out as zero
            lowest = backend.exp_scaled(limit, 1.0 / tau, top, out=limit * 0.0)
            at_threshold = backend.to_host(lowest[:, 0])
            backend.exp_scaled(raised, 1.0 / tau, top, out=values)
            xp.subtract(values, lowest, out=values)
            beyond = backend.to_host(values @ ones)
            mass = np.maximum(beyond, 0.0) + self.k * at_threshold
            log_mass[at] = np.log(mass) + peak / tau
            total = np.logaddexp(log_mass[at], self.positives[start:stop] / tau)
            weights = np.exp(peak / tau - total)
            received[at] = backend.to_host(backend.vector(weights) @ values)
            if bins is not None:
                histogram[at] = self._binned(strip, limit, values, at_threshold, mass, bins)
        return HardNegatives(
            threshold, similarity, log_mass, received, excess_of_columns, histogram
        )

    @property
    def is_compiled(self) -> bool:
        """Whether the compiled kernels serve."""
        return self.backend.kernels_for(np.float32) is not None

    def _compiled(self, strip: Array, positives: Vector) -> HardNegatives:
        library = self.backend.kernels_for(np.float32)
        assert library is not None
        threshold, peak, similarity, mass, received, excess, histogram = hard_sums(
            library, strip, self.k, self.taus, positives, self.n_bins
        )
        log_mass = np.log(mass) + peak / np.array(self.taus)[:, None]
        return HardNegatives(threshold, similarity, log_mass, received, excess, histogram)

    def _binned(
        self,
        strip: Array,
        limit: Array,
        beyond: Array,
        at_threshold: Vector,
        mass: Vector,
        bins: Array,
    ) -> Vector:
        """Sum over the anchors of shares of the kept mass, in bins of similarity.

        Negatives that tie at the threshold have equal shares.
        """
        backend = self.backend
        ones = backend.vector(np.ones(strip.shape[1]))
        above = strip > limit
        n_above = backend.to_host((above * ones) @ ones)
        tied = strip == limit
        n_tied = backend.to_host((tied * ones) @ ones)
        part = at_threshold * (self.k - n_above) / np.maximum(n_tied, 1.0)
        kept = beyond + above * backend.vector(at_threshold)[:, None]
        kept = kept + tied * backend.vector(part)[:, None]
        shares = kept * backend.vector(1.0 / mass)[:, None]
        return backend.bin_sums(bins, self.n_bins, shares)


def hard_negatives(
    strips: Strips, executor: Executor, progress: Callable[[int, int], None] | None = None
) -> HardNegatives:
    """Take the k nearest negatives of every anchor, among all columns but its own.

    Args:
        strips: of which anchors, and which sums.
        executor: where strips are computed.
        progress: called with pairs done, and pairs in all.

    Cost: m * N similarities and one exponential each per temperature (with compiled kernels: of the
    kept ones); memory a strip of a million values, six times, a thread (four million, once).
    """
    n, m = strips.cols.n_rows, strips.rows.n_rows
    n_values = _VALUES_WITH_KERNELS if strips.is_compiled else _VALUES_OF_A_STRIP
    height = int(np.clip(n_values // n, 1, _MOST_ROWS))
    of_anchors: list[tuple[Vector, Vector, NDArray[np.float64]]] = []
    received = np.zeros((len(strips.taus), n))
    excess = np.zeros(n)
    histogram = np.zeros((len(strips.taus), strips.n_bins))
    units = spans(m, height)
    for (_, stop), part in zip(units, executor.run(strips, units), strict=True):
        received += part.received
        excess += part.excess
        histogram += part.histogram
        of_anchors.append((part.threshold, part.similarity, part.log_mass))
        if progress is not None:
            progress(stop * n, m * n)
    threshold, similarity, log_mass = (
        np.concatenate(parts, axis=-1) for parts in zip(*of_anchors, strict=True)
    )
    return HardNegatives(threshold, similarity, log_mass, received, excess, histogram / m)
