"""Similarity, penalty and quality on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cl_analyze.lines import Line, Style, plain, separated, wrapped
from cl_analyze.metrics import DECLARED
from cl_analyze.report.grid import Column, number_column, table, text_column
from cl_analyze.report.numbers import NumberText, column_texts, fixed
from cl_analyze.report.sentences import temperatures_to_start
from cl_analyze.report.text.records import (
    NOT_SHOWN,
    by_parameter,
    heading,
    in_rows,
    list_lines,
    reason_lines,
    rows_of_texts,
    rows_text,
    words_of,
)
from cl_analyze.results.document import Document
from cl_analyze.results.similarity_groups import POSITIVE, negative_rank
from cl_analyze.results.tables import Record

# ---- similarity

_OF_GROUPS = ("similarity_mean", "similarity_std", "similarity_quantile", "same_class_share")
_DECIMALS = 3
"""Of cosines without errors."""


def similarity_block(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """Positives and the nearest negatives, a row for each rank; then what separates them."""
    others = [record for record in records if record.metric not in _OF_GROUPS]
    margins = [record for record in others if "margin" in record.params]
    single = [record for record in others if "margin" not in record.params]
    return [
        heading(records[0], document),
        *separated(
            [
                _by_rank(records, width),
                list_lines(single, document, width),
                by_parameter(margins, "margin", width),
            ]
        ),
    ]


def _by_rank(records: Sequence[Record], width: int) -> list[Line]:
    """Means with errors, deviations and quantiles of each group; the errors of these are in CSV."""
    groups = list(dict.fromkeys(str(r.params["group"]) for r in records if "group" in r.params))
    of_group = {
        (record.metric, record.params["group"], record.params.get("q")): record
        for record in records
        if "group" in record.params
    }
    positive = of_group.get(("similarity_mean", POSITIVE, None))
    kind = "" if positive is None or positive.definition is None else f" ({positive.definition})"
    title = f"  cosine of positives{kind} and of the nearest negatives by rank"

    def column(metric: str) -> list[Record | None]:
        return [of_group.get((metric, group, None)) for group in groups]

    ranks = [str(negative_rank(group) or "pos") for group in groups]
    columns = [text_column("", ranks, ">"), number_column("mean", column("similarity_mean"))]
    columns.append(_without_errors("std", column("similarity_std")))
    quantiles = sorted({float(str(q)) for _, _, q in of_group if q is not None})
    for q in quantiles:
        found = [of_group.get(("similarity_quantile", group, q)) for group in groups]
        columns.append(_without_errors(f"{100 * q:g}%", found))
    shares = column("same_class_share")
    if any(shares):
        columns.append(number_column("same class", shares))
    shown = list(of_group.values())
    titles = plain(wrapped(title.strip(), width, "  ", "  "))
    return [*titles, *table(columns, width), *reason_lines(shown, width)]


def _without_errors(head: str, records: Sequence[Record | None]) -> Column:
    texts = []
    for record in records:
        value = None if record is None else record.value
        texts.append("" if record is None else "–" if value is None else fixed(value, _DECIMALS))
    return text_column(head, texts, ">")


# ---- penalty


def penalty_block(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A row for each temperature, a column for each measure; temperatures to start from."""
    sentence = temperatures_to_start(document, records[0].source)
    return [
        heading(records[0], document),
        *separated(
            [
                by_parameter(records, "tau", width),
                plain(wrapped(sentence, width, "  ", "  ")),
            ]
        ),
    ]


# ---- quality

# versions of a metric that stand side by side, as columns of one table
_SPECTRA = ("raw", "raw_centred", "normalised", "normalised_centred")
_CENTRES = ("raw", "raw_balanced", "normalised", "normalised_balanced")
_FORMS = ("raw", "normalised")
_NEIGHBOURS = ("k",)
_FORM_OF = {
    "raw": ("", "raw"),
    "normalised": ("", "normalised"),
    "standard": (" standard", "raw"),
    "directional": (" directional", "raw"),
    "standard_normalised": (" standard", "normalised"),
    "directional_normalised": (" directional", "normalised"),
    "class_sum": ("", "normalised"),
    "class_sum_raw": ("", "raw"),
}
"""Definition -> end of the line's name, and column among `_FORMS`."""


