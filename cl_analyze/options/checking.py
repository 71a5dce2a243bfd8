"""Files that a check reads and writes."""

from __future__ import annotations

from dataclasses import dataclass

from cl_analyze.options.declaration import INPUTS, OUTPUT, Checked, option
from cl_analyze.options.kinds import Place


@dataclass(frozen=True)
class CheckFiles(Checked):
    """Files that a check reads and writes."""

    rules: str | None = option(
        None,
        Place("FILE"),
        INPUTS,
        "--rules",
        "File with the rules",
        ("check",),
        unset="cl-analyze.toml, or [tool.cl-analyze] in pyproject.toml",
        common_in=("check",),
    )
    baseline: str | None = option(
        None,
        Place("FILE"),
        INPUTS,
        "--baseline",
        "Numbers of an earlier run, from --save-baseline, that rules compare with",
        ("check",),
        common_in=("check",),
    )
    save_baseline: str | None = option(
        None,
        Place("FILE"),
        OUTPUT,
        "--save-baseline",
        "Save the numbers of this run as a baseline: FILE.json, with FILE.npz beside it",
        ("check",),
        only_typed="every check would replace the baseline",
        common_in=("check",),
    )
    junit: str | None = option(
        None,
        Place("FILE"),
        OUTPUT,
        "--junit",
        "Write the verdicts to FILE as JUnit XML",
        ("check",),
        common_in=("check",),
    )
    markdown: str | None = option(
        None,
        Place("FILE"),
        OUTPUT,
        "--markdown",
        "Write the verdicts to FILE as Markdown",
        ("check",),
        common_in=("check",),
    )
