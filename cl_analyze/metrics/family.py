"""What a metric family is, and what it is given: a checkpoint, the options, and passes over pairs.

A family names the reducers it needs in each pass; the passes of all families are run together, so
that what two of them need is computed once.  Then each family turns the results into records and
tables.  The passes are

    first    every pair: what needs nothing but the rows
    second   every pair again, with the first pass known (penalty deletions); from seeded anchors
             where there are too many rows
    curve    some seeded anchors against all rows: histograms of similarities and penalty mass
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cl_analyze.metrics.anchors import Anchors, draw_anchors, with_moments
from cl_analyze.metrics.metric import Better, Metric
from cl_analyze.metrics.runner import Found, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.tables import Param, Record, Table


@dataclass
class PassResults:
    """The passes over the pairs of one checkpoint: their results, as far as they have run.

    Attributes:
        subject, options, runner: the checkpoint, what is asked, and where passes run.
        anchors: the rows of the first pass: all, or a sample from which means are estimated.
        first, curve: results of these passes.
        curve_anchors: rows of the curve's pass.
        second: results of the second pass, and its rows: one entry of all rows, or one for each
            half of a sample.
    """

    subject: Subject
    options: MetricOptions
    runner: PairRunner
    anchors: Anchors
    first: Found = field(default_factory=dict)
    curve_anchors: Index = field(default_factory=lambda: np.arange(0))
    curve: Found = field(default_factory=dict)
    second: tuple[tuple[Found, Index], ...] = ()

    def nearest_negatives(self) -> Neighbours:
        """The nearest negatives of the rows of the first pass."""
        return self.runner.nearest_negatives(self.options, self.first, self.anchors)


@dataclass(frozen=True)
class FamilyResult:
    """Records and further tables of one family for one subject, and what the user should know."""

    records: tuple[Record, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())


class Family(ABC):
    """A metric family: what it computes, what it needs, and how it reads the passes.

    A family that needs no reducers in a pass leaves out the method of that pass.

    Attributes:
        name: the command's and the table's name.
        title: its heading on the page.
        metrics: the declarations of its metrics.
        uses_labels, uses_views: whether labels or views in the embeddings' file are looked at.
        reads_neighbours: whether it reads the nearest negatives of the first pass.
        has_curve_pass, has_deletions: whether it has the curve's pass, and deletions in the second.
        definitions: metric -> its definitions, default first; empty where there is one only.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...] = ()
    uses_labels = True
    uses_views = False
    reads_neighbours = False
    has_curve_pass = False
    has_deletions = False
    definitions: dict[str, tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        """Fill `definitions`."""
        cls.definitions = {metric.name: metric.definitions for metric in cls.metrics}

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """Which values of a metric are better; None where neither is by itself."""
        return next(each.better for each in self.metrics if each.name == metric)

    def definitions_of(self, record: Record) -> tuple[str, ...]:
        """Definitions of what the record is a value of, default first."""
        return self.definitions[record.metric]

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Reducers over every pair."""
        return ()

    def second_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Reducers over every pair that need the first pass."""
        return ()

    def curve_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """Reducers over the curve's anchors against all rows."""
        return ()

    @abstractmethod
    def compute(self, results: PassResults) -> FamilyResult:
        """Records and tables."""

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Reducers as in the family's own passes, by which their time is foretold."""
        return ()

    def own_pairs(self, n_rows: int, options: MetricOptions) -> float:
        """Size of the family's own passes: pairs of `own_reducers` that cost as much time."""
        return 0.0

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Bytes of states, statistics and pseudo-values until the end, neighbours left out."""
        return 0


def measure(
    families: Iterable[Family],
    subject: Subject,
    options: MetricOptions,
    runner: PairRunner,
) -> list[FamilyResult]:
    """Run the passes that the families need, together, and let each family read them.

    Args:
        families: what to compute.
        subject: the checkpoint.
        options: what is asked.
        runner: where passes run.
    """
    listed = list(families)
    n = subject.n
    runner.announce("pairs")
    anchors = Anchors.every(n)
    wanted = [r for family in listed for r in family.first_pass(subject, options)]
    if options.anchors_of(n) is not None:
        chosen = draw_anchors(n, options.anchors, options.seed + 2)
        anchors = Anchors(chosen, n)
        if wanted:
            anchors = with_moments(chosen, subject.rows, runner.block, runner.executor)
    results = PassResults(subject, options, runner, anchors)
    results.first = runner.over(wanted, anchors)
    drawn = draw_anchors(len(anchors.rows), options.curve_anchors, options.seed)
    results.curve_anchors = anchors.rows[drawn]
    wanted = [r for family in listed for r in family.curve_pass(results)]
    runner.announce("curve")
    results.curve = runner.anchored(wanted, results.curve_anchors)
    runner.announce("error bars")
    wanted = [r for family in listed for r in family.second_pass(results)]
    results.second = _second_pass(results, wanted)
    return [family.compute(results) for family in listed]


def second_anchors(n_rows: int, options: MetricOptions, anchors: Anchors) -> Anchors:
    """The rows of the second pass: those of the first, or a sample where there are very many."""
    if anchors.is_sample or n_rows <= options.exact_deletions:
        return anchors
    return Anchors(draw_anchors(n_rows, options.sampled_anchors, options.seed + 1), n_rows)


def _second_pass(results: PassResults, wanted: list[Reducer]) -> tuple[tuple[Found, Index], ...]:
    runner = results.runner
    anchors = second_anchors(results.subject.n, results.options, results.anchors)
    if not anchors.is_sample:
        return ((runner.all_pairs(wanted), anchors.rows),)
    parts = []
    for number, half in enumerate(anchors.halves, 1):
        if wanted:
            runner.announce(f"error bars, half {number} of 2")
        rows = anchors.rows[half]
        parts.append((runner.anchored(wanted, rows), rows))
    return tuple(parts)
