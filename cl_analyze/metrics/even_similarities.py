"""The penalty without embeddings: similarities spread evenly over [-1, 1] (the paper's Fig. 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.bins import TABLE_BINS, bin_centres
from cl_analyze.metrics.family import FamilyResult
from cl_analyze.metrics.hard_curve import hard_curve_of_even_similarities
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.penalty import (
    EFFECTIVE_NEGATIVES,
    ENTROPY,
    TOP1_SHARE,
    TOP10_SHARE,
)
from cl_analyze.metrics.penalty_curve import CURVE_COLUMNS, curve_rows
from cl_analyze.metrics.penalty_temperatures import (
    FINE,
    FIRST,
    GOALS,
    Values,
    missed,
    reached,
    search,
)
from cl_analyze.options import MetricOptions
from cl_analyze.results.stats import pseudo_values, standard_error
from cl_analyze.results.tables import Cell, Record, Table

Vector = NDArray[np.float64]

UNIFORM_SOURCE = "uniform[-1,1]"


def penalty_of_uniform_similarities(options: MetricOptions) -> FamilyResult:
    """The setting of Wang & Liu, Fig. 3: similarities spread evenly over [-1, 1], no embeddings.

    The relative penalty curve is the exact law for many negatives,
    K r(s) = exp(s/tau) / (tau sinh(1/tau)).  The statistics come from one seeded draw of K
    similarities, and their errors from a jackknife over the draw.

    Args:
        options: temperatures, seed, and the number K of similarities.
    """
    n_negatives = options.n_negatives
    drawn = np.random.default_rng(options.seed).uniform(-1.0, 1.0, size=n_negatives)
    nearest = np.sort(drawn)[::-1]
    records: list[Record] = []
    curve: list[dict[str, Cell]] = []
    edges = np.linspace(-1.0, 1.0, TABLE_BINS + 1)
    for tau in options.taus:
        of_draw = _Draw(nearest, tau)
        for metric, column in (
            (ENTROPY, "entropy"),
            (EFFECTIVE_NEGATIVES.at("mean_exp"), "exp_entropy"),
            (EFFECTIVE_NEGATIVES.at("exp_mean"), "exp_entropy"),
            (TOP1_SHARE, "top1_share"),
            (TOP10_SHARE, "top10_share"),
        ):
            value, without = of_draw.columns[column]
            pseudo = pseudo_values(value, without)
            number = Number(value, standard_error(pseudo), n_negatives, pseudo)
            records.append(metric.at(tau=tau).record(UNIFORM_SOURCE, None, number))
        # log of tau sinh(1/tau), without overflow
        log_level = math.log(tau / 2.0) + 1.0 / tau + math.log(-math.expm1(-2.0 / tau))
        penalty = np.exp(bin_centres() / tau - log_level) / n_negatives
        law = np.exp((edges[1:] - 1.0) / tau) - np.exp((edges[:-1] - 1.0) / tau)
        mass = law / -math.expm1(-2.0 / tau)
        curve += curve_rows(
            UNIFORM_SOURCE, tau, penalty, mass, np.full(TABLE_BINS, 1.0 / TABLE_BINS), True
        )
    records += _temperatures(nearest)
    tables = [Table("penalty_curve", CURVE_COLUMNS, tuple(curve))]
    if options.penalty_alpha is not None:
        tables.append(
            hard_curve_of_even_similarities(
                UNIFORM_SOURCE, options.taus, options.penalty_alpha, n_negatives
            )
        )
    return FamilyResult(tuple(records), tuple(tables))


class _Draw:
    """Statistics of one draw of similarities at a temperature, and without each similarity.

    Attributes:
        columns: name, as in `AnchorStatistics` -> the value, and (K,) values without each negative.
    """

    def __init__(self, nearest: Vector, tau: float) -> None:
        """Take the (K,) similarities, the nearest first, and the temperature."""
        n_negatives = len(nearest)
        logits = nearest / tau
        top = float(logits.max())
        log_mass = top + math.log(float(np.exp(logits - top).sum()))
        share = np.exp(logits - log_mass)
        mean = float(share @ nearest)
        entropy = max(log_mass - mean / tau, 0.0)
        rest = 1.0 - share
        rest[0] = share[1:].sum()  # exact where the nearest negative has nearly all of the mass
        log_share = np.log(np.maximum(share, 1e-300))
        entropy_without = (entropy + share * log_share) / rest + np.log(rest)
        top10 = float(share[:10].sum())
        eleventh = float(share[10]) if n_negatives > 10 else 0.0
        rank = np.arange(n_negatives)
        top1_without = np.where(rank < 1, share[1], share[0]) / rest
        top10_without = np.where(rank < 10, top10 - share + eleventh, top10) / rest
        self.columns: dict[str, tuple[float, Vector]] = {
            "entropy": (entropy, entropy_without),
            "exp_entropy": (math.exp(entropy), np.exp(entropy_without)),
            "top1_share": (float(share[0]), top1_without),
            "top10_share": (top10, top10_without),
        }


def _temperatures(nearest: Vector) -> list[Record]:
    """The temperatures at which the draw's statistics reach their levels.

    Args:
        nearest: (K,) similarities, the nearest first.
    """
    n = len(nearest)

    def measure(taus: Sequence[float]) -> Iterator[Values]:
        for tau in taus:
            columns = _Draw(nearest, tau).columns
            effective, top10 = columns["exp_entropy"][0], columns["top10_share"][0]
            yield {"exp_entropy": effective / n, "top10_share": top10}

    reasons = {goal: goal.never(np.array([float(n)])) for goal in GOALS}
    known = search(measure, [goal for goal in GOALS if not reasons[goal]], FIRST, FINE)
    records = []
    for goal, reason in reasons.items():
        place = None if reason else reached(goal, known)
        if place is None:
            reason = reason or missed(goal, known)
            records.append(goal.metric.undefined(UNIFORM_SOURCE, None, reason))
            continue
        value, without = _Draw(nearest, place.tested).columns[goal.column]
        if goal.column == "exp_entropy":
            value, without = value / n, without / (n - 1)
        factor = -place.tau / (value * place.slope)
        pseudo = pseudo_values(place.tau, place.tau + factor * (without - value))
        number = Number(place.tau, standard_error(pseudo), n, pseudo)
        records.append(goal.metric.record(UNIFORM_SOURCE, None, number))
    return records
