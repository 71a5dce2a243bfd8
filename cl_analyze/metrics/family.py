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
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors, draw_anchors, with_moments
from cl_analyze.metrics.metric import Better, Metric
from cl_analyze.metrics.runner import Found, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.tables import Param, Record, Table


@dataclass(frozen=True)
class SecondPass:
    """Results of the second pass: one entry where every pair was taken, two halves otherwise.

    Attributes:
        found: results of the pass, or of each half of the anchors.
        anchors: the anchors of each entry; None where all rows were.
    """

    found: tuple[Found, ...]
    anchors: tuple[NDArray[np.int64] | None, ...]


@dataclass(frozen=True)
class Measured:
    """What all passes gave.

    Attributes:
        first, second, curve: results of the passes.
        curve_anchors: rows of the curve's pass.
        anchors: the rows that the first pass looked at, where means are estimated; None: all.
    """

    first: Found
    second: SecondPass
    curve: Found
    curve_anchors: NDArray[np.int64]
    anchors: Anchors | None = None


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

    def second_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        runner: PairRunner,
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Reducers over every pair that need the first pass."""
        return ()

    def curve_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        curve_anchors: NDArray[np.int64],
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Reducers over the curve's anchors against all rows."""
        return ()

    @abstractmethod
    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
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
    say = runner.announce
    say("pairs")
    n = subject.n
    wanted = [r for family in listed for r in family.first_pass(subject, options)]
    anchors = None
    if options.anchors_of(n) is not None:
        chosen = draw_anchors(n, options.anchors, options.seed + 2)
        anchors = Anchors(chosen, n)
        if wanted:
            anchors = with_moments(chosen, subject.rows, runner.block, runner.executor)
        first = runner.anchored(wanted, anchors.rows)
        curve_anchors = chosen[draw_anchors(len(chosen), options.curve_anchors, options.seed)]
    else:
        first = runner.all_pairs(wanted)
        curve_anchors = draw_anchors(n, options.curve_anchors, options.seed)
    wanted = [
        r
        for family in listed
        for r in family.curve_pass(subject, options, first, curve_anchors, anchors)
    ]
    say("curve")
    curve = runner.anchored(wanted, curve_anchors)
    say("error bars")
    wanted = [
        r for family in listed for r in family.second_pass(subject, options, first, runner, anchors)
    ]
    if anchors is None and n <= options.exact_deletions:
        second = SecondPass((runner.all_pairs(wanted),), (None,))
    else:
        drawn = anchors or Anchors(draw_anchors(n, options.sampled_anchors, options.seed + 1), n)
        halves = tuple(drawn.rows[half] for half in drawn.halves)
        found = []
        for half, rows in enumerate(halves, 1):
            if wanted:
                say(f"error bars, half {half} of 2")
            found.append(runner.anchored(wanted, rows))
        second = SecondPass(tuple(found), halves)
    measured = Measured(first, second, curve, curve_anchors, anchors)
    return [family.compute(subject, options, measured, runner) for family in listed]
