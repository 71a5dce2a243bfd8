""".json, .jsonl and .ndjson: records with a vector each, a service's answer, columns, a matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.formats.gathered import GatheredRows
from cl_analyze.data.formats.json_fields import (
    VECTOR_FIELDS,
    JsonFields,
    kind_in_words,
    vector_of,
)
from cl_analyze.data.formats.streams import (
    GZIP,
    LONGEST_LINE,
    decoding,
    lines_of,
    opened_bytes,
    opened_text,
    plain_suffix,
    suffix_of,
)
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import Container
from cl_analyze.errors import DataError
from cl_analyze.quoting import described, quoted, some

_LINES = (".jsonl", ".ndjson")
_PIECE = 1 << 20
_MOST_BLANK = 1 << 12
"""Characters behind a first line in which the second line begins."""
_LOOK_EVERY = 16 << 20
"""Characters of lines between two looks at the memory that is free."""
_COSTS = ((b",", 48), (b"[", 100), (b"{", 400), (b":", 120), (b'"', 40))
"""Bytes that Python takes at most, about, for what begins or ends with such a character."""
_VECTOR_KEYS = frozenset(VECTOR_FIELDS)
_SPLIT = frozenset({"columns", "index", "data"})
"""The keys of what pandas writes with orient="split"."""


def open_json(path: Path) -> Container:
    """Open JSON Lines line by line, and other JSON whole.

    Keys: every field by its name, and `embeddings` for numeric fields together, as of delimited
    text.  A list of lists has no keys.

    Raises:
        DataError: no JSON, records that do not fit together, or more than fits into memory.
    """
    if plain_suffix(path) in _LINES or _is_of_lines(path):
        return _of_values(path, _values_of_lines(path), "line")
    document, at_once = _document(path)
    if isinstance(document, list):
        container = _of_values(path, ((str(i), v) for i, v in enumerate(document)), "record")
    elif isinstance(document, dict):
        container = _of_object(path, document)
    else:
        raise DataError(
            f"its JSON is {kind_in_words(document)}, where a list or an object was expected"
        )
    for array in container.arrays.values():
        if len(array.shape) > 1:
            array.at_once = at_once
    return container


# ---- decoding


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys must differ."""
    out = dict(pairs)
    if len(out) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DataError(f"the key {quoted(twice, 60)} twice in one object")
    return out


def _decoded(text: str) -> Any:
    """The value that JSON text stands for.

    Raises:
        DataError: it is none, is nested deeply, or has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise DataError("lists or objects nested too deeply") from error
    except json.JSONDecodeError as error:
        start = max(error.pos - 15, 0)
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}"
        near = f" near {quoted(text[start : error.pos + 15], 40)}" if text.strip() else ""
        raise _NoJsonError(f"no JSON: {error.msg} ({place}{near})") from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError("an integer of more digits than any number has") from error


class _NoJsonError(DataError):
    """Text that cannot be decoded."""


def _cost(text: bytes) -> int:
    """Bytes that JSON text takes when it is decoded, at most, about."""
    return len(text) + sum(text.count(mark) * size for mark, size in _COSTS)


def _document(path: Path) -> tuple[Any, int]:
    """The value of a file, and the memory that it took.

    Raises:
        DataError: it is no JSON, or does not fit into memory.
    """
    if not suffix_of(path).endswith(GZIP):
        require_room("its text", 2 * path.stat().st_size)
    with opened_bytes(path, is_kept=True) as file:
        content = file.read()
    cost = _cost(content)
    require_room("its content", cost)
    with decoding():
        text = content.decode("utf-8-sig")
    try:
        return _decoded(text), cost
    except _NoJsonError as error:
        raise DataError(f"it is {error}") from error
    except DataError as error:
        raise DataError(f"it has {error}") from error


def _is_of_lines(path: Path) -> bool:
    """Whether a .json file is JSON Lines: its first line is a value, and more follow."""
    with opened_text(path) as file:
        first = file.readline(LONGEST_LINE)
        if first.strip()[:1] not in ("{", "[") or not first.endswith(("\n", "\r")):
            return False
        if file.read(_MOST_BLANK).strip()[:1] not in ("{", "["):
            return False
    try:
        _decoded(first)
    except DataError:
        return False
    return True


def _values_of_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The number of each line that is not blank, from 1, and its value."""
    since = 0
    for number, line in enumerate(lines_of(path, "JSON Lines"), 1):
        if not line.strip():
            continue
        since += len(line)
        if since > _LOOK_EVERY or len(line) > _PIECE:
            require_room(f"line {number}", max(_cost(line.encode("utf-8", "replace")), since))
            since = 0
        try:
            yield str(number), _decoded(line)
        except _NoJsonError as error:
            hint = "" if line.endswith(("\n", "\r")) else ": is the file cut off?"
            if number == 1 and line.strip()[:1] in ("{", "["):
                hint = ": one JSON document over several lines? Name it .json"
            raise DataError(f"line {number} is {error}{hint}") from error
        except DataError as error:
            raise DataError(f"line {number} has {error}") from error


