"""Every format, written by its own library, reads as the same rows, and says what it costs."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import cl_analyze as cla
from cl_analyze.data import joined, memory, opening
from cl_analyze.data.formats import FORMATS, arrow, hdf5
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, open_embeddings
from cl_analyze.errors import DataError, DependencyError
from cl_analyze.extras import pip_install
from tests.data.make import WORDS, matrix

DATA = Path(__file__).resolve().parents[1] / "data"
ROWS = np.random.default_rng(5).standard_normal((1000, 6)).astype(np.float32)
LABELS = np.arange(1000) % 3
NAMES = np.array(WORDS)[LABELS]


def fixed_lists(rows=ROWS):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


def lists(kind=pa.list_):
    return pa.array(list(ROWS), type=kind(pa.float32()))


def table_of(column, labels=NAMES):
    return pa.table({"emb": column, "label": pa.array(labels)})


def write_stream(table, path, **options):
    with pa.OSFile(str(path), "wb") as file:
        settings = pa.ipc.IpcWriteOptions(**options)
        with pa.ipc.new_stream(file, table.schema, options=settings) as stream:
            stream.write_table(table, max_chunksize=111)


def write_hdf5(path, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("run/embeddings", data=ROWS, **options)
        file.create_dataset("run/labels", data=[name.encode() for name in NAMES])
        file.create_dataset("other/labels", data=np.zeros(1000))


def write_zarr(path, version, chunks, labels=NAMES, **options):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group.create_array("embeddings", data=ROWS, chunks=chunks, **options)
    group.create_array("labels", data=labels)


def write_vecs(path, rows):
    head = np.full((len(rows), 1), rows.shape[1], "<i4").view(np.uint8)
    np.hstack([head, rows.view(np.uint8).reshape(len(rows), -1)]).tofile(path)


def words_of(rows):
    return [json.dumps(row.tolist()) for row in rows]


def write_projector(path):
    path.mkdir()
    np.savetxt(path / "vectors.tsv", ROWS, delimiter="\t", fmt="%.17g")
    frame = pd.DataFrame({"item": range(1000), "Label": NAMES})
    frame.to_csv(path / "metadata.tsv", sep="\t", index=False)


def wide():
    columns = {f"dim{i}": ROWS[:, i] for i in range(ROWS.shape[1])}
    return pa.table({"id": np.arange(1000), **columns, "label": pa.array(NAMES)})


WRITERS = {
    "a.npz": lambda p: np.savez(p, embeddings=ROWS, labels=NAMES),
    "compressed.npz": lambda p: np.savez_compressed(p, embeddings=ROWS, labels=NAMES),
    "by-columns.npz": lambda p: np.savez(p, embeddings=np.asfortranarray(ROWS), labels=NAMES),
    "a.safetensors": lambda p: safetensors.numpy.save_file(
        {"embeddings": ROWS, "labels": LABELS}, p, metadata={"step": "7"}
    ),
    "fixed.parquet": lambda p: pa.parquet.write_table(
        table_of(fixed_lists()), p, row_group_size=300
    ),
    "lists.parquet": lambda p: pa.parquet.write_table(table_of(lists()), p, row_group_size=300),
    "large.parquet": lambda p: pa.parquet.write_table(
        table_of(lists(pa.large_list), pa.array(NAMES).dictionary_encode()), p
    ),
    "wide.parquet": lambda p: pa.parquet.write_table(wide(), p, row_group_size=400),
    "pandas.parquet": lambda p: pd.DataFrame(
        {"emb": list(ROWS), "label": NAMES}, index=np.arange(1000)[::-1]
    ).to_parquet(p),
    "lists.feather": lambda p: pa.feather.write_feather(table_of(lists()), p, chunksize=170),
    "plain.feather": lambda p: pa.feather.write_feather(
        table_of(fixed_lists()), p, chunksize=170, compression="uncompressed"
    ),
    "stream.arrow": lambda p: write_stream(table_of(lists(pa.large_list)), p),
    "zstd.arrow": lambda p: write_stream(table_of(fixed_lists()), p, compression="zstd"),
    "a.h5": write_hdf5,
    "chunked.hdf5": lambda p: write_hdf5(p, chunks=(64, 4), compression="gzip", shuffle=True),
    "v3.zarr": lambda p: write_zarr(p, 3, (100, 6), LABELS),
    "v2.zarr": lambda p: write_zarr(p, 2, (100, 4)),
    "shards.zarr": lambda p: write_zarr(p, 3, (50, 6), LABELS, shards=(200, 6)),
    "json.csv": lambda p: pd.DataFrame({"emb": words_of(ROWS), "label": NAMES}).to_csv(p),
    "lists.tsv": lambda p: pd.DataFrame({"emb": words_of(ROWS), "label": NAMES}).to_csv(
        p, sep="\t", index=False
    ),
    "wide.csv": lambda p: wide().to_pandas().astype({f"dim{i}": float for i in range(6)}).to_csv(p, index=False),
    "projector": write_projector,
}  # fmt: skip
"""Rows with a label each; every one has a note that says where the labels are."""

PLAIN = {
    "a.npy": lambda p: np.save(p, ROWS),
    "array.zarr": lambda p: pytest.importorskip("zarr").save_array(str(p), ROWS),
    "a.fvecs": lambda p: write_vecs(p, ROWS),
    "a.fbin": lambda p: p.write_bytes(np.array(ROWS.shape, "<u4").tobytes() + ROWS.tobytes()),
}


@pytest.mark.parametrize("name", [*WRITERS, *PLAIN])
def test_every_format_reads_as_the_same_rows(tmp_path, name):
    {**WRITERS, **PLAIN}[name](tmp_path / name)
    opened = open_embeddings(Spec(str(tmp_path / name)))
    array = opened.main.array
    assert array.shape == ROWS.shape
    np.testing.assert_array_equal(array.read(0, 1000), ROWS.astype(array.read(0, 1).dtype))
    rows = np.random.default_rng(0).integers(0, 1000, 60)
    np.testing.assert_array_equal(array.take(rows), array.read(0, 1000)[rows])
    np.testing.assert_array_equal(array.read(95, 305), array.read(0, 1000)[95:305])
    assert len(array.read(7, 7)) == 0
    array.give_back()
    elsewhere = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(elsewhere.read(990, 1000), array.read(990, 1000))
    if name in WRITERS:
        labels = encode(opened.labels)
        is_number = name in ("a.safetensors", "v3.zarr", "shards.zarr")
        wanted = LABELS.astype(str) if is_number else NAMES
        np.testing.assert_array_equal(np.array(labels.names)[labels.codes], wanted)


@pytest.mark.parametrize("place", ["hf-fixed", "hf-splits/train", "rows.fbin", "tensorboard"])
def test_files_of_other_libraries(place):
    path = DATA / place
    if place == "tensorboard":
        path = path / "00000" / "default"
    opened = open_embeddings(Spec(str(path)))
    np.testing.assert_array_equal(opened.main.array.read(0, 12).astype(np.float32), matrix())
    if opened.labels is not None:
        labels = encode(opened.labels)
        wanted = ["0", "1", "2"] if place == "hf-fixed" else list(WORDS)
        assert [labels.names[code] for code in labels.codes] == wanted * 4
    assert (opened.labels is None) == (place == "rows.fbin")


def test_bytes_of_other_libraries():
    opened = open_embeddings(Spec(str(DATA / "rows.u8bin")))
    np.testing.assert_array_equal(opened.main.array.read(0, 12), (matrix() + 8).round())


def test_bvecs(tmp_path):
    rows = np.random.default_rng(1).integers(0, 256, (9, 5), dtype=np.uint8)
    write_vecs(tmp_path / "e.bvecs", rows)
    opened = open_embeddings(Spec(str(tmp_path / "e.bvecs")))
    np.testing.assert_array_equal(opened.main.array.read(0, 9), rows)


def test_bfloat16_tensors_of_safetensors(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    rows = torch.from_numpy(ROWS).bfloat16()
    save_file({"embeddings": rows}, tmp_path / "e.safetensors")
    array = open_embeddings(Spec(str(tmp_path / "e.safetensors"))).main.array
    assert array.dtype_name == "bfloat16"
    np.testing.assert_array_equal(array.read(0, 1000), rows.float().numpy())


def test_every_format_has_a_test_here():
    tested = {Path(name).suffix for name in [*WRITERS, *PLAIN, "a.bvecs", "a.u8bin"]}
    elsewhere = {".pt", ".pth", ".txt", ".i8bin"}  # test_data.py; .i8bin shares all with .u8bin
    elsewhere |= {
        ".faiss",
        ".index",
        ".h5ad",
        ".mat",
        ".ckpt",
        ".pkl",
        ".pickle",
        ".joblib",
    }  # test_other_formats.py
    text = {".csv", ".tsv", ".txt", ".vec", ".json", ".jsonl", ".ndjson"}
    elsewhere |= text | {f"{suffix}.gz" for suffix in text} | {".bin"}  # test_text_formats.py
    suffixes = {suffix for known in FORMATS for suffix in known.suffixes}
    assert suffixes == (tested | elsewhere) - {""}


# ---- which array


def test_files_of_ann_benchmarks(tmp_path):
    with h5py.File(tmp_path / "glove.hdf5", "w") as file:
        file["train"], file["test"] = ROWS, ROWS[:10]
        file["neighbors"], file["distances"] = np.zeros((10, 3), int), np.zeros((10, 3))
    opened = open_embeddings(Spec(str(tmp_path / "glove.hdf5")))
    assert opened.main.array.shape == ROWS.shape
    assert "embeddings are its array 'train'" in opened.notes[0]


def test_labels_and_views_lie_in_the_group_of_the_embeddings(tmp_path):
    with h5py.File(tmp_path / "e.h5", "w") as file:
        for group, rows in (("train", ROWS), ("test", ROWS[:30])):
            for name in ("embeddings", "view1", "view2"):
                file[f"{group}/{name}"] = rows
            file[f"{group}/labels"] = np.full(len(rows), len(rows))
    opened = open_embeddings(Spec(str(tmp_path / "e.h5"), "test/embeddings"))
    assert encode(opened.labels).names == ("30",)
    assert [view.key for view in opened.views] == ["test/view1", "test/view2"]


def test_three_axes_of_nested_lists(tmp_path):
    views = np.stack([ROWS[:200], -ROWS[:200]], axis=1)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(views.ravel()), 6)
    column = pa.FixedSizeListArray.from_arrays(inner, 2)
    pa.parquet.write_table(pa.table({"z": column}), tmp_path / "e.parquet", row_group_size=90)
    first, second = open_embeddings(Spec(str(tmp_path / "e.parquet"))).views
    np.testing.assert_array_equal(first.array.read(80, 100), ROWS[80:100])
    np.testing.assert_array_equal(second.array.take(np.array([199, 0])), -ROWS[[199, 0]])


def test_a_column_of_several(tmp_path):
    pa.parquet.write_table(
        pa.table({"a": fixed_lists(), "b": fixed_lists(-ROWS)}), tmp_path / "e.parquet"
    )
    with pytest.raises(DataError, match=r"choose one as .*e.parquet::KEY from 'a' \(1000, 6\)"):
        open_embeddings(Spec(str(tmp_path / "e.parquet")))
    opened = open_embeddings(Spec(str(tmp_path / "e.parquet"), "b"))
    np.testing.assert_array_equal(opened.main.array.read(0, 5), -ROWS[:5])


def test_selected_rows_of_lists_are_those(tmp_path):
    whole = table_of(lists())
    with pa.ipc.new_file(str(tmp_path / "e.arrow"), whole.schema) as writer:
        writer.write_table(whole.slice(17, 300))
    array = open_embeddings(Spec(str(tmp_path / "e.arrow"))).main.array
    np.testing.assert_array_equal(array.read(0, 300), ROWS[17:317])


def test_extension_types_are_their_storage(tmp_path):
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS)
    table = pa.table({"z": tensors})
    with pa.ipc.new_file(str(tmp_path / "e.arrow"), table.schema) as writer:
        writer.write_table(table)
    array = open_embeddings(Spec(str(tmp_path / "e.arrow"))).main.array
    np.testing.assert_array_equal(array.read(0, 1000), ROWS)


def written(folder, column, group):
    """A Parquet file of a column; an Arrow file where an older Arrow can write no such Parquet."""
    table = pa.table({"z": column})
    try:
        pa.parquet.write_table(table, folder / "e.parquet", row_group_size=group)
    except pa.ArrowNotImplementedError:
        assert int(pa.__version__.partition(".")[0]) < 25
        with pa.ipc.new_file(str(folder / "e.arrow"), table.schema) as writer:
            writer.write_table(table, max_chunksize=group)
        return folder / "e.arrow"
    return folder / "e.parquet"


@pytest.mark.parametrize("size", [None, 6])
def test_null_lists_are_rows_of_nan(tmp_path, size):
    values = [row.tolist() for row in ROWS[:50]]
    values[3] = values[20] = None
    kind = pa.list_(pa.float32(), size) if size else pa.list_(pa.float32())
    path = written(tmp_path, pa.array(values, kind), 10)
    read = open_embeddings(Spec(str(path))).main.array.read(0, 50)
    assert np.flatnonzero(np.isnan(read).any(axis=1)).tolist() == [3, 20]
    np.testing.assert_array_equal(np.delete(read, [3, 20], 0), np.delete(ROWS[:50], [3, 20], 0))


@pytest.mark.parametrize("is_old", [False, True])
def test_missing_lists_of_a_fixed_size_in_a_file_of_a_new_arrow(monkeypatch, is_old):
    """Arrow before 26 itself refuses them: Expected all lists to be of size=4."""
    if is_old:
        monkeypatch.setattr(arrow, "refuses_missing_lists", lambda: True)
    rows = matrix()
    views = rows.reshape(12, 2, 2).copy()
    rows[[3, 7]] = views[0] = views[5, 1] = np.nan
    for name, expected in (("rows", rows), ("views", views), ("mixed", views)):
        spec = Spec(str(DATA / "missing-lists.parquet"), name)
        found = opening.open_array(spec, ()).array.values()[:]
        np.testing.assert_array_equal(found, expected)


def test_missing_labels_are_unlabelled_rows(tmp_path):
    labels = pa.array([None if i % 5 == 0 else i % 3 for i in range(1000)])
    words = pa.array([None if i % 5 == 0 else WORDS[i % 3] for i in range(1000)])
    pa.parquet.write_table(
        pa.table({"z": fixed_lists(), "label": labels, "word": words}), tmp_path / "e.parquet"
    )
    opened = open_embeddings(Spec(str(tmp_path / "e.parquet")))
    assert encode(opened.labels).n_unlabelled == 200
    assert encode(opened.labels).names == ("0", "1", "2")
    words = opening.open_array(Spec(str(tmp_path / "e.parquet"), "word"), ())
    assert encode(words).n_unlabelled == 200
    assert encode(words).names == WORDS


# ---- lists in text


def test_arrays_as_numpy_prints_them(tmp_path):
    frame = pd.DataFrame({"emb": list(ROWS[:40]), "y": LABELS[:40]})
    frame.to_csv(tmp_path / "e.csv", index=False)
    read = open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.read(0, 40)
    np.testing.assert_allclose(read, ROWS[:40], rtol=1e-6)


def test_words_in_brackets_are_words(tmp_path):
    (tmp_path / "e.csv").write_text("token,a,b\n[CLS],1,2\n[SEP],3,4\ncat,5,6\n")
    read = open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.read(0, 3)
    np.testing.assert_array_equal(read, [[1, 2], [3, 4], [5, 6]])


def test_a_missing_list_is_a_row_of_nan(tmp_path):
    (tmp_path / "e.csv").write_text('emb,y\n"[1, 2]",0\n,1\n"[3, null]",0\n')
    read = open_embeddings(Spec(str(tmp_path / "e.csv"))).main.array.read(0, 3)
    np.testing.assert_array_equal(np.isnan(read), [[False, False], [True, True], [False, True]])


# ---- what it costs


def test_what_is_decoded_whole_says_what_it_costs(tmp_path, monkeypatch):
    for name in ("compressed.npz", "a.npz", "zstd.arrow", "stream.arrow", "plain.feather"):
        WRITERS[name](tmp_path / name)
    monkeypatch.setattr(opening, "_WORTH_A_NOTE", 1000)
    for name, is_whole in (
        ("compressed.npz", True), ("a.npz", False), ("zstd.arrow", True),
        ("stream.arrow", False), ("plain.feather", False),
    ):  # fmt: skip
        notes = " ".join(open_embeddings(Spec(str(tmp_path / name))).notes)
        assert ("0.023 MiB of it are decoded at once" in notes) == is_whole, name


def test_what_would_not_fit_is_not_decoded(tmp_path, monkeypatch):
    names = ("compressed.npz", "lists.parquet", "chunked.hdf5", "v3.zarr")
    for name in names:
        WRITERS[name](tmp_path / name)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    for name in names:
        with pytest.raises(DataError, match=r"0\.\d+ MiB when it is decoded.*are free") as caught:
            open_embeddings(Spec(str(tmp_path / name))).main.array.read(0, 2)
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["a.h5", "lists.parquet", "v3.zarr", "compressed.npz"])
def test_labels_that_would_not_fit_are_not_decoded(tmp_path, monkeypatch, name):
    WRITERS[name](tmp_path / name)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"when it is decoded.*are free") as caught:
        open_embeddings(Spec(str(tmp_path / name))).labels.array.values()
    assert name in str(caught.value)


def test_pieces_are_decoded_once_while_they_are_near(monkeypatch):
    decoded = []

    def decode(number):
        decoded.append(number)
        return np.full((10, 2), number)

    rows = joined.decoded([10] * 8, decode)
    assert rows[0:10][0, 0] == 0
    assert rows[5:15][-1, 0] == 1
    assert decoded == [0, 1]
    monkeypatch.setattr(joined, "_KEPT_BYTES", 3 * 160)
    np.testing.assert_array_equal(rows[np.arange(80)][::10, 0], np.arange(8))
    assert rows[40:41][0, 0] == 4
    assert decoded == [0, 1, 2, 3, 4, 5, 6, 7, 4], "only the last three are kept"


def test_small_chunks_are_read_together_and_never_cut():
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return np.arange(start, stop)[:, None]

    rows = joined.by_chunks(1000, 7, 1 << 16, read)
    np.testing.assert_array_equal(rows[:][:, 0], np.arange(1000))
    assert asked[0] == (0, 63), "nine chunks of seven rows come close to four MiB"
    assert asked[-1] == (945, 1000)


def test_parquet_is_decoded_by_row_groups(tmp_path, monkeypatch):
    WRITERS["lists.parquet"](tmp_path / "e.parquet")
    groups = []
    real = arrow._Parquet.batches

    def watched(self, piece, columns):
        groups.append((piece, tuple(columns)))
        return real(self, piece, columns)

    monkeypatch.setattr(arrow._Parquet, "batches", watched)
    array = open_embeddings(Spec(str(tmp_path / "e.parquet"))).main.array
    groups.clear()
    array.read(610, 640)
    assert groups == [(2, ("emb",))]


# ---- libraries that are not there


@pytest.mark.parametrize(
    ("name", "library"),
    [("lists.parquet", "pyarrow"), ("a.h5", "h5py"), ("v3.zarr", "zarr")],
)
def test_a_reader_that_is_missing_names_its_install_command(tmp_path, monkeypatch, name, library):
    WRITERS[name](tmp_path / name)

    def missing(module, *rest):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr("cl_analyze.data.formats.extra.importlib.import_module", missing)
    with pytest.raises(
        DependencyError, match=r"needs .*: pip install 'h5py>=3.*' 'pyarrow>="
    ) as caught:
        open_embeddings(Spec(str(tmp_path / name)))
    assert library in str(caught.value)
    assert name in str(caught.value)


def test_an_older_zarr_is_named_and_not_the_file_blamed(tmp_path, monkeypatch):
    (tmp_path / "e.zarr").mkdir()
    (tmp_path / "e.zarr" / ".zarray").write_text("{}")
    older = SimpleNamespace(__version__="2.18.3")
    monkeypatch.setitem(sys.modules, "zarr", older)
    monkeypatch.setattr("cl_analyze.data.formats.zarr.lacks_zarr_3", lambda: False)
    with pytest.raises(DependencyError) as caught:
        open_embeddings(Spec(str(tmp_path / "e.zarr")))
    assert str(caught.value).endswith(
        "e.zarr: reading this format needs zarr 3 or newer, found zarr 2.18.3: "
        f"{pip_install('formats')}"
    )


def test_a_python_that_is_too_old_for_zarr_is_named(tmp_path, monkeypatch):
    (tmp_path / "e.zarr").mkdir()
    (tmp_path / "e.zarr" / ".zarray").write_text("{}")
    monkeypatch.setattr("cl_analyze.data.formats.zarr.lacks_zarr_3", lambda: True)
    monkeypatch.setattr("cl_analyze.data.formats.zarr.platform.python_version", lambda: "3.10.13")
    with pytest.raises(DependencyError) as caught:
        open_embeddings(Spec(str(tmp_path / "e.zarr")))
    assert str(caught.value).endswith(
        "e.zarr: reading this format needs zarr 3 or newer, which needs Python 3.11 or newer; "
        "this is Python 3.10.13: use a newer Python, or save the array as .npy"
    )


# ---- layouts that a reader can get wrong


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint8(), pa.float64()])
@pytest.mark.parametrize("group", [5, 100_000])
def test_null_lists_that_fill_a_batch(tmp_path, kind, group):
    """Integers have no NaN: a batch of nulls alone must not become numbers."""
    values = [[1, 2, 3]] * 4096 + [None] * 5
    table = pa.table({"z": pa.array(values, pa.list_(kind))})
    pa.parquet.write_table(table, tmp_path / "e.parquet", row_group_size=group)
    array = open_embeddings(Spec(str(tmp_path / "e.parquet"))).main.array
    if pa.types.is_floating(kind):
        np.testing.assert_array_equal(np.isnan(array.read(4090, 4101)[:, 0]), np.arange(11) >= 6)
    else:
        with pytest.raises(DataError, match="row 4096 has missing values among integers"):
            array.read(4090, 4101)


@pytest.mark.parametrize("group", [5, 100])
def test_empty_lists_are_no_missing_ones(tmp_path, group):
    table = pa.table({"z": pa.array([[1.0, 2.0]] * 45 + [[]] * 5)})
    pa.parquet.write_table(table, tmp_path / "e.parquet", row_group_size=group)
    with pytest.raises(DataError, match="must all have one length: row 45"):
        open_embeddings(Spec(str(tmp_path / "e.parquet"))).main.array.read(0, 50)


def nested(draw, kind, depth, lengths):
    """A value of lists in lists, None where it is missing."""
    if depth == 0:
        return draw(st.one_of(kind, st.none()))
    if draw(st.integers(0, 9)) == 0:
        return None
    return [nested(draw, kind, depth - 1, lengths[1:]) for _ in range(lengths[0])]


@st.composite
def columns(draw):
    """A column of floats in lists, some of them missing, in pieces of a slice."""
    lengths = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(1, 2)))]
    numbers = st.integers(-9, 9).map(float)
    values = [nested(draw, numbers, len(lengths), lengths) for _ in range(draw(st.integers(1, 12)))]
    kind = pa.float64()
    for length in reversed(lengths):
        kind = pa.list_(kind, length) if draw(st.booleans()) else pa.list_(kind)
    return values, kind, draw(st.integers(0, 3)), draw(st.integers(1, 5))


def test_a_batch_whose_inner_lists_are_all_null_is_nan(tmp_path):
    """Null lists have no length; those of other batches do."""
    column = pa.array([[[1.0, 2.0]], [None], [[3.0, 4.0]], None], pa.list_(pa.list_(pa.float64())))
    pa.parquet.write_table(pa.table({"z": column}), tmp_path / "e.parquet", row_group_size=1)
    found = opening.open_array(Spec(str(tmp_path / "e.parquet"), "z"), ()).array.values()[:]
    expected = np.array([[[1.0, 2.0]], [[np.nan] * 2], [[3.0, 4.0]], [[np.nan] * 2]])
    np.testing.assert_array_equal(found, expected)


def unfolded(value, lengths):
    """A value as an array, NaN where it or a part of it is missing."""
    if not lengths:
        return np.nan if value is None else value
    if value is None:
        return np.full(lengths, np.nan)
    return np.array([unfolded(part, lengths[1:]) for part in value])


@given(columns())
def test_nested_lists_are_what_arrow_makes_of_them(tmp_path_factory, column):
    values, kind, start, group = column
    lengths, inner = [], kind
    array = pa.array(values, kind).slice(start)
    left = array.to_pylist()
    while pa.types.is_list(inner) or pa.types.is_fixed_size_list(inner):
        inner = inner.value_type
        flat = [v for v in left if v is not None]
        lengths.append(len(flat[0]) if flat else 0)
        left = [part for v in flat for part in v]
    if not left or all(part is None for part in left):
        return
    path = written(tmp_path_factory.mktemp("nested"), array, group)
    found = opening.open_array(Spec(str(path), "z"), ()).array.values()[:]
    expected = np.stack([unfolded(v, tuple(lengths)) for v in array.to_pylist()])
    np.testing.assert_array_equal(found, expected)


def test_large_integer_labels_beside_missing_ones_keep_their_digits(tmp_path):
    labels = pa.array([None, 2**60, 2**60 + 1, 2**60 + 1])
    table = pa.table({"z": fixed_lists(ROWS[:4]), "label": labels})
    pa.parquet.write_table(table, tmp_path / "e.parquet")
    found = encode(open_embeddings(Spec(str(tmp_path / "e.parquet"))).labels)
    assert found.names == (str(2**60), str(2**60 + 1))
    assert found.codes.tolist() == [-1, 0, 1, 1]


@pytest.mark.parametrize(
    "layout", ["precision", "offset", "big-endian", "compact", "user block", "scale"]
)
def test_layouts_of_hdf5(tmp_path, layout):
    """As h5py reads them: types of fewer bits look like NumPy's and are not."""
    path = tmp_path / "e.h5"
    rows = np.arange(-8, 12, dtype=np.int16).reshape(5, 4)
    with h5py.File(path, "w", userblock_size=512 if layout == "user block" else 0) as file:
        if layout in ("precision", "offset"):
            kind = h5py.h5t.STD_I16LE.copy()
            kind.set_precision(12)
            kind.set_offset(4 if layout == "offset" else 0)
            kind.set_pad(h5py.h5t.PAD_ZERO, h5py.h5t.PAD_ZERO)
            space = h5py.h5s.create_simple(rows.shape)
            h5py.h5d.create(file.id, b"z", kind, space)
            file["z"][...] = rows
        elif layout == "compact":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(rows.shape)
            h5py.h5d.create(file.id, b"z", h5py.h5t.NATIVE_INT16, space, properties)
            file["z"][...] = rows
        elif layout == "scale":
            file.create_dataset("z", data=rows, scaleoffset=0, chunks=(2, 3))
        else:
            file["z"] = rows.astype(">i2") if layout == "big-endian" else rows
    with h5py.File(path) as file:
        expected = file["z"][:]
    np.testing.assert_array_equal(expected, rows)
    array = open_embeddings(Spec(str(path))).main.array
    np.testing.assert_array_equal(array.read(0, 5), rows)
    np.testing.assert_array_equal(array.take(np.array([4, 0])), rows[[4, 0]])


