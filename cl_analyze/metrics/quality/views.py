"""Two views or towers: alignment, retrieval (recall@k, median rank), the modality gap.

References: Wang & Isola, ICML 2020 (alignment); Liang, Zhang, Kwon, Yeung & Zou, NeurIPS 2022 (the
modality gap).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.means import woodruff
from cl_analyze.metrics.metric import K, Metric, Parameter
from cl_analyze.metrics.positives import view_pairs
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.jackknife import Deletions, mean_deletions
from cl_analyze.metrics.quality.rows import FormRows, Vector
from cl_analyze.pairs.reducers import ColumnPartnerRanks, PartnerRanks
from cl_analyze.results.tables import Record

TIE = 1e-12
"""Cosines nearer than this are equal: float64 products of the same numbers differ by less."""

DIRECTION = Parameter("direction")
POWER = Parameter("power", "alignment_power")
ALIGNMENT = Metric(
    "alignment",
    "squared_distance",
    "mean of ‖u − v‖^power over positives.",
    formulas=("mean ‖u_i − v_i‖^power (`--alignment-power`, 2)",),
    parameters=(POWER,),
    better="lower",
    needs="views",
    source="Wang & Isola 2020.",
)
RECALL = Metric(
    "recall_at_k",
    "share",
    "share of rows whose partner is among the k nearest of the other view.",
    formulas=(
        "rows whose partner is among the k nearest of the other view; `forward` view 1 → view "
        "2, `backward` the other way",
    ),
    parameters=(
        K,
        DIRECTION,
    ),
    better="higher",
    depends_on=("rows",),
    needs="views",
)
MEDIAN_RANK = Metric(
    "median_rank",
    "count",
    "median rank of the partner in the other view.",
    formulas=("of the partner, 1 is first",),
    parameters=(DIRECTION,),
    better="lower",
    depends_on=("rows",),
    needs="views",
)
GAP = Metric(
    "modality_gap",
    "none",
    "distance between the views' mean rows.",
    formulas=("‖mean u − mean v‖",),
    better="lower",
    needs="views",
    source="Liang et al. 2022.",
)
GAP_RESIDUAL = Metric(
    "modality_gap_residual",
    "squared_distance",
    "mean squared distance of partners once the gap is taken off.",
    formulas=(
        "mean squared distance of partners once each view is centred: `alignment` = gap² + "
        "residual",
    ),
    needs="views",
)
METRICS = (ALIGNMENT, RECALL, MEDIAN_RANK, GAP, GAP_RESIDUAL)


def recall_at(ranks: Vector, k: int) -> Vector:
    """Recall@k: (...) chance that a row's partner is among its k nearest, ties in random order.

    Args:
        ranks: (..., 2) others that are nearer than the partner, and others as near.
        k: how many count.

    >>> recall_at(np.array([[0.0, 0.0], [0.0, 3.0], [2.0, 0.0]]), 1).tolist()
    [1.0, 0.25, 0.0]
    """
    nearer, level = ranks[..., 0], ranks[..., 1]
    return np.asarray(np.clip((k - nearer) / (level + 1.0), 0.0, 1.0))


def expected_ranks(ranks: Vector) -> Vector:
    """(...) rank of the partner from 1, ties in random order."""
    return np.asarray(1.0 + ranks[..., 0] + 0.5 * ranks[..., 1])


def modality_gap(first: UnitRows, second: UnitRows) -> tuple[Deletions, Deletions]:
    """The modality gap and the residual when each side is centred, in two passes over the rows.

    Returns:
        |mean u - mean v|, and the mean of |(u - mean u) - (v - mean v)|^2;
        alignment = gap^2 + residual.
    """
    n, dim = first.n_rows, first.dim
    sides = FormRows("normalised", first), FormRows("normalised", second)

    def differences() -> Iterator[tuple[slice, Vector]]:
        for (span, u), (_, v) in zip(
            *(side.blocks(block_rows(dim)) for side in sides), strict=True
        ):
            yield span, u - v

    total, squares, along = np.zeros(dim), np.empty(n), np.empty(n)
    for _, block in differences():
        total += block.sum(axis=0)
    gap = total / n
    for span, block in differences():
        left = block - gap
        squares[span] = np.square(left).sum(axis=1)
        along[span] = left @ gap
    size = float(gap @ gap)
    # without row i the mean is gap - left_i / (N - 1)
    less = size - 2.0 * along / (n - 1) + squares / (n - 1) ** 2
    residual = float(squares.mean())
    # sum of squares about the mean of the others
    residual_less = (squares.sum() - squares * n / (n - 1)) / (n - 1)
    gaps = Deletions(size**0.5, np.sqrt(np.maximum(less, 0.0)))
    return gaps, Deletions(residual, residual_less)


def pair_distances(context: Context) -> Vector:
    """(N,) mean over each row's positive pairs of the distance to the power of alignment."""
    positives = context.results.positives
    assert positives is not None
    return positives.row_means(positives.distance ** (0.5 * context.options.alignment_power))


