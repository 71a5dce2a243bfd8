"""Fields of JSON records, gathered record by record: vectors, words and numbers."""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.columns import Columns, is_role, judged, refuse_wide
from cl_analyze.data.formats.gathered import GatheredRows, array_of_words
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import described, quoted, some

VECTOR_FIELDS = ("embedding", "embeddings", "vector", "values")
"""Names of the field that holds the embedding of a record, best first."""
_ENCODED = "embedding"
"""Field in which an embedding service writes the bytes of float32 numbers in base64."""
_NUMBERS = frozenset({int, float, bool, type(None)})
_SCALARS = frozenset({int, float, bool, str})
_KINDS = {dict: "an object", list: "a list", str: "a word", bool: "true or false", int: "a number",
          float: "a number", type(None): "null"}  # fmt: skip
_EXACT = 1 << 53
"""Integers up to here are exact in float64."""


def kind_in_words(value: object) -> str:
    """What a decoded value is, in the words of JSON.

    >>> kind_in_words([1]), kind_in_words(None), kind_in_words(2.5)
    ('a list', 'null', 'a number')
    """
    return _KINDS.get(type(value), "a value")


def vector_of(value: list[Any]) -> NDArray[np.float64]:
    """A list of numbers as a vector, or a list of such lists (views) as a matrix; null is NaN.

    Raises:
        DataError: it is empty, ragged, or holds something else.
    """
    if not value:
        raise DataError("an empty list")
    kinds = set(map(type, value))
    if kinds == {list}:
        inner = set(map(type, chain.from_iterable(value)))
        lengths = {len(part) for part in value}
        if not inner <= _NUMBERS or not inner:
            odd = next((kind_in_words(v) for v in chain.from_iterable(value)
                        if type(v) not in _NUMBERS), "nothing")  # fmt: skip
            raise DataError(f"lists of lists that hold {odd} where numbers were expected")
        if len(lengths) > 1:
            raise DataError(f"lists of {min(lengths)} to {max(lengths)} numbers, not of one length")
    elif not kinds <= _NUMBERS:
        odd = next(v for v in value if type(v) not in _NUMBERS)
        shown = f" ({described(odd)})" if isinstance(odd, str) else ""
        raise DataError(
            f"a list that holds {kind_in_words(odd)}{shown} where numbers were expected"
        )
    try:
        return np.array(value, dtype=np.float64)
    except OverflowError as error:
        raise DataError("a list with an integer too large for a number") from error


def _decoded(word: str) -> NDArray[np.float32] | None:
    """The float32 numbers of a word in base64; None where it is another word."""
    try:
        content = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not content or len(content) % 4:
        return None
    return np.frombuffer(content, "<f4").astype(np.float32)


@dataclass
class _Field:
    """One field: vectors in every record, or words and numbers in some.

    Attributes:
        name: its key.
        vectors: the rows, where it holds vectors.
        values, places: words and numbers, and the numbers of their records.
        nulls: records with null before the first vector.
        holds_lists, holds_vectors: whether a list was seen, and whether one of numbers was.
        problem: why it cannot be read, from where on nothing more is gathered.
    """

    name: str
    vectors: GatheredRows | None = None
    values: list[Any] = field(default_factory=list)
    places: array[int] = field(default_factory=lambda: array("q"))
    nulls: int = 0
    holds_lists: bool = False
    holds_vectors: bool = False
    problem: str = ""

    def add(self, value: Any, record: int, place: str) -> None:
        """Add the value of a record."""
        if self.problem:
            return
        try:
            self._add(value, record)
        except _UnusableError as error:
            self.fail(f"{place}: {error}")

    def fail(self, problem: str) -> None:
        """Gather nothing more, and let go of what is there."""
        self.problem = problem
        self.vectors, self.values, self.places = None, [], array("q")

    def _add(self, value: Any, record: int) -> None:
        if value is None:
            if self.vectors is not None:
                self.vectors.add(np.nan)
            elif not self.values:
                self.nulls += 1
            return
        row: Any = None
        if isinstance(value, list):
            self.holds_lists = True
            try:
                row = vector_of(value)
            except DataError as error:
                raise _UnusableError(f"it holds {error}") from error
        elif isinstance(value, str) and not self.values and self.name.lower() == _ENCODED:
            row = _decoded(value)
        if row is not None:
            self._add_vector(row, record)
        elif type(value) not in _SCALARS:
            raise _UnusableError(f"it holds {kind_in_words(value)}")
        elif self.vectors is not None:
            raise _UnusableError(f"it holds {kind_in_words(value)} where others hold vectors")
        else:
            if isinstance(value, str) and not value.isascii():
                _require_text(value)
            self.values.append(value)
            self.places.append(record)

    def _add_vector(self, row: NDArray[Any], record: int) -> None:
        self.holds_lists = self.holds_vectors = True
        if self.values:
            raise _UnusableError("it holds a list where others hold words or numbers")
        if self.vectors is None:
            if self.nulls != record:
                raise _UnusableError(
                    "an earlier record lacks this field (null where it is missing)"
                )
            name = f"the vectors of {quoted(self.name)}"
            self.vectors = GatheredRows(name, row.shape, row.dtype)
            require_room(name, self.nulls * row.nbytes)
            for _ in range(self.nulls):
                self.vectors.add(np.nan)
        if row.shape != self.vectors.shape:
            found, first = (" x ".join(map(str, s)) for s in (row.shape, self.vectors.shape))
            raise _UnusableError(f"it holds {found} numbers, the first {first}; they must be equal")
        self.vectors.add(row)

    def finished(self, n_records: int) -> RowArray:
        """All values as an array of one entry for each record.

        Raises:
            DataError: it is no such field.
        """
        if self.problem:
            raise DataError(self.problem)
        if self.vectors is not None:
            return self.vectors.as_array()
        if not self.values:
            raise DataError("it is null or empty in every record")
        if 2 * len(self.values) < n_records:
            raise DataError(f"only {len(self.values)} of {n_records} records have a value")
        return RowArray.of(_scalars(self.values, self.places, n_records))


