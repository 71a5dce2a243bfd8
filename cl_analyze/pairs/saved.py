"""States of a long pass on disk, so that a run that was cut off goes on where it was.

One file for each pass, replaced whole every so often: the states after the units merged so far, in
plan order.  Its name is a hash of everything that the result depends on (inputs, reducers, plan,
precision, version), so that another run's states are never taken.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.data.formats.npz import read_arrays, write_arrays
from cl_analyze.errors import ConfigError
from cl_analyze.output import remove_abandoned, replacing

_DIGEST = 32
SAVE_EVERY = 20.0
"""Seconds between two saves of a pass."""


def fingerprint(*parts: Any) -> str:
    """SHA-256 over the parts: arrays by dtype, shape and bytes, dataclasses by their fields.

    >>> fingerprint(1, "a") == fingerprint(1, "a"), fingerprint(1, "a") == fingerprint("1a")
    (True, False)
    """
    digest = hashlib.sha256()
    _feed(digest, parts)
    return digest.hexdigest()


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


def _digest_of_rest(stream: BinaryIO) -> bytes:
    """SHA-256 of a stream from where it stands to its end."""
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.digest()


class SavedPass:
    """Keeps one pass's states in a folder: a SHA-256, then an .npz of what it is the hash of.

    Args:
        folder: made when it is missing.
        key: the pass's fingerprint.
        every: seconds between two saves; the last unit is saved always.
        told: hears pairs done by an earlier run, and pairs in all, where a pass goes on.

    Raises:
        ConfigError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        every: float = SAVE_EVERY,
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._told = told
        self._path = folder / f"pass-{key[:32]}.npz"
        self._every = every
        self._last = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned([folder])
        except OSError as error:
            raise ConfigError(
                f"--resume {folder}: the folder cannot be made: {error.strerror or error}"
            ) from error

    def load(self, identities: list[list[Any]]) -> tuple[int, list[list[Any]]] | None:
        """Units merged and states after them, where a run left any.

        Raises:
            ConfigError: the file is there and cannot be read.
        """
        try:
            with self._path.open("rb") as stream:
                digest = stream.read(_DIGEST)
                if _digest_of_rest(stream) != digest:
                    raise ValueError("it is not what was written: its SHA-256 differs")
                stream.seek(_DIGEST)
                arrays = read_arrays(stream)
            states = [_unpacked(column, r, arrays) for r, column in enumerate(identities)]
            n_units = int(arrays["n_units"])
            if n_units < 0:
                raise ValueError(f"{n_units} units are said")
            return n_units, states
        except FileNotFoundError:
            return None
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
        ) as error:
            raise ConfigError(
                f"{self._path} cannot be read ({error}); delete it to compute its pass again"
            ) from error

    def resumed(self, done: int, total: int) -> None:
        """Say that a pass goes on after so many pairs, of pairs in all."""
        self._told(done, total)

    def save(self, n_units: int, states: list[list[Any]], finished: bool) -> None:
        """Replace the file where it is time to, or where the pass is finished.

        Raises:
            ConfigError: the folder cannot be written.
        """
        if not finished and time.monotonic() - self._last < self._every:
            return
        arrays: dict[str, NDArray[Any]] = {"n_units": np.array(n_units)}
        for r, column in enumerate(states):
            for name, values in _packed(column):
                arrays[f"{r}/{name}"] = np.concatenate([value.ravel() for value in values])
                shapes = [(len(value.shape), *value.shape, 0, 0)[:3] for value in values]
                arrays[f"{r}/{name}/shapes"] = np.array(shapes, dtype=np.int64)
        try:
            with replacing(self._path) as file:
                file.write(bytes(_DIGEST))
                write_arrays(file, arrays)
                file.seek(_DIGEST)
                digest = _digest_of_rest(file)
                file.seek(0)
                file.write(digest)
        except OSError as error:
            raise ConfigError(f"--resume {self._path.parent}: {error.strerror or error}") from error
        self._last = time.monotonic()


def _packed(column: list[Any]) -> Iterable[tuple[str, list[NDArray[Any]]]]:
    """Field name and the arrays of one field over the blocks."""
    if isinstance(column[0], np.ndarray):
        return [("", column)]
    names = [field.name for field in dataclasses.fields(column[0])]
    return [(name, [np.asarray(getattr(state, name)) for state in column]) for name in names]


def _unpacked(identities: list[Any], r: int, arrays: dict[str, NDArray[Any]]) -> list[Any]:
    """The states of all blocks, of the identities' type."""

    def field(name: str) -> list[NDArray[Any]]:
        shapes = [tuple(row[1 : 1 + row[0]].tolist()) for row in arrays[f"{r}/{name}/shapes"]]
        edges = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        values = arrays[f"{r}/{name}"]
        if len(shapes) != len(identities) or edges[-1] != len(values):
            raise ValueError("it does not fit the pass")
        return [
            values[start:stop].reshape(shape)
            for start, stop, shape in zip(edges[:-1], edges[1:], shapes, strict=True)
        ]

    first = identities[0]
    if isinstance(first, np.ndarray):
        return list(field(""))
    names = [f.name for f in dataclasses.fields(first)]
    numbers = {name for name in names if not isinstance(getattr(first, name), np.ndarray)}
    columns = zip(*(field(name) for name in names), strict=True)
    return [
        type(first)(
            **{
                name: int(value) if name in numbers else value
                for name, value in zip(names, values, strict=True)
            }
        )
        for values in columns
    ]


def pass_key(*parts: Any) -> str:
    """The fingerprint of a pass of this version."""
    return fingerprint(__version__, *parts)
