"""Ranks of the rows of each anchor's class among the rows of other classes, once for all metrics.

An anchor has as many positives as its class has other rows, and each row is sorted for it.  So
above 10,000 rows, or with classes of more than 1,000 rows, 2,048 seeded anchors stand for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors, draw_anchors
from cl_analyze.metrics.family import PassResults
from cl_analyze.metrics.runner import ANCHOR_BYTES
from cl_analyze.pairs.positive_ranks import ClassRanked, ClassRanks

Vector = NDArray[np.float64]

MOST_RELEVANT = 1_000
"""Rows of a class up to which every row is an anchor."""


@dataclass(frozen=True)
class ClassRanking:
    """The ranks of the anchors' classes.

    Attributes:
        anchors: the rows that are anchors: all rows, or a sample.
        halves: positions among the anchors of each part.
        parts: ranks of all anchors, or of each half of a sample.
    """

    anchors: Anchors
    halves: tuple[NDArray[np.int64], ...]
    parts: tuple[ClassRanked, ...]

    def of_anchors(self, name: str) -> Vector:
        """(m, ...) an attribute of `ClassRanked` that has values of the anchors, in their order."""
        first = getattr(self.parts[0], name)
        values = np.empty((len(self.anchors.rows), *first.shape[1:]))
        for half, part in zip(self.halves, self.parts, strict=True):
            values[half] = getattr(part, name)
        return values


def class_ranks(results: PassResults) -> ClassRanking:
    """The ranks of the labelled rows; call it through `PassResults.once`."""
    subject, options, anchors = results.subject, results.options, results.anchors
    labels = subject.labels
    assert labels is not None
    is_large = subject.n > options.exact_deletions or labels.counts.max(initial=0) > MOST_RELEVANT
    if not anchors.is_sample and is_large and subject.n > options.sampled_anchors:
        chosen = draw_anchors(subject.n, options.sampled_anchors, options.seed + 1)
        anchors = Anchors(chosen, subject.n)
    results.runner.announce("ranks of rows of one class")
    parts = []
    for half in anchors.halves:
        rows = anchors.rows[half]
        own = subject.rows if len(rows) == subject.n else subject.rows.select(rows, ANCHOR_BYTES)
        job = ClassRanks(own, rows, subject.rows, labels.codes, subject.groups)
        parts.append(results.runner.ranked(job, "ranks within classes"))
    return ClassRanking(anchors, anchors.halves, tuple(parts))
