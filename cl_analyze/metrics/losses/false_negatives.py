"""What false negatives cost: the gap of DCL to NSCL, and where A-InfoNCE's weights push."""

from __future__ import annotations

import math

import numpy as np

from cl_analyze.metrics.losses.metrics import (
    EFFECTIVE_NEGATIVES,
    FALSE_NEGATIVE_SHARE,
    GAP,
    GAP_BOUND,
)
from cl_analyze.metrics.losses.passes import Passes
from cl_analyze.metrics.losses.pieces import VIEWS, Pieces
from cl_analyze.metrics.losses.records import NO_OTHER_CLASS, Recorder
from cl_analyze.metrics.losses.terms import (
    Softmax,
    Terms,
    finite,
    mean_softmax,
    of_labelled,
    of_views,
)
from cl_analyze.metrics.means import Number
from cl_analyze.results.tables import Record


def gap_terms(passes: Passes) -> dict[float, Terms]:
    """tau -> DCL - NSCL among labelled rows; empty without labels."""
    if passes.subject.labels is None:
        return {}
    return {tau: _gap(passes.pieces, tau) for tau in passes.options.taus}


def _gap(p: Pieces, tau: float) -> Terms:
    """DCL less NSCL: the positives cancel."""
    same, other = p.both_views(tau, "same_class"), p.both_views(tau, "other_class")
    everyone = {view: np.logaddexp(same[view], other[view]) for view in VIEWS}
    with np.errstate(invalid="ignore"):
        value = 0.5 * sum(everyone[view] - other[view] for view in VIEWS)
    softmaxes = (
        *of_views(0.5, tau, everyone, "same_class", "other_class"),
        *of_views(-0.5, tau, other, "other_class"),
    )
    return Terms(of_labelled(p, finite(np.asarray(value))), softmaxes=softmaxes, tau=tau)


def gap_records(recorder: Recorder, gaps: dict[float, Terms]) -> list[Record]:
    """The gap beside its bound."""
    labels = recorder.passes.subject.labels
    if labels is None:
        return []
    records = []
    n, largest = int(labels.counts.sum()), int(labels.counts.max(initial=0))
    for tau, terms in gaps.items():
        gap = recorder.mean(terms, of_classes=True)
        records.append(recorder.record(GAP.at(tau=tau), gap, NO_OTHER_CLASS))
        bound = None
        if n > largest:
            ratio = math.log(largest / (n - largest)) + 2.0 / tau
            bound = Number(float(np.logaddexp(0.0, ratio)), 0.0, n)
        records.append(recorder.record(GAP_BOUND.at(tau=tau), bound, "there is only one class"))
    return records


def weight_terms(passes: Passes) -> dict[float, tuple[Terms, Terms | None]]:
    """tau -> A-InfoNCE's effective negatives, and the share of its push on the anchor's class.

    The push has the relative weights p_ij of the softmax at (1 + beta) s / tau.  The effective
    negatives are the exponential of the entropy of p_i.
    """
    terms: dict[float, tuple[Terms, Terms | None]] = {}
    for tau in passes.options.taus:
        steep = passes.constants.steeper(tau)
        log_mass, gap, of_class = passes.steeper[tau]
        with np.errstate(invalid="ignore"):
            entropy = np.clip(log_mass - (1.0 - gap) / steep, 0.0, None)
            scaled = log_mass - np.log(np.exp(entropy))
        effective = Terms(
            np.where(np.isfinite(log_mass), np.exp(entropy), np.nan),
            softmaxes=(
                mean_softmax(1.0 / steep, steep, scaled, gap),
                Softmax(1.0, steep, scaled, (("uv", "all"),)),
            ),
        )
        on_class = None
        if of_class is not None:
            labelled = passes.labelled[passes.rows]
            share = np.where(labelled, np.exp(of_class - log_mass), np.nan)
            with np.errstate(divide="ignore", invalid="ignore"):
                centre = log_mass - np.log(share)
            on_class = Terms(
                share,
                softmaxes=(
                    Softmax(1.0, steep, log_mass, (("uv", "same_class"),)),
                    Softmax(-1.0, steep, centre, (("uv", "all"),)),
                ),
            )
        terms[tau] = effective, on_class
    return terms


def weight_records(
    recorder: Recorder, weights: dict[float, tuple[Terms, Terms | None]]
) -> list[Record]:
    """Effective negatives, and with labels the false-negative share of the push."""
    records = []
    for tau, (effective, on_class) in weights.items():
        beta = recorder.passes.constants.beta
        number = recorder.mean(effective, of_classes=False)
        metric = EFFECTIVE_NEGATIVES.at(tau=tau, beta=beta)
        records.append(recorder.record(metric, number, NO_OTHER_CLASS))
        if on_class is not None:
            number = recorder.mean(on_class, of_classes=True)
            metric = FALSE_NEGATIVE_SHARE.at(tau=tau, beta=beta)
            records.append(recorder.record(metric, number, "no row is labelled"))
    return records
