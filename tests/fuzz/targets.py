"""What is fuzzed: every reader, the rewriting of lists, keys, project files, baselines, caches."""

from __future__ import annotations

import atexit
import base64
import gzip
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import strategies as st

from cl_analyze.checks.baseline import load_baseline
from cl_analyze.checks.rules import Rule, load_rules
from cl_analyze.checks.run import CheckOptions, run_checks
from cl_analyze.cli.lists import rewrite
from cl_analyze.data import memory
from cl_analyze.data.identifiers import identify
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, open_container, open_embeddings
from cl_analyze.data.validation import check_rows
from cl_analyze.errors import AnalysisError
from cl_analyze.options import FAMILIES, FORMATS, Request, RunOptions
from cl_analyze.options.defaults import defaults_for
from cl_analyze.options.kinds import Numbers, Words
from cl_analyze.project_file import read_project_file
from tests.fuzz import names
from tests.fuzz.mutations import Spoilt, drawn, spoilt

ROWS = np.random.default_rng(2).standard_normal((9, 3)).astype(np.float32)
LABELS = np.arange(9) % 2
WORDS = np.array(["a", "b", "c"])[np.arange(9) % 3]
SLOW = 500
"""Cost from which a target is left to campaigns and the night: each case starts a process."""
ROOM = 1 << 30
"""Bytes that readers are told are free: what wants more must be refused, not tried."""


@dataclass(frozen=True)
class Target:
    """Something to be fuzzed.

    Attributes:
        cases: draws one by Hypothesis.
        draw: draws one by a seeded generator, which is faster.
        run: takes it; raises nothing but errors of our own.
        cost: roughly how long a case takes, against the cheapest.
    """

    cases: st.SearchStrategy[object]
    draw: Callable[[Random], object]
    run: Callable[[object], None]
    cost: int = 1


def of_files(n_files: int, run: Callable[[object], None], cost: int) -> Target:
    """A target whose cases are files of a corpus with something wrong."""
    return Target(spoilt(n_files), lambda random: drawn(random, n_files), run, cost)


@cache
def folder() -> Path:
    """Where the files of cases are written; in memory where the system has such a place."""
    memory_disk = Path("/dev/shm")
    parent = memory_disk if memory_disk.is_dir() else None
    made = Path(tempfile.mkdtemp(prefix="cl-analyze-fuzz-", dir=parent))
    atexit.register(shutil.rmtree, made)  # not after a crash, which leaves its case
    return made


@contextmanager
def little_room() -> Iterator[None]:
    """Readers are told that a gibibyte is free."""
    real = memory.free_memory
    memory.free_memory = lambda: ROOM
    try:
        yield
    finally:
        memory.free_memory = real


def read_all(path: Path) -> None:
    """All that a command would do with a file's content before it measures anything."""
    with little_room():
        try:
            opened = open_embeddings(Spec(str(path)), with_ids=True)
            if opened.main.array.n_bytes < ROOM:
                check_rows(opened.main.array)
                opened.main.array.take(np.array([1, 0, 1]))
            if opened.labels is not None:
                encode(opened.labels)
            if opened.ids is not None:
                identify(opened.ids)
        except AnalysisError:
            pass
        try:
            container = open_container(str(path))
            for array in container.arrays.values():
                if array.shape and array.n_bytes < ROOM:
                    array.values()[:]
        except AnalysisError:
            pass


# ---- files of every format


