"""One plain sentence on what a number means for this file."""

from __future__ import annotations

import math

from cl_analyze.document import Document
from cl_analyze.metrics.losses.readings import READINGS
from cl_analyze.report.quality_meaning import QUALITY_SENTENCES
from cl_analyze.report.words import companion, cosine_in_words, count_in_words, percent
from cl_analyze.tables import Record


def meaning(record: Record, document: Document) -> str:
    """What a record says, in words, with its natural reference beside it.

    Args:
        record: any record of the document.
        document: for references and for the record's companions.
    """
    if record.value is None:
        return f"Undefined: {record.reason}."
    sentence = _SENTENCES.get(record.metric)
    return sentence(record, record.value, document) if sentence is not None else ""


def _uniformity(record: Record, value: float, document: Document) -> str:
    t = record.params["t"]
    law = companion(record, document, "uniformity_of_uniform_law", t=t)
    if record.definition == "v_stat":
        return "The same with every row also paired with itself, as some codes do."
    if law is None:
        return "More negative is more uniform."
    return f"{_distance(value - law)} the {law:.3f} of points spread evenly over the sphere."


def _distance(gap: float) -> str:
    if abs(gap) < 0.01:
        return "As uniform as"
    words = "close to" if abs(gap) < 0.1 else "clustered" if gap < 1 else "strongly clustered"
    if gap < 0:
        return f"Spread more evenly, by {-gap:.3f} nats, than"
    return f"{gap:.3f} nats above ({words})" if words != "close to" else f"{gap:.3f} nats above"


def _law(record: Record, value: float, document: Document) -> str:
    return f"What independent points spread evenly over the sphere in {record.d} dimensions give."


def _gap(record: Record, value: float, document: Document) -> str:
    error = record.total_error
    if error and abs(value) < 2 * error:
        return "Not distinguishable from the uniform sphere with this many rows."
    side = "less" if value > 0 else "more"
    return (
        f"{abs(value):.3f} nats {side} uniform than the uniform sphere; comparable between "
        "embeddings of different dimensions."
    )


def _tolerance(record: Record, value: float, document: Document) -> str:
    about = {
        "micro_excl": f"Rows of one class have a mean cosine of {cosine_in_words(value)}",
        "macro_excl": "The same as a mean over classes, each counting once",
        "micro_incl": "The same with every row also paired with itself",
        "indicator": "Eq. 11 as printed: same-class similarities averaged over all pairs",
    }.get(record.definition or "", "Mean same-class cosine")
    between = companion(record, document, "between_class_similarity")
    if record.definition == "micro_excl" and between is not None:
        return f"{about}, rows of different classes one of {cosine_in_words(between)}."
    return about + "."


def _between(record: Record, value: float, document: Document) -> str:
    return (
        f"Rows of different classes have a mean cosine of {cosine_in_words(value)}; 0 is unrelated."
    )


def _tolerance_gap(record: Record, value: float, document: Document) -> str:
    return "How much closer rows of one class are than rows of different classes."


def _similarity_mean(record: Record, value: float, document: Document) -> str:
    group = str(record.params["group"])
    if group == "positive":
        return f"A row and its positive have a mean cosine of {cosine_in_words(value)}."
    rank = group.rsplit("_", 1)[1]
    positive = companion(record, document, "similarity_mean", group="positive")
    rows = document.rows("similarity_reference", source=record.source, group=group)
    name = "The nearest negative" if rank == "1" else f"Negative number {rank}"
    text = f"{name} has a mean cosine of {cosine_in_words(value)}"
    if positive is not None:
        text += f", {'nearer' if value > positive else 'farther'} than the positive's"
    if rows and isinstance(rows[0]["value"], float):
        text += f"; on the uniform sphere {cosine_in_words(rows[0]['value'])}"
    return text + "."


def _similarity_std(record: Record, value: float, document: Document) -> str:
    return "Spread of these similarities over the rows."


def _similarity_quantile(record: Record, value: float, document: Document) -> str:
    return f"{percent(float(record.params['q']))} of these similarities lie below it."


def _negatives_of(record: Record, document: Document) -> int | None:
    """Negatives of each anchor; None where anchors differ (rows of other classes)."""
    if "negatives" in record.params:
        return None
    return record.n if record.d is None else document.n_rows.get(record.source, record.n) - 1


def _entropy(record: Record, value: float, document: Document) -> str:
    text = f"Spread as over {count_in_words(math.exp(value))} equal negatives"
    n = _negatives_of(record, document)
    return f"{text}; even weights would have {math.log(n):.2f} nats." if n else f"{text}."


def _effective(record: Record, value: float, document: Document) -> str:
    text = f"At τ = {record.params['tau']:g} the repulsion acts on about {count_in_words(value)}"
    n = _negatives_of(record, document)
    return f"{text} of {n:,} negatives ({percent(value / n)})." if n else f"{text} negatives."


