"""Two views or towers: alignment, the modality gap and the relative modality gap.

References: Wang & Isola, ICML 2020 (alignment); Liang, Zhang, Kwon, Yeung & Zou, NeurIPS 2022 (the
modality gap); Schrodi, Hoffmann, Argus, Fischer & Brox, ICLR 2025 (the relative modality gap).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.metrics.positives import view_pairs
from cl_analyze.metrics.quality.classes import ROUNDING
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.jackknife import Deletions, mean_deletions
from cl_analyze.metrics.quality.rows import FormRows, Vector
from cl_analyze.results.stats import pseudo_values, standard_error
from cl_analyze.results.tables import Record

POWER = Parameter("power", "alignment_power")
ALIGNMENT = Metric(
    "alignment",
    "squared_distance",
    "mean of ‖u − v‖^power over positives.",
    formulas=("mean ‖u_i − v_i‖^power (`--alignment-power`, 2)",),
    parameters=(POWER,),
    better="lower",
    needs="views",
    source="Wang & Isola 2020.",
)
GAP = Metric(
    "modality_gap",
    "none",
    "distance between the views' mean rows.",
    formulas=("‖mean u − mean v‖",),
    better="lower",
    needs="views",
    source="Liang et al. 2022.",
)
GAP_RESIDUAL = Metric(
    "modality_gap_residual",
    "squared_distance",
    "mean squared distance of partners after each view is centred.",
    formulas=(
        "mean squared distance of partners after each view is centred: `alignment` = gap² + "
        "residual",
    ),
    needs="views",
)
RELATIVE_GAP = Metric(
    "modality_gap_relative",
    "ratio",
    "distance of partners divided by the sum of this distance and the distance of rows within a "
    "view.",
    formulas=(
        "d_p/(d_p + (d_1 + d_2)/2), d = (1 − s)/2: d_p the mean over partners, d_1 and d_2 the "
        "means over i ≠ j within each view; ½ where partners are as far apart as any two rows of "
        "a view",
    ),
    better="lower",
    needs="views",
    source="Schrodi et al. 2025.",
)
METRICS = (ALIGNMENT, GAP, GAP_RESIDUAL, RELATIVE_GAP)


def modality_gap(first: UnitRows, second: UnitRows) -> tuple[Deletions, Deletions]:
    """The modality gap and the residual when each side is centred, in two passes over the rows.

    Returns:
        |mean u - mean v|, and the mean of |(u - mean u) - (v - mean v)|^2;
        alignment = gap^2 + residual.
    """
    n, dim = first.n_rows, first.dim
    sides = FormRows("normalised", first), FormRows("normalised", second)

    def differences() -> Iterator[tuple[slice, Vector]]:
        for (span, u), (_, v) in zip(
            *(side.blocks(block_rows(dim)) for side in sides), strict=True
        ):
            yield span, u - v

    total, squares, along = np.zeros(dim), np.empty(n), np.empty(n)
    for _, block in differences():
        total += block.sum(axis=0)
    gap = total / n
    for span, block in differences():
        left = block - gap
        squares[span] = np.square(left).sum(axis=1)
        along[span] = left @ gap
    size = float(gap @ gap)
    # without row i the mean is gap - left_i / (N - 1)
    less = size - 2.0 * along / (n - 1) + squares / (n - 1) ** 2
    residual = float(squares.mean())
    # sum of squares about the mean of the others
    residual_less = (squares.sum() - squares * n / (n - 1)) / (n - 1)
    gaps = Deletions(size**0.5, np.sqrt(np.maximum(less, 0.0)))
    return gaps, Deletions(residual, residual_less)


def mean_distance_within(rows: UnitRows) -> Deletions:
    """Mean of (1 - s) / 2 over ordered pairs i != j of unit rows, in two passes over the rows.

    (1 - s) / 2 is a quarter of the squared distance, and squared distances of all pairs add up to
    N times those from the mean row, which have digits where cosines crowd at 1.
    """
    side, n, dim = FormRows("normalised", rows), rows.n_rows, rows.dim
    step = block_rows(dim)
    mean = sum((block.sum(axis=0) for _, block in side.blocks(step)), np.zeros(dim)) / n
    squares = np.empty(n)
    for span, block in side.blocks(step):
        squares[span] = np.square(block - mean).sum(axis=1)
    total = float(squares.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.maximum(total - squares * n / (n - 1), 0.0) / (2.0 * (n - 2))
        return Deletions(float(np.divide(total, 2.0 * (n - 1))), without)


def relative_gap(apart: Any, first: Any, second: Any) -> Any:
    """The relative modality gap from mean distances: of partners, and within each view.

    Returns:
        NaN where no two rows differ by more than rounding.

    >>> round(float(relative_gap(0.1, 0.4, 0.2)), 9)
    0.25
    """
    total = np.asarray(apart + 0.5 * (first + second))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > ROUNDING, apart / total, np.nan)[()]


def pair_distances(context: Context) -> Vector:
    """(N,) mean over each row's positive pairs of the distance to the power of alignment."""
    positives = context.results.positives
    assert positives is not None
    return positives.row_means(positives.distance ** (0.5 * context.options.alignment_power))


def view_records(context: Context) -> Iterator[Record]:
    """Alignment, the modality gap, and what is left of alignment without the gap."""
    subject = context.subject
    power = context.options.alignment_power
    alignment = ALIGNMENT if power == 2 else replace(ALIGNMENT, unit="none")
    yield context.averaged(alignment.at(power=power), context.once(pair_distances))
    if subject.views is None:
        yield from _gap_of_files(context)
        return
    views = subject.views
    gaps = [modality_gap(views[a], views[b]) for a, b in view_pairs(len(views))]
    for metric, deletions in zip((GAP, GAP_RESIDUAL), zip(*gaps, strict=True), strict=True):
        yield context.jackknifed(metric, mean_deletions(deletions))
    yield _relative_gap(context)


