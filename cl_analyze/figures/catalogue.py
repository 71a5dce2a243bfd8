"""The figures: one function each, from a document's records and tables to a description.

Nothing is computed here but positions on the page: values, errors and references (the uniform
sphere of the same N and D) are read from the document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from cl_analyze.document import Document
from cl_analyze.figures.colours import (
    BLACK,
    BLUE,
    GREY,
    HUES,
    ORANGE,
    OTHER_HUES,
    VERMILION,
    ordered,
)
from cl_analyze.figures.description import (
    Figure,
    Line,
    Mark,
    Panel,
    Points,
    Rule,
    Steps,
    Style,
)
from cl_analyze.tables import Cell, Record

Z95 = 1.959964
_TAU_IN_NAME = re.compile(
    r"(?<![a-z])(?:tau|temp|temperature)[-_=]?(\d+(?:\.\d+)?)(?!\d)", re.IGNORECASE
)
_MAX_PANELS = 12
_COSINE_TICKS = ((-1.0, "−1"), (-0.5, "−0.5"), (0.0, "0"), (0.5, "0.5"), (1.0, "1"))


def training_temperature(source: str) -> float | None:
    """The temperature in a checkpoint's name, as in tau-0.07 or tau=0.5; None where there is none.

    >>> training_temperature("fashion-mnist-tau-0.07.npz"), training_temperature("epoch3.npy")
    (0.07, None)
    """
    match = _TAU_IN_NAME.search(source.replace(".npz", "").replace(".npy", ""))
    return float(match[1]) if match else None


def series_name(source: str) -> str:
    """A checkpoint's name without its temperature and suffix: what it has in common with others.

    >>> series_name("fashion-mnist-hard-tau-1.0.npz")
    'fashion-mnist-hard'
    """
    stem = re.sub(r"\.(npz|npy|pt|pth|csv|tsv)\b", "", source)
    return _TAU_IN_NAME.sub("", stem).strip("-_/. ") or "checkpoints"


def short_names(document: Document) -> dict[str, str]:
    """Sources without the start and the suffix that all of them share, for axes and legends."""
    sources = list(document.sources)
    stems = [re.sub(r"\.(npz|npy|pt|pth|csv|tsv)$", "", source) for source in sources]
    if len(stems) > 1:
        common = 0
        while all(len(s) > common and s[common] == stems[0][common] for s in stems):
            common += 1
        common = _word_start(stems[0], common)
        if any(s[common:].isdigit() for s in stems):  # a number alone says little: step_10
            common = _word_start(stems[0], common - 1)
        if all(len(s) > common for s in stems):
            stems = [s[common:] for s in stems]
    names = [_middle(s) for s in stems]
    return dict(zip(sources, names if len(set(names)) == len(names) else stems, strict=True))


def _word_start(text: str, position: int) -> int:
    """The start of the word at a position, 0 at least."""
    while position > 0 and text[position - 1] not in "-_/. ":
        position -= 1
    return max(position, 0)


def _middle(text: str, most: int = 28) -> str:
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def by_temperature(document: Document) -> list[str]:
    """Sources ordered by series and training temperature, as given where names tell none."""
    order = {source: i for i, source in enumerate(document.sources)}
    first: dict[str, int] = {}
    for source in order:
        first.setdefault(series_name(source), order[source])
    if any(training_temperature(source) is None for source in order):
        return list(order)
    return sorted(
        order,
        key=lambda s: (
            -sum(series_name(o) == series_name(s) for o in order),
            first[series_name(s)],
            training_temperature(s) or 0.0,
            order[s],
        ),
    )


def source_colours(document: Document) -> dict[str, str]:
    """A colour for each source: by temperature where names tell it, else hues."""
    sources = by_temperature(document)
    temperatures = [training_temperature(source) for source in sources]
    if len(sources) > 1 and all(value is not None for value in temperatures):
        main = [s for s in sources if series_name(s) == series_name(sources[0])]
        others = [s for s in sources if s not in main]
        found = dict(zip(main, ordered(len(main)), strict=True))
        return {**found, **{s: OTHER_HUES[i % len(OTHER_HUES)] for i, s in enumerate(others)}}
    if len(sources) > len(HUES):
        return dict(zip(sources, ordered(len(sources)), strict=True))
    return {source: HUES[i % len(HUES)] for i, source in enumerate(sources)}


def _one(records: Sequence[Record], source: str, **params: object) -> Record | None:
    for record in records:
        if record.source == source and all(record.params.get(k) == v for k, v in params.items()):
            return record if record.value is not None else None
    return None


def _error(record: Record) -> float:
    return Z95 * (record.total_error or 0.0)


def _value(record: Record) -> float:
    return math.nan if record.value is None else record.value


def _dots(document: Document, records: Sequence[Record], colour: str, label: str) -> Points:
    """A record for each source as a dot with its 95% interval, sources down the page."""
    sources = by_temperature(document)
    found = [(i, _one(records, source)) for i, source in enumerate(sources)]
    there = [(float(i), record) for i, record in found if record is not None]
    return Points(
        [_value(record) for _, record in there],
        [i for i, _ in there],
        label=label,
        colour=colour,
        x_error=[_error(record) for _, record in there],
    )


def _source_axis(document: Document) -> list[tuple[float, str]]:
    names = short_names(document)
    return [(float(i), names[source]) for i, source in enumerate(by_temperature(document))]


def _row_height(document: Document) -> float:
    return 1.3 + 0.3 * len(document.sources)


def uniformity_figure(document: Document) -> Figure | None:
    """Uniformity of each source beside the uniform law's value, a panel for each t."""
    records = document.records("uniformity", "u_stat") or document.records("uniformity")
    ts = list(dict.fromkeys(record.params["t"] for record in records))
    if not records:
        return None
    n = len(document.sources)
    panels = []
    for t in ts:
        chosen = [record for record in records if record.params["t"] == t]
        laws = {
            r.d: _value(r)
            for r in document.records("uniformity_of_uniform_law")
            if r.params["t"] == t
        }
        rules: list[Mark] = [Rule(f"uniform sphere, d = {d}", x=value) for d, value in laws.items()]
        if len(laws) > 1:  # each checkpoint has its own reference
            own = [
                (i, r)
                for i, source in enumerate(by_temperature(document))
                if (r := _one(chosen, source)) is not None
            ]
            rules = [
                Points(
                    [laws[r.d] for _, r in own],
                    [float(i) for i, _ in own],
                    "uniform sphere of its dimension",
                    BLACK,
                    symbol="|",
                    size=14,
                )
            ]
        panels.append(
            Panel(
                [*rules, _dots(document, chosen, BLUE, "embeddings, 95% interval")],
                f"log mean exp(−{t:g}·‖x − y‖²)  [nats]   ← more uniform",
                "",
                title=f"t = {t:g}" if len(ts) > 1 else "",
                y_ticks=_source_axis(document),
                y_limits=(n - 0.4, -0.6),
            )
        )
    return Figure(
        "uniformity",
        "Uniformity of the embeddings",
        "Further left is more uniform. The dashed line is what independent points spread evenly "
        "over the sphere of the same dimension would give; a finite set can lie beyond it.",
        panels,
        columns=min(len(panels), 2),
        panel_size=(5.6, _row_height(document)),
    )


