"""Figures of several checkpoints: the plane, the run, the differences, how the space moved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cl_analyze.differences import is_real
from cl_analyze.document import Document
from cl_analyze.figures.colours import BLACK, BLUE, GREY, HUES, VERMILION, ordered
from cl_analyze.figures.description import (
    Figure,
    Line,
    Mark,
    Numbers,
    Panel,
    Points,
    Rule,
    Scale,
    Side,
    reaches,
)
from cl_analyze.figures.sources import (
    bar,
    by_temperature,
    half_width,
    one_record,
    series_name,
    short_names,
    source_colours,
    spread_out,
    training_temperature,
    value_of,
)
from cl_analyze.tables import Cell, Record

_MOST_NAMES = 16
"""Points up to which each has its name beside it."""
_MOST_ROWS = 40
"""Checkpoints up to which each has a line of its own in a panel."""
_TEMPERATURE = re.compile(r"tau|temp|temperature|t\Z", re.IGNORECASE)


def first_t(document: Document) -> float:
    """The exponent of uniformity that figures show."""
    records = document.records("uniformity")
    return float(records[0].params["t"]) if records else 2.0


def _accuracy(document: Document) -> tuple[str, list[Record]] | None:
    """The accuracy that colours checkpoints: kNN at about 20 neighbours, else the probe's."""
    votes = [r for r in document.records("knn_accuracy") if r.value is not None]
    if votes:
        k = min({int(r.params["k"]) for r in votes}, key=lambda each: (abs(each - 20), each))
        return f"kNN accuracy, k = {k}", [r for r in votes if r.params["k"] == k]
    probes = [r for r in document.records("probe_accuracy", "normalised") if r.value is not None]
    return ("linear probe accuracy", probes) if probes else None


def _places(document: Document) -> tuple[str, dict[str, float]]:
    """What orders checkpoints along a run, and where each stands; empty where nothing does."""
    rows = document.rows("checkpoints")
    if rows and rows[0]["axis"] is not None:
        label = str(rows[0]["axis"])
        found = {str(row["source"]): float(row["x"] or 0.0) for row in rows}
        return ("training temperature τ" if _TEMPERATURE.match(label) else label), found
    temperatures = {source: training_temperature(source) for source in document.sources}
    known = {source: tau for source, tau in temperatures.items() if tau is not None}
    return "training temperature τ", known if len(set(known.values())) > 1 else {}


def _series(document: Document, places: dict[str, float]) -> dict[str, list[str]]:
    """Checkpoints of each run in order: names alike but for what places them."""
    found: dict[str, list[str]] = {}
    for source in sorted(places, key=lambda s: places[s]):
        name = series_name(source)
        if training_temperature(source) is None:
            number = f"{places[source]:g}".replace(".", r"\.")
            name = re.sub(rf"[-_=]?0*{number}(\.0*)?(?![0-9])", "", name) or "checkpoints"
        found.setdefault(name, []).append(source)
    alone = sum(len(sources) == 1 for sources in found.values())
    if len(found) > len(HUES) or alone > 1:  # names tell no runs apart
        return {"checkpoints": sorted(places, key=lambda s: places[s])}
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _uniformity(document: Document) -> tuple[str, list[Record]]:
    """Axis text and records of uniformity; of its gap where dimensions differ."""
    t = first_t(document)
    records = document.records("uniformity", "u_stat") or document.records("uniformity")
    metric = "uniformity"
    if len({r.d for r in records}) > 1:
        metric, records = "uniformity gap to the uniform sphere", document.records("uniformity_gap")
    chosen = [r for r in records if r.params["t"] == t]
    return f"{metric} (t = {t:g})  [nats]", chosen


