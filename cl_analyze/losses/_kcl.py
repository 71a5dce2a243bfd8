"""Kernel contrastive losses."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._masked import others
from cl_analyze.pairs.kernels import KERNELS, Kernel, kernel_values

Definition = Literal["consistent", "official", "gaussian_riesz"]


class KCL(PairLoss):
    """-2 mean_i k(u_i, v_i) + gamma (mean_{i<j} k(u_i, u_j) + mean_{i<j} k(v_i, v_j)).

    Infinite where rows coincide under the Riesz kernel.

    A U-statistic: its expectation over batches does not depend on their size.

    Args:
        kernel: gaussian, log, imq or riesz, see `cl_analyze.pairs.kernels`.
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

    def __init__(
        self,
        kernel: Kernel = "gaussian",
        t: float = 2.0,
        gamma: float = 16.0,
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

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs: an energy's share of each row is the mean over its partners."""
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


def kcl(
    u: Tensor,
    v: Tensor,
    kernel: Kernel = "gaussian",
    t: float = 2.0,
    gamma: float = 16.0,
    definition: Definition = "consistent",
    reduction: Reduction = "mean",
) -> Tensor:
    """The kernel contrastive loss of two views; see `KCL`.

    >>> u = torch.eye(3)
    >>> round(float(kcl(u, u, t=2.0, gamma=16.0)), 6)       # 2 * (16 * exp(-4) - 1)
    -1.4139
    """
    loss = KCL(kernel, t, gamma, definition, reduction, gather=False)
    return loss(u, v)  # type: ignore[no-any-return]
