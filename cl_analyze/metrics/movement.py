"""How a space moved between two checkpoints on the same rows: CKA, neighbour overlap, Procrustes.

No function holds an N x N matrix.  With centred unit rows x_i and y_i of the two checkpoints, the
similarity matrices are K = X X' and L = Y Y'.  CKA needs sums over pairs, and each of them follows
from sums over rows:

    sum_ij K_ij L_ij = |X'Y|^2,      row sums of K without its diagonal: -|x_i|^2,

because centred rows sum to zero.  A second pass over the rows gives the same sums without each row,
for the jackknife.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import K, Metric, Parameter
from cl_analyze.metrics.rsa import (
    FEWEST_ROWS,
    RSA,
    RankedPairs,
    rank_correlation,
    ranked_pairs,
    sample_of,
)
from cl_analyze.pairs.plan import spans
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.stats import pseudo_values, standard_error
from cl_analyze.results.tables import Cell, Record, Table, nearest_k

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_AGAINST = Parameter("against")
CKA = Metric(
    "cka",
    "none",
    "similarity of the cosine matrices of two checkpoints, 1 where the spaces are equal up to "
    "rotation and scale; linear_debiased has no bias from few rows.",
    ("linear_debiased", "linear"),
    parameters=(_AGAINST,),
    source="Kornblith et al. 2019; Song et al. 2012.",
    title="CKA",
)
NEIGHBOUR_OVERLAP = Metric(
    "neighbour_overlap",
    "share",
    "share of the k nearest rows that are the same in both checkpoints (mutual kNN).",
    parameters=(K, _AGAINST),
)
PROCRUSTES_RESIDUAL = Metric(
    "procrustes_residual",
    "squared_distance",
    "mean squared distance of unit rows after the best rotation of one checkpoint onto the other.",
    parameters=(_AGAINST,),
)


class Movements(Family):
    """The metrics of two checkpoints; `movement` computes them."""

    name = "movement"
    title = "How the space moved"
    metrics = (CKA, NEIGHBOUR_OVERLAP, PROCRUSTES_RESIDUAL, RSA)

    def compute(self, results: PassResults) -> FamilyResult:
        """No records: one checkpoint alone has no movement."""
        return FamilyResult(())


WIDEST = 8_192
"""Most dimensions for the D x D products."""
MOST_MOVED = 20
"""Number of rows in the table of moved rows."""
_BLOCK = 1_024
_OVERLAP_BLOCK = 4_096


class SpaceRows(Protocol):
    """Unit rows that are read block by block, as those of `UnitRows`."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        ...

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        ...

    def exact_block(self, start: int, stop: int) -> Matrix:
        """Unit rows start..stop-1 in float64."""
        ...

    def take(self, rows: Index) -> Matrix:
        """The given rows in float64."""
        ...


class Space:
    """Unit rows of one checkpoint, and the sums of CKA that depend on this checkpoint alone.

    Args:
        rows: unit rows; row i of both spaces is the same item.
    """

    def __init__(self, rows: SpaceRows) -> None:
        self.rows = rows

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.rows.n_rows

    @cached_property
    def mean(self) -> Vector:
        """(D,) the mean unit row."""
        total = np.zeros(self.rows.dim)
        for start, stop in spans(self.n, _BLOCK):
            total += self.rows.exact_block(start, stop).sum(axis=0)
        return total / self.n

    def centred(self) -> Iterator[tuple[slice, Matrix]]:
        """Unit rows less their mean, block by block."""
        for start, stop in spans(self.n, _BLOCK):
            yield slice(start, stop), self.rows.exact_block(start, stop) - self.mean

    @cached_property
    def squares(self) -> Vector:
        """(N,) squared norms of the centred rows."""
        squares = np.empty(self.n)
        for span, block in self.centred():
            squares[span] = np.einsum("ij,ij->i", block, block)
        return squares

    @cached_property
    def ranked_pairs(self) -> RankedPairs:
        """The cosines of pairs of rows by rank, of all rows or of the same seeded sample."""
        return ranked_pairs(self.rows.take(sample_of(self.n)))

    @cached_property
    def self_similarity(self) -> Dependence:
        """HSIC of the space with itself."""
        return Dependence(self, self)


