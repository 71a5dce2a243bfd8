"""Which numbers go along with accuracy over the checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cl_analyze.figures.colours import BLUE, GREY
from cl_analyze.figures.description import Axis, Figure, Mark, Panel, Points, Rule
from cl_analyze.figures.marks import Rows, axis_of_names, true_minus
from cl_analyze.metrics.correlation import ACCURACIES
from cl_analyze.results.document import Document
from cl_analyze.results.similarity_groups import POSITIVE, negative_group
from cl_analyze.results.tables import Cell

FEWEST = 4
"""Checkpoints from which on a correlation is drawn."""


def correlation_figure(document: Document) -> Figure | None:
    """Rank correlation of each headline number with each accuracy, a panel for each accuracy."""
    rows = [
        row
        for row in document.rows("metric_correlation")
        if row["spearman"] is not None and int(str(row["n"])) >= FEWEST
    ]
    if not rows:
        return None
    if any(row["metric_a"] == "uniformity" for row in rows):  # less a constant, as a rule
        rows = [row for row in rows if row["metric_a"] != "uniformity_gap"]
    listed = list(dict.fromkeys(_name(row, "a") for row in rows))
    strength = {
        name: [abs(_rho(row)) for row in rows if _name(row, "a") == name] for name in listed
    }
    listed.sort(key=lambda name: (-max(strength[name]), name))
    y_axis = axis_of_names(listed)
    x_axis = Axis(
        "rank correlation",
        ticks=((-1.0, "−1"), (0.0, "0"), (1.0, "1")),
        limits=(-1.05, 1.05),
    )
    panels = []
    for accuracy in dict.fromkeys(_name(row, "b") for row in rows):
        own = [row for row in rows if _name(row, "b") == accuracy]
        panels.append(Panel(_marks(own, listed), x_axis, y_axis, accuracy))
    return Figure(
        "metric_correlation",
        "Which numbers are correlated with accuracy",
        f"Spearman's rank correlation with an accuracy over {_counts(rows)} checkpoints; bars "
        "are 95% intervals. At 1 a number orders the checkpoints as the accuracy does, at −1 in "
        "the reverse order. Hollow: the interval contains 0. Checkpoints of one sweep say "
        "little about other checkpoints, and a number that is correlated with accuracy need not "
        "be its cause.",
        panels,
        columns=min(len(panels), 2),
        share_y=True,
        panel_size=(2.3 if len(panels) > 1 else 4.2, 0.9 + 0.2 * len(listed)),
        finding=_strongest(rows),
    )


def _strongest(rows: Rows) -> str:
    """The number that goes along most with an accuracy of classes, else with another accuracy."""
    of_classes = [row for row in rows if row["metric_b"] in _OF_CLASSES]
    known = [row for row in of_classes or rows if row["metric_a"] not in ACCURACIES]
    row = max(known or rows, key=lambda row: abs(_rho(row)))
    rho = f"{_rho(row):.2f}".replace("-", "−")
    certain = "" if _is_clear(row) else ", with an interval that contains 0"
    return (
        f"Over {row['n']} checkpoints {_name(row, 'a')} has the strongest correlation with "
        f"{_name(row, 'b')}: rank correlation {rho}{certain}."
    )


_OF_CLASSES = ("knn_accuracy", "probe_accuracy")


def _rho(row: Mapping[str, Cell]) -> float:
    return float(row["spearman"] or 0.0)


def _counts(rows: Rows) -> str:
    """The number of checkpoints; the fewest and the most where rows differ."""
    counts = sorted({int(str(row["n"])) for row in rows})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _name(row: Mapping[str, Cell], side: str) -> str:
    """A number in words, with its parameters."""
    params = json.loads(str(row[f"params_{side}"] or "{}"))
    words = [
        f"{_SYMBOLS.get(key, key)} {value:g}"
        if isinstance(value, float)
        else f"{_SYMBOLS.get(key, key)} {value}"
        for key, value in params.items()
        if key not in _NOT_TOLD
    ]
    metric = str(row[f"metric_{side}"])
    if metric == "similarity_mean":
        return _GROUPS.get(str(params.get("group")), f"similarity, {params.get('group')}")
    name = _WORDS.get(metric, metric.removeprefix("penalty_").replace("_", " "))
    return ", ".join([name, *words])


_GROUPS = {POSITIVE: "positive", negative_group(1): "nearest negative"}
_WORDS = {
    "knn_accuracy": "kNN accuracy",
    "recall_at_k": "recall",
    "probe_accuracy": "linear probe",
    "between_class_similarity": "between classes",
}
_SYMBOLS = {"tau": "τ"}
_NOT_TOLD = ("direction", "temperature", "t", "against", "power")
"""Parameters that tell no two headline numbers apart."""


def _marks(rows: Rows, listed: list[str]) -> list[Mark]:
    """The correlations of one accuracy; hollow where they are not established."""
    marks: list[Mark] = [Rule("", x=0.0, colour=GREY)]
    for is_clear, label in ((True, "interval without 0"), (False, "interval contains 0")):
        own = [row for row in rows if _is_clear(row) == is_clear]
        if not own:
            continue
        bars = [(_rho(row) - _end(row, "low"), _end(row, "high") - _rho(row)) for row in own]
        marks.append(
            Points(
                [_rho(row) for row in own],
                [float(listed.index(_name(row, "a"))) for row in own],
                label,
                BLUE if is_clear else GREY,
                x_error=bars,
                size=4.5,
                hollow=not is_clear,
                hovers=[
                    true_minus(
                        f"{_name(row, 'a')} with {_name(row, 'b')} · {_rho(row):.2f} · 95% "
                        f"{_end(row, 'low'):.2f} to {_end(row, 'high'):.2f}"
                    )
                    for row in own
                ],
            )
        )
    return marks


def _end(row: Mapping[str, Cell], side: str) -> float:
    """An end of the interval; the correlation itself where there is none."""
    return _rho(row) if row[side] is None else float(row[side] or 0.0)


def _is_clear(row: Mapping[str, Cell]) -> bool:
    """Whether an interval leaves 0 out."""
    if row["low"] is None or row["high"] is None:
        return False
    return _end(row, "low") > 0.0 or _end(row, "high") < 0.0
