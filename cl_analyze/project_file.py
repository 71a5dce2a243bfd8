"""The file of a project: rules of `check` and defaults of options, in TOML.

It is cl-analyze.toml, or the table [tool.cl-analyze] of pyproject.toml.  All readers of the file
find and read it here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_analyze.errors import ConfigError
from cl_analyze.quoting import nearest, quoted
from cl_analyze.small_files import read_bytes

MOST_BYTES = 4 << 20
OWN_FILE, PROJECT_FILE = "cl-analyze.toml", "pyproject.toml"
TOOL = "cl-analyze"
"""Name of the table under [tool] in pyproject.toml."""
_MISSPELT = "cl_analyze"
RULES, DEFAULTS = "rule", "defaults"
"""The keys that the file may have."""
_DEEP_KEY = re.compile(r"(?<![\w\"'.-])(?:[\w\"'-]+[ \t]*\.[ \t]*){100}")
_QUOTED_TEXT = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")


@dataclass(frozen=True)
class ProjectFile:
    """The content of the file.

    Attributes:
        path: the file.
        content: its keys and values; of a pyproject.toml those of [tool.cl-analyze].
        table: name of the table that holds them; empty: the keys stand at the top of the file.
    """

    path: Path
    content: Mapping[str, Any]
    table: str = ""

    def key(self, *parts: str) -> str:
        """The full name of a key, as messages show it: tool.cl-analyze.defaults.tau."""
        return ".".join([*([self.table] if self.table else []), *parts])


def find_project_file(folder: Path) -> Path | None:
    """The file of a folder: cl-analyze.toml, else a pyproject.toml with [tool.cl-analyze].

    Folders above are not searched.

    Raises:
        ConfigError: a pyproject.toml cannot be read, or names cl-analyze and is not valid TOML, or
            its table is misspelt.
    """
    own_file, project = folder / OWN_FILE, folder / PROJECT_FILE
    if _is_there(own_file):
        return own_file
    if not _is_there(project):
        return None
    content = _bytes(project)
    # a file of other programs may be broken: that is not for this one to say
    if not any(name in content for name in (TOOL.encode(), f"tool.{_MISSPELT}".encode())):
        return None
    tables = _tool_tables(_parsed(project, content))
    if _MISSPELT in tables and TOOL not in tables:
        raise ConfigError(f"{project}: [tool.{_MISSPELT}] is not read: write [tool.{TOOL}]")
    return project if TOOL in tables else None


def read_project_file(path: Path) -> ProjectFile:
    """Read the file and check its keys, not their values.

    Raises:
        ConfigError: the file cannot be read, is not valid TOML, has an unknown key, or is a
            pyproject.toml without a table [tool.cl-analyze].
    """
    content: Any = _parsed(path, _bytes(path))
    table = ""
    if path.name == PROJECT_FILE:
        table, content = f"tool.{TOOL}", _tool_tables(content).get(TOOL)
        if not isinstance(content, dict):
            raise ConfigError(f"{path} has no table [{table}] with rules or defaults")
    for key in content:
        if key not in (RULES, DEFAULTS):
            raise ConfigError(
                f"{path}: unknown key {quoted(key, 60)} in {table or 'the file'}"
                f"{nearest(key, [RULES, DEFAULTS])}; rules are [[rule]] tables, and defaults of "
                f"options stand in [{f'{table}.' if table else ''}{DEFAULTS}]"
            )
    return ProjectFile(path, content, table)


def _is_there(path: Path) -> bool:
    """Whether the path exists; in a folder that this user may not search, nothing does."""
    try:
        return path.exists()
    except OSError:
        return False


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    from cl_analyze.compatible import tomllib

    try:
        text = content.decode("utf-8-sig")
        if _DEEP_KEY.search(_QUOTED_TEXT.sub("_", text)):
            raise ValueError("a key has more than 100 parts between dots")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, integers of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _tool_tables(content: Mapping[str, Any]) -> dict[str, Any]:
    tool = content.get("tool", {})
    return tool if isinstance(tool, dict) else {}
