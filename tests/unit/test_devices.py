"""Several devices: a process for each.  Here torch's CPU stands in for every GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.analysis.run import run_analysis
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.errors import AnalysisError, ConfigError
from cl_analyze.inputs import memory
from cl_analyze.inputs.listener import Silent
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.devices import DevicesExecutor, named_devices
from cl_analyze.pairs.engine import reduce_pairs
from cl_analyze.pairs.executors import ThreadExecutor
from cl_analyze.pairs.plan import rectangular_plan, symmetric_plan
from cl_analyze.pairs.positive_ranks import PositiveRanks
from tests.conftest import ROOT
from tests.reducer_cases import arrays, configurations, embeddings, is_rectangular_only, source

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="connections are handed over")


@pytest.fixture(scope="module")
def two_devices():
    with DevicesExecutor(["cpu", "cpu"], 2) as executor:
        yield executor


def test_two_devices_give_the_bytes_of_one(two_devices):
    """Of every reducer, and again of another pass in the same processes."""
    rows, labels = embeddings(5, 60)
    backend = make_backend("cpu", np.float32, use_torch=True)
    for plan in (symmetric_plan(60, 15), rectangular_plan(60, 60, 12)):
        assert len(list(plan.units())) > 4
        wanted = [
            r
            for r in configurations(rows, labels)
            if not (plan.symmetric and is_rectangular_only(r))
        ]
        given = source(rows, labels, np.float32)
        one = reduce_pairs(wanted, given, plan, backend)
        many = reduce_pairs(wanted, given, plan, backend, two_devices)
        for reducer in wanted:
            for a, b in zip(arrays(one[reducer]), arrays(many[reducer]), strict=True):
                assert a.tobytes() == b.tobytes(), reducer
    assert len(two_devices._processes) == 2


def test_rows_are_read_from_their_file_by_every_process(two_devices, tmp_path):

    rows = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", rows)
    options = RunOptions(device="cpu", block=16)
    report = cla.analyze(tmp_path / "x.npy", metrics=["uniformity"], run=options)
    again = cla.analyze(
        tmp_path / "x.npy", metrics=["uniformity"], run=options, executor=two_devices
    )
    assert [r.value for r in report.records] == [r.value for r in again.records]


@dataclass(frozen=True)
class Nothing:
    """A job whose units do what they say."""

    backend: Any

    def run(self, unit: Any) -> Any:
        if unit == "fail":
            raise ConfigError("this unit fails")
        if unit == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit == "exit":
            raise SystemExit
        if isinstance(unit, bytes):
            return unit * 10
        if unit == "full":
            self.backend.make_room("it is full", 512, self.backend.n_shortages)
        return unit, os.getpid()


@pytest.fixture
def some_job():
    return Nothing(make_backend("cpu", np.float32, use_torch=True))


def test_results_come_in_order_from_both_processes(two_devices, some_job):
    found = list(two_devices.run(some_job, range(60)))
    assert [unit for unit, _ in found] == list(range(60))
    processes = {process for _, process in found}
    assert os.getpid() not in processes
    assert len(processes) == 2
    assert list(two_devices.run(some_job, [])) == []


def test_an_error_of_a_unit_is_raised_here_and_the_next_pass_works(two_devices, some_job):
    with pytest.raises(ConfigError, match="this unit fails"):
        list(two_devices.run(some_job, [1, 2, "fail", 4]))
    assert [unit for unit, _ in two_devices.run(some_job, [1, 2])] == [1, 2]


@pytest.mark.parametrize(("how", "code"), [("die", "-9"), ("exit", "1")])
def test_a_process_that_dies_is_told_of(two_devices, some_job, how, code):
    """Also where one of its threads alone would end, and its answer never come."""
    with pytest.raises(AnalysisError, match=rf"the process of cpu ended \(exit code {code}\)"):
        list(two_devices.run(some_job, [1, how, 2]))
    assert [unit for unit, _ in two_devices.run(some_job, [1, 2])] == [1, 2]


def test_large_units_and_large_results_pass_each_other(two_devices, some_job):
    """Neither side waits for the other to read: both are larger than a pipe."""
    units = [bytes([number]) * (1 << 20) for number in range(12)]
    for unit, result in zip(units, two_devices.run(some_job, units), strict=True):
        assert result == unit * 10


def test_a_pass_that_was_left_gives_nothing_to_the_next(two_devices, some_job):
    left = two_devices.run(some_job, [f"left {number}" for number in range(20)])
    assert next(left)[0] == "left 0"
    assert [unit for unit, _ in two_devices.run(some_job, range(20))] == list(range(20))
    left.close()  # which must not end the processes of the next pass
    assert [unit for unit, _ in two_devices.run(some_job, range(5))] == list(range(5))


def test_a_device_that_was_full_is_told_of_here(two_devices, some_job):
    list(two_devices.run(some_job, ["full"]))
    assert some_job.backend.shortage == "in parts of at most 256 rows"


def test_a_caller_that_stops_early_leaves_no_process(some_job):
    with DevicesExecutor(["cpu"], 2) as executor:
        results = executor.run(some_job, range(50))
        _, process = next(results)
        results.close()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_job_without_a_device_runs_here(two_devices):
    rows = np.random.default_rng(0).normal(size=(30, 4))
    unit = UnitRows(RowArray.of(rows), np.float64, 1 << 20)
    from cl_analyze.pairs.engine import LeftOut

    job = PositiveRanks(
        unit, unit, np.arange(31), np.full(30, 0.5), LeftOut.one_each(np.arange(30))
    )
    spans = [(0, 10), (10, 30)]
    here = list(ThreadExecutor(1).run(job, spans))
    there = list(two_devices.run(job, spans))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a.above, b.above)


def test_the_names_of_devices():
    assert named_devices("cuda") == ("cuda",)
    assert named_devices("cuda:1, cuda:0") == ("cuda:1", "cuda:0")
    with mock.patch.object(torch.cuda, "device_count", return_value=3):
        assert named_devices("cuda:all") == ("cuda:0", "cuda:1", "cuda:2")
    with pytest.raises(ConfigError, match="twice"):
        named_devices("cuda:0,cuda:0")
    for wrong in (
        "cuda:0,cpu",
        "cuda,cuda:1",
        "cuda:",
        "cuda:-1",
        "cuda:00",
        "CUDA",
        "tpu",
        "",
        ",",
    ):
        with pytest.raises(ConfigError, match=f"several such as cuda:0,cuda:1, .*found '{wrong}'"):
            named_devices(wrong)


def test_devices_have_processes_of_their_own():
    for run in ({"executor": ThreadExecutor(1)}, {"scheduler": "tcp://127.0.0.1:1"}):
        executor = run.pop("executor", None)
        asked = RunOptions(device="cuda:0,cuda:1", **run)
        with pytest.raises(ConfigError, match="leave --scheduler or executor out"):
            cla.analyze(np.eye(4), run=asked, executor=executor)


@pytest.fixture
def two_gpus():
    """What torch would say of two GPUs with 8 GiB free."""
    with (
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "device_count", return_value=2),
        mock.patch.object(torch.cuda, "mem_get_info", return_value=(8 << 30, 16 << 30)),
        mock.patch.object(torch.cuda, "memory_reserved", return_value=0),
        mock.patch.object(torch.cuda, "memory_allocated", return_value=0),
        mock.patch.object(torch.cuda, "get_device_name", return_value="a card"),
    ):
        yield


@pytest.mark.usefixtures("two_gpus")
def test_devices_must_be_there_and_of_one_model():
    with pytest.raises(ConfigError, match=r"cuda:2: torch finds cuda:0 to cuda:1"):
        DevicesExecutor(["cuda:0", "cuda:2"], 4)
    names = ["card A", "card B"]
    with (
        mock.patch.object(torch.cuda, "get_device_name", side_effect=lambda d: names[d.index]),
        pytest.raises(ConfigError, match="found cuda:0 card A, cuda:1 card B"),
    ):
        DevicesExecutor(["cuda:0", "cuda:1"], 4)


def room_of(run, n_rows=1_000_000, dim=128):
    return memory.room(run, n_rows, dim, np.float32, MetricOptions(), ["uniformity"], "x.npy")


@pytest.mark.usefixtures("two_gpus")
def test_memory_holds_for_each_gpu_as_well():
    """Tiles and the blocks that threads hold stay under three quarters, and under --memory."""
    of_tile = memory._TILES * 4

    def on_device(room, run):
        threads = memory.n_threads(run) // len(named_devices(run.device))
        return threads * of_tile * room.block**2

    free = RunOptions(device="cuda")
    assert on_device(room_of(free), free) < 6 << 30
    assert on_device(room_of(free), free) > 1 << 30, "no smaller than needed"
    small = RunOptions(device="cuda", memory=2 << 30)
    assert on_device(room_of(small), small) < 2 << 30
    for run in (free, small):
        kept = room_of(run).kept_on_device
        assert 0 < kept < (6 << 30 if run is free else 2 << 30) - on_device(room_of(run), run)
    two = RunOptions(device="cuda:0,cuda:1")
    assert memory.n_threads(two) == 2 * memory.n_threads(free)
    for n_rows in (3_000, 20_000, 100_000):  # a few rows have fewer tiles than threads
        assert room_of(two, n_rows).block == room_of(free, n_rows).block
    with mock.patch.object(torch.cuda, "memory_reserved", return_value=6 << 30):
        held_by_torch = room_of(free)
    assert held_by_torch.block > room_of(free).block, "what torch holds unused is free"
    with pytest.raises(ConfigError, match=r"x.npy: tiles of 4096 rows need about .* of cuda"):
        room_of(RunOptions(device="cuda", memory=1 << 30, block=4096))


def test_without_torch_the_backend_says_what_is_missing():
    """Not an internal error of the division of memory."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, cl_analyze as cla\n"
        "from cl_analyze.errors import DependencyError\n"
        "for device in ('cuda', 'cuda:all', 'cuda:0,cuda:1'):\n"
        "    try:\n"
        "        cla.analyze(np.eye(4), run=cla.RunOptions(device=device))\n"
        "    except DependencyError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.split(" needs ")[0] for line in lines] == [
        "--device cuda",
        "--device cuda:all",
        "--device cuda:0,cuda:1",
    ]
    assert all("torch" in line for line in lines)


def test_a_run_says_that_tiles_were_cut():
    """With a stand-in for a GPU whose memory ends after a few values."""
    from cl_analyze.pairs import torch_backend

    class Small(torch_backend.TorchBackend):
        def _empty(self, size, dtype):
            if size > 100**2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super()._empty(size, dtype)

    rows = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    notes: list[str] = []
    listener = Silent()
    listener.note = notes.append
    asked = [Request(rows)], ["uniformity"], MetricOptions(), RunOptions(), "report"
    whole = run_analysis(*asked)
    with mock.patch(
        "cl_analyze.analysis.run.make_backend",
        lambda device, dtype, kept_bytes: Small(np.dtype(dtype), device, kept_bytes),
    ):
        cut = run_analysis(*asked, listener=listener)
    np.testing.assert_allclose(
        [r.value for r in cut.records], [r.value for r in whole.records], rtol=1e-5
    )
    assert "the memory of cpu was full" in notes[-1]
    assert notes[-1].endswith("tiles of 1024 rows were computed in parts of at most 75 rows")
