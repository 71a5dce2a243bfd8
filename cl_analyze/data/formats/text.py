""".txt: one value a line, for labels, groups and ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.streams import opened_text
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?\Z", re.IGNORECASE)


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
        DataError: not UTF-8 text, or lines of many numbers, which are no labels.
    """
    with opened_text(path, is_kept=True) as file:
        text = file.read()
    if "\0" in text:
        raise DataError("not text: it holds NUL bytes")
    words = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while words and not words[-1]:
        words.pop()
    _refuse_matrix(words)
    return Container(path, "txt", {"": RowArray.of(typed(words))})


def _refuse_matrix(lines: list[str]) -> None:
    """Raise a DataError for lines of several numbers, as numpy.savetxt writes them."""
    rows = [line.replace(",", " ").split() for line in lines[:50] if not line.startswith("#")]
    rows = rows[1:] if len(rows) > 2 and len(rows[0]) == 2 != len(rows[1]) else rows
    widths = {len(row) for row in rows}
    if not rows or len(widths) > 1 or (max(widths) < 3 and not all(map(_all_numbers, rows))):
        return
    width = widths.pop()
    if width > 1 and all(map(_all_numbers, rows)):
        raise DataError(
            f"its lines hold {width} numbers each, as numpy.savetxt writes a matrix, where .txt is "
            "one label a line: read it with numpy.loadtxt and save it with numpy.save as .npy"
        )
    if width > 2 and all(_all_numbers(row[1:]) for row in rows):
        raise DataError(
            f"its lines hold a word and {width - 1} numbers each ({quoted(rows[0][0], 40)} ...), "
            "where .txt is one label a line: separate them with spaces, as word vectors are, or "
            "name it .csv"
        )


def _all_numbers(words: list[str]) -> bool:
    try:
        for word in words:
            float(word)
    except ValueError:
        return False
    return True
