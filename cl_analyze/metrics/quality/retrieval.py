"""Retrieval: partners of the other view, relevant items, or rows of the same class.

Candidates are ordered by cosine, ties as chance; see `pairs/ranking.py` for the measures.
Definitions: `pairs`, where every row has one partner in another view; `relevant`, where
`--relevant` says which items belong to a query; `same_class`, where the other rows of the class are
relevant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from cl_analyze.data.relevance import Relevance
from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.anchor_values import AnchorValues
from cl_analyze.metrics.anchors import Anchors, draw_anchors
from cl_analyze.metrics.class_ranks import MOST_RELEVANT, ClassRanking, class_ranks
from cl_analyze.metrics.means import Number, mean_with_effects, woodruff
from cl_analyze.metrics.metric import K, Metric, Parameter
from cl_analyze.metrics.positives import view_pairs
from cl_analyze.metrics.quality.context import FEW_ANCHORS, Context
from cl_analyze.metrics.quality.rows import Index, Vector
from cl_analyze.metrics.runner import ANCHOR_BYTES
from cl_analyze.pairs.engine import LeftOut
from cl_analyze.pairs.positive_ranks import PositiveRanks, RankedPositives
from cl_analyze.pairs.ranking import TIE, Ranking
from cl_analyze.pairs.reducers import ColumnPartnerRanks, PartnerRanks
from cl_analyze.results.tables import Record

_PAIRS_AT_ONCE = 1 << 14
DIRECTION = Parameter("direction")
_OF_PARTNERS = ("pairs", "relevant")
_EVERY = (*_OF_PARTNERS, "same_class")
_WAYS = "`forward` view 1 → view 2 or EMB → items, `backward` the other way"
RECALL = Metric(
    "recall_at_k",
    "share",
    "share of a query's relevant items (or of its one partner) among the k nearest.",
    _OF_PARTNERS,
    (
        f"share of rows whose partner is among the k nearest of the other view; {_WAYS}",
        "relevant items among the k nearest, divided by all relevant items",
    ),
    (K, DIRECTION),
    better="higher",
    depends_on=("rows",),
    needs="views",
    title="recall",
)
HIT_RATE = Metric(
    "hit_rate_at_k",
    "share",
    "share of queries with a relevant item among the k nearest.",
    _OF_PARTNERS,
    (
        "as `recall_at_k`: every query has one item",
        "share of queries with a relevant item among the k nearest",
    ),
    (K, DIRECTION),
    better="higher",
    depends_on=("rows",),
    needs="views",
    title="hit rate",
)
NDCG = Metric(
    "ndcg_at_k",
    "ratio",
    "discounted cumulative gain of the k nearest, divided by the gain of the best order.",
    _OF_PARTNERS,
    (
        "1 / log2(1 + rank) up to rank k",
        "sum of g / log2(1 + rank) up to rank k, divided by this sum for the best order; g the "
        "grades",
    ),
    (K, DIRECTION),
    better="higher",
    depends_on=("rows",),
    needs="views",
    source="Järvelin & Kekäläinen 2002.",
    title="nDCG",
)
MRR = Metric(
    "mrr",
    "ratio",
    "mean reciprocal rank of the first relevant item.",
    _EVERY,
    (
        "1 / rank of the partner",
        "1 / rank of the first relevant item",
        "1 / rank of the first row of the class",
    ),
    (DIRECTION,),
    better="higher",
    depends_on=("rows",),
    needs="views or labels",
    title="MRR",
)
MAP_AT_R = Metric(
    "map_at_r",
    "ratio",
    "mean average precision at R, the number of relevant items.",
    _EVERY,
    (
        "1 where the partner is nearest",
        "(1/R) Σ over i ≤ R of the precision at i where item i is relevant; R relevant items",
        "as `relevant`; R other rows of the class",
    ),
    (DIRECTION,),
    better="higher",
    depends_on=("rows",),
    needs="views or labels",
    source="Musgrave et al. 2020.",
    title="MAP@R",
)
R_PRECISION = Metric(
    "r_precision",
    "share",
    "share of relevant items among the R nearest, R the number of relevant items.",
    _EVERY,
    (
        "1 where the partner is nearest",
        "share of relevant items among the R nearest; R relevant items",
        "as `relevant`; R other rows of the class",
    ),
    (DIRECTION,),
    better="higher",
    depends_on=("rows",),
    needs="views or labels",
    source="Musgrave et al. 2020.",
    title="R-precision",
)
MEDIAN_RANK = Metric(
    "median_rank",
    "count",
    "median rank of the first relevant item.",
    _OF_PARTNERS,
    ("median rank of the partner; 1 is first", "median rank of the first relevant item"),
    (DIRECTION,),
    better="lower",
    depends_on=("rows",),
    needs="views",
)
METRICS = (RECALL, HIT_RATE, NDCG, MRR, MAP_AT_R, R_PRECISION, MEDIAN_RANK)
_AT_K: tuple[tuple[Metric, Callable[[Ranking, int], Vector]], ...] = (
    (RECALL, Ranking.recall_at),
    (HIT_RATE, Ranking.hit_at),
    (NDCG, Ranking.ndcg_at),
)
_OF_ALL: tuple[tuple[Metric, Callable[[Ranking], Vector]], ...] = (
    (MRR, Ranking.reciprocal_rank),
    (MAP_AT_R, Ranking.map_at_r),
    (R_PRECISION, Ranking.r_precision),
)


def retrieval_records(context: Context) -> Iterator[Record]:
    """Retrieval between views, of relevant items, and within classes."""
    subject = context.subject
    if subject.views is not None:
        for direction, rankings in _between_views(context).items():
            yield from _records(context, "pairs", direction, rankings, subject.n)
    if (relevance := subject.relevance) is not None and subject.partners is not None:
        rows, items = subject.rows, subject.partners
        yield from _relevant_records(context, "forward", rows, items, relevance)
        yield from _relevant_records(context, "backward", items, rows, relevance.transposed())
    if subject.labels is not None:
        yield from _class_records(context)


def _records(
    context: Context,
    definition: str,
    direction: str,
    rankings: Sequence[Ranking],
    n_candidates: int,
    of: Anchors | None = None,
) -> Iterator[Record]:
    """Records of the mean over several rankings of the same queries.

    Args:
        context: the checkpoint.
        definition, direction: of the records.
        rankings: of the queries.
        n_candidates: how many rows are ranked.
        of: the queries, where they are not rows of the checkpoint.
    """
    at = {"direction": direction}
    for metric, measure in _AT_K:
        for k in context.options.ks:
            values = np.mean([measure(ranking, k) for ranking in rankings], axis=0)
            if k >= n_candidates:
                values = np.full(len(values), np.nan)
            few = f"needs more than {k} rows" if k >= n_candidates else FEW_ANCHORS
            yield context.averaged(metric.at(definition, k=k, **at), values, (), few, of)
    for metric, of_all in _OF_ALL:
        values = np.mean([of_all(ranking) for ranking in rankings], axis=0)
        yield context.averaged(metric.at(definition, **at), values, of=of)
    ranks = np.stack([ranking.first_rank() for ranking in rankings], axis=1)
    yield _median_rank(context, MEDIAN_RANK.at(definition, **at), ranks, of)


# ---- partners in another view


def _between_views(context: Context) -> dict[str, list[Ranking]]:
    """A ranking for each pair of views, forward and backward."""
    views, positives = context.subject.views, context.results.positives
    assert views is not None
    assert positives is not None
    pairs = view_pairs(len(views))
    cosines = positives.similarity.reshape(-1, len(pairs))
    context.runner.announce("retrieval between the views")
    found: dict[str, list[Ranking]] = {"forward": [], "backward": []}
    for at, (a, b) in enumerate(pairs):
        own = np.ascontiguousarray(cosines[:, at])
        for direction, ranks in _partner_ranks(context, views[a], views[b], own, at).items():
            n = len(ranks)
            found[direction].append(
                Ranking.of(np.arange(n), np.zeros(n), ranks[:, 0], ranks[:, 1], n)
            )
    return found


def _partner_ranks(
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


def _median_rank(context: Context, metric: Metric, ranks: Vector, of: Anchors | None) -> Record:
    """The median over rows and pairs of views, with Woodruff's errors."""
    known = ranks[np.isfinite(ranks)]
    if not len(known):
        return context.averaged(metric, ranks.mean(axis=1), of=of)
    middle = float(np.median(known))
    is_below = np.where(np.isfinite(ranks), (ranks <= middle).astype(np.float64), np.nan)
    record = context.averaged(metric, is_below.mean(axis=1), of=of)
    if record.value is None:
        return record

    def quantile(share: float) -> float:
        return float(np.quantile(known, share))

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


