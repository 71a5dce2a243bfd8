"""Every metric and definition against loops over pairs, on plain and adversarial inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import cl_analyze as cla
from tests.reference import naive
from tests.reference.cases import as_array, cases

CASES = cases()
FLOAT64 = cla.RunOptions(precision="float64", block=7)
FLOAT32 = cla.RunOptions(precision="float32", block=16)


@pytest.fixture(params=list(CASES))
def case(request):
    rows, labels = CASES[request.param]
    return rows, labels, naive.cosines(rows)


def close(found, expected, tolerance):
    if expected is None:
        assert found.value is None
        assert found.reason
        return
    assert found.value == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("t", [0.5, 2.0, 200.0])
def test_uniformity_is_the_mean_over_ordered_pairs(case, t):
    rows, _, s = case
    found = cla.analyze(rows, ts=[t], metrics="uniformity", run=FLOAT64).records
    close(found.find("uniformity", "u_stat"), naive.uniformity(s, t), 1e-9)
    close(found.find("uniformity", "v_stat"), naive.uniformity(s, t, self_pairs=True), 1e-9)


def test_uniformity_error_is_the_exact_variance_of_the_u_statistic(random):
    rows = random.standard_normal((9, 3))
    s = naive.cosines(rows)
    found = cla.uniformity(rows, t=1.0, run=FLOAT64)
    expected = math.sqrt(naive.uniformity_variance(s, 1.0)) / math.exp(naive.uniformity(s, 1.0))
    assert found.std_error == pytest.approx(expected, rel=1e-9)


def test_uniformity_has_no_error_under_four_rows(random):
    assert cla.uniformity(random.standard_normal((3, 2))).std_error is None
    assert cla.uniformity(random.standard_normal((4, 2))).std_error is not None


def test_tolerance_in_every_definition(case):
    rows, labels, s = case
    found = cla.tolerance(rows, as_array(labels), run=FLOAT64)
    expected = naive.tolerance(s, labels)
    for definition in ("micro_excl", "macro_excl", "micro_incl", "indicator"):
        close(found.find("tolerance", definition), expected[definition], 1e-9)
    close(found.find("between_class_similarity"), expected["between"], 1e-9)
    close(found.find("tolerance_gap"), expected["gap"], 1e-9)


@pytest.mark.parametrize("tau", [0.01, 0.07, 0.5, 5.0])
def test_penalty_summaries(case, tau):
    rows, labels, s = case
    found = cla.penalty(rows, as_array(labels), taus=[tau], run=FLOAT64)
    expected = naive.penalty(s, tau, labels)
    for metric in (
        "penalty_entropy",
        "penalty_top1_share",
        "penalty_top10_share",
        "penalty_false_negative_share",
        "penalty_false_negative_ratio",
    ):
        close(found.find(metric), expected[metric], 1e-9)
    for definition in ("mean_exp", "exp_mean"):
        close(found.find("penalty_effective_negatives", definition), expected[definition], 1e-9)


@pytest.mark.parametrize("tau", [0.05, 0.3])
def test_penalty_with_class_negatives(tau):
    rows, labels = CASES["some unlabelled"]
    s = naive.cosines(rows)
    allowed = [[a is not None and b is not None and a != b for b in labels] for a in labels]
    found = cla.penalty(rows, as_array(labels), taus=[tau], negatives="class", run=FLOAT64)
    expected = naive.penalty(s, tau, None, allowed)
    for metric in ("penalty_entropy", "penalty_top1_share", "penalty_top10_share"):
        close(found.find(metric, negatives="class"), expected[metric], 1e-9)
    share = found.find("penalty_false_negative_share")
    assert share.value is None
    assert "class negatives" in share.reason


def test_nearest_negatives(case):
    rows, _, s = case
    found = cla.similarity(rows, top_k=4, run=FLOAT64)
    for rank in range(1, 5):
        values = [pair[0] for pair in naive.nearest(s, rank) if pair is not None]
        record = found.find("similarity_mean", group=f"negative_{rank}")
        close(record, naive.mean(values), 1e-9)
        assert record.n == len(values)
        if values:
            std = found.find("similarity_std", group=f"negative_{rank}")
            assert std.value == pytest.approx(float(np.std(values)), abs=1e-9)
            for q in (0.05, 0.25, 0.5, 0.75, 0.95):
                quantile = found.find("similarity_quantile", group=f"negative_{rank}", q=q)
                assert quantile.value == pytest.approx(float(np.quantile(values, q)), abs=1e-9)


def test_nearest_negatives_of_other_classes():
    rows, labels = CASES["some unlabelled"]
    s = naive.cosines(rows)
    allowed = [[a is not None and b is not None and a != b for b in labels] for a in labels]
    found = cla.similarity(rows, as_array(labels), negatives="class", top_k=3, run=FLOAT64)
    for rank in (1, 2, 3):
        values = [pair[0] for pair in naive.nearest(s, rank, allowed) if pair is not None]
        record = found.find("similarity_mean", group=f"negative_{rank}", negatives="class")
        close(record, naive.mean(values), 1e-9)
        assert record.n == sum(label is not None for label in labels)


def test_class_positives(case):
    rows, labels, s = case
    found = cla.similarity(rows, as_array(labels), run=FLOAT64)
    same = naive.same_class(labels)
    n = len(labels)
    values = [s[i][j] for i in range(n) for j in range(i + 1, n) if same[i][j]]
    record = found.find("similarity_mean", "same_class", group="positive")
    close(record, naive.mean(values), 1e-9)
    if not values:
        return
    std = found.find("similarity_std", "same_class", group="positive")
    assert std.value == pytest.approx(float(np.std(values)), abs=1e-7)
    for q in (0.05, 0.5, 0.95):
        quantile = found.find("similarity_quantile", group="positive", q=q)
        assert not quantile.exact
        below = np.mean(np.array(values) <= quantile.value + quantile.sampling_error)
        above = np.mean(np.array(values) >= quantile.value - quantile.sampling_error)
        assert below >= q - 1e-12
        assert above >= 1 - q - 1e-12


def test_paired_positives_and_negatives_from_the_second_file(random):
    u, v = random.standard_normal((2, 30, 5))
    s = naive.cosines(u, v)
    found = cla.similarity(u, pairs=v, top_k=2, run=FLOAT64)
    record = found.find("similarity_mean", "view_pairs", group="positive")
    close(record, naive.mean(s[i][i] for i in range(30)), 1e-12)
    for rank in (1, 2):
        values = [pair[0] for pair in naive.nearest(s, rank)]
        close(found.find("similarity_mean", group=f"negative_{rank}"), naive.mean(values), 1e-9)


def test_views_pair_up_while_negatives_stay_within_the_embeddings(random):
    stack = random.standard_normal((25, 2, 4))
    found = cla.similarity(stack, top_k=1, run=FLOAT64)
    across = naive.cosines(stack[:, 0], stack[:, 1])
    within = naive.cosines(stack[:, 0])
    positive = found.find("similarity_mean", "view_pairs", group="positive")
    close(positive, naive.mean(across[i][i] for i in range(25)), 1e-12)
    negatives = naive.mean(pair[0] for pair in naive.nearest(within, 1))
    close(found.find("similarity_mean", group="negative_1"), negatives, 1e-9)


@pytest.mark.parametrize("name", ["plain", "clustered", "duplicates", "some unlabelled"])
def test_float32_means_are_within_1e_6(name):
    rows, labels = CASES[name]
    arguments = {"labels": as_array(labels), "taus": [0.07, 0.2, 1.0], "curve_anchors": None}
    fast = cla.analyze(rows, run=FLOAT32, **arguments).records
    exact = cla.analyze(rows, run=FLOAT64, **arguments).records
    assert len(fast) == len(exact)
    for one, other in zip(fast, exact, strict=True):
        assert (one.metric, one.definition, one.params) == (
            other.metric,
            other.definition,
            other.params,
        )
        if one.value is None:
            assert other.value is None
            continue
        if one.metric == "similarity_quantile" and not one.exact:
            assert one.value == pytest.approx(other.value, abs=2 * one.sampling_error)
            continue
        if not one.exact:  # from bins: few pairs of so few rows lie beside a threshold
            assert one.value == pytest.approx(other.value, abs=2 * one.sampling_error + 1e-6)
            continue
        # per row the error grows as 8 eps32 / tau
        bound = 1e-6
        assert one.value == pytest.approx(other.value, rel=bound, abs=bound)
        if one.std_error is not None:
            assert one.std_error == pytest.approx(other.std_error, rel=2e-3, abs=1e-7)


# ---- error bars: delete each row and compute everything again


ERRORS = {
    ("tolerance", "micro_excl"): lambda x, y: naive.tolerance(naive.cosines(x), y)["micro_excl"],
    ("tolerance", "macro_excl"): lambda x, y: naive.tolerance(naive.cosines(x), y)["macro_excl"],
    ("tolerance", "micro_incl"): lambda x, y: naive.tolerance(naive.cosines(x), y)["micro_incl"],
    ("tolerance", "indicator"): lambda x, y: naive.tolerance(naive.cosines(x), y)["indicator"],
    ("between_class_similarity", None): lambda x, y: naive.tolerance(naive.cosines(x), y)[
        "between"
    ],
    ("tolerance_gap", None): lambda x, y: naive.tolerance(naive.cosines(x), y)["gap"],
}


@pytest.mark.parametrize("key", list(ERRORS), ids=str)
@pytest.mark.parametrize("name", ["clustered", "duplicates"])
def test_tolerance_errors_are_the_jackknife(name, key):
    rows, labels = CASES[name]
    rows, labels = rows[:24], labels[:24]
    metric, definition = key
    found = cla.tolerance(rows, as_array(labels), run=FLOAT64).find(metric, definition)
    error = naive.jackknife_error(
        lambda kept: ERRORS[key](rows[kept], [labels[i] for i in kept]), len(rows)
    )
    assert found.std_error == pytest.approx(error, rel=1e-8)


@pytest.mark.parametrize("tau", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("name", ["clustered", "duplicates", "near-duplicates"])
def test_penalty_errors_delete_each_row_as_anchor_and_as_negative(name, tau):
    rows, labels = CASES[name]
    rows, labels = rows[:26], labels[:26]
    n = len(rows)
    everything = naive.penalty(naive.cosines(rows), tau, labels)
    s = naive.cosines(rows)
    left = []
    for i in range(n):
        kept = [j for j in range(n) if j != i]
        left.append(naive.penalty(s[np.ix_(kept, kept)], tau, [labels[j] for j in kept]))
    found = cla.penalty(rows, as_array(labels), taus=[tau], run=FLOAT64)
    for name_, definition in (
        ("penalty_entropy", None),
        ("penalty_effective_negatives", "mean_exp"),
        ("penalty_effective_negatives", "exp_mean"),
        ("penalty_top1_share", None),
        ("penalty_top10_share", None),
        ("penalty_false_negative_share", None),
        ("penalty_false_negative_ratio", None),
    ):
        key = definition or name_
        pseudo = np.array([n * everything[key] - (n - 1) * one[key] for one in left])
        expected = pseudo.std(ddof=1) / math.sqrt(n)
        record = found.find(name_, definition)
        # where the ten nearest take everything, the error is rounding: 1e-13 apart is equal
        assert record.std_error == pytest.approx(expected, rel=1e-6, abs=1e-13), name_


def deletions_of_neighbours(s, rank, function, groups, allowed=None):
    """Each unit's own deviation, and (anchor's unit, deleted unit) what the latter does there."""
    n = len(s)
    units = sorted(set(groups))

    def value(i, kept):
        others = (j for j in kept if j != i and (allowed is None or allowed[i][j]))
        among = sorted((s[i][j] for j in others), reverse=True)
        return function(among[rank - 1]) if len(among) >= rank else None

    values = [value(i, range(n)) for i in range(n)]
    anchors = [i for i in range(n) if values[i] is not None]
    mean = naive.mean(values[i] for i in anchors)
    own = {g: math.fsum(values[i] - mean for i in anchors if groups[i] == g) for g in units}
    effects = {}
    for deleted in units:
        kept = [j for j in range(n) if groups[j] != deleted]
        for i in anchors:
            if groups[i] != deleted:
                after = value(i, kept)
                change = values[i] - (mean if after is None else after)
                key = (groups[i], deleted)
                effects[key] = effects.get(key, 0.0) + change
    return own, effects


def neighbour_error(s, rank, function, groups=None):
    """The jackknife's variance less the interaction of pairs, which it has twice."""
    n = len(s)
    own, effects = deletions_of_neighbours(s, rank, function, groups or range(n))
    received = {g: math.fsum(e for (_, to), e in effects.items() if to == g) for g in own}
    level = math.fsum(received.values()) / n  # a group's share is that of its rows
    sizes = {g: 1 if groups is None else groups.count(g) for g in own}
    deviations = [own[g] + received[g] - level * sizes[g] for g in own]
    interaction = math.fsum(e * e for e in effects.values())
    units = len(own)
    variance = max(
        math.fsum(d * d for d in deviations) - interaction, math.fsum(o * o for o in own.values())
    )
    return math.sqrt(units / (units - 1) * variance) / n


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("grouped", [False, True])
def test_neighbour_errors_count_the_interaction_of_two_rows_once(rank, grouped, random):
    rows, _ = CASES["duplicates"]
    groups = (np.arange(len(rows)) // 3).tolist() if grouped else None
    rows = rows + 0.1 * random.standard_normal(rows.shape)
    s = naive.cosines(rows)
    values = [pair[0] for pair in naive.nearest(s, rank)]
    mean, std = np.mean(values), np.std(values)

    found = cla.similarity(rows, top_k=rank, groups=groups, run=FLOAT64)
    group = f"negative_{rank}"
    expected = neighbour_error(s, rank, lambda v: v, groups)
    record = found.find("similarity_mean", group=group)
    assert record.std_error == pytest.approx(expected, rel=1e-7)
    if grouped:
        return
    # of the deviation: the jackknife, less the interaction in its derivative
    record = found.find("similarity_std", group=group)

    def derivative(v):
        return (v - 2 * mean) * v / (2 * std)

    def deviation(kept):
        return float(np.std([pair[0] for pair in naive.nearest(s[np.ix_(kept, kept)], rank)]))

    n = len(rows)
    jackknife = naive.jackknife_error(deviation, n) ** 2
    own, effects = deletions_of_neighbours(s, rank, derivative, range(n))
    squares = [math.fsum(x * x for x in each.values()) for each in (effects, own)]
    interaction, of_own = (square / (n * (n - 1)) for square in squares)
    expected = math.sqrt(max(jackknife - interaction, of_own))
    assert record.std_error == pytest.approx(expected, rel=1e-7)


def test_quantile_errors_follow_woodruff(random):
    rows = random.standard_normal((60, 8))
    s = naive.cosines(rows)
    values = np.array([pair[0] for pair in naive.nearest(s, 1)])
    designs = []
    for p in (0.45, 0.5, 0.55):
        at = np.quantile(values, p)
        share = np.mean(values <= at)
        error = neighbour_error(s, 1, lambda v, at=at: float(v <= at))
        designs.append(error**2 / (share * (1 - share)))
    below = math.sqrt(np.mean(designs) * 0.25)
    ends = np.quantile(values, [0.5 - 2 * below, 0.5 + 2 * below])
    expected = (ends[1] - ends[0]) / 4
    found = cla.similarity(rows, run=FLOAT64).find("similarity_quantile", group="negative_1", q=0.5)
    assert found.std_error == pytest.approx(expected, rel=1e-6)


def test_class_positive_errors_are_the_jackknife():
    rows, labels = CASES["clustered"]
    s = naive.cosines(rows)

    def statistic(kept, function):
        same = naive.same_class([labels[i] for i in kept])
        part = s[np.ix_(kept, kept)]
        m = len(kept)
        return float(
            function([part[i][j] for i in range(m) for j in range(i + 1, m) if same[i][j]])
        )

    found = cla.similarity(rows, as_array(labels), run=FLOAT64)
    for metric, function in (("similarity_mean", np.mean), ("similarity_std", np.std)):
        error = naive.jackknife_error(lambda kept, f=function: statistic(kept, f), len(rows))
        assert found.find(metric, group="positive").std_error == pytest.approx(error, rel=1e-6)
    quantile = found.find("similarity_quantile", group="positive", q=0.5)
    below = naive.jackknife_error(
        lambda kept: statistic(kept, lambda v: np.mean(np.array(v) <= quantile.value)), len(rows)
    )
    same = naive.same_class(labels)
    values = [s[i][j] for i in range(40) for j in range(i + 1, 40) if same[i][j]]
    ends = np.quantile(values, [0.5 - 2 * below, 0.5 + 2 * below])
    expected = (ends[1] - ends[0]) / 4
    assert quantile.std_error == pytest.approx(expected, rel=0.1)


def test_grouped_rows_sum_their_pseudo_values(random):
    rows = np.repeat(random.standard_normal((20, 5)), 3, axis=0)
    rows += 0.1 * random.standard_normal((60, 5))
    groups = np.repeat(np.arange(20), 3)
    labels = np.repeat(np.arange(20) % 4, 3)
    s = naive.cosines(rows)

    def clustered(statistic):
        n = 60
        everything = statistic(list(range(n)))
        pseudo = [
            n * everything - (n - 1) * statistic([j for j in range(n) if j != i]) for i in range(n)
        ]
        deviations = np.array(pseudo) - np.mean(pseudo)
        sums = [deviations[groups == g].sum() for g in range(20)]
        return math.sqrt(20 / 19 * sum(v * v for v in sums)) / n

    report = cla.analyze(rows, labels=labels, groups=groups, taus=[0.2], run=FLOAT64)
    kept_labels = list(labels)
    expected = clustered(
        lambda kept: naive.tolerance(s[np.ix_(kept, kept)], [kept_labels[i] for i in kept])[
            "micro_excl"
        ]
    )
    assert report.records.find("tolerance").std_error == pytest.approx(expected, rel=1e-8)
    expected = clustered(lambda kept: naive.uniformity(s[np.ix_(kept, kept)], 2.0))
    assert report.records.find("uniformity").std_error == pytest.approx(expected, rel=1e-8)
    expected = clustered(lambda kept: naive.penalty(s[np.ix_(kept, kept)], 0.2)["penalty_entropy"])
    assert report.records.find("penalty_entropy").std_error == pytest.approx(expected, rel=1e-8)
    ungrouped = cla.analyze(rows, labels=labels, taus=[0.2], run=FLOAT64).records
    assert report.records.find("uniformity").std_error > ungrouped.find("uniformity").std_error


# ---- curves


@pytest.mark.parametrize("tau", [0.05, 0.2, 0.9])
def test_penalty_curve_is_the_mean_over_anchors(tau):
    rows, _ = CASES["clustered"]
    s = naive.cosines(rows)
    report = cla.analyze(rows, taus=[0.4, tau], metrics="penalty", run=FLOAT64)
    table = [row for row in report.tables["penalty_curve"].rows if row["tau"] == tau]
    assert len(table) == 200
    masses = [
        math.exp(naive.log_sum_exp(s[i][j] / tau for j in range(40) if j != i)) for i in range(40)
    ]
    for row in (table[0], table[100], table[199]):
        expected = naive.mean(math.exp(row["similarity"] / tau) / mass for mass in masses)
        assert row["relative_penalty"] == pytest.approx(expected, rel=1e-9)
    assert math.fsum(row["penalty_mass"] for row in table) == pytest.approx(1.0, abs=1e-9)
    assert math.fsum(row["negative_fraction"] for row in table) == pytest.approx(1.0, abs=1e-9)
    edge = 0.5
    expected = naive.mean(
        math.fsum(math.exp(s[i][j] / tau) for j in range(40) if j != i and s[i][j] >= edge)
        / masses[i]
        for i in range(40)
    )
    found = math.fsum(row["penalty_mass"] for row in table if row["similarity"] > edge)
    assert found == pytest.approx(expected, abs=1e-9)
    assert all(row["penalty_mass_exact"] for row in table)


def test_negative_fraction_counts_negatives():
    rows, labels = CASES["some unlabelled"]
    s = naive.cosines(rows)
    for negatives in ("instance", "class"):
        report = cla.analyze(
            rows, as_array(labels), taus=[0.1], metrics="penalty", negatives=negatives, run=FLOAT64
        )
        fractions, masses = [], []
        for i in range(40):
            others = [
                j
                for j in range(40)
                if j != i
                and (
                    negatives == "instance"
                    or (labels[i] is not None and labels[j] not in (None, labels[i]))
                )
            ]
            if others:
                weights = np.exp(s[i][others] / 0.1)
                counts, _ = np.histogram(s[i][others], bins=200, range=(-1, 1))
                mass, _ = np.histogram(s[i][others], bins=200, range=(-1, 1), weights=weights)
                fractions.append(counts / len(others))
                masses.append(mass / weights.sum())
        table = report.tables["penalty_curve"].rows
        found = [row["negative_fraction"] for row in table]
        np.testing.assert_allclose(found, np.mean(fractions, axis=0), atol=1e-12)
        found = [row["penalty_mass"] for row in table]
        np.testing.assert_allclose(found, np.mean(masses, axis=0), atol=1e-12)


def test_sampled_curve_says_so(random):
    report = cla.analyze(
        random.standard_normal((80, 4)), taus=[0.5], metrics="all", curve_anchors=20
    )
    counts = [r["count"] for r in report.tables["similarity_histogram"].rows if r["group"] == "all"]
    assert sum(counts) == 20 * 79
    assert not any(row["penalty_mass_exact"] for row in report.tables["penalty_curve"].rows)
    histogram = report.tables["similarity_histogram"].rows
    assert {row["exact"] for row in histogram if row["group"] == "all"} == {False}
    assert {row["exact"] for row in histogram if row["group"] == "negative_1"} == {True}


def test_histograms_count_every_pair_once():
    rows, labels = CASES["clustered"]
    report = cla.analyze(rows, labels=as_array(labels), metrics="similarity", run=FLOAT64)
    counts = {}
    for row in report.tables["similarity_histogram"].rows:
        counts.setdefault(row["group"], []).append(row["count"])
    assert sum(counts["all"]) == 40 * 39 / 2
    assert sum(counts["positive"]) == 4 * 10 * 9 / 2
    assert sum(counts["negative_1"]) == 40
    s = naive.cosines(rows)
    for group, values in (
        ("all", [s[i][j] for i in range(40) for j in range(i)]),
        ("positive", [s[i][j] for i in range(40) for j in range(i) if labels[i] == labels[j]]),
        ("same_class", [s[i][j] for i in range(40) for j in range(i) if labels[i] == labels[j]]),
        ("other_class", [s[i][j] for i in range(40) for j in range(i) if labels[i] != labels[j]]),
        ("negative_1", [pair[0] for pair in naive.nearest(s, 1)]),
    ):
        expected, _ = np.histogram(values, bins=200, range=(-1, 1))
        assert counts[group] == expected.tolist()


def test_histograms_of_classes_leave_out_rows_without_one(random):
    rows, labels = random.standard_normal((30, 4)), np.arange(30) % 3
    views = rows[:, None] + 0.1 * random.standard_normal((30, 2, 4))
    names = np.where(np.arange(30) < 25, labels.astype(object), None)
    report = cla.analyze(views, labels=names, metrics="similarity", run=FLOAT64)
    counts = {}
    for row in report.tables["similarity_histogram"].rows:
        counts.setdefault(row["group"], []).append(row["count"])
    s = naive.cosines(views[:, 0])
    labelled = [(i, j) for i in range(25) for j in range(i)]
    for group, is_same in (("same_class", True), ("other_class", False)):
        values = [s[i][j] for i, j in labelled if (labels[i] == labels[j]) == is_same]
        expected, _ = np.histogram(values, bins=200, range=(-1, 1))
        assert counts[group] == expected.tolist()
    alone = cla.analyze(views, labels=np.arange(30), metrics="similarity", run=FLOAT64)
    groups = {row["group"] for row in alone.tables["similarity_histogram"].rows}
    assert "same_class" not in groups
    assert "other_class" in groups


def test_table_by_class():
    rows, labels = CASES["singletons"]
    s = naive.cosines(rows)
    report = cla.analyze(rows, labels=as_array(labels), metrics="tolerance", run=FLOAT64)
    by_class = {row["class"]: row for row in report.tables["tolerance_by_class"].rows}
    assert by_class["0"]["tolerance"] is None
    members = [i for i, label in enumerate(labels) if label == 100]
    others = [i for i, label in enumerate(labels) if label != 100]
    expected = naive.mean(s[i][j] for i in members for j in members if i != j)
    assert by_class["100"]["tolerance"] == pytest.approx(expected, abs=1e-12)
    expected = naive.mean(s[i][j] for i in members for j in others)
    assert by_class["100"]["between_class_similarity"] == pytest.approx(expected, abs=1e-12)


def test_errors_by_class_are_the_jackknife():
    rows, labels = CASES["clustered"]
    s = naive.cosines(rows)
    report = cla.analyze(rows, labels=as_array(labels), metrics="tolerance", run=FLOAT64)
    members = [i for i, label in enumerate(labels) if label == 2]
    error = naive.jackknife_error(
        lambda kept: naive.mean(s[members[a]][members[b]] for a in kept for b in kept if a != b),
        len(members),
    )
    (row,) = [r for r in report.tables["tolerance_by_class"].rows if r["class"] == "2"]
    assert row["std_error"] == pytest.approx(error, rel=1e-9)


def test_v_stat_error_follows_from_u_stat(random):
    rows = random.standard_normal((30, 4))
    found = cla.analyze(rows, metrics="uniformity", run=FLOAT64).records
    u, v = (found.find("uniformity", name) for name in ("u_stat", "v_stat"))
    share = (29 / 30) * math.exp(u.value) / math.exp(v.value)  # of the potential, not self pairs'
    assert v.std_error == pytest.approx(share * u.std_error, rel=1e-12)
    assert found.find("uniformity_gap").std_error == u.std_error


@pytest.mark.parametrize("tau", [0.05, 0.4])
def test_class_negative_errors_delete_each_row(tau):
    rows, labels = CASES["some unlabelled"]
    n = len(rows)
    s = naive.cosines(rows)
    allowed = np.array([[a is not None and b not in (None, a) for b in labels] for a in labels])

    def statistic(kept, key):
        part = np.ix_(kept, kept)
        return naive.penalty(s[part], tau, None, allowed[part])[key]

    found = cla.penalty(rows, as_array(labels), taus=[tau], negatives="class", run=FLOAT64)
    for key in ("penalty_entropy", "penalty_top1_share"):
        error = naive.jackknife_error(lambda kept, key=key: statistic(kept, key), n)
        assert found.find(key).std_error == pytest.approx(error, rel=1e-7)

    def nearest(kept):
        part = np.ix_(kept, kept)
        pairs = naive.nearest(s[part], 2, allowed[part])
        return naive.mean(pair[0] for pair in pairs if pair is not None)

    found = cla.similarity(rows, as_array(labels), negatives="class", run=FLOAT64)
    own, effects = deletions_of_neighbours(s, 2, lambda v: v, range(n), allowed)
    squares = [math.fsum(x * x for x in each.values()) for each in (effects, own)]
    record = found.find("similarity_mean", group="negative_2")
    interaction = squares[0] / record.n**2 * n / (n - 1)
    of_own = squares[1] / (record.n * (record.n - 1))
    expected = math.sqrt(max(naive.jackknife_error(nearest, n) ** 2 - interaction, of_own))
    assert record.std_error == pytest.approx(expected, rel=1e-7)


def test_class_negatives_from_a_second_file(random):
    u, v = random.standard_normal((2, 24, 5))
    labels = [i % 3 for i in range(24)]
    s = naive.cosines(u, v)
    allowed = [[a != b for b in labels] for a in labels]
    found = cla.similarity(u, labels, v, negatives="class", top_k=2, run=FLOAT64)
    for rank in (1, 2):
        values = [pair[0] for pair in naive.nearest(s, rank, allowed)]
        close(found.find("similarity_mean", group=f"negative_{rank}"), naive.mean(values), 1e-9)


def test_groups_and_partners_go_with_dropped_rows(random):
    rows, partners = random.standard_normal((2, 40, 4))
    groups = np.arange(40) // 4
    bad = rows.copy()
    bad[[3, 17]] = np.nan
    kept = np.delete(np.arange(40), [3, 17])
    drop = cla.RunOptions(precision="float64", on_invalid="drop")
    dropped = cla.analyze(bad, pairs=partners, groups=groups, taus=[0.2], run=drop)
    expected = cla.analyze(
        rows[kept], pairs=partners[kept], groups=groups[kept], taus=[0.2], run=FLOAT64
    )
    for one, other in zip(dropped.records, expected.records, strict=True):
        close(one, other.value, 1e-12)
        if one.value is not None:
            assert one.std_error == pytest.approx(other.std_error, rel=1e-9, abs=1e-12)


def test_references_are_of_this_n_and_d(random):
    from cl_analyze.metrics import uniform_law

    report = cla.analyze(random.standard_normal((50, 7)), taus=[0.1], top_k=3)
    values = [row["value"] for row in report.tables["similarity_reference"].rows]
    assert values == pytest.approx(uniform_law.expected_nearest(7, 49, 3))
    (law,) = uniform_law.penalty_of_uniform_law(7, 49, (0.1,))
    for row in report.tables["penalty_reference"].rows:
        assert row["value"] == law.values[row["quantity"]]


def test_precision_is_chosen_as_documented(random, monkeypatch):
    from cl_analyze.data.opening import from_memory
    from cl_analyze.inputs import memory

    def chosen(dtype, n=100, taus=(0.1,), **options):
        opened = from_memory(np.zeros((4, 2), dtype=dtype), "x")
        from cl_analyze.options import MetricOptions

        return memory.chosen_precision(
            opened.array.dtype, n, MetricOptions(taus=taus), cla.RunOptions(**options)
        )

    assert chosen("f8") is np.float64
    assert chosen("f8", n=20_001) is np.float32
    assert chosen("f4") is np.float32
    assert chosen("f2") is np.float32
    assert chosen("f4", taus=(0.019,)) is np.float64
    assert chosen("f4", taus=(0.02,)) is np.float32
    assert chosen("f8", precision="float32") is np.float32
    assert chosen("f4", precision="float64") is np.float64
    assert chosen("f8", device="mps") is np.float32
    assert chosen("f4", device="mps", precision="float64") is np.float64, "refused by the device"


def test_a_run_that_does_not_fit_its_budget_says_what_would(random):
    with pytest.raises(cla.ConfigError, match=r"pass --memory [0-9]+MiB or more"):
        cla.uniformity(random.standard_normal((100, 4)), run=cla.RunOptions(memory=1000))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: cla.uniformity([z, z]), "a list of arrays is not one matrix"),
        (lambda z: cla.uniformity(np.ma.masked_array(z)), "masked arrays"),
        (lambda z: cla.uniformity(z, t=True), "at least one number"),
        (lambda z: cla.uniformity(z, t="two"), "t must be numbers"),
        (lambda z: cla.uniformity(z, t=[1, 2]), "takes one t"),
        (lambda z: cla.uniformity(z, t=1e308), "t must lie in"),
        (lambda z: cla.penalty(z, taus=[1e-9]), "tau must lie in"),
        (lambda z: cla.similarity(z, top_k=2.5), "whole number"),
        (lambda z: cla.analyze(z, metrics=()), "no metrics are asked for"),
        (lambda z: cla.analyze(z, metrics="nonsense"), "no metrics 'nonsense'"),
        (lambda z: cla.analyze(z, negatives="class"), "class negatives need labels"),
        (lambda z: cla.tolerance(z), "tolerance needs labels"),
        (lambda z: cla.tolerance(z, [1, 2]), "has 2 rows, embeddings has 6"),
        (lambda z: cla.similarity(z, pairs=z[:, :2]), "must be in the same space"),
        (lambda z: cla.uniformity([[1, 2], [3]]), "same length"),
        (lambda z: cla.analyze(z, metrics="uniformity").save(""), "empty"),
    ],
)
def test_what_python_callers_get_wrong(call, message):
    with pytest.raises(cla.AnalysisError, match=message):
        call(np.random.default_rng(0).standard_normal((6, 3)))


def test_several_paths_with_labels_for_each(tmp_path, random):
    paths = [tmp_path / f"{name}.npy" for name in "ab"]
    for path in paths:
        np.save(path, random.standard_normal((12, 3)))
    labels = [np.arange(12) % 2, np.arange(12) % 3]
    report = cla.analyze(paths, labels=labels, metrics="tolerance")
    for path, y in zip(paths, labels, strict=True):
        found = report.records.find("tolerance", source=path.name)
        assert found.value == cla.tolerance(path, y).find("tolerance").value
    with pytest.raises(cla.ConfigError, match="takes one checkpoint"):
        cla.uniformity(paths)
    assert repr(report) == "Report(12 records of a.npy, b.npy)"
