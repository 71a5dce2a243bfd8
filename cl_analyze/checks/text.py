"""Checks as lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cl_analyze.checks.judge import Check, counts_text
from cl_analyze.lines import WIDTH, Line, Style, plain, wrapped

_STYLES: dict[str, Style] = {"pass": "good", "warn": "warn", "fail": "bad", "inconclusive": "warn"}
_COLUMN = 12
"""Columns of a verdict."""


def check_lines(checks: Sequence[Check], verdict: str, width: int = WIDTH) -> list[Line]:
    """Checks by checkpoint, each with its reason below; the last line is the overall verdict."""
    lines: list[Line] = []
    source = None
    indent = " " * (_COLUMN + 4)
    for check in checks:
        if check.record.source != source:
            source = check.record.source
            lines += [*[Line()] * bool(lines), Line.of(source, "bold")]
        first, *others = wrapped(check.name, width, indent, indent)
        start = Line.of("  ").then(f"{check.verdict:<{_COLUMN}}", _STYLES.get(check.verdict, ""))
        lines += [start.then(f"  {first.removeprefix(indent)}"), *plain(others)]
        lines += plain(wrapped(check.text, width, indent, indent))
    overall = Line.of(verdict, _STYLES.get(verdict, "")).then(f": {counts_text(checks)}")
    return [*lines, Line(), overall]
