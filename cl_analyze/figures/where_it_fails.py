"""Figures of single classes: which are taken for which, and which a checkpoint knows worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cl_analyze.figures.classes import (
    MOST_CLASSES,
    MOST_NUMBERS,
    MOST_WORST,
    best_first,
    in_order,
    short_classes,
    worst,
)
from cl_analyze.figures.colours import BLUE
from cl_analyze.figures.description import Axis, Cells, Figure, Mark, Panel, Points
from cl_analyze.figures.marks import Z95, axis_of_names, true_minus
from cl_analyze.figures.sources import natural_order, short_names, source_colours
from cl_analyze.results.document import Document
from cl_analyze.results.stats import share_interval

_OTHERS = "others"
"""The last column where only some classes are shown."""
_LETTERS = 40
"""Of a class in a sentence."""
_MOST_PAIRS = 10
_MOST_BARS = 8
"""Checkpoints up to which points stand side by side, with their intervals."""
_MOST_LISTED = 4
"""Checkpoints up to which classes have points with intervals instead of cells."""


@dataclass(frozen=True)
class _Confusion:
    """What a classifier takes the rows of each class for, in one checkpoint.

    Attributes:
        counts: (class, predicted class) -> rows; pairs without a row are left out.
        totals: class -> rows that were classified.
    """

    counts: dict[tuple[str, str], float]
    totals: dict[str, float]

    def share(self, name: str, predicted: str) -> float:
        """The share of a class's rows that are taken for a class, NaN where it has no row."""
        total = self.totals.get(name, 0.0)
        return self.counts.get((name, predicted), 0.0) / total if total else math.nan

    def mixed(self, a: str, b: str) -> tuple[float, float]:
        """The share of the rows of two classes that are taken for the other, and these rows."""
        rows = self.totals.get(a, 0.0) + self.totals.get(b, 0.0)
        swapped = self.counts.get((a, b), 0.0) + self.counts.get((b, a), 0.0)
        return (swapped / rows if rows else math.nan), rows


def _classifier(document: Document) -> tuple[str, str]:
    """The classifier that the figures show, and its name in words; empty where there is none."""
    known = dict.fromkeys(str(row["classifier"]) for row in document.rows("confusion"))
    votes = [name for name in known if name.startswith("knn_")]
    if "probe_normalised" in known:
        return "probe_normalised", "linear probe"
    return (votes[0], f"vote of {votes[0][len('knn_') :]} neighbours") if votes else ("", "")


def _confusions(document: Document, classifier: str) -> dict[str, _Confusion]:
    """The confusions of each checkpoint that has them."""
    found = {}
    for source in natural_order(document):
        counts: dict[tuple[str, str], float] = {}
        totals: dict[str, float] = {}
        for row in document.rows("confusion", source=source, classifier=classifier):
            name, rows = str(row["class"]), float(row["rows"] or 0.0)
            counts[name, str(row["predicted"])] = rows
            totals[name] = totals.get(name, 0.0) + rows
        if totals:
            found[source] = _Confusion(counts, totals)
    return found


