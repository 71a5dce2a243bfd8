"""Blocks of the documentation that show a command and what it prints.

A block begins with ```` ```console ````.  Its first line is `$ cl-analyze ...`; the other lines are
what the command writes to standard output.  A line `...` stands for one or more lines that the
page leaves out.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby

from pages import ROOT

PROMPT = "$ cl-analyze "
_BLOCK = re.compile(r"(^```console\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)
_LEFT_OUT = "..."


def output_of(command: str) -> list[str]:
    """Lines that a command prints in an empty folder, as on a terminal of 80 columns.

    Args:
        command: the line of the page; names in `sample_data/` are those of the repository.
    """
    arguments: list[str] = []
    for word in shlex.split(command.removeprefix(PROMPT)):
        files = sorted(map(str, ROOT.glob(word))) if word.startswith("sample_data/") else []
        arguments += files or [word]
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [sys.executable, "-m", "cl_analyze", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "COLUMNS": "80", "PYTHONUTF8": "1"},
            check=False,
        )
    if result.returncode not in (0, 1):  # 1: a check failed
        raise SystemExit(f"{command}\n{result.stderr}")
    return result.stdout.splitlines()


def refreshed(shown: list[str], printed: list[str]) -> list[str]:
    """What a page shows now of a command's output.

    Where the page leaves lines out, it keeps as many lines at the start and at the end as before.
    Of the lines between, it keeps those whose first cell is still printed.

    >>> refreshed(["a  1", "...", "c  3", "...", "e  5"], ["a  2", "b  2", "c  4", "d  4", "e  6"])
    ['a  2', '...', 'c  4', '...', 'e  6']
    """
    if _LEFT_OUT not in shown:
        return printed
    if _shows(shown, printed):
        return shown
    parts = [list(part) for left_out, part in groupby(shown, _LEFT_OUT.__eq__) if not left_out]
    n_first = shown.index(_LEFT_OUT)
    n_last = shown[::-1].index(_LEFT_OUT)
    end = len(printed) - n_last
    kept = set(range(n_first)) | set(range(end, len(printed)))
    position = n_first
    for line in (line for part in parts[bool(n_first) : -1 if n_last else None] for line in part):
        alike = [i for i in range(position, end) if _first_cell(printed[i]) == _first_cell(line)]
        if alike:
            best = max(alike, key=lambda i: difflib.SequenceMatcher(None, printed[i], line).ratio())
            kept.add(best)
            position = best + 1
    lines: list[str] = []
    for i, line in enumerate(printed):
        if i in kept:
            lines.append(line)
        elif lines[-1:] != [_LEFT_OUT]:
            lines.append(_LEFT_OUT)
    return lines


def _shows(shown: list[str], printed: list[str]) -> bool:
    """Whether the lines are what is printed, with one or more lines for each `...`."""
    parts = "".join(f"{line}\n" for line in shown)
    pattern = "(?:.*\n)+?".join(map(re.escape, re.split(r"^\.\.\.\n", parts, flags=re.MULTILINE)))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def _first_cell(line: str) -> str:
    return re.split(r"  +", line.strip())[0]


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """The command and the shown lines of each block of a page."""
    for match in _BLOCK.finditer(text):
        first, *shown = match[2].splitlines()
        if not first.startswith(PROMPT):
            raise SystemExit(f"a console block begins with {PROMPT!r}, not with {first!r}")
        yield first, shown


def with_output(text: str) -> str:
    """A page whose console blocks show what their commands print now."""
    new = iter(
        [[first, *refreshed(shown, output_of(first))] for first, shown in blocks(text)]
    )  # a block each, in the order of the page
    return _BLOCK.sub(lambda match: match[1] + "\n".join(next(new)) + "\n" + match[3], text)