class Dependence:
    """The unnormalised HSIC of two spaces on the same rows, and the same without each row.

    Attributes:
        products: (D_1, D_2) X'Y of the centred rows.
        biased, biased_without: the biased HSIC times (n - 1)^2, and (N,) without each row.
        unbiased, unbiased_without: the unbiased HSIC times n (n - 3), and (N,) without each row.

    Reference:
        Gretton et al., ALT 2005 (biased); Song et al., JMLR 2012, eq. 5 (unbiased); Kornblith et
        al., ICML 2019 (CKA).
    """

    def __init__(self, one: Space, other: Space) -> None:
        n = one.n
        products = np.zeros((one.rows.dim, other.rows.dim))
        weighted_x, weighted_y = np.zeros(one.rows.dim), np.zeros(other.rows.dim)
        p, q = one.squares, other.squares  # p_i = K_ii, q_i = L_ii
        for (span, x), (_, y) in zip(one.centred(), other.centred(), strict=True):
            products += x.T @ y
            weighted_x += q[span] @ x
            weighted_y += p[span] @ y
        row_products = np.empty(n)  # sum over j of K_ij L_ij
        cross_terms = np.empty(n)  # sum over j of K_ij q_j + p_j L_ij
        for (span, x), (_, y) in zip(one.centred(), other.centred(), strict=True):
            row_products[span] = np.einsum("ij,ij->i", x @ products, y)
            cross_terms[span] = x @ weighted_x + y @ weighted_y
        self.products = products
        pq = p * q
        square = float(np.square(products).sum())
        self.biased = square
        g = n / (n - 1)
        self.biased_without: Vector = square - 2 * g * row_products + g * g * pq
        pair_sum, row_sum_products = square - float(pq.sum()), float(pq.sum())
        self.unbiased = _unbiased(n, pair_sum, -p.sum(), -q.sum(), row_sum_products)
        off_diagonal = row_products - pq  # sum over j != i of K_ij L_ij
        self.unbiased_without: Vector = _unbiased(
            n - 1,
            pair_sum - 2 * off_diagonal,
            2 * p - p.sum(),
            2 * q - q.sum(),
            row_sum_products - 3 * pq + cross_terms + off_diagonal,
        )


def _unbiased(
    n: int, pair_sum: Vector | float, k: Vector, m: Vector, row_sum_products: Vector | float
) -> Vector:
    """n (n - 3) times the unbiased HSIC, from sums over matrices without their diagonals.

    Args:
        n: number of rows.
        pair_sum: sum of K_ij L_ij.
        k, m: sum of K, sum of L.
        row_sum_products: sum over i of (row sum of K) (row sum of L).
    """
    return np.asarray(pair_sum + k * m / ((n - 1) * (n - 2)) - 2 * row_sum_products / (n - 2))


def centred_kernel_alignment(
    cross: Dependence,
    one: Dependence,
    other: Dependence,
    debiased: bool,
    groups: Index | None = None,
) -> Number | None:
    """CKA, the normalised HSIC, with its jackknife error; None where all rows of a space coincide.

    Args:
        cross, one, other: HSIC of both spaces, of the first and of the second with itself.
        debiased: whether the unbiased HSIC is normalised.
        groups: (N,) codes of rows that belong together.
    """

    def hsic(spaces: Dependence) -> tuple[float, Vector]:
        if debiased:
            return float(spaces.unbiased), spaces.unbiased_without
        return spaces.biased, spaces.biased_without

    (xy, xy_without), (xx, xx_without), (yy, yy_without) = hsic(cross), hsic(one), hsic(other)
    n = len(xy_without)
    tiny = 1e-12 * n
    if min(xx, yy) <= tiny:
        return None
    value = xy / math.sqrt(xx * yy)
    if min(xx_without.min(), yy_without.min()) <= 0:  # without one row the others coincide
        return Number(value, None, n)
    pseudo = pseudo_values(value, xy_without / np.sqrt(xx_without * yy_without))
    return Number(value, standard_error(pseudo, groups), n, pseudo)


@dataclass(frozen=True)
class Rotation:
    """The Procrustes rotation: the orthogonal map that brings one space nearest to the other.

    Attributes:
        residuals: (N,) squared distance of each row to the same row of the other space, after the
            rotation.
    """

    residuals: Vector

    @property
    def residual(self) -> float:
        """The mean residual."""
        return float(self.residuals.mean())


