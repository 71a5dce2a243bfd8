"""Jackknife of the penalty: the gain of the anchors' statistics when one row is deleted.

With r = r_ab the share of anchor a's penalty that falls on row b, deleting b changes a's

    entropy            by  r' (H + log r) + log(1 - r)      where r' = r / (1 - r)
    exp(entropy)       by  exp(H) ((1 - r) exp(r' (H + log r)) - 1)
    same-class share   by  r' (f - [a, b of one class])
    share of the top   by  r' T      (the rows in the top are corrected by the caller)

all exact.  A jackknife over rows needs the sums over a for each b; they require the anchors' masses
and entropies of an earlier pass.  Where one row carries more than half of an anchor's penalty,
1 - r would lose digits: such pairs are named in `skip` and left out here, and the caller computes
them from the mass that remains without the row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array, Index
from cl_analyze.pairs.engine import Reducer, from_earlier_pass
from cl_analyze.pairs.tile import PairSet, Tile

STATISTICS = ("entropy", "exp_entropy", "false_negative_share", "top1_share", "top10_share")


@dataclass(frozen=True)
class PenaltyGiven:
    """The anchors' penalty statistics from the first pass; (m,) arrays.

    Attributes:
        rows: (m,) which rows they are about, ascending; None: all.
        log_mass: log Z, minus infinity for rows that are no anchors.
        entropy: H in nats.
        false_negative_share: f, 0 for unlabelled rows.
        top1_share, top10_share: shares of the nearest and the ten nearest negatives.
        skip: the row that carries more than half of the anchor's penalty, -1 where none does.
    """

    rows: Index | None
    log_mass: NDArray[np.float64]
    entropy: NDArray[np.float64]
    false_negative_share: NDArray[np.float64]
    top1_share: NDArray[np.float64]
    top10_share: NDArray[np.float64]
    skip: Index


@dataclass(frozen=True)
class LeaveOneOut(Reducer):
    """Sums over anchors of the gains of their statistics when a row is deleted.

    Finalizes to (N, statistics).  In a rectangular pass rows are the anchors and the result is
    about the columns.

    Attributes:
        tau: temperature.
        pairs: which pairs are negatives.
        labelled: whether same-class shares are wanted (needs labels).
        given: the anchors' statistics.
        statistics: the columns of the result, of `STATISTICS`.
    """

    tau: float
    pairs: PairSet = "all"
    labelled: bool = False
    given: PenaltyGiven | None = from_earlier_pass()
    statistics: tuple[str, ...] = STATISTICS
    side = "columns"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros((n_rows, len(self.statistics)))

    def reduce_side(self, tile: Tile, of_rows: bool) -> NDArray[np.float64]:
        gains = self._gains(tile, of_rows)
        if self.statistics == STATISTICS:
            return gains
        return gains[:, [STATISTICS.index(name) for name in self.statistics]]

    def _gains(self, tile: Tile, of_rows: bool) -> NDArray[np.float64]:
        """(deleted, 5) gains of all statistics."""
        given = self.given
        if given is None:
            raise ValueError("LeaveOneOut needs the anchors' statistics")
        backend, xp = tile.backend, tile.backend.xp
        anchors, deleted = (tile.cols, tile.rows) if of_rows else (tile.rows, tile.cols)

        def spread(values: NDArray[np.float64]) -> Array:
            return tile.spread(values, not of_rows)

        at = anchors if given.rows is None else np.searchsorted(given.rows, anchors)
        log_mass = given.log_mass[at]
        valid = np.isfinite(log_mass)
        log_mass = np.where(valid, log_mass, 0.0)
        entropy = np.where(valid, given.entropy[at], 0.0)
        if tile.compiled is not None and tile.compiled.serves(self.tau):
            of_anchors = np.stack(
                [
                    np.where(valid, np.exp(-log_mass), 0.0),
                    entropy - log_mass,
                    np.where(valid, given.false_negative_share[at], 0.0),
                    np.where(valid, given.top1_share[at], 0.0),
                    np.where(valid, given.top10_share[at], 0.0),
                    np.exp(entropy),
                ]
            )
            skip = np.where(given.skip[at] >= deleted[0], given.skip[at] - deleted[0], -1)
            gains = tile.compiled.leave_one_out(
                self.tau, self.pairs, self.labelled, of_rows, of_anchors, skip
            )
            return gains.T
        exponentials = tile.exponentials(self.tau, columns=of_rows)
        share = backend.scratch("share", tile.shape)
        # more than this only where the tile holds no pair of the anchor
        level = np.minimum(exponentials.shift / self.tau - log_mass, tile.exponent_range + 25)
        scale = np.where(valid, np.exp(level), 0.0)
        share[...] = exponentials.values
        if self.pairs != "all":  # first: the scale is of the set, and beyond it may be infinite
            xp.multiply(share, tile.mask(self.pairs), out=share)
        xp.multiply(share, spread(scale), out=share)
        inside = np.flatnonzero((given.skip[at] >= deleted[0]) & (given.skip[at] <= deleted[-1]))
        partner = given.skip[at][inside] - deleted[0]
        at_rows, at_cols = (partner, inside) if of_rows else (inside, partner)
        backend.set_at(share, at_rows, at_cols, 0.0)

        rest = backend.complement(share, out=backend.scratch("rest", tile.shape))
        ratio = xp.divide(share, rest, out=share)
        gains = np.zeros((len(deleted), len(STATISTICS)))

        def weighted(matrix: Array, values: NDArray[np.float64]) -> NDArray[np.float64]:
            return tile.dot(matrix, backend.vector(np.where(valid, values, 0.0)), of_rows)

        gains[:, 3] = weighted(ratio, given.top1_share[at])
        gains[:, 4] = weighted(ratio, given.top10_share[at])
        if self.labelled:
            of_class = tile.sums(tile.product(ratio, tile.mask("same_class")), of_rows)
            gains[:, 2] = weighted(ratio, given.false_negative_share[at]) - of_class
        exponent = tile.product(tile.similarity, 1.0 / self.tau)
        xp.add(exponent, spread(entropy - log_mass), out=exponent)
        exponent = tile.product(exponent, ratio)
        gains[:, 0] = tile.sums(exponent, of_rows) + tile.sums(xp.log(rest, out=ratio), of_rows)
        growth = xp.exp(exponent, out=exponent)
        growth = tile.product(growth, rest)
        xp.subtract(growth, 1.0, out=growth)
        gains[:, 1] = weighted(growth, np.exp(entropy))
        return gains
