"""The arrays of tiles on torch's devices: CUDA, MPS and, in tests, the CPU.

What a device must not be asked for: float64 on MPS, and more memory than it has.  Rows travel
from pinned memory on a stream of their own, beside the kernels of the tile before.  Where the
device's memory is full, tiles are cut in halves from then on, and the pass goes on.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import AnalysisError, is_out_of_memory
from cl_analyze.pairs import kernels
from cl_analyze.pairs.backend import Array, Backend, Entries, Moving, by_sides
from cl_analyze.pairs.plan import SMALLEST_BLOCK

if TYPE_CHECKING:
    from cl_analyze.data.unit import UnitRows

_WORTH_PINNING = 1 << 20


class _Copy(Moving):
    """Rows that a stream of copies brings to a CUDA device."""

    def __init__(self, array: Array, torch: Any, arrived: Any) -> None:
        super().__init__(array)
        self._torch, self._arrived = torch, arrived

    def get(self) -> Array:
        stream = self._torch.cuda.current_stream(self._array.device)
        stream.wait_event(self._arrived)
        self._array.record_stream(stream)  # its memory is not used again before the kernels end
        return self._array


class _Inside:
    """The threads that compute exact products, and the process's setting before the first."""

    lock = threading.Lock()
    n_threads = 0
    before: Any = None


