"""A linear probe: multinomial logistic regression on frozen rows, by L-BFGS.

Without a training set rows are cut into five parts, and each part is tested by a probe of the other
four (of more than 10,000 rows the first part alone).  Rows are centred on the training rows and
divided by one spread for all coordinates, so that neither a rotation of the space nor other names
for the classes change the probe; the weight of the L2 penalty is the one of `PENALTIES` with the
least log loss on a fifth of the training rows (on few rows a steadier guide than accuracy); the
probe is then fitted to all training rows.  The objective is scikit-learn's (C = 1 / (penalty x
rows)), minimised by the same L-BFGS-B of SciPy, from rows that are read block by block, so that
memory does not grow with them; tests hold it to scikit-learn's coefficients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.validation import block_rows
from cl_analyze.metrics.quality.rows import FormRows
from cl_analyze.pairs.executors import single_threaded_blas
from cl_analyze.pairs.plan import spans

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.int64]
Block = NDArray[np.floating[Any]]

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Weights of half the squared norm of W, beside the mean log loss of a row; strongest first.

Weaker ones are tried for as long as the log loss of the validation rows falls.
"""
MOST_ROWS = 50_000
"""Rows that a probe is trained on; of more, so many are drawn."""
MOST_ITERATIONS = 1_000
GRADIENT_TOLERANCE, LOSS_TOLERANCE = 1e-4, 1e-7
"""A fit ends where no component of the gradient is larger, or a step gains less of the loss."""
SWEEP_TOLERANCE = 1e-5
"""The same for the fits that choose the penalty."""
CALIBRATION_BINS = 15
KEPT_BYTES = 1 << 29
"""Standardised training rows that are kept; others are read again at each step."""
_VALUES_AT_ONCE = 1 << 21
_FEW_VALUES = 1 << 22
"""Values of training rows up to which steps are taken in float64; of more in float32."""
N_FOLDS = 5
"""Parts that rows are cut into where no training set is given."""
FOLDED_ROWS = 10_000
"""Rows up to which every part is tested once; of more, the first part alone."""


@dataclass(frozen=True)
class Split:
    """Which rows train, validate and test a probe.

    Attributes:
        train: rows of the training side, validation rows among them.
        validation: those of them that choose the penalty.
        test: rows of the tested side.
    """

    train: Index
    validation: Index
    test: Index


def folds(codes: Index, groups: Index | None, random: np.random.Generator) -> Index:
    """(N,) part of each labelled row, 0 .. 4, -1 where unlabelled.

    Every class is spread over the parts as evenly as can be; rows that belong together share a part
    (then parts are of equal size, classes as they fall).
    """
    labelled = np.flatnonzero(codes >= 0)
    out = np.full(len(codes), -1, np.int64)
    if groups is None:
        shuffled = labelled[random.permutation(len(labelled))]
        # by class, the classes in the order of their first rows: their names change nothing
        _, first, of_row = np.unique(codes, return_index=True, return_inverse=True)
        shuffled = shuffled[np.argsort(first[of_row[shuffled]], kind="stable")]
        out[shuffled] = np.arange(len(shuffled)) % N_FOLDS
        return out
    units, of_row = np.unique(groups[labelled], return_inverse=True)
    sizes = np.bincount(of_row)
    part = np.empty(len(units), np.int64)
    filled = np.zeros(N_FOLDS)
    for unit in random.permutation(len(units)):
        part[unit] = filled.argmin()
        filled[part[unit]] += sizes[unit]
    out[labelled] = part[of_row]
    return out


@dataclass(frozen=True)
class Fitted:
    """A fitted probe, in the coordinates of the rows (standardisation undone).

    Attributes:
        weights: (D, C) columns belong to `classes`.
        bias: (C,).
        classes: (C,) class codes of the training rows, ascending.
        means: (C, D) class means of the training rows.
        centre: (D,) and
        spread: (D,) what rows are standardised with, the spread alike in all coordinates.
        penalty: chosen weight of the L2 penalty.
        iterations: of the last fit.
        converged: whether it ended by its tolerance.
        validation_log_loss, validation_accuracy: at the chosen penalty; None where no row could
            validate.
        starts: parameters that each penalty ended at, to start a similar fit from.
    """

    weights: Matrix
    bias: Vector
    classes: Index
    means: Matrix
    centre: Vector
    spread: Vector
    penalty: float
    iterations: int
    converged: bool
    validation_log_loss: float | None
    validation_accuracy: float | None
    starts: dict[float, Vector]

    def log_probabilities(self, block: Matrix) -> Matrix:
        """(rows, C) log probabilities of rows."""
        scores = ((block - self.centre) / self.spread) @ (
            self.weights * self.spread[:, None]
        ) + self._standard_bias()
        scores -= scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return np.asarray(scores - log_sums)

    def _standard_bias(self) -> Vector:
        return self.bias + self.centre @ self.weights


