"""Temperatures to start from: where the penalty has a given width, from the embeddings alone.

With tau the effective number of negatives rises and the share of the ten nearest falls, for each
anchor (dH / d tau = Var(s) / tau^3 under the weights), so the means do too, and one temperature
reaches a level.  Passes over a few anchors find where to look; one pass over all anchors then
measures three temperatures around each, and the curve through the three gives the temperature.

The error is that of the statistic over its slope (delta method).  Rows are deleted at the tested
temperature next to the result, as anchors and as negatives, in the second pass of the penalty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics import penalty_items
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import PassResults, second_anchors
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import NEGATIVES, Metric, Parameter
from cl_analyze.metrics.penalty_passes import (
    by_temperature,
    n_negatives,
    penalty_given,
    statistics,
)
from cl_analyze.metrics.penalty_statistics import AnchorStatistics, Deletions
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import LeaveOneOut, SoftmaxMoments
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.tables import Record

Vector = NDArray[np.float64]

EFFECTIVE_SHARE = Metric(
    "temperature_of_effective_share",
    "none",
    "temperature at which the effective number of negatives (mean_exp) is this share of all "
    "negatives.",
    formulas=("τ at which the mean of exp(Hᵢ) is share × the mean number of negatives",),
    parameters=(Parameter("share"), NEGATIVES),
    depends_on=("dimensions", "rows"),
)
TOP10_HALF = Metric(
    "temperature_of_top10_half",
    "none",
    "temperature at which the ten nearest negatives have half of the weight; below it they have "
    "more.",
    formulas=("τ at which the mean share on the ten nearest is a half",),
    parameters=(NEGATIVES,),
    depends_on=("dimensions", "rows"),
)
METRICS = (EFFECTIVE_SHARE, TOP10_HALF)

SHARES = (0.01, 0.1, 0.5)
LOWEST, HIGHEST = 1e-3, 1e3
"""The temperatures among which levels are looked for."""
FIRST = tuple(np.geomspace(0.02, 2.0, 13).tolist())
"""Temperatures that are tested first, on few anchors."""
_FEW = (32, 256)
"""Anchors of the passes that find where to look."""
COARSE, FINE = 0.4, 0.055
"""Largest log ratio of the two tested temperatures around a result: of few anchors, and of all."""
_UNSURE = 0.85
"""Log distance from the result of 1 anchor to that of all rows, about; of m anchors over sqrt m."""
_STEP = 4.0
"""Factor to the next temperature where all tested ones are on one side of the level."""


@dataclass(frozen=True)
class Goal:
    """A level that a statistic of the penalty reaches at the temperature of a metric.

    Attributes:
        metric: the metric, with its parameters.
        column: the statistic of each anchor, a column of `AnchorStatistics`.
        level: of the mean share of the ten nearest, or of the effective number of negatives over
            the number of negatives.
    """

    metric: Metric
    column: str
    level: float

    @property
    def sign(self) -> int:
        """1 where the statistic rises with the temperature, -1 where it falls."""
        return 1 if self.column == "exp_entropy" else -1

    def never(self, counts: Vector) -> str:
        """The reason why no temperature at all reaches the level; empty: one may.

        Args:
            counts: (m,) number of negatives of the anchors, > 0.
        """
        n = f"{float(counts.mean()):.6g} negatives"
        if self.column == "exp_entropy":
            is_there = self.level * counts.mean() > 1.0
            return "" if is_there else f"{self.level:.0%} of {n} are no more than one negative"
        is_there = float(np.minimum(10.0 / counts, 1.0).mean()) < self.level
        return (
            "" if is_there else f"ten of {n} have at least half of the weight at every temperature"
        )

    def beyond(self, is_too_high: bool) -> str:
        """The reason why no temperature from LOWEST to HIGHEST reaches the level.

        Args:
            is_too_high: whether the statistic is above the level at all of them; else it is below.
        """
        tau = f"{LOWEST if is_too_high == (self.sign > 0) else HIGHEST:g}"
        side = "more" if is_too_high else "less"
        if self.column == "exp_entropy":
            return f"at tau = {tau} the effective number is still {side} than {self.level:.0%}"
        return f"at tau = {tau} the share of the ten nearest is still {side} than a half"


GOALS = (
    *(Goal(EFFECTIVE_SHARE.at(share=share), "exp_entropy", share) for share in SHARES),
    Goal(TOP10_HALF, "top10_share", 0.5),
)

Values = Mapping[str, float]
"""Column -> the mean share of the ten nearest, the effective over the number of negatives."""
Known = Mapping[float, Values]
"""Temperature -> the statistics."""
Measure = Callable[[Sequence[float]], Iterable[Values]]
"""The statistics at some temperatures."""


@dataclass(frozen=True)
class Reached:
    """Where a statistic reaches its level.

    Attributes:
        tau: the temperature.
        tested: the tested temperature next to it.
        slope: d log(statistic) / d log(tau) at the tested temperature.
    """

    tau: float
    tested: float
    slope: float


def search(
    measure: Measure, goals: Collection[Goal], first: Iterable[float], tolerance: float
) -> Known:
    """The statistics at temperatures that close in on the levels of all goals.

    Args:
        measure: the statistics at some temperatures.
        goals: the levels.
        first: the temperatures to begin with.
        tolerance: log ratio of the temperatures on both sides of a level.
    """
    known: dict[float, Values] = {}
    wanted = sorted(set(first))
    while wanted:
        known.update(zip(wanted, measure(wanted), strict=True))
        following = {tau for goal in goals for tau in _next(goal, known, tolerance)}
        wanted = sorted(following - known.keys())
    return known


def _sides(goal: Goal, known: Known) -> tuple[float | None, float | None]:
    """The tested temperatures next to the level, below and above; None: none there."""
    taus = sorted(known)
    above = [tau for tau in taus if goal.sign * (known[tau][goal.column] - goal.level) >= 0.0]
    high = above[0] if above else None
    below = [tau for tau in taus if high is None or tau < high]
    return (below[-1] if below else None), high


def _next(goal: Goal, known: Known, tolerance: float) -> tuple[float, ...]:
    """The temperatures to test next for a goal; none where it is close enough, or out of reach."""
    low, high = _sides(goal, known)
    if low is None:
        return (max(min(known) / _STEP, LOWEST),)
    if high is None:
        return (min(max(known) * _STEP, HIGHEST),)
    if math.log(high / low) <= tolerance:
        return ()
    return around(_between(goal, known, low, high), 0.9 * tolerance)


def around(tau: float, width: float) -> tuple[float, float, float]:
    """A temperature, and one on either side, within the limits."""
    sides = tau * math.exp(-width), tau, tau * math.exp(width)
    low, middle, high = (min(max(side, LOWEST), HIGHEST) for side in sides)
    return low, middle, high


def _between(goal: Goal, known: Known, low: float, high: float) -> float:
    """The temperature of the level on the line through two tested ones, both axes logarithmic."""
    logs = [math.log(known[tau][goal.column]) for tau in (low, high)]
    share = (math.log(goal.level) - logs[0]) / (logs[1] - logs[0])
    return low * math.pow(high / low, min(max(share, 0.0), 1.0))


def guess(goal: Goal, known: Known) -> float:
    """The temperature of the level, roughly; a limit where it is out of reach."""
    low, high = _sides(goal, known)
    if low is None or high is None:
        return LOWEST if low is None else HIGHEST
    return _between(goal, known, low, high)


def reached(goal: Goal, known: Known) -> Reached | None:
    """Where the statistic reaches its level; None: beyond the limits.

    From the curve through three tested temperatures, two of them around the level, with both axes
    logarithmic: log(tau) as a polynomial of the log of the statistic.
    """
    low, high = _sides(goal, known)
    if low is None or high is None:
        return None
    line = _between(goal, known, low, high)
    third = min(
        (tau for tau in known if tau not in (low, high)),
        key=lambda tau: abs(math.log(tau / line)),
        default=None,
    )
    taus = [low, high] if third is None else [low, high, third]
    x = np.log(taus)
    y = np.array([math.log(known[tau][goal.column] / goal.level) for tau in taus])
    nearest = int(np.argmin(np.abs(x - math.log(line))))
    root, slope = math.log(line), float((y[1] - y[0]) / (x[1] - x[0]))
    if third is not None and len(set(y.tolist())) == 3:
        inverse = np.polynomial.polynomial.polyfit(y, x - root, 2)
        root += float(np.clip(inverse[0], x[0] - root, x[1] - root))
        of_curve = float(np.polynomial.polynomial.polyfit(x - x[nearest], y, 2)[1])
        slope = of_curve if of_curve * slope > 0.0 else slope
    return Reached(math.exp(root), taus[nearest], slope)


@dataclass(frozen=True)
class Located:
    """Where the anchors' statistics reach their levels.

    Attributes:
        anchors: all rows, or a sample of very many.
        neighbours: nearest negatives of the anchors.
        reached: goals that are reached.
        reasons: why the others are not.
        of_taus: statistics of the anchors at the tested temperatures next to the results.
    """

    anchors: Anchors
    neighbours: Neighbours
    reached: dict[Goal, Reached]
    reasons: dict[Goal, str]
    of_taus: dict[float, AnchorStatistics]

    def columns(self, tau: float) -> tuple[str, ...]:
        """The statistics that reach a level next to a tested temperature."""
        return tuple(
            sorted({goal.column for goal, place in self.reached.items() if place.tested == tau})
        )


def missed(goal: Goal, known: Known) -> str:
    """The reason why no temperature within the limits reaches the level of a goal."""
    low, _ = _sides(goal, known)
    return goal.beyond(is_too_high=(low is None) == (goal.sign > 0))


class _Anchored:
    """The statistics of some anchors, from a pass for each call.

    Args:
        results: the passes.
        anchors: the anchors.
        neighbours: their nearest negatives.
    """

    def __init__(self, results: PassResults, anchors: Anchors, neighbours: Neighbours) -> None:
        self._results, self._anchors = results, anchors
        self._nearest = neighbours.values[:, :10]
        self._counts = n_negatives(results.subject, results.options)[anchors.rows]
        self.of_taus: dict[float, AnchorStatistics] = {}

    def __call__(self, taus: Sequence[float]) -> Iterable[Values]:
        results, anchors = self._results, self._anchors
        subject, options = results.subject, results.options
        reducers = [SoftmaxMoments(tau, options.negative_pairs) for tau in taus]
        over = results.runner.over if subject.relevance is None else results.runner.cross
        found = over(reducers, anchors)
        for tau in taus:
            stats = statistics(subject, options, found, tau, self._nearest, False, anchors.rows)
            self.of_taus[tau] = stats
            has_value = np.isfinite(stats.exp_entropy)
            yield {
                "exp_entropy": float(
                    stats.exp_entropy[has_value].sum() / self._counts[has_value].sum()
                ),
                "top10_share": float(stats.top10_share[has_value].mean()),
            }


def locate(results: PassResults) -> Located:
    """Where the anchors' statistics reach their levels; call it through `PassResults.once`."""
    subject, options = results.subject, results.options
    anchors = second_anchors(subject.n, options, results.anchors)
    at = np.searchsorted(results.anchors.rows, anchors.rows)
    of_all = (
        results.nearest_negatives()
        if subject.relevance is None
        else penalty_items.neighbours(results)
    )
    neighbours = Neighbours(of_all.values[at], of_all.indices[at])
    counts = n_negatives(subject, options)[anchors.rows]
    has_negative = neighbours.indices[:, 0] >= 0
    if not has_negative.any():
        nobody = "no row" if subject.relevance is None else "no query"
        reasons = dict.fromkeys(GOALS, f"{nobody} has a negative")
        return Located(anchors, neighbours, {}, reasons, {})
    reasons = {goal: goal.never(counts[has_negative]) for goal in GOALS}
    goals = [goal for goal in GOALS if not reasons[goal]]
    results.runner.announce("temperatures to start from")
    few = np.flatnonzero(has_negative)
    known: Known = {}
    first: Iterable[float] = FIRST
    for n_few in _FEW:
        if goals and n_few < len(few):
            chosen = few[np.linspace(0, len(few) - 1, n_few).astype(np.int64)]
            some = Neighbours(neighbours.values[chosen], neighbours.indices[chosen])
            part = Anchors(anchors.rows[chosen], subject.n)
            known = search(_Anchored(results, part, some), goals, first, COARSE)
            first = _around_guesses(goals, known, n_few)
    measure = _Anchored(results, anchors, neighbours)
    known = search(measure, goals, first if goals else (), FINE)
    found = {goal: place for goal in goals if (place := reached(goal, known)) is not None}
    reasons = {
        goal: reason or missed(goal, known) for goal, reason in reasons.items() if goal not in found
    }
    tested = {place.tested for place in found.values()}
    of_taus = {tau: stats for tau, stats in measure.of_taus.items() if tau in tested}
    return Located(anchors, neighbours, found, reasons, of_taus)


