""".safetensors: a JSON header and tensors behind it, read by rows; bfloat16 too."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import BFLOAT16, Container, RowArray, stored_dtype
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_MOST_HEADER = 16 << 20
"""Bytes: a hundred thousand tensors; the format allows 100 MB, which take gigabytes to parse."""
_MOST_AXES = 32
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}  # fmt: skip


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names are all different."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header and where the tensors begin."""
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
        DataError: a header that cannot be parsed, or that contradicts the file's length.
    """
    source = FileBytes.of(path)
    header, start = _header(path, source.size)
    header.pop("__metadata__", None)
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        shape, dtype, (begin, end) = _fields(name, entry)
        spans.append((begin, end, name))
        known = _DTYPES.get(dtype)
        if known is None:
            skipped[name] = (
                f"dtype {quoted(dtype, 40)} is not supported: save it as F16, BF16 or F32"
            )
            continue
        expected = math.prod(shape) * stored_dtype(known).itemsize
        if end - begin != expected:
            raise DataError(
                f"tensor {quoted(name)} of shape {shape} and dtype {dtype} takes {expected} bytes, "
                f"its header gives it {end - begin}"
            )
        if start + end > source.size:
            raise DataError(
                f"truncated: tensor {quoted(name)} ends at byte {start + end}, the file has "
                f"{source.size}; copy or save it again"
            )
        if shape:
            rows = RangedRows(source, shape, stored_dtype(known), start + begin)
            arrays[name] = rows.as_array(known)
        else:
            skipped[name] = "a single number"
    _refuse_overlaps(spans)
    return Container(path, "safetensors", arrays, skipped)


def _refuse_overlaps(spans: list[tuple[int, int, str]]) -> None:
    """A header that gives bytes to two tensors is not to be trusted."""
    filled = sorted(span for span in spans if span[1] > span[0])
    for (_, end, name), (begin, _, other) in pairwise(filled):
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
