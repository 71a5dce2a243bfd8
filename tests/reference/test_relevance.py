"""Queries and items: the table of pairs, and every measure against loops in float64."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze import ConfigError, DataError, RunOptions
from cl_analyze.data.relevance import Relevance, read_pairs, relation
from tests.conftest import ROOT
from tests.reference import naive

FLOAT64 = RunOptions(precision="float64", threads=1)
N, TAU = 24, 0.2


@pytest.fixture(params=[15, 37], ids=["fewer items", "more items"])
def towers(request, random):
    """Queries, items, and pairs: some queries have none, one has all, some items have none."""
    n_items = request.param
    queries = random.standard_normal((N, 6))
    items = random.standard_normal((n_items, 6))
    pairs = {(i, int(j)) for i in range(2, N) for j in random.choice(n_items - 2, 1 + i % 4)}
    pairs |= {(5, j) for j in range(n_items)}
    return queries, items, sorted(pairs)


def by_query(pairs, n=N):
    return [[j for i, j in pairs if i == q] for q in range(n)]


def measure(towers, metrics, **options):
    queries, items, pairs = towers
    options = {"taus": [TAU], "ks": [1, 3], "top_k": 3, "run": FLOAT64, **options}
    return cla.analyze(queries, pairs=items, relevant=pairs, metrics=metrics, **options)


# ---- the table


TABLES = {
    "pairs.csv": "query,item,grade\n0,1,1\n2,0,3\n",
    "pairs.tsv": "query-id\tcorpus-id\tscore\n0\t1\t1\n2\t0\t3\n",
    "pairs.jsonl": '{"query": 0, "item": 1, "grade": 1}\n{"query": 2, "item": 0, "grade": 3}\n',
    "pairs.qrels": "0 Q0 1 1\n2 Q0 0 3\n1 0 1 0\n",
    "bom.csv": "\ufeffItem,Query,other\n1,0,x\n0,2,y\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_people_have(name, tmp_path):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    table = read_pairs(str(tmp_path / name))
    found, repeated = relation(table, ("q", 3, None), ("v", 2, None))
    assert repeated == 0
    assert [found.items[a:b].tolist() for a, b in itertools.pairwise(found.starts)] == [
        [1],
        [],
        [0],
    ]
    grades = [1.0, 1.0] if name == "bom.csv" else [1.0, 3.0]
    assert found.grades.tolist() == grades
    assert table.n_skipped == (name == "pairs.qrels")


def test_tables_of_python(tmp_path):
    expected = relation(read_pairs([(0, 1), (2, 0)]), ("q", 3, None), ("v", 2, None))[0]
    frame = pd.DataFrame({"item": [0, 1], "query": [2, 0]})
    frame.to_parquet(tmp_path / "pairs.parquet")
    for value in (np.array([[0, 1], [2, 0]]), frame, str(tmp_path / "pairs.parquet")):
        found, _ = relation(read_pairs(value), ("q", 3, None), ("v", 2, None))
        assert found.items.tolist() == expected.items.tolist()
        assert found.starts.tolist() == expected.starts.tolist()
    graded, _ = relation(
        read_pairs(np.array([[0, 1, 0.5], [0, 1, 0.5]])), ("q", 1, None), ("v", 2, None)
    )
    assert graded.grades.tolist() == [0.5]


BAD = {
    "no column": (
        "a.csv",
        "query,thing\n0,1\n",
        "it has no item, but 'query', 'thing'. Other names",
    ),
    "no header": ("a.csv", "0,1\n2,0\n", "needs the columns query and item"),
    "empty": ("a.csv", "query,item\n", "it has no pairs"),
    "empty file": ("a.csv", "", "no table of pairs"),
    "missing id": ("a.csv", "query,item\n0,\n", "found nothing in pair number 1"),
    "no number": ("a.csv", "query,item,grade\n0,1,good\n", "found 'good' in pair number 1"),
    "no relevance": ("a.csv", "query,item,grade\n0,1,0\n", "no grade is above 0"),
    "three words": ("a.qrels", "0 1 1\n", "found 3 words in line 1"),
    "no words": ("a.txt", "\n\n", "four words in every line"),
    "no JSON": ("a.jsonl", "{", "no table of pairs"),
    "out of range": (
        "a.csv",
        "query,item\n0,99\n",
        r"v.npy .rows 0 to \d\d. has no row for 1 of its 1 items: '99'; if .*--pair-ids",
    ),
    "from 1": (
        "a.csv",
        "query,item\n" + "".join(f"{i},1\n" for i in range(1, N + 1)),
        "rows count from 0, these seem to count from 1",
    ),
    "more cells than names": ("a.csv", "query,item\n0,1,5\n", "more cells than its first line"),
    "more cells later": ("a.csv", "query,item\n0,1\n1,2,5\n", "no table of pairs"),
    "no object": ("a.jsonl", '{"query": 0, "item": 1}\n[1, 2]\n5\n', "a.jsonl: "),
    "no row number": ("a.csv", "query,item\nq1,1\n", "'q1'"),
    "two grades": ("a.csv", "query,item,grade\n0,1,1\n0,1,2\n", "have 1 and 2"),
    "many": ("a.csv", "query,item\n" + "".join(f"x{i},1\n" for i in range(9)), "and 4 more"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_told(case, towers, tmp_path, cli):
    name, content, text = BAD[case]
    np.save(cli.folder / "q.npy", towers[0])
    np.save(cli.folder / "v.npy", towers[1])
    (cli.folder / name).write_text(content)
    found = cli("quality", "q.npy", "-p", "v.npy", "--relevant", name, "--no-files")
    assert found.returncode == 2
    assert re.search(text, found.stderr), found.stderr
    assert not found.stdout


def test_ids_find_the_rows_in_any_order(towers, cli):
    queries, items, pairs = towers
    plain = measure(towers, "quality").records
    order = np.random.default_rng(3).permutation(len(items))
    (cli.folder / "q.txt").write_text("".join(f"query {i}\n" for i in range(N)))
    np.save(cli.folder / "q.npy", queries)
    np.savez(cli.folder / "v.npz", embeddings=items[order], ids=order + 100)
    lines = ["query\titem\n", *(f"query {i}\t{j + 100}\n" for i, j in pairs)]
    (cli.folder / "pairs.tsv").write_text("".join(lines))
    found = cli(
        *("quality", "q.npy", "-p", "v.npz", "--relevant", "pairs.tsv", "--ids", "q.txt"),
        *("--k", "1", "3", "--precision", "float64", "--json", "--no-files"),
    )
    assert found.returncode == 0, found.stderr
    assert (
        f"{len(pairs)} relevant pairs of {N} queries and {len(items)} items; 2 queries without"
        in found.stderr
    )
    results = json.loads(found.stdout)["results"]
    mine = {(r["metric"], str(r["params"])): r["value"] for r in results}
    for record in plain:
        if record.definition == "relevant" or record.metric == "alignment":
            assert mine[record.metric, str(record.params)] == pytest.approx(record.value, abs=1e-12)
    unknown = cli.folder / "unknown.csv"
    unknown.write_text("query,item\nquery 1,100\nsomebody,100\n")
    found = cli("quality", "q.npy", "-p", "v.npz", "--relevant", "unknown.csv", "--ids", "q.txt")
    assert "no row of q.npy has the id of 1 of its 2 queries: 'somebody'" in found.stderr


def test_swapped_columns_are_told(towers, cli):
    queries, items, _ = towers
    np.savez(cli.folder / "q.npz", embeddings=queries, ids=[f"q{i}" for i in range(N)])
    np.savez(cli.folder / "v.npz", embeddings=items, ids=[f"v{i}" for i in range(len(items))])
    (cli.folder / "swapped.csv").write_text("query,item\nv1,q1\nv0,q2\n")
    found = cli("quality", "q.npz", "-p", "v.npz", "--relevant", "swapped.csv")
    assert found.returncode == 2
    assert "they are ids of v.npz: are the columns query and item swapped" in found.stderr


def test_positives_that_are_no_nearer_than_negatives_are_told(random):
    u, v = random.standard_normal((2, 400, 8))
    report = cla.analyze(u, pairs=v, metrics="similarity")
    assert any("positives are no nearer than negatives" in text for text in report.warnings)
    near = cla.analyze(u, pairs=u + 0.3 * v, metrics="similarity")
    assert not near.warnings


def test_what_does_not_go_together_is_told(towers, random):
    queries, items, pairs = towers
    with pytest.raises(DataError, match="--relevant FILE with the columns query and item"):
        cla.quality(queries, pairs=items)
    with pytest.raises(ConfigError, match="pass --pairs FILE too"):
        cla.quality(queries, relevant=pairs)
    with pytest.raises(ConfigError, match="--pair-ids needs --relevant"):
        cla.quality(items, pairs=items, pair_ids=np.arange(len(items)))
    for options in ({"negatives": "class", "labels": np.arange(N) % 2}, {"batch_sizes": [4]}):
        with pytest.raises(ConfigError, match="not for queries and items"):
            measure(towers, "all", **options)


def test_dropped_rows_take_their_pairs_along(towers):
    queries, items, pairs = towers
    bad_queries, bad_items = queries.copy(), items.copy()
    bad_queries[7], bad_items[3] = np.nan, 0.0
    drop = RunOptions(precision="float64", on_invalid="drop")
    found = measure((bad_queries, bad_items, pairs), "quality", run=drop)
    rows, columns = np.delete(np.arange(N), 7), np.delete(np.arange(len(items)), 3)
    left = [
        (rows.tolist().index(i), columns.tolist().index(j)) for i, j in pairs if i != 7 and j != 3
    ]
    expected = measure((queries[rows], items[columns], left), "quality")
    for one, other in zip(found.records, expected.records, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-12), one.full_name


def test_suspects_are_rows_of_the_files(towers):
    """Where rows were dropped, tables have the places in the files."""
    queries, items, pairs = towers
    queries = np.vstack([np.full((2, 6), np.nan), queries])
    items = np.vstack([np.zeros((5, 6)), items])
    moved = [(i + 2, j + 5) for i, j in pairs]
    drop = RunOptions(precision="float64", on_invalid="drop")
    report = measure((queries, items, moved), "similarity", run=drop, suspect_margin=0.1)
    rows = report.tables["suspects"].rows
    assert len(rows) > 10
    for row in rows:
        u, v = queries[row["row"]], items[row["other_row"]]
        cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
        assert row["similarity"] == pytest.approx(cosine, abs=1e-9)


def test_items_are_no_rows_of_the_embeddings(random):
    """As many items as queries: groups and ids of the rows say nothing about the items."""
    queries, items = random.standard_normal((2, 24, 6))
    pairs = [(i, i) for i in range(24)] + [(i, (i + 1) % 24) for i in range(12)]
    plain = measure((queries, items, pairs), "quality").records
    grouped = measure((queries, items, pairs), "quality", groups=np.arange(24) // 6).records
    one, other = (r.find("mrr", "relevant", direction="backward") for r in (plain, grouped))
    assert one.std_error == other.std_error
    assert one.pseudo_values is None
    one, other = (r.find("mrr", "relevant", direction="forward") for r in (plain, grouped))
    assert one.std_error != other.std_error


def test_the_definition_can_be_asked_for(towers):
    found = measure(towers, "similarity", run=RunOptions(definition="relevant")).records
    assert found.find("similarity_mean", "relevant", group="positive").value


# ---- values, by loops


def test_positives_have_one_vote_a_query(towers):
    queries, items, pairs = towers
    s = naive.cosines(queries, items)
    relevant = by_query(pairs)
    report = measure(towers, ("similarity", "quality"))
    votes = [np.mean([s[q][j] for j in own]) for q, own in enumerate(relevant) if own]
    record = report.records.find("similarity_mean", "relevant", group="positive")
    assert record.value == pytest.approx(np.mean(votes), abs=1e-12)
    assert record.n == len(votes)
    error = np.std(votes, ddof=1) / math.sqrt(len(votes))
    assert record.std_error == pytest.approx(error, rel=1e-2)  # n / (n - 1) of queries or of votes
    distances = [np.mean([2 - 2 * s[q][j] for j in own]) for q, own in enumerate(relevant) if own]
    assert report.records.find("alignment").value == pytest.approx(np.mean(distances), abs=1e-12)
    for rank in (1, 2, 3):
        nearest = [
            sorted((s[q][j] for j in range(len(items)) if j not in own), reverse=True)[rank - 1]
            for q, own in enumerate(relevant)
            if len(items) - len(own) >= rank
        ]
        record = report.records.find("similarity_mean", group=f"negative_{rank}")
        assert record.value == pytest.approx(np.mean(nearest), abs=1e-12)


def relative_gap(towers, queries_left=None, items_left=None):
    """The relative modality gap of some queries and items, by loops; None: all of them."""
    queries, items, pairs = towers
    own_queries = range(N) if queries_left is None else queries_left
    own_items = range(len(items)) if items_left is None else items_left
    cross = naive.cosines(queries, items)
    relevant = by_query(pairs)
    votes = []
    for q in own_queries:
        own = [(1 - cross[q][j]) / 2 for j in relevant[q] if j in own_items]
        votes += [np.mean(own)] if own else []

    def within(x, kept):
        s = naive.cosines(x, x)
        return np.mean([(1 - s[i][j]) / 2 for i in kept for j in kept if i != j])

    both = (within(queries, own_queries) + within(items, own_items)) / 2
    return np.mean(votes) / (np.mean(votes) + both)


def test_the_relative_gap_deletes_queries_and_items(towers):
    n_items = len(towers[1])
    record = measure(towers, "quality").records.find("modality_gap_relative")
    value = relative_gap(towers)
    assert record.value == pytest.approx(value, rel=1e-10)
    variances = []
    for n, less in (
        (N, [relative_gap(towers, np.delete(np.arange(N), i)) for i in range(N)]),
        (n_items, [relative_gap(towers, None, np.delete(np.arange(n_items), j))
                   for j in range(n_items)]),
    ):  # fmt: skip
        pseudo = n * value - (n - 1) * np.array(less)
        variances.append(pseudo.var(ddof=1) / n)
    assert record.std_error == pytest.approx(math.sqrt(sum(variances)), rel=1e-8)
    assert record.n == sum(bool(own) for own in by_query(towers[2]))


def test_the_penalty_is_that_of_items_that_are_not_relevant(towers):
    queries, items, pairs = towers
    s = naive.cosines(queries, items)
    entropy, top, suspects = [], [], []
    for q, own in enumerate(by_query(pairs)):
        others = [j for j in range(len(items)) if j not in own]
        if not others:
            continue
        mass = naive.log_sum_exp([s[q][j] / TAU for j in others])
        r = [math.exp(s[q][j] / TAU - mass) for j in others]
        entropy.append(-math.fsum(x * math.log(x) for x in r))
        top.append(max(r))
        least = min((s[q][j] for j in own), default=0.0)
        if least > 0:
            suspects.append(
                math.fsum(x for x, j in zip(r, others, strict=True) if s[q][j] > 0.95 * least)
            )
    report = measure(towers, "penalty")
    for name, values in (
        ("penalty_entropy", entropy),
        ("penalty_top1_share", top),
        ("penalty_suspect_share", suspects),
    ):
        record = report.records.find(name)
        assert record.value == pytest.approx(np.mean(values), abs=1e-9), name
        assert record.n == len(values)
    curve = report.tables["penalty_curve"].rows
    assert math.fsum(row["penalty_mass"] for row in curve) == pytest.approx(1.0, abs=1e-9)


def test_losses_over_items(towers):
    queries, items, pairs = towers
    s = naive.cosines(queries, items)

    def info_nce(matrix, relevant):
        values = []
        for q, own in enumerate(relevant):
            others = [matrix[q][j] / TAU for j in range(len(matrix[0])) if j not in own]
            if not own or not others:
                continue
            mass = naive.log_sum_exp(others)
            values.append(
                np.mean([np.logaddexp(matrix[q][j] / TAU, mass) - matrix[q][j] / TAU for j in own])
            )
        return float(np.mean(values))

    forward = info_nce(s, by_query(pairs))
    backward = info_nce(np.array(s).T.tolist(), by_query([(j, i) for i, j in pairs], len(items)))
    found = measure(towers, "losses").records
    one_way = found.find("loss", "one_way", name="contrastive")
    assert one_way.value == pytest.approx(forward, abs=1e-9)
    both = found.find("loss", "symmetric", name="contrastive")
    assert both.value == pytest.approx(0.5 * (forward + backward), abs=1e-9)
    hardest = [
        np.mean(
            [max(max(s[q][k] for k in range(len(items)) if k not in own) - s[q][j], 0) for j in own]
        )
        for q, own in enumerate(by_query(pairs))
        if 0 < len(own) < len(items)
    ]
    assert found.find("loss", name="triplet_limit").value == pytest.approx(
        np.mean(hardest), abs=1e-9
    )
    means = [
        np.mean([s[q][k] for k in range(len(items)) if k not in own])
        - np.mean([s[q][j] for j in own])
        for q, own in enumerate(by_query(pairs))
        if 0 < len(own) < len(items)
    ]
    assert found.find("loss", name="simple").value == pytest.approx(np.mean(means), abs=1e-9)
    yes_or_no, squares = [], []
    for q, own in enumerate(by_query(pairs)):
        others = [s[q][k] for k in range(len(items)) if k not in own]
        if own and others:  # every relevant item is a yes
            signed = [-s[q][j] / TAU + 10.0 for j in own] + [x / TAU - 10.0 for x in others]
            yes_or_no.append(sum(np.logaddexp(0.0, signed)))
            squares.append(np.square(others).mean() - 2.0 * np.mean([s[q][j] for j in own]))
    siglip = found.find("loss", name="siglip")
    assert siglip.value == pytest.approx(np.mean(yes_or_no), rel=1e-9)
    assert siglip.params["bias"] == -10.0
    spread = np.std(yes_or_no, ddof=1) / np.sqrt(len(yes_or_no))
    assert siglip.std_error == pytest.approx(spread, rel=1e-9)
    spectral = found.find("loss", name="spectral_contrastive").value
    assert spectral == pytest.approx(np.mean(squares), rel=1e-9)
    for name in ("vicreg", "barlow_twins"):
        assert not [r for r in found if r.params.get("name") == name]


def test_auroc_of_each_query_and_pooled(towers):
    queries, items, pairs = towers
    s = naive.cosines(queries, items)
    own_values, positives, votes, negatives = [], [], [], []
    for q, own in enumerate(by_query(pairs)):
        others = np.array([s[q][j] for j in range(len(items)) if j not in own])
        negatives += others.tolist()
        positives += [s[q][j] for j in own]
        votes += [1 / len(own) for _ in own]
        if own and len(others):
            own_values.append(np.mean([np.mean(others < s[q][j]) for j in own]))
    found = measure(towers, "similarity").records
    record = found.find("auroc", "per_anchor")
    assert record.value == pytest.approx(np.mean(own_values), abs=1e-12)
    assert record.n == len(own_values)
    below = np.array([np.mean(np.array(negatives) < p) for p in positives])
    pooled = found.find("auroc", "pooled")
    assert abs(pooled.value - np.average(below, weights=votes)) <= pooled.sampling_error + 1e-9


# ---- properties


def comparable(report):
    """Values by name, the definitions of pairs and of relevant items under one name."""
    same = {"relevant": "pairs", "view_pairs": "pairs"}
    return {
        (r.metric, same.get(r.definition, r.definition), str(r.params)): r.value
        for r in report.records
        if not r.metric.startswith(("penalty", "temperature"))
        and r.metric != "modality_gap_residual"
    }


def test_one_relevant_item_each_is_a_pair(random):
    u = random.standard_normal((30, 5))
    v = u + 0.6 * random.standard_normal((30, 5))
    options = {"taus": [0.1, 0.5], "ks": [1, 5], "metrics": "all", "run": FLOAT64}
    pairs = comparable(cla.analyze(u, pairs=v, **options))
    found = comparable(
        cla.analyze(u, pairs=v, relevant=np.stack([np.arange(30)] * 2, axis=1), **options)
    )
    shared = set(pairs) & set(found)
    assert len(shared) > 80
    names = {key[0] for key in shared}
    assert {
        "recall_at_k",
        "mrr",
        "auroc",
        "tpr_at_fpr",
        "loss",
        "alignment",
        "suspect_share",
    } <= names
    for key in shared:
        if pairs[key] is None:
            assert found[key] is None
        else:
            assert found[key] == pytest.approx(pairs[key], rel=1e-9, abs=1e-9), key
    missing = set(found) - set(pairs)
    assert not missing, missing


@given(seed=st.integers(0, 10**6))
def test_permuted_queries_and_items_change_nothing(seed):
    random = np.random.default_rng(seed)
    queries, items = random.standard_normal((14, 4)), random.standard_normal((9, 4))
    items[3] = items[5]  # duplicates among the items
    pairs = [(i, int(j)) for i in range(1, 14) for j in random.choice(9, 1 + i % 3, replace=False)]
    pairs = sorted({*pairs, *((4, j) for j in range(9))})
    options = {"taus": [0.3], "ks": [1, 4], "top_k": 2, "metrics": "all", "run": FLOAT64}
    plain = comparable(cla.analyze(queries, pairs=items, relevant=pairs, **options))
    rows, columns = random.permutation(14), random.permutation(9)
    new_row, new_column = np.argsort(rows), np.argsort(columns)
    moved = [(int(new_row[i]), int(new_column[j])) for i, j in pairs]
    found = comparable(cla.analyze(queries[rows], pairs=items[columns], relevant=moved, **options))
    random_parts = ("effective_rank", "probe", "penalty")
    for key, value in plain.items():
        if value is None or key[0].startswith(random_parts):
            continue
        assert found[key] == pytest.approx(value, rel=1e-7, abs=1e-7), key


def test_a_relation_can_be_turned_and_cut(random):
    pairs = sorted({(int(i), int(j)) for i, j in random.integers(0, 8, (30, 2))})
    queries, items = np.array(pairs).T
    relevance = Relevance.of(queries, items, np.arange(1.0, len(pairs) + 1), (8, 8))
    turned = relevance.transposed()
    assert sorted(zip(turned.items.tolist(), turned.queries.tolist(), strict=True)) == pairs
    again = turned.transposed()
    assert again.items.tolist() == relevance.items.tolist()
    assert again.grades.tolist() == relevance.grades.tolist()
    kept_rows, kept_items = np.array([6, 1, 3]), np.array([0, 7, 2, 5])
    cut = relevance.select(kept_rows, kept_items)
    assert (cut.n_queries, cut.n_items) == (3, 4)
    expected = [
        (a, b)
        for a, i in enumerate(kept_rows)
        for b, j in enumerate(kept_items)
        if (i, j) in set(pairs)
    ]
    assert list(zip(cut.queries.tolist(), cut.items.tolist(), strict=True)) == expected


def test_estimates_from_anchors_are_near_the_exact_values(random):
    queries, items = random.standard_normal((500, 8)), random.standard_normal((120, 8))
    items[np.arange(120)] += queries[:120]
    pairs = [(i, i % 120) for i in range(500)] + [(i, (i + 60) % 120) for i in range(0, 500, 2)]
    options = {"taus": [0.2], "ks": [5], "metrics": "all"}
    exact = cla.analyze(queries, pairs=items, relevant=pairs, **options).records
    found = cla.analyze(queries, pairs=items, relevant=pairs, anchors=200, **options).records
    checked = 0
    for one, other in zip(exact, found, strict=True):
        assert (one.metric, one.definition, one.params) == (
            other.metric,
            other.definition,
            other.params,
        )
        if other.value is not None and other.sampling_error and one.metric != "median_rank":
            assert abs(one.value - other.value) < 5 * other.sampling_error + 1e-3, one.full_name
            checked += 1
    assert checked > 40


# ---- real sets

SAMPLES = ROOT / "sample_data" / "positives"


def test_functions_and_their_mentions():
    """Sentences of NumPy's documentation: queries without an item, and up to seven items."""
    endings = ("functions.npz", "mentions.npz", "mentions.csv")
    paths = [SAMPLES / f"numpy-{name}" for name in endings]
    with np.load(paths[0]) as file:
        queries, names = file["embeddings"].astype(np.float64), file["ids"].tolist()
    with np.load(paths[1]) as file:
        items, item_names = file["embeddings"].astype(np.float64), file["ids"].tolist()
    table = pd.read_csv(paths[2])
    relevant = np.zeros((len(queries), len(items)), dtype=bool)
    for query, item in zip(table["query"], table["item"], strict=True):
        relevant[names.index(query), item_names.index(item)] = True
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    s = queries @ items.T
    found = cla.analyze(
        str(paths[0]),
        pairs=str(paths[1]),
        relevant=str(paths[2]),
        metrics=("similarity", "quality"),
        ks=[1, 10],
    ).records
    for direction, matrix, wanted in (("forward", s, relevant), ("backward", s.T, relevant.T)):
        order = np.argsort(-np.round(matrix, 12), axis=1, kind="stable")
        hits = np.take_along_axis(wanted, order, axis=1)
        counts = wanted.sum(axis=1)
        asked = counts > 0
        for k in (1, 10):
            recall = (hits[:, :k].sum(axis=1) / np.maximum(counts, 1))[asked]
            record = found.find("recall_at_k", "relevant", k=k, direction=direction)
            assert record.value == pytest.approx(recall.mean(), abs=2e-3)  # equal sentences tie
            assert record.n == asked.sum()
        first = 1 + hits[asked].argmax(axis=1)
        record = found.find("mrr", "relevant", direction=direction)
        assert record.value == pytest.approx((1 / first).mean(), abs=5e-3)
    own = [
        np.mean([(row[~wanted] < p).mean() + 0.5 * (row[~wanted] == p).mean() for p in row[wanted]])
        for row, wanted in zip(s, relevant, strict=True)
        if wanted.any()
    ]
    assert found.find("auroc", "per_anchor").value == pytest.approx(np.mean(own), abs=1e-5)


def test_five_crops_of_an_image():
    path = SAMPLES / "fashion-mnist-crops.npz"
    with np.load(path) as file:
        stack = file["embeddings"].astype(np.float64)
    stack /= np.linalg.norm(stack, axis=2, keepdims=True)
    pairs = list(itertools.combinations(range(5), 2))
    cosines = np.stack([np.einsum("ij,ij->i", stack[:, a], stack[:, b]) for a, b in pairs], axis=1)
    found = cla.analyze(str(path), metrics=("similarity", "quality"), ks=[1]).records
    record = found.find("similarity_mean", "view_pairs", group="positive")
    assert record.value == pytest.approx(cosines.mean(), abs=1e-6)
    # the error is that of 400 images, not of 4,000 pairs
    assert record.std_error == pytest.approx(cosines.mean(axis=1).std(ddof=1) / 20, rel=1e-3)
    ranks = [
        (stack[:, a] @ stack[:, b].T > np.diag(stack[:, a] @ stack[:, b].T)[:, None] + 1e-9).sum(1)
        for a, b in pairs
    ]
    recall = np.mean(np.array(ranks) == 0)
    mine = found.find("recall_at_k", "pairs", k=1, direction="forward")
    assert mine.value == pytest.approx(recall, abs=2e-3)
