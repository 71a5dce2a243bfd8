"""The results of one run as data: the document behind JSON, CSV, figures and the HTML report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from cl_analyze.results.tables import Cell, Param, Record, Results, Table, record_table

SCHEMA = "cl-analyze/2"

Pairing = Literal["views", "partners", "relevant"]
"""Views of the same row, partners in a second file, or relevant rows in a second file."""


@dataclass(frozen=True)
class Document:
    """The results of a run with its inputs, settings and warnings.

    Attributes:
        command: name of the subcommand.
        arguments: the command line as typed, with the defaults of a project's file.
        version: version of cl_analyze.
        created: UTC time, ISO 8601.
        inputs: one entry for each array that was read.
        environment: versions and settings.
        results: all records.
        families: metric family -> indices of its records in `results`.
        tables: further tables by name.
        warnings: notes for the user.
        positives: source -> the positive pairs in words.
        negatives: the negative pairs in words.
        n_rows: source -> number of rows.
        n_negatives: source -> mean number of negatives of a row, whichever class they are of.
        n_anchors: source -> number of anchors of estimated means; no entry for exact means.
        n_classes: source -> number of classes with rows; no entry without labels.
        pairing: source -> what the rows are paired with, see `Pairing`; no entry without pairs.
        variants: source -> the name of the variant that it is; empty for a checkpoint as saved.
        asked: the metrics that a comparison was asked for by their own names.
        verdict: verdict of all checks; None without checks.
        defaults: the project's file that set options ("file"), and these options as they would be
            typed ("arguments"); empty where no file did.
    """

    command: str
    arguments: tuple[str, ...]
    version: str
    created: str
    inputs: tuple[dict[str, Any], ...]
    environment: dict[str, Any]
    results: Results
    families: dict[str, tuple[int, ...]]
    tables: dict[str, Table]
    warnings: tuple[str, ...]
    positives: dict[str, str]
    negatives: str
    n_rows: dict[str, int] = field(default_factory=dict)
    n_negatives: dict[str, float] = field(default_factory=dict)
    n_anchors: dict[str, int] = field(default_factory=dict)
    n_classes: dict[str, int] = field(default_factory=dict)
    pairing: dict[str, Pairing] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    verdict: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources in the order of the results.

        A comparison has those of its table too: numbers of two checkpoints have one source.
        """
        compared = self.tables["checkpoints"].rows if "checkpoints" in self.tables else ()
        names = (*(str(row["source"]) for row in compared), *(r.source for r in self.results))
        return tuple(dict.fromkeys(names))

    def of_sources(self, sources: Collection[str]) -> Document:
        """The document with the results of some sources alone; inputs and warnings stay."""
        at = [i for i, record in enumerate(self.results) if record.source in sources]
        place = {i: new for new, i in enumerate(at)}
        tables = {
            name: replace(table, rows=tuple(r for r in table.rows if r["source"] in sources))
            if "source" in table.columns
            else table
            for name, table in self.tables.items()
        }
        return replace(
            self,
            results=Results(self.results[i] for i in at),
            families={
                name: tuple(place[i] for i in indices if i in place)
                for name, indices in self.families.items()
            },
            tables=tables,
        )

    def family_table(self, family: str) -> Table:
        """A family's records as a table."""
        return record_table(family, (self.results[i] for i in self.families[family]))

    @cached_property
    def all_tables(self) -> dict[str, Table]:
        """Tables of the families and further tables, by name."""
        return {name: self.family_table(name) for name in self.families} | self.tables

    def rows(self, table: str, **cells: Cell) -> list[dict[str, Cell]]:
        """Rows of a further table that have these cells; an empty list without the table."""
        rows: Sequence[dict[str, Cell]] = self.tables[table].rows if table in self.tables else ()
        if "source" in cells:
            rows = self._rows_by_source.get((table, cells.pop("source")), ())
        return [row for row in rows if all(row.get(key) == cells[key] for key in cells)]

    @cached_property
    def _rows_by_source(self) -> dict[tuple[str, Cell], list[dict[str, Cell]]]:
        """Rows by table and source: each figure asks for those of each checkpoint."""
        rows: dict[tuple[str, Cell], list[dict[str, Cell]]] = {}
        for name, table in self.tables.items():
            for row in table.rows:
                rows.setdefault((name, row.get("source")), []).append(row)
        return rows

    def records(
        self, metric: str, definition: str | None = None, source: str | None = None, **params: Param
    ) -> list[Record]:
        """Records of a metric in order; arguments that are not None restrict them."""
        return [
            record
            for record in self._by_metric.get((metric, source), ())
            if definition in (None, record.definition)
            and all(record.params.get(key) == value for key, value in params.items())
        ]

    def record(
        self, metric: str, definition: str | None = None, source: str | None = None, **params: Param
    ) -> Record | None:
        """The first record of `records`; None without records."""
        return next(iter(self.records(metric, definition, source, **params)), None)

    @cached_property
    def _by_metric(self) -> dict[tuple[str, str | None], list[Record]]:
        """Records by metric and source (None: of all sources): a search of all is slow."""
        records: dict[tuple[str, str | None], list[Record]] = {}
        for record in self.results:
            for source in (None, record.source):
                records.setdefault((record.metric, source), []).append(record)
        return records

    def to_dict(
        self, files: tuple[str, ...] = (), csv_files: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON document.

        Args:
            files: paths of the written files.
            csv_files: table -> path of the CSV file that has its rows, from the document's folder;
                None: the document has all rows itself.
        """
        tables: dict[str, Any] = {
            name: list(table.rows)
            if csv_files is None
            else {"csv": csv_files[name], "rows": len(table.rows)}
            for name, table in self.all_tables.items()
        }
        return {
            "schema": SCHEMA,
            "version": self.version,
            "command": self.command,
            "created": self.created,
            **({} if self.verdict is None else {"verdict": self.verdict}),
            **({"defaults": self.defaults} if self.defaults else {}),
            "inputs": list(self.inputs),
            "environment": self.environment,
            "results": [record.to_dict() for record in self.results],
            "tables": tables,
            "files": list(files),
            "warnings": list(self.warnings),
        }
