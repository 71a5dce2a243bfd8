"""The part of the repulsion that a temperature spends on suspects: probably false negatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.means import mean_with_effects
from cl_analyze.metrics.metric import NEGATIVES, TAU, Metric, Parameter
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.suspects import SMALLEST_TAU, limits_of, suspect_counts
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import (
    SoftmaxReceived,
    SoftmaxTotals,
    SuspectGiven,
    SuspectReceived,
)
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.tables import Record

Vector = NDArray[np.float64]

SUSPECT_SHARE = Metric(
    "penalty_suspect_share",
    "share",
    "sum of the weights of negatives nearer than margin times the anchor's positive, over the "
    "negatives of each anchor, weights softmax(s / τ), averaged over anchors.",
    formulas=(
        "mean share on negatives with s > margin × s of the positive (of several, the smallest)",
    ),
    parameters=(TAU, Parameter("margin", "suspect_margin"), NEGATIVES),
    depends_on=("dimensions", "rows"),
    needs="views",
    source="Wang & Liu 2021, eq. 5; Moreira et al. 2024.",
    title="suspect share",
)


def suspect_values(
    results: PassResults, found: Found, tau: float, log_mass: Vector, neighbours: Neighbours
) -> Vector | None:
    """(m,) share of each anchor's penalty on suspects; NaN without a positive above 0.

    Args:
        results: the passes.
        found: the pass that had `suspect_counts`.
        tau: the temperature.
        log_mass: (m,) log Z of the anchors.
        neighbours: their nearest negatives, which have all of the penalty at a very small tau.
    """
    subject, options = results.subject, results.options
    reducer, positives = suspect_counts(subject, options), results.positives
    if reducer is None or positives is None:
        return None
    least = positives.least[results.anchors.rows]
    if tau >= SMALLEST_TAU:
        column = 3 * reducer.n_limits + reducer.taus.index(tau)
        sums = found[reducer][:, column]
        with np.errstate(divide="ignore"):
            log_sums = np.log(sums) + 1.0 / tau
    else:
        limits = limits_of(least, (options.suspect_margin,))
        is_suspect = neighbours.values > limits
        exponents = np.where(is_suspect, neighbours.values / tau, -np.inf)
        log_sums = np.logaddexp.reduce(exponents, axis=1)
    with np.errstate(invalid="ignore"):
        shares = np.minimum(np.exp(log_sums - log_mass), 1.0)
        return np.where(np.isfinite(log_mass) & (least > 0), shares, np.nan)


def _received(
    results: PassResults, tau: float, log_mass: Vector, shares: Vector
) -> tuple[SuspectReceived, SoftmaxReceived]:
    """What columns receive: from the anchors that suspect them, and weighted by the shares."""
    subject, options, rows = results.subject, results.options, results.anchors.chosen
    positives = subject.positive_pairs
    assert positives is not None
    limits = limits_of(positives.least, (options.suspect_margin,))[:, 0]
    known = np.isfinite(shares)
    masses = np.where(known, log_mass, np.nan)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        weighted = np.where(known & (shares > 0), log_mass - np.log(shares), np.inf)[:, None]
    pairs = options.negative_pairs
    return (
        SuspectReceived((tau,), pairs, SuspectGiven(rows, limits, masses)),
        SoftmaxReceived(tau, pairs, False, SoftmaxTotals(rows, weighted)),
    )


def second_reducers(
    results: PassResults, tau: float, log_mass: Vector, neighbours: Neighbours
) -> list[Reducer]:
    """What each row adds to the others' shares, for the error bars."""
    shares = suspect_values(results, results.first, tau, log_mass, neighbours)
    return [] if shares is None else list(_received(results, tau, log_mass, shares))


def suspect_record(
    results: PassResults, found: Found, tau: float, log_mass: Vector, neighbours: Neighbours
) -> list[Record]:
    """The mean share at one temperature; nothing without positives.

    Where negatives are items of `--relevant`, nobody else's share changes with a row.
    """
    shares = suspect_values(results, found, tau, log_mass, neighbours)
    if shares is None:
        return []
    subject, options = results.subject, results.options
    effects, share = [np.zeros(subject.n)], 0.0
    if subject.relevance is None:
        of_suspects, weighted = _received(results, tau, log_mass, shares)
        share = len(results.second[0][1]) / subject.n
        effects = [
            subject.n / len(rows) * (part[of_suspects] - part[weighted])[:, 0]
            for part, rows in results.second
        ]
    number = mean_with_effects(shares, shares, effects, share, subject.groups, results.anchors)
    params: dict[str, Any] = {"tau": tau, "margin": options.suspect_margin}
    params.update(options.negative_params)
    metric, place = SUSPECT_SHARE.at(**params), (subject.source, subject.d)
    if number is None:
        return [metric.undefined(*place, "no anchor has a negative and a positive above 0")]
    return [metric.record(*place, number)]