def trade_off_figure(document: Document) -> Figure | None:
    """The uniformity-tolerance plane: a point for each source, joined along each run."""
    label, uniformity = _uniformity(document)
    tolerance = document.records("tolerance", "micro_excl") or document.records("tolerance")
    if not uniformity or not tolerance or len(document.sources) < 2:
        return None
    names, colours = short_names(document), source_colours(document)
    there = {
        s: (u, t)
        for s in by_temperature(document)
        if (u := one_record(uniformity, s)) is not None
        and (t := one_record(tolerance, s)) is not None
    }
    _, places = _places(document)
    runs = {
        name: [s for s in sources if s in there]
        for name, sources in _series(document, places).items()
    }
    marks: list[Mark] = []
    for run in runs.values():
        if len(run) > 1:
            us, ts = ([value_of(there[s][i]) for s in run] for i in (0, 1))
            marks.append(Line(us, ts, "", "#b0b0b0", arrows=len(run) <= _MOST_NAMES))
    front = [str(row["source"]) for row in document.rows("checkpoints", pareto=True)]
    front = sorted((s for s in front if s in there), key=lambda s: value_of(there[s][0]))
    if 1 < len(front) < len(there) and len(there) <= 2 * _MOST_NAMES:
        us, ts = ([value_of(there[s][i]) for s in front] for i in (0, 1))
        marks.append(Points(us, ts, "Pareto front", VERMILION, size=11.0, hollow=True))
    marks += _points(document, there, names, colours, runs)
    t_value = first_t(document)
    if not label.startswith("uniformity gap"):
        laws = {
            r.d: value_of(r)
            for r in document.records("uniformity_of_uniform_law")
            if r.params["t"] == t_value
        }
        marks.append(
            Points(
                list(laws.values()),
                [0.0] * len(laws),
                f"uniform sphere, d = {', '.join(map(str, laws))}",
                BLACK,
                hollow=True,
                symbol="s",
            )
        )
    return Figure(
        "trade_off",
        "The uniformity-tolerance trade-off",
        "Left is more uniform, up is more tolerant of same-class neighbours; a checkpoint further "
        "up and left than another is better in both. Bars are 95% intervals."
        + (" Arrows go along the run." if any(len(run) > 1 for run in runs.values()) else ""),
        [Panel(marks, f"{label}   ← more uniform", "tolerance  [cosine]")],
        panel_size=(6.2, 4.2),
    )


def _points(
    document: Document,
    there: dict[str, tuple[Record, Record]],
    names: dict[str, str],
    colours: dict[str, str],
    runs: dict[str, list[str]],
) -> list[Mark]:
    """The checkpoints, coloured by accuracy where there is one for each."""
    us, ts = ([value_of(pair[i]) for pair in there.values()] for i in (0, 1))
    u_errors, t_errors = ([half_width(pair[i]) for pair in there.values()] for i in (0, 1))
    accuracy = _accuracy(document)
    values = {} if accuracy is None else {r.source: value_of(r) for r in accuracy[1]}
    if accuracy is not None and set(there) <= set(values):
        texts = [names[source] for source in there]
        return [
            Points(
                us,
                ts,
                "",
                x_error=u_errors,
                y_error=t_errors,
                values=[values[source] for source in there],
                value_label=accuracy[0],
                names=texts,
                sides=_sides(us, ts, texts) if len(there) <= _MOST_NAMES else (),
            )
        ]
    if len(there) > _MOST_NAMES:
        label, places = _places(document)
        order = {source: float(i) for i, source in enumerate(document.sources)}
        return [
            Points(
                us,
                ts,
                "",
                x_error=u_errors,
                y_error=t_errors,
                values=[(places or order)[source] for source in there],
                value_label=label if places else "order of the checkpoints",
                names=[names[source] for source in there],
            )
        ]
    largest = max((len(run) for run in runs.values()), default=0)
    beside = {run[0] for run in runs.values() if len(run) == 1 < largest}
    return [
        Points(
            [us[i]],
            [ts[i]],
            names[source],
            colours[source],
            x_error=[u_errors[i]],
            y_error=[t_errors[i]],
            symbol="D" if source in beside else "o",
            hollow=source in beside,
            names=[names[source]],
        )
        for i, source in enumerate(there)
    ]


_WIDE, _TALL = 5.0, 3.6
"""Inches of the plane's axes, about."""


