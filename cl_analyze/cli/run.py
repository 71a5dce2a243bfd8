"""Runner of the metric commands: build the requests, run, write files, print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_analyze.cli.commands import ARGUMENTS, FROM_FILE
from cl_analyze.cli.defaults import FromFile, shown
from cl_analyze.cli.terminal import Talk, width_of_output, write_lines, write_text
from cl_analyze.errors import ConfigError
from cl_analyze.options import (
    FAMILIES,
    CompareOptions,
    MetricOptions,
    OutputOptions,
    Request,
    RunOptions,
)
from cl_analyze.options.declaration import from_command_line, options_of
from cl_analyze.options.request import SETTINGS
from cl_analyze.processes import cores
from cl_analyze.results.ordering import axis_of, natural_order

if TYPE_CHECKING:
    from cl_analyze.analysis.report import Report
    from cl_analyze.results.document import Document


_TYPED = 2
"""Up to this number of files, the user probably typed the paths in the intended order."""


def requests(parameters: Mapping[str, Any]) -> list[Request]:
    """One request for each EMB, with companions.

    Three or more files in alphabetical order, as a shell pattern lists them, are put in the order
    that tables and figures have: along the temperatures or steps in their names.  Any other order
    is kept.

    Args:
        parameters: the command's parameters by name.

    Raises:
        ConfigError: the number of companion files is neither 1 nor the number of EMB.
    """
    embeddings = parameters["embeddings"]
    n = len(embeddings)
    companions = {
        name: option.kind.for_each(option.flag, parameters.get(name), n, "EMB")
        for name, option in options_of(Request).items()
    }
    all_requests = [
        Request(embedding, **{name: files[i] for name, files in companions.items()})
        for i, embedding in enumerate(embeddings)
    ]
    is_listed = n > _TYPED and list(embeddings) == sorted(embeddings)
    if is_listed:  # a shell lists step-10 before step-2
        names = list(map(str, embeddings))
        order = {name: i for i, name in enumerate(natural_order(names, axis_of(names)))}
        all_requests.sort(key=lambda request: order[str(request.embeddings)])
    return all_requests


def shown_arguments(parameters: Mapping[str, Any]) -> list[str]:
    """The command line for the document, with what the project's file adds to it."""
    return list(map(shown, parameters[ARGUMENTS]))


def with_defaults(report: Report, from_file: FromFile | None) -> Report:
    """The report whose document names the file that defaults of options came from."""
    if from_file is None:
        return report
    return replace(report, document=replace(report.document, defaults=from_file.record))


def _refuse_without_embeddings(parameters: Mapping[str, Any]) -> None:
    """Refuse options that need embeddings when no EMB is passed.

    Raises:
        ConfigError: such an option is passed.
    """
    for option, is_used in (
        ("--labels", parameters["labels"]),
        ("--class-names", parameters["class_names"]),
        ("--groups", parameters["groups"]),
        ("--pairs", parameters["pairs"]),
        ("--relevant", parameters["relevant"]),
        *((options_of(Request)[name].flag, parameters[name]) for name in SETTINGS),
        ("--unlabelled", parameters["unlabelled"]),
        ("--negatives class", getattr(parameters["negatives"], "value", None) == "class"),
        ("--anchors", parameters["anchors"] is not None),
        ("--resume", parameters["resume"]),
        ("--scheduler", parameters["scheduler"]),
    ):
        if is_used:
            raise ConfigError(f"{option} needs embeddings: name a file EMB")


def run_command(command: str, parameters: Mapping[str, Any]) -> None:
    """Run a metric command, write its files and print its table.

    Args:
        command: name of the command.
        parameters: the command's parameters by name.

    Raises:
        AnalysisError: options or inputs cannot be used.
    """
    output = from_command_line(OutputOptions, parameters)
    run = from_command_line(RunOptions, parameters)
    from_file: FromFile | None = parameters[FROM_FILE]
    with Talk(output.quiet, output.verbose) as talk:
        talk.details(() if from_file is None else from_file.lines())
        report = with_defaults(_report(command, parameters, run, talk), from_file)
        finish(report, output, run, talk)


def _report(command: str, parameters: Mapping[str, Any], run: RunOptions, talk: Talk) -> Report:
    """The report of a metric command."""
    from cl_analyze import analysis

    options = from_command_line(MetricOptions, parameters)
    arguments = shown_arguments(parameters)
    if command == "compare":
        from cl_analyze.comparison import run_comparison

        compare_options = from_command_line(CompareOptions, parameters)
        return run_comparison(
            requests(parameters),
            compare_options.metrics or "all",
            options,
            run,
            compare_options,
            listener=talk,
            arguments=arguments,
        )
    if not parameters["embeddings"]:
        _refuse_without_embeddings(parameters)
        return analysis.uniform_penalty(options, run, arguments)
    return analysis.run_analysis(
        requests(parameters),
        FAMILIES if command == "report" else (command,),
        options,
        run,
        command,
        listener=talk,
        arguments=arguments,
    )


def finish(report: Report, output: OutputOptions, run: RunOptions, talk: Talk) -> None:
    """Write the output files, then print the table or the JSON document."""
    document = report.document
    files: tuple[str, ...] = ()
    if not output.no_files:
        from cl_analyze.report import PAGES, write_report, write_tables_and_figures

        talk.stage("writing files")
        folder, formats = Path(output.out), output.formats
        n = run.threads or cores()
        written = (
            write_report(
                document, folder, formats, talk.note, n_processes=n, full_json=output.full_json
            )
            if document.command in PAGES
            else write_tables_and_figures(document, folder, formats, talk.note, n_processes=n)
        )
        files = tuple(map(str, written))
    talk.close()
    if output.as_json:
        from cl_analyze.results.tables import to_json

        write_text(to_json(document.to_dict(files)))
    else:
        from cl_analyze.report.text import document_lines

        write_lines(document_lines(document, width_of_output(), output.long))
    if files:
        for line in _written(document, Path(output.out), files):
            talk.say(line)
        talk.details(files)


def _written(document: Document, folder: Path, files: Sequence[str]) -> Iterator[str]:
    """The page first, then how many files of each kind are in the folder."""
    from cl_analyze.report import PAGES

    paths = [Path(file) for file in files]
    if document.command in PAGES:
        page, _ = PAGES[document.command]
        yield f"{document.command}  {folder / page}  (open it)"
    tables = sum(path.suffix == ".csv" for path in paths)
    figures = len({path.stem for path in paths if path.parent.name == "figures"})
    counts = [
        f"{count} {noun if count == 1 else noun + 's'}"
        for count, noun in ((tables, "table"), (figures, "figure"))
        if count
    ]
    others = [path.name for path in paths if path.suffix == ".json"]
    yield f"{', '.join([*counts, *others])} in {folder}"
