"""DHEL: the decoupled hyperspherical energy loss."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from cl_analyze.losses._batch import PairLoss, Reduction, some_other_pair
from cl_analyze.losses._checks import one_of, positive
from cl_analyze.losses._masked import masked_log_sum_exp, others

Definition = Literal["symmetric", "one_sided", "official"]


class DHEL(PairLoss):
    """-s_ii / tau + log sum over the anchor's own view: alignment apart from energy.

    Args:
        tau: temperature, > 0.
        definition: symmetric: the mean of both views; one_sided: u's view alone; official: the
            logarithms of both views added, 2 symmetric + s_ii / tau, as the authors' code computes
            (there from a product of sums, which overflows at small tau).
        reduction, gather: see `PairLoss`.

    Reference: Koromilas et al., ICML 2024.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(DHEL(tau=0.5)(u, u)), 6)       # log(2) - 2
    -1.306853
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
        allowed = ("symmetric", "one_sided", "official")
        self.definition = one_of("definition", definition, allowed)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None, **extra: Any) -> Tensor:
        """(M,) values of the pairs."""
        positive = (u * v).sum(dim=1) / self.tau
        mask = others(len(u), u.device)
        of_u = masked_log_sum_exp(u @ u.T / self.tau, mask)
        if self.definition == "one_sided":
            return of_u - positive
        of_v = masked_log_sum_exp(v @ v.T / self.tau, mask)
        if self.definition == "official":
            return of_u + of_v - positive
        return 0.5 * (of_u + of_v) - positive

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """No pair where there is no other."""
        return some_other_pair(u)


def dhel(
    u: Tensor,
    v: Tensor,
    tau: float = 0.2,
    definition: Definition = "symmetric",
    reduction: Reduction = "mean",
) -> Tensor:
    """DHEL of two views; see `DHEL`.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(dhel(u, u, tau=0.5)), 6)       # log(2) - 2
    -1.306853
    """
    return DHEL(tau, definition, reduction, gather=False)(u, v)  # type: ignore[no-any-return]
