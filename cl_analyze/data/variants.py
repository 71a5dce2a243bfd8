"""Variants of embeddings: the same rows truncated, quantised, centred or whitened.

A variant is a map of one row to one row.  Some maps have numbers that were fitted on the rows of
the embeddings: the mean row, ranges of the coordinates, principal axes.  Rows are mapped block by
block as they are read, and the file is not changed.  A row is mapped to the same values whichever
rows are read with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import Rows, as_real, stored_dtype

LEVELS = 255
"""Steps between the least and the greatest value of a coordinate: int8 has 256 levels."""
_LOWEST, _HIGHEST = -128, 127
_ROWS_OF_A_PRODUCT = 64
"""Rows of one matrix product: always as many, so that a row's sums have one order of terms."""
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """A map of rows, with the numbers that were fitted.

    Attributes:
        name: dims=K, int8, binary, centre, standardise or whiten.  dims keeps the first K
            coordinates.  int8 takes the level floor((x - least) / step) - 128 of each coordinate,
            -128 .. 127, and 0 for a constant one; binary its sign, -1 for 0.
        dim: number of dimensions of the mapped rows.
        dtype: NumPy's name of their dtype: float32 or float64 as they are read, or int8.
        centre: (D,) what each coordinate is reduced by: its mean, for int8 its least value; None:
            nothing is fitted.
        scale: (dim,) what is then divided by: the deviation of each coordinate (of each principal
            axis for whiten), for int8 the step between two levels (infinite where the coordinate
            is constant); 1 for centre.
        axes: (D, dim) principal axes of the centred rows; None but for whiten.
    """

    name: str
    dim: int
    dtype: str
    centre: Vector | None = None
    scale: Vector | None = None
    axes: NDArray[np.float64] | None = None

    def __call__(self, block: NDArray[Any]) -> NDArray[Any]:
        """The mapped rows of an (n, D) block, float32 or float64, in memory, C-contiguous."""
        change = self.name.partition("=")[0]
        if change == "dims":
            return np.ascontiguousarray(block[:, : self.dim])
        if change == "binary":
            return np.where(block > 0, np.float32(1), np.float32(-1))
        assert self.centre is not None
        assert self.scale is not None
        rows = block - self.centre  # in float64
        if self.axes is not None:
            rows = _products(rows, self.axes)
        rows /= self.scale
        if change == "int8":
            rows = np.where(self.scale < np.inf, np.floor(rows) + _LOWEST, 0.0)
            rows = rows.clip(_LOWEST, _HIGHEST)  # rows that nothing was fitted on may lie outside
        return rows.astype(np.float64 if self.dtype == "<f8" else np.float32)

    def table(self, source: str, original: str) -> list[dict[str, Any]]:
        """One line for each coordinate (of whiten, for each axis) with what was fitted."""
        if self.centre is None or self.scale is None:
            return []
        centre = self.centre if self.axes is None else self.centre @ self.axes
        scale = np.where(self.scale < np.inf, self.scale, 0.0)
        return [
            {
                "source": source,
                "original": original,
                "variant": self.name,
                "coordinate": i,
                "centre": float(centre[i]),
                "scale": float(scale[i]),
            }
            for i in range(self.dim)
        ]


def _products(rows: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """rows @ axes, each row in the same order of terms whatever stands beside it."""
    n = len(rows)
    result = np.empty((n, axes.shape[1]))
    part = np.zeros((_ROWS_OF_A_PRODUCT, rows.shape[1]))
    for start in range(0, n, _ROWS_OF_A_PRODUCT):
        stop = min(start + _ROWS_OF_A_PRODUCT, n)
        part[: stop - start] = rows[start:stop]
        result[start:stop] = (part @ axes)[: stop - start]
    return result


def mapped_dtype(dtype: str) -> str:
    """The dtype of rows that are centred: float32 where rows are read as such, else float64.

    >>> mapped_dtype("bfloat16"), mapped_dtype("<f8"), mapped_dtype("<i2")
    ('<f4', '<f8', '<f4')
    """
    return as_real(np.zeros(1, stored_dtype(dtype)), dtype).dtype.str


@dataclass(frozen=True)
class VariantRows:
    """Rows of a variant, with the same methods to read them.

    Attributes:
        source: the rows as they are saved.
        variant: the map.
    """

    source: Rows
    variant: Variant

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the rows."""
        return (self.source.n_rows, self.variant.dim)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.source.n_rows

    @property
    def dtype(self) -> str:
        """The dtype of the mapped rows."""
        return self.variant.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See `RowArray.read`."""
        return self.variant(self.source.read(start, stop))

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See `RowArray.take`."""
        return self.variant(self.source.take(rows))

    def give_back(self) -> None:
        """Let go of pages that were read."""
        self.source.give_back()
