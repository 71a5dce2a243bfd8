"""Rows fetched by byte ranges, from a file or a URL.

A memory map would do for a file, but its pages count as this process's memory while they are
mapped, the system reads it a page at a time, and a system that keeps files in large pages maps
megabytes for a single row.  Reading the wanted bytes is as fast, and leaves nothing behind.  And a
map of a file that shrinks ends the process.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import RowArray
from cl_analyze.errors import DataError

_MOST_AT_ONCE = 1 << 24
"""Bytes of columns that are read before they are put in their rows."""
_GAP_ROWS = 64
"""Rows for each wanted row up to which the rows between are read along."""


class ByteRanges(Protocol):
    """A source of byte ranges."""

    @property
    def name(self) -> str:
        """The source in messages."""
        ...

    def pieces(self, starts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """(n, size) bytes: `size` bytes from each of n offsets.

        Raises:
            DataError: the bytes are not all there, cannot be read, or have changed.
        """
        ...


@dataclass(frozen=True)
class FileBytes:
    """Byte ranges of a file, which is opened for each read and must stay the same.

    Attributes:
        name: its absolute path.
        size, modified: its bytes and its time of change (nanoseconds) when its header was read.
    """

    name: str
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> FileBytes:
        """The file as it is now."""
        status = path.stat()
        return cls(str(path.absolute()), status.st_size, status.st_mtime_ns)

    def read(self, start: int, stop: int) -> bytearray:
        """Bytes start..stop-1; fewer where the file ends.

        Raises:
            DataError: it cannot be opened, or it has changed.
        """
        data = bytearray(stop - start)
        with self._open() as descriptor:
            return data[: _fill(descriptor, memoryview(data), start)]

    def pieces(self, starts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """See `ByteRanges`; one system call a piece."""
        pieces = np.empty((len(starts), size), np.uint8)
        buffer = memoryview(pieces.reshape(-1).data)
        with self._open() as descriptor:
            for number, start in enumerate(starts.tolist()):
                part = buffer[number * size : (number + 1) * size]
                if _fill(descriptor, part, start) < size:
                    raise DataError(f"{self.name}: truncated: not all rows are there")
        return pieces

    def check(self) -> None:
        """Raise a DataError where the file has changed, or cannot be opened."""
        with self._open():
            pass

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        try:
            descriptor = os.open(self.name, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read: {error.strerror or error}") from error
        try:
            status = os.fstat(descriptor)
            if (status.st_size, status.st_mtime_ns) != (self.size, self.modified):
                raise DataError(f"{self.name}: the file has changed since it was opened; run again")
            yield descriptor
        finally:
            os.close(descriptor)


def _fill(descriptor: int, buffer: memoryview, start: int) -> int:
    """Bytes read from an offset into a buffer; fewer than its length where the file ends."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], start + done)
        if not count:
            break
        done += count
    return done


@dataclass(frozen=True)
class RangedRows:
    """An array in C order whose rows are fetched when they are asked for.

    Rows are read by slices and integer arrays of the first axis.

    Attributes:
        source: the bytes of the file.
        shape, dtype: of the array.
        offset: where its values begin.
        convert: applied to rows that were read; None: rows are returned as they are stored.
    """

    source: ByteRanges
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    convert: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    nbytes: ClassVar[int] = 0
    """Bytes of memory that the values take."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            n_rows = max(stop - start, 0)
            first = np.array([self.offset + start * row_bytes])
            data = self.source.pieces(first, n_rows * row_bytes)
        else:
            index, step = np.asarray(index), 1
            n_rows = len(index)
            data = self.source.pieces(self.offset + index * row_bytes, row_bytes)
        rows = data.reshape(-1).view(self.dtype).reshape(n_rows, *self.shape[1:])
        return (rows if self.convert is None else self.convert(rows))[::step]

    def as_array(self, dtype: str | None = None) -> RowArray:
        """The rows as an array of a container.

        Args:
            dtype: the name of the dtype where stored values have another one, as for bfloat16.
        """
        return RowArray(self.shape, dtype or self.dtype.str, self.load)

    def load(self) -> Any:
        """The rows themselves; a vector (one axis) is read whole."""
        if len(self.shape) > 1:
            return self
        require_room(self.source.name, math.prod(self.shape) * self.dtype.itemsize)
        return self[:]


class FortranRows(RangedRows):
    """Rows of values that are stored by columns: a piece of every column is read for a block."""

    def __getitem__(self, index: Any) -> NDArray[Any]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            index = np.arange(start, max(stop, start))[::step]
        wanted = np.asarray(index, np.int64)
        tail, size = self.shape[1:], self.dtype.itemsize
        columns = self.offset + np.arange(math.prod(tail)) * (len(self) * size)
        low, high = (int(wanted.min()), int(wanted.max()) + 1) if len(wanted) else (0, 0)
        rows = np.empty((len(wanted), len(columns)), self.dtype)
        if high - low <= _GAP_ROWS * len(wanted):
            width = (high - low) * size
            most = max(1, _MOST_AT_ONCE // max(width, 1))
            for at in range(0, len(columns), most):
                data = self.source.pieces(columns[at : at + most] + low * size, width)
                rows[:, at : at + most] = data.view(self.dtype)[:, wanted - low].T
        else:
            for at, column in enumerate(columns):
                data = self.source.pieces(column + wanted * size, size)
                rows[:, at] = data.view(self.dtype)[:, 0]
        return rows.reshape(len(wanted), *tail[::-1]).transpose(0, *range(len(tail), 0, -1))