def tolerance_figure(document: Document) -> Figure | None:
    """Mean similarity within and between classes, with each class's own value."""
    within = document.records("tolerance", "micro_excl") or document.records("tolerance")
    if not within:
        return None
    sources = by_temperature(document)
    classes = [
        (float(sources.index(str(row["source"]))), row["tolerance"])
        for row in document.rows("tolerance_by_class")
        if isinstance(row["tolerance"], float)
    ]
    between = document.records("between_class_similarity")
    marks: list[Mark] = [
        Points(
            [float(value or 0.0) for _, value in classes],
            [y for y, _ in classes],
            label="one class",
            colour="#9ecae1",
            symbol="|",
            size=9,
        ),
        Rule("uniform sphere", x=0.0),
        _dots(document, between, ORANGE, "different classes"),
        _dots(document, within, BLUE, f"same class ({within[0].definition}), 95% interval"),
    ]
    return Figure(
        "tolerance",
        "Similarity within and between classes",
        "Tolerance is the mean cosine of same-class pairs; light ticks are single classes. The "
        "gap between the two dots is what separates classes.",
        [
            Panel(
                marks,
                "mean cosine similarity",
                "",
                y_ticks=_source_axis(document),
                y_limits=(len(sources) - 0.4, -0.6),
            )
        ],
        panel_size=(5.6, _row_height(document)),
    )


def _panel_sources(document: Document) -> list[str]:
    return by_temperature(document)[:_MAX_PANELS]


def _panel_note(document: Document) -> str:
    hidden = len(document.sources) - _MAX_PANELS
    return (
        f" The first {_MAX_PANELS} checkpoints are shown; {hidden} more are in the tables."
        if (hidden > 0)
        else ""
    )


def _title(document: Document, title: str) -> str:
    """The title, saying so where not every checkpoint has a panel."""
    n = len(document.sources)
    return title if n <= _MAX_PANELS else f"{title} (first {_MAX_PANELS} of {n} checkpoints)"


def _columns(n_panels: int) -> int:
    return 1 if n_panels == 1 else 2 if n_panels in (2, 4) else 3 if n_panels <= 9 else 4


def _panel_size(n_panels: int) -> tuple[float, float]:
    return (5.4, 3.2) if n_panels == 1 else (3.3, 2.4)


