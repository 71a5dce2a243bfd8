""".txt: one value a line, for labels, groups and ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError


def typed(words: list[str]) -> NDArray[Any]:
    """Words as integers where all are, as numbers where all are (empty = NaN), else as strings."""
    try:
        return np.array([int(word) for word in words], dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        return np.array([float(word) if word else np.nan for word in words])
    except ValueError:
        return np.array(words)


def open_text(path: Path) -> Container:
    """Open a text file of one value a line; empty lines are unlabelled rows.

    Raises:
        DataError: not UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if "\0" in text:
        raise DataError("not text: it holds NUL bytes")
    words = [line.strip() for line in text.splitlines()]
    return Container(path, "txt", {"": RowArray.of(typed(words))})
