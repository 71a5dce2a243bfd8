"""Records and tables of the spectrum: its metrics, their jackknife errors, the verdict, a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.quality.collapse import verdict
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.geometry import MeanCosine
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.projection import project
from cl_analyze.metrics.quality.spectrum import (
    FEWEST_RANKS,
    POWER_LAW_RANKS,
    VERSIONS,
    WIDEST,
    Factors,
    effective_rank,
    factors,
    isoscore,
    nesum,
    participation_ratio,
    parts_of,
    power_law,
    rankme,
    rounding_floor,
)
from cl_analyze.tables import Cell, Param, Record, Table, Unit

Vector = NDArray[np.float64]

SPECTRUM_COLUMNS = (
    "source",
    "definition",
    "rank",
    "singular_value",
    "eigenvalue",
    "explained",
    "cumulative",
)
COLLAPSE_COLUMNS = (
    "source",
    "verdict",
    "possible_directions",
    "directions_above_rounding",
    "directions_for_99_percent",
    "effective_rank",
    "mean_cosine",
    "text",
)
PROJECTION_COLUMNS = ("source", "method", "row", "class", "x", "y", "explained_x", "explained_y")


def own_first(default: str) -> tuple[str, ...]:
    """The four versions of a spectrum with a metric's own convention in front."""
    return (default, *(version for version in VERSIONS if version != default))


CONVENTIONS: dict[str, str] = {
    "effective_rank": "raw",
    "rankme": "raw",
    "participation_ratio": "raw_centred",
    "nesum": "raw_centred",
    "stable_rank": "raw",
    "alpha_req": "raw_centred",
    "alpha_req_r_squared": "raw_centred",
    "isoscore": "raw_centred",
    "condition_number": "raw",
    "numerical_rank": "raw",
}
"""Metric -> the version of the spectrum that its authors use."""

DEFINITIONS = {metric: own_first(default) for metric, default in CONVENTIONS.items()}

_UNITS: dict[str, Unit] = {
    "alpha_req": "none",
    "alpha_req_r_squared": "none",
    "isoscore": "none",
    "condition_number": "ratio",
}


@dataclass(frozen=True)
class Spectra:
    """The four spectra of one checkpoint.

    Attributes:
        values: version -> (min(N, D),) singular values.
        floors: version -> values at or under it are rounding.
        without: version -> singular values without each jackknife group; empty where there are no
            errors.
        factors: of the normalised rows.
    """

    values: dict[str, Vector]
    floors: dict[str, float]
    without: dict[str, list[Vector]]
    factors: Factors


def spectra(context: Context) -> Spectra | None:
    """Two passes over the rows; None where both sides are too long."""
    n_rows, dim = context.subject.n, context.subject.d
    if min(n_rows, dim) > WIDEST:
        return None
    groups, errors = parts_of(n_rows, dim, context.deletion_groups)
    values, floors, without = {}, {}, {}
    for form in context.forms:
        context.runner.announce(f"spectrum, {form.form} rows")
        found = factors(form, groups, context.local)
        for centred in (False, True):
            version = f"{form.form}_centred" if centred else form.form
            values[version] = found.singular_values(centred)
            floors[version] = rounding_floor(
                values[form.form], n_rows, dim, context.subject.rows.stored_eps
            )
            without[version] = list(found.without_each_group(centred)) if errors else []
    return Spectra(values, floors, without, found)


def spectrum_records(context: Context, found: Spectra | None) -> list[Record]:
    """Every metric in every version, each metric's own convention first."""
    records: list[Record] = []
    for metric, definitions in DEFINITIONS.items():
        for version in definitions:
            params: dict[str, Param] = {}
            value = error = None
            reason = f"needs min(N, D) of at most {WIDEST}"
            if found is not None:
                read = _reader(metric, found, version, context)
                value, reason = read(found.values[version])
                if value is not None:
                    error = jackknife_error([read(v)[0] for v in found.without[version]])
                if metric.startswith("alpha_req") and value is not None:
                    law = power_law(found.values[version], found.floors[version])
                    assert law is not None
                    params = {"first_rank": law.first, "last_rank": law.last}
            records.append(
                context.record(
                    metric,
                    value,
                    _UNITS.get(metric, "dimensions"),
                    definition=version,
                    params=params,
                    std_error=error,
                    reason=reason,
                )
            )
    return records


