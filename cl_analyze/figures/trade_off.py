"""The plane of uniformity and tolerance, and the differences from the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
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
    MOST_PICTURED,
    Rows,
    axis_of_names,
    half_width,
    one_record,
    true_minus,
    value_in_words,
    value_of,
    votes,
)
from cl_analyze.figures.runs import MOST_ROWS, run_of
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.metrics import DECLARED
from cl_analyze.metrics.differences import is_real
from cl_analyze.results.document import Document
from cl_analyze.results.tables import Cell, Record, nearest_k, number_text

_MOST_NAMES = 16
"""Points up to which each has its name beside it."""


def trade_off_figure(document: Document) -> Figure | None:
    """The uniformity-tolerance plane: a point for each source, joined along each run."""
    uniformity, tolerance = measures.uniformity(document), measures.tolerance(document)
    if not uniformity.records or not tolerance.records or len(document.sources) < 2:
        return None
    points = {
        source: (u, t)
        for source in natural_order(document)
        if (u := one_record(uniformity.records, source)) is not None
        and (t := one_record(tolerance.records, source)) is not None
    }

    front = [str(row["source"]) for row in document.rows("checkpoints", pareto=True)]
    laws = measures.uniform_values(document)
    marks, has_runs = plane_marks(document, points, front, list(laws.values()))
    if laws:
        label = f"uniform sphere, d = {', '.join(map(str, laws))}"
        zeros = [0.0] * len(laws)
        marks.append(Points(list(laws.values()), zeros, label, BLACK, hollow=True, symbol="s"))
    x_axis = Axis(f"{uniformity.label}   ←\u00a0more\u00a0uniform")
    y_axis = Axis(f"{tolerance.label}   more\u00a0tolerant\u00a0→")
    return Figure(
        "trade_off",
        "The uniformity-tolerance trade-off",
        "Left is more uniform; up is more tolerant of neighbours of the same class. A checkpoint "
        "further up and left than another is better in both. Bars are 95% intervals."
        + (" Arrows go along the run." if has_runs else ""),
        [Panel(marks, x_axis, y_axis, note="↖ better in both", note_left=True)],
        panel_size=(6.2, 4.4),
        finding=_ends_in_words(document, points),
    )


def plane_marks(
    document: Document,
    points: Mapping[str, tuple[Record, Record]],
    front: Sequence[str] = (),
    spheres: Sequence[float] = (),
) -> tuple[list[Mark], bool]:
    """The checkpoints of a plane, joined along their runs.

    Args:
        document: the results.
        points: source -> the records of its x and its y.
        front: checkpoints with a ring, where they are some of all.
        spheres: x of further points, at y = 0, which names must not cover.

    Returns:
        The marks, and whether there are runs.
    """

    def coordinates(sources: Sequence[str]) -> tuple[list[float], list[float]]:
        us, ts = ([value_of(points[source][i]) for source in sources] for i in (0, 1))
        return us, ts

    names = short_names(document)
    runs = [
        [source for source in run if source in points] for run in run_of(document).series.values()
    ]
    marks: list[Mark] = [
        Line(
            *coordinates(run),
            "",
            "#b0b0b0",
            arrows=len(run) <= _MOST_NAMES,
            sources=[names[source] for source in run],
            hovers=[_hover(names[source], points[source]) for source in run],
        )
        for run in runs
        if len(run) > 1
    ]
    has_runs = bool(marks)
    front = sorted((s for s in front if s in points), key=lambda s: value_of(points[s][0]))
    if 1 < len(front) <= _MOST_OF_FRONT * len(points):  # else nearly every point has a ring
        xs, ys = coordinates(front)
        own = [names[source] for source in front]
        marks.append(Points(xs, ys, "Pareto front", VERMILION, size=11.0, hollow=True, sources=own))
    return [*marks, *_points(document, points, runs, spheres)], has_runs


_MOST_OF_FRONT = 0.6
"""Share of the checkpoints up to which those on the Pareto front are marked."""


def _ends_in_words(document: Document, points: Mapping[str, tuple[Record, Record]]) -> str:
    """Which checkpoint is the most uniform, and which the most tolerant."""
    names = short_names(document)
    uniform = min(points, key=lambda source: value_of(points[source][0]), default=None)
    tolerant = max(points, key=lambda source: value_of(points[source][1]), default=None)
    if uniform is None or tolerant is None:
        return ""
    if uniform == tolerant:
        return f"{names[uniform]} is the most uniform and the most tolerant."
    return f"{names[uniform]} is the most uniform, {names[tolerant]} the most tolerant."


def _points(
    document: Document,
    points: Mapping[str, tuple[Record, Record]],
    runs: Sequence[Sequence[str]],
    spheres: Sequence[float],
) -> list[Points]:
    """The checkpoints, each in its own colour, or many by their order."""
    if not points:
        return []
    names, colours = short_names(document), source_colours(document)
    us, ts = ([value_of(pair[i]) for pair in points.values()] for i in (0, 1))
    places = {source: i for i, source in enumerate(points)}
    pieces = [(places[a], places[b]) for run in runs for a, b in pairwise(run)]
    u_bars, t_bars = ([half_width(pair[i]) for pair in points.values()] for i in (0, 1))
    texts = [names[source] for source in points]
    if len(points) > _MOST_NAMES:
        run = run_of(document)
        order = {source: float(i) for i, source in enumerate(natural_order(document), 1)}
        values, label = run.places, run.label
        if not set(points) <= set(values):
            values, label = order, "place in the order of the checkpoints"
        accuracy = votes(document)
        ends = sorted(points, key=lambda source: values[source])
        wanted = [ends[0], ends[-1]]
        if set(points) <= set(accuracy):
            wanted.append(max(points, key=lambda source: accuracy[source]))
        return [
            Points(
                us,
                ts,
                x_error=u_bars,
                y_error=t_bars,
                values=[values[source] for source in points],
                value_label=label,
                names=texts,
                sides=_sides(us, ts, texts, [places[s] for s in wanted], spheres, pieces),
                sources=texts,
                hovers=[_hover(names[source], points[source]) for source in points],
            )
        ]
    largest = max((len(run) for run in runs), default=0)
    beside = {run[0] for run in runs if len(run) == 1 < largest}
    sides = _sides(us, ts, texts, range(len(texts)), spheres, pieces)
    return [
        Points(
            [us[i]],
            [ts[i]],
            "",
            colours[source],
            x_error=[u_bars[i]],
            y_error=[t_bars[i]],
            symbol="D" if source in beside else "o",
            hollow=source in beside,
            names=[names[source]],
            sides=[sides[i]],
            source=names[source],
            hovers=[_hover(names[source], points[source])],
        )
        for i, source in enumerate(points)
    ]


def _hover(name: str, numbers: tuple[Record, Record]) -> str:
    """Name and both numbers of a point."""
    return " · ".join([name, *(value_in_words(record)[0] for record in numbers)])


_WIDE, _TALL = 2.6, 1.9
"""Inches of the plane's axes in a picture, about."""
_LETTER, _HEIGHT = 0.052, 0.1
"""Inches of a letter, and of a line of text."""
_COVERED = 25.0
"""What a covered square inch weighs against an inch outside."""
_ROUNDS = 4
_ALONG_LINES = tuple(i / 12 for i in range(1, 12))


