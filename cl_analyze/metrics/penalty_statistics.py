"""Statistics of every anchor's relative penalty, and means over anchors with jackknife errors."""

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
from cl_analyze.results.stats import cross_standard_error, merged_copies, pseudo_values

DOMINANT = 0.5
"""Share of an anchor's penalty above which one negative dominates it."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorStatistics:
    """Statistics of every row's relative penalty at one temperature; NaN where a row is no anchor.

    Attributes:
        log_mass: (N,) log Z; minus infinity where the row has no negative.
        entropy: (N,) entropy of the penalty in nats.
        exp_entropy: (N,) exp(entropy), the number of effective negatives.
        false_negative_share: (N,) share of the penalty on rows of the anchor's class; NaN where the
            anchor has no label.
        top1_share, top10_share: (N,) share of the nearest negative, and of the ten nearest.
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
    """Statistics of the softmax over each anchor's negatives.

    Args:
        log_mass: (N,) log Z, the log of the sum of exp(s / tau).
        mean_similarity: (N,) mean of s under the softmax.
        log_same_class: (N,) log of the sum over rows of the anchor's class; None: no false-negative
            share.
        nearest: (N, <= 10) similarities of the nearest negatives, padded with minus infinity.
        tau: the temperature.
        labelled: (N,) whether the row has a label; None: no false-negative share.
        n_negatives: (N,) number of negatives of each row.
    """
    is_anchor = np.isfinite(log_mass)
    nan_elsewhere = np.where(is_anchor, 0.0, np.nan)
    finite_log_mass = np.where(is_anchor, log_mass, 0.0)
    entropy = finite_log_mass - np.where(is_anchor, mean_similarity, 0.0) / tau
    entropy = np.clip(entropy, 0.0, np.log(np.maximum(n_negatives, 1.0))) + nan_elsewhere
    shares = np.minimum(np.exp(nearest / tau - finite_log_mass[:, None]), 1.0)
    false_negative_share = np.full(len(log_mass), np.nan)
    if log_same_class is not None and labelled is not None:
        known = labelled & is_anchor
        log_share = log_same_class[known] - log_mass[known]
        false_negative_share[known] = np.minimum(np.exp(log_share), 1.0)
    return AnchorStatistics(
        log_mass,
        entropy,
        np.exp(entropy),
        false_negative_share,
        shares[:, 0] + nan_elsewhere,
        np.minimum(shares.sum(axis=1), 1.0) + nan_elsewhere,
    )


def _mean(values: Vector) -> float:
    return float(values[np.isfinite(values)].mean())


def dominant(stats: AnchorStatistics, neighbours: Neighbours) -> NDArray[np.int64]:
    """(rows,) index of the nearest negative where it has more than half of the penalty, else -1."""
    with np.errstate(invalid="ignore"):
        dominated = stats.top1_share > DOMINANT
    return np.where(dominated, neighbours.indices[:, 0], -1)


