"""The losses, written out as loops over pairs in float64, from their papers' formulas.

Nothing here is shared with the package: it is what both its faces are checked against.
"""

from __future__ import annotations

import math

import numpy as np

from tests.reference.naive import log_sum_exp, unit


def kernel(name, d2, t):
    if name == "gaussian":
        return math.exp(-t * d2)
    if name == "log":
        return -0.5 * math.log1p(t * d2)
    if name == "imq":
        return t / math.sqrt(t * t + d2)
    return math.inf if d2 == 0 else d2 ** (-t / 2)


class Views:
    """Two views' similarities and distances, by loops."""

    def __init__(self, u, v, labels=None, queue=None):
        self.u, self.v = unit(u), unit(v)
        self.saved = {"as_saved": (u, v), "normalised": (self.u, self.v)}
        self.n = len(self.u)
        self.labels = labels
        self.queue = None if queue is None else unit(queue)
        self.same = {"u": self.dots(self.u, self.u), "v": self.dots(self.v, self.v)}
        self.cross = {"u": self.dots(self.u, self.v), "v": self.dots(self.v, self.u)}
        self.positive = [self.cross["u"][i][i] for i in range(self.n)]

    @staticmethod
    def dots(a, b):
        return [[math.fsum(x * y for x, y in zip(p, q, strict=True)) for q in b] for p in a]

    def d2(self, i):
        return math.fsum((a - b) ** 2 for a, b in zip(self.u[i], self.v[i], strict=True))

    def others(self, i):
        return [j for j in range(self.n) if j != i]

    def within(self, view, i, allowed=None):
        return [self.same[view][i][j] for j in self.others(i) if allowed is None or allowed(j)]

    def across(self, view, i, allowed=None):
        return [self.cross[view][i][j] for j in self.others(i) if allowed is None or allowed(j)]

    def known(self):
        return [i for i in range(self.n) if self.labels[i] is not None]


def lse(values, tau):
    return log_sum_exp([value / tau for value in values])


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def contrastive(w, tau, view="u"):
    return mean(
        lse([w.positive[i], *w.across(view, i)], tau) - w.positive[i] / tau for i in range(w.n)
    )


def symmetric(w, tau):
    return 0.5 * (contrastive(w, tau) + contrastive(w, tau, "v"))


def with_queue(w, tau, batch):
    keys = [
        [math.fsum(a * b for a, b in zip(row, key, strict=True)) for key in w.queue] for row in w.u
    ]
    return mean(
        lse([w.positive[i], *keys[i], *(w.across("u", i) if batch else [])], tau)
        - w.positive[i] / tau
        for i in range(w.n)
    )


def hardest(w, i, alpha):
    k = max(1, math.ceil(alpha * (w.n - 1) - 1e-9))
    return sorted(w.across("u", i), reverse=True)[:k]


def hard_contrastive(w, tau, alpha):
    return mean(
        lse([w.positive[i], *hardest(w, i, alpha)], tau) - w.positive[i] / tau for i in range(w.n)
    )


def simple(w, weight=None):
    weight = 1 / (w.n - 1) if weight is None else weight
    return mean(weight * math.fsum(w.across("u", i)) - w.positive[i] for i in range(w.n))


def hard_simple(w, alpha, weight=None):
    kept = [hardest(w, i, alpha) for i in range(w.n)]
    weight = 1 / len(kept[0]) if weight is None else weight
    return mean(weight * math.fsum(kept[i]) - w.positive[i] for i in range(w.n))


def triplet_limit(w):
    return mean(max(0.0, max(w.across("u", i)) - w.positive[i]) for i in range(w.n))


def nt_xent(w, tau):
    values = []
    for view in ("u", "v"):
        for i in range(w.n):
            terms = [w.positive[i], *w.within(view, i), *w.across(view, i)]
            values.append(lse(terms, tau) - w.positive[i] / tau)
    return mean(values)


def dcl(w, tau, views=("u", "v")):
    return mean(
        lse([*w.within(view, i), *w.across(view, i)], tau) - w.positive[i] / tau
        for view in views
        for i in range(w.n)
    )


def dclw(w, tau, sigma=0.5):
    norm = math.fsum(math.exp(s / sigma) for s in w.positive)
    values = []
    for i in range(w.n):
        weight = 2 - w.n * math.exp(w.positive[i] / sigma) / norm
        values.append(
            lse([*w.within("u", i), *w.across("u", i)], tau) - weight * w.positive[i] / tau
        )
    return mean(values)


def dhel(w, tau, definition):
    one = mean(lse(w.within("u", i), tau) for i in range(w.n))
    two = mean(lse(w.within("v", i), tau) for i in range(w.n))
    pull = mean(w.positive) / tau
    if definition == "one_sided":
        return one - pull
    return one + two - pull if definition == "official" else 0.5 * (one + two) - pull


def energy(w, view, name, t):
    rows = w.u if view == "u" else w.v
    return mean(
        kernel(name, math.fsum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True)), t)
        for i in range(w.n)
        for j in range(i)
    )


def kcl(w, name, t, gamma, factor=2.0, aligned_by=None):
    by, at = aligned_by or (name, t)
    pull = factor * mean(kernel(by, w.d2(i), at) for i in range(w.n))
    return gamma * (energy(w, "u", name, t) + energy(w, "v", name, t)) - pull


