"""Tolerance while training, exact, from sums by class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cl_analyze.errors import ConfigError, DataError
from cl_analyze.metrics.tolerance import Tolerance as Family
from cl_analyze.metrics.tolerance import value_of_sums
from cl_analyze.options.kinds import whole_number
from cl_analyze.tables import Record
from cl_analyze.training._metric import EmbeddingMetric, unit

DEFINITIONS = Family.definitions["tolerance"]


class Tolerance(EmbeddingMetric):
    """Mean cosine of rows of one class, over all rows: exact, whatever their number.

    With class sums S_c of unit rows, the similarities of a class's pairs add up to
    |S_c|^2 - sum |x|^2.  No rows are kept, so the record has no standard error.

    Memory: classes (dim + 2) float64.

    Args:
        dim: columns of the embeddings.
        n_classes: classes are 0 to n_classes - 1.
        definition: micro_excl (every pair i != j alike), macro_excl (the mean over classes),
            micro_incl (with self pairs), indicator (eq. 11 as printed: over all N^2 pairs).
        unlabelled: a label that means that a row has no class, as -1 or -100; None: none does.
        options: torchmetrics' own.

    Reference: Wang & Liu, CVPR 2021, eq. 11.

    >>> metric = Tolerance(dim=2, n_classes=2)
    >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 0]))
    >>> metric.compute()                               # the one pair of a class is parallel
    tensor(1.)
    """

    higher_is_better: bool | None = True
    metric, scale = "tolerance", "cosine"
    definition: str
    sums: Tensor
    squares: Tensor
    counts: Tensor

    def __init__(
        self,
        dim: int,
        n_classes: int,
        definition: str = "micro_excl",
        unlabelled: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, **options)
        self.unlabelled = unlabelled
        self.n_classes = whole_number("n_classes", n_classes)
        if definition not in DEFINITIONS:
            raise ConfigError(
                f"definition must be one of {', '.join(DEFINITIONS)}, found {definition!r}"
            )
        self.definition = definition
        zeros = torch.zeros(self.n_classes, self.dim, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")
        self.add_state("squares", zeros[:, 0].clone(), dist_reduce_fx="sum")
        self.add_state("counts", zeros[:, 0].long(), dist_reduce_fx="sum")

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch: (M, D), and (M,) classes.

        Raises:
            DataError: shapes, or a class that is not below `n_classes`.
        """
        rows = unit(self.rows(embeddings))
        classes = self.classes(labels, len(rows))
        if len(classes) and int(classes.max()) >= self.n_classes:
            raise DataError(
                f"Tolerance(n_classes={self.n_classes}): classes are 0 to {self.n_classes - 1}, "
                f"found {int(classes.max())}"
            )
        known = classes >= 0
        rows, classes = rows[known], classes[known]
        self.sums = self.sums.index_add(0, classes, rows)
        self.squares = self.squares.index_add(0, classes, rows.square().sum(dim=1))
        self.counts = self.counts + torch.bincount(classes, minlength=self.n_classes)

    def measured(self) -> Record:
        """The record of the sums."""
        value, reason = value_of_sums(
            self.definition,
            self.counts.cpu().numpy(),
            self.sums.cpu().numpy(),
            self.squares.cpu().numpy(),
        )
        if value is None:
            return self.undefined(reason)
        return self.recorded(value, int(self.counts.sum()))
