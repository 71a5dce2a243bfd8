"""Names in files: control characters, lone surrogates, integers of any length, very long ones.

A case is a valid file of a format whose keys, columns and classes have such names, or more columns
than are read.  What is said of it must be of bounded length, on one line, and harmless to a
terminal.
"""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import strategies as st

from cl_analyze.cli.terminal import shown
from cl_analyze.data.inspection import inspect_file
from cl_analyze.data.labels import encode
from cl_analyze.data.opening import Spec, open_embeddings
from cl_analyze.errors import AnalysisError
from cl_analyze.results.tables import csv_cell, to_json

ROWS = np.random.default_rng(2).standard_normal((9, 3)).astype(np.float32)
_OBEYED = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff\\ufeff]"
)
"""What a terminal, a CI log or a reader would obey or not see."""
MOST_SAID = 5_000
"""Characters of a message."""
_BITS = (
    "\x1b[31m", "\x1b]0;x\x07", "\n::error::x", "\r", "\t", "\0", "\x7f", "\x9b", "\u202e",
    "\u2028", "\u200f", "\ufeff", "\ud800", "\udc80", "\U0001f4a5", "é", "模", "'", '"', "\\",
    "::", "/", "..",
    ",", "9" * 5000, "-1", "1e400", "nan", "label", "id", "embeddings", "dim_0", "0", "Unnamed: 0",
    "", " ", "x" * 20_000, "=1+1", "#", "%s", "{}", "[1]",
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """Names of the arrays or columns of a file, words of its labels, and how many columns."""

    names: tuple[str, ...]
    words: tuple[str, ...]
    width: int


_NAME = st.lists(st.sampled_from(_BITS) | st.text(max_size=5), min_size=1, max_size=3).map("".join)
CASES = st.builds(
    Named,
    st.lists(_NAME, min_size=3, max_size=3).map(tuple),
    st.lists(_NAME, min_size=1, max_size=4).map(tuple),
    st.sampled_from((3, 3, 3, 40, 17_000)),
)


def drawn_name(random: Random) -> str:
    """A few bits, or characters of any script."""
    return "".join(
        random.choice(_BITS) if random.random() < 0.7 else chr(random.randint(1, 0x10FFFF))
        for _ in range(random.randint(1, 3))
    )


def drawn(random: Random) -> Named:
    """As `CASES`, by a seeded generator."""
    return Named(
        tuple(drawn_name(random) for _ in range(3)),
        tuple(drawn_name(random) for _ in range(random.randint(1, 4))),
        random.choice((3,) * 30 + (40, 17_000)),
    )


# ---- files; a writer may refuse a name, which is not ours to mend


def _words(case: Named) -> list[str]:
    return [case.words[i % len(case.words)] for i in range(9)]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _npz(case: Named, path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in zip(case.names, (ROWS, ROWS, np.array(_words(case))), strict=True):
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", member.getvalue())
    path.write_bytes(stream.getvalue())


def _torch(case: Named, path: Path) -> None:
    import torch

    first, second, third = case.names
    torch.save({first: torch.tensor(ROWS), second: {third: 1}, "labels": _words(case)}, path)


def _safetensors(case: Named, path: Path) -> None:
    first, second, third = case.names
    tensor = {"dtype": "F32", "shape": [9, 3], "data_offsets": [0, 108]}
    header = {first: tensor, second: {**tensor, "dtype": third, "data_offsets": [108, 216]}}
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + ROWS.tobytes() * 2)


def _table(case: Named) -> object:
    import pyarrow as pa

    columns = {f"c{i}": ROWS[:, i % 3] for i in range(case.width)}
    columns.update({case.names[0]: ROWS[:, 0], case.names[1]: _words(case)})
    return pa.table(columns)


def _parquet(case: Named, path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(_table(case), path)


def _arrow(case: Named, path: Path) -> None:
    import pyarrow as pa

    table = _table(case)
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


def _hdf5(case: Named, path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, values in zip(case.names, (ROWS, ROWS, np.arange(9)), strict=True):
            file.create_dataset(_utf8(name), data=values)


def _zarr(case: Named, path: Path) -> None:
    import shutil

    import zarr

    shutil.rmtree(path, ignore_errors=True)
    group = zarr.open_group(str(path), mode="w")
    for name in case.names:
        group.create_array(name, data=ROWS)


def _delimited(case: Named, path: Path) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
    writer.writerow([*(f"c{i}" for i in range(case.width)), *case.names])
    for i, word in enumerate(_words(case)):
        writer.writerow([*(ROWS[i, j % 3] for j in range(case.width)), 0.5, word, word])
    path.write_bytes(_utf8(stream.getvalue()))


def _lines(case: Named, path: Path) -> None:
    path.write_bytes(_utf8("\n".join(_words(case))))


def _json_lines(case: Named, path: Path) -> None:
    first, second, third = case.names
    columns = {f"c{i}": 0.5 for i in range(case.width)} if case.width > 3 else {}
    records = (
        {**columns, first: row, second: word, third: {word: 1}}
        for row, word in zip(ROWS.tolist(), _words(case), strict=True)
    )
    path.write_text("\n".join(map(json.dumps, records)))


def _json(case: Named, path: Path) -> None:
    first, second, third = case.names
    path.write_text(json.dumps({first: ROWS.tolist(), second: _words(case), third: 1}))


def _word_lines(case: Named, path: Path) -> None:
    lines = (
        " ".join([word.replace("\n", ""), *map(str, row[[0] * case.width])])
        for row, word in zip(ROWS, _words(case), strict=True)
    )
    path.write_bytes(_utf8("\n".join(lines)))


def _word_bytes(case: Named, path: Path) -> None:
    rows = zip(ROWS, map(_utf8, _words(case)), strict=True)
    path.write_bytes(b"9 3\n" + b"".join(word + b" " + row.tobytes() for row, word in rows))


WRITERS: dict[str, tuple[Callable[[Named, Path], None], int]] = {
    ".npz": (_npz, 12),
    ".pt": (_torch, 20),
    ".safetensors": (_safetensors, 6),
    ".parquet": (_parquet, 60),
    ".arrow": (_arrow, 40),
    ".h5": (_hdf5, 20),
    ".zarr": (_zarr, 60),
    ".csv": (_delimited, 60),
    ".tsv": (_delimited, 60),
    ".txt": (_lines, 6),
    ".vec": (_word_lines, 30),
    ".bin": (_word_bytes, 30),
    ".jsonl": (_json_lines, 60),
    ".json": (_json, 30),
}


def harmless(texts: Sequence[str]) -> None:
    """What may reach a terminal and a CI log.

    Raises:
        AssertionError: it would be obeyed, or never ends.
    """
    for text in texts:
        assert not _OBEYED.search(text), ascii(text[:200])
        assert len(text) <= MOST_SAID + 200, f"{len(text)} characters"


def run(suffix: str, folder: Path) -> Callable[[object], None]:
    """What takes a case of a format."""
    write, _ = WRITERS[suffix]
    path = folder / f"names{suffix}"

    def take(case: object) -> None:
        assert isinstance(case, Named)
        try:
            write(case, path)
        except Exception:  # noqa: BLE001  # a library that will not write such a name
            return
        said = [shown(line.text) for line in inspect_file(str(path)).lines()]
        try:
            opened = open_embeddings(Spec(str(path)), with_ids=True)
            said += map(shown, (*opened.notes, *opened.warnings, *opened.unused))
            opened.main.array.read(0, 9)
            if opened.labels is not None:
                names = encode(opened.labels).names
                harmless([csv_cell(name) for name in names if len(name) < MOST_SAID])
                json.loads(to_json({"names": [list(names), *case.names, *case.words]}))
        except AnalysisError as error:
            said.append(shown(str(error)))
        harmless(said)

    return take
