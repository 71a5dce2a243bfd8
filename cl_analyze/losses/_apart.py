"""Losses that look at each pair of rows by itself, without a softmax: SigLIP and spectral."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from cl_analyze.losses._batch import PairLoss, Reduction
from cl_analyze.losses._checks import number, positive
from cl_analyze.losses._functional import functional
from cl_analyze.losses._negatives import others
from cl_analyze.options import MetricOptions


class SigLIP(PairLoss):
    """-log sigmoid(z_ii) - sum_{j != i} log sigmoid(-z_ij), z_ij = s_ij / tau + bias.

    A yes or no about every pair: row i of one view belongs to row i of the other and to no other
    row.  A sum over the negatives, not a mean: the loss of a batch grows with its size.

    Args:
        tau: temperature, > 0.
        bias: added to s / tau; with the negative default most pairs start as a no.
        reduction, gather: see `PairLoss`.

    In the paper 1 / tau and the bias are learned; here they are given.

    Reference: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, eq. 1.

    >>> import torch
    >>> u = torch.eye(3)
    >>> round(float(SigLIP(tau=0.1, bias=-10.0)(u, u)), 6)       # log(2) + 2 log(1 + exp(-10))
    0.693238
    """

    saved = ("siglip",)

    def __init__(
        self,
        tau: float = 0.1,
        bias: float = MetricOptions.siglip_bias,
        reduction: Reduction = "mean",
        gather: bool = True,
    ) -> None:
        super().__init__(reduction, gather)
        self.tau = positive("tau", tau)
        self.bias = number("bias", bias)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        logits = u @ v.T / self.tau + self.bias
        noes = -logsigmoid(-logits).masked_fill(~others(len(u), u.device), 0.0)
        return noes.sum(dim=1) - logsigmoid((u * v).sum(dim=1) / self.tau + self.bias)


siglip = functional("siglip", SigLIP)


class SpectralContrastive(PairLoss):
    """-2 s_ii + mean_{j != i} s_ij^2: negatives are pushed to right angles, not away.

    A U-statistic: its expectation over batches does not depend on their size.

    Args:
        reduction, gather: see `PairLoss`.

    Reference: HaoChen et al., "Provable Guarantees for Self-Supervised Deep Learning with Spectral
    Contrastive Loss", NeurIPS 2021, eq. 6.

    >>> import torch
    >>> u = torch.eye(3)
    >>> float(SpectralContrastive()(u, u))
    -2.0
    """

    saved = ("spectral_contrastive",)

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        squares = (u @ v.T).square().masked_fill(~others(len(u), u.device), 0.0)
        return squares.sum(dim=1) / max(len(u) - 1, 1) - 2.0 * (u * v).sum(dim=1)


spectral_contrastive = functional("spectral_contrastive", SpectralContrastive)