def confusion_figure(document: Document) -> Figure | None:
    """Which class the rows of each class are taken for, a panel for each checkpoint."""
    classifier, in_words = _classifier(document)
    confusions = _confusions(document, classifier)
    order = [source for source in best_first(document) if source in confusions]
    if not order:
        return None
    names = short_names(document)
    every = list(dict.fromkeys(name for source in order for name in confusions[source].totals))
    predicted = {other for found in confusions.values() for _, other in found.counts}
    every += sorted(predicted - set(every))  # no row of these was tested
    shown = every
    if len(every) > MOST_CLASSES:
        own = {name: _known(confusions[s].share(name, name) for s in order) for name in every}
        shown = worst(own, MOST_WORST)
    shown = in_order(document, order[0], shown)
    has_others = len(shown) < len(every)
    short = short_classes(shown)
    rows_axis = Axis("class", ticks=_ticks([short[name] for name in shown]))
    texts = [short[name] for name in shown] + [_OTHERS] * has_others
    columns_axis = Axis(f"taken for, by the {in_words}", ticks=_ticks(texts))
    panels: list[Panel] = []
    for source in order:
        found = confusions[source]
        cells = [[100.0 * found.share(a, b) for b in shown] for a in shown]
        if has_others:
            cells = [[*row, 100.0 - sum(row)] for row in cells]
        numbers = _numbers(cells) if len(texts) <= MOST_NUMBERS else ()
        marks = [Cells(cells, 0.0, 100.0, "% of the rows of the class", numbers)]
        panels.append(
            Panel(
                marks,
                columns_axis,
                rows_axis,
                names[source],
                upright=True,
                source=names[source],
                is_minor=bool(panels),
            )
        )
    side = min(2.5 + 0.1 * len(texts), 4.0)
    of_many = (
        f" Of {len(every)} classes the {len(shown)} that are recognised worst are shown; the "
        "last column has all other classes."
        if has_others
        else ""
    )
    return Figure(
        "confusion",
        "Which class is taken for which",
        "A line of the matrix is a class. Its cells show, in percent, for which classes the "
        f"{in_words} takes the rows of this class. Right answers lie on the diagonal, and "
        "similar classes side by side. A bright cell off the diagonal is a confusion; two such "
        "cells, one on each side, mean that the embedding does not separate the two "
        f"classes.{of_many}",
        panels,
        choice="checkpoint" if len(panels) > 1 else "",
        panel_size=(side + 0.8, side),
        finding=_worst_confusion(confusions[order[0]], names[order[0]], len(order)),
    )


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _ticks(texts: Sequence[str]) -> list[tuple[float, str]]:
    return [(float(i), text) for i, text in enumerate(texts)]


def _numbers(cells: Sequence[Sequence[float]]) -> list[list[str]]:
    """Percentages without decimals, nothing where there are none."""
    return [[f"{cell:.0f}" if cell > 0.5 else "" for cell in row] for row in cells]


def _worst_confusion(found: _Confusion, source: str, n_sources: int) -> str:
    """The finding of the confusions of one checkpoint."""
    where = f"{source}: " if n_sources > 1 else ""
    right = sum(count for (a, b), count in found.counts.items() if a == b)
    overall = f"{where}{100 * right / sum(found.totals.values()):.1f}% of the rows are right"
    wrong = [pair for pair in found.counts if pair[0] != pair[1]]
    if not wrong:
        return f"{overall}; no row is taken for another class."
    name, taken_for = max(wrong, key=lambda pair: (found.share(*pair), pair))
    share, short = 100 * found.share(name, taken_for), short_classes([name, taken_for], _LETTERS)
    return (
        f"{overall}; most often {short[name]} is taken for {short[taken_for]}: {share:.1f}% of "
        "its rows."
    )


@dataclass(frozen=True)
class _OfClasses:
    """A number of each class in each checkpoint.

    Attributes:
        title: of the panel.
        factor: from the number to what is shown.
        digits: decimals of what is shown.
        values: source -> class -> number.
        bars: source -> class -> its 95% interval.
    """

    title: str
    factor: float
    digits: int
    values: dict[str, dict[str, float]]
    bars: dict[str, dict[str, tuple[float, float]]]

    def shown(self, source: str, name: str) -> float:
        """The number as it is drawn, NaN where there is none."""
        return self.factor * self.values.get(source, {}).get(name, math.nan)

    def text(self, shown: float) -> str:
        """A number in a sentence."""
        return f"{shown:.1f}%" if self.factor == 100.0 else f"{shown:.3f}"


def _accuracies(document: Document) -> _OfClasses | None:
    """The accuracy of the linear probe for each class; kNN's where there is no probe."""
    for column, size, title in (
        ("probe_accuracy", "probe_rows", "linear probe accuracy  [%]"),
        ("knn_accuracy", "n", "kNN accuracy  [%]"),
    ):
        found = _OfClasses(title, 100.0, 0, {}, {})
        for source in natural_order(document):
            for row in document.rows("quality_by_class", source=source):
                value, n = row.get(column), row.get(size)
                if value is not None and n:
                    name, share = str(row["class"]), float(value)
                    found.values.setdefault(source, {})[name] = share
                    found.bars.setdefault(source, {})[name] = share_interval(share, float(n))
        if found.values:
            return found
    return None


def _tolerances(document: Document) -> _OfClasses | None:
    """The mean cosine within each class."""
    found = _OfClasses("tolerance  [cosine]", 1.0, 2, {}, {})
    for source in natural_order(document):
        for row in document.rows("tolerance_by_class", source=source):
            if row["tolerance"] is not None:
                name, value = str(row["class"]), float(row["tolerance"])
                reach = Z95 * float(row["std_error"] or 0.0)
                found.values.setdefault(source, {})[name] = value
                found.bars.setdefault(source, {})[name] = value - reach, value + reach
    return found if found.values else None


