""".parquet, .feather and .arrow: list columns are matrices, other columns go by their names.

Values come from Arrow's flat buffers, never through Python lists.  Arrow files are mapped and
Parquet files are decoded one row group at a time, when its rows are read.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.compatible import refuses_missing_lists
from cl_analyze.data.formats.columns import (
    Columns,
    Judged,
    is_index_name,
    is_role,
    refuse_repeated,
    refuse_wide,
)
from cl_analyze.data.formats.extra import imported, own_errors
from cl_analyze.data.joined import decoded
from cl_analyze.data.memory import mebibytes, require_room
from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

_BATCH = 4096
"""Rows of a Parquet file that are decoded in one go."""
_MOST_FOOTER = 64 << 20
_ROWS_TO_JUDGE = 256
"""Rows that mostly show whether the values of a column are coordinates."""


class _Table:
    """A file of columns whose rows come in pieces.

    Attributes:
        schema: of the file.
        lengths: rows of each piece.
        decoded_rows: most rows that are decoded at once; 0 where values are mapped as they are.
    """

    schema: Any
    lengths: list[int]
    decoded_rows: int

    def batches(self, piece: int, columns: Sequence[str]) -> Iterator[Any]:
        """The record batches of a piece, these columns alone."""
        raise NotImplementedError

    def give_back(self) -> None:
        """Freed memory goes back to the system; Arrow keeps it for itself otherwise."""
        import pyarrow

        pyarrow.default_memory_pool().release_unused()

    def place_of(self, values: NDArray[Any]) -> int | None:
        """The offset in the file of values that lie there as they are; None: they are decoded."""
        return None


class _Parquet(_Table):
    """Row groups of a Parquet file."""

    def __init__(self, path: Path) -> None:
        parquet = imported("pyarrow.parquet", path)
        options = {"page_checksum_verification": True, "pre_buffer": False}
        self._file = parquet.ParquetFile(path, **options)
        metadata = self._file.metadata
        self.schema = self._file.schema_arrow
        if refuses_missing_lists() and any(_has_fixed_lists(field.type) for field in self.schema):
            footer = _footer_without_arrow_types(path)
            self._file = parquet.ParquetFile(path, metadata=footer, **options)
        self.lengths = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        if min(self.lengths, default=0) < 0 or sum(self.lengths) != metadata.num_rows:
            raise DataError(
                f"its row groups have {self.lengths[:5]} rows, {metadata.num_rows} are said"
            )
        self.decoded_rows = max(self.lengths, default=0)

    def batches(self, piece: int, columns: Sequence[str]) -> Iterator[Any]:
        yield from self._file.iter_batches(
            _BATCH, row_groups=[piece], columns=list(columns), use_threads=False
        )


class _Ipc(_Table):
    """Record batches of an Arrow file or stream, mapped."""

    def __init__(self, path: Path) -> None:
        pyarrow = imported("pyarrow", path)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        pool = pyarrow.default_memory_pool()
        self._buffer = pyarrow.py_buffer(self._map)
        source = pyarrow.BufferReader(self._buffer)
        self._reader: Any = None
        self._stream: list[Any] = []
        self.lengths: list[int] = []
        before = pool.bytes_allocated()
        if self._map[:6] == b"ARROW1":
            self._reader = pyarrow.ipc.open_file(source)
            self.schema = self._reader.schema
            compressed = False
            for number in range(self._reader.num_record_batches):
                batch = self._reader.get_batch(number)  # which decodes one that is compressed
                compressed |= pool.bytes_allocated() > before
                self.lengths.append(batch.num_rows)
                del batch
                self.give_back()
            self.decoded_rows = max(self.lengths, default=0) if compressed else 0
        else:
            stream = pyarrow.ipc.open_stream(source)
            self.schema = stream.schema
            # compressed batches cannot be found again without decoding all before them
            self._stream = list(stream)
            self.lengths = [batch.num_rows for batch in self._stream]
            is_mapped = pool.bytes_allocated() - before < len(self._map)
            self.decoded_rows = 0 if is_mapped else sum(self.lengths)

    def batches(self, piece: int, columns: Sequence[str]) -> Iterator[Any]:
        batch = self._stream[piece] if self._reader is None else self._reader.get_batch(piece)
        wanted = batch.select(list(columns))
        wanted.validate(full=True)  # offsets and indices that lead out of a buffer are read blindly
        yield wanted

    def give_back(self) -> None:
        super().give_back()
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def place_of(self, values: NDArray[Any]) -> int | None:
        start = int(self._buffer.address)
        first = int(values.__array_interface__["data"][0])
        inside = start <= first and first + values.nbytes <= start + len(self._map)
        return first - start if inside and values.flags.c_contiguous else None


def _open(path: Path) -> _Table:
    is_parquet = path.suffix.lower() == ".parquet"
    if is_parquet:
        _refuse_large_footer(path)
    with own_errors("not a readable file of this format"):
        return _Parquet(path) if is_parquet else _Ipc(path)


def _refuse_large_footer(path: Path) -> None:
    """Refuse a Parquet file with so many columns that reading their list takes minutes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(8)[:4], "little")
    if _MOST_FOOTER < length < size:
        raise DataError(
            f"its list of columns takes {mebibytes(length)}, at most {mebibytes(_MOST_FOOTER)} are "
            "read; save the matrix as one column of lists, or as .npy"
        )


