"""analyze(): open, check, normalise, plan, reduce, measure, report."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.data.labels import Labels, encode, has_suspicious_minus_one
from cl_analyze.data.opening import (
    LABEL_KEYS,
    Opened,
    OpenedEmbeddings,
    Spec,
    embeddings_from_memory,
    open_any,
    open_embeddings,
)
from cl_analyze.data.rows import Rows, SelectedRows, is_real
from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import RowCheck, check_rows, listed, require_valid
from cl_analyze.document import Document
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.family import (
    FamilyResult,
    MetricOptions,
    Negatives,
    PairRunner,
    Subject,
    measure,
)
from cl_analyze.metrics.penalty import penalty_of_uniform_similarities
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.executors import Executor, SerialExecutor, ThreadExecutor
from cl_analyze.pairs.plan import DEFAULT_BLOCK
from cl_analyze.stats import difference, holm
from cl_analyze.tables import Record, Results, Table

if TYPE_CHECKING:
    import pandas as pd

Precision = Literal["auto", "float32", "float64"]
OnInvalid = Literal["error", "drop"]

FLOAT64_ROWS = 20_000
FLOAT64_TAU = 0.02
PARTNER_KEYS = ("embeddings", "view2", "z2")
GROUP_KEYS = ("groups", "group")


class Listener(Protocol):
    """Who is told how a run goes; the command line prints it, the default is silence."""

    def note(self, text: str) -> None:
        """Something was chosen or found that the user should know."""
        ...

    def warn(self, text: str) -> None:
        """Something about the inputs may make the numbers mean less than they seem to."""
        ...

    def stage(self, text: str) -> None:
        """A new pass begins."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Pairs done, of pairs in all, in this pass."""
        ...


class Silent:
    """A listener that keeps quiet."""

    def note(self, text: str) -> None:
        """Keep quiet."""

    def warn(self, text: str) -> None:
        """Keep quiet."""

    def stage(self, text: str) -> None:
        """Keep quiet."""

    def progress(self, done: int, total: int) -> None:
        """Keep quiet."""


@dataclass(frozen=True)
class RunOptions:
    """How to compute; none of it changes what is computed beyond rounding.

    Attributes:
        device: cpu, cuda or mps.
        precision: of the similarities; auto takes float64 for float64 input of up to 20,000 rows
            and for temperatures under 0.02.
        threads: tiles at a time; None: one for each core this process may use.
        memory: budget in bytes; None: a quarter of what is free.
        block: rows of a tile.
        on_invalid: refuse rows with NaN, infinity or zero norm, or drop them and say so.
        unlabelled: a label value that means unlabelled.
        definition: keep this definition alone where a metric has it.
    """

    device: str = "cpu"
    precision: Precision = "auto"
    threads: int | None = None
    memory: int | None = None
    block: int = DEFAULT_BLOCK
    on_invalid: OnInvalid = "error"
    unlabelled: str | None = None
    definition: str | None = None


@dataclass(frozen=True)
class Request:
    """One checkpoint as the user names it: paths (with ::KEY) or arrays.

    Attributes:
        embeddings: (N, D), or (N, V, D) views.
        labels, pairs, groups: one value, or one partner, a row; None where there are none.
        source: its name in the output; None: from the path.
    """

    embeddings: Any
    labels: Any = None
    pairs: Any = None
    groups: Any = None
    source: str | None = None


