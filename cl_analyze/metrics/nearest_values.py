"""Functions of each anchor's k nearest rows, with the deletion of each row.

`anchor_values` has the errors of values that hang on one nearest row.  Here a value is any function
of the k nearest, such as the ratio of two distances.  When one of them is deleted, those behind it
move up, and the function is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import AnchorValues, Function, is_first_of_unit
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.rank_effects import random_signs
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours

Vector = NDArray[np.float64]

_ANCHORS_AT_ONCE = 1 << 15


def first_left(is_left: NDArray[np.bool_], k: int) -> tuple[Index, Index]:
    """The first k columns of each row that are left; where fewer are left, the last one again.

    Args:
        is_left: (m, w) entries that are left.
        k: columns wanted.

    Returns:
        (m, k) columns, and (m,) number of entries that are left.

    >>> first_left(np.array([[True, False, True], [False, True, False]]), 2)[0].tolist()
    [[0, 2], [1, 1]]
    """
    n_left = is_left.sum(axis=1)
    order = np.argsort(~is_left, axis=1, kind="stable")
    places = np.minimum(np.arange(k), np.maximum(n_left[:, None] - 1, 0))
    return np.take_along_axis(order, places, axis=1), n_left


@dataclass(frozen=True)
class _Lists:
    """Lists of the nearest rows of some anchors.

    Attributes:
        values: (m, w) values, such as distances, nearest first.
        is_there: (m, w) entries that exist.
        units: (m, w) unit of each of these rows.
        own: (m,) unit of each anchor.
        n_others: rows beside the anchor.
    """

    values: Vector
    is_there: NDArray[np.bool_]
    units: Index
    own: Index
    n_others: int

    def current(self, function: Function, k: int) -> Vector:
        """(m,) the function of the k nearest; NaN where fewer exist."""
        columns, n_there = first_left(self.is_there, k)
        found = function(np.take_along_axis(self.values, columns, axis=1))
        return np.where(n_there < k, np.nan, found)

    def deletions(
        self, function: Function, k: int, has_value: NDArray[np.bool_]
    ) -> Iterator[tuple[Index, Index, Vector, NDArray[np.bool_]]]:
        """Anchors, the unit deleted, the function without it, and whether the value is lost."""
        for column in range(min(k, self.units.shape[1])):
            unit = self.units[:, column]
            acts = has_value & self.is_there[:, column] & (unit != self.own)
            at = np.flatnonzero(acts & is_first_of_unit(self.units, column))
            is_left = self.is_there[at] & (self.units[at] != unit[at, None])
            columns, n_left = first_left(is_left, k)
            is_whole = self.is_there[at].sum(axis=1) == self.n_others
            following = function(np.take_along_axis(self.values[at], columns, axis=1))
            yield at, unit[at], following, (n_left == 0) | (is_whole & (n_left < k))


@dataclass
class _Changes:
    """Sums over anchors, for each unit, of what its deletion changes.

    Attributes:
        signs: (units,) a random sign for each.
        gains, noise, lost: as in `AnchorValues`, for each unit.
        of_rows: sum of the squared changes of single anchors.
        pairs, changes: with groups, the pair of units of each change, and the change.
    """

    signs: Vector
    gains: Vector
    noise: Vector
    lost: Vector
    of_rows: float = 0.0
    pairs: list[Index] = field(default_factory=list)
    changes: list[Vector] = field(default_factory=list)

    @property
    def squares(self) -> float:
        """Sum over pairs of units of the squared change that one makes to the other's anchors."""
        if not self.pairs:
            return self.of_rows
        which, changes = np.concatenate(self.pairs), np.concatenate(self.changes)
        of_pairs = np.bincount(np.unique(which, return_inverse=True)[1], changes)
        return float(of_pairs @ of_pairs)

    def add(
        self,
        own: Index,
        deleted: Index,
        changes: tuple[Vector, Vector, Vector],
        are_groups: bool,
    ) -> None:
        """Add the changes of sums, the changes about the mean, and the values lost."""
        n_units = len(self.gains)
        of_sums, about_mean, lost = changes
        self.gains += np.bincount(deleted, of_sums, n_units)
        self.noise += np.bincount(deleted, about_mean * self.signs[own], n_units)
        self.lost += np.bincount(deleted, lost, n_units)
        if are_groups:
            self.pairs.append(own * n_units + deleted)
            self.changes.append(about_mean)
        else:
            self.of_rows += float(about_mean @ about_mean)


def of_nearest(
    function: Function,
    k: int,
    nearest: Neighbours,
    rows: Index,
    n_rows: int,
    groups: Index | None = None,
) -> AnchorValues:
    """A function of each anchor's k nearest rows, with the deletion of each row.

    Where a list ends before k are left, the last one stands for those that are missing.  An anchor
    without a value stays so, whichever row is deleted.

    Args:
        function: of (t, k) values, nearest first; NaN: the anchor takes no part.
        k: how many the function takes.
        nearest: (m, w) values and rows, nearest first; w > k, or all other rows.
        rows: (m,) row of each anchor.
        n_rows: N.
        groups: (N,) codes of rows that belong together; None: every row is a unit.

    Cost: O(m w k); memory of a block of anchors, with groups O(m k).
    """
    unit_of = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(unit_of).astype(np.float64)
    n_units = len(sizes)

    def lists() -> Iterator[tuple[slice, _Lists]]:
        for start in range(0, len(rows), _ANCHORS_AT_ONCE):
            part = slice(start, start + _ANCHORS_AT_ONCE)
            is_there = nearest.indices[part] != NO_NEIGHBOUR
            units = np.where(is_there, unit_of[np.maximum(nearest.indices[part], 0)], -1)
            own = unit_of[rows[part]]
            yield part, _Lists(nearest.values[part], is_there, units, own, n_rows - 1)

    values = np.full(len(rows), np.nan)
    for part, listed in lists():
        values[part] = listed.current(function, k)
    has_value = ~np.isnan(values)
    # an anchor that loses its value leaves the mean as if it had the mean's value
    mean = float(values[has_value].mean()) if has_value.any() else 0.0
    found = _Changes(random_signs(n_units), *np.zeros((3, n_units)))
    for part, listed in lists():
        for at, deleted, following, is_lost in listed.deletions(function, k, has_value[part]):
            of_sums = np.where(is_lost, 0.0, following) - values[part][at]
            lost = is_lost.astype(np.float64)
            changes = of_sums, of_sums + mean * lost, lost
            found.add(listed.own[at], deleted, changes, groups is not None)
    gains, lost, noise = (
        (sums / sizes)[unit_of] for sums in (found.gains, found.lost, found.noise)
    )
    return AnchorValues(values, gains, lost, noise, found.squares)


def half_effects(of_halves: Sequence[AnchorValues], mean: float, population: int) -> list[Vector]:
    """(N,) effect of each row's presence on the others' values, from halves of a sample of anchors.

    Args:
        of_halves: the values of the anchors of each half, with deletions.
        mean: of the values.
        population: number of all rows that have a value.
    """
    effects = []
    for half in of_halves:
        scale = population / max(int(np.isfinite(half.values).sum()), 1)
        effects.append(-scale * (half.gains + mean * half.lost))
    return effects
