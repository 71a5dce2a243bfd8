"""Which items are relevant for which queries: from a table of pairs to a relation of rows.

The tables that people have: CSV, TSV, Parquet or JSON lines with the columns `query`, `item` and
perhaps `grade`, and TREC qrels, lines of `query iteration item grade` without a header.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.extra import imported
from cl_analyze.data.identifiers import Ids, hashes
from cl_analyze.errors import DataError
from cl_analyze.quoting import printable, quoted, some
from cl_analyze.small_files import read_bytes

if TYPE_CHECKING:
    import pandas as pd

Index = NDArray[np.int64]
Vector = NDArray[np.float64]

QUERY = ("query", "query_id", "query-id", "qid", "user", "user_id")
ITEM = ("item", "item_id", "corpus-id", "corpus_id", "doc", "doc_id", "docid", "document")
GRADE = ("grade", "score", "relevance", "rel")
"""Names of columns, the usual one first."""
MOST_BYTES = 4 << 30
_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
_SHOWN = 5


@dataclass(frozen=True)
class Relevance:
    """Relevant items of each query, as row numbers.

    Attributes:
        starts: (queries + 1,) pairs of query i are starts[i] up to starts[i + 1].
        items: (P,) the relevant items, ascending for each query.
        grades: (P,) their grades, > 0.
        n_items: number of items, relevant or not.
    """

    starts: Index
    items: Index
    grades: Vector
    n_items: int

    @property
    def n_queries(self) -> int:
        """Number of queries, with or without an item."""
        return len(self.starts) - 1

    @property
    def counts(self) -> Index:
        """(queries,) number of relevant items."""
        return np.diff(self.starts)

    @property
    def queries(self) -> Index:
        """(P,) query of each pair."""
        return np.repeat(np.arange(self.n_queries), self.counts)

    @classmethod
    def of(cls, queries: Index, items: Index, grades: Vector, shape: tuple[int, int]) -> Relevance:
        """The relation of pairs in any order.

        Args:
            queries, items: (P,) rows of each pair, no pair twice.
            grades: (P,).
            shape: numbers of queries and of items.
        """
        order = np.lexsort((items, queries))
        counts = np.bincount(queries, minlength=shape[0])
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(starts, items[order], grades[order], shape[1])

    def transposed(self) -> Relevance:
        """Relevant queries of each item."""
        return Relevance.of(self.items, self.queries, self.grades, (self.n_items, self.n_queries))

    def select(self, queries: Index | None, items: Index | None) -> Relevance:
        """The relation among some queries and some items, in their order; None: all."""
        n_queries, n_items = self.n_queries, self.n_items
        new_query, new_item = np.arange(n_queries), np.arange(n_items)
        if queries is not None:
            new_query, n_queries = np.full(n_queries, -1), len(queries)
            new_query[queries] = np.arange(n_queries)
        if items is not None:
            new_item, n_items = np.full(n_items, -1), len(items)
            new_item[items] = np.arange(n_items)
        query, item = new_query[self.queries], new_item[self.items]
        kept = (query >= 0) & (item >= 0)
        return Relevance.of(query[kept], item[kept], self.grades[kept], (n_queries, n_items))


@dataclass(frozen=True)
class PairTable:
    """A table of pairs as it is written.

    Attributes:
        name: of the file or array, for messages.
        path: of the file; None for an array.
        queries, items: (P,) texts, ids or row numbers.
        grades: (P,) grades, > 0.
        n_skipped: rows with grade 0 or less, which say that an item is not relevant.
    """

    name: str
    path: str | None
    queries: Sequence[bytes]
    items: Sequence[bytes]
    grades: Vector
    n_skipped: int = 0

    @property
    def sha256(self) -> str:
        """A hash of the pairs."""
        digest = hashlib.sha256()
        for texts in (self.queries, self.items):
            digest.update(b"\n".join(texts) + b"\n\n")
        digest.update(np.ascontiguousarray(self.grades).tobytes())
        return digest.hexdigest()


def read_pairs(value: Any) -> PairTable:
    """Read a table of pairs.

    Args:
        value: a path; a DataFrame; an array or a list of shape (P, 2) or (P, 3): query, item and
            perhaps grade.

    Raises:
        DataError: it cannot be read, lacks a column, has an empty cell, or a grade that is no
            number.
    """
    if isinstance(value, str | Path):
        path = str(value)
        return _from_frame(_read_frame(path), path, path)
    import pandas as pd

    name = "relevant"
    if isinstance(value, pd.DataFrame):
        return _from_frame(value, name, None)
    try:
        array = np.asarray(value, dtype=None if isinstance(value, np.ndarray) else object)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise DataError(
            f"{name} must be a path, a table, or an array of shape (pairs, 2) or (pairs, 3) with "
            f"query, item and perhaps grade, found shape {array.shape}"
        )
    columns = (QUERY[0], ITEM[0], GRADE[0])[: array.shape[1]]
    return _from_frame(pd.DataFrame(array, columns=list(columns)), name, None)


def _read_frame(path: str) -> pd.DataFrame:
    """A file's table, with cells as texts where the format has no types."""
    import pandas as pd

    suffix = Path(path).suffix.lower()
    readers: dict[str, Callable[[Any], pd.DataFrame]] = {
        ".csv": lambda file: _text_frame(file, ","),
        ".tsv": lambda file: _text_frame(file, "\t"),
        ".parquet": pd.read_parquet,
        ".jsonl": lambda file: pd.read_json(file, lines=True, dtype=False),
        ".ndjson": lambda file: pd.read_json(file, lines=True, dtype=False),
    }
    if suffix == ".parquet":
        imported("pyarrow", Path(path))
    try:
        content = io.BytesIO(read_bytes(Path(path), MOST_BYTES))
        return readers.get(suffix, _qrels)(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"{path}: its lines have more cells than its first line has names: name every column, "
            "and put cells that have a comma in quotes"
        ) from error
    except (ValueError, TypeError, AttributeError, pd.errors.ParserError) as error:
        raise DataError(
            f"{path}: no table of pairs ({printable(str(error).splitlines()[0])}); there must be "
            f"columns query, item and perhaps grade ({', '.join(_TABLES)}), or TREC qrels: "
            "query, iteration, item, grade in each line"
        ) from error


