"""Names of classes: from lists, mappings, files and the embeddings' own file."""

import json

import numpy as np
import pytest

from cl_analyze import analyze, compare
from cl_analyze.errors import AnalysisError, ConfigError, DataError

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((60, 4))
LABELS = np.arange(60) % 11
NAMES = [f"name {letter}" for letter in "zyxwvutsrqp"]


def classes(report):
    """The classes of a report, in its order."""
    return [str(row["class"]) for row in report.tables["quality_by_class"].rows]


def measured(names, labels=LABELS, **more):
    return analyze(ROWS, labels, metrics="quality", class_names=names, **more)


PAIRS = dict(enumerate(NAMES))
TABLE = "".join(f"{number},{name}\n" for number, name in PAIRS.items())
FILES = {
    "a.txt": "\n".join(NAMES) + "\n",
    "windows.txt": "\ufeff" + "\r\n".join(NAMES),
    "list.json": json.dumps(NAMES),
    "object.json": json.dumps(PAIRS),
    "a.csv": TABLE,
    "header.csv": "class,name\n" + TABLE,
    "names.csv": "name\n" + "\n".join(NAMES) + "\n",
    "a.tsv": TABLE.replace(",", "\t"),
}


@pytest.mark.parametrize("name", FILES)
def test_names_are_read_from_files_and_keep_the_order_of_the_classes(name, tmp_path):
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8", newline="")
    assert classes(measured(str(path))) == NAMES


def test_names_from_memory():
    assert classes(measured(NAMES)) == NAMES
    assert classes(measured(np.array(NAMES))) == NAMES
    assert classes(measured(PAIRS)) == NAMES
    words = np.array(["cat", "dog"])[LABELS % 2]
    named = measured({"dog": "Hund", "cat": "Katze", "cow": "Kuh"}, words)
    assert classes(named) == ["Katze", "Hund"]


def test_names_change_names_and_no_number(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, embeddings=ROWS, labels=LABELS, class_names=np.array(NAMES))
    from_file, plain = analyze(path, metrics="quality"), measured(None)
    assert classes(from_file) == NAMES
    assert classes(plain) == [str(i) for i in range(11)]
    assert [r.value for r in from_file.records] == [r.value for r in plain.records]
    assert classes(analyze(path, metrics="quality", class_names=[str(i) for i in range(11)])) == (
        classes(plain)
    )
    # the same classes, with names and without: rows are the same items
    other = tmp_path / "b.npz"
    np.savez(other, embeddings=ROWS + 0.1, labels=LABELS)
    pair = compare([path, other], metrics="tolerance")
    assert "matched by position" in str(pair.tables["checkpoints"].rows[1]["rows"])
    both = compare([path, other], metrics="quality", class_names=PAIRS)
    assert {str(row["label"]) for row in both.tables["moved_classes"].rows} <= set(NAMES)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES[:10], r"class '10' of the labels has no name; .* 10 classes, 0 to 9"),
        (NAMES[:9], "2 classes of the labels have no name: '9', '10'"),
        ([*NAMES[:10], NAMES[0]], "classes '0' and '10' have one name, 'name z'"),
        ([*NAMES[:10], " "], "class '10' has an empty name"),
        ([], "class names must be one text a class"),
        (np.arange(11), "class names must be one text a class"),
        (np.full((3, 3), "a"), "class names must be one text a class"),
        ({"0": ["a"]}, "a name must be text"),
    ],
)
def test_names_that_do_not_fit_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        measured(names)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"0": "a", "0": "b"}', "class '0' has two names"),
        ("a.json", b"{", "it is no JSON"),
        ("a.json", b"3", "names must be a list"),
        ("a.json", b'[["a", "b", "c"]]', "a name must be text"),
        ("a.json", b"[" * 100_000, "it is no JSON"),
        ("a.csv", b"0,a,b\n", "two columns, class and name; found rows of 3 columns"),
        ("a.csv", b"", "class names must be one text a class"),
        ("a.txt", b"\xff\xfe", "it is not UTF-8"),
        ("a.txt", b"a\n\nb\n", "class '1' has an empty name"),
    ],
)
def test_bad_files_of_names_are_refused(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        measured(str(path))


def test_names_need_a_file_and_labels(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        measured(str(tmp_path / "none.txt"))
    with pytest.raises(ConfigError, match="--class-names needs labels"):
        analyze(ROWS, metrics="similarity", class_names=NAMES)


def test_names_in_the_file_that_do_not_fit_are_left_out(tmp_path):
    for names in (np.array(NAMES[:5]), np.arange(11), np.array(["a"] * 11)):
        path = tmp_path / "a.npz"
        np.savez(path, embeddings=ROWS, labels=LABELS, class_names=names)
        report = analyze(path, metrics="quality")
        assert classes(report) == [str(i) for i in range(11)]
        assert any("classes keep their labels" in text for text in report.warnings)
        with pytest.raises(AnalysisError):
            analyze(path, metrics="quality", class_names=f"{path}::class_names")


def test_training_labels_have_the_names_too():
    report = measured(NAMES, train=ROWS + 0.01, train_labels=LABELS)
    assert classes(report) == NAMES
    assert {str(row["predicted"]) for row in report.tables["confusion"].rows} <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("semicolons.csv", "class;name\n0;a\n1;b\n", "every line has ';'"),
        ("gap.csv", "a\n\nb\n", "line 2 is empty"),
        ("empty.json", "[[]]", "a name must be text"),
        ("mixed.json", '["a", ["1", "b"]]', "1 of 2 are pairs"),
        ("truth.json", "[true, false]", "a name must be text"),
    ],
)
def test_a_file_that_would_name_the_wrong_class_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        analyze(np.eye(4), labels=[0, 0, 1, 1], class_names=str(path), metrics="tolerance")


@pytest.mark.parametrize("head", ["class_name", "Name", "label"])
def test_the_head_of_a_column_of_names_is_no_name(tmp_path, head):
    path = tmp_path / "names.csv"
    path.write_text(f"{head}\ncat\ndog\n")
    report = analyze(np.eye(4), labels=[0, 0, 1, 1], class_names=str(path), metrics="tolerance")
    assert {row["class"] for row in report.document.rows("tolerance_by_class")} == {"cat", "dog"}
