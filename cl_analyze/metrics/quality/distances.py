"""Distances to the nearest other rows: KoLeo, outliers, intrinsic dimension.

Distances are Euclidean, of unit rows, from explicit differences: 2 - 2s has no digits left near 0.
The neighbours come from the pass over the pairs, which orders them by cosine.

Rows at distance 0 from another (copies) have no logarithm: they are left out as anchors, counted,
and a note says so.  They stay neighbours of other rows.

References: Sablayrolles, Douze, Schmid & Jegou, ICLR 2019 (KoLeo); Facco, d'Errico, Rodriguez &
Laio, Scientific Reports 2017 (two_nn); Levina & Bickel, NeurIPS 2004, with the average of MacKay &
Ghahramani, 2005 (mle); Tukey, Exploratory Data Analysis, 1977 (far out values).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.anchor_values import AnchorValues, Function, of_anchors
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.nearest_values import first_left, half_effects, of_nearest
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.rows import Index, Vector
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours
from cl_analyze.pairs.rescoring import GRID
from cl_analyze.results.stats import effective_rows
from cl_analyze.results.tables import Record

MLE_K = 10
"""Neighbours of the maximum-likelihood dimension."""
FIT_SHARE = 0.9
"""Share of the ratios, the smallest ones, that the line of `two_nn_fit` is fitted to."""
FAR_OUT = 3.0
"""Interquartile ranges beyond the upper quartile at which Tukey calls a value far out."""
ROW_BYTES = 400
"""Bytes for each anchor: distances and rows of its lists, in two orders while they are sorted."""
_TOLD = 4e-6
"""Squared distances from here on are told by the grid of cosines to a millionth."""
_LEVEL = 1e-12
"""Logarithms of ratios of distances at or under this are rounding of equal distances."""
_VALUES_AT_ONCE = 1 << 18

KOLEO = Metric(
    "koleo",
    "nats",
    "mean of −log of the distance to the nearest other row.",
    formulas=("mean −log ‖x_i − nearest x_j‖, unit rows; copies left out",),
    better="lower",
    depends_on=("dimensions", "rows"),
    source="Sablayrolles et al. 2019.",
    title="KoLeo",
)
OUTLIERS = Metric(
    "outlier_share",
    "share",
    "share of rows whose nearest other row is unusually far.",
    formulas=(
        "share of rows whose nearest row is farther than Q₃ + 3 (Q₃ − Q₁), with Q₁ and Q₃ the "
        "quartiles of these distances (unit rows)",
    ),
    source="Tukey 1977.",
)
DIMENSION = Metric(
    "intrinsic_dimension",
    "dimensions",
    "dimension of the surface on which the rows lie, estimated from the distances to the nearest "
    "rows.",
    ("two_nn", "two_nn_fit", "mle"),
    (
        "(N − 1)/Σ log(r₂/r₁), with r_j the distance to the j-th nearest row (Facco et al. 2017)",
        "slope through 0 of −log(1 − i/N) on the i-th smallest log(r₂/r₁), the smallest 90% of "
        "them",
        "1/mean of Σ_{j<k} log(r_k/r_j)/(k − 2), k = 10 (Levina & Bickel 2004)",
    ),
)
METRICS = (KOLEO, OUTLIERS, DIMENSION)


# ---- formulas; r is (t, k) distances to the nearest rows, ascending


def minus_log(r: Vector) -> Vector:
    """(t,) -log r_1; NaN for copies.

    >>> minus_log(np.array([[0.5], [0.0]])).round(3).tolist()
    [0.693, nan]
    """
    return np.where(r[:, 0] > 0, -_log(r[:, 0]), np.nan)


def log_ratio(r: Vector) -> Vector:
    """(t,) log mu = log(r_2 / r_1); NaN for copies."""
    return np.where(r[:, 0] > 0, _log(r[:, 1]) - _log(r[:, 0]), np.nan)


def inverse_dimension(r: Vector) -> Vector:
    """(t,) Levina & Bickel's inverse dimension: sum over j < k of log(r_k / r_j), over k - 2."""
    k = r.shape[1]
    logs = _log(r)
    sums = (k - 1) * logs[:, -1] - logs[:, :-1].sum(axis=1)
    return np.where(r[:, 0] > 0, sums / (k - 2), np.nan)


