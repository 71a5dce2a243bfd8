"""Inputs, records and tables of all checkpoints, collected for a report."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.analysis.report import Report
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.listener import Recorder
from cl_analyze.metrics import family_named
from cl_analyze.metrics.correlation import metric_correlation
from cl_analyze.metrics.differences import Match, RowKeys, match_rows, record_difference
from cl_analyze.metrics.family import FamilyResult
from cl_analyze.metrics.standings import DifferenceOf, standings
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions, RunOptions
from cl_analyze.pairs import kernels
from cl_analyze.results.document import Document, Pairing
from cl_analyze.results.stats import PairedDifference
from cl_analyze.results.tables import Record, Results, Table

VARIANTS = "variants"
"""The table of what variants have learned from the rows."""
_DECIDING = ("report", "compare")
"""Commands whose documents say which of several checkpoints is best."""


def check_definition(definition: str | None, names: Sequence[str]) -> None:
    """Check that a metric of these families has the definition.

    Raises:
        ConfigError: no metric of these families has the definition.
    """
    if definition is None:
        return
    known = [
        known_definition
        for family in names
        for definitions in family_named(family).definitions.values()
        for known_definition in definitions
    ]
    if definition not in known:
        listing = ", ".join(dict.fromkeys(known)) or "none"
        raise ConfigError(f"no metric here has a definition {definition!r}; there are: {listing}")


def of_definition(records: Iterable[Record], family: str, definition: str | None) -> list[Record]:
    """A family's records of one definition.

    Records of metrics without this definition are kept.  If `definition` is None, all records are
    kept.
    """
    definitions_of = family_named(family).definitions_of
    return [
        record
        for record in records
        if definition is None
        or record.definition in (None, definition)
        or definition not in definitions_of(record)
    ]


class Collected:
    """Inputs, records and tables of all checkpoints, in the order in which they are added."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.records: dict[str, list[Record]] = {}
        self.tables: dict[str, Table] = {}
        self.positives: dict[str, str] = {}
        self.n_rows: dict[str, int] = {}
        self.n_negatives: dict[str, float] = {}
        self.n_anchors: dict[str, int] = {}
        self.negatives = ""
        self.n_classes: dict[str, int] = {}
        self.pairing: dict[str, Pairing] = {}
        self.groups: dict[str, NDArray[np.int64]] = {}
        self.rows: dict[str, RowKeys] = {}
        self.originals: dict[str, str] = {}
        self.variants: dict[str, str] = {}
        self.asked: tuple[str, ...] = ()
        self._matches: dict[tuple[str, str], Match] = {}

    def add_inputs(self, entries: Iterable[dict[str, Any]]) -> None:
        """Add entries of `inputs` that have not been added yet."""
        self.inputs += [entry for entry in entries if entry not in self.inputs]

    def add(self, results: dict[str, FamilyResult], recorder: Recorder) -> None:
        """Add the results of metric families for one checkpoint; warn of the notes."""
        for name, result in results.items():
            self.records.setdefault(name, []).extend(result.records)
            for table in result.tables:
                earlier = self.tables.get(table.name)
                rows = table.rows if earlier is None else (*earlier.rows, *table.rows)
                self.tables[table.name] = replace(table, rows=rows)
            for text in result.notes:
                recorder.warn(text)

    def add_subject(self, subject: Subject, options: MetricOptions) -> None:
        """Add the properties of a checkpoint that the report needs beside the records."""
        source = subject.source
        self.positives[source] = subject.positives
        self.n_rows[source] = subject.n
        self.n_negatives[source] = subject.n_negatives
        if subject.relevance is not None:
            self.negatives = "items that are not relevant"
        elif options.negatives == "instance":
            self.negatives = "every other row"
        else:
            self.negatives = "rows of other classes"
        if subject.labels is not None:
            self.n_classes[source] = int((subject.labels.counts > 0).sum())
        if subject.pairing is not None:
            self.pairing[source] = subject.pairing
        n_anchors = options.anchors_of(subject.n)
        if n_anchors is not None:
            self.n_anchors[source] = n_anchors
        self.rows[source] = RowKeys.of(subject.n, subject.labels, subject.ids, subject.kept)
        if subject.groups is not None:
            self.groups[source] = subject.groups
        self.originals[source] = subject.original
        self.variants[source] = "" if subject.variant is None else subject.variant.name
        if subject.variant is not None:
            lines = subject.variant.table(source, subject.original)
            earlier = self.tables.get(VARIANTS)
            rows = (*(() if earlier is None else earlier.rows), *lines)
            if rows:
                self.tables[VARIANTS] = Table(VARIANTS, tuple(rows[0]), rows)

    def report(
        self,
        command: str,
        arguments: Sequence[str],
        names: Sequence[str],
        options: MetricOptions,
        run: RunOptions,
        recorder: Recorder,
        difference_of: DifferenceOf | None = None,
    ) -> Report:
        """The report of all checkpoints, with the records in the order of the families.

        Args:
            command, arguments: of the document.
            names: the metric families.
            options, run, recorder: of the run.
            difference_of: the difference of two headline records; None: from their pseudo-values,
                of rows that are matched by `match`.

        Raises:
            ConfigError: `run.definition` is set, and no record has this definition.
        """
        records: list[Record] = []
        by_family: dict[str, tuple[int, ...]] = {}
        for name in names:
            kept = of_definition(self.records.get(name, []), name, run.definition)
            if kept:
                by_family[name] = tuple(range(len(records), len(records) + len(kept)))
                records += kept
        definitions = dict.fromkeys(r.definition for r in records if r.definition is not None)
        if run.definition is not None and run.definition not in definitions:
            raise ConfigError(
                f"with these inputs no number has the definition {run.definition!r}; there are: "
                f"{', '.join(definitions)}"
            )
        document = Document(
            command=command,
            arguments=tuple(arguments),
            version=__version__,
            created=_now(),
            inputs=tuple(self.inputs),
            environment={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "platform": platform.platform(),
                "device": run.device,
                "kernels": kernels.described(),
                "precision": run.precision,
                "seed": options.seed,
            },
            results=Results(records),
            families=by_family,
            tables=self.tables,
            warnings=tuple(recorder.warnings),
            positives=self.positives,
            negatives=self.negatives or "every other row",
            n_rows=self.n_rows,
            n_negatives=self.n_negatives,
            n_anchors=self.n_anchors,
            n_classes=self.n_classes,
            pairing=self.pairing,
            variants=self.variants,
            asked=self.asked,
        )
        if command in _DECIDING:
            decided = (
                standings(document, difference_of or self.difference),
                metric_correlation(document),
            )
            tables = {table.name: table for table in decided if table is not None}
            document = replace(document, tables={**self.tables, **tables})
        return Report(document, self.groups, self.rows, self.originals)

    def difference(self, one: Record, other: Record) -> PairedDifference:
        """One record less another, paired where their rows can be matched."""
        match = self.match(one.source, other.source)
        return record_difference(one, other, match.order, self.groups.get(one.source))

    def match(self, source: str, other: str) -> Match:
        """The match of the rows of two checkpoints; a variant has the rows of its original."""
        if (source, other) not in self._matches:
            keys, other_keys = self.rows[source], self.rows[other]
            is_same = self.originals[source] == self.originals[other]
            self._matches[source, other] = (
                Match(np.arange(keys.n), f"paired: the {keys.n} rows of {other}")
                if is_same and (keys.n, keys.kept) == (other_keys.n, other_keys.kept)
                else match_rows(keys, other_keys)
            )
        return self._matches[source, other]


def _now() -> str:
    """The time in UTC, or the time in SOURCE_DATE_EPOCH, which makes files reproducible."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    time = (
        datetime.datetime.fromtimestamp(int(epoch), tz=datetime.timezone.utc)
        if epoch is not None and epoch.isascii() and epoch.isdigit() and len(epoch) < 12
        else datetime.datetime.now(tz=datetime.timezone.utc)
    )
    return time.replace(microsecond=0).isoformat()
