"""Files in an output folder: each whole or absent, stale ones removed, nothing else touched.

All files of a run are written under temporary names beside their targets, flushed to disk, and
only then renamed.  A small index file in the folder remembers which command wrote which files, so
that a later run of the same command can remove what it no longer writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cl_analyze.errors import ConfigError

INDEX = ".cl-analyze-files.json"


def write_files(folder: Path, command: str, files: Mapping[str, bytes]) -> list[Path]:
    """Write a command's files, replacing those of its last run.

    Args:
        folder: made when it is missing.
        command: owner of the files.
        files: relative path (with forward slashes) -> content.

    Returns:
        The written paths, in the order given.

    Raises:
        ConfigError: the folder cannot be written; nothing of this run is left in it.
    """
    staged: list[tuple[Path, Path]] = []
    made: list[Path] = []
    done = False
    try:
        index = _read_index(folder)
        owned = set(index.get(command, []))
        claimed = {name for owner, names in index.items() if owner != command for name in names}
        index[command] = sorted(files)
        content = {**files, INDEX: (json.dumps(index, indent=1, sort_keys=True) + "\n").encode()}
        for name, data in content.items():
            target = folder / name
            made += [part for part in (*target.parents, folder) if not part.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.append((_stage(target, data), target))
        for temporary, target in staged:
            temporary.replace(target)
        for name in sorted(owned - set(files) - claimed):
            with contextlib.suppress(FileNotFoundError):
                (folder / name).unlink()
        done = True
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror or error}; choose another --out, or "
            "--no-files to write none"
        ) from error
    finally:
        for temporary, _ in staged:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        if not done:
            for part in sorted(set(made), key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    part.rmdir()
    return [folder / name for name in files]


def replace_file(path: Path, data: bytes) -> Path:
    """Write one file, whole or not at all; what was there is replaced.

    Returns:
        The path.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        _stage(path, data).replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _stage(target: Path, data: bytes) -> Path:
    if target.is_dir():
        raise IsADirectoryError(0, f"{target} is a directory")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _read_index(folder: Path) -> dict[str, list[str]]:
    """The index of earlier runs; where it is missing or damaged, nothing is known to be stale."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    if not isinstance(index, dict):
        return {}
    return {
        str(owner): [name for name in names if _is_inside(name)]
        for owner, names in index.items()
        if isinstance(names, list)
    }


def _is_inside(name: object) -> bool:
    """Whether an index entry names a file below the folder (an edited index must not reach out)."""
    if not isinstance(name, str):
        return False
    parts = Path(name).parts
    return bool(parts) and not Path(name).is_absolute() and ".." not in parts
