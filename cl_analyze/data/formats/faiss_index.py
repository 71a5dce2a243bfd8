""".faiss and .index: the vectors of a FAISS index, and its ids.

A flat index, with or without ids, is read here: its vectors lie in the file as they are, and are
read by rows.  Any other index is read by faiss, in a process of its own: faiss is C++ that ends its
process where it cannot go on (an index that reconstructs nothing, a damaged file), and it allocates
what a header asks for.  That process has a limit of memory and of time.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.apart import answer_of
from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError, DependencyError
from cl_analyze.extras import pip_install
from cl_analyze.quoting import printable

_FLAT = (b"IxFI", b"IxF2", b"IxFl")
_WITH_IDS = (b"IxMp", b"IxM2")
_EXACT = (b"IwFl", b"IHNf")
"""Kinds that faiss reads and that keep the vectors as they are."""
_BINARY_FLAT = b"IBxF"
_BINARY_WITH_IDS = (b"IBMp", b"IBM2")
_HEAD = np.dtype(
    [("d", "<i4"), ("n", "<i8"), ("unused", "<i8", 2), ("trained", "u1"), ("metric", "<i4")]
)
"""Behind the four letters of an index's kind; a metric above 1 has a float32 argument behind it."""
_BINARY_HEAD = np.dtype(
    [("d", "<i4"), ("bytes", "<i4"), ("n", "<i8"), ("trained", "u1"), ("metric", "<i4")]
)
_FLOATS: np.dtype[Any] = np.dtype("<f4")
_BYTES: np.dtype[Any] = np.dtype("u1")
_MOST_DIMENSIONS = 1 << 24
_BLOCK = 8192
_READ_BY_FAISS = f"""
import faiss, numpy as np

def of_lists(index):
    lists = index.invlists
    pieces = [
        faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy()
        for i in range(lists.nlist) if lists.list_size(i)
    ]
    return np.sort(np.concatenate(pieces)) if pieces else np.empty(0, np.int64)

try:
    whole = faiss.read_index(path)  # which owns the indexes inside of it
    index, ids = whole, None
    while isinstance(index, (faiss.IndexIDMap, faiss.IndexIDMap2)):
        new = faiss.vector_to_array(index.id_map)
        ids = new if ids is None else ids
        index = faiss.downcast_index(index.index)
    inverted = faiss.try_extract_index_ivf(index)
    keys = None
    if inverted is not None:
        own = of_lists(inverted)
        if len(np.unique(own)) < len(own):
            raise RuntimeError("an id stands for several vectors")
        if (own == np.arange(len(own))).all():
            inverted.make_direct_map()
        else:
            inverted.set_direct_map_type(faiss.DirectMap.Hashtable)
            keys, ids = own, own
    n, d = index.ntotal, index.d
    if n:
        index.reconstruct(0 if keys is None else int(keys[0]))
    if ids is not None and len(ids) != n:
        raise RuntimeError("it has %d ids for %d vectors" % (len(ids), n))
    tell(n=n, d=d, ids=ids is not None)
    for start in range(0, n, {_BLOCK}):
        stop = min(start + {_BLOCK}, n)
        if keys is None:
            block = index.reconstruct_n(start, stop - start)
        else:
            block = np.stack([index.reconstruct(int(key)) for key in keys[start:stop]])
        sys.stdout.buffer.write(np.ascontiguousarray(block, "<f4").tobytes())
    if ids is not None:
        sys.stdout.buffer.write(np.ascontiguousarray(ids, "<i8").tobytes())
    sys.stdout.buffer.flush()
except (RuntimeError, MemoryError, ValueError) as error:
    tell(error=str(error) or type(error).__name__)
"""


@dataclass(frozen=True)
class _Reader:
    """Reads the fields of a file one after the other."""

    source: FileBytes

    def kind(self, at: int) -> bytes:
        return bytes(self.source.read(at, at + 4))

    def fields(self, at: int, dtype: np.dtype[Any]) -> Any:
        data = self.source.read(at, at + dtype.itemsize)
        if len(data) < dtype.itemsize:
            raise DataError("truncated: the file ends inside of its header; copy or save it again")
        return np.frombuffer(bytes(data), dtype)[0]

    def count(self, at: int) -> int:
        return int(self.fields(at, np.dtype("<u8")))


