"""Multinomial logistic regression with an L2 penalty, by L-BFGS, on rows read block by block.

Rows are centred on the training rows and divided by one spread for all coordinates, so that neither
a rotation of the space nor other names for the classes change the probe.  The weight of the penalty
is the one of `PENALTIES` with the least log loss on the validation rows (on few rows a steadier
guide than accuracy); the probe is then fitted to all training rows.  The objective is
scikit-learn's (C = 1 / (penalty x rows)), minimised by the same L-BFGS-B of SciPy, but memory does
not grow with the rows; tests hold it to scikit-learn's coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.quality.rows import FormRows, Index, Matrix, Vector
from cl_analyze.pairs.executors import single_threaded_blas
from cl_analyze.pairs.plan import spans
from cl_analyze.pairs.threads import Threads

Block = NDArray[np.floating[Any]]

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Weights of half the squared norm of W, beside the mean log loss of a row; strongest first.

Weaker ones are tried for as long as the log loss of the validation rows falls.
"""
MOST_ITERATIONS = 1_000
GRADIENT_TOLERANCE, LOSS_TOLERANCE = 1e-4, 1e-7
"""A fit ends where no component of the gradient is larger, or a step gains less of the loss."""
SWEEP_TOLERANCE = 1e-5
"""The loss tolerance of the fits that choose the penalty."""
KEPT_BYTES = 1 << 29
"""Standardised training rows that are kept; others are read again at each step."""
_VALUES_AT_ONCE = 1 << 21
_FEW_VALUES = 1 << 22
"""Values of training rows up to which steps are taken in float64; of more in float32."""


@dataclass(frozen=True)
class Split:
    """Which rows train, validate and test a probe.

    Attributes:
        train: rows of the training side, validation rows among them.
        validation: training rows that choose the penalty.
        test: rows of the tested side.
    """

    train: Index
    validation: Index
    test: Index


@dataclass(frozen=True)
class Fitted:
    """A fitted probe, in the coordinates of the rows (standardisation undone).

    Attributes:
        weights: (D, C) columns belong to `classes`.
        bias: (C,).
        classes: (C,) class codes of the training rows, ascending.
        means: (C, D) class means of the training rows.
        centre, spread: (D,) and one number that rows are standardised with.
        penalty: chosen weight of the L2 penalty.
        iterations: of the last fit.
        converged: whether the last fit ended by its tolerance.
        validation_log_loss, validation_accuracy: at the chosen penalty; None where no row could
            validate.
        starts: parameters that each penalty ended at, to start a similar fit from.
    """

    weights: Matrix
    bias: Vector
    classes: Index
    means: Matrix
    centre: Vector
    spread: float
    penalty: float
    iterations: int
    converged: bool
    validation_log_loss: float | None
    validation_accuracy: float | None
    starts: dict[float, Vector]

    def log_probabilities(self, block: Matrix) -> Matrix:
        """(rows, C) log probabilities of rows."""
        standard = (block - self.centre) / self.spread
        scores = standard @ (self.weights * self.spread)
        scores += self.bias + self.centre @ self.weights
        scores -= scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return np.asarray(scores - log_sums)


