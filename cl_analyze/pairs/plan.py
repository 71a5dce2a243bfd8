"""Which tiles a pass computes, and in which order: a function of shapes, classes and block size.

Tiles are gathered into units.  A unit is a group of row blocks with a group of column blocks, and
one thread, process or machine computes it at a time: it reads each of its blocks once, merges the
states of its tiles, and returns one state for each block.  Units depend on the shape alone, so the
same additions happen in the same order wherever they run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

DEFAULT_BLOCK = 1024
SMALLEST_BLOCK = 64
MOST_BLOCKS = 8
"""Blocks on a unit's side, at most: it holds that many of its rows' and of its columns' blocks."""
Span = tuple[int, int]


@dataclass(frozen=True)
class Unit:
    """Some row blocks with some column blocks: [start, stop) of both."""

    rows: Span
    cols: Span


@dataclass(frozen=True)
class Plan:
    """Tiles of one pass.

    Attributes:
        row_spans, col_spans: (start, stop) of the row and column blocks.
        row_groups, col_groups: (first, last + 1) of the blocks on a unit's sides.
        symmetric: rows and columns are the same rows, and only J >= I is computed.
        reach: for each row block the last column block that it is paired with; None: all of them.
    """

    row_spans: tuple[Span, ...]
    col_spans: tuple[Span, ...]
    row_groups: tuple[Span, ...]
    col_groups: tuple[Span, ...]
    symmetric: bool
    reach: tuple[int, ...] | None = None

    def units(self) -> Iterator[Unit]:
        """The units in the order in which their states are merged.

        Of a symmetric plan diagonal units come first: they give every row some near neighbours,
        so that later tiles can be pruned.
        """
        if not self.symmetric:
            for rows in self.row_groups:
                for cols in self.col_groups:
                    yield Unit(rows, cols)
            return
        for offset in range(len(self.row_groups)):
            for rows, cols in zip(self.row_groups, self.row_groups[offset:], strict=False):
                if self.reach is None or max(self.reach[rows[0] : rows[1]]) >= cols[0]:
                    yield Unit(rows, cols)

    def tiles(self, unit: Unit) -> Iterator[tuple[int, int]]:
        """(row block, column block) of a unit's tiles, in order; diagonal ones first.

        >>> plan = symmetric_plan(6, block=2)
        >>> [tile for unit in plan.units() for tile in plan.tiles(unit)]
        [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)]
        """
        start, stop = unit.rows
        if self.symmetric and unit.rows == unit.cols:
            tiles = [(i, i + o) for o in range(stop - start) for i in range(start, stop - o)]
        else:
            tiles = [(i, j) for i in range(start, stop) for j in range(*unit.cols)]
        reach = self.reach
        yield from tiles if reach is None else [(i, j) for i, j in tiles if j <= reach[i]]

    def n_pairs_of(self, unit: Unit) -> int:
        """Similarities that a unit computes."""
        rows, cols = self.row_spans, self.col_spans
        return sum(_length(rows[i]) * _length(cols[j]) for i, j in self.tiles(unit))

    @property
    def n_pairs(self) -> int:
        """Similarities that the pass computes."""
        if self.reach is not None:
            return sum(self.n_pairs_of(unit) for unit in self.units())
        rows, cols = self.row_spans[-1][1], self.col_spans[-1][1]
        if not self.symmetric:
            return rows * cols
        return (rows * cols + sum(_length(span) ** 2 for span in self.row_spans)) // 2


def _length(span: Span) -> int:
    return span[1] - span[0]


def spans(n_rows: int, block: int) -> tuple[Span, ...]:
    """Cut n rows into blocks of at most `block`, as equal as can be.

    >>> spans(10, 4)
    ((0, 3), (3, 6), (6, 10))
    """
    n_blocks = max(1, -(-n_rows // block))
    edges = [n_rows * b // n_blocks for b in range(n_blocks + 1)]
    return tuple(pairwise(edges))


def _groups(n_blocks: int) -> tuple[Span, ...]:
    """Blocks of a unit's side: enough units for many cores, few enough to cost nothing to merge."""
    return spans(n_blocks, max(1, min(MOST_BLOCKS, n_blocks // 12)))


def symmetric_plan(n_rows: int, block: int = DEFAULT_BLOCK) -> Plan:
    """All unordered pairs of one set of rows."""
    blocks = spans(n_rows, block)
    groups = _groups(len(blocks))
    return Plan(blocks, blocks, groups, groups, symmetric=True)


def _class_spans(codes: NDArray[np.int64], block: int) -> tuple[Span, ...]:
    """Blocks of at most `block` rows: large classes are cut, small ones share a block."""
    ends = [*np.flatnonzero(np.diff(codes)) + 1, len(codes)]
    cut: list[Span] = []
    start = filled = 0  # the open block has rows [start, filled)
    for end in map(int, ends):
        if end - start > block and filled > start:
            cut.append((start, filled))
            start = filled
        if end - start > block:
            cut += [(start + a, start + b) for a, b in spans(end - start, block)]
            start = end
        filled = end
    if filled > start or not cut:
        cut.append((start, filled))
    return tuple(cut)


def class_plan(codes: NDArray[np.int64], block: int = DEFAULT_BLOCK) -> Plan:
    """The pairs of one class, of rows that are sorted by class; those with a code < 0 have none.

    Blocks end where classes end, so that few tiles hold pairs of two classes.

    >>> plan = class_plan(np.array([-1, -1, 0, 0, 1, 1, 1, 2]), block=2)
    >>> plan.row_spans
    ((0, 2), (2, 4), (4, 5), (5, 7), (7, 8))
    >>> [tile for unit in plan.units() for tile in plan.tiles(unit)]
    [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3)]
    """
    blocks = _class_spans(codes, block)
    groups = _groups(len(blocks))
    whole = Plan(blocks, blocks, groups, groups, symmetric=True)
    last = np.searchsorted(codes, codes, side="right") - 1
    ends = np.array([stop for _, stop in whole.row_spans])
    reach = [
        int(np.searchsorted(ends, last[stop - 1], side="right")) if codes[stop - 1] >= 0 else -1
        for _, stop in whole.row_spans
    ]
    return replace(whole, reach=tuple(reach))


def rectangular_plan(n_rows: int, n_cols: int, block: int = DEFAULT_BLOCK) -> Plan:
    """Every row against every column."""
    row_blocks, col_blocks = spans(n_rows, block), spans(n_cols, block)
    return Plan(
        row_blocks,
        col_blocks,
        spans(len(row_blocks), MOST_BLOCKS),
        _groups(len(col_blocks)),
        symmetric=False,
    )
