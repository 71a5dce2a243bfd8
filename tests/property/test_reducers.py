"""What must hold for every reducer: a new one inherits these tests by being listed in ALL."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pickle
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs import kernels, reducers
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.engine import LeftOut, PairSource, reduce_pairs
from cl_analyze.pairs.executors import SerialExecutor, ThreadExecutor
from cl_analyze.pairs.plan import rectangular_plan, symmetric_plan
from cl_analyze.pairs.rescoring import MARGIN, rescore
from tests.reducer_cases import (
    HAS_EDGES,
    arrays,
    configurations,
    embeddings,
    is_rectangular_only,
    source,
)

DEPENDS_ON_ORDER = (
    reducers.LeaveOneOut
    | reducers.PenaltyHistogram
    | reducers.SoftmaxReceived
    | reducers.NearPairs
    | reducers.PartnerRanks
    | reducers.SuspectCounts
    | reducers.SuspectedBy
    | reducers.SuspectReceived
)


def assert_close(one, other, tolerance):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def run(
    made,
    rows,
    labels,
    block=10,
    executor=None,
    dtype=np.float64,
    use_torch=False,
    plan=None,
    use_kernels=True,
):
    if not use_kernels:  # neither tiles nor merges of neighbours
        with mock.patch.dict(os.environ, {kernels.VARIABLE: "off"}):
            return run(made, rows, labels, block, executor, dtype, use_torch, plan)
    backend = make_backend("cpu", dtype, use_torch)
    chosen = plan or symmetric_plan(len(rows), block)
    wanted = [r for r in made if not (chosen.symmetric and is_rectangular_only(r))]
    return reduce_pairs(wanted, source(rows, labels, dtype), chosen, backend, executor)


@given(st.integers(0, 10_000))
def test_block_size_changes_nothing_beyond_rounding(seed):
    rows, labels = embeddings(seed)
    made = configurations(rows, labels)
    whole = run(made, rows, labels, block=len(rows))
    for block in (4, 11):
        pieces = run(made, rows, labels, block=block)
        for reducer, result in pieces.items():
            assert_close(result, whole[reducer], 1e-9)


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([np.float32, np.float64]))
def test_threads_change_no_byte(seed, n_threads, dtype):
    rows, labels = embeddings(seed)
    made = configurations(rows, labels)
    serial = run(made, rows, labels, executor=SerialExecutor(), dtype=dtype)
    threaded = run(made, rows, labels, executor=ThreadExecutor(n_threads), dtype=dtype)
    for reducer, result in serial.items():
        for a, b in zip(arrays(result), arrays(threaded[reducer]), strict=True):
            assert a.tobytes() == b.tobytes(), reducer


@given(st.integers(0, 10_000))
def test_torch_computes_the_same_as_numpy(seed):
    pytest.importorskip("torch")
    rows, labels = embeddings(seed)
    made = configurations(rows, labels)
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 2e-3)):
        one = run(made, rows, labels, dtype=dtype)
        other = run(made, rows, labels, dtype=dtype, use_torch=True)
        for reducer, result in one.items():
            if dtype == np.float32 and isinstance(reducer, HAS_EDGES):
                continue  # values at an edge, and shares near one half, may fall either way
            assert_close(result, other[reducer], tolerance)


@pytest.mark.skipif(kernels.loaded() is None, reason="no compiled kernels")
@pytest.mark.parametrize("plan", [symmetric_plan(37, 10), rectangular_plan(37, 37, 13)])
@given(st.integers(0, 10_000))
def test_kernels_compute_the_same_as_numpy(plan, seed):
    rows, labels = embeddings(seed)
    made = configurations(rows, labels)
    one = run(made, rows, labels, dtype=np.float32, plan=plan, use_kernels=False)
    other = run(made, rows, labels, dtype=np.float32, plan=plan)
    for reducer, result in one.items():
        # at the smallest temperature the products' own rounding is a hundredth of an exponential;
        # what NumPy loses in sums of logarithms near 0 the kernels keep
        tolerance = 1e-3 if isinstance(reducer, reducers.LeaveOneOut) else 2e-5
        assert_close(result, other[reducer], tolerance)


@given(st.integers(0, 10_000))
def test_rectangular_passes_agree_between_numpy_and_torch(seed):
    pytest.importorskip("torch")
    rows, labels = embeddings(seed)
    made = configurations(rows, labels)
    plan = rectangular_plan(len(rows), len(rows), 13)
    one = run(made, rows, labels, plan=plan)
    other = run(made, rows, labels, plan=plan, use_torch=True)
    for reducer, result in one.items():
        assert_close(result, other[reducer], 1e-9)


@given(st.integers(0, 10_000))
def test_rectangular_and_symmetric_passes_agree(seed):
    rows, labels = embeddings(seed)
    made = configurations(rows, labels)
    symmetric = run(made, rows, labels)
    rectangular = run(made, rows, labels, plan=rectangular_plan(len(rows), len(rows), 8))
    for reducer, result in symmetric.items():
        assert_close(result, rectangular[reducer], 1e-9)


@given(st.integers(0, 10_000))
def test_permuting_rows_permutes_results(seed):
    rows, labels = embeddings(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    made = [r for r in configurations(rows, labels) if not isinstance(r, DEPENDS_ON_ORDER)]
    straight = run(made, rows, labels)
    permuted = run(made, rows[order], labels[order])
    for reducer, result in permuted.items():
        expected = straight[reducer]
        if reducer.side == "all":
            assert_close(result, expected, 1e-9)
        elif isinstance(reducer, reducers.NearestNeighbours):
            np.testing.assert_allclose(result.values, expected.values[order], atol=1e-12)
        else:
            for a, b in zip(arrays(result), arrays(expected), strict=True):
                np.testing.assert_allclose(a, b[order], rtol=1e-9, atol=1e-9)


def partials(reducer, rows, labels):
    """States of one block of rows from the tiles that touch it, and the block's length."""
    backend = make_backend("cpu", np.float64)
    pairs = source(rows, labels)
    spans = [(0, 10), (10, 24), (24, 37)]
    states = []
    for span in spans:
        if reducer.side == "columns":
            _, state = reducer.reduce(pairs.tile(backend, span, (0, 10)))
        else:
            state, _ = reducer.reduce(pairs.tile(backend, (0, 10), span))
        states.append(state)
    return states, 10


