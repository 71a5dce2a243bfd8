"""Losses about class means: CLOP's prototype term and the mean discrepancy of ICL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError
from cl_analyze.metrics.losses.passes import Passes

Vector = NDArray[np.float64]


def best_frame(class_sums: Vector) -> Vector | None:
    """(C, D) orthonormal rows nearest to the directions of the classes; None where C > D.

    The polar factor of the class sums maximises sum_c a_c . S_c over orthonormal frames
    (orthogonal Procrustes; Schoenemann, Psychometrika 1966).

    >>> best_frame(np.array([[2.0, 0.0, 0.0], [0.0, 0.5, 0.0]])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    n_classes, dim = class_sums.shape
    if n_classes > dim:
        return None
    left, _, right = np.linalg.svd(class_sums, full_matrices=False)
    frame: Vector = left @ right
    return frame + 0.0


def clop_values(passes: Passes) -> tuple[Vector | None, str]:
    """(N,) 1 - (u_i . a_y + v_i . a_y) / 2, NaN for unlabelled rows; or why there are none."""
    subject = passes.subject
    assert subject.labels is not None
    assert subject.views is not None
    frame = subject.frame
    if frame is not None and frame.shape != passes.class_sums.shape:
        raise ConfigError(
            f"--clop-anchors: {len(subject.labels.names)} classes in {subject.d} dimensions need "
            f"an array of shape {passes.class_sums.shape}, found {frame.shape}"
        )
    if frame is None:
        frame = best_frame(passes.class_sums)
    if frame is None:
        return None, (
            f"{len(passes.class_sums)} orthonormal anchors do not fit into {subject.d} dimensions"
        )
    codes = subject.labels.codes
    values = np.full(subject.n, np.nan)
    for start in range(0, subject.n, 1024):
        stop = min(start + 1024, subject.n)
        part = codes[start:stop]
        known = np.flatnonzero(part >= 0)
        both = sum(view.exact_block(start, stop) for view in subject.views)
        inner = np.einsum("ij,ij->i", both[known], frame[part[known]])  # type: ignore[index]
        values[start + known] = 1.0 - 0.5 * inner
    return values, ""


@dataclass(frozen=True)
class Discrepancy:
    """The mean discrepancy and its two parts.

    Attributes:
        value: sum over ordered pairs of classes of |mu_c - mu_c'|^2, means over both views.
        attraction: mean squared distances between classes; value - attraction is minus (C - 1)
            times those within.
        own: (N,) derivative of the value by each row, whose spread gives its standard error; NaN
            for unlabelled rows.
        own_within: the same of the distances within classes, times C - 1.
    """

    value: float
    attraction: float
    own: Vector
    own_within: Vector


def mean_discrepancy(passes: Passes) -> Discrepancy:
    """ICL's discrepancy between the classes: O(N D)."""
    subject = passes.subject
    assert subject.labels is not None
    assert subject.views is not None
    counts = 2.0 * subject.labels.counts.astype(np.float64)[:, None]
    means = passes.class_sums / counts
    n_classes = len(means)
    square = np.square(means).sum(axis=1)
    total = means.sum(axis=0)
    value = 2.0 * (n_classes * square.sum() - float(total @ total))
    # unit rows: the mean squared distance of two draws of a class is 2 - 2 |mu|^2
    within = float((2.0 - 2.0 * square).sum())
    pull = value + (n_classes - 1) * within
    direction = 4.0 * (n_classes * means - total)
    codes = subject.labels.codes
    own, within_own = np.full(subject.n, np.nan), np.full(subject.n, np.nan)
    offset = np.einsum("ij,ij->i", direction, means)
    n_labelled = float(subject.labels.counts.sum())
    for start in range(0, subject.n, 1024):
        stop = min(start + 1024, subject.n)
        part = codes[start:stop]
        known = np.flatnonzero(part >= 0)
        both = sum(view.exact_block(start, stop) for view in subject.views)
        mine = part[known]
        toward = np.einsum("ij,ij->i", both[known], direction[mine])  # type: ignore[index]
        own[start + known] = n_labelled * (toward - 2.0 * offset[mine]) / counts[mine, 0]
        inside = np.einsum("ij,ij->i", both[known], means[mine])  # type: ignore[index]
        change = -4.0 * (inside - 2.0 * square[mine]) / counts[mine, 0]
        within_own[start + known] = n_labelled * (n_classes - 1) * change
    return Discrepancy(value, pull, own, within_own)
