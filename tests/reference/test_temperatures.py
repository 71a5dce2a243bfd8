"""Temperatures to start from, against bisection, closed forms and deletions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze.analysis import run_analysis
from cl_analyze.analysis.run import uniform_penalty
from cl_analyze.metrics.penalty_temperatures import METRICS
from cl_analyze.options import MetricOptions, Request, RunOptions
from tests.conftest import SAMPLES
from tests.reference import naive
from tests.reference.cases import as_array, cases

FLOAT64 = RunOptions(precision="float64", threads=1)
SHARES = (0.01, 0.1, 0.5)
NAMES = [metric.name for metric in METRICS]
CASES = cases()


def temperatures(records):
    """Records by level: a share of all negatives, or "top10"."""
    found = {r.params.get("share", "top10"): r for r in records if r.metric in NAMES}
    assert list(found) == [*SHARES, "top10"]
    return found


def clusters(n, seed=0, d=6):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    return random.standard_normal((n, d)) + 1.5 * np.eye(3, d)[labels], labels


def at(level):
    """Level, and whether it is that of the ten nearest."""
    return (0.5, True) if level == "top10" else (level, False)


def check(found, s, allowed=None):
    for level, record in found.items():
        expected = naive.temperature(s, *at(level), allowed)
        if record.value is None:
            assert record.reason
            assert expected is None, level
        else:
            assert record.value == pytest.approx(expected, rel=1e-4), level


# ---- values


@pytest.mark.parametrize("name", CASES)
def test_every_level_is_where_bisection_finds_it(name):
    rows, labels = CASES[name]
    found = temperatures(cla.penalty(rows, as_array(labels), taus=[0.3], run=FLOAT64))
    check(found, naive.cosines(rows))


def test_more_rows_than_the_first_passes_have_anchors():
    rows, _ = clusters(280)
    found = temperatures(cla.penalty(rows, taus=[0.3], run=FLOAT64))
    s = naive.cosines(rows)
    for level in (0.01, "top10"):
        near = (found[level].value * factor for factor in (0.999, 1.001))
        expected = naive.temperature(s, *at(level), None, *near)
        assert found[level].value == pytest.approx(expected, rel=1e-5)


def test_class_negatives_are_rows_of_other_classes():
    rows, labels = CASES["some unlabelled"]
    allowed = [[a is not None and b is not None and a != b for b in labels] for a in labels]
    records = cla.penalty(rows, as_array(labels), taus=[0.3], negatives="class", run=FLOAT64)
    found = temperatures(records)
    assert all(record.params["negatives"] == "class" for record in found.values())
    assert found[0.1].n == sum(label is not None for label in labels)
    check(found, naive.cosines(rows), allowed)


def test_queries_over_items(random):
    """The negatives of a query are the items that are not relevant for it."""
    queries, items = random.standard_normal((24, 6)), random.standard_normal((37, 6))
    relevant = [(i, (3 * i + j) % 37) for i in range(24) for j in range(1 + i % 3)]
    records = cla.penalty(queries, pairs=items, relevant=relevant, taus=[0.3], run=FLOAT64)
    found = temperatures(records)
    s = naive.cosines(queries, items)
    negatives = [[j for j in range(37) if (i, j) not in relevant] for i in range(24)]

    def shares(tau, kept=range(24)):
        effective, top10 = [], []
        for i in kept:
            mass = naive.log_sum_exp(s[i][j] / tau for j in negatives[i])
            r = [math.exp(s[i][j] / tau - mass) for j in negatives[i]]
            effective.append(math.exp(-math.fsum(x * math.log(x) for x in r if x > 0)))
            top10.append(math.fsum(sorted(r)[-10:]))
        return sum(effective) / sum(len(negatives[i]) for i in kept), float(np.mean(top10))

    for level, record in found.items():
        if level == 0.01:
            assert record.reason == "1% of 35 negatives are no more than one negative"
            continue
        value, is_top10 = at(level)
        assert record.n == 24
        assert shares(record.value)[is_top10] == pytest.approx(value, rel=1e-4)
        # errors of the queries alone: one is deleted, and the items stay
        step = 1e-3 * record.value
        low, high = (shares(record.value + shift)[is_top10] for shift in (-step, step))
        slope = (high - low) / (2 * step)
        left = [shares(record.value, [i for i in range(24) if i != q])[is_top10] for q in range(24)]
        expected = np.std(left) * math.sqrt(23) / abs(slope)
        # at a temperature up to 3% from the result
        assert record.std_error == pytest.approx(expected, rel=0.04)


@given(st.integers(0, 10**6), st.integers(25, 60))
@settings(max_examples=8, deadline=None)
def test_levels_come_in_their_order_and_the_statistics_agree(seed, n):
    rows, _ = clusters(n, seed)
    found = temperatures(cla.penalty(rows, taus=[0.3], run=FLOAT64))
    reached = [found[share].value for share in SHARES if found[share].value is not None]
    assert reached == sorted(reached)
    assert len(reached) >= 2
    for level, record in found.items():
        if record.value is None:
            continue
        value, is_top10 = at(level)
        metric = "penalty_top10_share" if is_top10 else "penalty_effective_negatives"
        there = cla.penalty(rows, taus=[record.value], run=FLOAT64).find(metric).value
        assert there == pytest.approx(value * (1 if is_top10 else n - 1), rel=1e-4)


# ---- closed forms


def copies(n_copies, n_groups):
    """Groups of equal rows at right angles: n_copies - 1 negatives at 1, the others at 0."""
    return np.repeat(np.eye(n_groups), n_copies, axis=0)


def test_two_levels_of_similarity_have_a_closed_form():
    """Ten negatives at 1 and b at 0: the ten have a half where exp(1 / tau) = b / 10."""
    found = temperatures(cla.penalty(copies(11, 5), taus=[0.3], run=FLOAT64))
    assert found["top10"].value == pytest.approx(1 / math.log(44 / 10), rel=5e-5)
    a, b = 10, 44
    weight = math.exp(1 / found[0.5].value)
    p = a * weight / (a * weight + b)
    entropy = p * math.log(a / p) + (1 - p) * math.log(b / (1 - p))
    assert math.exp(entropy) == pytest.approx(27, rel=1e-4)
    # ten equal negatives are the least effective number: more than a tenth of 54
    assert found[0.1].reason == "at tau = 0.001 the effective number is still more than 10%"


def test_equal_similarities_have_no_temperature():
    found = temperatures(cla.penalty(np.eye(201), taus=[0.3]))
    for share in SHARES:
        expected = f"at tau = 0.001 the effective number is still more than {share:.0%}"
        assert found[share].reason == expected
    expected = "at tau = 0.001 the share of the ten nearest is still less than a half"
    assert found["top10"].reason == expected


def test_few_negatives_say_why_there_is_no_temperature():
    rows, _ = clusters(20)
    found = temperatures(cla.penalty(rows, taus=[0.3]))
    assert found[0.01].reason == "1% of 19 negatives are no more than one negative"
    expected = "ten of 19 negatives have at least half of the weight at every temperature"
    assert found["top10"].reason == expected
    assert found[0.1].value > 0.0
    nobody = temperatures(cla.penalty(rows, ["a"] * 20, taus=[0.3], negatives="class"))
    assert {record.reason for record in nobody.values()} == {"no row has a negative"}
    enough = temperatures(cla.penalty(clusters(22)[0], taus=[0.3]))
    assert enough["top10"].value > 0.5


def test_even_similarities_reach_the_levels_of_their_draw_and_of_the_law():
    report = uniform_penalty(MetricOptions(taus=[0.3], n_negatives=4095, seed=3), RunOptions())
    found = temperatures(report.records)
    drawn = np.random.default_rng(3).uniform(-1, 1, 4095)
    for level, record in found.items():
        value, is_top10 = at(level)
        r = np.exp(drawn / record.value - naive.log_sum_exp(drawn / record.value))
        entropy = -float((r[r > 0] * np.log(r[r > 0])).sum())
        there = np.sort(r)[-10:].sum() if is_top10 else math.exp(entropy) / 4095
        assert there == pytest.approx(value, rel=1e-4), level
        assert (record.n, record.d, record.exact) == (4095, None, True)
    # for many negatives and small tau, N_eff / K = e tau / 2
    law = 2 * 0.1 / math.e
    assert found[0.1].value == pytest.approx(law, abs=4 * found[0.1].std_error)


def test_errors_of_even_similarities_delete_each_of_them():
    report = uniform_penalty(MetricOptions(taus=[0.3], n_negatives=60, seed=5), RunOptions())
    found = temperatures(report.records)
    drawn = np.sort(np.random.default_rng(5).uniform(-1, 1, 60))

    def solved(level, kept):
        row = drawn[kept]
        low, high = 1e-3, 1e2
        while high > low * (1 + 1e-9):
            tau = math.sqrt(low * high)
            r = np.exp(row / tau - naive.log_sum_exp(row / tau))
            share = math.exp(-float((r[r > 0] * np.log(r[r > 0])).sum())) / len(kept)
            value = 1.0 - r[-10:].sum() if level == "top10" else share
            low, high = (low, tau) if value > (0.5 if level == "top10" else level) else (tau, high)
        return low

    for level in (0.1, 0.5, "top10"):
        expected = naive.jackknife_error(lambda kept, level=level: solved(level, kept), 60)
        assert found[level].std_error == pytest.approx(expected, rel=0.1), level


# ---- errors


@pytest.mark.parametrize("negatives", ["instance", "class"])
def test_errors_delete_each_row_as_anchor_and_as_negative(negatives):
    """The level is reached elsewhere without each row; the delta method is near that."""
    n = 34
    rows, labels = clusters(n, seed=4)
    s = naive.cosines(rows)
    other = labels[:, None] != labels
    records = cla.penalty(rows, labels, taus=[0.3], negatives=negatives, run=FLOAT64)
    found = temperatures(records)
    # ten of the 22 negatives of other classes have nearly a half at any temperature
    for level in (0.1, 0.5, "top10") if negatives == "instance" else (0.1, 0.5):
        near = found[level].value / 1.3, found[level].value * 1.3

        def solved(kept, level=level, near=near):
            part = np.ix_(kept, kept)
            allowed = other[part] if negatives == "class" else None
            return naive.temperature(s[part], *at(level), allowed, *near)

        expected = naive.jackknife_error(solved, n)
        assert found[level].std_error == pytest.approx(expected, rel=0.06), level
        pseudo = found[level].pseudo_values
        assert np.std(pseudo, ddof=1) / math.sqrt(n) == pytest.approx(found[level].std_error)


def test_groups_are_summed_before_they_are_squared():
    rows, _ = clusters(30, seed=1)
    rows = np.repeat(rows, 3, axis=0) + 0.1 * np.random.default_rng(2).standard_normal((90, 6))
    groups = np.arange(90) // 3
    alone, grouped = (
        temperatures(cla.penalty(rows, taus=[0.3], groups=of_rows, run=FLOAT64))
        for of_rows in (None, groups)
    )
    for level in (0.1, 0.5, "top10"):
        pseudo = alone[level].pseudo_values
        sums = np.bincount(groups, pseudo - pseudo.mean())
        expected = math.sqrt(30 / 29 * (sums @ sums)) / 90
        assert grouped[level].value == alone[level].value
        assert grouped[level].std_error == pytest.approx(expected, rel=1e-9)


def test_checkpoints_on_the_same_rows_are_paired():
    rows, _ = clusters(150)
    moved = rows + 0.05 * np.random.default_rng(3).standard_normal(rows.shape)
    one, other = (cla.analyze(z, taus=[0.3], metrics="penalty") for z in (rows, moved))
    table = one.compare(other)
    for name in NAMES:
        changes = table[table["metric"] == name]
        assert len(changes) == (3 if name == NAMES[0] else 1)
        assert changes["paired"].all()
        alone = one.records.find(name, share=0.5) if len(changes) == 3 else one.records.find(name)
        assert changes["std_error"].iloc[-1] < 0.7 * alone.std_error


# ---- samples of anchors


def measured(rows, **options):
    options = MetricOptions(taus=(0.3,), **options)
    report = run_analysis([Request(rows)], ("penalty",), options, RunOptions(), "penalty")
    return temperatures(report.records)


def test_a_sample_of_anchors_is_near_all_rows_and_says_so():
    rows, _ = clusters(700, seed=6)
    exact = measured(rows)
    for options in ({"exact_deletions": 600, "sampled_anchors": 300}, {"anchors": 300}):
        found = measured(rows, **options)
        for level, record in found.items():
            whole = exact[level]
            assert whole.exact
            assert whole.sampling_error is None
            assert not record.exact
            assert record.n == 300
            assert record.pseudo_values is None
            assert abs(record.value - whole.value) < 4 * record.sampling_error
            assert record.std_error == pytest.approx(whole.std_error, rel=0.25)
    # the moments of all rows, which --anchors knows, take away a part of the sampling error
    assert (
        found[0.5].sampling_error
        < 0.9 * measured(rows, exact_deletions=600, sampled_anchors=300)[0.5].sampling_error
    )


def test_samples_scatter_as_their_sampling_error_says():
    rows, _ = clusters(500, seed=7)
    exact = measured(rows)
    seeds = [
        measured(rows, exact_deletions=400, sampled_anchors=100, seed=seed) for seed in range(40)
    ]
    for level in (0.1, 0.5, "top10"):
        scores = [
            (found[level].value - exact[level].value) / found[level].sampling_error
            for found in seeds
        ]
        assert 0.7 < np.std(scores) < 1.4, level
        assert abs(np.mean(scores)) < 0.6, level


# ---- how it is run


def test_neither_blocks_nor_threads_nor_other_temperatures_change_the_result():
    path = str(SAMPLES / "fashion-mnist-tau-0.5.npz")

    def run(taus=(0.3,), **run):
        options = MetricOptions(taus=taus)
        report = run_analysis([Request(path)], ("penalty",), options, RunOptions(**run), "penalty")
        return temperatures(report.records)

    one = run(threads=1)
    assert run(threads=2) == one
    assert run(taus=(0.07, 0.1, 1.0), threads=1) == one
    for level, record in run(block=300).items():
        assert record.value == pytest.approx(one[level].value, rel=1e-6)
        assert record.std_error == pytest.approx(one[level].std_error, rel=1e-4)


def test_collapsed_embeddings_are_solved_below_the_range_of_float32():
    random = np.random.default_rng(8)
    rows = np.ones(16) + 0.15 * random.standard_normal((400, 16))
    exact, found = (
        temperatures(cla.penalty(rows, taus=[0.3], run=RunOptions(precision=precision)))
        for precision in ("float64", "float32")
    )
    assert 0.001 < exact[0.1].value < 1 / 60
    assert found[0.01].reason == exact[0.01].reason
    for level in (0.1, 0.5, "top10"):
        assert found[level].value == pytest.approx(exact[level].value, rel=1e-4)
        assert found[level].std_error == pytest.approx(exact[level].std_error, rel=1e-3)


def test_a_rule_names_a_share(cli):
    np.save(cli.folder / "emb.npy", clusters(80)[0])
    (cli.folder / "r.toml").write_text(
        """
[[rule]]
metric = "temperature_of_effective_share"
params = { share = 0.1 }
min = 0.01
[[rule]]
metric = "temperature_of_top10_half"
max = 0.01
"""
    )
    result = cli("check", "emb.npy", "--rules", "r.toml", "--json")
    assert result.returncode == 1, result.stderr
    verdicts = [row["verdict"] for row in json.loads(result.stdout)["tables"]["checks"]]
    assert verdicts == ["pass", "fail"]


def test_only_a_run_that_wants_them_looks_for_them(monkeypatch):
    rows, _ = clusters(60)

    def refuse(results):
        raise AssertionError

    monkeypatch.setattr("cl_analyze.metrics.penalty_temperatures.locate", refuse)
    options = MetricOptions(taus=(0.3,), only=("penalty_entropy",))
    report = run_analysis([Request(rows)], ("penalty",), options, RunOptions(), "check")
    assert not [record for record in report.records if record.metric in NAMES]
    with pytest.raises(AssertionError):
        cla.penalty(rows, taus=[0.3])
