"""The pieces of the losses: a few numbers about each pair of views.

The four matrices of similarities are named by anchors and candidates: uu, vv (within a view), uv,
vu (across).  Row i does not count column i in any of them.  The same pieces come from passes over
saved embeddings (passes.py) and from the dense matrices of a drawn batch (`dense_pieces`), so that
every loss is written once, in catalogue.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.losses.dimensions import (
    FORMS,
    Form,
    OfDimensions,
    Squares,
    dense_dimensions,
)
from cl_analyze.pairs.distance_kernels import KERNELS, Kernel, kernel_values
from cl_analyze.pairs.strips import n_kept
from cl_analyze.pairs.tile import PairSet

Vector = NDArray[np.float64]
Matrix = Literal["uu", "vv", "uv", "vu"]
MATRICES: tuple[Matrix, ...] = ("uu", "vv", "uv", "vu")
View = Literal["u", "v"]
VIEWS: tuple[View, ...] = ("u", "v")
WITHIN: dict[View, Matrix] = {"u": "uu", "v": "vv"}
ACROSS: dict[View, Matrix] = {"u": "uv", "v": "vu"}
"""The matrices of the anchors of a view: with rows of their own view, and of the other."""
VIEWS_OF: dict[Matrix, tuple[View, View]] = {
    "uu": ("u", "u"),
    "vv": ("v", "v"),
    "uv": ("u", "v"),
    "vu": ("v", "u"),
}
"""The views of the rows and of the columns of a matrix."""

_SAFE_TAU = 0.01
NEAR = 1e-8
"""2 - 2s under which a distance is taken from the difference of the rows."""


@dataclass(frozen=True)
class Constants:
    """Parameters of the losses beside the temperature.

    Attributes:
        alpha: share of the negatives that the hard losses keep.
        weight: lambda of the simple losses; None: 1 / (number of negatives).
        t, gamma: of the kernel losses.
        sigma: of DCLW's weights.
        cacr_t: of CACR's weights.
        beta: of A-InfoNCE's weights.
        siglip_bias: added to s / tau by SigLIP.
    """

    alpha: float
    weight: float | None
    t: float
    gamma: float
    sigma: float = 0.5
    cacr_t: float = 1.0
    beta: float = 1.0
    siglip_bias: float = -10.0

    @property
    def cacr_tau(self) -> float:
        """The temperature with softmax(-t d2) = softmax(s / tau)."""
        return 1.0 / (2.0 * self.cacr_t)

    def steeper(self, tau: float) -> float:
        """The temperature of A-InfoNCE's push, whose weights are exp((1 + beta) s / tau)."""
        return tau / (1.0 + self.beta)


@dataclass
class Pieces:
    """Numbers about the pairs of a set, for the pairs that are anchors.

    Attributes:
        n: pairs in the set, M.
        positive: (m,) s_ii.  distance: (m,) |u_i - v_i|^2.
        every_positive: (n,) s_ii of all pairs of the set.
        labelled: (m,) whether the pair has a class; None without labels.
        class_count: (m,) pairs of the pair's class; 0 for a pair without a class.
        n_labelled: pairs that have a class.
        log_mass: (matrix, tau, pairs) -> (m,) log sum_j exp(s_ij / tau), -inf for an empty sum.
        mean_gap: (m,) mean of 1 - s_ij of uv under the weights exp(s_ij / cacr_tau).
        gap_mass: (m,) log of the sum of the weights of mean_gap.
        negative_sum: (m,) sum over j != i of u_i . v_j.  hardest: its largest term.
        hard_mass: tau -> (m,) log sum over the kept hardest negatives.  hard_sum: their sum.
        n_hard: how many are kept.
        kernel: (view, kernel) -> (m,) mean over j != i of the kernel; infinite where rows coincide.
        same_sum: view -> (m,) sum of s over the anchor's class in both views, itself left out.
        queue_mass: tau -> (m,) log sum over the queue.  n_queue: its length.
        softplus_sum: tau -> (m,) sum over j != i of log(1 + exp(s_ij / tau + siglip_bias)) of uv.
        n_positives: positives of the pair's anchor, where a loss adds them up: (m,), or 1.
        squares: (n,) sums of s_ij^2 of uv over j != i, of rows and of columns.
        dimensions: form of the rows -> numbers about their dimensions.
    """

    n: int
    positive: Vector
    distance: Vector
    every_positive: Vector
    labelled: NDArray[np.bool_] | None = None
    class_count: Vector = field(default_factory=lambda: np.zeros(0))
    n_labelled: int = 0
    log_mass: dict[tuple[Matrix, float, PairSet], Vector] = field(default_factory=dict)
    mean_gap: Vector = field(default_factory=lambda: np.zeros(0))
    gap_mass: Vector = field(default_factory=lambda: np.zeros(0))
    negative_sum: Vector = field(default_factory=lambda: np.zeros(0))
    hardest: Vector = field(default_factory=lambda: np.zeros(0))
    hard_mass: dict[float, Vector] = field(default_factory=dict)
    hard_sum: Vector = field(default_factory=lambda: np.zeros(0))
    n_hard: int = 0
    kernel: dict[tuple[View, Kernel], Vector] = field(default_factory=dict)
    same_sum: dict[View, Vector] = field(default_factory=dict)
    queue_mass: dict[float, Vector] = field(default_factory=dict)
    n_queue: int = 0
    softplus_sum: dict[float, Vector] = field(default_factory=dict)
    n_positives: Vector | float = 1.0
    squares: Squares = field(default_factory=lambda: Squares(np.zeros(0), np.zeros(0)))
    dimensions: dict[Form, OfDimensions] = field(default_factory=dict)

    @property
    def n_negatives(self) -> int:
        """Rows of other pairs in one view."""
        return self.n - 1

    def both_views(self, tau: float, pairs: PairSet = "all") -> dict[View, Vector]:
        """(m,) log sums of exp(s / tau) over rows of both views, of anchors u and of anchors v."""
        mass = self.log_mass
        return {
            view: np.logaddexp(mass[WITHIN[view], tau, pairs], mass[ACROSS[view], tau, pairs])
            for view in VIEWS
        }


