"""Rows of a file or an array, read block by block as native real numbers."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import DataError

BFLOAT16 = "bfloat16"


def stored_dtype(dtype: str) -> np.dtype[Any]:
    """NumPy's dtype of the stored values: bfloat16 is held as uint16.

    >>> stored_dtype("bfloat16"), stored_dtype("<f4")
    (dtype('uint16'), dtype('float32'))
    """
    return np.dtype("<u2" if dtype == BFLOAT16 else dtype)


def kind_of(dtype: str) -> str:
    """NumPy's letter for the kind of number: f (bfloat16 too), i, u, b, c, ..."""
    return "f" if dtype == BFLOAT16 else np.dtype(dtype).kind


def is_missing(value: Any) -> bool:
    """Whether a value of a column is None, pd.NA, or unequal to itself as NaN and NaT are.

    >>> is_missing(None), is_missing(float("nan")), is_missing("nan"), is_missing([float("nan")])
    (True, True, False, False)
    """
    if value is None or type(value).__name__ == "NAType":
        return True
    return not hasattr(value, "__len__") and bool(value != value)  # words and vectors have one


def is_real(dtype: str) -> bool:
    """Whether values of this dtype (as named by `RowArray.dtype`) can be embeddings."""
    return kind_of(dtype) in "fiub"


def as_real(block: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Values of a block as native float32, or float64 where float32 would lose digits.

    float16, bfloat16, booleans and integers of up to 16 bits become float32; float64, long double
    and wider integers become float64.  Byte order becomes native.  bfloat16 arrives as uint16.
    """
    if dtype == BFLOAT16:
        widened = block.astype(np.uint32) << np.uint32(16)
        return widened.view(np.float32)
    kind, size = block.dtype.kind, block.dtype.itemsize
    if kind not in "fiub":
        raise DataError(f"embeddings must be real numbers, found dtype {block.dtype}")
    narrow = (kind == "f" and size <= 4) or (kind in "iub" and size <= 2)
    return np.ascontiguousarray(block, dtype=np.float32 if narrow else np.float64)


def words(array: NDArray[Any]) -> NDArray[Any]:
    """Two-byte void, which is how NumPy saves ml_dtypes' bfloat16, as uint16; others as they are.

    >>> words(np.zeros(2, "V2")).dtype, words(np.zeros(2)).dtype
    (dtype('uint16'), dtype('float64'))
    """
    return array.view(np.uint16) if is_void_bfloat16(array.dtype) else array


def is_void_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is the two-byte void that stands for bfloat16."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None


def release(array: Any) -> None:
    """Let go of file pages that were read; they stay with the operating system.

    Args:
        array: an array, a read-only memory map, or an object with the method `give_back`.
    """
    if hasattr(array, "give_back"):
        array.give_back()
    base = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode != "r":
            return
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


@dataclass
class RowArray:
    """One array of a container: shape and dtype known at once, values read when asked for.

    Attributes:
        shape: the array's shape; rows are its first axis.
        dtype: NumPy's name of the dtype, or "bfloat16" (then values are held as uint16).
        load: returns the array, or an object that reads its rows by slices and integer arrays;
            called at most once per process.  It must be picklable: a pickled RowArray carries
            `load`, not the values, and another process opens the file again.
        at_once: bytes of memory that the first read takes where a format cannot be read by rows.
        stored: bytes that the values take in the file, 0 where that is not known.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Any]
    at_once: int = 0
    stored: int = 0
    _array: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, array: NDArray[Any], dtype: str | None = None) -> RowArray:
        """Wrap an array that is already in memory."""
        return cls(array.shape, dtype or array.dtype.str, InMemory(array))

    @property
    def n_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * stored_dtype(self.dtype).itemsize

    @property
    def n_rows(self) -> int:
        """Length of the first axis."""
        return self.shape[0]

    @property
    def dtype_name(self) -> str:
        """The dtype as people write it: float32, >f8 for big-endian, bfloat16."""
        if self.dtype == BFLOAT16:
            return BFLOAT16
        dtype = np.dtype(self.dtype)
        return dtype.name if dtype.isnative else self.dtype

    def values(self) -> Any:
        """The stored values (uint16 words where the dtype is bfloat16)."""
        if self._array is None:
            self._array = self.load()
        return self._array

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start..stop-1 as float32 or float64, in memory, C-contiguous."""
        return as_real(self.values()[start:stop], self.dtype)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The given rows, in the given order, as float32 or float64."""
        return as_real(self.values()[rows], self.dtype)

    def give_back(self) -> None:
        """Let go of the pages of a memory map that were read; they come back when asked for."""
        release(self._array)

    def view_of(self, axis1: int) -> RowArray:
        """The (N, D) slice [:, axis1] of an (N, V, D) array."""
        shape = (self.shape[0], *self.shape[2:])
        return RowArray(shape, self.dtype, OneView(self.load, axis1), self.at_once, self.stored)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_array": None}


