"""Records and tables of the class structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.quality.classes import (
    MOST_CLASSES,
    ClassGeometry,
    Structure,
    cdnv,
    class_geometry,
    class_structure,
    directional_cdnv,
    equiangular,
    equinorm,
    maximal_angle,
    orthogonal_frame,
    pair_cdnv,
    similarity_order,
    simplex_frame,
)
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.neighbours import class_mixing
from cl_analyze.metrics.quality.neighbours_part import Classified
from cl_analyze.metrics.quality.probe_part import Probed
from cl_analyze.metrics.quality.rows import FORMS
from cl_analyze.pairs.reducers import RowLogSumExp
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.tables import Cell, Record, Table, Unit

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

UNIFORMITY_T = 2.0
MOST_FOR_ERRORS = 100_000_000
"""Rows x dimensions x classes up to which neural collapse and CDNV have error bars."""
MIXING_K = 10
"""Neighbours behind the shares of other classes."""
MOST_IN_TABLES = 100
"""Classes up to which every pair is listed; of more, the pairs that overlap most."""
MOST_PAIRS = 1_000

CLASS_COLUMNS = (
    "source",
    "class",
    "n",
    "order",
    "tolerance",
    "uniformity",
    "variance",
    "silhouette",
    "ncc_accuracy",
    "knn_accuracy",
    "probe_accuracy",
    "probe_rows",
    "alignment",
    "closest_class",
    "closest_share",
)
PAIR_COLUMNS = (
    "source",
    "class_a",
    "class_b",
    "similarity",
    "cdnv",
    "neighbours_a_in_b",
    "neighbours_b_in_a",
)
_COMMON = ("raw", "raw_balanced", "normalised", "normalised_balanced")
DEFINITIONS: dict[str, tuple[str, ...]] = {
    "nc1": _COMMON,
    "nc1_trace_ratio": _COMMON,
    "nc2_equinorm": _COMMON,
    "nc2_equiangular": _COMMON,
    "nc2_maximal_angle": _COMMON,
    "nc2_etf": _COMMON,
    "nc2_orthogonal_frame": FORMS,
    "cdnv": ("standard", "directional", "standard_normalised", "directional_normalised"),
    "ncc_accuracy": FORMS,
    "silhouette": ("class_sum", "class_sum_raw"),
}


def same_class_potential() -> RowLogSumExp:
    """The reducer behind each class's own uniformity: exp(-t d2) = exp(-2t) exp(2t s)."""
    return RowLogSumExp(1.0 / (2.0 * UNIFORMITY_T), "same_class")


@dataclass(frozen=True)
class Structures:
    """Class structure of the rows as saved and on the sphere.

    Attributes:
        raw, normalised: of all labelled rows.
        without: form -> of the rows without each group of the jackknife; empty where that costs
            too much.
    """

    raw: Structure
    normalised: Structure
    without: dict[str, tuple[Structure, ...]]

    def of(self, form: str) -> Structure:
        """That of one form."""
        return self.raw if form == "raw" else self.normalised

    def error(self, form: str, read: Callable[[Structure], float | None]) -> float | None:
        """Jackknife error of a number that is read off a structure."""
        return jackknife_error([read(structure) for structure in self.without[form]])


def structures(context: Context) -> Structures:
    """Six passes over the rows of each form, and 4 for each group of the jackknife."""
    labels = context.subject.labels
    assert labels is not None
    codes, n_classes = labels.codes, len(labels.names)
    found = []
    without: dict[str, tuple[Structure, ...]] = {}
    cheap = context.subject.n * context.subject.d * n_classes <= MOST_FOR_ERRORS
    groups = context.deletion_groups
    for form in context.forms:
        context.runner.announce(f"class structure, {form.form} rows")
        found.append(class_structure(class_geometry(form, codes, n_classes)))
        less = []
        for group in np.unique(groups) if cheap else ():
            present, recoded = _present(np.where(groups == group, -1, codes))
            if present:
                less.append(class_structure(class_geometry(form, recoded, present), False))
        without[form.form] = tuple(less)
    return Structures(found[0], found[1], without)


