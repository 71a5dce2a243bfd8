"""Free memory, and the refusal to decode values that would not fit."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cl_analyze.errors import DataError


def free_memory() -> int:
    """Bytes that the machine, the container, or the limit of this process leave free.

    2 GiB where the system does not say.
    """
    limits = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        limits.append(max(limit - used, 0))
    with contextlib.suppress(ImportError, OSError, ValueError):  # ulimit -v
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            limits.append(max(limit - pages * resource.getpagesize(), 0))
    return min(limits, default=2 << 30)


def mebibytes(size: int) -> str:
    """A size in words.

    >>> mebibytes(5 << 20), mebibytes(5 << 10)
    ('5 MiB', '0.0049 MiB')
    """
    return f"{size / 2**20:.0f} MiB" if size >= 1 << 20 else f"{size / 2**20:.2g} MiB"


MOST_INFLATION = 100
"""Factor by which decoded values may exceed the stored bytes, where they take much memory."""


def require_room(name: str, size: int, stored: int | None = None) -> None:
    """Refuse to decode values that would not fit, or that a small file inflates to.

    Args:
        name: the values in messages.
        size: bytes when they are decoded.
        stored: bytes in the file; None: as many.

    Raises:
        DataError: `size` bytes are more than the free memory; or more than a quarter of it, and
            far more than the stored bytes.
    """
    free = free_memory()
    if stored is not None and size > MOST_INFLATION * max(stored, 1) and size > free // 4:
        raise DataError(
            f"{name} takes {mebibytes(size)} when it is decoded, {size // max(stored, 1)} times "
            f"the {mebibytes(stored)} that are stored, and more than a quarter of the "
            f"{mebibytes(free)} that are free; if it is meant so, save it as .npy, which is read "
            "by rows"
        )
    if size > free:
        raise DataError(
            f"{name} takes {mebibytes(size)} when it is decoded, {mebibytes(free)} are free; is "
            "the file damaged? If not, save it as .npy, which is read by rows, or in smaller pieces"
        )
