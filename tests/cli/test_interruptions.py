"""A dozen of the runs of tests/interruptions.py, and two runs at once in one folder."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cl_analyze.output import INDEX
from tests.forks import Forks
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
