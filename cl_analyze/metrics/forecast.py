"""The expected time of a run, measured on a few tiles before the run starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cl_analyze.metrics.family import Family
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import PairSource, Reducer, reduce_pairs
from cl_analyze.pairs.executors import SerialExecutor
from cl_analyze.pairs.plan import symmetric_plan

CURVE_COST, DELETION_COST = 1.8, 2.9
CURVE_COST_COMPILED, DELETION_COST_COMPILED = 0.9, 1.5
"""Time of a pair of the curve pass and of the deletions, in pairs of the first pass (measured)."""
SMALL = 12
"""Up to this number of blocks there is no forecast: it would take as long as the run."""


@dataclass(frozen=True)
class Forecast:
    """Expected time of a run, with its own options or with others, on the same rows.

    Attributes:
        has_first_pass, has_curve_pass, has_deletions: whether a family has a first pass, a curve
            pass, and deletions.
        subject: the checkpoint.
        seconds_a_pair: seconds of the first pass for each pair, with all threads or workers.
        curve_cost, deletion_cost: pairs of the first pass that take as long as one of these.
        own: families that run passes themselves, with the seconds for each pair of these passes.
    """

    has_first_pass: bool
    has_curve_pass: bool
    has_deletions: bool
    subject: Subject
    seconds_a_pair: float
    curve_cost: float
    deletion_cost: float
    own: tuple[tuple[Family, float], ...] = ()

    def n_pairs(self, options: MetricOptions) -> int:
        """Pairs of rows of the first pass."""
        return self._pairs(options.anchors_of(self.subject.n))

    def seconds(self, options: MetricOptions) -> float:
        """Expected seconds of all passes."""
        return sum(pairs * seconds_a_pair for pairs, seconds_a_pair in self._passes(options))

    def n_pairs_of_all(self, options: MetricOptions) -> float:
        """Pairs of rows of all passes; those of `own` as pairs that take as long."""
        return sum(pairs for pairs, _ in self._passes(options))

    def _passes(self, options: MetricOptions) -> list[tuple[float, float]]:
        """For each pass its pairs, and the expected seconds for each of them."""
        n = self.subject.n
        anchors = options.anchors_of(n)
        passes: list[tuple[float, float]] = [
            (family.own_pairs(self.subject, options), seconds_a_pair)
            for family, seconds_a_pair in self.own
        ]
        if self.has_first_pass:
            passes.append((self._pairs(anchors), self.seconds_a_pair))
        if self.has_curve_pass:
            pairs = min(options.curve_anchors or n, anchors or n) * n
            passes.append((pairs, self.curve_cost * self.seconds_a_pair))
        if self.has_deletions:
            sampled = options.sampled_anchors if n > options.exact_deletions else None
            pairs = self._pairs(anchors or sampled)
            passes.append((pairs, self.deletion_cost * self.seconds_a_pair))
        return passes

    def _pairs(self, anchors: int | None) -> int:
        """Pairs of rows; with anchors, pairs of an anchor and a row."""
        n = self.subject.n
        return n * n // 2 if anchors is None else anchors * n


def forecast(
    families: Sequence[Family], subject: Subject, options: MetricOptions, runner: PairRunner
) -> Forecast | None:
    """Time the first pass on two blocks of rows.

    Returns:
        The forecast; None where the run is short, or no family visits pairs.

    Cost: three tiles, and three more for each family that runs passes itself.
    """
    n, block = subject.n, runner.block
    if n <= SMALL * block:
        return None
    first_pass = [r for family in families for r in family.first_pass(subject, options)]
    own_passes = [(family, family.own_reducers(subject, options)) for family in families]
    if not first_pass and not any(reducers for _, reducers in own_passes):
        return None
    timed_rows = np.arange(2 * block)
    rows = subject.rows.select(timed_rows, 1 << 28)
    codes = None if subject.codes is None else subject.codes[timed_rows]
    source = PairSource(rows, rows, row_labels=codes, col_labels=codes)
    plan = symmetric_plan(len(timed_rows), block)

    def seconds_a_pair(reducers: Sequence[Reducer]) -> float:
        started = time.perf_counter()
        reduce_pairs(reducers, source, plan, runner.backend, SerialExecutor())
        return (time.perf_counter() - started) / plan.n_pairs / runner.executor.n_at_once

    return Forecast(
        bool(first_pass),
        any(type(family).curve_pass is not Family.curve_pass for family in families),
        any(family.has_deletions for family in families),
        subject,
        seconds_a_pair(first_pass),
        *(
            (CURVE_COST, DELETION_COST)
            if runner.backend.kernels is None
            else (CURVE_COST_COMPILED, DELETION_COST_COMPILED)
        ),
        tuple((family, seconds_a_pair(reducers)) for family, reducers in own_passes if reducers),
    )
