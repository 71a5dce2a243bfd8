"""The Python API: analyze, compare, and one function for each metric family.

Options are declared in `cl_analyze.options`.  The decorator `with_options` adds their keywords,
defaults and descriptions to these functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.analysis.report import Report
from cl_analyze.analysis.run import families, run_analysis, uniform_penalty
from cl_analyze.comparison import run_comparison
from cl_analyze.errors import ConfigError
from cl_analyze.inputs.progress import Asked, listening
from cl_analyze.options import CompareOptions, MetricOptions, Request, RunOptions
from cl_analyze.options.declaration import split_by_class, with_options
from cl_analyze.options.request import SETTINGS
from cl_analyze.results.tables import Record, Results

_DECLARING = (Request, MetricOptions)
_FOR_ALL = ("class_names", "queue", "clop_anchors", *SETTINGS)
"""Companions whose list is no list with one for each checkpoint."""


@with_options(_DECLARING, without=("n_negatives",))
def analyze(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    metrics: Iterable[str] | str = ("uniformity", "tolerance", "similarity", "penalty"),
    source: str | None = None,
    run: RunOptions | None = None,
    executor: Any = None,
    progress: Asked = False,
    **options: Any,
) -> Report:
    """Compute metrics of saved embeddings, in one blocked pass over the pairs of rows.

    Args:
        embeddings: (N, D) array, torch tensor, or path (PATH or PATH::KEY); (N, V, D) for V views
            of each row; a list of paths for several checkpoints.  A table (DataFrame of pandas or
            polars, Table of Arrow, Dataset of Hugging Face, AnnData) stands for its only column of
            vectors; (table, column) names the column, (table, [columns]) those of the dimensions.
        labels: (N,) classes as an array or a path; None: the labels in the embeddings' file.  With
            a table, the name of a column; so too for pairs, groups and ids.
        pairs: (N, D) partners of the rows as an array or a path; None: the views in the file.
            With `relevant`, (M, D) items of any number.
        metrics: names of metric families, or "all".
        source: name of the checkpoint in the output.
        {options}
        run: device, precision, threads, memory, folder for resuming.
        executor: a `concurrent.futures` executor or a Dask client; None: threads.  If it uses other
            processes or machines, pass embeddings as a path that they can read.
        progress: True for bars on stderr or in the notebook, with notes and warnings; or a function
            that is called with a `Progress`; an exception in it stops the run.

    Returns:
        A Report: `.results` (DataFrame), `.records`, `.tables`, `.save(folder)`.

    Raises:
        DataError: the inputs cannot be used, or lack data that a metric needs.
        ConfigError: an option has an invalid value.

    Cost: time O(N^2 D), memory O(N (top_k + taus) + block^2 threads).

    >>> import numpy as np
    >>> report = analyze(np.eye(64), metrics="uniformity")
    >>> round(report.records.find("uniformity").value, 9)    # orthogonal rows: -2t
    -4.0
    """
    companions, metric_options = split_by_class(options, *_DECLARING)
    companions.update(labels=labels, pairs=pairs)
    if _are_paths(embeddings):
        for_each = _one_each(companions, len(embeddings))
        requests = [
            Request(z, **own_companions)
            for z, own_companions in zip(embeddings, for_each, strict=True)
        ]
    else:
        requests = [Request(embeddings, source=source, **companions)]
    with listening(progress) as listener:
        return run_analysis(
            requests,
            families(metrics),
            MetricOptions(**metric_options),
            run or RunOptions(),
            "report",
            executor,
            listener,
        )


def _one_each(companions: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Companions of n checkpoints, from companions with one value for each or one for all."""
    for_each: list[dict[str, Any]] = [{} for _ in range(n)]
    for name, companion in companions.items():
        values = [companion] * n
        is_shared = name in _FOR_ALL
        if name == "relevant":  # a list of other things is a relation
            is_shared = not _are_paths(companion)
        if isinstance(companion, list | tuple) and len(companion) == n and not is_shared:
            values = list(companion)
            if not all(isinstance(item, str | Path) or np.ndim(item) > 0 for item in values):
                raise ConfigError(
                    f"{name}: give one for all checkpoints, or a list with one for each"
                )
        for own_companions, value in zip(for_each, values, strict=True):
            own_companions[name] = value
    return for_each


def _are_paths(given: Any) -> bool:
    is_list = isinstance(given, list | tuple)
    return is_list and all(isinstance(item, str | Path) for item in given)