# ---- relevant items


def _relevant_records(
    context: Context, direction: str, rows: UnitRows, items: UnitRows, relevance: Relevance
) -> Iterator[Record]:
    """Retrieval of the relevant items of each query; errors are over queries, items are fixed.

    Args:
        context: the checkpoint.
        direction: `forward`: its rows are the queries; `backward`: the second file's rows are.
        rows, items: queries and candidates.
        relevance: relevant items of each query.
    """
    n_queries, options = relevance.n_queries, context.options
    chosen = np.arange(n_queries)
    n_anchors = options.anchors_of(n_queries)
    if n_anchors is not None:
        chosen = draw_anchors(n_queries, n_anchors, options.seed + 2)
    if direction == "forward":
        chosen = context.anchors.rows
    related = LeftOut(relevance.starts, relevance.items).of_rows(chosen)
    own = rows if len(chosen) == n_queries else rows.select(chosen, ANCHOR_BYTES)
    query = np.repeat(np.arange(len(chosen)), np.diff(related.starts))
    similarity = _similarities(own, items, query, related.columns)
    job = PositiveRanks(own, items, related.starts, similarity, related)
    context.runner.announce(f"retrieval of relevant items, {direction}")
    ranks: RankedPositives = context.runner.ranked(job, f"retrieval {direction}")
    places = LeftOut(relevance.starts, np.arange(len(relevance.items))).of_rows(chosen).columns
    ranking = Ranking.of(
        query, similarity, ranks.above, ranks.level, len(chosen), relevance.grades[places]
    )
    if direction == "forward":
        yield from _records(context, "relevant", direction, [ranking], items.n_rows)
        return
    anchors = Anchors.every(n_queries)
    if len(chosen) < n_queries:
        anchors = Anchors(chosen, n_queries)
    yield from _records(context, "relevant", direction, [ranking], items.n_rows, anchors)


