"""Asymmetric InfoNCE with reweighted negatives."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cl_analyze.errors import ConfigError
from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import positive
from cl_analyze.losses._checks import share as checked_share
from cl_analyze.losses._masked import masked_log_sum_exp, others


class AInfoNCE(PairLoss):
    """InfoNCE whose gradients are shared unevenly between the views, with hard-negative weights.

    The similarity is share u . stop(v) + (1 - share) stop(u) . v: its value is that of the
    symmetric contrastive loss whatever the share, only gradients differ.  With beta > 0 negatives
    weigh exp(beta s / tau) (mean 1), with tau_plus > 0 the expected false negatives are subtracted.

    Args:
        tau: temperature, > 0.
        share: of the gradient that goes to u.
        positive_weight: factor on each pair's value.
        tau_plus: share of false negatives that is assumed, in [0, 1).
        beta: how much harder negatives weigh more.
        reduction, gather: see `PairLoss`.

    Reference: Yu et al., "Adversarial Contrastive Learning via Asymmetric InfoNCE", ECCV 2022;
    Robinson et al., ICLR 2021, for the weights.

    >>> u = torch.eye(3)
    >>> round(float(AInfoNCE(tau=0.5)(u, u)), 6)       # log(1 + 2 * exp(-2))
    0.239545
    """

    def __init__(
        self,
        tau: float = 0.2,
        share: float = 0.5,
        positive_weight: float = 1.0,
        tau_plus: float = 0.0,
        beta: float = 0.0,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.share = checked_share("share", share, including=True)
        self.positive_weight = positive("positive_weight", positive_weight)
        self.tau_plus = checked_share("tau_plus", tau_plus, including=True)
        if self.tau_plus == 1:
            raise ConfigError("tau_plus must lie in [0, 1), found 1")
        self.beta = 0.0 if beta == 0 else positive("beta", beta)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        s = self.share
        logits = (s * u @ v.detach().T + (1 - s) * u.detach() @ v.T) / self.tau
        forward, backward = self._one_way(logits), self._one_way(logits.T)
        return 0.5 * self.positive_weight * (forward + backward)

    def _one_way(self, logits: Tensor) -> Tensor:
        positive = logits.diagonal()
        n = len(logits) - 1
        if n == 0:
            return 0.0 * positive
        mask = others(len(logits), logits.device)
        weighing = masked_log_sum_exp(self.beta * logits, mask) - math.log(n)
        log_negatives = masked_log_sum_exp((1.0 + self.beta) * logits, mask) - weighing
        if self.tau_plus > 0:
            assumed = math.log(self.tau_plus * n) + positive
            rest = (1.0 - torch.exp((assumed - log_negatives).clamp(max=-1e-6))).log()
            floor = math.log(n) - 1.0 / self.tau
            debiased = log_negatives + rest - math.log1p(-self.tau_plus)
            log_negatives = torch.where(
                assumed < log_negatives, debiased, torch.full_like(debiased, floor)
            ).clamp(min=floor)
        return functional.softplus(log_negatives - positive)


def a_infonce(
    u: Tensor,
    v: Tensor,
    tau: float = 0.2,
    share: float = 0.5,
    positive_weight: float = 1.0,
    tau_plus: float = 0.0,
    beta: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Asymmetric InfoNCE of two views; see `AInfoNCE`.

    >>> u = torch.eye(3)
    >>> round(float(a_infonce(u, u, tau=0.5)), 6)       # log(1 + 2 * exp(-2))
    0.239545
    """
    loss = AInfoNCE(tau, share, positive_weight, tau_plus, beta, reduction, gather=False)
    return loss(u, v)  # type: ignore[no-any-return]