def class_accuracy_figure(document: Document) -> Figure | None:
    """Accuracy and tolerance of each class in each checkpoint, the worst classes on top."""
    measured = [m for m in (_accuracies(document), _tolerances(document)) if m is not None]
    if not measured:
        return None
    first = measured[0]
    every = list(dict.fromkeys(name for own in first.values.values() for name in own))
    values = {name: [own[name] for own in first.values.values() if name in own] for name in every}
    shown = worst(values, MOST_WORST)
    sources = [source for source in natural_order(document) if source in first.values]
    short, names = short_classes(shown), short_names(document)
    y_axis = axis_of_names([short[name] for name in shown])
    are_listed = len(sources) <= _MOST_LISTED
    panels = []
    for measure in measured:
        if are_listed:
            marks = _listed(document, measure, sources, shown)
            panels.append(Panel(marks, Axis(measure.title), y_axis))
            continue
        cells = [[measure.shown(source, name) for source in sources] for name in shown]
        finite = [cell for row in cells for cell in row if not math.isnan(cell)]
        if not finite:
            continue
        are_few = len(sources) <= MOST_NUMBERS and len(shown) <= MOST_WORST
        texts = [[_text(cell, measure.digits) for cell in row] for row in cells] if are_few else ()
        axis = Axis("checkpoint", ticks=_ticks([names[source] for source in sources]))
        marks = [Cells(cells, min(finite), max(finite), measure.title, texts)]
        title = measure.title.partition("  [")[0]
        panels.append(Panel(marks, axis, y_axis, title, upright=True))
    means = {name: first.factor * sum(own) / len(own) for name, own in values.items() if own}
    lowest, highest = shown[0], max(means, key=lambda name: means[name])
    in_words = short_classes([lowest, highest], _LETTERS)
    what = first.title.partition("  [")[0]
    of_many = f" The {len(shown)} worst of {len(every)} classes." if len(every) > len(shown) else ""
    mean = "on average of the checkpoints " if len(sources) > 1 else ""
    return Figure(
        "class_accuracy",
        "Accuracy and tolerance by class" if len(measured) > 1 else f"{what} by class".capitalize(),
        f"The classes with the lowest {what} are on top. Accuracy is the share of the rows of a "
        "class that are recognised; tolerance is their mean cosine with each other. A class of "
        "low tolerance is scattered. A class of high tolerance and low accuracy lies inside "
        f"another class.{' Bars are 95% intervals.' * are_listed}{of_many}",
        panels,
        columns=min(len(panels), 2) if are_listed else 1,
        share_y=are_listed,
        choice="" if are_listed or len(panels) < 2 else "number",
        panel_size=_size_of_classes(len(shown), len(sources), are_listed),
        finding=f"The lowest {what} is that of {in_words[lowest]} "
        f"({mean}{first.text(means[lowest])}), the highest is that of {in_words[highest]} "
        f"({first.text(means[highest])}).",
    )


