"""The first passes over the pairs of two saved views: the pieces of every anchor's losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows, paired
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.losses.dimensions import saved_dimensions
from cl_analyze.metrics.losses.pieces import (
    NEAR,
    VIEWS,
    VIEWS_OF,
    WITHIN,
    Constants,
    Matrix,
    Pieces,
    Vector,
    View,
)
from cl_analyze.metrics.runner import ANCHOR_BYTES, Found, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.distance_kernels import KERNELS, Kernel, kernel_values
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import (
    ColumnLogSumExp,
    ColumnSoftplusSums,
    KernelSums,
    LogSumOfSquares,
    NearestNeighbours,
    NearPairs,
    RowLogSumExp,
    SoftmaxMoments,
    SoftplusSums,
)
from cl_analyze.pairs.rescoring import MARGIN, rescore
from cl_analyze.pairs.strips import HardNegatives, Strips, hard_negatives, n_kept
from cl_analyze.pairs.tile import PairSet
from cl_analyze.results.tables import Param

Index = NDArray[np.int64]

_NEAR_PAIRS = 1 << 14
"""Near pairs whose rows are read at a time."""


def pair_sets(subject: Subject) -> tuple[PairSet, ...]:
    """The sets of pairs that the losses need apart."""
    return ("all",) if subject.labels is None else ("all", "same_class", "other_class")


def blocks(n: int, size: int = 1_024) -> list[tuple[int, int]]:
    """First and last row (not included) of blocks that are read at a time."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


@dataclass(frozen=True)
class RowSums:
    """Sums of the rows of two views, and products of every row with them.

    Attributes:
        positive: (N,) s_ii.  distance: (N,) |u_i - v_i|^2.
        classes: (C, D) sums of the rows of each class in both views.
        to_class: view -> (N,) product of each row with the sum of its class, 0 without a class.
        sent, received: (N,) sums over j != i of u_i . v_j, and of u_j . v_i.
    """

    positive: Vector
    distance: Vector
    classes: NDArray[np.float64]
    to_class: dict[View, Vector]
    sent: Vector
    received: Vector


def row_sums(subject: Subject) -> RowSums:
    """Sums of all N pairs: O(N D)."""
    assert subject.views is not None
    views: dict[View, UnitRows] = dict(zip(VIEWS, subject.views, strict=True))
    n, codes = subject.n, subject.codes
    positive, distance = paired(views["u"], views["v"])
    n_classes = 0 if subject.labels is None else len(subject.labels.names)
    at = np.full(n, n_classes) if codes is None else np.where(codes < 0, n_classes, codes)
    sums = {view: np.zeros((n_classes + 1, subject.d)) for view in VIEWS}
    for view in VIEWS:
        for start, stop in blocks(n):
            np.add.at(sums[view], at[start:stop], views[view].exact_block(start, stop))
    classes = sums["u"][:-1] + sums["v"][:-1]
    padded = np.concatenate([classes, np.zeros((1, subject.d))])
    total = {view: sums[view].sum(axis=0) for view in VIEWS}
    sent, received = np.empty(n), np.empty(n)
    to_class: dict[View, Vector] = {view: np.empty(n) for view in VIEWS}
    for start, stop in blocks(n):
        own = slice(start, stop)
        rows = {view: views[view].exact_block(start, stop) for view in VIEWS}
        sent[own] = rows["u"] @ total["v"] - positive[own]
        received[own] = rows["v"] @ total["u"] - positive[own]
        mine = padded[at[own]]
        for view in VIEWS:
            to_class[view][own] = np.einsum("ij,ij->i", rows[view], mine)
    return RowSums(positive, distance, classes, to_class, sent, received)


@dataclass(frozen=True)
class KernelPieces:
    """Row means of a kernel within a view, and sums for the error of their mean.

    Attributes:
        means: (m,).
        sums: (m,) of each row, in any common scale.
        squares: sum over the rows' pairs of the squared kernel, in that scale squared.
        reason: why the kernel has no mean; empty where it has one.
    """

    means: Vector
    sums: Vector
    squares: float
    reason: str = ""


