"""Where a loss pushes: the share of its repulsion on negatives of each similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.losses.passes import Passes, pair_sets
from cl_analyze.metrics.losses.pieces import Matrix, Vector
from cl_analyze.metrics.runner import ANCHOR_BYTES
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.kernels import KERNELS, kernel_slopes
from cl_analyze.pairs.reducers import PairHistogram, PenaltyHistogram
from cl_analyze.pairs.tile import PairSet
from cl_analyze.tables import Cell, Table

BINS = 50
FINE_BINS = 2_000
COLUMNS = (
    "source",
    "name",
    "definition",
    "tau",
    "similarity",
    "gradient_share",
    "negative_fraction",
    "exact",
)

Index = NDArray[np.int64]


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
    rows: list[dict[str, Cell]] = []
    within, across = drawn.share("uu", "all"), drawn.share("uv", "all")
    both = drawn.shares_of_both("all")
    listed: list[tuple[str, str | None, Vector, Vector]] = [
        ("contrastive", "one_way", across[1:], across[0]),
        ("hard_contrastive", None, drawn.hard(), across[0]),
        ("nt_xent", None, both[1:], both[0]),
        ("dhel", "one_sided", within[1:], within[0]),
    ]
    if passes.subject.labels is not None:
        other = drawn.shares_of_both("other_class")
        listed.append(("nscl", "decoupled", other[1:], other[0]))
    exact = len(anchors) == passes.n
    for name, definition, shares, fraction in listed:
        for tau, share in zip(passes.options.taus, shares, strict=True):
            rows += _rows(passes.subject.source, name, definition, tau, share, fraction, exact)
    rows += _rows(passes.subject.source, "simple", None, None, across[0], across[0], exact)
    for kernel in KERNELS:
        share = drawn.kernel(kernel)
        definition = "consistent" if kernel in ("log", "riesz") else None
        rows += _rows(
            passes.subject.source, f"kcl_{kernel}", definition, None, share, within[0], exact
        )
    return Table("loss_gradient", COLUMNS, tuple(rows))


def _rows(
    source: str,
    name: str,
    definition: str | None,
    tau: float | None,
    share: Vector,
    fraction: Vector,
    exact: bool,
) -> list[dict[str, Cell]]:
    """Rows of the table, without the bins that hold no negative."""
    return [
        {
            "source": source,
            "name": name,
            "definition": definition,
            "tau": tau,
            "similarity": round((b + 0.5) * 2.0 / BINS - 1.0, 10),
            "gradient_share": float(share[b]),
            "negative_fraction": float(fraction[b]),
            "exact": exact,
        }
        for b in np.flatnonzero((fraction > 0) | (share > 0))
    ]


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
        """One pass over uu and one over uv."""
        for matrix in ("uu", "uv"):
            name: Matrix = matrix
            wanted: dict[tuple[Matrix, PairSet, bool], Reducer] = {}
            for pairs in pair_sets(self.passes.subject):
                for both in (False, True):
                    if pairs == "same_class" or (pairs == "other_class" and not both):
                        continue
                    wanted[name, pairs, both] = self._histogram(name, pairs, both)
            # versions of one reducer differ in what they are given: they need passes of their own
            for both in (False, True):
                chosen = {key: r for key, r in wanted.items() if key[2] == both}
                fine = PairHistogram(FINE_BINS)
                more: list[Reducer] = [fine] if name == "uu" and not both else []
                found = self.passes.between(
                    [*chosen.values(), *more], name, self.anchors, f"gradients {1 + both} of 2"
                )
                self._found.update({key: found[r] for key, r in chosen.items()})
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

    def hard(self) -> Vector:
        """(taus, bins) shares of the hardest negatives."""
        u, v = self.passes.view_pair("uv")
        return self.passes.strips(u.select(self.anchors, ANCHOR_BYTES), v, self.at, BINS).histogram

    def kernel(self, kernel: str) -> Vector:
        """(bins,) shares of a kernel's slope, from fine bins of similarity."""
        width = 2.0 / FINE_BINS
        centres = (np.arange(FINE_BINS) + 0.5) * width - 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = kernel_slopes(
                kernel,  # type: ignore[arg-type]
                2.0 - 2.0 * centres,
                self.passes.constants.t,
                np,
            )
            weights = np.where(self.fine > 0, self.fine * slopes, 0.0)
        total = weights.sum()
        if not np.isfinite(total) or total == 0:  # all of it on the nearest pairs
            weights = (np.arange(FINE_BINS) == np.flatnonzero(self.fine)[-1]).astype(np.float64)
            total = 1.0
        shares: Vector = weights.reshape(BINS, -1).sum(axis=1) / total
        return shares
