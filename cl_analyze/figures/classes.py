"""Classes in figures: which are shown, in which order, and by which short names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cl_analyze.figures import measures
from cl_analyze.figures.sources import natural_order
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import shortened

MOST_CLASSES = 40
"""Classes up to which all are shown where each has a row and a column."""
MOST_WORST = 20
"""Classes that are shown where there are more: the worst."""
MOST_NUMBERS = 12
"""Rows and columns up to which cells hold their numbers."""


def short_classes(names: Sequence[str], most: int = 16) -> dict[str, str]:
    """Texts for axes and legends: see `shortened`."""
    unique = list(dict.fromkeys(names))
    return dict(zip(unique, shortened(unique, most), strict=True))


def best_first(document: Document) -> list[str]:
    """Checkpoints in their order, the one of the highest accuracy first.

    The accuracy is the linear probe's, or kNN's where there is no probe.
    """
    sources = natural_order(document)
    for accuracy in reversed(measures.accuracies(document)):
        best = max(accuracy.records, key=lambda record: record.value or 0.0).source
        return [best, *(source for source in sources if source != best)]
    return sources


def in_order(document: Document, source: str, classes: Sequence[str]) -> list[str]:
    """Classes, those that are similar in a checkpoint side by side."""
    places = {
        str(row["class"]): int(str(row["order"]))
        for row in document.rows("quality_by_class", source=source)
    }
    return sorted(classes, key=lambda name: (places.get(name, len(places) + 1), name))


def worst(values: Mapping[str, Sequence[float]], most: int) -> list[str]:
    """The names with the lowest means, the lowest first; those of equal means by name."""
    known = {name: own for name, own in values.items() if own}
    return sorted(known, key=lambda name: (sum(known[name]) / len(known[name]), name))[:most]
