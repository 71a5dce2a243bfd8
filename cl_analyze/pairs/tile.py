"""One tile of the similarity matrix, and everything reducers may ask of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Array, Backend, Index
from cl_analyze.pairs.kernels.fused import MOST_CUTS, FusedTile
from cl_analyze.pairs.kernels.gpu_tile import GpuTile
from cl_analyze.pairs.kernels.tile import CompiledTile, Float64Tile

PairSet = Literal["all", "same_class", "other_class"]
"""Which pairs (i, j), i != j by index, a reducer counts.

all: every pair.  same_class: both labelled, with the same class.  other_class: both labelled, with
different classes.
"""

Sides = tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]
"""Sums of the rows and of the columns of a tile."""

Bound = NDArray[np.float64] | None
"""Per row, the similarity under which its pairs no longer matter; None: all matter."""

_EXPONENT_RANGE = {4: 60.0, 8: 600.0}
"""How far (in nats) exponents may lie from the shift before a dtype of that size loses them."""


@dataclass(frozen=True)
class Exponentials:
    """exp((s - shift) / tau) of a tile, zero at pairs that do not count.

    Attributes:
        values: (rows, cols) array of the backend.
        shift: the subtracted number, or one for each row (or column) on the host.
        squared: whether the values are squares of another temperature's.
    """

    values: Array
    shift: Any
    squared: bool = False

    @property
    def has_one_shift(self) -> bool:
        """Whether one shift serves the whole tile, its rows and its columns alike."""
        return np.ndim(self.shift) == 0


@dataclass(frozen=True)
class SoftmaxAsk:
    """Sums of exp(s / tau) that a reducer takes from a tile; a compiled sweep takes all at once.

    Attributes:
        tau: temperature.
        pairs: which pairs count.
        gaps: whether sums of exp(s / tau) (1 - s) are wanted too.
        squares: the sum of the squares over all pairs is wanted, and no other.
        of_columns: whether columns get sums also in a rectangular pass.
    """

    tau: float
    pairs: PairSet = "all"
    gaps: bool = False
    squares: bool = False
    of_columns: bool = False


@dataclass
class Tile:
    """Similarities of a block of rows with a block of columns.

    Attributes:
        similarity: (n_rows, n_cols) cosines in the backend's dtype, also of left-out pairs, which
            never count: reducers use `exponentials`, `mask` or `left_out`.
        rows, cols: global indices of the rows and columns.
        row_labels, col_labels: class codes, -1 unlabelled; None without labels.
        left_out: positions (row, column) in this tile of pairs that never count: i == j by
            index, and those that the pass leaves out.
        both_sides: whether the tile feeds its columns' rows too (off-diagonal, symmetric plan).
        bounds: for reducers that prune: reducer -> (rows' bounds, columns' bounds).
        asks: the sums of exponentials that all reducers of the pass take.
    """

    similarity: Array
    rows: Index
    cols: Index
    left_out: tuple[Index, Index]
    both_sides: bool
    backend: Backend
    row_labels: Index | None = None
    col_labels: Index | None = None
    bounds: dict[Any, tuple[Bound, Bound]] = field(default_factory=dict)
    asks: tuple[SoftmaxAsk, ...] = ()
    _masks: dict[str, Array] = field(default_factory=dict)
    _exponentials: dict[bool, tuple[float, Exponentials]] = field(default_factory=dict)
    _ones: dict[bool, Array] = field(default_factory=dict)
    _gaps: Array | None = None
    _bins: tuple[int, Any] | None = None
    _counts: tuple[int, NDArray[np.float64]] | None = None
    _softplus: tuple[Any, Sides] | None = None

    @functools.cached_property
    def compiled(self) -> CompiledTile | None:
        """The compiled sweeps over this tile in float32; None where NumPy or torch computes."""
        library = self.backend.kernels_for(np.float32)
        return None if library is None or self._has_many_cuts else CompiledTile(self, library)

    @functools.cached_property
    def fused(self) -> FusedTile | None:
        """What takes the softmax sums of the whole pass in one sweep, here or on a GPU."""
        sweeps = self.backend.gpu_sweeps
        if sweeps is not None and not self._has_many_cuts:
            return GpuTile(self, sweeps)
        return self.compiled

    @functools.cached_property
    def compiled_float64(self) -> Float64Tile | None:
        """The compiled sweeps over this tile in float64."""
        library = self.backend.kernels_for(np.float64)
        return None if library is None or self._has_many_cuts else Float64Tile(self, library)

    @functools.cached_property
    def _has_many_cuts(self) -> bool:
        """Whether a row has more left-out pairs in this tile than the compiled sweeps take."""
        return bool(np.bincount(self.left_out[0], minlength=1).max() > MOST_CUTS)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the tile."""
        return len(self.rows), len(self.cols)

    @property
    def exponent_range(self) -> float:
        """How far (in nats) exponents may lie from zero in this tile's dtype."""
        return _EXPONENT_RANGE[self.backend.dtype.itemsize]

    def spread(self, values: NDArray[Any], of_rows: bool = True) -> Array:
        """One value for each row (or for each column) on the device, to broadcast over the tile."""
        vector = self.backend.vector(values)
        return vector[:, None] if of_rows else vector[None, :]

    def dot(self, matrix: Array, weights: Array, of_rows: bool = True) -> NDArray[np.float64]:
        """Sum over the columns for each row (or over the rows for each column), on the host.

        Args:
            matrix: (n_rows, n_cols).
            weights: of the columns (or of the rows), on the device; sums are accumulated in the
                tile's dtype.
            of_rows: whether the rows get the sums.
        """
        return self.backend.to_host(matrix @ weights if of_rows else weights @ matrix)

    def sums(self, matrix: Array, of_rows: bool = True) -> NDArray[np.float64]:
        """Row sums (or column sums) on the host, accumulated in the tile's dtype."""
        if of_rows not in self._ones:
            n_rows, n_cols = self.shape
            self._ones[of_rows] = self.backend.vector(np.ones(n_cols if of_rows else n_rows))
        return self.dot(matrix, self._ones[of_rows], of_rows)

    def side_sums(
        self, matrices: Iterable[Array], of_rows: bool, of_columns: bool
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """(n_rows, m) row sums and (n_cols, m) column sums of m matrices; None where not asked for.

        A matrix is summed before the next one is computed, which may use the same buffer.
        """
        rows, columns = [], []
        for matrix in matrices:
            if of_rows:
                rows.append(self.sums(matrix))
            if of_columns:
                columns.append(self.sums(matrix, of_rows=False))
        return (
            np.stack(rows, axis=1) if of_rows else None,
            np.stack(columns, axis=1) if of_columns else None,
        )

    def mask(self, pairs: PairSet) -> Array:
        """1 where a pair belongs to the set, else 0, in the tile's dtype."""
        if pairs not in self._masks:
            backend = self.backend
            buffer = backend.scratch(f"mask-{pairs}", self.shape)
            if pairs == "all":
                buffer[...] = 1
            elif self.row_labels is None or self.col_labels is None:
                raise ValueError(f"the pair set {pairs!r} needs labels")
            else:
                backend.same_class(self.row_labels, self.col_labels, buffer)
                if pairs == "other_class":
                    labelled = backend.scratch("labelled", self.shape)
                    labelled[...] = self.spread(self.row_labels >= 0)
                    backend.xp.multiply(
                        labelled, self.spread(self.col_labels >= 0, False), out=labelled
                    )
                    backend.xp.subtract(labelled, buffer, out=buffer)
            backend.set_at(buffer, *self.left_out, 0.0)
            self._masks[pairs] = buffer
        return self._masks[pairs]

    def selected(self, pairs: PairSet) -> Array:
        """Similarities with pairs outside the set at minus infinity; valid until asked again."""
        buffer = self.backend.scratch("selected", self.shape)
        buffer[...] = self.similarity
        if pairs == "all":
            self.backend.set_at(buffer, *self.left_out, -np.inf)
        else:
            buffer[self.mask(pairs) == 0] = -np.inf
        return buffer

    def exponentials(self, tau: float, columns: bool = False) -> Exponentials:
        """exp((s - shift) / tau) over all pairs that count, each taken once per tile and tau.

        One shift serves rows and columns where the dtype's range allows: 0 while 1/tau is within
        the range, else the tile's maximum.  For a very small tau the peak of some row or column may
        lie so far under the tile's maximum that its mass would be lost: then each row (or, with
        `columns`, each column) is shifted by its own peak.
        The exponentials of tau/2 are squares of those of tau where the last call was for tau (once
        only: squares of squares would add up their rounding).
        The array is valid until the next call.
        """
        last = self._exponentials.get(columns)
        if last is not None and last[0] == tau:
            return last[1]
        backend = self.backend
        buffer = backend.scratch("exponentials", self.shape)
        if 1.0 / tau > self.exponent_range:
            result = self._shifted(self.selected("all"), tau, columns, buffer)
        elif last is not None and last[0] == 2.0 * tau and not last[1].squared:
            values = last[1].values
            backend.xp.multiply(values, values, out=buffer)
            result = Exponentials(buffer, 0.0, squared=True)
        else:
            backend.exp_scaled(self.similarity, 1.0 / tau, 0.0, out=buffer)
            backend.set_at(buffer, *self.left_out, 0.0)
            result = Exponentials(buffer, 0.0)
        sides = (False, True) if result.has_one_shift else (columns,)
        self._exponentials = dict.fromkeys(sides, (tau, result))
        return result

    def restricted(self, tau: float, pairs: PairSet, columns: bool = False) -> Exponentials:
        """`exponentials` that are zero outside a set of pairs.

        The exponentials of all pairs are masked where the dtype's range allows.  For a smaller tau
        the set has a shift of its own, because its peak may lie far under the peak of all pairs.
        """
        if pairs == "all":
            return self.exponentials(tau, columns)
        if 1.0 / tau <= self.exponent_range:
            of_all = self.exponentials(tau, columns)
            return Exponentials(self.product(of_all.values, self.mask(pairs)), of_all.shift)
        buffer = self.backend.scratch("product", self.shape)
        return self._shifted(self.selected(pairs), tau, columns, buffer)

    def _shifted(self, selected: Array, tau: float, columns: bool, buffer: Array) -> Exponentials:
        """Exponentials relative to the tile's peak or, where that is too far, to each row's own."""
        backend = self.backend
        row_peaks = backend.to_host(backend.xp.max(selected, axis=1))
        col_peaks = backend.to_host(backend.xp.max(selected, axis=0))
        peaks = np.concatenate([row_peaks, col_peaks])
        finite = peaks[np.isfinite(peaks)]
        if not len(finite) or (finite.max() - finite.min()) / tau <= self.exponent_range:
            top = float(finite.max()) if len(finite) else 0.0
            backend.exp_scaled(selected, 1.0 / tau, top, out=buffer)
            return Exponentials(buffer, top)
        peaks = col_peaks if columns else row_peaks
        shift = self.spread(np.where(np.isfinite(peaks), peaks, 0.0), not columns)
        backend.exp_scaled(selected, 1.0 / tau, shift, out=buffer)
        return Exponentials(buffer, backend.to_host(shift.reshape(-1)))

    def softplus_sums(
        self, taus: tuple[float, ...], bias: float
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """(n_rows, taus) and (n_cols, taus) sums of log(1 + exp(s / tau + bias)) over all pairs.

        Both sides are summed at the first call, so that reducers of either side share them.
        """
        if self._softplus is None or self._softplus[0] != (taus, bias):
            if self.compiled is not None:
                sums: Sides = self.compiled.softplus_sums(taus, bias)
            else:
                sums = self.side_sums((self._softplus_of(tau, bias) for tau in taus), True, True)
            self._softplus = (taus, bias), sums
        return self._softplus[1]

    def _softplus_of(self, tau: float, bias: float) -> Array:
        buffer = self.backend.scratch("product", self.shape)
        self.backend.softplus(self.similarity, 1.0 / tau, bias, out=buffer)
        self.backend.set_at(buffer, *self.left_out, 0.0)
        return buffer

    def bins(self, n_bins: int) -> Any:
        """Bin of every similarity among n equal bins on [-1, 1]."""
        if self._bins is None or self._bins[0] != n_bins:
            self._bins = (n_bins, self.backend.bins(self.similarity, n_bins))
        return self._bins[1]

    def counts(self, n_bins: int) -> NDArray[np.float64]:
        """Pairs that count (of the set `all`) in each of n equal bins."""
        if self._counts is None or self._counts[0] != n_bins:
            counts = self.backend.bin_sums(self.bins(n_bins), n_bins)
            rows, cols = self.left_out
            if len(rows):
                unwanted = self.backend.bins(self.similarity[rows, cols], n_bins)
                counts = counts - self.backend.bin_sums(unwanted, n_bins)
            self._counts = (n_bins, counts)
        return self._counts[1]

    def gaps(self) -> Array:
        """1 - s of every pair: sums keep their digits where similarities are near 1."""
        if self._gaps is None:
            buffer = self.backend.scratch("gaps", self.shape)
            self._gaps = self.backend.complement(self.similarity, out=buffer)
        return self._gaps

    def product(self, a: Array, b: Any) -> Array:
        """a * b in a buffer that is valid until the next call."""
        return self.backend.xp.multiply(a, b, out=self.backend.scratch("product", self.shape))
