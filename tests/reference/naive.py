"""The definitions, written out as loops over rows and pairs in float64.

Nothing here is shared with the package: it is what its numbers are checked against.
"""

from __future__ import annotations

import math

import numpy as np


def unit(rows):
    rows = np.asarray(rows, dtype=np.float64)
    out = np.empty_like(rows)
    for i, row in enumerate(rows):
        largest = max(abs(float(v)) for v in row)
        scaled = [float(v) / largest for v in row]
        norm = math.sqrt(math.fsum(v * v for v in scaled))
        out[i] = [v / norm for v in scaled]
    return out


def cosines(rows, others=None):
    x = unit(rows)
    y = x if others is None else unit(others)
    return np.array([[math.fsum(a * b for a, b in zip(p, q, strict=True)) for q in y] for p in x])


def log_sum_exp(values):
    values = list(values)
    if not values:
        return -math.inf
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def uniformity(s, t, self_pairs=False):
    n = len(s)
    exponents = [-t * (2 - 2 * s[i][j]) for i in range(n) for j in range(n) if i != j or self_pairs]
    return log_sum_exp(exponents) - math.log(len(exponents))


def uniformity_variance(s, t):
    """Unbiased variance of the kernel's mean, from its definition over index patterns."""
    n = len(s)
    h = np.exp(-t * (2 - 2 * s))
    np.fill_diagonal(h, 0.0)
    pairs = shared = disjoint = 0.0
    n_pairs = n_shared = n_disjoint = 0
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            for k in range(n):
                for m in range(n):
                    if k == m:
                        continue
                    common = len({i, j} & {k, m})
                    value = h[i, j] * h[k, m]
                    if common == 2:
                        pairs, n_pairs = pairs + value, n_pairs + 1
                    elif common == 1:
                        shared, n_shared = shared + value, n_shared + 1
                    else:
                        disjoint, n_disjoint = disjoint + value, n_disjoint + 1
    squared_mean = disjoint / n_disjoint
    zeta_1 = shared / n_shared - squared_mean
    zeta_2 = pairs / n_pairs - squared_mean
    return 2 / (n * (n - 1)) * (2 * (n - 2) * max(zeta_1, 0.0) + zeta_2)


def same_class(labels):
    n = len(labels)
    return [
        [i != j and labels[i] is not None and labels[i] == labels[j] for j in range(n)]
        for i in range(n)
    ]


def tolerance(s, labels):
    """All definitions by name; None where there is no pair to average."""
    kept = [i for i, label in enumerate(labels) if label is not None]
    classes = sorted({labels[i] for i in kept}, key=str)
    same = [s[i][j] for i in kept for j in kept if i != j and labels[i] == labels[j]]
    different = [s[i][j] for i in kept for j in kept if labels[i] != labels[j]]
    including = [s[i][j] for i in kept for j in kept if labels[i] == labels[j]]
    by_class = []
    for c in classes:
        members = [i for i in kept if labels[i] == c]
        if len(members) >= 2:
            by_class.append(mean(s[i][j] for i in members for j in members if i != j))
    found = {
        "micro_excl": mean(same),
        "macro_excl": mean(by_class),
        "micro_incl": mean(including),
        "indicator": math.fsum(including) / len(kept) ** 2 if kept else None,
        "between": mean(different),
    }
    both = found["micro_excl"] is not None and found["between"] is not None
    found["gap"] = found["micro_excl"] - found["between"] if both else None
    return found


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def nearest(s, rank, allowed=None):
    """Each row's rank-th nearest other (from 1), None where there are fewer."""
    n = len(s)
    found = []
    for i in range(n):
        others = [j for j in range(n) if j != i and (allowed is None or allowed[i][j])]
        others.sort(key=lambda j: (-round(s[i][j] * 2**40), j))
        found.append((s[i][others[rank - 1]], others[rank - 1]) if len(others) >= rank else None)
    return found


def penalty(s, tau, labels=None, allowed=None):
    """Means over anchors of the penalty's summaries at one temperature."""
    n = len(s)
    entropy, exp_entropy, top1, top10, false_share, even_share = [], [], [], [], [], []
    for i in range(n):
        negatives = [j for j in range(n) if j != i and (allowed is None or allowed[i][j])]
        if not negatives:
            continue
        log_mass = log_sum_exp(s[i][j] / tau for j in negatives)
        r = {j: math.exp(s[i][j] / tau - log_mass) for j in negatives}
        h = -math.fsum(v * math.log(v) for v in r.values() if v > 0)
        entropy.append(h)
        exp_entropy.append(math.exp(h))
        ordered = sorted(r.values(), reverse=True)
        top1.append(ordered[0])
        top10.append(math.fsum(ordered[:10]))
        if labels is not None and labels[i] is not None:
            same = [j for j in negatives if labels[j] == labels[i]]
            false_share.append(math.fsum(r[j] for j in same))
            even_share.append(len(same) / (n - 1))
    found = {
        "penalty_entropy": mean(entropy),
        "mean_exp": mean(exp_entropy),
        "exp_mean": None if not entropy else math.exp(mean(entropy)),
        "penalty_top1_share": mean(top1),
        "penalty_top10_share": mean(top10),
        "penalty_false_negative_share": mean(false_share),
    }
    even = mean(even_share)
    found["penalty_false_negative_ratio"] = (
        found["penalty_false_negative_share"] / even if even else None
    )
    return found


def temperature(s, level, of_top10=False, allowed=None, low=1e-3, high=1e3):
    """Where the effective negatives (or the ten nearest) have a share, by bisection; None: nowhere.

    The effective number falls below the level, and the share of the ten nearest rises above it, as
    the temperature falls.
    """
    n = len(s)
    counts = [
        sum(1 for j in range(n) if j != i and (allowed is None or allowed[i][j])) for i in range(n)
    ]
    n_negatives = mean(count for count in counts if count)
    if not of_top10 and (n_negatives is None or level * n_negatives <= 1):
        return None  # one negative is the limit for small temperatures

    def is_above(tau):
        found = penalty(s, tau, None, allowed)
        if of_top10:
            return found["penalty_top10_share"] < level
        return found["mean_exp"] > level * n_negatives

    if is_above(low) or not is_above(high):
        return None
    while high > low * (1 + 1e-9):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return math.sqrt(low * high)


def jackknife_error(statistic, n):
    """std(p) / sqrt(n) over the pseudo-values of a statistic of a list of rows."""
    everything = statistic(list(range(n)))
    pseudo = [
        n * everything - (n - 1) * statistic([j for j in range(n) if j != i]) for i in range(n)
    ]
    centre = math.fsum(pseudo) / n
    return math.sqrt(math.fsum((p - centre) ** 2 for p in pseudo) / (n - 1) / n)
