"""Untrusted files, names and surroundings: nothing runs, hangs, floods or is shown raw."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.conftest import ROOT

torch = pytest.importorskip("torch")

EVIL = "k\n::error::owned\x1b[31m\u202e\x9b1m"
ROWS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
RULES = '[[rule]]\nmetric = "uniformity"\nmax = 0\n'
SECONDS = 30


def harmless(text):
    """Nothing that a terminal obeys, and no line that a CI log takes for a command."""
    assert not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", text
    )
    assert not any(line.startswith("::error::owned") for line in text.splitlines()), text
    return text


# ---- names


def names_in_npz(path):
    np.savez(path / "e.npz", **{EVIL: ROWS, f"a{EVIL}": ROWS, "labels": np.arange(40) % 2})
    return ["e.npz"]


def classes(path):
    labels = np.array([EVIL, "b\x1b]0;x\x07"] * 20)
    np.savez(path / "e.npz", embeddings=ROWS, labels=labels)
    return ["e.npz"]


def surrogates(path):
    torch.save({"embeddings": torch.tensor(ROWS), "labels": ["\ud800x", "b"] * 20}, path / "e.pt")
    return ["e.pt"]


def columns(path):
    table = pa.table({EVIL: ROWS[:, 0], "b": ROWS[:, 1], f"c{EVIL}": [EVIL] * 40})
    pa.parquet.write_table(table, path / "e.parquet")
    return ["e.parquet"]


def csv_columns(path):
    lines = ["a\x1b[31m,b,\u202ec", *(f"{x},{y},{EVIL[6:9]}" for x, y in ROWS[:, :2])]
    (path / "e.csv").write_text("\n".join(lines))
    return ["e.csv"]


def file_name(path):
    np.save(path / f"{EVIL}.npy".replace("/", ""), ROWS)
    return [f"{EVIL}.npy"]


def folder_name(path):
    (path / EVIL).mkdir()
    np.save(path / EVIL / "e.npy", ROWS)
    return [f"{EVIL}/e.npy"]


def tensors(path):
    torch.save({EVIL: torch.tensor(ROWS), "b": torch.tensor(ROWS)}, path / "e.pt")
    return ["e.pt"]


def hdf5(path):
    import h5py

    with h5py.File(path / "e.h5", "w") as file:
        file[EVIL.replace("\x9b", "")] = ROWS
        file["b"] = ROWS
    return ["e.h5"]


def safetensors(path):
    header = json.dumps(
        {
            EVIL: {"dtype": "F32", "shape": [40, 6], "data_offsets": [0, 960]},
            "b": {"dtype": EVIL, "shape": [0], "data_offsets": [0, 0]},
        }
    ).encode()
    (path / "e.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + ROWS.tobytes())
    return ["e.safetensors"]


def splits(path):
    (path / "e.dataset").mkdir()
    content = json.dumps({"splits": [EVIL, "b"]})
    (path / "e.dataset" / "dataset_dict.json").write_text(content)
    return ["e.dataset"]


NAMES = [
    names_in_npz, classes, surrogates, columns, csv_columns, file_name, folder_name, tensors, hdf5,
    safetensors, splits,
]  # fmt: skip


@pytest.mark.parametrize("make", NAMES, ids=lambda make: make.__name__)
def test_names_from_files_are_shown_and_harmless(cli, make):
    """On the terminal, in every file that is written, in JSON and for CI."""
    paths = make(cli.folder)
    for path in paths:
        harmless(cli("inspect", path).stdout)
        harmless(cli("uniformity", path, "--no-files").stderr)
        result = cli("report", path, "--no-files", "--json", "--k", 1, "--tau", 0.2)
        assert "internal error" not in result.stderr, result.stderr
        harmless(result.stderr)
        if result.returncode:
            continue
        harmless(result.stdout)
        json.loads(result.stdout)
        result = cli("tolerance", path, "-o", "out")
        for text in (result.stdout, result.stderr):
            harmless(text)
        for written in (cli.folder / "out").rglob("*.csv"):
            harmless(written.read_text())


def test_names_are_harmless_for_ci(cli):
    name = f"{EVIL}.npy"
    np.save(cli.folder / name, ROWS)
    (cli.folder / "r.toml").write_text(RULES.replace("max = 0", "max = -9"))
    result = cli(
        "check", name, "--rules", "r.toml", "--junit", "j.xml", "--markdown", "m.md",
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(cli.folder / "s.md"),
    )  # fmt: skip
    assert result.returncode == 1
    commands = [line for line in result.stderr.splitlines() if line.startswith("::")]
    assert len(commands) == 1
    for text in (result.stdout, result.stderr):
        harmless(text)
    for file in ("j.xml", "m.md", "s.md"):
        harmless((cli.folder / file).read_text())


def test_markdown_mentions_and_links_nobody(cli):
    np.save(cli.folder / "@team www.example.org https:--x.npy", ROWS)
    (cli.folder / "r.toml").write_text(RULES)
    result = cli(
        "check", "@team www.example.org https:--x.npy", "--rules", "r.toml", "--markdown", "m.md"
    )
    assert result.returncode == 0, result.stderr
    text = (cli.folder / "m.md").read_text()
    assert "@team" not in text
    assert "www.example" not in text


def test_secrets_of_urls_are_shown_nowhere(cli):
    url = "https://me:word@127.0.0.1:9/emb.npy?X-Amz-Signature=secret"
    text = cli.fails("uniformity", url)
    assert "127.0.0.1" in text
    assert "word" not in text
    assert "secret" not in text


@pytest.mark.parametrize("key", ['"a\\n::error::owned\\u001b[31m"', '"\\u202e"'])
def test_keys_of_rules_are_harmless(cli, key):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "r.toml").write_text(f"{RULES}{key} = 1\n")
    harmless(cli.fails("check", "e.npy", "--rules", "r.toml"))


def test_fields_of_baselines_are_harmless(cli):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "r.toml").write_text(RULES.replace("max = 0", "max_drop = 1"))
    cli("check", "e.npy", "--rules", "r.toml", "--save-baseline", "b.json")
    document = json.loads((cli.folder / "b.json").read_text())
    for change in (
        lambda d: d.update(schema=EVIL),
        lambda d: d["sources"][0].update(source=EVIL),
        lambda d: d["sources"][0]["results"][0].update(metric=EVIL),
        lambda d: d["data"].update(file=EVIL),
        lambda d: d["data"].update(file="a\0b"),
        lambda d: d["data"].update(file=7),
        lambda d: d["sources"][0].update(n=EVIL),
        lambda d: d.update(sources=7),
    ):
        changed = json.loads(json.dumps(document))
        change(changed)
        (cli.folder / "c.json").write_text(json.dumps(changed))
        harmless(cli.fails("check", "e.npy", "--rules", "r.toml", "--baseline", "c.json"))
    changed = json.loads(json.dumps(document))
    changed["version"] = EVIL
    (cli.folder / "c.json").write_text(json.dumps(changed))
    result = cli("check", "e.npy", "--rules", "r.toml", "--baseline", "b.json")
    harmless(cli("check", "e.npy", "--rules", "r.toml", "--baseline", "c.json").stderr)
    assert result.returncode == 0


# ---- small files that promise much


def npy(shape):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (64 - (len(head) + 13) % 64) + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(head)) + head


def saved(content):
    def write(path):
        path.write_bytes(content)

    return write


def torch_saved(make):
    def write(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(make(), path)

    return write


def within(kind):
    """A dictionary or a list that holds itself."""
    holder: object = {} if kind is dict else []
    if isinstance(holder, dict):
        holder["a"] = holder
    else:
        holder += [torch.ones(3, 2), holder]
    return holder


def deflated(path):
    stream = io.BytesIO()
    torch.save({"embeddings": torch.tensor(ROWS)}, stream)
    with zipfile.ZipFile(stream) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for info in plain.infolist():
            file.writestr(info.filename, plain.read(info))


def safetensors_header(entry, padding=0):
    head = json.dumps({"z": entry}).encode()[:-1] + b" " * padding + b"}"
    return struct.pack("<Q", len(head)) + head + b"\0" * 64


def zarr_with_fifo(path):
    zarr = pytest.importorskip("zarr")

    zarr.open_group(path, mode="w").create_array("z", data=ROWS)
    (path / "q").mkdir()
    os.mkfifo(path / "q" / "zarr.json")


def zarr_of_a_billion(path):
    zarr = pytest.importorskip("zarr")

    zarr.create_array(path, shape=(10**9, 10**9), chunks=(1, 1), dtype="f4")


def shards(path):
    path.mkdir()
    np.save(path / "emb-00000-of-99999999999.npy", ROWS)


def columns_of(n):
    return (",".join(["0.5"] * n) + "\n").encode() * 2


def inflating_hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("z", (2**31, 64), "f4", chunks=(2**16, 64), compression="gzip")


PROMISES = {
    "digits.npy": (saved(npy(f"({'9' * 3000}, 2)")), "no array has the shape|cannot be parsed"),
    "more-digits.npy": (saved(npy(f"({'9' * 6000}, 2)")), "cannot be parsed"),
    "huge.npy": (saved(npy("(1000000000, 1000000000)") + b"\0" * 64), "truncated"),
    "expanded.pt": (torch_saved(lambda: torch.zeros(1).expand(10**6, 10**6)), "tensor.clone"),
    "strided.pt": (
        torch_saved(lambda: torch.zeros(9).as_strided((10**6, 10**6), (0, 0))),
        "stored",
    ),
    "self.pt": (torch_saved(lambda: within(dict)), "no tensor"),
    "self-list.pt": (torch_saved(lambda: within(list)), "a list of tensors"),
    "nested.pt": (
        torch_saved(lambda: torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(3, 3)])),
        "to_padded_tensor",
    ),
    "deflated.pt": (deflated, "is compressed, which torch.save never does"),
    "axes.safetensors": (
        saved(safetensors_header({"dtype": "F32", "shape": [1] * 400_000, "data_offsets": [0, 4]})),
        "400000 axes",
    ),
    "header.safetensors": (
        saved(
            safetensors_header({"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, 1 << 25)
        ),
        "its header takes 32 MiB, at most 16",
    ),
    "fifo.zarr": (zarr_with_fifo, "is a FIFO"),
    "billion.zarr": (zarr_of_a_billion, r"promises 1\d* chunks"),
    "shards": (shards, "1 of 99999999999 shards are there"),
    "wide.csv": (saved(columns_of(10**5)), "it has 100000 columns"),
    "wider.csv": (saved(columns_of(10**6)), "it has 1000000 columns"),
    "long-line.csv": (saved(b"0.5" * 2**23), "a line of more than"),
    "unwritten.h5": (inflating_hdf5, "0 of its 32768 chunks were written"),
}


@pytest.mark.parametrize("name", PROMISES)
def test_promises_are_refused_at_once(cli, name):
    make, message = PROMISES[name]
    make(cli.folder / name)
    started = time.process_time()
    text = cli.fails("uniformity", name)
    assert time.process_time() - started < SECONDS
    assert re.search(message, text), text
    assert len(text) < 5_000, "a message has a bounded length"


def test_tensors_that_share_bytes_are_refused(cli):
    header = json.dumps(
        {
            "a": {"dtype": "F32", "shape": [10, 2], "data_offsets": [0, 80]},
            "b": {"dtype": "F32", "shape": [10, 2], "data_offsets": [40, 120]},
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + b"\0" * 120
    (cli.folder / "e.safetensors").write_bytes(content)
    assert "'a' and 'b' share bytes" in cli.fails("uniformity", "e.safetensors")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".zarr"])
def test_what_inflates_is_refused_where_memory_is_little(tmp_path, monkeypatch, suffix):
    """4 MB of zeros in a few kB, and little memory: refused before they are decoded."""
    from cl_analyze.data import memory
    from cl_analyze.data.opening import Spec, open_embeddings
    from cl_analyze.errors import DataError

    zeros, path = np.zeros((1000, 1000), np.float32), tmp_path / f"e{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, embeddings=zeros)
    elif suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("z", data=zeros, chunks=zeros.shape, compression="gzip")
    else:
        zarr = pytest.importorskip("zarr")

        store = zarr.open_group(path, mode="w")
        store.create_array("z", data=zeros, chunks=zeros.shape, config={"write_empty_chunks": True})
    monkeypatch.setattr(memory, "free_memory", lambda: 8 << 20)
    with pytest.raises(DataError, match=r"times the .* that are stored"):
        open_embeddings(Spec(str(path))).main.array.read(0, 10)


def test_how_much_an_archive_expands_is_told(cli):
    rows = np.zeros((20_000, 1000), np.float32)
    rows[:, 0] = 1
    np.savez_compressed(cli.folder / "e.npz", embeddings=rows)
    result = cli("uniformity", "e.npz", "--no-files", "--anchors", 10)
    assert re.search(r"76 MiB of it are decoded at once, \d+ times what is stored", result.stderr)


# ---- rules, baselines and options


def fifo(path):
    os.mkfifo(path)


# fmt: off
BAD_RULES = {
    "fifo.toml": (fifo, "no regular file"),
    "link.toml": (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    "folder.toml": (lambda path: path.mkdir(), "Is a directory"),
    "deep.toml": (saved(b"a" + b".a" * 100_000 + b" = 1"), "more than 100 parts"),
    "inline.toml": (saved(b"x = {a" + b".a" * 100_000 + b" = 1}"), "more than 100 parts"),
    "lists.toml": (saved(b"x = " + b"[" * 30_000), "not valid TOML"),
    "hexadecimal.toml": (saved(RULES.encode() + b"min = 0x" + b"f" * 9**5), "an integer"),
    "long.toml": (saved(RULES.encode() + b"min = " + b"9" * 100_000), "not valid TOML"),
    "infinite.toml": (saved(RULES.encode() + b"min = 1e400"), "must be a finite number, found inf"),
    "nul.toml": (saved(RULES.encode() + b"unit = \"a\0\""), "not valid TOML"),
    "latin.toml": (saved(b"# caf\xe9\n" + RULES.encode()), "not valid TOML"),
    "long-key.toml": (saved(RULES.encode() + b"a" * 100_000 + b" = 1"), "unknown key"),
    "endless.toml": (saved(b"#" * (5 << 20)), "more than 4096 KiB"),
}
# fmt: on


@pytest.mark.parametrize("name", BAD_RULES)
def test_rules_that_are_none(cli, name):
    np.save(cli.folder / "e.npy", ROWS)
    make, message = BAD_RULES[name]
    make(cli.folder / name)
    text = cli.fails("check", "e.npy", "--rules", name)
    assert re.search(message, text), text
    assert len(text) < 5_000


@pytest.mark.parametrize(
    "content", [fifo, lambda p: p.symlink_to("/dev/zero"), saved(b"\xff" * 99)]
)
def test_baselines_that_are_none(cli, content):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "r.toml").write_text(RULES)
    content(cli.folder / "b.json")
    assert "--baseline b.json" in cli.fails(
        "check", "e.npy", "--rules", "r.toml", "--baseline", "b.json"
    )


def test_a_byte_order_mark_is_no_part_of_a_text(cli):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "r.toml").write_text(
        RULES.replace("max = 0", "max_worse = 9"), encoding="utf-8-sig"
    )
    (cli.folder / "y.txt").write_text("\n".join("ab" * 20), encoding="utf-8-sig")
    assert cli("check", "e.npy", "--rules", "r.toml", "--save-baseline", "b.json").returncode == 0
    text = (cli.folder / "b.json").read_text()
    (cli.folder / "b.json").write_text(text, encoding="utf-8-sig")
    result = cli("check", "e.npy", "--rules", "r.toml", "--baseline", "b.json")
    assert result.returncode == 0, result.stderr
    assert "n=40" in cli("tolerance", "e.npy", "--labels", "y.txt", "--no-files").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--memory", "1e400"],
        ["--memory", "9" * 400],
        ["--memory", "²"],
        ["--memory", "0"],
        ["--curve-anchors", "²"],
        ["--curve-anchors", "9" * 5000],
        ["--top-k", "9" * 30],
        ["--scheduler", "http://127.0.0.1:9"],
        ["--scheduler", "tcp://127.0.0.1:99999999999"],
        ["--scheduler", "tcp://[::1]:9"],
        ["--scheduler", "ucx://127.0.0.1:9"],
        ["--scheduler", "tls://127.0.0.1:9"],
        ["--scheduler", "tcp://\x1b[31m:9"],
    ],
)
def test_options_that_are_none(cli, arguments):
    np.save(cli.folder / "e.npy", ROWS)
    harmless(cli.fails("similarity", "e.npy", "--no-files", *arguments))


@pytest.mark.parametrize(
    "name", ["a" * 300, "a" * 300 + "::KEY", "a" * 5000 + ".npy", "\udcff.npy", "a/" * 3000]
)
def test_names_that_no_file_has(cli, name):
    text = cli.fails("uniformity", name)
    harmless(text)
    assert len(text) < 5_000


def test_folders_and_files_with_brackets_are_no_patterns(cli):
    (cli.folder / "run[1]").mkdir()
    np.save(cli.folder / "run[1]" / "e.npy", ROWS)
    np.save(cli.folder / "z[0].npy", ROWS)
    np.savez(cli.folder / "run[1]" / "e.npz", z=ROWS)
    for name in ("run[1]/e.npy", "z[0].npy", "run[1]/e.npz::z", "run[1]/e*.npy"):
        result = cli("uniformity", name, "--no-files")
        assert result.returncode == 0, result.stderr
    assert "no such file" in cli.fails("uniformity", "run[1]/missing.npy")


@pytest.mark.parametrize(
    ("command", "option", "others"),
    [
        ("uniformity", "--tau", "penalty"),
        ("tolerance", "--tau", "penalty"),
        ("uniformity", "--batch-size", "losses"),
    ],
)
def test_an_option_of_another_command(cli, command, option, others):
    np.save(cli.folder / "e.npy", ROWS)
    text = cli.fails(command, "e.npy", option, "0.1")
    assert f"{command} has no {option}: it is an option of" in text
    assert others in text


def test_files_in_natural_order(cli):
    for step in (1000, 10000, 1500, 200):
        np.save(cli.folder / f"step-{step}.npy", ROWS + step / 5000)
    names = sorted(path.name for path in cli.folder.glob("*.npy"))
    assert names[0] == "step-1000.npy"
    result = cli("uniformity", *names, "--no-files", "--json")
    found = list(dict.fromkeys(r["source"] for r in json.loads(result.stdout)["results"]))
    assert found == ["step-200.npy", "step-1000.npy", "step-1500.npy", "step-10000.npy"]
    typed = ["step-1500.npy", "step-1000.npy", "step-200.npy"]
    result = cli("uniformity", *typed, "--no-files", "--json")
    assert list(dict.fromkeys(r["source"] for r in json.loads(result.stdout)["results"])) == typed


# ---- where results go


def test_what_is_no_file_is_written_through_and_links_are_followed(cli):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "r.toml").write_text(RULES)
    (cli.folder / "real.xml").write_text("old")
    (cli.folder / "real.xml").chmod(0o600)
    (cli.folder / "link.xml").symlink_to("real.xml")
    result = cli("check", "e.npy", "--rules", "r.toml", "--junit", "link.xml")
    assert result.returncode == 0, result.stderr
    assert (cli.folder / "link.xml").is_symlink()
    assert (cli.folder / "real.xml").read_text().startswith("<?xml")
    assert (cli.folder / "real.xml").stat().st_mode & 0o777 == 0o600
    os.mkfifo(cli.folder / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=cli.folder, stdout=subprocess.PIPE) as reader:
        time.sleep(0.2)
        result = cli("check", "e.npy", "--rules", "r.toml", "--markdown", "pipe")
        assert result.returncode == 0, result.stderr
        assert reader.stdout is not None
        assert b"cl-analyze check: pass" in reader.stdout.read()
    assert not (cli.folder / "pipe").is_file()
    text = cli("check", "e.npy", "--rules", "r.toml", "--save-baseline", "pipe").stderr
    assert "is no regular file" in text


def test_nothing_is_written_or_deleted_through_a_link_out_of_the_folder(cli):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "elsewhere").mkdir()
    (cli.folder / "elsewhere" / "uniformity.csv").write_text("mine")
    (cli.folder / "out").mkdir()
    (cli.folder / "out" / "tables").symlink_to("../elsewhere")
    text = cli("uniformity", "e.npy", "-o", "out").stderr
    assert "is a link out of" in text
    assert (cli.folder / "elsewhere" / "uniformity.csv").read_text() == "mine"
    index = {"uniformity": ["tables/old.csv", "tables/uniformity.csv"]}
    (cli.folder / "out" / "tables").unlink()
    assert cli("uniformity", "e.npy", "-o", "out").returncode == 0
    (cli.folder / "out" / ".cl-analyze-files.json").write_text(
        json.dumps({"uniformity": [*index["uniformity"], "away/uniformity.csv"]})
    )
    (cli.folder / "out" / "away").symlink_to("../elsewhere")
    assert cli("uniformity", "e.npy", "-o", "out").returncode == 0
    assert (cli.folder / "elsewhere" / "uniformity.csv").read_text() == "mine"


def test_an_index_that_is_a_fifo_is_no_index(cli):
    np.save(cli.folder / "e.npy", ROWS)
    (cli.folder / "out").mkdir()
    os.mkfifo(cli.folder / "out" / ".cl-analyze-files.json")
    assert cli("uniformity", "e.npy", "-o", "out").returncode == 0


def test_an_edited_state_of_a_pass_is_refused(cli):
    np.save(cli.folder / "e.npy", np.random.default_rng(0).standard_normal((3000, 8)))
    arguments = ("uniformity", "e.npy", "--no-files", "--resume", "states")
    assert cli(*arguments).returncode == 0
    (state,) = (cli.folder / "states").glob("pass-*.npz")
    content = bytearray(state.read_bytes())
    content[-200] ^= 1
    state.write_bytes(content)
    assert "its SHA-256 differs" in cli(*arguments).stderr
    with zipfile.ZipFile(state, "w") as archive:
        archive.writestr("n_units.npy", b"")
    assert "cannot be read" in cli(*arguments).stderr


# ---- files that change while they are read

CHANGING = """
import os, sys
import numpy as np
from cl_analyze.data.opening import Spec, open_embeddings
array = open_embeddings(Spec(sys.argv[1])).main.array
array.read(0, 5)
{change}
try:
    while True:
        array.read(0, array.n_rows)
        array.take(np.array([3, 1000]))
        break
    print("read")
