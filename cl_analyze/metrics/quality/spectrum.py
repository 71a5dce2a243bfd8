"""The spectrum: singular values of the rows, and the measures of rank that are read off them.

effective rank, RankMe, participation ratio, NESum, stable rank, alpha-ReQ, IsoScore, condition
number and numerical rank, each of the rows as saved or on the sphere, centred or not; the Vendi
score, of the rows on the sphere.

The singular values come from triangular factors (factors.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.metrics.quality.context import Context, in_every_definition
from cl_analyze.metrics.quality.factors import (
    WIDEST,
    Factors,
    factors,
    parts_of,
)
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.rows import Vector
from cl_analyze.results.tables import Record, Table

VERSIONS = ("raw", "raw_centred", "normalised", "normalised_centred")
"""Rows as saved or on the unit sphere, as they are or less their mean row."""

RANKME_EPS = 1e-7
POWER_LAW_RANKS = (4, 100)
"""Ranks, first and last, that the power law is fitted to (Agrawal et al.'s code)."""
FEWEST_RANKS = 3
_FLAT = 1e-24
"""Mean squared deviation of log eigenvalues under which they are equal up to rounding."""


def _entropy_rank(shares: Vector) -> float:
    return math.exp(-float((shares * np.log(shares)).sum()))


def effective_rank(values: Vector) -> float:
    """Effective rank: exp of the entropy of the values' shares (Roy & Vetterli, EUSIPCO 2007).

    >>> round(effective_rank(np.ones(5)), 9)
    5.0
    """
    return _entropy_rank(values[values > 0] / values.sum())


def rankme(values: Vector) -> float:
    """RankMe: the effective rank with 1e-7 added to every share (Garrido et al., ICML 2023)."""
    return _entropy_rank(values / values.sum() + RANKME_EPS)


def participation_ratio(values: Vector) -> float:
    """Participation ratio: (sum lambda)^2 / sum lambda^2 with lambda the squared values."""
    squares = (values / values[0]) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum())


def nesum(values: Vector) -> float:
    """NESum: sum lambda / lambda_1 (He & Ozay, ICML 2022, Def. 4.1).

    The stable rank |X|_F^2 / |X|_2^2 is the same number, usually of uncentred rows.

    >>> nesum(np.array([2.0, 1.0, 1.0]))
    1.5
    """
    return float(((values / values[0]) ** 2).sum())


def vendi_score(values: Vector) -> float:
    """Vendi score with the cosine kernel: exp of the entropy of the eigenvalues of X'X / N.

    Of unit rows these eigenvalues sum to 1, and are those of the kernel matrix over N: the
    effective number of different rows, from 1 (all alike) to min(N, D) (orthogonal rows).

    Args:
        values: singular values of the unit rows, not centred.

    >>> round(vendi_score(np.ones(5)), 9)
    5.0

    Reference:
        Friedman & Dieng, The Vendi score, TMLR 2023.
    """
    return effective_rank(values**2)


def isoscore(values: Vector, dim: int) -> float:
    """IsoScore (Rudman et al., ACL Findings 2022), in closed form (PR - 1) / (D - 1)."""
    return (participation_ratio(values) - 1.0) / (dim - 1)


@dataclass(frozen=True)
class PowerLaw:
    """lambda_j ~ j^-exponent, fitted with weights 1 / rank over ranks first..last, both counted."""

    exponent: float
    r_squared: float
    first: int
    last: int


def power_law(values: Vector, floor: float = 0.0) -> PowerLaw | None:
    """Exponent of the eigenvalues' decay (alpha-ReQ or alphaReQ; Agrawal et al., NeurIPS 2022).

    Args:
        values: singular values, descending.
        floor: values at or under it are rounding, and take no part.

    Returns:
        None where fewer than three ranks are left.

    >>> law = power_law(np.arange(1, 200) ** -0.65)       # lambda = j^-1.3
    >>> round(law.exponent, 9), round(law.r_squared, 9), law.first, law.last
    (1.3, 1.0, 4, 100)
    """
    first, last = POWER_LAW_RANKS
    last = min(last, int((values > floor).sum()))
    if last - first + 1 < FEWEST_RANKS:
        return None
    ranks = np.arange(first, last + 1).astype(np.float64)
    x, y = np.log(ranks), 2.0 * np.log(values[first - 1 : last])
    weights = 1.0 / ranks
    x, y = x - np.average(x, weights=weights), y - np.average(y, weights=weights)
    slope = float((weights * x * y).sum() / (weights * x * x).sum())
    total = float((weights * y * y).sum())
    rest = float((weights * (y - slope * x) ** 2).sum())
    is_flat = total <= _FLAT * weights.sum()  # no decay to explain, but rounding
    return PowerLaw(-slope, 0.0 if is_flat else 1.0 - rest / total, first, last)


