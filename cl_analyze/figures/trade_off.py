"""The plane of uniformity and tolerance, and the differences from the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cl_analyze.figures import measures
from cl_analyze.figures.colours import BLACK, BLUE, GREY, VERMILION
from cl_analyze.figures.description import (
    DIRECTIONS,
    Axis,
    Figure,
    Line,
    Mark,
    Numbers,
    Panel,
    Points,
    Rule,
    Side,
)
from cl_analyze.figures.marks import (
    Rows,
    axis_of_names,
    half_width,
    one_record,
    true_minus,
    value_in_words,
    value_of,
)
from cl_analyze.figures.runs import MOST_ROWS, run_of
from cl_analyze.figures.sources import by_temperature, short_names, source_colours
from cl_analyze.metrics.differences import is_real
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Record, nearest_k, number_text

_MOST_NAMES = 16
"""Points up to which each has its name beside it."""
_AXES = 5.0, 3.6
"""Inches of the plane's axes, about."""


def trade_off_figure(document: Document) -> Figure | None:
    """The uniformity-tolerance plane: a point for each source, joined along each run."""
    uniformity, tolerance = measures.uniformity(document), measures.tolerance(document)
    if not uniformity.records or not tolerance.records or len(document.sources) < 2:
        return None
    points = {
        source: (u, t)
        for source in by_temperature(document)
        if (u := one_record(uniformity.records, source)) is not None
        and (t := one_record(tolerance.records, source)) is not None
    }

    front = [str(row["source"]) for row in document.rows("checkpoints", pareto=True)]
    marks, has_runs = plane_marks(document, points, front)
    laws = measures.uniform_values(document)
    if laws:
        label = f"uniform sphere, d = {', '.join(map(str, laws))}"
        zeros = [0.0] * len(laws)
        marks.append(Points(list(laws.values()), zeros, label, BLACK, hollow=True, symbol="s"))
    return Figure(
        "trade_off",
        "The uniformity-tolerance trade-off",
        "Left is more uniform, up is more tolerant of same-class neighbours; a checkpoint further "
        "up and left than another is better in both. Bars are 95% intervals."
        + (" Arrows go along the run." if has_runs else ""),
        [Panel(marks, Axis(f"{uniformity.label}   ← more uniform"), Axis(tolerance.label))],
        panel_size=(6.2, 4.2),
    )


def plane_marks(
    document: Document,
    points: Mapping[str, tuple[Record, Record]],
    front: Sequence[str],
    inches: tuple[float, float] = _AXES,
) -> tuple[list[Mark], bool]:
    """The checkpoints of a plane, joined along their runs.

    Args:
        document: the results.
        points: source -> the records of its x and its y.
        front: checkpoints with a ring, where they are some of all.
        inches: width and height of the axes, about.

    Returns:
        The marks, and whether there are runs.
    """

    def coordinates(sources: Sequence[str]) -> tuple[list[float], list[float]]:
        us, ts = ([value_of(points[source][i]) for source in sources] for i in (0, 1))
        return us, ts

    runs = [
        [source for source in run if source in points] for run in run_of(document).series.values()
    ]
    short = short_names(document)
    marks: list[Mark] = [
        Line(
            *coordinates(run),
            "",
            "#b0b0b0",
            arrows=len(run) <= _MOST_NAMES,
            sources=[short[source] for source in run],
            hovers=[_hover(short[source], points[source]) for source in run],
        )
        for run in runs
        if len(run) > 1
    ]
    has_runs = bool(marks)
    front = sorted((s for s in front if s in points), key=lambda s: value_of(points[s][0]))
    if 1 < len(front) < len(points) - 1 and len(points) <= 2 * _MOST_NAMES:
        xs, ys = coordinates(front)
        own = [short[source] for source in front]
        marks.append(Points(xs, ys, "Pareto front", VERMILION, size=11.0, hollow=True, sources=own))
    return [*marks, *_points(document, points, runs, inches)], has_runs


