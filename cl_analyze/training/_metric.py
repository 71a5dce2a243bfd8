"""The base of the metrics: it checks rows, returns a number, and keeps the record of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, functional
from torchmetrics import Metric

from cl_analyze.errors import ConfigError, DataError
from cl_analyze.options.kinds import whole_number
from cl_analyze.tables import Param, Record, Unit, undefined

SOURCE = "embeddings"


class EmbeddingMetric(Metric):
    """Base of the metrics of embeddings: `update` with a batch, `compute` a 0-D float32 tensor.

    The options set the size of the states; the number of rows does not change it.  `compute` joins
    the states of all ranks, `merge_state` those of other metric objects.  States keep their types
    (float64 for sums) when the model is cast to another type.
    After `compute`, `record` describes the number: definition, parameters, rows, and the standard
    error where the state allows one.  An undefined value is NaN, with a warning and the reason.

    Rows that distributed samplers repeat as padding count twice, as in other metrics.

    Subclasses define `update` and `measured`.

    Args:
        dim: columns of the embeddings.
        options: options of torchmetrics.Metric, as `dist_sync_on_step`.

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
    """Name in the metric reference, which has `definition`, `params` and `scale` (unit) too."""
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
        batch; some first batches make states equal although the options differ.
        """
        self.add_state("options", torch.tensor(options, dtype=torch.float64), dist_reduce_fx="max")

    def add_sums(self, **zeros: Tensor) -> None:
        """Add states that begin with these values, and that ranks add up."""
        for name, value in zeros.items():
            self.add_state(name, value, dist_reduce_fx="sum")

    def choose(self, definition: str, known: Iterable[str]) -> None:
        """Set the definition.

        Raises:
            ConfigError: it is not a known one.
        """
        if definition not in known:
            raise ConfigError(f"definition must be one of {', '.join(known)}, found {definition!r}")
        self.definition = definition

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        """Move the states to another device, without a change of their types."""

        def moved(state: Tensor) -> Tensor:
            result = fn(state)
            return result if result.dtype == state.dtype else state.to(result.device)

        return super()._apply(moved, exclude_state)

    def measured(self) -> Record:
        """The record of the states."""
        raise NotImplementedError

    def recorded(self, value: float, n: int, std_error: float | None = None) -> Record:
        """The record of a value of `n` rows."""
        return Record(
            SOURCE, self.metric, self.definition, self.params, value, std_error, self.scale, n,
            self.dim,
        )  # fmt: skip

    def undefined(self, reason: str) -> Record:
        """The record without a value, and the reason."""
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
        """(M, D) rows of a batch, checked, in float32 or float64.

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

        One rule for the whole package: only the label that `unlabelled` names (--unlabelled on the
        command line) means unlabelled.

        Raises:
            DataError: another shape, no integers, or a negative label that `unlabelled` does not
                name.
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
        codes = labels.detach().long()
        if self.unlabelled is None:
            is_unlabelled = torch.zeros_like(codes, dtype=torch.bool)
        else:
            is_unlabelled = codes == self.unlabelled
        negative = codes[(codes < 0) & ~is_unlabelled]
        if len(negative):
            value = int(negative[0])
            raise DataError(
                f"{name}: classes are numbered from 0, found {value}: pass unlabelled={value} if "
                f"it means that a row has none, as --unlabelled {value} on the command line"
            )
        return codes.masked_fill(is_unlabelled, -1)


def unit(rows: Tensor) -> Tensor:
    """Rows on the unit sphere, in float64, whatever their scale."""
    wide = rows.double()
    wide = wide / wide.abs().amax(dim=1, keepdim=True)
    return functional.normalize(wide, dim=1)
