"""`cl-analyze compare` as its users start it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.comparison.order import axis_label, positions
from cl_analyze.errors import ConfigError
from tests.conftest import SAMPLES

FEW = ("--metrics", "uniformity", "tolerance", "--no-files")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three checkpoints of one run: every tenth row of sample files, under names with a step."""
    folder = tmp_path_factory.mktemp("run")
    for step, tau in ((1000, "0.07"), (200, "0.2"), (30, "0.7")):
        with np.load(SAMPLES / f"fashion-mnist-tau-{tau}.npz") as arrays:
            some = {name: a[::10] for name, a in arrays.items() if name != "class_names"}
        np.savez(folder / f"step={step}.npz", **some)
    return folder


@pytest.fixture
def files(run):
    return sorted(run.glob("*.npz"))


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_everything_of_three_checkpoints(cli, files):
    result = cli("compare", *files, "--x", "step", "--out", "out")
    assert result.returncode == 0, result.stderr
    out = cli.folder / "out"
    assert "differs from step=30.npz (p < 0.05" in result.stdout
    assert result.stdout.splitlines()[0] == "3 checkpoints  *.npz"
    assert "Best by " in result.stdout
    assert "docs/guide.md" in result.stdout.splitlines()[-1]
    assert max(map(len, result.stdout.splitlines())) <= 80
    whole = cli("compare", *files, "--x", "step", "--out", "out", "--long")
    assert "step=200.npz (step 200) against step=30.npz" in whole.stdout
    assert "matched by their ids" in whole.stdout
    assert "How the space moved: CKA" in whole.stdout
    assert max(map(len, whole.stdout.splitlines())) <= 80
    for name in ("trade_off", "along_the_run", "differences", "movement", "compare_matrix"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 5_000, name
    rows = read(out / "tables" / "compare.csv")
    assert list(rows[0]) == [
        "metric", "definition", "params", "source_a", "source_b", "difference", "std_error",
        "low", "high", "p_holm", "paired", "p", "p_headline",
    ]  # fmt: skip
    assert {row["source_b"] for row in rows} == {"step=30.npz"}
    assert [row["source"] for row in read(out / "tables" / "checkpoints.csv")] == [
        "step=30.npz", "step=200.npz", "step=1000.npz",
    ]  # fmt: skip
    assert "Differences from step=30" in (out / "compare.html").read_text()
    document = json.loads((out / "compare.json").read_text())
    assert document["command"] == "compare"
    assert {"cka", "neighbour_overlap", "procrustes_residual", "knn_accuracy", "loss"} <= {
        record["metric"] for record in document["results"]
    }


def test_differences_are_those_of_the_records_and_holm_is_over_the_table(cli, files):
    document = json.loads(cli("compare", *files, *FEW, "--json").stdout)
    values = {}
    for r in document["results"]:
        params = json.dumps(r["params"], sort_keys=True)
        values[r["source"], r["metric"], r["definition"], params] = r["value"]
    rows = document["tables"]["compare"]
    assert len(rows) == 2 * 9
    for row in rows:
        one, other = (
            values[row[side], row["metric"], row["definition"], row["params"]]
            for side in ("source_a", "source_b")
        )
        assert row["difference"] == pytest.approx(one - other, abs=1e-12)
        if row["std_error"]:
            assert row["low"] < row["difference"] < row["high"]
    tested = [row for row in rows if row["p_holm"] is not None]
    assert any(row["p_holm"] < 1e-9 for row in tested)
    # what is no estimate is not compared
    assert "uniformity_of_uniform_law" not in {row["metric"] for row in rows}


def test_against_names_the_reference(cli, files):
    result = cli("compare", *files, *FEW, "--against", files[1])
    assert f"differs from {files[1].name}" in result.stdout
    result = cli("compare", *files, *FEW, "--against", "elsewhere.npz")
    assert result.returncode == 2
    assert "--against elsewhere.npz: none of the checkpoints" in result.stderr


def test_the_cache_changes_nothing_and_is_safe_to_lose(cli, files):
    first = cli("compare", *files, *FEW, "--json", "--cache", "kept")
    assert "0 of 3 checkpoints came from the cache" in first.stderr
    again = cli("compare", *files, *FEW, "--json", "--cache", "kept")
    assert "3 of 3 checkpoints came from the cache" in again.stderr
    kept = sorted((cli.folder / "kept").iterdir())
    assert len(kept) == 3

    def numbers(result):
        document = json.loads(result.stdout)
        return document["results"], document["tables"]

    assert numbers(first) == numbers(again) == numbers(cli("compare", *files, *FEW, "--json"))
    kept[0].unlink()
    kept[1].write_bytes(kept[1].read_bytes()[:1000])
    third = cli("compare", *files, *FEW, "--json", "--cache", "kept")
    assert "1 of 3 checkpoints came from the cache" in third.stderr
    assert numbers(third) == numbers(first)
    other = cli("compare", *files, *FEW, "--t", 3, "--cache", "kept")
    assert "0 of 3 checkpoints came from the cache" in other.stderr


def test_a_moved_file_is_found_in_the_cache_under_its_new_name(cli, files, tmp_path):
    cli("compare", *files, *FEW, "--cache", "kept")
    copies = []
    for path in files:
        copies.append(tmp_path / f"moved-{path.name}")
        copies[-1].write_bytes(path.read_bytes())
    result = cli("compare", *copies, *FEW, "--cache", "kept", "--json")
    assert "3 of 3 checkpoints came from the cache" in result.stderr
    document = json.loads(result.stdout)
    assert {r["source"] for r in document["results"]} == {path.name for path in copies}


def test_a_permuted_checkpoint_is_matched_by_ids(cli, files, random):
    with np.load(files[0]) as arrays:
        order = random.permutation(len(arrays["labels"]))
        np.savez(cli.folder / "turned.npz", **{name: arrays[name][order] for name in arrays.files})
    result = cli("compare", files[0], "turned.npz", "--metrics", "quality", "--no-files", "--json")
    document = json.loads(result.stdout)
    overlap = [r for r in document["results"] if r["metric"] == "neighbour_overlap"]
    assert [r["value"] for r in overlap] == [1.0, 1.0, 1.0, None], "200 of 200 rows cannot differ"
    for row in document["tables"]["compare"]:
        if row["metric"] in ("knn_accuracy", "mean_cosine", "alignment"):
            assert row["paired"]
            assert abs(row["difference"]) < 1e-9


def test_damaged_entries_of_the_cache_are_measured_again(tmp_path, random):
    from cl_analyze.comparison.cache import Cache, Entry
    from cl_analyze.metrics.family import FamilyResult
    from cl_analyze.results.tables import Record

    pseudo = random.normal(size=20)
    record = Record("a", "uniformity", None, {"t": 2.0}, 1.0, 0.1, "nats", 20, 3, pseudo_values=pseudo)  # fmt: skip
    entry = Entry(
        {"uniformity": FamilyResult((record,), (), ("a: note",))}, np.eye(3, dtype=np.int32)
    )
    cache = Cache(tmp_path)
    cache.save("key", "a", entry)
    found = cache.load("key", "b")
    assert found.families["uniformity"].records[0].source == "b"
    assert found.families["uniformity"].notes == ("b: note",)
    np.testing.assert_array_equal(found.families["uniformity"].records[0].pseudo_values, pseudo)
    np.testing.assert_array_equal(found.neighbours, np.eye(3))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert cache.load("key", "b") is None
        path.write_bytes(whole[:at])
        assert cache.load("key", "b") is None


def test_one_definition_is_compared_alone(cli, files):
    result = cli("compare", *files, *FEW, "--definition", "macro_excl", "--json")
    document = json.loads(result.stdout)
    kinds = {row["definition"] for row in document["tables"]["compare"]}
    assert {row["definition"] for row in document["results"]} >= kinds
    assert "macro_excl" in kinds
    assert not kinds & {"micro_excl", "micro_incl", "indicator"}


def test_groups_and_labels_go_with_their_rows(cli, files, random):
    with np.load(files[0]) as arrays:
        given = {name: arrays[name] for name in ("embeddings", "ids")}
        labels = arrays["labels"]
    order = random.permutation(len(labels))
    np.savez(cli.folder / "a.npz", **given)
    np.savez(cli.folder / "b.npz", **{name: a[order] for name, a in given.items()})
    np.save(cli.folder / "groups.npy", np.arange(len(labels)) // 4)
    np.save(cli.folder / "labels.npy", labels)
    result = cli("compare", "a.npz", "b.npz", *FEW, "--groups", "groups.npy", "-l", "labels.npy")
    assert result.returncode == 2
    assert "one --groups for both would go by position" in result.stderr
    result = cli("compare", "a.npz", "b.npz", *FEW, "-l", "labels.npy")
    assert "rows have another label than the row of a.npz with their id" in result.stderr
    np.save(cli.folder / "turned.npy", labels[order])
    result = cli(
        "compare", "a.npz", "b.npz", *FEW, "-l", "labels.npy", "-l", "turned.npy", "--long"
    )  # fmt: skip
    assert "another label" not in result.stderr
    assert "0 of 9 tested numbers differ" in result.stdout


def test_arrays_by_name_have_companions_by_name(random):
    import cl_analyze as cla

    z, labels, order = random.normal(size=(40, 5)), np.arange(40) % 4, random.permutation(40)
    found = cla.compare(
        {"a": z, "b": z[order]},
        {"a": labels, "b": labels[order]},
        ids={"a": np.arange(40), "b": order},
        metrics=("uniformity", "tolerance"),
    )
    rows = found.document.rows("compare")
    assert all(abs(row["difference"]) < 1e-12 for row in rows)
    assert found.document.rows("checkpoints", source="b")[0]["rows"].startswith("paired")
    with pytest.raises(ConfigError, match=r"labels: there are none for b, only for \['a'\]"):
        cla.compare({"a": z, "b": z}, {"a": labels})
    with pytest.raises(ConfigError, match="arrays by name as a dictionary"):
        cla.compare([z, z])


def test_other_draws_of_one_law_with_fewer_rows_do_not_differ(random):
    """What depends on the number of rows is left out, so nothing looks real by it alone."""
    import cl_analyze as cla

    found = cla.compare(
        {"many": random.normal(size=(400, 8)), "few": random.normal(size=(150, 8))},
        {"many": random.integers(0, 3, 400), "few": random.integers(0, 3, 150)},
        metrics=("uniformity", "tolerance", "similarity", "penalty"),
        taus=[0.2],
    )
    rows = found.document.rows("compare")
    assert len(rows) > 5
    assert all(row["p_holm"] > 0.01 for row in rows if row["p_holm"] is not None), rows


def test_other_rows_and_dimensions_are_compared_as_far_as_they_can_be(cli, files, random):
    with np.load(files[0]) as arrays:
        z, labels = arrays["embeddings"], arrays["labels"]
    np.savez(cli.folder / "wide.npz", embeddings=np.hstack([z, z]), labels=labels)
    np.savez(cli.folder / "some.npz", embeddings=z[:90], labels=labels[:90])
    np.savez(cli.folder / "all.npz", embeddings=z, labels=labels)
    result = cli(
        "compare", "all.npz", "wide.npz", "some.npz", "--metrics", "uniformity", "penalty",
        "--tau", 0.2, "--no-files", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "dimensions differ from the 64 of all.npz in wide.npz" in result.stderr
    assert "some.npz against all.npz: unpaired: 90 and 200 rows" in result.stderr
    rows = json.loads(result.stdout)["tables"]["compare"]

    def compared(source):
        return {row["metric"] for row in rows if row["source_a"] == source}

    assert "uniformity" not in compared("wide.npz")
    results = json.loads(result.stdout)["results"]
    (cka,) = (r for r in results if r["metric"] == "cka" and r["definition"] == "linear")
    assert cka["source"] == "wide.npz", (
        "spaces of other dimensions are compared, other rows are not"
    )
    assert cka["value"] == pytest.approx(1.0)
    assert "penalty_entropy" not in compared("wide.npz")
    assert {"uniformity_gap", "penalty_false_negative_share"} <= compared("wide.npz")
    assert {"uniformity", "penalty_false_negative_share"} <= compared("some.npz")
    assert "penalty_entropy" not in compared("some.npz")
    assert not any(row["paired"] for row in rows if row["source_a"] == "some.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}"], "compare needs at least two checkpoints, found {a}: name two files"),
        (["runs/tau-*.npz"], "found runs/tau-*.npz: name two files"),
        (["{a}", "{b}", "--x", "epoch"], "no epoch followed by a number in"),
        (["{a}", "{b}", "--x", "step=[0-9]+"], "needs one group around the number"),
        (["{a}", "{b}", "--x", "step=([0-9]+"], "is no regular expression"),
        (["{a}", "{b}", "--x", "(s)tep"], "--x: no number where"),
        (["{a}", "{b}", "--x", "0(0)"], "--x 0(0): every checkpoint is at 0, which orders"),
        (["{a}", "{b}", "--x", ""], "--x is empty"),
        (["{a}", "-"], "standard input"),
        (["{a}", "{b}", "--metrics", "uniformty"], "uniformty"),
        (["{a}", "{b}", "--ids", "{a}", "--ids", "{b}", "--ids", "{b}"], "--ids is given 3 times"),
        (["{a}", "{b}", "--cache", "{a}"], "the folder cannot be made"),
        (["{a}", "{b}", "--definition", "nothing"], "no metric here has a definition 'nothing'"),
    ],
)
def test_what_makes_no_sense_is_refused(cli, files, arguments, message):
    given = [a.format(a=files[0], b=files[1]) for a in arguments]
    result = cli("compare", *given)
    assert result.returncode == 2
    assert message.replace("{a}", str(files[0])) in " ".join(result.stderr.split())
    assert not result.stdout


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "c", "b"], "rows 1 and 3 have the same id 'b'"),
        (["a", "", "c", "d"], "the id of row 1 is empty"),
        ([0.5, 1.5, 2.5, 3.5], "ids must be integers or strings"),
    ],
)
def test_ids_that_identify_nothing_are_refused(cli, random, ids, message):
    for name in ("one", "two"):
        np.savez(
            cli.folder / f"{name}.npz", embeddings=random.normal(size=(4, 3)), ids=np.array(ids)
        )
    result = cli("compare", "one.npz", "two.npz", *FEW)
    assert result.returncode == 2
    assert message in result.stderr


