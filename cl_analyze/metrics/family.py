"""What a metric family is, and what it is given: a checkpoint, the options, and passes over pairs.

A family names the reducers it needs in each pass; the passes of all families are run together, so
that what two of them need is computed once.  Then each family turns the results into records and
tables.  The passes are

    first    every pair: what needs nothing but the rows
    second   every pair again, with the first pass known (penalty deletions); from seeded anchors
             where there are too many rows
    curve    some seeded anchors against all rows: histograms of similarities and penalty mass
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.anchors import Anchors, draw_anchors, with_moments
from cl_analyze.pairs.backend import Backend, make_backend
from cl_analyze.pairs.engine import PairSource, Progress, Reducer, reduce_pairs
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import (
    DEFAULT_BLOCK,
    Plan,
    class_plan,
    rectangular_plan,
    symmetric_plan,
)
from cl_analyze.pairs.reducers import NearestNeighbours
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.rescoring import MARGIN, rescore
from cl_analyze.pairs.saved import SAVE_EVERY, SavedPass, fingerprint, pass_key
from cl_analyze.pairs.tile import PairSet
from cl_analyze.tables import Param, Record, Table

Negatives = Literal["instance", "class"]
Found = dict[Reducer, Any]

DEFAULT_TAUS = (0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
EXACT_DELETIONS = 10_000
SAMPLED_ANCHORS = 2_048
NEAR_DUPLICATE = 1.0 - 1e-6
ANCHOR_BYTES = 1 << 26
"""Memory for unit rows of anchors."""


@dataclass(frozen=True)
class MetricOptions:
    """What is asked of the metrics.

    Attributes:
        ts: exponents of uniformity, each > 0.
        taus: temperatures, each > 0.
        top_k: how many nearest negatives `similarity` looks at.
        negatives: `instance` (every other row) or `class` (rows of other classes).
        curve_anchors: rows whose penalty mass and similarities are put into bins; None: all.
        seed: of everything drawn at random.
        exact_deletions: up to this many rows, error bars of penalties use every pair; above it
            `sampled_anchors` of them.
        sampled_anchors: see above.
        anchors: rows from which every mean over rows is estimated; None: all, the exact value.
        penalty_alpha: share of the negatives that truncated penalty curves keep; None: no curves.
        hard_alpha: share of the negatives that the hard losses keep, in (0, 1].
        simple_lambda: weight of the simple losses; None: 1 / (number of negatives).
        kcl_t, kcl_gamma: of the kernel losses.
        batch_sizes: of the losses' expectations over batches.
        ks: neighbours that vote and that recall looks at, ascending.
        n_voters: the most neighbours that a family of this run reads beside those of the options
            above; 0: no more.
        alignment_power: exponent of the distances in alignment.
        projection: how rows are laid out in the plane: pca, tsne or umap.
        only: the metrics that are looked at, where a family can leave others out; empty: all.
    """

    ts: tuple[float, ...] = (2.0,)
    taus: tuple[float, ...] = DEFAULT_TAUS
    top_k: int = 10
    negatives: Negatives = "instance"
    curve_anchors: int | None = 2_048
    seed: int = 0
    exact_deletions: int = EXACT_DELETIONS
    sampled_anchors: int = SAMPLED_ANCHORS
    anchors: int | None = None
    penalty_alpha: float | None = None
    hard_alpha: float = 0.1
    simple_lambda: float | None = None
    kcl_t: float = 2.0
    kcl_gamma: float = 16.0
    batch_sizes: tuple[int, ...] = ()
    ks: tuple[int, ...] = (1, 10, 20, 200)
    n_voters: int = 0
    alignment_power: float = 2.0
    projection: Literal["pca", "tsne", "umap"] = "pca"
    only: tuple[str, ...] = ()

    def wants(self, metrics: Iterable[str]) -> bool:
        """Whether any of these metrics is looked at."""
        return not self.only or bool(set(self.only) & set(metrics))

    @property
    def pairs(self) -> PairSet:
        """The set of pairs that are negatives."""
        return "all" if self.negatives == "instance" else "other_class"

    def n_neighbours_of(self, n_rows: int) -> int:
        """Neighbours that families read: what is shown, the penalty's ten, voters, one more."""
        return max(self.top_k, 10, min(self.n_voters, n_rows)) + 1

    def anchors_of(self, n_rows: int) -> int | None:
        """Anchors from which means over that many rows are estimated; None: they are exact."""
        return None if self.anchors is None or self.anchors >= n_rows else self.anchors

    @property
    def negative_params(self) -> dict[str, Param]:
        """The parameter that says which negatives, where they are not the default ones."""
        return {} if self.negatives == "instance" else {"negatives": self.negatives}


