"""Log-sum-exp over some entries of each row, safe where a row has none."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def masked_log_sum_exp(logits: Tensor, mask: Tensor) -> Tensor:
    """log sum exp over the entries of each row where the mask holds.

    Args:
        logits: (M, K).
        mask: (M, K) booleans.

    Returns:
        (M,), minus infinity (with a gradient of zero, not NaN) where a row has no entry.
    """
    there = mask.any(dim=1)
    kept = logits.masked_fill(~mask & there[:, None], -math.inf)
    return torch.where(there, torch.logsumexp(kept, dim=1), -math.inf)


def others(n: int, device: torch.device) -> Tensor:
    """(n, n) booleans: every pair but i == j."""
    return ~torch.eye(n, dtype=torch.bool, device=device)
