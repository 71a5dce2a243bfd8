"""Estimates from a sample of anchors against all rows, where all pairs would take too long.

m anchors are drawn without replacement, and each anchor is compared with all N rows.  The statistic
of an anchor is exact.  The mean over all rows is estimated by the mean over the anchors, with the
error of a sample from a finite population.

Control variates reduce this error.  Each row has two moments, a = x . mean and b = x' C x, with C
the second moment matrix.  They cost O(N D^2) for all rows, and their averages over all rows are
known exactly.  Where the moments predict the statistic, regression on them removes most of the
sampling error (the regression estimator of survey sampling; Cochran, Sampling Techniques, 1977,
chapter 7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import spans

Vector = NDArray[np.float64]

HELPS = 0.3
"""The regression is used where its leave-one-out R^2 over the anchors is above this."""
FEWEST = 3
"""Fewest anchors for an estimate."""
ENOUGH = 30
"""Fewest anchors for a regression."""
WIDEST = 1_024
"""Most dimensions for the moments: with more they take too much time and memory."""
_UNITS = 4
"""Spans of rows that the moments are summed over, one job each."""


@dataclass(frozen=True)
class _Moments:
    """Job: the sum of the rows and X'X over a span of unit rows, in float64."""

    rows: UnitRows
    block: int

    def run(self, span: tuple[int, int]) -> tuple[Vector, NDArray[np.float64]]:
        """The sum of the rows, and X'X."""
        total = np.zeros(self.rows.dim)
        gram = np.zeros((self.rows.dim, self.rows.dim))
        for start in range(span[0], span[1], self.block):
            block = self.rows.block(start, min(start + self.block, span[1]))
            total += block.sum(axis=0, dtype=np.float64)
            gram += block.T @ block
        return total, gram


@dataclass(frozen=True)
class Estimate:
    """A mean over all rows, estimated from anchors.

    Attributes:
        value: the estimate.
        sampling_error: standard error of the estimate of the mean over all rows of this file.
        n: number of anchors that have a value.
    """

    value: float
    sampling_error: float
    n: int


@dataclass(frozen=True)
class Anchors:
    """Rows that stand for all rows: a sample of the rows, or all rows (m = N).

    Attributes:
        rows: (m,) indices of the anchors, ascending.
        n_rows: N.
        is_sample: whether the anchors are a sample; without a sample there is no sampling error.
        moments: (m, 2) the control variates a and b of the anchors; None: no regression.
        known: (2,) averages of a and b over all rows; None: no regression.
    """

    rows: Index
    n_rows: int
    moments: NDArray[np.float64] | None = None
    known: Vector | None = None
    is_sample: bool = True

    @classmethod
    def every(cls, n_rows: int) -> Anchors:
        """All rows as anchors."""
        return cls(np.arange(n_rows), n_rows, is_sample=False)

    @property
    def chosen(self) -> Index | None:
        """The rows of a sample; None: all rows."""
        return self.rows if self.is_sample else None

    @property
    def halves(self) -> tuple[Index, ...]:
        """Positions among the anchors: two disjoint halves of a sample, else one part of all."""
        positions = np.arange(len(self.rows))
        return (positions[0::2], positions[1::2]) if self.is_sample else (positions,)

    def population(self, values: Vector) -> int:
        """Number of all rows that have a value, estimated from the share of such anchors."""
        return max(round(self.n_rows * float(np.isfinite(values).mean())), 1)

    def without_moments(self) -> Anchors:
        """The same anchors without control variates: means are plain averages."""
        return replace(self, moments=None, known=None)

    def mean(self, values: Vector, population: int | None = None) -> Estimate:
        """The mean over all rows of a statistic that is known for the anchors.

        Args:
            values: (m,) statistic of each anchor, NaN where it has no value.
            population: number of all rows that have a value; None: estimated from the anchors.

        Raises:
            ValueError: fewer than `FEWEST` anchors have a value.

        >>> anchors = Anchors(np.array([0, 3, 5, 6]), n_rows=8)
        >>> anchors.mean(np.array([1.0, 2.0, 3.0, 2.0])).value
        2.0
        """
        has_value = np.isfinite(values)
        y = values[has_value]
        m = len(y)
        if m < FEWEST:
            raise ValueError(f"a mean needs at least {FEWEST} anchors with a value, found {m}")
        population = self.population(values) if population is None else population
        correction = max(1.0 - m / population, 0.0)  # of a finite population
        value, residuals = float(y.mean()), (y - y.mean()) * math.sqrt(m / (m - 1))
        if self.moments is not None and self.known is not None and has_value.all() and m >= ENOUGH:
            design = np.column_stack([np.ones(m), self.moments - self.known])
            basis, triangle = np.linalg.qr(design)
            leverage = np.minimum((basis**2).sum(axis=1), 1.0 - 1e-9)
            fitted = basis @ (basis.T @ y)
            left_out = (y - fitted) / (1.0 - leverage)
            if left_out @ left_out < (1.0 - HELPS) * (residuals @ residuals) * m / (m - 1):
                regressed = float(np.linalg.lstsq(triangle, basis.T @ y, rcond=None)[0][0])
                if y.min() <= regressed <= y.max():  # a mean lies within the range of the values
                    value, residuals = regressed, left_out
        return Estimate(value, math.sqrt(float((residuals**2).mean()) * correction / m), m)

    def std_error(
        self,
        values: Vector,
        effects: Sequence[Vector] = (),
        population: int | None = None,
        groups: NDArray[np.int64] | None = None,
        interaction: bool = True,
    ) -> float | None:
        """The population standard error of a mean over rows, as if every row were an anchor.

        The pseudo-value of a row is its statistic plus its effect: the change that its presence
        makes to the statistics of other rows.  The statistic is known for the anchors.  The effects
        are known for all rows, once from each of two halves of the anchors; the covariance of the
        two copies has no variance of their noise.

        Args:
            values: (m,) statistic of each anchor, NaN where it has no value.
            effects: two (N,) vectors, one from each half: the change that each row's presence makes
                to the sum of the other rows' statistics, scaled to all rows; empty where rows do
                not affect each other.
            population: number of all rows that have a value; None: estimated from the anchors.
            groups: (N,) codes of rows that belong together.
            interaction: whether the effects keep the interaction of two rows, as in a jackknife of
                all rows; without it the variance is at least that of the statistics, see
                `anchor_values`.

        Returns:
            The standard error; None where fewer than four anchors have a value.
        """
        has_value = np.isfinite(values)
        if has_value.sum() < 4:
            return None
        n = self.n_rows
        scale = n / (self.population(values) if population is None else population)
        deviations = np.where(has_value, scale * (values - values[has_value].mean()), 0.0)
        first, second = (
            scale * (half - half.mean()) for half in effects or (np.zeros(n), np.zeros(n))
        )
        if groups is not None:
            return _grouped_error(deviations, self.rows, first, second, groups, interaction)
        of_values = float(deviations @ deviations) / (len(deviations) - 1)
        noise = first - second
        share = 0.5 * len(self.rows) / n if interaction else 0.0
        of_effects = float(first @ second + 0.5 * share * (noise @ noise)) / n
        crossed = float(deviations @ (first[self.rows] + second[self.rows])) / len(deviations)
        variance = of_values + crossed + of_effects
        least = 0.0 if interaction else of_values
        return math.sqrt((variance if variance > least else of_values) / n)


