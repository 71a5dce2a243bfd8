"""Differences between two checkpoints: which rows are the same, and what changed by how much."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.identifiers import Ids
from cl_analyze.data.labels import Labels
from cl_analyze.similarity_groups import negative_rank
from cl_analyze.stats import Interval, PairedDifference, difference, holm
from cl_analyze.tables import Record

Index = NDArray[np.int64]

NOT_MEASURED = frozenset(
    {"uniformity_of_uniform_law", "hyperspherical_energy_reference", "dcl_nscl_gap_bound"}
)
"""References in closed form, which no two checkpoints differ in by chance."""
_OF_NEGATIVES = frozenset(
    {
        "penalty_entropy",
        "penalty_effective_negatives",
        "penalty_top1_share",
        "penalty_top10_share",
        "loss",
        "loss_uniformity",
        "a_infonce_effective_negatives",
    }
)
DEPENDS_ON_DIMENSIONS = _OF_NEGATIVES | {
    "uniformity",
    "uniformity_wasserstein",
    "hyperspherical_energy",
    "mean_cosine",
    "near_duplicate_share",
}
"""Metrics whose value on evenly spread rows changes with the dimensions."""
DEPENDS_ON_ROWS = _OF_NEGATIVES | {
    "recall_at_k",
    "median_rank",
    "hubness_skewness",
    "hubness_robin_hood",
    "antihub_share",
    "near_duplicate_share",
    "numerical_rank",
}
"""Metrics whose value on one law changes with the number of rows."""
_COUNTS_ITSELF = frozenset({"v_stat", "micro_incl", "indicator"})
"""Definitions that pair a row with itself, which weighs more among few rows."""


@dataclass(frozen=True)
class RowKeys:
    """What tells whether the rows of two checkpoints are the same items.

    Attributes:
        n: number of rows.
        labels: SHA-256 of their classes in order, None where there are none.
        ids: (n,) what identifies each row, None where nothing does.
        kept: SHA-256 of which rows of the file they are; None: all.
    """

    n: int
    labels: str | None = None
    ids: Ids | None = None
    kept: str | None = None

    @classmethod
    def of(
        cls, n: int, labels: Labels | None, ids: Ids | None, kept: Index | None = None
    ) -> RowKeys:
        """The keys of a checkpoint's rows."""
        classes = None
        if labels is not None:
            names = "\x00".join(labels.names).encode("utf-8", "surrogateescape")
            classes = _digest(names, labels.codes)
        return cls(n, classes, ids, None if kept is None else _digest(b"", kept))


def _digest(start: bytes, numbers: Index) -> str:
    digest = hashlib.sha256(start)
    digest.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Match:
    """Which rows of two checkpoints are the same items.

    Attributes:
        order: (n,) the other's row for each of one's; None: rows cannot be matched.
        text: how they were matched, or why not.
        same_n: whether both have as many rows.
    """

    order: Index | None
    text: str
    same_n: bool = True

    @property
    def moves_rows(self) -> bool:
        """Whether rows are matched in another order."""
        return self.order is not None and not np.array_equal(self.order, np.arange(len(self.order)))


def match_rows(one: RowKeys, other: RowKeys) -> Match:
    """By ids where both have them, in any order; else by position where n and labels agree.

    >>> match_rows(RowKeys(3), RowKeys(2)).text
    'unpaired: 3 and 2 rows, and no ids to match them by'
    """
    same_n = one.n == other.n
    if one.ids is not None and other.ids is not None:
        there = np.argsort(other.ids, kind="stable")
        place = np.searchsorted(other.ids[there], one.ids).clip(max=other.n - 1)
        order = there[place]
        common = int((other.ids[order] == one.ids).sum())
        if common == one.n == other.n:
            return Match(order.astype(np.int64), f"paired: {one.n} rows matched by their ids")
        why = f"unpaired: {common} ids in common, of {one.n} and {other.n} rows"
        return Match(None, f"{why}; give both the same items to pair them", same_n)
    if not same_n:
        why = f"unpaired: {one.n} and {other.n} rows, and no ids to match them by"
        return Match(None, why, False)
    if one.kept != other.kept:
        return Match(None, "unpaired: other rows were dropped, and there are no ids to match by")
    if one.labels != other.labels:
        why = "labels differ" if one.labels and other.labels else "only one has labels"
        why += ", so rows are not taken for the same items; ids of both would match them"
        return Match(None, f"unpaired: {why}")
    seen = " (n and labels agree)" if one.labels else " (n agrees; there are no labels to check)"
    return Match(np.arange(one.n), f"paired: {one.n} rows matched by position{seen}")


def not_comparable(one: Record, other: Record, same_n: bool) -> str | None:
    """Why a number of two checkpoints cannot be compared; None where it can.

    Args:
        one, other: the number of each.
        same_n: whether both have as many rows.
    """
    nearest = negative_rank(one.params.get("group")) is not None
    if one.d != other.d and (nearest or one.metric in DEPENDS_ON_DIMENSIONS):
        instead = ": uniformity_gap does not" if one.metric == "uniformity" else ""
        return f"it depends on the dimensions, {one.d} and {other.d} here{instead}"
    if same_n:
        return None
    if nearest or one.metric in DEPENDS_ON_ROWS or one.definition in _COUNTS_ITSELF:
        return "it depends on the number of rows, which differs"
    return None


