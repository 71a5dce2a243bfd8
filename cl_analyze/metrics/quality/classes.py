"""Class means and the distances of rows to them, for neural collapse, CDNV, NCC and silhouettes.

mu_c is the mean of class c, g the mean row.  Every number is a sum over rows of distances and
products of a row with all class means.  A few passes over the rows suffice, and nothing grows with
N^2.  g is subtracted from the rows first, because differences of near-equal squares would have no
digits left otherwise.

References: Papyan, Han & Donoho, PNAS 2020 (NC1 - NC4); Rousseeuw, J. Comput. Appl. Math. 1987
(silhouette).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.rows import FormRows, Index, Matrix, Vector

ROUNDING = 1e-26
"""Squared distances of class means under this share of the rows' squares are rounding."""
MOST_CLASSES = 4_096
"""Classes up to which every pair of them is looked at."""
MOST_FOR_ERRORS = 100_000_000
"""Rows x dimensions x classes up to which neural collapse and CDNV have error bars."""


@dataclass(frozen=True)
class ClassGeometry:
    """Rows of one form with their classes; classes without rows have gone.

    Attributes:
        rows: the rows.
        codes: (N,) classes 0..C-1, every one with rows, -1 where unlabelled.
        counts: (C,) rows of each.
        centre: (D,) mean of the labelled rows.
        means: (C, D) class means less the centre.
        largest: largest squared norm of a row less the centre.
    """

    rows: FormRows
    codes: Index
    counts: Index
    centre: Vector
    means: Matrix
    largest: float = 0.0

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.counts)

    @property
    def are_few(self) -> bool:
        """Whether every pair of classes is looked at."""
        return self.n_classes <= MOST_CLASSES

    def blocks(self) -> Iterator[tuple[Index, Index, Matrix]]:
        """Positions, classes and centred values of the labelled rows, block by block."""
        step = block_rows(max(self.rows.shape[1], self.n_classes))
        for span, block in self.rows.blocks(step):
            known = np.flatnonzero(self.codes[span] >= 0)
            if len(known):
                at = span.start + known
                yield at, self.codes[at], block[known] - self.centre

    @cached_property
    def mean_norms(self) -> Vector:
        """(C,) |mu_c - g|^2."""
        return np.asarray(np.square(self.means).sum(axis=1))

    @cached_property
    def floor(self) -> float:
        """Squared distances of class means at or under this are rounding."""
        size = float(self.centre @ self.centre) + float(self.mean_norms.max(initial=0.0))
        return ROUNDING * (size + self.largest)

    @cached_property
    def distances(self) -> Matrix:
        """(C, C) squared distances of class means; 0 where they agree to rounding."""
        out = np.array([np.square(self.means - mean).sum(axis=1) for mean in self.means])
        return np.where(out > self.floor, out, 0.0)


def class_geometry(rows: FormRows, codes: Index, n_classes: int) -> ClassGeometry:
    """Class means in two passes: sums, then their rounding errors."""
    dim = rows.shape[1]
    counts = np.bincount(codes[codes >= 0], minlength=n_classes).astype(np.int64)
    centre, means, largest = np.zeros(dim), np.zeros((n_classes, dim)), 0.0
    for _ in range(2):  # the second round adds the mean of the remainders, which is rounding
        sums, largest = np.zeros((n_classes, dim)), 0.0
        for _, own, block in ClassGeometry(rows, codes, counts, centre, means).blocks():
            largest = max(largest, float(np.square(block).sum(axis=1).max()))
            add_by_class(sums, own, block - means[own])
        means = means + sums / counts[:, None]
        shift = counts @ means / counts.sum()
        centre, means = centre + shift, means - shift
    return ClassGeometry(rows, codes, counts, centre, means, largest)


def add_by_class(sums: Matrix, codes: Index, values: Matrix) -> None:
    """sums[c] += the values of class c, summed over sorted rows."""
    order = np.argsort(codes, kind="stable")
    present, first = np.unique(codes[order], return_index=True)
    sums[present] += np.add.reduceat(values[order], first, axis=0)


