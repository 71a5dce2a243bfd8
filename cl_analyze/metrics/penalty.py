"""Relative penalty: how a temperature spreads the repulsion over an anchor's negatives.

Wang & Liu, CVPR 2021, eq. 5: the gradient on negative j relative to that on the positive is
r_ij = exp(s_ij / tau) / sum_k exp(s_ik / tau), a softmax over the negatives alone.  Its entropy,
its share on the nearest negatives, and its share on rows of the anchor's own class (false
negatives) turn the uniformity-tolerance dilemma into numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import FEWEST, Anchors
from cl_analyze.metrics.family import (
    FamilyResult,
    Found,
    Measured,
    MetricOptions,
    PairFreeFamily,
    PairRunner,
    Subject,
    near_duplicate_notes,
    nearest_negatives_reducer,
)
from cl_analyze.metrics.hard_curve import hard_curve
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.similarity import TABLE_BINS, bin_centres
from cl_analyze.metrics.uniform_law import REFERENCE_COLUMNS, penalty_of_uniform_law
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import (
    LeaveOneOut,
    PenaltyGiven,
    PenaltyHistogram,
    RowLogSumExp,
    SoftmaxMoments,
)
from cl_analyze.pairs.reducers.leave_one_out import STATISTICS
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.stats import cross_standard_error, merged_copies, pseudo_values
from cl_analyze.tables import Cell, Param, Record, Table, Unit, undefined

DOMINANT = 0.5

Vector = NDArray[np.float64]

CURVE_COLUMNS = (
    "source",
    "tau",
    "similarity",
    "relative_penalty",
    "relative_penalty_exact",
    "penalty_mass",
    "negative_fraction",
    "penalty_mass_exact",
)
UNITS: dict[str, Unit] = {
    "penalty_entropy": "nats",
    "penalty_effective_negatives": "count",
    "penalty_top1_share": "share",
    "penalty_top10_share": "share",
    "penalty_false_negative_share": "share",
    "penalty_false_negative_ratio": "ratio",
}


@dataclass(frozen=True)
class AnchorStatistics:
    """Every row's penalty as an anchor, at one temperature; NaN where a row is no anchor.

    Attributes:
        log_mass: (N,) log Z, minus infinity where there is no negative.
        entropy: nats.  exp_entropy: its exponential.
        same_class_share: of labelled anchors; NaN otherwise.
        top1_share, top10_share: of the nearest and the ten nearest negatives.
    """

    log_mass: Vector
    entropy: Vector
    exp_entropy: Vector
    same_class_share: Vector
    top1_share: Vector
    top10_share: Vector

    def column(self, name: str) -> Vector:
        """One of `STATISTICS`."""
        values: Vector = getattr(self, name)
        return values


def anchor_statistics(
    log_mass: Vector,
    mean_similarity: Vector,
    log_same_class: Vector | None,
    nearest: Vector,
    tau: float,
    labelled: NDArray[np.bool_] | None,
    n_negatives: Vector,
) -> AnchorStatistics:
    """Statistics of the softmax from its log mass, its mean similarity and the nearest rows.

    Args:
        nearest: (N, <= 10) similarities of the nearest negatives, minus infinity where fewer.
        n_negatives: (N,) how many negatives each row has.
    """
    is_anchor = np.isfinite(log_mass)
    blank = np.where(is_anchor, 0.0, np.nan)
    safe = np.where(is_anchor, log_mass, 0.0)
    entropy = safe - np.where(is_anchor, mean_similarity, 0.0) / tau
    entropy = np.clip(entropy, 0.0, np.log(np.maximum(n_negatives, 1.0))) + blank
    shares = np.minimum(np.exp(nearest / tau - safe[:, None]), 1.0)
    same = np.full(len(log_mass), np.nan)
    if log_same_class is not None and labelled is not None:
        known = labelled & is_anchor
        same[known] = np.minimum(np.exp(log_same_class[known] - log_mass[known]), 1.0)
    return AnchorStatistics(
        log_mass,
        entropy,
        np.exp(entropy),
        same,
        shares[:, 0] + blank,
        np.minimum(shares.sum(axis=1), 1.0) + blank,
    )


class Penalty(PairFreeFamily):
    """Entropy, effective negatives, top shares and false negatives of the penalty, for each tau.

    Means over anchors; an anchor's negatives are every other row (or, with class negatives, every
    row of another class).  Errors delete each row as anchor and as negative: exactly up to 10,000
    rows, above that from 2,048 seeded anchors whose two halves give the error free of their noise.
    """

    name = "penalty"
    definitions: dict[str, tuple[str, ...]] = {  # noqa: RUF012
        "penalty_entropy": (),
        "penalty_effective_negatives": ("mean_exp", "exp_mean"),
        "penalty_top1_share": (),
        "penalty_top10_share": (),
        "penalty_false_negative_share": (),
        "penalty_false_negative_ratio": (),
    }
    directions = {  # noqa: RUF012
        "penalty_false_negative_share": "lower",
        "penalty_false_negative_ratio": "lower",
    }

    def _moments(self, subject: Subject, options: MetricOptions, tau: float) -> list[Reducer]:
        reducers: list[Reducer] = [SoftmaxMoments(tau, options.pairs)]
        if self._counts_false_negatives(subject, options):
            reducers.append(RowLogSumExp(tau, "same_class"))
        return reducers

    def _counts_false_negatives(self, subject: Subject, options: MetricOptions) -> bool:
        return subject.labels is not None and options.negatives == "instance"

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Masses and means for each tau, and the nearest negatives."""
        reducers: list[Reducer] = [nearest_negatives_reducer(subject, options)]
        for tau in options.taus:
            reducers += self._moments(subject, options, tau)
        return tuple(reducers)

    def _n_negatives(self, subject: Subject, options: MetricOptions) -> Vector:
        if options.negatives == "instance" or subject.labels is None:
            return np.full(subject.n, subject.n - 1.0)
        codes, counts = subject.labels.codes, subject.labels.counts
        n_labelled = int(counts.sum())
        return np.where(codes >= 0, n_labelled - counts[codes], 0).astype(np.float64)

    def _statistics(
        self,
        subject: Subject,
        options: MetricOptions,
        found: Found,
        tau: float,
        nearest: Vector,
        rows: NDArray[np.int64] | None = None,
        one_left_out: bool = False,
    ) -> AnchorStatistics:
        """Statistics of all rows, or of some rows from a pass over them alone.

        Args:
            rows: which rows the pass was over; None: all.
            one_left_out: whether it left out a negative of each.
        """
        moments = found[SoftmaxMoments(tau, options.pairs)]
        same = labelled = None
        negatives = self._n_negatives(subject, options)
        if self._counts_false_negatives(subject, options) and subject.codes is not None:
            same = found[RowLogSumExp(tau, "same_class")]
            labelled = subject.codes >= 0
        if rows is not None:
            negatives = negatives[rows] - one_left_out
            labelled = None if labelled is None else labelled[rows]
        return anchor_statistics(
            moments.log_mass, moments.mean, same, nearest, tau, labelled, negatives
        )

    def curve_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        curve_anchors: NDArray[np.int64],
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Penalty mass in bins of similarity."""
        return (self._histogram(subject, options, first, curve_anchors, anchors),)

    def _histogram(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        curve_anchors: NDArray[np.int64],
        anchors: Anchors | None,
    ) -> PenaltyHistogram:
        at = curve_anchors if anchors is None else np.searchsorted(anchors.rows, curve_anchors)
        log_masses = np.stack(
            [first[SoftmaxMoments(tau, options.pairs)].log_mass[at] for tau in options.taus]
        )
        counted = np.isfinite(log_masses[0])
        return PenaltyHistogram(
            options.taus,
            TABLE_BINS,
            options.pairs,
            curve_anchors,
            log_masses,
            counted / max(counted.sum(), 1.0),
            self._n_negatives(subject, options)[curve_anchors],
        )

    def second_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        runner: PairRunner,
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Deletions, for each tau."""
        neighbours = runner.nearest_negatives(options, first, anchors)
        rows = None if anchors is None else anchors.rows
        reducers = []
        for tau in options.taus:
            stats = self._statistics(subject, options, first, tau, neighbours.values[:, :10], rows)
            given = PenaltyGiven(
                rows,
                stats.log_mass,
                stats.entropy,
                np.nan_to_num(stats.same_class_share),
                stats.top1_share,
                stats.top10_share,
                _dominant(stats, neighbours),
            )
            labelled = self._counts_false_negatives(subject, options)
            reducers.append(LeaveOneOut(tau, options.pairs, labelled, given))
        return tuple(reducers)

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Records for each tau and the curve's table."""
        anchors = measured.anchors
        neighbours = runner.nearest_negatives(options, measured.first, anchors)
        rows = np.arange(subject.n) if anchors is None else anchors.rows
        by_tau = {
            tau: self._statistics(
                subject,
                options,
                measured.first,
                tau,
                neighbours.values[:, :10],
                None if anchors is None else rows,
            )
            for tau in options.taus
        }
        seen = [
            np.arange(len(rows)) if half is None else np.searchsorted(rows, half)
            for half in measured.second.anchors
        ]
        dominated = np.unique(
            np.concatenate(
                [
                    at[_dominant(stats, neighbours)[at] >= 0]
                    for stats in by_tau.values()
                    for at in seen
                ]
            )
        )
        remaining: Found = {}
        if len(dominated):
            concerned = [
                tau
                for tau, stats in by_tau.items()
                if (_dominant(stats, neighbours)[dominated] >= 0).any()
            ]
            wanted = [r for tau in concerned for r in self._moments(subject, options, tau)]
            remaining = runner.anchored(wanted, rows[dominated], neighbours.indices[dominated, 0])
        records: list[Record] = []
        for tau, stats in by_tau.items():
            rest = None
            if SoftmaxMoments(tau, options.pairs) in remaining:
                rest = self._statistics(
                    subject,
                    options,
                    remaining,
                    tau,
                    neighbours.values[dominated, 1:11],
                    rows[dominated],
                    one_left_out=True,
                )
            copies = [
                _Deletions(
                    subject.n,
                    stats,
                    neighbours,
                    found[
                        LeaveOneOut(
                            tau, options.pairs, self._counts_false_negatives(subject, options)
                        )
                    ],
                    at,
                    tau,
                    dominated,
                    rest,
                )
                for found, at in zip(measured.second.found, seen, strict=True)
            ]
            means: _Means = (
                _ExactMeans(subject, stats, copies)
                if anchors is None
                else _EstimatedMeans(subject, stats, copies, anchors)
            )
            records += self._records(subject, options, tau, means)
        notes = near_duplicate_notes(subject, options, neighbours)
        if anchors is None and measured.second.anchors[0] is not None:
            notes += (
                f"{subject.source}: penalty error bars come from {sum(map(len, seen))} seeded "
                f"anchors (above {options.exact_deletions} rows)",
            )
        tables = [self._curve(subject, options, measured, by_tau), _reference(subject, options)]
        if options.penalty_alpha is not None:
            at = measured.curve_anchors
            binned = self._histogram(subject, options, measured.first, at, anchors)
            tables.append(hard_curve(subject, options, runner, at, measured.curve[binned][0]))
        return FamilyResult(tuple(records), tuple(tables), notes)

    def _records(
        self, subject: Subject, options: MetricOptions, tau: float, means: _Means
    ) -> list[Record]:
        params: dict[str, Param] = {"tau": tau, **options.negative_params}
        records = []

        def add(metric: str, definition: str | None, found: Number) -> None:
            records.append(
                Record(
                    source=subject.source,
                    metric=metric,
                    definition=definition,
                    params=params,
                    value=found.value,
                    std_error=found.std_error,
                    unit=UNITS[metric],
                    n=found.n,
                    d=subject.d,
                    pseudo_values=found.pseudo_values,
                    pseudo_noise=found.pseudo_noise,
                    sampling_error=found.sampling_error,
                    exact=found.sampling_error is None,
                )
            )

        def leave_out(metric: str, definition: str | None, reason: str) -> None:
            records.append(
                undefined(
                    subject.source, metric, definition, params, UNITS[metric], subject.d, reason
                )
            )

        if not means.count("entropy"):
            for metric, definitions in self.definitions.items():
                if subject.labels is not None or "false_negative" not in metric:
                    for definition in definitions or (None,):
                        leave_out(metric, definition, f"{means.rows} has a negative")
            return records
        add("penalty_entropy", None, means.mean("entropy"))
        add("penalty_effective_negatives", "mean_exp", means.mean("exp_entropy"))
        add("penalty_effective_negatives", "exp_mean", means.exp_of_mean("entropy"))
        add("penalty_top1_share", None, means.mean("top1_share"))
        add("penalty_top10_share", None, means.mean("top10_share"))
        if subject.labels is None:
            return records
        if not means.count("same_class_share"):
            reason = (
                "class negatives hold no row of the anchor's class"
                if options.negatives == "class"
                else f"{means.rows} is labelled"
            )
            for metric in ("penalty_false_negative_share", "penalty_false_negative_ratio"):
                leave_out(metric, None, reason)
            return records
        add("penalty_false_negative_share", None, means.mean("same_class_share"))
        uniform, uniform_without = _uniform_share(subject)
        if uniform == 0:
            leave_out("penalty_false_negative_ratio", None, "no class has two members")
        else:
            ratio = means.ratio("same_class_share", uniform, uniform_without)
            add("penalty_false_negative_ratio", None, ratio)
        return records

    def _curve(
        self,
        subject: Subject,
        options: MetricOptions,
        measured: Measured,
        by_tau: dict[float, AnchorStatistics],
    ) -> Table:
        anchors = measured.curve_anchors
        bins = measured.curve[
            self._histogram(subject, options, measured.first, anchors, measured.anchors)
        ]
        exact = len(anchors) == subject.n
        centres = bin_centres()
        rows: list[dict[str, Cell]] = []
        for m, (tau, stats) in enumerate(by_tau.items()):
            log_mass = stats.log_mass[np.isfinite(stats.log_mass)]
            if not len(log_mass):
                continue
            # mean over anchors of 1 / Z, in log space
            top = float((-log_mass).max())
            level = top + math.log(float(np.exp(-log_mass - top).mean()))
            rows += curve_rows(
                subject.source,
                tau,
                np.exp(np.minimum(centres / tau + level, 700.0)),
                bins[1 + m],
                bins[0],
                exact,
                measured.anchors is None,
            )
        return Table("penalty_curve", CURVE_COLUMNS, tuple(rows))


