"""How a space moved, against loops over pairs and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.data.opening import from_memory
from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.movement import Space, movement


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def hsic(k, m, debiased):
    """Of two similarity matrices, by its definition."""
    n = len(k)
    if not debiased:
        h = np.eye(n) - 1 / n
        return np.trace(k @ h @ m @ h)
    k, m, one = k.copy(), m.copy(), np.ones(n)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    both = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return np.trace(k @ m) + both - 2 / (n - 2) * (one @ k @ m @ one)


def naive_cka(x, y, debiased):
    k, m = (unit(z) @ unit(z).T for z in (x, y))
    return hsic(k, m, debiased) / np.sqrt(hsic(k, k, debiased) * hsic(m, m, debiased))


def nearest(x):
    """Others of each row, nearest first."""
    s = unit(x) @ unit(x).T
    np.fill_diagonal(s, -2)
    return np.argsort(-s, axis=1)[:, :-1]


def naive_overlap(x, y, k):
    a, b = nearest(x)[:, :k], nearest(y)[:, :k]
    return np.mean([len(set(p) & set(q)) / k for p, q in zip(a, b, strict=True)])


def found(x, y, ks=(1, 5), **more):
    def space(z):
        return Space(UnitRows(from_memory(z, "z").array, np.float64, 1 << 20))

    lists = nearest(x), nearest(y)
    moved = movement("new", "old", space(x), space(y), lists, ks, None, **more)
    return moved.records, moved


def record(records, metric, definition=None, **params):
    (one,) = (
        r
        for r in records
        if r.metric == metric
        and r.definition == definition
        and all(r.params[key] == value for key, value in params.items())
    )
    return one


@pytest.fixture
def pair(random):
    x = random.normal(size=(40, 7)) + 0.5
    return x, np.hstack([x[:, :3], random.normal(size=(40, 2))])


@pytest.mark.parametrize("definition", ["linear_debiased", "linear"])
def test_cka_and_its_pseudo_values_are_those_of_loops(pair, definition):
    x, y = pair
    debiased = definition == "linear_debiased"
    one = record(found(x, y)[0], "cka", definition)
    assert one.value == pytest.approx(naive_cka(x, y, debiased), abs=1e-12)
    for i in (0, 7, 39):
        less = naive_cka(np.delete(x, i, 0), np.delete(y, i, 0), debiased)
        assert one.pseudo_values[i] == pytest.approx(40 * one.value - 39 * less, abs=1e-9)


@pytest.mark.parametrize("k", [1, 5])
def test_overlap_and_what_deleting_a_row_changes(pair, k):
    x, y = pair
    one = record(found(x, y)[0], "neighbour_overlap", k=k)
    assert one.value == pytest.approx(naive_overlap(x, y, k), abs=1e-12)
    n = len(x)
    for i in (0, 7, 39):
        less = naive_overlap(np.delete(x, i, 0), np.delete(y, i, 0), k)
        # pseudo-values are the infinitesimal form: equal up to the factor (n - 1) / n of effects
        jackknife = n * one.value - (n - 1) * less
        assert one.pseudo_values[i] == pytest.approx(jackknife, abs=1e-9)


def test_procrustes_is_the_least_over_rotations(pair, random):
    x, y = unit(pair[0]), unit(pair[1])
    wide = np.hstack([y, np.zeros((len(y), 2))])
    best = record(found(*pair)[0], "procrustes_residual").value
    from scipy.linalg import orthogonal_procrustes

    turn, _ = orthogonal_procrustes(wide, x)
    assert best == pytest.approx(np.square(x - wide @ turn).sum(axis=1).mean(), abs=1e-12)
    for _ in range(50):
        other = np.linalg.qr(random.normal(size=(7, 7)))[0]
        assert best <= np.square(x - wide @ other).sum(axis=1).mean()


@pytest.mark.parametrize("how", ["identical", "rotated", "scaled rows", "permuted"])
def test_the_same_space_has_not_moved(random, how):
    x = random.normal(size=(80, 6))
    ids = np.arange(80)
    y, its_ids = x, ids
    if how == "rotated":
        y = x @ np.linalg.qr(random.normal(size=(6, 6)))[0]
    elif how == "scaled rows":
        y = x * random.uniform(0.5, 2.0, size=(80, 1))
    elif how == "permuted":
        order = random.permutation(80)
        y, its_ids = x[order], ids[order]
    from cl_analyze.comparison import run_comparison
    from cl_analyze.options import CompareOptions, MetricOptions

    requests = [
        cla.Request(x, source="before", ids=ids.astype(str)),
        cla.Request(y, source="after", ids=its_ids),
    ]
    report = run_comparison(
        requests, ("uniformity",), MetricOptions(), cla.RunOptions(), CompareOptions()
    )
    for definition in ("linear_debiased", "linear"):
        cka = report.records.find("cka", definition)
        assert cka.value == pytest.approx(1.0, abs=1e-9)
        assert cka.std_error == pytest.approx(0.0, abs=1e-6)
    assert report.records.find("neighbour_overlap", k=10).value == 1.0
    assert report.records.find("procrustes_residual").value == pytest.approx(0.0, abs=1e-12)
    rows = report.document.rows("compare", metric="uniformity")
    assert len(rows) == 2
    for row in rows:
        assert row["paired"]
        assert row["difference"] == pytest.approx(0.0, abs=1e-12)


def test_permuted_rows_without_ids_are_another_space(random):
    x = random.normal(size=(200, 6))
    report = cla.compare({"a": x, "b": x[random.permutation(200)]}, metrics="uniformity")
    cka = report.records.find("cka")
    assert abs(cka.value) < 5 * cka.std_error, "debiased CKA of unrelated rows is about 0"
    assert report.records.find("cka", "linear").value > cka.value, "the plain one is not"
    overlap = report.records.find("neighbour_overlap", k=10)
    assert overlap.value == pytest.approx(10 / 199, abs=5 * overlap.std_error)


def test_rows_and_classes_that_moved_are_listed_first(random):
    x = random.normal(size=(60, 5))
    y = x.copy()
    y[[3, 11]] = -y[[3, 11]]
    labels = np.where(np.isin(np.arange(60), [3, 11]), "moved", "stayed")
    report = cla.compare({"a": x, "b": y}, labels, metrics="uniformity")
    rows = report.document.rows("moved_rows")
    assert {row["row"] for row in rows[:2]} == {3, 11}
    assert rows[0]["label"] == "moved"
    classes = report.document.rows("moved_classes")
    assert [row["label"] for row in classes] == ["moved", "stayed"]
    assert classes[0]["n"] == 2
    assert classes[0]["squared_distance"] > 10 * classes[1]["squared_distance"]
    assert classes[0]["neighbour_overlap"] < classes[1]["neighbour_overlap"]


@pytest.mark.parametrize(("metric", "params"), [("neighbour_overlap", {"k": 5}), ("cka", {})])
def test_errors_are_the_spread_over_draws(metric, params):
    random = np.random.default_rng(5)
    centres = 2.0 * random.normal(size=(6, 8))
    values, errors = [], []
    for _ in range(150):
        z = centres[random.integers(0, 6, 150)] + random.normal(size=(150, 8))
        x, y = (z + 0.5 * random.normal(size=z.shape) for _ in range(2))
        definition = "linear_debiased" if metric == "cka" else None
        one = record(found(x, y, (5,))[0], metric, definition, **params)
        values.append(one.value)
        errors.append(one.std_error)
    assert 0.85 < np.mean(errors) / np.std(values, ddof=1) < 1.35


def test_what_cannot_be_compared_says_why(random):
    x = random.normal(size=(4, 3))
    records, _ = found(x, x, (1, 3))
    assert record(records, "cka", "linear").reason == "fewer than 5 rows"
    assert "every other row" in record(records, "neighbour_overlap", k=3).reason
    same = np.tile([[1.0, 0.0, 0.0]], (8, 1))
    records, _ = found(same, random.normal(size=(8, 3)), ())
    assert record(records, "cka", "linear").reason == "all rows of a checkpoint coincide"
