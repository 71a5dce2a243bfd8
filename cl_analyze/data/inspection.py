"""What is in a file and what is wrong with it, as data for `cl-analyze inspect`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cl_analyze.data.labels import Labels, encode, has_suspicious_minus_one
from cl_analyze.data.opening import (
    LABEL_KEYS,
    STDIN,
    OpenedEmbeddings,
    Spec,
    open_any,
    open_array,
    open_container,
    open_embeddings,
)
from cl_analyze.data.validation import RowCheck, check_rows, listed, subnormal_in_words
from cl_analyze.errors import DataError


@dataclass
class Inspection:
    """One file's content and condition.

    Attributes:
        name: as the user wrote it.
        arrays: key, shape and dtype of every array, and entries that are none.
        embeddings: shape, dtype, norms and counts of the main array; empty where there is none.
        labels: counts by class; empty without labels.
        notes: what a metric would choose or warn about.
        problems: what keeps metrics from running, with the fix.
    """

    name: str
    arrays: list[dict[str, Any]] = field(default_factory=list)
    embeddings: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """As text, two columns."""
        out = [self.name]
        width = max((len(entry["key"] or "array") for entry in self.arrays), default=0)
        for entry in self.arrays:
            what = entry["skipped"] or f"{tuple(entry['shape'])} {entry['dtype']}"
            out.append(f"  {(entry['key'] or 'array').ljust(width)}  {what}")
        for title, found in (("embeddings", self.embeddings), ("labels", self.labels)):
            if found:
                out.append(f"  {title}")
                key_width = max(map(len, found))
                out += [
                    f"    {key.ljust(key_width)}  {_text(value)}" for key, value in found.items()
                ]
        out += [f"  note: {text}" for text in self.notes]
        out += [f"  problem: {text}" for text in self.problems]
        if not self.problems:
            out.append("  no problem found")
        return out


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key}: {count}" for key, count in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is None:
        return "-"
    return str(value)


def inspect_file(name: str, labels: str | None = None, unlabelled: str | None = None) -> Inspection:
    """Look into one file; problems are collected, not raised.

    Args:
        name: PATH, PATH::KEY or -.
        labels: a file of labels for it, or None.
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
        opened = open_embeddings(spec)
    except DataError as error:
        found.problems.append(str(error))
        return found
    found.notes += opened.notes
    _inspect_rows(found, opened)
    try:
        source = open_any(labels, "labels", LABEL_KEYS) if labels is not None else opened.labels
        if source is not None:
            _inspect_labels(found, encode(source, unlabelled), opened, source.name, unlabelled)
    except DataError as error:
        found.problems.append(str(error))
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
    for view in opened.views or ():
        invalid = check_rows(view.array).invalid
        if len(invalid):
            found.problems.append(
                f"{view.name}: {listed(invalid)} have NaN, infinite or zero values; "
                "--on-invalid drop leaves them out"
            )


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
    found: Inspection, labels: Labels, opened: OpenedEmbeddings, name: str, unlabelled: str | None
) -> None:
    n_rows = opened.main.array.n_rows
    if len(labels.codes) != n_rows:
        found.problems.append(
            f"{name} has {len(labels.codes)} rows, {opened.main.name} has {n_rows}; labels must "
            "have one for each embedding, in the same order"
        )
        return
    _describe_labels(found, labels, unlabelled)


def _describe_labels(found: Inspection, labels: Labels, unlabelled: str | None) -> None:
    order = np.argsort(-labels.counts, kind="stable")[:10]
    found.labels = {
        "classes": len(labels.names),
        "unlabelled_rows": labels.n_unlabelled,
        "singletons": labels.n_singletons,
        "largest": {labels.names[c]: int(labels.counts[c]) for c in order},
    }
    if labels.n_singletons:
        found.notes.append(f"{labels.n_singletons} classes have one member, which has no positive")
    if unlabelled is None and has_suspicious_minus_one(labels):
        found.notes.append("-1 is a class here; pass --unlabelled -1 if it means unlabelled")
    if len(labels.names) == 1:
        found.notes.append("there is only one class: between-class similarity is undefined")
