"""Uniformity while training."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cl_analyze.api import uniformity
from cl_analyze.options.kinds import one_number
from cl_analyze.tables import Record
from cl_analyze.training._reservoir import SampledMetric


class Uniformity(SampledMetric):
    """log mean over i != j of exp(-t |x_i - x_j|^2) over unit rows, in nats: lower is more uniform.

    Above `max_rows` rows it is that of a random sample of so many, whose mean potential has no
    bias; `record.sampling_error` is the distance to expect from the value of all rows.

    Args:
        dim: columns of the embeddings.
        t: exponent, > 0.
        max_rows: rows kept at most, >= 2.
        seed: of the sample.
        options: torchmetrics' own.

    Cost: one pass over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Isola, ICML 2020; Wang & Liu, CVPR 2021, eq. 10.

    >>> import torch
    >>> metric = Uniformity(dim=2)
    >>> metric.update(torch.tensor([[1.0, 0.0], [-2.0, 0.0]]))      # antipodal points: -4t
    >>> metric.compute()
    tensor(-8.)
    """

    higher_is_better: bool | None = False
    metric, definition, scale = "uniformity", "u_stat", "nats"

    def __init__(
        self, dim: int, t: float = 2.0, max_rows: int = 4096, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(dim, max_rows, seed, **options)
        self.t = one_number("t", t)
        self.params = {"t": self.t}

    def update(self, embeddings: Tensor) -> None:
        """Add a batch: (M, D)."""
        self.keep(self.rows(embeddings))

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The `u_stat` record, as an estimate of that of all rows."""
        found = uniformity(rows, self.t)
        left_out = 1.0 - len(rows) / int(self.n_seen)
        if not left_out or found.std_error is None:
            return found
        return replace(found, sampling_error=found.std_error * math.sqrt(left_out))