def _reader(
    metric: str, found: Spectra, version: str, context: Context
) -> Callable[[Vector], tuple[float | None, str]]:
    """A function from singular values to the metric's value, or None and why."""
    floor, dim = found.floors[version], context.subject.d
    # rows about their mean span a direction less than there are rows
    lost = 1 if version.endswith("_centred") and found.factors.wide else 0

    def read(values: Vector) -> tuple[float | None, str]:
        if not len(values) or values[0] <= floor:
            return None, "rows do not differ by more than rounding"
        if metric == "numerical_rank":
            return float((values > floor).sum()), ""
        if metric == "condition_number":
            rank, possible = int((values > floor).sum()), len(values) - lost
            if rank < possible:
                return None, f"infinite: {possible - rank} of {possible} directions are empty"
            return float(values[0] / values[possible - 1]), ""
        if metric == "isoscore" and dim == 1:
            return None, "needs two dimensions"
        if metric == "isoscore":
            return isoscore(values, dim), ""
        if metric.startswith("alpha_req"):
            law = power_law(values, floor)
            if law is None:
                needed = POWER_LAW_RANKS[0] + FEWEST_RANKS - 1
                return None, f"needs {needed} directions above rounding"
            return (law.exponent if metric == "alpha_req" else law.r_squared), ""
        return _PLAIN[metric](values), ""

    return read


_PLAIN: dict[str, Callable[[Vector], float]] = {
    "effective_rank": effective_rank,
    "rankme": rankme,
    "participation_ratio": participation_ratio,
    "nesum": nesum,
    "stable_rank": nesum,
}


def spectrum_tables(
    context: Context, found: Spectra | None, cosine: MeanCosine
) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The spectra, the verdict on collapse, and a map of the rows; notes."""
    subject = context.subject
    tables = []
    if found is not None:
        rows: list[dict[str, Cell]] = []
        for version in VERSIONS:
            values = found.values[version]
            if not np.isfinite(values).all():  # norms beyond float64's range
                continue
            squares = (values / max(float(values[0]), 1e-300)) ** 2
            shares = squares / max(float(squares.sum()), 1e-300)
            freedom = subject.n - (1 if version.endswith("_centred") else 0)
            for rank, (value, share, cumulative) in enumerate(
                zip(values, shares, np.cumsum(shares), strict=True), 1
            ):
                rows.append(
                    {
                        "source": subject.source,
                        "definition": version,
                        "rank": rank,
                        "singular_value": float(value),
                        "eigenvalue": _square(float(value), freedom),
                        "explained": float(share),
                        "cumulative": float(min(cumulative, 1.0)),
                    }
                )
        tables.append(Table("spectrum", SPECTRUM_COLUMNS, tuple(rows)))
        judged = verdict(
            found.values["normalised_centred"],
            found.floors["normalised_centred"],
            subject.n,
            subject.d,
            cosine.value,
            None if subject.labels is None else int((subject.labels.counts > 0).sum()),
        )
        row: dict[str, Cell] = {
            "source": subject.source,
            "verdict": judged.level,
            "possible_directions": judged.possible,
            "directions_above_rounding": judged.rank,
            "directions_for_99_percent": judged.needed,
            "effective_rank": judged.effective_rank,
            "mean_cosine": judged.mean_cosine,
            "text": judged.text,
        }
        tables.append(Table("collapse", COLLAPSE_COLUMNS, (row,)))
    of_map, notes = _map(context, found)
    return (*tables, *of_map), notes


def _square(value: float, freedom: int) -> float | None:
    """An eigenvalue of the covariance; None where it has no place in a float."""
    found = value * (value / freedom)
    return found if math.isfinite(found) else None


def _map(context: Context, found: Spectra | None) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """Coordinates of some rows on the page, and a note where they are not by the method asked."""
    subject, method = context.subject, context.options.projection
    if method != "pca":
        context.runner.announce(f"projection by {method}")
    shown = project(
        method, context.forms[1], None if found is None else found.factors, context.options.seed
    )
    if shown is None:
        return (), ()
    notes: tuple[str, ...] = ()
    if shown.instead is not None:
        notes = (f"{subject.source}: rows are laid out by PCA, not {method}: {shown.instead}",)
    names = None if subject.labels is None else subject.labels.names
    codes = subject.codes
    rows: list[dict[str, Cell]] = []
    for at, (x, y) in zip(shown.rows, shown.points, strict=True):
        own = None if names is None or codes is None or codes[at] < 0 else names[codes[at]]
        rows.append(
            {
                "source": subject.source,
                "method": shown.method,
                "row": int(at),
                "class": own,
                "x": float(x),
                "y": float(y),
                "explained_x": None if shown.explained is None else shown.explained[0],
                "explained_y": None if shown.explained is None else shown.explained[1],
            }
        )
    return (Table("projection", PROJECTION_COLUMNS, tuple(rows)),), notes
