"""Means over anchors with errors: each row is an anchor, and a negative of other anchors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import FEWEST, Anchors
from cl_analyze.results.stats import cross_standard_error, merged_copies

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """A value with its errors, its number of rows, and its pseudo-values where it is exact.

    The fields are those of `Record`.
    """

    value: float
    std_error: float | None
    n: int
    pseudo_values: Vector | None = None
    sampling_error: float | None = None
    pseudo_noise: Vector | None = None

    def moved(self, value: float, slope: float) -> Number:
        """A smooth function of this number (delta method): its value, errors times its slope."""
        error, sampling, pseudo = self.std_error, self.sampling_error, self.pseudo_values
        return Number(
            value,
            None if error is None else abs(slope) * error,
            self.n,
            None if pseudo is None else value + slope * (pseudo - self.value),
            None if sampling is None else abs(slope) * sampling,
        )

    def shifted(self, by: float) -> Number:
        """This number plus a constant."""
        pseudo = self.pseudo_values
        return replace(
            self, value=self.value + by, pseudo_values=None if pseudo is None else pseudo + by
        )


def mean_with_effects(
    values: Vector,
    contributions: Vector,
    effects: Sequence[Vector],
    share: float,
    groups: NDArray[np.int64] | None,
    anchors: Anchors,
    population: int | None = None,
    interaction: bool = True,
) -> Number | None:
    """The mean of the anchors' values, and its error by the infinitesimal jackknife.

    Row j enters the mean twice: as an anchor, through its own value, and as a negative, through the
    change that its presence makes to the values of other anchors.

    Args:
        values: (m,) the anchors' values, NaN where an anchor has no value.
        contributions: (m,) contribution of each row as an anchor; `values` for a plain mean.
        effects: (N,) vectors, the change that each row's presence makes to the sum of the other
            anchors' values: one vector from all anchors, or two from disjoint halves of a sample.
        share: part of all rows that each vector of effects comes from.
        groups: (N,) codes of rows that belong together.
        anchors: the rows that the values belong to: all rows, or a sample.
        population: for a sample, the number of all rows that have a value; None: estimated.
        interaction: for a sample, see `Anchors.std_error`.

    Returns:
        The number; None where too few anchors have a value, or a value is infinite.
    """
    if np.isinf(values).any():
        return None
    has_value = np.isfinite(values)
    n_values = int(has_value.sum())
    if anchors.is_sample:
        if n_values < FEWEST:
            return None
        estimate = anchors.mean(values, population)
        halves = list(effects) if len(effects) == 2 else [*effects, *effects]
        error = anchors.std_error(contributions, halves, population, groups, interaction)
        return Number(estimate.value, error, estimate.n, None, estimate.sampling_error)
    if not n_values:
        return None
    value = float(values[has_value].mean())
    known = np.where(has_value, contributions, np.nan)
    centre = float(contributions[has_value].mean())
    pseudos = [value + known - centre + effect for effect in effects]
    error = cross_standard_error(pseudos[0], pseudos[-1], groups, share)
    if error is None:
        return Number(value, None, n_values)
    pseudo, noise = merged_copies(pseudos, share)
    return Number(value, error, n_values, pseudo, None, noise)


def woodruff(
    quantile: Callable[[float], NDArray[np.float64] | float], q: float, share_error: float | None
) -> float | None:
    """Standard error of a quantile by Woodruff's method (JASA 1952).

    A quarter of the distance between the quantiles at q - 2 e and q + 2 e, with e the standard
    error of the share of values at or below the quantile.

    Args:
        quantile: the quantile function of the values.
        q: share at which the quantile is taken.
        share_error: e; None: unknown.

    Returns:
        The standard error; None where e is unknown.
    """
    if share_error is None:
        return None
    low, high = max(q - 2.0 * share_error, 0.0), min(q + 2.0 * share_error, 1.0)
    if high == low:
        return 0.0
    # the slope of the quantile function, also where 0 or 1 cuts off one end
    return float((quantile(high) - quantile(low)) * share_error / (high - low))