def _text_frame(file: Any, separator: str) -> pd.DataFrame:
    import pandas as pd

    with warnings.catch_warnings():  # of lines with more cells than the header
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            index_col=False,
        )


def _qrels(file: Any) -> pd.DataFrame:
    """TREC qrels: query, iteration, item, grade, between spaces or tabs."""
    import pandas as pd

    lines = file.read().decode("utf-8-sig").splitlines()
    words = [line.split() for line in lines if line.strip()]
    wrong = next((at for at, parts in enumerate(words) if len(parts) != 4), None)
    if not words or wrong is not None:
        found = "none" if wrong is None else f"{len(words[wrong])} words in line {wrong + 1}"
        raise DataError(
            "TREC qrels have four words in every line (query, iteration, item, grade), found "
            f"{found}; a table with the columns query and item needs the suffix .csv, .tsv, "
            ".parquet or .jsonl"
        )
    return pd.DataFrame(
        [(query, item, grade) for query, _, item, grade in words],
        columns=[QUERY[0], ITEM[0], GRADE[0]],
    )


def _from_frame(frame: pd.DataFrame, name: str, path: str | None) -> PairTable:
    by_name = {str(column).strip().lower(): column for column in reversed(list(frame.columns))}

    def column(names: Sequence[str]) -> Any:
        return next((by_name[one] for one in names if one in by_name), None)

    query, item, grade = column(QUERY), column(ITEM), column(GRADE)
    if query is None or item is None:
        missing = " and no ".join(n for n, c in (("query", query), ("item", item)) if c is None)
        raise DataError(
            f"{name}: a table of pairs needs the columns query and item (and perhaps grade); "
            f"it has no {missing}, but {some(map(quoted, map(str, frame.columns)))}. Other names "
            f"are {', '.join(QUERY[1:])}; {', '.join(ITEM[1:])}; {', '.join(GRADE[1:])}"
        )
    queries, items = (
        _texts(frame[c], name, what) for c, what in ((query, "query"), (item, "item"))
    )
    if not len(queries):
        raise DataError(f"{name}: it has no pairs")
    grades = np.ones(len(queries)) if grade is None else _numbers(frame[grade], name)
    kept = grades > 0
    if not kept.any():
        raise DataError(f"{name}: no grade is above 0, so no item is relevant")
    return PairTable(
        name,
        path,
        [text for text, is_kept in zip(queries, kept, strict=True) if is_kept],
        [text for text, is_kept in zip(items, kept, strict=True) if is_kept],
        grades[kept],
        int((~kept).sum()),
    )


