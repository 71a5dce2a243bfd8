"""Representation quality against loops, scikit-learn, SciPy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KNeighborsClassifier

import cl_analyze as cla
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.quality import classes, collapse, factors, logistic, probe
from cl_analyze.metrics.quality.jackknife import jackknife_groups
from cl_analyze.metrics.quality.rows import FormRows
from cl_analyze.pairs.executors import SerialExecutor, ThreadExecutor
from cl_analyze.results.tables import to_json
from tests.reference import naive_losses
from tests.reference import naive_quality as naive
from tests.reference.cases import as_array, cases

CASES = cases()
FLOAT64 = cla.RunOptions(precision="float64", block=7)
ALIKE = ("collapsed",)  # rows within 1e-7 of each other: what is asked of them is rounding
VERSIONS = ("raw", "raw_centred", "normalised", "normalised_centred")


@pytest.fixture(scope="module", params=[name for name in CASES if name not in ALIKE])
def case(request):
    rows, labels = CASES[request.param]
    found = cla.quality(rows, as_array(labels), ks=[1, 3, 10], run=FLOAT64)
    return rows, labels, found, request.param


def close(record, expected, tolerance=1e-9):
    if expected is None:
        assert record.value is None
        assert record.reason
        return
    assert record.value == pytest.approx(expected, rel=tolerance, abs=tolerance), record.name


# ---- spectrum


def test_spectra_are_those_of_the_whole_matrix(case):
    rows, _, found, _ = case
    n, d = rows.shape
    for name in VERSIONS:
        values = naive.spectrum(rows, name)
        whole = naive.spectrum(rows, name.removesuffix("_centred"))
        if values[0] < 1e-12 * whole[0]:
            assert found.find("effective_rank", name).value is None
            continue
        rank = int((values > 1e-13 * values[0]).sum())
        close(found.find("effective_rank", name), naive.entropy_rank(values), 1e-9)
        close(found.find("rankme", name), naive.entropy_rank(values, 1e-7), 1e-9)
        close(found.find("participation_ratio", name), naive.participation_ratio(values))
        close(found.find("nesum", name), sum(values**2) / values[0] ** 2)
        close(found.find("stable_rank", name), sum(values**2) / values[0] ** 2)
        close(found.find("numerical_rank", name), rank)
        close(found.find("isoscore", name), naive.isoscore(values, d) if d > 1 else None)
        law = found.find("alpha_req", name)
        if rank < 6:
            assert "needs 6 directions" in law.reason
        else:
            assert law.params == {"first_rank": 4, "last_rank": rank}
            slope, fit = naive.power_law(values, 4, rank)
            close(law, slope)
            close(found.find("alpha_req_r_squared", name), fit)
        possible = min(d, n - (1 if name.endswith("centred") else 0))
        condition = found.find("condition_number", name)
        close(condition, values[0] / values[possible - 1] if rank == possible else None, 1e-6)


@pytest.mark.parametrize(("n", "d"), [(400, 20), (21, 20), (20, 20), (19, 20), (5, 300), (2, 9)])
@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
def test_singular_values_keep_their_digits_in_tall_and_wide_matrices(random, n, d, scale):
    rows = random.standard_normal((n, d)) * np.logspace(0, -9, d)  # squares would lose half
    unit = UnitRows(RowArray.of(rows * scale), np.float64, 1 << 20)
    form = FormRows("raw", unit, float(unit.stored_norms().max()))
    groups, errors = factors.parts_of(n, d, jackknife_groups(n, None, 0))
    assert errors
    for executor in (SerialExecutor(), ThreadExecutor(3)):
        found = factors.factors(form, groups, executor)
        for centred in (False, True):
            expected = naive.spectrum(rows, "raw_centred" if centred else "raw")
            values = found.singular_values(centred) / scale
            assert np.abs(values - expected).max() < 1e-14 * expected[0]
            for group, less in zip(
                np.unique(groups), found.without_each_group(centred), strict=True
            ):
                kept = rows[groups != group]
                kept = kept - kept.mean(axis=0) if centred else kept
                expected = np.linalg.svd(kept, compute_uv=False)
                m = min(len(less), len(expected))
                assert np.abs(less[:m] / scale - expected[:m]).max() < 1e-13 * max(
                    expected[0], 1e-9
                )


def test_spectra_of_many_rows_in_blocks(random, monkeypatch):
    rows = random.standard_normal((3000, 12)) * np.arange(1, 13)
    monkeypatch.setattr(factors, "_BLOCK_BYTES", 8 * 12 * 300)
    monkeypatch.setattr(factors, "_STRIP_BYTES", 1)
    found = cla.quality(rows, ks=[1])
    values = naive.spectrum(rows, "raw_centred")
    close(found.find("participation_ratio"), naive.participation_ratio(values))
    wide = cla.quality(rows[:8], ks=[1])  # and strip by strip
    close(wide.find("effective_rank"), naive.entropy_rank(naive.spectrum(rows[:8], "raw")))


def test_errors_of_spectra_are_the_delete_a_group_jackknife(random):
    rows = random.standard_normal((200, 6)) * np.arange(1, 7)
    report = cla.analyze(rows, metrics="quality", ks=[1], seed=3)
    groups = jackknife_groups(200, None, 3)
    assert np.bincount(groups).tolist() == [10] * 20
    less = [
        naive.participation_ratio(naive.spectrum(rows[groups != g], "raw_centred"))
        for g in range(20)
    ]
    expected = math.sqrt(19 / 20 * sum((v - np.mean(less)) ** 2 for v in less))
    record = report.records.find("participation_ratio")
    assert record.std_error == pytest.approx(expected, rel=1e-9)
    for name, definition, of in (
        ("vendi_score", None, naive.vendi),
        ("uniformity_wasserstein", "gaussian_w2", naive.gaussian_w2),
    ):
        less = [of(rows[groups != g]) for g in range(20)]
        expected = math.sqrt(19 / 20 * sum((v - np.mean(less)) ** 2 for v in less))
        found = report.records.find(name, definition)
        assert found.std_error == pytest.approx(expected, rel=1e-6)
    together = jackknife_groups(200, np.arange(200) // 8, 3)
    for group in range(25):  # rows that belong together are deleted together
        assert len(set(together[8 * group : 8 * group + 8])) == 1


def test_the_order_of_the_measures_of_rank(random):
    """1 <= NESum <= PR <= exp H(lambda) <= exp H(sigma) <= rank."""
    for seed in range(5):
        rows = np.random.default_rng(seed).standard_normal((80, 10)) * np.logspace(0, -seed / 2, 10)
        found = cla.quality(rows, ks=[1])
        lam = naive.spectrum(rows, "raw_centred") ** 2
        chain = [
            1.0,
            found.find("nesum").value,
            found.find("participation_ratio").value,
            naive.entropy_rank(lam),
            found.find("effective_rank", "raw_centred").value,
            found.find("numerical_rank", "raw_centred").value,
        ]
        assert chain == sorted(chain)


def test_vendi_score_and_gaussian_w2(case):
    rows, _, found, _ = case
    close(found.find("vendi_score"), naive.vendi(rows), 1e-8)
    w2 = found.find("uniformity_wasserstein", "gaussian_w2")
    close(w2, naive.gaussian_w2(rows), 1e-6)  # a square near 0 has half of the digits
    assert w2.unit == "none"
    assert found.find("uniformity_wasserstein").definition == "cosine_w1"
    assert found.find("uniformity_wasserstein").unit == "cosine"


def test_golden_values_of_vendi_score_and_gaussian_w2():
    i = np.arange(6.0)
    u = np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i]
    found = cla.quality(u, ks=[1])
    assert found.find("vendi_score").value == pytest.approx(3.783956629170, abs=1e-11)
    w2 = found.find("uniformity_wasserstein", "gaussian_w2")
    assert w2.value == pytest.approx(0.629169838438, abs=1e-11)


@pytest.mark.parametrize(("n", "d"), [(5, 5), (5, 9), (12, 12)])
def test_closed_forms_of_vendi_score_and_gaussian_w2(random, n, d):
    def both(rows):
        found = cla.quality(rows, ks=[1])
        return found.find("vendi_score"), found.find("uniformity_wasserstein", "gaussian_w2")

    rotation, _ = np.linalg.qr(random.standard_normal((d, d)))
    basis = rotation[:n]
    vendi, _ = both(basis)
    assert vendi.value == pytest.approx(n, rel=1e-12)
    vendi, w2 = both(np.vstack([basis, -basis]))  # of n directions, mean 0
    assert vendi.value == pytest.approx(n, rel=1e-12)
    # |m| = 0 and S = I/n on n directions: 2 - 2 sqrt(n / D)
    assert w2.value == pytest.approx(math.sqrt(2 - 2 * math.sqrt(n / d)), abs=1e-7)
    vendi, w2 = both(np.tile(basis[0], (n, 1)))
    assert vendi.value == pytest.approx(1.0, rel=1e-9)
    assert w2.value == pytest.approx(math.sqrt(2), rel=1e-7)


def test_gaussian_w2_of_uniform_points_falls_as_one_over_the_root_of_n():
    """W2^2 = |m|^2 + sum of (sqrt(lambda) - 1/sqrt(D))^2, in the mean (D + 3) / (4 N)."""
    for d, n in ((4, 400), (4, 6400), (32, 6400)):
        squares = [
            naive.gaussian_w2(np.random.default_rng(seed).standard_normal((n, d))) ** 2
            for seed in range(20)
        ]
        assert np.mean(squares) == pytest.approx((d + 3) / (4 * n), rel=0.15)
    rows = np.random.default_rng(0).standard_normal((6400, 32))
    found = cla.analyze(rows, metrics="quality", ks=[1], anchors=100).records
    w2 = found.find("uniformity_wasserstein", "gaussian_w2")
    assert w2.value**2 == pytest.approx(35 / (4 * 6400), rel=0.2)
    assert w2.exact, "no pair of rows is looked at"


def test_closed_forms_of_rank():
    assert cla.quality(np.eye(7), ks=[1]).find("effective_rank").value == pytest.approx(
        7, rel=1e-12
    )
    n = 6
    simplex = np.eye(n) - 1 / n
    found = cla.quality(simplex, ks=[1])
    assert found.find("effective_rank").value == pytest.approx(n - 1, rel=1e-6)
    assert found.find("numerical_rank").value == n - 1
    assert found.find("isoscore").value == pytest.approx((n - 2) / (n - 1), rel=1e-9)


def test_rounding_of_the_stored_numbers_is_no_direction(random):
    flat = random.standard_normal((500, 3)) @ random.standard_normal((3, 16))
    for dtype in (np.float16, np.float32, np.float64):
        found = cla.quality(flat.astype(dtype), ks=[1])
        assert found.find("numerical_rank").value == 3, dtype
        assert "13 of 16 directions are empty" in found.find("condition_number").reason
    full = random.standard_normal((500, 16)).astype(np.float16)
    assert cla.quality(full, ks=[1]).find("numerical_rank").value == 16


def test_too_many_dimensions_are_refused_not_tried(monkeypatch, random):
    monkeypatch.setattr("cl_analyze.metrics.quality.spectrum.WIDEST", 8)
    report = cla.analyze(random.standard_normal((30, 9)), metrics="quality", ks=[1])
    record = report.records.find("effective_rank")
    assert record.value is None
    assert record.reason == "needs min(N, D) of at most 8"
    assert "spectrum" not in report.tables
    assert report.records.find("vendi_score").reason == record.reason
    assert report.records.find("mean_cosine").value is not None


# ---- collapse


def judged(rows, labels=None):
    report = cla.analyze(rows, labels, metrics="quality", ks=[1])
    return report.tables["collapse"].rows[0]


def test_verdicts_on_collapse(random):
    full = random.standard_normal((300, 20))
    assert judged(full)["verdict"] == "none"
    assert judged(full)["text"].startswith("No dimensional collapse: uses 20 of 20 dimensions")
    for n in (8, 10):
        half = full * np.r_[np.ones(n), 1e-4 * np.ones(20 - n)]
        assert judged(half)["verdict"] == "partial"
    empty = judged(full * np.r_[np.ones(10), np.zeros(10)])
    assert (empty["verdict"], empty["directions_above_rounding"]) == ("partial", 10)
    cone = judged(full + 1.5)
    assert "but rows lie in a cone, with a mean cosine of 0." in cone["text"]
    line = full * np.r_[1.0, 1e-4 * np.ones(19)]
    assert judged(line)["verdict"] == "dimensional"
    assert judged(line)["directions_above_rounding"] == 20
    point = np.ones(20) + 1e-3 * full
    assert judged(point)["verdict"] == "complete"
    assert judged(point)["mean_cosine"] > 0.99
    same = judged(np.ones((10, 4)))
    assert (same["verdict"], same["effective_rank"]) == ("complete", None)
    labels = np.arange(300) % 4
    classes_alone = judged(np.eye(20)[labels] + 1e-4 * full, labels)
    assert "the class means" in classes_alone["text"]


def test_the_verdict_counts_directions_that_rows_can_fill():
    found = collapse.verdict(np.ones(11), 1e-9, 12, 100, 0.0, None)
    assert (found.verdict, found.possible_directions, found.directions_for_99_percent) == (
        "none",
        11,
        11,
    )
    few = collapse.verdict(np.ones(4), 1e-9, 5, 100, 0.0, None)
    assert few.verdict == "unknown"
    assert few.text.startswith("Too few rows to judge: uses 4 of 4 dimensions")
    assert collapse.verdict(np.ones(1), 1e-9, 50, 1, 0.0, None).verdict == "unknown"


# ---- geometry


def test_norms_and_mean_cosine(case):
    rows, _, found, _ = case
    norms = [float(np.linalg.norm(row)) for row in rows]
    close(found.find("norm_mean"), float(np.mean(norms)))
    close(found.find("norm_std"), float(np.std(norms)))
    x = naive.unit(rows)
    off = ~np.eye(len(x), dtype=bool)
    close(found.find("mean_cosine"), float((x @ x.T)[off].mean()))
    near = ((x @ x.T)[off].reshape(len(x), -1).max(axis=1) > 1 - 1e-6).mean()
    close(found.find("near_duplicate_share"), float(near))
    d = rows.shape[1]
    if d > 1:
        law = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
        distance = found.find("uniformity_wasserstein")
        expected = naive_losses.wasserstein(rows, law.ppf)
        assert distance.value == pytest.approx(expected, abs=2 / 2**14)
        assert not distance.exact
        assert distance.sampling_error == 2 / 2**14


@pytest.mark.parametrize(
    "metric", ["mean_cosine", "norm_mean", "norm_std", "modality_gap", "modality_gap_relative"]
)
def test_pseudo_values_are_those_of_deletions(random, metric):
    rows = random.standard_normal((12, 4)) + 0.5
    other = rows + 0.3 * random.standard_normal((12, 4))
    options = {"metrics": "quality", "ks": [1], "run": FLOAT64}
    record = cla.analyze(rows, pairs=other, **options).records.find(metric)
    for i in range(12):
        kept = np.arange(12) != i
        less = cla.analyze(rows[kept], pairs=other[kept], **options).records.find(metric).value
        assert record.pseudo_values[i] == pytest.approx(12 * record.value - 11 * less, abs=1e-9)
    expected = np.std(record.pseudo_values, ddof=1) / math.sqrt(12)
    assert record.std_error == pytest.approx(expected, rel=1e-9)


def test_hubness_against_scipy(case):
    rows, _, found, _ = case
    n = len(rows)
    for k in (10, 1, 3):
        record = found.find("hubness_skewness", k=k)
        if k > n - 1:
            assert "needs more than" in record.reason
            continue
        degrees = np.array(naive.in_degrees(rows, k))
        if degrees.std() > 0:
            close(record, float(stats.skew(degrees)))
        else:
            assert "equally often" in record.reason
        robin = 0.5 * np.abs(degrees - k).sum() / (n * k)
        close(found.find("hubness_robin_hood", k=k), float(robin))
        close(found.find("antihub_share", k=k), float((degrees == 0).mean()))


def test_hub_rows_are_listed(random):
    rows = random.standard_normal((120, 30)) + 1.0
    rows[7] = rows.mean(axis=0)  # in the middle of all
    report = cla.analyze(rows, labels=np.arange(120) % 3, metrics="quality", ks=[1])
    hubs = [row for row in report.tables["hubs"].rows if row["k"] == 10]
    assert hubs[0]["row"] == 7
    assert hubs[0]["class"] == "1"
    assert all(row["in_degree"] > 20 for row in hubs)
    counts = [row for row in report.tables["hubness_histogram"].rows if row["k"] == 10]
    assert sum(row["rows"] for row in counts) == 120
    assert sum(row["rows_if_random"] for row in counts) == pytest.approx(120, rel=1e-3)


def test_near_duplicates_are_listed_once(random):
    rows = random.standard_normal((20, 5))
    rows[9] = 3 * rows[4]
    report = cla.analyze(rows, metrics="quality", ks=[1])
    table = report.tables["near_duplicates"].rows
    assert [(row["row"], row["other_row"]) for row in table] == [(4, 9)]
    assert table[0]["cosine"] == pytest.approx(1.0)


# ---- kNN


def test_knn_against_loops(case):
    rows, labels, found, _ = case
    known = sum(label is not None for label in labels)
    texts = [None if label is None else str(label) for label in labels]
    for k in (1, 3, 10):
        record = found.find("knn_accuracy", "leave_one_out", k=k)
        if len({text for text in texts if text is not None}) < 2:
            assert record.reason == "needs two classes"  # every vote would be right
            continue
        if k > known - 1:
            assert record.reason == f"needs {k} labelled neighbours, there are {known - 1}"
            continue
        votes = naive.knn(rows, texts, k)
        right = [v[0] == text for v, text in zip(votes, texts, strict=True) if v is not None]
        top = [v[1] for v in votes if v is not None]
        close(record, float(np.mean(right)))
        close(found.find("knn_top5_accuracy", k=k), float(np.mean(top)))
        assert record.n == known


@pytest.mark.parametrize("some_unlabelled", [False, True])
def test_pseudo_values_of_knn_are_those_of_deletions(random, some_unlabelled):
    """A row is tested and votes: deleting it changes what others get."""
    n = 36
    codes = random.integers(0, 3, n)
    rows = random.standard_normal((n, 3)) + 0.8 * np.eye(3)[codes]
    rows[5] = rows[6]
    labels = codes.astype(str).astype("<U2")
    if some_unlabelled:
        labels[:6] = ""
    known = np.flatnonzero(labels != "")
    texts = [None if text == "" else str(text) for text in labels]
    for k in (1, 2, 5, len(known) - 1):
        record = cla.analyze(rows, labels, metrics="quality", ks=[k]).records.find("knn_accuracy")
        right = [v[0] == text for v, text in zip(naive.knn(rows, texts, k), texts) if v]  # noqa: B905
        without = []
        for i in known:
            kept = [j for j in range(n) if j != i]
            votes = naive.knn(rows[kept], [texts[j] for j in kept], k)
            hits = [v[0] == texts[j] for v, j in zip(votes, kept, strict=True) if v is not None]
            without.append(sum(hits))
        own = np.array(right, dtype=np.float64)
        changes = np.array(without) - (own.sum() - own)  # what others gain by each deletion
        pseudo = own.mean() + (own - own.mean()) - changes
        assert record.pseudo_values[known] == pytest.approx(pseudo, abs=1e-9), k
        assert 0 < record.std_error < 2 * np.std(own, ddof=1) / math.sqrt(len(known))


def test_knn_against_scikit_learn(random):
    labels = random.integers(0, 7, 300)
    rows = random.standard_normal((300, 12)) + 0.8 * np.eye(7, 12)[labels]
    train_labels = random.integers(0, 7, 500)
    train = random.standard_normal((500, 12)) + 0.8 * np.eye(7, 12)[train_labels]
    found = cla.quality(rows, labels, train=train, train_labels=train_labels, ks=[1, 20, 200])
    for k in (1, 20, 200):
        votes = KNeighborsClassifier(
            k, weights=lambda d: np.exp((1 - d) / 0.07), metric="cosine", algorithm="brute"
        ).fit(train, train_labels)
        expected = (votes.predict(rows) == labels).mean()
        record = found.find("knn_accuracy", k=k)
        assert record.definition == "train_set"
        assert record.value == pytest.approx(expected, abs=1e-12)
        probabilities = votes.predict_proba(rows)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        voted = np.take_along_axis(probabilities, best, axis=1) > 0
        among = ((best == labels[:, None]) & voted).any(axis=1).mean()
        assert found.find("knn_top5_accuracy", k=k).value == pytest.approx(among, abs=1e-12)


def test_training_sets_with_other_classes_and_unlabelled_rows(random):
    rows = random.standard_normal((30, 5))
    labels = [None if i % 5 == 0 else "abc"[i % 3] for i in range(30)]
    train = random.standard_normal((40, 5))
    train_labels = [None if i % 7 == 0 else "bcde"[i % 4] for i in range(40)]
    found = cla.quality(
        rows, as_array(labels), train=train, train_labels=as_array(train_labels), ks=[1, 5]
    )
    for k in (1, 5):
        votes = naive.knn(rows, labels, k, train, train_labels)
        right = [v[0] == label for v, label in zip(votes, labels, strict=True) if v is not None]
        close(found.find("knn_accuracy", k=k), float(np.mean(right)))


def test_a_training_row_may_be_the_tested_row(random):
    rows = random.standard_normal((25, 4))
    labels = np.arange(25)
    found = cla.quality(rows, labels, train=rows, train_labels=labels, ks=[1])
    assert found.find("knn_accuracy", k=1).value == 1.0  # unlike leave-one-out
    duplicates = np.repeat(rows[:5], 5, axis=0)  # ambiguous: scored against every column
    found = cla.quality(duplicates, labels, train=duplicates, train_labels=labels, ks=[1])
    assert found.find("knn_accuracy", k=1).value == pytest.approx(5 / 25)  # the first of equals


def test_ties_of_votes_go_to_the_lowest_class():
    rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6], [-1.0, 0.0]])
    found = cla.analyze(rows, ["b", "b", "a", "b"], metrics="quality", ks=[2])
    confusion = found.tables["confusion"].rows
    assert {"class": "b", "predicted": "a", "rows": 2}.items() <= next(
        row
        for row in confusion
        if row["classifier"] == "knn_2" and row["class"] == "b" and row["predicted"] == "a"
    ).items()


# ---- views


def test_recall_and_ranks_against_loops(case):
    rows, _, _, _ = case
    random = np.random.default_rng(3)
    size = np.abs(rows).max(axis=1, keepdims=True)
    other = rows / size + 0.4 * random.standard_normal(rows.shape)
    other[-1] = other[0]  # a tie
    found = cla.quality(rows, pairs=other, ks=[1, 3, 10], run=FLOAT64)
    for direction, u, v in (("forward", rows, other), ("backward", other, rows)):
        for k in (1, 3, 10):
            expected = naive.recall(u, v, k) if k < len(rows) else None
            close(found.find("recall_at_k", k=k, direction=direction), expected)
        ranks = [1 + a + b / 2 for a, b in naive.partner_ranks(u, v)]
        close(found.find("median_rank", direction=direction), float(np.median(ranks)))
    u, v = naive.unit(rows), naive.unit(other)
    apart = np.sqrt(((u - v) ** 2).sum(axis=1))
    close(found.find("alignment"), float((apart**2).mean()))
    cubed = cla.quality(rows, pairs=other, ks=[1], alignment_power=3)
    close(cubed.find("alignment", power=3.0), float((apart**3).mean()))
    gap = u.mean(axis=0) - v.mean(axis=0)
    close(found.find("modality_gap"), float(np.linalg.norm(gap)))
    close(found.find("modality_gap_relative"), naive.relative_gap(rows, other))
    left = float((((u - u.mean(axis=0)) - (v - v.mean(axis=0))) ** 2).sum(axis=1).mean())
    close(found.find("modality_gap_residual"), left)
    total = found.find("modality_gap").value ** 2 + found.find("modality_gap_residual").value
    close(found.find("alignment"), total)


def test_collapsed_views_retrieve_by_chance():
    rows = np.ones((40, 3))
    found = cla.quality(rows, pairs=rows, ks=[1, 10])
    assert found.find("recall_at_k", k=10).value == pytest.approx(10 / 40)
    assert found.find("median_rank").value == pytest.approx(20.5)


# ---- class structure


def test_class_structure_against_loops(case):
    rows, labels, found, name = case
    scale = np.abs(rows).max()
    for form, x in (("raw", rows / scale), ("normalised", naive.unit(rows))):
        plain = naive.Classes(x, labels)
        if len(plain.names) < 2:
            assert found.find("nc1", form).reason == "needs two classes"
            assert found.find("silhouette").reason == "needs two classes"
            continue
        spread = max(np.linalg.norm(m - plain.mean) for m in plain.means.values())
        if spread < 1e-12:
            continue
        n = len(plain.names)
        for suffix, centre in (("", plain.mean), ("_balanced", plain.centre)):
            name = form + suffix
            close(found.find("nc1_trace_ratio", name), plain.trace_ratio(centre), 1e-8)
            norms = [float(np.linalg.norm(m - centre)) for m in plain.means.values()]
            close(found.find("nc2_equinorm", name), float(np.std(norms) / np.mean(norms)), 1e-8)
            ideal = (np.eye(n) - 1 / n) / math.sqrt(n - 1)
            close(found.find("nc2_etf", name), plain.frame(centre, ideal), 1e-8)
            close(found.find("nc1", name), plain.nc1(centre), 1e-6)
            cosines = plain.cosines(centre)
            close(found.find("nc2_equiangular", name), float(np.std(cosines)), 1e-7)
            expected = float(np.mean([abs(c + 1 / (n - 1)) for c in cosines]))
            close(found.find("nc2_maximal_angle", name), expected, 1e-7)
        orthogonal = plain.frame(0, np.eye(n) / math.sqrt(n))
        close(found.find("nc2_orthogonal_frame", form), orthogonal, 1e-8)
        suffix = "" if form == "raw" else "_normalised"
        close(found.find("cdnv", "standard" + suffix), plain.cdnv(), 1e-8)
        close(found.find("cdnv", "directional" + suffix), plain.directional_cdnv(), 1e-8)
        nearest = plain.nearest_centre()
        right = float(np.mean([nearest[i] == labels[i] for i in plain.known]))
        close(found.find("ncc_accuracy", form), right)
        if 2 <= n <= len(plain.known) - 1:
            scores = silhouette_samples(
                np.array([plain.x[i] for i in plain.known]),
                [str(labels[i]) for i in plain.known],
                metric="sqeuclidean",
            )
            definition = "class_sum" if form == "normalised" else "class_sum_raw"
            close(found.find("silhouette", definition), float(scores.mean()), 1e-8)


def frames(c, n, noise, random, orthogonal=False):
    means = np.eye(c) if orthogonal else np.eye(c) - 1 / c
    labels = np.repeat(np.arange(c), n)
    means = means / np.linalg.norm(means, axis=1, keepdims=True)
    return means[labels] + noise * random.standard_normal((c * n, c)), labels


def test_a_collapsed_simplex_scores_zero_everywhere(random):
    rows, labels = frames(6, 5, 0.0, random)
    found = cla.quality(rows, labels, ks=[1])
    for metric in ("nc1", "nc1_trace_ratio", "nc2_equinorm", "nc2_equiangular"):
        assert found.find(metric).value == pytest.approx(0.0, abs=1e-12)
    for metric in ("nc2_maximal_angle", "nc2_etf", "cdnv"):
        assert found.find(metric).value == pytest.approx(0.0, abs=1e-12)
    expected = math.sqrt(2 - 2 * math.sqrt(5 / 6))
    assert found.find("nc2_orthogonal_frame").value == pytest.approx(expected, abs=1e-10)
    assert expected == pytest.approx(0.4174423813, abs=1e-10)
    assert found.find("silhouette").value == pytest.approx(1.0)
    assert found.find("ncc_accuracy").value == 1.0


def test_orthonormal_means_are_both_frames(random):
    rows, labels = frames(6, 5, 0.0, random, orthogonal=True)
    found = cla.quality(rows, labels, ks=[1])
    assert found.find("nc2_orthogonal_frame").value == pytest.approx(0.0, abs=1e-12)
    assert found.find("nc2_etf").value == pytest.approx(0.0, abs=1e-12)


def test_isotropic_noise_about_a_simplex_has_the_expected_nc1(random):
    c, n, sigma = 6, 40, 0.1
    expected = sigma**2 * (n - 1) / n * (c - 1) ** 2 / c
    assert expected == pytest.approx(0.0406, abs=1e-4)
    values = []
    for _ in range(20):
        rows, labels = frames(c, n, sigma, random)
        form = FormRows("raw", UnitRows(RowArray.of(rows), np.float64, 1 << 20))
        found = classes.class_structure(classes.class_geometry(form, labels, c), by_row=False)
        values.append(found.within_over_between[0])
    assert np.mean(values) == pytest.approx(expected, rel=0.05)


def test_tight_classes_far_from_the_origin_keep_their_digits(random):
    rows, labels = frames(4, 10, 1e-6, random)
    plain = naive.Classes(rows, labels.tolist())
    found = cla.quality(rows + 1000.0, labels, ks=[1])
    assert found.find("cdnv").value == pytest.approx(plain.cdnv(), rel=1e-4)
    assert found.find("nc1").value == pytest.approx(plain.nc1(plain.mean), rel=1e-4)


def test_errors_of_the_silhouette_are_those_of_deletions(random):
    rows, labels = frames(3, 14, 0.7, random)
    labels[labels == 2] = np.r_[np.full(10, 2), np.full(4, 1)]
    record = cla.quality(rows, labels, ks=[1]).find("silhouette")
    n = len(rows)
    less = []
    for i in range(n):
        kept = np.arange(n) != i
        scores = silhouette_samples(naive.unit(rows[kept]), labels[kept], metric="sqeuclidean")
        less.append(scores.mean())
    jackknife = np.std(n * record.value - (n - 1) * np.array(less), ddof=1) / math.sqrt(n)
    assert record.std_error == pytest.approx(jackknife, rel=0.12)
    alone = np.std(silhouette_samples(naive.unit(rows), labels, metric="sqeuclidean"), ddof=1)
    assert abs(alone / math.sqrt(n) / jackknife - 1) > 0.2  # own values alone are not enough


def test_tables_by_class(case):
    rows, labels, _, name = case
    report = cla.analyze(rows, as_array(labels), metrics=("tolerance", "quality"), ks=[1])
    by_class = {row["class"]: row for row in report.tables["quality_by_class"].rows}
    for row in report.tables["tolerance_by_class"].rows:
        found = by_class[row["class"]]
        assert found["n"] == row["n"]
        if row["tolerance"] is None:
            assert found["tolerance"] is None
        else:
            assert found["tolerance"] == pytest.approx(row["tolerance"], abs=1e-9)
    x = naive.unit(rows)
    for name, row in by_class.items():
        own = [i for i, label in enumerate(labels) if str(label) == name]
        terms = [
            math.exp(-2 * float(((x[i] - x[j]) ** 2).sum())) for i in own for j in own if i != j
        ]
        if terms:
            assert row["uniformity"] == pytest.approx(math.log(np.mean(terms)), abs=1e-6)
        else:
            assert row["uniformity"] is None
    assert sorted(row["order"] for row in by_class.values()) == list(range(1, len(by_class) + 1))
    for row in report.tables.get("class_pairs", cla.Table("", (), ())).rows:
        a = [i for i, label in enumerate(labels) if str(label) == row["class_a"]]
        b = [i for i, label in enumerate(labels) if str(label) == row["class_b"]]
        expected = np.mean([float(x[i] @ x[j]) for i in a for j in b])
        assert row["similarity"] == pytest.approx(expected, abs=1e-9)


def test_the_classes_that_share_neighbours_come_first(random):
    """A wide class has a large CDNV with every other, and shares neighbours with none of them."""
    labels = np.repeat(["left", "right", "wide", "far"], 60)
    centres = np.repeat(np.eye(4, 12)[[0, 0, 1, 2]] * 6.0, 60, axis=0)
    spread = np.repeat([1.0, 1.0, 2.5, 1.0], 60)[:, None]
    rows = centres + spread * random.standard_normal((240, 12))
    report = cla.analyze(rows, labels, metrics="quality", ks=[10])
    by_class = {row["class"]: row for row in report.tables["quality_by_class"].rows}
    assert by_class["left"]["closest_class"] == "right"
    assert by_class["right"]["closest_class"] == "left"
    first = report.tables["class_pairs"].rows[0]
    assert (first["class_a"], first["class_b"]) == ("left", "right")
    near = naive.neighbours(rows, 10)
    own = [labels[j] for i in range(240) if labels[i] == "left" for j, _ in near[i]]
    share = np.mean([name == "right" for name in own])
    assert first["neighbours_a_in_b"] == pytest.approx(share)
    assert by_class["left"]["closest_share"] == pytest.approx(share)
    pairs = report.tables["class_pairs"].rows
    assert [row["class_a"] == row["class_b"] for row in pairs] == [False] * 6 + [True] * 4


def test_more_classes_than_pairs_can_be_looked_at(random, monkeypatch):
    monkeypatch.setattr(classes, "MOST_CLASSES", 5)
    report = cla.analyze(
        random.standard_normal((60, 8)), np.arange(60) % 12, metrics="quality", ks=[1]
    )
    assert report.records.find("cdnv").reason == "needs every pair of classes: 12, at most 5"
    assert report.records.find("nc1").value is not None
    assert report.records.find("ncc_accuracy").value is not None
    assert "class_pairs" not in report.tables


# ---- the probe


def problem(random, n=400, d=8, c=4, apart=1.0):
    labels = random.integers(0, c, n)
    rows = random.standard_normal((n, d)) + apart * np.eye(c, d)[labels]
    return (rows * np.logspace(0, 2, d) + 5).astype(np.float32), labels


def split_of(n):
    at = np.arange(n)
    return probe.Split(at[: 3 * n // 4], at[: n // 4], at[3 * n // 4 :])


@pytest.mark.parametrize("form", ["raw", "normalised"])
def test_the_probe_is_scikit_learns(random, monkeypatch, form):
    monkeypatch.setattr(logistic, "GRADIENT_TOLERANCE", 1e-9)
    monkeypatch.setattr(logistic, "LOSS_TOLERANCE", 0.0)
    rows, labels = problem(random)
    split = split_of(len(rows))
    unit = UnitRows(RowArray.of(rows), np.float32, 1 << 20)
    view = FormRows(form, unit, float(unit.stored_norms().max()))
    found = probe.fit(view, labels, split, 2)
    x = view.block(0, len(rows))
    centre = x[split.train].mean(axis=0)
    spread = np.sqrt(x[split.train].var(axis=0).mean())  # one for all: rotations change nothing
    c = 1.0 / (found.penalty * len(split.train))
    theirs = LogisticRegression(C=c, tol=1e-9, max_iter=10_000).fit(
        (x[split.train] - centre) / spread, labels[split.train]
    )
    mine = (found.weights * spread).T
    assert np.abs(mine - theirs.coef_).max() < 5e-4 * np.abs(theirs.coef_).max()
    tested = probe.test(found, view, labels, split.test)
    scores = theirs.predict_proba((x[split.test] - centre) / spread)
    assert (tested.predicted == theirs.predict((x[split.test] - centre) / spread)).all()
    assert np.abs(tested.confidence - scores.max(axis=1)).max() < 1e-3
    own = -np.log(scores[np.arange(len(scores)), labels[split.test]])
    assert np.abs(tested.log_loss - own).max() < 1e-3


def test_the_penalty_is_the_best_on_validation_rows(random):
    rows, labels = problem(random, apart=0.6)
    split = split_of(len(rows))
    unit = UnitRows(RowArray.of(rows), np.float32, 1 << 20)
    view = FormRows("normalised", unit)
    found = probe.fit(view, labels, split, 1)
    x = view.block(0, len(rows)).astype(np.float64)
    centre, spread = x[split.train].mean(axis=0), np.sqrt(x[split.train].var(axis=0).mean())
    x = (x - centre) / spread
    rest = np.setdiff1d(split.train, split.validation)
    losses = {}
    for weight in logistic.PENALTIES:
        theirs = LogisticRegression(C=1 / (weight * len(rest)), max_iter=5_000).fit(
            x[rest], labels[rest]
        )
        logs = theirs.predict_log_proba(x[split.validation])
        losses[weight] = -logs[np.arange(len(logs)), labels[split.validation]].mean()
    assert found.penalty == min(losses, key=losses.get)
    assert found.validation_log_loss == pytest.approx(min(losses.values()), rel=1e-3)


@pytest.mark.parametrize("groups", [None, np.arange(400) // 7])
def test_folds_are_a_partition_that_respects_classes_or_groups(random, groups):
    codes = random.integers(-1, 5, 400)
    part = probe.folds(codes, groups, random)
    assert ((part >= 0) == (codes >= 0)).all()
    sizes = np.bincount(part[part >= 0], minlength=5)
    assert np.ptp(sizes) <= (1 if groups is None else 7)
    if groups is None:
        for c in range(5):
            assert np.ptp(np.bincount(part[codes == c], minlength=5)) <= 1
    else:
        for group in np.unique(groups):
            assert len(set(part[(groups == group) & (codes >= 0)])) <= 1


def test_no_row_is_tested_by_a_probe_that_saw_it(random, monkeypatch):
    """Labels are noise: a probe can only be right by having seen the row."""
    rows = random.standard_normal((200, 150))
    labels = random.integers(0, 2, 200)
    found = cla.quality(rows, labels, ks=[1])
    for form in ("raw", "normalised"):
        record = found.find("probe_accuracy", form)
        assert record.n == 200
        assert abs(record.value - 0.5) < 4 * math.sqrt(0.25 / 200)
    seen = cla.quality(rows, labels, train=rows, train_labels=labels, ks=[1])
    assert seen.find("probe_accuracy").value > 0.8


def test_of_many_rows_one_fifth_is_tested(random, monkeypatch):
    monkeypatch.setattr("cl_analyze.metrics.quality.probe.FOLDED_ROWS", 100)
    monkeypatch.setattr("cl_analyze.metrics.quality.probe.MOST_ROWS", 70)
    rows, labels = problem(random, n=150)
    report = cla.analyze(rows, labels, metrics="quality", ks=[1])
    table = report.tables["probe"].rows
    assert [row["definition"] for row in table] == ["raw", "normalised"]
    assert table[0]["n_test"] == 30
    assert table[0]["n_train"] == 70
    assert table[0]["n_validation"] == 14
    assert table[0]["split"] == (
        "a fifth held out, balanced by class; 70 of the training rows drawn"
    )


def test_what_is_tested_and_the_tables_agree(random):
    rows, labels = problem(random, n=300)
    report = cla.analyze(rows, labels, metrics="quality", ks=[1, 20])
    for form in ("raw", "normalised"):
        record = report.records.find("probe_accuracy", form)
        table = [row for row in report.tables["probe"].rows if row["definition"] == form]
        folds, everything = table[:-1], table[-1]
        assert [row["fold"] for row in folds] == [1, 2, 3, 4, 5]
        assert sum(row["n_test"] for row in folds) == everything["n_test"] == 300
        assert everything["accuracy"] == pytest.approx(record.value)
        assert everything["low"] < record.value < everything["high"]
        confusion = [
            row for row in report.tables["confusion"].rows if row["classifier"] == f"probe_{form}"
        ]
        assert sum(row["rows"] for row in confusion) == 300
        right = sum(row["rows"] for row in confusion if row["class"] == row["predicted"])
        assert right / 300 == pytest.approx(record.value)
        bins = [row for row in report.tables["probe_calibration"].rows if row["definition"] == form]
        error = sum(row["rows"] * abs(row["accuracy"] - row["mean_confidence"]) for row in bins)
        calibration = report.records.find("probe_calibration_error", form)
        assert calibration.value == pytest.approx(error / 300)
    by_class = report.tables["quality_by_class"].rows
    weighted = sum(row["probe_accuracy"] * row["probe_rows"] for row in by_class)
    normalised = report.records.find("probe_accuracy", "normalised").value
    assert weighted / 300 == pytest.approx(normalised)
    knn = report.records.find("knn_accuracy", k=20).value
    assert sum(row["knn_accuracy"] * row["n"] for row in by_class) / 300 == pytest.approx(knn)


def test_nc3_and_nc4_of_a_collapsed_simplex(random):
    rows, labels = frames(4, 30, 1e-3, random)
    found = cla.quality(rows, labels, ks=[1])
    assert found.find("nc3").value < 0.02  # the probe's weights are the class means
    assert found.find("nc4_disagreement").value == 0.0
    noisy, labels = frames(4, 30, 2.0, random)
    found = cla.quality(noisy, labels, ks=[1])
    assert found.find("nc4_disagreement").value > 0.05


def test_probes_of_what_cannot_be_probed(random):
    rows = random.standard_normal((12, 3))
    for labels in (["a"] * 12, ["a"] + [""] * 11):
        record = cla.quality(rows, np.array(labels), ks=[1]).find("probe_accuracy")
        assert record.value is None
        assert "two classes" in record.reason
    constant = np.c_[np.ones(40), random.standard_normal(40)]  # a feature that never varies
    found = cla.quality(constant, np.arange(40) % 2, ks=[1])
    assert 0 <= found.find("probe_accuracy").value <= 1


def test_errors_of_class_structure_and_hubness_are_those_of_deleted_groups(random):
    rows, labels = frames(3, 40, 0.6, random)
    whole = cla.quality(rows, labels, ks=[10], seed=5)
    groups = jackknife_groups(len(rows), None, 5)
    less = []
    for group in range(20):
        kept = groups != group
        less.append(cla.quality(rows[kept], labels[kept], ks=[10]))
    for metric in ("nc1", "cdnv", "nc2_etf", "nc2_equinorm", "hubness_skewness", "antihub_share"):
        values = [found.find(metric).value for found in less]
        expected = math.sqrt(19 / 20 * sum((v - np.mean(values)) ** 2 for v in values))
        assert whole.find(metric).std_error == pytest.approx(expected, rel=1e-6), metric


def test_errors_of_calibration_are_those_of_deletions(random):
    confidence = random.uniform(0.3, 1.0, 50)
    correct = random.uniform(size=50) < confidence
    found = probe.calibration(confidence, correct)
    for i in range(50):
        kept = np.arange(50) != i
        less = probe.calibration(confidence[kept], correct[kept]).error
        assert found.without[i] == pytest.approx(less, abs=1e-12)


# ---- odd inputs


def test_two_classes_with_one_mean_have_no_cdnv(random):
    """Means of the same rows in another order differ by rounding, which must not be a distance."""
    rows = random.standard_normal((20, 5))
    far = random.standard_normal((20, 5)) + 10
    x = np.vstack([rows, rows[random.permutation(20)], far])
    report = cla.analyze(x, np.repeat(["a", "b", "c"], 20), metrics="quality", ks=[1])
    for definition in ("standard", "directional", "standard_normalised"):
        record = report.records.find("cdnv", definition)
        assert record.reason == "the means of two classes do not differ by more than rounding"
    pairs = {(r["class_a"], r["class_b"]): r["cdnv"] for r in report.tables["class_pairs"].rows}
    assert pairs["a", "b"] is None
    assert pairs["a", "c"] < 1


def test_a_class_mean_on_the_centre_has_no_direction(random):
    s, m = random.standard_normal((10, 4)), np.r_[1.0, 0, 0, 0]
    x = np.vstack([s + m, s, s - m]) + 0.1
    found = cla.quality(x, np.repeat([0, 1, 2], 10), ks=[1])
    for definition in ("raw", "raw_balanced"):
        for metric in ("nc2_equiangular", "nc2_maximal_angle"):
            assert "lies on the centre" in found.find(metric, definition).reason
        assert found.find("nc2_equinorm", definition).value is not None


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e153, 1e200, 1e300])
def test_norms_at_the_ends_of_float64(random, scale):
    flat = random.standard_normal((60, 3)) @ random.standard_normal((3, 8))
    labels = np.arange(60) % 3
    one = cla.analyze(flat, labels, metrics="quality", ks=[1]).records
    report = cla.analyze(flat * scale, labels, metrics="quality", ks=[1])
    for a, b in zip(one, report.records, strict=True):
        if a.metric in ("norm_mean", "norm_std") or a.metric.startswith(("probe", "nc")):
            continue
        assert (a.value is None) == (b.value is None), a.name
        if a.value is not None:
            assert b.value == pytest.approx(a.value, rel=1e-6, abs=1e-9), a.name
    assert report.records.find("numerical_rank").value == 3
    assert report.records.find("nc1").value == pytest.approx(one.find("nc1").value, rel=1e-6)


def test_recall_over_more_rows_than_there_are(random):
    rows = random.standard_normal((6, 3))
    found = cla.quality(rows, pairs=rows + 0.1, ks=[5, 6])
    assert found.find("recall_at_k", k=5).value is not None
    assert found.find("recall_at_k", k=6).reason == "needs more than 6 rows"


def test_hardly_any_anchor_is_labelled(random):
    rows = random.standard_normal((60, 4))
    labels = np.array(["a", "b", "a", *[""] * 57])
    for options in ({}, {"train": rows, "train_labels": labels}):
        found = cla.analyze(rows, labels, metrics="quality", ks=[1], anchors=10, **options)
        assert "too few of the anchors" in found.records.find("knn_accuracy").reason


def test_two_rows_count_as_two(random):
    found = cla.quality(random.standard_normal((2, 8)), [0, 1], ks=[1])
    assert found.find("mean_cosine").n == 2
    assert found.find("mean_cosine").std_error is None


def test_more_neighbours_than_rows_cost_no_memory(random):
    rows = random.standard_normal((50, 4))
    found = cla.quality(rows, np.arange(50) % 2, ks=[1, 10**7])
    assert found.find("knn_accuracy", k=10**7).reason == (
        "needs 10000000 labelled neighbours, there are 49"
    )
    assert found.find("knn_accuracy", k=1).value is not None


def test_training_sets_are_checked_like_the_rows(random):
    rows, labels = problem(random, n=60)
    train, train_labels = problem(random, n=80)
    train[3] = np.nan
    with pytest.raises(cla.DataError, match="1 row has NaN or infinite values"):
        cla.quality(rows, labels, train=train, train_labels=train_labels)
    report = cla.analyze(
        rows, labels, metrics="quality", train=train, train_labels=train_labels, ks=[1],
        run=cla.RunOptions(on_invalid="drop"),
    )  # fmt: skip
    kept = np.arange(80) != 3
    same = cla.quality(rows, labels, train=train[kept], train_labels=train_labels[kept], ks=[1])
    for metric in ("knn_accuracy", "probe_accuracy"):
        assert report.records.find(metric).value == same.find(metric).value
    assert [entry["dropped_rows"] for entry in report.document.inputs] == [0, 0, 1, 1]
    names = np.array(["cat", "dog", "emu", "fox"])[train_labels]
    with pytest.raises(cla.DataError, match="has none of the classes of embeddings: classes cat"):
        cla.quality(rows, labels, train=train[kept], train_labels=names[kept])
    same = cla.analyze(rows, labels, metrics="quality", train=rows, train_labels=labels, ks=[1])
    assert any("60 rows have a near-duplicate" in text for text in same.warnings)
    texts = np.where(np.arange(79) < 5, "", train_labels[kept].astype(str))
    partly = cla.analyze(rows, labels, metrics="quality", train=train[kept], train_labels=texts,
                         ks=[1])  # fmt: skip
    assert any("5 training rows are unlabelled and left out" in text for text in partly.warnings)
    some = np.where(train_labels == 2, 1, train_labels)
    report = cla.analyze(rows, labels, metrics="quality", train=train[kept],
                         train_labels=some[kept], ks=[1])  # fmt: skip
    assert any("no row of the classes 2" in text for text in report.warnings)


def test_what_is_resumed_belongs_to_the_same_rows(tmp_path, random):
    """Passes over labelled rows alone, or over part of a training set, are kept apart."""
    labels = np.arange(120) % 3
    rows = random.standard_normal((120, 5)) + np.eye(3, 5)[labels]

    def accuracies(unlabelled, resume, train_labels=None):
        run = cla.RunOptions(unlabelled=unlabelled, resume=resume)
        train = None if train_labels is None else rows[::-1]
        found = cla.analyze(
            rows, labels, metrics="quality", ks=[1, 5], train=train, train_labels=train_labels,
            run=run,
        )  # fmt: skip
        return [r.value for r in found.records if r.metric == "knn_accuracy"]

    for first, second in (("1", "0"), ("0", "2")):
        fresh = accuracies(second, None)
        folder = tmp_path / first
        accuracies(first, folder)
        assert accuracies(second, folder) == fresh
        assert accuracies(second, folder) == fresh
    texts = np.array([str(label) for label in labels[::-1]], dtype="<U2")
    for at in (slice(0, 30), slice(90, 120)):
        some = texts.copy()
        some[at] = ""
        fresh = accuracies(None, None, some)
        assert accuracies(None, tmp_path / "train", some) == fresh


def test_other_processes_and_blas_threads_change_nothing(tmp_path, random):
    from concurrent.futures import ProcessPoolExecutor

    from threadpoolctl import threadpool_limits

    labels = np.arange(300) % 5
    rows = random.standard_normal((300, 40)) + np.eye(5, 40)[labels]
    np.savez(tmp_path / "z.npz", embeddings=rows, labels=labels, view1=rows, view2=rows + 0.1)
    path = str(tmp_path / "z.npz")

    def text(**options):
        document = cla.analyze(path, metrics="quality", **options).document.to_dict()
        return to_json({"results": document["results"], "tables": document["tables"]})

    whole = text()
    with threadpool_limits(limits=1):
        assert text() == whole
    with ProcessPoolExecutor(2) as pool:
        assert text(executor=pool) == whole
