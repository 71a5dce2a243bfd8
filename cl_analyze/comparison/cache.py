"""What was measured of a checkpoint, kept in a folder by the hash of all that it depends on.

An entry is one file: a SHA-256, then an .npz of a JSON text and arrays, never pickled.  It is
written whole or not at all, so that several runs can share a folder; an entry that is not what was
written is measured again and replaced.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.data.formats.npz import read_arrays
from cl_analyze.errors import ConfigError
from cl_analyze.metrics.family import FamilyResult
from cl_analyze.output import remove_abandoned, replace_file
from cl_analyze.pairs.saved import fingerprint
from cl_analyze.tables import Record, Table

FORMAT = 4
_DIGEST = 32


@dataclass(frozen=True)
class Entry:
    """One checkpoint's numbers.

    Attributes:
        families: what each metric family found.
        neighbours: (N, k) nearest rows of each, nearest first; None where they are not known.
    """

    families: dict[str, FamilyResult]
    neighbours: NDArray[np.int32] | None


def entry_key(*parts: Any) -> str:
    """The name of an entry: a hash of inputs, options and version."""
    return fingerprint(FORMAT, __version__, *parts)


class Cache:
    """A folder of entries.

    Args:
        folder: made when it is missing.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned([folder])
        except OSError as error:
            raise ConfigError(
                f"--cache {folder}: the folder cannot be made: {error.strerror or error}"
            ) from error

    def _path(self, key: str) -> Path:
        return self._folder / f"checkpoint-{key[:32]}"

    def load(self, key: str, source: str) -> Entry | None:
        """The entry under a key, its records named after a source; None where there is none.

        What is there and cannot be read counts as not there: it is measured again.
        """
        try:
            stored = self._path(key).read_bytes()
        except OSError:
            return None
        digest, data = stored[:_DIGEST], stored[_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            return None
        try:
            return _unpacked(read_arrays(io.BytesIO(data)), source)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # edited, and hashed again

    def save(self, key: str, source: str, entry: Entry) -> None:
        """Keep an entry.

        Raises:
            ConfigError: the folder cannot be written.
        """
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **_packed(entry, source))
        data = stream.getvalue()
        replace_file(self._path(key), hashlib.sha256(data).digest() + data)


def _packed(entry: Entry, source: str) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    families: dict[str, Any] = {}
    for name, result in entry.families.items():
        for i, record in enumerate(result.records):
            if record.pseudo_values is not None:
                arrays[f"pseudo/{name}/{i}"] = record.pseudo_values
            if record.pseudo_noise is not None:
                arrays[f"noise/{name}/{i}"] = record.pseudo_noise
        families[name] = {
            "records": [record.stored() for record in result.records],
            "tables": [[t.name, list(t.columns), list(t.rows)] for t in result.tables],
            "notes": list(result.notes),
        }
    if entry.neighbours is not None:
        arrays["neighbours"] = entry.neighbours
    text = json.dumps({"source": source, "families": families}, allow_nan=False)
    arrays["document"] = np.frombuffer(text.encode(), dtype=np.uint8)
    return arrays


def _unpacked(arrays: dict[str, NDArray[Any]], source: str) -> Entry:
    document = json.loads(arrays["document"].tobytes())
    before = document["source"]
    families = {}
    for name, found in document["families"].items():
        records = tuple(
            replace(
                Record.restored({**entry, "source": source}),
                pseudo_values=arrays.get(f"pseudo/{name}/{i}"),
                pseudo_noise=arrays.get(f"noise/{name}/{i}"),
            )
            for i, entry in enumerate(found["records"])
        )
        tables = tuple(
            Table(
                title,
                tuple(columns),
                tuple({**row, "source": source} if "source" in row else row for row in rows),
            )
            for title, columns, rows in found["tables"]
        )
        notes = tuple(
            source + text[len(before) :] if text.startswith(f"{before}:") else text
            for text in found["notes"]
        )
        families[name] = FamilyResult(records, tables, notes)
    return Entry(families, arrays.get("neighbours"))
