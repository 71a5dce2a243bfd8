"""What each metric is, in a sentence or two: every number of the report links here.

docs/metrics.md, docs/losses.md and docs/quality.md say it in full.
"""

from __future__ import annotations

_CURVE = "over the negatives of each anchor, weights softmax(s / τ), averaged over anchors"

DEFINITIONS: dict[str, str] = {
    "uniformity": "log of the mean of exp(−t·‖x − y‖²) over pairs of unit rows; u_stat leaves a row "
    "paired with itself out, v_stat counts it. Wang & Isola 2020; Wang & Liu 2021, eq. 10.",
    "uniformity_of_uniform_law": "what uniformity is for independent points spread evenly over the "
    "sphere of this dimension, in closed form.",
    "uniformity_gap": "uniformity less that of the uniform law: comparable between dimensions.",
    "uniformity_wasserstein": "1-Wasserstein distance between the pairwise cosines and those of the "
    "uniform sphere.",
    "tolerance": "mean cosine of pairs of one class. micro_excl: over all such pairs of different "
    "rows; macro_excl: the mean of the classes' means; micro_incl: with each row paired with itself; "
    "indicator: eq. 11 of Wang & Liu 2021 as printed.",
    "between_class_similarity": "mean cosine of pairs of different classes.",
    "tolerance_gap": "tolerance less between_class_similarity.",
    "similarity_mean": "mean cosine of a group: positives, or the l-th nearest negative of each row.",
    "similarity_std": "standard deviation of these cosines.",
    "similarity_quantile": "their quantile at q.",
    "penalty_entropy": f"entropy of the relative penalty {_CURVE}. Wang & Liu 2021, eq. 5.",
    "penalty_effective_negatives": "exponential of that entropy: how many equal negatives would "
    "spread the penalty as far. mean_exp averages exponentials, exp_mean is that of the mean.",
    "penalty_top1_share": f"share of the largest weight {_CURVE}.",
    "penalty_top10_share": f"share of the ten largest weights {_CURVE}.",
    "penalty_false_negative_share": f"weight of the anchor's own class {_CURVE}.",
    "penalty_false_negative_ratio": "that share over the one of even weights.",
    "loss": "a contrastive loss by its name, as a mean over anchors.",
    "loss_alignment": "the part of the loss that only positives are in.",
    "loss_uniformity": "the rest of the loss, which spreads rows.",
    "dcl_nscl_gap": "the decoupled loss less its supervised counterpart: what false negatives add.",
    "dcl_nscl_gap_bound": "the most that this gap can be, from class sizes. Luthra et al. 2025.",
    "a_infonce_effective_negatives": "effective number of negatives under A-InfoNCE's weights.",
    "a_infonce_false_negative_share": "weight of the anchor's own class under them.",
    "hyperspherical_energy": "mean of a kernel over pairs of one view. Koromilas et al. 2024.",
    "hyperspherical_energy_reference": "its least value where known, else that of uniform points.",
    "effective_rank": "exponential of the entropy of singular values over their sum. Roy & Vetterli "
    "2007. Rows as saved or normalised, centred or not.",
    "rankme": "effective rank with the paper's 1e-7. Garrido et al. 2023.",
    "participation_ratio": "square of the sum of eigenvalues over the sum of their squares.",
    "nesum": "sum of eigenvalues over the largest. He & Ozay 2022.",
    "stable_rank": "sum of squared singular values over the largest squared.",
    "alpha_req": "exponent of a power law through the eigenvalues. Agrawal et al. 2022.",
    "alpha_req_r_squared": "how well that line fits.",
    "isoscore": "1 where variance is alike in every direction, 0 in one. Rudman et al. 2022.",
    "condition_number": "largest singular value over the smallest; undefined where a direction holds nothing but rounding.",
    "numerical_rank": "singular values above rounding.",
    "norm_mean": "mean norm of the rows as saved.",
    "norm_std": "standard deviation of these norms.",
    "mean_cosine": "mean cosine of all pairs of different rows.",
    "near_duplicate_share": "share of rows that have another at cosine above 1 − 1e-6.",
    "hubness_skewness": "skewness of how often rows are among the k nearest of others.",
    "hubness_robin_hood": "share of these places that would have to move for all to have as many.",
    "antihub_share": "share of rows that are nobody's neighbour.",
    "alignment": "mean of ‖u − v‖^power over positives. Wang & Isola 2020.",
    "recall_at_k": "share of rows whose partner is among the k nearest of the other view.",
    "median_rank": "median rank of the partner in the other view.",
    "modality_gap": "distance between the views' mean rows. Liang et al. 2022.",
    "modality_gap_residual": "mean squared distance of partners once the gap is taken off.",
    "knn_accuracy": "share of rows whose class wins the vote of the k nearest, weighted by "
    "exp(s / temperature). Wu et al. 2018.",
    "knn_top5_accuracy": "share of rows whose class is among the five with most votes.",
    "probe_accuracy": "accuracy of multinomial logistic regression on rows it was not fitted on.",
    "probe_calibration_error": "expected calibration error of that probe, 15 bins.",
    "nc1": "tr(Σ_W Σ_B⁺) / C, spread within classes against between. Papyan et al. 2020.",
    "nc1_trace_ratio": "tr Σ_W / tr Σ_B.",
    "nc2_equinorm": "coefficient of variation of the class means' norms.",
    "nc2_equiangular": "standard deviation of the cosines of class means.",
    "nc2_maximal_angle": "mean distance of these cosines from −1 / (C − 1).",
    "nc2_etf": "distance of the class means' Gram matrix from a simplex frame's.",
    "nc2_orthogonal_frame": "its distance from an orthogonal frame's.",
    "nc3": "distance between the probe's weights and the class means, both scaled to norm 1.",
    "nc4_disagreement": "share of rows where probe and nearest class mean disagree.",
    "cdnv": "sum of two classes' variances over twice the squared distance of their means, averaged over pairs of classes; directional: the variance along the line between the means over that squared distance. Galanti et al. 2022.",
    "ncc_accuracy": "accuracy of the nearest class mean.",
    "silhouette": "mean silhouette with mean squared distances, from class sums: of unit rows (class_sum) or of rows as saved (class_sum_raw).",
    "cka": "similarity of the two checkpoints' similarity matrices, 1 where equal up to rotation and "
    "scale; linear_debiased has no bias from few rows. Kornblith et al. 2019; Song et al. 2012.",
    "neighbour_overlap": "share of the k nearest rows that are the same in both checkpoints.",
    "procrustes_residual": "mean squared distance of unit rows after the best rotation of one "
    "checkpoint onto the other.",
}
