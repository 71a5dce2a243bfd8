"""Similarity of positives and of the nearest negatives: means, spreads, quantiles, histograms.

Wang & Liu, CVPR 2021, Fig. 8: for each anchor the similarities with its negatives are sorted, and
the l-th largest is averaged over the anchors, beside the positive's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import paired
from cl_analyze.metrics.anchors import FEWEST, Anchors, Estimate
from cl_analyze.metrics.family import (
    Better,
    FamilyResult,
    Found,
    Measured,
    MetricOptions,
    PairFreeFamily,
    PairRunner,
    Subject,
    near_duplicate_notes,
    nearest_negatives_reducer,
)
from cl_analyze.metrics.means import woodruff
from cl_analyze.metrics.uniform_law import (
    REFERENCE_COLUMNS,
    cosine_share_below,
    expected_nearest,
)
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import (
    PairHistogram,
    PairMoments,
    RowCountsBelow,
)
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.similarity_groups import negative_group
from cl_analyze.stats import pseudo_values, standard_error
from cl_analyze.tables import Cell, Param, Record, Table, Unit, undefined

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TABLE_BINS = 200
FINE_BINS = 200 * 82  # at least 2^14, and a whole number to each of the table's bins

Vector = NDArray[np.float64]
_UNIT: Unit = "cosine"


@dataclass(frozen=True)
class _RowValues:
    """A statistic that is a mean over anchors, with what deleting each row does to it.

    Attributes:
        values: (N,) the anchors' values, NaN where a row is no anchor.
        gains: (N,) for each row, what deleting it as a negative adds to the anchors' sum.
        lost: (N,) for each row, how many anchors lose their value with it.
    """

    values: Vector
    gains: Vector
    lost: Vector

    def mean_without(self) -> Vector:
        """(N,) the mean without each row, as anchor and as negative; NaN where nothing is left."""
        is_anchor = ~np.isnan(self.values)
        own = np.where(is_anchor, self.values, 0.0)
        count = is_anchor.sum() - is_anchor - self.lost
        with np.errstate(divide="ignore", invalid="ignore"):
            without: Vector = (own.sum() - own + self.gains) / count
        return np.where(count > 0, without, np.nan)


def _nth_neighbour(
    neighbours: Neighbours, rank: int, function: Callable[[Vector], Vector], n_rows: int
) -> _RowValues:
    """f(similarity of the rank-th nearest), rank from 0, with deletions of any nearer row exact.

    Values are about the rows that the neighbours belong to, gains about all N.
    """
    value, after = neighbours.values[:, rank], neighbours.values[:, rank + 1]
    has, has_next = np.isfinite(value), np.isfinite(after)
    own = np.where(has, function(np.where(has, value, 0.0)), np.nan)
    step = np.where(
        has_next, function(np.where(has_next, after, 0.0)) - np.nan_to_num(own), -np.nan_to_num(own)
    )
    nearer = neighbours.indices[has, : rank + 1].ravel()
    gains, lost = np.zeros(n_rows), np.zeros(n_rows)
    np.add.at(gains, nearer, np.repeat(step[has], rank + 1))
    ends = (has & ~has_next)[has].astype(np.float64)
    np.add.at(lost, nearer, np.repeat(ends, rank + 1))
    return _RowValues(own, gains, lost)


def _of_rows(neighbours: Neighbours, rows: NDArray[np.int64]) -> Neighbours:
    return Neighbours(neighbours.values[rows], neighbours.indices[rows])


def _own_values(values: Vector, function: Callable[[Vector], Vector]) -> _RowValues:
    zero = np.zeros(len(values))
    return _RowValues(function(values), zero, zero)


Part = Callable[[Callable[[Vector], Vector]], _RowValues]


class Similarity(PairFreeFamily):
    """`similarity_mean`, `similarity_std`, `similarity_quantile` by group, and histograms.

    Groups: `positive` (pairs of views where there are views, else every same-class pair once) and
    `negative_1` .. `negative_k`, the anchors' l-th nearest negative.  Standard deviations divide by
    the count.  Errors delete each row as anchor and as negative; those of quantiles are
    Woodruff's (JASA 1952): from the quantiles at q +- two s.e. of the share below.
    """

    name = "similarity"
    uses_views = True
    definitions: dict[str, tuple[str, ...]] = {  # noqa: RUF012
        "similarity_mean": ("view_pairs", "same_class"),
        "similarity_std": ("view_pairs", "same_class"),
        "similarity_quantile": ("view_pairs", "same_class"),
    }

    def better(self, metric: str, params: Mapping[str, Param]) -> Better | None:
        """Positives are better near; negatives push where they are near, and say no more."""
        is_of_positives = params.get("group") == "positive" and metric != "similarity_std"
        return "higher" if is_of_positives else None

    def _class_positives(self, subject: Subject) -> bool:
        return subject.views is None and subject.labels is not None

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Neighbours and, where positives are classes, their moments and fine histogram."""
        reducers: list[Reducer] = []
        if subject.partners is None:
            reducers.append(nearest_negatives_reducer(subject, options))
        if self._class_positives(subject):
            reducers += [PairMoments("same_class"), PairHistogram(FINE_BINS, "same_class")]
        return tuple(reducers)

    def curve_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        curve_anchors: NDArray[np.int64],
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Similarities of the anchors with all rows."""
        return (PairHistogram(TABLE_BINS, "all"),)

    def second_pass(
        self,
        subject: Subject,
        options: MetricOptions,
        first: Found,
        runner: PairRunner,
        anchors: Anchors | None,
    ) -> tuple[Reducer, ...]:
        """Counts under the quantiles of same-class pairs, for their errors."""
        quantiles = self._class_quantiles(subject, first)
        return () if quantiles is None else (RowCountsBelow(quantiles, "same_class"),)

    def _class_quantiles(self, subject: Subject, first: Found) -> tuple[float, ...] | None:
        if not self._class_positives(subject):
            return None
        counts = first[PairHistogram(FINE_BINS, "same_class")]
        if counts.sum() == 0:
            return None
        return tuple(float(q) for q in _histogram_quantiles(counts, np.array(QUANTILES)))

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Records by group, the histogram table, and a note on near-duplicates."""
        cross = subject.partners is not None
        found = measured.first
        if cross:
            found = runner.cross([nearest_negatives_reducer(subject, options)], measured.anchors)
        neighbours = runner.nearest_negatives(options, found, measured.anchors, cross)
        records: list[Record] = []
        histograms: list[dict[str, Cell]] = []
        if subject.views is not None:
            values, _ = paired(*subject.views)
            records += self._records(
                subject, {"group": "positive"}, "view_pairs", values, self._part(values)
            )
            histograms += _bin_rows(subject.source, "positive", _histogram(values), True)
        elif subject.labels is not None:
            more, counts = self._class_records(subject, measured)
            records += more
            if counts is not None:
                histograms += _bin_rows(
                    subject.source, "positive", counts, measured.anchors is None
                )
        exhaustive = measured.anchors is None
        for rank in range(options.top_k):
            values = neighbours.values[:, rank]
            group: dict[str, Param] = {"group": negative_group(rank + 1), **options.negative_params}

            def part(
                f: Callable[[Vector], Vector], rank: int = rank, near: Neighbours = neighbours
            ) -> _RowValues:
                return _nth_neighbour(near, rank, f, subject.n)

            reason = f"no row has {rank + 1} negative{'s' if rank else ''}"
            if measured.anchors is not None and np.isfinite(values).sum() < FEWEST:
                values = np.full(len(values), np.nan)
                reason = reason.replace("no row", "hardly any of the anchors")
            if measured.anchors is None or not np.isfinite(values).any():
                records += self._records(subject, group, None, values, part, reason)
            else:
                parts = [
                    partial(part, near=_of_rows(neighbours, half))
                    for half in measured.anchors.halves
                ]
                records += self._estimated(subject, group, values, parts, measured.anchors)
            histograms += _bin_rows(
                subject.source,
                str(group["group"]),
                _histogram(values[np.isfinite(values)]),
                exhaustive,
            )
        exact = len(measured.curve_anchors) == subject.n
        all_pairs = measured.curve[PairHistogram(TABLE_BINS, "all")]
        histograms += _bin_rows(subject.source, "all", all_pairs / (2.0 if exact else 1.0), exact)
        columns = ("source", "group", "bin_left", "bin_right", "count", "density", "exact")
        histograms += _law_rows(subject)
        tables = (
            Table("similarity_histogram", columns, tuple(histograms)),
            _reference(subject, options),
        )
        notes = () if cross else near_duplicate_notes(subject, options, neighbours)
        return FamilyResult(tuple(records), tables, notes)

    def _part(self, values: Vector) -> Part:
        return lambda function: _own_values(values, function)

    def _records(
        self,
        subject: Subject,
        params: dict[str, Param],
        definition: str | None,
        values: Vector,
        part: Part,
        reason: str = "",
    ) -> list[Record]:
        """Mean, standard deviation and quantiles of one value for each anchor."""
        present = values[np.isfinite(values)]
        n, d = len(present), subject.d
        if n == 0:
            return [
                undefined(subject.source, metric, definition, {**params, **extra}, _UNIT, d, reason)
                for metric, extra in _metric_params()
            ]
        mean, square = float(present.mean()), float((present**2).mean())
        std = math.sqrt(max(float(present.var()), 0.0))
        first = part(lambda v: v).mean_without()
        second = part(np.square).mean_without()
        records = [
            self._record(subject, "similarity_mean", definition, params, mean, first, n),
        ]
        spread = np.sqrt(np.maximum(second - first**2, 0.0))
        shift = std - math.sqrt(max(square - mean**2, 0.0))  # the same rounding on both sides
        records.append(
            self._record(subject, "similarity_std", definition, params, std, spread + shift, n)
        )
        for q in QUANTILES:
            at = float(np.quantile(present, q))
            below = part(lambda v, at=at: _share(v <= at, v))  # type: ignore[misc]
            share = float((present <= at).mean())
            error = woodruff(
                lambda p: np.quantile(present, p),
                q,
                self._error(subject, share, below.mean_without()),
            )
            records.append(
                Record(
                    source=subject.source,
                    metric="similarity_quantile",
                    definition=definition,
                    params={**params, "q": q},
                    value=at,
                    std_error=error,
                    unit=_UNIT,
                    n=n,
                    d=d,
                )
            )
        return records

    def _estimated(
        self,
        subject: Subject,
        params: dict[str, Param],
        values: Vector,
        parts: Sequence[Part],
        anchors: Anchors,
    ) -> list[Record]:
        """As `_records`, from the anchors' values; `parts` are about two halves of them."""

        def mean_of(
            function: Callable[[Vector], Vector], drawn: Anchors = anchors
        ) -> tuple[Estimate, float | None]:
            own = function(values)
            population = drawn.population(own)
            found = drawn.mean(own, population)
            effects = []
            for part in parts:
                of_half = part(function)
                scale = population / max(int(np.isfinite(of_half.values).sum()), 1)
                effects.append(-scale * (of_half.gains + found.value * of_half.lost))
            return found, drawn.std_error(own, effects, population, subject.groups)

        plain = anchors.without_moments()  # the quantile itself is the anchors' own
        middle, error = mean_of(lambda v: v)
        records = [
            self._estimate(
                subject, "similarity_mean", None, params, middle, error, middle.sampling_error
            )
        ]
        squared, error = mean_of(lambda v: (v - middle.value) ** 2)
        std = math.sqrt(max(squared.value, 0.0))
        slope = 0.5 / std if std > 0 else 0.0
        records.append(
            self._estimate(
                subject,
                "similarity_std",
                None,
                params,
                replace(squared, value=std),
                None if error is None else slope * error,
                slope * squared.sampling_error,
            )
        )
        present = values[np.isfinite(values)]
        for q in QUANTILES:
            at = float(np.quantile(present, q))
            share, error = mean_of(
                lambda v, at=at: _share(v <= at, v),  # type: ignore[misc]
                plain,
            )
            errors = [
                woodruff(lambda p: np.quantile(present, p), q, of_share)
                for of_share in (error, share.sampling_error)
            ]
            assert errors[1] is not None
            records.append(
                self._estimate(
                    subject,
                    "similarity_quantile",
                    None,
                    {**params, "q": q},
                    replace(share, value=at),
                    errors[0],
                    errors[1],
                )
            )
        return records

    def _estimate(
        self,
        subject: Subject,
        metric: str,
        definition: str | None,
        params: dict[str, Param],
        found: Estimate,
        std_error: float | None,
        sampling_error: float,
    ) -> Record:
        return Record(
            source=subject.source,
            metric=metric,
            definition=definition,
            params=params,
            value=found.value,
            std_error=std_error,
            unit=_UNIT,
            n=found.n,
            d=subject.d,
            sampling_error=sampling_error,
            exact=False,
        )

    def _estimated_class_records(
        self,
        subject: Subject,
        measured: Measured,
        anchors: Anchors,
        partners: Vector,
        quantiles: tuple[float, ...],
        fine: Vector,
    ) -> list[Record]:
        """The positive group of all same-class pairs, from the anchors' pairs.

        A mean over pairs is a ratio of two means over rows; its errors are those of the mean of
        what is left of each row's sum after the ratio's share of its number of partners.
        """
        params: dict[str, Param] = {"group": "positive"}
        own_partners = np.nan_to_num(partners[anchors.rows])
        per_row = float(np.nansum(partners)) / subject.n
        seen = own_partners.sum()
        anchored = int((own_partners >= 1).sum())

        def ratio_of(sums: Vector) -> tuple[Estimate, float | None]:
            ratio = float(sums.sum() / seen)
            left = (sums - ratio * own_partners) / per_row
            found = anchors.without_moments().mean(left)
            error = anchors.std_error(2.0 * left, groups=subject.groups)
            return Estimate(ratio, found.sampling_error, anchored), error

        def record(metric: str, found: Estimate, error: float | None, **more: Param) -> Record:
            return self._estimate(
                subject,
                metric,
                "same_class",
                {**params, **more},
                found,
                error,
                found.sampling_error,
            )

        sums = measured.first[PairMoments("same_class")]
        middle, error = ratio_of(sums[:, 0])
        records = [record("similarity_mean", middle, error)]
        about = sums[:, 1] - 2.0 * middle.value * sums[:, 0] + middle.value**2 * own_partners
        squared, error = ratio_of(about)
        std = math.sqrt(max(squared.value, 0.0))
        slope = 0.5 / std if std > 0 else 0.0
        records.append(
            record(
                "similarity_std",
                Estimate(std, slope * squared.sampling_error, anchored),
                None if error is None else slope * error,
            )
        )
        below = np.empty((len(anchors.rows), len(quantiles)))
        for half, found in zip(anchors.halves, measured.second.found, strict=True):
            below[half] = found[RowCountsBelow(quantiles, "same_class")]
        for c, (q, at) in enumerate(zip(QUANTILES, quantiles, strict=True)):
            share, error = ratio_of(below[:, c])
            errors = [
                woodruff(lambda p: _histogram_quantiles(fine, np.asarray(p)), q, of_share)
                for of_share in (error, share.sampling_error)
            ]
            sampling = (errors[1] or 0.0) + 2.0 / FINE_BINS
            records.append(
                record("similarity_quantile", Estimate(at, sampling, anchored), errors[0], q=q)
            )
        return records

    def _error(self, subject: Subject, value: float, without: Vector) -> float | None:
        pseudo = pseudo_values(value, without) if subject.n > 3 else None
        return standard_error(pseudo, subject.groups)

    def _record(
        self,
        subject: Subject,
        metric: str,
        definition: str | None,
        params: dict[str, Param],
        value: float,
        without: Vector,
        n: int,
    ) -> Record:
        pseudo = pseudo_values(value, without) if subject.n > 3 else None
        return Record(
            source=subject.source,
            metric=metric,
            definition=definition,
            params=params,
            value=value,
            std_error=standard_error(pseudo, subject.groups),
            unit=_UNIT,
            n=n,
            d=subject.d,
            pseudo_values=pseudo,
        )

    def _class_records(
        self, subject: Subject, measured: Measured
    ) -> tuple[list[Record], Vector | None]:
        """The positive group where positives are all same-class pairs."""
        assert subject.labels is not None
        params: dict[str, Param] = {"group": "positive"}
        fine = measured.first[PairHistogram(FINE_BINS, "same_class")]
        if fine.sum() == 0:
            reason = (
                "no class has two members"
                if measured.anchors is None
                else "no anchor has another row of its class"
            )
            return [
                undefined(
                    subject.source,
                    metric,
                    "same_class",
                    {**params, **extra},
                    _UNIT,
                    subject.d,
                    reason,
                )
                for metric, extra in _metric_params()
            ], None
        codes, counts = subject.labels.codes, subject.labels.counts.astype(np.float64)
        labelled = codes >= 0
        partners = np.where(labelled, counts[codes] - 1, np.nan)
        anchors = measured.anchors
        if anchors is not None:
            quantiles = self._class_quantiles(subject, measured.first) or ()
            return self._estimated_class_records(
                subject, measured, anchors, partners, quantiles, fine
            ), fine.reshape(TABLE_BINS, -1).sum(axis=1)
        sums = measured.first[PairMoments("same_class")]
        n_labelled = int(labelled.sum())
        n_pairs = float(np.nansum(partners))
        n_anchors = int((partners >= 1).sum())

        def without(column: Vector) -> Vector:
            with np.errstate(divide="ignore", invalid="ignore"):
                left: Vector = (column.sum() - 2 * column) / (n_pairs - 2 * partners)
            return np.where(np.isfinite(left), left, np.nan)

        mean, square = (float(sums[:, c].sum() / n_pairs) for c in (0, 1))
        std = math.sqrt(max(square - mean**2, 0.0))
        spread = np.sqrt(np.maximum(without(sums[:, 1]) - without(sums[:, 0]) ** 2, 0.0))
        records = [
            self._record(
                subject,
                "similarity_mean",
                "same_class",
                params,
                mean,
                without(sums[:, 0]),
                n_anchors,
            ),
            self._record(subject, "similarity_std", "same_class", params, std, spread, n_anchors),
        ]
        quantiles = self._class_quantiles(subject, measured.first) or ()
        reducer = RowCountsBelow(quantiles, "same_class")
        rows = [np.arange(subject.n) if part is None else part for part in measured.second.anchors]
        below = np.concatenate([part[reducer] for part in measured.second.found])
        seen = np.concatenate(rows)
        shares = _histogram_shares(fine, np.array(quantiles))
        for c, (q, at) in enumerate(zip(QUANTILES, quantiles, strict=True)):
            with np.errstate(divide="ignore", invalid="ignore"):
                left = (shares[c] * n_pairs - 2 * below[:, c]) / (n_pairs - 2 * partners[seen])
            left = np.where(np.isfinite(left), left, np.nan)
            pseudo = np.full(subject.n, np.nan)
            pseudo[seen] = n_labelled * shares[c] - (n_labelled - 1) * left
            error = standard_error(pseudo, subject.groups) if subject.n > 3 else None
            if error is not None:  # the spread may come from a sample of the rows
                error *= math.sqrt(int(labelled[seen].sum()) / n_labelled)
            records.append(
                Record(
                    source=subject.source,
                    metric="similarity_quantile",
                    definition="same_class",
                    params={**params, "q": q},
                    value=at,
                    std_error=woodruff(
                        lambda p: _histogram_quantiles(fine, np.asarray(p)), q, error
                    ),
                    unit=_UNIT,
                    n=n_anchors,
                    d=subject.d,
                    sampling_error=2.0 / FINE_BINS,
                    exact=False,
                )
            )
        return records, fine.reshape(TABLE_BINS, -1).sum(axis=1) / 2.0


