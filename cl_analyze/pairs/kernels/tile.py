"""A tile as the compiled sweeps see it: what reducers call where a tile has one."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.kernels import Library
from cl_analyze.pairs.kernels.fused import (
    SQUARES,
    FusedTile,
    Index,
    Sums,
    Vector,
    cuts_of,
    set_of,
)

if TYPE_CHECKING:
    from cl_analyze.pairs.tile import PairSet, Tile

_MOST_VERSIONS = _MOST_THRESHOLDS = 16
_KERNELS = {"log": 0, "imq": 1}
N_GAINS = 5

BoundedKernel = Literal["log", "imq"]


class _TileOfC(ctypes.Structure):
    """`tile_t` of kernels.c."""

    _fields_ = (
        ("s", ctypes.c_void_p),
        ("n_rows", ctypes.c_int64),
        ("n_cols", ctypes.c_int64),
        ("cuts", ctypes.c_void_p),
        ("row_class", ctypes.c_void_p),
        ("col_class", ctypes.c_void_p),
    )


def _at(array: NDArray[Any] | None) -> int | None:
    """Address of an array's data, which must stay alive during the call."""
    if array is None:
        return None
    if not array.flags.c_contiguous:
        raise ValueError("the sweeps read arrays in rows, without gaps")
    address: int = array.__array_interface__["data"][0]
    return address


class _TileOfLibrary:
    """A tile, and the compiled functions over it.

    Args:
        tile: whose sums are wanted.
        library: the compiled functions.
    """

    dtype: np.dtype[Any]

    def __init__(self, tile: Tile, library: Library) -> None:
        if tile.backend.dtype != self.dtype:
            raise ValueError(f"the sweeps need {self.dtype}, found {tile.backend.dtype}")
        self._library, self._tile = library, tile
        self._cuts = cuts_of(tile)
        self._classes = [
            None if codes is None else codes.astype(np.int32)
            for codes in (tile.row_labels, tile.col_labels)
        ]
        n_rows, n_cols = tile.shape
        self._struct = _TileOfC(
            _at(tile.similarity), n_rows, n_cols, _at(self._cuts), *map(_at, self._classes)
        )

    @property
    def _reference(self) -> Any:
        return ctypes.byref(self._struct)

    def _set(self, pairs: PairSet) -> int:
        return set_of(self._tile, pairs)


