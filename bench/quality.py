"""Representation quality against the notebook it replaces: NumPy and scikit-learn, in one run.

    python bench/quality.py                              # 10,000 x 128, ten classes
    python bench/quality.py --rows 4000 --dim 512 --classes 100

The notebook: the singular values of the rows, the neighbours of every row by brute force and their
weighted votes, two linear probes with the penalty chosen on a validation split, and the silhouette.
Ours adds error bars, four versions of the spectrum, neural collapse, hubs and the rest.
"""

from __future__ import annotations

import time

import numpy as np
from sides import compare

KS = (1, 10, 20, 200)
PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)


def data(rows: int, dim: int, classes: int):  # noqa: ANN201
    """Overlapping clusters with a spectrum that falls, and their labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows)
    centres = random.standard_normal((classes, dim)) * 1.2
    x = (random.standard_normal((rows, dim)) + centres[labels]) * np.arange(1, dim + 1) ** -0.4
    return x.astype(np.float32), labels


def ours(rows: int, dim: int, classes: int) -> float:
    """Seconds of `cl_analyze.quality`."""
    import cl_analyze as cla

    x, labels = data(rows, dim, classes)
    started = time.perf_counter()
    cla.quality(x, labels, ks=KS)
    return time.perf_counter() - started


def notebook(rows: int, dim: int, classes: int) -> float:
    """Seconds of the same from libraries."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import silhouette_samples
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler, normalize

    x, labels = data(rows, dim, classes)
    started = time.perf_counter()
    for form in (x, normalize(x)):
        np.linalg.svd(form.astype(np.float64), compute_uv=False)
        train, test = train_test_split(
            np.arange(rows), test_size=0.2, stratify=labels, random_state=0
        )
        fit, validate = train_test_split(
            train, test_size=0.2, stratify=labels[train], random_state=0
        )
        scaler = StandardScaler().fit(form[fit])
        scores = {}
        for penalty in PENALTIES:
            probe = LogisticRegression(C=1 / (penalty * len(fit)), max_iter=1000)
            probe.fit(scaler.transform(form[fit]), labels[fit])
            scores[penalty] = probe.score(scaler.transform(form[validate]), labels[validate])
        best = max(scores, key=scores.get)  # type: ignore[arg-type]
        scaler = StandardScaler().fit(form[train])
        probe = LogisticRegression(C=1 / (best * len(train)), max_iter=1000)
        probe.fit(scaler.transform(form[train]), labels[train])
        probe.score(scaler.transform(form[test]), labels[test])
    silhouette_samples(x, labels, metric="sqeuclidean")
    search = NearestNeighbors(n_neighbors=max(KS) + 1, metric="cosine", algorithm="brute").fit(x)
    distances, index = search.kneighbors(x)
    for k in KS:
        weights = np.exp((1.0 - distances[:, 1 : k + 1]) / 0.07)
        votes = np.zeros((rows, classes))
        np.add.at(votes, (np.arange(rows)[:, None], labels[index[:, 1 : k + 1]]), weights)
        (votes.argmax(axis=1) == labels).mean()
    return time.perf_counter() - started


if __name__ == "__main__":
    sides = {"ours": ours, "notebook": notebook}
    compare(__file__, __doc__.splitlines()[0], sides, rows=10_000, dim=128, classes=10)
