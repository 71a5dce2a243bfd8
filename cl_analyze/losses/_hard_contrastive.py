"""The hard contrastive loss: Wang & Liu, CVPR 2021, eqs. 8-9."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import positive, share
from cl_analyze.losses._masked import others
from cl_analyze.pairs.strips import n_kept


class HardContrastive(PairLoss):
    """The contrastive loss over each anchor's hardest negatives alone, a share alpha of them.

    k = max(1, ceil(alpha K - 1e-9)) of the K = M - 1 negatives are kept, anchor by anchor; of
    negatives tied at the threshold as many as fill k (the value is the same whichever).

    Args:
        tau: temperature, > 0.
        alpha: share of the negatives that is kept, in (0, 1].
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, eqs. 8-9.

    >>> u = torch.eye(3)
    >>> round(float(HardContrastive(tau=0.5, alpha=0.5)(u, u)), 6)       # log(1 + exp(-2))
    0.126928
    """

    def __init__(
        self,
        tau: float = 0.2,
        alpha: float = 0.1,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.alpha = share("alpha", alpha)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        hardest = hardest_negatives(u, v, self.alpha)
        positive = (u * v).sum(dim=1) / self.tau
        if hardest.shape[1] == 0:
            return 0.0 * positive
        return functional.softplus(torch.logsumexp(hardest / self.tau, dim=1) - positive)


def hardest_negatives(u: Tensor, v: Tensor, alpha: float) -> Tensor:
    """(M, k) similarities of each anchor's k nearest negatives among the other rows of v."""
    similarity = (u @ v.T).masked_fill(~others(len(u), u.device), -math.inf)
    k = n_kept(alpha, len(u) - 1) if len(u) > 1 else 0
    return similarity.topk(k, dim=1).values


def hard_contrastive(
    u: Tensor, v: Tensor, tau: float = 0.2, alpha: float = 0.1, reduction: Reduction = "mean"
) -> Tensor:
    """The hard contrastive loss of two views; see `HardContrastive`.

    >>> u = torch.eye(3)
    >>> round(float(hard_contrastive(u, u, tau=0.5, alpha=0.5)), 6)       # log(1 + exp(-2))
    0.126928
    """
    return HardContrastive(tau, alpha, reduction, gather=False)(u, v)  # type: ignore[no-any-return]
