"""Similarity of positives and of nearest negatives: mean, deviation, quantiles, histograms.

Wang & Liu, CVPR 2021, Fig. 8: the similarities of each anchor with its negatives are sorted.  The
l-th largest is averaged over anchors, and compared with the mean similarity of positives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import paired
from cl_analyze.metrics.anchor_values import AnchorValues, nth_neighbour, of_anchors, own_values
from cl_analyze.metrics.anchors import FEWEST, Anchors, Estimate
from cl_analyze.metrics.bins import (
    FINE_BINS,
    TABLE_BINS,
    bin_rows,
    histogram,
    histogram_quantiles,
    histogram_shares,
)
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.means import Number, woodruff
from cl_analyze.metrics.metric import NEGATIVES, Better, Metric, Parameter
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.subject import Subject, near_duplicate_notes, nearest_negatives_reducer
from cl_analyze.metrics.uniform_law import (
    REFERENCE_COLUMNS,
    cosine_share_below,
    expected_nearest,
)
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import PairHistogram, PairMoments, RowCountsBelow
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.similarity_groups import negative_group
from cl_analyze.results.stats import pseudo_values, standard_error
from cl_analyze.results.tables import Cell, Param, Record, Table

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Vector = NDArray[np.float64]
Function = Callable[[Vector], Vector]

_DEFINITIONS = ("view_pairs", "same_class")
_PARAMETERS = (Parameter("group", "top_k"), NEGATIVES)
MEAN = Metric(
    "similarity_mean",
    "cosine",
    "mean cosine of a group: positives, or the l-th nearest negative of each row.",
    _DEFINITIONS,
    parameters=_PARAMETERS,
)
STD = Metric(
    "similarity_std",
    "cosine",
    "standard deviation of these cosines.",
    _DEFINITIONS,
    parameters=_PARAMETERS,
)
QUANTILE = Metric(
    "similarity_quantile",
    "cosine",
    "their quantile at q.",
    _DEFINITIONS,
    parameters=(*_PARAMETERS, Parameter("q")),
)


Part = Callable[[Function], AnchorValues]
"""A function f of similarities -> the anchors' values f(s), with deletions."""


@dataclass(frozen=True)
class _Group:
    """A group of similarities: the checkpoint, definition and parameters of its records.

    Attributes:
        subject: the checkpoint.
        definition: view_pairs or same_class for positives; None for negatives.
        params: the name of the group, and the kind of negatives.
    """

    subject: Subject
    definition: str | None
    params: Mapping[str, Any]

    def _metrics(self) -> list[Metric]:
        """Mean, standard deviation, and each quantile."""
        at = self.params
        quantiles = (QUANTILE.at(self.definition, **at, q=q) for q in QUANTILES)
        return [MEAN.at(self.definition, **at), STD.at(self.definition, **at), *quantiles]

    def records(self, mean: Number, std: Number, quantiles: Sequence[Number]) -> list[Record]:
        """Records of the mean, the standard deviation and the quantiles."""
        numbers = (mean, std, *quantiles)
        return [
            metric.record(self.subject.source, self.subject.d, number)
            for metric, number in zip(self._metrics(), numbers, strict=True)
        ]

    def undefined(self, reason: str) -> list[Record]:
        """Records without values, with the reason."""
        return [m.undefined(self.subject.source, self.subject.d, reason) for m in self._metrics()]


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
        if _are_classes_positive(subject):
            reducers += [PairMoments("same_class"), PairHistogram(FINE_BINS, "same_class")]
        return tuple(reducers)

    def curve_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Similarities of the anchors with all rows."""
        return (PairHistogram(TABLE_BINS, "all"),)

    def second_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Counts of same-class pairs below their quantiles, for the errors of the quantiles."""
        quantiles = _class_quantiles(results.subject, results.first)
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
        if subject.views is not None:
            values, _ = paired(*subject.views)
            group = _Group(subject, "view_pairs", {"group": "positive"})
            records += _of_values(group, values, lambda f: own_values(values, f), "")
            histograms += bin_rows(subject.source, "positive", histogram(values), True)
        elif subject.labels is not None:
            records += _of_classes(results)
            fine = results.first[PairHistogram(FINE_BINS, "same_class")]
            if fine.sum():
                counts = fine.reshape(TABLE_BINS, -1).sum(axis=1) / (2.0 if is_exhaustive else 1.0)
                histograms += bin_rows(subject.source, "positive", counts, is_exhaustive)
        for rank in range(options.top_k):
            records += _of_rank(subject, options, anchors, neighbours, rank)
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


