"""What is in a file and what is wrong with it, as data for `cl-analyze inspect`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.labels import Labels, distinct_rows, encode, negative_classes
from cl_analyze.data.opening import (
    LABEL_KEYS,
    NO_LABELS,
    STDIN,
    Opened,
    OpenedEmbeddings,
    Spec,
    open_any,
    open_array,
    open_container,
    open_embeddings,
)
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import normalise
from cl_analyze.data.validation import (
    RowCheck,
    block_rows,
    check_rows,
    listed,
    subnormal_in_words,
)
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some


@dataclass
class Inspection:
    """One file's content and condition.

    Attributes:
        name: as the user wrote it.
        arrays: key, shape and dtype of every array, and entries that are none.
        embeddings: shape, dtype, norms and counts of the main array; empty where there is none.
        labels: counts by class; empty without labels.
        notes: what a metric would choose.
        warnings: what the file may be instead, which nothing but its maker can tell.
        problems: what keeps metrics from running, or from meaning anything, with the fix.
    """

    name: str
    arrays: list[dict[str, Any]] = field(default_factory=list)
    embeddings: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """As text, two columns."""
        out = [self.name]
        width = max((len(_name(entry)) for entry in self.arrays[:_MOST_LISTED]), default=0)
        for entry in self.arrays[:_MOST_LISTED]:
            what = entry["skipped"] or f"{tuple(entry['shape'])} {entry['dtype']}"
            out.append(f"  {_name(entry).ljust(width)}  {what}")
        if len(self.arrays) > _MOST_LISTED:
            out.append(f"  ... and {len(self.arrays) - _MOST_LISTED} more arrays (--json has all)")
        for title, found in (("embeddings", self.embeddings), ("labels", self.labels)):
            if found:
                out.append(f"  {title}")
                key_width = max(map(len, found))
                out += [
                    f"    {key.ljust(key_width)}  {_text(value)}" for key, value in found.items()
                ]
        out += [f"  note: {text}" for text in self.notes]
        out += [f"  warning: {text}" for text in self.warnings]
        out += [f"  problem: {text}" for text in self.problems]
        if not self.problems and not self.warnings:
            out.append("  no problem found")
        return out


_MOST_LISTED = 40
_LONGEST_NAME = 60
COLLAPSED = 1e-4
"""Mean squared distance of rows on the sphere below which they are all one direction."""


def _name(entry: dict[str, Any]) -> str:
    """The key of an array, shortened where it would not fit a line."""
    return quoted(entry["key"], _LONGEST_NAME)[1:-1] if entry["key"] else "array"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(
            f"{quoted(key, _LONGEST_NAME)[1:-1]}: {count}" for key, count in value.items()
        )
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None:
        return "-"
    return str(value)


def inspect_file(name: str, labels: str | None = None, unlabelled: str | None = None) -> Inspection:
    """Look into one file; problems are collected, not raised.

    Args:
        name: PATH, PATH::KEY or -.
        labels: a file of labels for it, "none" for no labels, None for those in the file.
        unlabelled: a label value that means unlabelled.
    """
    found = Inspection(name)
    try:
        spec = Spec.parse(name)
        if spec.path != STDIN:
            container = open_container(spec.path)
            for key, array in container.arrays.items():
                found.arrays.append(
                    {
                        "key": key or None,
                        "shape": list(array.shape),
                        "dtype": array.dtype_name,
                        "skipped": None,
                    }
                )
            for key, why in container.skipped.items():
                found.arrays.append({"key": key, "shape": None, "dtype": None, "skipped": why})
            if spec.key is None and all(len(a.shape) == 1 for a in container.arrays.values()):
                _inspect_label_file(found, spec, unlabelled)
                return found
        opened = open_embeddings(spec, with_labels=labels != NO_LABELS)
    except DataError as error:
        found.problems.append(str(error))
        return found
    found.notes += opened.notes
    found.warnings += opened.warnings
    _inspect_rows(found, opened)
    if labels is None:
        found.problems += (
            f"{text}; --labels none says that there are none" for text in opened.unused
        )
    try:
        source = opened.labels
        if labels not in (None, NO_LABELS):
            source = open_any(labels, "labels", LABEL_KEYS)
        elif source is not None:
            found.notes.append(f"labels are its array {quoted(source.key)}")
        if source is not None:
            _inspect_labels(found, source, opened, unlabelled)
    except DataError as error:
        rest = "; --labels none says that there are none" if labels is None else ""
        found.problems.append(f"{error}{rest}")
    return found


def _inspect_rows(found: Inspection, opened: OpenedEmbeddings) -> None:
    array = opened.main.array
    check = check_rows(array)
    found.embeddings = {
        "key": opened.main.key,
        "rows": array.shape[0],
        "dimensions": array.shape[1],
        "dtype": array.dtype_name,
        "norm_min": None if math.isnan(check.norm_min) else check.norm_min,
        "norm_mean": None if math.isnan(check.norm_mean) else check.norm_mean,
        "norm_max": None if math.isnan(check.norm_max) else check.norm_max,
        "non_finite_rows": len(check.non_finite),
        "zero_rows": len(check.zero),
        "duplicate_rows": len(check.duplicates),
    }
    _describe_rows(found, check)
    if not len(check.invalid):
        apart = 2.0 - 2.0 * float(np.square(_mean_direction(array)).sum())
        if apart < COLLAPSED:
            found.problems.append(
                f"all rows point the same way (mean squared distance on the sphere {apart:.1e}): "
                "the encoder has collapsed, or one value was saved for every row; save other rows"
            )
    for view in opened.views or ():
        invalid = check_rows(view.array).invalid
        if len(invalid):
            found.problems.append(
                f"{view.name}: {listed(invalid)} have NaN, infinite or zero values; "
                "--on-invalid drop leaves them out"
            )


def _mean_direction(array: RowArray) -> NDArray[np.float64]:
    """(D,) the mean of the unit rows."""
    n_rows, dim = array.shape
    total, step = np.zeros(dim), block_rows(dim)
    for start in range(0, n_rows, step):
        total += normalise(array.read(start, min(start + step, n_rows))).sum(axis=0)
        array.give_back()
    return np.asarray(total / n_rows)


def _describe_rows(found: Inspection, check: RowCheck) -> None:
    for rows, what in ((check.non_finite, "NaN or infinite values"), (check.zero, "zero norm")):
        if len(rows):
            found.problems.append(
                f"{listed(rows)}: {what}; mend the file, or pass --on-invalid drop"
            )
    if len(check.subnormal):
        found.notes.append(subnormal_in_words(check))
    if len(check.duplicates):
        found.notes.append(
            f"{len(check.duplicates)} rows are equal to an earlier row "
            f"({listed(check.duplicates)}); they are kept, and count as neighbours at cosine 1"
        )
    if check.norm_max and abs(check.norm_max - 1) < 1e-2 and abs(check.norm_min - 1) < 1e-2:
        found.notes.append("rows are unit vectors already; they are normalised again all the same")
    else:
        found.notes.append("rows are not unit vectors; every cosine metric normalises them")


def _inspect_label_file(found: Inspection, spec: Spec, unlabelled: str | None) -> None:
    """A file of one value a row: labels or groups."""
    source = open_array(spec, LABEL_KEYS)
    found.notes.append("one value a row: labels or groups, not embeddings")
    _describe_labels(found, encode(source, unlabelled), unlabelled)


def _inspect_labels(
    found: Inspection, source: Opened, opened: OpenedEmbeddings, unlabelled: str | None
) -> None:
    n_rows, n_labels = opened.main.array.n_rows, source.array.shape[0]
    if n_labels != n_rows:
        found.problems.append(
            f"{source.name} has {n_labels} rows, {opened.main.name} has {n_rows}; labels must "
            "have one for each embedding, in the same order"
        )
        return
    _describe_labels(found, encode(source, unlabelled), unlabelled)


def _describe_labels(found: Inspection, labels: Labels, unlabelled: str | None) -> None:
    order = np.argsort(-labels.counts, kind="stable")[:10]
    found.labels = {
        "classes": len(labels.names),
        "unlabelled_rows": labels.n_unlabelled,
        "singletons": labels.n_singletons,
        "largest": {labels.names[c]: int(labels.counts[c]) for c in order},
    }
    if distinct_rows(labels):
        found.problems.append(
            f"{len(labels.names)} classes of {len(labels.codes)} rows: these are rather ids, texts "
            "or numbers to predict; pass --labels none, or --labels FILE with the classes"
        )
    if labels.n_singletons:
        found.notes.append(f"{labels.n_singletons} classes have one member, which has no positive")
    negative = negative_classes(labels)
    if negative:
        found.notes.append(
            f"{some(negative)} is a class here; pass --unlabelled {negative[0]} if it means "
            "unlabelled"
        )
    if labels.missing:
        found.notes.append(f"{some(map(quoted, labels.missing))} read as missing")
    if not labels.names:
        found.problems.append("no row is labelled; pass --labels none, or --labels FILE")
    if len(labels.names) == 1:
        found.notes.append("there is only one class: between-class similarity is undefined")
