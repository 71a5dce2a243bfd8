"""What a run will cost, measured on a few tiles before it starts."""

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

CURVE_COST = 1.8
DELETION_COST = 2.9
"""What a pair of the curve's and of the deletions' pass costs, in pairs of the first (measured)."""
SMALL = 8
"""Blocks up to which nothing is forecast: the run takes no longer than the forecast."""


@dataclass(frozen=True)
class Forecast:
    """Expected cost of a run, and of what else could be asked of the same rows.

    Attributes:
        has_curve_pass, has_deletions: whether a family has the curve's pass, and deletions.
        n_rows: N.
        seconds_a_pair: of the first pass, all threads or workers together.
        own: families with passes of their own, and seconds a pair of those.
    """

    has_curve_pass: bool
    has_deletions: bool
    n_rows: int
    seconds_a_pair: float
    own: tuple[tuple[Family, float], ...] = ()

    def n_pairs(self, options: MetricOptions) -> int:
        """Pairs of rows of the first pass."""
        return self._pairs(options.anchors_of(self.n_rows))

    def seconds(self, options: MetricOptions) -> float:
        """Of all passes."""
        n, anchors = self.n_rows, options.anchors_of(self.n_rows)
        pairs = float(self._pairs(anchors))
        if self.has_curve_pass:
            pairs += CURVE_COST * min(options.curve_anchors or n, anchors or n) * n
        if self.has_deletions:
            sampled = options.sampled_anchors if n > options.exact_deletions else None
            pairs += DELETION_COST * self._pairs(anchors or sampled)
        return self.seconds_a_pair * pairs + sum(
            each * family.own_pairs(n, options) for family, each in self.own
        )

    def _pairs(self, anchors: int | None) -> int:
        """Pairs of rows, or of some anchors with all rows."""
        return self.n_rows * self.n_rows // 2 if anchors is None else anchors * self.n_rows


def forecast(
    families: Sequence[Family], subject: Subject, options: MetricOptions, runner: PairRunner
) -> Forecast | None:
    """Time the first pass on two blocks of rows.

    Returns:
        None where the run is short, or no family visits pairs.

    Cost: three tiles, and three for each family with passes of its own.
    """
    n, block = subject.n, runner.block
    if n <= SMALL * block:
        return None
    wanted = [r for family in families for r in family.first_pass(subject, options)]
    own = [(family, family.own_reducers(subject, options)) for family in families]
    if not wanted and not any(reducers for _, reducers in own):
        return None
    some = np.arange(2 * block)
    rows = subject.rows.select(some, 1 << 28)
    codes = None if subject.codes is None else subject.codes[some]
    source = PairSource(rows, rows, row_labels=codes, col_labels=codes)
    plan = symmetric_plan(len(some), block)

    def seconds_a_pair(reducers: Sequence[Reducer]) -> float:
        started = time.perf_counter()
        reduce_pairs(reducers, source, plan, runner.backend, SerialExecutor())
        return (time.perf_counter() - started) / plan.n_pairs / runner.executor.n_at_once

    return Forecast(
        any(family.has_curve_pass for family in families),
        any(family.has_deletions for family in families),
        n,
        seconds_a_pair(wanted),
        tuple((family, seconds_a_pair(reducers)) for family, reducers in own if reducers),
    )
