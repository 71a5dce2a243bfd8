"""Decoupled contrastive losses."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction, some_other_pair
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._nt_xent import both_views_negatives

Definition = Literal["symmetric", "one_way"]


class DCL(PairLoss):
    """NT-Xent without the positive under the logarithm.

    Args:
        tau: temperature, > 0.
        definition: symmetric: the mean over anchors of both views; one_way: anchors u alone.
        reduction, gather: see `PairLoss`.

    Reference: Yeh et al., ECCV 2022.

    >>> u = torch.eye(3)
    >>> round(float(DCL(tau=0.5)(u, u)), 6)       # log(4) - 2
    -0.613706
    """

    def __init__(
        self,
        tau: float = 0.2,
        definition: Definition = "symmetric",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, ("symmetric", "one_way"))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        positive = (u * v).sum(dim=1) / self.tau
        of_u, of_v = both_views_negatives(u, v, self.tau)
        return (of_u if self.definition == "one_way" else 0.5 * (of_u + of_v)) - positive

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """No pair where there is no other."""
        return some_other_pair(u)


class DCLW(PairLoss):
    """DCL, one way, with weights on the positives: w_i = 2 - M softmax_i(s_ii / sigma).

    Args:
        tau: temperature, > 0.
        sigma: of the weights, > 0.
        reduction, gather: see `PairLoss`.

    Reference: Yeh et al., ECCV 2022.

    >>> u = torch.eye(3)
    >>> round(float(DCLW(tau=0.5)(u, u)), 6)       # log(4) - 2
    -0.613706
    """

    def __init__(
        self,
        tau: float = 0.2,
        sigma: float = 0.5,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.sigma = positive("sigma", sigma)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        positive = (u * v).sum(dim=1)
        weight = 2.0 - len(u) * torch.softmax(positive / self.sigma, dim=0)
        of_u, _ = both_views_negatives(u, v, self.tau)
        return of_u - weight * positive / self.tau

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """No pair where there is no other."""
        return some_other_pair(u)


def dcl(
    u: Tensor,
    v: Tensor,
    tau: float = 0.2,
    definition: Definition = "symmetric",
    reduction: Reduction = "mean",
) -> Tensor:
    """The decoupled contrastive loss of two views; see `DCL`.

    >>> u = torch.eye(3)
    >>> round(float(dcl(u, u, tau=0.5)), 6)       # log(4) - 2
    -0.613706
    """
    return DCL(tau, definition, reduction, gather=False)(u, v)  # type: ignore[no-any-return]


def dclw(
    u: Tensor, v: Tensor, tau: float = 0.2, sigma: float = 0.5, reduction: Reduction = "mean"
) -> Tensor:
    """DCL with weighted positives; see `DCLW`.

    >>> u = torch.eye(3)
    >>> round(float(dclw(u, u, tau=0.5)), 6)       # log(4) - 2
    -0.613706
    """
    return DCLW(tau, sigma, reduction, gather=False)(u, v)  # type: ignore[no-any-return]