def _text(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _size_of_classes(n_classes: int, n_sources: int, are_listed: bool) -> tuple[float, float]:
    """Inches of a panel with a line for each class."""
    if are_listed:
        return 2.4, 1.0 + 0.22 * n_classes
    side = 0.3 if n_sources <= MOST_NUMBERS else 0.2
    return max(3.4, min(1.8 + side * n_sources, 5.2)), 1.1 + side * n_classes


def _listed(
    document: Document, measure: _OfClasses, sources: Sequence[str], shown: Sequence[str]
) -> list[Mark]:
    """A point with its interval for each class and checkpoint."""
    names, colours = short_names(document), source_colours(document)
    marks: list[Mark] = []
    for i, source in enumerate(sources):
        own = measure.values.get(source, {})
        placed = [(at, name) for at, name in enumerate(shown) if name in own]
        aside = _aside(i, len(sources), 0.4)
        bars = [_bar(own[name], measure.bars[source][name], measure.factor) for _, name in placed]
        label, colour = (names[source], colours[source]) if len(sources) > 1 else ("", BLUE)
        marks.append(
            Points(
                [measure.shown(source, name) for _, name in placed],
                [at + aside for at, _ in placed],
                label,
                colour,
                x_error=bars,
                size=4.5,
                names=[name for _, name in placed],
                hovers=[
                    _hover(names[source], name, measure.shown(source, name), measure.title, ends)
                    for (_, name), ends in zip(placed, bars, strict=True)
                ],
                source=names[source],
            )
        )
    return marks


_TAKEN_FOR = "rows of both classes taken for the other  [%]"


def _hover(source: str, what: str, value: float, title: str, bars: tuple[float, float]) -> str:
    """Checkpoint, class or classes, and the value with its 95% interval."""
    name, _, unit = title.partition("  [")
    digits, sign = (1, "%") if unit.startswith("%") else (3, "")
    low, high = value - bars[0], value + bars[1]
    return true_minus(
        f"{source} · {what} · {name} {value:.{digits}f}{sign} · 95% {low:.{digits}f} to "
        f"{high:.{digits}f}{sign}"
    )


def _aside(i: int, n: int, width: float) -> float:
    """How far below its line the i-th of n points stands, so that intervals lie side by side."""
    return width * ((i + 0.5) / n - 0.5)


def _bar(value: float, interval: tuple[float, float], factor: float) -> tuple[float, float]:
    low, high = interval
    return factor * max(value - low, 0.0), factor * max(high - value, 0.0)


def confused_pairs_figure(document: Document) -> Figure | None:
    """The pairs of classes that are taken for each other most often, by checkpoint."""
    classifier, in_words = _classifier(document)
    confusions = _confusions(document, classifier)
    if not confusions:
        return None
    wrong = {
        tuple(sorted(pair))
        for found in confusions.values()
        for pair in found.counts
        if pair[0] != pair[1]
    }
    means = {}
    for a, b in wrong:
        shares = _known(found.mixed(a, b)[0] for found in confusions.values())
        if shares:
            means[a, b] = sum(shares) / len(shares)
    pairs = sorted(means, key=lambda pair: (-means[pair], pair))[:_MOST_PAIRS]
    if not pairs:
        return None
    names, colours = short_names(document), source_colours(document)
    short = short_classes([name for pair in pairs for name in pair])
    are_apart = len(confusions) <= _MOST_BARS
    marks: list[Mark] = []
    for i, (source, found) in enumerate(confusions.items()):
        aside = _aside(i, len(confusions), 0.7) if are_apart else 0.0
        placed = [(at, *found.mixed(*pair)) for at, pair in enumerate(pairs)]
        placed = [(at, share, rows) for at, share, rows in placed if not math.isnan(share)]
        bars = [_bar(share, share_interval(share, rows), 100.0) for _, share, rows in placed]
        marks.append(
            Points(
                [100.0 * share for _, share, _ in placed],
                [at + aside for at, _, _ in placed],
                names[source] if len(confusions) > 1 else "",
                colours[source] if len(confusions) > 1 else BLUE,
                x_error=bars if are_apart else (),
                size=4.0,
                names=[f"{pairs[at][0]} and {pairs[at][1]}" for at, _, _ in placed],
                hovers=[
                    _hover(names[source], " and ".join(pairs[at]), 100.0 * share, _TAKEN_FOR, ends)
                    for (at, share, _), ends in zip(placed, bars, strict=True)
                ],
                source=names[source],
            )
        )
    a, b = short_classes(pairs[0], _LETTERS).values()
    texts = [f"{short[one]} – {short[other]}" for one, other in pairs]
    x_axis = Axis(_TAKEN_FOR)
    line = 0.16 + 0.04 * min(len(confusions), _MOST_BARS)
    of_pairs = f"the {len(pairs)} pairs with the most confusion on average, of {len(means)}"
    return Figure(
        "confused_pairs",
        "The classes that are confused most",
        f"The share of the rows of both classes that the {in_words} takes for the other class, "
        f"for {'one pair' if len(means) == 1 else of_pairs}. Further left is better."
        + (" Bars are 95% intervals." if are_apart else ""),
        [Panel(marks, x_axis, axis_of_names(texts))],
        panel_size=(4.4, 1.0 + line * len(pairs)),
        finding=f"{a} and {b} are confused most: {100 * means[pairs[0]]:.1f}% of their rows are "
        f"taken for the other{' on average of the checkpoints' if len(confusions) > 1 else ''}.",
    )
