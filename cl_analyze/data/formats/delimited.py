""".csv and .tsv: numeric columns are the embedding, other columns go by their names."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.columns import (
    INDEX_NAMES,
    ROLE_COLUMNS,
    dimensions,
    is_continuous,
)
from cl_analyze.data.formats.text import typed
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError

_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\Z")
_VECTORS = ("tensors.tsv", "vectors.tsv")
"""What TensorBoard's embedding projector calls its vectors; metadata.tsv lies beside them."""
_METADATA = "metadata.tsv"
_LIST = re.compile(r"\[\s*[+-]?\.?(?:[0-9]|nan|null|none|inf)", re.IGNORECASE)
_MISSING = ["", "nan", "NaN", "NA", "null", "None"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() == ""
    return "_" not in text


def _quoting(path: Path) -> Literal[0, 3]:
    """The projector quotes nothing: a line of its metadata may be a quotation mark."""
    is_projector = path.name in (*_VECTORS, _METADATA)
    return csv.QUOTE_NONE if is_projector else csv.QUOTE_MINIMAL


def _lines(path: Path, separator: str) -> Iterator[list[str]]:
    """Fields of each line that is not blank."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for fields in csv.reader(file, delimiter=separator, quoting=_quoting(path)):
                if fields:
                    yield fields
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"not delimited text: {error}") from error


def has_header(first: list[str], second: list[str]) -> bool:
    """Whether a first line is a header.

    A single column of words has one only when the word is a usual column name, for it may be a
    label.  With several columns: an empty first field (pandas' index), the numbers 0, 1, 2, ...
    (pandas' default names), a usual name, or more words than numbers.
    """
    names = [field.strip() for field in first]
    if len(names) == 1:
        return names[0].lower() in ROLE_COLUMNS | {"embedding", "embeddings"}
    if not names[0] and any(names[1:]):
        return True
    if names == [str(number) for number in range(len(names))] and second != first:
        return True
    words = [not _is_number(name) for name in names]
    if all(words):
        return True
    if any(name.lower() in ROLE_COLUMNS for name in names):
        return True
    # one word among numbers is more likely a typing error in a first row of data
    return 2 * sum(words) > len(words)


def open_delimited(path: Path, header: bool | None = None) -> Container:
    """Open a delimited text file; it is parsed whole, for text has no rows to seek to.

    Keys: every column by its name (its number from 0 without a header line), and `embeddings` for
    the numeric columns together, role columns such as `label` and `id` left out.

    Args:
        path: the file.
        header: whether the first line is one; None: found out.

    Raises:
        DataError: not text, ragged lines, a column name that occurs twice, or a cell that is no
            number in a column of numbers.
    """
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    start = list(islice(_lines(path, separator), 2))
    if not start:
        raise DataError("the file has no line with content")
    first, second = start[0], start[1] if len(start) > 1 else start[0]
    if separator == "," and ";" in ",".join(first):
        raise DataError(
            "fields seem to be separated by ';': save it with ',' between fields and '.' in numbers"
        )
    other = "," if separator == "\t" else "\t"
    if len(first) == 1 and all(map(_is_number, second[0].split(other)[1:] or ["no"])):
        named = "commas: name it .csv" if other == "," else "tabs: name it .tsv"
        raise DataError(f"fields seem to be separated by {named}")
    if header is None:
        header = has_header(first, second)
    if header and len(start) == 1:
        raise DataError("a header and no rows")
    names = [name.strip() for name in first] if header else [str(i) for i in range(len(first))]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"column names must differ; repeated: {', '.join(map(repr, twice))}")
    frame = _parse(path, separator, header, names)
    if frame.isna().to_numpy().any():  # a line that is cut off has empty cells at its end
        _require_equal_lengths(path, separator)
    notes: list[str] = []
    if header and names == [str(number) for number in range(len(names))]:
        notes.append("its first line, 0, 1, 2, ..., is taken as a header")
    index = frame[names[0]]
    counts_rows = not header and len(names) > 2 and len(frame) > 2 and _counts(index)
    if (header and names[0] in INDEX_NAMES) or counts_rows:
        frame = frame.drop(columns=names[0])
        notes.append("its first column is taken as an index, not as a dimension")
    container = _container(path, separator, header, frame, notes)
    if path.name in _VECTORS and (path.parent / _METADATA).is_file():
        return _with_metadata(container, path.parent / _METADATA)
    return container


def projector_vectors(folder: Path) -> Path | None:
    """The vectors of a folder as TensorBoard's embedding projector writes it; None: it is none."""
    if not (folder / _METADATA).is_file():
        return None
    return next((folder / name for name in _VECTORS if (folder / name).is_file()), None)


def _with_metadata(vectors: Container, path: Path) -> Container:
    """A projector's vectors with the columns of its metadata; a single one without name: labels."""
    arrays = {key: array for key, array in vectors.arrays.items() if key == "embeddings"}
    if not arrays:  # a single column, or words: the errors of any other file
        return vectors
    try:
        metadata = open_delimited(path)
    except DataError as error:
        return replace(
            vectors, notes=(*vectors.notes, f"{path.name} beside it is not used: {error}")
        )
    rows = {array.n_rows for array in metadata.arrays.values()}
    if rows != {arrays["embeddings"].n_rows}:
        note = f"{path.name} beside it is not used: it has {max(rows)} rows"
        return replace(vectors, notes=(*vectors.notes, note))
    for key, array in metadata.arrays.items():
        if key != "embeddings":
            arrays[key or "labels"] = array
    note = f"{path.name} beside it is its metadata: {', '.join(map(repr, list(arrays)[1:]))}"
    files = (Path(vectors.path), path)
    return Container(vectors.path, "csv", arrays, {}, (*vectors.notes, note), files)


def _counts(column: Any) -> bool:
    """Whether a column is 0, 1, 2, ..., which no dimension is."""
    return column.dtype.kind == "i" and bool((column.to_numpy() == np.arange(len(column))).all())


def _parse(path: Path, separator: str, header: bool, names: list[str]) -> Any:
    import pandas as pd

    as_text = {name: str for name in names if name.lower() in ROLE_COLUMNS}
    if len(names) == 1:
        as_text = dict.fromkeys(names, str)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                sep=separator,
                header=0 if header else None,
                names=names,
                dtype=as_text,
                encoding="utf-8-sig",
                keep_default_na=False,
                na_values={name: [""] if name in as_text else _MISSING for name in names},
                skip_blank_lines=len(names) > 1,
                index_col=False,
                low_memory=False,
                quoting=_quoting(path),
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        _require_equal_lengths(path, separator)
        raise DataError(f"cannot be parsed as delimited text: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text (byte {error.start}): save it as UTF-8") from error


def _require_equal_lengths(path: Path, separator: str) -> None:
    expected = None
    for number, fields in enumerate(_lines(path, separator), 1):
        if expected is None:
            expected = len(fields)
        if len(fields) != expected:
            raise DataError(
                f"line {number} has {len(fields)} fields, the first line has {expected}; every "
                "line must have the same number"
            )


def _container(path: Path, separator: str, header: bool, frame: Any, notes: list[str]) -> Container:
    import pandas as pd

    arrays: dict[str, RowArray] = {}
    numeric: dict[str, NDArray[Any]] = {}
    left_out = []
    for name, series in frame.items():
        key = str(name)
        is_role = key.lower() in ROLE_COLUMNS and header
        if pd.api.types.is_bool_dtype(series) or pd.api.types.is_numeric_dtype(series):
            values: NDArray[Any] = series.to_numpy()
            numeric[key] = values
        elif is_list_column(series):
            arrays[key] = RowArray.of(_lists(key, series))
            continue
        else:
            words = ["" if pd.isna(item) else str(item) for item in series]
            values = typed(words)
            if is_role and is_continuous(values):  # coordinates x, y, z: no classes
                numeric[key] = values
            else:
                if not is_role and len(frame.columns) > 1:
                    _require_words(key, words, header)
                left_out.append(key)
        if len(frame.columns) > 1 and values.dtype.kind == "f" and np.isnan(values).all():
            raise DataError(
                f"column {key!r} is empty (a separator at the end of each line?); remove it"
            )
        arrays[key] = RowArray.of(values)
    has_lists = any(len(array.shape) > 1 for array in arrays.values())
    if len(arrays) == 1 and not header:
        return Container(path, "csv", {"": next(iter(arrays.values()))}, notes=tuple(notes))
    if numeric and len(frame.columns) > 1 and "embeddings" not in arrays and not has_lists:
        kept = dimensions({key: values.dtype for key, values in numeric.items()})
        matrix = np.column_stack([numeric[key] for key in kept])
        arrays["embeddings"] = RowArray.of(matrix.astype(np.float64, copy=False))
        left_out += [key for key in numeric if key not in set(kept)]
        if left_out:
            notes.append(f"columns left out of the embeddings: {', '.join(map(repr, left_out))}")
    return Container(path, "csv", arrays, {}, tuple(notes))


def is_list_column(series: Any) -> bool:
    """Whether a column of words holds lists, as JSON or as NumPy prints them."""
    words = (str(item).strip() for item in series.head(100).dropna())
    return _LIST.match(next((word for word in words if word not in ("", "[]")), "")) is not None


def _lists(key: str, series: Any) -> NDArray[np.float64]:
    """A column of lists as a matrix; a missing list is a row of NaN.

    Raises:
        DataError: what is no list of numbers, lists of different lengths, or shortened ones.
    """
    import pandas as pd

    words = series.fillna("[]").str.strip().str.replace(r"\s+", " ", regex=True)
    shortened = words.str.contains("...", regex=False)
    if shortened.any():
        raise DataError(
            f"column {key!r}: row {int(shortened.argmax())} was shortened with ... when it was "
            "saved, so its values are lost; save the array itself, for example with numpy.save"
        )
    is_list = words.str.startswith("[") & words.str.endswith("]")
    inner = words.str.slice(1, -1).str.strip()
    is_list &= ~inner.str.contains(r"[\[\]]")
    if not is_list.all():
        row = int((~is_list).argmax())
        raise DataError(f"column {key!r}: row {row} is no list of numbers: {words.iloc[row]!r:.60}")
    is_missing = (inner == "").to_numpy()
    given = inner[~is_missing]
    if not len(given):
        raise DataError(f"column {key!r} holds lists without values")
    has_commas = "," in given.iloc[0]
    counts = given.str.count("," if has_commas else r"\S+").to_numpy() + has_commas
    if (counts != counts[0]).any():
        bad = int(np.flatnonzero(counts != counts[0])[0])
        raise DataError(
            f"column {key!r}: its lists must all have one length: row "
            f"{np.flatnonzero(~is_missing)[bad]} has {counts[bad]} values, the first {counts[0]}"
        )
    try:
        values = pd.read_csv(
            io.StringIO("\n".join(given)),
            sep="," if has_commas else r"\s+",
            header=None,
            dtype=np.float64,
            na_values=["null", "None"],
            quoting=csv.QUOTE_NONE,
            skipinitialspace=True,
            skip_blank_lines=False,
        ).to_numpy()
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"column {key!r} holds lists that are not numbers: {error}") from error
    if len(values) != len(given):
        raise DataError(f"column {key!r} holds {len(values)} lists in {len(given)} lines")
    out = np.full((len(words), values.shape[1]), np.nan)
    out[~is_missing] = values
    return out


def _require_words(key: str, words: list[str], header: bool) -> None:
    """Raise where a column is numbers but for a few cells."""
    grouped = [word for word in words if _THOUSANDS.match(word)]
    if grouped:
        raise DataError(
            f"column {key!r} holds numbers with separators of thousands ({grouped[0]!r}); save "
            "them without"
        )
    bad = [i for i, word in enumerate(words) if not _is_number(word)]
    if len(bad) > len(words) / 2:
        return
    if not bad:  # digits of other scripts, integers of more than 64 bits
        raise DataError(
            f"column {key!r} holds numbers that are words to most programs ({words[0]!r}); write "
            "plain decimal numbers"
        )
    row = bad[0]
    raise DataError(
        f"column {key!r} is numbers but for {len(bad)} cell{'s' if len(bad) > 1 else ''}, the "
        f"first in row {row} (line {row + 1 + header}): {words[row]!r}; mend it, or name the "
        "columns you want in a file of their own"
    )