class _Rows:
    """Standardised rows of a side, in blocks; the first of them are kept."""

    def __init__(
        self, form: FormRows, rows: Index, targets: Index, centre: Vector, spread: float
    ) -> None:
        self._form, self._rows, self._targets = form, rows, targets
        self._centre, self._spread = centre, spread
        self.spans = spans(len(rows), max(64, _VALUES_AT_ONCE // len(centre)))
        self.dtype = np.float64 if len(rows) * len(centre) <= _FEW_VALUES else np.float32
        self._kept: dict[int, Block] = {}
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        return len(self._rows)

    def block(self, index: int) -> tuple[Block, Index]:
        """Rows and targets of a block."""
        start, stop = self.spans[index]
        block = self._kept.get(index)
        if block is None:
            wide = (self._form.take(self._rows[start:stop]) - self._centre) / self._spread
            block = wide.astype(self.dtype)
            if block.nbytes <= self._room:
                self._room -= block.nbytes
                self._kept[index] = block
        return block, self._targets[start:stop]


_Sums = tuple[float, int, Matrix | None]


class _Objective:
    """Mean log loss plus penalty / 2 |W|^2, from blocks on several threads, summed in order."""

    def __init__(self, rows: _Rows, n_classes: int, threads: Threads) -> None:
        self._rows, self._n_classes, self._threads = rows, n_classes, threads

    def _sums_of(self, parameters: Block, gradient: bool, index: int) -> _Sums:
        """Log loss of a block, and how many of the rows are right or the gradient."""
        block, targets = self._rows.block(index)
        # a line for each class: sums over classes then add whole lines, twice as fast
        scores = parameters[:-1].T @ block.T
        scores += parameters[-1][:, None]
        at = targets, np.arange(len(block))
        hits = 0 if gradient else int((scores.argmax(axis=0) == targets).sum())
        scores -= scores.max(axis=0)
        own = scores[at].astype(np.float64)
        np.exp(scores, out=scores)
        sums = scores.sum(axis=0, dtype=np.float64)
        loss = float((np.log(sums) - own).sum())
        if not gradient:
            return loss, hits, None
        scores *= (1.0 / sums).astype(scores.dtype)
        scores[at] -= 1.0
        slope = np.empty(parameters.shape)
        slope[:-1] = (scores @ block).T
        slope[-1] = scores.sum(axis=1, dtype=np.float64)
        return loss, hits, slope

    def _sums(self, parameters: Vector, gradient: bool) -> Iterator[_Sums]:
        """Log loss, hits and gradient of each block, in order."""
        table: Block = parameters.reshape(-1, self._n_classes).astype(self._rows.dtype)
        step = partial(self._sums_of, table, gradient)
        n_blocks = len(self._rows.spans)
        if n_blocks == 1:
            return iter([step(0)])
        return self._threads.map(step, range(n_blocks), n_blocks)

    def scores(self, parameters: Vector) -> tuple[float, float]:
        """Mean log loss, and share of the rows whose class has the highest score."""
        losses, hits, _ = zip(*self._sums(parameters, False), strict=True)
        n = len(self._rows)
        return sum(losses) / n, sum(hits) / n

    def __call__(self, parameters: Vector, penalty: float) -> tuple[float, Vector]:
        """The objective and its gradient."""
        table = parameters.reshape(-1, self._n_classes)
        loss, total = 0.0, np.zeros(table.shape)
        for part, _, gradient in self._sums(parameters, True):
            loss += part
            assert gradient is not None
            total += gradient
        n = len(self._rows)
        weights = table[:-1]
        total /= n
        total[:-1] += penalty * weights
        value = loss / n + 0.5 * penalty * float(np.square(weights).sum())
        return value, total.ravel()

    def minimum(
        self, starts: Sequence[Vector], penalty: float, tolerance: float
    ) -> tuple[Vector, int, bool]:
        """Parameters, iterations, and whether the tolerance ended the fit; from the best start."""
        from scipy.optimize import minimize

        end = minimize(
            self,
            starts[0] if len(starts) == 1 else min(starts, key=lambda p: self(p, penalty)[0]),
            args=(penalty,),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": MOST_ITERATIONS,
                "gtol": GRADIENT_TOLERANCE,
                "ftol": tolerance,
                "maxcor": 10,
            },
        )
        return end.x, int(end.nit), bool(end.nit < MOST_ITERATIONS)


def fit(
    rows: FormRows, codes: Index, split: Split, n_threads: int, similar: Fitted | None = None
) -> Fitted | None:
    """Fit a probe to the training rows.

    Args:
        rows: of the training side.
        codes: (N,) classes of these rows.
        split: which of them train and validate.
        n_threads: blocks at a time.
        similar: a probe of almost the same rows, to start from; the minimum is the same.

    Returns:
        The probe; None where the training rows have fewer than two classes.

    Cost: two products of the training rows with D x C numbers for each step of L-BFGS, some dozens
    for each penalty.
    """
    classes, targets = np.unique(codes[split.train], return_inverse=True)
    n_classes = len(classes)
    if n_classes < 2:
        return None
    centre, spread, means = _moments(rows, split.train, targets, n_classes)
    is_validation = np.isin(split.train, split.validation)
    with single_threaded_blas(), Threads(n_threads) as threads:

        def objective(chosen: NDArray[np.bool_]) -> _Objective:
            part = _Rows(rows, split.train[chosen], targets[chosen], centre, spread)
            return _Objective(part, n_classes, threads)

        parameters = np.zeros((rows.shape[1] + 1) * n_classes)
        known: dict[float, Vector] = {}
        if similar is not None and np.array_equal(similar.classes, classes):
            known = similar.starts
        ends: dict[float, Vector] = {}
        best, penalty = parameters, PENALTIES[0]
        best_loss, best_accuracy = None, None
        if is_validation.any() and not is_validation.all():
            training, validation = objective(~is_validation), objective(is_validation)
            for weight in PENALTIES:
                starts = [parameters, *([known[weight]] if weight in known else [])]
                parameters, _, _ = training.minimum(starts, weight, SWEEP_TOLERANCE)
                ends[weight] = parameters
                loss, accuracy = validation.scores(parameters)
                if best_loss is not None and loss >= best_loss:
                    break
                best, best_loss, best_accuracy, penalty = parameters, loss, accuracy, weight
            del training, validation
        everything = objective(np.ones(len(split.train), dtype=bool))
        parameters, iterations, converged = everything.minimum([best], penalty, LOSS_TOLERANCE)
    table = parameters.reshape(-1, n_classes)
    weights = table[:-1] / spread
    return Fitted(
        weights,
        table[-1] - centre @ weights,
        classes,
        means,
        centre,
        spread,
        penalty,
        iterations,
        converged,
        best_loss,
        best_accuracy,
        ends,
    )


def _moments(
    rows: FormRows, chosen: Index, targets: Index, n_classes: int
) -> tuple[Vector, float, Matrix]:
    """Mean, spread and class means of the chosen rows.

    The spread is the root of the coordinates' mean variance, 1 where rows do not differ.
    """
    dim = rows.shape[1]
    sums, step = np.zeros((n_classes, dim)), block_rows(dim)
    for start in range(0, len(chosen), step):
        np.add.at(sums, targets[start : start + step], rows.take(chosen[start : start + step]))
    centre = sums.sum(axis=0) / len(chosen)
    squares, largest = np.zeros(dim), np.zeros(dim)
    for start in range(0, len(chosen), step):
        block = rows.take(chosen[start : start + step])
        squares += np.square(block - centre).sum(axis=0)
        largest = np.maximum(largest, np.abs(block).max(axis=0))
    spread = float(np.sqrt(squares.mean() / len(chosen)))
    counts = np.bincount(targets, minlength=n_classes)
    if spread <= 1e-12 * float(largest.max()):  # rounding alone says nothing
        spread = 1.0
    return centre, spread, sums / counts[:, None]
