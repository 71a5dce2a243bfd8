"""Records and tables of the linear probe, on rows as saved and on the sphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cl_analyze.metrics.quality.classes import self_duality
from cl_analyze.metrics.quality.context import Context
from cl_analyze.metrics.quality.jackknife import jackknife_error
from cl_analyze.metrics.quality.neighbours_part import Classified
from cl_analyze.metrics.quality.probe import (
    FOLDED_ROWS,
    MOST_ROWS,
    N_FOLDS,
    Calibration,
    Fitted,
    Split,
    Tested,
    calibration,
    fit,
    folds,
    joined,
    test,
)
from cl_analyze.metrics.quality.rows import FORMS, FormRows, forms
from cl_analyze.stats import share_interval
from cl_analyze.tables import Cell, Record, Table

Vector = NDArray[np.float64]
Index = NDArray[np.int64]

PROBE_COLUMNS = (
    "source",
    "definition",
    "fold",
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
    "validation_log_loss",
    "validation_accuracy",
    "iterations",
    "converged",
)
CALIBRATION_COLUMNS = (
    "source",
    "definition",
    "bin_left",
    "bin_right",
    "rows",
    "mean_confidence",
    "accuracy",
)
CONFUSION_COLUMNS = ("source", "classifier", "class", "predicted", "rows", "share")


@dataclass(frozen=True)
class OfForm:
    """The probes of one form of the rows.

    Attributes:
        fitted: of each fold.
        tested: of each fold.
        everything: of all folds together.
        calibrated: their reliability.
    """

    fitted: tuple[Fitted, ...]
    tested: tuple[Tested, ...]
    everything: Tested
    calibrated: Calibration


@dataclass(frozen=True)
class Probed:
    """The probes of one checkpoint.

    Attributes:
        splits: which rows were for what, fold by fold.
        how: in words.
        forms: form -> what was found.
        codes: (N,) classes of the tested side.
    """

    splits: tuple[Split, ...]
    how: str
    forms: dict[str, OfForm]
    codes: Index

    @property
    def test_rows(self) -> Index:
        """Tested rows of all folds, in the order of `OfForm.everything`."""
        return np.concatenate([split.test for split in self.splits])

    def by_class(self, n_classes: int) -> tuple[Vector, Index]:
        """(C,) accuracies of the probe on normalised rows, and how many rows they are of."""
        own = self.codes[self.test_rows]
        rows = np.bincount(own, minlength=n_classes)
        right = np.bincount(own, self.forms["normalised"].everything.correct, n_classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(right / rows), rows.astype(np.int64)


def _splits(context: Context) -> tuple[tuple[Split, ...], Index, str]:
    """The folds, the training side's classes, and how it was done in words."""
    subject = context.subject
    codes = subject.codes
    assert codes is not None
    random = np.random.default_rng(context.options.seed)
    train = subject.train
    if train is not None:
        test_rows = np.flatnonzero(codes >= 0)
        split, capped = _split(train.codes, train.codes >= 0, None, test_rows, random)
        return (split,), train.codes, f"training set given{capped}"
    part = folds(codes, subject.groups, random)
    tested = range(N_FOLDS) if (codes >= 0).sum() <= FOLDED_ROWS else range(1)
    found, capped = [], ""
    for fold in tested:
        others = (part >= 0) & (part != fold)
        split, capped = _split(codes, others, subject.groups, np.flatnonzero(part == fold), random)
        if len(split.test) and len(split.train):
            found.append(split)
    how = "five folds" if len(tested) > 1 else "a fifth held out"
    how += ", balanced by class" if subject.groups is None else ", whole groups"
    return tuple(found), codes, how + capped


