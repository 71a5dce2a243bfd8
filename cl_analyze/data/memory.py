"""How much memory there is, and what must not be read because it would not fit."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cl_analyze.errors import DataError


def free_memory() -> int:
    """Bytes that this machine, or the container around this process, can still give.

    2 GiB where that cannot be told.
    """
    found = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        found.append(max(limit - used, 0))
    return min(found, default=2 << 30)


def mebibytes(size: int) -> str:
    """A size in words.

    >>> mebibytes(5 << 20), mebibytes(5 << 10)
    ('5 MiB', '0.0049 MiB')
    """
    return f"{size / 2**20:.0f} MiB" if size >= 1 << 20 else f"{size / 2**20:.2g} MiB"


def require_room(what: str, size: int) -> None:
    """Refuse to decode at once what would not fit into memory.

    Raises:
        DataError: `size` bytes are more than what is free.
    """
    free = free_memory()
    if size > free:
        raise DataError(
            f"{what} takes {mebibytes(size)} when it is decoded, {mebibytes(free)} are free; is "
            "the file damaged? If not, save it as .npy, which is read by rows, or in smaller pieces"
        )