def written(suffix: str, write: Callable[[Path], object]) -> bytes:
    """What a library writes to a file, as bytes."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"file{suffix}"
        write(path)
        return path.read_bytes()


def _npy() -> list[bytes]:
    arrays = (ROWS, np.asfortranarray(ROWS.astype(">f8")), ROWS.astype(np.float16)[:, None], LABELS)
    return [written(".npy", lambda path, a=a: np.save(path, a)) for a in arrays]


def _npz() -> list[bytes]:
    arrays = {"embeddings": ROWS, "labels": WORDS, "ids": np.arange(9)}
    return [
        written(".npz", lambda path: np.savez(path, **arrays)),
        written(".npz", lambda path: np.savez_compressed(path, view1=ROWS, view2=-ROWS, y=LABELS)),
    ]


def _torch() -> list[bytes]:
    import torch

    z = torch.from_numpy(ROWS)
    content = {"embeddings": z.bfloat16(), "labels": torch.from_numpy(LABELS), "names": ["a"] * 9}
    return [
        written(".pt", lambda path: torch.save(content, path)),
        written(".pt", lambda path: torch.save(z, path, _use_new_zipfile_serialization=False)),
    ]


def _safetensors() -> list[bytes]:
    from safetensors.numpy import save_file

    content = {"embeddings": ROWS, "labels": LABELS, "ids": np.arange(9)}
    return [written(".safetensors", lambda path: save_file(content, path, metadata={"a": "b"}))]


def _tables(suffix: str) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    lists = pa.array(list(ROWS), pa.list_(pa.float32()))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 3)
    tables = [
        pa.table({"z": column, "label": pa.array(WORDS).dictionary_encode(), "id": LABELS})
        for column in (lists, fixed)
    ]
    tables.append(pa.table({f"c{i}": ROWS[:, i] for i in range(3)}))

    def stream(table: pa.Table, path: Path) -> None:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=4)

    writers = {
        ".parquet": lambda t, p: pa.parquet.write_table(t, p, row_group_size=4),
        ".feather": lambda t, p: pa.feather.write_feather(t, p, chunksize=4),
        ".arrow": stream,
    }
    return [written(suffix, lambda path, t=t: writers[suffix](t, path)) for t in tables]


def _hdf5() -> list[bytes]:
    import h5py

    def write(path: Path, **options: object) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("g/embeddings", data=ROWS, **options)
            file["g/labels"] = WORDS.astype("S1")  # those of any length take a process each

    return [
        written(".h5", write),
        written(".h5", lambda path: write(path, chunks=(4, 2), compression="gzip")),
    ]


def _h5ad() -> list[bytes]:
    """As AnnData lays a file out; its words of any length would take a process each."""
    import h5py

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["X"] = ROWS
            file["obsm/X_pca"] = ROWS
            file["obs/label/codes"] = (np.arange(9) % 4 - 1).astype(np.int8)
            file["obs/label/categories"] = WORDS[:3].astype("S1")
            file["obs/n/values"], file["obs/n/mask"] = LABELS, LABELS > 0
            file["obs/_index"] = np.arange(9).astype("S1")
            for name in ("data", "indices", "indptr"):
                file[f"layers/raw/{name}"] = LABELS

    def write_one(path: Path) -> None:
        write(path)
        with h5py.File(path, "a") as file:
            del file["X"]

    return [written(".h5ad", write), written(".h5ad", write_one)]


def _mat() -> list[bytes]:
    """Versions 4, 5 and 7, which SciPy reads in a process each."""
    from scipy.io import savemat

    content = {"z": ROWS, "y": LABELS.astype(float)}
    words = {**content, "labels": WORDS.astype(object).reshape(-1, 1)}
    return [
        written(".mat", lambda path: savemat(path, content, format="4")),
        written(".mat", lambda path: savemat(path, words)),
        written(".mat", lambda path: savemat(path, words, do_compression=True)),
    ]


def _mat73() -> list[bytes]:
    import h5py

    def write(path: Path) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["z"] = ROWS.T
            file["y"] = LABELS[:, None].astype(np.uint8)
            file["y"].attrs["MATLAB_int_decode"] = 1

        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file".ljust(128))

    return [written(".mat", write)]


def _vectors(suffix: str) -> list[bytes]:
    values = ROWS if suffix in (".fbin", ".fvecs") else (ROWS * 50).astype(np.uint8)
    if suffix.endswith("bin"):
        return [np.array(values.shape, "<u4").tobytes() + values.tobytes()]
    head = np.full((9, 1), 3, "<i4").view(np.uint8)
    return [np.hstack([head, values.view(np.uint8).reshape(9, -1)]).tobytes()]


def _csv() -> list[bytes]:
    wide = "\n".join(",".join(map(str, row)) for row in ROWS.tolist())
    named = "a,b,label\n" + "\n".join(
        f"{x},{y},{w}" for (x, y, _), w in zip(ROWS, WORDS, strict=True)
    )
    lists = "emb,label\n" + "\n".join(f'"{json.dumps(row)}",1' for row in ROWS.tolist())
    printed = "emb,label\n" + "\n".join(f"{row},x" for row in ROWS)
    return [text.encode() for text in (wide, named, lists, printed)]


def _tsv() -> list[bytes]:
    return [content.replace(b",", b"\t") for content in _csv()[:2]]


def _lines() -> list[bytes]:
    return [b"1\n2\n\n1\n", b"a\nb\r\nc", "é\nü\n".encode()]


def _faiss_flat() -> list[bytes]:
    import faiss

    flat, mapped = faiss.IndexFlatIP(3), faiss.IndexIDMap(faiss.IndexFlatL2(3))
    flat.add(ROWS)
    mapped.add_with_ids(ROWS, np.arange(9) + 5)
    bits = faiss.IndexBinaryFlat(24)
    bits.add((ROWS * 50).astype(np.uint8))
    write, write_binary = faiss.write_index, faiss.write_index_binary
    return [
        written(".faiss", lambda path: write(flat, str(path))),
        written(".faiss", lambda path: write(mapped, str(path))),
        written(".faiss", lambda path: write_binary(bits, str(path))),
    ]


def _faiss_others() -> list[bytes]:
    """Indexes that faiss reads, in a process each."""
    import faiss

    def index_of(kind: str) -> faiss.Index:
        index = faiss.index_factory(3, kind)
        index.train(ROWS)
        index.add(ROWS)
        return index

    kinds = ("IVF2,Flat", "HNSW2,Flat", "SQ8", "PCA2,Flat")
    return [
        written(".index", lambda path, k=k: faiss.write_index(index_of(k), str(path)))
        for k in kinds
    ]


def _json_values() -> list[dict[str, object]]:
    return [
        {"id": f"r{i}", "embedding": row, "label": word, "tags": ["x"]}
        for i, (row, word) in enumerate(zip(ROWS.tolist(), WORDS.tolist(), strict=True))
    ]


def _json_lines() -> list[bytes]:
    wide = [{"dim_0": x, "dim_1": y, "label": 1} for x, y, _ in ROWS.tolist()]
    views = [{"view1": row, "view2": [row], "n": None} for row in ROWS.tolist()]
    values = (_json_values(), ROWS.tolist(), wide, views)
    return ["\n".join(map(json.dumps, lines)).encode() for lines in values]


def _json() -> list[bytes]:
    records = _json_values()
    encoded = [base64.b64encode(row.tobytes()).decode() for row in ROWS]
    answer = [{"index": 8 - i, "embedding": word} for i, word in enumerate(encoded)]
    columns = {"embeddings": ROWS.tolist(), "ids": list("abcdefghi"), "model": "m"}
    by_rows = {"z": dict(enumerate(ROWS.tolist())), "y": dict(enumerate(LABELS.tolist()))}
    split = {"columns": ["z", "y"], "index": [], "data": [[row, 1] for row in ROWS.tolist()]}
    values = (records, {"object": "list", "data": answer}, columns, by_rows, split, ROWS.tolist())
    return [json.dumps(value).encode() for value in values]


def _word_lines() -> list[bytes]:
    rows = [" ".join(map(str, row)) for row in ROWS.tolist()]
    with_words = "\n".join(f"w{i} é {row}" for i, row in enumerate(rows))
    return [f"9 3\n{with_words}\n".encode(), with_words.replace(" ", "\t").encode()]


def _word_bytes() -> list[bytes]:
    rows = [b"word%d " % i + row.tobytes() for i, row in enumerate(ROWS)]
    return [b"9 3\n" + b"".join(rows), b"9 3\n" + b"\n".join(rows) + b"\n"]


def _compressed(*makers: Callable[[], list[bytes]]) -> Callable[[], list[bytes]]:
    return lambda: [gzip.compress(c, 1, mtime=0) for make in makers for c in make()]


SUFFIXES: dict[str, tuple[Callable[[], list[bytes]], int]] = {
    ".npy": (_npy, 3),
    ".npz": (_npz, 6),
    ".pt": (_torch, 12),
    ".safetensors": (_safetensors, 3),
    ".parquet": (lambda: _tables(".parquet"), 8),
    ".feather": (lambda: _tables(".feather"), 8),
    ".arrow": (lambda: _tables(".arrow"), 8),
    ".h5": (_hdf5, 12),
    ".h5ad": (_h5ad, 30),
    ".mat": (_mat, 2000),
    ".fbin": (lambda: _vectors(".fbin"), 2),
    ".u8bin": (lambda: _vectors(".u8bin"), 2),
    ".fvecs": (lambda: _vectors(".fvecs"), 2),
    ".bvecs": (lambda: _vectors(".bvecs"), 2),
    ".faiss": (_faiss_flat, 20),
    ".index": (_faiss_others, 1000),
    ".csv": (_csv, 20),
    ".tsv": (_tsv, 20),
    ".txt": (lambda: [*_lines(), *_word_lines()], 2),
    ".vec": (_word_lines, 2),
    ".bin": (_word_bytes, 2),
    ".jsonl": (_json_lines, 4),
    ".json": (_json, 4),
    ".csv.gz": (_compressed(_csv), 20),
    ".txt.gz": (_compressed(_lines, _word_lines), 4),
    ".jsonl.gz": (_compressed(_json_lines), 4),
    ".json.gz": (_compressed(_json), 4),
}


def _of_suffix(suffix: str, corpus: Callable[[], list[bytes]], cost: int) -> Target:
    path = folder() / f"case{suffix}"

    def run(case: object) -> None:
        assert isinstance(case, Spoilt)
        path.write_bytes(case.applied_to(_corpus(corpus)))
        read_all(path)

    return of_files(len(_corpus(corpus)), run, cost)


@cache
def _corpus(make: Callable[[], list[bytes]]) -> list[bytes]:
    return make()


# ---- directories


def _in_store(make: Callable[[Path], None], names: tuple[str, ...], cost: int) -> Target:
    """A directory of which one file is spoilt."""
    store = folder() / f"store-{make.__name__}"
    make(store)
    files = [store / name for name in names]
    whole = [file.read_bytes() for file in files]

    def run(case: object) -> None:
        assert isinstance(case, Spoilt)
        files[case.number].write_bytes(case.applied_to(whole))
        try:
            read_all(store)
        finally:
            files[case.number].write_bytes(whole[case.number])

    return of_files(len(files), run, cost)


def _zarr2(store: Path) -> None:
    import zarr

    group = zarr.open_group(str(store), mode="w", zarr_format=2)
    group.create_array("embeddings", data=ROWS, chunks=(4, 3))


def _zarr3(store: Path) -> None:
    import zarr

    zarr.create_array(str(store), data=ROWS, chunks=(2, 3), shards=(4, 3))


def _file_a_row(store: Path) -> None:
    store.mkdir()
    for i, row in enumerate(ROWS[:3]):
        np.save(store / f"{i}.npy", row)


def _dataset(store: Path) -> None:
    import pyarrow as pa

    store.mkdir()
    with pa.ipc.new_stream(
        str(store / "data.arrow"), pa.schema([("z", pa.list_(pa.float32()))])
    ) as f:
        f.write_table(pa.table({"z": pa.array(list(ROWS), pa.list_(pa.float32()))}))
    (store / "dataset_info.json").write_text("{}")
    state = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "1", "_split": None}
    (store / "state.json").write_text(json.dumps(state))


# ---- words


_USUAL = (
    "--tau --t --k --format --metrics --out --seed -- - --tau= = 0.07 nan 1_0 1,2 , 0.1, -1 png "
    "--tau=0.1,x emb.npy"
)
_TOKENS = st.one_of(st.sampled_from(_USUAL.split()), st.text(max_size=6))
_LISTS = {
    "--tau": Numbers(),
    "--t": Numbers(),
    "--k": Numbers(whole=True),
    "--format": Words(words=FORMATS),
    "--metrics": Words(words=FAMILIES),
}


def _text(random: Random, most: int) -> str:
    """A few characters of any script, surrogates too."""
    limits = (0x7F, 0x7F, 0x2FF, 0xFFFF, 0x10FFFF)
    return "".join(
        chr(random.randint(0, random.choice(limits))) for _ in range(random.randint(0, most))
    )


def _drawn_tokens(random: Random) -> list[str]:
    usual = _USUAL.split()
    return [
        random.choice(usual) if random.random() < 0.8 else _text(random, 6)
        for _ in range(random.randint(0, 8))
    ]


def _drawn_key(random: Random) -> str:
    return "".join(
        random.choice(_PARTS) if random.random() < 0.6 else _text(random, 4)
        for _ in range(random.randint(0, 6))
    )


def _lists(case: object) -> None:
    assert isinstance(case, list)
    try:
        out = rewrite(case, _LISTS, frozenset({"--out", "--seed"}))
        again = rewrite(out, _LISTS, frozenset({"--out", "--seed"}))
        assert again == out, "what is spelt out stays as it is"
        for option, value in pairwise(out):
            if option == "--tau":
                Numbers().parse(option, [value])
    except AnalysisError:
        pass


_PARTS = ("::", ":", "/", "..", "s3://", "[::1]", "a.npz", "\0", "-", "*")
_KEYS = st.lists(st.one_of(st.sampled_from(_PARTS), st.text(max_size=4)), max_size=6).map("".join)


def _keys(case: object) -> None:
    assert isinstance(case, str)
    try:
        spec = Spec.parse(case)
    except AnalysisError:
        return
    assert str(spec) == case
    if "://" in case or spec.path == "-" or spec.path.startswith("/") or ".." in spec.path:
        return  # what lies there is not asked for
    with suppress(AnalysisError):
        open_container(spec.path)


_RULES = (
    b"""
