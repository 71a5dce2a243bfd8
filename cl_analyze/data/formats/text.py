""".txt: one value a line, for labels, groups and ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?\Z", re.IGNORECASE)


def typed(words: list[str]) -> NDArray[Any]:
    """Words as integers or numbers where all are written so, else as strings.

    Empty words and nan are missing numbers.  A leading zero or plus makes all of them strings:
    01 and 1 are different labels.

    >>> typed(["1", "", "3"]).tolist(), typed(["01", "1"]).tolist()
    ([1.0, nan, 3.0], ['01', '1'])
    """
    given = [word for word in words if word and word.lower() != "nan"]
    if not all(_DECIMAL.match(word) for word in given):
        return np.array(words)
    if len(given) == len(words) and all(_INTEGER.match(word) for word in words):
        try:
            return np.array([int(word) for word in words], dtype=np.int64)
        except OverflowError:
            return np.array(words)
    return np.array([float(word) if word else np.nan for word in words])


def open_text(path: Path) -> Container:
    """Open a text file of one value a line; empty lines between others are unlabelled rows.

    Raises:
        DataError: not UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if "\0" in text:
        raise DataError("not text: it holds NUL bytes")
    words = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    while words and not words[-1]:
        words.pop()
    return Container(path, "txt", {"": RowArray.of(typed(words))})
