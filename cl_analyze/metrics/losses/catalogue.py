"""Every loss, once: from the pieces of a set of pairs to one value for each pair.

A loss is a mean over pairs of an alignment part and a uniformity part.  The uniformity part of the
softmax losses is a sum of log-sum-exps over rows that other pairs share.  `Softmax` names these
sums: an error bar needs to know how a row acts as a negative of the others.

`LOSSES` has the losses in the order of the output, each declared at its formula.  The torch face of
a loss is a module of `cl_analyze.losses` and its function, `SavedLoss.function`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from cl_analyze.metrics.losses.pieces import VIEWS, Constants, Matrix, Pieces, Vector, View
from cl_analyze.pairs.kernels import Kernel, kernel_values
from cl_analyze.pairs.tile import PairSet

Candidates = tuple[tuple[Matrix, PairSet], ...]
"""Sets of rows that a softmax runs over: matrix of similarities, and which of its pairs."""

Effect = Literal["simple", "hard_contrastive", "hard_simple", "hardest", "supcon_out", "supcon_in"]
"""How a row acts on the losses of others, beside the softmaxes; see influence.py."""


@dataclass(frozen=True)
class Softmax:
    """weight * log Z_i in a loss, or weight times the mean of 1 - s under the softmax.

    Attributes:
        weight: the factor.
        tau: temperature of Z_i.
        log_total: (m,) log Z_i; that of a mean with a factor f_i is log Z_i - log f_i.
        over: the candidates in Z_i.
        log_centre: (m,) of a mean, log_total less the log of the mean; None for log Z_i.
    """

    weight: float
    tau: float
    log_total: Vector
    over: Candidates
    log_centre: Vector | None = None


@dataclass(frozen=True)
class Terms:
    """A loss of each pair.

    Attributes:
        value: (m,), NaN for a pair that has no value.
        alignment, uniformity: (m,) the two parts; None for a loss that does not split.
        reason: why the loss does not split.
        softmaxes: how rows act as negatives; negative weights belong to the alignment.
        effect: how they act otherwise.
        own: what a pair contributes as an anchor to the error of the mean of value, alignment and
            uniformity; None: these three themselves.
        limit: (m,) the loss without the part that fades as the number of negatives K grows, minus
            log_count; None for a loss without such a limit.
        log_count: log K as it enters the loss.
        tau: the temperature; NaN for a loss without one.
        push: (m,) sum over the negatives of dL/ds; None where it is not given.
        pull: (m,) -dL/ds of the positive.
    """

    value: Vector
    alignment: Vector | None = None
    uniformity: Vector | None = None
    reason: str = ""
    softmaxes: tuple[Softmax, ...] = ()
    effect: Effect | None = None
    own: tuple[Vector, Vector, Vector] | None = None
    limit: Vector | None = None
    log_count: float = 0.0
    tau: float = math.nan
    push: Vector | None = None
    pull: Vector | None = None


Formula = Callable[[Pieces, Constants, float], Terms]


@dataclass(frozen=True)
class SavedLoss:
    """One loss in one definition.

    Attributes:
        name, definition: as they are reported; None for a loss with one definition.
        reading: one sentence on how to read the value.
        terms: the values, from pieces, constants and a temperature (NaN for a loss without one).
        params: names of the parameters: tau, alpha, lambda, t, gamma, sigma.
        needs: `labels`, `queue`, or nothing.
        kernel: of kernel losses.
    """

    name: str
    definition: str | None
    reading: str
    terms: Formula
    params: tuple[str, ...] = ("tau",)
    needs: str = ""
    kernel: Kernel | None = None

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
        }
        return {name: values[name] for name in self.params}


LOSSES: list[SavedLoss] = []

OTHER_LOSSES = {
    "icl_mmd": "How far apart the classes' mean rows are; 0 where they cannot be told apart.",
    "clop": "How far rows are from their class's anchor: 0 on it, 1 at right angles.",
    "a_infonce": "Same value as symmetric InfoNCE; its weights are what differs.",
}
"""Losses that are reported but not made of pieces (class_means.py), and how to read them."""

TORCH_ONLY = {
    ("icl", "exponential"): "its repulsion needs the distance of every pair of a class",
}
"""Functions and definitions of `cl_analyze.losses` that are not reported, and why."""


def reading_of(name: str, definition: str | None) -> str:
    """How to read a loss; empty for an unknown name."""
    readings = {(loss.name, loss.definition): loss.reading for loss in LOSSES}
    return readings.get((name, definition), OTHER_LOSSES.get(name, ""))


def _loss(
    name: str,
    definition: str | None,
    reading: str,
    params: tuple[str, ...] = ("tau",),
    needs: str = "",
) -> Callable[[Formula], Formula]:
    """Enter a formula into `LOSSES`; see `SavedLoss`."""

    def enter(terms: Formula) -> Formula:
        LOSSES.append(SavedLoss(name, definition, reading, terms, params, needs))
        return terms

    return enter


def _changed(terms: Terms, change: Callable[..., Vector], *others: Terms) -> Terms:
    """The terms with a change of every vector that they (and the others) have."""
    changes: dict[str, Any] = {}
    for name in ("value", "alignment", "uniformity", "limit", "push", "pull"):
        vectors = [getattr(one, name) for one in (terms, *others)]
        changes[name] = None if any(vector is None for vector in vectors) else change(*vectors)
    return replace(terms, **changes)


def _mean(first: Terms, second: Terms) -> Terms:
    """The mean of two directions."""
    softmaxes = tuple(
        replace(softmax, weight=0.5 * softmax.weight)
        for softmax in (*first.softmaxes, *second.softmaxes)
    )
    half = _changed(first, lambda a, b: 0.5 * (a + b), second)
    return replace(half, softmaxes=softmaxes)


def _coupled(p: Pieces, tau: float, negatives: Vector, over: Candidates, count: float) -> Terms:
    """-s_ii / tau + log(exp(s_ii / tau) + exp(negatives))."""
    pull = p.positive / tau
    log_total = np.logaddexp(pull, negatives)
    # the decoupled loss through softplus: exact where the loss is tiny
    value = np.logaddexp(0.0, negatives - pull)
    share = np.exp(negatives - log_total)
    return Terms(
        value,
        -pull,
        log_total,
        softmaxes=(Softmax(1.0, tau, log_total, over),),
        limit=negatives - pull - math.log(count),
        log_count=math.log(count),
        tau=tau,
        push=share / tau,
        pull=-np.expm1(pull - log_total) / tau,
    )


def _decoupled(
    p: Pieces, softmaxes: tuple[Softmax, ...], count: float, weight: float = 1.0
) -> Terms:
    """-s_ii / tau + sum of weighted log-sum-exps without the positive."""
    tau = softmaxes[0].tau
    pull = p.positive / tau
    spread = sum((s.weight * s.log_total for s in softmaxes), np.zeros_like(pull))
    value = _finite(spread - pull)
    log_count = weight * math.log(max(count, 1))
    there = np.where(np.isfinite(value), 1.0, np.nan)
    return Terms(
        value,
        -pull + 0.0 * value,
        _finite(spread),
        softmaxes=softmaxes,
        limit=value - log_count,
        log_count=log_count,
        tau=tau,
        push=weight * there / tau,
        pull=there / tau,
    )


def _finite(values: Vector) -> Vector:
    kept: Vector = np.where(np.isfinite(values), values, np.nan)
    return kept


def _over(view: View, *pair_sets: PairSet) -> Candidates:
    """Rows of both views, of the anchors of one view."""
    matrices: tuple[Matrix, Matrix] = ("uu", "uv") if view == "u" else ("vv", "vu")
    return tuple((matrix, pairs) for pairs in pair_sets for matrix in matrices)


# ---- InfoNCE


def _one_direction(p: Pieces, tau: float, matrix: Matrix) -> Terms:
    negatives = p.log_mass[matrix, tau, "all"]
    return _coupled(p, tau, negatives, ((matrix, "all"),), max(p.n_negatives, 1))


@_loss(
    "contrastive",
    "one_way",
    "InfoNCE: nats to tell the positive from the others; 0 is perfect, log N chance.",
)
def one_way(p: Pieces, c: Constants, tau: float) -> Terms:
    """Wang & Liu, eq. 1."""
    return _one_direction(p, tau, "uv")


@_loss("contrastive", "symmetric", "InfoNCE averaged over both directions, as CLIP trains it.")
def symmetric(p: Pieces, c: Constants, tau: float) -> Terms:
    """Both directions, as CLIP."""
    return _mean(_one_direction(p, tau, "uv"), _one_direction(p, tau, "vu"))


@_loss("contrastive", "moco", "InfoNCE against the queue alone, as MoCo trains it.", needs="queue")
def moco(p: Pieces, c: Constants, tau: float) -> Terms:
    """The queue's rows as negatives (they are fixed: errors are those of the pairs alone)."""
    return _coupled(p, tau, p.queue_mass[tau], (), p.n_queue)


