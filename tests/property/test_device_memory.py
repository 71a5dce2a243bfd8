"""A device whose memory is too small: tiles are cut, the pass goes on, and the numbers stay."""

from __future__ import annotations

import threading
import weakref

import numpy as np
import pytest

from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.errors import AnalysisError
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.device_memory import DeviceMemory
from cl_analyze.pairs.engine import PairSource, reduce_pairs
from cl_analyze.pairs.executors import ThreadExecutor
from cl_analyze.pairs.plan import rectangular_plan, symmetric_plan
from cl_analyze.pairs.reducers import NearestNeighbours, PairMoments, RowLogSumExp
from cl_analyze.pairs.strips import Strips, hard_negatives
from tests.reducer_cases import (
    HAS_EDGES,
    arrays,
    configurations,
    embeddings,
    is_rectangular_only,
    source,
)

torch = pytest.importorskip("torch")
torch_backend = pytest.importorskip("cl_analyze.pairs.torch_backend")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402


class SmallDevice(torch_backend.TorchBackend):
    """A device that has no buffer of more than some values, nor the copies of some calls."""

    def __init__(self, dtype, most_values, failing_copies=()):
        super().__init__(np.dtype(dtype), "cpu", kept_bytes=1 << 20)
        self.most_values, self.failing_copies = most_values, set(failing_copies)
        self.n_copies = 0

    def _empty(self, size, dtype):
        if size > self.most_values:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} values")
        return super()._empty(size, dtype)

    def to_device(self, array):
        self.n_copies += 1
        if self.n_copies in self.failing_copies:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ...")
        return super().to_device(array)


