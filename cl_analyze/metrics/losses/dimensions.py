"""Numbers about the dimensions of two views: what VICReg, Barlow Twins and squared cosines need.

All follow from the D x D scatter of the rows, which is summed block by block: first the means,
then the products of centred rows, then what is left without each row.  Memory is a few D x D
matrices, work O(N D^2).

VICReg and Barlow Twins do not compare rows with each other.  Their error is a jackknife: without a
row the scatter S is S - N / (N - 1) x x', x the row less the mean, so that each term without each
row follows from products of its entries, and no scatter is summed again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.executors import Executor, SerialExecutor
from cl_analyze.pairs.plan import Span, spans

Vector = NDArray[np.float64]
Form = Literal["as_saved", "normalised"]
FORMS: tuple[Form, ...] = get_args(Form)
"""Rows as they are saved, or on the unit sphere."""

VICREG_WEIGHTS = (25.0, 25.0, 1.0)
"""Of invariance, variance and covariance."""
VICREG_STD = 1.0
"""The standard deviation under which a dimension is pushed up."""
VICREG_EPS = 1e-4
"""Added to variances before their root is taken."""
BARLOW_WEIGHT = 5e-3
"""Of the correlations off the diagonal."""
CONSTANT = 8.0
"""A dimension is constant where its deviation is at most this many roundings of its entries."""

WIDEST = 4_096
"""Most dimensions of the D x D scatters."""
WIDEST_AT_ONCE = 1_024
"""Dimensions up to which several threads have scatters of their own."""

_NOTHING_LEFT = 1e-12
"""Part of a variance under which nothing but rounding is left of it."""
_ROWS_AT_ONCE = 1_024
_MOST_UNITS, _FEWEST_ROWS = 16, 2_048
_UU, _VV, _UV = range(3)


@dataclass(frozen=True)
class Moments:
    """Means and scatter of N pairs of rows.

    Attributes:
        n: pairs.
        means: (2, D) mean rows of both views.
        scatter: (3, D, D) sums of products of centred entries: within u, within v, of u with v.
        is_constant: (2, D) whether a dimension has one value, up to rounding.
        scale: what rows are divided by, so that their squares stay in range; VICReg's terms are
            those of the rows before.
    """

    n: int
    means: Vector
    scatter: Vector
    is_constant: NDArray[np.bool_]
    scale: float = 1.0

    @property
    def factor(self) -> float:
        """N / (N - 1)."""
        return self.n / self.divisor

    @property
    def divisor(self) -> int:
        """Of variances: N - 1."""
        return max(self.n - 1, 1)

    @property
    def variances(self) -> Vector:
        """(2, D) variances of the dimensions of both views, over N - 1."""
        return np.stack([self.scatter[_UU].diagonal(), self.scatter[_VV].diagonal()]) / self.divisor

    @property
    def scales(self) -> Vector:
        """(2, D) one over each deviation; 0 for a constant dimension, which then correlates with 0.

        This is what Barlow Twins' batch normalisation does with it, which adds a small number to
        the variance.
        """
        return _scales(self.variances, self.is_constant)

    @property
    def correlations(self) -> Vector:
        """(D, D) of dimensions of u with those of v: products of standardised entries over N."""
        of_u, of_v = self.scales
        cross: Vector = self.scatter[_UV] * of_u[:, None] * of_v / self.n
        return cross


@dataclass(frozen=True)
class OfDimensions:
    """The terms of VICReg and of Barlow Twins about N pairs.

    Attributes:
        invariance: (N,) mean over the dimensions of (u - v)^2.
        variance, covariance: the two other terms of VICReg.
        on_diagonal, off_diagonal: sums of (1 - c_dd)^2 and of c_de^2 of Barlow Twins.
        pseudo_values: jackknife pseudo-values of the last four, (N,) each; None where they were
            not asked for.
        n_constant: (2,) constant dimensions of both views.
    """

    invariance: Vector
    variance: float
    covariance: float
    on_diagonal: float
    off_diagonal: float
    pseudo_values: Vector | None = None
    n_constant: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Squares:
    """Sums over the other pairs of squared cosines.

    Attributes:
        sent: (N,) sum over j != i of (u_i . v_j)^2.
        received: (N,) sum over j != i of (u_j . v_i)^2.
    """

    sent: Vector
    received: Vector


class _Terms:
    """The four terms of the moments, and what they are without each row."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments
        self._correlations = moments.correlations
        self._apart = moments.n * _off_diagonal(self._correlations)
        self._apart_squared = np.square(self._apart)
        self._within = [_off_diagonal(moments.scatter[at]) for at in (_UU, _VV)]
        self._squares = [float(np.square(matrix).sum()) for matrix in self._within]
        self.values = (
            float(_below(moments.variances * moments.scale**2).mean()),
            _times_fourth(sum(self._squares), moments.scale)
            / (moments.divisor**2 * moments.means.shape[1]),
            float(np.square(1.0 - self._correlations.diagonal()).sum()),
            float(self._apart_squared.sum()) / moments.n**2,
        )

    def pseudo_values(self, u: Vector, v: Vector) -> Vector:
        """(4, n) jackknife pseudo-values of the terms for some rows."""
        n, whole = self._moments.n, np.array(self.values)[:, None]
        centred = u - self._moments.means[0], v - self._moments.means[1]
        without = np.stack([*self._vicreg_without(*centred), *self._barlow_without(*centred)])
        pseudo: Vector = n * whole - (n - 1) * without
        return pseudo

    def _vicreg_without(self, *centred: Vector) -> tuple[Vector, Vector]:
        """(n,) variance and covariance without each row: a scatter S becomes S - f x x'."""
        moments, factor = self._moments, self._moments.factor
        divisor, dim = max(moments.n - 2, 1), centred[0].shape[1]
        variance, covariance = np.zeros(len(centred[0])), np.zeros(len(centred[0]))
        for at, x in enumerate(centred):
            x2 = np.square(x)
            left = np.maximum(moments.scatter[at].diagonal() - factor * x2, 0.0)
            variance += 0.5 * _below(left / divisor * moments.scale**2).mean(axis=1)
            crossed = np.einsum("ij,ij->i", x @ self._within[at], x)
            own = np.square(x2.sum(axis=1)) - np.square(x2).sum(axis=1)
            squares = self._squares[at] - 2.0 * factor * crossed + factor**2 * own
            squares = _times_fourth(np.maximum(squares, 0.0), moments.scale)
            covariance += squares / (divisor**2 * dim)
        return variance, covariance

    def _barlow_without(self, u: Vector, v: Vector) -> tuple[Vector, Vector]:
        """(n,) sums on and off the diagonal without each row, in units of the deviations."""
        moments, factor = self._moments, self._moments.factor
        n_left, n = moments.n - 1, moments.n
        (a, of_u), (b, of_v) = (
            self._standardised(x, scales) for x, scales in zip((u, v), moments.scales, strict=True)
        )
        own = factor * a * b
        on = (n * self._correlations.diagonal() - own) * np.sqrt(of_u * of_v) / n_left
        x, y = a * of_u, b * of_v
        crossed = np.einsum("ij,ij->i", x @ self._apart, y)
        apart = np.einsum("ij,ij->i", of_u @ self._apart_squared, of_v)
        products = (a * x).sum(axis=1) * (b * y).sum(axis=1) - (a * x * b * y).sum(axis=1)
        off = apart - 2.0 * factor * crossed + factor**2 * products
        return np.square(1.0 - on).sum(axis=1), np.maximum(off, 0.0) / n_left**2

    def _standardised(self, x: Vector, scales: Vector) -> tuple[Vector, Vector]:
        """(n, D) standardised entries, and one over the variances without each row, in their units.

        The latter is 0 where nothing but rounding is left: the dimension is constant then.
        """
        moments, rows = self._moments, x * scales
        left = moments.divisor - moments.factor * np.square(rows)
        is_constant = (left <= _NOTHING_LEFT * moments.divisor) | (scales == 0.0)
        divisor = max(moments.n - 2, 1)
        return rows, np.where(is_constant, 0.0, divisor / np.where(is_constant, 1.0, left))


