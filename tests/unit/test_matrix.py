"""Every pair of checkpoints: values, permutation tests, clusters."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from scipy import stats

import cl_analyze as cla
from cl_analyze.comparison import matrix
from cl_analyze.comparison.matrix import PERMUTATIONS, permutation_p_values
from cl_analyze.comparison.order import Given, step_before
from cl_analyze.metrics import rsa
from cl_analyze.metrics.rsa import rank_correlation, ranked_pairs
from cl_analyze.options import Request
from tests.reference.naive import unit

METRICS = ("cka", "neighbour_overlap", "rsa", "procrustes_residual")


def spearman(x, y):
    upper = np.triu_indices(len(x), 1)
    return stats.spearmanr((x @ x.T)[upper], (y @ y.T)[upper]).statistic


def related(random, n, noise, d=6):
    x = unit(random.standard_normal((n, d)))
    return x, unit(x + noise * random.standard_normal((n, d)))


def test_the_rank_correlation_is_spearmans_of_all_pairs(random):
    x, y = related(random, 40, 0.7)
    number = rank_correlation(ranked_pairs(x), ranked_pairs(y))
    assert number.value == pytest.approx(spearman(x, y), abs=1e-12)
    turn = np.linalg.qr(random.standard_normal((6, 6)))[0]
    turned = rank_correlation(ranked_pairs(x), ranked_pairs(x @ turn))
    assert turned.value == pytest.approx(1.0, abs=1e-12)


def test_the_error_of_the_rank_correlation_is_that_of_deleted_rows(random):
    """The influence leaves out terms of order 1/n of the jackknife."""
    for signs in (False, True):  # signs have many equal cosines
        x, y = related(random, 60, 0.7)
        x = np.where(x > 0, 1.0, -1.0) / np.sqrt(6) if signs else x
        x, y = np.round(x @ x.T, 12), np.round(y @ y.T, 12)

        def value(kept, x=x, y=y):
            upper = np.triu_indices(len(kept), 1)
            return stats.spearmanr(x[np.ix_(kept, kept)][upper], y[np.ix_(kept, kept)][upper])[0]

        without = [value(np.delete(np.arange(60), i)) for i in range(60)]
        jackknife = 59 / np.sqrt(60) * np.std(without, ddof=1)
        pairs = [rsa.RankedPairs(60, *rsa._mid_ranks(s[np.triu_indices(60, 1)])) for s in (x, y)]
        assert rank_correlation(*pairs).std_error == pytest.approx(jackknife, rel=0.07)


def test_the_error_of_the_rank_correlation_is_its_spread():
    random = np.random.default_rng(5)
    numbers = [rank_correlation(*map(ranked_pairs, related(random, 60, 0.7))) for _ in range(200)]
    spread = np.std([number.value for number in numbers])
    error = np.sqrt(np.mean([number.std_error**2 for number in numbers]))
    assert error == pytest.approx(spread, rel=0.25)


def test_p_values_are_uniform_for_unrelated_rows():
    """Kolmogorov-Smirnov over 200 draws.  Counts of shared neighbours tie, which raises theirs."""
    random = np.random.default_rng(11)
    found = {metric: [] for metric in METRICS}
    for seed in range(200):
        rows = [unit(random.standard_normal((40, 5))) for _ in range(2)]
        p_values = permutation_p_values(rows, 5, seed)
        for metric in METRICS:
            found[metric].append(p_values[metric, 0, 1])
    for metric in METRICS:
        p = np.array(found[metric])
        assert p.min() >= 1 / (PERMUTATIONS + 1)
        side = "less" if metric == "neighbour_overlap" else "two-sided"
        statistic = stats.kstest(p, "uniform", alternative="two-sided")
        if side == "less":  # never too often small
            assert (p <= 0.1).mean() < 0.16
            assert (p <= 0.5).mean() < 0.6
        else:
            assert statistic.pvalue > 0.01, metric


def test_p_values_of_related_rows_are_the_least(random):
    x, y = related(random, 80, 0.3)
    unrelated = [unit(random.standard_normal((80, 6))) for _ in range(8)]
    p_values = permutation_p_values([x, y, *unrelated], 5)
    for metric in METRICS:
        assert p_values[metric, 0, 1] == pytest.approx(1 / (PERMUTATIONS + 1))
        assert np.mean([p_values[metric, 0, b] for b in range(2, 10)]) > 0.2
    same = np.tile(x[:1], (80, 1))
    assert permutation_p_values([x, same], 5)["cka", 0, 1] is None


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_rows_have_no_p_values(random, n):
    """Two rows divided by zero; and 4! orders of four rows could not give a small p-value."""
    assert permutation_p_values([unit(random.standard_normal((n, 3))) for _ in range(2)], 1) == {}


@pytest.mark.parametrize("d", [4, 16])
def test_equal_neighbours_are_no_evidence(d):
    """Signs of few dimensions: most cosines are equal, and ties in one order would look alike."""
    random = np.random.default_rng(2)
    found = []
    for seed in range(60):
        one, other = (
            np.where(random.standard_normal((80, d)) > 0, 1.0, -1.0) / np.sqrt(d) for _ in range(2)
        )
        found.append(permutation_p_values([one, other], 10, seed)["neighbour_overlap", 0, 1])
    assert np.mean(np.array(found) <= 0.05) < 0.14
    assert np.mean(found) > 0.4


def test_permuted_statistics_are_those_of_permuted_rows(random):
    """The fast products are the definitions applied to rows in another order."""
    x, y = related(random, 30, 0.5)
    order = random.permutation(30)
    of_x, of_y, moved = (matrix._matrices(z, 4, random) for z in (x, y, y[order]))
    for metric in of_x:
        fast = of_x[metric].ravel() @ matrix._permuted(of_y[metric].ravel(), order[None])[0]
        assert fast == pytest.approx(float((of_x[metric] * moved[metric]).sum()), rel=1e-4)
    report = cla.compare({"x": x, "y": y[order]}, metrics=["cka"], ks=[4])
    cka = report.records.find("cka", "linear_debiased").value
    assert float((of_x["cka"] * moved["cka"]).sum()) == pytest.approx(cka, rel=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two runs of three steps with ids, rows of each file in another order; and unrelated rows."""
    random = np.random.default_rng(3)
    folder = tmp_path_factory.mktemp("run")
    start = unit(random.standard_normal((150, 8)))
    for name in ("a", "b"):
        rows = start + 0.3 * random.standard_normal((150, 8))
        for step in (10, 20, 300):
            rows = unit(rows + 0.25 * random.standard_normal((150, 8)))
            order = random.permutation(150)
            np.savez(folder / f"{name}-step{step}.npz", embeddings=rows[order], ids=order)
    return folder