def test_a_file_that_is_rewritten_while_it_is_mapped(tmp_path):
    """Reading a map of what is not there any more would end the process."""
    WRITERS["plain.feather"](tmp_path / "e.feather")
    array = open_embeddings(Spec(str(tmp_path / "e.feather"))).main.array
    array.read(0, 5)
    (tmp_path / "e.feather").write_bytes(b"ARROW1")
    with pytest.raises(DataError, match="has changed since it was opened"):
        array.read(500, 505)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts Linux's descriptors")
def test_many_shards_do_not_stay_open(tmp_path):
    (tmp_path / "shards").mkdir()
    for number in range(60):
        table = pa.table({"z": fixed_lists(ROWS[number * 4 : number * 4 + 4])})
        pa.parquet.write_table(table, tmp_path / "shards" / f"e-{number}.parquet")
    array = open_embeddings(Spec(str(tmp_path / "shards"))).main.array
    before = len(list(Path("/proc/self/fd").iterdir()))
    np.testing.assert_array_equal(array.read(0, 240), ROWS[:240])
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 20


def test_stored_members_are_held_against_their_checksum(tmp_path):
    np.savez(tmp_path / "e.npz", embeddings=np.tile(ROWS, (40, 1)))
    content = bytearray((tmp_path / "e.npz").read_bytes())
    content[len(content) // 2] ^= 0x10
    (tmp_path / "e.npz").write_bytes(content)
    with pytest.raises(DataError, match="CRC-32"):
        open_embeddings(Spec(str(tmp_path / "e.npz"))).main.array.read(0, 2)


def test_chunks_of_zarr_that_are_missing_are_noted(tmp_path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "e.zarr"), data=ROWS, chunks=(100, 3), zarr_format=2)
    (tmp_path / "e.zarr" / "3.1").unlink()
    notes = " ".join(open_embeddings(Spec(str(tmp_path / "e.zarr"))).notes)
    assert (
        "1 of the 20 chunks of 'the array' are not stored; they count as the fill value 0" in notes
    )


