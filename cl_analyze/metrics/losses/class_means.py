"""Losses that are not made of pieces: ICL's mean discrepancy, CLOP's prototype term, A-InfoNCE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cl_analyze.errors import ConfigError
from cl_analyze.metrics.losses.passes import Passes, blocks
from cl_analyze.metrics.losses.pieces import Vector
from cl_analyze.metrics.losses.records import Recorder
from cl_analyze.metrics.means import Number
from cl_analyze.stats import standard_error
from cl_analyze.tables import Param, Record

PARTS = ("loss", "loss_alignment", "loss_uniformity")


def other_loss_records(recorder: Recorder) -> list[Record]:
    """Records of ICL and CLOP where rows have labels, and that of A-InfoNCE, which has no value."""
    records = []
    if recorder.passes.subject.labels is not None:
        records = [*_icl_records(recorder), *_clop_records(recorder)]
    reason = (
        "its value is that of contrastive[symmetric]: only gradients differ; see "
        "a_infonce_effective_negatives"
    )
    return [*records, recorder.record("loss", None, {"name": "a_infonce"}, None, "nats", reason)]


def _icl_records(recorder: Recorder) -> list[Record]:
    passes = recorder.passes
    parts: list[Number | None] = [None, None, None]
    assert passes.subject.labels is not None
    if (passes.subject.labels.counts > 0).sum() > 1:
        icl = mean_discrepancy(passes)
        parts = [
            _from_derivative(passes, value, own)
            for value, own in (
                (icl.value, icl.own),
                (icl.attraction, icl.own + icl.own_within),
                (icl.value - icl.attraction, -icl.own_within),
            )
        ]
    reason = "there is only one class"
    return [
        recorder.record(metric, None, {"name": "icl_mmd"}, part, "squared_distance", reason)
        for metric, part in zip(PARTS, parts, strict=True)
    ]


def _from_derivative(passes: Passes, value: float, own: Vector) -> Number:
    there = np.isfinite(own)
    pseudo = value + own - float(own[there].mean())
    error = standard_error(pseudo, passes.subject.groups)
    return Number(value, error, int(passes.labelled.sum()), pseudo)


def _clop_records(recorder: Recorder) -> list[Record]:
    subject = recorder.passes.subject
    values, reason = clop_values(recorder.passes)
    number = None
    if values is not None and np.isfinite(values).any():
        there = np.isfinite(values)
        error = standard_error(values, subject.groups)
        number = Number(float(values[there].mean()), error, int(there.sum()), values)
    anchors = "given" if subject.frame is not None else "best_fit"
    params: dict[str, Param] = {"name": "clop", "anchors": anchors}
    reasons = [reason or "no row is labelled"] * 2
    reasons.append("it pulls towards fixed anchors, and nothing pushes")
    return [
        recorder.record(metric, None, params, part, "none", why)
        for metric, part, why in zip(PARTS, (number, number, None), reasons, strict=True)
    ]


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
    """CLOP: (N,) 1 - (u_i . a_y + v_i . a_y) / 2, NaN for unlabelled rows; or why it has none."""
    subject = passes.subject
    assert subject.labels is not None
    assert subject.views is not None
    frame = subject.frame
    if frame is not None and frame.shape != passes.sums.classes.shape:
        raise ConfigError(
            f"--clop-anchors: {len(subject.labels.names)} classes in {subject.d} dimensions need "
            f"an array of shape {passes.sums.classes.shape}, found {frame.shape}"
        )
    if frame is None:
        frame = best_frame(passes.sums.classes)
    if frame is None:
        return None, (
            f"{len(passes.sums.classes)} orthonormal anchors do not fit into {subject.d} dimensions"
        )
    codes = subject.labels.codes
    values = np.full(subject.n, np.nan)
    for start, stop in blocks(subject.n):
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
    means = passes.sums.classes / counts
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
    for start, stop in blocks(subject.n):
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
