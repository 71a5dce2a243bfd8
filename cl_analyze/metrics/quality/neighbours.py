"""Weighted kNN accuracy, leave-one-out or against a training set.

Reference: Wu, Xiong, Yu & Lin, CVPR 2018 (the weighted vote, T = 0.07).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.metric import K, Metric, Parameter
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.rows import Index, Vector
from cl_analyze.metrics.runner import ANCHOR_BYTES
from cl_analyze.metrics.subject import NEAR_DUPLICATE
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.tables import Record

VOTE_TEMPERATURE = 0.07
TOP = 5
BY_CLASS_K = 20
"""The k of accuracies by class, the best one in DINO's evaluation."""
_VALUES_AT_ONCE = 1 << 22

_SOURCES = ("leave_one_out", "train_set")
TEMPERATURE = Parameter("temperature")
KNN_ACCURACY = Metric(
    "knn_accuracy",
    "accuracy",
    "share of rows whose class wins the vote of the k nearest, weighted by exp(s / temperature).",
    definitions=_SOURCES,
    formulas=("share of rows whose class wins the vote of the k nearest",),
    parameters=(
        K,
        TEMPERATURE,
    ),
    better="higher",
    needs="labels",
    source="Wu et al. 2018.",
    title="kNN accuracy",
)
KNN_TOP5 = Metric(
    "knn_top5_accuracy",
    "accuracy",
    "share of rows whose class is among the five with most votes.",
    definitions=_SOURCES,
    formulas=("share of rows whose class is among the five with most votes",),
    parameters=(
        K,
        TEMPERATURE,
    ),
    better="higher",
    needs="labels",
    title="kNN top-5 accuracy",
)
METRICS = (KNN_ACCURACY, KNN_TOP5)


@dataclass(frozen=True)
class Votes:
    """Classes of rows by the vote of their k nearest labelled neighbours.

    Attributes:
        predicted: (n,) class with the largest vote; ties go to the lowest.
        among_top: (n,) whether the row's own class is among the five largest.
    """

    predicted: Index
    among_top: NDArray[np.bool_]


