"""The least energy of points on the sphere where theory knows it, and that of the uniform law."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import numpy as np

from cl_analyze.metrics.uniform_law import cosine_quantile, uniformity_of_uniform_law
from cl_analyze.pairs.kernels import Kernel, kernel_values

Reference = Literal["simplex", "cross_polytope", "uniform_law"]


@cache
def energy_reference(kernel: Kernel, t: float, n: int, d: int) -> tuple[Reference, float | None]:
    """The mean kernel over the pairs of the best configuration known, or of uniform points.

    Up to D + 1 points the simplex is the minimum, at 2D points the cross-polytope; both minimise
    every kernel here (they are completely monotone in the squared distance).  Otherwise the mean
    over independent uniform points: finite sets can be lower.

    Args:
        kernel, t: which.
        n, d: points and dimensions.

    Returns:
        Which configuration, and its energy; None where that of the uniform law is infinite (Riesz
        kernels with t >= D - 1).

    Reference: Cohn & Kumar, JAMS 2007, for both minima.

    >>> name, energy = energy_reference("imq", 2.0, 3, 2)
    >>> name, round(energy, 6)
    ('simplex', 0.755929)
    """
    if n <= d + 1:
        at = np.array(2.0 * n / (n - 1))
        return "simplex", float(kernel_values(kernel, at, t, np))
    if n == 2 * d:
        side, antipode = kernel_values(kernel, np.array([2.0, 4.0]), t, np)
        return "cross_polytope", float(((2 * d - 2) * side + antipode) / (2 * d - 1))
    if kernel == "gaussian":
        return "uniform_law", math.exp(uniformity_of_uniform_law(d, t))
    if kernel == "riesz":
        return "uniform_law", _riesz_of_uniform_law(t, d)
    # the quantile function at the nodes of a rule for smooth integrands on [0, 1]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    cosines = cosine_quantile(d, 0.5 * (nodes + 1.0))
    values = kernel_values(kernel, 2.0 - 2.0 * cosines, t, np)
    return "uniform_law", float(0.5 * weights @ values)


def _riesz_of_uniform_law(t: float, d: int) -> float | None:
    """E |x - y|^-t = 2^(d-2-t) Gamma(d/2) Gamma((d-1-t)/2) / (sqrt(pi) Gamma(d-1-t/2)) for t < d-1.

    >>> round(_riesz_of_uniform_law(1.0, 3), 12)      # the Coulomb energy of the sphere
    1.0
    """
    if t >= d - 1:
        return None
    return math.exp(
        (d - 2 - t) * math.log(2.0)
        + math.lgamma(d / 2)
        + math.lgamma((d - 1 - t) / 2)
        - 0.5 * math.log(math.pi)
        - math.lgamma(d - 1 - t / 2)
    )
