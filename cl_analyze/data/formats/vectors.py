""".fbin, .u8bin, .i8bin, .fvecs and .bvecs: the files of nearest-neighbour benchmarks, by rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError

_DTYPES = {".fbin": "<f4", ".u8bin": "|u1", ".i8bin": "|i1", ".fvecs": "<f4", ".bvecs": "|u1"}


@dataclass(frozen=True)
class _Loader:
    """Reads the file again wherever it is called."""

    rows: RangedRows

    def __call__(self) -> Any:
        return self.rows


def _source(path: Path) -> FileBytes:
    status = path.stat()
    return FileBytes(path.absolute(), status.st_size, status.st_mtime_ns)


def open_bin(path: Path) -> Container:
    """Open a file of the big-ann benchmarks: rows and dimensions as uint32, then the values.

    Raises:
        DataError: its length is not what these two numbers promise.
    """
    dtype = np.dtype(_DTYPES[path.suffix.lower()])
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8:
        raise DataError("truncated: the numbers of rows and dimensions are not there")
    n_rows, dim = (int(number) for number in np.frombuffer(head, "<u4"))
    expected = 8 + n_rows * dim * dtype.itemsize
    if size != expected:
        raise DataError(
            f"its first 8 bytes promise {n_rows} rows of {dim} dimensions, which take {expected} "
            f"bytes; the file has {size}: is it truncated, or of another kind?"
        )
    rows = RangedRows(_source(path), (n_rows, dim), dtype, 8)
    array = RowArray((n_rows, dim), dtype.str, _Loader(rows))
    return Container(path, path.suffix.lower()[1:], {"": array})


def open_vecs(path: Path) -> Container:
    """Open a .fvecs or .bvecs file: before every row, its dimensions as int32.

    Raises:
        DataError: the file does not divide into rows of the first one's length.
    """
    dtype = np.dtype(_DTYPES[path.suffix.lower()])
    size = path.stat().st_size
    with path.open("rb") as file:
        dim = int.from_bytes(file.read(4), "little", signed=True)
    record = 4 + dim * dtype.itemsize
    if dim < 1 or size % record:
        raise DataError(
            f"its first row promises {dim} dimensions, and {size} bytes do not divide into such "
            "rows; is it truncated, or of another kind?"
        )
    n_rows, head = size // record, 4 // dtype.itemsize
    without = partial(_without_heads, dim=dim, name=str(path))
    rows = RangedRows(_source(path), (n_rows, head + dim), dtype, 0, as_words=without)
    array = RowArray((n_rows, dim), dtype.str, _Loader(rows))
    return Container(path, path.suffix.lower()[1:], {"": array})


def _without_heads(records: NDArray[Any], dim: int, name: str) -> NDArray[Any]:
    """The values of rows, whose own dimensions must be the first one's."""
    head = 4 // records.itemsize
    found = np.ascontiguousarray(records[:, :head]).view("<i4")[:, 0]
    bad = np.flatnonzero(found != dim)
    if len(bad):
        raise DataError(
            f"{name}: every row must have the {dim} dimensions of the first, found one of "
            f"{int(found[bad[0]])}"
        )
    return records[:, head:]
