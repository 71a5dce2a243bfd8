"""Losses of queries over items, where `--relevant` says which items belong to a query.

These are the losses that need the matrix of queries and items alone.  Every relevant item is a
positive, and a query's loss is the mean over its positives, of SigLIP the sum; negatives are the
items that are not relevant for the query.  The backward direction of the symmetric loss has the
items as anchors.  Errors are over the anchors: what they are compared with is fixed, as in
retrieval.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors, draw_anchors
from cl_analyze.metrics.family import FamilyResult, PassResults
from cl_analyze.metrics.losses.catalogue import LOSSES, SavedLoss
from cl_analyze.metrics.losses.dimensions import Squares
from cl_analyze.metrics.losses.metrics import PARTS
from cl_analyze.metrics.losses.pieces import Constants, Pieces, Vector
from cl_analyze.metrics.losses.records import of_loss
from cl_analyze.metrics.losses.terms import Terms, coupled
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.positives import Positives
from cl_analyze.metrics.runner import ANCHOR_BYTES, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.positive_ranks import similarity_strips
from cl_analyze.pairs.reducers import (
    NearestNeighbours,
    PairMoments,
    RowLogSumExp,
    SoftmaxMoments,
    SoftplusSums,
)
from cl_analyze.pairs.rescoring import MARGIN, rescore
from cl_analyze.pairs.strips import n_kept
from cl_analyze.results.tables import Record

OF_ITEMS = (
    ("contrastive", "one_way"),
    ("contrastive", "symmetric"),
    ("hard_contrastive", None),
    ("simple", None),
    ("hard_simple", None),
    ("triplet_limit", None),
    ("cacr", None),
    ("siglip", None),
    ("spectral_contrastive", None),
)
"""Losses that need no similarities within a view."""


def item_losses(results: PassResults, constants: Constants) -> FamilyResult:
    """Records of the losses of queries over items, and a note on those that are left out."""
    subject, options = results.subject, results.options
    forward = _Direction(subject, results.runner, results.anchors, options.taus, constants)
    backward = _backward(results, constants)
    records: list[Record] = []
    for loss in LOSSES:
        if (loss.name, loss.definition) not in OF_ITEMS:
            continue
        for tau in options.taus if "tau" in loss.params else (math.nan,):
            if loss.definition == "symmetric":
                parts = [
                    _mean_of_both(*pair)
                    for pair in zip(
                        forward.contrastive(tau), backward.contrastive(tau), strict=True
                    )
                ]
            else:
                parts = forward.parts(loss.terms(forward.pieces, constants, tau))
            p = forward.pieces
            params: dict[str, Any] = {
                "name": loss.name,
                **loss.parameters(constants, tau, p.n_negatives, p.n_hard),
            }
            records += _records(subject, loss, params, parts)
    left_out = dict.fromkeys(
        loss.name for loss in LOSSES if (loss.name, loss.definition) not in OF_ITEMS
    )
    note = (
        f"{subject.source}: losses with similarities or covariances within a view need one partner "
        f"a row, and are left out: {', '.join(name for name in left_out if name != 'contrastive')}"
    )
    return FamilyResult(tuple(records), notes=(note,))


def _records(
    subject: Subject, loss: SavedLoss, params: dict[str, Any], parts: list[Number | None]
) -> list[Record]:
    place, records = (subject.source, subject.d), []
    for metric, number in zip(PARTS, parts, strict=True):
        at = of_loss(metric, loss, params)
        reason = "no query has an item and a negative"
        if loss.name == "triplet_limit" and metric is not PARTS[0]:
            reason = "the maximum of a difference does not split"
        records.append(
            at.undefined(*place, reason) if number is None else at.record(*place, number)
        )
    return records


def _mean_of_both(first: Number | None, second: Number | None) -> Number | None:
    """The mean of two directions; their errors are taken to move together."""
    if first is None or second is None:
        return None
    errors, sampling = (
        [getattr(one, name) for one in (first, second)] for name in ("std_error", "sampling_error")
    )
    return Number(
        0.5 * (first.value + second.value),
        None if None in errors else 0.5 * sum(errors),
        first.n,
        None,
        None if sampling == [None, None] else 0.5 * sum(error or 0.0 for error in sampling),
    )


def _backward(results: PassResults, constants: Constants) -> _Direction:
    """The direction from items to queries."""
    subject, options, runner = results.subject, results.options, results.runner
    assert subject.partners is not None
    assert subject.relevance is not None
    turned = replace(
        subject,
        rows=subject.partners,
        partners=subject.rows,
        relevance=subject.relevance.transposed(),
        labels=None,
        groups=None,
    )
    n_items, n_anchors = turned.n, options.anchors_of(turned.n)
    anchors = Anchors.every(n_items)
    if n_anchors is not None:
        anchors = Anchors(draw_anchors(n_items, n_anchors, options.seed + 2), n_items)
    own = replace(runner, subject=turned, inputs=f"{runner.inputs} backward", _nearest={})
    return _Direction(turned, own, anchors, options.taus, constants)


class _Direction:
    """The pieces of the losses, one entry for each positive pair of the anchors of one side."""

    def __init__(
        self,
        subject: Subject,
        runner: PairRunner,
        anchors: Anchors,
        taus: tuple[float, ...],
        constants: Constants,
    ) -> None:
        self.subject, self.anchors = subject, anchors
        positives, relevance = subject.positive_pairs, subject.relevance
        assert positives is not None
        assert relevance is not None
        assert subject.partners is not None
        self.positives: Positives = positives.of_rows(anchors.rows)
        of_all = subject.n_candidates - relevance.counts
        n_negatives = of_all[anchors.rows]
        nearest = NearestNeighbours(min(1 + MARGIN, subject.n_candidates))
        masses = [RowLogSumExp(tau) for tau in taus]
        cacr = SoftmaxMoments(constants.cacr_tau)
        runner.announce("losses over items")
        softplus, moments = SoftplusSums(taus, constants.siglip_bias), PairMoments("all")
        wanted: list[Reducer] = [*masses, nearest, cacr, moments, softplus]
        found = runner.cross(wanted, anchors)
        hardest = rescore(
            found[nearest],
            1,
            subject.rows,
            subject.partners,
            None,
            anchors.chosen,
            runner.executor,
            True,
            subject.related,
        ).values[:, 0]
        p = self.positives
        mean_count = max(round(float(of_all.mean())), 1)
        pieces = Pieces(mean_count + 1, p.similarity, p.distance, p.similarity)
        own = p.owners
        for reducer in masses:
            pieces.log_mass["uv", reducer.tau, "all"] = found[reducer][own]
        pieces.hardest = hardest[own]
        pieces.mean_gap = np.maximum(1.0 - found[cacr].mean, 0.0)[own]
        pieces.gap_mass = found[cacr].log_mass[own]
        sums, squares = found[moments].T
        pieces.softplus_sum = dict(zip(taus, found[softplus][own].T, strict=True))
        pieces.n_positives = relevance.counts[anchors.rows].astype(np.float64)[own]
        mean_squares = squares / np.maximum(n_negatives, 1)
        pieces.squares = Squares((mean_count * mean_squares)[own], np.zeros(len(own)))
        of_mean = constants.weight is None  # then the sum is divided by its number of negatives
        scale = mean_count / np.maximum(n_negatives, 1) if of_mean else np.ones(len(sums))
        pieces.negative_sum = (scale * sums)[own]
        kept_of_all = np.array([n_kept(constants.alpha, int(n)) if n else 0 for n in of_all])
        kept = kept_of_all[anchors.rows]
        pieces.n_hard = max(round(float(kept_of_all.mean())), 1)
        hard_sum, hard_mass = self._hard(runner, kept, taus)
        scale = pieces.n_hard / np.maximum(kept, 1) if of_mean else np.ones(len(sums))
        pieces.hard_sum = (scale * hard_sum)[own]
        pieces.hard_mass = {tau: mass[own] for tau, mass in zip(taus, hard_mass, strict=True)}
        self.pieces, self._has_negative = pieces, (n_negatives > 0)[own]

    def _hard(
        self, runner: PairRunner, kept: NDArray[np.int64], taus: tuple[float, ...]
    ) -> tuple[Vector, NDArray[np.float64]]:
        """(m,) sum of the kept hardest negatives, and (taus, m) log sums of exp(s / tau)."""
        subject, rows = self.subject, self.anchors.rows
        assert subject.partners is not None
        assert subject.related is not None
        own = subject.rows if len(rows) == subject.n else subject.rows.select(rows, ANCHOR_BYTES)
        related = subject.related.of_rows(rows)
        sums, masses = np.zeros(len(rows)), np.full((len(taus), len(rows)), -np.inf)
        for start, strip in similarity_strips(own, subject.partners, related):
            for row, values in enumerate(strip, start):
                if kept[row]:
                    hardest = np.partition(values, len(values) - kept[row])[-kept[row] :]
                    sums[row] = hardest.sum()
                    masses[:, row] = [np.logaddexp.reduce(hardest / tau) for tau in taus]
        return sums, masses

    def contrastive(self, tau: float) -> list[Number | None]:
        """InfoNCE and its two parts in this direction."""
        p = self.pieces
        return self.parts(coupled(p, tau, p.log_mass["uv", tau, "all"], (), p.n_negatives))

    def parts(self, terms: Terms) -> list[Number | None]:
        """Means over the anchors of the loss, its alignment and its uniformity."""
        return [self._mean(part) for part in (terms.value, terms.alignment, terms.uniformity)]

    def _mean(self, of_pairs: Vector | None) -> Number | None:
        if of_pairs is None:
            return None
        values = self.positives.row_means(np.where(self._has_negative, of_pairs, np.nan))
        none = [np.zeros(self.anchors.n_rows)]
        groups = self.subject.groups
        return mean_with_effects(values, values, none, 0.0, groups, self.anchors)