def rounding_floor(values: Vector, n_rows: int, dim: int, eps: float) -> float:
    """Singular values at or under this are rounding of the stored numbers.

    Rounding adds independent errors of up to eps times the usual entry.  The largest singular value
    of such a matrix is about that times sqrt(N) + sqrt(D).

    Args:
        values: all singular values.
        n_rows, dim: N and D.
        eps: spacing of the stored precision at 1.
    """
    largest = float(values[0])
    if largest == 0:
        return 0.0
    frobenius = largest * math.sqrt(float(((values / largest) ** 2).sum()))
    relative = eps * (n_rows**-0.5 + dim**-0.5)
    least = 8.0 * float(np.finfo(np.float64).eps)
    return frobenius * (relative if relative > least else least)


# ---- the spectra of a checkpoint, and the records and the table made of them


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of one version of the rows.

    Attributes:
        values: (min(N, D),) singular values, descending.
        floor: values at or under it are rounding.
        dim: D.
        lost: directions that centring takes away: 1 where rows are fewer than dimensions.
        without: singular values without each group of the jackknife; empty: there are no errors.
    """

    values: Vector
    floor: float
    dim: int
    lost: int
    without: tuple[Vector, ...] = ()

    @property
    def rank(self) -> int:
        """Directions above rounding."""
        return int((self.values > self.floor).sum())

    def law(self) -> PowerLaw | None:
        """See `power_law`."""
        return power_law(self.values, self.floor)


@dataclass(frozen=True)
class Spectra:
    """The four spectra of one checkpoint, by version, and the factors of the normalised rows.

    Both are empty where the smaller of N and D is above `WIDEST`.
    """

    versions: dict[str, Spectrum]
    factors: Factors | None


def spectra(context: Context) -> Spectra:
    """Two passes over the rows."""
    n_rows, dim = context.subject.n, context.subject.d
    if min(n_rows, dim) > WIDEST:
        return Spectra({}, None)
    groups, errors = parts_of(n_rows, dim, context.deletion_groups)
    eps = context.subject.rows.stored_eps
    versions = {}
    for form in context.forms:
        context.runner.announce(f"spectrum, {form.form} rows")
        triangles = factors(form, groups, context.local)
        values = [triangles.singular_values(centred) for centred in (False, True)]
        floor = rounding_floor(values[0], n_rows, dim, eps)
        for centred in (False, True):
            versions[f"{form.form}_centred" if centred else form.form] = Spectrum(
                values[centred],
                floor,
                dim,
                int(centred and triangles.wide),
                tuple(triangles.without_each_group(centred)) if errors else (),
            )
    return Spectra(versions, triangles)


def _condition_number(spectrum: Spectrum) -> float | str:
    rank, possible = spectrum.rank, len(spectrum.values) - spectrum.lost
    if rank < possible:
        return f"infinite: {possible - rank} of {possible} directions are empty"
    return float(spectrum.values[0] / spectrum.values[possible - 1])


def _isoscore(spectrum: Spectrum) -> float | str:
    if spectrum.dim == 1:
        return "needs two dimensions"
    return isoscore(spectrum.values, spectrum.dim)


def _of_law(read: Callable[[PowerLaw], float]) -> Callable[[Spectrum], float | str]:
    needed = POWER_LAW_RANKS[0] + FEWEST_RANKS - 1

    def value(spectrum: Spectrum) -> float | str:
        law = spectrum.law()
        return f"needs {needed} directions above rounding" if law is None else read(law)

    return value


def _versions(default: str) -> tuple[str, ...]:
    """The four versions, the one that the metric's authors use in front."""
    return default, *(version for version in VERSIONS if version != default)


