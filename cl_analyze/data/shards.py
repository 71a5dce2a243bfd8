"""A directory or a pattern of files that reads as one matrix."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.formats import FORMATS, open_file
from cl_analyze.data.formats.columns import is_continuous
from cl_analyze.data.formats.gathered import note_on_repeated
from cl_analyze.data.formats.huggingface import saved_dataset
from cl_analyze.data.formats.streams import suffix_of
from cl_analyze.data.joined import Joined
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import Container, RowArray, kind_of
from cl_analyze.errors import DataError
from cl_analyze.quoting import natural, quoted

_NUMBERED = re.compile(r"([0-9]{1,18})-of-([0-9]{1,18})(?=\.[^.]*$|$)")


def is_pattern(path: str) -> bool:
    """Whether a path names several files: a directory, or a pattern with *, ? or []."""
    place = Path(path)
    try:
        if place.is_dir():
            return True
        return not place.exists() and any(c in _split(place)[1] for c in "*?[")
    except (OSError, ValueError):  # a name that is too long: opening it says so
        return False


def _split(place: Path) -> tuple[Path, str]:
    """The folder that a pattern begins in, and the rest: folders that exist are no patterns."""
    folder = Path(place.anchor)
    parts = place.parts[1:] if place.anchor else place.parts
    for i, part in enumerate(parts[:-1]):
        if not (folder / part).is_dir():
            return folder, str(Path(*parts[i:]))
        folder /= part
    return folder, parts[-1] if parts else ""


def shard_paths(path: str) -> list[Path]:
    """The files of a directory or pattern, numbers in their names in numeric order.

    Raises:
        DataError: none, files of several formats, or a numbered shard that is missing.
    """
    place = Path(path)
    manifest = saved_dataset(place)
    if manifest is not None:  # in the order of its list
        return manifest
    files = _files_in(place) if place.is_dir() else _files_of_pattern(place)
    suffixes = sorted({suffix_of(p) for p in files})
    if len(suffixes) > 1:
        folder = place if place.is_dir() else place.parent
        raise DataError(
            f"{path}: shards must have one format, found {', '.join(suffixes)}; name one kind "
            f"with a pattern such as '{folder}/*{suffixes[0]}'"
        )
    files.sort(key=lambda p: natural(str(p)))
    _check_numbers(path, files)
    return files


def _files_in(folder: Path) -> list[Path]:
    """The readable files of a directory."""
    known = {suffix for format in FORMATS for suffix in format.suffixes}
    files = [
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and suffix_of(p) in known
    ]
    if not files:
        inside = [
            str(inner)
            for inner in sorted(folder.iterdir())
            if inner.is_dir() and any(suffix_of(p) in known for p in inner.iterdir())
        ]
        hint = f"; folders in it hold some: {', '.join(inside[:5])}" if inside else ""
        suffixes = " ".join(sorted(known))
        raise DataError(f"{folder}: no readable file in this directory (one of {suffixes}){hint}")
    return files


def _files_of_pattern(place: Path) -> list[Path]:
    try:
        folder, pattern = _split(place)
        files = [p for p in folder.glob(pattern) if p.is_file()]
    except (ValueError, NotImplementedError, IndexError, RecursionError, OSError) as error:
        raise DataError(f"{place}: not a pattern of files: {error}") from error
    if not files:
        raise DataError(f"{place}: no file matches this pattern")
    return files


def _check_numbers(path: str, files: Sequence[Path]) -> None:
    """Raise a DataError unless all shards named NUMBER-of-COUNT are there, once."""
    matches = [_NUMBERED.search(p.name) for p in files]
    numbers = sorted(int(m[1]) for m in matches if m)
    counts = [int(m[2]) for m in matches if m]
    if not numbers:
        return
    stems = sorted({p.name[: m.start()] for p, m in zip(files, matches, strict=True) if m})
    if len(stems) > 1:
        raise DataError(
            f"{path}: several sets of shards, {', '.join(f'{stem}*' for stem in stems[:5])}; name "
            f"one with a pattern in quotes such as '{files[0].parent}/{stems[0]}*'"
        )
    count = max(counts, key=counts.count)
    others = [p.name for p, m in zip(files, matches, strict=True) if not m or int(m[2]) != count]
    if others:
        raise DataError(
            f"{path}: {len(files) - len(others)} files are numbered shards of {count}, but not "
            f"{', '.join(others[:4])}{' ...' if len(others) > 4 else ''}; name the shards alone "
            f"with a pattern in quotes such as '*-of-{max((m[2] for m in matches if m), key=len)}*'"
        )
    first = 1 if numbers[-1] == count else 0
    if numbers != list(range(first, first + min(count, len(numbers) + 1))):
        present = set(numbers)
        missing = islice((n for n in range(first, first + count) if n not in present), 5)
        names = ", ".join(f"number {n}" for n in missing) or "none, but some are there twice"
        raise DataError(f"{path}: {len(numbers)} of {count} shards are there; missing: {names}")


@dataclass(frozen=True)
class _JoinedLoader:
    """Loads every shard's array; vectors are joined in memory."""

    arrays: tuple[RowArray, ...]

    def __call__(self) -> Any:
        parts = [array.values() for array in self.arrays]
        return np.concatenate(parts) if len(self.arrays[0].shape) == 1 else Joined(parts)


@dataclass(frozen=True)
class _RowLoader:
    """Loads a matrix from arrays of one row each, all into memory."""

    arrays: tuple[RowArray, ...]

    def __call__(self) -> Any:
        first = self.arrays[0]
        require_room("the rows of all files", len(self.arrays) * first.n_bytes)
        values = first.values()[:]
        rows = np.empty((len(self.arrays), first.shape[-1]), values.dtype)
        for row, array in zip(rows, self.arrays, strict=True):
            row[:] = array.load()[:].reshape(-1)  # which is not kept beside the matrix
        return rows