def test_wide_chunks_of_zarr_count_as_what_they_decode_to(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "e.zarr"), data=ROWS[:50], chunks=(1, 4_000_000))
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    with pytest.raises(DataError, match=r"a chunk of .* takes 15 MiB"):
        open_embeddings(Spec(str(tmp_path / "e.zarr"))).main.array.read(0, 2)


def test_the_order_of_a_saved_dataset_is_that_of_its_list(tmp_path):
    for name, part in (("b", ROWS[:5]), ("a", ROWS[5:12])):
        write_stream(pa.table({"z": fixed_lists(part)}), tmp_path / f"{name}.arrow")
    (tmp_path / "dataset_info.json").write_text("{}")
    files = [{"filename": f"{name}.arrow"} for name in "ba"]
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": files}))
    array = open_embeddings(Spec(str(tmp_path))).main.array
    np.testing.assert_array_equal(array.read(0, 12), ROWS[:12])


def test_slashes_in_other_formats_are_no_groups(tmp_path):
    np.savez(tmp_path / "e.npz", **{"text/emb": ROWS, "labels": LABELS})
    assert open_embeddings(Spec(str(tmp_path / "e.npz"))).labels is not None
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["train/embeddings"], file["labels"] = ROWS, LABELS
    opened = open_embeddings(Spec(str(tmp_path / "e.h5")))
    assert opened.labels.key == "labels", "what is not in the group may be at the root"


