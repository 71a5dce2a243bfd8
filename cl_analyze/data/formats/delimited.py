""".csv and .tsv: numeric columns are the embedding, other columns go by their names."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.compatible import exact_decimals
from cl_analyze.data.formats.columns import (
    ROLE_COLUMNS,
    Columns,
    is_index_name,
    is_numbered_like,
    is_role,
    judged,
    refuse_repeated,
    refuse_wide,
)
from cl_analyze.data.formats.streams import LONGEST_LINE, opened_text, plain_suffix
from cl_analyze.data.formats.text import typed
from cl_analyze.data.formats.text_lists import LIST, is_list_column, matrix_of_lists
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\Z")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:e[+-]?[0-9]+)?\Z", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(?:#|%|//)\s*")
_DIGITS = re.compile(r"[0-9]{1,9}(?:\.0)?\Z")
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "commas", " ": "spaces"}
_FIRST_LINES = 20
_MISSING = ["", "nan", "NaN", "NA", "null", "None"]


def _is_number(text: str) -> bool:
    return _is_given_number(text) or text.strip() == ""


def _is_given_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


@dataclass(frozen=True)
class _Text:
    """A file of delimited text: which character separates fields, and whether " quotes them."""

    path: Path
    separator: str
    quoting: Literal[0, 3]

    def lines(self) -> Iterator[str]:
        """Physical lines."""
        with opened_text(self.path) as file:
            while line := file.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise DataError(
                        f"a line of more than {LONGEST_LINE} characters: is this delimited text? "
                        "Save the matrix as .npy"
                    )
                yield line

    def rows(self, skip: int = 0) -> Iterator[list[str]]:
        """Fields of each line that is not blank, from the physical line `skip` on."""
        try:
            lines = islice(self.lines(), skip, None)
            yield from filter(
                None, csv.reader(lines, delimiter=self.separator, quoting=self.quoting)
            )
        except csv.Error as error:
            raise DataError(f"not delimited text: {error}") from error

    def first_rows(self, skip: int = 0) -> list[list[str]]:
        """Fields of some lines from the physical line `skip` on."""
        return list(islice(self.rows(skip), _FIRST_LINES))


def has_header(first: Sequence[str], following: Sequence[Sequence[str]]) -> bool:
    """Whether a first line is a header.

    A single column has a header only where the word is a usual column name, for other words may be
    labels.  Several columns have one in any of these cases:

    - The first field is empty (the index of pandas).
    - Its numbers count (0, 1, 2, ... or 1, 2, 3, ...), or differ while decimals stand under them.
    - A word is a usual column name.
    - There are more words than numbers.  A single word among numbers is more likely a typing error
      in a first row of data.

    Args:
        first: the fields of the line.
        following: fields of the next lines.
    """
    names = [field.strip() for field in first]
    if len(names) == 1:
        return names[0].lower() in ROLE_COLUMNS | {"embedding", "embeddings"}
    n_words = sum(not _is_number(name) for name in names)
    return (
        (not names[0] and any(names[1:]))
        or _are_numbers_as_names(names, following)
        or any(name.lower() in ROLE_COLUMNS for name in names)
        or 2 * n_words > len(names)
    )


