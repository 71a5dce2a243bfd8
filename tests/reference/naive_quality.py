"""Representation quality by loops over rows, classes and pairs, in float64, from the papers."""

from __future__ import annotations

import math

import numpy as np


def unit(rows):
    wide = np.array(rows, dtype=np.float64)
    wide = wide / np.abs(wide).max(axis=1, keepdims=True)
    return wide / np.sqrt((wide**2).sum(axis=1, keepdims=True))


def version(rows, name):
    """The matrix whose singular values a definition is about."""
    x = unit(rows) if name.startswith("normalised") else np.array(rows, dtype=np.float64)
    return x - x.mean(axis=0) if name.endswith("centred") else x


def spectrum(rows, name):
    values = np.linalg.svd(version(rows, name), compute_uv=False)
    n, d = np.shape(rows)
    return np.pad(values, (0, min(n, d) - len(values)))


def entropy_rank(values, eps=0.0):
    shares = [v / sum(values) + eps for v in values]
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def participation_ratio(values):
    lam = [v**2 for v in values]
    return sum(lam) ** 2 / sum(x**2 for x in lam)


def isoscore(values, d):
    """The published steps, not their closed form."""
    lam = np.zeros(d)
    lam[: len(values)] = np.asarray(values) ** 2
    lam = math.sqrt(d) * lam / np.linalg.norm(lam)
    delta = np.linalg.norm(lam - 1) / math.sqrt(2 * (d - math.sqrt(d)))
    return ((d - delta**2 * (d - math.sqrt(d))) ** 2 - d) / (d * (d - 1))


def power_law(values, first, last):
    """Weighted least squares of log lambda on -log rank by its normal equations."""
    ranks = list(range(first, last + 1))
    w = [1 / r for r in ranks]
    x = [-math.log(r) for r in ranks]
    y = [math.log(values[r - 1] ** 2) for r in ranks]
    mx = sum(a * b for a, b in zip(w, x, strict=True)) / sum(w)
    my = sum(a * b for a, b in zip(w, y, strict=True)) / sum(w)
    slope = sum(a * (b - mx) * (c - my) for a, b, c in zip(w, x, y, strict=True)) / sum(
        a * (b - mx) ** 2 for a, b in zip(w, x, strict=True)
    )
    rest = sum(a * (c - my - slope * (b - mx)) ** 2 for a, b, c in zip(w, x, y, strict=True))
    total = sum(a * (c - my) ** 2 for a, c in zip(w, y, strict=True))
    return slope, 1 - rest / total


def neighbours(rows, k, others=None):
    """Indices and cosines of the k nearest, ties to the lowest index, a row not its own."""
    x = unit(rows)
    y = x if others is None else unit(others)
    found = []
    for i in range(len(x)):
        scored = [
            (-round(float(x[i] @ y[j]), 11), j)
            for j in range(len(y))
            if others is not None or j != i
        ]
        scored.sort()
        found.append([(j, float(x[i] @ y[j])) for _, j in scored[:k]])
    return found


def knn(rows, labels, k, others=None, other_labels=None):
    """Per labelled row: predicted class, whether its own is among the best five; None if not."""
    known = [i for i, label in enumerate(labels) if label is not None]
    rows = np.asarray(rows, dtype=np.float64)
    if others is None:
        pool, names = rows[known], [labels[i] for i in known]
        near = neighbours(pool, k)
    else:
        ref = [i for i, label in enumerate(other_labels) if label is not None]
        names = [other_labels[i] for i in ref]
        near = neighbours(rows[known], k, np.asarray(others)[ref])
    out = [None] * len(labels)
    for i, found in zip(known, near, strict=True):
        votes = {}
        for j, s in found:
            votes[names[j]] = votes.get(names[j], 0.0) + math.exp(s / 0.07)
        ranked = sorted(votes, key=lambda c: (-votes[c], str(c)))
        out[i] = (ranked[0], labels[i] in ranked[:5])
    return out


def in_degrees(rows, k):
    counts = [0] * len(rows)
    for found in neighbours(rows, k):
        for j, _ in found:
            counts[j] += 1
    return counts


