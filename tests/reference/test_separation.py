"""Separation of positives and negatives, false negatives by rank, suspects: against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze import ConfigError, RunOptions
from tests.conftest import with_fewer_rows
from tests.reference import naive, naive_separation

FLOAT64 = RunOptions(precision="float64", threads=1)
FPRS = (0.02, 0.1, 0.3)
N = 36


@pytest.fixture
def views(random):
    """(N, 3, D) views in three classes, two rows unlabelled, two rows equal."""
    labels = np.arange(N) % 3
    base = random.standard_normal((N, 6)) + 1.5 * np.eye(3, 6)[labels]
    stack = base[:, None] + 0.7 * random.standard_normal((N, 3, 6))
    stack[5] = stack[11]
    return stack, ["" if i in (3, 20) else f"class {c}" for i, c in enumerate(labels)]


def measure(rows, labels=None, **options):
    options = {"fprs": FPRS, "top_k": 4, "run": FLOAT64, "metrics": "similarity", **options}
    given_labels = None if labels is None else np.array(labels)
    return cla.analyze(rows, given_labels, **options)


def off_diagonal(s):
    return [[s[i][j] for j in range(len(s)) if j != i] for i in range(len(s))]


def check(report, expected, close=1e-12):
    found = report.records
    assert found.find("auroc", "per_anchor").value == pytest.approx(
        expected["per_anchor"], abs=close
    )
    d_prime = found.find("d_prime")
    assert d_prime.value == pytest.approx(expected["d_prime"], abs=max(close, 1e-9))
    violations = found.find("violation_share")
    assert violations.value == pytest.approx(expected["violation_share"], abs=close)
    pooled = found.find("auroc", "pooled")
    assert abs(pooled.value - expected["pooled"]) <= pooled.sampling_error + 1e-9
    assert not pooled.exact
    equal = found.find("equal_error_rate")
    step = 2.0 / min(N, 30)  # between two steps the naive curve and the bins interpolate apart
    assert abs(equal.value - expected["equal_error_rate"]) <= equal.sampling_error + step
    for fpr, value in expected["tpr"].items():
        record = found.find("tpr_at_fpr", fpr=fpr)
        assert abs(record.value - value) <= 2 * record.sampling_error + 1e-9, fpr


def test_golden_values():
    """SPEC 9: 60 rows of rng(7), negatives within view 1."""
    random = np.random.default_rng(7)

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    p = unit(random.standard_normal((60, 8)) + 1.5 * np.eye(8)[np.arange(60) % 3])
    q = unit(p + 0.5 * random.standard_normal((60, 8)))
    found = measure(np.stack([p, q], axis=1)).records
    assert found.find("auroc", "per_anchor").value == pytest.approx(0.891807909605, abs=1e-12)
    assert found.find("d_prime").value == pytest.approx(1.817489560579, abs=1e-9)
    assert found.find("violation_share").value == pytest.approx(0.816666666667, abs=1e-12)
    pooled = found.find("auroc", "pooled")
    assert abs(pooled.value - 0.898822975518) <= pooled.sampling_error
    equal = found.find("equal_error_rate")
    assert abs(equal.value - 0.183333333333) <= equal.sampling_error
    assert found.find("tpr_at_fpr", fpr=0.1).value == pytest.approx(0.7, abs=1e-12)


def test_views(views):
    stack, labels = views
    unit = stack / np.linalg.norm(stack, axis=2, keepdims=True)
    positives = [
        [float(unit[i, a] @ unit[i, b]) for a, b in ((0, 1), (0, 2), (1, 2))] for i in range(N)
    ]
    negatives = off_diagonal(naive.cosines(stack[:, 0]))
    check(measure(stack, labels), naive_separation.separation(positives, negatives, FPRS))


def test_partners_in_a_second_file(views):
    u, v = views[0][:, 0], views[0][:, 1]
    s = naive.cosines(u, v)
    positives = [[s[i][i]] for i in range(N)]
    report = measure(u, pairs=v)
    check(report, naive_separation.separation(positives, off_diagonal(s), FPRS))


def test_class_negatives(views):
    stack, labels = views
    s = naive.cosines(stack[:, 0])
    unit = stack / np.linalg.norm(stack, axis=2, keepdims=True)
    positives = [[float(unit[i, 0] @ unit[i, 1])] for i in range(N)]
    negatives = [
        [s[i][j] for j in range(N) if labels[i] and labels[j] and labels[i] != labels[j]]
        for i in range(N)
    ]
    expected = naive_separation.separation(positives, negatives, FPRS)
    report = measure(stack[:, :2], labels, negatives="class")
    assert report.records.find("auroc", "per_anchor").value == pytest.approx(
        expected["per_anchor"], abs=1e-12
    )
    assert report.records.find("auroc", "per_anchor").params == {"negatives": "class"}
    assert report.records.find("d_prime").value == pytest.approx(expected["d_prime"], abs=1e-9)


def test_same_class_positives_against_other_classes(views):
    stack, labels = views
    s = naive.cosines(stack[:, 0])

    def of(i, same):
        return [
            s[i][j]
            for j in range(N)
            if j != i and labels[i] and labels[j] and (labels[i] == labels[j]) is same
        ]

    positives, negatives = ([of(i, same) for i in range(N)] for same in (True, False))
    expected = naive_separation.separation(positives, negatives, FPRS)
    found = measure(stack[:, 0], labels).records
    for metric, definition, key in (
        ("auroc", "per_anchor", "per_anchor"),
        ("violation_share", None, "violation_share"),
    ):
        assert found.find(metric, definition).value == pytest.approx(expected[key], abs=1e-12)
    # pooled over pairs, not over anchors: classes are of one size but for the unlabelled
    every = np.concatenate(positives)
    noise = np.concatenate(negatives)
    pooled = found.find("auroc", "pooled")
    value = np.mean([np.mean(noise < p) + 0.5 * np.mean(noise == p) for p in every])
    assert abs(pooled.value - value) <= pooled.sampling_error + 1e-9
    d = (every.mean() - noise.mean()) / math.sqrt((every.var() + noise.var()) / 2)
    assert found.find("d_prime").value == pytest.approx(d, abs=1e-9)


def test_tables_of_thresholds(views):
    report = measure(views[0][:, :2])
    rows = report.tables["threshold"].rows
    assert len(rows) == 200
    assert rows[0]["true_positive_rate"] == rows[0]["false_positive_rate"] == 1.0
    assert rows[-1]["true_positive_rate"] == rows[-1]["false_positive_rate"] == 0.0
    unit = views[0] / np.linalg.norm(views[0], axis=2, keepdims=True)
    positives = np.einsum("ij,ij->i", unit[:, 0], unit[:, 1])
    negatives = np.concatenate(off_diagonal(naive.cosines(views[0][:, 0])))
    for row in rows[::20]:
        assert row["true_positive_rate"] == pytest.approx(
            np.mean(positives >= row["threshold"]), abs=0.03
        )
        assert row["false_positive_rate"] == pytest.approx(
            np.mean(negatives >= row["threshold"]), abs=2e-3
        )
    points = report.tables["operating_points"].rows
    assert [row["fpr"] for row in points] == [None, *FPRS]
    for row in points[1:]:
        assert row["false_positive_rate"] <= row["fpr"]
        record = report.records.find("tpr_at_fpr", fpr=row["fpr"])
        assert record.value == row["true_positive_rate"]


def test_what_has_no_positives_says_so(random):
    rows = random.standard_normal((20, 4))
    found = measure(rows).records
    for metric in (
        "auroc",
        "equal_error_rate",
        "tpr_at_fpr",
        "d_prime",
        "violation_share",
        "suspect_share",
    ):
        assert found.find(metric).reason == "no positives: neither views, pairs nor labels"
    alone = measure(rows, [str(i) for i in range(20)]).records
    assert alone.find("auroc").reason == "no anchor has both a positive and a negative"
    assert (
        alone.find("suspect_share").reason == "no anchor has both a negative and a positive above 0"
    )
    with pytest.raises(ConfigError, match="under 1"):
        cla.similarity(rows, fprs=[0.1, 1.5])


# ---- false negatives by rank, and suspects


def test_the_class_of_each_negative_by_rank(views):
    stack, labels = views
    s = naive.cosines(stack[:, 0])
    report = measure(stack[:, 0], labels)
    for rank in (1, 2, 3, 4):
        near = naive.nearest(s, rank)
        same = [labels[i] == labels[j] for i, (_, j) in enumerate(near) if labels[i] and labels[j]]
        record = report.records.find("same_class_share", group=f"negative_{rank}")
        assert record.value == pytest.approx(np.mean(same), abs=1e-12)
        assert record.n == len(same)
    counts = np.array([labels.count(f"class {c}") for c in range(3)])
    chance = (counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1))
    rows = [
        r for r in report.tables["similarity_reference"].rows if r["quantity"] == "same_class_share"
    ]
    assert [r["value"] for r in rows] == [pytest.approx(chance)] * 4


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_suspects_against_loops(views, across, precision):
    stack, labels = views
    unit = stack / np.linalg.norm(stack, axis=2, keepdims=True)
    u, v = stack[:, 0], stack[:, 1]
    s = naive.cosines(u, v if across else None)
    least = [float(unit[i, 0] @ unit[i, 1]) for i in range(N)]
    others = [[j for j in range(N) if j != i] for i in range(N)]
    negatives = [[s[i][j] for j in others[i]] for i in range(N)]
    options = {"suspects": 30, "suspect_margin": 0.7, "run": RunOptions(precision=precision)}
    report = (
        measure(u, labels, pairs=v, **options)
        if across
        else measure(stack[:, :2], labels, **options)
    )
    for margin in (0.7, 0.8, 0.9, 1.0):
        share, pairs = naive_separation.suspects(least, negatives, margin)
        record = report.records.find("suspect_share", margin=margin)
        assert record.value == pytest.approx(share, abs=1e-12)
        known = [(i, others[i][at]) for i, at in pairs if labels[i] and labels[others[i][at]]]
        same = [labels[i] == labels[j] for i, j in known]
        precision_record = report.records.find("suspect_precision", margin=margin)
        assert precision_record.value == pytest.approx(np.mean(same), abs=1e-9)
    rows = report.tables["suspects"].rows
    ratios = [(s[i][j] / least[i], i, j) for i in range(N) for j in others[i] if least[i] > 0]
    # at most top_k of one anchor
    nearest = {i: sorted(others[i], key=lambda j, i=i: -s[i][j])[:4] for i in range(N)}
    listed = [r for r in ratios if r[0] > 0.7 and r[2] in nearest[r[1]]]
    listed = sorted(listed, key=lambda r: -s[r[1]][r[2]])[:30]
    assert [row["similarity"] for row in rows] == pytest.approx(
        [s[i][j] for _, i, j in listed], abs=1e-9
    )
    assert all(row["relative_margin"] > 0.7 for row in rows)
    for row in rows:
        i, j = row["row"], row["other_row"]
        assert row["similarity"] == pytest.approx(s[i][j], abs=1e-9)
        assert row["positive_similarity"] == pytest.approx(least[i], abs=1e-9)
        assert row["relative_margin"] == pytest.approx(s[i][j] / least[i], abs=1e-9)
        expected = None if not (labels[i] and labels[j]) else labels[i] == labels[j]
        assert row["same_class"] is expected
    none = measure(stack[:, :2], labels, suspects=0)
    assert "suspects" not in none.tables


@pytest.mark.parametrize("tau", [0.001, 0.05, 0.5])
def test_the_penalty_on_suspects(views, tau):
    stack, _ = views
    unit = stack / np.linalg.norm(stack, axis=2, keepdims=True)
    s = naive.cosines(stack[:, 0])

    def mean(kept, value=True):
        shares = []
        for i in kept:
            least = float(unit[i, 0] @ unit[i, 1])
            if least <= 0:
                continue
            others = [j for j in kept if j != i]
            mass = naive.log_sum_exp([s[i][j] / tau for j in others])
            shares.append(
                math.fsum(math.exp(s[i][j] / tau - mass) for j in others if s[i][j] > 0.9 * least)
            )
        return float(np.mean(shares))

    report = cla.analyze(
        stack[:, :2], taus=[tau], suspect_margin=0.9, metrics="penalty", run=FLOAT64
    )
    record = report.records.find("penalty_suspect_share", tau=tau, margin=0.9)
    assert record.value == pytest.approx(mean(range(N)), abs=1e-9)
    if tau == 0.5:  # the error of both roles: against deletions
        error = naive.jackknife_error(lambda kept: mean(kept), N)
        assert record.std_error == pytest.approx(error, rel=0.1)


def test_rows_of_suspects_are_those_of_the_file(views, tmp_path):
    stack, labels = views
    bad = stack[:, :2].copy()
    bad[2] = np.nan
    np.savez(
        tmp_path / "emb.npz",
        embeddings=bad[:, 0],
        view1=bad[:, 0],
        view2=bad[:, 1],
        ids=np.array([f"image {i}" for i in range(N)]),
        labels=np.array(labels),
    )
    drop = RunOptions(on_invalid="drop", precision="float64")
    report = cla.analyze(
        str(tmp_path / "emb.npz"), metrics="similarity", suspect_margin=0.5, run=drop
    )
    rows = report.tables["suspects"].rows
    assert rows
    for row in rows:
        assert 2 not in (row["row"], row["other_row"])
        assert row["row_id"] == f"image {row['row']}"
        assert row["other_id"] == f"image {row['other_row']}"


# ---- properties


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["views", "pairs", "labels"]))
def test_order_scale_and_rotation_change_nothing(seed, kind):
    random = np.random.default_rng(seed)
    n = int(random.integers(6, 25))
    stack = random.standard_normal((n, 2, 5)) + random.standard_normal((n, 1, 5))
    stack[1] = stack[0]
    labels = random.integers(0, 3, n)

    def values(rows, own_labels):
        options = {"labels": own_labels, "metrics": "similarity", "top_k": 2, "run": FLOAT64}
        if kind == "views":
            report = cla.analyze(rows, **options)
        elif kind == "pairs":
            report = cla.analyze(rows[:, 0], pairs=rows[:, 1], **options)
        else:
            report = cla.analyze(rows[:, 0], **options)
        return {
            (r.metric, r.definition, str(r.params)): r.value
            for r in report.records
            if r.exact and not r.metric.startswith("same_class")  # ties go by the row's number
        }

    plain = values(stack, labels)
    order = random.permutation(n)
    turn = np.linalg.qr(random.standard_normal((5, 5)))[0]
    moved = (stack[order] @ turn) * random.uniform(0.1, 9.0, (n, 1, 1))
    found = values(moved, labels[order])
    assert found.keys() == plain.keys()
    for key, value in plain.items():
        if value is None:
            assert found[key] is None, key
        else:
            assert found[key] == pytest.approx(value, rel=1e-7, abs=1e-7), key


@pytest.mark.parametrize("kind", ["views", "pairs", "labels"])
def test_many_rows_take_their_errors_from_two_halves(kind, random, monkeypatch):
    labels = random.integers(0, 4, 500)
    base = random.standard_normal((500, 8)) + 1.5 * np.eye(4, 8)[labels]
    stack = base[:, None] + 0.7 * random.standard_normal((500, 2, 8))

    def records():
        options = {"labels": labels, "metrics": ("similarity", "penalty"), "taus": [0.2]}
        if kind == "views":
            return cla.analyze(stack, **options).records
        if kind == "pairs":
            return cla.analyze(stack[:, 0], pairs=stack[:, 1], **options).records
        return cla.analyze(stack[:, 0], **options).records

    exact = records()
    with_fewer_rows(monkeypatch, exact_deletions=100, sampled_anchors=200)
    halves = records()
    names = (
        "auroc",
        "equal_error_rate",
        "tpr_at_fpr",
        "d_prime",
        "violation",
        "suspect",
        "penalty_suspect",
    )
    compared = 0
    for one, other in zip(exact, halves, strict=True):
        if one.value is None or not one.metric.startswith(names) or not one.std_error:
            continue
        slack = 1e-9 if kind != "labels" else 5 * ((other.sampling_error or 0.0) + one.std_error)
        assert other.value == pytest.approx(one.value, abs=slack), one.full_name
        assert 0.4 < other.std_error / one.std_error < 2.5, one.full_name
        compared += 1
    assert compared > 5
