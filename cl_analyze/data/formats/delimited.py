""".csv and .tsv: numeric columns are the embedding, other columns go by their names."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.columns import (
    MATRIX,
    ROLE_COLUMNS,
    column_notes,
    is_index_name,
    is_numbered_like,
    is_role,
    judged,
    main_family,
    matrices_of,
    refuse_gaps,
    refuse_repeated,
    refuse_wide,
)
from cl_analyze.data.formats.text import decoding, typed
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\Z")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:e[+-]?[0-9]+)?\Z", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(?:#|%|//)\s*")
_DIGITS = re.compile(r"[0-9]{1,9}(?:\.0)?\Z")
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "commas", " ": "spaces"}
_FIRST_LINES = 20
_LONGEST_LINE = 1 << 24
"""Characters of a line that are looked at before anything is parsed."""
_VECTORS = ("tensors.tsv", "vectors.tsv")
"""What TensorBoard's embedding projector calls its vectors; metadata.tsv lies beside them."""
_METADATA = "metadata.tsv"
_VALUE = r"(?:np\.\w+\()?[+-]?\.?(?:[0-9]|nan|null|none|inf)"
_LIST = re.compile(
    rf"(?:[a-z_.]+\()?\[\s*\[?\s*{_VALUE}|[({{]\s*{_VALUE}[^a-df-z]*,[^a-df-z]*[)}}]\Z",
    re.IGNORECASE,
)
"""The start of a list in brackets, or the whole of one in parentheses or braces."""
_SCALAR = re.compile(r"\bnp\.\w+\(([^()]*)\)")
_CALL = re.compile(
    r"(?:[A-Za-z_.]+\()(\[.*\])(?:,\s*(?:dtype|device|grad_fn|requires_grad)=[^,\[\]]*)*,?\s*\)\Z"
)
_MISSING = ["", "nan", "NaN", "NA", "null", "None"]


def _is_number(text: str) -> bool:
    return _is_given_number(text) or text.strip() == ""


def _is_given_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _quoting(path: Path) -> Literal[0, 3]:
    """The projector quotes nothing: a line of its metadata may be a quotation mark."""
    is_projector = path.name in (*_VECTORS, _METADATA)
    return csv.QUOTE_NONE if is_projector else csv.QUOTE_MINIMAL


def _text_lines(path: Path) -> Iterator[str]:
    with decoding(), path.open(newline="", encoding="utf-8-sig") as file:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise DataError(
                    f"a line of more than {_LONGEST_LINE} characters: is this delimited text? "
                    "Save the matrix as .npy"
                )
            yield line


def _lines(path: Path, separator: str, skip: int = 0) -> Iterator[list[str]]:
    """Fields of each line that is not blank, from the physical line `skip` on."""
    try:
        lines = islice(_text_lines(path), skip, None)
        for fields in csv.reader(lines, delimiter=separator, quoting=_quoting(path)):
            if fields:
                yield fields
    except csv.Error as error:
        raise DataError(f"not delimited text: {error}") from error


