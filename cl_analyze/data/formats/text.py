""".txt: one value a line, for labels, groups and ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.extra import python_line
from cl_analyze.data.formats.streams import opened_text
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?\Z", re.IGNORECASE)
_DIGITS = re.compile(r"-?[0-9]+\Z")
_FIELD = re.compile(r"[^\s,;]+")
_EXACT_DIGITS = 15
"""Digits that every integer of a float64 keeps."""
_LONGEST_NUMBER = 400
"""Characters of a number; longer ones, which no format holds, are words."""


def typed(words: list[str]) -> NDArray[Any]:
    """Words as integers or numbers where all are written so, else as strings.

    Empty words and nan are missing numbers.  A leading zero or plus makes all of them strings:
    01 and 1 are different labels.

    >>> typed(["1", "", "3"]).tolist(), typed(["01", "1"]).tolist()
    ([1.0, nan, 3.0], ['01', '1'])
    """
    given = [word for word in words if word and word.lower() != "nan"]
    if not all(len(word) < _LONGEST_NUMBER and _DECIMAL.match(word) for word in given):
        return np.array(words)
    if len(given) == len(words) and all(_INTEGER.match(word) for word in words):
        try:
            return np.array([int(word) for word in words], dtype=np.int64)
        except OverflowError:
            return np.array(words)
    if any(len(word) > _EXACT_DIGITS and _INTEGER.match(word) for word in given):
        return np.array(words)  # beside NaN they would lose digits
    return np.array([float(word) if word else np.nan for word in words])


def open_text(path: Path) -> Container:
    """Open a text file of one value a line; empty lines between others are unlabelled rows.

    Raises:
        DataError: not UTF-8 text, or lines of several numbers, which are no labels.
    """
    with opened_text(path, is_kept=True) as file:
        text = file.read()
    if "\0" in text:
        raise DataError("not text: it holds NUL bytes")
    words = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while words and not words[-1]:
        words.pop()
    _refuse_columns(path, words)
    return Container(path, "txt", {"": RowArray.of(typed(words))})


def _refuse_columns(path: Path, lines: list[str]) -> None:
    """Raise a DataError for lines of several fields, such as a matrix or a table of labels."""
    first = [line for line in lines[:50] if not line.startswith("#")]
    comments = [line.lstrip("# ") for line in lines[:50] if line.startswith("#")]
    rows = [_FIELD.findall(line) for line in first]
    _refuse_two_integers(path, first, rows, comments)
    rows = rows[1:] if len(rows) > 2 and len(rows[0]) == 2 != len(rows[1]) else rows
    widths = {len(row) for row in rows}
    if not rows or len(widths) > 1 or (max(widths) < 3 and not all(map(_all_numbers, rows))):
        return
    width = widths.pop()
    if width > 1 and all(map(_all_numbers, rows)):
        mark = _separator(first[-1])
        delimiter = f" (delimiter={mark!r})" if mark else ""
        raise DataError(
            f"its lines hold {width} numbers each, as numpy.savetxt writes a matrix, where .txt is "
            f"one label a line: read it with numpy.loadtxt{delimiter} and save it with numpy.save "
            "as .npy"
        )
    if width > 2 and all(_all_numbers(row[1:]) for row in rows):
        raise DataError(
            f"its lines hold a word and {width - 1} numbers each ({quoted(rows[0][0], 40)} ...), "
            "where .txt is one label a line: separate them with spaces, as word vectors are, or "
            "name it .csv"
        )


def _refuse_two_integers(
    path: Path, lines: list[str], rows: list[list[str]], comments: list[str]
) -> None:
    """Raise a DataError for lines of two integers, perhaps below names: an id and a label.

    Args:
        path: the file.
        lines: the first lines without comments.
        rows: their fields.
        comments: the comments among them; the last one may have the names.
    """
    has_names = len(rows) > 1 and len(rows[0]) == 2 and not _all_numbers(rows[0])
    numbers = rows[has_names:]
    if not numbers or not all(len(row) == 2 and all(map(_DIGITS.match, row)) for row in numbers):
        return
    names = rows[0] if has_names else _FIELD.findall(comments[-1]) if comments else []
    mark = _separator(lines[-1])
    options = f", delimiter={mark!r}" * bool(mark) + ", skiprows=1" * has_names
    column = python_line(
        f"import numpy; y = numpy.loadtxt({str(path)!r}, int{options}, usecols=1); "
        "numpy.save('labels.npy', y)"
    )
    table = re.sub(r"\.txt\b", ".csv", path.name, flags=re.IGNORECASE)
    how = "name it" if mark == "," else "save it with commas as"
    raise DataError(
        f"its lines hold 2 integers each ({quoted(lines[has_names], 40)}), where labels must be "
        f"one a line: save the second column alone, {column}, and pass labels.npy; or {how} "
        f"{table} and pass {table}::{names[1] if len(names) == 2 else 1}"
    )


def _separator(line: str) -> str:
    """The character between the fields of a line; empty for spaces and tabs.

    >>> _separator("0.5; 1.5"), _separator("0.5 1.5")
    (';', '')
    """
    return next((mark for mark in ",;" if mark in line), "")


def _all_numbers(words: list[str]) -> bool:
    try:
        for word in words:
            float(word)
    except ValueError:
        return False
    return True
