"""What the metric commands share: build the requests, run, write files, print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_analyze.cli.terminal import Talk, write_lines, write_text
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
from cl_analyze.quoting import natural, printable, without_secrets

if TYPE_CHECKING:
    from cl_analyze.analysis.report import Report
    from cl_analyze.document import Document


_TYPED = 2
"""Files that are rather typed than listed by a shell's pattern."""


def requests(given: Mapping[str, Any]) -> list[Request]:
    """One request for each EMB, with its companions.

    Three or more files in the order of a shell's pattern are sorted by the numbers in their names;
    any other order is the user's, and stays.

    Args:
        given: the command's parameters by name.

    Raises:
        ConfigError: companions are neither one for all nor one for each.
    """
    embeddings = given["embeddings"]
    n = len(embeddings)
    companions = {
        name: each.kind.for_each(each.flag, given.get(name), n, "EMB")
        for name, each in options_of(Request).items()
    }
    listed = [
        Request(embedding, **{name: of_each[i] for name, of_each in companions.items()})
        for i, embedding in enumerate(embeddings)
    ]
    is_listed = n > _TYPED and list(embeddings) == sorted(embeddings)
    if is_listed:  # as a shell lists files: step-10 before step-2
        listed.sort(key=lambda request: natural(str(request.embeddings)))
    return listed


def shown_arguments() -> list[str]:
    """The command line as the document keeps it: without control characters and passwords."""
    return [without_secrets(printable(argument)) for argument in sys.argv[1:]]


def _refuse_without_embeddings(given: Mapping[str, Any]) -> None:
    """Options that say something about embeddings hint at one that was forgotten.

    Raises:
        ConfigError: labels, groups or class negatives without EMB.
    """
    for option, is_used in (
        ("--labels", given["labels"]),
        ("--groups", given["groups"]),
        ("--unlabelled", given["unlabelled"]),
        ("--negatives class", getattr(given["negatives"], "value", None) == "class"),
        ("--anchors", given["anchors"] is not None),
        ("--resume", given["resume"]),
        ("--scheduler", given["scheduler"]),
    ):
        if is_used:
            raise ConfigError(f"{option} needs embeddings: name a file EMB")


def run_command(command: str, given: Mapping[str, Any]) -> None:
    """Run a command that measures from its parsed options, write its files and print its table.

    Args:
        command: its name.
        given: the command's parameters by name.

    Raises:
        AnalysisError: options or inputs that cannot be used.
    """
    from cl_analyze import analysis

    output = from_command_line(OutputOptions, given)
    options = from_command_line(MetricOptions, given)
    run = from_command_line(RunOptions, given)
    talk = Talk(output.quiet, output.verbose)
    arguments = shown_arguments()
    if command == "compare":
        from cl_analyze.comparison import run_comparison

        asked = from_command_line(CompareOptions, given)
        report = run_comparison(
            requests(given),
            asked.metrics or FAMILIES,
            options,
            run,
            asked,
            listener=talk,
            arguments=arguments,
        )
    elif not given["embeddings"]:
        _refuse_without_embeddings(given)
        report = analysis.uniform_penalty(options, run, arguments)
    else:
        families = FAMILIES if command == "report" else (command,)
        report = analysis.run_analysis(
            requests(given), families, options, run, command, listener=talk, arguments=arguments
        )
    finish(report, output, talk)


def finish(report: Report, output: OutputOptions, talk: Talk) -> None:
    """Write the command's files, then print the table or the document."""
    document = report.document
    files: tuple[str, ...] = ()
    if not output.no_files:
        from cl_analyze.report import PAGES, write_report, write_tables_and_figures

        talk.stage("writing files")
        writer = write_report if document.command in PAGES else write_tables_and_figures
        files = tuple(
            str(path) for path in writer(document, Path(output.out), output.formats, talk.note)
        )
    talk.close()
    if output.as_json:
        from cl_analyze.tables import to_json

        write_text(to_json(document.to_dict(files)))
    else:
        write_lines(_blocks(document))
    if files:
        from cl_analyze.report.text import wrapped

        talk.say(f"wrote {len(files)} files:")
        unbroken = " ".join(path.replace(" ", "\0") for path in files)  # no path has a NUL
        for line in wrapped(unbroken, 78):
            talk.say(f"  {line}".replace("\0", " "))


def _blocks(document: Document) -> Iterator[str]:
    """Lines: the table of each family; of a report, the numbers that sum each checkpoint up."""
    for number, block in enumerate(_tables(document)):
        yield from [*[""] * (number > 0), *block]


def _tables(document: Document) -> Iterator[list[str]]:
    from cl_analyze.report.headlines import headlines
    from cl_analyze.report.text import (
        comparison_lines,
        loss_lines,
        quality_lines,
        record_lines,
        verdict_lines,
    )

    if document.command == "compare":
        yield comparison_lines(document)
        return
    if document.command != "report":
        for family, indices in document.families.items():
            records = [document.results[i] for i in indices]
            lines = {"losses": loss_lines, "quality": quality_lines}.get(family, record_lines)
            yield lines(records, document)
        return
    listed = headlines(document)
    for source in document.sources:
        found = [headline.find(document, source) for headline in listed]
        summary = record_lines([record for record in found if record is not None], document)
        yield [*summary, *verdict_lines(source, document)]
