"""Measures that figures of several checkpoints show: uniformity, tolerance, accuracy and more."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cl_analyze.figures.basics import uniform_law
from cl_analyze.figures.marks import defined, records_of
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Record, nearest_k


@dataclass(frozen=True)
class Measure:
    """One number of each checkpoint.

    Attributes:
        label: of the axis, with the unit.
        records: at most one for each checkpoint.
        uniform_sphere: the value on the uniform sphere; None: not drawn.
        is_share: whether it is a share, which is written per cent.
    """

    label: str
    records: list[Record]
    uniform_sphere: float | None = None
    is_share: bool = False

    @property
    def name(self) -> str:
        """The measure without unit and parameters, as "kNN accuracy"."""
        return re.split(r" *[\[(,]| at τ", self.label)[0]


def figure_t(document: Document) -> float:
    """The exponent of uniformity that figures show."""
    records = document.records("uniformity")
    return float(records[0].params["t"]) if records else 2.0


def uniform_values(document: Document) -> dict[int, float]:
    """Uniformity of the uniform sphere by dimensions; empty where checkpoints differ in them."""
    dims = {record.d for record in records_of(document, "uniformity", "u_stat")}
    return {} if len(dims) > 1 else uniform_law(document, figure_t(document))


def uniformity(document: Document) -> Measure:
    """Uniformity; the gap to the uniform sphere where checkpoints differ in their dimensions."""
    t = figure_t(document)
    records = records_of(document, "uniformity", "u_stat")
    name, sphere = "uniformity", next(iter(uniform_values(document).values()), None)
    if len({record.d for record in records}) > 1:
        name, sphere = "gap to the uniform sphere", 0.0
        records = document.records("uniformity_gap")
    records = [record for record in records if record.params["t"] == t]
    return Measure(f"{name} (t = {t:g})  [nats]", records, sphere)


def tolerance(document: Document) -> Measure:
    """Tolerance."""
    return Measure("tolerance  [cosine]", records_of(document, "tolerance", "micro_excl"), 0.0)


def accuracies(document: Document) -> list[Measure]:
    """kNN accuracy at about 20 neighbours, then linear probe accuracy, where they are known."""
    measures = []
    votes = defined(document.records("knn_accuracy"))
    if votes:
        k = nearest_k((int(record.params["k"]) for record in votes), 20)
        own = [record for record in votes if record.params["k"] == k]
        measures.append(Measure(f"kNN accuracy, k = {k}", own, is_share=True))
    probes = defined(document.records("probe_accuracy", "normalised"))
    if probes:
        measures.append(Measure("linear probe accuracy", probes, is_share=True))
    return measures


def retrieval(document: Document) -> list[Measure]:
    """Recall among the fewest neighbours, where it is known."""
    recalls = defined(document.records("recall_at_k", direction="forward"))
    if not recalls:
        return []
    k = min(int(record.params["k"]) for record in recalls)
    own = [record for record in recalls if record.params["k"] == k]
    return [Measure(f"recall, k = {k}", own, is_share=True)]


def rank_and_false_negatives(document: Document) -> list[Measure]:
    """Effective rank, and the false-negative share at the smallest temperature."""
    ranks = records_of(document, "effective_rank", "raw")
    measures = [Measure("effective rank  [dimensions]", ranks)]
    shares = document.records("penalty_false_negative_share")
    if shares:
        tau = min(float(record.params["tau"]) for record in shares)
        shares = [record for record in shares if record.params["tau"] == tau]
        measures.append(Measure(f"false-negative share at τ = {tau:g}", shares, is_share=True))
    return measures
