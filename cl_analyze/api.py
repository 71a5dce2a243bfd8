"""What people call: analyze, compare, and a function for each metric family.

The options are declared in `cl_analyze.options`; their keywords, defaults and descriptions are
added to these functions from there.
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
from cl_analyze.options import CompareOptions, MetricOptions, Request, RunOptions
from cl_analyze.options.declaration import split_by_class, with_options
from cl_analyze.tables import Record, Results

_ASKED = (Request, MetricOptions)


@with_options(_ASKED, without=("n_negatives",))
def analyze(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    metrics: Iterable[str] | str = ("uniformity", "tolerance", "similarity", "penalty"),
    source: str | None = None,
    run: RunOptions | None = None,
    executor: Any = None,
    **options: Any,
) -> Report:
    """Measure saved embeddings: everything that the inputs allow, from one pass over the pairs.

    Args:
        embeddings: (N, D) array, torch tensor, or path (PATH or PATH::KEY); (N, V, D) gives views;
            a list of paths gives several checkpoints.
        labels: (N,) classes as an array or a path; None takes those in the embeddings' file.
        pairs: (N, D) partners of the rows as an array or a path; None takes views in the file.
        metrics: families to compute, or "all".
        source: name in the output.
        {options}
        run: device, precision, threads, memory, where to keep what a run could resume from.
        executor: where the work runs: a `concurrent.futures` executor or a Dask client; default
            threads.  With other processes or machines, give embeddings as a path that they see.

    Returns:
        A Report: `.results` (DataFrame), `.records`, `.tables`, `.save(folder)`.

    Raises:
        DataError: the inputs do not hold what is needed.
        ConfigError: an option makes no sense.

    Cost: time O(N^2 D), memory O(N (top_k + taus) + block^2 threads).

    >>> import numpy as np
    >>> report = analyze(np.eye(64), metrics="uniformity")
    >>> round(report.records.find("uniformity").value, 9)    # orthogonal rows: -2t
    -4.0
    """
    companions, asked = split_by_class(options, *_ASKED)
    companions.update(labels=labels, pairs=pairs)
    is_list = isinstance(embeddings, list | tuple)
    if is_list and all(isinstance(item, str | Path) for item in embeddings):
        of_each = _one_each(companions, len(embeddings))
        requests = [Request(z, **own) for z, own in zip(embeddings, of_each, strict=True)]
    else:
        requests = [Request(embeddings, source=source, **companions)]
    return run_analysis(
        requests,
        families(metrics),
        MetricOptions(**asked),
        run or RunOptions(),
        "report",
        executor,
    )


def _one_each(companions: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Companions of n checkpoints: from a list of one for each, or one for all."""
    of_each: list[dict[str, Any]] = [{} for _ in range(n)]
    for name, given in companions.items():
        values = [given] * n
        is_shared = name in ("queue", "clop_anchors")
        if isinstance(given, list | tuple) and len(given) == n and not is_shared:
            values = list(given)
            if not all(isinstance(one, str | Path) or np.ndim(one) > 0 for one in values):
                raise ConfigError(
                    f"{name}: give one for all checkpoints, or a list with one for each"
                )
        for own, value in zip(of_each, values, strict=True):
            own[name] = value
    return of_each