def similarity_histogram_figure(document: Document) -> Figure | None:
    """Densities of all pairs, positives and nearest negatives, with the cosine law."""
    if "similarity_histogram" not in document.tables:
        return None
    names = short_names(document)
    panels = []
    for source in _panel_sources(document):
        marks = []
        for group, label, colour, filled in (
            ("all", "all pairs", "#bdbdbd", True),
            ("positive", "positives", BLUE, False),
            ("negative_1", "nearest negative", VERMILION, False),
            ("negative_10", "10th nearest", ORANGE, False),
        ):
            rows = document.rows("similarity_histogram", source=source, group=group)
            if rows:
                marks.append(Steps(_edges(rows), _column(rows, "density"), label, colour, filled))
        law = document.rows("similarity_histogram", source=source, group="uniform_law")
        if law:
            centres = [(a + b) / 2 for a, b in zip(_edges(law)[:-1], _edges(law)[1:], strict=True)]
            line = Line(
                centres, _column(law, "density"), "uniform sphere", BLACK, "dashed", width=1.1
            )
            panels.append(
                Panel(
                    [*marks, line],
                    "cosine similarity",
                    "density (square-root scale)",
                    title=names[source],
                    y_scale="sqrt",
                    x_ticks=_COSINE_TICKS,
                    x_limits=(-1.0, 1.0),
                )
            )
    return Figure(
        "similarity_histogram",
        _title(document, "Similarities of positives, nearest negatives and all pairs"),
        "The further the nearest negatives reach into the positives, the harder the negatives. The "
        "dashed line is the cosine of two uniform points in this dimension."
        + _panel_note(document),
        panels,
        columns=_columns(len(panels)),
        panel_size=_panel_size(len(panels)),
    )


def _edges(rows: Sequence[dict[str, Cell]]) -> list[float]:
    return [*_column(rows, "bin_left"), *_column(rows[-1:], "bin_right")]


def _column(rows: Sequence[dict[str, Cell]], name: str) -> list[float]:
    return [float(row[name] or 0.0) for row in rows]


def nearest_negatives_figure(document: Document) -> Figure | None:
    """The paper's Fig. 8: the positive and the ten nearest negatives, a panel for each source."""
    means = document.records("similarity_mean")
    if not means:
        return None
    quantiles = document.records("similarity_quantile")
    names = short_names(document)
    panels = []
    for source in _panel_sources(document):
        own = [r for r in means if r.source == source and r.value is not None]
        negatives = [r for r in own if r.params["group"] != "positive"]
        positives = [r for r in own if r.params["group"] == "positive"]
        reference = {
            row["group"]: row["value"]
            for row in document.rows("similarity_reference", source=source)
        }
        ranks = [int(str(r.params["group"]).rsplit("_", 1)[1]) for r in negatives]
        # far enough from rank 1 for their texts to stand side by side
        at_positive = 0.0 if len(ranks) <= 12 else -len(ranks) / 20
        marks: list[Mark] = []
        for chosen, xs, colour, label in (
            (positives, [at_positive], BLUE, "positive"),
            (negatives, [float(rank) for rank in ranks], VERMILION, "negatives by rank"),
        ):
            if not chosen:
                continue
            spans = [
                (_one_q(quantiles, source, r, 0.25), _one_q(quantiles, source, r, 0.75))
                for r in chosen
            ]
            for x, (low, high) in zip(xs, spans, strict=True):
                marks.append(
                    Line([x, x], [low, high], "", colour, width=3.5 if len(xs) < 12 else 1.5)
                )
            marks.append(Points(xs, [_value(r) for r in chosen], label, colour, size=5))
        law = [reference.get(f"negative_{rank}") for rank in ranks]
        if law and all(isinstance(value, float) for value in law):
            marks.append(
                Line(
                    [float(rank) for rank in ranks],
                    [float(value or 0.0) for value in law],
                    "negatives on the uniform sphere",
                    BLACK,
                    "dashed",
                    width=1.1,
                )
            )
        shown = ranks if len(ranks) <= 12 else [1, *range(5, max(ranks) + 1, 5)]
        panels.append(
            Panel(
                marks,
                "rank of the negative",
                "cosine similarity",
                title=names[source],
                x_ticks=[(at_positive, "pos"), *((float(rank), str(rank)) for rank in shown)],
                x_limits=(at_positive - 0.7, max(ranks, default=1) + 0.7),
            )
        )
    return Figure(
        "nearest_negatives",
        _title(document, "Positive and nearest negatives by rank"),
        "After Wang & Liu (CVPR 2021), Fig. 8. Dots are means over anchors, bars reach from the "
        "25% to the 75% quantile; dashed, what is expected on the uniform sphere of this N and d."
        + _panel_note(document),
        panels,
        columns=_columns(len(panels)),
        share_y=True,
        panel_size=_panel_size(len(panels)),
    )


def _one_q(quantiles: Sequence[Record], source: str, record: Record, q: float) -> float:
    found = _one(quantiles, source, group=record.params["group"], q=q)
    return math.nan if found is None else _value(found)


