"""Tables by class: which classes are confused, each class's numbers, and each pair of classes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cl_analyze.metrics.quality.classes import structures
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.neighbours import classify
from cl_analyze.metrics.quality.neural_collapse import pair_cdnv
from cl_analyze.metrics.quality.probe import probes
from cl_analyze.metrics.quality.rows import Index, Matrix, Vector
from cl_analyze.metrics.quality.views import pair_distances
from cl_analyze.pairs.reducers import RowLogSumExp
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Table

UNIFORMITY_T = 2.0
MIXING_K = 10
"""Neighbours behind the shares of other classes."""
MOST_IN_TABLES = 100
"""Classes up to which every pair is listed; of more, the pairs that overlap most."""
MOST_PAIRS = 1_000

CLASS_COLUMNS = columns_of("quality_by_class")


def same_class_potential() -> RowLogSumExp:
    """The reducer behind each class's own uniformity: exp(-t d2) = exp(-2t) exp(2t s)."""
    return RowLogSumExp(1.0 / (2.0 * UNIFORMITY_T), "same_class")


@dataclass(frozen=True)
class Overlap:
    """How classes lie to each other, (C, C) each.

    Attributes:
        similarity: mean cosine of a row of one class with a row of the other, self pairs counted.
        mixing: share of the ten nearest neighbours of a class's rows that lie in each class.
    """

    similarity: Matrix
    mixing: Matrix


def overlap(context: Context) -> Overlap | None:
    """None where there is one class, or too many for every pair of them."""
    geometry, codes = context.once(structures)["normalised"].whole.geometry, context.codes
    n_classes = geometry.n_classes
    if n_classes < 2 or not geometry.are_few:
        return None
    means = geometry.means + geometry.centre
    k = min(MIXING_K, context.subject.n - 1)
    own = codes[context.looked_at]
    counts = np.zeros((n_classes, n_classes))
    theirs = codes[context.near.indices[own >= 0, :k]]
    mine = np.repeat(own[own >= 0], k).reshape(theirs.shape)
    inside = theirs >= 0
    np.add.at(counts, (mine[inside], theirs[inside]), 1.0)
    totals = counts.sum(axis=1, keepdims=True)
    return Overlap(means @ means.T, counts / np.where(totals > 0, totals, 1.0))


def class_table(context: Context) -> Table:
    """The numbers of each class, and the class that it shares most neighbours with."""
    structure, codes = context.once(structures)["normalised"].whole, context.codes
    classified, probed = context.once(classify), context.once(probes)
    names, counts = context.labels.names, structure.geometry.counts
    n_classes = len(names)

    def by_class(values: Vector) -> Vector:
        is_used = (codes >= 0) & np.isfinite(values)
        sums = np.bincount(codes[is_used], values[is_used], n_classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums / np.bincount(codes[is_used], minlength=n_classes))

    knn = alignment = probe = probe_rows = closest = shares = None
    if classified.shown_k is not None:
        rows, predicted = classified.rows, classified.votes[classified.shown_k].predicted
        knn = by_class(context.by_row(rows, predicted == codes[rows]))
    if context.results.positives is not None:
        alignment = by_class(context.once(pair_distances))
    if probed.forms:
        rows, tested = probed.test_rows, probed.forms["normalised"].everything
        probe = by_class(context.by_row(rows, tested.correct))
        probe_rows = np.bincount(codes[rows], minlength=n_classes)
    order = np.arange(n_classes)
    if (between := context.once(overlap)) is not None:
        order = similarity_order(between.similarity)
        # of classes that share as many neighbours (none, as a rule) the most similar one
        keys = between.similarity, between.mixing, ~np.eye(n_classes, dtype=bool)
        nearest = np.lexsort(keys, axis=1)[:, -1]
        closest = [names[c] for c in nearest]
        shares = between.mixing[np.arange(n_classes), nearest]
    size = counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        # mean cosine of pairs of unit rows: 1 less the unbiased variance
        tolerance = np.where(size > 1, 1.0 - structure.variances * size / (size - 1), np.nan)
    table = context.table(
        "quality_by_class",
        {
            "class": list(names),
            "n": counts,
            "order": np.argsort(order) + 1,
            "tolerance": tolerance,
            "uniformity": _uniformity(context, size),
            "variance": structure.variances,
            "silhouette": by_class(structure.silhouettes),
            "ncc_accuracy": by_class((structure.nearest == codes).astype(np.float64)),
            "knn_accuracy": knn,
            "alignment": alignment,
            "probe_accuracy": probe,
            "probe_rows": probe_rows,
            "closest_class": closest,
            "closest_share": shares,
        },
    )
    return replace(table, columns=CLASS_COLUMNS)


