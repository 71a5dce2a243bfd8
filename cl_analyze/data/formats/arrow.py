""".parquet, .feather and .arrow: list columns are matrices, other columns go by their names.

Values come from Arrow's flat buffers, never through Python lists.  Arrow files are mapped and
Parquet files are decoded a row group at a time, when its rows are asked for.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.delimited import ROLE_COLUMNS
from cl_analyze.data.formats.extra import imported, own_errors
from cl_analyze.data.joined import decoded
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError

_BATCH = 4096
"""Rows of a Parquet file that are decoded in one go."""
_PANDAS_INDEX = "__index_level_"


class _Table(Protocol):
    """A file of columns whose rows come in pieces."""

    schema: Any
    lengths: list[int]
    at_once: bool

    def batches(self, piece: int, columns: Sequence[str]) -> Iterator[Any]:
        """The record batches of a piece, these columns alone."""
        ...

    def give_back(self) -> None:
        """Let go of pages that were read."""
        ...


class _Parquet:
    """Row groups of a Parquet file."""

    at_once: bool = False

    def __init__(self, path: Path) -> None:
        self._path = path
        parquet = imported("pyarrow.parquet", path)
        self._file = parquet.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
        metadata = self._file.metadata
        self.schema = self._file.schema_arrow
        self.lengths = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def batches(self, piece: int, columns: Sequence[str]) -> Iterator[Any]:
        yield from self._file.iter_batches(
            _BATCH, row_groups=[piece], columns=list(columns), use_threads=False
        )

    def give_back(self) -> None:
        """Freed memory goes back to the system; Arrow keeps it for itself otherwise."""
        imported("pyarrow", self._path).default_memory_pool().release_unused()


class _Ipc:
    """Record batches of an Arrow file or stream, mapped."""

    def __init__(self, path: Path) -> None:
        pyarrow = imported("pyarrow", path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._pool = pyarrow.default_memory_pool()
        source = pyarrow.BufferReader(pyarrow.py_buffer(self._map))
        self._reader: Any = None
        self._stream: list[Any] = []
        before = pyarrow.total_allocated_bytes()
        if self._map[:6] == b"ARROW1":
            self._reader = pyarrow.ipc.open_file(source)
            self.schema = self._reader.schema
            count = self._reader.num_record_batches
            self.lengths = []
            for number in range(count):  # which decodes a batch that is compressed
                self.lengths.append(self._reader.get_batch(number).num_rows)
                self.give_back()
        else:
            stream = pyarrow.ipc.open_stream(source)
            self.schema = stream.schema
            self._stream = list(stream)
            self.lengths = [batch.num_rows for batch in self._stream]
        # compressed batches of a stream cannot be found again without decoding all before them
        self.at_once = pyarrow.total_allocated_bytes() - before > len(self._map)

    def batches(self, piece: int, columns: Sequence[str]) -> Iterator[Any]:
        batch = self._stream[piece] if self._reader is None else self._reader.get_batch(piece)
        wanted = batch.select(list(columns))
        wanted.validate(full=True)  # offsets and indices that lead out of a buffer are read blindly
        yield wanted

    def give_back(self) -> None:
        self._pool.release_unused()
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _open(path: Path) -> _Table:
    with own_errors("not a readable file of this format"):
        return _Parquet(path) if path.suffix.lower() == ".parquet" else _Ipc(path)


# ---- columns


def _plain(kind: Any) -> Any:
    """A type without its extension, and a dictionary's values in place of the dictionary."""
    if hasattr(kind, "storage_type"):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if hasattr(kind, "index_type") else kind


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _leaf(kind: Any) -> Any:
    """The type of the numbers in nested lists."""
    kind = _plain(kind)
    return _leaf(kind.value_type) if _is_list(kind) else kind


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _is_word(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _storage(array: Any) -> Any:
    """An array without extension and dictionary."""
    if hasattr(array, "storage"):
        return _storage(array.storage)
    return _storage(array.dictionary_decode()) if hasattr(array, "dictionary_decode") else array


def _numbers(array: Any, first: int) -> NDArray[Any]:
    """Values of a column's rows: (n, ...) by the lists they are nested in.

    A null is NaN; a null list is a row of NaN.

    Raises:
        DataError: lists of different lengths; rows are counted from `first`.
    """
    array = _storage(array)
    if not _is_list(array.type):
        if array.null_count and str(array.type) == "bool":
            array = array.cast("uint8")
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    from pyarrow import types

    n_rows = len(array)
    is_null = array.is_null().to_numpy(zero_copy_only=False)
    if types.is_fixed_size_list(array.type):
        length = array.type.list_size
        starts = (array.offset + np.arange(n_rows + 1)) * length
        lengths = np.where(is_null, 0, length)
    else:
        starts = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        lengths = np.where(is_null, 0, np.diff(starts))
    wanted = int(lengths[~is_null][0]) if not is_null.all() else 0
    bad = np.flatnonzero((lengths != wanted) & ~is_null)
    if len(bad):
        raise DataError(
            f"its lists must all have one length: row {first + int(bad[0])} has "
            f"{int(lengths[bad[0]])} values, a row before it has {wanted}"
        )
    inner = array.values.slice(int(starts[0]), int(starts[-1] - starts[0]))
    flat = _numbers(inner, 0)
    if not is_null.any():
        return flat.reshape(n_rows, wanted, *flat.shape[1:])
    out = np.full((n_rows, wanted, *flat.shape[1:]), np.nan, np.result_type(flat, np.float32))
    places = (starts[:-1] - starts[0])[~is_null, None] + np.arange(wanted)
    out[~is_null] = flat[places]
    return out


@dataclass(frozen=True)
class _Loader:
    """Opens the file again wherever it is called.

    Attributes:
        path: the file.
        columns: one column, or several whose numbers stand side by side.
        tail: the shape of a row.
        dtype: of the values.
    """

    path: Path
    columns: tuple[str, ...]
    tail: tuple[int, ...]
    dtype: str

    def __call__(self) -> Any:
        table = _open(self.path)
        if not sum(table.lengths):
            return np.zeros((0, *self.tail), self.dtype)
        if not self.tail:
            return self._vector(table)

        def decode(piece: int) -> NDArray[Any]:
            return self._piece(table, piece)

        return decoded(table.lengths, decode, table.give_back)

    def _vector(self, table: _Table) -> NDArray[Any]:
        (name,) = self.columns
        with own_errors(f"{self.path}: column {name!r} cannot be read"):
            parts = [
                _storage(batch.column(name)).to_numpy(zero_copy_only=False)
                for piece in range(len(table.lengths))
                for batch in table.batches(piece, self.columns)
            ]
        return np.concatenate(parts) if parts else np.zeros(0, self.dtype)

    def _piece(self, table: _Table, piece: int) -> NDArray[Any]:
        n_rows, row = table.lengths[piece], sum(table.lengths[:piece])
        shape = (n_rows, *self.tail)
        what = f"{self.path}: column {self.columns[0]!r}"
        if not isinstance(table, _Ipc):
            require_room(f"{what}, row group {piece}", int(np.prod(shape)) * 8)
        out: NDArray[Any] | None = None
        done = 0
        with own_errors(f"{what} cannot be read"):
            for batch in table.batches(piece, self.columns):
                values = self._values(batch, row + done, what)
                if len(values) == n_rows:  # the whole piece: no copy
                    return values
                if out is None:
                    out = np.empty(shape, self.dtype)
                out[done : done + len(values)] = values
                done += len(values)
        if out is None or done != n_rows:
            raise DataError(f"{what} holds {done} rows where {n_rows} are promised")
        return out

    def _values(self, batch: Any, first: int, what: str) -> NDArray[Any]:
        try:
            columns = [_numbers(batch.column(name), first) for name in self.columns]
        except DataError as error:
            raise DataError(f"{what}: {error}") from error
        values = columns[0] if len(columns) == 1 else np.column_stack(columns)
        if values.shape[1:] != self.tail:
            if np.isnan(values).all():  # null lists alone
                return np.full((len(values), *self.tail), np.nan, self.dtype)
            raise DataError(
                f"{what}: its lists must all have one length: row {first} has shape "
                f"{values.shape[1:]}, the first {self.tail}"
            )
        if values.dtype.kind == "f" and np.dtype(self.dtype).kind != "f":
            raise DataError(f"{what}: integers with missing values among them; fill these in")
        return values.astype(self.dtype, copy=False)


def open_arrow(path: Path) -> Container:
    """Open a Parquet, Feather or Arrow file.

    Keys: every column by its name.  Columns of lists (fixed-size or not, nested once for views) are
    matrices.  Without any, the numeric columns together are `embeddings`, role columns such as
    `label` and `id` left out.

    Raises:
        DependencyError: pyarrow is not installed.
        DataError: not a file of this format, or lists of different lengths.
    """
    table = _open(path)
    with own_errors("its columns cannot be read"):
        return _container(path, table)


def _container(path: Path, table: _Table) -> Container:
    n_rows = sum(table.lengths)
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    wide: list[str] = []
    left_out: list[str] = []
    for number, field in enumerate(table.schema):
        name = field.name
        if name in arrays or name in skipped or table.schema.names.count(name) > 1:
            raise DataError(f"column names must differ; repeated: {name!r}")
        kind = _plain(field.type)
        if _is_list(kind) and _is_number(_leaf(kind)):
            found = _list_column(path, table, name, n_rows)
            if isinstance(found, str):
                skipped[name] = found
            else:
                arrays[name] = found
        elif _is_number(kind) or _is_word(kind):
            dtype = np.dtype(kind.to_pandas_dtype()).str if _is_number(kind) else "|O"
            arrays[name] = RowArray((n_rows,), dtype, _Loader(path, (name,), (), dtype))
            is_index = name.startswith(_PANDAS_INDEX)
            if _is_number(kind) and name.lower() not in ROLE_COLUMNS and not is_index:
                wide.append(name)
            else:
                left_out.append(name)
        else:
            skipped[name or f"column {number}"] = f"{field.type}, not numbers, lists or words"
    notes: tuple[str, ...] = ()
    if len(wide) > 1 and all(len(array.shape) == 1 for array in arrays.values()):
        if "embeddings" not in arrays:
            dtype = np.result_type(*(arrays[name].dtype for name in wide)).str
            loader = _Loader(path, tuple(wide), (len(wide),), dtype)
            arrays["embeddings"] = _row_array(table, (n_rows, len(wide)), dtype, loader)
        if left_out:
            notes = (f"columns left out of the embeddings: {', '.join(map(repr, left_out))}",)
    if not arrays:
        reasons = ", ".join(f"{name} ({why})" for name, why in skipped.items()) or "nothing"
        raise DataError(f"no column of numbers, lists of numbers or words: it holds {reasons}")
    return Container(path, path.suffix.lower()[1:], arrays, skipped, notes)


def _row_array(table: _Table, shape: tuple[int, ...], dtype: str, loader: _Loader) -> RowArray:
    array = RowArray(shape, dtype, loader)
    if table.at_once:
        array.at_once = array.n_bytes
    return array


def _list_column(path: Path, table: _Table, name: str, n_rows: int) -> RowArray | str:
    """A column of lists as a matrix, or in words why it is none."""
    with own_errors(f"column {name!r} cannot be read"):
        for piece in range(len(table.lengths)):
            for batch in table.batches(piece, [name]):
                try:
                    values = _numbers(batch.column(name), 0)
                except DataError as error:
                    raise DataError(f"column {name!r}: {error}") from error
                if values.size and not np.isnan(values).all():
                    tail, dtype = values.shape[1:], values.dtype.str
                    loader = _Loader(path, (name,), tail, dtype)
                    return _row_array(table, (n_rows, *tail), dtype, loader)
    return "lists without values"
