"""`cl-analyze check` from its parsed options: judge, write, print, and exit with the verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_analyze.cli.run import requests, shown_arguments
from cl_analyze.cli.terminal import ReaderGoneError, Talk, write_lines, write_text
from cl_analyze.errors import CheckFailedError, ConfigError, error_text
from cl_analyze.options import CheckFiles, MetricOptions, Request, RunOptions
from cl_analyze.options.declaration import from_command_line, options_of

if TYPE_CHECKING:
    from cl_analyze.checks import Checked


def _inputs(given: Mapping[str, Any]) -> Iterator[str]:
    """Every file that is measured, or belongs to one."""
    for name in ("embeddings", *options_of(Request)):
        named = given.get(name)
        yield from [named] if isinstance(named, str) else named or ()


def _check_outputs(given: Mapping[str, Any], paths: Mapping[str, Path | None]) -> None:
    """Whether what is to be written has a place of its own.

    Raises:
        ConfigError: it would replace an input or another output, or its folder is missing.
    """
    from cl_analyze.checks.rules import OWN_FILE, PROJECT_FILE
    from cl_analyze.data.opening import Spec, real_path

    read: dict[Path, str] = {}
    for named in _inputs(given):
        read[real_path(Spec.parse(named).path)] = named
    for rules in (paths["rules"], Path(OWN_FILE), Path(PROJECT_FILE)):
        if rules is not None:
            read[real_path(rules)] = str(rules)
    written = {name: paths[name] for name in ("junit", "markdown", "save_baseline")}
    saved = written["save_baseline"]
    written["save_baseline's arrays"] = None if saved is None else saved.with_suffix(".npz")
    for name, path in written.items():
        if path is None:
            continue
        place, option = real_path(path), "--" + name.replace("_", "-")
        if name.startswith("save_baseline") and path.exists() and not path.is_file():
            raise ConfigError(f"{option}: {path} is there and is no regular file")
        if place in read:
            raise ConfigError(f"{option} would replace {path}, which is read or written as well")
        if not place.parent.is_dir():
            raise ConfigError(f"{option}: there is no folder {path.parent}: make it first")
        if saved is None or path != saved or path.suffix != ".npz":
            read[place] = str(path)


def _checked(
    given: Mapping[str, Any],
    paths: Mapping[str, Path | None],
    run: RunOptions,
    options: MetricOptions,
    talk: Talk,
) -> Checked:
    """Read rules and baseline, measure, judge."""
    from cl_analyze.checks import CheckOptions, load_rules, run_checks
    from cl_analyze.checks.baseline import load_baseline
    from cl_analyze.checks.rules import find_rules

    rules = load_rules(find_rules(paths["rules"], Path()))
    baseline = None if paths["baseline"] is None else load_baseline(paths["baseline"])
    return run_checks(
        requests(given),
        rules,
        run,
        CheckOptions(baseline, paths["save_baseline"], options.seed, options.anchors),
        listener=talk,
        arguments=shown_arguments(),
    )


def _exists_as_other(path: Path | None) -> bool:
    """Whether there is a device or a FIFO, which is written once."""
    return path is not None and path.exists() and not path.is_file()


def _write_error(paths: Mapping[str, Path | None], message: str) -> None:
    """Say in the files for other programs why nothing could be judged."""
    from cl_analyze.checks.junit import junit_error
    from cl_analyze.checks.markdown import markdown_error
    from cl_analyze.output import replace_file

    junit, markdown = paths.get("junit"), paths.get("markdown")
    if junit is not None:
        replace_file(junit, junit_error(message))
    if markdown is not None:
        replace_file(markdown, markdown_error(message).encode())


def run_gate(command: str, given: Mapping[str, Any]) -> None:
    """Run the checks; what is asked for is written before anything is printed.

    Where they cannot be judged, the files for other programs say so, and the error is raised.

    Args:
        command: its name.
        given: the command's parameters by name.

    Raises:
        AnalysisError: what cannot be judged.
        CheckFailedError: a check failed.
    """
    from cl_analyze.checks.github import (
        error_command,
        on_github,
        summary_path,
        workflow_commands,
        write_summary,
    )
    from cl_analyze.checks.junit import junit
    from cl_analyze.checks.markdown import markdown
    from cl_analyze.output import replace_file
    from cl_analyze.tables import to_json

    named = vars(from_command_line(CheckFiles, given))
    paths = {name: None if path is None else Path(path) for name, path in named.items()}
    run, options = from_command_line(RunOptions, given), from_command_line(MetricOptions, given)
    _check_outputs(given, paths)
    # a run that is ended from outside must not leave an earlier one's verdict either
    unfinished = "the run ended before it could judge: was it stopped, or out of memory?"
    _write_error(
        {name: path for name, path in paths.items() if not _exists_as_other(path)}, unfinished
    )
    talk = Talk(given["quiet"], given["verbose"])
    try:
        found = _checked(given, paths, run, options, talk)
    except Exception as error:
        # a file that an earlier run left must not pass for this one's
        message = error_text(error)
        _write_error(paths, message)
        if on_github(os.environ):
            talk.command(error_command(message))
        raise
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
            from cl_analyze.checks.text import check_lines

            write_lines(check_lines(found.checks, found.verdict))
    except (ReaderGoneError, ConfigError):
        if found.verdict != "fail":
            raise
    if found.verdict == "fail":  # a reader that is gone does not make a failure pass
        raise CheckFailedError
