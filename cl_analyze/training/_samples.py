"""Metrics that are read off a sample of rows, in bounded memory.

Every row has a key, a hash of (seed, rank, number of rows before it); the rows with the least keys
are kept.  Keys are as good as independent and uniform on [0, 1), so the kept rows are a simple
random sample of all rows without replacement, and batches do not change it.  The least keys of two
samples together are the least keys of all rows: samples of ranks, or of metrics with different
seeds, merge exactly, in any order.

A later epoch that sees the rows in the same order keeps the same rows: the sample adds no noise to
a curve over epochs.

Reference: Efraimidis & Spirakis, Inf. Process. Lett. 2006 (equal weights).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from cl_analyze.api import analyze, uniformity
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.options import RunOptions
from cl_analyze.options.kinds import one_number, whole_number
from cl_analyze.tables import Record
from cl_analyze.training._metric import EmbeddingMetric

_KEY, _LABEL, _FIRST = 0, 1, 2
"""Columns of the reservoir: the key of a row, the label, the first coordinate."""
UNLABELLED = -1
LARGEST_LABEL = 2**24
"""The reservoir holds labels as float32, which is exact below this."""
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def keys(seed: int, rank: int, first: int, n: int, device: torch.device) -> Tensor:
    """(n,) keys in [0, 1) of the rows that begin with number `first`: SplitMix64.

    Reference: Steele, Lea & Flood, OOPSLA 2014.


    >>> bool(torch.equal(keys(0, 0, 0, 5, torch.device("cpu"))[2:],
    ...                  keys(0, 0, 2, 3, torch.device("cpu"))))
    True
    """
    stream = _mixed(_mixed(torch.tensor(seed)) + rank)  # on the host: one number
    counter = torch.arange(first + 1, first + n + 1, device=device)
    bits = _mixed(counter * _GOLDEN + int(stream))
    return ((bits >> 11) & (2**53 - 1)).double() / 2**53


def _mixed(bits: Tensor) -> Tensor:
    """The mixing step of SplitMix64: shifts bring in zeros, products wrap."""
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    return (bits >> by) & ((1 << (64 - by)) - 1)


def least(kept: Tensor) -> Tensor:
    """Merge samples: (S, n, columns) to the (n, columns) with the least keys, ties in order."""
    return _first_keys(kept.flatten(0, 1), kept.shape[1])


def _first_keys(rows: Tensor, n: int) -> Tensor:
    return rows[torch.argsort(rows[:, _KEY], stable=True)[:n]]


class SampledMetric(EmbeddingMetric):
    """Base of the metrics of a sample: at most `max_rows` of all rows, drawn with `seed`.

    Memory: max_rows (dim + 2) float32; while ranks are joined, a few times that for each rank.
    Up to `max_rows` rows the value is that of all rows.
    """

    labelled = False
    """Whether classes are kept beside the rows."""

    full_state_update: bool | None = True  # the key of a row depends on the number before it
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
        """Add the rows of another sample, which needs another seed.

        Raises:
            ConfigError: both samples have one seed, so that their rows have the same keys.
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
        is_up = distributed.is_available() and distributed.is_initialized()
        new = rows.new_full((len(rows), self.dim + _FIRST), UNLABELLED, dtype=torch.float32)
        rank = distributed.get_rank() if is_up else 0
        new[:, _KEY] = keys(self.seed, rank, int(self.n_seen), len(rows), rows.device).float()
        if labels is not None:
            if len(labels) and int(labels.max()) >= LARGEST_LABEL:
                raise DataError(
                    f"{type(self).__name__}: classes must be below {LARGEST_LABEL}, found "
                    f"{int(labels.max())}: number them from 0"
                )
            new[:, _LABEL] = labels.clamp(min=UNLABELLED).float()
        # these metrics ignore the scale of a row, and float32 may not hold that of a float64 row
        new[:, _FIRST:] = (rows / rows.abs().amax(dim=1, keepdim=True)).float()
        self.reservoir = _first_keys(torch.cat([self.reservoir, new]), self.max_rows)
        self.n_seen = self.n_seen + len(rows)

    def measured(self) -> Record:
        """The record of the kept rows."""
        rows, labels = self.kept()
        if len(rows) < 2:
            return self.undefined("there are fewer than two rows")
        if self.labelled and (labels == UNLABELLED).all():
            return self.undefined("no row is labelled")
        return replace(self.of_sample(rows, labels), exact=len(rows) == int(self.n_seen))

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The record of (n, D) rows, n >= 2, with (n,) classes, -1 for unlabelled rows."""
        raise NotImplementedError

    def kept(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(n, D) rows and (n,) classes as arrays, -1 for unlabelled rows."""
        filled = self.reservoir[torch.isfinite(self.reservoir[:, _KEY])].cpu()
        return filled[:, _FIRST:].numpy(), filled[:, _LABEL].long().numpy()


