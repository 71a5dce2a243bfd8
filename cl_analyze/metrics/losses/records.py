"""Records of the losses: the numbers of one checkpoint with the errors that both roles give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cl_analyze.metrics.losses.catalogue import SavedLoss
from cl_analyze.metrics.losses.influence import Influence
from cl_analyze.metrics.losses.passes import Passes
from cl_analyze.metrics.losses.pieces import VIEWS, Vector
from cl_analyze.metrics.losses.terms import Terms
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.tables import Param, Record, Unit, undefined

LOSS_METRICS = ("loss", "loss_alignment", "loss_uniformity")
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

    passes: Passes
    influence: Influence

    def number(
        self, values: Vector, own: Vector, effects: Sequence[Vector], of_classes: bool
    ) -> Number | None:
        """The mean of values with its error; see `mean_with_effects`.

        Args:
            of_classes: whether labelled rows alone have a value.
        """
        passes, subject = self.passes, self.passes.subject
        population = int(passes.labelled.sum()) if of_classes else None
        share = self.influence.share
        return mean_with_effects(
            values, own, effects, share, subject.groups, passes.anchors, population
        )

    def mean(self, terms: Terms, of_classes: bool) -> Number | None:
        """The mean of the terms' value."""
        return self.number(terms.value, terms.value, self.influence.effects(terms), of_classes)

    def record(
        self,
        metric: str,
        definition: str | None,
        params: dict[str, Param],
        number: Number | None,
        unit: Unit,
        reason: str,
    ) -> Record:
        """A record; without a finite number, one that has the reason."""
        s = self.passes.subject
        if number is None or not math.isfinite(number.value):
            return undefined(s.source, metric, definition, params, unit, s.d, reason)
        return Record(
            source=s.source,
            metric=metric,
            definition=definition,
            params=params,
            value=number.value,
            std_error=number.std_error,
            unit=unit,
            n=number.n,
            d=s.d,
            pseudo_values=number.pseudo_values,
            pseudo_noise=number.pseudo_noise,
            sampling_error=number.sampling_error,
            exact=number.sampling_error is None,
        )

    def loss_record(
        self, loss: SavedLoss, params: dict[str, Param], number: Number | None, reason: str
    ) -> Record:
        """A record of `loss`."""
        return self.record("loss", loss.definition, params, number, unit_of(loss), reason)

    def loss_records(self, entry: Entry) -> list[Record]:
        """`loss`, `loss_alignment` and `loss_uniformity`."""
        loss, terms = entry.loss, entry.terms
        of_classes, unit = loss.needs == "labels", unit_of(loss)
        reason = self._reason(loss, terms)
        effects = self.influence.effects(terms)
        of_alignment = self.influence.effects_on_alignment(terms)
        of_uniformity = [a - b for a, b in zip(effects, of_alignment, strict=True)]
        parts = (terms.value, terms.alignment, terms.uniformity)
        records: list[Record] = []
        for metric, part, own, moved in zip(
            LOSS_METRICS,
            parts,
            terms.own or parts,
            (effects, of_alignment, of_uniformity),
            strict=True,
        ):
            number = None
            if part is not None and own is not None and (not records or records[0].reason is None):
                number = self.number(part, own, moved, of_classes)
            why = (terms.reason or reason) if records else reason
            records.append(self.record(metric, loss.definition, entry.params, number, unit, why))
        return records

    def _reason(self, loss: SavedLoss, terms: Terms) -> str:
        """Why a loss has no value."""
        estimated = self.passes.anchors is not None
        if loss.kernel is not None:
            for view in VIEWS:
                if self.passes.kernels[view, loss.kernel].reason:
                    return self.passes.kernels[view, loss.kernel].reason
            if np.isinf(terms.value).any():
                return "some rows coincide with their positives, or t is too large"
        if loss.needs == "labels":
            return "hardly any labelled row has a negative" if estimated else NO_OTHER_CLASS
        return "hardly any of the anchors has a negative" if estimated else "no row has a negative"


def unit_of(loss: SavedLoss) -> Unit:
    """The unit of a loss."""
    if "tau" in loss.params:
        return "nats"
    if loss.kernel is not None:
        return "none"
    return "squared_distance" if loss.name == "cacr" else "cosine"


def mean_of(values: Vector | None) -> float | None:
    """The mean of the finite values; None without any."""
    if values is None:
        return None
    is_finite = np.isfinite(values)
    return float(values[is_finite].mean()) if is_finite.any() else None
