"""Contrastive attraction and contrastive repulsion."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import positive
from cl_analyze.losses._masked import others


class CACR(PairLoss):
    """alpha d2(u_i, v_i) - beta sum_n w_n d2(u_i, v_n), w = softmax(-t d2) over the negatives.

    With one positive for each anchor the attraction's weights are 1.  Negatives are the other rows
    of v; weights are constants for the gradient, as in the authors' MoCo variant.

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

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        attraction = (u - v).square().sum(dim=1)
        if len(u) == 1:
            return self.alpha * attraction
        d2 = 2.0 - 2.0 * u @ v.T
        mask = others(len(u), u.device)
        weights = torch.softmax((-self.t * d2).masked_fill(~mask, -math.inf), dim=1).detach()
        return self.alpha * attraction - self.beta * (weights * d2).sum(dim=1)


def cacr(
    u: Tensor,
    v: Tensor,
    t: float = 1.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Contrastive attraction and repulsion of two views; see `CACR`.

    >>> u = torch.eye(3)
    >>> round(float(cacr(u, u)), 6)       # 0 - 2
    -2.0
    """
    return CACR(t, alpha, beta, reduction, gather=False)(u, v)  # type: ignore[no-any-return]
