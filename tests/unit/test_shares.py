"""Shares beside 0 and 1: intervals that cover, and gates that do not take 20 rows for a proof."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as reference

import cl_analyze as cla
from cl_analyze.checks.judge import Earlier, judge
from cl_analyze.checks.rules import Rule
from cl_analyze.metrics.differences import record_difference
from cl_analyze.results.stats import Estimate, difference, effective_rows, share_interval
from cl_analyze.results.tables import Record


def share(values, groups=None, metric="knn_accuracy"):
    values = np.asarray(values, float)
    n, value = len(values), float(values.mean())
    error = cla_error(values, groups)
    return Record(
        "a.npy", metric, None, {}, value, error, "accuracy", n, 4, pseudo_values=values,
        effective_n=effective_rows(values, error, groups),
    )  # fmt: skip


def cla_error(values, groups):
    from cl_analyze.results.stats import standard_error

    return standard_error(values, groups)


@pytest.mark.parametrize(("hits", "n"), [(20, 20), (0, 20), (19, 20), (1, 20), (400, 1000), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_the_interval_is_that_of_scipy(hits, n, confidence):
    found = share_interval(hits / n, n, confidence)
    expected = reference.binomtest(hits, n).proportion_ci(confidence, method="exact")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("n", [20, 60, 300])
@pytest.mark.parametrize("truth", [0.9, 0.97, 0.99, 0.997, 0.003])
def test_intervals_cover_as_often_as_they_say(n, truth):
    """Exactly, by the binomial law: no draw is needed."""
    hits = np.arange(n + 1)
    intervals = []
    for k in hits:
        values = np.r_[np.ones(k), np.zeros(n - k)]
        intervals.append(share(values).interval)
    low, high = np.transpose(intervals)
    covered = (low <= truth) & (truth <= high)
    assert reference.binom.pmf(hits, n, truth)[covered].sum() >= 0.95


def test_away_from_the_ends_the_error_tells_how_many_rows_count(random):
    values = (random.random(2000) < 0.6).astype(float)
    found = share(values)
    low, high = found.interval
    assert found.effective_n == pytest.approx(1999, rel=1e-6)
    assert (high - low) / 2 == pytest.approx(1.96 * found.std_error, rel=0.03)
    twice = effective_rows(values, 2 * found.std_error)
    assert twice == pytest.approx(1999 / 4, rel=1e-6), "rows that depend on each other count less"


def test_groups_count_beside_the_ends_and_tell_their_error_elsewhere(random):
    groups = np.repeat(np.arange(10), 20)
    assert share(np.ones(200), groups).effective_n == 10
    one_wrong = np.ones(200)
    one_wrong[7] = 0
    assert share(one_wrong, groups).effective_n <= 10
    alike = np.repeat((random.random(100) < 0.5).astype(float), 20)
    assert share(alike, np.repeat(np.arange(100), 20)).effective_n == pytest.approx(99, rel=1e-6)
    assert share(alike).effective_n == pytest.approx(1999, rel=1e-6)


@pytest.mark.parametrize("n_rows", [2, 20])
def test_a_rule_that_few_rows_cannot_decide_is_inconclusive(n_rows):
    record = share(np.ones(n_rows))
    for rule in (Rule("knn_accuracy", min=0.97), Rule("knn_accuracy", min=0.9)):
        (check,) = judge(rule, record)
        assert check.verdict == "inconclusive"
        assert check.high == 1.0
    (check,) = judge(Rule("knn_accuracy", max=0.5), share(np.ones(20)))
    assert check.verdict == "fail"
    (check,) = judge(Rule("knn_accuracy", min=0.97), share(np.ones(400)))
    assert check.verdict == "pass"
    (check,) = judge(Rule("antihub_share", max=0.01), share(np.zeros(20)))
    assert check.verdict == "inconclusive"


def test_the_confidence_of_a_rule_is_that_of_its_interval():
    record = share(np.ones(20))
    lows = []
    for confidence in (0.5, 0.95, 0.999):
        rule = Rule("knn_accuracy", min=0.97, confidence=confidence)
        (check,) = judge(rule, record)
        lows.append(check.low)
    assert lows == sorted(lows, reverse=True)
    assert lows[1] == pytest.approx(0.8316, abs=1e-4)


def test_two_perfect_scores_of_few_rows_may_differ():
    one, other = share(np.ones(20)), share(np.ones(20))
    for order in (np.arange(20), None):
        found = record_difference(one, other, order)
        assert found.value == 0
        assert found.p_value == 1.0
        assert found.low == pytest.approx(-0.168, abs=1e-3)
        assert found.high == pytest.approx(0.168, abs=1e-3)


@pytest.mark.parametrize("paired", [True, False])
def test_all_against_none_of_two_rows_is_no_proof(paired):
    found = record_difference(share([1, 1]), share([0, 0]), np.arange(2) if paired else None)
    assert found.low < 0 < found.high
    assert found.p_value > 0.05
    many = record_difference(share(np.ones(40)), share(np.zeros(40)), np.arange(40))
    assert many.low > 0.7
    assert many.p_value < 1e-6


def test_differences_of_shares_in_the_middle_are_those_of_the_rows(random):
    shared = random.random(3000)
    one = share((shared + 0.1 * random.random(3000)) < 0.6)
    other = share(shared < 0.6)
    found = record_difference(one, other, np.arange(3000))
    plain = difference(
        Estimate(one.value, one.pseudo_values), Estimate(other.value, other.pseudo_values)
    )
    assert found.std_error == plain.std_error
    assert (found.high - found.low) == pytest.approx(plain.high - plain.low, rel=0.15)
    assert found.low <= plain.low
    assert found.high >= plain.high


def test_paired_differences_of_shares_cover(random):
    """40 rows, two checkpoints at 0.97 and 0.95 that agree mostly: the t interval alone fails."""
    covered, n = 0, 300
    for _ in range(n):
        hard = random.random(40)
        one = share(hard < 0.97)
        other = share((hard < 0.95) ^ (random.random(40) < 0.0))
        found = record_difference(one, other, np.arange(40))
        covered += found.low <= 0.02 <= found.high
    assert covered / n >= 0.94


@pytest.mark.parametrize("relative", [False, True])
def test_a_fall_of_a_perfect_score_is_not_proven_by_few_rows(relative):
    from cl_analyze.checks.baseline import BaselineSource
    from cl_analyze.metrics.differences import RowKeys, match_rows

    base = share(np.ones(20))
    keys = RowKeys(20)
    source = BaselineSource("a.npy", keys, (base,), None)
    rule = Rule("knn_accuracy", max_drop=0.02, relative=relative)
    (check,) = judge(rule, share(np.ones(20)), Earlier(base, source, match_rows(keys, keys)))
    assert check.verdict == "inconclusive"
    large = share(np.ones(2000))
    source = BaselineSource("a.npy", RowKeys(2000), (large,), None)
    match = match_rows(RowKeys(2000), RowKeys(2000))
    (check,) = judge(rule, share(np.ones(2000)), Earlier(large, source, match))
    assert check.verdict == "pass"


def test_groups_of_a_paired_difference(random):
    """The same groups count as one: with them left out, the error is a third of what it is."""
    groups = np.repeat(np.arange(40), 9)
    one = np.repeat(random.standard_normal(40), 9) + 0.05 * random.standard_normal(360)
    records = [
        Record(
            "a.npy", "tolerance", None, {}, float(x.mean()), 0.1, "cosine", 360, 4, pseudo_values=x
        )
        for x in (one, np.zeros(360))
    ]
    order = random.permutation(360)
    other = replace(records[1], pseudo_values=records[1].pseudo_values[np.argsort(order)])
    found = record_difference(records[0], other, order, groups)
    by_group = one.reshape(40, 9).mean(axis=1)
    assert found.std_error == pytest.approx(reference.sem(by_group), rel=1e-6)
    low, high = reference.t.interval(0.95, 39, by_group.mean(), reference.sem(by_group))
    assert (found.low, found.high) == pytest.approx((low, high))
    alone = record_difference(records[0], other, order)
    assert alone.std_error < 0.5 * found.std_error
    sample = np.arange(180)
    part = record_difference(records[0], other, order, groups, sample=sample)
    expected = reference.sem(by_group[:20]) * np.sqrt(0.5)
    assert part.std_error == pytest.approx(expected, rel=1e-6)


# ---- what people read

SEPARATE = np.repeat(10 * np.eye(4), 6, axis=0) + 0.01 * np.random.default_rng(0).normal(
    size=(24, 4)
)
CLASSES = np.repeat(np.arange(4), 6)


def test_records_tables_and_documents_have_the_interval(cli):
    np.savez(cli.folder / "e.npz", embeddings=SEPARATE, labels=CLASSES)
    result = cli("quality", "e.npz", "--k", 1, "--json", "-o", "out")
    found = {r["metric"]: r for r in json.loads(result.stdout)["results"]}
    record = found["knn_accuracy"]
    assert (record["value"], record["std_error"]) == (1.0, 0.0)
    assert record["interval"] == pytest.approx(share_interval(1.0, 24), abs=1e-12)
    assert found["mean_cosine"]["interval"] is None
    for metric in ("probe_accuracy", "ncc_accuracy", "near_duplicate_share", "antihub_share"):
        assert found[metric]["interval"] is not None, metric
    rows = (cli.folder / "out/tables/quality.csv").read_text().splitlines()
    assert "interval_low,interval_high" in rows[0]
    shown = cli("quality", "e.npz", "--k", 1, "--no-files").stdout
    assert "1 (0.86 to 1)" in " ".join(shown.split())


def test_a_perfect_score_passes_no_gate_by_itself(cli):
    np.savez(cli.folder / "e.npz", embeddings=SEPARATE, labels=CLASSES)
    rules = '[[rule]]\nmetric = "knn_accuracy"\nparams = { k = 1 }\nmin = 0.97\n'
    (cli.folder / "r.toml").write_text(rules)
    result = cli("check", "e.npz", "--rules", "r.toml", "--save-baseline", "b.json", "--json")
    assert result.returncode == 0
    (check,) = json.loads(result.stdout)["tables"]["checks"]
    assert check["verdict"] == "inconclusive"
    assert check["low"] == pytest.approx(0.8575, abs=1e-3)
    (cli.folder / "r.toml").write_text(rules.replace("min = 0.97", "max_drop = 0.01"))
    result = cli("check", "e.npz", "--rules", "r.toml", "--baseline", "b.json", "--json")
    (check,) = json.loads(result.stdout)["tables"]["checks"]
    assert check["verdict"] == "inconclusive", "the baseline keeps how many rows count"


def test_error_bars_of_figures_stay_within_0_and_1():
    from cl_analyze.figures.marks import bar

    below, above = bar(share(np.ones(20)))
    assert below == pytest.approx(0.168, abs=1e-3)
    assert above == 0.0


def test_alignment_by_class_has_the_power_that_was_asked_for(random):
    views = random.standard_normal((40, 2, 5))
    labels = np.arange(40) % 4
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    distances = np.linalg.norm(unit[:, 0] - unit[:, 1], axis=1)
    for power in (1.0, 2.0, 3.5):
        report = cla.analyze(views, labels, metrics="quality", alignment_power=power, ks=[1])
        rows = report.tables["quality_by_class"].rows
        for row in rows:
            own = distances[labels == int(row["class"])]
            assert row["alignment"] == pytest.approx((own**power).mean(), rel=1e-9)


@pytest.mark.parametrize("shift", [0, 1])
def test_a_probe_is_the_same_in_rotated_space_and_with_other_class_names(random, shift):
    n, dim = 120, 12
    labels = random.integers(0, 4, n)
    rows = (
        random.standard_normal((n, dim)) * np.linspace(0.5, 2, dim) + 1.2 * np.eye(4, dim)[labels]
    )
    rows = rows + shift

    def probe(z, y):
        found = cla.quality(z, y, ks=[1])
        return [
            found.find(metric, form).value
            for metric in ("probe_accuracy", "probe_calibration_error", "nc4_disagreement")
            for form in ("raw", "normalised")
        ]

    expected = probe(rows, labels)
    names = np.array(["d", "a", "c", "b"])
    assert probe(rows, names[labels]) == pytest.approx(expected, abs=1e-9)
    rotation = np.linalg.qr(random.standard_normal((dim, dim)))[0]
    rotated = probe(rows @ rotation, labels)
    assert rotated == pytest.approx(expected, abs=1e-4)
