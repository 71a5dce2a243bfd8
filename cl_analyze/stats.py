"""Standard errors: one currency, jackknife pseudo-values over rows.

For a statistic theta of N rows, the pseudo-value of row i is p_i = N theta - (N - 1) theta_(-i),
with theta_(-i) the statistic without that row.  Then std(p) / sqrt(N) is its standard error, and
the same p_i serve paired comparisons of two checkpoints on the same rows.  Rows are what was
sampled, never pairs: pairs share rows, and counting them as independent makes errors far too small.

Rows that take no part in a statistic have NaN pseudo-values and are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def pseudo_values(value: float, without: Vector) -> Vector:
    """N theta - (N - 1) theta_(-i), with N the rows that take part.

    Args:
        value: theta, on all rows.
        without: (N,) theta_(-i); NaN for rows that take no part.

    >>> pseudo_values(2.0, np.array([2.5, 2.0, 1.5])).tolist()   # the mean of 1, 2, 3
    [1.0, 2.0, 3.0]
    """
    n = int((~np.isnan(without)).sum())
    return n * value - (n - 1) * without


def standard_error(pseudo: Vector | None, groups: NDArray[np.int64] | None = None) -> float | None:
    """Standard error of a statistic from its pseudo-values.

    Args:
        pseudo: (N,) pseudo-values, or None where the statistic has none.
        groups: (N,) codes of rows that belong together (crops of one image, clips of one
            speaker); their deviations are summed before they are squared.

    Returns:
        The standard error, or None where fewer than two rows or groups take part.

    >>> round(standard_error(np.array([1.0, 2.0, 3.0])), 6)
    0.57735
    """
    return cross_standard_error(pseudo, pseudo, groups)


def cross_standard_error(
    first: Vector | None,
    second: Vector | None,
    groups: NDArray[np.int64] | None = None,
    share: float = 0.0,
) -> float | None:
    """Standard error from two noisy copies of the same pseudo-values.

    The copies come from two disjoint samples of anchors.  Their covariance is free of the noise's
    variance, but disjoint samples of a finite population lean against each other: with m of N
    anchors each, noise of variance 2 N^2 S^2 / m in the difference goes with a covariance of
    -N S^2, which is added back.  With first is second this is the usual variance.

    Args:
        first, second: (N,) copies.
        groups: as in `standard_error`.
        share: m / N.

    Returns:
        The standard error; where even the corrected covariance is negative (pure noise), that of
        the copies' mean.
    """
    if first is None or second is None:
        return None
    taking_part = np.isfinite(first) & np.isfinite(second)
    a, b = first[taking_part], second[taking_part]
    n = len(a)
    if n < 2:
        return None
    a, b = a - a.mean(), b - b.mean()
    if groups is not None:
        _, codes = np.unique(groups[taking_part], return_inverse=True)
        a, b = (np.bincount(codes, weights=part).astype(np.float64) for part in (a, b))
    units = len(a)
    if units < 2:
        return None
    covariance = float(a @ b + 0.5 * share * ((a - b) @ (a - b)))
    if covariance < 0:
        mean = 0.5 * (a + b)
        covariance = float(mean @ mean)
    return math.sqrt(units / (units - 1) * covariance) / n


def merged_copies(copies: Sequence[Vector], share: float = 0.0) -> tuple[Vector, Vector | None]:
    """One or two noisy copies of pseudo-values as their mean, and the noise beside it.

    The covariance that `cross_standard_error` takes of two copies is the sum of squares of the
    first less that of the second.

    Args:
        copies: one or two (N,) vectors.
        share: part of the rows behind each of two copies.
    """
    if len(copies) == 1 or copies[0] is copies[1]:
        return copies[0], None
    one, other = copies
    noise = 0.5 * math.sqrt(max(1.0 - 2.0 * share, 0.0)) * (one - other)
    return 0.5 * (one + other), noise


def kernel_mean_standard_error(
    row_sums: Vector, sum_of_squares: float, n_rows: int | None = None
) -> float | None:
    """Relative standard error of m, the mean of a symmetric kernel over i != j.

    The unbiased variance of a U-statistic of order two, which stays right where the kernel's row
    means do not vary (points spread uniformly) and the jackknife is far too large.

    Args:
        row_sums: (N,) r_i, sums of h_ij over j != i, in any common scale.
        sum_of_squares: sum of h_ij^2 over i != j, in that scale squared.
        n_rows: N, where row_sums are those of a sample of the rows alone (and sum_of_squares is
            scaled to all rows).

    Returns:
        s.e.(m) / m, which is s.e.(log m); None for fewer than four rows.

    Reference:
        Hoeffding (1948); Lee, U-Statistics: Theory and Practice, 1990, section 1.3.
    """
    m = len(row_sums)
    n = m if n_rows is None else n_rows
    if m < 4:
        return None
    total = n * float(row_sums.mean())
    by_row = n * float((row_sums**2).mean())
    # the square of a sample's mean is too large by the mean's variance
    square = total**2 - n**2 * float(row_sums.var(ddof=1)) * (1.0 / m - 1.0 / n)
    disjoint = (square - 4 * by_row + 2 * sum_of_squares) / (n * (n - 1) * (n - 2) * (n - 3))
    zeta_1 = (by_row - sum_of_squares) / (n * (n - 1) * (n - 2)) - disjoint
    zeta_2 = sum_of_squares / (n * (n - 1)) - disjoint
    variance = 2.0 / (n * (n - 1)) * (2 * (n - 2) * max(zeta_1, 0.0) + zeta_2)
    mean = total / (n * (n - 1))
    return math.sqrt(max(variance, 0.0)) / mean


def effective_rows(
    values: Vector, error: float | None, groups: NDArray[np.int64] | None = None
) -> float:
    """How many independent rows a share rests on.

    Away from 0 and 1 the standard error tells, for a share of n independent rows has variance
    p (1 - p) / n; never more than the rows.  Beside 0 or 1, where few rows differ from the others
    and the error says little or 0, all rows count, or all groups of rows that belong together.

    Args:
        values: (N,) values in [0, 1], NaN for rows that take no part.
        error: standard error of their mean, None where unknown.
        groups: (N,) codes of rows that belong together.

    >>> effective_rows(np.array([1.0, 1.0, 1.0]), 0.0)
    3.0
    >>> round(effective_rows(np.tile([0.0, 1.0], 50), 0.1))          # twice the binomial error
    25
    """
    there = np.isfinite(values)
    own = values[there]
    share, n_rows = float(own.mean()), float(len(own))
    rarer = own > 0 if share < 0.5 else own < 1
    units, differing = n_rows, int(rarer.sum())
    if groups is not None:
        units = float(len(np.unique(groups[there])))
        differing = len(np.unique(groups[there][rarer]))
    most = units if differing < _FEW_DIFFER else n_rows
    if not error or not 0.0 < share < 1.0:
        return most
    return min(share * (1.0 - share) / error**2, most)


_FEW_DIFFER = 5
"""Rows or groups that differ from the others below which their spread tells no error."""


def share_interval(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share of n independent rows, right at 0 and 1 too.

    Clopper and Pearson's (Biometrika 1934): it covers at least as often as it says.  With n an
    effective number of rows it need not be whole (Korn & Graubard, Survey Methodology 1998).

    Args:
        share: in [0, 1].
        n: rows, or what `effective_rows` gives.
        confidence: of the two-sided interval.

    >>> tuple(round(end, 4) for end in share_interval(1.0, 20))
    (0.8316, 1.0)
    """
    from scipy import special

    share, tail = min(max(share, 0.0), 1.0), (1.0 - confidence) / 2
    hits = share * n
    misses = n - hits
    low = 0.0 if hits <= 0 else float(special.betaincinv(hits, misses + 1.0, tail))
    high = 1.0 if misses <= 0 else float(special.betaincinv(hits + 1.0, misses, 1.0 - tail))
    return low, high


