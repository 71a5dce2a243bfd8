"""NT-Xent, SimCLR's loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import positive
from cl_analyze.losses._masked import masked_log_sum_exp, others


class NTXent(PairLoss):
    """The contrastive loss with the negatives of both views, a mean over all 2M anchors.

    An anchor's negatives are the 2M - 2 rows of other pairs.  (Code that returns the sum of the two
    views' means has twice this value.)

    Args:
        tau: temperature, > 0.
        reduction, gather: see `PairLoss`.

    Reference: Chen et al., ICML 2020.

    >>> u = torch.eye(3)
    >>> round(float(NTXent(tau=0.5)(u, u)), 6)       # log(1 + 4 * exp(-2))
    0.432653
    """

    def __init__(
        self, tau: float = 0.2, reduction: Reduction = "mean", gather: bool = True
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        positive = (u * v).sum(dim=1) / self.tau
        of_u, of_v = both_views_negatives(u, v, self.tau)
        return 0.5 * (functional.softplus(of_u - positive) + functional.softplus(of_v - positive))


def both_views_negatives(u: Tensor, v: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """(M,) log sums of exp(s / tau) over the rows of other pairs, of anchors u and of anchors v."""
    mask = others(len(u), u.device)
    mask = torch.cat([mask, mask], dim=1)
    cross = u @ v.T
    of_u = masked_log_sum_exp(torch.cat([u @ u.T, cross], dim=1) / tau, mask)
    of_v = masked_log_sum_exp(torch.cat([v @ v.T, cross.T], dim=1) / tau, mask)
    return of_u, of_v


def nt_xent(u: Tensor, v: Tensor, tau: float = 0.2, reduction: Reduction = "mean") -> Tensor:
    """NT-Xent of two views; see `NTXent`.

    >>> u = torch.eye(3)
    >>> round(float(nt_xent(u, u, tau=0.5)), 6)       # log(1 + 4 * exp(-2))
    0.432653
    """
    return NTXent(tau, reduction, gather=False)(u, v)  # type: ignore[no-any-return]