def _sides(xs: Numbers, ys: Numbers, texts: Sequence[str]) -> list[Side]:
    """A side for each point's name where it covers neither a point nor another name."""
    width = (max(xs) - min(xs)) or 1.0
    height = (max([*ys, 0.0]) - min([*ys, 0.0])) or 1.0
    at = [
        (_WIDE * (x - min(xs)) / width, _TALL * (y - min(ys)) / height)
        for x, y in zip(xs, ys, strict=True)
    ]
    taken = [(x - 0.06, y - 0.06, x + 0.06, y + 0.06) for x, y in at]
    found: list[Side] = []
    for (x, y), text in zip(at, texts, strict=True):
        w, h = 0.062 * len(text), 0.13
        boxes: dict[Side, tuple[float, float, float, float]] = {
            "lower right": (x + 0.12, y - 0.12 - h, x + 0.12 + w, y - 0.12),
            "upper left": (x - 0.12 - w, y + 0.12, x - 0.12, y + 0.12 + h),
            "upper right": (x + 0.12, y + 0.12, x + 0.12 + w, y + 0.12 + h),
            "lower left": (x - 0.12 - w, y - 0.12 - h, x - 0.12, y - 0.12),
            "right": (x + 0.08, y - h / 2, x + 0.08 + w, y + h / 2),
            "left": (x - 0.08 - w, y - h / 2, x - 0.08, y + h / 2),
            "above": (x - w / 2, y + 0.08, x + w / 2, y + 0.08 + h),
            "below": (x - w / 2, y - 0.08 - h, x + w / 2, y - 0.08),
        }
        side: Side = ""
        for each, box in boxes.items():
            inside = box[0] > -0.6 and box[2] < _WIDE + 0.3
            if inside and not any(_meet(box, other) for other in taken):
                side = each
                taken.append(box)
                break
        found.append(side)
    return found


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def run_figure(document: Document) -> Figure | None:
    """Uniformity, tolerance, accuracy and more along the run: the paper's figure against tau."""
    label, places = _places(document)
    if len(set(places.values())) < 2:
        return None
    is_comparison = bool(document.rows("checkpoints"))
    runs = _series(document, places)
    u_label, uniformity = _uniformity(document)
    shown: list[tuple[str, list[Record]]] = [
        (u_label, uniformity),
        (
            "tolerance  [cosine]",
            document.records("tolerance", "micro_excl") or document.records("tolerance"),
        ),
    ]
    accuracy = _accuracy(document)
    if accuracy is not None:
        shown.append(accuracy)
    if is_comparison:
        probes = document.records("probe_accuracy", "normalised")
        if accuracy is not None and not accuracy[0].startswith("linear"):
            shown.append(("linear probe accuracy", probes))
        ranks = document.records("effective_rank", "raw") or document.records("effective_rank")
        shown.append(("effective rank  [dimensions]", ranks))
        shares = document.records("penalty_false_negative_share")
        if shares:
            tau = min(float(r.params["tau"]) for r in shares)
            shown.append(
                (
                    f"false-negative share at τ = {tau:g}",
                    [r for r in shares if r.params["tau"] == tau],
                )
            )
    ticks = spread_out(sorted(set(places.values()))) if min(places.values()) > 0 else []
    is_temperature = "temperature" in label
    scale: Scale = "log" if is_temperature and ticks else "linear"
    panels = []
    for y_label, records in shown:
        marks: list[Mark] = []
        for (name, run), colour in zip(runs.items(), HUES * len(runs), strict=False):
            own = [(places[s], r) for s in run if (r := one_record(records, s)) is not None]
            if not own:
                continue
            ys = [value_of(r) for _, r in own]
            below, above = reaches([bar(r) for _, r in own])
            marks.append(
                Line(
                    [x for x, _ in own],
                    ys,
                    name if len(runs) > 1 else "",
                    colour,
                    marker=len(own) <= _MOST_ROWS,
                    low=[y - e for y, e in zip(ys, below, strict=True)],
                    high=[y + e for y, e in zip(ys, above, strict=True)],
                )
            )
        if not marks:
            continue
        marks += _references(document, y_label)
        panels.append(
            Panel(
                marks,
                label,
                y_label,
                x_scale=scale,
                x_ticks=[(tick, f"{tick:g}") for tick in ticks] if is_temperature else (),
            )
        )
    if not panels:
        return None
    title = "the training temperature" if is_temperature else label
    what = (
        "Uniformity, tolerance and accuracy" if accuracy is not None else "Uniformity and tolerance"
    )
    return Figure(
        "along_the_run" if is_comparison else "against_temperature",
        f"{what} against {title}",
        (
            "The dilemma: a larger temperature is less uniform (higher) and more tolerant "
            "(higher). "
            if is_temperature
            else ""
        )
        + "Dashed, the uniform sphere; bands are 95% intervals. "
        + ("" if is_comparison else "Temperatures are read from the names of the checkpoints."),
        panels,
        columns=min(len(panels), 3),
        panel_size=(3.6, 2.7),
    )


