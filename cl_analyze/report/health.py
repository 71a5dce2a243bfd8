"""Sentences on whether checkpoints are healthy, and words that sentences on checkpoints share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cl_analyze.figures.sources import short_names
from cl_analyze.metrics.headlines import has_two_towers
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Record, number_text

_COLLAPSED = {"complete": "rows point one way (collapsed)", "dimensional": "collapsed"}
ALARMS = tuple(_COLLAPSED)
"""Verdicts on collapse that speak against a checkpoint; a partial collapse does not."""
MOST_NAMED = 8
"""Checkpoints that a sentence names; more are counted."""


def is_collapsed(document: Document, source: str) -> bool:
    """Whether the verdict on collapse speaks against a checkpoint."""
    return any(row["verdict"] in ALARMS for row in document.rows("collapse", source=source))


def health(document: Document, sources: Sequence[str]) -> str:
    """Which checkpoints are collapsed, which use few dimensions, and the gap of two towers."""
    names = short_names(document)
    verdicts = {
        source: row for source in sources for row in document.rows("collapse", source=source)
    }
    parts = []
    for level, words in _COLLAPSED.items():
        own = [source for source, row in verdicts.items() if row["verdict"] == level]
        if own:
            where = _directions(own, verdicts) if level == "dimensional" else ""
            whose = f": {listed(own, names)}" if len(sources) > 1 else ""
            parts.append(f"{words}{where}{whose}")
    if not parts and any(row["verdict"] != "unknown" for row in verdicts.values()):
        parts.append("none is collapsed" if len(sources) > 1 else "not collapsed")
    partial = [source for source, row in verdicts.items() if row["verdict"] == "partial"]
    if partial:
        verb = "uses" if len(partial) == 1 else "use"
        parts.append(
            f"{listed(partial, names)} {verb} at most half of the dimensions"
            f"{_directions(partial, verdicts)}, as expected at large τ"
        )
    unknown = [source for source, row in verdicts.items() if row["verdict"] == "unknown"]
    if unknown:
        parts.append(f"too few rows or dimensions to judge: {listed(unknown, names)}")
    gap = _gap(document, sources, names)
    parts += [gap] * bool(gap)
    return first_upper("; ".join(parts))


def _directions(sources: Sequence[str], verdicts: Mapping[str, Mapping[str, Cell]]) -> str:
    """In how many directions 99% of the variance of these checkpoints is."""
    needed = sorted(int(verdicts[s]["directions_for_99_percent"] or 0) for s in sources)
    possible = {int(verdicts[s]["possible_directions"] or 0) for s in sources}
    if len(possible) > 1 or needed[-1] == 0:
        return ""
    return f" (99% of the variance in {range_text(sorted(set(needed)))} of {possible.pop()})"


def _gap(document: Document, sources: Sequence[str], names: Mapping[str, str]) -> str:
    """How far the means of the two files are apart."""
    if not has_two_towers(document):
        return ""
    gaps = {
        source: record
        for source in sources
        if (record := document.record("modality_gap", source=source)) is not None
        and record.value is not None
    }
    if not gaps:
        return ""
    start = "the means of the two files are"
    if len(gaps) == 1:
        (record,) = gaps.values()
        return f"{start} {value_text(record)} apart (modality gap)"
    order = sorted(gaps, key=lambda source: float(gaps[source].value or 0.0))
    ends = (f"{value_text(gaps[source])} ({names[source]})" for source in (order[0], order[-1]))
    return f"{start} {' to '.join(ends)} apart (modality gap)"


# ---- words


def first_upper(text: str) -> str:
    """A text as a sentence: with a capital letter and a full stop; an empty one stays empty."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def listed(sources: Sequence[str], names: Mapping[str, str]) -> str:
    """Names of sources in a row; of many, how many more there are."""
    shown = ", ".join(names[source] for source in sources[:MOST_NAMED])
    n_more = len(sources) - MOST_NAMED
    return f"{shown} and {n_more} more" if n_more > 0 else shown


def range_text(numbers: Sequence[int]) -> str:
    """One number, or the least and the largest of several.

    >>> range_text([64]), range_text([1000, 2000, 3000])
    ('64', '1,000 to 3,000')
    """
    if len(numbers) > 1:
        return f"{numbers[0]:,} to {numbers[-1]:,}"
    return f"{numbers[0]:,}" if numbers else "unknown"


def value_text(record: Record | None) -> str:
    """The value of a number with its unit; accuracies and shares in percent."""
    if record is None or record.value is None:
        return "undefined"
    if record.unit in ("accuracy", "share"):
        return f"{100 * record.value:.1f}%"
    unit = "" if record.unit == "none" else f" {record.unit.replace('_', ' ')}"
    return f"{number_text(record.value, record.total_error)}{unit}"
