"""Checkpoints side by side on a terminal: the tables of `compare` and `report`, and the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.lines import UNBROKEN, Line, Style, plain, separated, titled, wrapped
from cl_analyze.metrics.differences import is_real, params_text
from cl_analyze.metrics.headlines import headlines
from cl_analyze.metrics.standings import better_side
from cl_analyze.report.comparison import (
    alike_sentences,
    dimensions_sentences,
    pareto_sentence,
    reference_of,
    tested_differences,
)
from cl_analyze.report.decision import decision
from cl_analyze.report.grid import (
    Column,
    at_the_point,
    column_of,
    number_column,
    table,
    text_column,
)
from cl_analyze.report.summary import summary_of, uniform_sphere
from cl_analyze.report.text.families import verdict_lines, verdict_style
from cl_analyze.report.text.records import (
    heading,
    named_numbers,
    names_lines,
    reason_lines,
    rows_text,
    single_text,
    unit_text,
)
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Record

# ---- the choice


def decision_lines(document: Document, width: int) -> list[Line]:
    """What was measured, which checkpoint is best, whether all are healthy, and what to do next."""
    return [
        line
        for sentence in decision(document)
        for line in titled(sentence.title, _with_whole_names(sentence.text, document), width)
    ]


def _with_whole_names(text: str, document: Document) -> str:
    """A sentence in which the names of checkpoints, which may have spaces, stay on one line."""
    names = {*short_names(document).values(), *document.sources}
    for name in sorted((name for name in names if " " in name), key=len, reverse=True):
        text = text.replace(name, name.replace(" ", UNBROKEN))
    return text


# ---- compare


def comparison_lines(
    document: Document, width: int, described: Sequence[Sequence[Line]] = ()
) -> list[Line]:
    """Headline numbers side by side, a row for each checkpoint; then the choice.

    Args:
        document: a comparison.
        width: columns of the terminal.
        described: each checkpoint in words, for the long form.
    """
    return separated(
        [
            [*names_lines(document), *_headline_table(document, width)],
            _marks_in_words(document, width),
            *described,
            _further_lines(document, width),
            decision_lines(document, width),
        ]
    )


def _row_names(document: Document) -> dict[str, str]:
    """Short names; of a variant how it differs from its original."""
    names = short_names(document)
    variants = {
        str(row["source"]): f"  [{row['variant']}]"
        for row in document.rows("checkpoints")
        if row["variant"]
    }
    return {**names, **variants}


_Number = tuple[Cell, Cell, Cell, Cell]
"""Source, metric, definition and parameters."""


def _headline_table(document: Document, width: int) -> list[Line]:
    """Headline numbers of each checkpoint, marked where they differ from the reference."""
    names, order = _row_names(document), natural_order(document)
    rows: dict[_Number, Mapping[str, Cell]] = {
        (row["source_a"], row["metric"], row["definition"], row["params"]): row
        for row in document.rows("compare")
    }
    columns = [text_column("", [names[source] for source in order])]
    shown: list[Record | None] = []
    for headline in headlines(document):
        records = [headline.find(document, source) for source in order]
        shown += records
        columns.append(number_column(headline.title, records, [_mark(r, rows) for r in records]))
    return [*table(columns, width), *reason_lines([r for r in shown if r is not None], width)]


def _mark(record: Record | None, rows: Mapping[_Number, Mapping[str, Cell]]) -> Line:
    """`*` where a number differs from the reference, green where it is better, red where worse."""
    if record is None:
        return Line.of(" ")
    key = (record.source, record.metric, record.definition, params_text(record))
    row = rows.get(key)
    if row is None or row["p_headline"] is None:
        return Line.of(" ")
    if not is_real(float(row["p_headline"])):
        return Line.of("~", "dim")
    side, difference = better_side(record), float(row["difference"] or 0.0)
    if side is None:
        return Line.of("*", "bold")
    return Line.of("*", "good" if (difference > 0.0) == (side == "higher") else "bad")


def _marks_in_words(document: Document, width: int) -> list[Line]:
    reference, n_tested = reference_of(document), tested_differences(document)
    if not n_tested:
        return []
    places = document.rows("checkpoints")
    n_variants = sum(bool(row["variant"]) for row in places)
    is_mixed = n_variants > 0 and n_variants + 1 < len(places)
    base = f"{reference} (a variant: from its original)" if is_mixed else reference
    uniform = " More negative uniformity is more uniform." * bool(document.records("uniformity"))
    text = (
        f"* differs from {base} (p < 0.05, adjusted by Holm's method over the checkpoints in "
        f"each column), ~ is not established; ± is one standard error. {n_tested} differences were "
        f"tested (table compare).{uniform}"
    )
    return plain(wrapped(_with_whole_names(text, document), width))


def _further_lines(document: Document, width: int) -> list[Line]:
    """The Pareto front, which checkpoints are alike, and how few dimensions are enough."""
    texts = [pareto_sentence(document, short_names(document)), *alike_sentences(document)]
    texts += dimensions_sentences(document)
    texts = [_with_whole_names(text, document) for text in texts if text]
    return plain(line for text in texts for line in wrapped(text, width, "", "  "))


# ---- report


def report_lines(document: Document, width: int) -> list[Line]:
    """The headline numbers of one checkpoint, or of several side by side; then the choice."""
    order = natural_order(document)
    summary = _single(document, order[0], width)
    if len(order) > 1:
        summary = _several(document, order, width)
    return separated([summary, decision_lines(document, width)])


def _single(document: Document, source: str, width: int) -> list[Line]:
    """A row for each number, with its value on the uniform sphere; the verdict on collapse."""
    found = [(h.title, h.find(document, source)) for h in headlines(document)]
    listed = [(title, record) for title, record in found if record is not None]
    records = [record for _, record in listed]
    first = Line.of(source, "bold")
    if source in document.n_rows:
        d = next((record.d for record in records if record.d is not None), None)
        first = first.then(f"  {rows_text(source, document.n_rows[source], d, document)}")
    elif records:
        first = heading(records[0], document)
    texts = [single_text(record) for record in records]
    names, units = [title for title, _ in listed], [unit_text(record) for record in records]
    spheres = [uniform_sphere(document, record) for record in records]
    columns = [
        text_column("", names),
        column_of("", at_the_point(texts)),
        text_column("", units),
        text_column("uniform sphere", spheres, ">"),
    ]
    widths = [max(column.width, len(column.head)) + 2 for column in columns if column.width]
    if any(spheres) and sum(widths) <= width:
        lines = table(columns, width)
    else:
        lines = named_numbers(names, texts, units, width)
    lines = [first, *lines, *reason_lines(records, width)]
    return [*lines, *verdict_lines(source, document, width)]


def _several(document: Document, order: Sequence[str], width: int) -> list[Line]:
    """A row for each checkpoint; the best value of a column is green, verdicts have a colour."""
    summary = summary_of(document, order)
    columns: list[Column] = [text_column("", [row.name for row in summary.rows])]
    for at, head in enumerate(summary.columns):
        cells = [row.cells[at] for row in summary.rows]
        column = column_of(head.title, [cell.text for cell in cells])
        styles: list[Style] = ["good" if cell.standing == "best" else "" for cell in cells]
        styled = zip(column.cells, styles, strict=True)
        columns.append(Column(column.head, tuple(Line.of(c.text, s) for c, s in styled)))
    if summary.has_verdicts:
        verdicts = (Line.of(row.chip, verdict_style(row.verdict)) for row in summary.rows)
        columns.append(Column("collapse", tuple(verdicts), "<"))
    return [*names_lines(document), *table(columns, width)]