def _are_classes_positive(subject: Subject) -> bool:
    return subject.views is None and subject.labels is not None


def _class_quantiles(subject: Subject, first: Found) -> tuple[float, ...]:
    """Quantiles of same-class pairs; empty where they are not the positives, or without pairs."""
    if not _are_classes_positive(subject):
        return ()
    counts = first[PairHistogram(FINE_BINS, "same_class")]
    if counts.sum() == 0:
        return ()
    return tuple(float(q) for q in histogram_quantiles(counts, np.array(QUANTILES)))


def _values_of_rank(neighbours: Neighbours, rank: int, anchors: Anchors) -> Vector:
    """Similarities of the nearest negatives of one rank; all NaN for too few anchors."""
    values: Vector = neighbours.values[:, rank]
    if anchors.is_sample and np.isfinite(values).sum() < FEWEST:
        return np.full(len(values), np.nan)
    return values


def _of_rank(
    subject: Subject,
    options: MetricOptions,
    anchors: Anchors,
    neighbours: Neighbours,
    rank: int,
) -> list[Record]:
    """Records of the l-th nearest negative, l from 1 = rank + 1."""
    params = {"group": negative_group(rank + 1), **options.negative_params}
    group = _Group(subject, None, params)
    values = _values_of_rank(neighbours, rank, anchors)
    if not anchors.is_sample or not np.isfinite(values).any():
        nobody = "hardly any of the anchors" if anchors.is_sample else "no row"
        reason = f"{nobody} has {rank + 1} negative{'s' if rank else ''}"
        part = partial(nth_neighbour, neighbours, rank, n_rows=subject.n)
        return _of_values(group, values, part, reason)
    parts = [
        partial(nth_neighbour, of_anchors(neighbours, half), rank, n_rows=subject.n)
        for half in anchors.halves
    ]
    return _estimated(group, values, parts, anchors)


def _error(subject: Subject, value: float, without: Vector) -> float | None:
    pseudo = pseudo_values(value, without) if subject.n > 3 else None
    return standard_error(pseudo, subject.groups)


def _deleted(subject: Subject, value: float, without: Vector, n: int) -> Number:
    """A number with the jackknife error and pseudo-values."""
    pseudo = pseudo_values(value, without) if subject.n > 3 else None
    return Number(value, standard_error(pseudo, subject.groups), n, pseudo)


def _of_values(group: _Group, values: Vector, part: Part, reason: str) -> list[Record]:
    """Records of the mean, standard deviation and quantiles of one value for each anchor.

    Args:
        group: the group of the records.
        values: similarities, NaN where an anchor has no value.
        part: the values of a function of the similarities, with deletions.
        reason: reason where no anchor has a value.
    """
    present = values[np.isfinite(values)]
    n = len(present)
    if n == 0:
        return group.undefined(reason)
    mean, square = float(present.mean()), float((present**2).mean())
    std = math.sqrt(max(float(present.var()), 0.0))
    first = part(lambda v: v).mean_without()
    second = part(np.square).mean_without()
    spread = np.sqrt(np.maximum(second - first**2, 0.0))
    shift = std - math.sqrt(max(square - mean**2, 0.0))  # the same rounding on both sides
    quantiles = []
    for q in QUANTILES:
        at = float(np.quantile(present, q))
        below = part(partial(_is_below, at=at)).mean_without()
        share_error = _error(group.subject, float((present <= at).mean()), below)
        error = woodruff(lambda p: np.quantile(present, p), q, share_error)
        quantiles.append(Number(at, error, n))
    return group.records(
        _deleted(group.subject, mean, first, n),
        _deleted(group.subject, std, spread + shift, n),
        quantiles,
    )