def _reference(subject: Subject, options: MetricOptions) -> Table:
    """The same summaries for uniform points of the same N and D (seeded simulation)."""
    law = penalty_of_uniform_law(subject.d, subject.n - 1, options.taus, options.seed)
    rows: list[dict[str, Cell]] = [
        {
            "source": subject.source,
            "quantity": quantity,
            "group": None,
            "tau": tau,
            "value": value,
            "std_error": found.std_errors[quantity],
        }
        for tau, found in zip(options.taus, law, strict=True)
        for quantity, value in found.values.items()
    ]
    return Table("penalty_reference", REFERENCE_COLUMNS, tuple(rows))


def curve_rows(
    source: str,
    tau: float,
    penalty: Vector,
    mass: Vector,
    fraction: Vector,
    exact: bool,
    penalty_exact: bool = True,
) -> list[dict[str, Cell]]:
    """Rows of the curve's table for one source and temperature; arrays are over the 200 bins."""
    return [
        {
            "source": source,
            "tau": tau,
            "similarity": round(float(centre), 10),
            "relative_penalty": float(penalty[b]),
            "relative_penalty_exact": penalty_exact,
            "penalty_mass": float(mass[b]),
            "negative_fraction": float(fraction[b]),
            "penalty_mass_exact": exact,
        }
        for b, centre in enumerate(bin_centres())
    ]


