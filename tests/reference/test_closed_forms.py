"""Values that theory gives: configurations, the uniform law, limits, golden numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.metrics import uniform_law
from tests.reference import naive

FLOAT64 = cla.RunOptions(precision="float64")


def simplex(n):
    return np.eye(n) - 1.0 / n


def cross_polytope(d):
    return np.vstack([np.eye(d), -np.eye(d)])


def uniformity(rows, t=2.0):
    return cla.uniformity(rows, t=t, run=FLOAT64).value


@pytest.mark.parametrize("t", [0.5, 2.0, 7.0])
def test_identical_rows_have_zero_uniformity(t):
    assert uniformity(np.ones((7, 3)), t) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("t", [0.5, 2.0, 7.0])
def test_orthonormal_rows(t):
    assert uniformity(np.eye(64), t) == pytest.approx(-2 * t, rel=1e-12)


@pytest.mark.parametrize(("n", "printed"), [(2, -8), (3, -6), (10, -4.4444), (100, -4.040404)])
def test_simplex(n, printed):
    value = uniformity(simplex(n))
    assert value == pytest.approx(-4 * n / (n - 1), rel=1e-10)
    assert value == pytest.approx(printed, abs=1e-4)


@pytest.mark.parametrize(
    ("d", "printed"),
    [(2, -4.3963489672), (3, -4.2185750929), (8, -4.0676854666), (128, -4.0038571719)],
)
def test_cross_polytope(d, printed):
    closed = math.log(((2 * d - 2) * math.exp(-4) + math.exp(-8)) / (2 * d - 1))
    assert uniformity(cross_polytope(d)) == pytest.approx(closed, rel=1e-10)
    assert uniformity(cross_polytope(d)) == pytest.approx(printed, abs=1e-9)


def test_two_antipodal_clusters():
    rows = np.vstack([np.tile(np.eye(4)[0], (50, 1)), np.tile(-np.eye(4)[0], (50, 1))])
    found = cla.analyze(rows, metrics="uniformity", run=FLOAT64).records
    assert found.find("uniformity", "u_stat").value == pytest.approx(-0.7029573018, abs=1e-9)
    assert found.find("uniformity", "v_stat").value == pytest.approx(-0.6928117742, abs=1e-9)


@pytest.mark.parametrize(
    ("classes", "n", "printed"), [(10, 100, -2.2101978667), (100, 50, -3.6038068047)]
)
def test_collapsed_classes_on_a_simplex(classes, n, printed):
    rows = np.repeat(simplex(classes), n, axis=0)
    labels = np.repeat(np.arange(classes), n)
    assert uniformity(rows) == pytest.approx(printed, abs=1e-9)
    found = cla.tolerance(rows, labels)
    assert found.find("tolerance").value == pytest.approx(1.0, abs=1e-12)
    assert found.find("between_class_similarity").value == pytest.approx(-1 / (classes - 1))


@pytest.mark.parametrize(
    ("d", "printed"),
    [
        (2, -1.5750272045),
        (3, -2.0797770606),
        (8, -3.0825272335),
        (64, -3.8752355897),
        (128, -3.9375300102),
        (512, -3.9843754749),
        (2048, -3.9960937574),
    ],
)
def test_uniform_law(d, printed):
    assert uniform_law.uniformity_of_uniform_law(d, 2.0) == pytest.approx(printed, abs=1e-9)


@pytest.mark.parametrize(
    ("t", "printed"), [(0.5, -0.9960938674), (1, -1.9843768774), (3, -5.8595266879)]
)
def test_uniform_law_at_other_exponents(t, printed):
    assert uniform_law.uniformity_of_uniform_law(128, t) == pytest.approx(printed, abs=1e-9)


@pytest.mark.parametrize("t", [1e-3, 0.3, 2.0, 40.0, 1000.0])
@pytest.mark.parametrize("d", [1, 2, 3, 17])
def test_uniform_law_agrees_with_numerical_integration(d, t):
    import mpmath as mp

    with mp.workdps(40):
        exact = mp.log(mp.hyp0f1(mp.mpf(d) / 2, mp.mpf(t) ** 2)) - 2 * mp.mpf(t)
    value = uniform_law.uniformity_of_uniform_law(d, t)
    assert value == pytest.approx(float(exact), rel=1e-10, abs=1e-12)


def test_uniform_points_are_at_the_law_within_their_error(random):
    rows = random.standard_normal((2000, 16))
    found = cla.analyze(rows, metrics="uniformity").records
    gap = found.find("uniformity_gap")
    assert abs(gap.value) < 4 * gap.std_error
    law = found.find("uniformity_of_uniform_law")
    assert gap.value == pytest.approx(found.find("uniformity").value - law.value, abs=1e-12)


def test_v_stat_follows_from_u_stat(random):
    rows = random.standard_normal((50, 8))
    found = cla.analyze(rows, metrics="uniformity").records
    u, v = (found.find("uniformity", name).value for name in ("u_stat", "v_stat"))
    assert v == pytest.approx(math.log(49 / 50 * math.exp(u) + 1 / 50), rel=1e-12)


def test_jensen_and_joint_bounds(random):
    labels = np.repeat(np.arange(5), 30)
    rows = random.standard_normal((150, 16)) + 2.5 * np.eye(5, 16)[labels]
    value = uniformity(rows)
    found = cla.tolerance(rows, labels)
    within, between = found.find("tolerance").value, found.find("between_class_similarity").value
    p = 29 / 149
    overall = p * within + (1 - p) * between
    assert -value <= 4 * (1 - overall)
    joint = math.log(p * math.exp(-4 * (1 - within)) + (1 - p) * math.exp(-4 * (1 - between)))
    assert value >= joint


def test_toy_example():
    rows = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]])
    found = cla.tolerance(rows, [0, 0, 1, 1])
    values = [found.find("tolerance", d).value for d in ("micro_excl", "micro_incl", "indicator")]
    assert values == pytest.approx([-0.3, 0.35, 0.175], abs=1e-12)
    assert uniformity(rows) == pytest.approx(-2.1630350864, abs=1e-9)


def fixture():
    i = np.arange(6.0)
    u = naive.unit(np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i])
    v = naive.unit(u + 0.3 * np.c_[np.sin(i), np.cos(i), np.sin(2 * i), np.cos(2 * i)])
    return u, v, np.array([0, 0, 0, 1, 1, 2])


def test_six_pairs_in_four_dimensions():
    u, v, labels = fixture()
    assert uniformity(u) == pytest.approx(-3.409505079600, abs=1e-11)
    assert uniformity(v) == pytest.approx(-2.923970382742, abs=1e-11)
    found = cla.tolerance(u, labels)
    for definition, printed in (
        ("micro_excl", -0.083645442754),
        ("micro_incl", 0.380774032712),
        ("macro_excl", -0.076768203062),
        ("indicator", 0.148078790500),
    ):
        assert found.find("tolerance", definition).value == pytest.approx(printed, abs=1e-11)


def test_orthonormal_rows_spread_the_penalty_evenly():
    found = cla.penalty(np.eye(33), np.arange(33) % 3, taus=[0.07, 1.0])
    for tau in (0.07, 1.0):
        assert found.find("penalty_entropy", tau=tau).value == pytest.approx(math.log(32))
        assert found.find("penalty_effective_negatives", tau=tau).value == pytest.approx(32)
        assert found.find("penalty_top10_share", tau=tau).value == pytest.approx(10 / 32)
        assert found.find("penalty_false_negative_ratio", tau=tau).value == pytest.approx(1.0)


def test_entropy_rises_with_the_temperature_at_the_rate_of_theory(random):
    rows = random.standard_normal((60, 8))
    taus = [0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 100.0]
    found = cla.penalty(rows, taus=taus, run=FLOAT64)
    entropies = [found.find("penalty_entropy", tau=tau).value for tau in taus]
    assert entropies == sorted(entropies)
    # H = log K - Var(s) / (2 tau^2) for large tau
    s = naive.cosines(rows)
    variances = [np.var(np.delete(s[i], i)) for i in range(60)]
    expected = math.log(59) - np.mean(variances) / (2 * 100.0**2)
    assert entropies[-1] == pytest.approx(expected, abs=1e-8)
    # dH / dtau = Var_r(s) / tau^3, by central differences
    tau, step = 0.2, 1e-5
    near = cla.penalty(rows, taus=[tau - step, tau + step], run=FLOAT64)
    low, high = (near.find("penalty_entropy", tau=v).value for v in (tau - step, tau + step))
    slopes = []
    for i in range(60):
        others = np.delete(s[i], i)
        r = np.exp(others / tau - naive.log_sum_exp(others / tau))
        slopes.append((r @ others**2 - (r @ others) ** 2) / tau**3)
    assert (high - low) / (2 * step) == pytest.approx(np.mean(slopes), rel=1e-5)


def test_small_temperatures_put_everything_on_the_nearest(random):
    found = cla.penalty(random.standard_normal((40, 4)), taus=[1e-4])
    assert found.find("penalty_top1_share").value == pytest.approx(1.0, abs=1e-3)
    assert found.find("penalty_entropy").value == pytest.approx(0.0, abs=1e-2)


def test_curve_of_even_similarities_is_the_exact_law():
    from cl_analyze.analysis.run import uniform_penalty
    from cl_analyze.options import MetricOptions, RunOptions

    report = uniform_penalty(MetricOptions(taus=[0.07, 0.5]), RunOptions())
    for tau in (0.07, 0.5):
        rows = [r for r in report.tables["penalty_curve"].rows if r["tau"] == tau]
        for row in rows[::40]:
            law = math.exp(row["similarity"] / tau) / (tau * math.sinh(1 / tau)) / 4095
            assert row["relative_penalty"] == pytest.approx(law, rel=1e-10)
        assert sum(row["penalty_mass"] for row in rows) == pytest.approx(1.0, abs=1e-12)
        # the mean weight over [-1, 1] is 1/K
        mean = np.mean([row["relative_penalty"] for row in rows])
        assert mean == pytest.approx(1 / 4095, rel=1e-2)


def test_summaries_of_even_similarities_are_of_the_seeded_draw():
    from cl_analyze.analysis.run import uniform_penalty
    from cl_analyze.options import MetricOptions, RunOptions

    tau = 0.2
    report = uniform_penalty(MetricOptions(taus=[tau], seed=3, n_negatives=500), RunOptions())
    drawn = np.random.default_rng(3).uniform(-1, 1, 500)
    r = np.exp(drawn / tau - naive.log_sum_exp(drawn / tau))
    entropy = report.records.find("penalty_entropy")
    assert cla.penalty(taus=[tau], n_negatives=500).find("penalty_entropy").n == 500
    assert entropy.source == "uniform[-1,1]"
    assert (entropy.n, entropy.d) == (500, None)
    assert entropy.value == pytest.approx(-(r * np.log(r)).sum(), rel=1e-12)
    assert report.records.find("penalty_top10_share").value == pytest.approx(
        np.sort(r)[-10:].sum(), rel=1e-12
    )

    def entropy_of(kept):
        part = drawn[kept] / tau
        shares = np.exp(part - naive.log_sum_exp(part))
        return -float((shares * np.log(shares)).sum())

    assert entropy.std_error == pytest.approx(naive.jackknife_error(entropy_of, 500), rel=1e-8)


def test_cosine_law_has_mean_0_and_variance_1_over_d():
    grid = (np.arange(200_000) + 0.5) / 200_000
    for d in (2, 3, 8, 128):
        s = uniform_law.cosine_quantile(d, grid)
        assert np.mean(s) == pytest.approx(0, abs=1e-9)
        assert np.var(s) == pytest.approx(1 / d, rel=1e-3)
        assert uniform_law.cosine_share_below(d, s[::5000]) == pytest.approx(grid[::5000])
    # Wasserstein distance of orthogonal rows from the law: E|s|
    assert np.abs(uniform_law.cosine_quantile(128, grid)).mean() == pytest.approx(
        0.0706615727, abs=1e-6
    )


def test_expected_nearest_negatives_of_uniform_points(random):
    draws = random.standard_normal((400, 100, 5))
    draws /= np.linalg.norm(draws, axis=2, keepdims=True)
    cosines = np.sort(np.einsum("kij,kj->ki", draws[:, 1:], draws[:, 0]), axis=1)[:, ::-1]
    expected = uniform_law.expected_nearest(5, 99, 3)
    errors = cosines.std(axis=0)[:3] / 20
    assert np.all(np.abs(cosines.mean(axis=0)[:3] - expected) < 4 * errors)


def test_penalty_of_uniform_points_agrees_with_a_measured_sphere(random):
    taus = (0.1, 0.5)
    law = uniform_law.penalty_of_uniform_law(8, 1499, taus)
    rows = random.standard_normal((1500, 8))
    found = cla.penalty(rows, taus=list(taus))
    for tau, expected in zip(taus, law, strict=True):
        for metric in ("penalty_entropy", "penalty_top1_share", "penalty_top10_share"):
            record = found.find(metric, tau=tau)
            error = math.hypot(record.std_error, expected.std_errors[metric])
            assert abs(record.value - expected.values[metric]) < 4 * error, metric
