"""What a long run will take, told before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.inputs.listener import Recorder
from cl_analyze.inputs.prepare import Prepared
from cl_analyze.metrics.family import Family
from cl_analyze.metrics.forecast import forecast
from cl_analyze.metrics.runner import PairRunner
from cl_analyze.options import MetricOptions

LONG, VERY_LONG = 5.0, 600.0
"""Seconds above which a run is announced, and above which an estimate is proposed."""


def tell_cost(
    chosen: Sequence[Family],
    prepared: Prepared,
    options: MetricOptions,
    runner: PairRunner,
    told: Recorder,
) -> None:
    """Say what a long run will take before it starts."""
    subject = prepared.subject
    expected = forecast(chosen, subject, options, runner)
    seconds = 0.0 if expected is None else expected.seconds(options)
    if expected is None or seconds < LONG:
        return
    memory = (prepared.room.needed + min(prepared.room.cached, subject.n * subject.d * 4)) / 2**20
    told.note(
        f"{subject.source}: about {_duration(seconds)} for {expected.n_pairs(options):.1e} "
        f"pairs, in about {memory + BASE_MEMORY:.0f} MiB of memory"
    )
    if seconds > VERY_LONG and options.anchors_of(subject.n) is None:
        anchors = min(PROPOSED_ANCHORS, subject.n // 2)
        less = expected.seconds(replace(options, anchors=anchors))
        told.note(
            f"{subject.source}: --anchors {anchors} would take about {_duration(less)}, and give "
            "estimates: a mean over rows is then known to about "
            f"{100 / anchors**0.5:.0f}% of the spread between rows (its sampling_error)"
        )


BASE_MEMORY = 100
PROPOSED_ANCHORS = 2_000


def _duration(seconds: float) -> str:
    """A time in words.

    >>> _duration(42), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
