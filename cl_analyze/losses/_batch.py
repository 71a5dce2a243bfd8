"""The base of all losses: two views in, one value for each pair, reduction, and ranks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cl_analyze.errors import ConfigError
from cl_analyze.losses._checks import check_views, one_of

Reduction = Literal["none", "mean", "sum"]


class PairLoss(nn.Module):
    """Base of the losses: (M, D) and (M, D) in, row i of one a positive of row i of the other.

    Rows are put on the unit sphere, in float32 at least and outside autocast: exp(s / tau) does not
    fit into half precision.  Where torch.distributed is up, the batches of all ranks are joined
    first: every rank then computes the loss of the joined batch, so that averaging gradients over
    ranks (DistributedDataParallel) gives the gradient of that loss.  NaN in the input is NaN in the
    loss.

    Subclasses define `values`, which can take further tensors that `extras` names.

    Args:
        reduction: `mean` over the pairs that have a value, `sum` of their values, or `none`: (M,)
            values of the pairs of this rank, 0 for a pair without a value.
        gather: whether to join the batches of all ranks.

    >>> class Alignment(PairLoss):
    ...     def values(self, u, v, labels):
    ...         return (u - v).square().sum(dim=1)
    >>> Alignment(reduction="none")(torch.eye(2), -torch.eye(2))
    tensor([4., 4.])
    """

    extras: tuple[str, ...] = ()
    """Names of the tensors that `values` takes beside views and labels."""
    saved: ClassVar[tuple[str, ...]] = ()
    """Names under which `cl-analyze losses` reports the loss on saved embeddings."""

    def __init__(self, reduction: Reduction = "mean", gather: bool = True) -> None:
        super().__init__()
        self.reduction = one_of("reduction", reduction, ("none", "mean", "sum"))
        self.gather = gather

    def values(self, u: Tensor, v: Tensor, labels: Tensor | None) -> Tensor:
        """(M,) values of the pairs; a value that `taking_part` leaves out does not count.

        Args:
            u, v: (M, D) rows as `prepared` gives them: unit rows, where a loss does not say
                otherwise.
            labels: (M,) classes, negative for unlabelled rows; None for a loss without classes.
        """
        raise NotImplementedError

    def prepared(self, rows: Tensor) -> Tensor:
        """(M, D) rows as `values` takes them: on the unit sphere."""
        return unit(rows)

    def taking_part(self, u: Tensor, labels: Tensor | None) -> Tensor | None:
        """(M,) booleans: which pairs have a value; None: all."""
        return None

    def forward(self, u: Tensor, v: Tensor, labels: Tensor | None = None, **extra: Any) -> Tensor:
        """The loss of a batch.

        Args:
            u, v: (M, D) embeddings of two views; they need not be normalised.
            labels: (M,) integers, for a loss that needs classes.
            extra: the tensors that `extras` names, as keywords.

        Raises:
            ConfigError: shapes that do not fit, or missing labels.
        """
        check_views(u, v, labels)
        for name in extra:
            if name not in self.extras:
                raise ConfigError(f"{type(self).__name__} takes no {name}=")
        with torch.autocast(device_type=u.device.type, enabled=False):
            u, v = self.prepared(u), self.prepared(v)
            first, n_own = 0, len(u)
            if self.gather and _is_distributed():
                first, (u, v, labels) = _joined(u, v, labels)
            values = self.values(u, v, labels, **extra)
            counted = self.taking_part(u, labels)
        n = len(values)
        if counted is not None:
            values = torch.where(counted, values, 0.0)
            n = max(int(counted.sum()), 1)
        if self.reduction == "none":
            return values[first : first + n_own]
        total = values.sum()
        return total if self.reduction == "sum" else total / n


def wide(rows: Tensor) -> Tensor:
    """Rows in float32, or in float64."""
    return rows if rows.dtype == torch.float64 else rows.float()


def unit(rows: Tensor) -> Tensor:
    """Rows on the unit sphere, in float32 or float64."""
    return normalize(wide(rows), dim=1, eps=1e-30)


def _is_distributed() -> bool:
    distributed = torch.distributed
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def _joined(
    u: Tensor, v: Tensor, labels: Tensor | None
) -> tuple[int, tuple[Tensor, Tensor, Tensor | None]]:
    """Where this rank's pairs start, and the batches of all ranks, through which gradients flow."""
    distributed = torch.distributed
    world, rank = distributed.get_world_size(), distributed.get_rank()
    sizes = [torch.zeros(1, dtype=torch.int64, device=u.device) for _ in range(world)]
    distributed.all_gather(sizes, torch.tensor([len(u)], device=u.device))
    counts = [int(size) for size in sizes]

    def all_of(rows: Tensor) -> Tensor:
        shape = (max(counts) - len(rows), *rows.shape[1:])
        padded = torch.cat([rows, rows.new_zeros(shape)])
        if padded.is_floating_point():
            gathered = _GatherAll.apply(padded)  # type: ignore[no-untyped-call]
        else:
            gathered = [torch.zeros_like(padded) for _ in range(world)]
            distributed.all_gather(gathered, padded)
        return torch.cat([part[:n] for part, n in zip(gathered, counts, strict=True)])

    both = all_of(torch.cat([u, v], dim=1))
    joined = both[:, : u.shape[1]], both[:, u.shape[1] :]
    return sum(counts[:rank]), (*joined, None if labels is None else all_of(labels))


class _GatherAll(torch.autograd.Function):
    """all_gather whose backward adds up the gradients that all ranks have for a rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.zeros_like(rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, rows.contiguous())
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = torch.stack(gradients)
        torch.distributed.all_reduce(total)
        return total[torch.distributed.get_rank()]
