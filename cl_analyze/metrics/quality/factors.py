"""Triangular factors of the rows, from which spectra are read.

The triangular factor of [1 | X] is built block by block (sequential QR: the factor so far stacked
on the next rows).  Neither X nor its covariance is squared, and only D x D numbers are held.  The
columns of X in the factor have the singular values of X.  The first column is the constant, so the
part below the first row has the singular values of X less its mean row.  Where rows are fewer than
dimensions, X transposed is factored, strip of columns by strip of columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import numpy as np

from cl_analyze.metrics.quality.jackknife import N_GROUPS
from cl_analyze.metrics.quality.rows import FormRows, Index, Matrix, Vector
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import spans

WIDEST = 8_192
"""Singular values are those of at most so many dimensions or rows, whichever are fewer."""
WIDEST_WITH_ERRORS = 512
"""Dimensions (or rows, where these are fewer) up to which spectra have error bars."""
_STRIP_BYTES = 1 << 27
_BLOCK_BYTES = 1 << 27
_PARTS_OF_WIDE_ROWS = 4


def _stacked(factor: Matrix, rows: Matrix) -> Matrix:
    """The triangular factor of [factor; rows]."""
    if not len(rows):
        return factor
    return np.asarray(np.linalg.qr(np.concatenate([factor, rows]), mode="r"))


class _Stack:
    """Job: factors of pairs of a factor and rows."""

    def run(self, unit: tuple[Matrix, Matrix]) -> Matrix:
        """See `_stacked`."""
        return _stacked(*unit)


@dataclass(frozen=True)
class Factors:
    """Triangular factors that stand for a matrix of rows.

    Attributes:
        parts: factors of [1 | X] of disjoint sets of rows; or, where rows are fewer than
            dimensions, the one factor of X transposed, (rows, rows).
        wide: whether rows are fewer than dimensions.
        groups: (N,) the part of each row.
        scale: the number that X was divided by.
    """

    parts: tuple[Matrix, ...]
    wide: bool
    groups: Index
    scale: float

    def whole(self) -> Matrix:
        """The factor of all rows."""
        return reduce(_stacked, self.parts)

    @property
    def mean(self) -> Vector:
        """(D,) the mean row, divided by the scale; of rows that are not fewer than dimensions."""
        factor = self.whole()
        return np.asarray(factor[0, 1:] / factor[0, 0])

    def _centred(self, factor: Matrix) -> Matrix:
        return factor - factor.mean(axis=1, keepdims=True) if self.wide else factor[1:, 1:]

    def _values(self, factor: Matrix, centred: bool) -> Vector:
        uncentred = factor if self.wide else factor[:, 1:]
        matrix = self._centred(factor) if centred else uncentred
        if not matrix.size:
            return np.zeros(min(matrix.shape))
        return np.asarray(self.scale * np.linalg.svd(matrix, compute_uv=False))

    def singular_values(self, centred: bool) -> Vector:
        """(min(N, D),) singular values of X, or of X less its mean row, descending."""
        return self._values(self.whole(), centred)

    def without_each_group(self, centred: bool) -> Iterator[Vector]:
        """Singular values without the rows of each group."""
        if self.wide:
            for group in np.unique(self.groups):
                yield self._values(self.parts[0][:, self.groups != group], centred)
            return
        empty, last_first = self.parts[0][:0], self.parts[:0:-1]
        before = accumulate(self.parts[:-1], _stacked, initial=empty)
        after = accumulate(last_first, lambda rest, part: _stacked(part, rest), initial=empty)
        for one, other in zip(before, reversed(list(after)), strict=True):
            yield self._values(_stacked(one, other), centred)

    def principal_axes(self) -> tuple[Matrix, Vector]:
        """Principal axes of the centred rows, (D, D), and their singular values, descending.

        Of rows that are not fewer than dimensions.
        """
        _, values, right = np.linalg.svd(self._centred(self.whole()), full_matrices=False)
        return right.T, self.scale * values

    def directions(self, count: int) -> tuple[Matrix, Vector]:
        """Principal axes of the centred rows: (D or N, count), and their singular values.

        Where rows are at least as many as dimensions, the axes are right singular vectors of X less
        its mean row, to project rows on; otherwise they are the rows' own coordinates, already
        scaled.  The sign of each axis makes its largest entry positive.
        """
        _, values, right = np.linalg.svd(self._centred(self.whole()), full_matrices=False)
        axes, lengths = np.zeros((right.shape[1], count)), np.zeros(count)
        n_known = min(count, len(values))
        axes[:, :n_known] = right[:n_known].T
        lengths[:n_known] = self.scale * values[:n_known]
        peaks = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
        axes *= np.where(peaks < 0, -1.0, 1.0)
        return (axes * lengths if self.wide else axes), lengths


def factors(rows: FormRows, groups: Index, executor: Executor) -> Factors:
    """Triangular factors of a matrix that is read block by block.

    Args:
        rows: the matrix, the smaller of its sides at most `WIDEST`.
        groups: (N,) rows of one code make one part (where N > D).
        executor: threads that factor parts side by side.

    Cost: one pass, about 3 N D min(N, D) operations; memory a few min(N, D)^2 numbers for each
    part.
    """
    n_rows, dim = rows.shape
    if n_rows <= dim:
        return Factors((_wide_factor(rows, executor),), True, groups, rows.scale)
    n_parts = int(groups.max()) + 1
    parts = [np.zeros((0, dim + 1)) for _ in range(n_parts)]
    step = max(min(2 * n_parts * (dim + 1), _BLOCK_BYTES // (8 * dim)), 256)
    for span, block in rows.blocks(step):
        with_ones = np.column_stack([np.ones(len(block)), block])
        of_rows = groups[span]
        present = np.unique(of_rows)
        units = ((parts[group], with_ones[of_rows == group]) for group in present)
        for group, factor in zip(present, executor.run(_Stack(), units), strict=True):
            parts[group] = factor
    return Factors(tuple(parts), False, groups, rows.scale)


def _wide_factor(rows: FormRows, executor: Executor) -> Matrix:
    """(N, N) the triangular factor of X transposed."""
    n_rows, dim = rows.shape
    width = max(n_rows, _STRIP_BYTES // (8 * n_rows), 1)
    step = max(1, _BLOCK_BYTES // (8 * dim))
    factor = np.zeros((0, n_rows))
    for left, right in spans(dim, min(width, dim)):
        strip = np.empty((right - left, n_rows))
        for span, block in rows.blocks(step):
            strip[:, span] = block[:, left:right].T
        (factor,) = executor.run(_Stack(), [(factor, strip)])
    return factor


def parts_of(n_rows: int, dim: int, groups: Index) -> tuple[Index, bool]:
    """(N,) part of each row, and whether parts are the (N,) groups of the jackknife."""
    if min(n_rows, dim) <= WIDEST_WITH_ERRORS and groups.max() > 0:
        return groups, True
    return np.arange(n_rows) % min(_PARTS_OF_WIDE_ROWS, n_rows), False


def memory_needed(n_rows: int, dim: int, n_threads: int) -> int:
    """Bytes that `factors` takes: a block of rows, the factors, copies while they are merged."""
    least = min(n_rows, dim)
    if least > WIDEST:
        return 0
    parts = N_GROUPS if least <= WIDEST_WITH_ERRORS else _PARTS_OF_WIDE_ROWS
    stacked = 4 * 8 * (least + 1) ** 2
    return 2 * min(_BLOCK_BYTES, 8 * n_rows * dim) + parts * stacked // 4 + n_threads * stacked


# ---- measures of rank; each takes (m,) singular values, descending
