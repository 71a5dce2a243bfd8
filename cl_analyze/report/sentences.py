"""One plain sentence on what a number means for this file, and how to read each loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from cl_analyze.metrics.losses.readings import READINGS
from cl_analyze.report.words import companion, cosine_in_words, count_in_words, percent
from cl_analyze.results.document import Document
from cl_analyze.results.similarity_groups import POSITIVE, negative_rank
from cl_analyze.results.tables import Record, number_text

Sentence = Callable[[Record, float, Document], str]


def how_to_read(name: str, definition: str | None) -> str:
    """How to read a loss; empty for an unknown loss."""
    return READINGS.get((name, definition), "")


def meaning(record: Record, document: Document) -> str:
    """One sentence on a record, with its natural reference.

    Args:
        record: any record of the document.
        document: has the references and the other records of the source.
    """
    if record.value is None:
        return f"Undefined: {record.reason}."
    sentence = _SENTENCES.get(record.name) or _SENTENCES.get(record.metric, "")
    if isinstance(sentence, str):
        return sentence.format_map(_Words(record, record.value))
    return sentence(record, record.value, document)


class _Words:
    """The words that stand in braces in a sentence: see `_FORMS`; else a parameter or a field."""

    def __init__(self, record: Record, value: float) -> None:
        self._record, self._value = record, value

    def __getitem__(self, name: str) -> Any:
        if name in _FORMS:
            return _FORMS[name](self._record, self._value)
        params = self._record.params
        return params[name] if name in params else getattr(self._record, name)


def _among_the_nearest(record: Record, value: float) -> str:
    k = record.params["k"]
    return "the nearest" if k == 1 else f"among the {k} nearest"


_FORMS: dict[str, Callable[[Record, float], str]] = {
    "share": lambda record, value: percent(value),
    "inverse_share": lambda record, value: percent(1.0 / value),
    "count": lambda record, value: count_in_words(value),
    "nearest_distance": lambda record, value: f"{math.exp(-value):.3g}",
    "cosine": lambda record, value: cosine_in_words(value),
    "below_quantile": lambda record, value: percent(float(record.params["q"])),
    "among_the_nearest": _among_the_nearest,
}


# ---- uniformity, tolerance and similarity


def _uniformity(record: Record, value: float, document: Document) -> str:
    law = companion(record, document, "uniformity_of_uniform_law", t=record.params["t"])
    if law is None:
        return "More negative is more uniform."
    gap = value - law
    if abs(gap) < 0.01:
        distance = "As uniform as"
    elif gap < 0:
        distance = f"More even, by {-gap:.3f} nats, than"
    else:
        distance = f"{gap:.3f} nats above"
    clustered = "" if gap < 1 else ": clustered" if gap < 2 else ": strongly clustered"
    return f"{distance} points spread evenly over the sphere ({law:.3f}){clustered}."


def _uniformity_gap(record: Record, value: float, document: Document) -> str:
    error = record.total_error
    if error and abs(value) < 2 * error:
        return "Not distinguishable from the uniform sphere with this many rows."
    side = "less" if value > 0 else "more"
    return (
        f"{abs(value):.3f} nats {side} uniform than the uniform sphere; comparable between "
        "embeddings of different dimensions."
    )


def _tolerance(record: Record, value: float, document: Document) -> str:
    text = f"Rows of one class have a mean cosine of {cosine_in_words(value)}"
    between = companion(record, document, "between_class_similarity")
    if between is not None:
        text += f", rows of different classes a mean cosine of {cosine_in_words(between)}"
    return f"{text}."


def _similarity_mean(record: Record, value: float, document: Document) -> str:
    rank = negative_rank(record.params["group"])
    if rank is None:
        return f"A row and its positive have a mean cosine of {cosine_in_words(value)}."
    name = "The nearest negative" if rank == 1 else f"Negative number {rank}"
    text = f"{name} has a mean cosine of {cosine_in_words(value)}"
    positive = companion(record, document, "similarity_mean", group=POSITIVE)
    if positive is not None:
        text += f", {'nearer' if value > positive else 'farther'} than the positive"
    group = record.params["group"]
    rows = document.rows(
        "similarity_reference", source=record.source, group=group, quantity="similarity_mean"
    )
    for row in rows[:1]:
        if isinstance(row["value"], float):
            text += f"; on the uniform sphere it would be {cosine_in_words(row['value'])}"
    return f"{text}."


# ---- penalties


def _n_negatives(record: Record, document: Document) -> float | None:
    """Negatives of each anchor; None where they are the rows of other classes."""
    if "negatives" in record.params:
        return None
    return document.n_negatives.get(record.source, record.n)


def _entropy(record: Record, value: float, document: Document) -> str:
    text = f"The penalty is spread as over {count_in_words(math.exp(value))} equal negatives"
    n = _n_negatives(record, document)
    return f"{text}; with even weights it would be {math.log(n):.2f} nats." if n else f"{text}."


def _effective_negatives(record: Record, value: float, document: Document) -> str:
    text = f"At τ = {record.params['tau']:g} the repulsion acts on about {count_in_words(value)}"
    n = _n_negatives(record, document)
    return f"{text} of {n:,.0f} negatives ({percent(value / n)})." if n else f"{text} negatives."


def _top_share(takers: str, count: int, record: Record, value: float, document: Document) -> str:
    text = f"{takers} {percent(value)} of the penalty"
    n = _n_negatives(record, document)
    return f"{text}; an even share is {percent(min(count / n, 1.0))}." if n else f"{text}."


def _false_negative_share(record: Record, value: float, document: Document) -> str:
    tau = record.params["tau"]
    ratio = companion(record, document, "penalty_false_negative_ratio", tau=tau)
    text = f"{percent(value)} of the repulsion at τ = {tau:g} pushes rows of one class apart"
    return f"{text}; even weights would give {percent(value / ratio)}." if ratio else f"{text}."


def _temperature_of_share(record: Record, value: float, document: Document) -> str:
    share = percent(float(record.params["share"]))
    return (
        f"At τ = {value:.3g} the repulsion is spread as over {share} of all negatives. "
        "Embeddings trained at another temperature give another number: this is a place to "
        "start, not the best τ."
    )


def temperatures_to_start(document: Document, source: str) -> str:
    """Between which temperatures a source's penalty widens; empty where they were not computed."""
    found = document.records("temperature_of_effective_share", source=source)
    if not found:
        return ""
    small, *wide = sorted(found, key=lambda record: float(record.params["share"]))
    reached = [record for record in wide if record.value is not None]
    start = "Temperatures to start from"
    if not reached:
        return f"{start}: none ({wide[-1].reason})."
    taus = " to ".join(map(_with_error, reached))
    shares = " to ".join(percent(float(record.params["share"])) for record in reached)
    text = f"{start}: tau = {taus}, where the effective number of negatives is {shares} of all"
    if small.value is not None:
        text += f" (1% at {small.value:.3g})"
    text += ". "
    half = document.record("temperature_of_top10_half", source=source)
    if half is not None and half.value is not None:
        text += f"Below tau = {_with_error(half)} the ten nearest have more than half of the "
        text += "repulsion. "
    return f"{text}Embeddings trained at another temperature give other numbers."