def _around_guesses(goals: Iterable[Goal], known: Known, n_anchors: int) -> tuple[float, ...]:
    """Temperatures around the results of some anchors, as far as those of all rows may be."""
    width = max(_UNSURE / math.sqrt(n_anchors), 0.9 * FINE)
    return tuple(tau for goal in goals for tau in around(guess(goal, known), width))


def memory(n_rows: int, options: MetricOptions) -> int:
    """Bytes of the statistics at the tested temperatures, and of the deletions."""
    if not options.wants(metric.name for metric in METRICS):
        return 0
    n_anchors = _n_anchors(n_rows, options)
    gains = 16 * n_rows * (n_anchors < n_rows)  # of each row, from both halves
    return len(GOALS) * (200 * n_anchors + gains) + gains


def own_reducers(options: MetricOptions) -> tuple[Reducer, ...]:
    """As the pass over all anchors has, for the forecast: three temperatures for each goal."""
    if not options.wants(metric.name for metric in METRICS):
        return ()
    taus = FIRST[: 3 * len(GOALS)]
    return tuple(SoftmaxMoments(tau, options.negative_pairs) for tau in taus)


def own_pairs(subject: Subject, options: MetricOptions) -> float:
    """Pairs of `own_reducers` that take as long: a pass, and deletions but over fixed items."""
    n_anchors = _n_anchors(subject.n, options)
    if subject.relevance is not None:
        return float(n_anchors * subject.n_candidates)
    return float(n_anchors * subject.n * (1 if n_anchors == subject.n else 2))


