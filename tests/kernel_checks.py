"""What must hold of the compiled kernels on one tile: checks that tests, planted faults and
sanitizers share.

A tile's similarities are float32 numbers, and the same numbers in float64 go through the NumPy
backend: what differs is the kernels' own rounding.
"""

from __future__ import annotations

import numpy as np

from cl_analyze.pairs import reducers
from cl_analyze.pairs.backend import Backend
from cl_analyze.pairs.kernels.tile import (
    hard_negatives,
    least_values,
    merged_keys,
    with_keys,
)
from cl_analyze.pairs.tile import Tile

KINDS = ("spread", "near one", "all one", "all minus one", "ties", "beyond one", "denormal")
TAUS = (1 / 60, 0.02, 0.07, 0.25, 0.5, 1.0, 100.0)
SHAPES = ((1, 1), (1, 300), (300, 1), (37, 53), (130, 257), (129, 513))
SETS = ("all", "same_class", "other_class")
FIRST_ROW = 10_000


def similarities(kind, shape, seed):
    random = np.random.default_rng(seed)
    values = {
        "spread": lambda: random.uniform(-1, 1, shape),
        "near one": lambda: 1.0 - 1e-5 * random.random(shape) ** 2,
        "all one": lambda: np.ones(shape),
        "all minus one": lambda: -np.ones(shape),
        "ties": lambda: random.choice([-0.5, 0.0, -0.0, 0.25, 0.75], shape),
        "beyond one": lambda: random.choice([1.0, 1.0 + 2**-23, -1.0 - 2**-23], shape),
        "denormal": lambda: random.choice([1e-41, -1e-41, 1e-45, 0.0], shape),
    }
    return np.ascontiguousarray(values[kind](), np.float32)


class Case:
    """A tile, to be computed by the kernels and by NumPy in float64."""

    def __init__(self, kind, shape, seed, both_sides=True, labelled=True):
        random = np.random.default_rng(seed)
        self.s = similarities(kind, shape, seed)
        self.rows, self.cols = FIRST_ROW + np.arange(shape[0]), np.arange(shape[1])
        self.both_sides = both_sides
        n_classes = 1 + seed % 4
        self.codes = [random.integers(-1, n_classes, n) if labelled else None for n in shape]
        # of some rows one column is left out, of others two
        cuts = random.random(shape).argsort(axis=1)[:, :2]
        rows = [np.flatnonzero(random.random(shape[0]) < share) for share in (0.5, 0.3)]
        columns = [cuts[of_rows, at] for at, of_rows in enumerate(rows[: cuts.shape[1]])]
        self.left_out = np.concatenate(rows[: len(columns)]), np.concatenate(columns)
        self.random = random

    def tile(self, backend, asks=()):
        return Tile(
            similarity=self.s.astype(backend.dtype),
            rows=self.rows,
            cols=self.cols,
            left_out=self.left_out,
            both_sides=self.both_sides,
            backend=backend,
            row_labels=self.codes[0],
            col_labels=self.codes[1],
            asks=tuple(asks),
        )

    @property
    def counted(self):
        counted = np.ones(self.s.shape, bool)
        counted[self.left_out] = False
        return counted

    def members(self, pairs):
        """Which pairs are of a set."""
        if pairs == "all":
            return self.counted
        of_row, of_col = self.codes[0][:, None], self.codes[1][None, :]
        known = self.counted & (of_row >= 0) & (of_col >= 0)
        return known & ((of_row == of_col) == (pairs == "same_class"))

    def log_sums(self, tau, pairs="all"):
        """Log masses of all rows by global index: the columns', a gap, the rows'."""
        logits = np.where(self.members(pairs), self.s.astype(np.float64) / tau, -np.inf)
        of_all = np.full(FIRST_ROW + len(self.rows), -np.inf)
        of_all[self.cols] = np.logaddexp.reduce(logits, axis=0)
        of_all[self.rows] = np.logaddexp.reduce(logits, axis=1)
        return of_all

    def states(self, library, made, oracle=None):
        """For each reducer its results of the kernels and of NumPy, of rows and of columns."""
        asks = [r.softmax_ask for r in made if r.softmax_ask is not None]
        compiled = self.tile(Backend(np.dtype(np.float32), library), dict.fromkeys(asks))
        plain = self.tile(oracle or Backend(np.dtype(np.float64)))
        for reducer in made:
            both = zip(reducer.reduce(compiled), reducer.reduce(plain), strict=True)
            for mine, exact in both:
                assert (mine is None) == (exact is None), reducer
                if mine is not None:
                    yield reducer, reducer.finalize([mine]), reducer.finalize([exact])