def _sides(
    xs: Numbers,
    ys: Numbers,
    texts: Sequence[str],
    named: Sequence[int],
    spheres: Numbers,
    pieces: Sequence[tuple[int, int]],
) -> list[Side]:
    """A side for each point's name where it covers least.

    Args:
        xs, ys: of the points.
        texts: their names.
        named: points whose names stand in any case; others where they cover nothing.
        spheres: x of further points, at y = 0, that have no name.
        pieces: both ends of each piece of the lines between points.
    """
    every_x, every_y = [*xs, *spheres], [*ys, *(0.0 for _ in spheres)]
    left, low = min(every_x), min(every_y)
    width, height = (max(every_x) - left) or 1.0, (max(every_y) - low) or 1.0
    points = [
        (_WIDE * (x - left) / width, _TALL * (y - low) / height)
        for x, y in zip(every_x, every_y, strict=True)
    ]
    # a name must not seem to be of another point
    near = [(x - 0.1, y - 0.1, x + 0.1, y + 0.1) for x, y in points]
    on_lines = []  # a line is a row of dots
    for a, b in pieces:
        for share in _ALONG_LINES:
            x, y = (points[a][k] + share * (points[b][k] - points[a][k]) for k in (0, 1))
            on_lines.append((x - 0.02, y - 0.02, x + 0.02, y + 0.02))
    boxes: dict[int, dict[Side, tuple[float, ...]]] = {}
    for i, ((x, y), text) in enumerate(zip(points, texts, strict=False)):
        boxes[i] = {}
        for side, (across, up) in DIRECTIONS.items():
            gap = 0.07 if across and up else 0.06
            start, end = _span(x, _LETTER * len(text), across, gap)
            bottom, top = _span(y, _HEIGHT, up, gap)
            boxes[i][side] = (start, bottom, end, top)
    chosen: dict[int, Side] = {}

    def covered(i: int, side: Side) -> float:
        box = boxes[i][side]
        names = [boxes[j][other] for j, other in chosen.items() if j != i]
        others = [dot for j, dot in enumerate(near) if points[j] != points[i]]
        outside = max(0.0, -0.2 - box[0]) + max(0.0, box[2] - _WIDE - 0.15)
        crossed = [*others, *on_lines, *names]
        return outside + _COVERED * sum(_common(box, other) for other in crossed)

    for _ in range(_ROUNDS):  # long names first; each makes room for those before it
        for i in sorted(named, key=lambda i: -len(texts[i])):
            chosen[i] = min(boxes[i], key=lambda side: covered(i, side))
    for i in boxes:
        if i not in chosen:
            best: Side = min(boxes[i], key=lambda side: covered(i, side))
            if covered(i, best) == 0.0:
                chosen[i] = best
    return [chosen.get(i, "") for i in boxes]


