"""The value of a loss at each pair, its two parts, and how rows act on it as negatives.

A loss is a mean over pairs of an alignment part and a uniformity part.  The uniformity part of the
softmax losses is a sum of log-sum-exps over rows that other pairs share.  `Softmax` names these
sums: an error bar needs to know how a row acts as a negative of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from cl_analyze.metrics.losses.pieces import ACROSS, WITHIN, Matrix, Pieces, Vector, View
from cl_analyze.pairs.tile import PairSet

Candidates = tuple[tuple[Matrix, PairSet], ...]
"""Sets of rows that a softmax runs over: matrix of similarities, and which of its pairs."""

Effect = Literal[
    "simple", "hard_contrastive", "hard_simple", "hardest", "supcon_out", "supcon_in", "siglip"
]
"""How a row acts on the losses of others, beside the softmaxes; see influence.py."""


@dataclass(frozen=True)
class Softmax:
    """weight * log Z_i in a loss, or weight times the mean of 1 - s under the softmax.

    Attributes:
        weight: the factor.
        tau: temperature of Z_i.
        log_total: (m,) log Z_i; that of a mean with a factor f_i is log Z_i - log f_i.
        over: the candidates in Z_i.
        log_centre: (m,) of a mean, log_total less the log of the mean; None for log Z_i.
    """

    weight: float
    tau: float
    log_total: Vector
    over: Candidates
    log_centre: Vector | None = None


@dataclass(frozen=True)
class Terms:
    """A loss of each pair.

    Attributes:
        value: (m,), NaN for a pair that has no value.
        alignment, uniformity: (m,) the two parts; None for a loss that does not split.
        reason: why the loss does not split.
        softmaxes: how rows act as negatives; negative weights belong to the alignment.
        effect: how they act otherwise.
        moved: (N,) how much each row otherwise adds to the sum of the others' alignments, where
            no pass is needed to know it.
        own: what a pair contributes as an anchor to the error of the mean of value, alignment and
            uniformity; None: the three vectors themselves.
        limit: (m,) the loss without the part that fades as the number of negatives K grows, minus
            log_count; None for a loss without such a limit.
        log_count: log K as it enters the loss.
        tau: the temperature; NaN for a loss without one.
        push: (m,) sum over the negatives of dL/ds; None for a loss that does not give it.
        pull: (m,) -dL/ds of the positive.
        of_all: whether the vectors are about all N pairs, whatever the anchors are: such a loss is
            exact, and `own` has all that a row does to it.
    """

    value: Vector
    alignment: Vector | None = None
    uniformity: Vector | None = None
    reason: str = ""
    softmaxes: tuple[Softmax, ...] = ()
    effect: Effect | None = None
    moved: Vector | None = None
    own: tuple[Vector, Vector, Vector] | None = None
    limit: Vector | None = None
    log_count: float = 0.0
    tau: float = math.nan
    push: Vector | None = None
    pull: Vector | None = None
    of_all: bool = False


def changed(terms: Terms, change: Callable[..., Vector], *others: Terms) -> Terms:
    """The terms with a change of every vector that they, and the others, have."""
    changes: dict[str, Any] = {}
    for name in ("value", "alignment", "uniformity", "limit", "push", "pull"):
        vectors = [getattr(one, name) for one in (terms, *others)]
        changes[name] = None if any(vector is None for vector in vectors) else change(*vectors)
    return replace(terms, **changes)


def mean(first: Terms, second: Terms) -> Terms:
    """The mean of two directions."""
    softmaxes = tuple(
        replace(softmax, weight=0.5 * softmax.weight)
        for softmax in (*first.softmaxes, *second.softmaxes)
    )
    half = changed(first, lambda a, b: 0.5 * (a + b), second)
    return replace(half, softmaxes=softmaxes)


def coupled(
    p: Pieces, tau: float, negatives: Vector, candidates: Candidates, count: float
) -> Terms:
    """-s_ii / tau + log(exp(s_ii / tau) + exp(negatives))."""
    pull = p.positive / tau
    log_total = np.logaddexp(pull, negatives)
    # the decoupled loss through softplus: exact where the loss is tiny
    value = np.logaddexp(0.0, negatives - pull)
    share = np.exp(negatives - log_total)
    return Terms(
        value,
        -pull,
        log_total,
        softmaxes=(Softmax(1.0, tau, log_total, candidates),),
        limit=negatives - pull - math.log(count),
        log_count=math.log(count),
        tau=tau,
        push=share / tau,
        pull=-np.expm1(pull - log_total) / tau,
    )


def decoupled(
    p: Pieces, softmaxes: tuple[Softmax, ...], count: float, weight: float = 1.0
) -> Terms:
    """-s_ii / tau + sum of weighted log-sum-exps without the positive."""
    tau = softmaxes[0].tau
    pull = p.positive / tau
    spread = sum((s.weight * s.log_total for s in softmaxes), np.zeros_like(pull))
    value = finite(spread - pull)
    log_count = weight * math.log(max(count, 1))
    counted = np.where(np.isfinite(value), 1.0, np.nan)
    return Terms(
        value,
        -pull + 0.0 * value,
        finite(spread),
        softmaxes=softmaxes,
        limit=value - log_count,
        log_count=log_count,
        tau=tau,
        push=weight * counted / tau,
        pull=counted / tau,
    )


def finite(values: Vector) -> Vector:
    """The values, NaN for infinite ones."""
    kept: Vector = np.where(np.isfinite(values), values, np.nan)
    return kept


def over(view: View, *pair_sets: PairSet) -> Candidates:
    """Rows of both views, of the anchors of one view."""
    matrices = (WITHIN[view], ACROSS[view])
    return tuple((matrix, pairs) for pairs in pair_sets for matrix in matrices)


def of_views(
    weight: float, tau: float, log_totals: dict[View, Vector], *pair_sets: PairSet
) -> tuple[Softmax, ...]:
    """The softmaxes of the anchors of each view, over rows of both views."""
    return tuple(
        Softmax(weight, tau, log_total, over(view, *pair_sets))
        for view, log_total in log_totals.items()
    )


def of_labelled(p: Pieces, values: Vector) -> Vector:
    """The values of labelled rows, NaN for the others."""
    assert p.labelled is not None
    kept: Vector = np.where(p.labelled, values, np.nan)
    return kept


def mean_softmax(weight: float, tau: float, log_total: Vector, mean: Vector) -> Softmax:
    """weight times the mean of 1 - s under the softmax over the rows of the other view."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_centre = log_total - np.log(mean)
    return Softmax(weight, tau, log_total, (("uv", "all"),), log_centre)
