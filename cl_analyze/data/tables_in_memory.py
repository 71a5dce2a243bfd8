"""Tables that other libraries hold in memory, one column at a time, without these libraries.

pandas and polars data frames, Arrow tables, data sets of Hugging Face, and AnnData objects, whose
matrices (`obsm`, `X`) and columns of `obs` count as columns.  Each is known by its attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cl_analyze.data.rows import is_missing
from cl_analyze.errors import DataError
from cl_analyze.quoting import nearest, quoted, some

_LOOKED_AT = 100
"""Rows among which the first value of a column is looked for."""
Column = Callable[[str, "int | None"], Any]
"""A column by its name: all of it (None), or its first rows."""


@dataclass(frozen=True)
class InMemory:
    """An array of a table, with its name there.

    Attributes:
        values: what the library gives for it.
        key: name of the column, or of the columns in words.
    """

    values: Any
    key: str


@dataclass(frozen=True)
class TableInMemory:
    """A table, whichever library holds it.

    Attributes:
        kind: what it is, in words.
        names: the columns.
        column: reads one.
        block: reads several columns of numbers as one matrix; None: they are read one by one.
    """

    kind: str
    names: tuple[str, ...]
    column: Column
    block: Callable[[Sequence[str]], Any] | None = None

    def require(self, name: str) -> None:
        """Raise a DataError that lists the columns, where this is none, or the name of two."""
        if self.names.count(name) > 1:
            raise DataError(f"{self.kind}: {self.names.count(name)} columns are called {name!r}")
        if name not in self.names:
            raise DataError(
                f"{self.kind}: no column {quoted(name)}{nearest(name, self.names)}; it has "
                f"{some(map(quoted, self.names), 20)}"
            )

    def read(self, name: str) -> InMemory:
        """A whole column.

        Raises:
            DataError: there is none of this name, or there are two.
        """
        self.require(name)
        return InMemory(self.column(name, None), name)

    def matrix(self, names: Sequence[str]) -> InMemory:
        """Several columns of numbers as a matrix, one dimension each."""
        for name in names:
            self.require(name)
        key = quoted(names[0])[1:-1] if len(names) == 1 else f"{names[0]} ... {names[-1]}"
        if self.block is not None:
            return InMemory(self.block(names), key)
        columns = [np.asarray(self.column(name, None)) for name in names]
        return InMemory(np.stack(columns, axis=1), key)

    def holds_vectors(self, name: str) -> bool:
        """Whether a column holds a vector, or several, in the first row with a value."""
        first = self.column(name, _LOOKED_AT)
        shape = getattr(first, "shape", ())
        if len(shape) > 1:
            return True
        return next((_is_vector(value) for value in first if not is_missing(value)), False)

    def holds_numbers(self, name: str) -> bool:
        """Whether a column holds one number a row."""
        first = np.asarray(self.column(name, 1))
        return first.ndim == 1 and first.dtype.kind in "fiub"


def _is_vector(value: Any) -> bool:
    """Whether a value is a row of numbers, or rows of them; words in a list are none."""
    if hasattr(value, "layout"):  # a tensor
        return len(value.shape) > 0
    depth = 0
    while isinstance(value, list | tuple | np.ndarray) and len(value):
        value, depth = value[0], depth + 1
    return depth > 0 and np.asarray(value).dtype.kind in "fiub"


def table_in_memory(value: Any) -> TableInMemory | None:
    """The table that a value is; None for arrays, tensors, lists and all that is no table.

    Raises:
        DataError: several splits of a data set, or one that is read as a stream.
    """
    if hasattr(value, "obsm") and hasattr(value, "obs"):
        return _anndata(value)
    if hasattr(value, "column_names") and (hasattr(value, "features") or isinstance(value, dict)):
        return _dataset(value)
    if hasattr(value, "column_names") and hasattr(value, "schema") and hasattr(value, "slice"):
        return _arrow(value, "Table of Arrow")
    if hasattr(value, "get_column") and hasattr(value, "schema"):
        return _polars(value)
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        return _pandas(value)
    return None


def _pandas(frame: Any) -> TableInMemory:
    names = tuple(map(str, frame.columns))

    def column(name: str, n_rows: int | None) -> Any:
        series = frame.iloc[:, names.index(name)]
        return series if n_rows is None else series.iloc[:n_rows]

    def block(chosen: Sequence[str]) -> Any:
        return frame.iloc[:, [names.index(name) for name in chosen]]

    return TableInMemory("DataFrame", names, column, block)


def _polars(frame: Any) -> TableInMemory:
    def column(name: str, n_rows: int | None) -> Any:
        series = frame.get_column(name)
        return (series if n_rows is None else series.head(n_rows)).to_numpy()

    return TableInMemory("DataFrame of polars", tuple(frame.columns), column)


def _arrow(table: Any, kind: str) -> TableInMemory:
    def column(name: str, n_rows: int | None) -> Any:
        chunked = table.column(name)
        return _of_arrow(chunked if n_rows is None else chunked.slice(0, n_rows))

    return TableInMemory(kind, tuple(table.column_names), column)


def _of_arrow(column: Any) -> Any:
    """The values of a column of Arrow; lists in lists are read as Python lists."""
    kind = column.type
    while hasattr(kind, "storage_type"):  # of fixed shapes
        kind = kind.storage_type
    if hasattr(kind, "value_type") and hasattr(kind.value_type, "value_type"):
        return np.array(column.to_pylist())
    return column.to_numpy()


def _dataset(data: Any) -> TableInMemory:
    """A data set of Hugging Face: rows in its order, classes by their names."""
    if not hasattr(data, "num_rows") or isinstance(data, dict):
        raise DataError(
            f"a {type(data).__name__} of Hugging Face is no table with rows: pass one split, such "
            "as dataset['train'], loaded without streaming=True"
        )

    def column(name: str, n_rows: int | None) -> Any:
        part = data.select_columns([name])
        if n_rows is not None:
            part = part.select(range(min(n_rows, data.num_rows)))
        values = _of_arrow(part.with_format("arrow")[:].column(name))
        feature = data.features[name]
        if not (hasattr(feature, "names") and hasattr(feature, "int2str")):
            return values
        classes = dict(enumerate(feature.names))
        named = np.empty(len(values), dtype=object)
        # missing classes are null or -1
        named[:] = [classes.get(code) for code in np.asarray(values).tolist()]
        return named

    return TableInMemory("Dataset", tuple(data.column_names), column)


def _anndata(data: Any) -> TableInMemory:
    """Columns of `obs`, and `obsm` and `X` as columns of vectors."""
    observed = _pandas(data.obs)
    matrices = [str(key) for key in data.obsm]
    of_rows = ["X"] if getattr(data, "X", None) is not None else []

    def column(name: str, n_rows: int | None) -> Any:
        if name not in matrices and not (name == "X" and of_rows):
            return observed.column(name, n_rows)
        values = data.obsm[name] if name in matrices else data.X
        return values if n_rows is None else values[:n_rows]

    names = (*matrices, *(n for n in of_rows if n not in matrices), *observed.names)
    return TableInMemory("AnnData", names, column)
