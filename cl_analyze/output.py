"""Files that are whole or absent, even where the process that writes them is killed.

All files of a run are written under temporary names beside their targets and flushed to disk.  Only
then are they renamed, all together.  Ctrl-C and SIGTERM wait for the end of the renaming, and
another process that writes into the same folder waits for its turn.  An index file in the folder
lists the files of each command, so that the next run of a command removes files that it does not
write any more.  The next process that writes into a folder removes temporary files of killed
processes.
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
"""Age in seconds from which a temporary file of another machine counts as abandoned."""
LONGEST_WAIT = 30.0
"""Longest time in seconds that a process waits for its turn in a folder."""
_TEMPORARY = ".cl-analyze-tmp"


def write_files(folder: Path, command: str, files: Mapping[str, bytes]) -> list[Path]:
    """Write the files of a command, and remove files that only its last run wrote.

    Args:
        folder: the folder; it is made when it is missing.
        command: name of the command, the owner of the files.
        files: relative path (with forward slashes) -> content.

    Returns:
        The written paths, in the order of `files`.

    Raises:
        ConfigError: the folder cannot be written; no file of this run is left in it.
    """
    targets = {folder / name: data for name, data in files.items()}
    made_folders: list[Path] = []
    is_done = False
    try:
        for target in targets:
            if not _leads_inside(folder, target):
                raise ConfigError(
                    f"{target.parent} is a link out of {folder}, and nothing is written through "
                    "it: remove the link, or choose another --out"
                )
            made_folders += [part for part in (*target.parents, folder) if not part.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned([folder])
        with _staged(targets) as staged, _turn(folder), _uninterrupted():
            _put_in_place(folder, command, files, staged)
        is_done = True
    except OSError as error:
        raise ConfigError(
            f"cannot write to {folder}: {error.strerror or error}; choose another --out, or "
            "--no-files to write none"
        ) from error
    finally:
        if not is_done:
            for made_folder in sorted(set(made_folders), key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    made_folder.rmdir()
    return list(targets)


@contextlib.contextmanager
def _staged(files: Mapping[Path, bytes]) -> Iterator[list[tuple[Path, Path]]]:
    """Write files under temporary names; the block gets pairs (temporary, target) to rename."""
    remove_abandoned({target.parent for target in files})
    staged: list[tuple[Path, Path]] = []
    locks: list[int] = []
    try:
        for target, data in files.items():
            staged.append((_temporary(target), target))
            locks += _write(staged[-1][0], data)
            _keep_mode(staged[-1][0], target)
        yield staged
    finally:
        for descriptor in locks:
            os.close(descriptor)
        for temporary, _ in staged:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _put_in_place(
    folder: Path, command: str, files: Iterable[str], staged: Iterable[tuple[Path, Path]]
) -> None:
    """Rename the staged files, and remove files that only the command's last run wrote."""
    index = _read_index(folder)
    of_last_run = set(index.get(command, []))
    of_others = {name for owner, names in index.items() if owner != command for name in names}
    # until the end the index lists the files of both runs, so that no file is forgotten
    _write_index(folder, {**index, command: sorted(of_last_run | set(files))})
    is_one_replaced = False
    try:
        for temporary, target in staged:
            temporary.replace(target)
            is_one_replaced = True
    except OSError:
        if not is_one_replaced:  # otherwise the index must list the files of both runs
            with contextlib.suppress(OSError):
                if index:
                    _write_index(folder, index)
                else:
                    (folder / INDEX).unlink()
        raise
    for name in sorted(of_last_run - set(files) - of_others):
        with contextlib.suppress(OSError):  # the file is missing, or a folder has its name
            if _leads_inside(folder, folder / name):
                (folder / name).unlink()
    with contextlib.suppress(OSError):  # disk full: an index with too many names does no harm
        _write_index(folder, {**index, command: sorted(files)})


def _leads_inside(folder: Path, target: Path) -> bool:
    """Whether a path stays inside a folder when its symbolic links are followed."""
    return target.parent.resolve().is_relative_to(folder.resolve())


