"""Base class of the metrics: checks rows, returns a value, and stores the record."""

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
from cl_analyze.results.tables import Param, Record, Unit, undefined

SOURCE = "embeddings"


class EmbeddingMetric(Metric):
    """Base class of metrics: `update` adds a batch, `compute` returns a 0-D float32 tensor.

    The size of the states depends on the options, not on the number of rows.  `compute` merges the
    states of all ranks; `merge_state` merges the state of another metric object.  States keep their
    types (float64 for sums) when the model is cast to another type.

    After `compute`, `record` holds the definition, the parameters, the number of rows and, if the
    states allow it, the standard error.  An undefined value is NaN; a warning gives the reason.

    Rows that distributed samplers repeat as padding count twice, as in other metrics.

    Subclasses define `update` and `measured`.

    Args:
        dim: number of columns of the embeddings.
        options: options of torchmetrics.Metric, such as `dist_sync_on_step`.

    Raises:
        ConfigError: an option has an invalid value.

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
    """Name in docs/metrics.md; the page also lists `definition`, `params` and `scale` (unit)."""
    scale: Unit
    definition: str | None = None
    unlabelled: int | None = None

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(**options)
        self.dim = whole_number("dim", dim)
        self.params: dict[str, Param] = {}

    def tell_apart(self, *options: float) -> None:
        """Add a state with the options, so that metrics with different options differ in a state.

        A MetricCollection shares one state between metrics whose states are equal after the first
        batch.  With some first batches, states are equal although the options differ.
        """
        self.add_state("options", torch.tensor(options, dtype=torch.float64), dist_reduce_fx="max")

    def add_sums(self, **zeros: Tensor) -> None:
        """Add states with these initial values; states of ranks are merged by addition."""
        for name, value in zeros.items():
            self.add_state(name, value, dist_reduce_fx="sum")

    def choose(self, definition: str, known: Iterable[str]) -> None:
        """Set the definition.

        Raises:
            ConfigError: `definition` is not in `known`.
        """
        if definition not in known:
            raise ConfigError(f"definition must be one of {', '.join(known)}, found {definition!r}")
        self.definition = definition

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        """Move the states to another device; keep their types."""

        def moved_state(state: Tensor) -> Tensor:
            result = fn(state)
            return result if result.dtype == state.dtype else state.to(result.device)

        return super()._apply(moved_state, exclude_state)

    def measured(self) -> Record:
        """The record computed from the states."""
        raise NotImplementedError

    def recorded(self, value: float, n: int, std_error: float | None = None) -> Record:
        """A record with a value from `n` rows."""
        return Record(
            SOURCE, self.metric, self.definition, self.params, value, std_error, self.scale, n,
            self.dim,
        )  # fmt: skip

    def undefined(self, reason: str) -> Record:
        """A record of an undefined value, with the reason."""
        return undefined(
            SOURCE, self.metric, self.definition, self.params, self.scale, self.dim, reason
        )

    def compute(self) -> Tensor:
        """The value for all rows of all ranks that `update` has added."""
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
        """Check (M, D) rows of a batch and convert them to float32 or float64.

        Raises:
            DataError: the shape or type is wrong, or a row has NaN, infinity or zero norm.
        """
        name = type(self).__name__
        if not isinstance(embeddings, Tensor) or not embeddings.is_floating_point():
            actual = getattr(embeddings, "dtype", type(embeddings).__name__)
            raise DataError(f"{name}: {what} must be a tensor of floats, found {actual}")
        if embeddings.ndim != 2 or embeddings.shape[1] != self.dim:
            raise DataError(
                f"{name}(dim={self.dim}): {what} must have shape (rows, {self.dim}), found "
                f"{tuple(embeddings.shape)}"
            )
        rows = embeddings.detach()
        rows = rows if rows.dtype == torch.float64 else rows.float()
        norms = rows.abs().amax(dim=1) if len(rows) else rows.new_zeros(0)
        invalid = torch.nonzero(~(torch.isfinite(norms) & (norms > 0)))
        if len(invalid):
            raise DataError(
                f"{name}: {len(invalid)} of {len(rows)} rows of {what} have NaN, infinity or zero "
                f"norm, first row {int(invalid[0])} of the batch: has the training diverged?"
            )
        return rows

    def classes(self, labels: Tensor, n_rows: int) -> Tensor:
        """(M,) classes of a batch, -1 for unlabelled rows.

        As in the whole package, only the label `unlabelled` (--unlabelled on the command line)
        marks a row as unlabelled.

        Raises:
            DataError: the shape is wrong, labels are not integers, or a label is negative and is
                not `unlabelled`.
        """
        name = type(self).__name__
        if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
            actual = getattr(labels, "dtype", type(labels).__name__)
            raise DataError(f"{name}: labels must be a tensor of integers, found {actual}")
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
                f"it marks unlabelled rows, as --unlabelled {value} on the command line"
            )
        return codes.masked_fill(is_unlabelled, -1)


def unit(rows: Tensor) -> Tensor:
    """Rows normalised to unit length, in float64; no scale of rows overflows."""
    wide = rows.double()
    wide = wide / wide.abs().amax(dim=1, keepdim=True)
    return functional.normalize(wide, dim=1)
