"""Configurations of every reducer on small awkward inputs: for property tests and the GPU check."""

from __future__ import annotations

import numpy as np

from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs import reducers
from cl_analyze.pairs.distance_kernels import KERNELS
from cl_analyze.pairs.engine import PairSource
from cl_analyze.pairs.reducers.kernel_sums import NearPairsFound
from cl_analyze.pairs.reducers.neighbours import Neighbours
from cl_analyze.pairs.reducers.softmax import SoftmaxResult

TAUS = (0.01, 0.1, 0.25)
HAS_EDGES = (
    reducers.PairHistogram
    | reducers.RowCountsBelow
    | reducers.LeaveOneOut
    | reducers.KernelSums
    | reducers.NearPairs
    | reducers.BinSums
    | reducers.PartnerRanks
    | reducers.SuspectCounts
    | reducers.SuspectedBy
    | reducers.SuspectReceived
)


def embeddings(seed, n=37, d=5):
    """Rows with exact duplicates, a near-duplicate, an antipode, and labels with gaps."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, d))
    rows[[3, 20]] = rows[1]
    rows[8] = rows[2] + 1e-6
    rows[9] = -rows[4]
    labels = random.integers(-1, 4, n)
    return rows, labels


def source(rows, labels, dtype=np.float64):
    unit = UnitRows(RowArray.of(rows), dtype, 1 << 30)
    return PairSource(unit, unit, row_labels=labels, col_labels=labels)


def given_statistics(rows, tau, pairs, labels):
    """A LeaveOneOut's input, straight from the definition."""
    x = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    s = x @ x.T
    allowed = ~np.eye(len(s), dtype=bool)
    if pairs == "other_class":
        allowed &= (labels[:, None] != labels) & (labels >= 0) & (labels >= 0)[:, None]
    if pairs == "same_class":
        allowed &= (labels[:, None] == labels) & (labels >= 0)
    logits = np.where(allowed, s / tau, -np.inf)
    top = np.where(allowed.any(1), logits.max(1, initial=-np.inf), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_mass = np.log(np.exp(logits - top[:, None]).sum(1)) + top
        r = np.where(allowed, np.exp(logits - log_mass[:, None]), 0.0)
        entropy = -(np.where(r > 0, r * np.log(np.where(r > 0, r, 1)), 0)).sum(1)
    same = (labels[:, None] == labels) & (labels >= 0)
    ordered = np.sort(r, axis=1)[:, ::-1]
    return reducers.PenaltyGiven(
        None,
        log_mass,
        entropy,
        (r * same).sum(1),
        ordered[:, 0],
        ordered[:, :10].sum(1),
        np.where(ordered[:, 0] > 0.5, r.argmax(1), -1),
    )


def configurations(rows, labels):
    """Several configurations of every reducer in ALL."""
    n = len(rows)
    made = [reducers.PairMoments(), reducers.PairMoments("all")]
    made += [reducers.PairMoments("other_class")]
    for pairs in ("all", "same_class", "other_class"):
        made += [reducers.NearestNeighbours(4, pairs), reducers.PairHistogram(16, pairs)]
        made += [reducers.RowCountsBelow((-0.3, 0.0, 0.5), pairs)]
        for tau in TAUS:
            made += [reducers.RowLogSumExp(tau, pairs), reducers.SoftmaxMoments(tau, pairs)]
            made += [reducers.LogSumOfSquares(tau, pairs)]
    for tau in TAUS:
        for pairs in ("all", "other_class"):
            given = given_statistics(rows, tau, pairs, labels)
            made.append(reducers.LeaveOneOut(tau, pairs, True, given))
            made.append(reducers.LeaveOneOut(tau, pairs, False, given, ("top10_share",)))
    for tau in TAUS:
        for pairs in ("all", "same_class", "other_class"):
            log_mass = given_statistics(rows, tau, pairs, labels).log_mass
            totals = np.stack([log_mass, np.where(np.isfinite(log_mass), log_mass + 1, np.inf)], 1)
            made.append(reducers.ColumnLogSumExp(tau, pairs))
            given = reducers.SoftmaxTotals(None, totals)
            made.append(reducers.SoftmaxReceived(tau, pairs, True, given))
    for kernel in KERNELS:
        made += [reducers.KernelSums(kernel, 2.0, 1e-8), reducers.KernelSums(kernel, 1.0, 0.1)]
    for bias in (-10.0, 3.0):
        made.append(reducers.SoftplusSums(TAUS, bias))
        made.append(reducers.ColumnSoftplusSums(TAUS, bias))
    made.append(reducers.KernelSums("imq", 2.0, 0.0, "same_class"))
    made.append(reducers.NearPairs(0.5))
    for pairs in ("all", "same_class"):
        made.append(reducers.BinSums(16, np.linspace(-1, 2, 16) ** 3, pairs))
    partners = np.random.default_rng(len(rows)).uniform(-0.5, 1.0, n)
    for pairs in ("all", "other_class"):
        made.append(reducers.PartnerRanks(1e-3, pairs, partners))
        made.append(reducers.ColumnPartnerRanks(1e-3, pairs, partners))
    random = np.random.default_rng(n + 1)
    limits = np.sort(random.uniform(-0.2, 0.9, (n, 2)), axis=1)
    limits[random.random(n) < 0.2] = np.inf
    for pairs in ("all", "other_class"):
        made.append(reducers.SuspectCounts(2, 1, TAUS, pairs, limits))
        made.append(reducers.SuspectedBy(2, pairs, limits))
        masses = [given_statistics(rows, tau, pairs, labels).log_mass for tau in TAUS]
        given = reducers.SuspectGiven(None, limits[:, 0], np.stack(masses, axis=1))
        made.append(reducers.SuspectReceived(TAUS, pairs, given))
    log_masses = np.stack([given_statistics(rows, tau, "all", labels).log_mass for tau in TAUS])
    made.append(
        reducers.PenaltyHistogram(
            TAUS, 16, "all", np.arange(n), log_masses, np.full(n, 1 / n), np.full(n, n - 1.0)
        )
    )
    assert {type(reducer) for reducer in made} == set(reducers.ALL), "a reducer has no test here"
    return made


def arrays(result):
    """The arrays of a finalized result."""
    if isinstance(result, SoftmaxResult):
        return [result.log_mass, result.mean]
    if isinstance(result, NearPairsFound):
        return [result.first, result.second, np.array(result.n)]
    if isinstance(result, Neighbours):
        return [result.values]  # which of equal rows comes first is settled by re-scoring, below
    return [result]


def is_rectangular_only(reducer):
    return isinstance(reducer, reducers.PenaltyHistogram)
