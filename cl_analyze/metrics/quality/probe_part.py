"""Records and tables of the linear probe, on rows as saved and on the sphere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.quality.classes import self_duality
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.neighbours_part import Classified
from cl_analyze.metrics.quality.probe import (
    MOST_ROWS,
    Calibration,
    Fitted,
    Split,
    Tested,
    calibration,
    fit,
    held_out,
    test,
)
from cl_analyze.metrics.quality.rows import FORMS, FormRows, forms
from cl_analyze.tables import Cell, Record, Table

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

TEST_SHARE = VALIDATION_SHARE = 0.2
Z95 = 1.959963984540054

PROBE_COLUMNS = (
    "source",
    "definition",
    "accuracy",
    "low",
    "high",
    "log_loss",
    "calibration_error",
    "n_train",
    "n_validation",
    "n_test",
    "n_classes",
    "split",
    "seed",
    "penalty",
    "c",
    "validation_accuracy",
    "iterations",
    "converged",
)
CALIBRATION_COLUMNS = (
    "source",
    "definition",
    "bin",
    "rows",
    "mean_confidence",
    "accuracy",
)
CONFUSION_COLUMNS = ("source", "classifier", "class", "predicted", "rows", "share")


@dataclass(frozen=True)
class Probed:
    """The probes of one checkpoint.

    Attributes:
        split: which rows were for what.
        fitted, tested, calibrated: form -> what was found.
        codes: (N,) classes of the tested side.
        names: of all classes, those of a training set among them.
    """

    split: Split
    fitted: dict[str, Fitted]
    tested: dict[str, Tested]
    calibrated: dict[str, Calibration]
    codes: Index
    names: tuple[str, ...]

    def by_class(self, n_classes: int) -> tuple[Vector, Index]:
        """(C,) accuracies of the probe on normalised rows, and how many rows they are of."""
        own = self.codes[self.split.test]
        rows = np.bincount(own, minlength=n_classes)
        right = np.bincount(own, self.tested["normalised"].correct, n_classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(right / rows), rows.astype(np.int64)


def _split(context: Context) -> tuple[Split, Index] | None:
    """Rows of the training side and of the tested side, and the training side's classes."""
    subject = context.subject
    codes = subject.codes
    assert codes is not None
    random = np.random.default_rng(context.options.seed)
    train = subject.train
    if train is not None:
        of = train.codes
        side, test_rows = np.flatnonzero(of >= 0), np.flatnonzero(codes >= 0)
        how, groups = "training set given", None
    else:
        of = codes
        side, test_rows = held_out(codes, subject.groups, TEST_SHARE, random)
        groups = subject.groups
        how = "a fifth held out, " + ("by class" if groups is None else "whole groups")
    if not len(test_rows) or not len(side):
        return None
    if len(side) > MOST_ROWS:
        side = np.sort(random.choice(side, MOST_ROWS, replace=False))
        how += f"; {MOST_ROWS} of the training rows drawn"
    inside = np.full(len(of), -1, np.int64)
    inside[side] = of[side]
    _, validation = held_out(inside, groups, VALIDATION_SHARE, random)
    return Split(side, validation, test_rows, how), of


def probes(context: Context) -> Probed | None:
    """Fit and test on both forms; None where there are not two classes or no rows to test."""
    subject = context.subject
    assert subject.labels is not None
    assert subject.codes is not None
    planned = _split(context)
    if planned is None:
        return None
    split, train_codes = planned
    train = subject.train
    sides: tuple[FormRows, ...] = context.forms
    if train is not None:  # both sides on one scale
        scale = context.forms[0].scale
        sides = forms(train.rows, scale)
    fitted: dict[str, Fitted] = {}
    tested: dict[str, Tested] = {}
    calibrated: dict[str, Calibration] = {}
    for form, side in zip(context.forms, sides, strict=True):
        context.runner.announce(f"linear probe, {form.form} rows")
        found = fit(side, train_codes, split, context.n_threads)
        if found is None:
            return None
        fitted[form.form] = found
        tested[form.form] = test(found, form, subject.codes, split.test)
        calibrated[form.form] = calibration(tested[form.form].confidence, tested[form.form].correct)
    names = subject.labels.names if train is None else train.names
    return Probed(split, fitted, tested, calibrated, subject.codes, names)


