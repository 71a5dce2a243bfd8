"""Records of positives that are all pairs of rows of one class."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.bins import FINE_BINS, histogram_quantiles, histogram_shares
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.means import Number, woodruff
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.similarity.groups import QUANTILES, Group, quantile_number, root
from cl_analyze.metrics.subject import Subject
from cl_analyze.pairs.reducers import PairHistogram, PairMoments, RowCountsBelow
from cl_analyze.results.stats import pseudo_values, standard_error
from cl_analyze.results.tables import Record

Vector = NDArray[np.float64]


def are_classes_positive(subject: Subject) -> bool:
    """Whether positives are the pairs of rows of one class, for there are no other positives."""
    has_others = subject.views is not None or subject.relevance is not None
    return subject.labels is not None and not has_others


def class_quantiles(subject: Subject, first: Found) -> tuple[float, ...]:
    """Quantiles of same-class pairs; empty where they are not the positives, or without pairs."""
    if not are_classes_positive(subject):
        return ()
    counts = first[PairHistogram(FINE_BINS, "same_class")]
    if counts.sum() == 0:
        return ()
    return tuple(float(q) for q in histogram_quantiles(counts, np.array(QUANTILES)))


def class_records(results: PassResults) -> list[Record]:
    """Records of the positive group where positives are all same-class pairs."""
    subject = results.subject
    assert subject.labels is not None
    group = Group(subject, "same_class", {"group": "positive"})
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


def _deleted(subject: Subject, value: float, without: Vector, n: int) -> Number:
    """A number with the jackknife error and pseudo-values."""
    pseudo = pseudo_values(value, without) if subject.n > 3 else None
    return Number(value, standard_error(pseudo, subject.groups), n, pseudo)


def _exact_of_classes(group: Group, results: PassResults, partners: Vector) -> list[Record]:
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
    at = class_quantiles(subject, results.first)
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


def _estimated_of_classes(group: Group, results: PassResults, partners: Vector) -> list[Record]:
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
    at = class_quantiles(subject, results.first)
    below = np.empty((len(anchors.rows), len(at)))
    for half, (pass_results, _) in zip(anchors.halves, results.second, strict=True):
        below[half] = pass_results[RowCountsBelow(at, "same_class")]
    fine = results.first[PairHistogram(FINE_BINS, "same_class")]
    quantiles = [
        quantile_number(
            at[c], ratio_of(below[:, c]), q, partial(histogram_quantiles, fine), 2.0 / FINE_BINS
        )
        for c, q in enumerate(QUANTILES)
    ]
    return group.records(mean, root(ratio_of(squared)), quantiles)
