""".zarr: arrays of a Zarr store (a directory; versions 2 and 3), read by chunks."""

from __future__ import annotations

import math
import platform
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.compatible import is_older_zarr, lacks_zarr_3
from cl_analyze.data.formats.extra import imported, own_errors
from cl_analyze.data.joined import Chunks
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError, DependencyError
from cl_analyze.extras import pip_install
from cl_analyze.quoting import described, quoted

MARKERS = ("zarr.json", ".zgroup", ".zarray")
_MOST_ARRAYS = 10_000
_MOST_UNSTORED = 1000
_MOST_CHUNKS = 5_000_000
_CODECS = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "numcodecs.")
    for name in (
        "bytes", "transpose", "sharding_indexed", "gzip", "zlib", "bz2", "lzma", "lz4", "zstd",
        "blosc", "shuffle", "delta", "bitround", "fixedscaleoffset", "quantize", "packbits",
        "astype", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "vlen-utf8",
        "vlen-bytes",
    )
)  # fmt: skip
"""Codecs that only turn bytes into numbers or words; `pickle`, which runs code, is left out."""


def _library(path: Path) -> Any:
    """The library that reads both versions of the format: zarr 3.

    Raises:
        DependencyError: it is not installed, too old, or needs a newer Python.
    """
    needs = f"{path}: reading this format needs zarr 3 or newer"
    if lacks_zarr_3():
        python = platform.python_version()
        raise DependencyError(
            f"{needs}, which needs Python 3.11 or newer; this is Python {python}: "
            "use a newer Python, or save the array as .npy"
        )
    zarr = imported("zarr", path)
    if is_older_zarr(zarr):
        raise DependencyError(f"{needs}, found zarr {zarr.__version__}: {pip_install('formats')}")
    return zarr


@dataclass(frozen=True)
class _Loader:
    """Opens the store again in the process that calls it.

    Attributes:
        path, key: where.
        stored: bytes of the store's files in the array's folder.
    """

    path: Path
    key: str
    stored: int

    def __call__(self) -> Any:
        zarr = _library(self.path)
        with own_errors("cannot be read as a Zarr store"):
            store = zarr.open(store=str(self.path), mode="r")
            array = store[self.key] if self.key else store
        shape, itemsize = array.shape, array.dtype.itemsize
        name = quoted(self.key)

        def read(start: int, stop: int) -> NDArray[Any]:
            with own_errors(f"{self.path}: {name} cannot be read as a Zarr store"):
                return np.asarray(array[start:stop])

        if len(shape) < 2:
            require_room(f"{self.path}: {name}", shape[0] * itemsize, self.stored)
            return read(0, shape[0])
        chunks = Chunks(shape, array.shards or array.chunks, itemsize, self.stored)
        return chunks.rows(str(self.path), name, read)


def _why_not(array: Any) -> str | None:
    """Why an array cannot be read; None where it can."""
    if not array.shape:
        return "a single value"
    kind = np.dtype(array.dtype).kind if not hasattr(array.dtype, "na_object") else "T"
    if kind not in "fiubcUST":
        return f"dtype {array.dtype}, not numbers (objects are never unpickled)"
    if kind in "UST" and len(array.shape) != 1:
        return "words with several axes"
    unknown = sorted(set(_codecs(array.metadata.to_dict())) - _CODECS)
    if unknown:
        return f"its codec {', '.join(unknown)} is none that is known to be safe"
    if math.prod(map(int, array.shape)) >= 2**63 or array.nchunks > _MOST_CHUNKS:
        shape = described(tuple(array.shape), 80)
        return f"its shape {shape} promises {array.nchunks} chunks, at most {_MOST_CHUNKS} are read"
    # chunks of nothing but the fill value are not stored
    written, promised = array.nchunks_initialized, array.nchunks
    if array.size and written < max(1, promised / _MOST_UNSTORED):
        return f"{written} of its {promised} chunks were written"
    return None


def _codecs(metadata: Any) -> Iterator[str]:
    """The names of all codecs in an array's metadata, those inside of shards too."""
    if isinstance(metadata, dict):
        for key in ("filters", "compressor", "codecs", "index_codecs"):
            entries = metadata.get(key) or ()
            for entry in [entries] if isinstance(entries, dict) else entries:
                yield str(entry.get("id", entry.get("name")) if isinstance(entry, dict) else entry)
                yield from _codecs(entry.get("configuration") if isinstance(entry, dict) else None)


def open_zarr(path: Path) -> Container:
    """Open a Zarr store.

    Keys: the paths of the arrays; a store of a single array has no keys.

    Raises:
        DependencyError: zarr is not installed, or too old.
        DataError: not a Zarr store, or no array in it.
    """
    zarr = _library(path)
    files = _files(path)
    stored: Counter[Path] = Counter()
    for file, size in files.items():
        stored.update(dict.fromkeys(file.parents, size))
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    notes: list[str] = []
    with own_errors("cannot be read as a Zarr store"):
        store = zarr.open(store=str(path), mode="r")
        if isinstance(store, zarr.Array):
            members = {"": store}
        else:
            members = {
                name: item for name, item in store.members(None) if isinstance(item, zarr.Array)
            }
        if len(members) > _MOST_ARRAYS:
            raise DataError(f"more than {_MOST_ARRAYS} arrays; name a store with fewer")
        for name, array in members.items():
            why = _why_not(array)
            if why is not None:
                skipped[name] = why
                continue
            missing = array.nchunks - array.nchunks_initialized
            if missing:
                notes.append(
                    f"{missing} of the {array.nchunks} chunks of {quoted(name or 'the array')} "
                    f"are not stored; they count as the fill value {array.fill_value}"
                )
            is_text = hasattr(array.dtype, "na_object")
            dtype = "|O" if is_text else np.dtype(array.dtype).str
            loader = _Loader(path.absolute(), name, stored.get(path / name, 0))
            arrays[name] = RowArray(tuple(array.shape), dtype, loader)
    return Container(path, "zarr", arrays, skipped, tuple(notes), tuple(files), has_groups=True)


def _files(path: Path) -> dict[Path, int]:
    """The store's files in their order, and their bytes; a FIFO, which never ends, is an error."""
    files = {}
    for place in sorted(path.rglob("*")):
        try:
            status = place.stat()
        except OSError:  # a link to nothing, which counts as no file
            continue
        mode = status.st_mode
        if stat.S_ISREG(mode):
            files[place] = status.st_size
        elif not stat.S_ISDIR(mode):
            raise DataError(f"{place.relative_to(path)} in it is a FIFO, a device or a socket")
    return files
