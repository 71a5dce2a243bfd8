"""The interface of a metric family, and the passes over pairs that all families share.

A family names the reducers that it needs in each pass.  The passes of all families run together, so
that a reducer of two families is computed once.  Then each family turns the results into records
and tables.  The passes, in the order in which they run:

    first    all pairs, or the anchors of --anchors against all rows
    curve    a seeded sample of anchors against all rows: histograms of similarities and penalty
    second   all pairs again, for reducers that need the first pass (deletions of the penalty);
             from a seeded sample of anchors where there are many rows; where the curve has as many
             anchors, they are the same rows, and the curve has no pass of its own
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from cl_analyze.metrics.anchors import Anchors, draw_anchors, with_moments
from cl_analyze.metrics.metric import Better, Metric
from cl_analyze.metrics.positives import Positives
from cl_analyze.metrics.runner import Found, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.executors import single_threaded_blas
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.tables import Param, Record, Table

Result = TypeVar("Result")


@dataclass
class PassResults:
    """Results of the passes over the pairs of one checkpoint; passes still to run are empty.

    Attributes:
        subject, options, runner: the checkpoint, the options, and the runner of passes.
        anchors: rows of the first pass: all rows, or a sample from which means are estimated.
        first, curve: results of the first pass and of the curve pass.
        curve_anchors: rows of the curve pass.
        second: results and rows of the second pass: one entry for all rows, or one for each half of
            a sample.
    """

    subject: Subject
    options: MetricOptions
    runner: PairRunner
    anchors: Anchors
    first: Found = field(default_factory=dict)
    curve_anchors: Index = field(default_factory=lambda: np.arange(0))
    curve: Found = field(default_factory=dict)
    second: tuple[tuple[Found, Index], ...] = ()
    _results: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def positives(self) -> Positives | None:
        """The positive pairs of the rows; None where they are all pairs of one class, or none."""
        return self.subject.positive_pairs

    def once(self, compute: Callable[[PassResults], Result]) -> Result:
        """`compute(self)`, computed at the first call, whichever family needs it first."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        result: Result = self._results[compute]
        return result

    def nearest_negatives(self) -> Neighbours:
        """The nearest negatives of the rows of the first pass."""
        return self.runner.nearest_negatives(self.options, self.first, self.anchors)


@dataclass(frozen=True)
class FamilyResult:
    """Records, further tables, and notes for the user, of one family for one subject."""

    records: tuple[Record, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())


class Family(ABC):
    """A metric family: its metrics, the reducers of its passes, and the reading of the results.

    A family that needs no reducers in a pass leaves out the method of that pass.

    Attributes:
        name: name of the command and of the table.
        title: heading on the page.
        metrics: declarations of the metrics.
        uses_labels, uses_views: whether the family reads labels or views in the embeddings' file.
        reads_neighbours: whether it reads the nearest negatives of the first pass.
        has_deletions: whether its second pass deletes rows.
        definitions: metric -> names of its definitions, the default first; empty for a metric with
            a single definition.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...] = ()
    uses_labels = True
    uses_views = False
    reads_neighbours = False
    has_deletions = False
    definitions: dict[str, tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        """Fill `definitions`."""
        cls.definitions = {metric.name: metric.definitions for metric in cls.metrics}

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """Whether high or low values of a metric are better; None: neither."""
        return next(declared.better for declared in self.metrics if declared.name == metric)

    def definitions_of(self, record: Record) -> tuple[str, ...]:
        """Definitions of the record's metric, the default first."""
        return self.definitions[record.metric]

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Reducers over all pairs."""
        return ()

    def second_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Reducers over all pairs that need the results of the first pass."""
        return ()

    def curve_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Reducers over the curve anchors against all rows; each has one state for all rows."""
        return ()

    @abstractmethod
    def compute(self, results: PassResults) -> FamilyResult:
        """Records and tables."""

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Reducers that stand for the passes that this family runs itself, for the forecast."""
        return ()

    def own_pairs(self, subject: Subject, options: MetricOptions) -> float:
        """Pairs of `own_reducers` that take as long as the passes that this family runs itself."""
        return 0.0

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Bytes of states, statistics and pseudo-values at the end, without neighbour lists."""
        return 0


def measure(
    families: Iterable[Family],
    subject: Subject,
    options: MetricOptions,
    runner: PairRunner,
) -> list[FamilyResult]:
    """Run the passes of all families together, then compute the results of each family.

    Args:
        families: the families.
        subject: the checkpoint.
        options: options of the metrics.
        runner: the runner of passes.
    """
    # outside the passes too: the number of BLAS threads changes no byte, and no thread spins
    with single_threaded_blas():
        return _measure(list(families), subject, options, runner)


def _measure(
    listed: Sequence[Family], subject: Subject, options: MetricOptions, runner: PairRunner
) -> list[FamilyResult]:
    n = subject.n
    runner.announce("pairs")
    anchors = Anchors.every(n)
    reducers = [r for family in listed for r in family.first_pass(subject, options)]
    if options.anchors_of(n) is not None:
        chosen = draw_anchors(n, options.anchors, options.seed + 2)
        anchors = Anchors(chosen, n)
        if reducers:
            anchors = with_moments(chosen, subject.rows, runner.block, runner.executor)
    results = PassResults(subject, options, runner, anchors)
    results.first = runner.over(reducers, anchors)
    second = second_anchors(n, options, anchors)
    # drawn as the anchors of the second pass are: as many are the same rows, and share its passes
    seed = options.seed + (second.is_sample and not anchors.is_sample)
    drawn = draw_anchors(len(anchors.rows), options.curve_anchors, seed)
    results.curve_anchors = anchors.rows[drawn]
    of_curve = [r for family in listed for r in family.curve_pass(results)]
    is_shared = second.is_sample and np.array_equal(results.curve_anchors, second.rows)
    shared = of_curve if is_shared else []
    if not shared:
        runner.announce("curve")
        results.curve = runner.anchored(of_curve, results.curve_anchors)
    runner.announce("error bars")
    reducers = [r for family in listed for r in family.second_pass(results)]
    results.second = _second_pass(results, [*shared, *reducers], second)
    if shared:
        parts = [pass_results for pass_results, _ in results.second]
        results.curve = {r: functools.reduce(r.merge, [part[r] for part in parts]) for r in shared}
    return [family.compute(results) for family in listed]


def second_anchors(n_rows: int, options: MetricOptions, anchors: Anchors) -> Anchors:
    """The rows of the second pass: the rows of the first pass, or a sample of very many rows."""
    if anchors.is_sample or n_rows <= options.exact_deletions:
        return anchors
    return Anchors(draw_anchors(n_rows, options.sampled_anchors, options.seed + 1), n_rows)


def _second_pass(
    results: PassResults, reducers: list[Reducer], anchors: Anchors
) -> tuple[tuple[Found, Index], ...]:
    runner = results.runner
    if not anchors.is_sample:
        return ((runner.all_pairs(reducers), anchors.rows),)
    halves = []
    for number, half in enumerate(anchors.halves, 1):
        if reducers:
            runner.announce(f"error bars, half {number} of 2")
        rows = anchors.rows[half]
        halves.append((runner.anchored(reducers, rows), rows))
    return tuple(halves)
