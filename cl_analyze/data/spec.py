"""From the text that the user wrote to one array: PATH, PATH::KEY, a URL, or standard input."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cl_analyze.data.formats import directory_format, open_file
from cl_analyze.data.formats.npy import read_header
from cl_analyze.data.formats.projector import open_text_table, projector_vectors
from cl_analyze.data.in_memory import array_in_memory
from cl_analyze.data.remote import is_url, open_url
from cl_analyze.data.rows import Container, RowArray, words
from cl_analyze.data.shards import is_pattern, open_shards
from cl_analyze.data.tables_in_memory import InMemory
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

MAIN_KEY = "embeddings"
STDIN = "-"
_MOST_LISTED = 12


@dataclass(frozen=True)
class Spec:
    """A file and, where the user named one, the array in it.

    >>> Spec.parse("runs/emb.npz::z")
    Spec(path='runs/emb.npz', key='z')
    """

    path: str
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Split PATH::KEY at the first `::`; a path that exists as it is written wins."""
        if not text:
            raise DataError("a path is empty; is a variable unset?")
        if "::" not in text or _exists(text):
            return cls(text)
        if is_url(text):  # a host may be written [::1]
            path, _, key = text.rpartition("::")
            if "/" in key:
                return cls(text)
            return cls(path, key)
        path, key = text.split("::", 1)
        if not path or not key:
            raise DataError(f"{quoted(text)}: write PATH::KEY, with a path and a key")
        return cls(path, key)

    def __str__(self) -> str:
        return self.path if self.key is None else f"{self.path}::{self.key}"


def _exists(text: str) -> bool:
    """Whether there is a file of this name, which need not be a name that files can have."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Opened:
    """One array with where it came from.

    Attributes:
        array: the rows.
        name: its name in messages.
        path: the file, None for an array in memory.
        key: the key in the file, None where there is none.
        shards: the files, where path stands for several.
    """

    array: RowArray
    name: str
    path: str | None = None
    key: str | None = None
    shards: tuple[Path, ...] = ()


def real_path(path: str | Path) -> Path:
    """An absolute path with its links followed, whether or not there is anything at its end.

    Raises:
        DataError: links in a loop, or a name that no path can have.
    """
    try:
        return Path(path).resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a path: {error}") from error


def open_container(path: str) -> Container:
    """Open the arrays of a path: a file, shards, a URL, or - for standard input."""
    if path == STDIN:
        return _standard_input()
    if is_url(path):
        return open_url(path)
    place = Path(path)
    try:
        if not is_pattern(path) or (place.is_dir() and directory_format(place) is not None):
            return open_file(place)
        vectors = projector_vectors(place)
        return open_shards(path) if vectors is None else open_file(vectors)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


@functools.cache
def _content_of(stream: BinaryIO) -> bytes:
    """What standard input holds; it can be read once, and variants ask for it again."""
    return stream.read()


def _standard_input() -> Container:
    content = _content_of(sys.stdin.buffer)
    if not content:
        raise DataError("standard input is empty; - reads an .npy stream from it")
    try:
        header = read_header(io.BytesIO(content))
        header.require_all(len(content))
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (DataError, ValueError, EOFError) as error:
        raise DataError(f"standard input is not an .npy stream: {error}") from error
    return Container(Path(STDIN), "npy", {"": RowArray.of(words(array), header.dtype_name)})


def listing(container: Container, keys: Collection[str] = ()) -> str:
    """The first arrays of a container, all or some, and how many more there are."""
    parts = [
        f"{quoted(key)} {array.shape} {array.dtype_name}"
        for key, array in container.arrays.items()
        if not keys or key in keys
    ]
    if not keys:
        parts += [f"{quoted(key)} ({why})" for key, why in container.skipped.items()]
    return some(parts, _MOST_LISTED)


def role_key(arrays: Collection[str], roles: Sequence[str]) -> str | None:
    """The first key that means a role, whatever its case.

    >>> role_key(["z", "Y", "Labels"], ["labels", "y"])
    'Labels'
    """
    by_name = {key.lower(): key for key in reversed(list(arrays))}
    return next((by_name[role] for role in roles if role in by_name), None)


def array_of(container: Container, spec: Spec, key: str) -> Opened:
    """One array of a container under the name that the user gave."""
    return Opened(container.arrays[key], str(spec), spec.path, key or None, container.shards)


def array_by_key(container: Container, spec: Spec) -> Opened:
    """The array that the user named by its key; of a group in a file, the main array in it.

    Raises:
        DataError: no such key, an entry that cannot be read, or a file without keys.
    """
    if container.format == "csv" and not container.has_keys and not container.shards:
        container = open_text_table(Path(container.path), header=True)
    if not container.has_keys:
        raise DataError(
            f"{spec}: a .{container.format} file has no keys; name it without ::{spec.key}"
        )
    key = spec.key or ""
    if container.has_groups and key not in container.arrays:
        key = _main_of_group(container, key.strip("/"))
    if key not in container.arrays:
        if key in container.skipped:
            raise DataError(f"{spec}: this entry cannot be read: {container.skipped[key]}")
        raise DataError(f"{spec}: no such key; the file holds {listing(container)}")
    return array_of(container, spec, key)


def _main_of_group(container: Container, key: str) -> str:
    """The main array of a group: `embeddings`, or the only one with two axes; else the key."""
    inside = [name for name in container.arrays if name.startswith(f"{key}/")]
    matrices = [name for name in inside if len(container.arrays[name].shape) > 1]
    named = f"{key}/{MAIN_KEY}"
    return named if named in inside else matrices[0] if len(matrices) == 1 else key


def open_array(spec: Spec, roles: Sequence[str]) -> Opened:
    """Open an array for a role such as labels: by key, by a usual name, or as the only one.

    Args:
        spec: the file and perhaps the key.
        roles: keys that mean this role, best first.

    Raises:
        DataError: no such key, or several arrays and none with a usual name.
    """
    container = open_container(spec.path)
    if spec.key is not None:
        return array_by_key(container, spec)
    arrays = container.arrays
    key = next(iter(arrays)) if len(arrays) == 1 else role_key(arrays, roles)
    if key is None:
        raise DataError(
            f"{spec}: several arrays, none named {' or '.join(roles)}; choose one as "
            f"{spec.path}::KEY from {listing(container)}"
        )
    return array_of(container, spec, key)


def from_memory(value: Any, name: str) -> Opened:
    """Wrap a NumPy array, a torch tensor, a pandas object or a nested list, or a table's column.

    Raises:
        DataError: it cannot be made into an array.
    """
    if isinstance(value, InMemory):
        named = f"{name}: {quoted(value.key)}"
        return Opened(array_in_memory(value.values, named), named, key=value.key)
    return Opened(array_in_memory(value, name), name)


def open_any(value: Any, name: str, roles: Sequence[str]) -> Opened:
    """A path (with or without ::KEY) or an array in memory, for a role such as labels."""
    if isinstance(value, str | Path):
        return open_array(Spec.parse(str(value)), roles)
    return from_memory(value, name)
