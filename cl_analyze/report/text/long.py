"""The long form: a line for each record, with the names that code and files use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from cl_analyze.figures.sources import natural_order
from cl_analyze.lines import Line, n_columns, plain, separated, wrapped
from cl_analyze.metrics.headlines import headlines
from cl_analyze.report.comparison import comparison_of, reference_of
from cl_analyze.report.sentences import how_to_read, temperatures_to_start, threshold_in_words
from cl_analyze.report.text.checkpoints import comparison_lines, decision_lines
from cl_analyze.report.text.families import verdict_lines
from cl_analyze.report.text.losses import (
    BATCH_TITLE,
    LOSS_PARTS,
    Energies,
    batch_cells,
    split,
)
from cl_analyze.report.text.records import by_source, heading, unit_of
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Param, Record, number_text


def aligned(rows: Sequence[Sequence[str]], sides: str, gap: str = "  ") -> list[str]:
    """A line for each row, with cells as wide as the widest cell of their column.

    Args:
        rows: texts of the cells.
        sides: `<` or `>` for each column: where its texts stand.
        gap: text between two columns.

    >>> aligned([["a", "1"], ["long", "10"]], "<>")
    ['a      1', 'long  10']
    """
    widths = [max(n_columns(row[c]) for row in rows) for c in range(len(sides))]
    return [
        gap.join(
            Line.of(text).padded(width, "<" if side == "<" else ">").text
            for text, side, width in zip(row, sides, widths, strict=True)
        )
        for row in rows
    ]


# ---- one value


def _param_text(key: str, value: Param) -> str:
    """One parameter; a group and a direction are clear without their key."""
    if key in ("group", "direction"):
        return str(value)
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"


def _params_text(record: Record, *without: str) -> str:
    return " ".join(_param_text(k, v) for k, v in record.params.items() if k not in without)


def _value_text(record: Record) -> str:
    """The value with digits to the second of its smallest error."""
    if record.value is None:
        return "undefined"
    errors = [error for error in (record.std_error, record.sampling_error) if error]
    return number_text(record.value, min(errors, default=None))


# ---- records in a list


def record_lines(records: Sequence[Record], document: Document) -> list[Line]:
    """A line for each record, in columns, under a heading for each source."""
    if not records:
        return []
    rows = []
    for record in records:
        unit = unit_of(record) if record.reason is None else f"({record.reason})"
        cosine = threshold_in_words(record, document)
        if cosine:
            unit = f"{unit}, at a cosine of {cosine}"
        params = _params_text(record, "temperature")  # the temperature of votes never differs
        rows.append([record.name, params, _value_text(record), record.error_text, unit])
    sides = "<<><<"
    if not any(row[1] for row in rows):
        rows = [[row[0], *row[2:]] for row in rows]
        sides = "<><<"
    table = iter(aligned(rows, sides))
    return separated(
        [heading(own[0], document), *plain(f"  {next(table)}".rstrip() for _ in own)]
        for own in (list(group) for _, group in groupby(records, lambda record: record.source))
    )


def penalty_lines(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A line for each record; under each source, temperatures to start from."""
    return separated(
        [
            *record_lines(own, document),
            *plain(wrapped(temperatures_to_start(document, source), width, "  ", "  ")),
        ]
        for source, own in by_source(records).items()
    )