def fitted_dimension(log_mu: Vector) -> float | None:
    """Slope through the origin of -log(1 - F) on log mu, F = i/N, over the least 90% of log mu.

    Args:
        log_mu: log(r_2 / r_1) of the rows that take part.

    Returns:
        None where fewer than two ratios are fitted, or all of these are 1 up to rounding.
    """
    n = len(log_mu)
    n_fitted = math.floor(FIT_SHARE * n)
    x = np.sort(log_mu)[:n_fitted]
    y = -np.log1p(-np.arange(1.0, n_fitted + 1.0) / n)
    square = float(x @ x)
    return float(x @ y) / square if n_fitted > 1 and x[-1] > _LEVEL else None


def fit_influence(log_mu: Vector, slope: float) -> Callable[[Vector], Vector]:
    """What a row with a given log mu does to the slope of `fitted_dimension`, up to a constant.

    The slope is A / B with A = integral of Q(q) y(q) dq, B = integral of Q(q)^2 dq over q < 0.9, Q
    the quantile function of log mu and y = -log(1 - q).  A row at x moves these by the integrals of
    y and of 2 Q up to x, both ending at Q(0.9): the influence function of an L-statistic (Huber,
    Robust Statistics, 1981, section 3.3).

    Args:
        log_mu: as for `fitted_dimension`.
        slope: the fitted slope.
    """
    n = len(log_mu)
    n_fitted = math.floor(FIT_SHARE * n)
    x = np.sort(log_mu)[:n_fitted]
    y = -np.log1p(-np.arange(1.0, n_fitted + 1.0) / n)
    up_to: Vector = np.concatenate([[0.0], np.cumsum(y[:-1] * np.diff(x))])
    square = float(x @ x) / n

    def influence(at: Vector) -> Vector:
        clipped = np.minimum(at, x[-1])
        moved: Vector = (np.interp(clipped, x, up_to) - slope * clipped**2) / square
        return np.where(np.isnan(at), np.nan, moved)

    return influence


def far_out(r: Vector) -> NDArray[np.bool_]:
    """(n,) whether each distance exceeds the upper quartile by more than 3 interquartile ranges.

    >>> far_out(np.array([1.0, 1.1, 1.2, 1.3, 9.0])).tolist()
    [False, False, False, False, True]
    """
    lower, upper = np.quantile(r, (0.25, 0.75))
    return np.asarray(r > upper + FAR_OUT * (upper - lower))


def _log(r: Vector) -> Vector:
    with np.errstate(divide="ignore"):
        return np.log(np.maximum(r, 1e-300))


# ---- distances of a checkpoint