def weighted_votes(
    neighbours: Neighbours, codes: Index, own: Index, ks: Sequence[int]
) -> dict[int, Votes]:
    """Votes of the k nearest with weights exp(s / 0.07), for several k at once.

    Args:
        neighbours: (n, >= max k), nearest first, every one there.
        codes: classes of the columns, all labelled.
        own: (n,) classes of the rows.
        ks: how many vote.

    Cost: O(n max(k) log k); memory of a block of rows.
    """
    n = len(own)
    results = {k: Votes(np.empty(n, np.int64), np.empty(n, bool)) for k in ks}
    step = max(1, _VALUES_AT_ONCE // max(ks))
    for start in range(0, n, step):
        part = slice(start, start + step)
        values = neighbours.values[part]
        weights = np.exp((values - values[:, :1]) / VOTE_TEMPERATURE)
        classes = codes[neighbours.indices[part]]
        for k in ks:
            votes, voted, _ = _by_class(classes[:, :k], weights[:, :k])
            results[k].predicted[part] = voted[np.arange(len(voted)), votes.argmax(axis=1)]
            best, best_votes = _largest(votes, voted, TOP)
            is_own = np.where(best_votes > 0, best, -1) == own[part][:, None]
            results[k].among_top[part] = is_own.any(axis=1)
    return results


def vote_effects(neighbours: Neighbours, codes: Index, own: Index, k: int) -> Vector:
    """(columns,) how many more rows are right when each column is deleted as a voter.

    A row that loses one of its k voters gets its next neighbour in its place.  The new winner is
    the lost voter's class, the new one's, or the best of the others, which is among the first
    three.

    Args:
        neighbours: (n, more than k where there are more columns), nearest first.
        codes: classes of the columns, all labelled.
        own: (n,) classes of the rows.
        k: how many vote.

    Cost: O(n k).
    """
    gains = np.zeros(len(codes))
    step = max(1, _VALUES_AT_ONCE // (k + 1))
    for start in range(0, len(own), step):
        part = slice(start, start + step)
        index, values = neighbours.indices[part, : k + 1], neighbours.values[part, : k + 1]
        exists = index >= 0
        weights = np.where(exists, np.exp((values - values[:, :1]) / VOTE_TEMPERATURE), 0.0)
        classes = np.where(exists, codes[index], -1)
        if classes.shape[1] == k:  # no neighbour is left to take a voter's place
            weights = np.pad(weights, ((0, 0), (0, 1)))
            classes = np.pad(classes, ((0, 0), (0, 1)), constant_values=-1)
        changed = _changes(classes, weights, own[part][:, None], k)
        np.add.at(gains, index[:, :k].ravel(), changed.ravel())
    return gains


def _changes(classes: Index, weights: Vector, own: Index, k: int) -> Vector:
    """(n, k) change of being right when each voter is replaced by the one after the last."""
    lost, lost_weight = classes[:, :k], weights[:, :k]
    new, new_weight = classes[:, k:], weights[:, k:]
    votes, voted, place = _by_class(lost, lost_weight)
    best, best_votes = _largest(votes, voted, 3)
    new_votes = np.where(voted == new, votes, 0.0).sum(axis=1, keepdims=True) + new_weight
    same = lost == new
    winner = lost.copy()
    totals = np.take_along_axis(votes, place, 1)
    winning = totals - lost_weight + np.where(same, new_weight, 0.0)

    def challenge(challenger: Index, challenger_votes: Vector, allowed: NDArray[np.bool_]) -> None:
        ahead = (challenger_votes > winning) | (
            (challenger_votes == winning) & (challenger < winner)
        )
        wins = allowed & (challenger >= 0) & ahead
        winner[wins] = np.broadcast_to(challenger, winner.shape)[wins]
        winning[wins] = np.broadcast_to(challenger_votes, winner.shape)[wins]

    challenge(new, new_votes, ~same)
    for rank in range(best.shape[1]):
        other = best[:, rank : rank + 1]
        challenge(other, best_votes[:, rank : rank + 1], (other != lost) & (other != new))
    changes: Vector = (winner == own).astype(np.float64) - (best[:, :1] == own)
    return changes


def _by_class(classes: Index, weights: Vector) -> tuple[Vector, Index, Index]:
    """(n, k) votes of each row's classes in ascending order of class, the classes, and places.

    The place of a voter is the column of its class; unused columns have class -1.
    """
    n, k = classes.shape
    order = np.argsort(classes, axis=1, kind="stable")
    in_order = np.take_along_axis(classes, order, 1)
    rank, place = np.zeros((2, n, k), np.int64)
    np.cumsum(in_order[:, 1:] != in_order[:, :-1], axis=1, out=rank[:, 1:])
    np.put_along_axis(place, order, rank, 1)
    at = (rank + np.arange(n)[:, None] * k).ravel()
    votes = np.bincount(at, np.take_along_axis(weights, order, 1).ravel(), n * k)
    voted = np.full(n * k, -1, np.int64)
    voted[at] = in_order.ravel()
    return votes.reshape(n, k).astype(np.float64), voted.reshape(n, k), place


def _largest(votes: Vector, voted: Index, count: int) -> tuple[Index, Vector]:
    """(n, count) the classes with the largest votes, and their votes."""
    first = np.argsort(-votes, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(voted, first, 1), np.take_along_axis(votes, first, 1)


# ---- the vote of a checkpoint, and its records


@dataclass(frozen=True)
class Classified:
    """The kNN vote of one checkpoint.

    Attributes:
        rows: (m,) rows that were classified, all labelled.
        n_reference: rows that can vote for each.
        n_classes: among the rows that can vote.
        votes: k -> the vote.
        effects: k -> two (N,) vectors: how many more of the other rows are right with each row
            as a voter, from two halves of the rows, scaled to all; empty with a training set,
            which is taken as given.
        n_near_train: rows with a near-duplicate in the training set.
    """

    rows: Index
    n_reference: int
    n_classes: int
    votes: dict[int, Votes] = field(default_factory=dict)
    effects: dict[int, tuple[Vector, ...]] = field(default_factory=dict)
    n_near_train: int = 0

    @property
    def shown_k(self) -> int | None:
        """The k of tables by class: 20, or the nearest to it that there is."""
        return min(self.votes, key=lambda k: (abs(k - BY_CLASS_K), k), default=None)


def classify(context: Context) -> Classified:
    """Vote over labelled neighbours alone; ks that there are too few rows for have no votes."""
    subject, runner, codes = context.subject, context.runner, context.codes
    train = subject.train
    rows = context.looked_at
    rows = rows[codes[rows] >= 0]
    voters = codes if train is None else train.codes
    reference = np.flatnonzero(voters >= 0)
    n_reference = max(len(reference) - (train is None), 0)
    result = Classified(rows, n_reference, len(np.unique(voters[reference])))
    ks = [k for k in context.options.ks if k <= n_reference]
    if not ks or not len(rows):
        return result
    if train is not None:
        runner.announce("neighbours in the training set")
        cols = train.rows
        if len(reference) < cols.n_rows:
            cols = cols.select(reference, ANCHOR_BYTES)
        near = runner.neighbours_between(subject.rows, cols, max(ks), "train", rows, reference)
        n_near = int((near.values[:, 0] > NEAR_DUPLICATE).sum())
        votes = weighted_votes(near, voters[reference], codes[rows], ks)
        return replace(result, votes=votes, n_near_train=n_near)
    near = context.near
    if len(reference) < subject.n:  # unlabelled rows have no vote
        runner.announce("neighbours among labelled rows")
        labelled = subject.rows.select(reference, ANCHOR_BYTES)
        width = min(max(ks) + 1, n_reference)  # one takes the place of a voter that goes
        at = np.searchsorted(reference, rows)
        near = runner.neighbours_between(labelled, labelled, width, "labelled", at, reference)
    votes = weighted_votes(near, codes[reference], codes[rows], ks)
    effects = {k: _effects(context, near, rows, reference, k) for k in ks}
    return replace(result, votes=votes, effects=effects)


def _effects(
    context: Context, near: Neighbours, rows: Index, reference: Index, k: int
) -> tuple[Vector, ...]:
    """How many more rows are right with each row as a voter, from two halves of the rows.

    A single vote tips over by chance.  This noise would make the jackknife's variance more than
    twice too large; the covariance of two halves is free of it.
    """
    codes, anchors = context.codes, context.anchors
    if not anchors.is_sample:
        order = np.random.default_rng(context.options.seed).permutation(len(rows))
        parts = [np.sort(order[half::2]) for half in (0, 1)]
    else:
        place = np.searchsorted(anchors.rows, rows)
        parts = [np.flatnonzero(np.isin(place, half)) for half in anchors.halves]
    effects = []
    for part in parts:
        some = Neighbours(near.values[part], near.indices[part])
        gains = np.zeros(context.subject.n)
        gains[reference] = -vote_effects(some, codes[reference], codes[rows[part]], k)
        effects.append(gains * len(reference) / max(len(part), 1))
    return tuple(effects)


def knn_records(context: Context) -> Iterator[Record]:
    """Top-1 and top-5 accuracy for each k."""
    classified, looked_at = context.once(classify), context.looked_at
    at = np.searchsorted(looked_at, classified.rows)
    definition = _SOURCES[context.subject.train is not None]
    for metric in METRICS:
        for k in context.options.ks:
            values = np.full(len(looked_at), np.nan)
            effects: tuple[Vector, ...] = ()
            reason = FEW_ANCHORS
            if classified.n_classes < 2:
                reason = "needs two classes"
            elif k > classified.n_reference:
                reason = f"needs {k} labelled neighbours, there are {classified.n_reference}"
            elif k in classified.votes:
                votes = classified.votes[k]
                right = votes.predicted == context.codes[classified.rows]
                values[at] = right if metric is KNN_ACCURACY else votes.among_top
                if metric is KNN_ACCURACY:
                    effects = classified.effects.get(k, ())
            value = metric.at(definition, k=k, temperature=VOTE_TEMPERATURE)
            yield context.averaged(value, values, effects, reason)


def knn_notes(context: Context) -> Iterator[str]:
    """A note where rows have a near-duplicate in the training set."""
    n_near = context.once(classify).n_near_train
    if n_near:
        yield (
            f"{context.subject.source}: {n_near} rows have a near-duplicate "
            "(cosine above 1 - 1e-6) in the training set: accuracies are too good"
        )
