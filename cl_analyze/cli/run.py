"""What the metric commands share: build the requests, run, write files, print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cl_analyze.cli.lists import FORMATS, parse_numbers
from cl_analyze.cli.options import parse_curve_anchors, parse_size
from cl_analyze.cli.terminal import Talk, write_lines, write_text
from cl_analyze.errors import ConfigError
from cl_analyze.quoting import natural, printable, without_secrets

if TYPE_CHECKING:
    from cl_analyze.analysis import Report
    from cl_analyze.document import Document
    from cl_analyze.metrics.family import MetricOptions
    from cl_analyze.preparation import Request, RunOptions


@dataclass(frozen=True)
class OutputOptions:
    """Where results go.

    Attributes:
        out: folder for files.
        no_files: write none.
        as_json: print the document instead of the table.
        formats: of figures.
        quiet, verbose: how much is said on stderr.
    """

    out: str
    no_files: bool
    as_json: bool
    formats: Sequence[str] | None
    quiet: bool
    verbose: bool

    def checked_formats(self) -> tuple[str, ...]:
        """Figure formats, png by default.

        Raises:
            ConfigError: an unknown format.
        """
        formats = tuple(dict.fromkeys(self.formats or ("png",)))
        for name in formats:
            if name not in FORMATS:
                raise ConfigError(f"--format: {name!r} is none of {', '.join(FORMATS)}")
        return formats

    def talk(self) -> Talk:
        """Where notes and progress go."""
        return Talk(self.quiet, self.verbose)


_TYPED = 2
"""Files that are rather typed than listed by a shell's pattern."""


def requests(given: Mapping[str, Any]) -> list[Request]:
    """One request for each EMB, with its labels and partners.

    Three or more files in the order of a shell's pattern come by the numbers in their names; any
    other order is the user's, and stays.

    Args:
        given: the command's parameters by name.

    Raises:
        ConfigError: labels are neither one for all nor one each, or partners not one each.
    """
    from cl_analyze.preparation import Request

    embeddings, pairs = given["embeddings"], given.get("pairs")
    n = len(embeddings)
    alike = {option: given.get(option) for option in ("labels", "ids", "train", "train_labels")}
    for name, files in alike.items():
        if files and len(files) not in (1, n):
            raise ConfigError(
                f"--{name.replace('_', '-')} is given {len(files)} times for {n} EMB: give one "
                "for all, or repeat the option, one for each"
            )
    if pairs and len(pairs) != n:
        raise ConfigError(
            f"--pairs is given {len(pairs)} times for {n} EMB: repeat the option, one for each, in "
            "their order"
        )

    def of(name: str, i: int) -> str | None:
        files = alike[name]
        return None if not files else files[0] if len(files) == 1 else files[i]

    found = [
        Request(
            embedding,
            labels=of("labels", i),
            pairs=pairs[i] if pairs else None,
            groups=given["groups"],
            queue=given.get("queue"),
            frame=given.get("clop_anchors"),
            train=of("train", i),
            train_labels=of("train_labels", i),
            ids=of("ids", i),
        )
        for i, embedding in enumerate(embeddings)
    ]
    is_listed = n > _TYPED and list(embeddings) == sorted(embeddings)
    if is_listed:  # as a shell lists files: step-10 before step-2
        found.sort(key=lambda request: natural(str(request.embeddings)))
    return found


def shown_arguments() -> list[str]:
    """The command line as the document keeps it: without control characters and passwords."""
    return [without_secrets(printable(argument)) for argument in sys.argv[1:]]


def refuse_empty(option: str, value: str | None) -> None:
    """An empty value is a variable that is not set.

    Raises:
        ConfigError: it is empty.
    """
    if value == "":
        raise ConfigError(f"--{option} is empty; is a variable unset?")


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """How to compute, from a command's parameters.

    Raises:
        ConfigError: no threads, or a budget that is no size.
    """
    from cl_analyze.preparation import RunOptions

    threads, memory = given["threads"], given["memory"]
    if threads is not None and threads < 1:
        raise ConfigError(f"--threads must be at least 1, found {threads}")
    return RunOptions(
        device=given["device"],
        precision=given["precision"].value,
        threads=threads,
        memory=None if memory is None else parse_size(memory),
        on_invalid=given["on_invalid"].value,
        unlabelled=given["unlabelled"],
        definition=given.get("definition"),
        resume=given["resume"],
        scheduler=given["scheduler"],
    )


