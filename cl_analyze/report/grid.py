"""Tables for a terminal; a table that does not fit is split by columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cl_analyze.lines import UNBROKEN, Line, Side, n_columns, separated, wrapped
from cl_analyze.report.numbers import NumberText, column_texts
from cl_analyze.results.tables import Record

_NARROWEST_HEAD = 14
_PARAMETER = re.compile(r"(, [^ ,]+) (?=[^ ,]+(,|$))")
"""A parameter behind a comma, up to the space before its value: `, share ` of `, share 0.01`."""


@dataclass(frozen=True)
class Column:
    """A column of a table: what stands above it, its cells, and where these stand."""

    head: str
    cells: tuple[Line, ...]
    side: Side = ">"

    @property
    def width(self) -> int:
        """Columns of the terminal that the widest cell takes."""
        return max((n_columns(cell.text) for cell in self.cells), default=0)

    def heads(self) -> list[str]:
        """The head in lines about as wide as the cells; a parameter stays beside its value.

        >>> Column("kNN accuracy, k 20", ()).heads()
        ['kNN accuracy,', 'k 20']
        >>> Column("suspect pairs, margin 0.95", ()).heads()
        ['suspect pairs,', 'margin 0.95']
        """
        kept = _PARAMETER.sub(rf"\1{UNBROKEN}", self.head)
        return wrapped(kept, max(self.width, _NARROWEST_HEAD))


def text_column(head: str, texts: Iterable[str], side: Side = "<") -> Column:
    """A column of texts."""
    return Column(head, tuple(Line.of(text) for text in texts), side)


def number_column(
    head: str, records: Sequence[Record | None], marks: Sequence[Line] | None = None
) -> Column:
    """Numbers that can be ranked: all have the same decimals, see `column_texts`."""
    return column_of(head, column_texts(records), marks)


def column_of(
    head: str, texts: Sequence[NumberText], marks: Sequence[Line] | None = None
) -> Column:
    """Values and behind them their errors, and a mark for each.

    >>> texts = [NumberText("9.5", "± 0.5"), NumberText("10.0"), NumberText("–")]
    >>> [cell.text for cell in column_of("rank", texts).cells]
    [' 9.5 ± 0.5', '10.0      ', '   –      ']
    """
    value_width = max((len(text.value) for text in texts), default=0)
    error_width = max((len(text.error) for text in texts), default=0)
    cells = []
    for i, text in enumerate(texts):
        cell = f"{text.value:>{value_width}}"
        cell += f" {text.error:<{error_width}}" if error_width else ""
        cells.append(Line.of(cell) if marks is None else Line.of(cell).joined(marks[i]))
    return Column(head, tuple(cells))


def at_the_point(texts: Sequence[NumberText]) -> list[NumberText]:
    """Numbers of different decimals, with their points one under the other.

    >>> [text.value for text in at_the_point([NumberText("2.5"), NumberText("1.125")])]
    ['2.5  ', '1.125']
    """
    tails = [len(text.value) - text.value.index(".") if "." in text.value else 0 for text in texts]
    most = max(tails, default=0)
    return [
        NumberText(text.value + " " * (most - tail), text.error, text.sort)
        for text, tail in zip(texts, tails, strict=True)
    ]


def table(columns: Sequence[Column], width: int, indent: int = 2, gap: int = 2) -> list[Line]:
    """A table; columns that do not fit stand in a further block below, with the first column again.

    Cells are never wrapped.  A block has at least one column behind the first.

    Args:
        columns: the first has the names of the rows.
        width: most columns of the terminal.
        indent: spaces before the first column.
        gap: spaces between two columns.

    >>> names, numbers = text_column("", ["a", "b"]), text_column("n", ["1", "10"], ">")
    >>> [line.text for line in table([names, numbers], 80)]
    ['      n', '  a   1', '  b  10']
    """
    first, *others = columns
    blocks: list[list[Line]] = []
    while others or not blocks:
        block, used = [first], indent + _total(first)
        while others and (len(block) == 1 or used + gap + _total(others[0]) <= width):
            used += gap + _total(others[0])
            block.append(others.pop(0))
        blocks.append(_block(block, indent, gap))
    return separated(blocks)


def _total(column: Column) -> int:
    return max(column.width, *map(n_columns, column.heads()), 0)


def _block(columns: Sequence[Column], indent: int, gap: int) -> list[Line]:
    heads = [column.heads() for column in columns]
    depth = max(map(len, heads))
    rows = [
        [Line.of(head[i - depth], "bold") if len(head) >= depth - i else Line() for head in heads]
        for i in range(depth)
    ]
    rows += [list(cells) for cells in zip(*(column.cells for column in columns), strict=True)]
    lines = []
    for row in rows:
        line = Line.of(" " * indent)
        for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
            line = line.then(" " * gap * (at > 0)).joined(cell.padded(_total(column), column.side))
        lines.append(line.stripped())
    return lines