@dataclass(frozen=True)
class InMemory:
    """Loader of an array that is there already, or of an object that reads one by rows."""

    array: Any

    def __call__(self) -> Any:
        return self.array


@dataclass(frozen=True)
class OneView:
    """Loader of one view of an (N, V, D) array."""

    load: Callable[[], Any]
    axis1: int

    def __call__(self) -> Any:
        array = self.load()
        return (
            array[:, self.axis1] if isinstance(array, np.ndarray) else ViewRows(array, self.axis1)
        )


@dataclass(frozen=True)
class ViewRows:
    """Rows of one view, read as whole rows of all views."""

    array: Any
    axis1: int

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows: NDArray[Any] = self.array[index][:, self.axis1]
        return rows

    def __len__(self) -> int:
        return len(self.array)

    def give_back(self) -> None:
        """Let go of pages that were read."""
        release(self.array)


@dataclass(frozen=True)
class SelectedRows:
    """Some rows of an array, in a given order, with the same methods to read them."""

    source: Rows
    kept: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the rows."""
        return (len(self.kept), *self.source.shape[1:])

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.kept)

    @property
    def dtype(self) -> str:
        """The source's dtype."""
        return self.source.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See `RowArray.read`."""
        return self.source.take(self.kept[start:stop])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See `RowArray.take`."""
        return self.source.take(self.kept[rows])

    def give_back(self) -> None:
        """Let go of pages that were read."""
        self.source.give_back()


class Rows(Protocol):
    """Rows that are read block by block: of an array, some of them, or a variant of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the rows."""
        ...

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def dtype(self) -> str:
        """NumPy's name of the dtype, or "bfloat16"."""
        ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start..stop-1 as float32 or float64, in memory, C-contiguous."""
        ...

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The given rows, in the given order, as float32 or float64."""
        ...

    def give_back(self) -> None:
        """Let go of pages that were read."""
        ...


@dataclass(frozen=True)
class Container:
    """The content of one file: named arrays, or a single one without a name.

    Attributes:
        path: the file (or URL).
        format: the reader's name, for messages.
        arrays: key -> array; a format without keys has the single key "".
        skipped: key -> why this entry is not an array that can be read.
        notes: choices of the reader that the user did not ask for.
        shards: the files, where there are several.
        main: the key of the main array where the format names it.
        has_groups: whether keys are paths of groups, as in HDF5 and Zarr.
        beside: name -> key of arrays with one entry a row, where the format says which those are.
        instead: the kind of a file without embeddings, and the remedy; empty: not known.
    """

    path: PurePath
    format: str
    arrays: dict[str, RowArray]
    skipped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    shards: tuple[Path, ...] = ()
    main: str | None = None
    has_groups: bool = False
    instead: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_keys(self) -> bool:
        """Whether PATH::KEY makes sense for this file."""
        return "" not in self.arrays