def _grouped_error(
    deviations: Vector,
    rows: Index,
    first: Vector,
    second: Vector,
    groups: NDArray[np.int64],
    interaction: bool,
) -> float | None:
    """As `Anchors.std_error`, with groups in place of rows.

    The deviations of a group's rows are summed, and the sum is squared.  For the statistics of the
    anchors, pairs of anchors of one group stand for all pairs of rows of one group (Horvitz &
    Thompson, JASA 1952).  A small sample has few such pairs, so the variance is at least the one
    without groups.

    Args:
        deviations: (m,) the anchors' statistics less their mean.
        rows: (m,) indices of the anchors.
        first, second: (N,) two copies of the centred effects.
        groups: (N,) codes of rows that belong together.
        interaction: see `Anchors.std_error`.
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return None
    m, n = len(deviations), len(first)
    n_codes = int(groups.max()) + 1
    squares = float(deviations @ deviations)
    sums = np.bincount(groups[rows], weights=deviations, minlength=n_codes)
    products = float(sums @ sums) - squares  # of pairs of anchors of one group
    ungrouped = n / m * squares
    of_values = max(ungrouped + n * (n - 1) / (m * (m - 1)) * products, ungrouped)
    first_sums, second_sums = (
        np.bincount(groups, weights=half, minlength=n_codes) for half in (first, second)
    )
    crossed = n / m * float(deviations @ (first_sums + second_sums)[groups[rows]])
    variance = of_values + crossed + float(first_sums @ second_sums)
    variance = variance if variance > (0.0 if interaction else of_values) else of_values
    return math.sqrt(n_groups / (n_groups - 1) * variance) / n


def draw_anchors(n_rows: int, n_anchors: int | None, seed: int) -> Index:
    """Rows drawn without replacement, ascending; all rows where n_anchors is None or >= n_rows."""
    if n_anchors is None or n_anchors >= n_rows:
        return np.arange(n_rows)
    random = np.random.default_rng(seed)
    return np.sort(random.choice(n_rows, size=n_anchors, replace=False)).astype(np.int64)


def with_moments(chosen: Index, rows: UnitRows, block: int, executor: Executor) -> Anchors:
    """Anchors with control variates; without them where rows have many dimensions.

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
    x = rows.take(chosen)
    moments = np.column_stack([x @ mean, np.einsum("ij,ij->i", x @ second, x)])
    return Anchors(
        chosen, rows.n_rows, moments, np.array([float(mean @ mean), float((second**2).sum())])
    )