def test_every_pair_is_that_of_a_comparison_of_two(cli, run):
    files = sorted(run.glob("*.npz"))
    result = cli("compare", *files, "--metrics", "uniformity", "--k", 1, 7, "--out", "out")
    assert result.returncode == 0, result.stderr
    with (cli.folder / "out" / "tables" / "compare_matrix.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 15 * 4
    assert {row["metric"] for row in rows} == set(METRICS)
    for row in rows[20:32]:
        a, b = (str(run / row[name]) for name in ("source_b", "source_a"))
        alone = cla.compare([a, b], metrics=[row["metric"]], ks=[7]).records
        record = next(r for r in alone if r.metric == row["metric"])  # the debiased cka is first
        assert float(row["value"]) == pytest.approx(record.value, rel=1e-9)
        # the error of shared neighbours comes from two halves of the rows, whose order differs here
        tolerance = 0.4 if row["metric"] == "neighbour_overlap" else 1e-6
        assert float(row["std_error"]) == pytest.approx(record.std_error, rel=tolerance)
        assert row["k"] == ("7" if row["metric"] == "neighbour_overlap" else "")
    nulls = {row["metric"]: float(row["null_mean"]) for row in rows}
    assert (nulls["cka"], nulls["rsa"]) == (0.0, 0.0)
    assert nulls["neighbour_overlap"] == pytest.approx(7 / 149)
    assert 1.4 < nulls["procrustes_residual"] < 2.0
    of_one_run = [row for row in rows if row["source_a"][0] == row["source_b"][0]]
    assert len(of_one_run) == 6 * 4
    assert all(float(row["p_permutation"]) < 0.01 for row in of_one_run)
    assert (cli.folder / "out" / "figures" / "compare_matrix.png").stat().st_size > 5_000


def test_null_means_are_those_of_permutations(random):
    """The mean over all permutations, of debiased CKA, shared neighbours and rank correlation."""
    x, y = related(random, 24, 0.4)
    found = {metric: [] for metric in METRICS}
    for seed in range(150):
        order = np.random.default_rng(seed).permutation(24)
        table = cla.compare({"x": x, "y": y[order]}, metrics=["cka", *METRICS[1:]], ks=[5])
        for row in table.tables["compare_matrix"].rows:
            found[row["metric"]].append((row["value"], row["null_mean"]))
    for metric, pairs in found.items():
        values, nulls = np.array(pairs).T
        error = values.std() / np.sqrt(len(values))
        assert values.mean() == pytest.approx(nulls.mean(), abs=3.5 * error), metric


def test_clusters_are_those_of_scipy(cli, run):
    from scipy.cluster.hierarchy import linkage

    files = sorted(run.glob("*.npz"))
    document = json.loads(cli("compare", *files, "--metrics", "cka", "--no-files", "--json").stdout)
    tables = document["tables"]
    names = [row["source"] for row in tables["checkpoints"]]
    cka = {(r["source_b"], r["source_a"]): r["value"] for r in tables["compare_matrix"]}
    condensed = [1 - cka[names[i], names[j]] for i in range(6) for j in range(i + 1, 6)]
    heights = linkage(condensed, "average")[:, 2]
    nodes = tables["compare_clusters"]
    assert [row["height"] for row in nodes[6:]] == pytest.approx(heights)
    assert sorted(row["position"] for row in nodes[:6]) == list(range(6))
    runs = {row["source"][0]: [] for row in nodes[:6]}
    for row in sorted(nodes[:6], key=lambda row: row["position"]):
        runs[row["source"][0]].append(row["position"])
    assert runs["a"] in ([0, 1, 2], [3, 4, 5])  # the runs stand side by side


def test_collapsed_checkpoints_have_reasons(random):
    x, y = related(random, 40, 0.4)
    report = cla.compare({"x": x, "flat": np.tile(x[:1], (40, 1)), "y": y}, metrics=["cka", "rsa"])
    rows = report.tables["compare_matrix"].rows
    assert [row["value"] is None for row in rows] == [True, True, False, False, True, True]
    assert all(bool(row["reason"]) == (row["value"] is None) for row in rows)


def test_many_checkpoints_have_no_matrix(monkeypatch, run):
    files = sorted(map(str, run.glob("*.npz")))
    monkeypatch.setattr("cl_analyze.comparison.run.MOST_SOURCES", 5)
    report = cla.compare(files, metrics=["cka"])
    assert "compare_matrix" not in report.tables


def test_a_sample_stands_for_rows_that_do_not_fit(monkeypatch, random):
    x, y = related(random, 900, 0.4)
    whole = cla.compare({"x": x, "y": y}, metrics=["cka"]).tables["compare_matrix"].rows
    monkeypatch.setattr(matrix, "HELD_BYTES", 8 * 12 * 300)
    part = cla.compare({"x": x, "y": y}, metrics=["cka"]).tables["compare_matrix"].rows
    (one,), (other,) = whole, part
    assert (one["n"], other["n"]) == (900, 300)
    assert other["value"] == pytest.approx(one["value"], abs=4 * other["std_error"])


def test_each_step_is_compared_with_the_step_before_in_its_run(cli, run):
    files = sorted(run.glob("*.npz"))
    options = ("--metrics", "cka", "neighbour_overlap", "--x", "step", "--no-files", "--json")
    document = json.loads(cli("compare", *files, *options).stdout)
    moved = {}
    for record in document["results"]:
        if record["metric"] == "cka" and record["definition"] == "linear_debiased":
            moved.setdefault(record["source"], []).append(record["params"]["against"])
    first = "a-step10.npz"
    assert moved == {
        "b-step10.npz": [first],
        "a-step20.npz": [first],  # the reference is the step before
        "b-step20.npz": [first, "b-step10.npz"],
        "a-step300.npz": [first, "a-step20.npz"],
        "b-step300.npz": [first, "b-step20.npz"],
    }


def test_the_step_before_is_of_the_same_run():
    def given(name, x, series, variant=""):
        return Given(Request(name, variant=variant), name, name, x, name, series)

    steps = [
        given("a1", 1.0, "a"),
        given("b1", 1.0, "b"),
        given("a2", 2.0, "a"),
        given("a2[int8]", 2.0, "a", "int8"),
        given("b2", 2.0, "b"),
        given("c2", 2.0, "c"),
    ]
    assert [step_before(steps, i) for i in range(6)] == [None, None, 0, None, 1, None]
    assert step_before([given("a", None, ""), given("b", None, "")], 1) is None
