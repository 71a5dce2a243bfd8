"""The spectrum: singular values of the rows, and the measures of rank that are read off them.

effective rank, RankMe, participation ratio, NESum, stable rank, alpha-ReQ, IsoScore, condition
number and numerical rank, each of the rows as saved or on the sphere, centred or not.

The triangular factor of [1 | X] is built block by block (sequential QR: the factor so far stacked
on the next rows).  Neither X nor its covariance is squared, and only D x D numbers are held.  The
columns of X in the factor have the singular values of X.  The first column is the constant, so the
part below the first row has the singular values of X less its mean row.  Where rows are fewer than
dimensions, X transposed is factored, strip of columns by strip of columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate

import numpy as np

from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.metrics.quality.context import Context, in_every_definition
from cl_analyze.metrics.quality.jackknife import N_GROUPS, jackknife_error
from cl_analyze.metrics.quality.rows import FormRows, Index, Matrix, Vector
from cl_analyze.pairs.executors import Executor
from cl_analyze.pairs.plan import spans
from cl_analyze.tables import Record, Table

VERSIONS = ("raw", "raw_centred", "normalised", "normalised_centred")
"""Rows as saved or on the unit sphere, as they are or less their mean row."""

WIDEST = 8_192
"""Singular values are those of at most so many dimensions or rows, whichever are fewer."""
WIDEST_WITH_ERRORS = 512
"""Dimensions (or rows, where these are fewer) up to which spectra have error bars."""
RANKME_EPS = 1e-7
POWER_LAW_RANKS = (4, 100)
"""Ranks, first and last, that the power law is fitted to (Agrawal et al.'s code)."""
FEWEST_RANKS = 3
_STRIP_BYTES = 1 << 27
_BLOCK_BYTES = 1 << 27
_PARTS_OF_WIDE_ROWS = 4


def _stacked(factor: Matrix, rows: Matrix) -> Matrix:
    """The triangular factor of [factor; rows]."""
    if not len(rows):
        return factor
    return np.asarray(np.linalg.qr(np.concatenate([factor, rows]), mode="r"))


class _Stack:
    """Job: factors of pairs of a factor and rows."""

    def run(self, unit: tuple[Matrix, Matrix]) -> Matrix:
        """See `_stacked`."""
        return _stacked(*unit)


@dataclass(frozen=True)
class Factors:
    """Triangular factors that stand for a matrix of rows.

    Attributes:
        parts: factors of [1 | X] of disjoint sets of rows; or, where rows are fewer than
            dimensions, the one factor of X transposed, (rows, rows).
        wide: whether rows are fewer than dimensions.
        groups: (N,) the part of each row.
        scale: the number that X was divided by.
    """

    parts: tuple[Matrix, ...]
    wide: bool
    groups: Index
    scale: float

    def whole(self) -> Matrix:
        """The factor of all rows."""
        return reduce(_stacked, self.parts)

    @property
    def mean(self) -> Vector:
        """(D,) the mean row, divided by the scale; of rows that are not fewer than dimensions."""
        factor = self.whole()
        return np.asarray(factor[0, 1:] / factor[0, 0])

    def _centred(self, factor: Matrix) -> Matrix:
        return factor - factor.mean(axis=1, keepdims=True) if self.wide else factor[1:, 1:]

    def _values(self, factor: Matrix, centred: bool) -> Vector:
        uncentred = factor if self.wide else factor[:, 1:]
        matrix = self._centred(factor) if centred else uncentred
        if not matrix.size:
            return np.zeros(min(matrix.shape))
        return np.asarray(self.scale * np.linalg.svd(matrix, compute_uv=False))

    def singular_values(self, centred: bool) -> Vector:
        """(min(N, D),) singular values of X, or of X less its mean row, descending."""
        return self._values(self.whole(), centred)

    def without_each_group(self, centred: bool) -> Iterator[Vector]:
        """Singular values without the rows of each group."""
        if self.wide:
            for group in np.unique(self.groups):
                yield self._values(self.parts[0][:, self.groups != group], centred)
            return
        empty, last_first = self.parts[0][:0], self.parts[:0:-1]
        before = accumulate(self.parts[:-1], _stacked, initial=empty)
        after = accumulate(last_first, lambda rest, part: _stacked(part, rest), initial=empty)
        for one, other in zip(before, reversed(list(after)), strict=True):
            yield self._values(_stacked(one, other), centred)

    def directions(self, count: int) -> tuple[Matrix, Vector]:
        """Principal axes of the centred rows: (D or N, count), and their singular values.

        Where rows are at least as many as dimensions, the axes are right singular vectors of X less
        its mean row, to project rows on; otherwise they are the rows' own coordinates, already
        scaled.  The sign of each axis makes its largest entry positive.
        """
        _, values, right = np.linalg.svd(self._centred(self.whole()), full_matrices=False)
        axes, lengths = np.zeros((right.shape[1], count)), np.zeros(count)
        n_known = min(count, len(values))
        axes[:, :n_known] = right[:n_known].T
        lengths[:n_known] = self.scale * values[:n_known]
        peaks = axes[np.abs(axes).argmax(axis=0), np.arange(count)]
        axes *= np.where(peaks < 0, -1.0, 1.0)
        return (axes * lengths if self.wide else axes), lengths


def factors(rows: FormRows, groups: Index, executor: Executor) -> Factors:
    """Triangular factors of a matrix that is read block by block.

    Args:
        rows: the matrix, the smaller of its sides at most `WIDEST`.
        groups: (N,) rows of one code make one part (where N > D).
        executor: threads that factor parts side by side.

    Cost: one pass, about 3 N D min(N, D) operations; memory a few min(N, D)^2 numbers for each
    part.
    """
    n_rows, dim = rows.shape
    if n_rows <= dim:
        return Factors((_wide_factor(rows, executor),), True, groups, rows.scale)
    n_parts = int(groups.max()) + 1
    parts = [np.zeros((0, dim + 1)) for _ in range(n_parts)]
    step = max(min(2 * n_parts * (dim + 1), _BLOCK_BYTES // (8 * dim)), 256)
    for span, block in rows.blocks(step):
        with_ones = np.column_stack([np.ones(len(block)), block])
        of_rows = groups[span]
        present = np.unique(of_rows)
        units = ((parts[group], with_ones[of_rows == group]) for group in present)
        for group, factor in zip(present, executor.run(_Stack(), units), strict=True):
            parts[group] = factor
    return Factors(tuple(parts), False, groups, rows.scale)


def _wide_factor(rows: FormRows, executor: Executor) -> Matrix:
    """(N, N) the triangular factor of X transposed."""
    n_rows, dim = rows.shape
    width = max(n_rows, _STRIP_BYTES // (8 * n_rows), 1)
    step = max(1, _BLOCK_BYTES // (8 * dim))
    factor = np.zeros((0, n_rows))
    for left, right in spans(dim, min(width, dim)):
        strip = np.empty((right - left, n_rows))
        for span, block in rows.blocks(step):
            strip[:, span] = block[:, left:right].T
        (factor,) = executor.run(_Stack(), [(factor, strip)])
    return factor


def parts_of(n_rows: int, dim: int, groups: Index) -> tuple[Index, bool]:
    """(N,) part of each row, and whether parts are the (N,) groups of the jackknife."""
    if min(n_rows, dim) <= WIDEST_WITH_ERRORS and groups.max() > 0:
        return groups, True
    return np.arange(n_rows) % min(_PARTS_OF_WIDE_ROWS, n_rows), False


def memory_needed(n_rows: int, dim: int, n_threads: int) -> int:
    """Bytes that `factors` takes: a block of rows, the factors, copies while they are merged."""
    least = min(n_rows, dim)
    if least > WIDEST:
        return 0
    parts = N_GROUPS if least <= WIDEST_WITH_ERRORS else _PARTS_OF_WIDE_ROWS
    stacked = 4 * 8 * (least + 1) ** 2
    return 2 * min(_BLOCK_BYTES, 8 * n_rows * dim) + parts * stacked // 4 + n_threads * stacked


# ---- measures of rank; each takes (m,) singular values, descending


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
    return PowerLaw(-slope, 1.0 - rest / total if total > 0 else 0.0, first, last)


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
        "exponential of the entropy of singular values over their sum. Rows as saved or "
        "normalised, centred or not.",
        definitions=_versions("raw"),
        formulas=("exp(−Σ p log p), p = σ/Σσ",),
        better="higher",
        source="Roy & Vetterli 2007.",
    ): lambda s: effective_rank(s.values),
    Metric(
        "rankme",
        "dimensions",
        "effective rank with the paper's 1e-7.",
        definitions=_versions("raw"),
        formulas=("the same with p = σ/Σσ + 10⁻⁷",),
        better="higher",
        source="Garrido et al. 2023.",
    ): lambda s: rankme(s.values),
    Metric(
        "participation_ratio",
        "dimensions",
        "square of the sum of eigenvalues over the sum of their squares.",
        definitions=_versions("raw_centred"),
        formulas=("(Σλ)²/Σλ²",),
        better="higher",
    ): (lambda s: participation_ratio(s.values)),
    Metric(
        "nesum",
        "dimensions",
        "sum of eigenvalues over the largest.",
        definitions=_versions("raw_centred"),
        formulas=("Σλ/λ₁",),
        better="higher",
        source="He & Ozay 2022.",
    ): lambda s: nesum(s.values),
    Metric(
        "stable_rank",
        "dimensions",
        "sum of squared singular values over the largest squared.",
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
            "gives no range, this is its code's",
        ),
        parameters=_RANKS,
        source="Agrawal et al. 2022.",
    ): _of_law(lambda law: law.exponent),
    Metric(
        "alpha_req_r_squared",
        "none",
        "how well that line fits.",
        definitions=_versions("raw_centred"),
        formulas=("R² of that fit: under 0.9 the exponent says little",),
        parameters=_RANKS,
    ): _of_law(lambda law: law.r_squared),
    Metric(
        "isoscore",
        "none",
        "1 where variance is alike in every direction, 0 in one.",
        definitions=_versions("raw_centred"),
        formulas=("(PR − 1)/(D − 1), which IsoScore's steps come to",),
        better="higher",
        source="Rudman et al. 2022.",
    ): _isoscore,
    Metric(
        "condition_number",
        "ratio",
        "largest singular value over the smallest; undefined where a direction holds nothing "
        "but rounding.",
        definitions=_versions("raw"),
        formulas=("σ₁/σ_min; undefined where directions are empty",),
        better="lower",
    ): _condition_number,
    Metric(
        "numerical_rank",
        "dimensions",
        "singular values above rounding.",
        definitions=_versions("raw"),
        formulas=(
            "σ above the rounding of the stored numbers: ε ‖X‖_F (1/√N + 1/√D), ε the spacing of "
            "the stored precision at 1",
        ),
        better="higher",
        depends_on=("rows",),
    ): lambda s: float(s.rank),
}
"""Metric -> the function that reads its value, or the reason why there is none."""
METRICS = tuple(_READ)


def _read(metric: Metric, spectrum: Spectrum) -> float | str:
    if not len(spectrum.values) or spectrum.values[0] <= spectrum.floor:
        return "rows do not differ by more than rounding"
    return _READ[metric](spectrum)


def spectrum_records(context: Context) -> Iterator[Record]:
    """Every metric in every version, each metric's own convention first."""
    by_version = context.once(spectra).versions
    for metric in in_every_definition(METRICS):
        if not by_version:
            reason = f"needs min(N, D) of at most {WIDEST}"
            yield context.recorded(metric, None, reason=reason)
            continue
        spectrum = by_version[str(metric.definition)]
        value = _read(metric, spectrum)
        if isinstance(value, str):
            yield context.recorded(metric, None, reason=value)
            continue
        if metric.name.startswith("alpha_req") and (law := spectrum.law()) is not None:
            metric = metric.at(metric.definition, first_rank=law.first, last_rank=law.last)
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
