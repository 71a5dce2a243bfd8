"""What a file holds instead of embeddings is said, with what to save."""

from __future__ import annotations

import sys
import warnings
import zipfile

import numpy as np
import pytest

from cl_analyze.data.opening import Spec, open_embeddings
from cl_analyze.data.ranged import FortranRows, RangedRows
from cl_analyze.errors import DataError

torch = pytest.importorskip("torch")

ROWS = np.random.default_rng(7).standard_normal((40, 6))
Z = torch.tensor(ROWS)


def batches():
    return [{"embeddings": Z[:20]}, {"embeddings": Z[20:]}]


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"embeddings": torch.quantize_per_tensor(Z.float(), 0.1, 0, torch.qint8)}


def model():
    return {
        f"layer{i}.{what}": torch.ones(3, i + 1) for i in range(15) for what in ("weight", "bias")
    }


TORCH = {
    "NumPy arrays": (lambda: {"embeddings": ROWS}, "it holds NumPy arrays.*torch.from_numpy"),
    "one NumPy array": (lambda: ROWS, "it holds NumPy arrays"),
    "quantised": (quantised, "save tensor.dequantize"),
    "sparse": (lambda: {"embeddings": Z.to_sparse()}, "save tensor.to_dense"),
    "float8": (lambda: {"embeddings": Z.to(torch.float8_e4m3fn)}, r"save tensor.float"),
    "batches": (batches, "a list of dictionaries.*join the batches"),
    "a tuple of batches": (lambda: tuple(batches()), "a tuple of dictionaries"),
    "a list of tensors": (lambda: [Z, Z], "a list of tensors: save torch.cat"),
    "vectors by name": (
        lambda: {f"img{i}.jpg": torch.randn(8) for i in range(500)},
        "500 vectors of 8, one a key: save torch.stack",
    ),
    "a model": (model, "looks like a model's weights"),
    "a layer": (lambda: torch.nn.Linear(4, 8).state_dict(), "looks like a model's weights"),
    "a checkpoint": (lambda: {"epoch": 3, "state_dict": model()}, "looks like a model's weights"),
    "keys that look alike": (lambda: {1: Z, "1": Z}, "two of its keys are written '1'"),
    "views of one dimension": (lambda: Z[:, :, None], r"save \(rows, dimensions\), z\[:, :, 0\]"),
    "a meta tensor": (lambda: {"embeddings": torch.empty(3, 2, device="meta")}, "without values"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", TORCH)
def test_torch_files_of_something_else(tmp_path, kind):
    make, message = TORCH[kind]
    torch.save(make(), tmp_path / "e.pt")
    with pytest.raises(DataError, match=message) as raised:
        open_embeddings(Spec(str(tmp_path / "e.pt")))
    assert len(str(raised.value)) < 1_500, "a few keys, not all of them"


def test_tensors_of_every_layout_are_the_rows(tmp_path):
    """By bytes where they lie as they are, decoded where they do not."""
    layouts = {
        "whole": Z, "part": Z[5:30], "columns": Z[:, 1:4], "transposed": Z.T.contiguous().T,
        "half": Z.half(), "bfloat16": Z.bfloat16(), "reversed": Z.flip(0), "int": (Z * 9).int(),
        "bool": Z > 0, "expanded": Z[:1].expand(7, 6),
    }  # fmt: skip
    torch.save(layouts, tmp_path / "e.pt")
    for key, tensor in layouts.items():
        array = open_embeddings(Spec(str(tmp_path / "e.pt"), key)).main.array
        if key in ("whole", "part", "half", "bfloat16", "int", "bool"):
            assert isinstance(array.values(), RangedRows)
        np.testing.assert_array_equal(array.read(0, len(tensor)), tensor.double().numpy())
        some = np.array([3, 0, 3])
        np.testing.assert_array_equal(array.take(some), tensor.double().numpy()[some])


def test_embeddings_among_other_entries_are_read(tmp_path):
    """What a file looks like decides only where it has no embeddings."""
    for others in (model(), {f"img{i}.jpg": torch.randn(8) for i in range(500)}):
        torch.save({**others, "embeddings": Z}, tmp_path / "e.pt")
        array = open_embeddings(Spec(str(tmp_path / "e.pt"))).main.array
        np.testing.assert_array_equal(array.read(0, 40), ROWS)
    torch.save({"token.weight": Z}, tmp_path / "table.pt")
    assert open_embeddings(Spec(str(tmp_path / "table.pt"))).main.array.shape == (40, 6)


def test_numbers_in_the_other_byte_order(tmp_path):
    torch.save({"embeddings": Z}, tmp_path / "own.pt")
    with zipfile.ZipFile(tmp_path / "own.pt") as own, zipfile.ZipFile(tmp_path / "e.pt", "w") as e:
        for entry in own.infolist():
            data = own.read(entry)
            if entry.filename.endswith("/byteorder"):
                data = b"big" if sys.byteorder == "little" else b"little"
            elif "/data/" in entry.filename:
                data = np.frombuffer(data, "f8").byteswap().tobytes()
            e.writestr(entry.filename, data)
    array = open_embeddings(Spec(str(tmp_path / "e.pt"))).main.array
    np.testing.assert_array_equal(array.read(0, 40), ROWS)
    np.testing.assert_array_equal(array.take(np.array([3, 0])), ROWS[[3, 0]])


def test_labels_in_a_dictionary_are_told(tmp_path):
    torch.save({"z": Z, "labels": {"fine": torch.arange(40)}}, tmp_path / "e.pt")
    opened = open_embeddings(Spec(str(tmp_path / "e.pt")))
    assert opened.labels is None
    assert any("::labels/fine" in text for text in opened.unused)


def test_labels_of_a_torch_file_are_read_by_bytes_too(tmp_path):
    torch.save({"embeddings": Z, "labels": torch.arange(40) % 3}, tmp_path / "e.pt")
    opened = open_embeddings(Spec(str(tmp_path / "e.pt")))
    np.testing.assert_array_equal(opened.labels.array.values(), np.arange(40) % 3)


@pytest.mark.parametrize("shape", [(50, 7), (50, 3, 7), (2, 3)])
def test_fortran_order_by_bytes(tmp_path, shape):
    rows = np.random.default_rng(0).standard_normal(shape)
    np.save(tmp_path / "e.npy", np.asfortranarray(rows))
    from cl_analyze.data.formats import open_file

    array = open_file(tmp_path / "e.npy").arrays[""]
    assert isinstance(array.values(), FortranRows)
    assert array.values().nbytes == 0
    some = np.array([1, 0, shape[0] - 1, 1])
    if len(shape) == 3:
        for view in range(shape[1]):
            own = array.view_of(view)
            np.testing.assert_array_equal(own.read(0, shape[0]), rows[:, view])
            np.testing.assert_array_equal(own.take(some), rows[some, view])
    np.testing.assert_array_equal(array.values()[:], rows)
    np.testing.assert_array_equal(array.values()[some], rows[some])
    np.testing.assert_array_equal(array.values()[0:0], rows[0:0])


def test_hdf5_that_another_process_writes_and_filters_that_are_missing(tmp_path):
    import h5py

    with h5py.File(tmp_path / "written.h5", "w") as writing:
        writing["embeddings"] = ROWS
        writing.flush()
        import subprocess
        import sys

        code = (
            "import sys; from cl_analyze.data.opening import Spec, open_embeddings\n"
            "try: open_embeddings(Spec(sys.argv[1]))\nexcept Exception as e: print(e)"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "written.h5")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert "another process has it open for writing" in found.stdout
    assert "damaged" not in found.stdout
    with h5py.File(tmp_path / "filter.h5", "w") as file:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_chunk((10, 6))
        how.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (0,))
        space = h5py.h5s.create_simple(ROWS.shape)
        made = h5py.h5d.create(file.id, b"embeddings", h5py.h5t.NATIVE_DOUBLE, space, how)
        for i in range(4):
            made.write_direct_chunk((10 * i, 0), ROWS[10 * i : 10 * i + 10].tobytes(), 0)
    with pytest.raises(DataError, match=r"its filter 32001 .*is not installed") as raised:
        open_embeddings(Spec(str(tmp_path / "filter.h5")))
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("method", ["tsne", "umap"])
@pytest.mark.parametrize(
    "rows",
    [
        np.ones((50, 10)),
        np.ones((50, 10)) * np.linspace(0.5, 2, 50)[:, None],
        np.random.default_rng(0).standard_normal((50, 1)),
        np.random.default_rng(0).standard_normal((2, 5)),
        np.random.default_rng(0).standard_normal((3, 5)),
        np.repeat(np.eye(2, 6), 20, axis=0),
    ],
    ids=["constant", "one direction", "one dimension", "two rows", "three rows", "two points"],
)
def test_rows_that_no_neighbours_lay_out(monkeypatch, rows, method):
    import cl_analyze as cla
    from cl_analyze.metrics.quality import projection

    monkeypatch.setattr(projection, "require", lambda method: None)
    monkeypatch.setattr("cl_analyze.analysis.run.require", lambda method: None)
    report = cla.analyze(rows, metrics="quality", projection=method, ks=[1])
    assert any(f"by PCA, not {method}" in text for text in report.warnings), report.warnings
    if "projection" in report.tables:
        assert {row["method"] for row in report.tables["projection"].rows} == {"pca"}


def test_few_rows_that_differ_are_laid_out_by_tsne():
    import cl_analyze as cla

    rows = np.random.default_rng(0).standard_normal((6, 3))
    report = cla.analyze(rows, metrics="quality", projection="tsne", ks=[1])
    assert {row["method"] for row in report.tables["projection"].rows} == {"tsne"}


def test_characters_that_no_font_has_are_told(cli, monkeypatch):
    from cl_analyze.figures import fonts

    latin = frozenset(range(32, 600))
    monkeypatch.setattr(fonts, "_characters_of", lambda path: latin)
    monkeypatch.setattr(
        fonts, "matplotlib_fonts", lambda: {"Has it": frozenset([0x6A21]), "Has not": latin}
    )
    fonts._families_for.cache_clear()
    try:
        assert fonts.families(["plain", "é"]) == (("DejaVu Sans",), "")
        assert fonts.families(["模"]) == (("DejaVu Sans", "Has it"), "")
        assert fonts.families(["模型"]) == (("DejaVu Sans", "Has it"), "型")
    finally:
        fonts._families_for.cache_clear()


def test_every_text_of_a_figure_is_looked_at():
    import cl_analyze as cla
    from cl_analyze.figures.catalogue import draw
    from cl_analyze.figures.fonts import texts_of

    report = cla.analyze(ROWS, np.array(["猫", "dog"] * 20), metrics="quality", ks=[1])
    (figure,) = [figure for figure in draw(report.document) if figure.name == "class_similarity"]
    assert "猫" in set(texts_of(figure)), "names of ticks too"


def test_a_note_tells_of_boxes(tmp_path, monkeypatch):
    import cl_analyze as cla
    from cl_analyze.report import files

    report = cla.analyze(ROWS, np.array(["模", "b"] * 20), metrics="quality", ks=[1])
    told = []
    monkeypatch.setattr(files, "families", lambda texts: (("DejaVu Sans",), "模"))
    files.write_tables_and_figures(report.document, tmp_path, ("png",), told.append)
    assert "no font that is installed here has '模'" in told[0]