Interval = tuple[float, float]


def _difference_of_shares(
    value_a: float, value_b: float, of_a: Interval, of_b: Interval, correlation: float
) -> Interval:
    """Interval of a difference from the two intervals and how the two go together.

    Reference:
        Newcombe, Statistics in Medicine 1998 (method 10); Zou & Donner, Biometrics 2008.
    """

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a + b * b - 2.0 * correlation * a * b, 0.0))

    below_a, above_a = value_a - of_a[0], of_a[1] - value_a
    below_b, above_b = value_b - of_b[0], of_b[1] - value_b
    value = value_a - value_b
    return value - reach(below_a, above_b), value + reach(above_a, below_b)


def _correlation(a: Vector, b: Vector, groups: NDArray[np.int64] | None) -> float:
    """Correlation of two vectors of pseudo-values, of sums of groups where there are some."""
    there = np.isfinite(a) & np.isfinite(b)
    a, b = (values[there] - values[there].mean() for values in (a, b))
    if groups is not None:
        _, codes = np.unique(groups[there], return_inverse=True)
        a, b = (np.bincount(codes, weights=values).astype(np.float64) for values in (a, b))
    size = math.sqrt(float(a @ a) * float(b @ b))
    return min(max(float(a @ b) / size, -1.0), 1.0) if size > 0 else 0.0


@dataclass(frozen=True)
class PairedDifference:
    """Difference of one statistic between two checkpoints, a minus b.

    Attributes:
        value: the difference.
        std_error: its standard error, None where unknown.
        low, high: interval at the confidence asked for (Student's t), None where unknown.
        p_value: two-sided, of no difference; None where unknown.
        paired: whether rows were matched.
    """

    value: float
    std_error: float | None
    low: float | None
    high: float | None
    p_value: float | None
    paired: bool


