"""How each row acts on the losses of the others, beside the softmaxes."""

from __future__ import annotations

import numpy as np

from cl_analyze.metrics.losses.passes import Passes
from cl_analyze.metrics.losses.pieces import VIEWS, Vector
from cl_analyze.metrics.losses.terms import Terms


def effect_on_others(passes: Passes, terms: Terms, half: int) -> Vector:
    """(N,) what the presence of each pair adds to the sum of the others' losses.

    Args:
        passes: of the checkpoint.
        terms: the loss; `effect` names how rows act.
        half: number of the half of the anchors whose hardest negatives are looked at.
    """
    if terms.effect == "simple":
        return _on_simple(passes)
    if terms.effect == "siglip":
        return _on_siglip(passes, terms.tau, half)
    if terms.effect == "hardest":
        return _on_hardest(passes, half)
    if terms.effect == "hard_simple":
        return _on_hard_simple(passes, half)
    if terms.effect == "hard_contrastive":
        return _on_hard_contrastive(passes, terms.tau, half)
    if terms.effect == "supcon_out":
        return _on_class_means(passes, terms.tau)
    if terms.effect == "supcon_in":  # the mean's denominator; its sum is among the softmaxes
        count, labelled = passes.class_count, passes.labelled
        more = 2.0 * (count - 1.0) / np.maximum(2.0 * count - 1.0, 1.0)
        return np.where(labelled, more, 0.0)
    return np.zeros(passes.n)


def _on_simple(passes: Passes) -> Vector:
    weight, k = passes.constants.weight, passes.n - 1
    sums = passes.sums
    if weight is not None:
        fixed: Vector = weight * sums.received
        return fixed
    mean = sums.sent / k
    of_mean: Vector = (sums.received - (mean.sum() - mean)) / k
    return of_mean


def _on_siglip(passes: Passes, tau: float, half: int) -> Vector:
    """A row adds its own term to every other pair's sum."""
    received = passes.softplus_received[half][:, passes.options.taus.index(tau)]
    of_all: Vector = received * (passes.n / len(passes.halves[half]))
    return of_all


def _on_hardest(passes: Passes, half: int) -> Vector:
    """An anchor's hardest negative takes the place of the next."""
    at = passes.halves[half]
    rows = passes.rows[at]
    values, first = passes.nearest.values[at], passes.nearest.indices[at, 0]
    ahead = np.maximum(values - passes.sums.positive[rows][:, None], 0.0)
    second = ahead[:, 1] if ahead.shape[1] > 1 else np.zeros(len(ahead))
    gain = np.zeros(passes.n)
    np.add.at(gain, first, ahead[:, 0] - second)
    return gain * (passes.n / len(rows))


def _of_others(passes: Passes, half: int, values: Vector) -> Vector:
    """(N,) sums of the anchors' values, for each row without its own."""
    total = np.full(passes.n, values.sum())
    total[passes.rows[passes.halves[half]]] -= values
    return total


def _on_hard_simple(passes: Passes, half: int) -> Vector:
    strips, at = passes.strips[half], passes.halves[half]
    k, k_all, fixed = passes.pieces.n_hard, passes.n - 1, passes.constants.weight
    weight = 1.0 / k if fixed is None else fixed
    kept = _of_others(passes, half, k / k_all * strips.threshold)
    gain: Vector = weight * (strips.excess + kept)
    if fixed is None:  # a mean: one more negative is one more to divide by
        gain = gain - _of_others(passes, half, passes.pieces.hard_sum[at] / k) / k_all
    return gain * (passes.n / len(at))


def _on_hard_contrastive(passes: Passes, tau: float, half: int) -> Vector:
    strips, at = passes.strips[half], passes.halves[half]
    positive = passes.sums.positive[passes.rows[at]]
    total = np.logaddexp(passes.pieces.hard_mass[tau][at], positive / tau)
    at_threshold = np.exp(strips.threshold / tau - total)
    kept = _of_others(passes, half, passes.pieces.n_hard / (passes.n - 1) * at_threshold)
    gain: Vector = strips.received[passes.options.taus.index(tau)] + kept
    return gain * (passes.n / len(at))


def _on_class_means(passes: Passes, tau: float) -> Vector:
    """The effect of a pair on the mean over positives of the others of its class."""
    sums, labelled = passes.sums, passes.labelled
    n_positives = np.maximum(2.0 * passes.class_count - 1.0, 1.0)
    means = {view: (sums.to_class[view] - 1.0) / n_positives for view in VIEWS}
    both = means["u"] + means["v"]
    codes = np.where(labelled, passes.codes, 0)
    known = labelled.astype(np.float64)
    of_class = np.bincount(codes, weights=both * known, minlength=len(sums.classes))[codes]
    with_class = sums.to_class["u"] + sums.to_class["v"]
    own = 2.0 + 2.0 * sums.positive  # |u + v|^2
    shift = (with_class - own - 2.0 * (of_class - both)) / n_positives
    return np.where(labelled, -0.5 / tau * shift, 0.0)
