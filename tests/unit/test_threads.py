"""Threads of a pass: results in order, errors where they are wanted, an end after any Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cl_analyze.pairs.threads import Threads
from tests.conftest import ROOT

INTERRUPTED = """
import os, signal, sys, time
from cl_analyze.pairs.executors import ThreadExecutor
from tests.forks import SECONDS

first, step = int(sys.argv[1]), int(sys.argv[2])

class Job:
    def run(self, unit):
        time.sleep(0.001)
        return unit

def attempt(at):
    "Whether the exception was raised, before step `at` of the main thread."
    steps = 0

    def tracer(frame, event, argument):
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return tracer

    sys.settrace(tracer)
    try:
        list(ThreadExecutor(2).run(Job(), range(6)))
    except (KeyboardInterrupt, RuntimeError):  # threading makes the one of the other
        return True
    finally:
        sys.settrace(None)
    return False

for _ in range(2):  # the first imports modules, so the second looks for libraries once more
    list(ThreadExecutor(2).run(Job(), range(6)))
at, hung, running = first, [], {}
is_over = False
while running or not is_over:
    if not is_over and len(running) < 4:
        pid = os.fork()
        if not pid:
            signal.alarm(SECONDS)  # ends a fork that hangs
            os._exit(0 if attempt(at) else 3)
        running[pid] = at
        at += step
        continue
    pid, status = os.waitpid(-1, 0)
    its, code = running.pop(pid), os.waitstatus_to_exitcode(status)
    assert code in (0, 3, -signal.SIGALRM), code
    if code == -signal.SIGALRM:
        hung.append(its)
    is_over = is_over or code != 0
print(at, hung)
"""


def test_results_come_in_order_and_few_items_are_taken_ahead():
    taken = []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    def slow_at_first(item):
        time.sleep(0.02 if item < 3 else 0.0)
        return -item

    with Threads(3) as threads:
        results = threads.map(slow_at_first, items(), n_ahead=4)
        assert next(results) == 0
        assert len(taken) == 4
        assert list(results) == [-item for item in range(1, 20)]
        assert list(threads.map(str, [], n_ahead=4)) == []


def test_an_error_is_raised_where_its_result_is_wanted():
    def refuse(item):
        if item == 2:
            raise ValueError("two")
        return item

    with Threads(2) as threads:
        results = threads.map(refuse, range(50), n_ahead=3)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)
        assert list(threads.map(refuse, [7, 8], n_ahead=2)) == [7, 8], "the threads go on"


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_pass_ends_wherever_it_is_interrupted():
    """Before each third step of the main thread; in the pools of concurrent.futures some hang."""
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "1", "3"], capture_output=True, text=True, cwd=ROOT
    )
    assert process.returncode == 0, process.stderr
    steps, hung = process.stdout.split(maxsplit=1)
    assert hung.strip() == "[]", hung
    assert int(steps) > 1_000