@dataclass(frozen=True)
class Report:
    """What an analysis found.

    Attributes:
        document: everything, as data.
    """

    document: Document
    records: Results = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", self.document.results)

    @property
    def results(self) -> pd.DataFrame:
        """Every record as a row of a DataFrame."""
        return self.records.to_frame()

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
        """
        from cl_analyze.report import write_report

        return write_report(self.document, Path(folder), tuple(formats))

    def compare(self, other: Report, confidence: float = 0.95) -> pd.DataFrame:
        """Differences of every metric, this report minus the other, with Holm-adjusted p-values.

        Records are matched by metric, definition and parameters.  Where both know every row's part
        and have the same rows in the same order, the comparison is paired.

        Args:
            other: a report with one source, as this one.
            confidence: of the intervals.

        Returns:
            Columns metric, definition, params, source_a, source_b, difference, std_error, low,
            high, p_holm, paired.
        """
        import pandas as pd

        theirs = {_identity(record): record for record in other.records}
        rows: list[dict[str, Any]] = []
        p_values: list[float | None] = []
        for record in self.records:
            match = theirs.get(_identity(record))
            if match is None or record.value is None or match.value is None:
                continue
            found = difference(
                record.value,
                match.value,
                record.pseudo_values,
                match.pseudo_values,
                (record.std_error, match.std_error),
                confidence=confidence,
            )
            p_values.append(found.p_value)
            rows.append(
                {
                    "metric": record.metric,
                    "definition": record.definition,
                    "params": record.params,
                    "source_a": record.source,
                    "source_b": match.source,
                    "difference": found.value,
                    "std_error": found.std_error,
                    "low": found.low,
                    "high": found.high,
                    "p_holm": found.p_value,
                    "paired": found.paired,
                }
            )
        adjusted = holm(p_values)
        for row, p_value in zip(rows, adjusted, strict=True):
            row["p_holm"] = p_value
        return pd.DataFrame(rows)


def _identity(record: Record) -> tuple[Any, ...]:
    return record.metric, record.definition, tuple(sorted(record.params.items()))


def analyze(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    groups: Any = None,
    taus: Sequence[float] | None = None,
    ts: Sequence[float] | None = None,
    metrics: Iterable[str] | str = ("uniformity", "tolerance", "similarity", "penalty"),
    top_k: int = 10,
    negatives: Literal["instance", "class"] = "instance",
    curve_anchors: int | None = 2_048,
    seed: int = 0,
    source: str | None = None,
    run: RunOptions | None = None,
    executor: Executor | None = None,
) -> Report:
    """Measure saved embeddings: everything that the inputs allow, from one pass over the pairs.

    Args:
        embeddings: (N, D) array, torch tensor, or path (PATH or PATH::KEY); (N, V, D) gives views;
            a list of paths gives several checkpoints.
        labels: (N,) classes as an array or a path; None takes those in the embeddings' file.
        pairs: (N, D) partners of the rows as an array or a path; None takes views in the file.
        groups: (N,) codes of rows that belong together, for clustered error bars.
        taus: temperatures of the penalty, each > 0; default 0.07 0.1 0.2 0.3 0.5 0.7 1.
        ts: exponents of uniformity, each > 0; default 2.
        metrics: families to compute, or "all".
        top_k: nearest negatives to describe.
        negatives: instance (every other row) or class (rows of other classes).
        curve_anchors: rows behind penalty mass and similarity histograms; None: all.
        seed: of everything drawn at random.
        source: name in the output.
        run: device, precision, threads, memory.
        executor: where tiles run; default threads.

    Returns:
        A Report: `.results` (DataFrame), `.records`, `.tables`, `.save(folder)`.

    Raises:
        DataError: the inputs do not hold what is needed.
        ConfigError: an option makes no sense.

    Cost: time O(N^2 D), memory O(N (top_k + taus) + block^2 threads).

    >>> import numpy as np
    >>> report = analyze(np.eye(64), metrics="uniformity")
    >>> round(report.records.find("uniformity").value, 9)    # orthogonal rows: -2t
    -4.0
    """
    options = metric_options(
        ts=ts, taus=taus, top_k=top_k, negatives=negatives, curve_anchors=curve_anchors, seed=seed
    )
    several = isinstance(embeddings, list | tuple) and all(
        isinstance(item, str | Path) for item in embeddings
    )
    if several:
        requests = [Request(item, labels, pairs, groups) for item in embeddings]
    else:
        requests = [Request(embeddings, labels, pairs, groups, source)]
    return run_analysis(
        requests, families(metrics), options, run or RunOptions(), "report", executor
    )


def metric_options(
    ts: Sequence[float] | None = None,
    taus: Sequence[float] | None = None,
    top_k: int = 10,
    negatives: str = "instance",
    curve_anchors: int | None = 2_048,
    seed: int = 0,
) -> MetricOptions:
    """The options of metrics, checked; None takes the default.

    Raises:
        ConfigError: a temperature or t that is not finite and > 0, or a count under 1.
    """
    if negatives not in ("instance", "class"):
        raise ConfigError(f"negatives must be instance or class, found {negatives!r}")
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, found {seed}")
    return MetricOptions(
        ts=_positive("t", ts, MetricOptions().ts),
        taus=_positive("tau", taus, MetricOptions().taus),
        top_k=_count("top-k", top_k),
        negatives=cast(Negatives, negatives),
        curve_anchors=None if curve_anchors is None else _count("curve-anchors", curve_anchors),
        seed=seed,
    )


def families(names: Iterable[str] | str) -> tuple[str, ...]:
    """Names of metric families, checked; "all" is every one.

    Raises:
        ConfigError: no such family.
    """
    listed = (names,) if isinstance(names, str) else tuple(names)
    if listed == ("all",):
        return tuple(METRICS)
    for name in listed:
        if name not in METRICS:
            raise ConfigError(f"no metrics {name!r}; there are {', '.join(METRICS)} and all")
    return tuple(dict.fromkeys(listed))


def _positive(
    name: str, values: Sequence[float] | None, default: tuple[float, ...]
) -> tuple[float, ...]:
    """Finite numbers > 0, repeats dropped."""
    if values is None:
        return default
    if not len(values):
        raise ConfigError(f"{name}: at least one value is needed")
    for value in values:
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be finite and > 0, found {value}")
    return tuple(dict.fromkeys(float(value) for value in values))


def _count(name: str, value: int) -> int:
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, found {value}")
    return int(value)


def run_analysis(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    command: str,
    executor: Executor | None = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Report:
    """Measure checkpoints one after the other and put what was found into one report."""
    told = _Recorder(listener or Silent())
    chosen = [METRICS[name] for name in names]
    _check_definition(run.definition, names)
    collected = _Collected()
    titles = _titles(requests)
    dims: dict[str, int] = {}
    for request, title in zip(requests, titles, strict=True):
        ready = _prepare(request, title, names, options, run, told, collected)
        if "tolerance" in names and len(names) == 1 and ready.labels is None:
            raise DataError(f"{title}: tolerance needs labels: pass --labels FILE")
        dims[title] = ready.d
        runner = PairRunner(
            ready,
            make_backend(run.device, ready.rows.dtype.type),
            executor or _executor(run),
            run.block,
            told.progress,
        )
        announce: Callable[[str], None] = lambda text, title=title: told.stage(  # type: ignore[misc]  # noqa: E731
            f"{title}: {text}"
        )
        found = measure(chosen, ready, options, runner, announce)
        collected.add(dict(zip(names, found, strict=True)), told)
        collected.positives[title] = _positives(ready)
    if len(set(dims.values())) > 1:
        listing = ", ".join(f"{title} {d}" for title, d in dims.items())
        told.warn(
            f"dimensions differ ({listing}): compare uniformity_gap, not uniformity, between them"
        )
    return collected.report(command, arguments, names, options, run, told)


def uniform_penalty(
    options: MetricOptions, n_negatives: int, command: str, arguments: Sequence[str] = ()
) -> Report:
    """The penalty without embeddings: similarities spread evenly over [-1, 1].

    Raises:
        ConfigError: fewer than two negatives.
    """
    if n_negatives < 2:
        raise ConfigError(f"--n-negatives must be at least 2, found {n_negatives}")
    collected = _Collected()
    told = _Recorder(Silent())
    collected.add({"penalty": penalty_of_uniform_similarities(options, n_negatives)}, told)
    return collected.report(command, arguments, ("penalty",), options, RunOptions(), told)


def _threads(run: RunOptions) -> int:
    """Threads asked for, else the cores this process may use."""
    if run.threads is not None:
        return run.threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _executor(run: RunOptions) -> Executor:
    threads = _threads(run)
    return ThreadExecutor(threads) if threads > 1 and run.device == "cpu" else SerialExecutor()


def _check_definition(definition: str | None, names: Sequence[str]) -> None:
    if definition is None:
        return
    known = [d for name in names for ds in METRICS[name].definitions.values() for d in ds]
    if definition not in known:
        listing = ", ".join(dict.fromkeys(known)) or "none here"
        raise ConfigError(f"no metric here has a definition {definition!r}; there are: {listing}")


def _titles(requests: Sequence[Request]) -> list[str]:
    """Names of sources: the shortest path suffix that is unique, with ::KEY where one was typed."""
    specs = [
        Spec.parse(str(request.embeddings))
        if isinstance(request.embeddings, str | Path)
        else Spec(request.source or "embeddings")
        for request in requests
    ]
    texts = [str(spec) for spec in specs]
    for text in texts:
        if texts.count(text) > 1:
            raise ConfigError(f"{text} is given twice; name each checkpoint once")
    titles = []
    for request, spec in zip(requests, specs, strict=True):
        if request.source is not None:
            titles.append(request.source)
            continue
        parts = Path(spec.path).parts
        suffix = spec.path
        for length in range(1, len(parts) + 1):
            suffix = str(Path(*parts[-length:]))
            alike = [s for s in specs if Path(*Path(s.path).parts[-length:]) == Path(suffix)]
            if len({s.path for s in alike}) == 1:
                break
        titles.append(suffix if spec.key is None else f"{suffix}::{spec.key}")
    return titles


class _Recorder:
    """Passes everything on to a listener and remembers the warnings."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self._listener.note(text)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self._listener.warn(text)

    def stage(self, text: str) -> None:
        self._listener.stage(text)

    def progress(self, done: int, total: int) -> None:
        self._listener.progress(done, total)


