"""Retrieval: closed forms over ties against enumeration, and against two other codebases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import assume, given
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze import RunOptions
from cl_analyze.pairs.rank_effects import ranking_effects
from cl_analyze.pairs.ranking import Ranking
from tests.conftest import with_fewer_rows
from tests.reference import naive

FLOAT64 = RunOptions(precision="float64", threads=1)


def enumerated(scores, grades, k):
    """Every measure, as its mean over all orders of candidates with equal scores."""
    groups = {}
    for candidate, score in enumerate(scores):
        groups.setdefault(score, []).append(candidate)
    orders = [list(itertools.permutations(groups[s])) for s in sorted(groups, reverse=True)]
    n, n_relevant = len(scores), sum(grade > 0 for grade in grades)
    best = sorted(grades, reverse=True)
    discount = [1 / math.log2(2 + rank) for rank in range(n)]
    ideal = math.fsum(g * d for g, d in zip(best[:k], discount, strict=False))
    values = []
    for order in itertools.product(*orders):
        gains = [grades[candidate] for group in order for candidate in group]
        hits = [gain > 0 for gain in gains]
        first = hits.index(True)
        precision = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(n)]
        values.append(
            [
                sum(hits[:k]) / n_relevant,
                float(any(hits[:k])),
                math.fsum(g * d for g, d in zip(gains[:k], discount, strict=False)) / ideal,
                1 / (first + 1),
                first + 1,
                sum(hits[:n_relevant]) / n_relevant,
                math.fsum(p for p, h in zip(precision[:n_relevant], hits, strict=False) if h)
                / n_relevant,
            ]
        )
    return np.mean(values, axis=0)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 6),
)
def test_measures_are_means_over_the_orders_of_ties(queries, k):
    owner, similarity, above, level, grade, expected = [], [], [], [], [], []
    for query, candidates in enumerate(queries):
        scores = [0.1 * score for score, _ in candidates]
        grades = [g for _, g in candidates]
        if any(grades):
            expected.append(enumerated(scores, grades, k))
        else:
            expected.append(np.full(7, np.nan))
        others = [s for s, g in zip(scores, grades, strict=True) if not g]
        for score, g in zip(scores, grades, strict=True):
            if g:
                owner.append(query)
                similarity.append(score)
                grade.append(g)
                above.append(sum(s > score for s in others))
                level.append(sum(s == score for s in others))
    order = np.random.default_rng(k).permutation(len(owner))
    columns = [np.array(x, dtype=float)[order] for x in (similarity, above, level)]
    ranking = Ranking.of(
        np.array(owner, dtype=np.int64)[order],
        *columns,
        len(queries),
        np.array(grade, float)[order],
    )
    found = np.stack(
        [
            ranking.recall_at(k),
            ranking.hit_at(k),
            ranking.ndcg_at(k),
            ranking.reciprocal_rank(),
            ranking.first_rank(),
            ranking.r_precision(),
            ranking.map_at_r(),
        ],
        axis=1,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


FIXTURE = np.arange(6.0)


def fixture():
    """U and V of SPEC's fixture, and its labels."""
    i = FIXTURE
    u = np.stack([np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i], axis=1)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = u + 0.3 * np.stack([np.sin(i), np.cos(i), np.sin(2 * i), np.cos(2 * i)], axis=1)
    return u, v / np.linalg.norm(v, axis=1, keepdims=True), np.array([0, 0, 0, 1, 1, 2])


def test_golden_values():
    u, v, labels = fixture()
    found = cla.quality(u, labels, ks=[1], run=FLOAT64)
    for metric, value in (("r_precision", 0.4), ("map_at_r", 0.3), ("mrr", 0.5)):
        assert found.find(metric, "same_class").value == pytest.approx(value, abs=1e-12)
    relevant = [
        (0, 0, 1),
        (0, 1, 1),
        (1, 1, 1),
        (2, 2, 2),
        (2, 3, 1),
        (3, 4, 1),
        (4, 5, 1),
        (5, 0, 1),
    ]
    found = cla.quality(u, pairs=v, relevant=relevant, ks=[2], run=FLOAT64)
    for metric, value in (
        ("recall_at_k", 0.416666666667),
        ("hit_rate_at_k", 0.5),
        ("ndcg_at_k", 0.460031255572),
        ("mrr", 0.602777777778),
    ):
        record = found.find(metric, "relevant", direction="forward")
        assert record.value == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_against_trec_eval(direction, random):
    queries, items = random.standard_normal((40, 6)), random.standard_normal((25, 6))
    pairs = sorted({(int(q), int(i)) for q in range(40) for i in random.integers(0, 25, 1 + q % 5)})
    grades = random.integers(1, 4, len(pairs))
    table = np.column_stack([pairs, grades])
    found = cla.quality(queries, pairs=items, relevant=table, ks=[1, 5, 10], run=FLOAT64)
    s = np.array(naive.cosines(queries, items))
    if direction == "backward":
        s, pairs = s.T, [(i, q) for q, i in pairs]
    qrels: dict = {}
    for (query, item), grade in zip(pairs, grades, strict=True):
        qrels.setdefault(f"q{query}", {})[f"d{item}"] = int(grade)
    run = {f"q{q}": {f"d{d}": float(x) for d, x in enumerate(row)} for q, row in enumerate(s)}
    measures = {"recall.1,5,10", "success.1,5,10", "ndcg_cut.1,5,10", "recip_rank", "Rprec"}
    by_query = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    assert len(by_query) == len(qrels)

    def theirs(name):
        return np.array([values[name] for values in by_query.values()])

    for k in (1, 5, 10):
        for metric, name in (
            ("recall_at_k", f"recall_{k}"),
            ("hit_rate_at_k", f"success_{k}"),
            ("ndcg_at_k", f"ndcg_cut_{k}"),
        ):
            record = found.find(metric, "relevant", k=k, direction=direction)
            assert record.value == pytest.approx(theirs(name).mean(), abs=1e-9), (metric, k)
            assert record.n == len(qrels)
    for metric, name in (("mrr", "recip_rank"), ("r_precision", "Rprec")):
        record = found.find(metric, "relevant", direction=direction)
        assert record.value == pytest.approx(theirs(name).mean(), abs=1e-9), metric
        error = theirs(name).std(ddof=1) / math.sqrt(len(qrels))
        assert record.std_error == pytest.approx(error, rel=0.02)