def finalized(reducer, state):
    return reducer.finalize([state])


@given(st.integers(0, 10_000))
def test_merge_is_associative_and_identity_is_its_identity(seed):
    rows, labels = embeddings(seed)
    for reducer in configurations(rows, labels):
        (a, b, c), n = partials(reducer, rows, labels)
        left = reducer.merge(reducer.merge(a, b), c)
        right = reducer.merge(a, reducer.merge(b, c))
        assert_close(finalized(reducer, left), finalized(reducer, right), 1e-12)
        nothing = reducer.identity(n)
        for combined in (reducer.merge(nothing, a), reducer.merge(a, nothing)):
            assert_close(finalized(reducer, combined), finalized(reducer, a), 1e-15)


def test_configurations_are_frozen_hashable_and_picklable():
    rows, labels = embeddings(0)
    for reducer in configurations(rows, labels):
        assert hash(reducer) == hash(dataclasses.replace(reducer))
        assert pickle.loads(pickle.dumps(reducer)) == reducer
        with pytest.raises(dataclasses.FrozenInstanceError):
            reducer.pairs = "all"


def test_equal_configurations_share_one_state():
    rows, labels = embeddings(0)
    calls = []

    @dataclasses.dataclass(frozen=True)
    class Counting(reducers.PairMoments):
        def reduce(self, tile):
            calls.append(tile)
            return super().reduce(tile)

    run([Counting(), Counting()], rows, labels, block=len(rows))
    assert len(calls) == 1


def test_pruned_neighbours_are_those_of_a_full_sort():
    random = np.random.default_rng(5)
    rows = random.standard_normal((400, 6))
    rows[100:140] = rows[7]  # forty exact duplicates: ties beyond k
    found = run([reducers.NearestNeighbours(9)], rows, np.zeros(400, int), block=32)
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    s = x @ x.T
    np.fill_diagonal(s, -np.inf)
    expected = np.sort(s, axis=1)[:, ::-1][:, :9]
    (result,) = found.values()
    np.testing.assert_allclose(result.values, expected, atol=1e-12)


@pytest.mark.parametrize("use_torch", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [7, 64, 500])
def test_neighbours_do_not_hang_on_rounding(dtype, block, use_torch):
    random = np.random.default_rng(6)
    rows = random.standard_normal((300, 5))
    rows[100:130] = rows[7]  # more equal rows than candidates
    rows[200:220] = rows[9] + 1e-9 * random.standard_normal((20, 5))
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    s = np.round((x @ x.T) * 2.0**40)
    np.fill_diagonal(s, -np.inf)
    order = np.argsort(-s, axis=1, kind="stable")[:, :5]
    reducer = reducers.NearestNeighbours(5 + MARGIN)
    found = run([reducer], rows, np.zeros(300, int), block, dtype=dtype, use_torch=use_torch)
    unit = UnitRows(RowArray.of(rows), dtype, 1 << 30)
    result = rescore(found[reducer], 5, unit, unit)
    np.testing.assert_array_equal(result.indices, order)
    np.testing.assert_allclose(result.values, np.take_along_axis(x @ x.T, order, 1), atol=1e-15)


