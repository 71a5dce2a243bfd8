"""The passes behind the pooled positives and negatives, and the errors of pooled statistics.

A row takes part with its positives, and with every negative pair that it is in: as the pair's row
and as its column.  What the row adds to a statistic is the sum of both, by the statistic's
derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.bins import FINE_BINS
from cl_analyze.metrics.family import PassResults, second_anchors
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.similarity.pooled import Distributions, fine_histogram
from cl_analyze.metrics.subject import Subject
from cl_analyze.metrics.suspects import suspected_by
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import BinSums, PairHistogram, PairMoments, RowCountsBelow
from cl_analyze.pairs.tile import PairSet
from cl_analyze.results.stats import standard_error

Vector = NDArray[np.float64]


def negative_pairs(subject: Subject, options: MetricOptions) -> PairSet:
    """The set of pairs that are negatives here."""
    has_pairs = subject.views is not None or subject.relevance is not None
    return options.negative_pairs if has_pairs else "other_class"


def has_positives(subject: Subject) -> bool:
    """Whether there are positives at all."""
    return subject.views is not None or subject.relevance is not None or subject.labels is not None


def first_reducers(subject: Subject, options: MetricOptions) -> list[Reducer]:
    """Counts and moments of negatives; positives of classes have theirs in the family."""
    if not has_positives(subject):
        return []
    pairs = negative_pairs(subject, options)
    return [PairHistogram(FINE_BINS, pairs), PairMoments(pairs)]


@dataclass(frozen=True)
class PooledPasses:
    """Positives and negatives of all anchors of one checkpoint, and errors of statistics of them.

    Attributes:
        results: the passes.
        first: results of the pass over the negatives: the first pass, or that across the files.
    """

    results: PassResults
    first: Found

    @property
    def subject(self) -> Subject:
        """The checkpoint."""
        return self.results.subject

    @property
    def pairs(self) -> PairSet:
        """The set of pairs that are negatives."""
        return negative_pairs(self.subject, self.results.options)

    @cached_property
    def distributions(self) -> Distributions | None:
        """Both groups in bins; None where one of them is empty."""
        positives, negatives = (
            self.results.positives,
            self.first[PairHistogram(FINE_BINS, self.pairs)],
        )
        if positives is not None:
            n_rows = int((positives.counts > 0).sum())
            of_positives = fine_histogram(positives.similarity, positives.weights)
        else:
            counts = self.first[PairHistogram(FINE_BINS, "same_class")]
            if not counts.sum():
                return None
            n_rows, of_positives = self.subject.n, counts
        if not negatives.sum():
            return None
        return Distributions(of_positives, negatives, n_rows)

    @cached_property
    def points(self) -> tuple[float, ...]:
        """Thresholds of the equal error rate and of the false-positive rates, once each."""
        both = self.distributions
        assert both is not None
        edges = [both.edge_of_equal_errors, *map(both.edge_of_rate, self.results.options.fprs)]
        # a hair under the edge, so that `<=` leaves what is at it above
        return tuple(sorted({float(np.nextafter(both.edges[edge], -2.0)) for edge in edges}))

    def second_reducers(self) -> list[Reducer]:
        """Per row: pairs under the thresholds, and sums of the other group's distribution."""
        both = self.distributions
        if both is None:
            return []
        above = 1.0 - (np.cumsum(both.positive) - 0.5 * both.positive)
        reducers: list[Reducer] = [
            RowCountsBelow(self.points, self.pairs),
            BinSums(FINE_BINS, above, self.pairs),
        ]
        if self.results.positives is None:
            under = np.cumsum(both.negative) - 0.5 * both.negative
            reducers += [
                RowCountsBelow(self.points, "same_class"),
                BinSums(FINE_BINS, under, "same_class"),
            ]
        of_suspects = suspected_by(self.subject, self.results.options)
        return reducers if of_suspects is None else [*reducers, of_suspects]

    @cached_property
    def second(self) -> tuple[Anchors, list[Found]]:
        """Rows of the second pass, and its results: by rows, and across files by columns too."""
        results, subject = self.results, self.subject
        anchors = second_anchors(subject.n, results.options, results.anchors)
        reducers = self.second_reducers()
        if subject.partners is None:
            rows = np.concatenate([rows for _, rows in results.second])
            order = np.argsort(rows, kind="stable")
            found = {
                reducer: np.concatenate([part[reducer] for part, _ in results.second])[order]
                for reducer in reducers
            }
            at = np.searchsorted(results.anchors.rows, rows[order])
            for pairs in {self.pairs, "same_class"} if results.positives is None else {self.pairs}:
                found[PairMoments(pairs)] = self.first[PairMoments(pairs)][at]
            return anchors, [found]
        reducers.append(PairMoments(self.pairs))
        runner, chosen = results.runner, anchors.chosen
        runner.announce("separation: error bars")
        parts = [runner.cross(reducers, anchors)]
        if subject.relevance is None:  # a row's partner is a negative of others
            back = runner.between(
                reducers, subject.partners, subject.rows, "separation back", chosen
            )
            parts.append(back)
        return anchors, parts

    @cached_property
    def n_negatives(self) -> Vector:
        """(N,) negatives of each row."""
        subject = self.subject
        if self.pairs == "other_class":
            assert subject.labels is not None
            codes, counts = subject.labels.codes, subject.labels.counts
            return np.where(codes >= 0, counts.sum() - counts[codes], 0).astype(np.float64)
        if subject.relevance is not None:
            return (subject.n_candidates - subject.relevance.counts).astype(np.float64)
        return np.full(subject.n, subject.n - 1.0)

    @cached_property
    def n_positives(self) -> Vector:
        """(N,) positives of each row that are other rows of its class."""
        assert self.subject.labels is not None
        codes, counts = self.subject.labels.codes, self.subject.labels.counts
        return np.where(codes >= 0, counts[codes] - 1, 0).astype(np.float64)

    def of_negatives(self, sums: list[Vector], mean: float) -> Vector:
        """(m,) what each row adds to a mean over negative pairs, as their row and as their column.

        Args:
            sums: by rows and, across files, by columns: sums of a function over a row's negatives.
            mean: of the function.
        """
        anchors, _ = self.second
        counts = self.n_negatives[anchors.rows]
        scale = self.subject.n / max(float(self.n_negatives.sum()), 1.0)
        twice = 2.0 if self.subject.partners is None else 1.0
        added: Vector = np.sum([twice * scale * (one - mean * counts) for one in sums], axis=0)
        return added

    def _with_error(
        self,
        value: float,
        own: Vector,
        of_negatives: Vector,
        of_rows: Vector,
        sampling: float | None,
    ) -> Number:
        """A number with the error that both roles of a row give.

        Args:
            value: the statistic.
            own: (N,) what each row's positives add to it; NaN for a row without any.
            of_negatives: (m,) what the negative pairs of some rows add, and positive pairs that are
                those of a class.
            of_rows: (m,) the part that the row adds as the pair's row, which anchors are drawn for.
            sampling: distance to expect from the exact value, because of bins.
        """
        anchors, _ = self.second
        groups, n = self.subject.groups, int(np.isfinite(own).sum())
        filled = np.nan_to_num(own) * (len(own) / max(n, 1))
        both = filled[anchors.rows] + of_negatives
        if not anchors.is_sample:
            error = standard_error(both, groups) if self.subject.n > 3 else None
            return Number(value, error, n, value + both if error is not None else None, sampling)
        error = anchors.std_error(both, groups=groups)
        if self.results.anchors.is_sample:
            n = int(np.isfinite(own[anchors.rows]).sum())
            drawn = anchors.without_moments().mean(of_rows).sampling_error
            sampling = math.hypot(sampling or 0.0, drawn)
        return Number(value, error, n, None, sampling)

    def number(
        self,
        value: float,
        on_positive: tuple[Vector, float],
        on_negative: tuple[list[Vector], float],
        sampling: float | None,
    ) -> Number:
        """A pooled statistic, from its derivatives.

        Args:
            value: the statistic.
            on_positive: (N,) mean over each row's positives of the derivative, and its mean; or,
                where positives are classes, the sums over a row's class.
            on_negative: sums of the derivative over each row's negatives, and its mean.
            sampling: see `_with_error`.
        """
        values, mean = on_positive
        if self.results.positives is not None:
            own, of_class = values - mean, np.zeros(1)
        else:
            anchors, _ = self.second
            counts = self.n_positives
            scale = self.subject.n / max(float(counts.sum()), 1.0)
            of_class = 2.0 * scale * (values - mean * counts[anchors.rows])
            own = np.where(counts > 0, 0.0, np.nan)
        sums, mean = on_negative
        both = self.of_negatives(sums, mean) + of_class
        twice = 2.0 if self.subject.partners is None else 1.0
        of_rows = (self.of_negatives(sums[:1], mean) + of_class) / twice
        return self._with_error(value, own, both, of_rows, sampling)

    def over(self, edge: int) -> tuple[tuple[Vector, float], tuple[list[Vector], float]]:
        """Positives and negatives at or above an edge: what `number` takes for both rates."""
        both, positives = self.distributions, self.results.positives
        assert both is not None
        _, parts = self.second
        limit = float(np.nextafter(both.edges[edge], -2.0))
        column = self.points.index(limit)
        counts = self.n_negatives[self.second[0].rows]
        over = [counts - part[RowCountsBelow(self.points, self.pairs)][:, column] for part in parts]
        if positives is not None:
            is_over = (positives.similarity > limit).astype(np.float64)
            values = positives.row_means(is_over)
        else:
            of_class = parts[0][RowCountsBelow(self.points, "same_class")][:, column]
            values = self.n_positives[self.second[0].rows] - of_class
        return (values, float(both.true_positive[edge])), (over, float(both.false_positive[edge]))
