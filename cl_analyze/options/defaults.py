"""Defaults of options from a project's file: [defaults], and [defaults.COMMAND] for one command.

Keys are the flags without dashes in front.  A value is checked as if the user had typed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cl_analyze.errors import ConfigError
from cl_analyze.options import DECLARING
from cl_analyze.options.commands import EVERY
from cl_analyze.options.declaration import Option, options_for, options_of
from cl_analyze.project_file import DEFAULTS, ProjectFile
from cl_analyze.quoting import described, nearest, quoted


@dataclass(frozen=True)
class Default:
    """A default from the file for one option of one command.

    Attributes:
        option: the option.
        value: the value in the form in which the command-line parser hands over a typed one.
        table: name of the table that holds it: defaults, or defaults.report.
    """

    option: Option
    value: Any
    table: str


def defaults_for(command: str, file: ProjectFile) -> list[Default]:
    """The defaults of a command; those of its own table win over the general ones.

    The whole file is checked, with the tables of the other commands.

    Raises:
        ConfigError: a key is no option, or none of the table's command; an option must not have a
            default in a file; or a value is not allowed.  Messages name the file and the key.
    """
    content = file.content.get(DEFAULTS, {})
    table = file.key(DEFAULTS)
    if not isinstance(content, dict):
        raise ConfigError(
            f"{file.path}: {table} must be a table, [{table}], found {described(content)}"
        )
    found: dict[str, Default] = {}
    own: dict[str, Default] = {}
    for key, value in content.items():
        if key in EVERY:
            of_table = dict(_of_command(key, value, file))
            own = of_table if key == command else own
            continue
        options = [option for option in _options() if _key(option) == key]
        if not options:
            raise ConfigError(_unknown(key, value, file))
        for option in options:
            checked = _checked(option, value, f"{file.path}: {table}.{key}")
            if command in option.commands:
                found[option.name] = Default(option, checked, table)
    return list((found | own).values())


def _of_command(command: str, values: Any, file: ProjectFile) -> Iterator[tuple[str, Default]]:
    """The defaults in the table of a command, by name of the option."""
    table = file.key(DEFAULTS, command)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{file.path}: {table} must be a table, [{table}], found {described(values)}"
        )
    options = {_key(option): option for option in options_for(command, DECLARING)}
    for key, value in values.items():
        if key not in options:
            raise ConfigError(_not_of_command(key, command, options, file))
        option = options[key]
        checked = _checked(option, value, f"{file.path}: {table}.{key}")
        yield option.name, Default(option, checked, table)


def _options() -> list[Option]:
    return [option for declaring in DECLARING for option in options_of(declaring).values()]


def _key(option: Option) -> str:
    """The key of an option: its flag without dashes in front."""
    return option.flag.removeprefix("--")


def _unknown(key: str, value: Any, file: ProjectFile) -> str:
    table = file.key(DEFAULTS)
    if isinstance(value, dict):
        return (
            f"{file.path}: there is no command {quoted(key, 60)} for the table "
            f"[{table}.{quoted(key, 60)[1:-1]}]{nearest(key, EVERY)}"
        )
    suggestion = nearest(key.replace("_", "-"), map(_key, _options()))
    return f"{file.path}: unknown key {quoted(key, 60)} in [{table}]{suggestion}" + (
        "" if suggestion else "; keys are options without the dashes in front, such as tau"
    )


def _not_of_command(
    key: str, command: str, options: Mapping[str, Option], file: ProjectFile
) -> str:
    """The message on a key that a command does not take: who takes it, or the nearest key."""
    message = f"{file.path}: unknown key {quoted(key, 60)} in [{file.key(DEFAULTS, command)}]"
    others = {name for option in _options() if _key(option) == key for name in option.commands}
    if others:
        return f"{message}: it is an option of {', '.join(n for n in EVERY if n in others)}"
    return message + nearest(key.replace("_", "-"), options)


def _checked(option: Option, value: Any, key: str) -> Any:
    """A value in the form of the command-line parser, after the checks of a typed one."""
    if option.only_typed:
        raise ConfigError(f"{key} can only be typed ({option.flag}): {option.only_typed}")
    typed = option.kind.from_file(key, value)
    texts = typed if isinstance(typed, list) else [typed]
    if any(isinstance(text, str) and "\0" in text for text in texts):
        raise ConfigError(f"{key} holds a NUL character, which no command line can")
    if isinstance(typed, list) and "" in typed:
        raise ConfigError(f"{key} holds an empty text")
    parsed = option.kind.parse(key, typed)
    option.kind.check(key, parsed)
    return typed
