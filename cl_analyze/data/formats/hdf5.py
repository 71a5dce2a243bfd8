""".h5 and .hdf5: datasets by their paths; contiguous ones by byte ranges, others by chunks."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.apart import NOT_FROM_HERE
from cl_analyze.data.formats.extra import imported, own_errors
from cl_analyze.data.joined import Chunks
from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import printable, quoted

_ANN_BENCHMARKS = frozenset({"train", "test", "neighbors", "distances"})
_MOST_DATASETS = 10_000
_SECONDS = 20
_LOCKED = ("unable to lock file", "already open for write", "consistency flags")
"""Parts of HDF5's messages on a file that another process writes."""
_READ_WORDS = """
import h5py, json, sys
with h5py.File(sys.argv[1], "r", locking="best-effort") as file:
    json.dump(file[sys.argv[2]].asstr()[:].tolist(), sys.stdout)
"""


@contextlib.contextmanager
def opened(path: Path, doing: str = "cannot be read as HDF5") -> Iterator[Any]:
    """An HDF5 file, open for reading; what h5py raises inside becomes a DataError."""
    h5py = imported("h5py", path)
    with own_errors(doing):
        try:
            file = h5py.File(path, "r", locking="best-effort")
        except OSError as error:
            if any(words in str(error) for words in _LOCKED):
                raise DataError(
                    f"{doing}: another process has it open for writing, or its file system has no "
                    "locks: wait until it is written, or set HDF5_USE_FILE_LOCKING=FALSE"
                ) from error
            raise
        with file:
            yield file


@dataclass(frozen=True)
class _Loader:
    """Opens the file again in the process that calls it."""

    path: Path
    key: str
    source: FileBytes

    def __call__(self) -> Any:
        with self._file() as file:
            dataset = file[self.key]
            if dataset.ndim < 2:
                return _vector(self.path, dataset)
            place = dataset.id.get_offset()
            if dataset.chunks is None and place is not None and is_plain(dataset):
                return RangedRows(self.source, dataset.shape, dataset.dtype, place)
            chunk = dataset.chunks or (1, *dataset.shape[1:])
            stored = dataset.id.get_storage_size()
            chunks = Chunks(dataset.shape, chunk, dataset.dtype.itemsize, stored)
        return chunks.rows(str(self.path), quoted(self.key), self._read)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        with self._file() as file:
            rows: NDArray[Any] = file[self.key][start:stop]
        return rows

    def _file(self) -> contextlib.AbstractContextManager[Any]:
        return opened(self.path, f"{self.path}: {quoted(self.key)} cannot be read as HDF5")


def is_plain(dataset: Any) -> bool:
    """Whether stored bytes are NumPy's: HDF5 has types of fewer bits, and with an offset."""
    import h5py

    return bool(dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)))


def _vector(path: Path, dataset: Any) -> NDArray[Any]:
    """All values of a dataset with one axis, words as strings."""
    import h5py

    size = dataset.size * max(dataset.dtype.itemsize, 8)
    require_room(f"{path}: {quoted(dataset.name)}", size, dataset.id.get_storage_size())
    text = h5py.check_string_dtype(dataset.dtype)
    if text is None or text.length is not None:
        values: NDArray[Any] = (dataset if text is None else dataset.asstr())[:]
        return values
    return _words_of_any_length(path, dataset.name)


def _words_of_any_length(path: Path, key: str) -> NDArray[Any]:
    """(N,) strings of a dataset."""
    return np.array(read_apart(_READ_WORDS, path, key), dtype=object)


def read_apart(script: str, path: Path, key: str) -> Any:
    """What a script prints as JSON: another process reads strings, and can be stopped.

    HDF5 keeps strings in chained pieces, and follows a damaged chain for ever, deaf to Ctrl-C.

    Args:
        script: Python, with the path and the key as its arguments.
        path, key: the file, and the entry in it.

    Raises:
        DataError: it fails, or takes more than 20 seconds and one for each megabyte.
    """
    seconds = _SECONDS + path.stat().st_size // 1_000_000
    command = [sys.executable, "-c", NOT_FROM_HERE + script, str(path), key]
    try:
        process = subprocess.run(command, capture_output=True, timeout=seconds, check=True)
    except subprocess.TimeoutExpired as error:
        problem = f"was not read within {seconds} seconds: is it damaged?"
        raise DataError(f"{path}: {quoted(key)} {problem}") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or ["it crashed"]
        raise DataError(
            f"{path}: {quoted(key)} cannot be read: {lines[-1]}; is it damaged?"
        ) from error
    return json.loads(process.stdout)


def _why_not(dataset: Any) -> str | None:
    """Why a dataset cannot be read; None where it can."""
    import h5py

    if dataset.shape is None:
        return "an empty dataset"
    if not dataset.shape:
        return "a single value"
    if dataset.external or dataset.is_virtual:
        return "its values lie in other files, which are not opened"
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    if dataset.dtype.kind not in "fiubcS" and not (is_text and dataset.ndim == 1):
        return f"dtype {dataset.dtype}, not numbers"
    missing = _missing_filter(dataset)
    if missing is not None:
        return (
            f"its filter {missing} is not installed here: save the "
            "dataset with gzip or without a filter"
        )
    if dataset.chunks is None:
        stored = dataset.size * dataset.id.get_type().get_size()
        is_written = dataset.id.get_storage_size() >= stored
        return None if is_written else "its values were never written"
    lengths = zip(dataset.shape, dataset.chunks, strict=True)
    promised = math.prod(-(-length // chunk) for length, chunk in lengths)
    written = dataset.id.get_num_chunks()
    return None if written == promised else f"{written} of its {promised} chunks were written"


def _missing_filter(dataset: Any) -> str | None:
    """The first filter that a dataset needs and the library lacks."""
    import h5py

    filters = dataset.id.get_create_plist()
    for i in range(filters.get_nfilters()):
        number, _, _, name = filters.get_filter(i)
        if not h5py.h5z.filter_avail(number):
            words = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name or "")
            return f"{number} {printable(words)}".strip()
    return None


def open_hdf5(path: Path) -> Container:
    """Open an HDF5 file; links into other files are not followed.

    Keys: the datasets' paths.  In a file of ann-benchmarks `train` is the main array.

    Raises:
        DependencyError: h5py is not installed.
        DataError: not an HDF5 file, or no dataset in it.
    """
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    source = FileBytes.of(path)
    h5py = imported("h5py", path)

    def visit(name: str | bytes, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if isinstance(name, bytes):  # what h5py gives where it is no text
            skipped[name.decode(errors="backslashreplace")] = "its name is no UTF-8"
            return
        if len(arrays) + len(skipped) >= _MOST_DATASETS:
            raise DataError(f"more than {_MOST_DATASETS} datasets; name a file with fewer")
        why = _why_not(item)
        if why is not None:
            skipped[name] = why
            return
        is_text = h5py.check_string_dtype(item.dtype) is not None
        dtype = "|O" if is_text else item.dtype.str
        arrays[name] = RowArray(tuple(item.shape), dtype, _Loader(path.absolute(), name, source))

    with opened(path) as file:
        file.visititems(visit)
    main = "train" if set(arrays) >= _ANN_BENCHMARKS else None
    return Container(path, "hdf5", arrays, skipped, main=main, has_groups=True)
