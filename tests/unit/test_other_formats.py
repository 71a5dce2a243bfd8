"""Files of other programs: FAISS, AnnData, MATLAB, pickles, checkpoints, and matrices that lie.

Each is written by the library whose format it is, here or in tests/data.
"""

from __future__ import annotations

import argparse
import pickle
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cl_analyze as cla
from cl_analyze.data.identifiers import identify
from cl_analyze.data.inspection import inspect_file
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, from_memory, open_array, open_container, open_embeddings
from cl_analyze.errors import DataError, DependencyError
from tests.data.make import WORDS, matrix

DATA = Path(__file__).resolve().parents[1] / "data"
ROWS = np.random.default_rng(3).standard_normal((40, 6)).astype(np.float32)


def opened(path):
    return open_embeddings(Spec.parse(str(path)), with_ids=True)


def read(path):
    array = opened(path).main.array
    return array.read(0, array.n_rows)


# ---- FAISS


def index_of(kind, rows=ROWS, ids=None):
    faiss = pytest.importorskip("faiss")
    index = faiss.index_factory(rows.shape[1], kind)
    index.train(rows)
    index.add(rows) if ids is None else index.add_with_ids(rows, ids)
    return index


def written(path, index):
    faiss = pytest.importorskip("faiss")
    is_binary = isinstance(index, faiss.IndexBinary)
    write = faiss.write_index_binary if is_binary else faiss.write_index
    write(index, str(path))
    return path


@pytest.mark.parametrize("metric", ["METRIC_INNER_PRODUCT", "METRIC_L2", "METRIC_L1", "METRIC_Lp"])
@pytest.mark.parametrize("suffix", [".faiss", ".index"])
def test_a_flat_index_is_read_by_rows_and_without_faiss(tmp_path, monkeypatch, metric, suffix):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexFlat(6, getattr(faiss, metric))
    index.add(ROWS)
    path = written(tmp_path / f"vectors{suffix}", index)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = opened(path)
    assert np.array_equal(found.main.array.read(7, 12), ROWS[7:12])
    assert np.array_equal(found.main.array.take(np.array([39, 0])), ROWS[[39, 0]])
    assert found.main.array.at_once == 0
    assert found.ids is None


@pytest.mark.parametrize("kind", ["IDMap,Flat", "IDMap2,Flat", "IDMap,SQfp16", "IVF2,Flat"])
def test_ids_of_an_index_belong_to_their_vectors(tmp_path, kind):
    ids = np.arange(40)[::-1] * 3 + 2
    found = opened(written(tmp_path / "e.faiss", index_of(kind, ids=ids)))
    assert found.ids is not None
    keys = found.ids.array.values()[:]
    assert sorted(keys) == sorted(ids)
    row_of = {key: row for row, key in enumerate(ids.tolist())}
    expected = ROWS[[row_of[key] for key in keys.tolist()]]
    np.testing.assert_allclose(found.main.array.read(0, 40), expected, atol=2e-3)
    assert len(identify(found.ids)) == 40


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("IVF2,Flat", ["order of the index's ids"]),
        ("HNSW4,Flat", []),
        ("IVF2,SQfp16", ["reconstructs", "order of the index's ids"]),
        ("SQfp16", ["reconstructs"]),
    ],
)
def test_an_index_that_is_not_flat_reconstructs_its_vectors(tmp_path, kind, told):
    found = opened(written(tmp_path / "e.faiss", index_of(kind)))
    read_rows = found.main.array.read(0, 40)
    if "SQ" in kind:
        np.testing.assert_allclose(read_rows, ROWS, atol=3e-3)
    else:
        assert np.array_equal(read_rows, ROWS)
    assert len(found.notes) == len(told)
    assert all(words in note for words, note in zip(told, found.notes, strict=True))
    assert found.main.array.at_once == ROWS.nbytes


def test_binary_indexes(tmp_path):
    faiss = pytest.importorskip("faiss")
    bits = np.packbits(ROWS[:, :6] > 0, axis=1).repeat(2, axis=1)
    flat, ids = faiss.IndexBinaryFlat(16), np.arange(40) + 5
    flat.add(bits)
    assert np.array_equal(read(written(tmp_path / "b.index", flat)), bits)
    mapped = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(16))
    mapped.add_with_ids(bits, ids)
    found = opened(written(tmp_path / "m.index", mapped))
    assert np.array_equal(found.main.array.read(0, 40), bits)
    assert np.array_equal(found.ids.array.values()[:], ids)
    graph = faiss.IndexBinaryHNSW(16)
    graph.add(bits)
    with pytest.raises(DataError, match="binary indexes are read where they are flat"):
        opened(written(tmp_path / "h.index", graph))


