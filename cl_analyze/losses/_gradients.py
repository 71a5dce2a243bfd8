"""Gradients of Wang & Liu's losses with respect to the similarities, taken as free variables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cl_analyze.errors import ConfigError
from cl_analyze.losses._checks import one_of
from cl_analyze.losses._checks import positive as positive_number
from cl_analyze.losses._checks import share as checked_share
from cl_analyze.pairs.strips import n_kept


@dataclass(frozen=True)
class SimilarityGradients:
    """How a loss pulls the positive of each anchor and pushes the negatives.

    Attributes:
        probability: (M, 1 + K) P_ij, the softmax over the positive (first) and the negatives; NaN
            for the simple losses, which have no softmax.
        positive: (M,) dL / ds_ii <= 0.
        negatives: (M, K) dL / ds_ij >= 0.
        relative_penalty: (M, K) r_ij = negatives / their sum.

    >>> pulls = similarity_gradients(torch.ones(1), torch.tensor([[0.5, 0.0]]), tau=0.5)
    >>> bool(torch.isclose(pulls.positive, -pulls.negatives.sum(dim=1)))
    True
    """

    probability: Tensor
    positive: Tensor
    negatives: Tensor
    relative_penalty: Tensor


def similarity_gradients(
    positive: Tensor,
    negatives: Tensor,
    tau: float = 0.2,
    loss: Literal["contrastive", "hard_contrastive", "simple", "hard_simple"] = "contrastive",
    alpha: float = 0.1,
    weight: float | None = None,
) -> SimilarityGradients:
    """Gradients with respect to similarities, from their closed forms.

    For the (hard) contrastive loss the pushes sum to the pull: sum_j dL/ds_ij = -dL/ds_ii.

    Args:
        positive: (M,) similarity of each anchor's positive.
        negatives: (M, K) similarities of its negatives.
        tau: temperature of the (hard) contrastive loss.
        loss: the name of the loss.
        alpha: share of the negatives that the hard losses keep (tied ones: the first).
        weight: lambda of the simple losses; None: 1 / (number of kept negatives).

    Reference: Wang & Liu, CVPR 2021, eqs. 2, 4, 5 and 9.

    >>> pulls = similarity_gradients(torch.tensor([0.5]), torch.tensor([[0.5, 0.5]]), tau=0.5)
    >>> [round(float(g), 4) for g in (pulls.positive[0], *pulls.negatives[0])]
    [-1.3333, 0.6667, 0.6667]
    """
    if positive.ndim != 1 or negatives.ndim != 2 or len(positive) != len(negatives):
        raise ConfigError(
            "positive must be (M,) and negatives (M, K), found "
            f"{tuple(positive.shape)} and {tuple(negatives.shape)}"
        )
    allowed = ("contrastive", "hard_contrastive", "simple", "hard_simple")
    one_of("loss", loss, allowed)
    positive_number("tau", tau)
    checked_share("alpha", alpha)
    kept = torch.ones_like(negatives, dtype=torch.bool)
    if loss in ("hard_contrastive", "hard_simple"):
        # a stable sort: of tied negatives the first are kept
        order = negatives.argsort(dim=1, descending=True, stable=True)
        kept = torch.zeros_like(kept).scatter(
            1, order[:, : n_kept(alpha, negatives.shape[1])], True
        )
    if loss in ("simple", "hard_simple"):
        count = int(kept[0].sum()) if len(kept) else 1
        pushes = (1.0 / count if weight is None else weight) * kept.to(negatives.dtype)
        probability = torch.full(
            (len(positive), 1 + negatives.shape[1]), math.nan, dtype=negatives.dtype
        )
        share = kept.to(negatives.dtype) / count
        return SimilarityGradients(probability, -torch.ones_like(positive), pushes, share)
    logits = torch.cat([positive[:, None], negatives.masked_fill(~kept, -math.inf)], dim=1) / tau
    probability = torch.softmax(logits, dim=1)
    pushes = probability[:, 1:] / tau
    # the pull from the negatives' side: 1 - P_ii has no digits left where P_ii is near 1
    relative = torch.softmax(logits[:, 1:], dim=1)
    apart = torch.logsumexp(logits[:, 1:], dim=1) - logits[:, 0]
    return SimilarityGradients(probability, -torch.sigmoid(apart) / tau, pushes, relative)
