""".npy: one array, read by rows, never whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from cl_analyze.data.formats.pickles import of_objects
from cl_analyze.data.ranged import ByteRanges, FileBytes, FortranRows, RangedRows
from cl_analyze.data.rows import (
    BFLOAT16,
    Container,
    RowArray,
    is_void_bfloat16,
    stored_dtype,
    words,
)
from cl_analyze.errors import DataError
from cl_analyze.quoting import described

MAX_HEADER = 64 * 1024


@dataclass(frozen=True)
class Header:
    """Shape and dtype of an .npy stream, and where its values begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int

    @property
    def dtype_name(self) -> str:
        """The dtype as `RowArray` names it."""
        return BFLOAT16 if is_void_bfloat16(self.dtype) else self.dtype.str

    @property
    def n_bytes(self) -> int:
        """Bytes that the values take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def require_all(self, size: int) -> None:
        """Raise a DataError where a stream of `size` bytes ends before its values do."""
        if size < self.offset + self.n_bytes:
            raise DataError(
                f"truncated: the header promises {self.n_bytes} bytes of values for shape "
                f"{self.shape}, {size - self.offset} are there; copy or save the file again"
            )

    def rows_of(self, source: ByteRanges) -> RangedRows:
        """The rows, by ranges of bytes."""
        by_columns = self.fortran_order and len(self.shape) > 1
        kind = FortranRows if by_columns else RangedRows
        return kind(source, self.shape, stored_dtype(self.dtype_name), self.offset)

    def array_of(self, source: ByteRanges) -> RowArray:
        """The array of a file that is this stream alone."""
        if self.n_bytes == 0 or self.shape == ():
            return RowArray.of(words(np.zeros(self.shape, self.dtype)), self.dtype_name)
        return self.rows_of(source).as_array(self.dtype_name)


def read_header(stream: BinaryIO) -> Header:
    """Parse the header of an .npy stream; values are not touched.

    Raises:
        DataError: it cannot be parsed, or stands for no array of plain numbers or words.
    """
    try:
        version = npy_format.read_magic(stream)
        if version == (1, 0):
            fields = npy_format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
        elif version == (2, 0):
            fields = npy_format.read_array_header_2_0(stream, max_header_size=MAX_HEADER)
        else:
            raise DataError(f"format version {version[0]}.{version[1]} is not supported")
    except DataError:
        raise
    except Exception as error:  # the header is Python's syntax, and fails in all its ways
        reason = str(error).splitlines()[0][:200] if str(error) else "it ends too soon"
        if "allow_pickle" in str(error):
            reason = f"it is longer than {MAX_HEADER} bytes"
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


def open_npy(path: Path) -> Container:
    """Open an .npy file.

    Raises:
        DataError: not an .npy file, Python objects inside, or fewer bytes than the header promises.
    """
    with path.open("rb") as file:
        try:
            header = read_header(file)
        except DataError as error:
            if "Python objects" not in str(error):
                raise
            raise DataError(f"{error}: {of_objects(path)}") from error
    source = FileBytes.of(path)
    header.require_all(source.size)
    return Container(path, "npy", {"": header.array_of(source)})
