"""What each row receives from the softmaxes of the others.

With p_ij = exp(s_ij / tau - log Z_i) the weight that anchor i puts on row j, the sum over anchors
of p_ij is the repulsion that row j receives, and the derivative of the sum of log Z_i with respect
to how often row j is there: its influence on a loss beyond its own term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import shared_exponential_order
from cl_analyze.pairs.tile import PairSet, Tile


@dataclass(frozen=True)
class SoftmaxTotals:
    """What the anchors' weights are relative to.

    Attributes:
        rows: (m,) which rows the anchors are, ascending; None: all.
        log_totals: (m, k) log Z of each anchor, in k versions; infinite where it has none.
    """

    rows: Index | None
    log_totals: NDArray[np.float64]


@dataclass(frozen=True)
class SoftmaxReceived:
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
    given: SoftmaxTotals = field(
        default_factory=lambda: SoftmaxTotals(None, np.zeros((0, 1))), compare=False, repr=False
    )
    side = "columns"

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Beside the other reducers of the same temperature."""
        return shared_exponential_order(self.tau)

    def bound(self, state: NDArray[np.float64]) -> None:
        """Every pair matters."""
        return

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Nothing received."""
        return np.zeros((n_rows, self.given.log_totals.shape[1] * (2 if self.gaps else 1)))

    def merge(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums add."""
        return a + b

    def finalize(self, states: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Sums of all columns."""
        return np.concatenate(states)

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """What the columns receive from the rows; off the diagonal of a symmetric pass, both."""
        for_cols = self._received(tile, anchors_are_rows=True)
        return (self._received(tile, False) if tile.both_sides else None), for_cols

    def _received(self, tile: Tile, anchors_are_rows: bool) -> NDArray[np.float64]:
        backend = tile.backend
        anchors = tile.rows if anchors_are_rows else tile.cols
        at = anchors if self.given.rows is None else np.searchsorted(self.given.rows, anchors)
        log_totals = self.given.log_totals[at]
        found = tile.restricted(self.tau, self.pairs, columns=not anchors_are_rows)
        level = np.broadcast_to(np.asarray(found.shift) / self.tau, len(anchors))[:, None]
        valid = np.isfinite(log_totals)
        # more than this only where the tile holds no pair of the anchor
        exponents = np.minimum(level - np.where(valid, log_totals, 0.0), tile.exponent_range + 25)
        weights = backend.vector(np.where(valid, np.exp(exponents), 0.0))
        parts = [found.values]
        if self.gaps:
            parts.append(found.values * tile.gaps())
        dot = backend.col_dot if anchors_are_rows else backend.row_dot
        sums = [
            backend.to_host(dot(part, weights.T if anchors_are_rows else weights)) for part in parts
        ]
        return np.concatenate([part.T if anchors_are_rows else part for part in sums], axis=1)
