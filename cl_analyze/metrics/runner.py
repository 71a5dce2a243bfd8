"""Runs passes over the pairs of one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.subject import Subject, nearest_negatives_reducer
from cl_analyze.options import MetricOptions, Negatives, RunOptions
from cl_analyze.pairs.backend import Backend
from cl_analyze.pairs.engine import LeftOut, PairSource, Progress, Reducer, reduce_pairs
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import (
    DEFAULT_BLOCK,
    Plan,
    class_plan,
    rectangular_plan,
    symmetric_plan,
)
from cl_analyze.pairs.positive_ranks import ClassRanks, PositiveRanks, ranked
from cl_analyze.pairs.reducers import NearestNeighbours
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.rescoring import MARGIN, rescore
from cl_analyze.pairs.saved import SavedPass
from cl_analyze.store import fingerprint, store_key

Found = dict[Reducer, Any]
ANCHOR_BYTES = 1 << 26
"""Bytes of memory for the unit rows of anchors."""


@dataclass
class PairRunner:
    """Runs passes over the pairs of one checkpoint.

    Attributes:
        subject: the checkpoint.
        backend, executor, block: the arithmetic, the workers, and the rows of a block.
        progress: called during a pass with the pairs done and the pairs in all.
        resume: folder where the states of passes are saved; None: nothing is saved.
        inputs: fingerprint of the inputs, part of the key of saved states.
        save_every: seconds between two saves.
        announce: called with the name of a pass before the pass runs.
        resumed: called with the pairs done and the pairs in all where a pass continues from saved
            states.
    """

    subject: Subject
    backend: Backend
    executor: Executor
    block: int = DEFAULT_BLOCK
    progress: Progress | None = None
    resume: Path | None = None
    inputs: str = ""
    save_every: float = RunOptions.save_every
    announce: Callable[[str], None] = lambda text: None
    resumed: Progress = lambda done, total: None
    _nearest: dict[tuple[Negatives, int, bool], Neighbours] = field(default_factory=dict)

    def nearest_negatives(
        self,
        options: MetricOptions,
        pass_results: Found,
        anchors: Anchors,
        cross: bool = False,
    ) -> Neighbours:
        """The nearest negatives of each row, (rows, n_neighbours_of), re-scored once in float64.

        Args:
            options: the kind of negatives, and their number.
            pass_results: results of a pass that had `nearest_negatives_reducer`.
            anchors: the rows of that pass.
            cross: whether that pass was against the partners' file.
        """
        subject = self.subject
        n_neighbours = options.n_neighbours_of(subject.n)
        key = (options.negatives, n_neighbours, cross)
        if key not in self._nearest:
            codes = subject.codes if options.negatives == "class" else None
            cols = subject.partners if cross and subject.partners is not None else subject.rows
            left_out = subject.related if cross else None
            among = subject.n_candidates if cross else None
            candidates = pass_results[nearest_negatives_reducer(subject, options, among)]
            self._nearest[key] = rescore(
                candidates,
                n_neighbours,
                subject.rows,
                cols,
                codes,
                anchors.chosen,
                self.executor,
                left_out is not None,
                left_out,
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
        """The k nearest columns of some rows, in another matrix or in the same.

        Args:
            rows, cols: unit rows of both matrices; the same object where a row is no neighbour of
                itself.
            k: number of neighbours, at most the number of columns.
            visits: name of these rows and columns in the key of saved states.
            chosen: indices of the rows; None: all rows.
            cols_of: indices of the columns among the rows of their file; None: all rows.
        """
        is_one_matrix = rows is cols
        is_every_row = chosen is None or len(chosen) == rows.n_rows
        index = np.arange(rows.n_rows) if chosen is None else chosen
        chosen_rows = rows if is_every_row else rows.select(index, ANCHOR_BYTES)
        plan = (
            symmetric_plan(cols.n_rows, self.block)
            if is_one_matrix and is_every_row
            else rectangular_plan(len(index), cols.n_rows, self.block)
        )
        reducer = NearestNeighbours(min(k + MARGIN, cols.n_rows - is_one_matrix))
        source = PairSource(chosen_rows, cols, index if is_one_matrix else np.full(len(index), -1))
        visits = fingerprint(visits, cols_of)
        candidates = self._run([reducer], source, plan, visits)[reducer]
        return rescore(
            candidates,
            k,
            rows,
            cols,
            row_index=index,
            executor=self.executor,
            apart=not is_one_matrix,
        )

    def _run(
        self,
        reducers: Iterable[Reducer],
        source: PairSource,
        plan: Plan,
        visits: str,
        backend: Backend | None = None,
    ) -> Found:
        """One pass; `visits` names the rows and columns, where indices alone do not tell them."""
        listed = tuple(dict.fromkeys(reducers))
        backend = backend or self.backend
        saved = None
        if self.resume is not None and listed:
            key = store_key(
                self.inputs,
                visits,
                listed,
                plan,
                backend.arithmetic,
                source.row_index,
                source.apart,
                None if source.left_out is None else source.left_out.starts,
                None if source.left_out is None else source.left_out.columns,
                source.row_labels,
                source.col_labels,
            )
            saved = SavedPass(self.resume, key, self.save_every, self.resumed)
        return reduce_pairs(listed, source, plan, backend, self.executor, self.progress, saved)

    def ranked(self, job: PositiveRanks | ClassRanks, visits: str) -> Any:
        """Ranks of positives among negatives, see `positive_ranks.ranked`.

        Args:
            job: anchors, candidates and positives.
            visits: name of the rows and columns in the key of saved states.
        """
        saved = None
        if self.resume is not None:
            key = store_key(self.inputs, visits, *job.key)
            saved = SavedPass(self.resume, key, self.save_every, self.resumed)
        return ranked(job, self.executor, self.progress, saved)

    def over(self, reducers: Iterable[Reducer], anchors: Anchors) -> Found:
        """Anchors against all rows; where all rows are anchors, all pairs."""
        if anchors.is_sample:
            return self.anchored(reducers, anchors.rows)
        return self.all_pairs(reducers)

    def all_pairs(self, reducers: Iterable[Reducer]) -> Found:
        """All pairs of the embeddings.

        Where few pairs are of one class, a reducer of same-class pairs visits these pairs alone: in
        rows sorted by class they lie in tiles along the diagonal.
        """
        rows, labels = self.subject.rows, self.subject.labels
        codes = self.subject.codes
        source = PairSource(rows, rows, row_labels=codes, col_labels=codes)
        plan = symmetric_plan(self.subject.n, self.block)
        listed = list(dict.fromkeys(reducers))
        within: list[Reducer] = []
        if labels is not None and 4 * (labels.counts**2).sum() <= self.subject.n**2:
            within = [reducer for reducer in listed if reducer.pairs == "same_class"]
        results = self._run(
            [reducer for reducer in listed if reducer not in within], source, plan, "all"
        )
        return {**results, **self._within_classes(within)}

    def _within_classes(self, reducers: list[Reducer]) -> Found:
        """A pass over the same-class pairs alone; results follow the order of all rows."""
        codes = self.subject.codes
        if not reducers or codes is None:
            return {}
        order = np.argsort(codes, kind="stable")
        rows = self.subject.rows.select(order, 0)
        source = PairSource(rows, rows, row_labels=codes[order], col_labels=codes[order])
        results = self._run(reducers, source, class_plan(codes[order], self.block), "within")
        back = np.argsort(order)
        return {
            reducer: result if reducer.side == "all" else result[back]
            for reducer, result in results.items()
        }

    def anchored(
        self,
        reducers: Iterable[Reducer],
        anchors: NDArray[np.int64],
        left_out: LeftOut | None = None,
    ) -> Found:
        """Anchors against all rows; results of reducers with `side = rows` follow the anchors.

        Args:
            reducers: the reducers.
            anchors: (m,) indices of the anchors.
            left_out: rows that are left out for each anchor beside itself; None: no row.
        """
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

    def cross(self, reducers: Iterable[Reducer], anchors: Anchors) -> Found:
        """All embeddings (or the anchors alone) against all rows of the partners' file.

        A row and its partner, or the rows that are relevant for it, do not count.

        Raises:
            ValueError: the subject has no partners' file.
        """
        subject, codes = self.subject, self.subject.codes
        if subject.partners is None:
            raise ValueError("the subject has no file of partners (second file of embeddings)")
        source = PairSource(subject.rows, subject.partners, row_labels=codes, col_labels=codes)
        if (related := subject.related) is not None:
            source = PairSource(subject.rows, subject.partners, left_out=related, apart=True)
        if anchors.is_sample:
            rows = anchors.rows
            source = replace(
                source,
                rows=subject.rows.select(rows, ANCHOR_BYTES),
                row_index=rows,
                row_labels=None if source.row_labels is None else source.row_labels[rows],
                left_out=None if related is None else related.of_rows(rows),
            )
        plan = rectangular_plan(source.rows.n_rows, subject.partners.n_rows, self.block)
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
        """Rows of one matrix against rows of another, or all pairs of one matrix.

        Args:
            reducers: the reducers.
            rows, cols: unit rows of both matrices; the same object for the pairs of one matrix.
            visits: name of these rows and columns in the key of saved states.
            chosen: indices of the rows that are anchors; None: all rows.
            paired: whether row i of both matrices is the same item; the pair of the two is then
                left out.
            dtype: precision of the products; None: precision of the rows.
        """
        codes = self.subject.codes if paired else None
        backend = self.backend
        if dtype is not None and np.dtype(dtype) != backend.dtype:
            backend.release()  # a GPU need not hold the rows in both precisions
            backend = backend.in_precision(np.dtype(dtype))
            is_one_matrix = cols is rows
            rows = rows.in_precision(dtype)
            cols = rows if is_one_matrix else cols.in_precision(dtype)
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
