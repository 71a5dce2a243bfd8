"""All figures, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable

from cl_analyze.figures import (
    all_pairs,
    basics,
    losses,
    penalty,
    quality,
    runs,
    separation,
    trade_off,
)
from cl_analyze.figures.description import Figure
from cl_analyze.results.document import Document

OF_SEVERAL: dict[str, Callable[[Document], Figure | None]] = {
    "trade_off": trade_off.trade_off_figure,
    "along_the_run": runs.run_figure,
    "differences": trade_off.difference_figure,
    "movement": runs.movement_figure,
    "compare_matrix": all_pairs.matrix_figure,
}
"""The figures of a comparison, which show several checkpoints together."""
FIGURES: dict[str, Callable[[Document], Figure | None]] = {
    **OF_SEVERAL,
    "uniformity": basics.uniformity_figure,
    "tolerance": basics.tolerance_figure,
    "nearest_negatives": basics.nearest_negatives_figure,
    "similarity_histogram": basics.similarity_histogram_figure,
    "separation": separation.separation_figure,
    "thresholds": separation.threshold_figure,
    "penalty_curve": penalty.penalty_curve_figure,
    "penalty_curve_hard": penalty.penalty_curve_hard_figure,
    "penalty_mass": penalty.penalty_mass_figure,
    "penalty_summary": penalty.penalty_summary_figure,
    "loss_by_temperature": losses.loss_by_temperature_figure,
    "loss_by_batch": losses.loss_by_batch_figure,
    "loss_gradient": losses.loss_gradient_figure,
    "spectrum": quality.spectrum_figure,
    "projection": quality.projection_figure,
    "knn_accuracy": quality.knn_figure,
    "class_similarity": quality.class_similarity_figure,
    "hubness": quality.hubness_figure,
}


def figures_of(document: Document) -> dict[str, Callable[[Document], Figure | None]]:
    """The functions of the figures that a document may have, by name."""
    return OF_SEVERAL if document.command == "compare" else FIGURES


def draw(document: Document) -> list[Figure]:
    """Every figure that the document has the numbers for, in the order of the report.

    A comparison has the figures of `OF_SEVERAL` alone: `report` draws the others.
    """
    figures = [function(document) for function in figures_of(document).values()]
    return [figure for figure in figures if figure is not None and figure.panels]
