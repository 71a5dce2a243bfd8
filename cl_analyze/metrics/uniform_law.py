"""The uniform law on the sphere: values of metrics for uniform points, the reference of numbers.

For two independent uniform points on the unit sphere of R^d, the cosine s has a density
proportional to (1 - s^2)^((d - 3) / 2), that is s = 2B - 1 with B ~ Beta((d - 1)/2, (d - 1)/2).
Its mean is 0, its variance is 1/d, and its moment generating function is
E exp(beta s) = 0F1(; d/2; beta^2 / 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray


def log_0f1(b: float, z: float) -> float:
    """log of the confluent hypergeometric limit function 0F1(; b; z) for z >= 0.

    The power series is summed in log space.  Its error is about 1e-12 for all b > 0 and z up to
    1e9, where Bessel functions underflow.  The cost grows as sqrt(z).

    >>> abs(log_0f1(1.5, 4.0) - math.log(math.sinh(4.0) / 4.0)) < 1e-12
    True
    """
    if z <= 0:
        return 0.0
    n_terms = int(3 * math.sqrt(z)) + 60
    m = np.arange(n_terms, dtype=np.float64)
    steps = math.log(z) - np.log(m + 1) - np.log(b + m)
    terms = np.concatenate([[0.0], np.cumsum(steps)])
    top = float(terms.max())
    return top + math.log(float(np.exp(terms - top).sum()))


def uniformity_of_uniform_law(d: int, t: float) -> float:
    """log E exp(-t |x - y|^2) for independent uniform x, y on the sphere of R^d, in nats.

    >>> round(uniformity_of_uniform_law(128, 2.0), 10)
    -3.9375300102
    """
    return -2.0 * t + log_0f1(d / 2.0, t * t)


def cosine_quantile(d: int, share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of the cosine law."""
    if d == 1:
        return np.where(np.asarray(share) <= 0.5, -1.0, 1.0)
    from scipy import special

    half = (d - 1) / 2.0
    quantiles: NDArray[np.float64] = 2.0 * special.betaincinv(half, half, share) - 1.0
    return quantiles


def cosine_share_below(d: int, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distribution function of the cosine law."""
    if d == 1:
        return np.where(np.asarray(s) < -1, 0.0, np.where(np.asarray(s) < 1, 0.5, 1.0))
    from scipy import special

    half = (d - 1) / 2.0
    inside = np.clip((np.asarray(s) + 1.0) / 2.0, 0.0, 1.0)
    shares: NDArray[np.float64] = special.betainc(half, half, inside)
    return shares


@cache
def expected_nearest(d: int, n_others: int, most: int) -> tuple[float, ...]:
    """Expected cosine of the 1st, 2nd, ... nearest of `n_others` uniform points, up to `most`.

    For the l-th largest of K cosines, the value of the cosine's distribution function has the law
    Beta(K - l + 1, l).  The mean cosine is the integral of the quantile function over this law
    (midpoint rule, 4,000 points).

    >>> bool(abs(expected_nearest(2, 1, 1)[0]) < 1e-6)   # one other point: the mean cosine, 0
    True
    """
    from scipy import special

    grid = (np.arange(4000) + 0.5) / 4000
    most = min(most, n_others)
    return tuple(
        float(cosine_quantile(d, special.betaincinv(n_others - l + 1, l, grid)).mean())
        for l in range(1, most + 1)  # noqa: E741
    )


@dataclass(frozen=True)
class PenaltyOfUniformLaw:
    """Relative penalty of an anchor among uniform points, at one temperature.

    Attributes:
        values: metric name -> mean over simulated anchors.
        std_errors: metric name -> standard error of that mean.
    """

    values: dict[str, float]
    std_errors: dict[str, float]


@cache
def penalty_of_uniform_law(
    d: int, n_others: int, taus: tuple[float, ...], seed: int = 0
) -> tuple[PenaltyOfUniformLaw, ...]:
    """Statistics of the relative penalty over uniform cosines, for each tau.

    There is no closed form where n_others is not far above exp(1/tau).  So the values are
    simulated: 16 to 400 seeded anchors, about a million draws.
    """
    n_anchors = int(np.clip(1_000_000 // n_others, 16, 400))
    random = np.random.default_rng([seed, d, n_others])
    half = (d - 1) / 2.0
    statistics = np.zeros((len(taus), 4, n_anchors))
    for a in range(n_anchors):
        if d == 1:
            s = random.choice([-1.0, 1.0], size=n_others)
        else:
            s = 2.0 * random.beta(half, half, size=n_others) - 1.0
        top = float(s.max())
        nearest = np.partition(s, max(n_others - 10, 0))[max(n_others - 10, 0) :]
        for m, tau in enumerate(taus):
            weights = np.exp((s - top) / tau)
            mass = float(weights.sum())
            entropy = math.log(mass) - float(weights @ (s - top)) / mass / tau
            top10 = float(np.exp((nearest - top) / tau).sum()) / mass
            statistics[m, :, a] = entropy, math.exp(entropy), 1.0 / mass, top10
    names = (
        "penalty_entropy",
        "penalty_effective_negatives",
        "penalty_top1_share",
        "penalty_top10_share",
    )
    root = math.sqrt(n_anchors)
    return tuple(
        PenaltyOfUniformLaw(
            dict(zip(names, of_tau.mean(axis=1).tolist(), strict=True)),
            dict(zip(names, (of_tau.std(axis=1, ddof=1) / root).tolist(), strict=True)),
        )
        for of_tau in statistics
    )