class Means:
    """Means over anchors of the columns of `AnchorStatistics`, with jackknife errors.

    Attributes:
        nobody: subject of the reason where too few anchors have a value.
    """

    nobody = "no row"

    def __init__(self, subject: Subject, stats: AnchorStatistics, copies: list[Deletions]) -> None:
        self._subject, self._stats, self._copies = subject, stats, copies

    def count(self, name: str) -> int:
        """Number of anchors that have a value."""
        return int(np.isfinite(self._stats.column(name)).sum())

    def mean(self, name: str) -> Number:
        """The mean of a column."""
        withouts = [copy.mean_without(name) for copy in self._copies]
        return self._number(name, _mean(self._stats.column(name)), withouts)

    def exp_of_mean(self, name: str) -> Number:
        """The exponential of the mean of a column."""
        withouts = [np.exp(copy.mean_without(name)) for copy in self._copies]
        return self._number(name, math.exp(_mean(self._stats.column(name))), withouts)

    def ratio(self, name: str, uniform: float, uniform_without: Vector) -> Number:
        """The mean of a column divided by its value under equal weights.

        Args:
            name: the column.
            uniform: the value under equal weights.
            uniform_without: (N,) the value under equal weights without each row.
        """
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
    """The same means, estimated from the statistics of a sample of anchors."""

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
        """Number of anchors that have a value; 0 where they are too few for an estimate."""
        n_values = super().count(name)
        return n_values if n_values >= FEWEST else 0

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
        """The mean of a column over a divisor; `of_divisor` has the divisor's pseudo-values."""
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
        statistics: statistics of every row of the first pass.
        dominated: (r,) positions of anchors that one negative dominates, see `dominant`.
        rest: statistics of the dominated anchors without that negative; None where no anchor is
            dominated.
    """

    tau: float
    statistics: AnchorStatistics
    dominated: NDArray[np.int64]
    rest: AnchorStatistics | None


class Deletions:
    """How the deletion of each row changes the anchors' statistics, from all anchors or some."""

    def __init__(
        self,
        n_rows: int,
        of_tau: AtTemperature,
        neighbours: Neighbours,
        gains: Vector,
        chosen: NDArray[np.int64],
        names: tuple[str, ...] = STATISTICS,
    ) -> None:
        """Take the statistics and neighbours of the first pass, and the gains of the second.

        Args:
            n_rows: N.
            of_tau: statistics of the rows of the first pass.
            neighbours: nearest negatives of the rows of the first pass.
            gains: (N, statistics) change of the anchors' sums when each row is deleted.
            chosen: positions, among the rows of the first pass, of the anchors behind the gains.
            names: the statistics of the gains.
        """
        self._names = names
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
        """(N,) mean of a statistic without each row, deleted both as anchor and as negative."""
        values = self._stats.column(name)
        is_anchor = np.isfinite(values)
        gains, lost, n_chosen = self._deleted(name)
        scale = is_anchor.sum() / max(n_chosen, 1)
        filled = np.where(is_anchor, values, 0.0)
        count = is_anchor.sum() - is_anchor - scale * lost
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (filled.sum() - filled + scale * gains) / count
        return np.where(count > 0, without, np.nan)

    def effects(self, name: str, mean: float, population: int) -> Vector:
        """(N,) how each row's presence changes the sum of a statistic over all rows.

        Args:
            name: the statistic.
            mean: its mean, in place of the value of an anchor that the deletion removes.
            population: number of all rows that have a value.
        """
        gains, lost, n_chosen = self._deleted(name)
        scale = population / max(n_chosen, 1)
        effects: Vector = -scale * (gains + mean * lost)
        return effects

    def _deleted(self, name: str) -> tuple[Vector, Vector, int]:
        """Sums of gains over the chosen anchors, numbers of lost anchors, number of anchors."""
        values = self._stats.column(name)
        chosen = self._chosen[np.isfinite(values[self._chosen])]
        gains = self._gains[:, self._names.index(name)].copy()
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
        """Add the deletions of negatives that dominate an anchor, from the statistics without."""
        rows = chosen[self._skip[chosen] >= 0]
        rest = self._of_tau.rest
        if rest is None or not len(rows):
            return
        after = rest.column(name)[self._at[rows]]
        is_lost = ~np.isfinite(rest.log_mass[self._at[rows]])
        gain = np.where(is_lost, -values[rows], after - values[rows])
        np.add.at(gains, self._skip[rows], gain)
        np.add.at(lost, self._skip[rows], is_lost.astype(np.float64))

    def _correct_top(self, gains: Vector, chosen: NDArray[np.int64], most: int) -> None:
        """Correct the gains of top shares: when a top row is deleted, the next row moves up.

        Args:
            gains: (N,) sums of gains, changed in place.
            chosen: positions of the anchors behind the gains.
            most: number of rows in the top, 1 or 10.
        """
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
