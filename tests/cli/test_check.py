"""`cl-analyze check` as its users start it."""

from __future__ import annotations

import json

import numpy as np
import pytest

RULES = """
[[rule]]
metric = "uniformity"
max = -1.0
[[rule]]
metric = "tolerance"
max_drop = 0.02
[[rule]]
metric = "penalty_false_negative_share"
params = { tau = 0.15 }
max_rise = 0.05
[[rule]]
metric = "effective_rank"
definition = "normalised"
min = 5
severity = "warn"
"""


@pytest.fixture
def rows(random):
    """Clusters with labels and ids."""
    labels = np.arange(300) % 6
    z = random.normal(size=(6, 12))[labels] + 0.6 * random.normal(size=(300, 12))
    return {"embeddings": z, "labels": labels, "ids": np.arange(300)}


@pytest.fixture
def gate(cli, rows):
    """A folder with a checkpoint, rules and a baseline of it."""
    np.savez(cli.folder / "emb.npz", **rows)
    (cli.folder / "cl-analyze.toml").write_text(RULES)
    result = cli("check", "emb.npz", "--save-baseline", "base.json")
    assert result.returncode == 0, result.stderr
    return cli


def worse(rows, random, spread=0.8):
    return {**rows, "embeddings": rows["embeddings"] + spread * random.normal(size=(300, 12))}


def test_without_a_baseline_changes_are_skipped_and_do_not_fail(gate):
    result = gate("check", "emb.npz")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "pass: 2 skipped, 2 pass"
    assert "skipped: no baseline is given" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_same_checkpoint_passes_and_a_worse_one_fails(gate, rows, random):
    same = gate("check", "emb.npz", "--baseline", "base.json")
    assert same.returncode == 0
    assert same.stdout.splitlines()[-1] == "pass: 4 pass"
    np.savez(gate.folder / "worse.npz", **worse(rows, random))
    result = gate("check", "worse.npz", "--baseline", "base.json")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "a drop of more than 0.02" in " ".join(result.stdout.split())  # lines are wrapped
    assert "paired: 300 rows matched by their ids" in result.stderr


def test_rows_are_matched_in_any_order(gate, rows, random):
    later = worse(rows, random, 0.01)
    order = random.permutation(300)
    np.savez(gate.folder / "turned.npz", **{name: a[order] for name, a in later.items()})
    np.savez(gate.folder / "straight.npz", **later)
    found = []
    for name in ("turned.npz", "straight.npz"):
        result = gate("check", name, "--baseline", "base.json", "--json")
        found.append(json.loads(result.stdout)["tables"]["checks"])
    for one, other in zip(*found, strict=True):
        assert one["verdict"] == other["verdict"] == "pass"
        assert one["paired"] == other["paired"]
        if one["paired"]:
            for key in ("difference", "low", "high"):
                assert one[key] == pytest.approx(other[key], abs=1e-6)


def test_ids_of_another_file_match_too(gate, rows, random):
    order = random.permutation(300)
    np.save(gate.folder / "z.npy", rows["embeddings"][order])
    np.savetxt(gate.folder / "labels.txt", rows["labels"][order], fmt="%d")
    np.savetxt(gate.folder / "ids.csv", rows["ids"][order], fmt="%d", header="id", comments="")
    result = gate(
        "check", "z.npy", "--labels", "labels.txt", "--ids", "ids.csv", "--baseline", "base.json"
    )
    assert result.returncode == 0, result.stderr
    assert "matched by their ids" in result.stderr
    unmatched = gate("check", "z.npy", "--labels", "labels.txt", "--baseline", "base.json")
    assert "unpaired: labels differ" in unmatched.stderr


def test_unmatched_rows_can_be_refused(gate, rows):
    some = {name: a[:200] for name, a in rows.items()}
    np.savez(gate.folder / "some.npz", **some)
    result = gate("check", "some.npz", "--baseline", "base.json")
    assert result.returncode == 0
    assert "unpaired: 200 ids in common, of 200 and 300 rows" in result.stderr
    (gate.folder / "cl-analyze.toml").write_text(
        "[[rule]]\nmetric='tolerance'\nmax_drop=0.02\nrequire_paired=true"
    )
    result = gate("check", "some.npz", "--baseline", "base.json")
    assert result.returncode == 2
    assert "requires paired rows" in result.stderr


def test_an_interval_across_a_bound_warns_and_can_fail(gate):
    found = json.loads(gate("check", "emb.npz", "--json").stdout)
    value = found["results"][0]["value"]
    text = f"[[rule]]\nmetric='uniformity'\nmax={value}"
    (gate.folder / "r.toml").write_text(text)
    result = gate("check", "emb.npz", "--rules", "r.toml")
    assert (result.returncode, result.stdout.splitlines()[-1]) == (
        0,
        "inconclusive: 1 inconclusive",
    )
    (gate.folder / "r.toml").write_text(text + "\non_inconclusive='fail'")
    assert gate("check", "emb.npz", "--rules", "r.toml").returncode == 1


