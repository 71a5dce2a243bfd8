"""A linear probe: how well logistic regression on frozen rows tells the classes.

Without a training set rows are cut into five parts, and each part is tested by a probe of the other
four (of more than 10,000 rows the first part alone).  A fifth of the training rows chooses the
penalty.  The probe's weights and class means give two measures of neural collapse too, NC3 and NC4
(Papyan, Han & Donoho, PNAS 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.metric import Metric
from cl_analyze.metrics.quality.context import Context, in_every_definition
from cl_analyze.metrics.quality.jackknife import Deletions, jackknife_error
from cl_analyze.metrics.quality.logistic import KEPT_BYTES as KEPT_BYTES
from cl_analyze.metrics.quality.logistic import MOST_ITERATIONS, Fitted, Split, fit
from cl_analyze.metrics.quality.rows import FORMS, FormRows, Index, Matrix, Vector, forms
from cl_analyze.pairs.executors import single_threaded_blas
from cl_analyze.results.declared_tables import columns_of
from cl_analyze.results.stats import share_interval
from cl_analyze.results.tables import Record, Table

MOST_ROWS = 50_000
"""Rows that a probe is trained on; of more, so many are drawn."""
N_FOLDS = 5
"""Parts that rows are cut into where no training set is given."""
FOLDED_ROWS = 10_000
"""Rows up to which every part is tested once; of more, the first part alone."""
CALIBRATION_BINS = 15
_VALUES_AT_ONCE = 1 << 21

ACCURACY = Metric(
    "probe_accuracy",
    "accuracy",
    "accuracy of multinomial logistic regression on rows on which it was not fitted.",
    definitions=FORMS,
    formulas=("accuracy on rows on which the probe was not fitted",),
    better="higher",
    needs="labels",
    title="linear probe",
)
CALIBRATION_ERROR = Metric(
    "probe_calibration_error",
    "share",
    "expected calibration error of the linear probe, 15 bins.",
    definitions=FORMS,
    formulas=("mean of the distance between accuracy and confidence in 15 bins",),
    better="lower",
    needs="labels",
)
NC3 = Metric(
    "nc3",
    "none",
    "distance between the probe's weights and the class means, both scaled to norm 1.",
    definitions=FORMS,
    formulas=(
        "‖W/‖W‖ − M/‖M‖‖_F, W of the fitted probe, M the centred means of its training rows; "
        "the mean over folds",
    ),
    better="lower",
    needs="labels",
    title="NC3",
)
NC4 = Metric(
    "nc4_disagreement",
    "share",
    "share of rows where the probe and the nearest class mean disagree.",
    definitions=FORMS,
    formulas=(
        "share of tested rows where the probe and the nearest class mean (of the same training "
        "rows) disagree",
    ),
    better="lower",
    needs="labels",
    title="NC4 disagreement",
)
METRICS = (ACCURACY, CALIBRATION_ERROR, NC3, NC4)

PROBE_COLUMNS = columns_of("probe")


# ---- which rows train and test


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


def _splits(context: Context) -> tuple[list[Split], Index, str]:
    """The folds, the training side's classes, and how it was done in words."""
    codes, groups, train = context.codes, context.subject.groups, context.subject.train
    random = np.random.default_rng(context.options.seed)
    if train is not None:
        tested = np.flatnonzero(codes >= 0)
        split, capped = _split(train.codes, train.codes >= 0, None, tested, random)
        return [split], train.codes, f"training set given{capped}"
    part = folds(codes, groups, random)
    n_tested = N_FOLDS if (codes >= 0).sum() <= FOLDED_ROWS else 1
    splits, capped = [], ""
    for fold in range(n_tested):
        others = (part >= 0) & (part != fold)
        split, capped = _split(codes, others, groups, np.flatnonzero(part == fold), random)
        if len(split.test) and len(split.train):
            splits.append(split)
    how = "five folds" if n_tested > 1 else "a fifth held out"
    how += ", balanced by class" if groups is None else ", whole groups"
    return splits, codes, how + capped