def _metric_options(command: str, given: Mapping[str, Any]) -> MetricOptions:
    from cl_analyze.analysis import metric_options

    curve_anchors = given.get("curve_anchors")
    return metric_options(
        ts=parse_numbers("--t", given.get("t")),
        taus=parse_numbers("--tau", given.get("tau")),
        top_k=given.get("top_k", 10),
        negatives=given["negatives"].value if "negatives" in given else "instance",
        curve_anchors=2_048 if curve_anchors is None else parse_curve_anchors(curve_anchors),
        seed=given["seed"],
        anchors=given["anchors"],
        penalty_alpha=given.get("hard_alpha") if command == "penalty" else None,
        hard_alpha=given["hard_alpha"] if command == "losses" else 0.1,
        simple_lambda=given.get("simple_lambda"),
        kcl_t=given.get("kcl_t", 2.0),
        kcl_gamma=given.get("kcl_gamma", 16.0),
        batch_sizes=_whole_numbers("--batch-size", given.get("batch_size")),
        ks=_whole_numbers("--k", given.get("k")) or None,
        alignment_power=given.get("alignment_power", 2.0),
        projection=given["projection"].value if "projection" in given else "pca",
    )


def _whole_numbers(option: str, tokens: Sequence[str] | None) -> tuple[int, ...]:
    numbers = parse_numbers(option, tokens) or ()
    for number in numbers:
        if number != int(number):
            raise ConfigError(f"{option} takes whole numbers, found {number:g}")
    return tuple(int(number) for number in numbers)


def _refuse_without_embeddings(given: Mapping[str, Any]) -> None:
    """Options that say something about embeddings hint at one that was forgotten.

    Raises:
        ConfigError: labels, groups or class negatives without EMB.
    """
    for option, used in (
        ("--labels", given["labels"]),
        ("--groups", given["groups"]),
        ("--unlabelled", given["unlabelled"]),
        ("--negatives class", given["negatives"].value == "class"),
        ("--anchors", given["anchors"] is not None),
        ("--resume", given["resume"]),
        ("--scheduler", given["scheduler"]),
    ):
        if used:
            raise ConfigError(f"{option} needs embeddings: name a file EMB")


def run_command(command: str, families: Sequence[str] | str, given: Mapping[str, Any]) -> None:
    """Run a metric command from its parsed options, write its files and print its table.

    Args:
        command: its name.
        families: the metric families it computes.
        given: the command function's parameters by name; those it lacks have their defaults.

    Raises:
        AnalysisError: options or inputs that cannot be used.
    """
    from cl_analyze import analysis

    output = OutputOptions(
        given["out"],
        given["no_files"],
        given["as_json"],
        given["formats"],
        given["quiet"],
        given["verbose"],
    )
    output.checked_formats()
    for name in ("out", "resume"):
        refuse_empty(name, given[name])
    asked, computing = _metric_options(command, given), run_options(given)
    talk = output.talk()
    arguments = shown_arguments()
    if command == "compare":
        found = _comparison(given, asked, computing, talk, arguments)
    elif not given["embeddings"]:
        _refuse_without_embeddings(given)
        found = analysis.uniform_penalty(
            asked, given["n_negatives"], command, arguments, computing.definition
        )
    else:
        found = analysis.run_analysis(
            requests(given),
            analysis.families(families),
            asked,
            computing,
            command,
            listener=talk,
            arguments=arguments,
        )
    finish(found, output, talk)


def _comparison(
    given: Mapping[str, Any],
    asked: MetricOptions,
    computing: RunOptions,
    talk: Talk,
    arguments: Sequence[str],
) -> Report:
    from cl_analyze.analysis import families
    from cl_analyze.comparison import CompareOptions, run_comparison

    refuse_empty("cache", given["cache"])
    return run_comparison(
        requests(given),
        families(given["metrics"] or "all"),
        asked,
        computing,
        CompareOptions(
            given["against"], given["x"], None if given["cache"] is None else Path(given["cache"])
        ),
        listener=talk,
        arguments=arguments,
    )


def finish(report: Report, output: OutputOptions, talk: Talk) -> None:
    """Write the command's files, then print the table or the document."""
    document = report.document
    files: tuple[str, ...] = ()
    if not output.no_files:
        from cl_analyze.report import PAGES, write_report, write_tables_and_figures

        talk.stage("writing files")
        writer = write_report if document.command in PAGES else write_tables_and_figures
        files = tuple(
            str(path)
            for path in writer(document, Path(output.out), output.checked_formats(), talk.note)
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
