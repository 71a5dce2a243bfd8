"""Rows in several pieces that read as one matrix, and pieces that are decoded when needed."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import release

_KEPT_BYTES = 32 << 20
"""Decoded pieces that are kept: the next rows are mostly in the piece that was read last."""
_PIECE_BYTES = 4 << 20
"""Small chunks are decoded together, up to this many bytes."""


@dataclass
class Joined:
    """Arrays one after the other along their first axis, read without being joined.

    A part is an array, or an object that has `len` and is read by the same indices: slices and
    integer arrays of the first axis.
    """

    parts: Sequence[Any]
    on_give_back: Callable[[], None] | None = None
    _edges: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._edges = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self._edges[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return self[np.arange(start, stop, step)]
            first = int(np.searchsorted(self._edges, start, side="right")) - 1
            last = int(np.searchsorted(self._edges, max(stop, start + 1), side="left"))
            pieces = [
                self.parts[p][max(start - self._edges[p], 0) : max(stop - self._edges[p], 0)]
                for p in range(max(first, 0), min(last, len(self.parts)))
            ]
            if not pieces:
                return self.parts[0][:0]
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        rows = np.asarray(index)
        owner = np.searchsorted(self._edges, rows, side="right") - 1
        out: NDArray[Any] | None = None
        for p in np.unique(owner) if len(rows) else [0]:
            mine = owner == p
            piece = self.parts[p][rows[mine] - self._edges[p]]
            if out is None:
                out = np.empty((len(rows), *piece.shape[1:]), dtype=piece.dtype)
            out[mine] = piece
            if self.on_give_back is not None:  # a thousand rows may lie in as many pieces
                self.on_give_back()
        return out

    def give_back(self) -> None:
        """Let go of pages of memory maps that were read."""
        if self.on_give_back is not None:
            self.on_give_back()
        for part in self.parts:
            release(part)


class _Pieces:
    """Decodes pieces, and keeps those that were used last.  Safe to call from several threads."""

    def __init__(self, decode: Callable[[int], Any]) -> None:
        self._decode = decode
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, number: int) -> Any:
        with self._lock:  # one at a time: two threads that want one piece decode it once
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            piece = self._kept[number] = self._decode(number)
            while len(self._kept) > 1 and sum(p.nbytes for p in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
            return piece


@dataclass(frozen=True)
class _Piece:
    """Rows of one piece, decoded when they are asked for."""

    pieces: _Pieces
    number: int
    n_rows: int

    def __len__(self) -> int:
        return self.n_rows

    def __getitem__(self, index: Any) -> Any:
        return self.pieces.get(self.number)[index]


def decoded(
    lengths: Sequence[int],
    decode: Callable[[int], Any],
    give_back: Callable[[], None] | None = None,
) -> Joined:
    """Rows in pieces of the given lengths, of which number i is the result of `decode(i)`.

    A piece is an array, or an object that is read by the same indices and has `nbytes`.

    Memory: the pieces that were used last, 32 MiB or one of them.
    """
    pieces = _Pieces(decode)
    return Joined([_Piece(pieces, i, length) for i, length in enumerate(lengths)], give_back)


def by_chunks(
    n_rows: int, chunk_rows: int, row_bytes: int, read: Callable[[int, int], NDArray[Any]]
) -> Joined:
    """Rows of an array stored in chunks: whole chunks are read, small ones together.

    Args:
        n_rows: rows of the array.
        chunk_rows: rows of a chunk.
        row_bytes: bytes of a decoded row.
        read: returns rows start..stop-1.
    """
    step = chunk_rows * max(1, _PIECE_BYTES // max(chunk_rows * row_bytes, 1))
    starts = range(0, max(n_rows, 1), step)
    return decoded(
        [min(step, n_rows - start) for start in starts],
        lambda i: read(i * step, min((i + 1) * step, n_rows)),
    )


@dataclass(frozen=True)
class Chunks:
    """How a file stores an array in chunks.

    Attributes:
        shape: of the array.
        chunk: shape of a chunk.
        itemsize: bytes of a value.
        stored: bytes of all chunks in the file.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    itemsize: int
    stored: int

    def rows(self, place: str, name: str, read: Callable[[int, int], NDArray[Any]]) -> Joined:
        """The array, read chunk by chunk; `place` and `name` stand in messages.

        Raises:
            DataError: a chunk, or all chunks that some rows need, would not fit into memory.
        """
        n_rows, chunk_rows = self.shape[0], self.chunk[0]
        row_bytes = math.prod(self.shape[1:]) * self.itemsize
        stored = self.stored * min(chunk_rows, n_rows) // max(n_rows, 1)
        require_room(f"{place}: a chunk of {name}", math.prod(self.chunk) * self.itemsize, stored)
        require_room(f"{place}: a row of chunks of {name}", chunk_rows * row_bytes, stored)
        return by_chunks(n_rows, chunk_rows, row_bytes, read)