class LossPasses:
    """The passes over the similarities within and across the views of one checkpoint.

    Args:
        subject: the checkpoint.
        options: of the metrics.
        runner: where passes run.
        constants: the losses' parameters.
        anchors: rows from which means are estimated; None: all.
        views: name of a view -> its rows.
        tag: what tells these views from others in the key of saved states.

    Attributes:
        rows: (m,) the pairs that are anchors.
        halves: positions among the anchors: all, or two halves where means are estimated.
        codes, class_count: (N,) class of each pair, pairs of that class.
        labelled: (N,) whether the pair is an anchor of losses that need classes.
        class_sums: (C, D) sums of the rows of each class in all views.
    """

    class_sums: NDArray[np.float64]

    def __init__(
        self,
        subject: Subject,
        options: MetricOptions,
        runner: PairRunner,
        constants: Constants,
        anchors: Anchors,
        views: Mapping[View, UnitRows],
        tag: str = "",
    ) -> None:
        self._tag = tag
        self.views = dict(views)
        self.subject, self.options, self.runner = subject, options, runner
        self.constants, self.anchors = constants, anchors
        self.n = subject.n
        self._chosen, self.rows, self.halves = anchors.chosen, anchors.rows, anchors.halves
        self.codes = np.full(self.n, -1) if subject.codes is None else subject.codes
        self.labelled, self.class_count = self.codes >= 0, np.zeros(self.n)
        if subject.labels is not None:
            counts = subject.labels.counts[self.codes]
            self.class_count = np.where(self.labelled, counts, 0).astype(np.float64)

    @property
    def params(self) -> dict[str, Param]:
        """In `params` of losses on one view, whose numbers are not those of two."""
        return {"views": 1} if len(self.views) == 1 else {}

    def views_of(self, matrix: Matrix) -> tuple[UnitRows, UnitRows]:
        """Rows and columns of a matrix."""
        first, second = VIEWS_OF[matrix]
        return self.views[first], self.views[second]

    def between(
        self, reducers: Iterable[Reducer], matrix: Matrix, chosen: Index | None, note: str
    ) -> Found:
        """A pass over one of the four matrices."""
        rows, cols = self.views_of(matrix)
        name = " with ".join(f"view {1 + 'uv'.index(view)}" for view in matrix)
        self.runner.announce(f"losses: {note or 'pairs'}, {name}")
        visits = f"losses {matrix} {note}{self._tag}"
        return self.runner.between(reducers, rows, cols, visits, chosen)