def partner_ranks(u, v):
    """Per row of u: rows of v nearer than its partner, and rows exactly as near."""
    u, v = unit(u), unit(v)
    out = []
    for i in range(len(u)):
        own = float(u[i] @ v[i])
        gaps = [float(u[i] @ v[j]) - own for j in range(len(v)) if j != i]
        out.append((sum(g > 1e-12 for g in gaps), sum(abs(g) <= 1e-12 for g in gaps)))
    return out


def recall(u, v, k):
    """Mean chance that the partner is among the k nearest when ties fall at random."""
    chances = []
    for nearer, level in partner_ranks(u, v):
        places = [nearer + p for p in range(level + 1)]  # places before it, equally likely
        chances.append(sum(p < k for p in places) / len(places))
    return sum(chances) / len(chances)


class Classes:
    """Rows by class, plainly."""

    def __init__(self, rows, labels):
        self.x = [np.asarray(row, dtype=np.float64) for row in rows]
        self.labels = labels
        self.known = [i for i, label in enumerate(labels) if label is not None]
        self.names = sorted({labels[i] for i in self.known}, key=str)
        self.members = {c: [i for i in self.known if labels[i] == c] for c in self.names}
        self.means = {c: sum(self.x[i] for i in own) / len(own) for c, own in self.members.items()}
        self.mean = sum(self.x[i] for i in self.known) / len(self.known)
        self.centre = sum(self.means.values()) / len(self.means)

    def variance(self, c):
        own = self.members[c]
        return sum(float(((self.x[i] - self.means[c]) ** 2).sum()) for i in own) / len(own)

    def within(self):
        out = 0
        for i in self.known:
            left = self.x[i] - self.means[self.labels[i]]
            out = out + np.outer(left, left)
        return out / len(self.known)

    def between(self, centre):
        return sum(np.outer(m - centre, m - centre) for m in self.means.values()) / len(self.names)

    def nc1(self, centre):
        between = self.between(centre)
        values, vectors = np.linalg.eigh(between)
        keep = np.argsort(values)[::-1][: len(self.names) - 1]
        keep = [k for k in keep if values[k] > 1e-10 * values.max()]
        inverse = sum(np.outer(vectors[:, k], vectors[:, k]) / values[k] for k in keep)
        return float(np.trace(self.within() @ inverse)) / len(self.names)

    def trace_ratio(self, centre):
        return float(np.trace(self.within()) / np.trace(self.between(centre)))

    def cosines(self, centre):
        out = []
        for a in self.names:
            for b in self.names:
                if a != b:
                    p, q = self.means[a] - centre, self.means[b] - centre
                    out.append(float(p @ q / np.linalg.norm(p) / np.linalg.norm(q)))
        return out

    def frame(self, centre, ideal):
        m = np.array([self.means[c] - centre for c in self.names])
        gram = m @ m.T
        return float(np.linalg.norm(gram / np.linalg.norm(gram) - ideal))

    def cdnv(self):
        values = []
        for a in self.names:
            for b in self.names:
                if a != b:
                    apart = float(((self.means[a] - self.means[b]) ** 2).sum())
                    values.append((self.variance(a) + self.variance(b)) / (2 * apart))
        return sum(values) / len(values)

    def directional_cdnv(self):
        values = []
        for a in self.names:
            for b in self.names:
                if a == b:
                    continue
                line = self.means[b] - self.means[a]
                e = line / np.linalg.norm(line)
                own = self.members[a]
                spread = sum(float((self.x[i] - self.means[a]) @ e) ** 2 for i in own) / len(own)
                values.append(spread / float(line @ line))
        return sum(values) / len(values)

    def nearest_centre(self):
        """Per labelled row: the class whose mean (without the row) is nearest."""
        out = {}
        for i in self.known:
            best = None
            for c in self.names:
                own = [j for j in self.members[c] if j != i]
                if not own:
                    continue
                mean = sum(self.x[j] for j in own) / len(own)
                distance = float(((self.x[i] - mean) ** 2).sum())
                if best is None or distance < best[0] * (1 - 1e-11):
                    best = (distance, c)
            out[i] = best[1]
        return out


