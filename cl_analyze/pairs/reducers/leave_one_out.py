"""What every anchor's penalty statistics gain when one row is deleted, summed over the anchors.

With r = r_ab the share of anchor a's penalty that falls on row b, deleting b changes a's

    entropy            by  r' (H + log r) + log(1 - r)      where r' = r / (1 - r)
    exp(entropy)       by  exp(H) ((1 - r) exp(r' (H + log r)) - 1)
    same-class share   by  r' (f - [a, b of one class])
    share of the top   by  r' T      (the rows in the top are corrected by the caller)

all exact.  The sums over a for each b are what a jackknife over rows needs; they require the
anchors' masses and entropies of an earlier pass.  Where one row carries more than half of an
anchor's penalty, 1 - r would be a difference of near-equals: such pairs are named in `skip`, left
out here, and handled by the caller from the mass that remains without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import shared_exponential_order
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
class LeaveOneOut:
    """Sums over anchors of what their statistics gain when a row is deleted.

    Finalizes to (N, 5), columns as in `STATISTICS`.  In a rectangular pass rows are the anchors
    and the result is about the columns.

    Attributes:
        tau: temperature.
        pairs: which pairs are negatives.
        labelled: whether same-class shares are wanted (needs labels).
        given: the anchors' statistics.
    """

    tau: float
    pairs: PairSet = "all"
    labelled: bool = False
    given: PenaltyGiven | None = field(default=None, compare=False, repr=False)
    side = "columns"

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Beside the other reducers of the same temperature."""
        return shared_exponential_order(self.tau)

    def bound(self, state: NDArray[np.float64]) -> None:
        """Every pair matters."""
        return

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """Nothing gained."""
        return np.zeros((n_rows, len(STATISTICS)))

    def merge(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums add."""
        return a + b

    def finalize(self, states: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """(N, 5) sums."""
        return np.concatenate(states)

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
        """Rows as anchors and columns deleted; off the diagonal of a symmetric pass, both ways."""
        for_cols = self._gains(tile, anchors_are_rows=True)
        return (self._gains(tile, anchors_are_rows=False) if tile.both_sides else None), for_cols

    def _gains(self, tile: Tile, anchors_are_rows: bool) -> NDArray[np.float64]:
        given = self.given
        if given is None:
            raise ValueError("LeaveOneOut needs the anchors' statistics")
        backend, xp = tile.backend, tile.backend.xp
        anchors, deleted = (tile.rows, tile.cols) if anchors_are_rows else (tile.cols, tile.rows)

        def spread(values: NDArray[np.float64]) -> object:
            vector = backend.vector(values)
            return vector[:, None] if anchors_are_rows else vector[None, :]

        dot = backend.col_dot if anchors_are_rows else backend.row_dot
        total = tile.col_sums if anchors_are_rows else tile.row_sums

        at = anchors if given.rows is None else np.searchsorted(given.rows, anchors)
        log_mass = given.log_mass[at]
        valid = np.isfinite(log_mass)
        log_mass = np.where(valid, log_mass, 0.0)
        entropy = np.where(valid, given.entropy[at], 0.0)
        found = tile.exponentials(self.tau, columns=not anchors_are_rows)
        share = backend.scratch("share", tile.shape)
        scale = np.where(valid, np.exp(found.shift / self.tau - log_mass), 0.0)
        backend.multiply(found.values, spread(scale), out=share)
        if self.pairs != "all":
            backend.multiply(share, tile.mask(self.pairs), out=share)
        inside = np.flatnonzero((given.skip[at] >= deleted[0]) & (given.skip[at] <= deleted[-1]))
        partner = given.skip[at][inside] - deleted[0]
        at_rows, at_cols = (inside, partner) if anchors_are_rows else (partner, inside)
        backend.set_at(share, at_rows, at_cols, 0.0)

        rest = backend.scratch("rest", tile.shape)
        backend.complement(share, out=rest)
        ratio = xp.divide(share, rest, out=share)
        gains = np.zeros((len(deleted), len(STATISTICS)))

        def weighted(matrix: object, values: NDArray[np.float64]) -> NDArray[np.float64]:
            return backend.to_host(dot(matrix, backend.vector(np.where(valid, values, 0.0))))

        gains[:, 3] = weighted(ratio, given.top1_share[at])
        gains[:, 4] = weighted(ratio, given.top10_share[at])
        if self.labelled:
            gains[:, 2] = weighted(ratio, given.false_negative_share[at]) - total(
                tile.product(ratio, tile.mask("same_class"))
            )
        exponent = tile.product(tile.similarity, 1.0 / self.tau)
        xp.add(exponent, spread(entropy - log_mass), out=exponent)
        exponent = tile.product(exponent, ratio)
        gains[:, 0] = total(exponent) + total(xp.log(rest, out=ratio))
        growth = xp.exp(exponent, out=exponent)
        growth = tile.product(growth, rest)
        xp.subtract(growth, 1.0, out=growth)
        gains[:, 1] = weighted(growth, np.exp(entropy))
        return gains
