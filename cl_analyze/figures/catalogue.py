"""All figures, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable

from cl_analyze.document import Document
from cl_analyze.figures.basics import (
    nearest_negatives_figure,
    similarity_histogram_figure,
    tolerance_figure,
    uniformity_figure,
)
from cl_analyze.figures.description import Figure
from cl_analyze.figures.losses import (
    loss_by_batch_figure,
    loss_by_temperature_figure,
    loss_gradient_figure,
)
from cl_analyze.figures.penalty import (
    penalty_curve_figure,
    penalty_curve_hard_figure,
    penalty_mass_figure,
    penalty_summary_figure,
)
from cl_analyze.figures.quality import (
    class_similarity_figure,
    hubness_figure,
    knn_figure,
    projection_figure,
    spectrum_figure,
)
from cl_analyze.figures.runs import movement_figure, run_figure
from cl_analyze.figures.trade_off import difference_figure, trade_off_figure

FIGURES: dict[str, Callable[[Document], Figure | None]] = {
    "trade_off": trade_off_figure,
    "along_the_run": run_figure,
    "differences": difference_figure,
    "movement": movement_figure,
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
    "spectrum": spectrum_figure,
    "projection": projection_figure,
    "knn_accuracy": knn_figure,
    "class_similarity": class_similarity_figure,
    "hubness": hubness_figure,
}

OF_SEVERAL = ("trade_off", "along_the_run", "differences", "movement")


def draw(document: Document) -> list[Figure]:
    """Every figure that the document has the numbers for, in the order of the report.

    Of a comparison, those of several checkpoints alone: `report` has those of each.
    """
    names = OF_SEVERAL if document.command == "compare" else tuple(FIGURES)
    found = [FIGURES[name](document) for name in names]
    return [figure for figure in found if figure is not None and figure.panels]
