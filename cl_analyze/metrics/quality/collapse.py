"""The verdict on collapse: a sentence about the spectrum of the normalised, centred rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.geometry import mean_cosine
from cl_analyze.metrics.quality.rows import Vector
from cl_analyze.metrics.quality.spectrum import effective_rank, spectra
from cl_analyze.results.tables import Table

Level = Literal["none", "partial", "dimensional", "complete", "unknown"]

COMPLETE = 0.99
"""Mean cosine above which rows point one way."""
VARIANCE = 0.99
PARTIAL, DIMENSIONAL = 0.5, 0.1
"""Shares of the possible directions: with 99% of the variance in no more, rows are collapsed."""
CONE = 0.5
"""Mean cosine above which the verdict says that rows lie in a cone."""
FEWEST_ROWS = 10


@dataclass(frozen=True)
class Verdict:
    """Whether rows on the sphere fill the directions that they could fill, as in the table.

    Attributes:
        verdict: none; partial or dimensional, where 99% of the variance lies in half or a tenth of
            the possible directions at most; complete, where rows point one way; unknown for fewer
            than ten rows or one dimension.
        possible_directions: min(D, N - 1).
        directions_above_rounding: the numerical rank.
        directions_for_99_percent: of the variance about the mean row.
        effective_rank: of the centred rows; None where they do not differ.
        mean_cosine: of all pairs.
        text: the verdict in a sentence.
    """

    verdict: Level
    possible_directions: int
    directions_above_rounding: int
    directions_for_99_percent: int
    effective_rank: float | None
    mean_cosine: float
    text: str


def dimensions_for(values: Vector, share: float) -> int:
    """How many principal directions hold that share of the variance.

    >>> dimensions_for(np.array([3.0, 1.0, 1.0]), 0.9), dimensions_for(np.array([3.0, 0.1]), 0.9)
    (2, 1)
    """
    squares = (values / values[0]) ** 2
    return int(np.searchsorted(np.cumsum(squares) / squares.sum(), share - 1e-12) + 1)


def verdict(
    values: Vector, floor: float, n_rows: int, dim: int, mean_cosine: float, n_classes: int | None
) -> Verdict:
    """Judge the spectrum of the normalised, centred rows.

    Args:
        values: singular values, descending.
        floor: values at or under it are rounding.
        n_rows, dim: N and D.
        mean_cosine: of all pairs.
        n_classes: C, where labels are known.
    """
    possible = min(dim, n_rows - 1)
    rank = int((values > floor).sum())
    if rank == 0:
        text = "Complete collapse: all rows point the same way."
        return Verdict("complete", possible, 0, 0, None, mean_cosine, text)
    needed = dimensions_for(values, VARIANCE)
    effective = effective_rank(values)
    share = needed / possible
    level: Level = "none"
    if mean_cosine > COMPLETE:
        level = "complete"
    elif n_rows < FEWEST_ROWS or dim == 1:
        level = "unknown"
    elif share <= DIMENSIONAL or rank == 1:
        level = "dimensional"
    elif share <= PARTIAL:
        level = "partial"
    words = {
        "unknown": "Too few rows to judge" if dim > 1 else "One dimension cannot collapse",
        "none": "No dimensional collapse",
        "partial": "Partly collapsed",
        "dimensional": "Dimensional collapse",
        "complete": "Complete collapse",
    }[level]
    dimensions = f"{needed} of {possible} {'dimensions' if possible > 1 else 'dimension'}"
    text = f"{words}: uses {dimensions} (99% of the variance)"
    if level == "complete":
        text = f"{words}: rows have a mean cosine of {mean_cosine:.4f}; what is left uses "
        text += f"{dimensions} (99% of its variance)"
    if rank < possible:
        text += f"; {possible - rank} {'is' if possible - rank == 1 else 'are'} empty"
    text += f"; effective rank after removing the mean {effective:.3g}"
    if CONE < mean_cosine <= COMPLETE:
        text += f"; but rows lie in a cone, with a mean cosine of {mean_cosine:.2f}"
    if n_classes is not None and level != "none" and needed == n_classes - 1:
        text += " (as many directions as classes less one: the class means)"
    return Verdict(level, possible, rank, needed, effective, mean_cosine, text + ".")


def collapse_table(context: Context) -> Table:
    """The verdict and the numbers behind it, in one row."""
    by_version, subject = context.once(spectra).versions, context.subject
    if not by_version:
        return context.table("collapse")
    spectrum = by_version["normalised_centred"]
    judged = verdict(
        spectrum.values,
        spectrum.floor,
        subject.n,
        subject.d,
        context.once(mean_cosine).value,
        None if subject.labels is None else int((subject.labels.counts > 0).sum()),
    )
    return context.table("collapse", vars(judged))