# ---- from values to arrays


def _of_values(path: Path, values: Iterable[tuple[str, Any]], unit: str) -> Container:
    """Records, rows of a matrix, or one word or number each; `unit` is what is counted."""
    numbered = iter(values)
    first = next(numbered, None)
    if first is None:
        raise DataError("it holds no value")
    numbered = _chained(first, numbered)
    if isinstance(first[1], dict):
        return _of_records(path, _alike(numbered, dict, unit))
    fields = JsonFields()
    if not isinstance(first[1], list):
        for place, value in numbered:
            if isinstance(value, list | dict):
                raise DataError(
                    f"{unit} {place} is {kind_in_words(value)}, the first {kind_in_words(first[1])}"
                )
            fields.add({"": value}, f"{unit} {place}")
        columns, _, notes = fields.columns()
        return Container(path, "json", columns.arrays, columns.skipped, tuple(notes))
    rows: GatheredRows | None = None
    for place, value in _alike(numbered, list, unit):
        try:
            row = vector_of(value)
        except DataError as error:
            raise DataError(f"{place} is {error}") from error
        if rows is None:
            rows = GatheredRows("its matrix", row.shape, row.dtype)
        if row.shape != rows.shape:
            found, wanted = (" x ".join(map(str, shape)) for shape in (row.shape, rows.shape))
            raise DataError(f"{place} has {found} numbers, the first {wanted}; they must be equal")
        rows.add(row)
    assert rows is not None
    return Container(path, "json", {"": rows.as_array()})


