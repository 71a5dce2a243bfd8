"""The array primitives of tiles and reducers that NumPy and torch do not share.

Arithmetic with `out=`, products and maxima, which both have, are called through `xp`: NumPy, or
array-api-compat's namespace of torch.  States of reducers are always NumPy arrays in float64
on the host, so that devices without float64 can be used.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import AnalysisError, ConfigError, DependencyError
from cl_analyze.pairs import kernels

if TYPE_CHECKING:
    from cl_analyze.data.unit import UnitRows
    from cl_analyze.pairs.kernels import Library

Array = Any  # an array of the backend's library
Index = NDArray[np.int64]
Entries = tuple[Index, Index, NDArray[Any]]
"""Owner (a row or a column), partner and value of some entries of a matrix."""

_FEW = 1 / 32
_GROUPS_OF_EACH = 12
"""Groups for each of k entries: of random places 4% of the k share a group with a larger one."""


class Moving:
    """Rows on their way to a device, which computes beside it.

    Args:
        array: the rows on the device, once they are there.
    """

    def __init__(self, array: Array) -> None:
        self._array = array

    def get(self) -> Array:
        """The rows; what is computed from now on comes after their arrival."""
        return self._array


class Backend:
    """NumPy, with compiled sweeps where a library is given; and the base of the torch backend.

    Args:
        dtype: dtype of similarities and exponentials.
        compiled: the compiled functions, `kernels` of the backend; None: NumPy alone.
    """

    def __init__(self, dtype: np.dtype[Any], compiled: Library | None = None) -> None:
        self.xp: Any = np
        self.dtype = np.dtype(dtype)
        self.kernels = compiled
        self._scratch = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        wanted = "off" if self.kernels is None else self.kernels.instruction_set
        return _backend_elsewhere, (self.dtype, wanted)

    @property
    def arithmetic(self) -> str:
        """What computes, and how precisely: states of passes belong to one arithmetic."""
        if self.kernels is None:
            return f"numpy {self.dtype}"
        return f"kernels {self.kernels.instruction_set} {self.dtype}"

    def kernels_for(self, dtype: type[np.floating[Any]]) -> Library | None:
        """The compiled functions, where this backend has them and computes in that dtype."""
        return self.kernels if self.dtype == dtype else None

    def in_precision(self, dtype: np.dtype[Any]) -> Backend:
        """The same in another precision; on the CPU where the device has not got it."""
        return Backend(dtype, kernels.loaded())

    @property
    def could_be_compiled(self) -> bool:
        """Whether compiled kernels would serve in NumPy's place."""
        return self.kernels is None and type(self) is Backend and self.dtype == np.float32

    @property
    def gpu_sweeps(self) -> Any:
        """The module of Triton's sweeps where they serve this backend's tiles; else None."""
        return None

    def computing(self) -> contextlib.AbstractContextManager[None]:
        """One tile is computed inside, in the whole dtype, whatever the process has set.

        Where a device's memory is short, a thread waits here for its turn.
        """
        return contextlib.nullcontext()

    # ---- data and memory

    @property
    def n_shortages(self) -> int:
        """How often something gave way in a device's memory."""
        return 0

    @property
    def most_rows(self) -> int | None:
        """Rows of a tile's side that a device's memory allows; None: as many as the plan has."""
        return None

    @property
    def shortage(self) -> str:
        """How tiles are computed where a device's memory was full; empty where it sufficed."""
        return ""

    def is_full(self, error: Exception) -> bool:
        """Whether an error says that a device's memory is full, so that `make_room` may help."""
        return False

    def make_room(self, reason: str, n_rows: int, begun: int) -> None:
        """Free a device's memory, so that a tile can be computed again, perhaps in parts.

        Args:
            reason: text of the error.
            n_rows: rows of the longer side of the tile that did not fit.
            begun: `n_shortages` when the tile was begun.

        Raises:
            AnalysisError: nothing is left that could give way.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Let go of the rows that stay on a device, and of its buffers."""

    def moving(self, rows: UnitRows, span: tuple[int, int]) -> Moving:
        """Start to move unit rows start..stop-1 to where this backend computes."""
        return Moving(rows.block(*span))

    def to_device(self, array: NDArray[Any]) -> Array:
        """A host array where this backend computes."""
        return array

    def to_host(self, array: Array) -> NDArray[np.float64]:
        """A small result as a float64 host array."""
        return np.asarray(array, dtype=np.float64)

    def vector(self, values: NDArray[Any]) -> Array:
        """A host vector in the tile's dtype."""
        return self.to_device(values.astype(self.dtype))

    def scratch(self, name: str, shape: tuple[int, int], dtype: Any = None) -> Array:
        """A reusable buffer of this thread with arbitrary content; default: the tile's dtype."""
        buffers = self._scratch.__dict__.setdefault("buffers", {})
        size = shape[0] * shape[1]
        flat = buffers.get(name)
        if flat is None or flat.shape[0] < size:
            flat = buffers[name] = self._empty(size, np.dtype(dtype or self.dtype))
        return flat[:size].reshape(shape)

    def _empty(self, size: int, dtype: np.dtype[Any]) -> Array:
        return np.empty(size, dtype=dtype)

    # ---- a whole tile

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

    def softplus(self, s: Array, scale: float, shift: float, out: Array) -> Array:
        """log(1 + exp(z)), z = scale * s + shift, into out: max(z, 0) + log(1 + exp(-|z|))."""
        xp, work = self.xp, self.scratch("softplus", s.shape)
        xp.add(xp.multiply(s, scale, out=out), shift, out=out)
        xp.abs(out, out=work)
        xp.multiply(xp.add(out, work, out=out), 0.5, out=out)
        xp.exp(xp.multiply(work, -1.0, out=work), out=work)
        return xp.add(out, xp.log1p(work, out=work), out=out)

    def complement(self, a: Array, out: Array) -> Array:
        """1 - a into out."""
        return self.xp.add(self.xp.multiply(a, -1.0, out=out), 1.0, out=out)

    def row_squares(self, a: Array) -> Array:
        """The sum of squares of each row: `vecdot(a, a)`, which NumPy has from version 2 on."""
        return (a[:, None, :] @ a[:, :, None])[:, 0, 0]

    def same_class(self, rows: Index, cols: Index, out: Array) -> Array:
        """1 where the row's class code equals the column's and is >= 0, else 0, into out."""
        flags = self.scratch("flags", out.shape, bool)
        # an unlabelled column equals no row; 32 bits hold every code and compare twice as fast
        row_codes = self.to_device(rows.astype(np.int32))
        col_codes = self.to_device(np.where(cols < 0, -2, cols).astype(np.int32))
        self.xp.equal(row_codes[:, None], col_codes[None, :], out=flags)
        out[...] = flags
        return out

    def set_at(self, matrix: Array, rows: Index, cols: Index, value: float) -> None:
        """matrix[rows, cols] = value, in place."""
        if len(rows):
            matrix[self.to_device(rows), self.to_device(cols)] = value

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
        flags = self.scratch("flags", matrix.shape, bool)
        lowest = row_limits.min() if col_limits is None else min(row_limits.min(), col_limits.min())
        np.greater_equal(matrix, lowest, out=flags)
        if np.count_nonzero(flags) <= _FEW * flags.size:  # one comparison serves both sides
            return by_sides(_entries(matrix, flags), row_limits, col_limits)
        for_rows = _entries(matrix, np.greater_equal(matrix, row_limits[:, None], out=flags))
        if col_limits is None:
            return for_rows, None
        rows, cols, values = _entries(matrix, np.greater_equal(matrix, col_limits, out=flags))
        return for_rows, (cols, rows, values)

    def kth_largest(self, matrix: Array, k: int) -> NDArray[np.float64]:
        """The k-th largest value of each row, on the host; minus infinity in shorter rows."""
        n = matrix.shape[1]
        if k > n:
            return np.full(matrix.shape[0], -np.inf)
        return self.to_host(np.partition(matrix, n - k, axis=1)[:, n - k])

    def reached_by(self, matrix: Array, k: int, of_rows: bool = True) -> NDArray[np.float64]:
        """A value that at least k entries of each row (or column) reach, on the host.

        It is the k-th largest of the maxima of some groups of entries.  Where no two of the k
        largest are in one group, it is the k-th largest value itself, for one look at each entry.
        Minus infinity where there are fewer than k entries.
        """
        n_rows, n_cols = matrix.shape
        n_groups = _GROUPS_OF_EACH * k + 1  # odd: fewer patterns of classes fall into one group
        size = (n_cols if of_rows else n_rows) // n_groups
        if size > 1:  # each group takes every n-th entry: neighbours are in different groups
            end = size * n_groups
            whole, rest = (
                (matrix[:, :end], matrix[:, end:]) if of_rows else (matrix[:end], matrix[end:])
            )
            shape = (n_rows, size, n_groups) if of_rows else (size, n_groups, n_cols)
            matrix = self.xp.max(whole.reshape(shape), axis=1 if of_rows else 0)
            first = matrix[:, : rest.shape[1]] if of_rows else matrix[: rest.shape[0]]
            self.xp.maximum(first, rest, out=first)
        return self.kth_largest(matrix if of_rows else matrix.T, k)

    # ---- bins

    def bins(self, matrix: Array, n_bins: int) -> Any:
        """Index of each value's bin among n equal bins on [-1, 1], values outside clamped in."""
        scaled = self.scratch("scaled", matrix.shape) if matrix.ndim == 2 else np.empty_like(matrix)
        np.add(matrix, 1.0, out=scaled)
        np.multiply(scaled, n_bins / 2.0, out=scaled)
        np.clip(scaled, 0.0, n_bins - 1.0, out=scaled)
        return scaled.astype(np.intp)

    def bin_sums(self, bins: Any, n_bins: int, weights: Array = None) -> NDArray[np.float64]:
        """Sum of the weights in each bin; without weights the number of values."""
        flat = None if weights is None else weights.reshape(-1)
        return self.to_host(self.xp.bincount(bins.reshape(-1), flat, minlength=n_bins))


