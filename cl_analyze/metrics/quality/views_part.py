"""Records of two views: alignment, recall in both directions, median rank, the modality gap."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import paired
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.means import woodruff
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.views import TIE, expected_ranks, modality_gap, recall_at
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import ColumnPartnerRanks, PartnerRanks
from cl_analyze.tables import Record

Vector = NDArray[np.float64]


def retrieval_reducers(partners: Vector) -> tuple[PartnerRanks, ColumnPartnerRanks]:
    """What finds the partners' ranks in both directions."""
    return PartnerRanks(TIE, "all", partners), ColumnPartnerRanks(TIE, "all", partners)


def view_parts(context: Context) -> tuple[list[Record], Vector]:
    """The records, and (N,) distances of the pairs to the power of alignment."""
    subject = context.subject
    assert subject.views is not None
    cosines, distances = paired(*subject.views)
    power = context.options.alignment_power
    apart = distances ** (0.5 * power)
    records = [
        context.mean(
            "alignment",
            apart,
            "squared_distance" if power == 2 else "none",
            params={"power": power},
        )
    ]
    records += _retrieval(context, cosines)
    gap = modality_gap(*subject.views)
    records.append(
        context.with_deletions("modality_gap", gap.distance, gap.distance_without, "none")
    )
    records.append(
        context.with_deletions(
            "modality_gap_residual", gap.residual, gap.residual_without, "squared_distance"
        )
    )
    return records, apart


def _retrieval(context: Context, cosines: Vector) -> list[Record]:
    """Recall at k and the median rank, view 1 -> view 2 (forward) and back."""
    subject, anchors = context.subject, context.anchors
    assert subject.views is not None
    context.runner.announce("retrieval between the views")
    u, v = subject.views
    run = context.runner.between
    rows, cols = retrieval_reducers(cosines)
    if anchors is None:
        wanted: tuple[Reducer, ...] = (rows, cols)
        found = run(wanted, u, v, "retrieval", dtype=np.float64)
        ranks = {"forward": found[rows], "backward": found[cols]}
    else:
        some = anchors.rows
        ranks = {
            "forward": run((rows,), u, v, "retrieval", chosen=some, dtype=np.float64)[rows],
            "backward": run((rows,), v, u, "retrieval back", chosen=some, dtype=np.float64)[rows],
        }
    records: list[Record] = []
    for direction, counts in ranks.items():
        for k in context.options.ks:
            few = k >= subject.n
            records.append(
                context.mean(
                    "recall_at_k",
                    np.full(len(counts), np.nan) if few else recall_at(counts, k),
                    "share",
                    params={"k": k, "direction": direction},
                    anchors=anchors,
                    reason=f"needs more than {k} rows" if few else FEW_ANCHORS,
                )
            )
    for direction, counts in ranks.items():
        records.append(_median_rank(context, expected_ranks(counts), direction, anchors))
    return records


def _median_rank(
    context: Context, ranks: Vector, direction: str, anchors: Anchors | None
) -> Record:
    """The median, with Woodruff's errors."""
    middle = float(np.median(ranks))
    record = context.mean(
        "median_rank",
        (ranks <= middle).astype(np.float64),
        "count",
        params={"direction": direction},
        anchors=anchors,
    )
    if record.value is None:
        return record

    def at(share: float) -> float:
        return float(np.quantile(ranks, share))

    # where many ranks equal the median, the share below it is not a half
    half = 0.5 / math.sqrt(len(ranks))
    error = None if record.std_error is None else max(record.std_error, half)
    return replace(
        record,
        value=middle,
        std_error=woodruff(at, 0.5, error),
        sampling_error=woodruff(at, 0.5, record.sampling_error),
        pseudo_values=None,
    )