class _Collected:
    """Inputs, records and tables of all checkpoints, in the order of arrival."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.records: dict[str, list[Record]] = {}
        self.tables: dict[str, Table] = {}
        self.positives: dict[str, str] = {}

    def add_input(
        self, opened: Opened, dropped: int, duplicates: int | None, unlabelled: int | None
    ) -> None:
        shape = opened.array.shape
        entry = {
            "path": opened.path,
            "key": opened.key,
            "sha256": opened.sha256(),
            "n": shape[0],
            "d": shape[1] if len(shape) > 1 else None,
            "dtype": opened.array.dtype_name,
            "dropped_rows": dropped,
            "duplicate_rows": duplicates,
            "unlabelled_rows": unlabelled,
        }
        if entry not in self.inputs:
            self.inputs.append(entry)

    def add(self, found: dict[str, FamilyResult], told: _Recorder) -> None:
        for name, result in found.items():
            self.records.setdefault(name, []).extend(result.records)
            for table in result.tables:
                before = self.tables.get(table.name)
                rows = table.rows if before is None else (*before.rows, *table.rows)
                self.tables[table.name] = replace(table, rows=rows)
            for text in result.notes:
                told.warn(text)

    def report(
        self,
        command: str,
        arguments: Sequence[str],
        names: Sequence[str],
        options: MetricOptions,
        run: RunOptions,
        told: _Recorder,
    ) -> Report:
        records: list[Record] = []
        by_family: dict[str, tuple[int, ...]] = {}
        for name in names:
            kept = [
                record
                for record in self.records.get(name, [])
                if run.definition is None
                or record.definition == run.definition
                or run.definition not in METRICS[name].definitions[record.metric]
            ]
            if kept:
                by_family[name] = tuple(range(len(records), len(records) + len(kept)))
                records += kept
        return Report(
            Document(
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
                    "precision": run.precision,
                    "seed": options.seed,
                },
                results=Results(records),
                families=by_family,
                tables=self.tables,
                warnings=tuple(told.warnings),
                positives=self.positives,
                negatives=(
                    "every other row"
                    if options.negatives == "instance"
                    else "rows of other classes"
                ),
            )
        )


def _now() -> str:
    """UTC time; SOURCE_DATE_EPOCH fixes it for reproducible files."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = (
        datetime.datetime.fromtimestamp(int(epoch), tz=datetime.UTC)
        if epoch is not None and epoch.isdigit()
        else datetime.datetime.now(tz=datetime.UTC)
    )
    return when.replace(microsecond=0).isoformat()


