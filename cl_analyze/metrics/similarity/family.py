"""Similarity of positives and of nearest negatives: mean, deviation, quantiles, histograms.

Wang & Liu, CVPR 2021, Fig. 8: the similarities of each anchor with its negatives are sorted.  The
l-th largest is averaged over anchors, and compared with the mean similarity of positives.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import (
    AnchorValues,
    Function,
    deletions,
    nth_neighbour,
    of_anchors,
    own_values,
)
from cl_analyze.metrics.anchors import FEWEST, Anchors
from cl_analyze.metrics.bins import FINE_BINS, TABLE_BINS, bin_rows, histogram
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.metric import Better
from cl_analyze.metrics.positives import Positives
from cl_analyze.metrics.similarity.groups import (
    MEAN,
    QUANTILE,
    STD,
    Group,
    Part,
    estimated_records,
    exact_records,
)
from cl_analyze.metrics.similarity.of_classes import (
    are_classes_positive,
    class_quantiles,
    class_records,
)
from cl_analyze.metrics.subject import Subject, near_duplicate_notes, nearest_negatives_reducer
from cl_analyze.metrics.uniform_law import (
    REFERENCE_COLUMNS,
    cosine_share_below,
    expected_nearest,
)
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import PairHistogram, PairMoments, RowCountsBelow
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.similarity_groups import negative_group
from cl_analyze.results.tables import Cell, Param, Record, Table

Vector = NDArray[np.float64]


class Similarity(Family):
    """`similarity_mean`, `similarity_std`, `similarity_quantile` by group, and histograms.

    Groups: `positive` (pairs of views where there are views, else every same-class pair once) and
    `negative_1` .. `negative_k`, the anchors' l-th nearest negative.  Standard deviations divide by
    the count.  Errors are a jackknife: each row is deleted as anchor and as negative.  Errors of
    quantiles are Woodruff's (JASA 1952), see `means.woodruff`.
    """

    name = "similarity"
    title = "Positives and nearest negatives"
    metrics = (MEAN, STD, QUANTILE)
    uses_views = True
    reads_neighbours = True

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """High similarity of positives is better; similarity of negatives has no better side."""
        is_of_positives = params.get("group") == "positive" and metric != STD.name
        return "higher" if is_of_positives else None

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Bytes of the values of each rank."""
        return 16 * (options.top_k + 2) * (options.anchors_of(n_rows) or n_rows)

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Neighbours and, where positives are classes, their moments and fine histogram."""
        reducers: list[Reducer] = []
        if subject.partners is None:
            reducers.append(nearest_negatives_reducer(subject, options))
        if are_classes_positive(subject):
            reducers += [PairMoments("same_class"), PairHistogram(FINE_BINS, "same_class")]
        return tuple(reducers)

    def curve_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Similarities of the anchors with all rows."""
        return (PairHistogram(TABLE_BINS, "all"),)

    def second_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Counts of same-class pairs below their quantiles, for the errors of the quantiles."""
        quantiles = class_quantiles(results.subject, results.first)
        return (RowCountsBelow(quantiles, "same_class"),) if quantiles else ()

    def compute(self, results: PassResults) -> FamilyResult:
        """Records by group, the histogram table, and a note on near-duplicates."""
        subject, options, anchors = results.subject, results.options, results.anchors
        is_cross = subject.partners is not None
        pass_results = results.first
        if is_cross:
            reducer = nearest_negatives_reducer(subject, options)
            pass_results = results.runner.cross([reducer], anchors)
        neighbours = results.runner.nearest_negatives(options, pass_results, anchors, is_cross)
        records: list[Record] = []
        histograms: list[dict[str, Cell]] = []
        is_exhaustive = not anchors.is_sample
        if (positives := results.positives) is not None:
            records += _of_positives(subject, positives)
            counts = histogram(positives.similarity)
            histograms += bin_rows(subject.source, "positive", counts, True)
        elif subject.labels is not None:
            records += class_records(results)
            fine = results.first[PairHistogram(FINE_BINS, "same_class")]
            if fine.sum():
                counts = fine.reshape(TABLE_BINS, -1).sum(axis=1) / (2.0 if is_exhaustive else 1.0)
                histograms += bin_rows(subject.source, "positive", counts, is_exhaustive)
        for rank in range(options.top_k):
            records += _of_rank(results, neighbours, rank)
            values = _values_of_rank(neighbours, rank, anchors)
            counts = histogram(values[np.isfinite(values)])
            name = negative_group(rank + 1)
            histograms += bin_rows(subject.source, name, counts, is_exhaustive)
        is_exact = len(results.curve_anchors) == subject.n
        counts = results.curve[PairHistogram(TABLE_BINS, "all")] / (2.0 if is_exact else 1.0)
        histograms += bin_rows(subject.source, "all", counts, is_exact)
        histograms += _law_rows(subject)
        columns = ("source", "group", "bin_left", "bin_right", "count", "density", "exact")
        tables = (
            Table("similarity_histogram", columns, tuple(histograms)),
            _reference(subject, options),
        )
        notes = () if is_cross else near_duplicate_notes(subject, options, neighbours)
        return FamilyResult(tuple(records), tables, notes)


def _of_positives(subject: Subject, positives: Positives) -> list[Record]:
    """Records of the positive pairs, in which an anchor has one vote."""
    group = Group(subject, positives.kind, {"group": "positive"})
    similarity = positives.similarity

    def part(function: Function) -> AnchorValues:
        return own_values(positives.row_means(function(similarity)))

    return exact_records(group, similarity, part, "no anchor has a positive", positives.weights)


def _values_of_rank(neighbours: Neighbours, rank: int, anchors: Anchors) -> Vector:
    """Similarities of the nearest negatives of one rank; all NaN for too few anchors."""
    values: Vector = neighbours.values[:, rank]
    if anchors.is_sample and np.isfinite(values).sum() < FEWEST:
        return np.full(len(values), np.nan)
    return values


def _of_rank(results: PassResults, neighbours: Neighbours, rank: int) -> list[Record]:
    """Records of the l-th nearest negative, l from 1 = rank + 1."""
    subject, options, anchors = results.subject, results.options, results.anchors
    params = {"group": negative_group(rank + 1), **options.negative_params}
    group = Group(subject, None, params)
    values = _values_of_rank(neighbours, rank, anchors)

    def part_of(positions: Index) -> Part:
        own = of_anchors(neighbours, positions)
        deleted = deletions(own, rank, anchors.rows[positions], subject.n, subject.groups)
        return partial(nth_neighbour, deleted, own)

    parts = [part_of(half) for half in anchors.halves]
    if not anchors.is_sample or not np.isfinite(values).any():
        nobody = "hardly any of the anchors" if anchors.is_sample else "no row"
        reason = f"{nobody} has {rank + 1} negative{'s' if rank else ''}"
        return exact_records(group, values, parts[0], reason)
    return estimated_records(group, values, parts, anchors)


def _law_rows(subject: Subject) -> list[dict[str, Cell]]:
    """The cosine law of uniform points in the histogram's bins, as group `uniform_law`."""
    edges = np.linspace(-1.0, 1.0, TABLE_BINS + 1)
    share = np.diff(cosine_share_below(subject.d, edges))
    rows = bin_rows(subject.source, "uniform_law", share, True)
    return [{**row, "count": None} for row in rows]


def _reference(subject: Subject, options: MetricOptions) -> Table:
    """Expected similarity of each nearest negative among uniform points of the same N and D."""
    expected = expected_nearest(subject.d, subject.n - 1, options.top_k)
    rows: list[dict[str, Cell]] = [
        {
            "source": subject.source,
            "quantity": "similarity_mean",
            "group": negative_group(rank + 1),
            "tau": None,
            "value": value,
            "std_error": 0.0,
        }
        for rank, value in enumerate(expected)
    ]
    return Table("similarity_reference", REFERENCE_COLUMNS, tuple(rows))
