"""Vectors in JSON, and words with numbers, as programs write them, and what is wrong with them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cl_analyze.data import memory
from cl_analyze.data.formats import streams
from cl_analyze.data.identifiers import identify
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, open_array, open_container, open_embeddings
from cl_analyze.errors import DataError
from tests.data.make import matrix

DATA = Path(__file__).resolve().parents[1] / "data"
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


# ---- word vectors


NAMES = ["é", *(f"{('cat', 'dog', 'emu')[i % 3]}-{i}" for i in range(1, 12))]


@pytest.mark.parametrize("name", ["rows.vec", "rows.txt", "rows.bin"])
def test_word_vectors_of_gensim(name):
    path = DATA / "words" / name
    found = open_embeddings(Spec(str(path)), with_ids=True)
    array = found.main.array
    names = [*NAMES[:5], NAMES[5] if name == "rows.bin" else "at home", *NAMES[6:]]
    assert found.ids.array.values().tolist() == found.names.array.values().tolist() == names
    assert array.dtype_name == "float32"
    np.testing.assert_array_equal(array.read(0, 12), matrix())
    np.testing.assert_array_equal(array.read(3, 7), matrix()[3:7])
    np.testing.assert_array_equal(array.take(np.array([11, 0, 4])), matrix()[[11, 0, 4]])
    np.testing.assert_array_equal(array.values()[::-2], matrix()[::-2])
    assert len(array.read(5, 5)) == 0
    elsewhere = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(elsewhere.read(2, 4), matrix()[2:4])


def lines_of_words(names=IDS, header="", end="\n", rows=ROWS):
    body = (
        f"{n} {' '.join(map(repr, row))}{end}" for n, row in zip(names, rows.tolist(), strict=True)
    )
    return header + "".join(body)


WORD_FILES = {
    "glove.txt": lines_of_words(),
    "header.txt": lines_of_words(header="40 5\n"),
    "a.vec": lines_of_words(header="40 5\n", end=" \r\n"),
    "tabs.vec": lines_of_words().replace(" ", "\t"),
    "wide.vec": lines_of_words().replace(" ", "  "),
    "mark.vec": "\ufeff" + lines_of_words(header="40 5\n"),
}


@pytest.mark.parametrize("name", WORD_FILES)
def test_word_vectors_as_text(tmp_path, name):
    found = opened(tmp_path / name, WORD_FILES[name])
    assert_rows(found, labelled=False)
    assert found.ids.array.values().tolist() == IDS


@pytest.mark.parametrize("name", ["nodes.vec", "nodes.txt"])
def test_numbers_as_words_are_words_behind_a_header(tmp_path, name):
    numbers = [str(i) for i in range(40)]
    found = opened(tmp_path / name, lines_of_words(numbers, "40 5\n"))
    assert_rows(found, labelled=False)
    assert found.ids.array.values().tolist() == numbers


def test_words_with_spaces_and_odd_ones(tmp_path):
    names = [". . .", "at name@domain.com", "\u00a0", "12", "<unk>", *IDS[5:]]
    found = opened(tmp_path / "e.txt", lines_of_words(names))
    assert found.ids.array.values().tolist() == names
    assert_rows(found, labelled=False)


@pytest.mark.parametrize("header", ["", "40 5\n"])
@pytest.mark.parametrize("name", ["e.txt", "e.vec"])
def test_words_with_spaces_in_most_lines(tmp_path, name, header):
    """The numbers of the lines of one word tell how many the others have."""
    names = [f"new {word}" for word in IDS]
    names[30] = "alone"
    found = opened(tmp_path / name, lines_of_words(names, header))
    assert found.ids.array.values().tolist() == names
    assert_rows(found, labelled=False)


def test_words_that_occur_twice_are_told(tmp_path):
    found = opened(tmp_path / "e.vec", lines_of_words(["a", "b", *IDS[2:39], "a"]))
    assert found.ids is None
    assert "1 words stand for more than one row ('a')" in " ".join(found.notes)
    assert found.names.array.values()[39] == "a"


def test_plain_text_stays_one_value_a_line(tmp_path):
    path = tmp_path / "y.txt"
    for content, names in (
        ("cat 3\ndog 4\ncat 3\n", ("cat 3", "dog 4")),
        ("New York 1\nRome\nParis 2 3\nRome\n", ("New York 1", "Paris 2 3", "Rome")),
        ("7 2\nRome\nRome\n", ("7 2", "Rome")),
    ):
        path.write_text(content)
        assert encode(open_array(Spec(str(path)), ())).names == names
    path.write_text("5 2\n5 3\n4 3\n")
    with pytest.raises(DataError, match=r"2 integers each .*, where labels must be one a line"):
        open_array(Spec(str(path)), ())


BROKEN_WORDS = {
    "short.vec": (lines_of_words() + "last 1 2\n", "line 41 must be a word and 5 numbers.*found 2"),
    "cut.vec": (lines_of_words() + "last 1 2", "line 41 must be .*: is the file cut off"),
    "word.txt": (lines_of_words() + "w 1 2 x 4 5\n", "line 41 must be a word and 5 numbers"),
    "under.vec": (lines_of_words() + "w 1 2 1_0 4 5\n", "line 41 must be"),
    "no-word.vec": (lines_of_words() + "1 2 3 4 5\n", "line 41 must be a word and 5 numbers"),
    "more.vec": (lines_of_words(header="39 5\n"), "promises 39 rows, it has 40"),
    "fewer.vec": (lines_of_words(header="99999999999 5\n"), "promises 99999999999 rows, it has 40"),
    "prose.vec": ("a b\nc d e f\n", "must each be a word and as many numbers.*its first line is"),
    "bytes.vec": (b"a 1 2\n\xff 3 4\n", "line 2 is not UTF-8 text"),
    "commas.txt": ("a,1,2\nb,3,4\n", "a word and 2 numbers each.*name it .csv"),
}


@pytest.mark.parametrize("name", BROKEN_WORDS)
def test_broken_word_vectors(tmp_path, name):
    content, message = BROKEN_WORDS[name]
    with pytest.raises(DataError, match=message):
        opened(tmp_path / name, content)


def binary(names=IDS, header=b"40 5\n", between=b"", rows=ROWS):
    body = (n.encode() + b" " + r.tobytes() for n, r in zip(names, rows, strict=True))
    return header + between.join(body) + between


@pytest.mark.parametrize("between", [b"", b"\n"])
def test_binary_word_vectors(tmp_path, between):
    found = opened(tmp_path / "e.bin", binary(between=between))
    assert_rows(found, labelled=False)
    assert found.ids.array.values().tolist() == IDS


def test_binary_words_across_the_pieces_of_a_file(tmp_path):
    rows = np.random.default_rng(1).standard_normal((3000, 300)).astype(np.float32)
    names = [f"{'n' * (i % 50)}{i}" for i in range(3000)]
    names[7] = "long" * 5000
    found = opened(tmp_path / "e.bin", binary(names, b"3000 300\n", rows=rows))
    assert found.ids.array.values().tolist() == names
    np.testing.assert_array_equal(found.main.array.read(0, 3000), rows)


def test_words_that_are_no_utf8_stay_apart(tmp_path):
    content = b"2 1\n" + b"\xff " + ROWS[0, :1].tobytes() + b"\xfe " + ROWS[1, :1].tobytes()
    found = opened(tmp_path / "e.bin", content)
    assert found.ids.array.values().tolist() == [r"\xff", r"\xfe"]


BROKEN_BINARY = {
    "other": (b"\x00\x01\x02" * 50, "as word2vec writes it, with a first line of two numbers"),
    "weights": (b"GGUF\n" + b"\0" * 50, "found 'GGUF"),
    "cut off": (binary()[:-10], "the file ends: is it cut off"),
    "rows": (
        binary(header=b"999999999999999 5\n"),
        "promises 999999999999999 words.*more than the",
    ),
    "dims": (binary(header=b"40 999999999\n"), "promises 40 words with 999999999 dimensions"),
    "none": (binary(header=b"0 0\n"), "promises 0 words with 0 dimensions"),
    "longer": (binary() + b"\n\n", "2 bytes follow its 40 rows"),
    "fewer": (binary(header=b"39 5\n"), "bytes follow its 39 rows"),
    "no space": (b"2 100\n" + b"x" * 100_000, "in row 0 of 2 no word ends with a space"),
}


@pytest.mark.parametrize("name", BROKEN_BINARY)
def test_broken_binary_word_vectors(tmp_path, name):
    content, message = BROKEN_BINARY[name]
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "e.bin", content)


def test_a_binary_file_that_changes_is_an_error(tmp_path):
    array = opened(tmp_path / "e.bin", binary()).main.array
    (tmp_path / "e.bin").write_bytes(binary() + b"x")
    with pytest.raises(DataError, match="has changed since it was opened"):
        array.read(0, 3)


# ---- gzip


TABLE = pd.DataFrame(ROWS.astype(float), columns=[f"dim_{i}" for i in range(5)]).assign(
    id=IDS, label=WORDS
)
COMPRESSED = {
    "e.csv.gz": (lambda p: TABLE.to_csv(p, index=False), True),
    "e.tsv.gz": (lambda p: TABLE.to_csv(p, index=False, sep="\t"), True),
    "e.txt.gz": (gzip.compress(lines_of_words().encode()), False),
    "e.vec.gz": (gzip.compress(lines_of_words(header="40 5\n").encode()), False),
    "E.JSONL.GZ": (
        lambda p: frame().to_json(
            p, orient="records", lines=True, double_precision=15, compression="gzip"
        ),
        True,
    ),
    "e.ndjson.gz": (
        gzip.compress(lines(records()[:9]).encode()) + gzip.compress(lines(records()[9:]).encode()),
        True,
    ),
    "e.json.gz": (lambda p: frame().to_json(p, double_precision=15), True),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_text_reads_as_the_same_rows(tmp_path, name):
    content, labelled = COMPRESSED[name]
    assert_rows(opened(tmp_path / name, content), labelled)


def test_compressed_labels(tmp_path):
    (tmp_path / "y.txt.gz").write_bytes(gzip.compress("\n".join(WORDS).encode()))
    assert encode(open_array(Spec(str(tmp_path / "y.txt.gz")), ())).names == ("cat", "dog", "emu")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".vec", ".jsonl", ".json"])
def test_damaged_compressed_text(tmp_path, suffix):
    content = gzip.compress(np.random.default_rng(0).bytes(9000).hex().encode())
    path = tmp_path / f"e{suffix}.gz"
    broken = bytearray(content)
    broken[2000:2100] = bytes(100)
    for damaged, message in (
        (content[:-3000], "cannot be unpacked: it is cut off"),
        (bytes(broken), "cannot be unpacked: "),
        (b"a,b\n1,2\n", "cannot be unpacked: Not a gzipped file"),
    ):
        with pytest.raises(DataError, match=message):
            opened(path, damaged)


BOMBS = [
    (".csv", b"\n"), (".csv", b"\0"), (".csv", b"1,2\n"), (".txt", b"1\n"), (".txt", b"a 1 2\n"),
    (".vec", b"\n"), (".vec", b"a 1 2\n"), (".jsonl", b"\n"), (".jsonl", b"[1, 2]\n"),
    (".json", b"[1],"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "piece"), BOMBS)
def test_what_inflates_without_bound_is_refused(tmp_path, monkeypatch, suffix, piece):
    monkeypatch.setattr(memory, "free_memory", lambda: 600 << 10)
    monkeypatch.setattr(streams, "_LOOK_EVERY", 50_000)
    content = gzip.compress(piece * (500_000 // len(piece)), 9)
    with pytest.raises(DataError, match="MiB when it is decoded"):
        opened(tmp_path / f"e{suffix}.gz", content)


def test_blank_lines_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_MOST_BLANK", 100)
    assert_rows(opened(tmp_path / "e.vec", "\n" * 90 + lines_of_words()), labelled=False)
    with pytest.raises(DataError, match="more than 100 blank lines behind line 40"):
        opened(tmp_path / "e.vec", lines_of_words() + "\n" * 200)


def test_other_compressed_files_name_the_command_that_unpacks(tmp_path):
    for name in ("e.npy.gz", "e.bin.gz", "e.gz"):
        with pytest.raises(DataError, match=rf"has no reader: unpack it with gunzip -k '{name}'"):
            opened(tmp_path / name, gzip.compress(b"x"))
    with pytest.raises(DataError, match="the content looks like gzip-compressed data"):
        opened(tmp_path / "e.csv", gzip.compress(b"a,b\n1,2\n" * 9))


# ---- a file for each vector


def save_torch(path, row):
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(row.copy()), path)


ONE_EACH = {
    ".npy": lambda path, row: np.save(path, row),
    ".pt": save_torch,
    ".txt": lambda path, row: np.savetxt(path, row, fmt="%.9g"),
    ".json": lambda path, row: path.write_text(json.dumps(row.tolist())),
    ".txt.gz": lambda path, row: np.savetxt(path, row, fmt="%.9g"),
}


@pytest.mark.parametrize("suffix", ONE_EACH)
def test_a_folder_with_a_file_for_each_vector(tmp_path, suffix):
    for name, row in zip(IDS, ROWS, strict=True):
        ONE_EACH[suffix](tmp_path / f"{name}{suffix}", row)
    found = open_embeddings(Spec(str(tmp_path)), with_ids=True)
    assert_rows(found, labelled=False)
    assert found.ids.array.values().tolist() == IDS
    assert (
        "40 files with a vector each, rows in the order of their names ('r0', 'r1' ...)"
        in (found.notes[0])
    )
    some = open_embeddings(Spec(f"{tmp_path}/r1*{suffix}"), with_ids=True)
    np.testing.assert_array_equal(
        some.main.array.read(0, 11).astype(np.float32), ROWS[[1, *range(10, 20)]]
    )


def test_a_folder_of_matrices_of_one_row(tmp_path):
    for name, row in zip(IDS, ROWS, strict=True):
        np.save(tmp_path / f"{name}.npy", row[None])
    found = open_embeddings(Spec(str(tmp_path)), with_ids=True)
    assert_rows(found, labelled=False)
    assert found.ids.array.values().tolist() == IDS


def test_names_of_files_that_occur_twice_match_no_rows(tmp_path):
    for name in ("a/x", "a/y", "b/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", ROWS[0])
    found = open_embeddings(Spec(f"{tmp_path}/*/*.npy"), with_ids=True)
    assert found.ids is None
    assert "1 words stand for more than one row ('x')" in " ".join(found.notes)


def test_shards_of_labels_and_numbered_shards_stay_joined(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"y{i}.npy", np.arange(4) % 2)
        np.save(tmp_path / f"z{i}.npy", np.array([0.0, np.nan, 1.0]))
        np.save(tmp_path / f"e-{i}-of-3.npy", ROWS[:4, 0])
    for pattern, n_rows in (("y*.npy", 12), ("z*.npy", 9), ("e*.npy", 12)):
        assert open_array(Spec(f"{tmp_path}/{pattern}"), ()).array.shape == (n_rows,)


def test_vectors_of_several_lengths_are_named(tmp_path):
    np.save(tmp_path / "a.npy", ROWS[:1])
    np.save(tmp_path / "b.npy", ROWS[:1, :4])
    with pytest.raises(DataError, match=r"must have the same columns: .*a.npy is .1, 5., .*b"):
        open_embeddings(Spec(str(tmp_path)))


def test_vectors_of_several_dtypes_are_named(tmp_path):
    np.save(tmp_path / "a.npy", ROWS[0])
    np.save(tmp_path / "b.npy", ROWS[1].astype(np.float64))
    with pytest.raises(DataError, match=r"the same dtype: .*a.npy is float32, .*b.npy is float64"):
        open_embeddings(Spec(str(tmp_path)))


def test_a_file_name_that_is_no_text_is_an_id(tmp_path):
    for name in (b"\xff.npy", b"\xfe.npy"):
        try:
            content = (tmp_path / os.fsdecode(name)).open("wb")
        except OSError:
            pytest.skip("this system has no such names")
        with content:
            np.save(content, ROWS[0])
    found = open_embeddings(Spec(str(tmp_path)), with_ids=True)
    assert sorted(found.ids.array.values().tolist()) == [r"\xfe", r"\xff"]
    assert len(identify(found.ids)) == 2


def test_lists_of_numbers_under_ids_are_no_columns(tmp_path):
    """Ids that count are as ambiguous as words: each list may be a row or a column."""
    lists = {f"doc{i}": row for i, row in enumerate(np.eye(20, 8).tolist())}
    (tmp_path / "d.json").write_text(json.dumps(lists))
    with pytest.raises(DataError, match="is a list a row, or a column"):
        open_embeddings(Spec(str(tmp_path / "d.json")))


@pytest.mark.parametrize("names", [None, list("abcde")])
def test_what_pandas_writes_by_default_are_columns(tmp_path, names):
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((30, 5)), columns=names)
    frame.to_json(tmp_path / "n.json", double_precision=15)
    rows = open_embeddings(Spec(str(tmp_path / "n.json"))).main.array.read(0, 30)
    np.testing.assert_allclose(rows, frame.to_numpy(), rtol=1e-12)


def test_the_vector_of_another_length_is_named(tmp_path):
    for i, row in enumerate(np.random.default_rng(0).standard_normal((9, 6))):
        np.save(tmp_path / f"{i}.npy", row[:5] if i == 3 else row)
    with pytest.raises(DataError, match=r"3\.npy holds 5 numbers, .*0\.npy 6: .* same length"):
        open_embeddings(Spec(str(tmp_path)))
