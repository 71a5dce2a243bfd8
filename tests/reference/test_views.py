"""Three or more views of a row, and losses on one view, against loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze import DataError, RunOptions
from tests.reference import naive, naive_quality

FLOAT64 = RunOptions(precision="float64", threads=1)
PAIRS = list(itertools.combinations(range(4), 2))


@pytest.fixture
def stack(random):
    """(N, 4, D) views of rows in three classes."""
    centres = 1.5 * np.eye(3, 6)[np.arange(40) % 3] + random.standard_normal((40, 6))
    return centres[:, None] + 0.6 * random.standard_normal((40, 4, 6))


@pytest.fixture
def labels():
    return np.arange(40) % 3


def cosines_of_pairs(stack):
    """(N, pairs of views) cosines, by loops."""
    s = [[naive.cosines(stack[:, a], stack[:, b])[i][i] for a, b in PAIRS] for i in range(40)]
    return np.array(s)


def test_a_row_has_one_vote_whatever_its_number_of_views(stack):
    found = cla.similarity(stack, top_k=2, run=FLOAT64)
    pairs = cosines_of_pairs(stack)
    record = found.find("similarity_mean", "view_pairs", group="positive")
    assert record.value == pytest.approx(pairs.mean(), abs=1e-12)
    assert record.n == 40
    # rows are the sample: the error is that of the rows' means, not of 240 pairs
    error = pairs.mean(axis=1).std(ddof=1) / math.sqrt(40)
    assert record.std_error == pytest.approx(error, rel=1e-9)
    std = found.find("similarity_std", "view_pairs", group="positive")
    assert std.value == pytest.approx(pairs.std(), abs=1e-12)
    quantile = found.find("similarity_quantile", "view_pairs", group="positive", q=0.25)
    assert quantile.value == pytest.approx(np.quantile(pairs, 0.25), abs=1e-12)


def test_alignment_retrieval_and_gap_are_means_over_pairs_of_views(stack):
    found = cla.quality(stack, ks=[1, 3], run=FLOAT64)
    unit = stack / np.linalg.norm(stack, axis=2, keepdims=True)
    squares = np.mean([np.square(unit[:, a] - unit[:, b]).sum(axis=1) for a, b in PAIRS], axis=0)
    alignment = found.find("alignment")
    assert alignment.value == pytest.approx(squares.mean(), rel=1e-12)
    assert alignment.std_error == pytest.approx(squares.std(ddof=1) / math.sqrt(40), rel=1e-9)
    for direction, order in (("forward", 1), ("backward", -1)):
        sides = [(stack[:, a], stack[:, b])[::order] for a, b in PAIRS]
        for k in (1, 3):
            recall = found.find("recall_at_k", k=k, direction=direction)
            expected = np.mean([naive_quality.recall(u, v, k) for u, v in sides])
            assert recall.value == pytest.approx(expected, abs=1e-12)
        ranks = [naive_quality.partner_ranks(u, v) for u, v in sides]
        median = found.find("median_rank", direction=direction)
        assert median.value == pytest.approx(np.median([1 + r[0] for one in ranks for r in one]))
    gaps = [np.linalg.norm(unit[:, a].mean(0) - unit[:, b].mean(0)) for a, b in PAIRS]
    assert found.find("modality_gap").value == pytest.approx(np.mean(gaps), rel=1e-12)
    relative = [naive_quality.relative_gap(stack[:, a], stack[:, b]) for a, b in PAIRS]
    record = found.find("modality_gap_relative")
    assert record.value == pytest.approx(np.mean(relative), rel=1e-12)
    less = [cla.quality(np.delete(stack, i, axis=0), ks=[1], run=FLOAT64) for i in (0, 7)]
    for i, one in zip((0, 7), less, strict=True):
        pseudo = 40 * record.value - 39 * one.find("modality_gap_relative").value
        assert record.pseudo_values[i] == pytest.approx(pseudo, abs=1e-9)


def test_the_relative_gap_at_its_ends(random):
    i = np.arange(6.0)
    u = np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i]
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = u + 0.3 * np.c_[np.sin(i), np.cos(i), np.sin(2 * i), np.cos(2 * i)]

    def gap(first, second):
        return cla.quality(first, pairs=second, ks=[1], run=FLOAT64).find("modality_gap_relative")

    assert gap(u, v).value == pytest.approx(0.063019334956, abs=1e-11)
    assert gap(u, u).value == 0.0
    # unrelated rows are as far from their partner as from any row of their own view
    x, y = random.standard_normal((2, 3000, 8))
    assert gap(x, y).value == pytest.approx(0.5, abs=0.01)
    one, other = np.eye(2, 5)
    assert gap(np.tile(one, (6, 1)), np.tile(other, (6, 1))).value == 1.0
    alike = gap(np.tile(one, (6, 1)), np.tile(one, (6, 1)))
    assert alike.reason == "rows do not differ by more than rounding"
    # the digits of cosines that crowd at 1
    near = one + 1e-9 * random.standard_normal((40, 2, 5))
    dp = np.mean(np.square(near[:, 0] - near[:, 1])[:, 1:].sum(axis=1)) / 4
    spread = [2 * near[:, k, 1:].var(axis=0, ddof=1).sum() / 4 for k in (0, 1)]
    assert gap(near[:, 0], near[:, 1]).value == pytest.approx(dp / (dp + np.mean(spread)), rel=1e-5)


def test_losses_are_means_over_pairs_of_views_with_errors_by_rows(stack, labels):
    options = {"taus": [0.1, 0.5], "batch_sizes": [8], "run": FLOAT64}
    whole = cla.analyze(stack[:, :3], labels, metrics="losses", **options)
    of_pairs = [
        cla.analyze(stack[:, [a, b]], labels, metrics="losses", **options)
        for a, b in itertools.combinations(range(3), 2)
    ]
    assert len(whole.records) == len(of_pairs[0].records)
    for record in whole.records:
        own = [
            one.records.find(record.metric, record.definition, **record.params) for one in of_pairs
        ]
        if any(one.value is None for one in own):
            assert record.value is None
            continue
        assert record.value == pytest.approx(np.mean([one.value for one in own]), rel=1e-12)
        if record.pseudo_values is not None and record.std_error:
            most = np.mean([one.std_error for one in own])
            assert 0.3 * most < record.std_error <= most * (1 + 1e-9), record.full_name
    table = whole.tables["loss_gradient"]
    shares: dict = {}
    for row in table.rows:
        key = row["name"], row["definition"], row["tau"]
        shares[key] = shares.get(key, 0.0) + row["gradient_share"]
    assert all(total == pytest.approx(1.0, abs=1e-5) for total in shares.values())
    similarities = [r["similarity"] for r in table.rows if r["name"] == "simple"]
    assert similarities == sorted(similarities)
    limits = [one.tables["loss_limits"].rows[0] for one in (whole, *of_pairs)]
    assert limits[0]["small_tau"] == pytest.approx(np.mean([r["small_tau"] for r in limits[1:]]))


def test_the_error_of_a_loss_of_three_views_is_that_of_the_rows_means(random):
    """Three independent views: the error falls; three equal ones: it stays."""
    base = random.standard_normal((300, 8))
    stack = base[:, None] + 0.5 * random.standard_normal((300, 3, 8))
    two = cla.analyze(stack[:, :2], taus=[0.5], metrics="losses").records
    three = cla.analyze(stack, taus=[0.5], metrics="losses").records
    equal = cla.analyze(
        np.stack([stack[:, 0], stack[:, 1], stack[:, 1]], 1), taus=[0.5], metrics="losses"
    ).records
    name = {"name": "contrastive", "tau": 0.5}
    errors = [one.find("loss", "one_way", **name).std_error for one in (two, three, equal)]
    assert errors[1] < 0.95 * errors[0]
    values = [
        one.find("loss", "one_way", **name).value - one.find("loss", "one_way", **name).value
        for one in (two, equal)
    ]
    assert values == [0.0, 0.0]


def test_two_of_the_views_can_be_chosen(stack, labels, tmp_path):
    one = cla.analyze(stack, labels, views=[1, 3], taus=[0.2], metrics="all", run=FLOAT64)
    two = cla.analyze(stack[:, [1, 3]], labels, taus=[0.2], metrics="all", run=FLOAT64)
    assert [r.to_dict() for r in one.records] == [r.to_dict() for r in two.records]
    path = tmp_path / "views.npz"
    np.savez(path, embeddings=stack[:, 0], **{f"view{v + 1}": stack[:, v] for v in range(4)})
    three = cla.analyze(str(path), views=[1, 3], taus=[0.2], metrics="losses", run=FLOAT64)
    loss = [r.to_dict() for r in two.records if r.metric == "loss" and r.params["name"] == "dcl"]
    own = [r.to_dict() for r in three.records if r.metric == "loss" and r.params["name"] == "dcl"]
    assert [r["value"] for r in own] == [r["value"] for r in loss]
    every = cla.analyze(str(path), taus=[0.2], metrics="similarity", run=FLOAT64)
    record = every.records.find("similarity_mean", "view_pairs", group="positive")
    assert record.value == pytest.approx(cosines_of_pairs(stack).mean(), abs=1e-12)
    assert every.document.positives["views.npz"] == "every two of 4 views of the same row"


def test_wrong_numbers_of_views_are_told(stack, tmp_path):
    for views, text in (
        ([0, 4], "it has 4 views, numbered 0 to 3"),
        ([2], "takes two or more different views, found view 2 alone"),
        ([-1, 0], "whole number of at least 0"),
    ):
        with pytest.raises((DataError, cla.ConfigError), match=text):
            cla.similarity(stack, views=views)
    with pytest.raises(DataError, match="needs an array of shape"):
        cla.similarity(stack[:, 0], views=[0, 1])
    with pytest.raises(cla.ConfigError, match="one of the two"):
        cla.similarity(stack, pairs=stack[:, 1], views=[0, 1])
    np.save(tmp_path / "flat.npy", stack[:, 0])
    with pytest.raises(DataError, match="--views 0 1 needs views"):
        cla.similarity(str(tmp_path / "flat.npy"), views=[0, 1])


# ---- one view


def naive_supcon(rows, labels, tau, definition):
    """Khosla et al. on one view; anchors without a positive are left out."""
    s = naive.cosines(rows)
    values = []
    for i, own in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i and labels[j] is not None]
        positives = [j for j in others if labels[j] == own]
        if own is None or not positives:
            continue
        total = naive.log_sum_exp([s[i][j] / tau for j in others])
        if definition == "out":
            pull = math.fsum(s[i][j] for j in positives) / len(positives) / tau
        else:
            pull = naive.log_sum_exp([s[i][j] / tau for j in positives]) - math.log(len(positives))
        values.append(total - pull)
    return math.fsum(values) / len(values)


@pytest.mark.parametrize("definition", ["out", "in"])
def test_supcon_works_on_one_view(definition, random):
    rows = random.standard_normal((41, 5)) + 2.0 * np.eye(4, 5)[np.arange(41) % 4]
    labels = ["abcd"[i % 4] for i in range(38)] + ["alone", None, None]
    given = np.array(["" if label is None else label for label in labels])
    found = cla.losses(rows, labels=given, taus=[0.07, 0.5], run=FLOAT64)
    for tau in (0.07, 0.5):
        record = found.find("loss", definition, name="supcon", tau=tau)
        expected = naive_supcon(rows, labels, tau, definition)
        assert record.value == pytest.approx(expected, rel=1e-9)
        assert record.n == 38
        assert record.params == {"name": "supcon", "tau": tau, "views": 1}
        # the error against deletions, up to their centring
        left = [
            naive_supcon(np.delete(rows, j, 0), labels[:j] + labels[j + 1 :], tau, definition)
            for j in range(41)
        ]
        deleted = 41 * record.value - 40 * np.array(left)
        known = np.isfinite(record.pseudo_values)
        assert known.sum() == 38
        together = np.corrcoef(deleted[known], record.pseudo_values[known])[0, 1]
        assert together > (0.98 if tau == 0.5 else 0.93)  # a deletion is no small step there
        assert record.std_error == pytest.approx(deleted.std(ddof=1) / math.sqrt(41), rel=0.2)
    parts = [
        found.find(m, definition, name="supcon", tau=0.5).value
        for m in ("loss_alignment", "loss_uniformity")
    ]
    assert sum(parts) == pytest.approx(found.find("loss", definition, name="supcon", tau=0.5).value)


def test_icl_and_clop_of_one_view_are_those_of_two_equal_views(random):
    rows, labels = random.standard_normal((60, 8)), np.arange(60) % 5
    one = cla.losses(rows, labels=labels, run=FLOAT64)
    two = cla.losses(rows, rows.copy(), labels=labels, run=FLOAT64)
    for name in ("icl_mmd", "clop"):
        a, b = one.find("loss", name=name), two.find("loss", name=name)
        assert a.value == pytest.approx(b.value, rel=1e-12)
        assert a.std_error == pytest.approx(b.std_error, rel=1e-9)
    names = {record.params["name"] for record in one}
    assert names == {"supcon", "icl_mmd", "clop"}


def test_losses_of_one_view_need_labels(random):
    rows = random.standard_normal((20, 4))
    with pytest.raises(DataError, match="with --labels FILE alone there are supcon"):
        cla.losses(rows)
    found = cla.losses(rows, labels=np.arange(20), run=FLOAT64)
    assert found.find("loss", "out", name="supcon", tau=0.5).reason == "no class has two members"
    estimated = cla.losses(
        rows[np.arange(400) % 20] + 0.1 * random.standard_normal((400, 4)),
        labels=np.arange(400) % 4,
        anchors=100,
        taus=[0.5],
    )
    record = estimated.find("loss", "out", name="supcon", tau=0.5)
    assert not record.exact
    assert record.sampling_error > 0
