"""File formats: one file each, registered here by one line.

A format is a name, the suffixes that choose it, and a function from a path to a `Container`.
The suffix decides; when the content is something else, the error says what it looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cl_analyze.data.formats import delimited, npy, npz, text, torch_file
from cl_analyze.data.rows import Container
from cl_analyze.errors import DataError


@dataclass(frozen=True)
class Format:
    """A file format and how to open it."""

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path], Container]


FORMATS = (
    Format("NumPy array", (".npy",), npy.open_npy),
    Format("NumPy archive", (".npz",), npz.open_npz),
    Format("PyTorch file", (".pt", ".pth"), torch_file.open_torch),
    Format("delimited text", (".csv", ".tsv"), delimited.open_delimited),
    Format("plain text", (".txt",), text.open_text),
)

_MAGIC = (
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"PK\x03\x04", "a ZIP archive (.npz or .pt)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"version https://git-lfs", "a Git LFS pointer (run git lfs pull)"),
)


def looks_like(path: Path) -> str:
    """What the first bytes of a file say it is, in words."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if b"\0" in head:
        return "binary data of no known format"
    return "text"


def open_file(path: Path) -> Container:
    """Open a file by its suffix.

    Raises:
        DataError: no such file, a suffix without a reader, or content that is something else.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if not there:
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path} is a directory; name a file in it")
    if not path.is_file():
        raise DataError(f"{path} is neither a regular file nor a link to one")
    suffix = path.suffix.lower()
    for known in FORMATS:
        if suffix in known.suffixes:
            break
    else:
        suffixes = " ".join(s for known in FORMATS for s in known.suffixes)
        what = f"the suffix {suffix!r} has no reader" if suffix else "the name has no suffix"
        raise DataError(
            f"{path}: {what} (its content looks like {looks_like(path)}); readable: {suffixes}"
        )
    try:
        if path.stat().st_size == 0:
            raise DataError("the file is empty")
        return known.open(path)
    except DataError as error:
        raise DataError(
            f"{path}: {error} (expected a {known.name}; the content looks like {looks_like(path)})"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
