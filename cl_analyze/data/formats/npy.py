""".npy: one array, read by rows, never whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import ByteRanges, FileBytes, FortranRows, RangedRows
from cl_analyze.data.rows import BFLOAT16, Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import described

_MAX_HEADER = 64 * 1024


@dataclass(frozen=True)
class Header:
    """Shape and dtype of an .npy stream, and where its values begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def stored_dtype(self) -> str:
        """The dtype's name; two-byte void is how NumPy writes ml_dtypes' bfloat16."""
        if self.dtype.kind == "V" and self.dtype.itemsize == 2 and self.dtype.names is None:
            return BFLOAT16
        return self.dtype.str

    @property
    def n_bytes(self) -> int:
        """Bytes that the values take."""
        count = 1
        for length in self.shape:
            count *= length
        return count * self.dtype.itemsize

    def rows_of(self, source: ByteRanges) -> RangedRows:
        """The rows, by ranges of bytes; values must be in C order."""
        return RangedRows(source, self.shape, self.dtype, self.offset, as_words=words)


def read_header(stream: BinaryIO) -> Header:
    """Parse the header of an .npy stream; values are not touched."""
    try:
        version = npy_format.read_magic(stream)
        if version == (1, 0):
            fields = npy_format.read_array_header_1_0(stream, max_header_size=_MAX_HEADER)
        elif version == (2, 0):
            fields = npy_format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
        else:
            raise DataError(f"format version {version[0]}.{version[1]} is not supported")
    except DataError:
        raise
    except Exception as error:  # the header is Python's syntax, and fails in all its ways
        reason = str(error).splitlines()[0][:200] if str(error) else "it ends too soon"
        if "allow_pickle" in str(error):
            reason = f"it is longer than {_MAX_HEADER} bytes"
        raise DataError(f"the NumPy header cannot be parsed: {reason}") from error
    shape, fortran_order, dtype = fields
    if (
        min(shape, default=0) < 0
        or math.prod(max(int(n), 1) for n in shape) * max(dtype.itemsize, 1) >= 2**63
    ):
        raise DataError(
            f"the NumPy header cannot be right: no array has the shape {described(shape, 100)}"
        )
    if dtype.subdtype is not None:
        raise DataError(f"its dtype {dtype} is an array itself; save a plain numeric array instead")
    if dtype.hasobject:
        raise DataError(
            "it stores Python objects, which are never loaded because that can run code; "
            "save a plain numeric array instead"
        )
    return Header(tuple(int(n) for n in shape), dtype, bool(fortran_order), stream.tell())


@dataclass(frozen=True)
class _Loader:
    """Opens the file again wherever it is called."""

    path: Path
    header: Header
    size: int
    modified: int

    def __call__(self) -> Any:
        source = FileBytes(self.path, self.size, self.modified)
        header = self.header
        if len(header.shape) < 2:
            require_room(str(self.path), header.n_bytes)
            return header.rows_of(source)[:]
        if header.fortran_order:
            return FortranRows(source, header.shape, header.dtype, header.offset, words)
        return header.rows_of(source)


def words(array: NDArray[Any]) -> NDArray[Any]:
    """Two-byte void (bfloat16) as uint16; anything else as it is."""
    if array.dtype.kind == "V" and array.dtype.itemsize == 2 and array.dtype.names is None:
        return array.view(np.uint16)
    return array


def open_npy(path: Path) -> Container:
    """Open an .npy file.

    Raises:
        DataError: not an .npy file, Python objects inside, or fewer bytes than the header promises.
    """
    with path.open("rb") as file:
        header = read_header(file)
    status = path.stat()
    present = status.st_size - header.offset
    if present < header.n_bytes:
        raise DataError(
            f"truncated: the header promises {header.n_bytes} bytes of values for shape "
            f"{header.shape}, {present} are there; copy or save the file again"
        )
    if header.n_bytes == 0 or header.shape == ():
        empty = np.zeros(header.shape, header.dtype)
        return Container(path, "npy", {"": RowArray.of(words(empty), header.stored_dtype)})
    array = RowArray(
        header.shape,
        header.stored_dtype,
        _Loader(path.absolute(), header, status.st_size, status.st_mtime_ns),
    )
    return Container(path, "npy", {"": array})
