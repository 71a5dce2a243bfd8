"""Losses of three or more views: the mean over all pairs of views, with errors by rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.family import FamilyResult
from cl_analyze.results.stats import standard_error
from cl_analyze.results.tables import Cell, Record, Table

Vector = NDArray[np.float64]


def mean_over_views(
    results: Sequence[FamilyResult], groups: NDArray[np.int64] | None
) -> FamilyResult:
    """The mean of the results of several pairs of views.

    Args:
        results: of every pair of views, with the same tables.
        groups: (N,) codes of rows that belong together.
    """
    by_name: dict[tuple[str, ...], list[Record]] = {}
    for record in (record for one in results for record in one.records):
        by_name.setdefault((record.full_name, record.unit), []).append(record)
    tables = zip(*(one.tables for one in results), strict=True)
    return FamilyResult(
        tuple(
            _mean_record(of_pairs, groups)
            for of_pairs in by_name.values()
            if len(of_pairs) == len(results) or of_pairs[0].value is None
        ),
        tuple(_mean_table(of_pairs) for of_pairs in tables),
        tuple(dict.fromkeys(note for one in results for note in one.notes)),
    )


def _mean_record(records: Sequence[Record], groups: NDArray[np.int64] | None) -> Record:
    """The mean of a number over the pairs of views; without a value where one pair has none.

    The standard error is the mean one, less what the pairs of views average out: the error of the
    mean of the rows' pseudo-values over the mean of their errors.  Where pseudo-values are unknown,
    errors are taken to move together.
    """
    missing = next((record for record in records if record.value is None), None)
    if missing is not None:
        return missing
    errors = [record.std_error for record in records if record.std_error is not None]
    sampling = [r.sampling_error for r in records if r.sampling_error is not None]
    pseudo, noise = (
        _mean_vector([getattr(record, name) for record in records])
        for name in ("pseudo_values", "pseudo_noise")
    )
    std_error = float(np.mean(errors)) if len(errors) == len(records) else None
    if std_error and pseudo is not None:
        each = [standard_error(record.pseudo_values, groups) or 0.0 for record in records]
        together = standard_error(pseudo, groups) or 0.0
        if sum(each):
            std_error *= together * len(each) / sum(each)
    return replace(
        records[0],
        value=float(np.mean([record.value for record in records])),
        std_error=std_error,
        sampling_error=float(np.mean(sampling)) if sampling else None,
        n=min(record.n for record in records),
        pseudo_values=pseudo,
        pseudo_noise=noise,
    )


def _mean_vector(vectors: Sequence[Vector | None]) -> Vector | None:
    known = [vector for vector in vectors if vector is not None]
    if not known or len(known) < len(vectors):
        return None
    mean: Vector = np.mean(known, axis=0)
    return mean


def _mean_table(tables: Sequence[Table]) -> Table:
    """Rows with the same words and settings, with the mean of their numbers.

    The gradients of a pair of views have rows only for the bins where the pair has negatives: a row
    that a pair lacks counts as zeros.
    """
    measured = _MEASURED[tables[0].name]
    rows: dict[tuple[Cell, ...], list[dict[str, Cell]]] = {}
    for table in tables:
        for row in table.rows:
            key = tuple(row[name] for name in table.columns if name not in measured)
            rows.setdefault(key, []).append(row)
    listed = [
        {
            **own[0],
            **{name: _mean_cell([row[name] for row in own], len(tables)) for name in measured},
        }
        for own in rows.values()
    ]
    if tables[0].name == "loss_gradient":
        listed.sort(key=_gradient_order(tables[0], listed))
    return replace(tables[0], rows=tuple(listed))


_MEASURED = {
    "loss_limits": ("loss", "small_tau", "large_tau"),
    "loss_gradient_totals": ("positive", "negatives"),
    "loss_gradient": ("gradient_share", "negative_fraction"),
    "loss_batch": ("loss", "std_error", "sampling_error", "normalised", "limit", "converged"),
}
"""Tables of the losses -> the columns that are averaged; the others tell rows apart."""


def _mean_cell(cells: Sequence[Cell], n: int) -> Cell:
    numbers: list[Any] = [cell for cell in cells if cell is not None]
    if len(numbers) < len(cells):
        return None
    return all(numbers) if isinstance(numbers[0], bool) else float(sum(numbers)) / n


def _gradient_order(table: Table, rows: Sequence[dict[str, Cell]]) -> Any:
    """Curves in their order, each by similarity."""
    curves = list(dict.fromkeys((row["name"], row["definition"], row["tau"]) for row in rows))
    place = {curve: position for position, curve in enumerate(curves)}
    return lambda row: (place[row["name"], row["definition"], row["tau"]], row["similarity"])