def _top(count: int, record: Record, value: float, document: Document) -> str:
    who = "The nearest negative takes" if count == 1 else "The ten nearest negatives take"
    text = f"{who} {percent(value)} of the penalty"
    n = _negatives_of(record, document)
    return f"{text}; an even share is {percent(min(count / n, 1.0))}." if n else f"{text}."


def _top1(record: Record, value: float, document: Document) -> str:
    return _top(1, record, value, document)


def _top10(record: Record, value: float, document: Document) -> str:
    return _top(10, record, value, document)


def _false_negatives(record: Record, value: float, document: Document) -> str:
    ratio = companion(record, document, "penalty_false_negative_ratio", tau=record.params["tau"])
    tau = record.params["tau"]
    text = f"{percent(value)} of the repulsion at τ = {tau:g} pushes rows of one class apart"
    if ratio:
        text += f"; even weights would give {percent(value / ratio)}"
    return text + "."


def _false_negative_ratio(record: Record, value: float, document: Document) -> str:
    return (
        f"τ = {record.params['tau']:g} aims {value:.2g} times as much repulsion at the anchor's "
        "own class as even weights would."
    )


def _loss(record: Record, value: float, document: Document) -> str:
    text = READINGS.get((str(record.params["name"]), record.definition), "")
    if "batch_size" in record.params:
        return f"The mean over batches of {record.params['batch_size']} pairs. {text}"
    parts = [
        companion(record, document, metric, record.definition, **record.params)
        for metric in ("loss_alignment", "loss_uniformity")
    ]
    if parts[0] is None or parts[1] is None:
        return text
    return f"{text} Alignment part {parts[0]:.4g}, uniformity part {parts[1]:.4g}."


def _loss_alignment(record: Record, value: float, document: Document) -> str:
    return "The part of the loss that pulls positives together."


def _loss_uniformity(record: Record, value: float, document: Document) -> str:
    return "The part of the loss that pushes rows apart."


def _energy(record: Record, value: float, document: Document) -> str:
    kernel, t = record.params["kernel"], record.params["t"]
    for other in document.records("hyperspherical_energy_reference"):
        if (other.source, other.params["kernel"], other.params["t"]) == (record.source, kernel, t):
            if other.value is None:
                return "The lower, the more evenly the view's rows are spread."
            what = {
                "simplex": "the least possible, that of a simplex",
                "cross_polytope": "the least possible, that of a cross-polytope",
                "uniform_law": "that of independent uniform points",
            }[other.definition or "uniform_law"]
            return f"View {record.params['view']}: {value - other.value:.3g} above {what}."
    return "The lower, the more evenly the view's rows are spread."


def _energy_reference(record: Record, value: float, document: Document) -> str:
    return {
        "simplex": "The least energy of so few points: a regular simplex.",
        "cross_polytope": "The least energy of 2D points: a cross-polytope.",
        "uniform_law": "What independent uniform points give; the least energy is not known.",
    }[record.definition or "uniform_law"]


def _gap_of_classes(record: Record, value: float, document: Document) -> str:
    return f"What false negatives add to DCL at τ = {record.params['tau']:g}."


def _gap_bound(record: Record, value: float, document: Document) -> str:
    return "The most that the gap of DCL to NSCL can be with these class sizes."


def _weights(record: Record, value: float, document: Document) -> str:
    return (
        f"With hard-negative weights at τ = {record.params['tau']:g}, the push acts on about "
        f"{count_in_words(value)} negatives."
    )


def _weights_on_class(record: Record, value: float, document: Document) -> str:
    return f"{percent(value)} of that push falls on rows of the anchor's own class."


_SENTENCES = {
    **QUALITY_SENTENCES,
    "loss": _loss,
    "loss_alignment": _loss_alignment,
    "loss_uniformity": _loss_uniformity,
    "hyperspherical_energy": _energy,
    "hyperspherical_energy_reference": _energy_reference,
    "dcl_nscl_gap": _gap_of_classes,
    "dcl_nscl_gap_bound": _gap_bound,
    "a_infonce_effective_negatives": _weights,
    "a_infonce_false_negative_share": _weights_on_class,
    "uniformity": _uniformity,
    "uniformity_of_uniform_law": _law,
    "uniformity_gap": _gap,
    "tolerance": _tolerance,
    "between_class_similarity": _between,
    "tolerance_gap": _tolerance_gap,
    "similarity_mean": _similarity_mean,
    "similarity_std": _similarity_std,
    "similarity_quantile": _similarity_quantile,
    "penalty_entropy": _entropy,
    "penalty_effective_negatives": _effective,
    "penalty_top1_share": _top1,
    "penalty_top10_share": _top10,
    "penalty_false_negative_share": _false_negatives,
    "penalty_false_negative_ratio": _false_negative_ratio,
}
