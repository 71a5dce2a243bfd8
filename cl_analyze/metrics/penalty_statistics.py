"""The relative penalty of every anchor, and means over anchors with the errors of deletions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import FEWEST, Anchors
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.subject import Subject
from cl_analyze.pairs.reducers.leave_one_out import STATISTICS
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.stats import cross_standard_error, merged_copies, pseudo_values

DOMINANT = 0.5
"""Share of an anchor's penalty above which one negative dominates it."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorStatistics:
    """Every row's penalty as an anchor, at one temperature; NaN where a row is no anchor.

    Attributes:
        log_mass: (N,) log Z, minus infinity where there is no negative.
        entropy: nats.  exp_entropy: its exponential.
        false_negative_share: of labelled anchors; NaN otherwise.
        top1_share, top10_share: of the nearest and the ten nearest negatives.
    """

    log_mass: Vector
    entropy: Vector
    exp_entropy: Vector
    false_negative_share: Vector
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


def _mean(values: Vector) -> float:
    return float(values[np.isfinite(values)].mean())


def dominant(stats: AnchorStatistics, neighbours: Neighbours) -> NDArray[np.int64]:
    """The nearest negative of anchors that spend more than half of their penalty on it, else -1."""
    with np.errstate(invalid="ignore"):
        dominated = stats.top1_share > DOMINANT
    return np.where(dominated, neighbours.indices[:, 0], -1)


class Means:
    """Means over anchors of the columns of `AnchorStatistics`, with their errors.

    Attributes:
        nobody: how to say that too few rows have a value.
    """

    nobody = "no row"

    def __init__(self, subject: Subject, stats: AnchorStatistics, copies: list[Deletions]) -> None:
        self._subject, self._stats, self._copies = subject, stats, copies

    def count(self, name: str) -> int:
        """Anchors that have a value."""
        return int(np.isfinite(self._stats.column(name)).sum())

    def mean(self, name: str) -> Number:
        """The mean."""
        withouts = [copy.mean_without(name) for copy in self._copies]
        return self._number(name, _mean(self._stats.column(name)), withouts)

    def exp_of_mean(self, name: str) -> Number:
        """The exponential of the mean."""
        withouts = [np.exp(copy.mean_without(name)) for copy in self._copies]
        return self._number(name, math.exp(_mean(self._stats.column(name))), withouts)

    def ratio(self, name: str, uniform: float, uniform_without: Vector) -> Number:
        """The mean over its value under even weights, which is given with and without each row."""
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


class EstimatedMeans(Means):
    """The same, from the statistics of some rows."""

    nobody = "hardly any of the anchors"

    def __init__(
        self,
        subject: Subject,
        stats: AnchorStatistics,
        copies: list[Deletions],
        anchors: Anchors,
    ) -> None:
        super().__init__(subject, stats, copies)
        self._anchors = anchors

    def count(self, name: str) -> int:
        """Anchors that have a value, where they are enough."""
        there = super().count(name)
        return there if there >= FEWEST else 0

    def mean(self, name: str) -> Number:
        """See `Means.mean`."""
        return self._ratio(name, 1.0, None)

    def exp_of_mean(self, name: str) -> Number:
        """See `Means.exp_of_mean`."""
        mean = self._ratio(name, 1.0, None)
        value = math.exp(mean.value)
        return mean.moved(value, value)

    def ratio(self, name: str, uniform: float, uniform_without: Vector) -> Number:
        """See `Means.ratio`."""
        return self._ratio(name, uniform, pseudo_values(uniform, uniform_without))

    def _ratio(self, name: str, divisor: float, of_divisor: Vector | None) -> Number:
        """The mean over a divisor that has pseudo-values of its own."""
        values = self._stats.column(name)
        population = self._anchors.population(values)
        if name == "false_negative_share" and self._subject.labels is not None:
            population = int((self._subject.labels.codes >= 0).sum())
        estimate = self._anchors.mean(values, population)
        effects = [
            copy.effects(name, estimate.value, population) / divisor for copy in self._copies
        ]
        if of_divisor is not None:
            shift = estimate.value / divisor**2 * (of_divisor - divisor)
            scale = population / self._subject.n
            effects = [effect - scale * shift for effect in effects]
        return Number(
            estimate.value / divisor,
            self._anchors.std_error(values / divisor, effects, population, self._subject.groups),
            estimate.n,
            None,
            estimate.sampling_error / divisor,
        )


@dataclass(frozen=True)
class AtTemperature:
    """Statistics of the first pass's rows at one temperature.

    Attributes:
        tau: the temperature.
        statistics: of every row of the first pass.
        dominated: (r,) positions of rows that spend most of their penalty on one negative.
        rest: statistics of these rows without that negative; None where there are none.
    """

    tau: float
    statistics: AnchorStatistics
    dominated: NDArray[np.int64]
    rest: AnchorStatistics | None


class Deletions:
    """What deleting each row does to the anchors' statistics, from all or some of the anchors."""

    def __init__(
        self,
        n_rows: int,
        of_tau: AtTemperature,
        neighbours: Neighbours,
        gains: Vector,
        chosen: NDArray[np.int64],
    ) -> None:
        """Take statistics and neighbours of the first pass's rows, and gains about all N.

        `chosen` are positions among the first pass's rows: the anchors behind the gains.
        """
        self._n = n_rows
        self._of_tau = of_tau
        self._stats = of_tau.statistics
        self._neighbours = neighbours
        self._gains = gains
        self._chosen = chosen
        self._skip = dominant(self._stats, neighbours)
        self._at = np.full(len(self._stats.log_mass), -1)
        self._at[of_tau.dominated] = np.arange(len(of_tau.dominated))
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
        rest = self._of_tau.rest
        if rest is None or not len(rows):
            return
        after = rest.column(name)[self._at[rows]]
        gone = ~np.isfinite(rest.log_mass[self._at[rows]])
        gain = np.where(gone, -values[rows], after - values[rows])
        np.add.at(gains, self._skip[rows], gain)
        np.add.at(lost, self._skip[rows], gone.astype(np.float64))

    def _correct_top(self, gains: Vector, chosen: NDArray[np.int64], most: int) -> None:
        """When a row of the top is deleted, the next one moves up into it."""
        near, index = self._neighbours.values[chosen], self._neighbours.indices[chosen]
        log_mass = self._stats.log_mass[chosen]
        shares = np.minimum(np.exp(near / self._of_tau.tau - log_mass[:, None]), 1.0)
        following = shares[:, most]
        for rank in range(most):
            share, deleted = shares[:, rank], index[:, rank]
            usable = (deleted >= 0) & (deleted != self._skip[chosen])
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = (following - share) / (1.0 - share)
            np.add.at(gains, deleted[usable], gain[usable])
