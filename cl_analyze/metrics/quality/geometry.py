"""Norms of the saved rows, the mean cosine, near-duplicates, Wasserstein distances from uniformity.

One distance compares the cosines of all pairs with the cosines of points that are uniform on the
sphere, the other the Gaussian of the rows' mean and covariance with that of uniform points.
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
from cl_analyze.metrics.quality.factors import WIDEST
from cl_analyze.metrics.quality.jackknife import Deletions, jackknife_error
from cl_analyze.metrics.quality.rows import Vector
from cl_analyze.metrics.quality.spectrum import spectra
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
        "norm_mean",
        "none",
        "mean norm of the rows as saved.",
        formulas=("mean norm of the rows as saved",),
    ),
    Metric(
        "norm_std",
        "none",
        "standard deviation of the norms of the rows as saved.",
        formulas=("standard deviation of the norms (divided by N)",),
    ),
)
MEAN_COSINE = Metric(
    "mean_cosine",
    "cosine",
    "mean cosine of all pairs of different rows.",
    formulas=("mean cosine over all pairs i ≠ j; anisotropy",),
    better="lower",
    depends_on=("dimensions",),
)
NEAR_DUPLICATES = Metric(
    "near_duplicate_share",
    "share",
    "share of rows that have another row at a cosine above 1 − 1e-6.",
    formulas=(
        "share of rows that have another row at a cosine above 1 − 10⁻⁶; the nearest pairs are "
        "in `near_duplicates.csv`",
    ),
    better="lower",
    depends_on=("dimensions", "rows"),
)
WASSERSTEIN = Metric(
    "uniformity_wasserstein",
    "cosine",
    "Wasserstein distance from uniform points: 1-Wasserstein between the pairwise cosines "
    "(cosine_w1), 2-Wasserstein between Gaussians with the moments of the rows (gaussian_w2).",
    ("cosine_w1", "gaussian_w2"),
    (
        "W₁ between the cosines of all pairs and those of uniform points in D dimensions, from "
        "2¹⁴ bins (the width of a bin is the `sampling_error`)",
        "√(‖m‖² + 1 + tr S − (2/√D) tr S^½), m mean and S covariance (1/N) of the unit rows: W₂ "
        "between N(m, S) and N(0, I/D) (Fang et al. 2024)",
    ),
    better="lower",
    depends_on=("dimensions",),
    units=("cosine", "none"),
    title="Wasserstein uniformity",
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


def gaussian_w2(values: Vector, n_rows: int, dim: int) -> float:
    """W2 between the Gaussian with the moments of unit rows and N(0, I/D), the uniform moments.

    sqrt(|m|^2 + 1 + tr S - (2 / sqrt(D)) tr S^(1/2)), with m the mean row and S the covariance that
    divides by N.  Rows have norm 1, so |m|^2 + tr S = 1, and the roots of the eigenvalues of S are
    the singular values of the centred rows over sqrt(N).  From 0 (uniform moments) to sqrt(2) (all
    rows alike); about sqrt((D + 3) / (4 N)) for N >> D independent uniform points.

    Args:
        values: singular values of the unit rows less their mean row.
        n_rows, dim: N and D.

    >>> gaussian_w2(np.ones(3), 3, 3), gaussian_w2(np.zeros(3), 9, 3) == 2.0**0.5
    (0.0, True)

    Reference:
        Fang, Li, Sun & Wang, Rethinking the uniformity metric, ICLR 2024.
    """
    filled = float(values.sum()) / math.sqrt(n_rows * dim)
    return math.sqrt(max(2.0 - 2.0 * filled, 0.0))


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
    yield _gaussian_wasserstein(context)


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
    record = context.recorded(WASSERSTEIN.at("cosine_w1"), value, error, n=n_looked_at)
    return replace(record, sampling_error=sampling, exact=False)


def _gaussian_wasserstein(context: Context) -> Record:
    """W2 from the spectrum of the centred unit rows; its error from deleted groups of rows."""
    metric, (n, dim) = WASSERSTEIN.at("gaussian_w2"), context.forms[1].shape
    by_version = context.once(spectra).versions
    if not by_version:
        return context.recorded(metric, None, reason=f"needs min(N, D) of at most {WIDEST}")
    spectrum = by_version["normalised_centred"]
    left = n - np.bincount(context.deletion_groups)
    others = [
        gaussian_w2(values, int(n_left), dim)
        for values, n_left in zip(spectrum.without, left, strict=False)
    ]
    return context.recorded(metric, gaussian_w2(spectrum.values, n, dim), jackknife_error(others))


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
            "row_id": context.ids(first),
            "other_id": context.ids(second),
        },
    )
