"""What the nearest neighbours tell: weighted kNN accuracy, hubs, which classes mix.

References: Wu, Xiong, Yu & Lin, CVPR 2018 (the weighted vote, T = 0.07); Radovanovic, Nanopoulos &
Ivanovic, JMLR 2010 (hubness); Feldbauer, Rattei & Flexer, JOSS 2020 (Robin Hood index, antihubs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.reducers.neighbours import Neighbours

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

VOTE_TEMPERATURE = 0.07
TOP = 5
_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Votes:
    """What the k nearest labelled neighbours of each row say its class is.

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
    found = {k: Votes(np.empty(n, np.int64), np.empty(n, bool)) for k in ks}
    step = max(1, _VALUES_AT_ONCE // max(ks))
    for start in range(0, n, step):
        part = slice(start, start + step)
        values = neighbours.values[part]
        weights = np.exp((values - values[:, :1]) / VOTE_TEMPERATURE)
        classes = codes[neighbours.indices[part]]
        for k in ks:
            votes, of = _by_class(classes[:, :k], weights[:, :k])
            found[k].predicted[part] = of[np.arange(len(of)), votes.argmax(axis=1)]
            first = np.argsort(-votes, axis=1, kind="stable")[:, :TOP]
            top = np.where(
                np.take_along_axis(votes, first, 1) > 0, np.take_along_axis(of, first, 1), -1
            )
            found[k].among_top[part] = (top == own[part][:, None]).any(axis=1)
    return found


def vote_effects(neighbours: Neighbours, codes: Index, own: Index, k: int) -> Vector:
    """(columns,) what deleting each column as a voter adds to the number of rows that are right.

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
        there = index >= 0
        weights = np.where(there, np.exp((values - values[:, :1]) / VOTE_TEMPERATURE), 0.0)
        classes = np.where(there, codes[index], -1)
        if classes.shape[1] == k:  # no neighbour is left to take a voter's place
            weights = np.pad(weights, ((0, 0), (0, 1)))
            classes = np.pad(classes, ((0, 0), (0, 1)), constant_values=-1)
        changed = _changes(classes, weights, own[part][:, None], k)
        np.add.at(gains, index[:, :k].ravel(), changed.ravel())
    return gains


def _changes(classes: Index, weights: Vector, own: Index, k: int) -> Vector:
    """(n, k) change of being right when each voter is replaced by the one after the last."""
    votes, of = _by_class(classes[:, :k], weights[:, :k])
    first = np.argsort(-votes, axis=1, kind="stable")[:, :3]
    best, best_votes = np.take_along_axis(of, first, 1), np.take_along_axis(votes, first, 1)
    new, new_weight = classes[:, k:], weights[:, k:]
    lost, lost_weight = classes[:, :k], weights[:, :k]
    order = np.argsort(lost, axis=1, kind="stable")
    rank = np.zeros(lost.shape, np.int64)
    np.cumsum(np.diff(np.take_along_axis(lost, order, 1), axis=1) != 0, axis=1, out=rank[:, 1:])
    totals = np.empty(lost.shape)
    np.put_along_axis(totals, order, np.take_along_axis(votes, rank, 1), 1)
    new_total = np.where(of == new, votes, 0.0).sum(axis=1, keepdims=True)
    same = lost == new
    winner = lost.copy()
    winning = totals - lost_weight + np.where(same, new_weight, 0.0)

    def challenge(challenger: Index, its_votes: Vector, allowed: NDArray[np.bool_]) -> None:
        ahead = (its_votes > winning) | ((its_votes == winning) & (challenger < winner))
        wins = allowed & (challenger >= 0) & ahead
        winner[wins] = np.broadcast_to(challenger, winner.shape)[wins]
        winning[wins] = np.broadcast_to(its_votes, winner.shape)[wins]

    challenge(new, new_total + new_weight, ~same)
    for place in range(best.shape[1]):
        other = best[:, place : place + 1]
        challenge(other, best_votes[:, place : place + 1], (other != lost) & (other != new))
    changes: Vector = (winner == own).astype(np.float64) - (best[:, :1] == own)
    return changes


def _by_class(classes: Index, weights: Vector) -> tuple[Vector, Index]:
    """(n, k) votes of each row's classes in ascending order of class, and which these are."""
    n, k = classes.shape
    order = np.argsort(classes, axis=1, kind="stable")
    classes = np.take_along_axis(classes, order, 1)
    weights = np.take_along_axis(weights, order, 1)
    rank = np.zeros((n, k), np.int64)
    np.cumsum(classes[:, 1:] != classes[:, :-1], axis=1, out=rank[:, 1:])
    at = (rank + np.arange(n)[:, None] * k).ravel()
    votes = np.bincount(at, weights.ravel(), n * k).reshape(n, k)
    of = np.full(n * k, -1, np.int64)
    of[at] = classes.ravel()
    return votes.astype(np.float64), of.reshape(n, k)


@dataclass(frozen=True)
class Hubness:
    """How unevenly rows are others' neighbours.

    Attributes:
        in_degree: (N,) N_k, how many rows have a row among their k nearest.
        skewness: of N_k (biased); None where all are equal.
        robin_hood: share of neighbour slots to move until all rows have k.
        antihub_share: share of the rows that are nobody's neighbour.
    """

    in_degree: Index
    skewness: float | None
    robin_hood: float
    antihub_share: float


def hubness(neighbours: Neighbours, k: int) -> Hubness:
    """Hubness of the k-nearest-neighbour graph of all rows (self left out)."""
    n = len(neighbours.indices)
    return _hubness(np.bincount(neighbours.indices[:, :k].ravel(), minlength=n), k)


def hubness_without(neighbours: Neighbours, k: int, groups: Index) -> list[Hubness]:
    """Hubness without each group of rows: neighbours that are left move up.

    Args:
        neighbours: (N, more than k).
        k: of the graph.
        groups: (N,) codes.

    Returns:
        One for each group; none where a row has too few neighbours left.
    """
    spare = neighbours.indices[:, : 2 * k + 20]
    found = []
    for group in np.unique(groups):
        left = groups != group
        kept = left[spare] & (spare >= 0)
        rank = np.cumsum(kept, axis=1)
        if rank[left, -1].min(initial=k) < k:
            return []
        chosen = spare[left][(kept & (rank <= k))[left]]
        found.append(_hubness(np.bincount(chosen, minlength=len(groups))[left], k))
    return found


def _hubness(degree: Index, k: int) -> Hubness:
    left = degree - float(k)
    variance = float((left**2).mean())
    skewness = float((left**3).mean()) / variance**1.5 if variance > 0 else None
    return Hubness(
        degree.astype(np.int64),
        skewness,
        0.5 * float(np.abs(left).sum()) / degree.sum(),
        float((degree == 0).mean()),
    )


def class_mixing(
    neighbours: Neighbours, codes: Index, own: Index, n_classes: int, k: int
) -> NDArray[np.float64]:
    """(C, C) share of the k nearest neighbours of a class's rows that lie in each class."""
    counts = np.zeros((n_classes, n_classes))
    known = own >= 0
    theirs = codes[neighbours.indices[known, :k]]
    mine = np.repeat(own[known], k).reshape(theirs.shape)
    inside = theirs >= 0
    np.add.at(counts, (mine[inside], theirs[inside]), 1.0)
    totals = counts.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = counts / np.where(totals > 0, totals, 1.0)
    return shares
