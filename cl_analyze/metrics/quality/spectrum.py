"""Singular values of the rows, as saved and on the sphere, centred and not, and what they tell.

The triangular factor of [1 | X] is built block by block (sequential QR of the factor so far stacked
on the next rows), so that neither X nor its covariance is squared and only D x D numbers are held.
Its columns of X have the singular values of X; the part below its first row has those of X less
its mean row, because the first column is the constant.  Where rows are fewer than dimensions the
same is done with X transposed, strip of columns by strip of columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.quality.jackknife import N_GROUPS
from cl_analyze.metrics.quality.rows import FormRows
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import spans

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

VERSIONS = ("raw", "raw_centred", "normalised", "normalised_centred")
"""Rows as saved or on the unit sphere, as they are or less their mean row."""

WIDEST = 8_192
"""Singular values are those of at most so many dimensions or rows, whichever are fewer."""
WIDEST_WITH_ERRORS = 512
"""Dimensions (or rows, where these are fewer) up to which spectra have error bars."""
RANKME_EPS = 1e-7
POWER_LAW_RANKS = (4, 100)
"""Ranks, first and last, that the power law is fitted to (Agrawal et al.'s code)."""
FEWEST_RANKS = 3
_STRIP_BYTES = 1 << 27
_BLOCK_BYTES = 1 << 27
_PARTS_OF_WIDE_ROWS = 4


@dataclass(frozen=True)
class _Stack:
    """Job: the triangular factor of a factor and further rows below it."""

    def run(self, unit: tuple[Matrix, Matrix]) -> Matrix:
        """R of [factor; rows]."""
        factor, rows = unit
        if not len(rows):
            return factor
        return np.asarray(np.linalg.qr(np.concatenate([factor, rows]), mode="r"))


@dataclass(frozen=True)
class Factors:
    """Triangular factors that stand for a matrix of rows.

    Attributes:
        parts: factors of [1 | X] of disjoint sets of rows; or, where rows are fewer than
            dimensions, the one factor of X transposed, (rows, rows).
        wide: which of the two.
        groups: (N,) which part each row belongs to.
        scale: what X was divided by.
        n_rows, dim: shape of X.
    """

    parts: tuple[Matrix, ...]
    wide: bool
    groups: NDArray[np.int64]
    scale: float
    n_rows: int
    dim: int

    def whole(self) -> Matrix:
        """The factor of all rows."""
        return self.parts[0] if self.wide else _merged(self.parts)

    @property
    def mean(self) -> Vector:
        """(D,) the mean row, divided by the scale; of rows that are not fewer than dimensions."""
        factor = self.whole()
        return np.asarray(factor[0, 1:] / factor[0, 0])

    def singular_values(self, centred: bool) -> Vector:
        """(min(N, D),) singular values of X, or of X less its mean row, descending."""
        return self.scale * _values(self.whole(), self.wide, centred)

    def without_each_group(self, centred: bool) -> Iterator[Vector]:
        """Singular values without the rows of each group."""
        if self.wide:
            for group in np.unique(self.groups):
                kept = self.parts[0][:, self.groups != group]
                yield self.scale * _values(kept, True, centred)
            return
        before = [self.parts[0][:0]]
        for part in self.parts[:-1]:
            before.append(_merged((before[-1], part)))
        after = self.parts[0][:0]
        left_out = []
        for index in range(len(self.parts) - 1, -1, -1):
            left_out.append(_merged((before[index], after)))
            after = _merged((self.parts[index], after))
        for factor in reversed(left_out):
            yield self.scale * _values(factor, False, centred)

    def directions(self, count: int) -> tuple[Matrix, Vector]:
        """Principal axes of the centred rows: (D or N, count) and their singular values.

        Where rows are at least as many as dimensions these are right singular vectors of X less its
        mean row, to project rows on; otherwise they are the rows' own coordinates, already scaled.
        The sign of each makes its largest entry positive.
        """
        factor = self.whole()
        factor = factor - factor.mean(axis=1, keepdims=True) if self.wide else factor[1:, 1:]
        _, values, right = np.linalg.svd(factor, full_matrices=False)
        axes = np.zeros((right.shape[1], count))
        there = min(count, len(values))
        axes[:, :there] = right[:there].T
        peaks = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
        axes *= np.where(peaks < 0, -1.0, 1.0)
        found = np.zeros(count)
        found[:there] = self.scale * values[:there]
        return (axes * found if self.wide else axes), found


def _merged(parts: tuple[Matrix, ...]) -> Matrix:
    factor = parts[0]
    for part in parts[1:]:
        factor = _Stack().run((factor, part))
    return factor


def _values(factor: Matrix, wide: bool, centred: bool) -> Vector:
    if wide:
        if centred:
            factor = factor - factor.mean(axis=1, keepdims=True)
    else:
        factor = factor[1:, 1:] if centred else factor[:, 1:]
    if not factor.size:
        return np.zeros(min(factor.shape))
    return np.asarray(np.linalg.svd(factor, compute_uv=False))


def factors(rows: FormRows, groups: NDArray[np.int64], executor: Executor) -> Factors:
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
        return Factors((_wide_factor(rows, executor),), True, groups, rows.scale, n_rows, dim)
    n_parts = int(groups.max()) + 1
    parts = [np.zeros((0, dim + 1)) for _ in range(n_parts)]
    step = max(min(2 * n_parts * (dim + 1), _BLOCK_BYTES // (8 * dim)), 256)
    job = _Stack()
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        block = np.ones((stop - start, dim + 1))
        block[:, 1:] = rows.block(start, stop)
        of_rows = groups[start:stop]
        present = np.unique(of_rows)
        units = ((parts[group], block[of_rows == group]) for group in present)
        for group, factor in zip(present, executor.run(job, units), strict=True):
            parts[group] = factor
    return Factors(tuple(parts), False, groups, rows.scale, n_rows, dim)


def _wide_factor(rows: FormRows, executor: Executor) -> Matrix:
    """R of X transposed: (N, N)."""
    n_rows, dim = rows.shape
    width = max(n_rows, _STRIP_BYTES // (8 * n_rows), 1)
    step = max(1, _BLOCK_BYTES // (8 * dim))
    factor = np.zeros((0, n_rows))
    for left, right in spans(dim, min(width, dim)):
        strip = np.empty((right - left, n_rows))
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            strip[:, start:stop] = rows.block(start, stop)[:, left:right].T
        (factor,) = executor.run(_Stack(), [(factor, strip)])
    return factor


def parts_of(n_rows: int, dim: int, groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """(N,) part of each row, and whether parts are the groups of the jackknife.

    Args:
        n_rows, dim: N and D.
        groups: (N,) the jackknife's groups.
    """
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


# ---- what singular values tell; each takes (m,) values sorted descending


def effective_rank(values: Vector) -> float:
    """exp of the entropy of the values' shares (Roy & Vetterli, EUSIPCO 2007).

    >>> round(effective_rank(np.ones(5)), 9)
    5.0
    """
    shares = values[values > 0] / values.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))


def rankme(values: Vector) -> float:
    """As `effective_rank` with 1e-7 added to every share (Garrido et al., ICML 2023)."""
    shares = values / values.sum() + RANKME_EPS
    return math.exp(-float((shares * np.log(shares)).sum()))


def participation_ratio(values: Vector) -> float:
    """(sum lambda)^2 / sum lambda^2 with lambda the squared values."""
    squares = (values / values[0]) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum())


def nesum(values: Vector) -> float:
    """sum lambda / lambda_1 (He & Ozay, ICML 2022, Def. 4.1); |X|_F^2 / |X|_2^2, the stable rank.

    >>> nesum(np.array([2.0, 1.0, 1.0]))
    1.5
    """
    return float(((values / values[0]) ** 2).sum())


def isoscore(values: Vector, dim: int) -> float:
    """IsoScore (Rudman et al., ACL Findings 2022), in closed form (PR - 1) / (D - 1)."""
    return (participation_ratio(values) - 1.0) / (dim - 1)


@dataclass(frozen=True)
class PowerLaw:
    """lambda_j ~ j^-exponent, fitted over ranks first..last with weights 1 / rank.

    Attributes:
        exponent: alpha.
        r_squared: of the weighted fit.
        first, last: ranks of the fit, both counted.
    """

    exponent: float
    r_squared: float
    first: int
    last: int


def power_law(values: Vector, floor: float = 0.0) -> PowerLaw | None:
    """Exponent of the eigenvalues' decay (Agrawal et al., NeurIPS 2022, alpha-ReQ).

    Args:
        values: singular values, descending.
        floor: values at or under it are rounding, and take no part.

    Returns:
        None where fewer than three ranks are left.

    >>> law = power_law(np.arange(1, 200) ** -0.65)       # lambda = j^-1.3
    >>> round(law.exponent, 9), round(law.r_squared, 9), law.first, law.last
    (1.3, 1.0, 4, 100)
    """
    first, last = POWER_LAW_RANKS
    last = min(last, int((values > floor).sum()))
    if last - first + 1 < FEWEST_RANKS:
        return None
    ranks = np.arange(first, last + 1).astype(np.float64)
    x, y = np.log(ranks), 2.0 * np.log(values[first - 1 : last])
    weights = 1.0 / ranks
    x, y = x - np.average(x, weights=weights), y - np.average(y, weights=weights)
    slope = float((weights * x * y).sum() / (weights * x * x).sum())
    total = float((weights * y * y).sum())
    rest = float((weights * (y - slope * x) ** 2).sum())
    return PowerLaw(-slope, 1.0 - rest / total if total > 0 else 0.0, first, last)


def rounding_floor(values: Vector, n_rows: int, dim: int, eps: float) -> float:
    """Singular values at or under this are rounding of the stored numbers.

    Rounding adds independent errors of up to eps times the usual entry, a matrix whose largest
    singular value is about that times sqrt(N) + sqrt(D).

    Args:
        values: all singular values.
        n_rows, dim: N and D.
        eps: spacing of the stored precision at 1.
    """
    largest = float(values[0])
    if largest == 0:
        return 0.0
    frobenius = largest * math.sqrt(float(((values / largest) ** 2).sum()))
    relative = eps * (n_rows**-0.5 + dim**-0.5)
    least = 8.0 * float(np.finfo(np.float64).eps)
    return frobenius * (relative if relative > least else least)


def dimensions_for(values: Vector, share: float) -> int:
    """How many principal directions hold that share of the variance.

    >>> dimensions_for(np.array([3.0, 1.0, 1.0]), 0.9), dimensions_for(np.array([3.0, 0.1]), 0.9)
    (2, 1)
    """
    squares = (values / values[0]) ** 2
    return int(np.searchsorted(np.cumsum(squares) / squares.sum(), share - 1e-12) + 1)
