"""The commands as users type them: what is printed, written and returned."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.pairs import kernels
from tests.cli.test_schema import VALIDATOR
from tests.conftest import ROOT, SAMPLES

PENALTY_METRICS = {
    "penalty_entropy",
    "penalty_effective_negatives",
    "penalty_top1_share",
    "penalty_top10_share",
}
TEMPERATURES = {"temperature_of_effective_share", "temperature_of_top10_half"}


@pytest.fixture
def emb(tmp_path, random):
    np.save(tmp_path / "emb.npy", random.standard_normal((60, 8)).astype(np.float32))
    return "emb.npy"


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels.csv").write_text("label\n" + "\n".join("abc"[i % 3] for i in range(60)))
    return "labels.csv"


def document(result):
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_uniformity_of_an_npy_file(cli, emb):
    result = cli("uniformity", emb)
    assert result.returncode == 0
    assert "emb.npy  n=60  d=8" in result.stdout
    assert "uniformity [u_stat], t 2" in result.stdout
    assert "uniformity[u_stat]" in cli("uniformity", emb, "--long", "--no-files").stdout
    assert "±" in result.stdout
    assert result.stderr.endswith("1 table, 1 figure in cl-analyze-out\n")
    out = cli.folder / "cl-analyze-out"
    assert (out / "tables" / "uniformity.csv").is_file()
    assert (out / "figures" / "uniformity.png").read_bytes().startswith(b"\x89PNG")


def test_penalty_without_a_file(cli):
    result = cli("penalty", "--tau", 0.07, 0.2, 0.5, "--json")
    found = document(result)
    assert {record["source"] for record in found["results"]} == {"uniform[-1,1]"}
    at_taus = [record for record in found["results"] if "tau" in record["params"]]
    assert {record["metric"] for record in at_taus} == PENALTY_METRICS
    assert {record["params"]["tau"] for record in at_taus} == {0.07, 0.2, 0.5}
    others = [record for record in found["results"] if record not in at_taus]
    assert {record["metric"] for record in others} == TEMPERATURES
    assert {(record["n"], record["d"]) for record in found["results"]} == {(4095, None)}
    assert len(found["tables"]["penalty_curve"]) == 600
    assert any(path.endswith("penalty_curve.png") for path in found["files"])


def test_report_writes_everything(cli, few):
    result = cli("report", few, "--tau", 0.1, 0.5, "--out", "out", "--format", "png", "svg", "pdf")
    assert result.returncode == 0, result.stderr
    out = cli.folder / "out"
    found = json.loads((out / "results.json").read_text())
    VALIDATOR.validate(found)
    assert found["tables"]["spectrum"] == {"csv": "tables/spectrum.csv", "rows": 256}
    written = {str(path.relative_to(cli.folder)) for path in out.rglob("*.*") if path.is_file()}
    assert set(found["files"]) == written - {"out/.cl-analyze-files.json"}
    for name in ("report.html", "tables/penalty_curve.csv", "tables/tolerance_by_class.csv"):
        assert (out / name).stat().st_size > 100
    names = {path.stem for path in (out / "figures").iterdir()}
    assert names == {
        "loss_by_temperature",
        "loss_gradient",
        "uniformity",
        "similarity_histogram",
        "class_histogram",
        "nearest_negatives",
        "penalty_curve",
        "penalty_summary",
        "spectrum",
        "projection",
        "knn_accuracy",
        "class_similarity",
        "confusion",
        "class_accuracy",
        "confused_pairs",
        "reliability",
        "recall_curve",
        "penalty_entropy",
        "hubness",
        "separation",
        "thresholds",
    }
    assert len(list((out / "figures").iterdir())) == 3 * len(names)
    for key in ("path", "key", "sha256", "n", "d", "dtype"):
        assert key in found["inputs"][0]


def test_the_same_value_from_cli_json_csv_and_python(cli, few):
    found = document(cli("report", few, "--json"))
    report = cla.analyze(str(few), metrics="all")
    assert [record.to_dict() for record in report.records] == found["results"]
    for name, table in found["tables"].items():
        text = (cli.folder / "cl-analyze-out" / "tables" / f"{name}.csv").read_text()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(table)
        for row, expected in zip(rows, table, strict=True):
            for key, value in expected.items():
                if value is None:
                    assert row[key] == ""
                elif isinstance(value, float):
                    assert float(row[key]) == value
                elif isinstance(value, bool):
                    assert row[key] == str(value).lower()
                else:
                    assert row[key] == str(value)


def test_records_have_every_key_and_params_are_never_null(cli, few):
    found = document(cli("report", few, "--json", "--no-files"))
    for record in found["results"]:
        assert list(record) == [
            "source", "metric", "definition", "params", "value", "std_error", "sampling_error",
            "interval", "unit", "n", "d", "exact", "reason",
        ]  # fmt: skip
        assert (record["value"] is None) == (record["reason"] is not None)
        assert None not in record["params"].values()
        if record["value"] is not None and record["params"].get("k") != 200:
            assert record["std_error"] is not None, record  # hubs of 200 have no spare neighbours
        assert record["exact"] or record["sampling_error"] is not None


def test_results_and_tables_are_the_same_bytes_twice(cli, few):
    one, other = (document(cli("report", few, "--json", "--no-files")) for _ in range(2))
    for key in ("results", "tables", "inputs", "warnings"):
        assert json.dumps(one[key]) == json.dumps(other[key])


def test_figures_and_report_are_the_same_bytes_twice(cli, emb):
    for folder in ("a", "b"):
        result = cli(
            "report", emb, "--tau", 0.2, "--out", "out", "--format", "png", "svg", "pdf",
            SOURCE_DATE_EPOCH="0",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        (cli.folder / "out").rename(cli.folder / folder)
    for path in (cli.folder / "a").rglob("*"):
        if path.is_file():
            other = cli.folder / "b" / path.relative_to(cli.folder / "a")
            assert path.read_bytes() == other.read_bytes(), path


@pytest.mark.parametrize("more", [(), ("--resume", "states")])
def test_forked_checkpoints_give_the_same_bytes_and_messages(cli, few, more):
    """Two threads measure two checkpoints of few rows in forks, one thread measures them itself."""
    with np.load(few) as arrays:
        for name, step in (("a", 1), ("b", 2), ("c", 3)):
            part = {key: array[::step].copy() for key, array in arrays.items()}
            part["embeddings"][5] = part["embeddings"][2]  # a duplicate is told of
            np.savez(cli.folder / f"{name}.npz", **part)
    found = []
    for threads in (1, 2):
        result = cli(
            "report", "a.npz", "b.npz", "c.npz", "--no-files", "--json", "--threads", threads,
            "--tau", 0.2, *more, SOURCE_DATE_EPOCH="0",
        )  # fmt: skip
        entries = document(result)
        told = re.findall(r"(?:note|warning): .*", result.stderr)
        if more and threads == 2:  # the forks resume what the first run saved
            for name in ("a.npz", "b.npz", "c.npz"):
                assert any(f"{name}: pairs: goes on from 100%" in text for text in told), told
        told = [text for text in told if "goes on from" not in text]
        found.append((entries["results"], entries["tables"], entries["warnings"], told))
    assert found[0] == found[1]
    assert len(found[0][2]) >= 1


def test_penalty_ends_with_temperatures_to_start_from(cli, emb):
    plain = " ".join(cli("penalty", emb, "--no-files").stdout.split())
    found = {
        record["params"].get("share", "half"): record["value"]
        for record in document(cli("penalty", emb, "--no-files", "--json"))["results"]
        if record["metric"] in TEMPERATURES
    }
    assert found[0.01] is None
    number = r"([0-9.]+) ± [0-9.]+"
    ending = re.search(
        rf"Temperatures to start from: tau = {number} to {number}, where the effective number of "
        rf"negatives is 10% to 50% of all. Below tau = {number} the ten nearest have more than "
        "half of the repulsion. Embeddings trained at another temperature give other numbers.$",
        plain,
    )
    assert [float(text) for text in ending.groups()] == pytest.approx(
        [found[0.1], found[0.5], found["half"]], rel=1e-2
    )


def test_sentences_under_a_table_fit_a_terminal(cli, emb):
    for arguments in ((emb,), ("--n-negatives", 5)):
        lines = cli("penalty", *arguments, "--tau", 0.2, "--no-files").stdout.splitlines()
        start = next(i for i, line in enumerate(lines) if "Temperatures to start from" in line)
        assert max(map(len, lines[start:])) <= 80
    np.save(cli.folder / "right.npy", np.eye(30))
    found = " ".join(cli("penalty", "right.npy", "--tau", 0.2, "--no-files").stdout.split())
    reason = "at tau = 0.001 the effective number is still more than 50%"
    assert found.endswith(f"Temperatures to start from: none ({reason}).")


SPELLINGS = [
    ["penalty", "--tau", "0.07", "0.2", "FILE"],
    ["penalty", "FILE", "--tau", "0.07", "0.2"],
    ["penalty", "--tau", "0.07,0.2", "FILE"],
    ["penalty", "--tau=0.07,0.2", "FILE"],
    ["penalty", "--tau", "0.07", "--tau", "0.2", "FILE"],
    ["penalty", "--tau=0.07", "--tau=0.2", "FILE"],
    ["penalty", "--tau", "0.07", "0.2", "0.07", "--", "FILE"],
    ["penalty", "--tau", "0.07,0.2", "0.2", "--seed", "0", "FILE"],
]


@pytest.mark.parametrize("arguments", SPELLINGS, ids=" ".join)
def test_every_spelling_of_a_list(cli, emb, arguments):
    named = [emb if a == "FILE" else a for a in arguments]
    found = document(cli(named[0], "--json", "--no-files", *named[1:]))
    taus = (r["params"]["tau"] for r in found["results"] if r["metric"] not in TEMPERATURES)
    assert list(dict.fromkeys(taus)) == [0.07, 0.2]
    assert {r["source"] for r in found["results"]} == {"emb.npy"}


def test_a_file_named_like_a_number_needs_a_path(cli, random):
    np.save(cli.folder / "0.2.npy", random.standard_normal((20, 3)))
    (cli.folder / "0.2.npy").rename(cli.folder / "0.2")
    message = cli.fails("penalty", "--tau", 0.1, "./0.2")
    assert "no reader" in message
    message = cli.fails("uniformity", "0.2")
    assert "'0.2' is a number, not a file" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tau=0.07", "0.2"], "write --tau 0.07 0.2"),
        (["--tau", "0"], "must be finite and > 0, found 0"),
        (["--tau", "-0.1"], "must be finite and > 0, found -0.1"),
        (["--tau", "nan"], "must be finite and > 0, found nan"),
        (["--tau", "0.1", "inf"], "must be finite and > 0, found inf"),
        (["--tau", "1_0"], "'1_0' is not a number"),
        (["--tau", "abc"], "'abc' is not a number"),
        (["--tau"], "requires an argument"),
        (["--n-negatives", "1"], "--n-negatives must be a whole number of at least 2"),
        (["--curve-anchors", "0"], "neither a number >= 1 nor all"),
        (["--memory", "lots"], "is not a size"),
        (["--threads", "0"], "--threads must be a whole number of at least 1"),
        (["--seed", "-1"], "--seed must be a whole number of at least 0"),
        (["--definition", "nonsense"], "no metric here has a definition 'nonsense'"),
        (["--format", "bmp"], "'bmp' is none of png, svg, pdf"),
        (
            ["--device", "tpu"],
            "--device must be cpu, mps, cuda, cuda:1, several such as cuda:0,cuda:1",
        ),
        (["--device", "cuda:0,cuda:1"], "--device cuda:0,cuda:1: torch finds no such device here"),
        (["--device", "cuda"], "torch finds no such device"),
        (["--bogus"], "unknown option --bogus; cl-analyze penalty --help-all lists all options"),
        (["-z"], "unknown option -z; cl-analyze penalty --help-all"),
        (["--tua", "1"], "unknown option --tua; did you mean '--tau'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_make_no_sense(cli, emb, arguments, expected):
    wants_file = "--n-negatives" not in arguments and "--tau=0.07" not in arguments
    files = [emb] if wants_file and arguments != ["--tau"] else []
    message = " ".join(cli.fails("penalty", *files, *arguments).split())
    if expected == "torch finds no such device" and not message.count("torch finds"):
        pytest.skip("a CUDA device is here, or torch is not")
    assert expected in message


def test_negative_options_reach_the_library(cli, emb):
    assert "top-k must be a whole number of at least 1" in cli.fails(
        "similarity", emb, "--top-k", "0"
    )


def test_tolerance_with_labels_from_csv(cli, emb, labels):
    found = document(cli("tolerance", emb, "--labels", labels, "--json"))
    definitions = [r["definition"] for r in found["results"] if r["metric"] == "tolerance"]
    assert definitions == ["micro_excl", "macro_excl", "micro_incl", "indicator"]
    rows = found["tables"]["tolerance_by_class"]
    assert [(row["class"], row["n"]) for row in rows] == [("a", 20), ("b", 20), ("c", 20)]


def test_definition_keeps_one_where_a_metric_has_it(cli, emb, labels):
    found = document(
        cli("tolerance", emb, "-l", labels, "--json", "--definition", "macro_excl", "--no-files")
    )
    assert [(r["metric"], r["definition"]) for r in found["results"]] == [
        ("tolerance", "macro_excl"),
        ("between_class_similarity", None),
        ("tolerance_gap", None),
    ]


def test_similarity_with_partners(cli, emb, random):
    np.save(cli.folder / "other.npy", random.standard_normal((60, 8)))
    found = document(cli("similarity", emb, "--pairs", "other.npy", "--json", "--top-k", "3"))
    described = [r for r in found["results"] if r["metric"].startswith("similarity_")]
    groups = list(dict.fromkeys(r["params"]["group"] for r in described))
    assert groups == ["positive", "negative_1", "negative_2", "negative_3"]
    assert {"auroc", "tpr_at_fpr", "violation_share", "suspect_share"} <= {
        r["metric"] for r in found["results"]
    }
    assert found["results"][0]["definition"] == "view_pairs"
    assert {entry["path"] for entry in found["inputs"]} == {"emb.npy", "other.npy"}


def test_several_checkpoints_have_short_unique_names(cli, random):
    for run in ("run1", "run2"):
        (cli.folder / run).mkdir()
        np.savez(cli.folder / run / "emb.npz", z=random.standard_normal((20, 4)))
    found = document(
        cli("uniformity", "run1/emb.npz::z", "run2/emb.npz::z", "--json", "--no-files")
    )
    assert list(dict.fromkeys(r["source"] for r in found["results"])) == [
        "run1/emb.npz::z",
        "run2/emb.npz::z",
    ]


def test_labels_one_for_all_or_one_each(cli, random):
    for name in ("a", "b"):
        np.save(cli.folder / f"{name}.npy", random.standard_normal((12, 3)))
    np.save(cli.folder / "y.npy", np.arange(12) % 3)
    for options in (["-l", "y.npy"], ["-l", "y.npy", "-l", "y.npy"]):
        found = document(cli("tolerance", "a.npy", "b.npy", *options, "--json", "--no-files"))
        assert {r["source"] for r in found["results"]} == {"a.npy", "b.npy"}
    message = cli.fails("tolerance", "a.npy", "b.npy", *(["-l", "y.npy"] * 3))
    assert "one for all, or repeat the option" in message


def test_different_dimensions_are_warned_about(cli, random):
    np.save(cli.folder / "a.npy", random.standard_normal((12, 3)))
    np.save(cli.folder / "b.npy", random.standard_normal((12, 4)))
    result = cli("uniformity", "a.npy", "b.npy", "--no-files", "--json")
    assert "dimensions differ" in result.stderr
    assert any("compare uniformity_gap" in text for text in document(result)["warnings"])


def test_npy_from_standard_input(cli, random):
    stream = io.BytesIO()
    np.save(stream, random.standard_normal((30, 4)))
    result = cli("uniformity", "-", "--json", "--no-files", stdin=stream.getvalue())
    found = document(result)
    assert found["results"][0]["source"] == "-"
    assert found["results"][0]["n"] == 30
    assert "not an .npy stream" in cli.fails("uniformity", "-", stdin=b"hello")


def test_groups_widen_the_error_bars(cli):
    random = np.random.default_rng(0)
    rows = np.repeat(random.standard_normal((20, 4)), 3, axis=0)
    np.save(cli.folder / "e.npy", rows + 0.01 * random.standard_normal(rows.shape))
    (cli.folder / "g.txt").write_text("\n".join(f"speaker {i // 3}" for i in range(60)))
    plain = document(cli("uniformity", "e.npy", "--json", "--no-files"))
    grouped = document(cli("uniformity", "e.npy", "--groups", "g.txt", "--json", "--no-files"))
    assert grouped["results"][0]["value"] == plain["results"][0]["value"]
    assert grouped["results"][0]["std_error"] > 1.3 * plain["results"][0]["std_error"]


def test_invalid_rows_are_dropped_when_asked_and_said(cli, random):
    rows = random.standard_normal((20, 4))
    rows[3, 1], rows[7], rows[11, 0] = np.nan, 0.0, np.inf
    np.save(cli.folder / "e.npy", rows)
    np.save(cli.folder / "y.npy", np.arange(20) % 4)
    message = cli.fails("tolerance", "e.npy", "-l", "y.npy")
    assert "rows 3, 11" in message
    assert "--on-invalid drop" in message
    result = cli(
        "tolerance", "e.npy", "-l", "y.npy", "--on-invalid", "drop", "--json", "--no-files"
    )
    assert "dropped rows 3, 7, 11" in result.stderr
    found = document(result)
    assert found["results"][0]["n"] == 17
    assert found["inputs"][0]["dropped_rows"] == 3
    kept = np.delete(np.arange(20), [3, 7, 11])
    expected = cla.tolerance(rows[kept], (np.arange(20) % 4)[kept]).find("tolerance").value
    assert found["results"][0]["value"] == expected


def test_warnings_on_duplicates_singletons_and_minus_one(cli, random):
    rows = random.standard_normal((20, 4))
    rows[9] = rows[2]
    np.save(cli.folder / "e.npy", rows)
    np.save(cli.folder / "y.npy", np.array([-1, 5] + [0, 1] * 9))
    result = cli("report", "e.npy", "-l", "y.npy", "--no-files", "--json")
    for text in (
        "1 row is equal to an earlier row (row 9)",
        "classes with one member",
        "the label -1 is taken as a class",
        "cosine above 1 - 1e-6",
    ):
        assert text in result.stderr
        assert any(text in warning for warning in document(result)["warnings"])
    result = cli("tolerance", "e.npy", "-l", "y.npy", "--unlabelled", "-1", "--no-files")
    assert "1 rows are unlabelled" in result.stderr


@pytest.mark.parametrize("side", [0, 1])
def test_rows_that_are_repeated_on_one_side_lead_to_relevant_items(cli, random, side):
    rows = random.standard_normal((30, 6))
    of_row = np.repeat(np.arange(30), 3)
    partners = rows[of_row] + 0.1 * random.standard_normal((90, 6))
    files = [("img.npy", rows[of_row]), ("txt.npy", partners)]
    for name, array in files:
        np.save(cli.folder / name, array)
    names = [name for name, _ in (files if side == 0 else files[::-1])]
    result = cli("quality", names[0], "--pairs", names[1], "--no-files", "--json")
    (text,) = (text for text in document(result)["warnings"] if "are repeated" in text)
    assert text.startswith("img.npy: 60 rows are repeated, on this side of the pairs alone")
    assert "pass --relevant pairs.csv, a table with the columns query and item" in text
    assert "are repeated" in result.stderr
    np.save(cli.folder / "img.npy", rows)
    columns = [of_row, np.arange(90)] if side == 0 else [np.arange(90), of_row]
    np.savetxt(
        cli.folder / "pairs.csv",
        np.column_stack(columns),
        fmt="%d",
        delimiter=",",
        header="query,item",
        comments="",
    )
    options = ["--pairs", names[1], "--relevant", "pairs.csv", "--no-files", "--json"]
    mended = document(cli("quality", names[0], *options))
    assert not any("are repeated" in text for text in mended["warnings"])
    of_images = {"k": 1, "direction": ("forward", "backward")[side]}
    (found,) = (
        record["value"]
        for record in mended["results"]
        if record["metric"] == "hit_rate_at_k" and record["params"] == of_images
    )
    assert found == 1.0


@pytest.mark.parametrize("layout", ["two arrays", "three axes"])
def test_inspect_tells_of_rows_that_are_repeated_in_one_view(cli, random, layout):
    rows, partners = np.repeat(random.standard_normal((30, 6)), 3, 0), random.normal(size=(90, 6))
    arrays = {"view1": partners, "view2": rows}
    if layout == "three axes":
        arrays = {"embeddings": np.stack([partners, rows], axis=1)}
    np.savez(cli.folder / "e.npz", **arrays)
    (file,) = json.loads(cli("inspect", "e.npz", "--json").stdout)["files"]
    (text,) = file["warnings"]
    assert "60 rows are repeated" in text
    assert "--relevant" in text
    assert "no problem found" not in cli("inspect", "e.npz").stdout
    np.savez(cli.folder / "both.npz", view1=np.repeat(partners[:30], 3, 0), view2=rows)
    assert "no problem found" in cli("inspect", "both.npz").stdout


def test_inspect(cli, sample, random):
    result = cli("inspect", sample)
    assert result.returncode == 0
    for text in ("embeddings   (2000, 64) float16", "classes", "norm min", "no problem found"):
        assert text in result.stdout
    rows = random.standard_normal((10, 3))
    rows[4] = np.nan
    rows[5] = rows[6]
    np.save(cli.folder / "bad.npy", rows)
    result = cli("inspect", "bad.npy", sample, "--json")
    assert result.returncode == 2
    assert "not fit for analysis" in result.stderr
    found = json.loads(result.stdout)["files"]
    assert found[0]["embeddings"]["non_finite_rows"] == 1
    assert found[0]["embeddings"]["duplicate_rows"] == 1
    assert "--on-invalid drop" in found[0]["problems"][0]
    assert found[1]["problems"] == []


def test_inspect_labels_alone(cli):
    (cli.folder / "y.txt").write_text("cat\ndog\n\ncat\n")
    result = cli("inspect", "y.txt")
    assert result.returncode == 0, result.stderr
    assert "labels or groups, not embeddings" in result.stdout
    assert "cat: 2  dog: 1" in result.stdout
    assert "unlabelled rows  1" in result.stdout


def test_help_of_every_command(cli):
    commands = ("uniformity", "tolerance", "similarity", "penalty", "report", "inspect")
    top = cli("--help").stdout
    for command in commands:
        assert command in top
        result = cli(command, "--help")
        assert result.returncode == 0
        assert "Example: cl-analyze" in result.stdout
        assert max(map(len, result.stdout.splitlines())) <= 80
    assert cli("--version").stdout == (
        f"cl-analyze {cla.__version__}\nkernels: {kernels.described()}\n"
    )
    assert cli().returncode == 2


def test_nothing_heavy_is_imported_before_it_is_needed(cli, emb):
    heavy = {"torch", "pandas", "matplotlib", "scipy", "numpy", "jinja2", "array_api_compat"}

    def loaded(*arguments):
        code = (
            "import sys\n"
            "from cl_analyze.cli.entry import main\n"
            "try:\n    main(sys.argv[1:])\n"
            "except SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
            "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
        )
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
            cwd=cli.folder,
        )
        return set(result.stdout.rpartition("LOADED")[2].split()) & heavy

    assert loaded("--help") == set()
    assert loaded("--version") == set()
    assert loaded("uniformity", "--help") == set()
    assert loaded("uniformity", emb, "--no-files") <= {"numpy", "array_api_compat"}
    assert "torch" not in loaded("report", emb, "--out", "out")
    code = "import sys, cl_analyze; print('numpy' in sys.modules or 'torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_shell_completion_works_on_half_a_line(cli):
    environment = {
        "_CL_ANALYZE_COMPLETE": "complete_bash",
        "COMP_WORDS": "cl-analyze penalty --tau=0.1 0.2 --def",
        "COMP_CWORD": "4",
    }
    result = subprocess.run(
        [sys.executable, "-c", "from cl_analyze.cli.entry import main; main([])"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=cli.folder,
    )
    assert "--definition" in result.stdout, result.stderr


def test_stale_files_of_the_same_command_go_and_others_stay(cli, emb, labels):
    assert cli("report", emb, "-l", labels, "--tau", 0.2, "--out", "out").returncode == 0
    out = cli.folder / "out"
    (out / "notes.txt").write_text("mine")
    (out / "tables" / "mine.csv").write_text("mine")
    assert (out / "tables" / "tolerance.csv").exists()
    assert cli("report", emb, "--tau", 0.2, "--out", "out").returncode == 0
    assert not (out / "tables" / "tolerance.csv").exists()
    assert not (out / "figures" / "tolerance.png").exists()
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "tables" / "mine.csv").read_text() == "mine"
    assert cli("tolerance", emb, "-l", labels, "--out", "out").returncode == 0
    assert (out / "report.html").exists()


def test_an_output_folder_that_cannot_be_written(cli, emb):
    (cli.folder / "out").write_text("a file")
    message = cli.fails("uniformity", emb, "--out", "out")
    assert "cannot write to out" in message
    assert "--no-files" in message


def test_quiet_says_nothing_but_errors(cli, sample):
    result = cli("tolerance", sample, "--quiet", "--no-files")
    assert result.stderr == ""
    assert "note:" in cli("tolerance", sample, "--no-files").stderr


def test_a_closed_pipe_is_no_failure(cli, few):
    command = f"{sys.executable} -m cl_analyze report {few} --json --no-files -q"
    result = subprocess.run(
        ["bash", "-c", f"{command} | head -c 10; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        cwd=cli.folder,
    )
    assert result.stdout.endswith("0\n")
    assert "Traceback" not in result.stderr


def test_a_crash_is_exit_2_and_says_it_is_a_bug(cli, emb):
    code = (
        "import cl_analyze.cli.run as run\n"
        "def broken(*a): raise ZeroDivisionError('planted')\n"
        "run.run_command = broken\n"
        "from cl_analyze.cli.entry import main\n"
        f"main(['uniformity', '{emb}'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cli.folder
    )
    assert result.returncode == 2
    assert "internal error: ZeroDivisionError: planted" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("redirection", ["2>&-", ">&-", "2>/dev/full", "2>&1 | true"])
@pytest.mark.parametrize("command", ["uniformity emb.npy", "uniformity missing.npy", "--bogus"])
def test_no_stream_makes_a_failed_check(cli, emb, redirection, command):
    line = f"{sys.executable} -m cl_analyze {command} --no-files {redirection}"
    result = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], capture_output=True, cwd=cli.folder
    )
    expected = {0} if command == f"uniformity {emb}" else {2}
    if "|" in redirection:  # a message that nobody reads may count as said
        expected |= {0}
    assert result.returncode in expected


def test_a_full_disk_behind_stdout(cli, emb):
    line = f"{sys.executable} -m cl_analyze uniformity {emb} --no-files > /dev/full"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=cli.folder)
    assert result.returncode == 2
    assert "cannot write standard output: No space left on device" in result.stderr


def test_an_ascii_terminal_gets_ascii(cli, emb):
    result = cli("uniformity", emb, "--no-files", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 0
    assert "+-" in result.stdout


def test_names_of_any_bytes(cli, random):
    names = (b"bad\xff.npy", "模型 $x$ <b>.npy".encode(), b"two\nlines\x1b[31m.npy")
    for name in names:
        with (cli.folder / os.fsdecode(name)).open("wb") as file:
            np.save(file, random.standard_normal((20, 3)))
    result = cli("report", *map(os.fsdecode, names), "--json", "--out", "out")
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    sources = {record["source"] for record in document(result)["results"]}
    assert len(sources) == 3
    assert all(source.isprintable() for source in sources)
    assert "\x1b" not in cli("uniformity", os.fsdecode(names[2]), "--no-files").stdout


def test_all_inputs_are_checked_before_any_is_measured(cli, emb):
    result = cli("report", emb, "missing.npy", "--verbose")
    assert result.returncode == 2
    assert "missing.npy: no such file" in result.stderr
    assert "pairs" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["penalty", "--labels", "y.npy"], "--labels needs embeddings"),
        (["penalty", "--negatives", "class"], "--negatives class needs embeddings"),
        (["penalty", "--definition", "bogus"], "no metric here has a definition 'bogus'"),
        (["uniformity", "emb.npy", "--out", ""], "--out is empty"),
        (["uniformity", ""], "a path is empty"),
        (["uniformity", "emb.npy", "./emb.npy"], "are the same"),
        (["similarity", "emb.npy", "--definition", "view_pairs"], "no number has the definition"),
        (["similarity", "emb.npy", "emb.npy", "--pairs", "emb.npy"], "repeat the option"),
    ],
)
def test_more_that_makes_no_sense(cli, emb, arguments, message):
    assert message in " ".join(cli.fails(*arguments).split())


def test_definition_without_a_file(cli):
    found = document(cli("penalty", "--definition", "exp_mean", "--json", "--no-files"))
    definitions = {r["definition"] for r in found["results"]}
    assert definitions == {None, "exp_mean"}


def test_definition_keeps_records_that_have_none(cli, sample):
    found = document(
        cli("similarity", sample, "--definition", "view_pairs", "--json", "--no-files")
    )
    groups = {r["params"].get("group") for r in found["results"]}
    assert {"positive", "negative_1"} <= groups


def test_minus_one_is_the_same_label_in_csv_and_json(cli, emb):
    np.save(cli.folder / "y.npy", np.arange(60) % 3 - 1)
    found = document(cli("tolerance", emb, "-l", "y.npy", "--json", "--out", "out"))
    text = (cli.folder / "out" / "tables" / "tolerance_by_class.csv").read_text()
    names = [row["class"] for row in csv.DictReader(io.StringIO(text))]
    assert names == [row["class"] for row in found["tables"]["tolerance_by_class"]]
    assert names == ["-1", "0", "1"]


def test_the_report_prints_a_summary(cli, few):
    result = cli("report", few, "--no-files")
    lines = result.stdout.splitlines()
    numbers = lines[: lines.index("")]
    assert 8 <= len(numbers) <= 16
    assert lines[len(numbers) + 1].startswith("Measured: few, 334 rows x 64 dimensions")
    assert len(lines) <= 30
    assert any("99% of the variance" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_sample_data_show_the_dilemma():
    files = sorted(str(path) for path in SAMPLES.glob("fashion-mnist-tau-*.npz"))
    assert len(files) == 7
    report = cla.analyze(files, taus=[0.07, 1.0], metrics=("uniformity", "tolerance", "penalty"))

    def by_tau(metric, definition=None, **params):
        values = {}
        for record in report.records:
            fits = all(record.params.get(k) == v for k, v in params.items())
            if record.metric == metric and record.definition == definition and fits:
                tau = float(record.source.removesuffix(".npz").rpartition("-")[2])
                values[tau] = record.value
        return [values[tau] for tau in sorted(values) if tau >= 0.1]

    uniformity = by_tau("uniformity", "u_stat")
    tolerance = by_tau("tolerance", "micro_excl")
    assert uniformity == sorted(uniformity)
    assert tolerance == sorted(tolerance)
    # at a small temperature most of the penalty falls on the anchor's own class, against 10% evenly
    shares = by_tau("penalty_false_negative_share", tau=0.07)
    assert min(shares) > 0.5
    assert max(by_tau("penalty_false_negative_share", tau=1.0)) < 0.25


def test_sample_data_is_small_and_documented():
    files = list(SAMPLES.glob("*.npz"))
    assert len(files) == 8
    assert sum(path.stat().st_size for path in files) < 8_000_000
    text = (SAMPLES / "README.md").read_text()
    for path in files:
        with np.load(path) as archive:
            arrays = {"embeddings", "view1", "view2", "labels", "ids", "class_names"}
            assert set(archive) == arrays
            assert len(archive["embeddings"]) >= 1000
        assert path.name in text
    assert (ROOT / "sample_data" / "make_embeddings.py").is_file()
