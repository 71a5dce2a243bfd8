"""What the passes over the pairs say of every anchor's relative penalty, at some temperatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics import penalty_items
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.penalty_statistics import (
    AnchorStatistics,
    AtTemperature,
    anchor_statistics,
    dominant,
)
from cl_analyze.metrics.runner import Found
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.engine import LeftOut, Reducer
from cl_analyze.pairs.reducers import PenaltyGiven, RowLogSumExp, SoftmaxMoments
from cl_analyze.pairs.reducers.neighbours import Neighbours

Vector = NDArray[np.float64]


def counts_false_negatives(subject: Subject, options: MetricOptions) -> bool:
    """Whether rows of the anchor's class are among its negatives, and can be told."""
    return subject.labels is not None and options.negatives == "instance"


def n_negatives(subject: Subject, options: MetricOptions) -> Vector:
    """(N,) number of negatives of each row; of items, where there are related items."""
    if subject.relevance is not None:
        return penalty_items.n_negatives(subject)
    if options.negatives == "instance" or subject.labels is None:
        return np.full(subject.n, subject.n - 1.0)
    codes, counts = subject.labels.codes, subject.labels.counts
    n_labelled = int(counts.sum())
    return np.where(codes >= 0, n_labelled - counts[codes], 0).astype(np.float64)


def moments(options: MetricOptions, tau: float, with_classes: bool) -> list[Reducer]:
    """Log masses and mean similarities, and the masses of the anchors' own classes."""
    reducers: list[Reducer] = [SoftmaxMoments(tau, options.negative_pairs)]
    return [*reducers, RowLogSumExp(tau, "same_class")] if with_classes else reducers


def statistics(
    subject: Subject,
    options: MetricOptions,
    pass_results: Found,
    tau: float,
    nearest: Vector,
    with_classes: bool,
    rows: Index | None = None,
    one_left_out: bool = False,
) -> AnchorStatistics:
    """Statistics of the rows of a pass.

    Args:
        subject, options: the checkpoint and the options.
        pass_results: results of the pass, which had `moments`.
        tau: the temperature.
        nearest: (rows, <= 10) similarities of the nearest negatives.
        with_classes: whether the pass had the masses of the anchors' own classes.
        rows: rows of the pass; None: all rows.
        one_left_out: whether the pass left out one negative of each row.
    """
    found = pass_results[SoftmaxMoments(tau, options.negative_pairs)]
    log_same_class = labelled = None
    counts = n_negatives(subject, options)
    if with_classes and subject.codes is not None:
        log_same_class = pass_results[RowLogSumExp(tau, "same_class")]
        labelled = subject.codes >= 0
    if rows is not None:
        counts = counts[rows] - one_left_out
        labelled = None if labelled is None else labelled[rows]
    return anchor_statistics(
        found.log_mass, found.mean, log_same_class, nearest, tau, labelled, counts
    )


def penalty_given(
    rows: Index | None, of_tau: AnchorStatistics, neighbours: Neighbours
) -> PenaltyGiven:
    """What deletions need to know of the anchors, see `LeaveOneOut`."""
    return PenaltyGiven(
        rows,
        of_tau.log_mass,
        of_tau.entropy,
        np.nan_to_num(of_tau.false_negative_share),
        of_tau.top1_share,
        of_tau.top10_share,
        dominant(of_tau, neighbours),
    )


def by_temperature(
    results: PassResults,
    of_taus: dict[float, AnchorStatistics],
    neighbours: Neighbours,
    rows: Index,
    positions: Iterable[Index],
    with_classes: bool,
) -> dict[float, AtTemperature]:
    """Statistics at each temperature; a further pass adds those of dominated anchors.

    Args:
        results: the passes.
        of_taus: statistics of some rows at each temperature.
        neighbours: their nearest negatives.
        rows: (m,) indices of the rows.
        positions: for each entry of the second pass, the positions of its anchors among the rows.
        with_classes: whether false-negative shares are wanted.
    """
    subject, options = results.subject, results.options
    skipped = {tau: dominant(stats, neighbours) for tau, stats in of_taus.items()}
    listed: Sequence[Index] = list(positions)
    dominated = np.unique(
        np.concatenate([at[skip[at] >= 0] for skip in skipped.values() for at in listed])
    )
    pass_results: Found = {}
    if len(dominated):
        reducers = [
            reducer
            for tau, skip in skipped.items()
            if (skip[dominated] >= 0).any()
            for reducer in moments(options, tau, with_classes)
        ]
        pass_results = results.runner.anchored(
            reducers, rows[dominated], LeftOut.one_each(neighbours.indices[dominated, 0])
        )
    following = neighbours.values[dominated, 1:11]  # the nearest without the dominant one
    return {
        tau: AtTemperature(
            tau,
            stats,
            dominated,
            statistics(
                subject,
                options,
                pass_results,
                tau,
                following,
                with_classes,
                rows[dominated],
                one_left_out=True,
            )
            if SoftmaxMoments(tau, options.negative_pairs) in pass_results
            else None,
        )
        for tau, stats in of_taus.items()
    }