def uniformity(embeddings: Any, t: float = 2.0, *, run: RunOptions | None = None) -> Record:
    """Log of the mean Gaussian potential, log mean over i != j of exp(-t |x_i - x_j|^2), in nats.

    Rows are put on the unit sphere first.  More negative is more uniform.

    Args:
        embeddings: (N, D) array, torch tensor, or path; N >= 2.
        t: exponent, > 0.
        run: device, precision, threads, memory.

    Returns:
        The `u_stat` record: `.value`, `.std_error` (exact variance of the U-statistic; None for
        N < 4).

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
    found = analyze(embeddings, ts=[t], metrics="uniformity", run=run)
    if len(found.document.sources) > 1:
        raise ConfigError("uniformity takes one checkpoint; analyze takes several")
    return found.records.find("uniformity")


@with_options(_ASKED, "tolerance")
def tolerance(
    embeddings: Any, labels: Any = None, *, run: RunOptions | None = None, **options: Any
) -> Results:
    """Mean cosine of same-class pairs in four definitions, beside between-class similarity.

    Args:
        embeddings: (N, D) array, torch tensor, or path.
        labels: (N,) classes or a path; None takes those in the embeddings' file.
        {options}
        run: device, precision, threads, memory.

    Returns:
        Records `tolerance` (micro_excl, macro_excl, micro_incl, indicator),
        `between_class_similarity` and `tolerance_gap`.

    Raises:
        DataError: no labels, or inputs that cannot be used.

    Cost: O(N D).

    Reference: Wang & Liu, CVPR 2021, eq. 11 and Table 1.

    >>> import numpy as np
    >>> z = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    >>> found = tolerance(z, [0, 0, 1, 1])
    >>> [round(found.find("tolerance", name).value, 9) for name in ("micro_excl", "micro_incl")]
    [-0.3, 0.35]
    """
    return analyze(embeddings, labels, metrics="tolerance", run=run, **options).records


@with_options(_ASKED, "similarity")
def similarity(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    run: RunOptions | None = None,
    **options: Any,
) -> Results:
    """Similarity of positives and of the nearest negatives: means, spreads, quantiles.

    Args:
        embeddings: (N, D) array, (N, V, D) views, torch tensor, or path.
        labels: (N,) classes or a path; without views positives are all same-class pairs.
        pairs: (N, D) partners of the rows; positives are (row, partner).
        {options}
        run: device, precision, threads, memory.

    Returns:
        Records `similarity_mean`, `similarity_std`, `similarity_quantile` by `group`.

    Raises:
        DataError, ConfigError: inputs or options that cannot be used.

    Cost: N^2 D / 2 multiplications; memory O(N top_k).

    Reference: Wang & Liu, CVPR 2021, Fig. 8.

    >>> import numpy as np
    >>> found = similarity(np.eye(4), top_k=2)
    >>> found.find("similarity_mean", group="negative_1").value
    0.0
    """
    return analyze(embeddings, labels, pairs, metrics="similarity", run=run, **options).records


@with_options(_ASKED, "losses")
def losses(
    embeddings: Any,
    pairs: Any = None,
    labels: Any = None,
    *,
    run: RunOptions | None = None,
    **options: Any,
) -> Results:
    """Every loss on two saved views: value, error, alignment and uniformity part.

    Args:
        embeddings: (N, D) array, (N, 2, D) views, torch tensor, or path.
        pairs: (N, D) partners of the rows; None takes views in the embeddings' file.
        labels: (N,) classes or a path, for the supervised losses.
        {options}
        run: device, precision, threads, memory.

    Returns:
        Records `loss`, `loss_alignment`, `loss_uniformity` with the loss's `name` among their
        params; hyperspherical energies with their references, the gap of DCL to NSCL, A-InfoNCE's
        weights.

    Raises:
        DataError: no second view, or inputs that cannot be used.
        ConfigError: options that make no sense.

    Cost: 2 N^2 D multiplications and one exponential per pair, temperature and set of pairs; a
    second pass for the error bars.

    Reference: Wang & Liu, CVPR 2021; Koromilas et al., ICML 2024.

    >>> import numpy as np
    >>> found = losses(np.eye(3), np.eye(3), taus=[0.5])
    >>> round(found.find("loss", "one_way", name="contrastive").value, 6)   # log(1 + 2 exp(-2))
    0.239545
    """
    return analyze(embeddings, labels, pairs, metrics="losses", run=run, **options).records


@with_options(_ASKED, "quality")
def quality(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    run: RunOptions | None = None,
    **options: Any,
) -> Results:
    """Is a representation collapsed, is it useful, and where does it fail.

    Args:
        embeddings: (N, D) array, (N, 2, D) views, torch tensor, or path.
        labels: (N,) classes or a path, for accuracies and class structure.
        pairs: (N, D) partners of the rows, for alignment, recall and the modality gap.
        {options}
        run: device, precision, threads, memory.

    Returns:
        Spectrum: `effective_rank`, `rankme`, `participation_ratio`, `nesum`, `stable_rank`,
        `alpha_req`, `isoscore`, `condition_number`, `numerical_rank`, each raw and normalised,
        centred and not.  Geometry: norms, `mean_cosine`, hubness, `uniformity_wasserstein`.  With
        labels: `knn_accuracy`, `probe_accuracy`, neural collapse, `cdnv`, `ncc_accuracy`,
        `silhouette`.  With views: `alignment`, `recall_at_k`, `median_rank`, `modality_gap`.

    Raises:
        DataError, ConfigError: inputs or options that cannot be used.

    Cost: N^2 D / 2 multiplications (N M D with a training set, 2 N^2 D more with views); about
    6 N D min(N, D) for the spectra; some hundred products of up to 50,000 rows with D x C numbers
    for the probes.

    Reference: Garrido et al., ICML 2023; Agrawal et al., NeurIPS 2022; Papyan et al., PNAS 2020;
    see docs/quality.md for each.

    >>> import numpy as np
    >>> found = quality(np.eye(6)[[0, 0, 1, 1, 2, 2]], labels=[0, 0, 1, 1, 2, 2], ks=[1])
    >>> round(found.find("effective_rank").value, 6), found.find("knn_accuracy", k=1).value
    (3.0, 1.0)
    """
    return analyze(embeddings, labels, pairs, metrics="quality", run=run, **options).records


@with_options(_ASKED, "penalty", without=("penalty_alpha",))
def penalty(
    embeddings: Any = None,
    labels: Any = None,
    *,
    hard_alpha: float | None = None,
    run: RunOptions | None = None,
    **options: Any,
) -> Results:
    """How each temperature spreads the relative penalty over an anchor's negatives.

    Args:
        embeddings: (N, D) array, torch tensor, or path; None: similarities spread evenly over
            [-1, 1], the setting of the paper's Fig. 3.
        labels: (N,) classes or a path, for the false-negative share.
        n_negatives: how many similarities are drawn where there are no embeddings.
        hard_alpha: share of the negatives that truncated curves keep; None: no such curves.
        {options}
        run: device, precision, threads, memory.

    Returns:
        Records `penalty_entropy` (nats), `penalty_effective_negatives`, `penalty_top1_share`,
        `penalty_top10_share` and, with labels, `penalty_false_negative_share` and its ratio to
        even weights, for each tau.

    Raises:
        DataError, ConfigError: inputs or options that cannot be used.

    Cost: N^2 D / 2 multiplications and one exponential per pair and tau; a second pass for the
    error bars.

    Reference: Wang & Liu, CVPR 2021, eq. 5 and Fig. 3.

    >>> import numpy as np
    >>> found = penalty(np.eye(5), taus=[0.1])            # equal similarities: an even spread
    >>> round(found.find("penalty_effective_negatives").value, 6)
    4.0
    """
    n_negatives = options.pop("n_negatives", None)
    if embeddings is not None:
        report = analyze(
            embeddings, labels, metrics="penalty", penalty_alpha=hard_alpha, run=run, **options
        )
        return report.records
    if labels is not None or options.pop("groups", None) is not None:
        raise ConfigError("labels and groups need embeddings")
    asked = MetricOptions(penalty_alpha=hard_alpha, n_negatives=n_negatives, **options)
    return uniform_penalty(asked, run or RunOptions()).records


@with_options((*_ASKED, CompareOptions), "compare")
def compare(
    checkpoints: Sequence[str | Path] | Mapping[str, Any],
    labels: Any = None,
    *,
    metrics: Iterable[str] | str = "all",
    run: RunOptions | None = None,
    **options: Any,
) -> Report:
    """Several checkpoints on the same rows: every metric, paired differences, how the space moved.

    Args:
        checkpoints: paths, or arrays (N, D) by name; they may differ in D.
        labels: (N,) classes of all of them, or a path, or one of these by name; None takes those in
            each file.
        metrics: families to compute, or "all".
        {options}
        run: device, precision, threads, memory.

    Returns:
        A Report: records of every checkpoint, among them `cka`, `neighbour_overlap` and
        `procrustes_residual` beside the reference; tables `compare` (differences, intervals,
        Holm-adjusted p-values), `checkpoints`, `moved_rows`, `moved_classes`.

    Raises:
        DataError: a checkpoint cannot be used.
        ConfigError: fewer than two, or options that make no sense.

    Cost: one analysis a checkpoint; O(N D_1 D_2 + D^3) for how the space moved.

    Reference: Kornblith et al., ICML 2019 (CKA); Holm, Scand. J. Statist. 1979.

    >>> import numpy as np
    >>> z = np.random.default_rng(0).standard_normal((64, 8))
    >>> turn = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    >>> found = compare({"before": z, "after": z @ turn}, metrics="uniformity")
    >>> round(found.records.find("cka").value, 9)          # a rotation changes nothing
    1.0
    """
    companions, asked, how = split_by_class(options, *_ASKED, CompareOptions)
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
            **{what: _by_name(given, str(name), what) for what, given in companions.items()},
        )
        for name, z in named
    ]
    return run_comparison(
        requests,
        families(metrics),
        MetricOptions(**asked),
        run or RunOptions(),
        CompareOptions(**how),
    )


def _by_name(companion: Any, name: str, what: str) -> Any:
    """The companion of a checkpoint: one for all, or one by its name."""
    if not isinstance(companion, Mapping):
        return companion
    if name not in companion:
        raise ConfigError(f"{what}: there are none for {name}, only for {list(companion)}")
    return companion[name]
