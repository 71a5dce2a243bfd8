"""Rows of an .npy file fetched by byte ranges, from a file or a URL.

A memory map would do for a file, but its pages count as this process's memory while they are
mapped, a page at a time is how they fault in, and a system that keeps files in large pages maps
megabytes for a single row.  Reading what is wanted is as fast, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import DataError


class ByteRanges(Protocol):
    """Where ranges of bytes come from; `name` is for messages."""

    name: str

    def read(self, start: int, stop: int) -> bytes | bytearray:
        """Bytes start..stop-1; fewer where they end."""
        ...

    def gather(self, offset: int, size: int, wanted: NDArray[np.int64]) -> Any:
        """A buffer of the records `wanted`, of that size, from an offset; None: truncated."""
        ...


class FileBytes:
    """Byte ranges of a file, which is opened for each read and must stay the same.

    Args:
        path: the file.
        size, modified: its bytes and its time of change (nanoseconds) when its header was read.
    """

    def __init__(self, path: Path, size: int, modified: int) -> None:
        self.name = str(path)
        self.size = size
        self._state = (size, modified)

    def read(self, start: int, stop: int) -> bytearray:
        """Bytes start..stop-1; fewer where the file ends.

        Raises:
            DataError: it cannot be opened, or it has changed.
        """
        data = bytearray(stop - start)
        with self._open() as descriptor:
            return data[: _fill(descriptor, memoryview(data), start)]

    def gather(self, offset: int, size: int, wanted: NDArray[np.int64]) -> Any:
        """Records of the file, one system call each."""
        found = np.empty((len(wanted), size), np.uint8)
        into = memoryview(found.reshape(-1).data)
        with self._open() as descriptor:
            for at, record in enumerate(wanted.tolist()):
                part = into[at * size : (at + 1) * size]
                if _fill(descriptor, part, offset + record * size) < size:
                    return None
        return found

    def strided(self, offset: int, size: int, step: int, count: int) -> NDArray[np.uint8] | None:
        """(count, size) bytes, pieces of the file that lie `step` apart; None: truncated."""
        found = np.empty((count, size), np.uint8)
        into = memoryview(found.reshape(-1).data)
        with self._open() as descriptor:
            for at in range(count):
                part = into[at * size : (at + 1) * size]
                if _fill(descriptor, part, offset + at * step) < size:
                    return None
        return found

    def check(self) -> None:
        """Raise where the file has changed.

        Raises:
            DataError: it has, or cannot be opened.
        """
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
            if (status.st_size, status.st_mtime_ns) != self._state:
                raise DataError(f"{self.name}: the file has changed since it was opened; run again")
            yield descriptor
        finally:
            os.close(descriptor)


def _fill(descriptor: int, into: memoryview, start: int) -> int:
    """Bytes read from an offset into a buffer; fewer than its length where the file ends."""
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], start + done)
        if not count:
            break
        done += count
    return done


def _as_they_are(array: NDArray[Any]) -> NDArray[Any]:
    return array


@dataclass(frozen=True)
class RangedRows:
    """An array in C order whose rows are fetched when they are asked for.

    Supports what rows are read by: slices and integer arrays of the first axis, and [:, view].

    Attributes:
        source: the bytes of the file.
        shape, dtype: of the array.
        offset: where its values begin.
        view: index into the second axis that every row is reduced to; None: none.
    """

    source: ByteRanges
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    view: int | None = None
    as_words: Callable[[NDArray[Any]], NDArray[Any]] = _as_they_are

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this holds: none."""
        return 0

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            _, view = index
            return RangedRows(self.source, self.shape, self.dtype, self.offset, view, self.as_words)
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return self._rows(start, max(stop, start))[::step]
        wanted = np.asarray(index)
        found = self.source.gather(self.offset, self._row_bytes, wanted)
        if found is None:
            raise DataError(f"{self.source.name}: truncated: not all rows are there")
        return self._array(found, len(wanted))

    def _rows(self, start: int, stop: int) -> NDArray[Any]:
        size = (stop - start) * self._row_bytes
        first = self.offset + start * self._row_bytes
        data = self.source.read(first, first + size)
        if len(data) != size:
            raise DataError(
                f"{self.source.name}: truncated: rows {start} to {stop - 1} are not all there"
            )
        return self._array(data, stop - start)

    def _array(self, data: Any, n_rows: int) -> NDArray[Any]:
        flat = np.frombuffer(data, dtype=self.dtype)
        rows = self.as_words(flat.reshape(n_rows, *self.shape[1:]))
        return rows if self.view is None else rows[:, self.view]


@dataclass(frozen=True)
class FortranRows:
    """Rows of values that are stored by columns: a piece of every column is read for a block.

    Attributes:
        source: the file.
        shape: of the array, its first axis the fastest.
        dtype: of the values as they are stored.
        offset: of the first value.
        as_words: what is done to an array that was read.
        view: index along the second of three axes; None: all.
    """

    source: FileBytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    as_words: Callable[[NDArray[Any]], NDArray[Any]] = _as_they_are
    view: int | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this holds: none."""
        return 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            _, view = index
            return replace(self, view=view)
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            index = np.arange(start, max(stop, start))[::step]
        wanted = np.asarray(index)
        tail, size = self.shape[1:], self.dtype.itemsize
        step, origin = len(self) * size, self.offset
        if self.view is not None:  # every so many columns, beginning with the view's first
            origin, step, tail = origin + self.view * step, tail[0] * step, tail[1:]
        n_columns = int(np.prod(tail, dtype=np.int64))
        low, high = (int(wanted.min()), int(wanted.max()) + 1) if len(wanted) else (0, 0)
        out = np.empty((len(wanted), n_columns), self.dtype)
        if high - low <= _GAP_ROWS * len(wanted):
            first, width = origin + low * size, (high - low) * size
            most = max(1, _MOST_AT_ONCE // max(width, 1))
            for at in range(0, n_columns, most):
                count = min(most, n_columns - at)
                found = self._there(self.source.strided(first + at * step, width, step, count))
                out[:, at : at + count] = found.view(self.dtype)[:, wanted - low].T
        else:
            for at in range(n_columns):
                found = self._there(self.source.gather(origin + at * step, size, wanted))
                out[:, at] = found.view(self.dtype)[:, 0]
        rows = self.as_words(out.reshape(len(wanted), *tail[::-1]))
        return rows.transpose(0, *range(len(tail), 0, -1))

    def _there(self, found: Any) -> NDArray[np.uint8]:
        if found is None:
            raise DataError(f"{self.source.name}: truncated: not all rows are there")
        there: NDArray[np.uint8] = found
        return there


_MOST_AT_ONCE = 1 << 24
"""Bytes of columns that are read before they are put in their rows."""
_GAP_ROWS = 64
"""Rows for each wanted one up to which those between are read along."""
