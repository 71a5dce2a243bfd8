"""Estimates from anchors: near the exact values, with errors that hold, and never silently."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cl_analyze as cla
from bench.anchor_coverage import coverage
from cl_analyze.analysis import run_analysis
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.errors import ConfigError
from cl_analyze.metrics.anchors import Anchors, draw_anchors, with_moments
from cl_analyze.options import MetricOptions, Request, RunOptions
from cl_analyze.pairs.executors import SerialExecutor
from cl_analyze.report.html import render_html
from tests.conftest import NIGHTLY, SAMPLES

ESTIMATED = (
    *("uniformity", "uniformity_gap", "similarity", "penalty", "same_class_share"),
    "temperature",
)
SEPARATION = ("auroc", "equal_error_rate", "tpr_at_fpr", "d_prime", "violation_share")


def test_errors_of_estimates_hold_over_many_seeds():
    """A small run of bench/anchor_coverage.py; docs/error-bars.md has the whole."""
    path = str(SAMPLES / "fashion-mnist-tau-0.3.npz")
    found = coverage(path, 250, range(300 if NIGHTLY else 60), jobs=1)
    covers = np.array([row[0] for row in found.values()])
    assert covers.min() >= 0.80
    assert 0.90 <= covers.mean() <= 0.99
    for name, (_, sampling, errors) in found.items():
        assert 0.7 < sampling < 1.45, name
        assert 0.8 < errors < 1.25, name


@pytest.fixture
def clustered(random):
    labels = random.integers(0, 4, 600)
    return random.standard_normal((600, 10)) + 2.0 * np.eye(4, 10)[labels], labels


def test_a_curve_that_shares_the_pass_of_the_error_bars_is_the_curve_of_its_anchors(clustered):
    rows, labels = clustered
    names, request = ("similarity", "penalty"), Request(rows, labels, source="rows")
    tables = {}
    # with another number of anchors for the error bars the curve has a pass of its own, of the
    # same rows
    for n_anchors in (100, 102):
        options = MetricOptions(
            taus=(0.1,), exact_deletions=300, sampled_anchors=n_anchors, curve_anchors=100
        )
        report = run_analysis([request], names, options, RunOptions(), "report")
        tables[n_anchors] = report.document.tables
    for name in ("penalty_curve", "similarity_histogram"):
        one, other = (of_run[name].rows for of_run in tables.values())
        assert len(one) == len(other) > 0
        for row, same_row in zip(one, other, strict=True):
            for column, value in row.items():
                is_number = isinstance(value, float)
                expected = (
                    pytest.approx(same_row[column], rel=1e-9) if is_number else same_row[column]
                )
                assert value == expected, column


def test_what_is_estimated_says_so(clustered):
    rows, labels = clustered
    exact = cla.analyze(rows, labels=labels, taus=[0.1])
    found = cla.analyze(rows, labels=labels, taus=[0.1], anchors=150)
    for one, other in zip(exact.records, found.records, strict=True):
        assert (one.name, one.params) == (other.name, other.params)
        if one.metric.startswith(ESTIMATED):
            if one.metric == "uniformity_of_uniform_law":
                continue
            assert not other.exact
            assert other.sampling_error > 0
            assert other.n <= 150
            assert abs(one.value - other.value) < 5 * other.sampling_error, one.name
        elif one.metric in SEPARATION:
            assert not other.exact
            assert other.n <= 150
            assert abs(one.value - other.value) < 5 * other.sampling_error + 0.01, one.name
        elif one.metric == "suspect_share":
            assert one.reason == other.reason
        else:  # tolerance needs no pairs: it stays exact
            assert other.exact
            assert other.sampling_error is None
            assert other.value == one.value


def test_as_many_anchors_as_rows_is_the_exact_run(clustered):
    rows, labels = clustered
    exact = cla.analyze(rows, labels=labels, taus=[0.1])
    for anchors in (600, 1000):
        found = cla.analyze(rows, labels=labels, taus=[0.1], anchors=anchors)
        assert [r.to_dict() for r in found.records] == [r.to_dict() for r in exact.records]


def test_nearly_all_anchors_have_nearly_no_sampling_error(clustered):
    rows, labels = clustered
    exact = cla.analyze(rows, labels=labels, taus=[0.3], metrics=("uniformity", "penalty"))
    found = cla.analyze(
        rows, labels=labels, taus=[0.3], metrics=("uniformity", "penalty"), anchors=597
    )
    for one, other in zip(exact.records, found.records, strict=True):
        assert other.value == pytest.approx(one.value, rel=5e-3)
        if other.sampling_error is not None:
            assert other.sampling_error < 0.15 * other.std_error
            assert other.std_error == pytest.approx(one.std_error, rel=0.1)


def test_anchors_are_seeded(clustered):
    rows, _ = clustered
    one, same, other = (
        cla.analyze(rows, taus=[0.1], anchors=100, seed=seed).records.find("uniformity").value
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_class_negatives_partners_views_and_groups_are_estimated_too(clustered, random):
    rows, labels = clustered
    partners = rows + 0.3 * random.standard_normal(rows.shape)
    groups = np.arange(600) // 2
    for options in (
        {"labels": labels, "negatives": "class"},
        {"pairs": partners},
        {"labels": labels, "groups": groups},
    ):
        exact = cla.analyze(rows, taus=[0.1], **options)
        found = cla.analyze(rows, taus=[0.1], anchors=200, **options)
        for one, other in zip(exact.records, found.records, strict=True):
            assert (one.value is None) == (other.value is None), one.name
            if other.value is not None and not other.exact:
                assert abs(one.value - other.value) < 5 * other.sampling_error + 1e-3, one.name
                # few rows lie beside a tail's quantile; a share of 1 has no error but an interval
                if one.metric != "similarity_quantile" and one.std_error:
                    assert 0.4 < other.std_error / one.std_error < 2.5, (one.name, options)


def test_too_few_anchors_are_refused(clustered):
    with pytest.raises(ConfigError, match="anchors must be a whole number of at least 10, found 3"):
        cla.analyze(clustered[0], anchors=3)


def test_what_hardly_any_anchor_has_is_undefined_with_a_reason(clustered):
    rows, _ = clustered
    labels = np.full(600, -1)
    labels[:2] = 1
    found = cla.analyze(
        rows, labels=labels, taus=[0.1], anchors=20, run=cla.RunOptions(unlabelled="-1")
    )
    record = found.records.find("penalty_false_negative_share")
    assert record.value is None
    assert record.reason == "hardly any of the anchors is labelled"


def test_moments_take_most_of_the_error_of_uniformity_in_a_cone(random):
    """SPEC 7: in embeddings that are far from uniform two moments explain the potential."""
    rows = random.standard_normal((2000, 32)) * np.geomspace(3, 0.3, 32) + 1.0
    unit = UnitRows(RowArray.of(rows), np.float64, 1 << 24)
    x = unit.exact_block(0, 2000)
    squared = 2.0 - 2.0 * x @ x.T
    potential = (np.exp(-2.0 * squared).sum(1) - 1.0) / 1999
    chosen = draw_anchors(2000, 300, seed=1)
    with_help = with_moments(chosen, unit, 256, SerialExecutor())
    plain = Anchors(chosen, 2000).mean(potential[chosen])
    helped = with_help.mean(potential[chosen])
    assert helped.sampling_error < plain.sampling_error / 4
    assert abs(helped.value - potential.mean()) < 5 * helped.sampling_error
    mean = x.mean(0)
    second = x.T @ x / 2000
    np.testing.assert_allclose(with_help.known, [mean @ mean, (second**2).sum()], rtol=1e-10)
    np.testing.assert_allclose(with_help.moments[:, 0], x[chosen] @ mean, rtol=1e-10)


def test_moments_are_not_used_where_they_do_not_help(random):
    anchors = Anchors(np.arange(200), 1000, random.standard_normal((200, 2)), np.array([5.0, 5.0]))
    values = random.standard_normal(200)
    found = anchors.mean(values)
    assert found.value == pytest.approx(values.mean())
    expected = values.std(ddof=1) / math.sqrt(200) * math.sqrt(0.8)
    assert found.sampling_error == pytest.approx(expected, rel=1e-2)


def test_command_line_shows_the_sampling_error(cli, random):
    np.save(cli.folder / "emb.npy", random.standard_normal((300, 8)))
    result = cli("uniformity", "emb.npy", "--anchors", 50)
    assert result.returncode == 0, result.stderr
    assert "n=300 (estimated from 50 anchors)" in result.stdout
    assert "sampling: the distance to expect" in result.stderr
    assert "(sampling " in result.stdout
    assert "anchors must be" in cli.fails("uniformity", "emb.npy", "--anchors", 2)
    assert "--anchors needs embeddings" in cli.fails("penalty", "--anchors", 50)


def test_two_estimates_of_one_file_do_not_differ(random):
    rows = random.standard_normal((4000, 8)) + 1.0
    one, other = (
        cla.analyze(rows, taus=[0.1], anchors=100, seed=seed, metrics=("uniformity", "penalty"))
        for seed in (0, 3)
    )
    assert one.compare(other)["p_holm"].min() > 0.05


def test_a_regression_does_not_leave_the_range_of_its_values():
    random = np.random.default_rng(18)
    for _ in range(300):
        a = random.standard_normal(40)
        moments = np.column_stack([a, a**2])
        anchors = Anchors(np.arange(40), 400, moments, np.array([4.0, -3.0]))
        values = np.exp(3.0 * a)
        found = anchors.mean(values)
        assert values.min() <= found.value <= values.max()


def test_errors_scale_with_the_rows_that_have_a_value(random):
    """Class negatives of mostly unlabelled rows: few rows are anchors at all."""
    labels = np.where(random.random(3000) < 0.7, -1, random.integers(0, 4, 3000))
    rows = random.standard_normal((3000, 12)) + 1.5 * np.eye(5, 12)[labels]
    options = {
        "labels": labels,
        "negatives": "class",
        "taus": [0.2],
        "top_k": 2,
        "run": cla.RunOptions(unlabelled="-1"),
    }
    exact, found = cla.analyze(rows, **options), cla.analyze(rows, anchors=1500, **options)
    for metric, params in (
        ("similarity_mean", {"group": "negative_1"}),
        ("similarity_std", {"group": "negative_2"}),
        ("penalty_entropy", {"tau": 0.2}),
    ):
        one, other = (
            next(
                r
                for r in report.records
                if r.metric == metric and params.items() <= r.params.items()
            )
            for report in (exact, found)
        )
        assert 0.75 < other.std_error / one.std_error < 1.33, metric


def test_grouped_errors_of_a_mean(random):
    """Against the exact clustered error, for groups that matter and groups that do not."""
    groups = np.repeat(np.arange(200), 10)
    for spread in (0.0, 1.0):
        values = random.standard_normal(2000) + spread * random.standard_normal(200)[groups]
        deviations = np.bincount(groups, weights=values - values.mean())
        expected = math.sqrt(200 / 199 * float(deviations @ deviations)) / 2000
        errors = []
        for seed in range(40):
            chosen = draw_anchors(2000, 500, seed)
            errors.append(Anchors(chosen, 2000).std_error(values[chosen], groups=groups))
        assert 0.85 < np.mean(errors) / expected < 1.25


def test_quantiles_take_their_error_from_the_anchors_alone(random):
    labels = random.integers(0, 2, 3000)
    rows = random.standard_normal((3000, 6)) * np.where(labels, 0.2, 1.0)[:, None]
    rows += 3.0 * np.eye(2, 6)[labels]
    exact = cla.similarity(rows, top_k=1)
    ratios = []
    for seed in range(12):
        found = cla.analyze(rows, anchors=400, seed=seed, top_k=1, metrics="similarity").records
        for q in (0.25, 0.5, 0.75):
            params = {"group": "negative_1", "q": q}
            one = exact.find("similarity_quantile", **params)
            other = found.find("similarity_quantile", **params)
            ratios.append((other.value - one.value) / other.sampling_error)
    assert 0.6 < math.sqrt(np.mean(np.square(ratios))) < 1.6


def test_the_report_counts_rows_not_anchors(cli, random):
    rows = random.standard_normal((400, 8))
    np.savez(cli.folder / "emb.npz", embeddings=rows, labels=random.integers(0, 3, 400))
    result = cli("report", "emb.npz", "--anchors", 60, "--no-files")
    assert result.returncode == 0, result.stderr
    found = cla.analyze(str(cli.folder / "emb.npz"), metrics="all", anchors=60)
    page = render_html(found.document, [])
    assert "of 399 negatives" in page
    assert "of 59 negatives" not in page
    assert "Means over rows are estimated from anchors" in page


def test_an_exact_report_does_not_say_that_it_estimates(cli, random):
    labels = np.concatenate([random.integers(0, 3, 98), [7, 8]])  # singletons are no anchors
    np.savez(cli.folder / "emb.npz", embeddings=random.standard_normal((100, 8)), labels=labels)
    for more in ((), ("--anchors", 100)):
        result = cli("report", "emb.npz", "--tau", 0.2, *more, "--no-files")
        assert result.returncode == 0, result.stderr
        assert "estimated" not in result.stdout + result.stderr
        anchors = more[1] if more else None
        path = str(cli.folder / "emb.npz")
        found = cla.analyze(path, metrics="all", taus=[0.2], anchors=anchors)
        page = render_html(found.document, [])
        assert "are estimated from anchors" not in page


def test_a_later_checkpoint_that_is_estimated_is_announced(cli, random):
    for name, n_rows in (("small", 40), ("large", 200)):
        np.save(cli.folder / f"{name}.npy", random.standard_normal((n_rows, 8)))
    result = cli("uniformity", "small.npy", "large.npy", "--anchors", 50)
    head, small, large = (line.split() for line in result.stdout.splitlines()[1:4])
    assert head[:3] == ["rows", "anchors", "dims"]
    assert (small[:4], large[:4]) == (["small", "40", "all", "8"], ["large", "200", "50", "8"])
    assert result.stderr.count("means over rows are estimated from 50 anchors") == 1