def test_files_for_other_programs(gate, rows, random):
    np.savez(gate.folder / "worse.npz", **worse(rows, random))
    summary = gate.folder / "summary.md"
    result = gate(
        "check", "worse.npz", "--baseline", "base.json", "--junit", "j.xml", "--markdown", "m.md",
        "--json", "--quiet", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert document["verdict"] == "fail"
    assert document["files"] == ["j.xml", "m.md"]
    assert (gate.folder / "j.xml").read_text().startswith("<?xml")
    assert (gate.folder / "m.md").read_text() == summary.read_text()
    commands = [line for line in result.stderr.splitlines() if line.startswith("::")]
    fails = [row for row in document["tables"]["checks"] if row["verdict"] == "fail"]
    assert sum(line.startswith("::error ") for line in commands) == len(fails)
    quiet = gate("check", "emb.npz", GITHUB_STEP_SUMMARY=str(summary))
    assert "::" not in quiet.stderr, "not on GitHub, whatever else is set"


def test_a_bound_on_the_better_side_is_told_where_its_verdict_is(gate):
    rules = "[[rule]]\nmetric = 'uniformity_gap'\nmax_drop = 0.1\n"
    (gate.folder / "cl-analyze.toml").write_text(rules)
    gate("check", "emb.npz", "--save-baseline", "base.json")
    result = gate(
        "check", "emb.npz", "--baseline", "base.json", "--json", "--markdown", "m.md",
        "--junit", "j.xml",
    )  # fmt: skip
    assert result.returncode == 0
    (check,) = json.loads(result.stdout)["tables"]["checks"]
    assert check["note"].startswith("lower is better, and max_drop stops it from getting better;")
    assert f"note: uniformity_gap: {check['note']}\n" in result.stderr
    assert check["note"] in (gate.folder / "m.md").read_text().replace("\\", "")
    assert check["note"] in (gate.folder / "j.xml").read_text()


def test_a_reader_that_is_gone_does_not_make_a_failure_pass(gate):
    import subprocess
    import sys

    (gate.folder / "r.toml").write_text("[[rule]]\nmetric='uniformity'\nmax=-100")
    process = subprocess.Popen(
        [sys.executable, "-m", "cl_analyze", "check", "emb.npz", "--rules", "r.toml"],
        cwd=gate.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.stdout.close()
    assert process.wait(60) == 1


def edit(gate, change):
    path = gate.folder / "base.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="cl-analyze-baseline/0"), "its schema is 'cl-analyze-baseline/0'"),
        (lambda d: d["data"].update(sha256="0" * 64), "is not the file that was saved with it"),
        (lambda d: d["data"].update(file="other.npz"), "No such file or directory; keep the two"),
        (lambda d: d.pop("data"), "it names no arrays"),
        (lambda d: d["sources"][0]["results"][1].update(definition="macro_excl"), "has no tolerance with definition micro_excl, params {}; it has definition macro_excl"),
        (lambda d: d["sources"][0]["results"][2].update(params={"tau": 0.2}), "params {'tau': 0.15}; it has definition None, params {'tau': 0.2}"),
        (lambda d: d["sources"].clear(), "it has no checkpoint"),
        (lambda d: d["sources"][0].pop("n"), "does not hold what a baseline holds"),
        (lambda d: d["sources"][0].update(n="60"), "n is a number of rows, found '60'"),
        (lambda d: d["sources"][0].update(source="x"), "a number of 'emb.npz' stands under 'x'"),
        (lambda d: d["sources"].append({**d["sources"][0], "results": [], "ids": False}), "two checkpoints have one name"),
        (lambda d: d["sources"][0].update(rows_with_pseudo_values=59), "pseudo-values of 300 rows, where 59 are said"),
        (lambda d: d["sources"][0]["results"][0].update(arrays=[]), "the array pseudo/0/0 is not its own"),
        (lambda d: d["sources"][0]["results"][0].update(value=1e400), "inf is no number to report"),
        (lambda d: d["sources"][0]["results"][0].update(std_error=-0.5), "its errors are not negative"),
        (lambda d: d["sources"][0]["results"][0].update(n=0), "n is a number of rows, found 0"),
        (lambda d: d["sources"][0]["results"][0].update(effective_n=301), "effective_n lies between"),
        (lambda d: d["sources"][0]["results"][0].update(n=10**6), "is of 1000000 rows, where 300 are said"),
    ],
)  # fmt: skip
def test_baselines_that_cannot_be_used_are_refused(gate, change, message):
    edit(gate, change)
    result = gate("check", "emb.npz", "--baseline", "base.json")
    assert result.returncode == 2
    assert message in result.stderr
    assert not result.stdout


def test_one_group_judges_nothing(gate):
    """Rows of one group say nothing of how far others would differ."""
    (gate.folder / "r.toml").write_text("[[rule]]\nmetric = 'uniformity'\nmax = -0.1\n")
    for groups, verdict in ((np.zeros(300, int), "inconclusive"), (np.arange(300), "pass")):
        np.save(gate.folder / "groups.npy", groups)
        result = gate("check", "emb.npz", "--rules", "r.toml", "--groups", "groups.npy", "--json")
        assert json.loads(result.stdout)["verdict"] == verdict, result.stderr


