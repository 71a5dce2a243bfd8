"""Shares of anchors, with intervals that are valid near 0 and 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchor_values import Deletions
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.subject import Subject
from cl_analyze.results.stats import effective_rows
from cl_analyze.results.tables import Record

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorShares:
    """A share of each anchor, and the mean of the shares.

    Attributes:
        subject: the checkpoint.
        values: (m,) in [0, 1]; NaN for an anchor that takes no part.
        mean: with its error; None where no anchor, or hardly any of a sample, takes part.
        anchors: the rows that have the shares.
    """

    subject: Subject
    values: Vector
    mean: Number | None
    anchors: Anchors

    @classmethod
    def own(
        cls, subject: Subject, values: Vector, anchors: Anchors, effects: Sequence[Vector] = ()
    ) -> AnchorShares:
        """Shares that hang on the anchor alone, or on other rows through `effects`."""
        effects = effects or [np.zeros(anchors.n_rows)]
        mean = mean_with_effects(values, values, effects, 0.0, subject.groups, anchors)
        return cls(subject, values, mean, anchors)

    @classmethod
    def of_neighbours(
        cls,
        subject: Subject,
        entries: Vector,
        missing: NDArray[np.bool_],
        anchors: Anchors,
        deleted: Deletions,
    ) -> AnchorShares:
        """Shares that hang on a nearest negative.

        Args:
            subject: the checkpoint.
            entries: (m, k) the share that each of the nearest negatives would give.
            missing: (m, k) where there is none.
            anchors: the rows.
            deleted: which rows the anchors' negative of a rank hangs on.
        """
        values = np.where(missing[:, deleted.rank], np.nan, entries[:, deleted.rank])
        if anchors.is_sample or not np.isfinite(values).any():
            return cls.own(subject, values, anchors)
        return cls(subject, values, deleted.of(entries, missing).mean(subject.groups), anchors)

    def record(self, metric: Metric, reason: str) -> Record:
        """A record of the mean; `reason` where there is none."""
        place = self.subject.source, self.subject.d
        if self.mean is None:
            return metric.undefined(*place, reason)
        error = math.hypot(self.mean.std_error or 0.0, self.mean.sampling_error or 0.0)
        groups = self.subject.groups
        groups = None if groups is None else groups[self.anchors.rows]
        record = metric.record(*place, self.mean)
        return replace(record, effective_n=effective_rows(self.values, error, groups))
