"""Distances of nearest rows: KoLeo, outliers, intrinsic dimension, against loops and deletions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze.analysis.run import families, run_analysis
from cl_analyze.metrics.anchor_values import deletions as rank_deletions
from cl_analyze.metrics.anchor_values import nth_neighbour
from cl_analyze.metrics.nearest_values import of_nearest
from cl_analyze.metrics.quality import distances
from cl_analyze.metrics.quality.jackknife import jackknife_groups
from cl_analyze.options import MetricOptions, Request
from cl_analyze.pairs.reducers.neighbours import NO_NEIGHBOUR, Neighbours
from tests.reference import naive_quality as naive
from tests.reference.cases import cases

FLOAT64 = cla.RunOptions(precision="float64", block=7, threads=1)
METRICS = ("koleo", "outlier_share", "intrinsic_dimension")
NAIVE = {
    ("koleo", None): naive.koleo,
    ("outlier_share", None): naive.outlier_share,
    ("intrinsic_dimension", "two_nn"): naive.two_nn,
    ("intrinsic_dimension", "two_nn_fit"): naive.two_nn_fit,
    ("intrinsic_dimension", "mle"): naive.mle_dimension,
}
LARGEST_K = {"two_nn": 2, "two_nn_fit": 2, "mle": 10}
CASES = {name: rows for name, (rows, _) in cases().items()}


def measured(rows, only=METRICS, groups=None, run=FLOAT64, **options):
    asked = MetricOptions(only=only, **options)
    request = Request(rows, groups=groups)
    return run_analysis([request], families(("quality",)), asked, run, "report")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def fixture():
    i = np.arange(6.0)
    return unit(np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i])


def surface():
    random = np.random.default_rng(5)
    wide = random.standard_normal((400, 4))
    return unit(np.c_[wide, 1e-3 * random.standard_normal((400, 8))])


def test_golden_values():
    found = measured(fixture()).records
    assert found.find("koleo").value == pytest.approx(-0.120891572381, abs=1e-11)
    found = measured(surface()).records
    two_nn, mle = (found.find("intrinsic_dimension", name) for name in ("two_nn", "mle"))
    assert two_nn.value == pytest.approx(2.944826701, abs=1e-9)
    assert mle.value == pytest.approx(2.700350083, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_loops(name):
    rows = np.asarray(CASES[name], dtype=np.float64)
    found = measured(rows).records
    for (metric, definition), expected in NAIVE.items():
        record = found.find(metric, definition)
        n_needed = LARGEST_K.get(definition, 1)
        if len(rows) <= n_needed:
            assert record.reason == f"needs more than {n_needed} rows"
            continue
        value = expected(rows)
        if value is None:
            assert record.value is None
            assert record.reason
            continue
        # distances of 1e-7 between rows of norm 1 have nine digits
        assert record.value == pytest.approx(value, rel=1e-6 if name == "collapsed" else 1e-9)


def test_near_copies_keep_the_digits_of_their_distance(random):
    """1e-9 apart: the cosine is 1 to the last bit."""
    rows = unit(random.standard_normal((60, 8)))
    direction = random.standard_normal(8)
    direction -= rows[0] * (direction @ rows[0])
    rows[1] = rows[0] + 1e-9 * direction / np.linalg.norm(direction)
    found = measured(rows).records
    first = [r[0] for r in naive.nearest_distances(rows, 1)]
    assert first[0] == pytest.approx(1e-9, rel=1e-6)
    assert found.find("koleo").value == pytest.approx(-np.mean(np.log(first)), rel=1e-9)


def test_copies_are_left_out_and_counted(random):
    rows = random.standard_normal((50, 5))
    rows[[7, 8]] = 2.5 * rows[3]  # on the sphere the same row
    report = measured(rows)
    assert report.records.find("koleo").n == 47
    assert report.records.find("koleo").value == pytest.approx(naive.koleo(rows), rel=1e-9)
    assert report.records.find("intrinsic_dimension", "two_nn").n == 47
    assert report.records.find("outlier_share").n == 50
    whole = cla.analyze(rows, metrics="quality", ks=[1])
    assert any("3 rows are copies of another row: koleo and" in text for text in whole.warnings)
    nothing = measured(np.repeat(random.standard_normal((9, 4)), 2, axis=0)).records
    for name in ("koleo", "intrinsic_dimension"):
        assert nothing.find(name).reason.startswith("every row is a copy of another")


def test_a_crowd_that_cosines_cannot_order_is_left_out(random):
    rows = random.standard_normal((80, 6))
    rows[:40] = rows[0] + 1e-8 * random.standard_normal((40, 6))
    report = cla.analyze(rows, metrics="quality", ks=[1], run=FLOAT64)
    record = report.records.find("koleo")
    assert record.n == 40
    first = np.array(naive.nearest_distances(rows, 1))[:, 0]
    assert record.value == pytest.approx(-np.log(first[40:]).mean(), rel=1e-9)
    assert any("40 rows have more than 10 others so near" in text for text in report.warnings)


def test_rows_at_one_distance_have_no_dimension():
    found = measured(np.eye(14)).records
    assert found.find("koleo").value == pytest.approx(-math.log(math.sqrt(2)), rel=1e-12)
    for definition in ("two_nn", "two_nn_fit", "mle"):
        assert found.find("intrinsic_dimension", definition).value is None
    assert found.find("outlier_share").value == 0.0


@pytest.mark.parametrize("dim", [2, 4, 8])
def test_the_dimension_of_a_sphere(dim):
    """Points uniform on the sphere of R^(d+1) lie on a surface of dimension d."""
    random = np.random.default_rng(dim)
    rows = np.zeros((1500, 20))
    rows[:, : dim + 1] = random.standard_normal((1500, dim + 1))
    rotation, _ = np.linalg.qr(random.standard_normal((20, 20)))
    found = measured(rows @ rotation, run=cla.RunOptions(threads=1)).records
    for definition, bias in (("two_nn", 0.06), ("two_nn_fit", 0.06), ("mle", 0.2)):
        record = found.find("intrinsic_dimension", definition)
        assert abs(record.value - dim) < 3 * record.std_error + bias * dim, definition
        assert 0.2 < record.std_error / (dim / math.sqrt(1500)) < 2.5


def test_ratios_of_distances_follow_paretos_law_so_their_logarithm_is_exponential():
    """log mu of a d-dimensional Poisson process has mean 1/d: the line has slope d exactly."""
    random = np.random.default_rng(0)
    for d in (1.0, 7.0):
        log_mu = random.exponential(1 / d, 40_000)
        assert distances.fitted_dimension(log_mu) == pytest.approx(d, rel=0.02)
        quantiles = np.append(-np.log1p(-np.arange(1.0, 1000.0) / 1000.0) / d, 50.0)
        assert distances.fitted_dimension(quantiles) == pytest.approx(d, rel=1e-12)


# ---- errors


def test_pseudo_values_are_those_of_deletions(random):
    rows = random.standard_normal((24, 4)) + 0.5
    whole = measured(rows).records
    for metric, definition in (
        ("koleo", None), ("intrinsic_dimension", "two_nn"), ("intrinsic_dimension", "mle"),
    ):  # fmt: skip
        record = whole.find(metric, definition)
        expected = NAIVE[metric, definition]
        less = np.array([expected(np.delete(rows, i, axis=0)) for i in range(24)])
        pseudo = 24 * expected(rows) - 23 * less
        assert np.abs(record.pseudo_values - pseudo).max() < 1e-8
        plain = pseudo.std(ddof=1) / math.sqrt(24)
        assert record.std_error <= plain * (1 + 1e-9)


def test_the_slopes_influence_is_its_derivative_by_the_weight_of_a_row(random):
    """Pseudo-values of the fit against deletions of its ratios, which it is linear in."""
    log_mu = random.exponential(0.2, 4000)
    slope = distances.fitted_dimension(log_mu)
    influence = distances.fit_influence(log_mu, slope)(log_mu)
    rows = np.argsort(log_mu)[:: 4000 // 40]
    less = np.array([distances.fitted_dimension(np.delete(log_mu, i)) for i in rows])
    derivative = -(4000 - 1) * (less - slope)
    centred = influence[rows] - influence.mean()
    keep = log_mu[rows] < np.quantile(log_mu, 0.85)  # beside the cut one row decides which is last
    assert np.abs(centred - derivative)[keep].max() < 0.1 * np.abs(derivative).max()


def test_errors_of_a_function_of_one_neighbour_are_those_of_the_nearest_negative(random):
    """Two ways to the same deletions: by rank, and by lists; with groups and without."""
    n, groups = 40, np.arange(40) // 4
    x = random.standard_normal((n, 3))
    apart = np.linalg.norm(x[:, None] - x, axis=2) + np.diag(np.full(n, np.inf))
    order = np.argsort(apart, axis=1)[:, :12]
    nearest = Neighbours(np.take_along_axis(apart, order, axis=1), order)
    for rank in (0, 3):
        for own_groups in (None, groups):
            by_rank = nth_neighbour(
                rank_deletions(nearest, rank, np.arange(n), n, own_groups), nearest, lambda v: v
            )
            by_list = of_nearest(lambda r: r[:, -1], rank + 1, nearest, np.arange(n), n, own_groups)
            for name in ("values", "gains", "lost", "noise"):
                first, second = getattr(by_rank, name), getattr(by_list, name)
                assert np.abs(first - second).max() < 1e-12, name
            assert by_list.squares == pytest.approx(by_rank.squares, rel=1e-12)


def test_groups_are_deleted_whole(random):
    rows = np.repeat(random.standard_normal((20, 5)), 3, axis=0)
    rows += 0.2 * random.standard_normal(rows.shape)
    groups = np.repeat(np.arange(20), 3)
    x = naive.nearest_distances(rows, 10)
    assert x
    apart = np.linalg.norm(unit(rows)[:, None] - unit(rows), axis=2)
    np.fill_diagonal(apart, np.inf)
    order = np.argsort(apart, axis=1)[:, :59]
    nearest = Neighbours(np.take_along_axis(apart, order, axis=1), order)
    found = of_nearest(distances.inverse_dimension, 10, nearest, np.arange(60), 60, groups)
    for group in range(20):
        left = np.flatnonzero(groups != group)
        less = naive.mle_dimension(rows[left])
        own = found.values[left].sum() + 3 * found.gains[3 * group]
        assert len(left) / own == pytest.approx(less, rel=1e-9)
    ungrouped = measured(rows).records.find("intrinsic_dimension", "mle")
    grouped = measured(rows, groups=groups).records.find("intrinsic_dimension", "mle")
    assert grouped.value == ungrouped.value
    assert grouped.std_error != ungrouped.std_error


def test_anchors_whose_list_ends(random):
    """Three rows: without one of them the others have a single neighbour, and no ratio."""
    apart = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 3.0]])
    nearest = Neighbours(apart, np.array([[1, 2], [0, 2], [0, 1]]))
    found = of_nearest(distances.log_ratio, 2, nearest, np.arange(3), 3)
    assert found.lost.tolist() == [2.0, 2.0, 2.0]
    missing = Neighbours(np.array([[1.0, np.inf]]), np.array([[1, NO_NEIGHBOUR]]))
    assert np.isnan(of_nearest(distances.log_ratio, 2, missing, np.arange(1), 2).values[0])


def test_errors_of_outliers_are_the_delete_a_group_jackknife(random):
    rows = np.concatenate(
        [np.eye(6)[random.integers(0, 6, 180)] + 0.02 * random.standard_normal((180, 6)),
         random.standard_normal((20, 6))]
    )  # fmt: skip
    record = measured(rows, seed=3).records.find("outlier_share")
    assert record.value > 0.03
    groups = jackknife_groups(200, None, 3)
    less = [naive.outlier_share(rows[groups != g]) for g in range(20)]
    expected = math.sqrt(19 / 20 * sum((v - np.mean(less)) ** 2 for v in less))
    assert record.std_error == pytest.approx(expected, rel=1e-9)
    low, high = record.interval
    assert 0 < low < record.value < high < 1


def test_estimates_from_anchors(random):
    rows = random.standard_normal((900, 6)) + 2 * np.eye(4, 6)[random.integers(0, 4, 900)]
    run = cla.RunOptions(threads=1)
    exact = measured(rows, run=run).records
    found = [measured(rows, run=run, anchors=300, seed=seed).records for seed in range(12)]
    for metric, definition in NAIVE:
        record = exact.find(metric, definition)
        estimates = [one.find(metric, definition) for one in found]
        if metric == "outlier_share":
            assert {one.reason for one in estimates} == {
                "needs the neighbours of every row: run without --anchors"
            }
            continue
        values = np.array([one.value for one in estimates])
        sampling = np.mean([one.sampling_error for one in estimates])
        assert all(not one.exact and one.n == 300 for one in estimates)
        assert 0.5 < sampling / values.std(ddof=1) < 2.0
        assert abs(values.mean() - record.value) < 4 * sampling / math.sqrt(12) + 1e-3
        errors = np.array([one.std_error for one in estimates])
        assert errors.mean() == pytest.approx(record.std_error, rel=0.35)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 40), st.integers(2, 6))
def test_neither_blocks_nor_order_nor_rotation_matter(seed, n, d):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, d))
    rotation, _ = np.linalg.qr(random.standard_normal((d, d)))
    order = random.permutation(n)
    run = cla.RunOptions(precision="float64", block=3, threads=2)
    one, other = measured(rows).records, measured(rows[order] @ rotation, run=run).records
    for metric, definition in NAIVE:
        a, b = one.find(metric, definition), other.find(metric, definition)
        assert (a.value is None) == (b.value is None)
        if a.value is not None:
            assert b.value == pytest.approx(a.value, rel=1e-8, abs=1e-9)
        if a.std_error is not None and metric != "outlier_share":
            assert b.std_error == pytest.approx(a.std_error, rel=1e-6, abs=1e-9)