def _mean(values: Vector) -> float:
    return float(values[np.isfinite(values)].mean())


def _dominant(stats: AnchorStatistics, neighbours: Neighbours) -> NDArray[np.int64]:
    """The nearest negative of anchors that spend more than half of their penalty on it, else -1."""
    with np.errstate(invalid="ignore"):
        dominated = stats.top1_share > DOMINANT
    return np.where(dominated, neighbours.indices[:, 0], -1)


def _uniform_share(subject: Subject) -> tuple[float, Vector]:
    """Mean over labelled anchors of (n_c - 1)/(N - 1), and the same without each row."""
    assert subject.labels is not None
    codes, n = subject.labels.codes, subject.n
    counts = subject.labels.counts.astype(np.float64)
    labelled = codes >= 0
    n_labelled = int(labelled.sum())
    pairs = float((counts * (counts - 1)).sum())
    mine = np.where(labelled, counts[codes] - 1, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (pairs - 2 * mine) / ((n_labelled - labelled) * (n - 2.0))
    return pairs / (n_labelled * (n - 1.0)), without


class _Means(Protocol):
    """Means over anchors of the columns of `AnchorStatistics`, with their errors.

    Attributes:
        rows: how to say that too few rows have something.
    """

    rows: str

    def count(self, name: str) -> int:
        """Anchors that have a value."""
        ...

    def mean(self, name: str) -> Number:
        """The mean."""
        ...

    def exp_of_mean(self, name: str) -> Number:
        """The exponential of the mean."""
        ...

    def ratio(self, name: str, uniform: float, uniform_without: Vector) -> Number:
        """The mean over its value under even weights, which is given with and without each row."""
        ...


class _ExactMeans:
    """From every row's statistics."""

    rows = "no row"

    def __init__(self, subject: Subject, stats: AnchorStatistics, copies: list[_Deletions]) -> None:
        self._subject, self._stats, self._copies = subject, stats, copies

    def count(self, name: str) -> int:
        return int(np.isfinite(self._stats.column(name)).sum())

    def mean(self, name: str) -> Number:
        withouts = [copy.mean_without(name) for copy in self._copies]
        return self._number(name, _mean(self._stats.column(name)), withouts)

    def exp_of_mean(self, name: str) -> Number:
        withouts = [np.exp(copy.mean_without(name)) for copy in self._copies]
        return self._number(name, math.exp(_mean(self._stats.column(name))), withouts)

    def ratio(self, name: str, uniform: float, uniform_without: Vector) -> Number:
        with np.errstate(divide="ignore", invalid="ignore"):
            withouts = [copy.mean_without(name) / uniform_without for copy in self._copies]
        return self._number(name, _mean(self._stats.column(name)) / uniform, withouts)

    def _number(self, name: str, value: float, withouts: list[Vector]) -> Number:
        pseudos = [pseudo_values(value, without) for without in withouts]
        usable = all(np.isfinite(p).sum() == np.isfinite(withouts[0]).sum() for p in pseudos)
        error, share = None, self._copies[0].share
        if usable and self._subject.n > 3:
            error = cross_standard_error(pseudos[0], pseudos[-1], self._subject.groups, share)
        if error is None:
            return Number(value, None, self.count(name))
        pseudo, noise = merged_copies(pseudos, share)
        return Number(value, error, self.count(name), pseudo, None, noise)


class _EstimatedMeans:
    """From the statistics of some rows."""

    rows = "hardly any of the anchors"

    def __init__(
        self,
        subject: Subject,
        stats: AnchorStatistics,
        copies: list[_Deletions],
        anchors: Anchors,
    ) -> None:
        self._subject, self._stats = subject, stats
        self._copies, self._anchors = copies, anchors

    def count(self, name: str) -> int:
        there = int(np.isfinite(self._stats.column(name)).sum())
        return there if there >= FEWEST else 0

    def mean(self, name: str) -> Number:
        return self._number(name, 1.0, None)

    def exp_of_mean(self, name: str) -> Number:
        found = self._number(name, 1.0, None)
        value = math.exp(found.value)
        error = None if found.std_error is None else value * found.std_error
        assert found.sampling_error is not None
        return Number(value, error, found.n, None, value * found.sampling_error)

    def ratio(self, name: str, uniform: float, uniform_without: Vector) -> Number:
        return self._number(name, uniform, pseudo_values(uniform, uniform_without))

    def _number(self, name: str, divisor: float, of_divisor: Vector | None) -> Number:
        """The mean over a divisor that has pseudo-values of its own."""
        values = self._stats.column(name)
        population = self._anchors.population(values)
        if name == "same_class_share" and self._subject.labels is not None:
            population = int((self._subject.labels.codes >= 0).sum())
        found = self._anchors.mean(values, population)
        effects = [copy.effects(name, found.value, population) / divisor for copy in self._copies]
        if of_divisor is not None:
            shift = found.value / divisor**2 * (of_divisor - divisor)
            scale = population / self._subject.n
            effects = [effect - scale * shift for effect in effects]
        return Number(
            found.value / divisor,
            self._anchors.std_error(values / divisor, effects, population, self._subject.groups),
            found.n,
            None,
            found.sampling_error / divisor,
        )


class _Deletions:
    """What deleting each row does to the anchors' statistics, from all or some of the anchors."""

    def __init__(
        self,
        n_rows: int,
        stats: AnchorStatistics,
        neighbours: Neighbours,
        gains: Vector,
        chosen: NDArray[np.int64],
        tau: float,
        dominated: NDArray[np.int64],
        rest: AnchorStatistics | None,
    ) -> None:
        """Take statistics and neighbours of the first pass's rows, and gains about all N.

        `chosen` and `dominated` are positions among the first pass's rows.
        """
        self._n = n_rows
        self._stats = stats
        self._neighbours = neighbours
        self._gains = gains
        self._chosen = chosen
        self._tau = tau
        self._skip = _dominant(stats, neighbours)
        self._at = np.full(len(stats.log_mass), -1)
        self._at[dominated] = np.arange(len(dominated))
        self._rest = rest
        self.share = len(chosen) / n_rows

    def mean_without(self, name: str) -> Vector:
        """(N,) mean over all rows of a statistic without each, as anchor and as negative."""
        values = self._stats.column(name)
        is_anchor = np.isfinite(values)
        gains, lost, n_chosen = self._deleted(name)
        scale = is_anchor.sum() / max(n_chosen, 1)
        own = np.where(is_anchor, values, 0.0)
        count = is_anchor.sum() - is_anchor - scale * lost
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (own.sum() - own + scale * gains) / count
        return np.where(count > 0, without, np.nan)

    def effects(self, name: str, mean: float, population: int) -> Vector:
        """(N,) what each row's presence adds to the sum over all rows, near a known mean."""
        gains, lost, n_chosen = self._deleted(name)
        scale = population / max(n_chosen, 1)
        effects: Vector = -scale * (gains + mean * lost)
        return effects

    def _deleted(self, name: str) -> tuple[Vector, Vector, int]:
        """Sums of gains over the chosen anchors, anchors lost, and how many there are."""
        values = self._stats.column(name)
        chosen = self._chosen[np.isfinite(values[self._chosen])]
        gains = self._gains[:, STATISTICS.index(name)].copy()
        lost = np.zeros(self._n)
        if name in ("top1_share", "top10_share"):
            self._correct_top(gains, chosen, 1 if name == "top1_share" else 10)
        self._add_dominated(gains, lost, chosen, name, values)
        return gains, lost, len(chosen)

    def _add_dominated(
        self,
        gains: Vector,
        lost: Vector,
        chosen: NDArray[np.int64],
        name: str,
        values: Vector,
    ) -> None:
        """Deletions of rows that carry most of an anchor's penalty, from what remains without."""
        rows = chosen[self._skip[chosen] >= 0]
        if self._rest is None or not len(rows):
            return
        after = self._rest.column(name)[self._at[rows]]
        gone = ~np.isfinite(self._rest.log_mass[self._at[rows]])
        gain = np.where(gone, -values[rows], after - values[rows])
        np.add.at(gains, self._skip[rows], gain)
        np.add.at(lost, self._skip[rows], gone.astype(np.float64))

    def _correct_top(self, gains: Vector, chosen: NDArray[np.int64], most: int) -> None:
        """When a row of the top is deleted, the next one moves up into it."""
        near, index = self._neighbours.values[chosen], self._neighbours.indices[chosen]
        log_mass = self._stats.log_mass[chosen]
        shares = np.minimum(np.exp(near / self._tau - log_mass[:, None]), 1.0)
        following = shares[:, most]
        for rank in range(most):
            share, deleted = shares[:, rank], index[:, rank]
            usable = (deleted >= 0) & (deleted != self._skip[chosen])
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = (following - share) / (1.0 - share)
            np.add.at(gains, deleted[usable], gain[usable])