def uniformity(
    embeddings: Any,
    t: float = 2.0,
    *,
    run: RunOptions | None = None,
    progress: Asked = False,
) -> Record:
    """Log of the mean Gaussian potential, log mean over i != j of exp(-t |x_i - x_j|^2), in nats.

    Rows are put on the unit sphere first.  More negative is more uniform.

    Args:
        embeddings: (N, D) array, torch tensor, or path; N >= 2.
        t: exponent, > 0.
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        The record with definition `u_stat`: `.value`, and `.std_error` from the exact variance of
        the U-statistic (None for N < 4).

    Raises:
        DataError: the embeddings cannot be used.
        ConfigError: t is not finite and > 0.

    Cost: N^2 D / 2 multiplications, one exponential per unordered pair.

    Reference: Wang & Isola, ICML 2020; Wang & Liu, CVPR 2021, eq. 10.

    >>> import numpy as np
    >>> round(uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]])).value, 9)   # antipodal points: -4t
    -8.0
    """
    if isinstance(t, list | tuple):
        raise ConfigError("uniformity takes one t; analyze(..., ts=[...]) takes several")
    report = analyze(embeddings, ts=[t], metrics="uniformity", run=run, progress=progress)
    if len(report.document.sources) > 1:
        raise ConfigError("uniformity takes one checkpoint; analyze takes several")
    return report.records.find("uniformity")


@with_options(_DECLARING, "tolerance")
def tolerance(
    embeddings: Any,
    labels: Any = None,
    *,
    run: RunOptions | None = None,
    progress: Asked = False,
    **options: Any,
) -> Results:
    """Mean cosine of same-class pairs in four definitions, and of pairs of different classes.

    Args:
        embeddings: (N, D) array, torch tensor, or path.
        labels: (N,) classes or a path; None: the labels in the embeddings' file.
        {options}
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        Records `tolerance` (micro_excl, macro_excl, micro_incl, indicator),
        `between_class_similarity` and `tolerance_gap`.

    Raises:
        DataError: there are no labels, or the inputs cannot be used.

    Cost: O(N D).

    Reference: Wang & Liu, CVPR 2021, eq. 11 and Table 1.

    >>> import numpy as np
    >>> z = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    >>> records = tolerance(z, [0, 0, 1, 1])
    >>> [round(records.find("tolerance", name).value, 9) for name in ("micro_excl", "micro_incl")]
    [-0.3, 0.35]
    """
    return analyze(
        embeddings, labels, metrics="tolerance", run=run, progress=progress, **options
    ).records


@with_options(_DECLARING, "similarity")
def similarity(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    run: RunOptions | None = None,
    progress: Asked = False,
    **options: Any,
) -> Results:
    """Similarity of positives and of the nearest negatives, thresholds, and suspect negatives.

    Args:
        embeddings: (N, D) array, (N, V, D) views, torch tensor, or path.
        labels: (N,) classes or a path; without views, the positives are all same-class pairs.
        pairs: (N, D) partners of the rows; the positives are the pairs (row, partner).  With
            `relevant`, (M, D) items; the positives are the related pairs.
        {options}
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        Records `similarity_mean`, `similarity_std`, `similarity_quantile` by `group`.  With
        positives also `auroc`, `d_prime`, `equal_error_rate`, `tpr_at_fpr`, `violation_share` and
        `suspect_share`: anchors with negatives nearly as near as the positive.  With labels,
        `same_class_share`: how many nearest negatives are of the anchor's class, by rank.

    Raises:
        DataError, ConfigError: inputs or options cannot be used.

    Cost: N^2 D / 2 multiplications; memory O(N top_k).

    Reference: Wang & Liu, CVPR 2021, Fig. 8.

    >>> import numpy as np
    >>> records = similarity(np.eye(4), top_k=2)
    >>> records.find("similarity_mean", group="negative_1").value
    0.0
    """
    return analyze(
        embeddings, labels, pairs, metrics="similarity", run=run, progress=progress, **options
    ).records