def _footer_without_arrow_types(path: Path) -> Any:
    """The footer of a Parquet file, by which lists of a fixed size are read as lists of any size.

    Parquet has only lists of any size.  That they had a fixed one is in a schema that Arrow saves
    under a key of its own; under another name nobody finds it.
    """
    from pyarrow import BufferReader, parquet

    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        before, _, after = file.read().rpartition(b"ARROW:schema")
    return parquet.read_metadata(BufferReader(b"PAR1" + before + b"other:schema" + after))


@lru_cache(maxsize=16)
def _table_of(source: FileBytes, columns: tuple[str, ...]) -> _Table:
    """An open file, one for each reader of it; a thousand shards do not stay open at once."""
    del columns  # they tell readers of a file apart
    return _open(Path(source.name))


# ---- columns


def _plain(kind: Any) -> Any:
    """A type without its extension, and a dictionary's values in place of the dictionary."""
    if hasattr(kind, "storage_type"):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if hasattr(kind, "index_type") else kind


def _is(kind: Any, *names: str) -> bool:
    """Whether one of the functions is_NAME of pyarrow.types accepts a type."""
    from pyarrow import types

    return any(getattr(types, f"is_{name}")(kind) for name in names)


def _is_list(kind: Any) -> bool:
    return _is(kind, "list", "large_list", "fixed_size_list")


def _has_fixed_lists(kind: Any) -> bool:
    """Whether a type is nested lists, some of them of a fixed size."""
    kind = _plain(kind)
    is_fixed = _is(kind, "fixed_size_list")
    return is_fixed or (_is_list(kind) and _has_fixed_lists(kind.value_type))


def _is_number(kind: Any) -> bool:
    return _is(kind, "integer", "floating", "boolean", "decimal")


def _is_word(kind: Any) -> bool:
    return _is(kind, "string", "large_string", "string_view")


def _leaf(kind: Any) -> Any:
    """The type of the numbers in nested lists."""
    kind = _plain(kind)
    return _leaf(kind.value_type) if _is_list(kind) else kind


def _dtype_of(kind: Any) -> str:
    """The dtype of a column of numbers; decimal numbers of a database are float64 here."""
    return "<f8" if _is(kind, "decimal") else np.dtype(kind.to_pandas_dtype()).str


def _storage(array: Any) -> Any:
    """An array without extension and dictionary, decimal numbers as floats."""
    if hasattr(array, "storage"):
        return _storage(array.storage)
    if hasattr(array, "dictionary_decode"):
        return _storage(array.dictionary_decode())
    return array.cast("float64") if _is(array.type, "decimal") else array


