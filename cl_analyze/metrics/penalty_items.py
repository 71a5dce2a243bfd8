"""The relative penalty of queries over items, where `--relevant` says which items are positives.

Negatives are the items that are not relevant for a query.  Errors are over queries: items are
fixed, as in retrieval.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import FEWEST, Anchors
from cl_analyze.metrics.bins import TABLE_BINS
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.penalty_statistics import AnchorStatistics, anchor_statistics
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.subject import Subject, nearest_negatives_reducer
from cl_analyze.metrics.suspects import suspect_counts
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import PenaltyHistogram, SoftmaxMoments
from cl_analyze.pairs.reducers.neighbours import Neighbours

Vector = NDArray[np.float64]


def n_negatives(subject: Subject) -> Vector:
    """(N,) items that are not relevant for each query."""
    assert subject.relevance is not None
    return (subject.n_candidates - subject.relevance.counts).astype(np.float64)


def across(results: PassResults) -> Found:
    """Masses, nearest items and suspects of every query; call it through `PassResults.once`."""
    subject, options = results.subject, results.options
    reducers: list[Reducer] = [
        nearest_negatives_reducer(subject, options, subject.n_candidates),
        *(SoftmaxMoments(tau) for tau in options.taus),
    ]
    of_suspects = suspect_counts(subject, options)
    if of_suspects is not None:
        reducers.append(of_suspects)
    results.runner.announce("penalty over items")
    return results.runner.cross(reducers, results.anchors)


def neighbours(results: PassResults) -> Neighbours:
    """The nearest items of the queries that are not relevant for them."""
    found, anchors = results.once(across), results.anchors
    return results.runner.nearest_negatives(results.options, found, anchors, cross=True)


def statistics_of(results: PassResults, tau: float) -> tuple[AnchorStatistics, Neighbours]:
    """Statistics of the queries, and their nearest items that are not relevant."""
    subject, anchors = results.subject, results.anchors
    found, near = results.once(across), neighbours(results)
    moments = found[SoftmaxMoments(tau)]
    counts = n_negatives(subject)[anchors.rows]
    nearest = near.values[:, :10]
    stats = anchor_statistics(moments.log_mass, moments.mean, None, nearest, tau, None, counts)
    return stats, near


class ItemMeans:
    """Means over queries of columns of `AnchorStatistics`, with the errors of the queries alone."""

    nobody = "no query"

    def __init__(self, results: PassResults, stats: AnchorStatistics) -> None:
        self._results, self._stats = results, stats

    def count(self, name: str) -> int:
        """Number of queries that have a value; 0 where they are too few for an estimate."""
        n_values = int(np.isfinite(self._stats.column(name)).sum())
        return 0 if self._results.anchors.is_sample and n_values < FEWEST else n_values

    def mean(self, name: str) -> Number:
        """The mean of a column that has a value."""
        results, values = self._results, self._stats.column(name)
        anchors, none = results.anchors, [np.zeros(results.subject.n)]
        groups = results.subject.groups
        number = mean_with_effects(values, values, none, 0.0, groups, anchors)
        assert number is not None
        return number

    def exp_of_mean(self, name: str) -> Number:
        """The exponential of the mean of a column."""
        mean = self.mean(name)
        value = math.exp(mean.value)
        return mean.moved(value, value)


def curve_bins(results: PassResults) -> Vector:
    """(1 + taus, bins) share of negatives, then penalty mass, in bins; see `PenaltyHistogram`."""
    options, rows = results.options, results.curve_anchors
    at = np.searchsorted(results.anchors.rows, rows)
    masses = np.stack([statistics_of(results, tau)[0].log_mass[at] for tau in options.taus])
    counted = np.isfinite(masses[0])
    reducer = PenaltyHistogram(
        options.taus,
        TABLE_BINS,
        "all",
        rows,
        masses,
        counted / max(counted.sum(), 1.0),
        n_negatives(results.subject)[rows],
    )
    bins: Vector = results.runner.cross([reducer], Anchors(rows, results.subject.n))[reducer]
    return bins