def _have_one_vector_each(containers: Sequence[Container]) -> bool:
    """Whether files have no keys and a vector each: a row of a matrix, or decimals, not labels."""
    arrays = [container.arrays.get("") for container in containers]
    shapes = {None if array is None else array.shape for array in arrays}
    _require_one_length(containers)
    first, shape = arrays[0], shapes.pop()
    if shapes or first is None or shape is None or len(arrays) < 2 or shape[-1:] < (2,):
        return False
    if any(_NUMBERED.search(container.path.name) for container in containers):
        return False
    return (len(shape) == 2 and shape[0] == 1) or (len(shape) == 1 and _are_decimals(first))


def _require_one_length(containers: Sequence[Container]) -> None:
    """Raise a DataError for the one vector among three or more that has another length."""
    arrays = [container.arrays.get("") for container in containers]
    lengths = [array.shape[0] for array in arrays if array is not None and len(array.shape) == 1]
    usual, count = Counter(lengths).most_common(1)[0] if lengths else (0, 0)
    if len(lengths) < max(len(arrays), 3) or count != len(arrays) - 1 or usual < 2:
        return
    at = next(i for i, length in enumerate(lengths) if length != usual)
    other = containers[0 if at else 1]
    is_last = at == len(lengths) - 1 and lengths[at] < usual  # as the last shard of labels is
    if not is_last and _are_decimals(other.arrays[""]):
        raise DataError(
            f"{containers[at].path} holds {lengths[at]} numbers, {other.path} {usual}: files with "
            "a vector each must have the same length"
        )


def _are_decimals(array: RowArray) -> bool:
    """Whether values are real numbers of which some are not whole."""
    return kind_of(array.dtype) == "f" and is_continuous(array.read(0, array.shape[0]))


def _rows_of_files(path: str, containers: Sequence[Container]) -> Container:
    """A matrix of a row for each file, and the names of the files as ids."""
    arrays = tuple(container.arrays[""] for container in containers)
    shape, dtype = (len(arrays), arrays[0].shape[-1]), arrays[0].dtype
    matrix = RowArray(shape, dtype, _RowLoader(arrays))
    matrix.at_once = matrix.n_bytes
    files = [Path(container.path) for container in containers]
    odd = next((c for c, a in zip(containers, arrays, strict=True) if a.dtype != dtype), None)
    if odd is not None:
        raise DataError(
            f"{path}: vectors must have the same dtype: {containers[0].path} is "
            f"{arrays[0].dtype_name}, {odd.path} is {odd.arrays[''].dtype_name}"
        )
    names = (file.name[: -len(suffix_of(file))] for file in files)
    # bytes of a name that are no text
    stems = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
    note = (
        f"{len(files)} files with a vector each, rows in the order of their names "
        f"({quoted(stems[0], 40)}, {quoted(stems[1], 40)} ...), which are ids"
    )
    found = {"embeddings": matrix, "id": RowArray.of(np.array(stems))}
    notes = (note, *note_on_repeated(stems))
    return Container(Path(path), containers[0].format, found, notes=notes, shards=tuple(files))


def open_shards(path: str) -> Container:
    """Open a directory or pattern of shards as one container.

    Files without keys that hold a vector each are a row each, and their names are ids.

    Raises:
        DataError: shards that do not fit together; the first that does not is named.
    """
    paths = shard_paths(path)
    first, *others = containers = [open_file(p) for p in paths]
    for container in others:
        _require_alike(path, first, container, len(paths))
    if _have_one_vector_each(containers):
        return _rows_of_files(path, containers)
    arrays = {}
    for key, one in first.arrays.items():
        if not one.shape:
            continue
        members = tuple(container.arrays[key] for container in containers)
        shape = (sum(member.shape[0] for member in members), *one.shape[1:])
        at_once = sum(member.at_once for member in members)
        dtype = max((member.dtype for member in members), key=lambda name: (len(name), name))
        arrays[key] = RowArray(shape, dtype, _JoinedLoader(members), at_once)
    notes = (f"{len(paths)} shards read as one",)
    return Container(Path(path), first.format, arrays, first.skipped, notes, tuple(paths))


def _require_alike(path: str, first: Container, other: Container, n_shards: int) -> None:
    """Raise a DataError where two shards differ in keys, columns or dtypes."""
    if set(other.arrays) != set(first.arrays):
        raise DataError(
            f"{path}: shards must hold the same arrays: {first.path} has "
            f"{', '.join(first.arrays) or 'none'}, {other.path} has "
            f"{', '.join(other.arrays) or 'none'}"
        )
    for key, array in other.arrays.items():
        one = first.arrays[key]
        ranks = (len(one.shape), len(array.shape))
        if {*ranks} == {1, 2} and array.shape[:1] == one.shape[:1] and n_shards == 2:
            rows, labels = (first, other) if ranks == (2, 1) else (other, first)
            raise DataError(
                f"{path} looks like embeddings and their labels: name the two files, "
                f"{rows.path} --labels {labels.path}"
            )
        if array.shape[1:] != one.shape[1:] or ranks[0] != ranks[1]:
            raise DataError(
                f"{path}: shards must have the same columns: {first.path} is {one.shape}, "
                f"{other.path} is {array.shape}; name the shards alone with a pattern"
            )
        if array.dtype != one.dtype and (len(one.shape) > 1 or array.dtype[1] != one.dtype[1]):
            raise DataError(
                f"{path}: shards must have the same dtype: {first.path} is {one.dtype_name}, "
                f"{other.path} is {array.dtype_name}"
            )
