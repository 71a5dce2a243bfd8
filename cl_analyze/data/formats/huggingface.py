"""Directories that Hugging Face datasets saves: Arrow files, and a list of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some
from cl_analyze.small_files import read_text


def saved_dataset(folder: Path) -> list[Path] | None:
    """The Arrow files of a saved dataset, in their order; None where the folder is another one.

    Raises:
        DataError: a dictionary of several splits, a selection that was not written out, or a list
            that names files of other folders.
    """
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        names = _read(splits).get("splits")
        if not isinstance(names, list) or not names or not all(map(_is_name, names)):
            raise DataError(f"{splits}: no list of splits")
        if len(names) == 1:
            return saved_dataset(folder / names[0])
        paths = some((str(folder / name) for name in names), 3)
        raise DataError(f"{folder} holds the splits {some(map(quoted, names))}; name one: {paths}")
    state = folder / "state.json"
    if not state.is_file() or not (folder / "dataset_info.json").is_file():
        return None
    content = _read(state)
    if content.get("_indices_data_files"):
        raise DataError(
            f"{folder} is a selection of rows that was not written out; save "
            "dataset.flatten_indices()"
        )
    entries = content.get("_data_files")
    names = [e.get("filename") for e in entries if isinstance(e, dict)] if entries else []
    if not names or not isinstance(entries, list) or len(names) != len(entries):
        raise DataError(f"{state}: no list of data files")
    if not all(map(_is_name, names)):
        raise DataError(
            f"{state}: its data files must lie in the same folder, found {some(map(quoted, names))}"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: {some(map(quoted, missing))} of {state.name} is missing")
    return [folder / name for name in names]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: no JSON object")
    return content


def _is_name(name: Any) -> bool:
    """Whether this is a file's name, without a way to another folder."""
    return isinstance(name, str) and bool(name) and Path(name).name == name and name != ".."
