"""The study's own figures, from the table over all runs."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sample_data.study.analysis import MEASURES, TITLES, Measure, Row, of, over_seeds
from sample_data.study.plan import TEMPERATURES, DataSet

BY_NAME = {measure.name: measure for measure in MEASURES}
# Okabe & Ito's palette: told apart by readers who do not see all colours
LINES = (
    ("contrastive", "simple", "#0072B2", "o"),
    ("hard-contrastive", "hard-simple", "#D55E00", "s"),
)
BESIDE = (("dcl", "#009E73", "^"), ("dhel", "#CC79A7", "v"), ("kcl-gaussian", "#000000", "D"))

CROWD = 0.3  # temperatures up to here lie close together in the plane
NAMED = (0.07, 0.2, 1.0)  # of the hard loss, whose points are closer still


def along_tau(rows: Sequence[Row], data: DataSet) -> bytes:
    """Six panels against the temperature: the measures of Table 1; error bars over seeds."""
    names = ("knn", "probe", "uniformity", "knn_backbone", "probe_backbone", "tolerance")
    figure = Figure(figsize=(10.0, 6.0), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    for ax, name in zip(axes.flat, names, strict=True):
        _panel(ax, rows, BY_NAME[name])
    for ax in axes[1]:
        ax.set_xlabel("temperature τ")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    several = len({row["seed"] for row in rows}) > 1
    figure.suptitle(
        f"{data.title}: " + ("mean and standard deviation over seeds" if several else "one seed")
    )
    return _png(figure)


def _panel(ax: mpl.axes.Axes, rows: Sequence[Row], measure: Measure) -> None:
    """A line a family, a dashed one for its loss without temperature, where it is not far off."""
    drawn = [
        (tau, *_scaled(of(rows, family, tau), measure))
        for family, *_ in LINES
        for tau in TEMPERATURES
        if of(rows, family, tau)
    ]
    low = min(mean - spread for _, mean, spread in drawn)
    high = max(mean + spread for _, mean, spread in drawn)
    room = max(high - low, 1e-9)
    for family, limit, colour, marker in LINES:
        there = [tau for tau in TEMPERATURES if of(rows, family, tau)]
        if there:
            points = [_scaled(of(rows, family, tau), measure) for tau in there]
            ax.errorbar(
                there,
                [mean for mean, _ in points],
                [spread for _, spread in points],
                color=colour,
                marker=marker,
                capsize=2,
                label=TITLES[family],
            )
        if not of(rows, limit, None):
            continue
        mean, spread = _scaled(of(rows, limit, None), measure)
        name = TITLES[limit]
        if low - 0.6 * room <= mean <= high + 0.6 * room:
            low, high = min(low, mean - spread), max(high, mean + spread)
            ax.axhline(mean, color=colour, linestyle="--", label=name)
            ax.axhspan(mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
        else:
            above = mean > high
            ax.plot([], [], color=colour, linestyle="--", label=name)
            ax.annotate(
                f"{name} {'↑' if above else '↓'} {mean:.{measure.digits}f}",
                (0.5, 0.96 if above else 0.04),
                xycoords="axes fraction",
                ha="center",
                va="top" if above else "bottom",
                color=colour,
            )
    ax.set_ylim(low - 0.12 * room, high + 0.12 * room)
    ax.set_xscale("log")
    ax.set_xticks(TEMPERATURES, [f"{tau:g}" for tau in TEMPERATURES])
    ax.minorticks_off()
    ax.set_title(measure.title, fontsize="medium")
    ax.grid(alpha=0.3)


def trade_off(rows: Sequence[Row], data: DataSet) -> bytes:
    """The plane of uniformity and tolerance, every loss in it; error bars over seeds."""
    figure = Figure(figsize=(8.0, 5.5), layout="constrained")
    ax = figure.subplots()
    places = _points(ax, rows)
    _name(ax, [place for place in places if place[0] == "contrastive" and place[1] >= CROWD])
    ax.set_xlabel("uniformity (-L), nats: more uniform to the right")
    ax.set_ylabel("tolerance, cosine")
    ax.set_title(f"{data.title}: the uniformity-tolerance plane (numbers: τ)", fontsize="medium")
    ax.grid(alpha=0.3)
    crowd = [place for place in places if place[0] == "hard-contrastive" or place[1] <= CROWD]
    if len(crowd) > 2:
        inset = ax.inset_axes((0.11, 0.09, 0.46, 0.39))
        _points(inset, rows)
        _name(inset, [place for place in crowd if place[0] == "contrastive" or place[1] in NAMED])
        for axis, limits in ((2, inset.set_xlim), (3, inset.set_ylim)):
            low, high = (pick(place[axis] for place in crowd) for pick in (min, max))
            limits(low - 0.25 * (high - low), high + 0.25 * (high - low))
        inset.grid(alpha=0.3)
        inset.tick_params(labelsize="small")
        ax.indicate_inset_zoom(inset, edgecolor="black")
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    return _png(figure)


def _points(ax: mpl.axes.Axes, rows: Sequence[Row]) -> list[tuple[str, float, float, float]]:
    """Draw every loss; family, temperature, uniformity and tolerance of those that have one."""
    places = []
    for family, limit, colour, marker in LINES:
        for name, taus in ((family, TEMPERATURES), (limit, (None,))):
            there = [tau for tau in taus if of(rows, name, tau)]
            points = [_place(of(rows, name, tau)) for tau in there]
            if not points:
                continue
            (x, dx), (y, dy) = (
                tuple(zip(*[point[axis] for point in points], strict=True)) for axis in (0, 1)
            )
            ax.errorbar(
                x, y, dy, dx, color=colour, marker=marker if name == family else "*",
                markersize=5 if name == family else 12, linestyle="-" if name == family else "",
                label=TITLES[name], capsize=2,
            )  # fmt: skip
            if name == family:
                places += [(name, tau, *place) for tau, *place in zip(there, x, y, strict=True)]
    for name, colour, marker in BESIDE:
        for tau in (tau for tau in (*TEMPERATURES, None) if of(rows, name, tau)):
            (x, dx), (y, dy) = _place(of(rows, name, tau))
            label = TITLES[name] + ("" if tau is None else f", τ {tau:g}")
            ax.errorbar([x], [y], [dy], [dx], color=colour, marker=marker, label=label, capsize=2)
    return places


def _name(ax: mpl.axes.Axes, places: Sequence[tuple[str, float, float, float]]) -> None:
    """Temperatures beside their points: above those of the first family, below the other's."""
    for family, tau, x, y in places:
        above = family == LINES[0][0]
        ax.annotate(
            f"{tau:g}",
            (x, y),
            xytext=(7, 5) if above else (-7, -13),
            textcoords="offset points",
            ha="left" if above else "right",
            fontsize="small",
            color=LINES[0 if above else 1][2],
            annotation_clip=True,
        )


def _place(rows: Sequence[Row]) -> tuple[tuple[float, float], tuple[float, float]]:
    return _scaled(rows, BY_NAME["uniformity"]), _scaled(rows, BY_NAME["tolerance"])


def _scaled(rows: Sequence[Row], measure: Measure) -> tuple[float, float]:
    """Mean and spread over seeds; no spread of one seed."""
    mean, spread = over_seeds(rows, measure)
    return mean, spread or 0.0


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()
