"""Differences of two checkpoints: the match of their rows, and the change of each number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.identifiers import Ids
from cl_analyze.data.labels import Labels
from cl_analyze.metrics import DECLARED
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.similarity_groups import negative_rank
from cl_analyze.results.stats import Estimate, PairedDifference, difference, holm
from cl_analyze.results.tables import Record

Index = NDArray[np.int64]


@dataclass(frozen=True)
class RowKeys:
    """The identity of a checkpoint's rows, to find the same items in another checkpoint.

    Attributes:
        n: number of rows.
        labels: SHA-256 of the classes of the rows in order; None without labels.
        ids: (n,) identifiers of the rows; None without identifiers.
        kept: SHA-256 of the indices of the rows in their file; None: all rows of the file.
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
            names = "\x00".join(labels.classes).encode("utf-8", "surrogateescape")
            classes = _digest(names, labels.codes)
        return cls(n, classes, ids, None if kept is None else _digest(b"", kept))


def _digest(start: bytes, numbers: Index) -> str:
    digest = hashlib.sha256(start)
    digest.update(np.ascontiguousarray(numbers, dtype="<i8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Match:
    """The match of the rows of two checkpoints.

    Attributes:
        order: (n,) for each row of the first checkpoint, the row of the second that is the same
            item; None: the rows cannot be matched.
        text: method of the match, or the reason why there is no match.
        same_n: whether both checkpoints have the same number of rows.
    """

    order: Index | None
    text: str
    same_n: bool = True

    @property
    def moves_rows(self) -> bool:
        """Whether the match changes the order of the rows."""
        return self.order is not None and not np.array_equal(self.order, np.arange(len(self.order)))


def match_rows(one: RowKeys, other: RowKeys) -> Match:
    """Match rows by ids in any order; without ids, by position where n and labels agree.

    >>> match_rows(RowKeys(3), RowKeys(2)).text
    'unpaired: 3 and 2 rows, and no ids to match them by'
    """
    same_n = one.n == other.n
    if one.ids is not None and other.ids is not None:
        by_id = np.argsort(other.ids, kind="stable")
        order = by_id[np.searchsorted(other.ids[by_id], one.ids).clip(max=other.n - 1)]
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
    checks = " (n and labels agree)" if one.labels else " (n agrees; there are no labels to check)"
    return Match(np.arange(one.n), f"paired: {one.n} rows matched by position{checks}")


def not_comparable(one: Record, other: Record, same_n: bool) -> str | None:
    """The reason why a number of two checkpoints cannot be compared; None where it can.

    Args:
        one, other: records of the number in both checkpoints.
        same_n: whether both checkpoints have the same number of rows.
    """
    metric = DECLARED[one.metric]
    depends_on = metric.depends_on
    if negative_rank(one.params.get("group")) is not None:
        depends_on = ("dimensions", "rows")
    if one.d != other.d and "dimensions" in depends_on:
        instead = ": uniformity_gap does not" if one.metric == "uniformity" else ""
        return f"it depends on the dimensions, {one.d} and {other.d} here{instead}"
    if same_n:
        return None
    if "rows" in depends_on or one.definition in metric.self_pairs:
        return "it depends on the number of rows, which differs"
    return None


def largest_comparable(
    found: Iterable[tuple[Record, ...]], n_rows: Mapping[str, int]
) -> list[tuple[Record, ...]]:
    """The largest set of checkpoints whose numbers can be compared; of equal ones the first.

    Args:
        found: the same numbers of each checkpoint.
        n_rows: source -> number of rows.
    """
    sets: list[list[tuple[Record, ...]]] = []
    for numbers in found:
        n = n_rows.get(numbers[0].source)
        for own in sets:
            same_n = n_rows.get(own[0][0].source) == n
            pairs = zip(numbers, own[0], strict=True)
            if all(not_comparable(one, other, same_n) is None for one, other in pairs):
                own.append(numbers)
                break
        else:
            sets.append([numbers])
    return max(sets, key=len, default=[])


Identity = tuple[str, str | None, tuple[tuple[str, Any], ...]]


def identity(record: Record) -> Identity:
    """Metric, definition and parameters; equal for records of the same number."""
    return record.metric, record.definition, tuple(sorted(record.params.items()))


def params_text(record: Record) -> str:
    """The parameters as JSON with sorted keys, for a cell of a table."""
    return json.dumps(record.params, sort_keys=True)


@dataclass(frozen=True)
class Difference:
    """The difference of one number between two checkpoints.

    Attributes:
        one, other: records of the number in both checkpoints.
        change: one minus other, with its error.
        p_holm: p-value with Holm's adjustment over the table of differences; None: not adjusted.
        p_headline: p-value of a headline number with Holm's adjustment over the checkpoints that
            are compared in this number; None: no headline number, or no p-value.
    """

    one: Record
    other: Record
    change: PairedDifference
    p_holm: float | None = None
    p_headline: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """A row of compare.csv, with `params` as a dictionary."""
        return {
            "metric": self.one.metric,
            "definition": self.one.definition,
            "params": self.one.params,
            "source_a": self.one.source,
            "source_b": self.other.source,
            "difference": self.change.value,
            "std_error": self.change.std_error,
            "low": self.change.low,
            "high": self.change.high,
            "p_holm": self.p_holm,
            "paired": self.change.paired,
            "p": self.change.p_value,
            "p_headline": self.p_headline,
        }


COLUMNS = columns_of("compare")


def record_difference(
    one: Record,
    other: Record,
    order: Index | None,
    groups: Index | None = None,
    confidence: float = 0.95,
    factor: float = 1.0,
    sample: Index | None = None,
    share: float = 1.0,
) -> PairedDifference:
    """one - factor * other, paired where both have pseudo-values and the rows are matched.

    Args:
        one, other: records with a value.
        order: for each row of `one`, the same item's row of `other`; None: unpaired, the variances
            add.
        groups: (N,) codes of the rows of `one` that belong together.
        confidence: confidence of the interval.
        factor: factor of the value of `other`.
        sample: rows of `one` whose pseudo-values are used, with the error scaled to all rows; None:
            all rows.
        share: part of all rows that the pseudo-values are of; the error is scaled to all rows.
    """
    pseudo_one, pseudo_other = one.pseudo_values, other.pseudo_values
    is_paired = (
        order is not None
        and pseudo_one is not None
        and pseudo_other is not None
        and len(order) == len(pseudo_one)
        and len(pseudo_other) > order.max()
    )
    units = error_units(one, groups)
    rows_of_other = order if is_paired else None
    rows_of_one: Index | slice | None = None if rows_of_other is None else slice(None)
    if rows_of_other is not None and sample is not None:
        share *= len(sample) / len(rows_of_other)
        rows_of_one, rows_of_other = sample, rows_of_other[sample]
        groups = None if groups is None else groups[sample]
    return difference(
        _estimate(one, rows_of_one, confidence, units),
        _estimate(other, rows_of_other, confidence, other.n, factor),
        groups,
        confidence,
        share if is_paired else 1.0,
    )


def _estimate(
    record: Record,
    rows: Index | slice | None,
    confidence: float,
    units: int,
    factor: float = 1.0,
) -> Estimate:
    """A record's value times a factor, with the pseudo-values of some rows (None: of no rows)."""
    interval = record.interval_at(confidence)
    if interval is not None and factor < 0:
        interval = interval[::-1]
    return Estimate(
        value=factor * float(record.value or 0.0),
        error=None if record.total_error is None else abs(factor) * record.total_error,
        sampling=record.sampling_error or 0.0,
        units=units,
        interval=None if interval is None else (factor * interval[0], factor * interval[1]),
        **{
            field: factor * values[rows]
            for field, values in record.arrays().items()
            if rows is not None
        },
    )


def error_units(record: Record, groups: Index | None) -> int:
    """Number of rows, or of groups of rows, that a number's error comes from."""
    return record.n if groups is None else min(len(np.unique(groups)), record.n)


def differences(
    ones: Iterable[Record],
    others: Iterable[Record],
    match: Match,
    groups: Index | None = None,
    confidence: float = 0.95,
) -> Iterator[Difference]:
    """Differences of all numbers that both checkpoints have, before Holm's adjustment.

    References in closed form are left out, and so are numbers that cannot be compared, see
    `not_comparable`.
    """
    by_identity = {identity(record): record for record in others}
    for record in ones:
        other = by_identity.get(identity(record))
        if other is None or record.value is None or other.value is None:
            continue
        if DECLARED[record.metric].is_law:
            continue
        if not_comparable(record, other, match.same_n) is not None:
            continue
        change = record_difference(record, other, match.order, groups, confidence)
        yield Difference(record, other, change)


SIGNIFICANT = 0.05


def is_real(p_adjusted: object) -> bool:
    """Whether a difference is significant by its adjusted p-value."""
    return isinstance(p_adjusted, float) and p_adjusted < SIGNIFICANT


def adjusted(
    differences: Iterable[Difference], headlines: Collection[Identity] = ()
) -> list[Difference]:
    """The differences, with p-values adjusted by Holm's method over two families.

    `p_holm` is adjusted over all differences: thousands, of which nobody reads most.  `p_headline`
    is what marks in tables and figures go by.  Its family is one headline number over the
    checkpoints: the column of a table, which is read downwards.  It does not depend on which other
    numbers were asked for, so that a difference has the same mark in every comparison of these
    checkpoints.  Columns are not adjusted for one another.

    Args:
        differences: before adjustment.
        headlines: the headline numbers.
    """
    listed = list(differences)
    p_values = holm([change.change.p_value for change in listed])
    columns: dict[Identity, list[int]] = {}
    for i, change in enumerate(listed):
        columns.setdefault(identity(change.one), []).append(i)
    p_headlines: list[float | None] = [None] * len(listed)
    for number in headlines:
        at = columns.get(number, [])
        for i, p in zip(at, holm([listed[i].change.p_value for i in at]), strict=True):
            p_headlines[i] = p
    return [
        replace(change, p_holm=p, p_headline=p_headline)
        for change, p, p_headline in zip(listed, p_values, p_headlines, strict=True)
    ]
