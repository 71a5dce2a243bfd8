"""Memory, block sizes and forecasts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.analysis.run import run_analysis
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Silent
from cl_analyze.inputs.memory import room
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.pairs import kernels
from tests.conftest import ROOT

PEAK = """
import sys
from cl_analyze.cli.entry import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
for line in open("/proc/self/status"):  # (ru_maxrss would count the parent's pages too)
    if line.startswith("VmHWM:"):
        print(int(line.split()[1]) // 1024, file=sys.stderr)
"""


def peak(folder, n_rows, dim, *arguments):
    """Peak resident MiB of a run on a file of that shape."""
    path = folder / f"{n_rows}x{dim}.npy"
    random = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, dim))
    for start in range(0, n_rows, 5000):
        stop = min(start + 5000, n_rows)
        file[start:stop] = random.standard_normal((stop - start, dim), dtype=np.float32)
    del file
    result = subprocess.run(
        [sys.executable, "-c", PEAK, "uniformity", str(path), "--no-files", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stderr.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_peak_memory_does_not_grow_with_the_file(tmp_path):
    # 117 MiB of values; one run visits every row, as anchors' columns
    assert peak(tmp_path, 60_000, 512, "--threads", "2", "--anchors", "512") < 330
    # 293 MiB of values, more than what is kept
    assert peak(tmp_path, 150_000, 512, "--threads", "2", "--anchors", "256") < 330


def test_the_budget_sets_the_block():
    def block(memory):
        run = RunOptions(memory=memory, threads=2)
        return room(run, 50_000, 256, np.float32, MetricOptions(), ("penalty",), "x").block

    assert block(2 << 30) == 1024
    smaller = [block(m << 20) for m in (260, 200, 170, 155)]
    assert smaller == sorted(smaller, reverse=True)
    assert smaller[-1] < 512


def test_a_budget_that_is_too_small_names_what_would_do():
    with pytest.raises(
        ConfigError, match=r"need about .* MiB, the budget is 20 MiB; pass --memory"
    ) as caught:
        room(
            RunOptions(memory=20 << 20, threads=2),
            1_000_000,
            256,
            np.float32,
            MetricOptions(),
            ("penalty",),
            "x",
        )
    assert "--anchors" in str(caught.value)
    wanted = int(str(caught.value).split("--memory ")[1].split("MiB")[0])
    fits = room(
        RunOptions(memory=wanted << 20, threads=2),
        1_000_000,
        256,
        np.float32,
        MetricOptions(),
        ("penalty",),
        "x",
    )
    assert fits.needed <= wanted << 20


class Notes(Silent):
    def __init__(self):
        self.notes, self.expected, self.kept = [], 0.0, 0

    def note(self, text):
        self.notes.append(text)

    def expect(self, seconds, n_pairs):
        self.expected = n_pairs

    def resumed(self, done, total):
        self.kept += done


def heard(monkeypatch, rows, long, very_long, resume=None, **options):
    monkeypatch.setattr("cl_analyze.analysis.cost.LONG", long)
    monkeypatch.setattr("cl_analyze.analysis.cost.VERY_LONG", very_long)
    listener = Notes()
    run_analysis(
        [Request(rows, source="x")],
        ("uniformity", "penalty"),
        MetricOptions(taus=[0.1], **options),
        RunOptions(block=64, resume=resume),
        "report",
        listener=listener,
    )
    return listener


def notes_of(monkeypatch, rows, long, very_long, **options):
    return heard(monkeypatch, rows, long, very_long, **options).notes


def test_long_runs_are_announced(monkeypatch, random):
    rows = random.standard_normal((1000, 8))
    (note,) = notes_of(monkeypatch, rows, 0.0, 1e9)
    assert note.startswith("x: about ")
    assert "for 5.0e+05 pairs, in about" in note
    _, way_out = notes_of(monkeypatch, rows, 0.0, 0.0)
    assert "--anchors 500 would take about" in way_out
    assert "about 4% of the spread between rows" in way_out
    assert not notes_of(monkeypatch, rows, 1e9, 1e9)
    meaning, note = notes_of(monkeypatch, rows, 0.0, 0.0, anchors=100)
    assert "for 1.0e+05 pairs" in note
    assert meaning.startswith("means over rows are estimated from 100 anchors")


def test_a_forecast_counts_the_pairs_that_a_resumed_run_keeps(monkeypatch, random, tmp_path):
    rows = random.standard_normal((1000, 8))
    first = heard(monkeypatch, rows, 0.0, 1e9, resume=tmp_path)
    assert first.notes[0].endswith("MiB of memory; what --resume has kept takes no time")
    again = heard(monkeypatch, rows, 0.0, 1e9, resume=tmp_path)
    assert first.kept == 0
    assert again.kept == pytest.approx(again.expected, rel=0.3)


def test_a_long_run_without_kernels_says_what_is_missing(monkeypatch, random):
    rows = random.standard_normal((1000, 8)).astype(np.float32)
    monkeypatch.setattr("cl_analyze.analysis.cost.WITHOUT_KERNELS", 0.0)
    monkeypatch.setattr(kernels, "loaded_for", lambda wanted: None)
    monkeypatch.setattr(kernels, "missing", lambda: "no compiler at build time")
    _, note = notes_of(monkeypatch, rows, 0.0, 1e9)
    assert "there are none (no compiler at build time)" in note
    assert note.endswith("run: python -m cl_analyze.pairs.kernels")
    monkeypatch.setattr(kernels, "missing", lambda: "")  # switched off: nothing is missing
    assert len(notes_of(monkeypatch, rows, 0.0, 1e9)) == 1


def test_a_forecast_changes_no_number(monkeypatch, random):
    rows = random.standard_normal((1000, 8))
    before = cla.analyze(rows, taus=[0.1], run=RunOptions(block=64)).records
    monkeypatch.setattr("cl_analyze.metrics.forecast.SMALL", 10**9)
    without = cla.analyze(rows, taus=[0.1], run=RunOptions(block=64)).records
    assert [r.to_dict() for r in before] == [r.to_dict() for r in without]


def test_given_back_pages_read_the_same_again(tmp_path, random):
    from cl_analyze.data.opening import Spec, open_embeddings

    rows = random.standard_normal((3000, 64)).astype(np.float32)
    np.save(tmp_path / "emb.npy", rows)
    array = open_embeddings(Spec(str(tmp_path / "emb.npy"))).main.array
    for _ in range(2):
        np.testing.assert_array_equal(array.read(10, 2000), rows[10:2000])
        array.give_back()
        np.testing.assert_array_equal(array.take(np.array([5, 2999])), rows[[5, 2999]])
        array.give_back()
