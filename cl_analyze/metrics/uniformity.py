"""Uniformity: log of the mean Gaussian potential, and its value for the uniform law.

Wang & Isola, ICML 2020; Wang & Liu, CVPR 2021, eq. 10:  log E exp(-t |x - y|^2).  A more negative
value is more uniform.  Published tables often print the value with the opposite sign.
"""

from __future__ import annotations

import math

import numpy as np

from cl_analyze.metrics.anchors import Anchors, Vector
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import Metric, T
from cl_analyze.metrics.subject import Subject
from cl_analyze.metrics.uniform_law import uniformity_of_uniform_law
from cl_analyze.options import MetricOptions
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import LogSumOfSquares, RowLogSumExp
from cl_analyze.results.stats import kernel_mean_standard_error, pseudo_values, standard_error
from cl_analyze.results.tables import Record


def kernel_tau(t: float) -> float:
    """The temperature with exp(-t |x - y|^2) = exp(-2t) exp(s / tau) on the sphere."""
    return 1.0 / (2.0 * t)


UNIFORMITY = Metric(
    "uniformity",
    "nats",
    "log of the mean of exp(−t·‖x − y‖²) over pairs of unit rows; u_stat leaves out pairs of a "
    "row with itself, v_stat counts them.",
    ("u_stat", "v_stat"),
    (
        "log of the mean over i ≠ j of exp(−t‖xᵢ−xⱼ‖²)",
        "as `u_stat`, over all N² pairs, self pairs included",
    ),
    (T,),
    better="lower",
    depends_on=("dimensions",),
    self_pairs=("v_stat",),
    source="Wang & Isola 2020; Wang & Liu 2021, eq. 10.",
)
UNIFORM_LAW = Metric(
    "uniformity_of_uniform_law",
    "nats",
    "uniformity of independent points spread evenly over the sphere of this dimension, in closed "
    "form.",
    formulas=(
        "uniformity of independent uniform points in this dimension: −2t + log ₀F₁(; d/2; t²)",
    ),
    parameters=(T,),
    is_law=True,
    title="uniform law",
)
UNIFORMITY_GAP = Metric(
    "uniformity_gap",
    "nats",
    "uniformity minus the uniformity of uniform points (uniformity_of_uniform_law): comparable "
    "between dimensions.",
    formulas=(
        "`uniformity` (`u_stat`) minus `uniformity_of_uniform_law`; comparable between dimensions",
    ),
    parameters=(T,),
    better="lower",
    title="gap to uniform law",
)


class Uniformity(Family):
    """`uniformity` (u_stat: i != j; v_stat: self pairs too), the uniform law's value, and the gap.

    u_stat is the log of a U-statistic, the mean over ordered pairs i != j.  Its std_error comes
    from the unbiased variance of the U-statistic; where rows have groups, from a jackknife over
    groups.
    """

    name = "uniformity"
    title = "Uniformity"
    metrics = (UNIFORMITY, UNIFORM_LAW, UNIFORMITY_GAP)
    uses_labels = False

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """Row sums of the kernel; the sum of its squares, for the standard error."""
        return tuple(
            reducer
            for t in options.ts
            for reducer in (RowLogSumExp(kernel_tau(t)), LogSumOfSquares(kernel_tau(t)))
        )

    def memory(self, n_rows: int, dim: int, options: MetricOptions, n_threads: int) -> int:
        """Row sums and pseudo-values."""
        return 96 * len(options.ts) * (options.anchors_of(n_rows) or n_rows)

    def compute(self, results: PassResults) -> FamilyResult:
        """Four records for each t."""
        subject, options = results.subject, results.options
        records: list[Record] = []
        n, d = subject.n, subject.d
        for t in options.ts:
            log_rows = results.first[RowLogSumExp(kernel_tau(t))] - 2.0 * t
            log_squares = float(results.first[LogSumOfSquares(kernel_tau(t))]) - 4.0 * t
            u_stat = (
                self._estimated(subject, log_rows, log_squares, results.anchors)
                if results.anchors.is_sample
                else self._exact(subject, log_rows, log_squares)
            )
            law = uniformity_of_uniform_law(d, t)
            v_value = float(np.logaddexp(u_stat.value + math.log((n - 1) / n), -math.log(n)))
            # derivative of v_value by u_stat: share of the pairs i != j in the potential
            slope = math.exp(u_stat.value - v_value) * (n - 1) / n
            records += [
                metric.at(definition, t=t).record(subject.source, d, number)
                for metric, definition, number in (
                    (UNIFORMITY, "u_stat", u_stat),
                    (UNIFORMITY, "v_stat", u_stat.moved(v_value, slope)),
                    (UNIFORM_LAW, None, Number(law, 0.0, n)),
                    (UNIFORMITY_GAP, None, u_stat.shifted(-law)),
                )
            ]
        return FamilyResult(tuple(records))

    def _exact(self, subject: Subject, log_rows: Vector, log_squares: float) -> Number:
        """u_stat from the row sums of all rows."""
        n = subject.n
        top = float(log_rows.max())
        row_sums = np.exp(log_rows - top)
        total = float(row_sums.sum())
        value = min(math.log(total / (n * (n - 1))) + top, 0.0)
        error = kernel_mean_standard_error(row_sums, math.exp(log_squares - 2.0 * top))
        pseudo = None
        if n > 2:
            without = (total - 2.0 * row_sums) / ((n - 1) * (n - 2))
            if (without > 0).all():
                pseudo = pseudo_values(value, np.log(without) + top)
        if subject.groups is not None:
            error = standard_error(pseudo, subject.groups)
        return Number(value, error, n, pseudo)

    def _estimated(
        self, subject: Subject, log_rows: Vector, log_squares: float, anchors: Anchors
    ) -> Number:
        """u_stat from the row sums of a sample of anchors."""
        n = subject.n
        top = float(log_rows.max())
        row_sums = np.exp(log_rows - top)
        mean = anchors.mean(row_sums / (n - 1))
        value = min(math.log(mean.value) + top, 0.0)
        if subject.groups is not None:
            error = anchors.std_error(2.0 * row_sums / (n - 1), groups=subject.groups)
            relative = None if error is None else error / mean.value
        else:
            squares = math.exp(log_squares - 2.0 * top) * n / len(row_sums)
            relative = kernel_mean_standard_error(row_sums, squares, n)
        return Number(value, relative, mean.n, None, mean.sampling_error / mean.value)
