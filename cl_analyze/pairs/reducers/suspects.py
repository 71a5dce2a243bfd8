"""Negatives that are nearer than a part of their anchor's positive: counts, and their penalty.

Few entries of a tile reach their anchor's limit as a rule: they are picked by one comparison an
entry, and the rest costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Entries, Index
from cl_analyze.pairs.engine import Reducer, State, from_earlier_pass
from cl_analyze.pairs.tile import PairSet, Tile

Vector = NDArray[np.float64]


def _entries(
    tile: Tile, pairs: PairSet, limits: Vector, of_rows: bool, of_columns: bool
) -> tuple[Entries | None, Entries | None]:
    """Entries at or above the limit of their anchor: of anchors in the rows, and in the columns.

    Args:
        tile: the tile.
        pairs: which pairs count.
        limits: (N,) limit of each anchor; infinite where one has none.
        of_rows, of_columns: whether the rows, and the columns, are anchors.
    """
    similarity = tile.selected(pairs)
    dtype = tile.backend.dtype
    rows = np.maximum(limits[tile.rows], -2.0).astype(dtype)
    cols = np.maximum(limits[tile.cols], -2.0).astype(dtype) if of_columns else None
    found = tile.backend.entries_at_least(similarity, rows, cols)
    return found[0] if of_rows else None, found[1]


@dataclass(frozen=True)
class SuspectCounts(Reducer):
    """Per anchor: negatives above each of some limits, and sums of exp((s - 1) / tau) above one.

    Finalizes to (N, 3 limits + taus): for each limit all such negatives, those of the anchor's
    class, and labelled ones of other classes; then the sums above the limit number `chosen`.

    Attributes:
        n_limits: limits of each anchor.
        chosen: number of the limit for the sums.
        taus: temperatures of the sums.
        pairs: which pairs are negatives.
        limits: (N, n_limits) similarities; infinite for rows that are no anchors.
    """

    n_limits: int
    chosen: int
    taus: tuple[float, ...] = ()
    pairs: PairSet = "all"
    limits: Vector = from_earlier_pass()

    def identity(self, n_rows: int) -> State:
        return np.zeros((n_rows, 3 * self.n_limits + len(self.taus)))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        lowest = self.limits.min(axis=1)
        of_rows, of_columns = _entries(tile, self.pairs, lowest, True, tile.both_sides)
        rows, cols = (tile.rows, tile.row_labels), (tile.cols, tile.col_labels)
        assert of_rows is not None
        return (
            self._summed(of_rows, *rows, tile.col_labels),
            None if of_columns is None else self._summed(of_columns, *cols, tile.row_labels),
        )

    def _summed(
        self, entries: Entries, anchors: Index, codes: Index | None, others: Index | None
    ) -> Vector:
        owner, partner, values = entries
        own, n = values.astype(np.float64), len(anchors)
        same = other = np.zeros(len(owner), bool)
        if codes is not None and others is not None:
            mine, theirs = codes[owner], others[partner]
            both = (mine >= 0) & (theirs >= 0)
            same, other = both & (mine == theirs), both & (mine != theirs)
        columns = []
        limits = self.limits[anchors]
        for limit in range(self.n_limits):
            above = own > limits[owner, limit]
            columns += [np.bincount(owner[above & k], minlength=n) for k in (above, same, other)]
        above = own > limits[owner, self.chosen]
        for tau in self.taus:
            columns.append(np.bincount(owner[above], np.exp((own[above] - 1.0) / tau), n))
        return np.stack(columns, axis=1).astype(np.float64)


@dataclass(frozen=True)
class SuspectedBy(Reducer):
    """Per row: other rows that suspect it, those of its class and labelled ones of other classes.

    Finalizes to (N, 2 limits).  A row is suspected by another above the other row's limit.

    Attributes:
        n_limits: limits of each row.
        pairs: which pairs are negatives.
        limits: (N, n_limits) similarities; infinite for rows that suspect nobody.
    """

    n_limits: int
    pairs: PairSet = "all"
    limits: Vector = from_earlier_pass()

    def identity(self, n_rows: int) -> State:
        return np.zeros((n_rows, 2 * self.n_limits))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        lowest = self.limits.min(axis=1)
        by_rows, by_columns = _entries(tile, self.pairs, lowest, tile.both_sides, True)
        rows, cols = (tile.rows, tile.row_labels), (tile.cols, tile.col_labels)
        assert by_columns is not None
        return (
            self._counted(by_columns, *cols, tile.row_labels, len(tile.rows)),
            None
            if by_rows is None
            else self._counted(by_rows, *rows, tile.col_labels, len(cols[0])),
        )

    def _counted(
        self, entries: Entries, others: Index, codes: Index | None, own: Index | None, n: int
    ) -> Vector:
        other, row, values = entries
        columns = np.zeros((n, 2 * self.n_limits))
        if codes is None or own is None:
            return columns
        theirs, mine = codes[other], own[row]
        both = (theirs >= 0) & (mine >= 0)
        limits, exact = self.limits[others], values.astype(np.float64)
        for limit in range(self.n_limits):
            above = both & (exact > limits[other, limit])
            for place, which in enumerate((theirs == mine, theirs != mine)):
                columns[:, 2 * limit + place] = np.bincount(row[above & which], minlength=n)
        return columns


@dataclass(frozen=True)
class SuspectGiven:
    """The anchors of `SuspectReceived`; (m,) arrays.

    Attributes:
        rows: (m,) which rows they are, ascending; None: all.
        limits: (N,) similarity above which a negative of a row is a suspect.
        log_masses: (m, taus) log Z of each anchor; not finite where it is left out.
    """

    rows: Index | None
    limits: Vector
    log_masses: Vector


@dataclass(frozen=True)
class SuspectReceived(Reducer):
    """For each column j: sum over anchors i that suspect it of exp(s_ij / tau - log Z_i).

    Finalizes to (N, taus).  In a symmetric pass every row is both anchor and receiver.

    Attributes:
        taus: temperatures.
        pairs: which pairs are negatives.
        given: the anchors' limits and masses.
    """

    taus: tuple[float, ...]
    pairs: PairSet = "all"
    given: SuspectGiven = from_earlier_pass()
    side = "columns"

    def identity(self, n_rows: int) -> State:
        return np.zeros((n_rows, len(self.taus)))

    def reduce(self, tile: Tile) -> tuple[State, State]:
        limits = self.given.limits
        of_rows, of_columns = _entries(tile, self.pairs, limits, True, tile.both_sides)
        assert of_rows is not None
        for_columns = self._received(of_rows, tile.rows, len(tile.cols))
        if of_columns is None:
            return None, for_columns
        return self._received(of_columns, tile.cols, len(tile.rows)), for_columns

    def _received(self, entries: Entries, anchors: Index, n: int) -> Vector:
        owner, partner, values = entries
        given, own = self.given, values.astype(np.float64)
        at = anchors if given.rows is None else np.searchsorted(given.rows, anchors)
        above = own > given.limits[anchors][owner]
        owner, partner, own = owner[above], partner[above], own[above]
        log_masses = given.log_masses[at][owner]
        columns = []
        for column, tau in enumerate(self.taus):
            exponents = np.minimum(own / tau - log_masses[:, column], 1.0)
            weights = np.where(np.isfinite(log_masses[:, column]), np.exp(exponents), 0.0)
            columns.append(np.bincount(partner, weights, n))
        return np.stack(columns, axis=1)
