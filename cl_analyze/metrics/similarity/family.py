"""Similarity of positives and of nearest negatives: mean, deviation, quantiles, histograms.

Wang & Liu, CVPR 2021, Fig. 8: the similarities of each anchor with its negatives are sorted.  The
l-th largest is averaged over anchors, and compared with the mean similarity of positives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import (
    AnchorValues,
    Deletions,
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
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.similarity import near_classes, separation, suspects
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
from cl_analyze.metrics.similarity.pooled_errors import (
    PooledPasses,
    first_reducers,
    has_positives,
)
from cl_analyze.metrics.subject import Subject, near_duplicate_notes, nearest_negatives_reducer
from cl_analyze.metrics.suspects import suspect_counts
from cl_analyze.metrics.uniform_law import (
    cosine_share_below,
    expected_nearest,
)
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import PairHistogram, PairMoments, RowCountsBelow
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.tile import PairSet
from cl_analyze.results.declared_tables import columns_of
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
    metrics = (
        MEAN,
        STD,
        QUANTILE,
        near_classes.SAME_CLASS_SHARE,
        *separation.METRICS,
        *suspects.METRICS,
    )
    uses_views = True
    reads_neighbours = True

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """High similarity of positives is better; similarity of negatives has no better side."""
        if metric in (MEAN.name, QUANTILE.name):
            return "higher" if params.get("group") == "positive" else None
        return super().better(metric, params)

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Bytes of the values of each rank."""
        return 16 * (options.top_k + 2) * (options.anchors_of(n_rows) or n_rows)

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Neighbours and, where positives are classes, their moments and fine histogram."""
        reducers: list[Reducer] = []
        if subject.partners is None:
            reducers.append(nearest_negatives_reducer(subject, options))
            reducers += _first_reducers(subject, options)
        if are_classes_positive(subject):
            of_classes = replace(options, negatives="class")
            reducers.append(nearest_negatives_reducer(subject, of_classes))
            reducers += [PairMoments("same_class"), PairHistogram(FINE_BINS, "same_class")]
        return tuple(reducers)

    def curve_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Similarities of the anchors with all rows, and with those of their own class."""
        return tuple(PairHistogram(TABLE_BINS, pairs) for pairs in _counted(results.subject))

    def second_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Counts of same-class pairs below their quantiles, for the errors of the quantiles."""
        quantiles = class_quantiles(results.subject, results.first)
        reducers: list[Reducer] = [RowCountsBelow(quantiles, "same_class")] if quantiles else []
        if results.subject.partners is None and has_positives(results.subject):
            reducers += results.once(_pooled).second_reducers()
        return tuple(reducers)

    def compute(self, results: PassResults) -> FamilyResult:
        """Records by group, by rank and of both groups, tables, and a note on near-duplicates."""
        subject, options, anchors = results.subject, results.options, results.anchors
        is_cross = subject.partners is not None
        found = results.once(_across_files) if is_cross else results.first
        neighbours = results.runner.nearest_negatives(options, found, anchors, is_cross)
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
        of_ranks = [_deletions(results, neighbours, rank) for rank in range(options.top_k)]
        records += near_classes.rank_records(results, neighbours, of_ranks)
        of_both, more_tables = _of_both(results, found, neighbours)
        records += of_both
        is_exact = len(results.curve_anchors) == subject.n
        for name, counts in _pair_counts(results).items():
            histograms += bin_rows(
                subject.source, name, counts / (2.0 if is_exact else 1.0), is_exact
            )
        histograms += _law_rows(subject)
        columns = columns_of("similarity_histogram")
        tables = (
            Table("similarity_histogram", columns, tuple(histograms)),
            _reference(results),
            *more_tables,
        )
        notes = () if is_cross else near_duplicate_notes(subject, options, neighbours)
        if results.positives is not None:
            notes += separation.order_notes(subject.source, records)
        elif subject.labels is not None:
            notes += suspects.sample_notes(results)
        return FamilyResult(tuple(records), tables, notes)


def _of_both(
    results: PassResults, found: Found, neighbours: Neighbours
) -> tuple[list[Record], list[Table]]:
    """Positives against negatives: separation and suspects.

    Args:
        results: the passes.
        found: the pass over the negatives.
        neighbours: the nearest negatives of the anchors.
    """
    subject = results.subject
    if not has_positives(subject):
        return list(separation.undefined_records(subject, results.options)), []
    if results.positives is None:  # negatives are rows of other classes
        of_classes = replace(results.options, negatives="class")
        neighbours = results.runner.nearest_negatives(of_classes, found, results.anchors)
    deleted = _deletions(results, neighbours, 0)
    pooled = results.once(_pooled)
    records = [
        *separation.anchor_records(pooled, neighbours, deleted),
        *separation.pooled_records(pooled),
        *suspects.suspect_records(pooled, neighbours, deleted),
    ]
    table = suspects.suspect_table(results, neighbours)
    tables = separation.separation_tables(pooled)
    return records, [*tables, table] if table.rows else tables


def _first_reducers(subject: Subject, options: MetricOptions) -> list[Reducer]:
    """Counts of negatives, and of suspects, of the pass over the negatives."""
    of_suspects = suspect_counts(subject, options)
    return first_reducers(subject, options) + ([] if of_suspects is None else [of_suspects])


def _across_files(results: PassResults) -> Found:
    """The pass of all rows, or the anchors, against the second file."""
    subject, options = results.subject, results.options
    reducers = [
        nearest_negatives_reducer(subject, options, subject.n_candidates),
        *_first_reducers(subject, options),
    ]
    return results.runner.cross(reducers, results.anchors)


def _pooled(results: PassResults) -> PooledPasses:
    is_cross = results.subject.partners is not None
    first = results.once(_across_files) if is_cross else results.first
    return PooledPasses(results, first)


def _deletions(
    results: PassResults, neighbours: Neighbours, rank: int, positions: Index | None = None
) -> Deletions:
    """Which rows the anchors' negative of a rank hangs on; none where negatives are fixed items.

    Args:
        results: the passes.
        neighbours: nearest negatives of the anchors at these positions.
        rank: of the negative, from 0.
        positions: of the anchors among those of the first pass; None: all.
    """
    subject, rows = results.subject, results.anchors.rows
    rows = rows if positions is None else rows[positions]
    are_fixed = subject.relevance is not None
    return deletions(neighbours, rank, rows, subject.n, subject.groups, are_fixed)


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
        deleted = _deletions(results, own, rank, positions)
        return partial(nth_neighbour, deleted, own)

    parts = [part_of(half) for half in anchors.halves]
    if not anchors.is_sample or not np.isfinite(values).any():
        nobody = "hardly any of the anchors" if anchors.is_sample else "no row"
        reason = f"{nobody} has {rank + 1} negative{'s' if rank else ''}"
        return exact_records(group, values, parts[0], reason)
    return estimated_records(group, values, parts, anchors)


def _counted(subject: Subject) -> tuple[PairSet, ...]:
    """The sets of pairs that the curve pass counts; other classes are the rest where it can be."""
    if subject.labels is None:
        return ("all",)
    has_unlabelled = bool((subject.labels.codes < 0).any())
    return ("all", "same_class", "other_class") if has_unlabelled else ("all", "same_class")


def _pair_counts(results: PassResults) -> dict[str, Vector]:
    """Ordered pairs in the tables' bins, by set of pairs; sets without a pair are left out."""
    counts: dict[str, Vector] = {
        pairs: results.curve[PairHistogram(TABLE_BINS, pairs)]
        for pairs in _counted(results.subject)
    }
    if "same_class" in counts and "other_class" not in counts:  # every row has a class
        counts["other_class"] = counts["all"] - counts["same_class"]
    return {name: own for name, own in counts.items() if name == "all" or own.sum() > 0}


def _law_rows(subject: Subject) -> list[dict[str, Cell]]:
    """The cosine law of uniform points in the histogram's bins, as group `uniform_law`."""
    edges = np.linspace(-1.0, 1.0, TABLE_BINS + 1)
    share = np.diff(cosine_share_below(subject.d, edges))
    rows = bin_rows(subject.source, "uniform_law", share, True)
    return [{**row, "count": None} for row in rows]


def _reference(results: PassResults) -> Table:
    """Uniform points' similarity of each nearest negative, and the share of its class by chance."""
    subject, options = results.subject, results.options
    expected = expected_nearest(subject.d, subject.n_candidates, options.top_k)
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
    rows += near_classes.chance_rows(results, options.top_k)
    return Table("similarity_reference", columns_of("similarity_reference"), tuple(rows))
