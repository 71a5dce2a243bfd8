"""Kinds of options: the form of values on the command line, and the allowed values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cl_analyze.errors import ConfigError
from cl_analyze.quoting import described, nearest, quoted

SMALLEST, LARGEST = 1e-6, 1e6
"""Temperatures and exponents outside this range are useless and cause overflow."""
ALL = "all"

_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)\Z", re.IGNORECASE
)


def is_number(token: str) -> bool:
    """Whether a token of the command line is a number; nan and inf are numbers, 1_0 is not.

    >>> [is_number(token) for token in ("0.07", "-1e3", "nan", ".5", "1_0", "0.npy", "")]
    [True, True, True, True, False, False, False]
    """
    return _NUMBER.match(token) is not None


@dataclass(frozen=True)
class Kind:
    """The form of an option's values on the command line, and the allowed values.

    The base class allows any single word.

    Attributes:
        metavar: placeholder for the value in the help.
    """

    metavar: str = ""
    none_is_a_value: ClassVar[bool] = False
    """Whether None is a value of its own; for other kinds None is the default."""

    @property
    def type(self) -> Any:
        """The type to which the command-line parser converts the value."""
        return str

    @property
    def words(self) -> tuple[str, ...]:
        """The fixed set from which values come; empty where there is none."""
        return ()

    @property
    def is_list(self) -> bool:
        """Whether several values may follow the flag: `--tau 0.07 0.2`."""
        return False

    def is_value(self, token: str) -> bool:
        """Whether a token of the command line is a value of a list option of this kind."""
        return False

    def parse(self, flag: str, typed: Any) -> Any:
        """Convert the text that the user typed to a value; None: the option was not passed.

        Raises:
            ConfigError: the text is not a value of this kind.
        """
        return typed

    def from_file(self, key: str, value: Any) -> Any:
        """What the command-line parser makes of a value that a TOML file holds.

        Args:
            key: name of the value in messages.
            value: the value as TOML has it.

        Raises:
            ConfigError: the value has another type than this kind.
        """
        return _text(key, value)

    def for_each(self, flag: str, value: Any, n: int, noun: str) -> list[Any]:
        """The values for n files, one for each file."""
        return [self.parse(flag, value)] * n

    def check(self, name: str, value: Any) -> Any:
        """Check a value and convert it to the form that computations use.

        Raises:
            ConfigError: the value is not allowed; the message calls the option `name`.
        """
        return value


@dataclass(frozen=True)
class Flag(Kind):
    """A switch: on or off."""

    @property
    def type(self) -> Any:
        """A Boolean."""
        return bool

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        if not isinstance(value, bool):
            raise ConfigError(f"{key} must be true or false, found {described(value)}")
        return value


@dataclass(frozen=True)
class Place(Kind):
    """A path of a file or a folder, or an address; not empty."""

    def parse(self, flag: str, typed: Any) -> Any:
        """See `Kind.parse`."""
        if typed == "":
            raise ConfigError(f"{flag} is empty; is a variable unset?")
        return typed


@dataclass(frozen=True)
class Companions(Kind):
    """Paths of files that accompany the embeddings: labels, partners and others.

    Attributes:
        shared: whether one file may serve all checkpoints; if not, each checkpoint needs a file.
    """

    metavar: str = "PATH"
    shared: bool = True

    @property
    def type(self) -> Any:
        """A list: the option may be repeated."""
        return list[str]

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`; one value is a list of length 1."""
        return _texts(key, value)

    def for_each(self, flag: str, files: Any, n: int, noun: str) -> list[Any]:
        """The paths for n files of embeddings, one for each; None: the option was not passed.

        Args:
            flag: the option's spelling.
            files: n paths, or one path for all.
            n: number of files of embeddings.
            noun: name of these files in the message: EMB or FILE.

        Raises:
            ConfigError: the number of paths is wrong.
        """
        if not files:
            return [None] * n
        if len(files) == n:
            return list(files)
        if self.shared and len(files) == 1:
            return list(files) * n
        remedy = (
            "give one for all, or repeat the option, one for each"
            if self.shared
            else "repeat the option, one for each, in their order"
        )
        times = "once" if len(files) == 1 else f"{len(files)} times"
        raise ConfigError(f"{flag} is given {times} for {n} {noun}: {remedy}")


