"""Verdicts as annotations and as the summary of a step of GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cl_analyze.checks.judge import Check, ranked
from cl_analyze.checks.markdown import markdown
from cl_analyze.quoting import printable, without_secrets

MOST_ANNOTATIONS = 10
"""GitHub shows ten annotations of each kind for a step."""
SUMMARY_BYTES = 1 << 20
"""GitHub drops a larger summary of a step."""
_LEVELS = {"fail": "error", "warn": "warning", "inconclusive": "warning"}


def on_github(environment: Mapping[str, str]) -> bool:
    """Whether this runs as a step of GitHub Actions."""
    return environment.get("GITHUB_ACTIONS") == "true"


def workflow_commands(checks: Sequence[Check]) -> list[str]:
    """Workflow commands for checks that need attention, failures first, ten at most."""
    return [
        f"::{_LEVELS[check.verdict]} title={_property(f'cl-analyze: {check.name}')}::"
        f"{_data(f'{check.record.source}: {check.why}')}"
        for check in ranked(checks)
        if check.verdict in _LEVELS
    ][:MOST_ANNOTATIONS]


def error_command(message: str) -> str:
    """The workflow command for checks that could not be judged."""
    return f"::error title=cl-analyze could not judge::{_data(message)}"


def write_summary(checks: Sequence[Check], path: Path) -> None:
    """Append the table of checks to the step's summary, within the size limit of GitHub.

    Raises:
        OSError: the file cannot be written.
    """
    before = path.stat().st_size if path.exists() else 0
    room = SUMMARY_BYTES - before - 1
    text = markdown(checks, room)
    if len(text.encode()) <= room:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)


def summary_path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file of the step's summary; None outside GitHub Actions."""
    name = environment.get("GITHUB_STEP_SUMMARY")
    return Path(name) if name and on_github(environment) else None


def _data(text: str) -> str:
    """The message of a workflow command, without line breaks: they would end the command."""
    return printable(without_secrets(text)).replace("%", "%25")


def _property(text: str) -> str:
    """A property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
