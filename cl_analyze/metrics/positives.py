"""The positive pairs of each anchor: pairs of views of a row, a partner, or related items.

A row has one vote, however many positive pairs it has: its value is the mean over its pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.relevance import Relevance
from cl_analyze.data.unit import UnitRows, paired
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import LeftOut

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Positives:
    """Positive pairs, sorted by their anchor.

    Attributes:
        kind: the definition that records of positives have.
        starts: (N + 1,) pairs of anchor i are starts[i] up to starts[i + 1].
        similarity: (P,) cosine of each pair.
        distance: (P,) squared distance of each pair, from the difference of its rows.
    """

    kind: Literal["view_pairs", "relevant"]
    starts: Index
    similarity: Vector
    distance: Vector

    @cached_property
    def counts(self) -> Index:
        """(N,) number of pairs of each anchor."""
        return np.diff(self.starts)

    @cached_property
    def owners(self) -> Index:
        """(P,) anchor of each pair."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def weights(self) -> Vector | None:
        """(P,) vote of each pair, so that anchors have one together; None: pairs vote alike."""
        own = self.counts[self.counts > 0]
        return None if not len(own) or own.min() == own.max() else 1.0 / self.counts[self.owners]

    def of_rows(self, rows: Index) -> Positives:
        """The pairs of some anchors, in their order; row numbers are then positions among them."""
        every = LeftOut(self.starts, np.arange(len(self.similarity))).of_rows(rows)
        return Positives(
            self.kind, every.starts, self.similarity[every.columns], self.distance[every.columns]
        )

    def row_means(self, values: Vector) -> Vector:
        """(N,) mean over each anchor's pairs of one value a pair; NaN: no pair, or one is NaN."""
        sums = np.bincount(self.owners, values, len(self.counts))
        with np.errstate(invalid="ignore"):
            return np.where(self.counts > 0, sums / self.counts, np.nan)

    @cached_property
    def least(self) -> Vector:
        """(N,) smallest similarity of an anchor's pairs; NaN where it has none."""
        least = np.full(len(self.counts), np.inf)
        np.minimum.at(least, self.owners, self.similarity)
        return np.where(self.counts > 0, least, np.nan)


_PAIRS_AT_ONCE = 1 << 14


def positives_of_relevance(rows: UnitRows, partners: UnitRows, relevance: Relevance) -> Positives:
    """Every row with each of its relevant rows of another matrix: O(pairs D)."""
    queries, items = relevance.queries, relevance.items
    similarity, distance = np.empty(len(items)), np.empty(len(items))
    for start in range(0, len(items), _PAIRS_AT_ONCE):
        now = slice(start, start + _PAIRS_AT_ONCE)
        u, v = rows.take(queries[now]), partners.take(items[now])
        similarity[now] = np.clip(np.einsum("ij,ij->i", u, v), -1.0, 1.0)
        distance[now] = np.square(u - v).sum(axis=1)
    return Positives("relevant", relevance.starts, similarity, distance)


def view_pairs(n_views: int) -> list[tuple[int, int]]:
    """All pairs of views, the first of a pair before the second.

    >>> view_pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(a, b) for a in range(n_views) for b in range(a + 1, n_views)]


def positives_of_views(views: tuple[UnitRows, ...]) -> Positives:
    """The V (V - 1) / 2 pairs of views of every row: O(N V^2 D)."""
    parts = [paired(views[a], views[b]) for a, b in view_pairs(len(views))]
    similarity, distance = (
        np.stack(columns, axis=1).ravel() for columns in zip(*parts, strict=True)
    )
    starts = np.arange(0, len(similarity) + 1, len(parts))
    return Positives("view_pairs", starts, similarity, distance)
