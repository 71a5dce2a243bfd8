"""Measure checkpoints one by one, compare each with the reference, and see how its space moved."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.analysis.collected import Collected, check_definition, of_definition
from cl_analyze.analysis.report import Report
from cl_analyze.analysis.run import executor_of, measure_one
from cl_analyze.comparison.cache import Cache, Entry, entry_key
from cl_analyze.comparison.order import axis_label, positions
from cl_analyze.data.opening import real_path
from cl_analyze.differences import (
    COLUMNS,
    Difference,
    Match,
    RowKeys,
    adjusted,
    differences,
    match_rows,
    params_text,
)
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Recorder, Silent
from cl_analyze.inputs.names import source_names
from cl_analyze.inputs.prepare import Prepared, prepare
from cl_analyze.metrics import BETWEEN, METRICS
from cl_analyze.metrics.family import Family, FamilyResult, Measured
from cl_analyze.metrics.movement import Space, movement
from cl_analyze.metrics.quality.family import with_voters
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject, nearest_negatives_reducer
from cl_analyze.options import CompareOptions, MetricOptions, Request, RunOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.executors import Executor, single_threaded_blas
from cl_analyze.quoting import some
from cl_analyze.stats import rounding
from cl_analyze.tables import Cell, Record, Table

KEPT_TABLES = ("collapse",)
"""Further tables of a checkpoint that a comparison shows; `report` has the others."""
NOTED = 3
"""Checkpoints whose notes are passed on; those of the others say the same."""
CHECKPOINT_COLUMNS = ("source", "axis", "x", "reference", "n", "d", "rows", "pareto")


class _Neighbours(Family):
    """Takes the lists of neighbours from the pass that the metrics make."""

    name = "neighbours"

    def __init__(self) -> None:
        self.indices: NDArray[np.int32] | None = None

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """The list that every family reads from."""
        return (nearest_negatives_reducer(subject, replace(options, negatives="instance")),)

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Keep the lists; there are no records."""
        if measured.anchors is None:
            instance = replace(options, negatives="instance")
            near = runner.nearest_negatives(instance, measured.first, None)
            most = min(max(options.ks) + 1, subject.n - 1)
            self.indices = near.indices[:, :most].astype(np.int32)
        return FamilyResult(())


class _Counted:
    """A listener that says which checkpoint of how many a pass is of, and how long is left."""

    def __init__(self, listener: Listener, total: int) -> None:
        self._listener, self._total = listener, total
        self._at = 0
        self._started = time.monotonic()
        self._measured = 0
        self._noted = True
        self.n_left_out = 0

    def turn_to(self, index: int, measured: int, noted: bool) -> None:
        """The index-th of them (from 1), after so many measured; whether its notes are told."""
        self._at, self._measured, self._noted = index, measured, noted

    def note(self, text: str) -> None:
        """Pass on what the first few say."""
        if self._noted:
            self._listener.note(text)
        else:
            self.n_left_out += 1

    def warn(self, text: str) -> None:
        """Pass on."""
        self._listener.warn(text)

    def stage(self, text: str) -> None:
        """Pass on, with the count."""
        left = ""
        if self._measured:
            each = (time.monotonic() - self._started) / self._measured
            left = f", {each * (self._total - self._at + 1):.0f} s left"
        self._listener.stage(f"[{self._at}/{self._total}{left}] {text}")

    def progress(self, done: int, total: int) -> None:
        """Pass on."""
        self._listener.progress(done, total)

    def resumed(self, done: int, total: int) -> None:
        """Pass on."""
        self._listener.resumed(done, total)


