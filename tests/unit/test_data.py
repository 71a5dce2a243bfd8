"""Reading: every format and dtype gives the same rows; every fault gives its own message."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from cl_analyze.data.formats import open_file
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, from_memory, open_array, open_embeddings
from cl_analyze.data.rows import RowArray, SelectedRows
from cl_analyze.data.unit import UnitRows, normalise, row_norms
from cl_analyze.data.validation import check_rows, listed, require_valid
from cl_analyze.errors import DataError

ROWS = np.random.default_rng(11).standard_normal((17, 5)).astype(np.float32)


def read(path, key=None):
    opened = open_embeddings(Spec(str(path), key))
    return opened.main.array.read(0, opened.main.array.n_rows)


# ---- what can be read


@pytest.mark.parametrize(
    "dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<i2", ">i4", "<i8", "|u1", "|i1", "?"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_of_every_dtype_and_order(tmp_path, dtype, order):
    values = np.abs(ROWS * 9) if np.dtype(dtype).kind in "ub" else ROWS * 9
    stored = np.asarray(values.astype(dtype), order=order)
    np.save(tmp_path / "e.npy", stored)
    found = read(tmp_path / "e.npy")
    assert found.dtype in (np.float32, np.float64)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, stored.astype(np.float64))


def test_wide_integers_keep_their_digits(tmp_path):
    np.save(tmp_path / "e.npy", np.array([[2**30 + 1, 1], [3, 4]]))
    assert read(tmp_path / "e.npy")[0, 0] == 2**30 + 1


def test_npy_is_read_by_rows_and_reopened_where_it_is_unpickled(tmp_path):
    np.save(tmp_path / "e.npy", ROWS)
    array = open_file(tmp_path / "e.npy").arrays[""]
    assert not isinstance(array.values(), np.ndarray)
    rows = np.array([16, 3, 3, 0])
    np.testing.assert_array_equal(array.take(rows), ROWS[rows])
    travelled = pickle.loads(pickle.dumps(array))
    assert len(pickle.dumps(array)) < 1000 + len(str(tmp_path)), "the values must not travel"
    np.testing.assert_array_equal(travelled.read(3, 9), ROWS[3:9])


def test_bfloat16_npy_is_two_byte_void(tmp_path):
    words = (ROWS.view(np.uint32) >> 16).astype(np.uint16)
    np.save(tmp_path / "e.npy", words.view("V2"))
    found = read(tmp_path / "e.npy")
    np.testing.assert_array_equal(found.view(np.uint32), words.astype(np.uint32) << 16)
    assert open_file(tmp_path / "e.npy").arrays[""].dtype_name == "bfloat16"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    save(tmp_path / "e.npz", embeddings=ROWS, labels=np.arange(17), other=ROWS[:, :2])
    np.testing.assert_array_equal(read(tmp_path / "e.npz"), ROWS)
    np.testing.assert_array_equal(read(tmp_path / "e.npz", "other"), ROWS[:, :2])
    opened = open_embeddings(Spec(str(tmp_path / "e.npz")))
    assert opened.labels is not None
    assert opened.labels.key == "labels"


def test_pt_files(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(ROWS)
    torch.save(tensor, tmp_path / "plain.pt")
    torch.save({"embeddings": tensor, "y": torch.arange(17), "epoch": 3}, tmp_path / "dict.pth")
    torch.save({"z": tensor.to(torch.bfloat16).requires_grad_()}, tmp_path / "half.pt")
    torch.save({"z": tensor.T.contiguous().T}, tmp_path / "strided.pt")
    for name in ("plain.pt", "dict.pth", "strided.pt"):
        np.testing.assert_array_equal(read(tmp_path / name), ROWS)
    expected = tensor.to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(read(tmp_path / "half.pt"), expected)
    assert open_file(tmp_path / "dict.pth").skipped == {"epoch": "a int, not a tensor"}
    array = open_file(tmp_path / "half.pt").arrays["z"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)).read(0, 17), expected)


def test_csv_with_and_without_header(tmp_path):
    lines = [",".join(repr(float(v)) for v in row) for row in ROWS]
    (tmp_path / "bare.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "named.csv").write_text("a,b,c,d,e\r\n" + "\r\n".join(lines))
    (tmp_path / "mixed.csv").write_text(
        "label,a,b,c,d,e,note\n" + "\n".join(f"{i % 2},{line},x{i}" for i, line in enumerate(lines))
    )
    (tmp_path / "tabs.tsv").write_text("\n".join(line.replace(",", "\t") for line in lines))
    for name in ("bare.csv", "named.csv", "mixed.csv", "tabs.tsv"):
        np.testing.assert_array_equal(read(tmp_path / name), ROWS.astype(np.float64))
    found = open_array(Spec(str(tmp_path / "mixed.csv")), ("labels", "label"))
    np.testing.assert_array_equal(found.array.values(), np.arange(17) % 2)
    found = open_array(Spec(str(tmp_path / "mixed.csv"), "note"), ())
    assert found.array.values()[3] == "x3"


def test_csv_as_pandas_writes_it(tmp_path):
    pd = pytest.importorskip("pandas")
    for name, frame, options in (
        ("index.csv", pd.DataFrame(ROWS), {}),
        ("bare.csv", pd.DataFrame(ROWS), {"index": False}),
        ("named.csv", pd.DataFrame(ROWS, columns=list("abcde")), {}),
    ):
        frame.to_csv(tmp_path / name, **options)
        np.testing.assert_allclose(read(tmp_path / name), ROWS, rtol=1e-6)
    opened = open_embeddings(Spec(str(tmp_path / "index.csv")))
    assert any("taken as an index" in note for note in opened.notes)
    frame = pd.DataFrame(ROWS, columns=list("abcde")).assign(label=["x", "y"] * 8 + ["x"])
    frame.to_csv(tmp_path / "labelled.csv", index=False)
    opened = open_embeddings(Spec(str(tmp_path / "labelled.csv")))
    assert opened.main.array.shape == (17, 5)
    assert opened.labels is not None
    assert any("left out of the embeddings: 'label'" in note for note in opened.notes)


def test_a_column_y_of_continuous_numbers_is_a_coordinate(tmp_path):
    lines = "\n".join(f"{a!r},{b!r},{c!r}" for a, b, c in ROWS[:, :3].tolist())
    (tmp_path / "xyz.csv").write_text("x,y,z\n" + lines)
    opened = open_embeddings(Spec(str(tmp_path / "xyz.csv")))
    assert opened.main.array.shape == (17, 3)
    assert opened.labels is None


def test_index_columns_of_other_kinds(tmp_path):
    pd = pytest.importorskip("pandas")
    pd.DataFrame(ROWS, columns=list("abcde")).to_csv(tmp_path / "one.csv")
    pd.read_csv(tmp_path / "one.csv").to_csv(tmp_path / "two.csv", index=False)
    pd.DataFrame(ROWS).to_csv(tmp_path / "three.csv", header=False)
    for name in ("one.csv", "two.csv", "three.csv"):
        opened = open_embeddings(Spec(str(tmp_path / name)))
        assert opened.main.array.shape == (17, 5), name
        assert any("as an index" in note for note in opened.notes)
    pd.Series(["x", "y"] * 8).to_csv(tmp_path / "series.csv")
    found = open_array(Spec(str(tmp_path / "series.csv")), ("labels",))
    assert found.array.values().tolist() == ["x", "y"] * 8


def test_label_columns_in_any_case(tmp_path):
    (tmp_path / "e.csv").write_text("Label,a,b\n0,1.5,2\n1,3,4.5\n0,5,6\n")
    opened = open_embeddings(Spec(str(tmp_path / "e.csv")))
    assert opened.main.array.shape == (3, 2)
    assert opened.labels is not None


def test_a_label_column_by_its_first_line(tmp_path):
    (tmp_path / "y.csv").write_text("country\nNA\nFR\nNA\n")
    whole = open_array(Spec(str(tmp_path / "y.csv")), ())
    assert whole.array.values().tolist() == ["country", "NA", "FR", "NA"]
    named = open_array(Spec(str(tmp_path / "y.csv"), "country"), ())
    assert named.array.values().tolist() == ["NA", "FR", "NA"], "NA is a country here"


def test_leading_zeros_make_strings(tmp_path):
    (tmp_path / "y.txt").write_text("01\n1\n001\n\n")
    (tmp_path / "y.csv").write_text("label\n01\n1\n001\n")
    for name in ("y.txt", "y.csv"):
        found = encode(open_array(Spec(str(tmp_path / name)), ("label",)))
        assert found.names == ("001", "01", "1")


def test_three_axes_are_rows_views_dimensions(tmp_path):
    stack = np.stack([ROWS, ROWS + 1], axis=1)
    np.save(tmp_path / "e.npy", stack)
    opened = open_embeddings(Spec(str(tmp_path / "e.npy")))
    np.testing.assert_array_equal(opened.main.array.read(0, 17), ROWS)
    assert opened.views is not None
    np.testing.assert_array_equal(opened.views[1].array.read(0, 17), ROWS + 1)


def test_views_without_embeddings_stand_for_them(tmp_path):
    np.savez(tmp_path / "e.npz", z1=ROWS, z2=ROWS + 1)
    opened = open_embeddings(Spec(str(tmp_path / "e.npz")))
    np.testing.assert_array_equal(opened.main.array.read(0, 17), ROWS)
    assert any("stands for it" in note for note in opened.notes)


def test_a_path_with_two_colons_that_exists_wins(tmp_path):
    np.save(tmp_path / "odd::name.npy", ROWS)
    spec = Spec.parse(str(tmp_path / "odd::name.npy"))
    assert spec.key is None
    np.testing.assert_array_equal(read(spec.path), ROWS)


# ---- labels


def codes(values, unlabelled=None):
    found = encode(from_memory(values, "labels"), unlabelled)
    return found.codes.tolist(), found.names


def test_labels_of_every_kind():
    assert codes([3, 1, 3]) == ([1, 0, 1], ("1", "3"))
    assert codes([True, False, True]) == ([1, 0, 1], ("False", "True"))
    assert codes(["b", "a", "", "b"]) == ([1, 0, -1, 1], ("a", "b"))
    assert codes([1.0, np.nan, 2.0]) == ([0, -1, 1], ("1", "2"))
    assert codes(np.array([[4], [5], [4]])) == ([0, 1, 0], ("4", "5"))
    assert codes([10, 9, 2]) == ([2, 1, 0], ("2", "9", "10")), "numbers sort as numbers"
    assert codes([-1, 0, 1]) == ([0, 1, 2], ("-1", "0", "1")), "-1 is a class unless said"
    assert codes([-1, 0, 1], "-1") == ([-1, 0, 1], ("0", "1"))
    assert codes(np.array([None, "x", float("nan")], dtype=object)) == ([-1, 0, -1], ("x",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0], "bin continuous values first"),
        ([np.inf, 1.0], "must be classes"),
        (np.eye(3), "argmax"),
        (np.zeros((2, 2, 2)), "one value a row"),
        (np.array([1j, 2]), "cannot be of dtype complex128"),
    ],
)
def test_labels_that_are_none(values, message):
    with pytest.raises(DataError, match=message):
        codes(values)


def test_dropping_rows_drops_their_classes():
    found = encode(from_memory(["a", "b", "c", ""], "labels")).take(np.array([0, 2, 3]))
    assert found.names == ("a", "c")
    assert found.codes.tolist() == [0, 1, -1]


# ---- faults


def write(path, content):
    path.write_bytes(content)
    return path


def npy_bytes(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


class _LeavesAMark:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_pipes_are_refused_before_they_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(DataError, match="neither a regular file"):
        read(tmp_path / "pipe.npy")


def test_pickles_are_never_loaded(tmp_path):
    torch = pytest.importorskip("torch")
    mark = tmp_path / "mark"
    bomb = _LeavesAMark(mark)
    write(tmp_path / "e.npy", npy_bytes(np.array([bomb, bomb], dtype=object), allow_pickle=True))
    np.savez(tmp_path / "e.npz", embeddings=np.array([bomb, bomb], dtype=object))
    torch.save({"embeddings": bomb}, tmp_path / "e.pt")
    write(tmp_path / "old.pt", pickle.dumps(bomb))
    for name in ("e.npy", "e.npz", "e.pt", "old.pt"):
        with pytest.raises(DataError):
            read(tmp_path / name)
    assert not mark.exists()


def test_a_dtype_without_numpy_equivalent(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.zeros(4, 3).to(torch.float8_e4m3fn), tmp_path / "e.pt")
    with pytest.raises(DataError, match=r"save tensor.float\(\)"):
        read(tmp_path / "e.pt")


def test_pt_with_numbers_as_keys(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({0: torch.from_numpy(ROWS)}, tmp_path / "e.pt")
    np.testing.assert_array_equal(read(tmp_path / "e.pt"), ROWS)
    np.testing.assert_array_equal(read(tmp_path / "e.pt", "0"), ROWS)


def test_a_name_that_is_too_long(tmp_path):
    with pytest.raises(DataError, match="too long"):
        read(tmp_path / ("x" * 300 + ".npy"))


def test_npz_member_that_contradicts_its_header(tmp_path):
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("embeddings.npy", npy_bytes(ROWS)[:-4])
    with pytest.raises(DataError, match="promises shape"):
        read(tmp_path / "e.npz")


def test_npz_damaged_behind_its_header(tmp_path):
    np.savez_compressed(tmp_path / "e.npz", embeddings=np.tile(ROWS, (50, 1)))
    content = bytearray((tmp_path / "e.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    write(tmp_path / "e.npz", bytes(content))
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "e.npz")


def test_choosing_an_array(tmp_path):
    np.savez(tmp_path / "e.npz", a=ROWS, b=ROWS, y=np.arange(17))
    with pytest.raises(DataError, match=r"choose one as .*e.npz::KEY from 'a' \(17, 5\) float32"):
        read(tmp_path / "e.npz")
    with pytest.raises(DataError, match="no such key; the file holds 'a'"):
        read(tmp_path / "e.npz", "c")
    with pytest.raises(DataError, match="must be a 2-D array"):
        read(tmp_path / "e.npz", "y")
    np.save(tmp_path / "e.npy", ROWS)
    with pytest.raises(DataError, match=r"a \.npy file has no keys"):
        read(tmp_path / "e.npy", "a")
    with pytest.raises(DataError, match="write PATH::KEY"):
        Spec.parse("missing::")


# ---- rows


def test_check_rows_finds_what_is_wrong():
    rows = np.random.default_rng(0).standard_normal((50, 4))
    rows[[3, 9]] = np.nan
    rows[4, 1] = np.inf
    rows[[6, 7]] = 0.0
    rows[7, 0] = -0.0
    rows[[20, 41]] = rows[11]
    found = check_rows(RowArray.of(rows))
    assert found.non_finite.tolist() == [3, 4, 9]
    assert found.zero.tolist() == [6, 7]
    assert found.duplicates.tolist() == [20, 41], "invalid rows are no duplicates"
    assert found.invalid.tolist() == [3, 4, 6, 7, 9]
    norms = np.linalg.norm(np.delete(rows, [3, 4, 6, 7, 9], axis=0), axis=1)
    assert found.norm_max == pytest.approx(norms.max())
    with pytest.raises(DataError, match=r"3 rows have NaN or infinite values \(rows 3, 4, 9\)"):
        require_valid(found, "e.npy")


def test_duplicates_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr("cl_analyze.data.validation._BLOCK_VALUES", 64)
    rows = np.random.default_rng(1).integers(0, 2, (200, 4)).astype(np.float32) + 1
    _, first = np.unique(rows, axis=0, return_index=True)
    found = check_rows(RowArray.of(rows))
    assert found.duplicates.tolist() == sorted(set(range(200)) - set(first.tolist()))


def test_listed_names_a_few_rows():
    assert listed(np.array([4])) == "row 4"
    assert listed(np.arange(8)) == "rows 0, 1, 2, 3, 4 and 3 more"


def test_norms_survive_extreme_rows():
    rows = np.array([[3e200, 4e200], [3e-200, 4e-200], [5e-324, 0.0], [3e-30, 4e-30]])
    assert row_norms(rows) == pytest.approx([5e200, 5e-200, 5e-324, 5e-30], rel=1e-12)
    np.testing.assert_allclose(np.linalg.norm(normalise(rows), axis=1), 1.0, rtol=1e-14)
    half = np.full((1, 2048), 6.0, dtype=np.float16)
    assert row_norms(half)[0] == pytest.approx(6 * np.sqrt(2048))


def test_unit_rows_keep_to_their_budget():
    rows = np.random.default_rng(0).standard_normal((100, 8))
    unit = UnitRows(RowArray.of(rows), np.float32, budget_bytes=3 * 10 * 8 * 4)
    for start in (0, 10, 20, 30, 0, 50):
        block = unit.block(start, start + 10)
        np.testing.assert_allclose(np.linalg.norm(block, axis=1), 1, rtol=1e-6)
        assert unit._held <= 3 * 10 * 8 * 4
        assert unit._held == sum(b.nbytes for b in unit._blocks.values())


def test_selected_rows_read_as_if_the_others_were_not_there():
    kept = np.array([1, 4, 5, 9])
    rows = SelectedRows(RowArray.of(ROWS), kept)
    np.testing.assert_array_equal(rows.read(1, 3), ROWS[[4, 5]])
    np.testing.assert_array_equal(rows.take(np.array([3, 0])), ROWS[[9, 1]])
    assert rows.shape == (4, 5)


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "e.npy"
    np.save(path, ROWS)
    array = open_file(path).arrays[""]
    array.read(0, 2)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)
    for read in (lambda: array.read(10, 17), lambda: array.take(np.array([16]))):
        with pytest.raises(DataError, match="the file has changed since it was opened"):
            read()
    path.unlink()
    with pytest.raises(DataError, match=r"e\.npy: cannot be read: No such file"):
        array.read(0, 2)
