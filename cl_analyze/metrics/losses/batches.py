"""Expectations of the losses over batches, from batches drawn of the saved pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cl_analyze.metrics.losses.catalogue import LOSSES
from cl_analyze.metrics.losses.passes import Index
from cl_analyze.metrics.losses.pieces import Constants, Vector, dense_pieces
from cl_analyze.metrics.losses.records import Entry, Recorder, mean_of
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.strips import n_kept
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Cell, Param, Record, Table

PAIRS_AT_LEAST = 1 << 25
FEWEST_BATCHES, MOST_BATCHES = 16, 400
CONVERGED = 0.05
"""Nats within which L - log K counts as having reached its limit."""
COLUMNS = columns_of("loss_batch")


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

    def run(self, rows: Index) -> tuple[Vector, Vector]:
        """(losses, taus) means over the batch's pairs and log counts; NaN without a value."""
        assert self.subject.views is not None
        first, second = self.subject.views
        views = first.take(rows), second.take(rows)
        saved = first.stored_take(rows), second.stored_take(rows)
        codes = None if self.subject.codes is None else self.subject.codes[rows]
        pieces = dense_pieces(views, saved, codes, self.taus, self.constants)
        values = np.full((len(self.losses), len(self.taus)), np.nan)
        counts = np.zeros_like(values)
        for at, position in enumerate(self.losses):
            loss = LOSSES[position]
            for column, tau in enumerate(self.taus if "tau" in loss.params else self.taus[:1]):
                terms = loss.terms(pieces, self.constants, tau)
                has_value = ~np.isnan(terms.value)
                if has_value.any():
                    values[at, column] = terms.value[has_value].mean()
                    counts[at, column] = terms.log_count
        return values, counts


def n_batches(n: int, size: int) -> int:
    """How many batches are drawn: about 3e7 pairs, or one pass over the rows, 16 to 400."""
    wanted = int(np.clip(PAIRS_AT_LEAST // size**2, FEWEST_BATCHES, MOST_BATCHES))
    return max(wanted, min(n // size, MOST_BATCHES))


def _draws(n: int, size: int, seed: int) -> Iterator[Index]:
    """Batches without repeated rows; the batches of one permutation are disjoint."""
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
    losses: tuple[int, ...],
    size: int,
    executor: Executor,
) -> dict[tuple[int, float], tuple[Number, float]]:
    """Mean of each loss over batches of `size` pairs drawn without replacement.

    Args:
        subject: with views.
        options: temperatures and seed.
        constants: parameters.
        losses: positions in LOSSES; a loss without a temperature is under the first one.
        size: pairs of a batch, 2 <= size <= N / 2.
        executor: where batches are computed.

    Returns:
        (position in LOSSES, tau) -> the mean with the standard error of the population and the
        sampling error against all batches of that size of this file, and log K as it enters the
        loss; a loss that is infinite in some batch is left out.

    The mean over all batches is a U-statistic: its variance is at most size / N of that of
    independent batches (Hoeffding, 1948), whose variance is N / (N - size) times that of batches
    drawn from the same N rows.

    Cost: at most 400 batches, about 3e7 pairs or one pass over the rows.
    """
    job = _Batches(subject, options.taus, constants, losses)
    parts = list(executor.run(job, _draws(subject.n, size, options.seed)))
    values = np.stack([part for part, _ in parts])
    counts = np.stack([part for _, part in parts])
    estimates: dict[tuple[int, float], tuple[Number, float]] = {}
    for at, position in enumerate(losses):
        for column, tau in enumerate(options.taus):
            has_value = ~np.isnan(values[:, at, column])
            counted = values[has_value, at, column]
            if len(counted) < 2 or np.isinf(counted).any():
                continue
            spread = float(counted.std(ddof=1))
            mean = Number(
                float(counted.mean()),
                spread * math.sqrt(size / (subject.n - size)),
                subject.n,
                sampling_error=spread / math.sqrt(len(counted)),
            )
            estimates[position, tau] = mean, float(counts[has_value, at, column].mean())
    return estimates


def batch_records(
    recorder: Recorder, entries: Sequence[Entry]
) -> tuple[list[Record], Table, tuple[str, ...]]:
    """Expectations over batches beside the limit that the saved rows give, and a note.

    Args:
        recorder: of the checkpoint.
        entries: every loss at every temperature.
    """
    passes = recorder.passes
    options, source, c = passes.options, passes.subject.source, passes.constants
    by_loss: dict[int, dict[float, Entry]] = {}
    for entry in entries:
        if entry.loss.needs != "queue":
            tau = options.taus[0] if math.isnan(entry.tau) else entry.tau
            by_loss.setdefault(LOSSES.index(entry.loss), {})[tau] = entry
    records: list[Record] = []
    rows: list[dict[str, Cell]] = []
    far: dict[float, list[int]] = {}
    for size in options.batch_sizes:
        passes.runner.announce(f"losses: batches of {size}")
        executor = passes.runner.executor
        estimates = batch_estimates(passes.subject, options, c, tuple(by_loss), size, executor)
        for position, by_tau in by_loss.items():
            if (position, options.taus[0]) not in estimates:
                loss = by_tau[options.taus[0]].loss
                params: dict[str, Param] = {"name": loss.name, "batch_size": size}
                reason = "it is infinite, or has no value, in some batch of this size"
                records.append(recorder.loss_record(loss, params, None, reason))
        for (position, tau), (mean, log_count) in estimates.items():
            entry = by_loss[position][tau]
            loss = entry.loss
            own = loss.parameters(c, entry.tau, size - 1, n_kept(c.alpha, size - 1))
            params = {"name": loss.name, **own, "batch_size": size}
            records.append(recorder.loss_record(loss, params, mean, ""))
            rows.append({"source": source, **entry.cells, **_cells(entry, size, mean, log_count)})
            is_plain = (loss.name, loss.definition) == ("contrastive", "one_way")
            if is_plain and not rows[-1]["converged"]:
                far.setdefault(tau, []).append(size)
    notes: tuple[str, ...] = ()
    if far:
        listing = "; ".join(
            f"tau {tau:g}: {', '.join(map(str, sizes))}" for tau, sizes in far.items()
        )
        notes = (
            f"{source}: L - log K of the contrastive loss is more than {CONVERGED:g} nats from its "
            f"limit at batch sizes ({listing}): the limit needs K far above exp(s+/tau) over the "
            "mean of exp(s/tau)",
        )
    return records, Table("loss_batch", COLUMNS, tuple(rows)), notes


def _cells(entry: Entry, size: int, mean: Number, log_count: float) -> dict[str, Cell]:
    """The cells of a row from `batch_size` on."""
    assert mean.sampling_error is not None
    normalised = mean.value - log_count
    limit, converged = mean_of(entry.terms.limit), None
    if limit is not None:
        converged = abs(normalised - limit) <= CONVERGED + 2.0 * mean.sampling_error
    return {
        "batch_size": size,
        "loss": mean.value,
        "std_error": mean.std_error,
        "sampling_error": mean.sampling_error,
        "log_count": log_count,
        "normalised": normalised,
        "limit": limit,
        "converged": converged,
    }
