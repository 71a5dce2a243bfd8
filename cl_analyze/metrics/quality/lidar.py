"""LiDAR: how many directions tell items apart, once the spread within items is taken off.

Sb is the scatter of the items' means, Sw the scatter of rows about the mean of their item plus
delta I.  The eigenvalues of Sw^-1/2 Sb Sw^-1/2 are those of linear discriminant analysis, and LiDAR
is their effective rank: at most min(D, n - 1) for n items.  Rows are on the unit sphere.

`views`: an item is a row with its V views.  `classes`: an item is a class, with its rows as views;
classes of unequal size weigh alike in Sb, and Sw divides by the sum of n_c - 1 (which is n (q - 1)
for items of q views each).

References: Thilak, Huang, Saremi, Dinh, Goh, Nakkiran, Susskind & Littwin, ICLR 2024
(arXiv 2312.04000).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cl_analyze.data.unit import UnitRows
from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.quality.classes import (
    MOST_FOR_ERRORS,
    ROUNDING,
    add_by_class,
    class_geometry,
)
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.factors import WIDEST_WITH_ERRORS
from cl_analyze.metrics.quality.jackknife import N_GROUPS, jackknife_error
from cl_analyze.metrics.quality.rows import FormRows, Index, Matrix, Vector
from cl_analyze.pairs.executors import Executor
from cl_analyze.results.tables import Record

DELTA = 1e-4
"""Added to the diagonal of Sw, as in the paper."""
EPS = 1e-8
"""Added to every share of the eigenvalues, as in the paper."""
WIDEST = 4_096
"""LiDAR is that of rows of at most so many dimensions: it solves a D x D eigenproblem."""

LIDAR = Metric(
    "lidar",
    "dimensions",
    "effective number of directions that tell items apart; items are rows with their views, or "
    "classes with their rows.",
    ("views", "classes"),
    (
        "exp(−Σ p log p), p = λ/Σλ + 10⁻⁸, λ the eigenvalues of S_w^−½ S_b S_w^−½: S_b = Σ b "
        "bᵀ/(n − 1) of the n items' centred means, S_w = Σ w wᵀ/(n (V − 1)) + 10⁻⁴ I of the "
        "deviations of their views from these means; unit rows",
        "as `views`, with a class as an item: S_w divides by Σ (n_c − 1)",
    ),
    better="higher",
    needs="views or labels",
    source="Thilak et al. 2024.",
    title="LiDAR",
)
METRICS = (LIDAR,)


def lidar(between: Matrix, within: Matrix) -> float | None:
    """LiDAR from (D, D) scatters between and within items, both divided by degrees of freedom.

    Returns:
        None where the items' means do not differ by more than rounding.

    >>> simplex = np.eye(4) - 0.25                      # four items, without spread within them
    >>> round(lidar(simplex, np.zeros((4, 4))), 4)
    3.0
    """
    from scipy import linalg

    if not float(np.trace(between)) > ROUNDING:
        return None
    whitener = within + DELTA * np.eye(len(within))
    values = linalg.eigh(between, whitener, eigvals_only=True, check_finite=False)
    values = np.maximum(values, 0.0)
    shares = values / values.sum() + EPS
    return math.exp(-float((shares * np.log(shares)).sum()))


@dataclass(frozen=True)
class _Products:
    """Job: sums of outer products of some rows."""

    def run(self, blocks: tuple[Matrix, ...]) -> list[Matrix]:
        """X'X of each block."""
        return [block.T @ block for block in blocks]


def _add_products(
    totals: Sequence[Matrix], blocks: Sequence[Matrix], of_rows: Index, executor: Executor
) -> None:
    """totals[i][g] += X'X of the rows of part g, for each block X = blocks[i].

    Args:
        totals: (parts, D, D) sums.
        blocks: (rows, ..., D) blocks of the same rows.
        of_rows: (rows,) part of each row.
        executor: threads that multiply parts side by side.
    """
    present = np.unique(of_rows)
    dim = blocks[0].shape[-1]
    units = (tuple(block[of_rows == part].reshape(-1, dim) for block in blocks) for part in present)
    for part, products in zip(present, executor.run(_Products(), units), strict=True):
        for total, product in zip(totals, products, strict=True):
            total[part] += product


def lidar_of_views(
    views: Sequence[FormRows], parts: Index, executor: Executor
) -> Iterator[float | None]:
    """LiDAR of rows with their views, then without the rows of each part where parts are several.

    Args:
        views: rows of each view, V >= 2 of them.
        parts: (N,) part of each row, 0 .. parts - 1.
        executor: threads.

    Cost: two passes over the rows of all views; 2 N V D^2 operations; memory 2 D^2 numbers for each
    part.
    """
    n, dim = views[0].shape
    n_parts, step = int(parts.max()) + 1, _step(len(views) * dim)
    totals: list[Matrix] = [np.zeros((n_parts, dim, dim)) for _ in range(2)]
    centre, sums = np.zeros(dim), np.zeros((n_parts, dim))
    for _, block in _stacked_views(views, step):
        centre += block.mean(axis=1).sum(axis=0) / n
    for span, block in _stacked_views(views, step):
        means = block.mean(axis=1)
        about = means - centre
        add_by_class(sums, parts[span], about)
        _add_products(totals, (about, block - means[:, None]), parts[span], executor)
    sizes = np.bincount(parts).astype(np.float64)
    between, within = (total.sum(axis=0) for total in totals)

    def of(n_items: float, scatter: Matrix, total: Vector, spread: Matrix) -> float | None:
        if n_items < 2:
            return None
        scatter = scatter - np.outer(total, total) / n_items
        return lidar(scatter / (n_items - 1), spread / (n_items * (len(views) - 1)))

    yield of(n, between, sums.sum(axis=0), within)
    if n_parts > 1:
        for part in range(n_parts):
            yield of(
                n - sizes[part],
                between - totals[0][part],
                sums.sum(axis=0) - sums[part],
                within - totals[1][part],
            )


