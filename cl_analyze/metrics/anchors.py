"""Estimates from some anchors against all rows, where every pair would take too long.

m anchors are drawn without replacement, and each is taken against all N rows.  An anchor's own
statistic is then exact, and a mean over rows is estimated from the anchors' mean, with the error of
a finite population.  Two moments of each row, a = x . mean and b = x' C x with C the second moment
matrix, cost O(N D^2) for all rows, and their averages over all rows are known exactly; where they
predict the statistic, regression on them takes most of the sampling error away (the survey
sampler's regression estimator; Cochran, Sampling Techniques, 1977, chapter 7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import spans

Vector = NDArray[np.float64]

HELPS = 0.3
"""Leave-one-out R^2 over the anchors above which the regression is used."""
FEWEST = 3
"""Anchors under which there is no estimate."""
ENOUGH = 30
"""Anchors under which no regression is tried."""
WIDEST = 1_024
"""Dimensions above which moments take too much time and memory."""
_UNITS = 4


@dataclass(frozen=True)
class _Moments:
    """Job: sum of rows and X'X of a span of unit rows, in float64."""

    rows: UnitRows
    block: int

    def run(self, span: tuple[int, int]) -> tuple[Vector, NDArray[np.float64]]:
        """Both sums."""
        total = np.zeros(self.rows.dim)
        gram = np.zeros((self.rows.dim, self.rows.dim))
        for start in range(span[0], span[1], self.block):
            block = self.rows.block(start, min(start + self.block, span[1]))
            total += block.sum(axis=0, dtype=np.float64)
            gram += block.T @ block
        return total, gram


@dataclass(frozen=True)
class Estimate:
    """A mean over rows, from anchors.

    Attributes:
        value: the estimate.
        sampling_error: standard error against the mean over all rows of this file.
        n: anchors that had a value.
    """

    value: float
    sampling_error: float
    n: int


@dataclass(frozen=True)
class Anchors:
    """Rows that stand for all rows: a sample of them, or all of them (m = N).

    Attributes:
        rows: (m,) which rows, ascending.
        n_rows: N.
        is_sample: whether they are a sample; means over all rows have no sampling error.
        moments: (m, 2) a and b of the anchors; None where they are not used.
        known: (2,) their averages over all rows.
    """

    rows: Index
    n_rows: int
    moments: NDArray[np.float64] | None = None
    known: Vector | None = None
    is_sample: bool = True

    @classmethod
    def every(cls, n_rows: int) -> Anchors:
        """All rows."""
        return cls(np.arange(n_rows), n_rows, is_sample=False)

    @property
    def chosen(self) -> Index | None:
        """The rows of a sample; None: all rows."""
        return self.rows if self.is_sample else None

    @property
    def halves(self) -> tuple[Index, ...]:
        """Positions among the anchors: two disjoint halves of a sample; or all rows."""
        positions = np.arange(len(self.rows))
        return (positions[0::2], positions[1::2]) if self.is_sample else (positions,)

    def population(self, values: Vector) -> int:
        """Rows that have a value, as far as the anchors tell."""
        return max(round(self.n_rows * float(np.isfinite(values).mean())), 1)

    def without_moments(self) -> Anchors:
        """The same anchors, for plain means."""
        return Anchors(self.rows, self.n_rows)

    def mean(self, values: Vector, population: int | None = None) -> Estimate:
        """The mean over all rows of a statistic that is known at the anchors.

        Args:
            values: (m,), NaN where an anchor has none.
            population: rows that have a value; None: as many as the anchors let expect.

        >>> anchors = Anchors(np.array([0, 3, 5, 6]), n_rows=8)
        >>> anchors.mean(np.array([1.0, 2.0, 3.0, 2.0])).value
        2.0
        """
        there = np.isfinite(values)
        y = values[there]
        m = len(y)
        if m < FEWEST:
            raise ValueError(f"a mean needs {FEWEST} anchors, there are {m}")
        population = self.population(values) if population is None else population
        remaining = max(1.0 - m / population, 0.0)
        value, residuals = float(y.mean()), (y - y.mean()) * math.sqrt(m / (m - 1))
        if self.moments is not None and self.known is not None and there.all() and m >= ENOUGH:
            design = np.column_stack([np.ones(m), self.moments - self.known])
            basis, triangle = np.linalg.qr(design)
            leverage = np.minimum((basis**2).sum(axis=1), 1.0 - 1e-9)
            fitted = basis @ (basis.T @ y)
            left_out = (y - fitted) / (1.0 - leverage)
            if left_out @ left_out < (1.0 - HELPS) * (residuals @ residuals) * m / (m - 1):
                regressed = float(np.linalg.lstsq(triangle, basis.T @ y, rcond=None)[0][0])
                if y.min() <= regressed <= y.max():  # a mean lies among its values
                    value, residuals = regressed, left_out
        return Estimate(value, math.sqrt(float((residuals**2).mean()) * remaining / m), m)

    def std_error(
        self,
        own: Vector,
        effects: Sequence[Vector] = (),
        population: int | None = None,
        groups: NDArray[np.int64] | None = None,
    ) -> float | None:
        """The population standard error of a mean over rows, as if every row were an anchor.

        A row's pseudo-value is its own statistic, plus what its presence does to the others'.  The
        first is known at the anchors, the second for all rows from each of two halves of the
        anchors; the covariance of the halves is free of their noise.

        Args:
            own: (m,) the anchors' statistics, NaN where there is none.
            effects: two (N,) vectors: what each row's presence adds to the others' sum, scaled to
                all rows, from each half; empty where rows do not affect each other.
            population: rows that have a value; None: as many as the anchors let expect.
            groups: (N,) codes of rows that belong together.

        Returns:
            The standard error; None for fewer than four anchors.
        """
        there = np.isfinite(own)
        if there.sum() < 4:
            return None
        n = self.n_rows
        scale = n / (self.population(own) if population is None else population)
        mine = np.where(there, scale * (np.where(there, own, 0.0) - own[there].mean()), 0.0)
        one, two = (scale * (part - part.mean()) for part in effects or (np.zeros(n), np.zeros(n)))
        if groups is not None:
            return _grouped_error(mine, self.rows, one, two, groups)
        alone = float(mine @ mine) / (len(mine) - 1)
        noise = one - two
        share = 0.5 * len(self.rows) / n
        of_effects = float(one @ two + 0.5 * share * (noise @ noise)) / n
        crossed = float(mine @ (one[self.rows] + two[self.rows])) / len(mine)
        variance = alone + crossed + of_effects
        return math.sqrt((variance if variance > 0 else alone) / n)


