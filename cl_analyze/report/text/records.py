"""Records as people read them: names in words, lists of numbers, matrices by a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.lines import Line, n_columns, plain, wrapped
from cl_analyze.metrics import DECLARED
from cl_analyze.report.grid import (
    Column,
    at_the_point,
    column_of,
    number_column,
    table,
    text_column,
)
from cl_analyze.report.numbers import NumberText, column_texts, params_in_words
from cl_analyze.report.sentences import threshold_in_words
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Param, Record

_UNIT_TEXT = {"none": "", "dimensions": "dims", "accuracy": ""}
"""Units that are not printed as they are."""
_IN_THE_NAME = ("share", "ratio")
"""Units that the name of a number tells."""
_WITHOUT_KEY = ("group", "direction")
"""Parameters that are clear without their key."""
NOT_SHOWN = "temperature"
"""The temperature of votes, which is the same for all."""

# ---- names


def words_of(params: Mapping[str, Param], *without: str) -> str:
    """Parameters in words.

    >>> words_of({"k": 20, "direction": "forward", "temperature": 0.07}, "temperature")
    'k 20, forward'
    """
    words = [
        str(value).replace("_", " ") if key in _WITHOUT_KEY else params_in_words({key: value})
        for key, value in params.items()
        if key not in without
    ]
    return ", ".join(words)


def label(record: Record, *without: str) -> str:
    """The name of a number as people say it, its definition, and its parameters in words.

    Args:
        record: the number.
        without: keys of parameters that stand elsewhere.
    """
    definition = "" if record.definition is None else f" [{record.definition}]"
    words = words_of(record.params, NOT_SHOWN, *without)
    return ", ".join(filter(None, (f"{DECLARED[record.metric].spoken}{definition}", words)))


def unit_of(record: Record) -> str:
    """The unit of a value, short; empty where there is none."""
    return "" if record.value is None else _UNIT_TEXT.get(record.unit, record.unit)


def unit_text(record: Record) -> str:
    """The unit of a value in words; empty where there is none, or the name tells it."""
    return "" if record.unit in _IN_THE_NAME else unit_of(record).replace("_", " ")


def by_source(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each source, in the order of their first record."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.source, []).append(record)
    return groups


def rows_text(source: str, n: int, d: int | None, document: Document) -> str:
    """How many rows and dimensions a source has."""
    rows = f"n={n}"
    if source in document.n_anchors:
        rows = f"n={document.n_rows[source]} (estimated from {document.n_anchors[source]} anchors)"
    return rows + ("" if d is None else f"  d={d}")


def heading(record: Record, document: Document) -> Line:
    """The name of a source, its rows and dimensions."""
    is_estimated = record.source in document.n_anchors and not record.exact
    rows = rows_text(record.source, record.n, record.d, document)
    if not is_estimated:
        rows = f"n={record.n}" + ("" if record.d is None else f"  d={record.d}")
    return Line.of(record.source, "bold").then(f"  {rows}")


# ---- lists


def list_lines(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A line for each number, with its error and unit; below, why others are undefined."""
    if not records:
        return []
    labels = []
    for record in records:
        cosine = threshold_in_words(record, document)
        labels.append(label(record) + (f", at a cosine of {cosine}" if cosine else ""))
    units = [unit_text(record) for record in records]
    texts = [single_text(record) for record in records]
    return [*named_numbers(labels, texts, units, width), *reason_lines(records, width)]


_NEGLIGIBLE = 0.1


def single_text(record: Record) -> NumberText:
    """A number in a list; without a sampling error that is lost beside the standard error."""
    sampling, standard = record.sampling_error, record.std_error
    if sampling and standard and sampling < _NEGLIGIBLE * standard:
        record = replace(record, sampling_error=None)
    return column_texts([record])[0]


def named_numbers(
    names: Sequence[str], texts: Sequence[NumberText], units: Sequence[str], width: int
) -> list[Line]:
    """A line for each number, with its unit; one that does not fit stands below its name."""
    texts = at_the_point(texts)
    columns = [text_column("", names), column_of("", texts), text_column("", units)]
    columns = [column for column in columns if column.width]
    if sum(column.width + 2 for column in columns) <= width:
        return table(columns, width)
    name_width = max(map(n_columns, names), default=0)
    value_width = max((len(text.value) for text in texts), default=0)
    lines: list[str] = []
    for name, text, unit in zip(names, texts, units, strict=True):
        value = text.value if text.error or unit else text.value.rstrip()
        end = "  ".join(filter(None, (f"{value:>{value_width}} {text.error}".rstrip(), unit)))
        line = f"  {name}{' ' * (name_width - n_columns(name))}  {end}"
        fits = n_columns(line) <= width
        lines += [line] if fits else [*wrapped(name, width, "  ", "    "), f"      {end.lstrip()}"]
    return plain(lines)


