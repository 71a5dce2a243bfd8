"""Means over anchors that share their negatives, with the error of rows that act in both roles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import FEWEST, Anchors
from cl_analyze.stats import cross_standard_error, merged_copies

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Number:
    """A value with its errors, the rows it was averaged over, and pseudo-values where exact."""

    value: float
    std_error: float | None
    n: int
    pseudo_values: Vector | None = None
    sampling_error: float | None = None
    pseudo_noise: Vector | None = None

    def moved(self, value: float, slope: float) -> Number:
        """A function of this number, linear near it: its value there, and its slope."""
        error, sampling, pseudo = self.std_error, self.sampling_error, self.pseudo_values
        return Number(
            value,
            None if error is None else slope * error,
            self.n,
            None if pseudo is None else value + slope * (pseudo - self.value),
            None if sampling is None else slope * sampling,
        )

    def shifted(self, by: float) -> Number:
        """This number plus a constant."""
        pseudo = self.pseudo_values
        return replace(
            self, value=self.value + by, pseudo_values=None if pseudo is None else pseudo + by
        )


def mean_with_effects(
    values: Vector,
    own: Vector,
    effects: Sequence[Vector],
    share: float,
    groups: NDArray[np.int64] | None,
    anchors: Anchors,
    population: int | None = None,
) -> Number | None:
    """The mean of the anchors' values, and its error by the infinitesimal jackknife.

    Row j enters the mean as an anchor, through its own value, and as a negative, through what its
    presence adds to the values of the others.

    Args:
        values: (m,) the anchors' values, NaN where one has none; infinite ones have no mean.
        own: (m,) what each contributes as an anchor; `values` for a plain mean.
        effects: one or two (N,) vectors, what each row's presence adds to the sum of all others'
            values, from all anchors or from two halves of some.
        share: part of the rows behind each of the effects.
        groups: (N,) codes of rows that belong together.
        anchors: the rows that have the values: all, or a sample.
        population: of a sample, how many of all rows have a value.

    Returns:
        The number; None where too few rows have a value, or one is infinite.
    """
    if np.isinf(values).any():
        return None
    there = np.isfinite(values)
    if anchors.is_sample:
        if there.sum() < FEWEST:
            return None
        found = anchors.mean(values, population)
        parts = list(effects) if len(effects) == 2 else [*effects, *effects]
        error = anchors.std_error(own, parts, population, groups)
        return Number(found.value, error, found.n, None, found.sampling_error)
    if not there.any():
        return None
    value = float(values[there].mean())
    centred = np.where(there, own, np.nan)
    pseudos = [value + centred - float(own[there].mean()) + effect for effect in effects]
    error = cross_standard_error(pseudos[0], pseudos[-1], groups, share)
    if error is None:
        return Number(value, None, int(there.sum()))
    pseudo, noise = merged_copies(pseudos, share)
    return Number(value, error, int(there.sum()), pseudo, None, noise)


def woodruff(
    quantile: Callable[[float], NDArray[np.float64] | float], q: float, share_error: float | None
) -> float | None:
    """Standard error of a quantile (Woodruff, JASA 1952).

    A quarter of the distance between the quantiles at q +- two errors of the share below it.

    Args:
        quantile: the quantile at a share.
        q: which.
        share_error: standard error of the share of values at or below it; None: unknown.
    """
    if share_error is None:
        return None
    low, high = max(q - 2.0 * share_error, 0.0), min(q + 2.0 * share_error, 1.0)
    if high == low:
        return 0.0
    # where an end is cut off at 0 or 1 the other side alone tells the slope
    return float((quantile(high) - quantile(low)) * share_error / (high - low))
