"""The HTML report: one file, no network, everything escaped."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from cl_analyze.figures.catalogue import SECTIONS
from cl_analyze.figures.colours import on_dark
from cl_analyze.figures.description import Figure
from cl_analyze.figures.interactive_renderer import interactive
from cl_analyze.figures.sources import natural_order, short_names
from cl_analyze.metrics.headlines import headlines
from cl_analyze.report.comparison import (
    alike_sentences,
    comparison_of,
    dimensions_sentences,
    pareto_sentence,
    reference_of,
    tested_differences,
)
from cl_analyze.report.decision import decision
from cl_analyze.report.numbers import in_reading_order, number_tables
from cl_analyze.report.row_lists import row_lists
from cl_analyze.report.summary import (
    banners,
    comparison_table,
    definition_of,
    findings,
    page_title,
    ranges,
    summary_of,
    turned,
)
from cl_analyze.results.document import Document

if TYPE_CHECKING:
    from jinja2 import Template

_SCRIPTS = (
    "page-state.js",
    "page-selection.js",
    "page-panels.js",
    "page-drawing.js",
    "page-controls.js",
    "page-tables.js",
)
"""The page's script, whose parts share one scope."""
_COLOUR = re.compile(r'"(#[0-9A-Fa-f]{6})"')
_PIXELS = 96
"""Pixels of a page to the inch."""
_WIDEST = 6.0
"""Inches of a picture on a page."""
_MOST_IN_FULL = 12
"""Checkpoints up to which every number is on the page; of more they are in the tables."""
_MOST_SWITCHES = 40
"""Checkpoints that have a switch each."""
_WIDEST_OF_TWO = 620
"""Pixels of the widest figures that stand two in a row."""


def template(name: str) -> Template:
    """A template of this package, in which every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cl_analyze.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render_html(document: Document, figures: Sequence[tuple[Figure, bytes]]) -> str:
    """The report, or the comparison, as one HTML document that needs no network.

    Args:
        document: results with their inputs.
        figures: each figure with a png, which a page without JavaScript shows.
    """
    names, order = short_names(document), natural_order(document)
    reference = reference_of(document)
    summary = summary_of(document, order)
    plots = {figure.name: interactive(figure) for figure, _ in figures}
    numbers = number_tables(document, order) if len(order) <= _MOST_IN_FULL else []
    compared = comparison_table(document, order) if reference else None
    heads = [*summary.columns, *(compared["columns"] if compared else ())]
    back = {row.metric: f"numbers-{table.name}" for table in numbers for row in table.rows}
    back |= {head.metric: "summary" for head in heads}
    levels = sorted({level for plot in plots.values() if plot for level in plot["meta"]["levels"]})
    return template("report.html.j2").render(
        document=document,
        title=page_title(document),
        decision=decision(document),
        names=names,
        order=order,
        summary=summary,
        banners=banners(summary),
        n_switches=len(order) if 1 < len(order) <= _MOST_SWITCHES else 0,
        turned=turned(document, summary) if len(order) == 1 else [],
        ranges=ranges(document, summary) if len(order) > 1 and not reference else [],
        findings=[] if reference else findings(document, order, headlines(document)),
        reference=reference,
        compared=compared,
        has_variants=any(row["variant"] for row in document.rows("checkpoints")),
        front=pareto_sentence(document, names),
        n_tested=tested_differences(document),
        further=[*alike_sentences(document), *dimensions_sentences(document)],
        comparisons=[
            comparison_of(document, source) for source in order if reference not in (None, source)
        ],
        moved_rows=document.rows("moved_rows"),
        moved_classes=document.rows("moved_classes"),
        sections=sections(figures, plots),
        row_lists=row_lists(document),
        numbers=numbers,
        definitions=[
            {"name": name, "text": definition_of(name), "back": back[name]}
            for name in in_reading_order(back)
        ],
        inputs=_inputs(document),
        command=shlex.join(["cl-analyze", *document.arguments]) if document.arguments else "",
        plotly=_packed(_static("plotly-cartesian.min.js")),
        plots=_packed(_plots_text(plots)),
        levels=levels,
        level=_common_level(figures),
        script=Markup("\n").join(map(_static, _SCRIPTS)),
        style=_static("report.css"),
    )


def _static(name: str) -> Markup:
    """The text of a static file, for the page."""
    return Markup((resources.files("cl_analyze.report") / "static" / name).read_text("utf-8"))


def _common_level(figures: Sequence[tuple[Figure, bytes]]) -> float | None:
    """The temperature that most pictures show, where the dial starts; None: all of them."""
    levels = Counter(figure.level for figure, _ in figures if figure.level is not None)
    return levels.most_common(1)[0][0] if levels else None


def _plots_text(plots: dict[str, Any]) -> str:
    """The figures' data, and for each of their colours its partner on a dark page."""
    text = json.dumps(plots, ensure_ascii=False, separators=(",", ":"))
    colours = sorted({colour.lower() for colour in _COLOUR.findall(text)})
    dark = json.dumps({colour: on_dark(colour) for colour in colours}, separators=(",", ":"))
    return f'{{"figures":{text},"dark":{dark}}}'