def _entries(matrix: NDArray[Any], flags: NDArray[np.bool_]) -> Entries:
    """Row, column and value of the flagged entries."""
    positions = np.flatnonzero(flags)
    rows = positions // matrix.shape[1]
    cols = positions - rows * matrix.shape[1]
    return rows, cols, matrix[rows, cols]


def _backend_elsewhere(dtype: np.dtype[Any], instruction_set: str) -> Backend:
    """Another process's backend, with the same arithmetic.

    Raises:
        AnalysisError: this machine does not have these kernels.
    """
    try:
        found = kernels.loaded_for(instruction_set)
        reason = kernels.missing()
    except ConfigError as error:
        found, reason = None, str(error)
    if found is None and instruction_set != "off":
        import socket

        raise AnalysisError(
            f"the worker on {socket.gethostname()} does not have the compiled kernels "
            f"{instruction_set} of this run ({reason}), and would change its bytes; install the "
            f"package there with them, or set {kernels.VARIABLE} to what all machines have, or off"
        )
    return Backend(dtype, found)


def by_sides(
    found: Entries, row_limits: NDArray[Any], col_limits: NDArray[Any] | None
) -> tuple[Entries, Entries | None]:
    """Of entries that reach a limit of either side, those of the rows and those of the columns."""
    rows, cols, values = found
    reached = values >= row_limits[rows]
    for_rows = rows[reached], cols[reached], values[reached]
    if col_limits is None:
        return for_rows, None
    reached = values >= col_limits[cols]
    return for_rows, (cols[reached], rows[reached], values[reached])


