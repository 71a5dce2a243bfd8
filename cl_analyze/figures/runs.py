"""Figures of checkpoints along a run, and of how the space moved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from cl_analyze.figures import measures
from cl_analyze.figures.colours import BLACK, BLUE, HUES, ordered
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Points, Rule
from cl_analyze.figures.marks import (
    bar,
    defined,
    extremes,
    half_width,
    hover_of,
    limits_around,
    line_of_records,
    logarithmic_axis,
    one_record,
    value_of,
)
from cl_analyze.figures.sources import axis_of, natural_order, short_names
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import AXES, TEMPERATURE, position, series_name
from cl_analyze.results.tables import KEPT_DIMENSIONS, Cell, Record

MOST_ROWS = 40
"""Checkpoints up to which each has a marker or a line of its own in a panel."""
_TEMPERATURE = re.compile(r"tau|temp|temperature|t\Z", re.IGNORECASE)
_ONE_RUN = "checkpoints"


@dataclass(frozen=True)
class Run:
    """What orders checkpoints along a run.

    Attributes:
        label: of the axis.
        is_temperature: whether positions are training temperatures.
        places: position of each checkpoint that has one.
        owners: what names the run of each checkpoint; empty: its name without the position does.
    """

    label: str
    is_temperature: bool
    places: dict[str, float]
    owners: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_order(self) -> bool:
        """Whether checkpoints stand at different positions."""
        return len(set(self.places.values())) > 1

    @property
    def axis(self) -> Axis:
        """The x axis of a panel along the run."""
        positions = sorted(set(self.places.values()))
        if not (self.is_temperature or self.owners) or positions[0] <= 0:
            return Axis(self.label)
        return logarithmic_axis(self.label, positions)

    @property
    def series(self) -> dict[str, list[str]]:
        """Checkpoints of each series in order: names that differ in their positions alone."""
        order = sorted(self.places, key=lambda source: self.places[source])
        if not self.owners:
            return _by_name(self, order)
        series: dict[str, list[str]] = {}
        for source in order:
            series.setdefault(self.owners[source], []).append(source)
        return series


def run_of(document: Document) -> Run:
    """The axis that the comparison was asked for, else temperatures, steps or epochs from names."""
    rows = document.rows("checkpoints")
    if rows and rows[0]["axis"] is not None:
        axis = str(rows[0]["axis"])
        placed = [row for row in rows if row["x"] is not None]
        if axis == KEPT_DIMENSIONS:
            names = short_names(document)
            owners = {
                str(row["source"]): names[str(row["original"] or row["source"])] for row in placed
            }
            return Run(axis, False, {str(row["source"]): _x(row) for row in placed}, owners)
        # variants stand where their original does, and are no step of the run
        places = {str(row["source"]): _x(row) for row in placed if not row["variant"]}
        if _TEMPERATURE.match(axis):
            return Run("training temperature τ", True, places)
        return Run(axis, "temperature" in axis, places)
    own = axis_of(document)
    if own is None:
        return Run("", False, {})
    places = {s: at for s, at in own.positions.items() if not document.variants.get(s)}
    is_temperature = own.name == TEMPERATURE
    run = Run("training temperature τ" if is_temperature else own.name, is_temperature, places)
    return run if run.has_order else replace(run, places={})


def _x(row: Mapping[str, Cell]) -> float:
    """The position of a checkpoint."""
    return float(row["x"] or 0.0)


def _by_name(run: Run, order: Sequence[str]) -> dict[str, list[str]]:
    """Checkpoints of each series, from their names without the positions."""
    axis = TEMPERATURE if run.is_temperature else run.label
    series: dict[str, list[str]] = {}
    for source in order:
        if axis in AXES and position(source, axis) == run.places[source]:
            name = series_name(source, axis)
        else:
            number = f"{run.places[source]:g}".replace(".", r"\.")
            name = re.sub(rf"[-_=]?0*{number}(\.0*)?(?![0-9])", "", source) or _ONE_RUN
        series.setdefault(name, []).append(source)
    n_alone = sum(len(sources) == 1 for sources in series.values())
    if len(series) > len(HUES) or n_alone > 1:  # names tell no runs apart
        return {_ONE_RUN: list(order)}
    return dict(sorted(series.items(), key=lambda item: -len(item[1])))


def _line(
    run: Run,
    names: Mapping[str, str],
    sources: Sequence[str],
    records: Sequence[Record],
    label: str,
    colour: str,
) -> list[Line | Points]:
    """The line of one series with a 95% band, or its only point; empty without values."""
    own = [record for s in sources if (record := one_record(records, s)) is not None]
    if not own:
        return []
    xs = [run.places[record.source] for record in own]
    owners = [names[record.source] for record in own]
    hovers = [hover_of(*pair) for pair in zip(own, owners, strict=True)]
    if len(own) == 1:
        diamond = _diamond(xs, own, label, colour)
        return [replace(diamond, sources=owners, hovers=hovers)]
    options = {"marker": len(own) <= MOST_ROWS, "sources": owners, "hovers": hovers}
    return [line_of_records(xs, own, label, colour, **options)]


def _diamond(xs: Sequence[float], records: Sequence[Record], label: str, colour: str) -> Points:
    """A checkpoint beside the runs, with its 95% interval."""
    ys, bars = [value_of(record) for record in records], [bar(record) for record in records]
    return Points(xs, ys, label, colour, y_error=bars, size=5, symbol="D", hollow=True)


_MOST_IN_TITLE = 4


def along_the_run_figure(document: Document) -> Figure | None:
    """The numbers of a comparison along its run, see `run_figure`."""
    return run_figure(document) if document.rows("checkpoints") else None


def against_temperature_figure(document: Document) -> Figure | None:
    """The numbers of a report against what orders its checkpoints, see `run_figure`."""
    return None if document.rows("checkpoints") else run_figure(document)


def run_figure(document: Document) -> Figure | None:
    """Uniformity, tolerance, accuracy and more along the run: the paper's figure against tau."""
    run = run_of(document)
    if not run.has_order:
        return None
    is_comparison = bool(document.rows("checkpoints"))
    series = run.series
    accuracies = measures.accuracies(document)
    shown = [measures.uniformity(document), measures.tolerance(document)]
    if is_comparison:
        shown += accuracies + measures.retrieval(document)
        shown += measures.rank_and_false_negatives(document)
    else:
        shown += accuracies[:1]
    panels: list[Panel] = []
    names: list[str] = []
    for measure in shown:
        marks: list[Mark] = []
        for (name, sources), colour in zip(series.items(), HUES * len(series), strict=False):
            label = name if len(series) > 1 else ""
            marks += _line(run, short_names(document), sources, measure.records, label, colour)
        if not marks:
            continue
        ends = [
            value_of(r) + side * half_width(r) for r in defined(measure.records) for side in (-1, 1)
        ]
        if measure.uniform_sphere is not None:
            marks.append(Rule("uniform sphere", y=measure.uniform_sphere))
            ends.append(measure.uniform_sphere)
        y_axis = Axis(measure.label, limits=limits_around(*ends), is_share=measure.is_share)
        panels.append(Panel(marks, run.axis, y_axis))
        names.append(measure.name)
    if not panels:
        return None
    caption = "Dashed: the uniform sphere. Bands are 95% intervals. "
    if run.is_temperature:
        caption = (
            "The dilemma: at a larger temperature rows are less uniform (a higher value) and "
            f"more tolerant (also higher). {caption}"
        )
    if not is_comparison:
        noun = "Temperatures" if run.is_temperature else f"Positions ({run.label})"
        caption += f"{noun} are read from the names of the checkpoints."
    title = "Headline numbers"
    if len(names) <= _MOST_IN_TITLE:
        title = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
        title = title[0].upper() + title[1:]
    return Figure(
        "along_the_run" if is_comparison else "against_temperature",
        f"{title} against {'the training temperature' if run.is_temperature else run.label}",
        caption,
        panels,
        columns=min(len(panels), 3),
        panel_size=(3.6, 2.7),
        finding=" ".join(
            extremes(
                document, measure.records, measure.name, "{:.1%}" if measure.is_share else "{:.3g}"
            )
            for measure in [*accuracies[:1], *shown[:1]]
        ),
    )


