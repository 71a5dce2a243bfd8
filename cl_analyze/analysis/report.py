"""What an analysis hands out: records, tables, and what compares them with another report's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.differences import COLUMNS, Match, RowKeys, adjusted, differences, match_rows
from cl_analyze.document import Document
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, METRICS
from cl_analyze.tables import Results, Table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Report:
    """What an analysis found.

    Attributes:
        document: everything, as data.
        records: every record.
        groups: source -> codes of rows that belong together, where they were given.
        rows: source -> what tells whether its rows are those of another report.

    >>> from cl_analyze import analyze
    >>> report = analyze(np.eye(5), metrics="uniformity")
    >>> round(report.records.find("uniformity").value, 6)
    -4.0
    """

    document: Document
    groups: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    rows: dict[str, RowKeys] = field(default_factory=dict, repr=False)
    records: Results = field(init=False, repr=False)

    def __repr__(self) -> str:
        sources = ", ".join(self.document.sources)
        return f"Report({len(self.records)} records of {sources})"

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", self.document.results)

    @property
    def results(self) -> pd.DataFrame:
        """Every record as a row of a DataFrame.

        A metric with several definitions has a row for each: pandas' own pivot_table averages over
        them in silence, `pivot` keeps the default one.
        """
        return self.records.to_frame()

    def pivot(self, of: Literal["value", "std_error"] = "value") -> pd.DataFrame:
        """A row for each source, a column for each number, by its default definition alone.

        Args:
            of: what stands in the cells.

        Returns:
            Columns are called by the metric and its parameters, as `uniformity t=2`; NaN where a
            number is undefined.

        >>> from cl_analyze import analyze
        >>> report = analyze(np.eye(5), metrics="uniformity", source="eye")
        >>> report.pivot().columns.tolist()
        ['uniformity t=2', 'uniformity_of_uniform_law t=2', 'uniformity_gap t=2']
        >>> float(report.pivot().loc["eye", "uniformity t=2"])
        -4.0
        """
        import pandas as pd

        cells: dict[str, dict[str, float | None]] = {}
        for family, indices in self.document.families.items():
            definitions_of = {**METRICS, **BETWEEN}[family].definitions_of
            for record in (self.records[i] for i in indices):
                if record.definition not in (None, *definitions_of(record)[:1]):
                    continue
                params = (
                    f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                    for key, value in record.params.items()
                )
                cells.setdefault(" ".join([record.metric, *params]), {})[record.source] = getattr(
                    record, of
                )
        return pd.DataFrame(cells, index=list(self.document.sources), dtype=float)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What about the inputs may make the numbers mean less than they seem to."""
        return self.document.warnings

    @property
    def tables(self) -> dict[str, Table]:
        """All tables by name."""
        return self.document.all_tables()

    def save(self, folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
        """Write results.json, tables/, figures/ and report.html into a folder.

        Args:
            folder: made when it is missing; files of an earlier report there are replaced.
            formats: of the figures: png, svg, pdf.

        Returns:
            The written paths.

        Raises:
            ConfigError: the folder cannot be written.

        >>> from cl_analyze import analyze
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = analyze(np.eye(5), metrics="uniformity").save(folder)
        >>> [path.name for path in paths][:2]
        ['report.html', 'results.json']
        """
        from cl_analyze.report import write_report

        if not str(folder):
            raise ConfigError("the folder's name is empty")
        return write_report(self.document, Path(folder), tuple(formats))

    def compare(self, other: Report, paired: bool = True, confidence: float = 0.95) -> pd.DataFrame:
        """Differences of every metric, this report minus the other, with Holm-adjusted p-values.

        Records are matched by metric, definition and parameters.  Rows are matched by ids where
        both have them, else by position where their number and labels agree; where they cannot be,
        the variances add, and the column `paired` says so.  What depends on the dimensions, or on
        the number of rows, is left out where these differ.

        Args:
            other: a report of one source, as this one.
            paired: whether rows are the same items; False adds the variances.
            confidence: of the intervals.

        Returns:
            Columns metric, definition, params, source_a, source_b, difference, std_error, low,
            high, p_holm, paired.

        Raises:
            ConfigError: a report has several sources.

        >>> from cl_analyze import analyze
        >>> rows = np.random.default_rng(0).standard_normal((40, 3))
        >>> first, second = (analyze(z, metrics="uniformity") for z in (rows, rows + 0.1))
        >>> first.compare(second)["paired"].all()
        np.True_
        """
        import pandas as pd

        for report in (self, other):
            if len(report.document.sources) != 1:
                raise ConfigError(
                    f"compare takes reports of one source, found {report.document.sources}"
                )

        (mine, theirs) = (next(iter(report.rows.values())) for report in (self, other))
        match = match_rows(mine, theirs) if paired else Match(None, "unpaired, as asked for")
        groups = next(iter(self.groups.values()), None)
        found = adjusted(differences(self.records, other.records, match, groups, confidence))
        return pd.DataFrame([each.to_dict() for each in found], columns=list(COLUMNS))
