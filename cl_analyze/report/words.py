"""Numbers as words, for the sentences beside them."""

from __future__ import annotations

import math

from cl_analyze.results.document import Document
from cl_analyze.results.tables import Param, Record


def companion(
    record: Record, document: Document, metric: str, definition: str | None = None, **params: Param
) -> float | None:
    """The value of another metric of the record's source; None where there is no value."""
    other = document.record(metric, definition, record.source, **params)
    return None if other is None else other.value


def cosine_in_words(cosine: float) -> str:
    """A mean cosine and the angle with this cosine (which is not the mean angle)."""
    angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    return f"{round(cosine, 2) + 0.0:.2f} (an angle of {angle:.0f}°)"


def percent(share: float) -> str:
    """A share with two digits."""
    if share == 0:
        return "0%"
    if share < 0.0001:
        return f"{100 * share:.1g}%"
    return f"{100 * share:.2g}%" if share < 0.1 else f"{100 * share:.0f}%"


def count_in_words(value: float) -> str:
    """A number of rows, three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