def test_against_pytorch_metric_learning(random):
    """Its averages over classes are of equal classes here: the same as ours over queries."""
    labels = np.arange(80) % 4
    rows = random.standard_normal((80, 8)) + 0.8 * np.eye(4, 8)[labels]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def nearest(query, k, reference, embeddings_come_from_same_source):
        import torch

        s = query @ reference.T
        s.fill_diagonal_(-torch.inf)
        values, indices = torch.topk(s, k)
        return values, indices

    pytest.importorskip("torch")
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    calculator = AccuracyCalculator(
        include=("r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank"),
        k="max_bin_count",
        knn_func=lambda *a: nearest(*a),
    )
    import torch

    theirs = calculator.get_accuracy(torch.tensor(unit), torch.tensor(labels))
    found = cla.quality(rows, labels, ks=[1], run=FLOAT64)
    for metric, name in (
        ("r_precision", "r_precision"),
        ("map_at_r", "mean_average_precision_at_r"),
    ):
        assert found.find(metric, "same_class").value == pytest.approx(theirs[name], abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=9))
def test_effects_are_those_of_deletions(candidates):
    """What `ranking_effects` says a candidate adds, against the ranking without the candidate."""
    s, y = np.array([c[0] for c in candidates], float), np.array([c[1] for c in candidates])
    s += np.arange(len(s)) / 100.0  # no ties

    def values(kept):
        order = np.argsort(-s[kept])
        ranks = np.flatnonzero(y[kept][order]) + 1
        if not len(ranks):
            return np.zeros(3)
        inside = ranks <= len(ranks)
        precision = np.arange(1, len(ranks) + 1) / ranks
        return np.array([1 / ranks[0], (precision * inside).sum() / len(ranks), inside.mean()])

    every = np.arange(len(s))
    assume(y.any())
    positives = np.flatnonzero(y)[np.argsort(-s[y])]
    negatives = np.flatnonzero(~y)
    ahead = np.array([(s[negatives] > s[p]).sum() for p in positives], float)
    over = np.array([(s[positives] > s[n]).sum() for n in negatives], float)
    for rows, added in zip((positives, negatives), ranking_effects(ahead, over), strict=True):
        for at, row in enumerate(rows):
            assert added[:, at] == pytest.approx(values(every) - values(every[every != row]))


def test_queries_without_another_of_their_class_are_left_out(random):
    rows = random.standard_normal((21, 5))
    labels = np.array(["a"] * 8 + ["b"] * 9 + ["alone", "", "", "also alone"])
    found = cla.quality(rows, labels, ks=[1], run=FLOAT64)
    s = naive.cosines(rows)
    values = []
    for query in range(17):
        others = [j for j in range(21) if j != query and labels[j]]
        others.sort(key=lambda j, q=query: -s[q][j])
        hits = [labels[j] == labels[query] for j in others]
        values.append(1 / (1 + hits.index(True)))
    record = found.find("mrr", "same_class")
    assert record.value == pytest.approx(np.mean(values), abs=1e-12)
    assert record.n == 17
    alone = cla.quality(rows, np.arange(21), ks=[1]).find("mrr", "same_class")
    assert alone.reason == "no class has two members"


def test_a_collapsed_encoder_ranks_by_chance():
    rows = np.ones((30, 3))
    labels = np.arange(30) % 3
    found = cla.quality(rows, labels, rows.copy(), ks=[1, 10], run=FLOAT64)
    assert found.find("recall_at_k", "pairs", k=10).value == pytest.approx(10 / 30)
    harmonic = sum(1 / rank for rank in range(1, 31)) / 30
    assert found.find("mrr", "pairs").value == pytest.approx(harmonic)
    assert found.find("median_rank", "pairs").value == 15.5
    assert found.find("r_precision", "same_class").value == pytest.approx(9 / 29)


def test_large_classes_are_ranked_from_anchors(random, monkeypatch):
    rows = random.standard_normal((400, 6)) + np.eye(2, 6)[np.arange(400) % 2]
    labels = np.arange(400) % 2
    exact = cla.quality(rows, labels, ks=[1])
    monkeypatch.setattr("cl_analyze.metrics.class_ranks.MOST_RELEVANT", 100)
    monkeypatch.setattr("cl_analyze.metrics.quality.retrieval.MOST_RELEVANT", 100)
    with_fewer_rows(monkeypatch, sampled_anchors=150)
    report = cla.analyze(rows, labels, metrics="quality", ks=[1])
    assert any("estimated from 150 seeded anchors" in text for text in report.document.warnings)
    for metric in ("mrr", "map_at_r", "r_precision"):
        one, other = exact.find(metric, "same_class"), report.records.find(metric, "same_class")
        assert not other.exact
        assert other.n == 150
        assert abs(one.value - other.value) < 5 * other.sampling_error