def _similarities(rows: UnitRows, items: UnitRows, own: Index, columns: Index) -> Vector:
    """(P,) cosines of pairs of a row and an item."""
    values = np.empty(len(own))
    for start in range(0, len(own), _PAIRS_AT_ONCE):
        now = slice(start, start + _PAIRS_AT_ONCE)
        values[now] = rows.products(own[now], columns[now, None], items)[:, 0]
    return values


# ---- rows of the same class


def _class_records(context: Context) -> Iterator[Record]:
    """Rows of the query's class are relevant, itself left out; queries without any are left out."""
    ranks = context.results.once(class_ranks)
    measures = ranks.of_anchors("measures")
    reason = FEW_ANCHORS if ranks.anchors.is_sample else "no class has two members"
    for at, (metric, _) in enumerate(_OF_ALL):
        values = measures[:, at]
        mean = _mean_within_classes(context, ranks, values, at)
        yield context.of_mean(metric.at("same_class"), mean, values, ranks.anchors, reason)


def _mean_within_classes(
    context: Context, ranks: ClassRanking, values: Vector, measure: int
) -> Number | None:
    """The mean of a measure; a row acts on it as an anchor, and as a candidate of other anchors.

    An anchor that loses its only positive takes its value out of the mean.
    """
    subject, anchors = context.subject, ranks.anchors
    known = np.isfinite(values)
    if not known.any():
        return None
    if anchors.is_sample:
        effects = [
            (part.ranking[measure] - values[known].mean() * part.ranking[3])
            * (subject.n / len(half))
            for half, part in zip(ranks.halves, ranks.parts, strict=True)
        ]
        return mean_with_effects(
            values, values, effects, 0.0, subject.groups, anchors, interaction=False
        )
    (part,) = ranks.parts
    added, alone, noise = part.ranking[measure], part.ranking[3], part.ranking[4 + measure]
    of_rows = AnchorValues(values, -added, alone, -noise, float(part.squares[measure]))
    return of_rows.mean(subject.groups)


def retrieval_notes(context: Context) -> Iterator[str]:
    """A note where the rows of a class are ranked for a sample of anchors."""
    if context.subject.labels is None or context.anchors.is_sample:
        return
    anchors = context.results.once(class_ranks).anchors
    if anchors.is_sample:
        yield (
            f"{context.subject.source}: retrieval within classes is estimated from "
            f"{len(anchors.rows)} seeded anchors (above {context.options.exact_deletions} rows, or "
            f"{MOST_RELEVANT} rows of a class)"
        )
