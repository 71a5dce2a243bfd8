"""Penalty curves over each anchor's hardest negatives alone (Wang & Liu, CVPR 2021, eq. 9)."""

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
from cl_analyze.tables import Cell, Table

COLUMNS = (
    "source",
    "tau",
    "hard_alpha",
    "similarity",
    "relative_penalty",
    "penalty_mass",
    "negative_fraction",
    "exact",
)

Vector = NDArray[np.float64]


def hard_curve(
    subject: Subject,
    options: MetricOptions,
    runner: PairRunner,
    anchors: NDArray[np.int64],
    fraction: Vector,
) -> Table:
    """Relative penalty where only a share alpha of each anchor's negatives is kept.

    r(s) is the mean over anchors of exp(s / tau) / Z_i for s at or above the anchor's own
    threshold and 0 below, Z_i the sum over the kept negatives; the mass is what falls into a bin.

    Args:
        subject, options, runner: as for a family; options.penalty_alpha is not None.
        anchors: (m,) which rows, ascending.
        fraction: (bins,) share of their negatives in each bin.

    Raises:
        ConfigError: negatives are not all other rows.
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
    found = hard_negatives(strips, runner.executor, runner.progress)
    out: list[dict[str, Cell]] = []
    exact = len(anchors) == subject.n
    for at, tau in enumerate(options.taus):
        # of the anchors in ascending order of their thresholds, those up to s keep s
        order = np.argsort(found.threshold)
        log_level = -found.log_mass[at][order]
        top = float(log_level.max())
        kept = np.concatenate([[0.0], np.cumsum(np.exp(log_level - top))]) / len(anchors)
        n_keeping = np.searchsorted(found.threshold[order], bin_centres(), side="right")
        with np.errstate(over="ignore"):
            penalty = np.exp(bin_centres() / tau + top) * kept[n_keeping]
        penalty = np.where(kept[n_keeping] > 0, np.minimum(penalty, np.finfo(float).max), 0.0)
        out += _rows(subject.source, tau, alpha, penalty, found.histogram[at], fraction, exact)
    return Table("penalty_curve_hard", COLUMNS, tuple(out))


def hard_curve_of_even_similarities(
    source: str, taus: tuple[float, ...], alpha: float, n_negatives: int
) -> Table:
    """The same for similarities spread evenly over [-1, 1], by its law for many negatives.

    Kept are s >= q = 1 - 2 alpha; K r(s) = 2 exp(s / tau) / (tau (exp(1 / tau) - exp(q / tau))).
    """
    q = 1.0 - 2.0 * alpha
    edges = np.linspace(-1.0, 1.0, TABLE_BINS + 1)
    out: list[dict[str, Cell]] = []
    for tau in taus:
        log_level = math.log(tau) + 1.0 / tau + math.log(-math.expm1((q - 1.0) / tau))
        penalty = 2.0 / n_negatives * np.exp(bin_centres() / tau - log_level)
        penalty = np.where(bin_centres() >= q, penalty, 0.0)
        inside = np.maximum(edges, q)
        law = np.exp((inside[1:] - 1.0) / tau) - np.exp((inside[:-1] - 1.0) / tau)
        mass = law / -math.expm1((q - 1.0) / tau)
        even = np.full(TABLE_BINS, 1.0 / TABLE_BINS)
        out += _rows(source, tau, alpha, penalty, mass, even, True)
    return Table("penalty_curve_hard", COLUMNS, tuple(out))


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