class CompiledTile(_TileOfLibrary, FusedTile):
    """The sweeps over one tile of float32 similarities.

    Every function takes all pairs that count: left-out pairs are cut out by their position.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, tile: Tile, library: Library) -> None:
        FusedTile.__init__(self, tile)
        _TileOfLibrary.__init__(self, tile, library)

    def _sweep(
        self, inverse_taus: Vector, wanted: NDArray[np.int32], both: bool
    ) -> tuple[Sums, Sums | None]:
        n_taus, (n_rows, n_cols) = len(inverse_taus), self._tile.shape
        rows = np.zeros((n_taus, SQUARES + 1, n_rows))
        cols = np.zeros((n_taus, SQUARES, n_cols)) if both else None
        self._library.softmax_sums(
            *(self._reference, n_taus, _at(inverse_taus), _at(wanted), both),
            *(_at(rows), _at(cols)),
        )
        every = (1 << SQUARES + 1) - 1
        return Sums(rows, every), None if cols is None else Sums(cols, every)

    # ---- nearest neighbours

    def neighbours(
        self, k: int, pairs: PairSet, row_bounds: Vector | None, col_bounds: Vector | None
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64] | None]:
        """(n_rows, k) keys of the best of each row, ascending, and (n_cols, k) of each column.

        Args:
            k: how many.
            pairs: which pairs count.
            row_bounds, col_bounds: similarities under which entries no longer matter.
        """
        tile, (n_rows, n_cols) = self._tile, self._tile.shape
        row_ids, col_ids = (np.ascontiguousarray(ids, np.int64) for ids in (tile.rows, tile.cols))
        of_rows, row_limits = np.zeros((n_rows, k), np.uint64), _limits(n_rows, row_bounds)
        of_cols = col_limits = None
        if tile.both_sides:
            of_cols, col_limits = np.zeros((n_cols, k), np.uint64), _limits(n_cols, col_bounds)
        self._library.neighbours(
            *(self._reference, self._set(pairs), k, _at(row_ids), _at(col_ids)),
            *(_at(row_limits), _at(col_limits), _at(of_rows), _at(of_cols)),
        )
        return of_rows, of_cols

    # ---- bins

    def counts(self, n_bins: int, pairs: PairSet) -> Vector:
        """(n_bins,) pairs of a set in each of n equal bins on [-1, 1]."""
        work, counts = np.zeros((4, n_bins), np.uint32), np.empty(n_bins)
        self._library.histogram(self._reference, self._set(pairs), n_bins, _at(work), _at(counts))
        return counts

    def penalty_histogram(
        self, n_bins: int, pairs: PairSet, taus: tuple[float, ...], weights: Vector
    ) -> Vector:
        """(1 + taus, n_bins) sums of weights, and of weighted exp(s / tau), in bins of similarity.

        Args:
            n_bins: equal bins on [-1, 1].
            pairs: which pairs count.
            taus: temperatures.
            weights: (1 + taus, n_rows) of each row's pairs.
        """
        inverse, of_rows = 1.0 / np.array(taus), np.ascontiguousarray(weights, np.float32)
        work, sums = np.zeros((2, 1 + len(taus), n_bins)), np.empty((1 + len(taus), n_bins))
        self._library.penalty_histogram(
            *(self._reference, self._set(pairs), n_bins, len(taus), _at(inverse), _at(of_rows)),
            *(_at(work), _at(sums)),
        )
        return sums

    # ---- second passes

    def leave_one_out(
        self,
        tau: float,
        pairs: PairSet,
        labelled: bool,
        of_rows: bool,
        anchors: Vector,
        skip: Index,
    ) -> Vector:
        """(N_GAINS, n_deleted) sums over anchors of gains, see `LeaveOneOut`.

        Args:
            tau, pairs, labelled: of the reducer.
            of_rows: whether the rows are deleted, and the columns are the anchors.
            anchors: (6, n_anchors) exp(-log Z) or 0, H - log Z, same-class share, shares of the
                nearest and of the ten nearest, exp(H).
            skip: (n_anchors,) position of the row that is not deleted, negative: none.
        """
        n_rows, n_cols = self._tile.shape
        gains = np.zeros((N_GAINS, n_rows if of_rows else n_cols))
        of_anchors = np.ascontiguousarray(anchors, np.float32)
        skipped = skip.astype(np.int32)
        self._library.leave_one_out(
            *(self._reference, self._set(pairs), 1.0 / tau, labelled, of_rows),
            *(_at(of_anchors), _at(skipped), _at(gains)),
        )
        return gains

    def received(
        self, tau: float, pairs: PairSet, gaps: bool, of_rows: bool, weights: Vector
    ) -> Vector:
        """(k, n_receivers) weighted sums over anchors of exp(s / tau); with gaps 2k.

        Args:
            tau, pairs, gaps: of the reducer.
            of_rows: whether rows receive, and the columns are the anchors.
            weights: (k, n_anchors).
        """
        n_rows, n_cols = self._tile.shape
        of_anchors = np.ascontiguousarray(weights, np.float32)
        parts: list[list[Vector]] = [[], []]
        for start in range(0, len(of_anchors), _MOST_VERSIONS):
            now = of_anchors[start : start + _MOST_VERSIONS]
            sums = np.zeros((2 if gaps else 1, len(now), n_rows if of_rows else n_cols))
            self._library.received(
                *(self._reference, self._set(pairs), 1.0 / tau, len(now), gaps),
                *(_at(now), of_rows, _at(sums)),
            )
            for of_kind, part in zip(parts, sums, strict=False):
                of_kind.append(part)
        return np.concatenate(parts[0] + parts[1])

    def moments(self, pairs: PairSet) -> tuple[Vector, Vector]:
        """(n_rows, 2) and (n_cols, 2) sums of s and of s^2 over the pairs of a set."""
        rows, cols = self._moments(pairs, True, ())
        return rows[:2].T, cols[:2].T

    def counts_below(self, pairs: PairSet, thresholds: tuple[float, ...]) -> tuple[Vector, Vector]:
        """(n_rows, m) and (n_cols, m) pairs of a set with s <= each of m thresholds."""
        parts = [
            self._moments(pairs, False, thresholds[start : start + _MOST_THRESHOLDS])
            for start in range(0, len(thresholds), _MOST_THRESHOLDS)
        ]
        rows, cols = (np.concatenate([part[side][2:] for part in parts]) for side in (0, 1))
        return rows.T, cols.T

    def _moments(
        self, pairs: PairSet, moments: bool, thresholds: tuple[float, ...]
    ) -> tuple[Vector, Vector]:
        n_rows, n_cols = self._tile.shape
        given, m = np.array(thresholds, dtype=np.float64), 2 + len(thresholds)
        rows, cols = np.zeros((m, n_rows)), np.zeros((m, n_cols))
        self._library.moments(
            *(self._reference, self._set(pairs), moments, len(thresholds)),
            *(_at(given), _at(rows), _at(cols)),
        )
        return rows, cols

    def kernel_sums(self, kernel: BoundedKernel, t: float, floor: float) -> tuple[Vector, Vector]:
        """(n_rows, 2) and (n_cols, 2) sums of the kernel and of its square over all pairs."""
        n_rows, n_cols = self._tile.shape
        rows, cols = np.zeros((2, n_rows)), np.zeros((2, n_cols))
        self._library.kernel_sums(self._reference, _KERNELS[kernel], t, floor, _at(rows), _at(cols))
        return rows.T, cols.T

    def softplus_sums(self, taus: tuple[float, ...], bias: float) -> tuple[Vector, Vector]:
        """(n_rows, taus) and (n_cols, taus) sums of log(1 + exp(s / tau + bias)) over all pairs.

        Terms under exp(-87) count as 0.
        """
        n_rows, n_cols = self._tile.shape
        inverse = 1.0 / np.array(taus)
        rows, cols = np.zeros((len(taus), n_rows)), np.zeros((len(taus), n_cols))
        self._library.softplus_sums(
            *(self._reference, len(taus), _at(inverse), bias, _at(rows), _at(cols))
        )
        return rows.T, cols.T


class Float64Tile(_TileOfLibrary):
    """The sweeps over one tile of float64 similarities."""

    dtype = np.dtype(np.float64)

    def riesz_sums(self, power: int, floor: float) -> tuple[Vector, Vector]:
        """(n_rows, 2) and (n_cols, 2) sums of d2^(-power / 2) and its square over all pairs.

        Pairs with d2 = 2 - 2s under the floor are left out.
        """
        n_rows, n_cols = self._tile.shape
        rows, cols = np.zeros((2, n_rows)), np.zeros((2, n_cols))
        self._library.riesz_sums(self._reference, power, floor, _at(rows), _at(cols))
        return rows.T, cols.T

    def near_pairs(self, limit: float) -> tuple[Index, Index]:
        """Positions (row, column) of the pairs with a similarity of at least the limit."""
        most = 1024
        while True:
            rows, cols = np.empty(most, np.int64), np.empty(most, np.int64)
            n = self._library.near_pairs(self._reference, limit, most, _at(rows), _at(cols))
            if n <= most:
                return rows[:n], cols[:n]
            most = n


def _limits(n: int, bounds: Vector | None) -> NDArray[np.float32]:
    """What entries must reach, in float32: bounds come from keys, which hold float32."""
    if bounds is None:
        return np.full(n, -2.0, np.float32)
    return np.maximum(bounds, -2.0).astype(np.float32)


def merged_keys(
    library: Library, a: NDArray[np.uint64], b: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """(n, k) best k of two lists of (n, k) ascending keys, row by row."""
    best = np.empty_like(a)
    library.merge_keys(*a.shape, _at(a), _at(b), _at(best))
    return best


def with_keys(
    library: Library, best: NDArray[np.uint64], owners: Index, keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """(n, k) ascending keys of rows after more keys of these rows; `best` stays as it is."""
    result = best.copy()
    library.insert_keys(len(keys), result.shape[1], _at(owners), _at(keys), _at(result))
    return result


def least_values(library: Library, best: NDArray[np.uint64]) -> Vector:
    """(n,) value of the first of k keys of each row; minus infinity where there is none."""
    values = np.empty(len(best))
    library.least_values(*best.shape, _at(best), _at(values))
    return values


def hard_negatives(
    library: Library,
    strip: NDArray[np.float32],
    k: int,
    taus: tuple[float, ...],
    positives: Vector,
    n_bins: int,
) -> tuple[Vector, Vector, Vector, Vector, Vector, Vector, Vector]:
    """The k hardest negatives of every row of a strip, see `pairs.strips`.

    Args:
        library: the compiled functions.
        strip: (m, n) similarities, -2 at columns that are no negatives.
        k: how many, 1 <= k < n.
        taus: temperatures.
        positives: (m,) similarity that the weights' total has beside the kept mass.
        n_bins: of the histogram; 0: none.

    Returns:
        threshold, peak and sum of the kept similarities, (m,) each; (taus, m) kept mass over
        exp(peak / tau); (taus, n) received; (n,) excess; (taus, n_bins) histogram.
    """
    (m, n), n_taus = strip.shape, len(taus)
    inverse, positives = 1.0 / np.array(taus), np.ascontiguousarray(positives, np.float64)
    work = np.empty((4, n), np.int32)
    threshold, peak, similarity, mass = np.empty(m), np.empty(m), np.empty(m), np.empty((n_taus, m))
    received, excess = np.zeros((n_taus, n), np.float32), np.zeros(n, np.float32)
    histogram = np.zeros((n_taus, n_bins))
    library.hard_negatives(
        *(_at(strip), m, n, k, n_taus, _at(inverse), _at(positives), n_bins, _at(work)),
        *(_at(threshold), _at(peak), _at(similarity), _at(mass)),
        *(_at(received), _at(excess), _at(histogram)),
    )
    return (
        *(threshold, peak, similarity, mass),
        *(received.astype(np.float64), excess.astype(np.float64), histogram),
    )