def penalty_curve_figure(document: Document) -> Figure | None:
    """The paper's Fig. 3: relative penalty against similarity, a line for each temperature."""
    return _curve_figure(
        document,
        "penalty_curve",
        "relative_penalty",
        "Relative penalty of a negative against its similarity",
        "relative penalty r(s)",
        "After Wang & Liu (CVPR 2021), Fig. 3: the share of an anchor's penalty that one negative "
        "at similarity s gets, averaged over anchors, over the range where there are negatives. "
        "The dashed line is an even share.",
        "log",
    )


def penalty_mass_figure(document: Document) -> Figure | None:
    """Where the penalty goes: its mass over similarities, beside the negatives themselves."""
    return _curve_figure(
        document,
        "penalty_mass",
        "penalty_mass",
        "Where the penalty goes",
        "share of penalty per 0.01",
        "Each line sums to 1 over an anchor's negatives. Grey: the negatives themselves, which is "
        "where a very large temperature would put it.",
        "linear",
    )


def penalty_curve_hard_figure(document: Document) -> Figure | None:
    """The same where each anchor keeps its hardest negatives alone."""
    table = document.rows("penalty_curve_hard")
    if not table:
        return None
    alpha = float(table[0]["hard_alpha"] or 0.0)
    return _curve_figure(
        document,
        "penalty_curve_hard",
        "relative_penalty",
        f"Relative penalty over the hardest {100 * alpha:g}% of the negatives",
        "relative penalty r(s)",
        "After Wang & Liu (CVPR 2021), eq. 9: the penalty is shared among each anchor's hardest "
        "negatives and is zero below its threshold, so that large temperatures no longer spend it "
        "on far ones. The dashed line is an even share of the kept negatives.",
        "log",
        "penalty_curve_hard",
    )


def _curve_figure(
    document: Document,
    name: str,
    column: str,
    title: str,
    y_label: str,
    caption: str,
    scale: str,
    table_name: str = "penalty_curve",
) -> Figure | None:
    table = document.rows(table_name)
    if not table:
        return None
    sources = list(dict.fromkeys(str(row["source"]) for row in table))
    order = [s for s in by_temperature(document) if s in sources][:_MAX_PANELS]
    names = short_names(document)
    panels = []
    for source in order:
        rows = [row for row in table if row["source"] == source]
        taus = sorted({float(str(row["tau"])) for row in rows})
        marks: list[Mark] = []
        if name == "penalty_mass":
            first = [row for row in rows if row["tau"] == taus[0]]
            marks.append(
                Line(
                    _column(first, "similarity"),
                    _column(first, "negative_fraction"),
                    "negatives",
                    GREY,
                    width=3.0,
                )
            )
        for tau, colour in zip(taus, ordered(len(taus)), strict=True):
            part = [row for row in rows if row["tau"] == tau]
            xs, ys = _column(part, "similarity"), _column(part, column)
            there = [i for i, row in enumerate(part) if row["negative_fraction"]]
            keep = [
                i for i in range(min(there), max(there) + 1) if scale != "log" or 0 < ys[i] <= 1
            ]
            marks.append(Line([xs[i] for i in keep], [ys[i] for i in keep], f"τ = {tau:g}", colour))
        y_limits = None
        x_limits: tuple[float, float] = (-1.0, 1.0)
        x_ticks: Sequence[tuple[float, str]] = _COSINE_TICKS
        if scale == "log":
            record = next(r for r in document.results if r.source == source)
            n_kept = max(_n_negatives(document, source, record), 1)
            y_limits = (1e-9, 1.0)
            if table_name == "penalty_curve_hard":
                n_kept = max(1, math.ceil(float(rows[0]["hard_alpha"] or 1.0) * n_kept - 1e-9))
                kept = [float(row["similarity"] or 0.0) for row in rows if row["relative_penalty"]]
                x_limits = (max(min(kept) - 0.05, -1.0), 1.0)
                x_ticks = ()
                positive = [y for mark in marks if isinstance(mark, Line) for y in mark.y]
                y_limits = (max(min(positive) / 2.0, 1e-9), min(3.0 * max(positive), 1.0))
            marks.append(Rule("even share", y=1.0 / n_kept))
        panels.append(
            Panel(
                marks,
                "cosine similarity s",
                y_label,
                title=names[source]
                if len(order) > 1 or source != "uniform[-1,1]"
                else "similarities spread evenly over [−1, 1]",
                y_scale="log" if scale == "log" else "linear",
                x_ticks=x_ticks,
                x_limits=x_limits,
                y_limits=y_limits,
            )
        )
    return Figure(
        name,
        _title(document, title),
        caption + _panel_note(document),
        panels,
        columns=_columns(len(panels)),
        share_y=scale == "log",
        panel_size=_panel_size(len(panels)),
    )


def _n_negatives(document: Document, source: str, record: Record) -> int:
    return record.n if source == "uniform[-1,1]" else document.n_rows.get(source, record.n) - 1