def gaussian_w2(rows):
    """By the formula with covariance and matrix root, as published."""
    from scipy.linalg import sqrtm

    x = unit(rows)
    n, d = x.shape
    m = x.mean(axis=0)
    s = sum(np.outer(r - m, r - m) for r in x) / n
    root = np.real(sqrtm(s + 0j))
    square = float(m @ m) + 1 + float(np.trace(s)) - 2 / math.sqrt(d) * float(np.trace(root))
    return math.sqrt(max(square, 0.0))


def vendi(rows):
    """From the eigenvalues of the N x N kernel matrix over N."""
    x = unit(rows)
    gram = np.array([[float(a @ b) for b in x] for a in x]) / len(x)
    return math.exp(-sum(v * math.log(v) for v in np.linalg.eigvalsh(gram) if v > 1e-14))


COPY = 1e-14


def nearest_distances(rows, k):
    """(N, k) ascending Euclidean distances to the k nearest other rows, by loops."""
    x = unit(rows)
    found = []
    for i, a in enumerate(x):
        own = sorted(float(np.linalg.norm(a - b)) for j, b in enumerate(x) if j != i)
        found.append([0.0 if r < COPY else r for r in own[:k]])
    return found


def koleo(rows):
    logs = [-math.log(r[0]) for r in nearest_distances(rows, 1) if r[0] > 0]
    return sum(logs) / len(logs) if logs else None


def outlier_share(rows):
    first = [r[0] for r in nearest_distances(rows, 1)]
    low, high = np.percentile(first, [25, 75])
    return sum(r > high + 3 * (high - low) for r in first) / len(first)


def two_nn(rows):
    logs = [math.log(r[1] / r[0]) for r in nearest_distances(rows, 2) if r[0] > 0]
    return (len(logs) - 1) / sum(logs) if sum(logs) > 1e-10 else None


def two_nn_fit(rows):
    logs = sorted(math.log(r[1] / r[0]) for r in nearest_distances(rows, 2) if r[0] > 0)
    n = len(logs)
    kept = logs[: int(0.9 * n)]
    points = [(x, -math.log(1 - (i + 1) / n)) for i, x in enumerate(kept)]
    if len(points) < 2 or max(kept) < 1e-10:
        return None
    return sum(x * y for x, y in points) / sum(x * x for x, _ in points)


def mle_dimension(rows, k=10):
    inverse = [
        sum(math.log(r[-1] / other) for other in r[:-1]) / (k - 2)
        for r in nearest_distances(rows, k)
        if r[0] > 0
    ]
    return len(inverse) / sum(inverse) if sum(inverse) > 1e-10 else None


def lidar(items):
    """Of a list of items, each an array of its rows (unit rows are taken)."""
    items = [unit(item) for item in items]
    d = items[0].shape[1]
    means = [item.mean(axis=0) for item in items]
    centre = sum(means) / len(means)
    between = sum(np.outer(m - centre, m - centre) for m in means) / (len(items) - 1)
    within = np.zeros((d, d))
    for item, mean in zip(items, means, strict=True):
        for row in item:
            within += np.outer(row - mean, row - mean)
    within /= sum(len(item) - 1 for item in items)
    values, vectors = np.linalg.eigh(within + 1e-4 * np.eye(d))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    lam = np.clip(np.linalg.eigvalsh(root @ between @ root), 0, None)
    return math.exp(-sum((p + 1e-8) * math.log(p + 1e-8) for p in lam / lam.sum()))


def relative_gap(u, v):
    """d = (1 - s) / 2 over partners, over that plus the mean of both views' own pairs."""
    u, v = unit(u), unit(v)
    n = len(u)
    partners = sum((1 - float(a @ b)) / 2 for a, b in zip(u, v, strict=True)) / n

    def within(x):
        pairs = [(1 - float(x[i] @ x[j])) / 2 for i in range(n) for j in range(n) if i != j]
        return sum(pairs) / len(pairs)

    return partners / (partners + (within(u) + within(v)) / 2)
