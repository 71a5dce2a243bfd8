"""One checkpoint, ready to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.data.relevance import Relevance
from cl_analyze.data.unit import UnitRows
from cl_analyze.data.variants import Variant
from cl_analyze.metrics.positives import (
    Positives,
    positives_of_relevance,
    positives_of_views,
)
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import LeftOut
from cl_analyze.pairs.reducers import NearestNeighbours
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.rescoring import MARGIN
from cl_analyze.results.document import Pairing

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
        relevance: the rows of `partners` that belong to each row, where row i does not simply
            belong to row i; `views` is then None.
        groups: (N,) codes of rows that belong together, or None.
        queue: unit rows that are further negatives of the losses, or None.
        clop_anchors: (C, D) unit anchors of the classes, in the order of their names, or None.
        train: training rows of classifiers; None: leave-one-out, or a part of these rows.
        ids: (N,) 64-bit hash of each row's identifier across files, or None.
        kept: (N,) indices of these rows in their file; None: all rows of the file.
        id_values: (N,) ids as they are written, or None.
        partner_kept: (M,) indices of the rows of the second file that are left; None: all.
        partner_ids: (M,) ids of the rows of the second file as they are written, or None.
        variant: the map that rows of every file go through; None: rows as they are saved.
        original: name of the checkpoint whose variant this is; of an original its own name.
    """

    source: str
    rows: UnitRows
    labels: Labels | None = None
    views: tuple[UnitRows, ...] | None = None
    partners: UnitRows | None = None
    relevance: Relevance | None = None
    groups: NDArray[np.int64] | None = None
    queue: UnitRows | None = None
    clop_anchors: NDArray[np.float64] | None = None
    train: TrainSet | None = None
    ids: NDArray[np.uint64] | None = None
    kept: NDArray[np.int64] | None = None
    id_values: NDArray[Any] | None = None
    partner_kept: NDArray[np.int64] | None = None
    partner_ids: NDArray[Any] | None = None
    variant: Variant | None = None
    original: str = ""

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
    def n_candidates(self) -> int:
        """Rows among which each row's negatives are: other rows, or rows of the second file."""
        if self.relevance is not None and self.partners is not None:
            return self.partners.n_rows
        return self.n - 1

    @property
    def n_negatives(self) -> float:
        """Negatives of a row, on average; of all rows but those of its class where these count."""
        if self.relevance is None:
            return float(self.n_candidates)
        return self.n_candidates - float(self.relevance.counts.mean())

    @cached_property
    def positive_pairs(self) -> Positives | None:
        """The positive pairs of the rows; None where they are all pairs of one class, or none."""
        if self.relevance is not None and self.partners is not None:
            return positives_of_relevance(self.rows, self.partners, self.relevance)
        return None if self.views is None else positives_of_views(self.views)

    @cached_property
    def related(self) -> LeftOut | None:
        """The rows of the second file that are relevant for each row, which are no negatives."""
        if self.relevance is None:
            return None
        return LeftOut(self.relevance.starts, self.relevance.items)

    @property
    def n_view_pairs(self) -> int:
        """Number of pairs of views."""
        n_views = len(self.views or ())
        return n_views * (n_views - 1) // 2

    @property
    def pairing(self) -> Pairing | None:
        """What the rows are paired with; None: no views and no second file."""
        if self.relevance is not None:
            return "relevant"
        if self.partners is not None:
            return "partners"
        return None if self.views is None else "views"

    @property
    def positives(self) -> str:
        """The positive pairs in words."""
        if self.relevance is not None:
            return "each row with its relevant rows in the second file"
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


def nearest_negatives_reducer(
    subject: Subject, options: MetricOptions, n_candidates: int | None = None
) -> NearestNeighbours:
    """The reducer of the nearest negatives, the same for all families.

    Args:
        subject, options: the checkpoint and the options.
        n_candidates: rows among which negatives are; None: the other rows of the embeddings.
    """
    n_candidates = subject.n - 1 if n_candidates is None else n_candidates
    k = min(options.n_neighbours_of(subject.n) + MARGIN, n_candidates)
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


def id_text(ids: NDArray[Any] | None, row: int) -> str | None:
    """The id of a row as text; None without ids."""
    if ids is None:
        return None
    value = ids[row]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
