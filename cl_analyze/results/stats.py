"""Standard errors from jackknife pseudo-values over rows, and differences of two checkpoints.

For a statistic theta of N rows, the pseudo-value of row i is p_i = N theta - (N - 1) theta_(-i),
with theta_(-i) the statistic without row i.  The standard error of theta is std(p) / sqrt(N).
Paired comparisons of two checkpoints on the same rows use the same p_i.

The sample consists of rows, not of pairs.  Two pairs can share a row, so errors that treat pairs as
independent are far too small.

Rows that take no part in a statistic have NaN as pseudo-value; functions of this module skip them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def pseudo_values(value: float, without: Vector) -> Vector:
    """N theta - (N - 1) theta_(-i), with N the number of rows that take part.

    Args:
        value: theta on all rows.
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

    The copies come from two disjoint samples of anchors.  The covariance of the copies does not
    contain the variance of their noise.  Disjoint samples of a finite population are correlated
    negatively: with m of N rows in each sample, where the noise in the difference of the copies has
    variance 2 N^2 S^2 / m, the noises have covariance -N S^2.  This covariance is added back.  With
    one vector for both copies the result is the usual standard error.

    Args:
        first, second: (N,) the copies.
        groups: as in `standard_error`.
        share: m / N.

    Returns:
        The standard error; None where fewer than two rows or groups take part.  Where the corrected
        covariance is negative (pure noise), it is the standard error of the mean of the copies.
    """
    if first is None or second is None:
        return None
    n = int((np.isfinite(first) & np.isfinite(second)).sum())
    if n < 2:
        return None
    a, b = _deviations((first, second), groups)
    units = len(a)
    if units < 2:
        return None
    covariance = float(a @ b + 0.5 * share * ((a - b) @ (a - b)))
    if covariance < 0:
        mean = 0.5 * (a + b)
        covariance = float(mean @ mean)
    return math.sqrt(units / (units - 1) * covariance) / n


def _deviations(vectors: Sequence[Vector], groups: NDArray[np.int64] | None) -> list[Vector]:
    """Deviations from the mean, for rows that are finite in all vectors; summed over groups."""
    taking_part = np.logical_and.reduce([np.isfinite(vector) for vector in vectors])
    centred = [vector[taking_part] - vector[taking_part].mean() for vector in vectors]
    if groups is None:
        return centred
    _, codes = np.unique(groups[taking_part], return_inverse=True)
    return [np.bincount(codes, weights=part).astype(np.float64) for part in centred]


def merged_copies(copies: Sequence[Vector], share: float = 0.0) -> tuple[Vector, Vector | None]:
    """The mean of one or two noisy copies of pseudo-values, and the noise of that mean.

    The sum of squares of the mean, minus the sum of squares of the noise, is the covariance of
    `cross_standard_error`.

    Args:
        copies: one or two (N,) vectors.
        share: part of all rows that each of two copies comes from.
    """
    if len(copies) == 1 or copies[0] is copies[1]:
        return copies[0], None
    first, second = copies
    noise = 0.5 * math.sqrt(max(1.0 - 2.0 * share, 0.0)) * (first - second)
    return 0.5 * (first + second), noise


def kernel_mean_standard_error(
    row_sums: Vector, sum_of_squares: float, n_rows: int | None = None
) -> float | None:
    """Relative standard error of the U-statistic m, the mean of a symmetric kernel over i != j.

    It comes from the unbiased variance of a U-statistic of order two.  This variance is right even
    where the row means of the kernel do not vary (points spread uniformly); there the jackknife
    gives a far too large error.

    Args:
        row_sums: (N,) r_i, sums of h_ij over j != i, in any common scale.
        sum_of_squares: sum of h_ij^2 over i != j, in the square of that scale.
        n_rows: N, where row_sums belong to a sample of the rows; sum_of_squares is then scaled to
            all rows.  None: row_sums belong to all rows.

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
    """The effective number of independent rows behind a share.

    A share p of n independent rows has variance p (1 - p) / n.  So n follows from the standard
    error; it is at most the number of rows.  Near 0 or 1 few rows differ from the others, and the
    standard error is too small: there n is the number of rows (or groups).  Rows that are shares
    themselves, not 0 or 1, vary less, and may count for more than one each where many differ.

    Args:
        values: (N,) values in [0, 1], NaN for rows that take no part.
        error: standard error of their mean, None where unknown.
        groups: (N,) codes of rows that belong together.

    >>> effective_rows(np.array([1.0, 1.0, 1.0]), 0.0)
    3.0
    >>> round(effective_rows(np.tile([0.0, 1.0], 50), 0.1))          # twice the binomial error
    25
    """
    taking_part = np.isfinite(values)
    values = values[taking_part]
    share, n_rows = float(values.mean()), float(len(values))
    rarer = values > 0 if share < 0.5 else values < 1
    units, differing = n_rows, int(rarer.sum())
    if groups is not None:
        units = float(len(np.unique(groups[taking_part])))
        differing = len(np.unique(groups[taking_part][rarer]))
    most = units if differing < _FEW_DIFFER else n_rows
    if not error or not 0.0 < share < 1.0:
        return most
    effective = share * (1.0 - share) / max(error, 1e-12) ** 2
    away = values if share < 0.5 else 1.0 - values
    is_graded = bool(((values > 0) & (values < 1)).any())
    if is_graded and away.sum() ** 2 > _MANY_DIFFER * (away @ away):
        most = _MOST_EFFECTIVE
    return min(effective, most)


