"""Names of classes: what stands in tables and figures in place of class numbers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.labels import Labels
from cl_analyze.data.opening import CLASS_NAMES_KEYS, Opened, Spec, from_memory, open_any
from cl_analyze.data.rows import kind_of
from cl_analyze.errors import DataError
from cl_analyze.quoting import printable, quoted, some
from cl_analyze.small_files import read_text

_CALLED = "class names"
_OF_CLASS = ("class", "label", "id", "index", "number")
_OF_NAME = ("name", "class_name", "label_name")
_ALONE = (*_OF_NAME, "names", "class_names", "class", "classes", "label", "labels")
"""Heads of the column of classes, of that of names, and of names without classes."""
Names = dict[str, str]
"""Class as the labels write it -> name."""


def open_class_names(requested: Any) -> Opened:
    """Open names of classes: a list, a mapping, or a file.

    Args:
        requested: a sequence of names for the classes 0, 1, ...; a mapping class -> name; a `.txt`
            file with a name a line, a `.json` file with a list or an object, a `.csv` or `.tsv`
            file with the columns class and name; PATH::KEY or another file with an array
            `class_names`.

    Returns:
        An array of shape (C,), names by number, or (C, 2), classes and names.

    Raises:
        DataError: the file cannot be read as names.
    """
    if isinstance(requested, Mapping):
        return _in_memory(list(requested.items()), _CALLED)
    if not isinstance(requested, str | Path):
        return open_any(requested, _CALLED, CLASS_NAMES_KEYS)
    path = Path(requested)
    reader = {".txt": _lines, ".json": _json, ".csv": _table, ".tsv": _table}.get(
        path.suffix.lower()
    )
    if reader is None or Spec.parse(str(requested)).key is not None:
        return open_any(requested, _CALLED, CLASS_NAMES_KEYS)
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"{requested}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{requested}: it is not UTF-8 text; save it as UTF-8") from error
    opened = _in_memory(reader(text, str(requested)), str(requested))
    return replace(opened, path=str(requested))


def _in_memory(values: list[Any], name: str) -> Opened:
    """Names, or pairs of a class and its name, as an array of words."""
    words: list[Any] = []
    n_pairs = sum(isinstance(value, list | tuple) and len(value) == 2 for value in values)
    if n_pairs not in (0, len(values)):
        raise DataError(
            f"{name}: names must all be text, or all be pairs of a class and its name; "
            f"{n_pairs} of {len(values)} are pairs"
        )
    for value in values:
        pair = list(value) if isinstance(value, list | tuple) else [value]
        if not 0 < len(pair) <= 2 or not all(
            isinstance(word, str | int | np.integer) and not isinstance(word, bool) for word in pair
        ):
            raise DataError(f"{name}: a name must be text, found {quoted(value, 40)}")
        words.append(tuple(map(str, pair)) if len(pair) == 2 else str(pair[0]))
    return from_memory(np.array(words, dtype=np.str_), name)


def _lines(text: str, name: str) -> list[Any]:
    """A name a line."""
    return text.rstrip("\n").split("\n") if text.strip() else []


def _json(text: str, name: str) -> list[Any]:
    """A list of names, or an object class -> name."""
    try:
        value = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: it is no JSON: {error}") from error
    if not isinstance(value, list):
        raise DataError(
            f'{name}: names must be a list ["cat", "dog"] or an object {{"0": "cat", "1": "dog"}}, '
            f"found {quoted(value, 40)}"
        )
    return [list(item) for item in value] if isinstance(value, _Pairs) else value


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in order; keys that occur twice stay."""


def _table(text: str, name: str) -> list[Any]:
    """Rows of two columns, class and name, with a header or without; or of one, the names."""
    separator = "\t" if name.lower().endswith(".tsv") else ","
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{name}: it is no table: {error}") from error
    while rows and not rows[-1]:
        del rows[-1]
    if not all(rows):
        empty = next(i for i, row in enumerate(rows, 1) if not row)
        raise DataError(f"{name}: line {empty} is empty, so that it names no class; remove it")
    widths = {len(row) for row in rows}
    other = next((mark for mark in ";\t" if all(mark in "".join(row) for row in rows)), None)
    if widths == {1} and other is not None:
        mark = "a tab" if other == "\t" else quoted(other)
        raise DataError(
            f"{name}: every line has {mark} where a table has {quoted(separator)}; save it with "
            f"{quoted(separator)} between class and name"
        )
    if rows and widths not in ({1}, {2}):
        raise DataError(
            f"{name}: a table of classes has two columns, class and name; found rows of "
            f"{some(map(str, sorted(widths)))} columns"
        )
    head = [word.strip().lower().replace(" ", "_") for word in rows[0]] if rows else []
    has_head = len(head) == 2 and head[0] in _OF_CLASS and head[1] in _OF_NAME
    has_head |= len(head) == 1 and head[0] in _ALONE
    return [row if len(row) == 2 else row[0] for row in rows[has_head:]]


def read_class_names(opened: Opened) -> Names:
    """The name of each class, invisible characters escaped.

    Raises:
        DataError: no names, an empty name, a class that occurs twice, or a name of two classes.
    """
    shape = opened.array.shape
    values = opened.array.values()[:] if kind_of(opened.array.dtype) in "US" else None
    if values is None or shape[1:] not in ((), (2,)) or shape[0] == 0:
        raise DataError(
            f"{opened.name}: {_CALLED} must be one text a class, or classes and names in two "
            f"columns, found shape {shape}, {opened.array.dtype_name}"
        )
    words = [
        [w.decode("utf-8", "backslashreplace") if isinstance(w, bytes) else w for w in row]
        for row in values.reshape(shape[0], -1).tolist()
    ]
    pairs = words if len(shape) == 2 else [[str(i), row[0]] for i, row in enumerate(words)]
    names: Names = {}
    class_of: dict[str, str] = {}
    for number, name in pairs:
        shown, number = printable(name.strip()), number.strip()
        if not shown:
            raise DataError(f"{opened.name}: class {quoted(number)} has an empty name")
        if number in names:
            raise DataError(f"{opened.name}: class {quoted(number)} has two names")
        if shown in class_of:
            raise DataError(
                f"{opened.name}: classes {quoted(class_of[shown])} and {quoted(number)} have one "
                f"name, {quoted(shown)}: names must differ"
            )
        names[number], class_of[shown] = shown, number
    return names


def named(labels: Labels, names: Names, source: str, called: str) -> Labels:
    """Labels whose classes have names, in the order of the classes.

    Args:
        labels: the classes as numbers or words.
        names: the names.
        source, called: where the names are from, and what the labels are called, for messages.

    Raises:
        DataError: a class has no name.
    """
    unnamed = [c for c in labels.names if c not in names]
    if unnamed:
        n, noun = len(unnamed), "class" if len(unnamed) == 1 else "classes"
        raise DataError(
            f"{source}: {n} {noun} of the {called} have no name: {some(map(quoted, unnamed))}; "
            f"there are names for {some(_ends(names))}"
            if n > 1
            else f"{source}: class {quoted(unnamed[0])} of the {called} has no name; there are "
            f"names for {some(_ends(names))}"
        )
    return replace(labels, names=tuple(names[c] for c in labels.names), written=labels.names)


def _ends(names: Names) -> Iterable[str]:
    """The classes that have names; of many in a row the ends."""
    keys = list(names)
    if keys == [str(i) for i in range(len(keys))] and len(keys) > 2:
        return [f"{len(keys)} classes, 0 to {len(keys) - 1}"]
    return [quoted(key) for key in keys]