def dense_pieces(
    views: tuple[Vector, Vector],
    saved: tuple[Vector, Vector],
    codes: NDArray[np.int64] | None,
    taus: tuple[float, ...],
    constants: Constants,
) -> Pieces:
    """The pieces of a batch, from its whole matrices of similarities.

    Args:
        views: (m, D) unit rows of two views.
        saved: the same rows as they are saved.
        codes: (m,) class codes, -1 unlabelled; None without labels.
        taus: temperatures.
        constants: the losses' parameters.

    Cost: O(m^2 (D + taus) + m D^2).
    """
    (u, v), m = views, len(views[0])
    off = ~np.eye(m, dtype=bool)
    uv = u @ v.T
    matrices: dict[Matrix, Vector] = {"uu": u @ u.T, "vv": v @ v.T, "uv": uv, "vu": uv.T}
    positive = uv.diagonal().copy()
    pieces = Pieces(m, positive, np.square(u - v).sum(axis=1), positive)
    masks: dict[PairSet, NDArray[np.bool_]] = {"all": off}
    if codes is not None:
        known = codes >= 0
        both = known[:, None] & known
        same = (codes[:, None] == codes) & both
        masks["same_class"], masks["other_class"] = same & off, both & ~same
        pieces.labelled = known
        pieces.class_count = same.sum(axis=1).astype(np.float64)
        pieces.n_labelled = int(known.sum())
        for view in VIEWS:
            own, cross = matrices[WITHIN[view]], matrices[ACROSS[view]]
            inside = np.where(same & off, own, 0.0) + np.where(same, cross, 0.0)
            pieces.same_sum[view] = inside.sum(axis=1)
    for tau in taus:
        for name, matrix in matrices.items():
            scaled = np.exp((matrix - 1.0) / tau) if tau >= _SAFE_TAU else None
            for pairs, mask in masks.items():
                pieces.log_mass[name, tau, pairs] = _log_sum(matrix, mask, tau, scaled)
    negatives = np.where(off, uv, 0.0)
    pieces.negative_sum = negatives.sum(axis=1)
    squares = np.square(negatives)
    pieces.squares = Squares(squares.sum(axis=1), squares.sum(axis=0))
    pieces.dimensions = {
        form: dense_dimensions(*rows) for form, rows in zip(FORMS, (saved, views), strict=True)
    }
    for tau in taus:
        z = uv / tau + constants.siglip_bias
        terms = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))  # faster than logaddexp
        pieces.softplus_sum[tau] = np.where(off, terms, 0.0).sum(axis=1)
    hidden = np.where(off, uv, -np.inf)
    pieces.hardest = hidden.max(axis=1)
    k = pieces.n_hard = n_kept(constants.alpha, m - 1)
    hardest = np.partition(hidden, m - k, axis=1)[:, m - k :]
    pieces.hard_sum = hardest.sum(axis=1)
    for tau in taus:
        top = hardest.max(axis=1, keepdims=True)
        total = np.exp((hardest - top) / tau).sum(axis=1)
        pieces.hard_mass[tau] = np.log(total) + top[:, 0] / tau
    weights = np.where(off, np.exp((uv - 1.0) / constants.cacr_tau), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = weights.sum(axis=1)
        pieces.mean_gap = (weights * (1.0 - uv)).sum(axis=1) / total
        pieces.gap_mass = np.log(total) + 1.0 / constants.cacr_tau
        for view, rows in zip(VIEWS, (u, v), strict=True):
            d2 = np.where(off, np.maximum(2.0 - 2.0 * matrices[WITHIN[view]], 0.0), 1.0)
            near = np.nonzero(d2 < NEAR)  # where a cosine has too few digits
            d2[near] = np.square(rows[near[0]] - rows[near[1]]).sum(axis=1)
            for kernel in KERNELS:
                values = np.where(off, kernel_values(kernel, d2, constants.t, np), 0.0)
                pieces.kernel[view, kernel] = values.sum(axis=1) / (m - 1)
    return pieces


def _log_sum(matrix: Vector, mask: NDArray[np.bool_], tau: float, scaled: Vector | None) -> Vector:
    """log sum of exp(s / tau) of each row over a mask, from exp((s - 1) / tau) if it is given."""
    with np.errstate(divide="ignore"):
        if scaled is not None:
            total: Vector = np.log(np.where(mask, scaled, 0.0).sum(axis=1)) + 1.0 / tau
            return total
        top = np.where(mask, matrix, -np.inf).max(axis=1)
        top = np.where(np.isfinite(top), top, 0.0)
        weights = np.exp(np.where(mask, (matrix - top[:, None]) / tau, -np.inf))
        peaked: Vector = np.log(weights.sum(axis=1)) + top / tau
        return peaked
