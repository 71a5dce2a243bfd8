"""Row log-sum-exp at a temperature, and the mean similarity under the softmax's weights.

For row i and a set of pairs J(i), with beta = 1/tau:

    log_mass_i = log sum_{j in J(i)} exp(s_ij / tau)
    mean_i     = sum_j exp(s_ij / tau) s_ij / sum_j exp(s_ij / tau)

The Gaussian kernel is the same sum: exp(-t |x - y|^2) = exp(-2t) exp(s / tau) with tau = 1/(2t) on
the unit sphere, so uniformity at t and a penalty at tau = 1/(2t) share one exponential per pair.
States are (peak, mass): the sum is mass * exp(peak / tau).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array
from cl_analyze.pairs.engine import shared_exponential_order
from cl_analyze.pairs.tile import Exponentials, PairSet, Tile


@dataclass(frozen=True)
class MassState:
    """Per row: masses relative to exp(peak / tau); `weighted` is that of 1 - s, else it is empty.

    The peak is (n_rows,), or () where all rows share one.
    """

    peak: NDArray[np.float64]
    mass: NDArray[np.float64]
    weighted: NDArray[np.float64]


@dataclass(frozen=True)
class SoftmaxResult:
    """Per row: log mass and mean similarity; minus infinity and NaN where no pair counts."""

    log_mass: NDArray[np.float64]
    mean: NDArray[np.float64]


@dataclass(frozen=True)
class RowLogSumExp:
    """log sum_j exp(s_ij / tau) over a set of pairs; finalizes to an (N,) array in nats.

    Attributes:
        tau: temperature, > 0.
        pairs: which pairs count.
    """

    tau: float
    pairs: PairSet = "all"
    side = "rows"

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Beside the other reducers of the same temperature."""
        return shared_exponential_order(self.tau)

    def bound(self, state: MassState) -> None:
        """Every pair matters."""
        return

    def identity(self, n_rows: int) -> MassState:
        """No pair: no mass at a peak of minus infinity."""
        return MassState(np.array(-np.inf), np.zeros(n_rows), self._no_weights(n_rows))

    def reduce(self, tile: Tile) -> tuple[MassState, MassState | None]:
        """Row sums and, from the same exponentials, column sums."""
        found = tile.restricted(self.tau, self.pairs)
        both = tile.both_sides and np.ndim(found.shift) == 0
        rows, cols = self._states(tile, found, rows=True, cols=both)
        if tile.both_sides and not both:  # rows and columns have exponentials of their own
            apart = tile.restricted(self.tau, self.pairs, columns=True)
            _, cols = self._states(tile, apart, False, True)
        assert rows is not None
        return rows, cols

    def _states(
        self, tile: Tile, found: Exponentials, rows: bool, cols: bool
    ) -> tuple[MassState | None, MassState | None]:
        """The wanted sides' states; each product of matrices is taken once for both."""
        values = found.values
        sides = [(rows, tile.row_sums), (cols, tile.col_sums)]
        masses = [sums(values) if wanted else None for wanted, sums in sides]
        weights = self._weights(tile, values)
        states: list[MassState | None] = []
        for (_, sums), mass in zip(sides, masses, strict=True):
            if mass is None:
                states.append(None)
                continue
            weighted = np.zeros(0) if weights is None else sums(weights)
            states.append(MassState(np.asarray(found.shift, dtype=np.float64), mass, weighted))
        return states[0], states[1]

    def _no_weights(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros(0)

    def _weights(self, tile: Tile, values: Array) -> Array | None:
        return None

    def merge(self, a: MassState, b: MassState) -> MassState:
        """Masses on the higher of the two peaks."""
        if not a.peak.shape and not b.peak.shape and a.peak == b.peak:  # nearly always
            return MassState(a.peak, a.mass + b.mass, a.weighted + b.weighted)
        peak = np.maximum(a.peak, b.peak)
        reference = np.where(np.isfinite(peak), peak, 0.0)
        scale_a = np.exp((a.peak - reference) / self.tau)
        scale_b = np.exp((b.peak - reference) / self.tau)
        if not len(a.weighted):
            return MassState(peak, a.mass * scale_a + b.mass * scale_b, a.weighted)
        return MassState(
            peak,
            a.mass * scale_a + b.mass * scale_b,
            a.weighted * scale_a + b.weighted * scale_b,
        )

    def finalize(self, states: Sequence[MassState]) -> NDArray[np.float64]:
        """(N,) log masses."""
        return np.concatenate([self._log_mass(state) for state in states])

    def _log_mass(self, state: MassState) -> NDArray[np.float64]:
        peak = np.where(np.isfinite(state.peak), state.peak, 0.0)
        with np.errstate(divide="ignore"):
            log_mass: NDArray[np.float64] = np.where(
                state.mass > 0, np.log(state.mass) + peak / self.tau, -np.inf
            )
        return log_mass


@dataclass(frozen=True)
class ColumnLogSumExp(RowLogSumExp):
    """log sum_i exp(s_ij / tau) of each column of a rectangular pass, from its rows' exponentials.

    In a symmetric pass the same as `RowLogSumExp`.
    """

    side = "columns"

    def reduce(self, tile: Tile) -> tuple[MassState | None, MassState]:  # type: ignore[override]
        """Column sums and, where the tile stands for its transpose as well, row sums."""
        found = tile.restricted(self.tau, self.pairs, columns=True)
        _, cols = self._states(tile, found, rows=False, cols=True)
        rows = None
        if tile.both_sides:
            rows, _ = self._states(tile, tile.restricted(self.tau, self.pairs), True, False)
        assert cols is not None
        return rows, cols


@dataclass(frozen=True)
class SoftmaxMoments(RowLogSumExp):
    """Log mass and the mean similarity under the weights exp(s / tau), as a `SoftmaxResult`."""

    def _no_weights(self, n_rows: int) -> NDArray[np.float64]:
        return np.zeros(n_rows)

    def _weights(self, tile: Tile, values: Array) -> Array:
        return tile.product(values, tile.gaps())

    def finalize(self, states: Sequence[MassState]) -> SoftmaxResult:  # type: ignore[override]
        """Log masses and means for all rows."""
        mass = np.concatenate([state.mass for state in states])
        weighted = np.concatenate([state.weighted for state in states])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(mass > 0, 1.0 - weighted / mass, np.nan)
        return SoftmaxResult(np.concatenate([self._log_mass(state) for state in states]), mean)


@dataclass(frozen=True)
class LogSumOfSquares:
    """log of the sum over all ordered pairs of exp(s_ij / tau)^2; finalizes to a number in nats.

    From the exponentials at tau, with no others taken.

    Attributes:
        tau: temperature, > 0.
        pairs: which pairs count.
    """

    tau: float
    pairs: PairSet = "all"
    side = "all"

    @property
    def sort_key(self) -> tuple[float, ...]:
        """Beside the other reducers of the same temperature."""
        return shared_exponential_order(self.tau)

    def bound(self, state: NDArray[np.float64]) -> None:
        """Every pair matters."""
        return

    def identity(self, n_rows: int) -> NDArray[np.float64]:
        """No pair."""
        return np.array(-np.inf)

    def reduce(self, tile: Tile) -> tuple[NDArray[np.float64], None]:
        """The tile's sum, twice where it stands for its transpose as well."""
        found = tile.restricted(self.tau, self.pairs)
        values = found.values
        level = np.zeros(tile.shape[0])
        if 2.0 / self.tau > tile.exponent_range:  # their squares would leave the dtype's range
            peaks = tile.backend.to_host(tile.backend.row_max(values))
            peaks = np.where(peaks > 1e-30, peaks, 1.0)  # less is nothing beside the tile's top
            values = tile.product(values, tile.backend.vector(1.0 / peaks)[:, None])
            level = 2.0 * np.log(peaks)
        with np.errstate(divide="ignore"):
            logs = np.log(tile.backend.row_squares(values)) + level + 2.0 * found.shift / self.tau
        total = np.logaddexp.reduce(logs) + (np.log(2.0) if tile.both_sides else 0.0)
        return np.asarray(total), None

    def merge(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums add."""
        return np.asarray(np.logaddexp(a, b))

    def finalize(self, states: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """The log of the sum over all pairs."""
        return np.asarray(np.logaddexp.reduce(np.stack(states)))
