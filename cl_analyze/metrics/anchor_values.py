"""Means over anchors of what their nearest negatives are, with errors free of pairwise noise.

A row takes part in such a mean twice: as an anchor, and as a near negative of other anchors.  The
jackknife deletes the row in both roles.  Let E_ij be what the presence of row j changes at anchor
i.  The variance of the pseudo-values has the square of sum_i E_ij in it, and with it every E_ij
squared.  These squares are the interaction of two rows.  The anchor's own value has the interaction
already, so the jackknife counts it twice.  With few neighbours it is most of the variance:

    variance = (sum_j (p_j - mean)^2 - sum_ij E_ij^2) / (N (N - 1))

and at least the variance of the anchors' own values.  docs/error-bars.md shows both forms.

With groups of rows that belong together (`--groups`) the groups are the units: a group is deleted
whole, and what it does to its own anchors does not count, for they are deleted too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.means import Number
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.rank_effects import random_signs
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours
from cl_analyze.results.stats import pseudo_values, standard_error

Vector = NDArray[np.float64]

LOST = -1
"""In `Deletions.next_one`: no negative is left."""


@dataclass(frozen=True)
class AnchorValues:
    """Values of anchors, and what the deletion of each row changes at other anchors.

    Attributes:
        values: (m,) the anchors' values, NaN where a row is no anchor.
        gains: (N,) change of the sum of the values when the row is deleted as a negative; with
            groups, an equal part of the change that the deletion of its group makes.
        lost: (N,) number of anchors that lose their value when the row is deleted.
        noise: (N,) the gains with a random sign for each anchor: how noisy they are.
        squares: sum of the squared changes of single anchors by single rows (or groups).
    """

    values: Vector
    gains: Vector
    lost: Vector
    noise: Vector
    squares: float = 0.0

    def count_without(self) -> Vector:
        """(N,) number of anchors that have a value without each row."""
        is_anchor = ~np.isnan(self.values)
        count: Vector = is_anchor.sum() - is_anchor - self.lost
        return count

    def mean_without(self) -> Vector:
        """(N,) mean without each row, deleted as anchor and as negative; NaN: no anchor is left."""
        filled = np.where(np.isnan(self.values), 0.0, self.values)
        count = self.count_without()
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (filled.sum() - filled + self.gains) / count
        return np.where(count > 0, without, np.nan)

    def number(self, value: float, without: Vector, groups: Index | None) -> Number:
        """A statistic of the values with its error.

        Args:
            value: the statistic.
            without: (N,) the statistic without each row.
            groups: (N,) codes of rows that belong together.
        """
        is_anchor = ~np.isnan(self.values)
        n = int(is_anchor.sum())
        if len(self.values) <= 3 or n < 2:
            return Number(value, None, n)
        pseudo = pseudo_values(value, without)
        error = standard_error(pseudo, groups)
        own = standard_error(self.values, groups)
        if error is None or own is None or not self.squares:
            return Number(value, error, n, pseudo)
        taking_part = np.isfinite(pseudo)
        n_units = len(np.unique(groups[taking_part])) if groups is not None else taking_part.sum()
        twice = n_units / (n_units - 1) * self.squares / n**2
        error = max(math.sqrt(max(error**2 - twice, 0.0)), own)
        return Number(value, error, n, pseudo, None, taking_part.sum() / n * self.noise)

    def mean(self, groups: Index | None) -> Number:
        """The mean of the values with its error."""
        present = self.values[~np.isnan(self.values)]
        return self.number(float(present.mean()), self.mean_without(), groups)

    def of_mean(
        self, function: Callable[[Any, Any], Any], slope: float, groups: Index | None
    ) -> Number:
        """A smooth function of the mean and of the number of anchors, with its error.

        Args:
            function: of means and of numbers of anchors.
            slope: derivative of the function by the mean.
            groups: (N,) codes of rows that belong together.
        """
        present = self.values[~np.isnan(self.values)]
        value = float(function(float(present.mean()), len(present)))
        without = function(self.mean_without(), self.count_without())
        linear = replace(
            self,
            values=slope * self.values,
            gains=slope * self.gains,
            noise=slope * self.noise,
            squares=slope**2 * self.squares,
        )
        number = linear.number(value, without, groups)
        return number if number.std_error is not None else Number(value, None, number.n)


@dataclass(frozen=True)
class Deletions:
    """For one rank: which rows (or groups) an anchor's negative of that rank hangs on.

    Attributes:
        rank: of the negative, from 0.
        anchors: (t,) position of the anchor.
        units: (t,) row, or group, whose deletion gives the anchor another negative of this rank.
        next_one: (t,) rank of that other negative; `LOST`: none is left.
        rows_of: (t,) row of each anchor.
        unit_of: (N,) unit of each row: the row itself, or its group.
        sizes: (units,) rows of each unit.
        signs: (units,) a random sign for each unit.
    """

    rank: int
    anchors: Index
    units: Index
    next_one: Index
    rows_of: Index
    unit_of: Index
    sizes: Vector
    signs: Vector
    _by_pair: tuple[Index, int] | None = field(default=None, repr=False)

    @property
    def width(self) -> int:
        """Nearest negatives of each anchor that matter."""
        return max(self.rank, int(self.next_one.max(initial=0))) + 1

    def of(self, entries: Vector, missing: NDArray[np.bool_]) -> AnchorValues:
        """The anchors' values, from what each of their nearest negatives counts.

        Args:
            entries: (m, k) what the negatives of each anchor count, nearest first.
            missing: (m, k) where an anchor has no such negative.
        """
        n_units = len(self.sizes)
        current = entries[:, self.rank]
        values = np.where(missing[:, self.rank], np.nan, current)
        is_lost = self.next_one == LOST
        following = entries[self.anchors, np.where(is_lost, 0, self.next_one)]
        change_of_sum = np.where(is_lost, 0.0, following) - current[self.anchors]
        change_of_sum = np.where(np.isnan(values[self.anchors]), 0.0, change_of_sum)
        # an anchor that loses its value leaves the mean as if it had the mean's value
        mean = float(np.nanmean(values)) if is_lost.any() else 0.0
        is_lost = is_lost & ~np.isnan(values[self.anchors])
        changes = change_of_sum + mean * is_lost
        signed = changes * self.signs[self.unit_of[self.rows_of[self.anchors]]]
        gains, noise, lost = (
            np.bincount(self.units, weights, n_units) / self.sizes
            for weights in (change_of_sum, signed, is_lost.astype(np.float64))
        )
        of_pairs: Vector = changes
        if self._by_pair is not None:
            which, n_pairs = self._by_pair
            of_pairs = np.bincount(which, changes, n_pairs).astype(np.float64)
        return AnchorValues(
            values,
            gains[self.unit_of],
            lost[self.unit_of],
            noise[self.unit_of],
            float(of_pairs @ of_pairs),
        )


def deletions(
    neighbours: Neighbours,
    rank: int,
    rows: Index,
    n_rows: int,
    groups: Index | None = None,
    are_fixed: bool = False,
) -> Deletions:
    """Which deletions change each anchor's negative of a rank, counted from 0.

    When the negative or a nearer one is deleted, the next negative takes its rank; where the list
    ends before, the last one does.

    Args:
        neighbours: (m, k) nearest negatives of the anchors; k > rank + 1.
        rank: of the negative.
        rows: (m,) row of each anchor.
        n_rows: N.
        groups: (N,) codes of rows that belong together; None: every row is a unit.
        are_fixed: whether negatives are other items than rows, which nobody deletes.
    """
    indices = neighbours.indices
    has_value = indices[:, rank] != NO_NEIGHBOUR
    if are_fixed:
        unit_of = np.arange(n_rows)
        anchors = units = next_one = np.zeros(0, dtype=np.int64)
        by_pair = None
    elif groups is None:
        unit_of = np.arange(n_rows)
        anchors = np.repeat(np.flatnonzero(has_value), rank + 1)
        units = indices[has_value, : rank + 1].ravel()
        last = indices[:, rank + 1] == NO_NEIGHBOUR
        next_one = np.where(last, LOST, rank + 1)[anchors]
        by_pair = None
    else:
        unit_of = np.unique(groups, return_inverse=True)[1]
        anchors, units, next_one = _group_deletions(indices, rank, unit_of[rows], unit_of)
        pairs, by_pair_index = np.unique(
            unit_of[rows[anchors]] * (int(unit_of.max()) + 1) + units, return_inverse=True
        )
        by_pair = by_pair_index, len(pairs)
    sizes = np.bincount(unit_of, minlength=int(unit_of.max()) + 1).astype(np.float64)
    signs = random_signs(len(sizes))
    return Deletions(rank, anchors, units, next_one, rows, unit_of, sizes, signs, by_pair)


def _group_deletions(
    indices: Index, rank: int, own: Index, unit_of: Index
) -> tuple[Index, Index, Index]:
    """Anchors, groups of other rows among their nearest, and the rank of what comes after them."""
    is_there = indices != NO_NEIGHBOUR
    unit = np.where(is_there, unit_of[np.maximum(indices, 0)], -1)
    has_value, is_whole = is_there[:, rank], ~is_there[:, -1]
    parts = []
    for column in range(rank + 1):
        group = unit[:, column]
        at = np.flatnonzero(has_value & is_first_of_unit(unit, column) & (group != own))
        stays = is_there[at] & (unit[at] != group[at, None])
        left = np.cumsum(stays, axis=1)
        reached = left[:, -1] > rank
        last_one = indices.shape[1] - 1 - np.argmax(stays[:, ::-1], axis=1)
        place = np.where(reached, np.argmax(left > rank, axis=1), last_one)
        gone = ~reached & (is_whole[at] | (left[:, -1] == 0))
        parts.append((at, group[at], np.where(gone, LOST, place)))
    anchors, units, next_one = (np.concatenate(part) for part in zip(*parts, strict=True))
    return anchors, units, next_one


def is_first_of_unit(unit: Index, column: int) -> NDArray[np.bool_]:
    """(m,) whether the unit of a column stands in no column before."""
    return np.asarray((unit[:, :column] != unit[:, column : column + 1]).all(axis=1))


Function = Callable[[Vector], Vector]


def nth_neighbour(deleted: Deletions, neighbours: Neighbours, function: Function) -> AnchorValues:
    """f(similarity of the nearest negative of a rank), with the deletion of each row."""
    similarity = neighbours.values[:, : deleted.width]
    missing = np.isneginf(similarity)
    return deleted.of(function(np.where(missing, 0.0, similarity)), missing)


def of_anchors(neighbours: Neighbours, rows: Index) -> Neighbours:
    """The neighbours of some anchors."""
    return Neighbours(neighbours.values[rows], neighbours.indices[rows])


def own_values(values: Vector) -> AnchorValues:
    """Values of anchors that no other row changes."""
    zero = np.zeros(len(values))
    return AnchorValues(values, zero, zero, zero)
