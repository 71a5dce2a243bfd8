"""Measure checkpoints one by one, and compare each with the reference: numbers and movement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.analysis.collected import Collected, check_definition, of_definition
from cl_analyze.analysis.report import Report
from cl_analyze.analysis.run import executor_of, measure_one
from cl_analyze.comparison import matrix
from cl_analyze.comparison.cache import Cache, Entry
from cl_analyze.comparison.checkpoints import Checkpoint, checkpoints_table, warn
from cl_analyze.comparison.matrix import MOST_SOURCES, AllAgainstAll
from cl_analyze.comparison.order import (
    Given,
    arranged,
    axis_label,
    by_dimensions,
    measuring_order,
    reference_index,
    step_before,
)
from cl_analyze.comparison.selection import Selection, selection
from cl_analyze.comparison.standing import KeptHeadlines
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Recorder, Silent
from cl_analyze.inputs.prepare import Prepared, prepare
from cl_analyze.inputs.variants import with_variants
from cl_analyze.metrics import BETWEEN, METRICS
from cl_analyze.metrics.differences import (
    COLUMNS,
    Difference,
    Match,
    adjusted,
    differences,
    match_rows,
    params_text,
)
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.movement import Space, movement
from cl_analyze.metrics.quality.family import with_voters
from cl_analyze.metrics.subject import Subject, nearest_negatives_reducer
from cl_analyze.options import CompareOptions, MetricOptions, Request, RunOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.executors import Executor, single_threaded_blas
from cl_analyze.results.tables import KEPT_DIMENSIONS, Record, Table, nearest_k
from cl_analyze.store import store_key

KEPT_TABLES = ("collapse",)
"""Further tables of a checkpoint that a comparison shows; `report` shows all tables."""
NOTED = 3
"""Number of checkpoints whose notes are shown; notes on further checkpoints are counted."""


class _NeighbourLists(Family):
    """Keeps the nearest neighbours of each row from the pass that the metrics share."""

    name = "neighbours"

    def __init__(self) -> None:
        self.indices: NDArray[np.int32] | None = None

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """The reducer that every family reads its neighbours from."""
        return (nearest_negatives_reducer(subject, options.of_instances),)

    def compute(self, results: PassResults) -> FamilyResult:
        """Keep the lists; there are no records."""
        if not results.anchors.is_sample:
            instance = results.options.of_instances
            neighbours = replace(results, options=instance).nearest_negatives()
            most = min(max(instance.ks) + 1, results.subject.n - 1)
            self.indices = neighbours.indices[:, :most].astype(np.int32)
        return FamilyResult(())


class _NoteFilter(Recorder):
    """A recorder that can hide notes, and counts those that it hides.

    Attributes:
        shows_notes: whether notes are shown now.
        n_left_out: number of hidden notes.
    """

    shows_notes = True
    n_left_out = 0

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self._shown: set[str] = set()

    def note(self, text: str) -> None:
        """Show a note, or count it where it differs from those that were shown."""
        if self.shows_notes:
            self._shown.add(text)
            super().note(text)
        elif text not in self._shown:
            self.n_left_out += 1


def run_comparison(
    requests: Sequence[Request],
    names: Iterable[str] | str,
    options: MetricOptions,
    run: RunOptions,
    compare: CompareOptions,
    executor: Any = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Report:
    """Metrics of several checkpoints, their differences from a reference, and their movement.

    A variant is compared with its original, another checkpoint with the reference.

    Args:
        requests: the checkpoints; all are opened and checked before the first is measured.
        names: names of metric families or of single metrics, or "all".
        options, run: options of the metrics, options of the computation.
        compare: options of the comparison: the reference, the order, the cache.
        executor, listener, arguments: see `run_analysis`.

    Returns:
        A report of all records, without pseudo-values, and the tables compare, checkpoints,
        moved_rows and moved_classes.

    Raises:
        DataError, ConfigError: see `run_analysis`; there are fewer than two checkpoints, or the
            reference is none of them.

    Cost: one analysis for each checkpoint that is not in the cache, and a comparison of every pair;
    memory of two checkpoints (three where there are variants), and of the rows of all, at most 512
    MB or a quarter of `run.memory`.
    """
    requests = with_variants(requests)
    if len(requests) < 2:
        embeddings = [request.embeddings for request in requests]
        paths = [str(path) for path in embeddings if isinstance(path, str | Path)]
        raise ConfigError(
            f"compare needs at least two checkpoints, found {', '.join(paths) or len(requests)}: "
            "name two files EMB or more (a pattern that matches nothing stays a pattern), or "
            "variants of one: --dims 64, --quantise int8, --transform centre"
        )
    chosen = selection(names)
    # a comparison shows no map of rows
    options = replace(with_voters(options), only=chosen.only, projection="none")
    check_definition(run.definition, [*chosen.families, *BETWEEN])
    checkpoints = arranged(requests, compare.x)
    cache = None if compare.cache is None else Cache(Path(compare.cache))
    reference = reference_index(checkpoints, compare.against)
    recorder = _NoteFilter(listener or Silent())
    with executor_of(run, executor) as workers:
        comparison = _Comparison(checkpoints, chosen, options, run, workers, recorder, cache)
        return comparison.report(reference, compare.x, arguments)


@dataclass(frozen=True)
class _Reference:
    """The checkpoint with which the others are compared."""

    request: Request
    subject: Subject
    space: Space
    entry: Entry

    @property
    def title(self) -> str:
        """The name of the source."""
        return self.subject.source


@dataclass(frozen=True)
class _Comparison:
    """One run of a comparison: its checkpoints, options, workers and cache."""

    given: list[Given]
    chosen: Selection
    options: MetricOptions
    run: RunOptions
    executor: Executor
    recorder: _NoteFilter
    cache: Cache | None

    def report(self, reference_at: int, x: str | None, arguments: Sequence[str]) -> Report:
        """Check all checkpoints, then measure and compare them, the reference first."""
        recorder, count = self.recorder, len(self.given)
        collected = Collected()
        collected.asked = self.chosen.single
        dims = self.check(collected)
        given, axis = self.given, None if x is None else axis_label(x)
        if x is None and (kept_dims := by_dimensions(given, dims)) is not None:
            given, axis = kept_dims, KEPT_DIMENSIONS
        bases: dict[int, _Reference] = {}
        checkpoints: dict[int, Checkpoint] = {}
        changes: list[Difference] = []
        pairs, orders = _EveryPair(self, dims), _ReferenceOrders()
        kept = KeptHeadlines(count, self.held_bytes // 4, self.chosen.single, self.options.seed)
        n_kept = 0
        steps = [step_before(given, i) if x is not None else None for i in range(count)]
        for done, (i, base_at) in enumerate(measuring_order(given, reference_at)):
            checkpoint = given[i]
            recorder.checkpoint(done, count)
            subject, entry, is_kept = self.measure(checkpoint, collected)
            recorder.shows_notes = False
            n_kept += is_kept
            if base_at is None:
                self.chosen.require(entry.families.values(), checkpoint.title)
            if not checkpoint.is_variant or base_at is None:
                own = _Reference(checkpoint.request, subject, Space(subject.rows), entry)
                awaited = {steps[j] for j in range(count) if j not in checkpoints}
                bases = {j: kept for j, kept in bases.items() if j in awaited | {reference_at}}
                bases[i] = own
            base = None if base_at is None else bases[base_at]
            match, families = Match(None, "the reference"), dict(entry.families)
            if base is not None:
                match = _match(checkpoint, collected, base)
                if match.moves_rows:
                    self.check_companions(checkpoint, base, subject, match)
                changes += self.changes(entry, base.entry, match, subject.groups)
            recorder.stage("how the space moved", checkpoint.title)
            if base is not None and match.order is not None:
                families["movement"] = self.movement(base, subject, entry, match)
            before = None if (step := steps[i]) is None else bases.get(step)
            if before is not None and base is not None and before is not base:
                step_match = _match(checkpoint, collected, before)
                if step_match.order is not None:
                    moved = self.movement(before, subject, entry, step_match).records
                    earlier = families.get("movement", FamilyResult(()))
                    families["movement"] = replace(earlier, records=(*earlier.records, *moved))
            order = orders.of(subject, match, base)
            pairs.add(subject, entry, order)
            records, groups = self.records(entry), subject.groups
            kept.add(subject.source, records, order, groups, subject.pairing)
            against = None if base is None else base.title
            checkpoints[i] = _checkpoint(checkpoint, subject, match, families, against)
        recorder.checkpoint(count, count)
        listed = [checkpoints[i] for i in range(count)]
        for measured in listed:
            collected.add(measured.families, recorder)
        warn(listed, checkpoints[reference_at], recorder)
        recorder.shows_notes = True
        if self.cache is not None:
            recorder.note(f"{n_kept} of {count} checkpoints came from the cache")
        rows = (
            {**row.to_dict(), "params": params_text(row.one)}
            for row in adjusted(changes, kept.numbers)
        )
        collected.tables["compare"] = Table("compare", COLUMNS, tuple(rows))
        collected.tables["checkpoints"] = checkpoints_table(listed, checkpoints[reference_at], axis)
        collected.tables |= pairs.tables([checkpoint.title for checkpoint in given])
        return collected.report(
            "compare",
            arguments,
            [*self.names, *BETWEEN],
            self.options,
            self.run,
            recorder,
            kept.difference,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes of rows of all checkpoints that are held at once."""
        budget = self.run.memory
        return matrix.HELD_BYTES if budget is None else min(matrix.HELD_BYTES, budget // 4)

    def records(self, entry: Entry) -> list[Record]:
        """The records of a checkpoint in the definition that was asked for."""
        return [
            record
            for name, result in entry.families.items()
            for record in of_definition(result.records, name, self.run.definition)
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """The metric families that are measured."""
        return self.chosen.families

    def prepare(self, checkpoint: Given, recorder: Recorder) -> Prepared:
        """Open and check a checkpoint."""
        return prepare(
            checkpoint.request,
            checkpoint.title,
            self.names,
            self.options,
            self.run,
            recorder,
            checkpoint.original,
        )

    def check(self, collected: Collected) -> dict[str, int]:
        """Open and check all checkpoints, so that errors come before the first measurement.

        Returns:
            Title -> dimensions.
        """
        dims = {}
        for number, checkpoint in enumerate(self.given, 1):
            self.recorder.shows_notes = number <= NOTED
            prepared = self.prepare(checkpoint, self.recorder)
            collected.add_inputs(prepared.inputs)
            dims[checkpoint.title] = prepared.subject.d
        self.recorder.shows_notes = True
        if self.recorder.n_left_out:
            left_out = self.recorder.n_left_out
            self.recorder.note(f"{left_out} notes on further checkpoints are left out")
        return dims

    def measure(self, checkpoint: Given, collected: Collected) -> tuple[Subject, Entry, int]:
        """The rows and the numbers of a checkpoint, and 1 where these come from the cache."""
        prepared = self.prepare(checkpoint, Recorder(Silent()))
        subject = prepared.subject
        collected.add_subject(subject, self.options)
        key = ""
        if self.cache is not None:
            companions = (subject.labels, subject.groups, subject.views, subject.partners)
            key = store_key(
                prepared.fingerprint,
                [companion is not None for companion in companions],
                subject.rows.dtype.str,
                self.names,
                self.options,
                self.run.device,
                self.run.unlabelled,
            )
            entry = self.cache.load(key, checkpoint.title)
            if entry is not None:
                return subject, entry, 1
        lists = _NeighbourLists()
        chosen: list[Family] = [*(METRICS[name] for name in self.names), lists]
        results = measure_one(
            prepared, chosen, self.options, self.run, self.executor, self.recorder
        )
        families = {
            name: replace(
                self.chosen.of(result),
                tables=tuple(t for t in result.tables if t.name in KEPT_TABLES),
            )
            for name, result in zip(self.names, results, strict=False)
        }
        entry = Entry(families, lists.indices)
        if self.cache is not None:
            self.cache.save(key, checkpoint.title, entry)
        return subject, entry, 0

    def check_companions(
        self, checkpoint: Given, reference: _Reference, subject: Subject, match: Match
    ) -> None:
        """Check labels and groups of rows that are matched in another order.

        Raises:
            ConfigError: both checkpoints have the same file of groups.
        """
        base, groups = reference.subject, checkpoint.request.groups
        if groups is not None and _is_same(groups, reference.request.groups):
            raise ConfigError(
                f"{checkpoint.title} has the rows of {reference.title} in another order: "
                "one --groups for both would go by position; leave it out, or put rows in one order"
            )
        if subject.labels is None or base.labels is None or match.order is None:
            return
        classes, base_classes = (
            np.array([*labels.classes, ""])[labels.codes]
            for labels in (subject.labels, base.labels)
        )
        differing = int((classes != base_classes[match.order]).sum())
        if differing:
            self.recorder.warn(
                f"{checkpoint.title}: {differing} of {subject.n} rows have another label than "
                f"the row of {reference.title} with their id; are ids and labels in its order?"
            )

    def changes(
        self, entry: Entry, base: Entry, match: Match, groups: NDArray[np.int64] | None
    ) -> list[Difference]:
        """Differences of all numbers that the reference has too, without pseudo-values."""
        return [
            replace(change, one=change.one.bare(), other=change.other.bare())
            for change in differences(self.records(entry), self.records(base), match, groups)
        ]

    def movement(
        self, reference: _Reference, subject: Subject, entry: Entry, match: Match
    ) -> FamilyResult:
        """The movement from another checkpoint, in the order of the checkpoint's rows."""
        order, base = match.order, reference.subject
        assert order is not None
        space = Space(base.rows.select(order, 0)) if match.moves_rows else reference.space
        lists = None
        if reference.entry.neighbours is not None and entry.neighbours is not None:
            back = np.empty(len(order), dtype=np.int64)
            back[order] = np.arange(len(order))
            lists = entry.neighbours.astype(np.int64), back[reference.entry.neighbours[order]]
        with single_threaded_blas():
            moved = movement(
                subject.source,
                reference.title,
                Space(subject.rows),
                space,
                lists,
                self.options.ks,
                subject.labels,
                subject.groups,
            )
        tables = tuple(table for table in (moved.rows, moved.classes) if table.rows)
        return self.chosen.of(FamilyResult(moved.records, tables))


class _ReferenceOrders:
    """For each row of the reference, the row of a checkpoint that is the same item."""

    def __init__(self) -> None:
        self._orders: dict[str, NDArray[np.int64]] = {}

    def of(
        self, subject: Subject, match: Match, base: _Reference | None
    ) -> NDArray[np.int64] | None:
        """The order of a checkpoint that was compared with `base` (None: the reference itself).

        Returns:
            (N,) rows of the checkpoint; None where its rows do not match those of the reference.
        """
        order = np.arange(subject.n)
        if base is not None:
            if match.order is None or base.title not in self._orders:
                return None
            order = np.argsort(match.order)[self._orders[base.title]]
        if subject.variant is None or base is None:  # variants of it come next
            reference = dict(list(self._orders.items())[:1])
            self._orders = {**reference, subject.source: order}
        return order


class _EveryPair:
    """Every two checkpoints whose rows are those of the reference; of few checkpoints."""

    def __init__(self, comparison: _Comparison, dims: Mapping[str, int]) -> None:
        self._comparison = comparison
        self._n = len(dims)
        is_wanted = bool(comparison.chosen.between) and 1 < self._n <= MOST_SOURCES
        k = nearest_k(comparison.options.ks, 10)
        most = comparison.held_bytes
        self._pairs = AllAgainstAll(tuple(dims.values()), k, most) if is_wanted else None

    def add(self, subject: Subject, entry: Entry, order: NDArray[np.int64] | None) -> None:
        """Add a checkpoint with the row of each row of the reference; None: rows do not match."""
        if self._pairs is not None and order is not None:
            lists, groups = entry.neighbours, subject.groups
            self._pairs.add(subject.source, subject.rows, order, lists, groups)

    def tables(self, titles: Sequence[str]) -> dict[str, Table]:
        """The tables of all pairs by name; none of too few or too many checkpoints."""
        if self._pairs is None:
            if self._n > MOST_SOURCES and self._comparison.chosen.between:
                self._comparison.recorder.note(
                    f"every pair of checkpoints is compared where there are up to {MOST_SOURCES}, "
                    f"here are {self._n}"
                )
            return {}
        self._comparison.recorder.stage("every pair of checkpoints")
        with single_threaded_blas():
            tables = self._pairs.tables(titles, self._comparison.chosen.between)
        return {table.name: table for table in tables}


def _is_same(one: Any, other: Any) -> bool:
    """Whether two companions are the same file or the same array."""
    if isinstance(one, str | Path) and isinstance(other, str | Path):
        return str(one) == str(other)
    return one is other


def _match(checkpoint: Given, collected: Collected, base: _Reference) -> Match:
    """The match of a checkpoint's rows; a variant has the rows of its original."""
    keys, base_keys = collected.rows[checkpoint.title], collected.rows[base.title]
    is_own = checkpoint.is_variant and checkpoint.original == base.title
    if is_own and (keys.n, keys.kept) == (base_keys.n, base_keys.kept):
        return Match(np.arange(keys.n), f"paired: the {keys.n} rows of {base.title}")
    return match_rows(keys, base_keys)


def _checkpoint(
    checkpoint: Given,
    subject: Subject,
    match: Match,
    families: dict[str, FamilyResult],
    against: str | None,
) -> Checkpoint:
    """A checkpoint without rows and pseudo-values: for hundreds they need too much memory."""
    bare = {
        name: replace(result, records=tuple(record.bare() for record in result.records))
        for name, result in families.items()
    }
    subject.release()
    return Checkpoint(
        checkpoint.title,
        checkpoint.x,
        subject.n,
        subject.d,
        match,
        bare,
        against,
        checkpoint.request.variant or None,
        checkpoint.original if checkpoint.is_variant else None,
    )
