"""InfoNCE: over all negatives, over the hardest, over both views, and with shared gradients."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from cl_analyze.errors import ConfigError
from cl_analyze.losses._batch import PairLoss, Reduction, unit
from cl_analyze.losses._checks import check_rows, one_of, positive
from cl_analyze.losses._checks import share as checked_share
from cl_analyze.losses._functional import functional
from cl_analyze.losses._negatives import (
    both_views_log_sums,
    hardest_negatives,
    masked_log_sum_exp,
    others,
)

Definition = Literal["one_way", "symmetric", "moco", "one_way_queue"]


class Contrastive(PairLoss):
    """L_i = -s_ii / tau + log sum_k exp(s_ik / tau), k over the positive and the negatives.

    Args:
        tau: temperature, > 0.
        definition: which negatives and which anchors.
            one_way: anchors u, negatives the other rows of v (eq. 1).
            symmetric: the mean of both directions, as CLIP trains.
            moco: anchors u, negatives the queue alone.
            one_way_queue: anchors u, negatives the other rows of v and the queue.
        reduction, gather: see `PairLoss`.

    Called with (u, v), and `queue=` (K, D) extra negatives for the definitions that have one.
    Cost: O(M^2 D) (or O(M K D)).

    Reference: Wang & Liu, CVPR 2021, eq. 1; van den Oord et al., 2018; He et al., CVPR 2020.

    >>> u = torch.eye(3)
    >>> round(float(Contrastive(tau=0.5)(u, u)), 6)       # log(1 + 2 exp(-2))
    0.239545
    """

    extras = ("queue",)
    saved = ("contrastive",)

    def __init__(
        self,
        tau: float = 0.2,
        definition: Definition = "one_way",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, get_args(Definition))

    def values(
        self, u: Tensor, v: Tensor, labels: Tensor | None, queue: Tensor | None = None
    ) -> Tensor:
        uses_queue = self.definition in ("moco", "one_way_queue")
        if uses_queue != (queue is not None):
            raise ConfigError(
                f"contrastive[{self.definition}] "
                + ("needs queue=(K, D)" if uses_queue else "has no queue; use moco, one_way_queue")
            )
        positive = (u * v).sum(dim=1) / self.tau
        logits = u @ v.T / self.tau
        mask = others(len(u), u.device)
        if queue is not None:
            check_rows("queue", queue, u.shape[1])
            of_queue = u @ unit(queue).T / self.tau
            if self.definition == "moco":
                return softplus(torch.logsumexp(of_queue, dim=1) - positive)
            every = torch.ones_like(of_queue, dtype=torch.bool)
            logits, mask = torch.cat([logits, of_queue], 1), torch.cat([mask, every], 1)
        # softplus of the decoupled loss: exact also where the loss is tiny
        forward = softplus(masked_log_sum_exp(logits, mask) - positive)
        if self.definition != "symmetric":
            return forward
        backward = softplus(masked_log_sum_exp(logits.T, mask) - positive)
        return 0.5 * (forward + backward)


def contrastive(
    u: Tensor,
    v: Tensor,
    tau: float = 0.2,
    definition: Definition = "one_way",
    queue: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The function of `Contrastive`, with the queue among its parameters.

    >>> u = torch.eye(3)
    >>> round(float(contrastive(u, u, tau=0.5)), 6)       # log(1 + 2 * exp(-2))
    0.239545
    """
    further = {} if queue is None else {"queue": queue}
    loss: Tensor = Contrastive(tau, definition, reduction, gather=False)(u, v, **further)
    return loss


class HardContrastive(PairLoss):
    """The contrastive loss over a share alpha of the negatives: the hardest of each anchor.

    k = max(1, ceil(alpha K - 1e-9)) of the K = M - 1 negatives are kept, anchor by anchor; of
    negatives tied at the threshold, as many as fill k (whichever, the value is the same).

    Args:
        tau: temperature, > 0.
        alpha: share of the negatives that is kept, in (0, 1].
        reduction, gather: see `PairLoss`.

    Reference: Wang & Liu, CVPR 2021, eqs. 8-9.

    >>> u = torch.eye(3)
    >>> round(float(HardContrastive(tau=0.5, alpha=0.5)(u, u)), 6)       # log(1 + exp(-2))
    0.126928
    """

    saved = ("hard_contrastive",)

    def __init__(
        self,
        tau: float = 0.2,
        alpha: float = 0.1,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.alpha = checked_share("alpha", alpha)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        hardest = hardest_negatives(u, v, self.alpha)
        positive = (u * v).sum(dim=1) / self.tau
        if hardest.shape[1] == 0:
            return 0.0 * positive
        return softplus(torch.logsumexp(hardest / self.tau, dim=1) - positive)


hard_contrastive = functional("hard_contrastive", HardContrastive)


class NTXent(PairLoss):
    """SimCLR's contrastive loss with the negatives of both views, a mean over all 2M anchors.

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

    saved = ("nt_xent",)

    def __init__(
        self, tau: float = 0.2, reduction: Reduction = "mean", gather: bool = True
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        positive = (u * v).sum(dim=1) / self.tau
        of_u, of_v = both_views_log_sums(u, v, self.tau)
        return 0.5 * (softplus(of_u - positive) + softplus(of_v - positive))


nt_xent = functional("nt_xent", NTXent)


class AInfoNCE(PairLoss):
    """Asymmetric InfoNCE: views share the gradients unevenly, hard negatives can weigh more.

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

    saved = ("a_infonce",)

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

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
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
        return softplus(log_negatives - positive)


a_infonce = functional("a_infonce", AInfoNCE)
