"""A document as lines of text: the tables that commands print."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from cl_analyze.figures.sources import natural_order
from cl_analyze.metrics import DECLARED
from cl_analyze.metrics.differences import is_real, params_text
from cl_analyze.metrics.headlines import Headline, headlines
from cl_analyze.metrics.losses.metrics import PARTS
from cl_analyze.report.comparison import (
    alike_sentences,
    comparison_of,
    dimensions_sentences,
    pareto_sentence,
    reference_of,
    tested_differences,
)
from cl_analyze.report.sentences import how_to_read, temperatures_to_start, threshold_in_words
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Param, Record, number_text

_UNIT_TEXT = {"none": "", "dimensions": "dims", "accuracy": ""}
_LOSS_PARTS = tuple(part.name for part in PARTS[1:])
_ENERGY, _LEAST_ENERGY = "hyperspherical_energy", "hyperspherical_energy_reference"

# versions of a metric of quality that stand side by side, as columns of one table
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
    "class_sum": (" class_sum", "normalised"),
    "class_sum_raw": (" class_sum", "raw"),
}
"""Definition -> end of the line's name, and column among `_FORMS`."""
_HEADS = {"normalised_centred": "norm_centred", "normalised_balanced": "norm_balanced"}
_MOST_COLUMNS = 4
_MOST_CHECKPOINTS = 8
"""Checkpoints up to which a comparison says in words how each differs."""


