"""Row log-sum-exp at a temperature, and the mean similarity under the softmax's weights.

For row i and a set of pairs J(i), with beta = 1/tau:

    log_mass_i = log sum_{j in J(i)} exp(s_ij / tau)
    mean_i     = sum_j exp(s_ij / tau) s_ij / sum_j exp(s_ij / tau)

The Gaussian kernel is the same sum: exp(-t |x - y|^2) = exp(-2t) exp(s / tau) with tau = 1/(2t) on
the unit sphere, so uniformity at t and a penalty at tau = 1/(2t) share one exponential per pair.
States are (peak, sums): the mass is the first sum times exp(peak / tau).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array
from cl_analyze.pairs.engine import Reducer, State
from cl_analyze.pairs.tile import Exponentials, PairSet, SoftmaxAsk, Tile


@dataclass(frozen=True)
class MassState:
    """Sums relative to exp(peak / tau).

    Attributes:
        peak: (n_rows,), or () where all rows share one.
        sums: (n_rows, 1) masses, or (n_rows, 2): then those of 1 - s follow.
    """

    peak: NDArray[np.float64]
    sums: NDArray[np.float64]


@dataclass(frozen=True)
class SoftmaxResult:
    """Per row: log mass and mean similarity; minus infinity and NaN where no pair counts."""

    log_mass: NDArray[np.float64]
    mean: NDArray[np.float64]


@dataclass(frozen=True)
class RowLogSumExp(Reducer):
    """log sum_j exp(s_ij / tau) over a set of pairs; finalizes to an (N,) array in nats.

    Attributes:
        tau: temperature, > 0.
        pairs: which pairs count.
    """

    tau: float
    pairs: PairSet = "all"
    n_sums: ClassVar[int] = 1

    def identity(self, n_rows: int) -> MassState:
        return MassState(np.array(-np.inf), np.zeros((n_rows, self.n_sums)))

    @property
    def softmax_ask(self) -> SoftmaxAsk:
        return SoftmaxAsk(self.tau, self.pairs, self.n_sums == 2, of_columns=self.side == "columns")

    def reduce(self, tile: Tile) -> tuple[State, State]:
        of_rows, of_columns = self.sides(tile)
        if tile.fused is not None and tile.fused.serves(self.tau):
            rows, columns = tile.fused.softmax_sums(self.softmax_ask)
            return (
                MassState(np.array(0.0), rows) if of_rows else None,
                MassState(np.array(0.0), columns) if of_columns and columns is not None else None,
            )
        exponentials = tile.restricted(self.tau, self.pairs, columns=not of_rows)
        if of_rows and of_columns and not exponentials.has_one_shift:
            rows, _ = self._states(tile, exponentials, True, False)
            exponentials = tile.restricted(self.tau, self.pairs, columns=True)
            return rows, self._states(tile, exponentials, False, True)[1]
        return self._states(tile, exponentials, of_rows, of_columns)

    def _states(
        self, tile: Tile, exponentials: Exponentials, of_rows: bool, of_columns: bool
    ) -> tuple[State, State]:
        shift = np.asarray(exponentials.shift, dtype=np.float64)
        rows, columns = tile.side_sums(self._terms(tile, exponentials.values), of_rows, of_columns)
        return (
            None if rows is None else MassState(shift, rows),
            None if columns is None else MassState(shift, columns),
        )

    def _terms(self, tile: Tile, values: Array) -> Iterator[Array]:
        yield values
        if self.n_sums == 2:
            yield tile.product(values, tile.gaps())

    def merge(self, a: MassState, b: MassState) -> MassState:
        if not a.peak.shape and not b.peak.shape and a.peak == b.peak:  # nearly always
            return MassState(a.peak, a.sums + b.sums)
        peak = np.maximum(a.peak, b.peak)
        reference = np.where(np.isfinite(peak), peak, 0.0)
        scales = [np.exp((state.peak - reference) / self.tau)[..., None] for state in (a, b)]
        return MassState(peak, a.sums * scales[0] + b.sums * scales[1])

    def join(self, states: Sequence[MassState]) -> MassState:
        sums = np.concatenate([state.sums for state in states])
        if all(not state.peak.shape and state.peak == states[0].peak for state in states):
            return MassState(states[0].peak, sums)
        peaks = [np.broadcast_to(state.peak, len(state.sums)) for state in states]
        return MassState(np.concatenate(peaks), sums)

    def finalize(self, states: Sequence[MassState]) -> Any:
        return np.concatenate([self._log_mass(state) for state in states])

    def _log_mass(self, state: MassState) -> NDArray[np.float64]:
        mass = state.sums[:, 0]
        peak = np.where(np.isfinite(state.peak), state.peak, 0.0)
        with np.errstate(divide="ignore"):
            log_mass: NDArray[np.float64] = np.where(
                mass > 0, np.log(mass) + peak / self.tau, -np.inf
            )
        return log_mass


@dataclass(frozen=True)
class ColumnLogSumExp(RowLogSumExp):
    """log sum_i exp(s_ij / tau) of each column of a rectangular pass, from its rows' exponentials.

    In a symmetric pass the same as `RowLogSumExp`.
    """

    side = "columns"


@dataclass(frozen=True)
class SoftmaxMoments(RowLogSumExp):
    """Log mass and the mean similarity under the weights exp(s / tau), as a `SoftmaxResult`."""

    n_sums = 2

    def finalize(self, states: Sequence[MassState]) -> SoftmaxResult:
        mass, weighted_gap = np.concatenate([state.sums for state in states]).T
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(mass > 0, 1.0 - weighted_gap / mass, np.nan)
        return SoftmaxResult(super().finalize(states), mean)


@dataclass(frozen=True)
class LogSumOfSquares(Reducer):
    """log of the sum over all ordered pairs of exp(s_ij / tau)^2; finalizes to a number in nats.

    From the exponentials at tau, with no others taken.

    Attributes:
        tau: temperature, > 0.
        pairs: which pairs count.
    """

    tau: float
    pairs: PairSet = "all"
    side = "all"

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        return np.array(-np.inf)

    @property
    def softmax_ask(self) -> SoftmaxAsk | None:
        return SoftmaxAsk(self.tau, squares=True) if self.pairs == "all" else None

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], None]:
        twice = np.log(2.0) if tile.both_sides else 0.0
        ask = self.softmax_ask
        if ask and tile.fused is not None and tile.fused.serves(0.5 * self.tau):
            with np.errstate(divide="ignore"):
                return np.asarray(np.log(tile.fused.sum_of_squares(ask)) + twice), None
        backend, xp = tile.backend, tile.backend.xp
        exponentials = tile.restricted(self.tau, self.pairs)
        values = exponentials.values
        level = np.zeros(tile.shape[0])
        if 2.0 / self.tau > tile.exponent_range:  # their squares would leave the dtype's range
            peaks = backend.to_host(xp.max(values, axis=1))
            peaks = np.where(peaks > 1e-30, peaks, 1.0)  # less is nothing beside the tile's top
            values = tile.product(values, tile.spread(1.0 / peaks))
            level = 2.0 * np.log(peaks)
        squares = backend.to_host(backend.row_squares(values))
        with np.errstate(divide="ignore"):
            logs = np.log(squares) + level + 2.0 * exponentials.shift / self.tau
        return np.asarray(np.logaddexp.reduce(logs) + twice), None

    def merge(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.logaddexp(a, b))
