"""Every loss, once: from the pieces of a set of pairs to one value for each pair.

A loss is a mean over pairs of an alignment part and a uniformity part.  The uniformity part of the
softmax losses is a sum of log-sum-exps over rows that other pairs share, which are named here too
(`Softmax`): whoever computes an error needs to know how a row acts as a negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from cl_analyze.metrics.losses.pieces import VIEWS, Constants, Matrix, Pieces, Vector, View
from cl_analyze.pairs.kernels import Kernel, kernel_values
from cl_analyze.pairs.tile import PairSet

Effect = Literal[
    "none",
    "simple",
    "hard_contrastive",
    "hard_simple",
    "hardest",
    "cacr",
    "supcon_out",
    "supcon_in",
    "kernel",
]


@dataclass(frozen=True)
class Softmax:
    """weight * log Z_i in a loss, with Z_i over some sets of candidates and what else is in it.

    Attributes:
        weight: its factor.
        tau: temperature of Z_i.
        log_total: (m,) log Z_i.
        over: the sets of candidates: matrix and pairs.
    """

    weight: float
    tau: float
    log_total: Vector
    over: tuple[tuple[Matrix, PairSet], ...]


@dataclass(frozen=True)
class Terms:
    """A loss of each pair.

    Attributes:
        value: (m,), NaN where a pair has none.
        alignment, uniformity: (m,) its parts; None where it does not split.
        reason: why it does not.
        softmaxes: how rows act as negatives.
        effect: how they act otherwise.
        own: (m,) what a pair contributes to the mean's error as an anchor; None: its value.
        limit: (m,) the loss without what fades as the number of negatives K grows, minus
            log_count; None where there is no such limit.
        log_count: log K as it enters the loss.
        tau: the temperature; NaN where there is none.
        push: (m,) sum over the negatives of dL/ds; None where it is not given.
        pull: (m,) -dL/ds of the positive.
    """

    value: Vector
    alignment: Vector | None
    uniformity: Vector | None
    reason: str = ""
    softmaxes: tuple[Softmax, ...] = ()
    effect: Effect = "none"
    own: Vector | None = None
    limit: Vector | None = None
    log_count: float = 0.0
    tau: float = math.nan
    push: Vector | None = None
    pull: Vector | None = None


@dataclass(frozen=True)
class SavedLoss:
    """One loss in one definition.

    Attributes:
        name, definition: as they are reported.
        terms: its values, from pieces, constants and a temperature (NaN where it has none).
        needs: `labels`, `queue`, or nothing.
        params: names of its parameters: tau, alpha, lambda, t, gamma, sigma, beta.
        kernel: of kernel losses.
        reading: one sentence on how to read it.
    """

    name: str
    definition: str | None
    terms: Callable[[Pieces, Constants, float], Terms]
    params: tuple[str, ...] = ("tau",)
    needs: str = ""
    kernel: Kernel | None = None
    reading: str = ""


def _finite(values: Vector) -> Vector:
    found: Vector = np.where(np.isfinite(values), values, np.nan)
    return found


def _coupled(
    p: Pieces, tau: float, negatives: Vector, over: tuple[tuple[Matrix, PairSet], ...], count: float
) -> Terms:
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


def _mean(first: Terms, second: Terms) -> Terms:
    """The mean of two directions."""

    def half(a: Vector | None, b: Vector | None) -> Vector | None:
        return None if a is None or b is None else 0.5 * (a + b)

    value = 0.5 * (first.value + second.value)
    return Terms(
        value,
        half(first.alignment, second.alignment),
        half(first.uniformity, second.uniformity),
        softmaxes=tuple(
            Softmax(0.5 * s.weight, s.tau, s.log_total, s.over)
            for s in (*first.softmaxes, *second.softmaxes)
        ),
        limit=half(first.limit, second.limit),
        log_count=first.log_count,
        tau=first.tau,
        push=half(first.push, second.push),
        pull=half(first.pull, second.pull),
    )


def _one_direction(p: Pieces, tau: float, matrix: Matrix) -> Terms:
    return _coupled(
        p, tau, p.log_mass[matrix, tau, "all"], ((matrix, "all"),), max(p.n_negatives, 1)
    )


def one_way(p: Pieces, c: Constants, tau: float) -> Terms:
    """Wang & Liu, eq. 1."""
    return _one_direction(p, tau, "uv")


def symmetric(p: Pieces, c: Constants, tau: float) -> Terms:
    """Both directions, as CLIP."""
    return _mean(_one_direction(p, tau, "uv"), _one_direction(p, tau, "vu"))


def moco(p: Pieces, c: Constants, tau: float) -> Terms:
    """The queue's rows as negatives (they are fixed: errors are those of the pairs alone)."""
    return _coupled(p, tau, p.queue_mass[tau], (), p.n_queue)