@dataclass(frozen=True)
class _ListKind(Kind):
    """Base class of kinds of which several values may follow the flag."""

    @property
    def type(self) -> Any:
        """A list: the option may be repeated."""
        return list[str]

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`; one value is a list of length 1."""
        return _texts(key, value)

    @property
    def is_list(self) -> bool:
        """True: several values may follow the flag."""
        return True

    def is_value(self, token: str) -> bool:
        """Whether the token is one value, or a comma-separated list of values."""
        return all(self.is_one(part) for part in [p for p in token.split(",") if p] or [token])

    def is_one(self, part: str) -> bool:
        """Whether a part of a token is one value."""
        raise NotImplementedError


@dataclass(frozen=True)
class Numbers(_ListKind):
    """Finite numbers > 0; repeated numbers are removed.

    Attributes:
        whole: whether the numbers must be whole; whole numbers are sorted.
        least: the smallest allowed whole number; 0 allows 0.
        example: a valid list, for messages.
    """

    whole: bool = False
    least: int = 1
    example: str = "0.07 0.2 0.5"

    def is_one(self, part: str) -> bool:
        """Whether it is a number."""
        return is_number(part)

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`; one number is a list of length 1."""
        listed = value if isinstance(value, list) else [value]
        if not listed:
            raise ConfigError(f"{key}: at least one number is needed, found []")
        return [repr(_number(key, number)) for number in listed]

    def parse(self, flag: str, typed: Any) -> Any:
        """See `Kind.parse`."""
        if not typed:
            return None
        numbers = []
        for token in typed:
            if not is_number(token):
                raise ConfigError(f"{flag}: {token!r} is not a number; write {flag} {self.example}")
            value = float(token)
            is_allowed_zero = value == 0 and self.whole and self.least == 0
            if not (0 < value < float("inf") or is_allowed_zero):
                raise ConfigError(f"{flag} must be finite and > 0, found {token}")
            if self.whole and value != int(value):
                raise ConfigError(f"{flag} takes whole numbers, found {value:g}")
            numbers.append(int(value) if self.whole else value)
        return tuple(dict.fromkeys(numbers))

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        if self.whole:
            listed = value if isinstance(value, Iterable) else (value,)
            return tuple(sorted({whole_number(name, number, self.least) for number in listed}))
        return positive_numbers(name, value)


@dataclass(frozen=True)
class Shares(Numbers):
    """Numbers above 0 and under 1."""

    example: str = "0.001 0.01 0.1"

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        shares = super().check(name, value)
        for share in shares:
            if share >= 1:
                raise ConfigError(f"{name} must be under 1, found {share:g}")
        return shares


@dataclass(frozen=True)
class Number(Kind):
    """One finite number > 0.

    Attributes:
        or_zero: whether 0 is allowed.
    """

    or_zero: bool = False

    @property
    def type(self) -> Any:
        """A number."""
        return float

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        return float(_number(key, value))

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        if value is None or (self.or_zero and value == 0):
            return value
        if self.or_zero and isinstance(value, int | float) and not 0 < value < float("inf"):
            raise ConfigError(f"{name} must be finite and >= 0, found {value:g}")
        return one_number(name, value)


def _is_a_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Real(Kind):
    """One number of either sign, from -LARGEST to LARGEST."""

    @property
    def type(self) -> Any:
        """A number."""
        return float

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        return float(_number(key, value))

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        if value is None:
            return None
        if not (_is_a_number(value) and -LARGEST <= value <= LARGEST):
            raise ConfigError(
                f"{name} must be a number from {-LARGEST:g} to {LARGEST:g}, found {value}"
            )
        return float(value)


@dataclass(frozen=True)
class Share(Kind):
    """A fraction in (0, 1]."""

    @property
    def type(self) -> Any:
        """A number."""
        return float

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        return float(_number(key, value))

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        if value is None:
            return None
        if not (_is_a_number(value) and 0 < value <= 1):
            raise ConfigError(f"{name} must lie in (0, 1], found {value}")
        return float(value)


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number.

    Attributes:
        least: the smallest allowed number.
    """

    least: int = 1

    @property
    def type(self) -> Any:
        """A whole number."""
        return int

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        number = _number(key, value)
        if not isinstance(number, int):
            raise ConfigError(f"{key} must be a whole number, found {number!r}")
        return number

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        return None if value is None else whole_number(name, value, self.least)


@dataclass(frozen=True)
class WholeOrAll(Kind):
    """A whole number >= 1, or the word `all`; `all` becomes None."""

    none_is_a_value: ClassVar[bool] = True

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        return _text(key, value) if isinstance(value, str) else repr(_number(key, value))

    def parse(self, flag: str, typed: Any) -> Any:
        """See `Kind.parse`."""
        if typed in (None, ALL):
            return typed
        is_whole = typed.isascii() and typed.isdigit() and len(typed) < 19
        if not is_whole or int(typed) < 1:
            raise ConfigError(f"{flag}: {quoted(typed, 40)} is neither a number >= 1 nor all")
        return int(typed)

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        return None if value in (None, ALL) else whole_number(name, value)


