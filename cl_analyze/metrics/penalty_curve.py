"""The table of the penalty curve: relative penalty and penalty mass against similarity."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.bins import bin_centres
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Cell, Table

Vector = NDArray[np.float64]

CURVE_COLUMNS = columns_of("penalty_curve")


def curve_table(
    source: str, log_masses: Mapping[float, Vector], bins: Vector, exact: bool, penalty_exact: bool
) -> Table:
    """The curve of each temperature.

    Args:
        source: name of the checkpoint.
        log_masses: tau -> log Z of the anchors, not finite where an anchor has no negative.
        bins: (1 + taus, bins) share of negatives, then mass of each tau, see `PenaltyHistogram`.
        exact: whether every row is an anchor of the bins.
        penalty_exact: whether every row is an anchor of the relative penalty.
    """
    centres = bin_centres()
    rows: list[dict[str, Cell]] = []
    for m, (tau, of_anchors) in enumerate(log_masses.items()):
        log_mass = of_anchors[np.isfinite(of_anchors)]
        if not len(log_mass):
            continue
        # log of the mean over anchors of 1 / Z, without overflow
        top = float((-log_mass).max())
        log_level = top + math.log(float(np.exp(-log_mass - top).mean()))
        penalty = np.exp(np.minimum(centres / tau + log_level, 700.0))
        rows += curve_rows(source, tau, penalty, bins[1 + m], bins[0], exact, penalty_exact)
    return Table("penalty_curve", CURVE_COLUMNS, tuple(rows))


def curve_rows(
    source: str,
    tau: float,
    penalty: Vector,
    mass: Vector,
    fraction: Vector,
    exact: bool,
    penalty_exact: bool = True,
) -> list[dict[str, Cell]]:
    """Rows of the penalty curve for one source and temperature; arrays have one entry a bin."""
    return [
        {
            "source": source,
            "tau": tau,
            "similarity": round(float(centre), 10),
            "relative_penalty": float(penalty[b]),
            "relative_penalty_exact": penalty_exact,
            "penalty_mass": float(mass[b]),
            "negative_fraction": float(fraction[b]),
            "penalty_mass_exact": exact,
        }
        for b, centre in enumerate(bin_centres())
    ]