_RANKS = (Parameter("first_rank", is_whole=True), Parameter("last_rank", is_whole=True))
_READ: dict[Metric, Callable[[Spectrum], float | str]] = {
    Metric(
        "effective_rank",
        "dimensions",
        "exponential of the entropy of the singular values divided by their sum; of rows as "
        "saved or normalised, centred or not.",
        definitions=_versions("raw"),
        formulas=("exp(−Σ p log p), p = σ/Σσ",),
        better="higher",
        source="Roy & Vetterli 2007.",
    ): lambda s: effective_rank(s.values),
    Metric(
        "rankme",
        "dimensions",
        "effective rank with 1e-7 added to each share, as in the RankMe paper.",
        definitions=_versions("raw"),
        formulas=("as `effective_rank`, with p = σ/Σσ + 10⁻⁷",),
        better="higher",
        source="Garrido et al. 2023.",
        title="RankMe",
    ): lambda s: rankme(s.values),
    Metric(
        "participation_ratio",
        "dimensions",
        "squared sum of the eigenvalues divided by the sum of their squares.",
        definitions=_versions("raw_centred"),
        formulas=("(Σλ)²/Σλ²",),
        better="higher",
    ): (lambda s: participation_ratio(s.values)),
    Metric(
        "nesum",
        "dimensions",
        "sum of the eigenvalues divided by the largest eigenvalue.",
        definitions=_versions("raw_centred"),
        formulas=("Σλ/λ₁",),
        better="higher",
        source="He & Ozay 2022.",
        title="NESum",
    ): lambda s: nesum(s.values),
    Metric(
        "stable_rank",
        "dimensions",
        "sum of the squared singular values divided by the largest of these squares.",
        definitions=_versions("raw"),
        formulas=("‖X‖²_F/‖X‖²₂",),
        better="higher",
    ): lambda s: nesum(s.values),
    Metric(
        "alpha_req",
        "none",
        "exponent of a power law through the eigenvalues.",
        definitions=_versions("raw_centred"),
        formulas=(
            "α of λ_j ~ j^−α: least squares of log λ on log rank, weights 1/rank, over the ranks "
            "in `params`: 4 to 100, fewer where fewer directions are above rounding; the paper "
            "gives no range, this range is from the authors' code",
        ),
        parameters=_RANKS,
        source="Agrawal et al. 2022.",
        title="alpha-ReQ",
    ): _of_law(lambda law: law.exponent),
    Metric(
        "alpha_req_r_squared",
        "none",
        "R² of the fit of alpha_req; 1 is a perfect power law.",
        definitions=_versions("raw_centred"),
        formulas=("R² of the fit of `alpha_req`; below 0.9 the exponent means little",),
        parameters=_RANKS,
        title="alpha-ReQ R squared",
    ): _of_law(lambda law: law.r_squared),
    Metric(
        "isoscore",
        "none",
        "1 where every direction has the same variance, 0 where one direction has all of it.",
        definitions=_versions("raw_centred"),
        formulas=("(PR − 1)/(D − 1), PR the participation ratio: the closed form of IsoScore",),
        better="higher",
        source="Rudman et al. 2022.",
        title="IsoScore",
    ): _isoscore,
    Metric(
        "condition_number",
        "ratio",
        "largest singular value divided by the smallest; undefined where a direction holds "
        "nothing but rounding.",
        definitions=_versions("raw"),
        formulas=("σ₁/σ_min; undefined where directions are empty",),
        better="lower",
    ): _condition_number,
    Metric(
        "numerical_rank",
        "dimensions",
        "number of singular values above the rounding of the stored numbers.",
        definitions=_versions("raw"),
        formulas=(
            "number of σ above the rounding of the stored numbers: ε ‖X‖_F (1/√N + 1/√D), ε the "
            "spacing of the stored precision at 1",
        ),
        better="higher",
        depends_on=("rows",),
    ): lambda s: float(s.rank),
    Metric(
        "vendi_score",
        "dimensions",
        "effective number of different rows, with the cosine as their likeness.",
        formulas=("exp(−Σ λ log λ), λ the eigenvalues of XᵀX/N, unit rows",),
        better="higher",
        source="Friedman & Dieng 2023.",
        title="Vendi score",
    ): lambda s: vendi_score(s.values),
}
"""Metric -> the function that reads its value, or the reason why there is none."""
_SINGLE_VERSION = "normalised"
"""The version that a metric with a single definition is read from."""
METRICS = tuple(_READ)


def _read(metric: Metric, spectrum: Spectrum) -> float | str:
    if not len(spectrum.values) or spectrum.values[0] <= spectrum.floor:
        return "rows do not differ by more than rounding"
    return _READ[metric](spectrum)


def spectrum_records(context: Context) -> Iterator[Record]:
    """Every metric in its versions, each metric's own convention first."""
    by_version = context.once(spectra).versions
    for metric in in_every_definition(METRICS):
        if not by_version:
            reason = f"needs min(N, D) of at most {WIDEST}"
            yield context.recorded(metric, None, reason=reason)
            continue
        spectrum = by_version[metric.definition or _SINGLE_VERSION]
        value = _read(metric, spectrum)
        if isinstance(value, str):
            yield context.recorded(metric, None, reason=value)
            continue
        if metric.parameters == _RANKS and (law := spectrum.law()) is not None:
            metric = metric.at(first_rank=law.first, last_rank=law.last)
        others = [_read(metric, replace(spectrum, values=less)) for less in spectrum.without]
        yield context.recorded(metric, value, jackknife_error(others))


def spectrum_table(context: Context) -> Table:
    """The four spectra, one row for each singular value."""
    by_version = context.once(spectra).versions
    blocks = []
    for version, spectrum in by_version.items():
        values = spectrum.values
        if not np.isfinite(values).all():  # norms beyond float64's range
            continue
        squares = (values / max(float(values[0]), 1e-300)) ** 2
        shares = squares / max(float(squares.sum()), 1e-300)
        n_free = context.subject.n - version.endswith("_centred")
        with np.errstate(over="ignore"):
            eigenvalues = values * (values / n_free)
        blocks.append(
            {
                "definition": version,
                "rank": np.arange(1, len(values) + 1),
                "singular_value": values,
                "eigenvalue": eigenvalues,
                "explained": shares,
                "cumulative": np.minimum(np.cumsum(shares), 1.0),
            }
        )
    return context.table("spectrum", *blocks)
