"""`cl-analyze losses` and `penalty --hard-alpha` as users type them."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture
def two_views(tmp_path, random):
    u = random.standard_normal((60, 8)).astype(np.float32)
    np.save(tmp_path / "u.npy", u)
    np.save(tmp_path / "v.npy", u + 0.3 * random.standard_normal(u.shape).astype(np.float32))
    np.save(tmp_path / "y.npy", np.arange(60) % 3)
    np.save(tmp_path / "queue.npy", random.standard_normal((20, 8)).astype(np.float32))
    np.save(tmp_path / "frame.npy", np.eye(3, 8))
    return ("u.npy", "--pairs", "v.npy")


def document(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_row_for_each_loss_and_temperature(cli, two_views):
    arguments = ("losses", *two_views, "-l", "y.npy", "--tau", 0.1, 0.5)
    matrix = cli(*arguments, "--no-files").stdout.splitlines()
    assert matrix[1].split() == ["loss", "τ", "0.1", "τ", "0.5"]
    result = cli(*arguments, "--long")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "u.npy  n=60  d=8"
    assert lines[1].split() == ["loss", "alignment", "uniformity"]
    at = next(i for i, line in enumerate(lines) if line.startswith("  contrastive[one_way]: Info"))
    assert lines[at + 1].strip() == "is perfect, log N is chance."
    for offset, tau in ((2, "tau=0.1"), (3, "tau=0.5")):
        name, value, sign, error, alignment, uniformity = lines[at + offset].split()
        assert (name, sign) == (tau, "±")
        assert float(value) == pytest.approx(float(alignment) + float(uniformity), abs=1e-3)
        assert float(error) > 0
        row = next(line for line in matrix if line.startswith("  InfoNCE [one_way]")).split()
        assert float(row[2 if tau == "tau=0.1" else 5]) == pytest.approx(float(value), abs=5e-3)
    titles = [line.split(":")[0].strip() for line in lines if ": " in line]
    for title in (
        "supcon[out]",
        "kcl_riesz[gaussian_riesz]",
        "clop",
        "a_infonce",
        "siglip",
        "vicreg[as_saved]",
    ):
        assert title in titles
    assert all(len(line) <= 110 for line in lines)
    out = cli.folder / "cl-analyze-out"
    for name in ("losses", "loss_limits", "loss_gradient", "loss_gradient_totals"):
        assert (out / "tables" / f"{name}.csv").is_file()
    for name in ("loss_by_temperature", "loss_gradient"):
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_losses_of_one_view_and_of_items_are_printed(cli, two_views):
    one = cli("losses", "u.npy", "-l", "y.npy", "--tau", 0.1)
    assert one.returncode == 0, one.stderr
    assert one.stdout.startswith("u.npy  n=60  d=8\n")
    assert "SupCon [out]" in one.stdout
    assert "hyperspherical energy" not in one.stdout
    pairs = "".join(f"{i},{i // 2}\n" for i in range(60))
    (cli.folder / "pairs.csv").write_text(f"query,item\n{pairs}")
    items = cli("losses", *two_views, "--relevant", "pairs.csv", "--tau", 0.1)
    assert items.returncode == 0, items.stderr
    assert "InfoNCE [one_way]" in items.stdout
    assert "hyperspherical energy" not in items.stdout


def test_every_option_reaches_the_numbers(cli, two_views):
    options = ["--hard-alpha", "0.25", "--simple-lambda", "2", "--kcl-t", "1.5", "--kcl-gamma", "3"]
    options += ["--siglip-bias", "-4"]
    more = [
        "--queue",
        "queue.npy",
        "--clop-anchors",
        "frame.npy",
        "--batch-size",
        "8",
        "16",
        "--tau",
        "0.5",
    ]
    found = document(
        cli("losses", *two_views, *options, *more, "-l", "y.npy", "--json", "--no-files")
    )
    records = {
        (r["metric"], r["definition"], r["params"].get("name"), r["params"].get("batch_size")): r
        for r in found["results"]
    }
    assert records["loss", None, "hard_contrastive", None]["params"]["alpha"] == 0.25
    assert records["loss", None, "simple", None]["params"]["lambda"] == 2
    kernel = records["loss", None, "kcl_imq", None]["params"]
    assert (kernel["t"], kernel["gamma"]) == (1.5, 3)
    sigmoid = records["loss", None, "siglip", None]
    assert sigmoid["params"] == {"name": "siglip", "tau": 0.5, "bias": -4}
    u, v = (np.load(cli.folder / name).astype(float) for name in ("u.npy", "v.npy"))
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    z = (1 - 2 * np.eye(60)) * (u @ v.T / 0.5 - 4)
    assert sigmoid["value"] == pytest.approx(np.logaddexp(0, z).sum() / 60, rel=1e-6)
    alone = records["loss", "moco", "contrastive", None]["value"]
    both = records["loss", "one_way_queue", "contrastive", None]["value"]
    assert max(alone, records["loss", "one_way", "contrastive", None]["value"]) < both
    assert records["loss", None, "clop", None]["params"]["anchors"] == "given"
    assert [("queue" in e["path"], "frame" in e["path"]) for e in found["inputs"][-2:]] == [
        (True, False), (False, True),
    ]  # fmt: skip
    for size in (8, 16):
        record = records["loss", "one_way", "contrastive", size]
        assert record["exact"] is False
        assert record["sampling_error"] > 0
    for record in found["results"]:
        assert (record["value"] is None) == (record["reason"] is not None)
        if record["value"] is not None:
            assert record["std_error"] is not None, record
    assert {row["batch_size"] for row in found["tables"]["loss_batch"]} == {8, 16}


def test_batches_in_the_terminal(cli, two_views):
    result = cli("losses", *two_views, "--tau", 0.5, "--batch-size", "8,16", "--no-files")
    lines = result.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if "mean over batches" in line)
    assert lines[at + 1].split() == ["batch", "size", "8", "16", "limit"]
    first = lines[at + 2].split()
    assert first[:3] == ["InfoNCE,", "τ", "0.5"]
    small, large, limit = map(float, first[3:])
    assert small > large > limit
    assert "L - log K of the contrastive loss is more than 0.05 nats" in result.stderr


def test_definition_is_kept_where_a_loss_has_it(cli, two_views):
    found = document(
        cli("losses", *two_views, "--tau", 0.5, "--definition", "one_way", "--json", "--no-files")
    )
    definitions = {}
    for record in found["results"]:
        name = record["params"].get("name")
        definitions.setdefault(name, set()).add(record["definition"])
    assert definitions["contrastive"] == {"one_way"}
    assert definitions["dcl"] == {"one_way"}
    assert definitions["dhel"] == {"symmetric", "one_sided", "official"}


def test_views_in_the_file_need_no_option(cli, sample):
    result = cli("losses", sample, "--tau", 0.2, "--no-files")
    assert result.returncode == 0
    assert "labels, views: from the embeddings' file (labels, view1 + view2)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("u.npy",), "losses need two views of the same rows: pass --pairs FILE"),
        (("u.npy", "-p", "v.npy", "--batch-size", 31), "--batch-size 31: u.npy has 60 pairs"),
        (("u.npy", "-p", "v.npy", "--batch-size", 2.5), "takes whole numbers, found 2.5"),
        (("u.npy", "-p", "v.npy", "--batch-size", 1), "batch-size must be a whole number of at"),
        (("u.npy", "-p", "v.npy", "--hard-alpha", 2), "hard-alpha must lie in (0, 1], found 2"),
        (("u.npy", "-p", "v.npy", "--hard-alpha", 0), "hard-alpha must lie in (0, 1], found 0.0"),
        (("u.npy", "-p", "v.npy", "--kcl-t", -1), "kcl-t must be finite and > 0, found -1"),
        (
            ("u.npy", "-p", "v.npy", "--siglip-bias", "nan"),
            "siglip-bias must be a number from -1e+06 to 1e+06, found nan",
        ),
        (("u.npy", "-p", "v.npy", "--queue", "frame2.npy"), "with the 8 dimensions of u.npy"),
        (("u.npy", "-p", "v.npy", "--queue", "none.npy"), "none.npy"),
        (
            ("u.npy", "-p", "v.npy", "-l", "y.npy", "--clop-anchors", "queue.npy"),
            "3 classes in 8 dimensions need an array of shape (3, 8), found (20, 8)",
        ),
        (
            ("u.npy", "-p", "v.npy", "--clop-anchors", "frame.npy"),
            "--clop-anchors needs labels",
        ),
    ],
)
def test_what_cannot_be_used_is_named(cli, two_views, arguments, message):
    np.save(cli.folder / "frame2.npy", np.eye(3, 7))
    assert message in cli.fails("losses", *arguments)


def test_truncated_penalty_curves(cli, two_views):
    found = document(cli("penalty", "u.npy", "--hard-alpha", 0.2, "--tau", 0.1, "--json"))
    assert len(found["tables"]["penalty_curve_hard"]) == 200
    assert any(path.endswith("penalty_curve_hard.png") for path in found["files"])
    assert "penalty_curve_hard" not in document(cli("penalty", "u.npy", "--json"))["tables"]
    without = document(cli("penalty", "--hard-alpha", 0.1, "--tau", 0.3, "--json", "--no-files"))
    rows = without["tables"]["penalty_curve_hard"]
    kept = [row for row in rows if row["relative_penalty"] > 0]
    assert min(row["similarity"] for row in kept) > 0.8
    assert sum(row["penalty_mass"] for row in rows) == pytest.approx(1.0)
    message = cli.fails(
        "penalty", "u.npy", "-l", "y.npy", "--negatives", "class", "--hard-alpha", 1
    )
    assert "not --negatives class" in message


def test_batches_are_drawn_from_the_rows_that_are_left(cli, two_views):
    rows = np.load(cli.folder / "v.npy")
    rows[:40] = np.nan
    np.save(cli.folder / "v.npy", rows)
    dropping = ("--on-invalid", "drop", "--tau", 0.5, "--batch-size")
    assert "u.npy has 20 pairs" in cli.fails("losses", *two_views, *dropping, 25)
    assert cli("losses", *two_views, *dropping, 10, "--no-files").returncode == 0
