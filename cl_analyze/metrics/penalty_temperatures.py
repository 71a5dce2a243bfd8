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
    "temperature at which the effective number of negatives (mean_exp) is a given share of all "
    "negatives.",
    formulas=("τ at which the mean of exp(Hᵢ) is share × the mean number of negatives",),
    parameters=(Parameter("share"), NEGATIVES),
    depends_on=("dimensions", "rows"),
    title="temperature of an effective share",
)
TOP10_HALF = Metric(
    "temperature_of_top10_half",
    "none",
    "temperature at which the ten nearest negatives have half of the penalty; at lower "
    "temperatures they have more.",
    formulas=("τ at which the mean share on the ten nearest negatives is a half",),
    parameters=(NEGATIVES,),
    depends_on=("dimensions", "rows"),
    title="temperature of half on the ten nearest",
)
METRICS = (EFFECTIVE_SHARE, TOP10_HALF)

SHARES = (0.01, 0.1, 0.5)
GRID: tuple[float, ...] = tuple(np.geomspace(1e-3, 1e3, 231).tolist())
"""The temperatures that are tested, 6% apart: results depend on no search, nor on row order."""
FIRST = tuple(range(50, 129, 6))
"""Positions in the grid that are tested first, on few anchors: from 0.02 to 2."""
_FEW = (32, 256)
"""Anchors of the passes that find where to look."""
COARSE, FINE = 7, 1
"""Steps of the grid between the two tested temperatures around a level: for few anchors, and for
all."""
_UNSURE = 14
"""Steps from the result of 1 anchor to that of all rows, about; of m anchors over sqrt m."""
_STRIDE = 23
"""Steps to the next temperature where all tested ones are on one side of the level."""


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
        """The reason why no temperature of the grid reaches the level.

        Args:
            is_too_high: whether the statistic is above the level at all of them; else it is below.
        """
        tau = f"{GRID[0 if is_too_high == (self.sign > 0) else -1]:g}"
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
Known = Mapping[int, Values]
"""Position of a tested temperature in the grid -> the statistics."""
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


def search(measure: Measure, goals: Collection[Goal], first: Iterable[int], widest: int) -> Known:
    """The statistics at temperatures of the grid that close in on the levels of all goals.

    Args:
        measure: the statistics at some temperatures.
        goals: the levels.
        first: positions in the grid to begin with.
        widest: most steps of the grid between the temperatures on both sides of a level.
    """
    known: dict[int, Values] = {}
    wanted = sorted(set(first))
    while wanted:
        known.update(zip(wanted, measure([GRID[at] for at in wanted]), strict=True))
        following = {at for goal in goals for at in _next(goal, known, widest)}
        wanted = sorted(following - known.keys())
    return known


def _sides(goal: Goal, known: Known) -> tuple[int | None, int | None]:
    """The tested temperatures next to the level, below and above; None: none there."""
    above = [
        at for at, value in known.items() if goal.sign * (value[goal.column] - goal.level) >= 0
    ]
    high = min(above, default=None)
    below = [at for at in known if high is None or at < high]
    return max(below, default=None), high


def _next(goal: Goal, known: Known, widest: int) -> Iterable[int]:
    """The temperatures to test next for a goal; nothing new where the level is close, or beyond."""
    low, high = _sides(goal, known)
    if low is None:
        return (max(min(known) - _STRIDE, 0),)
    if high is None:
        return (min(max(known) + _STRIDE, len(GRID) - 1),)
    if widest > FINE and high - low <= widest:
        return ()
    return around(guess(goal, known), max(widest // 2, 1))


def around(tau: float, width: int) -> tuple[int, int, int]:
    """The temperature of the grid next to one, and those some steps to both sides."""
    steps = (len(GRID) - 1) * math.log(tau / GRID[0]) / math.log(GRID[-1] / GRID[0])
    middle = min(max(round(steps), width), len(GRID) - 1 - width)
    return middle - width, middle, middle + width


def _straight(share: float) -> float:
    """A share on a scale on which it is nearly a line over log(tau).

    For large tau the effective share of the negatives is exp(-Var(s) / (2 tau^2)).
    """
    return math.log(-math.log(min(max(share, 1e-300), 1.0 - 1e-12)))


def guess(goal: Goal, known: Known) -> float:
    """The temperature of the level, roughly; a limit where it is beyond.

    On the line through the two tested ones next to it, see `_straight`.
    """
    low, high = _sides(goal, known)
    if low is None or high is None:
        return float(GRID[0 if low is None else -1])
    ends = [_straight(known[at][goal.column]) for at in (low, high)]
    share = (_straight(goal.level) - ends[0]) / (ends[1] - ends[0])
    return float(GRID[low]) * math.pow(GRID[high] / GRID[low], min(max(share, 0.0), 1.0))


def reached(goal: Goal, known: Known) -> Reached | None:
    """Where the statistic reaches its level; None: beyond the grid.

    From the curve through three neighbouring temperatures of the grid, the middle one next to the
    level: log(tau) as a polynomial of the statistic on its straight scale.
    """
    low, high = _sides(goal, known)
    if low is None or high is None:
        return None
    line = guess(goal, known)
    three = around(line, FINE)
    x = np.log([GRID[at] for at in three]) - math.log(line)
    y = np.array([_straight(known[at][goal.column]) for at in three]) - _straight(goal.level)
    nearest = int(np.argmin(np.abs(x)))
    ends = np.log([GRID[low], GRID[high]]) - math.log(line)
    of_ends = [_straight(known[at][goal.column]) for at in (low, high)]
    root, slope = 0.0, float((of_ends[1] - of_ends[0]) / (ends[1] - ends[0]))
    if len(set(y.tolist())) == 3:
        root = float(np.clip(np.polynomial.polynomial.polyfit(y, x, 2)[0], *ends))
        of_curve = float(np.polynomial.polynomial.polyfit(x - x[nearest], y, 2)[1])
        slope = of_curve if of_curve * slope > 0.0 else slope
    tested = three[nearest]
    slope *= math.log(known[tested][goal.column])  # of the logarithm of the share
    return Reached(line * math.exp(root), GRID[tested], slope)


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
    first: Iterable[int] = FIRST
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


def _around_guesses(goals: Iterable[Goal], known: Known, n_anchors: int) -> tuple[int, ...]:
    """Temperatures around the results of some anchors, as far as those of all rows may be."""
    width = max(round(_UNSURE / math.sqrt(n_anchors)), FINE)
    return tuple(at for goal in goals for at in around(guess(goal, known), width))


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
    at = FIRST[: 3 * len(GOALS)]
    return tuple(SoftmaxMoments(GRID[position], options.negative_pairs) for position in at)


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
