"""Losses without a temperature: Wang & Liu, CVPR 2021, eq. 3, its hard form, and eq. 6's limit."""

from __future__ import annotations

import math

from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import not_negative, share
from cl_analyze.losses._functional import functional
from cl_analyze.losses._negatives import hardest_negatives, others


class Simple(PairLoss):
    """L_i = -s_ii + lambda sum_{j != i} s_ij: the contrastive loss at large tau.

    Args:
        weight: lambda; None: 1 / (number of negatives), the weight that the limit has.
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, eqs. 3 and 7.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(Simple()(u, u)), 6)
    -1.0
    """

    saved = ("simple",)

    def __init__(
        self, weight: float | None = None, reduction: Reduction = "mean", gather: bool = True
    ) -> None:
        super().__init__(reduction, gather)
        self.weight = None if weight is None else not_negative("weight", weight)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        weight = 1.0 / max(len(u) - 1, 1) if self.weight is None else self.weight
        positive = (u * v).sum(dim=1)
        return weight * (u @ v.sum(dim=0) - positive) - positive


simple = functional("simple", Simple)


class HardSimple(PairLoss):
    """The simple loss over a share alpha of the negatives: the hardest of each anchor.

    Args:
        alpha: share of the negatives that is kept, in (0, 1].
        weight: lambda; None: 1 / (number of kept negatives).
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, section 5.5.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(HardSimple(alpha=0.5)(u, u)), 6)
    -1.0
    """

    saved = ("hard_simple",)

    def __init__(
        self,
        alpha: float = 0.1,
        weight: float | None = None,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.alpha = share("alpha", alpha)
        self.weight = None if weight is None else not_negative("weight", weight)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        hardest = hardest_negatives(u, v, self.alpha)
        weight = 1.0 / max(hardest.shape[1], 1) if self.weight is None else self.weight
        return weight * hardest.sum(dim=1) - (u * v).sum(dim=1)


hard_simple = functional("hard_simple", HardSimple)


class TripletLimit(PairLoss):
    """max(0, max_{j != i} s_ij - s_ii): tau times the contrastive loss at small tau.

    Args:
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, eq. 6.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(TripletLimit()(u, u.roll(1, 0))), 6)       # 1 - 0
    1.0
    """

    saved = ("triplet_limit",)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        similarity = (u @ v.T).masked_fill(~others(len(u), u.device), -math.inf)
        return (similarity.amax(dim=1) - (u * v).sum(dim=1)).clamp(min=0)


triplet_limit = functional("triplet_limit", TripletLimit)