Identity = tuple[str, str | None, tuple[tuple[str, Any], ...]]


def identity(record: Record) -> Identity:
    """What makes records of two checkpoints the same number: metric, definition, parameters."""
    return record.metric, record.definition, tuple(sorted(record.params.items()))


def params_text(record: Record) -> str:
    """Parameters as JSON, keys in order, as cells of a table have them."""
    return json.dumps(record.params, sort_keys=True)


@dataclass(frozen=True)
class Difference:
    """One number of two checkpoints.

    Attributes:
        one, other: their records.
        found: one minus other, with its error.
        p_holm: adjusted over the table it stands in.
    """

    one: Record
    other: Record
    found: PairedDifference
    p_holm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A row of compare.csv; `params` as a dictionary."""
        return {
            "metric": self.one.metric,
            "definition": self.one.definition,
            "params": self.one.params,
            "source_a": self.one.source,
            "source_b": self.other.source,
            "difference": self.found.value,
            "std_error": self.found.std_error,
            "low": self.found.low,
            "high": self.found.high,
            "p_holm": self.p_holm,
            "paired": self.found.paired,
        }


COLUMNS = (
    "metric",
    "definition",
    "params",
    "source_a",
    "source_b",
    "difference",
    "std_error",
    "low",
    "high",
    "p_holm",
    "paired",
)


def record_difference(
    one: Record,
    other: Record,
    order: Index | None,
    groups: Index | None = None,
    confidence: float = 0.95,
    factor: float = 1.0,
    sample: Index | None = None,
) -> PairedDifference:
    """one - factor * other, paired where both have pseudo-values and the rows are matched.

    Args:
        one, other: records with a value.
        order: the other's row for each of one's; None: unpaired, the variances add.
        groups: of one's rows that belong together.
        confidence: of the interval.
        factor: what the other is multiplied with.
        sample: the only rows of one for which pseudo-values are used (their error is scaled to
            all rows); None: all.
    """
    mine, theirs = one.pseudo_values, other.pseudo_values
    if (
        order is None
        or mine is None
        or theirs is None
        or len(order) != len(mine)
        or len(theirs) <= order.max()
    ):
        mine = theirs = None
    share, noise = 1.0, None
    if mine is not None and theirs is not None and order is not None:
        theirs = factor * theirs[order]
        noise = np.zeros(len(mine)) if one.pseudo_noise is None else one.pseudo_noise
        if other.pseudo_noise is not None:
            noise = noise - factor * other.pseudo_noise[order]
        if sample is not None:
            share = len(sample) / len(mine)
            mine, theirs, noise = mine[sample], theirs[sample], noise[sample]
            groups = None if groups is None else groups[sample]
    sampling = [each for each in (one.sampling_error, other.sampling_error) if each]
    other_error = other.total_error
    return difference(
        float(one.value or 0.0),
        factor * float(other.value or 0.0),
        mine,
        theirs,
        (one.total_error, None if other_error is None else abs(factor) * other_error),
        groups,
        confidence,
        share,
        math.hypot(*sampling),
        noise,
        (error_units(one, groups), other.n),
        _intervals_of_shares(one, other, factor, confidence),
    )


def _intervals_of_shares(
    one: Record, other: Record, factor: float, confidence: float
) -> tuple[Interval, Interval] | None:
    """The intervals of two shares, the other's times a factor; None for other numbers."""
    of_one, of_other = one.interval_at(confidence), other.interval_at(confidence)
    if of_one is None or of_other is None:
        return None
    low, high = sorted(factor * end for end in of_other)
    return of_one, (low, high)


def error_units(record: Record, groups: Index | None) -> int:
    """Rows, or groups of them, that a number's error comes from."""
    return record.n if groups is None else min(len(np.unique(groups)), record.n)


def differences(
    ones: Iterable[Record],
    others: Iterable[Record],
    match: Match,
    groups: Index | None = None,
    confidence: float = 0.95,
) -> Iterator[Difference]:
    """Every number that both have and that can be compared; p-values are not adjusted yet.

    References in closed form are left out.
    What depends on the dimensions is left out where these differ, and what depends on the number
    of rows where that does.
    """
    theirs = {identity(record): record for record in others}
    for record in ones:
        other = theirs.get(identity(record))
        if other is None or record.value is None or other.value is None:
            continue
        if record.metric in NOT_MEASURED:
            continue
        if not_comparable(record, other, match.same_n) is not None:
            continue
        found = record_difference(record, other, match.order, groups, confidence)
        yield Difference(record, other, found)


SIGNIFICANT = 0.05


def is_real(p_holm: object) -> bool:
    """Whether an adjusted p-value is of a difference beyond noise."""
    return isinstance(p_holm, float) and p_holm < SIGNIFICANT


def adjusted(found: Iterable[Difference]) -> list[Difference]:
    """The same with p-values adjusted by Holm's method over all of them."""
    listed = list(found)
    p_values = holm([each.found.p_value for each in listed])
    return [
        Difference(each.one, each.other, each.found, p_value)
        for each, p_value in zip(listed, p_values, strict=True)
    ]
