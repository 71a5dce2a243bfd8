"""What every part of `quality` works with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import Measured
from cl_analyze.metrics.means import mean_with_effects
from cl_analyze.metrics.quality.jackknife import jackknife_groups
from cl_analyze.metrics.quality.rows import FormRows, forms
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.executors import Executor, SerialExecutor, ThreadExecutor
from cl_analyze.stats import effective_rows, pseudo_values, standard_error
from cl_analyze.tables import Param, Record, Unit, undefined

Vector = NDArray[np.float64]

SHARES = ("share", "accuracy")
"""Units of means of values in [0, 1]."""
FEW_ANCHORS = "too few of the anchors take part: run with more --anchors"


@dataclass(frozen=True)
class Context:
    """One checkpoint, what was asked, and what the passes gave.

    Attributes:
        subject, options, measured, runner: as `Family.compute` gets them.
    """

    subject: Subject
    options: MetricOptions
    measured: Measured
    runner: PairRunner

    @property
    def anchors(self) -> Anchors | None:
        """Rows from which means over rows are estimated; None: all rows."""
        return self.measured.anchors

    @property
    def looked_at(self) -> NDArray[np.int64]:
        """Rows of the first pass."""
        return np.arange(self.subject.n) if self.anchors is None else self.anchors.rows

    @cached_property
    def norms(self) -> Vector:
        """(N,) norms of the saved rows."""
        return self.subject.rows.stored_norms()

    @property
    def largest_norm(self) -> float:
        """The largest norm of a saved row; float64's largest number where it lies beyond it."""
        return float(min(self.norms.max(), np.finfo(np.float64).max))

    @cached_property
    def forms(self) -> tuple[FormRows, FormRows]:
        """The rows as saved and on the sphere."""
        return forms(self.subject.rows, self.largest_norm)

    @cached_property
    def deletion_groups(self) -> NDArray[np.int64]:
        """(N,) groups of the delete-a-group jackknife."""
        return jackknife_groups(self.subject.n, self.subject.groups, self.options.seed)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes by code, those that a training set alone has at the end."""
        labels, train = self.subject.labels, self.subject.train
        return train.names if train is not None else () if labels is None else labels.names

    @property
    def local(self) -> Executor:
        """Where work on rows runs: threads of this process, which share them."""
        executor = self.runner.executor
        return executor if isinstance(executor, ThreadExecutor) else SerialExecutor()

    @property
    def n_threads(self) -> int:
        """Threads of this process."""
        return self.local.n_at_once

    # ---- records

    def record(
        self,
        metric: str,
        value: float | None,
        unit: Unit,
        *,
        definition: str | None = None,
        params: dict[str, Param] | None = None,
        std_error: float | None = None,
        pseudo: Vector | None = None,
        n: int | None = None,
        reason: str = "",
    ) -> Record:
        """A record that is exact on this file; without a value, `reason` says why."""
        subject = self.subject
        if value is None or not np.isfinite(value):
            why = reason or "beyond float64's range"
            return undefined(subject.source, metric, definition, params or {}, unit, subject.d, why)
        return Record(
            source=subject.source,
            metric=metric,
            definition=definition,
            params=params or {},
            value=float(value),
            std_error=std_error,
            unit=unit,
            n=subject.n if n is None else n,
            d=subject.d,
            pseudo_values=pseudo,
        )

    def with_deletions(
        self,
        metric: str,
        value: float,
        without: Vector,
        unit: Unit,
        definition: str | None = None,
        reason: str = "",
    ) -> Record:
        """A record with the jackknife's error, from the values without each row."""
        there = without[~np.isnan(without)]
        usable = len(there) > 2 and bool(np.isfinite(there).all())
        pseudo = pseudo_values(value, without) if usable else None
        error = standard_error(pseudo, self.subject.groups)
        return self.record(
            metric,
            value,
            unit,
            definition=definition,
            std_error=error,
            pseudo=pseudo,
            n=len(there) if len(there) else None,
            reason=reason,
        )

    def mean(
        self,
        metric: str,
        values: Vector,
        unit: Unit,
        *,
        definition: str | None = None,
        params: dict[str, Param] | None = None,
        effects: Sequence[Vector] = (),
        anchors: Anchors | None = None,
        reason: str = FEW_ANCHORS,
    ) -> Record:
        """A mean over rows: of all, or of anchors; NaN where a row takes no part.

        Args:
            metric, unit, definition, params: what it is.
            values: (N,) or (anchors,) the rows' values.
            effects: (N,) what each row's presence adds to the sum of the others', from all rows or
                from two halves of the anchors; empty: nothing.
            anchors: whose values these are; None: those of all rows.
            reason: what to say where no row has a value.
        """
        n = self.subject.n
        found = mean_with_effects(
            values,
            values,
            effects or [np.zeros(n)],
            0.0,
            self.subject.groups,
            anchors,
        )
        if found is None:
            return self.record(
                metric, None, unit, definition=definition, params=params, reason=reason
            )
        record = self.record(
            metric,
            found.value,
            unit,
            definition=definition,
            params=params,
            std_error=found.std_error,
            pseudo=found.pseudo_values,
            n=found.n,
        )
        record = replace(record, pseudo_noise=found.pseudo_noise)
        if unit in SHARES:
            errors = [each for each in (found.std_error, found.sampling_error) if each]
            groups = self.subject.groups
            if groups is not None and anchors is not None:
                groups = groups[anchors.rows]
            record = replace(
                record, effective_n=effective_rows(values, math.hypot(*errors), groups)
            )
        if anchors is None:
            return record
        return replace(record, sampling_error=found.sampling_error, exact=False)