def _times_fourth(squares: Any, scale: float) -> Any:
    """Squared products of rows that were divided by a scale, as of the rows before."""
    return squares * scale**2 * scale**2


def _scale_of(largest: float) -> float:
    """The power of two just below a number, so that division by it loses no digit; 1 for 0.

    A NumPy number, whose squares overflow to infinity.
    """
    is_finite = 0.0 < largest < math.inf
    return np.float64(2.0 ** math.floor(math.log2(largest)) if is_finite else 1.0)


def _scales(variances: Vector, is_constant: NDArray[np.bool_]) -> Vector:
    """One over each deviation; 0 for a constant dimension."""
    return np.where(is_constant, 0.0, 1.0 / np.sqrt(np.where(is_constant, 1.0, variances)))


def _is_constant(spread: Vector, largest: Vector) -> NDArray[np.bool_]:
    """Whether a mean squared deviation is rounding beside a dimension's largest entry."""
    rounding = CONSTANT * np.finfo(np.float64).eps * largest
    constant: NDArray[np.bool_] = np.sqrt(spread) <= rounding
    return constant


def _below(variances: Vector) -> Vector:
    """How far deviations are under VICReg's target."""
    below: Vector = np.maximum(VICREG_STD - np.sqrt(variances + VICREG_EPS), 0.0)
    return below


