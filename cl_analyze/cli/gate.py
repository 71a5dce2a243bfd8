"""`cl-analyze check` from its parsed options: judge, write, print, and exit with the verdict."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl_analyze.cli.run import refuse_empty, requests, run_options
from cl_analyze.cli.terminal import ReaderGoneError, Talk, check_lines, write_text
from cl_analyze.errors import CheckFailedError, ConfigError

_FILES = ("rules", "baseline", "save_baseline", "junit", "markdown")


def run_gate(given: Mapping[str, Any]) -> None:
    """Run the checks; what is asked for is written before anything is printed.

    Args:
        given: the command function's parameters by name.

    Raises:
        AnalysisError: what cannot be judged.
        CheckFailedError: a check failed.
    """
    from cl_analyze.analysis import check_counts
    from cl_analyze.checks import load_rules, run_checks
    from cl_analyze.checks.baseline import load_baseline
    from cl_analyze.checks.github import on_github, summary_path, workflow_commands, write_summary
    from cl_analyze.checks.junit import junit
    from cl_analyze.checks.markdown import markdown
    from cl_analyze.checks.rules import find_rules
    from cl_analyze.output import replace_file
    from cl_analyze.preparation import printable
    from cl_analyze.tables import to_json

    for name in (*_FILES, "resume"):
        refuse_empty(name.replace("_", "-"), given[name])
    check_counts(given["seed"], given["anchors"])
    paths = {name: None if given[name] is None else Path(given[name]) for name in _FILES}
    rules = load_rules(find_rules(paths["rules"], Path()))
    baseline = None if paths["baseline"] is None else load_baseline(paths["baseline"])
    talk = Talk(given["quiet"], given["verbose"])
    found = run_checks(
        requests(given),
        rules,
        run_options(given),
        baseline,
        paths["save_baseline"],
        given["seed"],
        given["anchors"],
        listener=talk,
        arguments=[printable(argument) for argument in sys.argv[1:]],
    )
    talk.close()
    document = found.report.document
    files = []
    if paths["junit"] is not None:
        files.append(replace_file(paths["junit"], junit(found.checks, document.created)))
    if paths["markdown"] is not None:
        files.append(replace_file(paths["markdown"], markdown(found.checks).encode()))
    if paths["save_baseline"] is not None:
        files += [paths["save_baseline"], paths["save_baseline"].with_suffix(".npz")]
    summary = summary_path()
    if summary is not None:
        try:
            write_summary(found.checks, summary)
        except OSError as error:
            talk.warn(f"the step's summary cannot be written: {error.strerror or error}")
    if on_github(os.environ):
        for line in workflow_commands(found.checks):
            talk.command(line)
    try:
        if given["as_json"]:
            write_text(to_json(document.to_dict(tuple(map(str, files)))))
        else:
            write_text("\n".join(check_lines(found.checks, found.verdict)) + "\n")
    except (ReaderGoneError, ConfigError):
        if found.verdict != "fail":
            raise
    if found.verdict == "fail":  # a reader that is gone does not make a failure pass
        raise CheckFailedError