def test_another_version_is_only_noted(gate):
    edit(gate, lambda d: d.update(version="0.0.1"))
    result = gate("check", "emb.npz", "--baseline", "base.json")
    assert result.returncode == 0
    assert "base.json was written by version 0.0.1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "no.json"], "--baseline no.json: No such file"),
        (["--baseline", "cl-analyze.toml"], "not JSON"),
        (["--rules", "no.toml"], "no.toml: cannot be read"),
        (["--save-baseline", "b.npz"], "name it .json"),
        (["--save-baseline", "emb.json"], "--save-baseline's arrays would replace emb.npz"),
        (["--junit", "emb.npz"], "--junit would replace emb.npz"),
        (
            ["--rules", "cl-analyze.toml", "--markdown", "cl-analyze.toml"],
            "would replace cl-analyze.toml",
        ),
        (["--markdown", "cl-analyze.toml"], "would replace cl-analyze.toml"),
        (["--junit", "x.out", "--markdown", "x.out"], "--markdown would replace x.out"),
        (["--save-baseline", "other.json"], "other.npz is there and is no baseline's"),
        (["--save-baseline", "no/b.json"], "--save-baseline: there is no folder no: make it first"),
        (["--junit", "no/j.xml"], "--junit: there is no folder no: make it first"),
        (["--markdown", ""], "--markdown is empty; is a variable unset?"),
        (["--seed", "-1"], "--seed must be a whole number of at least 0"),
        (["--labels", "no.txt"], "no.txt"),
    ],
)
def test_what_cannot_be_judged_exits_2(gate, arguments, message):
    np.savez(gate.folder / "other.npz", mine=np.arange(3))
    before = {path: path.read_bytes() for path in gate.folder.iterdir()}
    result = gate("check", "emb.npz", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert {path: path.read_bytes() for path in gate.folder.iterdir()} == before


def test_what_cannot_be_judged_is_told_to_other_programs(gate):
    """A report that an earlier run left must not pass for this one's."""
    gate("check", "emb.npz", "--junit", "j.xml", "--markdown", "m.md")
    assert "<error" not in (gate.folder / "j.xml").read_text()
    result = gate(
        "check", "gone.npz", "--junit", "j.xml", "--markdown", "m.md", GITHUB_ACTIONS="true"
    )
    assert result.returncode == 2
    assert "gone.npz" in (gate.folder / "j.xml").read_text().partition("<error")[2]
    assert "could not judge" in (gate.folder / "m.md").read_text()
    assert "::error title=cl-analyze could not judge::" in result.stderr


def test_another_width_is_not_judged_by_uniformity(gate, rows):
    wide = np.hstack([rows["embeddings"], rows["embeddings"]])
    np.savez(gate.folder / "wide.npz", **{**rows, "embeddings": wide})
    (gate.folder / "r.toml").write_text("[[rule]]\nmetric='uniformity'\nmax_rise=0.1")
    gate("check", "emb.npz", "--rules", "r.toml", "--save-baseline", "u.json")
    result = gate("check", "wide.npz", "--rules", "r.toml", "--baseline", "u.json")
    assert result.returncode == 2
    assert "depends on the dimensions, 24 and 12 here: uniformity_gap does not" in result.stderr


def test_metrics_that_need_labels_say_so(gate, rows):
    np.save(gate.folder / "z.npy", rows["embeddings"])
    result = gate("check", "z.npy")
    assert result.returncode == 2
    assert "no record for the rule tolerance" in result.stderr


def test_an_undefined_number_cannot_be_judged(gate):
    np.savez(gate.folder / "few.npz", embeddings=np.eye(3), labels=np.arange(3))
    (gate.folder / "r.toml").write_text("[[rule]]\nmetric='tolerance'\nmin=0")
    result = gate("check", "few.npz", "--rules", "r.toml")
    assert result.returncode == 2
    assert "tolerance cannot be judged: " in result.stderr


def test_every_metric_can_be_a_rule(cli, few):
    """Rules compute the same numbers as the commands, parameters outside the defaults included."""
    report = json.loads(cli("report", few, "--no-files", "--json").stdout)
    chosen, seen = [], set()
    for record in report["results"]:
        if record["metric"] not in seen and record["value"] is not None:
            seen.add(record["metric"])
            chosen.append(record)
    lines = []
    for record in chosen:
        params = ", ".join(
            f"{key} = {json.dumps(value)}" for key, value in record["params"].items()
        )
        lines += ["[[rule]]", f'metric = "{record["metric"]}"', f"params = {{ {params} }}"]
        if record["definition"] is not None:
            lines.append(f'definition = "{record["definition"]}"')
        lines += [f'unit = "{record["unit"]}"', "min = -1e30"]
    (cli.folder / "cl-analyze.toml").write_text("\n".join(lines))
    result = cli("check", few, "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    values = {row["metric"]: row["value"] for row in document["tables"]["checks"]}
    assert len(values) == len(chosen) > 55
    for record in chosen:
        assert values[record["metric"]] == pytest.approx(record["value"], rel=1e-9), record[
            "metric"
        ]
