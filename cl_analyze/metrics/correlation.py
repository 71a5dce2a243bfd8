"""Whether a headline number goes along with accuracy over the checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import permutations
from math import factorial

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.differences import largest_comparable
from cl_analyze.metrics.headlines import Headline, headlines
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Record, Table

Vector = NDArray[np.float64]

FEWEST = 4
"""Checkpoints from which on a correlation is told."""
ACCURACIES = ("knn_accuracy", "probe_accuracy", "recall_at_k")
"""Headline metrics that say what a representation is good for; high values are better."""
_MOST_EXACT = 8
"""Checkpoints up to which every permutation is looked at (40,320 of eight)."""
_QUANTILE = 1.959963984540054
_EQUAL = 1e-9

COLUMNS = columns_of("metric_correlation")


def metric_correlation(document: Document) -> Table | None:
    """The table `metric_correlation`: Spearman's rank correlation of each number with an accuracy.

    Checkpoints are the sample: `n` of them, and errors are over checkpoints, not over rows.
    Variants are left out, since they repeat their original.  Few checkpoints that come from one
    sweep tell little about others; the interval says how little.

    Returns:
        A row for each headline number and each accuracy (kNN, linear probe, recall) other than
        itself; None for fewer than four checkpoints, and without accuracies.
    """
    rows: list[dict[str, Cell]] = []
    listed = headlines(document)
    sources = [source for source in document.sources if not document.variants.get(source)]
    pairs = [
        (one, other)
        for j, other in enumerate(listed)
        if other.metric in ACCURACIES
        for i, one in enumerate(listed)
        if i != j and not (one.metric in ACCURACIES and i > j)
    ]
    for one, other in pairs if len(sources) >= FEWEST else ():
        found = _both(document, sources, one, other)
        if len(found) >= FEWEST:
            first, second = found[0]
            rows.append(_row(_number(one, first), _number(other, second), found))
    return Table("metric_correlation", COLUMNS, tuple(rows)) if rows else None


def _both(
    document: Document, sources: Sequence[str], one: Headline, other: Headline
) -> list[tuple[Record, ...]]:
    """Both numbers of each checkpoint, of the largest set that can be compared."""
    found = ((one.find(document, source), other.find(document, source)) for source in sources)
    known = [
        (a, b)
        for a, b in found
        if a is not None and b is not None and a.value is not None and b.value is not None
    ]
    return largest_comparable(known, document.n_rows)


def _number(headline: Headline, record: Record) -> tuple[Cell, Cell, Cell]:
    """Metric, definition and parameters; a `tau` of each checkpoint's own is "training"."""
    params = dict(record.params)
    if headline.at_training_temperature:
        params["tau"] = "training"
    return record.metric, record.definition, json.dumps(params, sort_keys=True)


def _row(
    one: tuple[Cell, Cell, Cell],
    other: tuple[Cell, Cell, Cell],
    found: Sequence[tuple[Record, ...]],
) -> dict[str, Cell]:
    x, y = (np.array([float(pair[i].value or 0.0) for pair in found]) for i in (0, 1))
    rho = spearman(x, y)
    low, high = (None, None) if rho is None else spearman_interval(rho, len(found))
    return {
        **dict(zip(COLUMNS, (*one, *other), strict=False)),
        "spearman": rho,
        "low": low,
        "high": high,
        "p": None if rho is None else spearman_p_value(x, y),
        "n": len(found),
    }


def _ranks(values: Vector) -> Vector:
    """Ranks less their mean; equal values share the mean of their ranks."""
    from scipy import stats

    ranks: Vector = np.asarray(stats.rankdata(values), dtype=np.float64)
    centred: Vector = ranks - ranks.mean()
    return centred


def spearman(x: Vector, y: Vector) -> float | None:
    """Spearman's rank correlation of (n,) values; None where all values of one side are equal.

    >>> spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 20.0, 40.0]))
    0.8
    """
    a, b = _ranks(x), _ranks(y)
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return None if norm == 0.0 else round(float(a @ b) / norm, 12)


def spearman_interval(rho: float, n: int) -> tuple[float, float]:
    """The 95% interval of a rank correlation, by Fisher's z.

    The variance of z is (1 + rho^2 / 2) / (n - 3).  At rho = 1 the interval would have no width,
    for few checkpoints too; there rho less one swap of two neighbours in rank, 12 / (n (n^2 - 1)),
    takes its place, and the end at 1 stays.

    Reference:
        Bonett & Wright, Psychometrika 2000.

    >>> [round(end, 2) for end in spearman_interval(0.8, 8)]
    [0.09, 0.97]
    """
    near = 1.0 - 12.0 / (n * (n * n - 1.0))
    inside = max(-near, min(rho, near))
    reach = _QUANTILE * math.sqrt((1.0 + inside * inside / 2.0) / (n - 3))
    z = math.atanh(inside)
    low, high = math.tanh(z - reach), math.tanh(z + reach)
    return (-1.0 if rho < -near else low), (1.0 if rho > near else high)


def spearman_p_value(x: Vector, y: Vector) -> float:
    """Two-sided p-value of no correlation: over all permutations up to n = 8, above by Student's t.

    The approximation takes t = rho sqrt((n - 2) / (1 - rho^2)) with n - 2 degrees of freedom.

    >>> spearman_p_value(np.arange(4.0), np.arange(4.0))    # 2 of 24 orders are as extreme
    0.08333333333333333
    """
    from scipy import special

    n = len(x)
    a, b = _ranks(x), _ranks(y)
    if n <= _MOST_EXACT:
        orders = np.array(list(permutations(range(n))))
        sums = np.abs(b[orders] @ a)
        return float((sums >= abs(float(a @ b)) - _EQUAL).sum()) / factorial(n)
    rho = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
    if 1.0 - abs(rho) < _EQUAL:
        return 2.0 / factorial(n)
    t = abs(rho) * math.sqrt((n - 2) / (1.0 - rho * rho))
    return 2.0 * float(special.stdtr(n - 2, -t))
