"""Text read as a stream, line by line, also from gzip: neither its size nor a line is trusted."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

from cl_analyze.data.memory import MOST_INFLATION, require_room
from cl_analyze.errors import DataError

GZIP = ".gz"
LONGEST_LINE = 1 << 24
"""Characters of a line that are looked at before anything is parsed."""
_MOST_BLANK = 1_000_000
_LOOK_EVERY = 16 << 20
"""Bytes between two looks at the memory that is free."""
_SLACK = 4
"""More is unpacked while this fraction of what is there would fit once more."""


def suffix_of(path: Path) -> str:
    """The suffix that chooses the reader; of compressed files both.

    >>> suffix_of(Path("a.CSV.gz")), suffix_of(Path("a.b.npy")), suffix_of(Path("a.gz"))
    ('.csv.gz', '.npy', '.gz')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:] if suffixes[-1:] == [GZIP] else suffixes[-1:])


def plain_suffix(path: Path) -> str:
    """The suffix of a file's content when it is unpacked.

    >>> plain_suffix(Path("a.tsv.gz")), plain_suffix(Path("a.TSV"))
    ('.tsv', '.tsv')
    """
    return suffix_of(path).removesuffix(GZIP)


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Turn the error for bytes that are no UTF-8 into a DataError with the remedy."""
    try:
        yield
    except UnicodeDecodeError as error:
        start = bytes(error.object[:2])
        kind = ", but UTF-16" if start in (b"\xff\xfe", b"\xfe\xff") else ""
        raise DataError(f"not UTF-8 text{kind} (byte {error.start}): save it as UTF-8") from error


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, which must not inflate without bound."""

    def __init__(self, path: Path, is_kept: bool) -> None:
        self._file = gzip.GzipFile(path)
        self._name, self._stored = str(path), path.stat().st_size
        self._is_kept, self._size, self._looked = is_kept, 0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        try:
            count = self._file.readinto(buffer)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            problem = "it is cut off" if isinstance(error, EOFError) else str(error)
            raise DataError(f"cannot be unpacked: {problem}; is the download whole?") from error
        self._size += count
        if self._size - self._looked >= _LOOK_EVERY:
            self._looked = self._size
            if self._size > MOST_INFLATION * self._stored:
                require_room(f"{self._name}: what it holds", self._size, self._stored)
            if self._is_kept:
                require_room(f"{self._name}: more of it", _LOOK_EVERY + self._size // _SLACK)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def opened_bytes(path: Path, is_kept: bool = False) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its name ends in .gz.

    Args:
        path: the file.
        is_kept: whether all of it will be in memory at the end.

    Raises:
        DataError: while it is read: what was compressed is cut off or damaged, or unpacks to more
            than a hundred times its size and a quarter of the free memory, or (where it is kept) to
            more than fits.
    """
    if suffix_of(path).endswith(GZIP):
        with _Unpacked(path, is_kept) as raw, io.BufferedReader(raw, 1 << 18) as file:
            yield file
    else:
        with path.open("rb") as file:
            yield file


@contextlib.contextmanager
def opened_text(path: Path, is_kept: bool = False) -> Iterator[TextIO]:
    """The text of a file in UTF-8, its ends of lines as they are.

    A byte order mark at its start is no part of it.  Arguments: see `opened_bytes`.

    Raises:
        DataError: see `opened_bytes`; and bytes that are no UTF-8, in the body of the `with` too.
    """
    with (
        decoding(),
        opened_bytes(path, is_kept) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        yield text


def lines_of(path: Path, kind: str) -> Iterator[str]:
    """The lines of a file in UTF-8 with their ends, which is a line feed alone.

    Args:
        path: see `opened_bytes`.
        kind: of text, for the message on a line that never ends.

    Raises:
        DataError: see `opened_bytes`; bytes that are no UTF-8; a line of more than 2²⁴ bytes; a
            million blank lines on end, which a small compressed file may hold.
    """
    with opened_bytes(path) as file:
        number = last = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            if not line.isspace():
                last = number
            elif number - last > _MOST_BLANK:
                raise DataError(f"more than {_MOST_BLANK} blank lines behind line {last}")
            if len(line) == LONGEST_LINE:
                raise DataError(
                    f"line {number} has more than {LONGEST_LINE} bytes: is this {kind}? Save the "
                    "matrix as .npy"
                )
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                is_utf16 = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
                found = ", but UTF-16" if is_utf16 and number == 1 else ""
                raise DataError(
                    f"line {number} is not UTF-8 text{found} (byte {error.start} of the line): "
                    "save it as UTF-8"
                ) from error
