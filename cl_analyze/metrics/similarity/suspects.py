"""Suspect negatives: how many anchors have one, how many are of the anchor's class, and which."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import AnchorValues, Deletions
from cl_analyze.metrics.class_ranks import class_ranks
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import NEGATIVES, Metric, Parameter
from cl_analyze.metrics.similarity.pooled_errors import PooledPasses
from cl_analyze.metrics.similarity.shares import AnchorShares
from cl_analyze.metrics.subject import id_text
from cl_analyze.metrics.suspects import limits_of, margins_of, suspect_counts, suspected_by
from cl_analyze.pairs.backend import Index
from cl_analyze.pairs.rank_effects import random_signs
from cl_analyze.pairs.ranking import TIE
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.stats import effective_rows
from cl_analyze.results.tables import Cell, Record, Table

Vector = NDArray[np.float64]

MARGIN = Parameter("margin", "suspect_margin")
SUSPECT_SHARE = Metric(
    "suspect_share",
    "share",
    "share of anchors with a negative nearer than margin times their positive.",
    formulas=(
        "share of anchors whose nearest negative has s > margin × s of the positive (of several, "
        "the smallest), among anchors with s of the positive > 0",
    ),
    parameters=(MARGIN, NEGATIVES),
    depends_on=("rows",),
    source="Moreira et al. 2024.",
)
SUSPECT_PRECISION = Metric(
    "suspect_precision",
    "share",
    "share of the suspects that are of the anchor's class, and so are false negatives.",
    formulas=("suspect pairs of one class divided by all suspect pairs with labels",),
    parameters=(MARGIN,),
    needs="labels",
)
METRICS = (SUSPECT_SHARE, SUSPECT_PRECISION)
SUSPECTS = Table(
    "suspects",
    columns_of("suspects"),
    (),
)
NO_LIMIT = "no anchor has both a negative and a positive above 0"


def least_positives(results: PassResults) -> Vector | None:
    """(N,) similarity of each row's least positive, NaN where it has none; None without positives.

    Of positives that are classes, rows that are no anchors of `class_ranks` have none.
    """
    subject = results.subject
    if results.positives is not None:
        return results.positives.least
    if subject.labels is None:
        return None
    ranks = results.once(class_ranks)
    least = np.full(subject.n, np.nan)
    least[ranks.anchors.rows] = ranks.of_anchors("least")
    return least


def sample_notes(results: PassResults) -> tuple[str, ...]:
    """A note where positives are classes, and their ranks are those of a sample of anchors."""
    of_classes = results.once(class_ranks).anchors
    if results.anchors.is_sample or not of_classes.is_sample:
        return ()
    return (
        f"{results.subject.source}: AUROC of each anchor, violations and suspects within classes "
        f"are of {len(of_classes.rows)} seeded anchors",
    )


def suspect_records(
    passes: PooledPasses, neighbours: Neighbours, deleted: Deletions
) -> Iterator[Record]:
    """Shares of anchors for each margin, and with labels how many suspects are of one class.

    Where positives are classes, or negatives are rows of other classes, none of them can be.

    Args:
        passes: of the checkpoint.
        neighbours: nearest negatives of the anchors of the first pass; against positives that are
            classes, nearest rows of other classes.
        deleted: which rows the nearest negative hangs on.
    """
    subject, results = passes.subject, passes.results
    options, anchors = results.options, results.anchors
    at: dict[str, Any] = options.negative_params
    least = least_positives(results)
    assert least is not None
    at_anchors = np.arange(len(anchors.rows))
    if results.positives is None and results.once(class_ranks).anchors.is_sample:
        anchors = results.once(class_ranks).anchors
        at_anchors = np.searchsorted(results.anchors.rows, anchors.rows)
    has_precision = suspected_by(subject, options) is not None
    for column, margin in enumerate(margins_of(options)):
        limits = limits_of(least, (margin,))[anchors.rows]
        near = neighbours.values[at_anchors, : deleted.width]
        missing = np.isneginf(near) | np.isinf(limits)
        entries = (near > limits + TIE).astype(np.float64)
        shares = AnchorShares.of_neighbours(subject, entries, missing, anchors, deleted)
        yield shares.record(SUSPECT_SHARE.at(margin=margin, **at), NO_LIMIT)
        if has_precision:
            yield _precision(passes, column, margin)


def _precision(passes: PooledPasses, column: int, margin: float) -> Record:
    """Suspect pairs of one class over suspect pairs with labels: a ratio of sums over anchors."""
    subject, options, anchors = passes.subject, passes.results.options, passes.results.anchors
    place = subject.source, subject.d
    metric = SUSPECT_PRECISION.at(margin=margin)
    reducer = suspect_counts(subject, options)
    assert reducer is not None
    counts = passes.first[reducer]
    same, other = counts[:, 3 * column + 1], counts[:, 3 * column + 2]
    labelled = same + other
    if not labelled.sum():
        return metric.undefined(*place, "there is no suspect pair with labels")
    value = float(same.sum() / labelled.sum())
    number = _ratio(passes, column, value, same, labelled)
    error = number.std_error or 0.0
    has_suspect = labelled > 0
    shares = np.where(has_suspect, same / np.maximum(labelled, 1.0), np.nan)
    groups = None if subject.groups is None else subject.groups[anchors.rows]
    n = effective_rows(shares, error, groups)
    return replace(metric.record(*place, number), effective_n=n)


def _ratio(
    passes: PooledPasses, column: int, value: float, same: Vector, labelled: Vector
) -> Number:
    """A ratio of sums over suspect pairs, with the error that both roles of a row give.

    A pair is in the sums as one of its anchor and as one of its negative.  Its own part is counted
    twice in the square of both, and taken off once.

    Args:
        passes: of the checkpoint.
        column: number of the margin.
        value: the ratio.
        same, labelled: (m,) suspect pairs of each anchor, of one class and with labels.
    """
    subject, anchors = passes.subject, passes.results.anchors
    reducer = suspected_by(subject, passes.results.options)
    assert reducer is not None
    rows, parts = passes.second
    mean, n = float(labelled.mean()), int((labelled > 0).sum())
    of_same, of_other = parts[-1][reducer][:, 2 * column : 2 * column + 2].T
    received = ((1.0 - value) * of_same - value * of_other) / mean
    squares = ((1.0 - value) ** 2 * of_same + value**2 * of_other) / mean**2
    own = (same - value * labelled) / mean
    if not rows.is_sample:
        signs = random_signs(subject.n)
        zero = np.zeros(subject.n)
        of_rows = AnchorValues(
            value + own, -received, zero, signs * np.sqrt(squares), float(squares.sum())
        )
        return replace(of_rows.mean(subject.groups), value=value, n=n)
    here = own[np.searchsorted(anchors.rows, rows.rows)]
    errors = [rows.std_error(part, groups=subject.groups) for part in (here, here + received)]
    of_own, of_both = (error or 0.0 for error in errors)
    twice = float(squares.mean()) / subject.n
    error = max(math.sqrt(max(of_both**2 - twice, 0.0)), of_own)
    sampling = None
    if anchors.is_sample:
        sampling = anchors.without_moments().mean(own).sampling_error
    return Number(value, error or None, n, None, sampling)


def suspect_table(results: PassResults, neighbours: Neighbours) -> Table:
    """The nearest pairs that exceed `--suspect-margin`; at most `--top-k` of one anchor.

    Args:
        results: the passes.
        neighbours: as in `suspect_records`.
    """
    subject, options = results.subject, results.options
    least = least_positives(results)
    if least is None or not options.suspects:
        return SUSPECTS
    rows = results.anchors.rows
    positive = least[rows]
    near = neighbours.values[:, : options.top_k]
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = np.isfinite(near) & (positive > 0)[:, None]
        margin = np.where(usable, near / positive[:, None], -np.inf)
    owner, place = np.nonzero(margin > options.suspect_margin)
    order = np.lexsort((place, owner, -near[owner, place]))[: options.suspects]
    owner, place = owner[order], place[order]
    own, other = rows[owner], neighbours.indices[owner, place]
    codes = subject.codes if subject.relevance is None else None
    across = subject.partners is not None
    listed: list[dict[str, Cell]] = [
        {
            "source": subject.source,
            "row": _in_file(subject.kept, i),
            "other_row": _in_file(subject.partner_kept if across else subject.kept, j),
            "row_id": id_text(subject.id_values, i),
            "other_id": id_text(subject.partner_ids if across else subject.id_values, j),
            "similarity": float(near[a, p]),
            "positive_similarity": float(positive[a]),
            "relative_margin": float(margin[a, p]),
            "same_class": _same(codes, i, j),
        }
        for a, p, i, j in zip(owner, place, own, other, strict=True)
    ]
    return replace(SUSPECTS, rows=tuple(listed))


def _in_file(kept: Index | None, row: int) -> int:
    return int(row if kept is None else kept[row])


def _same(codes: Index | None, row: int, other: int) -> bool | None:
    if codes is None or codes[row] < 0 or codes[other] < 0:
        return None
    return bool(codes[row] == codes[other])
