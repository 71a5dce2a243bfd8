"""The content of a file and its problems, as data for `cl-analyze inspect`."""

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
    OpenedEmbeddings,
    Spec,
    open_any,
    open_array,
    open_container,
    open_embeddings,
)
from cl_analyze.data.packed import warnings_on_bytes
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.data.unit import normalise
from cl_analyze.data.validation import (
    block_rows,
    check_rows,
    listed,
    repeated_on_one_side,
    subnormal_in_words,
)
from cl_analyze.errors import DataError
from cl_analyze.lines import UNBROKEN, WIDTH, Line, Style, n_columns, plain, wrapped
from cl_analyze.quoting import quoted, some


@dataclass
class Inspection:
    """One file's content and condition.

    Attributes:
        name: as the user wrote it.
        arrays: key, shape and dtype of every array, and entries that cannot be read.
        embeddings: shape, dtype, norms and counts of the main array; empty without one.
        labels: counts by class; empty without labels.
        notes: choices that a metric would make.
        warnings: other contents that the file may have; only its author knows.
        problems: reasons why metrics cannot run, or mean nothing, with the remedy.
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

    def lines(self, width: int = WIDTH) -> list[Line]:
        """As text, two columns; sentences are wrapped, and what is wrong has a colour."""
        names = [_short(entry["key"] or "array") for entry in self.arrays[:_MOST_LISTED]]
        widest = max(map(n_columns, names), default=0)
        out: list[str] = []
        for name, entry in zip(names, self.arrays, strict=False):
            content = entry["skipped"] or f"{tuple(entry['shape'])} {entry['dtype']}"
            out.append(f"  {Line.of(name).padded(widest, '<').text}  {content}")
        if len(self.arrays) > _MOST_LISTED:
            out.append(f"  ... and {len(self.arrays) - _MOST_LISTED} more arrays (--json has all)")
        for title, values in (("embeddings", self.embeddings), ("labels", self.labels)):
            if values:
                out.append(f"  {title}")
                longest = max(map(len, values))
                for key, value in values.items():
                    head = f"    {key.replace('_', ' ').ljust(longest)}  "
                    out += wrapped(_text(value), width, head, " " * len(head))
        lines = [Line.of(self.name, "bold"), *plain(out)]
        messages: tuple[tuple[str, Style, list[str]], ...] = (
            ("note", "", self.notes),
            ("warning", "warn", self.warnings),
            ("problem", "bad", self.problems),
        )
        for kind, style, texts in messages:
            for text in texts:
                first, *others = wrapped(f"{kind}: {text}", width, "  ", "    ")
                lines.append(Line.of("  ").then(kind, style).then(first.removeprefix(f"  {kind}")))
                lines += plain(others)
        if not self.problems and not self.warnings:
            lines.append(Line.of("  ").then("no problem found", "good"))
        return lines

    def add_arrays(self, container: Container) -> None:
        """List the arrays of a file, and its entries that cannot be read."""
        for key, array in container.arrays.items():
            shape, dtype = list(array.shape), array.dtype_name
            self.arrays.append(
                {"key": key or None, "shape": shape, "dtype": dtype, "skipped": None}
            )
        for key, why in container.skipped.items():
            self.arrays.append({"key": key, "shape": None, "dtype": None, "skipped": why})

    def add_rows(self, opened: OpenedEmbeddings) -> None:
        """Describe the embeddings and their views."""
        array = opened.main.array
        check = check_rows(array)
        norms = {name: getattr(check, name) for name in ("norm_min", "norm_mean", "norm_max")}
        self.embeddings = {
            "key": opened.main.key,
            "rows": array.shape[0],
            "dimensions": array.shape[1],
            "dtype": array.dtype_name,
            **{name: None if math.isnan(value) else value for name, value in norms.items()},
            "non_finite_rows": len(check.non_finite),
            "zero_rows": len(check.zero),
            "duplicate_rows": len(check.duplicates),
        }
        for rows, problem in (
            (check.non_finite, "NaN or infinite values"),
            (check.zero, "zero norm"),
        ):
            if len(rows):
                self.problems.append(
                    f"{listed(rows)}: {problem}; mend the file, or pass --on-invalid drop"
                )
        if len(check.subnormal):
            self.notes.append(subnormal_in_words(check))
        if len(check.duplicates):
            self.notes.append(
                f"{len(check.duplicates)} rows are equal to an earlier row "
                f"({listed(check.duplicates)}); they are kept, and count as neighbours at cosine 1"
            )
        if check.norm_max and abs(check.norm_max - 1) < 1e-2 and abs(check.norm_min - 1) < 1e-2:
            self.notes.append(
                "rows are unit vectors already; they are normalised again all the same"
            )
        else:
            self.notes.append("rows are not unit vectors; every cosine metric normalises them")
        if not len(check.invalid):
            apart = 2.0 - 2.0 * float(np.square(_mean_direction(array)).sum())
            if apart < COLLAPSED:
                self.problems.append(
                    "all rows point the same way (mean squared distance on the sphere "
                    f"{apart:.1e}): the encoder has collapsed, or one value was saved for every "
                    "row; save other rows"
                )
            elif apart < NARROW:
                self.warnings.append(
                    f"rows point nearly the same way (mean cosine {1.0 - apart / 2.0:.5f}): the "
                    "encoder has collapsed, or a large offset was left in; measure with "
                    "--transform centre too"
                )
        views = [(view, check_rows(view.array)) for view in opened.views or ()]
        for view, of_view in views:
            if len(of_view.invalid):
                self.problems.append(
                    f"{view.name}: {listed(of_view.invalid)} have NaN, infinite or zero values; "
                    "--on-invalid drop leaves them out"
                )
        self.warnings += repeated_on_one_side(views)

    def add_labels(self, labels: Labels) -> None:
        """Describe labels."""
        order = np.argsort(-labels.counts, kind="stable")[:10]
        self.labels = {
            "classes": len(labels.names),
            "unlabelled_rows": labels.n_unlabelled,
            "singletons": labels.n_singletons,
            "largest": {labels.names[c]: int(labels.counts[c]) for c in order},
        }
        if distinct_rows(labels):
            self.problems.append(
                f"{len(labels.names)} classes of {len(labels.codes)} rows: these are rather ids, "
                "texts or numbers to predict; pass --labels none, or --labels FILE with the classes"
            )
        if labels.n_singletons:
            self.notes.append(
                f"{labels.n_singletons} classes have one member, which has no positive"
            )
        negative = negative_classes(labels)
        if negative:
            self.notes.append(
                f"{some(negative)} is a class here; pass --unlabelled {negative[0]} if it means "
                "unlabelled"
            )
        if labels.missing:
            self.notes.append(f"{some(map(quoted, labels.missing))} read as missing")
        if not labels.names:
            self.problems.append("no row is labelled; pass --labels none, or --labels FILE")
        if len(labels.names) == 1:
            self.notes.append("there is only one class: between-class similarity is undefined")


_MOST_LISTED = 40
COLLAPSED = 1e-4
"""Mean squared distance of rows on the sphere below which they are all one direction."""
NARROW = 0.02
"""Mean squared distance below which a mean cosine is above 0.99, which `quality` calls collapse."""


def _short(name: object) -> str:
    """A name from the file, shortened where it would not fit a line."""
    return quoted(name, 60)[1:-1]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{_short(key)}: {count}" for key, count in value.items())
        return "  ".join(item.replace(" ", UNBROKEN) for item in items)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)


def _mean_direction(array: RowArray) -> NDArray[np.float64]:
    """(D,) the mean of the unit rows."""
    n_rows, dim = array.shape
    total, step = np.zeros(dim), block_rows(dim)
    for start in range(0, n_rows, step):
        total += normalise(array.read(start, min(start + step, n_rows))).sum(axis=0)
        array.give_back()
    return np.asarray(total / n_rows)


def inspect_file(name: str, labels: str | None = None, unlabelled: str | None = None) -> Inspection:
    """Look into one file; problems are collected, not raised.

    Args:
        name: PATH, PATH::KEY or -.
        labels: a file of labels for it, "none" for no labels, None for those in the file.
        unlabelled: a label value that means unlabelled.
    """
    result = Inspection(name)
    try:
        spec = Spec.parse(name)
        if spec.path != STDIN:
            container = open_container(spec.path)
            result.add_arrays(container)
            if spec.key is None and all(len(a.shape) == 1 for a in container.arrays.values()):
                source = open_array(spec, LABEL_KEYS)
                result.notes.append("one value a row: labels or groups, not embeddings")
                result.add_labels(encode(source, unlabelled))
                return result
        opened = open_embeddings(spec, with_labels=labels != NO_LABELS)
    except DataError as error:
        result.problems.append(str(error))
        return result
    result.notes += [*opened.notes, *(found.text for found in opened.found)]
    result.warnings += [*opened.warnings, *warnings_on_bytes(opened.main)]
    result.add_rows(opened)
    remedy = "; --labels none says that there are none" if labels is None else ""
    if labels is None:
        result.problems += (f"{text}{remedy}" for text in opened.unused)
    try:
        labels_of = opened.labels
        if labels not in (None, NO_LABELS):
            labels_of = open_any(labels, "labels", LABEL_KEYS)
        elif labels_of is not None:
            result.notes.append(f"labels are its array {quoted(labels_of.key)}")
        if labels_of is not None:
            n_rows, n_labels = opened.main.array.n_rows, labels_of.array.shape[0]
            if n_labels == n_rows:
                result.add_labels(encode(labels_of, unlabelled))
            else:
                result.problems.append(
                    f"{labels_of.name} has {n_labels} rows, {opened.main.name} has {n_rows}; "
                    "labels must have one for each embedding, in the same order"
                )
    except DataError as error:
        result.problems.append(f"{error}{remedy}")
    return result
