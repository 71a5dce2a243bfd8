"""The arrays of tiles on torch's devices: CUDA, MPS and, in tests, the CPU.

What a device must not be asked for: float64 on MPS, and more memory than it has.  Rows travel
from pinned memory on a stream of their own, beside the kernels of the tile before.  Where the
device's memory is full, fewer and smaller tiles are computed, and the pass goes on.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import AnalysisError, is_out_of_memory
from cl_analyze.pairs import kernels
from cl_analyze.pairs.backend import Array, Backend, Entries, Moving, by_sides
from cl_analyze.pairs.device_memory import DeviceMemory
from cl_analyze.pairs.plan import Span

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
        self.kept_bytes = kept_bytes
        self._memory = DeviceMemory(kept_bytes)
        self._shortage_elsewhere = ""
        self._copies: Any = None
        if self.device.type == "cuda":
            self._copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        can_interpret = self.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        if (self.device.type == "cuda" or can_interpret) and self.dtype == np.float32:
            self._gpu_sweeps = _sweeps_for(self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        # workers may share a device: none of them keeps rows there
        return TorchBackend, (self.dtype, str(self.device))

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
    def _exact_products(self) -> Iterator[None]:
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
                    if is_new:  # inherited from a wider setting, perhaps: then it stays so
                        setattr(setting, name, "none")
                    if getattr(setting, name) != _Inside.before:
                        setattr(setting, name, _Inside.before)

    # ---- the device's memory

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        own = self._scratch.__dict__
        with self._memory.turn(), self._exact_products():
            begun = self.n_shortages
            own["buffers"] = self._memory.taken_buffers()
            try:
                yield
            finally:
                if not self._memory.takes_back(own.pop("buffers"), begun):
                    self._collect()  # before another tile has its turn

    def _collect(self) -> None:
        """Free what nobody uses: tiles and their sweeps hold each other."""
        gc.collect()
        if self.device.type in ("cuda", "mps"):
            getattr(self.torch, self.device.type).empty_cache()

    @property
    def n_shortages(self) -> int:
        return self._memory.n_shortages

    @property
    def most_rows(self) -> int | None:
        return self._memory.most_rows

    def is_full(self, error: Exception) -> bool:
        # cuBLAS has names of its own for it
        return is_out_of_memory(error) or any(
            name in str(error) for name in ("ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED")
        )

    def make_room(self, reason: str, n_rows: int, begun: int) -> None:
        if not self._memory.give_way(n_rows, begun):
            raise AnalysisError(
                f"the memory of {self.device} is too small even for tiles of {n_rows} rows "
                f"({(reason.splitlines() or [''])[0]}); end what else uses it, or pass --device cpu"
            )
        self._collect()

    @property
    def shortage(self) -> str:
        return self._memory.shortage or self._shortage_elsewhere

    def tell_shortage(self, shortage: str) -> None:
        """Take what another device had to say of its memory, for the note on the run."""
        self._shortage_elsewhere = shortage

    def release(self) -> None:
        self._memory.forget()

    def moving(self, rows: UnitRows, span: Span) -> Moving:
        def move() -> tuple[Moving, int]:
            block = rows.block(*span)
            return self._moving(block), block.nbytes

        return self._memory.kept(rows, span, move)

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
