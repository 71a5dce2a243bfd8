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
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.npy import MAX_HEADER, read_header
from cl_analyze.data.rows import Container
from cl_analyze.errors import DataError, DependencyError
from cl_analyze.quoting import quoted, without_secrets

_HEAD = MAX_HEADER + 16
_GAP = 1 << 16
"""Bytes between two wanted rows that are fetched along rather than asked for separately."""
_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf")
SCHEMES = frozenset(("http", "https", *_OBJECT_STORES, "file", "memory"))
"""Where a URL may lead: web servers, object stores, files, and the memory of this process."""
SECONDS = 30
"""Seconds that a server may be silent."""
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})\Z")
_versions: dict[str, str] = {}
"""The version of each URL's content when it was first asked for."""


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.isascii() and scheme.replace("+", "").isalnum()


def _error(url: str, problem: str) -> DataError:
    return DataError(f"{without_secrets(url)}: {problem}")


def _is_web(url: str) -> bool:
    """Whether a web server is asked for this URL; a scheme that is not read is an error."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise _error(
            url,
            f"{quoted(scheme, 20)} URLs are not read (only {', '.join(sorted(SCHEMES))}); "
            "copy the file here first",
        )
    return scheme in ("http", "https")


@lru_cache(maxsize=8)
def _file_system(url: str) -> tuple[Any, str]:
    """The file system of fsspec for a URL, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise DependencyError(
            f"{without_secrets(url)}: reading a URL needs fsspec: pip install fsspec"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(url)
    except Exception as error:  # e.g. s3fs is missing, no credentials; every driver has its own
        raise DependencyError(f"{without_secrets(url)}: {type(error).__name__}: {error}") from error
    return system, path


def _request(url: str, start: int, stop: int) -> Any:
    """A request for bytes start..stop-1, with the user's name and password as a header."""
    from urllib.parse import unquote, urlsplit, urlunsplit
    from urllib.request import Request

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
    return request


def _ask(url: str, start: int, stop: int) -> tuple[bytes, int]:
    """Bytes start..stop-1 from a web server, and how many bytes there are in all.

    Raises:
        DataError: no answer in time, no ranges, or content that changed.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(_request(url, start, stop), timeout=SECONDS) as response:
            status, headers = response.status, response.headers
            data = response.read(stop - start + 1)
    except HTTPError as error:
        if error.code == 416:  # behind the end
            length = error.headers.get("Content-Range", "").rpartition("/")[2]
            return b"", int(length) if length.isdecimal() else start
        raise _error(url, f"cannot be read: HTTP {error.code} {error.reason}") from error
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            problem = f"its server was silent for {SECONDS} s; try again later"
            raise _error(url, problem) from error
        raise _error(url, f"cannot be read: {reason}") from error
    match = _RANGE.match(headers.get("Content-Range", ""))
    if status != 206 or match is None:
        raise _error(
            url,
            f"its server does not answer ranges of bytes (HTTP {status}): copy the file here first",
        )
    first, last, total = (int(number) for number in match.groups())
    if first != start or last != min(stop, total) - 1 or len(data) != last - first + 1:
        raise _error(
            url,
            f"asked for bytes {start} to {stop - 1}, its server gave {len(data)} from "
            f"{first} of {total}: copy the file here first",
        )
    version = f"{total} {headers.get('ETag') or headers.get('Last-Modified') or ''}"
    if _versions.setdefault(url, version) != version:
        raise _error(url, "the content has changed since it was opened; run again")
    return data, total


def _from_file_system(url: str, method: str, **arguments: int) -> Any:
    """The result of a method of fsspec's file system for a URL."""
    system, path = _file_system(url)
    try:
        return getattr(system, method)(path, **arguments)
    except Exception as error:
        raise _error(url, f"cannot be read: {type(error).__name__}: {error}") from error


def fetched(url: str, start: int, stop: int) -> bytes:
    """Bytes start..stop-1 of the content of a URL; fewer where it ends.

    Raises:
        DataError: it is not there, or cannot be read.
    """
    if _is_web(url):
        return _ask(url, start, stop)[0]
    data: bytes = _from_file_system(url, "cat_file", start=start, end=stop)
    if len(data) > stop - start:
        raise _error(url, "more bytes came than were asked for: copy the file here first")
    return data


def url_size(url: str) -> int | None:
    """Bytes of the content of a URL; None where the server does not tell."""
    if _is_web(url):
        return _ask(url, 0, 1)[1]
    size: int | None = _from_file_system(url, "size")
    return size


@dataclass(frozen=True)
class UrlBytes:
    """Byte ranges of the content of a URL."""

    name: str

    def pieces(self, starts: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """See `ByteRanges`; pieces that lie close together are fetched as one."""
        places, back = np.unique(starts, return_inverse=True)
        pieces = np.empty((len(places), size), np.uint8)
        runs = np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) > _GAP) + 1)
        for run in runs if pieces.size else ():
            first, stop = int(places[run[0]]), int(places[run[-1]]) + size
            data = np.frombuffer(fetched(self.name, first, stop), np.uint8)
            if len(data) != stop - first:
                raise _error(self.name, "truncated: not all rows are there")
            pieces[run] = data.reshape(-1, size)[(places[run] - first) // size]
        return pieces[back]


def open_url(url: str) -> Container:
    """Open an .npy file behind a URL.

    Raises:
        DataError: not an .npy file, not there, or not readable by rows.
        DependencyError: fsspec, or its driver for this kind of URL, is not installed.
    """
    _is_web(url)
    _versions.pop(url, None)
    if PurePosixPath(url.partition("?")[0]).suffix.lower() != ".npy":
        raise _error(url, "of URLs only .npy is read; copy other files here first")
    head = fetched(url, 0, _HEAD)
    size = url_size(url)
    try:
        header = read_header(io.BytesIO(head))
        if size is not None:
            header.require_all(size)
    except DataError as error:
        raise _error(url, str(error)) from error
    if header.fortran_order and len(header.shape) > 1:
        raise _error(url, "its values are stored by columns; save it in C order")
    return Container(PurePosixPath(url), "npy", {"": header.array_of(UrlBytes(url))})


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
