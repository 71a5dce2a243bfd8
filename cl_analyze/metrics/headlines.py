"""The few numbers that sum a checkpoint up, for the top of the report and for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from cl_analyze.metrics import DECLARED
from cl_analyze.results.document import Document, Pairing
from cl_analyze.results.ordering import training_temperature
from cl_analyze.results.similarity_groups import POSITIVE, negative_group
from cl_analyze.results.tables import Param, Record, Results, nearest_k


@dataclass(frozen=True)
class Headline:
    """One of the numbers that sum a checkpoint up.

    Attributes:
        title: in the head of the summary.
        metric, params, definition: which record; without a definition the first of them.
        at_training_temperature: whether each checkpoint has its own `tau`: the one that its name
            tells.
    """

    title: str
    metric: str
    params: dict[str, Param] = field(default_factory=dict)
    definition: str | None = None
    at_training_temperature: bool = False

    def find(self, document: Document, source: str) -> Record | None:
        """The record of a source; None where there is none."""
        params = dict(self.params)
        if self.at_training_temperature:
            tau = training_temperature(source)
            if tau is None:
                return None
            params["tau"] = tau
        return document.record(self.metric, self.definition, source, **params)


MOST_OF_A_METRIC = 8
"""Numbers of one metric that was asked for by its name."""


def _of_metric(document: Document, metric: str) -> list[Headline]:
    """The numbers of a metric in its first definition, by its parameters."""
    records = document.records(metric)
    alike = [r for r in records if r.source == records[0].source]
    alike = [r for r in alike if r.definition == alike[0].definition]
    headlines = []
    for record in alike[:MOST_OF_A_METRIC]:
        words = (
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in record.params.items()
            if key != "against"
        )
        title = ", ".join([DECLARED[metric].spoken, *words])
        headlines.append(Headline(title, metric, dict(record.params), record.definition))
    return headlines


_AT_TEMPERATURE = ("penalty_effective_negatives", "penalty_false_negative_share")


def _headline(metric: str, ending: str = "", **params: Param) -> Headline:
    """A headline that has the title of its metric."""
    return Headline(f"{DECLARED[metric].spoken}{ending}", metric, params)


def _of_temperature(document: Document, taus: Collection[float]) -> list[Headline]:
    """Numbers of the penalty: at the temperature of each training, or at the lowest measured.

    The training's is shown where the name of every checkpoint tells it and it was measured.  A
    comparison shows one temperature, since its differences are of numbers at the same parameters.
    """
    trained_at = {training_temperature(source) for source in document.sources}
    if document.command != "compare" and trained_at <= set(taus):
        return [
            replace(_headline(metric, " at the training τ"), at_training_temperature=True)
            for metric in _AT_TEMPERATURE
        ]
    tau = min(taus)
    return [_headline(metric, f", τ {tau:g}", tau=tau) for metric in _AT_TEMPERATURE]


def has_two_towers(document: Document) -> bool:
    """Whether rows have their partners in a second file, as images and captions do."""
    return any(pairing != "views" for pairing in document.pairing.values())


def headline_records(
    records: Iterable[Record],
    source: str,
    command: str,
    asked: tuple[str, ...] = (),
    pairing: Pairing | None = None,
) -> list[Record]:
    """The records of one checkpoint that are headline numbers, before there is a document."""
    document = Document(
        command=command,
        arguments=(),
        version="",
        created="",
        inputs=(),
        environment={},
        results=Results(records),
        families={},
        tables={},
        warnings=(),
        positives={},
        negatives="",
        pairing={} if pairing is None else {source: pairing},
        asked=asked,
    )
    found = (headline.find(document, source) for headline in headlines(document))
    return [record for record in found if record is not None]


def headlines(document: Document) -> list[Headline]:
    """The headlines that this document has numbers for."""
    listed = [
        _headline("uniformity"),
        _headline("uniformity_gap"),
        _headline("tolerance"),
        _headline("between_class_similarity"),
        Headline("positive", "similarity_mean", {"group": POSITIVE}),
        Headline("nearest negative", "similarity_mean", {"group": negative_group(1)}),
    ]
    taus = {float(record.params["tau"]) for record in document.records("penalty_entropy")}
    if taus:
        listed += _of_temperature(document, taus)
    votes = document.records("knn_accuracy")
    if votes:
        k = nearest_k((int(record.params["k"]) for record in votes), 20)
        listed.append(_headline("knn_accuracy", f", k {k}", k=k))
    ranks = [int(record.params["k"]) for record in document.records("recall_at_k")]
    if ranks:
        of_what = "" if has_two_towers(document) else " of view 2"
        ending = f"{of_what}, k {min(ranks)}"
        listed.append(_headline("recall_at_k", ending, k=min(ranks), direction="forward"))
    if has_two_towers(document):
        listed.append(_headline("modality_gap"))
    listed.append(replace(_headline("probe_accuracy"), definition="normalised"))
    listed.append(_headline("effective_rank"))
    sources = document.sources
    found = [h for h in listed if any(h.find(document, source) for source in sources)]
    named = {headline.metric for headline in found}
    found += [h for name in document.asked if name not in named for h in _of_metric(document, name)]
    losses = [r for r in document.records("loss", "one_way") if "batch_size" not in r.params]
    if found or not losses:
        return found
    tau = min(float(record.params["tau"]) for record in losses)  # losses alone were asked for
    return [Headline(f"InfoNCE, τ {tau:g}", "loss", {"name": "contrastive", "tau": tau}, "one_way")]