class _UnusableError(DataError):
    """A value that its field cannot hold."""


def _require_text(word: str) -> None:
    r"""Raise an error for half of a pair of surrogates (`\ud800`), which no file can store."""
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise _UnusableError(
            f"{described(word)} holds half of a character (a surrogate)"
        ) from error


def _scalars(values: list[Any], places: array[int], n_records: int) -> NDArray[Any]:
    """Words and numbers of some records as an array with an entry for each record."""
    kinds = set(map(type, values))
    rows = np.frombuffer(places, np.int64)
    is_whole = len(values) == n_records
    if kinds == {bool} and is_whole:
        return np.array(values)
    if kinds <= {int, float} and kinds:
        if kinds == {int} and is_whole and all(-(1 << 63) <= v < 1 << 63 for v in values):
            return np.array(values, dtype=np.int64)
        if all(type(v) is float or abs(v) <= _EXACT for v in values):
            numbers = np.full(n_records, np.nan)
            numbers[rows] = values
            return numbers
    words = [""] * n_records
    for row, value in zip(places, values, strict=True):
        words[row] = value if isinstance(value, str) else _written(value)
    return array_of_words(words)


def _written(value: Any) -> str:
    """A number or a truth value as a word."""
    if isinstance(value, int) and abs(value) >= 1 << 1024:
        return described(value)  # Python writes no integer of any length
    return str(value).lower() if isinstance(value, bool) else str(value)


class JsonFields:
    """The fields of records, which come one by one."""

    def __init__(self) -> None:
        self._fields: dict[str, _Field] = {}
        self._of_vectors: dict[str, _Field] = {}  # those that every record must have
        self.n_records = 0

    def add(self, record: Mapping[str, Any], place: str) -> None:
        """Add a record; `place` says where it stands.

        Raises:
            DataError: there are too many fields, or the vectors do not fit into memory.
        """
        for name, value in record.items():
            known = self._fields.get(name)
            if known is None:
                refuse_wide(len(self._fields) + 1)
                known = self._fields[name] = _Field(name)
            known.add(value, self.n_records, place)
            if known.vectors is not None:
                self._of_vectors[name] = known
        if len(record) < len(self._fields):
            for name in [n for n, f in self._of_vectors.items() if n not in record or f.problem]:
                known = self._of_vectors.pop(name)
                if not known.problem:
                    known.fail(f"{place}: it is not there (write null for a missing vector)")
        self.n_records += 1

    def columns(self) -> tuple[Columns, str | None, list[str]]:
        """The fields as columns, the key of the embeddings where its name says so, and notes.

        Raises:
            DataError: the field with the name of embeddings, or the only one of lists, cannot be
                read; or several fields numbered alike cannot.
        """
        columns = Columns()
        for name, one in self._fields.items():
            try:
                columns.arrays[name] = one.finished(self.n_records)
            except DataError as error:
                columns.skipped[name] = str(error)
        lists = columns.lists
        main = self._main(lists)
        scalars = [name for name in columns.arrays if name not in {*lists}]
        of_numbers = [n for n in scalars if columns.arrays[n].values().dtype.kind in "bif"]
        for name in scalars:
            values = columns.arrays[name].values()
            if values.dtype.kind in "bif" and not is_role(name, of_numbers):
                columns.numeric[name] = values.dtype
            else:
                columns.left_out.append(name)

        def matrix(names: list[str]) -> RowArray:
            rows = np.column_stack([columns.arrays[name].values() for name in names])
            return RowArray.of(rows.astype(np.float64, copy=False))

        notes = columns.add_matrices(
            lambda names: {n: judged(columns.arrays[n].values()) for n in names}, matrix
        )
        if columns.skipped and lists:
            why = some((f"{quoted(n, 40)}: {w}" for n, w in columns.skipped.items()), 3)
            notes.append(f"fields that are not read: {why}")
        return columns, main, notes

    def _main(self, lists: list[str]) -> str | None:
        """Of several fields of vectors the one with a usual name; None where there is none.

        Raises:
            DataError: it, or the only field that holds vectors, cannot be read.
        """
        listed = {name: one for name, one in self._fields.items() if one.holds_lists}
        usual = [k for name in VECTOR_FIELDS for k in listed if k.lower() == name]
        unusual = [] if usual else [name for name, one in listed.items() if one.holds_vectors]
        for name in [*usual[:1], *([] if lists else unusual[:1])]:
            one = listed[name]
            if one.problem and (one.holds_vectors or not lists):
                raise DataError(f"field {quoted(name)}: {one.problem}")
        found = [name for name in usual if name in lists]
        return found[0] if found and len(lists) > 1 else None
