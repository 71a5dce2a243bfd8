"""All figures, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable

from cl_analyze.document import Document
from cl_analyze.figures.basics import (
    against_temperature_figure,
    nearest_negatives_figure,
    penalty_curve_figure,
    penalty_curve_hard_figure,
    penalty_mass_figure,
    penalty_summary_figure,
    similarity_histogram_figure,
    tolerance_figure,
    trade_off_figure,
    uniformity_figure,
)
from cl_analyze.figures.description import Figure
from cl_analyze.figures.losses import (
    loss_by_batch_figure,
    loss_by_temperature_figure,
    loss_gradient_figure,
)
from cl_analyze.figures.quality import (
    class_similarity_figure,
    hubness_figure,
    knn_figure,
    projection_figure,
    spectrum_figure,
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
    "spectrum": spectrum_figure,
    "projection": projection_figure,
    "knn_accuracy": knn_figure,
    "class_similarity": class_similarity_figure,
    "hubness": hubness_figure,
}


def draw(document: Document) -> list[Figure]:
    """Every figure that the document has the numbers for, in the order of the report."""
    found = [function(document) for function in FIGURES.values()]
    return [figure for figure in found if figure is not None and figure.panels]
