"""Verdicts as Markdown, for a merge request or a step's summary."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from cl_analyze.checks.judge import Check, counts_text, overall, ranked
from cl_analyze.quoting import printable, without_secrets
from cl_analyze.results.tables import number_text

_MARKS = {"pass": "✅", "fail": "❌", "warn": "⚠️", "inconclusive": "❔", "skipped": "⏭️"}
_LINKS = re.compile(r"@(?=\w)|(?<=www)\.|:(?=//)")
"""Characters that turn plain text into a mention or a link."""
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&#])")


def markdown(checks: Sequence[Check], limit: int | None = None) -> str:
    """The overall verdict, then a table of the checks, the most urgent first.

    Args:
        checks: the checks.
        limit: largest size of the text in bytes; a last line counts the rows that do not fit.
    """
    verdict = overall(checks)
    head = [
        f"## {_MARKS[verdict]} cl-analyze check: {verdict}",
        "",
        f"{counts_text(checks)}.",
        "",
        "| verdict | checkpoint | number | value | rule | why |",
        "|---|---|---|---:|---|---|",
    ]
    lines = [_row(check) for check in ranked(checks)]
    text = "\n".join([*head, *lines]) + "\n"
    if limit is None or len(text.encode()) <= limit:
        return text
    room = limit - len("\n".join(head).encode()) - 100  # bytes for the last line
    sizes = itertools.accumulate(len(line.encode()) + 1 for line in lines)
    n_kept = sum(size <= room for size in sizes)
    last = f"{len(lines) - n_kept} more checks do not fit here."
    return "\n".join([*head, *lines[:n_kept], "", last]) + "\n"


def markdown_error(message: str) -> str:
    """The reason why the checks could not be judged."""
    return f"## 🚫 cl-analyze check: could not judge\n\n{escaped(message)}\n"


def _row(check: Check) -> str:
    record = check.record
    value = number_text(float(record.value or 0.0), record.total_error)
    error = f" {record.error_text}" if record.error_text else ""
    cells = (
        f"{_MARKS[check.verdict]} {check.verdict}",
        escaped(record.source),
        escaped(record.full_name),
        escaped(value + error),
        escaped(check.rule_text),
        escaped(check.why),
    )
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    r"""Text that Markdown shows unchanged, in one cell of a table.

    >>> escaped("a|b*c")
    'a\\|b\\*c'
    """
    plain = printable(without_secrets(" ".join(text.split())))
    return _LINKS.sub(lambda m: f"&#{ord(m[0])};", _SPECIAL.sub(r"\\\1", plain))
