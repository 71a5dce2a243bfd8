""".npy behind a URL (s3://, gs://, https:// and whatever fsspec knows), read by byte ranges.

Nothing is copied to disk: blocks of rows are fetched as they are needed, by whichever worker needs
them, so that a cluster's workers can share an object store in place of a file system.
"""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.npy import Header, read_header
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError, DependencyError
from cl_analyze.quoting import quoted, without_secrets

_HEAD = 64 * 1024 + 16
_GAP = 1 << 16
"""Bytes between two wanted rows that are fetched along rather than asked for separately."""


SCHEMES = frozenset(
    {
        "http",
        "https",
        "s3",
        "s3a",
        "gs",
        "gcs",
        "az",
        "abfs",
        "abfss",
        "adl",
        "hf",
        "file",
        "memory",
    }
)
"""What a path may reach: web servers, object stores, files, and the memory of this process."""
SECONDS = 30
"""Seconds that a server may be silent."""


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.isascii() and scheme.replace("+", "").isalnum()


def _scheme(url: str) -> str:
    """The scheme of a URL.

    Raises:
        DataError: one that is not read from.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise DataError(
            f"{without_secrets(url)}: "
            f"{quoted(scheme, 20)} URLs are not read (only {', '.join(sorted(SCHEMES))}); "
            "copy the file here first"
        )
    return scheme


@lru_cache(maxsize=8)
def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise DependencyError(
            f"{without_secrets(url)}: reading a URL needs fsspec: pip install 'cl-analyze[dask]'"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # e.g. s3fs is missing, no credentials; every driver has its own
        raise DependencyError(f"{without_secrets(url)}: {type(error).__name__}: {error}") from error
    return system, path


@dataclass(frozen=True)
class _Answer:
    """What a web server says of a range: its bytes, all bytes there are, and their version."""

    data: bytes
    total: int
    version: str


_versions: dict[str, str] = {}
"""What each URL's content was when it was first asked for."""


def _ask(url: str, start: int, stop: int) -> _Answer:
    """Bytes start..stop-1 from a web server.

    Raises:
        DataError: no answer in time, no ranges, or content that changed.
    """
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlsplit, urlunsplit
    from urllib.request import Request, urlopen

    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = Request(
        urlunsplit(parts._replace(netloc=host, fragment="")),
        headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"},
    )
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header(
            "Authorization", f"Basic {b64encode(user.encode()).decode()}"
        )
    try:
        with urlopen(request, timeout=SECONDS) as response:
            status, headers = response.status, response.headers
            data = response.read(stop - start + 1)
    except HTTPError as error:
        if error.code == 416:  # behind the end
            said = error.headers.get("Content-Range", "").rpartition("/")[2]
            return _Answer(b"", int(said) if said.isdecimal() else start, "")
        raise DataError(
            f"{without_secrets(url)}: cannot be read: HTTP {error.code} {error.reason}"
        ) from error
    except TimeoutError as error:
        raise DataError(
            f"{without_secrets(url)}: its server was silent for {SECONDS} s; try again later"
        ) from error
    except (URLError, OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise DataError(
                f"{without_secrets(url)}: its server was silent for {SECONDS} s"
            ) from error
        raise DataError(f"{without_secrets(url)}: cannot be read: {reason}") from error
    found = _RANGE.match(headers.get("Content-Range", ""))
    if status != 206 or found is None:
        raise DataError(
            f"{without_secrets(url)}: "
            f"its server does not answer ranges of bytes (HTTP {status}): copy the file "
            "here first"
        )
    first, last, total = (int(number) for number in found.groups())
    if first != start or last != min(stop, total) - 1 or len(data) != last - first + 1:
        raise DataError(
            f"{without_secrets(url)}: "
            f"asked for bytes {start} to {stop - 1}, its server gave {len(data)} from "
            f"{first} of {total}: copy the file here first"
        )
    version = f"{total} {headers.get('ETag') or headers.get('Last-Modified') or ''}"
    if _versions.setdefault(url, version) != version:
        raise DataError(
            f"{without_secrets(url)}: the content has changed since it was opened; run again"
        )
    return _Answer(data, total, version)


_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})\Z")


def fetched(url: str, start: int, stop: int) -> bytes:
    """Bytes start..stop-1 of what is behind a URL.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    if _scheme(url) in ("http", "https"):
        return _ask(url, start, stop).data
    system, path = _file_system(url)
    try:
        data: bytes = system.cat_file(path, start=start, end=stop)
    except Exception as error:
        raise DataError(
            f"{without_secrets(url)}: cannot be read: {type(error).__name__}: {error}"
        ) from error
    if len(data) > stop - start:
        raise DataError(
            f"{without_secrets(url)}: more bytes came than were asked for: copy the file here first"
        )
    return data


def url_size(url: str) -> int | None:
    """Bytes behind a URL; None where the server does not tell."""
    if _scheme(url) in ("http", "https"):
        return _ask(url, 0, 1).total
    system, path = _file_system(url)
    try:
        size: int | None = system.size(path)
    except Exception as error:
        raise DataError(
            f"{without_secrets(url)}: cannot be read: {type(error).__name__}: {error}"
        ) from error
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
    _scheme(url)
    _versions.pop(url, None)
    if PurePosixPath(url.partition("?")[0]).suffix.lower() != ".npy":
        raise DataError(
            f"{without_secrets(url)}: of URLs only .npy is read; copy other files here first"
        )
    head = fetched(url, 0, _HEAD)
    size = url_size(url)
    try:
        header = read_header(io.BytesIO(head))
    except DataError as error:
        raise DataError(f"{without_secrets(url)}: {error}") from error
    if size is not None and size < header.offset + header.n_bytes:
        raise DataError(
            f"{without_secrets(url)}: "
            f"truncated: the header promises {header.n_bytes} bytes of values for shape "
            f"{header.shape}, {size - header.offset} are there"
        )
    if header.fortran_order and len(header.shape) > 1:
        raise DataError(
            f"{without_secrets(url)}: its values are stored by columns; save it in C order"
        )
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