def test_each_checkpoint_has_a_training_set_of_its_own(cli, random):
    labels = np.arange(80) % 2
    rows = random.standard_normal((80, 4)) + 3.0 * np.eye(4)[labels]
    turned = rows @ np.linalg.qr(random.standard_normal((4, 4)))[0]
    for name, z in (("a", rows), ("b", -turned)):
        np.savez(cli.folder / f"{name}.npz", embeddings=z[:40], labels=labels[:40])
        np.savez(cli.folder / f"{name}-train.npz", embeddings=z[40:], labels=labels[40:])

    def accuracies(*train):
        result = cli(
            "compare", "a.npz", "b.npz", *train, "--metrics", "quality", "--k", "5", "--json",
            "--no-files",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return {
            (record["source"], record["metric"]): record["value"]
            for record in json.loads(result.stdout)["results"]
            if record["definition"] in ("train_set", "raw")
        }

    each = accuracies("--train", "a-train.npz", "--train", "b-train.npz")
    one = accuracies("--train", "a-train.npz")
    for metric in ("knn_accuracy", "probe_accuracy"):
        assert each["a.npz", metric] == one["a.npz", metric]
        assert each["b.npz", metric] > 0.9 > one["b.npz", metric]
    found = cla.compare(
        {name: str(cli.folder / f"{name}.npz") for name in "ab"},
        train={name: str(cli.folder / f"{name}-train.npz") for name in "ab"},
        metrics="quality",
        ks=[5],
    )
    for record in found.records:
        if record.metric == "knn_accuracy":
            assert record.value == each[f"{record.source}.npz", "knn_accuracy"]
    several = cla.analyze(
        [cli.folder / "a.npz", cli.folder / "b.npz"],
        train=[str(cli.folder / "a-train.npz"), str(cli.folder / "b-train.npz")],
        metrics="quality",
        ks=[5],
    )
    for record in several.records:
        if record.metric == "probe_accuracy" and record.definition == "raw":
            assert record.value == each[record.source, "probe_accuracy"]
    paths = [cli.folder / "a.npz", cli.folder / "b.npz"]
    for kind in (str, type(cli.folder)):
        train = [kind(cli.folder / "a-train.npz")]
        for call in (
            lambda train=train: cla.analyze(paths, train=3 * train, metrics="quality"),
            lambda train=train: cla.compare(paths, train=2 * train, metrics="quality"),
        ):
            with pytest.raises(ConfigError, match=r"training rows: found a list of \d paths; give"):
                call()
    result = cli("compare", "a.npz", "b.npz", *(["--train", "a-train.npz"] * 3))
    assert result.returncode == 2
    assert "--train is given 3 times for 2 EMB: give one for all" in result.stderr


def test_words_and_patterns_find_numbers():
    assert positions(["a/step-10.npy", "b/step2.npy", "step_1e3.npy"], "step") == (
        [10, 2, 1000],
        ["a/step-.npy", "b/step.npy", "step_.npy"],
    )
    assert positions(["x/tau=0.07.npz", "x/tau=1..npz"], "tau=([0-9.]+)")[0] == [0.07, 1.0]
    with pytest.raises(ConfigError, match="no step followed by a number in misstep3"):
        positions(["misstep3"], "step")
    assert axis_label(r"epoch-(\d+)") == "epoch"


def test_numbers_of_a_comparison_are_those_of_each_file(cli, files):
    compared = json.loads(cli("compare", *files, *FEW, "--json").stdout)["results"]
    alone = json.loads(cli("uniformity", files[1], "--no-files", "--json").stdout)["results"]
    assert [
        r for r in compared if r["source"] == files[1].name and "uniformity" in r["metric"]
    ] == alone


def test_every_checkpoint_that_goes_on_says_so(cli, files):
    arguments = ("compare", *files, "--metrics", "uniformity", "--no-files", "--resume", "states")
    first, again = cli(*arguments), cli(*arguments)
    assert first.returncode == again.returncode == 0, again.stderr
    assert "goes on from" not in first.stderr
    for file in files:
        assert f"note: {file.name}: pairs: goes on from 100%" in again.stderr


def test_single_metrics_are_compared_alone(cli, files):
    """Holm's adjustment is over these numbers: the p-values are those of their differences."""
    few = ("--metrics", "knn_accuracy", "uniformity", "--k", 20, "--no-files", "--json")
    document = json.loads(cli("compare", *files, *few).stdout)
    rows = document["tables"]["compare"]
    assert {row["metric"] for row in rows} == {"uniformity", "uniformity_gap", "knn_accuracy"}
    assert {r["metric"] for r in document["results"]} > {"knn_accuracy", "cka"}
    assert "probe_accuracy" not in {r["metric"] for r in document["results"]}
    all_rows = json.loads(
        cli("compare", *files, "--k", 20, "--no-files", "--json").stdout
    )["tables"]["compare"]  # fmt: skip
    same = {
        (row["source_a"], row["metric"], row["definition"], row["params"]): row for row in all_rows
    }
    for row in rows:
        twin = same[row["source_a"], row["metric"], row["definition"], row["params"]]
        assert row["difference"] == pytest.approx(twin["difference"], rel=1e-9, abs=1e-12)
        assert row["std_error"] == pytest.approx(twin["std_error"], rel=1e-9)
        assert row["p_holm"] <= twin["p_holm"]
    assert any(row["p_holm"] < same[
        row["source_a"], row["metric"], row["definition"], row["params"]
    ]["p_holm"] for row in rows)  # fmt: skip


def test_numbers_of_two_checkpoints_alone(cli, files):
    result = cli("compare", *files, "--metrics", "cka", "--out", "out", "--json")
    assert result.returncode == 0, result.stderr
    assert (cli.folder / "out" / "figures" / "compare_matrix.png").is_file()
    document = json.loads(result.stdout)
    assert {record["metric"] for record in document["results"]} == {"cka"}
    assert document["tables"]["compare"] == []


def test_metrics_that_a_comparison_cannot_have(cli, files):
    unknown = cli("compare", *files, "--metrics", "knn_acuracy", "--no-files")
    assert unknown.returncode == 2
    assert "did you mean 'knn_accuracy'" in " ".join(unknown.stderr.split())
    lacking = cli("compare", *files, "--metrics", "tpr_at_fpr", "--labels", "none", "--no-files")
    assert lacking.returncode == 0, lacking.stderr  # the files have views
    for name, file in (("one", files[0]), ("two", files[1])):
        with np.load(file) as arrays:
            np.save(cli.folder / f"{name}.npy", arrays["embeddings"])
    bare = cli("compare", "one.npy", "two.npy", "--metrics", "knn_accuracy", "--no-files")
    assert bare.returncode == 2
    assert "one.npy has no such number: it needs labels" in " ".join(bare.stderr.split())
