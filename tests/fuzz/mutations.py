"""Valid files with something wrong: what Hypothesis draws is how to spoil which file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

_NUMBERS = tuple(
    struct.pack(layout, value)
    for layout, values in (
        ("<B", (0, 1, 0x7F, 0x80, 0xFF)),
        ("<I", (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
        ("<Q", (0, 1, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)),
        ("<f", (float("nan"), float("inf"), 1e-45, 3e38)),
    )
    for value in values
)
_WORDS = tuple(
    word.encode()
    for word in (
        "NaN", "Infinity", "-1", "1e999", "999999999999999999999", "0", "null", "true", "[", "]",
        "{", "}", '"', "'", ",", ":", "\n", "\t", "\r", "\0", "\ufeff", "..", "/", "::", "[[", "= ",
        "\u202e", "\U0001f4a5", "(", ")", "<f8", "|O", "shape", "-", "--", "#",
    )
)  # fmt: skip
_OPERATIONS = ("set", "insert", "delete", "repeat", "move", "cut", "flip")


@dataclass(frozen=True)
class Spoilt:
    """One file of a corpus, and what is done to it."""

    number: int
    steps: tuple[tuple[str, float, float, bytes], ...]

    def applied_to(self, corpus: Sequence[bytes]) -> bytes:
        """The spoilt bytes."""
        content = bytearray(corpus[self.number])
        for operation, where, length, piece in self.steps:
            at = int(where * len(content))
            end = min(len(content), at + 1 + int(length * length * len(content)))
            if operation == "set":
                content[at : at + len(piece)] = piece
            elif operation == "insert":
                content[at:at] = piece
            elif operation == "delete":
                del content[at:end]
            elif operation == "repeat":
                content[at:at] = content[at:end]
            elif operation == "move":
                part = content[at:end]
                del content[at:end]
                to = int(length * len(content))
                content[to:to] = part
            elif operation == "cut":
                del content[at:]
            elif content:
                content[at] ^= 1 << int(length * 8)
        return bytes(content)


def drawn(random: Random, n_files: int) -> Spoilt:
    """As `spoilt`, by a generator that is faster than Hypothesis."""

    def piece() -> bytes:
        kind = random.random()
        if kind < 0.4:
            return random.choice(_NUMBERS)
        return random.choice(_WORDS) if kind < 0.7 else random.randbytes(random.randint(1, 8))

    steps = tuple(
        (random.choice(_OPERATIONS), random.random(), random.random(), piece())
        for _ in range(random.choice((1, 1, 2, 3, 4)))
    )
    return Spoilt(random.randrange(n_files), steps)


_FRACTIONS = st.floats(0, 1, exclude_max=True, width=32)
_PIECES = st.one_of(
    st.sampled_from(_NUMBERS), st.sampled_from(_WORDS), st.binary(min_size=1, max_size=8)
)
_STEPS = st.tuples(st.sampled_from(_OPERATIONS), _FRACTIONS, _FRACTIONS, _PIECES)


def spoilt(n_files: int) -> st.SearchStrategy[Spoilt]:
    """One to four things done to one of so many files."""
    return st.builds(
        Spoilt,
        st.integers(0, n_files - 1),
        st.lists(_STEPS, min_size=1, max_size=4).map(tuple),
    )