def check_softmax(library, case):
    made = []
    for tau in TAUS:
        for pairs in SETS if case.codes[0] is not None else ("all",):
            made += [reducers.RowLogSumExp(tau, pairs), reducers.SoftmaxMoments(tau, pairs)]
            made += [reducers.ColumnLogSumExp(tau, pairs)]
        made.append(reducers.LogSumOfSquares(tau))
    for reducer, mine, exact in case.states(library, made):
        if isinstance(reducer, reducers.SoftmaxMoments):
            # of 1 - s, whose digits matter; float32 sums of a row's 256 terms without vectors
            gaps = 1.0 - mine.mean, 1.0 - exact.mean
            np.testing.assert_allclose(*gaps, rtol=3e-6, atol=1e-7, err_msg=str(reducer))
            mine, exact = mine.log_mass, exact.log_mass
        np.testing.assert_allclose(mine, exact, rtol=1e-6, atol=1.5e-6, err_msg=str(reducer))


def check_single_asks(library, case):
    """A reducer whose sums nobody else of the pass asks for, and none that the pass knows of."""
    compiled = Backend(np.dtype(np.float32), library)
    plain = Backend(np.dtype(np.float64))
    made = [reducers.LogSumOfSquares(0.25), reducers.RowLogSumExp(0.25)]
    made += [
        reducers.SoftmaxMoments(0.25, pairs) for pairs in SETS[: 1 if case.codes[0] is None else 3]
    ]
    for reducer in made:
        exact, _ = reducer.reduce(case.tile(plain))
        for asks in ((), (reducer.softmax_ask,)):
            mine, _ = reducer.reduce(case.tile(compiled, asks))
            one, other = (reducer.finalize([state]) for state in (mine, exact))
            if isinstance(reducer, reducers.SoftmaxMoments):
                one, other = one.log_mass, other.log_mass
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1.5e-6)


def check_neighbours(library, case):
    for k in (1, 5, 16):
        for pairs in SETS if case.codes[0] is not None else ("all",):
            reducer = reducers.NearestNeighbours(k, pairs)
            for _, mine, exact in case.states(library, [reducer]):
                np.testing.assert_array_equal(mine.values, exact.values)
                np.testing.assert_array_equal(mine.indices, exact.indices)
            tile = case.tile(Backend(np.dtype(np.float32), library))
            bounds = (
                case.random.uniform(-1, 1, len(case.rows)),
                case.random.uniform(-1, 1, len(case.cols)),
            )
            tile.bounds[reducer] = bounds
            pruned, whole = (
                reducer.reduce(tile),
                reducer.reduce(case.tile(Backend(np.dtype(np.float32), library))),
            )
            for bound, some, every in zip(bounds, pruned, whole, strict=True):
                if some is None:
                    continue
                a, b = reducer.finalize([some]), reducer.finalize([every])
                kept = b.values >= bound.astype(np.float32)[:, None]
                np.testing.assert_array_equal(a.values[kept], b.values[kept])
                np.testing.assert_array_equal(a.indices[kept], b.indices[kept])


