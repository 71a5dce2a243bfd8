"""Runner of `cl-analyze check`: judge, write, print, and exit with the verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_analyze.cli.commands import FROM_FILE
from cl_analyze.cli.run import requests, shown_arguments, with_defaults
from cl_analyze.cli.terminal import (
    ReaderGoneError,
    Talk,
    width_of_output,
    write_lines,
    write_text,
)
from cl_analyze.errors import AnalysisError, CheckFailedError, ConfigError, error_text
from cl_analyze.options import CheckFiles, MetricOptions, RunOptions
from cl_analyze.options.declaration import from_command_line
from cl_analyze.options.request import FILES

if TYPE_CHECKING:
    from cl_analyze.checks import Checked


def _inputs(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Paths of all embeddings and companions."""
    for name in ("embeddings", *FILES):
        paths = parameters.get(name)
        yield from [paths] if isinstance(paths, str) else paths or ()


def _check_outputs(parameters: Mapping[str, Any], paths: Mapping[str, Path | None]) -> None:
    """Check that output files replace no input and no other output.

    Raises:
        ConfigError: a file would replace an input or another output, or its folder is missing.
    """
    from cl_analyze.data.opening import Spec, real_path
    from cl_analyze.project_file import OWN_FILE, PROJECT_FILE

    used_by: dict[Path, str] = {}
    for typed_path in _inputs(parameters):
        used_by[real_path(Spec.parse(typed_path).path)] = typed_path
    defaults = parameters["defaults_file"]
    for file in (paths["rules"], defaults, OWN_FILE, PROJECT_FILE):
        if file is not None:
            used_by[real_path(file)] = str(file)
    written = {name: paths[name] for name in ("junit", "markdown", "save_baseline")}
    saved = written["save_baseline"]
    written["save_baseline's arrays"] = None if saved is None else saved.with_suffix(".npz")
    for name, path in written.items():
        if path is None:
            continue
        absolute_path, option = real_path(path), "--" + name.replace("_", "-")
        if name.startswith("save_baseline") and path.exists() and not path.is_file():
            raise ConfigError(f"{option}: {path} exists and is no regular file")
        if absolute_path in used_by:
            raise ConfigError(f"{option} would replace {path}, which is read or written as well")
        if not absolute_path.parent.is_dir():
            raise ConfigError(f"{option}: there is no folder {path.parent}: make it first")
        if saved is None or path != saved or path.suffix != ".npz":
            used_by[absolute_path] = str(path)


def _checked(
    parameters: Mapping[str, Any],
    paths: Mapping[str, Path | None],
    run: RunOptions,
    options: MetricOptions,
    talk: Talk,
) -> Checked:
    """Read rules and baseline, compute the metrics, and judge the rules."""
    from cl_analyze.checks import CheckOptions, load_rules, run_checks
    from cl_analyze.checks.baseline import load_baseline
    from cl_analyze.checks.rules import find_rules

    rules = load_rules(find_rules(paths["rules"], Path()))
    baseline = None if paths["baseline"] is None else load_baseline(paths["baseline"])
    return run_checks(
        requests(parameters),
        rules,
        run,
        CheckOptions(baseline, paths["save_baseline"], options.seed, options.anchors),
        listener=talk,
        arguments=shown_arguments(parameters),
    )


def _exists_as_other(path: Path | None) -> bool:
    """Whether the path is a device or a FIFO, which can be written only once."""
    return path is not None and path.exists() and not path.is_file()


def _write_error(paths: Mapping[str, Path | None], message: str) -> None:
    """Write to the JUnit and Markdown files why the rules could not be judged."""
    from cl_analyze.checks.junit import junit_error
    from cl_analyze.checks.markdown import markdown_error
    from cl_analyze.output import replace_file

    junit, markdown = paths.get("junit"), paths.get("markdown")
    if junit is not None:
        replace_file(junit, junit_error(message))
    if markdown is not None:
        replace_file(markdown, markdown_error(message).encode())


def _paths(parameters: Mapping[str, Any]) -> dict[str, Path | None]:
    """Paths of the files that a check reads and writes, by name of the option."""
    check_files = vars(from_command_line(CheckFiles, parameters))
    return {name: None if path is None else Path(path) for name, path in check_files.items()}


def _report_error(paths: Mapping[str, Path | None], error: Exception, talk: Talk) -> None:
    """Say in the files and to GitHub why the rules could not be judged."""
    from cl_analyze.checks.github import error_command, on_github

    message = error_text(error)
    _write_error(paths, message)
    if on_github(os.environ):
        talk.command(error_command(message))


def refuse(parameters: Mapping[str, Any], error: AnalysisError) -> None:
    """Say in the files that were typed why the check could not start.

    Args:
        parameters: the command's parameters by name, as typed.
        error: the reason.

    Raises:
        AnalysisError: an output file would replace an input.
    """
    paths = _paths(parameters)
    _check_outputs(parameters, paths)
    _report_error(paths, error, Talk(parameters["quiet"], parameters["verbose"]))


def run_gate(command: str, parameters: Mapping[str, Any]) -> None:
    """Run the checks; write all files before printing.

    If the rules cannot be judged, the JUnit and Markdown files say why, and the error is raised.

    Args:
        command: name of the command.
        parameters: the command's parameters by name.

    Raises:
        AnalysisError: the rules cannot be judged.
        CheckFailedError: a check failed.
    """
    from cl_analyze.checks.github import (
        on_github,
        summary_path,
        workflow_commands,
        write_summary,
    )
    from cl_analyze.checks.junit import junit
    from cl_analyze.checks.markdown import markdown
    from cl_analyze.output import replace_file
    from cl_analyze.results.tables import to_json

    paths = _paths(parameters)
    run, options = (
        from_command_line(RunOptions, parameters),
        from_command_line(MetricOptions, parameters),
    )
    _check_outputs(parameters, paths)
    # if this run is killed, the files must not show the verdict of an earlier run
    unfinished = "the run ended before it could judge: was it stopped, or out of memory?"
    _write_error(
        {name: path for name, path in paths.items() if not _exists_as_other(path)}, unfinished
    )
    from_file = parameters[FROM_FILE]
    talk = Talk(parameters["quiet"], parameters["verbose"])
    try:
        with talk:
            talk.details(() if from_file is None else from_file.lines())
            outcome = _checked(parameters, paths, run, options, talk)
    except Exception as error:
        # the files must not show the verdict of an earlier run
        _report_error(paths, error, talk)
        raise
    talk.close()
    document = with_defaults(outcome.report, from_file).document
    files = []
    if paths["junit"] is not None:
        files.append(replace_file(paths["junit"], junit(outcome.checks, document.created)))
    if paths["markdown"] is not None:
        files.append(replace_file(paths["markdown"], markdown(outcome.checks).encode()))
    if paths["save_baseline"] is not None:
        files += [paths["save_baseline"], paths["save_baseline"].with_suffix(".npz")]
    summary = summary_path()
    if summary is not None:
        try:
            write_summary(outcome.checks, summary)
        except OSError as error:
            talk.warn(f"the step's summary cannot be written: {error.strerror or error}")
    if on_github(os.environ):
        for line in workflow_commands(outcome.checks):
            talk.command(line)
    try:
        if parameters["as_json"]:
            write_text(to_json(document.to_dict(tuple(map(str, files)))))
        else:
            from cl_analyze.checks.text import check_lines

            write_lines(check_lines(outcome.checks, outcome.verdict, width_of_output()))
    except (ReaderGoneError, ConfigError):
        if outcome.verdict != "fail":
            raise
    if outcome.verdict == "fail":  # a closed stdout does not hide a failure
        raise CheckFailedError
