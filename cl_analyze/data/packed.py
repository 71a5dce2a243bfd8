"""Packed bits: signs of coordinates, eight to a byte, as vector databases store binary vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import RowArray, kind_of, release, stored_dtype
from cl_analyze.data.spec import Opened
from cl_analyze.errors import DataError

BITS = 8
_LOOKED_AT = 1024
"""Rows that tell whether bytes may be packed bits."""
_FEW_VALUES = 3
"""Different values that a matrix of Booleans or signs has, at most."""
_CLUSTERED = 0.7
"""Share of bytes in the middle half of their range from which on they are numbers."""
_EVEN = 0.1
"""Distance from one half of the share of odd values in a column of many different numbers."""
_SIGNED = (
    "save z.view('uint8') ^ 128, where z is this array, if it was written as packbits(...) - 128, "
    "as sentence-transformers' precision 'binary' is ('ubinary' is uint8 already); else save "
    "z.view('uint8')"
)
"""How packed bits of dtype int8 become those that `unpacked` reads."""


def warnings_on_bytes(opened: Opened) -> list[str]:
    """What to say of a matrix of bytes that is read as numbers and may hold packed bits.

    Args:
        opened: an (N, D) array; its first rows are read if it holds bytes.
    """
    array, dim = opened.array, opened.array.shape[1]
    if stored_dtype(array.dtype) not in (np.uint8, np.int8) or not _may_be_packed(array):
        return []
    remedy = f"pass --packed-bits for {BITS * dim} dimensions"
    if stored_dtype(array.dtype) == np.int8:
        remedy = f"{_SIGNED}; then {remedy}"
    return [
        f"{opened.name}: its bytes are read as numbers, {dim} dimensions; if they are numbers, "
        "such as quantised embeddings, nothing is wrong; if they are packed bits, eight signs to "
        f"a byte, the results mean nothing: {remedy}"
    ]


def _may_be_packed(array: RowArray) -> bool:
    """Whether the first rows of a matrix of bytes leave open that they are packed bits.

    They are numbers in each of these cases:

    - There are at most three different values, as of Booleans or signs.
    - The highest bit is the same everywhere, as of counts.  Of packed bits it is every eighth sign.
    - Most values are in the middle half of the range, as quantised coordinates are.  This ties the
      two highest bits to each other, and of packed bits these are signs of two coordinates, which
      agree in about half of the rows.  Where coordinates have hardly any sign but one, they may be
      tied in packed bits too; then the lowest bits of many columns are not even, which those of
      quantised coordinates are.
    """
    values = array.read(0, min(array.n_rows, _LOOKED_AT)).astype(np.int16)
    array.give_back()
    if len(np.unique(values)) <= _FEW_VALUES:
        return False
    is_high = (values & 128).astype(bool)
    if (is_high == is_high[0, 0]).all():
        return False
    middle = 0 if stored_dtype(array.dtype) == np.int8 else 128
    is_clustered = (abs(values - middle) <= 64).mean() >= _CLUSTERED
    from_even = abs((values & 1).mean(axis=0) - 0.5)
    is_even = (from_even < _EVEN + 0.5 / np.sqrt(len(values))).mean() >= 0.9
    return not (is_clustered and is_even)


def unpacked(opened: Opened) -> Opened:
    """The rows of an array of bytes as signs: each byte is eight coordinates, highest bit first.

    Args:
        opened: a uint8 array whose last axis is D / 8 bytes, as `numpy.packbits(z > 0, axis=-1)`
            writes it.

    Returns:
        The array with D coordinates, 1 for a set bit and -1 for another, of dtype int8.

    Raises:
        DataError: the array does not hold bytes.
    """
    array = opened.array
    if stored_dtype(array.dtype) != np.uint8:
        remedy = "leave the option out, or save numpy.packbits(z > 0, axis=-1)"
        if stored_dtype(array.dtype) == np.int8:
            remedy = _SIGNED
        elif kind_of(array.dtype) == "b":
            remedy = "Booleans are not packed: leave the option out"
        raise DataError(
            f"{opened.name}: --packed-bits reads bytes (uint8), found {array.dtype_name}: {remedy}"
        )
    shape = (*array.shape[:-1], BITS * array.shape[-1])
    return replace(opened, array=RowArray(shape, "|i1", _Signs(array.load), array.at_once))


@dataclass(frozen=True)
class _Signs:
    """Loader of the signs."""

    load: Callable[[], Any]

    def __call__(self) -> Any:
        return _SignRows(self.load())


@dataclass(frozen=True)
class _SignRows:
    """Signs, unpacked when they are read."""

    array: Any

    def __getitem__(self, index: Any) -> NDArray[np.int8]:
        bits = np.unpackbits(np.asarray(self.array[index]), axis=-1)
        signs: NDArray[np.int8] = 2 * bits.astype(np.int8) - 1
        return signs

    def __len__(self) -> int:
        return len(self.array)

    def give_back(self) -> None:
        """Let go of pages that were read."""
        release(self.array)