_MANY_DIFFER = 30
"""With as many rows that differ (weighted by how much), the standard error is that of any mean."""
_MOST_EFFECTIVE = 1e9
"""Effective rows up to which the interval is computed well; an error of rounding alone has more."""
_FEW_DIFFER = 5
"""With fewer rows (or groups) that differ from the others, the standard error is not used."""


def share_interval(share: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a share of n independent rows, valid at 0 and 1 too.

    Its coverage is at least its confidence.

    Args:
        share: in [0, 1].
        n: number of rows, or `effective_rows`, which need not be a whole number.
        confidence: confidence of the two-sided interval.

    >>> tuple(round(end, 4) for end in share_interval(1.0, 20))
    (0.8316, 1.0)

    Reference:
        Clopper & Pearson, Biometrika 1934; Korn & Graubard, Survey Methodology 1998.
    """
    from scipy import special

    share, tail = min(max(share, 0.0), 1.0), (1.0 - confidence) / 2
    hits = share * n
    misses = n - hits
    low = 0.0 if hits <= 0 else float(special.betaincinv(hits, misses + 1.0, tail))
    high = 1.0 if misses <= 0 else float(special.betaincinv(hits + 1.0, misses, 1.0 - tail))
    return low, high


Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A statistic of one checkpoint, with the inputs of the error of a difference.

    Attributes:
        value: the statistic.
        pseudo: (m,) jackknife pseudo-values; None: unknown.
        noise: (m,) noise of the pseudo-values, see `merged_copies`; None: no noise.
        error: standard error, for an unpaired comparison; None: unknown.
        sampling: sampling error of an estimate from anchors.
        units: number of rows or groups that the error comes from.
        interval: interval of a share at the confidence of the comparison; None: not a share.
    """

    value: float
    pseudo: Vector | None = None
    noise: Vector | None = None
    error: float | None = None
    sampling: float = 0.0
    units: float = math.inf
    interval: Interval | None = None


@dataclass(frozen=True)
class PairedDifference:
    """Difference of one statistic between two checkpoints, a minus b.

    Attributes:
        value: the difference.
        std_error: standard error of the difference; None where unknown.
        low, high: ends of the interval (Student's t) at the requested confidence; None where
            unknown.
        p_value: two-sided p-value of the hypothesis of no difference; None where unknown.
        paired: whether the difference was computed row by row.
    """

    value: float
    std_error: float | None
    low: float | None
    high: float | None
    p_value: float | None
    paired: bool


def difference(
    a: Estimate,
    b: Estimate,
    groups: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
    share: float = 1.0,
) -> PairedDifference:
    """a minus b, paired where both have pseudo-values of the same rows.

    Unpaired, the variances add, and the degrees of freedom are Welch's.  Near 0 and 1 the standard
    errors of shares are too small: the interval of a difference of shares is the union of Student's
    interval and Newcombe's.

    Args:
        a, b: the statistic of each checkpoint; row i of both pseudo-values is the same item.
        groups: (m,) codes of rows that belong together.
        confidence: confidence of the interval.
        share: m as a part of all rows.
    """
    from scipy import special

    value = a.value - b.value
    pseudo = noise = None  # of the difference
    if a.pseudo is not None and b.pseudo is not None and len(a.pseudo) == len(b.pseudo):
        pseudo, noise = a.pseudo - b.pseudo, _noise_of_difference(a, b)
        copies = (pseudo, pseudo) if noise is None else (pseudo + noise, pseudo - noise)
        error = cross_standard_error(*copies, groups)
        if error is not None:
            error = math.hypot(error * math.sqrt(share), math.hypot(a.sampling, b.sampling))
    else:
        is_known = a.error is not None and b.error is not None
        error = math.hypot(a.error or 0.0, b.error or 0.0) if is_known else None  # variances add
    paired = pseudo is not None
    if error is None:
        return PairedDifference(value, None, None, None, None, paired)
    degrees = _welch(a, b) if pseudo is None else _degrees_of_freedom(pseudo, noise, groups)
    tail = 0.5 + confidence / 2
    quantile = float(special.ndtri(tail) if math.isinf(degrees) else special.stdtrit(degrees, tail))
    low, high = value - quantile * error, value + quantile * error
    error_to_zero = error
    if a.interval is not None and b.interval is not None:
        newcombe = _newcombe_interval(a, b, groups, paired)
        low, high = min(low, newcombe[0]), max(high, newcombe[1])
        error_to_zero = (value - low if value > 0 else high - value) / quantile
    if abs(value) <= rounding(a.value, b.value):
        p_value = 1.0
    elif error_to_zero == 0.0:
        p_value = 0.0
    else:
        z = -abs(value) / error_to_zero
        p_value = 2.0 * float(special.ndtr(z) if math.isinf(degrees) else special.stdtr(degrees, z))
    return PairedDifference(value, error, low, high, p_value, paired)


def _noise_of_difference(a: Estimate, b: Estimate) -> Vector | None:
    if b.noise is None:
        return a.noise
    return -b.noise if a.noise is None else a.noise - b.noise


def _newcombe_interval(
    a: Estimate, b: Estimate, groups: NDArray[np.int64] | None, paired: bool
) -> Interval:
    """Interval of a difference of shares, from the interval of each share and their correlation.

    Reference:
        Newcombe, Statistics in Medicine 1998 (method 10); Zou & Donner, Biometrics 2008.
    """
    assert a.interval is not None
    assert b.interval is not None
    correlation = 0.0
    if paired and a.pseudo is not None and b.pseudo is not None:
        correlation = _correlation(a, b, groups)

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x + y * y - 2.0 * correlation * x * y, 0.0))

    below_a, above_a = a.value - a.interval[0], a.interval[1] - a.value
    below_b, above_b = b.value - b.interval[0], b.interval[1] - b.value
    value = a.value - b.value
    return value - reach(below_a, above_b), value + reach(above_a, below_b)