def _are_numbers_as_names(names: Sequence[str], following: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of a first line are the names of columns, as pandas numbers them."""
    places = [i for i, name in enumerate(names) if _is_number(name)]
    if len(places) < 2 or not all(_DIGITS.match(names[i]) for i in places):
        return False
    numbers = [int(float(names[i])) for i in places]
    under = [[fields[i] for i in places] for fields in following if len(fields) == len(names)]
    if not under or all(fields == [names[i] for i in places] for fields in under):
        return False
    counting = [n - numbers[0] for n in numbers] == list(range(len(numbers)))
    if counting and numbers[0] in (0, 1):
        cells = [cell.strip() for fields in under for cell in fields]
        over_decimals = any(_is_given_number(cell) and not _DIGITS.match(cell) for cell in cells)
        alone = numbers[0] == 0 and len(places) == len(names)
        return alone or over_decimals
    if len(numbers) < 3 or len(set(numbers)) < len(numbers):
        return False
    return not any(_DIGITS.match(cell.strip()) for fields in under for cell in fields)


@dataclass(frozen=True)
class _Start:
    """How a file begins.

    Attributes:
        skip: physical lines before the first that counts (comments).
        first: fields of the header, or of the first row.
        following: fields of some lines after it.
        commented: whether the header stands behind a comment mark.
        notes: on lines that are skipped.
    """

    skip: int
    first: list[str]
    following: list[list[str]]
    commented: bool = False
    notes: tuple[str, ...] = ()


def _start(text: _Text) -> _Start:
    """The first lines without comments; a header may stand behind a comment mark.

    numpy.savetxt writes a header of one or more lines as comments.  The last comment has the names
    where it has as many fields as the first row.
    """
    comments, last = 0, ""
    for line in text.lines():
        if line.strip() and not _COMMENT.match(line):
            break
        last = line if line.strip() else last
        comments += 1
    # a header may begin with a mark and be one: `#,x,y`
    following = text.first_rows(comments)
    if last and (not following or any(_COMMENT.match(fields[0]) for fields in following)):
        comments, last = 0, ""  # words that begin with such a mark, then
        following = text.first_rows()
    if following:
        refuse_wide(len(following[0]))
    if not last:
        if not following:
            raise DataError("the file has no line with content")
        return _Start(comments, following[0], following[1:])
    named = next(csv.reader([_COMMENT.sub("", last, count=1)], delimiter=text.separator), [])
    fits = len(named) == len(following[0]) and (len(named) > 1 or has_header(named, following))
    if fits and not has_header(following[0], following[1:]):
        notes = ("its header stands behind a comment mark",)
        return _Start(comments, named, following, True, notes)
    if len(following[0]) == 1:  # labels may begin with such a mark
        following = text.first_rows()
        return _Start(0, following[0], following[1:])
    return _Start(comments, following[0], following[1:], False, ("its comments are skipped",))


def _refuse_other_separators(start: _Start, separator: str) -> None:
    """Raise a DataError where another character seems to separate the fields."""
    lines = [start.first, *start.following]
    if separator == "," and ";" in ",".join(start.first):
        raise DataError(
            "fields seem to be separated by ';': save it with ',' between fields and '.' in numbers"
        )
    if len(start.first) > 1:
        return
    for other, name in _SEPARATORS.items():
        counts = {len(fields[0].strip().split(other)) for fields in lines}
        cells = lines[-1][0].strip().split(other)
        if other == separator or len(counts) > 1 or len(cells) < 2:
            continue
        if LIST.match(cells[0]) or not sum(map(_is_given_number, cells)) * 2 >= len(cells):
            continue
        remedy = {",": "name it .csv", "\t": "name it .tsv"}.get(
            other, f"save it with {_SEPARATORS[separator]} between fields"
        )
        raise DataError(f"fields seem to be separated by {name}: {remedy}")


def open_delimited(path: Path, header: bool | None = None, has_quotes: bool = True) -> Container:
    """Open a delimited text file; it is parsed whole, for text has no rows to seek to.

    Keys: every column by its name (its number from 0 without a header line), and `embeddings` for
    the numeric columns together, role columns such as `label` and `id` left out.

    Args:
        path: the file.
        header: whether the first line is one; None: found out.
        has_quotes: whether quotation marks around a field are no part of it.

    Raises:
        DataError: not text, ragged lines, a column name that occurs twice, or a cell that is no
            number in a column of numbers.
    """
    separator = "\t" if plain_suffix(path) == ".tsv" else ","
    text = _Text(path, separator, csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE)
    start = _start(text)
    _refuse_other_separators(start, separator)
    if header is None:
        header = start.commented or has_header(start.first, start.following)
    if header and not start.following:
        raise DataError("a header and no rows")
    first = start.first
    names = [name.strip() for name in first] if header else [str(i) for i in range(len(first))]
    refuse_repeated(names)
    frame = _parse(text, start.skip + (header and not start.commented), names)
    if frame.isna().to_numpy().any():  # a line that is cut off has empty cells at its end
        _require_equal_lengths(text, start.skip)
    notes = list(start.notes)
    numbers = [name for name in names if _DIGITS.match(name)]
    if header and numbers and not start.commented:
        notes.append(f"its first line ({some(numbers, 3)}) is taken as a header")
    index = [name for i, name in enumerate(names) if header and is_index_name(name, i)]
    if not header and len(names) > 2 and len(frame) > 2 and _counts(frame[names[0]]):
        index = [names[0]]
    if index and len(index) < len(names):
        frame = frame.drop(columns=index)
        columns = f"its columns {some(map(quoted, index))} are"
        if index == names[:1]:
            columns = "its first column is"
        notes.append(f"{columns} taken as an index, not as a dimension")
    return _container(path, header, frame, notes, start.skip)


def _counts(column: Any) -> bool:
    """Whether a column counts the rows from 0 or 1, which no dimension does."""
    if column.dtype.kind not in "if":
        return False
    values = column.to_numpy()
    return bool(values[0] in (0, 1) and (values == values[0] + np.arange(len(values))).all())


def _parse(text: _Text, skip: int, names: list[str]) -> Any:
    """The rows from the physical line `skip` on, as a DataFrame."""
    import pandas as pd

    as_text = {name: str for name in names if len(names) == 1 or is_role(name, names)}
    try:
        with warnings.catch_warnings(), opened_text(text.path, is_kept=True) as file:
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                file,
                sep=text.separator,
                header=None,
                skiprows=skip,
                names=names,
                dtype=as_text,
                keep_default_na=False,
                na_values={name: [""] if name in as_text else _MISSING for name in names},
                skip_blank_lines=len(names) > 1,
                index_col=False,
                low_memory=False,
                quoting=text.quoting,
                **exact_decimals(),
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        _require_equal_lengths(text, 0)
        raise DataError(f"cannot be parsed as delimited text: {error}") from error


def _require_equal_lengths(text: _Text, skip: int) -> None:
    """Raise a DataError for the first line with another number of fields than the first line."""
    expected = None
    for number, fields in enumerate(text.rows(skip), 1 + skip):
        if expected is None:
            expected = len(fields)
            if fields[0].startswith("sep="):
                line = quoted(text.separator.join(fields))
                raise DataError(f"line {number} is {line}: remove it")
        if len(fields) != expected:
            of_r = number == 2 + skip and len(fields) == expected + 1
            hint = " (of R's write.table: save with col.names = NA)" if of_r else ""
            raise DataError(
                f"line {number} has {len(fields)} fields, the first line has {expected}; every "
                f"line must have the same number{hint}"
            )


def _container(
    path: Path, header: bool, frame: Any, notes: list[str], skipped_lines: int
) -> Container:
    import pandas as pd

    names = [str(name) for name in frame.columns]
    of_numbers = [key for key in names if pd.api.types.is_numeric_dtype(frame[key])]
    columns = Columns(named=header)
    values: dict[str, NDArray[Any]] = {}
    for key in names:
        is_dimension = not header or not is_role(key, of_numbers)
        lines_before = skipped_lines + header if is_dimension and len(names) > 1 else None
        try:
            values[key] = _values(key, frame[key], lines_before)
            of_decimals = values[key].ndim == 1 and values[key].dtype.kind == "f"
            if len(names) > 1 and of_decimals and np.isnan(values[key]).all():
                raise DataError(
                    f"column {quoted(key)} is empty (a separator at the end of each line?); "
                    "remove it"
                )
        except DataError as error:
            columns.skipped[key] = str(error)
            continue
        columns.arrays[key] = RowArray.of(values[key])
        if values[key].ndim > 1:
            continue
        if is_dimension and values[key].dtype.kind in "bif":
            columns.numeric[key] = values[key].dtype
        else:
            columns.left_out.append(key)
    if len(columns.arrays) == 1 == len(names) and not header:
        return Container(path, "csv", {"": columns.arrays[names[0]]}, notes=tuple(notes))
    stem, lists = columns.stem, columns.lists
    for key, why in columns.skipped.items():
        if (stem is None and not lists) or is_numbered_like(key, stem):
            raise DataError(why)  # it may have been a dimension

    def matrix(names: list[str]) -> RowArray:
        rows = np.column_stack([values[name] for name in names])
        return RowArray.of(rows.astype(np.float64, copy=False))

    notes += columns.add_matrices(lambda names: {n: judged(values[n]) for n in names}, matrix)
    return Container(path, "csv", columns.arrays, columns.skipped, tuple(notes))


def _values(key: str, series: Any, lines_before: int | None) -> NDArray[Any]:
    """The values of a column: numbers, words, or a matrix where it holds lists.

    Args:
        key: its name.
        series: the column as pandas read it.
        lines_before: lines of the file before its first row where it may be a dimension; None
            where words are as good as numbers.
    """
    import pandas as pd

    if is_list_column(series):
        return matrix_of_lists(key, series)
    if pd.api.types.is_numeric_dtype(series):
        numbers: NDArray[Any] = series.to_numpy()
        return numbers
    words = ["" if pd.isna(item) else str(item) for item in series]
    values = typed(words)
    if lines_before is not None and values.dtype.kind not in "if":
        _require_words(key, words, lines_before)
    return values


def _require_words(key: str, words: list[str], lines_before: int) -> None:
    """Raise a DataError where a column is numbers but for a few cells."""
    column = f"column {quoted(key)}"
    commas = [word for word in words if _DECIMAL_COMMA.match(word) or _THOUSANDS.match(word)]
    decimal = [word for word in commas if not _THOUSANDS.match(word) or word.lstrip("+-")[0] == "0"]
    if decimal:
        raise DataError(
            f"{column} holds numbers with decimal commas ({quoted(decimal[0], 40)}); "
            "save them with '.' in numbers"
        )
    if commas:
        raise DataError(
            f"{column} holds numbers with separators of thousands ({quoted(commas[0], 40)}); "
            "save them without"
        )
    bad = [i for i, word in enumerate(words) if not _is_number(word)]
    if len(bad) > len(words) / 2:
        return
    if not bad:  # digits of other scripts, integers of more than 64 bits
        odd = next((word for word in words if not word.isascii() or len(word) > 18), words[0])
        raise DataError(
            f"{column} holds numbers that are words to most programs ({quoted(odd, 40)}); write "
            "plain decimal numbers"
        )
    row = bad[0]
    raise DataError(
        f"{column} is numbers but for {len(bad)} cell{'s' if len(bad) > 1 else ''}, "
        f"the first in row {row} (line {row + 1 + lines_before}): {quoted(words[row], 60)}; mend "
        "it, or name the columns you want in a file of their own"
    )
