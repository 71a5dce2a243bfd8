"""analyze(): open, check, normalise, plan, reduce, measure, report."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from cl_analyze._version import __version__
from cl_analyze.differences import (
    COLUMNS,
    Match,
    RowKeys,
    adjusted,
    differences,
    match_rows,
)
from cl_analyze.document import Document
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, METRICS
from cl_analyze.metrics.even_similarities import penalty_of_uniform_similarities
from cl_analyze.metrics.family import (
    Family,
    FamilyResult,
    MetricOptions,
    Negatives,
    PairRunner,
    Subject,
    measure,
)
from cl_analyze.metrics.forecast import forecast
from cl_analyze.metrics.quality.family import with_voters
from cl_analyze.metrics.quality.projection import METHODS, require
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.cluster import dask_client
from cl_analyze.pairs.executors import Executor, SerialExecutor, ThreadExecutor, as_executor
from cl_analyze.preparation import (
    Listener,
    Prepared,
    Recorder,
    Request,
    RunOptions,
    Silent,
    n_threads,
    positives_in_words,
    prepare,
    source_names,
)
from cl_analyze.tables import Record, Results, Table

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


def analyze(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    groups: Any = None,
    ids: Any = None,
    taus: Sequence[float] | None = None,
    ts: Sequence[float] | None = None,
    metrics: Iterable[str] | str = ("uniformity", "tolerance", "similarity", "penalty"),
    top_k: int = 10,
    negatives: Literal["instance", "class"] = "instance",
    curve_anchors: int | None = 2_048,
    anchors: int | None = None,
    penalty_alpha: float | None = None,
    hard_alpha: float = 0.1,
    simple_lambda: float | None = None,
    kcl_t: float = 2.0,
    kcl_gamma: float = 16.0,
    batch_sizes: Sequence[int] = (),
    queue: Any = None,
    clop_anchors: Any = None,
    ks: Sequence[int] | None = None,
    alignment_power: float = 2.0,
    train: Any = None,
    train_labels: Any = None,
    projection: Literal["pca", "tsne", "umap"] = "pca",
    seed: int = 0,
    source: str | None = None,
    run: RunOptions | None = None,
    executor: Any = None,
) -> Report:
    """Measure saved embeddings: everything that the inputs allow, from one pass over the pairs.

    Args:
        embeddings: (N, D) array, torch tensor, or path (PATH or PATH::KEY); (N, V, D) gives views;
            a list of paths gives several checkpoints.
        labels: (N,) classes as an array or a path; None takes those in the embeddings' file.
        pairs: (N, D) partners of the rows as an array or a path; None takes views in the file.
        groups: (N,) codes of rows that belong together, for clustered error bars.
        ids: (N,) what identifies each row across checkpoints (integers or strings, as an array or a
            path), so that `Report.compare` matches rows in any order.
        taus: temperatures of the penalty, each > 0; default 0.07 0.1 0.2 0.3 0.5 0.7 1.
        ts: exponents of uniformity, each > 0; default 2.
        metrics: families to compute, or "all".
        top_k: nearest negatives to describe.
        negatives: instance (every other row) or class (rows of other classes).
        curve_anchors: rows behind penalty mass and similarity histograms; None: all.
        anchors: estimate every mean over rows from this many rows against all (>= 10), where all
            pairs would take too long; None: exact.
        penalty_alpha: share of the negatives that truncated penalty curves keep; None: no curves.
        hard_alpha: share of the negatives that the hard losses keep, in (0, 1].
        simple_lambda: weight of the simple losses' negatives; None: 1 / (number of negatives).
        kcl_t, kcl_gamma: parameter of the losses' kernels, and weight of their energies.
        batch_sizes: sizes for which the losses' expectations over batches are estimated.
        queue: (K, D) further negatives of the contrastive loss, as an array or a path.
        clop_anchors: (C, D) anchors of the classes in their sorted order; None: the orthonormal
            frame that fits best.
        ks: neighbours that vote, and that recall looks at; default 1 10 20 200.
        alignment_power: exponent of the distances in alignment, > 0.
        train: (M, D) rows that the kNN vote and the linear probe learn from, as an array or a path
            (of several checkpoints a list, one each: encoders have spaces of their own); None:
            leave-one-out, and a part of the rows.
        train_labels: (M,) their classes; None takes those in their file.
        projection: how rows are laid out in the plane: pca, tsne or umap (their libraries must be
            installed).
        seed: of everything drawn at random.
        source: name in the output.
        run: device, precision, threads, memory, where to keep what a run could resume from.
        executor: where the work runs: a `concurrent.futures` executor or a Dask client; default
            threads.  With other processes or machines, give embeddings as a path that they see.

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
        ts=ts,
        taus=taus,
        top_k=top_k,
        negatives=negatives,
        curve_anchors=curve_anchors,
        seed=seed,
        anchors=anchors,
        hard_alpha=hard_alpha,
        simple_lambda=simple_lambda,
        kcl_t=kcl_t,
        kcl_gamma=kcl_gamma,
        batch_sizes=batch_sizes,
        penalty_alpha=penalty_alpha,
        ks=ks,
        alignment_power=alignment_power,
        projection=projection,
    )
    several = isinstance(embeddings, list | tuple) and all(
        isinstance(item, str | Path) for item in embeddings
    )
    if several:
        each = [
            _one_each(values, name, len(embeddings))
            for values, name in (
                (labels, "labels"),
                (pairs, "pairs"),
                (groups, "groups"),
                (ids, "ids"),
                (train, "train"),
                (train_labels, "train_labels"),
            )
        ]
        companions = list(zip(embeddings, *each, strict=True))
    else:
        companions = [(embeddings, labels, pairs, groups, ids, train, train_labels)]
    requests = [
        Request(
            item,
            its_labels,
            its_pairs,
            its_groups,
            None if several else source,
            queue,
            clop_anchors,
            its_train,
            its_train_labels,
            its_ids,
        )
        for item, its_labels, its_pairs, its_groups, its_ids, its_train, its_train_labels in (
            companions
        )
    ]
    return run_analysis(
        requests, families(metrics), options, run or RunOptions(), "report", executor
    )


