"""Lines for a terminal: pieces with styles, and wrapped sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Style = Literal["", "bold", "dim", "good", "bad", "warn"]
Side = Literal["<", ">"]
WIDTH = 80
"""Columns where the width of the terminal is not known."""
UNBROKEN = "\u00a0"
"""A space at which `wrapped` never breaks a line; it is printed as a plain one."""


@dataclass(frozen=True)
class Line:
    """A line, or a cell of a table: texts, each with a style.

    Colours are not part of the text; whoever writes to a terminal turns styles into colours.

    >>> Line.of("verdict: ").then("pass", "good").text
    'verdict: pass'
    """

    pieces: tuple[tuple[str, Style], ...] = ()

    @classmethod
    def of(cls, text: str, style: Style = "") -> Line:
        """A line of one piece."""
        return cls(((text, style),)) if text else cls()

    def then(self, text: str, style: Style = "") -> Line:
        """This line and a further piece."""
        return Line((*self.pieces, (text, style))) if text else self

    def joined(self, other: Line) -> Line:
        """This line and another one behind it."""
        return Line((*self.pieces, *other.pieces))

    @property
    def text(self) -> str:
        """The text without styles."""
        return "".join(text for text, _ in self.pieces)

    def padded(self, width: int, side: Side) -> Line:
        """The line with spaces, so that it stands at one side of `width` columns."""
        spaces = " " * (width - n_columns(self.text))
        return self.then(spaces) if side == "<" else Line.of(spaces).joined(self)

    def stripped(self) -> Line:
        """The line without spaces at its end."""
        pieces = list(self.pieces)
        while pieces and not pieces[-1][0].strip():
            pieces.pop()
        if pieces:
            pieces[-1] = (pieces[-1][0].rstrip(), pieces[-1][1])
        return Line(tuple(pieces))


def n_columns(text: str) -> int:
    """Columns of a terminal that a text takes.

    Characters of East Asian scripts take two, combining marks and format characters none.

    >>> n_columns("tau"), n_columns("東京")
    (3, 4)
    """
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def duration(seconds: float) -> str:
    """A time in its nearest unit.

    >>> duration(45.2), duration(367.0), duration(9_000.0)
    ('45 s', '6 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def plain(texts: Iterable[str]) -> list[Line]:
    """Lines without styles."""
    return [Line.of(text) for text in texts]


def separated(blocks: Iterable[Sequence[Line]]) -> list[Line]:
    """Lines of blocks that are not empty, with an empty line between two blocks."""
    lines: list[Line] = []
    for block in blocks:
        if block:
            lines += [*[Line()] * bool(lines), *block]
    return lines


# ---- sentences

_OTHER_SPACE = re.compile(r"[\t\n\v\f\r]")
_WORD = re.compile(r"( *)([^ ]+)")
"""A word and the spaces before it."""


def wrapped(
    text: str, width: int = WIDTH, initial_indent: str = "", subsequent_indent: str = ""
) -> list[str]:
    """A text in lines of at most `width` columns; paths and names are never broken.

    Lines are broken at spaces, tabs and line ends.  A word that is too long has its own line.

    >>> wrapped("the file epoch-12-step-100.npy", 12)
    ['the file', 'epoch-12-step-100.npy']
    >>> wrapped(f"kNN accuracy, k{UNBROKEN}20", 15)
    ['kNN accuracy,', 'k 20']
    """
    lines: list[str] = []
    for spaces, word in _WORD.findall(_OTHER_SPACE.sub(" ", text.expandtabs())):
        longer = (lines[-1] if lines else initial_indent) + spaces + word
        if n_columns(longer) <= width:
            lines[-1:] = [longer]
        else:
            lines.append((subsequent_indent if lines else initial_indent) + word)
    return [line.replace(UNBROKEN, " ") for line in lines]


def titled(title: str, text: str, width: int, style: Style = "bold") -> list[Line]:
    """A text behind its title, with further lines indented.

    >>> [line.text for line in titled("Next", "compare the runs", 16)]
    ['Next: compare', '  the runs']
    """
    start, *others = wrapped(f"{title}: {text}", width, "", "  ")
    if not start.startswith(f"{title}:"):  # a title that is longer than the line
        return [Line.of(line, style if i == 0 else "") for i, line in enumerate([start, *others])]
    first = Line.of(title, style).then(start.removeprefix(title))
    return [first, *plain(others)]
