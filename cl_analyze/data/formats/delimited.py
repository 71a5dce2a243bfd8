""".csv and .tsv: numeric columns are the embedding, other columns go by their names."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError

ROLE_COLUMNS = frozenset(
    {"label", "labels", "y", "target", "targets", "class", "id", "ids", "group", "groups", "index"}
)
_MISSING = ["", "nan", "NaN", "NA", "null", "None"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() == ""
    return True


def _first_line(path: Path, separator: str) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for fields in csv.reader(file, delimiter=separator):
                if fields:
                    return fields
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"not delimited text: {error}") from error
    raise DataError("the file has no line with content")


def has_header(fields: list[str]) -> bool:
    """Whether a first line is a header.

    With several columns, any field that is not a number makes it one; a single column of words
    has a header only when the word is a usual column name, for it may be a label.
    """
    if len(fields) == 1:
        return fields[0].strip().lower() in ROLE_COLUMNS | {"embedding", "embeddings"}
    words = [field for field in fields if not _is_number(field)]
    if len(words) == len(fields):
        return True
    return any(field.strip().lower() in ROLE_COLUMNS for field in words)


def open_delimited(path: Path) -> Container:
    """Open a delimited text file; it is parsed whole, for text has no rows to seek to.

    Keys: every column by its name (its number from 0 without a header line), and `embeddings` for
    the numeric columns together, role columns such as `label` and `id` left out.

    Raises:
        DataError: not text, ragged lines, or a column name that occurs twice.
    """
    import pandas as pd

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    first = _first_line(path, separator)
    header = has_header(first)
    if header and len(set(first)) < len(first):
        twice = sorted({name for name in first if first.count(name) > 1})
        raise DataError(f"column names must differ; repeated: {', '.join(twice)}")
    try:
        frame = pd.read_csv(
            path,
            sep=separator,
            header=0 if header else None,
            encoding="utf-8-sig",
            keep_default_na=False,
            na_values=_MISSING,
            skip_blank_lines=len(first) > 1,
            index_col=False,
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be parsed as delimited text: {error}") from error
    arrays: dict[str, RowArray] = {}
    matrix: list[NDArray[Any]] = []
    words: dict[str, str] = {}
    for name, series in frame.items():
        key = str(name).strip()
        if pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series):
            values: NDArray[Any] = series.to_numpy()
            if key.lower() not in ROLE_COLUMNS:
                matrix.append(values)
        else:
            values = np.array(["" if pd.isna(item) else str(item) for item in series])
            if key.lower() not in ROLE_COLUMNS:
                words[key] = str(series.iloc[0])
        arrays[key] = RowArray.of(values)
    if len(arrays) == 1 and not header:
        return Container(path, "csv", {"": next(iter(arrays.values()))})
    if matrix and "embeddings" not in arrays:
        arrays["embeddings"] = RowArray.of(np.column_stack(matrix).astype(np.float64, copy=False))
    skipped = {
        key: f"a column of words (first: {word!r}), left out of embeddings"
        for key, word in words.items()
    }
    return Container(path, "csv", arrays, skipped)