def _with_error(record: Record) -> str:
    error = record.total_error
    text = number_text(record.value or 0.0, error)
    return f"{text} ± {number_text(error, error)}" if error else text


# ---- losses


def _loss(record: Record, value: float, document: Document) -> str:
    text = how_to_read(str(record.params["name"]), record.definition)
    if "batch_size" in record.params:
        return f"The mean over batches of {record.params['batch_size']} pairs. {text}"
    alignment, uniformity = (
        companion(record, document, metric, record.definition, **record.params)
        for metric in ("loss_alignment", "loss_uniformity")
    )
    if alignment is None or uniformity is None:
        return text
    return f"{text} Alignment part {alignment:.4g}, uniformity part {uniformity:.4g}."


_ENERGY_REFERENCES = {
    "simplex": "the least possible energy, that of a simplex",
    "cross_polytope": "the least possible energy, that of a cross-polytope",
    "uniform_law": "the energy of independent uniform points",
}


def _energy(record: Record, value: float, document: Document) -> str:
    kernel, t = record.params["kernel"], record.params["t"]
    metric = "hyperspherical_energy_reference"
    reference = document.record(metric, source=record.source, kernel=kernel, t=t)
    if reference is None or reference.value is None:
        return "The lower, the more evenly the view's rows are spread."
    name = _ENERGY_REFERENCES[str(reference.definition)]
    return f"View {record.params['view']}: {value - reference.value:.3g} above {name}."