def _n_anchors(n_rows: int, options: MetricOptions) -> int:
    """Anchors of the pass that gives the results, see `second_anchors`."""
    exact = n_rows <= options.exact_deletions
    return options.anchors_of(n_rows) or (n_rows if exact else options.sampled_anchors)


def second_reducers(results: PassResults) -> tuple[Reducer, ...]:
    """The deletion of each row at the tested temperatures next to the results."""
    options = results.options
    if not options.wants(metric.name for metric in METRICS):
        return ()
    located = results.once(locate)
    rows, neighbours = located.anchors.chosen, located.neighbours
    pairs = options.negative_pairs
    return tuple(
        LeaveOneOut(tau, pairs, False, penalty_given(rows, stats, neighbours), located.columns(tau))
        for tau, stats in located.of_taus.items()
    )


def temperature_records(results: PassResults) -> list[Record]:
    """The temperature of each goal; none where other metrics alone are wanted."""
    subject, options = results.subject, results.options
    if not options.wants(metric.name for metric in METRICS):
        return []
    located = results.once(locate)
    copies = _deletions(results, located)
    place, records = (subject.source, subject.d), []
    for goal in GOALS:
        params: dict[str, Any] = dict(options.negative_params)
        metric = goal.metric.at(**params)
        reason = located.reasons.get(goal, "")
        number = None if reason else _number(results, located, goal, copies)
        if number is None:
            reason = reason or "hardly any of the anchors has a negative"
            records.append(metric.undefined(*place, reason))
        else:
            records.append(metric.record(*place, number))
    return records


