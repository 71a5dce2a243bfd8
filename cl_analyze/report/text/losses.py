"""Losses on a terminal: losses by temperature, then what else was measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
BATCH_TITLE = "mean over batches less log K (errors, other definitions: loss_batch.csv)"
_READING = "How to read each loss, and its alignment and uniformity parts: --long"


# ---- what the usual form and the long form show


@dataclass(frozen=True)
class Energies:
    """The energies of one kernel.

    Attributes:
        reference: the energy of the reference.
        views: the energy of each view.
    """

    reference: Record
    views: list[Record]

    @property
    def kind(self) -> str:
        """What the reference is, in words."""
        return str(self.reference.definition).replace("_", " ")

    @property
    def least(self) -> str:
        """The value of the reference."""
        return "infinite" if self.reference.value is None else f"{self.reference.value:.6g}"


@dataclass(frozen=True)
class LossRecords:
    """The records of the family `losses` of one source, by how they are shown.

    Attributes:
        losses: losses over all rows.
        energies: for each kernel; empty where no view was measured.
        others: neither a loss, nor a part of one, nor an energy.
    """

    losses: list[Record]
    energies: list[Energies]
    others: list[Record]


def split(records: Sequence[Record]) -> LossRecords:
    """Records of one source by how they are shown."""
    losses = [r for r in records if r.metric == "loss" and "batch_size" not in r.params]
    of_views = [record for record in records if record.metric == ENERGY]
    energies = [
        Energies(own, [r for r in of_views if r.params["kernel"] == own.params["kernel"]])
        for own in records
        if own.metric == LEAST_ENERGY and of_views
    ]
    named = (*LOSS_PARTS, ENERGY, LEAST_ENERGY, "loss")
    return LossRecords(losses, energies, [r for r in records if r.metric not in named])


@dataclass(frozen=True)
class BatchCells:
    """L - log K over batches, and the limit that all rows give.

    Attributes:
        heads: the sizes of batches, then "limit".
        rows: name and temperature of a loss -> a cell for each head, empty where there is no value.
    """

    heads: list[str]
    rows: dict[tuple[str, float | None], list[str]]


def batch_cells(document: Document, source: str) -> BatchCells:
    """Losses over batches, each in its first definition."""
    table_rows = document.rows("loss_batch", source=source)
    sizes = sorted({int(str(row["batch_size"])) for row in table_rows})
    default: dict[Cell, Cell] = {}
    cells: dict[tuple[str, float | None], list[str]] = {}
    for row in table_rows:
        if default.setdefault(row["name"], row["definition"]) != row["definition"]:
            continue
        tau = None if row["tau"] is None else float(str(row["tau"]))
        line = cells.setdefault((str(row["name"]), tau), [""] * (len(sizes) + 1))
        line[sizes.index(int(str(row["batch_size"])))] = f"{row['normalised']:.4g}"
        line[-1] = "" if row["limit"] is None else f"{row['limit']:.4g}"
    return BatchCells([*map(str, sizes), "limit"], cells)


# ---- the usual form


def loss_block(records: Sequence[Record], document: Document, width: int) -> list[Line]:
    """A row for each loss, a column for each temperature; losses without one in a list."""
    parts = split(records)
    losses, others = parts.losses, parts.others
    blocks = [
        _by_temperature([r for r in losses if "tau" in r.params], width),
        _without_temperature([r for r in losses if "tau" not in r.params], width),
        _batches(document, records[0].source, width),
        _others([r for r in others if "tau" in r.params], width),
        list_lines([r for r in others if "tau" not in r.params], document, width),
        _energies(parts.energies, width),
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
    """Losses over batches, a column for each size."""
    cells = batch_cells(document, source)
    if not cells.rows:
        return []
    names = [
        title_of(name) + ("" if tau is None else f", {params_in_words({'tau': tau})}")
        for name, tau in cells.rows
    ]
    columns = [text_column("batch size", names)]
    for head, column in zip(cells.heads, zip(*cells.rows.values(), strict=True), strict=True):
        columns.append(text_column(head, column, ">"))
    return [*plain(wrapped(BATCH_TITLE, width, "  ", "  ")), *table(columns, width, 4)]


def _energies(energies: Sequence[Energies], width: int) -> list[Line]:
    """Energies of both views beside their reference, a row for each kernel."""
    if not energies:
        return []
    params = [own.reference.params for own in energies]
    names = [f"{own['kernel']}, {words_of(own, 'kernel')}" for own in params]
    columns = [text_column("hyperspherical energy", names)]
    for view in range(max(len(own.views) for own in energies)):
        records = [own.views[view] if view < len(own.views) else None for own in energies]
        texts = [column_texts([record])[0] for record in records]
        columns.append(column_of(f"view {view + 1}", at_the_point(texts)))
    if len({own.kind for own in energies}) == 1:
        columns.append(text_column(energies[0].kind, [own.least for own in energies], ">"))
    else:
        columns.append(text_column("reference", [f"{own.least} {own.kind}" for own in energies]))
    return table(columns, width)
