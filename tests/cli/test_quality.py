"""`cl-analyze quality` as users type it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.report.html import render_html


@pytest.fixture
def files(tmp_path, random):
    """Four classes in 8 dimensions, a second view, and a training set that is named otherwise."""
    labels = np.arange(240) % 4
    rows = random.standard_normal((240, 8)).astype(np.float32) + 1.5 * np.eye(4, 8)[labels]
    np.save(tmp_path / "emb.npy", rows)
    np.save(tmp_path / "v.npy", rows + 0.5 * random.standard_normal(rows.shape))
    np.save(tmp_path / "y.npy", labels)
    train_labels = np.arange(300) % 4
    train = random.standard_normal((300, 8)) + 1.5 * np.eye(4, 8)[train_labels]
    np.savez(tmp_path / "train.npz", embeddings=train, labels=train_labels)
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "train_y.npy", train_labels)
    np.save(tmp_path / "narrow.npy", train[:, :5])
    return tmp_path


RETRIEVAL = ("recall", "hit_rate", "ndcg", "mrr", "map_at_r", "r_precision")
ESTIMATED = ("knn", "near_duplicate", "koleo", "intrinsic_dimension", *RETRIEVAL)
"""Beginnings of the names of metrics whose means `--anchors` estimates."""


def document(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def table(files, name):
    path = files / "cl-analyze-out" / "tables" / f"{name}.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_everything_a_labelled_file_with_views_gives(cli, files):
    result = cli("quality", "emb.npy", "-l", "y.npy", "-p", "v.npy", "--k", 1, 10)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "emb.npy  n=240  d=8"
    assert lines[1].startswith("  No dimensional collapse: uses 8 of 8 dimensions")
    assert all(len(line) <= 80 for line in lines)
    heads = lines.index(next(line for line in lines if line.split() == ["normalised"]))
    assert lines[heads + 1].split() == ["raw", "raw", "centred", "normalised", "centred"]
    row = next(line for line in lines if line.startswith("  effective rank")).split()
    records = {(r["metric"], r["definition"]): r for r in csv_records(files)}
    assert " ".join(row[2:5]) == terminal(records["effective_rank", "raw"])
    for cell, version in zip(row[5:], ("raw_centred", "normalised"), strict=False):
        assert float(cell) == pytest.approx(
            float(records["effective_rank", version]["value"]), 1e-2
        )
    at = next(i for i, line in enumerate(lines) if line.split() == ["k", "=", "1", "10"])
    for name in ("hubness skewness", "recall, forward", "kNN accuracy", "NC1", "linear probe"):
        assert any(line.startswith(f"  {name} ") for line in lines[at:]), name
    names = [
        "quality", "spectrum", "collapse", "projection", "hubs", "hubness_histogram", "probe",
        "probe_calibration", "confusion", "quality_by_class", "class_pairs",
    ]  # fmt: skip
    tables = {path.stem for path in (files / "cl-analyze-out" / "tables").iterdir()}
    assert tables >= set(names) - {"hubs"}
    figures = {path.stem for path in (files / "cl-analyze-out" / "figures").iterdir()}
    assert figures == {
        "spectrum", "projection", "knn_accuracy", "class_similarity", "hubness", "confusion",
        "class_accuracy", "confused_pairs", "reliability", "recall_curve",
    }  # fmt: skip
    for path in (files / "cl-analyze-out" / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def csv_records(files):
    return table(files, "quality")


def terminal(record):
    value, error = float(record["value"]), float(record["std_error"])
    digits = 1 - int(np.floor(np.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def test_every_metric_is_there_once_with_a_reason_where_it_has_no_value(cli, files):
    found = document(
        cli("quality", "emb.npy", "-l", "y.npy", "-p", "v.npy", "--json", "--no-files")
    )
    keys = [(r["metric"], r["definition"], str(r["params"])) for r in found["results"]]
    assert len(keys) == len(set(keys))
    listed = {
        "effective_rank", "rankme", "participation_ratio", "nesum", "stable_rank", "alpha_req",
        "isoscore", "hubness_skewness", "hubness_robin_hood", "antihub_share", "alignment",
        "uniformity_wasserstein", "knn_accuracy", "knn_top5_accuracy", "probe_accuracy",
        "probe_calibration_error", "recall_at_k", "modality_gap", "ncc_accuracy", "silhouette",
        "nc1", "nc2_equinorm", "nc2_equiangular", "nc2_etf", "nc2_orthogonal_frame", "nc3",
        "nc4_disagreement", "cdnv", "koleo", "outlier_share", "intrinsic_dimension", "vendi_score",
        "modality_gap_relative", "lidar",
    }  # fmt: skip
    assert listed <= {r["metric"] for r in found["results"]}
    for record in found["results"]:
        assert (record["value"] is None) == (record["reason"] is not None)
        if record["metric"] in ("knn_accuracy", "probe_accuracy", "recall_at_k", "alignment"):
            assert record["std_error"] is not None
    default = {r["metric"]: r["definition"] for r in reversed(found["results"])}
    assert default["effective_rank"] == default["rankme"] == "raw"
    assert default["alpha_req"] == default["isoscore"] == "raw_centred"
    assert default["uniformity_wasserstein"] == "cosine_w1"
    assert default["intrinsic_dimension"] == "two_nn"
    assert default["lidar"] == "views"


def test_without_labels_and_views_there_is_geometry(cli, files):
    found = document(cli("quality", "emb.npy", "--json", "--no-files"))
    metrics = {record["metric"] for record in found["results"]}
    assert "effective_rank" in metrics
    assert "hubness_skewness" in metrics
    assert not metrics & {"knn_accuracy", "probe_accuracy", "nc1", "alignment", "recall_at_k"}


def test_a_training_set_by_file_or_with_labels_apart(cli, files):
    one = document(
        cli("quality", "emb.npy", "-l", "y.npy", "--train", "train.npz", "--json", "--no-files")
    )
    two = document(
        cli(
            "quality", "emb.npy", "-l", "y.npy", "--train", "train.npy", "--train-labels",
            "train_y.npy", "--json", "--no-files",
        )
    )  # fmt: skip
    assert one["results"] == two["results"]
    records = {(r["metric"], r["definition"], r["params"].get("k")): r for r in one["results"]}
    assert records["knn_accuracy", "train_set", 20]["n"] == 240
    assert records["probe_accuracy", "raw", None]["n"] == 240
    assert {row["split"] for row in one["tables"]["probe"]} == {"training set given"}
    assert [entry["path"] for entry in two["inputs"]] == [
        "emb.npy", "y.npy", "train.npy", "train_y.npy",
    ]  # fmt: skip
    python = cla.quality(
        str(files / "emb.npy"), str(files / "y.npy"), train=str(files / "train.npz")
    )
    for record in python:
        if record.metric == "knn_accuracy":
            assert records["knn_accuracy", "train_set", record.params["k"]]["value"] == record.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train", "train.npz"), "--train needs labels of the tested rows: pass --labels"),
        (("-l", "y.npy", "--train", "train.npy"), "no labels are with it: pass --train-labels"),
        (("-l", "y.npy", "--train-labels", "train_y.npy"), "--train-labels needs --train FILE"),
        (("-l", "y.npy", "--train", "narrow.npy"), "with the 8 dimensions of emb.npy"),
        (
            ("-l", "y.npy", "--train", "train.npy", "--train-labels", "y.npy"),
            "y.npy has 240 rows, train.npy has 300",
        ),
        (("-l", "y.npy", "--train", "none.npz"), "none.npz"),
        (("--k", "0.5"), "takes whole numbers, found 0.5"),
        (("--k", "0"), "--k must be finite and > 0, found 0"),
        (("--alignment-power", "-1"), "alignment-power must be finite and > 0, found -1"),
        (("--definition", "nonsense"), "no metric here has a definition 'nonsense'"),
        (("--definition", "train_set", "-l", "y.npy"), "no number has the definition"),
    ],
)
def test_what_makes_no_sense_is_said(cli, files, arguments, message):
    assert message in " ".join(cli.fails("quality", "emb.npy", *arguments).split())


def test_a_projection_whose_library_is_missing(monkeypatch, files):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(cla.DependencyError, match=r"needs umap-learn, .* pip install umap-learn"):
        cla.analyze(str(files / "emb.npy"), metrics="quality", projection="umap")
    with pytest.raises(cla.ConfigError, match="projection must be auto, pca, tsne, umap or none"):
        cla.analyze(str(files / "emb.npy"), metrics="quality", projection="mds")


def test_rows_laid_out_by_tsne(cli, files):
    result = cli("quality", "emb.npy", "-l", "y.npy", "--projection", "tsne", "--k", 1)
    assert result.returncode == 0, result.stderr
    rows = table(files, "projection")
    assert {row["method"] for row in rows} == {"tsne"}
    assert rows[0]["explained_x"] == ""
    points = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    labels = np.array([int(row["class"]) for row in rows])
    apart = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    assert (labels[apart.argmin(axis=1)] == labels).mean() > 0.5  # neighbours stay neighbours


def test_principal_axes_are_those_of_the_whole_matrix(files):
    report = cla.analyze(str(files / "emb.npy"), metrics="quality", ks=[1], projection="pca")
    x = np.load(files / "emb.npy").astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x -= x.mean(axis=0)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    points = np.array([[row["x"], row["y"]] for row in report.tables["projection"].rows])
    expected = left[:, :2] * values[:2]
    signs = np.sign((points * expected).sum(axis=0))
    assert np.abs(points - signs * expected).max() < 1e-9
    row = report.tables["projection"].rows[0]
    assert row["explained_x"] == pytest.approx(values[0] ** 2 / (values**2).sum())
    wide = cla.analyze(x[:6] + 0.3, metrics="quality", ks=[1]).tables["projection"].rows
    y = (x[:6] + 0.3) / np.linalg.norm(x[:6] + 0.3, axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(y - y.mean(axis=0), full_matrices=False)
    points = np.array([[row["x"], row["y"]] for row in wide])
    assert np.abs(np.abs(points) - np.abs(left[:, :2] * values[:2])).max() < 1e-9


def test_estimates_from_anchors(cli, files):
    found = document(
        cli("quality", "emb.npy", "-l", "y.npy", "-p", "v.npy", "--anchors", 120, "--json",
            "--no-files")
    )  # fmt: skip
    exact = document(
        cli("quality", "emb.npy", "-l", "y.npy", "-p", "v.npy", "--json", "--no-files")
    )
    for one, other in zip(found["results"], exact["results"], strict=True):
        assert one["metric"] == other["metric"]
        if one["metric"].startswith(ESTIMATED):
            assert not one["exact"]
            assert one["n"] == 120
            slack = 5 * (one["sampling_error"] or 0.0) + 1e-9
            assert one["value"] == pytest.approx(other["value"], abs=slack)
        elif one["metric"].startswith(("hubness", "antihub", "outlier")):
            assert one["reason"] == "needs the neighbours of every row: run without --anchors"
        elif one["metric"] != "median_rank" and one["definition"] != "cosine_w1":
            assert one == other
    assert found["tables"]["quality_by_class"][0]["uniformity"] is None


def test_groups_keep_to_one_side_of_every_split(cli, files, random):
    """Rows come in pairs of near-copies; their classes are noise."""
    rows = np.repeat(random.standard_normal((100, 150)), 2, axis=0)
    rows += 0.01 * random.standard_normal(rows.shape)
    np.save(files / "twins.npy", rows)
    np.save(files / "noise.npy", np.repeat(random.integers(0, 2, 100), 2))
    np.save(files / "pairs.npy", np.repeat(np.arange(100), 2))
    arguments = ("quality", "twins.npy", "-l", "noise.npy", "--json", "--no-files")

    def accuracy(*more):
        results = document(cli(*arguments, *more))["results"]
        return next(r for r in results if r["metric"] == "probe_accuracy")

    leaking, kept = accuracy(), accuracy("--groups", "pairs.npy")
    assert leaking["value"] > 0.7
    assert abs(kept["value"] - 0.5) < 0.2
    assert kept["std_error"] > leaking["std_error"]


def test_definition_keeps_one_version(cli, files):
    found = document(
        cli("quality", "emb.npy", "-l", "y.npy", "--definition", "normalised_centred", "--json",
            "--no-files")
    )  # fmt: skip
    by_metric = {}
    for record in found["results"]:
        by_metric.setdefault(record["metric"], set()).add(record["definition"])
    assert by_metric["effective_rank"] == {"normalised_centred"}
    assert by_metric["knn_accuracy"] == {"leave_one_out"}


def test_unlabelled_files_say_that_class_metrics_are_left_out(cli, files):
    (files / "empty.csv").write_text("\n".join(["label", *[""] * 240]) + "\n")
    np.save(files / "nan.npy", np.full(240, np.nan))
    result = cli("quality", "emb.npy", "-l", "nan.npy", "--no-files")
    assert result.returncode == 0, result.stderr
    assert "no row is labelled: class metrics are left out" in result.stderr


def test_the_report_has_a_verdict_and_the_accuracies(cli, few):
    result = cli("report", few, "--tau", 0.2, "--no-files")
    assert result.returncode == 0, result.stderr
    page = render_html(cla.analyze(str(few), metrics="all", taus=[0.2]).document, [])
    assert "No dimensional collapse: uses" in page
    assert "A linear classifier is right on" in page
    assert "kNN accuracy, k 20" in result.stdout
    assert "linear probe" in result.stdout
