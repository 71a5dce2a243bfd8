"""The first screen of a page: its title, the table of checkpoints, verdicts, ranges in words."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.metrics import DECLARED
from cl_analyze.metrics.differences import params_text
from cl_analyze.metrics.headlines import Headline, headlines
from cl_analyze.metrics.standings import better_side
from cl_analyze.report.comparison import HeadlineDifference, comparison_of, reference_of
from cl_analyze.report.health import ALARMS
from cl_analyze.report.numbers import NumberText, column_texts
from cl_analyze.report.sentences import meaning
from cl_analyze.results.document import Document
from cl_analyze.results.similarity_groups import POSITIVE, negative_group
from cl_analyze.results.tables import Record, number_text

ARROWS = {"higher": "↑", "lower": "↓", "": ""}
"""Better side of a metric -> the mark in the heads of tables."""
_CHIPS = {
    "none": "healthy",
    "partial": "few dimensions",
    "complete": "collapsed",
    "dimensional": "collapsed",
    "unknown": "not known",
}
"""Verdict on collapse -> its chip in the table of checkpoints."""
_IN_OTHER_SENTENCES = ("uniformity_gap", "between_class_similarity", "effective_rank")
"""Headlines that the sentences of uniformity and tolerance, or the verdict on collapse, name."""
_LONGEST_NAME = 60
_SUFFIX = re.compile(r"\.(npz|npy|pt|pth|csv|tsv)(?=\[|$)")


# ---- the title


def page_title(document: Document) -> str:
    """What the page is of: the checkpoints by their names."""
    names, order = short_names(document), natural_order(document)
    if len(order) == 1:
        return _cut(order[0])
    reference = reference_of(document)
    start = _shared_start(order, names)
    if reference is not None:
        others = [names[source] for source in order if source != reference]
        compared = _cut(others[0]) if len(others) == 1 else _n_checkpoints(len(others))
        return f"{start}{compared} compared with {_cut(names[reference])}"
    ends = [_cut(names[order[0]]), _cut(names[order[-1]])]
    between = " and " if len(order) == 2 else " to "
    return f"{start}{_n_checkpoints(len(order))}, {between.join(ends)}"


def _n_checkpoints(count: int) -> str:
    return f"{count} checkpoint{'' if count == 1 else 's'}"


def _shared_start(order: Sequence[str], names: Mapping[str, str]) -> str:
    """What short names leave out at the start of all names, with a colon; empty: nothing.

    >>> _shared_start(["mnist-tau-0.1.npz", "mnist-tau-1.npz"],
    ...               {"mnist-tau-0.1.npz": "tau-0.1", "mnist-tau-1.npz": "tau-1"})
    'mnist: '
    """
    left_out = set()
    for source in order:
        stem, name = _SUFFIX.sub("", source), names[source].partition("…")[0]
        left_out.add(stem[: max(stem.rfind(name), 0)].strip("-_/. "))
    return f"{_cut(left_out.pop())}: " if len(left_out) == 1 and "" not in left_out else ""


def _cut(name: str) -> str:
    """A name with its middle left out where it is very long."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[:half]}…{name[-half:]}"


# ---- the table of checkpoints


@dataclass(frozen=True)
class Column:
    """One number in the table of checkpoints.

    Attributes:
        title, metric: of the headline.
        better: "higher", "lower", or empty.
        arrow: the better side as a mark.
        definition: the metric in words.
    """

    title: str
    metric: str
    better: str
    arrow: str
    definition: str


@dataclass(frozen=True)
class Cell:
    """One number of one checkpoint.

    Attributes:
        text: value, error and what it is sorted by.
        standing: "best", "tied", "worse" or empty, see the table `standings`.
        more: what a reader sees who hovers.
    """

    text: NumberText
    standing: str
    more: str


@dataclass(frozen=True)
class Row:
    """One checkpoint: its full and its short name, its numbers, its verdict on collapse."""

    source: str
    name: str
    cells: tuple[Cell, ...]
    verdict: str
    chip: str
    verdict_text: str


