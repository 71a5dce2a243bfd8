""".fbin, .u8bin, .i8bin, .fvecs and .bvecs: the files of nearest-neighbour benchmarks, by rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import Container, InMemory, RowArray
from cl_analyze.errors import DataError

_DTYPES = {".fbin": "<f4", ".u8bin": "|u1", ".i8bin": "|i1", ".fvecs": "<f4", ".bvecs": "|u1"}


def _start(path: Path) -> tuple[str, np.dtype[Any], FileBytes, bytes]:
    """The format's name, the dtype of the values, the file, and its first 8 bytes."""
    with path.open("rb") as file:
        head = file.read(8)
    suffix = path.suffix.lower()
    return suffix[1:], np.dtype(_DTYPES[suffix]), FileBytes.of(path), head


def open_bin(path: Path) -> Container:
    """Open a file of the big-ann benchmarks: rows and dimensions as uint32, then the values.

    Raises:
        DataError: its length is not what these two numbers promise.
    """
    name, dtype, source, head = _start(path)
    if len(head) < 8:
        raise DataError("truncated: the numbers of rows and dimensions are not there")
    n_rows, dim = (int(number) for number in np.frombuffer(head, "<u4"))
    expected = 8 + n_rows * dim * dtype.itemsize
    if source.size != expected:
        raise DataError(
            f"its first 8 bytes promise {n_rows} rows of {dim} dimensions, which take {expected} "
            f"bytes; the file has {source.size}: is it truncated, or of another kind?"
        )
    return Container(path, name, {"": RangedRows(source, (n_rows, dim), dtype, 8).as_array()})


def open_vecs(path: Path) -> Container:
    """Open a .fvecs or .bvecs file: before every row, its dimensions as int32.

    Raises:
        DataError: the file does not divide into rows of the first one's length.
    """
    name, dtype, source, head = _start(path)
    dim = int.from_bytes(head[:4], "little", signed=True)
    record = 4 + dim * dtype.itemsize
    if dim < 1 or source.size % record:
        raise DataError(
            f"its first row promises {dim} dimensions, and {source.size} bytes do not divide into "
            "such rows; is it truncated, or of another kind?"
        )
    n_rows, n_head = source.size // record, 4 // dtype.itemsize
    values = partial(_without_heads, dim=dim, name=str(path))
    rows = RangedRows(source, (n_rows, n_head + dim), dtype, 0, values)
    return Container(path, name, {"": RowArray((n_rows, dim), dtype.str, InMemory(rows))})


def _without_heads(records: NDArray[Any], dim: int, name: str) -> NDArray[Any]:
    """The values of rows, each of which must say that it has `dim` dimensions."""
    n_head = 4 // records.itemsize
    dims = np.ascontiguousarray(records[:, :n_head]).view("<i4")[:, 0]
    bad = np.flatnonzero(dims != dim)
    if len(bad):
        raise DataError(
            f"{name}: every row must have the {dim} dimensions of the first, found one of "
            f"{int(dims[bad[0]])}"
        )
    return records[:, n_head:]
