"""A tile on a GPU whose softmax sums Triton takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.kernels.fused import FusedTile, Sums, Vector, cuts_of

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
    ) -> tuple[Sums, Sums | None]:
        tile, backend = self._tile, self._tile.backend
        bits = int(np.bitwise_or.reduce(wanted))
        arrays = [cuts_of(tile)] + [
            None if codes is None else codes.astype(np.int32)
            for codes in (tile.row_labels, tile.col_labels)
        ]
        moved = [None if array is None else backend.to_device(array) for array in arrays]
        rows, cols = self._sweeps.softmax_sums(tile.similarity, *moved, inverse_taus, bits, both)

        return (
            Sums(backend.to_host(rows), bits),
            None if cols is None else Sums(backend.to_host(cols), bits),
        )
