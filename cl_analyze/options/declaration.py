"""The declaration of an option, and everything derived from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, wraps
from typing import Any, Literal, TypeVar, cast

from cl_analyze.options.kinds import Flag, Kind

Panel = Literal[
    "Your data", "What to measure", "Output", "Error bars and estimates", "Speed and memory"
]
INPUTS: Panel = "Your data"
MEASURED: Panel = "What to measure"
OUTPUT: Panel = "Output"
ESTIMATES: Panel = "Error bars and estimates"
COMPUTATION: Panel = "Speed and memory"
PANELS = (INPUTS, MEASURED, OUTPUT, ESTIMATES, COMPUTATION)
"""Groups of options, in the order in which `--help` shows them."""
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        kind: the form of values on the command line, and the allowed values.
        help: one line that says what the option does.
        commands: the commands that take the option; Python functions of these names take it too.
        panel: the group in the help.
        flags: spellings on the command line; () for an option of the Python functions only.
        name: name of the dataclass field; it is the keyword in Python.
        default: the value when the option is not passed.
        unset: text of the help for a default that is None, an empty list or a flag.
        about: description for Python where `help` speaks of the command line; empty: `help`.
        annotation: type of the dataclass field.
        only_typed: the reason why a project's file must not hold a default; empty: it may.
        common_in: commands whose `--help` shows the option; `--help-all` shows every option.
    """

    kind: Kind
    help: str
    commands: tuple[str, ...]
    panel: Panel
    flags: tuple[str, ...] = ()
    name: str = ""
    default: Any = None
    unset: str = ""
    about: str = ""
    annotation: Any = None
    only_typed: str = ""
    common_in: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The long spelling: `--tau`."""
        return self.flags[-1]

    @property
    def off_flag(self) -> str:
        """What turns a flag off that a project's file turns on: `--no-json`, or `--files`."""
        word = self.flag.removeprefix("--")
        return f"--{word.removeprefix('no-')}" if word.startswith("no-") else f"--no-{word}"

    @property
    def default_text(self) -> str:
        """The default as the help shows it; empty when the help shows no default."""
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
    about: str = "",
    only_typed: str = "",
    common_in: tuple[str, ...] = (),
) -> T:
    """A dataclass field that declares an option; see `Option`.

    Args:
        flags: spellings on the command line, the long one last: "-o --out".
    """
    declared = Option(
        kind,
        help,
        commands,
        panel,
        tuple(flags.split()),
        default=default,
        unset=unset,
        about=about,
        only_typed=only_typed,
        common_in=common_in,
    )
    return field(default=default, metadata={"option": declared})


def options_of(declaring: type) -> dict[str, Option]:
    """The options of a dataclass, by field name.

    >>> from cl_analyze.options import MetricOptions
    >>> options_of(MetricOptions)["kcl_gamma"].flag
    '--kcl-gamma'
    """
    return _options_of(declaring)


@cache
def _options_of(declaring: Any) -> dict[str, Option]:
    return {
        each.name: replace(each.metadata["option"], name=each.name, annotation=each.type)
        for each in fields(declaring)
        if "option" in each.metadata
    }


@dataclass(frozen=True)
class Checked:
    """Base class of dataclasses of options: the constructor checks every option."""

    def __post_init__(self) -> None:
        """Check every value and convert it to the form that computations use; None: the default."""
        for name, declared in options_of(type(self)).items():
            value = getattr(self, name)
            if value is None and not declared.kind.none_is_a_value:
                value = declared.default
            checked = declared.kind.check(declared.flag.removeprefix("--"), value)
            object.__setattr__(self, name, declared.default if checked == () else checked)


def from_command_line(declaring: type[T], parameters: Mapping[str, Any]) -> T:
    """A dataclass of options from the parameters of a command.

    An option that is missing from `parameters`, or is None there, has its default.

    Raises:
        ConfigError: a value is not allowed.
    """
    values = {}
    for name, declared in options_of(declaring).items():
        value = declared.kind.parse(declared.flag, parameters.get(name))
        if value is not None:
            declared.kind.check(declared.flag, value)
            values[name] = value
    return declaring(**values)


def options_for(command: str, declaring: Sequence[type]) -> list[Option]:
    """The options of a command, in the order of the panels."""
    all_options = (
        declared for dataclass_type in declaring for declared in options_of(dataclass_type).values()
    )
    of_command = [declared for declared in all_options if command in declared.commands]
    return sorted(of_command, key=lambda declared: PANELS.index(declared.panel))


def with_options(
    declaring: Sequence[type], command: str | None = None, without: Sequence[str] = ()
) -> Callable[[F], F]:
    """Decorator for a function with `**options`: adds a keyword for each option.

    The signature that help() and notebooks show lists every keyword with its type and default; a
    static type checker sees `**options`.  A call with another keyword raises TypeError.  In the
    docstring, one line for each option replaces `{options}`.

    Args:
        declaring: the dataclasses that declare the options.
        command: the command whose options are added; None: all options.
        without: names of options that are not added.
    """
    declared = {
        name: declared_option
        for dataclass_type in declaring
        for name, declared_option in options_of(dataclass_type).items()
        if (command is None or command in declared_option.commands) and name not in without
    }

    def decorate(function: F) -> F:
        original = inspect.signature(function)
        parameters = [p for p in original.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters += [
            inspect.Parameter(
                name,
                keyword,
                default=declared_option.default,
                annotation=declared_option.annotation,
            )
            for name, declared_option in declared.items()
            if name not in original.parameters
        ]
        signature = original.replace(parameters=parameters)

        @wraps(function)
        def checked(*positional: Any, **keywords: Any) -> Any:
            try:
                signature.bind(*positional, **keywords)
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            return function(*positional, **keywords)

        descriptions = "\n        ".join(
            _described(declared_option)
            for name, declared_option in declared.items()
            if name not in original.parameters
        )
        checked.__doc__ = (function.__doc__ or "").replace("{options}", descriptions)
        checked.__signature__ = signature  # type: ignore[attr-defined]
        return cast(F, checked)

    return decorate


def _described(declared: Option) -> str:
    """The line of a docstring that describes one keyword."""
    default = "" if declared.about else declared.default_text
    text = declared.about or declared.help
    if not text[1].isupper():
        text = text[0].lower() + text[1:]
    text = text.rstrip(".") + (f"; default {default}" if default else "")
    return f"{declared.name}: {text}."


def split_by_class(keywords: Mapping[str, Any], *declaring: type) -> list[dict[str, Any]]:
    """Split keywords into one dictionary for each dataclass, by the names of its options."""
    return [
        {name: value for name, value in keywords.items() if name in options_of(dataclass_type)}
        for dataclass_type in declaring
    ]
