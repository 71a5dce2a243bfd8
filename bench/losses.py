"""All losses of saved embeddings: the blocked passes against dense torch modules, in one run.

    python bench/losses.py                  # 6,000 rows, about three minutes on two cores
    python bench/losses.py --rows 1000

Each side runs in a process of its own; times leave out imports and the making of the data.
"""

from __future__ import annotations

import time

import numpy as np
from sides import compare

TAUS = (0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def data(n: int):  # noqa: ANN201
    """Two views of ten clusters in R^128, and their labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, n)
    u = (random.standard_normal((n, 128)) + 1.2 * np.eye(10, 128)[labels]).astype(np.float32)
    return u, (u + 0.4 * random.standard_normal(u.shape)).astype(np.float32), labels


def ours(rows: int) -> float:
    """Seconds of `cl_analyze.losses`: values, both parts, error bars, gradients, energies."""
    import cl_analyze as cla

    u, v, labels = data(rows)
    started = time.perf_counter()
    cla.losses(u, v, labels, taus=TAUS)
    return time.perf_counter() - started


def dense(rows: int) -> float:
    """Seconds of the same losses' values from torch modules, one after the other."""
    import torch

    from cl_analyze import losses

    u, v, labels = (torch.tensor(x) for x in data(rows))
    started = time.perf_counter()
    with torch.no_grad():
        for tau in TAUS:
            for loss in (
                losses.Contrastive(tau),
                losses.Contrastive(tau, "symmetric"),
                losses.HardContrastive(tau),
                losses.NTXent(tau),
                losses.DCL(tau),
                losses.DCL(tau, "one_way"),
                losses.DCLW(tau),
                losses.DHEL(tau),
                losses.DHEL(tau, "one_sided"),
                losses.DHEL(tau, "official"),
                losses.SigLIP(tau),
                losses.SupCon(tau),
                losses.SupCon(tau, "in"),
                losses.NSCL(tau),
                losses.NSCL(tau, "official"),
            ):
                loss(u, v, labels)
        for loss in (
            losses.Simple(),
            losses.HardSimple(),
            losses.TripletLimit(),
            losses.KCL("gaussian"),
            losses.KCL("log"),
            losses.KCL("imq"),
            losses.CACR(),
            losses.SpectralContrastive(),
            losses.VICReg(),
            losses.VICReg(definition="normalised"),
            losses.BarlowTwins(),
            losses.BarlowTwins(definition="normalised"),
        ):
            loss(u, v, labels)
    return time.perf_counter() - started


if __name__ == "__main__":
    compare(__file__, __doc__.splitlines()[0], {"ours": ours, "dense": dense}, rows=6000)
