"""Every loss, once: its formula from the pieces of a set of pairs, and its torch face.

`LOSSES` has the losses in the order of the output.  The torch face of a loss is a module of
`cl_analyze.losses` and its function, `SavedLoss.function`; the module names its losses in `saved`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cl_analyze.metrics.losses.dimensions import BARLOW_WEIGHT, FORMS, VICREG_WEIGHTS, Form
from cl_analyze.metrics.losses.pieces import VIEWS, Constants, Matrix, Pieces, Vector, View
from cl_analyze.metrics.losses.readings import READINGS
from cl_analyze.metrics.losses.terms import (
    Effect,
    Softmax,
    Terms,
    changed,
    coupled,
    decoupled,
    mean,
    mean_softmax,
    of_labelled,
    of_views,
    over,
)
from cl_analyze.pairs.distance_kernels import Kernel, kernel_values
from cl_analyze.results.tables import Unit

Formula = Callable[[Pieces, Constants, float], Terms]


@dataclass(frozen=True)
class SavedLoss:
    """One loss in one definition.

    Attributes:
        name, definition: as they are reported; None for a loss with one definition.
        terms: the formula, of pieces, constants and a temperature (NaN for a loss without one).
        params: names of the parameters: tau, alpha, lambda, t, gamma, sigma, bias.
        needs: `labels`, `queue`, or nothing.
        kernel: of kernel losses.
        unit: of the loss and its parts.
    """

    name: str
    definition: str | None
    terms: Formula
    params: tuple[str, ...] = ("tau",)
    needs: str = ""
    kernel: Kernel | None = None
    unit: Unit = "nats"

    @property
    def reading(self) -> str:
        """One sentence on how to read the value."""
        return READINGS[self.name, self.definition]

    @property
    def function(self) -> str:
        """The torch face: the function of `cl_analyze.losses` that has this definition."""
        return self.name if self.kernel is None else "kcl"

    def parameters(
        self, c: Constants, tau: float, n_negatives: int, n_hard: int
    ) -> dict[str, float]:
        """The parameters of a record of the loss, by name."""
        count = n_hard if "alpha" in self.params else n_negatives
        values = {
            "tau": tau,
            "alpha": c.alpha,
            "lambda": 1.0 / max(count, 1) if c.weight is None else c.weight,
            "t": c.cacr_t if self.name == "cacr" else c.t,
            "gamma": c.gamma,
            "sigma": c.sigma,
            "bias": c.siglip_bias,
        }
        return {name: values[name] for name in self.params}


# ---- InfoNCE


def _one_way(p: Pieces, tau: float, matrix: Matrix = "uv") -> Terms:
    """Wang & Liu, CVPR 2021, eq. 1."""
    negatives = p.log_mass[matrix, tau, "all"]
    return coupled(p, tau, negatives, ((matrix, "all"),), max(p.n_negatives, 1))


def _with_queue(p: Pieces, tau: float) -> Terms:
    """Eq. 1 with the queue's rows as further negatives."""
    negatives = np.logaddexp(p.log_mass["uv", tau, "all"], p.queue_mass[tau])
    return coupled(p, tau, negatives, (("uv", "all"),), p.n_negatives + p.n_queue)


