"""How well a threshold on the cosine separates positives from negatives.

Positives are pairs of views, related pairs, or without both all pairs of a class; against the
latter, negatives are rows of other classes.  `per_anchor` compares each anchor's positives with its
own negatives, exactly.  `pooled` compares the positives of all anchors with the negatives of all
anchors, from counts in bins: one threshold has to serve all anchors.

References: Hanley & McNeil, Radiology 1982 (AUROC); Macmillan & Creelman, Detection Theory, 2005
(d').
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import Deletions
from cl_analyze.metrics.bins import FINE_BINS
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import NEGATIVES, Metric, Parameter
from cl_analyze.metrics.similarity.own_pairs import own_auroc, violations
from cl_analyze.metrics.similarity.pooled import Distributions, d_prime
from cl_analyze.metrics.similarity.pooled_errors import PooledPasses
from cl_analyze.metrics.similarity.suspects import SUSPECT_SHARE
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.reducers import BinSums, PairMoments
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.stats import effective_rows, standard_error
from cl_analyze.results.tables import Cell, Record, Table

Vector = NDArray[np.float64]

N_THRESHOLDS = 200
FEW_MISSED = 5
"""Rows with a missed positive under which these rows tell too little of the error."""
_POOLED = "of all anchors' positives and negatives together"
AUROC = Metric(
    "auroc",
    "share",
    "probability that a positive is nearer than a negative; a tie counts one half. per_anchor: "
    f"of each anchor's own pairs, averaged over anchors; pooled: {_POOLED}.",
    ("per_anchor", "pooled"),
    (
        "mean over anchors of the share of negatives with a smaller cosine than the positive",
        "share of all combinations of a positive and a negative pair in which the positive has "
        "the larger cosine",
    ),
    (NEGATIVES,),
    better="higher",
    source="Hanley & McNeil 1982.",
    title="AUROC",
)
EQUAL_ERROR_RATE = Metric(
    "equal_error_rate",
    "share",
    "error rate at the threshold where the share of negatives that pass equals the share of "
    f"positives that do not, {_POOLED}.",
    formulas=("false-positive rate at the threshold where it equals 1 − the true-positive rate",),
    parameters=(NEGATIVES,),
    better="lower",
)
TPR_AT_FPR = Metric(
    "tpr_at_fpr",
    "share",
    "share of positives that pass the threshold at which a share fpr of the negatives passes, "
    f"{_POOLED}.",
    formulas=(
        "share of positives at or above the lowest threshold with false-positive rate ≤ fpr",
    ),
    parameters=(Parameter("fpr", "fprs"), NEGATIVES),
    better="higher",
    title="TPR",
)
D_PRIME = Metric(
    "d_prime",
    "ratio",
    "distance between the mean similarities of positives and negatives, in standard deviations.",
    formulas=("(mean⁺ − mean⁻) / √((var⁺ + var⁻) / 2)",),
    parameters=(NEGATIVES,),
    better="higher",
    source="Macmillan & Creelman 2005.",
)
VIOLATION_SHARE = Metric(
    "violation_share",
    "share",
    "share of anchors with a negative nearer than their positive.",
    formulas=("share of anchors whose nearest negative has a larger cosine than their positive",),
    parameters=(NEGATIVES,),
    better="lower",
    title="anchors with a nearer negative",
)
METRICS = (AUROC, EQUAL_ERROR_RATE, TPR_AT_FPR, D_PRIME, VIOLATION_SHARE)
THRESHOLDS = Table("threshold", columns_of("threshold"), ())
POINTS = Table(
    "operating_points",
    columns_of("operating_points"),
    (),
)
NOT_BOTH = "no anchor has both a positive and a negative"
NO_POSITIVES = "no positives: neither views, pairs nor labels"


def anchor_records(
    passes: PooledPasses, neighbours: Neighbours, deleted: Deletions
) -> Iterator[Record]:
    """AUROC of each anchor's own pairs, and anchors with a negative nearer than a positive.

    Args:
        passes: of the checkpoint.
        neighbours: nearest negatives of the anchors of the first pass.
        deleted: which rows the nearest negative hangs on.
    """
    results = passes.results
    at: dict[str, Any] = results.options.negative_params
    yield own_auroc(results, passes.pairs).record(AUROC.at("per_anchor", **at), NOT_BOTH)
    of_violations = violations(results, neighbours, deleted)
    yield of_violations.record(VIOLATION_SHARE.at(**at), NOT_BOTH)


def pooled_records(passes: PooledPasses) -> Iterator[Record]:
    """AUROC, equal error rate, true-positive rates and d' of all anchors together."""
    both, subject, options = passes.distributions, passes.subject, passes.results.options
    place = subject.source, subject.d
    at: dict[str, Any] = options.negative_params
    if both is None:
        for metric in (AUROC.at("pooled"), EQUAL_ERROR_RATE, D_PRIME):
            yield metric.at(**at).undefined(*place, NOT_BOTH)
        for fpr in options.fprs:
            yield TPR_AT_FPR.at(fpr=fpr, **at).undefined(*place, NOT_BOTH)
        return
    rates = [(AUROC.at("pooled"), *_auroc(passes, both))]
    rates += [(EQUAL_ERROR_RATE, *_equal_error_rate(passes, both))]
    rates += [(TPR_AT_FPR.at(fpr=f), *_true_positive_rate(passes, both, f)) for f in options.fprs]
    for metric, number, rows in rates:
        record = metric.at(**at).record(*place, number)
        error = math.hypot(number.std_error or 0.0, number.sampling_error or 0.0)
        groups = subject.groups
        if groups is not None and len(rows) < subject.n:
            groups = groups[passes.second[0].rows]
        yield replace(record, effective_n=effective_rows(rows, error, groups))
    number_or_none = _d_prime(passes)
    if number_or_none is None:
        yield D_PRIME.at(**at).undefined(*place, "all positives are equal, all negatives too")
    else:
        yield D_PRIME.at(**at).record(*place, number_or_none)