@dataclass(frozen=True)
class Structure:
    """Sums over the rows of one form, with the class means known.

    Attributes:
        geometry: of these rows.
        variances: (C,) mean squared distance of a class's rows from its mean.
        within_over_between: tr(Sw pinv(Sb)) / C for the centre g and for the mean of class means;
            None where class means do not differ.
        along: (C, C) mean square of (x - mu_c) . (mu_c' - mu_c), x of class c; None where classes
            are too many.
        nearest: (N,) class whose mean is nearest, the row's own mean taken without the row; -1
            where unlabelled.
        silhouettes: (N,) silhouettes from squared distances, NaN where unlabelled or C = 1.
        silhouette_effects: (N,) how much each row's presence adds to the sum of the others.
    """

    geometry: ClassGeometry
    variances: Vector
    within_over_between: tuple[float, ...] | None
    along: Matrix | None
    nearest: Index
    silhouettes: Vector
    silhouette_effects: Vector


def class_structure(geometry: ClassGeometry, by_row: bool = True) -> Structure:
    """Two more passes over the rows, and two for the silhouette's errors.

    Args:
        geometry: rows, classes and class means.
        by_row: whether nearest means and silhouettes are wanted too.
    """
    n_rows, n_classes = geometry.rows.shape[0], geometry.n_classes
    counts, means = geometry.counts, geometry.means
    frames = [_frame(geometry, g) for g in (np.zeros(means.shape[1]), means.mean(axis=0))]
    projected = [np.zeros(frame.shape[1]) for frame, _ in frames]
    along = np.zeros((n_classes, n_classes)) if geometry.are_few else None
    nearest, other_class = np.full((2, n_rows), -1, dtype=np.int64)
    own_mean, other_mean = np.full((2, n_rows), np.nan)
    spread = np.zeros(n_classes)
    for _, own, block in geometry.blocks():
        np.add.at(spread, own, np.square(block - means[own]).sum(axis=1))
    for at, own, block in geometry.blocks():
        left = block - means[own]
        from_own = np.square(left).sum(axis=1)
        for total, (frame, _) in zip(projected, frames, strict=True):
            total += np.square(left @ frame).sum(axis=0)
        if along is not None:
            toward = left @ means.T
            toward -= np.einsum("ij,ij->i", left, means[own])[:, None]
            add_by_class(along, own, np.square(toward))
        if not by_row:
            continue
        squares = np.square(block).sum(axis=1)
        from_means = np.maximum(squares[:, None] - 2.0 * block @ means.T + geometry.mean_norms, 0.0)
        mine = np.arange(len(own)), own
        n_own = counts[own].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = n_own == 1
            without = np.where(alone, np.inf, from_own * (n_own / (n_own - 1)) ** 2)
            from_means[mine] = without
            nearest[at] = _first_least(from_means)
            # mean squared distance to a class = distance to its mean + the class's variance
            to_classes = from_means + spread / counts
            to_classes[mine] = np.inf
            own_mean[at] = np.where(alone, np.nan, (n_own * from_own + spread[own]) / (n_own - 1))
        if n_classes > 1:
            other_class[at] = _first_least(to_classes)
            other_mean[at] = to_classes.min(axis=1)
    silhouettes, effects = np.full(n_rows, np.nan), np.zeros(n_rows)
    if by_row and n_classes > 1:
        silhouettes, effects = _silhouettes(geometry, own_mean, other_mean, other_class)
    ratios = None
    if all(len(values) for _, values in frames):
        n = int(counts.sum())
        ratios = tuple(
            float((total / n / values**2).sum())
            for total, (_, values) in zip(projected, frames, strict=True)
        )
    along = None if along is None else along / counts[:, None]
    return Structure(geometry, spread / counts, ratios, along, nearest, silhouettes, effects)


def _frame(geometry: ClassGeometry, centre: Vector) -> tuple[Matrix, Vector]:
    """Directions and singular values of the class means less a centre, its null space cut off.

    Sb = M'M / C has at most C - 1 directions; directions below rounding are not inverted.
    """
    left_over = geometry.means - centre
    _, values, directions = np.linalg.svd(left_over, full_matrices=False)
    eps = float(np.finfo(np.float64).eps)
    largest = math.sqrt(float(geometry.mean_norms.max(initial=0.0)))
    floor = max(values[0] if len(values) else 0.0, largest) * max(left_over.shape) * eps
    kept = np.flatnonzero(values > floor)[: max(geometry.n_classes - 1, 0)]
    kept = kept[values[kept] > 1e-150]
    return directions[kept].T, values[kept]