@_loss(
    "contrastive",
    "one_way_queue",
    "InfoNCE against the other rows and the queue together.",
    needs="queue",
)
def one_way_queue(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 1 with the queue's rows as further negatives."""
    negatives = np.logaddexp(p.log_mass["uv", tau, "all"], p.queue_mass[tau])
    return _coupled(p, tau, negatives, (("uv", "all"),), p.n_negatives + p.n_queue)


@_loss(
    "hard_contrastive",
    None,
    "InfoNCE against the hardest negatives alone: at large tau it still sees them.",
    ("tau", "alpha"),
)
def hard_contrastive(p: Pieces, c: Constants, tau: float) -> Terms:
    """Wang & Liu, eqs. 8-9."""
    terms = _coupled(p, tau, p.hard_mass[tau], (), p.n_hard)
    return replace(terms, softmaxes=(), effect="hard_contrastive")


@_loss(
    "nt_xent",
    None,
    "SimCLR's InfoNCE, with the negatives of both views; chance is log(2N - 1).",
)
def nt_xent(p: Pieces, c: Constants, tau: float) -> Terms:
    """SimCLR's loss, a mean over the anchors of both views."""
    log_sums, count = p.both_views(tau), max(2 * p.n_negatives, 1)
    of_u, of_v = (_coupled(p, tau, log_sums[view], _over(view, "all"), count) for view in VIEWS)
    return _mean(of_u, of_v)


# ---- without the positive under the logarithm


@_loss(
    "dcl",
    "symmetric",
    "NT-Xent without the positive in the sum: still falls when InfoNCE has reached 0.",
)
def dcl(p: Pieces, c: Constants, tau: float) -> Terms:
    """NT-Xent without the positive under the logarithm."""
    return _decoupled(p, _of_both_views(0.5, tau, p.both_views(tau), "all"), 2 * p.n_negatives)


@_loss("dcl", "one_way", "DCL for anchors of the first view alone.")
def dcl_one_way(p: Pieces, c: Constants, tau: float) -> Terms:
    """The same for anchors u alone."""
    of_u = Softmax(1.0, tau, p.both_views(tau)["u"], _over("u", "all"))
    return _decoupled(p, (of_u,), 2 * p.n_negatives)


@_loss(
    "dclw",
    None,
    "DCL that weighs well-aligned pairs less; compare it at equal tau only.",
    ("tau", "sigma"),
)
def dclw(p: Pieces, c: Constants, tau: float) -> Terms:
    """DCL with weights on the positives."""
    plain = dcl_one_way(p, c, tau)
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


def _dhel(p: Pieces, tau: float, weight: float, matrices: tuple[Matrix, ...]) -> Terms:
    """Logarithms over the anchors' own views, each with a weight."""
    softmaxes = (
        Softmax(weight, tau, p.log_mass[matrix, tau, "all"], ((matrix, "all"),))
        for matrix in matrices
    )
    return _decoupled(p, tuple(softmaxes), p.n_negatives, weight * len(matrices))


@_loss(
    "dhel",
    "symmetric",
    "Alignment apart from each view's own energy; lower is better aligned or spread.",
)
def dhel(p: Pieces, c: Constants, tau: float) -> Terms:
    """The mean over both views."""
    return _dhel(p, tau, 0.5, ("uu", "vv"))


@_loss("dhel", "one_sided", "DHEL with the first view's energy.")
def dhel_one_sided(p: Pieces, c: Constants, tau: float) -> Terms:
    """The logarithm over the anchor's own view, u."""
    return _dhel(p, tau, 1.0, ("uu",))


@_loss(
    "dhel",
    "official",
    "The authors' code: both energies added, so alignment weighs half as much.",
)
def dhel_official(p: Pieces, c: Constants, tau: float) -> Terms:
    """As the authors' code: both logarithms added."""
    return _dhel(p, tau, 1.0, ("uu", "vv"))


# ---- with labels


def _of_labelled(p: Pieces, values: Vector) -> Vector:
    assert p.labelled is not None
    kept: Vector = np.where(p.labelled, values, np.nan)
    return kept


def _of_both_views(
    weight: float, tau: float, log_totals: dict[View, Vector], *pair_sets: PairSet
) -> tuple[Softmax, ...]:
    return tuple(Softmax(weight, tau, log_totals[view], _over(view, *pair_sets)) for view in VIEWS)


def _supcon(p: Pieces, tau: float, inside: bool) -> Terms:
    """The mean over positives inside or outside the logarithm, for anchors of both views."""
    same, other = p.both_views(tau, "same_class"), p.both_views(tau, "other_class")
    positives = {view: np.logaddexp(same[view], p.positive / tau) for view in VIEWS}
    totals = {view: np.logaddexp(positives[view], other[view]) for view in VIEWS}
    n_positives = np.maximum(2.0 * p.class_count - 1.0, 1.0)
    softmaxes = _of_both_views(0.5, tau, totals, "same_class", "other_class")
    if inside:
        pull = 0.5 * (positives["u"] + positives["v"]) - np.log(n_positives)
        softmaxes = (*softmaxes, *_of_both_views(-0.5, tau, positives, "same_class"))
    else:
        pull = 0.5 * (p.same_sum["u"] + p.same_sum["v"]) / n_positives / tau
    spread = 0.5 * (totals["u"] + totals["v"])
    value = _of_labelled(p, spread - pull)
    log_count = math.log(max(2 * p.n_labelled - 1, 1))
    return Terms(
        value,
        _of_labelled(p, -pull),
        _of_labelled(p, spread),
        softmaxes=softmaxes,
        effect="supcon_in" if inside else "supcon_out",
        limit=value - log_count,
        log_count=log_count,
        tau=tau,
    )


@_loss(
    "supcon",
    "out",
    "Rows of one class as positives; collapsed classes on a simplex minimise it.",
    needs="labels",
)
def supcon_out(p: Pieces, c: Constants, tau: float) -> Terms:
    """Khosla et al., eq. 2: the mean over positives outside the logarithm."""
    return _supcon(p, tau, inside=False)


@_loss(
    "supcon",
    "in",
    "SupCon with the mean inside the logarithm; never above the other form.",
    needs="labels",
)
def supcon_in(p: Pieces, c: Constants, tau: float) -> Terms:
    """Khosla et al., eq. 3: the mean over positives inside the logarithm."""
    return _supcon(p, tau, inside=True)


def _other_count(p: Pieces) -> float:
    """Mean number of rows of other classes in both views."""
    assert p.labelled is not None
    if not p.labelled.any():
        return 1.0
    return 2.0 * (p.n_labelled - float(p.class_count[p.labelled].mean()))


@_loss(
    "nscl",
    "decoupled",
    "DCL without false negatives; its gap to dcl is what these cost.",
    needs="labels",
)
def nscl(p: Pieces, c: Constants, tau: float) -> Terms:
    """DCL with rows of other classes as the only negatives."""
    log_sums = p.both_views(tau, "other_class")
    return _decoupled(p, _of_both_views(0.5, tau, log_sums, "other_class"), _other_count(p))


@_loss(
    "nscl",
    "official",
    "NSCL with the positive in the sum, as its authors' code.",
    needs="labels",
)
def nscl_official(p: Pieces, c: Constants, tau: float) -> Terms:
    """The authors' code, with the positive under the logarithm."""
    log_sums, count = p.both_views(tau, "other_class"), max(_other_count(p), 1.0)
    of_u, of_v = (
        _coupled(p, tau, log_sums[view], _over(view, "other_class"), count) for view in VIEWS
    )
    counted = _of_labelled(p, np.isfinite(log_sums["u"])) == 1.0
    return _changed(_mean(of_u, of_v), lambda values: np.where(counted, values, np.nan))


def dcl_nscl_gap(p: Pieces, tau: float) -> Terms:
    """DCL less NSCL among the labelled rows: the positives cancel."""
    same, other = p.both_views(tau, "same_class"), p.both_views(tau, "other_class")
    everyone = {view: np.logaddexp(same[view], other[view]) for view in VIEWS}
    with np.errstate(invalid="ignore"):
        value = 0.5 * sum(everyone[view] - other[view] for view in VIEWS)
    softmaxes = (
        *_of_both_views(0.5, tau, everyone, "same_class", "other_class"),
        *_of_both_views(-0.5, tau, other, "other_class"),
    )
    return Terms(_of_labelled(p, _finite(np.asarray(value))), softmaxes=softmaxes, tau=tau)


# ---- without a temperature


def _linear(p: Pieces, c: Constants, total: Vector, count: int, effect: Effect) -> Terms:
    """-s_ii + lambda times a sum over `count` negatives."""
    weight = 1.0 / max(count, 1) if c.weight is None else c.weight
    spread = weight * total
    value = spread - p.positive
    one = np.ones_like(value)
    return Terms(
        value,
        -p.positive,
        spread,
        effect=effect,
        limit=value,
        push=weight * count * one,
        pull=one,
    )


@_loss(
    "simple",
    None,
    "The limit of large tau: every negative counts alike, whatever its distance.",
    ("lambda",),
)
def simple(p: Pieces, c: Constants, tau: float) -> Terms:
    """Wang & Liu, eq. 3."""
    return _linear(p, c, p.negative_sum, p.n_negatives, "simple")


@_loss(
    "hard_simple",
    None,
    "The simple loss over the hardest negatives, which restores what large tau loses.",
    ("alpha", "lambda"),
)
def hard_simple(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 3 over the hardest negatives (section 5.5)."""
    return _linear(p, c, p.hard_sum, p.n_hard, "hard_simple")


@_loss(
    "triplet_limit",
    None,
    "The limit of small tau: how far the hardest negative is ahead of the positive.",
    (),
)
def triplet_limit(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 6: the limit of tau L as tau falls."""
    value = np.maximum(p.hardest - p.positive, 0.0)
    return Terms(value, reason="the maximum of a difference does not split", effect="hardest")


# ---- of distances


def _kernel_loss(
    kernel: Kernel, factor: float = 2.0, aligned_by: tuple[Kernel, float] | None = None
) -> Formula:
    """KCL: -factor k(u_i, v_i) + gamma (row means of k within both views)."""

    def terms(p: Pieces, c: Constants, tau: float) -> Terms:
        by, t = aligned_by or (kernel, c.t)
        spread = c.gamma * (p.kernel["u", kernel] + p.kernel["v", kernel])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where rows coincide
            alignment: Vector = -factor * kernel_values(by, p.distance, t, np)
            value, twice = alignment + spread, 2.0 * spread
            own = (alignment + twice, alignment, twice)
        return Terms(value, alignment, spread, own=own, limit=value)

    return terms


_KERNEL_LOSSES: tuple[tuple[Kernel, str | None, Formula, str], ...] = (
    (
        "gaussian",
        None,
        _kernel_loss("gaussian"),
        "Alignment and Gaussian energy; its value does not depend on the batch size.",
    ),
    (
        "log",
        "consistent",
        _kernel_loss("log"),
        "Alignment and logarithmic energy, one kernel for both.",
    ),
    (
        "log",
        "official",
        _kernel_loss("log", factor=4.0),
        "The authors' code, whose alignment weighs twice as much.",
    ),
    (
        "imq",
        None,
        _kernel_loss("imq"),
        "Alignment and inverse multiquadric energy, which reaches far pairs too.",
    ),
    (
        "riesz",
        "consistent",
        _kernel_loss("riesz"),
        "Alignment and Riesz energy, decided by the nearest pairs.",
    ),
    (
        "riesz",
        "gaussian_riesz",
        _kernel_loss("riesz", aligned_by=("gaussian", 2.0)),
        "Riesz energy with Gaussian alignment, finite where views coincide.",
    ),
)
LOSSES.extend(
    SavedLoss(f"kcl_{kernel}", definition, reading, formula, ("t", "gamma"), kernel=kernel)
    for kernel, definition, formula, reading in _KERNEL_LOSSES
)


@_loss(
    "cacr",
    None,
    "Distance to the positive minus that to negatives, near ones weighing more.",
    ("t",),
)
def cacr(p: Pieces, c: Constants, tau: float) -> Terms:
    """Attraction, minus the distances to negatives under weights that prefer near ones."""
    spread = -2.0 * p.mean_gap
    value = p.distance + spread
    softmax = mean_softmax(-2.0, c.cacr_tau, p.gap_mass, p.mean_gap)
    return Terms(value, p.distance, spread, softmaxes=(softmax,), limit=value)


def mean_softmax(weight: float, tau: float, log_total: Vector, mean: Vector) -> Softmax:
    """weight times the mean of 1 - s under the softmax over the rows of the other view."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_centre = log_total - np.log(mean)
    return Softmax(weight, tau, log_total, (("uv", "all"),), log_centre)
