"""Effective rank while training, from the matrix of products of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_analyze.errors import ConfigError
from cl_analyze.metrics.quality.spectrum import VERSIONS, effective_rank
from cl_analyze.tables import Record
from cl_analyze.training._metric import EmbeddingMetric, unit


class EffectiveRank(EmbeddingMetric):
    """exp of the entropy of the singular values' shares, over all rows.

    The sums hold squares of singular values, so those below 1.5e-8 sqrt(dim) of the Frobenius norm
    are lost and count as zero: 512 of them, each 1e-7 of the one large, make 1.0 of 1.0009.  No
    rows are kept: the record has no standard error.

    Memory: dim (dim + 1) float64.

    Args:
        dim: columns of the embeddings.
        definition: raw (rows as they come), raw_centred (less their mean row), normalised (unit
            rows), normalised_centred.
        options: torchmetrics' own.

    Cost: M D^2 a batch, D^3 at `compute`.

    Reference: Roy & Vetterli, EUSIPCO 2007.

    >>> metric = EffectiveRank(dim=5)
    >>> metric.update(torch.eye(5))
    >>> metric.compute()
    tensor(5.)
    """

    higher_is_better: bool | None = True
    metric, scale = "effective_rank", "dimensions"
    products: Tensor
    total: Tensor
    n: Tensor

    def __init__(self, dim: int, definition: str = "raw", **options: Any) -> None:
        super().__init__(dim, **options)
        if definition not in VERSIONS:
            raise ConfigError(
                f"definition must be one of {', '.join(VERSIONS)}, found {definition!r}"
            )
        self.definition = definition
        self.normalised = definition.startswith("normalised")
        self.centred = definition.endswith("centred")
        zeros = torch.zeros(self.dim, self.dim, dtype=torch.float64)
        self.add_state("products", zeros, dist_reduce_fx="sum")
        self.add_state("total", zeros[0].clone(), dist_reduce_fx="sum")
        self.add_state("n", torch.tensor(0), dist_reduce_fx="sum")
        self.tell_apart(float(self.normalised))

    def update(self, embeddings: Tensor) -> None:
        """Add a batch: (M, D)."""
        rows = self.rows(embeddings)
        rows = unit(rows) if self.normalised else rows.double()
        self.products = self.products + rows.T @ rows
        self.total = self.total + rows.sum(dim=0)
        self.n = self.n + len(rows)

    def measured(self) -> Record:
        """The record of the sums."""
        n, products = int(self.n), self.products.cpu().numpy()
        largest = float(products.trace())  # of the squares, at most
        if self.centred and n:
            total = self.total.cpu().numpy()
            products = products - np.outer(total, total) / n
        squares = np.linalg.eigvalsh(products)[::-1]
        floor = np.finfo(np.float64).eps * self.dim * largest
        values = np.sqrt(np.where(squares > floor, squares, 0.0))
        if not values.any():
            return self.undefined("the rows do not vary" if n else "there are no rows")
        return self.recorded(effective_rank(values), n)
