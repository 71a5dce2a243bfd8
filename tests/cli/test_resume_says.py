"""A resumed run says that it goes on, and its rate leaves out what was done before."""

from __future__ import annotations

import io

import numpy as np

from cl_analyze.cli.terminal import Talk


def test_a_resumed_run_says_from_where(cli):
    np.save(cli.folder / "e.npy", np.random.default_rng(0).standard_normal((3000, 8)))
    arguments = ("uniformity", "e.npy", "--no-files", "--json", "--resume", "states")
    first = cli(*arguments)
    again = cli(*arguments)
    assert "goes on from" not in first.stderr
    assert "goes on from 100%, which --resume has kept" in again.stderr
    assert first.stdout.split('"results"')[1] == again.stdout.split('"results"')[1]


def test_the_rate_is_that_of_this_run(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("cl_analyze.cli.terminal.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    talk = Talk(stream=stream)
    talk.stage("pairs")
    talk.resumed(800, 1000)
    now[0] += 10.0
    talk.progress(900, 1000)
    assert "goes on from 80%" in stream.getvalue()
    assert "90%  10 pairs/s  10 s left" in stream.getvalue()
