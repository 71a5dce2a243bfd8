"""Records of norms, the mean cosine, near-duplicates, hubs, and the distance from uniformity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.geometry import (
    BINS,
    MeanCosine,
    deviation_without,
    wasserstein_from_histogram,
    wasserstein_slope,
)
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.neighbours import Hubness, hubness, hubness_without
from cl_analyze.metrics.subject import NEAR_DUPLICATE
from cl_analyze.pairs.reducers import BinSums, PairHistogram
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.stats import effective_rows, standard_error
from cl_analyze.tables import Cell, Record, Table

Vector = NDArray[np.float64]

HUB_K = 10
"""The k that hubness is usually given for."""
HUB_NEIGHBOURS = 30
"""Neighbours that are kept, so that some are left when a group of rows is deleted."""
LISTED = 50
"""Hubs, and pairs of near-duplicates, that are listed."""

HUB_COLUMNS = ("source", "k", "row", "class", "in_degree")
DEGREE_COLUMNS = ("source", "k", "in_degree_from", "in_degree_to", "rows", "rows_if_random")
NEAR_COLUMNS = ("source", "row", "other_row", "class", "other_class", "cosine")


def geometry_records(context: Context, cosine: MeanCosine, near: Neighbours) -> list[Record]:
    """Norms, mean cosine, near-duplicates, Wasserstein uniformity."""
    largest = context.largest_norm
    norms = context.norms / largest  # squares stay in range
    n = len(norms)
    without = (norms.sum() - norms) / (n - 1)
    of_norms = [
        context.with_deletions("norm_mean", float(norms.mean()), without, "none"),
        context.with_deletions("norm_std", float(norms.std()), deviation_without(norms), "none"),
    ]
    is_near = np.where(near.values[:, 0] > NEAR_DUPLICATE, 1.0, 0.0)
    return [
        *(_times(largest, record) for record in of_norms),
        context.with_deletions("mean_cosine", cosine.value, cosine.without, "cosine"),
        context.mean("near_duplicate_share", is_near, "share", anchors=context.anchors),
        _wasserstein(context),
    ]


def _times(scale: float, record: Record) -> Record:
    """A record in another unit of length."""
    if record.value is None:
        return record
    value, pseudo = scale * record.value, record.pseudo_values
    if not math.isfinite(value):
        return replace(record.bare(), value=None, std_error=None, reason="beyond float64's range")
    return replace(
        record,
        value=value,
        std_error=None if record.std_error is None else scale * record.std_error,
        pseudo_values=None if pseudo is None else scale * pseudo,
    )


def _wasserstein(context: Context) -> Record:
    """W1 from bins; its error from some anchors' rows."""
    subject, measured = context.subject, context.measured
    counts: NDArray[np.float64] = measured.first[PairHistogram(BINS)]
    value = wasserstein_from_histogram(counts, subject.d)
    slope = BinSums(BINS, wasserstein_slope(counts, subject.d))
    chosen = measured.curve_anchors
    found = context.runner.anchored([slope], chosen)[slope] / (subject.n - 1)
    if len(chosen) == subject.n:
        error = standard_error(2.0 * found, subject.groups)
    else:
        error = Anchors(chosen, subject.n).std_error(2.0 * found, groups=subject.groups)
    width = 2.0 / BINS
    n_looked_at = len(context.looked_at)
    sampling = width
    if context.anchors is not None and error is not None:
        remaining = 1.0 - n_looked_at / subject.n
        of_anchors = 0.5 * error * math.sqrt(subject.n / n_looked_at * remaining)
        sampling = math.hypot(width, of_anchors)
    record = context.record(
        "uniformity_wasserstein", value, "cosine", std_error=error, n=n_looked_at
    )
    return replace(record, sampling_error=sampling, exact=False)