@pytest.mark.parametrize("tau", [0.01, 0.002])
def test_a_row_beside_a_duplicate_pair_keeps_its_mass(tau):
    # one pair at cosine 1, another row at cosine -1 to everything else in its tile
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 1e-3], [-1.0, -1e-3], [0.0, 1.0]])
    labels = np.zeros(5, int)
    made = [reducers.RowLogSumExp(tau)]
    exact = run(made, rows, labels, dtype=np.float64)[made[0]]
    for block in (5, 2):
        fast = run(made, rows, labels, block=block, dtype=np.float32)[made[0]]
        np.testing.assert_allclose(fast, exact, atol=8 * 1.2e-7 / tau)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("most", [1, 6])
def test_left_out_columns_do_not_count(most, dtype, random):
    """One column a row, as the compiled sweeps take it, and more than these take."""
    rows, _labels = embeddings(3)
    n = len(rows)
    unit = UnitRows(RowArray.of(rows), dtype, 1 << 30)
    counts = np.full(n, 1) if most == 1 else random.integers(0, most + 1, n)
    others = [np.delete(np.arange(n), row) for row in range(n)]
    columns = [
        np.sort(random.choice(own, count, replace=False))
        for own, count in zip(others, counts, strict=True)
    ]
    starts = np.concatenate([[0], np.cumsum(counts)])
    left_out = LeftOut(starts, np.concatenate(columns))
    pairs = PairSource(unit, unit, left_out=left_out)
    partners = random.uniform(-0.5, 1.0, n)
    wanted = [
        reducers.RowLogSumExp(0.1),
        reducers.NearestNeighbours(4),
        reducers.PairHistogram(16),
        reducers.PairMoments("all"),
        reducers.PartnerRanks(1e-9, "all", partners),
    ]
    plan = rectangular_plan(n, n, 9)
    found = reduce_pairs(wanted, pairs, plan, make_backend("cpu", dtype))
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    s = x @ x.T
    counted = ~np.eye(n, dtype=bool)
    for row, own in enumerate(columns):
        counted[row, own] = False
    close = 1e-12 if dtype == np.float64 else 2e-5
    mass, near, histogram, moments, ranks = (found[reducer] for reducer in wanted)
    expected = np.log((np.exp(s / 0.1) * counted).sum(1))
    np.testing.assert_allclose(mass, expected, rtol=close, atol=close)
    hidden = np.where(counted, s, -np.inf)
    np.testing.assert_allclose(near.values, -np.sort(-hidden, axis=1)[:, :4], atol=3e-7)
    assert histogram.sum() == counted.sum()
    np.testing.assert_allclose(moments[:, 0], (s * counted).sum(1), atol=20 * close)
    nearer = (hidden > partners[:, None]).sum(1)
    assert np.array_equal(ranks[:, 0], nearer)
    some = np.array([5, 0, 20])
    again = left_out.of_rows(some)
    assert [again.columns[a:b].tolist() for a, b in itertools.pairwise(again.starts)] == [
        columns[row].tolist() for row in some
    ]


def test_progress_counts_every_pair_of_the_plan():
    rows, labels = embeddings(1)
    seen = []
    plan = symmetric_plan(len(rows), 8)
    reduce_pairs(
        [reducers.PairMoments()],
        source(rows, labels),
        plan,
        make_backend("cpu", np.float64),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (plan.n_pairs, plan.n_pairs)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_failing_reducer_stops_the_pass():
    rows, labels = embeddings(1)

    @dataclasses.dataclass(frozen=True)
    class Failing(reducers.PairMoments):
        def reduce(self, tile):
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        run([Failing()], rows, labels, executor=ThreadExecutor(3))


@pytest.mark.parametrize("use_torch", [False, True])
@given(
    st.integers(0, 1_000),
    st.integers(1, 5),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
)
def test_what_k_entries_reach_is_no_more_than_the_kth_largest(use_torch, seed, k, shape):
    if use_torch:
        pytest.importorskip("torch")
    random = np.random.default_rng(seed)
    values = random.normal(size=shape)
    values[random.random(shape) < 0.2] = -np.inf  # left out
    backend = make_backend("cpu", np.float64, use_torch)
    for of_rows in (True, False):
        found = backend.reached_by(backend.to_device(values), k, of_rows)
        lines = values if of_rows else values.T
        exact = np.sort(lines, axis=1)[:, ::-1]
        kth = exact[:, k - 1] if k <= lines.shape[1] else np.full(len(lines), -np.inf)
        assert (found <= kth).all()
        n_reached = (lines >= found[:, None]).sum(axis=1)
        assert (n_reached[np.isfinite(found)] >= k).all()


@pytest.mark.parametrize("use_torch", [False, True])
def test_few_more_than_k_entries_reach_it(use_torch):
    """Where the places of the largest are random, and where they are side by side."""
    if use_torch:
        pytest.importorskip("torch")
    k, backend = 10, make_backend("cpu", np.float64, use_torch)
    random = np.random.default_rng(0).normal(size=(600, 700))
    side_by_side = np.sort(random, axis=1)
    for values in (random, side_by_side):
        n_reached = (values >= backend.reached_by(backend.to_device(values), k)[:, None]).sum(1)
        assert n_reached.mean() <= 1.1 * k