def _law_rows(subject: Subject) -> list[dict[str, Cell]]:
    """The cosine law of uniform points in the histogram's bins, as group `uniform_law`."""
    edges = np.linspace(-1.0, 1.0, TABLE_BINS + 1)
    share = np.diff(cosine_share_below(subject.d, edges))
    rows = _bin_rows(subject.source, "uniform_law", share, True)
    return [{**row, "count": None} for row in rows]


def _reference(subject: Subject, options: MetricOptions) -> Table:
    """What each nearest negative would be among uniform points of the same N and D."""
    expected = expected_nearest(subject.d, subject.n - 1, options.top_k)
    rows: list[dict[str, Cell]] = [
        {
            "source": subject.source,
            "quantity": "similarity_mean",
            "group": negative_group(rank + 1),
            "tau": None,
            "value": float(value),
            "std_error": 0.0,
        }
        for rank, value in enumerate(expected)
    ]
    return Table("similarity_reference", REFERENCE_COLUMNS, tuple(rows))


def _metric_params() -> list[tuple[str, dict[str, Param]]]:
    return [
        ("similarity_mean", {}),
        ("similarity_std", {}),
    ] + [("similarity_quantile", {"q": q}) for q in QUANTILES]


def _share(flags: NDArray[np.bool_], values: Vector) -> Vector:
    return np.where(np.isnan(values), np.nan, flags.astype(np.float64))


