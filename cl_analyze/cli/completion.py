"""Completion in bash, zsh and fish: commands, options, values, files, and arrays in files.

The scripts of the shells are Typer's (`cl-analyze --install-completion`).  They ask with the
variable `_CL_ANALYZE_COMPLETE`; the answers are given here, from the declared options, without
Typer, which knows neither lists of values nor PATH::KEY.  NumPy is not imported.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cl_analyze.cli.commands import COMMANDS
from cl_analyze.cli.help import HELP_OPTIONS, ROOT_OPTIONS
from cl_analyze.options import DECLARING
from cl_analyze.options.declaration import Option, options_for
from cl_analyze.options.kinds import Flag

SHELLS = ("complete_bash", "complete_zsh", "complete_fish")
"""Values of the variable that are answered here."""
_LONGEST_HEADER = 1 << 24
_HARMLESS = re.compile(r"[\w.,/+@%-]+\Z")


@dataclass(frozen=True)
class Answer:
    """What can stand at the cursor.

    Attributes:
        kept: beginning of the word that stays as it is: `emb.npz::`, `--format=`.
        items: what can stand behind it, with descriptions.
        takes_files: whether names of files can stand there too.
    """

    kept: str = ""
    items: Mapping[str, str] = field(default_factory=dict)
    takes_files: bool = False


def complete(words: Sequence[str], word: str) -> Answer:
    """What can stand in place of a word that is being typed.

    Args:
        words: the words before it, without the program's name.
        word: its beginning.

    >>> complete([], "tol").items
    {'tolerance': 'How similar embeddings of one class are'}
    >>> list(complete(["report", "e.npy", "--format", "png"], "s").items)
    ['svg']
    >>> complete(["report"], "--format=p")
    Answer(kept='--format=', items={'png': '', 'pdf': ''}, takes_files=False)
    """
    names = {command.name: command.summary for command in COMMANDS}
    command = next((each for each in words if not each.startswith("-")), "")
    if not command:
        items = _by_flag(ROOT_OPTIONS) if word.startswith("-") else names
        return Answer("", _beginning(word, items))
    if command not in names:
        return Answer(takes_files=True)
    options = {flag: each for each in options_for(command, DECLARING) for flag in each.flags}
    behind = list(words[words.index(command) + 1 :])
    if "--" in behind:
        return _file(word)
    flag, equals, value = word.partition("=")
    if equals and flag in options:
        answer = _value(options[flag], value)
        return Answer(f"{flag}=" + answer.kept, answer.items, answer.takes_files)
    if word.startswith("-") and word != "-":
        return Answer("", _beginning(word, _flags(options.values(), word)))
    option = _awaiting(behind, options)
    if option is None:
        return _file(word)
    answer = _value(option, word)
    if option.kind.is_list and behind[-1] not in option.flags:  # or a file after the list
        in_file = _file(word)
        return Answer(answer.kept or in_file.kept, {**answer.items, **in_file.items}, True)
    return answer


def _by_flag(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Descriptions by the long spelling: `-h, --help` -> `--help`."""
    return {spelling.rpartition(", ")[2]: text for spelling, text in rows}


def _beginning(word: str, items: Mapping[str, str]) -> dict[str, str]:
    return {item: text for item, text in items.items() if item.startswith(word)}


def _flags(options: Iterable[Option], word: str) -> dict[str, str]:
    """Spellings of options; those that turn a flag off where `--no-` is typed."""
    found: dict[str, str] = {}
    for option in options:
        found.update(dict.fromkeys(option.flags, option.help))
        if isinstance(option.kind, Flag) and word.startswith("--no-"):
            found[option.off_flag] = f"Not: {option.help[0].lower()}{option.help[1:]}"
    return {**found, **_by_flag(HELP_OPTIONS)}


def _awaiting(words: Sequence[str], options: Mapping[str, Option]) -> Option | None:
    """The option that takes the next word as a value, if one does."""
    for back, word in enumerate(reversed(words)):
        option = options.get(word)
        if option is not None:
            takes = back == 0 or option.kind.is_list
            return option if takes and not isinstance(option.kind, Flag) else None
        if word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            return None
        earlier = words[: len(words) - back]
        of_list = next((options[w] for w in reversed(earlier) if w in options), None)
        if of_list is None or not (of_list.kind.is_list and of_list.kind.is_value(word)):
            return None
    return None


