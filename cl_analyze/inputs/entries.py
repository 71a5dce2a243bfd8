"""Entries of `inputs` in the document: the files and arrays that were read, with their hashes."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.opening import STDIN, Opened
from cl_analyze.data.relevance import PairTable
from cl_analyze.data.remote import is_url, url_bytes
from cl_analyze.data.variants import Variant
from cl_analyze.quoting import printable, without_secrets


@cache
def _sha256_of_file(path: str, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sha256_of_path(path: Path) -> str:
    status = path.stat()
    return _sha256_of_file(str(path), status.st_size, status.st_mtime_ns)


def sha256(opened: Opened) -> str:
    """SHA-256 of a file's bytes, or of the values of an array in memory.

    For shards: SHA-256 of the text of the shards' hashes, in the order of the shards.  Each file
    is read once a run.
    """
    if opened.shards:
        hashes = [_sha256_of_path(path) for path in opened.shards]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    if opened.path is not None and is_url(opened.path):
        digest = hashlib.sha256()
        for piece in url_bytes(opened.path):
            digest.update(piece)
        return digest.hexdigest()
    if opened.path is not None and opened.path != STDIN:
        return _sha256_of_path(Path(opened.path))
    digest = hashlib.sha256()
    values = opened.array.values()
    step = max(1, (1 << 20) // max(values[:1].size, 1))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        if part.dtype.hasobject:  # hash the text: the bytes of objects are addresses
            digest.update("\n".join(map(str, part.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def pairs_entry(table: PairTable) -> dict[str, Any]:
    """The entry for a table of relevant pairs: `n` counts its pairs."""
    return {
        "path": None if table.path is None else without_secrets(printable(table.path)),
        "key": None,
        "sha256": table.sha256 if table.path is None else _sha256_of_path(Path(table.path)),
        "n": len(table.grades),
        "d": None,
        "dtype": "pairs",
        "dropped_rows": table.n_skipped,
        "duplicate_rows": None,
        "unlabelled_rows": None,
        "variant": None,
    }


def input_entry(
    opened: Opened,
    dropped: int,
    duplicates: int | None = None,
    unlabelled: int | None = None,
    variant: Variant | None = None,
) -> dict[str, Any]:
    """The entry for one array; a count is None if it does not apply to the array.

    Of a variant, `d` and `duplicate_rows` are those of its rows, `sha256` and `dtype` those of the
    file.
    """
    shape = opened.array.shape
    dim = shape[1] if len(shape) > 1 else None
    return {
        "path": None if opened.path is None else without_secrets(printable(opened.path)),
        "key": opened.key,
        "sha256": sha256(opened),
        "n": shape[0],
        "d": dim if variant is None else variant.dim,
        "dtype": opened.array.dtype_name,
        "dropped_rows": dropped,
        "duplicate_rows": duplicates,
        "unlabelled_rows": unlabelled,
        "variant": None if variant is None else variant.name,
    }
