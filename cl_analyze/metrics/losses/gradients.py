"""Where a loss pushes, how strongly, and the limits of small and large temperatures: tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cl_analyze.metrics.losses.passes import Index, Passes, pair_sets
from cl_analyze.metrics.losses.pieces import Matrix, Vector
from cl_analyze.metrics.losses.records import Entry, mean_of
from cl_analyze.pairs.distance_kernels import KERNELS, Kernel, kernel_slopes
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import PairHistogram, PenaltyHistogram
from cl_analyze.pairs.tile import PairSet
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Cell, Table

BINS = 50
FINE_BINS = 2_000
COLUMNS = columns_of("loss_gradient")


def limit_table(passes: Passes, entries: Iterable[Entry]) -> Table:
    """The contrastive loss beside its limits for small and for large temperatures."""
    p, n = passes.pieces, passes.n
    triplet = float(np.maximum(p.hardest - p.positive, 0.0).mean())
    first = float((p.negative_sum / n - (n - 1) / n * p.positive).mean())
    rows: list[dict[str, Cell]] = [
        {
            "source": passes.subject.source,
            **entry.cells,
            "loss": float(entry.terms.value.mean()),
            "small_tau": triplet / entry.tau,
            "large_tau": math.log(n) + first / entry.tau,
        }
        for entry in entries
        if (entry.loss.name, entry.loss.definition) == ("contrastive", "one_way")
    ]
    return Table("loss_limits", columns_of("loss_limits"), tuple(rows))


def total_table(source: str, entries: Iterable[Entry]) -> Table:
    """Mean pull on the positive and mean push on the negatives, dL/ds."""
    rows: list[dict[str, Cell]] = [
        {
            "source": source,
            **entry.cells,
            "positive": mean_of(entry.terms.pull),
            "negatives": mean_of(entry.terms.push),
        }
        for entry in entries
        if entry.terms.push is not None
    ]
    return Table("loss_gradient_totals", columns_of("loss_gradient_totals"), tuple(rows))


def gradient_table(passes: Passes, anchors: Index) -> Table:
    """Shares of the repulsion in 50 bins of similarity, averaged over some anchors u.

    An anchor's share of negative j is dL/ds_ij over its sum: the relative penalty r_ij of softmax
    losses, the kernel's slope of kernel losses (pooled over the anchors), even for the simple loss.

    Args:
        passes: of the checkpoint.
        anchors: (m,) which rows, ascending.

    Cost: m N similarities, three times.
    """
    histograms, fine = _histograms(passes, anchors)
    within, across = histograms["uu", "all", False], histograms["uv", "all", False]
    both = _of_both(histograms, "all")
    hardest = passes.hardest(np.searchsorted(passes.rows, anchors), BINS).histogram
    shares: list[tuple[str, str | None, Vector, Vector]] = [
        ("contrastive", "one_way", across[1:], across[0]),
        ("hard_contrastive", None, hardest, across[0]),
        ("nt_xent", None, both[1:], both[0]),
        ("dhel", "one_sided", within[1:], within[0]),
    ]
    if passes.subject.labels is not None:
        other = _of_both(histograms, "other_class")
        shares.append(("nscl", "decoupled", other[1:], other[0]))
    listed: list[tuple[str, str | None, float | None, Vector, Vector]] = [
        (name, definition, tau, share, fraction)
        for name, definition, by_tau, fraction in shares
        for tau, share in zip(passes.options.taus, by_tau, strict=True)
    ]
    listed.append(("simple", None, None, across[0], across[0]))
    for kernel in KERNELS:
        definition = "consistent" if kernel in ("log", "riesz") else None
        listed.append(
            (
                f"kcl_{kernel}",
                definition,
                None,
                _kernel_share(kernel, passes.constants.t, fine),
                within[0],
            )
        )
    rows: list[dict[str, Cell]] = [
        {
            "source": passes.subject.source,
            "name": name,
            "definition": definition,
            "tau": tau,
            "similarity": round((b + 0.5) * 2.0 / BINS - 1.0, 10),
            "gradient_share": float(share[b]),
            "negative_fraction": float(fraction[b]),
            "exact": len(anchors) == passes.n,
        }
        for name, definition, tau, share, fraction in listed
        for b in np.flatnonzero((fraction > 0) | (share > 0))  # not the bins without a negative
    ]
    return Table("loss_gradient", COLUMNS, tuple(rows))


Histograms = dict[tuple[Matrix, PairSet, bool], Vector]
"""(matrix, pairs, whether weights are relative to both views) -> (1 + taus, bins)."""


def _histograms(passes: Passes, anchors: Index) -> tuple[Histograms, Vector]:
    """Fraction of negatives, then shares of the repulsion, in bins; and fractions in fine bins."""
    fine_bins, fine = PairHistogram(FINE_BINS), np.zeros(FINE_BINS)
    histograms: Histograms = {}
    matrices: tuple[Matrix, ...] = ("uu", "uv")
    for matrix in matrices:
        # reducers of one configuration with other totals need passes of their own
        for both in (False, True):
            chosen = {
                (matrix, pairs, both): _reducer(passes, anchors, matrix, pairs, both)
                for pairs in pair_sets(passes.subject)
                if pairs == "all" or (pairs == "other_class" and both)
            }
            more: list[Reducer] = [fine_bins] if matrix == "uu" and not both else []
            note = f"gradients {1 + both} of 2"
            results = passes.between([*chosen.values(), *more], matrix, anchors, note)
            histograms.update({key: results[reducer] for key, reducer in chosen.items()})
            fine = results.get(fine_bins, fine)
    return histograms, fine


def _reducer(
    passes: Passes, anchors: Index, matrix: Matrix, pairs: PairSet, both: bool
) -> PenaltyHistogram:
    p, taus, at = passes.pieces, passes.options.taus, np.searchsorted(passes.rows, anchors)
    log_masses = np.stack(
        [
            (p.both_views(tau, pairs)["u"] if both else p.log_mass[matrix, tau, pairs])[at]
            for tau in taus
        ]
    )
    counted = np.isfinite(log_masses[0])
    counts = np.full(len(at), float(passes.n - 1))
    if pairs == "other_class":
        counts = np.where(counted, p.n_labelled - p.class_count[at], 0.0)
    weights = counted / max(counted.sum(), 1.0)
    return PenaltyHistogram(taus, BINS, pairs, anchors, log_masses, weights, counts)


def _of_both(histograms: Histograms, pairs: PairSet) -> Vector:
    """Shares of the anchor's own view and the other together."""
    total = histograms["uu", pairs, True] + histograms["uv", pairs, True]
    total[0] *= 0.5
    return total


def _kernel_share(kernel: Kernel, t: float, fine: Vector) -> Vector:
    """(bins,) shares of a kernel's slope, from fractions in fine bins of similarity."""
    centres = (np.arange(FINE_BINS) + 0.5) * (2.0 / FINE_BINS) - 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        slopes = kernel_slopes(kernel, 2.0 - 2.0 * centres, t, np)
        weights = np.where(fine > 0, fine * slopes, 0.0)
    total = weights.sum()
    if not np.isfinite(total) or total == 0:  # all of it on the nearest pairs
        weights = (np.arange(FINE_BINS) == np.flatnonzero(fine)[-1]).astype(np.float64)
        total = 1.0
    shares: Vector = weights.reshape(BINS, -1).sum(axis=1) / total
    return shares
