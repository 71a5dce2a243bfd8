"""Hyperspherical energies, beside the least that theory knows, or that of the uniform law."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import numpy as np

from cl_analyze.metrics.losses.metrics import ENERGY, ENERGY_REFERENCE
from cl_analyze.metrics.losses.passes import KernelPieces, Passes
from cl_analyze.metrics.losses.pieces import VIEWS
from cl_analyze.metrics.losses.records import Recorder
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.uniform_law import cosine_quantile, uniformity_of_uniform_law
from cl_analyze.pairs.distance_kernels import KERNELS, Kernel, kernel_values
from cl_analyze.results.stats import kernel_mean_standard_error, standard_error
from cl_analyze.results.tables import Record

Reference = Literal["simplex", "cross_polytope", "uniform_law"]


def energy_records(recorder: Recorder) -> list[Record]:
    """Energies of both views, and the reference, for each kernel."""
    passes = recorder.passes
    assert isinstance(passes, Passes)
    records = []
    n, d, t = passes.n, passes.subject.d, passes.constants.t
    for kernel in KERNELS:
        for number, view in enumerate(VIEWS, 1):
            part = passes.kernels[view, kernel]
            energy = None if part.reason else _energy(passes, part)
            metric = ENERGY.at(kernel=kernel, t=t, view=number)
            records.append(recorder.record(metric, energy, part.reason))
        name, least = energy_reference(kernel, t, n, d)
        reference = None if least is None else Number(least, 0.0, n)
        metric = ENERGY_REFERENCE.at(name, kernel=kernel, t=t)
        records.append(recorder.record(metric, reference, f"infinite for t >= D - 1 = {d - 1}"))
    return records


def _energy(passes: Passes, part: KernelPieces) -> Number:
    """The mean of a kernel over the pairs of a view, with the error of a U-statistic."""
    groups, mean, error = passes.subject.groups, float(part.means.mean()), None
    squares = part.squares * passes.n / len(part.sums)
    if math.isfinite(squares) and part.sums.any():
        relative = kernel_mean_standard_error(part.sums, squares, passes.n)
        error = None if relative is None else abs(mean * relative)
    if groups is not None and not passes.anchors.is_sample:
        error = standard_error(2.0 * part.means, groups)
    error = error if error is not None and math.isfinite(error) else None
    if not passes.anchors.is_sample:
        return Number(mean, error, passes.n, 2.0 * part.means - mean)
    estimate = passes.anchors.mean(part.means)
    return Number(estimate.value, error, estimate.n, None, estimate.sampling_error)


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
