"""One function for each metric family: the short way from an array to its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cl_analyze.analysis import Report, analyze, families, metric_options, uniform_penalty
from cl_analyze.comparison import CompareOptions, run_comparison
from cl_analyze.errors import ConfigError
from cl_analyze.preparation import Request, RunOptions
from cl_analyze.tables import Record, Results


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


def tolerance(
    embeddings: Any, labels: Any = None, *, groups: Any = None, run: RunOptions | None = None
) -> Results:
    """Mean cosine of same-class pairs in four definitions, beside between-class similarity.

    Args:
        embeddings: (N, D) array, torch tensor, or path.
        labels: (N,) classes or a path; None takes those in the embeddings' file.
        groups: (N,) codes of rows that belong together, for clustered error bars.
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
    return analyze(embeddings, labels=labels, groups=groups, metrics="tolerance", run=run).records


def similarity(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    top_k: int = 10,
    negatives: Literal["instance", "class"] = "instance",
    groups: Any = None,
    run: RunOptions | None = None,
) -> Results:
    """Similarity of positives and of the nearest negatives: means, spreads, quantiles.

    Args:
        embeddings: (N, D) array, (N, V, D) views, torch tensor, or path.
        labels: (N,) classes or a path; without views positives are all same-class pairs.
        pairs: (N, D) partners of the rows; positives are (row, partner).
        top_k: how many nearest negatives.
        negatives: instance (every other row) or class (rows of other classes).
        groups: (N,) codes of rows that belong together, for clustered error bars.
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
    return analyze(
        embeddings,
        labels=labels,
        pairs=pairs,
        groups=groups,
        top_k=top_k,
        negatives=negatives,
        metrics="similarity",
        run=run,
    ).records


def losses(
    embeddings: Any,
    pairs: Any = None,
    labels: Any = None,
    *,
    taus: Sequence[float] | None = None,
    hard_alpha: float = 0.1,
    simple_lambda: float | None = None,
    kcl_t: float = 2.0,
    kcl_gamma: float = 16.0,
    batch_sizes: Sequence[int] = (),
    queue: Any = None,
    clop_anchors: Any = None,
    groups: Any = None,
    run: RunOptions | None = None,
) -> Results:
    """Every loss on two saved views: value, error, alignment and uniformity part.

    Args:
        embeddings: (N, D) array, (N, 2, D) views, torch tensor, or path.
        pairs: (N, D) partners of the rows; None takes views in the embeddings' file.
        labels: (N,) classes or a path, for the supervised losses.
        taus: temperatures, each > 0.
        hard_alpha: share of the negatives that the hard losses keep, in (0, 1].
        simple_lambda: weight of the simple losses' negatives; None: 1 / (number of negatives).
        kcl_t, kcl_gamma: parameter of the kernels, and weight of their energies.
        batch_sizes: sizes for which expectations over batches are estimated.
        queue: (K, D) further negatives of the contrastive loss.
        clop_anchors: (C, D) anchors of the classes; None: the orthonormal frame that fits best.
        groups: (N,) codes of rows that belong together, for clustered error bars.
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
    return analyze(
        embeddings,
        labels=labels,
        pairs=pairs,
        groups=groups,
        taus=taus,
        metrics="losses",
        hard_alpha=hard_alpha,
        simple_lambda=simple_lambda,
        kcl_t=kcl_t,
        kcl_gamma=kcl_gamma,
        batch_sizes=batch_sizes,
        queue=queue,
        clop_anchors=clop_anchors,
        run=run,
    ).records


