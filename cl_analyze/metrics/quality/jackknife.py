"""The delete-a-group jackknife, for statistics that have no pseudo-values of single rows.

Rows fall into g = 20 random groups of equal size; with theta_j the statistic without group j, the
variance is (g - 1) / g times the sum of squares of theta_j about their mean (Shao & Tu, The
Jackknife and Bootstrap, 1995, section 2.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cl_analyze.metrics.quality.rows import Index, Vector

N_GROUPS = 20


@dataclass(frozen=True)
class Deletions:
    """A statistic, and (N,) the same without each row; NaN for rows that take no part."""

    value: float
    without: Vector


def mean_deletions(several: Sequence[Deletions]) -> Deletions:
    """The mean of several statistics of the same rows."""
    n = len(several)
    return Deletions(
        sum(one.value for one in several) / n, np.sum([one.without for one in several], axis=0) / n
    )


def jackknife_groups(n_rows: int, together: Index | None, seed: int) -> Index:
    """(N,) group of each row, 0 .. 19; rows that belong together share one."""
    units = np.arange(n_rows) if together is None else np.unique(together, return_inverse=True)[1]
    n_units = int(units.max()) + 1
    order = np.random.default_rng(seed).permutation(n_units)
    return np.asarray((order % min(N_GROUPS, n_units))[units], dtype=np.int64)


def jackknife_error(values: Sequence[float | str | None]) -> float | None:
    """Standard error from the values without each group.

    None where one is no finite number, or fewer than three are left: without one of two rows the
    measures of a spectrum are those of a single row, whichever it is.

    >>> round(jackknife_error([1.0, 2.0, 3.0]), 6)
    1.154701
    """
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    g = len(numbers)
    if g < 3 or g < len(values):
        return None
    mean = sum(numbers) / g
    return math.sqrt((g - 1) / g * sum((value - mean) ** 2 for value in numbers))
