"""How many negatives are nearer than each positive: whole rows of similarities at a time.

A strip is a few anchors with all their similarities in float64.  What is no negative of an anchor
(itself, its positives, rows of its class) lies under every similarity there.  Similarities within
`TIE` are equal.

Two jobs share the strips.  `PositiveRanks` has a few positives for each anchor, given by their
similarity, and counts.  `ClassRanks` has all rows of the anchor's class as positives, and sorts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import LeftOut
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import spans
from cl_analyze.pairs.rank_effects import random_signs, ranking_effects
from cl_analyze.pairs.ranking import TIE, Ranking
from cl_analyze.pairs.saved import SavedPass

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_UNDER = -2.0
_VALUES_OF_A_STRIP, _MOST_ROWS = 1 << 20, 128
_MEASURES = (Ranking.reciprocal_rank, Ranking.map_at_r, Ranking.r_precision)
_COUNTED = 8
"""Positives of an anchor up to which counting is faster than sorting."""


@dataclass(frozen=True)
class RankedPositives:
    """What the negatives of each positive pair's anchor are to the pair.

    Attributes:
        above: (P,) negatives nearer than the positive.
        level: (P,) negatives as near.
        n_negatives: (m,) negatives of each anchor.
        received: (n_cols,) sum over the anchors of what each column adds, as their negative, to the
            share of negatives under positives, to first order.
    """

    above: Vector
    level: Vector
    n_negatives: Vector
    received: Vector

    @classmethod
    def joined(cls, parts: Sequence[RankedPositives]) -> RankedPositives:
        """The ranks of the anchors of several parts."""
        above, level, n_negatives = (
            _concatenated(parts, name) for name in ("above", "level", "n_negatives")
        )
        return cls(above, level, n_negatives, _summed(parts, "received"))


@dataclass(frozen=True)
class PositiveRanks:
    """Job: anchors with a few positives each, whose similarities are known.

    Attributes:
        rows, cols: unit rows of anchors and candidates.
        starts: (m + 1,) positives of anchor i are starts[i] up to starts[i + 1].
        similarity: (P,) of each positive with its anchor.
        left_out: columns that are no negatives of each anchor, itself among them.
        effects: whether `received` is wanted.
        row_labels, col_labels: class codes where only rows of other classes are negatives.
    """

    rows: UnitRows
    cols: UnitRows
    starts: Index
    similarity: Vector
    left_out: LeftOut
    effects: bool = False
    row_labels: Index | None = None
    col_labels: Index | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What the ranks depend on beside the rows."""
        related = self.left_out.starts, self.left_out.columns
        labels = self.row_labels, self.col_labels
        return self.starts, self.similarity, *related, self.effects, *labels

    def run(self, span: tuple[int, int]) -> RankedPositives:
        """The counts of the anchors in a span; `received` is their part of the sum."""
        start, stop = span
        strip, is_no_negative = self._strip(span)
        n_negatives = strip.shape[1] - is_no_negative.sum(axis=1)
        own = slice(self.starts[start], self.starts[stop])
        at = np.repeat(np.arange(stop - start), np.diff(self.starts[start : stop + 1]))
        positives = self.similarity[own]
        counts = np.diff(self.starts[start : stop + 1])
        count = _counted if counts.max(initial=0) <= _COUNTED else _sorted
        above, level = count(strip, at, positives)
        received = np.zeros(strip.shape[1])
        if self.effects:
            has_both = (counts > 0) & (n_negatives > 0)
            n_pairs = np.where(has_both, counts * n_negatives, 1)
            over = np.bincount(at, above + 0.5 * level, len(counts)) / n_pairs
            added = _positives_above(strip, at, positives, counts)
            added /= np.maximum(counts, 1)[:, None]
            added -= 1.0 - over[:, None]
            added[is_no_negative] = 0.0
            received = (has_both / np.maximum(n_negatives, 1)) @ added
        return RankedPositives(above, level, n_negatives.astype(np.float64), received)

    def _strip(self, span: tuple[int, int]) -> tuple[Matrix, NDArray[np.bool_]]:
        """Similarities of the anchors in a span, and where a column is no negative."""
        strip = _similarities(self.rows, self.cols, span)
        is_no_negative = np.zeros(strip.shape, bool)
        is_no_negative[self.left_out.inside(span, (0, strip.shape[1]))] = True
        if self.row_labels is not None and self.col_labels is not None:
            mine = self.row_labels[span[0] : span[1], None]
            is_no_negative |= (mine == self.col_labels) | (mine < 0) | (self.col_labels < 0)
        strip[is_no_negative] = _UNDER
        return strip, is_no_negative


