"""Sums over the negatives of each anchor, safe where an anchor has no negative."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cl_analyze.pairs.strips import n_kept


def others(n: int, device: torch.device) -> Tensor:
    """(n, n) booleans: every pair but i == j."""
    return ~torch.eye(n, dtype=torch.bool, device=device)


def masked_log_sum_exp(logits: Tensor, mask: Tensor) -> Tensor:
    """log sum exp over the entries of each row where the mask holds.

    Args:
        logits: (M, K).
        mask: (M, K) booleans.

    Returns:
        (M,), minus infinity (with a gradient of zero, not NaN) where a row has no entry.
    """
    has_entry = mask.any(dim=1)
    kept = logits.masked_fill(~mask & has_entry[:, None], -math.inf)
    return torch.where(has_entry, torch.logsumexp(kept, dim=1), -math.inf)


def both_views_log_sums(
    u: Tensor, v: Tensor, tau: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(M,) log sums of exp(s / tau) over rows of both views, of anchors u and of anchors v.

    Args:
        u, v: (M, D) unit rows.
        tau: temperature.
        mask: (M, M) booleans, which pairs are negatives; None: every other pair.
    """
    mask = others(len(u), u.device) if mask is None else mask
    both = torch.cat([mask, mask], dim=1)
    cross = u @ v.T
    of_u = masked_log_sum_exp(torch.cat([u @ u.T, cross], dim=1) / tau, both)
    of_v = masked_log_sum_exp(torch.cat([v @ v.T, cross.T], dim=1) / tau, both)
    return of_u, of_v


def hardest_negatives(u: Tensor, v: Tensor, alpha: float) -> Tensor:
    """(M, k) similarities of each anchor's k nearest negatives among the other rows of v."""
    similarity = (u @ v.T).masked_fill(~others(len(u), u.device), -math.inf)
    k = n_kept(alpha, len(u) - 1) if len(u) > 1 else 0
    return similarity.topk(k, dim=1).values