def quality(
    embeddings: Any,
    labels: Any = None,
    pairs: Any = None,
    *,
    ks: Sequence[int] | None = None,
    train: Any = None,
    train_labels: Any = None,
    alignment_power: float = 2.0,
    groups: Any = None,
    seed: int = 0,
    run: RunOptions | None = None,
) -> Results:
    """Is a representation collapsed, is it useful, and where does it fail.

    Args:
        embeddings: (N, D) array, (N, 2, D) views, torch tensor, or path.
        labels: (N,) classes or a path, for accuracies and class structure.
        pairs: (N, D) partners of the rows, for alignment, recall and the modality gap.
        ks: neighbours that vote, and that recall looks at; default 1 10 20 200.
        train: (M, D) rows that kNN and probe learn from; None: leave-one-out, and a part of the
            rows.
        train_labels: (M,) their classes; None takes those in their file.
        alignment_power: exponent of the distances in alignment, > 0.
        groups: (N,) codes of rows that belong together: they share a side of every split.
        seed: of splits and draws.
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
    return analyze(
        embeddings,
        labels=labels,
        pairs=pairs,
        groups=groups,
        metrics="quality",
        ks=ks,
        train=train,
        train_labels=train_labels,
        alignment_power=alignment_power,
        seed=seed,
        run=run,
    ).records


def penalty(
    embeddings: Any = None,
    labels: Any = None,
    *,
    taus: Sequence[float] | None = None,
    negatives: Literal["instance", "class"] = "instance",
    n_negatives: int = 4095,
    hard_alpha: float | None = None,
    groups: Any = None,
    run: RunOptions | None = None,
) -> Results:
    """How each temperature spreads the relative penalty over an anchor's negatives.

    Args:
        embeddings: (N, D) array, torch tensor, or path; None: similarities spread evenly over
            [-1, 1], the setting of the paper's Fig. 3.
        labels: (N,) classes or a path, for the false-negative share.
        taus: temperatures, each > 0.
        negatives: instance (every other row) or class (rows of other classes).
        n_negatives: how many similarities are drawn where there are no embeddings.
        hard_alpha: share of the negatives that truncated curves keep; None: no such curves.
        groups: (N,) codes of rows that belong together, for clustered error bars.
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
    if embeddings is None:
        if labels is not None or groups is not None:
            raise ConfigError("labels and groups need embeddings")
        options = metric_options(taus=taus, penalty_alpha=hard_alpha)
        return uniform_penalty(options, n_negatives).records
    return analyze(
        embeddings,
        labels=labels,
        groups=groups,
        taus=taus,
        negatives=negatives,
        penalty_alpha=hard_alpha,
        metrics="penalty",
        run=run,
    ).records


def compare(
    checkpoints: Sequence[str | Path] | Mapping[str, Any],
    labels: Any = None,
    *,
    ids: Any = None,
    groups: Any = None,
    train: Any = None,
    train_labels: Any = None,
    against: str | None = None,
    x: str | None = None,
    metrics: Iterable[str] | str = "all",
    ts: Sequence[float] | None = None,
    taus: Sequence[float] | None = None,
    ks: Sequence[int] | None = None,
    cache: str | Path | None = None,
    run: RunOptions | None = None,
) -> Report:
    """Several checkpoints on the same rows: every metric, paired differences, how the space moved.

    Args:
        checkpoints: paths, or arrays (N, D) by name; they may differ in D.
        labels: (N,) classes of all of them, or a path, or one of these by name; None takes those in
            each file.
        ids: (N,) what identifies the rows of all of them, or by name; None takes those in each
            file, else rows are matched by position where their number and labels agree.
        groups: (N,) codes of rows that belong together, or by name, for clustered error bars.
        train: (M, D) rows that kNN and probe learn from, or (encoders have spaces of their own)
            by name; None: leave-one-out, and a part of the rows.
        train_labels: (M,) their classes, or by name; None takes those in their file.
        against: the one to compare with, by name; None: the first.
        x: a word or pattern that finds a number in the names, to order them by.
        metrics: families to compute, or "all".
        ts: exponents of uniformity, each > 0.
        taus: temperatures of the penalty, each > 0.
        ks: neighbours that vote, and whose overlap is taken.
        cache: folder that keeps what is measured by the hash of its content; None: nothing is kept.
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
    if isinstance(checkpoints, Mapping):
        named: list[tuple[str, Any, str | None]] = [
            (str(name), z, str(name)) for name, z in checkpoints.items()
        ]
    else:
        for item in checkpoints:
            if not isinstance(item, str | Path):
                raise ConfigError(
                    f"compare takes paths, or arrays by name as a dictionary, found {type(item)}"
                )
        named = [(str(path), path, None) for path in checkpoints]

    def of(companions: Any, name: str, what: str) -> Any:
        """One for all, or one by name."""
        if not isinstance(companions, Mapping):
            return companions
        if name not in companions:
            raise ConfigError(f"{what}: there are none for {name}, only for {list(companions)}")
        return companions[name]

    requests = [
        Request(
            value,
            of(labels, name, "labels"),
            None,
            of(groups, name, "groups"),
            source,
            train=of(train, name, "train"),
            train_labels=of(train_labels, name, "train_labels"),
            ids=of(ids, name, "ids"),
        )
        for name, value, source in named
    ]
    return run_comparison(
        requests,
        families(metrics),
        metric_options(ts=ts, taus=taus, ks=ks),
        run or RunOptions(),
        CompareOptions(against, x, None if cache is None else Path(cache)),
    )