def _positives(subject: Subject) -> str:
    if subject.partners is not None:
        return "each row with its partner in the second file"
    if subject.views is not None:
        return "view 1 with view 2 of the same row"
    if subject.labels is not None:
        return "every pair of rows of one class"
    return "none (no views and no labels)"


def _prepare(
    request: Request,
    title: str,
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    told: _Recorder,
    collected: _Collected,
) -> Subject:
    """Open and check one checkpoint, drop what was asked to be dropped, put rows on the sphere."""
    opened = _open(request, title, names)
    for text in opened.notes:
        told.note(text)
    main = opened.main
    partners = None
    if request.pairs is not None:
        partners = open_any(request.pairs, "pairs", PARTNER_KEYS)
        _check_partners(main, partners)
    views = None if partners is not None else opened.views
    labels_from = (
        open_any(request.labels, "labels", LABEL_KEYS)
        if request.labels is not None
        else opened.labels
    )
    groups_from = (
        open_any(request.groups, "groups", GROUP_KEYS) if request.groups is not None else None
    )
    for other, what in ((labels_from, "labels"), (groups_from, "groups")):
        if other is not None:
            _check_length(main, other, what)
    labels = None if labels_from is None else encode(labels_from, run.unlabelled)
    groups = None if groups_from is None else encode(groups_from, what="groups").codes

    told.stage(f"{title}: checking rows")
    checks = [(main, check_rows(main.array))]
    beside = [*(views or ()), *([partners] if partners is not None else [])]
    checks += [
        (other, check_rows(other.array)) for other in beside if other.array is not main.array
    ]
    kept = _kept_rows(checks, main.array.n_rows, run, told)
    dropped = main.array.n_rows - len(kept)
    for opened_array, check in checks:
        collected.add_input(
            opened_array,
            dropped,
            len(check.duplicates),
            labels.n_unlabelled if labels is not None and opened_array is main else None,
        )
    if labels_from is not None and labels is not None:
        collected.add_input(labels_from, dropped, None, labels.n_unlabelled)
    if groups_from is not None:
        collected.add_input(groups_from, dropped, None, None)
    _warn_about(title, checks[0][1], labels, run, told)
    if dropped:
        labels = None if labels is None else labels.take(kept)
        groups = None if groups is None else groups[kept]
    if groups is not None and (groups < 0).any():
        raise DataError(f"{title}: every row needs a group; {int((groups < 0).sum())} have none")
    if options.negatives == "class" and labels is None:
        raise ConfigError(f"{title}: class negatives need labels: pass --labels FILE")

    dtype = _precision(main, len(kept), options, run)
    budget = _memory_budget(run, len(kept), main.array.shape[1], options, title)

    def unit(array: Any) -> UnitRows:
        rows: Rows = SelectedRows(array, kept) if dropped else array
        return UnitRows(rows, dtype, budget)

    return Subject(
        source=title,
        rows=unit(main.array),
        raw=SelectedRows(main.array, kept) if dropped else main.array,
        labels=labels,
        views=(
            (unit(views[0].array), unit(views[1].array))
            if views is not None
            else (unit(main.array), unit(partners.array))
            if partners is not None
            else None
        ),
        partners=None if partners is None else unit(partners.array),
        groups=groups,
    )