def _one_each(values: Any, name: str, n: int) -> list[Any]:
    """Companions of several checkpoints: a list of that many, or one for all."""
    if not isinstance(values, list | tuple) or len(values) != n:
        return [values] * n
    if all(isinstance(value, str | Path) or np.ndim(value) > 0 for value in values):
        return list(values)
    raise ConfigError(f"{name}: give one for all checkpoints, or a list with one for each")


def metric_options(
    ts: Sequence[float] | None = None,
    taus: Sequence[float] | None = None,
    top_k: int = 10,
    negatives: str = "instance",
    curve_anchors: int | None = 2_048,
    seed: int = 0,
    anchors: int | None = None,
    hard_alpha: float = 0.1,
    simple_lambda: float | None = None,
    kcl_t: float = 2.0,
    kcl_gamma: float = 16.0,
    batch_sizes: Sequence[int] = (),
    penalty_alpha: float | None = None,
    ks: Sequence[int] | None = None,
    alignment_power: float = 2.0,
    projection: str = "pca",
) -> MetricOptions:
    """The options of metrics, checked; None takes the default.

    Raises:
        ConfigError: a temperature or t that is not finite and > 0, a count under 1, a share
            outside (0, 1].
    """
    sizes = batch_sizes if isinstance(batch_sizes, Iterable) else (batch_sizes,)
    neighbours = MetricOptions().ks if ks is None else ks if isinstance(ks, Iterable) else (ks,)
    if projection not in METHODS:
        raise ConfigError(f"projection must be pca, tsne or umap, found {projection!r}")
    require(projection)
    check_counts(seed, anchors)
    if negatives not in ("instance", "class"):
        raise ConfigError(f"negatives must be instance or class, found {negatives!r}")
    return MetricOptions(
        ts=_positive("t", ts, MetricOptions().ts),
        taus=_positive("tau", taus, MetricOptions().taus),
        top_k=whole_number("top-k", top_k),
        negatives=cast(Negatives, negatives),
        curve_anchors=None
        if curve_anchors is None
        else whole_number("curve-anchors", curve_anchors),
        seed=seed,
        anchors=anchors,
        penalty_alpha=None if penalty_alpha is None else _share(penalty_alpha),
        hard_alpha=_share(hard_alpha),
        simple_lambda=simple_lambda
        if simple_lambda is None or simple_lambda == 0
        else one_number("simple-lambda", simple_lambda),
        kcl_t=one_number("kcl-t", kcl_t),
        kcl_gamma=one_number("kcl-gamma", kcl_gamma),
        batch_sizes=tuple(sorted({whole_number("batch-size", size, least=2) for size in sizes})),
        ks=tuple(sorted({whole_number("k", k) for k in neighbours})) or MetricOptions().ks,
        alignment_power=one_number("alignment-power", alignment_power),
        projection=projection,
    )