def _correlation(a: Estimate, b: Estimate, groups: NDArray[np.int64] | None) -> float:
    """The correlation of two statistics from their pseudo-values, free of the noise in these."""
    assert a.pseudo is not None
    assert b.pseudo is not None
    zeros = np.zeros(len(a.pseudo))
    noise_a, noise_b = (zeros if each.noise is None else each.noise for each in (a, b))
    x, y = _deviations((a.pseudo, b.pseudo), groups)
    noise_x, noise_y = _deviations((noise_a, noise_b), groups)
    squares = float(x @ x - noise_x @ noise_x), float(y @ y - noise_y @ noise_y)
    if min(squares) <= 0:
        return 0.0
    product = float(x @ y - noise_x @ noise_y)
    return min(max(product / math.sqrt(squares[0] * squares[1]), -1.0), 1.0)


ROUNDING = 1e-6
"""Largest relative difference that comes from block sizes and precision alone."""


def rounding(value_a: float, value_b: float) -> float:
    """The largest difference of two values that can come from rounding alone."""
    return ROUNDING * max(abs(value_a), abs(value_b), 1e-3)


def _welch(a: Estimate, b: Estimate) -> float:
    """Degrees of freedom of the sum of two independent variances (Welch, Biometrika 1947)."""
    squares = [(estimate.error or 0.0) ** 2 for estimate in (a, b)]
    share = sum(
        square**2 / max(estimate.units - 1, 1)
        for square, estimate in zip(squares, (a, b), strict=True)
        if math.isfinite(estimate.units)
    )
    return math.inf if share == 0 else sum(squares) ** 2 / share


def _degrees_of_freedom(
    pseudo: Vector, noise: Vector | None, groups: NDArray[np.int64] | None
) -> float:
    """Degrees of freedom of the variance of pseudo-values.

    The number of rows or groups minus one.  Where the variance V has the variance of noise
    subtracted, V can be small by chance: the degrees of freedom are then Satterthwaite's
    2 V^2 / Var(V) (Biometrics Bulletin 1946).
    """
    if noise is None or not np.any(noise):
        return max(len(_deviations((pseudo,), groups)[0]) - 1, 1)
    of_rows, of_noise = _deviations((pseudo, noise), groups)
    units = len(of_rows)
    terms = np.square(of_rows) - np.square(of_noise)
    spread = units * float(terms.var(ddof=1))
    if terms.sum() <= 0 or spread == 0:  # no variance is subtracted: see cross_standard_error
        return max(units - 1, 1)
    return min(max(2.0 * float(terms.sum()) ** 2 / spread, 1.0), units - 1)


def holm(p_values: list[float | None], n_tests: int | None = None) -> list[float | None]:
    """Holm's step-down adjustment of the p-values of several tests (Scand. J. Statist. 1979).

    None, an unknown p-value, stays None and does not count as a test.

    Args:
        p_values: two-sided p-values.
        n_tests: number of tests in the family, where it has more tests than these; the others count
            as not rejected, which can only make the adjusted p-values larger.  None: these alone.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    >>> holm([0.01, 0.04], n_tests=3)
    [0.03, 0.08]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    family = len(known) if n_tests is None else n_tests
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (family - rank)))
        adjusted[i] = highest
    return adjusted
