"""Figures of uniformity, tolerance, similarity and penalty.

Nothing is computed here but positions on the page: values, errors and references (the uniform
sphere of the same N and D) are read from the document.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cl_analyze.document import Document
from cl_analyze.figures.colours import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
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
from cl_analyze.figures.sources import (
    COSINE_TICKS,
    MAX_PANELS,
    by_temperature,
    dots,
    edges_of,
    half_width,
    one_record,
    panel_columns,
    panel_note,
    panel_size_of,
    panel_sources,
    panel_title,
    read_column,
    row_height,
    short_names,
    source_axis,
    source_colours,
    spread_out,
    value_of,
)
from cl_analyze.tables import Record


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
            r.d: value_of(r)
            for r in document.records("uniformity_of_uniform_law")
            if r.params["t"] == t
        }
        rules: list[Mark] = [Rule(f"uniform sphere, d = {d}", x=value) for d, value in laws.items()]
        if len(laws) > 1:  # each checkpoint has its own reference
            own = [
                (i, r)
                for i, source in enumerate(by_temperature(document))
                if (r := one_record(chosen, source)) is not None
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
                [*rules, dots(document, chosen, BLUE, "embeddings, 95% interval")],
                f"log mean exp(−{t:g}·‖x − y‖²)  [nats]   ← more uniform",
                "",
                title=f"t = {t:g}" if len(ts) > 1 else "",
                y_ticks=source_axis(document),
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
        panel_size=(5.6, row_height(document)),
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
        dots(document, between, ORANGE, "different classes"),
        dots(document, within, BLUE, f"same class ({within[0].definition}), 95% interval"),
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
                y_ticks=source_axis(document),
                y_limits=(len(sources) - 0.4, -0.6),
            )
        ],
        panel_size=(5.6, row_height(document)),
    )


def similarity_histogram_figure(document: Document) -> Figure | None:
    """Densities of all pairs, positives and nearest negatives, with the cosine law."""
    if "similarity_histogram" not in document.tables:
        return None
    names = short_names(document)
    panels = []
    for source in panel_sources(document):
        marks = []
        for group, label, colour, filled in (
            ("all", "all pairs", "#bdbdbd", True),
            ("positive", "positives", BLUE, False),
            ("negative_1", "nearest negative", VERMILION, False),
            ("negative_10", "10th nearest", ORANGE, False),
        ):
            rows = document.rows("similarity_histogram", source=source, group=group)
            if rows:
                marks.append(
                    Steps(edges_of(rows), read_column(rows, "density"), label, colour, filled)
                )
        law = document.rows("similarity_histogram", source=source, group="uniform_law")
        if law:
            centres = [
                (a + b) / 2 for a, b in zip(edges_of(law)[:-1], edges_of(law)[1:], strict=True)
            ]
            line = Line(
                centres, read_column(law, "density"), "uniform sphere", BLACK, "dashed", width=1.1
            )
            panels.append(
                Panel(
                    [*marks, line],
                    "cosine similarity",
                    "density (square-root scale)",
                    title=names[source],
                    y_scale="sqrt",
                    x_ticks=COSINE_TICKS,
                    x_limits=(-1.0, 1.0),
                )
            )
    return Figure(
        "similarity_histogram",
        panel_title(document, "Similarities of positives, nearest negatives and all pairs"),
        "The further the nearest negatives reach into the positives, the harder the negatives. The "
        "dashed line is the cosine of two uniform points in this dimension." + panel_note(document),
        panels,
        columns=panel_columns(len(panels)),
        panel_size=panel_size_of(len(panels)),
    )


def nearest_negatives_figure(document: Document) -> Figure | None:
    """The paper's Fig. 8: the positive and the ten nearest negatives, a panel for each source."""
    means = document.records("similarity_mean")
    if not means:
        return None
    quantiles = document.records("similarity_quantile")
    names = short_names(document)
    panels = []
    for source in panel_sources(document):
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
            marks.append(Points(xs, [value_of(r) for r in chosen], label, colour, size=5))
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
        panel_title(document, "Positive and nearest negatives by rank"),
        "After Wang & Liu (CVPR 2021), Fig. 8. Dots are means over anchors, bars reach from the "
        "25% to the 75% quantile; dashed, what is expected on the uniform sphere of this N and d."
        + panel_note(document),
        panels,
        columns=panel_columns(len(panels)),
        share_y=True,
        panel_size=panel_size_of(len(panels)),
    )


def _one_q(quantiles: Sequence[Record], source: str, record: Record, q: float) -> float:
    found = one_record(quantiles, source, group=record.params["group"], q=q)
    return math.nan if found is None else value_of(found)


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
    order = [s for s in by_temperature(document) if s in sources][:MAX_PANELS]
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
                    read_column(first, "similarity"),
                    read_column(first, "negative_fraction"),
                    "negatives",
                    GREY,
                    width=3.0,
                )
            )
        for tau, colour in zip(taus, ordered(len(taus)), strict=True):
            part = [row for row in rows if row["tau"] == tau]
            xs, ys = read_column(part, "similarity"), read_column(part, column)
            there = [i for i, row in enumerate(part) if row["negative_fraction"]]
            keep = [
                i for i in range(min(there), max(there) + 1) if scale != "log" or 0 < ys[i] <= 1
            ]
            kept_xs, kept_ys = [xs[i] for i in keep], [ys[i] for i in keep]
            marks.append(Line(kept_xs, kept_ys, f"τ = {tau:g}", colour, level=tau))
        y_limits = None
        x_limits: tuple[float, float] = (-1.0, 1.0)
        x_ticks: Sequence[tuple[float, str]] = COSINE_TICKS
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
        panel_title(document, title),
        caption + panel_note(document),
        panels,
        columns=panel_columns(len(panels)),
        share_y=scale == "log",
        dial="τ",
        panel_size=panel_size_of(len(panels)),
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
            own = [r for tau in taus if (r := one_record(records, source, tau=tau)) is not None]
            xs, ys = [float(r.params["tau"]) for r in own], [value_of(r) for r in own]
            errors = [half_width(r) for r in own]
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
                x_ticks=[(tau, f"{tau:g}") for tau in spread_out(taus)],
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
            share, ratio = one_record(shares, source), one_record(ratios, source)
            if share is not None and ratio is not None and value_of(ratio) > 0:
                return [Rule("even weights", y=value_of(share) / value_of(ratio), style="dotted")]
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
