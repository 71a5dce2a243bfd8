"""What gives way where a device's memory is full, so that a pass goes on.

In this order: the rows that stay on the device, tiles at the same time, the rows of a tile.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cl_analyze.pairs.plan import SMALLEST_BLOCK, Span

if TYPE_CHECKING:
    from cl_analyze.data.unit import UnitRows
    from cl_analyze.pairs.backend import Moving


class DeviceMemory:
    """The memory of one device, which several threads share.

    Args:
        kept_bytes: for rows that stay after the tiles that need them.

    Attributes:
        most_rows: rows of a tile's side; None: as many as the plan has.
        n_shortages: how often something gave way.
    """

    def __init__(self, kept_bytes: int) -> None:
        self.most_rows: int | None = None
        self.n_shortages = 0
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[tuple[int, Span], tuple[UnitRows, Moving, int]] = OrderedDict()
        self._buffers: list[dict[str, Any]] = []  # of tiles that are not computed now
        self._most_tiles: int | None = None
        self._n_tiles = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """One tile is computed inside, as soon as no more than the memory allows are."""
        with self._changed:
            while self._most_tiles is not None and self._n_tiles >= self._most_tiles:
                self._changed.wait()
            self._n_tiles += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_tiles -= 1
                self._changed.notify_all()

    def give_way(self, n_rows: int, begun: int) -> bool:
        """Make room after a tile that found the memory full, and has left its turn.

        Args:
            n_rows: rows of the longer side of the tile.
            begun: `n_shortages` when the tile was begun.  Where another tile has made room since
                then, that may do.

        Returns:
            Whether there is anything left to try.
        """
        with self._changed:
            if begun != self.n_shortages:
                return True
            self._buffers.clear()
            if self._kept:
                self._kept.clear()
                self._kept_bytes = 0
            elif self._n_tiles > 0:  # others were computed beside it
                self._most_tiles = (self._n_tiles + 1) // 2
            elif n_rows > SMALLEST_BLOCK:
                self.most_rows = max(n_rows // 2, SMALLEST_BLOCK)
            else:
                return False
            self.n_shortages += 1
            return True

    def taken_buffers(self) -> dict[str, Any]:
        """The buffers of an earlier tile, by name, for the one that begins; or none yet."""
        with self._changed:
            return self._buffers.pop() if self._buffers else {}

    def takes_back(self, buffers: dict[str, Any], begun: int) -> bool:
        """Keep a tile's buffers for another one, unless something gave way since it was begun."""
        with self._changed:
            is_current = begun == self.n_shortages
            if is_current:
                self._buffers.append(buffers)
            return is_current

    @property
    def shortage(self) -> str:
        """How tiles are computed where the memory was full; empty where it sufficed."""
        parts = []
        if self.most_rows is not None:
            parts.append(f"in parts of at most {self.most_rows} rows")
        if self._most_tiles is not None:
            parts.append(f"at most {self._most_tiles} at a time")
        return ", ".join(parts)

    def kept(self, rows: UnitRows, span: Span, move: Callable[[], tuple[Moving, int]]) -> Moving:
        """Rows of a span, which are moved where they have not stayed.

        Args:
            rows, span: which rows.
            move: moves them, and says how many bytes they have.
        """
        key = id(rows), span  # rows are held, so that no other object gets their id
        with self._changed:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
        moving, n_bytes = move()
        with self._changed:
            self._kept[key] = rows, moving, n_bytes
            while sum(each for _, _, each in self._kept.values()) > self._kept_bytes:
                self._kept.popitem(last=False)
        return moving

    def forget(self) -> None:
        """Let go of the rows that stay, and of the buffers."""
        with self._changed:
            self._kept.clear()
            self._buffers.clear()