def test_an_index_that_reconstructs_nothing_is_an_error(tmp_path):
    """faiss ends its process over such an index; ours goes on."""
    path = written(tmp_path / "e.faiss", index_of("IVF2,PQ3x4fs"))
    with pytest.raises(DataError, match=r"Save the vectors themselves|cannot reconstruct"):
        read(path)


def test_an_id_of_two_vectors_is_an_error(tmp_path):
    path = written(tmp_path / "e.faiss", index_of("IVF2,Flat", ids=np.arange(40) // 2))
    with pytest.raises(DataError, match="an id stands for several vectors"):
        read(path)


def test_faiss_is_asked_for_where_it_is_needed(tmp_path, monkeypatch):
    path = written(tmp_path / "e.faiss", index_of("HNSW4,Flat"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"pip install 'faiss-cpu>="):
        opened(path)


def flat_bytes(tmp_path):
    return bytearray(written(tmp_path / "whole.faiss", index_of("Flat")).read_bytes())


def test_damaged_indexes(tmp_path):
    flat, path = flat_bytes(tmp_path), tmp_path / "e.faiss"
    huge = flat.copy()
    huge[8:16], huge[37:45] = struct.pack("<q", 1 << 40), struct.pack("<q", 6 << 40)
    other = flat.copy()
    other[8:16] = struct.pack("<q", 39)
    mapped = written(tmp_path / "m.faiss", index_of("IDMap,Flat", ids=np.arange(40))).read_bytes()
    for content, words in (
        (flat[:-5], "truncated"),
        (flat[:20], "inside of its header"),
        (huge, "truncated: the header promises"),
        (other, "39 vectors of 6 values, and 240 values"),
        (mapped[:-1], "ids"),
        (b"I-am no index" * 5, "does not begin as a FAISS index"),
        (b"not an index at all", "the content looks like text"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read(path)


@pytest.mark.parametrize("where", ["truncated", "size"])
def test_a_damaged_index_of_another_kind(tmp_path, where):
    """What faiss makes of it stays in its process, whose memory has a limit."""
    path = written(tmp_path / "e.faiss", index_of("HNSW4,Flat"))
    content = bytearray(path.read_bytes())
    if where == "truncated":
        del content[-100:]
    else:
        at = content.index(b"IxF2") + 37
        content[at : at + 8] = struct.pack("<q", 1 << 38)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"e\.faiss: "):
        read(path)
    path.write_bytes(content[:4] + struct.pack("<iq", 6, 1 << 50) + content[16:])
    with pytest.raises(DataError, match="are free"):
        read(path)


# ---- AnnData


def classes(labels):
    found = encode(labels)
    return [found.names[code] if code >= 0 else None for code in found.codes]


def of_key(name, key):
    return open_array(Spec(str(DATA / name), key), ())


def test_the_only_dense_matrix_of_an_anndata_file():
    found = opened(DATA / "sparse.h5ad")
    assert np.array_equal(found.main.array.read(0, 12), matrix())
    assert found.labels is None
    assert any("--labels" in note and "obs/cell_type" in note for note in found.notes)
    assert np.array_equal(found.ids.array.values()[:], [f"cell{i}" for i in range(12)])
    inspection = inspect_file(str(DATA / "sparse.h5ad"))
    assert not inspection.problems
    skipped = {entry["key"]: entry["skipped"] for entry in inspection.arrays}
    assert "python -c" in skipped["X"]
    assert "toarray()" in skipped["X"]


def test_labels_and_ids_of_an_anndata_file():
    path = DATA / "dense.h5ad"
    with pytest.raises(DataError, match=r"several arrays.*'X' .*'obsm/X_pca'.*'obsm/X_umap'"):
        opened(path)
    found = opened(f"{path}::obsm/X_pca")
    assert np.array_equal(found.main.array.read(3, 12), matrix()[3:])
    assert classes(found.labels) == [None, *(WORDS[i % 3] for i in range(1, 12))]
    assert len(identify(found.ids)) == 12
    assert np.array_equal(read(f"{path}::X"), matrix() * 2)


def test_columns_of_an_anndata_file():
    numbers = [str(i) for i in range(12)]
    assert classes(of_key("sparse.h5ad", "obs/cell_type"))[:3] == [None, "dog", "emu"]
    assert classes(of_key("sparse.h5ad", "obs/batch")) == ["0", "1"] * 6
    assert classes(of_key("sparse.h5ad", "obs/count")) == [None, *numbers[1:]]
    assert classes(of_key("sparse.h5ad", "obs/is_doublet")) == ["False"] * 6 + ["True"] * 6
    with pytest.raises(DataError, match="bin continuous values"):
        classes(of_key("sparse.h5ad", "obs/share"))


@pytest.mark.parametrize(
    ("columns", "proposed"),
    [
        (["batch", "cell_type"], "cell_type"),
        (["batch", "leiden", "louvain", "CellType"], "CellType"),
        (["batch", "cell_type_original", "cell_types", "label_fine"], "cell_types"),
        (["batch", "leiden", "class_fine", "cell_labels"], "cell_labels"),
        (["batch", "louvain_R1", "leiden_res1", "subclass"], "subclass"),
        (["batch", "louvain", "leiden"], "leiden"),
        (["batch", "louvain"], "louvain"),
        (["donor", "batch"], "batch"),
    ],
)
def test_the_note_on_an_anndata_file_proposes_the_likeliest_column(tmp_path, columns, proposed):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "e.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = ROWS
        for column in columns:
            file[f"obs/{column}"] = np.arange(40) % 4
    (note,) = (note for note in opened(path).notes if "no labels are taken" in note)
    assert note.endswith(f"pass it: --labels {path}::obs/{proposed}")


def test_categories_as_older_anndata_wrote_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = ROWS
        file["obs/label"] = np.tile(np.array([0, 1, -1, 1], np.int8), 10)
        file["obs/__categories/label"] = np.array([b"B cell", b"T cell"])
        file["obs/barcode"] = np.arange(40).astype("S2")
        file["obs"].attrs["_index"] = "barcode"  # which pandas calls the index's name
    found = opened(path)
    assert classes(found.labels)[:4] == ["B cell", "T cell", None, "T cell"]
    assert found.ids.key == "obs/barcode"


def test_an_attribute_without_end_is_an_error(monkeypatch):
    """HDF5 follows the circle for ever; the process that reads it is stopped."""
    pytest.importorskip("h5py")
    monkeypatch.setattr("cl_analyze.data.formats.hdf5._SECONDS", 1)
    with pytest.raises(DataError, match="'obs' was not read within 1 seconds"):
        opened(DATA / "endless-attribute.h5ad")


def test_bad_anndata_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "e.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = ROWS
    with pytest.raises(DataError, match="no group 'obs'"):
        opened(path)
    with h5py.File(path, "a") as file:
        file["obs/label/codes"] = np.full(40, 2, np.int8)
        file["obs/label/categories"] = np.array([b"a", b"b"])
    with pytest.raises(DataError, match="its codes must be -1 to 1"):
        classes(opened(path).labels)
    with h5py.File(path, "a") as file:
        del file["X"]
        for part in ("data", "indices", "indptr"):
            file[f"X/{part}"] = np.arange(4)
    with pytest.raises(DataError, match=r"e.h5ad: X is a sparse matrix.*python -c"):
        opened(path)
    path.write_bytes(b"cell,gene\n1,2\n")
    with pytest.raises(DataError, match="the content looks like text"):
        opened(path)


# ---- MATLAB


@pytest.mark.parametrize("form", ["4", "5", "7"])
def test_matrices_and_labels_of_matlab(tmp_path, form):
    from scipy.io import savemat

    options = {"format": "4"} if form == "4" else {"do_compression": form == "7"}
    path, labels = tmp_path / "e.mat", np.arange(40) % 3
    savemat(path, {"z": ROWS, "y": labels.astype(float)}, **options)  # y is (1, 40)
    found = opened(path)
    assert np.array_equal(found.main.array.read(5, 40), ROWS[5:])
    assert found.labels.array.shape == (40,)
    assert classes(found.labels) == [str(i) for i in labels]


def test_variables_of_every_kind(tmp_path):
    from scipy.io import savemat
    from scipy.sparse import csr_matrix

    path = tmp_path / "e.mat"
    words = [WORDS[i % 3] for i in range(40)]
    cells = np.array([[word] for word in words], dtype=object)
    boxes = np.empty((40, 1), dtype=object)
    boxes[:, 0] = [np.eye(2)] * 40
    cells[3, 0] = np.zeros((0, 0))
    savemat(
        path,
        {
            "embeddings": ROWS,
            "labels": cells,
            "padded": np.array([*words[:39], "elephant"]),
            "is_test": ROWS[:, 0] > 0,
            "bytes": (ROWS * 9).astype(np.int8),
            "waves": ROWS + 1j,
            "nested": boxes,
            "sparse": csr_matrix(ROWS),
            "struct": {"z": ROWS},
        },
    )
    assert classes(opened(path).labels) == [*words[:3], None, *words[4:]]
    found = open_container(str(path))
    assert found.arrays["padded"].values().tolist() == [*words[:39], "elephant"]
    assert np.array_equal(found.arrays["is_test"].values(), ROWS[:, 0] > 0)
    assert np.array_equal(found.arrays["bytes"].values(), (ROWS * 9).astype(np.int8))
    assert "full(z)" in found.skipped["sparse"]
    assert "-struct" in found.skipped["struct"]
    for key, words_of_error in (("waves", "must be real"), ("nested", "cell 1 holds")):
        with pytest.raises(DataError, match=words_of_error):
            found.arrays[key].values()


def test_matlab_73_has_its_axes_in_the_opposite_order(tmp_path):
    h5py = pytest.importorskip("h5py")
    found = opened(DATA / "matlab73.mat")
    assert np.array_equal(found.main.array.read(0, 12), matrix())
    assert np.array_equal(found.main.array.take(np.array([7, 1])), matrix()[[7, 1]])
    assert classes(found.labels) == [WORDS[i % 3] for i in range(12)]
    assert classes(of_key("matlab73.mat", "y")) == ["0", "1", "2"] * 4
    assert classes(of_key("matlab73.mat", "is_test")) == ["False"] * 6 + ["True"] * 6
    for number, options in enumerate(({}, {"chunks": (2, 7), "compression": "gzip"})):
        path = tmp_path / f"{number}.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            file.create_dataset("z", data=ROWS.T, **options)
            file.create_dataset("views", data=np.arange(24.0).reshape(4, 3, 2))
        assert np.array_equal(read(f"{path}::z"), ROWS)
        array = open_array(Spec(str(path), "views"), ()).array
        assert np.array_equal(array.values()[1:2], np.arange(24.0).reshape(4, 3, 2).T[1:2])


def test_bad_matlab_files(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "e.mat"
    savemat(path, {"z": ROWS})
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match="is it damaged"):
        read(path)
    path.write_bytes(b"z = [1 2 3; 4 5 6];\n" * 20)
    with pytest.raises(DataError, match="does not begin as a MATLAB file"):
        read(path)
    savemat(path, {"note": {"a": 1.0}})
    with pytest.raises(DataError, match="no readable variable"):
        read(path)


# ---- pickles and checkpoints


def remedies(message):
    """The commands in a message, as a shell would run them."""
    return [
        shlex.split(message[at.start() :], posix=True)[:3]
        for at in re.finditer(r"python -c ", message)
    ]


def run_in(folder, command):
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], cwd=folder, check=True)


@pytest.mark.parametrize("name", ["e.pkl", "its own.pickle", "e.joblib", "it's $HOME.pkl"])
def test_a_pickle_is_refused_with_the_line_that_converts_it(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".joblib":
        pytest.importorskip("joblib").dump(ROWS, path)
    elif "own" in name:
        pd.DataFrame(ROWS).to_pickle(path)
    else:
        path.write_bytes(pickle.dumps(ROWS))
    with pytest.raises(DataError, match="pickles are not read") as caught:
        opened(path)
    message = str(caught.value)
    assert "files you trust" in message
    assert "looks like" not in message
    array, several = remedies(message)
    run_in(tmp_path, array)
    assert np.array_equal(read(path.with_suffix(".npy")), ROWS)
    if path.suffix == ".joblib":
        return
    path.write_bytes(pickle.dumps({"embeddings": ROWS, "labels": np.arange(40) % 2}))
    run_in(tmp_path, several)
    found = opened(path.with_suffix(".npz"))
    assert np.array_equal(found.main.array.read(0, 40), ROWS)
    assert classes(found.labels) == ["0", "1"] * 20


def test_arrays_of_objects_are_refused_with_the_line_that_converts_them(tmp_path):
    rows = np.empty(40, dtype=object)
    rows[:] = list(ROWS)
    np.save(tmp_path / "e.npy", rows, allow_pickle=True)
    with pytest.raises(DataError, match="Python objects") as caught:
        opened(tmp_path / "e.npy")
    run_in(tmp_path, remedies(str(caught.value))[0])
    assert np.array_equal(read(tmp_path / "e-plain.npy"), ROWS)


def checkpoint(path, **others):
    """The entries of a checkpoint as Lightning's Trainer.save_checkpoint writes them."""
    torch = pytest.importorskip("torch")
    state = {"layer.weight": torch.eye(6), "queue": torch.from_numpy(ROWS)}
    content = {
        "epoch": 1,
        "global_step": 40,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [],
        **others,
    }
    torch.save(content, path)
    return path


def test_tensors_of_a_checkpoint_are_read_by_key(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", hparams_name="kwargs", hyper_parameters={"width": 3})
    assert np.array_equal(read(f"{path}::state_dict/queue"), ROWS)
    with pytest.raises(DataError, match="state_dict/queue"):
        opened(path)


def test_a_checkpoint_with_objects_is_refused_with_the_line_that_converts_it(tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", hyper_parameters={"cfg": argparse.Namespace(a=1)})
    with pytest.raises(DataError, match="of plain tensors") as caught:
        opened(path)
    run_in(tmp_path, remedies(str(caught.value))[0])
    assert np.array_equal(read(f"{tmp_path / 'last-tensors.pt'}::queue"), ROWS)


# ---- matrices on their side


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("form", ["npy", "npz", "compressed", "h5", "memory"])
def test_transposed(tmp_path, order, form):
    saved = np.asarray(ROWS.T, order=order)
    labels = np.arange(40) % 3
    path = tmp_path / ("e.npz" if form == "compressed" else f"e.{form}")
    if form == "npy":
        np.save(path, saved)
    elif form == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file.create_dataset("z", data=saved, chunks=(2, 7))
    elif form != "memory":
        save = np.savez if form == "npz" else np.savez_compressed
        save(path, embeddings=saved, labels=labels)
    wanted = cla.analyze(ROWS, labels, metrics=["uniformity", "tolerance"])
    given = saved if form == "memory" else path
    taken = None if form in ("npz", "compressed") else labels
    found = cla.analyze(given, taken, metrics=["uniformity", "tolerance"], transpose=True)
    assert [r.value for r in found.records] == [r.value for r in wanted.records]


def test_rows_of_a_transposed_file_are_read_in_blocks(tmp_path):
    for order in "CF":
        np.save(tmp_path / "e.npy", np.asarray(ROWS.T, order=order))
        spec = Spec(str(tmp_path / "e.npy"))
        array = open_embeddings(spec, transpose=True).main.array
        assert array.at_once == 0
        assert np.array_equal(array.read(11, 30), ROWS[11:30])
        assert np.array_equal(array.take(np.array([39, 2])), ROWS[[39, 2]])


def test_transposed_views_and_bits(tmp_path):
    path = tmp_path / "e.npz"
    np.savez(path, view1=ROWS.T, view2=-ROWS.T)
    first, second = open_embeddings(Spec(str(path)), transpose=True).views
    assert np.array_equal(first.array.read(0, 40), ROWS)
    assert np.array_equal(second.array.read(0, 40), -ROWS)
    bits = np.packbits(np.tile(ROWS, 4) > 0, axis=1)
    np.save(tmp_path / "b.npy", bits.T)
    spec = Spec(str(tmp_path / "b.npy"))
    array = open_embeddings(spec, packed_bits=True, transpose=True).main.array
    assert np.array_equal(array.read(0, 40) > 0, np.tile(ROWS, 4) > 0)


def test_a_matrix_on_its_side_is_told(tmp_path):
    path = tmp_path / "e.npy"
    np.save(path, ROWS.T)
    assert any("pass --transpose" in text for text in opened(path).warnings)
    with pytest.raises(DataError, match=r"has 40 rows.*has 6.*pass --transpose"):
        cla.analyze(path, np.arange(40) % 3, metrics="tolerance")
    with pytest.raises(DataError, match=r"found shape \(40, 2, 3\): leave the option out"):
        cla.analyze(ROWS.reshape(40, 2, 3), metrics="uniformity", transpose=True)


def test_the_cache_tells_a_transposed_matrix_from_one_that_is_not(tmp_path):
    path = tmp_path / "e.npy"
    np.save(path, ROWS[:6].T)  # six rows and six dimensions
    options = {"metrics": "uniformity", "cache": tmp_path / "cache"}

    def values(**others):
        report = cla.compare({"a": path, "b": ROWS[:6]}, **options, **others)
        return [record.value for record in report.records if record.source == "a"]

    plain, turned = values(), values(transpose=True)
    assert plain != turned
    assert (values(), values(transpose=True)) == (plain, turned)


# ---- labels of other kinds


@pytest.mark.parametrize("made", ["numpy", "pandas", "objects", "spans"])
def test_dates_are_no_classes_unless_they_are_words(made):
    days = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-01"])
    values = {
        "numpy": days.to_numpy(),
        "pandas": pd.Series(days),
        "objects": pd.Series(list(days), dtype=object),
        "spans": days - days[0],
    }[made]
    with pytest.raises(DataError, match=r"found dates or times.*y\.astype\(str\)"):
        encode(from_memory(values, "labels"))
    assert len(encode(from_memory(np.asarray(values).astype(str), "labels")).names) == 2