def supcon(w, tau, definition):
    values = []
    for view in ("u", "v"):
        for i in w.known():
            everyone = [w.positive[i]]
            inside = [w.positive[i]]
            for j in w.known():
                if j != i:
                    both = [w.same[view][i][j], w.cross[view][i][j]]
                    everyone += both
                    if w.labels[j] == w.labels[i]:
                        inside += both
            if definition == "out":
                pull = mean(inside) / tau
            else:
                pull = lse(inside, tau) - math.log(len(inside))
            values.append(lse(everyone, tau) - pull)
    return mean(values)


def nscl(w, tau, definition):
    values = []
    for i in w.known():
        pair = []
        for view in ("u", "v"):

            def other(j, mine=w.labels[i]):
                return w.labels[j] is not None and w.labels[j] != mine

            terms = [*w.within(view, i, other), *w.across(view, i, other)]
            if not terms:
                continue
            if definition == "official":
                terms.append(w.positive[i])
            pair.append(lse(terms, tau) - w.positive[i] / tau)
        if pair:
            values.append(mean(pair))
    return mean(values)


def cacr(w, t=1.0):
    values = []
    for i in range(w.n):
        distances = [2 - 2 * s for s in w.across("u", i)]
        weights = [math.exp(-t * d) for d in distances]
        total = math.fsum(weights)
        push = math.fsum(a * d for a, d in zip(weights, distances, strict=True)) / total
        values.append(w.d2(i) - push)
    return mean(values)


def softplus(z):
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def siglip(w, tau, bias=-10.0):
    return mean(
        softplus(-(w.positive[i] / tau + bias))
        + math.fsum(softplus(s / tau + bias) for s in w.across("u", i))
        for i in range(w.n)
    )


def spectral(w):
    squares = [s * s for i in range(w.n) for s in w.across("u", i)]
    return mean(squares) - 2.0 * mean(w.positive)


def covariance(x, y):
    """Sum of products of two columns less their means, over N - 1."""
    a, b = mean(x), mean(y)
    return math.fsum((p - a) * (q - b) for p, q in zip(x, y, strict=True)) / (len(x) - 1)


def vicreg(w, form):
    u, v = w.saved[form]
    dims = range(u.shape[1])
    gaps = [(p - q) ** 2 for a, b in zip(u, v, strict=True) for p, q in zip(a, b, strict=True)]
    below, apart = [], 0.0
    for rows in (u, v):
        for d in dims:
            variance = covariance(rows[:, d], rows[:, d])
            below.append(max(0.0, 1.0 - math.sqrt(variance + 1e-4)))
            apart += math.fsum(covariance(rows[:, d], rows[:, e]) ** 2 for e in dims if e != d)
    return 25.0 * mean(gaps) + 25.0 * mean(below) + apart / len(dims)


def barlow_twins(w, form, weight=5e-3):
    u, v = w.saved[form]
    total = []
    for d in range(u.shape[1]):
        for e in range(u.shape[1]):
            x, y = u[:, d], v[:, e]
            c = 0.0
            if np.ptp(x) > 1e-14 * abs(x).max() and np.ptp(y) > 1e-14 * abs(y).max():
                spread = math.sqrt(covariance(x, x)) * math.sqrt(covariance(y, y))
                c = covariance(x, y) * (w.n - 1) / w.n / spread
            total.append((1.0 - c) ** 2 if d == e else weight * c * c)
    return math.fsum(total)


def icl(w, repulsion=None):
    """Sum over ordered pairs of classes of distances, less (C - 1) times those within."""
    rows = [(w.u[i], w.labels[i]) for i in w.known()] + [(w.v[i], w.labels[i]) for i in w.known()]
    counts = {}
    for _, label in rows:
        counts[label] = counts.get(label, 0) + 1
    total = 0.0
    for a, mine in rows:
        for b, theirs in rows:
            d2 = math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))
            weight = 1 / (counts[mine] * counts[theirs])
            if mine != theirs:
                total += weight * d2
            else:
                push = -d2 if repulsion is None else repulsion(math.sqrt(d2))
                total += weight * (len(counts) - 1) * push
    return total


def clop(w, frame, classes):
    return mean(
        1 - 0.5 * float((w.u[i] + w.v[i]) @ frame[classes.index(w.labels[i])]) for i in w.known()
    )


def effective_negatives(w, tau):
    values = []
    for i in range(w.n):
        scores = [s / tau for s in w.across("u", i)]
        norm = log_sum_exp(scores)
        values.append(math.exp(-math.fsum(math.exp(x - norm) * (x - norm) for x in scores)))
    return mean(values)


def false_negative_share(w, tau):
    values = []
    for i in w.known():
        norm = lse(w.across("u", i), tau)
        same = w.across("u", i, lambda j, i=i: w.labels[j] == w.labels[i])
        values.append(math.exp(lse(same, tau) - norm) if same else 0.0)
    return mean(values)


def wasserstein(rows, quantile):
    x = unit(rows)
    s = np.sort([float(x[i] @ x[j]) for i in range(len(x)) for j in range(i)])
    grid = (np.arange(400_000) + 0.5) / 400_000
    at = np.minimum((grid * len(s)).astype(int), len(s) - 1)
    return float(np.abs(quantile(grid) - s[at]).mean())