def check_merge(library, seed):
    random = np.random.default_rng(seed)
    for k in (1, 2, 16):
        a, b = (np.sort(random.integers(0, 40, (9, k)), axis=1).astype(np.uint64) for _ in "ab")
        expected = np.sort(np.concatenate([a, b], axis=1), axis=1)[:, k:]
        np.testing.assert_array_equal(merged_keys(library, a, b), expected)
        owners = random.permutation(np.repeat(np.arange(9), k))
        rank = np.zeros(len(owners), int)
        for row in range(9):
            rank[owners == row] = np.arange(k)
        inserted = with_keys(library, a, owners, b[owners, rank])
        np.testing.assert_array_equal(inserted, expected)
        values = random.standard_normal((9, k)).astype(np.float32)
        keys = np.sort(reducers.neighbours.pack(values, np.arange(k)), axis=1)
        keys[3] = 0
        least = reducers.neighbours.unpack(keys[:, 0])[0]
        np.testing.assert_array_equal(least_values(library, keys), least)


def check_bins(library, case):
    oracle = Backend(np.dtype(np.float32))  # bins of the same float32 arithmetic
    for n_bins in (1, 16, 200):
        for pairs in SETS if case.codes[0] is not None else ("all",):
            made = [reducers.PairHistogram(n_bins, pairs)]
            for _, mine, exact in case.states(library, made, oracle):
                np.testing.assert_array_equal(mine, exact)
            if case.both_sides:
                continue
            taus = (0.02, 0.07, 1.0)
            masses = np.stack([case.log_sums(tau, pairs)[case.rows] for tau in taus])
            n = len(case.rows)
            made = [
                reducers.PenaltyHistogram(
                    *(taus, n_bins, pairs, case.rows, masses),
                    *(case.random.random(n) / n, 1.0 + case.random.integers(0, 9, n)),
                )
            ]
            for _, mine, exact in case.states(library, made, oracle):
                np.testing.assert_allclose(mine, exact, rtol=1e-5, atol=1e-9)


def check_jackknife(library, case):
    for tau in (1 / 60, 0.07, 0.5):
        log_mass = case.log_sums(tau)
        shares = np.where(case.counted, np.exp(case.s / tau - log_mass[case.rows][:, None]), 0.0)
        of_columns = np.where(case.counted, np.exp(case.s / tau - log_mass[case.cols]), 0.0)
        skip = np.full(len(log_mass), -1)
        top, top_of_columns = shares.argmax(axis=1), of_columns.argmax(axis=0)
        skip[case.rows] = np.where(shares.max(axis=1) > 0.5, case.cols[top], -1)
        skip[case.cols] = np.where(of_columns.max(axis=0) > 0.5, case.rows[top_of_columns], -1)
        # ties at one half are left out too: 1 - r of the others keeps its digits
        n = len(log_mass)
        given = reducers.PenaltyGiven(
            *(None, log_mass, case.random.uniform(0, 5, n), case.random.random(n)),
            *(case.random.random(n), case.random.random(n), skip),
        )
        labelled = case.codes[0] is not None
        for pairs in ("all", "other_class") if labelled else ("all",):
            made = [reducers.LeaveOneOut(tau, pairs, labelled and pairs == "all", given)]
            for reducer, mine, exact in case.states(library, made):
                scale = 1.0 + np.abs(exact).max(axis=0)
                np.testing.assert_allclose(
                    mine / scale, exact / scale, rtol=0, atol=2e-5, err_msg=str(reducer)
                )


def check_received(library, case):
    for tau in (1 / 60, 0.07, 1.0):
        total = case.log_sums(tau)
        versions = np.stack([np.where(np.isfinite(total), total + m, np.inf) for m in range(9)], 1)
        given = reducers.SoftmaxTotals(None, versions)
        for pairs in SETS if case.codes[0] is not None else ("all",):
            made = [reducers.SoftmaxReceived(tau, pairs, gaps, given) for gaps in (False, True)]
            for made_one in made:  # equal configurations: one at a time
                for reducer, mine, exact in case.states(library, [made_one]):
                    np.testing.assert_allclose(
                        mine, exact, rtol=5e-6, atol=1e-6, err_msg=str(reducer)
                    )


def check_distances(library, case):
    for kernel in ("log", "imq"):
        for t, floor in ((2.0, 0.0), (0.01, 0.1003), (50.0, 0.0)):
            made = [reducers.KernelSums(kernel, t, floor)]
            for reducer, mine, exact in case.states(library, made):
                tolerance = 2e-6 * max(1, len(case.cols))
                np.testing.assert_allclose(
                    mine, exact, rtol=4e-6, atol=tolerance * 1e-2, err_msg=str(reducer)
                )


