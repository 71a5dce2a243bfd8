"""How far the confidence of the linear probe can be trusted."""

from __future__ import annotations

from cl_analyze.figures.classes import best_first
from cl_analyze.figures.colours import BLUE
from cl_analyze.figures.description import Axis, Figure, Line, Mark, Panel, Points, Steps
from cl_analyze.figures.marks import Rows, one_record, read_column, value_of
from cl_analyze.figures.sources import short_names
from cl_analyze.results.document import Document
from cl_analyze.results.stats import share_interval

_MOST_ON_PAPER = 4
_LEAST_SHARE = 0.01
"""Of the rows that a bin has, to be drawn: accuracies of a few rows are noise."""
_FORMS = ("normalised", "raw")


def reliability_figure(document: Document) -> Figure | None:
    """Accuracy of the probe against its confidence, and how many rows have each confidence."""
    known = {row["definition"] for row in document.rows("probe_calibration")}
    form = next((form for form in _FORMS if form in known), None)
    if form is None:
        return None
    names = short_names(document)
    errors = document.records("probe_calibration_error", form)
    panels: list[Panel] = []
    found = {}
    for source in best_first(document):
        rows = document.rows("probe_calibration", source=source, definition=form)
        if not rows:
            continue
        record = one_record(errors, source)
        title = names[source]
        if record is not None:
            found[source] = value_of(record)
            title += f", ECE {found[source]:.3f}"
        panels.append(
            Panel(
                _marks(rows, names[source]),
                Axis("confidence of the probe", limits=(0.0, 1.0)),
                Axis("accuracy", limits=(0.0, 1.03)),
                title,
                source=names[source],
                is_minor=len(panels) >= _MOST_ON_PAPER,
            )
        )
    finding = ""
    if found:
        best, poorest = min(found, key=lambda s: found[s]), max(found, key=lambda s: found[s])
        finding = (
            f"Confidence and accuracy of the probe differ by {found[best]:.3f} on average."
            if len(found) == 1
            else f"Confidence and accuracy of the probe differ by {found[best]:.3f} "
            f"({names[best]}) to {found[poorest]:.3f} ({names[poorest]}) on average."
        )
    return Figure(
        "reliability",
        "Reliability of the linear probe",
        "Accuracy of the probe at each confidence. On the dashed line accuracy equals "
        "confidence; below it the probe is overconfident. ECE is the mean distance between "
        "accuracy and confidence over the rows. Grey: the share of the rows with this "
        "confidence; bins with less than 1% of the rows have no point. Bars are 95% intervals.",
        panels,
        columns=min(len(panels), 2),
        choice="checkpoint" if len(panels) > 1 else "",
        panel_size=(4.2, 3.4) if len(panels) == 1 else (2.3, 2.2),
        finding=finding,
    )


def _marks(rows: Rows, name: str) -> list[Mark]:
    """Accuracies with their intervals, and the shares of the rows, of one checkpoint."""
    n_rows = sum(read_column(rows, "rows"))
    # every bin of the same width, also those without rows
    width = float(rows[0]["bin_right"] or 0.0) - float(rows[0]["bin_left"] or 0.0)
    n_bins = round(1.0 / width)
    shares = [0.0] * n_bins
    for row in rows:
        shares[round(float(row["bin_left"] or 0.0) / width)] = float(row["rows"] or 0) / n_rows
    edges = [i / n_bins for i in range(n_bins + 1)]
    kept = [row for row in rows if float(row["rows"] or 0) >= _LEAST_SHARE * n_rows]
    xs, ys = read_column(kept, "mean_confidence"), read_column(kept, "accuracy")
    sizes = read_column(kept, "rows")
    bars = []
    for y, n in zip(ys, sizes, strict=True):
        low, high = share_interval(y, n)
        bars.append((max(y - low, 0.0), max(high - y, 0.0)))
    hovers = [
        f"{name}: {n:.0f} rows, confidence {100 * x:.1f}%, {100 * y:.1f}% right"
        for x, y, n in zip(xs, ys, sizes, strict=True)
    ]
    return [
        Steps(edges, shares, "share of the rows", "#cfcfcf", filled=True, source=name),
        Line([0.0, 1.0], [0.0, 1.0], "perfect", "#444444", "dashed", width=1.1),
        Line(xs, ys, "", BLUE, width=1.2, source=name),
        Points(xs, ys, "the probe", BLUE, y_error=bars, size=3.5, hovers=hovers, source=name),
    ]
