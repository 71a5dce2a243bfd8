"""The result of an analysis: records, tables, and comparison with another report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError
from cl_analyze.metrics.differences import (
    COLUMNS,
    Match,
    RowKeys,
    adjusted,
    differences,
    identity,
    match_rows,
)
from cl_analyze.metrics.headlines import headlines
from cl_analyze.processes import cores
from cl_analyze.quoting import nearest, quoted, some
from cl_analyze.results.document import Document
from cl_analyze.results.scalars import scalars
from cl_analyze.results.tables import Results, Table, number_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cl_analyze.analysis.drawing import Figures


@dataclass(frozen=True)
class Report:
    """The result of an analysis.

    Attributes:
        document: all results as plain data.
        records: all records.
        groups: source -> (N,) codes of the groups of its rows, for sources with groups.
        rows: source -> keys that match its rows with the rows of another report.
        originals: source -> the source whose variant it is; of a checkpoint as it is saved, itself.

    >>> from cl_analyze import analyze
    >>> report = analyze(np.eye(5), metrics="uniformity")
    >>> round(report.records.find("uniformity").value, 6)
    -4.0
    """

    document: Document
    groups: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    rows: dict[str, RowKeys] = field(default_factory=dict, repr=False)
    originals: dict[str, str] = field(default_factory=dict, repr=False)
    records: Results = field(init=False, repr=False)

    def __repr__(self) -> str:
        document, sources = self.document, self.document.sources
        found = [(h.title, h.find(document, sources[0])) for h in headlines(document)]
        numbers = [
            f"{title} {number_text(record.value, record.total_error)} {record.error_text}".rstrip()
            for title, record in found
            if len(sources) == 1 and record is not None and record.value is not None
        ]
        told = f": {', '.join(numbers[:3])}" if numbers else ""
        return f"Report({len(self.records)} records of {some(sources)}{told})"

    @cached_property
    def _fragment(self) -> str:
        from cl_analyze.report.notebook import render_fragment

        return render_fragment(self.document, list(self.figures.descriptions.values()))

    def _repr_html_(self) -> str:
        """The summary, sentences and main figures, for notebooks; without scripts."""
        return self._fragment

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", self.document.results)

    @property
    def results(self) -> pd.DataFrame:
        """All records as a DataFrame, one row for each record.

        A metric with several definitions has one row for each definition.  The pivot_table of
        pandas averages over definitions without a warning; `pivot` keeps only the default one.
        """
        return self.records.to_frame()

    def pivot(self, of: Literal["value", "std_error"] = "value") -> pd.DataFrame:
        """A row for each source and a column for each metric, in one definition of the metric.

        That is the default definition, or the first that the inputs allow.

        Args:
            of: the content of the cells: values or standard errors.

        Returns:
            A DataFrame.  The name of a column is the metric and its parameters, such as
            `uniformity t=2`.  An undefined value is NaN.

        >>> from cl_analyze import analyze
        >>> report = analyze(np.eye(5), metrics="uniformity", source="eye")
        >>> report.pivot().columns.tolist()
        ['uniformity t=2', 'uniformity_of_uniform_law t=2', 'uniformity_gap t=2']
        >>> float(report.pivot().loc["eye", "uniformity t=2"])
        -4.0
        """
        import pandas as pd

        cells: dict[str, dict[str, float | None]] = {}
        for record in self.records:  # the default definition comes first
            params = (
                f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                for key, value in record.params.items()
            )
            column = cells.setdefault(" ".join([record.metric, *params]), {})
            column.setdefault(record.source, getattr(record, of))
        return pd.DataFrame(cells, index=list(self.document.sources), dtype=float)

    def table(self, name: str) -> pd.DataFrame:
        """A table as a DataFrame: "results" for all records, a family's records, or another table.

        Args:
            name: a name of `tables`, or "results".

        Raises:
            ConfigError: there is no table of this name; the message lists the names.

        >>> from cl_analyze import analyze
        >>> report = analyze(np.eye(5), metrics="uniformity")
        >>> report.table("uniformity").loc[0, "metric"]
        'uniformity'
        """
        if name == "results":
            return self.results
        tables = self.document.all_tables
        if name not in tables:
            names = ["results", *tables]
            raise ConfigError(
                f"no table {quoted(name)}{nearest(str(name), names)}; there are {', '.join(names)}"
            )
        return tables[name].to_frame()

    def scalars(self, std_errors: bool = False) -> dict[str, float]:
        """All numbers by names that experiment trackers take, as `uniformity/u_stat/t_2`.

        A name is the metric, its definition if it has several, and its parameters.  It consists of
        letters, digits, `_`, `-`, `.` and `/`, and is the same in every run.

        Args:
            std_errors: whether the standard error of each value is added where it is known, under
                the name of the value and `_std_error`.

        Returns:
            name -> number, in the order of the results.  Undefined numbers are left out.  With
            several sources each name begins with its source: `step-1.npy/uniformity/u_stat/t_2`.

        >>> from cl_analyze import analyze
        >>> report = analyze(np.eye(5), metrics="uniformity")
        >>> round(report.scalars()["uniformity/u_stat/t_2"], 6)
        -4.0
        """
        return scalars(self.records, self.document.sources, std_errors)

    @cached_property
    def figures(self) -> Figures:
        """The figures by name, in the order of the report; each is drawn when it is looked up.

        `print(report.figures)` lists names and titles; `report.figures.descriptions[name]` has the
        title, the caption and what is drawn.
        """
        from cl_analyze.analysis.drawing import Figures

        return Figures(self.document)

    def plot(
        self,
        name: str,
        source: str | None = None,
        ax: Axes | None = None,
        panel: str | int | None = None,
    ) -> Figure:
        """Draw one figure with Matplotlib, without pyplot.

        Args:
            name: a name of `figures`.
            source: draw this source alone (of a comparison, beside its reference); None: all
                sources that the figure shows.
            ax: Axes of your own figure to draw into, in its style; None: a new figure, which a
                notebook shows and `savefig` writes.
            panel: the panel to draw, by its title or its number from 0; None: all panels.

        Returns:
            The figure; with `ax` the one that has these Axes.

        Raises:
            ConfigError: there is no such figure, source or panel; or `ax` is given for a figure
                of several panels.

        >>> from cl_analyze import analyze
        >>> report = analyze(np.eye(5), metrics="uniformity")
        >>> len(report.plot("uniformity").axes) > 0
        True
        """
        figures: Figures = self.figures
        return figures.plot(name, source, ax, panel)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about properties of the inputs that can make the metrics misleading."""
        return self.document.warnings

    @property
    def tables(self) -> dict[str, Table]:
        """All tables by name."""
        return dict(self.document.all_tables)

    def save(
        self, folder: str | Path, formats: Sequence[str] = ("png",), full_json: bool = False
    ) -> list[Path]:
        """Write results.json, tables/, figures/ and report.html into a folder.

        Figures are drawn on all cores where this process can fork (`cl_analyze.processes`).

        Args:
            folder: the folder; created if it is missing.  Files of an earlier report in it are
                replaced.
            formats: file formats of the figures: png, svg, pdf.
            full_json: write the rows of all tables into results.json too; otherwise it has the
                paths of their CSV files.

        Returns:
            The written paths.

        Raises:
            ConfigError: files cannot be written into the folder.

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
        return write_report(
            self.document, Path(folder), tuple(formats), n_processes=cores(), full_json=full_json
        )

    def log(
        self,
        to: Any,
        step: int | None = None,
        *,
        prefix: str = "",
        tables: bool | Iterable[str] = True,
        figures: bool | Iterable[str] = True,
        std_errors: bool = False,
        folder: str | Path | None = None,
    ) -> None:
        """Write numbers, tables and figures to a program that tracks experiments.

        The names are the same in every run: numbers as in `scalars`, tables `tables/NAME`, figures
        `figures/NAME`.  Without an active run, mlflow and wandb get a new run, which is finished
        afterwards.

        Args:
            to: "mlflow", "wandb", "tensorboard" or "dvclive"; or an MLflow run, a run of wandb, a
                SummaryWriter or a Live, which stays open.
            step: step of the training that the report belongs to; None: the tracker's own count
                (MLflow: 0).
            prefix: folder of all names, such as "dev" for `dev/uniformity/u_stat/t_2`.
            tables: names of the tables, "results" for all records; True: all; False: none.
            figures: names of the figures; True: all; False: none.  Drawing them takes most of the
                time.
            std_errors: whether the standard errors of the numbers are written too.
            folder: folder of the files of "tensorboard" (None: `runs`) or "dvclive" (None:
                `dvclive`).

        Raises:
            ConfigError: `to` is no tracker, or there is no such table or figure.
            DependencyError: the library of the tracker is not installed.

        >>> from cl_analyze import analyze
        >>> import tempfile
        >>> report = analyze(np.eye(5), metrics="uniformity")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report.log("tensorboard", step=100, figures=False, folder=folder)
        ...     print(len(list(Path(folder).iterdir())), "file of events")
        1 file of events
        """
        from cl_analyze.trackers import log
        from cl_analyze.trackers.contents import Contents

        table_names = _chosen(tables, ["results", *self.tables], "table")
        figure_names = _chosen(figures, self.figures, "figure")
        contents = Contents(
            self.scalars(std_errors),
            {name: self.table(name) for name in table_names},
            self.figures,
            tuple(figure_names),
            step,
            prefix,
        )
        log(contents, to, folder)

    def compare(self, other: Report, paired: bool = True, confidence: float = 0.95) -> pd.DataFrame:
        """Differences of every metric, this report minus the other, with Holm-adjusted p-values.

        Records are matched by metric, definition and parameters.  Rows are matched by ids if both
        reports have ids.  Otherwise they are matched by position, if the number of rows and the
        labels agree.  If rows cannot be matched, the variance of a difference is the sum of both
        variances, and the column `paired` is False.  If the dimensions or the numbers of rows
        differ, metrics that depend on them are left out.

        Args:
            other: a report of one source; this report must have one source too.
            paired: whether the rows of both reports are the same items; False: variances are added.
            confidence: confidence level of the intervals.

        Returns:
            Columns metric, definition, params, source_a, source_b, difference, std_error, low,
            high, p_holm, paired, p (not adjusted), p_headline (see `differences.adjusted`).

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

        (own_keys, other_keys) = (next(iter(report.rows.values())) for report in (self, other))
        match = (
            match_rows(own_keys, other_keys) if paired else Match(None, "unpaired, as asked for")
        )
        groups = next(iter(self.groups.values()), None)
        changes = differences(self.records, other.records, match, groups, confidence)
        found = (h.find(self.document, self.document.sources[0]) for h in headlines(self.document))
        rows = adjusted(changes, [identity(record) for record in found if record is not None])
        return pd.DataFrame([difference.to_dict() for difference in rows], columns=list(COLUMNS))


def _chosen(asked: bool | Iterable[str], known: Iterable[str], noun: str) -> list[str]:
    """The names that are asked for.

    Raises:
        ConfigError: one of them is unknown.
    """
    if isinstance(asked, bool):
        return list(known) if asked else []
    known = list(known)
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"no {noun} {quoted(name)}{nearest(str(name), known)}; there are {', '.join(known)}"
            )
    return names
