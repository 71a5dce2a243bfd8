""".mat: variables of a MATLAB file, version 4 to 7 by SciPy, 7.3 as the HDF5 file that it is.

A variable has two axes or more in MATLAB: one row or one column of values is a vector here, one
value a row.  Cell arrays of words and rows of characters are words.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats import hdf5
from cl_analyze.data.formats.apart import Answer, answer_of
from cl_analyze.data.joined import Chunks
from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import FileBytes, FortranRows, RangedRows
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import printable, quoted

_HDF5 = b"\x89HDF\r\n\x1a\n"
_BEHIND = 512
"""Bytes of MATLAB's own in front of an HDF5 file."""
_NUMBERS = {
    "double": "<f8", "single": "<f4", "logical": "|b1", "int8": "|i1", "uint8": "|u1",
    "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4", "int64": "<i8",
    "uint64": "<u8",
}  # fmt: skip
"""MATLAB's classes of numbers, and NumPy's."""
_WHY_NOT = {
    "sparse": "a sparse matrix, which is not read: save it as full(z)",
    "struct": "a struct: save its fields, save('file.mat', '-struct', 'name')",
}
_OTHER = (
    "a variable of class {}: save numbers as double(z), and words (a string array, a categorical) "
    "as cellstr(labels)"
)
_READ_BY_SCIPY = f"""
import numpy as np
from scipy.io import loadmat, whosmat

class Refused(Exception):
    pass

def of_a_cell(number, cell):
    if cell.size == 0:
        return None
    if cell.size == 1 and cell.dtype.kind in "Ufiub":
        return cell.reshape(-1)[0].item()
    raise Refused(
        "a cell must hold one word or one number, cell %d holds %s of %s: save words as "
        "cellstr(labels), numbers as cell2mat(z)" % (number, cell.shape, cell.dtype)
    )

def read(key, kind):
    found = loadmat(path, variable_names=[key])[key]
    if kind == "cell":
        cells = enumerate(np.asarray(found).reshape(-1), 1)
        tell(cells=[of_a_cell(number, np.asarray(cell)) for number, cell in cells])
    elif kind == "char":
        tell(cells=[str(word).rstrip() for word in np.asarray(found).reshape(-1)])
    elif not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise Refused("numbers must be real, found %s: save real(z)" % found.dtype)
    else:
        tell(values=True)
        sys.stdout.buffer.write(np.ascontiguousarray(found, {_NUMBERS!r}[kind]).data)
        sys.stdout.buffer.flush()

try:
    if len(sys.argv) > 4:
        read(*map(json.loads, sys.argv[4:]))
    else:
        listed = whosmat(path)
        tell(listed=[(key, [int(n) for n in shape], kind) for key, shape, kind in listed])
except Refused as error:
    tell(refused=str(error))
except Exception as error:
    lines = str(error).splitlines() or [type(error).__name__]
    tell(error=lines[0])
"""
_VALUE_OF_A_CELL = 200
"""Memory that a cell of a cell array takes, about."""


