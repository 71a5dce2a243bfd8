"""What a run will cost, measured on a few tiles before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.family import (
    Family,
    MetricOptions,
    PairRunner,
    Subject,
    select_rows,
)
from cl_analyze.pairs.engine import PairSource, reduce_pairs
from cl_analyze.pairs.executors import SerialExecutor
from cl_analyze.pairs.plan import symmetric_plan

CURVE_COST = 1.8
DELETION_COST = 2.9
"""What a pair of the curve's and of the deletions' pass costs, in pairs of the first (measured)."""
SMALL = 8
"""Blocks up to which nothing is forecast: the run takes no longer than the forecast."""


@dataclass(frozen=True)
class Forecast:
    """Expected cost.

    Attributes:
        n_pairs: pairs of rows of the first pass.
        seconds: of all passes.
    """

    n_pairs: int
    seconds: float


def forecast(
    families: Sequence[Family], subject: Subject, options: MetricOptions, runner: PairRunner
) -> Forecast | None:
    """Time the first pass on two blocks of rows, and scale it to all passes.

    Returns:
        None where the run is short, or no family visits pairs.

    Cost: three tiles.
    """
    n, block = subject.n, runner.block
    if n <= SMALL * block:
        return None
    wanted = [r for family in families for r in family.first_pass(subject, options)]
    if not wanted:
        return None
    some = np.arange(2 * block)
    rows = UnitRows(select_rows(subject.raw, some), subject.rows.dtype.type, 1 << 28)
    codes = None if subject.codes is None else subject.codes[some]
    source = PairSource(rows, rows, row_labels=codes, col_labels=codes)
    plan = symmetric_plan(len(some), block)
    started = time.perf_counter()
    reduce_pairs(wanted, source, plan, runner.backend, SerialExecutor())
    each = (time.perf_counter() - started) / plan.n_pairs
    n_pairs = pairs_of(n, options.anchors)
    weighted = float(n_pairs)
    if any(family.name in ("similarity", "penalty") for family in families):
        curve_rows = options.curve_anchors or n
        weighted += CURVE_COST * min(curve_rows, options.anchors or n) * n
    if any(family.name == "penalty" for family in families):
        weighted += DELETION_COST * _deletion_pairs(n, options)
    return Forecast(n_pairs, each * weighted / runner.executor.n_at_once)


def pairs_of(n_rows: int, anchors: int | None) -> int:
    """Pairs of the first pass."""
    return n_rows * n_rows // 2 if anchors is None else min(anchors, n_rows) * n_rows


def _deletion_pairs(n_rows: int, options: MetricOptions) -> int:
    if options.anchors is not None:
        return options.anchors * n_rows
    if n_rows <= options.exact_deletions:
        return n_rows * n_rows // 2
    return options.sampled_anchors * n_rows