def _number(estimate: Estimate, error: float | None) -> Number:
    return Number(estimate.value, error, estimate.n, None, estimate.sampling_error)


def _root(squared: Number) -> Number:
    """The standard deviation from the mean squared distance."""
    std = math.sqrt(max(squared.value, 0.0))
    return squared.moved(std, 0.5 / std if std > 0 else 0.0)


def _estimated(
    group: _Group, values: Vector, parts: Sequence[Part], anchors: Anchors
) -> list[Record]:
    """As `_of_values`, from a sample of anchors; each part belongs to one half of the sample."""

    def mean_of(function: Function, drawn: Anchors = anchors) -> Number:
        statistic = function(values)
        population = drawn.population(statistic)
        estimate = drawn.mean(statistic, population)
        effects = []
        for part in parts:
            of_half = part(function)
            scale = population / max(int(np.isfinite(of_half.values).sum()), 1)
            effects.append(-scale * (of_half.gains + estimate.value * of_half.lost))
        error = drawn.std_error(statistic, effects, population, group.subject.groups)
        return _number(estimate, error)

    mean = mean_of(lambda v: v)
    squared = mean_of(lambda v: (v - mean.value) ** 2)
    plain = anchors.without_moments()  # the quantile is that of the anchors, without regression
    present = values[np.isfinite(values)]
    quantiles = []
    for q in QUANTILES:
        at = float(np.quantile(present, q))
        share = mean_of(partial(_is_below, at=at), plain)
        quantiles.append(_quantile(at, share, q, partial(np.quantile, present)))
    return group.records(mean, _root(squared), quantiles)


def _quantile(
    at: float, share: Number, q: float, quantile: Callable[[Any], Any], width: float = 0.0
) -> Number:
    """A quantile with Woodruff's errors.

    Args:
        at: the quantile.
        share: share of values at or below the quantile, with its errors.
        q: the share at which the quantile is taken.
        quantile: the quantile function.
        width: width of the histogram's bins, added to the sampling error.
    """
    error, sampling = (
        woodruff(quantile, q, of_share) for of_share in (share.std_error, share.sampling_error)
    )
    return Number(at, error, share.n, None, (sampling or 0.0) + width)


def _of_classes(results: PassResults) -> list[Record]:
    """Records of the positive group where positives are all same-class pairs."""
    subject = results.subject
    assert subject.labels is not None
    group = _Group(subject, "same_class", {"group": "positive"})
    fine = results.first[PairHistogram(FINE_BINS, "same_class")]
    if fine.sum() == 0:
        return group.undefined(
            "no anchor has another row of its class"
            if results.anchors.is_sample
            else "no class has two members"
        )
    codes, counts = subject.labels.codes, subject.labels.counts.astype(np.float64)
    partners = np.where(codes >= 0, counts[codes] - 1, np.nan)
    of_classes = _estimated_of_classes if results.anchors.is_sample else _exact_of_classes
    return of_classes(group, results, partners)