@dataclass(frozen=True)
class TrainSet:
    """Rows that classifiers learn from, where they are not the rows that are tested.

    Attributes:
        rows: unit rows.
        codes: (M,) classes, an index into `names`, -1 unlabelled.
        names: the classes of the tested rows in their order, then those found here alone.
    """

    rows: UnitRows
    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """One checkpoint, ready to be measured.

    Attributes:
        source: its name in the output.
        rows: unit rows of the embeddings.
        labels: classes, or None.
        views: unit rows of two views whose rows pair up, or None.
        partners: with an explicit second file of partners: its unit rows; negatives come from it.
        groups: (N,) codes of rows that belong together, or None.
        queue: unit rows that are further negatives of the losses, or None.
        frame: (C, D) unit anchors of the classes, in the order of their names, or None.
        train: rows that classifiers learn from; None: leave-one-out, or a part of these rows.
        ids: (N,) what identifies each row across files, as 64-bit hashes, or None.
        kept: (N,) which rows of the file these are; None: all.
    """

    source: str
    rows: UnitRows
    labels: Labels | None = None
    views: tuple[UnitRows, UnitRows] | None = None
    partners: UnitRows | None = None
    groups: NDArray[np.int64] | None = None
    queue: UnitRows | None = None
    frame: NDArray[np.float64] | None = None
    train: TrainSet | None = None
    ids: NDArray[np.uint64] | None = None
    kept: NDArray[np.int64] | None = None

    def release(self) -> None:
        """Let go of the rows kept in memory; they are read again when asked for."""
        for rows in (self.rows, self.partners, *(self.views or ())):
            if rows is not None:
                rows.release()

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.rows.n_rows

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.rows.dim

    @property
    def codes(self) -> NDArray[np.int64] | None:
        """Class codes, or None."""
        return None if self.labels is None else self.labels.codes


def nearest_negatives_reducer(subject: Subject, options: MetricOptions) -> NearestNeighbours:
    """The reducer that all families take their nearest negatives from."""
    k = min(options.n_neighbours_of(subject.n) + MARGIN, subject.n - 1)
    return NearestNeighbours(k, options.pairs)


def near_duplicate_notes(
    subject: Subject, options: MetricOptions, neighbours: Neighbours
) -> tuple[str, ...]:
    """What to say where rows have another at cosine above 1 - 1e-6 (equal rows among them)."""
    near = int((neighbours.values[:, 0] > NEAR_DUPLICATE).sum())
    if not near or options.negatives == "class":
        return ()
    return (
        f"{subject.source}: {near} rows have another row at cosine above 1 - 1e-6 (duplicates or "
        "near-duplicates)",
    )


