"""Which columns of a table are dimensions, which are labels, ids or an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

ROLE_COLUMNS = frozenset(
    {"label", "labels", "y", "target", "targets", "class", "id", "ids", "group", "groups", "index"}
)
_INDEX_NAME = re.compile(r"(?:|Unnamed: [0-9.]+|__index_level_[0-9]+__)\Z")
_NUMBERED = re.compile(r"(.*?)([0-9]+)\Z")
_FEWEST_EVEN = 4
"""Values from which on even steps are no chance."""
MOST_COLUMNS = 16_384
"""Columns above which a table is refused before it is parsed: each costs its readers much more than
a column of a matrix."""


def refuse_wide(n_columns: int) -> None:
    """Refuse a table that its reader would spend minutes on.

    Raises:
        DataError: more than `MOST_COLUMNS` columns.
    """
    if n_columns > MOST_COLUMNS:
        raise DataError(
            f"it has {n_columns} columns, at most {MOST_COLUMNS} are read; save the matrix as .npy "
            "(rows x dimensions), or its transpose if rows are columns here"
        )


def is_index_name(name: str, position: int) -> bool:
    """Whether a column's name is one that pandas gives an index without a name.

    >>> is_index_name("", 0), is_index_name("", 3), is_index_name("__index_level_1__", 3)
    (True, False, True)
    """
    is_one = _INDEX_NAME.match(name) is not None
    return is_one and (position == 0 or bool(name))


def is_continuous(values: NDArray[Any]) -> bool:
    """Whether values are numbers that cannot be classes."""
    if values.ndim != 1 or values.dtype.kind != "f":
        return False
    present = values[np.isfinite(values)]
    return bool((present != np.floor(present)).any())


def is_no_coordinate(values: NDArray[Any]) -> bool:
    """Whether numbers among decimals look like labels, ids or an index, not like a coordinate.

    Whole numbers do, but for a column of zeros (a unit that never fires), and so do values in
    even steps.

    >>> is_no_coordinate(np.array([3.0, 1.0, 2.0])), is_no_coordinate(np.array([0.0, 0.0]))
    (True, False)
    >>> is_no_coordinate(np.array([0.5, 1.0, 1.5, 2.0])), is_no_coordinate(np.array([0.3, 0.9]))
    (True, False)
    """
    if values.dtype.kind in "iub":
        return True
    present = values[np.isfinite(values)]
    if not len(present):
        return False
    if not is_continuous(present):
        return bool(present.any())
    return _is_even(values)


def _is_even(values: NDArray[Any]) -> bool:
    """Whether values rise or fall by one step, as an index of times does."""
    if len(values) < _FEWEST_EVEN or not np.isfinite(values).all():
        return False
    steps = np.diff(values.astype(np.float64))
    slack = 8 * float(np.finfo(values.dtype).eps) * float(np.abs(values).max())
    return bool(abs(steps[0]) > slack and (np.abs(steps - steps[0]) <= slack).all())


@dataclass(frozen=True)
class Chosen:
    """Which numeric columns are dimensions.

    Attributes:
        names: the dimensions, in their order.
        suspects: those left out since their values look like labels, ids or an index.
        left_out: these, and those whose names are not numbered like the dimensions.
    """

    names: list[str]
    suspects: list[str]
    left_out: Set[str]


def dimensions(
    columns: Mapping[str, np.dtype[Any]],
    is_no_dimension: Callable[[str], bool],
    named: bool = True,
) -> Chosen:
    """Those of the numeric columns that are dimensions, in their order.

    Where more than half are numbered alike (`dim_0`, `dim_1`, ...), these alone; else, where there
    are at least two columns of decimals, not those among them that look like labels, ids or an
    index; else all.  Bare numbers (0, 1, 2, ...) are what columns without names are called: they
    do not tell a label from a dimension.

    Args:
        columns: the dtype of each.
        is_no_dimension: whether a column's values look like labels, ids or an index.
        named: whether names are the file's own.

    >>> f, i = np.dtype(float), np.dtype(int)
    >>> def whole(name): return name == "image"
    >>> dimensions({"dim_0": f, "dim_1": f, "score": f}, whole).names
    ['dim_0', 'dim_1']
    >>> dimensions({"image": i, "x": f, "y": f}, whole)
    Chosen(names=['x', 'y'], suspects=['image'], left_out={'image'})
    """
    stems: dict[str, list[str]] = {}
    for name in columns if named else ():
        found = _NUMBERED.match(name)
        if found is not None:
            stems.setdefault(found[1], []).append(name)
    stem = max(stems, key=lambda stem: len(stems[stem]), default="")
    candidates = stems.get(stem, [])
    if len(candidates) <= max(1, len(columns) / 2):
        stem, candidates = "", list(columns)
    suspects = [] if stem else [name for name in candidates if is_no_dimension(name)]
    if len(candidates) - len(suspects) < 2:
        suspects = []
    kept = dict.fromkeys(candidates)
    for name in suspects:
        del kept[name]
    return Chosen(list(kept), suspects, columns.keys() - kept.keys())


def left_out_notes(left_out: Sequence[str], suspects: Sequence[str]) -> list[str]:
    """Which columns are no dimensions, and why not where it is a guess.

    Args:
        left_out: all of them.
        suspects: those left out for their values.
    """
    notes = []
    if left_out:
        notes.append(f"columns left out of the embeddings: {some(map(quoted, left_out), 10)}")
    if suspects:
        notes.append(
            f"{some(map(quoted, suspects), 10)} of them "
            + ("look" if len(suspects) > 1 else "looks")
            + " like labels, ids or an index (whole numbers or even steps among decimals): if they "
            "are dimensions, number all names alike (dim_0, dim_1, ...)"
        )
    return notes