def penalty_summary_figure(document: Document) -> Figure | None:
    """Effective negatives, top-10 share and false-negative share against the temperature."""
    taus = sorted({float(r.params["tau"]) for r in document.records("penalty_entropy")})
    if not taus:
        return None
    names, colours = short_names(document), source_colours(document)
    order = [s for s in by_temperature(document) if any(r.source == s for r in document.results)]
    panels = []
    for metric, definition, y_label, scale in (
        ("penalty_effective_negatives", "mean_exp", "effective negatives", "log"),
        ("penalty_top10_share", None, "share on 10 nearest", "linear"),
        ("penalty_false_negative_share", None, "share on own class", "linear"),
    ):
        records = document.records(metric, definition) or document.records(metric)
        if not any(record.value is not None for record in records):
            continue
        marks: list[Mark] = []
        for source in order:
            own = [r for tau in taus if (r := _one(records, source, tau=tau)) is not None]
            xs, ys = [float(r.params["tau"]) for r in own], [_value(r) for r in own]
            errors = [_error(r) for r in own]
            marks.append(
                Line(
                    xs,
                    ys,
                    names[source],
                    colours[source],
                    marker=True,
                    low=[y - e for y, e in zip(ys, errors, strict=True)],
                    high=[y + e for y, e in zip(ys, errors, strict=True)],
                )
            )
        marks += _summary_reference(document, metric, order, taus)
        spread = [v for m in marks if isinstance(m, Line) for v in m.y if v > 0]
        if scale == "log" and max(spread) < 20 * min(spread):
            scale = "linear"  # too little for a log axis to have ticks
        top, bottom = max(spread, default=0.0), min(spread, default=0.0)
        flat = top - bottom < 1e-3 * top  # differences of rounding must not look like structure
        panels.append(
            Panel(
                marks,
                "temperature τ of the penalty",
                y_label,
                x_scale="log",
                y_scale="log" if scale == "log" else "linear",
                x_ticks=[(tau, f"{tau:g}") for tau in _spread_out(taus)],
                y_limits=(0.0, 1.2 * top) if flat and top > 0 else None,
            )
        )
    return Figure(
        "penalty_summary",
        "How each temperature spreads the penalty",
        "Small temperatures spend the penalty on few, near negatives, many of them of the anchor's "
        "own class. Bands are 95% intervals; dashed, the uniform sphere of this N and d; dotted, "
        "what even weights would give.",
        panels,
        columns=len(panels),
        panel_size=(3.4, 2.9),
    )


def _summary_reference(
    document: Document, metric: str, order: Sequence[str], taus: Sequence[float]
) -> list[Line | Rule]:
    if metric == "penalty_false_negative_share":
        shares = document.records(metric)
        ratios = document.records("penalty_false_negative_ratio")
        for source in order:
            share, ratio = _one(shares, source), _one(ratios, source)
            if share is not None and ratio is not None and _value(ratio) > 0:
                return [Rule("even weights", y=_value(share) / _value(ratio), style="dotted")]
        return []
    found: dict[tuple[float, ...], str] = {}
    for source in order:
        rows = {
            row["tau"]: row["value"]
            for row in document.rows("penalty_reference", source=source, quantity=metric)
        }
        if rows:
            record = next(r for r in document.results if r.source == source)
            values = tuple(float(rows[tau] or 0.0) for tau in taus)
            n = document.n_rows.get(source, record.n)
            found.setdefault(values, f"uniform sphere, N = {n}, d = {record.d}")
    if len(found) > 3:  # more references than can be told apart say less than none
        return []
    styles: tuple[Style, ...] = ("dashed", "dotted", "dashdot")
    return [
        Line(list(taus), values, label, BLACK, style, width=1.1)
        for (values, label), style in zip(found.items(), styles, strict=False)
    ]


def _spread_out(taus: Sequence[float]) -> list[float]:
    """Temperatures far enough apart on a log axis for their texts to stand side by side."""
    kept: list[float] = []
    reach = math.log(max(taus) / min(taus)) if len(taus) > 1 else 0.0
    for tau in taus:
        if not kept or math.log(tau / kept[-1]) > 0.09 * reach:
            kept.append(tau)
    return kept