def _present(codes: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """How many classes have rows, and codes of these alone."""
    there, recoded = np.unique(codes, return_inverse=True)
    n_unlabelled = int((there < 0).sum())
    return len(there) - n_unlabelled, (recoded - n_unlabelled).astype(np.int64)


def class_records(context: Context, found: Structures) -> list[Record]:
    """Neural collapse, CDNV, nearest class centre, silhouette."""
    codes = context.subject.codes
    assert codes is not None
    n_labelled = int((codes >= 0).sum())
    records: list[Record] = []
    for metric, definitions in DEFINITIONS.items():
        for definition in definitions:
            form = _form_of(definition)
            structure = found.of(form)
            n_classes = structure.geometry.n_classes
            reason = ""
            if n_classes < 2:
                reason = "needs two classes"
            elif metric in _OF_SPREAD and structure.geometry.counts.max() < 2:
                reason = "no class has two members"
            elif n_classes > MOST_CLASSES and metric not in ("nc1", "nc1_trace_ratio", *_BY_ROW):
                reason = f"needs every pair of classes: {n_classes}, at most {MOST_CLASSES}"
            if metric == "ncc_accuracy":
                right = np.where(codes >= 0, structure.nearest == codes, np.nan)
                values = np.full(len(codes), np.nan) if reason else right
                records.append(
                    context.mean(metric, values, "accuracy", definition=definition, reason=reason)
                )
            elif metric == "silhouette":
                values = np.full(len(codes), np.nan) if reason else structure.silhouettes
                records.append(
                    context.mean(
                        metric,
                        values,
                        "none",
                        definition=definition,
                        effects=[structure.silhouette_effects],
                        reason=reason,
                    )
                )
            else:
                value = error = None
                if not reason:
                    read = partial(_VALUES[metric], definition=definition)
                    value, reason = read(structure), _DEGENERATE.get(metric, _NO_SPREAD)
                    error = found.error(form, read)
                records.append(
                    context.record(
                        metric,
                        value,
                        _UNITS.get(metric, "none"),
                        definition=definition,
                        std_error=error,
                        reason=reason,
                        n=n_labelled,
                    )
                )
    return records


def _form_of(definition: str) -> str:
    """Which rows a definition is about."""
    on_sphere = "normalised" in definition or definition == "class_sum"
    return "normalised" if on_sphere else "raw"


_OF_SPREAD = ("nc1", "nc1_trace_ratio", "cdnv")
_NO_SPREAD = "class means do not differ by more than rounding"
_DEGENERATE = {
    "cdnv": "the means of two classes do not differ by more than rounding",
    "nc2_equiangular": "a class mean lies on the centre, so it has no direction",
    "nc2_maximal_angle": "a class mean lies on the centre, so it has no direction",
}
_BY_ROW = ("ncc_accuracy", "silhouette")
_UNITS: dict[str, Unit] = {
    "nc1": "ratio",
    "nc1_trace_ratio": "ratio",
    "nc2_equinorm": "ratio",
    "cdnv": "ratio",
}


def _centre(geometry: ClassGeometry, definition: str) -> Vector:
    """The mean row (0, as means are taken less it), or the mean of the class means."""
    if definition.endswith("balanced"):
        return np.asarray(geometry.means.mean(axis=0))
    return np.zeros(geometry.means.shape[1])


def _about(
    function: Callable[[ClassGeometry, Vector], float | None],
) -> Callable[[Structure, str], float | None]:
    def value(structure: Structure, definition: str) -> float | None:
        geometry = structure.geometry
        if _no_spread(structure):
            return None
        return function(geometry, _centre(geometry, definition))

    return value


def _no_spread(structure: Structure) -> bool:
    """Whether class means agree to rounding."""
    return bool(structure.geometry.mean_norms.max() <= structure.geometry.floor)


def _nc1(structure: Structure, definition: str) -> float | None:
    if structure.within_over_between is None or _no_spread(structure):
        return None
    return structure.within_over_between[definition.endswith("balanced")]


def _trace_ratio(structure: Structure, definition: str) -> float | None:
    geometry = structure.geometry
    if _no_spread(structure):
        return None
    within = float((structure.variances * geometry.counts).sum() / geometry.counts.sum())
    vectors = geometry.means - _centre(geometry, definition)
    return within / float(np.square(vectors).sum(axis=1).mean())


def _cdnv(structure: Structure, definition: str) -> float | None:
    if _no_spread(structure):
        return None
    return (directional_cdnv if definition.startswith("directional") else cdnv)(structure)


def _orthogonal(structure: Structure, definition: str) -> float | None:
    return orthogonal_frame(structure.geometry)


_VALUES: dict[str, Callable[..., float | None]] = {
    "nc1": _nc1,
    "nc1_trace_ratio": _trace_ratio,
    "nc2_equinorm": _about(equinorm),
    "nc2_equiangular": _about(equiangular),
    "nc2_maximal_angle": _about(maximal_angle),
    "nc2_etf": _about(simplex_frame),
    "nc2_orthogonal_frame": _orthogonal,
    "cdnv": _cdnv,
}


# ---- tables


def class_tables(
    context: Context,
    found: Structures,
    near: Neighbours,
    classified: Classified,
    probed: Probed | None,
    apart: Vector | None,
) -> tuple[Table, ...]:
    """One row for each class, and one for each pair of classes."""
    labels = context.subject.labels
    assert labels is not None
    geometry = found.normalised.geometry
    n_classes, counts = geometry.n_classes, geometry.counts
    similarity = overlap = mixing = None
    order = np.arange(n_classes)
    if 2 <= n_classes <= MOST_CLASSES:
        similarity = _class_similarity(geometry)
        overlap = pair_cdnv(found.normalised)
        k = min(MIXING_K, context.subject.n - 1)
        own = labels.codes[context.looked_at]
        mixing = class_mixing(near, labels.codes, own, n_classes, k)
        order = similarity_order(similarity)
    place = np.argsort(order)
    codes = labels.codes
    columns = {
        "tolerance": _tolerance(found.normalised),
        "uniformity": _uniformity(context, counts),
        "variance": found.normalised.variances,
        "silhouette": _class_means(found.normalised.silhouettes, codes, n_classes),
        "ncc_accuracy": _shares(found.normalised.nearest, codes, n_classes),
        "knn_accuracy": _knn_shares(context, classified, n_classes),
        "alignment": None if apart is None else _class_means(apart, codes, n_classes),
    }
    probe_accuracy, probe_rows = (None, None) if probed is None else probed.by_class(n_classes)
    rows: list[dict[str, Cell]] = []
    for c, name in enumerate(labels.names):
        row: dict[str, Cell] = {
            "source": context.subject.source,
            "class": name,
            "n": int(counts[c]),
            "order": int(place[c]) + 1,
        }
        for column, values in columns.items():
            row[column] = None if values is None else _cell(values[c])
        row["probe_accuracy"] = None if probe_accuracy is None else _cell(probe_accuracy[c])
        row["probe_rows"] = None if probe_rows is None else int(probe_rows[c])
        row["closest_class"] = row["closest_share"] = None
        if mixing is not None and similarity is not None:
            others = np.arange(n_classes) != c
            # of classes that share as many neighbours (none, as a rule) the most similar one
            closest = int(np.lexsort((similarity[c], mixing[c], others))[-1])
            row["closest_class"] = labels.names[closest]
            row["closest_share"] = float(mixing[c, closest])
        rows.append(row)
    tables = [Table("quality_by_class", CLASS_COLUMNS, tuple(rows))]
    if similarity is not None and overlap is not None and mixing is not None:
        tables.append(_pairs(context, similarity, overlap, mixing))
    return tuple(tables)


def _cell(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _class_similarity(geometry: ClassGeometry) -> Matrix:
    """(C, C) mean cosine of a row of one class with a row of the other, self pairs counted."""
    means = geometry.means + geometry.centre
    return np.asarray(means @ means.T)


def _tolerance(structure: Structure) -> Vector:
    """(C,) mean cosine of a class's pairs: 1 less its unbiased variance, for unit rows."""
    counts = structure.geometry.counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 1, 1.0 - structure.variances * counts / (counts - 1), np.nan)


def _uniformity(context: Context, counts: NDArray[np.int64]) -> Vector | None:
    """(C,) log mean Gaussian potential of each class's pairs at t = 2; None where estimated."""
    if context.anchors is not None:
        return None
    codes = context.subject.codes
    assert codes is not None
    logs = context.measured.first[same_class_potential()]
    peaks = np.full(len(counts), -np.inf)
    known = codes >= 0
    np.maximum.at(peaks, codes[known], logs[known])
    masses = np.zeros(len(counts))
    finite = known & np.isfinite(logs)
    np.add.at(masses, codes[finite], np.exp(logs[finite] - peaks[codes[finite]]))
    size = counts.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(masses) + peaks - np.log(size * (size - 1)) - 2.0 * UNIFORMITY_T
    return np.where(counts > 1, found, np.nan)


def _class_means(values: Vector, codes: NDArray[np.int64], n_classes: int) -> Vector:
    there = (codes >= 0) & np.isfinite(values)
    sums = np.bincount(codes[there], values[there], n_classes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums / np.bincount(codes[there], minlength=n_classes))


def _shares(predicted: NDArray[np.int64], codes: NDArray[np.int64], n_classes: int) -> Vector:
    """(C,) share of a class's rows that were classified right, of those that were at all."""
    right = np.where(predicted >= 0, (predicted == codes).astype(np.float64), np.nan)
    return _class_means(right, codes, n_classes)


def _knn_shares(context: Context, classified: Classified, n_classes: int) -> Vector | None:
    k, codes = classified.shown_k, context.subject.codes
    assert codes is not None
    return None if k is None else _shares(classified.predicted(len(codes), k), codes, n_classes)


def _pairs(context: Context, similarity: Matrix, overlap: Matrix, mixing: Matrix) -> Table:
    """Pairs of classes, those that share most neighbours first; then each class with itself."""
    subject = context.subject
    labels = subject.labels
    assert labels is not None
    n_classes = len(labels.names)
    first, second = np.triu_indices(n_classes)
    shared = mixing[first, second] + mixing[second, first]
    order = np.lexsort((second, first, -similarity[first, second], -shared, first == second))
    if n_classes > MOST_IN_TABLES:
        order = order[:MOST_PAIRS]
    rows: list[dict[str, Cell]] = []
    for a, b in zip(first[order], second[order], strict=True):
        rows.append(
            {
                "source": subject.source,
                "class_a": labels.names[a],
                "class_b": labels.names[b],
                "similarity": float(similarity[a, b]),
                "cdnv": None if a == b else _cell(overlap[a, b]),
                "neighbours_a_in_b": float(mixing[a, b]),
                "neighbours_b_in_a": float(mixing[b, a]),
            }
        )
    return Table("class_pairs", PAIR_COLUMNS, tuple(rows))
