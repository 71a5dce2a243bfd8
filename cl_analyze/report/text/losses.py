"""Losses on a terminal: losses by temperature, then what else was measured of them."""

from __future__ import annotations

from collections.abc import Sequence

from cl_analyze.lines import Line, plain, separated, wrapped
from cl_analyze.metrics.losses.metrics import PARTS
from cl_analyze.metrics.losses.readings import title_of
from cl_analyze.report.grid import at_the_point, column_of, number_column, table, text_column
from cl_analyze.report.numbers import column_texts, params_in_words
from cl_analyze.report.text.records import (
    heading,
    in_rows,
    key_of,
    label,
    list_lines,
    named_numbers,
    reason_lines,
    single_text,
    words_of,
)
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Param, Record

ENERGY, LEAST_ENERGY = "hyperspherical_energy", "hyperspherical_energy_reference"
LOSS_PARTS = tuple(part.name for part in PARTS[1:])
_READING = "How to read each loss, and its alignment and uniformity parts: --long"


def loss_block(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A row for each loss, a column for each temperature; losses without one in a list."""
    losses = [r for r in records if r.metric == "loss" and "batch_size" not in r.params]
    named = (*LOSS_PARTS, ENERGY, LEAST_ENERGY, "loss")
    others = [record for record in records if record.metric not in named]
    blocks = [
        _by_temperature([r for r in losses if "tau" in r.params], width),
        _without_temperature([r for r in losses if "tau" not in r.params], width),
        _batches(document, records[0].source, width),
        _others([r for r in others if "tau" in r.params], width),
        list_lines([r for r in others if "tau" not in r.params], document, width),
        _energies(records, width),
        plain(wrapped(_READING, width, "  ", "  ")) if losses else [],
    ]
    return [heading(records[0], document), *separated(blocks)]


def loss_name(record: Record, *without: str) -> str:
    """A loss as people call it, with its definition and its other parameters."""
    definition = "" if record.definition is None else f" [{record.definition}]"
    words = words_of(record.params, "name", *without)
    return ", ".join(filter(None, (f"{title_of(str(record.params['name']))}{definition}", words)))


def _by_temperature(records: Sequence[Record], width: int) -> list[Line]:
    if not records:
        return []
    taus = list(dict.fromkeys(record.params["tau"] for record in records))
    names: dict[str, dict[Param, Record]] = {}
    for record in records:
        names.setdefault(loss_name(record, "tau"), {})[record.params["tau"]] = record
    columns = [text_column("loss", names)]
    columns += [
        number_column(params_in_words({"tau": tau}), [found.get(tau) for found in names.values()])
        for tau in taus
    ]
    return [*table(columns, width), *_reasons(records, width)]


def _without_temperature(records: Sequence[Record], width: int) -> list[Line]:
    defined = [record for record in records if record.value is not None]
    texts = [single_text(record) for record in defined]
    names = [loss_name(record) for record in defined]
    lines = named_numbers(names, texts, [""] * len(names), width)
    return [*lines, *_reasons(records, width)]


def _reasons(records: Sequence[Record], width: int) -> list[Line]:
    """Why losses are undefined: each loss once."""
    reasons = {loss_name(r, "tau"): r.reason for r in records if r.reason is not None}
    return [
        line
        for name, reason in reasons.items()
        for line in plain(wrapped(f"{name}: {reason}", width, "    ", "      "))
    ]


def _others(records: Sequence[Record], width: int) -> list[Line]:
    """What else was measured at each temperature, a row for each number."""
    if not records:
        return []
    taus = list(dict.fromkeys(record.params["tau"] for record in records))
    of_key: dict[object, dict[Param, Record]] = {}
    for record in records:
        of_key.setdefault(key_of(record, "tau"), {})[record.params["tau"]] = record
    rows = list(of_key.values())
    names = [label(next(iter(found.values())), "tau") for found in rows]
    heads = [params_in_words({"tau": tau}) for tau in taus]
    cells = [[found.get(tau) for tau in taus] for found in rows]
    return [*in_rows(names, heads, cells, width), *reason_lines(records, width)]


def _batches(document: Document, source: str, width: int) -> list[Line]:
    """L - log K over batches, a column for each size, and the limit that all rows give."""
    rows = document.rows("loss_batch", source=source)
    if not rows:
        return []
    sizes = sorted({int(str(row["batch_size"])) for row in rows})
    default: dict[Cell, Cell] = {}
    cells: dict[str, list[str]] = {}
    for row in rows:
        if default.setdefault(row["name"], row["definition"]) != row["definition"]:
            continue
        name = title_of(str(row["name"]))
        if row["tau"] is not None:
            name += f", {params_in_words({'tau': float(str(row['tau']))})}"
        line = cells.setdefault(name, [""] * (len(sizes) + 1))
        line[sizes.index(int(str(row["batch_size"])))] = f"{row['normalised']:.4g}"
        line[-1] = "" if row["limit"] is None else f"{row['limit']:.4g}"
    columns = [text_column("batch size", cells)]
    for at, head in enumerate([*map(str, sizes), "limit"]):
        columns.append(text_column(head, [line[at] for line in cells.values()], ">"))
    title = "mean over batches less log K (errors, other definitions: loss_batch.csv)"
    return [*plain(wrapped(title, width, "  ", "  ")), *table(columns, width, 4)]


def _energies(records: Sequence[Record], width: int) -> list[Line]:
    """Energies of both views beside their reference, a row for each kernel."""
    references = [record for record in records if record.metric == LEAST_ENERGY]
    if not any(record.metric == ENERGY for record in records):
        return []
    energies = [
        [
            record
            for record in records
            if record.metric == ENERGY and record.params["kernel"] == reference.params["kernel"]
        ]
        for reference in references
    ]
    names = [f"{r.params['kernel']}, {words_of(r.params, 'kernel')}" for r in references]
    least = ["infinite" if r.value is None else f"{r.value:.6g}" for r in references]
    kinds = [str(r.definition).replace("_", " ") for r in references]
    columns = [text_column("hyperspherical energy", names)]
    for view in range(max(map(len, energies))):
        own = [row[view] if view < len(row) else None for row in energies]
        texts = [column_texts([record])[0] for record in own]
        columns.append(column_of(f"view {view + 1}", at_the_point(texts)))
    if len(set(kinds)) == 1:
        columns.append(text_column(kinds[0], least, ">"))
    else:
        columns.append(text_column("reference", map("{} {}".format, least, kinds)))
    return table(columns, width)