def difference(
    value_a: float,
    value_b: float,
    pseudo_a: Vector | None,
    pseudo_b: Vector | None,
    std_errors: tuple[float | None, float | None] = (None, None),
    groups: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
    share: float = 1.0,
    sampling: float = 0.0,
    noise: Vector | None = None,
    units: tuple[float, float] = (math.inf, math.inf),
    shares: tuple[Interval, Interval] | None = None,
) -> PairedDifference:
    """Compare a statistic of two checkpoints, paired where both have pseudo-values of equal rows.

    Without pairs the variances add (`std_errors`, which hold what sampling adds).

    Args:
        value_a, value_b: the statistic of each.
        pseudo_a, pseudo_b: (m,) their pseudo-values, row by row the same items; None: unpaired.
        std_errors: of each, for the unpaired comparison.
        groups: (m,) codes of rows that belong together.
        confidence: of the interval.
        share: of all rows that the m rows are.
        sampling: what estimating both from anchors adds to a paired difference's error.
        noise: (m,) what `merged_copies` gives beside the difference of pseudo-values.
        units: rows or groups behind each error, for an unpaired comparison's degrees of freedom
            (Welch, Biometrika 1947).
        shares: the intervals of both at this confidence where they are shares, whose errors say
            too little beside 0 and 1: then the difference's interval is the wider of two.
    """
    from scipy import special

    value = value_a - value_b
    paired = pseudo_a is not None and pseudo_b is not None and len(pseudo_a) == len(pseudo_b)
    degrees: float
    if paired and pseudo_a is not None and pseudo_b is not None:
        apart = pseudo_a - pseudo_b
        beside = np.zeros(len(apart)) if noise is None else noise
        error = cross_standard_error(apart + beside, apart - beside, groups)
        error = None if error is None else math.hypot(error * math.sqrt(share), sampling)
        degrees = _degrees_of_freedom(apart, noise, groups)
    else:
        one, two = std_errors
        error = math.hypot(one, two) if one is not None and two is not None else None
        degrees = math.inf if error is None else _welch((one or 0.0, two or 0.0), units)
    if error is None:
        return PairedDifference(value, None, None, None, None, paired)
    tail = 0.5 + confidence / 2
    quantile = float(special.ndtri(tail) if math.isinf(degrees) else special.stdtrit(degrees, tail))
    low, high = value - quantile * error, value + quantile * error
    towards_zero = error
    if shares is not None:
        correlation = 0.0
        if paired and pseudo_a is not None and pseudo_b is not None:
            correlation = _correlation(pseudo_a, pseudo_b, groups)
        wide = _difference_of_shares(value_a, value_b, *shares, correlation)
        low, high = min(low, wide[0]), max(high, wide[1])
        towards_zero = (value - low if value > 0 else high - value) / quantile
    if abs(value) <= rounding(value_a, value_b):
        p_value = 1.0
    elif towards_zero == 0.0:
        p_value = 0.0
    else:
        z = -abs(value) / towards_zero
        p_value = 2.0 * float(special.ndtr(z) if math.isinf(degrees) else special.stdtr(degrees, z))
    return PairedDifference(value, error, low, high, p_value, paired)


ROUNDING = 1e-6
"""Relative difference that block sizes and precision alone can make."""


def rounding(value_a: float, value_b: float) -> float:
    """The difference of two values that says nothing: what rounding could make of equal ones."""
    return ROUNDING * max(abs(value_a), abs(value_b), 1e-3)


def _welch(errors: tuple[float, float], units: tuple[float, float]) -> float:
    """Degrees of freedom of the sum of two independent variances."""
    squares = [error**2 for error in errors]
    share = sum(
        square**2 / max(n - 1, 1)
        for square, n in zip(squares, units, strict=True)
        if math.isfinite(n)
    )
    return math.inf if share == 0 else sum(squares) ** 2 / share


def _degrees_of_freedom(
    pseudo: Vector, noise: Vector | None, groups: NDArray[np.int64] | None
) -> float:
    """Degrees of freedom of the variance that pseudo-values give.

    One less than the rows or groups; with noise taken off, Satterthwaite's 2 V^2 / Var(V), for a
    variance that is a difference of two can be small by chance.

    Reference:
        Satterthwaite, Biometrics Bulletin 1946.
    """
    taking_part = np.isfinite(pseudo)
    units = len(np.unique(groups[taking_part])) if groups is not None else int(taking_part.sum())
    if noise is None or not np.any(noise):
        return max(units - 1, 1)
    parts = []
    for values in (pseudo[taking_part], noise[taking_part]):
        centred = values - values.mean()
        if groups is not None:
            _, codes = np.unique(groups[taking_part], return_inverse=True)
            centred = np.bincount(codes, weights=centred)
        parts.append(np.square(centred))
    terms = parts[0] - parts[1]
    spread = units * float(terms.var(ddof=1))
    if terms.sum() <= 0 or spread == 0:  # then the error is that of the noisy mean
        return max(units - 1, 1)
    return min(max(2.0 * float(terms.sum()) ** 2 / spread, 1.0), units - 1)


def holm(p_values: list[float | None]) -> list[float | None]:
    """Holm's step-down adjustment of a family of p-values (Scand. J. Statist. 1979).

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = highest
    return adjusted