def _split(
    codes: Index,
    usable: NDArray[np.bool_],
    groups: Index | None,
    tested: Index,
    random: np.random.Generator,
) -> tuple[Split, str]:
    """A fifth of the usable rows validates; of too many, some are drawn."""
    side, capped = np.flatnonzero(usable), ""
    if len(side) > MOST_ROWS:
        side = np.sort(random.choice(side, MOST_ROWS, replace=False))
        capped = f"; {MOST_ROWS} of the training rows drawn"
    inside = np.full(len(codes), -1, np.int64)
    inside[side] = codes[side]
    validation = np.flatnonzero(folds(inside, groups, random) == 0)
    return Split(side, validation, tested), capped


# ---- testing


@dataclass(frozen=True)
class Tested:
    """Predictions of a probe for the tested rows.

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
    squares = np.square(probe.means).sum(axis=1)
    step = max(16, _VALUES_AT_ONCE // max(rows.shape[1], len(probe.classes)))
    parts = []
    with single_threaded_blas():
        for start in range(0, len(chosen), step):
            part = chosen[start : start + step]
            block, own, at = rows.take(part), codes[part], np.arange(len(part))
            logs = probe.log_probabilities(block)
            best = logs.argmax(axis=1)
            predicted = probe.classes[best]
            column = np.minimum(np.searchsorted(probe.classes, own), len(logs[0]) - 1)
            is_known = probe.classes[column] == own
            nearest = probe.classes[(squares - 2.0 * block @ probe.means.T).argmin(axis=1)]
            confidence = np.exp(logs[at, best])
            log_loss = np.where(is_known, -logs[at, column], np.inf)
            parts.append(Tested(predicted, predicted == own, confidence, log_loss, nearest))
    return joined(parts)


def joined(parts: Sequence[Tested]) -> Tested:
    """The tested rows of several parts, one after the other."""
    names = [field.name for field in fields(Tested)]
    return Tested(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


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


def self_duality(weights: Matrix, means: Matrix) -> float | None:
    """NC3: |W / |W| - M / |M||_F with both (C, D), M less its mean; None where one is constant."""
    centred = means - means.mean(axis=0)
    size, spread = np.linalg.norm(weights), np.linalg.norm(centred)
    if not (size > 0 and spread > 0):
        return None
    return float(np.linalg.norm(weights / size - centred / spread))


# ---- the probes of a checkpoint, their records and tables


@dataclass(frozen=True)
class FormProbes:
    """The probes of one form of the rows and their predictions for tested rows, fold by fold."""

    fitted: list[Fitted]
    tested: list[Tested]

    @cached_property
    def everything(self) -> Tested:
        """The tested rows of all folds."""
        return joined(self.tested)

    @cached_property
    def calibrated(self) -> Calibration:
        """Reliability over all folds."""
        return calibration(self.everything.confidence, self.everything.correct)

    @property
    def converged(self) -> bool:
        """Whether every fit ended by its tolerance."""
        return all(probe.converged for probe in self.fitted)


@dataclass(frozen=True)
class Probed:
    """The probes of one checkpoint.

    Attributes:
        splits: training, validation and test rows, fold by fold.
        how: the way of splitting, in words.
        forms: form -> its probes.
    """

    splits: list[Split]
    how: str
    forms: dict[str, FormProbes]

    @cached_property
    def test_rows(self) -> Index:
        """Tested rows of all folds, in the order of `FormProbes.everything`."""
        return np.concatenate([split.test for split in self.splits])


def probes(context: Context) -> Probed:
    """Fit and test on both forms; no forms where there are not two classes or no rows to test."""
    splits, train_codes, how = _splits(context)
    none = Probed([], how, {})
    if not splits:
        return none
    train = context.subject.train
    sides: tuple[FormRows, ...] = context.forms
    if train is not None:  # both sides on one scale
        sides = forms(train.rows, context.forms[0].scale)
    results: dict[str, FormProbes] = {}
    for form, side in zip(context.forms, sides, strict=True):
        context.runner.announce(f"linear probe, {form.form} rows")
        fitted: list[Fitted] = []
        similar = results["raw"].fitted[0] if results else None
        for split in splits:
            similar = fit(side, train_codes, split, context.local.n_at_once, similar)
            if similar is None:
                return none
            fitted.append(similar)
        tested = [
            test(probe, form, context.codes, split.test)
            for probe, split in zip(fitted, splits, strict=True)
        ]
        results[form.form] = FormProbes(fitted, tested)
    return Probed(splits, how, results)


def probe_records(context: Context) -> Iterator[Record]:
    """Accuracy, calibration, and the neural-collapse measures that need a classifier."""
    probed = context.once(probes)
    if not probed.forms:
        reason = "needs rows of two classes to train on, and rows to test"
        for metric in in_every_definition(METRICS):
            yield context.recorded(metric, None, reason=reason)
        return
    by_row = partial(context.by_row, probed.test_rows)
    for form, of_form in probed.forms.items():
        yield context.averaged(ACCURACY.at(form), by_row(of_form.everything.correct))
    for form, of_form in probed.forms.items():
        error = Deletions(of_form.calibrated.error, by_row(of_form.calibrated.without))
        yield context.jackknifed(CALIBRATION_ERROR.at(form), error)
    for form, of_form in probed.forms.items():
        distances = [self_duality(probe.weights.T, probe.means) for probe in of_form.fitted]
        known = [distance for distance in distances if distance is not None]
        yield context.recorded(
            NC3.at(form),
            float(np.mean(known)) if len(known) == len(distances) else None,
            # probes of four fifths each: the jackknife of five groups
            jackknife_error(distances),
            n=len(probed.splits[0].train),
            reason="the probe or the class means are constant",
        )
    for form, of_form in probed.forms.items():
        apart = of_form.everything.predicted != of_form.everything.nearest_mean
        yield context.averaged(NC4.at(form), by_row(apart))


def probe_table(context: Context) -> Table:
    """How each probe was fitted, and its scores."""
    probed = context.once(probes)
    blocks: list[dict[str, Any]] = []
    for form, of_form in probed.forms.items():
        how = {"split": probed.how, "seed": context.options.seed}
        folds_of_form = zip(of_form.fitted, of_form.tested, probed.splits, strict=True)
        for fold, (probe, tested, split) in enumerate(folds_of_form, 1):
            calibrated = calibration(tested.confidence, tested.correct)
            blocks.append(
                {
                    "definition": form,
                    "fold": fold,
                    **_scores(tested, calibrated),
                    "n_train": len(split.train),
                    "n_validation": len(split.validation),
                    "n_classes": len(probe.classes),
                    **how,
                    "penalty": probe.penalty,
                    "c": 1.0 / (probe.penalty * len(split.train)),
                    "validation_log_loss": probe.validation_log_loss,
                    "validation_accuracy": probe.validation_accuracy,
                    "iterations": probe.iterations,
                    "converged": probe.converged,
                }
            )
        if len(of_form.fitted) > 1:
            scores = _scores(of_form.everything, of_form.calibrated)
            ends = {**how, "converged": of_form.converged}
            blocks.append({"definition": form, "fold": "all", **scores, **ends})
    return replace(context.table("probe", *blocks), columns=PROBE_COLUMNS)


def calibration_table(context: Context) -> Table:
    """The reliability of the probes' confidence, one row for each bin that has rows."""
    probed = context.once(probes)
    blocks = []
    for form, of_form in probed.forms.items():
        calibrated = of_form.calibrated
        bins, n_bins = np.flatnonzero(calibrated.counts), len(calibrated.counts)
        blocks.append(
            {
                "definition": form,
                "bin_left": bins / n_bins,
                "bin_right": (bins + 1) / n_bins,
                "rows": calibrated.counts[bins],
                "mean_confidence": calibrated.confidence[bins],
                "accuracy": calibrated.accuracy[bins],
            }
        )
    return context.table("probe_calibration", *blocks)


def _scores(tested: Tested, calibrated: Calibration) -> dict[str, Any]:
    """Accuracy with its Clopper-Pearson interval, log loss (of trained classes), calibration."""
    n, right = len(tested.correct), int(tested.correct.sum())
    low, high = share_interval(right / n, n)
    seen = np.isfinite(tested.log_loss)
    return {
        "accuracy": right / n,
        "low": low,
        "high": high,
        "log_loss": float(tested.log_loss[seen].mean()) if seen.any() else None,
        "calibration_error": calibrated.error,
        "n_test": n,
    }


def probe_notes(context: Context) -> Iterator[str]:
    """A note where a probe's loss was still falling when its fit stopped."""
    probed = context.once(probes)
    slow = [form for form, of_form in probed.forms.items() if not of_form.converged]
    if slow:
        yield (
            f"{context.subject.source}: the linear probe of {' and '.join(slow)} rows stopped "
            f"after {MOST_ITERATIONS} steps, before its loss stopped falling"
        )
