"""Metrics computed from sums over the rows: exact, in bounded memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cl_analyze.errors import DataError
from cl_analyze.metrics.quality.spectrum import VERSIONS, effective_rank
from cl_analyze.metrics.tolerance import Tolerance as Family
from cl_analyze.metrics.tolerance import value_of_sums
from cl_analyze.options.kinds import one_number, whole_number
from cl_analyze.results.tables import Record
from cl_analyze.training._metric import EmbeddingMetric, unit


class Alignment(EmbeddingMetric):
    """Mean of |u_i - v_i|^power over pairs of unit rows; 0 if both views are equal.

    Args:
        dim: number of columns of the embeddings.
        power: exponent of the distances, > 0.
        options: options of torchmetrics.Metric.

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
        # sum and sum of squares; distances are at most 2, so the variance loses few digits
        self.add_sums(sums=torch.zeros(2, dtype=torch.float64), n=torch.tensor(0))
        self.tell_apart(self.power)

    def update(self, view1: Tensor, view2: Tensor) -> None:
        """Add a batch of two (M, D) views; partners have the same row index.

        Raises:
            DataError: the shapes do not fit.
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
        """The record computed from the sums."""
        n = int(self.n)
        if n == 0:
            return self.undefined("there are no pairs")
        total, squares = self.sums.tolist()
        error = None
        if n > 1:
            error = math.sqrt(max(squares - total * total / n, 0.0) / (n - 1) / n)
        return self.recorded(total / n, n, error)


class EffectiveRank(EmbeddingMetric):
    """exp of the entropy of the normalised singular values of all rows.

    The sums contain squares of singular values.  Therefore singular values below 1.5e-8 sqrt(dim)
    of the Frobenius norm count as zero.  For example, with one large singular value and 512
    singular values of 1e-7 times the large one, the result is 1.0 instead of 1.0009.  Rows are not
    kept, so the record has no standard error.

    Memory: dim (dim + 1) float64.

    Args:
        dim: number of columns of the embeddings.
        definition: raw (unchanged rows), raw_centred (minus the mean row), normalised (unit rows),
            normalised_centred (unit rows minus the mean unit row).
        options: options of torchmetrics.Metric.

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
        self.choose(definition, VERSIONS)
        self.normalised = definition.startswith("normalised")
        self.centred = definition.endswith("centred")
        zeros = torch.zeros(self.dim, self.dim, dtype=torch.float64)
        self.add_sums(products=zeros, total=zeros[0].clone(), n=torch.tensor(0))
        self.tell_apart(float(self.normalised))

    def update(self, embeddings: Tensor) -> None:
        """Add a batch of (M, D) rows."""
        rows = self.rows(embeddings)
        rows = unit(rows) if self.normalised else rows.double()
        self.products = self.products + rows.T @ rows
        self.total = self.total + rows.sum(dim=0)
        self.n = self.n + len(rows)

    def measured(self) -> Record:
        """The record computed from the sums."""
        n, products = int(self.n), self.products.cpu().numpy()
        largest = float(products.trace())  # an upper bound of the squared singular values
        if self.centred and n:
            total = self.total.cpu().numpy()
            products = products - np.outer(total, total) / n
        squares = np.linalg.eigvalsh(products)[::-1]
        floor = np.finfo(np.float64).eps * self.dim * largest
        values = np.sqrt(np.where(squares > floor, squares, 0.0))
        if not values.any():
            return self.undefined("the rows do not vary" if n else "there are no rows")
        return self.recorded(effective_rank(values), n)


class Tolerance(EmbeddingMetric):
    """Mean cosine of same-class pairs over all rows, exact for any number of rows.

    With S_c the sum of the unit rows x of class c, the similarities of the pairs of the class add
    up to |S_c|^2 - sum |x|^2.  Rows are not kept, so the record has no standard error.

    Memory: classes (dim + 2) float64.

    Args:
        dim: number of columns of the embeddings.
        n_classes: classes are 0 to n_classes - 1.
        definition: micro_excl (equal weight for every pair i != j), macro_excl (equal weight for
            every class), micro_incl (with self pairs), indicator (eq. 11 as printed: divided by all
            N^2 pairs).
        unlabelled: the label of rows without a class, such as -1 or -100; None: every row has a
            class.
        options: options of torchmetrics.Metric.

    Reference: Wang & Liu, CVPR 2021, eq. 11.

    >>> metric = Tolerance(dim=2, n_classes=2)
    >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 0]))
    >>> metric.compute()                               # the only same-class pair is parallel
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
        self.choose(definition, Family.definitions["tolerance"])
        zeros = torch.zeros(self.n_classes, self.dim, dtype=torch.float64)
        self.add_sums(sums=zeros, squares=zeros[:, 0].clone(), counts=zeros[:, 0].long())

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of (M, D) rows and (M,) classes.

        Raises:
            DataError: the shapes do not fit, or a class is >= `n_classes`.
        """
        rows = unit(self.rows(embeddings))
        classes = self.classes(labels, len(rows))
        if len(classes) and int(classes.max()) >= self.n_classes:
            raise DataError(
                f"Tolerance(n_classes={self.n_classes}): classes are 0 to {self.n_classes - 1}, "
                f"found {int(classes.max())}"
            )
        is_labelled = classes >= 0
        rows, classes = rows[is_labelled], classes[is_labelled]
        self.sums = self.sums.index_add(0, classes, rows)
        self.squares = self.squares.index_add(0, classes, rows.square().sum(dim=1))
        self.counts = self.counts + torch.bincount(classes, minlength=self.n_classes)

    def measured(self) -> Record:
        """The record computed from the sums."""
        counts, sums, squares = (
            state.cpu().numpy() for state in (self.counts, self.sums, self.squares)
        )
        value, reason = value_of_sums(self.definition, counts, sums, squares)
        if value is None:
            return self.undefined(reason)
        return self.recorded(value, int(counts.sum()))
