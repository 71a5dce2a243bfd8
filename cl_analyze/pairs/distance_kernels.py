"""Kernels of the squared distance between unit rows, written once for NumPy and torch.

    gaussian  exp(-t d2)              hyperspherical energy of Wang & Isola (ICML 2020)
    log       -1/2 log(1 + t d2)      smoothed logarithmic energy
    imq       t / sqrt(t^2 + d2)      inverse multiquadric
    riesz     d2^(-t/2)               Riesz s-energy with s = t; infinite at equal rows

as in Koromilas et al. (ICML 2024), with one parameter t > 0.  All fall with distance, so a mean
over pairs is an energy: the lower, the more evenly the rows are spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Kernel = Literal["gaussian", "log", "imq", "riesz"]
KERNELS: tuple[Kernel, ...] = ("gaussian", "log", "imq", "riesz")

_VALUES: dict[str, Callable[[Any, float, Any], Any]] = {
    "gaussian": lambda d2, t, xp: xp.exp(-t * d2),
    "log": lambda d2, t, xp: -0.5 * xp.log1p(t * d2),
    "imq": lambda d2, t, xp: t / xp.sqrt(t * t + d2),
    "riesz": lambda d2, t, xp: d2 ** (-0.5 * t),
}
_SLOPES: dict[str, Callable[[Any, float, Any], Any]] = {
    "gaussian": lambda d2, t, xp: 2.0 * t * xp.exp(-t * d2),
    "log": lambda d2, t, xp: t / (1.0 + t * d2),
    "imq": lambda d2, t, xp: t * (t * t + d2) ** -1.5,
    "riesz": lambda d2, t, xp: t * d2 ** (-0.5 * t - 1.0),
}


def kernel_values(kernel: Kernel, squared_distances: Any, t: float, xp: Any) -> Any:
    """k(d2), elementwise.

    Args:
        kernel: which.
        squared_distances: array of d2 >= 0.
        t: the kernel's parameter, > 0.
        xp: numpy or torch.

    >>> import numpy as np
    >>> [round(float(kernel_values(k, np.array(2.0), 2.0, np)), 4) for k in KERNELS]
    [0.0183, -0.8047, 0.8165, 0.5]
    """
    return _VALUES[kernel](squared_distances, t, xp)


def kernel_slopes(kernel: Kernel, squared_distances: Any, t: float, xp: Any) -> Any:
    """dk/ds >= 0 at d2 = 2 - 2s: how hard a pair is pushed apart; arguments of `kernel_values`.

    >>> import numpy as np
    >>> float(kernel_slopes("riesz", np.array(2.0), 2.0, np))
    0.5
    """
    return _SLOPES[kernel](squared_distances, t, xp)