def _texts(values: Any, name: str, what: str) -> list[bytes]:
    """The cells of a column as texts; whole numbers by their digits."""
    cells = values.tolist()
    texts = []
    for position, cell in enumerate(cells):
        if isinstance(cell, float) and cell.is_integer():
            cell = int(cell)
        is_missing = cell is None or cell != cell or cell == ""
        if is_missing or isinstance(cell, float):
            found = "nothing" if is_missing else f"{cell:g}"
            raise DataError(
                f"{name}: every pair needs a {what}, an id or a row number; found {found} in "
                f"pair number {position + 1}"
            )
        texts.append(cell if isinstance(cell, bytes) else str(cell).encode())
    return texts


def _numbers(values: Any, name: str) -> Vector:
    numbers = np.empty(len(values))
    for position, cell in enumerate(values.tolist()):
        try:
            numbers[position] = float(cell)
        except (TypeError, ValueError):
            numbers[position] = np.nan
        if not np.isfinite(numbers[position]):
            raise DataError(
                f"{name}: grades are finite numbers, found {quoted(cell)} in pair number "
                f"{position + 1}"
            )
    return numbers


def relation(
    table: PairTable, queries: tuple[str, int, Ids | None], items: tuple[str, int, Ids | None]
) -> tuple[Relevance, int]:
    """The pairs of a table as rows, and how many pairs stand in the table again.

    Args:
        table: the pairs.
        queries, items: name of the file, number of rows, and the ids of the rows; without ids the
            table has row numbers from 0.

    Raises:
        DataError: ids or row numbers that the files do not have, or a pair with two grades.
    """
    rows = _rows_of(table, "query", queries, items)
    columns = _rows_of(table, "item", items, queries)
    keys = rows * items[1] + columns
    unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    differing = np.flatnonzero(table.grades != table.grades[first][inverse])
    if len(differing):
        at = int(differing[0])
        pair = tuple(texts[at].decode(errors="replace") for texts in (table.queries, table.items))
        raise DataError(
            f"{table.name}: a pair has one grade; query {quoted(pair[0])} and item "
            f"{quoted(pair[1])} have {table.grades[first][inverse][at]:g} and "
            f"{table.grades[at]:g}"
        )
    shape = queries[1], items[1]
    found = Relevance.of(rows[first], columns[first], table.grades[first], shape)
    return found, len(keys) - len(unique)


def _rows_of(
    table: PairTable,
    what: str,
    side: tuple[str, int, Ids | None],
    other_side: tuple[str, int, Ids | None],
) -> Index:
    """(P,) row of each query or item, by its id or row number."""
    name, n_rows, ids = side
    texts, plural, option = (
        (table.queries, "queries", "--ids")
        if what == "query"
        else (table.items, "items", "--pair-ids")
    )
    unique, inverse = np.unique(np.array(texts, dtype=object), return_inverse=True)
    listed: list[bytes] = unique.tolist()
    if ids is not None:
        order = np.argsort(ids)
        wanted = hashes(listed)
        place = np.minimum(np.searchsorted(ids[order], wanted), n_rows - 1)
        found = np.where(ids[order][place] == wanted, order[place], -1)
    else:
        bare = [text.strip() for text in listed]
        numbers = [int(t) if t.isdigit() and len(t) < 19 else -1 for t in bare]
        found = np.where(np.array(numbers) < n_rows, numbers, -1)
    unknown = [listed[at].decode(errors="replace") for at in np.flatnonzero(found < 0)]
    if unknown:
        first = ", ".join(quoted(text) for text in unknown[:_SHOWN])
        more = "" if len(unknown) <= _SHOWN else f" and {len(unknown) - _SHOWN} more"
        other_name, _, other_ids = other_side
        if ids is None:
            where = f"{name} (rows 0 to {n_rows - 1}) has no row for"
            fix = f"if they are ids, pass {option} FILE with the id of every row"
            if unknown == [str(n_rows)] and b"0" not in listed:
                fix = "rows count from 0, these seem to count from 1"
        else:
            where, fix = f"no row of {name} has the id of", ""
            if other_ids is not None and np.isin(hashes(listed), other_ids).all():
                fix = (
                    f"they are ids of {other_name}: are the columns query and item swapped, or EMB "
                    "and --pairs?"
                )
        raise DataError(
            f"{table.name}: {where} {len(unknown)} of its {len(listed)} {plural}: {first}{more}"
            + (f"; {fix}" if fix else "")
        )
    return np.asarray(found, dtype=np.int64)[inverse]
