"""How a space moved between two checkpoints on the same rows: CKA, neighbours, rotation.

Nothing here holds an N x N matrix.  With centred unit rows x_i and y_i of the two checkpoints the
similarity matrices are K = X X' and L = Y Y', and every sum over pairs that CKA needs is one over
rows of D x D products:

    sum_ij K_ij L_ij = |X'Y|^2,      row sums of K without its diagonal: -|x_i|^2,

because centred rows sum to zero.  The same sums without row i are a second look at each row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels
from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.anchors import Anchors
from cl_analyze.metrics.family import Family, FamilyResult, PassResults
from cl_analyze.metrics.means import Number, mean_with_effects
from cl_analyze.metrics.metric import K, Metric, Parameter
from cl_analyze.pairs.plan import spans
from cl_analyze.stats import pseudo_values, standard_error
from cl_analyze.tables import Cell, Record, Table

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_AGAINST = Parameter("against")
CKA = Metric(
    "cka",
    "none",
    "similarity of the two checkpoints' similarity matrices, 1 where equal up to rotation and "
    "scale; linear_debiased has no bias from few rows.",
    ("linear_debiased", "linear"),
    parameters=(_AGAINST,),
    source="Kornblith et al. 2019; Song et al. 2012.",
)
NEIGHBOUR_OVERLAP = Metric(
    "neighbour_overlap",
    "share",
    "share of the k nearest rows that are the same in both checkpoints.",
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
    metrics = (CKA, NEIGHBOUR_OVERLAP, PROCRUSTES_RESIDUAL)

    def compute(self, results: PassResults) -> FamilyResult:
        """One checkpoint alone has none."""
        return FamilyResult(())


WIDEST = 8_192
"""Dimensions above which the products are not formed."""
MOST_MOVED = 20
"""Rows that are listed."""
_BLOCK = 1_024
_OVERLAP_BLOCK = 4_096


class Space:
    """Unit rows of one checkpoint, and what CKA needs of them alone.

    Args:
        rows: unit rows.
        order: which rows, in which order, so that they are the other's; None: as they are.
    """

    def __init__(self, rows: UnitRows, order: Index | None = None) -> None:
        self.rows = rows if order is None else rows.select(order, 0)

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
        out = np.empty(self.n)
        for where, block in self.centred():
            out[where] = np.einsum("ij,ij->i", block, block)
        return out

    @cached_property
    def self_similarity(self) -> Dependence:
        """Its dependence on itself."""
        return Dependence(self, self)


class Dependence:
    """The unnormalised HSIC of two spaces on the same rows, and without each row.

    Reference:
        Gretton et al., ALT 2005 (biased); Song et al., JMLR 2012, eq. 5 (unbiased); Kornblith et
        al., ICML 2019 (CKA).
    """

    def __init__(self, one: Space, other: Space) -> None:
        n = one.n
        products = np.zeros((one.rows.dim, other.rows.dim))
        to_one, to_other = np.zeros(one.rows.dim), np.zeros(other.rows.dim)
        p, q = one.squares, other.squares
        for (where, x), (_, y) in zip(one.centred(), other.centred(), strict=True):
            products += x.T @ y
            to_one += q[where] @ x
            to_other += p[where] @ y
        form = np.empty(n)
        towards = np.empty(n)
        for (where, x), (_, y) in zip(one.centred(), other.centred(), strict=True):
            form[where] = np.einsum("ij,ij->i", x @ products, y)
            towards[where] = x @ to_one + y @ to_other
        self.products = products
        pq = p * q
        square = float(np.square(products).sum())
        self.biased = square
        g = n / (n - 1)
        self.biased_without: Vector = square - 2 * g * form + g * g * pq
        pairs, both = square - float(pq.sum()), float(pq.sum())
        self.unbiased = _unbiased(n, pairs, -p.sum(), -q.sum(), both)
        own = form - pq  # sum over j != i of K_ij L_ij
        self.unbiased_without: Vector = _unbiased(
            n - 1,
            pairs - 2 * own,
            2 * p - p.sum(),
            2 * q - q.sum(),
            both - 3 * pq + towards + own,
        )


def _unbiased(n: int, pairs: Vector | float, k: Vector, m: Vector, both: Vector | float) -> Vector:
    """n (n - 3) times the unbiased HSIC, from sums of KL, K, L and of the row sums' products."""
    return np.asarray(pairs + k * m / ((n - 1) * (n - 2)) - 2 * both / (n - 2))