PLANS = {
    "symmetric": lambda n: symmetric_plan(n, n),
    "symmetric, several blocks": lambda n: symmetric_plan(n, n // 2),
    "rectangular": lambda n: rectangular_plan(n, n, 2 * n // 3),
}


@pytest.mark.parametrize(("plan", "n_threads"), list(zip(PLANS, (3, 1, 3), strict=True)))
def test_every_reducer_gives_the_same_where_tiles_are_cut(plan, n_threads):
    n = 300
    rows, labels = embeddings(n_threads, n)
    made = configurations(rows, labels)
    chosen = PLANS[plan](n)
    wanted = [r for r in made if not (chosen.symmetric and is_rectangular_only(r))]
    whole = torch_backend.TorchBackend(np.dtype(np.float64), "cpu")
    small = SmallDevice(np.float64, 90**2, failing_copies=(2,))
    expected = reduce_pairs(wanted, source(rows, labels), chosen, whole)
    found = reduce_pairs(wanted, source(rows, labels), chosen, small, ThreadExecutor(n_threads))
    assert small.most_rows is not None
    assert 64 <= small.most_rows <= 90, "no smaller than needed"
    for reducer in wanted:
        for a, b in zip(arrays(found[reducer]), arrays(expected[reducer]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=str(reducer))


def test_cut_tiles_are_parts_of_the_same_plan(tmp_path):
    """States that were saved with whole tiles go on with cut ones: the plan is the same."""
    from cl_analyze.pairs.saved import SavedPass

    rows, labels = embeddings(3, 300)
    wanted = [RowLogSumExp(0.1), PairMoments("all"), NearestNeighbours(5)]
    plan, total = symmetric_plan(300, 150), []
    whole = torch_backend.TorchBackend(np.dtype(np.float64), "cpu")
    expected = reduce_pairs(wanted, source(rows, labels), plan, whole)

    def stopped(done, of_all):
        total.append(done)
        if len(total) == 1:
            raise KeyboardInterrupt

    saved = SavedPass(tmp_path, "k" * 32, 0.0)
    with pytest.raises(KeyboardInterrupt):
        reduce_pairs(wanted, source(rows, labels), plan, whole, None, stopped, saved)
    small, resumed = SmallDevice(np.float64, 90**2), []
    saved = SavedPass(tmp_path, "k" * 32, 0.0, lambda done, of_all: resumed.append(done))
    found = reduce_pairs(wanted, source(rows, labels), plan, small, None, None, saved)
    assert resumed == total
    for reducer in wanted:
        for a, b in zip(arrays(found[reducer]), arrays(expected[reducer]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


class Total(torch_backend.TorchBackend):
    """A device with some bytes for the buffers of all threads and the rows that stay."""

    def __init__(self, n_bytes, kept_bytes=0):
        super().__init__(np.dtype(np.float32), "cpu", kept_bytes)
        self.n_bytes, self._held, self._counting = n_bytes, 0, threading.Lock()

    def _counted(self, array):
        n_bytes = array.numel() * array.element_size()
        with self._counting:
            if self._held + n_bytes > self.n_bytes:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")
            self._held += n_bytes
        weakref.finalize(array.untyped_storage(), self._freed, n_bytes)
        return array

    def _freed(self, n_bytes):
        self._held -= n_bytes

    def _empty(self, size, dtype):
        return self._counted(super()._empty(size, dtype))

    def _moving(self, block):
        moving = super()._moving(block)
        self._counted(moving.get())
        return moving


@pytest.mark.parametrize(
    ("n_bytes", "kept_bytes", "n_threads", "says"),
    [
        (6 << 20, 0, 1, ""),
        (6 << 20, 0, 4, "at most"),  # memory for two or three tiles
        ((2 << 20) + (5 << 14), 4 << 20, 1, ""),  # rows that would stay give way, tiles are whole
        (1 << 20, 0, 1, "in parts of at most 256 rows"),
    ],
)
def test_what_gives_way_first(n_bytes, kept_bytes, n_threads, says):
    """Rows that stay, then tiles at the same time, and only then the rows of a tile."""
    rows = np.random.default_rng(0).normal(size=(4096, 8)).astype(np.float32)
    unit = UnitRows(RowArray.of(rows), np.float32, 1 << 30)
    given, plan = PairSource(unit, unit), symmetric_plan(4096, 512)
    wanted = [RowLogSumExp(0.5)]
    device = Total(n_bytes, kept_bytes)
    found = reduce_pairs(wanted, given, plan, device, ThreadExecutor(n_threads))
    expected = reduce_pairs(wanted, given, plan, make_backend("cpu", np.float32))
    np.testing.assert_allclose(found[wanted[0]], expected[wanted[0]], rtol=1e-5)
    assert device.shortage.startswith(says)
    if not says:
        assert not device.shortage
    if kept_bytes:
        assert device.n_shortages == 1, "rows that gave way came back"
    if n_threads > 1:
        assert device.most_rows is None, "tiles were cut though fewer at a time would do"


def test_buffers_serve_the_next_tile_until_something_gives_way():
    memory = DeviceMemory(0)
    buffers = memory.taken_buffers()
    assert memory.takes_back(buffers, memory.n_shortages)
    assert memory.taken_buffers() is buffers
    assert memory.takes_back(buffers, memory.n_shortages)
    assert memory.give_way(512, begun=0)
    assert memory.taken_buffers() is not buffers, "those that nobody used are freed"
    assert not memory.takes_back(buffers, 0), "and those of a tile that was begun before"
    assert memory.taken_buffers() is not buffers
    assert memory.give_way(512, begun=0)
    assert (memory.n_shortages, memory.most_rows) == (1, 256), "another tile has made room"


def test_buffers_that_another_thread_drops_change_no_number(monkeypatch):
    """Another tile may make room between the exponentials of tau and those of tau / 2."""
    rows, labels = embeddings(0, 50)
    wanted = [RowLogSumExp(0.5), RowLogSumExp(0.25)]
    expected = reduce_pairs(wanted, source(rows, labels), symmetric_plan(50), numpy64())
    device = torch_backend.TorchBackend(np.dtype(np.float64), "cpu")
    reduce, calls = RowLogSumExp.reduce, []

    def made_room_before(self, tile):
        calls.append(self.tau)
        device._memory.n_shortages += 1
        return reduce(self, tile)

    monkeypatch.setattr(RowLogSumExp, "reduce", made_room_before)
    found = reduce_pairs(wanted, source(rows, labels), symmetric_plan(50), device)
    assert calls == [0.5, 0.25]
    for reducer in wanted:
        np.testing.assert_allclose(found[reducer], expected[reducer], rtol=1e-12)


def numpy64():
    return make_backend("cpu", np.float64)


def test_states_with_waiting_entries_are_joined():
    """Entries that wait to be sorted in belong to rows that are counted from each part's first."""
    rows, labels = embeddings(1, 300)
    reducer = NearestNeighbours(3)
    whole = torch_backend.TorchBackend(np.dtype(np.float64), "cpu")
    unit = source(rows, labels)
    bounds = np.full(100, 0.5)

    def state_of(start, stop):
        tile = unit.tile(whole, (start, stop), (100, 300))
        tile.bounds[reducer] = bounds[: stop - start], None
        return reducer.reduce(tile)[0]

    parts = [state_of(0, 40), state_of(40, 70), state_of(70, 100)]
    assert all(len(part.owners) for part in parts)
    joined, expected = (reducer.finalize([s]) for s in (reducer.join(parts), state_of(0, 100)))
    np.testing.assert_array_equal(joined.indices, expected.indices)
    np.testing.assert_array_equal(joined.values, expected.values)


def test_parts_with_peaks_of_their_own_are_joined():
    """At temperatures so small that each part's exponentials are relative to its own peak."""
    rows, labels = embeddings(2, 300)
    rows = rows + 30.0  # all similarities near 1: one shift serves each tile
    wanted, plan = [RowLogSumExp(1e-4)], symmetric_plan(300, 300)
    expected = reduce_pairs(wanted, source(rows, labels), plan, numpy64())
    found = reduce_pairs(wanted, source(rows, labels), plan, SmallDevice(np.float64, 100**2))
    np.testing.assert_allclose(found[wanted[0]], expected[wanted[0]], rtol=1e-12)


def test_names_of_cublas_for_a_full_memory():
    device = torch_backend.TorchBackend(np.dtype(np.float32), "cpu")
    for name in ("CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED"):
        assert device.is_full(RuntimeError(f"CUDA error: {name} when calling cublasCreate(handle)"))
    assert not device.is_full(RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"))


def test_a_device_without_any_memory_is_told_of():
    rows, labels = embeddings(0, 100)
    small = SmallDevice(np.float32, 10)
    with pytest.raises(AnalysisError, match=r"too small even for tiles of \d+ rows.*--device cpu"):
        reduce_pairs(
            [RowLogSumExp(0.5)], source(rows, labels, np.float32), symmetric_plan(100), small
        )


def test_other_errors_are_not_taken_for_a_full_memory():
    class Broken(SmallDevice):
        def _empty(self, size, dtype):
            raise RuntimeError("CUDA error: device-side assert triggered")

    rows, labels = embeddings(0, 40)
    with pytest.raises(RuntimeError, match="assert"):
        reduce_pairs(
            [RowLogSumExp(0.5)],
            source(rows, labels, np.float32),
            symmetric_plan(40),
            Broken(np.float32, 1 << 30),
        )


def test_rows_stay_on_the_device_within_their_bytes():
    """A block is moved once where it may stay, and the one used least recently goes first."""
    unit = UnitRows(RowArray.of(np.random.default_rng(0).normal(size=(40, 4))), np.float32, 1 << 20)
    of_a_block = 10 * 4 * 4
    backend = torch_backend.TorchBackend(np.dtype(np.float32), "cpu", 2 * of_a_block)
    a, b, c = (0, 10), (10, 20), (20, 30)
    first = backend.moving(unit, a).get()
    np.testing.assert_array_equal(first.numpy(), unit.block(*a))
    second = backend.moving(unit, b).get()
    assert backend.moving(unit, a).get() is first
    backend.moving(unit, c)
    assert backend.moving(unit, a).get() is first
    assert backend.moving(unit, b).get() is not second
    none = torch_backend.TorchBackend(np.dtype(np.float32), "cpu")
    assert none.moving(unit, a).get() is not none.moving(unit, a).get()


def test_every_row_is_moved_once_in_a_pass_where_all_may_stay():
    class Counting(torch_backend.TorchBackend):
        n_moved = 0

        def _moving(self, block):
            self.n_moved += len(block)
            return super()._moving(block)

    rows = np.random.default_rng(0).normal(size=(200, 8))
    unit = UnitRows(RowArray.of(rows), np.float32, 0)
    backend = Counting(np.dtype(np.float32), "cpu", 1 << 20)
    plan = symmetric_plan(200, 8)
    assert len(list(plan.units())) > 1
    reduce_pairs([RowLogSumExp(0.5)], PairSource(unit, unit), plan, backend)
    assert backend.n_moved == 200


class LikeMps(torch_backend.TorchBackend):
    """A device that has no float64, as MPS has none."""

    def to_device(self, array):
        assert array.dtype != np.float64
        return super().to_device(array)


class NoFloat64(TorchDispatchMode):
    """Every operation of torch is refused float64."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for value in tree_leaves((result, args, kwargs)):
            assert not isinstance(value, torch.Tensor) or value.dtype != torch.float64, operation
        return result


@pytest.mark.parametrize("plan", [symmetric_plan(400, 130), rectangular_plan(400, 400, 170)])
def test_no_float64_reaches_a_device_without_it(plan):
    """Tiles are reduced in float32 and added up on the host: means are right to 1e-5."""
    rows, labels = embeddings(11, 400, 24)
    made = configurations(rows, labels)
    wanted = [r for r in made if not (plan.symmetric and is_rectangular_only(r))]
    backend = LikeMps(np.dtype(np.float32), "cpu")
    with NoFloat64():
        found = reduce_pairs(wanted, source(rows, labels, np.float32), plan, backend)
    expected = reduce_pairs(wanted, source(rows, labels), plan, make_backend("cpu", np.float64))
    for reducer in wanted:
        if isinstance(reducer, HAS_EDGES) or getattr(reducer, "tau", 1.0) < 0.02:
            continue  # values at an edge may fall either way; a run takes float64 under 0.02
        for a, b in zip(arrays(found[reducer]), arrays(expected[reducer]), strict=True):
            finite = np.isfinite(b)
            assert (np.isfinite(a) == finite).all()
            scale = np.abs(b[finite]).mean() if finite.any() else 1.0
            assert abs(a[finite].mean() - b[finite].mean()) <= 1e-5 * scale, reducer


@pytest.mark.parametrize("precision", ["high", "highest"])
def test_tf32_is_off_inside_a_pass_and_as_it_was_afterwards(precision):
    """A training process keeps its own setting."""
    before, seen = torch.get_float32_matmul_precision(), []

    class Looking(torch_backend.TorchBackend):
        def to_device(self, array):
            setting = torch.backends.cuda.matmul
            is_new = hasattr(setting, "fp32_precision")
            seen.append(setting.fp32_precision if is_new else setting.allow_tf32)
            return super().to_device(array)

    rows, labels = embeddings(0, 100)
    backend = Looking(np.dtype(np.float32), "cpu")
    unit = source(rows, labels, np.float32).rows
    torch.set_float32_matmul_precision(precision)
    try:
        reduce_pairs(
            [RowLogSumExp(0.5)],
            source(rows, labels, np.float32),
            symmetric_plan(100, 10),
            backend,
            ThreadExecutor(3),
        )
        n_seen = len(seen)
        none = np.full(100, -1), np.full(100, -np.inf)
        hard_negatives(Strips(unit, unit, *none, 5, (0.5,), backend, 30), ThreadExecutor(2))
        assert torch.backends.cuda.matmul.allow_tf32 is (precision == "high")
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen) <= {"ieee", False}
    assert 0 < n_seen < len(seen)