def _references(document: Document, y_label: str) -> list[Mark]:
    """The uniform sphere's value where there is one."""
    if y_label.startswith("tolerance"):
        return [Rule("uniform sphere", y=0.0)]
    if not y_label.startswith("uniformity"):
        return []
    if y_label.startswith("uniformity gap"):
        return [Rule("uniform sphere", y=0.0)]
    t = first_t(document)
    law = document.records("uniformity_of_uniform_law")
    levels = list({r.d: value_of(r) for r in law if r.params["t"] == t}.values())
    return [Rule("uniform sphere", y=level) for level in levels[:1]]


def difference_figure(document: Document) -> Figure | None:
    """Differences of the headline numbers from the reference, a panel for each."""
    rows = document.rows("compare")
    order = [str(r["source"]) for r in document.rows("checkpoints") if not r["reference"]]
    if not rows or len(order) > _MOST_ROWS:
        return None
    names = short_names(document)
    (reference,) = (str(r["source"]) for r in document.rows("checkpoints", reference=True))
    panels = []
    for title, metric, definition, params in _shown_differences(rows):
        found = {
            str(row["source_a"]): row
            for row in rows
            if (row["metric"], row["definition"], row["params"]) == (metric, definition, params)
        }
        at = [(float(i), found[s]) for i, s in enumerate(order) if s in found]
        marks: list[Mark] = [Rule("no difference", x=0.0, colour=GREY)]
        for real in (True, False):
            own = [(i, row) for i, row in at if is_real(row["p_holm"]) == real]
            marks.append(
                Points(
                    [float(row["difference"] or 0.0) for _, row in own],
                    [i for i, _ in own],
                    "real (Holm p < 0.05)" if real else "not established, or without an error bar",
                    BLUE if real else GREY,
                    x_error=[_bar_of_difference(row) for _, row in own],
                    size=4.5,
                    hollow=not real,
                )
            )
        panels.append(
            Panel(
                [m for m in marks if not isinstance(m, Points) or len(m.x)],
                title,
                "",
                y_ticks=[(float(i), names[s]) for i, s in enumerate(order)],
                y_limits=(len(order) - 0.4, -0.6),
            )
        )
    if not panels:
        return None
    return Figure(
        "differences",
        f"Differences from {names[reference]}",
        "Each checkpoint less the reference, with 95% intervals (paired where rows match; before "
        "adjustment). What is real stays so after Holm's correction over every difference.",
        panels,
        columns=min(len(panels), 3),
        share_y=True,
        panel_size=(3.0, max(1.6, 0.9 + 0.2 * len(order))),
    )


_HEADLINES = (
    ("uniformity  [nats]", "uniformity"),
    ("uniformity gap  [nats]", "uniformity_gap"),
    ("tolerance  [cosine]", "tolerance"),
    ("kNN accuracy", "knn_accuracy"),
    ("linear probe accuracy", "probe_accuracy"),
    ("effective rank  [dimensions]", "effective_rank"),
    ("false-negative share", "penalty_false_negative_share"),
)


def _bar_of_difference(row: Mapping[str, Cell]) -> tuple[float, float]:
    """How far the interval of a row of compare.csv reaches below and above its difference."""
    if row["low"] is None or row["high"] is None:
        return 0.0, 0.0
    value = float(row["difference"] or 0.0)
    return value - float(row["low"]), float(row["high"]) - value


def _shown_differences(
    rows: Sequence[dict[str, Cell]],
) -> list[tuple[str, Cell, Cell, Cell]]:
    """Title and number of each panel: of each headline metric the first, kNN's nearest to 20."""
    found: list[tuple[str, Cell, Cell, Cell]] = []
    for title, metric in _HEADLINES:
        own = [row for row in rows if row["metric"] == metric]
        if not own or (metric == "uniformity_gap" and found and found[0][1] == "uniformity"):
            continue
        chosen = own[0]
        if metric == "knn_accuracy":
            chosen = min(own, key=lambda row: abs(_k_of(row) - 20))
            title = f"{title}, k = {_k_of(chosen)}"
        if metric == "probe_accuracy":
            chosen = next((r for r in own if r["definition"] == "normalised"), chosen)
        found.append((title, chosen["metric"], chosen["definition"], chosen["params"]))
    return found


