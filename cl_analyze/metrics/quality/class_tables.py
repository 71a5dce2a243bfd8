"""Tables by class: which classes are confused, each class's numbers, and each pair of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.quality.classes import Structure, structures
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.neighbours import classify
from cl_analyze.metrics.quality.neural_collapse import pair_cdnv
from cl_analyze.metrics.quality.probe import probes
from cl_analyze.metrics.quality.views import pair_distances
from cl_analyze.pairs.reducers import RowLogSumExp
from cl_analyze.tables import Table

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

UNIFORMITY_T = 2.0
MIXING_K = 10
"""Neighbours behind the shares of other classes."""
MOST_IN_TABLES = 100
"""Classes up to which every pair is listed; of more, the pairs that overlap most."""
MOST_PAIRS = 1_000

CLASS_COLUMNS = (
    "source", "class", "n", "order", "tolerance", "uniformity", "variance", "silhouette",
    "ncc_accuracy", "knn_accuracy", "probe_accuracy", "probe_rows", "alignment", "closest_class",
    "closest_share",
)  # fmt: skip


def same_class_potential() -> RowLogSumExp:
    """The reducer behind each class's own uniformity: exp(-t d2) = exp(-2t) exp(2t s)."""
    return RowLogSumExp(1.0 / (2.0 * UNIFORMITY_T), "same_class")


def class_tables(context: Context) -> Iterator[Table]:
    """Confusions, one row for each class, and one row for each pair of classes."""
    yield _confusion_table(context)
    found, names = context.once(structures)["normalised"].whole, context.labels.names
    geometry, n_classes = found.geometry, len(names)
    if not (n_classes >= 2 and geometry.are_few):
        yield _table_by_class(context, np.arange(n_classes), [None] * n_classes, None)
        return
    means = geometry.means + geometry.centre
    similarity = means @ means.T  # mean cosines of rows of two classes, self pairs counted
    mixing = _class_mixing(context)
    order = similarity_order(similarity)
    closest = []
    for c in range(n_classes):
        others = np.arange(n_classes) != c
        # of classes that share as many neighbours (none, as a rule) the most similar one
        closest.append(int(np.lexsort((similarity[c], mixing[c], others))[-1]))
    shares = mixing[np.arange(n_classes), closest]
    yield _table_by_class(context, order, [names[c] for c in closest], shares)
    yield _pair_table(context, similarity, mixing, pair_cdnv(found))


def _table_by_class(
    context: Context, order: Index, closest: list[Any], closest_share: Vector | None
) -> Table:
    """The numbers of each class, and the class that it shares most neighbours with."""
    found, codes = context.once(structures)["normalised"].whole, context.codes
    classified, probed = context.once(classify), context.once(probes)
    n_classes = found.geometry.n_classes

    def by_class(values: Vector) -> Vector:
        there = (codes >= 0) & np.isfinite(values)
        sums = np.bincount(codes[there], values[there], n_classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums / np.bincount(codes[there], minlength=n_classes))

    knn = alignment = probe = probe_rows = None
    if classified.shown_k is not None:
        rows, predicted = classified.rows, classified.votes[classified.shown_k].predicted
        knn = by_class(context.by_row(rows, predicted == codes[rows]))
    if context.subject.views is not None:
        alignment = by_class(context.once(pair_distances)[1])
    if probed is not None:
        rows, tested = probed.test_rows, probed.forms["normalised"].everything
        probe = by_class(context.by_row(rows, tested.correct))
        probe_rows = np.bincount(codes[rows], minlength=n_classes)
    table = context.table(
        "quality_by_class",
        {
            "class": list(context.labels.names),
            "n": found.geometry.counts,
            "order": np.argsort(order) + 1,
            "tolerance": _tolerance(found),
            "uniformity": _uniformity(context),
            "variance": found.variances,
            "silhouette": by_class(found.silhouettes),
            "ncc_accuracy": by_class((found.nearest == codes).astype(np.float64)),
            "knn_accuracy": knn,
            "alignment": alignment,
            "probe_accuracy": probe,
            "probe_rows": probe_rows,
            "closest_class": closest,
            "closest_share": closest_share,
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


def _class_mixing(context: Context) -> Matrix:
    """(C, C) share of the ten nearest neighbours of a class's rows that lie in each class."""
    codes, n_classes = context.codes, len(context.labels.names)
    k = min(MIXING_K, context.subject.n - 1)
    own = codes[context.looked_at]
    counts = np.zeros((n_classes, n_classes))
    theirs = codes[context.near.indices[own >= 0, :k]]
    mine = np.repeat(own[own >= 0], k).reshape(theirs.shape)
    inside = theirs >= 0
    np.add.at(counts, (mine[inside], theirs[inside]), 1.0)
    totals = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.where(totals > 0, totals, 1.0))


def _tolerance(structure: Structure) -> Vector:
    """(C,) mean cosine of a class's pairs: 1 less its unbiased variance, for unit rows."""
    counts = structure.geometry.counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 1, 1.0 - structure.variances * counts / (counts - 1), np.nan)


def _uniformity(context: Context) -> Vector | None:
    """(C,) log mean Gaussian potential of each class's pairs at t = 2; None where estimated."""
    if context.anchors is not None:
        return None
    codes, logs = context.codes, context.measured.first[same_class_potential()]
    size = context.labels.counts.astype(np.float64)
    peaks, masses = np.full(len(size), -np.inf), np.zeros(len(size))
    known = codes >= 0
    np.maximum.at(peaks, codes[known], logs[known])
    finite = known & np.isfinite(logs)
    np.add.at(masses, codes[finite], np.exp(logs[finite] - peaks[codes[finite]]))
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.log(masses) + peaks - np.log(size * (size - 1)) - 2.0 * UNIFORMITY_T
    return np.where(size > 1, means, np.nan)


def _pair_table(context: Context, similarity: Matrix, mixing: Matrix, overlap: Matrix) -> Table:
    """Pairs of classes, those that share most neighbours first; then each class with itself."""
    names = context.labels.names
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
            "cdnv": np.where(a == b, np.nan, overlap[a, b]),
            "neighbours_a_in_b": mixing[a, b],
            "neighbours_b_in_a": mixing[b, a],
        },
    )


def _confusion_table(context: Context) -> Table:
    """Which classes are taken for which, by the probes and by the kNN vote."""
    classified, probed = context.once(classify), context.once(probes)
    predictions = []
    for form, of_form in {} if probed is None else probed.forms.items():
        assert probed is not None
        predictions.append((f"probe_{form}", probed.test_rows, of_form.everything.predicted))
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