def check_counts(seed: int, anchors: int | None) -> None:
    """Whether the options that every command has make sense.

    Raises:
        ConfigError: a seed under 0, or fewer than ten anchors.
    """
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, found {seed}")
    if anchors is not None:
        whole_number("anchors", anchors, least=10)


def families(names: Iterable[str] | str) -> tuple[str, ...]:
    """Names of metric families, checked; "all" is every one.

    Raises:
        ConfigError: no such family.
    """
    listed = (names,) if isinstance(names, str) else tuple(names)
    if not listed:
        raise ConfigError(f"no metrics are asked for; there are {', '.join(METRICS)} and all")
    if listed == ("all",):
        return tuple(METRICS)
    for name in listed:
        if name not in METRICS:
            raise ConfigError(f"no metrics {name!r}; there are {', '.join(METRICS)} and all")
    return tuple(dict.fromkeys(listed))


SMALLEST, LARGEST = 1e-6, 1e6
"""Temperatures and exponents outside this range have no use, and overflow."""


def _positive(name: str, values: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    """Finite numbers > 0, repeats dropped; one number is a list of one."""
    if values is None:
        return default
    try:
        numbers = np.asarray(values, dtype=np.float64).reshape(-1).tolist()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must be numbers, found {values!r}") from error
    if not numbers or np.asarray(values).dtype.kind == "b":
        raise ConfigError(f"{name}: at least one number is needed, found {values!r}")
    for value in numbers:
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be finite and > 0, found {value:g}")
        if not SMALLEST <= value <= LARGEST:
            raise ConfigError(f"{name} must lie in {SMALLEST:g} .. {LARGEST:g}, found {value:g}")
    return tuple(dict.fromkeys(numbers))


def _share(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:
        raise ConfigError(f"hard-alpha must lie in (0, 1], found {value}")
    return float(value)


def one_number(name: str, value: Any) -> float:
    """A finite number above zero.

    Raises:
        ConfigError: it is not, or too small or large to be of use, or there are several.
    """
    numbers = _positive(name, value, ())
    if len(numbers) != 1:
        raise ConfigError(f"{name} must be one number, found {value!r}")
    return numbers[0]


def whole_number(name: str, value: int, least: int = 1) -> int:
    """A whole number.

    Raises:
        ConfigError: it is none, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, found {value!r}")
    return int(value)


def run_analysis(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    command: str,
    executor: Any = None,
    listener: Listener | None = None,
    arguments: Sequence[str] = (),
) -> Report:
    """Measure checkpoints one after the other and put what was found into one report."""
    told = Recorder(listener or Silent())
    with executor_of(run, executor) as where:
        return _measured(requests, names, options, run, command, where, told, arguments)


def _measured(
    requests: Sequence[Request],
    names: Sequence[str],
    options: MetricOptions,
    run: RunOptions,
    command: str,
    where: Executor,
    told: Recorder,
    arguments: Sequence[str],
) -> Report:
    chosen = [METRICS[name] for name in names]
    check_definition(run.definition, names)
    if "quality" in names:
        options = with_voters(options)
    collected = Collected()
    ready = []
    for request, title in zip(requests, source_names(requests), strict=True):
        prepared = prepare(request, title, names, options, run, told)
        ready.append(prepared)
        collected.add_inputs(prepared.inputs)
    dims = {prepared.subject.source: prepared.subject.d for prepared in ready}
    if len(set(dims.values())) > 1:
        listing = ", ".join(f"{title} {d}" for title, d in dims.items())
        told.warn(
            f"dimensions differ ({listing}): compare uniformity_gap, not uniformity, between them"
        )
    if any(options.anchors_of(prepared.subject.n) is not None for prepared in ready):
        told.note(
            f"means over rows are estimated from {options.anchors} anchors against all rows; "
            "sampling: the distance to expect from the exact value, beside ±, the error over rows"
        )
    for prepared in ready:
        results = measure_one(prepared, chosen, options, run, where, told)
        collected.add(dict(zip(names, results, strict=True)), told)
        collected.add_subject(prepared.subject, options)
        prepared.subject.release()
    return collected.report(command, arguments, names, options, run, told)


def measure_one(
    prepared: Prepared,
    chosen: Sequence[Family],
    options: MetricOptions,
    run: RunOptions,
    where: Executor,
    told: Recorder,
) -> list[FamilyResult]:
    """What the families find in one checkpoint, its cost told before it starts."""
    subject = prepared.subject
    runner = PairRunner(
        subject,
        make_backend(run.device, subject.rows.dtype.type),
        where,
        prepared.room.block,
        told.progress,
        None if run.resume is None else Path(run.resume),
        prepared.fingerprint if run.resume is not None else "",
        run.save_every,
        _announcer(told, subject.source),
        told.resumed,
    )
    _tell_cost(chosen, prepared, options, runner, told)
    return measure(chosen, subject, options, runner)


def _announcer(told: Recorder, source: str) -> Callable[[str], None]:
    return lambda text: told.stage(f"{source}: {text}")


def uniform_penalty(
    options: MetricOptions,
    n_negatives: int,
    command: str = "penalty",
    arguments: Sequence[str] = (),
    definition: str | None = None,
) -> Report:
    """The penalty without embeddings: similarities spread evenly over [-1, 1].

    Args:
        options: temperatures and seed.
        n_negatives: how many similarities are drawn for the summaries.
        command, arguments: what the document says it was made by.
        definition: keep this definition alone where a metric has it.

    Raises:
        ConfigError: fewer than two negatives, or no such definition.
    """
    check_definition(definition, ("penalty",))
    if n_negatives < 2:
        raise ConfigError(f"--n-negatives must be at least 2, found {n_negatives}")
    collected = Collected()
    told = Recorder(Silent())
    collected.add({"penalty": penalty_of_uniform_similarities(options, n_negatives)}, told)
    run = RunOptions(definition=definition)
    return collected.report(command, arguments, ("penalty",), options, run, told)


@contextlib.contextmanager
def executor_of(run: RunOptions, given: Any) -> Iterator[Executor]:
    """Where the work runs: what was given, a Dask cluster, threads, or here."""
    if given is not None:
        yield as_executor(given)
    elif run.scheduler is not None:
        with dask_client(run.scheduler) as client:
            yield as_executor(client)
    else:
        threads = n_threads(run)
        several = threads > 1 and run.device == "cpu"
        yield ThreadExecutor(threads) if several else SerialExecutor()


LONG, VERY_LONG = 5.0, 600.0
"""Seconds above which a run is announced, and above which an estimate is proposed."""


def _tell_cost(
    chosen: Sequence[Family],
    prepared: Prepared,
    options: MetricOptions,
    runner: PairRunner,
    told: Recorder,
) -> None:
    """Say what a long run will take before it starts."""
    subject = prepared.subject
    expected = forecast(chosen, subject, options, runner)
    seconds = 0.0 if expected is None else expected.seconds(options)
    if expected is None or seconds < LONG:
        return
    memory = (prepared.room.needed + min(prepared.room.cached, subject.n * subject.d * 4)) / 2**20
    told.note(
        f"{subject.source}: about {_duration(seconds)} for {expected.n_pairs(options):.1e} "
        f"pairs, in about {memory + BASE_MEMORY:.0f} MiB of memory"
    )
    if seconds > VERY_LONG and options.anchors_of(subject.n) is None:
        anchors = min(PROPOSED_ANCHORS, subject.n // 2)
        less = expected.seconds(replace(options, anchors=anchors))
        told.note(
            f"{subject.source}: --anchors {anchors} would take about {_duration(less)}, and give "
            "estimates: a mean over rows is then known to about "
            f"{100 / anchors**0.5:.0f}% of the spread between rows (its sampling_error)"
        )


BASE_MEMORY = 100
PROPOSED_ANCHORS = 2_000


def _duration(seconds: float) -> str:
    """A time in words.

    >>> _duration(42), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def check_definition(definition: str | None, names: Sequence[str]) -> None:
    """Whether a metric of these families has the definition.

    Raises:
        ConfigError: none has.
    """
    if definition is None:
        return
    known = [
        d for name in names for ds in {**METRICS, **BETWEEN}[name].definitions.values() for d in ds
    ]
    if definition not in known:
        listing = ", ".join(dict.fromkeys(known)) or "none here"
        raise ConfigError(f"no metric here has a definition {definition!r}; there are: {listing}")


def of_definition(records: Iterable[Record], family: str, definition: str | None) -> list[Record]:
    """A family's records of one definition, where their metric has it; None: all."""
    definitions_of = {**METRICS, **BETWEEN}[family].definitions_of
    return [
        record
        for record in records
        if definition is None
        or record.definition in (None, definition)
        or definition not in definitions_of(record)
    ]


class Collected:
    """Inputs, records and tables of all checkpoints, in the order of arrival."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.records: dict[str, list[Record]] = {}
        self.tables: dict[str, Table] = {}
        self.positives: dict[str, str] = {}
        self.n_rows: dict[str, int] = {}
        self.n_anchors: dict[str, int] = {}
        self.groups: dict[str, NDArray[np.int64]] = {}
        self.rows: dict[str, RowKeys] = {}

    def add_inputs(self, entries: Iterable[dict[str, Any]]) -> None:
        """Entries of `inputs`, each once."""
        self.inputs += [entry for entry in entries if entry not in self.inputs]

    def add(self, found: dict[str, FamilyResult], told: Recorder) -> None:
        """What families found in one checkpoint."""
        for name, result in found.items():
            self.records.setdefault(name, []).extend(result.records)
            for table in result.tables:
                before = self.tables.get(table.name)
                rows = table.rows if before is None else (*before.rows, *table.rows)
                self.tables[table.name] = replace(table, rows=rows)
            for text in result.notes:
                told.warn(text)

    def add_subject(self, subject: Subject, options: MetricOptions) -> None:
        """What there is to know of a checkpoint beside its numbers."""
        source = subject.source
        self.positives[source] = positives_in_words(subject)
        self.n_rows[source] = subject.n
        n_anchors = options.anchors_of(subject.n)
        if n_anchors is not None:
            self.n_anchors[source] = n_anchors
        self.rows[source] = RowKeys.of(subject.n, subject.labels, subject.ids, subject.kept)
        if subject.groups is not None:
            self.groups[source] = subject.groups

    def report(
        self,
        command: str,
        arguments: Sequence[str],
        names: Sequence[str],
        options: MetricOptions,
        run: RunOptions,
        told: Recorder,
    ) -> Report:
        """All of it, records in the order of the families.

        Raises:
            ConfigError: one definition alone is asked for, and no record has it.
        """
        records: list[Record] = []
        by_family: dict[str, tuple[int, ...]] = {}
        for name in names:
            kept = of_definition(self.records.get(name, []), name, run.definition)
            if kept:
                by_family[name] = tuple(range(len(records), len(records) + len(kept)))
                records += kept
        there = dict.fromkeys(r.definition for r in records if r.definition is not None)
        if run.definition is not None and run.definition not in there:
            raise ConfigError(
                f"with these inputs no number has the definition {run.definition!r}; there are: "
                f"{', '.join(there)}"
            )
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
                n_rows=self.n_rows,
                n_anchors=self.n_anchors,
            ),
            self.groups,
            self.rows,
        )


def _now() -> str:
    """UTC time; SOURCE_DATE_EPOCH fixes it for reproducible files."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = (
        datetime.datetime.fromtimestamp(int(epoch), tz=datetime.UTC)
        if epoch is not None and epoch.isascii() and epoch.isdigit() and len(epoch) < 12
        else datetime.datetime.now(tz=datetime.UTC)
    )
    return when.replace(microsecond=0).isoformat()