def _similarities(rows: UnitRows, cols: UnitRows, span: tuple[int, int]) -> Matrix:
    """(rows of the span, n_cols) cosines in float64."""
    anchors = rows.exact_block(*span)
    strip = np.empty((len(anchors), cols.n_rows))
    for first, last in spans(cols.n_rows, 1024):
        np.matmul(anchors, cols.exact_block(first, last).T, out=strip[:, first:last])
    return strip


def similarity_strips(
    rows: UnitRows, cols: UnitRows, left_out: LeftOut
) -> Iterator[tuple[int, Matrix]]:
    """Strips of similarities in float64, with the first row of each; left-out columns are -2."""
    n = cols.n_rows
    for span in spans(rows.n_rows, int(np.clip(_VALUES_OF_A_STRIP // n, 1, _MOST_ROWS))):
        strip = _similarities(rows, cols, span)
        strip[left_out.inside(span, (0, n))] = _UNDER
        yield span[0], strip


def _counted(strip: Matrix, at: Index, positives: Vector) -> tuple[Vector, Vector]:
    """Columns above and level with each positive, by comparison with every column."""
    above, at_least = np.zeros(len(positives)), np.zeros(len(positives))
    place = np.arange(len(at)) - np.searchsorted(at, at)  # of a positive among its anchor's
    for turn in range(int(place.max(initial=-1)) + 1):
        now = np.flatnonzero(place == turn)
        whole = len(now) == len(strip)
        own = strip if whole else strip[at[now]]
        limits = positives[now, None]
        above[now] = np.count_nonzero(own > limits + TIE, axis=1)
        at_least[now] = np.count_nonzero(own >= limits - TIE, axis=1)
    return above, at_least - above


def _sorted(strip: Matrix, at: Index, positives: Vector) -> tuple[Vector, Vector]:
    """The same by a search in sorted rows."""
    above, level = np.zeros(len(positives)), np.zeros(len(positives))
    ordered = np.sort(strip, axis=1)
    bounds = np.searchsorted(at, np.arange(len(strip) + 1))
    for row, (first, last) in enumerate(itertools.pairwise(bounds)):
        above[first:last], level[first:last] = ranks_in(ordered[row], positives[first:last])
    return above, level


def ranks_in(ordered: Vector, values: Vector) -> tuple[Vector, Vector]:
    """How many of some ascending numbers are above each value, and how many are level with it.

    >>> [x.tolist() for x in ranks_in(np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.5, 0.2]))]
    [[1.0, 3.0], [2.0, 0.0]]
    """
    to, start = (np.searchsorted(ordered, values + shift, side) for shift, side in _SIDES)
    return (len(ordered) - to).astype(np.float64), (to - start).astype(np.float64)


_SIDES: tuple[tuple[float, Any], ...] = ((TIE, "right"), (-TIE, "left"))


def _positives_above(strip: Matrix, at: Index, positives: Vector, counts: Index) -> Matrix:
    """For each entry the number of its anchor's positives that are above it, ties half."""
    found = np.zeros(strip.shape)
    if counts.max(initial=0) <= _COUNTED:
        for pair, row in enumerate(at):
            found[row] += strip[row] < positives[pair] - TIE
            found[row] += 0.5 * (np.abs(strip[row] - positives[pair]) <= TIE)
        return found
    bounds = np.searchsorted(at, np.arange(len(strip) + 1))
    for row, (first, last) in enumerate(itertools.pairwise(bounds)):
        above, level = ranks_in(np.sort(positives[first:last]), strip[row])
        found[row] = above + 0.5 * level
    return found


@dataclass(frozen=True)
class ClassRanked:
    """Ranks of the other rows of an anchor's class among the rows of other classes.

    Attributes:
        counts: (m,) positives of each anchor: labelled rows of its class, itself left out.
        n_negatives: (m,) labelled rows of other classes.
        over: (m,) sum over the positives of the negatives that are nearer, ties half.
        least: (m,) similarity of the farthest positive; NaN without positives.
        measures: (m, 3) reciprocal rank of the nearest positive, MAP@R and R-precision; NaN without
            positives.
        violated: (m,) share of the anchor's positives that have a nearer negative.
        received: (2, n_cols) sum over the anchors of what each column adds, as their positive or
            negative and to first order, to the share of negatives under positives, and to
            `violated`.
        ranking: (7, n_cols) sum over the anchors of what each column adds to three measures of the
            ranking (`ranking_effects`); how many anchors have it as their only positive; the sums
            with a random sign for each anchor.
        squares: (3,) sum of the squares of what single columns (or groups) add to single anchors.
    """

    counts: Vector
    n_negatives: Vector
    over: Vector
    least: Vector
    measures: Matrix
    violated: Vector
    received: Matrix
    ranking: Matrix
    squares: Vector

    @classmethod
    def joined(cls, parts: Sequence[ClassRanked]) -> ClassRanked:
        """The ranks of the anchors of several parts."""
        names = ("counts", "n_negatives", "over", "least", "measures", "violated")
        every = {name: _concatenated(parts, name) for name in names}
        sums = {name: _summed(parts, name) for name in ("received", "ranking", "squares")}
        return cls(**every | sums)


@dataclass(frozen=True)
class ClassRanks:
    """Job: anchors whose positives are the labelled rows of their class, itself left out.

    Attributes:
        rows: unit rows of the anchors.
        own: (m,) index of each anchor among the columns.
        cols: unit rows of all.
        labels: (n_cols,) class codes, -1 unlabelled.
        groups: (n_cols,) codes of rows that belong together: what they add to each other's ranking
            does not count.
    """

    rows: UnitRows
    own: Index
    cols: UnitRows
    labels: Index
    groups: Index | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What the ranks depend on beside the rows."""
        return self.own, self.labels, self.groups

    def run(self, span: tuple[int, int]) -> ClassRanked:
        """The ranks of the anchors in a span; sums over anchors are their part."""
        start, stop = span
        strip = _similarities(self.rows, self.cols, span)
        sums = _StripSums(stop - start, strip.shape[1])
        is_labelled = self.labels >= 0
        for row in range(stop - start):
            own = self.own[start + row]
            if self.labels[own] < 0:
                continue
            is_same = self.labels == self.labels[own]
            is_other = is_labelled & ~is_same
            is_same[own] = False
            sibling = None if self.groups is None else self.groups == self.groups[own]
            anchor = _Anchor(row, own, strip[row], np.flatnonzero(is_same), is_other)
            sums.counts[row], sums.n_negatives[row] = len(anchor.same), len(anchor.negatives)
            if len(anchor.same):
                sums.add_ranking(anchor, self.groups, sibling)
                sums.add_separation(anchor)
        return sums.result()


class _Anchor:
    """One anchor, its positives and negatives, and their ranks among each other.

    Attributes:
        row: position in the strip.
        own: index among the columns.
        same: (R,) columns of its class.
        is_other: (n_cols,) whether a column is of another class.
        positives, negatives: their similarities.
        above, level: (R,) negatives nearer than each positive, and as near.
        over: (negatives,) positives nearer than each negative, ties half.
    """

    def __init__(
        self, row: int, own: int, similarity: Vector, same: Index, is_other: NDArray[np.bool_]
    ) -> None:
        self.row, self.own, self.same, self.is_other = row, own, same, is_other
        self.positives, self.negatives = similarity[same], similarity[is_other]
        self.above, self.level = ranks_in(np.sort(self.negatives), self.positives)
        over, tied = ranks_in(np.sort(self.positives), self.negatives)
        self.over = over + 0.5 * tied


class _StripSums:
    """What `ClassRanked` has, while the anchors of a strip are added."""

    def __init__(self, n_rows: int, n_cols: int) -> None:
        self.counts, self.n_negatives = np.zeros(n_rows), np.zeros(n_rows)
        self._over, self._violated = np.zeros(n_rows), np.zeros(n_rows)
        self._least = np.full(n_rows, np.nan)
        self._received, self._ranking = np.zeros((2, n_cols)), np.zeros((7, n_cols))
        self._squares = np.zeros(3)
        self._signs = random_signs(n_cols)
        self._pairs: list[tuple[Index, Vector, Vector, Vector]] = []

    def add_ranking(
        self, anchor: _Anchor, groups: Index | None, sibling: NDArray[np.bool_] | None
    ) -> None:
        """Add what columns add to the measures of an anchor's ranking.

        Args:
            anchor: the anchor.
            groups: (n_cols,) codes of rows that belong together, or None.
            sibling: (n_cols,) whether a column belongs to the anchor's group, or None.
        """
        rows = np.full(len(anchor.same), anchor.row)
        self._pairs.append((rows, anchor.positives, anchor.above, anchor.level))
        nearest_first = np.argsort(-anchor.positives, kind="stable")
        ahead = np.floor(anchor.above + 0.5 * anchor.level)[nearest_first]
        of_positives, of_negatives = ranking_effects(ahead, anchor.over)
        added = np.zeros((4, len(anchor.is_other)))
        added[:3, anchor.same[nearest_first]] = of_positives
        added[:3, anchor.is_other] = of_negatives
        added[3, anchor.same] = len(anchor.same) == 1
        if sibling is not None:
            added[:, sibling] = 0.0
        self._ranking[:4] += added
        self._ranking[4:] += self._signs[anchor.own] * added[:3]
        self._squares += _squares(added[:3], groups)

    def add_separation(self, anchor: _Anchor) -> None:
        """Add what columns add to an anchor's AUROC and to its positives with nearer negatives."""
        row, n_positives, n_negatives = anchor.row, len(anchor.same), len(anchor.negatives)
        beaten = anchor.above + 0.5 * anchor.level
        self._over[row], self._least[row] = beaten.sum(), anchor.positives.min()
        violated = self._violated[row] = (anchor.above > 0).mean()
        if not n_negatives:
            return
        under = 1.0 - beaten / n_negatives
        mean = float(under.mean())
        of_auroc, of_violated = self._received
        of_auroc[anchor.same] += (under - mean) / n_positives
        of_auroc[anchor.is_other] += (anchor.over / n_positives - mean) / n_negatives
        of_violated[anchor.same] += ((anchor.above > 0) - violated) / n_positives
        nearest = np.flatnonzero(anchor.is_other)[np.argmax(anchor.negatives)]
        of_violated[nearest] += violated - (anchor.above > 1).mean()

    def result(self) -> ClassRanked:
        """The sums, and the measures of all rankings."""
        measures = np.full((len(self.counts), 3), np.nan)
        if self._pairs:
            owner, similarity, above, level = map(np.concatenate, zip(*self._pairs, strict=True))
            rankings = Ranking.of(owner, similarity, above, level, len(self.counts))
            measures = np.stack([measure(rankings) for measure in _MEASURES], axis=1)
        values = self.counts, self.n_negatives, self._over, self._least, measures, self._violated
        return ClassRanked(*values, self._received, self._ranking, self._squares)


def _squares(added: Matrix, groups: Index | None) -> Vector:
    """(3,) sums of squares of columns, or of the sums of groups of columns."""
    if groups is not None:
        added = np.stack([np.bincount(groups, own) for own in added])
    total: Vector = (added**2).sum(axis=1)
    return total


def ranked(
    job: PositiveRanks | ClassRanks,
    executor: Executor,
    progress: Callable[[int, int], None] | None = None,
    saved: SavedPass | None = None,
) -> Any:
    """Rank the positives of every anchor among its negatives.

    Args:
        job: anchors, candidates and positives.
        executor: where strips are computed.
        progress: called with the pairs done and the pairs in all.
        saved: keeps the parts on the way, and has those of an earlier run.

    Returns:
        `RankedPositives` or `ClassRanked`, of all anchors.

    Cost: m n_cols D, and two comparisons an entry and positive; above 8 positives of an anchor a
    sorted row.
    """
    m, n = job.rows.n_rows, job.cols.n_rows
    units = spans(m, int(np.clip(_VALUES_OF_A_STRIP // n, 1, _MOST_ROWS)))
    result: type[RankedPositives | ClassRanked] = (
        RankedPositives if isinstance(job, PositiveRanks) else ClassRanked
    )
    parts: list[Any] = []
    n_done = 0
    if saved is not None and (kept := saved.load([[result.joined([])]])) is not None:
        n_done, ((part,),) = kept
        parts.append(part)
        if n_done:
            saved.on_resume(units[n_done - 1][1] * n, m * n)
    remaining = units[n_done:]
    found = zip(remaining, executor.run(job, remaining), strict=True)
    for position, ((_, stop), part) in enumerate(found, n_done + 1):
        parts.append(part)
        if saved is not None:
            parts = [result.joined(parts)]
            saved.save(position, [parts], position == len(units))
        if progress is not None:
            progress(stop * n, m * n)
    return result.joined(parts)


def _concatenated(parts: Sequence[Any], name: str) -> Vector:
    arrays = [getattr(part, name) for part in parts]
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _summed(parts: Sequence[Any], name: str) -> Vector:
    return np.sum([getattr(part, name) for part in parts], axis=0) if parts else np.zeros(0)
