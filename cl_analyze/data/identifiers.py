"""Ids that identify rows across files, as 64-bit hashes of their text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.opening import Opened
from cl_analyze.errors import DataError

Ids = NDArray[np.uint64]


def hashes(texts: Iterable[bytes]) -> Ids:
    """The first 64 bits of BLAKE2b of each text."""
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def identify(opened: Opened) -> Ids:
    """One number for each row: the first 64 bits of BLAKE2b of its id's text.

    Integers count by their decimal text, so that 7 in one file is "7" in another.

    Args:
        opened: (N,) integers or strings.

    Raises:
        DataError: not one id a row, ids of another kind, an empty id, or an id of two rows.
    """
    shape = opened.array.shape
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise DataError(f"{opened.name}: ids must be one value a row, found shape {shape}")
    values = opened.array.values()[:].reshape(-1)
    if values.dtype.kind not in "iuSU" and not values.dtype.hasobject:
        raise DataError(
            f"{opened.name}: ids must be integers or strings, found {opened.array.dtype_name}"
        )
    texts = [
        value if isinstance(value, bytes) else str(value).encode() for value in values.tolist()
    ]
    if b"" in texts:
        raise DataError(f"{opened.name}: the id of row {texts.index(b'')} is empty")
    hashed = hashes(texts)
    order = np.argsort(hashed, kind="stable")
    repeated = np.flatnonzero(hashed[order][1:] == hashed[order][:-1])
    if len(repeated):
        first, second = sorted(order[repeated[0] : repeated[0] + 2].tolist())
        raise DataError(
            f"{opened.name}: rows {first} and {second} have the same id "
            f"{texts[second].decode(errors='replace')!r}; every row needs its own"
        )
    return hashed
