"""Losses of distances: kernel contrastive losses, contrastive attraction and repulsion."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._functional import functional
from cl_analyze.losses._negatives import others
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.distance_kernels import KERNELS, Kernel, kernel_values

Definition = Literal["consistent", "official", "gaussian_riesz"]


class KCL(PairLoss):
    """-2 mean_i k(u_i, v_i) + gamma (mean_{i<j} k(u_i, u_j) + mean_{i<j} k(v_i, v_j)).

    The kernel contrastive loss.  A U-statistic: its expectation over batches does not depend on
    their size.  Infinite where rows coincide under the Riesz kernel.

    Args:
        kernel: gaussian, log, imq or riesz, see `cl_analyze.pairs.distance_kernels`.
        t: the kernel's parameter, > 0.
        gamma: weight of the energies.
        definition: consistent: one kernel throughout; official: with the log kernel, the authors'
            code aligns without its factor 1/2; gaussian_riesz: with the Riesz kernel, alignment by
            the Gaussian kernel at t = 2, which is finite where views coincide.
        reduction, gather: see `PairLoss`.

    Reference: Koromilas et al., ICML 2024.

    >>> u = torch.eye(3)
    >>> round(float(KCL(t=2.0, gamma=16.0)(u, u)), 6)       # 2 * (16 * exp(-4) - 1)
    -1.4139
    """

    saved = tuple(f"kcl_{kernel}" for kernel in KERNELS)

    def __init__(
        self,
        kernel: Kernel = "gaussian",
        t: float = MetricOptions.kcl_t,
        gamma: float = MetricOptions.kcl_gamma,
        definition: Definition = "consistent",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        one_of("kernel", kernel, KERNELS)
        self.kernel: Kernel = kernel
        self.t = positive("t", t)
        self.gamma = positive("gamma", gamma)
        allowed = {"log": ("consistent", "official"), "riesz": ("consistent", "gaussian_riesz")}
        of_kernel = allowed.get(kernel, ("consistent",))
        self.definition = one_of(f"definition of the {kernel} kernel", definition, of_kernel)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        # the share of each row in an energy is its mean over the row's partners
        d2 = (u - v).square().sum(dim=1)
        if self.definition == "gaussian_riesz":
            aligned: Tensor = 2.0 * kernel_values("gaussian", d2, 2.0, torch)
        else:
            factor = 4.0 if (self.definition, self.kernel) == ("official", "log") else 2.0
            aligned = factor * kernel_values(self.kernel, d2, self.t, torch)
        mask = others(len(u), u.device)
        energy = torch.zeros_like(aligned)
        for rows in (u, v):
            # 2 is a harmless distance for the diagonal, which does not count
            distances = self._distances(rows).masked_fill(~mask, 2.0)
            kept = kernel_values(self.kernel, distances, self.t, torch).masked_fill(~mask, 0.0)
            energy = energy + kept.sum(dim=1) / max(len(u) - 1, 1)
        values: Tensor = self.gamma * energy - aligned
        return values

    def _distances(self, rows: Tensor) -> Tensor:
        """(M, M) squared distances; explicit differences where near pairs decide."""
        if self.kernel != "riesz":
            return (2.0 - 2.0 * rows @ rows.T).clamp(min=0)
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(rows, rows, compute_mode=exact).square()


kcl = functional("kcl", KCL)


class CACR(PairLoss):
    """alpha d2(u_i, v_i) - beta sum_n w_n d2(u_i, v_n), w = softmax(-t d2) over the negatives.

    Contrastive attraction and contrastive repulsion.  With one positive for each anchor the
    attraction's weights are 1.  Negatives are the other rows of v; weights are constants for the
    gradient, as in the authors' MoCo variant.

    Args:
        t: of the weights; nearer negatives weigh more.
        alpha, beta: weights of attraction and repulsion.
        reduction, gather: see `PairLoss`.

    Reference: Zheng et al., "Contrastive Attraction and Contrastive Repulsion for Representation
    Learning", 2021.

    >>> u = torch.eye(3)
    >>> round(float(CACR()(u, u)), 6)       # 0 - 2
    -2.0
    """

    saved = ("cacr",)

    def __init__(
        self,
        t: float = 1.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.t = positive("t", t)
        self.alpha = positive("alpha", alpha)
        self.beta = positive("beta", beta)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        attraction = (u - v).square().sum(dim=1)
        if len(u) == 1:
            return self.alpha * attraction
        d2 = 2.0 - 2.0 * u @ v.T
        mask = others(len(u), u.device)
        weights = torch.softmax((-self.t * d2).masked_fill(~mask, -math.inf), dim=1).detach()
        return self.alpha * attraction - self.beta * (weights * d2).sum(dim=1)


cacr = functional("cacr", CACR)
