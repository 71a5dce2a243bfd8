"""Which checkpoint is best, which are tied with it, and which are worse."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import cl_analyze as cla
from cl_analyze.comparison.standing import KeptHeadlines
from cl_analyze.metrics.correlation import spearman, spearman_interval, spearman_p_value
from cl_analyze.metrics.headlines import headlines
from cl_analyze.metrics.standings import standings
from cl_analyze.report.decision import decision
from cl_analyze.results.stats import PairedDifference, holm

N, D = 240, 8
FAMILIES = ("uniformity", "tolerance", "quality")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A winner, its equal, a checkpoint that is worse, and one of other dimensions."""
    folder, random = tmp_path_factory.mktemp("standings"), np.random.default_rng(5)
    labels = np.arange(N) % 4
    centres = np.eye(4, D)[labels]
    shared = random.standard_normal((N, D))
    own = {
        "winner": centres + 0.45 * shared,
        "equal": centres + 0.45 * shared + 0.02 * random.standard_normal((N, D)),
        "worse": centres + 1.5 * random.standard_normal((N, D)),
        "wide": np.hstack([centres + 0.6 * shared, 0.5 * random.standard_normal((N, D))]),
    }
    paths = []
    for name, rows in own.items():
        order = random.permutation(N)  # ids match the rows
        path = folder / f"{name}.npz"
        np.savez(path, embeddings=rows[order], labels=labels[order], ids=np.arange(N)[order])
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def report(files):
    return cla.analyze(files, metrics=FAMILIES)


def rows_of(report, metric):
    rows = report.document.rows("standings", metric=metric)
    return {row["source"].removesuffix(".npz"): row for row in rows}


def test_winner_tie_and_worse(report):
    own = rows_of(report, "knn_accuracy")
    best = {row["best"].removesuffix(".npz") for row in own.values()}
    assert best <= {"winner", "equal"}
    assert own[best.pop()]["standing"] == "best"
    assert sorted(own[name]["standing"] for name in ("winner", "equal")) == ["best", "tied"]
    assert own["worse"]["standing"] == "worse"
    assert all(row["paired"] for row in own.values() if row["paired"] is not None)


def test_differences_are_those_of_the_pseudo_values_by_hand(report):
    """Tolerance: t intervals of the mean of paired pseudo-values, Holm over all pairs by hand."""
    own = rows_of(report, "tolerance")
    records = {r.source: r for r in report.records if r.name == "tolerance[micro_excl]"}
    ids = {source: np.asarray(keys.ids) for source, keys in report.rows.items()}
    pseudo = {
        source: dict(zip(ids[source], record.pseudo_values, strict=True))
        for source, record in records.items()
    }
    best = max(records, key=lambda source: records[source].value)
    naive = {}
    for source, record in records.items():
        if source == best:
            continue
        change = np.array([pseudo[source][i] - pseudo[best][i] for i in ids[source]])
        error = change.std(ddof=1) / math.sqrt(N)
        value = record.value - records[best].value
        reach = stats.t.ppf(0.975, N - 1) * error
        naive[source] = value, error, reach, 2 * stats.t.sf(abs(value) / error, N - 1)
    previous, pairs = 0.0, len(records) * (len(records) - 1) // 2
    for i, source in enumerate(sorted(naive, key=lambda source: naive[source][3])):
        value, error, reach, p = naive[source]
        previous = max(previous, min(1.0, p * (pairs - i)))
        row = own[source.removesuffix(".npz")]
        assert row["best"] == best
        assert row["value"] == records[source].value
        found = [row[k] for k in ("difference", "std_error", "low", "high", "p", "p_holm")]
        assert found == pytest.approx(
            [value, error, value - reach, value + reach, p, previous], rel=1e-9, abs=1e-300
        )
        assert row["standing"] == ("worse" if previous < 0.05 else "tied")


def test_other_dimensions_are_unknown_where_the_number_depends_on_them(report):
    own = rows_of(report, "uniformity")
    assert own["wide"]["standing"] == "unknown"
    assert own["wide"]["difference"] is None
    assert {own[name]["standing"] for name in ("winner", "equal", "worse")} <= {
        "best",
        "tied",
        "worse",
    }
    assert rows_of(report, "uniformity_gap")["wide"]["standing"] != "unknown"