def _numbers(
    array: Any, first: int, lengths_of_null: tuple[int, ...] = (), per_row: int = 1
) -> NDArray[Any]:
    """Values of a column's rows: (n, ...) by the lists they are nested in.

    A null is NaN; a null list is a row of NaN.

    Args:
        array: the values.
        first: the row that they begin with, for messages.
        lengths_of_null: list length at each level, used where every list of a level is null; ()
            where the lengths are not known.
        per_row: lists of the array in a row of the file.

    Raises:
        DataError: lists of different lengths.
    """
    array = _storage(array)
    if not _is_list(array.type):
        if array.null_count and str(array.type) == "bool":
            array = array.cast("uint8")
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    n_rows = len(array)
    is_null = array.is_null().to_numpy(zero_copy_only=False)
    if _is(array.type, "fixed_size_list"):
        length = array.type.list_size
        starts = (array.offset + np.arange(n_rows + 1)) * length
        lengths = np.where(is_null, 0, length)
    else:
        starts = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        lengths = np.where(is_null, 0, np.diff(starts))
    wanted = lengths_of_null[0] if lengths_of_null else 0
    if not is_null.all():
        wanted = int(lengths[~is_null][0])
    bad = np.flatnonzero((lengths != wanted) & ~is_null)
    if len(bad):
        raise DataError(
            f"its lists must all have one length: row {first + int(bad[0]) // per_row} has "
            f"{int(lengths[bad[0]])} values, one before it has {wanted}"
        )
    inner = array.values.slice(int(starts[0]), int(starts[-1] - starts[0]))
    flat = _numbers(inner, first, lengths_of_null[1:], per_row * max(wanted, 1))
    if not is_null.any():
        return flat.reshape(n_rows, wanted, *flat.shape[1:])
    out = np.full((n_rows, wanted, *flat.shape[1:]), np.nan, np.result_type(flat, np.float32))
    places = (starts[:-1] - starts[0])[~is_null, None] + np.arange(wanted)
    out[~is_null] = flat[places]
    return out


def _words(array: Any) -> NDArray[Any]:
    """Values of a column with one value a row; integers with nulls keep all their digits."""
    array = _storage(array)
    if not array.null_count or not str(array.type).startswith(("int", "uint")):
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values
    values = array.fill_null(0).to_numpy(zero_copy_only=False).astype(object)
    values[array.is_null().to_numpy(zero_copy_only=False)] = None
    return values


@dataclass(frozen=True)
class _Loader:
    """Opens the file again in the process that calls it.

    Attributes:
        source: the file as it was when its columns were looked at.
        columns: one column, or several whose numbers stand side by side.
        lengths: rows of the file's pieces.
        tail: the shape of a row.
        dtype: of the values.
    """

    source: FileBytes
    columns: tuple[str, ...]
    lengths: tuple[int, ...]
    tail: tuple[int, ...]
    dtype: str

    @property
    def _what(self) -> str:
        return f"{self.source.name}: column {quoted(self.columns[0])}"

    def _table(self) -> _Table:
        self.source.check()
        return _table_of(self.source, self.columns)

    def __call__(self) -> Any:
        if not sum(self.lengths):
            return np.zeros((0, *self.tail), self.dtype)
        return decoded(self.lengths, self._piece, self._give_back) if self.tail else self._vector()

    def _give_back(self) -> None:
        self._table().give_back()

    def _vector(self) -> NDArray[Any]:
        (name,) = self.columns
        require_room(self._what, sum(self.lengths) * 8)
        with own_errors(f"{self._what} cannot be read"):
            table = self._table()
            parts = [
                _words(batch.column(name))
                for piece in range(len(self.lengths))
                for batch in table.batches(piece, self.columns)
            ]
        return np.concatenate(parts)

    def _piece(self, piece: int) -> Any:
        n_rows, row = self.lengths[piece], sum(self.lengths[:piece])
        shape = (n_rows, *self.tail)
        out: NDArray[Any] | None = None
        done = 0
        with own_errors(f"{self._what} cannot be read"):
            table = self._table()
            if table.decoded_rows:
                size = math.prod(shape) * np.dtype(self.dtype).itemsize
                require_room(f"{self._what}, rows {row} to {row + n_rows - 1},", size)
            for batch in table.batches(piece, self.columns):
                values = self._values(batch, row + done)
                if len(values) == n_rows:  # the whole piece: no copy
                    place = table.place_of(values)
                    if place is None:
                        return values
                    return RangedRows(self.source, values.shape, values.dtype, place)
                if out is None:
                    out = np.empty(shape, self.dtype)
                out[done : done + len(values)] = values
                done += len(values)
        if out is None or done != n_rows:
            raise DataError(f"{self._what} holds {done} rows where {n_rows} are promised")
        return out

    def _values(self, batch: Any, first: int) -> NDArray[Any]:
        try:
            columns = [_numbers(batch.column(name), first, self.tail) for name in self.columns]
        except DataError as error:
            raise DataError(f"{self._what}: {error}") from error
        values = columns[0] if len(columns) == 1 else np.column_stack(columns)
        if values.shape[1:] != self.tail:
            raise DataError(
                f"{self._what}: its lists must all have one length: row {first} has shape "
                f"{values.shape[1:]}, the first {self.tail}"
            )
        if values.dtype.kind == "f" and np.dtype(self.dtype).kind != "f":
            missing = np.isnan(values).reshape(len(values), -1).any(axis=1)
            raise DataError(
                f"{self._what}: row {first + int(missing.argmax())} has missing values among "
                "integers, which have no NaN; fill them in, or save the column as floats"
            )
        return values.astype(self.dtype, copy=False)