def _write_index(folder: Path, index: Mapping[str, list[str]]) -> None:
    with _replacing(folder / INDEX) as file:
        file.write((json.dumps(index, indent=1, sort_keys=True) + "\n").encode())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces a path at the end of the block, whole or not at all.

    Raises:
        OSError: the file cannot be written; the path keeps its old file.
    """
    remove_abandoned([path.parent])
    with _replacing(path) as file:
        yield file


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    temporary = _temporary(path)
    try:
        with _created(temporary) as file:
            locks = _held(file)
            try:
                yield file
            finally:
                for descriptor in locks:
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
    """Write or replace files of one folder that belong together: all files, or no file.

    Returns:
        The paths, in the order of `files`.

    Raises:
        ConfigError: a file cannot be written.
    """
    paths = list(files)
    try:
        # the target of a link is replaced, not the link
        targets = {Path(os.path.realpath(path)): data for path, data in files.items()}
        special = [path for path in files if _is_special(path)]
        if special and len(files) > 1:
            raise OSError(errno.EINVAL, f"{special[0]} is no regular file")
        if special:
            _write_through(special[0], files[special[0]])
            return paths
        with _staged(targets) as staged, _turn(next(iter(targets)).parent), _uninterrupted():
            for temporary, path in staged:
                temporary.replace(path)
    except OSError as error:
        names = " and ".join(map(str, paths))
        raise ConfigError(f"cannot write {names}: {error.strerror or error}") from error
    return paths


def _is_special(path: Path) -> bool:
    """Whether the path exists and is neither a file nor a folder: a device, FIFO or socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _write_through(path: Path, data: bytes) -> None:
    """Write to a device or a FIFO, which must not be replaced by a file."""
    # without O_NONBLOCK, opening a FIFO without a reader would wait for ever
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "wb") as file:
        os.set_blocking(descriptor, True)
        file.write(data)


def _temporary(target: Path) -> Path:
    """A temporary path beside a target; its name has the machine and the process that write it."""
    if target.is_dir():
        raise IsADirectoryError(0, f"{target} is a directory")
    name = f"{_TEMPORARY}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(8)}"
    return target.parent / name


def _keep_mode(temporary: Path, target: Path) -> None:
    """Give a file the permissions of the file that it replaces."""
    with contextlib.suppress(OSError):  # there is no old file, or another user owns it
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _write(path: Path, data: bytes) -> list[int]:
    """Write a temporary file, and return its lock; see `_held`."""
    with _created(path) as file:
        file.write(data)
        return _held(file)


def _lock(descriptor: int) -> bool | None:
    """Take a lock without waiting.

    Returns:
        True: this process has the lock; False: another process has it; None: the file system has no
        locks.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, or a file system without locks
        return None
    return True


def _held(file: BinaryIO) -> list[int]:
    """Lock a temporary file, so that processes in other containers see that its writer is alive.

    Returns:
        The descriptor that holds the lock; an empty list where the file system has no locks.
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
    # another user of the folder can put a FIFO or a link under such a name
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        return _lock(descriptor) is False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _created(path: Path) -> Iterator[BinaryIO]:
    """A new file, flushed to disk at the end of the block."""
    with path.open("x+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def remove_abandoned(folders: Iterable[Path]) -> None:
    """Remove temporary files of processes that do not run any more."""
    for folder in folders:
        for path in folder.glob(f"{_TEMPORARY}-*"):
            with contextlib.suppress(OSError, OverflowError):
                if _is_abandoned(path):
                    path.unlink()


def _is_abandoned(path: Path) -> bool:
    """Whether the process that writes a temporary file does not run any more."""
    if _is_held(path):
        return False
    host, _, rest = path.name.removeprefix(f"{_TEMPORARY}-").rpartition("-")[0].rpartition("-")
    if host == socket.gethostname() and rest.isdecimal() and os.name == "posix":
        try:
            os.kill(int(rest), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # a process of another user
            return False
    return time.time() - path.stat().st_mtime > ABANDONED


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: one process at a time puts files into it.

    Raises:
        OSError: another process holds the lock for too long.
    """
    if os.name != "posix":  # Windows has no locks on folders
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
    """Delay Ctrl-C and SIGTERM until the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread
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
    """Whether an index entry names a file inside the folder, also where the index was edited."""
    if not isinstance(name, str):
        return False
    path = Path(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
