"""Neural collapse (NC1, NC2), CDNV, nearest class centre (NCC) accuracy and silhouette.

NC3 and NC4 need a classifier and stand beside the probe.

References: Papyan, Han & Donoho, PNAS 2020 (NC1 - NC4); Galanti, Gyorgy & Hutter, ICLR 2022
(CDNV); Kini, Vakilian, Behnia, Gill & Thrampoulidis, ICLR 2024 (orthogonal frames); Rousseeuw,
J. Comput. Appl. Math. 1987 (silhouette).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.quality import classes
from cl_analyze.metrics.quality.classes import Structure, structures
from cl_analyze.metrics.quality.context import Context, in_every_definition
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.rows import FORMS, Matrix, Vector
from cl_analyze.results.tables import Record

_BY_CENTRE = ("raw", "raw_balanced", "normalised", "normalised_balanced")
"""About the mean row, or about the mean of the class means (balanced)."""
NCC_ACCURACY = Metric(
    "ncc_accuracy",
    "accuracy",
    "share of rows whose nearest class mean is that of their own class.",
    definitions=FORMS,
    formulas=("share of rows nearest to the mean of their own class, taken without the row",),
    better="higher",
    needs="labels",
    title="nearest class mean",
)
SILHOUETTE = Metric(
    "silhouette",
    "none",
    "mean silhouette with mean squared distances, from class sums: of unit rows "
    "(class_sum) or of rows as saved (class_sum_raw).",
    definitions=("class_sum", "class_sum_raw"),
    formulas=(
        "(b − a)/max(a, b) from mean squared Euclidean distances, computed from class sums; "
        "`class_sum` on unit rows, `class_sum_raw` on saved ones",
    ),
    better="higher",
    needs="labels",
)


def trace_ratio(structure: Structure, definition: str) -> float:
    """NC1 without directions: variance within classes over the mean square of class means."""
    counts, means = structure.geometry.counts, _means(structure, definition)
    within = float((structure.variances * counts).sum() / counts.sum())
    return within / float(np.square(means).sum(axis=1).mean())


def equinorm(means: Matrix) -> float | None:
    """NC2: standard deviation over mean of the norms of (C, D) means; None where these are 0."""
    norms = np.sqrt(np.square(means).sum(axis=1))
    return float(norms.std() / norms.mean()) if norms.mean() > 0 else None


def mean_cosines(means: Matrix, floor: float) -> Vector | None:
    """Cosines of all ordered pairs of (C, D) means; None where a squared norm is under a floor."""
    norms = np.sqrt(np.square(means).sum(axis=1))
    if not norms.min() > math.sqrt(floor):
        return None
    gram = (means / norms[:, None]) @ (means / norms[:, None]).T
    return np.asarray(gram[~np.eye(len(gram), dtype=bool)])


def frame_distance(means: Matrix, ideal: Matrix) -> float | None:
    """NC2: distance of the Gram matrix of (C, D) means from an ideal, both of Frobenius norm 1."""
    size = math.sqrt(float(np.square(means).sum()))
    if size == 0:
        return None
    gram = (means / size) @ (means / size).T
    gram /= np.linalg.norm(gram)
    return float(np.linalg.norm(gram - ideal))


def simplex_frame(means: Matrix) -> float | None:
    """NC2: distance of (C, D) means about their centre from a simplex (an equiangular frame)."""
    n = len(means)
    return frame_distance(means, (np.eye(n) - 1.0 / n) / math.sqrt(n - 1))


def orthogonal_frame(means: Matrix) -> float | None:
    """NC2: distance of uncentred (C, D) means from orthogonal ones of one norm."""
    n = len(means)
    return frame_distance(means, np.eye(n) / math.sqrt(n))


def pair_cdnv(structure: Structure) -> Matrix:
    """(C, C) (V_c + V_c') / (2 |mu_c - mu_c'|^2), infinite where means agree; 0 on the diagonal."""
    v = structure.variances
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (v[:, None] + v[None, :]) / (2.0 * structure.geometry.distances)
    ratios = np.where(np.isnan(ratios), np.inf, ratios)
    np.fill_diagonal(ratios, 0.0)
    return np.asarray(ratios)


def cdnv(structure: Structure) -> float:
    """CDNV (class-distance normalised variance): mean over pairs; infinite where means agree."""
    n = structure.geometry.n_classes
    return float(pair_cdnv(structure).sum() / (n * (n - 1)))


def directional_cdnv(structure: Structure) -> float:
    """Mean over ordered pairs of the variance along the line to the other mean, over its square."""
    assert structure.along is not None
    off = ~np.eye(structure.geometry.n_classes, dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = structure.along[off] / structure.geometry.distances[off] ** 2
    return float(np.where(np.isnan(ratio), np.inf, ratio).mean())


# ---- records


def _means(structure: Structure, definition: str) -> Matrix:
    """(C, D) class means less the mean row, or less their own mean."""
    means = structure.geometry.means
    return means - means.mean(axis=0) if definition.endswith("balanced") else means


def _of_means(read: Callable[[Matrix], float | None]) -> Callable[[Structure, str], float | None]:
    return lambda structure, definition: read(_means(structure, definition))


def _nc1(structure: Structure, definition: str) -> float | None:
    ratios = structure.within_over_between
    return None if ratios is None else ratios[definition.endswith("balanced")]


def _of_cosines(read: Callable[[Vector, int], float]) -> Callable[[Structure, str], float | None]:
    def value(structure: Structure, definition: str) -> float | None:
        cosines = mean_cosines(_means(structure, definition), structure.geometry.floor)
        return None if cosines is None else float(read(cosines, structure.geometry.n_classes))

    return value


def _cdnv(structure: Structure, definition: str) -> float:
    return (directional_cdnv if definition.startswith("directional") else cdnv)(structure)


def _orthogonal_frame(structure: Structure, definition: str) -> float | None:
    return orthogonal_frame(structure.geometry.means + structure.geometry.centre)


_CDNVS = ("standard", "directional", "standard_normalised", "directional_normalised")
_READ: dict[Metric, Callable[[Structure, str], float | None]] = {
    Metric(
        "nc1",
        "ratio",
        "tr(Σ_W Σ_B⁺) / C: spread within classes relative to the spread between classes.",
        definitions=_BY_CENTRE,
        formulas=("tr(Σ_W Σ_B⁺)/C, the null space of Σ_B left out",),
        better="lower",
        needs="labels",
        source="Papyan et al. 2020.",
        title="NC1",
    ): _nc1,
    Metric(
        "nc1_trace_ratio",
        "ratio",
        "tr Σ_W / tr Σ_B: total variance within classes over total variance between classes.",
        definitions=_BY_CENTRE,
        formulas=("tr Σ_W / tr Σ_B",),
        better="lower",
        needs="labels",
        title="NC1 trace ratio",
    ): trace_ratio,
    Metric(
        "nc2_equinorm",
        "ratio",
        "coefficient of variation of the class means' norms.",
        definitions=_BY_CENTRE,
        formulas=("std/mean of the norms of centred class means",),
        better="lower",
        needs="labels",
        title="NC2 equinorm",
    ): _of_means(equinorm),
    Metric(
        "nc2_equiangular",
        "none",
        "standard deviation of the cosines of class means.",
        definitions=_BY_CENTRE,
        formulas=("std of the cosines between centred class means",),
        better="lower",
        needs="labels",
        title="NC2 equiangular",
    ): _of_cosines(lambda cosines, n_classes: cosines.std()),
    Metric(
        "nc2_maximal_angle",
        "none",
        "mean distance of the cosines of class means from −1 / (C − 1).",
        definitions=_BY_CENTRE,
        formulas=("mean \\|cos + 1/(C − 1)\\| over pairs of centred class means",),
        better="lower",
        needs="labels",
        title="NC2 maximal angle",
    ): _of_cosines(lambda cosines, n_classes: np.abs(cosines + 1.0 / (n_classes - 1)).mean()),
    Metric(
        "nc2_etf",
        "none",
        "distance of the class means' Gram matrix from a simplex frame's.",
        definitions=_BY_CENTRE,
        formulas=(
            "‖G/‖G‖ − (I − 11ᵀ/C)/√(C − 1)‖_F, G the Gram matrix of the centred class means: "
            "distance from a simplex",
        ),
        better="lower",
        needs="labels",
        title="NC2 ETF",
    ): _of_means(simplex_frame),
    Metric(
        "nc2_orthogonal_frame",
        "none",
        "distance of the class means' Gram matrix from an orthogonal frame's.",
        definitions=FORMS,
        formulas=(
            "‖G₀/‖G₀‖ − I/√C‖_F, G₀ the Gram matrix of the uncentred class means; a simplex has "
            "√(2 − 2√((C − 1)/C))",
        ),
        better="lower",
        needs="labels",
        title="NC2 orthogonal frame",
    ): _orthogonal_frame,
    Metric(
        "cdnv",
        "ratio",
        "variances of two classes, added, divided by twice the squared distance of their means, "
        "averaged over pairs of classes; directional: the variance along the line between the "
        "means, divided by their squared distance.",
        definitions=_CDNVS,
        formulas=(
            "mean over pairs of classes of (V_c + V_c′)/(2‖μ_c − μ_c′‖²); `directional`: the "
            "variance along μ_c′ − μ_c over ‖μ_c′ − μ_c‖², over ordered pairs, without ½",
        ),
        better="lower",
        needs="labels",
        source="Galanti et al. 2022.",
        title="CDNV",
    ): _cdnv,
}
"""Metric -> the function that reads the value of a definition; None where it is degenerate."""
METRICS = (*_READ, NCC_ACCURACY, SILHOUETTE)
_OF_SPREAD = ("nc1", "nc1_trace_ratio", "cdnv")
_WITHOUT_PAIRS = ("nc1", "nc1_trace_ratio", "ncc_accuracy", "silhouette")
_DEGENERATE = {
    "cdnv": "the means of two classes do not differ by more than rounding",
    "nc2_equiangular": "a class mean lies on the centre, so it has no direction",
    "nc2_maximal_angle": "a class mean lies on the centre, so it has no direction",
}


def _read(metric: Metric, structure: Structure) -> float | None:
    geometry = structure.geometry
    agree = bool(geometry.mean_norms.max() <= geometry.floor)
    if agree and metric.name != "nc2_orthogonal_frame":
        return None
    return _READ[metric](structure, str(metric.definition))


def _reason(metric: Metric, structure: Structure) -> str:
    """Why the metric is not computed; empty where it is."""
    geometry = structure.geometry
    if geometry.n_classes < 2:
        return "needs two classes"
    if metric.name in _OF_SPREAD and geometry.counts.max() < 2:
        return "no class has two members"
    if not geometry.are_few and metric.name not in _WITHOUT_PAIRS:
        most = classes.MOST_CLASSES
        return f"needs every pair of classes: {geometry.n_classes}, at most {most}"
    return ""


def collapse_records(context: Context) -> Iterator[Record]:
    """NC1, NC2, CDNV, nearest class centre, silhouette, each in every definition."""
    by_form, codes = context.once(structures), context.codes
    labelled = codes >= 0
    for metric in in_every_definition(METRICS):
        definition = str(metric.definition)
        on_sphere = "normalised" in definition or definition == "class_sum"
        of_form = by_form["normalised" if on_sphere else "raw"]
        structure = of_form.whole
        reason = _reason(metric, structure)
        if reason:
            yield context.recorded(metric, None, reason=reason)
        elif metric == NCC_ACCURACY:
            right = np.where(labelled, structure.nearest == codes, np.nan)
            yield context.averaged(metric, right)
        elif metric == SILHOUETTE:
            effects = [structure.silhouette_effects]
            yield context.averaged(metric, structure.silhouettes, effects)
        else:
            value = _read(metric, structure)
            error = jackknife_error([_read(metric, less) for less in of_form.without])
            why = _DEGENERATE.get(metric.name, "class means do not differ by more than rounding")
            yield context.recorded(metric, value, error, n=int(labelled.sum()), reason=why)