def test_every_headline_and_checkpoint_has_a_row_and_the_best_is_not_worse(report):
    document = report.document
    rows = document.rows("standings")
    assert len(rows) == len(headlines(document)) * len(document.sources)
    for row in rows:
        assert (row["standing"] == "best") == (row["source"] == row["best"])
        assert (row["standing"] == "worse") <= (row["p_holm"] is not None and row["p_holm"] < 0.05)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_has_the_best_value_whatever_the_errors(report, seed):
    """Differences with random errors and p-values, some unknown."""
    random = np.random.default_rng(seed)

    def difference_of(one, other):
        value = one.value - other.value
        if random.random() < 0.2:
            return PairedDifference(value, None, None, None, None, True)
        error, p = random.random(2)
        return PairedDifference(value, error, value - error, value + error, p**4, True)

    for row in standings(report.document, difference_of).rows:
        if row["standing"] == "best":
            assert row["difference"] == 0.0
        elif row["best"] is not None and row["difference"] is not None:
            sign = 1 if row["metric"] in ("uniformity", "uniformity_gap") else -1
            if row["metric"] != "between_class_similarity":
                assert sign * row["difference"] >= 0
            assert (row["standing"] == "unknown") == (row["p"] is None)


def test_a_comparison_says_the_same(report, files, tmp_path):
    compared = cla.compare(files, metrics=FAMILIES)
    for own, other in zip(
        report.document.rows("standings"), compared.document.rows("standings"), strict=True
    ):
        assert list(own) == list(other)
        for key, cell in own.items():
            is_number = isinstance(cell, float)
            assert other[key] == (pytest.approx(cell, rel=1e-6, abs=1e-12) if is_number else cell)
    compared.save(tmp_path)
    with (tmp_path / "tables" / "standings.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["standing"] for line in lines] == [
        row["standing"] for row in compared.document.rows("standings")
    ]


def test_one_checkpoint_has_no_standings(files):
    assert "standings" not in cla.analyze(files[0], metrics="uniformity").tables


def test_ids_that_identify_no_rows_are_not_used(files, tmp_path):
    """Rows are then matched by position, where labels agree; a comparison refuses such ids."""
    paths = []
    for path in files[:2]:
        saved = np.load(path)
        order = np.argsort(saved["ids"])
        rows, labels = saved["embeddings"][order], saved["labels"][order]
        paths.append(tmp_path / path.name)
        np.savez(paths[-1], embeddings=rows, labels=labels, ids=np.zeros(N, dtype=int))
    report = cla.analyze(paths, metrics="tolerance")
    (change,) = (
        r for r in report.document.rows("standings") if r["metric"] == "tolerance" and r["p"]
    )
    assert change["paired"]
    with pytest.raises(cla.DataError, match="have the same id"):
        cla.compare(paths, metrics="tolerance")


def test_groups_are_respected(files, report):
    """Rows of one class belong together: errors of paired differences differ from those of rows."""
    groups = [np.load(path)["labels"] for path in files]
    grouped = cla.analyze(files, metrics="tolerance", groups=groups)
    change = rows_of(grouped, "tolerance")["worse"]
    plain = rows_of(report, "tolerance")["worse"]
    assert change["difference"] == plain["difference"]
    assert change["std_error"] != pytest.approx(plain["std_error"], rel=0.01)