def view_records(context: Context) -> Iterator[Record]:
    """Alignment, recall@k and median rank in both directions, the modality gap."""
    views = context.subject.views
    assert views is not None
    power = context.options.alignment_power
    alignment = ALIGNMENT if power == 2 else replace(ALIGNMENT, unit="none")
    yield context.averaged(alignment.at(power=power), context.once(pair_distances))
    ranks = _partner_ranks(context)
    for direction, counts in ranks.items():
        for k in context.options.ks:
            few = k >= context.subject.n
            recalls = recall_at(counts, k).mean(axis=1)
            values = np.full(len(counts), np.nan) if few else recalls
            reason = f"needs more than {k} rows" if few else FEW_ANCHORS
            yield context.averaged(RECALL.at(k=k, direction=direction), values, reason=reason)
    for direction, counts in ranks.items():
        yield _median_rank(context, expected_ranks(counts), direction)
    gaps = [modality_gap(views[a], views[b]) for a, b in view_pairs(len(views))]
    for metric, deletions in zip((GAP, GAP_RESIDUAL), zip(*gaps, strict=True), strict=True):
        yield context.jackknifed(metric, mean_deletions(deletions))


def _partner_ranks(context: Context) -> dict[str, Vector]:
    """(n, pairs of views, 2) ranks of the partners, forward and backward, see `_ranks_between`."""
    views, positives = context.subject.views, context.results.positives
    assert views is not None
    assert positives is not None
    pairs = view_pairs(len(views))
    cosines = positives.similarity.reshape(-1, len(pairs))
    context.runner.announce("retrieval between the views")
    found = [
        _ranks_between(context, views[a], views[b], np.ascontiguousarray(cosines[:, at]), at)
        for at, (a, b) in enumerate(pairs)
    ]
    return {
        direction: np.stack([ranks[direction] for ranks in found], axis=1)
        for direction in ("forward", "backward")
    }


def _ranks_between(
    context: Context, u: UnitRows, v: UnitRows, cosines: Vector, at: int
) -> dict[str, Vector]:
    """(n, 2) ranks of the partners among the rows of v (forward), and back.

    Args:
        context: the checkpoint.
        u, v: two views.
        cosines: (N,) cosine of each row with its partner.
        at: number of the pair of views.
    """
    name = "retrieval" if at == 0 else f"retrieval {at}"
    rows, cols = PartnerRanks(TIE, "all", cosines), ColumnPartnerRanks(TIE, "all", cosines)
    run = context.runner.between
    if not context.anchors.is_sample:
        ranks = run((rows, cols), u, v, name, dtype=np.float64)
        return {"forward": ranks[rows], "backward": ranks[cols]}
    some = context.anchors.rows
    return {
        "forward": run((rows,), u, v, name, chosen=some, dtype=np.float64)[rows],
        "backward": run((rows,), v, u, f"{name} back", chosen=some, dtype=np.float64)[rows],
    }


def _median_rank(context: Context, ranks: Vector, direction: str) -> Record:
    """The median over rows and pairs of views, with Woodruff's errors."""
    middle = float(np.median(ranks))
    is_below = (ranks <= middle).astype(np.float64).mean(axis=1)
    record = context.averaged(MEDIAN_RANK.at(direction=direction), is_below)
    if record.value is None:
        return record

    def quantile(share: float) -> float:
        return float(np.quantile(ranks, share))

    # where many ranks equal the median, the share below it is not a half
    half = 0.5 / math.sqrt(len(ranks))
    error = None if record.std_error is None else max(record.std_error, half)
    return replace(
        record,
        value=middle,
        std_error=woodruff(quantile, 0.5, error),
        sampling_error=woodruff(quantile, 0.5, record.sampling_error),
        pseudo_values=None,
    )


def view_notes(context: Context) -> Iterator[str]:
    """A note on the metrics that look at one of two files alone."""
    if context.subject.partners is not None:
        yield (
            f"{context.subject.source}: spectrum, hubs and class structure are of this file alone; "
            "run quality on the partners' file to see its own"
        )