# ---- quality


def _alpha_req(record: Record, value: float, document: Document) -> str:
    fit = companion(record, document, "alpha_req_r_squared", record.definition, **record.params)
    text = f"Eigenvalues fall as rank^-{value:.2f}"
    if fit is not None:
        text += f" (R² {fit:.2f}{', a poor fit' if fit < 0.9 else ''})"
    return f"{text}; about 1 is called healthy, with a larger exponent few directions dominate."


def _mean_cosine(record: Record, value: float, document: Document) -> str:
    if record.total_error and abs(value) < 2 * record.total_error:
        return "Rows have no common direction."
    return "Mean cosine of all pairs; 0: no common direction, 1: all rows are one point."


def hubs_in_words(skewness: float) -> str:
    """Whether some rows are neighbours of many others, by `hubness_skewness`."""
    return "no hubs to speak of" if skewness < 1 else "hubs" if skewness < 3 else "strong hubs"


def _hubness_skewness(record: Record, value: float, document: Document) -> str:
    nearest = _among_the_nearest(record, value)
    return f"Skewness of how often rows are {nearest} of others: {hubs_in_words(value)}."


def _alignment(record: Record, value: float, document: Document) -> str:
    if record.params["power"] != 2:
        power = record.params["power"]
        return f"Mean of the distance of positives to the power {power:g}; 0 is perfect."
    return f"Positives have a mean cosine of {1.0 - value / 2.0:.3f}; alignment 0 is a cosine of 1."


def _recall(record: Record, value: float, document: Document) -> str:
    if record.definition == "relevant":
        a_query, candidates = _related(record)
        return (
            f"{percent(value)} of the {candidates} that belong to {a_query} are "
            f"{_among_the_nearest(record, value)}."
        )
    one, other = ("1", "2") if record.params["direction"] == "forward" else ("2", "1")
    chance = float(record.params["k"]) / max(document.n_rows.get(record.source, 1), 1)
    return (
        f"For {percent(value)} of the rows of view {one} the partner is "
        f"{_among_the_nearest(record, value)} of view {other}; by chance "
        f"{percent(min(chance, 1.0))}."
    )


def _hit_rate(record: Record, value: float, document: Document) -> str:
    if record.definition != "relevant":
        return _recall(record, value, document)
    a_query, candidates = _related(record)
    nearest = _among_the_nearest(record, value)
    return f"For {percent(value)}, at least one of the {candidates} of {a_query} is {nearest}."


def _related(record: Record) -> tuple[str, str]:
    """What is asked for, and what is ranked, in a direction of retrieval of relevant items."""
    is_forward = record.params["direction"] == "forward"
    return ("a query", "items") if is_forward else ("an item", "queries")


_FIRST_RELEVANT = {
    "pairs": "the partner",
    "relevant": "the first relevant one",
    "same_class": "the first row of the class",
}


def _mrr(record: Record, value: float, document: Document) -> str:
    which = _FIRST_RELEVANT[record.definition or "pairs"]
    return f"Mean of 1 / rank of {which}; 1 where it is always the nearest."


def _median_rank(record: Record, value: float, document: Document) -> str:
    if record.definition == "relevant":
        a_query, candidates = _related(record)
        first = f"the first of the {candidates} of {a_query}"
        return f"Half the time {first} is at rank {value:g} or less."
    n = document.n_rows.get(record.source, 0)
    return f"Half of the partners are at rank {value:g} or better, of {n:,} rows."


def threshold_in_words(record: Record, document: Document) -> str:
    """The cosine of an operating point; empty for other records, and without the table."""
    rows = document.rows(
        "operating_points",
        source=record.source,
        point=record.metric,
        fpr=record.params.get("fpr"),
    )
    return f"{rows[0]['threshold']:.3f}" if rows else ""