def _split(
    codes: Index,
    usable: NDArray[np.bool_],
    groups: Index | None,
    test_rows: Index,
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
    return Split(side, validation, test_rows), capped


def probes(context: Context) -> Probed | None:
    """Fit and test on both forms; None where there are not two classes or no rows to test."""
    subject = context.subject
    assert subject.labels is not None
    assert subject.codes is not None
    splits, train_codes, how = _splits(context)
    train = subject.train
    sides: tuple[FormRows, ...] = context.forms
    if train is not None:  # both sides on one scale
        sides = forms(train.rows, context.forms[0].scale)
    found: dict[str, OfForm] = {}
    for form, side in zip(context.forms, sides, strict=True):
        context.runner.announce(f"linear probe, {form.form} rows")
        fitted: list[Fitted] = []
        for split in splits:
            similar = fitted[-1] if fitted else found["raw"].fitted[0] if found else None
            probe = fit(side, train_codes, split, context.n_threads, similar)
            if probe is None:
                return None
            fitted.append(probe)
        tested = [
            test(probe, form, subject.codes, split.test)
            for probe, split in zip(fitted, splits, strict=True)
        ]
        if not tested:
            return None
        everything = joined(tested)
        found[form.form] = OfForm(
            tuple(fitted),
            tuple(tested),
            everything,
            calibration(everything.confidence, everything.correct),
        )
    return Probed(splits, how, found, subject.codes)


def probe_records(context: Context, found: Probed | None) -> list[Record]:
    """Accuracy, calibration, and the neural-collapse measures that need a classifier."""
    n = context.subject.n
    reason = "needs rows of two classes to train on, and rows to test"
    records = []
    for form in FORMS:
        right = np.full(n, np.nan)
        if found is not None:
            right[found.test_rows] = found.forms[form].everything.correct
        records.append(
            context.mean("probe_accuracy", right, "accuracy", definition=form, reason=reason)
        )
    for form in FORMS:
        if found is None:
            records.append(
                context.record(
                    "probe_calibration_error", None, "share", definition=form, reason=reason
                )
            )
            continue
        calibrated, without = found.forms[form].calibrated, np.full(n, np.nan)
        without[found.test_rows] = calibrated.without
        records.append(
            context.with_deletions(
                "probe_calibration_error", calibrated.error, without, "share", form
            )
        )
    for form in FORMS:
        duality, distances = None, []
        if found is not None and not any(_flat(probe) for probe in found.forms[form].fitted):
            distances = [
                self_duality(probe.weights.T, probe.means) for probe in found.forms[form].fitted
            ]
            duality = float(np.mean(distances))
        records.append(
            context.record(
                "nc3",
                duality,
                "none",
                definition=form,
                # probes of four fifths each: the jackknife of five groups
                std_error=jackknife_error(distances),
                reason=reason if found is None else "the probe or the class means are constant",
                n=0 if found is None else len(found.splits[0].train),
            )
        )
    for form in FORMS:
        apart = np.full(n, np.nan)
        if found is not None:
            tested = found.forms[form].everything
            apart[found.test_rows] = tested.predicted != tested.nearest_mean
        records.append(
            context.mean("nc4_disagreement", apart, "share", definition=form, reason=reason)
        )
    return records


def _flat(probe: Fitted) -> bool:
    centred = probe.means - probe.means.mean(axis=0)
    return not (np.linalg.norm(probe.weights) > 0 and np.linalg.norm(centred) > 0)


def probe_tables(context: Context, found: Probed) -> tuple[Table, ...]:
    """How each probe was made and what it scored; its reliability."""
    source = context.subject.source
    rows: list[dict[str, Cell]] = []
    reliability: list[dict[str, Cell]] = []
    for form in FORMS:
        of = found.forms[form]
        for fold, (probe, tested, split) in enumerate(
            zip(of.fitted, of.tested, found.splits, strict=True), 1
        ):
            bins = calibration(tested.confidence, tested.correct)
            rows.append(
                {
                    "source": source,
                    "definition": form,
                    "fold": fold,
                    **_scores(tested, bins),
                    "n_train": len(split.train),
                    "n_validation": len(split.validation),
                    "n_classes": len(probe.classes),
                    "split": found.how,
                    "seed": context.options.seed,
                    "penalty": probe.penalty,
                    "c": 1.0 / (probe.penalty * len(split.train)),
                    "validation_log_loss": probe.validation_log_loss,
                    "validation_accuracy": probe.validation_accuracy,
                    "iterations": probe.iterations,
                    "converged": probe.converged,
                }
            )
        if len(of.fitted) > 1:
            rows.append(
                {
                    "source": source,
                    "definition": form,
                    "fold": "all",
                    **_scores(of.everything, of.calibrated),
                    "split": found.how,
                    "seed": context.options.seed,
                    "converged": all(probe.converged for probe in of.fitted),
                }
            )
        bins, n_bins = of.calibrated, len(of.calibrated.counts)
        for b in np.flatnonzero(bins.counts):
            reliability.append(
                {
                    "source": source,
                    "definition": form,
                    "bin_left": b / n_bins,
                    "bin_right": (b + 1) / n_bins,
                    "rows": int(bins.counts[b]),
                    "mean_confidence": float(bins.confidence[b]),
                    "accuracy": float(bins.accuracy[b]),
                }
            )
    return (
        Table("probe", PROBE_COLUMNS, tuple(rows)),
        Table("probe_calibration", CALIBRATION_COLUMNS, tuple(reliability)),
    )


def confusion_table(context: Context, found: Probed | None, classified: Classified) -> Table:
    """Who is taken for whom, by the probes and by the kNN vote."""
    source, codes = context.subject.source, context.subject.codes
    assert codes is not None
    rows: list[dict[str, Cell]] = []
    for form in () if found is None else FORMS:
        assert found is not None
        own, predicted = codes[found.test_rows], found.forms[form].everything.predicted
        rows += _confusion(source, f"probe_{form}", own, predicted, context.class_names)
    k = classified.shown_k
    if k is not None:
        own, predicted = codes[classified.rows], classified.votes[k].predicted
        rows += _confusion(source, f"knn_{k}", own, predicted, context.class_names)
    return Table("confusion", CONFUSION_COLUMNS, tuple(rows))


def _scores(tested: Tested, bins: Calibration) -> dict[str, Cell]:
    """Accuracy with its interval, log loss (of classes that were trained on), calibration."""
    n, right = len(tested.correct), int(tested.correct.sum())
    low, high = share_interval(right / n, n)
    seen = np.isfinite(tested.log_loss)
    return {
        "accuracy": right / n,
        "low": low,
        "high": high,
        "log_loss": float(tested.log_loss[seen].mean()) if seen.any() else None,
        "calibration_error": bins.error,
        "n_test": n,
    }


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
