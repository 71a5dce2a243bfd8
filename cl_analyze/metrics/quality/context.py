"""The checkpoint as every part of `quality` sees it, and the makers of records and tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.quality.jackknife import Deletions, jackknife_groups
from cl_analyze.metrics.quality.rows import FormRows, Index, Vector, forms
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject, id_text
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.executors import Executor, SerialExecutor, ThreadExecutor
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.stats import effective_rows, pseudo_values, standard_error
from cl_analyze.results.tables import Cell, Record, Table

Result = TypeVar("Result")

SHARES = ("share", "accuracy")
"""Units of means of values in [0, 1]."""
FEW_ANCHORS = "too few of the anchors take part: run with more --anchors"


def in_every_definition(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Each metric at each of its definitions; a metric with a single definition once."""
    return (
        metric.at(definition) for metric in metrics for definition in metric.definitions or (None,)
    )


@dataclass(frozen=True)
class Context:
    """One checkpoint, the options, and the results of the passes.

    Attributes:
        subject: the checkpoint, without labels where no row has one.
        options: what is asked, with neighbours among all rows.
        results: of the passes.
    """

    subject: Subject
    options: MetricOptions
    results: PassResults
    _results: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, compute: Callable[[Context], Result]) -> Result:
        """`compute(self)`, computed at the first call and kept."""
        if compute not in self._results:
            self._results[compute] = compute(self)
        result: Result = self._results[compute]
        return result

    @property
    def labels(self) -> Labels:
        """The classes, for parts that run with labels only."""
        assert self.subject.labels is not None
        return self.subject.labels

    @property
    def codes(self) -> Index:
        """(N,) class codes, -1 where unlabelled."""
        return self.labels.codes

    @property
    def runner(self) -> PairRunner:
        """Where passes run."""
        return self.results.runner

    @property
    def anchors(self) -> Anchors:
        """The rows of the first pass."""
        return self.results.anchors

    @property
    def looked_at(self) -> Index:
        """Rows of the first pass."""
        return self.anchors.rows

    @cached_property
    def near(self) -> Neighbours:
        """The nearest neighbours of the rows `looked_at`, nearest first."""
        self.runner.announce("neighbours in their order")
        return self.runner.nearest_negatives(self.options, self.results.first, self.anchors)

    @cached_property
    def norms(self) -> Vector:
        """(N,) norms of the saved rows."""
        return self.subject.rows.stored_norms()

    @property
    def largest_norm(self) -> float:
        """The largest norm of a saved row, at most float64's largest number."""
        return float(min(self.norms.max(), np.finfo(np.float64).max))

    @cached_property
    def forms(self) -> tuple[FormRows, FormRows]:
        """The rows as saved and on the sphere."""
        return forms(self.subject.rows, self.largest_norm)

    @cached_property
    def deletion_groups(self) -> Index:
        """(N,) groups of the delete-a-group jackknife."""
        return jackknife_groups(self.subject.n, self.subject.groups, self.options.seed)

    @property
    def local(self) -> Executor:
        """Threads of this process, which share its rows."""
        executor = self.runner.executor
        return executor if isinstance(executor, ThreadExecutor) else SerialExecutor()

    def class_names(self, rows: Iterable[int]) -> list[str | None]:
        """The names of the rows' classes; None where a row has none."""
        labels = self.subject.labels
        if labels is None:
            return [None for _ in rows]
        codes = [int(labels.codes[row]) for row in rows]
        return [None if code < 0 else labels.names[code] for code in codes]

    def ids(self, rows: Iterable[int]) -> list[str | None]:
        """The ids of rows as texts; None without ids."""
        return [id_text(self.subject.id_values, int(row)) for row in rows]

    def by_row(self, rows: Index, values: NDArray[Any]) -> Vector:
        """(N,) the values of some rows; NaN for the others."""
        out = np.full(self.subject.n, np.nan)
        out[rows] = values
        return out

    # ---- records and tables

    def recorded(
        self,
        metric: Metric,
        value: float | None,
        std_error: float | None = None,
        pseudo: Vector | None = None,
        n: int | None = None,
        reason: str = "",
    ) -> Record:
        """A record that is exact on this file; without a finite value, `reason` says why."""
        place = self.subject.source, self.subject.d
        if value is None or not np.isfinite(value):
            return metric.undefined(*place, reason or "beyond float64's range")
        n = self.subject.n if n is None else n
        return metric.record(*place, Number(float(value), std_error, n, pseudo))

    def jackknifed(self, metric: Metric, statistic: Deletions) -> Record:
        """A record with the jackknife's error, from the values without each row."""
        value, without = statistic.value, statistic.without
        finite = without[~np.isnan(without)]
        usable = len(finite) > 2 and bool(np.isfinite(finite).all())
        pseudo = pseudo_values(value, without) if usable else None
        error = standard_error(pseudo, self.subject.groups)
        return self.recorded(metric, value, error, pseudo, len(finite) or None)

    def averaged(
        self,
        metric: Metric,
        values: Vector,
        effects: Sequence[Vector] = (),
        reason: str = FEW_ANCHORS,
        of: Anchors | None = None,
    ) -> Record:
        """A mean over rows.

        Args:
            metric: the metric.
            values: the values of all rows (N,) or of the anchors; NaN where a row takes no part.
            effects: (N,) how much each row's presence adds to the sum of the others' values, from
                all rows or from two halves of the rows; empty: nothing.
            reason: why there is no mean, where no row has a value.
            of: the rows that have the values, where these are not rows of the checkpoint.
        """
        subject, groups = self.subject, self.subject.groups
        anchors = self.anchors if len(values) < subject.n else Anchors.every(subject.n)
        if of is not None:
            anchors, groups = of, None
        effects = effects or [np.zeros(anchors.n_rows)]
        mean = mean_with_effects(values, values, effects, 0.0, groups, anchors)
        return self.of_mean(metric, mean, values, anchors, reason, of is None)

    def of_mean(
        self,
        metric: Metric,
        mean: Number | None,
        values: Vector,
        anchors: Anchors,
        reason: str,
        are_own: bool = True,
    ) -> Record:
        """The record of a mean over rows.

        Args:
            metric: the metric.
            mean: with its errors; None: there is none.
            values: (m,) of the anchors.
            anchors: the rows that have the values.
            reason: why there is no mean.
            are_own: whether these are rows of the checkpoint, which comparisons pair, and which
                `--groups` is about.
        """
        subject = self.subject
        if mean is None:
            return self.recorded(metric, None, reason=reason)
        record = replace(
            self.recorded(metric, mean.value, mean.std_error, mean.pseudo_values, mean.n),
            pseudo_noise=mean.pseudo_noise,
            sampling_error=mean.sampling_error,
            exact=not anchors.is_sample,
        )
        if not are_own:
            record = replace(record, pseudo_values=None, pseudo_noise=None)
        if metric.unit_of_value not in SHARES:
            return record
        error = math.hypot(mean.std_error or 0.0, mean.sampling_error or 0.0)
        groups = subject.groups if are_own else None
        if groups is not None:
            groups = groups[anchors.rows]
        return replace(record, effective_n=effective_rows(values, error, groups))

    def table(self, name: str, *blocks: Mapping[str, Any]) -> Table:
        """A table of this checkpoint from blocks of columns, one block below the other.

        In a block an array or a list has one cell for each row; another value stands in every row.
        Numbers that are not finite become empty cells.
        """
        rows: list[dict[str, Cell]] = []
        columns: tuple[str, ...] = ()
        for block in blocks:
            cells = {
                key: value.tolist() if isinstance(value, np.ndarray) else value
                for key, value in {"source": self.subject.source, **block}.items()
            }
            columns = tuple(cells)
            n_rows = max(
                (len(cell) for cell in cells.values() if isinstance(cell, list)), default=1
            )
            filled = (
                cell if isinstance(cell, list) else [cell] * n_rows for cell in cells.values()
            )
            for row in zip(*filled, strict=True):
                rows.append(dict(zip(columns, map(_finite, row), strict=True)))
        return Table(name, columns, tuple(rows))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