def _packed(text: str) -> str:
    """Text as gzip in base64, the same bytes every time; the page unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


# ---- figures


def sections(
    figures: Sequence[tuple[Figure, bytes]], plots: dict[str, dict[str, Any] | None]
) -> list[dict[str, Any]]:
    """The figures under the question that they answer, in the order of the catalogue."""
    found = []
    for title, names in SECTIONS.items():
        own = [(figure, png) for figure, png in figures if figure.name in names]
        if own:
            layout = _layout([figure for figure, _ in own])
            shown = [
                {**_figure(figure, png, plots[figure.name]), "layout": kind}
                for (figure, png), kind in zip(own, layout, strict=True)
            ]
            found.append({"title": title, "id": _anchor(title), "figures": shown})
    return found


def _anchor(title: str) -> str:
    return f"section-{title.lower().replace(' ', '-')}"


def _label(name: str) -> str:
    """A figure's name as the navigation lists it: short, and that of its files.

    >>> _label("knn_accuracy"), _label("trade_off")
    ('kNN accuracy', 'Trade off')
    """
    words = name.replace("_", " ")
    return words.replace("knn", "kNN") if words.startswith("knn") else words[:1].upper() + words[1:]


def _layout(figures: Sequence[Figure]) -> list[str]:
    """Narrow figures stand two in a row, the last of an odd number alone; wide ones take a row."""
    widths = [figure.panel_size[0] * figure.columns * _PIXELS for figure in figures]
    kinds = ["half" if width <= _WIDEST_OF_TWO else "wide" for width in widths]
    if kinds.count("half") % 2:
        kinds[len(kinds) - 1 - kinds[::-1].index("half")] = "alone"
    return kinds


def pixels(figure: Figure) -> int:
    """The width of a figure's picture on a page: all are one column wide, with the same letters."""
    return round(min(figure.panel_size[0] * figure.columns, _WIDEST) * _PIXELS)


def _figure(figure: Figure, png: bytes, plot: dict[str, Any] | None) -> dict[str, Any]:
    """The static image of a figure, with title, finding and caption."""
    return {
        "name": figure.name,
        "label": _label(figure.name),
        "title": figure.title,
        "finding": figure.finding,
        "caption": figure.caption,
        "alt": " ".join(
            part for part in (figure.finding, f"{figure.title}.", figure.caption) if part
        ),
        "data": _embedded(png),
        "width": pixels(figure),
        "is_interactive": plot is not None,
        "choices": [panel.title for panel in figure.panels] if figure.choice else [],
        "chosen": next((i for i, panel in enumerate(figure.panels) if not panel.is_minor), 0),
        "choice": figure.choice,
    }


def _embedded(png: bytes) -> str:
    """An image as a data: URL: lossless WebP, about half the size of png, where Pillow has it."""
    from PIL import Image, features

    kind = "png"
    if features.check("webp"):
        stream = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGB").save(
            stream, "webp", lossless=True, quality=60, method=4
        )
        kind, png = "webp", stream.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(png).decode()}"


# ---- inputs


def _inputs(document: Document) -> list[dict[str, Any]]:
    """Each file once: its embeddings, and the other arrays that were read from it."""
    files: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in document.inputs:
        key = (entry["path"], entry["sha256"], entry.get("variant"))
        files.setdefault(key if entry["path"] else (id(entry),), []).append(entry)
    return [
        {**entries[0], "others": "; ".join(_array_text(entry) for entry in entries[1:])}
        for entries in files.values()
    ]


def _array_text(entry: dict[str, Any]) -> str:
    """An array in words.

    >>> _array_text({"key": "labels", "n": 20, "d": None, "dtype": "int64", "dropped_rows": 2,
    ...              "duplicate_rows": None, "unlabelled_rows": 0})
    'labels (20, int64, 2 dropped)'
    """
    shape = str(entry["n"]) if entry["d"] is None else f"{entry['n']} × {entry['d']}"
    counts = [
        f"{entry[key]} {word}"
        for key, word in (
            ("dropped_rows", "dropped"),
            ("duplicate_rows", "duplicates"),
            ("unlabelled_rows", "unlabelled"),
        )
        if entry[key]
    ]
    return f"{entry['key'] or 'array'} ({', '.join([shape, str(entry['dtype']), *counts])})"