def _exact_of_classes(group: _Group, results: PassResults, partners: Vector) -> list[Record]:
    """Records of all same-class pairs, with the jackknife over rows.

    Args:
        group: the group of the records.
        results: the passes.
        partners: (N,) number of positives of each row; NaN for unlabelled rows.
    """
    subject = group.subject
    sums = results.first[PairMoments("same_class")]
    fine = results.first[PairHistogram(FINE_BINS, "same_class")]
    labelled = ~np.isnan(partners)
    n_labelled = int(labelled.sum())
    n_pairs = float(np.nansum(partners))
    n_anchors = int((partners >= 1).sum())

    def mean_without(row_sums: Vector) -> Vector:
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (row_sums.sum() - 2 * row_sums) / (n_pairs - 2 * partners)
        return np.where(np.isfinite(without), without, np.nan)

    mean, square = (float(sums[:, c].sum() / n_pairs) for c in (0, 1))
    std = math.sqrt(max(square - mean**2, 0.0))
    mean_left, square_left = mean_without(sums[:, 0]), mean_without(sums[:, 1])
    std_left = np.sqrt(np.maximum(square_left - mean_left**2, 0.0))
    at = _class_quantiles(subject, results.first)
    reducer = RowCountsBelow(at, "same_class")
    below = np.concatenate([pass_results[reducer] for pass_results, _ in results.second])
    counted = np.concatenate([rows for _, rows in results.second])
    shares = histogram_shares(fine, np.array(at))
    quantiles = []
    for c, q in enumerate(QUANTILES):
        with np.errstate(divide="ignore", invalid="ignore"):
            left = (shares[c] * n_pairs - 2 * below[:, c]) / (n_pairs - 2 * partners[counted])
        left = np.where(np.isfinite(left), left, np.nan)
        pseudo = np.full(subject.n, np.nan)
        pseudo[counted] = n_labelled * shares[c] - (n_labelled - 1) * left
        error = standard_error(pseudo, subject.groups) if subject.n > 3 else None
        if error is not None:  # the pseudo-values may be those of a sample of rows
            error *= math.sqrt(int(labelled[counted].sum()) / n_labelled)
        of_quantile = woodruff(partial(histogram_quantiles, fine), q, error)
        quantiles.append(Number(at[c], of_quantile, n_anchors, None, 2.0 / FINE_BINS))
    return group.records(
        _deleted(subject, mean, mean_left, n_anchors),
        _deleted(subject, std, std_left, n_anchors),
        quantiles,
    )


def _estimated_of_classes(group: _Group, results: PassResults, partners: Vector) -> list[Record]:
    """Records of same-class pairs, estimated from the pairs of a sample of anchors.

    A mean over pairs is a ratio estimator: the mean of the rows' sums over the mean of the rows'
    numbers of partners.  Its errors are those of the mean residual, sum - ratio * partners.

    Args:
        group: the group of the records.
        results: the passes.
        partners: (N,) number of positives of each row; NaN for unlabelled rows.
    """
    subject, anchors = group.subject, results.anchors
    n_partners = np.nan_to_num(partners[anchors.rows])
    partners_a_row = float(np.nansum(partners)) / subject.n
    n_pairs = n_partners.sum()
    n_anchors = int((n_partners >= 1).sum())

    def ratio_of(row_sums: Vector) -> Number:
        ratio = float(row_sums.sum() / n_pairs)
        residuals = (row_sums - ratio * n_partners) / partners_a_row
        sampling = anchors.without_moments().mean(residuals).sampling_error
        error = anchors.std_error(2.0 * residuals, groups=subject.groups)
        return Number(ratio, error, n_anchors, None, sampling)

    sums = results.first[PairMoments("same_class")]
    mean = ratio_of(sums[:, 0])
    # sums of (s - mean)^2 over the partners of each anchor
    squared = sums[:, 1] - 2.0 * mean.value * sums[:, 0] + mean.value**2 * n_partners
    at = _class_quantiles(subject, results.first)
    below = np.empty((len(anchors.rows), len(at)))
    for half, (pass_results, _) in zip(anchors.halves, results.second, strict=True):
        below[half] = pass_results[RowCountsBelow(at, "same_class")]
    fine = results.first[PairHistogram(FINE_BINS, "same_class")]
    quantiles = [
        _quantile(
            at[c], ratio_of(below[:, c]), q, partial(histogram_quantiles, fine), 2.0 / FINE_BINS
        )
        for c, q in enumerate(QUANTILES)
    ]
    return group.records(mean, _root(ratio_of(squared)), quantiles)


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


def _is_below(values: Vector, at: float) -> Vector:
    """1 where a value is at or below a limit, 0 above; NaN stays."""
    return np.where(np.isnan(values), np.nan, (values <= at).astype(np.float64))
