"""The contrastive (InfoNCE) loss: Wang & Liu, CVPR 2021, eq. 1."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from cl_analyze.errors import ConfigError
from cl_analyze.losses._batch import PairLoss, Reduction, unit
from cl_analyze.losses._checks import check_rows, one_of, positive
from cl_analyze.losses._masked import masked_log_sum_exp, others

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

    def __init__(
        self,
        tau: float = 0.2,
        definition: Definition = "one_way",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        allowed = ("one_way", "symmetric", "moco", "one_way_queue")
        self.definition = one_of("definition", definition, allowed)

    def values(
        self,
        u: Tensor,
        v: Tensor,
        labels: Tensor | None,
        queue: Tensor | None = None,
        **extra: Any,
    ) -> Tensor:
        """(M,) values of the pairs."""
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
            extra_logits = u @ unit(queue).T / self.tau
            if self.definition == "moco":
                return functional.softplus(torch.logsumexp(extra_logits, dim=1) - positive)
            every = torch.ones_like(extra_logits, dtype=torch.bool)
            logits, mask = torch.cat([logits, extra_logits], 1), torch.cat([mask, every], 1)
        # softplus of the decoupled loss: exact also where the loss is tiny
        forward = functional.softplus(masked_log_sum_exp(logits, mask) - positive)
        if self.definition != "symmetric":
            return forward
        backward = functional.softplus(masked_log_sum_exp(logits.T, mask) - positive)
        return 0.5 * (forward + backward)


def contrastive(
    u: Tensor,
    v: Tensor,
    tau: float = 0.2,
    definition: Definition = "one_way",
    queue: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The contrastive loss of two views; see `Contrastive`.

    >>> u = torch.eye(3)
    >>> round(float(contrastive(u, u, tau=0.5)), 6)       # log(1 + 2 * exp(-2))
    0.239545
    """
    loss = Contrastive(tau, definition, reduction, gather=False)
    return loss(u, v) if queue is None else loss(u, v, queue=queue)  # type: ignore[no-any-return]