def wrapped(
    text: str, width: int = 80, initial_indent: str = "", subsequent_indent: str = ""
) -> list[str]:
    """A text in lines of at most `width` characters; paths and names are never broken.

    >>> wrapped("the file epoch-12-step-100.npy", 12)
    ['the file', 'epoch-12-step-100.npy']
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def aligned(rows: Sequence[Sequence[str]], sides: str, gap: str = "  ") -> list[str]:
    """A line for each row, with cells as wide as the widest cell of their column.

    Args:
        rows: texts of the cells.
        sides: `<` or `>` for each column: where its texts stand.
        gap: text between two columns.

    >>> aligned([["a", "1"], ["long", "10"]], "<>")
    ['a      1', 'long  10']
    """
    widths = [max(len(row[c]) for row in rows) for c in range(len(sides))]
    return [
        gap.join(f"{text:{side}{w}}" for text, side, w in zip(row, sides, widths, strict=True))
        for row in rows
    ]


def _separated(blocks: Iterable[Sequence[str]]) -> list[str]:
    """Lines of blocks, with an empty line between two blocks."""
    lines: list[str] = []
    for block in blocks:
        lines += [*[""] * bool(lines), *block]
    return lines


def _by_source(records: Iterable[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.source, []).append(record)
    return groups


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


def _unit_text(record: Record) -> str:
    return "" if record.value is None else _UNIT_TEXT.get(record.unit, record.unit)


def _value_and_error(record: Record) -> str:
    """The value with its error, in one short cell."""
    if record.value is None:
        return "undefined"
    error = record.total_error
    if record.is_beside_an_end:
        return f"{record.value:.4g} {record.error_text}"
    if not error or error < 1e-9 * abs(record.value):  # the error is one of rounding
        return f"{record.value:.4g}"
    # the last digit of the value is the first digit of the error
    value = number_text(record.value, 10 * error)
    _, point, decimals = value.partition(".")
    if "e" in value:
        return f"{value}±{error:.1g}"
    if not point:
        return f"{value}±{error:.0f}"
    return f"{value}±{error:.{len(decimals)}f}"


# ---- records in a list


def _heading(record: Record, document: Document) -> str:
    rows = f"n={record.n}"
    if record.source in document.n_anchors and not record.exact:
        n_anchors = document.n_anchors[record.source]
        rows = f"n={document.n_rows[record.source]} (estimated from {n_anchors} anchors)"
    return f"{record.source}  {rows}" + ("" if record.d is None else f"  d={record.d}")


def record_lines(records: Sequence[Record], document: Document) -> list[str]:
    """A line for each record, in columns, under a heading for each source."""
    if not records:
        return []
    rows = []
    for record in records:
        unit = _unit_text(record) if record.reason is None else f"({record.reason})"
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
    return _separated(
        [_heading(own[0], document), *(f"  {next(table)}".rstrip() for _ in own)]
        for own in (list(group) for _, group in groupby(records, lambda record: record.source))
    )


def penalty_lines(records: Sequence[Record], document: Document) -> list[str]:
    """A line for each record; under each source, temperatures to start from."""
    return _separated(
        [
            *record_lines(own, document),
            *wrapped(temperatures_to_start(document, source), 80, "  ", "  "),
        ]
        for source, own in _by_source(records).items()
    )


def verdict_lines(source: str, document: Document) -> list[str]:
    """The verdict on collapse, where there is one."""
    return [
        line
        for row in document.rows("collapse", source=source)
        for line in wrapped(str(row["text"]), 80, "  ", "    ")
    ]


# ---- losses


def loss_lines(records: Sequence[Record], document: Document) -> list[str]:
    """A line for each loss and temperature with both parts, under how to read the loss."""
    return _separated(_loss_block(own, document) for own in _by_source(records).values())


def _loss_block(records: Sequence[Record], document: Document) -> list[str]:
    in_tables = (*_LOSS_PARTS, _ENERGY, _LEAST_ENERGY, "loss")
    others = [record for record in records if record.metric not in in_tables]
    lines = [_heading(records[0], document), *_loss_table(records)]
    lines += _batch_table(document, records[0].source)
    for metric in dict.fromkeys(record.metric for record in others):
        lines += record_lines([r for r in others if r.metric == metric], document)[1:]
    return lines + _energy_table(records)


def _loss_table(records: Sequence[Record]) -> list[str]:
    parts = {(r.metric, _loss_key(r)): r.value for r in records if r.metric in _LOSS_PARTS}
    losses = [r for r in records if r.metric == "loss" and "batch_size" not in r.params]
    rows = [["", "loss", "", "alignment", "uniformity"]]
    for loss in losses:
        if loss.value is not None:
            row = [_params_text(loss, "name"), _value_text(loss), loss.error_text]
            values = (parts.get((metric, _loss_key(loss))) for metric in _LOSS_PARTS)
            rows.append([*row, *("" if value is None else f"{value:.5g}" for value in values)])
    table = iter(aligned(rows, "<><>>"))
    lines = [f"    {next(table)}".rstrip()]
    title_before = ""
    for loss in losses:
        name = str(loss.params["name"])
        full_name = name if loss.definition is None else f"{name}[{loss.definition}]"
        title = f"{full_name}: {how_to_read(name, loss.definition)}"
        if title != title_before:
            lines += wrapped(title, 80, "  ", "      ")
        title_before = title
        if loss.value is None:  # a reason is longer than a column
            text = f"{_params_text(loss, 'name')}  undefined ({loss.reason})".strip()
            lines += wrapped(text, 78, "    ", "      ")
        else:
            lines.append(f"    {next(table)}".rstrip())
    return lines


def _loss_key(record: Record) -> tuple[str | None, tuple[tuple[str, Param], ...]]:
    return record.definition, tuple(record.params.items())


def _batch_table(document: Document, source: str) -> list[str]:
    """L - log K over batches, a column for each size, and the limit that all rows give."""
    table = document.rows("loss_batch", source=source)
    if not table:
        return []
    sizes = sorted({int(str(row["batch_size"])) for row in table})
    default: dict[Cell, Cell] = {}
    cells: dict[tuple[str, str], list[str]] = {}
    for row in table:
        if default.setdefault(row["name"], row["definition"]) != row["definition"]:
            continue
        tau = "" if row["tau"] is None else _param_text("tau", float(str(row["tau"])))
        line = cells.setdefault((str(row["name"]), tau), [""] * (len(sizes) + 1))
        line[sizes.index(int(str(row["batch_size"])))] = f"{row['normalised']:.4g}"
        line[-1] = "" if row["limit"] is None else f"{row['limit']:.4g}"
    rows = [("batch size", "", *map(str, sizes), "limit")]
    rows += [(*key, *line) for key, line in cells.items()]
    return [
        "  mean over batches less log K (errors, other definitions: loss_batch.csv)",
        *(f"    {line}" for line in aligned(rows, "<<" + ">" * (len(sizes) + 1))),
    ]


def _energy_table(records: Sequence[Record]) -> list[str]:
    """Energies of both views beside their reference, a line for each kernel."""
    if not any(record.metric == _ENERGY for record in records):
        return []
    rows = [["hyperspherical energy", "view 1", "", "view 2", "", "reference", ""]]
    for reference in (record for record in records if record.metric == _LEAST_ENERGY):
        kernel, t = reference.params["kernel"], reference.params["t"]
        row = [f"  {_param_text('t', t)} {kernel}"]
        for record in records:
            if record.metric == _ENERGY and record.params["kernel"] == kernel:
                value, error = record.value, record.std_error
                row.append("undefined" if value is None else number_text(value, error))
                row.append(f"± {error:.1g}" if error else "")
        least = "infinite" if reference.value is None else f"{reference.value:.6g}"
        rows.append([*row, least, str(reference.definition).replace("_", " ")])
    return [f"  {line.rstrip()}" for line in aligned(rows, "<><><><")]


# ---- quality


def quality_lines(records: Sequence[Record], document: Document) -> list[str]:
    """The verdict on collapse, then tables of metrics that have several versions, then the rest."""
    return _separated(_quality_block(own, document) for own in _by_source(records).values())


def _quality_block(records: Sequence[Record], document: Document) -> list[str]:
    source = records[0].source
    n = f"n={document.n_rows.get(source, 0)}"
    if source in document.n_anchors:
        n += f" (estimated from {document.n_anchors[source]} anchors)"
    lines = [f"{source}  {n}  d={records[0].d}", *verdict_lines(source, document)]
    tables: dict[Sequence[str] | None, dict[tuple[str, str], Record]] = {}
    for record in records:
        columns, name, column = _place(record)
        tables.setdefault(columns, {})[name, column] = record
    lines += _version_table(tables.get(_SPECTRA, {}), _SPECTRA)
    at_k = tables.get(_NEIGHBOURS, {})
    ks = [str(k) for k in sorted({int(k) for _, k in at_k})]
    for start in range(0, len(ks), _MOST_COLUMNS):
        part = ks[start : start + _MOST_COLUMNS]
        lines += _version_table({at: r for at, r in at_k.items() if at[1] in part}, part, "k =")
    for columns in (_CENTRES, _FORMS):
        lines += _version_table(tables.get(columns, {}), columns)
    rest = tables.get(None, {})
    width = max((len(name) for name, _ in rest), default=0)
    lines += [""] * bool(rest)
    for (name, _), record in rest.items():
        value = f"{_value_and_error(record):>15}"
        lines.append(f"  {name:{width}}  {value}  {_unit_text(record)}".rstrip())
        lines += _reasons([record])
    return lines


def _place(record: Record) -> tuple[Sequence[str] | None, str, str]:
    """Columns of the table, line and column; no columns for a metric with one version."""
    if "k" in record.params:
        direction = record.params.get("direction")
        name = record.metric if direction is None else f"{record.metric} {direction}"
        return _NEIGHBOURS, name, str(record.params["k"])
    versions = set(DECLARED[record.metric].definitions)
    for columns in (_SPECTRA, _CENTRES):
        if versions == set(columns):
            return columns, record.metric, str(record.definition)
    if record.definition in _FORM_OF:
        end, column = _FORM_OF[record.definition]
        return _FORMS, record.metric + end, column
    return None, f"{record.name} {_params_text(record, 'temperature')}".rstrip(), ""


def _version_table(
    records: Mapping[tuple[str, str], Record], columns: Sequence[str], corner: str = ""
) -> list[str]:
    """Values with their errors: a line for each name, a column for each version that is there."""
    if not records:
        return []
    columns = [head for head in columns if any(column == head for _, column in records)]
    rows = [[corner, *(_HEADS.get(head, head) for head in columns)]]
    for name in dict.fromkeys(name for name, _ in records):
        cells = [records.get((name, head)) for head in columns]
        rows.append([name, *("" if r is None else _value_and_error(r) for r in cells)])
    table = aligned(rows, "<" + ">" * len(columns), gap=" ")
    return ["", *(f"  {line}".rstrip() for line in table), *_reasons(list(records.values()))]


def _reasons(records: Sequence[Record]) -> list[str]:
    """Why there is no value, each reason once."""
    versions_of: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.reason is not None:
            version = record.definition or _params_text(record, "temperature")
            versions_of.setdefault((record.metric, record.reason), []).append(version)
    lines = []
    for (metric, reason), versions in versions_of.items():
        names = f" [{', '.join(versions)}]" if any(versions) else ""
        lines += wrapped(f"{metric}{names}: {reason}", 80, "    ", "      ")
    return lines


# ---- comparisons


def comparison_lines(document: Document) -> list[str]:
    """Headline numbers side by side, a line for each checkpoint, then the differences in words."""
    reference = reference_of(document)
    n_tested = tested_differences(document)
    names = _shortened(list(document.sources), 30)
    places = {row["source"]: row for row in document.rows("checkpoints")}
    variants = {
        source: f"  [{places[source]['variant']}]"
        for source in document.sources
        if places[source]["variant"]
    }
    lines = [*_headline_tables(document, {**names, **variants}), ""]
    is_mixed = len(variants) + 1 < len(document.sources)
    base = f"{reference} (a variant: from its original)" if variants and is_mixed else reference
    if n_tested:
        lines += wrapped(
            f"* differs from {base} (p < 0.05, adjusted by Holm's method over the checkpoints in "
            "each column), ~ is not established; ± is one standard error. "
            f"{n_tested} differences were tested; compare.csv has them all."
            + " More negative uniformity is more uniform."
            * bool(document.records("uniformity"))
        )
    others = [source for source in natural_order(document) if source != reference]
    is_run = places[others[0]]["x"] is not None and not variants
    # of a long run the last checkpoints, else the first
    described = others[-_MOST_CHECKPOINTS:] if is_run else others[:_MOST_CHECKPOINTS]
    for source in described:
        place = places[source]
        is_at = place["x"] is not None and place["variant"] is None
        at = f" ({place['axis']} {place['x']:g})" if is_at else ""
        comparison = comparison_of(document, source)
        lines += ["", *wrapped(f"{source}{at} against {comparison.against}")]
        for sentence in comparison.sentences():
            lines += wrapped(sentence, 80, "  ", "    ")
    if len(others) > len(described):
        n_more = len(others) - len(described)
        noun = "checkpoint" if n_more == 1 else "checkpoints"
        lines += ["", f"{n_more} more {noun}: compare.csv, compare.html"]
    texts = [pareto_sentence(document, names), *alike_sentences(document)]
    for text in (*texts, *dimensions_sentences(document)):
        lines += ["", *wrapped(text, 80, "", "  ")] if text else []
    return lines


def _headline_tables(document: Document, names: Mapping[str, str]) -> list[str]:
    """Headline numbers of each checkpoint, a few at a time, marked where they differ."""
    rows = {
        (row["source_a"], row["metric"], row["definition"], row["params"]): row
        for row in document.rows("compare")
    }

    def cell(record: Record | None) -> str:
        if record is None:
            return ""
        row = rows.get((record.source, record.metric, record.definition, params_text(record)))
        mark = " "
        if row is not None and row["p_headline"] is not None:
            mark = "*" if is_real(row["p_headline"]) else "~"
        return _value_and_error(record) + mark

    def table(part: Sequence[Headline], gap: int) -> list[str]:
        rows = [["", *(headline.title for headline in part)]]
        for source in natural_order(document):
            rows.append([names[source], *(cell(h.find(document, source)) for h in part)])
        return _table_with_tall_heads(rows, gap)

    tables = []
    shown = headlines(document)
    while shown:
        layouts = ((n, gap) for n in range(min(_MOST_COLUMNS, len(shown)), 0, -1) for gap in (2, 1))
        for n, gap in layouts:
            lines = table(shown[:n], gap)
            if max(map(len, lines)) <= 80:
                break
        tables.append(lines)
        shown = shown[n:]
    return _separated(tables)


def _shortened(names: Sequence[str], most: int) -> dict[str, str]:
    """The end of each long name, where these ends tell all names apart."""
    short = {name: name if len(name) <= most else f"…{name[1 - most :]}" for name in names}
    return short if len(set(short.values())) == len(names) else {name: name for name in names}


def _table_with_tall_heads(rows: Sequence[Sequence[str]], gap: int) -> list[str]:
    """A table whose heads are broken into words above their columns, `gap` spaces between these."""
    widths = [max(len(row[c]) for row in rows[1:]) for c in range(len(rows[0]))]
    heads = [wrapped(text, max(widths[c], 11)) or [""] for c, text in enumerate(rows[0])]
    depth = max(len(head) for head in heads)
    heads = [[""] * (depth - len(head)) + head for head in heads]
    table = [[head[i] for head in heads] for i in range(depth)] + [list(row) for row in rows[1:]]
    sides = "<" + ">" * (len(widths) - 1)
    return [line.rstrip() for line in aligned(table, sides, " " * gap)]