# ---- which columns, which groups


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_classes_and_scores_are_no_dimensions(tmp_path, suffix):
    frame = wide().to_pandas().rename(columns={"id": "sample_id"})
    frame = frame.assign(class_id=LABELS, score=ROWS[:, 0])
    path = tmp_path / f"e{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    opened = open_embeddings(Spec(str(path)))
    assert opened.main.array.shape == (1000, 6)
    for name in ("sample_id", "class_id", "score", "label"):
        assert repr(name) in " ".join(opened.notes)


def test_an_index_of_pandas_is_no_dimension(tmp_path):
    frame = wide().to_pandas().drop(columns=["id"]).reset_index(names="Unnamed: 0")
    frame.to_parquet(tmp_path / "e.parquet")
    assert open_embeddings(Spec(str(tmp_path / "e.parquet"))).main.array.shape == (1000, 6)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_coordinates_x_y_z(tmp_path, suffix):
    frame = pd.DataFrame({name: ROWS[:, i] for i, name in enumerate("xyz")})
    path = tmp_path / f"e{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    opened = open_embeddings(Spec(str(path)))
    assert opened.main.array.shape == (1000, 3)
    assert opened.labels is None


def test_a_column_id_matches_rows_where_its_values_differ(tmp_path):
    for name, ids in (("e", np.arange(1000)), ("twice", LABELS)):
        table = pa.table({"id": ids, "z": fixed_lists()})
        pa.parquet.write_table(table, tmp_path / f"{name}.parquet")
    opened = open_embeddings(Spec(str(tmp_path / "e.parquet")), with_ids=True)
    assert opened.ids.key == "id"
    opened = open_embeddings(Spec(str(tmp_path / "twice.parquet")), with_ids=True)
    assert opened.ids is None
    assert "values occur twice" in opened.notes[-1]


