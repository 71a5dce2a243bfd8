"""One checkpoint, ready to be measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.data.unit import UnitRows
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.reducers import NearestNeighbours
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.rescoring import MARGIN

NEAR_DUPLICATE = 1.0 - 1e-6


@dataclass(frozen=True)
class TrainSet:
    """Training rows of classifiers, where they differ from the test rows.

    Attributes:
        rows: unit rows.
        codes: (M,) class of each row, an index into `names`; -1: no label.
        names: classes of the test rows in their order, then classes of the training rows alone.
    """

    rows: UnitRows
    codes: NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """One checkpoint, ready to be measured.

    Attributes:
        source: name of the checkpoint in the output.
        rows: unit rows of the embeddings.
        labels: classes, or None.
        views: unit rows of two or more views; row i of all is the same item; or None.
        partners: unit rows of the second file of embeddings, from which negatives come; or None.
        groups: (N,) codes of rows that belong together, or None.
        queue: unit rows that are further negatives of the losses, or None.
        clop_anchors: (C, D) unit anchors of the classes, in the order of their names, or None.
        train: training rows of classifiers; None: leave-one-out, or a part of these rows.
        ids: (N,) 64-bit hash of each row's identifier across files, or None.
        kept: (N,) indices of these rows in their file; None: all rows of the file.
    """

    source: str
    rows: UnitRows
    labels: Labels | None = None
    views: tuple[UnitRows, ...] | None = None
    partners: UnitRows | None = None
    groups: NDArray[np.int64] | None = None
    queue: UnitRows | None = None
    clop_anchors: NDArray[np.float64] | None = None
    train: TrainSet | None = None
    ids: NDArray[np.uint64] | None = None
    kept: NDArray[np.int64] | None = None

    def release(self) -> None:
        """Free the memory of the rows; a later use reads them again."""
        for rows in (self.rows, self.partners, *(self.views or ())):
            if rows is not None:
                rows.release()

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.rows.n_rows

    @property
    def d(self) -> int:
        """Number of dimensions."""
        return self.rows.dim

    @property
    def n_view_pairs(self) -> int:
        """Number of pairs of views."""
        n_views = len(self.views or ())
        return n_views * (n_views - 1) // 2

    @property
    def positives(self) -> str:
        """The positive pairs in words."""
        if self.partners is not None:
            return "each row with its partner in the second file"
        if self.views is not None and len(self.views) > 2:
            return f"every two of {len(self.views)} views of the same row"
        if self.views is not None:
            return "view 1 with view 2 of the same row"
        if self.labels is not None:
            return "every pair of rows of one class"
        return "none (no views and no labels)"

    @property
    def codes(self) -> NDArray[np.int64] | None:
        """Class codes, or None."""
        return None if self.labels is None else self.labels.codes


def nearest_negatives_reducer(subject: Subject, options: MetricOptions) -> NearestNeighbours:
    """The reducer of the nearest negatives, the same for all families."""
    k = min(options.n_neighbours_of(subject.n) + MARGIN, subject.n - 1)
    return NearestNeighbours(k, options.negative_pairs)


def near_duplicate_notes(
    subject: Subject, options: MetricOptions, neighbours: Neighbours
) -> tuple[str, ...]:
    """A note where rows have another row at cosine above 1 - 1e-6, equal rows included."""
    near = int((neighbours.values[:, 0] > NEAR_DUPLICATE).sum())
    if not near or options.negatives == "class":
        return ()
    return (
        f"{subject.source}: {near} rows have another row at cosine above 1 - 1e-6 (duplicates or "
        "near-duplicates)",
    )