def quality_lines(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """The verdict on collapse, then a line for each record."""
    return separated(
        [*lines[:1], *verdict_lines(source, document, width), *lines[1:]]
        for source, own in by_source(records).items()
        if (lines := record_lines(own, document))
    )


def report_lines(document: Document, width: int) -> list[Line]:
    """The headline numbers of each source with its verdict; then the choice."""
    listed = headlines(document)
    blocks = []
    for source in natural_order(document):
        records = [headline.find(document, source) for headline in listed]
        lines = record_lines([record for record in records if record is not None], document)
        blocks.append([*lines, *verdict_lines(source, document, width)])
    return separated([*blocks, decision_lines(document, width)])


# ---- losses


def loss_lines(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A line for each loss and temperature with both parts, under how to read the loss."""
    return separated(_loss_block(own, document, width) for own in by_source(records).values())


def _loss_block(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    shown = split(records)
    parts = {(r.metric, _loss_key(r)): r.value for r in records if r.metric in LOSS_PARTS}
    lines = [heading(records[0], document), *plain(_loss_table(shown.losses, parts, width))]
    lines += plain(_batch_table(document, records[0].source))
    for metric in dict.fromkeys(record.metric for record in shown.others):
        lines += record_lines([r for r in shown.others if r.metric == metric], document)[1:]
    return lines + plain(_energy_table(shown.energies))


_LossKey = tuple[str | None, tuple[tuple[str, Param], ...]]
"""Definition and parameters of a loss, and of its parts."""


def _loss_table(
    losses: Sequence[Record], parts: Mapping[tuple[str, _LossKey], float | None], width: int
) -> list[str]:
    """A line for each loss.

    Args:
        losses: over all rows.
        parts: the value of each part by its metric, and the loss that it belongs to.
        width: columns of the terminal.
    """
    rows = [["", "loss", "", "alignment", "uniformity"]]
    for loss in losses:
        if loss.value is not None:
            row = [_params_text(loss, "name"), _value_text(loss), loss.error_text]
            values = (parts.get((metric, _loss_key(loss))) for metric in LOSS_PARTS)
            rows.append([*row, *("" if value is None else f"{value:.5g}" for value in values)])
    table = iter(aligned(rows, "<><>>"))
    lines = [f"    {next(table)}".rstrip()]
    title_before = ""
    for loss in losses:
        name = str(loss.params["name"])
        full_name = name if loss.definition is None else f"{name}[{loss.definition}]"
        title = f"{full_name}: {how_to_read(name, loss.definition)}"
        if title != title_before:
            lines += wrapped(title, width, "  ", "      ")
        title_before = title
        if loss.value is None:  # a reason is longer than a column
            text = f"{_params_text(loss, 'name')}  undefined ({loss.reason})".strip()
            lines += wrapped(text, width, "    ", "      ")
        else:
            lines.append(f"    {next(table)}".rstrip())
    return lines


def _loss_key(record: Record) -> _LossKey:
    return record.definition, tuple(record.params.items())


def _batch_table(document: Document, source: str) -> list[str]:
    """Losses over batches, a column for each size."""
    cells = batch_cells(document, source)
    if not cells.rows:
        return []
    rows = [["batch size", "", *cells.heads]]
    for (name, tau), texts in cells.rows.items():
        rows.append([name, "" if tau is None else _param_text("tau", tau), *texts])
    table = aligned(rows, "<<" + ">" * len(cells.heads))
    return [f"  {BATCH_TITLE}", *(f"    {line}" for line in table)]


def _energy_table(energies: Sequence[Energies]) -> list[str]:
    """Energies of both views beside their reference, a line for each kernel."""
    if not energies:
        return []
    rows = [["hyperspherical energy", "view 1", "", "view 2", "", "reference", ""]]
    for own in energies:
        params = own.reference.params
        row = [f"  {_param_text('t', params['t'])} {params['kernel']}"]
        for record in own.views:
            row += [_value_text(record), record.error_text]
        rows.append([*row, own.least, own.kind])
    return [f"  {line.rstrip()}" for line in aligned(rows, "<><><><")]


# ---- comparisons

_MOST_CHECKPOINTS = 8
"""Checkpoints up to which a comparison says in words how each differs."""


def compared_lines(document: Document, width: int) -> list[Line]:
    """The table, how each checkpoint differs in words, and the choice."""
    reference = reference_of(document)
    places = {row["source"]: row for row in document.rows("checkpoints")}
    others = [source for source in natural_order(document) if source != reference]
    has_variants = any(row["variant"] for row in places.values())
    is_run = places[others[0]]["x"] is not None and not has_variants
    # of a long run the last checkpoints, else the first
    described = others[-_MOST_CHECKPOINTS:] if is_run else others[:_MOST_CHECKPOINTS]
    blocks = []
    for source in described:
        place = places[source]
        is_at = place["x"] is not None and place["variant"] is None
        at = f" ({place['axis']} {place['x']:g})" if is_at else ""
        comparison = comparison_of(document, source)
        lines = wrapped(f"{source}{at} against {comparison.against}", width)
        for sentence in comparison.sentences():
            lines += wrapped(sentence, width, "  ", "    ")
        blocks.append([Line.of(lines[0], "bold"), *plain(lines[1:])])
    if len(others) > len(described):
        n_more = len(others) - len(described)
        noun = "checkpoint" if n_more == 1 else "checkpoints"
        blocks.append(plain([f"{n_more} more {noun}: compare.csv, compare.html"]))
    return comparison_lines(document, width, blocks)
