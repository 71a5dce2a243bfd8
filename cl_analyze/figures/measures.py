"""What figures of several checkpoints show of each: uniformity, tolerance, accuracy and more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cl_analyze.document import Document
from cl_analyze.figures.basics import uniform_law
from cl_analyze.figures.marks import defined, nearest_k, records_of
from cl_analyze.tables import Record


@dataclass(frozen=True)
class Measure:
    """One number of each checkpoint.

    Attributes:
        label: of its axis, with the unit.
        records: one for each checkpoint, or none.
        uniform_sphere: its value on the uniform sphere; None where it is not drawn.
    """

    label: str
    records: list[Record]
    uniform_sphere: float | None = None


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
        name, sphere = "uniformity gap to the uniform sphere", 0.0
        records = document.records("uniformity_gap")
    records = [record for record in records if record.params["t"] == t]
    return Measure(f"{name} (t = {t:g})  [nats]", records, sphere)


def tolerance(document: Document) -> Measure:
    """Tolerance."""
    return Measure("tolerance  [cosine]", records_of(document, "tolerance", "micro_excl"), 0.0)


def knn_accuracy(document: Document) -> Measure | None:
    """kNN accuracy at about 20 neighbours."""
    votes = defined(document.records("knn_accuracy"))
    if not votes:
        return None
    k = nearest_k((int(record.params["k"]) for record in votes), 20)
    return Measure(f"kNN accuracy, k = {k}", [r for r in votes if r.params["k"] == k])


def probe_accuracy(document: Document) -> Measure | None:
    """Accuracy of the linear probe."""
    probes = defined(document.records("probe_accuracy", "normalised"))
    return Measure("linear probe accuracy", probes) if probes else None


def accuracy(document: Document) -> Measure | None:
    """The accuracy that stands for a checkpoint: of kNN, else of the linear probe."""
    return knn_accuracy(document) or probe_accuracy(document)


def further_measures(document: Document) -> Iterator[Measure]:
    """Numbers of a comparison beside uniformity, tolerance and `accuracy`."""
    probe = probe_accuracy(document)
    if probe is not None and knn_accuracy(document) is not None:
        yield probe
    ranks = records_of(document, "effective_rank", "raw")
    yield Measure("effective rank  [dimensions]", ranks)
    shares = document.records("penalty_false_negative_share")
    if shares:
        tau = min(float(record.params["tau"]) for record in shares)
        shares = [record for record in shares if record.params["tau"] == tau]
        yield Measure(f"false-negative share at τ = {tau:g}", shares)
