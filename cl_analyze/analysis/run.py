"""From requests to a report: prepare, plan, reduce, measure, collect."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.analysis.collected import Collected, check_definition
from cl_analyze.analysis.cost import tell_cost
from cl_analyze.analysis.report import Report
from cl_analyze.data.memory import free_memory
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Recorder, Silent
from cl_analyze.inputs.memory import n_threads, threads_of_each
from cl_analyze.inputs.names import originals_of, source_names
from cl_analyze.inputs.prepare import Prepared, prepare
from cl_analyze.inputs.variants import with_variants
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.even_similarities import penalty_of_uniform_similarities
from cl_analyze.metrics.family import Family, FamilyResult, measure
from cl_analyze.metrics.quality.family import with_voters
from cl_analyze.metrics.quality.projection import require
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.cluster import dask_client
from cl_analyze.pairs.devices import DevicesExecutor, named_devices
from cl_analyze.pairs.executors import Executor, SerialExecutor, ThreadExecutor, as_executor
from cl_analyze.processes import Send, can_fork, in_processes

MOST_OF_A_GROUP = 64
"""Rows of a group up to which lists of neighbours reach past all of them."""
FEW_ROWS = 6_000
"""Rows up to which checkpoints are measured at the same time, each in a process."""


def families(names: Iterable[str] | str) -> tuple[str, ...]:
    """Check names of metric families; "all" stands for every family.

    Raises:
        ConfigError: a name is not a metric family, or there are no names.
    """
    listed = (names,) if isinstance(names, str) else tuple(names)
    if not listed:
        raise ConfigError(f"no metrics are asked for; there are {', '.join(METRICS)} and all")
    if listed == ("all",):
        return tuple(METRICS)
    for name in listed:
        if name not in METRICS:
            of = next((each for each, family in METRICS.items() if name in family.definitions), "")
            hint = f": it is one of {of!r}" if of else ""
            raise ConfigError(f"no metrics {name!r}{hint}; there are {', '.join(METRICS)} and all")
    return tuple(dict.fromkeys(listed))


def run_analysis(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    command: str,
    executor: Any = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Report:
    """Compute metrics of checkpoints, one after the other, and collect the results in a report."""
    recorder = Recorder(listener or Silent())
    requests = with_variants(requests)
    if command == "report" and len(requests) > 1:  # the best is compared with the others
        requests = [replace(request, match="where possible") for request in requests]
    with executor_of(run, executor) as workers:
        return _measured(requests, names, options, run, command, workers, recorder, arguments)


def _measured(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    command: str,
    executor: Executor,
    recorder: Recorder,
    arguments: Sequence[str],
) -> Report:
    chosen_families = [METRICS[name] for name in names]
    check_definition(run.definition, names)
    if "quality" in names:
        require(options.projection)
        options = with_voters(options)
    collected = Collected()
    all_prepared = []
    titles = source_names(requests)
    originals = originals_of(requests, titles)
    for request, title, original in zip(requests, titles, originals, strict=True):
        prepared = prepare(request, title, names, options, run, recorder, original)
        all_prepared.append(prepared)
        collected.add_inputs(prepared.inputs)
    options = with_room_for_groups(options, [prepared.subject for prepared in all_prepared])
    subjects = [prepared.subject for prepared in all_prepared]
    dims = {subject.source: subject.d for subject in subjects if subject.variant is None}
    if len(set(dims.values())) > 1:
        listing = ", ".join(f"{title} {d}" for title, d in dims.items())
        recorder.warn(
            f"dimensions differ ({listing}): compare uniformity_gap, not uniformity, between them"
        )
    elif any(subject.d != dims[subject.original] for subject in subjects):
        recorder.note(
            "variants have fewer dimensions: compare uniformity_gap, not uniformity, between them"
        )
    if any(options.anchors_of(prepared.subject.n) is not None for prepared in all_prepared):
        recorder.note(
            f"means over rows are estimated from {options.anchors} anchors against all rows; "
            "sampling: the distance to expect from the exact value; ±: the standard error over rows"
        )
    recorder.checkpoint(0, len(all_prepared))
    measured = _measure_all(all_prepared, chosen_families, options, run, executor, recorder)
    for done, (prepared, results) in enumerate(zip(all_prepared, measured, strict=True), 1):
        collected.add(dict(zip(names, results, strict=True)), recorder)
        collected.add_subject(prepared.subject, options)
        prepared.subject.release()
        recorder.checkpoint(done, len(all_prepared))
    return collected.report(command, arguments, names, options, run, recorder)


def with_room_for_groups(options: MetricOptions, subjects: Iterable[Subject]) -> MetricOptions:
    """Options with lists of neighbours that reach past a deleted group, for the error bars."""
    sizes = [
        int(np.unique(subject.groups, return_counts=True)[1].max())
        for subject in subjects
        if subject.groups is not None
    ]
    if not sizes:
        return options
    wanted = options.top_k + min(max(sizes), MOST_OF_A_GROUP)
    return replace(options, n_voters=max(options.n_voters, wanted))


def _measure_all(
    all_prepared: Sequence[Prepared],
    chosen_families: Sequence[Family],
    options: MetricOptions,
    run: RunOptions,
    executor: Executor,
    recorder: Recorder,
) -> Iterator[list[FamilyResult]]:
    """Measure the checkpoints: one after the other, or several at a time in processes."""
    n_processes = _n_processes(all_prepared, run, executor)
    if n_processes < 2:
        for prepared in all_prepared:
            yield measure_one(prepared, chosen_families, options, run, executor, recorder)
        return

    def measure(prepared: Prepared, send: Send) -> tuple[list[FamilyResult], _Messages]:
        messages = _Messages()
        own = Recorder(messages)
        results = measure_one(prepared, chosen_families, options, run, SerialExecutor(), own)
        return results, messages

    recorder.stage(f"measuring {n_processes} checkpoints at a time")
    for results, messages in in_processes(measure, all_prepared, n_processes):
        messages.replay(recorder)
        yield results


def _n_processes(all_prepared: Sequence[Prepared], run: RunOptions, executor: Executor) -> int:
    """Number of checkpoints that are measured at the same time, each in a process; else 1.

    Of few rows the interpreter does as much as the kernels, so that threads wait for each other.
    It must keep all threads busy, and the memory must suffice.
    """
    n = executor.n_at_once
    if not isinstance(executor, ThreadExecutor) or run.device != "cpu" or len(all_prepared) < n:
        return 1
    for prepared in all_prepared:
        subject = prepared.subject
        others = [subject.queue, subject.partners, *([subject.train.rows] if subject.train else [])]
        n_rows = max(subject.n, *(rows.n_rows for rows in others if rows is not None), 0)
        needed = prepared.room.needed + 24 * n_rows * subject.d
        budget = free_memory() // 4 if run.memory is None else run.memory
        if n_rows > FEW_ROWS or n * needed > budget:
            return 1
    return n if can_fork() else 1


class _Messages(Silent):
    """Keeps the notes and warnings of a checkpoint, to be shown in the order of the checkpoints."""

    def __init__(self) -> None:
        self._messages: list[tuple[bool, str]] = []

    def note(self, text: str) -> None:
        self._messages.append((False, text))

    def warn(self, text: str) -> None:
        self._messages.append((True, text))

    def replay(self, recorder: Recorder) -> None:
        """Pass the messages on."""
        for is_warning, text in self._messages:
            (recorder.warn if is_warning else recorder.note)(text)


def measure_one(
    prepared: Prepared,
    chosen_families: Sequence[Family],
    options: MetricOptions,
    run: RunOptions,
    executor: Executor,
    recorder: Recorder,
) -> list[FamilyResult]:
    """Compute metric families for one checkpoint; announce the cost of a long run first."""
    subject = prepared.subject
    backend = make_backend(
        named_devices(run.device)[0],
        subject.rows.dtype.type,
        kept_bytes=prepared.room.kept_on_device,
    )
    runner = PairRunner(
        subject,
        backend,
        executor,
        prepared.room.block,
        recorder.progress,
        None if run.resume is None else Path(run.resume),
        prepared.fingerprint if run.resume is not None else "",
        run.save_every,
        _announcer(recorder, subject.source),
        recorder.resumed,
    )
    tell_cost(chosen_families, prepared, options, runner, recorder)
    try:
        results = measure(chosen_families, subject, options, runner)
    finally:
        backend.release()
    if backend.shortage:
        recorder.note(
            f"{subject.source}: the memory of {run.device} was full, so tiles of "
            f"{prepared.room.block} rows were computed {backend.shortage}"
        )
    return results


def _announcer(recorder: Recorder, source: str) -> Callable[[str], None]:
    return lambda text: recorder.stage(text, source)


def uniform_penalty(
    options: MetricOptions, run: RunOptions, arguments: Sequence[str] = ()
) -> Report:
    """The penalty without embeddings, for similarities spread evenly over [-1, 1].

    Args:
        options: temperatures, seed, and the number of similarities.
        run: `definition` is the only definition to keep; None: all definitions.
        arguments: the command line that the document records.

    Raises:
        ConfigError: no metric of the penalty family has the definition.
    """
    check_definition(run.definition, ("penalty",))
    collected = Collected()
    recorder = Recorder(Silent())
    collected.add({"penalty": penalty_of_uniform_similarities(options)}, recorder)
    return collected.report("penalty", arguments, ("penalty",), options, run, recorder)


@contextlib.contextmanager
def executor_of(run: RunOptions, executor: Any) -> Iterator[Executor]:
    """The executor of a run: `executor`, a Dask cluster, devices, threads, or this thread."""
    devices = named_devices(run.device)
    threads = n_threads(run)
    if len(devices) > 1 and (executor is not None or run.scheduler is not None):
        raise ConfigError(
            f"--device {run.device} has processes of its own: leave --scheduler or executor "
            "out, or name one device"
        )
    if executor is not None:
        yield as_executor(executor)
    elif run.scheduler is not None:
        with dask_client(run.scheduler) as client:
            yield as_executor(client)
    elif len(devices) > 1:
        with DevicesExecutor(devices, threads_of_each(run)) as of_devices:
            yield of_devices
    else:
        several = threads > 1 and not run.device.startswith("mps")
        yield ThreadExecutor(threads) if several else SerialExecutor()
