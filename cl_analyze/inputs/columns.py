"""Tables in memory as inputs: which column is the embeddings, and which the labels or ids.

A table is passed as it is, or as (table, column) where the column of the embeddings must be named.
Companions with one entry a row are then named by their columns: `labels="species"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.formats.columns import dimensions, is_role, judged
from cl_analyze.data.opening import LABEL_KEYS, NO_LABELS
from cl_analyze.data.tables_in_memory import InMemory, TableInMemory, table_in_memory
from cl_analyze.errors import DataError
from cl_analyze.options import Request
from cl_analyze.quoting import quoted, some

COLUMNS_OF = {
    "embeddings": ("labels", "pairs", "groups", "ids"),
    "train": ("train_labels",),
    "pairs": ("pair_ids",),
}
"""Rows that may be a table -> companions that may be columns of the same table."""
_USUAL = ("embeddings", "embedding", "emb", "vectors", "vector", "features")
"""Names of columns of embeddings, best first; keys of AnnData have X_ before them."""
Note = Callable[[str], None]


def with_columns(request: Request, title: str, note: Note) -> Request:
    """The request with arrays in place of tables and of names of their columns.

    Args:
        request: what the user passed.
        title: name of the checkpoint in messages.
        note: hears which columns are used, and which are left out.

    Raises:
        DataError: there is no such column, or several could be the embeddings and none is named.
    """
    for rows, companions in COLUMNS_OF.items():
        value = getattr(request, rows)
        table, named = _table_of(value, title if rows == "embeddings" else rows)
        if table is None:
            continue
        name = title if rows == "embeddings" else f"{title}: {rows}"
        taken = {
            role: given
            for role in companions
            if isinstance(given := getattr(request, role), str)
            and _is_column(table, role, given, name)
        }
        main = _main(table, named, list(taken.values()), name)
        if main is None:  # an array with names of columns, as it always was
            continue
        arrays: dict[str, Any] = {role: table.read(column) for role, column in taken.items()}
        arrays[rows] = main[0]
        request = replace(request, **arrays)
        used = [f"embeddings are {main[1]}" if rows == "embeddings" else f"rows are {main[1]}"]
        used += [f"{role} are {quoted(column)}" for role, column in taken.items()]
        note(f"{name}: of the {table.kind}, {', '.join(used)}")
        others = [n for n in table.names if n not in main[2] and n not in taken.values()]
        if others:
            note(f"{name}: columns left out: {some(map(quoted, others), 10)}")
        likely = next((n for n in others if n.lower() in LABEL_KEYS), None)
        if rows == "embeddings" and likely is not None and request.labels is None:
            note(f"{name}: if its column {quoted(likely)} has the classes, pass labels={likely!r}")
    return request


def warnings_on_order(request: Request, title: str) -> Iterator[str]:
    """A warning for each Series whose index names the rows of the frame in another order."""
    rows = request.embeddings[0] if isinstance(request.embeddings, tuple) else request.embeddings
    index: Any = getattr(rows, "index", None)
    if not hasattr(index, "equals"):
        return
    for role in COLUMNS_OF["embeddings"]:
        own: Any = getattr(getattr(request, role), "index", None)
        if not hasattr(own, "equals") or len(own) != len(index) or own.equals(index):
            continue
        if own.sort_values().equals(index.sort_values()):
            yield (
                f"{title}: {role} have the index of the embeddings in another order; they are "
                f"matched by position: if they should be by index, pass {role}.loc[frame.index]"
            )


def _table_of(value: Any, name: str) -> tuple[TableInMemory | None, str | Sequence[str] | None]:
    """The table of a value, and the column, or columns, that are named with it."""
    is_named = isinstance(value, tuple) and len(value) == 2 and _are_names(value[1])
    if not is_named or isinstance(value[0], str | Path):
        return table_in_memory(value), None
    table = table_in_memory(value[0])
    if table is None:
        raise DataError(
            f"{name}: a pair (table, column) takes a DataFrame, a Table of Arrow, a Dataset or "
            f"AnnData, found {type(value[0]).__name__}, which has no columns"
        )
    return table, value[1] if isinstance(value[1], str) else [str(item) for item in value[1]]


def _are_names(value: Any) -> bool:
    """Whether a value is the name of a column, or a list of names, which pandas may count."""
    if isinstance(value, list | tuple):
        return bool(value) and all(type(item) in (str, int) for item in value)
    return isinstance(value, str)


def _is_column(table: TableInMemory, role: str, given: str, name: str) -> bool:
    """Whether a text names a column of the table; else it is a path, or the word none.

    Raises:
        DataError: it is none of these.
    """
    if given in table.names:
        return True
    if role == "labels" and given == NO_LABELS:
        return False
    if "::" in given or "://" in given or Path(given).exists():
        return False
    try:
        table.require(given)
    except DataError as error:
        raise DataError(f"{name}: {role}: {error}; nor is there a file of this name") from error
    return True


def _main(
    table: TableInMemory, named: str | Sequence[str] | None, taken: Sequence[str], name: str
) -> tuple[InMemory, str, Sequence[str]] | None:
    """The embeddings of a table, in words, and their columns; None for a table of numbers alone.

    Raises:
        DataError: no column can be the embeddings, or several can.
    """
    if isinstance(named, str):
        return table.read(named), f"its column {quoted(named)}", (named,)
    if named is not None:
        return table.matrix(named), _in_words(named), named
    free = [each for each in table.names if each not in taken]
    vectors = [each for each in free if table.holds_vectors(each)]
    of_data = [each for each in vectors if each != "X"] if table.kind == "AnnData" else vectors
    usual = {each.lower().removeprefix("x_"): each for each in reversed(of_data)}
    chosen = next((usual[word] for word in _USUAL if word in usual), None)
    if chosen is None and len(of_data) == 1:
        chosen = of_data[0]
    if chosen is None and not of_data and vectors:
        chosen = vectors[0]
    if chosen is not None:
        return table.read(chosen), f"its column {quoted(chosen)}", (chosen,)
    if vectors:
        raise DataError(
            f"{name}: several columns of the {table.kind} hold vectors, "
            f"{some(map(quoted, of_data))}, and none is called embeddings: name one, as "
            f"(table, {of_data[0]!r})"
        )
    numbers = [each for each in free if table.holds_numbers(each)]
    words = [each for each in free if each not in numbers]
    roles = [each for each in numbers if is_role(each, numbers)]
    chosen_numbers = _dimensions(table, numbers)
    is_refused = bool(words or roles)  # by the readers of arrays
    if not taken and table.kind == "DataFrame" and (is_refused or chosen_numbers == numbers):
        return None
    if roles or (words and not taken):
        listed = some(map(quoted, roles or words))
        raise DataError(
            f"{name}: the columns {listed} are no dimensions{' by their names' * bool(roles)}: "
            "name the one with the classes or ids (labels=..., ids=...), drop the others, or name "
            "the dimensions, as (table, ['x0', 'x1'])"
        )
    if not numbers:
        raise DataError(f"{name}: the {table.kind} has no column of vectors or numbers")
    return table.matrix(chosen_numbers), _in_words(chosen_numbers), chosen_numbers


def _dimensions(table: TableInMemory, numbers: Sequence[str]) -> list[str]:
    """The columns of numbers that are dimensions, by the rules for files of columns."""
    if len(numbers) < 2 or any(table.names.count(name) > 1 for name in numbers):
        return list(numbers)
    arrays = {name: np.asarray(table.column(name, None)) for name in numbers}
    if any(array.ndim != 1 or array.dtype.kind not in "fiub" for array in arrays.values()):
        return list(numbers)
    dtypes = {name: array.dtype for name, array in arrays.items()}
    counts = list(numbers) == [str(i) for i in range(len(numbers))]
    return dimensions(
        dtypes, lambda names: {name: judged(arrays[name]) for name in names}, named=not counts
    ).names


def _in_words(columns: Sequence[str]) -> str:
    return f"its {len(columns)} columns of numbers {some(map(quoted, columns))}"