@dataclass(frozen=True)
class Choice(Kind):
    """One word from a fixed set."""

    words: tuple[str, ...] = ()

    @property
    def type(self) -> Any:
        """An enumeration of the words; the command-line parser checks it."""
        from enum import Enum

        return Enum("Choice", {word: word for word in self.words}, type=str)

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`."""
        if value not in self.words:
            *first, last = (repr(word) for word in self.words)
            hint = nearest(value, self.words) if isinstance(value, str) else ""
            raise ConfigError(
                f"{key} must be {', '.join(first)} or {last}, found {described(value)}{hint}"
            )
        return self.type(value)

    def parse(self, flag: str, typed: Any) -> Any:
        """See `Kind.parse`."""
        return getattr(typed, "value", typed)

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        if value not in self.words:
            *first, last = self.words
            raise ConfigError(f"{name} must be {', '.join(first)} or {last}, found {value!r}")
        return value


@dataclass(frozen=True)
class Words(_ListKind):
    """One or more words from a fixed set."""

    words: tuple[str, ...] = ()

    def is_one(self, part: str) -> bool:
        """Whether it is a word of the set."""
        return part in self.words

    def parse(self, flag: str, typed: Any) -> Any:
        """See `Kind.parse`."""
        return tuple(dict.fromkeys(typed)) if typed else None

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        for word in value or ():
            if word not in self.words:
                raise ConfigError(f"{name}: {word!r} is none of {', '.join(self.words)}")
        return value


_METRIC = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True)
class MetricNames(Words):
    """Names of metric families or of metrics; a comparison knows which metrics there are."""

    def is_one(self, part: str) -> bool:
        """Whether it is a family, or a word that is no file and can be a metric's name."""
        return part in self.words or (_METRIC.match(part) is not None and not Path(part).exists())

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        return value


_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([KMGT])(?:(I)?B)?|B)?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Size(Kind):
    """An amount of memory such as 2GiB or 500MB, in bytes.

    >>> Size().parse("--memory", "2GiB"), Size().parse("--memory", "500 MB")
    (2147483648, 500000000)
    """

    metavar: str = "SIZE"

    def from_file(self, key: str, value: Any) -> Any:
        """See `Kind.from_file`; a number is a number of bytes."""
        return _text(key, value) if isinstance(value, str) else repr(_number(key, value))

    def parse(self, flag: str, typed: Any) -> Any:
        """See `Kind.parse`."""
        if typed is None:
            return None
        match = _SIZE.match(typed.strip())
        size = 0.0
        if match is not None:
            is_decimal = match[0].upper().endswith("B") and not match[3]
            power = "KMGT".index(match[2].upper()) + 1 if match[2] else 0
            size = float(match[1]) * (1000 if is_decimal else 1024) ** power
        if not 1 <= size < 2**63:
            raise ConfigError(f"{flag}: {quoted(typed, 40)} is not a size; write 2GiB or 500MB")
        return int(size)

    def check(self, name: str, value: Any) -> Any:
        """See `Kind.check`."""
        return None if value is None else whole_number(name, value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key} must be a text between quotation marks, found {described(value)}")
    return value


def _texts(key: str, value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise ConfigError(f"{key}: at least one text is needed, found []")
    return [_text(key, text) for text in listed]


def _number(key: str, value: Any) -> int | float:
    if not _is_a_number(value):
        raise ConfigError(f"{key} must be a number, found {described(value)}")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ConfigError(f"{key}: TOML's integers have 64 bits, found {described(value)}")
    number: int | float = value
    return number


def positive_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Finite numbers > 0 without repetitions; a single number is a list of length 1.

    Raises:
        ConfigError: a value is not a number, is not > 0, or lies outside SMALLEST .. LARGEST.
    """
    import numpy as np

    try:
        numbers = np.asarray(values, dtype=np.float64).reshape(-1).tolist()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be numbers, found {values!r}") from error
    if not numbers or np.asarray(values).dtype.kind == "b":
        raise ConfigError(f"{name}: at least one number is needed, found {values!r}")
    for value in numbers:
        if not 0 < value < float("inf"):
            raise ConfigError(f"{name} must be finite and > 0, found {value:g}")
        if not SMALLEST <= value <= LARGEST:
            raise ConfigError(f"{name} must lie in {SMALLEST:g} .. {LARGEST:g}, found {value:g}")
    return tuple(dict.fromkeys(numbers))


def one_number(name: str, value: Any) -> float:
    """One finite number > 0.

    Raises:
        ConfigError: `value` is not one number, is not > 0, or lies outside SMALLEST .. LARGEST.
    """
    numbers = positive_numbers(name, value)
    if len(numbers) != 1:
        raise ConfigError(f"{name} must be one number, found {value!r}")
    return numbers[0]


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """A whole number >= `least`.

    Raises:
        ConfigError: the value is not a whole number, or is less than `least`.
    """
    is_whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not is_whole or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, found {value!r}")
    return int(value)