@dataclass(frozen=True)
class _Differences:
    """Job: distances of some rows to some of their neighbours."""

    rows: UnitRows

    def run(self, unit: tuple[Index, Index]) -> Vector:
        """(n, w) norms of differences; infinite where there is no neighbour."""
        own, others = unit
        out = np.full(others.shape, np.inf)
        step = max(1, _VALUES_AT_ONCE // (others.shape[1] * self.rows.dim))
        for start in range(0, len(own), step):
            part = slice(start, start + step)
            theirs = self.rows.take(np.maximum(others[part], 0).ravel())
            mine = np.repeat(self.rows.take(own[part]), others.shape[1], axis=0)
            out[part] = np.sqrt(np.square(theirs - mine).sum(axis=1)).reshape(-1, others.shape[1])
        return np.where(others == NO_NEIGHBOUR, np.inf, out)


@dataclass(frozen=True)
class Distances:
    """Distances of the rows of the first pass to their nearest other rows.

    Attributes:
        nearest: (m, w) distances, ascending and 0 for copies, and the rows they belong to.
        is_whole: whether all other rows are in the lists.
    """

    nearest: Neighbours
    is_whole: bool

    def told(self, k: int) -> Neighbours:
        """The lists, with distance 0 for rows whose k nearest cannot be told.

        Where more rows than a list holds lie so near that cosines do not order them (within
        2 10^-6, say), some that are not in the list may be nearer than the k-th.
        """
        values = self.nearest.values
        if self.is_whole or values.shape[1] < k:
            return self.nearest
        square, last = values[:, k - 1] ** 2, values[:, -1] ** 2
        is_crowded = (square < _TOLD) & (last - square <= 4.0 / GRID)
        return Neighbours(np.where(is_crowded[:, None], 0.0, values), self.nearest.indices)


def distances(context: Context) -> Distances:
    """Explicit distances to the nearest neighbours: O(N k D), in float64.

    Lists have one neighbour more than the largest k, for the deletions; with `--groups` they have
    all that the pass kept, for whole groups are deleted.
    """
    near, own = context.near, context.looked_at
    width = near.indices.shape[1]
    if context.subject.groups is None:
        width = min(MLE_K + 2, width)
    indices = near.indices[:, :width]
    context.runner.announce("distances of neighbours")
    starts = range(0, len(own), 1024)
    units = ((own[at : at + 1024], indices[at : at + 1024]) for at in starts)
    parts = list(context.local.run(_Differences(context.subject.rows), units))
    values = np.concatenate(parts)
    rounding = 8.0 * float(np.finfo(np.float64).eps) * math.sqrt(context.subject.d)
    values[values <= rounding] = 0.0
    order = np.argsort(values, axis=1, kind="stable")
    nearest = Neighbours(
        np.take_along_axis(values, order, axis=1), np.take_along_axis(indices, order, axis=1)
    )
    return Distances(nearest, width >= context.subject.n - 1)


# ---- records


def distance_records(context: Context) -> Iterator[Record]:
    """KoLeo, outliers, and the intrinsic dimension in every definition."""
    yield _of_mean(context, KOLEO, minus_log, 1, _itself)
    yield _outliers(context)
    yield _of_mean(context, DIMENSION.at("two_nn"), log_ratio, 2, _two_nn)
    yield _fitted(context)
    yield _of_mean(context, DIMENSION.at("mle"), inverse_dimension, MLE_K, _inverse)


Smooth = Callable[[Any, Any], Any]
"""A smooth function of a mean and of the number of rows in it."""


def _itself(mean: Any, n: Any) -> Any:
    return mean


def _inverse(mean: Any, n: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(1.0, mean)


def _two_nn(mean: Any, n: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return (n - 1.0) / (n * np.asarray(mean))


def _of_mean(
    context: Context, metric: Metric, function: Function, k: int, smooth: Smooth
) -> Record:
    """The record of a smooth function of a mean over rows of what their k nearest distances are."""
    if context.subject.n <= k:
        return context.recorded(metric, None, reason=f"needs more than {_rows(k)}")
    nearest = context.once(distances).told(k)
    values = function(nearest.values[:, :k])
    is_there = np.isfinite(values)
    mean = float(values[is_there].mean()) if is_there.any() else 0.0
    if not is_there.any() or (metric == DIMENSION and mean <= _LEVEL):
        return context.recorded(metric, None, reason=_nothing_left(context, k))
    number = _number(context, nearest, function, k, smooth)
    return context.of_mean(metric, number, values, context.anchors, FEW_ANCHORS)


def _number(
    context: Context, nearest: Neighbours, function: Function, k: int, smooth: Smooth = _itself
) -> Number | None:
    """A smooth function of a mean over rows of a function of their k nearest distances.

    A row acts on the mean as an anchor, and as a near row of others: see `of_nearest`.

    Returns:
        None where too few of the anchors have a value.
    """
    subject, anchors = context.subject, context.anchors

    def part(positions: Index) -> AnchorValues:
        own = of_anchors(nearest, positions)
        return of_nearest(function, k, own, anchors.rows[positions], subject.n, subject.groups)

    def slope(mean: float, n: int) -> float:
        return 1.0 if smooth is _itself else -float(smooth(mean, n)) / mean

    if not anchors.is_sample:
        (every,) = anchors.halves
        values = part(every)
        present = values.values[np.isfinite(values.values)]
        return values.of_mean(smooth, slope(float(present.mean()), len(present)), subject.groups)
    of_anchor = function(nearest.values[:, :k])
    population = anchors.population(of_anchor)
    effects = half_effects(
        [part(half) for half in anchors.halves], float(np.nanmean(of_anchor)), population
    )
    number = mean_with_effects(
        of_anchor, of_anchor, effects, 0.0, subject.groups, anchors, population, interaction=False
    )
    if number is None:
        return None
    value = float(smooth(number.value, population))
    return number.moved(value, slope(number.value, population))


def _rows(k: int) -> str:
    return f"{k} row{'s' if k > 1 else ''}"


def _nothing_left(context: Context, k: int) -> str:
    if not (context.once(distances).told(k).values[:, 0] > 0).any():
        return "every row is a copy of another, or nearer to many others than cosines can tell"
    return "the nearest rows of every row are at the same distance"


def _fitted(context: Context) -> Record:
    """The line of Facco et al.; the error from what each row does to the slope."""
    metric = DIMENSION.at("two_nn_fit")
    if context.subject.n <= 2:
        return context.recorded(metric, None, reason="needs more than 2 rows")
    nearest = context.once(distances).told(2)
    values = log_ratio(nearest.values[:, :2])
    ratios = values[~np.isnan(values)]
    slope = fitted_dimension(ratios)
    if slope is None:
        reason = "the least 90% of all ratios are 1" if len(ratios) > 2 else "needs more rows"
        reason = reason if len(ratios) else _nothing_left(context, 2)
        return context.recorded(metric, None, reason=reason)
    influence = fit_influence(ratios, slope)
    number = _number(context, nearest, lambda r: influence(log_ratio(r)), 2)
    if number is not None:
        number = number.shifted(slope - number.value)
    return context.of_mean(metric, number, values, context.anchors, FEW_ANCHORS)


def _outliers(context: Context) -> Record:
    """Rows far from all others; the error from deleted groups, which move the quartiles too.

    Neighbours that are left move up in the place of those that are deleted.
    """
    if context.anchors.is_sample:
        reason = "needs the neighbours of every row: run without --anchors"
        return context.recorded(OUTLIERS, None, reason=reason)
    nearest, groups = context.once(distances).nearest, context.deletion_groups
    is_there = nearest.indices != NO_NEIGHBOUR
    is_far = far_out(nearest.values[:, 0]).astype(np.float64)
    others: list[float | None] = []
    for group in np.unique(groups):
        left = groups != group
        kept = is_there[left] & left[np.maximum(nearest.indices[left], 0)]
        columns, n_left = first_left(kept, 1)
        first = np.take_along_axis(nearest.values[left], columns, axis=1)[n_left > 0, 0]
        others.append(float(far_out(first).mean()) if len(first) else None)
    error = jackknife_error(others)
    record = context.recorded(OUTLIERS, float(is_far.mean()), error)
    return replace(record, effective_n=effective_rows(is_far, error, context.subject.groups))


def distance_notes(context: Context) -> Iterator[str]:
    """A note on rows that take no part: copies, and rows in crowds that cosines cannot order."""
    found = context.once(distances)
    n_copies = int((found.nearest.values[:, 0] == 0).sum())
    n_crowded = int((found.told(MLE_K).values[:, 0] == 0).sum()) - n_copies
    source = context.subject.source
    if n_copies:
        yield (
            f"{source}: {n_copies} rows are copies of another row: koleo and intrinsic_dimension "
            "leave them out"
        )
    if n_crowded:
        yield (
            f"{source}: {n_crowded} rows have more than {MLE_K} others so near that cosines do not "
            "order them: koleo or intrinsic_dimension leave them out"
        )