def _cka(
    cross: Dependence,
    one: Dependence,
    other: Dependence,
    debiased: bool,
    groups: Index | None = None,
) -> Number | None:
    """Normalised dependence; None where a space has no spread to compare."""

    def parts(each: Dependence) -> tuple[float, Vector]:
        if debiased:
            return float(each.unbiased), each.unbiased_without
        return each.biased, each.biased_without

    (xy, xy_out), (xx, xx_out), (yy, yy_out) = parts(cross), parts(one), parts(other)
    tiny = 1e-12 * len(xy_out)
    if min(xx, yy) <= tiny:
        return None
    value = xy / math.sqrt(xx * yy)
    if min(xx_out.min(), yy_out.min()) <= 0:  # one row is all the spread that there is
        return Number(value, None, len(xy_out))
    pseudo = pseudo_values(value, xy_out / np.sqrt(xx_out * yy_out))
    return Number(value, standard_error(pseudo, groups), len(xy_out), pseudo)


@dataclass(frozen=True)
class Rotation:
    """The orthogonal map that brings one space nearest to the other.

    Attributes:
        residuals: (N,) squared distances of the rows to their counterparts after it.
    """

    residuals: Vector

    @property
    def residual(self) -> float:
        """Their mean."""
        return float(self.residuals.mean())


def procrustes(one: Space, other: Space, products: Matrix) -> Rotation:
    """Rotate the other's unit rows (not centred) onto one's; the narrower is padded with zeros.

    The least mean of |x_i - Q y_i|^2 over orthogonal Q is 2 - 2 |X'Y|_* / N, with the nuclear norm.

    Args:
        one, other: the spaces.
        products: X'Y of the centred rows.

    Reference:
        Schonemann, Psychometrika 1966.
    """
    left, _, right = np.linalg.svd(
        products + one.n * np.outer(one.mean, other.mean), full_matrices=False
    )
    turn = left @ right
    out = np.empty(one.n)
    for start, stop in spans(one.n, _BLOCK):
        x, y = one.rows.exact_block(start, stop), other.rows.exact_block(start, stop)
        out[start:stop] = 2.0 - 2.0 * np.einsum("ij,ij->i", x @ turn, y)
    return Rotation(np.maximum(out, 0.0))


@dataclass(frozen=True)
class Overlap:
    """How many of the k nearest rows two checkpoints share.

    Attributes:
        shares: (N,) share of the k nearest of each row that are so in both.
        effects: two (N,) vectors, what each row's presence as a neighbour adds to the sum of all
            shares, each from one half of the rows and doubled; their covariance is free of the
            chance that tips single neighbours.
    """

    shares: Vector
    effects: tuple[Vector, Vector]