def trade_off_figure(document: Document) -> Figure | None:
    """The uniformity-tolerance plane: a point for each source, joined along each series."""
    uniformity = [
        r for r in document.records("uniformity", "u_stat") if r.params["t"] == _first_t(document)
    ]
    tolerance = document.records("tolerance", "micro_excl")
    if not uniformity or not tolerance or len(document.sources) < 2:
        return None
    names, colours = short_names(document), source_colours(document)
    order = by_temperature(document)
    marks: list[Mark] = []
    there = [
        (s, u, t)
        for s in order
        if (u := _one(uniformity, s)) is not None and (t := _one(tolerance, s)) is not None
    ]
    series: dict[str, list[tuple[float, float]]] = {}
    for source, u, t in there:
        if training_temperature(source) is not None:
            series.setdefault(series_name(source), []).append((_value(u), _value(t)))
    for points in series.values():
        if len(points) > 1:
            marks.append(Line([x for x, _ in points], [y for _, y in points], "", "#c0c0c0"))
    for source, u, t in there:
        alone = len(series.get(series_name(source), ())) == 1 < len(there)
        marks.append(
            Points(
                [_value(u)],
                [_value(t)],
                names[source],
                colours[source],
                x_error=[_error(u)],
                y_error=[_error(t)],
                symbol="D" if alone else "o",
                hollow=alone,
            )
        )
    law = document.records("uniformity_of_uniform_law")
    t_value = _first_t(document)
    laws = {r.d: _value(r) for r in law if r.params["t"] == t_value}
    dims = ", ".join(map(str, laws)) if len(laws) <= 3 else "each checkpoint's"
    marks.append(
        Points(
            list(laws.values()),
            [0.0] * len(laws),
            f"uniform sphere, d = {dims}",
            BLACK,
            hollow=True,
            symbol="s",
        )
    )
    return Figure(
        "trade_off",
        "The uniformity-tolerance trade-off",
        "Left is more uniform, up is more tolerant of same-class neighbours; a checkpoint further "
        "up and left than another is better in both. Bars are 95% intervals.",
        [
            Panel(
                marks,
                f"uniformity (t = {t_value:g})  [nats]   ← more uniform",
                "tolerance  [cosine]",
            )
        ],
        panel_size=(5.6, 3.9),
    )


def _first_t(document: Document) -> float:
    records = document.records("uniformity")
    return float(records[0].params["t"]) if records else 2.0


def against_temperature_figure(document: Document) -> Figure | None:
    """Uniformity and tolerance against the training temperature in the sources' names."""
    temperatures = {s: training_temperature(s) for s in document.sources}
    if len({value for value in temperatures.values() if value is not None}) < 2:
        return None
    panels = []
    order = [s for s in by_temperature(document) if temperatures[s] is not None]
    all_series = list(dict.fromkeys(series_name(s) for s in order))
    t_value = _first_t(document)
    for metric, definition, y_label in (
        ("uniformity", "u_stat", f"uniformity (t = {t_value:g})  [nats]"),
        ("tolerance", "micro_excl", "tolerance  [cosine]"),
    ):
        records = [
            r for r in document.records(metric, definition) if r.params.get("t", t_value) == t_value
        ]
        if not records:
            continue
        marks: list[Mark] = []
        for name, colour in zip(all_series, HUES * len(all_series), strict=False):
            own = [
                (temperatures[s] or 0.0, r)
                for s in order
                if series_name(s) == name and (r := _one(records, s)) is not None
            ]
            ys = [_value(r) for _, r in own]
            errors = [_error(r) for _, r in own]
            marks.append(
                Line(
                    [x for x, _ in own],
                    ys,
                    name,
                    colour,
                    marker=True,
                    low=[y - e for y, e in zip(ys, errors, strict=True)],
                    high=[y + e for y, e in zip(ys, errors, strict=True)],
                )
            )
        law = document.records("uniformity_of_uniform_law")
        levels = {r.d: _value(r) for r in law if r.params["t"] == t_value}
        if metric != "uniformity":
            levels = {None: 0.0}
        for i, (d, level) in enumerate(list(levels.items())[:3]):
            label = "uniform sphere" if i == 0 else f"uniform sphere, d = {d}"
            marks.append(Rule(label, y=level, style="dotted" if i else "dashed"))
        ticks = sorted({value for value in temperatures.values() if value is not None})
        panels.append(
            Panel(
                marks,
                "training temperature τ",
                y_label,
                x_scale="log",
                x_ticks=[(tau, f"{tau:g}") for tau in _spread_out(ticks)],
            )
        )
    return Figure(
        "against_temperature",
        "Uniformity and tolerance against the training temperature",
        "The dilemma: a larger temperature is less uniform (higher) and more tolerant (higher). "
        "Dashed, the uniform sphere. Temperatures are read from the names of the checkpoints.",
        panels,
        columns=len(panels),
        panel_size=(4.0, 3.0),
    )


_TAU_LOSSES = (
    ("contrastive", "one_way", "contrastive (InfoNCE)", "solid"),
    ("hard_contrastive", None, "hard contrastive", "solid"),
    ("nt_xent", None, "NT-Xent", "solid"),
    ("dcl", "symmetric", "DCL", "dashed"),
    ("dhel", "symmetric", "DHEL", "dashed"),
    ("supcon", "out", "SupCon", "solid"),
    ("nscl", "decoupled", "NSCL", "solid"),
)
"""Name, definition, label, and dashes for what often lies on another line."""