def _grouped_error(
    mine: Vector, rows: Index, one: Vector, two: Vector, groups: NDArray[np.int64]
) -> float | None:
    """As `Anchors.std_error`, with groups in place of rows.

    Sums over a group's rows are squared: of the anchors' own statistics, pairs of anchors of one
    group stand for all pairs of rows of one group (Horvitz & Thompson, JASA 1952).  Few anchors
    hold few such pairs; the ungrouped variance is the least that is reported.
    """
    units = len(np.unique(groups))
    if units < 2:
        return None
    m, n = len(mine), len(one)
    size = int(groups.max()) + 1
    squares = float(mine @ mine)
    sums = np.bincount(groups[rows], weights=mine, minlength=size)
    together = float(sums @ sums) - squares
    alone = n / m * squares
    own = max(alone + n * (n - 1) / (m * (m - 1)) * together, alone)
    first, second = (np.bincount(groups, weights=part, minlength=size) for part in (one, two))
    crossed = n / m * float(mine @ (first + second)[groups[rows]])
    total = own + crossed + float(first @ second)
    return math.sqrt(units / (units - 1) * (total if total > 0 else own)) / n


def draw_anchors(n_rows: int, wanted: int | None, seed: int) -> Index:
    """Rows drawn without replacement, ascending; all of them where no fewer are wanted."""
    if wanted is None or wanted >= n_rows:
        return np.arange(n_rows)
    random = np.random.default_rng(seed)
    return np.sort(random.choice(n_rows, size=wanted, replace=False)).astype(np.int64)


def with_moments(chosen: Index, rows: UnitRows, block: int, executor: Executor) -> Anchors:
    """Anchors with the moments that help estimates; without, where rows are very long.

    Cost: O(N D^2) once.
    """
    if rows.dim > min(WIDEST, 4 * len(chosen)):
        return Anchors(chosen, rows.n_rows)
    total, gram = np.zeros(rows.dim), np.zeros((rows.dim, rows.dim))
    units = spans(rows.n_rows, -(-rows.n_rows // _UNITS))
    for part, square in executor.run(_Moments(rows, block), units):
        total += part
        gram += square
    mean, second = total / rows.n_rows, gram / rows.n_rows
    own = rows.take(chosen)
    moments = np.column_stack([own @ mean, np.einsum("ij,ij->i", own @ second, own)])
    return Anchors(
        chosen, rows.n_rows, moments, np.array([float(mean @ mean), float((second**2).sum())])
    )