def _open(request: Request, title: str, names: Sequence[str]) -> OpenedEmbeddings:
    """The embeddings, with only those companions of their file that the metrics look at."""
    wants_labels = request.labels is None and any(METRICS[name].uses_labels for name in names)
    wants_views = request.pairs is None and any(METRICS[name].uses_views for name in names)
    if isinstance(request.embeddings, str | Path):
        return open_embeddings(Spec.parse(str(request.embeddings)), wants_labels, wants_views)
    opened = embeddings_from_memory(request.embeddings, title)
    return opened if wants_views else replace(opened, views=None)


def _check_partners(main: Opened, partners: Opened) -> None:
    if len(partners.array.shape) != 2 or not is_real(partners.array.dtype):
        raise DataError(
            f"{partners.name}: partners must be a 2-D array of real numbers, found shape "
            f"{partners.array.shape}, {partners.array.dtype_name}"
        )
    _check_length(main, partners, "partners")
    if main.array.shape[1] != partners.array.shape[1]:
        raise DataError(
            f"{partners.name} has {partners.array.shape[1]} dimensions, {main.name} has "
            f"{main.array.shape[1]}; partners must be in the same space"
        )


def _check_length(main: Opened, other: Opened, what: str) -> None:
    n, m = main.array.n_rows, other.array.n_rows if other.array.shape else 0
    if n == m:
        return
    hint = ""
    if other.path is not None and Path(other.path).suffix.lower() in (".csv", ".tsv", ".txt"):
        if m == n + 1:
            hint = "; its first line may be a header: name the column as PATH::COLUMN, or remove it"
        elif m == n - 1:
            hint = "; a first line may have been taken for a header"
    raise DataError(
        f"{other.name} has {m} rows, {main.name} has {n}; {what} must have one for each "
        f"embedding, in the same order{hint}"
    )