def procrustes(one: Space, other: Space, products: Matrix) -> Rotation:
    """Orthogonal Procrustes: rotate the unit rows y of `other`, not centred, onto rows x of `one`.

    The smallest mean of |x_i - Q y_i|^2 over orthogonal Q is 2 - 2 |X'Y|_* / N, with |.|_* the
    nuclear norm.  Zeros pad the space with fewer dimensions.

    Args:
        one, other: the spaces.
        products: X'Y of the centred rows.

    Reference:
        Schonemann, Psychometrika 1966.
    """
    left, _, right = np.linalg.svd(
        products + one.n * np.outer(one.mean, other.mean), full_matrices=False
    )
    rotation = left @ right
    residuals = np.empty(one.n)
    for start, stop in spans(one.n, _BLOCK):
        x, y = one.rows.exact_block(start, stop), other.rows.exact_block(start, stop)
        residuals[start:stop] = 2.0 - 2.0 * np.einsum("ij,ij->i", x @ rotation, y)
    return Rotation(np.maximum(residuals, 0.0))


@dataclass(frozen=True)
class Overlap:
    """Overlap of the k nearest neighbours in two checkpoints.

    Attributes:
        shares: (N,) for each row, the share of its k nearest rows that are the same in both.
        effects: two (N,) vectors: the change that each row's presence as a neighbour makes to the
            sum of all shares.  Each vector comes from one half of the rows and is doubled; the
            covariance of the two has no variance of their noise.
    """

    shares: Vector
    effects: tuple[Vector, Vector]


def neighbour_overlap(one: Index, other: Index, k: int) -> Overlap:
    """Overlap of neighbours, and its change when a row is deleted: the next neighbour moves up.

    Args:
        one, other: (N, more than k) neighbours of the same rows, nearest first.
        k: number of neighbours, at most N - 2.
    """
    n = len(one)
    shared = np.empty(n)
    change = np.zeros((2, n))
    half = np.random.default_rng(0).permutation(n) % 2
    for start, stop in spans(n, _OVERLAP_BLOCK):
        offset = n * np.arange(stop - start)[:, None]
        a, b = one[start:stop, :k], other[start:stop, :k]
        next_a, next_b = one[start:stop, k], other[start:stop, k]
        a_in_b = np.isin(a + offset, b + offset)
        b_in_a = np.isin(b + offset, a + offset)
        shared[start:stop] = a_in_b.sum(axis=1)
        next_a_in_b = (next_a[:, None] == b).any(axis=1)
        next_b_in_a = (next_b[:, None] == a).any(axis=1)
        # a shared neighbour is deleted: the next neighbour moves up in both lists
        gain_of_both = next_a_in_b.astype(float) + next_b_in_a + (next_a == next_b) - 1.0
        halves = half[start:stop]
        rows, cols = np.nonzero(a_in_b)
        np.add.at(change, (halves[rows], a[rows, cols]), gain_of_both[rows])
        for lists, inside, gain in ((a, a_in_b, next_a_in_b), (b, b_in_a, next_b_in_a)):
            rows, cols = np.nonzero(~inside)
            np.add.at(change, (halves[rows], lists[rows, cols]), gain[rows].astype(float))
    return Overlap(shared / k, (-2.0 * change[0] / k, -2.0 * change[1] / k))


def mean_overlap(overlap: Overlap, groups: Index | None = None) -> Number | None:
    """The mean share of common neighbours with its error; None for too few rows.

    Args:
        overlap: of every row.
        groups: (N,) codes of rows that belong together.
    """
    shares = overlap.shares
    every = Anchors.every(len(shares))
    mean = mean_with_effects(shares, shares, overlap.effects, 0.0, groups, every)
    return None if mean is None or mean.pseudo_values is None else mean


def mean_residual(residuals: Vector, groups: Index | None = None) -> Number:
    """The mean (N,) residual of a rotation, which is taken as given, with its error over rows."""
    error = standard_error(residuals, groups)
    return Number(float(residuals.mean()), error, len(residuals), residuals)


def correlation_of_ranks(one: Space, other: Space, groups: Index | None = None) -> Number | None:
    """RSA of two spaces of at least `FEWEST_ROWS` rows; see `rank_correlation`."""
    of_pairs = None if groups is None else groups[sample_of(one.n)]
    return rank_correlation(one.ranked_pairs, other.ranked_pairs, of_pairs)


@dataclass(frozen=True)
class Movement:
    """The movement of one checkpoint from another.

    Attributes:
        records: cka, neighbour_overlap, procrustes_residual and rsa.
        rows, classes: tables of the rows and of the classes, the largest movement first.
    """

    records: tuple[Record, ...]
    rows: Table
    classes: Table


ROW_COLUMNS = columns_of("moved_rows")
CLASS_COLUMNS = columns_of("moved_classes")


