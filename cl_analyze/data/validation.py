"""Conditions that rows must meet before any metric, checked in one streaming pass.

Invalid rows (NaN, infinity, zero norm) are errors or, when asked, dropped; duplicates are only
counted.  Memory: 8 bytes a row for the hashes, and one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import BFLOAT16, Rows
from cl_analyze.data.spec import Opened
from cl_analyze.data.unit import row_norms
from cl_analyze.errors import DataError

_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True)
class RowCheck:
    """The result of a pass over the rows.

    Attributes:
        non_finite: rows with NaN or infinity.
        zero: rows of zero norm.
        duplicates: valid rows equal to an earlier row (all values equal, -0.0 as 0.0).
        subnormal: valid rows whose norm is below the smallest normal number of the stored dtype,
            so that their values have fewer digits than others.
        norm_min, norm_max, norm_mean: Euclidean norms of the valid rows (NaN without such rows).
    """

    non_finite: NDArray[np.int64]
    zero: NDArray[np.int64]
    duplicates: NDArray[np.int64]
    subnormal: NDArray[np.int64]
    norm_min: float
    norm_max: float
    norm_mean: float

    @property
    def invalid(self) -> NDArray[np.int64]:
        """Rows that no metric can use, ascending."""
        return np.union1d(self.non_finite, self.zero)


def block_rows(dim: int) -> int:
    """Rows read at a time: about a million values."""
    return max(16, _BLOCK_VALUES // max(dim, 1))


def check_rows(rows: Rows) -> RowCheck:
    """Read all rows once and report invalid, equal and subnormal ones."""
    n_rows, dim = rows.shape[0], rows.shape[1]
    step = block_rows(dim)
    non_finite, zero, subnormal, hashes, norms = [], [], [], [], []
    smallest = _smallest_normal(rows.dtype)
    random = np.random.default_rng(0).integers(0, 2**64, size=dim, dtype=np.uint64)
    multipliers = np.bitwise_or(random, np.uint64(1))
    for start in range(0, n_rows, step):
        block = rows.read(start, min(start + step, n_rows))
        finite = np.isfinite(block).all(axis=1)
        non_finite.append(start + np.flatnonzero(~finite))
        norm = row_norms(np.where(finite[:, None], block, 0))
        zero.append(start + np.flatnonzero(finite & (norm == 0)))
        subnormal.append(start + np.flatnonzero((norm > 0) & (norm < smallest)))
        norms.append(norm[finite & (norm > 0)])
        mixed = _words(block) * multipliers
        mixed ^= mixed >> np.uint64(32)
        hashes.append((mixed * multipliers).sum(axis=1, dtype=np.uint64))
        rows.give_back()
    valid_norms = np.concatenate(norms)
    limits: tuple[float, ...] = ()
    if len(valid_norms):
        largest = valid_norms.max()  # the sum of norms near the end of float64 would overflow
        limits = valid_norms.min(), largest, largest * (valid_norms / largest).mean()
    bad, none = np.concatenate(non_finite), np.concatenate(zero)
    return RowCheck(
        bad,
        none,
        _duplicates(rows, np.concatenate(hashes), np.concatenate([bad, none])),
        np.concatenate(subnormal),
        *map(float, limits or (np.nan,) * 3),
    )


def _smallest_normal(dtype: str) -> float:
    """The smallest number that a stored dtype holds with all its digits; 0 for integers."""
    if dtype == BFLOAT16:
        return float(np.finfo(np.float32).smallest_normal)
    kind = np.dtype(dtype)
    return float(np.finfo(kind).smallest_normal) if kind.kind == "f" else 0.0


def _words(block: NDArray[Any]) -> NDArray[np.uint64]:
    unsigned = np.ascontiguousarray(block + block.dtype.type(0))  # -0.0 becomes 0.0
    if unsigned.dtype == np.float64:
        return unsigned.view(np.uint64)
    return unsigned.view(np.uint32).astype(np.uint64)


def _duplicates(
    rows: Rows, hashes: NDArray[np.uint64], invalid: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows equal to an earlier one: equal hashes propose, the values decide."""
    order = np.argsort(hashes, kind="stable").astype(np.int64)
    same_as_previous = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]]) + 1
    # runs of equal hashes, each compared with its run's first (lowest) row
    starts = np.ones(len(order), dtype=bool)
    starts[same_as_previous] = False
    first_of_run = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    later, earlier = order[same_as_previous], order[first_of_run[same_as_previous]]
    duplicates = [np.zeros(0, dtype=np.int64)]
    step = block_rows(rows.shape[1])
    for start in range(0, len(later), step):
        part = slice(start, start + step)
        equal = (rows.take(later[part]) == rows.take(earlier[part])).all(axis=1)
        duplicates.append(later[part][equal])
        rows.give_back()
    return np.setdiff1d(np.concatenate(duplicates), invalid)


def require_valid(check: RowCheck, name: str, may_drop: bool = True) -> None:
    """Raise for rows that no metric can use.

    Args:
        check: what was found in the rows.
        name: of the array, for the message.
        may_drop: whether `--on-invalid drop` would leave such rows out.

    Raises:
        DataError: names the first few rows and the way out.
    """
    for rows, problem in (
        (check.non_finite, "NaN or infinite values"),
        (check.zero, "zero norm, so no direction"),
    ):
        if len(rows):
            raise DataError(
                f"{name}: {len(rows)} row{'s have' if len(rows) > 1 else ' has'} {problem} "
                f"({listed(rows)}); mend the file"
                + (", or pass --on-invalid drop to leave such rows out" if may_drop else "")
            )


def subnormal_in_words(check: RowCheck) -> str:
    """The problem of rows whose norm is subnormal."""
    return (
        f"{listed(check.subnormal)}: values so close to zero that digits of them are lost; their "
        "directions are only as exact as what is left"
    )


MOST_REPEATED = 0.05
"""Above this fraction of duplicate rows on one side of the pairs, retrieval is misleading."""


def repeated_on_one_side(checks: Sequence[tuple[Opened, RowCheck]]) -> list[str]:
    """What to say where one side of the pairs has many duplicate rows and the other side has few.

    Args:
        checks: the two sides, or all views, each with the result of its check.
    """
    shares = [len(check.duplicates) / opened.array.n_rows for opened, check in checks]
    return [
        f"{opened.name}: {len(check.duplicates)} rows are repeated, on this side of the pairs "
        "alone: equal rows are equally near, but recall and ranks count only one of them as "
        "correct; save each row once, in a file of its own, and pass --relevant pairs.csv, a table "
        "with the columns query and item: for each pair the number of its row in the embeddings "
        "and in --pairs, from 0 (docs/two-towers.md has the lines that write it)"
        for (opened, check), share in zip(checks, shares, strict=True)
        if share > MOST_REPEATED and share > 2.0 * min(shares)
    ]


def listed(rows: NDArray[np.int64], most: int = 5) -> str:
    """Row numbers in words: `rows 3, 17, 20 and 4 more`."""
    shown = ", ".join(str(row) for row in rows[:most])
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"
