"""From requests to a report: prepare, plan, reduce, measure, collect."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cl_analyze.analysis.collected import Collected, check_definition
from cl_analyze.analysis.cost import tell_cost
from cl_analyze.analysis.report import Report
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Listener, Recorder, Silent
from cl_analyze.inputs.memory import n_threads
from cl_analyze.inputs.names import source_names
from cl_analyze.inputs.prepare import Prepared, prepare
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.even_similarities import penalty_of_uniform_similarities
from cl_analyze.metrics.family import Family, FamilyResult, measure
from cl_analyze.metrics.quality.family import with_voters
from cl_analyze.metrics.quality.projection import require
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.cluster import dask_client
from cl_analyze.pairs.executors import Executor, SerialExecutor, ThreadExecutor, as_executor


def families(names: Iterable[str] | str) -> tuple[str, ...]:
    """Names of metric families, checked; "all" is every one.

    Raises:
        ConfigError: no such family.
    """
    listed = (names,) if isinstance(names, str) else tuple(names)
    if not listed:
        raise ConfigError(f"no metrics are asked for; there are {', '.join(METRICS)} and all")
    if listed == ("all",):
        return tuple(METRICS)
    for name in listed:
        if name not in METRICS:
            raise ConfigError(f"no metrics {name!r}; there are {', '.join(METRICS)} and all")
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
    """Measure checkpoints one after the other and put what was found into one report."""
    told = Recorder(listener or Silent())
    with executor_of(run, executor) as where:
        return _measured(requests, names, options, run, command, where, told, arguments)


def _measured(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    command: str,
    where: Executor,
    told: Recorder,
    arguments: Sequence[str],
) -> Report:
    chosen = [METRICS[name] for name in names]
    check_definition(run.definition, names)
    if "quality" in names:
        require(options.projection)
        options = with_voters(options)
    collected = Collected()
    ready = []
    for request, title in zip(requests, source_names(requests), strict=True):
        prepared = prepare(request, title, names, options, run, told)
        ready.append(prepared)
        collected.add_inputs(prepared.inputs)
    dims = {prepared.subject.source: prepared.subject.d for prepared in ready}
    if len(set(dims.values())) > 1:
        listing = ", ".join(f"{title} {d}" for title, d in dims.items())
        told.warn(
            f"dimensions differ ({listing}): compare uniformity_gap, not uniformity, between them"
        )
    if any(options.anchors_of(prepared.subject.n) is not None for prepared in ready):
        told.note(
            f"means over rows are estimated from {options.anchors} anchors against all rows; "
            "sampling: the distance to expect from the exact value, beside ±, the error over rows"
        )
    for prepared in ready:
        results = measure_one(prepared, chosen, options, run, where, told)
        collected.add(dict(zip(names, results, strict=True)), told)
        collected.add_subject(prepared.subject, options)
        prepared.subject.release()
    return collected.report(command, arguments, names, options, run, told)


def measure_one(
    prepared: Prepared,
    chosen: Sequence[Family],
    options: MetricOptions,
    run: RunOptions,
    where: Executor,
    told: Recorder,
) -> list[FamilyResult]:
    """What the families find in one checkpoint, its cost told before it starts."""
    subject = prepared.subject
    runner = PairRunner(
        subject,
        make_backend(run.device, subject.rows.dtype.type),
        where,
        prepared.room.block,
        told.progress,
        None if run.resume is None else Path(run.resume),
        prepared.fingerprint if run.resume is not None else "",
        run.save_every,
        _announcer(told, subject.source),
        told.resumed,
    )
    tell_cost(chosen, prepared, options, runner, told)
    return measure(chosen, subject, options, runner)


def _announcer(told: Recorder, source: str) -> Callable[[str], None]:
    return lambda text: told.stage(f"{source}: {text}")


def uniform_penalty(
    options: MetricOptions, run: RunOptions, arguments: Sequence[str] = ()
) -> Report:
    """The penalty without embeddings: similarities spread evenly over [-1, 1].

    Args:
        options: temperatures, seed, and how many similarities are drawn for the summaries.
        run: the one definition that is kept, where one is asked for.
        arguments: what the document says it was made by.

    Raises:
        ConfigError: no such definition.
    """
    check_definition(run.definition, ("penalty",))
    collected = Collected()
    told = Recorder(Silent())
    collected.add({"penalty": penalty_of_uniform_similarities(options)}, told)
    return collected.report("penalty", arguments, ("penalty",), options, run, told)


@contextlib.contextmanager
def executor_of(run: RunOptions, given: Any) -> Iterator[Executor]:
    """Where the work runs: what was given, a Dask cluster, threads, or here."""
    if given is not None:
        yield as_executor(given)
    elif run.scheduler is not None:
        with dask_client(run.scheduler) as client:
            yield as_executor(client)
    else:
        threads = n_threads(run)
        several = threads > 1 and run.device == "cpu"
        yield ThreadExecutor(threads) if several else SerialExecutor()
