"""The tables: their columns in order, the meaning and the unit of each.

The modules that fill a table take its columns from here, and docs/tables.md is generated from here.
Tables of numbers (uniformity, quality ...) have the columns of `RECORD` and `PARAMETERS` instead.

>>> columns_of("threshold")
('source', 'threshold', 'true_positive_rate', 'false_positive_rate')
"""

from __future__ import annotations

from cl_analyze.results.columns import (
    CLASS,
    EXACT,
    FALSE_POSITIVE_RATE,
    ID,
    LOSS,
    NEGATIVE_FRACTION,
    PREDICTION_BINS,
    REFERENCE,
    ROW,
    ROW_IN_FILE,
    SIMILARITY,
    SOURCE,
    STD_ERROR,
    TAU,
    TRUE_POSITIVE_RATE,
    Column,
    Columns,
    K,
)
from cl_analyze.results.declared_comparisons import COMPARISONS

TABLES: dict[str, Columns] = {
    "tolerance_by_class": Columns(
        "a class",
        {
            "source": SOURCE,
            "class": CLASS,
            "n": Column("rows of the class", "count"),
            "tolerance": Column("mean similarity of the pairs of the class", "cosine"),
            "std_error": STD_ERROR,
            "between_class_similarity": Column(
                "mean similarity of the rows of the class to rows of other classes", "cosine"
            ),
        },
        "with labels",
    ),
    "similarity_histogram": Columns(
        "a bin of similarity, for each group of pairs",
        {
            "source": SOURCE,
            "group": Column(
                "which pairs: `positive`, `negative_1` (an anchor and its nearest negative) ..., "
                "`all`, `same_class`, `other_class`; `uniform_law`: uniform points"
            ),
            "bin_left": Column("lower edge of the bin", "cosine"),
            "bin_right": Column("upper edge of the bin", "cosine"),
            "count": Column("pairs in the bin; empty for `uniform_law`", "count"),
            "density": Column("share of the pairs in the bin, divided by its width", "1 / cosine"),
            "exact": EXACT,
        },
    ),
    "similarity_reference": Columns(
        "a rank of the nearest negatives, as uniform points or chance would have it", REFERENCE
    ),
    "threshold": Columns(
        "a threshold on the similarity",
        {
            "source": SOURCE,
            "threshold": Column("threshold on the similarity", "cosine"),
            "true_positive_rate": TRUE_POSITIVE_RATE,
            "false_positive_rate": FALSE_POSITIVE_RATE,
        },
        "with views, pairs or labels",
    ),
    "operating_points": Columns(
        "an operating point: the equal error rate, or a false-positive rate",
        {
            "source": SOURCE,
            "point": Column("`equal_error_rate` or `tpr_at_fpr`"),
            "fpr": Column("the false-positive rate that was asked for; else empty", "share"),
            "threshold": Column("threshold on the similarity", "cosine"),
            "true_positive_rate": TRUE_POSITIVE_RATE,
            "false_positive_rate": FALSE_POSITIVE_RATE,
        },
        "with views, pairs or labels",
    ),
    "suspects": Columns(
        "a pair of an anchor and a negative that may be a false one, the nearest first",
        {
            "source": SOURCE,
            "row": ROW_IN_FILE,
            "other_row": Column("position of the negative in its file, from 0"),
            "row_id": ID,
            "other_id": Column("id of the negative; empty where there are no ids"),
            "similarity": Column("similarity of the two rows", "cosine"),
            "positive_similarity": Column("similarity of the anchor and its positive", "cosine"),
            "relative_margin": Column("`similarity` divided by `positive_similarity`", "ratio"),
            "same_class": Column("`true`: both rows have the same label; empty without labels"),
        },
        "with views, pairs or labels, where there are suspects",
    ),
    "penalty_curve": Columns(
        "a bin of similarity, for each temperature",
        {
            "source": SOURCE,
            "tau": TAU,
            "similarity": SIMILARITY,
            "relative_penalty": Column(
                "relative penalty of a negative in the centre of the bin, mean over anchors; an "
                "anchor's negatives sum to 1"
            ),
            "relative_penalty_exact": Column("`true`: every row was an anchor of the penalty"),
            "penalty_mass": Column("share of the penalty on the negatives in this bin", "share"),
            "negative_fraction": NEGATIVE_FRACTION,
            "penalty_mass_exact": Column("`true`: every row was an anchor of the mass"),
        },
    ),
    "penalty_curve_hard": Columns(
        "a bin of similarity, for each temperature, when an anchor keeps its hardest negatives",
        {
            "source": SOURCE,
            "tau": TAU,
            "hard_alpha": Column("share of the negatives that an anchor keeps", "share"),
            "similarity": SIMILARITY,
            "relative_penalty": Column(
                "relative penalty of a negative in the centre of the bin, mean over anchors; 0 for "
                "anchors that do not keep it"
            ),
            "penalty_mass": Column("share of the penalty on the negatives in this bin", "share"),
            "negative_fraction": NEGATIVE_FRACTION,
            "exact": EXACT,
        },
        "for `penalty --hard-alpha`",
    ),
    "penalty_reference": Columns(
        "a statistic of the penalty at a temperature, for uniform points of the same size",
        REFERENCE,
    ),
    "loss_limits": Columns(
        "the contrastive loss at a temperature, beside its two limits",
        {
            **LOSS,
            "loss": Column("the loss", "nats"),
            "small_tau": Column("its limit for small temperatures: triplet / τ", "nats"),
            "large_tau": Column(
                "its expansion for large temperatures: log N plus a first-order term", "nats"
            ),
        },
        "with views or pairs",
    ),
    "loss_gradient_totals": Columns(
        "a loss at a temperature",
        {
            **LOSS,
            "positive": Column("mean pull on the positive, −∂L/∂s"),
            "negatives": Column("mean push on the negatives together, Σ ∂L/∂s"),
        },
        "with views or pairs",
    ),
    "loss_gradient": Columns(
        "a bin of similarity, for each loss and temperature; bins without negatives are left out",
        {
            **LOSS,
            "similarity": SIMILARITY,
            "gradient_share": Column("share of the push on the negatives in this bin", "share"),
            "negative_fraction": NEGATIVE_FRACTION,
            "exact": EXACT,
        },
        "with views or pairs",
    ),
    "loss_batch": Columns(
        "a loss at a temperature and a batch size",
        {
            **LOSS,
            "batch_size": Column("pairs in a batch", "count"),
            "loss": Column("mean loss of random batches", "nats"),
            "std_error": STD_ERROR,
            "sampling_error": Column("standard error from the drawing of the batches", "nats"),
            "log_count": Column("logarithm of the number of terms under the logarithm", "nats"),
            "normalised": Column("`loss` − `log_count`", "nats"),
            "limit": Column("value of `normalised` for all rows as one batch", "nats"),
            "converged": Column("`true`: `normalised` is near `limit`"),
        },
        "with `--batch-sizes`",
    ),
    "spectrum": Columns(
        "a singular value, for each of four versions of the rows",
        {
            "source": SOURCE,
            "definition": Column("version of the rows: `raw` or `normalised`, and `_centred`"),
            "rank": Column("rank of the singular value, from 1"),
            "singular_value": Column("singular value of the matrix of rows"),
            "eigenvalue": Column("eigenvalue of the second-moment matrix or the covariance"),
            "explained": Column("share of the sum of squares", "share"),
            "cumulative": Column("share of this and all larger ones", "share"),
        },
    ),
    "collapse": Columns(
        "a checkpoint",
        {
            "source": SOURCE,
            "verdict": Column("`none`, `partial`, `dimensional`, `complete` or `unknown`"),
            "possible_directions": Column("min(D, N − 1)", "dimensions"),
            "directions_above_rounding": Column(
                "directions whose variance is more than rounding", "dimensions"
            ),
            "directions_for_99_percent": Column(
                "directions that hold 99% of the variance", "dimensions"
            ),
            "effective_rank": Column("effective rank of the centred unit rows", "dimensions"),
            "mean_cosine": Column("mean similarity of all pairs", "cosine"),
            "text": Column("the verdict as a sentence"),
        },
    ),
    "hubs": Columns(
        "a row that is among the nearest of many others, for each k",
        {
            "source": SOURCE,
            "k": K,
            "row": ROW,
            "class": CLASS,
            "in_degree": Column("rows that have it among their k nearest", "count"),
            "row_id": ID,
        },
    ),
    "hubness_histogram": Columns(
        "a range of in-degrees, for each k",
        {
            "source": SOURCE,
            "k": K,
            "in_degree_from": Column("least in-degree of the range", "count"),
            "in_degree_to": Column("greatest in-degree of the range", "count"),
            "rows": Column("rows with such an in-degree", "count"),
            "rows_if_random": Column("rows to expect if neighbours were drawn at random", "count"),
        },
    ),
    "near_duplicates": Columns(
        "a pair of rows with nearly the same direction, the nearest first",
        {
            "source": SOURCE,
            "row": ROW,
            "other_row": Column("position of the other row, counted in the same way"),
            "class": CLASS,
            "other_class": Column("class of the other row"),
            "cosine": Column("similarity of the two rows", "cosine"),
            "row_id": ID,
            "other_id": Column("id of the other row; empty where there are no ids"),
        },
        "where there are such pairs",
    ),
    "quality_by_class": Columns(
        "a class",
        {
            "source": SOURCE,
            "class": CLASS,
            "n": Column("rows of the class", "count"),
            "order": Column("place in the order that puts similar classes side by side"),
            "tolerance": Column("mean similarity of the pairs of the class", "cosine"),
            "uniformity": Column("uniformity (t = 2) of the rows of the class", "nats"),
            "variance": Column("variance of the unit rows of the class", "squared distance"),
            "silhouette": Column("mean silhouette of the rows of the class"),
            "ncc_accuracy": Column("accuracy of the nearest class mean", "share"),
            "knn_accuracy": Column("accuracy of the vote of the nearest neighbours", "share"),
            "probe_accuracy": Column("accuracy of the linear probe", "share"),
            "probe_rows": Column("rows of the class that the probe was tested on", "count"),
            "alignment": Column("mean distance of positives, to the chosen power"),
            "closest_class": Column("class that it shares most neighbours with"),
            "closest_share": Column("share of its neighbours that are of that class", "share"),
        },
        "with labels",
    ),
    "class_pairs": Columns(
        "a pair of classes, those that share most neighbours first; then each class with itself",
        {
            "source": SOURCE,
            "class_a": CLASS,
            "class_b": Column("name of the other class"),
            "similarity": Column("mean similarity of their rows", "cosine"),
            "cdnv": Column("class-distance normalised variance; empty for a class with itself"),
            "neighbours_a_in_b": Column("share of the neighbours of a that are of b", "share"),
            "neighbours_b_in_a": Column("share of the neighbours of b that are of a", "share"),
        },
        "with labels",
    ),
    "confusion": Columns(
        "a class and a class that it is taken for",
        {
            "source": SOURCE,
            "classifier": Column("`probe_raw`, `probe_normalised`, or `knn_` and its k"),
            "class": CLASS,
            "predicted": Column("class that the classifier says"),
            "rows": Column("rows of `class` that it says so of", "count"),
            "share": Column("their share of the tested rows of `class`", "share"),
        },
        "with labels",
    ),
    "probe": Columns(
        "a fit of the linear probe, and all folds together",
        {
            "source": SOURCE,
            "definition": Column("`raw`: rows as saved; `normalised`: unit rows"),
            "fold": Column("number of the fold, from 1; `all`: every fold together"),
            "accuracy": Column("share of test rows that are right", "share"),
            "low": Column("lower end of the 95% interval of the accuracy", "share"),
            "high": Column("upper end of the 95% interval of the accuracy", "share"),
            "log_loss": Column("mean −log probability of the right class", "nats"),
            "calibration_error": Column("expected calibration error", "share"),
            "n_train": Column("rows that the probe was fitted to", "count"),
            "n_validation": Column("rows that chose the penalty", "count"),
            "n_test": Column("rows that it was tested on", "count"),
            "n_classes": Column("classes", "count"),
            "split": Column("how rows were split, in words"),
            "seed": Column("seed of the split"),
            "penalty": Column("weight of the squared coefficients, for the mean loss"),
            "c": Column("the same as scikit-learn's C: 1 / (`penalty` × `n_train`)"),
            "validation_log_loss": Column("log loss on the validation rows", "nats"),
            "validation_accuracy": Column("accuracy on the validation rows", "share"),
            "iterations": Column("steps of the optimiser", "count"),
            "converged": Column("`true`: the optimiser stopped by itself"),
        },
        "with labels",
    ),
    "probe_calibration": Columns(
        "a bin of confidence of the linear probe",
        {
            "source": SOURCE,
            "definition": Column("`raw`: rows as saved; `normalised`: unit rows"),
            **PREDICTION_BINS,
            "rows": Column("test rows in the bin", "count"),
            "mean_confidence": Column("mean probability of the predicted class", "share"),
            "accuracy": Column("share of them that are right", "share"),
        },
        "with labels",
    ),
    "projection": Columns(
        "a point of the two-dimensional map",
        {
            "source": SOURCE,
            "method": Column("method of the map: `tsne`, `umap` or `pca`"),
            "tower": Column("2 for rows of the file of `--pairs`, else 1"),
            "row": ROW_IN_FILE,
            "id": ID,
            "class": CLASS,
            "x": Column("first coordinate"),
            "y": Column("second coordinate"),
            "explained_x": Column("share of the variance along x, for `pca`; else empty", "share"),
            "explained_y": Column("share of the variance along y, for `pca`; else empty", "share"),
            "neighbours": Column("positions of the nearest rows in the file, nearest first"),
        },
    ),
    "variants": Columns(
        "a coordinate of a variant, with what was fitted to the rows",
        {
            "source": SOURCE,
            "original": Column("name of the checkpoint that it is a variant of"),
            "variant": Column("name of the variant"),
            "coordinate": Column("number of the coordinate or axis, from 0"),
            "centre": Column("what it is reduced by: its mean, for int8 its least value"),
            "scale": Column("what it is divided by: its deviation, for int8 a step; 1 for centre"),
        },
        "with `--transform` or `--quantise int8`",
    ),
    **COMPARISONS,
}
"""Every table that is no table of numbers, in the order of the documentation."""


def columns_of(table: str) -> tuple[str, ...]:
    """The columns of a table, in order."""
    return tuple(TABLES[table].columns)
