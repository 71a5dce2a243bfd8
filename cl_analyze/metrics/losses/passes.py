"""Passes over the pairs of two saved views, and how each row acts on the others' losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows, paired
from cl_analyze.metrics.anchors import Anchors, draw_anchors
from cl_analyze.metrics.losses.catalogue import LOSSES, Terms
from cl_analyze.metrics.losses.pieces import MATRICES, NEAR, VIEWS, Constants, Matrix, Pieces, View
from cl_analyze.metrics.runner import ANCHOR_BYTES, Found, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.kernels import KERNELS, Kernel, kernel_values
from cl_analyze.pairs.reducers import (
    ColumnLogSumExp,
    KernelSums,
    LogSumOfSquares,
    NearestNeighbours,
    NearPairs,
    RowLogSumExp,
    SoftmaxMoments,
    SoftmaxReceived,
    SoftmaxTotals,
)
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.rescoring import MARGIN, rescore
from cl_analyze.pairs.strips import HardNegatives, Strips, hard_negatives, n_kept
from cl_analyze.pairs.tile import PairSet

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

Key = tuple[Matrix, float, PairSet]


@dataclass
class _Wanted:
    """Versions of the totals for which weights received are wanted, for each key."""

    totals: dict[Key, list[Vector]] = field(default_factory=dict)
    gaps: set[Key] = field(default_factory=set)

    def ask(self, key: Key, log_total: Vector, gaps: bool = False) -> None:
        versions = self.totals.setdefault(key, [])
        if not any(log_total is other for other in versions):
            versions.append(log_total)
        if gaps:
            self.gaps.add(key)

    def position(self, key: Key, log_total: Vector) -> int:
        return next(at for at, other in enumerate(self.totals[key]) if other is log_total)


@dataclass(frozen=True)
class Moment:
    """A mean over anchors of a statistic of the softmax at one temperature, and its error.

    Attributes:
        values: (m,) the statistic.
        weighted, centre: versions of log totals: sums of weight p_ij x_ij and weight p_ij X_i.
        pairs: where x_ij is 1 for these pairs and 0 for others; None: x_ij = 1 - s_ij.
        scale: factor of the effect.
        plain: factor of the sum of weight p_ij itself, which is added.
    """

    key: Key
    values: Vector
    weighted: Vector
    centre: Vector
    pairs: PairSet | None
    scale: float
    plain: float


@dataclass(frozen=True)
class KernelPieces:
    """Row means of a kernel within a view, and what its mean's error needs.

    Attributes:
        means: (m,).
        sums: (m,) of each row, in any common scale.
        squares: sum over the rows' pairs of the squared kernel, in that scale squared.
        reason: why there is none.
    """

    means: Vector
    sums: Vector
    squares: float
    reason: str = ""


class Passes:
    """What the losses need of one checkpoint with two views.

    Args:
        subject: with views.
        options: what is asked.
        runner: where passes run.
        constants: the losses' parameters.
        anchors: rows from which means are estimated; None: all.

    Attributes:
        rows: (m,) the pairs that are anchors.
        pieces: the losses' pieces, for these.
        kernels: (view, kernel) -> row means and squares.
    """

    def __init__(
        self,
        subject: Subject,
        options: MetricOptions,
        runner: PairRunner,
        constants: Constants,
        anchors: Anchors | None,
    ) -> None:
        assert subject.views is not None
        self.subject, self.options, self.runner = subject, options, runner
        self.constants, self.anchors = constants, anchors
        self.n = subject.n
        self.chosen = None if anchors is None else anchors.rows
        self.rows = np.arange(self.n) if anchors is None else anchors.rows
        self._of: dict[str, UnitRows] = dict(zip(VIEWS, subject.views, strict=True))
        self._wanted = _Wanted()
        self._copies: list[tuple[Index, dict[Key, Vector]]] = []
        self.kernels: dict[tuple[View, Kernel], KernelPieces] = {}
        self.steeper: dict[float, tuple[Vector, Vector, Vector | None]] = {}
        self._sums()
        self.pieces = self._pieces()

    # ---- the first pass

    def view_pair(self, matrix: Matrix) -> tuple[UnitRows, UnitRows]:
        """Rows and columns of a matrix."""
        return self._of[matrix[0]], self._of[matrix[1]]

    def between(
        self, reducers: Iterable[Reducer], matrix: Matrix, chosen: Index | None, note: str
    ) -> Found:
        """A pass over one of the four matrices."""
        rows, cols = self.view_pair(matrix)
        name = " with ".join(f"view {1 + VIEWS.index(view)}" for view in _views_of(matrix))
        self.runner.announce(f"losses: {note or 'pairs'}, {name}")
        return self.runner.between(reducers, rows, cols, f"losses {matrix} {note}", chosen)

    def _sums(self) -> None:
        """Sums of rows, and positives, of all N pairs: O(N D)."""
        self.positive, self.distance = paired(self._of["u"], self._of["v"])
        codes = self.subject.codes
        n_classes = 0 if self.subject.labels is None else len(self.subject.labels.names)
        sums = {view: np.zeros((n_classes + 1, self.subject.d)) for view in VIEWS}
        spans = [(a, min(a + 1024, self.n)) for a in range(0, self.n, 1024)]
        at = np.full(self.n, n_classes) if codes is None else np.where(codes < 0, n_classes, codes)
        for view in VIEWS:
            for start, stop in spans:
                np.add.at(sums[view], at[start:stop], self._of[view].exact_block(start, stop))
        self.class_sums = sums["u"][:-1] + sums["v"][:-1]
        total = {view: sums[view].sum(axis=0) for view in VIEWS}
        padded = np.concatenate([self.class_sums, np.zeros((1, self.subject.d))])
        self.negative_sum, self.received_sum = np.empty(self.n), np.empty(self.n)
        self.to_class: dict[View, Vector] = {view: np.empty(self.n) for view in VIEWS}
        for start, stop in spans:
            u, v = (self._of[view].exact_block(start, stop) for view in VIEWS)
            own = slice(start, stop)
            self.negative_sum[own] = u @ total["v"] - self.positive[own]
            self.received_sum[own] = v @ total["u"] - self.positive[own]
            mine = padded[at[own]]
            for view, block in zip(VIEWS, (u, v), strict=True):
                self.to_class[view][own] = np.einsum("ij,ij->i", block, mine)

    def _pieces(self) -> Pieces:
        c, options, chosen, rows = self.constants, self.options, self.chosen, self.rows
        p = Pieces(self.n, self.positive[rows], self.distance[rows], self.positive)
        p.negative_sum = self.negative_sum[rows]
        if self.subject.labels is not None:
            codes, counts = self.subject.labels.codes, self.subject.labels.counts
            mine = np.where(codes >= 0, counts[codes], 0).astype(np.float64)
            self.class_count, self.labelled = mine, codes >= 0
            p.labelled, p.class_count = self.labelled[rows], mine[rows]
            p.n_labelled = int(counts.sum())
            self.same_sum = {view: self.to_class[view] - 1.0 for view in VIEWS}
            p.same_sum = {view: self.same_sum[view][rows] for view in VIEWS}
        masses = [
            RowLogSumExp(tau, pairs) for tau in options.taus for pairs in pair_sets(self.subject)
        ]
        for view in VIEWS:
            matrix: Matrix = "uu" if view == "u" else "vv"
            self._within(p, view, matrix, masses)
        extra: list[Reducer] = [SoftmaxMoments(c.cacr_tau), NearestNeighbours(self._n_nearest())]
        for tau in options.taus:
            extra += self._steeper_reducers(tau)
        if chosen is None:
            columns = [ColumnLogSumExp(r.tau, r.pairs) for r in masses]
            found = self.between([*masses, *extra, *columns], "uv", None, "")
            for r in masses:
                p.log_mass["uv", r.tau, r.pairs] = found[r]
                p.log_mass["vu", r.tau, r.pairs] = found[ColumnLogSumExp(r.tau, r.pairs)]
        else:
            found = self.between([*masses, *extra], "uv", chosen, "")
            back = self.between(masses, "vu", chosen, "")
            for r in masses:
                p.log_mass["uv", r.tau, r.pairs] = found[r]
                p.log_mass["vu", r.tau, r.pairs] = back[r]
        moments = found[SoftmaxMoments(c.cacr_tau)]
        p.mean_gap, self._cacr_mass = _gaps(moments.mean), moments.log_mass
        for tau in options.taus:
            steep = c.steeper(tau)
            moments = found[SoftmaxMoments(steep)]
            same = None
            if self.subject.labels is not None:
                same = found[RowLogSumExp(steep, "same_class")]
            self.steeper[tau] = (moments.log_mass, _gaps(moments.mean), same)
        self._nearest = self._two_nearest(found)
        p.hardest = self._nearest.values[:, 0]
        self._hard(p)
        if self.subject.queue is not None:
            p.n_queue = self.subject.queue.n_rows
            wanted = [RowLogSumExp(tau) for tau in options.taus]
            queue = self.runner.between(
                wanted, self._of["u"], self.subject.queue, "losses queue", chosen, paired=False
            )
            p.queue_mass = {tau: queue[RowLogSumExp(tau)] for tau in options.taus}
        return p

    def _steeper_reducers(self, tau: float) -> list[Reducer]:
        steep = self.constants.steeper(tau)
        found: list[Reducer] = [SoftmaxMoments(steep)]
        if self.subject.labels is not None:
            found.append(RowLogSumExp(steep, "same_class"))
        return found

    def _within(self, p: Pieces, view: View, matrix: Matrix, masses: list[RowLogSumExp]) -> None:
        """Masses and energies within one view."""
        t = self.constants.t
        gaussian = 1.0 / (2.0 * t)
        others: list[Reducer] = [KernelSums("log", t), KernelSums("imq", t)]
        energy: list[Reducer] = [RowLogSumExp(gaussian), LogSumOfSquares(gaussian), *others]
        found = self.between([*masses, *energy], matrix, self.chosen, "")
        for r in masses:
            p.log_mass[matrix, r.tau, r.pairs] = found[r]
        pairs = self.n - 1
        log_rows = found[RowLogSumExp(gaussian)] - 2.0 * t
        squares = float(found[LogSumOfSquares(gaussian)]) - 4.0 * t
        top = float(log_rows.max())  # errors are relative: far pairs' energy may underflow
        self.kernels[view, "gaussian"] = KernelPieces(
            np.minimum(np.exp(log_rows) / pairs, 1.0),
            np.exp(log_rows - top),
            float(np.exp(squares - 2.0 * top)),
        )
        bounded: tuple[Kernel, ...] = ("log", "imq")
        for kernel in bounded:
            sums = found[KernelSums(kernel, t)]
            self.kernels[view, kernel] = KernelPieces(
                sums[:, 0] / pairs, sums[:, 0], float(sums[:, 1].sum())
            )
        self.kernels[view, "riesz"] = self._riesz(view)
        for kernel in KERNELS:
            p.kernel[view, kernel] = self.kernels[view, kernel].means

    def _riesz(self, view: View) -> KernelPieces:
        """In float64, with near pairs from the explicit differences of their rows."""
        rows, t = self._of[view], self.constants.t
        self.runner.announce(f"losses: Riesz energy, view {1 + VIEWS.index(view)}")
        reducer, near = KernelSums("riesz", t, NEAR), NearPairs(NEAR)
        found = self.runner.between(
            [reducer, near], rows, rows, f"losses riesz {view}", self.chosen, dtype=np.float64
        )
        sums, squares = found[reducer][:, 0].copy(), float(found[reducer][:, 1].sum())
        pairs = found[near]
        if pairs.n > len(pairs.first):
            reason = f"more than {len(pairs.first)} pairs of rows nearly coincide"
            nothing = np.full(len(self.rows), np.inf)
            return KernelPieces(nothing, nothing, np.inf, reason)
        at = np.full(self.n, -1)
        at[self.rows] = np.arange(len(self.rows))
        for start in range(0, pairs.n, 1 << 14):
            first, second = (x[start : start + (1 << 14)] for x in (pairs.first, pairs.second))
            d2 = np.square(rows.take(first) - rows.take(second)).sum(axis=1)
            with np.errstate(divide="ignore", over="ignore"):
                values = kernel_values("riesz", d2, t, np)
            for ends in (first, second):
                there = at[ends] >= 0
                np.add.at(sums, at[ends[there]], values[there])
                squares += float(np.square(values[there]).sum())
        reason = ""
        if not np.isfinite(sums).all():
            reason = (
                "some rows coincide, their energy is infinite"
                if pairs.n
                else f"the energy leaves the range of numbers at t = {t:g}"
            )
        return KernelPieces(sums / (self.n - 1), sums, squares, reason)

    def _n_nearest(self) -> int:
        return min(2 + MARGIN, self.n - 1)

    def _two_nearest(self, found: Found) -> Neighbours:
        u, v = self.view_pair("uv")
        k = min(2, self.n - 1)
        candidates = found[NearestNeighbours(self._n_nearest())]
        return rescore(candidates, k, u, v, None, self.chosen, self.runner.executor)

    @property
    def halves(self) -> list[Index]:
        """Positions among the anchors: all, or two halves where means are estimated."""
        return [np.arange(self.n)] if self.anchors is None else list(self.anchors.halves)

    def _hard(self, p: Pieces) -> None:
        """The hardest negatives of u among v."""
        u, v = self.view_pair("uv")
        k = p.n_hard = n_kept(self.constants.alpha, self.n - 1)
        self._strips: list[HardNegatives] = [
            self.strips(
                u if self.anchors is None else u.select(self.rows[half], ANCHOR_BYTES), v, half
            )
            for half in self.halves
        ]
        m = len(self.rows)
        p.hard_sum, threshold = np.empty(m), np.empty(m)
        p.hard_mass = {tau: np.empty(m) for tau in self.options.taus}
        for half, found in zip(self.halves, self._strips, strict=True):
            p.hard_sum[half], threshold[half] = found.similarity, found.threshold
            for at, tau in enumerate(self.options.taus):
                p.hard_mass[tau][half] = found.log_mass[at]
        self._threshold, self._k = threshold, k

    def strips(self, rows: UnitRows, cols: UnitRows, at: Index, n_bins: int = 0) -> HardNegatives:
        """The hardest negatives of some anchors (positions among `rows`)."""
        own = self.rows[at]
        self.runner.announce("losses: hardest negatives")
        strips = Strips(
            rows,
            cols,
            own,
            self.positive[own],
            n_kept(self.constants.alpha, self.n - 1),
            self.options.taus,
            self.runner.backend,
            self.runner.block,
            n_bins,
        )
        return hard_negatives(strips, self.runner.executor, self.runner.progress)

    # ---- how rows act on the others' losses

    def expect(self, terms: Terms) -> None:
        """Remember which weights received a loss's error needs."""
        for softmax in terms.softmaxes:
            for matrix, pairs in softmax.over:
                self._wanted.ask((matrix, softmax.tau, pairs), softmax.log_total)

    def moment(
        self,
        key: Key,
        values: Vector,
        log_mass: Vector,
        centre: Vector,
        weight: Vector | float = 1.0,
        pairs: PairSet | None = None,
        scale: float = 1.0,
        plain: float = 0.0,
    ) -> Moment:
        """A statistic weight * sum_j p_ij x_ij whose error is wanted; see `Moment`."""
        with np.errstate(divide="ignore"):
            weighted = log_mass - np.log(np.broadcast_to(weight, log_mass.shape))
            centred = weighted - np.log(centre)
        weighted = np.where(np.isfinite(log_mass), weighted, np.inf)
        centred = np.where(np.isfinite(log_mass), centred, np.inf)
        self._wanted.ask(key, centred, gaps=pairs is None)
        self._wanted.ask(key if pairs is None else (key[0], key[1], pairs), weighted, pairs is None)
        return Moment(key, values, weighted, centred, pairs, scale, plain)

    def cacr_moment(self) -> Moment:
        """CACR's repulsion: -2 times the weighted mean of 1 - s."""
        gap = self.pieces.mean_gap
        key: Key = ("uv", self.constants.cacr_tau, "all")
        return self.moment(key, -2.0 * gap, self._cacr_mass, gap, scale=-2.0)

    def receive(self) -> None:
        """The second pass: what was asked for with `expect` and `moment`."""
        if self.anchors is not None:
            halves = [self.anchors.rows[half] for half in self.anchors.halves]
        elif self.n <= self.options.exact_deletions:
            halves = []
        else:
            drawn = draw_anchors(self.n, self.options.sampled_anchors, self.options.seed + 1)
            halves = [drawn[part] for part in Anchors(drawn, self.n).halves]
        for half in halves or [None]:  # type: ignore[list-item]
            found: dict[Key, Vector] = {}
            for matrix in MATRICES:
                found.update(self._receive(matrix, half))
            self._copies.append((self.rows if half is None else half, found))

    def _receive(self, matrix: Matrix, half: Index | None) -> dict[Key, Vector]:
        at = slice(None) if half is None else np.searchsorted(self.rows, half)
        reducers: dict[Key, SoftmaxReceived] = {}
        for key, versions in self._wanted.totals.items():
            if key[0] != matrix:
                continue
            totals = np.stack([np.where(np.isnan(v), np.inf, v)[at] for v in versions], axis=1)
            totals = np.where(np.isneginf(totals), np.inf, totals)
            given = SoftmaxTotals(half, totals)
            reducers[key] = SoftmaxReceived(key[1], key[2], key in self._wanted.gaps, given)
        if not reducers:
            return {}
        found = self.between(reducers.values(), matrix, half, "error bars")
        return {key: found[reducer] for key, reducer in reducers.items()}

    @property
    def share(self) -> float:
        """Part of the pairs behind each copy of the effects."""
        return len(self._copies[0][0]) / self.n

    def effects(self, terms: Terms) -> list[Vector]:
        """What each pair's presence adds to the sum of all others' losses, one copy or two."""
        return [
            self._softmax_effect(terms, copy) + self._other_effect(terms, copy)
            for copy in range(len(self._copies))
        ]

    def _scale(self, copy: int) -> float:
        return self.n / len(self._copies[copy][0])

    def _softmax_effect(self, terms: Terms, copy: int) -> Vector:
        total = np.zeros(self.n)
        for softmax in terms.softmaxes:
            for matrix, pairs in softmax.over:
                key: Key = (matrix, softmax.tau, pairs)
                at = self._wanted.position(key, softmax.log_total)
                total += softmax.weight * self._copies[copy][1][key][:, at]
        return total * self._scale(copy)

    def moment_effects(self, moment: Moment) -> list[Vector]:
        """The same for a `Moment`."""
        out = []
        for copy, (_, found) in enumerate(self._copies):
            received = found[moment.key]
            centre = received[:, self._wanted.position(moment.key, moment.centre)]
            if moment.pairs is None:
                n_versions = len(self._wanted.totals[moment.key])
                at = n_versions + self._wanted.position(moment.key, moment.weighted)
                inside = received[:, at]
                alone = received[:, at - n_versions]
            else:
                key: Key = (moment.key[0], moment.key[1], moment.pairs)
                inside = alone = found[key][:, self._wanted.position(key, moment.weighted)]
            effect = moment.scale * (inside - centre) + moment.plain * alone
            out.append(self._scale(copy) * effect)
        return out

    def _other_effect(self, terms: Terms, copy: int) -> Vector:
        c, n, k_all = self.constants, self.n, self.n - 1
        if terms.effect == "simple":
            if c.weight is not None:
                fixed: Vector = c.weight * self.received_sum
                return fixed
            mean = self.negative_sum / k_all
            of_mean: Vector = (self.received_sum - (mean.sum() - mean)) / k_all
            return of_mean
        if terms.effect in ("supcon_out", "supcon_in"):
            return self.supcon_effect(terms)
        if terms.effect == "hardest":
            return self._hardest_effect(copy)
        if terms.effect not in ("hard_contrastive", "hard_simple"):
            return np.zeros(n)
        # of all anchors where every one is looked at, else of the copy's half
        part = self._strips[copy % len(self._strips)]
        half = self.halves[copy % len(self._strips)]
        own, threshold = self.rows[half], self._threshold[half]
        scale = n / len(own)
        alpha = self._k / k_all

        def of_others(values: Vector) -> Vector:
            total = np.full(n, values.sum())
            total[own] -= values
            return total

        if terms.effect == "hard_simple":
            weight = 1.0 / self._k if c.weight is None else c.weight
            gain: Vector = weight * (part.excess + of_others(alpha * threshold))
            if c.weight is None:  # a mean: one more negative is one more to divide by
                gain = gain - of_others(self.pieces.hard_sum[half] / self._k) / k_all
            return gain * scale
        tau = terms.tau
        at = self.options.taus.index(tau)
        total = np.logaddexp(self.pieces.hard_mass[tau][half], self.positive[own] / tau)
        at_threshold = np.exp(threshold / tau - total)
        gain = part.received[at] + of_others(alpha * at_threshold)
        return gain * scale

    def _hardest_effect(self, copy: int) -> Vector:
        """An anchor's hardest negative takes the place of the next."""
        rows = self._copies[copy][0] if self.anchors is not None else self.rows
        at = np.searchsorted(self.rows, rows)
        values, first = self._nearest.values[at], self._nearest.indices[at, 0]
        ahead = np.maximum(values - self.positive[rows][:, None], 0.0)
        second = ahead[:, 1] if ahead.shape[1] > 1 else np.zeros(len(ahead))
        gain = np.zeros(self.n)
        np.add.at(gain, first, ahead[:, 0] - second)
        return gain * (self.n / len(rows))

    def supcon_effect(self, terms: Terms) -> Vector:
        """What a pair does to the mean over positives of the others of its class."""
        if terms.effect == "supcon_in":  # the mean's denominator; its sum is among the softmaxes
            more = 2.0 * (self.class_count - 1.0) / np.maximum(2.0 * self.class_count - 1.0, 1.0)
            return np.where(self.labelled, more, 0.0)
        tau = terms.tau
        n_positives = np.maximum(2.0 * self.class_count - 1.0, 1.0)
        means = {view: self.same_sum[view] / n_positives for view in VIEWS}
        both = means["u"] + means["v"]
        codes = np.where(self.labelled, self.subject.codes, 0)  # type: ignore[arg-type]
        known = self.labelled.astype(np.float64)
        of_class = np.bincount(codes, weights=both * known, minlength=len(self.class_sums))[codes]
        with_class = self.to_class["u"] + self.to_class["v"]
        own = 2.0 + 2.0 * self.positive  # |u + v|^2
        shift = (with_class - own - 2.0 * (of_class - both)) / n_positives
        return np.where(self.labelled, -0.5 / tau * shift, 0.0)


def _gaps(means: Vector) -> Vector:
    """1 - s, not below 0 by rounding."""
    gaps: Vector = np.maximum(1.0 - means, 0.0)
    return gaps


def _views_of(matrix: Matrix) -> tuple[View, View]:
    return ("u" if matrix[0] == "u" else "v", "u" if matrix[1] == "u" else "v")


def pair_sets(subject: Subject) -> tuple[PairSet, ...]:
    """The sets of pairs that are told apart."""
    return ("all",) if subject.labels is None else ("all", "same_class", "other_class")


def wanted_losses(subject: Subject) -> list[int]:
    """Positions in LOSSES of what the inputs allow."""
    has = {"": True, "labels": subject.labels is not None, "queue": subject.queue is not None}
    return [at for at, loss in enumerate(LOSSES) if has[loss.needs]]