except Exception as error:
    print(type(error).__name__, error)
"""


def save_as(path, rows):
    if path.suffix == ".pt":
        torch.save({"embeddings": torch.tensor(rows)}, path)
    elif path.suffix == ".npy":
        np.save(path, np.asfortranarray(rows))
    else:
        table = pa.table({"z": pa.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1])})
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize(
    "change", ["os.truncate(sys.argv[1], 5000)", "os.utime(sys.argv[1], (1, 1))"]
)
@pytest.mark.parametrize("suffix", [".pt", ".npy", ".arrow"])
def test_a_file_that_changes_is_told(tmp_path, suffix, change):
    path = tmp_path / f"e{suffix}"
    rows = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)
    save_as(path, rows)
    result = subprocess.run(
        [sys.executable, "-c", CHANGING.format(change=change), str(path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, "no bus error"
    assert "DataError" in result.stdout
    assert "has changed since it was opened" in result.stdout


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".arrow"])
def test_rows_by_bytes_are_the_rows(tmp_path, suffix):
    from cl_analyze.data.opening import Spec, open_embeddings

    rows = np.random.default_rng(1).standard_normal((2000, 16)).astype(np.float32)
    save_as(tmp_path / f"e{suffix}", rows)
    array = open_embeddings(Spec(str(tmp_path / f"e{suffix}"))).main.array
    np.testing.assert_array_equal(array.read(0, 2000), rows)
    np.testing.assert_array_equal(array.read(700, 731), rows[700:731])
    some = np.array([1999, 0, 5, 5, 1200])
    np.testing.assert_array_equal(array.take(some), rows[some])


# ---- web servers


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT, well or badly."""

    behaviour = "good"
    content = b""
    asked = 0

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        cls = type(self)
        cls.asked += 1
        start, stop = map(int, re.match(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        total = len(cls.content)
        stop = min(stop, total - 1)
        data = cls.content[start : stop + 1]
        kind = cls.behaviour
        if kind == "no ranges":
            self.send_response(200)
            data = cls.content
        else:
            self.send_response(206)
            if kind == "another range":
                start, stop = start + 1, stop + 1
            self.send_header("Content-Range", f"bytes {start}-{stop}/{total}")
        self.send_header("ETag", str(cls.asked // 3) if kind == "changes" else "1")
        if kind == "short":
            data = data[:-1]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    stream = io.BytesIO()
    np.save(stream, ROWS.repeat(100, axis=0))
    Server.content, Server.asked = stream.getvalue(), 0
    running = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/emb.npy"
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("good", None),
        ("no ranges", "does not answer ranges"),
        ("another range", "asked for bytes 0 to"),
        ("changes", "the content has changed"),
        ("short", "asked for bytes|cannot be read"),
    ],
)
def test_web_servers_good_and_bad(cli, server, behaviour, message):
    Server.behaviour = behaviour
    result = cli("uniformity", f"{server}?token=secret", "--no-files", "--json")
    assert "secret" not in result.stdout + result.stderr
    if message is None:
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["results"][0]["n"] == 4000
    else:
        assert result.returncode == 2
        assert re.search(message, result.stderr), result.stderr


WATCHED = """
import sys
def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.gethostby", "urllib.")):
        sys.stderr.write(f"asked the network: {event} {arguments}\\n")
sys.addaudithook(watch)
from cl_analyze.cli.entry import main
main()
"""


def watched(arguments, folder):
    """What a run says that tells of every name it looks up and every connection it opens."""
    command = [sys.executable, "-c", WATCHED, *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_run_asks_nothing_of_the_network(tmp_path, few, server):
    assert "asked the network" not in watched(["report", few], tmp_path)
    assert (tmp_path / "cl-analyze-out" / "report.html").exists()
    Server.behaviour = "good"
    asked = watched(["uniformity", server, "--no-files"], tmp_path)
    assert "asked the network" in asked, "an address is the one exception"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/e.npy", "github://a:b@c/e.npy", "zip://x::e.npy"])
def test_other_urls_are_not_read(cli, url):
    assert "URLs are not read" in cli.fails("uniformity", url)


def test_a_file_that_is_deleted_during_a_run_is_no_bug(cli, monkeypatch):
    program = (
        "import sys, os\nfrom cl_analyze.analysis import run as analysis\n"
        "from cl_analyze.cli import entry\n"
        "real = analysis.measure_one\n"
        "def measure(prepared, *rest):\n"
        "    os.unlink('e.arrow'); prepared.subject.release(); return real(prepared, *rest)\n"
        "analysis.measure_one = measure\n"
        "entry.main(['uniformity', 'e.arrow', '--no-files'])\n"
    )
    save_as(cli.folder / "e.arrow", np.random.default_rng(0).standard_normal((2000, 16)))
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=cli.folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 2, result
    assert "bug" not in result.stderr
    assert "e.arrow" in result.stderr


def test_rows_at_the_end_of_the_range(cli):
    rows = np.random.default_rng(0).standard_normal((40, 6))
    np.save(cli.folder / "e.npy", rows / np.abs(rows).max() * 1.7e308)
    np.save(cli.folder / "small.npy", rows)
    found = []
    for name in ("e.npy", "small.npy"):
        result = cli("report", name, "--no-files", "--json", "--k", 1)
        assert result.returncode == 0, result.stderr
        results = json.loads(result.stdout)["results"]
        found.append({(r["metric"], r["definition"]): r["value"] for r in results})
        assert all(r["value"] is not None or r["reason"] for r in results)
    for key in (("uniformity", "u_stat"), ("effective_rank", "normalised")):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-9)


def test_words_of_labels_that_would_not_fit_are_refused(monkeypatch):
    from cl_analyze.data import memory
    from cl_analyze.data.labels import encode
    from cl_analyze.data.opening import from_memory
    from cl_analyze.errors import DataError

    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)
    with pytest.raises(DataError, match="words of labels takes 19 MiB"):
        encode(from_memory(np.zeros(132_000, np.int8), "y.npy"))


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252"])
def test_output_in_another_encoding(cli, encoding):
    np.save(cli.folder / "模型.npy", ROWS)
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    result = subprocess.run(
        [sys.executable, "-m", "cl_analyze", "uniformity", "模型.npy", "--no-files"],
        cwd=cli.folder, capture_output=True,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result
    assert rb"\u6a21\u578b.npy" in result.stdout
    assert "uniformity" in result.stdout.decode(encoding)


def test_a_temporary_file_of_a_live_process_stays(tmp_path):
    """Also where its number says nothing: containers have process numbers of their own."""
    import fcntl
    import socket

    from cl_analyze.output import remove_abandoned

    dead = subprocess.Popen(["true"])
    dead.wait()
    path = tmp_path / f".cl-analyze-tmp-{socket.gethostname()}-{dead.pid}-0123"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove_abandoned([tmp_path])
        assert path.exists()
    remove_abandoned([tmp_path])
    assert not path.exists()


def test_a_folder_that_another_process_locks_is_waited_for_and_told(cli, monkeypatch):
    import fcntl

    from cl_analyze import output
    from cl_analyze.errors import ConfigError

    (cli.folder / "out").mkdir()
    monkeypatch.setattr(output, "LONGEST_WAIT", 0.2)
    descriptor = os.open(cli.folder / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(ConfigError, match="another process has held its lock"):
            output.write_files(cli.folder / "out", "uniformity", {"a.txt": b"x"})
    finally:
        os.close(descriptor)
    assert output.write_files(cli.folder / "out", "uniformity", {"a.txt": b"x"})


# ---- memory, signals and what a notebook hands down


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
@pytest.mark.parametrize("kibibytes", [300_000, 330_000, 400_000])
def test_a_limit_of_memory_is_no_failed_check(cli, kibibytes):
    np.save(cli.folder / "e.npy", np.random.default_rng(0).standard_normal((3000, 64)))
    (cli.folder / "r.toml").write_text(RULES)
    (cli.folder / "j.xml").write_text("<an-earlier-verdict/>")
    command = f"{sys.executable} -m cl_analyze check e.npy --rules r.toml --junit j.xml"
    line = f"ulimit -v {kibibytes}; {command}"
    result = subprocess.run(
        ["bash", "-c", line], cwd=cli.folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode in (0, 2), result
    text = (cli.folder / "j.xml").read_text()
    assert "earlier" not in text
    if result.returncode == 2:
        assert "out of memory" in result.stderr, result.stderr
        assert "could not judge" in text
        assert "bug" not in result.stderr


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense"])
def test_figures_ask_for_no_backend(cli, backend):
    np.save(cli.folder / "e.npy", ROWS)
    result = cli("uniformity", "e.npy", MPLBACKEND=backend)
    assert result.returncode == 0, result.stderr
    assert (cli.folder / "cl-analyze-out/figures/uniformity.png").exists()


def test_a_reader_of_python_keeps_its_own_backend():
    program = (
        "import os; os.environ['MPLBACKEND'] = 'svg'\n"
        "import cl_analyze as cla, numpy as np, tempfile\n"
        "cla.analyze(np.eye(4), metrics='uniformity').save(tempfile.mkdtemp())\n"
        "import matplotlib.pyplot as plt; print(os.environ['MPLBACKEND'], plt.get_backend())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout.split() == ["svg", "svg"], result


def test_ctrl_c_says_what_is_left(cli):
    program = (
        "import signal, sys\nfrom cl_analyze.cli import app, entry\n"
        "def run(**rest):\n    signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "app.app = run\nentry.main(sys.argv[1:])\n"
    )
    for arguments, words in (
        (["report", "e.npy"], "nothing was written; with --resume DIR"),
        (["report", "e.npy", "--resume", "x y"], "is kept in x y: the same command goes on from"),
        (["report", "--resume=x=1", "e.npy"], "is kept in x=1: the same command goes on from it"),
        (["report", "e.npy", "--resume=x", "--resume", "y\033"], "is kept in y\\x1b: the same"),
        (["inspect", "e.npy"], "nothing was written\n"),
    ):
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert result.returncode == 130
        assert result.stderr.startswith("interrupted: ")
        assert words in result.stderr
        assert "Traceback" not in result.stderr


def test_a_signal_after_the_last_file_is_143(cli):
    program = (
        "import atexit, os, signal, sys\nfrom cl_analyze.cli import app, entry\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "app.app = lambda **rest: 0\nsys.argv = ['cl-analyze']\nentry.main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 128 + signal.SIGTERM
    assert result.stderr == ""


def test_a_stopped_save_of_a_state_leaves_no_open_archive(tmp_path):
    from cl_analyze.data.formats.npz import read_arrays, write_arrays

    class Interrupted(io.BytesIO):
        def write(self, data):
            if self.tell() > 3000:
                raise KeyboardInterrupt
            return super().write(data)

    arrays = {"a": np.arange(10_000.0), "b": np.ones((3, 4), dtype=np.float32)}
    with pytest.raises(KeyboardInterrupt):
        write_arrays(Interrupted(), arrays)
    stream = io.BytesIO()
    write_arrays(stream, arrays)
    stream.seek(0)
    found = read_arrays(stream)
    assert found.keys() == arrays.keys()
    np.testing.assert_array_equal(found["a"], arrays["a"])