def movement(
    source: str,
    against: str,
    one: Space,
    other: Space,
    neighbours: tuple[Index, Index] | None,
    ks: tuple[int, ...],
    labels: Labels | None = None,
    groups: Index | None = None,
) -> Movement:
    """Compare two spaces on the same rows.

    Args:
        source, against: names of the checkpoint and of the reference from which it moved.
        one, other: spaces of the checkpoint and of the reference; row i of both is the same item.
        neighbours: (N, max(ks) + 1 or all) nearest rows in each space, as row numbers of `one`;
            None: the lists are not known for all rows.
        ks: numbers of neighbours.
        labels: classes of the rows; None: no table of classes.
        groups: (N,) codes of rows that belong together.

    Cost: time O(N D_1 D_2 + D^3), memory O(D_1 D_2 + N).
    """
    n = one.n
    records: list[Record] = []

    def add(metric: Metric, number: Number | None, reason: str) -> None:
        metric = metric.at(against=against)
        if number is None:
            records.append(metric.undefined(source, None, reason))
        else:
            records.append(metric.record(source, None, number))

    residuals: Vector | None = None
    cka: dict[str, Number | None] = dict.fromkeys(CKA.definitions)
    reason = f"more than {WIDEST} dimensions" if max(one.rows.dim, other.rows.dim) > WIDEST else ""
    reason = reason or ("fewer than 5 rows" if n < 5 else "")
    if not reason:
        cross = Dependence(one, other)
        with_itself = one.self_similarity, other.self_similarity
        for name in CKA.definitions:
            cka[name] = centred_kernel_alignment(
                cross, *with_itself, name == "linear_debiased", groups
            )
        residuals = procrustes(one, other, cross.products).residuals
    for name, number in cka.items():
        add(CKA.at(name), number, reason or "all rows of a checkpoint coincide")
    shares: Vector | None = None
    k_of_tables = 0  # the k nearest to 10
    for k in ks:
        overlap = None
        no_overlap = "every other row is among so many neighbours"
        if neighbours is None:
            no_overlap = "neighbours of every row are needed: run without --anchors"
        elif k <= n - 2:
            overlap = neighbour_overlap(*neighbours, k)
            if k == nearest_k((k for k in ks if k <= n - 2), 10):
                shares, k_of_tables = overlap.shares, k
        mean = None if overlap is None else mean_overlap(overlap, groups)
        add(NEIGHBOUR_OVERLAP.at(k=k), mean, no_overlap)
    residual = None if residuals is None else mean_residual(residuals, groups)
    add(PROCRUSTES_RESIDUAL, residual, reason)
    correlation = None if n < FEWEST_ROWS else correlation_of_ranks(one, other, groups)
    why = "all cosines of a checkpoint are equal" if n >= FEWEST_ROWS else "fewer than 5 rows"
    add(RSA, correlation, why)
    rows, classes = _moved(source, against, residuals, shares, k_of_tables, labels)
    return Movement(tuple(records), rows, classes)


def _moved(
    source: str,
    against: str,
    residuals: Vector | None,
    shares: Vector | None,
    k: int,
    labels: Labels | None,
) -> tuple[Table, Table]:
    """Tables of rows and of classes, the largest movement first."""
    codes, names = (None, ()) if labels is None else (labels.codes, labels.names)

    def mean(values: Vector | None, members: Index) -> Cell:
        return None if values is None else float(values[members].mean())

    start: dict[str, Cell] = {"source": source, "against": against}
    rows: list[dict[str, Cell]] = []
    if residuals is not None:
        for row in np.argsort(-residuals, kind="stable")[:MOST_MOVED].tolist():
            code = -1 if codes is None else int(codes[row])
            rows.append(
                {
                    **start,
                    "row": row,
                    "label": names[code] if code >= 0 else None,
                    "squared_distance": float(residuals[row]),
                    "neighbour_overlap": None if shares is None else float(shares[row]),
                    "k": k or None,
                }
            )
    by_class: list[dict[str, Cell]] = []
    for code, name in enumerate(names):
        members = np.flatnonzero(codes == code)
        if len(members):
            by_class.append(
                {
                    **start,
                    "label": name,
                    "n": len(members),
                    "squared_distance": mean(residuals, members),
                    "neighbour_overlap": mean(shares, members),
                    "k": k or None,
                }
            )
    by_class.sort(key=lambda row: (-float(row["squared_distance"] or 0.0), str(row["label"])))
    return (
        Table("moved_rows", ROW_COLUMNS, tuple(rows)),
        Table("moved_classes", CLASS_COLUMNS, tuple(by_class)),
    )
