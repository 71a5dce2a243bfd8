"""Negatives-only supervised contrastive loss."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from cl_analyze.losses._batch import PairLoss, Reduction, labelled
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._masked import masked_log_sum_exp

Definition = Literal["decoupled", "official"]


class NSCL(PairLoss):
    """DCL whose negatives are rows of other classes alone; a mean over anchors of both views.

    Args:
        tau: temperature, > 0.
        definition: decoupled: as the paper has it; official: the authors' code, which adds the
            positive under the logarithm.
        reduction, gather: see `PairLoss`.

    Called with (u, v, labels); rows with a negative label take no part, and an anchor whose class
    is the whole batch has no value.

    Reference: Luthra et al., "Self-Supervised Contrastive Learning is Approximately Supervised
    Contrastive Learning", 2025.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(NSCL(tau=0.5)(u, u, labels)), 6)
    -1.075804
    """

    def __init__(
        self,
        tau: float = 0.2,
        definition: Definition = "decoupled",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, ("decoupled", "official"))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        labels = labelled(labels, "NSCL")
        known = labels >= 0
        mask = (labels[:, None] != labels[None, :]) & known[:, None] & known[None, :]
        mask = torch.cat([mask, mask], dim=1)
        positive = (u * v).sum(dim=1) / self.tau
        cross = u @ v.T
        values = torch.zeros_like(positive)
        for own, logits in ((u, cross), (v, cross.T)):
            both = torch.cat([own @ own.T, logits], dim=1) / self.tau
            decoupled = masked_log_sum_exp(both, mask) - positive
            if self.definition == "official":
                decoupled = functional.softplus(decoupled)
            values = values + 0.5 * decoupled
        return values

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """Labelled rows for which there is a row of another class."""
        if labels is None:
            return None
        known = labels[labels >= 0]
        several = len(known) > 0 and bool((known != known[0]).any())
        return (labels >= 0) & several


def nscl(
    u: Tensor,
    v: Tensor,
    labels: Tensor,
    tau: float = 0.2,
    definition: Definition = "decoupled",
    reduction: Reduction = "mean",
) -> Tensor:
    """The negatives-only supervised contrastive loss of two views; see `NSCL`.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(nscl(u, u, labels, tau=0.5)), 6)
    -1.075804
    """
    loss = NSCL(tau, definition, reduction, gather=False)
    return loss(u, v, labels)  # type: ignore[no-any-return]