def reason_lines(records: Sequence[Record], width: int) -> list[Line]:
    """Why numbers are undefined, each reason once."""
    versions_of: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.reason is not None:
            name = DECLARED[record.metric].spoken
            version = record.definition or words_of(record.params, NOT_SHOWN)
            versions_of.setdefault((name, record.reason), []).append(version)
    lines = []
    for (name, reason), versions in versions_of.items():
        listed = ", ".join(dict.fromkeys(filter(None, versions)))
        which = f" [{listed}]" if listed else ""
        lines += wrapped(f"{name}{which}: {reason}", width, "    ", "      ")
    return plain(lines)


# ---- matrices

Key = tuple[str, str | None, tuple[tuple[str, Param], ...]]
"""Metric, definition, and all parameters but the one of the rows."""


def key_of(record: Record, without: str) -> Key:
    """Which series of numbers a record belongs to; `without` is the parameter that varies."""
    params = tuple(item for item in record.params.items() if item[0] != without)
    return record.metric, record.definition, params


def by_parameter(records: Sequence[Record], name: str, width: int) -> list[Line]:
    """A row for each value of a parameter, a column for each metric.

    Args:
        records: of one source.
        name: the parameter; records without it are left out.
        width: columns of the terminal.
    """
    of_key: dict[Key, dict[Param, Record]] = {}
    for record in records:
        if name in record.params:
            of_key.setdefault(key_of(record, name), {})[record.params[name]] = record
    values = list(dict.fromkeys(r.params[name] for r in records if name in r.params))
    if not values:
        return []
    columns = [text_column("", [params_in_words({name: value}) for value in values])]
    shown: list[Record] = []
    for found in of_key.values():
        first = next(iter(found.values()))
        shown += found.values()
        columns.append(number_column(label(first, name), [found.get(v) for v in values]))
    return [*table(columns, width), *reason_lines(shown, width)]


def in_rows(
    names: Sequence[str],
    heads: Sequence[str],
    cells: Sequence[Sequence[Record | None]],
    width: int,
    corner: str = "",
) -> list[Line]:
    """A row for each name, whose numbers have the same decimals, and a column for each head."""
    texts = [column_texts(row) for row in cells]
    return rows_of_texts(names, heads, texts, width, corner)


def rows_of_texts(
    names: Sequence[str],
    heads: Sequence[str],
    texts: Sequence[Sequence[NumberText]],
    width: int,
    corner: str = "",
) -> list[Line]:
    """The table of `in_rows`, of texts."""
    columns = [text_column(corner, names)]
    for head, column in zip(heads, zip(*texts, strict=True), strict=True):
        columns.append(column_of(head, at_the_point(column)))
    return table(columns, width)


# ---- several sources


def names_lines(document: Document) -> list[Line]:
    """How many checkpoints there are, and their whole names once."""
    names, sources = short_names(document), natural_order(document)
    pattern = _pattern(names)
    count = f"{len(sources)} checkpoints"
    if pattern:
        return [Line.of(count, "bold").then(f"  {pattern}")]
    if all(names[source] == source for source in sources):
        return [Line.of(count, "bold")]
    most = max(n_columns(names[source]) for source in sources)
    return [
        Line.of(count, "bold"),
        *(
            Line.of("  ").joined(Line.of(names[source]).padded(most, "<")).then(f"  {source}")
            for source in sources
        ),
    ]


def _pattern(names: Mapping[str, str]) -> str:
    """What all names have in common, where `*` stands for the short name; empty: not one pattern.

    >>> _pattern({"run-tau-0.1.npz": "tau-0.1", "run-tau-1.npz": "tau-1"})
    'run-*.npz'
    """
    found = {
        source.replace(short, "*", 1) if source.count(short) == 1 else ""
        for source, short in names.items()
    }
    pattern = found.pop()
    return "" if found or "*" not in pattern or pattern == "*" else pattern


def checkpoint_table(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A row for each checkpoint, a column for each number."""
    names = short_names(document)
    own = by_source(records)
    order = [source for source in natural_order(document) if source in own]
    of_key: dict[Key, dict[str, Record]] = {}
    for record in records:
        of_key.setdefault(key_of(record, ""), {})[record.source] = record
    columns: list[Column] = [text_column("", [names[source] for source in order])]
    sizes = {rows_text(s, own[s][0].n, own[s][0].d, document) for s in order}
    lines = names_lines(document)
    if len(sizes) == 1:
        lines[0] = lines[0].then(f"  {sizes.pop()}")
    else:
        rows = [document.n_rows.get(s, own[s][0].n) for s in order]
        columns.append(text_column("rows", [str(n) for n in rows], ">"))
        anchors = [document.n_anchors.get(s) for s in order]
        if any(anchors):
            columns.append(text_column("anchors", [str(n or "all") for n in anchors], ">"))
        columns.append(text_column("dims", [str(own[s][0].d or "") for s in order], ">"))
    for found in of_key.values():
        first = next(iter(found.values()))
        head = ", ".join(filter(None, (label(first), unit_text(first))))
        columns.append(number_column(head, [found.get(source) for source in order]))
    return [*lines, *table(columns, width), *reason_lines(records, width)]
