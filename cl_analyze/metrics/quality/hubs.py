"""Hubness: how unevenly rows are among the k nearest neighbours of other rows.

References: Radovanovic, Nanopoulos & Ivanovic, JMLR 2010 (hubness); Feldbauer, Rattei & Flexer,
JOSS 2020 (Robin Hood index, antihubs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from cl_analyze.metrics.metric import K, Metric
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.rows import Index, Vector
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.results.stats import effective_rows
from cl_analyze.results.tables import Record, Table

HUB_K = 10
"""The k that hubness is usually given for."""
HUB_NEIGHBOURS = 30
"""Neighbours that are kept, so that some are left when a group of rows is deleted."""
MOST_LISTED = 50
"""Hubs that are listed."""

METRICS = (
    Metric(
        "hubness_skewness",
        "none",
        "skewness of how often rows are among the k nearest of others.",
        formulas=(
            "skewness of N_k over the rows; N_k is the number of rows that have this row among "
            "their k nearest; k = 10 and those of `--k`",
        ),
        parameters=(K,),
        better="lower",
        depends_on=("rows",),
    ),
    Metric(
        "hubness_robin_hood",
        "share",
        "share of neighbour places that other rows would have to take for every row to be a "
        "neighbour equally often.",
        formulas=(
            "½ Σ\\|N_k − k\\| / Σ N_k: share of neighbour places to move until every row has N_k "
            "= k",
        ),
        parameters=(K,),
        better="lower",
        depends_on=("rows",),
        title="hubness Robin Hood",
    ),
    Metric(
        "antihub_share",
        "share",
        "share of rows that are nobody's neighbour.",
        formulas=("share of rows with N_k = 0",),
        parameters=(K,),
        better="lower",
        depends_on=("rows",),
    ),
)


@dataclass(frozen=True)
class Hubness:
    """How unevenly rows are others' neighbours.

    Attributes:
        in_degree: (N,) N_k, how many rows have a row among their k nearest.
        hubness_skewness: of N_k (biased); None where all are equal.
        hubness_robin_hood: share of neighbour slots to move until all rows have k.
        antihub_share: share of the rows that are nobody's neighbour.
    """

    in_degree: Index
    hubness_skewness: float | None
    hubness_robin_hood: float
    antihub_share: float

    @classmethod
    def of(cls, degree: Index, k: int) -> Hubness:
        """Hubness from the in-degrees of the k-nearest-neighbour graph."""
        left = degree - float(k)
        variance = float((left**2).mean())
        return cls(
            degree,
            float((left**3).mean()) / variance**1.5 if variance > 0 else None,
            float(0.5 * float(np.abs(left).sum()) / degree.sum()),
            float((degree == 0).mean()),
        )


def hubness(neighbours: Neighbours, k: int) -> Hubness:
    """Hubness of the k-nearest-neighbour graph of all rows (self left out)."""
    nearest = neighbours.indices[:, :k].ravel()
    return Hubness.of(np.bincount(nearest, minlength=len(neighbours.indices)), k)


def hubness_without(neighbours: Neighbours, k: int, groups: Index) -> list[Hubness]:
    """Hubness without each group of rows: neighbours that are left move up.

    Args:
        neighbours: (N, more than k).
        k: of the graph.
        groups: (N,) codes.

    Returns:
        One for each group; empty where a row has too few neighbours left.
    """
    spare = neighbours.indices[:, : 2 * k + 20]
    results = []
    for group in np.unique(groups):
        left = groups != group
        kept = left[spare] & (spare >= 0)
        rank = np.cumsum(kept, axis=1)
        if rank[left, -1].min(initial=k) < k:
            return []
        chosen = spare[left][(kept & (rank <= k))[left]]
        results.append(Hubness.of(np.bincount(chosen, minlength=len(groups))[left], k))
    return results


def hubs_by_k(context: Context) -> dict[int, Hubness | str]:
    """Hubness at 10 neighbours and at every k asked for, or the reason why there is none."""
    n = context.subject.n
    results: dict[int, Hubness | str] = {}
    for k in (HUB_K, *context.options.ks):
        if context.anchors.is_sample:
            results[k] = "needs the neighbours of every row: run without --anchors"
        elif k > n - 1:
            results[k] = f"needs more than {k} rows"
        else:
            results[k] = hubness(context.near, k)
    return results


def hub_records(context: Context) -> Iterator[Record]:
    """Skewness, Robin Hood index and share of antihubs for each k."""
    for k, result in context.once(hubs_by_k).items():
        if isinstance(result, str):
            for metric in METRICS:
                yield context.recorded(metric.at(k=k), None, reason=result)
            continue
        others = hubness_without(context.near, k, context.deletion_groups)
        for metric in METRICS:
            value = getattr(result, metric.name)
            error = jackknife_error([getattr(other, metric.name) for other in others])
            reason = "every row is a neighbour equally often"
            record = context.recorded(metric.at(k=k), value, error, reason=reason)
            if metric.name == "antihub_share":
                is_antihub = (result.in_degree == 0).astype(np.float64)
                n = effective_rows(is_antihub, error, context.subject.groups)
                record = replace(record, effective_n=n)
            yield record


def _degrees(context: Context) -> Iterator[tuple[int, Index]]:
    """Each k, and the in-degrees of the rows, where there are some."""
    for k, result in context.once(hubs_by_k).items():
        if not isinstance(result, str):
            yield k, result.in_degree


def hub_table(context: Context) -> Table:
    """The largest hubs."""
    blocks = []
    for k, degree in _degrees(context):
        rows = np.argsort(-degree, kind="stable")[:MOST_LISTED]
        rows = rows[degree[rows] > 2 * k]
        names = context.class_names(rows)
        blocks.append(
            {
                "k": k,
                "row": rows,
                "class": names,
                "in_degree": degree[rows],
                "row_id": context.ids(rows),
            }
        )
    return context.table("hubs", *blocks)


def degree_table(context: Context) -> Table:
    """The histogram of in-degrees beside that of neighbours drawn at random."""
    blocks = []
    for k, degree in _degrees(context):
        edges = _degree_edges(int(degree.max()))
        blocks.append(
            {
                "k": k,
                "in_degree_from": edges[:-1],
                "in_degree_to": edges[1:] - 1,
                "rows": np.histogram(degree, edges)[0],
                "rows_if_random": len(degree) * np.diff(_degrees_below(edges, k, len(degree))),
            }
        )
    return context.table("hubness_histogram", *blocks)


def _degrees_below(edges: Index, k: int, n_rows: int) -> Vector:
    """Chance of an in-degree under each edge, were every row's k neighbours drawn at random."""
    from scipy.special import bdtr

    n = n_rows - 1
    below = [0.0 if edge == 0 else bdtr(min(edge - 1, n), n, k / n) for edge in edges]
    return np.array(below, dtype=np.float64)


def _degree_edges(largest: int) -> Index:
    """Left edges of about fifty bins of whole numbers, 0 in a bin of its own.

    >>> _degree_edges(3).tolist()
    [0, 1, 2, 3, 4]
    """
    step = max(1, math.ceil(largest / 50))
    return np.concatenate([[0], np.arange(1, largest + step + 1, step)]).astype(np.int64)