def _off_diagonal(matrix: Vector) -> Vector:
    """The matrix with zeros on its diagonal."""
    kept = matrix.copy()
    np.fill_diagonal(kept, 0.0)
    return kept


# ---- a batch


def dense_dimensions(u: Vector, v: Vector) -> OfDimensions:
    """The terms of a batch of (M, D) rows, without pseudo-values: O(M D min(M, D)).

    Of fewer rows than dimensions the sums of squares come from products of rows with rows.
    """
    n, dim = u.shape
    divisor = max(n - 1, 1)
    scale = _scale_of(float(max(np.abs(u).max(), np.abs(v).max())))
    u, v = u / scale, v / scale
    with np.errstate(over="ignore", invalid="ignore"):
        sums, largest = _sums(u, v)
        centred = [rows - mean for rows, mean in zip((u, v), sums / n, strict=True)]
        scatter = np.stack([np.square(x).sum(axis=0) for x in centred])
        is_constant = _is_constant(scatter / n, largest)
        apart = sum(
            max(_sum_of_squares(x, x) - float(np.square(own).sum()), 0.0)
            for x, own in zip(centred, scatter, strict=True)
        )
        scales = _scales(scatter / divisor, is_constant)
        a, b = (x * scale for x, scale in zip(centred, scales, strict=True))
        correlations = (a * b).sum(axis=0) / n
        off = _sum_of_squares(a, b) / n**2 - float(np.square(correlations).sum())
        return OfDimensions(
            _invariance(u, v) * scale**2,
            float(_below(scatter / divisor * scale**2).mean()),
            _times_fourth(apart, scale) / (divisor**2 * dim),
            float(np.square(1.0 - correlations).sum()),
            max(off, 0.0),
        )


def _sum_of_squares(x: Vector, y: Vector) -> float:
    """|x'y|^2, the sum over the pairs of dimensions of their squared products."""
    if len(x) < x.shape[1]:
        return float(((x @ x.T) * (y @ y.T)).sum())
    return float(np.square(x.T @ y).sum())


def _sums(u: Vector, v: Vector) -> tuple[Vector, Vector]:
    """(2, D) sums of the rows, and largest absolute entries."""
    return (
        np.stack([u.sum(axis=0), v.sum(axis=0)]),
        np.stack([np.abs(u).max(axis=0), np.abs(v).max(axis=0)]),
    )


def _scatter(u: Vector, v: Vector, means: Vector) -> Vector:
    """(3, D, D) sums of products of centred entries."""
    a, b = u - means[0], v - means[1]
    return np.stack([a.T @ a, b.T @ b, a.T @ b])


def _moments(n: int, means: Vector, largest: Vector, scatter: Vector, scale: float) -> Moments:
    spread = np.stack([scatter[_UU].diagonal(), scatter[_VV].diagonal()]) / n
    return Moments(n, means, scatter, _is_constant(spread, largest), scale)


def _invariance(u: Vector, v: Vector) -> Vector:
    mean: Vector = np.square(u - v).mean(axis=1)
    return mean


# ---- saved rows


def memory_needed(dim: int, n_threads: int) -> int:
    """Bytes of the scatters that threads sum, and of what is made of them."""
    if dim > WIDEST:
        return 0
    n_scatters = 2 * (n_threads if dim <= WIDEST_AT_ONCE else 1) + 1
    return 8 * dim**2 * (3 * n_scatters + 6)