@dataclass
class PairRunner:
    """Runs passes over one subject's pairs.

    Attributes:
        subject: the checkpoint.
        backend, executor, block: where and in what portions.
        progress: called with pairs done and pairs in all of the running pass.
        resume: folder for states of passes; None: they are not kept.
        inputs: fingerprint of the inputs, for those states.
        save_every: seconds between two saves.
        announce: called with a few words before each pass.
        resumed: called with pairs done and pairs in all where a pass goes on from its states.
    """

    subject: Subject
    backend: Backend
    executor: Executor
    block: int = DEFAULT_BLOCK
    progress: Progress | None = None
    resume: Path | None = None
    inputs: str = ""
    save_every: float = SAVE_EVERY
    announce: Callable[[str], None] = lambda text: None
    resumed: Progress = lambda done, total: None
    _nearest: dict[tuple[Negatives, int, bool], Neighbours] = field(default_factory=dict)

    def nearest_negatives(
        self,
        options: MetricOptions,
        found: Found,
        anchors: Anchors | None = None,
        cross: bool = False,
    ) -> Neighbours:
        """The rows' nearest negatives, (rows, n_neighbours_of), re-scored in float64, once.

        Args:
            options: which negatives, and how many.
            found: results of a pass that had `nearest_negatives_reducer`.
            anchors: the rows of that pass; None: all.
            cross: whether that pass was against the partners' file.
        """
        subject = self.subject
        n_neighbours = options.n_neighbours_of(subject.n)
        key = (options.negatives, n_neighbours, cross)
        if key not in self._nearest:
            codes = subject.codes if options.negatives == "class" else None
            cols = subject.partners if cross and subject.partners is not None else subject.rows
            candidates = found[nearest_negatives_reducer(subject, options)]
            self._nearest[key] = rescore(
                candidates,
                n_neighbours,
                subject.rows,
                cols,
                codes,
                None if anchors is None else anchors.rows,
                self.executor,
            )
        return self._nearest[key]

    def neighbours_between(
        self,
        rows: UnitRows,
        cols: UnitRows,
        k: int,
        visits: str,
        chosen: NDArray[np.int64] | None = None,
        cols_of: NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """The k nearest columns of some rows of another matrix, or of the same.

        Args:
            rows, cols: of both; the same object where a row is no neighbour of itself.
            k: how many, at most the columns that there are.
            visits: says which these are, for states of passes that are kept.
            chosen: which rows; None: all.
            cols_of: which rows of their file the columns are; None: all.
        """
        same = rows is cols
        every = chosen is None or len(chosen) == rows.n_rows
        index = np.arange(rows.n_rows) if chosen is None else chosen
        looked_at = rows if every else rows.select(index, ANCHOR_BYTES)
        plan = (
            symmetric_plan(cols.n_rows, self.block)
            if same and every
            else rectangular_plan(len(index), cols.n_rows, self.block)
        )
        reducer = NearestNeighbours(min(k + MARGIN, cols.n_rows - same))
        source = PairSource(looked_at, cols, index if same else np.full(len(index), -1))
        visits = fingerprint(visits, cols_of)
        found = self._run([reducer], source, plan, visits)[reducer]
        return rescore(
            found, k, rows, cols, row_index=index, executor=self.executor, apart=not same
        )

    def _run(
        self,
        reducers: Iterable[Reducer],
        source: PairSource,
        plan: Plan,
        visits: str,
        backend: Backend | None = None,
    ) -> Found:
        """One pass; `visits` says which rows and columns, where their indices do not."""
        wanted = tuple(dict.fromkeys(reducers))
        backend = backend or self.backend
        saved = None
        if self.resume is not None and wanted:
            key = pass_key(
                self.inputs,
                visits,
                wanted,
                plan,
                repr(backend.__reduce__()),
                source.row_index,
                source.left_out,
                source.row_labels,
                source.col_labels,
            )
            saved = SavedPass(self.resume, key, self.save_every, self.resumed)
        return reduce_pairs(wanted, source, plan, backend, self.executor, self.progress, saved)

    def all_pairs(self, reducers: Iterable[Reducer]) -> Found:
        """Every pair of the embeddings.

        What counts the pairs of one class alone visits them alone where they are few: in rows
        sorted by class they lie in tiles along the diagonal.
        """
        rows, labels = self.subject.rows, self.subject.labels
        codes = self.subject.codes
        source = PairSource(rows, rows, row_labels=codes, col_labels=codes)
        plan = symmetric_plan(self.subject.n, self.block)
        wanted = list(dict.fromkeys(reducers))
        few: list[Reducer] = []
        if labels is not None and 4 * (labels.counts**2).sum() <= self.subject.n**2:
            few = [reducer for reducer in wanted if reducer.pairs == "same_class"]
        found = self._run(
            [reducer for reducer in wanted if reducer not in few], source, plan, "all"
        )
        return {**found, **self._within_classes(few)}

    def _within_classes(self, reducers: list[Reducer]) -> Found:
        codes = self.subject.codes
        if not reducers or codes is None:
            return {}
        order = np.argsort(codes, kind="stable")
        rows = self.subject.rows.select(order, 0)
        source = PairSource(rows, rows, row_labels=codes[order], col_labels=codes[order])
        found = self._run(reducers, source, class_plan(codes[order], self.block), "within")
        back = np.argsort(order)
        return {
            reducer: result if reducer.side == "all" else result[back]
            for reducer, result in found.items()
        }

    def anchored(
        self,
        reducers: Iterable[Reducer],
        anchors: NDArray[np.int64],
        left_out: NDArray[np.int64] | None = None,
    ) -> Found:
        """Some rows against all: results of `side = rows` reducers are in the anchors' order."""
        rows, codes = self.subject.rows, self.subject.codes
        chosen = rows.select(anchors, ANCHOR_BYTES)
        source = PairSource(
            chosen,
            rows,
            row_index=anchors,
            row_labels=None if codes is None else codes[anchors],
            col_labels=codes,
            left_out=left_out,
        )
        plan = rectangular_plan(len(anchors), self.subject.n, self.block)
        return self._run(reducers, source, plan, "anchored")

    def cross(self, reducers: Iterable[Reducer], anchors: Anchors | None = None) -> Found:
        """Every embedding (or the anchors alone) against every row of the partners' file."""
        subject, codes = self.subject, self.subject.codes
        if subject.partners is None:
            raise ValueError("there is no second file")
        source = PairSource(subject.rows, subject.partners, row_labels=codes, col_labels=codes)
        if anchors is not None:
            rows = anchors.rows
            source = replace(
                source,
                rows=subject.rows.select(rows, ANCHOR_BYTES),
                row_index=rows,
                row_labels=None if codes is None else codes[rows],
            )
        plan = rectangular_plan(source.rows.n_rows, subject.n, self.block)
        return self._run(reducers, source, plan, "cross")

    def between(
        self,
        reducers: Iterable[Reducer],
        rows: UnitRows,
        cols: UnitRows,
        visits: str,
        chosen: NDArray[np.int64] | None = None,
        paired: bool = True,
        dtype: type[np.floating[Any]] | None = None,
    ) -> Found:
        """Rows of one matrix against rows of another, or every pair of one.

        Args:
            reducers: what to compute.
            rows, cols: of both; the same object for the pairs of one matrix.
            visits: says which these are, for states of passes that are kept.
            chosen: rows that are anchors; None: all.
            paired: whether row i of one and row i of the other are one item, which does not count.
            dtype: precision of the products; None: that of the rows.
        """
        codes = self.subject.codes if paired else None
        backend = self.backend
        if dtype is not None and np.dtype(dtype) != backend.dtype:
            backend = make_backend("cpu", dtype)
            first = rows
            rows = rows.in_precision(dtype)
            cols = rows if cols is first else cols.in_precision(dtype)
        index = None if paired else np.full(rows.n_rows, -1)
        source = PairSource(rows, cols, index, codes, codes if paired else None)
        if chosen is None and rows is cols:
            plan = symmetric_plan(rows.n_rows, self.block)
        else:
            if chosen is not None:
                source = replace(
                    source,
                    rows=rows.select(chosen, ANCHOR_BYTES),
                    row_index=chosen if paired else np.full(len(chosen), -1),
                    row_labels=None if codes is None else codes[chosen],
                )
            plan = rectangular_plan(source.rows.n_rows, cols.n_rows, self.block)
        return self._run(reducers, source, plan, visits, backend)


@dataclass(frozen=True)
class SecondPass:
    """Results of the second pass: one entry where every pair was taken, two halves otherwise.

    Attributes:
        found: results of the pass, or of each half of the anchors.
        anchors: the anchors of each entry; None where all rows were.
    """

    found: tuple[Found, ...]
    anchors: tuple[NDArray[np.int64] | None, ...]


@dataclass(frozen=True)
class Measured:
    """What all passes gave.

    Attributes:
        first, second, curve: results of the passes.
        curve_anchors: rows of the curve's pass.
        anchors: the rows that the first pass looked at, where means are estimated; None: all.
    """

    first: Found
    second: SecondPass
    curve: Found
    curve_anchors: NDArray[np.int64]
    anchors: Anchors | None = None


@dataclass(frozen=True)
class FamilyResult:
    """Records and further tables of one family for one subject, and what the user should know."""

    records: tuple[Record, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = field(default=())


Better = Literal["lower", "higher"]


class Family(Protocol):
    """A metric family: what it computes, what it needs, and how it reads the passes.

    Attributes:
        name: the command's and the table's name.
        definitions: metric -> its definitions, default first; empty where there is one only.
        uses_labels, uses_views: whether labels or views in the embeddings' file are looked at.
    """

    name: str
    definitions: dict[str, tuple[str, ...]]
    uses_labels: bool
    uses_views: bool

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """Which values of a metric are better; None where neither is by itself."""
        ...

    def definitions_of(self, record: Record) -> tuple[str, ...]:
        """Definitions of what the record is a value of, default first."""
        ...

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Reducers over every pair."""
        ...

    def second_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        runner: PairRunner,
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Reducers over every pair that need the first pass."""
        ...

    def curve_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        curve_anchors: NDArray[np.int64],
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Reducers over the curve's anchors against all rows."""
        ...

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Records and tables."""
        ...

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """What passes of its own are like, to foretell their time; empty where it has none."""
        ...

    def own_pairs(self, n_rows: int, options: MetricOptions) -> float:
        """How many pairs with these reducers its own passes cost as much as."""
        ...


class PairFreeFamily:
    """Base of families that need no pass, or only some: the others are empty."""

    uses_labels = True
    uses_views = False
    definitions: dict[str, tuple[str, ...]] = {}  # noqa: RUF012
    directions: dict[str, Better] = {}  # noqa: RUF012
    """Metrics of which low or high values are better, whatever their parameters."""

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """See `directions`."""
        return self.directions.get(metric)

    def definitions_of(self, record: Record) -> tuple[str, ...]:
        """Definitions of the record's metric, default first."""
        return self.definitions[record.metric]

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """No passes of its own."""
        return ()

    def own_pairs(self, n_rows: int, options: MetricOptions) -> float:
        """No passes of its own."""
        return 0.0

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """No reducers."""
        return ()

    def second_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        runner: PairRunner,
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """No reducers."""
        return ()

    def curve_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        curve_anchors: NDArray[np.int64],
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """No reducers."""
        return ()


def measure(
    families: Iterable[Family],
    subject: Subject,
    options: MetricOptions,
    runner: PairRunner,
) -> list[FamilyResult]:
    """Run the passes that the families need, together, and let each family read them.

    Args:
        families: what to compute.
        subject: the checkpoint.
        options: what is asked.
        runner: where passes run.
    """
    listed = list(families)
    say = runner.announce
    say("pairs")
    n = subject.n
    wanted = [r for family in listed for r in family.first_pass(subject, options)]
    anchors = None
    if options.anchors_of(n) is not None:
        chosen = draw_anchors(n, options.anchors, options.seed + 2)
        anchors = Anchors(chosen, n)
        if wanted:
            anchors = with_moments(chosen, subject.rows, runner.block, runner.executor)
        first = runner.anchored(wanted, anchors.rows)
        curve_anchors = chosen[draw_anchors(len(chosen), options.curve_anchors, options.seed)]
    else:
        first = runner.all_pairs(wanted)
        curve_anchors = draw_anchors(n, options.curve_anchors, options.seed)
    wanted = [
        r
        for family in listed
        for r in family.curve_pass(subject, options, first, curve_anchors, anchors)
    ]
    say("curve")
    curve = runner.anchored(wanted, curve_anchors)
    say("error bars")
    wanted = [
        r for family in listed for r in family.second_pass(subject, options, first, runner, anchors)
    ]
    if anchors is None and n <= options.exact_deletions:
        second = SecondPass((runner.all_pairs(wanted),), (None,))
    else:
        drawn = anchors or Anchors(draw_anchors(n, options.sampled_anchors, options.seed + 1), n)
        halves = tuple(drawn.rows[half] for half in drawn.halves)
        found = []
        for half, rows in enumerate(halves, 1):
            if wanted:
                say(f"error bars, half {half} of 2")
            found.append(runner.anchored(wanted, rows))
        second = SecondPass(tuple(found), halves)
    measured = Measured(first, second, curve, curve_anchors, anchors)
    return [family.compute(subject, options, measured, runner) for family in listed]