def order_notes(source: str, records: Sequence[Record]) -> tuple[str, ...]:
    """A note where positives of views or items are no nearer than negatives."""
    for record in records:
        if (record.metric, record.definition) != (AUROC.name, "per_anchor"):
            continue
        value, error = record.value, record.total_error
        if value is not None and error and error < 0.05 and abs(value - 0.5) < 3 * error:
            return (
                f"{source}: positives are no nearer than negatives (AUROC {value:.2f}): are the "
                "rows of both sides, or their ids, in the order of the files?",
            )
    return ()


def _auroc(passes: PooledPasses, both: Distributions) -> tuple[Number, Vector]:
    """The value with its error, and (m,) that of each row's positives against all negatives."""
    positives = passes.results.positives
    _, parts = passes.second
    sums = [part[BinSums(FINE_BINS, pairs=passes.pairs)] for part in parts]
    if positives is not None:
        under = np.cumsum(both.negative) - 0.5 * both.negative
        bins = np.clip(
            ((positives.similarity + 1.0) / 2.0 * FINE_BINS).astype(int), 0, FINE_BINS - 1
        )
        values = positives.row_means(under[bins])
    else:
        values = parts[0][BinSums(FINE_BINS, pairs="same_class")]
    number = passes.number(both.auroc, (values, both.auroc), (sums, both.auroc), both.shared)
    return number, _of_rows(passes, values)


def _equal_error_rate(passes: PooledPasses, both: Distributions) -> tuple[Number, Vector]:
    """The rate with its error, and (m,) share of each row's positives that are missed."""
    edge = both.edge_of_equal_errors
    of_positives, of_negatives = passes.over(edge)
    positive, negative = both.densities(float(both.edges[edge]))
    total = positive + negative
    weight = positive / total if total > 0 else 0.5  # of the false positives
    value = both.equal_error_rate
    here = slice(max(edge - 1, 0), edge + 1)
    shared = 0.5 * float(both.positive[here].max() + both.negative[here].max())
    (values, mean), (sums, rate) = of_positives, of_negatives
    miss = (-(1.0 - weight) * values, -(1.0 - weight) * mean)
    number = passes.number(value, miss, ([weight * one for one in sums], weight * rate), shared)
    missed = 1.0 - _of_rows(passes, values)
    if number.std_error is not None and (missed > 0).sum() < FEW_MISSED:
        of_few = (1.0 - weight) * math.sqrt(value * (1.0 - value) / passes.subject.n)
        number = replace(number, std_error=max(number.std_error, of_few))
    return number, missed


def _of_rows(passes: PooledPasses, values: Vector) -> Vector:
    """(m,) share of each row's positives, where `values` may be sums over its class."""
    if passes.results.positives is not None:
        return values
    counts = passes.n_positives[passes.second[0].rows]
    return np.where(counts > 0, values / np.maximum(counts, 1.0), np.nan)


def _true_positive_rate(
    passes: PooledPasses, both: Distributions, fpr: float
) -> tuple[Number, Vector]:
    edge = both.edge_of_rate(fpr)
    (values, mean), (sums, rate) = passes.over(edge)
    error = _error_of_rate(passes, sums, rate)
    slope = both.slope_of_roc(rate, error)
    number = passes.number(
        mean,
        (values, mean),
        ([-slope * one for one in sums], -slope * rate),
        0.5 * float(both.positive[min(edge, FINE_BINS - 1)]),
    )
    return number, _of_rows(passes, values)