def probe_records(context: Context, found: Probed | None) -> list[Record]:
    """Accuracy, calibration, and the neural-collapse measures that need a classifier."""
    n = context.subject.n
    reason = "needs rows of two classes to train on, and rows to test"
    records = []
    for form in FORMS:
        right = np.full(n, np.nan)
        if found is not None:
            right[found.split.test] = found.tested[form].correct
        records.append(
            context.mean("probe_accuracy", right, "accuracy", definition=form, reason=reason)
        )
    for form in FORMS:
        error = None if found is None else found.calibrated[form].error
        records.append(
            context.record(
                "probe_calibration_error",
                error,
                "share",
                definition=form,
                reason=reason,
                n=0 if found is None else len(found.split.test),
            )
        )
    for form in FORMS:
        duality = None
        if found is not None and not _flat(found.fitted[form]):
            probe = found.fitted[form]
            duality = self_duality(probe.weights.T, probe.means)
        records.append(
            context.record(
                "nc3",
                duality,
                "none",
                definition=form,
                reason=reason if found is None else "the probe or the class means are constant",
                n=0 if found is None else len(found.split.train),
            )
        )
    for form in FORMS:
        apart = np.full(n, np.nan)
        if found is not None:
            tested = found.tested[form]
            apart[found.split.test] = tested.predicted != tested.nearest_mean
        records.append(
            context.mean("nc4_disagreement", apart, "share", definition=form, reason=reason)
        )
    return records


def _flat(probe: Fitted) -> bool:
    centred = probe.means - probe.means.mean(axis=0)
    return not (np.linalg.norm(probe.weights) > 0 and np.linalg.norm(centred) > 0)


def wilson(right: int, n: int) -> tuple[float, float]:
    """95% interval of a share (Wilson, JASA 1927), which no share leaves [0, 1] by.

    >>> low, high = wilson(10, 10)
    >>> round(low, 4), high
    (0.7225, 1.0)
    """
    share, z2 = right / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def probe_tables(context: Context, found: Probed, classified: Classified) -> tuple[Table, ...]:
    """How each probe was made and what it scored; its reliability; who is taken for whom."""
    source = context.subject.source
    rows: list[dict[str, Cell]] = []
    reliability: list[dict[str, Cell]] = []
    confusion: list[dict[str, Cell]] = []
    split = found.split
    own = found.codes[split.test]
    for form in FORMS:
        probe, tested, bins = found.fitted[form], found.tested[form], found.calibrated[form]
        n = len(split.test)
        right = int(tested.correct.sum())
        low, high = wilson(right, n)
        seen = np.isfinite(tested.log_loss)
        rows.append(
            {
                "source": source,
                "definition": form,
                "accuracy": right / n,
                "low": low,
                "high": high,
                "log_loss": float(tested.log_loss[seen].mean()) if seen.any() else None,
                "calibration_error": bins.error,
                "n_train": len(split.train),
                "n_validation": len(split.validation),
                "n_test": n,
                "n_classes": len(probe.classes),
                "split": split.how,
                "seed": context.options.seed,
                "penalty": probe.penalty,
                "c": 1.0 / (probe.penalty * len(split.train)),
                "validation_accuracy": None
                if probe.validation_accuracy < 0
                else probe.validation_accuracy,
                "iterations": probe.iterations,
                "converged": probe.converged,
            }
        )
        n_bins = len(bins.counts)
        for b in np.flatnonzero(bins.counts):
            reliability.append(
                {
                    "source": source,
                    "definition": form,
                    "bin": f"{b / n_bins:.3f}-{(b + 1) / n_bins:.3f}",
                    "rows": int(bins.counts[b]),
                    "mean_confidence": float(bins.confidence[b]),
                    "accuracy": float(bins.accuracy[b]),
                }
            )
        confusion += _confusion(source, f"probe_{form}", own, tested.predicted, found.names)
    k = classified.shown_k
    if k is not None:
        mine = found.codes[classified.rows]
        predicted = classified.votes[k].predicted
        confusion += _confusion(source, f"knn_{k}", mine, predicted, found.names)
    return (
        Table("probe", PROBE_COLUMNS, tuple(rows)),
        Table("probe_calibration", CALIBRATION_COLUMNS, tuple(reliability)),
        Table("confusion", CONFUSION_COLUMNS, tuple(confusion)),
    )


def _confusion(
    source: str,
    classifier: str,
    own: Index,
    predicted: Index,
    names: tuple[str, ...],
) -> list[dict[str, Cell]]:
    """Pairs of a class and a prediction that occur, with the share of the class's rows."""
    size = len(names)
    pairs, counts = np.unique(own * size + predicted, return_counts=True)
    totals = np.bincount(own)
    return [
        {
            "source": source,
            "classifier": classifier,
            "class": names[pair // size],
            "predicted": names[pair % size],
            "rows": int(count),
            "share": float(count / totals[pair // size]),
        }
        for pair, count in zip(pairs, counts, strict=True)
    ]
