"""Forecast of the time and memory of a long run, announced before the run starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.inputs.listener import Recorder
from cl_analyze.inputs.prepare import Prepared
from cl_analyze.lines import duration
from cl_analyze.metrics.family import Family
from cl_analyze.metrics.forecast import forecast
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.options import MetricOptions
from cl_analyze.pairs import kernels

LONG, WITHOUT_KERNELS, VERY_LONG = 5.0, 10.0, 600.0
"""Seconds above which a run is announced, kernels are missed, and `--anchors` is proposed."""


def tell_cost(
    families: Sequence[Family],
    prepared: Prepared,
    options: MetricOptions,
    runner: PairRunner,
    recorder: Recorder,
) -> None:
    """Announce the time and memory of a long run; propose `--anchors` for a very long run."""
    subject = prepared.subject
    expected = forecast(families, subject, options, runner)
    seconds = 0.0 if expected is None else expected.seconds(options)
    if expected is None or seconds < LONG:
        return
    recorder.expect(seconds, expected.n_pairs_of_all(options))
    memory = (prepared.room.needed + min(prepared.room.cached, subject.n * subject.d * 4)) / 2**20
    # what is kept is known where a pass begins, which then says so
    kept = "" if runner.resume is None else "; what --resume has kept takes no time"
    recorder.note(
        f"{subject.source}: about {duration(seconds)} for {expected.n_pairs(options):.1e} "
        f"pairs, in about {memory + BASE_MEMORY:.0f} MiB of memory{kept}"
    )
    if seconds > WITHOUT_KERNELS and runner.backend.could_be_compiled and kernels.missing():
        recorder.note(
            f"{subject.source}: compiled kernels would take about half the time, and there are "
            f"none ({kernels.missing()}); with a C compiler at hand, run: {kernels.REMEDY}"
        )
    if seconds > VERY_LONG and options.anchors_of(subject.n) is None:
        anchors = min(PROPOSED_ANCHORS, subject.n // 2)
        shorter = expected.seconds(replace(options, anchors=anchors))
        recorder.note(
            f"{subject.source}: --anchors {anchors} would take about {duration(shorter)}, and "
            "give estimates: the sampling_error of a mean over rows is then about "
            f"{100 / anchors**0.5:.0f}% of the spread between rows"
        )


BASE_MEMORY = 100
PROPOSED_ANCHORS = 2_000