class Uniformity(SampledMetric):
    """log mean over i != j of exp(-t |x_i - x_j|^2) over unit rows, in nats: lower is more uniform.

    Above `max_rows` rows the value is that of a random sample of `max_rows` rows, whose mean
    potential has no bias; `record.sampling_error` is the distance to expect from the value of all
    rows.

    Args:
        dim: columns of the embeddings.
        t: exponent, > 0.
        max_rows: most rows of the sample, >= 2.
        seed: seed of the sample.
        options: options of torchmetrics.Metric.

    Cost: one pass over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Isola, ICML 2020; Wang & Liu, CVPR 2021, eq. 10.

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
        record = uniformity(rows, self.t)
        left_out = 1.0 - len(rows) / int(self.n_seen)
        if not left_out or record.std_error is None:
            return record
        return replace(record, sampling_error=record.std_error * math.sqrt(left_out))


class _PenaltyMetric(SampledMetric):
    """Base of the metrics of the relative penalties at a temperature."""

    def __init__(
        self, dim: int, tau: float = 0.2, max_rows: int = 4096, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(dim, max_rows, seed, **options)
        self.tau = one_number("tau", tau)
        self.params = {"tau": self.tau}

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The record of the penalty family with this metric's name."""
        return analyze(
            rows,
            labels if self.labelled else None,
            taus=[self.tau],
            metrics="penalty",
            curve_anchors=2,  # the curves are not read
            run=RunOptions(unlabelled=str(UNLABELLED)) if self.labelled else None,
        ).records.find(self.metric)


class PenaltyEntropy(_PenaltyMetric):
    """Mean over anchors of the entropy of the relative penalties at `tau`, in nats.

    P_ij is proportional to exp(s_ij / tau) over the other kept rows.  The entropy is log(rows - 1)
    where every negative is pushed alike, 0 where one negative takes all.

    The entropy grows with the number of negatives: above `max_rows` rows it is that of a sample of
    `max_rows` rows at every epoch, not that of all rows.

    Args:
        dim: columns of the embeddings.
        tau: temperature, > 0.
        max_rows: most rows of the sample, >= 2.
        seed: seed of the sample.
        options: options of torchmetrics.Metric.

    Cost: two passes over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Liu, CVPR 2021, eq. 5.

    >>> metric = PenaltyEntropy(dim=5, tau=0.1)
    >>> metric.update(torch.eye(5))                    # equal similarities: an even spread, log 4
    >>> metric.compute()
    tensor(1.3863)
    """

    higher_is_better: bool | None = None
    metric, scale = "penalty_entropy", "nats"

    def update(self, embeddings: Tensor) -> None:
        """Add a batch: (M, D)."""
        self.keep(self.rows(embeddings))


class FalseNegativeShare(_PenaltyMetric):
    """Mean over labelled anchors of the share of the penalty at `tau` that falls on their class.

    The negatives are the other kept rows.  At small `tau` the nearest rows decide the share, and a
    sample of the rows (above `max_rows`) has fewer near rows: the share is lower than that of all
    rows, by as much at every epoch.

    Args:
        dim: columns of the embeddings.
        tau: temperature, > 0.
        max_rows: most rows of the sample, >= 2.
        seed: seed of the sample.
        unlabelled: the label of rows without a class, as -1 or -100; None: every row has a class.
        options: options of torchmetrics.Metric.

    Cost: two passes over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Liu, CVPR 2021, eq. 5.

    >>> metric = FalseNegativeShare(dim=4)
    >>> metric.update(torch.eye(4), torch.tensor([0, 0, 1, 1]))      # one of three, all alike
    >>> metric.compute()
    tensor(0.3333)
    """

    higher_is_better: bool | None = False
    metric, scale = "penalty_false_negative_share", "share"
    labelled = True

    def __init__(
        self,
        dim: int,
        tau: float = 0.2,
        max_rows: int = 4096,
        seed: int = 0,
        unlabelled: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dim, tau, max_rows, seed, **options)
        self.unlabelled = unlabelled

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch: (M, D), and (M,) classes."""
        rows = self.rows(embeddings)
        self.keep(rows, self.classes(labels, len(rows)))
