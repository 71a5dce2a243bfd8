"""The numbers of checkpoints in a folder, by a hash of all inputs and options behind the numbers.

An entry is a file of `store`: a JSON text and arrays, never pickles.  A checkpoint whose entry is
damaged is measured again, and the entry is replaced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.family import FamilyResult
from cl_analyze.results.tables import ARRAYS, Record, Table
from cl_analyze.store import Store


@dataclass(frozen=True)
class Entry:
    """The numbers of one checkpoint.

    Attributes:
        families: results by metric family.
        neighbours: (N, k) nearest rows of each row, nearest first; None: unknown.
    """

    families: dict[str, FamilyResult]
    neighbours: NDArray[np.int32] | None


class Cache:
    """A folder of entries; see `Store` for its errors."""

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder, "--cache")

    def load(self, key: str, source: str) -> Entry | None:
        """The entry of a key, with records named after a source; None where it is missing.

        An entry that cannot be read counts as missing, so that the checkpoint is measured again.
        """
        try:
            arrays = self._store.load(_name(key))
            return None if arrays is None else _unpacked(arrays, source)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def save(self, key: str, source: str, entry: Entry) -> None:
        """Save an entry under a key.

        Raises:
            ConfigError: the folder cannot be written.
        """
        self._store.save(_name(key), _packed(entry, source))


def _name(key: str) -> str:
    return f"checkpoint-{key[:32]}"


def _packed(entry: Entry, source: str) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    families: dict[str, Any] = {}
    for name, result in entry.families.items():
        for i, record in enumerate(result.records):
            for kind, values in record.arrays().items():
                arrays[f"{kind}/{name}/{i}"] = values
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
    saved_source = document["source"]
    families = {}
    for name, result in document["families"].items():
        records = tuple(
            Record.restored(
                {**fields, "source": source},
                *(arrays.get(f"{kind}/{name}/{i}") for kind in ARRAYS),
            )
            for i, fields in enumerate(result["records"])
        )
        tables = tuple(
            Table(
                title,
                tuple(columns),
                tuple({**row, "source": source} if "source" in row else row for row in rows),
            )
            for title, columns, rows in result["tables"]
        )
        notes = tuple(
            source + text[len(saved_source) :] if text.startswith(f"{saved_source}:") else text
            for text in result["notes"]
        )
        families[name] = FamilyResult(records, tables, notes)
    return Entry(families, arrays.get("neighbours"))