def similarity_order(similarity: Matrix) -> Index:
    """Classes in an order that puts similar ones side by side (average linkage, optimal leaves)."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering

    n = len(similarity)
    if n < 3:
        return np.arange(n)
    apart = np.maximum(1.0 - similarity[np.triu_indices(n, 1)], 0.0)
    tree = linkage(apart, "average")
    return np.asarray(leaves_list(optimal_leaf_ordering(tree, apart)), dtype=np.int64)


def _uniformity(context: Context, size: Vector) -> Vector | None:
    """(C,) log mean Gaussian potential of each class's pairs at t = 2; None where estimated."""
    if context.anchors.is_sample:
        return None
    codes, logs = context.codes, context.results.first[same_class_potential()]
    peaks, masses = np.full(len(size), -np.inf), np.zeros(len(size))
    known = codes >= 0
    np.maximum.at(peaks, codes[known], logs[known])
    finite = known & np.isfinite(logs)
    np.add.at(masses, codes[finite], np.exp(logs[finite] - peaks[codes[finite]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.log(masses) + peaks - np.log(size * (size - 1)) - 2.0 * UNIFORMITY_T
    return np.where(size > 1, means, np.nan)


def pair_table(context: Context) -> Table:
    """Pairs of classes, those that share most neighbours first; then each class with itself."""
    between, names = context.once(overlap), context.labels.names
    if between is None:
        return context.table("class_pairs")
    similarity, mixing = between.similarity, between.mixing
    cdnvs = pair_cdnv(context.once(structures)["normalised"].whole)
    first, second = np.triu_indices(len(names))
    shared = mixing[first, second] + mixing[second, first]
    order = np.lexsort((second, first, -similarity[first, second], -shared, first == second))
    if len(names) > MOST_IN_TABLES:
        order = order[:MOST_PAIRS]
    a, b = first[order], second[order]
    return context.table(
        "class_pairs",
        {
            "class_a": [names[c] for c in a],
            "class_b": [names[c] for c in b],
            "similarity": similarity[a, b],
            "cdnv": np.where(a == b, np.nan, cdnvs[a, b]),
            "neighbours_a_in_b": mixing[a, b],
            "neighbours_b_in_a": mixing[b, a],
        },
    )


def confusion_table(context: Context) -> Table:
    """Which classes are taken for which, by the probes and by the kNN vote."""
    classified, probed = context.once(classify), context.once(probes)
    predictions = [
        (f"probe_{form}", probed.test_rows, of_form.everything.predicted)
        for form, of_form in probed.forms.items()
    ]
    k = classified.shown_k
    if k is not None:
        predictions.append((f"knn_{k}", classified.rows, classified.votes[k].predicted))
    train = context.subject.train
    names = context.labels.names if train is None else train.names
    blocks = []
    for classifier, rows, predicted in predictions:
        own = context.codes[rows]
        pairs, counts = np.unique(own * len(names) + predicted, return_counts=True)
        true, taken_for = np.divmod(pairs, len(names))
        blocks.append(
            {
                "classifier": classifier,
                "class": [names[c] for c in true],
                "predicted": [names[c] for c in taken_for],
                "rows": counts,
                "share": counts / np.bincount(own)[true],
            }
        )
    return context.table("confusion", *blocks)
