"""Variants on the command line: compare, check, report, and what users get wrong."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.comparison.order import Given, measuring_order
from cl_analyze.options import Request


@pytest.fixture
def file(cli, random):
    """300 rows of five classes; the classes differ in the first 4 of 16 coordinates."""
    labels = np.arange(300) % 5
    means = np.zeros((5, 16))
    means[:, :4] = 3 * random.standard_normal((5, 4))
    rows = means[labels] + 0.6 * random.standard_normal((300, 16))
    np.savez(cli.folder / "emb.npz", embeddings=rows, labels=labels)
    return "emb.npz"


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_a_truncation_costs(cli, file):
    result = cli("compare", file, "--dims", 1, 4, 8, "--metrics", "quality", "uniformity")
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    text = " ".join(result.stdout.split())
    assert (
        "emb.npz, cut to 1, 4, 8 of 16 dimensions: the fewest without an established loss" in text
    )
    assert re.search(r"kNN accuracy, k 20: 4 \([+-]0[.0-9]* to \+0[.0-9]*\)", text)
    out = cli.folder / "cl-analyze-out"
    checkpoints = read(out / "tables" / "checkpoints.csv")
    assert [(row["source"], row["axis"], float(row["x"])) for row in checkpoints] == [
        ("emb.npz", "dimensions kept", 16.0),
        ("emb.npz[dims=1]", "dimensions kept", 1.0),
        ("emb.npz[dims=4]", "dimensions kept", 4.0),
        ("emb.npz[dims=8]", "dimensions kept", 8.0),
    ]
    assert [row["against"] for row in checkpoints] == ["", *["emb.npz"] * 3]
    rows = read(out / "tables" / "compare.csv")
    assert {row["source_b"] for row in rows} == {"emb.npz"}
    assert "uniformity" not in {row["metric"] for row in rows}  # it depends on the dimensions
    assert {row["paired"] for row in rows if row["metric"] == "uniformity_gap"} == {"true"}
    assert (out / "figures" / "along_the_run.png").stat().st_size > 5_000
    page = (out / "compare.html").read_text()
    assert "cut to 1, 4, 8 of 16 dimensions" in page
    assert not (out / "tables" / "variants.csv").exists()  # nothing was fitted


def test_a_variant_is_compared_with_its_original(cli, file, random):
    with np.load(cli.folder / file) as arrays:
        other = arrays["embeddings"] + 0.2 * random.standard_normal((300, 16))
        np.savez(cli.folder / "next.npz", embeddings=other, labels=arrays["labels"])
    options = ("--metrics", "uniformity", "tolerance", "--no-files", "--json")
    result = cli("compare", file, "next.npz", "--quantise", "binary", *options)
    document = json.loads(result.stdout)
    pairs = {(row["source_a"], row["source_b"]) for row in document["tables"]["compare"]}
    assert pairs == {
        ("emb.npz[binary]", "emb.npz"),
        ("next.npz", "emb.npz"),
        ("next.npz[binary]", "next.npz"),
    }
    moved = {
        r["source"]: r["params"]["against"] for r in document["results"] if r["metric"] == "cka"
    }
    assert moved["next.npz[binary]"] == "next.npz"
    alone = cla.compare(
        {"one": other, "two": np.where(other > 0, 1.0, -1.0)},
        np.arange(300) % 5,
        metrics=("uniformity", "tolerance"),
    )
    ours = [row for row in document["tables"]["compare"] if row["source_a"] == "next.npz[binary]"]
    theirs = alone.tables["compare"].rows
    assert len(ours) == len(theirs) > 5
    for one, two in zip(ours, theirs, strict=True):
        assert one["difference"] == pytest.approx(two["difference"], rel=1e-5, abs=1e-7)
        assert one["std_error"] == pytest.approx(two["std_error"], rel=1e-4, abs=1e-9)


def test_the_cache_keeps_variants_apart(cli, file):
    command = ("compare", file, "--dims", 2, 4, "--transform", "whiten", "--cache", "kept")
    options = ("--metrics", "uniformity", "--no-files", "--json")
    first, second = (json.loads(cli(*command, *options).stdout) for _ in range(2))
    assert first["results"] == second["results"]
    assert len(list((cli.folder / "kept").glob("checkpoint-*"))) == 4


def test_the_order_of_measurement_holds_three_at_a_time():
    def given(name, variant=""):
        title = f"{name}[{variant}]" if variant else name
        return Given(Request(name, variant=variant), title, title, None, name)

    both = [given("a"), given("a", "int8"), given("b"), given("b", "int8"), given("b", "dims=2")]
    assert measuring_order(both, 0) == [(0, None), (1, 0), (2, 0), (3, 2), (4, 2)]
    assert measuring_order(both, 2) == [(2, None), (3, 2), (4, 2), (0, 2), (1, 0)]
    # a variant may be the reference: originals are compared with it, variants with originals
    assert measuring_order(both, 1) == [(1, None), (0, 1), (2, 1), (3, 2), (4, 2)]


def test_against_a_variant(cli, file):
    options = ("--metrics", "uniformity", "--no-files", "--json")
    arguments = ("--quantise", "int8", "binary", "--against", "emb.npz[int8]")
    rows = json.loads(cli("compare", file, *arguments, *options).stdout)["tables"]["compare"]
    assert {(row["source_a"], row["source_b"]) for row in rows} == {
        ("emb.npz", "emb.npz[int8]"),
        ("emb.npz[binary]", "emb.npz"),
    }


RULES = """
[[rule]]
metric = "knn_accuracy"
params = { k = 10 }
variant = "dims=4"
max_worse = 0.1
[[rule]]
metric = "knn_accuracy"
params = { k = 10 }
variant = "dims=1"
max_worse = 0.1
[[rule]]
metric = "uniformity"
variant = "original"
max = 0
"""


def test_a_gate_for_a_variant_against_its_original(cli, file):
    (cli.folder / "cl-analyze.toml").write_text(RULES)
    result = cli("check", file, "--dims", 1, 4, "--json")
    assert result.returncode == 1, result.stderr
    checks = json.loads(result.stdout)["tables"]["checks"]
    verdicts = {(row["source"], row["verdict"]) for row in checks}
    assert verdicts == {
        ("emb.npz", "pass"),
        ("emb.npz[dims=1]", "fail"),
        ("emb.npz[dims=4]", "pass"),
    }
    missing = cli("check", file, "--dims", 4)
    assert missing.returncode == 2
    assert "is for dims=1, and there is no such variant: pass --dims" in missing.stderr


def test_a_gate_for_a_variant_against_a_baseline(cli, file):
    (cli.folder / "cl-analyze.toml").write_text(RULES)
    saved = cli("check", file, "--dims", 1, 4, "--save-baseline", "base.json")
    assert saved.returncode == 1
    again = cli("check", file, "--dims", 1, 4, "--baseline", "base.json")
    assert again.returncode == 0, again.stderr  # nothing has changed since


def test_a_baseline_of_variants_is_matched_by_variant(cli, file):
    """Under other names of the files, as docs/ci.md has it; a plain one stands for all variants."""
    rules = "[[rule]]\nmetric = 'uniformity_gap'\nmax_worse = 0.001\n"
    (cli.folder / "cl-analyze.toml").write_text(rules)
    with np.load(cli.folder / file) as arrays:
        np.savez(cli.folder / "new.npz", **arrays)
    variants = ("--dims", 4, "--quantise", "binary")
    assert cli("check", file, *variants, "--save-baseline", "base.json").returncode == 0
    same = cli("check", "new.npz", *variants, "--baseline", "base.json")
    assert same.returncode == 0, same.stderr
    assert "new.npz[dims=4] against emb.npz[dims=4] of base.json" in same.stderr
    assert cli("check", file, "--save-baseline", "plain.json").returncode == 0
    other = cli("check", "new.npz", *variants, "--baseline", "plain.json")
    assert "new.npz[dims=4] against emb.npz of plain.json" in other.stderr


def test_packed_bits_in_a_gate(cli, random):
    rows = random.standard_normal((60, 16))
    np.save(cli.folder / "bits.npy", np.packbits(rows > 0, axis=1))
    (cli.folder / "cl-analyze.toml").write_text("[[rule]]\nmetric = 'uniformity'\nmax = 0\n")
    result = cli("check", "bits.npy", "--packed-bits", "--quantise", "int8", "--junit", "int8")
    assert result.returncode == 0, result.stderr
    assert (cli.folder / "int8").read_text().startswith("<?xml")


def test_standard_input_is_read_once_for_all_variants(cli, random):
    rows = random.standard_normal((40, 6))
    np.save(cli.folder / "z.npy", rows)
    options = ("--quantise", "int8", "binary", "--no-files", "--json")
    typed = cli("uniformity", "-", *options, stdin=(cli.folder / "z.npy").read_bytes())
    assert typed.returncode == 0, typed.stderr
    named = cli("uniformity", "z.npy", *options)
    values = [
        [record["value"] for record in json.loads(result.stdout)["results"]]
        for result in (typed, named)
    ]
    assert values[0] == values[1]


def test_names_that_look_like_those_of_variants(cli, random):
    rows = {name: random.standard_normal((50, 6)) for name in ("e", "e[int8]")}
    np.savez(cli.folder / "two.npz", **rows)
    few = ("--metrics", "uniformity", "--no-files", "--json")
    clash = cli("compare", "two.npz::e", "two.npz::e[int8]", "--quantise", "int8", *few)
    sources = {record["source"] for record in json.loads(clash.stdout)["results"]}
    assert sources == {
        "two.npz::e",
        "two.npz::e[int8]",
        "two.npz::e[int8] (2)",
        "two.npz::e[int8] (2)[int8]",
    }
    with pytest.raises(cla.ConfigError, match=r"two checkpoints would be called e\[int8\]"):
        cla.compare(rows, metrics="uniformity", quantise=["int8"])
    alone = cli("compare", "two.npz::e[int8]", "--dims", 3, *few)
    assert alone.returncode == 0, alone.stderr
    (pair,) = {
        (row["source_a"], row["source_b"]) for row in json.loads(alone.stdout)["tables"]["compare"]
    }
    assert pair == ("two.npz::e[int8][dims=3]", "two.npz::e[int8]")


def test_against_a_variant_of_fewer_dimensions(cli, file):
    result = cli(
        "compare", file, "--dims", 4, 8, "--against", "emb.npz[dims=8]", "--metrics", "quality",
        "--out", "out",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (cli.folder / "out" / "compare.html").is_file()
    assert "emb.npz, cut to 4 of 16 dimensions" in " ".join(result.stdout.split())


def test_variants_are_no_steps_of_a_run(cli, file, random):
    from cl_analyze.figures.runs import run_of

    with np.load(cli.folder / file) as arrays:
        for step in (1, 10, 100):
            rows = arrays["embeddings"] + 0.01 * step * random.standard_normal((300, 16))
            np.savez(cli.folder / f"s-{step}.npz", embeddings=rows, labels=arrays["labels"])
    files = [str(cli.folder / f"s-{step}.npz") for step in (1, 10, 100)]
    report = cla.compare(files, metrics=["uniformity"], x="s", quantise=["int8"], dims=[8])
    assert run_of(report.document).places == {f"s-{step}.npz": step for step in (1, 10, 100)}
    report = cla.compare(files[:2], metrics=["uniformity"], quantise=["int8"], dims=[8, 4])
    series = run_of(report.document).series
    assert {name: len(run) for name, run in series.items()} == {"s-1": 3, "s-10": 3}


def test_a_variant_that_drops_rows_says_whose_they_are(cli, random):
    rows, partners = random.standard_normal((2, 40, 6))
    partners[5, :2] = 0
    np.save(cli.folder / "u.npy", rows)
    np.save(cli.folder / "v.npy", partners)
    command = ("losses", "u.npy", "--pairs", "v.npy", "--dims", 2, "--tau", 0.2, "--no-files")
    result = cli(*command)
    assert result.returncode == 2
    assert "v.npy[dims=2]: 1 row has no direction left" in " ".join(result.stderr.split())
    dropped = cli(*command, "--on-invalid", "drop")
    assert dropped.returncode == 0, dropped.stderr
    assert "v.npy[dims=2]: dropped row 5" in dropped.stderr


def test_variants_of_every_command(cli, file):
    np.save(cli.folder / "view2.npy", np.load(cli.folder / file)["embeddings"][::-1])
    for command in ("uniformity", "tolerance", "similarity", "penalty", "quality", "losses"):
        pairs = ("--pairs", "view2.npy") if command == "losses" else ()
        result = cli(command, file, *pairs, "--dims", 3, "--no-files", "--json")
        assert result.returncode == 0, result.stderr
        sources = {record["source"] for record in json.loads(result.stdout)["results"]}
        assert sources == {"emb.npz", "emb.npz[dims=3]"}, command


def test_a_report_with_variants(cli, file):
    result = cli("report", file, "--transform", "standardise", "--k", 1, 5, "--out", "out")
    assert result.returncode == 0, result.stderr
    tables = cli.folder / "out" / "tables"
    fitted = read(tables / "variants.csv")
    assert len(fitted) == 16
    assert set(fitted[0]) == {"source", "original", "variant", "coordinate", "centre", "scale"}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--dims", "17"), "--dims 17: emb.npz has 16 dimensions"),
        (("--dims", "0"), "--dims must be finite and > 0"),
        (("--quantise", "int4"), "int4"),
        (("--transform", "center"), "center"),
        (("--packed-bits",), "--packed-bits reads bytes (uint8), found float64"),
    ],
)
def test_what_is_wrong_with_a_variant_is_said(cli, file, arguments, found):
    result = cli("uniformity", file, *arguments)
    assert result.returncode == 2
    assert found in " ".join(result.stderr.split())
    assert not (cli.folder / "cl-analyze-out").exists()


def test_variants_need_a_file(cli):
    result = cli("penalty", "--dims", 4)
    assert result.returncode == 2
    assert "--dims needs embeddings: name a file EMB" in result.stderr


def test_one_file_without_variants_is_no_comparison(cli, file):
    result = cli("compare", file)
    assert result.returncode == 2
    assert "variants of one: --dims 64" in " ".join(result.stderr.split())
