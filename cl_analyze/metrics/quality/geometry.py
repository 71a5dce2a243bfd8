"""Norms of the saved rows, the mean cosine, near-duplicates, Wasserstein distance from uniformity.

The distance compares the cosines of all pairs with the cosines of points that are uniform on the
sphere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.jackknife import Deletions
from cl_analyze.metrics.quality.rows import Vector
from cl_analyze.metrics.subject import NEAR_DUPLICATE
from cl_analyze.metrics.uniform_law import cosine_share_below
from cl_analyze.pairs.reducers import BinSums, PairHistogram
from cl_analyze.results.stats import standard_error
from cl_analyze.results.tables import Record, Table

BINS = 1 << 14
"""Bins of the distribution of cosines; the width of a bin is the error of the distance."""
MOST_LISTED = 50
"""Pairs of near-duplicates that are listed."""

NORM_MEAN, NORM_STD = (
    Metric(
        "norm_mean", "none", "mean norm of the rows as saved.", formulas=("of the rows as saved",)
    ),
    Metric(
        "norm_std",
        "none",
        "standard deviation of these norms.",
        formulas=("their deviation, which divides by N",),
    ),
)
MEAN_COSINE = Metric(
    "mean_cosine",
    "cosine",
    "mean cosine of all pairs of different rows.",
    formulas=("over all pairs i ≠ j; anisotropy",),
    better="lower",
    depends_on=("dimensions",),
)
NEAR_DUPLICATES = Metric(
    "near_duplicate_share",
    "share",
    "share of rows that have another at cosine above 1 − 1e-6.",
    formulas=(
        "rows with another at cosine above 1 − 10⁻⁶; the nearest pairs are in "
        "`near_duplicates.csv`",
    ),
    better="lower",
    depends_on=("dimensions", "rows"),
)
WASSERSTEIN = Metric(
    "uniformity_wasserstein",
    "cosine",
    "1-Wasserstein distance between the pairwise cosines and those of the uniform sphere.",
    formulas=(
        "W₁ between the cosines of all pairs and those of uniform points in D dimensions, from "
        "2¹⁴ bins (their width is its `sampling_error`)",
    ),
    better="lower",
    depends_on=("dimensions",),
)
METRICS = (NORM_MEAN, NORM_STD, MEAN_COSINE, NEAR_DUPLICATES, WASSERSTEIN)


def mean_cosine(context: Context) -> Deletions:
    """Mean cosine over ordered pairs i != j, from the sum of the unit rows, in two passes."""
    rows = context.forms[1]
    n, dim = rows.shape
    step = block_rows(dim)
    total, own = np.zeros(dim), np.empty(n)
    for _, block in rows.blocks(step):
        total += block.sum(axis=0)
    for span, block in rows.blocks(step):
        own[span] = block @ total - np.einsum("ij,ij->i", block, block)
    pairs = float(own.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (pairs - 2.0 * own) / ((n - 1) * (n - 2.0))
    return Deletions(pairs / (n * (n - 1)), without)


def standard_deviation(values: Vector) -> Deletions:
    """The standard deviation of (N,) values, divided by the count."""
    n = len(values)
    left = values - values.mean()
    total = float((left**2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.sqrt(np.maximum(total - left**2 * n / (n - 1), 0.0) / (n - 1))
    return Deletions(float(values.std()), without)


def wasserstein_from_histogram(counts: Vector, d: int) -> tuple[float, Vector]:
    """W1 = integral of |F - F0| over cosines, F0 the law of the cosine of two uniform points.

    Pairs are spread evenly within their bins.

    Args:
        counts: (bins,) pairs in equal bins on [-1, 1].
        d: dimensions.

    Returns:
        W1, and (bins,) its derivative with respect to the share of pairs in each bin.

    >>> counts = np.zeros(BINS)
    >>> counts[BINS // 2] = 6.0                       # orthogonal rows
    >>> round(wasserstein_from_histogram(counts, 3)[0], 3)
    0.5
    """
    n_bins = len(counts)
    width = 2.0 / n_bins
    centres: Vector = (np.arange(n_bins) + 0.5).astype(np.float64) * width - 1.0
    share = counts / counts.sum()
    left = np.cumsum(share) - 0.5 * share - cosine_share_below(d, centres)
    # a pair in a bin raises F at every edge to the right of it
    slope = np.cumsum((np.sign(left) * width)[::-1])[::-1]
    return float(np.abs(left).sum() * width), slope


def geometry_records(context: Context) -> Iterator[Record]:
    """Norms, mean cosine, near-duplicates, Wasserstein uniformity."""
    norms = context.norms / context.largest_norm  # squares stay in range
    mean = Deletions(float(norms.mean()), (norms.sum() - norms) / (len(norms) - 1))
    yield _stored_unit(context, context.jackknifed(NORM_MEAN, mean))
    yield _stored_unit(context, context.jackknifed(NORM_STD, standard_deviation(norms)))
    yield context.jackknifed(MEAN_COSINE, context.once(mean_cosine))
    is_near = np.where(context.near.values[:, 0] > NEAR_DUPLICATE, 1.0, 0.0)
    yield context.averaged(NEAR_DUPLICATES, is_near)
    yield _wasserstein(context)


def _stored_unit(context: Context, record: Record) -> Record:
    """A record of norms over the largest one, in the unit of the saved rows."""
    scale = context.largest_norm
    if record.value is None:
        return record
    value, pseudo = scale * record.value, record.pseudo_values
    if not math.isfinite(value):
        return replace(record.bare(), value=None, std_error=None, reason="beyond float64's range")
    return replace(
        record,
        value=value,
        std_error=None if record.std_error is None else scale * record.std_error,
        pseudo_values=None if pseudo is None else scale * pseudo,
    )


def _wasserstein(context: Context) -> Record:
    """W1 from bins; its error from some anchors' rows."""
    subject, results = context.subject, context.results
    value, slope = wasserstein_from_histogram(results.first[PairHistogram(BINS)], subject.d)
    reducer = BinSums(BINS, slope)
    chosen = results.curve_anchors
    own = context.runner.anchored([reducer], chosen)[reducer] / (subject.n - 1)
    if len(chosen) == subject.n:
        error = standard_error(2.0 * own, subject.groups)
    else:
        error = Anchors(chosen, subject.n).std_error(2.0 * own, groups=subject.groups)
    n_looked_at, sampling = len(context.looked_at), 2.0 / BINS
    if context.anchors.is_sample and error is not None:
        remaining = 1.0 - n_looked_at / subject.n
        of_anchors = 0.5 * error * math.sqrt(subject.n / n_looked_at * remaining)
        sampling = math.hypot(sampling, of_anchors)
    record = context.recorded(WASSERSTEIN, value, error, n=n_looked_at)
    return replace(record, sampling_error=sampling, exact=False)


def near_duplicate_table(context: Context) -> Table:
    """The nearest pairs of rows above a cosine of 1 - 1e-6, each pair once."""
    cosines, others = context.near.values[:, 0], context.near.indices[:, 0]
    own = context.looked_at
    at = np.flatnonzero(cosines > NEAR_DUPLICATE)
    at = at[np.lexsort((own[at], -cosines[at]))]
    pairs: dict[tuple[int, int], float] = {}
    for row, other, cosine in zip(own[at], others[at], cosines[at], strict=True):
        pairs.setdefault((int(min(row, other)), int(max(row, other))), float(cosine))
        if len(pairs) == MOST_LISTED:
            break
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return context.table(
        "near_duplicates",
        {
            "row": first,
            "other_row": second,
            "class": context.class_names(first),
            "other_class": context.class_names(second),
            "cosine": list(pairs.values()),
        },
    )
