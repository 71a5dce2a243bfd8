"""Which columns of a table are dimensions, which are labels, ids or an index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROLE_COLUMNS = frozenset(
    {"label", "labels", "y", "target", "targets", "class", "id", "ids", "group", "groups", "index"}
)
INDEX_NAMES = ("", "Unnamed: 0")
"""What pandas calls an index without a name that was saved as the first column."""
_NUMBERED = re.compile(r"(.*?)([0-9]+)\Z")


def is_continuous(values: NDArray[Any]) -> bool:
    """Whether values are numbers that cannot be classes."""
    if values.dtype.kind != "f":
        return False
    present = values[np.isfinite(values)]
    return bool((present != np.floor(present)).any())


def dimensions(columns: Mapping[str, np.dtype[Any]]) -> list[str]:
    """Those of the numeric columns that are dimensions, in their order.

    Where more than half are numbered alike (`dim_0`, `dim_1`, ...), these alone; else, where there
    are at least two columns of decimals, not the integers among them, which are ids, classes or
    counts; else all.

    >>> f, i = np.dtype(float), np.dtype(int)
    >>> dimensions({"dim_0": f, "dim_1": f, "score": f}), dimensions({"image": i, "x": f, "y": f})
    (['dim_0', 'dim_1'], ['x', 'y'])
    """
    stems: dict[str, list[str]] = {}
    for name in columns:
        found = _NUMBERED.match(name)
        if found is not None:
            stems.setdefault(found[1], []).append(name)
    largest = max(stems.values(), key=len, default=[])
    if len(largest) > max(1, len(columns) / 2):
        return largest
    decimals = [name for name, dtype in columns.items() if dtype.kind == "f"]
    return decimals if len(decimals) > 1 else list(columns)