class Passes(LossPasses):
    """The pieces of the losses of one checkpoint with two views.

    Args:
        subject: with views.
        options, runner, constants, anchors, tag: see `LossPasses`.

    Attributes:
        sums: of the rows of both views.
        pieces: the losses' pieces, for the anchors.
        kernels: (view, kernel) -> row means and squares.
        steeper: tau -> the uv softmax of A-InfoNCE's push: log mass, mean of 1 - s, and log mass of
            the anchor's class (None without labels).
        nearest: the two nearest negatives of each anchor u among v.
        strips: for each of the halves, the hardest negatives.
        softplus_received: for each of the halves, (N, taus) sums of SigLIP's terms over the other
            pairs' anchors of the half.
    """

    def __init__(
        self,
        subject: Subject,
        options: MetricOptions,
        runner: PairRunner,
        constants: Constants,
        anchors: Anchors,
        tag: str = "",
    ) -> None:
        assert subject.views is not None
        views = dict(zip(VIEWS, subject.views, strict=True))
        super().__init__(subject, options, runner, constants, anchors, views, tag)
        self.sums = row_sums(subject)
        self.class_sums = self.sums.classes
        self.kernels: dict[tuple[View, Kernel], KernelPieces] = {}
        self.steeper: dict[float, tuple[Vector, Vector, Vector | None]] = {}
        self.pieces = self._pieces()

    def _pieces(self) -> Pieces:
        rows, sums, taus = self.rows, self.sums, self.options.taus
        p = Pieces(self.n, sums.positive[rows], sums.distance[rows], sums.positive)
        p.negative_sum = sums.sent[rows]
        self.runner.announce("losses: moments of the dimensions")
        p.dimensions, p.squares = saved_dimensions(*self.views_of("uv"), self.runner.executor)
        if self.subject.labels is not None:
            p.labelled, p.class_count = self.labelled[rows], self.class_count[rows]
            p.n_labelled = int(self.subject.labels.counts.sum())
            p.same_sum = {view: sums.to_class[view][rows] - 1.0 for view in VIEWS}
        masses = [RowLogSumExp(tau, pairs) for tau in taus for pairs in pair_sets(self.subject)]
        for view in VIEWS:
            self._within(p, view, masses)
        self._across(p, masses)
        self._hard(p)
        if self.subject.queue is not None:
            p.n_queue = self.subject.queue.n_rows
            wanted = [RowLogSumExp(tau) for tau in taus]
            u = self.views["u"]
            queue = self.runner.between(
                wanted,
                u,
                self.subject.queue,
                f"losses queue{self._tag}",
                self._chosen,
                paired=False,
            )
            p.queue_mass = {reducer.tau: queue[reducer] for reducer in wanted}
        return p

    def _across(self, p: Pieces, masses: list[RowLogSumExp]) -> None:
        """Masses, means and nearest negatives across the views."""
        c, chosen = self.constants, self._chosen
        u, v = self.views_of("uv")
        nearest = NearestNeighbours(min(2 + MARGIN, self.n - 1))
        cacr = SoftmaxMoments(c.cacr_tau)
        steeper = {tau: SoftmaxMoments(c.steeper(tau)) for tau in self.options.taus}
        same = {tau: RowLogSumExp(c.steeper(tau), "same_class") for tau in self.options.taus}
        softplus, received = (
            made(self.options.taus, c.siglip_bias) for made in (SoftplusSums, ColumnSoftplusSums)
        )
        more: list[Reducer] = [cacr, nearest, softplus]
        for tau in self.options.taus:
            more += [steeper[tau]] if self.subject.labels is None else [steeper[tau], same[tau]]
        if chosen is None:  # every row is an anchor: the columns of uv are the rows of vu
            columns = {r: ColumnLogSumExp(r.tau, r.pairs) for r in masses}
            wanted = [*masses, *more, *columns.values(), received]
            results = self.between(wanted, "uv", None, "")
            self.softplus_received = [results[received]]
            back: Found = {r: results[columns[r]] for r in masses}
        else:
            results = self.between([*masses, *more], "uv", chosen, "")
            back = self.between(masses, "vu", chosen, "")
            self.softplus_received = [
                self.between([received], "uv", self.rows[half], "SigLIP")[received]
                for half in self.halves
            ]
        for r in masses:
            p.log_mass["uv", r.tau, r.pairs] = results[r]
            p.log_mass["vu", r.tau, r.pairs] = back[r]
        p.mean_gap, p.gap_mass = _gaps(results[cacr].mean), results[cacr].log_mass
        for tau in self.options.taus:
            moments = results[steeper[tau]]
            of_class = None if self.subject.labels is None else results[same[tau]]
            self.steeper[tau] = (moments.log_mass, _gaps(moments.mean), of_class)
        p.softplus_sum = dict(zip(self.options.taus, results[softplus].T, strict=True))
        executor = self.runner.executor
        k = min(2, self.n - 1)
        self.nearest = rescore(results[nearest], k, u, v, None, chosen, executor)
        p.hardest = self.nearest.values[:, 0]

    def _within(self, p: Pieces, view: View, masses: list[RowLogSumExp]) -> None:
        """Masses and energies within one view."""
        matrix, t = WITHIN[view], self.constants.t
        gaussian, squares = RowLogSumExp(1.0 / (2.0 * t)), LogSumOfSquares(1.0 / (2.0 * t))
        bounded: dict[Kernel, KernelSums] = {
            "log": KernelSums("log", t),
            "imq": KernelSums("imq", t),
        }
        reducers: list[Reducer] = [*masses, gaussian, squares, *bounded.values()]
        results = self.between(reducers, matrix, self._chosen, "")
        for r in masses:
            p.log_mass[matrix, r.tau, r.pairs] = results[r]
        pairs = self.n - 1
        log_rows = results[gaussian] - 2.0 * t
        top = float(log_rows.max())  # errors are relative: far pairs' energy may underflow
        self.kernels[view, "gaussian"] = KernelPieces(
            np.minimum(np.exp(log_rows) / pairs, 1.0),
            np.exp(log_rows - top),
            float(np.exp(float(results[squares]) - 4.0 * t - 2.0 * top)),
        )
        for kernel, reducer in bounded.items():
            sums = results[reducer]
            self.kernels[view, kernel] = KernelPieces(
                sums[:, 0] / pairs, sums[:, 0], float(sums[:, 1].sum())
            )
        self.kernels[view, "riesz"] = self._riesz(view)
        for kernel in KERNELS:
            p.kernel[view, kernel] = self.kernels[view, kernel].means

    def _riesz(self, view: View) -> KernelPieces:
        """In float64, with near pairs from the explicit differences of their rows."""
        rows, t = self.views[view], self.constants.t
        self.runner.announce(f"losses: Riesz energy, view {1 + VIEWS.index(view)}")
        reducer, near = KernelSums("riesz", t, NEAR), NearPairs(NEAR)
        results = self.runner.between(
            [reducer, near],
            rows,
            rows,
            f"losses riesz {view}{self._tag}",
            self._chosen,
            dtype=np.float64,
        )
        sums, squares = results[reducer][:, 0].copy(), float(results[reducer][:, 1].sum())
        pairs = results[near]
        if pairs.n > len(pairs.first):
            reason = f"more than {len(pairs.first)} pairs of rows nearly coincide"
            infinite = np.full(len(self.rows), np.inf)
            return KernelPieces(infinite, infinite, np.inf, reason)
        at = np.full(self.n, -1)
        at[self.rows] = np.arange(len(self.rows))
        for start, stop in blocks(pairs.n, _NEAR_PAIRS):
            first, second = pairs.first[start:stop], pairs.second[start:stop]
            d2 = np.square(rows.take(first) - rows.take(second)).sum(axis=1)
            with np.errstate(divide="ignore", over="ignore"):
                values = kernel_values("riesz", d2, t, np)
            for ends in (first, second):
                is_anchor = at[ends] >= 0
                np.add.at(sums, at[ends[is_anchor]], values[is_anchor])
                squares += float(np.square(values[is_anchor]).sum())
        reason = ""
        if not np.isfinite(sums).all():
            reason = (
                "some rows coincide, their energy is infinite"
                if pairs.n
                else f"the energy leaves the range of numbers at t = {t:g}"
            )
        return KernelPieces(sums / (self.n - 1), sums, squares, reason)

    def _hard(self, p: Pieces) -> None:
        """The hardest negatives of u among v."""
        self.strips = [self.hardest(half) for half in self.halves]
        m = len(self.rows)
        p.n_hard = n_kept(self.constants.alpha, self.n - 1)
        p.hard_sum = np.empty(m)
        p.hard_mass = {tau: np.empty(m) for tau in self.options.taus}
        for half, strips in zip(self.halves, self.strips, strict=True):
            p.hard_sum[half] = strips.similarity
            for at, tau in enumerate(self.options.taus):
                p.hard_mass[tau][half] = strips.log_mass[at]

    def hardest(self, at: Index, n_bins: int = 0) -> HardNegatives:
        """The hardest negatives of the anchors at some positions."""
        u, v = self.views_of("uv")
        own = self.rows[at]
        self.runner.announce("losses: hardest negatives")
        strips = Strips(
            u if len(own) == self.n else u.select(own, ANCHOR_BYTES),
            v,
            own,
            self.sums.positive[own],
            n_kept(self.constants.alpha, self.n - 1),
            self.options.taus,
            self.runner.backend,
            self.runner.block,
            n_bins,
        )
        return hard_negatives(strips, self.runner.executor, self.runner.progress)


def _gaps(means: Vector) -> Vector:
    """1 - s, not below 0 by rounding."""
    gaps: Vector = np.maximum(1.0 - means, 0.0)
    return gaps
