"""Vectors in JSON, and words with numbers, as programs write them, and what is wrong with them."""

from __future__ import annotations

import base64
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from cl_analyze.data import memory
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, open_array, open_container, open_embeddings
from cl_analyze.errors import DataError

ROWS = np.random.default_rng(11).standard_normal((40, 5)).astype(np.float32)
WORDS = np.array(["cat", "dog", "emu"])[np.arange(40) % 3]
IDS = [f"r{i}" for i in range(40)]


def records(field="embedding"):
    return [
        {"id": name, field: row, "label": word}
        for name, row, word in zip(IDS, ROWS.tolist(), WORDS.tolist(), strict=True)
    ]


def lines(values):
    return "".join(f"{json.dumps(value)}\n" for value in values)


def frame():
    return pd.DataFrame({"id": IDS, "emb": ROWS.tolist(), "label": WORDS})


def answer(order):
    data = [{"object": "embedding", "index": i, "embedding": ROWS[i].tolist()} for i in order]
    return json.dumps({"object": "list", "data": data, "model": "m", "usage": {"total": 3}})


def opened(path, content):
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return open_embeddings(Spec(str(path)), with_ids=True)


def assert_rows(found, labelled=True):
    """The rows, labels and ids of a file are those of this module."""
    array = found.main.array
    np.testing.assert_array_equal(array.read(0, 40).astype(np.float32), ROWS)
    some = np.array([39, 0, 7])
    np.testing.assert_array_equal(array.take(some).astype(np.float32), ROWS[some])
    np.testing.assert_array_equal(array.read(3, 9).astype(np.float32), ROWS[3:9])
    elsewhere = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(elsewhere.read(0, 40), array.read(0, 40))
    if labelled:
        labels = encode(found.labels)
        assert [labels.names[code] for code in labels.codes] == WORDS.tolist()
        assert found.ids.array.values().tolist() == IDS


# ---- JSON


WITH_LABELS = {
    "a.jsonl": lines(records()),
    "a.ndjson": "\n" + lines(records("vector")).replace("\n", "\r\n\r\n"),
    "mark.jsonl": b"\xef\xbb\xbf" + lines(records("values")).encode(),
    "other.jsonl": lines(records("z")),
    "lines.json": lines(records()),
    "records.json": json.dumps(records(), indent=1),
    "by-id.json": json.dumps({r.pop("id"): r for r in records()}),
    "columns.json": json.dumps(
        {"ids": IDS, "embeddings": ROWS.tolist(), "labels": WORDS.tolist(), "model": "m"}
    ),
    "pandas.jsonl": lambda p: frame().to_json(p, orient="records", lines=True, double_precision=15),
    **{
        f"pandas-{orient}.json": lambda p, o=orient: frame().to_json(
            p, orient=o, double_precision=15
        )
        for orient in ("records", "columns", "index", "split", "table")
    },
}
PLAIN = {
    "matrix.json": json.dumps(ROWS.tolist()),
    "matrix.jsonl": lines(ROWS.tolist()),
    "answer.json": answer(range(40)),
    "any-order.json": answer(np.random.default_rng(0).permutation(40).tolist()),
    "encoded.json": json.dumps(
        {"data": [{"embedding": base64.b64encode(r.tobytes()).decode()} for r in ROWS]}
    ),
}


@pytest.mark.parametrize("name", [*WITH_LABELS, *PLAIN])
def test_json_of_every_layout_reads_as_the_same_rows(tmp_path, name):
    content = {**WITH_LABELS, **PLAIN}[name]
    assert_rows(opened(tmp_path / name, content), name in WITH_LABELS)


def test_numbered_fields_are_dimensions(tmp_path):
    table = pd.DataFrame(ROWS.astype(float), columns=[f"dim_{i}" for i in range(5)])
    table["label"] = WORDS
    table["id"] = IDS
    table.to_json(tmp_path / "e.jsonl", orient="records", lines=True, double_precision=15)
    assert_rows(open_embeddings(Spec(str(tmp_path / "e.jsonl")), with_ids=True))