def loss_by_temperature_figure(document: Document) -> Figure | None:
    """Every loss with a temperature against it, and the limits of the contrastive loss."""
    records = [
        r for r in document.records("loss") if "tau" in r.params and "batch_size" not in r.params
    ]
    taus = sorted({float(r.params["tau"]) for r in records})
    if len(taus) < 2:
        return None
    names = short_names(document)
    panels: list[Panel] = []
    spread: list[float] = []
    for source in _panel_sources(document):
        marks: list[Mark] = []
        for (name, definition, label, style), colour in zip(_TAU_LOSSES, HUES, strict=True):
            own = [
                r
                for tau in taus
                if (r := _one(_defined(records, definition), source, name=name, tau=tau))
            ]
            if not own:
                continue
            ys, errors = [_value(r) for r in own], [_error(r) for r in own]
            marks.append(
                Line(
                    [float(r.params["tau"]) for r in own],
                    ys,
                    label,
                    colour,
                    "dashed" if style == "dashed" else "solid",
                    marker=True,
                    low=[y - e for y, e in zip(ys, errors, strict=True)],
                    high=[y + e for y, e in zip(ys, errors, strict=True)],
                )
            )
        if not marks:
            continue
        spread += [y for mark in marks if isinstance(mark, Line) for y in mark.y]
        limits = document.rows("loss_limits", source=source)
        limit_lines: tuple[tuple[str, str, Style], ...] = (
            ("small_tau", "contrastive, limit τ → 0", "dotted"),
            ("large_tau", "contrastive, limit τ → ∞", "dashdot"),
        )
        for column, label, line_style in limit_lines:
            marks.append(
                Line(
                    _column(limits, "tau"),
                    _column(limits, column),
                    label,
                    GREY,
                    line_style,
                    width=1.2,
                )
            )
        panels.append(
            Panel(
                marks,
                "temperature τ of the loss",
                "loss  [nats]",
                title=names[source] if len(document.sources) > 1 else "",
                x_scale="log",
                x_ticks=[(tau, f"{tau:g}") for tau in _spread_out(taus)],
            )
        )
    if spread:  # the limits reach far beyond
        margin = 0.06 * (max(spread) - min(spread)) or 1.0
        reach = (min(spread) - margin, max(spread) + margin)
        panels = [replace(panel, y_limits=reach) for panel in panels]
    return Figure(
        "loss_by_temperature",
        _title(document, "Losses against their temperature"),
        "Values of different losses have different zeros: compare shapes, and checkpoints at one "
        "temperature. Grey: what the contrastive loss tends to, max(0, hardest negative − "
        "positive) / τ for small and log N + mean difference / τ for large temperatures."
        + _panel_note(document),
        panels,
        columns=_columns(len(panels)),
        share_y=True,
        panel_size=(5.6, 3.6) if len(panels) == 1 else (3.3, 2.5),
    )


def _defined(records: Sequence[Record], definition: str | None) -> list[Record]:
    return [record for record in records if record.definition == definition]


def loss_by_batch_figure(document: Document) -> Figure | None:
    """InfoNCE minus log K moves with the batch, kernel losses do not."""
    table = document.rows("loss_batch")
    if not table:
        return None
    names = short_names(document)
    panels = []
    sizes = sorted({int(str(row["batch_size"])) for row in table})
    ticks = [(float(size), str(size)) for size in sizes]
    around = 1.1 if len(sizes) > 1 else 2.0
    x_limits = (sizes[0] / around, around * sizes[-1])
    for source in _panel_sources(document)[:4]:
        rows = [row for row in table if row["source"] == source]
        of_infonce = [
            row for row in rows if (row["name"], row["definition"]) == ("contrastive", "one_way")
        ]
        taus = sorted({float(str(row["tau"])) for row in of_infonce})
        marks: list[Mark] = []
        for tau, colour in zip(taus, ordered(len(taus)), strict=True):
            own = [row for row in of_infonce if row["tau"] == tau]
            marks.append(_batch_line(own, "normalised", f"τ = {tau:g}", colour))
            limit = own[0]["limit"]
            if isinstance(limit, float):
                marks.append(Line(x_limits, [limit, limit], "", colour, "dotted", width=1.1))
        where = f"{names[source]}: " if len(document.sources) > 1 else ""
        heights = _column(of_infonce, "normalised") + _column(of_infonce, "limit")
        reach = 0.55 * (max(heights) - min(heights)) if heights else 1.0
        panels.append(
            Panel(
                marks,
                "pairs in a batch",
                "L − log K  [nats]",
                title=f"{where}InfoNCE (dotted: limit)",
                x_scale="log",
                x_ticks=ticks,
                x_limits=x_limits,
            )
        )
        marks = []
        for kernel, colour in zip(("gaussian", "log", "imq"), HUES, strict=False):
            own = [
                row
                for row in rows
                if row["name"] == f"kcl_{kernel}" and row["definition"] in (None, "consistent")
            ]
            whole = own[0]["limit"] if own else None
            if isinstance(whole, float):
                marks.append(_batch_line(own, "loss", kernel, colour, whole))
        marks.append(Rule("all rows", y=0.0, style="dotted"))
        panels.append(
            Panel(
                marks,
                "pairs in a batch",
                "L − L of all rows",
                title=f"{where}kernel losses",
                x_scale="log",
                x_ticks=ticks,
                x_limits=x_limits,
                y_limits=(-reach, reach),
            )
        )
    return Figure(
        "loss_by_batch",
        "Losses against the size of the batch",
        "Means over drawn batches with 95% intervals of the drawing. InfoNCE less the log of its "
        "number of negatives falls with the batch towards its limit (dotted, from all rows); "
        "kernel losses (on the same scale) are U-statistics, whose mean is that of all rows at "
        "every size.",
        panels,
        columns=2,
        panel_size=(4.0, 2.9),
    )


