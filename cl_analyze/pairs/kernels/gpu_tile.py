"""A tile on a GPU whose softmax sums Triton takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.kernels.fused import SQUARES, FusedTile, Vector, cuts_of

if TYPE_CHECKING:
    from cl_analyze.pairs.tile import Tile


class GpuTile(FusedTile):
    """The sweeps of `triton_sweeps` over one tile of float32 similarities.

    Args:
        tile: of a torch backend.
        sweeps: the module `triton_sweeps`.
    """

    def __init__(self, tile: Tile, sweeps: Any) -> None:
        super().__init__(tile)
        self._sweeps = sweeps

    def _sweep(
        self, inverse_taus: Vector, wanted: NDArray[np.int32], both: bool
    ) -> tuple[Vector, Vector | None]:
        tile, backend = self._tile, self._tile.backend
        bits = int(np.bitwise_or.reduce(wanted))
        slots = [slot for slot in range(SQUARES + 1) if bits >> slot & 1]
        arrays = [cuts_of(tile)] + [
            None if codes is None else codes.astype(np.int32)
            for codes in (tile.row_labels, tile.col_labels)
        ]
        moved = [None if array is None else backend.to_device(array) for array in arrays]
        rows, cols = self._sweeps.softmax_sums(tile.similarity, *moved, inverse_taus, bits, both)

        def placed(sums: Any) -> Vector:
            values = np.zeros((len(inverse_taus), SQUARES + 1, sums.shape[-1]))
            values[:, slots] = backend.to_host(sums)
            return values

        return placed(rows), placed(cols) if both else None
