"""One plain sentence on what each number of `quality` means for this file."""

from __future__ import annotations

import math
from collections.abc import Callable

from cl_analyze.document import Document
from cl_analyze.report.words import companion, percent
from cl_analyze.tables import Record

Sentence = Callable[[Record, float, Document], str]


def _plain(text: str) -> Sentence:
    return lambda record, value, document: text


def _directions(record: Record, value: float, document: Document) -> str:
    return f"The rows fill about {value:.3g} of {record.d} directions."


def _rank(record: Record, value: float, document: Document) -> str:
    return f"{value:.0f} of {record.d} directions hold more than rounding."


def _stable_rank(record: Record, value: float, document: Document) -> str:
    return (
        f"The first direction holds {percent(1.0 / value)} of all squares; a small value is one "
        "direction that dominates."
    )


def _nesum(record: Record, value: float, document: Document) -> str:
    return f"The first direction holds {percent(1.0 / value)} of the variance."


def _alpha(record: Record, value: float, document: Document) -> str:
    fit = companion(record, document, "alpha_req_r_squared", record.definition, **record.params)
    text = f"Eigenvalues fall as rank^-{value:.2f}"
    if fit is not None:
        text += f" (R² {fit:.2f}{', a poor fit' if fit < 0.9 else ''})"
    return text + "; about 1 is called healthy, more is a heavy head."


def _isoscore(record: Record, value: float, document: Document) -> str:
    return "1 where the variance is the same in every direction, 0 where one direction holds all."


def _condition(record: Record, value: float, document: Document) -> str:
    return f"The widest direction is {value:.3g} times as wide as the narrowest."


def _mean_cosine(record: Record, value: float, document: Document) -> str:
    if record.total_error and abs(value) < 2 * record.total_error:
        return "Rows point no way in common."
    return f"Mean cosine of all pairs; 0 is balanced, 1 is one point ({percent(abs(value))} here)."


def _near(record: Record, value: float, document: Document) -> str:
    return f"{percent(value)} of the rows have another at cosine above 1 - 1e-6."


def _skewness(record: Record, value: float, document: Document) -> str:
    words = "no hubs to speak of" if value < 1 else "hubs" if value < 3 else "strong hubs"
    return f"Skewness of how often rows are {_among(record)} of others: {words}."


def _among(record: Record) -> str:
    k = record.params["k"]
    return "the nearest" if k == 1 else f"among the {k} nearest"


def _robin_hood(record: Record, value: float, document: Document) -> str:
    return f"{percent(value)} of all neighbour slots would have to move to be even."


def _antihub(record: Record, value: float, document: Document) -> str:
    return f"{percent(value)} of the rows are {_among(record)} of no row."


def _alignment(record: Record, value: float, document: Document) -> str:
    if record.params["power"] != 2:
        return "Mean distance of positives to that power; 0 is perfect."
    return f"Positives have a mean cosine of {1.0 - value / 2.0:.3f}; 0 would be perfect alignment."


def _recall(record: Record, value: float, document: Document) -> str:
    one, other = ("1", "2") if record.params["direction"] == "forward" else ("2", "1")
    k = record.params["k"]
    chance = float(k) / max(document.n_rows.get(record.source, 1), 1)
    return (
        f"For {percent(value)} of the rows of view {one} the partner is {_among(record)} of view "
        f"{other}; by chance {percent(min(chance, 1.0))}."
    )


def _median_rank(record: Record, value: float, document: Document) -> str:
    n = document.n_rows.get(record.source, 0)
    return f"Half of the partners are at this rank or better, of {n:,}."


def _gap(record: Record, value: float, document: Document) -> str:
    left = companion(record, document, "modality_gap_residual")
    if left is None:
        return "Distance between the mean rows of the two views."
    by_chance = math.sqrt(left / max(record.n, 1))
    if value < 2 * by_chance:
        return "The two views have the same mean, as far as so many rows can tell."
    share = value**2 / (value**2 + left) if value > 0 else 0.0
    return (
        f"The views' means are {value:.3g} apart: {percent(share)} of the mean squared distance of "
        "partners."
    )