_NEED_TO_DIFFER = "rows do not differ by more than rounding"


def _relative_gap(context: Context) -> Record:
    """The mean over the pairs of views, each row deleted from all views."""
    views, positives = context.subject.views, context.results.positives
    assert views is not None
    assert positives is not None
    pairs, n = view_pairs(len(views)), context.subject.n
    within = [mean_distance_within(view) for view in views]
    gaps = []
    for column, (a, b) in zip(positives.distance.reshape(-1, len(pairs)).T, pairs, strict=True):
        own = 0.25 * column
        apart = Deletions(float(own.mean()), (own.sum() - own) / (n - 1))
        value = relative_gap(apart.value, within[a].value, within[b].value)
        without = relative_gap(apart.without, within[a].without, within[b].without)
        gaps.append(Deletions(float(value), without))
    mean = mean_deletions(gaps)
    if math.isnan(mean.value):
        return context.recorded(RELATIVE_GAP, None, reason=_NEED_TO_DIFFER)
    return context.jackknifed(RELATIVE_GAP, mean)


def _gap_of_files(context: Context) -> Iterator[Record]:
    """The modality gap of queries and items, and the residual of the relevant pairs.

    The error of the gap takes in that both queries and items are samples.
    """
    subject, positives = context.subject, context.results.positives
    assert subject.partners is not None
    assert subject.relevance is not None
    assert positives is not None
    sides = FormRows("normalised", subject.rows), FormRows("normalised", subject.partners)
    step = block_rows(subject.d)
    means = [
        sum((block.sum(axis=0) for _, block in side.blocks(step)), np.zeros(subject.d))
        / side.shape[0]
        for side in sides
    ]
    gap = means[0] - means[1]
    along, variances = [], []
    for side, mean, sign, groups in zip(sides, means, (1, -1), (subject.groups, None), strict=True):
        n = side.shape[0]
        products, squares = np.empty(n), np.empty(n)
        for span, block in side.blocks(step):
            products[span] = block @ gap
            squares[span] = np.square(block - mean).sum(axis=1)
        along.append(products)
        apart = sign * (products - float(mean @ gap))
        less = float(gap @ gap) - 2.0 * apart / (n - 1) + squares / (n - 1) ** 2
        without = np.sqrt(np.maximum(less, 0.0))
        pseudo = pseudo_values(float(np.sqrt(gap @ gap)), without)
        variances.append((standard_error(pseudo, groups) or 0.0) ** 2)
    size = math.sqrt(float(gap @ gap))
    yield context.recorded(GAP, size, math.sqrt(sum(variances)))
    relevance = subject.relevance
    shifts = along[0][relevance.queries] - along[1][relevance.items]
    residuals = positives.distance - 2.0 * shifts + size**2
    yield context.averaged(GAP_RESIDUAL, positives.row_means(residuals))
    yield _relative_gap_of_files(context)


def _relative_gap_of_files(context: Context) -> Record:
    """The relative gap of the related pairs, where a query has one vote.

    Within a file, all of its rows count, related or not.  The error takes in that both queries and
    items are samples: a query goes with its pairs, an item is taken from its queries' means, and a
    query that loses its only item goes too.
    """
    subject, positives, relevance = (
        context.subject,
        context.results.positives,
        context.subject.relevance,
    )
    assert subject.partners is not None
    assert positives is not None
    assert relevance is not None
    distance = 0.25 * positives.distance
    own = positives.row_means(distance)
    has_items = np.isfinite(own)
    if not has_items.any() or min(subject.n, subject.partners.n_rows) < 2:
        reason = "needs two rows in each file, and a related pair"
        return context.recorded(RELATIVE_GAP, None, reason=reason)
    total, n_queries = float(own[has_items].sum()), int(has_items.sum())
    sides = [mean_distance_within(rows) for rows in (subject.rows, subject.partners)]
    value = float(relative_gap(total / n_queries, sides[0].value, sides[1].value))
    if math.isnan(value):
        return context.recorded(RELATIVE_GAP, None, reason=_NEED_TO_DIFFER)
    with np.errstate(divide="ignore", invalid="ignore"):
        less = (total - np.where(has_items, own, 0.0)) / (n_queries - has_items)
        of_queries = relative_gap(less, sides[0].without, sides[1].value)
        counts, means = positives.counts[positives.owners], own[positives.owners]
        left = np.where(counts > 1, (counts * means - distance) / (counts - 1), 0.0)
        n_items = subject.partners.n_rows
        changes = np.bincount(relevance.items, left - means, n_items)
        lost = np.bincount(relevance.items, counts == 1, n_items)
        less = (total + changes) / (n_queries - lost)
        of_items = relative_gap(less, sides[0].value, sides[1].without)
    errors = [
        standard_error(pseudo_values(value, without), groups)
        for without, groups in ((of_queries, subject.groups), (of_items, None))
    ]
    error = None if None in errors else math.hypot(*(each or 0.0 for each in errors))
    return context.recorded(RELATIVE_GAP, value, error, n=n_queries)


def view_notes(context: Context) -> Iterator[str]:
    """A note on the metrics that look at one of two files alone."""
    if context.subject.partners is not None:
        yield (
            f"{context.subject.source}: spectrum, hubs and class structure are of this file alone; "
            "run quality on the partners' file to see its own"
        )
