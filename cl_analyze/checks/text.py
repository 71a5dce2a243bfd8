"""Checks as lines of text, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from cl_analyze.checks.judge import Check, counts_text
from cl_analyze.report.text import wrapped


def check_lines(checks: Sequence[Check], verdict: str) -> list[str]:
    """Checks by checkpoint, each with its reason below; the last line is the overall verdict."""
    lines: list[str] = []
    source = None
    indent = " " * 16
    for check in checks:
        if check.record.source != source:
            source = check.record.source
            lines += [*[""] * bool(lines), source]
        lines += wrapped(f"{check.verdict:<12}  {check.name}", 78, "  ", indent)
        lines += wrapped(check.text, 78, indent, indent)
    return [*lines, "", f"{verdict}: {counts_text(checks)}"]