@dataclass(frozen=True)
class Summary:
    """The table of checkpoints.

    Attributes:
        columns: of the numbers.
        rows: one for each checkpoint, in natural order.
        has_verdicts: whether there is a column for the health.
        has_standings: whether some cell is marked as the best.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    has_verdicts: bool
    has_standings: bool


def columns_of(document: Document) -> list[Headline]:
    """The headlines that are columns.

    The gap to the uniform law is uniformity less a constant, so that one column has both.
    """
    listed = headlines(document)
    shown = {headline.metric for headline in listed}
    return [h for h in listed if not (h.metric == "uniformity" and "uniformity_gap" in shown)]


def column(document: Document, headline: Headline) -> Column:
    """The head of a column."""
    found = (headline.find(document, source) for source in document.sources)
    record = next(record for record in found if record is not None)
    better = better_side(record) or ""
    return Column(
        headline.title, headline.metric, better, ARROWS[better], definition_of(headline.metric)
    )


def summary_of(document: Document, order: Sequence[str]) -> Summary:
    """The table of checkpoints (rows, in order) and headline numbers (columns)."""
    names = short_names(document)
    standings = _standings(document)
    cells: dict[str, list[Cell]] = {source: [] for source in order}
    listed = columns_of(document)
    for headline in listed:
        records = [headline.find(document, source) for source in order]
        for source, record, text in zip(order, records, column_texts(records), strict=True):
            standing = "" if record is None else standings.get(_key(record), "")
            cells[source].append(Cell(text, standing, _more(document, record)))
    rows = []
    for source in order:
        collapse = next(iter(document.rows("collapse", source=source)), None)
        verdict = "" if collapse is None else str(collapse["verdict"])
        rows.append(
            Row(
                source,
                names[source],
                tuple(cells[source]),
                verdict,
                _CHIPS.get(verdict, verdict),
                "" if collapse is None else str(collapse["text"]),
            )
        )
    return Summary(
        tuple(column(document, headline) for headline in listed),
        tuple(rows),
        has_verdicts=any(row.verdict for row in rows),
        has_standings=any(cell.standing == "best" for row in rows for cell in row.cells),
    )


_Key = tuple[object, ...]


def _key(record: Record) -> _Key:
    return record.source, record.metric, record.definition, params_text(record)


def _standings(document: Document) -> dict[_Key, str]:
    """Number of a checkpoint -> its standing, but for those that cannot be told."""
    return {
        (row["source"], row["metric"], row["definition"], row["params"]): str(row["standing"])
        for row in document.rows("standings")
        if row["standing"] != "unknown"
    }


def _more(document: Document, record: Record | None) -> str:
    """What a reader sees who hovers over a number: reason, or sentence."""
    if record is None:
        return ""
    if record.value is None:
        return str(record.reason)
    if record.metric == "uniformity_gap":
        of_t = {"t": record.params["t"]} if "t" in record.params else {}
        whole = document.record("uniformity", None, record.source, **of_t)
        if whole is not None and whole.value is not None:
            return meaning(whole, document)
    return meaning(record, document)


def definition_of(name: str) -> str:
    """A metric in words, and which side is better."""
    metric = DECLARED[name]
    better = "" if metric.better is None else f" {metric.better.capitalize()} is better."
    text = f"{metric.in_words}{better}"
    return f"{text[:1].upper()}{text[1:]}"


def banners(summary: Summary) -> list[Row]:
    """Checkpoints that have collapsed, complete ones first."""
    loud = [row for row in summary.rows if row.verdict in ALARMS]
    return sorted(loud, key=lambda row: ALARMS.index(row.verdict))


def verdicts(document: Document, order: Sequence[str]) -> list[dict[str, str]]:
    """The verdicts on collapse, worst first."""
    rows = [row for source in order for row in document.rows("collapse", source=source)]
    worst_first = ("complete", "dimensional", "partial", "unknown", "none")
    rows.sort(key=lambda row: worst_first.index(str(row["verdict"])))
    return [{key: str(row[key]) for key in ("source", "verdict", "text")} for row in rows]


# ---- one checkpoint: the table turned


def turned(document: Document, summary: Summary) -> list[dict[str, Any]]:
    """Of a single checkpoint a row for each number, with its value on the uniform sphere."""
    (row,) = summary.rows
    lines = []
    for headline, head, cell in zip(columns_of(document), summary.columns, row.cells, strict=True):
        record = headline.find(document, row.source)
        lines.append(
            {
                "column": head,
                "cell": cell,
                "sphere": "" if record is None else uniform_sphere(document, record),
                "meaning": cell.more,
                "reading": _reading(headline),
            }
        )
    return lines


_ZERO_ON_THE_SPHERE = (
    "uniformity_gap",
    "tolerance",
    "between_class_similarity",
    "tolerance_gap",
    "mean_cosine",
)


def uniform_sphere(document: Document, record: Record) -> str:
    """The value of a number for uniform points on the sphere, where it is known; else empty."""
    if record.metric in _ZERO_ON_THE_SPHERE:
        return "0"
    group, tau = record.params.get("group"), record.params.get("tau")
    if group == POSITIVE:
        return ""
    for table in ("similarity_reference", "penalty_reference"):
        for row in document.rows(
            table, source=record.source, quantity=record.metric, group=group, tau=tau
        ):
            if row["value"] is not None and "q" not in record.params:
                return number_text(float(row["value"]), record.total_error)
    if record.metric == "uniformity":
        law = document.record(
            "uniformity_of_uniform_law", None, record.source, t=record.params["t"]
        )
        return "" if law is None or law.value is None else number_text(law.value, record.std_error)
    return ""


# ---- what the numbers mean


def findings(
    document: Document, order: Sequence[str], listed: Sequence[Headline]
) -> list[dict[str, Any]]:
    """For each source, the sentences of its headline numbers, and the verdict on collapse."""
    found = []
    for source in order:
        records = [(headline.title, headline.find(document, source)) for headline in listed]
        sentences = [
            {"title": title, "text": meaning(record, document)}
            for title, record in records
            if record is not None and record.metric not in _IN_OTHER_SENTENCES
        ]
        sentences += [
            {"title": "collapse", "text": str(row["text"])}
            for row in document.rows("collapse", source=source)
        ]
        found.append({"source": source, "sentences": sentences})
    return found


NEAREST = negative_group(1)
_READINGS = {
    "uniformity": "Lower is more even over the sphere.",
    "uniformity_gap": "0 is an even spread over the sphere; several nats are a collapse.",
    "tolerance": "0: rows of one class are no nearer than other rows; 1: they are one point. A "
    "high value alone says little: collapsed checkpoints have one too.",
    "between_class_similarity": "0: classes are apart; near the tolerance: classes are mixed.",
    POSITIVE: "1 where both views of a row are one point; it should be above the nearest negative.",
    NEAREST: "Where it is near the positive or above, other rows are as close as the row's own "
    "second view.",
    "penalty_effective_negatives": "How many negatives share the penalty; where they are few, "
    "the loss acts on the nearest alone.",
    "penalty_false_negative_share": "Part of the penalty that falls on rows of the anchor's own "
    "class; compare it with the share of these rows among all.",
    "knn_accuracy": "Share of rows whose class wins the vote of the nearest rows; compare it "
    "with the share of the largest class.",
    "recall_at_k": "Share of queries whose partner is among the k nearest.",
    "probe_accuracy": "Share of rows that a linear classifier gets right; above kNN accuracy, "
    "classes are separated along directions and not only in local groups.",
    "effective_rank": "How many of the dimensions are in use; fewer can hold less.",
}
"""Headline metric, or group of a similarity -> how to read it, in one line."""


def _reading(headline: Headline) -> str:
    return _READINGS.get(str(headline.params.get("group", headline.metric)), "")


def ranges(document: Document, summary: Summary) -> list[dict[str, str]]:
    """For each headline number its range over the checkpoints, and how to read it."""
    lines = []
    for at, (headline, head) in enumerate(zip(columns_of(document), summary.columns, strict=True)):
        shown = [
            (float(row.cells[at].text.sort), row)
            for row in summary.rows
            if row.cells[at].text.sort != ""
        ]
        if not shown:
            continue
        by_value = operator.itemgetter(0)
        (_, least), (_, most) = min(shown, key=by_value), max(shown, key=by_value)
        low, high = least.cells[at].text.value, most.cells[at].text.value
        where = f"{low} ({least.name}) to {high} ({most.name})"
        lines.append(
            {
                "title": f"{head.title} {head.arrow}".rstrip(),
                "metric": head.metric,
                "range": f"{low} in all" if low == high else where,
                "reading": _reading(headline),
            }
        )
    return lines


# ---- a comparison


def comparison_table(document: Document, order: Sequence[str]) -> dict[str, Any]:
    """Checkpoints (rows) and differences of headline numbers (columns), below the reference.

    A cell has a mark: ▲ better, ▼ worse, • differs where neither side is better, · not established.
    """
    reference = reference_of(document) or ""
    compared = {s: comparison_of(document, s) for s in order if s != reference}
    of_source = {s: {h.title: h for h in entry.headlines} for s, entry in compared.items()}
    shown = [
        h for h in columns_of(document) if any(h.title in found for found in of_source.values())
    ]
    values = [column_texts([h.find(document, reference)])[0] for h in shown]
    heads = [column(document, h) for h in shown]
    names = short_names(document)
    return {
        "columns": heads,
        "reference": {
            "source": reference,
            "name": names[reference],
            "cells": values,
        },
        "rows": [
            {
                "source": source,
                "name": names[source],
                "against": names.get(entry.against, entry.against)
                if entry.against != reference
                else "",
                "cells": [_difference(of_source[source].get(head.title), head) for head in heads],
            }
            for source, entry in compared.items()
        ],
    }


def _difference(found: HeadlineDifference | None, head: Column) -> dict[str, str]:
    """A difference with its mark, the words for it, and what it is sorted by."""
    if found is None:
        return {"value": "", "error": "", "sort": "", "mark": "", "kind": "", "words": ""}
    better = head.better
    value, _, error = found.text.partition(" ")
    kind, mark, words = "open", "·", "not established"
    if found.is_real is None:
        kind, mark, words = "open", "", "no error bar"
    elif found.is_real and not better:
        kind, mark, words = "differs", "•", "differs"
    elif found.is_real:
        is_better = value.startswith("-") == (better == "lower")
        kind, mark, words = ("better", "▲", "better") if is_better else ("worse", "▼", "worse")
    sort = value.lstrip("+")
    return {
        "value": value,
        "error": error,
        "sort": sort,
        "mark": mark,
        "kind": kind,
        "words": words,
    }
