"""Records of the losses: the numbers of one checkpoint with the errors that both roles give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.losses.catalogue import SavedLoss
from cl_analyze.metrics.losses.dimensions import WIDEST
from cl_analyze.metrics.losses.influence import Influence
from cl_analyze.metrics.losses.metrics import LOSS, PARTS
from cl_analyze.metrics.losses.passes import LossPasses, Passes
from cl_analyze.metrics.losses.pieces import VIEWS, Vector
from cl_analyze.metrics.losses.terms import Terms
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import Metric
from cl_analyze.results.tables import Param, Record

NO_OTHER_CLASS = "no labelled row has a negative of another class"
"""Why a mean over labelled anchors has no value."""


@dataclass(frozen=True)
class Entry:
    """A loss at a temperature: its terms, and the parameters of its record.

    Attributes:
        tau: the temperature; NaN for a loss without one.
    """

    loss: SavedLoss
    tau: float
    terms: Terms
    params: dict[str, Param]

    @property
    def cells(self) -> dict[str, str | float | None]:
        """The first cells of its rows in tables."""
        return {
            "name": self.loss.name,
            "definition": self.loss.definition,
            "tau": None if math.isnan(self.tau) else self.tau,
        }


@dataclass(frozen=True)
class Recorder:
    """Makes numbers and records of one checkpoint."""

    passes: LossPasses
    influence: Influence

    def number(
        self,
        values: Vector,
        own: Vector,
        effects: Sequence[Vector],
        of_classes: bool,
        of_all: bool = False,
    ) -> Number | None:
        """The mean of values with its error; see `mean_with_effects`.

        Args:
            of_classes: whether labelled rows alone have a value.
            of_all: whether values are those of all rows, and own has all effects.
        """
        passes, subject = self.passes, self.passes.subject
        if of_all:
            every, none = Anchors.every(passes.n), [np.zeros(passes.n)]
            return mean_with_effects(values, own, none, 1.0, subject.groups, every)
        population = int(passes.labelled.sum()) if of_classes else None
        share = self.influence.share
        return mean_with_effects(
            values, own, effects, share, subject.groups, passes.anchors, population
        )

    def mean(self, terms: Terms, of_classes: bool) -> Number | None:
        """The mean of the terms' value."""
        return self.number(terms.value, terms.value, self.influence.effects(terms), of_classes)

    def record(self, metric: Metric, number: Number | None, reason: str) -> Record:
        """A record; without a finite number, one that has the reason."""
        place = self.passes.subject.source, self.passes.subject.d
        if number is None or not math.isfinite(number.value):
            return metric.undefined(*place, reason)
        return metric.record(*place, number)

    def loss_record(
        self, loss: SavedLoss, params: dict[str, Param], number: Number | None, reason: str
    ) -> Record:
        """A record of `loss`."""
        return self.record(of_loss(LOSS, loss, params), number, reason)

    def loss_records(self, entry: Entry) -> list[Record]:
        """`loss`, `loss_alignment` and `loss_uniformity`."""
        loss, terms = entry.loss, entry.terms
        of_classes = loss.needs == "labels"
        reason = self._reason(loss, terms)
        effects = self.influence.effects(terms)
        of_alignment = self.influence.effects_on_alignment(terms)
        of_uniformity = [a - b for a, b in zip(effects, of_alignment, strict=True)]
        parts = (terms.value, terms.alignment, terms.uniformity)
        records: list[Record] = []
        for metric, part, own, moved in zip(
            PARTS,
            parts,
            terms.own or parts,
            (effects, of_alignment, of_uniformity),
            strict=True,
        ):
            number = None
            if part is not None and own is not None and (not records or records[0].reason is None):
                number = self.number(part, own, moved, of_classes, terms.of_all)
            why = (terms.reason or reason) if records else reason
            records.append(self.record(of_loss(metric, loss, entry.params), number, why))
        return records

    def _reason(self, loss: SavedLoss, terms: Terms) -> str:
        """Why a loss has no value."""
        passes = self.passes
        estimated = passes.anchors.is_sample
        if loss.kernel is not None and isinstance(passes, Passes):
            for view in VIEWS:
                if passes.kernels[view, loss.kernel].reason:
                    return passes.kernels[view, loss.kernel].reason
            if np.isinf(terms.value).any():
                return "some rows coincide with their positives, or t is too large"
        if terms.of_all and passes.subject.d > WIDEST:
            return f"needs at most {WIDEST} dimensions"
        if terms.of_all:
            return "products of the rows leave the range of numbers"
        if loss.needs == "labels" and len(passes.views) == 1:
            return "hardly any anchor has a positive" if estimated else "no class has two members"
        if loss.needs == "labels":
            return "hardly any labelled row has a negative" if estimated else NO_OTHER_CLASS
        return "hardly any of the anchors has a negative" if estimated else "no row has a negative"


def of_loss(metric: Metric, loss: SavedLoss, params: Mapping[str, Param]) -> Metric:
    """A loss or one of its parts, in the loss's unit."""
    at: Mapping[str, Any] = params
    return replace(metric, unit=loss.unit).at(loss.definition, **at)


def mean_of(values: Vector | None) -> float | None:
    """The mean of the finite values; None without any."""
    if values is None:
        return None
    is_finite = np.isfinite(values)
    return float(values[is_finite].mean()) if is_finite.any() else None