def _batch_line(
    rows: Sequence[dict[str, Cell]], column: str, label: str, colour: str, origin: float = 0.0
) -> Line:
    ys = [y - origin for y in _column(rows, column)]
    errors = [Z95 * error for error in _column(rows, "sampling_error")]
    return Line(
        _column(rows, "batch_size"),
        ys,
        label,
        colour,
        marker=True,
        low=[y - e for y, e in zip(ys, errors, strict=True)],
        high=[y + e for y, e in zip(ys, errors, strict=True)],
    )


def loss_gradient_figure(document: Document) -> Figure | None:
    """Which similarities each loss pushes apart."""
    table = document.rows("loss_gradient")
    if not table:
        return None
    names = short_names(document)
    several = len(document.sources) > 1
    panels = []
    chosen: tuple[tuple[str, str], ...] = (("contrastive", "contrastive"),)
    if not several:
        chosen = (
            ("contrastive", "contrastive"),
            ("hard_contrastive", "hard contrastive"),
            ("nt_xent", "NT-Xent and DCL"),
            ("dhel", "DHEL"),
            ("nscl", "NSCL (other classes)"),
        )
    for source in _panel_sources(document):
        rows = [row for row in table if row["source"] == source]
        for name, title in chosen:
            own = [row for row in rows if row["name"] == name]
            if own:
                panels.append(_gradient_panel(own, names[source] if several else title))
        if not several:
            panels.append(_kernel_gradient_panel(rows))
    return Figure(
        "loss_gradient",
        _title(document, "Where losses push: share of the repulsion by similarity"),
        "Each line sums to 1 over an anchor's negatives, in bins of 0.04. Grey: the negatives "
        "themselves, which is where the simple loss pushes."
        + (" The contrastive loss of each checkpoint." if several else "")
        + _panel_note(document),
        panels,
        columns=_columns(len(panels)),
        panel_size=_panel_size(len(panels)),
    )


def _gradient_panel(rows: Sequence[dict[str, Cell]], title: str) -> Panel:
    taus = sorted({float(str(row["tau"])) for row in rows})
    first = [row for row in rows if row["tau"] == taus[0]]
    marks: list[Mark] = [_negatives_line(first)]
    for tau, colour in zip(taus, ordered(len(taus)), strict=True):
        own = [row for row in rows if row["tau"] == tau]
        marks.append(
            Line(_column(own, "similarity"), _column(own, "gradient_share"), f"τ = {tau:g}", colour)
        )
    return _share_panel(marks, title)


def _kernel_gradient_panel(rows: Sequence[dict[str, Cell]]) -> Panel:
    marks: list[Mark] = []
    for kernel, colour in zip(("gaussian", "log", "imq", "riesz"), HUES, strict=False):
        own = [row for row in rows if row["name"] == f"kcl_{kernel}"]
        if own and not marks:
            marks.append(_negatives_line(own))
        marks.append(
            Line(_column(own, "similarity"), _column(own, "gradient_share"), kernel, colour)
        )
    return _share_panel(marks, "kernel losses")


def _negatives_line(rows: Sequence[dict[str, Cell]]) -> Line:
    return Line(
        _column(rows, "similarity"),
        _column(rows, "negative_fraction"),
        "negatives",
        GREY,
        width=3.0,
    )


def _share_panel(marks: Sequence[Mark], title: str) -> Panel:
    return Panel(
        marks,
        "cosine similarity s",
        "share per 0.04",
        title=title,
        x_ticks=_COSINE_TICKS,
        x_limits=(-1.0, 1.0),
    )


FIGURES: dict[str, Callable[[Document], Figure | None]] = {
    "trade_off": trade_off_figure,
    "against_temperature": against_temperature_figure,
    "uniformity": uniformity_figure,
    "tolerance": tolerance_figure,
    "nearest_negatives": nearest_negatives_figure,
    "similarity_histogram": similarity_histogram_figure,
    "penalty_curve": penalty_curve_figure,
    "penalty_curve_hard": penalty_curve_hard_figure,
    "penalty_mass": penalty_mass_figure,
    "penalty_summary": penalty_summary_figure,
    "loss_by_temperature": loss_by_temperature_figure,
    "loss_by_batch": loss_by_batch_figure,
    "loss_gradient": loss_gradient_figure,
}


def draw(document: Document) -> list[Figure]:
    """Every figure that the document has the numbers for, in the order of the report."""
    found = [function(document) for function in FIGURES.values()]
    return [figure for figure in found if figure is not None and figure.panels]