def check_softplus(library, case):
    for bias in (-10.1, 0.0, 40.0, -200.0):
        taus = (0.001, *TAUS)
        made = [reducers.SoftplusSums(taus, bias), reducers.ColumnSoftplusSums(taus, bias)]
        for reducer, mine, exact in case.states(library, made):
            np.testing.assert_allclose(mine, exact, rtol=1e-5, atol=1e-30, err_msg=str(reducer))


def check_moments(library, case):
    # thresholds that float32 holds, at values of the tile too
    thresholds = tuple(np.linspace(-1.5, 1.5, 19).astype(np.float32).astype(float))
    for pairs in SETS if case.codes[0] is not None else ("all",):
        made = [reducers.PairMoments(pairs), reducers.RowCountsBelow(thresholds, pairs)]
        for reducer, mine, exact in case.states(library, made):
            atol = 1e-6 * max(1.0, np.abs(exact).max())
            np.testing.assert_allclose(mine, exact, rtol=3e-6, atol=atol, err_msg=str(reducer))


def check_float64(library, case):
    """Riesz kernels, and near pairs, in double."""
    oracle = Backend(np.dtype(np.float64))
    backend = Backend(np.dtype(np.float64), library)
    for power, floor in ((1.0, 0.5), (2.0, 1e-5), (5.0, 0.3), (2.0, 0.0)):
        for reducer in (reducers.KernelSums("riesz", power, floor), reducers.NearPairs(floor)):
            with np.errstate(divide="ignore"):
                mine, exact = (reducer.reduce(case.tile(b)) for b in (backend, oracle))
            for a, b in zip(mine, exact, strict=True):
                assert (a is None) == (b is None)
                if a is None:
                    continue
                if isinstance(reducer, reducers.NearPairs):
                    np.testing.assert_array_equal(a.first, b.first)
                    np.testing.assert_array_equal(a.second, b.second)
                else:
                    np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=str(reducer))


def check_hard(library, case):
    strip = np.concatenate([case.s, np.full((len(case.s), 1), -2.0, np.float32)], axis=1)
    n = strip.shape[1]
    positives = np.where(case.random.random(len(strip)) < 0.3, -np.inf, case.random.uniform(-1, 1))
    taus = (0.01, 0.07, 1.0)
    for k in sorted({1, max(1, (n - 1) // 10), n - 1}):
        threshold, peak, similarity, mass, received, excess, histogram = hard_negatives(
            library, strip, k, taus, positives, 16
        )
        s = strip.astype(np.float64)
        q = np.sort(s, axis=1)[:, ::-1][:, k - 1]
        np.testing.assert_array_equal(threshold, q)
        np.testing.assert_array_equal(peak, s.max(axis=1))
        beyond = np.maximum(s - q[:, None], 0.0)
        np.testing.assert_allclose(similarity, beyond.sum(axis=1) + k * q, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(excess, beyond.sum(axis=0), rtol=1e-5, atol=1e-5)
        for t, tau in enumerate(taus):
            at_q = np.exp((q - peak) / tau)
            e = np.where(s > q[:, None], np.exp((s - peak[:, None]) / tau), at_q[:, None])
            kept = (e - at_q[:, None]).sum(axis=1) + k * at_q
            np.testing.assert_allclose(mass[t], kept, rtol=2e-6)
            total = np.logaddexp(np.log(kept), np.maximum(positives - peak, -1e9) / tau)
            expected = (np.exp(-total)[:, None] * (e - at_q[:, None])).sum(axis=0)
            np.testing.assert_allclose(received[t], expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(histogram[t].sum(), len(s), rtol=1e-5)


TILE_CHECKS = (
    check_softmax,
    check_single_asks,
    check_neighbours,
    check_bins,
    check_jackknife,
    check_received,
    check_distances,
    check_softplus,
    check_moments,
    check_float64,
    check_hard,
)