def _tpr_at_fpr(record: Record, value: float, document: Document) -> str:
    fpr = float(record.params["fpr"])
    cosine = threshold_in_words(record, document)
    at = f"At a threshold of {cosine}" if cosine else "At one threshold"
    return f"{at}, {percent(fpr)} of the negatives and {percent(value)} of the positives pass."


def _equal_error_rate(record: Record, value: float, document: Document) -> str:
    cosine = threshold_in_words(record, document)
    at = f"At a threshold of {cosine}" if cosine else "At one threshold"
    return f"{at}, {percent(value)} of the negatives pass and the same share of positives fails."


def _auroc(record: Record, value: float, document: Document) -> str:
    whose = "the same" if record.definition == "per_anchor" else "any"
    return f"A positive is nearer than a negative of {whose} anchor in {percent(value)} of cases."


def _same_class_share(record: Record, value: float, document: Document) -> str:
    rank = negative_rank(record.params["group"]) or 1
    name = "the nearest negative" if rank == 1 else f"negative number {rank}"
    rows = document.rows(
        "similarity_reference",
        source=record.source,
        quantity="same_class_share",
        group=record.params["group"],
    )
    chance = f"; by chance {percent(float(rows[0]['value'] or 0.0))}" if rows else ""
    return f"For {percent(value)} of the rows {name} is of their own class, and so false{chance}."


def _modality_gap(record: Record, value: float, document: Document) -> str:
    residual = companion(record, document, "modality_gap_residual")
    if residual is None:
        return "Distance between the mean rows of the two views."
    if value < 2 * math.sqrt(residual / max(record.n, 1)):
        return "With this many rows, the means of the two views cannot be distinguished."
    share = value**2 / (value**2 + residual) if value > 0 else 0.0
    return (
        f"The means of the views are {value:.3g} apart; the gap makes up {percent(share)} of the "
        "mean squared distance of partners."
    )


def _relative_gap(record: Record, value: float, document: Document) -> str:
    if value >= 1.0:
        return "Partners are apart, although all rows of a view are the same."
    times = value / (1.0 - value)
    return f"In cosine distance, partners are {times:.2g} times as far apart as rows of one view."


def _knn_accuracy(record: Record, value: float, document: Document) -> str:
    n_classes = len(document.rows("quality_by_class", source=record.source))
    classes = f"; {n_classes} classes" if n_classes else ""
    reference = "the other rows" if record.definition == "leave_one_out" else "the training set"
    k = record.params["k"]
    voters = "the nearest" if k == 1 else f"the {k} nearest"
    return f"{percent(value)} of the rows get their class from {voters} of {reference}{classes}."


def _probe_accuracy(record: Record, value: float, document: Document) -> str:
    rows = document.rows("probe", source=record.source, definition=record.definition)
    split = f" ({rows[0]['split']})" if rows else ""
    return f"A linear classifier is right on {percent(value)} of {record.n} unseen rows{split}."


def _silhouette(record: Record, value: float, document: Document) -> str:
    words = "apart" if value > 0.5 else "loosely grouped" if value > 0.1 else "overlapping"
    return f"Classes are {words}: at 1 they are compact and far apart, at 0 rows lie on the border."


def _gaussian_w2(record: Record, value: float, document: Document) -> str:
    expected = math.sqrt(((record.d or 1) + 3.0) / (4.0 * max(record.n, 1)))
    return (
        "Distance of the rows' mean and covariance from those of uniform points: 0 is uniform, "
        "at 1.41 all rows are the same. As many uniform points would have about "
        f"{min(expected, 1.0):.2g}."
    )


def _intrinsic_dimension(record: Record, value: float, document: Document) -> str:
    nearest = "ten nearest rows" if record.definition == "mle" else "two nearest rows"
    return (
        f"Around a row, the other rows spread as in {value:.2g} dimensions (of {record.d}), "
        f"measured by the {nearest}."
    )


