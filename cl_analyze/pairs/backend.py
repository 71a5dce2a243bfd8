"""The array primitives of tiles and reducers, once for NumPy and torch.

Both libraries are reached through array-api-compat's namespaces; what differs between them
(out= arguments, scatter, sorting) is wrapped here and nowhere else.  States of reducers are always
NumPy arrays in float64 on the host, so that devices without float64 can take part.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError, DependencyError

Array = Any  # an array of the backend's library
Index = NDArray[np.int64]
Entries = tuple[Index, Index, NDArray[Any]]
"""Owner (a row or a column), partner and value of some entries of a matrix."""

_FEW = 1 / 32


class Backend:
    """NumPy, and the base of the torch backend: names follow what a tile does.

    Args:
        dtype: dtype of similarities and exponentials.
    """

    name = "numpy"

    def __init__(self, dtype: np.dtype[Any]) -> None:
        import array_api_compat.numpy as xp

        self.xp: Any = xp
        self.dtype = np.dtype(dtype)
        self._scratch = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return Backend, (self.dtype,)

    # ---- moving data

    def to_device(self, array: NDArray[Any]) -> Array:
        """A host array where this backend computes."""
        return array

    def to_host(self, array: Array) -> NDArray[np.float64]:
        """A small result as a float64 host array."""
        return np.asarray(array, dtype=np.float64)

    def to_host_index(self, array: Array) -> Index:
        """A small integer result as an int64 host array."""
        return np.asarray(array, dtype=np.int64)

    # ---- memory

    def scratch(self, name: str, shape: tuple[int, int]) -> Array:
        """A reusable buffer of this thread; its content is whatever was left in it."""
        buffers = self._scratch.__dict__.setdefault("buffers", {})
        size = shape[0] * shape[1]
        flat = buffers.get(name)
        if flat is None or flat.shape[0] < size:
            flat = buffers[name] = self.empty(size)
        return flat[:size].reshape(shape)

    def empty(self, size: int) -> Array:
        """An uninitialised vector."""
        return np.empty(size, dtype=self.dtype)

    def vector(self, values: NDArray[np.float64]) -> Array:
        """A host vector in the tile's dtype."""
        return self.to_device(values.astype(self.dtype))

    # ---- arithmetic

    def matmul(self, a: Array, b: Array, out: Array) -> Array:
        """a @ b.T into out."""
        return self.xp.matmul(a, b.T, out=out)

    def exp_scaled(self, s: Array, scale: float, shift: Any, out: Array) -> Array:
        """exp(scale * (s - shift)) into out; shift is a number or broadcasts with s."""
        if isinstance(shift, float):
            self.xp.multiply(s, scale, out=out)
            if shift != 0.0:
                self.xp.subtract(out, shift * scale, out=out)
        else:
            self.xp.subtract(s, shift, out=out)
            self.xp.multiply(out, scale, out=out)
        return self.xp.exp(out, out=out)

    def multiply(self, a: Array, b: Any, out: Array) -> Array:
        """a * b into out."""
        return self.xp.multiply(a, b, out=out)

    def complement(self, a: Array, out: Array) -> Array:
        """1 - a into out."""
        return self.xp.add(self.xp.multiply(a, -1.0, out=out), 1.0, out=out)

    def row_dot(self, matrix: Array, weights: Array) -> Array:
        """matrix @ weights."""
        return matrix @ weights

    def col_dot(self, matrix: Array, weights: Array) -> Array:
        """weights @ matrix."""
        return weights @ matrix

    def row_squares(self, matrix: Array) -> NDArray[np.float64]:
        """Sum of squares of each row, on the host."""
        return self.to_host(self.xp.vecdot(matrix, matrix))

    def row_max(self, matrix: Array) -> Array:
        """Maximum of each row."""
        return matrix.max(axis=1)

    def col_max(self, matrix: Array) -> Array:
        """Maximum of each column."""
        return matrix.max(axis=0)

    def set_at(self, matrix: Array, rows: Index, cols: Index, value: float) -> None:
        """matrix[rows, cols] = value, in place."""
        if len(rows):
            matrix[rows, cols] = value

    def take_at(self, matrix: Array, rows: Index, cols: Index) -> NDArray[np.float64]:
        """matrix[rows, cols] on the host."""
        return self.to_host(matrix[rows, cols])

    def equal_mask(self, rows: Index, cols: Index, out: Array) -> Array:
        """1 where the row's code equals the column's and both are >= 0, else 0, into out."""
        flags = self._flags(out.shape)
        np.equal(_narrow(rows)[:, None], _narrow(cols)[None, :], out=flags)
        out[...] = flags
        if rows.min(initial=0) < 0:
            out[rows < 0] = 0
        return out

    def known_mask(self, rows: Index, cols: Index, out: Array) -> Array:
        """1 where both codes are >= 0, else 0, into out."""
        out[...] = (rows >= 0)[:, None] & (cols >= 0)[None, :]
        return out

    # ---- searching

    def entries_at_least(
        self, matrix: Array, row_limits: NDArray[Any], col_limits: NDArray[Any] | None
    ) -> tuple[Entries, Entries | None]:
        """Entries of each row that reach the row's limit, and the same for columns.

        Args:
            matrix: the values.
            row_limits: one for each row, in the matrix's dtype.
            col_limits: one for each column; None where columns are not asked for.

        Returns:
            For rows, and for columns: owner, partner and value of each entry, on the host.
        """
        n_cols = matrix.shape[1]
        flags = self._flags(matrix.shape)
        lowest = row_limits.min() if col_limits is None else min(row_limits.min(), col_limits.min())
        np.greater_equal(matrix, lowest, out=flags)
        if np.count_nonzero(flags) <= _FEW * flags.size:  # one comparison serves both sides
            rows, cols, values = _entries(matrix, np.flatnonzero(flags), n_cols)
            mine = values >= row_limits[rows]
            for_rows = rows[mine], cols[mine], values[mine]
            if col_limits is None:
                return for_rows, None
            mine = values >= col_limits[cols]
            return for_rows, (cols[mine], rows[mine], values[mine])
        np.greater_equal(matrix, row_limits[:, None], out=flags)
        for_rows = _entries(matrix, np.flatnonzero(flags), n_cols)
        if col_limits is None:
            return for_rows, None
        np.greater_equal(matrix, col_limits[None, :], out=flags)
        rows, cols, values = _entries(matrix, np.flatnonzero(flags), n_cols)
        return for_rows, (cols, rows, values)

    def _flags(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        buffers = self._scratch.__dict__.setdefault("buffers", {})
        size = shape[0] * shape[1]
        flat = buffers.get("flags")
        if flat is None or flat.shape[0] < size:
            flat = buffers["flags"] = np.empty(size, dtype=np.bool_)
        found: NDArray[np.bool_] = flat[:size].reshape(shape)
        return found

    def kth_largest(self, matrix: Array, k: int) -> NDArray[np.float64]:
        """The k-th largest value of each row, on the host; minus infinity in shorter rows."""
        n = matrix.shape[1]
        if k > n:
            return np.full(matrix.shape[0], -np.inf)
        return self.to_host(np.partition(matrix, n - k, axis=1)[:, n - k])

    def select(self, matrix: Array, mask: Array) -> Array:
        """The entries whose mask is not zero, as a vector."""
        return matrix[mask != 0]

    def bins(self, matrix: Array, n_bins: int) -> Any:
        """Index of each value's bin among n equal bins on [-1, 1], values outside clamped in."""
        scaled = self.scratch("scaled", matrix.shape) if matrix.ndim == 2 else np.empty_like(matrix)
        np.add(matrix, 1.0, out=scaled)
        np.multiply(scaled, n_bins / 2.0, out=scaled)
        np.clip(scaled, 0.0, n_bins - 1.0, out=scaled)
        return scaled.astype(np.intp)

    def bin_counts(self, bins: Any, n_bins: int) -> NDArray[np.float64]:
        """Number of values in each bin."""
        return np.bincount(bins.ravel(), minlength=n_bins).astype(np.float64)

    def bin_sums(self, bins: Any, weights: Array, n_bins: int) -> NDArray[np.float64]:
        """Sum of the weights in each bin."""
        sums = np.bincount(bins.ravel(), weights=np.asarray(weights).ravel(), minlength=n_bins)
        return sums.astype(np.float64, copy=False)


def _entries(matrix: NDArray[Any], at: Index, n_cols: int) -> Entries:
    """Row, column and value at flat positions."""
    rows = at // n_cols
    cols = at - rows * n_cols
    return rows, cols, matrix[rows, cols]


def _narrow(codes: Index) -> NDArray[Any]:
    """Class codes in 32 bits (there are never more), which compare twice as fast."""
    return codes.astype(np.int32)


class TorchBackend(Backend):
    """The same primitives on torch tensors: `--device cuda` or `mps`, and in tests `cpu`."""

    name = "torch"

    def __init__(self, dtype: np.dtype[Any], device: str) -> None:
        import array_api_compat.torch as xp
        import torch

        self.xp = xp
        self.torch = torch
        self.device = torch.device(device)
        self.dtype = np.dtype(dtype)
        self._torch_dtype = torch.float64 if self.dtype == np.float64 else torch.float32
        self._scratch = threading.local()
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False

    def __reduce__(self) -> tuple[Any, ...]:
        return TorchBackend, (self.dtype, str(self.device))

    def to_device(self, array: NDArray[Any]) -> Array:
        host = self.torch.from_numpy(np.ascontiguousarray(array))
        if self.device.type != "cuda":
            return host.to(self.device)
        # from pinned memory the copy runs beside the kernels that were started before it
        return host.pin_memory().to(self.device, non_blocking=True)

    def to_host(self, array: Array) -> NDArray[np.float64]:
        return cast(NDArray[np.float64], array.cpu().numpy().astype(np.float64))

    def to_host_index(self, array: Array) -> Index:
        return cast(Index, array.cpu().numpy().astype(np.int64))

    def empty(self, size: int) -> Array:
        return self.torch.empty(size, dtype=self._torch_dtype, device=self.device)

    def row_max(self, matrix: Array) -> Array:
        return self.torch.amax(matrix, dim=1)

    def col_max(self, matrix: Array) -> Array:
        return self.torch.amax(matrix, dim=0)

    def _index(self, index: Index) -> Array:
        return self.torch.from_numpy(np.ascontiguousarray(index)).to(self.device)

    def set_at(self, matrix: Array, rows: Index, cols: Index, value: float) -> None:
        if len(rows):
            matrix[self._index(rows), self._index(cols)] = value

    def take_at(self, matrix: Array, rows: Index, cols: Index) -> NDArray[np.float64]:
        return self.to_host(matrix[self._index(rows), self._index(cols)])

    def equal_mask(self, rows: Index, cols: Index, out: Array) -> Array:
        left, right = self._index(rows), self._index(cols)
        out[...] = (left[:, None] == right[None, :]) & (left >= 0)[:, None]
        return out

    def known_mask(self, rows: Index, cols: Index, out: Array) -> Array:
        left, right = self._index(rows), self._index(cols)
        out[...] = (left >= 0)[:, None] & (right >= 0)[None, :]
        return out

    def kth_largest(self, matrix: Array, k: int) -> NDArray[np.float64]:
        if k > matrix.shape[1]:
            return np.full(matrix.shape[0], -np.inf)
        return self.to_host(self.torch.topk(matrix, k, dim=1).values[:, -1])

    def entries_at_least(
        self, matrix: Array, row_limits: NDArray[Any], col_limits: NDArray[Any] | None
    ) -> tuple[Entries, Entries | None]:
        found: list[Entries | None] = []
        for part, limits in ((matrix, row_limits), (matrix.T, col_limits)):
            if limits is None:
                found.append(None)
                continue
            owner, partner = self.torch.nonzero(
                part >= self.to_device(limits)[:, None], as_tuple=True
            )
            values = part[owner, partner].cpu().numpy()
            found.append((self.to_host_index(owner), self.to_host_index(partner), values))
        for_rows, for_cols = found
        assert for_rows is not None
        return for_rows, for_cols

    def bins(self, matrix: Array, n_bins: int) -> Any:
        scaled = ((matrix + 1.0) * (n_bins / 2.0)).clamp(0, n_bins - 1)
        return scaled.to(self.torch.int64)

    def bin_counts(self, bins: Any, n_bins: int) -> NDArray[np.float64]:
        return self.to_host(self.torch.bincount(bins.reshape(-1), minlength=n_bins))

    def bin_sums(self, bins: Any, weights: Array, n_bins: int) -> NDArray[np.float64]:
        return self.to_host(
            self.torch.bincount(bins.reshape(-1), weights.reshape(-1), minlength=n_bins)
        )


def make_backend(device: str, dtype: type[np.floating[Any]], use_torch: bool = False) -> Backend:
    """NumPy for `cpu` (torch is not imported), torch for anything else.

    Args:
        device: cpu, cuda (or cuda:1 ...) or mps.
        dtype: float32 or float64.
        use_torch: take torch on the CPU as well; how its code is tested without a GPU.

    Raises:
        ConfigError: the device is not there, or cannot do float64.
    """
    if device == "cpu" and not use_torch:
        return Backend(np.dtype(dtype))
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            f"--device {device} needs torch, which is not installed: pip install torch"
        ) from error
    kind = device.split(":")[0]
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in available:
        raise ConfigError(f"--device must be cpu, cuda or mps, found {device!r}")
    if not available[kind]:
        raise ConfigError(f"--device {device}: torch finds no such device here; use --device cpu")
    if kind == "mps" and np.dtype(dtype) == np.float64:
        raise ConfigError("--device mps has no float64; use --precision float32 or --device cpu")
    return TorchBackend(np.dtype(dtype), device)
