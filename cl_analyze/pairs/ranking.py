"""Measures of a ranking: recall, hit rate, nDCG, reciprocal rank, R-precision, MAP@R.

A query's candidates are ordered by cosine.  Candidates with equal cosines are in random order, and
a measure is its expected value over these orders, in closed form.  A ranking is described by its
tie groups that hold a relevant item: how many candidates come before, and how many of the group are
relevant.

Reference: Musgrave, Belongie & Lim, A Metric Learning Reality Check, ECCV 2020 (R-precision and
MAP@R).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cl_analyze.pairs.backend import Index

Vector = NDArray[np.float64]

TIE = 1e-12
"""Cosines nearer than this are equal: float64 products of the same numbers differ by less."""


@dataclass(frozen=True)
class Ranking:
    """Rankings of several queries.

    Attributes:
        query: (G,) query of each tie group; groups of a query stand together, best first.
        before: (G,) candidates before the group.
        size: (G,) candidates in it.
        relevant: (G,) relevant ones among them.
        relevant_before: (G,) relevant ones before it.
        gain: (G,) sum of the grades of the group.
        counts: (Q,) relevant items of each query.
        grades: (P,) grade of each relevant item, those of a query together and descending.
    """

    query: Index
    before: Vector
    size: Vector
    relevant: Vector
    relevant_before: Vector
    gain: Vector
    counts: Vector
    grades: Vector

    @classmethod
    def of(
        cls,
        owner: Index,
        similarity: Vector,
        above: Vector,
        level: Vector,
        n_queries: int,
        grades: Vector | None = None,
    ) -> Ranking:
        """Rankings from the ranks of relevant items among the others.

        Args:
            owner: (P,) query of each relevant item.
            similarity: (P,) of the item.
            above, level: (P,) items that are not relevant and nearer, and as near.
            n_queries: Q.
            grades: (P,) > 0; None: all 1.
        """
        grades = np.ones(len(owner)) if grades is None else grades
        by_grade = np.lexsort((-grades, owner))
        order = np.lexsort((-similarity, owner))
        owner, similarity = owner[order], similarity[order]
        is_new = np.ones(len(owner), bool)
        is_new[1:] = (owner[1:] != owner[:-1]) | (similarity[:-1] - similarity[1:] > TIE)
        group = np.cumsum(is_new) - 1
        n_groups = int(is_new.sum())
        relevant = np.bincount(group, minlength=n_groups).astype(np.float64)
        first = np.flatnonzero(is_new)
        query = owner[first]
        counts = np.bincount(owner, minlength=n_queries).astype(np.float64)
        starts = np.concatenate([[0.0], np.cumsum(counts)])
        relevant_before = first - starts[query]
        return cls(
            query,
            above[order][first] + relevant_before,
            level[order][first] + relevant,
            relevant,
            relevant_before,
            np.bincount(group, grades[order], n_groups).astype(np.float64),
            counts,
            grades[by_grade],
        )

    @cached_property
    def _first(self) -> Index:
        """(queries with an item,) the first group of each."""
        return np.flatnonzero(self.relevant_before == 0)

    def _sum(self, of_groups: Vector) -> Vector:
        """(Q,) sums over the groups of each query; NaN for a query without an item."""
        total = np.bincount(self.query, of_groups, len(self.counts))
        return np.where(self.counts > 0, total, np.nan)

    def _taken(self, limit: Vector | float) -> Vector:
        """(G,) how many of each group are among the first `limit` candidates."""
        return np.clip(limit - self.before, 0.0, self.size)

    def recall_at(self, k: int) -> Vector:
        """(Q,) share of the relevant items that are among the first k."""
        with np.errstate(invalid="ignore"):
            return self._sum(self._taken(k) * self.relevant / self.size) / self.counts

    def hit_at(self, k: int) -> Vector:
        """(Q,) chance that a relevant item is among the first k."""
        at = self._first
        taken, size, others = self._taken(k)[at], self.size[at], (self.size - self.relevant)[at]
        # no relevant one among those taken: a draw of `taken` from the others alone
        log_none = _log_choose(others, taken) - _log_choose(size, taken)
        chance = np.where(taken > others, 1.0, -np.expm1(log_none))
        return self._by_query(chance)

    def ndcg_at(self, k: int) -> Vector:
        """(Q,) discounted gain of the first k over that of the best order, grades as gains."""
        discounts = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(2.0, k + 2.0)))])
        stop, start = np.minimum(self.before + self.size, k), np.minimum(self.before, k)
        spread = discounts[stop.astype(int)] - discounts[start.astype(int)]
        gained = self._sum(self.gain / self.size * spread)
        place = np.arange(len(self.grades)) - np.repeat(
            np.cumsum(self.counts) - self.counts, self.counts.astype(int)
        )
        discount = np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0)
        owner = np.repeat(np.arange(len(self.counts)), self.counts.astype(int))
        best = np.bincount(owner, self.grades * discount, len(self.counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            return gained / best

    def reciprocal_rank(self) -> Vector:
        """(Q,) one over the rank of the first relevant item."""
        at = self._first
        before, size, relevant = self.before[at], self.size[at], self.relevant[at]
        harmonic = _harmonic(before + size) - _harmonic(before)
        values = np.where(size == relevant, 1.0 / (before + 1.0), harmonic / size)
        for one in np.flatnonzero((relevant > 1) & (size > relevant)):
            values[one] = _mean_reciprocal(before[one], size[one], relevant[one])
        return self._by_query(values)

    def first_rank(self) -> Vector:
        """(Q,) expected rank of the first relevant item, from 1."""
        at = self._first
        inside = (self.size[at] + 1.0) / (self.relevant[at] + 1.0)
        return self._by_query(self.before[at] + inside)

    def r_precision(self) -> Vector:
        """(Q,) share of relevant ones among the first R candidates, R the relevant items."""
        taken = self._taken(self.counts[self.query])
        with np.errstate(invalid="ignore"):
            return self._sum(taken * self.relevant / self.size) / self.counts

    def map_at_r(self) -> Vector:
        """(Q,) mean over the first R ranks of the precision there where the item is relevant."""
        taken = self._taken(self.counts[self.query])
        harmonic = _harmonic(self.before + taken) - _harmonic(self.before)
        with np.errstate(invalid="ignore", divide="ignore"):
            other = np.where(self.size > 1, (self.relevant - 1.0) / (self.size - 1.0), 0.0)
        ahead = (self.relevant_before + 1.0) * harmonic
        inside = other * (taken - (self.before + 1.0) * harmonic)
        with np.errstate(invalid="ignore"):
            return self._sum(self.relevant / self.size * (ahead + inside)) / self.counts

    def _by_query(self, of_first_groups: Vector) -> Vector:
        values = np.full(len(self.counts), np.nan)
        values[self.query[self._first]] = of_first_groups
        return values


def _log_choose(n: Vector, k: Vector) -> Vector:
    """log of n over k; for k above n the value of n (masked by the caller)."""
    from scipy import special

    k = np.minimum(k, n)
    value: Vector = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return value


def _harmonic(n: Vector) -> Vector:
    """1 + 1/2 + ... + 1/n."""
    from scipy import special

    value: Vector = special.digamma(n + 1.0) + np.euler_gamma
    return value


def _mean_reciprocal(before: float, size: float, relevant: float) -> float:
    """Expected 1 / rank of the first of some relevant items in random places of a group."""
    others = int(size - relevant)
    ahead = np.arange(others + 1)  # others before the first relevant one
    log_chance = _log_choose(np.full(others + 1, float(others)), ahead.astype(float))
    log_chance = log_chance - _log_choose(np.full(others + 1, size), ahead.astype(float))
    chance = np.exp(log_chance) * relevant / (size - ahead)
    return float((chance / (before + ahead + 1.0)).sum())