class TorchBackend(Backend):
    """The primitives of `Backend` on torch tensors.

    Args:
        dtype: dtype of similarities and exponentials.
        device: cuda (or cuda:1 ...), mps, or cpu.
        kept_bytes: the device's memory for rows that stay there after the tiles that need them.
    """

    def __init__(self, dtype: np.dtype[Any], device: str, kept_bytes: int = 0) -> None:
        import array_api_compat.torch as xp
        import torch

        super().__init__(dtype)
        self.xp = xp
        self.torch = torch
        self.device = torch.device(device)
        self._gpu_sweeps: Any = None
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[tuple[int, tuple[int, int]], tuple[UnitRows, Moving, int]]
        self._kept = OrderedDict()
        self._lock = threading.Lock()
        self._most_rows: int | None = None
        self._copies: Any = None
        if self.device.type == "cuda":
            self._copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        can_interpret = self.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        if (self.device.type == "cuda" or can_interpret) and self.dtype == np.float32:
            self._gpu_sweeps = _sweeps_for(self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        return TorchBackend, (self.dtype, str(self.device), self._kept_bytes)

    def on(self, device: str) -> TorchBackend:
        """The same on another device."""
        return TorchBackend(self.dtype, device, self._kept_bytes)

    def in_precision(self, dtype: np.dtype[Any]) -> Backend:
        if self.device.type == "mps" and dtype == np.float64:
            return super().in_precision(dtype)
        return TorchBackend(dtype, str(self.device))

    @property
    def arithmetic(self) -> str:
        fused = "" if self.gpu_sweeps is None else " triton"
        return f"torch {model_of(self.torch, self.device)} {self.dtype}{fused}"

    @property
    def gpu_sweeps(self) -> Any:
        return self._gpu_sweeps

    @contextlib.contextmanager
    def exact_products(self) -> Iterator[None]:
        """True float32, not TF32; the process's own setting is there again afterwards.

        The setting is the whole process's: the last thread puts it back.
        """
        setting = self.torch.backends.cuda.matmul
        # from torch 2.9 on, whose old name must not be read beside it
        is_new = hasattr(setting, "fp32_precision")
        name, exact = ("fp32_precision", "ieee") if is_new else ("allow_tf32", False)
        with _Inside.lock:
            if _Inside.n_threads == 0:
                _Inside.before = getattr(setting, name)
                setattr(setting, name, exact)
            _Inside.n_threads += 1
        try:
            yield
        finally:
            with _Inside.lock:
                _Inside.n_threads -= 1
                if _Inside.n_threads == 0:
                    setattr(setting, name, _Inside.before)

    # ---- the device's memory

    @property
    def most_rows(self) -> int | None:
        return self._most_rows

    def is_full(self, error: Exception) -> bool:
        return is_out_of_memory(error) or "ALLOC_FAILED" in str(error)  # of cuBLAS

    def make_room(self, reason: str, n_rows: int) -> None:
        if n_rows <= SMALLEST_BLOCK:
            raise AnalysisError(
                f"the memory of {self.device} is too small even for tiles of {n_rows} rows "
                f"({(reason.splitlines() or [''])[0]}); end what else uses it, or pass --device cpu"
            )
        with self._lock:
            # several threads may find it full at the same time, each with a tile of this size
            half = max(n_rows // 2, SMALLEST_BLOCK)
            self._most_rows = min(self._most_rows or half, half)
            self._generation += 1  # every thread lets go of its buffers before its next tile
            self._kept.clear()
        self._scratch.__dict__.clear()
        if self.device.type in ("cuda", "mps"):
            getattr(self.torch, self.device.type).empty_cache()

    def moving(self, rows: UnitRows, span: tuple[int, int]) -> Moving:
        key = id(rows), span  # rows are held, so that no other object gets their id
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
        block = rows.block(*span)
        moving = self._moving(block)
        with self._lock:
            self._kept[key] = rows, moving, block.nbytes
            while sum(n_bytes for _, _, n_bytes in self._kept.values()) > self._kept_bytes:
                self._kept.popitem(last=False)
        return moving

    def _moving(self, block: NDArray[Any]) -> Moving:
        """The copy runs on a stream of its own, beside kernels: from pinned memory alone."""
        if self._copies is None or block.nbytes < _WORTH_PINNING:
            return Moving(self.to_device(block))
        with self.torch.cuda.stream(self._copies):
            array = self.torch.from_numpy(np.ascontiguousarray(block)).pin_memory()
            array = array.to(self.device, non_blocking=True)
            return _Copy(array, self.torch, self._copies.record_event())

    def to_device(self, array: NDArray[Any]) -> Array:
        return self.torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def to_host(self, array: Array) -> NDArray[np.float64]:
        return np.array(array.cpu().numpy(), dtype=np.float64)

    # ---- primitives

    def row_squares(self, a: Array) -> Array:
        return self.xp.vecdot(a, a)

    def _empty(self, size: int, dtype: np.dtype[Any]) -> Array:
        return self.torch.empty(size, dtype=getattr(self.torch, dtype.name), device=self.device)

    def kth_largest(self, matrix: Array, k: int) -> NDArray[np.float64]:
        if k > matrix.shape[1]:
            return np.full(matrix.shape[0], -np.inf)
        return self.to_host(self.torch.topk(matrix, k, dim=1).values[:, -1])

    def entries_at_least(
        self, matrix: Array, row_limits: NDArray[Any], col_limits: NDArray[Any] | None
    ) -> tuple[Entries, Entries | None]:
        if self._gpu_sweeps is not None and matrix.is_contiguous():
            return self._fused_entries(matrix, row_limits, col_limits)
        for_rows = self._entries(matrix, row_limits)
        return for_rows, None if col_limits is None else self._entries(matrix.T, col_limits)

    def _entries(self, matrix: Array, limits: NDArray[Any]) -> Entries:
        reached = matrix >= self.to_device(limits)[:, None]
        owner, partner = self.torch.nonzero(reached, as_tuple=True)
        values = matrix[owner, partner]
        return owner.cpu().numpy(), partner.cpu().numpy(), values.cpu().numpy()

    def _fused_entries(
        self, matrix: Array, row_limits: NDArray[Any], col_limits: NDArray[Any] | None
    ) -> tuple[Entries, Entries | None]:
        limits = [None if v is None else self.to_device(v) for v in (row_limits, col_limits)]
        at, found = self._gpu_sweeps.entries(matrix, *limits)
        positions, values = at.cpu().numpy(), found.cpu().numpy()
        return by_sides((positions >> 32, positions & 0xFFFFFFFF, values), row_limits, col_limits)

    def bins(self, matrix: Array, n_bins: int) -> Any:
        scaled = ((matrix + 1.0) * (n_bins / 2.0)).clamp(0, n_bins - 1)
        return scaled.to(self.torch.int64)


def _sweeps_for(device: Any) -> Any:
    """The module of Triton's sweeps; None where they cannot run, or are switched off."""
    if os.environ.get(kernels.VARIABLE) == "off":
        return None
    try:
        from cl_analyze.pairs.kernels import triton_sweeps
    except ImportError:
        return None
    return None if triton_sweeps.why_not(device) else triton_sweeps


def model_of(torch: Any, device: Any) -> str:
    """The model of a CUDA device, whose products may round in their own way; else its kind."""
    name: str = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return name
