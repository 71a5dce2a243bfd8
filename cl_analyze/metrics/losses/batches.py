"""Expectations of the losses over batches, from batches drawn of the saved pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.losses.catalogue import LOSSES, SavedLoss
from cl_analyze.metrics.losses.pieces import Constants, dense_pieces
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.kernels import KERNELS

Vector = NDArray[np.float64]

PAIRS_AT_LEAST = 1 << 25
FEWEST_BATCHES, MOST_BATCHES = 16, 400


@dataclass(frozen=True)
class BatchEstimate:
    """A loss's mean over batches of one size.

    Attributes:
        value: the mean.
        std_error: of the population.
        sampling_error: from the mean over all batches of that size of this file.
        log_count: log of the number of negatives as it enters the loss.
    """

    value: float
    std_error: float | None
    sampling_error: float
    log_count: float


@dataclass(frozen=True)
class _Batches:
    """Job: every loss of one batch of pairs (indices), for every temperature.

    Attributes:
        losses: positions in LOSSES, whose functions need not travel.
    """

    subject: Subject
    taus: tuple[float, ...]
    constants: Constants
    losses: tuple[int, ...]

    def run(self, rows: NDArray[np.int64]) -> tuple[Vector, Vector]:
        """(losses, taus) means over the batch's pairs and log counts; NaN where there is none."""
        assert self.subject.views is not None
        u, v = (view.take(rows) for view in self.subject.views)
        codes = None if self.subject.codes is None else self.subject.codes[rows]
        pieces = dense_pieces(u, v, codes, self.taus, self.constants, KERNELS)
        values = np.full((len(self.losses), len(self.taus)), np.nan)
        counts = np.zeros_like(values)
        for at, position in enumerate(self.losses):
            loss = LOSSES[position]
            for column, tau in enumerate(self.taus if "tau" in loss.params else self.taus[:1]):
                terms = loss.terms(pieces, self.constants, tau)
                there = ~np.isnan(terms.value)
                if there.any():
                    values[at, column] = terms.value[there].mean()
                    counts[at, column] = terms.log_count
        return values, counts


def n_batches(n: int, size: int) -> int:
    """How many batches are drawn: about 3e7 pairs, or one pass over the rows, 16 to 400."""
    wanted = int(np.clip(PAIRS_AT_LEAST // size**2, FEWEST_BATCHES, MOST_BATCHES))
    return max(wanted, min(n // size, MOST_BATCHES))


def _draws(n: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Batches without repeated rows; those of one permutation are disjoint."""
    random = np.random.default_rng([seed, n, size])
    left = n_batches(n, size)
    while left:
        order = random.permutation(n)
        for start in range(0, n - size + 1, size):
            if not left:
                return
            yield order[start : start + size]
            left -= 1


def batch_estimates(
    subject: Subject,
    options: MetricOptions,
    constants: Constants,
    losses: tuple[SavedLoss, ...],
    size: int,
    executor: Executor,
) -> dict[tuple[int, float], BatchEstimate]:
    """Mean of each loss over batches of `size` pairs drawn without replacement.

    Args:
        subject: with views.
        options: temperatures and seed.
        constants: parameters.
        losses: which; those without a temperature are found under the first one.
        size: pairs of a batch, 2 <= size <= N / 2.
        executor: where batches are computed.

    Returns:
        (position in losses, tau) -> estimate; none for a loss that is infinite in some batch.

    The mean over all batches is a U-statistic: its variance is at most size / N of that of
    independent batches (Hoeffding, 1948), whose variance is N / (N - size) times that of batches
    drawn from the same N rows.

    Cost: at most 400 batches, about 3e7 pairs or one pass over the rows.
    """
    positions = tuple(LOSSES.index(loss) for loss in losses)
    job = _Batches(subject, options.taus, constants, positions)
    parts = list(executor.run(job, _draws(subject.n, size, options.seed)))
    values = np.stack([part for part, _ in parts])
    counts = np.stack([part for _, part in parts])
    found: dict[tuple[int, float], BatchEstimate] = {}
    for at in range(len(losses)):
        for column, tau in enumerate(options.taus):
            column_values = values[:, at, column]
            there = ~np.isnan(column_values)
            n = int(there.sum())
            if n < 2 or np.isinf(column_values[there]).any():
                continue
            spread = float(column_values[there].std(ddof=1))
            found[at, tau] = BatchEstimate(
                float(column_values[there].mean()),
                spread * math.sqrt(size / (subject.n - size)),
                spread / math.sqrt(n),
                float(counts[there, at, column].mean()),
            )
    return found