def _shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A row or a column of values as a vector.

    >>> _shape((1, 5)), _shape((5, 1)), _shape((5, 2)), _shape((1, 1))
    ((5,), (5,), (5, 2), (1,))
    """
    return (max(shape),) if len(shape) == 2 and min(shape) == 1 else shape


def _why_not(kind: str, shape: tuple[int, ...]) -> str | None:
    """Why a variable cannot be read; None where it can."""
    if kind in _WHY_NOT:
        return _WHY_NOT[kind]
    if kind not in _NUMBERS and kind not in ("cell", "char"):
        return _OTHER.format(kind)
    if min(shape, default=0) < 1:
        return f"an empty variable, {shape}"
    if kind == "cell" and len(_shape(shape)) > 1:
        return f"a cell array of shape {shape}: save one cell a row, or numbers as cell2mat(z)"
    return None


@dataclass(frozen=True)
class _Variable:
    """Loader of a variable of versions 4 to 7, which SciPy reads whole.

    Attributes:
        path, source, key: the file, the file as it was when it was opened, and the variable.
        kind, shape: MATLAB's class, and the shape of the array.
    """

    path: Path
    source: FileBytes
    key: str
    kind: str
    shape: tuple[int, ...]

    def __call__(self) -> NDArray[Any]:
        name = f"{self.path}: {quoted(self.key)}"
        size = _size(self.kind, self.shape)
        require_room(name, size, self.source.size)
        self.source.check()
        with _by_scipy(self.path, name, size + self.source.size, self.key, self.kind) as answer:
            if "cells" in answer.told:
                values: NDArray[Any] = np.array([*answer.told["cells"], None], dtype=object)[:-1]
            else:
                values = np.empty(self.shape, _NUMBERS.get(self.kind, "<f8"))
                if not answer.fill(values):
                    raise DataError(f"{name} cannot be read whole; is it damaged? Save it again")
        self.source.check()
        if values.shape != self.shape:
            raise DataError(
                f"{name}: {values.shape} values, where its header promises {self.shape}: is it "
                "damaged? Save it again"
            )
        return values


@contextlib.contextmanager
def _by_scipy(path: Path, name: str, size: int, *arguments: str) -> Iterator[Answer]:
    """What SciPy reads, in a process of its own: a damaged file can crash it.

    Raises:
        DataError: it cannot be read.
    """
    with answer_of(_READ_BY_SCIPY, path, size, *map(json.dumps, arguments)) as answer:
        if not answer.told:
            raise DataError(f"{name} cannot be read: SciPy crashed; is it damaged? Save it again")
        if "error" in answer.told:
            reason = printable(str(answer.told["error"]))[:300]
            raise DataError(f"{name} cannot be read: {reason}; is it damaged? Save it again")
        if "refused" in answer.told:
            raise DataError(f"{name}: {answer.told['refused']}")
        yield answer


def _size(kind: str, shape: tuple[int, ...]) -> int:
    """Bytes of a variable in memory, about."""
    each = _VALUE_OF_A_CELL if kind == "cell" else np.dtype(_NUMBERS.get(kind, "<U1")).itemsize
    return math.prod(shape) * each


@dataclass(frozen=True)
class _OnItsSide:
    """Loader of a matrix of version 7.3: HDF5 has its axes in the opposite order.

    Attributes:
        path, source, key: the file, the file as it was when it was opened, and the variable.
        shape: of the array here.
        is_logical: whether its bytes are booleans.
    """

    path: Path
    source: FileBytes
    key: str
    shape: tuple[int, ...]
    is_logical: bool

    def __call__(self) -> Any:
        with hdf5.opened(self.path, f"{self.path}: {quoted(self.key)} cannot be read") as file:
            dataset = file[self.key]
            if len(self.shape) == 1:
                require_room(f"{self.path}: {quoted(self.key)}", dataset.nbytes)
                return self._typed(dataset[()].reshape(-1))
            place = dataset.id.get_offset()
            is_there = dataset.chunks is None and place is not None
            if is_there and not self.is_logical and hdf5.is_plain(dataset):
                rows: RangedRows = FortranRows(self.source, self.shape, dataset.dtype, place)
                return rows
            chunk = (dataset.chunks or (*dataset.shape[:-1], 1))[::-1]
            stored = dataset.id.get_storage_size()
            chunks = Chunks(self.shape, chunk, dataset.dtype.itemsize, stored)
        return chunks.rows(str(self.path), quoted(self.key), self._read)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        with hdf5.opened(self.path, f"{self.path}: {quoted(self.key)} cannot be read") as file:
            return self._typed(np.ascontiguousarray(file[self.key][..., start:stop].T))

    def _typed(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.astype(bool) if self.is_logical else values


_READ_CELLS = """
import h5py, json, numpy as np, sys
def value(item):
    if "MATLAB_empty" in item.attrs or not item.size:
        return None
    values = item[()].reshape(-1) if item.ndim < 2 else item[()].T.reshape(-1)
    if "MATLAB_int_decode" in item.attrs and item.dtype == np.uint16:
        return values.tobytes().decode("utf-16-le", "replace")
    if values.size != 1 or values.dtype.kind not in "fiub":
        raise SystemExit("a cell must hold one word or one number: save cellstr(labels)")
    return values[0].item()