def run_comparison(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    asked: CompareOptions,
    executor: Any = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Report:
    """Every metric of several checkpoints, differences against one, and how the space moved.

    Args:
        requests: the checkpoints; every one is opened and checked before the first is measured.
        names: the metric families.
        options, run: what is asked of each, and how to compute.
        asked: the reference, the order, the cache.
        executor, listener, arguments: as for an analysis.

    Returns:
        A report of all records, without pseudo-values, and the tables compare, checkpoints,
        moved_rows and moved_classes.

    Raises:
        DataError, ConfigError: as an analysis; fewer than two checkpoints, or a reference that is
            none of them.

    Cost: one analysis for each checkpoint that the cache does not have; memory for two of them.
    """
    if len(requests) < 2:
        named = [str(one.embeddings) for one in requests if isinstance(one.embeddings, str | Path)]
        raise ConfigError(
            f"compare needs at least two checkpoints, found {', '.join(named) or len(requests)}: "
            "name two files EMB or more (a pattern that matches nothing stays a pattern)"
        )
    options = with_voters(options)
    check_definition(run.definition, [*names, *BETWEEN])
    named = [
        str(request.embeddings)
        if request.source is None and isinstance(request.embeddings, str | Path)
        else str(request.source)
        for request in requests
    ]
    if "-" in named:
        raise ConfigError("compare reads its files twice: - (standard input) cannot be compared")
    cache = None if asked.cache is None else Cache(Path(asked.cache))
    titles = source_names(requests)
    places: Sequence[float | None] = [None] * len(requests)
    if asked.x is not None:
        places = positions(named, asked.x)
        if len(set(places)) < 2:
            raise ConfigError(
                f"--x {asked.x}: every checkpoint is at {places[0]:g}, which orders nothing: give "
                "another word or pattern, or leave --x out"
            )
        by_x = sorted(range(len(named)), key=lambda i: (places[i], i))
        requests, titles = [requests[i] for i in by_x], [titles[i] for i in by_x]
        named, places = [named[i] for i in by_x], [places[i] for i in by_x]
    reference = 0
    if asked.against is not None:
        reference = _reference(asked.against, named, titles)
    counted = _Counted(listener or Silent(), len(requests))
    told = Recorder(counted)
    with executor_of(run, executor) as where:
        job = _Job(
            [replace(request, match=True) for request in requests],
            titles,
            tuple(names),
            options,
            run,
            where,
            told,
            counted,
            cache,
        )
        inputs = job.check()
        return _compared(job, inputs, reference, places, asked.x, arguments)


def _reference(against: str, named: Sequence[str], titles: Sequence[str]) -> int:
    """Which checkpoint is meant."""
    stems = [Path(title).stem for title in titles]
    for listed in (named, titles, [str(real_path(name)) for name in named], stems):
        for wanted in (against, str(real_path(against))):
            if wanted in listed:
                return listed.index(wanted)
    raise ConfigError(
        f"--against {against}: none of the checkpoints; they are {', '.join(titles[:8])}"
    )


@dataclass(frozen=True)
class _Job:
    """What is the same for all checkpoints."""

    requests: list[Request]
    titles: list[str]
    names: tuple[str, ...]
    options: MetricOptions
    run: RunOptions
    where: Executor
    told: Recorder
    counted: _Counted
    cache: Cache | None

    def check(self) -> list[dict[str, Any]]:
        """Open and check every checkpoint, so that a bad one is known before any is measured."""
        inputs: list[dict[str, Any]] = []
        for i in range(len(self.requests)):
            self.counted.turn_to(i + 1, 0, i < NOTED)
            prepared = self.prepare(i, self.told)
            inputs += [entry for entry in prepared.inputs if entry not in inputs]
        self.counted.turn_to(1, 0, True)
        if self.counted.n_left_out:
            self.told.note(f"{self.counted.n_left_out} notes on further checkpoints are left out")
        return inputs

    def check_companions(
        self, i: int, reference: int, subject: Subject, base: Subject, match: Match
    ) -> None:
        """Whether what goes by position still belongs to rows that are matched in another order.

        Raises:
            ConfigError: one file of groups for both.
        """
        one, other = self.requests[i], self.requests[reference]
        if one.groups is not None and _is_same(one.groups, other.groups):
            raise ConfigError(
                f"{self.titles[i]} has the rows of {self.titles[reference]} in another order: one "
                "--groups for both would go by position; leave it out, or put rows in one order"
            )
        if subject.labels is None or base.labels is None or match.order is None:
            return
        mine, theirs = (
            np.array([*labels.names, ""])[labels.codes] for labels in (subject.labels, base.labels)
        )
        differing = int((mine != theirs[match.order]).sum())
        if differing:
            self.told.warn(
                f"{self.titles[i]}: {differing} of {subject.n} rows have another label than the "
                f"row of {self.titles[reference]} with their id; are ids and labels in its order?"
            )

    def prepare(self, i: int, told: Recorder) -> Prepared:
        """One checkpoint, opened."""
        return prepare(self.requests[i], self.titles[i], self.names, self.options, self.run, told)

    def measure(self, i: int) -> tuple[Prepared, Entry, bool]:
        """One checkpoint's numbers, and whether they come from the cache."""
        prepared = self.prepare(i, Recorder(Silent()))
        subject, title = prepared.subject, self.titles[i]
        key = ""
        if self.cache is not None:
            key = entry_key(
                prepared.fingerprint,
                [
                    given is not None
                    for given in (subject.labels, subject.groups, subject.views, subject.partners)
                ],
                subject.rows.dtype.str,
                self.names,
                self.options,
                self.run.device,
                self.run.unlabelled,
            )
            kept = self.cache.load(key, title)
            if kept is not None:
                return prepared, kept, True
        lists = _Neighbours()
        chosen: list[Family] = [*(METRICS[name] for name in self.names), lists]
        results = measure_one(prepared, chosen, self.options, self.run, self.where, self.told)
        families = {
            name: replace(result, tables=tuple(t for t in result.tables if t.name in KEPT_TABLES))
            for name, result in zip(self.names, results, strict=False)
        }
        entry = Entry(families, lists.indices)
        if self.cache is not None:
            self.cache.save(key, title, entry)
        return prepared, entry, False


def _is_same(one: Any, other: Any) -> bool:
    """Whether two companions were given as one."""
    if isinstance(one, str | Path) and isinstance(other, str | Path):
        return str(one) == str(other)
    return one is other


def _records(entry: Entry, definition: str | None) -> list[Record]:
    return [
        record
        for name, result in entry.families.items()
        for record in of_definition(result.records, name, definition)
    ]


def _stripped(result: FamilyResult) -> FamilyResult:
    """Without pseudo-values: those of hundreds of checkpoints are too many to hold."""
    return replace(result, records=tuple(record.bare() for record in result.records))


def _compared(
    job: _Job,
    inputs: list[dict[str, Any]],
    reference: int,
    places: Sequence[float | None],
    x: str | None,
    arguments: Sequence[str],
) -> Report:
    count, told, definition = len(job.requests), job.told, job.run.definition
    n_measured = n_kept = 0
    found: dict[int, tuple[dict[str, FamilyResult], FamilyResult | None]] = {}
    shapes: dict[int, tuple[int, int]] = {}
    collected = Collected()
    matches: dict[int, Match] = {}
    changed: list[Difference] = []
    base: Entry | None = None
    base_subject: Subject | None = None
    base_space: Space | None = None
    for at, i in enumerate([reference, *(i for i in range(count) if i != reference)], 1):
        job.counted.turn_to(at, n_measured, at == 1)
        prepared, entry, kept = job.measure(i)
        n_kept += kept
        n_measured += not kept
        subject = prepared.subject
        moves = None
        if base is None or base_subject is None or base_space is None:
            base, base_subject, base_space = entry, subject, Space(subject.rows)
            matches[i] = Match(None, "the reference")
        else:
            match = match_rows(_keys(subject), _keys(base_subject))
            matches[i] = match
            if match.moves_rows:
                job.check_companions(i, reference, subject, base_subject, match)
            changed += _without_pseudo_values(
                differences(
                    _records(entry, definition), _records(base, definition), match, subject.groups
                )
            )
            if match.order is not None:
                told.stage(f"{job.titles[i]}: how the space moved")
                with single_threaded_blas():
                    moves = _movement(
                        base_subject, base_space, base, subject, entry, match, job.options
                    )
        found[i] = (
            {name: _stripped(result) for name, result in entry.families.items()},
            None if moves is None else _stripped(moves),
        )
        shapes[i] = subject.n, subject.d
        collected.add_subject(subject, job.options)
        subject.release()
    collected.add_inputs(inputs)
    for i in range(count):
        families, own_moves = found[i]
        collected.add({**families, **({} if own_moves is None else {"movement": own_moves})}, told)
    _warn(job.titles, shapes, matches, reference, told)
    if job.cache is not None:
        job.counted.turn_to(1, 0, True)
        told.note(f"{n_kept} of {count} checkpoints came from the cache")
    compared = adjusted(changed)
    collected.tables["compare"] = Table(
        "compare",
        COLUMNS,
        tuple({**each.to_dict(), "params": params_text(each.one)} for each in compared),
    )
    records = [r for families, _ in found.values() for f in families.values() for r in f.records]
    collected.tables["checkpoints"] = _checkpoints(
        job.titles, shapes, matches, reference, places, x, records
    )
    return collected.report(
        "compare", arguments, [*job.names, *BETWEEN], job.options, job.run, told
    )


def _keys(subject: Subject) -> RowKeys:
    return RowKeys.of(subject.n, subject.labels, subject.ids, subject.kept)


def _without_pseudo_values(found: Iterable[Difference]) -> list[Difference]:
    return [replace(each, one=each.one.bare(), other=each.other.bare()) for each in found]


def _movement(
    base_subject: Subject,
    base_space: Space,
    base: Entry,
    subject: Subject,
    entry: Entry,
    match: Match,
    options: MetricOptions,
) -> FamilyResult:
    """From the reference to a checkpoint, rows counted as the checkpoint's."""
    order = match.order
    assert order is not None
    reference = Space(base_subject.rows, order) if match.moves_rows else base_space
    lists = None
    if base.neighbours is not None and entry.neighbours is not None:
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        lists = entry.neighbours.astype(np.int64), back[base.neighbours[order]]
    labels = subject.labels
    moved = movement(
        subject.source,
        base_subject.source,
        Space(subject.rows),
        reference,
        lists,
        options.ks,
        None if labels is None else labels.codes,
        () if labels is None else labels.names,
        subject.groups,
    )
    tables = tuple(table for table in (moved.rows, moved.classes) if table.rows)
    return FamilyResult(moved.records, tables)


def _warn(
    titles: Sequence[str],
    shapes: dict[int, tuple[int, int]],
    matches: dict[int, Match],
    reference: int,
    told: Recorder,
) -> None:
    """What about the checkpoints keeps them from being compared as they are."""
    base_n, base_d = shapes[reference]
    narrower = [titles[i] for i, (_, d) in sorted(shapes.items()) if d != base_d]
    if narrower:
        told.warn(
            f"dimensions differ from the {base_d} of {titles[reference]} in {some(narrower)}: "
            "what depends on them is not compared; uniformity_gap is"
        )
    unpaired: dict[str, list[str]] = {}
    for i, match in sorted(matches.items()):
        if i != reference and match.order is None:
            unpaired.setdefault(match.text, []).append(titles[i])
    for text, which in unpaired.items():
        more = (
            "; what depends on the number of rows is not compared"
            if any(shapes[titles.index(title)][0] != base_n for title in which)
            else ""
        )
        told.warn(f"{some(which)} against {titles[reference]}: {text}{more}")
    assumed = [
        i for i, m in matches.items() if m.order is not None and "no labels to check" in m.text
    ]
    if assumed:
        told.note(
            "rows are taken for the same items in the same order (there are neither ids nor labels "
            "to check it by): give --ids where they are not"
        )


def _checkpoints(
    titles: Sequence[str],
    shapes: dict[int, tuple[int, int]],
    matches: dict[int, Match],
    reference: int,
    places: Sequence[float | None],
    x: str | None,
    records: Sequence[Record],
) -> Table:
    """Where each checkpoint stands: along the run, and on the front of the trade-off."""
    front = pareto_front(titles, records, len({d for _, d in shapes.values()}) > 1)
    rows: list[dict[str, Cell]] = [
        {
            "source": title,
            "axis": None if x is None else axis_label(x),
            "x": places[i],
            "reference": i == reference,
            "n": shapes[i][0],
            "d": shapes[i][1],
            "rows": matches[i].text,
            "pareto": None if front is None else title in front,
        }
        for i, title in enumerate(titles)
    ]
    return Table("checkpoints", CHECKPOINT_COLUMNS, tuple(rows))


def pareto_front(
    titles: Sequence[str], records: Sequence[Record], dimensions_differ: bool
) -> set[str] | None:
    """Checkpoints that no other beats in uniformity (lower) and tolerance (higher) at once.

    Where dimensions differ, uniformity_gap stands for uniformity.  Point values decide.

    Returns:
        The sources on the front; None where fewer than two have both numbers.
    """
    metric = "uniformity_gap" if dimensions_differ else "uniformity"
    places: dict[str, tuple[float, float]] = {}
    for title in titles:
        own = [r for r in records if r.source == title and r.value is not None]
        uniform = [r.value for r in own if r.metric == metric]
        tolerant = [r.value for r in own if r.metric == "tolerance"]
        if uniform and tolerant and uniform[0] is not None and tolerant[0] is not None:
            places[title] = (uniform[0], -tolerant[0])
    if len(places) < 2:
        return None

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        """Whether one is better in a number, beyond rounding, and no worse in the other."""
        steps = [rounding(a, b) for a, b in zip(one, other, strict=True)]
        less = [a < b - step for a, b, step in zip(one, other, steps, strict=True)]
        more = [a > b + step for a, b, step in zip(one, other, steps, strict=True)]
        return any(less) and not any(more)

    return {
        title
        for title, place in places.items()
        if not any(beats(each, place) for each in places.values())
    }
