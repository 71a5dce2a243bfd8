"""Variants that a request asks for, and what they learn from the rows of the embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import Rows
from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import RowCheck, block_rows, listed
from cl_analyze.data.variants import LEVELS, Variant, VariantRows, mapped_dtype
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.metrics.quality.factors import WIDEST, factors
from cl_analyze.metrics.quality.rows import FormRows
from cl_analyze.metrics.quality.spectrum import rounding_floor
from cl_analyze.options import Request, RunOptions
from cl_analyze.options.declaration import options_of
from cl_analyze.pairs.executors import SerialExecutor, single_threaded_blas

Vector = NDArray[np.float64]
_BY_NAME = ("quantise", "transform")
WHITEN = "whiten"


def with_variants(requests: Iterable[Request]) -> list[Request]:
    """Each request, followed by one request for each of its variants.

    Raises:
        ConfigError: a number of dimensions or the name of a variant is not allowed.
    """
    return [variant for request in requests for variant in _variants(request)]


def _variants(request: Request) -> Iterator[Request]:
    declared = options_of(Request)
    given = {name: getattr(request, name) for name in ("dims", *_BY_NAME)}
    values = {name: () if value is None else value for name, value in given.items()}
    names = [f"dims={k}" for k in declared["dims"].kind.check("dims", values["dims"])]
    for option in _BY_NAME:
        words = values[option]
        words = (words,) if isinstance(words, str) else words
        names += dict.fromkeys(declared[option].kind.check(option, words))
    alone = replace(request, dims=(), quantise=(), transform=())
    yield alone
    for name in names:
        yield replace(alone, variant=name)


def fitted(request: Request, rows: Rows, stored: str, largest: float, title: str) -> Variant:
    """The map of a variant, fitted on the rows of the embeddings in one pass.

    Args:
        request: names the variant.
        rows: (N, D) valid rows.
        stored: the dtype in which they are saved.
        largest: their largest norm.
        title: name of the embeddings in messages.

    Raises:
        ConfigError: more dimensions are asked for than there are, or too many to be whitened.
        DataError: values are so large or so small that their differences are lost, or rows do not
            differ.

    Cost: nothing for dims and binary; one reading of the rows; for whiten about 3 N D^2 operations
    and a few D^2 numbers.
    """
    name, dim = request.variant, rows.shape[1]
    change, _, number = name.partition("=")
    if change == "dims":
        if int(number) > dim:
            raise ConfigError(f"--dims {number}: {title} has {dim} dimensions")
        return Variant(name, int(number), stored)
    if change == "binary":
        return Variant(name, dim, "|i1")
    with np.errstate(over="ignore", invalid="ignore"):
        if change == WHITEN:
            variant = _whitening(rows, stored, largest, title)
        else:
            variant = _by_coordinate(change, _moments(rows, largest), mapped_dtype(stored))
    assert variant.centre is not None
    assert variant.scale is not None
    if not (np.isfinite(variant.centre).all() and np.all(variant.scale > 0)):
        raise DataError(
            f"{title}: --transform and --quantise need differences of coordinates, which leave the "
            f"range of float64 here (norms up to {largest:g}): divide the embeddings by a number"
        )
    return variant


@dataclass(frozen=True)
class _Moments:
    """Of each coordinate: mean, deviation (divides by N), least and greatest value."""

    mean: Vector
    deviation: Vector
    least: Vector
    greatest: Vector


def _moments(rows: Rows, largest: float) -> _Moments:
    """Moments of the coordinates, merged block by block (Chan et al. 1979)."""
    n_rows, dim = rows.shape
    unit = _power_of_two(largest)
    mean, squares = np.zeros(dim), np.zeros(dim)
    least, greatest = np.full(dim, np.inf), np.full(dim, -np.inf)
    for start, block in _blocks(rows):
        least, greatest = (
            np.minimum(least, block.min(axis=0)),
            np.maximum(greatest, block.max(axis=0)),
        )
        block = block / unit
        own_mean = block.mean(axis=0)
        step, n = own_mean - mean, len(block)
        squares += np.square(block - own_mean).sum(axis=0) + step**2 * (start * n / (start + n))
        mean += step * (n / (start + n))
    is_constant = least == greatest
    deviation = np.where(is_constant, 0.0, np.sqrt(squares / n_rows) * unit)
    return _Moments(np.where(is_constant, least, mean * unit), deviation, least, greatest)


def _by_coordinate(change: str, moments: _Moments, dtype: str) -> Variant:
    """int8, centre or standardise."""
    dim = len(moments.mean)
    if change == "int8":
        step = (moments.greatest - moments.least) / LEVELS
        step = np.where(np.isfinite(step), step, np.nan)
        step[moments.greatest == moments.least] = np.inf
        return Variant(change, dim, "|i1", moments.least, step)
    scale = np.ones(dim)
    if change == "standardise":
        scale = np.where(moments.deviation > 0, moments.deviation, 1.0)
    return Variant(change, dim, dtype, moments.mean, scale)


def _whitening(rows: Rows, stored: str, largest: float, title: str) -> Variant:
    """PCA whitening: principal axes above the rounding of the stored numbers, each of variance 1.

    The axes come from a triangular factor of the rows, not from their covariance, so that small
    directions keep their digits.
    """
    n_rows, dim = rows.shape
    if min(n_rows, dim) > WIDEST:
        raise ConfigError(
            f"{title}: --transform whiten takes at most {WIDEST} dimensions (or rows), found {dim}"
        )
    unit = _power_of_two(largest)
    saved = UnitRows(rows, np.float64, 0)
    with single_threaded_blas():
        if n_rows > dim:
            form = FormRows("raw", saved, unit)
            whole = factors(form, np.zeros(n_rows, np.int64), SerialExecutor())
            mean, axes, lengths = whole.mean, *whole.principal_axes()
            values = whole.singular_values(centred=False)
        else:
            matrix = saved.stored_block(0, n_rows) / unit
            mean = np.asarray(matrix.mean(axis=0))
            _, spread, right = np.linalg.svd(matrix - mean, full_matrices=False)
            axes = right.T
            values = np.asarray(unit * np.linalg.svd(matrix, compute_uv=False), dtype=np.float64)
            lengths = np.asarray(unit * spread, dtype=np.float64)
    above = lengths > rounding_floor(values, n_rows, dim, saved.stored_eps)
    above[n_rows - 1 :] = False  # centred rows have one direction fewer than rows
    if not above.any():
        raise DataError(f"{title}: --transform whiten: rows do not differ by more than rounding")
    scale = lengths[above] / math.sqrt(n_rows)
    kept = np.ascontiguousarray(axes[:, above])
    return Variant(WHITEN, len(scale), mapped_dtype(stored), unit * mean, scale, kept)


def _power_of_two(largest: float) -> float:
    """The power of two just below a number, so that division by it loses no digit."""
    return 2.0 ** math.floor(math.log2(largest))


def _blocks(rows: Rows) -> Iterator[tuple[int, NDArray[np.float64]]]:
    n_rows, step = rows.n_rows, block_rows(rows.shape[1])
    for start in range(0, n_rows, step):
        yield start, rows.read(start, min(start + step, n_rows)).astype(np.float64)
        rows.give_back()


def in_numbering_of_file(check: RowCheck, kept: NDArray[np.int64]) -> RowCheck:
    """The result of a check of some rows, with the positions of these rows in their file."""
    found = {
        name: kept[getattr(check, name)]
        for name in ("non_finite", "zero", "duplicates", "subnormal")
    }
    return replace(check, **found)


def require_directions(name: str, check: RowCheck, run: RunOptions) -> None:
    """Check that every row of a variant has a direction, unless such rows may be dropped.

    Args:
        name: of the rows of the variant, in the message.
        check: what was found in them.
        run: `on_invalid` says whether such rows may be dropped.

    Raises:
        DataError: the map takes rows to zero, as --dims does where the first coordinates are 0.
    """
    n = len(check.invalid)
    if n and run.on_invalid == "error":
        rows = "1 row has" if n == 1 else f"{n} rows have"
        raise DataError(
            f"{name}: {rows} no direction left in this variant: all coordinates are 0 "
            f"({listed(check.invalid)}); leave the variant out, or pass --on-invalid drop to leave "
            "such rows out of it"
        )


def mapped(rows: Rows, variant: Variant | None) -> Rows:
    """The rows, or their variant."""
    return rows if variant is None else VariantRows(rows, variant)


def told_of(variant: Variant, title: str, n_rows: int, dim: int) -> Iterator[str]:
    """What a user should know of a variant of rows of `dim` dimensions."""
    if variant.name != WHITEN:
        return
    if n_rows <= dim:
        yield (
            f"{title}: {n_rows} rows of {dim} dimensions are all equally far from each other once "
            "they are whitened: give more rows than dimensions"
        )
    elif variant.dim < dim:
        yield f"{title}: {variant.dim} of {dim} directions are above rounding"
