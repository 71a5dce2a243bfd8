"""Invariance to an extraneous variable, as a discrepancy between its classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction, labelled
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._masked import others


class ICL(PairLoss):
    """Rows of different classes of an extraneous variable attract each other, of one class repel.

    mmd: sum over ordered pairs of classes of |mu_c - mu_c'|^2 over both views, which equals
    sum_{c != c'} of mean distances minus (C - 1) times the mean distance within each class.
    exponential: the repulsion within a class is exp(a - b |z - z'|) in place of -|z - z'|^2 (self
    pairs counted, as in the authors' code).

    Args:
        definition: mmd or exponential.
        a, b: of the exponential repulsion.
        reduction, gather: see `PairLoss`; values of pairs are such that their mean is the loss.

    Called with (u, v, labels), labels the classes of the extraneous variable.

    Reference: Akash et al., "Learning Invariant Representations using Inverse Contrastive Loss",
    AAAI 2021.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(ICL()(u, u, labels)), 6)
    3.0
    """

    def __init__(
        self,
        definition: str = "mmd",
        a: float = 1.0,
        b: float = 1.0,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.definition = one_of("definition", definition, ("mmd", "exponential"))
        self.a = a
        self.b = positive("b", b)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        labels = labelled(labels, "ICL")
        rows, classes = torch.cat([u, v]), torch.cat([labels, labels])
        known = classes >= 0
        names, codes = torch.unique(classes[known], return_inverse=True)
        counts = torch.bincount(codes, minlength=len(names)).to(rows.dtype)
        weight = torch.zeros(len(rows), dtype=rows.dtype, device=rows.device)
        weight[known] = 1.0 / counts[codes]
        d2 = (2.0 - 2.0 * rows @ rows.T).clamp(min=0)
        same = (classes[:, None] == classes[None, :]) & known[:, None] & known[None, :]
        differ = known[:, None] & known[None, :] & ~same
        pull = (d2 * differ) @ weight
        if self.definition == "mmd":
            push = -(d2 * same) @ weight
        else:
            # of a row with itself the distance is 0, without a gradient
            inside = others(len(rows), rows.device)
            distance = torch.where(inside, d2, 1.0).clamp(min=1e-24).sqrt() * inside
            push = (torch.exp(self.a - self.b * distance) * same) @ weight
        n = known.sum() / 2
        each = weight * (pull + (len(names) - 1) * push) * n
        return each[: len(u)] + each[len(u) :]

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """Labelled rows."""
        return None if labels is None else labels >= 0


def icl(
    u: Tensor,
    v: Tensor,
    labels: Tensor,
    definition: str = "mmd",
    a: float = 1.0,
    b: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Inverse contrastive loss of two views; see `ICL`.

    >>> u = torch.eye(3)
    >>> labels = torch.tensor([0, 0, 1])
    >>> round(float(icl(u, u, labels)), 6)
    3.0
    """
    return ICL(definition, a, b, reduction, gather=False)(u, v, labels)  # type: ignore[no-any-return]