def _points(
    document: Document,
    points: Mapping[str, tuple[Record, Record]],
    runs: Sequence[Sequence[str]],
    inches: tuple[float, float],
) -> list[Points]:
    """The checkpoints: coloured by accuracy, or many by their order, or each in its own colour."""
    names, colours = short_names(document), source_colours(document)
    us, ts = ([value_of(pair[i]) for pair in points.values()] for i in (0, 1))
    u_bars, t_bars = ([half_width(pair[i]) for pair in points.values()] for i in (0, 1))
    texts = [names[source] for source in points]
    is_many = len(points) > _MOST_NAMES

    def coloured(label: str, values: Mapping[str, float], sides: Sequence[Side] = ()) -> Points:
        return Points(
            us,
            ts,
            x_error=u_bars,
            y_error=t_bars,
            values=[values[source] for source in points],
            value_label=label,
            names=texts,
            sides=sides,
            sources=texts,
            hovers=[
                f"{_hover(names[source], points[source])} · {label} {values[source]:.4g}"
                for source in points
            ],
        )

    for accuracy in measures.accuracies(document)[:1]:
        values = {record.source: value_of(record) for record in accuracy.records}
        if set(points) <= set(values):
            return [
                coloured(accuracy.label, values, () if is_many else _sides(us, ts, texts, inches))
            ]
    if is_many:
        run = run_of(document)
        order = {source: float(i) for i, source in enumerate(by_temperature(document))}
        label = run.label if run.places else "order of the checkpoints"
        return [coloured(label, run.places or order)]
    largest = max((len(run) for run in runs), default=0)
    beside = {run[0] for run in runs if len(run) == 1 < largest}
    return [
        Points(
            [us[i]],
            [ts[i]],
            names[source],
            colours[source],
            x_error=[u_bars[i]],
            y_error=[t_bars[i]],
            symbol="D" if source in beside else "o",
            hollow=source in beside,
            names=[names[source]],
            source=names[source],
            hovers=[_hover(names[source], points[source])],
        )
        for i, source in enumerate(points)
    ]


def _hover(name: str, numbers: tuple[Record, Record]) -> str:
    """Name and both numbers of a point."""
    return " · ".join([name, *(value_in_words(record)[0] for record in numbers)])


_LETTER, _HEIGHT = 0.062, 0.13
"""Inches of a letter, and of a line of text."""


def _sides(
    xs: Numbers, ys: Numbers, texts: Sequence[str], inches: tuple[float, float]
) -> list[Side]:
    """A side for each point's name where it covers neither a point nor another name."""
    wide, tall = inches
    width = (max(xs) - min(xs)) or 1.0
    height = (max([*ys, 0.0]) - min([*ys, 0.0])) or 1.0
    points = [
        (wide * (x - min(xs)) / width, tall * (y - min(ys)) / height)
        for x, y in zip(xs, ys, strict=True)
    ]
    taken = [(x - 0.06, y - 0.06, x + 0.06, y + 0.06) for x, y in points]
    sides: list[Side] = []
    for (x, y), text in zip(points, texts, strict=True):
        chosen: Side = ""
        for side, (across, up) in DIRECTIONS.items():
            gap = 0.12 if across and up else 0.08
            left, right = _span(x, _LETTER * len(text), across, gap)
            bottom, top = _span(y, _HEIGHT, up, gap)
            box = (left, bottom, right, top)
            is_inside = left > -0.6 and right < wide + 0.3
            if is_inside and not any(_meet(box, other) for other in taken):
                chosen = side
                taken.append(box)
                break
        sides.append(chosen)
    return sides


