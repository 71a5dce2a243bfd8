"""The weight that each row has in the softmaxes of the others.

With p_ij = exp(s_ij / tau - log Z_i) the weight that anchor i puts on row j, the sum over anchors
of p_ij is the repulsion that row j receives, and the derivative of the sum of log Z_i with respect
to how often row j is there: its influence on a loss beyond its own term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import Reducer, from_earlier_pass
from cl_analyze.pairs.tile import PairSet, Tile


@dataclass(frozen=True)
class SoftmaxTotals:
    """The totals that the anchors' weights are relative to.

    Attributes:
        rows: (m,) which rows the anchors are, ascending; None: all.
        log_totals: (m, k) log Z of each anchor, in k versions; infinite where it has none.
    """

    rows: Index | None
    log_totals: NDArray[np.float64]


@dataclass(frozen=True)
class SoftmaxReceived(Reducer):
    """For each column j: sum over the rows i of exp(s_ij / tau - log Z_i), in k versions of Z.

    Finalizes to (N, k), or with gaps to (N, 2k): then k sums of p_ij (1 - s_ij) follow.  In a
    symmetric pass every row is both anchor and receiver.

    Attributes:
        tau: temperature, > 0.
        pairs: which pairs count.
        gaps: whether sums of p_ij (1 - s_ij) are wanted too.
        given: the anchors' totals.
    """

    tau: float
    pairs: PairSet = "all"
    gaps: bool = False
    given: SoftmaxTotals = from_earlier_pass()
    side = "columns"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, self.given.log_totals.shape[1] * (2 if self.gaps else 1)))

    def reduce_side(self, tile: Tile, of_rows: bool) -> NDArray[np.float64]:
        anchors = tile.cols if of_rows else tile.rows
        at = anchors if self.given.rows is None else np.searchsorted(self.given.rows, anchors)
        log_totals = self.given.log_totals[at]
        if tile.compiled is not None and tile.compiled.serves(self.tau):
            finite = np.isfinite(log_totals)
            exponents = np.minimum(np.where(finite, -log_totals, 0.0), tile.exponent_range + 25)
            of_anchors = np.where(finite, np.exp(exponents), 0.0).T
            return tile.compiled.received(self.tau, self.pairs, self.gaps, of_rows, of_anchors).T
        exponentials = tile.restricted(self.tau, self.pairs, columns=of_rows)
        level = np.broadcast_to(np.asarray(exponentials.shift) / self.tau, len(anchors))[:, None]
        valid = np.isfinite(log_totals)
        # more than this only where the tile holds no pair of the anchor
        exponents = np.minimum(level - np.where(valid, log_totals, 0.0), tile.exponent_range + 25)
        weights = tile.backend.vector(np.where(valid, np.exp(exponents), 0.0))
        parts = [exponentials.values]
        if self.gaps:
            parts.append(exponentials.values * tile.gaps())
        if of_rows:
            return np.concatenate([tile.dot(part, weights) for part in parts], axis=1)
        return np.concatenate([tile.dot(part, weights.T, False).T for part in parts], axis=1)
