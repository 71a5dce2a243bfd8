"""Files that are whole or absent, whatever happens to the process that writes them.

All files of a run are written under temporary names beside their targets, flushed to disk, and
only then renamed, all at once.  Ctrl-C and SIGTERM wait until that is done, and another process
that writes into the same folder waits for its turn.  An index file in the folder remembers which
command wrote which files, so that the next run of the command removes files that it no longer
writes.  Temporary files of a killed process are removed by the next process that writes there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from cl_analyze.errors import ConfigError
from cl_analyze.small_files import read_text

INDEX = ".cl-analyze-files.json"
ABANDONED = 3600.0
"""Seconds after which another machine's temporary file belongs to a run that is gone."""
LONGEST_WAIT = 30.0
"""Seconds that a process waits for its turn in a folder."""
_TEMPORARY = ".cl-analyze-tmp"


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
    targets = {folder / name: data for name, data in files.items()}
    made: list[Path] = []
    done = False
    try:
        for target in targets:
            if not _leads_inside(folder, target):
                raise ConfigError(
                    f"{target.parent} is a link out of {folder}, and nothing is written through "
                    "it: remove the link, or choose another --out"
                )
            made += [part for part in (*target.parents, folder) if not part.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned([folder])
        with _staged(targets) as staged, _turn(folder), _uninterrupted():
            _put_in_place(folder, command, files, staged)
        done = True
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror or error}; choose another --out, or "
            "--no-files to write none"
        ) from error
    finally:
        if not done:
            for part in sorted(set(made), key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    part.rmdir()
    return list(targets)


@contextlib.contextmanager
def _staged(files: Mapping[Path, bytes]) -> Iterator[list[tuple[Path, Path]]]:
    """Files under temporary names beside their targets: pairs of both, for the block to rename."""
    remove_abandoned({target.parent for target in files})
    staged: list[tuple[Path, Path]] = []
    held: list[int] = []
    try:
        for target, data in files.items():
            staged.append((_temporary(target), target))
            held += _write(staged[-1][0], data)
            _keep_mode(staged[-1][0], target)
        yield staged
    finally:
        for descriptor in held:
            os.close(descriptor)
        for temporary, _ in staged:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _put_in_place(
    folder: Path, command: str, files: Iterable[str], staged: Iterable[tuple[Path, Path]]
) -> None:
    """Rename the staged files, and remove what only the command's last run wrote."""
    index = _read_index(folder)
    owned = set(index.get(command, []))
    claimed = {name for owner, names in index.items() if owner != command for name in names}
    # until the end the index has the files of both runs, so that no file is forgotten
    _write_index(folder, {**index, command: sorted(owned | set(files))})
    replaced = False
    try:
        for temporary, target in staged:
            temporary.replace(target)
            replaced = True
    except OSError:
        if not replaced:  # else the index must name the files of both runs
            with contextlib.suppress(OSError):
                if index:
                    _write_index(folder, index)
                else:
                    (folder / INDEX).unlink()
        raise
    for name in sorted(owned - set(files) - claimed):
        with contextlib.suppress(OSError):  # gone, or no file any more
            if _leads_inside(folder, folder / name):
                (folder / name).unlink()
    with contextlib.suppress(OSError):  # no room: an index with too many names does no harm
        _write_index(folder, {**index, command: sorted(files)})


def _leads_inside(folder: Path, target: Path) -> bool:
    """Whether a path in a folder stays there when the links on its way are followed."""
    return target.parent.resolve().is_relative_to(folder.resolve())


def _write_index(folder: Path, index: Mapping[str, list[str]]) -> None:
    with _replacing(folder / INDEX) as file:
        file.write((json.dumps(index, indent=1, sort_keys=True) + "\n").encode())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file whose content replaces a path, whole or not at all.

    Raises:
        OSError: it cannot be written; the file before is kept.
    """
    remove_abandoned([path.parent])
    with _replacing(path) as file:
        yield file


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    temporary = _temporary(path)
    try:
        with _created(temporary) as file:
            held = _held(file)
            try:
                yield file
            finally:
                for descriptor in held:
                    os.close(descriptor)
        _keep_mode(temporary, path)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def replace_file(path: Path, data: bytes) -> Path:
    """Write one file, whole or not at all, and return its path; see `replace_files`."""
    return replace_files({path: data})[0]


def replace_files(files: Mapping[Path, bytes]) -> list[Path]:
    """Write or replace files of one folder that belong together: all of them, or none.

    Returns:
        The paths, in the order given.

    Raises:
        ConfigError: one cannot be written.
    """
    paths = list(files)
    try:
        # the target of a link is replaced, not the link
        places = {Path(os.path.realpath(path)): data for path, data in files.items()}
        special = [path for path in files if _is_special(path)]
        if special and len(files) > 1:
            raise OSError(errno.EINVAL, f"{special[0]} is no regular file")
        if special:
            _write_through(special[0], files[special[0]])
            return paths
        with _staged(places) as staged, _turn(next(iter(places)).parent), _uninterrupted():
            for temporary, path in staged:
                temporary.replace(path)
    except OSError as error:
        named = " and ".join(map(str, paths))
        raise ConfigError(f"cannot write {named}: {error.strerror or error}") from error
    return paths


def _is_special(path: Path) -> bool:
    """Whether the path exists and is neither a file nor a folder: a device, FIFO or socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _write_through(path: Path, data: bytes) -> None:
    """Write to a device or a FIFO, which must not be replaced by a file."""
    # without O_NONBLOCK a FIFO that nobody reads would wait for ever
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "wb") as file:
        os.set_blocking(descriptor, True)
        file.write(data)