def open_arrow(path: Path) -> Container:
    """Open a Parquet, Feather or Arrow file.

    Keys: every column by its name.  Columns of lists (fixed-size or not, nested once for views) are
    matrices.  So are numeric columns: `embeddings`, or one for each family of names, role columns
    such as `label` and `id` left out (see `matrices_of`).

    Raises:
        DependencyError: pyarrow is not installed.
        DataError: not a file of this format, or lists of different lengths.
    """
    table = _open(path)
    with own_errors("its columns cannot be read"):
        return _container(path, table)


def _container(path: Path, table: _Table) -> Container:
    n_rows = sum(table.lengths)
    source = FileBytes.of(path)

    def array_of(names: tuple[str, ...], tail: tuple[int, ...], dtype: str) -> RowArray:
        loader = _Loader(source, names, tuple(table.lengths), tail, dtype)
        array = RowArray((n_rows, *tail), dtype, loader)
        array.at_once = table.decoded_rows * array.n_bytes // max(n_rows, 1)
        return array

    def matrix(names: list[str]) -> RowArray:
        dtype = np.result_type(*(columns.arrays[name].dtype for name in names)).str
        return array_of(tuple(names), (len(names),), dtype)

    refuse_wide(len(table.schema.names))
    refuse_repeated(table.schema.names)
    of_numbers = [field.name for field in table.schema if _is_number(_plain(field.type))]
    index = _pandas_index(table.schema)
    columns = Columns()
    for number, field in enumerate(table.schema):
        name, kind = field.name, _plain(field.type)
        if _is_list(kind) and _is_number(_leaf(kind)):
            try:
                tail, dtype = _rows_of_lists(table, name)
            except DataError as error:  # texts as numbers, boxes: mostly not the embeddings
                columns.skipped[name] = str(error)
                continue
            columns.arrays[name] = array_of((name,), tail, dtype)
        elif _is_number(kind) or _is_word(kind):
            dtype = _dtype_of(kind) if _is_number(kind) else "|O"
            columns.arrays[name] = array_of((name,), (), dtype)
            is_index = name in index or is_index_name(name, number)
            if _is_number(kind) and not is_role(name, of_numbers) and not is_index:
                columns.numeric[name] = np.dtype(dtype)
            else:
                columns.left_out.append(name)
        else:
            columns.skipped[name or f"column {number}"] = (
                f"{field.type}, not numbers, lists or words: cast it to float"
            )
    notes = columns.add_matrices(lambda names: _judged(table, names), matrix)
    index &= set(columns.left_out)
    if notes and index:
        notes.append(f"pandas saved {some(map(quoted, sorted(index)))} as the index of the rows")
    name = path.suffix.lower()[1:]
    return Container(path, name, columns.arrays, columns.skipped, tuple(notes))


def _pandas_index(schema: Any) -> set[str]:
    """Columns that pandas' metadata in a file calls the index of its rows."""
    try:
        columns = json.loads(schema.metadata[b"pandas"])["index_columns"]
    except (KeyError, TypeError, ValueError, RecursionError):  # no such metadata
        return set()
    listed = columns if isinstance(columns, list) else []
    return {name for name in listed if isinstance(name, str)}


def _judged(table: _Table, names: Sequence[str]) -> dict[str, Judged]:
    """See `Judged`; rows are read for as long as a column could still look like labels."""
    columns = {name: Judged() for name in names}
    for piece in range(len(table.lengths)):
        still = [name for name, column in columns.items() if column.is_open]
        if not still:
            break
        for batch in table.batches(piece, still):
            for first in range(0, len(batch), _ROWS_TO_JUDGE):
                part = batch.slice(first, _ROWS_TO_JUDGE)
                still = [name for name in still if columns[name].is_open]
                for name in still:
                    columns[name].add(np.asarray(_numbers(part.column(name), 0)))
                if not still:
                    break
    return columns


def _rows_of_lists(table: _Table, name: str) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of the rows of a column of lists."""
    for piece in range(len(table.lengths)):
        for batch in table.batches(piece, [name]):
            try:
                values = _numbers(batch.column(name), 0)
            except DataError as error:
                raise DataError(f"column {quoted(name)}: {error}") from error
            if values.size and batch.column(name).null_count < len(values):
                return values.shape[1:], values.dtype.str
    raise DataError("lists without values")