def _lidar(record: Record, value: float, document: Document) -> str:
    items = "classes" if record.definition == "classes" else "rows with their views"
    return f"About {value:.3g} of {record.d} directions tell {items} apart."


_SINGULAR = "By their singular values, rows fill about {value:.3g} of {d} directions"
_DIRECTIONAL = "CDNV in which only the spread towards the other class counts."
_SENTENCES: dict[str, str | Sentence] = {
    "uniformity": _uniformity,
    "uniformity[v_stat]": "Uniformity with every row also paired with itself, as in some "
    "published code.",
    "uniformity_of_uniform_law": "Uniformity of independent points spread evenly over the sphere "
    "in {d} dimensions.",
    "uniformity_gap": _uniformity_gap,
    "uniformity_wasserstein": "Mean distance between the cosines of all pairs and those of "
    "uniform points; 0 is uniform.",
    "uniformity_wasserstein[gaussian_w2]": _gaussian_w2,
    "tolerance": _tolerance,
    "tolerance[macro_excl]": "Tolerance as a mean over classes, each with the same weight.",
    "tolerance[micro_incl]": "Tolerance with every row also paired with itself.",
    "tolerance[indicator]": "Eq. 11 as printed: same-class similarities averaged over all pairs.",
    "between_class_similarity": "Rows of different classes have a mean cosine of {cosine}; 0 is "
    "unrelated.",
    "tolerance_gap": "How much larger the mean cosine is within classes than between classes.",
    "similarity_mean": _similarity_mean,
    "similarity_std": "Standard deviation of the similarities of this group.",
    "similarity_quantile": "{below_quantile} of the similarities of this group lie below "
    "{value:.3g}.",
    "same_class_share": _same_class_share,
    "auroc": _auroc,
    "equal_error_rate": _equal_error_rate,
    "tpr_at_fpr": _tpr_at_fpr,
    "d_prime": "The means of positives and negatives are {value:.2f} standard deviations apart.",
    "violation_share": "For {share} of the anchors a negative is nearer than the positive.",
    "suspect_share": "{share} of the anchors have a negative with a cosine above {margin:g} "
    "times that of their positive.",
    "suspect_precision": "{share} of the suspects at margin {margin:g} are of the anchor's "
    "class, and so false negatives.",
    "penalty_suspect_share": "At τ = {tau:g}, {share} of the repulsion falls on negatives with a "
    "cosine above {margin:g} times that of the positive.",
    "penalty_entropy": _entropy,
    "penalty_effective_negatives": _effective_negatives,
    "penalty_top1_share": partial(_top_share, "The nearest negative takes", 1),
    "penalty_top10_share": partial(_top_share, "The ten nearest negatives take", 10),
    "penalty_false_negative_share": _false_negative_share,
    "penalty_false_negative_ratio": "At τ = {tau:g} the anchor's own class gets {value:.2g} "
    "times as much repulsion as with even weights.",
    "temperature_of_effective_share": _temperature_of_share,
    "temperature_of_top10_half": "Below τ = {value:.3g} the ten nearest negatives take more than "
    "half of the repulsion.",
    "loss": _loss,
    "loss_alignment": "The part of the loss that pulls positives together.",
    "loss_uniformity": "The part of the loss that pushes rows apart.",
    "hyperspherical_energy": _energy,
    "hyperspherical_energy_reference[simplex]": "The least possible energy of at most D + 1 "
    "points: a regular simplex.",
    "hyperspherical_energy_reference[cross_polytope]": "The least possible energy of 2 D points: "
    "a cross-polytope.",
    "hyperspherical_energy_reference[uniform_law]": "Energy of independent uniform points; the "
    "least possible energy is not known.",
    "dcl_nscl_gap": "How much false negatives add to DCL at τ = {tau:g}.",
    "dcl_nscl_gap_bound": "Upper bound of the gap between DCL and NSCL for these class sizes.",
    "a_infonce_effective_negatives": "With hard-negative weights at τ = {tau:g}, the push acts on "
    "about {count} negatives.",
    "a_infonce_false_negative_share": "With hard-negative weights at τ = {tau:g}, {share} of the "
    "push falls on rows of the anchor's own class.",
    "effective_rank": f"{_SINGULAR}.",
    "rankme": f"{_SINGULAR} (RankMe, the version of self-supervised learning).",
    "participation_ratio": "By their variances, rows fill about {value:.3g} of {d} directions; "
    "strong directions weigh more than in the effective rank.",
    "numerical_rank": "{value:.0f} of {d} directions hold more than rounding.",
    "nesum": "The first direction holds {inverse_share} of the variance.",
    "stable_rank": "The first direction holds {inverse_share} of the squared norms of all rows; "
    "at a small value one direction dominates.",
    "alpha_req": _alpha_req,
    "alpha_req_r_squared": "How well a power law fits the eigenvalues; 1 is perfect.",
    "vendi_score": "By their cosines, the rows are as different as {count} orthogonal rows.",
    "isoscore": "1 where the variance is the same in every direction, 0 where one direction has "
    "all of it.",
    "condition_number": "The widest direction is {value:.3g} times as wide as the narrowest.",
    "norm_mean": "Mean norm of the rows as saved.",
    "norm_std": "Spread of the norms; 0 where rows were saved normalised.",
    "mean_cosine": _mean_cosine,
    "near_duplicate_share": "{share} of the rows have another row at a cosine above 1 - 1e-6.",
    "koleo": "The nearest other row is at a distance of typically {nearest_distance} (2 is the "
    "largest possible); at a lower value rows are more spread out.",
    "outlier_share": "{share} of the rows lie unusually far from every other row.",
    "intrinsic_dimension": _intrinsic_dimension,
    "hubness_skewness": _hubness_skewness,
    "hubness_robin_hood": "{share} of all neighbour places would have to go to other rows for "
    "every row to be a neighbour equally often.",
    "antihub_share": "{share} of the rows are not {among_the_nearest} of any row.",
    "alignment": _alignment,
    "recall_at_k": _recall,
    "hit_rate_at_k": _hit_rate,
    "ndcg_at_k": "1 where all relevant items come first, the best grades at the top. Earlier "
    "ranks weigh more; ranks after {k} do not count.",
    "mrr": _mrr,
    "map_at_r": "Mean precision over the first R ranks, R the number of relevant items; 1 is "
    "perfect.",
    "r_precision": "{share} of the R nearest are relevant, R the number of relevant items.",
    "median_rank": _median_rank,
    "modality_gap": _modality_gap,
    "modality_gap_residual": "Mean squared distance of partners after each view is centred.",
    "modality_gap_relative": _relative_gap,
    "lidar": _lidar,
    "knn_accuracy": _knn_accuracy,
    "knn_top5_accuracy": "For {share} of the rows the class is among the five with most votes.",
    "probe_accuracy": _probe_accuracy,
    "probe_calibration_error": "The probe's confidence and its accuracy differ by {share} on "
    "average.",
    "nc1": "Spread within classes over spread between them; 0 is full neural collapse.",
    "nc1_trace_ratio": "NC1 by traces: total variance within classes over total variance between "
    "classes.",
    "nc2_equinorm": "Spread of the norms of the class means, relative to the mean norm; 0 means "
    "equal norms.",
    "nc2_equiangular": "Spread of the cosines between class means; 0 means equal angles.",
    "nc2_maximal_angle": "Distance of the cosines between class means from the least possible; 0 "
    "is ideal.",
    "nc2_etf": "Distance of the class means from a simplex; 0 means that they form one.",
    "nc2_orthogonal_frame": "Distance of the class means from an orthogonal frame; 0 means that "
    "they form one.",
    "nc3": "Distance of the probe's weights from the class means; 0 means that they agree.",
    "nc4_disagreement": "On {share} of the tested rows the probe and the nearest class mean "
    "disagree.",
    "cdnv": "Spread of two classes over the squared distance of their means; under 1 they stand "
    "apart.",
    "cdnv[directional]": _DIRECTIONAL,
    "cdnv[directional_normalised]": _DIRECTIONAL,
    "ncc_accuracy": "{share} of the rows are nearest to the mean of their own class.",
    "silhouette": _silhouette,
}
"""Metric or metric[definition] -> a text with words of `_Words` in braces, or a function."""
