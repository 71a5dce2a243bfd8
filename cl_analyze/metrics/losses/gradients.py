"""Where a loss pushes, how strongly, and the limits of small and large temperatures: tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from cl_analyze.metrics.losses.passes import Index, Passes, pair_sets
from cl_analyze.metrics.losses.pieces import Matrix, Vector
from cl_analyze.metrics.losses.records import Entry, mean_of
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.kernels import KERNELS, Kernel, kernel_slopes
from cl_analyze.pairs.reducers import PairHistogram, PenaltyHistogram
from cl_analyze.pairs.tile import PairSet
from cl_analyze.tables import Cell, Table

BINS = 50
FINE_BINS = 2_000
LOSS_COLUMNS = ("source", "name", "definition", "tau")
"""The first columns of every table of the losses."""
COLUMNS = (*LOSS_COLUMNS, "similarity", "gradient_share", "negative_fraction", "exact")


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
    return Table("loss_limits", (*LOSS_COLUMNS, "loss", "small_tau", "large_tau"), tuple(rows))


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
    return Table("loss_gradient_totals", (*LOSS_COLUMNS, "positive", "negatives"), tuple(rows))


def gradient_table(passes: Passes, anchors: Index) -> Table:
    """Shares of the repulsion in 50 bins of similarity, averaged over some anchors u.

    An anchor's share of negative j is dL/ds_ij over its sum: the relative penalty r_ij of softmax
    losses, the kernel's slope of kernel losses (pooled over the anchors), even for the simple loss.

    Args:
        passes: of the checkpoint.
        anchors: (m,) which rows, ascending.

    Cost: m N similarities, three times.
    """
    drawn = _Drawn(passes, anchors)
    within, across = drawn.share("uu", "all"), drawn.share("uv", "all")
    both = drawn.shares_of_both("all")
    shares: list[tuple[str, str | None, Vector, Vector]] = [
        ("contrastive", "one_way", across[1:], across[0]),
        ("hard_contrastive", None, passes.hardest(drawn.at, BINS).histogram, across[0]),
        ("nt_xent", None, both[1:], both[0]),
        ("dhel", "one_sided", within[1:], within[0]),
    ]
    if passes.subject.labels is not None:
        other = drawn.shares_of_both("other_class")
        shares.append(("nscl", "decoupled", other[1:], other[0]))
    listed: list[tuple[str, str | None, float | None, Vector, Vector]] = [
        (name, definition, tau, share, fraction)
        for name, definition, by_tau, fraction in shares
        for tau, share in zip(passes.options.taus, by_tau, strict=True)
    ]
    listed.append(("simple", None, None, across[0], across[0]))
    for kernel in KERNELS:
        definition = "consistent" if kernel in ("log", "riesz") else None
        listed.append((f"kcl_{kernel}", definition, None, drawn.kernel(kernel), within[0]))
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


class _Drawn:
    """Histograms of some anchors against all rows."""

    def __init__(self, passes: Passes, anchors: Index) -> None:
        self.passes, self.anchors = passes, anchors
        self.at = np.searchsorted(passes.rows, anchors)
        self.taus = passes.options.taus
        self.fine = np.zeros(FINE_BINS)
        self._found: dict[tuple[Matrix, PairSet, bool], Vector] = {}
        self._run()

    def _log_masses(self, matrix: Matrix, pairs: PairSet, both: bool) -> Vector:
        masses = self.passes.pieces.log_mass
        own = np.stack([masses[matrix, tau, pairs][self.at] for tau in self.taus])
        if not both:
            return own
        partner: Matrix = "uu" if matrix == "uv" else "uv"
        other = np.stack([masses[partner, tau, pairs][self.at] for tau in self.taus])
        return np.logaddexp(own, other)

    def _run(self) -> None:
        """A pass over uu and one over uv, for shares of one matrix and of both together."""
        matrices: tuple[Matrix, ...] = ("uu", "uv")
        for matrix in matrices:
            # reducers of one configuration with other givens need passes of their own
            for both in (False, True):
                chosen = {
                    (matrix, pairs, both): self._histogram(matrix, pairs, both)
                    for pairs in pair_sets(self.passes.subject)
                    if pairs == "all" or (pairs == "other_class" and both)
                }
                fine = PairHistogram(FINE_BINS)
                more: list[Reducer] = [fine] if matrix == "uu" and not both else []
                found = self.passes.between(
                    [*chosen.values(), *more], matrix, self.anchors, f"gradients {1 + both} of 2"
                )
                self._found.update({key: found[reducer] for key, reducer in chosen.items()})
                if more:
                    self.fine = found[fine]

    def _histogram(self, matrix: Matrix, pairs: PairSet, both: bool) -> PenaltyHistogram:
        log_masses = self._log_masses(matrix, pairs, both)
        counted = np.isfinite(log_masses[0])
        n = float(self.passes.n - 1)
        if pairs == "other_class":
            mine = self.passes.pieces.class_count[self.at]
            counts = np.where(counted, self.passes.pieces.n_labelled - mine, 0.0)
        else:
            counts = np.full(len(self.at), n)
        return PenaltyHistogram(
            self.taus,
            BINS,
            pairs,
            self.anchors,
            log_masses,
            counted / max(counted.sum(), 1.0),
            counts,
        )

    def share(self, matrix: Matrix, pairs: PairSet) -> Vector:
        """(1 + taus, bins): fraction of negatives, then shares, of one matrix."""
        return self._found[matrix, pairs, False]

    def shares_of_both(self, pairs: PairSet) -> Vector:
        """The same of the anchor's own view and the other together."""
        total = self._found["uu", pairs, True] + self._found["uv", pairs, True]
        total[0] *= 0.5
        return total

    def kernel(self, kernel: Kernel) -> Vector:
        """(bins,) shares of a kernel's slope, from fine bins of similarity."""
        width = 2.0 / FINE_BINS
        centres = (np.arange(FINE_BINS) + 0.5) * width - 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = kernel_slopes(kernel, 2.0 - 2.0 * centres, self.passes.constants.t, np)
            weights = np.where(self.fine > 0, self.fine * slopes, 0.0)
        total = weights.sum()
        if not np.isfinite(total) or total == 0:  # all of it on the nearest pairs
            weights = (np.arange(FINE_BINS) == np.flatnonzero(self.fine)[-1]).astype(np.float64)
            total = 1.0
        shares: Vector = weights.reshape(BINS, -1).sum(axis=1) / total
        return shares
