"""Supervised contrastive loss."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction, labelled
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._masked import masked_log_sum_exp, others

Definition = Literal["out", "in"]


class SupCon(PairLoss):
    """Every row of the anchor's class, in either view, is a positive; a mean over 2M anchors.

    Args:
        tau: temperature, > 0 (without the factor tau / base_tau of the authors' code).
        definition: whether the mean over positives stands outside or inside the logarithm
            (in <= out).
        reduction, gather: see `PairLoss`.

    Called with (u, v, labels); rows with a negative label take no part.

    Reference: Khosla et al., NeurIPS 2020, eqs. 2 and 3.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(SupCon(tau=0.5)(u, u, labels)), 6)
    1.321542
    """

    def __init__(
        self,
        tau: float = 0.2,
        definition: Definition = "out",
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.definition = one_of("definition", definition, ("out", "in"))

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        labels = labelled(labels, "SupCon")
        rows, classes = torch.cat([u, v]), torch.cat([labels, labels])
        logits = rows @ rows.T / self.tau
        known = classes >= 0
        counted = others(len(rows), rows.device) & known[:, None] & known[None, :]
        positives = counted & (classes[:, None] == classes[None, :])
        log_total = masked_log_sum_exp(logits, counted)
        n_positives = positives.sum(dim=1).clamp(min=1).to(logits.dtype)
        if self.definition == "out":
            aligned = logits.masked_fill(~positives, 0.0).sum(dim=1) / n_positives
        else:
            aligned = masked_log_sum_exp(logits, positives) - n_positives.log()
        values = torch.where(known, log_total - torch.where(known, aligned, 0.0), 0.0)
        return 0.5 * (values[: len(u)] + values[len(u) :])

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """Labelled rows."""
        return None if labels is None else labels >= 0


def supcon(
    u: Tensor,
    v: Tensor,
    labels: Tensor,
    tau: float = 0.2,
    definition: Definition = "out",
    reduction: Reduction = "mean",
) -> Tensor:
    """The supervised contrastive loss of two views; see `SupCon`.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(supcon(u, u, labels, tau=0.5)), 6)
    1.321542
    """
    loss = SupCon(tau, definition, reduction, gather=False)
    return loss(u, v, labels)  # type: ignore[no-any-return]
