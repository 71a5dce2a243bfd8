"""Where a temperature would push, while training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cl_analyze.api import analyze
from cl_analyze.options import RunOptions
from cl_analyze.options.kinds import one_number
from cl_analyze.tables import Record
from cl_analyze.training._reservoir import UNLABELLED, SampledMetric


class _Penalty(SampledMetric):
    """What both have: a temperature, and the penalties among the rows that are kept."""

    def __init__(
        self, dim: int, tau: float = 0.2, max_rows: int = 4096, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(dim, max_rows, seed, **options)
        self.tau = one_number("tau", tau)
        self.params = {"tau": self.tau}

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The record of the penalty family with this metric's name."""
        return analyze(
            rows,
            labels if self.labelled else None,
            taus=[self.tau],
            metrics="penalty",
            curve_anchors=2,  # no curve is looked at
            run=RunOptions(unlabelled=str(UNLABELLED)) if self.labelled else None,
        ).records.find(self.metric)


class PenaltyEntropy(_Penalty):
    """Mean over anchors of the entropy of their relative penalties at `tau`, in nats.

    P_ij proportional to exp(s_ij / tau) over the other rows that are kept: log(rows - 1) where
    every negative is pushed alike, 0 where one takes all.

    It grows with the number of negatives: above `max_rows` rows it is that of a sample of so many,
    the same number at every epoch, and not that of all rows.

    Args:
        dim: columns of the embeddings.
        tau: temperature, > 0.
        max_rows: rows kept at most, >= 2.
        seed: of the sample.
        options: torchmetrics' own.

    Cost: two passes over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Liu, CVPR 2021, eq. 5.

    >>> import torch
    >>> metric = PenaltyEntropy(dim=5, tau=0.1)
    >>> metric.update(torch.eye(5))                    # equal similarities: an even spread, log 4
    >>> metric.compute()
    tensor(1.3863)
    """

    higher_is_better: bool | None = None
    metric, scale = "penalty_entropy", "nats"

    def update(self, embeddings: Tensor) -> None:
        """Add a batch: (M, D)."""
        self.keep(self.rows(embeddings))


class FalseNegativeShare(_Penalty):
    """Mean over labelled anchors of the share of the penalty at `tau` that falls on their class.

    The negatives are the other rows that are kept. At small `tau` the share is that of the nearest
    rows, and a sample of the rows (above `max_rows`) has fewer near ones: it reads lower than that
    of all rows, and as low at every epoch.

    Args:
        dim: columns of the embeddings.
        tau: temperature, > 0.
        max_rows: rows kept at most, >= 2.
        seed: of the sample.
        unlabelled: a label that means that a row has no class, as -1 or -100; None: none does.
        options: torchmetrics' own.

    Cost: two passes over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Liu, CVPR 2021, eq. 5.

    >>> import torch
    >>> metric = FalseNegativeShare(dim=4)
    >>> metric.update(torch.eye(4), torch.tensor([0, 0, 1, 1]))      # one of three, all alike
    >>> metric.compute()
    tensor(0.3333)
    """

    higher_is_better: bool | None = False
    metric, scale = "penalty_false_negative_share", "share"
    labelled = True

    def __init__(
        self,
        dim: int,
        tau: float = 0.2,
        max_rows: int = 4096,
        seed: int = 0,
        unlabelled: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, tau, max_rows, seed, **options)
        self.unlabelled = unlabelled

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch: (M, D), and (M,) classes."""
        rows = self.rows(embeddings)
        self.keep(rows, self.classes(labels, len(rows)))