def _first_least(values: Matrix) -> Index:
    """Column of each row's least value; of values that agree to rounding, the first column."""
    least = values.min(axis=1, keepdims=True)
    return np.asarray((values <= least + 1e-12 * np.abs(least)).argmax(axis=1), dtype=np.int64)


def _silhouettes(
    geometry: ClassGeometry, a: Vector, b: Vector, other_class: Index
) -> tuple[Vector, Vector]:
    """Silhouettes, and each row's effect on the others' through their mean distances a and b.

    Args:
        geometry: of two classes or more.
        a, b: (N,) mean squared distances to the row's own class and to the nearest other class.
        other_class: (N,) that class.
    """
    codes, counts = geometry.codes, geometry.counts
    labelled = codes >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.maximum(a, b)
        values = np.where(largest > 0, (b - a) / largest, 0.0)
        for_a = np.where(a < b, -1.0 / b, -b / a**2)
        for_b = np.where(a < b, a / b**2, 1.0 / a)
    alone = labelled & np.isnan(a)  # the only member of its class scores 0 (Rousseeuw)
    values = np.where(alone, 0.0, np.where(labelled, values, np.nan))
    used = labelled & ~alone & (largest > 0)
    own = np.where(labelled, codes, 0)
    weight_a = np.where(used, for_a / np.maximum(counts[own] - 1, 1), 0.0)
    weight_b = np.where(used, for_b / counts[np.maximum(other_class, 0)], 0.0)
    # sums over anchors of weight x (|x|^2, x, 1, mean distance), by the class they look at
    totals, vectors = np.zeros((geometry.n_classes, 3)), np.zeros(geometry.means.shape)
    for at, mine, block in geometry.blocks():
        squares = np.square(block).sum(axis=1)
        for weight, mean, looked_at in (
            (weight_a[at], a[at], mine),
            (weight_b[at], b[at], other_class[at]),
        ):
            acts = weight != 0
            columns = np.column_stack([weight * squares, weight, weight * np.nan_to_num(mean)])
            if acts.any():
                add_by_class(totals, looked_at[acts], columns[acts])
                add_by_class(vectors, looked_at[acts], (weight[:, None] * block)[acts])
    effects = np.zeros(len(codes))
    for at, mine, block in geometry.blocks():
        squares = np.square(block).sum(axis=1)
        effects[at] = (
            totals[mine, 0]
            - 2.0 * np.einsum("ij,ij->i", vectors[mine], block)
            + totals[mine, 1] * squares
            - totals[mine, 2]
            + weight_a[at] * np.nan_to_num(a[at])  # a row is not its own neighbour
        )
    return values, effects


@dataclass(frozen=True)
class Structures:
    """Class structure of one form of the rows.

    Attributes:
        whole: of all labelled rows.
        without: of the rows without each group of the jackknife; empty where that costs too much.
    """

    whole: Structure
    without: tuple[Structure, ...]


def structures(context: Context) -> dict[str, Structures]:
    """Form -> class structure: six passes over the rows, four for each group of the jackknife."""
    codes, n_classes = context.codes, len(context.labels.names)
    is_cheap = context.subject.n * context.subject.d * n_classes <= MOST_FOR_ERRORS
    groups = context.deletion_groups
    results: dict[str, Structures] = {}
    for form in context.forms:
        context.runner.announce(f"class structure, {form.form} rows")
        whole = class_structure(class_geometry(form, codes, n_classes))
        without = []
        for group in np.unique(groups) if is_cheap else ():
            left = (groups != group) & (codes >= 0)
            present, recoded = np.unique(codes[left], return_inverse=True)
            if len(present):
                kept = np.full(len(codes), -1)
                kept[left] = recoded
                geometry = class_geometry(form, kept, len(present))
                without.append(class_structure(geometry, by_row=False))
        results[form.form] = Structures(whole, tuple(without))
    return results
