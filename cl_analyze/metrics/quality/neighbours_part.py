"""Records of the weighted kNN vote, leave-one-out or against a training set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.neighbours import (
    VOTE_TEMPERATURE,
    Votes,
    vote_effects,
    weighted_votes,
)
from cl_analyze.metrics.runner import ANCHOR_BYTES
from cl_analyze.metrics.subject import NEAR_DUPLICATE
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.tables import Param, Record

Vector = NDArray[np.float64]

BY_CLASS_K = 20
"""The k of accuracies by class: what DINO's evaluation found best."""


@dataclass(frozen=True)
class Classified:
    """The kNN vote of one checkpoint.

    Attributes:
        rows: (m,) rows that were classified, all labelled.
        votes: k -> what the neighbours say.
        n_reference: rows that can vote for each.
        n_classes: among the rows that can vote.
        definition: leave_one_out or train_set.
        of_anchors: the anchors, where the rows stand for all.
        effects: k -> two (N,) of what each row's presence as a voter adds to the number of other
            rows that are right, from two halves of the rows, scaled to all; empty with a training
            set, which is taken as given.
        n_near_train: rows with a near-duplicate in the training set.
    """

    rows: NDArray[np.int64]
    votes: dict[int, Votes]
    n_reference: int
    n_classes: int
    definition: str
    of_anchors: Anchors | None
    n_near_train: int = 0
    effects: dict[int, tuple[Vector, ...]] = field(default_factory=dict)

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
    codes, train = subject.codes, subject.train
    assert codes is not None
    rows = context.looked_at
    rows = rows[codes[rows] >= 0]
    of = codes if train is None else train.codes
    reference = np.flatnonzero(of >= 0)
    n_reference = max(len(reference) - (train is None), 0)
    definition = "leave_one_out" if train is None else "train_set"
    n_classes = len(np.unique(of[reference]))
    possible = [k for k in ks if k <= n_reference]
    none = Classified(rows, {}, n_reference, n_classes, definition, context.anchors)
    if not possible or not len(rows):
        return none
    n_near = 0
    if train is not None:
        runner.announce("neighbours in the training set")
        cols = train.rows
        if len(reference) < cols.n_rows:
            cols = cols.select(reference, ANCHOR_BYTES)
        found = runner.neighbours_between(
            subject.rows, cols, max(possible), "train", rows, reference
        )
        n_near = int((found.values[:, 0] > NEAR_DUPLICATE).sum())
    elif len(reference) == subject.n:
        found = near
    else:  # unlabelled rows have no vote
        runner.announce("neighbours among labelled rows")
        some = subject.rows.select(reference, ANCHOR_BYTES)
        width = min(max(possible) + 1, n_reference)  # one takes the place of a voter that goes
        at = np.searchsorted(reference, rows)
        found = runner.neighbours_between(some, some, width, "labelled", at, reference)
    votes = weighted_votes(found, of[reference], codes[rows], possible)
    effects = {}
    if train is None:
        effects = {k: _effects(context, found, rows, reference, k) for k in possible}
    return replace(none, votes=votes, n_near_train=n_near, effects=effects)


def _effects(
    context: Context,
    found: Neighbours,
    rows: NDArray[np.int64],
    reference: NDArray[np.int64],
    k: int,
) -> tuple[Vector, ...]:
    """What deleting each row as a voter does to the votes of two halves of the rows.

    Whether a single vote tips over is a matter of chance, which would make the jackknife's variance
    more than twice too large; the covariance of two halves is free of it.
    """
    codes = context.subject.codes
    assert codes is not None
    anchors = context.anchors
    if anchors is None:
        order = np.random.default_rng(context.options.seed).permutation(len(rows))
        parts = [np.sort(order[half::2]) for half in (0, 1)]
    else:
        place = np.searchsorted(anchors.rows, rows)
        parts = [np.flatnonzero(np.isin(place, half)) for half in anchors.halves]
    effects = []
    for part in parts:
        some = Neighbours(found.values[part], found.indices[part])
        gains = np.zeros(context.subject.n)
        gains[reference] = -vote_effects(some, codes[reference], codes[rows[part]], k)
        effects.append(gains * len(reference) / max(len(part), 1))
    return tuple(effects)


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
            if found.n_classes < 2:
                reason = "needs two classes"
            elif k in found.votes or (k <= found.n_reference and not len(found.rows)):
                reason = FEW_ANCHORS
            if k in found.votes and found.n_classes > 1:
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
                    effects=found.effects.get(k, ()) if metric == "knn_accuracy" else (),
                    anchors=found.of_anchors,
                    reason=reason,
                )
            )
    return records