def has_header(first: Sequence[str], following: Sequence[Sequence[str]]) -> bool:
    """Whether a first line is a header.

    A single column of words has one only when the word is a usual column name, for it may be a
    label.  With several columns: an empty first field (pandas' index), numbers that count (0, 1, 2,
    ... or 1, 2, 3, ..., words beside them or not) or that differ while the cells under them are
    decimals, a usual name, or more words than numbers.

    Args:
        first: its fields.
        following: fields of the next lines.
    """
    names = [field.strip() for field in first]
    if len(names) == 1:
        return names[0].lower() in ROLE_COLUMNS | {"embedding", "embeddings"}
    if not names[0] and any(names[1:]):
        return True
    if _are_numbers_as_names(names, following):
        return True
    words = [not _is_number(name) for name in names]
    if all(words):
        return True
    if any(name.lower() in ROLE_COLUMNS for name in names):
        return True
    # one word among numbers is more likely a typing error in a first row of data
    return 2 * sum(words) > len(words)


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
        notes: what was skipped.
    """

    skip: int
    first: list[str]
    following: list[list[str]]
    commented: bool = False
    notes: tuple[str, ...] = ()


def _start(path: Path, separator: str) -> _Start:
    """The first lines, comments before them told from a header behind a comment mark.

    numpy.savetxt writes its header as a comment, which may have several lines, of which the last is
    taken for the names where it has as many fields as the first row.
    """
    comments = 0
    last = ""
    for line in _text_lines(path):
        if line.strip() and not _COMMENT.match(line):
            break
        if line.strip():
            last = line
        comments += 1
    # a header may begin with a mark and be one: `#,x,y`
    following = list(islice(_lines(path, separator, comments), _FIRST_LINES))
    if last and (not following or any(_COMMENT.match(fields[0]) for fields in following)):
        comments, last = 0, ""  # words that begin with such a mark, then
        following = list(islice(_lines(path, separator), _FIRST_LINES))
    if following:
        refuse_wide(len(following[0]))
    if not last:
        if not following:
            raise DataError("the file has no line with content")
        return _Start(comments, following[0], following[1:])
    named = next(csv.reader([_COMMENT.sub("", last, count=1)], delimiter=separator), [])
    fits = len(named) == len(following[0]) and (len(named) > 1 or has_header(named, following))
    if fits and not has_header(following[0], following[1:]):
        notes = ("its header stands behind a comment mark",)
        return _Start(comments, named, following, True, notes)
    if len(following[0]) == 1:  # labels may begin with such a mark
        following = list(islice(_lines(path, separator), _FIRST_LINES))
        return _Start(0, following[0], following[1:])
    return _Start(comments, following[0], following[1:], False, ("its comments are skipped",))


def _refuse_other_separators(start: _Start, separator: str) -> None:
    """Raise where the fields seem to be separated by something else.

    Raises:
        DataError: names the separator, and what to do.
    """
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
        if _LIST.match(cells[0]) or not sum(map(_is_given_number, cells)) * 2 >= len(cells):
            continue
        remedy = {",": "name it .csv", "\t": "name it .tsv"}.get(
            other, f"save it with {_SEPARATORS[separator]} between fields"
        )
        raise DataError(f"fields seem to be separated by {name}: {remedy}")


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
    start = _start(path, separator)
    _refuse_other_separators(start, separator)
    if header is None:
        header = start.commented or has_header(start.first, start.following)
    if header and not start.following:
        raise DataError("a header and no rows")
    first = start.first
    names = [name.strip() for name in first] if header else [str(i) for i in range(len(first))]
    refuse_repeated(names)
    skip = start.skip + (header and not start.commented)
    frame = _parse(path, separator, skip, names)
    if frame.isna().to_numpy().any():  # a line that is cut off has empty cells at its end
        _require_equal_lengths(path, separator, start.skip)
    notes = list(start.notes)
    numbers = [name for name in names if _DIGITS.match(name)]
    if header and numbers and not start.commented:
        shown = some(numbers, 3)
        notes.append(f"its first line ({shown}) is taken as a header")
    index = [name for i, name in enumerate(names) if header and is_index_name(name, i)]
    if not header and len(names) > 2 and len(frame) > 2 and _counts(frame[names[0]]):
        index = [names[0]]
    if index and len(index) < len(names):
        frame = frame.drop(columns=index)
        which = (
            "its first column is"
            if index == names[:1]
            else (f"its columns {some(map(quoted, index))} are")
        )
        notes.append(f"{which} taken as an index, not as a dimension")
    container = _container(path, header, frame, notes, start.skip)
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
    note = f"{path.name} beside it is its metadata: {some(map(quoted, list(arrays)[1:]), 10)}"
    files = (Path(vectors.path), path)
    return Container(vectors.path, "csv", arrays, {}, (*vectors.notes, note), files)


def _counts(column: Any) -> bool:
    """Whether a column counts the rows from 0 or 1, which no dimension does."""
    if column.dtype.kind not in "if":
        return False
    values = column.to_numpy()
    return bool(values[0] in (0, 1) and (values == values[0] + np.arange(len(values))).all())


def _parse(path: Path, separator: str, skip: int, names: list[str]) -> Any:
    import pandas as pd

    as_text = {name: str for name in names if is_role(name, names)}
    if len(names) == 1:
        as_text = dict.fromkeys(names, str)
    try:
        with warnings.catch_warnings(), decoding():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                sep=separator,
                header=None,
                skiprows=skip,
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
        _require_equal_lengths(path, separator, 0)
        raise DataError(f"cannot be parsed as delimited text: {error}") from error


def _require_equal_lengths(path: Path, separator: str, skip: int) -> None:
    expected = None
    for number, fields in enumerate(_lines(path, separator, skip), 1 + skip):
        if expected is None:
            expected = len(fields)
        if number == 1 + skip and fields[0].startswith("sep="):
            raise DataError(f"line {number} is {quoted(separator.join(fields))}: remove it")
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

    arrays: dict[str, RowArray] = {}
    numeric: dict[str, NDArray[Any]] = {}
    skipped: dict[str, str] = {}
    left_out = []
    names = [str(name) for name in frame.columns]
    of_numbers = [key for key in names if pd.api.types.is_numeric_dtype(frame[key])]
    for key, series in zip(names, (frame[name] for name in frame.columns), strict=True):
        role = header and is_role(key, of_numbers)
        try:
            if is_list_column(series):
                arrays[key] = RowArray.of(_lists(key, series))
                continue
            values: NDArray[Any] = series.to_numpy()
            if not pd.api.types.is_numeric_dtype(series):
                words = ["" if pd.isna(item) else str(item) for item in series]
                values = typed(words)
                if not role and len(names) > 1 and values.dtype.kind not in "if":
                    _require_words(key, words, skipped_lines + header)
            if len(names) > 1 and values.dtype.kind == "f" and np.isnan(values).all():
                raise DataError(
                    f"column {quoted(key)} is empty (a separator at the end of each line?); "
                    "remove it"
                )
        except DataError as error:
            skipped[key] = str(error)
            continue
        arrays[key] = RowArray.of(values)
        if values.dtype.kind in "bif" and not role:
            numeric[key] = values
        else:
            left_out.append(key)
    if len(arrays) == 1 == len(names) and not header:
        return Container(path, "csv", {"": next(iter(arrays.values()))}, notes=tuple(notes))
    lists = [key for key, array in arrays.items() if len(array.shape) > 1]
    stem = main_family(numeric) if header else None
    for key, why in skipped.items():
        if (stem is None and not lists) or is_numbered_like(key, stem):
            raise DataError(why)  # it may have been a dimension
    refuse_gaps(stem, numeric, dict.fromkeys(left_out, "it holds words"))
    matrices = matrices_of(
        {key: values.dtype for key, values in numeric.items()},
        lists,
        lambda keys: {key: judged(numeric[key]) for key in keys},
        header,
    )
    for key, chosen in matrices.items():
        if key in arrays:
            continue
        matrix = np.column_stack([numeric[name] for name in chosen.names])
        arrays[key] = RowArray.of(matrix.astype(np.float64, copy=False))
        if key == MATRIX:
            left_out += [*lists, *skipped]
            left_out += [name for name in numeric if name in chosen.left_out]
            notes += column_notes(left_out, chosen, header)
    return Container(path, "csv", arrays, skipped, tuple(notes))


def is_list_column(series: Any) -> bool:
    """Whether a column of words holds lists, as JSON or as NumPy prints them."""
    words = (str(item).strip() for item in series.head(100).dropna())
    return _LIST.match(next((word for word in words if word not in ("", "[]")), "")) is not None


def _plain_list(word: object) -> str:
    """A list as JSON writes it, from how NumPy, torch, Python's tuples and PostgreSQL print one.

    >>> _plain_list("tensor([0.5, 1.], device='cuda:0')"), _plain_list("[np.float64(0.5)]")
    ('[0.5, 1.]', '[0.5]')
    >>> _plain_list("{0.5,1}"), _plain_list("[[0.5, 1]]")
    ('[0.5,1]', '[0.5, 1]')
    """
    text = " ".join(str(word).split())
    if "(" in text:
        text = _SCALAR.sub(r"\1", text)
        call = _CALL.match(text)
        text = text if call is None else call[1]
    if text[:1] + text[-1:] in ("()", "{}"):
        text = f"[{text[1:-1].rstrip(', ')}]"
    if text.startswith("[[") and text.endswith("]]"):
        text = text[1:-1].strip()
    return text


def _lists(key: str, series: Any) -> NDArray[np.float64]:
    """A column of lists as a matrix; a missing list is a row of NaN.

    Raises:
        DataError: what is no list of numbers, lists of different lengths, or shortened ones.
    """
    import pandas as pd

    words = series.fillna("[]").map(_plain_list)
    shortened = words.str.contains("...", regex=False)
    if shortened.any():
        raise DataError(
            f"column {quoted(key)}: row {int(shortened.argmax())} was shortened with ... when it "
            "was saved, so its values are lost; save the array itself, for example with numpy.save"
        )
    is_list = words.str.startswith("[") & words.str.endswith("]")
    inner = words.str.slice(1, -1).str.strip()
    is_list &= ~inner.str.contains(r"[\[\]]")
    if not is_list.all():
        row = int((~is_list).argmax())
        raise DataError(
            f"column {quoted(key)}: row {row} is no list of numbers: {quoted(words.iloc[row], 60)}"
        )
    is_missing = (inner == "").to_numpy()
    given = inner[~is_missing]
    if not len(given):
        raise DataError(f"column {quoted(key)} holds lists without values")
    has_commas = "," in given.iloc[0]
    counts = given.str.count("," if has_commas else r"\S+").to_numpy() + has_commas
    if (counts != counts[0]).any():
        bad = int(np.flatnonzero(counts != counts[0])[0])
        raise DataError(
            f"column {quoted(key)}: its lists must all have one length: row "
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
        raise DataError(
            f"column {quoted(key)} holds lists that are not numbers: {error}"
        ) from error
    if len(values) != len(given):
        raise DataError(f"column {quoted(key)} holds {len(values)} lists in {len(given)} lines")
    out = np.full((len(words), values.shape[1]), np.nan)
    out[~is_missing] = values
    return out


def _require_words(key: str, words: list[str], lines_before: int) -> None:
    """Raise where a column is numbers but for a few cells."""
    commas = [word for word in words if _DECIMAL_COMMA.match(word) or _THOUSANDS.match(word)]
    decimal = [word for word in commas if not _THOUSANDS.match(word) or word.lstrip("+-")[0] == "0"]
    if decimal:
        raise DataError(
            f"column {quoted(key)} holds numbers with decimal commas ({quoted(decimal[0], 40)}); "
            "save them with '.' in numbers"
        )
    if commas:
        raise DataError(
            f"column {quoted(key)} holds numbers with separators of thousands "
            f"({quoted(commas[0], 40)}); save them without"
        )
    bad = [i for i, word in enumerate(words) if not _is_number(word)]
    if len(bad) > len(words) / 2:
        return
    if not bad:  # digits of other scripts, integers of more than 64 bits
        odd = next((word for word in words if not word.isascii() or len(word) > 18), words[0])
        raise DataError(
            f"column {quoted(key)} holds numbers that are words to most programs "
            f"({quoted(odd, 40)}); write plain decimal numbers"
        )
    row = bad[0]
    raise DataError(
        f"column {quoted(key)} is numbers but for {len(bad)} cell{'s' if len(bad) > 1 else ''}, "
        f"the first in row {row} (line {row + 1 + lines_before}): {quoted(words[row], 60)}; mend "
        "it, or name the columns you want in a file of their own"
    )