def _kept_rows(
    checks: Sequence[tuple[Opened, RowCheck]], n_rows: int, run: RunOptions, told: _Recorder
) -> NDArray[np.int64]:
    kept = np.ones(n_rows, dtype=bool)
    for opened, check in checks:
        if run.on_invalid == "error":
            require_valid(check, opened.name)
        elif len(check.invalid):
            kept[check.invalid] = False
            told.warn(
                f"{opened.name}: dropped {listed(check.invalid)} (NaN, infinite or zero norm), "
                "with their labels and partners"
            )
    if kept.sum() < 2:
        raise DataError(f"{checks[0][0].name}: fewer than 2 valid rows are left")
    return np.flatnonzero(kept).astype(np.int64)


def _warn_about(
    title: str, check: RowCheck, labels: Labels | None, run: RunOptions, told: _Recorder
) -> None:
    n = len(check.duplicates)
    if n:
        told.warn(
            f"{title}: {n} row{'s are' if n > 1 else ' is'} equal to an earlier row "
            f"({listed(check.duplicates)})"
        )
    if labels is None:
        return
    if labels.n_singletons:
        told.warn(f"{title}: classes with one member, which has no positive: {labels.n_singletons}")
    if run.unlabelled is None and has_suspicious_minus_one(labels):
        told.warn(
            f"{title}: the label -1 is taken as a class; pass --unlabelled -1 if it means none"
        )
    if labels.n_unlabelled:
        told.warn(
            f"{title}: {labels.n_unlabelled} rows are unlabelled and left out of class metrics"
        )


def _precision(
    main: Opened, n_rows: int, options: MetricOptions, run: RunOptions
) -> type[np.floating[Any]]:
    if run.precision == "float32" or run.device.startswith("mps"):
        return np.float32
    if run.precision == "float64" or min(options.taus) < FLOAT64_TAU:
        return np.float64
    wide = main.array.dtype != "bfloat16" and np.dtype(main.array.dtype).itemsize == 8
    return np.float64 if wide and n_rows <= FLOAT64_ROWS else np.float32


def free_memory() -> int:
    """Bytes that this machine can still give, as far as can be told; 2 GiB where it cannot."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 2 << 30


def _memory_budget(
    run: RunOptions, n_rows: int, dim: int, options: MetricOptions, title: str
) -> int:
    """Bytes for cached rows, after what the run cannot do without."""
    budget = run.memory if run.memory is not None else free_memory() // 4
    per_row = 16 * (options.n_neighbours + 8) + 8 * (
        8 * len(options.taus) + 4 * len(options.ts) + 8
    )
    threads = _threads(run)
    needed = n_rows * per_row + threads * (10 * run.block**2 * 8 + 2 * run.block * dim * 8)
    if needed > budget:
        raise ConfigError(
            f"{title}: {n_rows} rows need about {needed / 2**20:.0f} MiB, the budget is "
            f"{budget / 2**20:.0f} MiB; pass --memory {needed // 2**20 + 1}MiB or more, fewer "
            "--tau, or fewer --threads"
        )
    return budget - needed