def _error_of_rate(passes: PooledPasses, sums: list[Vector], rate: float) -> float:
    """Standard error of a false-positive rate at a fixed threshold."""
    anchors, _ = passes.second
    deviations = passes.of_negatives(sums, rate)
    if anchors.is_sample:
        return anchors.std_error(deviations, groups=passes.subject.groups) or 0.0
    return standard_error(deviations, passes.subject.groups) or 0.0


def _d_prime(passes: PooledPasses) -> Number | None:
    """From the exact means and variances of both groups."""
    positives = passes.results.positives
    anchors, parts = passes.second
    negative = _moments(passes, passes.first[PairMoments(passes.pairs)])
    if positives is not None:
        votes = positives.weights
        mean = float(np.average(positives.similarity, weights=votes))
        square = np.average((positives.similarity - mean) ** 2, weights=votes)
        positive = mean, float(square)
    else:
        positive = _moments(passes, passes.first[PairMoments("same_class")], passes.n_positives)
    value = d_prime(positive, negative)
    if value is None:
        return None
    spread = 0.5 * (positive[1] + negative[1])

    def slope(sums: Vector, counts: Vector, group: tuple[float, float], sign: float) -> Vector:
        """Sums over pairs of the derivative, from those of s and s^2."""
        linear = sums[:, 0] - group[0] * counts
        squares = sums[:, 1] - 2.0 * group[0] * sums[:, 0] + group[0] ** 2 * counts
        of_variance = 0.25 * value / spread * (squares - group[1] * counts)
        result: Vector = sign * linear / math.sqrt(spread) - of_variance
        return result

    counts = passes.n_negatives[anchors.rows]
    sums = [slope(part[PairMoments(passes.pairs)], counts, negative, -1.0) for part in parts]
    if positives is not None:
        s = positives.similarity
        one = np.ones(len(s))
        values = positives.row_means(slope(np.stack([s, s * s], 1), one, positive, 1.0))
    else:
        own = passes.n_positives[anchors.rows]
        values = slope(parts[0][PairMoments("same_class")], own, positive, 1.0)
    return passes.number(value, (values, 0.0), (sums, 0.0), None)


def _moments(
    passes: PooledPasses, sums: Vector, counts: Vector | None = None
) -> tuple[float, float]:
    """Mean and variance over the pairs of the first pass's rows."""
    of_rows = (passes.n_negatives if counts is None else counts)[passes.results.anchors.rows]
    n_pairs = max(float(of_rows.sum()), 1.0)
    mean, square = (float(sums[:, c].sum()) / n_pairs for c in (0, 1))
    return mean, max(square - mean**2, 0.0)


def separation_tables(passes: PooledPasses) -> list[Table]:
    """Both rates at 200 thresholds, and the thresholds of the chosen rates."""
    both, source = passes.distributions, passes.subject.source
    if both is None:
        return []
    rows: list[dict[str, Cell]] = [
        {
            "source": source,
            "threshold": point.threshold,
            "true_positive_rate": point.true_positive_rate,
            "false_positive_rate": point.false_positive_rate,
        }
        for point in both.thresholds(N_THRESHOLDS)
    ]
    chosen: list[tuple[str, float | None, int]] = [
        ("equal_error_rate", None, both.edge_of_equal_errors)
    ]
    chosen += [("tpr_at_fpr", f, both.edge_of_rate(f)) for f in passes.results.options.fprs]
    points: list[dict[str, Cell]] = []
    for name, fpr, edge in chosen:
        point = both.at_edge(edge)
        points.append(
            {
                "source": source,
                "point": name,
                "fpr": fpr,
                "threshold": point.threshold,
                "true_positive_rate": point.true_positive_rate,
                "false_positive_rate": point.false_positive_rate,
            }
        )
    return [replace(THRESHOLDS, rows=tuple(rows)), replace(POINTS, rows=tuple(points))]


def undefined_records(subject: Subject, options: MetricOptions) -> Iterator[Record]:
    """Records without values where there are no positives."""
    place = subject.source, subject.d
    at: dict[str, Any] = options.negative_params
    for metric in (AUROC.at("per_anchor"), AUROC.at("pooled"), EQUAL_ERROR_RATE):
        yield metric.at(**at).undefined(*place, NO_POSITIVES)
    for fpr in options.fprs:
        yield TPR_AT_FPR.at(fpr=fpr, **at).undefined(*place, NO_POSITIVES)
    for metric in (D_PRIME, VIOLATION_SHARE):
        yield metric.at(**at).undefined(*place, NO_POSITIVES)
    metric = SUSPECT_SHARE.at(margin=options.suspect_margin, **at)
    yield metric.undefined(*place, NO_POSITIVES)
