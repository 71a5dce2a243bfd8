"""Records of a group of similarities: mean, standard deviation, quantiles, with their errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import AnchorValues, Function
from cl_analyze.metrics.anchors import Anchors, Estimate
from cl_analyze.metrics.means import Number, woodruff
from cl_analyze.metrics.metric import NEGATIVES, Metric, Parameter
from cl_analyze.metrics.nearest_values import half_effects
from cl_analyze.metrics.subject import Subject
from cl_analyze.results.tables import Record

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BESIDE = {
    0.05: (0.025, 0.05, 0.075, 0.1),
    0.25: (0.2, 0.25, 0.3),
    0.5: (0.45, 0.5, 0.55),
    0.75: (0.7, 0.75, 0.8),
    0.95: (0.9, 0.925, 0.95, 0.975),
}
"""Quantiles beside each, whose errors are averaged: few rows lie at a quantile of a tail."""

Vector = NDArray[np.float64]

_DEFINITIONS = ("view_pairs", "relevant", "same_class")
_PARAMETERS = (Parameter("group", "top_k"), NEGATIVES)
MEAN = Metric(
    "similarity_mean",
    "cosine",
    "mean cosine of a group: positives, or the l-th nearest negative of each row.",
    _DEFINITIONS,
    parameters=_PARAMETERS,
    title="mean cosine",
)
STD = Metric(
    "similarity_std",
    "cosine",
    "standard deviation of the cosines of a group.",
    _DEFINITIONS,
    parameters=_PARAMETERS,
    title="deviation of the cosine",
)
QUANTILE = Metric(
    "similarity_quantile",
    "cosine",
    "quantile at q of the cosines of a group.",
    _DEFINITIONS,
    parameters=(*_PARAMETERS, Parameter("q")),
    title="quantile of the cosine",
)


Part = Callable[[Function], AnchorValues]
"""A function f of similarities -> the anchors' values f(s), with deletions."""


@dataclass(frozen=True)
class Group:
    """A group of similarities: the checkpoint, definition and parameters of its records.

    Attributes:
        subject: the checkpoint.
        definition: view_pairs or same_class for positives; None for negatives.
        params: the name of the group, and the kind of negatives.
    """

    subject: Subject
    definition: str | None
    params: Mapping[str, Any]

    def _metrics(self) -> list[Metric]:
        """Mean, standard deviation, and each quantile."""
        at = self.params
        quantiles = (QUANTILE.at(self.definition, **at, q=q) for q in QUANTILES)
        return [MEAN.at(self.definition, **at), STD.at(self.definition, **at), *quantiles]

    def records(self, mean: Number, std: Number, quantiles: Sequence[Number]) -> list[Record]:
        """Records of the mean, the standard deviation and the quantiles."""
        numbers = (mean, std, *quantiles)
        return [
            metric.record(self.subject.source, self.subject.d, number)
            for metric, number in zip(self._metrics(), numbers, strict=True)
        ]

    def undefined(self, reason: str) -> list[Record]:
        """Records without values, with the reason."""
        return [m.undefined(self.subject.source, self.subject.d, reason) for m in self._metrics()]


def exact_records(
    group: Group, values: Vector, part: Part, reason: str, weights: Vector | None = None
) -> list[Record]:
    """Records of similarities that are known for every anchor.

    Args:
        group: the group of the records.
        values: similarities, NaN where an anchor has no value.
        part: the values of a function of the similarities, with deletions.
        reason: reason where no anchor has a value.
        weights: vote of each similarity; None: each has the same.
    """
    if not np.isfinite(values).any():
        return group.undefined(reason)
    groups = group.subject.groups
    first, second = part(lambda v: v), part(np.square)
    mean = first.mean(groups)
    square = second.mean(groups).value
    variance = max(square - mean.value**2, 0.0)
    if weights is None:
        variance = float(values[np.isfinite(values)].var())
    std = math.sqrt(variance)
    spread = np.sqrt(np.maximum(second.mean_without() - first.mean_without() ** 2, 0.0))
    shift = std - math.sqrt(max(square - mean.value**2, 0.0))  # the same rounding on both sides
    slope = 0.5 / std if std > 0 else 0.0
    of_std = part(lambda v: slope * (v - 2.0 * mean.value) * v)  # its derivative by each value
    quantile = quantile_function(values, weights)
    quantiles = []
    for q in QUANTILES:
        error = woodruff(quantile, q, _share_error(part, quantile, q, groups))
        quantiles.append(Number(float(quantile(q)), error, mean.n))
    return group.records(mean, of_std.number(std, spread + shift, groups), quantiles)


