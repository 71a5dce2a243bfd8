"""How an option is declared, and what is derived from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, wraps
from typing import Any, Literal, TypeVar, cast

from cl_analyze.options.kinds import Flag, Kind, WholeOrAll

Panel = Literal["Inputs", "What is measured", "Output", "Computation"]
INPUTS: Panel = "Inputs"
MEASURED: Panel = "What is measured"
OUTPUT: Panel = "Output"
COMPUTATION: Panel = "Computation"
PANELS = (INPUTS, MEASURED, OUTPUT, COMPUTATION)
"""Groups of options, in the order of the help."""
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """What one option is.

    Attributes:
        kind: how values are written, and which are allowed.
        help: what the option does, in a line.
        commands: the commands that have it; a Python function of the same name takes it too.
        panel: the group in the help.
        flags: how it is written on the command line; () for what only Python has.
        name: the name of the dataclass's field, which is the keyword in Python.
        default: the value where none is given.
        unset: what the help says of the default where that is None.
    """

    kind: Kind
    help: str
    commands: tuple[str, ...]
    panel: Panel
    flags: tuple[str, ...] = ()
    name: str = ""
    default: Any = None
    unset: str = ""

    @property
    def flag(self) -> str:
        """The long spelling: `--tau`."""
        return self.flags[-1]

    @property
    def default_text(self) -> str:
        """The default as the help shows it; empty where there is none."""
        if self.default in (None, ()) or isinstance(self.kind, Flag):
            return self.unset
        values = self.default if isinstance(self.default, tuple) else (self.default,)
        return " ".join(f"{x:g}" if isinstance(x, float) else str(x) for x in values)


def option(
    default: T,
    kind: Kind,
    panel: Panel,
    flags: str,
    help: str,
    commands: tuple[str, ...],
    unset: str = "",
) -> T:
    """A field of a dataclass that is an option; see `Option`.

    Args:
        flags: its spellings, the long one last: "-o --out".
    """
    declared = Option(kind, help, commands, panel, tuple(flags.split()), "", default, unset)
    return field(default=default, metadata={"option": declared})


def options_of(declaring: type) -> dict[str, Option]:
    """The options that a dataclass declares, by field name.

    >>> from cl_analyze.options import MetricOptions
    >>> options_of(MetricOptions)["kcl_gamma"].flag
    '--kcl-gamma'
    """
    return _options_of(declaring)


@cache
def _options_of(declaring: Any) -> dict[str, Option]:
    return {
        each.name: replace(each.metadata["option"], name=each.name)
        for each in fields(declaring)
        if "option" in each.metadata
    }


@dataclass(frozen=True)
class Checked:
    """Base of dataclasses of options: every option's value is checked when one is made."""

    def __post_init__(self) -> None:
        """Check, and bring values into the form that computations take; None is the default."""
        for name, each in options_of(type(self)).items():
            value = getattr(self, name)
            if value is None and each.default is not None and not isinstance(each.kind, WholeOrAll):
                value = each.default
            checked = each.kind.check(each.flag.removeprefix("--"), value)
            object.__setattr__(self, name, each.default if checked == () else checked)


def from_command_line(declaring: type[T], given: Mapping[str, Any]) -> T:
    """A dataclass of options from the parameters of a command; what it lacks has its default.

    Raises:
        ConfigError: a value that is not allowed.
    """
    values = {}
    for name, each in options_of(declaring).items():
        value = each.kind.parse(each.flag, given.get(name))
        if value is not None:
            each.kind.check(each.flag, value)
            values[name] = value
    return declaring(**values)


def options_for(command: str, declaring: Sequence[type]) -> list[Option]:
    """The options that dataclasses declare for a command, panel by panel."""
    every = (each for one in declaring for each in options_of(one).values())
    own = [each for each in every if command in each.commands]
    return sorted(own, key=lambda each: PANELS.index(each.panel))


def with_options(
    declaring: Sequence[type], command: str | None = None, without: Sequence[str] = ()
) -> Callable[[F], F]:
    """Give a function with `**options` keywords for options, and their descriptions.

    Args:
        declaring: the dataclasses that declare them.
        command: the command whose options are meant; None: all.
        without: names of options that the function has not, or has already.

    The signature that help() and editors show lists every keyword with its default; any other
    keyword is a TypeError.  `{options}` in the docstring becomes a line for each.
    """
    declared = {
        name: each
        for one in declaring
        for name, each in options_of(one).items()
        if (command is None or command in each.commands) and name not in without
    }

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        kept += [
            inspect.Parameter(name, keyword, default=each.default)
            for name, each in declared.items()
            if name not in own.parameters
        ]
        signature = own.replace(parameters=kept)

        @wraps(function)
        def checked(*positional: Any, **keywords: Any) -> Any:
            try:
                signature.bind(*positional, **keywords)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            return function(*positional, **keywords)

        lines = "\n        ".join(
            _described(each) for name, each in declared.items() if name not in own.parameters
        )
        checked.__doc__ = (function.__doc__ or "").replace("{options}", lines)
        checked.__signature__ = signature  # type: ignore[attr-defined]
        return cast(F, checked)

    return decorate


def _described(each: Option) -> str:
    """A line of a docstring on one keyword."""
    default = each.default_text
    return f"{each.name}: {each.help[0].lower()}{each.help[1:]}" + (
        f"; default {default}." if default else "."
    )


def split_by_class(given: Mapping[str, Any], *declaring: type) -> list[dict[str, Any]]:
    """Keywords of several dataclasses of options, told apart by the fields of each."""
    return [
        {name: value for name, value in given.items() if name in options_of(one)}
        for one in declaring
    ]
