"""Rows of an .npy file fetched by byte ranges, from a file or a URL.

A memory map would do for a file, but its pages count as this process's memory while they are
mapped, a page at a time is how they fault in, and a system that keeps files in large pages maps
megabytes for a single row.  Reading what is wanted is as fast, and leaves nothing behind.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import DataError

_MAPPED = 64 << 20
"""Bytes up to which a file is mapped to gather rows: its pages cannot be more than that."""


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
    """Byte ranges of a file; opened once in each process, closed with the object."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._descriptor = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._descriptor).st_size
        self._map: mmap.mmap | None = None

    def read(self, start: int, stop: int) -> bytearray:
        """Bytes start..stop-1; fewer where the file ends."""
        data = bytearray(stop - start)
        return data[: self._fill(memoryview(data), start)]

    def gather(self, offset: int, size: int, wanted: NDArray[np.int64]) -> Any:
        """Records of the file: one call each, or through a memory map where the file is small."""
        if self._size <= _MAPPED:
            if self._map is None:
                self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            record = np.dtype((np.void, size))
            count = (self._size - offset) // size
            records = np.frombuffer(self._map, record, offset=offset, count=count)
            fits = not len(wanted) or wanted.max() < count
            return records[wanted] if fits else None
        found = np.empty((len(wanted), size), np.uint8)
        into = memoryview(found.reshape(-1).data)
        for at, record in enumerate(wanted.tolist()):
            if self._fill(into[at * size : (at + 1) * size], offset + record * size) < size:
                return None
        return found

    def _fill(self, into: memoryview, start: int) -> int:
        done = 0
        while done < len(into):
            count = os.preadv(self._descriptor, [into[done:]], start + done)
            if not count:
                break
            done += count
        return done

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


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
    as_words: Callable[[NDArray[Any]], NDArray[Any]] = field(default=lambda array: array)

    def __len__(self) -> int:
        return self.shape[0]

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
