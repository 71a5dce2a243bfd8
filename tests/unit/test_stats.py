"""Standard errors, paired differences, Holm: against textbook formulas and simulation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats as reference

from cl_analyze.results import stats
from cl_analyze.results.stats import Estimate
from tests.conftest import NIGHTLY


def test_pseudo_values_of_a_mean_are_the_values(random):
    x = random.standard_normal(30)
    without = np.array([np.delete(x, i).mean() for i in range(30)])
    np.testing.assert_allclose(stats.pseudo_values(x.mean(), without), x, atol=1e-12)
    assert stats.standard_error(x) == pytest.approx(reference.sem(x))


def test_rows_that_take_no_part_are_left_out(random):
    x = random.standard_normal(30)
    x[[3, 8]] = np.nan
    assert stats.standard_error(x) == pytest.approx(reference.sem(x, nan_policy="omit"))
    without = np.where(np.isnan(x), np.nan, (np.nansum(x) - x) / 27)
    np.testing.assert_allclose(stats.pseudo_values(np.nanmean(x), without), x, atol=1e-12)


def test_too_few_rows_have_no_error():
    assert stats.standard_error(None) is None
    assert stats.standard_error(np.array([1.0])) is None
    assert stats.standard_error(np.array([1.0, 2.0]), np.array([0, 0])) is None


def test_groups_of_one_change_nothing_and_groups_of_equal_rows_count_once(random):
    x = random.standard_normal(20)
    assert stats.standard_error(x, np.arange(20)) == pytest.approx(stats.standard_error(x))
    repeated = np.repeat(x, 3)
    grouped = stats.standard_error(repeated, np.repeat(np.arange(20), 3))
    assert grouped == pytest.approx(stats.standard_error(x))
    assert stats.standard_error(repeated) < 0.6 * grouped


def test_two_noisy_copies_give_the_error_without_the_noise(random):
    truth = random.standard_normal(20_000)
    noisy = [truth + 3 * random.standard_normal(20_000) for _ in range(2)]
    expected = stats.standard_error(truth)
    assert stats.cross_standard_error(*noisy) == pytest.approx(expected, rel=0.2)
    assert stats.standard_error(noisy[0]) > 3 * expected
    opposite = stats.cross_standard_error(truth, -truth + 0.1)
    assert opposite is not None
    assert opposite >= 0


def test_halves_of_a_finite_population_lean_against_each_other(random):
    # each column's total over 60 anchors, estimated from two disjoint samples of 20
    gains = random.standard_normal((60, 400)) + 0.5 * random.standard_normal(400)
    errors = []
    for _ in range(200):
        order = random.permutation(60)
        one, other = (60 / 20 * gains[part].sum(axis=0) for part in (order[:20], order[20:40]))
        errors.append(stats.cross_standard_error(one, other, share=20 / 60))
    expected = stats.standard_error(gains.sum(axis=0))
    squared = np.mean(np.square(errors))
    assert squared == pytest.approx(expected**2, rel=0.05)


def test_paired_difference_is_a_one_sample_t_test(random):
    a, b = random.standard_normal((2, 25)) + 0.3
    b = b + 0.9 * a
    found = stats.difference(Estimate(a.mean(), a), Estimate(b.mean(), b), confidence=0.9)
    expected = reference.ttest_1samp(a - b, 0.0)
    low, high = expected.confidence_interval(0.9)
    assert found.paired
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_unpaired_difference_adds_variances():
    found = stats.difference(Estimate(1.0, error=0.3), Estimate(0.4, error=0.4))
    assert not found.paired
    assert found.std_error == pytest.approx(0.5)
    assert found.high == pytest.approx(0.6 + 1.959964 * 0.5, rel=1e-6)
    assert found.p_value == pytest.approx(2 * reference.norm.sf(1.2))
    unknown = stats.difference(Estimate(1.0), Estimate(0.4))
    assert (unknown.value, unknown.std_error, unknown.p_value) == (pytest.approx(0.6), None, None)
    same = stats.difference(Estimate(1.0, np.ones(5)), Estimate(1.0, np.ones(5)))
    assert (same.std_error, same.p_value) == (0.0, 1.0)


def test_holm_against_its_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    assert stats.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([None, 0.6, 0.7]) == [None, 1.0, 1.0]
    assert stats.holm([]) == []


def test_kernel_error_is_right_where_the_jackknife_is_too_large():
    """Uniform points, 300 draws: the mean error agrees with the spread of the values."""
    import cl_analyze as cla

    random = np.random.default_rng(3)
    values, errors = [], []
    for _ in range(300):
        found = cla.uniformity(random.standard_normal((60, 8)), run=cla.RunOptions(threads=1))
        values.append(found.value)
        errors.append(found.std_error)
    ratio = np.mean(errors) / np.std(values, ddof=1)
    assert 0.9 < ratio < 1.25
    covered = np.mean(np.abs(np.array(values) - np.mean(values)) < 1.96 * np.array(errors))
    assert 0.93 < covered <= 0.995


@pytest.mark.parametrize("law", ["clusters", "groups of three"])
def test_errors_of_nearest_negatives_are_neither_short_nor_wide(law):
    """A small run of bench/coverage.py --neighbours; the plain jackknife is up to 4 times wide."""
    from bench.coverage import NEIGHBOURS, coverage

    repeats = 300 if NIGHTLY else 60
    found = coverage(law, n=200, repeats=repeats, jobs=1, metrics=NEIGHBOURS)
    assert len(found) == 16
    ratios = np.array([ratio for ratio, _ in found.values()])
    shares = np.array([share for _, share in found.values()])
    assert 0.9 < np.median(ratios) < 1.3
    assert ratios.max() < 2.0
    assert shares.mean() > 0.92
    assert shares.min() > 0.8


@pytest.mark.parametrize("law", ["pairs of views", "queries of fixed items"])
def test_errors_of_what_positives_are_to_negatives(law):
    """A small run of bench/coverage.py --positives: 80 draws of 80 rows."""
    from bench.coverage import POSITIVES, coverage

    found = coverage(law, n=80, repeats=300 if NIGHTLY else 80, jobs=1, metrics=POSITIVES)
    frequent = re.compile(r"auroc|d_prime|mrr|map_at_r|suspect_|recall_at_k\S* 1 ")
    names = [name for name in found if frequent.match(name)]  # others hang on very few rows
    assert len(names) > 10
    for name in names:
        ratio, share = found[name]
        assert 0.8 < ratio < 1.5, name
        assert share > 0.87, name


@pytest.mark.parametrize("law", ["clusters", "groups of three"])
def test_errors_of_distances_and_spectral_scores_cover(law):
    """A small run of bench/coverage.py --spread: jackknives of groups are up to 2 times wide."""
    from bench.coverage import SPREAD, coverage

    found = coverage(law, n=120, repeats=300 if NIGHTLY else 60, jobs=1, metrics=SPREAD)
    rare = found.pop("outlier_share", None)
    assert rare is None or rare[1] > 0.9
    assert len(found) == 10
    for name, (ratio, share) in found.items():
        assert 0.75 < ratio < 2.2, (name, ratio)
        assert share > 0.85, (name, share)
    for name in ("koleo", "intrinsic_dimension[two_nn]", "intrinsic_dimension[mle]"):
        assert found[name][0] < 1.5, name


def test_errors_between_two_checkpoints_cover():
    """A small run of bench/coverage.py --between: movement and paired differences."""
    from bench.coverage import BETWEEN, coverage

    found = coverage("clusters", n=120, repeats=300 if NIGHTLY else 60, jobs=1, metrics=BETWEEN)
    assert len(found) == 9
    for name, (ratio, share) in found.items():
        assert 0.75 < ratio < 1.6, (name, ratio)
        assert share > 0.85, (name, share)


def test_intervals_cover():
    """A small run of bench/coverage.py: 100 draws of 80 clustered rows."""
    from bench.coverage import coverage

    found = coverage("clusters", n=80, repeats=100, jobs=1)
    assert len(found) > 20
    for name, (ratio, share) in found.items():
        # 100 draws: the ratio is known to about 8%, a share of .95 to about .02; deleting rows
        # is conservative for statistics that hang on few neighbours, and never short
        assert 0.78 < ratio < 2.0, (name, ratio)
        assert share > 0.87, (name, share)
    for name in ("uniformity[u_stat] 2.0", "tolerance[micro_excl]", "penalty_entropy 0.5"):
        assert found[name][0] == pytest.approx(1.0, abs=0.25), name
