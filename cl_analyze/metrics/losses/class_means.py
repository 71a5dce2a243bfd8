"""Losses that are not made of pieces: ICL's mean discrepancy, CLOP's prototype term, A-InfoNCE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError
from cl_analyze.metrics.losses.metrics import LOSS, PARTS
from cl_analyze.metrics.losses.passes import LossPasses, blocks
from cl_analyze.metrics.losses.pieces import Vector
from cl_analyze.metrics.losses.records import Recorder
from cl_analyze.metrics.means import Number
from cl_analyze.results.stats import standard_error
from cl_analyze.results.tables import Record

Rows = NDArray[np.float64]


def class_mean_records(recorder: Recorder) -> list[Record]:
    """Records of ICL and CLOP where rows have labels, of any number of views."""
    if recorder.passes.subject.labels is None:
        return []
    return [*_icl_records(recorder), *_clop_records(recorder)]


def other_loss_records(recorder: Recorder) -> list[Record]:
    """Records of ICL and CLOP where rows have labels, and that of A-InfoNCE, which has no value."""
    reason = (
        "its value is that of contrastive[symmetric]: only gradients differ; see "
        "a_infonce_effective_negatives"
    )
    return [*class_mean_records(recorder), recorder.record(LOSS.at(name="a_infonce"), None, reason)]


def _products_with_class(passes: LossPasses, vectors: Rows) -> Vector:
    """(N,) (u_i + v_i) . a_y with a_y the vector of the row's class; NaN for unlabelled rows."""
    products = np.full(passes.n, np.nan)
    for start, stop in blocks(passes.n):
        known = start + np.flatnonzero(passes.codes[start:stop] >= 0)
        first, *others = (view.exact_block(start, stop) for view in passes.views.values())
        rows = sum(others, first)
        own = vectors[passes.codes[known]]
        products[known] = np.einsum("ij,ij->i", rows[known - start], own)
    return products


# ---- ICL


def _icl_records(recorder: Recorder) -> list[Record]:
    passes = recorder.passes
    assert passes.subject.labels is not None
    parts: list[Number | None] = [None, None, None]
    params: dict[str, Any] = {"name": "icl_mmd", **passes.params}
    if (passes.subject.labels.counts > 0).sum() > 1:
        parts = [_from_derivative(passes, *part) for part in mean_discrepancy(passes)]
    reason = "there is only one class"
    return [
        recorder.record(
            replace(metric, unit="squared_distance").at(**params),
            part,
            reason,
        )
        for metric, part in zip(PARTS, parts, strict=True)
    ]


def _from_derivative(passes: LossPasses, value: float, own: Vector) -> Number:
    """A number whose error is the spread of its derivative by each row."""
    pseudo = value + own - float(own[np.isfinite(own)].mean())
    error = standard_error(pseudo, passes.subject.groups)
    return Number(value, error, int((passes.codes >= 0).sum()), pseudo)


def mean_discrepancy(passes: LossPasses) -> tuple[tuple[float, Vector], ...]:
    """ICL's discrepancy between the classes, its attraction and its repulsion: O(N D).

    The discrepancy is the sum over ordered pairs of classes of |mu_c - mu_c'|^2, with means over
    all views.  The attraction is the sum of mean squared distances between classes, the repulsion
    minus (C - 1) times the mean squared distances within classes.

    Returns:
        Three pairs: the value, and its (N,) derivative by each row, NaN for unlabelled rows.
    """
    assert passes.subject.labels is not None
    n_views = len(passes.views)
    counts = n_views * passes.subject.labels.counts.astype(np.float64)
    means = passes.class_sums / counts[:, None]
    n_classes, n_labelled = len(means), float(passes.subject.labels.counts.sum())
    square, total = np.square(means).sum(axis=1), means.sum(axis=0)
    value = 2.0 * (n_classes * square.sum() - float(total @ total))
    # unit rows: the mean squared distance of two draws of a class is 2 - 2 |mu|^2
    attraction = value + (n_classes - 1) * float((2.0 - 2.0 * square).sum())
    direction = 4.0 * (n_classes * means - total)
    offset = np.einsum("ij,ij->i", direction, means)
    codes, size = passes.codes, counts[passes.codes]
    toward = _products_with_class(passes, direction)
    own = n_labelled * (toward - n_views * offset[codes]) / size
    inside = _products_with_class(passes, means)
    within = -4.0 * (inside - n_views * square[codes]) / size
    own_within = n_labelled * (n_classes - 1) * within
    return (value, own), (attraction, own + own_within), (value - attraction, -own_within)


# ---- CLOP


def _clop_records(recorder: Recorder) -> list[Record]:
    passes = recorder.passes
    given, classes = passes.subject.clop_anchors, passes.class_sums
    if given is not None and given.shape != classes.shape:
        raise ConfigError(
            f"--clop-anchors: {len(classes)} classes in {passes.subject.d} dimensions need an "
            f"array of shape {classes.shape}, found {given.shape}"
        )
    frame = best_frame(classes) if given is None else given
    number, reason = None, "no row is labelled"
    if frame is None:
        reason = f"{len(classes)} orthonormal anchors do not fit into {passes.subject.d} dimensions"
    elif (passes.codes >= 0).any():
        values = 1.0 - _products_with_class(passes, frame) / len(passes.views)
        error = standard_error(values, passes.subject.groups)
        kept = values[passes.codes >= 0]
        number = Number(float(kept.mean()), error, len(kept), values)
    params: dict[str, Any] = {
        "name": "clop",
        "anchors": "best_fit" if given is None else "given",
        **passes.params,
    }
    why = "it pulls towards fixed anchors, and nothing pushes"
    return [
        recorder.record(replace(metric, unit="none").at(**params), part, missing)
        for metric, part, missing in zip(
            PARTS, (number, number, None), (reason, reason, why), strict=True
        )
    ]


def best_frame(class_sums: Rows) -> Rows | None:
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
    frame: Rows = left @ right
    return frame + 0.0
