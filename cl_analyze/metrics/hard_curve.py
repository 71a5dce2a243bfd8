"""Relative penalty over each anchor's hardest negatives alone (Wang & Liu, CVPR 2021, eq. 9)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError
from cl_analyze.metrics.bins import TABLE_BINS, bin_centres
from cl_analyze.metrics.runner import ANCHOR_BYTES, PairRunner
from cl_analyze.metrics.subject import Subject
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.strips import Strips, hard_negatives, n_kept
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Cell, Table

COLUMNS = columns_of("penalty_curve_hard")

Vector = NDArray[np.float64]


def hard_curve(
    subject: Subject,
    options: MetricOptions,
    runner: PairRunner,
    anchors: NDArray[np.int64],
    fraction: Vector,
) -> Table:
    """Curve of the relative penalty where each anchor keeps the hardest share alpha of negatives.

    r(s) is the mean over anchors of exp(s / tau) / Z_i for s at or above the anchor's threshold,
    and of 0 below.  Z_i is the sum of exp(s / tau) over the kept negatives.  The penalty mass of a
    bin is the sum of r over its pairs, averaged over anchors.

    Args:
        subject, options, runner: as for a family; options.penalty_alpha is not None.
        anchors: (m,) indices of the anchors, ascending.
        fraction: (bins,) share of the anchors' negatives in each bin.

    Raises:
        ConfigError: the negatives of an anchor are not all other rows.
    """
    alpha = options.penalty_alpha
    assert alpha is not None
    if options.negatives != "instance":
        raise ConfigError("--hard-alpha keeps the hardest of all other rows: not --negatives class")
    rows = subject.rows
    strips = Strips(
        rows.select(anchors, ANCHOR_BYTES),
        rows,
        own=anchors,
        positives=np.full(len(anchors), -np.inf),
        k=n_kept(alpha, subject.n - 1),
        taus=options.taus,
        backend=runner.backend,
        block=runner.block,
        n_bins=TABLE_BINS,
    )
    hardest = hard_negatives(strips, runner.executor, runner.progress)
    rows_of_table: list[dict[str, Cell]] = []
    exact = len(anchors) == subject.n
    for m, tau in enumerate(options.taus):
        # anchors in ascending order of thresholds: the first n_keeping anchors keep similarity s
        order = np.argsort(hardest.threshold)
        log_level = -hardest.log_mass[m][order]
        top = float(log_level.max())
        level = np.concatenate([[0.0], np.cumsum(np.exp(log_level - top))]) / len(anchors)
        n_keeping = np.searchsorted(hardest.threshold[order], bin_centres(), side="right")
        with np.errstate(over="ignore"):
            penalty = np.exp(bin_centres() / tau + top) * level[n_keeping]
        penalty = np.where(level[n_keeping] > 0, np.minimum(penalty, np.finfo(float).max), 0.0)
        mass = hardest.histogram[m]
        rows_of_table += _rows(subject.source, tau, alpha, penalty, mass, fraction, exact)
    return Table("penalty_curve_hard", COLUMNS, tuple(rows_of_table))


def hard_curve_of_even_similarities(
    source: str, taus: tuple[float, ...], alpha: float, n_negatives: int
) -> Table:
    """The same curve for similarities spread evenly over [-1, 1], by the law for many negatives.

    The kept negatives have s >= q = 1 - 2 alpha, and their relative penalty is
    K r(s) = 2 exp(s / tau) / (tau (exp(1 / tau) - exp(q / tau))).
    """
    q = 1.0 - 2.0 * alpha
    edges = np.linspace(-1.0, 1.0, TABLE_BINS + 1)
    rows: list[dict[str, Cell]] = []
    for tau in taus:
        log_level = math.log(tau) + 1.0 / tau + math.log(-math.expm1((q - 1.0) / tau))
        penalty = 2.0 / n_negatives * np.exp(bin_centres() / tau - log_level)
        penalty = np.where(bin_centres() >= q, penalty, 0.0)
        inside = np.maximum(edges, q)
        law = np.exp((inside[1:] - 1.0) / tau) - np.exp((inside[:-1] - 1.0) / tau)
        mass = law / -math.expm1((q - 1.0) / tau)
        even = np.full(TABLE_BINS, 1.0 / TABLE_BINS)
        rows += _rows(source, tau, alpha, penalty, mass, even, True)
    return Table("penalty_curve_hard", COLUMNS, tuple(rows))


def _rows(
    source: str,
    tau: float,
    alpha: float,
    penalty: Vector,
    mass: Vector,
    fraction: Vector,
    exact: bool,
) -> list[dict[str, Cell]]:
    return [
        {
            "source": source,
            "tau": tau,
            "hard_alpha": alpha,
            "similarity": round(float(centre), 10),
            "relative_penalty": float(penalty[b]),
            "penalty_mass": float(mass[b]),
            "negative_fraction": float(fraction[b]),
            "exact": exact,
        }
        for b, centre in enumerate(bin_centres())
    ]
