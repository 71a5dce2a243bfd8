"""Named arrays in a folder under keys: states of long passes, numbers of checkpoints.

A key is a hash of everything that the arrays depend on, so that arrays of other inputs, options or
versions are never read.  A file holds a SHA-256, and then the .npz archive that it was computed
from.  Each file is written whole or not at all, so that several runs can share a folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.data.formats.npz import read_arrays, write_arrays
from cl_analyze.errors import ConfigError
from cl_analyze.output import remove_abandoned, replacing

FORMAT = 4
"""Version of the names and shapes of stored arrays; files of other versions are ignored."""
_DIGEST_BYTES = 32


def fingerprint(*parts: Any) -> str:
    """SHA-256 over the parts: arrays by dtype, shape and bytes, dataclasses by their fields.

    >>> fingerprint(1, "a") == fingerprint(1, "a"), fingerprint(1, "a") == fingerprint("1a")
    (True, False)
    """
    digest = hashlib.sha256()
    _feed(digest, parts)
    return digest.hexdigest()


def store_key(*parts: Any) -> str:
    """The key of arrays that depend on the parts, on this version and on the format."""
    return fingerprint(FORMAT, __version__, *parts)


def _feed(digest: Any, part: Any) -> None:
    if isinstance(part, np.ndarray):
        digest.update(f"array {part.dtype.str} {part.shape} ".encode())
        digest.update(np.ascontiguousarray(part).tobytes())
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        digest.update(f"{type(part).__name__} ".encode())
        for field in dataclasses.fields(part):
            _feed(digest, field.name)
            _feed(digest, getattr(part, field.name))
    elif isinstance(part, tuple | list):
        digest.update(f"{len(part)} of ".encode())
        for item in part:
            _feed(digest, item)
    else:
        text = repr(part)
        digest.update(f"{len(text)} {text} ".encode())


class Store:
    """A folder of files of named arrays.

    Args:
        folder: the folder; it is made when it is missing.
        option: name of the option that sets the folder, for messages.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: Path, option: str) -> None:
        self.folder, self._option = folder, option
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned([folder])
        except OSError as error:
            raise ConfigError(
                f"{option} {folder}: the folder cannot be made: {error.strerror or error}"
            ) from error

    def load(self, name: str) -> dict[str, NDArray[Any]] | None:
        """The arrays of a file; None where there is no such file.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is damaged.
        """
        try:
            stream = (self.folder / name).open("rb")
        except FileNotFoundError:
            return None
        with stream:
            digest = stream.read(_DIGEST_BYTES)
            if _digest_of_rest(stream) != digest:
                raise ValueError("the file is damaged: its SHA-256 differs")
            stream.seek(_DIGEST_BYTES)
            return read_arrays(stream)

    def save(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a file, or replace it.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            with replacing(self.folder / name) as file:
                file.write(bytes(_DIGEST_BYTES))
                write_arrays(file, arrays)
                file.seek(_DIGEST_BYTES)
                digest = _digest_of_rest(file)
                file.seek(0)
                file.write(digest)
        except OSError as error:
            raise ConfigError(f"{self._option} {self.folder}: {error.strerror or error}") from error


def _digest_of_rest(stream: BinaryIO) -> bytes:
    """SHA-256 of a stream from its position to its end."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.digest()