def _chained(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from others


def _alike(values: Iterator[tuple[str, Any]], kind: type, unit: str) -> Iterator[tuple[str, Any]]:
    """Values with their places, which must all be of one kind."""
    for place, value in values:
        if type(value) is not kind:
            raise DataError(
                f"{unit} {place} is {kind_in_words(value)}, where the first is "
                f"{kind_in_words(kind())}"
            )
        yield f"{unit} {place}", value


def _of_records(path: Path, records: Iterable[tuple[str, Mapping[str, Any]]]) -> Container:
    fields = JsonFields()
    for place, record in records:
        fields.add(record, place)
    columns, main, notes = fields.columns()
    return Container(path, "json", columns.arrays, columns.skipped, tuple(notes), main=main)


def _of_object(path: Path, document: dict[str, Any]) -> Container:
    """An embedding service's answer, what pandas writes, or columns of equal length."""
    data = document.get("data")
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        records = data if "schema" in document else _by_index(data)
        return _of_records(path, ((f"record {i} of 'data'", r) for i, r in enumerate(records)))
    if document.keys() == _SPLIT and isinstance(document["columns"], list):
        return _of_records(path, _of_split(document["columns"], data))
    if document and all(isinstance(value, dict) for value in document.values()):
        first = next(iter(document.values()))
        is_record = len({isinstance(value, list) for value in first.values()}) > 1
        if is_record or _VECTOR_KEYS & {key.lower() for key in first}:
            named = ((f"record {quoted(k, 40)}", {"id": k, **r}) for k, r in document.items())
            return _of_records(path, named)
        columns = _by_rows(document)
        return _of_columns(path, columns, are_columns=columns is not document)
    return _of_columns(path, document)


def _by_index(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of an answer in the order of their `index`, which is then no field."""
    if not all("index" in record for record in data):
        return data
    numbers = [record.pop("index") for record in data]
    if not all(type(n) is int for n in numbers) or sorted(numbers) != list(range(len(data))):
        counts = set(range(len(data)))
        odd = next((n for n in numbers if type(n) is not int or n not in counts), None)
        found = "one occurs twice" if odd is None else f"one is {described(odd)}"
        raise DataError(
            f"the 'index' of the {len(data)} records of 'data' must be 0 to {len(data) - 1}, each "
            f"once; {found}: are all answers there?"
        )
    return [data[i] for i in np.argsort(numbers).tolist()]


def _of_split(columns: list[Any], data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of what pandas writes as names of columns and rows of values."""
    if not isinstance(data, list) or not all(type(name) in (str, int) for name in columns):
        raise DataError("'columns' and 'data' must be the names of columns and a list of rows")
    names = [str(name) for name in columns]
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise DataError(f"row {number} of 'data' is no list of {len(names)} values")
        yield f"row {number} of 'data'", _object(list(zip(names, row, strict=True)))


def _by_rows(document: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Columns as lists from columns as objects of rows, {"x": {"0": 1, "1": 2}}."""
    first = next(iter(document.values()))
    if not first or any(column.keys() != first.keys() for column in document.values()):
        return document
    return {name: [column[row] for row in first] for name, column in document.items()}


def _of_columns(path: Path, document: dict[str, Any], are_columns: bool = False) -> Container:
    """An object of columns, {"ids": [...], "embeddings": [[...], ...]}; others are left out.

    Args:
        path: the file.
        document: its content.
        are_columns: whether it is known that lists of numbers are columns, and no rows.
    """
    columns = {key: value for key, value in document.items() if isinstance(value, list) and value}
    skipped = {key: _in_words(value) for key, value in document.items() if key not in columns}
    is_nested = {key: isinstance(value[0], list) for key, value in columns.items()}
    for key, value in columns.items():  # one vector of a service's answer
        if key.lower() in VECTOR_FIELDS and all(type(v) in (int, float) for v in value):
            columns = {key: [value]}
            break
    else:
        matrices = [key for key, nested in is_nested.items() if nested]
        if not (are_columns or matrices):
            _refuse_transposed(columns)
        usual = [k for name in VECTOR_FIELDS for k in matrices if k.lower() == name]
        lengths = [len(columns[key]) for key in [*usual, *matrices, *columns]]
        for key in [key for key, value in columns.items() if len(value) != lengths[0]]:
            skipped[key] = f"it has {len(columns.pop(key))} entries, others {lengths[0]}"
    if not columns:
        return Container(path, "json", {}, skipped)
    fields = JsonFields()
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        fields.add(dict(zip(columns, row, strict=True)), f"entry {number}")
    found, main, notes = fields.columns()
    return Container(
        path, "json", found.arrays, {**found.skipped, **skipped}, tuple(notes), main=main
    )


def _in_words(value: Any) -> str:
    """What an entry is that is no column."""
    if isinstance(value, dict):
        return f"an object with {some(map(quoted, value), 3) or 'nothing in it'}"
    return "an empty list" if isinstance(value, list) else kind_in_words(value)


def _refuse_transposed(columns: Mapping[str, list[Any]]) -> None:
    """Raise a DataError where lists of numbers may be columns, or a vector under each id."""
    if len(columns) < 2:
        return
    if all(type(v) in (int, float) for value in columns.values() for v in value):
        n, lengths = len(columns), {len(value) for value in columns.values()}
        if len(lengths) == 1:
            raise DataError(
                f"an object of {n} lists of {lengths.pop()} numbers "
                f"({some(map(quoted, columns), 3)}"
                '): is a list a row, or a column? Save it as {"ids": [...], "embeddings": '
                "[[...], ...]}, one list of numbers a row"
            )
