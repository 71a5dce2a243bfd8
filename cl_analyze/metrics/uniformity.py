"""Uniformity: log of the mean Gaussian potential, beside what the uniform law gives.

Wang & Isola, ICML 2020; Wang & Liu, CVPR 2021, eq. 10:  log E exp(-t |x - y|^2), more negative
is more uniform (published tables often print its negative).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cl_analyze.metrics.anchors import Anchors, Vector
from cl_analyze.metrics.family import (
    FamilyResult,
    Measured,
    MetricOptions,
    PairFreeFamily,
    PairRunner,
    Subject,
)
from cl_analyze.metrics.uniform_law import uniformity_of_uniform_law
from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers import LogSumOfSquares, RowLogSumExp
from cl_analyze.stats import kernel_mean_standard_error, pseudo_values, standard_error
from cl_analyze.tables import Param, Record


def kernel_tau(t: float) -> float:
    """The temperature with exp(-t |x - y|^2) = exp(-2t) exp(s / tau) on the sphere."""
    return 1.0 / (2.0 * t)


@dataclass(frozen=True)
class _Potential:
    """Log of the mean potential, its errors, and how many rows it was averaged over."""

    value: float
    std_error: float | None
    pseudo_values: Vector | None
    n: int
    sampling_error: float = 0.0


class Uniformity(PairFreeFamily):
    """`uniformity` (u_stat: i != j; v_stat: self pairs too), the uniform law's value, and the gap.

    u_stat is the mean over ordered pairs i != j, the log taken of the mean; std_error is the exact
    variance of that U-statistic (clustered jackknife where rows are grouped).
    """

    name = "uniformity"
    uses_labels = False
    definitions: dict[str, tuple[str, ...]] = {  # noqa: RUF012
        "uniformity": ("u_stat", "v_stat"),
        "uniformity_of_uniform_law": (),
        "uniformity_gap": (),
    }
    directions = {"uniformity": "lower", "uniformity_gap": "lower"}  # noqa: RUF012

    def first_pass(self, subject: Subject, options: MetricOptions) -> tuple[Reducer, ...]:
        """The kernel's row sums, and the sum of its square for the standard error."""
        return tuple(
            reducer
            for t in options.ts
            for reducer in (RowLogSumExp(kernel_tau(t)), LogSumOfSquares(kernel_tau(t)))
        )

    def compute(
        self, subject: Subject, options: MetricOptions, measured: Measured, runner: PairRunner
    ) -> FamilyResult:
        """Four records for each t."""
        records: list[Record] = []
        n, d = subject.n, subject.d
        for t in options.ts:
            params: dict[str, Param] = {"t": t}
            log_rows = measured.first[RowLogSumExp(kernel_tau(t))] - 2.0 * t
            log_squares = float(measured.first[LogSumOfSquares(kernel_tau(t))]) - 4.0 * t
            found = (
                self._exact(subject, log_rows, log_squares)
                if measured.anchors is None
                else self._estimated(subject, log_rows, log_squares, measured.anchors)
            )
            value, error, pseudo = found.value, found.std_error, found.pseudo_values
            exact = measured.anchors is None
            law = uniformity_of_uniform_law(d, t)
            v_value = float(np.logaddexp(value + math.log((n - 1) / n), -math.log(n)))
            # d v_value / d value: how much of the potential is not the self pairs'
            slope = math.exp(value - v_value) * (n - 1) / n
            for metric, definition, number, its_error, its_pseudo, weight in (
                ("uniformity", "u_stat", value, error, pseudo, 1.0),
                (
                    "uniformity",
                    "v_stat",
                    v_value,
                    None if error is None else slope * error,
                    None if pseudo is None else v_value + slope * (pseudo - value),
                    slope,
                ),
                ("uniformity_of_uniform_law", None, law, 0.0, None, 0.0),
                (
                    "uniformity_gap",
                    None,
                    value - law,
                    error,
                    None if pseudo is None else pseudo - law,
                    1.0,
                ),
            ):
                estimated = not exact and weight > 0
                records.append(
                    Record(
                        source=subject.source,
                        metric=metric,
                        definition=definition,
                        params=params,
                        value=number,
                        std_error=its_error,
                        unit="nats",
                        n=found.n if estimated else n,
                        d=d,
                        pseudo_values=its_pseudo,
                        sampling_error=weight * found.sampling_error if estimated else None,
                        exact=not estimated,
                    )
                )
        return FamilyResult(tuple(records))

    def _exact(self, subject: Subject, log_rows: Vector, log_squares: float) -> _Potential:
        """From the row sums of every row."""
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
        return _Potential(value, error, pseudo, n)

    def _estimated(
        self, subject: Subject, log_rows: Vector, log_squares: float, anchors: Anchors
    ) -> _Potential:
        """From the row sums of the anchors."""
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
        return _Potential(value, relative, None, mean.n, mean.sampling_error / mean.value)
