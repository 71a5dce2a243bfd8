""".safetensors: a JSON header and tensors behind it, read by rows; bfloat16 too."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import BFLOAT16, Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

_MOST_HEADER = 16 << 20
"""Bytes: a hundred thousand tensors; the format allows 100 MB, which take gigabytes to parse."""
_MOST_AXES = 32
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip


@dataclass(frozen=True)
class _Loader:
    """Reads the file again wherever it is called."""

    source: FileBytes
    shape: tuple[int, ...]
    dtype: str
    offset: int

    def __call__(self) -> Any:
        stored = np.dtype("<u2" if self.dtype == BFLOAT16 else self.dtype)
        rows = RangedRows(self.source, self.shape, stored, self.offset)
        return rows if len(self.shape) > 1 else rows[:]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; names that occur twice make it none."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and where the tensors begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if _MOST_HEADER < length <= size - 8:
            raise DataError(
                f"its header takes {length >> 20} MiB, at most {_MOST_HEADER >> 20} are read; save "
                "the tensors that are wanted in a file of their own"
            )
        if size < 8 or length > size - 8:
            raise DataError(
                f"its first 8 bytes promise a header of {length} bytes, the file has {size}; is it "
                "truncated, or of another format?"
            )
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise DataError("its header is no JSON object")
    return header, 8 + length


def open_safetensors(path: Path) -> Container:
    """Open a safetensors file.

    Raises:
        DataError: a header that is none, or that contradicts the file's length.
    """
    header, start = _header(path)
    status = path.stat()
    source = FileBytes(path.absolute(), status.st_size, status.st_mtime_ns)
    header.pop("__metadata__", None)
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        shape, dtype, span = _fields(name, entry)
        spans.append((*span, name))
        known = _DTYPES.get(dtype)
        if known is None:
            skipped[name] = (
                f"dtype {quoted(dtype, 40)} is not supported: save it as F16, BF16 or F32"
            )
            continue
        expected = math.prod(shape) * (2 if known == BFLOAT16 else np.dtype(known).itemsize)
        if span[1] - span[0] != expected:
            raise DataError(
                f"tensor {quoted(name)} of shape {shape} and dtype {dtype} takes {expected} bytes, "
                f"its header gives it {span[1] - span[0]}"
            )
        if start + span[1] > status.st_size:
            raise DataError(
                f"truncated: tensor {quoted(name)} ends at byte {start + span[1]}, the file has "
                f"{status.st_size}; copy or save it again"
            )
        if shape:
            arrays[name] = RowArray(shape, known, _Loader(source, shape, known, start + span[0]))
        else:
            skipped[name] = "a single number"
    _refuse_overlaps(spans)
    if not arrays:
        found = some(f"{quoted(name)}: {why}" for name, why in skipped.items()) or "nothing"
        raise DataError(f"the file holds no readable tensor ({found})")
    return Container(path, "safetensors", arrays, skipped)


def _refuse_overlaps(spans: list[tuple[int, int, str]]) -> None:
    """Bytes belong to one tensor; a header that gives them to two is not to be trusted."""
    there = sorted(span for span in spans if span[1] > span[0])
    for (_, end, name), (begin, _, other) in pairwise(there):
        if begin < end:
            raise DataError(f"tensors {quoted(name)} and {quoted(other)} share bytes of the file")


def _fields(name: str, entry: Any) -> tuple[tuple[int, ...], str, tuple[int, int]]:
    """Shape, dtype and place of a tensor."""
    try:
        shape = tuple(_count(length) for length in entry["shape"])
        begin, end = (_count(offset) for offset in entry["data_offsets"])
        dtype = str(entry["dtype"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"tensor {quoted(name)} has no valid dtype, shape and data_offsets"
        ) from error
    if len(shape) > _MOST_AXES:
        raise DataError(f"tensor {quoted(name)} has {len(shape)} axes, at most {_MOST_AXES} do")
    if end < begin:
        raise DataError(f"tensor {quoted(name)} ends before it begins")
    return shape, dtype, (begin, end)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(value)
    return value