def test_of_many_rows_a_sample_gives_errors_of_all_rows(report):
    """A budget for a quarter of the pseudo-values: the same value, an error within sampling."""
    records = {r.source: r for r in report.records if r.name == "tolerance[micro_excl]"}
    one, other = records["winner.npz"], records["worse.npz"]
    tiled = [
        replace(record, n=40 * N, pseudo_values=np.tile(record.pseudo_values[np.argsort(ids)], 40))
        for record, ids in ((r, report.rows[r.source].ids) for r in (one, other))
    ]
    found = []
    for budget in (10**9, 2 * 8 * 40 * N // 4):
        kept = KeptHeadlines(2, budget, (), 0)
        for record in tiled:
            kept.add(record.source, [record], np.arange(40 * N))
        found.append(kept.difference(*tiled))
    assert found[0].paired
    assert found[1].paired
    assert found[0].value == found[1].value
    assert found[1].std_error == pytest.approx(found[0].std_error, rel=0.1)
    assert found[1].std_error != found[0].std_error
    unmatched = KeptHeadlines(2, 10**9, (), 0)
    unmatched.add(one.source, [one], np.arange(N))
    unmatched.add(other.source, [other], None)
    assert not unmatched.difference(one, other).paired


def test_a_family_of_more_tests_counts_the_others_as_not_rejected():
    """Holm over six pairs of which three are known is never smaller than Holm over all six."""
    random = np.random.default_rng(0)
    for _ in range(200):
        p_values = list(random.random(6) ** 3)
        full, part = holm(p_values)[:3], holm(p_values[:3], 6)
        assert all(a <= b for a, b in zip(full, part, strict=True))


@pytest.mark.parametrize("n", [4, 6, 8, 12])
def test_spearman_against_scipy(n):
    random = np.random.default_rng(n)
    x, y = random.standard_normal(n), np.round(random.standard_normal(n), 0)
    rho = spearman(x, y)
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-11)
    if n <= 6:
        test = stats.permutation_test(
            (x,),
            lambda x: stats.spearmanr(x, y).statistic,
            permutation_type="pairings",
            n_resamples=np.inf,
            vectorized=False,
        )
        both = np.abs(test.null_distribution) >= abs(rho) - 1e-9
        assert spearman_p_value(x, y) == pytest.approx(both.mean())
    if n > 8:
        assert spearman_p_value(x, y) == pytest.approx(stats.spearmanr(x, y).pvalue)
    low, high = spearman_interval(rho, n)
    assert -1 <= low <= rho <= high <= 1
    assert spearman_interval(1.0, n)[0] < 1.0
    assert spearman_interval(-1.0, n)[1] == -spearman_interval(1.0, n)[0]


def test_metrics_along_checkpoints(tmp_path):
    """The noisier, the less tolerant and the less accurate; one correlation of each pair."""
    random = np.random.default_rng(1)
    labels = np.arange(120) % 3
    paths = []
    for i, noise in enumerate((0.3, 0.7, 1.2, 2.0)):
        rows = np.eye(3, 6)[labels] + noise * random.standard_normal((120, 6))
        paths.append(tmp_path / f"run-{i}-tau-0.{i + 1}.npz")
        np.savez(paths[-1], embeddings=rows, labels=labels)
    report = cla.analyze(paths, metrics=(*FAMILIES, "penalty"), taus=(0.1, 0.2, 0.3, 0.4))
    rows = report.document.rows("metric_correlation")
    found = {(row["metric_a"], row["metric_b"]): row for row in rows}
    assert len(found) == len(rows), "each pair once"
    assert ("knn_accuracy", "probe_accuracy") in found
    assert ("probe_accuracy", "knn_accuracy") not in found
    row = found["tolerance", "knn_accuracy"]
    assert row["n"] == 4
    assert row["spearman"] == 1.0
    assert row["p"] == 2 / 24
    params = json.loads(found["penalty_false_negative_share", "knn_accuracy"]["params_a"])
    assert params == {"tau": "training"}
    standing = report.document.rows("standings", metric="penalty_false_negative_share")
    assert {row["standing"] for row in standing} == {"unknown"}
    assert "metric_correlation" not in cla.analyze(paths[:3], metrics=FAMILIES).tables


def test_correlations_do_not_depend_on_the_order_of_the_files():
    random = np.random.default_rng(5)
    labels = np.arange(60) % 3
    rows = np.eye(3, 8)[labels] + 0.5 * random.standard_normal((60, 8))
    files = {f"b{i}": rows + 0.3 * i * random.standard_normal((60, 8)) for i in range(4)}
    small = {"a": rows[:, :4]}

    def table(inputs):
        document = cla.compare(inputs, labels=labels, metrics=["uniformity", "quality"]).document
        return {
            (row["metric_a"], row["params_a"], row["metric_b"]): (row["spearman"], row["n"])
            for row in document.rows("metric_correlation")
        }

    first, last = table({**small, **files}), table({**files, **small})
    assert any(metric == "uniformity" for metric, _, _ in first)
    assert first == last


def test_nothing_is_best_where_no_difference_has_an_error(tmp_path):
    random = np.random.default_rng(6)
    paths = [tmp_path / f"n{i}.npy" for i in range(2)]
    for path in paths:
        np.save(path, random.standard_normal((2, 4)))
    document = cla.analyze(list(map(str, paths)), metrics="uniformity").document
    assert {row["standing"] for row in document.rows("standings")} == {"unknown"}
    assert all("Best" not in sentence.title for sentence in decision(document))