[[rule]]
metric = "uniformity"
max = -2.5
params = { t = 2 }
[[rule]]
metric = "tolerance"
max_drop = 0.02
relative = true
definition = "macro_excl"
confidence = 0.9
""",
    b"""
[[rule]]
metric = "loss"
params = { name = "kcl_imq", t = 2, gamma = 16 }
min = 1
severity = "warn"
on_inconclusive = "fail"
require_paired = true
""",
    b"""
[defaults]
tau = [0.07, 0.2]
threads = 4
memory = "2GiB"
labels = ["a.npz::y", "none"]
json = true
[defaults.report]
format = ["png", "pdf"]
curve-anchors = "all"
precision = "float32"
""",
)


def _rules(case: object) -> None:
    assert isinstance(case, Spoilt)
    path = folder() / "rules.toml"
    path.write_bytes(case.applied_to(_RULES))
    with suppress(AnalysisError):
        load_rules(path)
    for command in ("report", "check"):
        with suppress(AnalysisError):
            defaults_for(command, read_project_file(path))


RULE = Rule("uniformity", max_rise=0.5)


@cache
def _baseline() -> tuple[bytes, bytes]:
    """A baseline's document and arrays."""
    import cl_analyze as cla
    from cl_analyze.checks.baseline import save_baseline

    report = cla.analyze(ROWS, LABELS, metrics=("uniformity", "tolerance"))
    path = folder() / "saved.json"
    save_baseline(path, report, [r for r in report.records if r.metric == "uniformity"], 0)
    return path.read_bytes(), path.with_suffix(".npz").read_bytes()