def _stacked_views(views: Sequence[FormRows], step: int) -> Iterator[tuple[slice, Matrix]]:
    """Positions of rows, and (rows, V, D) their views."""
    for blocks in zip(*(view.blocks(step) for view in views), strict=True):
        yield blocks[0][0], np.stack([block for _, block in blocks], axis=1)


def _step(width: int) -> int:
    """Rows of a block: enough for each part to have many."""
    return 4 * block_rows(width)


def lidar_of_classes(
    rows: FormRows, codes: Index, n_classes: int, parts: Index, executor: Executor
) -> Iterator[float | None]:
    """LiDAR of classes with their rows, then without the rows of each part of several.

    Args:
        rows: the rows.
        codes: (N,) classes, -1 where unlabelled.
        n_classes: classes, each with rows.
        parts: (N,) part of each row, 0 .. parts - 1.
        executor: threads.

    Cost: three passes over the rows; N D^2 operations, C D^2 more for each part; memory D^2 + C D
    numbers for each part.
    """
    geometry = class_geometry(rows, codes, n_classes)
    dim, n_parts = rows.shape[1], int(parts.max()) + 1
    spread: Matrix = np.zeros((n_parts, dim, dim))
    of_classes: Matrix = np.zeros((n_parts * n_classes, dim))
    step = _step(max(dim, n_classes))
    for start in range(0, rows.shape[0], step):
        span = slice(start, min(start + step, rows.shape[0]))
        at = np.flatnonzero(codes[span] >= 0)
        own, part = codes[span][at], parts[span][at]
        left = rows.block(span.start, span.stop)[at] - geometry.centre - geometry.means[own]
        if len(at):
            add_by_class(of_classes, part * n_classes + own, left)
            _add_products([spread], (left,), part, executor)
    sums = of_classes.reshape(n_parts, n_classes, dim)
    known = codes >= 0
    pairs = parts[known] * n_classes + codes[known]
    counts = np.bincount(pairs, minlength=n_parts * n_classes).reshape(n_parts, n_classes)
    total = counts.sum(axis=0)
    within = spread.sum(axis=0)

    def of(sizes: Index, shifts: Matrix, scatter: Matrix) -> float | None:
        """Of classes with these sizes, whose sums of deviations from the old means are given."""
        present = sizes > 0
        sizes, shifts = sizes[present], shifts[present]
        freedom = float((sizes - 1).sum())
        if len(sizes) < 2 or freedom < 1:
            return None
        means = geometry.means[present] + shifts / sizes[:, None]
        scaled = shifts / np.sqrt(sizes)[:, None]
        about = means - means.mean(axis=0)
        return lidar(about.T @ about / (len(about) - 1), (scatter - scaled.T @ scaled) / freedom)

    yield of(total, np.zeros((n_classes, dim)), within)
    if n_parts > 1:
        for group in range(n_parts):
            yield of(total - counts[group], -sums[group], within - spread[group])


def memory_needed(dim: int) -> int:
    """Bytes of the scatters of all parts, and of the eigenproblem."""
    if dim > WIDEST:
        return 0
    parts = N_GROUPS if dim <= WIDEST_WITH_ERRORS else 1
    return 8 * dim**2 * (2 * parts + 6)


# ---- records


def lidar_records(context: Context) -> Iterator[Record]:
    """LiDAR of the views where each row has some, and of the classes where there are labels.

    Related rows of `--relevant` are no views: queries have several of them or none.
    """
    subject = context.subject
    if subject.views is not None:
        yield _of_views(context, subject.views, LIDAR.at("views"))
    if subject.labels is not None:
        yield _of_classes(context, LIDAR.at("classes"))


_ALIKE = "the means of the items do not differ by more than rounding"


def _parts(context: Context, may_delete: bool = True) -> Index:
    """(N,) groups of the jackknife, or one part where errors would cost too much."""
    if context.subject.d <= WIDEST_WITH_ERRORS and may_delete:
        return context.deletion_groups
    return np.zeros(context.subject.n, dtype=np.int64)


def _recorded(context: Context, metric: Metric, found: Iterator[float | None], n: int) -> Record:
    value, *others = found
    return context.recorded(metric, value, jackknife_error(others), n=n, reason=_ALIKE)


def _of_views(context: Context, views: Sequence[UnitRows], metric: Metric) -> Record:
    if context.subject.d > WIDEST:
        return context.recorded(metric, None, reason=f"needs at most {WIDEST} dimensions")
    context.runner.announce("LiDAR of the views")
    sides = [FormRows("normalised", view) for view in views]
    found = lidar_of_views(sides, _parts(context), context.local)
    return _recorded(context, metric, found, context.subject.n)


def _of_classes(context: Context, metric: Metric) -> Record:
    subject, codes = context.subject, context.codes
    labelled = codes >= 0
    present, recoded = np.unique(codes[labelled], return_inverse=True)
    if subject.d > WIDEST:
        return context.recorded(metric, None, reason=f"needs at most {WIDEST} dimensions")
    if len(present) < 2 or len(recoded) == len(present):
        reason = "needs two classes" if len(present) < 2 else "no class has two members"
        return context.recorded(metric, None, reason=reason)
    own = np.full(subject.n, -1)
    own[labelled] = recoded
    context.runner.announce("LiDAR of the classes")
    is_cheap = subject.n * subject.d * len(present) <= MOST_FOR_ERRORS
    parts = _parts(context, is_cheap)
    found = lidar_of_classes(context.forms[1], own, len(present), parts, context.local)
    return _recorded(context, metric, found, len(recoded))
