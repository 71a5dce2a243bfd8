"""What older versions of libraries and of Python lack: the only place that looks at versions."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "add_note",
    "exact_decimals",
    "is_older_zarr",
    "lacks_zarr_3",
    "refuses_missing_lists",
    "tomllib",
]


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, as its method `add_note` does; Python 3.10 prints none."""
    error.__dict__.setdefault("__notes__", []).append(note)


def exact_decimals() -> dict[str, Any]:
    """Arguments of `pandas.read_csv` for numbers as Python reads them: the default from 3.1 on."""
    import pandas as pd

    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {} if version >= (3, 1) else {"float_precision": "round_trip"}


def lacks_zarr_3() -> bool:
    """Whether no zarr 3, which reads both versions of the format, runs here: before Python 3.11."""
    return sys.version_info < (3, 11)


def refuses_missing_lists() -> bool:
    """Whether pyarrow reads no Parquet column with missing lists of a fixed size: before 26."""
    import pyarrow

    return int(pyarrow.__version__.partition(".")[0]) < 26


def is_older_zarr(zarr: Any) -> bool:
    """Whether this module of zarr has other names for what is read: before 3."""
    return int(zarr.__version__.partition(".")[0]) < 3
