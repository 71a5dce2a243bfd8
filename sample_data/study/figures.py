"""The study's own figures, from the table over all runs, drawn as the tool draws its figures.

python -m sample_data.study.figures docs/study    # redraws them from results.csv in that folder
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cl_analyze.figures.colours import BLACK, BLUE, GREEN, ORANGE, VERMILION
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Points, Side
from cl_analyze.figures.marks import true_minus
from cl_analyze.figures.matplotlib_renderer import render
from cl_analyze.output import replace_file
from sample_data.study.analysis import MEASURES, TITLES, Measure, Row, from_csv, of, over_seeds
from sample_data.study.plan import DATA_SETS, SETTINGS, TEMPERATURES, DataSet

BY_NAME = {measure.name: measure for measure in MEASURES}
LINES = (
    ("contrastive", "simple", BLUE, "o"),
    ("hard-contrastive", "hard-simple", VERMILION, "s"),
)
# DCL and DHEL lie on each other: one is an outline about the other
BESIDE = (
    ("dcl", GREEN, "^", False),
    ("dhel", ORANGE, "^", True),
    ("kcl-gaussian", BLACK, "D", False),
)
TITLE_OF_UNIFORMITY = "uniformity (L), nats"

CROWD = 0.3  # temperatures up to here lie close together in the plane
NAMED = (0.07, 0.2)  # of the hard loss, whose points are closer still
TICKS = (0.07, 0.2, 0.5, 1.0)  # temperatures whose numbers do not touch on a short axis

Place = tuple[tuple[float, float], tuple[float, float]]
"""Uniformity and tolerance, each with its spread."""


def along_tau(rows: Sequence[Row], data: DataSet) -> bytes:
    """Six panels against the temperature: the measures of Table 1; error bars over seeds."""
    names = ("knn", "probe", "knn_backbone", "probe_backbone", "uniformity", "tolerance")
    return _png(
        Figure(
            "along_tau",
            f"{data.title}: accuracies, uniformity and tolerance against the temperature",
            "Bars and bands are one standard deviation over the seeds.",
            [_panel(rows, BY_NAME[name]) for name in names],
            columns=2,
            panel_size=(4.6, 2.7),
        )
    )


def _panel(rows: Sequence[Row], measure: Measure) -> Panel:
    """A line for each family; a dashed one for its loss without temperature, where it is near."""
    drawn = [
        (tau, *_scaled(of(rows, family, tau), measure))
        for family, *_ in LINES
        for tau in TEMPERATURES
        if of(rows, family, tau)
    ]
    low = min(mean - spread for _, mean, spread in drawn)
    high = max(mean + spread for _, mean, spread in drawn)
    room = max(high - low, 1e-9)
    near = low - 0.6 * room, high + 0.6 * room
    ends = (TEMPERATURES[0], TEMPERATURES[-1])
    marks: list[Mark] = []
    far = []
    for family, limit, colour, marker in LINES:
        there = [tau for tau in TEMPERATURES if of(rows, family, tau)]
        points = [_scaled(of(rows, family, tau), measure) for tau in there]
        means, spreads = [mean for mean, _ in points], [spread for _, spread in points]
        if there:
            marks += [
                Line(there, means, "", colour),
                Points(there, means, TITLES[family], colour, y_error=spreads, symbol=marker),
            ]
        if not of(rows, limit, None):
            continue
        mean, spread = _scaled(of(rows, limit, None), measure)
        if near[0] <= mean <= near[1]:
            low, high = min(low, mean - spread), max(high, mean + spread)
            marks.append(
                Line(
                    ends, (mean, mean), TITLES[limit], colour, style="dashed",
                    low=(mean - spread,) * 2, high=(mean + spread,) * 2,
                )
            )  # fmt: skip
        else:
            arrow = "↑" if mean > high else "↓"
            far.append(true_minus(f"{TITLES[limit]} {arrow} {mean:.{measure.digits}f}"))
    title = TITLE_OF_UNIFORMITY if measure.name == "uniformity" else measure.title
    ticks = [(tau, f"{tau:g}" if tau in TICKS else "") for tau in TEMPERATURES]
    return Panel(
        marks,
        Axis("temperature τ", "log", ticks),
        Axis(limits=(low - 0.12 * room, high + 0.3 * room)),
        title,
        note=", ".join(far),
    )


def trade_off(rows: Sequence[Row], data: DataSet) -> bytes:
    """The picture of `trade_off_figure`."""
    return _png(trade_off_figure(rows, data))


def trade_off_figure(rows: Sequence[Row], data: DataSet) -> Figure:
    """The plane of uniformity and tolerance, and its crowded corner; error bars over seeds."""
    places = [
        _place(of(rows, one.family, one.tau)) for one in SETTINGS if of(rows, one.family, one.tau)
    ]
    whole = [(family, tau) for family, tau in _placed(rows) if family == "contrastive"]
    panels = [
        _plane(rows, [one for one in whole if one[1] > CROWD], "all losses", _around(places, 0.1)),
    ]
    crowd = [
        (family, tau)
        for family, tau in _placed(rows)
        if family == "hard-contrastive" or tau <= CROWD
    ]
    if len(crowd) > 2:
        named = [one for one in crowd if one[0] == "contrastive" or one[1] in NAMED]
        places = [_place(of(rows, *one)) for one in crowd]
        panels.append(_plane(rows, named, "the corner of small τ", _around(places, 0.25)))
    return Figure(
        "plane",
        f"{data.title}: the plane of uniformity and tolerance",
        "Numbers are temperatures. Bars are one standard deviation over the seeds.",
        panels,
        columns=2,
        panel_size=(4.6, 3.6),
    )


def _around(places: Sequence[Place], room: float) -> list[tuple[float, float]]:
    """Limits of both axes: those of the points, and a share of their distance at each end."""
    limits = []
    for axis in (0, 1):
        low, high = (pick(place[axis][0] for place in places) for pick in (min, max))
        limits.append((low - room * (high - low), high + room * (high - low)))
    return limits


def _placed(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """Families with a temperature, and the temperatures that they have runs of."""
    return [(family, tau) for family, *_ in LINES for tau in TEMPERATURES if of(rows, family, tau)]


def _plane(
    rows: Sequence[Row],
    named: Sequence[tuple[str, float]],
    title: str,
    limits: Sequence[tuple[float, float]],
) -> Panel:
    """Every loss in the plane; some points with their temperatures."""
    marks: list[Mark] = []
    for family, limit, colour, marker in LINES:
        there = [tau for tau in TEMPERATURES if of(rows, family, tau)]
        places = [_place(of(rows, family, tau)) for tau in there]
        xs, ys = ([place[axis][0] for place in places] for axis in (0, 1))
        if there:
            marks.append(Line(xs, ys, "", colour, width=1.0))
        for tau, place in zip(there, places, strict=True):
            side: Side = "lower right"
            if family == LINES[0][0]:
                side = "right" if tau == TEMPERATURES[0] else "upper left"
            names, sides = ([f"{tau:g}"], [side]) if (family, tau) in named else ([], [])
            label = TITLES[family] if tau == there[0] else ""
            marks.append(_point(place, label, colour, marker, size=5.0, names=names, sides=sides))
        if of(rows, limit, None):
            place = _place(of(rows, limit, None))
            marks.append(_point(place, TITLES[limit], colour, marker, hollow=True, size=8.0))
    for name, colour, marker, hollow in BESIDE:
        for tau in (tau for tau in (*TEMPERATURES, None) if of(rows, name, tau)):
            label = TITLES[name] + ("" if tau is None else f", τ {tau:g}")
            size = 9.0 if hollow else 5.0
            place = _place(of(rows, name, tau))
            marks.append(_point(place, label, colour, marker, hollow=hollow, size=size))
    return Panel(
        marks,
        Axis(f"{TITLE_OF_UNIFORMITY}   ←\u00a0more\u00a0uniform", limits=limits[0]),
        Axis("tolerance, cosine   more\u00a0tolerant\u00a0→", limits=limits[1]),
        title,
    )


def _point(place: Place, label: str, colour: str, symbol: str, **more: object) -> Points:
    """A point with both error bars."""
    (x, dx), (y, dy) = place
    return Points([x], [y], label, colour, x_error=[dx], y_error=[dy], symbol=symbol, **more)


def _place(rows: Sequence[Row]) -> Place:
    return _scaled(rows, BY_NAME["uniformity"]), _scaled(rows, BY_NAME["tolerance"])


def _scaled(rows: Sequence[Row], measure: Measure) -> tuple[float, float]:
    """Mean and spread over seeds; no spread of one seed.  Uniformity is L, as the tool has it."""
    mean, spread = over_seeds(rows, measure)
    return -mean if measure.name == "uniformity" else mean, spread or 0.0


def _png(figure: Figure) -> bytes:
    return render([figure], ["png"])[0]["png"]


def main(folder: Path) -> None:
    """Draw the figures of each data set of a folder's `results.csv` into that folder."""
    rows = from_csv((folder / "results.csv").read_text())
    for data in DATA_SETS:
        mine = [row for row in rows if row["data"] == data.name]
        for name, draw in (("along_tau", along_tau), ("plane", trade_off)):
            if mine:
                replace_file(folder / f"{data.name}-{name}.png", draw(mine, data))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
