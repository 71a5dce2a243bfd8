"""What the metrics share: rows are checked, a number comes out, and its record stays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, functional
from torchmetrics import Metric

from cl_analyze.errors import DataError
from cl_analyze.options.kinds import whole_number
from cl_analyze.tables import Param, Record, Unit, undefined

SOURCE = "embeddings"
LARGEST_LABEL = 2**24
"""Classes are kept as float32 beside their rows: exact up to here."""


class EmbeddingMetric(Metric):
    """Base of the metrics of embeddings: `update` with a batch, `compute` a 0-D float32 tensor.

    States have a fixed size, set by the options, whatever the number of rows; ranks are joined by
    torchmetrics when `compute` is called, other metric objects by `merge_state`.  States keep
    their types, float64 for sums, whatever the model is cast to.
    After `compute`, `record` has what the number is: definition, parameters, rows, standard error
    where the state allows one.  An undefined value is NaN, with a warning that has the reason.

    Rows of the padding that distributed samplers repeat count twice, as in every such metric.

    Subclasses define `update` and `measured`.

    Args:
        dim: columns of the embeddings.
        options: torchmetrics' own, as `dist_sync_on_step`.

    Raises:
        ConfigError: an option makes no sense.

    >>> from cl_analyze.training import Alignment
    >>> metric = Alignment(dim=2)
    >>> metric.update(torch.eye(2), -torch.eye(2))
    >>> metric.compute(), metric.record.n
    (tensor(4.), 2)
    """

    full_state_update: bool | None = False
    is_differentiable: bool | None = False
    record: Record | None = None
    metric: str
    """Its name in the metric reference, as are `definition`, `params` and `scale` (its unit)."""
    scale: Unit
    definition: str | None = None
    unlabelled: int | None = None

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(**options)
        self.dim = whole_number("dim", dim)
        self.params: dict[str, Param] = {}

    def tell_apart(self, *options: float) -> None:
        """Make states of metrics with other options unequal.

        A MetricCollection lets metrics share one state where states are equal after the first
        batch, which some first batches bring about whatever the options.
        """
        what = torch.tensor(options, dtype=torch.float64)
        self.add_state("options", what, dist_reduce_fx="max")

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        """Move the states to another device, and leave their types alone."""

        def moved(state: Tensor) -> Tensor:
            there = fn(state)
            return there if there.dtype == state.dtype else state.to(there.device)

        return super()._apply(moved, exclude_state)

    def measured(self) -> Record:
        """The record of what the states hold."""
        raise NotImplementedError

    def recorded(self, value: float, n: int, std_error: float | None = None) -> Record:
        """A value of `n` rows as this metric's record."""
        return Record(
            SOURCE, self.metric, self.definition, self.params, value, std_error, self.scale, n,
            self.dim,
        )  # fmt: skip

    def undefined(self, reason: str) -> Record:
        """This metric's record without a value, and why."""
        return undefined(
            SOURCE, self.metric, self.definition, self.params, self.scale, self.dim, reason
        )

    def compute(self) -> Tensor:
        """The value of all rows so far, of all ranks."""
        self.record = self.measured()
        value = self.record.value
        if value is None:
            warnings.warn(
                f"{type(self).__name__} is undefined: {self.record.reason}",
                UserWarning,
                stacklevel=2,
            )
            value = math.nan
        return torch.tensor(value, dtype=torch.float32, device=self.device)

    def rows(self, embeddings: Tensor, what: str = "embeddings") -> Tensor:
        """(M, D) rows of a batch, checked, in float32 at least.

        Raises:
            DataError: another shape or type, or a row with NaN, infinity or zero norm.
        """
        name = type(self).__name__
        if not isinstance(embeddings, Tensor) or not embeddings.is_floating_point():
            found = getattr(embeddings, "dtype", type(embeddings).__name__)
            raise DataError(f"{name}: {what} must be a tensor of floats, found {found}")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:
            raise DataError(
                f"{name}(dim={self.dim}): {what} must have shape (rows, {self.dim}), found "
                f"{tuple(embeddings.shape)}"
            )
        rows = embeddings.detach()
        rows = rows if rows.dtype == torch.float64 else rows.float()
        norms = rows.abs().amax(dim=1) if len(rows) else rows.new_zeros(0)
        bad = torch.nonzero(~(torch.isfinite(norms) & (norms > 0)))
        if len(bad):
            raise DataError(
                f"{name}: {len(bad)} of {len(rows)} rows of {what} have NaN, infinity or zero "
                f"norm, first row {int(bad[0])} of the batch: has the training diverged?"
            )
        return rows

    def classes(self, labels: Tensor, n_rows: int) -> Tensor:
        """(M,) classes of a batch, -1 where a row is unlabelled.

        One rule everywhere: a label means unlabelled where it is said to, by `unlabelled` here and
        by --unlabelled on the command line, and nowhere else.

        Raises:
            DataError: another shape, no whole numbers, or a negative one that is not said to mean
                unlabelled.
        """
        name = type(self).__name__
        if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
            found = getattr(labels, "dtype", type(labels).__name__)
            raise DataError(f"{name}: labels must be a tensor of integers, found {found}")
        if labels.shape != (n_rows,):
            raise DataError(
                f"{name}: labels must have shape ({n_rows},), one a row, found "
                f"{tuple(labels.shape)}"
            )
        found = labels.detach().long()
        if self.unlabelled is not None:
            is_unlabelled = found == self.unlabelled
        else:
            is_unlabelled = torch.zeros_like(found, dtype=torch.bool)
        negative = found[(found < 0) & ~is_unlabelled]
        if len(negative):
            value = int(negative[0])
            raise DataError(
                f"{name}: classes are numbered from 0, found {value}: pass unlabelled={value} if "
                f"it means that a row has none, as --unlabelled {value} on the command line"
            )
        return found.masked_fill(is_unlabelled, -1)


def unit(rows: Tensor) -> Tensor:
    """Rows on the unit sphere, in float64, whatever their scale."""
    wide = rows.double()
    wide = wide / wide.abs().amax(dim=1, keepdim=True)
    return functional.normalize(wide, dim=1)
