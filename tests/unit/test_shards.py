"""Directories, patterns and URLs of rows read as one matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.data.joined import Joined
from cl_analyze.data.opening import Spec, open_embeddings
from cl_analyze.data.rows import ViewRows
from cl_analyze.errors import DataError


@pytest.fixture
def matrix(random):
    return random.standard_normal((101, 6)).astype(np.float32)


@pytest.fixture
def shards(tmp_path, matrix):
    for i, part in enumerate(np.array_split(matrix, 11)):
        np.save(tmp_path / f"emb-{i:05d}-of-00011.npy", part)
    return tmp_path


def value(path):
    return cla.uniformity(str(path), run=cla.RunOptions(block=16)).value


def test_directory_and_pattern_read_as_one_matrix(shards, matrix):
    expected = cla.uniformity(matrix, run=cla.RunOptions(block=16)).value
    assert value(shards) == expected
    assert value(shards / "emb-*.npy") == expected
    assert value(shards / "emb-000[01][0-9]-of-*.npy") == expected


def test_numbers_order_shards(tmp_path, matrix):
    for i in range(12):
        np.save(tmp_path / f"part{i}.npy", matrix[i * 8 : (i + 1) * 8])
    opened = open_embeddings(Spec(str(tmp_path))).main.array
    np.testing.assert_array_equal(opened.read(0, 96), matrix[:96])


def test_labels_and_views_of_shards(tmp_path, matrix):
    labels = np.array(list("ab" * 50 + "c"))
    for i, rows in enumerate(np.array_split(np.arange(101), 4)):
        np.savez(tmp_path / f"{i}.npz", embeddings=matrix[rows], labels=labels[rows])
    found = cla.analyze(str(tmp_path), metrics="tolerance").records
    expected = cla.tolerance(matrix, labels)
    assert [r.value for r in found] == [r.value for r in expected]
    stacked = np.stack([matrix, matrix + 1], axis=1)
    (tmp_path / "views").mkdir()
    for i, part in enumerate(np.array_split(stacked, 3)):
        np.save(tmp_path / "views" / f"{i}.npy", part)
    one = cla.analyze(str(tmp_path / "views"), metrics="similarity").records
    other = cla.similarity(stacked)
    assert [r.value for r in one] == [r.value for r in other]


def test_inspect_describes_shards(shards, cli):
    result = cli("inspect", str(shards))
    assert result.returncode == 0, result.stderr
    assert "101" in result.stdout


def test_the_input_entry_is_one_hash_of_all_shards(shards, matrix):
    entry = cla.analyze(str(shards), metrics="uniformity").document.inputs[0]
    before = entry["sha256"]
    assert (entry["n"], entry["d"]) == (101, 6)
    np.save(shards / "emb-00003-of-00011.npy", np.ones((9, 6), np.float32))
    assert cla.analyze(str(shards), metrics="uniformity").document.inputs[0]["sha256"] != before


def fails(path, message):
    with pytest.raises(DataError, match=message):
        open_embeddings(Spec(str(path)))


def test_shards_that_do_not_fit(shards, tmp_path, matrix):
    (shards / "emb-00004-of-00011.npy").unlink()
    fails(shards, "10 of 11 shards are there; missing: number 4")
    np.save(shards / "emb-00004-of-00011.npy", matrix[:9, :5])
    fails(shards, r"same columns: .*is \(10, 6\), .*is \(9, 5\)")
    np.save(shards / "emb-00004-of-00011.npy", matrix[:9].astype(np.float64))
    fails(shards, "same dtype: .*float32.*float64")
    np.save(shards / "labels.npy", np.zeros(101))
    fails(shards, r"11 files are numbered shards of 11, but not labels\.npy; name the shards alone")
    (shards / "notes.csv").write_text("1,2\n")
    fails(shards, r"one format, found \.csv, \.npy")
    fails(shards / "*.nothing", "no file matches")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "no readable file in this directory")


def test_archives_with_different_arrays(tmp_path, matrix):
    np.savez(tmp_path / "0.npz", embeddings=matrix)
    np.savez(tmp_path / "1.npz", embeddings=matrix, labels=np.zeros(101))
    fails(tmp_path, "the same arrays")


@pytest.mark.parametrize("index", [slice(0, 0), slice(3, 9), slice(0, 10), slice(2, 9, 3)])
def test_joined_slices(index):
    whole = np.arange(20).reshape(10, 2)
    joined = Joined([whole[:4], whole[4:4], whole[4:5], whole[5:]])
    np.testing.assert_array_equal(joined[index], whole[index])
    rows = np.array([9, 0, 4, 4, 3])
    np.testing.assert_array_equal(joined[rows], whole[rows])
    np.testing.assert_array_equal(ViewRows(joined, 1)[index], whole[:, 1][index])


# ---- URLs


@pytest.fixture
def url(matrix):
    fsspec = pytest.importorskip("fsspec")
    import io

    stream = io.BytesIO()
    np.save(stream, matrix)
    with fsspec.open("memory://bucket/emb.npy", "wb") as file:
        file.write(stream.getvalue())
    return "memory://bucket/emb.npy"


def test_urls_are_read_by_ranges(url, matrix):
    found = cla.analyze(url, taus=[0.1], run=cla.RunOptions(block=16))
    expected = cla.analyze(matrix, taus=[0.1], run=cla.RunOptions(block=16))
    assert [r.value for r in found.records] == [r.value for r in expected.records]
    assert found.document.inputs[0]["path"] == url
    array = open_embeddings(Spec(url)).main.array
    rows = np.array([100, 3, 3, 50])
    np.testing.assert_array_equal(array.take(rows), matrix[rows])


def test_urls_that_cannot_be_read(url):
    import fsspec

    fails("memory://bucket/none.npy", "cannot be read")
    fails("memory://bucket/emb.npz", r"of URLs only \.npy")
    data = fsspec.filesystem("memory").cat_file("/bucket/emb.npy")
    fsspec.filesystem("memory").pipe_file("/bucket/short.npy", data[:-10])
    fails("memory://bucket/short.npy", "truncated")
    fsspec.filesystem("memory").pipe_file("/bucket/text.npy", b"hello")
    fails("memory://bucket/text.npy", "NumPy header")
    with pytest.raises(cla.AnalysisError, match="nosuch"):
        open_embeddings(Spec("nosuch://bucket/emb.npy"))


def test_more_shards_than_files_may_be_open(tmp_path, matrix):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for i in range(101):
        np.save(tmp_path / f"{i}.npy", matrix[i : i + 1])
    # what this process has open for other reasons is not counted
    held = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + 50, hard))
    try:
        array = open_embeddings(Spec(str(tmp_path))).main.array
        np.testing.assert_array_equal(array.read(0, 101), matrix)
        np.testing.assert_array_equal(array.take(np.arange(101)[::-1]), matrix[::-1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hosts_with_colons_are_no_keys():
    assert Spec.parse("http://[::1]:9/emb.npy") == Spec("http://[::1]:9/emb.npy")
    assert Spec.parse("s3://bucket/emb.npy") == Spec("s3://bucket/emb.npy")
    assert Spec.parse("s3://bucket/emb.npy::z") == Spec("s3://bucket/emb.npy", "z")
