"""Two views or towers: alignment, retrieval in both directions, the modality gap.

References: Wang & Isola, ICML 2020 (alignment); Liang, Zhang, Kwon, Yeung & Zou, NeurIPS 2022 (the
modality gap).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import block_rows

Vector = NDArray[np.float64]

TIE = 1e-12
"""Cosines nearer than this are equal: float64 products of the same numbers differ by less."""


def recall_at(ranks: Vector, k: int) -> Vector:
    """(n,) chance that a row's partner is among its k nearest, ties in random order.

    Args:
        ranks: (n, 2) others that are nearer than the partner, and others as near.

    >>> recall_at(np.array([[0.0, 0.0], [0.0, 3.0], [2.0, 0.0]]), 1).tolist()
    [1.0, 0.25, 0.0]
    """
    nearer, level = ranks.T
    return np.asarray(np.clip((k - nearer) / (level + 1.0), 0.0, 1.0))


def expected_ranks(ranks: Vector) -> Vector:
    """(n,) rank of the partner from 1, ties in random order."""
    return np.asarray(1.0 + ranks[:, 0] + 0.5 * ranks[:, 1])


@dataclass(frozen=True)
class Gap:
    """The modality gap and what is left when each side is centred.

    Attributes:
        distance: |mean u - mean v|.
        distance_without: (N,) the same without each row.
        residual: mean of |(u - mean u) - (v - mean v)|^2; alignment = distance^2 + residual.
        residual_without: (N,) the same without each row.
    """

    distance: float
    distance_without: Vector
    residual: float
    residual_without: Vector


def modality_gap(first: UnitRows, second: UnitRows) -> Gap:
    """Difference of the two mean rows, in two passes over the rows."""
    n, dim = first.n_rows, first.dim
    step = block_rows(dim)
    total = np.zeros(dim)
    for start in range(0, n, step):
        stop = min(start + step, n)
        total += (first.exact_block(start, stop) - second.exact_block(start, stop)).sum(axis=0)
    gap = total / n
    squares, along = np.empty(n), np.empty(n)
    for start in range(0, n, step):
        stop = min(start + step, n)
        left = first.exact_block(start, stop) - second.exact_block(start, stop) - gap
        squares[start:stop] = np.square(left).sum(axis=1)
        along[start:stop] = left @ gap
    size = float(gap @ gap)
    # without row i the mean is gap - left_i / (N - 1)
    less = size - 2.0 * along / (n - 1) + squares / (n - 1) ** 2
    residual = float(squares.mean())
    # sum of squares about the mean of the others
    residual_less = (squares.sum() - squares * n / (n - 1)) / (n - 1)
    return Gap(size**0.5, np.sqrt(np.maximum(less, 0.0)), residual, residual_less)