def _span(at: float, length: float, direction: int, gap: float) -> tuple[float, float]:
    """Both ends of a text beside a position, or in its middle."""
    if direction == 0:
        return at - length / 2, at + length / 2
    return (at + gap, at + gap + length) if direction > 0 else (at - gap - length, at - gap)


def _common(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Square inches that two rectangles have in common."""
    across, up = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(up, 0.0)


def difference_figure(document: Document) -> Figure | None:
    """Differences of the headline numbers from the reference, a panel for each."""
    rows = document.rows("compare")
    order = [str(r["source"]) for r in document.rows("checkpoints") if not r["reference"]]
    if not rows or len(order) > MOST_ROWS:
        return None
    names = short_names(document)
    (reference,) = (str(r["source"]) for r in document.rows("checkpoints", reference=True))
    has_variants = any(row["variant"] for row in document.rows("checkpoints"))
    panels: list[Panel] = []
    n_real = n_shown = 0
    for title, own in _shown_differences(rows):
        row_of = {str(row["source_a"]): row for row in own}
        placed = [(float(i), row_of[source]) for i, source in enumerate(order) if source in row_of]
        marks: list[Mark] = [Rule("no difference", x=0.0, colour=GREY)]
        for real, label, colour in (
            (True, "established (adjusted p < 0.05)", BLUE),
            (False, "not established, or without an error bar", GREY),
        ):
            chosen = [(y, row) for y, row in placed if is_real(row["p_headline"]) == real]
            if chosen:
                values = [float(row["difference"] or 0.0) for _, row in chosen]
                bars = [_interval_bar(row) for _, row in chosen]
                ys = [y for y, _ in chosen]
                whose = [names[str(row["source_a"])] for _, row in chosen]
                marks.append(
                    Points(
                        values,
                        ys,
                        label,
                        colour,
                        x_error=bars,
                        size=4.5,
                        hollow=not real,
                        sources=whose,
                        hovers=[
                            _difference_in_words(name, title, row)
                            for name, (_, row) in zip(whose, chosen, strict=True)
                        ],
                    )
                )
                n_shown += len(chosen)
                n_real += len(chosen) if real else 0
        x_axis = Axis(f"{title}{_BETTER.get(DECLARED[str(own[0]['metric'])].better or '', '')}")
        is_minor = len(order) > _MOST_LINES and len(panels) >= MOST_PICTURED
        y_axis = axis_of_names([names[s] for s in order])
        panels.append(Panel(marks, x_axis, y_axis, is_minor=is_minor))
    if not panels:
        return None
    return Figure(
        "differences",
        f"Differences from {names[reference]}{' and from originals' if has_variants else ''}",
        f"Each point is {_WHOSE[has_variants]}, with its 95% interval (paired where rows match, "
        "not adjusted). Blue points stay significant after Holm's correction over the "
        "checkpoints of the panel."
        + (_MORE_ON_THE_PAGE if any(panel.is_minor for panel in panels) else ""),
        panels,
        columns=min(len(panels), 3),
        share_y=True,
        panel_size=(3.0, max(1.6, 0.9 + 0.2 * len(order))),
        finding=f"{n_real} of {n_shown} differences from the reference are established.",
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


_MOST_LINES = 12
"""Checkpoints up to which a picture has all numbers."""
_MORE_ON_THE_PAGE = f" Pictures show the first {MOST_PICTURED} numbers; the page has all."
_BETTER = {"higher": "   better\u00a0→", "lower": "   ←\u00a0better"}


_WHOSE = {
    False: "a checkpoint minus the reference",
    True: "a checkpoint minus the reference, or a variant minus its original",
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
