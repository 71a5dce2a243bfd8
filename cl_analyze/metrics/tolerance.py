"""Tolerance: mean similarity of pairs of one class, and of pairs of different classes.

Wang & Liu, CVPR 2021, eq. 11 and Table 1.  With S_c the sum of the unit rows of class c, the sum of
similarities over the pairs of the class is |S_c|^2 minus the self pairs.  So every value of this
module is exact in O(N D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.stats import pseudo_values, standard_error
from cl_analyze.results.tables import Cell, Table

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ClassSums:
    """Sums of similarities by class and by row, from the sums S_c of unit rows.

    Attributes:
        counts: (C,) number of members n_c.
        within: (C,) |S_c|^2 - sum |x|^2: sum of similarities over ordered pairs i != j of a class.
        own: (N,) sum of s_ij over the other members j of the row's class; NaN for unlabelled rows.
        other: (N,) sum of s_ij over the rows j of other classes; NaN for unlabelled rows.
        to_others: (C,) S_c . (S - S_c): sum of similarities of a class with all other classes.
    """

    counts: NDArray[np.int64]
    within: Vector
    own: Vector
    other: Vector
    to_others: Vector


def class_sums(rows: UnitRows, codes: NDArray[np.int64], n_classes: int) -> ClassSums:
    """The sums, from two passes over the rows in float64; memory C D + N."""
    n_rows, dim = rows.n_rows, rows.dim
    step = block_rows(dim)
    sums = np.zeros((n_classes, dim))
    squares = np.full(n_rows, np.nan)
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        block, part = rows.exact_block(start, stop), codes[start:stop]
        order = np.argsort(part, kind="stable")
        order = order[part[order] >= 0]
        present, first = np.unique(part[order], return_index=True)
        if len(order):
            sums[present] += np.add.reduceat(block[order], first, axis=0)
        squares[start:stop] = np.einsum("ij,ij->i", block, block)
    total = sums.sum(axis=0)
    own, other = np.full(n_rows, np.nan), np.full(n_rows, np.nan)
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        part = codes[start:stop]
        known = part >= 0
        block = rows.exact_block(start, stop)[known]
        with_class = np.einsum("ij,ij->i", block, sums[part[known]])
        at = start + np.flatnonzero(known)
        own[at] = with_class - squares[at]
        other[at] = block @ total - with_class
    labelled = codes >= 0
    counts = np.bincount(codes[labelled], minlength=n_classes).astype(np.int64)
    within = np.zeros(n_classes)
    np.add.at(within, codes[labelled], own[labelled])
    to_others = np.einsum("ij,ij->i", sums, total[None, :] - sums)
    return ClassSums(counts, within, own, other, to_others)


TOLERANCE = Metric(
    "tolerance",
    "cosine",
    "mean cosine of pairs of rows of one class. micro_excl: over all pairs of different rows; "
    "macro_excl: mean of the classes' means; micro_incl: pairs of a row with itself included; "
    "indicator: eq. 11 of Wang & Liu 2021 as printed.",
    ("micro_excl", "macro_excl", "micro_incl", "indicator"),
    (
        "mean s over all ordered pairs i ≠ j of one class; every pair has the same weight",
        "mean over classes (of two or more members) of the mean s within the class",
        "as `micro_excl`, self pairs included",
        "eq. 11 as printed: mean over all N² pairs of s·[same class]",
    ),
    better="higher",
    self_pairs=("micro_incl", "indicator"),
    needs="labels",
)
BETWEEN_CLASSES = Metric(
    "between_class_similarity",
    "cosine",
    "mean cosine of pairs of different classes.",
    formulas=("mean s over pairs of different classes",),
    better="lower",
    needs="labels",
    title="between classes",
)
TOLERANCE_GAP = Metric(
    "tolerance_gap",
    "cosine",
    "tolerance minus between_class_similarity.",
    formulas=("`tolerance` (`micro_excl`) minus `between_class_similarity`",),
    better="higher",
    needs="labels",
)


class Tolerance(Family):
    """`tolerance` in four definitions, `between_class_similarity`, and their gap.

    micro_excl: mean of s over all ordered pairs i != j of one class (every pair counts once).
    macro_excl: mean over classes of two or more members of the class's own mean.
    micro_incl: as micro_excl, self pairs counted.
    indicator: eq. 11 as printed: mean over all N^2 pairs of s times [same class].
    """

    name = "tolerance"
    title = "Tolerance"
    metrics = (TOLERANCE, BETWEEN_CLASSES, TOLERANCE_GAP)

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Bytes of the sums of each row, and of pseudo-values."""
        return 96 * (options.anchors_of(n_rows) or n_rows)

    def compute(self, results: PassResults) -> FamilyResult:
        """Six records and the table by class; without labels no records."""
        subject = results.subject
        if subject.labels is None:
            return FamilyResult(())
        labels = subject.labels
        sums = class_sums(subject.rows, labels.codes, len(labels.names))
        definitions = _Definitions(sums, labels.codes)
        records = []
        for metric, (value, without, reason) in (
            (TOLERANCE.at("micro_excl"), definitions.micro_excl()),
            (TOLERANCE.at("macro_excl"), definitions.macro_excl()),
            (TOLERANCE.at("micro_incl"), definitions.micro_incl()),
            (TOLERANCE.at("indicator"), definitions.indicator()),
            (BETWEEN_CLASSES, definitions.between()),
            (TOLERANCE_GAP, definitions.gap()),
        ):
            if value is None or without is None:
                records.append(metric.undefined(subject.source, subject.d, reason))
                continue
            pseudo = pseudo_values(value, without) if _finite(without) else None
            error = standard_error(pseudo, subject.groups)
            number = Number(value, error, definitions.n, pseudo)
            records.append(metric.record(subject.source, subject.d, number))
        return FamilyResult(tuple(records), (self._by_class(subject, sums),))

    def _by_class(self, subject: Subject, sums: ClassSums) -> Table:
        assert subject.labels is not None
        codes = subject.labels.codes
        rows: list[dict[str, Cell]] = []
        n_labelled = int(sums.counts.sum())
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(len(sums.counts) + 1))
        for c, name in enumerate(subject.labels.names):
            n = int(sums.counts[c])
            members = order[starts[c] : starts[c + 1]]
            value = error = between = None
            if n >= 2:
                value = float(sums.within[c] / (n * (n - 1)))
            if n >= 3:
                without = (sums.within[c] - 2.0 * sums.own[members]) / ((n - 1) * (n - 2))
                groups = None if subject.groups is None else subject.groups[members]
                error = standard_error(pseudo_values(float(value or 0.0), without), groups)
            if n_labelled > n:
                between = float(sums.to_others[c] / (n * (n_labelled - n)))
            rows.append(
                {
                    "source": subject.source,
                    "class": name,
                    "n": n,
                    "tolerance": value,
                    "std_error": error,
                    "between_class_similarity": between,
                }
            )
        return Table("tolerance_by_class", columns_of("tolerance_by_class"), tuple(rows))


