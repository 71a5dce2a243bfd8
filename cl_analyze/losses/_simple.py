"""Losses without a temperature: Wang & Liu, CVPR 2021, eq. 3, its hard form, and eq. 6's limit."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import not_negative, share
from cl_analyze.losses._hard_contrastive import hardest_negatives
from cl_analyze.losses._masked import others


class Simple(PairLoss):
    """L_i = -s_ii + lambda sum_{j != i} s_ij: what the contrastive loss becomes at large tau.

    Args:
        weight: lambda; None: 1 / (number of negatives), the weight that the limit has.
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, eqs. 3 and 7.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(Simple()(u, u)), 6)
    -1.0
    """

    def __init__(
        self, weight: float | None = None, reduction: Reduction = "mean", gather: bool = True
    ) -> None:
        super().__init__(reduction, gather)
        self.weight = None if weight is None else not_negative("weight", weight)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        weight = 1.0 / max(len(u) - 1, 1) if self.weight is None else self.weight
        positive = (u * v).sum(dim=1)
        return weight * (u @ v.sum(dim=0) - positive) - positive


class HardSimple(PairLoss):
    """The simple loss over each anchor's hardest negatives alone, a share alpha of them.

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

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        hardest = hardest_negatives(u, v, self.alpha)
        weight = 1.0 / max(hardest.shape[1], 1) if self.weight is None else self.weight
        return weight * hardest.sum(dim=1) - (u * v).sum(dim=1)


class TripletLimit(PairLoss):
    """max(0, max_{j != i} s_ij - s_ii): what tau times the contrastive loss becomes at small tau.

    Args:
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, eq. 6.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(TripletLimit()(u, u.roll(1, 0))), 6)       # 1 - 0
    1.0
    """

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        similarity = (u @ v.T).masked_fill(~others(len(u), u.device), -math.inf)
        return (similarity.amax(dim=1) - (u * v).sum(dim=1)).clamp(min=0)


def simple(
    u: Tensor, v: Tensor, weight: float | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """The simple contrastive loss of two views; see `Simple`.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(simple(u, u)), 6)
    -1.0
    """
    return Simple(weight, reduction, gather=False)(u, v)  # type: ignore[no-any-return]


def hard_simple(
    u: Tensor,
    v: Tensor,
    alpha: float = 0.1,
    weight: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The simple loss over the hardest negatives; see `HardSimple`.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(hard_simple(u, u, alpha=0.5)), 6)
    -1.0
    """
    return HardSimple(alpha, weight, reduction, gather=False)(u, v)  # type: ignore[no-any-return]


def triplet_limit(u: Tensor, v: Tensor, reduction: Reduction = "mean") -> Tensor:
    """The limit of small temperatures; see `TripletLimit`.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(triplet_limit(u, u.roll(1, 0))), 6)       # 1 - 0
    1.0
    """
    return TripletLimit(reduction, gather=False)(u, v)  # type: ignore[no-any-return]
