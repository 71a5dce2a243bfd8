"""Small files (rules, baselines, indexes), read whole and with a bound.

Only regular files are read: a FIFO would wait for ever, a device would never end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_PIECE = 1 << 20
MOST_BYTES = 64 << 20
"""Largest size of a file that is read whole, unless its reader gives another."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most` bytes; `strerror`
            says which.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "no path: it holds a NUL character")
    # a FIFO opened this way does not wait for a writer
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise OSError(errno.EISDIR, "it is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file (a FIFO, a device or a socket)")
        pieces, size = [], 0
        while size <= most and (piece := file.read(min(_PIECE, most + 1 - size))):
            pieces.append(piece)
            size += len(piece)
    if size > most:
        raise OSError(errno.EFBIG, f"it has more than {most >> 10} KiB, which no such file needs")
    return b"".join(pieces)


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The content of a regular file as text; a byte order mark at its start is no part of it.

    Raises:
        OSError: see `read_bytes`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path, most).decode("utf-8-sig")