def test_fields_of_json_and_their_kinds(tmp_path):
    values = [
        {
            "embedding": [1, 2.5],
            "n": i,
            "code": f"0{i}",
            "big": 10**20 + i,
            "x": None if i == 1 else i / 2,
            "ok": i > 1,
            "mixed": i if i else "a",
            "meta": {"a": 1},
            "tags": ["a"] * i,
        }
        for i in range(4)
    ]
    values[3].pop("n")
    found = opened(tmp_path / "e.jsonl", lines(values))
    container = open_container(str(tmp_path / "e.jsonl"))
    read = {k: a.values()[:].tolist() for k, a in container.arrays.items() if k != "embeddings"}
    assert read["code"] == ["00", "01", "02", "03"]
    assert read["big"] == [str(10**20 + i) for i in range(4)]
    assert read["ok"] == [False, False, True, True]
    assert read["mixed"] == ["a", "1", "2", "3"]
    np.testing.assert_array_equal(read["x"], [0, np.nan, 1, 1.5])
    np.testing.assert_array_equal(read["n"], [0, 1, 2, np.nan])
    assert container.skipped == {
        "meta": "line 1: it holds an object",
        "tags": "line 1: it holds an empty list",
    }
    assert "fields that are not read: 'meta'" in found.notes[0]


def test_views_in_json(tmp_path):
    pairs = [{"view1": a, "view2": b} for a, b in zip(ROWS.tolist(), (-ROWS).tolist(), strict=True)]
    of_pairs = opened(tmp_path / "pairs.jsonl", lines(pairs)).views
    nested = [[a, b] for a, b in zip(ROWS.tolist(), (-ROWS).tolist(), strict=True)]
    of_lists = opened(tmp_path / "nested.json", json.dumps(nested)).views
    for views in (of_pairs, of_lists):
        for view, rows in zip(views, (ROWS, -ROWS), strict=True):
            np.testing.assert_array_equal(view.array.read(0, 40).astype(np.float32), rows)


def test_labels_as_json(tmp_path):
    (tmp_path / "y.json").write_text(json.dumps(WORDS.tolist()))
    (tmp_path / "y.jsonl").write_text(lines([1, None, 2, 1]))
    assert encode(open_array(Spec(str(tmp_path / "y.json")), ())).names == ("cat", "dog", "emu")
    assert encode(open_array(Spec(str(tmp_path / "y.jsonl")), ())).n_unlabelled == 1


def test_missing_vectors_and_numbers_are_nan(tmp_path):
    values = [{"embedding": v} for v in (None, None, [1, 2], [None, 3], None, [float("nan"), 1])]
    read = opened(tmp_path / "e.jsonl", lines(values)).main.array.read(0, 6)
    assert np.isnan(read).tolist() == [
        [True, True], [True, True], [False, False], [True, False], [True, True], [True, False],
    ]  # fmt: skip


def test_one_long_text_does_not_widen_all_others(tmp_path):
    values = records()
    values[3]["text"] = "x" * 200_000
    for value in values:
        value.setdefault("text", "short")
    opened(tmp_path / "e.jsonl", lines(values))
    texts = open_container(str(tmp_path / "e.jsonl")).arrays["text"].values()
    assert texts.dtype == object
    assert [len(text) for text in texts[2:5]] == [5, 200_000, 5]


GOOD = lines([{"embedding": [1, 2, 3], "id": "a"}] * 2)
BROKEN_LINES = {
    "cut off": ('{"embedding": [1, 2', "line 3 is no JSON: .*: is the file cut off?"),
    "ragged": ('{"embedding": [1, 2]}\n', "'embedding': line 3: it holds 2 numbers, the first 3"),
    "not there": ('{"id": "b"}\n', "line 3: it is not there .write null for a missing vector"),
    "a word": ('{"embedding": [1, "2", 3]}\n', r"line 3: .* a word \('2'\) where numbers"),
    "a number": ('{"embedding": 1}\n', "line 3: it holds a number where others hold vectors"),
    "nested": ('{"embedding": [1, [2], 3]}\n', "line 3: .* holds a list where numbers"),
    "a list": ("[1, 2, 3]\n", "line 3 is a list, where the first is an object"),
    "a key twice": (
        '{"embedding": [1, 2, 3], "embedding": []}\n',
        "line 3 has the key 'embed.* tw",
    ),
    "deep": ("[" * 100_000 + "\n", "line 3 has lists or objects nested too deeply"),
    "digits": ('{"embedding": [1, 2, ' + "9" * 5000 + "]}\n", "line 3 has an integer of more digi"),
    "large": ('{"embedding": [1, 2, ' + "9" * 400 + "]}\n", "line 3: .* an integer too large"),
    "bytes": (b"\xff\n", "line 3 is not UTF-8 text"),
    "other": ("oops\n", "line 3 is no JSON: Expecting value"),
}


