"""Suspects: negatives so near, compared with the positive, that they may be false negatives.

The relative margin of a negative is its similarity over that of its anchor's positive; with several
positives the least counts, and a positive at or below 0 has no suspects.  A negative is a suspect
when its relative margin exceeds a margin: keeping negatives under 0.95 of the positive is common
practice (NV-Retriever, Moreira et al. 2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.reducers import SuspectCounts, SuspectedBy

Vector = NDArray[np.float64]

MARGINS = (0.8, 0.85, 0.9, 0.95, 1.0)
"""Margins that are always reported, so that one can be chosen."""
SMALLEST_TAU = 0.005
"""Temperature down to which exp((s - 1) / tau) stays within float64's range."""
_ROUNDING = 1e-6
"""A pass in float32 takes negatives for suspects that exceed their limit by more than this."""


def margins_of(options: MetricOptions) -> tuple[float, ...]:
    """The margins, ascending."""
    return tuple(sorted({*MARGINS, options.suspect_margin}))


def limits_of(least: Vector, margins: tuple[float, ...]) -> Vector:
    """(N, margins) similarity above which a negative is a suspect; infinite where none can be.

    Args:
        least: (N,) similarity of each row's least positive; NaN where it has none.
        margins: the margins.
    """
    with np.errstate(invalid="ignore"):
        base = np.where(least > 0, least, np.inf)
    limits: Vector = base[:, None] * np.array(margins)
    return limits


def suspect_counts(subject: Subject, options: MetricOptions) -> SuspectCounts | None:
    """The reducer of the suspects of every row; None without views, pairs or relevant items.

    Similarity and penalty share it.
    """
    positives = subject.positive_pairs
    if positives is None:
        return None
    margins = margins_of(options)
    return SuspectCounts(
        len(margins),
        margins.index(options.suspect_margin),
        tuple(tau for tau in options.taus if tau >= SMALLEST_TAU),
        options.negative_pairs,
        limits_of(positives.least, margins) + _ROUNDING,
    )


def suspected_by(subject: Subject, options: MetricOptions) -> SuspectedBy | None:
    """The reducer of the rows that suspect each row; None where none can be of its class."""
    counts = suspect_counts(subject, options)
    has_classes = subject.labels is not None and subject.relevance is None
    if counts is None or not has_classes or options.negatives == "class":
        return None
    return SuspectedBy(counts.n_limits, counts.pairs, counts.limits)
