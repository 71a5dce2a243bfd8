"""Reductions over pairs, one file each.

    softmax.py       per row: log-sum-exp at a temperature, and the softmax's mean similarity;
                     the sum of the squared exponentials over all pairs
    neighbours.py    per row: the k largest similarities
    moments.py       per row: sums of s and s^2 over a set of pairs; counts under thresholds
    histogram.py     similarities and penalty mass in bins
    leave_one_out.py per row: gain of the others' penalty statistics when it is deleted (jackknife)
    received.py      per row: the weight it has in the softmaxes of the others
    kernel_sums.py   per row: sums of a kernel of the distance; pairs too near for a cosine
    softplus.py      per row: sums of log(1 + exp(s / tau + bias))
    ranks.py         per row: how many others are nearer than its partner
    suspects.py      per row: negatives that are nearly as near as its positive

The property tests run over ALL reducers that `__all__` lists: a new one gets its tests of identity,
associativity, blocks, threads and permutation by being listed.
"""

from cl_analyze.pairs.engine import Reducer
from cl_analyze.pairs.reducers.histogram import BinSums, PairHistogram, PenaltyHistogram
from cl_analyze.pairs.reducers.kernel_sums import KernelSums, NearPairs
from cl_analyze.pairs.reducers.leave_one_out import LeaveOneOut, PenaltyGiven
from cl_analyze.pairs.reducers.moments import PairMoments, RowCountsBelow
from cl_analyze.pairs.reducers.neighbours import NearestNeighbours
from cl_analyze.pairs.reducers.ranks import ColumnPartnerRanks, PartnerRanks
from cl_analyze.pairs.reducers.received import SoftmaxReceived, SoftmaxTotals
from cl_analyze.pairs.reducers.softmax import (
    ColumnLogSumExp,
    LogSumOfSquares,
    RowLogSumExp,
    SoftmaxMoments,
)
from cl_analyze.pairs.reducers.softplus import ColumnSoftplusSums, SoftplusSums
from cl_analyze.pairs.reducers.suspects import (
    SuspectCounts,
    SuspectedBy,
    SuspectGiven,
    SuspectReceived,
)

__all__ = [
    "ALL",
    "BinSums",
    "ColumnLogSumExp",
    "ColumnPartnerRanks",
    "ColumnSoftplusSums",
    "KernelSums",
    "LeaveOneOut",
    "LogSumOfSquares",
    "NearPairs",
    "NearestNeighbours",
    "PairHistogram",
    "PairMoments",
    "PartnerRanks",
    "PenaltyGiven",
    "PenaltyHistogram",
    "RowCountsBelow",
    "RowLogSumExp",
    "SoftmaxMoments",
    "SoftmaxReceived",
    "SoftmaxTotals",
    "SoftplusSums",
    "SuspectCounts",
    "SuspectGiven",
    "SuspectReceived",
    "SuspectedBy",
]

_CLASSES = [globals()[name] for name in __all__ if name != "ALL"]
ALL: tuple[type[Reducer], ...] = tuple(c for c in _CLASSES if issubclass(c, Reducer))