def _temporary(target: Path) -> Path:
    """A name beside a target with the machine and the process that write it."""
    if target.is_dir():
        raise IsADirectoryError(0, f"{target} is a directory")
    name = f"{_TEMPORARY}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(8)}"
    return target.parent / name


def _keep_mode(temporary: Path, target: Path) -> None:
    """Give a file the permissions of the one that it replaces."""
    with contextlib.suppress(OSError):  # none is replaced, or it is another user's
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _write(path: Path, data: bytes) -> list[int]:
    """Write a temporary file; see `_held` for what is returned."""
    with _created(path) as file:
        file.write(data)
        return _held(file)


def _lock(descriptor: int) -> bool | None:
    """Take a lock without waiting; False: another process has it; None: there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, or a file system without locks
        return None
    return True


def _held(file: BinaryIO) -> list[int]:
    """A lock on a temporary file, which tells every container that its writer is alive.

    Returns:
        The descriptor that holds it; nothing where there are no locks.
    """
    try:
        descriptor = os.dup(file.fileno())
    except OSError:
        return []
    if _lock(descriptor):
        return [descriptor]
    os.close(descriptor)
    return []


def _is_held(path: Path) -> bool:
    """Whether a living process holds the lock of a temporary file."""
    # whoever may write here may put a FIFO or a link under such a name
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        return _lock(descriptor) is False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A new file, on disk when it is closed."""
    with path.open("x+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def remove_abandoned(folders: Iterable[Path]) -> None:
    """Remove temporary files of processes that are gone."""
    for folder in folders:
        for path in folder.glob(f"{_TEMPORARY}-*"):
            with contextlib.suppress(OSError, OverflowError):
                if _is_abandoned(path):
                    path.unlink()


def _is_abandoned(path: Path) -> bool:
    if _is_held(path):
        return False
    host, _, rest = path.name.removeprefix(f"{_TEMPORARY}-").rpartition("-")[0].rpartition("-")
    if host == socket.gethostname() and rest.isdecimal() and os.name == "posix":
        try:
            os.kill(int(rest), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            return False
    return time.time() - path.stat().st_mtime > ABANDONED


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process at a time puts files into a folder."""
    if os.name != "posix":  # Windows has no lock on a folder
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + LONGEST_WAIT
        while _lock(descriptor) is False:
            if time.monotonic() > until:
                text = f"another process has held its lock for {LONGEST_WAIT:.0f} s"
                raise OSError(errno.EAGAIN, text)
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block is done."""
    if threading.current_thread() is not threading.main_thread():  # which they never interrupt
        yield
        return
    arrived: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for signum in dict.fromkeys(arrived):
            signal.raise_signal(signum)


def _read_index(folder: Path) -> dict[str, list[str]]:
    """The index of earlier runs; empty where it is missing or damaged."""
    try:
        index = json.loads(read_text(folder / INDEX))
    except (OSError, ValueError, RecursionError):
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
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
