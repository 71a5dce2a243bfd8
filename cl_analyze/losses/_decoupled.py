"""InfoNCE without the positive under the logarithm: over both views, or each view apart."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._functional import functional
from cl_analyze.losses._negatives import both_views_log_sums, masked_log_sum_exp, others

DCLDefinition = Literal["symmetric", "one_way"]
DHELDefinition = Literal["symmetric", "one_sided", "official"]


class _Decoupled(PairLoss):
    """Base of losses that have no value in a batch of one pair, where there is no negative."""

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        return None if len(u) > 1 else torch.zeros(1, dtype=torch.bool, device=u.device)


class DCL(_Decoupled):
    """Decoupled contrastive loss: NT-Xent without the positive under the logarithm.

    Args:
        tau: temperature, > 0.
        definition: symmetric: the mean over anchors of both views; one_way: anchors u alone.
        reduction, gather: see `PairLoss`.

    Reference: Yeh et al., ECCV 2022.

    >>> u = torch.eye(3)
    >>> round(float(DCL(tau=0.5)(u, u)), 6)       # log(4) - 2
    -0.613706
    """

    saved = ("dcl",)

    def __init__(
        self,
        tau: float = 0.2,
        definition: DCLDefinition = "symmetric",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, get_args(DCLDefinition))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        positive = (u * v).sum(dim=1) / self.tau
        of_u, of_v = both_views_log_sums(u, v, self.tau)
        return (of_u if self.definition == "one_way" else 0.5 * (of_u + of_v)) - positive


dcl = functional("dcl", DCL)


class DCLW(_Decoupled):
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

    saved = ("dclw",)

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

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        positive = (u * v).sum(dim=1)
        weight = 2.0 - len(u) * torch.softmax(positive / self.sigma, dim=0)
        of_u, _ = both_views_log_sums(u, v, self.tau)
        return of_u - weight * positive / self.tau


dclw = functional("dclw", DCLW)


class DHEL(_Decoupled):
    """Decoupled hyperspherical energy: -s_ii / tau + log sum over the anchor's own view.

    The alignment and the energy of each view are apart.

    Args:
        tau: temperature, > 0.
        definition: symmetric: the mean of both views; one_sided: u's view alone; official: the
            logarithms of both views added, 2 symmetric + s_ii / tau, as the authors' code computes
            (there from a product of sums, which overflows at small tau).
        reduction, gather: see `PairLoss`.

    Reference: Koromilas et al., ICML 2024.

    >>> u = torch.eye(3)
    >>> round(float(DHEL(tau=0.5)(u, u)), 6)       # log(2) - 2
    -1.306853
    """

    saved = ("dhel",)

    def __init__(
        self,
        tau: float = 0.2,
        definition: DHELDefinition = "symmetric",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, get_args(DHELDefinition))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        positive = (u * v).sum(dim=1) / self.tau
        mask = others(len(u), u.device)
        of_u = masked_log_sum_exp(u @ u.T / self.tau, mask)
        if self.definition == "one_sided":
            return of_u - positive
        of_v = masked_log_sum_exp(v @ v.T / self.tau, mask)
        if self.definition == "official":
            return of_u + of_v - positive
        return 0.5 * (of_u + of_v) - positive


dhel = functional("dhel", DHEL)