def _finite(without: Vector) -> bool:
    """Whether all values without one row are finite, for at least two rows that take part."""
    taking_part = without[~np.isnan(without)]
    return len(taking_part) > 1 and bool(np.isfinite(taking_part).all())


Definition = tuple[float | None, Vector | None, str]
"""Value, (N,) values without each row, and the reason where there is no value."""


class _Definitions:
    """Value and leave-one-out values of each definition, from the class sums."""

    def __init__(self, sums: ClassSums, codes: NDArray[np.int64]) -> None:
        self.sums = sums
        labelled = codes >= 0
        self.n = int(sums.counts.sum())
        self._known = labelled
        self._code = np.where(labelled, codes, 0)
        counts = sums.counts.astype(np.float64)
        self._counts = counts
        # members of each row's class
        self._members = np.where(labelled, counts[self._code] if len(counts) else 0.0, np.nan)
        self._within = float(sums.within.sum())
        self._pairs = float((counts * (counts - 1)).sum())
        self._own = sums.own

    def _ratio(
        self, total: float, n_pairs: float, total_of_row: Vector, pairs_of_row: Vector
    ) -> Definition:
        """A mean over pairs; a deleted row takes its pairs with it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            without = (total - total_of_row) / (n_pairs - pairs_of_row)
        without = np.where(self._known & ~np.isfinite(without), np.inf, without)
        return total / n_pairs, without, ""

    def micro_excl(self) -> Definition:
        if self._pairs == 0:
            return None, None, "no class has two members"
        return self._ratio(self._within, self._pairs, 2 * self._own, 2 * (self._members - 1))

    def micro_incl(self) -> Definition:
        if self.n == 0:
            return None, None, "no row is labelled"
        total, n_pairs = self._within + self.n, float((self._counts**2).sum())
        return self._ratio(total, n_pairs, 2 * self._own + 1, 2 * self._members - 1)

    def indicator(self) -> Definition:
        if self.n == 0:
            return None, None, "no row is labelled"
        total, n_pairs = self._within + self.n, float(self.n) ** 2
        pairs_of_row = 0 * self._members + 2 * self.n - 1  # NaN for unlabelled rows
        return self._ratio(total, n_pairs, 2 * self._own + 1, pairs_of_row)

    def macro_excl(self) -> Definition:
        counts, within = self._counts, self.sums.within
        usable = counts >= 2
        n_classes = int(usable.sum())
        if n_classes == 0:
            return None, None, "no class has two members"
        means = np.where(usable, within / np.maximum(counts * (counts - 1), 1), 0.0)
        total = float(means.sum())
        members, mean = self._members, means[self._code]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_without = (within[self._code] - 2 * self._own) / ((members - 1) * (members - 2))
            # a class of two members loses its mean with either member; a class of one has no mean
            without = np.where(
                members > 2,
                (total - mean + mean_without) / n_classes,
                np.where(members == 2, (total - mean) / (n_classes - 1), total / n_classes),
            )
        without = np.where(self._known, without, np.nan)
        without = np.where(self._known & ~np.isfinite(without), np.inf, without)
        return total / n_classes, without, ""

    def between(self) -> Definition:
        n_pairs = float(self.n) ** 2 - float((self._counts**2).sum())
        if n_pairs == 0:
            return None, None, "there is only one class" if self.n else "no row is labelled"
        total = float(np.nansum(self.sums.other))
        return self._ratio(total, n_pairs, 2 * self.sums.other, 2 * (self.n - self._members))

    def gap(self) -> Definition:
        within, between = self.micro_excl(), self.between()
        if within[0] is None or within[1] is None:
            return None, None, within[2]
        if between[0] is None or between[1] is None:
            return None, None, between[2]
        return within[0] - between[0], within[1] - between[1], ""


def value_of_sums(
    definition: str, counts: NDArray[np.int64], sums: Vector, squares: Vector
) -> tuple[float | None, str]:
    """The value of a definition of `tolerance` from class sums alone, and the reason without one.

    Args:
        definition: one of `Tolerance.definitions["tolerance"]`.
        counts: (C,) number of members of each class.
        sums: (C, D) sum of the unit rows of each class.
        squares: (C,) sum of the squared norms of the unit rows of each class.

    >>> value_of_sums("micro_excl", np.array([2]), np.array([[1.0, 1.0]]), np.array([2.0]))
    (0.0, '')
    """
    no_rows = np.zeros(0)
    within = np.einsum("ij,ij->i", sums, sums) - squares
    by_class = ClassSums(counts, within, no_rows, no_rows, no_rows)
    definitions = _Definitions(by_class, np.zeros(0, dtype=np.int64))
    value, _, reason = getattr(definitions, definition)()
    return value, reason