def bin_centres() -> Vector:
    """Centres of the tables' bins on [-1, 1]."""
    return (np.arange(TABLE_BINS) + 0.5).astype(np.float64) * (2.0 / TABLE_BINS) - 1.0


def _histogram(values: Vector) -> Vector:
    counts, _ = np.histogram(values, bins=TABLE_BINS, range=(-1.0, 1.0))
    return counts.astype(np.float64)


def _histogram_quantiles(counts: Vector, q: NDArray[np.float64]) -> Vector:
    """Quantiles of a histogram on [-1, 1]: linear within the bin where the share is reached."""
    width = 2.0 / len(counts)
    cumulative = np.cumsum(counts) / counts.sum()
    occupied = np.flatnonzero(counts)
    at = occupied[np.minimum(np.searchsorted(cumulative[occupied], q), len(occupied) - 1)]
    below = cumulative[at] - counts[at] / counts.sum()
    inside = np.clip((q - below) / (cumulative[at] - below), 0.0, 1.0)
    found: Vector = -1.0 + width * (at + inside)
    return found


def _histogram_shares(counts: Vector, at: Vector) -> Vector:
    edges = np.linspace(-1.0, 1.0, len(counts) + 1)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    found: Vector = np.interp(at, edges, cumulative)
    return found


def _bin_rows(source: str, group: str, counts: Vector, exact: bool) -> list[dict[str, Cell]]:
    width = 2.0 / len(counts)
    total = float(counts.sum())
    return [
        {
            "source": source,
            "group": group,
            "bin_left": round(-1.0 + b * width, 10),
            "bin_right": round(-1.0 + (b + 1) * width, 10),
            "count": int(count),
            "density": float(count / (total * width)) if total else 0.0,
            "exact": exact,
        }
        for b, count in enumerate(counts)
    ]