def _gap_residual(record: Record, value: float, document: Document) -> str:
    return "Mean squared distance of partners that is left once each view is centred."


def _classes_of(record: Record, document: Document) -> int | None:
    rows = document.rows("quality_by_class", source=record.source)
    return len(rows) if rows else None


def _knn(record: Record, value: float, document: Document) -> str:
    classes = _classes_of(record, document)
    chance = f"; {classes} classes" if classes else ""
    reference = "the other rows" if record.definition == "leave_one_out" else "the training set"
    k = record.params["k"]
    voters = "the nearest" if k == 1 else f"the {k} nearest"
    return f"{percent(value)} of the rows get their class from {voters} of {reference}{chance}."


def _knn5(record: Record, value: float, document: Document) -> str:
    return f"For {percent(value)} the class is among the five with most votes."


def _probe(record: Record, value: float, document: Document) -> str:
    rows = document.rows("probe", source=record.source, definition=record.definition)
    how = f" ({rows[0]['split']})" if rows else ""
    return f"A linear classifier is right on {percent(value)} of {record.n} unseen rows{how}."


def _calibration(record: Record, value: float, document: Document) -> str:
    return f"The probe's confidence and its accuracy differ by {percent(value)} on average."


def _nc1(record: Record, value: float, document: Document) -> str:
    return "Spread within classes over spread between them; 0 is full neural collapse."


def _cdnv(record: Record, value: float, document: Document) -> str:
    if (record.definition or "").startswith("directional"):
        return "As CDNV, but only the spread towards the other class counts."
    return (
        "Spread of two classes over the squared distance of their means; under 1 they stand apart."
    )


def _ncc(record: Record, value: float, document: Document) -> str:
    return f"{percent(value)} of the rows are nearest to the mean of their own class."


def _silhouette(record: Record, value: float, document: Document) -> str:
    words = "apart" if value > 0.5 else "loosely grouped" if value > 0.1 else "overlapping"
    return f"Classes are {words}: 1 is compact and far apart, 0 is on the border."


QUALITY_SENTENCES: dict[str, Sentence] = {
    "effective_rank": _directions,
    "rankme": _directions,
    "participation_ratio": _directions,
    "numerical_rank": _rank,
    "nesum": _nesum,
    "stable_rank": _stable_rank,
    "alpha_req": _alpha,
    "alpha_req_r_squared": _plain("How well a power law fits these ranks; 1 is perfect."),
    "isoscore": _isoscore,
    "condition_number": _condition,
    "norm_mean": _plain("Mean norm of the rows as saved."),
    "norm_std": _plain("Spread of the norms; 0 where rows were saved normalised."),
    "mean_cosine": _mean_cosine,
    "near_duplicate_share": _near,
    "uniformity_wasserstein": _plain(
        "Mean distance of the cosines of all pairs from those of uniform points; 0 is uniform."
    ),
    "hubness_skewness": _skewness,
    "hubness_robin_hood": _robin_hood,
    "antihub_share": _antihub,
    "alignment": _alignment,
    "recall_at_k": _recall,
    "median_rank": _median_rank,
    "modality_gap": _gap,
    "modality_gap_residual": _gap_residual,
    "knn_accuracy": _knn,
    "knn_top5_accuracy": _knn5,
    "probe_accuracy": _probe,
    "probe_calibration_error": _calibration,
    "nc1": _nc1,
    "nc1_trace_ratio": _plain("As NC1 by traces: total spread within over total between."),
    "nc2_equinorm": _plain("Spread of the class means' norms over their mean; 0 is equal."),
    "nc2_equiangular": _plain("Spread of the cosines between class means; 0 is equal angles."),
    "nc2_maximal_angle": _plain("How far these cosines are from the least possible; 0 is there."),
    "nc2_etf": _plain("Distance of the class means from a simplex; 0 is one."),
    "nc2_orthogonal_frame": _plain("Distance of the class means from right angles; 0 is there."),
    "nc3": _plain("Distance of the probe's weights from the class means; 0 is the same."),
    "nc4_disagreement": _plain("How often the probe and the nearest class mean disagree."),
    "cdnv": _cdnv,
    "ncc_accuracy": _ncc,
    "silhouette": _silhouette,
}
