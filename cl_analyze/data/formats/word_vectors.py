"""Word vectors: .vec and .txt of GloVe, fastText and word2vec, and word2vec's .bin.

A line of text is a word and its numbers; a first line with the numbers of rows and dimensions may
stand before them.  In the binary file each word ends with a space, and its float32 numbers follow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.gathered import GatheredRows, array_of_words, note_on_repeated
from cl_analyze.data.formats.streams import lines_of, plain_suffix
from cl_analyze.data.formats.text import open_text
from cl_analyze.data.ranged import FileBytes
from cl_analyze.data.rows import Container, InMemory, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_IDS = "id"
"""Key of the words: of an array `id` values may occur twice, and then rows are not matched."""
_MATRIX = "embeddings"
_HEADER = re.compile(r"[ ]*([0-9]{1,15})[ ]+([0-9]{1,9})[ ]*\Z")
_FIRST_LINES = 50
_FEWEST_NUMBERS = 2
"""Numbers behind a word from which on a line of a .txt file is no label."""
_MOST_ODD = 0.25
"""Share of the first lines that may differ in a .txt file of word vectors; reading names them."""
_LONGEST_WORD = 1 << 16
_LONGEST_HEADER = 64
_PIECE = 1 << 20
_FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class _Layout:
    """How the lines of a text file begin.

    Attributes:
        has_header: whether the first line has the numbers of rows and dimensions.
        n_rows: rows that it promises; None without a header.
        dim: numbers behind a word.
    """

    has_header: bool
    n_rows: int | None
    dim: int


def _plain(line: str) -> str:
    """A line without its end, tabs as spaces."""
    return line.rstrip("\r\n").replace("\t", " ").rstrip(" ")


def _numbers(words: Sequence[str]) -> list[float] | None:
    """Words as numbers; None where one is no number."""
    try:
        numbers = list(map(float, words))
    except ValueError:
        return None
    return None if "_" in "".join(words) else numbers


def _split(line: str, dim: int) -> tuple[str, list[float]] | None:
    """The word and the numbers of a line, split from the right, for words may hold spaces.

    >>> _split("at home 0.5 1", 2), _split("home 0.5", 2)
    (('at home', [0.5, 1.0]), None)
    """
    word, *fields = line.rsplit(" ", dim)
    if "" in fields:  # several spaces between numbers
        parts = [part for part in line.split(" ") if part]
        word, fields = " ".join(parts[:-dim]), parts[-dim:]
    numbers = _numbers(fields) if len(fields) == dim else None
    return None if numbers is None or not word else (word, numbers)


def _layout(lines: Sequence[str], is_certain: bool) -> _Layout | None:
    """The layout of a file's first lines; None where they are no word vectors.

    Args:
        lines: without blank lines, see `_plain`.
        is_certain: whether the suffix says that they are.
    """
    header = _HEADER.match(lines[0]) if len(lines) > 1 else None
    if header is not None:
        dim = int(header[2])
        n_fields = len(lines[1].split())
        fits = n_fields > dim >= (1 if is_certain else _FEWEST_NUMBERS)
        if fits and (is_certain or _split(lines[1], dim) is not None):
            return _Layout(True, int(header[1]), dim)
    dim = _dimensions(lines)
    if dim < (1 if is_certain else _FEWEST_NUMBERS):
        return None
    is_odd = [_split(line, dim) is None for line in lines]
    all_numbers = all(  # behind comments, which no word vectors have
        _numbers(line.split()) is not None
        for line, odd in zip(lines, is_odd, strict=True)
        if not (odd and line.startswith("#"))
    )
    if sum(is_odd) > _MOST_ODD * len(lines) or (all_numbers and not is_certain):
        return None
    return _Layout(False, None, dim)


def _dimensions(lines: Sequence[str]) -> int:
    """How many numbers stand behind a word, as in most lines of one word; 0 without such a line.

    >>> _dimensions(["at home 0.5 1", "home 0.5 1", "new york 0.5 1"])
    2
    """
    rows = [line.split() for line in lines]
    counts = Counter(len(row) - 1 for row in rows if _numbers(row[1:]) is not None)
    return counts.most_common(1)[0][0] if counts else 0


def _first_lines(path: Path) -> list[str]:
    lines = (_plain(line) for line in lines_of(path, "text"))
    return list(islice(filter(None, lines), _FIRST_LINES))


def open_txt(path: Path) -> Container:
    """Open a .txt file: word vectors where its lines are a word and numbers, else `open_text`.

    Raises:
        DataError: see `open_text` and `open_vec`.
    """
    try:
        first = _first_lines(path)
    except DataError:
        return open_text(path)  # whose message it shall be
    layout = _layout(first, is_certain=False) if first else None
    return open_text(path) if layout is None else _read(path, layout)


def open_vec(path: Path) -> Container:
    """Open word vectors as text.

    Keys: `embeddings`, float32, and `id`, the words.

    Raises:
        DataError: a line that is no word and as many numbers as the first has, or another number
            of lines than the header promises.
    """
    first = _first_lines(path)
    layout = _layout(first, is_certain=True) if first else None
    if layout is None:
        found = f"; its first line is {quoted(first[0], 60)}" if first else ""
        raise DataError(
            f"its lines must each be a word and as many numbers, perhaps behind a line with the "
            f"numbers of rows and dimensions{found}"
        )
    return _read(path, layout)


def _read(path: Path, layout: _Layout) -> Container:
    dim, words = layout.dim, []
    rows = GatheredRows("its matrix", (dim,), np.dtype(np.float32))
    is_header = layout.has_header
    for number, line in enumerate(lines_of(path, "text"), 1):
        text = _plain(line)
        if not text:
            continue
        if is_header:
            is_header = False
            continue
        found = _split(text, dim)
        if found is None:
            hint = "" if line.endswith("\n") else ": is the file cut off?"
            raise DataError(
                f"line {number} must be a word and {dim} numbers, as "
                f"{'the first line says' if layout.has_header else 'the first lines have'}, found "
                f"{len(text.split()) - 1} fields after {quoted(text.split()[0], 40)}{hint}"
            )
        with np.errstate(over="ignore"):
            rows.add(found[1])
        words.append(found[0])
    if layout.n_rows is not None and layout.n_rows != len(words):
        raise DataError(
            f"its first line promises {layout.n_rows} rows, it has {len(words)}: is it cut off?"
        )
    return _container(path, plain_suffix(path)[1:], rows.as_array(), words)


def _container(path: Path, name: str, rows: RowArray, words: Sequence[str]) -> Container:
    arrays = {_MATRIX: rows, _IDS: RowArray.of(array_of_words(words))}
    notes = (
        f"word vectors: {rows.n_rows} words, which are ids, and {rows.shape[1]} dimensions",
        *note_on_repeated(words),
    )
    return Container(path, name, arrays, notes=notes)


# ---- word2vec's binary file


@dataclass(frozen=True)
class _WordRows:
    """The vectors of a binary file, read by the ranges of bytes that follow the words.

    Attributes:
        source: the file.
        offsets: (N,) where the vectors begin.
        dim: their length.
    """

    source: FileBytes
    offsets: NDArray[np.int64]
    dim: int
    nbytes: ClassVar[int] = 0

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        size = self.dim * _FLOAT.itemsize
        starts = self.offsets[index]
        if not isinstance(index, slice) or not len(starts) or index.step not in (None, 1):
            return self.source.pieces(starts, size).view(_FLOAT).reshape(len(starts), self.dim)
        first, last = int(starts[0]), int(starts[-1]) + size
        data = self.source.pieces(np.array([first]), last - first)[0]
        rows = np.empty((len(starts), size), np.uint8)
        for row, start in zip(rows, (starts - first).tolist(), strict=True):
            row[:] = data[start : start + size]
        return rows.view(_FLOAT)


def open_word2vec(path: Path) -> Container:
    """Open word2vec's binary file; vectors are read by rows.

    Keys: `embeddings`, float32, and `id`, the words; bytes of a word that are no UTF-8 are written
    as Python's escapes of them.  Its words are looked for once, since rows have no equal lengths.

    Raises:
        DataError: no such header, or the file has not the length for the rows that it promises.
    """
    source = FileBytes.of(path)
    head = bytes(source.read(0, _LONGEST_HEADER))
    line, end, _ = head.partition(b"\n")
    header = _HEADER.match(line.decode("ascii", "replace").rstrip("\r")) if end else None
    if header is None:
        raise DataError(
            "a .bin file is read as word2vec writes it, with a first line of two numbers, rows and "
            f"dimensions, found {quoted(head[:16].decode('latin-1'), 40)}; save other arrays as "
            ".npy"
        )
    n_rows, dim = int(header[1]), int(header[2])
    if n_rows * (dim * _FLOAT.itemsize + 2) > source.size - len(line) - 1 or not n_rows or not dim:
        raise DataError(
            f"its first line promises {n_rows} words with {dim} dimensions, which take more than "
            f"the {source.size} bytes of the file: is it cut off, or of another kind?"
            if n_rows and dim
            else f"its first line promises {n_rows} words with {dim} dimensions"
        )
    words, offsets = _index(source, n_rows, dim, len(line) + 1)
    rows = _WordRows(source, offsets, dim)
    matrix = RowArray((n_rows, dim), _FLOAT.str, InMemory(rows))
    return _container(path, "bin", matrix, words)


def _index(source: FileBytes, n_rows: int, dim: int, at: int) -> tuple[list[str], NDArray[Any]]:
    """The words, and where the vectors behind them begin; `at` is where the first word does."""
    offsets = np.empty(n_rows, np.int64)
    words: list[str] = []
    size = dim * _FLOAT.itemsize
    start, piece = at, bytes(source.read(at, at + _PIECE))
    for row in range(n_rows):
        low = at - start
        space = piece.find(b" ", low, low + _LONGEST_WORD) if low >= 0 else -1
        if space < 0:  # the word is not in this piece, or not whole
            start, piece = at, bytes(source.read(at, at + _PIECE))
            low, space = 0, piece.find(b" ", 0, _LONGEST_WORD)
        begin = at + space - low + 1
        if space < 0 or begin + size > source.size:
            problem = "the file ends" if begin + size > source.size else "no word ends with a space"
            raise DataError(
                f"in row {row} of {n_rows} {problem}: is it cut off, or of another kind?"
            )
        word = piece[low:space].lstrip(b"\n")  # some programs end a vector with a line feed
        words.append(word.decode("utf-8", "backslashreplace"))
        offsets[row] = begin
        at = begin + size
    rest = source.size - at
    if rest and bytes(source.read(at, at + 2)) != b"\n":
        raise DataError(f"{rest} bytes follow its {n_rows} rows: is it of another kind?")
    return words, offsets