def near_duplicate_table(context: Context, near: Neighbours) -> Table:
    """The nearest pairs of rows above a cosine of 1 - 1e-6, each pair once."""
    own = context.looked_at
    at = np.flatnonzero(near.values[:, 0] > NEAR_DUPLICATE)
    at = at[np.lexsort((own[at], -near.values[at, 0]))]
    rows: list[dict[str, Cell]] = []
    seen: set[tuple[int, int]] = set()
    for position in at:
        row, other = int(own[position]), int(near.indices[position, 0])
        pair = (min(row, other), max(row, other))
        if pair in seen:
            continue
        seen.add(pair)
        rows.append(
            {
                "source": context.subject.source,
                "row": pair[0],
                "other_row": pair[1],
                "class": class_of(context, pair[0]),
                "other_class": class_of(context, pair[1]),
                "cosine": float(near.values[position, 0]),
            }
        )
        if len(rows) == LISTED:
            break
    return Table("near_duplicates", NEAR_COLUMNS, tuple(rows))


def class_of(context: Context, row: int) -> str | None:
    """The name of a row's class; None where it has none."""
    labels = context.subject.labels
    if labels is None or labels.codes[row] < 0:
        return None
    return labels.names[int(labels.codes[row])]


_HUBNESS: dict[str, Callable[[Hubness], float | None]] = {
    "hubness_skewness": lambda found: found.skewness,
    "hubness_robin_hood": lambda found: found.robin_hood,
    "antihub_share": lambda found: found.antihub_share,
}


def hub_parts(context: Context, near: Neighbours) -> tuple[list[Record], tuple[Table, ...]]:
    """Hubness at 10 neighbours and at every k asked for; hubs; the histogram of in-degrees."""
    subject = context.subject
    records: list[Record] = []
    hubs: list[dict[str, Cell]] = []
    degrees: list[dict[str, Cell]] = []
    for k in dict.fromkeys((HUB_K, *context.options.ks)):
        reason = ""
        if context.anchors is not None:
            reason = "needs the neighbours of every row: run without --anchors"
        elif k > subject.n - 1:
            reason = f"needs more than {k} rows"
        found = None if reason else hubness(near, k)
        less = [] if found is None else hubness_without(near, k, context.deletion_groups)
        for metric, read in _HUBNESS.items():
            value = None if found is None else read(found)
            error = jackknife_error([read(each) for each in less])
            record = context.record(
                metric,
                value,
                "none" if metric == "hubness_skewness" else "share",
                params={"k": k},
                std_error=error,
                reason=reason or "every row is a neighbour equally often",
            )
            if metric == "antihub_share" and found is not None:
                is_antihub = (found.in_degree == 0).astype(np.float64)
                n = effective_rows(is_antihub, error, subject.groups)
                record = replace(record, effective_n=n)
            records.append(record)
        if found is None:
            continue
        degree = found.in_degree
        order = np.lexsort((np.arange(len(degree)), -degree))[:LISTED]
        for row in order[degree[order] > 2 * k]:
            hubs.append(
                {
                    "source": subject.source,
                    "k": k,
                    "row": int(row),
                    "class": class_of(context, int(row)),
                    "in_degree": int(degree[row]),
                }
            )
        edges = _degree_edges(int(degree.max()))
        counts = np.histogram(degree, edges)[0]
        random = len(degree) * np.diff(_degrees_below(edges, k, len(degree)))
        for low, high, count, law in zip(edges[:-1], edges[1:], counts, random, strict=True):
            degrees.append(
                {
                    "source": subject.source,
                    "k": k,
                    "in_degree_from": int(low),
                    "in_degree_to": int(high) - 1,
                    "rows": int(count),
                    "rows_if_random": float(law),
                }
            )
    return records, (
        Table("hubs", HUB_COLUMNS, tuple(hubs)),
        Table("hubness_histogram", DEGREE_COLUMNS, tuple(degrees)),
    )


def _degrees_below(edges: NDArray[np.int64], k: int, n_rows: int) -> Vector:
    """Chance of an in-degree under each edge, were every row's k neighbours drawn at random."""
    from scipy.special import bdtr

    n = n_rows - 1
    below = [0.0 if edge == 0 else bdtr(min(edge - 1, n), n, k / n) for edge in edges]
    return np.array(below, dtype=np.float64)


def _degree_edges(largest: int) -> NDArray[np.int64]:
    """Left edges of about fifty bins of whole numbers, 0 in a bin of its own.

    >>> _degree_edges(3).tolist()
    [0, 1, 2, 3, 4]
    """
    step = max(1, math.ceil(largest / 50))
    return np.concatenate([[0], np.arange(1, largest + step + 1, step)]).astype(np.int64)
