"""Each anchor's positives against its own negatives: AUROC, and negatives that are nearer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import Deletions
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.class_ranks import class_ranks
from cl_analyze.metrics.family import PassResults, second_anchors
from cl_analyze.metrics.means import mean_with_effects
from cl_analyze.metrics.positives import Positives
from cl_analyze.metrics.runner import ANCHOR_BYTES
from cl_analyze.metrics.similarity.shares import AnchorShares
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import LeftOut
from cl_analyze.pairs.positive_ranks import PositiveRanks, RankedPositives
from cl_analyze.pairs.ranking import TIE
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.tile import PairSet

Vector = NDArray[np.float64]


def own_auroc(results: PassResults, pairs: PairSet) -> AnchorShares:
    """The mean over anchors of the share of negatives under their positives, ties half.

    Args:
        results: the passes.
        pairs: which pairs are negatives.
    """
    positives = results.positives
    if positives is None:
        values, effects, anchors = _of_classes(results)
    else:
        values, effects, anchors = _of_positives(results, positives, pairs)
    share, subject = _share_of_copies(results), results.subject
    mean = mean_with_effects(values, values, effects, share, subject.groups, anchors)
    return AnchorShares(subject, values, mean, anchors)


def _share_of_copies(results: PassResults) -> float:
    """Part of the rows behind each copy of the effects."""
    anchors = results.anchors
    if results.positives is None:
        anchors = results.once(class_ranks).anchors
    second = second_anchors(results.subject.n, results.options, anchors)
    return len(second.halves[0]) / results.subject.n


def _of_classes(results: PassResults) -> tuple[Vector, list[Vector], Anchors]:
    """Each anchor's AUROC against rows of other classes, and effects of rows on others."""
    ranks = results.once(class_ranks)
    pairs = ranks.of_anchors("counts") * ranks.of_anchors("n_negatives")
    values = np.where(pairs > 0, 1.0 - ranks.of_anchors("over") / np.maximum(pairs, 1.0), np.nan)
    effects = [
        part.received[0] * (results.subject.n / len(half))
        for half, part in zip(ranks.halves, ranks.parts, strict=True)
    ]
    return values, effects, ranks.anchors


def _of_positives(
    results: PassResults, positives: Positives, pairs: PairSet
) -> tuple[Vector, list[Vector], Anchors]:
    """Each anchor's AUROC, and effects of rows on others: none where negatives are items."""
    n = results.subject.n
    anchors = results.anchors
    second = second_anchors(n, results.options, anchors)
    is_fixed = results.subject.relevance is not None
    values = np.full(len(anchors.rows), np.nan)
    if not anchors.is_sample and second.is_sample:
        values, _ = _ranked(results, positives, pairs, anchors.rows, False)
    effects = []
    for half in second.halves:
        of_half, received = _ranked(results, positives, pairs, second.rows[half], not is_fixed)
        if second.is_sample == anchors.is_sample:
            values[half] = of_half
        effects.append(np.zeros(n) if is_fixed else received * (n / len(half)))
    return values, effects, anchors


def _ranked(
    results: PassResults, positives: Positives, pairs: PairSet, rows: Index, effects: bool
) -> tuple[Vector, Vector]:
    """Some anchors' shares of negatives under their positives, and what columns add there."""
    subject, runner = results.subject, results.runner
    related = subject.related or LeftOut.one_each(np.arange(subject.n))
    own = positives.of_rows(rows)
    codes = subject.codes if pairs == "other_class" else None
    job = PositiveRanks(
        subject.rows if len(rows) == subject.n else subject.rows.select(rows, ANCHOR_BYTES),
        subject.rows if subject.partners is None else subject.partners,
        own.starts,
        own.similarity,
        related.of_rows(rows),
        effects,
        None if codes is None else codes[rows],
        codes,
    )
    runner.announce("separation: ranks of positives")
    ranks: RankedPositives = runner.ranked(job, "separation")
    over = np.bincount(own.owners, ranks.above + 0.5 * ranks.level, len(rows))
    n_pairs = own.counts * ranks.n_negatives
    return np.where(n_pairs > 0, 1.0 - over / np.maximum(n_pairs, 1.0), np.nan), ranks.received


def violations(results: PassResults, neighbours: Neighbours, deleted: Deletions) -> AnchorShares:
    """The share of each anchor's positives that have a nearer negative.

    Args:
        results: the passes.
        neighbours: nearest negatives of the anchors of the first pass.
        deleted: which rows the nearest negative hangs on.
    """
    subject, positives, anchors = results.subject, results.positives, results.anchors
    if positives is None:
        ranks = results.once(class_ranks)
        has_both = ranks.of_anchors("counts") * ranks.of_anchors("n_negatives") > 0
        shares = np.where(has_both, ranks.of_anchors("violated"), np.nan)
        effects = [
            part.received[1] * (subject.n / len(half))
            for half, part in zip(ranks.halves, ranks.parts, strict=True)
        ]
        return AnchorShares.own(subject, shares, ranks.anchors, effects)
    near = neighbours.values[:, : deleted.width]
    own = positives.of_rows(anchors.rows)
    limits = own.similarity[:, None] + TIE
    entries = np.zeros(near.shape)
    np.add.at(entries, own.owners, (near[own.owners] > limits).astype(np.float64))
    entries /= np.maximum(own.counts, 1)[:, None]
    missing = np.isneginf(near) | (own.counts == 0)[:, None]
    return AnchorShares.of_neighbours(subject, entries, missing, anchors, deleted)