@dataclass(frozen=True)
class _Views:
    """The rows of two views in one form, divided by a scale, by blocks; picklable."""

    u: UnitRows
    v: UnitRows
    form: Form
    scale: float

    def blocks(self, span: Span) -> Iterator[tuple[Vector, Vector]]:
        for start in range(span[0], span[1], _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, span[1])
            if self.form == "as_saved":
                saved = (rows.stored_block(start, stop) for rows in (self.u, self.v))
                u, v = (block / self.scale for block in saved)
                yield u, v
            else:
                yield self.u.exact_block(start, stop), self.v.exact_block(start, stop)


@dataclass(frozen=True)
class _Job:
    """Job: something of each block of a span of rows, put together by `join`."""

    views: _Views
    of_block: Callable[..., Any]
    join: Callable[[Iterator[Any]], Any]
    given: tuple[Any, ...] = ()

    def run(self, span: Span) -> Any:
        """What the blocks of the span give together."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.join(self.of_block(u, v, *self.given) for u, v in self.views.blocks(span))


def _added(parts: Iterator[Vector]) -> Vector:
    return functools.reduce(np.add, parts)


def _added_sums(parts: Iterator[tuple[Vector, Vector]]) -> tuple[Vector, Vector]:
    sums, largest = zip(*parts, strict=True)
    return np.sum(sums, axis=0), np.max(largest, axis=0)


def _side_by_side(parts: Iterator[Vector]) -> Vector:
    return np.concatenate(list(parts), axis=-1)


def _rows_of(u: Vector, v: Vector, terms: _Terms, scale: float) -> Vector:
    """(5, n) invariance and pseudo-values of some rows."""
    return np.concatenate([_invariance(u, v)[None] * scale**2, terms.pseudo_values(u, v)])


def _squares_of(u: Vector, v: Vector, within_u: Vector, within_v: Vector) -> Vector:
    """(2, n) sums of squared cosines of some rows, see `Squares`; `within_u` is U'U."""
    own = np.square(np.einsum("ij,ij->i", u, v))
    sent = np.einsum("ij,ij->i", u @ within_v, u) - own
    received = np.einsum("ij,ij->i", v @ within_u, v) - own
    both: Vector = np.maximum(np.stack([sent, received]), 0.0)
    return both


def saved_dimensions(
    u: UnitRows, v: UnitRows, executor: Executor
) -> tuple[dict[Form, OfDimensions], Squares]:
    """The terms of both forms of the rows with pseudo-values, and sums of squared cosines.

    Args:
        u, v: rows of two views; row i of both is the same item.
        executor: where blocks are computed; the numbers do not depend on it.

    Returns:
        NaN in place of every number where rows have more than `WIDEST` dimensions.

    Cost: about 15 products of (N, D) with (D, D) in float64; memory: see `memory_needed`.
    """
    n, found = u.n_rows, {}
    if u.dim > WIDEST:
        nothing = np.full(n, np.nan)
        unknown = OfDimensions(nothing, math.nan, math.nan, math.nan, math.nan)
        return dict.fromkeys(FORMS, unknown), Squares(nothing, nothing)
    if u.dim > WIDEST_AT_ONCE:
        executor = SerialExecutor()
    units = spans(n, max(_FEWEST_ROWS, -(-n // _MOST_UNITS)))
    squares = Squares(np.zeros(n), np.zeros(n))
    largest_norm = max(float(rows.stored_norms().max()) for rows in (u, v))
    for form in FORMS:
        scale = _scale_of(largest_norm) if form == "as_saved" else 1.0
        views = _Views(u, v, form, scale)

        def over(of_block: Any, join: Any, *given: Any, views: _Views = views) -> Iterator[Any]:
            return executor.run(_Job(views, of_block, join, given), units)

        sums, largest = _added_sums(over(_sums, _added_sums))
        means = sums / n
        with np.errstate(over="ignore", invalid="ignore"):
            scatter = _added(over(_scatter, _added, means))
            moments = _moments(n, means, largest, scatter, scale)
            terms = _Terms(moments)
            rows = _side_by_side(over(_rows_of, _side_by_side, terms, scale))
        n_constant = int(moments.is_constant[0].sum()), int(moments.is_constant[1].sum())
        found[form] = OfDimensions(rows[0], *terms.values, rows[1:], n_constant)
        if form == "normalised":
            of_u, of_v = (
                scatter[at] + n * np.outer(mean, mean)
                for at, mean in zip((_UU, _VV), means, strict=True)
            )
            squares = Squares(*_side_by_side(over(_squares_of, _side_by_side, of_u, of_v)))
    return found, squares
