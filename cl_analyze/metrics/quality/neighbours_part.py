"""Records of the weighted kNN vote, leave-one-out or against a training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import ANCHOR_BYTES
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.neighbours import VOTE_TEMPERATURE, Votes, weighted_votes
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.tables import Param, Record

BY_CLASS_K = 20
"""The k of accuracies by class: what DINO's evaluation found best."""


@dataclass(frozen=True)
class Classified:
    """The kNN vote of one checkpoint.

    Attributes:
        rows: (m,) rows that were classified, all labelled.
        votes: k -> what the neighbours say.
        n_reference: rows that can vote for each.
        definition: leave_one_out or train_set.
        of_anchors: whether the rows stand for all.
    """

    rows: NDArray[np.int64]
    votes: dict[int, Votes]
    n_reference: int
    definition: str
    of_anchors: Anchors | None

    @property
    def shown_k(self) -> int | None:
        """The k of tables by class: 20, or the nearest to it that there is."""
        return min(self.votes, key=lambda k: (abs(k - BY_CLASS_K), k), default=None)

    def predicted(self, n_rows: int, k: int) -> NDArray[np.int64]:
        """(N,) predicted classes, -1 where a row was not classified."""
        out = np.full(n_rows, -1, np.int64)
        out[self.rows] = self.votes[k].predicted
        return out


def classify(context: Context, near: Neighbours) -> Classified:
    """Vote over labelled neighbours alone; ks that there are too few rows for have no votes."""
    subject, runner, ks = context.subject, context.runner, context.options.ks
    codes = subject.codes
    assert codes is not None
    labelled = np.flatnonzero(codes >= 0)
    anchors = context.anchors
    rows = context.looked_at
    rows = rows[codes[rows] >= 0]
    train = subject.train
    if train is not None:
        reference = np.flatnonzero(train.codes >= 0)
        possible = [k for k in ks if k <= len(reference)]
        if not possible or not len(rows):
            return Classified(rows, {}, len(reference), "train_set", anchors)
        runner.announce("neighbours in the training set")
        cols = (
            train.rows
            if len(reference) == train.rows.n_rows
            else train.rows.select(reference, ANCHOR_BYTES)
        )
        found = runner.neighbours_between(
            subject.rows, cols, max(possible), "train", rows, reference
        )
        votes = weighted_votes(found, train.codes[reference], codes[rows], possible)
        return Classified(rows, votes, len(reference), "train_set", anchors)
    possible = [k for k in ks if k < len(labelled)]
    n_reference = max(len(labelled) - 1, 0)
    if not possible or not len(rows):
        return Classified(rows, {}, n_reference, "leave_one_out", anchors)
    if len(labelled) == subject.n:
        found, of = near, codes
    else:  # unlabelled rows have no vote
        runner.announce("neighbours among labelled rows")
        some = subject.rows.select(labelled, ANCHOR_BYTES)
        found = runner.neighbours_between(
            some, some, max(possible), "labelled", np.searchsorted(labelled, rows), labelled
        )
        of = codes[labelled]
    votes = weighted_votes(found, of, codes[rows], possible)
    return Classified(rows, votes, n_reference, "leave_one_out", anchors)


def knn_records(context: Context, found: Classified) -> list[Record]:
    """Top-1 and top-5 accuracy for each k."""
    codes = context.subject.codes
    assert codes is not None
    looked_at = context.looked_at
    at = np.searchsorted(looked_at, found.rows)
    records = []
    for metric in ("knn_accuracy", "knn_top5_accuracy"):
        for k in context.options.ks:
            params: dict[str, Param] = {"k": k, "temperature": VOTE_TEMPERATURE}
            values = np.full(len(looked_at), np.nan)
            reason = f"needs {k} labelled neighbours, there are {found.n_reference}"
            if k in found.votes or (k <= found.n_reference and not len(found.rows)):
                reason = FEW_ANCHORS
            if k in found.votes:
                votes = found.votes[k]
                right = votes.predicted == codes[found.rows]
                values[at] = right if metric == "knn_accuracy" else votes.among_top
            records.append(
                context.mean(
                    metric,
                    values,
                    "accuracy",
                    definition=found.definition,
                    params=params,
                    anchors=found.of_anchors,
                    reason=reason,
                )
            )
    return records