def _k_of(row: dict[str, Cell]) -> int:
    match = re.search(r'"k": ([0-9]+)', str(row["params"]))
    return int(match[1]) if match else 0


def _least(records: Sequence[Record]) -> float:
    """The lowest end of the records' intervals."""
    return min((value_of(r) - half_width(r) for r in records), default=0.0)


def movement_figure(document: Document) -> Figure | None:
    """CKA, shared neighbours and the rotation's residual of each checkpoint and the reference."""
    cka = [r for r in document.records("cka", "linear_debiased") if r.value is not None]
    overlap = [r for r in document.records("neighbour_overlap") if r.value is not None]
    residual = [r for r in document.records("procrustes_residual") if r.value is not None]
    sources = [s for s in document.sources if any(r.source == s for r in [*cka, *overlap])]
    if not sources:
        return None
    names = short_names(document)
    (reference,) = (str(r["source"]) for r in document.rows("checkpoints", reference=True))
    label, places = _places(document)
    if not document.rows("checkpoints")[0]["axis"]:
        places = {}
    along = len(set(places.values())) > 1
    xs = {s: places[s] if along else float(i) for i, s in enumerate(sources)}
    ks = sorted({int(r.params["k"]) for r in overlap})
    colours = dict(zip(ks, ordered(len(ks)), strict=True))

    runs = _series(document, xs) if along else {"": sources}

    def drawn(records: Sequence[Record], text: str, colour: str) -> list[Mark]:
        there = [(xs[r.source], r) for r in records if r.source in xs]
        own = sorted(there, key=lambda item: item[0])
        at, ys = [x for x, _ in own], [value_of(r) for _, r in own]
        bars = [bar(r) for _, r in own]
        below, above = reaches(bars)
        if not along:
            return [Points(at, ys, text, colour, y_error=bars, size=4)]
        marks: list[Mark] = []
        for i, run in enumerate(runs.values()):
            at_run = [j for j, (_, r) in enumerate(own) if r.source in run]
            if at_run:
                marks.append(
                    Line(
                        [at[j] for j in at_run],
                        [ys[j] for j in at_run],
                        text if i == 0 else "",
                        colour,
                        marker=len(at_run) <= _MOST_ROWS,
                        low=[ys[j] - below[j] for j in at_run],
                        high=[ys[j] + above[j] for j in at_run],
                    )
                )
        return marks

    shared: list[Mark] = []
    for k in ks:
        of_k = [r for r in overlap if r.params["k"] == k]
        shared += drawn(of_k, f"k = {k}", colours[k])
        chance = k / max(of_k[0].n - 1, 1)
        shared.append(Rule("by chance", y=chance, colour=colours[k], style="dotted"))
    farthest = max((value_of(r) + half_width(r) for r in residual), default=0.0)
    panels = [
        (drawn(cka, "", BLUE), "linear CKA, debiased", (min(0.0, _least(cka)), 1.05)),
        (shared, "neighbours shared  [share]", (0.0, 1.05)),
        (
            drawn(residual, "", BLUE),
            "squared distance after rotation",
            (0.0, 1.08 * max(farthest, 1e-6)),
        ),
    ]
    ticks = [] if along else [(xs[s], names[s]) for s in sources]
    scale: Scale = "log" if along and "temperature" in label and min(xs.values()) > 0 else "linear"
    if along and "temperature" in label:
        ticks = [(x, f"{x:g}") for x in spread_out(sorted(set(xs.values())))]
    return Figure(
        "movement",
        f"How the space moved from {names[reference]}",
        "A rotation of the reference has CKA 1, shares every neighbour, and leaves no distance. "
        "CKA compares all similarities, shared neighbours the local order; dotted, what chance "
        "shares. Only checkpoints whose rows are matched with the reference's are shown.",
        [
            Panel(
                marks,
                label if along else "",
                y_label,
                y_limits=limits,
                x_ticks=ticks,
                x_scale=scale,
                upright=not along,
            )
            for marks, y_label, limits in panels
            if marks
        ],
        columns=3,
        panel_size=(3.3, 2.6 if along else 3.4),
    )