def quality_block(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """The verdict on collapse, then tables of metrics that have several versions, then the rest."""
    source = records[0].source
    n, d = document.n_rows.get(source, 0), records[0].d
    first = Line.of(source, "bold").then(f"  {rows_text(source, n, d, document)}")
    tables: dict[Sequence[str], dict[tuple[str, str], Record]] = {}
    for record in records:
        columns, name, column = _place(record)
        tables.setdefault(columns, {})[name, column] = record
    at_k = tables.get(_NEIGHBOURS, {})
    ks = [str(k) for k in sorted({int(k) for _, k in at_k})]
    blocks = [
        _versions(tables.get(_SPECTRA, {}), _SPECTRA, width),
        _by_k(at_k, ks, width),
        _versions(tables.get(_CENTRES, {}), _CENTRES, width),
        _versions(tables.get(_FORMS, {}), _FORMS, width),
        list_lines(list(tables.get((), {}).values()), document, width),
    ]
    return [first, *verdict_lines(source, document, width), Line(), *separated(blocks)]


def _place(record: Record) -> tuple[Sequence[str], str, str]:
    """Columns of the table, line and column; no columns for a metric with one version."""
    spoken = DECLARED[record.metric].spoken
    if "k" in record.params:
        return _NEIGHBOURS, _at_k(record, spoken), str(record.params["k"])
    versions = set(DECLARED[record.metric].definitions)
    for columns in (_SPECTRA, _CENTRES):
        if versions == set(columns):
            return columns, spoken, str(record.definition)
    if record.definition in _FORM_OF:
        end, column = _FORM_OF[record.definition]
        return _FORMS, spoken + end, column
    return (), f"{record.name} {words_of(record.params, NOT_SHOWN)}", ""


def _at_k(record: Record, spoken: str) -> str:
    definitions = DECLARED[record.metric].definitions
    words = words_of(record.params, "k", NOT_SHOWN)
    is_default = record.definition is None or record.definition == definitions[0]
    definition = "" if is_default else f" [{record.definition}]"
    return ", ".join(filter(None, (f"{spoken}{definition}", words)))


def _versions(
    records: dict[tuple[str, str], Record], columns: Sequence[str], width: int
) -> list[Line]:
    """A row for each name, a column for each version; the first value of a row has its error."""
    if not records:
        return []
    heads = [head for head in columns if any(column == head for _, column in records)]
    names = list(dict.fromkeys(name for name, _ in records))
    texts = []
    for name in names:
        found = column_texts([records.get((name, head)) for head in heads])
        first = next(i for i, text in enumerate(found) if text.value)
        texts.append(
            [text if i == first else _short(text) for i, text in enumerate(found)],
        )
    spoken = [head.replace("_", " ") for head in heads]
    lines = rows_of_texts(names, spoken, texts, width)
    return [*lines, *reason_lines(list(records.values()), width)]


def _short(text: NumberText) -> NumberText:
    return replace(text, error="")


def _by_k(records: dict[tuple[str, str], Record], ks: Sequence[str], width: int) -> list[Line]:
    if not records:
        return []
    names = list(dict.fromkeys(name for name, _ in records))
    cells = [[records.get((name, k)) for k in ks] for name in names]
    lines = in_rows(names, ks, cells, width, "k =")
    return [*lines, *reason_lines(list(records.values()), width)]


_VERDICT_STYLES: dict[str, Style] = {
    "none": "good",
    "partial": "warn",
    "complete": "bad",
    "dimensional": "bad",
}


def verdict_lines(source: str, document: Document, width: int) -> list[Line]:
    """The verdict on collapse, where there is one; its first words have the colour."""
    lines: list[Line] = []
    for row in document.rows("collapse", source=source):
        first, *others = wrapped(str(row["text"]), width, "  ", "    ")
        words, colon, rest = first.partition(":")
        lines += [
            Line.of(words, verdict_style(str(row["verdict"]))).then(colon + rest),
            *plain(others),
        ]
    return lines


def verdict_style(verdict: str) -> Style:
    """The colour of a verdict on collapse."""
    return _VERDICT_STYLES.get(verdict, "")