def _deletions(results: PassResults, located: Located) -> dict[float, list[Deletions]]:
    """The deletions of each row at each tested temperature, from all anchors or from two halves.

    Empty where negatives are items of `--relevant`, which nobody deletes.
    """
    if results.subject.relevance is not None or not located.of_taus:
        return {}
    rows, neighbours = located.anchors.rows, located.neighbours
    positions = [np.searchsorted(rows, of_half) for _, of_half in results.second]
    at_taus = by_temperature(results, located.of_taus, neighbours, rows, positions, False)
    n, pairs = results.subject.n, results.options.negative_pairs
    copies: dict[float, list[Deletions]] = {}
    for tau, at_tau in at_taus.items():
        columns = located.columns(tau)
        reducer = LeaveOneOut(tau, pairs, statistics=columns)
        copies[tau] = [
            Deletions(n, at_tau, neighbours, found[reducer], at, columns)
            for (found, _), at in zip(results.second, positions, strict=True)
        ]
    return copies


def _number(
    results: PassResults,
    located: Located,
    goal: Goal,
    copies: Mapping[float, Sequence[Deletions]],
) -> Number | None:
    """The temperature of a goal with its errors; None where too few anchors have a negative.

    The level is reached where the mean over anchors of v_i - level c_i is 0, with v_i the statistic
    of an anchor, and c_i its number of negatives (1 for the ten nearest).
    """
    subject, anchors, place = results.subject, located.anchors, located.reached[goal]
    values = located.of_taus[place.tested].column(goal.column)
    mean = float(values[np.isfinite(values)].mean())
    counts = np.ones(subject.n)
    if goal.column == "exp_entropy":
        counts = n_negatives(subject, results.options)
        counts = counts / counts[anchors.rows][np.isfinite(values)].mean()
    factor = -place.tau / (mean * place.slope)
    deviations = factor * (values - mean * counts[anchors.rows])
    effects, share = [np.zeros(subject.n)], 0.0
    if copies:
        population = anchors.population(values)
        # a row is a negative of as many anchors as it has negatives itself
        on_counts = mean * counts if goal.column == "exp_entropy" else 0.0
        effects = [
            factor * (copy.effects(goal.column, mean, population) - on_counts)
            for copy in copies[place.tested]
        ]
        share = copies[place.tested][0].share
    groups = subject.groups
    number = mean_with_effects(deviations, deviations, effects, share, groups, anchors)
    return None if number is None else number.shifted(place.tau)
