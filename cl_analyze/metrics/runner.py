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
from cl_analyze.options import MetricOptions, Negatives
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

Found = dict[Reducer, Any]
ANCHOR_BYTES = 1 << 26
"""Memory for unit rows of anchors."""


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
        anchors: Anchors,
        cross: bool = False,
    ) -> Neighbours:
        """The rows' nearest negatives, (rows, n_neighbours_of), re-scored in float64, once.

        Args:
            options: which negatives, and how many.
            found: results of a pass that had `nearest_negatives_reducer`.
            anchors: the rows of that pass.
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
                anchors.chosen,
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

    def over(self, reducers: Iterable[Reducer], anchors: Anchors) -> Found:
        """Anchors against all rows: every pair where all rows are anchors."""
        if anchors.is_sample:
            return self.anchored(reducers, anchors.rows)
        return self.all_pairs(reducers)

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

    def cross(self, reducers: Iterable[Reducer], anchors: Anchors) -> Found:
        """Every embedding (or the anchors alone) against every row of the partners' file."""
        subject, codes = self.subject, self.subject.codes
        if subject.partners is None:
            raise ValueError("there is no second file")
        source = PairSource(subject.rows, subject.partners, row_labels=codes, col_labels=codes)
        if anchors.is_sample:
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