with h5py.File(sys.argv[1], "r", locking="best-effort") as file:
    json.dump([value(file[ref]) for ref in file[sys.argv[2]][()].reshape(-1)], sys.stdout)
"""


@dataclass(frozen=True)
class _Cells:
    """Loader of a cell array of version 7.3, whose cells are datasets of their own."""

    path: Path
    key: str
    n_cells: int

    def __call__(self) -> NDArray[Any]:
        require_room(f"{self.path}: {quoted(self.key)}", _VALUE_OF_A_CELL * self.n_cells)
        cells = hdf5.read_apart(_READ_CELLS, self.path, self.key)
        if len(cells) != self.n_cells:
            raise DataError(f"{self.path}: {quoted(self.key)} has {len(cells)} cells, not all")
        return np.array([*cells, None], dtype=object)[:-1]


def _open_hdf5(path: Path) -> Container:
    """Open a file of version 7.3."""
    whole = hdf5.open_hdf5(path)
    where, source = path.absolute(), FileBytes.of(path)
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    with hdf5.opened(path) as file:
        for key, array in whole.arrays.items():
            if key.startswith("#"):
                continue
            if "/" in key:
                skipped[key] = f"in a struct or a sparse matrix: {_WHY_NOT['struct']}"
                continue
            shape = _shape(tuple(array.shape[::-1]))
            kind = np.dtype(array.dtype).kind
            is_logical = kind in "iu" and "MATLAB_int_decode" in file[key].attrs
            if is_logical and file[key].dtype == np.uint16:
                skipped[key] = "characters: save words as cellstr(labels)"
                continue
            is_logical = is_logical and file[key].dtype == np.uint8
            dtype = "|b1" if is_logical else array.dtype
            loader = _OnItsSide(where, source, key, shape, is_logical)
            arrays[key] = RowArray(shape, dtype, loader)
        for key, why in whole.skipped.items():
            if key.startswith("#"):
                continue
            shape = tuple(getattr(file.get(key), "shape", None) or ())
            if "dtype object" in why and "/" not in key and len(_shape(shape)) == 1:
                n_cells = math.prod(shape)
                arrays[key] = RowArray((n_cells,), "|O", _Cells(where, key, n_cells))
            else:
                skipped[key] = why
    return Container(path, "mat", arrays, skipped)


def open_mat(path: Path) -> Container:
    """Open a MATLAB file; keys are the names of its variables.

    Raises:
        DependencyError: it is of version 7.3, and h5py is not installed.
        DataError: not a MATLAB file, or a damaged one.
    """
    source = FileBytes.of(path)
    if bytes(source.read(_BEHIND, _BEHIND + 8)) == _HDF5 or bytes(source.read(0, 8)) == _HDF5:
        return _open_hdf5(path)
    start = bytes(source.read(0, 128))
    is_version_4 = 0 in start[:4]  # as SciPy tells it from the text at the start of others
    if not is_version_4 and start[126:] not in (b"IM", b"MI"):
        raise DataError("it does not begin as a MATLAB file does: write it by save, or by savemat")
    with _by_scipy(path.absolute(), "its list of variables", source.size) as answer:
        listed = answer.told["listed"]
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    for key, shape, kind in listed:
        shape = tuple(int(n) for n in shape)
        why = _why_not(kind, shape)
        if why is not None:
            skipped[key] = why
            continue
        shape = (shape[0],) if kind == "char" else _shape(shape)
        loader = _Variable(path.absolute(), source, key, kind, shape)
        size = _size(kind, shape)
        dtype = _NUMBERS.get(kind, "|O")
        arrays[key] = RowArray(shape, dtype, loader, size, source.size)
    return Container(path, "mat", arrays, skipped)
