"""Positives against negatives by loops: the oracle of separation and suspects."""

from __future__ import annotations

import math

import numpy as np


def separation(positives, negatives, fprs):
    """AUROC of each anchor and pooled, equal error rate, TPR at FPR, d', violations.

    Args:
        positives: for each anchor its positives' similarities, perhaps none.
        negatives: for each anchor its negatives'.
        fprs: false-positive rates.
    """
    own, violated = [], []
    for mine, others in zip(positives, negatives, strict=True):
        if len(mine) and len(others):
            others = np.asarray(others)
            own.append(np.mean([np.mean(others < p) + 0.5 * np.mean(others == p) for p in mine]))
            violated.append(np.mean([others.max() > p for p in mine]))
    every = np.concatenate([np.asarray(mine, float) for mine in positives])
    votes = np.concatenate([[1.0 / len(mine) for _ in mine] for mine in positives if len(mine)])
    votes = votes / votes.sum()
    noise = np.concatenate([np.asarray(others, float) for others in negatives])
    pooled = math.fsum(
        w * (np.mean(noise < p) + 0.5 * np.mean(noise == p))
        for p, w in zip(every, votes, strict=True)
    )
    at = np.sort(np.concatenate([every, noise]))[::-1]
    tpr = np.array([votes[every >= t].sum() for t in at])
    fpr = np.array([np.mean(noise >= t) for t in at])
    k = int(np.argmax(fpr >= 1 - tpr))
    f0, m0 = (0.0, 1.0) if k == 0 else (fpr[k - 1], 1 - tpr[k - 1])
    f1, m1 = fpr[k], 1 - tpr[k]
    apart = (m0 - f0) + (f1 - m1)
    equal = f0 + ((m0 - f0) / apart if apart > 0 else 0.0) * (f1 - f0)
    rates = {f: tpr[fpr <= f].max() if (fpr <= f).any() else 0.0 for f in fprs}
    mean = float(votes @ every)
    variance = float(votes @ (every - mean) ** 2)
    spread = math.sqrt((variance + noise.var()) / 2)
    return {
        "per_anchor": float(np.mean(own)),
        "pooled": pooled,
        "equal_error_rate": float(equal),
        "tpr": rates,
        "d_prime": (mean - noise.mean()) / spread,
        "violation_share": float(np.mean(violated)),
    }


def suspects(least, negatives, margin):
    """Share of anchors with a suspect, and the suspect pairs (anchor, position of the negative).

    Args:
        least: for each anchor its least positive, None without one.
        negatives: for each anchor its negatives' similarities.
        margin: the margin.
    """
    shares, pairs = [], []
    for anchor, (own, others) in enumerate(zip(least, negatives, strict=True)):
        if own is None or own <= 0 or not len(others):
            continue
        found = [(anchor, at) for at, s in enumerate(others) if s > margin * own]
        shares.append(bool(found))
        pairs += found
    return float(np.mean(shares)), pairs