def _share_error(
    part: Part, quantile: Callable[[float], Any], q: float, groups: Any
) -> float | None:
    """Standard error of the share of values at or below the quantile at q.

    Beside negatives that hang on other rows, it is taken from several quantiles near q: the
    variances, each over p (1 - p), are averaged.
    """
    at_q = part(partial(is_below, at=float(quantile(q))))
    error = at_q.mean(groups).std_error
    if error is None or not at_q.squares:
        return error
    designs = []
    for p in _BESIDE[q]:
        number = part(partial(is_below, at=float(quantile(p)))).mean(groups)
        if number.std_error is not None and 0.0 < number.value < 1.0:
            designs.append(number.std_error**2 / (number.value * (1.0 - number.value)))
    return math.sqrt(q * (1.0 - q) * sum(designs) / len(designs)) if designs else 0.0


def quantile_function(values: Vector, weights: Vector | None) -> Callable[[float], float]:
    """The quantile function of some values, NaN left out.

    >>> quantile_function(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0]))(0.5)
    2.3333333333333335
    """
    is_there = np.isfinite(values)
    present = values[is_there]
    if weights is None:
        return lambda q: float(np.quantile(present, q))
    order = np.argsort(present)
    ordered, votes = present[order], weights[is_there][order]
    centres = (np.cumsum(votes) - 0.5 * votes) / votes.sum()
    return lambda q: float(np.interp(q, centres, ordered))


def _number(estimate: Estimate, error: float | None) -> Number:
    return Number(estimate.value, error, estimate.n, None, estimate.sampling_error)


def root(squared: Number) -> Number:
    """The standard deviation from the mean squared distance."""
    std = math.sqrt(max(squared.value, 0.0))
    return squared.moved(std, 0.5 / std if std > 0 else 0.0)


def estimated_records(
    group: Group, values: Vector, parts: Sequence[Part], anchors: Anchors
) -> list[Record]:
    """As `exact_records`, from a sample of anchors; each part belongs to one half of the sample."""

    def mean_of(function: Function, drawn: Anchors = anchors) -> Number:
        statistic = function(values)
        population = drawn.population(statistic)
        estimate = drawn.mean(statistic, population)
        effects = half_effects([part(function) for part in parts], estimate.value, population)
        groups = group.subject.groups
        error = drawn.std_error(statistic, effects, population, groups, interaction=False)
        return _number(estimate, error)

    mean = mean_of(lambda v: v)
    squared = mean_of(lambda v: (v - mean.value) ** 2)
    plain = anchors.without_moments()  # the quantile is that of the anchors, without regression
    present = values[np.isfinite(values)]
    quantiles = []
    for q in QUANTILES:
        at = float(np.quantile(present, q))
        share = mean_of(partial(is_below, at=at), plain)
        quantiles.append(quantile_number(at, share, q, partial(np.quantile, present)))
    return group.records(mean, root(squared), quantiles)


def quantile_number(
    at: float, share: Number, q: float, quantile: Callable[[Any], Any], width: float = 0.0
) -> Number:
    """A quantile with Woodruff's errors.

    Args:
        at: the quantile.
        share: share of values at or below the quantile, with its errors.
        q: the share at which the quantile is taken.
        quantile: the quantile function.
        width: width of the histogram's bins, added to the sampling error.
    """
    error, sampling = (
        woodruff(quantile, q, of_share) for of_share in (share.std_error, share.sampling_error)
    )
    return Number(at, error, share.n, None, (sampling or 0.0) + width)


def is_below(values: Vector, at: float) -> Vector:
    """1 where a value is at or below a limit, 0 above; NaN stays."""
    return np.where(np.isnan(values), np.nan, (values <= at).astype(np.float64))
