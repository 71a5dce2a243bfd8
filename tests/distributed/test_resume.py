"""A run that is killed goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Silent
from cl_analyze.pairs.saved import SavedPass
from cl_analyze.store import fingerprint
from tests.conftest import ROOT
from tests.distributed.test_executors import content, files, report  # noqa: F401

KILLED = """
import os, signal, sys
from pathlib import Path
from cl_analyze.inputs.listener import Silent
from tests.distributed.test_executors import report

class Dies(Silent):
    left = int(sys.argv[3])
    def progress(self, done, total):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

report(Path(sys.argv[1]), listener=Dies(), resume=sys.argv[2], save_every=0.0, threads=2)
"""


class Counts(Silent):
    def __init__(self):
        self.units = 0

    def progress(self, done, total):
        self.units += 1


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_continues_with_the_same_bytes(files, seed):  # noqa: F811
    whole = Counts()
    expected = content(report(files, listener=whole))
    survived = int(np.random.default_rng(seed).integers(2, whole.units - 1))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(files), str(files / "states"), str(survived)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    rest = Counts()
    found = report(files, listener=rest, resume=str(files / "states"))
    assert content(found) == expected
    assert rest.units == whole.units - survived
    again = Counts()
    assert content(report(files, listener=again, resume=str(files / "states"))) == expected
    assert again.units == 0


def test_states_of_other_inputs_or_options_are_not_taken(files):  # noqa: F811
    states = str(files / "states")
    first = Counts()
    report(files, listener=first, resume=states)
    for change in ({"precision": "float64"}, {"block": 40}, {"anchors": 300}):
        other = Counts()
        assert content(report(files, listener=other, resume=states, **change)) == content(
            report(files, **change)
        )
        assert other.units > 0
    rows = np.load(files / "emb.npy")
    rows[0, 0] += 1.0
    np.save(files / "emb.npy", rows)
    changed = Counts()
    report(files, listener=changed, resume=states)
    assert changed.units == first.units


def test_a_damaged_state_is_an_error(files):  # noqa: F811
    states = files / "states"
    report(files, resume=str(states))
    damaged = sorted(states.iterdir())[0]
    whole = damaged.read_bytes()
    for damage in (whole[:-100], b"", b"\x93NUMPY", b"hello"):
        damaged.write_bytes(damage)
        with pytest.raises(ConfigError, match="delete it to compute its pass again"):
            report(files, resume=str(states))


def test_a_folder_that_cannot_be_made(files):  # noqa: F811
    (files / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--resume .*file"):
        report(files, resume=str(files / "file"))


def test_states_are_saved_now_and_then_and_at_the_end(tmp_path):
    saved = SavedPass(tmp_path, fingerprint(1), every=1e9)
    states = [[np.arange(3.0), np.arange(2.0)]]
    saved.save(1, states, finished=False)
    assert not list(tmp_path.iterdir())
    saved.save(2, states, finished=True)
    n_units, kept = saved.load(states)
    assert n_units == 2
    assert [part.tolist() for part in kept[0]] == [[0, 1, 2], [0, 1]]


def test_fingerprints_tell_arrays_apart():
    a = np.arange(6.0)
    assert fingerprint(a) == fingerprint(a.copy())
    assert len({fingerprint(x) for x in (a, a.reshape(2, 3), a.astype(np.float32), a + 1)}) == 4
