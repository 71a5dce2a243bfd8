"""Text from outside (names of files, arrays, columns, classes, keys) made safe to show.

A terminal obeys control characters, a CI log obeys a line that begins with `::error::`, and a
direction mark makes a line read backwards.  Invisible characters are shown as their escapes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_JOINERS = "\u200c\u200d"
"""Invisible, but part of words in several scripts and of emoji."""
_MOST_SHOWN = 200
_USER = re.compile(r"(?<=://)[^/?#\s]{0,1000}@")
_QUERY = re.compile(r"(://[^\s?#'\"]{0,2000}\?)[^\s#'\"]*")


def printable(text: str) -> str:
    r"""Text on one line, each invisible character (also a line break) as Python's escape of it.

    >>> print(printable("emb" + chr(27) + "[31m.npy"), printable("a" + chr(10) + "::error::b"))
    emb\x1b[31m.npy a\n::error::b
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def quoted(name: object, most: int = _MOST_SHOWN) -> str:
    r"""A name between quotation marks, its middle left out where it is very long.

    >>> print(quoted("view" + chr(9) + "1"), quoted("x" * 1000, 10))
    'view\t1' 'xxxxx...xxxxx'
    """
    text = printable(str(name))
    if len(text) > most:
        text = f"{text[: most // 2]}...{text[-(most // 2) :]}"
    return f"'{text}'"


def some(names: Iterable[str], most: int = 5) -> str:
    """The first names, and how many more there are.

    >>> some("abcdefg", 3), some("ab")
    ('a, b, c and 4 more', 'a, b')
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


_LONGEST_WORD = 100


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt word, as the end of a message; empty where no word is near.

    >>> nearest("uniformty", ["tolerance", "uniformity"])
    "; did you mean 'uniformity'?"
    """
    matches = difflib.get_close_matches(word[:_LONGEST_WORD], list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


_DIGITS = re.compile(r"([0-9]+)")


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts numbers in names by their value: step-2 before step-10.

    >>> sorted(["step-10", "step-2", "step-1e"], key=natural)
    ['step-1e', 'step-2', 'step-10']
    """
    parts = _DIGITS.split(text)
    # numbers by their length, then by their digits: numbers of any length can be compared
    return tuple(
        (len(part.lstrip("0")), 0, part.lstrip("0")) if i % 2 else (-1, i, part)
        for i, part in enumerate(parts)
    )


def without_secrets(text: str) -> str:
    """Text whose URLs have neither user and password nor a query, which may hold a signature.

    >>> without_secrets("https://me:word@host/a.npy?X-Amz-Signature=1 cannot be read")
    'https://host/a.npy?... cannot be read'
    """
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1...", _USER.sub("", text))


def described(value: object, most: int = 40) -> str:
    """A value from a file as Python writes it, shortened; also integers of any length.

    >>> described("a" * 100), described(10**5000)
    ("'aaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaa'", 'an integer of 16610 bits')
    """
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # long integers inside, or itself
        return f"a {type(value).__name__}"
    return text if len(text) <= most + 3 else f"{text[: most // 2]}...{text[-(most // 2) :]}"
