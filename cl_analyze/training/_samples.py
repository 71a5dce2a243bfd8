"""Metrics of a random sample of rows, in bounded memory (reservoir sampling).

Every row has a key: a hash of the seed, the rank, and the number of earlier rows.  The rows with
the smallest keys are kept.  Keys behave as independent uniform numbers on [0, 1), so the kept rows
are a simple random sample of all rows without replacement.  The size of batches does not change
the sample.  The smallest keys of two merged samples are the smallest keys of all rows, so samples
of ranks, or of metrics with different seeds, merge exactly and in any order.

If the rows of a later epoch have the same order, the same rows are kept, so sampling adds no noise
to a curve over epochs.

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
from cl_analyze.results.tables import Record
from cl_analyze.training._metric import EmbeddingMetric

_KEY, _LABEL, _FIRST = 0, 1, 2
"""Columns of the reservoir: the key of a row, the label, the first coordinate."""
UNLABELLED = -1
LARGEST_LABEL = 2**24
"""The reservoir holds labels as float32, which is exact for integers below this limit."""
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def keys(seed: int, rank: int, first: int, n: int, device: torch.device) -> Tensor:
    """(n,) keys in [0, 1) of the rows number `first` to `first + n - 1`, by SplitMix64.

    Reference: Steele, Lea & Flood, OOPSLA 2014.

    >>> bool(torch.equal(keys(0, 0, 0, 5, torch.device("cpu"))[2:],
    ...                  keys(0, 0, 2, 3, torch.device("cpu"))))
    True
    """
    stream = _mixed(_mixed(torch.tensor(seed)) + rank)  # one number, computed on the host
    counter = torch.arange(first + 1, first + n + 1, device=device)
    bits = _mixed(counter * _GOLDEN + int(stream))
    return ((bits >> 11) & (2**53 - 1)).double() / 2**53


def _mixed(bits: Tensor) -> Tensor:
    """The mixing step of SplitMix64, with logical shifts and products modulo 2^64."""
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    return (bits >> by) & ((1 << (64 - by)) - 1)


def least(kept: Tensor) -> Tensor:
    """Merge (S, n, columns) samples to the (n, columns) rows with the smallest keys; stable."""
    return _first_keys(kept.flatten(0, 1), kept.shape[1])


def _first_keys(rows: Tensor, n: int) -> Tensor:
    return rows[torch.argsort(rows[:, _KEY], stable=True)[:n]]


class SampledMetric(EmbeddingMetric):
    """Base class of the metrics of a sample of at most `max_rows` rows, drawn with `seed`.

    With at most `max_rows` rows, the value is exact.

    Memory: max_rows (dim + 2) float32; a few times this for each rank while ranks are merged.
    """

    labelled = False
    """Whether the metric keeps classes of the rows."""

    full_state_update: bool | None = True  # the key of a row depends on the number of earlier rows
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
        """Add the rows of another sample, which must have another seed.

        Raises:
            ConfigError: both samples have the same seed, so their rows have the same keys.
        """
        incoming = incoming_state
        state: dict[str, Any] = incoming.metric_state if isinstance(incoming, Metric) else incoming
        if float(state["options"][0]) == self.seed and int(state["n_seen"]) and int(self.n_seen):
            raise ConfigError(
                f"{type(self).__name__}: merged samples need different seeds, found "
                f"seed {self.seed} twice: {type(self).__name__}(..., seed={self.seed + 1})"
            )
        self._reduce_states(state)

    def keep(self, rows: Tensor, labels: Tensor | None = None) -> None:
        """Add a batch of checked rows to the reservoir.

        Raises:
            DataError: a class is too large for float32.
        """
        distributed = torch.distributed
        is_distributed = distributed.is_available() and distributed.is_initialized()
        entries = rows.new_full((len(rows), self.dim + _FIRST), UNLABELLED, dtype=torch.float32)
        rank = distributed.get_rank() if is_distributed else 0
        entries[:, _KEY] = keys(self.seed, rank, int(self.n_seen), len(rows), rows.device).float()
        if labels is not None:
            if len(labels) and int(labels.max()) >= LARGEST_LABEL:
                raise DataError(
                    f"{type(self).__name__}: classes must be below {LARGEST_LABEL}, found "
                    f"{int(labels.max())}: number them from 0"
                )
            entries[:, _LABEL] = labels.clamp(min=UNLABELLED).float()
        # the metrics ignore the scale of a row; a float64 row may be too large or small for float32
        entries[:, _FIRST:] = (rows / rows.abs().amax(dim=1, keepdim=True)).float()
        self.reservoir = _first_keys(torch.cat([self.reservoir, entries]), self.max_rows)
        self.n_seen = self.n_seen + len(rows)

    def measured(self) -> Record:
        """The record computed from the kept rows."""
        rows, labels = self.kept()
        if len(rows) < 2:
            return self.undefined("there are fewer than two rows")
        if self.labelled and (labels == UNLABELLED).all():
            return self.undefined("no row is labelled")
        return replace(self.of_sample(rows, labels), exact=len(rows) == int(self.n_seen))

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The record of (n, D) rows, n >= 2, with (n,) classes; -1 for unlabelled rows."""
        raise NotImplementedError

    def kept(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The kept (n, D) rows and (n,) classes as arrays; -1 for unlabelled rows."""
        filled = self.reservoir[torch.isfinite(self.reservoir[:, _KEY])].cpu()
        return filled[:, _FIRST:].numpy(), filled[:, _LABEL].long().numpy()


class Uniformity(SampledMetric):
    """log mean over i != j of exp(-t |x_i - x_j|^2) over unit rows, in nats: lower is more uniform.

    With more than `max_rows` rows, the value is estimated from a random sample of `max_rows` rows.
    The mean potential of the sample is unbiased; `record.sampling_error` is the distance to expect
    from the value of all rows.

    Args:
        dim: number of columns of the embeddings.
        t: exponent, > 0.
        max_rows: largest number of rows in the sample, >= 2.
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
        """Add a batch of (M, D) rows."""
        self.keep(self.rows(embeddings))

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The `u_stat` record of the sample, as an estimate for all rows."""
        record = uniformity(rows, self.t)
        left_out = 1.0 - len(rows) / int(self.n_seen)
        if not left_out or record.std_error is None:
            return record
        return replace(record, sampling_error=record.std_error * math.sqrt(left_out))


class _PenaltyMetric(SampledMetric):
    """Base class of the metrics of the relative penalty at one temperature."""

    def __init__(
        self, dim: int, tau: float = 0.2, max_rows: int = 4096, seed: int = 0, **options: Any
    ) -> None:
        super().__init__(dim, max_rows, seed, **options)
        self.tau = one_number("tau", tau)
        self.params = {"tau": self.tau}

    def of_sample(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Record:
        """The record with the name of this metric, from the penalty family."""
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
    if all negatives have the same penalty, and 0 if one negative has the whole penalty.

    The entropy grows with the number of negatives.  With more than `max_rows` rows, the value is
    the entropy in a sample of `max_rows` rows, not in all rows.  The values of different epochs can
    be compared.

    Args:
        dim: number of columns of the embeddings.
        tau: temperature, > 0.
        max_rows: largest number of rows in the sample, >= 2.
        seed: seed of the sample.
        options: options of torchmetrics.Metric.

    Cost: two passes over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Liu, CVPR 2021, eq. 5.

    >>> metric = PenaltyEntropy(dim=5, tau=0.1)
    >>> metric.update(torch.eye(5))                    # equal similarities: log 4
    >>> metric.compute()
    tensor(1.3863)
    """

    higher_is_better: bool | None = None
    metric, scale = "penalty_entropy", "nats"

    def update(self, embeddings: Tensor) -> None:
        """Add a batch of (M, D) rows."""
        self.keep(self.rows(embeddings))


class FalseNegativeShare(_PenaltyMetric):
    """Mean over labelled anchors of the share of the penalty at `tau` on rows of their class.

    The negatives are the other kept rows.  At small `tau` the nearest rows dominate the share.  A
    sample (of more than `max_rows` rows) has fewer near rows, so the share is lower than the share
    in all rows.  The values of different epochs can be compared.

    Args:
        dim: number of columns of the embeddings.
        tau: temperature, > 0.
        max_rows: largest number of rows in the sample, >= 2.
        seed: seed of the sample.
        unlabelled: the label of rows without a class, such as -1 or -100; None: every row has a
            class.
        options: options of torchmetrics.Metric.

    Cost: two passes over max_rows^2 / 2 pairs on the CPU at `compute`.

    Reference: Wang & Liu, CVPR 2021, eq. 5.

    >>> metric = FalseNegativeShare(dim=4)
    >>> metric.update(torch.eye(4), torch.tensor([0, 0, 1, 1]))      # one of three equal negatives
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
        """Add a batch of (M, D) rows and (M,) classes."""
        rows = self.rows(embeddings)
        self.keep(rows, self.classes(labels, len(rows)))
