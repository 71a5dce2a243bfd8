"""Defaults of options from a project's file, as if they were typed.

The file is read after the parser: `--help` and errors in what was typed need no file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cl_analyze.compatible import add_note
from cl_analyze.errors import ConfigError
from cl_analyze.options.defaults import Default, defaults_for
from cl_analyze.options.kinds import Companions, Flag, Place
from cl_analyze.project_file import find_project_file, read_project_file
from cl_analyze.quoting import printable, without_secrets

NO_FILE = "none"
"""What `--defaults` takes in place of a file."""
_WITHOUT = f"--defaults {NO_FILE} no defaults are read from a file"


@dataclass(frozen=True)
class FromFile:
    """What a project's file adds to a command line.

    Attributes:
        path: the file as messages show it.
        defaults: the defaults that are in effect: of options that were not typed.
    """

    path: str
    defaults: tuple[Default, ...]

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the command that the file sets."""
        return {default.option.name: default.value for default in self.defaults}

    @property
    def tokens(self) -> list[str]:
        """The defaults as tokens of the command line."""
        return [token for default in self.defaults for token in _tokens(default)]

    @property
    def record(self) -> dict[str, Any]:
        """What the document says of them; empty without defaults."""
        return {"file": shown(self.path), "arguments": list(map(shown, self.tokens))}

    def lines(self) -> list[str]:
        """What --verbose says of them: a line for each table of the file."""
        tables: dict[str, list[str]] = {}
        for default in self.defaults:
            tables.setdefault(default.table, []).extend(_tokens(default))
        return [
            f"from [{table}] of {self.path}: {' '.join(tokens)}" for table, tokens in tables.items()
        ]

    def note(self, message: str) -> str:
        """Which options that an error message names are set by the file; empty where none is."""
        named = [default.option.flag for default in self.defaults if _is_named(default, message)]
        if not named:
            return ""
        verb = "is" if len(named) == 1 else "are"
        return f"{', '.join(named)} {verb} set in {self.path}; with {_WITHOUT}"


def shown(text: str) -> str:
    """A token for the document, without control characters and passwords."""
    return without_secrets(printable(text))


def from_project(command: str, typed_file: str | None, typed: Sequence[str]) -> FromFile | None:
    """What the project's file adds to a command line; None: there is no such file, or no default.

    Args:
        command: name of the command.
        typed_file: the value of `--defaults`; None: the file of the current folder, if any.
        typed: names of the options that were typed, which the file does not change.

    Raises:
        ConfigError: the file cannot be used; see `defaults_for`.
    """
    if typed_file == NO_FILE:
        return None
    if typed_file == "":
        raise ConfigError("--defaults is empty; is a variable unset?")
    try:
        path = Path(typed_file) if typed_file is not None else find_project_file(Path())
        if path is None:
            return None
        defaults = [
            replace(default, value=_from_folder(path.parent, default))
            for default in defaults_for(command, read_project_file(path))
            if default.option.name not in typed
        ]
    except ConfigError as error:
        if typed_file is None:
            add_note(error, f"with {_WITHOUT}")
        raise
    return FromFile(str(path), tuple(defaults)) if defaults else None


def _from_folder(folder: Path, default: Default) -> Any:
    """The value with its paths, which are relative to the folder of the file."""
    if folder == Path() or not isinstance(default.option.kind, Place | Companions):
        return default.value
    if isinstance(default.value, list):
        return [_path_from(folder, text) for text in default.value]
    return _path_from(folder, default.value)


def _path_from(folder: Path, text: str) -> str:
    from cl_analyze.data.opening import NO_LABELS
    from cl_analyze.data.remote import is_url
    from cl_analyze.data.spec import STDIN

    is_word = text in (NO_LABELS, STDIN) or is_url(text)
    return text if is_word else str(folder / text)


def _tokens(default: Default) -> list[str]:
    """A default as the user would type it, in a form that takes no token behind it."""
    flag, value = default.option.flag, default.value
    if isinstance(default.option.kind, Flag):
        return [flag if value else default.option.off_flag]
    if not isinstance(value, list):
        return [f"{flag}={getattr(value, 'value', value)}"]
    if default.option.kind.is_list:
        return [f"{flag}={','.join(value)}"]
    return [f"{flag}={text}" for text in value]


def _is_named(default: Default, message: str) -> bool:
    """Whether a message names the option or one of its paths."""
    if re.search(rf"{re.escape(default.option.flag)}(?![\w-])", message):
        return True
    is_path = isinstance(default.option.kind, Place | Companions)
    texts = default.value if isinstance(default.value, list) else [default.value]
    return is_path and any(shown(text).partition("::")[0] in message for text in texts)
