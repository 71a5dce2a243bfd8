"""What each row of a ranking adds to measures of it: the value less the value without the row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def ranking_effects(ahead: Vector, over: Vector) -> tuple[Matrix, Matrix]:
    """What positives and negatives of one anchor add to three measures of its ranking.

    The measures are the reciprocal rank of the nearest positive, MAP@R and R-precision, with R the
    number of positives (`pairs/ranking.py`).  Without its only positive the anchor has no value:
    a lone positive adds the whole value.

    Args:
        ahead: (R,) negatives that are nearer than each positive, nearest positive first.
        over: (n,) positives that are nearer than each negative.

    Returns:
        (3, R) and (3, n) value less the value without this positive, or negative.
    """
    n_positives = len(ahead)
    place = np.arange(1.0, n_positives + 1.0)
    rank: Vector = place + ahead
    sooner = np.maximum(rank - 1.0, 1.0)

    # what each positive counts in MAP@R and R-precision: now, one rank sooner, and where R is one
    # less, with or without one positive less ahead
    one = np.ones(n_positives)
    now = np.where(rank <= n_positives, np.stack([place / rank, one]), 0.0)
    without_negative = np.where(sooner <= n_positives, np.stack([place / sooner, one]), 0.0)
    before_deleted = np.where(rank <= n_positives - 1, np.stack([place / rank, one]), 0.0)
    after_deleted = np.where(rank <= n_positives, np.stack([(place - 1.0) / sooner, one]), 0.0)

    value = np.concatenate([[1.0 / rank[0]], now.sum(axis=1) / n_positives])
    if n_positives == 1:
        of_positives = value[:, None]
    else:
        left = _sums_before(before_deleted)[:, :-1] + _sums_from(after_deleted)[:, 1:]
        nearest = np.full(n_positives, value[0])
        nearest[0] = 1.0 / sooner[1]
        of_positives = value[:, None] - np.vstack([nearest, left / (n_positives - 1)])
    nearest = np.full(n_positives + 1, value[0])
    nearest[0] = 1.0 / sooner[0]
    left = _sums_before(now) + _sums_from(without_negative)
    by_place = value[:, None] - np.vstack([nearest, left / n_positives])
    return of_positives, by_place[:, over.astype(np.int64)]


def random_signs(n: int) -> Vector:
    """(n,) seeded signs, +1 or -1, with which sums over anchors tell how noisy the sums are."""
    return np.random.default_rng(0x5EED).choice((-1.0, 1.0), n)


def _sums_before(parts: Matrix) -> Matrix:
    """(2, R + 1) sums of the parts before each place."""
    return np.concatenate([np.zeros((2, 1)), np.cumsum(parts, axis=1)], axis=1)


def _sums_from(parts: Matrix) -> Matrix:
    """(2, R + 1) sums of the parts from each place on."""
    total: Matrix = parts.sum(axis=1, keepdims=True) - _sums_before(parts)
    return total