def neighbour_overlap(one: Index, other: Index, k: int) -> Overlap:
    """Shared neighbours, and what deleting a row changes: the next neighbour moves up.

    Args:
        one, other: (N, more than k) neighbours of the same rows, nearest first.
        k: how many count, at most N - 2.
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
        # a shared neighbour goes: both lists move up
        both = next_a_in_b.astype(float) + next_b_in_a + (next_a == next_b) - 1.0
        halves = half[start:stop]
        rows, cols = np.nonzero(a_in_b)
        np.add.at(change, (halves[rows], a[rows, cols]), both[rows])
        for lists, inside, gain in ((a, a_in_b, next_a_in_b), (b, b_in_a, next_b_in_a)):
            rows, cols = np.nonzero(~inside)
            np.add.at(change, (halves[rows], lists[rows, cols]), gain[rows].astype(float))
    return Overlap(shared / k, (-2.0 * change[0] / k, -2.0 * change[1] / k))


@dataclass(frozen=True)
class Movement:
    """What moved between two checkpoints.

    Attributes:
        records: cka, neighbour_overlap and procrustes_residual.
        rows, classes: which moved most.
    """

    records: tuple[Record, ...]
    rows: Table
    classes: Table


ROW_COLUMNS = ("source", "against", "row", "label", "squared_distance", "neighbour_overlap", "k")
CLASS_COLUMNS = ("source", "against", "label", "n", "squared_distance", "neighbour_overlap", "k")


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
        source, against: names of the checkpoint that moved and of the one that it left.
        one, other: their spaces; row i of both is the same item.
        neighbours: (N, max(ks) + 1 or all) nearest rows in each, in one's numbering; None: the
            lists are not known for all rows.
        ks: how many neighbours count.
        labels: classes of the rows; None: no table of classes.
        groups: rows that belong together, for the errors.

    Cost: time O(N D_1 D_2 + D^3), memory O(D_1 D_2 + N).
    """
    n = one.n
    records: list[Record] = []

    def add(metric: Metric, number: Number | None, reason: str) -> None:
        at = metric.at(metric.definition, **metric.params, against=against)
        if number is None:
            records.append(at.undefined(source, None, reason))
        else:
            records.append(at.record(source, None, number))

    residuals: Vector | None = None
    of_cka: dict[str, Number | None] = dict.fromkeys(CKA.definitions)
    reason = f"more than {WIDEST} dimensions" if max(one.rows.dim, other.rows.dim) > WIDEST else ""
    reason = reason or ("fewer than 5 rows" if n < 5 else "")
    if not reason:
        cross = Dependence(one, other)
        own = one.self_similarity, other.self_similarity
        for name in CKA.definitions:
            of_cka[name] = _cka(cross, *own, name == "linear_debiased", groups)
        residuals = procrustes(one, other, cross.products).residuals
    for name, number in of_cka.items():
        add(CKA.at(name), number, reason or "all rows of a checkpoint coincide")
    shares: Vector | None = None
    shown = 0
    for k in ks:
        overlap = None
        why = "every other row is among so many neighbours"
        if neighbours is None:
            why = "neighbours of every row are needed: run without --anchors"
        elif k <= n - 2:
            overlap = neighbour_overlap(*neighbours, k)
            if not shown or abs(k - 10) < abs(shown - 10):
                shares, shown = overlap.shares, k
        mean = None
        if overlap is not None:
            mean = mean_with_effects(
                overlap.shares, overlap.shares, overlap.effects, 0.0, groups, Anchors.every(n)
            )
            if mean is not None and mean.pseudo_values is None:
                mean = None  # too few rows for an error
        add(NEIGHBOUR_OVERLAP.at(k=k), mean, why)
    rotated = None
    if residuals is not None:
        rotated = Number(float(residuals.mean()), standard_error(residuals, groups), n, residuals)
    add(PROCRUSTES_RESIDUAL, rotated, reason)
    rows, classes = _moved(source, against, residuals, shares, shown, labels)
    return Movement(tuple(records), rows, classes)


def _moved(
    source: str,
    against: str,
    residuals: Vector | None,
    shares: Vector | None,
    k: int,
    labels: Labels | None,
) -> tuple[Table, Table]:
    """Rows and classes, those that moved most first."""
    codes, names = (None, ()) if labels is None else (labels.codes, labels.names)

    def mean(values: Vector | None, which: NDArray[np.bool_] | Index) -> Cell:
        return None if values is None else float(values[which].mean())

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
        own = np.flatnonzero(codes == code)
        if len(own):
            by_class.append(
                {
                    **start,
                    "label": name,
                    "n": len(own),
                    "squared_distance": mean(residuals, own),
                    "neighbour_overlap": mean(shares, own),
                    "k": k or None,
                }
            )
    by_class.sort(key=lambda row: (-float(row["squared_distance"] or 0.0), str(row["label"])))
    return (
        Table("moved_rows", ROW_COLUMNS, tuple(rows)),
        Table("moved_classes", CLASS_COLUMNS, tuple(by_class)),
    )
