"""How false negatives are by rank: the class of the l-th nearest negative."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import Deletions
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.metrics.similarity.shares import AnchorShares
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.similarity_groups import negative_group
from cl_analyze.results.tables import Cell, Record

_RANKS_BESIDE = 2
SAME_CLASS_SHARE = Metric(
    "same_class_share",
    "share",
    "share of the l-th nearest negatives that are of the anchor's class: false negatives.",
    formulas=("share of labelled anchors whose l-th nearest negative is of their class",),
    parameters=(Parameter("group", "top_k"),),
    depends_on=("rows",),
    needs="labels",
    title="same-class share",
)


def is_defined(results: PassResults) -> bool:
    """Whether rows have classes, and negatives may be of the anchor's class."""
    subject, options = results.subject, results.options
    return (
        subject.labels is not None and options.negatives == "instance" and subject.relevance is None
    )


def rank_records(
    results: PassResults, neighbours: Neighbours, deleted: Sequence[Deletions]
) -> Iterator[Record]:
    """The share at each rank; nothing without classes among the negatives.

    A share of single neighbours tells its own error badly: which class the negative of a rank has
    tips over with every deletion.  So the variances of nearby ranks, each over p (1 - p), are
    averaged.

    Args:
        results: the passes.
        neighbours: nearest negatives of the anchors of the first pass.
        deleted: for each rank which rows its negative hangs on.
    """
    if not is_defined(results):
        return
    every = [_shares(results, neighbours, of_rank) for of_rank in deleted]
    designs = [_design(shares) for shares in every]
    for rank, shares in enumerate(every):
        nearby = [d for d in designs[max(rank - _RANKS_BESIDE, 0) : rank + _RANKS_BESIDE + 1] if d]
        mean = shares.mean
        if mean is not None and designs[rank] and not shares.anchors.is_sample:
            variance = sum(nearby) / len(nearby) * mean.value * (1.0 - mean.value)
            shares = replace(shares, mean=replace(mean, std_error=math.sqrt(variance)))
        params: dict[str, Any] = {"group": negative_group(rank + 1)}
        reason = f"no labelled row has {rank + 1} labelled negatives"
        yield shares.record(SAME_CLASS_SHARE.at(**params), reason)


def _shares(results: PassResults, neighbours: Neighbours, deleted: Deletions) -> AnchorShares:
    subject, anchors = results.subject, results.anchors
    assert subject.labels is not None
    codes = subject.labels.codes
    indices = neighbours.indices[:, : deleted.width]
    own = codes[anchors.rows][:, None]
    others = np.where(indices >= 0, codes[indices], -1)
    missing: NDArray[np.bool_] = (own < 0) | (others < 0)
    entries = (own == others).astype(np.float64)
    return AnchorShares.of_neighbours(subject, entries, missing, anchors, deleted)


def _design(shares: AnchorShares) -> float | None:
    """The variance of a share over p (1 - p); None where one of the two is 0 or unknown."""
    mean = shares.mean
    if mean is None or not mean.std_error or not 0.0 < mean.value < 1.0:
        return None
    return mean.std_error**2 / (mean.value * (1.0 - mean.value))


def chance_rows(results: PassResults, n_ranks: int) -> list[dict[str, Cell]]:
    """Rows of the reference table: the share of the anchor's class among all its negatives."""
    if not is_defined(results):
        return []
    labels = results.subject.labels
    assert labels is not None
    counts = labels.counts.astype(np.float64)
    n = float(counts.sum())
    if n < 2:
        return []
    chance = float((counts * (counts - 1.0)).sum()) / (n * (n - 1.0))
    return [
        {
            "source": results.subject.source,
            "quantity": SAME_CLASS_SHARE.name,
            "group": negative_group(rank + 1),
            "tau": None,
            "value": chance,
            "std_error": 0.0,
        }
        for rank in range(n_ranks)
    ]