def _value(option: Option, word: str) -> Answer:
    """Values of an option: words of a set, else files where it takes paths."""
    words = option.kind.words
    if words:
        typed, comma, last = word.rpartition(",")
        kept = typed + comma if option.kind.is_list else ""
        return Answer(kept, _beginning(last if kept else word, dict.fromkeys(words, "")))
    takes_paths = option.kind.metavar in ("PATH", "FILE", "DIR")
    return _file(word) if takes_paths else Answer()


def _file(word: str) -> Answer:
    """A file, or behind `::` an array or a column of the file."""
    path, colons, key = word.partition("::")
    if not colons:
        return Answer(takes_files=True)
    names = keys_of(Path(os.path.expanduser(path)))  # noqa: PTH111 - no error
    # the shell puts a name into the command line as it is: it must not run
    keys = {name: "" for name in names if _HARMLESS.match(name)}
    return Answer(path + colons, _beginning(key, keys))


def keys_of(path: Path) -> list[str]:
    """Names of the arrays of an .npz or .safetensors file, or of the columns of a .csv file."""
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(size, _LONGEST_HEADER)))
                return [str(name) for name in header if name != "__metadata__"]
        if path.suffix in (".csv", ".tsv"):
            with path.open(encoding="utf-8-sig", newline="") as file:
                first = file.readline(_LONGEST_HEADER)
            return next(csv.reader([first], delimiter="\t" if path.suffix == ".tsv" else ","), [])
    except (OSError, ValueError, zipfile.BadZipFile, csv.Error, TypeError, RecursionError):
        return []  # half a line names half a file
    return []


def answer(shell: str, environment: Mapping[str, str]) -> tuple[str, int]:
    """What the script of a shell reads, and the exit code, for its line in the environment."""
    if shell == "complete_bash":
        return _for_bash(environment), 0
    line = environment.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(line)[1:]
    word = words.pop() if words and not line[-1:].isspace() else ""
    found = complete(words, word)
    if shell == "complete_zsh":
        return _for_zsh(found), 0
    items = [f"{found.kept}{item}\t{text}".rstrip("\t") for item, text in found.items.items()]
    if environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        # fish takes either these or files
        return "", int(found.takes_files and not found.items)
    return "\n".join(items), 0


def _for_bash(environment: Mapping[str, str]) -> str:
    """Lines of COMPREPLY.  Where there are none, bash completes files.

    Bash has split the words at `=` and `:`; it replaces what stands behind the last of them.
    """
    words = _split(environment.get("COMP_WORDS", ""))
    try:
        at = int(environment.get("COMP_CWORD", "0"))
    except ValueError:  # not set by bash
        return ""
    words, last = words[:at], "".join(words[at : at + 1])
    joined: list[str] = []
    is_open = False
    for word in [*words[1:], last]:
        is_break = bool(word) and not word.strip("=:")
        if joined and word and (is_break or is_open):
            joined[-1] += word
        else:
            joined.append(word)
        is_open = is_break
    word = joined[-1] if joined else ""
    found = complete(joined[:-1], word)
    n_left = len(word) - (len(last) if last.strip("=:") else 0)
    return "\n".join(f"{found.kept}{item}"[n_left:] for item in found.items)


def _for_zsh(found: Answer) -> str:
    """A command of zsh, on one line: the script evaluates it."""
    commands = []
    if found.kept:
        commands.append(f"compset -p {len(found.kept)}")
    if found.items:
        described = " ".join(
            shlex.quote(item.replace(":", "\\:") + (f":{text}" if text else ""))
            for item, text in found.items.items()
        )
        commands.append(f"local -a found; found=({described}); _describe -V value found")
    if found.takes_files:
        commands.append("_files")
    return "; ".join(commands)


def _split(line: str) -> list[str]:
    """Words of half a command line, without their quotes."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(iter(lexer))
    except ValueError:  # a quote is open
        words.append(lexer.token)
    return words