def torch_for(device: str) -> Any:
    """The module torch, which a device needs.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise DependencyError(
            f"--device {device} needs torch, which is not installed: pip install torch"
        ) from error
    return torch


def make_backend(
    device: str,
    dtype: type[np.floating[Any]],
    use_torch: bool = False,
    kept_bytes: int = 0,
) -> Backend:
    """NumPy and the compiled kernels for `cpu` (torch is not imported), torch for anything else.

    Args:
        device: cpu, cuda (or cuda:1 ...) or mps, as `named_devices` gives it.
        dtype: float32 or float64.
        use_torch: take torch on the CPU as well; how its code is tested without a GPU.
        kept_bytes: memory of a device for rows that stay there.

    Raises:
        DependencyError: torch is not installed.
        ConfigError: the device is not there, or cannot do float64; or `CL_ANALYZE_KERNELS` names
            no instruction set of this processor.
    """
    compiled = kernels.loaded()  # its variable is checked, whatever the device
    if device == "cpu" and not use_torch:
        return Backend(np.dtype(dtype), compiled)
    torch = torch_for(device)
    is_missing = device == "mps" and not torch.backends.mps.is_available()
    if is_missing or (device.startswith("cuda") and not torch.cuda.is_available()):
        raise ConfigError(f"--device {device}: torch finds no such device here; use --device cpu")
    if device == "mps" and np.dtype(dtype) == np.float64:
        raise ConfigError("--device mps has no float64; use --precision float32 or --device cpu")
    from cl_analyze.pairs.torch_backend import TorchBackend

    return TorchBackend(np.dtype(dtype), device, kept_bytes)