@with_options(_DECLARING, "losses")
def losses(
    embeddings: Any,
    pairs: Any = None,
    labels: Any = None,
    *,
    run: RunOptions | None = None,
    progress: Asked = False,
    **options: Any,
) -> Results:
    """Every contrastive loss on two saved views: value, standard error, alignment and uniformity.

    Of three views or more, the mean over the pairs of views.  Of one view with labels, the
    supervised losses that need no second one.

    Args:
        embeddings: (N, D) array, (N, V, D) views, torch tensor, or path.
        pairs: (N, D) partners of the rows; None: the views in the embeddings' file.  With
            `relevant`, (M, D) items, and the losses of queries over items.
        labels: (N,) classes or a path, for the supervised losses.
        {options}
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        Records `loss`, `loss_alignment`, `loss_uniformity` (the parameter `name` is the name of the
        loss), hyperspherical energies with their reference values, the difference of DCL and NSCL,
        and the weights of A-InfoNCE.

    Raises:
        DataError: there is neither a second view nor a label, or the inputs cannot be used.
        ConfigError: an option has an invalid value.

    Cost: 2 N^2 D multiplications and one exponential per pair, temperature and set of pairs; a
    second pass for the error bars.

    Reference: Wang & Liu, CVPR 2021; Koromilas et al., ICML 2024.

    >>> import numpy as np
    >>> records = losses(np.eye(3), np.eye(3), taus=[0.5])
    >>> round(records.find("loss", "one_way", name="contrastive").value, 6)   # log(1 + 2 exp(-2))
    0.239545
    """
    return analyze(
        embeddings, labels, pairs, metrics="losses", run=run, progress=progress, **options
    ).records


@with_options(_DECLARING, "quality")
def quality(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    run: RunOptions | None = None,
    progress: Asked = False,
    **options: Any,
) -> Results:
    """Quality of a representation: collapse, accuracy of classifiers, retrieval, and its failures.

    Args:
        embeddings: (N, D) array, (N, V, D) views, torch tensor, or path.
        labels: (N,) classes or a path, for accuracies and class structure.
        pairs: (N, D) partners of the rows, for alignment, retrieval and the modality gap.  With
            `relevant`, (M, D) items.
        {options}
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        Spectrum: `effective_rank`, `rankme`, `participation_ratio`, `nesum`, `stable_rank`,
        `alpha_req`, `isoscore`, `condition_number`, `numerical_rank`, each raw and normalised,
        centred and uncentred; `vendi_score`.  Geometry: norms, `mean_cosine`, hubness,
        `uniformity_wasserstein`, `koleo`, `outlier_share`, `intrinsic_dimension`.  With labels:
        `knn_accuracy`, `probe_accuracy`, neural collapse, `cdnv`, `ncc_accuracy`, `silhouette`,
        `lidar`.  Retrieval of partners, related items or rows of the class: `recall_at_k`,
        `hit_rate_at_k`, `ndcg_at_k`, `mrr`, `map_at_r`, `r_precision`, `median_rank`.  With
        views: `alignment`, `modality_gap`, `modality_gap_relative`, `lidar`.

    Raises:
        DataError, ConfigError: inputs or options cannot be used.

    Cost: N^2 D / 2 multiplications (N M D with a training set, 2 N^2 D more with views); about
    6 N D min(N, D) for the spectra; some hundred products of up to 50,000 rows with D x C numbers
    for the probes.

    Reference: Garrido et al., ICML 2023; Agrawal et al., NeurIPS 2022; Papyan et al., PNAS 2020;
    see docs/quality.md for each.

    >>> import numpy as np
    >>> records = quality(np.eye(6)[[0, 0, 1, 1, 2, 2]], labels=[0, 0, 1, 1, 2, 2], ks=[1])
    >>> round(records.find("effective_rank").value, 6), records.find("knn_accuracy", k=1).value
    (3.0, 1.0)
    """
    return analyze(
        embeddings, labels, pairs, metrics="quality", run=run, progress=progress, **options
    ).records


