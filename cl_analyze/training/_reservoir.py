"""A sample of rows in bounded memory that merges across batches and ranks.

Every row has a key, a hash of (seed, rank, how many rows came before it); the rows with the least
keys are kept.  Keys are as good as independent and uniform on [0, 1), so what is kept is a simple
random sample without replacement of all rows, whatever the batches; and the least keys of two
samples' union are the least of all rows, so that samples of ranks, or of metrics with seeds of
their own, merge exactly, in any order.

A later epoch that sees the rows in the same order keeps the same rows: a curve over epochs has no
noise of its own from the sample.

Reference: Efraimidis & Spirakis, Inf. Process. Lett. 2006 (equal weights).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from cl_analyze.errors import ConfigError, DataError
from cl_analyze.options.kinds import whole_number
from cl_analyze.tables import Record
from cl_analyze.training._metric import LARGEST_LABEL, EmbeddingMetric

_KEY, _LABEL, _FIRST = 0, 1, 2
UNLABELLED = -1
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def keys(seed: int, rank: int, first: int, n: int, device: torch.device) -> Tensor:
    """(n,) keys in [0, 1) of the rows from the `first` on: SplitMix64 (Steele et al., 2014).

    >>> bool(torch.equal(keys(0, 0, 0, 5, torch.device("cpu"))[2:],
    ...                  keys(0, 0, 2, 3, torch.device("cpu"))))
    True
    """
    stream = _mixed(_mixed(torch.tensor(seed)) + rank)  # on the host: one number
    counter = torch.arange(first + 1, first + n + 1, device=device)
    bits = _mixed(counter * _GOLDEN + int(stream))
    return ((bits >> 11) & (2**53 - 1)).double() / 2**53


def _mixed(bits: Tensor) -> Tensor:
    """SplitMix64's mixing of 64 bits; shifts bring in zeros, products wrap."""
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    return (bits >> by) & ((1 << (64 - by)) - 1)


def least(kept: Tensor) -> Tensor:
    """Merge samples: (S, n, columns) to the (n, columns) with the least keys, ties in order."""
    every = kept.flatten(0, 1)
    order = torch.argsort(every[:, _KEY], stable=True)
    return every[order[: kept.shape[1]]]


class SampledMetric(EmbeddingMetric):
    """A metric of the rows of a reservoir: at most `max_rows` of all, drawn with `seed`.

    Memory: max_rows (dim + 2) float32; while ranks are joined, a few times that for each of them.
    Up to `max_rows` rows the value is that of all of them.
    """

    labelled = False
    """Whether classes are kept beside the rows."""

    full_state_update: bool | None = True  # a row's key says how many rows came before it
    reservoir: Tensor
    n_seen: Tensor

    def __init__(self, dim: int, max_rows: int = 4096, seed: int = 0, **options: Any) -> None:
        super().__init__(dim, **options)
        self.max_rows = whole_number("max_rows", max_rows, 2)
        self.seed = whole_number("seed", seed, 0)
        if self.seed >= 2**63:
            raise ConfigError(f"seed must be below 2^63, found {seed}")
        empty = torch.zeros(self.max_rows, self.dim + _FIRST)
        empty[:, _KEY] = torch.inf
        self.add_state("reservoir", empty, dist_reduce_fx=least)
        self.add_state("n_seen", torch.tensor(0), dist_reduce_fx="sum")
        self.tell_apart(float(self.seed), float(self.labelled))

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows of another sample, which needs a seed of its own.

        Raises:
            ConfigError: both have the same seed, so that their rows have the same keys.
        """
        other = incoming_state
        state: dict[str, Any] = other.metric_state if isinstance(other, Metric) else other
        if float(state["options"][0]) == self.seed and int(state["n_seen"]) and int(self.n_seen):
            raise ConfigError(
                f"{type(self).__name__}: samples that are merged need seeds of their own, found "
                f"seed {self.seed} twice: {type(self).__name__}(..., seed={self.seed + 1})"
            )
        self._reduce_states(state)

    def keep(self, rows: Tensor, labels: Tensor | None = None) -> None:
        """Add a batch of checked rows to the reservoir.

        Raises:
            DataError: a class that float32 does not hold.
        """
        distributed = torch.distributed
        up = distributed.is_available() and distributed.is_initialized()
        new = rows.new_full((len(rows), self.dim + _FIRST), UNLABELLED, dtype=torch.float32)
        rank = distributed.get_rank() if up else 0
        new[:, _KEY] = keys(self.seed, rank, int(self.n_seen), len(rows), rows.device).float()
        if labels is not None:
            if len(labels) and int(labels.max()) >= LARGEST_LABEL:
                raise DataError(
                    f"{type(self).__name__}: classes must be below {LARGEST_LABEL}, found "
                    f"{int(labels.max())}: number them from 0"
                )
            new[:, _LABEL] = labels.clamp(min=UNLABELLED).float()
        # the scale is nothing to these metrics, and float32 may not hold that of float64 rows
        new[:, _FIRST:] = (rows / rows.abs().amax(dim=1, keepdim=True)).float()
        both = torch.cat([self.reservoir, new])
        self.reservoir = both[torch.argsort(both[:, _KEY], stable=True)[: self.max_rows]]
        self.n_seen = self.n_seen + len(rows)

    def measured(self) -> Record:
        """The record of the rows that are kept."""
        rows, labels = self.kept()
        if len(rows) < 2:
            return self.undefined("there are fewer than two rows")
        if self.labelled and (labels == UNLABELLED).all():
            return self.undefined("no row is labelled")
        found = self.of_sample(rows, labels)
        return replace(found, exact=len(rows) == int(self.n_seen))

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The record of (n, D) rows, n >= 2, and their (n,) classes, -1 for unlabelled rows."""
        raise NotImplementedError

    def kept(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(n, D) rows and (n,) classes as arrays; unlabelled ones are -1."""
        there = self.reservoir[torch.isfinite(self.reservoir[:, _KEY])].cpu()
        return there[:, _FIRST:].numpy(), there[:, _LABEL].long().numpy()
