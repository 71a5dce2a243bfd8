""".npy behind a URL (s3://, gs://, https:// and whatever fsspec knows), read by byte ranges.

Nothing is copied to disk: blocks of rows are fetched as they are needed, by whichever worker needs
them, so that a cluster's workers can share an object store in place of a file system.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.npy import Header, read_header
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError, DependencyError

_HEAD = 64 * 1024 + 16
_GAP = 1 << 16
"""Bytes between two wanted rows that are fetched along rather than asked for separately."""


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.isalnum()


@lru_cache(maxsize=8)
def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise DependencyError(
            f"{url}: reading a URL needs fsspec: pip install 'cl-analyze[dask]'"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # e.g. s3fs is missing; no such scheme
        raise DependencyError(f"{url}: {error}") from error
    return system, path


def fetched(url: str, start: int, stop: int) -> bytes:
    """Bytes start..stop-1 of what is behind a URL.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    system, path = _file_system(url)
    try:
        data: bytes = system.cat_file(path, start=start, end=stop)
    except Exception as error:
        raise DataError(f"{url}: cannot be read: {type(error).__name__}: {error}") from error
    return data


def url_size(url: str) -> int | None:
    """Bytes behind a URL; None where the server does not tell."""
    system, path = _file_system(url)
    try:
        size: int | None = system.size(path)
    except Exception as error:
        raise DataError(f"{url}: cannot be read: {type(error).__name__}: {error}") from error
    return size


class UrlBytes:
    """Byte ranges of what is behind a URL."""

    def __init__(self, url: str) -> None:
        self.name = url

    def read(self, start: int, stop: int) -> bytes:
        """Bytes start..stop-1; fewer where it ends."""
        return fetched(self.name, start, stop) if stop > start else b""

    def gather(self, offset: int, size: int, wanted: NDArray[np.int64]) -> Any:
        """Records; those that lie close together are fetched as one."""
        rows, back = np.unique(wanted, return_inverse=True)
        found = np.empty((len(rows), size), np.uint8)
        runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) * size > _GAP) + 1)
        for run in runs if len(rows) else ():
            records = rows[run] - rows[run[0]]
            start = offset + int(rows[run[0]]) * size
            data = self.read(start, start + int(records[-1] + 1) * size)
            if len(data) != int(records[-1] + 1) * size:
                return None
            found[run] = np.frombuffer(data, np.uint8).reshape(-1, size)[records]
        return found[back]


@dataclass(frozen=True)
class _Loader:
    url: str
    header: Header

    def __call__(self) -> Any:
        return self.header.rows_of(UrlBytes(self.url))


def open_url(url: str) -> Container:
    """Open an .npy file behind a URL.

    Raises:
        DataError: not an .npy file, not there, or not readable by rows.
        DependencyError: fsspec, or its driver for this kind of URL, is not installed.
    """
    if PurePosixPath(url).suffix.lower() != ".npy":
        raise DataError(f"{url}: of URLs only .npy is read; copy other files here first")
    head = fetched(url, 0, _HEAD)
    size = url_size(url)
    try:
        header = read_header(io.BytesIO(head))
    except DataError as error:
        raise DataError(f"{url}: {error}") from error
    if size is not None and size < header.offset + header.n_bytes:
        raise DataError(
            f"{url}: truncated: the header promises {header.n_bytes} bytes of values for shape "
            f"{header.shape}, {size - header.offset} are there"
        )
    if header.fortran_order and len(header.shape) > 1:
        raise DataError(f"{url}: its values are stored by columns; save it in C order")
    loader = _Loader(url, header)
    if len(header.shape) < 2:
        values = loader()[:]
        return Container(PurePosixPath(url), "npy", {"": RowArray.of(values, header.stored_dtype)})
    return Container(
        PurePosixPath(url), "npy", {"": RowArray(header.shape, header.stored_dtype, loader)}
    )


def url_bytes(url: str, size: int = 1 << 22) -> Iterator[bytes]:
    """The bytes of a URL, some at a time."""
    start = 0
    total = url_size(url)
    while total is None or start < total:
        data = fetched(url, start, start + size if total is None else min(start + size, total))
        if not data:
            return
        yield data
        start += len(data)
