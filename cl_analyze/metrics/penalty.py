"""Relative penalty: how a temperature distributes the repulsion over an anchor's negatives.

Wang & Liu, CVPR 2021, eq. 5.  The relative penalty is the gradient on negative j divided by the
gradient on the positive: r_ij = exp(s_ij / tau) / sum_k exp(s_ik / tau), a softmax over the
negatives alone.  Three statistics of r measure the uniformity-tolerance dilemma: the entropy, the
share of the nearest negatives, and the false-negative share, that of rows of the anchor's class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics import penalty_items, penalty_suspects, penalty_temperatures
from cl_analyze.metrics.bins import TABLE_BINS
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.hard_curve import hard_curve
from cl_analyze.metrics.metric import NEGATIVES, TAU, Metric
from cl_analyze.metrics.penalty_curve import curve_table
from cl_analyze.metrics.penalty_passes import (
    by_temperature,
    counts_false_negatives,
    moments,
    n_negatives,
    penalty_given,
    statistics,
)
from cl_analyze.metrics.penalty_statistics import (
    AnchorStatistics,
    Deletions,
    EstimatedMeans,
    Means,
)
from cl_analyze.metrics.subject import Subject, near_duplicate_notes, nearest_negatives_reducer
from cl_analyze.metrics.suspects import suspect_counts
from cl_analyze.metrics.uniform_law import penalty_of_uniform_law
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import LeaveOneOut, PenaltyHistogram, SoftmaxMoments
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Cell, Record, Table

Vector = NDArray[np.float64]

_CURVE = "over the negatives of each anchor, weights softmax(s / τ), averaged over anchors"
_SOURCE = "Wang & Liu 2021, eq. 5."
_DEPENDS_ON: tuple[Literal["dimensions", "rows"], ...] = ("dimensions", "rows")
_PARAMETERS = (TAU, NEGATIVES)
ENTROPY = Metric(
    "penalty_entropy",
    "nats",
    f"entropy of the relative penalty {_CURVE}.",
    formulas=("mean over anchors of Hᵢ = −Σ r log r",),
    parameters=_PARAMETERS,
    depends_on=_DEPENDS_ON,
    source=_SOURCE,
    title="entropy",
)
EFFECTIVE_NEGATIVES = Metric(
    "penalty_effective_negatives",
    "count",
    "exponential of penalty_entropy: how many equal negatives would spread the penalty as far. "
    "mean_exp is the mean of the exponentials, exp_mean the exponential of the mean.",
    ("mean_exp", "exp_mean"),
    ("mean of exp(Hᵢ)", "exp of the mean of Hᵢ"),
    _PARAMETERS,
    depends_on=_DEPENDS_ON,
    title="effective negatives",
)
TOP1_SHARE = Metric(
    "penalty_top1_share",
    "share",
    f"largest weight {_CURVE}.",
    formulas=("mean share of the penalty on the nearest negative",),
    parameters=_PARAMETERS,
    depends_on=_DEPENDS_ON,
    title="top-1 share",
)
TOP10_SHARE = Metric(
    "penalty_top10_share",
    "share",
    f"sum of the ten largest weights {_CURVE}.",
    formulas=("mean share on the ten nearest negatives",),
    parameters=_PARAMETERS,
    depends_on=_DEPENDS_ON,
    title="top-10 share",
)
FALSE_NEGATIVE_SHARE = Metric(
    "penalty_false_negative_share",
    "share",
    f"sum of the weights of the anchor's own class {_CURVE}.",
    formulas=("mean share on rows of the anchor's own class",),
    parameters=_PARAMETERS,
    better="lower",
    needs="labels",
    title="false-negative share",
)
FALSE_NEGATIVE_RATIO = Metric(
    "penalty_false_negative_ratio",
    "ratio",
    "penalty_false_negative_share divided by the share that even weights would give.",
    formulas=(
        "`penalty_false_negative_share` divided by the mean of (n_c − 1)/(N − 1), the share that "
        "even weights would give",
    ),
    parameters=_PARAMETERS,
    better="lower",
    needs="labels",
    title="false-negative ratio",
)
_OF_NEGATIVES = (ENTROPY, EFFECTIVE_NEGATIVES, TOP1_SHARE, TOP10_SHARE)
_OF_CLASSES = (FALSE_NEGATIVE_SHARE, FALSE_NEGATIVE_RATIO)


class Penalty(Family):
    """Entropy, effective negatives, top shares and false-negative share of the relative penalty.

    Every value is a mean over anchors, for each tau.  The negatives of an anchor are all other
    rows or, with class negatives, all rows of other classes.  The errors are a jackknife: each row
    is deleted as anchor and as negative.  The jackknife uses every anchor up to 10,000 rows, and
    2,048 seeded anchors above; two halves of the anchors then give an error without their noise.
    """

    name = "penalty"
    title = "Relative penalty"
    metrics = (
        *_OF_NEGATIVES,
        *_OF_CLASSES,
        penalty_suspects.SUSPECT_SHARE,
        *penalty_temperatures.METRICS,
    )
    uses_views = True
    reads_neighbours = True
    has_deletions = True

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Masses, statistics and pseudo-values for each tau; deletions from a sample."""
        anchors = options.anchors_of(n_rows)
        is_sampled = anchors is not None or n_rows > options.exact_deletions
        per_tau = 200 * (anchors or n_rows) + 120 * n_rows * is_sampled
        of_start = penalty_temperatures.memory(n_rows, options)
        return per_tau * len(options.taus) + of_start

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Log masses and mean similarities for each tau, and the nearest negatives."""
        if subject.relevance is not None:
            return ()
        reducers: list[Reducer] = [nearest_negatives_reducer(subject, options)]
        for tau in options.taus:
            reducers += moments(options, tau, counts_false_negatives(subject, options))
        of_suspects = suspect_counts(subject, options)
        return (*reducers, *([] if of_suspects is None else [of_suspects]))

    def own_reducers(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """The pass at the temperatures around those to start from."""
        return penalty_temperatures.own_reducers(options)

    def own_pairs(self, subject: Subject, options: MetricOptions) -> float:
        """That pass, and the deletions at these temperatures, which cost about as much a pair."""
        return penalty_temperatures.own_pairs(subject, options)

    def curve_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """The penalty mass in each bin of similarity."""
        return () if results.subject.relevance is not None else (self._histogram(results),)

    def _histogram(self, results: PassResults) -> PenaltyHistogram:
        options, curve_anchors = results.options, results.curve_anchors
        at = np.searchsorted(results.anchors.rows, curve_anchors)
        pairs = options.negative_pairs
        of_taus = [results.first[SoftmaxMoments(tau, pairs)] for tau in options.taus]
        log_masses = np.stack([of_tau.log_mass[at] for of_tau in of_taus])
        counted = np.isfinite(log_masses[0])
        return PenaltyHistogram(
            options.taus,
            TABLE_BINS,
            pairs,
            curve_anchors,
            log_masses,
            counted / max(counted.sum(), 1.0),
            n_negatives(results.subject, options)[curve_anchors],
        )

    def second_pass(self, results: PassResults) -> tuple[Reducer, ...]:
        """The deletion of each row, for each tau."""
        if results.subject.relevance is not None:
            return ()
        subject, options, rows = results.subject, results.options, results.anchors.chosen
        neighbours = results.nearest_negatives()
        labelled = counts_false_negatives(subject, options)
        reducers: list[Reducer] = []
        for tau, stats in self._statistics(results).items():
            given = penalty_given(rows, stats, neighbours)
            reducers.append(LeaveOneOut(tau, options.negative_pairs, labelled, given))
            reducers += penalty_suspects.second_reducers(results, tau, stats.log_mass, neighbours)
        return (*reducers, *penalty_temperatures.second_reducers(results))

    def _statistics(self, results: PassResults) -> dict[float, AnchorStatistics]:
        """Statistics of the rows of the first pass at each temperature."""
        subject, options, rows = results.subject, results.options, results.anchors.chosen
        nearest = results.nearest_negatives().values[:, :10]
        labelled = counts_false_negatives(subject, options)
        return {
            tau: statistics(subject, options, results.first, tau, nearest, labelled, rows)
            for tau in options.taus
        }

    def compute(self, results: PassResults) -> FamilyResult:
        """Records for each tau, the penalty curve, and the reference of the uniform law."""
        if results.subject.relevance is not None:
            return self._over_items(results)
        subject, options, anchors = results.subject, results.options, results.anchors
        neighbours = results.nearest_negatives()
        positions = [np.searchsorted(anchors.rows, rows) for _, rows in results.second]
        counts_false = counts_false_negatives(subject, options)
        by_tau = by_temperature(
            results, self._statistics(results), neighbours, anchors.rows, positions, counts_false
        )
        records: list[Record] = []
        for tau, of_tau in by_tau.items():
            reducer = LeaveOneOut(tau, options.negative_pairs, counts_false)
            copies = [
                Deletions(subject.n, of_tau, neighbours, pass_results[reducer], at)
                for (pass_results, _), at in zip(results.second, positions, strict=True)
            ]
            means = (
                EstimatedMeans(subject, of_tau.statistics, copies, anchors)
                if anchors.is_sample
                else Means(subject, of_tau.statistics, copies)
            )
            records += self._records(subject, options, tau, means)
            log_mass = of_tau.statistics.log_mass
            records += penalty_suspects.suspect_record(
                results, results.first, tau, log_mass, neighbours
            )
        records += penalty_temperatures.temperature_records(results)
        notes = near_duplicate_notes(subject, options, neighbours)
        if not anchors.is_sample and len(positions) > 1:
            notes += (
                f"{subject.source}: penalty error bars come from {sum(map(len, positions))} seeded "
                f"anchors (above {options.exact_deletions} rows)",
            )
        log_masses = {tau: of_tau.statistics.log_mass for tau, of_tau in by_tau.items()}
        tables = [
            curve_table(
                subject.source,
                log_masses,
                results.curve[self._histogram(results)],
                len(results.curve_anchors) == subject.n,
                not anchors.is_sample,
            ),
            _reference(subject, options),
        ]
        if options.penalty_alpha is not None:
            fraction = results.curve[self._histogram(results)][0]
            tables.append(
                hard_curve(subject, options, results.runner, results.curve_anchors, fraction)
            )
        return FamilyResult(tuple(records), tuple(tables), notes)

    def _over_items(self, results: PassResults) -> FamilyResult:
        """The penalty of queries over items that are not relevant for them."""
        subject, options = results.subject, results.options
        records: list[Record] = []
        log_masses = {}
        for tau in options.taus:
            stats, near = penalty_items.statistics_of(results, tau)
            means = penalty_items.ItemMeans(results, stats)
            records += self._records(replace(subject, labels=None), options, tau, means)
            found = results.once(penalty_items.across)
            records += penalty_suspects.suspect_record(results, found, tau, stats.log_mass, near)
            log_masses[tau] = stats.log_mass
        records += penalty_temperatures.temperature_records(results)
        curve = curve_table(
            subject.source,
            log_masses,
            penalty_items.curve_bins(results),
            len(results.curve_anchors) == subject.n,
            not results.anchors.is_sample,
        )
        return FamilyResult(tuple(records), (curve, _reference(subject, options)))

    def _records(
        self,
        subject: Subject,
        options: MetricOptions,
        tau: float,
        means: Means | penalty_items.ItemMeans,
    ) -> list[Record]:
        place = subject.source, subject.d
        at: dict[str, Any] = {"tau": tau, **options.negative_params}
        has_labels = subject.labels is not None
        if not means.count("entropy"):
            return [
                metric.at(definition, **at).undefined(*place, f"{means.nobody} has a negative")
                for metric in _OF_NEGATIVES + _OF_CLASSES * has_labels
                for definition in metric.definitions or (None,)
            ]
        records = [
            metric.at(definition, **at).record(*place, number)
            for metric, definition, number in (
                (ENTROPY, None, means.mean("entropy")),
                (EFFECTIVE_NEGATIVES, "mean_exp", means.mean("exp_entropy")),
                (EFFECTIVE_NEGATIVES, "exp_mean", means.exp_of_mean("entropy")),
                (TOP1_SHARE, None, means.mean("top1_share")),
                (TOP10_SHARE, None, means.mean("top10_share")),
            )
        ]
        share, ratio = (m.at(**at) for m in (FALSE_NEGATIVE_SHARE, FALSE_NEGATIVE_RATIO))
        if not has_labels or isinstance(means, penalty_items.ItemMeans):
            return records
        if not means.count("false_negative_share"):
            reason = (
                "class negatives hold no row of the anchor's class"
                if options.negatives == "class"
                else f"{means.nobody} is labelled"
            )
            return records + [metric.undefined(*place, reason) for metric in (share, ratio)]
        records.append(share.record(*place, means.mean("false_negative_share")))
        uniform, uniform_without = _uniform_share(subject)
        if uniform == 0:
            records.append(ratio.undefined(*place, "no class has two members"))
        else:
            number = means.ratio("false_negative_share", uniform, uniform_without)
            records.append(ratio.record(*place, number))
        return records


def _reference(subject: Subject, options: MetricOptions) -> Table:
    """The same statistics for uniform points: as many negatives, the same D (seeded simulation)."""
    n_others = max(round(subject.n_negatives), 1)
    law = penalty_of_uniform_law(subject.d, n_others, options.taus, options.seed)
    rows: list[dict[str, Cell]] = [
        {
            "source": subject.source,
            "quantity": quantity,
            "group": None,
            "tau": tau,
            "value": value,
            "std_error": of_tau.std_errors[quantity],
        }
        for tau, of_tau in zip(options.taus, law, strict=True)
        for quantity, value in of_tau.values.items()
    ]
    return Table("penalty_reference", columns_of("penalty_reference"), tuple(rows))


def _uniform_share(subject: Subject) -> tuple[float, Vector]:
    """False-negative share under equal weights, and the same without each row.

    It is the mean over labelled anchors of (n_c - 1) / (N - 1).
    """
    assert subject.labels is not None
    codes, n = subject.labels.codes, subject.n
    counts = subject.labels.counts.astype(np.float64)
    labelled = codes >= 0
    n_labelled = int(labelled.sum())
    pairs = float((counts * (counts - 1)).sum())
    n_partners = np.where(labelled, counts[codes] - 1, 0.0)  # other rows of the class
    with np.errstate(divide="ignore", invalid="ignore"):
        without = (pairs - 2 * n_partners) / ((n_labelled - labelled) * (n - 2.0))
    return pairs / (n_labelled * (n - 1.0)), without
