"""Alignment while training, exact, from sums."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cl_analyze.errors import DataError
from cl_analyze.options.kinds import one_number
from cl_analyze.tables import Record
from cl_analyze.training._metric import EmbeddingMetric, unit


class Alignment(EmbeddingMetric):
    """Mean of |u_i - v_i|^power over pairs of unit rows: 0 where both views agree.

    Args:
        dim: columns of the embeddings.
        power: of the distances, > 0.
        options: torchmetrics' own.

    Reference: Wang & Isola, ICML 2020.

    >>> metric = Alignment(dim=2)
    >>> metric.update(torch.eye(2), -3 * torch.eye(2))               # antipodal: 2^2
    >>> metric.compute(), metric.record.std_error
    (tensor(4.), 0.0)
    """

    higher_is_better: bool | None = False
    metric = "alignment"
    sums: Tensor
    n: Tensor

    def __init__(self, dim: int, power: float = 2.0, **options: Any) -> None:
        super().__init__(dim, **options)
        self.power = one_number("power", power)
        self.params = {"power": self.power}
        self.scale = "squared_distance" if self.power == 2 else "none"
        # sum and sum of squares; distances are at most 2, so that no digits to speak of are lost
        self.add_state("sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n", torch.tensor(0), dist_reduce_fx="sum")
        self.tell_apart(self.power)

    def update(self, view1: Tensor, view2: Tensor) -> None:
        """Add a batch: (M, D) and (M, D), partners in the same row.

        Raises:
            DataError: shapes that do not fit.
        """
        first, second = self.rows(view1, "view1"), self.rows(view2, "view2")
        if len(first) != len(second):
            raise DataError(
                f"Alignment: view1 has {len(first)} rows and view2 {len(second)}: row i of one is "
                "the partner of row i of the other"
            )
        values = (unit(first) - unit(second)).norm(dim=1) ** self.power
        self.sums = self.sums + torch.stack([values.sum(), values.square().sum()])
        self.n = self.n + len(values)

    def measured(self) -> Record:
        """The record of the sums."""
        n = int(self.n)
        if n == 0:
            return self.undefined("there are no pairs")
        total, squares = self.sums.tolist()
        error = None
        if n > 1:
            error = math.sqrt(max(squares - total * total / n, 0.0) / (n - 1) / n)
        return self.recorded(total / n, n, error)
