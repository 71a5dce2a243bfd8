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
        if array.dtype != "bfloat16" and np.dtype(array.dtype) == np.int8:
            remedy = (
                "if it was written as packbits(...) - 128, save (z.astype(int) + 128)"
                ".astype('uint8'); else z.view('uint8')"
            )
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