class _Rows:
    """Standardised rows of a side, in blocks; the first of them are kept."""

    def __init__(
        self,
        form: FormRows,
        rows: Index,
        targets: Index,
        centre: Vector,
        spread: Vector,
    ) -> None:
        self._form, self._rows, self.targets = form, rows, targets
        self._centre, self._spread = centre, spread
        self._step = max(64, _VALUES_AT_ONCE // len(centre))
        self.spans = spans(len(rows), self._step)
        self.dtype = np.float64 if len(rows) * len(centre) <= _FEW_VALUES else np.float32
        self._kept: dict[int, Block] = {}
        self._room = KEPT_BYTES

    def __len__(self) -> int:
        return len(self._rows)

    def block(self, index: int) -> tuple[Block, Index]:
        """Rows and targets of a block."""
        start, stop = self.spans[index]
        found = self._kept.get(index)
        if found is None:
            wide = (self._form.take(self._rows[start:stop]) - self._centre) / self._spread
            found = wide.astype(self.dtype)
            if found.nbytes <= self._room:
                self._room -= found.nbytes
                self._kept[index] = found
        return found, self.targets[start:stop]


_Sums = tuple[float, int, Matrix | None]


@dataclass(frozen=True)
class _Step:
    """Log loss of a block at given parameters, and its gradient or how many rows are right."""

    rows: _Rows
    parameters: Block
    gradient: bool = True

    def __call__(self, index: int) -> _Sums:
        block, targets = self.rows.block(index)
        scores = block @ self.parameters[:-1]
        scores += self.parameters[-1]
        peaks = scores.max(axis=1, keepdims=True)
        at = np.arange(len(block)), targets
        hits = 0 if self.gradient else int((scores.argmax(axis=1) == targets).sum())
        scores -= peaks
        own = scores[at].astype(np.float64)
        np.exp(scores, out=scores)
        sums = scores.sum(axis=1, dtype=np.float64)
        loss = float((np.log(sums) - own).sum())
        if not self.gradient:
            return loss, hits, None
        scores /= sums.astype(scores.dtype)[:, None]
        scores[at] -= 1.0
        found = np.empty(self.parameters.shape)
        found[:-1] = block.T @ scores
        found[-1] = scores.sum(axis=0, dtype=np.float64)
        return loss, hits, found


class _Objective:
    """Mean log loss plus penalty / 2 |W|^2, from blocks on several threads, summed in order."""

    def __init__(self, rows: _Rows, n_classes: int, pool: ThreadPoolExecutor) -> None:
        self.rows, self._n_classes, self._pool = rows, n_classes, pool

    def sums(self, parameters: Vector, gradient: bool) -> Iterator[_Sums]:
        """Log loss, hits and gradient of each block, in order."""
        step = _Step(
            self.rows, parameters.reshape(-1, self._n_classes).astype(self.rows.dtype), gradient
        )
        n_blocks = len(self.rows.spans)
        if n_blocks == 1:
            return iter([step(0)])
        return self._pool.map(step, range(n_blocks))

    def scores(self, parameters: Vector) -> tuple[float, float]:
        """Mean log loss, and share of the rows whose class has the highest score."""
        found = [(loss, hits) for loss, hits, _ in self.sums(parameters, False)]
        n = len(self.rows)
        return sum(loss for loss, _ in found) / n, sum(hits for _, hits in found) / n

    def __call__(self, parameters: Vector, penalty: float) -> tuple[float, Vector]:
        loss, total = 0.0, np.zeros((len(parameters) // self._n_classes, self._n_classes))
        for part, _, gradient in self.sums(parameters, True):
            loss += part
            assert gradient is not None
            total += gradient
        n = len(self.rows)
        weights = parameters.reshape(-1, self._n_classes)[:-1]
        total /= n
        total[:-1] += penalty * weights
        value = loss / n + 0.5 * penalty * float(np.square(weights).sum())
        return value, total.ravel()

    def minimum(
        self, starts: Sequence[Vector], penalty: float, tolerance: float
    ) -> tuple[Vector, int, bool]:
        """Parameters, iterations, and whether it ended by its tolerance; from the best start."""
        from scipy.optimize import minimize

        found = minimize(
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
        return found.x, int(found.nit), bool(found.nit < MOST_ITERATIONS)


def fit(
    rows: FormRows,
    codes: Index,
    split: Split,
    n_threads: int,
    similar: Fitted | None = None,
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
    dim = rows.shape[1]
    centre, spread, means = _moments(rows, split.train, targets, n_classes)
    is_validation = np.isin(split.train, split.validation)
    with single_threaded_blas(), ThreadPoolExecutor(n_threads) as pool:

        def objective(chosen: NDArray[np.bool_]) -> _Objective:
            part = _Rows(rows, split.train[chosen], targets[chosen], centre, spread)
            return _Objective(part, n_classes, pool)

        parameters = np.zeros((dim + 1) * n_classes)
        known: dict[float, Vector] = {}
        if similar is not None and np.array_equal(similar.classes, classes):
            known = similar.starts
        ends: dict[float, Vector] = {}
        best, penalty = parameters, PENALTIES[0]
        best_loss, its_accuracy = None, None
        if is_validation.any() and not is_validation.all():
            training, validation = objective(~is_validation), objective(is_validation)
            for weight in PENALTIES:
                starts = [parameters, *([known[weight]] if weight in known else [])]
                parameters, _, _ = training.minimum(starts, weight, SWEEP_TOLERANCE)
                ends[weight] = parameters
                loss, accuracy = validation.scores(parameters)
                if best_loss is not None and loss >= best_loss:
                    break
                best, best_loss, its_accuracy, penalty = parameters, loss, accuracy, weight
            del training, validation
        everything = objective(np.ones(len(split.train), dtype=bool))
        parameters, iterations, converged = everything.minimum([best], penalty, LOSS_TOLERANCE)
    table = parameters.reshape(-1, n_classes)
    weights = table[:-1] / spread[:, None]
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
        its_accuracy,
        ends,
    )


def _moments(
    rows: FormRows, chosen: Index, targets: Index, n_classes: int
) -> tuple[Vector, Vector, Matrix]:
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
    if spread <= 1e-12 * float(largest.max()):  # what varies by rounding alone says nothing
        spread = 1.0
    return centre, np.full(dim, spread), sums / counts[:, None]


@dataclass(frozen=True)
class Tested:
    """What a probe says of the tested rows.

    Attributes:
        predicted: (n,) class codes.
        correct: (n,) whether they are right.
        confidence: (n,) probability of the predicted class.
        log_loss: (n,) -log of the true class's probability; infinite for unseen classes.
        nearest_mean: (n,) class whose training mean is nearest.
    """

    predicted: Index
    correct: NDArray[np.bool_]
    confidence: Vector
    log_loss: Vector
    nearest_mean: Index


def test(probe: Fitted, rows: FormRows, codes: Index, chosen: Index) -> Tested:
    """Apply a probe to the chosen rows; ties go to the first class."""
    n = len(chosen)
    predicted, nearest = np.empty(n, np.int64), np.empty(n, np.int64)
    confidence, log_loss = np.empty(n), np.empty(n)
    squares = np.square(probe.means).sum(axis=1)
    step = max(16, _VALUES_AT_ONCE // max(rows.shape[1], len(probe.classes)))
    with single_threaded_blas():
        for start in range(0, n, step):
            part = chosen[start : start + step]
            block = rows.take(part)
            logs = probe.log_probabilities(block)
            best = logs.argmax(axis=1)
            at = slice(start, start + len(part))
            predicted[at] = probe.classes[best]
            confidence[at] = np.exp(logs[np.arange(len(part)), best])
            column = np.minimum(np.searchsorted(probe.classes, codes[part]), len(logs[0]) - 1)
            known = probe.classes[column] == codes[part]
            own = logs[np.arange(len(part)), column]
            log_loss[at] = np.where(known, -own, np.inf)
            nearest[at] = probe.classes[(squares - 2.0 * block @ probe.means.T).argmin(axis=1)]
    return Tested(predicted, predicted == codes[chosen], confidence, log_loss, nearest)


def joined(parts: Sequence[Tested]) -> Tested:
    """The tested rows of several parts, one after the other."""
    return Tested(
        np.concatenate([part.predicted for part in parts]),
        np.concatenate([part.correct for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.log_loss for part in parts]),
        np.concatenate([part.nearest_mean for part in parts]),
    )


@dataclass(frozen=True)
class Calibration:
    """Reliability of a probe's confidence in equal bins (Guo et al., ICML 2017).

    Attributes:
        counts, confidence, accuracy: (bins,) rows, and their means; NaN in empty bins.
        error: expected calibration error, the mean over rows of |accuracy - confidence| of bins.
        without: (n,) the same without each row.
    """

    counts: Index
    confidence: Vector
    accuracy: Vector
    error: float
    without: Vector


def calibration(confidence: Vector, correct: NDArray[np.bool_]) -> Calibration:
    """Bin rows by the confidence of their prediction; a bin holds its right edge.

    >>> round(calibration(np.array([0.9, 0.9]), np.array([True, False])).error, 9)
    0.4
    """
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    bins = np.clip(bins, 0, CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS).astype(np.int64)
    gaps = correct.astype(np.float64) - confidence
    sums = np.bincount(bins, gaps, CALIBRATION_BINS)
    total, n = float(np.abs(sums).sum()), len(bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(bins, confidence, CALIBRATION_BINS) / counts
        right = np.bincount(bins, correct.astype(np.float64), CALIBRATION_BINS) / counts
        without = (total - np.abs(sums[bins]) + np.abs(sums[bins] - gaps)) / (n - 1)
    return Calibration(counts, mean, right, total / n, without)