def _span(at: float, length: float, direction: int, gap: float) -> tuple[float, float]:
    """Both ends of a text beside a position, or in its middle."""
    if direction == 0:
        return at - length / 2, at + length / 2
    return (at + gap, at + gap + length) if direction > 0 else (at - gap - length, at - gap)


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def difference_figure(document: Document) -> Figure | None:
    """Differences of the headline numbers from the reference, a panel for each."""
    rows = document.rows("compare")
    order = [str(r["source"]) for r in document.rows("checkpoints") if not r["reference"]]
    if not rows or len(order) > MOST_ROWS:
        return None
    names = short_names(document)
    (reference,) = (str(r["source"]) for r in document.rows("checkpoints", reference=True))
    has_variants = any(row["variant"] for row in document.rows("checkpoints"))
    panels = []
    for title, own in _shown_differences(rows):
        row_of = {str(row["source_a"]): row for row in own}
        placed = [(float(i), row_of[source]) for i, source in enumerate(order) if source in row_of]
        marks: list[Mark] = [Rule("no difference", x=0.0, colour=GREY)]
        for real, label, colour in (
            (True, "real (adjusted p < 0.05)", BLUE),
            (False, "not established, or without an error bar", GREY),
        ):
            chosen = [(y, row) for y, row in placed if is_real(row["p_headline"]) == real]
            if chosen:
                values = [float(row["difference"] or 0.0) for _, row in chosen]
                bars = [_interval_bar(row) for _, row in chosen]
                ys = [y for y, _ in chosen]
                owners = [names[str(row["source_a"])] for _, row in chosen]
                marks.append(
                    Points(
                        values,
                        ys,
                        label,
                        colour,
                        x_error=bars,
                        size=4.5,
                        hollow=not real,
                        sources=owners,
                        hovers=[
                            _difference_in_words(name, title, row)
                            for name, (_, row) in zip(owners, chosen, strict=True)
                        ],
                    )
                )
        panels.append(Panel(marks, Axis(title), axis_of_names([names[s] for s in order])))
    if not panels:
        return None
    return Figure(
        "differences",
        f"Differences from {names[reference]}{' and from originals' if has_variants else ''}",
        f"Each {_WHOSE[has_variants]}, with 95% intervals (paired where rows match; before "
        "adjustment). What is real stays so after Holm's correction over the panel's checkpoints.",
        panels,
        columns=min(len(panels), 3),
        share_y=True,
        panel_size=(3.0, max(1.6, 0.9 + 0.2 * len(order))),
    )


def _difference_in_words(name: str, title: str, row: Mapping[str, Cell]) -> str:
    """Name, difference with its standard error, and 95% interval."""
    value = float(row["difference"] or 0.0)
    error = None if row["std_error"] is None else float(row["std_error"])
    parts = [name, f"{title.partition('  [')[0]} {number_text(value, error)}"]
    if error:
        parts[1] += f" ± {number_text(error, error)}"
    if row["low"] is not None and row["high"] is not None:
        ends = (number_text(float(row[key] or 0.0), error) for key in ("low", "high"))
        parts.append(f"95% {' to '.join(ends)}")
    return " · ".join([name, *map(true_minus, parts[1:])])


_WHOSE = {
    False: "checkpoint less the reference",
    True: "checkpoint less the reference, each variant less its original",
}
_HEADLINES = {
    "uniformity": "uniformity  [nats]",
    "uniformity_gap": "uniformity gap  [nats]",
    "tolerance": "tolerance  [cosine]",
    "knn_accuracy": "kNN accuracy",
    "probe_accuracy": "linear probe accuracy",
    "recall_at_k": "recall",
    "effective_rank": "effective rank  [dimensions]",
    "penalty_false_negative_share": "false-negative share",
}
"""Metric -> title of its panel."""


def _interval_bar(row: Mapping[str, Cell]) -> tuple[float, float]:
    """How far the interval of a row of compare.csv reaches below and above its difference."""
    if row["low"] is None or row["high"] is None:
        return 0.0, 0.0
    value = float(row["difference"] or 0.0)
    return value - float(row["low"]), float(row["high"]) - value


def _shown_differences(rows: Rows) -> list[tuple[str, Rows]]:
    """Title and rows of each panel: of each headline metric the first number, kNN nearest to 20."""
    shown: dict[str, tuple[str, Rows]] = {}
    for metric, title in _HEADLINES.items():
        own = [row for row in rows if row["metric"] == metric]
        if not own or (metric == "uniformity_gap" and "uniformity" in shown):
            continue
        if metric == "knn_accuracy":
            k = nearest_k((_params(row)["k"] for row in own), 20)
            own = [row for row in own if _params(row)["k"] == k]
            title = f"{title}, k = {k}"
        if metric == "recall_at_k":
            own = [row for row in own if _params(row).get("direction") == "forward"]
            k = min((_params(row)["k"] for row in own), default=0)
            own = [row for row in own if _params(row)["k"] == k]
            title = f"{title}, k = {k}"
        if not own:
            continue
        if metric == "probe_accuracy":
            own = [row for row in own if row["definition"] == "normalised"] or own
        number = (own[0]["definition"], own[0]["params"])
        own = [row for row in own if (row["definition"], row["params"]) == number]
        shown[metric] = title, own
    return list(shown.values())


def _params(row: Mapping[str, Cell]) -> dict[str, Any]:
    params: dict[str, Any] = json.loads(str(row["params"]))
    return params