@pytest.mark.parametrize("name", BROKEN_LINES)
def test_broken_lines_are_named(tmp_path, name):
    line, message = BROKEN_LINES[name]
    line = line if isinstance(line, bytes) else line.encode()
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "e.jsonl", GOOD.encode() + line)


BROKEN_FILES = {
    "cells.json": (
        json.dumps({"cells": [{"source": []}], "metadata": {"k": 1}, "nbformat": 4}),
        r"no field of number lists.*'metadata': an object with 'k', 'nbformat': a number",
    ),
    "words.json": (json.dumps(dict(zip("abc", ROWS.tolist(), strict=False))), "a row, or a column"),
    "scalar.json": ("3", "its JSON is a number"),
    "empty.json": ("[]", "it holds no value"),
    "blank.jsonl": ("\n\n", "it holds no value"),
    "deep.json": ("[" * 100_000, "nested too deeply"),
    "cut.json": (json.dumps(records())[:-30], "it is no JSON: "),
    "ragged.json": ("[[1, 2], [3]]", "record 1 has 1 numbers, the first 2"),
    "one.json": ('{"embedding": [1, 2, 3]}', "at least 2 rows are needed, found 1"),
    "pretty.jsonl": (json.dumps(records(), indent=1), "over several lines. Name it .json"),
    "utf16.jsonl": (GOOD.encode("utf-16"), "line 1 is not UTF-8 text, but UTF-16"),
    "several.jsonl": (lines([{"a": [1, 2], "b": [3, 4]}] * 3), "choose one as .*'a'.*'b'"),
    "index.json": (answer([0, 1, 1]), "'index' of the 3 records .* one occurs twice"),
    "index2.json": (answer([0, 1, 3]), "'index' of the 3 records .* one is 3"),
    "lists.jsonl": (lines([{"embedding": []}] * 3), "'embedding': line 1: it holds an empty list"),
    "fields.jsonl": (lines([{f"c{i}": 1 for i in range(17_000)}] * 2), "columns, at most 16384"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_files_say_what_is_wrong(tmp_path, name):
    content, message = BROKEN_FILES[name]
    with pytest.raises(DataError, match=message):
        opened(tmp_path / name, content)


def test_a_surrogate_is_no_id(tmp_path):
    values = records()
    values[4]["id"] = "\ud800"
    found = opened(tmp_path / "e.jsonl", lines(values))
    assert found.ids is None
    assert r"'id': line 5: '\ud800' holds half of a character" in found.notes[0]


def test_json_that_would_not_fit_is_not_decoded(tmp_path, monkeypatch):
    for name in ("a.jsonl", "records.json"):
        (tmp_path / name).write_text(WITH_LABELS[name])
        monkeypatch.setattr(memory, "free_memory", lambda: 1000)
        with pytest.raises(DataError, match=r"MiB when it is decoded.*are free"):
            open_embeddings(Spec(str(tmp_path / name)))


def test_missing_vectors_before_a_long_one_are_no_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 32 << 20)
    content = '{"embedding": null}\n' * 100_000 + lines([{"embedding": [0] * 10_000}])
    with pytest.raises(DataError, match="the vectors of 'embedding' takes 7629 MiB"):
        opened(tmp_path / "e.jsonl", content)


def test_fields_that_few_records_have_take_no_memory_for_the_others(tmp_path):
    values = [{"embedding": [i, 1], f"own-{i}": i} for i in range(300)]
    opened(tmp_path / "e.jsonl", lines(values))
    container = open_container(str(tmp_path / "e.jsonl"))
    assert list(container.arrays) == ["embedding"]
    assert container.skipped["own-7"] == "only 1 of 300 records have a value"
