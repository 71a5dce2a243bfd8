"""How each row acts on the losses of the others: the second passes, for the error bars.

A row enters the mean of a loss as an anchor, through its own value, and as a negative, through the
softmaxes of the others: the influence of row j on a sum of log Z_i is the sum of the weights p_ij
that it receives.  Where means are estimated, and above 10,000 rows, two halves of some anchors give
two copies of every influence, whose covariance is free of the sampling noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cl_analyze.metrics.family import second_anchors
from cl_analyze.metrics.losses.effects import effect_on_others
from cl_analyze.metrics.losses.passes import Index, LossPasses, Passes
from cl_analyze.metrics.losses.pieces import MATRICES, Matrix, Vector
from cl_analyze.metrics.losses.terms import Softmax, Terms
from cl_analyze.pairs.reducers import SoftmaxReceived, SoftmaxTotals
from cl_analyze.pairs.tile import PairSet

Key = tuple[Matrix, float, PairSet]


class Influence:
    """The effect of the presence of each pair on the sum of the losses of all others.

    `expect` is called for the terms of every mean, then `receive` once, then `effects`.
    """

    def __init__(self, passes: LossPasses) -> None:
        self.passes = passes
        self._totals: dict[Key, list[Vector]] = {}
        """Versions of log Z, for each of which the passes give the received weights."""
        self._gaps: set[Key] = set()
        """Keys for which the passes give received means of 1 - s too."""
        self._copies: list[tuple[Index, dict[Key, Vector]]] = []
        """The anchors of each copy, and the weights received from them."""

    def expect(self, terms: Terms) -> None:
        """Remember which received weights the error of the mean of the terms needs."""
        for softmax in terms.softmaxes:
            for matrix, pairs in softmax.over:
                key: Key = (matrix, softmax.tau, pairs)
                versions = self._totals.setdefault(key, [])
                if softmax.log_centre is not None:
                    versions.append(softmax.log_centre)
                    self._gaps.add(key)
                if not any(softmax.log_total is other for other in versions):
                    versions.append(softmax.log_total)

    def receive(self) -> None:
        """Run the second passes."""
        passes = self.passes
        anchors = second_anchors(passes.n, passes.options, passes.anchors)
        parts: list[Index | None] = [None]
        if anchors.is_sample:
            parts = [anchors.rows[half] for half in anchors.halves]
        for rows in parts:
            received: dict[Key, Vector] = {}
            for matrix in MATRICES:
                received.update(self._receive(matrix, rows))
            self._copies.append((passes.rows if rows is None else rows, received))

    def _receive(self, matrix: Matrix, rows: Index | None) -> dict[Key, Vector]:
        at = slice(None) if rows is None else np.searchsorted(self.passes.rows, rows)
        reducers: dict[Key, SoftmaxReceived] = {}
        for key, versions in self._totals.items():
            if key[0] == matrix:
                totals = np.stack([version[at] for version in versions], axis=1)
                totals = np.where(np.isnan(totals) | np.isneginf(totals), np.inf, totals)
                given = SoftmaxTotals(rows, totals)
                reducers[key] = SoftmaxReceived(key[1], key[2], key in self._gaps, given)
        if not reducers:
            return {}
        results = self.passes.between(reducers.values(), matrix, rows, "error bars")
        return {key: results[reducer] for key, reducer in reducers.items()}

    @property
    def share(self) -> float:
        """Part of the pairs behind each copy of the effects."""
        return len(self._copies[0][0]) / self.passes.n

    def effects(self, terms: Terms) -> list[Vector]:
        """(N,) effects of every pair on the loss, one copy or two."""
        return [
            self._of_softmaxes(terms.softmaxes, copy) + self._of_effect(terms, copy)
            for copy in range(len(self._copies))
        ]

    def effects_on_alignment(self, terms: Terms) -> list[Vector]:
        """(N,) the part of the effects that changes the alignment: that on means of a class."""
        if terms.effect not in ("supcon_out", "supcon_in") and terms.moved is None:
            return [np.zeros(self.passes.n)] * len(self._copies)
        inside = tuple(softmax for softmax in terms.softmaxes if softmax.weight < 0)
        return self.effects(replace(terms, softmaxes=inside))

    def _of_softmaxes(self, softmaxes: tuple[Softmax, ...], copy: int) -> Vector:
        rows, received = self._copies[copy]
        total = np.zeros(self.passes.n)
        for softmax in softmaxes:
            for matrix, pairs in softmax.over:
                key: Key = (matrix, softmax.tau, pairs)
                columns, at = received[key], self._position(key, softmax.log_total)
                if softmax.log_centre is None:
                    total += softmax.weight * columns[:, at]
                else:
                    gaps = columns[:, len(self._totals[key]) + at]
                    centre = columns[:, self._position(key, softmax.log_centre)]
                    total += softmax.weight * (gaps - centre)
        return total * (self.passes.n / len(rows))

    def _position(self, key: Key, log_total: Vector) -> int:
        return next(at for at, other in enumerate(self._totals[key]) if other is log_total)

    def _of_effect(self, terms: Terms, copy: int) -> Vector:
        """The effect of rows beside the softmaxes; of the hardest negatives from the copy's half.

        Where every row is an anchor, both copies see all of them.
        """
        if terms.moved is not None:
            return terms.moved
        if terms.effect is None:
            return np.zeros(self.passes.n)
        assert isinstance(self.passes, Passes)
        return effect_on_others(self.passes, terms, copy % len(self.passes.halves))