@dataclass(frozen=True)
class _Flat:
    """Where the values of a flat index lie, and where they end."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    start: int
    stop: int


def _flat(reader: _Reader, at: int) -> _Flat | None:
    """The flat index that begins at an offset; None for another kind.

    Raises:
        DataError: its header and its values do not fit together.
    """
    kind = reader.kind(at)
    if kind in _FLAT:
        head = reader.fields(at + 4, _HEAD)
        n, width, dtype = int(head["n"]), int(head["d"]), _FLOATS
        start = at + 4 + _HEAD.itemsize + (4 if head["metric"] > 1 else 0)
    elif kind == _BINARY_FLAT:
        head = reader.fields(at + 4, _BINARY_HEAD)
        n, width, dtype = int(head["n"]), int(head["bytes"]), _BYTES
        start = at + 4 + _BINARY_HEAD.itemsize
    else:
        return None
    count = reader.count(start)
    start += 8
    stop = start + count * dtype.itemsize
    if n < 0 or width < 1 or count != n * width:
        raise DataError(
            f"its header promises {n} vectors of {width} values, and {count} values: is it "
            "damaged? Write the index again"
        )
    if stop > reader.source.size:
        raise DataError(
            f"truncated: the header promises {count * dtype.itemsize} bytes of vectors, "
            f"{reader.source.size - start} are there; copy the file or write the index again"
        )
    return _Flat((n, width), dtype, start, stop)


def _by_rows(path: Path, source: FileBytes) -> Container | None:
    """A flat index, with or without ids; None for other kinds, which faiss must read."""
    reader, at = _Reader(source), 0
    is_mapped = reader.kind(0) in (*_WITH_IDS, *_BINARY_WITH_IDS)
    if is_mapped:
        is_binary = reader.kind(0) in _BINARY_WITH_IDS
        layout = _BINARY_HEAD if is_binary else _HEAD
        head = reader.fields(4, layout)
        at = 4 + layout.itemsize + (4 if head["metric"] > 1 and not is_binary else 0)
    flat = _flat(reader, at)
    if flat is None:
        return None
    rows = RangedRows(source, flat.shape, flat.dtype, flat.start).as_array()
    arrays = {"embeddings": rows}
    if is_mapped:
        n_ids = reader.count(flat.stop)
        if n_ids != flat.shape[0] or flat.stop + 8 + 8 * n_ids > source.size:
            raise DataError(
                f"it has {n_ids} ids, or fewer, for {flat.shape[0]} vectors: is it truncated? "
                "Copy the file or write the index again"
            )
        ids = RangedRows(source, (n_ids,), np.dtype("<i8"), flat.stop + 8)
        arrays["ids"] = ids.as_array()
    return Container(path, "faiss", arrays)


@dataclass(frozen=True)
class _ByFaiss:
    """Loader of the vectors, or the ids, that a process with faiss reads from an index.

    Attributes:
        path, source: the file, and the file as it was when it was opened.
        shape: of the vectors, by the file's header.
        wants_ids: whether the ids are loaded, instead of the vectors.
    """

    path: Path
    source: FileBytes
    shape: tuple[int, int]
    wants_ids: bool = False

    def __call__(self) -> NDArray[Any]:
        n, d = self.shape
        require_room(f"{self.path}: {n} vectors of {d} dimensions", 4 * n * d, self.source.size)
        require_room(f"{self.path}: the index beside them", 4 * n * d + self.source.size)
        self.source.check()
        vectors, ids = _read_by_faiss(self.path, self.shape, self.source.size)
        self.source.check()
        return (np.arange(n) if ids is None else ids) if self.wants_ids else vectors


def _read_by_faiss(
    path: Path, shape: tuple[int, int], size: int
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """(N, D) float32 vectors and (N,) ids, or None, of an index that faiss reads.

    Raises:
        DataError: faiss cannot read or reconstruct it, or does not come to an end.
    """
    n, d = shape
    with answer_of(_READ_BY_FAISS, path, size + 4 * n * d) as answer:
        found = answer.told
        if "error" in found:
            raise DataError(f"{path}: {_in_plain_words(str(found['error']))}")
        if found and (found["n"], found["d"]) != shape:
            raise DataError(
                f"{path}: its header promises {n} vectors of {d} dimensions, faiss finds "
                f"{found['n']} of {found['d']}: is it damaged? Write the index again"
            )
        vectors, ids = np.empty(shape, "<f4"), np.empty(n, "<i8")
        is_whole = bool(found) and answer.fill(vectors)
        if is_whole and found["ids"]:
            is_whole = answer.fill(ids)
        if not is_whole:
            raise DataError(
                f"{path}: faiss ended, or was stopped, before it had read the index: is it "
                "damaged, or of a kind that cannot reconstruct its vectors? Save the vectors "
                "themselves: numpy.save('vectors.npy', z)"
            )
    return vectors, ids if found["ids"] else None


def _in_plain_words(error: str) -> str:
    """What faiss says, without the places in its source."""
    reason = printable(error.strip().splitlines()[-1].split("failed: ")[-1])
    if "not implemented" in error or "reconstruct" in error:
        return (
            "this kind of index cannot reconstruct its vectors: save the vectors that were added, "
            "numpy.save('vectors.npy', z)"
        )
    if "MemoryError" in error or "bad_alloc" in error:
        return "its header asks for more memory than its size can need; is it damaged?"
    return f"faiss cannot read it ({reason[:300]}); is it damaged? Write the index again"


def open_faiss(path: Path) -> Container:
    """Open a FAISS index: `embeddings`, and `ids` where it has some.

    Raises:
        DependencyError: it is no flat index, and faiss is not installed.
        DataError: not an index, or a damaged one.
    """
    source = FileBytes.of(path)
    container = _by_rows(path, source)
    if container is not None:
        return container
    reader = _Reader(source)
    kind = reader.kind(0)
    if not kind.startswith(b"I") or not kind.isalnum() or kind.startswith(b"IB"):
        if kind.startswith(b"IB"):
            raise DataError(
                "binary indexes are read where they are flat (IndexBinaryFlat, with ids or "
                "without): save the bytes that were added, numpy.save('bits.npy', packed)"
            )
        raise DataError("it does not begin as a FAISS index does: write it by faiss.write_index")
    head = reader.fields(4, _HEAD)
    n, d = int(head["n"]), int(head["d"])
    if n < 0 or not 0 < d <= _MOST_DIMENSIONS:
        raise DataError(
            f"its header promises {n} vectors of {d} dimensions: is it damaged? Write the index "
            "again"
        )
    if importlib.util.find_spec("faiss") is None:
        raise DependencyError(
            f"{path}: reading this kind of index needs faiss: {pip_install('faiss')} "
            "(flat indexes are read without)"
        )
    letters = kind.decode("ascii")
    at_once, where = 4 * n * d, path.absolute()
    vectors = _ByFaiss(where, source, (n, d))
    arrays = {"embeddings": RowArray((n, d), "<f4", vectors, at_once, source.size)}
    if kind in _WITH_IDS or kind.startswith(b"Iw"):
        own = _ByFaiss(where, source, (n, d), wants_ids=True)
        arrays["ids"] = RowArray((n,), "<i8", own, at_once, source.size)
    notes = []
    if kind not in _EXACT:
        notes.append(
            f"vectors are those that the index ({letters}) reconstructs: where it compresses them, "
            "they are not quite those that were added"
        )
    if kind.startswith(b"Iw"):
        notes.append(
            "rows are in the order of the index's ids, which need not be the order of adding: "
            "labels and other files must have it too"
        )
    return Container(path, "faiss", arrays, notes=tuple(notes))
