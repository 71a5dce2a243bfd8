"""Which tiles a pass computes, and in which order: a function of shapes and block size alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

DEFAULT_BLOCK = 512
Span = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """Tiles of one pass.

    Attributes:
        row_spans, col_spans: (start, stop) of the row and column blocks.
        tiles: (row block, column block) in the order in which partial states are merged.
        symmetric: rows and columns are the same rows, and only J >= I is listed.
    """

    row_spans: tuple[Span, ...]
    col_spans: tuple[Span, ...]
    tiles: tuple[tuple[int, int], ...]
    symmetric: bool

    @property
    def n_pairs(self) -> int:
        """Similarities that the pass computes."""
        return sum(
            (self.row_spans[i][1] - self.row_spans[i][0])
            * (self.col_spans[j][1] - self.col_spans[j][0])
            for i, j in self.tiles
        )


def spans(n_rows: int, block: int) -> tuple[Span, ...]:
    """Cut n rows into blocks of at most `block`, as equal as can be.

    >>> spans(10, 4)
    ((0, 3), (3, 6), (6, 10))
    """
    n_blocks = max(1, -(-n_rows // block))
    edges = [n_rows * b // n_blocks for b in range(n_blocks + 1)]
    return tuple(pairwise(edges))


def symmetric_plan(n_rows: int, block: int = DEFAULT_BLOCK) -> Plan:
    """All unordered pairs of one set of rows.

    Diagonal tiles come first: they give every row some near neighbours, so that later tiles can
    be pruned.  Then tiles by diagonals.

    >>> symmetric_plan(6, block=2).tiles
    ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2))
    """
    blocks = spans(n_rows, block)
    tiles = tuple(
        (i, i + offset) for offset in range(len(blocks)) for i in range(len(blocks) - offset)
    )
    return Plan(blocks, blocks, tiles, symmetric=True)


def rectangular_plan(n_rows: int, n_cols: int, block: int = DEFAULT_BLOCK) -> Plan:
    """Every row against every column."""
    row_blocks, col_blocks = spans(n_rows, block), spans(n_cols, block)
    tiles = tuple((i, j) for i in range(len(row_blocks)) for j in range(len(col_blocks)))
    return Plan(row_blocks, col_blocks, tiles, symmetric=False)
