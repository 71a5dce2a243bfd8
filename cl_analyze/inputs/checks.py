"""Selection of the valid rows, and warnings about rows and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels, distinct_rows, negative_classes
from cl_analyze.data.opening import Opened
from cl_analyze.data.validation import RowCheck, listed, require_valid, subnormal_in_words
from cl_analyze.errors import DataError
from cl_analyze.inputs.listener import Recorder
from cl_analyze.options import RunOptions
from cl_analyze.quoting import quoted, some


def kept_rows(
    checks: Sequence[tuple[Opened, RowCheck]], n_rows: int, run: RunOptions, recorder: Recorder
) -> NDArray[np.int64]:
    """Indices of the rows that are valid in every array, ascending.

    Args:
        checks: each array with the result of its check.
        n_rows: number of rows of each array.
        run: `on_invalid` says whether invalid rows are dropped or are an error.
        recorder: receives a warning when rows are dropped.

    Raises:
        DataError: a row is invalid and rows may not be dropped, or fewer than two rows are left.
    """
    kept = np.ones(n_rows, dtype=bool)
    for opened, check in checks:
        if run.on_invalid == "error":
            require_valid(check, opened.name)
        elif len(check.invalid):
            kept[check.invalid] = False
            recorder.warn(
                f"{opened.name}: dropped {listed(check.invalid)} (NaN, infinite or zero norm), "
                "with the corresponding rows of the other inputs"
            )
    if kept.sum() < 2:
        raise DataError(f"{checks[0][0].name}: fewer than 2 valid rows are left")
    return np.flatnonzero(kept).astype(np.int64)


def warn_about(
    title: str, check: RowCheck, labels: Labels | None, run: RunOptions, recorder: Recorder
) -> None:
    """Warn about rows and labels that can make the metrics misleading."""
    if len(check.subnormal):
        recorder.warn(f"{title}: {subnormal_in_words(check)}")
    n = len(check.duplicates)
    if n:
        recorder.warn(
            f"{title}: {n} row{'s are' if n > 1 else ' is'} equal to an earlier row "
            f"({listed(check.duplicates)})"
        )
    if labels is None:
        return
    if distinct_rows(labels):
        recorder.warn(
            f"{title}: {len(labels.names)} classes of {len(labels.codes)} rows: are the labels "
            "ids, texts or numbers to predict? --labels none ignores them"
        )
    if labels.n_singletons:
        recorder.warn(
            f"{title}: classes with one member, which has no positive: {labels.n_singletons}"
        )
    negative = negative_classes(labels)
    if negative:
        recorder.warn(
            f"{title}: the label {some(negative)} is taken as a class; pass --unlabelled "
            f"{negative[0]} if it marks unlabelled rows"
        )
    if run.unlabelled is not None and not labels.n_unlabelled:
        recorder.warn(
            f"{title}: no label is {quoted(run.unlabelled)}, so --unlabelled changes nothing"
        )
    if labels.n_unlabelled:
        recorder.warn(
            f"{title}: {labels.n_unlabelled} rows are unlabelled and left out of class metrics"
            + (f" ({some(map(quoted, labels.missing))} read as missing)" if labels.missing else "")
        )
