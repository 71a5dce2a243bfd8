"""A dozen of the runs of tests/interruptions.py, and two runs at once in one folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cl_analyze.output import INDEX
from tests.forks import ROOT, Forks
from tests.interruptions import (
    SCENARIOS,
    assert_whole,
    prepare,
    run,
    stopped,
    undisturbed,
    written,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's pidfd")


@pytest.mark.parametrize("name", SCENARIOS)
def test_runs_that_are_stopped_leave_whole_files(forks, tmp_path, name):
    prepare(tmp_path)
    whole = undisturbed(forks, name)
    random = np.random.default_rng(len(name))
    assert sum(stopped(forks, name, whole, tmp_path, random, 3).values()) == 3


@pytest.mark.parametrize("name", ["--resume", "compare --cache"])
def test_two_runs_at_once_in_one_folder(forks, tmp_path, name):
    prepare(tmp_path)
    whole = undisturbed(forks, name)
    other = Forks()
    try:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda each: run(each, name, tmp_path), (forks, other)))
    finally:
        other.stop()
    assert [code for code, _ in results] == [0, 0], results
    found = written(tmp_path)
    assert_whole(found, whole, left=False)
    assert found.keys() == whole.files.keys()
    index = json.loads(found[f"out/{INDEX}"])
    assert {f"out/{path}" for path in index[SCENARIOS[name][0]]} <= found.keys()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_error_that_a_signal_became_is_no_error(cli, signum, code):
    """Libraries turn what a signal raises in their callbacks into errors of theirs."""
    program = f"""
import signal, sys
from cl_analyze.cli import app, entry

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it

def run(**rest):
    try:
        signal.raise_signal({int(signum)})
    except BaseException:
        raise ValueError("Invalid bounding box")

app.app = run
entry.main([])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == code
    assert result.stderr == "interrupted: nothing was written\n"


@pytest.mark.parametrize("moment", ["_listen_to_signals", "_let_signals_end_the_process"])
def test_a_signal_as_the_program_begins_or_ends_is_no_failed_check(moment):
    """Exit code 1 is a verdict, whenever the signal comes."""
    program = f"""
import signal
from cl_analyze.cli import app, entry

real = entry.{moment}

def interrupted(*given):
    entry.{moment} = real
    real(*given)
    signal.signal(signal.SIGTERM, entry._on_signal)
    signal.raise_signal(signal.SIGTERM)

entry.{moment} = interrupted
app.app = lambda **rest: None
entry.main([])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode in (143, -signal.SIGTERM), result
    assert result.stderr == ""