@with_options(_DECLARING, "penalty", without=("penalty_alpha",))
def penalty(
    embeddings: Any = None,
    labels: Any = None,
    *,
    pairs: Any = None,
    hard_alpha: float | None = None,
    run: RunOptions | None = None,
    progress: Asked = False,
    **options: Any,
) -> Results:
    """Distribution of the relative penalty over the negatives of an anchor, for each temperature.

    Args:
        embeddings: (N, D) array, torch tensor, or path; None: similarities spread evenly over
            [-1, 1], as in the paper's Fig. 3.
        labels: (N,) classes or a path, for the false-negative share.
        pairs: (N, D) partners of the rows, or views in the file, for the share of suspects.  With
            `relevant`, (M, D) items, and the penalty of queries over items.
        hard_alpha: share of the hardest negatives in truncated curves; None: no truncated curves.
        {options}
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        Records `penalty_entropy` (nats), `penalty_effective_negatives`, `penalty_top1_share`,
        `penalty_top10_share` for each tau.  With labels also `penalty_false_negative_share` and the
        ratio of this share to the share under equal weights.  For any tau the temperatures
        `temperature_of_effective_share` and `temperature_of_top10_half`, where the effective
        negatives are 1, 10 and 50% of all, and where the ten nearest have half of the weight.

    Raises:
        DataError, ConfigError: inputs or options cannot be used.

    Cost: N^2 D / 2 multiplications and one exponential per pair and tau; a second pass for the
    error bars.

    Reference: Wang & Liu, CVPR 2021, eq. 5 and Fig. 3.

    >>> import numpy as np
    >>> records = penalty(np.eye(5), taus=[0.1])            # equal similarities, equal weights
    >>> round(records.find("penalty_effective_negatives").value, 6)
    4.0
    """
    n_negatives = options.pop("n_negatives", None)
    if embeddings is not None:
        report = analyze(
            embeddings,
            labels,
            pairs,
            metrics="penalty",
            penalty_alpha=hard_alpha,
            run=run,
            progress=progress,
            **options,
        )
        return report.records
    of_embeddings = ("groups", "class_names", "relevant", "pair_ids", "anchors", *SETTINGS)
    given = {name: options.pop(name, None) for name in of_embeddings}
    for name, value in {"labels": labels, "pairs": pairs, **given}.items():
        is_unset = value is None or value is False or (isinstance(value, tuple) and not value)
        if not is_unset:
            raise ConfigError(f"without embeddings there can be no {name}")
    metric_options = MetricOptions(penalty_alpha=hard_alpha, n_negatives=n_negatives, **options)
    return uniform_penalty(metric_options, run or RunOptions()).records


@with_options((*_DECLARING, CompareOptions), "compare")
def compare(
    checkpoints: Sequence[str | Path] | Mapping[str, Any],
    labels: Any = None,
    *,
    metrics: Iterable[str] | str = "all",
    run: RunOptions | None = None,
    progress: Asked = False,
    **options: Any,
) -> Report:
    """Compare checkpoints on the same rows: metrics, paired differences, change of the embeddings.

    Args:
        checkpoints: a list of paths, or a dictionary name -> (N, D) array or path; D may differ
            between checkpoints.
        labels: (N,) classes or a path for all checkpoints, or a dictionary name -> classes or path;
            None: the labels in each file.
        metrics: names of metric families or of single metrics (knn_accuracy, cka ...), or "all".
            p-values are adjusted over the differences of these alone.
        {options}
        run: device, precision, threads, memory.
        progress: bars (True), or a function that is called with a `Progress`, see `analyze`.

    Returns:
        A Report with the records of every checkpoint; `cka`, `neighbour_overlap` and
        `procrustes_residual` compare a checkpoint with the reference checkpoint.  Tables:
        `compare` (differences, intervals, Holm-adjusted p-values), `checkpoints`, `moved_rows`,
        `moved_classes`.

    Raises:
        DataError: a checkpoint cannot be used.
        ConfigError: there are fewer than two checkpoints, or an option has an invalid value.

    Cost: one analysis for each checkpoint; O(N D_1 D_2 + D^3) for each comparison of embeddings.

    Reference: Kornblith et al., ICML 2019 (CKA); Holm, Scand. J. Statist. 1979.

    >>> import numpy as np
    >>> z = np.random.default_rng(0).standard_normal((64, 8))
    >>> turn = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    >>> report = compare({"before": z, "after": z @ turn}, metrics="uniformity")
    >>> round(report.records.find("cka").value, 9)          # a rotation changes nothing
    1.0
    """
    companions, metric_options, compare_options = split_by_class(
        options, *_DECLARING, CompareOptions
    )
    companions["labels"] = labels
    is_by_name = isinstance(checkpoints, Mapping)
    for item in () if is_by_name else checkpoints:
        if not isinstance(item, str | Path):
            raise ConfigError(
                f"compare takes paths, or arrays by name as a dictionary, found {type(item)}"
            )
    named = (
        checkpoints.items()
        if isinstance(checkpoints, Mapping)
        else [(path, path) for path in checkpoints]
    )
    requests = [
        Request(
            z,
            source=str(name) if is_by_name else None,
            **{
                role: companion if role == "class_names" else _by_name(companion, str(name), role)
                for role, companion in companions.items()
            },
        )
        for name, z in named
    ]
    with listening(progress) as listener:
        return run_comparison(
            requests,
            metrics,
            MetricOptions(**metric_options),
            run or RunOptions(),
            CompareOptions(**compare_options),
            listener=listener,
        )


def _by_name(companion: Any, name: str, role: str) -> Any:
    """The companion of a checkpoint, from a dictionary by name or one companion for all."""
    if not isinstance(companion, Mapping):
        return companion
    if name not in companion:
        raise ConfigError(f"{role}: there are none for {name}, only for {list(companion)}")
    return companion[name]