def one_way_queue(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 1 with the queue's rows as further negatives."""
    negatives = np.logaddexp(p.log_mass["uv", tau, "all"], p.queue_mass[tau])
    return _coupled(p, tau, negatives, (("uv", "all"),), p.n_negatives + p.n_queue)


def hard_contrastive(p: Pieces, c: Constants, tau: float) -> Terms:
    """Wang & Liu, eqs. 8-9."""
    found = _coupled(p, tau, p.hard_mass[tau], (), p.n_hard)
    return replace(found, softmaxes=(), effect="hard_contrastive")


def simple(p: Pieces, c: Constants, tau: float) -> Terms:
    """Wang & Liu, eq. 3."""
    weight = 1.0 / max(p.n_negatives, 1) if c.weight is None else c.weight
    spread = weight * p.negative_sum
    value = spread - p.positive
    one = np.ones_like(value)
    return Terms(
        value,
        -p.positive,
        spread,
        effect="simple",
        limit=value,
        push=weight * p.n_negatives * one,
        pull=one,
    )


def hard_simple(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 3 over the hardest negatives (section 5.5)."""
    weight = 1.0 / p.n_hard if c.weight is None else c.weight
    spread = weight * p.hard_sum
    value = spread - p.positive
    one = np.ones_like(value)
    return Terms(
        value,
        -p.positive,
        spread,
        effect="hard_simple",
        limit=value,
        push=weight * p.n_hard * one,
        pull=one,
    )


def triplet_limit(p: Pieces, c: Constants, tau: float) -> Terms:
    """Eq. 6: what tau L tends to as tau falls."""
    value = np.maximum(p.hardest - p.positive, 0.0)
    return Terms(value, None, None, "the maximum of a difference does not split", effect="hardest")


def _both_views(p: Pieces, tau: float, pairs: PairSet = "all") -> tuple[Vector, Vector]:
    return (
        np.logaddexp(p.log_mass["uu", tau, pairs], p.log_mass["uv", tau, pairs]),
        np.logaddexp(p.log_mass["vv", tau, pairs], p.log_mass["vu", tau, pairs]),
    )


def _over(view: View, pairs: PairSet = "all") -> tuple[tuple[Matrix, PairSet], ...]:
    return (("uu", pairs), ("uv", pairs)) if view == "u" else (("vv", pairs), ("vu", pairs))


def nt_xent(p: Pieces, c: Constants, tau: float) -> Terms:
    """SimCLR's loss, a mean over the anchors of both views."""
    of_u, of_v = _both_views(p, tau)
    count = max(2 * p.n_negatives, 1)
    return _mean(
        _coupled(p, tau, of_u, _over("u"), count), _coupled(p, tau, of_v, _over("v"), count)
    )


def _decoupled(
    pull: Vector, tau: float, softmaxes: tuple[Softmax, ...], count: float, weight: float = 1.0
) -> Terms:
    """-pull + sum of weighted log-sum-exps without the positive."""
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


def dcl(p: Pieces, c: Constants, tau: float) -> Terms:
    """NT-Xent without the positive under the logarithm."""
    of_u, of_v = _both_views(p, tau)
    softmaxes = (Softmax(0.5, tau, of_u, _over("u")), Softmax(0.5, tau, of_v, _over("v")))
    return _decoupled(p.positive / tau, tau, softmaxes, 2 * p.n_negatives)


def dcl_one_way(p: Pieces, c: Constants, tau: float) -> Terms:
    """The same for anchors u alone."""
    of_u, _ = _both_views(p, tau)
    return _decoupled(
        p.positive / tau, tau, (Softmax(1.0, tau, of_u, _over("u")),), 2 * p.n_negatives
    )


def dclw(p: Pieces, c: Constants, tau: float) -> Terms:
    """DCL with weights on the positives."""
    found = dcl_one_way(p, c, tau)
    top = p.every_positive.max()
    above = np.exp((p.every_positive - top) / c.sigma)
    tilted = float((above * p.every_positive).mean() / above.mean())
    share = np.exp((p.positive - top) / c.sigma) / above.mean()
    weight = 2.0 - share
    change = (1.0 - weight) * p.positive / tau
    value = found.value + change
    # the weights' mean is 1 in every sample: how a row moves them is in its own contribution
    own = found.value - p.positive / tau + share * (p.positive - tilted) / tau
    return replace(
        found,
        value=value,
        alignment=-weight * p.positive / tau + 0.0 * value,
        own=own,
        limit=value - found.log_count,
        push=None,
        pull=None,
    )


def dhel_one_sided(p: Pieces, c: Constants, tau: float) -> Terms:
    """The logarithm over the anchor's own view, u."""
    softmaxes = (Softmax(1.0, tau, p.log_mass["uu", tau, "all"], (("uu", "all"),)),)
    return _decoupled(p.positive / tau, tau, softmaxes, p.n_negatives)


def dhel(p: Pieces, c: Constants, tau: float) -> Terms:
    """The mean over both views."""
    softmaxes = (
        Softmax(0.5, tau, p.log_mass["uu", tau, "all"], (("uu", "all"),)),
        Softmax(0.5, tau, p.log_mass["vv", tau, "all"], (("vv", "all"),)),
    )
    return _decoupled(p.positive / tau, tau, softmaxes, p.n_negatives)


def dhel_official(p: Pieces, c: Constants, tau: float) -> Terms:
    """As the authors' code: both logarithms added."""
    softmaxes = (
        Softmax(1.0, tau, p.log_mass["uu", tau, "all"], (("uu", "all"),)),
        Softmax(1.0, tau, p.log_mass["vv", tau, "all"], (("vv", "all"),)),
    )
    return _decoupled(p.positive / tau, tau, softmaxes, p.n_negatives, weight=2.0)


def _kernel_loss(
    kernel: Kernel, factor: float = 2.0, aligned_by: tuple[Kernel, float] | None = None
) -> Callable[[Pieces, Constants, float], Terms]:
    """-factor k(u_i, v_i) + gamma (row means of k within both views)."""

    def terms(p: Pieces, c: Constants, tau: float) -> Terms:
        by, t = aligned_by or (kernel, c.t)
        spread = c.gamma * (p.kernel["u", kernel] + p.kernel["v", kernel])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # where rows coincide
            alignment: Vector = -factor * kernel_values(by, p.distance, t, np)
            value, own = alignment + spread, alignment + 2.0 * spread
        return Terms(value, alignment, spread, effect="kernel", own=own, limit=value)

    return terms


def _supcon_totals(p: Pieces, tau: float) -> tuple[dict[View, Vector], dict[View, Vector]]:
    """log sums over all labelled rows, and over the positives, of anchors u and v."""
    totals: dict[View, Vector] = {}
    inside: dict[View, Vector] = {}
    same, other = _both_views(p, tau, "same_class"), _both_views(p, tau, "other_class")
    for at, view in enumerate(VIEWS):
        inside[view] = np.logaddexp(same[at], p.positive / tau)
        totals[view] = np.logaddexp(inside[view], other[at])
    return totals, inside


def _of_labelled(p: Pieces, values: Vector) -> Vector:
    assert p.labelled is not None
    kept: Vector = np.where(p.labelled, values, np.nan)
    return kept


def _class_softmaxes(
    weight: float, tau: float, logs: dict[View, Vector], pairs: tuple[PairSet, ...]
) -> tuple[Softmax, ...]:
    return tuple(
        Softmax(
            weight, tau, logs[view], tuple(part for name in pairs for part in _over(view, name))
        )
        for view in VIEWS
    )


def supcon_out(p: Pieces, c: Constants, tau: float) -> Terms:
    """Khosla et al., eq. 2: the mean over positives outside the logarithm."""
    totals, _ = _supcon_totals(p, tau)
    n_positives = np.maximum(2.0 * p.class_count - 1.0, 1.0)
    pull = 0.5 * (p.same_sum["u"] + p.same_sum["v"]) / n_positives / tau
    spread = 0.5 * (totals["u"] + totals["v"])
    value = _of_labelled(p, spread - pull)
    return Terms(
        value,
        _of_labelled(p, -pull),
        _of_labelled(p, spread),
        softmaxes=_class_softmaxes(0.5, tau, totals, ("same_class", "other_class")),
        effect="supcon_out",
        limit=value - math.log(max(2 * p.n_labelled - 1, 1)),
        log_count=math.log(max(2 * p.n_labelled - 1, 1)),
        tau=tau,
    )


def supcon_in(p: Pieces, c: Constants, tau: float) -> Terms:
    """Khosla et al., eq. 3: the mean over positives inside the logarithm."""
    totals, inside = _supcon_totals(p, tau)
    n_positives = np.maximum(2.0 * p.class_count - 1.0, 1.0)
    pull = 0.5 * (inside["u"] + inside["v"]) - np.log(n_positives)
    spread = 0.5 * (totals["u"] + totals["v"])
    value = _of_labelled(p, spread - pull)
    return Terms(
        value,
        _of_labelled(p, -pull),
        _of_labelled(p, spread),
        softmaxes=(
            *_class_softmaxes(0.5, tau, totals, ("same_class", "other_class")),
            *_class_softmaxes(-0.5, tau, inside, ("same_class",)),
        ),
        effect="supcon_in",
        limit=value - math.log(max(2 * p.n_labelled - 1, 1)),
        log_count=math.log(max(2 * p.n_labelled - 1, 1)),
        tau=tau,
    )


def nscl(p: Pieces, c: Constants, tau: float) -> Terms:
    """DCL with rows of other classes as the only negatives."""
    of_u, of_v = _both_views(p, tau, "other_class")
    softmaxes = _class_softmaxes(0.5, tau, {"u": of_u, "v": of_v}, ("other_class",))
    return _decoupled(p.positive / tau, tau, softmaxes, _other_count(p))


def _other_count(p: Pieces) -> float:
    """Mean number of rows of other classes in both views."""
    assert p.labelled is not None
    if not p.labelled.any():
        return 1.0
    return 2.0 * (p.n_labelled - float(p.class_count[p.labelled].mean()))


def nscl_official(p: Pieces, c: Constants, tau: float) -> Terms:
    """The authors' code, with the positive under the logarithm."""
    count = max(_other_count(p), 1.0)
    others = _both_views(p, tau, "other_class")
    of_u, of_v = (
        _coupled(p, tau, negatives, _over(view, "other_class"), count)
        for view, negatives in zip(VIEWS, others, strict=True)
    )
    found = _mean(of_u, of_v)
    there = _of_labelled(p, np.isfinite(others[0]))

    def kept(values: Vector | None) -> Vector | None:
        return None if values is None else np.where(there == 1.0, values, np.nan)

    return replace(
        found,
        value=np.where(there == 1.0, found.value, np.nan),
        alignment=kept(found.alignment),
        uniformity=kept(found.uniformity),
        limit=kept(found.limit),
        push=kept(found.push),
        pull=kept(found.pull),
    )


def dcl_nscl_gap(p: Pieces, tau: float) -> Terms:
    """DCL less NSCL among the labelled rows: the positives cancel."""
    same, other = _both_views(p, tau, "same_class"), _both_views(p, tau, "other_class")
    everyone = {view: np.logaddexp(same[at], other[at]) for at, view in enumerate(VIEWS)}
    others = dict(zip(VIEWS, other, strict=True))
    with np.errstate(invalid="ignore"):
        value = 0.5 * sum(everyone[view] - others[view] for view in VIEWS)
    return Terms(
        _of_labelled(p, _finite(np.asarray(value))),
        None,
        None,
        softmaxes=(
            *_class_softmaxes(0.5, tau, everyone, ("same_class", "other_class")),
            *_class_softmaxes(-0.5, tau, others, ("other_class",)),
        ),
        tau=tau,
    )


def cacr(p: Pieces, c: Constants, tau: float) -> Terms:
    """Attraction, minus the distances to negatives under weights that prefer near ones."""
    spread = -2.0 * p.mean_gap
    value = p.distance + spread
    return Terms(value, p.distance, spread, effect="cacr", limit=value)


LOSSES: tuple[SavedLoss, ...] = (
    SavedLoss(
        "contrastive",
        "one_way",
        one_way,
        reading="InfoNCE: nats to tell the positive from the others; 0 is perfect, log N chance.",
    ),
    SavedLoss(
        "contrastive",
        "symmetric",
        symmetric,
        reading="InfoNCE averaged over both directions, as CLIP trains it.",
    ),
    SavedLoss(
        "contrastive",
        "moco",
        moco,
        needs="queue",
        reading="InfoNCE against the queue alone, as MoCo trains it.",
    ),
    SavedLoss(
        "contrastive",
        "one_way_queue",
        one_way_queue,
        needs="queue",
        reading="InfoNCE against the other rows and the queue together.",
    ),
    SavedLoss(
        "hard_contrastive",
        None,
        hard_contrastive,
        ("tau", "alpha"),
        reading="InfoNCE against the hardest negatives alone: at large tau it still sees them.",
    ),
    SavedLoss(
        "nt_xent",
        None,
        nt_xent,
        reading="SimCLR's InfoNCE, with the negatives of both views; chance is log(2N - 1).",
    ),
    SavedLoss(
        "dcl",
        "symmetric",
        dcl,
        reading="NT-Xent without the positive in the sum: still falls when InfoNCE has reached 0.",
    ),
    SavedLoss("dcl", "one_way", dcl_one_way, reading="DCL for anchors of the first view alone."),
    SavedLoss(
        "dclw",
        None,
        dclw,
        ("tau", "sigma"),
        reading="DCL that weighs well-aligned pairs less; compare it at equal tau only.",
    ),
    SavedLoss(
        "dhel",
        "symmetric",
        dhel,
        reading="Alignment apart from each view's own energy; lower is better aligned or spread.",
    ),
    SavedLoss("dhel", "one_sided", dhel_one_sided, reading="DHEL with the first view's energy."),
    SavedLoss(
        "dhel",
        "official",
        dhel_official,
        reading="The authors' code: both energies added, so alignment weighs half as much.",
    ),
    SavedLoss(
        "supcon",
        "out",
        supcon_out,
        needs="labels",
        reading="Rows of one class as positives; collapsed classes on a simplex minimise it.",
    ),
    SavedLoss(
        "supcon",
        "in",
        supcon_in,
        needs="labels",
        reading="SupCon with the mean inside the logarithm; never above the other form.",
    ),
    SavedLoss(
        "nscl",
        "decoupled",
        nscl,
        needs="labels",
        reading="DCL without false negatives; its gap to dcl is what these cost.",
    ),
    SavedLoss(
        "nscl",
        "official",
        nscl_official,
        needs="labels",
        reading="NSCL with the positive in the sum, as its authors' code.",
    ),
    SavedLoss(
        "simple",
        None,
        simple,
        ("lambda",),
        reading="The limit of large tau: every negative counts alike, whatever its distance.",
    ),
    SavedLoss(
        "hard_simple",
        None,
        hard_simple,
        ("alpha", "lambda"),
        reading="The simple loss over the hardest negatives, which restores what large tau loses.",
    ),
    SavedLoss(
        "triplet_limit",
        None,
        triplet_limit,
        (),
        reading="The limit of small tau: how far the hardest negative is ahead of the positive.",
    ),
    SavedLoss(
        "kcl_gaussian",
        None,
        _kernel_loss("gaussian"),
        ("t", "gamma"),
        kernel="gaussian",
        reading="Alignment and Gaussian energy; its value does not depend on the batch size.",
    ),
    SavedLoss(
        "kcl_log",
        "consistent",
        _kernel_loss("log"),
        ("t", "gamma"),
        kernel="log",
        reading="Alignment and logarithmic energy, one kernel for both.",
    ),
    SavedLoss(
        "kcl_log",
        "official",
        _kernel_loss("log", factor=4.0),
        ("t", "gamma"),
        kernel="log",
        reading="The authors' code, whose alignment weighs twice as much.",
    ),
    SavedLoss(
        "kcl_imq",
        None,
        _kernel_loss("imq"),
        ("t", "gamma"),
        kernel="imq",
        reading="Alignment and inverse multiquadric energy, which reaches far pairs too.",
    ),
    SavedLoss(
        "kcl_riesz",
        "consistent",
        _kernel_loss("riesz"),
        ("t", "gamma"),
        kernel="riesz",
        reading="Alignment and Riesz energy, decided by the nearest pairs.",
    ),
    SavedLoss(
        "kcl_riesz",
        "gaussian_riesz",
        _kernel_loss("riesz", aligned_by=("gaussian", 2.0)),
        ("t", "gamma"),
        kernel="riesz",
        reading="Riesz energy with Gaussian alignment, finite where views coincide.",
    ),
    SavedLoss(
        "cacr",
        None,
        cacr,
        ("t",),
        reading="Distance to the positive minus that to negatives, near ones weighing more.",
    ),
)


def params_of(
    loss: SavedLoss, c: Constants, tau: float, n_negatives: int, n_hard: int
) -> dict[str, float]:
    """The parameters of a record of a loss, by name."""
    count = n_hard if "alpha" in loss.params else n_negatives
    values = {
        "tau": tau,
        "alpha": c.alpha,
        "lambda": 1.0 / max(count, 1) if c.weight is None else c.weight,
        "t": c.cacr_t if loss.name == "cacr" else c.t,
        "gamma": c.gamma,
        "sigma": c.sigma,
    }
    return {name: values[name] for name in loss.params}