def movement_figure(document: Document) -> Figure | None:
    """CKA, shared neighbours and the rotation's residual of each checkpoint and the reference."""
    if not document.rows("checkpoints"):
        return None
    run = run_of(document)
    against = {row["source"]: row["against"] for row in document.rows("checkpoints")}
    # the step before is the reference: the same numbers
    first_steps = {
        one
        for series in run.series.values()
        for before, one in pairwise(series)
        if against[before] is None
    }

    def split(metric: str, definition: str | None = None) -> tuple[list[Record], list[Record]]:
        """Records against the reference (or the original), and those against the step before."""
        records = defined(document.records(metric, definition))
        own = [r for r in records if r.params["against"] == against[r.source]]
        if len(own) == len(records):  # no run has a step of its own
            return own, []
        first = (r for r in own if r.source in first_steps)
        return own, [*first, *(r for r in records if r.params["against"] != against[r.source])]

    cka, cka_of_steps = split("cka", "linear_debiased")
    overlap, overlap_of_steps = split("neighbour_overlap")
    residual, residual_of_steps = split("procrustes_residual")
    moved = {record.source for record in [*cka, *overlap]}
    sources = [source for source in natural_order(document) if source in moved]
    if not sources:
        return None
    if run.owners:  # a variant against its original: another checkpoint is on no line of these
        sources = [source for source in sources if document.variants[source]]
    names = short_names(document)
    is_of_variants = all(document.variants.get(source) for source in sources)
    (reference,) = (str(row["source"]) for row in document.rows("checkpoints", reference=True))
    is_run = run.has_order and bool(document.rows("checkpoints")[0]["axis"])
    if is_run:
        run = replace(run, places={s: run.places[s] for s in sources if s in run.places})
        series, x_axis = run.series, run.axis
    else:
        places = {source: float(i) for i, source in enumerate(sources)}
        series, x_axis = {}, Axis(ticks=[(x, names[source]) for source, x in places.items()])

    def drawn(
        records: Sequence[Record], steps: Sequence[Record], label: str, colour: str
    ) -> list[Mark]:
        if is_run:
            named = [(label, colour), *[("", colour)] * len(series)]
            if not label and len(series) > 1:  # no colour has another meaning: one for each run
                named = list(zip(series, HUES * len(series), strict=False))
            lines = list(zip(series.values(), named, strict=False))
            marks: list[Mark] = [
                m for own, style in lines for m in _line(run, names, own, records, *style)
            ]
            dashed = [m for own, (_, hue) in lines for m in _line(run, names, own, steps, "", hue)]
            marks += [replace(m, style="dashed") for m in dashed if isinstance(m, Line)]
            return marks
        own = [record for s in sources if (record := one_record(records, s)) is not None]
        xs, ys = [places[record.source] for record in own], [value_of(record) for record in own]
        owners = [names[record.source] for record in own]
        hovers = [hover_of(*pair) for pair in zip(own, owners, strict=True)]
        bars = [bar(record) for record in own]
        return [Points(xs, ys, label, colour, y_error=bars, size=4, sources=owners, hovers=hovers)]

    def chance(metric: str) -> list[Mark]:
        """What rows in any order have, where every pair was compared."""
        means = {
            str(row[other]): float(row["null_mean"])
            for row in document.rows("compare_matrix", metric=metric)
            for one, other in (("source_a", "source_b"), ("source_b", "source_a"))
            if row[one] == reference and row["null_mean"] is not None
        }
        at = run.places if is_run else places
        placed = sorted((at[s], means[s], names[s]) for s in sources if s in at and s in means)
        if not placed or run.owners:
            return []
        xs, ys = [x for x, _, _ in placed], [y for _, y, _ in placed]
        owners = [name for _, _, name in placed]
        return [Points(xs, ys, _UNRELATED, BLACK, symbol="_", size=9, sources=owners)]

    shared: list[Mark] = []
    by_chance: list[Mark] = []
    ks = sorted({int(record.params["k"]) for record in overlap})
    for k, colour in zip(ks, ordered(len(ks)), strict=True):
        of_k = [record for record in overlap if record.params["k"] == k]
        of_steps = [record for record in overlap_of_steps if record.params["k"] == k]
        shared += drawn(of_k, of_steps, f"k = {k}", colour)
        by_chance.append(Rule(_UNRELATED, y=k / max(of_k[0].n - 1, 1), style="dotted"))
    shared += by_chance
    unlike = chance("procrustes_residual")
    least = min((value_of(r) - half_width(r) for r in cka), default=0.0)
    farthest = max((value_of(r) + half_width(r) for r in residual), default=0.0)
    farthest = max([farthest, *(y for m in unlike if isinstance(m, Points) for y in m.y)])
    farthest = 1.08 * max(farthest, 1e-6)
    panels = (
        (
            [*drawn(cka, cka_of_steps, "", BLUE), Rule(_UNRELATED, y=0.0, style="dotted")],
            Axis("linear CKA, debiased", limits=(min(-0.05, least), 1.05)),
        ),
        (shared, Axis("neighbours shared", limits=(0.0, 1.05), is_share=True)),
        (
            [*drawn(residual, residual_of_steps, "", BLUE), *unlike],
            Axis("squared distance after rotation", limits=(0.0, farthest)),
        ),
    )
    return Figure(
        "movement",
        f"How the space moved from {'the original' if is_of_variants else names[reference]}",
        "A checkpoint that is a rotation of the reference has CKA 1, shares every neighbour and "
        "has distance 0. CKA compares all similarities, shared neighbours only the nearest. "
        "Black: unrelated spaces (rows in random order). "
        f"{_STEPS_IN_WORDS * bool(cka_of_steps)}Only checkpoints whose rows are matched with the "
        "reference's are shown.",
        [Panel(marks, x_axis, axis, upright=not is_run) for marks, axis in panels if marks],
        columns=3,
        panel_size=(3.3, 2.6 if is_run else 3.4),
        finding=extremes(document, cka, "linear CKA with the reference", "{:.2f}"),
    )


_UNRELATED = "unrelated"
_STEPS_IN_WORDS = "Dashed: compared with the checkpoint before, not with the reference. "
