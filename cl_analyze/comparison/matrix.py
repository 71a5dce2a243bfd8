"""Every pair of checkpoints: how alike their spaces are, beside what unrelated rows would give.

The rows of all checkpoints are held at once, of many or large ones a seeded sample.  A value is
held against the same statistic under permuted rows of one checkpoint: its mean over all
permutations, and the share of seeded permutations, each of some of the rows, that are at least as
alike.  One permutation of a matrix serves all pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.movement import (
    CKA,
    NEIGHBOUR_OVERLAP,
    PROCRUSTES_RESIDUAL,
    WIDEST,
    Dependence,
    Space,
    centred_kernel_alignment,
    correlation_of_ranks,
    mean_overlap,
    mean_residual,
    neighbour_overlap,
    procrustes,
)
from cl_analyze.metrics.rsa import FEWEST_ROWS, RSA, ranked_pairs
from cl_analyze.pairs.plan import spans
from cl_analyze.pairs.rescoring import GRID
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.tables import Cell, Table

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]
Lists = NDArray[np.int32]

MOST_SOURCES = 40
"""Checkpoints up to which every pair is compared."""
HELD_BYTES = 512 << 20
"""Bytes of rows that are held where no budget of memory is given."""
PERMUTATIONS = 200
PERMUTED_ROWS = 256
"""Rows of a permutation of similarities."""
ROTATED_ROWS = 32
"""Rows of a permutation whose best rotation is sought, which costs their cube."""
_WORK, _MOST_WHOLE = 1_000_000, 20
"""Numbers of permuted matrices that give the mean residual of unrelated rows, and most of them."""
_AT_ONCE = 20
_BLOCK = 1_024
COLUMNS = columns_of("compare_matrix")
_COINCIDE = "all rows of a checkpoint coincide"
CLUSTER_COLUMNS = columns_of("compare_clusters")


@dataclass(frozen=True)
class _Held:
    """Unit rows in memory, read as `UnitRows` are."""

    rows: Matrix

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return int(self.rows.shape[1])

    def exact_block(self, start: int, stop: int) -> Matrix:
        """Unit rows start..stop-1."""
        return self.rows[start:stop]

    def take(self, rows: Index) -> Matrix:
        """The given rows."""
        return self.rows[rows]


@dataclass(frozen=True)
class _Member:
    """One checkpoint: its rows, and the neighbours of every row as rows of the reference."""

    title: str
    held: _Held
    space: Space
    lists: Lists | None


@dataclass
class AllAgainstAll:
    """Collects the checkpoints whose rows are those of the reference, then compares every pair.

    Attributes:
        dims: dimensions of all checkpoints, to know how many rows fit into memory.
        k: number of neighbours.
        most_bytes: of rows that are held; of more, a seeded sample.
    """

    dims: Sequence[int]
    k: int
    most_bytes: int
    _members: list[_Member] = field(default_factory=list)
    _sample: Index | None = None
    _groups: Index | None = None

    def add(
        self, title: str, rows: UnitRows, order: Index, lists: Lists | None, groups: Index | None
    ) -> None:
        """Add a checkpoint; the first is the reference.

        Args:
            title: name of the source.
            rows: its unit rows.
            order: (N,) for each row of the reference, the row that is the same item.
            lists: (N, more than k) nearest rows of each row, nearest first, as rows of the
                checkpoint; None: unknown.
            groups: (N,) codes of its rows that belong together; those of the reference count.
        """
        n = rows.n_rows
        if self._sample is None:
            most = max(self.most_bytes // (8 * sum(self.dims)), PERMUTED_ROWS)
            self._sample = np.arange(n)
            if n > most:
                drawn = np.random.default_rng(0).choice(n, most, replace=False)
                self._sample = np.sort(drawn)
            self._groups = groups
        if lists is not None and lists.shape[1] > self.k:
            back = np.empty(n, dtype=np.int32)
            back[order] = np.arange(n, dtype=np.int32)
            lists = back[lists[order, : self.k + 1]]
        else:
            lists = None
        held = _Held(rows.take(order[self._sample]))
        self._members.append(_Member(title, held, Space(held), lists))

    def tables(self, titles: Sequence[str], metrics: Collection[str]) -> list[Table]:
        """The tables compare_matrix and compare_clusters; none for fewer than two checkpoints.

        Args:
            titles: order of the checkpoints.
            metrics: names of the metrics to list.

        Cost: for each pair a few products of both matrices of rows, and singular value
        decompositions of D x D numbers; for each checkpoint 200 permutations of 256 x 256 numbers.
        """
        place = {title: i for i, title in enumerate(titles)}
        members = sorted(self._members, key=lambda member: place[member.title])
        if len(members) < 2:
            return []
        p_values = permutation_p_values([member.held.rows for member in members], self.k)
        rows: list[dict[str, Cell]] = []
        alike = np.eye(len(members))
        for a, one in enumerate(members):
            for b, other in enumerate(members[:a]):
                for metric, number, null in self._values(one, other, metrics):
                    if metric == CKA.name and number is not None:
                        alike[a, b] = alike[b, a] = number.value
                    if metric not in metrics:
                        continue
                    rows.append(
                        {
                            "source_a": one.title,
                            "source_b": other.title,
                            "metric": metric,
                            "k": self.k if metric == NEIGHBOUR_OVERLAP.name else None,
                            "value": None if number is None else number.value,
                            "std_error": None if number is None else number.std_error,
                            "n": one.space.n if number is None else number.n,
                            "null_mean": null,
                            "p_permutation": p_values.get((metric, b, a)),
                            "reason": _COINCIDE if number is None else None,
                        }
                    )
        if not rows:
            return []
        matrix = Table("compare_matrix", COLUMNS, tuple(rows))
        return [matrix, _clusters([member.title for member in members], alike)]

    def _values(
        self, one: _Member, other: _Member, metrics: Collection[str]
    ) -> Iterator[tuple[str, Number | None, float]]:
        """Each measure of a pair: its name, its value, and its mean under permuted rows.

        CKA in any case, for the clusters.  None in place of the value where all rows of a
        checkpoint coincide.
        """
        spaces = one.space, other.space
        n = one.space.n
        groups = None
        if self._groups is not None and self._sample is not None:
            groups = self._groups[self._sample]
        is_wanted = NEIGHBOUR_OVERLAP.name in metrics
        if is_wanted and one.lists is not None and other.lists is not None:
            lists = one.lists.astype(np.int64), other.lists.astype(np.int64)
            share = mean_overlap(neighbour_overlap(*lists, self.k), self._groups)
            if share is not None:
                yield NEIGHBOUR_OVERLAP.name, share, self.k / (len(one.lists) - 1)
        if n < FEWEST_ROWS or max(space.rows.dim for space in spaces) > WIDEST:
            return
        cross = Dependence(*spaces)
        with_itself = one.space.self_similarity, other.space.self_similarity
        cka = centred_kernel_alignment(cross, *with_itself, debiased=True, groups=groups)
        yield CKA.name, cka, 0.0
        if PROCRUSTES_RESIDUAL.name in metrics:
            residuals = procrustes(*spaces, cross.products).residuals
            residual = mean_residual(residuals, groups)
            yield PROCRUSTES_RESIDUAL.name, residual, _residual_of_permuted(*spaces)
        if RSA.name in metrics:
            yield RSA.name, correlation_of_ranks(*spaces, groups), 0.0


def _residual_of_permuted(one: Space, other: Space) -> float:
    """The mean residual after the best rotation onto permuted rows; many for small matrices."""
    n = one.n
    random = np.random.default_rng(0)
    n_permutations = min(max(_WORK // (n * one.rows.dim), 1), _MOST_WHOLE)
    residuals = []
    for _ in range(n_permutations):
        order = random.permutation(n)
        products = np.zeros((one.rows.dim, other.rows.dim))
        for start, stop in spans(n, _BLOCK):
            products += one.rows.exact_block(start, stop).T @ other.rows.take(order[start:stop])
        norm = np.linalg.svd(products, compute_uv=False).sum()
        residuals.append(max(2.0 - 2.0 * float(norm) / n, 0.0))
    return float(np.mean(residuals))


def permutation_p_values(
    rows: Sequence[Matrix], k: int, seed: int = 0
) -> dict[tuple[str, int, int], float | None]:
    """How often permuted rows are at least as alike as the rows in their order.

    The smallest p-value is 1 / (`PERMUTATIONS` + 1).  At most `PERMUTED_ROWS` seeded rows are
    permuted, of rotations `ROTATED_ROWS`: a p-value of a part of the rows is as valid as one of
    all.

    Args:
        rows: for each checkpoint, (n, D) unit rows; row i of all is the same item.
        k: number of neighbours.
        seed: seed of the rows and of the permutations.

    Returns:
        (metric, a, b) with a < b -> p; None where a statistic of a checkpoint has no spread.
        Empty for fewer than `FEWEST_ROWS` rows, which have too few permutations to tell anything.
    """
    n = len(rows[0])
    if n < FEWEST_ROWS:
        return {}
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(n, min(n, PERMUTED_ROWS), replace=False))
    m = len(chosen)
    orders = np.array([np.arange(m), *(random.permutation(m) for _ in range(PERMUTATIONS))])
    p_values: dict[tuple[str, int, int], float | None] = {}
    matrices = [_matrices(matrix[chosen], k, random) for matrix in rows]
    for metric in matrices[0]:
        stack = np.stack([own[metric].ravel() for own in matrices])
        for b in range(1, len(rows)):
            statistics = np.concatenate(
                [
                    stack[:b] @ _permuted(stack[b], orders[start : start + _AT_ONCE]).T
                    for start in range(0, len(orders), _AT_ONCE)
                ],
                axis=1,
            )
            for a in range(b):
                p_values[metric, a, b] = _p_value(statistics[a])
    few = [matrix[chosen[:ROTATED_ROWS]] for matrix in rows]
    factors = [_factor(matrix) for matrix in few]
    r = len(factors[0])
    turned = np.array([np.arange(r), *(random.permutation(r) for _ in range(PERMUTATIONS))])
    for b in range(1, len(rows)):
        permuted = factors[b][turned]
        for a in range(b):
            norms = np.linalg.svd(factors[a].T @ permuted, compute_uv=False).sum(axis=1)
            p_values[PROCRUSTES_RESIDUAL.name, a, b] = _p_value(norms)
    return p_values


def _matrices(rows: Matrix, k: int, random: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """(m, m) matrices whose products, entry by entry, are the statistics of a pair.

    Cosines centred as the unbiased HSIC centres them (Song et al. 2012), ranks of cosines less
    their mean, and 1 for the k nearest rows of each row, equal ones in random order: an order by
    number would be the same in both checkpoints.
    """
    m = len(rows)
    cosines = np.rint(rows @ rows.T * GRID) / GRID
    off_diagonal = ~np.eye(m, dtype=bool)
    similarities = np.where(off_diagonal, cosines, 0.0)
    sums = similarities.sum(axis=1)
    centred = similarities - (sums[:, None] + sums) / (m - 2) + sums.sum() / ((m - 1) * (m - 2))
    ranks = np.zeros((m, m))
    upper = np.triu_indices(m, 1)
    of_pairs = ranked_pairs(rows).ranks.astype(np.float64)
    ranks[upper] = of_pairs - of_pairs.mean()
    far = np.where(off_diagonal, -cosines, np.inf)
    nearest = np.lexsort((random.random((m, m)), far), axis=1)
    near = np.zeros((m, m))
    np.put_along_axis(near, nearest[:, : min(k, m - 2)], 1.0, axis=1)
    return {
        CKA.name: _unit(np.where(off_diagonal, centred, 0.0)),
        RSA.name: _unit(ranks + ranks.T),
        NEIGHBOUR_OVERLAP.name: near.astype(np.float32),
    }


def _unit(matrix: Matrix) -> NDArray[np.float32]:
    """A matrix of norm 1; of zeros where its entries are no more than rounding."""
    norm = float(np.linalg.norm(matrix))
    return (matrix / norm if norm > 1e-9 * len(matrix) else 0.0 * matrix).astype(np.float32)


def _permuted(flat: NDArray[np.float32], orders: Index) -> NDArray[np.float32]:
    """An (m, m) matrix with rows and columns in each of some orders, each as one row of numbers."""
    m = orders.shape[1]
    places = (m * orders[:, :, None] + orders[:, None, :]).reshape(len(orders), -1)
    taken: NDArray[np.float32] = flat[places]
    return taken


def _factor(rows: Matrix) -> Matrix:
    """(r, at most r) rows with the same cosines, in as few dimensions as there are rows."""
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(left * values)


def _p_value(statistics: NDArray[Any]) -> float | None:
    """The share of permutations at least as large as the first, which is no permutation."""
    observed, permuted = float(statistics[0]), statistics[1:]
    if not np.ptp(statistics) > 1e-6 * max(abs(observed), 1e-6):
        return None
    n_as_large = int((permuted >= observed - 1e-6 * abs(observed)).sum())
    return (1 + n_as_large) / (1 + len(permuted))


def _clusters(titles: Sequence[str], alike: Matrix) -> Table:
    """Average linkage of the checkpoints by 1 - CKA, in the order that puts near ones together."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distances = np.clip(1.0 - alike, 0.0, None)
    np.fill_diagonal(distances, 0.0)
    merges = linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    position = {int(leaf): float(place) for place, leaf in enumerate(leaves_list(merges))}
    rows: list[dict[str, Cell]] = [
        dict(zip(CLUSTER_COLUMNS, (i, title, None, None, 0.0, 1, position[i]), strict=True))
        for i, title in enumerate(titles)
    ]
    for j, (left, right, height, n) in enumerate(merges):
        node = len(titles) + j
        position[node] = 0.5 * (position[int(left)] + position[int(right)])
        merged = (node, None, int(left), int(right), float(height), int(n), position[node])
        rows.append(dict(zip(CLUSTER_COLUMNS, merged, strict=True)))
    return Table("compare_clusters", CLUSTER_COLUMNS, tuple(rows))
