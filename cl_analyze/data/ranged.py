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
        source: where bytes come from.
        shape: of the array, its first axis the fastest.
        dtype: of the values as they are stored.
        offset: of the first value.
        as_words: what is done to an array that was read.
        view: index along the second of three axes; None: all.
    """

    source: ByteRanges
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    as_words: Callable[[NDArray[Any]], NDArray[Any]] = _as_they_are
    view: int | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            _, view = index
            return replace(self, view=view)
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            index = np.arange(start, max(stop, start))[::step]
        wanted = np.asarray(index)
        columns: NDArray[Any] = np.arange(int(np.prod(self.shape[1:], dtype=np.int64)))
        tail = self.shape[1:]
        columns = columns.reshape(tail[::-1]).T  # number of each column of values, as stored
        if self.view is not None:
            columns, tail = columns[self.view], tail[1:]
        out = np.empty((len(wanted), columns.size), self.dtype)
        for at, column in enumerate(columns.ravel().tolist()):
            out[:, at] = self._column(column, wanted)
        return self.as_words(out.reshape(len(wanted), *tail))

    def _column(self, column: int, wanted: NDArray[np.int64]) -> NDArray[Any]:
        """Values of one column in the given rows."""
        size, first = self.dtype.itemsize, self.offset + column * len(self) * self.dtype.itemsize
        if not len(wanted):
            return np.empty(0, self.dtype)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        found: Any
        if high - low <= _GAP_ROWS * len(wanted):
            found = self.source.read(first + low * size, first + high * size)
            if len(found) == (high - low) * size:
                return np.frombuffer(found, self.dtype)[wanted - low]
        else:
            found = self.source.gather(first, size, wanted)
            if found is not None:
                return np.frombuffer(found, self.dtype)
        raise DataError(f"{self.source.name}: truncated: not all rows are there")


_GAP_ROWS = 64
"""Rows for each wanted one up to which those between are read along."""
