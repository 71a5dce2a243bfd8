"""Matrices that were saved as (dimensions, rows), read as (rows, dimensions)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import FortranRows, RangedRows
from cl_analyze.data.rows import RowArray
from cl_analyze.data.spec import Opened
from cl_analyze.errors import DataError


def transposed(opened: Opened) -> Opened:
    """The array (D, N) as (N, D).

    Memory: where values lie in the file as they are (.npy and others that are read by ranges of
    bytes), a block of rows is read from every column; else the matrix is read at once.

    Raises:
        DataError: it does not have two axes.
    """
    array = opened.array
    if len(array.shape) != 2:
        raise DataError(
            f"{opened.name}: --transpose reads (dimensions, rows) as (rows, dimensions), found "
            f"shape {array.shape}: leave the option out"
        )
    is_ranged = isinstance(getattr(array.load, "__self__", None), RangedRows)
    at_once = 0 if is_ranged else max(array.at_once, array.n_bytes)
    load = _Transposed(opened.name, array.load, array.n_bytes)
    turned = RowArray(array.shape[::-1], array.dtype, load, at_once, array.stored)
    return replace(opened, array=turned)


@dataclass(frozen=True)
class _Transposed:
    """Loader of the transpose.

    Attributes:
        name: in messages.
        load, n_bytes: of the array as it is stored.
    """

    name: str
    load: Callable[[], Any]
    n_bytes: int

    def __call__(self) -> Any:
        array = self.load()
        if isinstance(array, RangedRows) and array.convert is None:
            kind = RangedRows if isinstance(array, FortranRows) else FortranRows
            return kind(array.source, array.shape[::-1], array.dtype, array.offset)
        if isinstance(array, np.ndarray):
            return array.T
        require_room(f"{self.name}, which is transposed at once,", self.n_bytes)
        return np.ascontiguousarray(array[:].T)