def _baselines(case: object) -> None:
    """A spoilt document, or spoilt arrays with the hash that belongs to them."""
    assert isinstance(case, Spoilt)
    spoiled = case.applied_to(_baseline())
    document, arrays = _baseline()
    if case.number == 0:
        document = spoiled
    else:
        arrays = spoiled
        content = json.loads(document)
        content["data"]["sha256"] = hashlib.sha256(arrays).hexdigest()
        document = json.dumps(content).encode()
    (folder() / "saved.json").write_bytes(document)
    (folder() / "saved.npz").write_bytes(arrays)
    with suppress(AnalysisError):
        baseline = load_baseline(folder() / "saved.json")
        request = Request(ROWS, labels=LABELS, source="embeddings")
        run_checks([request], [RULE], RunOptions(), CheckOptions(baseline))


def _streams(case: object) -> None:
    """An .npy stream on standard input."""
    import sys

    assert isinstance(case, Spoilt)

    class _Stdin:
        buffer = io.BytesIO(case.applied_to(_corpus(_npy)))

    real, sys.stdin = sys.stdin, _Stdin()  # type: ignore[assignment]
    try:
        read_all(Path("-"))
    finally:
        sys.stdin = real


@cache
def targets() -> dict[str, Target]:
    """Everything that is fuzzed, by name."""
    files = {suffix: _of_suffix(suffix, *made) for suffix, made in SUFFIXES.items()}
    named = {
        f"names {suffix}": Target(names.CASES, names.drawn, names.run(suffix, folder()), cost)
        for suffix, (_, cost) in names.WRITERS.items()
    }
    return {
        **files,
        **named,
        "matlab 7.3": _of_suffix(".mat", _mat73, 40),
        "stdin": of_files(len(_corpus(_npy)), _streams, 3),
        "zarr 2": _in_store(_zarr2, ("embeddings/.zarray", ".zgroup", "embeddings/0.0"), 30),
        "zarr 3": _in_store(_zarr3, ("zarr.json", "c/0/0"), 30),
        "a file a row": _in_store(_file_a_row, ("0.npy", "1.npy", "2.npy"), 8),
        "dataset": _in_store(_dataset, ("state.json", "data.arrow"), 8),
        "lists": Target(st.lists(_TOKENS, max_size=8), _drawn_tokens, _lists),
        "keys": Target(_KEYS, _drawn_key, _keys),
        "rules": of_files(len(_RULES), _rules, 3),
        "baseline": of_files(2, _baselines, 8),
    }
