"""Malformed input ends with exit code 2 and one message that names it, and leaves nothing behind.

Each case is a file or two, a command line, and what its message must say.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import socket
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from tests.forks import TORCH_FILES

ROWS = np.random.default_rng(11).standard_normal((17, 5)).astype(np.float32)
LABELS = np.arange(17) % 3


def npy_bytes(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header_claiming(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def with_value(value, dtype=np.float32):
    rows = ROWS.astype(dtype)
    rows[3, 2] = value
    return npy_bytes(rows)


def safetensors_bytes(header, data=b"\0" * 340):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(**changes):
    return {"z": {"dtype": "F32", "shape": [17, 5], "data_offsets": [0, 340], **changes}}


def npz_of(*members, **options):
    """A ZIP archive of members given as (name, bytes)."""

    def write(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)

    return write


def npz_bomb(path):
    """An archive that promises a terabyte, in its header and in its directory."""
    header = header_claiming((10**9, 250))
    npz_of(("embeddings.npy", header))(path)
    content = bytearray(path.read_bytes())
    promised = len(header) + 4 * 250 * 10**9
    at = content.index(b"PK\x01\x02")  # the directory's entry, with the size as ZIP64
    name = b"embeddings.npy"
    struct.pack_into("<I", content, at + 24, 0xFFFFFFFF)
    struct.pack_into("<H", content, at + 30, 12)
    extra = struct.pack("<HHQ", 1, 8, promised)
    end = at + 46 + len(name)
    content[end:end] = extra
    tail = content.rindex(b"PK\x05\x06")
    (size,) = struct.unpack_from("<I", content, tail + 12)
    struct.pack_into("<I", content, tail + 12, size + len(extra))
    path.write_bytes(content)


def hdf5_of(**datasets):
    def write(path):
        with h5py.File(path, "w") as file:
            for name, values in datasets.items():
                file[name] = values

    return write


def hdf5_unwritten(path):
    """A terabyte that was never written."""
    with h5py.File(path, "w") as file:
        file.create_dataset("z", (10**9, 250), "f4", chunks=(1000, 250), compression="gzip")


def hdf5_partly(path):
    """One chunk of many, the others never written."""
    with h5py.File(path, "w") as file:
        file.create_dataset("z", (10**9, 250), "f4", chunks=(1000, 250), compression="gzip")
        file["z"][0:1000] = 1


def hdf5_elsewhere(path):
    """A dataset whose values lie in another file."""
    other = path.with_suffix(".raw")
    other.write_bytes(ROWS.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("z", ROWS.shape, "f4", external=[(str(other), 0, ROWS.nbytes)])


def hdf5_virtual(path):
    source = path.with_suffix(".source")
    hdf5_of(z=ROWS)(source)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout(ROWS.shape, "f4")
        layout[:] = h5py.VirtualSource(str(source), "z", ROWS.shape)
        file.create_virtual_dataset("z", layout)


def hdf5_linked(path):
    source = path.with_suffix(".source")
    hdf5_of(z=ROWS)(source)
    with h5py.File(path, "w") as file:
        file["z"] = h5py.ExternalLink(str(source), "z")


def damaged(write, fraction=0.5, length=40):
    """What a writer leaves, with some bytes in its middle overwritten."""

    def spoil(path):
        write(path)
        content = bytearray(path.read_bytes())
        at = int(len(content) * fraction)
        content[at : at + length] = b"\xa5" * length
        path.write_bytes(content)

    return spoil


def cut(write, fraction=0.6):
    """The first part of what a writer leaves."""

    def spoil(path):
        write(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * fraction)])

    return spoil


def parquet_of(compression="snappy", **columns):
    def write(path):
        pa.parquet.write_table(pa.table(columns), path, compression=compression)

    return write


def lists_of(*lengths):
    return pa.array([[1.0] * length for length in lengths], pa.list_(pa.float32()))


def many_rows(path):
    rows = np.random.default_rng(0).standard_normal((20_000, 8)).astype(np.float32)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 8)
    table = pa.table({"z": fixed})
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, write_page_checksum=True)
    else:
        pa.feather.write_feather(table, path)


def zarr_of(version=3, **arrays):
    def write(path):
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(str(path), mode="w", zarr_format=version)
        for name, values in arrays.items():
            group.create_array(name, data=values, chunks=values.shape)

    return write


def zarr_pickled(path):
    """An array whose chunks are pickles that leave a mark."""
    pytest.importorskip("zarr", minversion="3")
    path.mkdir()
    codec = {"id": "pickle", "protocol": 4}
    metadata = {
        "zarr_format": 2, "shape": [17, 5], "chunks": [17, 5], "dtype": "<f4", "order": "C",
        "fill_value": 0, "compressor": codec, "filters": None,
    }  # fmt: skip
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0").write_bytes(pickle.dumps(LeavesAMark(path.parent / "mark")))


def zarr_encoded(path):
    """An array with a codec that is not on the list."""
    zarr_pickled(path)
    metadata = json.loads((path / ".zarray").read_text())
    metadata |= {"compressor": {"id": "base64"}}
    (path / ".zarray").write_text(json.dumps(metadata))


def zarr_unwritten(path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(path), shape=(10**9, 250), chunks=(1000, 250), dtype="f4")


def zarr_damaged(path):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(path), data=ROWS, chunks=(17, 5))
    (path / "c" / "0" / "0").write_bytes(b"\xa5" * 60)


class LeavesAMark:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def saved_dataset(**state):
    def write(path):
        path.mkdir()
        (path / "dataset_info.json").write_text("{}")
        (path / "state.json").write_text(json.dumps(state))

    return write


def torch_of(make):
    def write(path):
        torch = pytest.importorskip("torch")
        torch.save(make(torch), path)

    return write


# fmt: off
FILES = {
    "missing.npy": (None, "no such file"),
    "folder.npy": ("folder", "no readable file in this directory"),
    "empty.npy": (b"", "the file is empty"),
    "text.npy": (b"1,2,3\n4,5,6\n", "looks like text"),
    "zip.npy": (b"PK\x03\x04" + b"\0" * 40, "looks like a ZIP archive"),
    "hdf.npy": (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "looks like an HDF5 file"),
    "lfs.npy": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "cut.npy": (npy_bytes(ROWS)[:-9], "truncated"),
    "cut-header.npy": (npy_bytes(ROWS)[:30], "header cannot be parsed"),
    "huge.npy": (header_claiming((10**12, 10**6)), "truncated"),
    "version.npy": (b"\x93NUMPY\x09\x00" + b"\0" * 100, "not supported"),
    "objects.npy": (npy_bytes(np.array([{}, []], dtype=object)), "Python objects"),
    "strings.npy": (npy_bytes(np.array([["a", "b"], ["c", "d"]])), "found strings"),
    "complex.npy": (npy_bytes(ROWS.astype(complex)), "complex numbers"),
    "vector.npy": (npy_bytes(ROWS[0]), "must be a 2-D array"),
    "scalar.npy": (npy_bytes(np.float32(3)), "must be a 2-D array"),
    "four-axes.npy": (npy_bytes(ROWS.reshape(17, 1, 5, 1)), "must be a 2-D array"),
    "no-view.npy": (npy_bytes(ROWS[:, None][:, :0]), "needs a view"),
    "batch-axis.npy": (npy_bytes(ROWS[None]), "its first axis has length 1; save z\\[0\\]"),
    "one-row.npy": (npy_bytes(ROWS[:1]), "at least 2 rows"),
    "no-rows.npy": (npy_bytes(ROWS[:0]), "at least 2 rows"),
    "no-columns.npy": (npy_bytes(ROWS[:, :0]), "at least one dimension"),
    "noise.npz": (b"\x01\x02\x03" * 50, "not a readable .npz archive"),
    "npy.npz": (npy_bytes(ROWS), "looks like a NumPy array"),
    "no-suffix": (npy_bytes(ROWS), "the name has no suffix"),
    "odd.xyz": (npy_bytes(ROWS), "has no reader"),
    "noise.pt": (b"\x01\x02\x03" * 50, "PyTorch file"),
    "ragged.csv": (b"1,2,3\n4,5\n6,7,8,9\n", "line 2 has 2 fields, the first line has 3"),
    "long.csv": (b"a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields, the first line has 2"),
    "short.csv": (b"1,2,3\n4,5\n6,7,8\n", "line 2 has 2 fields"),
    "typo.csv": (b"1,2\n3,0.5O\n5,6\n7,8\n", "in row 1 \\(line 2\\): '0.5O'"),
    "underscore.csv": (b"a,b\n1,2\n3,1_0\n5,6\n", "in row 1 \\(line 3\\): '1_0'"),
    "typo-first.csv": (b"1,2,3x\n3,4,5\n5,6,7\n7,8,9\n", "in row 0 \\(line 1\\): '3x'"),
    "thousands.csv": (b'a,b\n"1,000.5",2\n"3,000",4\n', "separators of thousands"),
    "trailing.csv": (b"1,2,\n3,4,\n5,6,\n", "column '2' is empty"),
    "semicolon.csv": (b"0,5;1,5\n2,5;3,5\n", "separated by ';'"),
    "header.csv": (b"a,b,c\n", "a header and no rows"),
    "latin.csv": ("é,1\n".encode("latin-1") * 3, "not UTF-8"),
    "twice.csv": (b"a,a,b\n1,2,3\n4,5,6\n", "column names must differ; repeated: 'a'"),
    "blank.csv": (b"\n\n\n", "no line with content"),
    "words.csv": (b"one,two\nthree,four\nfive,six\n", "no 2-D array of real numbers"),
    "latin.txt": ("é\n".encode("latin-1"), "not UTF-8"),
    "nul.txt": (b"a\0b\n", "NUL"),
    # values
    "nan.npy": (with_value(np.nan), r"1 row has NaN or infinite values \(row 3\).*--on-invalid"),
    "inf.npy": (with_value(-np.inf), "1 row has NaN or infinite values"),
    "zero.npy": (npy_bytes(ROWS * (np.arange(17) != 4)[:, None]), "zero norm.*row 4"),
    "all-nan.npy": (npy_bytes(ROWS * np.nan), "17 rows have NaN.*and 12 more"),
    "times.npy": (npy_bytes(ROWS.astype("M8[s]")), "found dtype datetime64"),
    "records.npy": (npy_bytes(np.zeros(4, [("a", "f4"), ("b", "f4")])), "found dtype"),
    "long-header.npy": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 10**6) + b" " * 10**6, "longer"),
    "code.npy": (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 60) + b"__import__('os').mkdir('mark')".ljust(60),
        "header cannot be parsed",
    ),
    # archives
    "bomb.npz": (npz_bomb, "MiB when it is decoded.*are free"),
    "empty.npz": (npz_of(), "looks like an empty ZIP archive"),
    "cut.npz": (cut(npz_of(("z.npy", npy_bytes(ROWS)))), "not a readable .npz archive"),
    "other.npz": (npz_of(("a.txt", b"text")), "no readable array \\('a.txt': not an .npy member"),
    "twice.npz": (npz_of(("z.npy", npy_bytes(ROWS)), ("z.npy", npy_bytes(-ROWS))), "occurs twice"),
    "pickled.npz": (
        npz_of(("z.npy", npy_bytes(np.array([LeavesAMark("mark")], object), allow_pickle=True))),
        "Python objects",
    ),
    # PyTorch
    "objects.pt": (torch_of(lambda torch: {"z": LeavesAMark("mark")}), "of plain tensors"),
    "pickle.pt": (pickle.dumps(LeavesAMark("mark")), "of plain tensors"),
    "words.pt": (torch_of(lambda torch: {"z": "text"}), "no tensor \\('z': a str"),
    "cut.pt": (cut(torch_of(lambda torch: torch.zeros(500, 8))), "not a readable PyTorch file"),
    "sparse.pt": (torch_of(lambda torch: torch.eye(4).to_sparse()), "save tensor.to_dense"),
    "float8.pt": (
        torch_of(lambda torch: torch.ones(4, 2).to(torch.float8_e5m2)),
        "save tensor.float",
    ),
    # safetensors
    "tiny.safetensors": (b"abc", "promise a header"),
    "header.safetensors": (b"\xff" * 8 + b"{}" * 40, "promise a header of 18446744073709551615"),
    "json.safetensors": (safetensors_bytes(b"{not json}"), "its header is no JSON"),
    "deep.safetensors": (safetensors_bytes(b"[" * 90_000), "its header is no JSON"),
    "list.safetensors": (safetensors_bytes([1, 2]), "no JSON object"),
    "fields.safetensors": (safetensors_bytes({"z": {"dtype": "F32"}}), "no valid dtype, shape"),
    "shape.safetensors": (
        safetensors_bytes(tensor(shape=[17, 6])),
        "takes 408 bytes.*gives it 340",
    ),
    "negative.safetensors": (safetensors_bytes(tensor(shape=[-17, -5])), "no valid dtype, shape"),
    "backwards.safetensors": (safetensors_bytes(tensor(data_offsets=[340, 0])), "before it begins"),
    "cut.safetensors": (safetensors_bytes(tensor(), b"\0" * 200), "truncated: tensor 'z' ends"),
    "float8.safetensors": (
        safetensors_bytes({"z": {"dtype": "F8_E4M3", "shape": [4, 2], "data_offsets": [0, 8]}}),
        "dtype 'F8_E4M3' is not supported: save it as F16",
    ),
    "twice.safetensors": (
        safetensors_bytes(b'{"z": ' + json.dumps(tensor()["z"]).encode() + b', "z": 1}'),
        "a name occurs twice",
    ),
    # Parquet, Arrow
    "noise.parquet": (b"PAR1" + b"\x07" * 80 + b"PAR1", "not a readable file of this format"),
    "cut.parquet": (cut(many_rows), "not a readable file of this format"),
    "damaged.parquet": (damaged(many_rows, 0.4), "cannot be read: .*could not verify page"),
    "ragged.parquet": (
        parquet_of(z=lists_of(3, 3, 2)),
        "row 2 has 2 values, one before it has 3",
    ),
    "late.parquet": (parquet_of(z=lists_of(*[3] * 5000, 4)), "row 5000"),
    "nothing.parquet": (parquet_of(z=lists_of(0, 0)), "lists without values"),
    "times.parquet": (parquet_of(t=pa.array([1, 2], pa.timestamp("s"))), "no column of numbers"),
    "holes.parquet": (
        parquet_of(a=pa.array([1, 2, None]), b=pa.array([1, 2, 3])),
        "missing values among them|NaN",
    ),
    "cut.feather": (cut(many_rows), "not a readable file of this format"),
    "noise.arrow": (
        b"\xff\xff\xff\xff\x10\0\0\0" + b"\1" * 60,
        "not a readable file of this format",
    ),
    "old.feather": (b"FEA1" + b"\0" * 60, "not a readable file of this format"),
    # HDF5
    "noise.h5": (b"\x89HDF\r\n\x1a\n" + b"\x07" * 200, "cannot be read as HDF5"),
    "cut.h5": (cut(hdf5_of(z=np.ones((500, 8)))), "cannot be read as HDF5|truncated"),
    "empty.h5": (hdf5_of(), "no readable dataset \\(nothing"),
    "words.h5": (hdf5_of(z=np.array([b"a", b"b"])), "no 2-D array of real numbers"),
    "unwritten.h5": (hdf5_unwritten, "0 of its 1000000 chunks were written"),
    "partly.h5": (hdf5_partly, "1 of its 1000000 chunks were written"),
    "elsewhere.h5": (hdf5_elsewhere, "its values lie in other files"),
    "virtual.h5": (hdf5_virtual, "its values lie in other files"),
    "linked.h5": (hdf5_linked, "no readable dataset"),
    "scalar.h5": (hdf5_of(z=3.0), "'z': a single value"),
    # Zarr
    "pickled.zarr": (zarr_pickled, "cannot be read as a Zarr store.*pickle"),
    "codec.zarr": (zarr_encoded, "codec base64 is none that is known to be safe"),
    "unwritten.zarr": (zarr_unwritten, "0 of its 1000000 chunks were written"),
    "damaged.zarr": (zarr_damaged, "cannot be read as a Zarr store"),
    "several.zarr": (zarr_of(a=ROWS, b=ROWS), "choose one as .*several.zarr::KEY"),
    "empty.zarr": (zarr_of(), "no readable array"),
    # datasets
    "away.dataset": (
        saved_dataset(_data_files=[{"filename": "../../secret.arrow"}]),
        "lie in the same folder",
    ),
    "missing.dataset": (saved_dataset(_data_files=[{"filename": "a.arrow"}]), "'a.arrow' .* missing"),
    "none.dataset": (saved_dataset(), "no list of data files"),
    "selected.dataset": (
        saved_dataset(_indices_data_files=[{"filename": "i.arrow"}]),
        "flatten_indices",
    ),
    # vectors
    "cut.fbin": (
        np.array([17, 5], "<u4").tobytes() + b"\0" * 100,
        "which take 348 bytes; .* has 108",
    ),
    "huge.fbin": (np.array([2**32 - 1] * 2, "<u4").tobytes() + b"\0" * 100, "promise 4294967295"),
    "short.u8bin": (b"\1\0\0", "numbers of rows and dimensions are not there"),
    "cut.fvecs": (struct.pack("<i", 5) + b"\0" * 30, "do not divide into such rows"),
    "negative.bvecs": (struct.pack("<i", -4) + b"\0" * 30, "do not divide into such rows"),
    "mixed.fvecs": (
        (struct.pack("<i2f", 2, 1, 1) + struct.pack("<i2f", 1, 1, 1)),
        "found one of 1",
    ),
    # what stands in the place of a file
    "lfs.csv": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run git lfs pull"),
    "page.parquet": (b"<!DOCTYPE html>\n<html></html>", "an HTML page: did a download fail"),
    "file.zarr": (b"PK\x03\x04", "a .zarr store is a directory, and this is a file"),
    # lists in text
    "cut-line.csv": (b",a,b,label\n0,1,2.5,x\n1,3,4.5,y\n2,5,6.", "line 4 has 3 fields, the first line has 4"),
    "tabs.csv": (b"1\t2\t3\n4\t5\t6\n", "separated by tabs: name it .tsv"),
    "commas.tsv": (b"a,b\n4,5\n", "separated by commas: name it .csv"),
    "short.tsv": (b"z\ty\n[1 2 ... 3]\t0\n[1 2 ... 3]\t1\n", "was shortened with ..."),
    "ragged-lists.csv": (b'z,y\n"[1, 2]",0\n"[1, 2, 3]",1\n', "row 1 has 3 values, the first 2"),
    "half-list.csv": (b'z,y\n"[1, 2]",0\n"[1, 2",1\n', "row 1 is no list of numbers"),
    "word-list.csv": (b'z,y\n"[1, two]",0\n"[1, 2]",1\n', "lists that are not numbers"),
}
# fmt: on
"""Name of a file -> its content or what writes it, and what `uniformity` says of it."""


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", FILES)
def test_malformed_files(cli, name):
    content, message = FILES[name]
    path = cli.folder / name
    if path.suffix in TORCH_FILES:
        pytest.importorskip("torch")
    if content == "folder":
        path.mkdir()
    elif callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content)
    text = cli.fails("uniformity", path)
    assert_one_error(text, name)
    assert re.search(message, text), text
    assert not (cli.folder / "mark").exists(), "what a file holds is never executed"


def assert_one_error(text, name):
    errors = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, text
    assert name in errors[0]
    assert errors[0] == text.splitlines()[-1], "the error is the last thing said"


# ---- more than one file


def emb(folder):
    path = folder / "emb.npy"
    np.save(path, ROWS)
    return path


def labels_of(values):
    def write(folder):
        np.save(folder / "labels.npy", np.asarray(values))
        return ["tolerance", emb(folder), "--labels", folder / "labels.npy"]

    return write


def text_file(name, content, *arguments):
    """A file, and a command line in which {} is its path."""

    def write(folder):
        path = folder / name
        path.write_bytes(content)
        return [*(str(path) if word == "{}" else word for word in arguments), emb(folder)]

    return write


def with_second(array, command, option):
    def write(folder):
        np.save(folder / "second.npy", array)
        return [command, emb(folder), option, folder / "second.npy"]

    return write


def symbolic_loop(folder):
    (folder / "loop.npy").symlink_to(folder / "loop.npy")
    return ["uniformity", folder / "loop.npy"]


def dangling(folder):
    (folder / "link.npy").symlink_to(folder / "gone.npy")
    return ["uniformity", folder / "link.npy"]


def fifo(folder):
    os.mkfifo(folder / "pipe.npy")
    return ["uniformity", folder / "pipe.npy"]


def listening(folder):
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.npy")
    finally:
        os.chdir(here)
    return ["uniformity", folder / "socket.npy"]


def folder_as_labels(folder):
    (folder / "labels").mkdir()
    return ["tolerance", emb(folder), "--labels", folder / "labels"]


def shards(*shapes):
    def write(folder):
        (folder / "shards").mkdir()
        for number, shape in enumerate(shapes):
            np.save(folder / "shards" / f"e-{number}-of-{len(shapes) + 1}.npy", np.ones(shape))
        return ["uniformity", folder / "shards"]

    return write


def two_sets(folder):
    (folder / "data").mkdir()
    for name in ("train-0-of-2", "train-1-of-2", "test-0-of-1"):
        np.save(folder / "data" / f"{name}.npy", ROWS)
    return ["uniformity", folder / "data"]


def folder_down(folder):
    (folder / "hub" / "data").mkdir(parents=True)
    np.save(folder / "hub" / "data" / "emb.npy", ROWS)
    return ["uniformity", folder / "hub"]


def both_in_a_folder(folder):
    (folder / "run").mkdir()
    emb(folder / "run")
    np.save(folder / "run" / "labels.npy", LABELS)
    return ["tolerance", folder / "run"]


def gate(rules, *arguments):
    def write(folder):
        (folder / "rules.toml").write_text(rules)
        return ["check", emb(folder), "--rules", folder / "rules.toml", *arguments]

    return write


def unknown_key(folder):
    np.savez(folder / "e.npz", embeddings=ROWS)
    return ["uniformity", f"{folder / 'e.npz'}::embedings"]


def damaged_baseline(folder):
    (folder / "base.json").write_text('{"schema": "cl-analyze-baseline/1", "results": [')
    return gate(
        '[[rule]]\nmetric = "uniformity"\nmax_rise = 1', "--baseline", folder / "base.json"
    )(folder)


def baseline_elsewhere(folder):
    """A baseline that names arrays outside of its own folder."""
    (folder / "ci").mkdir()
    np.savez(folder / "secret.npz", a=ROWS)
    base = folder / "ci" / "base.json"
    data = {"file": "../secret.npz", "sha256": "0"}
    base.write_text(json.dumps({"schema": "cl-analyze-baseline/1", "data": data, "sources": []}))
    return gate('[[rule]]\nmetric = "uniformity"\nmax_rise = 1', "--baseline", base)(folder)


CASES = {
    "labels of other rows": (labels_of(LABELS[:-1]), "labels.npy has 16 rows, .*emb.npy has 17"),
    "labels with two axes": (labels_of(np.eye(17)), "argmax"),
    "labels that are no classes": (labels_of(LABELS + 0.5), "bin continuous values first"),
    "infinite labels": (labels_of(np.where(LABELS, np.inf, 1)), "found inf in row"),
    "complex labels": (labels_of(LABELS * 1j), "cannot be of dtype complex"),
    "labels in a folder": (folder_as_labels, "no readable file in this directory"),
    "labels that are no text": (
        text_file("labels.txt", b"\xff\xfe\0a", "tolerance", "--labels", "{}"),
        "not UTF-8",
    ),
    "partners of other rows": (
        with_second(ROWS[:9], "similarity", "--pairs"),
        "second.npy has 9 rows",
    ),
    "partners of other dimensions": (with_second(ROWS[:, :3], "losses", "--pairs"), "3 dimensions"),
    "partners with NaN": (with_second(ROWS * np.nan, "losses", "--pairs"), "17 rows have NaN"),
    "groups of other rows": (with_second(LABELS[:4], "uniformity", "--groups"), "has 4 rows"),
    "ids that are not unique": (
        with_second(LABELS, "compare", "--ids"),
        "rows 0 and 3 have the same id|two",
    ),
    "a loop of links": (symbolic_loop, "Symlink loop"),
    "a link to nothing": (dangling, "no such file"),
    "a pipe": (fifo, "neither a regular file"),
    "a socket": (listening, "neither a regular file"),
    "a device": (lambda folder: ["uniformity", "/dev/zero"], "neither a regular file"),
    "a name that is too long": (lambda folder: ["uniformity", "x" * 300 + ".npy"], "too long"),
    "a name with a NUL": (lambda folder: ["uniformity", "a::b::c"], "no such file"),
    "shards of other columns": (shards((4, 3), (4, 2)), "missing: number 2"),
    "two sets of shards": (two_sets, r"several sets of shards, test-\*, train-\*; name one"),
    "shards a folder down": (folder_down, "folders in it hold some: .*data"),
    "embeddings and labels in a folder": (both_in_a_folder, "emb.npy --labels .*labels.npy"),
    "a missing shard": (shards((4, 3), (4, 3)), "missing: number"),
    "a key that is not there": (unknown_key, "no such key; the file holds 'embeddings'"),
    "rules that are no TOML": (gate("[[rule]"), "rules.toml"),
    "a rule with an unknown key": (gate('[[rule]]\nmetric = "uniformity"\nmaxx = 1'), "maxx"),
    "a rule given twice": (gate('[[rule]]\nmetric = "a"\nmetric = "b"'), "rules.toml"),
    "a rule of an unknown metric": (gate('[[rule]]\nmetric = "unifority"\nmax = 1'), "uniformity"),
    "a damaged baseline": (damaged_baseline, "base.json"),
    "a baseline that points elsewhere": (baseline_elsewhere, "its arrays .*ci/secret.npz: No such"),
    "a queue of other dimensions": (
        with_second(ROWS[:, :2], "losses", "--queue"),
        "pairs|dimensions",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_malformed_combinations(cli, case):
    make, message = CASES[case]
    arguments = make(cli.folder)
    text = cli.fails(*arguments)
    assert_one_error(text, "")
    assert re.search(message, text), text


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x93NUMPY", npy_bytes(ROWS)[:-3], ROWS.tobytes()]
)
def test_malformed_standard_input(cli, content):
    assert "standard input" in cli.fails("uniformity", "-", stdin=content)


# ---- odd, and no fault


def test_rows_of_hardly_any_norm(cli):
    rows = ROWS.astype(np.float64)
    rows[[2, 5]] *= 1e-310
    np.save(cli.folder / "tiny.npy", rows)
    result = cli("uniformity", "tiny.npy", "--no-files")
    assert result.returncode == 0, result.stderr
    assert "rows 2, 5: values so close to zero that digits of them are lost" in result.stderr
    assert "digits of them are lost" in cli("inspect", "tiny.npy").stdout
    np.save(cli.folder / "tiny.npy", rows[[0, 1, 3]] * 1e-30)
    assert "digits" not in cli("uniformity", "tiny.npy", "--no-files").stderr


@pytest.mark.parametrize(
    ("labels", "n_null", "said"),
    [
        (np.arange(17), 3, "classes with one member"),
        (np.zeros(17), 2, ""),
        (np.where(np.arange(17) < 14, np.nan, 3), 2, "14 rows are unlabelled"),
        (np.array([""] * 16 + ["a"]), 4, "16 rows are unlabelled"),
    ],
    ids=["every row its own class", "one class", "labels with NaN", "one label"],
)
def test_labels_that_say_little_give_nulls_with_reasons(cli, labels, n_null, said):
    np.savez(cli.folder / "e.npz", embeddings=ROWS, labels=labels)
    result = cli("tolerance", "e.npz", "--json", "--no-files")
    assert result.returncode == 0, result.stderr
    assert said in result.stderr
    records = json.loads(result.stdout)["results"]
    empty = [record for record in records if record["value"] is None]
    assert len(empty) == n_null
    assert all(record["reason"] for record in empty)


def test_a_million_classes(cli):
    rows = (np.arange(2_000_000).reshape(-1, 2) % 7 + 1).astype(np.float16)
    np.savez(cli.folder / "e.npz", embeddings=rows, labels=np.arange(10**6))
    result = cli("inspect", "e.npz")
    assert result.returncode == 2
    assert "1000000 classes of 1000000 rows: these are rather ids" in result.stdout
    assert "1000000 classes have one member" in result.stdout


def test_enough_cases():
    assert len(FILES) + len(CASES) >= 60
