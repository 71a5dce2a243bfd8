"""Labels: what is a class, what is missing, and what does not stop those who need none."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import cl_analyze as cla
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, from_memory, open_array, open_embeddings
from cl_analyze.errors import DataError
from tests.unit.test_columns import LABELS, ROWS, WORDS, D, N, naive

torch = pytest.importorskip("torch")

MISSING = [
    "", "nan", "NaN", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaT", "None", "null", "NULL", "-nan",
    "1.#QNAN", "\\N", "(null)", " NA ", "NaN\t",
]  # fmt: skip


@pytest.mark.parametrize("word", MISSING)
def test_words_that_mean_missing(word):
    labels = encode(from_memory(np.array(["cat", word, "dog", "cat"]), "y"))
    assert labels.names == ("cat", "dog")
    assert labels.codes.tolist() == [0, -1, 1, 0]
    assert labels.missing == ((word,) if word else ())


def masked():
    return np.ma.array([3, 1, 3, 2], mask=[0, 1, 0, 0])


VALUES = {
    "None among integers": [3, None, 3, 2],
    "None among words": ["3", None, "3", "2"],
    "NaN among numbers": [3.0, np.nan, 3.0, 2.0],
    "NaN among objects": np.array([3, np.nan, 3, 2], dtype=object),
    "NaT": np.array([3, pd.NaT, 3, 2], dtype=object),
    "pandas' NA": pd.array([3, None, 3, 2], dtype="Int64"),
    "a Series of words": pd.Series(["3", None, "3", "2"], dtype="string"),
    "a categorical": pd.Series(pd.Categorical(["3", None, "3", "2"])),
    "a masked array": masked(),
    "bytes": np.array([b"3", b"", b"3", b"2"]),
    "bytes as objects": np.array([b"3", None, b"3", b"2"], dtype=object),
}


@pytest.mark.parametrize("kind", VALUES)
def test_missing_values_of_every_library(kind):
    labels = encode(from_memory(VALUES[kind], "y"))
    assert labels.names == ("2", "3")
    assert labels.codes.tolist() == [1, -1, 1, 0]


def test_bytes_that_are_no_text():
    labels = encode(from_memory(np.array([b"caf\xe9", b"cat", b"caf\xe9"]), "y"))
    assert labels.names == (r"caf\xe9", "cat")


def test_names_of_classes_are_harmless():
    words = ["a\x1b[31m", "b\n::error::c", "\u202eabc", "d\ud800"]
    labels = encode(from_memory(np.array(words, dtype=object), "y"))
    assert all(name.isprintable() for name in labels.names)
    assert len(set(labels.names)) == 4


@pytest.mark.parametrize("values", [[1, [2, 3], 4], [1, {"a": 2}, 3], [0.5, 1, None]])
def test_what_is_no_class_in_a_list(values):
    array = np.empty(3, dtype=object)
    array[:] = values
    with pytest.raises(DataError, match=r"one value a row|must be classes"):
        encode(from_memory(array, "y"))


MATRICES = {
    "one-hot": (np.eye(4)[LABELS], r"its rows are one-hot: save labels\.argmax\(axis=1\)"),
    "one-hot bool": (np.eye(4, dtype=bool)[LABELS], "one-hot"),
    "several": (
        np.tri(4)[LABELS],
        r"a row has 1 to 4 classes \(several labels a row\).*labels\[:, 0\]",
    ),
    "none in a row": (np.vstack([np.zeros(4), np.eye(4)]), "a row has 0 to 1 classes"),
    "scores": (ROWS, r"for scores of classes save their argmax\(axis=1\)"),
    "words": (WORDS.reshape(-1, 2), r"one value a row, found shape \(20, 2\)$"),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_matrix_of_labels_is_told_what_it_is(kind):
    matrix, message = MATRICES[kind]
    with pytest.raises(DataError, match=message):
        encode(from_memory(matrix, "y"))


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_categories_of_arrow_and_pandas_are_classes(cli, suffix):
    categories = pd.Categorical(
        ["b", None, *WORDS[2:]],
        categories=["unused", "b", *sorted(set(WORDS) - {"b"}, reverse=True)],
    )
    frame = pd.DataFrame({"z": list(ROWS), "label": categories})
    path = cli.folder / f"rows{suffix}"
    (frame.to_parquet if suffix == ".parquet" else frame.to_feather)(path)
    labels = encode(open_array(Spec.parse(f"{path}::label"), ()))
    assert labels.names == tuple(sorted({"b", *WORDS[2:].tolist()}))
    assert labels.codes[1] == -1
    named = [labels.names[code] for code in labels.codes[2:]]
    assert named == WORDS[2:].tolist()


# ---- in the file of the embeddings

UNUSABLE = {
    "objects.npz": ({"labels": WORDS.astype(object)}, "save labels.astype"),
    "continuous.npz": ({"y": ROWS[:, 0]}, "must be classes"),
    "onehot.npz": ({"labels": np.eye(4)[LABELS]}, "argmax"),
    "names.npz": ({"labels": np.array(list("abcd"))}, "its shape is \\(4,\\), where 40 rows"),
    "unnamed.npz": ({"arr_1": LABELS}, "no name that means labels"),
    "dates.npz": ({"targets": np.datetime64("2024-01-01") + LABELS}, "dtype"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_labels_that_cannot_be_used_stop_nothing_and_are_told(cli, name):
    arrays, message = UNUSABLE[name]
    np.savez(cli.folder / name, **{"embeddings": ROWS, **arrays})
    result = cli("report", name, "--no-files", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["results"][0]["value"] == pytest.approx(naive(ROWS), abs=1e-9)
    assert not any(record["metric"] == "tolerance" for record in found["results"])
    (warning,) = [text for text in found["warnings"] if "--labels none" in text]
    assert re.search(message, warning), warning
    text = cli.fails("tolerance", name, "--no-files")
    assert "tolerance needs labels" in text
    assert re.search(message, text), text
    silent = cli("report", name, "--no-files", "--labels", "none")
    assert silent.returncode == 0
    assert "labels" not in silent.stderr, "none are wanted, so nothing is said of them"
    (cli.folder / "r.toml").write_text('[[rule]]\nmetric = "uniformity"\nmax = -1\n')
    assert cli("check", name, "--rules", "r.toml").returncode == 0


TORCH = {
    "tuple.pt": tuple(LABELS.tolist()),
    "tensors.pt": [torch.tensor(int(k)) for k in LABELS],
    "words.pt": WORDS.tolist(),
}


@pytest.mark.parametrize("name", TORCH)
def test_lists_of_labels_in_a_torch_file(cli, name):
    torch.save({"embeddings": torch.tensor(ROWS), "labels": TORCH[name]}, cli.folder / name)
    result = cli("tolerance", name, "--json", "--no-files")
    assert result.returncode == 0, result.stderr
    expected = cla.tolerance(ROWS, LABELS).find("tolerance", "micro_excl").value
    assert json.loads(result.stdout)["results"][0]["value"] == pytest.approx(expected)


def test_a_list_with_nothing_for_some_rows(cli):
    labels = [None if k == 0 else int(k) for k in LABELS]
    torch.save({"embeddings": torch.tensor(ROWS), "labels": labels}, cli.folder / "e.pt")
    result = cli("tolerance", "e.pt", "--json", "--no-files")
    found = json.loads(result.stdout)
    assert found["inputs"][0]["unlabelled_rows"] == 10
    expected = cla.tolerance(ROWS, labels).find("tolerance", "micro_excl")
    assert found["results"][0]["value"] == pytest.approx(expected.value)


def test_the_array_that_has_a_value_a_row_is_taken(cli):
    np.savez(cli.folder / "e.npz", embeddings=ROWS, labels=np.array(list("abcd")), y=LABELS)
    result = cli("tolerance", "e.npz", "--no-files")
    assert result.returncode == 0, result.stderr
    assert "labels: from the embeddings' file (y)" in result.stderr


def test_labels_none_in_python_and_on_the_command_line(cli):
    np.savez(cli.folder / "e.npz", embeddings=ROWS, labels=LABELS)
    report = cla.analyze(str(cli.folder / "e.npz"), labels="none")
    assert not any(record.metric == "tolerance" for record in report.records)
    assert cli("inspect", "e.npz", "--labels", "none").returncode == 0
    assert "tolerance needs labels" in cli.fails("tolerance", "e.npz", "--labels", "none")


@pytest.mark.parametrize("value", [-1, -100, -7])
def test_a_negative_label_means_one_thing_everywhere(cli, value):
    """A class, with a warning, or unlabelled where that is said: never left out in silence."""
    from cl_analyze.training import FalseNegativeShare, Tolerance

    labels = np.where(LABELS == 0, value, LABELS)
    np.savez(cli.folder / "e.npz", embeddings=ROWS, labels=labels)
    asked = cli("tolerance", "e.npz", "--no-files", "--json", "--unlabelled", value)
    said = json.loads(asked.stdout)["results"][0]
    assert said["n"] == 30
    metric = Tolerance(D, 4, unlabelled=value)
    metric.update(torch.tensor(ROWS), torch.tensor(labels))
    assert float(metric.compute()) == pytest.approx(said["value"], rel=1e-6)
    counted = cli("tolerance", "e.npz", "--no-files", "--json")
    assert json.loads(counted.stdout)["results"][0]["n"] == 40
    assert f"the label {value} is taken as a class" in counted.stderr
    for other in (Tolerance(D, 4), FalseNegativeShare(D)):
        with pytest.raises(DataError, match=f"pass unlabelled={value}"):
            other.update(torch.tensor(ROWS), torch.tensor(labels))


def test_no_row_is_labelled(cli):
    np.savez(cli.folder / "e.npz", embeddings=ROWS, labels=np.full(N, np.nan))
    assert cli("report", "e.npz", "--no-files").returncode == 0
    text = cli.fails("penalty", "e.npz", "--negatives", "class", "--no-files")
    assert "no row is labelled" in text


# ---- what inspect calls a problem

PROBLEMS = {
    "collapsed": (np.ones((30, 5)), None, "all rows point the same way"),
    "one direction": (np.ones((30, 5)) * np.arange(1, 31)[:, None], None, "point the same way"),
    "almost one direction": (1 + 1e-4 * ROWS, None, "all rows point the same way"),
    "ids as labels": (ROWS, np.arange(N), "these are rather ids"),
    "texts as labels": (ROWS, np.array([f"a photo of {i}" for i in range(N)]), "rather ids, texts"),
    "almost all different": (ROWS, np.arange(N) // 1.02, "rather ids"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_problems_that_inspect_finds(cli, kind):
    rows, labels, message = PROBLEMS[kind]
    arrays = {"embeddings": rows}
    if labels is not None:
        arrays["labels"] = labels.astype(int) if labels.dtype.kind == "f" else labels
    np.savez(cli.folder / "e.npz", **arrays)
    result = cli("inspect", "e.npz")
    assert result.returncode == 2
    assert message in result.stdout
    assert "no problem found" not in result.stdout


WARNINGS = {
    "on its side": (ROWS.T, "is it (dimensions, rows)?"),
    "far more dimensions than rows": (np.random.default_rng(0).normal(size=(10, 64)), "dimensions"),
    "tokens": (np.random.default_rng(0).normal(size=(40, 77, 6)), "look like tokens"),
    "patches": (np.random.default_rng(0).normal(size=(40, 197, 6)), "look like tokens"),
}


@pytest.mark.parametrize("kind", WARNINGS)
def test_what_a_file_may_be_instead(cli, kind):
    rows, message = WARNINGS[kind]
    np.save(cli.folder / "e.npy", rows)
    found = cli("inspect", "e.npy")
    assert message in found.stdout
    assert "no problem found" not in found.stdout
    result = cli("uniformity", "e.npy", "--no-files", "--json")
    assert any(message in text for text in json.loads(result.stdout)["warnings"])
    assert any(message in text for text in cla.analyze(rows, metrics="uniformity").warnings)


def coordinates(n_rows=300, dim=128):
    """Coordinates whose means differ, as those of an encoder do."""
    random = np.random.default_rng(3)
    return random.normal(size=(n_rows, dim)) + 0.7 * random.normal(size=dim)


def packed(rows):
    return np.packbits(rows > 0, axis=1)


def of_binary_precision(rows):
    """As sentence-transformers writes them."""
    return (packed(rows) - 128).astype(np.int8)


def quantised(rows):
    """As sentence-transformers writes int8: the range of each coordinate has 256 steps."""
    lowest, highest = rows.min(axis=0), rows.max(axis=0)
    return ((rows - lowest) / ((highest - lowest) / 255) - 128).astype(np.int8)


MAY_BE_PACKED = {
    "packed": packed(coordinates()),
    "few rows": packed(coordinates(4, 32)),
    "one sign more than another": packed(coordinates(300, 32) + 1.5),
    "rather constant signs": packed(coordinates(300, 64) + np.tile([2.0, -2.0], 32)),
    "the whole range": np.random.default_rng(0).integers(0, 256, (50, 4), np.uint8),
}


@pytest.mark.parametrize("kind", MAY_BE_PACKED)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_bytes_that_may_be_packed_bits_are_a_warning(cli, kind, dtype):
    rows = MAY_BE_PACKED[kind].astype(dtype)
    np.save(cli.folder / "e.npy", rows)
    message = f"e.npy: its bytes are read as numbers, {rows.shape[1]} dimensions"
    result = cli("uniformity", "e.npy", "--no-files", "--json")
    texts = json.loads(result.stdout)["warnings"]
    (text,) = (text for text in texts if message in text)
    assert text.endswith(f"pass --packed-bits for {8 * rows.shape[1]} dimensions")
    assert "such as quantised embeddings, nothing is wrong" in text
    assert ("z.view('uint8') ^ 128" in text) == (dtype is np.int8)
    assert "its bytes are read as numbers" in result.stderr
    expected = naive(rows.astype(float))
    assert json.loads(result.stdout)["results"][0]["value"] == pytest.approx(expected, abs=1e-6)
    assert f"warning: {message}" in cli("inspect", "e.npy").stdout.replace("\n    ", " ")
    warnings = cla.analyze(rows, metrics="uniformity").warnings
    assert any("its bytes are read as numbers" in text for text in warnings)
    three = np.stack([rows, rows], axis=1)
    warnings = cla.analyze(three, metrics="uniformity").warnings
    assert any(f"read as numbers, {rows.shape[1]} dim" in text for text in warnings)


NO_PACKED_BITS = {
    "quantised": quantised(coordinates()),
    "quantised, as uint8": (quantised(coordinates()) ^ -128).view(np.uint8),
    "quantised, few of the steps": (5 * coordinates()).astype(np.int8),
    "quantised, few coordinates": quantised(coordinates(300, 8)),
    "zero and one": packed(coordinates()) & 1,
    "zero and one, as int8": (packed(coordinates()) & 1).astype(np.int8),
    "zero and 255": (packed(coordinates()) & 1) * np.uint8(255),
    "signs": np.where(coordinates() > 0, 1, -1).astype(np.int8),
    "counts": np.random.default_rng(0).poisson(3, (50, 20)).astype(np.uint8),
}


@pytest.mark.parametrize("kind", NO_PACKED_BITS)
def test_bytes_that_are_numbers_are_none(kind):
    report = cla.analyze(NO_PACKED_BITS[kind], metrics="uniformity")
    assert not any("bytes" in text for text in report.warnings)


def test_the_fix_for_signed_bytes_gives_the_signs():
    rows = coordinates()
    z = of_binary_precision(rows)
    with pytest.raises(DataError) as refused:
        cla.analyze(z, metrics="uniformity", packed_bits=True)
    (warning,) = cla.analyze(z, metrics="uniformity").warnings
    for message in (warning, str(refused.value)):
        fix = re.search(r"save (z\.view\S+ \^ \d+), where", message)[1]
        assert "sentence-transformers' precision 'binary'" in message
        mended = eval(fix, {"z": z})
        assert mended.dtype == np.uint8
        assert (mended == packed(rows)).all()
    of_bits = cla.analyze(mended, metrics="uniformity", packed_bits=True)
    signs = cla.analyze(np.sign(rows).astype(np.int8), metrics="uniformity")
    assert [r.value for r in of_bits.records] == [r.value for r in signs.records]
    assert not any("bytes" in text for text in of_bits.warnings)


@pytest.mark.parametrize("rows", [ROWS[:, None], ROWS[:, None, :]])
def test_one_view_is_no_view(cli, rows):
    np.save(cli.folder / "e.npy", rows)
    np.save(cli.folder / "v.npy", rows + 0.1)
    result = cli("uniformity", "e.npy", "--no-files", "--json")
    assert json.loads(result.stdout)["results"][0]["value"] == pytest.approx(naive(ROWS), abs=1e-9)
    assert cla.uniformity(rows).value == pytest.approx(naive(ROWS), abs=1e-9)
    assert cli("losses", "e.npy", "--pairs", "v.npy", "--tau", 0.2, "--no-files").returncode == 0


def test_what_lies_on_its_side_beside_others(cli):
    np.save(cli.folder / "t.npy", ROWS.T)
    np.save(cli.folder / "z.npy", ROWS)
    np.save(cli.folder / "y.npy", LABELS)
    np.save(cli.folder / "queue.npy", np.random.default_rng(0).normal(size=(D, 256)))
    assert "save its transpose" in cli.fails("tolerance", "t.npy", "--labels", "y.npy")
    text = cli.fails("losses", "z.npy", "--pairs", "z.npy", "--queue", "queue.npy", "--tau", 0.2)
    assert "as MoCo keeps its queue: save its transpose" in text


# ---- what people hand to Python

CONTAINERS = {
    "a Series of arrays": (lambda: pd.Series(list(ROWS)), None),
    "a list of tensors": (lambda: [torch.tensor(row) for row in ROWS], None),
    "a DataFrame": (lambda: pd.DataFrame(ROWS), None),
    "a tensor with grad": (lambda: torch.tensor(ROWS, requires_grad=True), None),
    "a conjugate view": (lambda: torch.tensor(ROWS + 0j).conj().real, None),
    "a frame with words": (lambda: pd.DataFrame(ROWS).assign(name="a"), "select_dtypes"),
    "a ragged Series": (lambda: pd.Series([[1.0, 2.0], [3.0]]), "the same length"),
    "sparse": (lambda: __import__("scipy.sparse").sparse.csr_array(ROWS), "toarray"),
    "float8": (lambda: torch.tensor(ROWS).to(torch.float8_e4m3fn), "z.float"),
    "torch sparse": (lambda: torch.tensor(ROWS).to_sparse(), "z.to_dense"),
    "nested": (
        lambda: torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)]),
        "to_padded_tensor",
    ),
    "quantised": (
        lambda: torch.quantize_per_tensor(torch.tensor(ROWS).float(), 0.1, 0, torch.qint8),
        "dequantize",
    ),
    "a dictionary": (lambda: {"embeddings": ROWS}, "an array is needed"),
}


class Image(torch.Tensor):
    """As torchvision's and fastai's."""


CONTAINERS["a subclass with grad"] = (
    lambda: torch.tensor(ROWS, requires_grad=True).as_subclass(Image),
    None,
)


@pytest.mark.filterwarnings(
    "ignore:.*quantiz.*", "ignore:.*nested tensors.*", "ignore::UserWarning"
)
@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers_in_python(kind):
    make, message = CONTAINERS[kind]
    if message is None:
        assert cla.uniformity(make()).value == pytest.approx(naive(ROWS), abs=1e-9)
    else:
        with pytest.raises(DataError, match=message):
            cla.uniformity(make())


def test_classes_that_differ_keep_names_that_differ(tmp_path):
    words = np.array(["a\n", "a\\n", "b"] * 4)
    np.savez(tmp_path / "e.npz", embeddings=ROWS[:12], labels=words)
    opened = open_embeddings(Spec(str(tmp_path / "e.npz")))
    found = encode(opened.labels)
    assert found.names == ("a\\n", "a\\\\n", "b")
    np.testing.assert_array_equal(found.counts, [4, 4, 4])


def test_long_ids_beside_missing_ones_keep_all_digits(tmp_path):
    (tmp_path / "ids.txt").write_text("9007199254740993\n\n9007199254740992\n")
    found = encode(open_array(Spec(str(tmp_path / "ids.txt")), ("labels",)))
    assert found.names == ("9007199254740992", "9007199254740993")
    assert found.n_unlabelled == 1
