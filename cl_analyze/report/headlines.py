"""The few numbers that sum a checkpoint up, for the report's top and the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cl_analyze.document import Document
from cl_analyze.tables import Record


@dataclass(frozen=True)
class Headline:
    """One of the numbers that sum a checkpoint up.

    Attributes:
        title: in the summary's head.
        metric, definition, params: which record.
    """

    title: str
    metric: str
    definition: str | None
    params: dict[str, Any]

    def find(self, document: Document, source: str) -> Record | None:
        """The source's record, None where there is none."""
        for record in document.records(self.metric, self.definition):
            if record.source == source and all(
                record.params.get(key) == value for key, value in self.params.items()
            ):
                return record
        return None


def headlines(document: Document) -> list[Headline]:
    """The headlines that this document has numbers for."""
    listed = [
        Headline("uniformity", "uniformity", None, {}),
        Headline("gap to uniform law", "uniformity_gap", None, {}),
        Headline("tolerance", "tolerance", None, {}),
        Headline("between classes", "between_class_similarity", None, {}),
        Headline("positive", "similarity_mean", None, {"group": "positive"}),
        Headline("nearest negative", "similarity_mean", None, {"group": "negative_1"}),
    ]
    taus = [float(record.params["tau"]) for record in document.records("penalty_entropy")]
    if taus:
        tau = min(taus)
        listed += [
            Headline(
                f"effective negatives, τ {tau:g}", "penalty_effective_negatives", None, {"tau": tau}
            ),
            Headline(
                f"false-negative share, τ {tau:g}",
                "penalty_false_negative_share",
                None,
                {"tau": tau},
            ),
        ]
    ks = [int(record.params["k"]) for record in document.records("knn_accuracy")]
    if ks:
        k = min(ks, key=lambda each: (abs(each - 20), each))
        listed.append(Headline(f"kNN accuracy, k {k}", "knn_accuracy", None, {"k": k}))
    listed.append(Headline("linear probe", "probe_accuracy", "normalised", {}))
    listed.append(Headline("effective rank", "effective_rank", None, {}))
    sources = document.sources
    return [h for h in listed if any(h.find(document, source) for source in sources)]