@pytest.mark.parametrize("key", ["run", "/run/embeddings", "run/embeddings"])
def test_groups_and_paths_of_hdf5(tmp_path, key):
    write_hdf5(tmp_path / "e.h5")
    opened = open_embeddings(Spec(str(tmp_path / "e.h5"), key))
    assert opened.main.key == "run/embeddings"
    assert opened.labels.key == "run/labels"


def test_dictionaries_in_dictionaries_of_pt_files(tmp_path):
    torch = pytest.importorskip("torch")
    z = torch.from_numpy(ROWS)
    content = {"epoch": 3, "state": {"embeddings": z, "labels": torch.from_numpy(LABELS)}}
    torch.save(content, tmp_path / "e.pt")
    opened = open_embeddings(Spec(str(tmp_path / "e.pt")))
    assert opened.main.key == "state/embeddings"
    assert opened.labels.key == "state/labels"
    torch.save({"batches": [z, z]}, tmp_path / "list.pt")
    with pytest.raises(DataError, match=r"save torch\.cat of batches"):
        open_embeddings(Spec(str(tmp_path / "list.pt")))


def test_a_line_of_metadata_may_be_a_quotation_mark(tmp_path):
    folder = tmp_path / "projector"
    folder.mkdir()
    np.savetxt(folder / "tensors.tsv", ROWS[:4], delimiter="\t")
    (folder / "metadata.tsv").write_text('a\n"\nb\nc\n')
    assert encode(open_embeddings(Spec(str(folder))).labels).names == ('"', "a", "b", "c")
    (folder / "metadata.tsv").write_text("a\nb\n")
    opened = open_embeddings(Spec(str(folder / "tensors.tsv")))
    assert opened.labels is None
    assert "metadata.tsv beside it is not used: it has 2 rows" in opened.notes[0]


@pytest.mark.parametrize("name", ["projector", "v3.zarr", "json.csv", "wide.parquet"])
def test_a_report_of_a_directory_or_a_table(tmp_path, name):
    WRITERS[name](tmp_path / name)
    report = cla.analyze(str(tmp_path / name), metrics=("uniformity", "tolerance"))
    expected = cla.analyze(ROWS, NAMES, metrics=("uniformity", "tolerance"))
    for found, wanted in zip(report.records, expected.records, strict=True):
        assert found.value == pytest.approx(wanted.value, abs=1e-6), found
    assert len(report.document.inputs[0]["sha256"]) == 64


def test_a_heap_of_strings_without_end(monkeypatch):
    """HDF5 follows a damaged chain for ever; fuzzing found it."""
    monkeypatch.setattr(hdf5, "_SECONDS", 2)
    opened = open_embeddings(Spec(str(DATA / "endless-heap.h5")))
    with pytest.raises(DataError, match="was not read within 2 seconds: is it damaged"):
        opened.labels.array.values()