def _hard_contrastive(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eqs. 8-9."""
    terms = coupled(p, tau, p.hard_mass[tau], (), p.n_hard)
    return replace(terms, softmaxes=(), effect="hard_contrastive")


def _nt_xent(p: Pieces, c: Constants, tau: float) -> Terms:
    """SimCLR's loss, a mean over the anchors of both views."""
    log_sums, count = p.both_views(tau), max(2 * p.n_negatives, 1)
    return mean(*(coupled(p, tau, log_sums[view], over(view, "all"), count) for view in VIEWS))


# ---- without the positive under the logarithm


def _dcl(p: Pieces, tau: float, views: tuple[View, ...]) -> Terms:
    """NT-Xent without the positive under the logarithm."""
    log_sums = p.both_views(tau)
    softmaxes = of_views(1.0 / len(views), tau, {view: log_sums[view] for view in views}, "all")
    return decoupled(p, softmaxes, 2 * p.n_negatives)


def _dclw(p: Pieces, c: Constants, tau: float) -> Terms:
    """DCL with weights on the positives."""
    plain = _dcl(p, tau, ("u",))
    assert plain.uniformity is not None
    top = p.every_positive.max()
    above = np.exp((p.every_positive - top) / c.sigma)
    tilted = float((above * p.every_positive).mean() / above.mean())
    share = np.exp((p.positive - top) / c.sigma) / above.mean()
    weight = 2.0 - share
    value = plain.value + (1.0 - weight) * p.positive / tau
    alignment = -weight * p.positive / tau + 0.0 * value
    # the weights' mean is 1 in every sample: how a row moves them is in its own contribution
    own = plain.value - p.positive / tau + share * (p.positive - tilted) / tau
    return replace(
        plain,
        value=value,
        alignment=alignment,
        own=(own, own - (value - alignment), plain.uniformity),
        limit=value - plain.log_count,
        push=None,
        pull=None,
    )


def _dhel(p: Pieces, tau: float, weight: float, *matrices: Matrix) -> Terms:
    """Logarithms over the anchors' own views, each with a weight; the authors' code adds both."""
    softmaxes = (
        Softmax(weight, tau, p.log_mass[matrix, tau, "all"], ((matrix, "all"),))
        for matrix in matrices
    )
    return decoupled(p, tuple(softmaxes), p.n_negatives, weight * len(matrices))


# ---- with labels


def _supcon(p: Pieces, tau: float, inside: bool) -> Terms:
    """Khosla et al., eqs. 2 and 3: the mean over positives outside or inside the logarithm."""
    same, other = p.both_views(tau, "same_class"), p.both_views(tau, "other_class")
    positives = {view: np.logaddexp(same[view], p.positive / tau) for view in VIEWS}
    totals = {view: np.logaddexp(positives[view], other[view]) for view in VIEWS}
    n_positives = np.maximum(2.0 * p.class_count - 1.0, 1.0)
    softmaxes = of_views(0.5, tau, totals, "same_class", "other_class")
    if inside:
        pull = 0.5 * (positives["u"] + positives["v"]) - np.log(n_positives)
        softmaxes = (*softmaxes, *of_views(-0.5, tau, positives, "same_class"))
    else:
        pull = 0.5 * (p.same_sum["u"] + p.same_sum["v"]) / n_positives / tau
    spread = 0.5 * (totals["u"] + totals["v"])
    value = of_labelled(p, spread - pull)
    log_count = math.log(max(2 * p.n_labelled - 1, 1))
    return Terms(
        value,
        of_labelled(p, -pull),
        of_labelled(p, spread),
        softmaxes=softmaxes,
        effect="supcon_in" if inside else "supcon_out",
        limit=value - log_count,
        log_count=log_count,
        tau=tau,
    )


def _other_count(p: Pieces) -> float:
    """Mean number of rows of other classes in both views."""
    assert p.labelled is not None
    if not p.labelled.any():
        return 1.0
    return 2.0 * (p.n_labelled - float(p.class_count[p.labelled].mean()))


def _nscl(p: Pieces, c: Constants, tau: float) -> Terms:
    """DCL with rows of other classes as the only negatives."""
    softmaxes = of_views(0.5, tau, p.both_views(tau, "other_class"), "other_class")
    return decoupled(p, softmaxes, _other_count(p))


def _nscl_official(p: Pieces, c: Constants, tau: float) -> Terms:
    """The authors' code, with the positive under the logarithm."""
    log_sums, count = p.both_views(tau, "other_class"), max(_other_count(p), 1.0)
    both = mean(
        *(coupled(p, tau, log_sums[view], over(view, "other_class"), count) for view in VIEWS)
    )
    counted = of_labelled(p, np.isfinite(log_sums["u"])) == 1.0
    return changed(both, lambda values: np.where(counted, values, np.nan))


# ---- without a temperature


def _linear(p: Pieces, c: Constants, total: Vector, count: int, effect: Effect) -> Terms:
    """Wang & Liu, eq. 3: -s_ii + lambda times a sum over `count` negatives."""
    weight = 1.0 / max(count, 1) if c.weight is None else c.weight
    spread = weight * total
    value = spread - p.positive
    one = np.ones_like(value)
    push = weight * count * one
    return Terms(value, -p.positive, spread, effect=effect, limit=value, push=push, pull=one)


def _triplet_limit(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 6: the limit of tau L as tau falls."""
    value = np.maximum(p.hardest - p.positive, 0.0)
    return Terms(value, reason="the maximum of a difference does not split", effect="hardest")


# ---- of distances


def _kcl(
    kernel: Kernel, factor: float = 2.0, aligned_by: tuple[Kernel, float] | None = None
) -> Formula:
    """-factor k(u_i, v_i) + gamma (row means of k within both views)."""

    def terms(p: Pieces, c: Constants, tau: float) -> Terms:
        by, t = aligned_by or (kernel, c.t)
        spread = c.gamma * (p.kernel["u", kernel] + p.kernel["v", kernel])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where rows coincide
            alignment: Vector = -factor * kernel_values(by, p.distance, t, np)
            value, twice = alignment + spread, 2.0 * spread
            own = (alignment + twice, alignment, twice)
        return Terms(value, alignment, spread, own=own, limit=value)

    return terms


def _cacr(p: Pieces, c: Constants, tau: float) -> Terms:
    """Attraction, minus the distances to negatives under weights that prefer near ones."""
    spread = -2.0 * p.mean_gap
    value = p.distance + spread
    softmax = mean_softmax(-2.0, c.cacr_tau, p.gap_mass, p.mean_gap)
    return Terms(value, p.distance, spread, softmaxes=(softmax,), limit=value)


def _of_kernel(kernel: Kernel, definition: str | None, terms: Formula) -> SavedLoss:
    """A kernel loss."""
    params = ("t", "gamma")
    return SavedLoss(f"kcl_{kernel}", definition, terms, params, kernel=kernel, unit="none")


# ---- each pair by itself


def _siglip(p: Pieces, c: Constants, tau: float) -> Terms:
    """Zhai et al., ICCV 2023, eq. 1: a yes or no about every pair of rows, without a softmax."""
    alignment = p.n_positives * np.logaddexp(0.0, -(p.positive / tau + c.siglip_bias))
    spread = p.softplus_sum[tau]
    return Terms(alignment + spread, alignment, spread, effect="siglip", tau=tau)


def _spectral(p: Pieces, c: Constants, tau: float) -> Terms:
    """HaoChen et al., NeurIPS 2021, eq. 6: -2 s_ii + the mean of s_ij^2 over j != i."""
    k = max(p.n_negatives, 1)
    alignment, spread = -2.0 * p.every_positive, p.squares.sent / k
    total = p.squares.sent.sum()
    without = (total - p.squares.sent - p.squares.received) / max(k - 1, 1)
    of_spread = total / k - without  # N times the mean, less N - 1 times that of the other rows
    value, own = alignment + spread, (alignment + of_spread, alignment, of_spread)
    return Terms(value, alignment, spread, own=own, limit=value, of_all=True)


# ---- of the dimensions


def _of_dimensions(alignment: Vector, spread: float, own: tuple[Vector, Vector] | None) -> Terms:
    """A loss whose spread, or all of it, is the same for every pair.

    Args:
        alignment: (N,) of each pair.
        spread: of all pairs together.
        own: pseudo-values of both.
    """
    all_of_spread = np.full(len(alignment), spread)
    value = alignment + all_of_spread
    parts = None if own is None else (own[0] + own[1], *own)
    return Terms(value, alignment, all_of_spread, own=parts, limit=value, of_all=True)


def _vicreg(form: Form) -> Formula:
    """Bardes et al., ICLR 2022, eq. 6: invariance, variance and covariance."""

    def terms(p: Pieces, c: Constants, tau: float) -> Terms:
        found, (invariance, *others) = p.dimensions[form], VICREG_WEIGHTS
        alignment = invariance * found.invariance
        spread = others[0] * found.variance + others[1] * found.covariance
        pseudo = found.pseudo_values
        own = None if pseudo is None else (alignment, np.asarray(others) @ pseudo[:2])
        return _of_dimensions(alignment, spread, own)

    return terms


def _barlow_twins(form: Form) -> Formula:
    """Zbontar et al., ICML 2021, eq. 1: the cross-correlation of the views against the identity."""

    def terms(p: Pieces, c: Constants, tau: float) -> Terms:
        found = p.dimensions[form]
        pseudo = found.pseudo_values
        own = None if pseudo is None else (pseudo[2], BARLOW_WEIGHT * pseudo[3])
        alignment = np.full(len(found.invariance), found.on_diagonal)
        return _of_dimensions(alignment, BARLOW_WEIGHT * found.off_diagonal, own)

    return terms


LOSSES: tuple[SavedLoss, ...] = (
    SavedLoss("contrastive", "one_way", lambda p, c, tau: _one_way(p, tau)),
    SavedLoss(
        "contrastive",
        "symmetric",
        lambda p, c, tau: mean(_one_way(p, tau, "uv"), _one_way(p, tau, "vu")),
    ),
    SavedLoss(  # the queue's rows are fixed: errors are those of the pairs alone
        "contrastive",
        "moco",
        lambda p, c, tau: coupled(p, tau, p.queue_mass[tau], (), p.n_queue),
        needs="queue",
    ),
    SavedLoss("contrastive", "one_way_queue", lambda p, c, tau: _with_queue(p, tau), needs="queue"),
    SavedLoss("hard_contrastive", None, _hard_contrastive, ("tau", "alpha")),
    SavedLoss("nt_xent", None, _nt_xent),
    SavedLoss("dcl", "symmetric", lambda p, c, tau: _dcl(p, tau, ("u", "v"))),
    SavedLoss("dcl", "one_way", lambda p, c, tau: _dcl(p, tau, ("u",))),
    SavedLoss("dclw", None, _dclw, ("tau", "sigma")),
    SavedLoss("dhel", "symmetric", lambda p, c, tau: _dhel(p, tau, 0.5, "uu", "vv")),
    SavedLoss("dhel", "one_sided", lambda p, c, tau: _dhel(p, tau, 1.0, "uu")),
    SavedLoss("dhel", "official", lambda p, c, tau: _dhel(p, tau, 1.0, "uu", "vv")),
    SavedLoss("supcon", "out", lambda p, c, tau: _supcon(p, tau, False), needs="labels"),
    SavedLoss("supcon", "in", lambda p, c, tau: _supcon(p, tau, True), needs="labels"),
    SavedLoss("nscl", "decoupled", _nscl, needs="labels"),
    SavedLoss("nscl", "official", _nscl_official, needs="labels"),
    SavedLoss(
        "simple",
        None,
        lambda p, c, tau: _linear(p, c, p.negative_sum, p.n_negatives, "simple"),
        ("lambda",),
        unit="cosine",
    ),
    SavedLoss(  # section 5.5
        "hard_simple",
        None,
        lambda p, c, tau: _linear(p, c, p.hard_sum, p.n_hard, "hard_simple"),
        ("alpha", "lambda"),
        unit="cosine",
    ),
    SavedLoss("triplet_limit", None, _triplet_limit, (), unit="cosine"),
    _of_kernel("gaussian", None, _kcl("gaussian")),
    _of_kernel("log", "consistent", _kcl("log")),
    _of_kernel("log", "official", _kcl("log", factor=4.0)),
    _of_kernel("imq", None, _kcl("imq")),
    _of_kernel("riesz", "consistent", _kcl("riesz")),
    _of_kernel("riesz", "gaussian_riesz", _kcl("riesz", aligned_by=("gaussian", 2.0))),
    SavedLoss("cacr", None, _cacr, ("t",), unit="squared_distance"),
    SavedLoss("siglip", None, _siglip, ("tau", "bias")),
    SavedLoss("spectral_contrastive", None, _spectral, (), unit="none"),
    *(SavedLoss("vicreg", form, _vicreg(form), (), unit="none") for form in FORMS),
    *(SavedLoss("barlow_twins", form, _barlow_twins(form), (), unit="none") for form in FORMS),
)

OTHER_LOSSES = {"icl_mmd": "icl", "clop": "clop", "a_infonce": "a_infonce"}
"""Reported losses that are not made of pieces (class_means.py), and their torch functions."""

TORCH_ONLY = {("icl", "exponential"): "the repulsion needs the distances of all pairs of a class"}
"""Functions and definitions of `cl_analyze.losses` that are not reported, and why."""
