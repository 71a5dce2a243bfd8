"""The benchmarks, run tiny: what they time is what they say."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench import formats, gates, speed
from cl_analyze.data.opening import Spec, open_embeddings
from tests.conftest import ROOT


def test_top10_is_the_exact_top10():
    rows, _ = speed.embeddings(300, 12)
    found = speed.top10_of_every_row(rows)
    s = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(s, -np.inf)
    expected = np.argsort(-s, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(found.indices, expected)


def test_contenders_and_ratios(monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "N_THREADS", 1)
    rows, labels = speed.embeddings(120, 8)
    seconds = speed.measure(
        {
            "floor": lambda: speed.floor(rows, 2),
            "everything": lambda: speed.everything(rows, labels),
        },
        rounds=2,
    )
    assert {name: len(taken) for name, taken in seconds.items()} == {"floor": 2, "everything": 2}
    assert all(one > 0 for taken in seconds.values() for one in taken)
    assert len(speed.cases(tmp_path)) == 6


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="revisions are read from a repository")
def test_the_code_for_two_revisions_runs_on_this_one(monkeypatch, tmp_path):
    small = speed._SECOND_PASS.replace("n = 10_000", "n = 300")
    monkeypatch.setattr(speed, "_BEFORE", "HEAD")
    contenders = speed.against_before(tmp_path, small)
    assert all(contender() > 0 for contender in contenders.values())


def test_the_gpu_check_runs_on_the_cpu_too():
    pytest.importorskip("torch")
    script = ROOT / "bench" / "gpu.py"
    command = [sys.executable, script, "--device", "cpu", "--rows", "300", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all within" in done.stdout
    assert done.stdout.count("everything") == 1


def test_the_figure_of_growth_has_every_line(tmp_path):
    pytest.importorskip("torch")
    script, path = ROOT / "bench" / "growth.py", tmp_path / "growth.png"
    command = [sys.executable, script, path, "--most-rows", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1,000 ") == 3
    assert path.read_bytes().startswith(b"\x89PNG")


def test_gates_raise_few_false_alarms_and_see_real_drops():
    """The documented simulation, small: at 5%, ten of 60 have a chance of one in a thousand."""
    alone = gates.rates(gates.RULES[:2], 100, 60, False, 3)
    paired = gates.rates(gates.RULES[:2], 100, 60, True, 3)
    assert max(*alone, *paired) <= 9 / 60
    rule = gates.Rule("tolerance", max_drop=0.05)
    (seen,) = gates.rates([rule], 100, 10, True, 3, worse=1.5)
    assert seen == 1.0


def test_faiss_finds_the_same_rows():
    pytest.importorskip("faiss")
    rows, _ = speed.embeddings(300, 12)
    _, theirs = speed.faiss_top11(rows)
    ours = speed.top10_of_every_row(rows).indices
    np.testing.assert_array_equal(np.sort(theirs[:, 1:], axis=1), np.sort(ours, axis=1))


@pytest.mark.parametrize(
    ("name", "options", "sides"),
    [
        ("losses", ["--rows", "60"], ("ours", "dense")),
        ("quality", ["--rows", "260", "--dim", "8", "--classes", "3"], ("ours", "notebook")),
    ],
)
def test_benchmarks_against_a_peer_run(name, options, sides):
    pytest.importorskip("torch")
    result = subprocess.run(
        [sys.executable, str(ROOT / "bench" / f"{name}.py"), *options],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*sides, "ratio"]
    assert all(float(text) > 0 for text in lines[2].split()[1:])


def test_the_report_is_cut_into_phases(few, tmp_path):
    code = (
        "import sys; from pathlib import Path; from bench import report\n"
        "report.SAMPLES = [Path(sys.argv[1])]\n"
        "for phase, seconds in report.phases(Path(sys.argv[2])).items(): print(seconds, phase)"
    )
    command = [sys.executable, "-c", code, str(few), str(tmp_path / "out")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = {
        phase: float(number)
        for number, phase in (line.split(maxsplit=1) for line in result.stdout.splitlines())
    }
    assert (tmp_path / "out" / "report.html").is_file()
    assert {"drawing", "linear probes", "losses: error bars", "page", "imports"} <= seconds.keys()
    assert min(seconds.values()) >= 0.0
    assert seconds["drawing"] > seconds["JSON"]


def test_the_benchmark_of_formats_reads_what_it_wrote(tmp_path):
    pytest.importorskip("torch")
    rows = np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32)
    for name, write in formats.WRITERS.items():
        write(rows, tmp_path / name)
        assert formats.read(tmp_path / name) > 0
        found = open_embeddings(Spec(str(tmp_path / name))).main.array
        np.testing.assert_array_equal(found.read(0, 600), rows)
    command = [sys.executable, "bench/formats.py", "--read", str(tmp_path / "array.npy")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(float(word) > 0 for word in result.stdout.split())
