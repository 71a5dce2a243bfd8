"""All figures, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable

from cl_analyze.figures import (
    all_pairs,
    basics,
    calibration,
    class_histogram,
    correlation,
    entropy,
    losses,
    penalty,
    plane,
    projection,
    quality,
    retrieval,
    runs,
    separation,
    trade_off,
    where_it_fails,
)
from cl_analyze.figures.description import Figure
from cl_analyze.results.document import Document

Function = Callable[[Document], Figure | None]
OF_SEVERAL: dict[str, Function] = {
    "trade_off": trade_off.trade_off_figure,
    "alignment_uniformity": plane.alignment_uniformity_figure,
    "along_the_run": runs.along_the_run_figure,
    "against_temperature": runs.against_temperature_figure,
    "metric_correlation": correlation.correlation_figure,
    "differences": trade_off.difference_figure,
    "movement": runs.movement_figure,
    "compare_matrix": all_pairs.matrix_figure,
}
"""The figures of a comparison, which show several checkpoints together."""
SECTIONS: dict[str, dict[str, Function]] = {
    "Which checkpoint": OF_SEVERAL,
    "What it is good for": {
        "knn_accuracy": quality.knn_figure,
        "recall_curve": retrieval.recall_figure,
        "separation": separation.separation_figure,
        "thresholds": separation.threshold_figure,
    },
    "Where it fails": {
        "confusion": where_it_fails.confusion_figure,
        "class_accuracy": where_it_fails.class_accuracy_figure,
        "confused_pairs": where_it_fails.confused_pairs_figure,
        "class_similarity": quality.class_similarity_figure,
        "reliability": calibration.reliability_figure,
        "hubness": quality.hubness_figure,
    },
    "The space": {
        "uniformity": basics.uniformity_figure,
        "tolerance": basics.tolerance_figure,
        "spectrum": quality.spectrum_figure,
        "projection": projection.projection_figure,
    },
    "Positives and negatives": {
        "nearest_negatives": basics.nearest_negatives_figure,
        "similarity_histogram": basics.similarity_histogram_figure,
        "class_histogram": class_histogram.class_histogram_figure,
    },
    "Temperature and losses": {
        "penalty_curve": penalty.penalty_curve_figure,
        "penalty_curve_hard": penalty.penalty_curve_hard_figure,
        "penalty_mass": penalty.penalty_mass_figure,
        "penalty_summary": penalty.penalty_summary_figure,
        "penalty_entropy": entropy.entropy_figure,
        "loss_by_temperature": losses.loss_by_temperature_figure,
        "loss_by_batch": losses.loss_by_batch_figure,
        "loss_gradient": losses.loss_gradient_figure,
    },
}
"""Question -> the figures that answer it, by name, in the order of the report."""
FIGURES: dict[str, Function] = {
    name: function for section in SECTIONS.values() for name, function in section.items()
}


def figures_of(document: Document) -> dict[str, Function]:
    """The functions of the figures that a document may have, by name."""
    return OF_SEVERAL if document.command == "compare" else FIGURES


def draw(document: Document) -> list[Figure]:
    """Every figure that the document has the numbers for, in the order of the report.

    A comparison has the figures of `OF_SEVERAL` alone: `report` draws the others.
    """
    figures = [function(document) for function in figures_of(document).values()]
    return [figure for figure in figures if figure is not None and figure.panels]
