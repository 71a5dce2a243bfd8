"""Which array of a file is which: embeddings, and labels, ids and views beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cl_analyze.data.formats.columns import is_continuous
from cl_analyze.data.formats.torch_file import is_weight
from cl_analyze.data.in_memory import refuse_roles
from cl_analyze.data.memory import mebibytes
from cl_analyze.data.packed import unpacked
from cl_analyze.data.rows import Container, RowArray, is_real, kind_of
from cl_analyze.data.spec import (
    MAIN_KEY,
    STDIN,
    Opened,
    Spec,
    array_by_key,
    array_of,
    from_memory,
    listing,
    open_any,
    open_array,
    open_container,
    real_path,
    role_key,
)
from cl_analyze.data.transposed import transposed
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

__all__ = [
    "CLASS_NAMES_KEYS",
    "ID_KEYS",
    "LABEL_KEYS",
    "NO_LABELS",
    "STDIN",
    "Opened",
    "OpenedEmbeddings",
    "Spec",
    "as_rows",
    "embeddings_from_memory",
    "from_memory",
    "open_any",
    "open_array",
    "open_container",
    "open_embeddings",
    "real_path",
]

LABEL_KEYS = ("labels", "y", "targets", "label", "target", "class")
ID_KEYS = ("ids", "id")
CLASS_NAMES_KEYS = ("class_names",)
VIEW_NAMES = ("view", "z")
"""Arrays of these names with a number from 1 on are views of the same rows: view1, view2 ..."""
_CLASS_COLUMNS = ("celltype", "label", "class", "leiden", "louvain")
"""Letters in the names of columns that may be classes, the likeliest first."""
NO_LABELS = "none"
"""In place of a file of labels: labels in the embeddings' file are not used either."""
TABLES = ("csv", "json", "parquet", "feather", "arrow")
"""Formats of columns, where labels may be among the numbers."""
MOST_VIEWS = 16
"""Number of views of a row above which they are rather tokens; then two of them are taken."""
MOST_DIMENSIONS_PER_ROW = 3
"""Dimensions for each row from which on a matrix may be transposed."""
_WORTH_A_NOTE = 64 << 20
"""Bytes decoded at once from which on a note says so."""
_KINDS = {"c": "complex numbers", "U": "strings", "S": "bytes", "O": "objects"}


@dataclass(frozen=True)
class FoundBeside:
    """Arrays beside the embeddings that are used although nobody named them.

    Attributes:
        role: what they are used as.
        keys: their keys, joined by ` + `.
        text: the note on them, for a single file.
    """

    role: str
    keys: str
    text: str


@dataclass(frozen=True)
class OpenedEmbeddings:
    """Embeddings, and the arrays beside them in the same file.

    Attributes:
        main: the (N, D) embeddings.
        labels: (N,) labels of the same file, or None.
        views: two or more (N, D) views of the same rows, or None.
        notes: choices that the user did not ask for, for stderr.
        ids: (N,) ids of the rows, of the same file, or None.
        warnings: other contents that the rows may have.
        unused: why arrays with the name of labels are not taken as labels.
        class_names: (C,) names of the classes, of the same file, or None.
        names: (N,) an array of ids that only tables show: values may occur twice; or None.
        found: ids and views that were found beside the embeddings.
    """

    main: Opened
    labels: Opened | None = None
    views: tuple[Opened, ...] | None = None
    notes: tuple[str, ...] = ()
    ids: Opened | None = None
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    names: Opened | None = None
    class_names: Opened | None = None
    found: tuple[FoundBeside, ...] = ()


def open_embeddings(
    spec: Spec,
    with_labels: bool = True,
    with_views: bool = True,
    with_ids: bool = False,
    chosen: Sequence[int] = (),
    packed_bits: bool = False,
    transpose: bool = False,
) -> OpenedEmbeddings:
    """Open embeddings and, where wanted, the labels, views and ids beside them.

    In a container the main array is the one named by `::KEY`, else the only 2-D real array, else
    `embeddings`; an (N, V, D) array gives its first view, and all its views.

    Args:
        spec: the file and perhaps the key.
        with_labels, with_views, with_ids: what is opened beside the embeddings.
        chosen: numbers of the views to take, from 0; empty: all.
        packed_bits: whether bytes are eight signs each, see `unpacked`.
        transpose: whether matrices are (D, N), see `transposed`.

    Raises:
        DataError: the array is missing, ambiguous, not real, not 2-D, or has fewer than two rows;
            there is no view of a chosen number; or bits are not in bytes.
    """
    container = open_container(spec.path)
    notes = [f"{spec}: {note}" for note in container.notes]
    if spec.key is not None:
        main = array_by_key(container, spec)
    else:
        key, choice = _choose_main(container, spec)
        main = array_of(container, spec, key)
        notes += [f"{spec}: {text}" for text in choice]
    rows = _as_embeddings(main, chosen, packed_bits, transpose)
    main, array = rows.main, rows.main.array
    notes += rows.notes
    if array.at_once >= _WORTH_A_NOTE:
        times = array.at_once // max(array.stored, 1)
        stored = f", {times} times what is stored" if array.stored and times > 9 else ""
        notes.append(
            f"{spec}: {mebibytes(array.at_once)} of it are decoded at once{stored}, as a "
            f".{container.format} file like this one must be; .npy is read by rows"
        )
    labels = ids = names = class_names = None
    found: list[FoundBeside] = []
    unused: tuple[str, ...] = ()
    views = rows.views if with_views else None
    if container.has_keys:
        beside = _Beside(container, spec, main)
        if with_labels:
            labels, unused = beside.labels()
            class_names = beside.class_names()
            notes += beside.columns() if labels is None and not unused else []
        names = beside.names()
        if with_ids:
            ids = beside.ids(notes, found)
        if with_views and views is None:
            views = beside.views(notes, found, chosen)
            if views is not None:
                views = tuple(
                    main if v.key == main.key else _read_as(v, packed_bits, transpose)
                    for v in views
                )
    if with_views and chosen and views is None:
        raise DataError(
            f"{spec}: --views {' '.join(map(str, chosen))} needs views: an array of shape (rows, "
            "views, dimensions), or arrays view1, view2, ..."
        )
    _check_views(main, views)
    return OpenedEmbeddings(
        main,
        labels,
        views,
        tuple(notes),
        ids,
        rows.warnings,
        unused,
        names,
        class_names,
        tuple(found),
    )


def embeddings_from_memory(
    value: Any,
    name: str,
    chosen: Sequence[int] = (),
    packed_bits: bool = False,
    transpose: bool = False,
) -> OpenedEmbeddings:
    """Wrap an (N, D) array, or an (N, V, D) one as its first view and all views.

    Raises:
        DataError: wrong rank or dtype, fewer than two rows, no view of a chosen number, or bits
            that are not in bytes.
    """
    refuse_roles(value, name)
    return _as_embeddings(from_memory(value, name), chosen, packed_bits, transpose)


def as_rows(opened: Opened) -> Opened:
    """An array of rows without its axis of one view: (N, 1, D) as (N, D), others as they are."""
    shape = opened.array.shape
    if len(shape) == 3 and shape[1] == 1:
        return replace(opened, array=opened.array.view_of(0))
    return opened


def _strangeness(key: str) -> tuple[int, int]:
    """How unusual the name of a column is for classes; 0 is the most usual.

    >>> sorted(["obs/leiden", "obs/batch", "obs/Labels", "obs/cell_type"], key=_strangeness)
    ['obs/cell_type', 'obs/Labels', 'obs/leiden', 'obs/batch']
    """
    name = "".join(filter(str.isalpha, key.rpartition("/")[2].lower()))
    rank = next((i for i, word in enumerate(_CLASS_COLUMNS) if word in name), len(_CLASS_COLUMNS))
    return rank, len(name) if rank < len(_CLASS_COLUMNS) else 0


# ---- an array as embeddings


def _read_as(opened: Opened, packed_bits: bool, transpose: bool) -> Opened:
    """An array on its side turned, and bytes unpacked, where that is wanted."""
    turned = transposed(opened) if transpose else opened
    return unpacked(turned) if packed_bits else turned


def _as_embeddings(
    opened: Opened, chosen: Sequence[int], packed_bits: bool, transpose: bool
) -> OpenedEmbeddings:
    """The rows of an (N, D) array; of (N, V, D) the first view, and the chosen views."""
    opened = _read_as(opened, packed_bits, transpose)
    array, name = opened.array, opened.name
    shape = array.shape
    notes, warnings = [], []
    views: tuple[Opened, ...] | None = None
    first = 0
    if len(shape) == 3 and is_real(array.dtype):
        _check_views_of(shape, name)
        n_views = shape[1]
        if n_views == 1:
            notes.append(f"{name}: {shape} read as (rows, dimensions): it has one view")
        else:
            taken = _taken(n_views, chosen, name)
            first = taken[0]
            views = tuple(
                replace(opened, array=array.view_of(v), name=f"{name}[:, {v}]") for v in taken
            )
            notes.append(
                f"{name}: {shape} read as (rows, views, dimensions); embeddings are view {first}, "
                f"positives {_pairs_in_words(taken, n_views)}"
            )
        if n_views > MOST_VIEWS and not chosen:
            warnings.append(
                f"{name}: {n_views} views of a row look like tokens or positions that were not "
                "pooled; of these only the first are measured: save the mean over them, "
                "z.mean(axis=1), or the one that stands for the row, z[:, 0]; if they are views, "
                "name those to measure: --views 0 1 2"
            )
        array = array.view_of(first)
    _check_matrix(array, name if views is None else views[0].name)
    n_rows, dim = array.shape
    if dim >= MOST_DIMENSIONS_PER_ROW * n_rows:
        remedy = "pass --transpose, or save its transpose, z.T"
        if transpose:
            remedy = "leave --transpose out"
        warnings.append(
            f"{name}: {n_rows} rows of {dim} dimensions: is it (dimensions, rows)? Then {remedy}"
        )
    main = replace(opened, array=array)
    return OpenedEmbeddings(main, None, views, tuple(notes), None, tuple(warnings))


def _taken(n_views: int, chosen: Sequence[int], name: str) -> tuple[int, ...]:
    """Numbers of the views to take: the chosen ones, else all, or the first two of very many.

    Raises:
        DataError: there is no view of a chosen number, or only one view is chosen.
    """
    if not chosen:
        return tuple(range(n_views if n_views <= MOST_VIEWS else 2))
    listed = " ".join(map(str, chosen))
    if chosen[-1] >= n_views:
        raise DataError(
            f"{name}: --views {listed}: it has {n_views} views, numbered 0 to {n_views - 1}"
        )
    if len(chosen) < 2:
        raise DataError(
            f"{name}: --views takes two or more different views, found view {listed} alone: write "
            "--views 0 1"
        )
    return tuple(chosen)


def _pairs_in_words(taken: Sequence[int], n_views: int) -> str:
    """The pairs of views that are positives, and what more than one costs."""
    if len(taken) == 2:
        return f"views {taken[0]} and {taken[1]} of {n_views}"
    n_pairs = len(taken) * (len(taken) - 1) // 2
    which = (
        f"its {n_views} views" if len(taken) == n_views else f"views {', '.join(map(str, taken))}"
    )
    return (
        f"all {n_pairs} pairs of {which}: losses and retrieval, where asked for, take {n_pairs} "
        "times as long as for two (--views 0 1)"
    )


def _check_views_of(shape: tuple[int, ...], name: str) -> None:
    """Raise a DataError for a shape (N, V, D) that is hardly one of rows, views, dimensions."""
    n_rows, n_views, dim = shape
    if n_rows == 1 and n_views > 1:
        raise DataError(
            f"{name}: at least 2 rows are needed, found shape {shape}: its first axis has length "
            "1; save z[0]"
        )
    if n_views == 0:
        raise DataError(f"{name}: an (N, V, D) array needs a view, found {shape}")
    if n_views > 1 and dim == 1:
        raise DataError(
            f"{name}: {shape} would be {n_views} views of one dimension: save (rows, dimensions), "
            "z[:, :, 0]"
        )


def _check_matrix(array: RowArray, name: str) -> None:
    """Raise a DataError for an array that is not (N, D) real numbers, N > 1 and D > 0."""
    shape = array.shape
    if not is_real(array.dtype):
        kind = _KINDS.get(kind_of(array.dtype), f"dtype {np.dtype(array.dtype)}")
        raise DataError(f"{name}: embeddings must be real numbers, found {kind}")
    if len(shape) != 2:
        remedy = "reshape it to (rows, dimensions)"
        if len(shape) > 3 and math.prod(shape[2:]) > 1:
            remedy = (
                "average over the axes behind the second (or the tokens): save z.mean(axis=...)"
            )
        elif len(shape) > 2:
            remedy = "save it as z.reshape(len(z), -1)"
        raise DataError(
            f"{name}: embeddings must be a 2-D array (rows, dimensions), found shape {shape}; "
            f"{remedy}"
        )
    if shape[1] == 0:
        raise DataError(f"{name}: embeddings must have at least one dimension, found 0")
    if shape[0] < 2:
        raise DataError(f"{name}: at least 2 rows are needed, found {shape[0]}")


def _check_views(main: Opened, views: tuple[Opened, ...] | None) -> None:
    """Raise a DataError for views that do not pair up with the main array's rows."""
    for view in views or ():
        _check_matrix(view.array, view.name)
        if view.array.n_rows != main.array.n_rows:
            raise DataError(
                f"{view.name} has {view.array.n_rows} rows, {main.name} has {main.array.n_rows}; "
                "a view must have one row for each embedding, in the same order"
            )
    for view in (views or ())[1:]:
        assert views is not None
        if views[0].array.shape[1] != view.array.shape[1]:
            raise DataError(
                f"{views[0].name} has {views[0].array.shape[1]} dimensions, {view.name} has "
                f"{view.array.shape[1]}; two views must have the same"
            )


# ---- arrays of a container


def _choose_main(container: Container, spec: Spec) -> tuple[str, list[str]]:
    """The main array's key, and a note where it was a choice."""
    arrays = container.arrays
    pairs = _views_among(arrays)
    if not container.has_keys:
        return "", []
    if container.main is not None:
        return container.main, [f"embeddings are its array {container.main!r}"]
    if MAIN_KEY in arrays:
        return MAIN_KEY, []
    roles = {*LABEL_KEYS, *ID_KEYS, *(key for pair in pairs for key in pair)}
    for n_axes, kinds in ((2, "f"), (2, "fiub"), (3, "f"), (3, "fiub")):
        keys = [
            key
            for key, array in arrays.items()
            if len(array.shape) == n_axes and key not in roles and kind_of(array.dtype) in kinds
        ]
        if len(keys) == 1 and not (container.instead and is_weight(keys[0])):
            return keys[0], []
        if keys and container.instead:
            raise DataError(f"{spec}: {container.instead}")
        if keys:
            raise DataError(
                f"{spec}: several arrays could be the embeddings and none is named "
                f"{MAIN_KEY!r}; choose one as {spec.path}::KEY from {listing(container, keys)}"
            )
    if pairs:
        first = pairs[0][0]
        return first, [f"no array {MAIN_KEY!r}; its view {first!r} stands for it"]
    if container.instead:
        raise DataError(f"{spec}: {container.instead}")
    raise DataError(f"{spec}: no 2-D array of real numbers; the file holds {listing(container)}")


def _views_among(keys: Collection[str]) -> list[list[str]]:
    """Keys of views, view1, view2, ... without a gap, for each name that views have."""
    numbered = ((f"{name}{v}" for v in itertools.count(1)) for name in VIEW_NAMES)
    found = (list(itertools.takewhile(keys.__contains__, names)) for names in numbered)
    return [views for views in found if len(views) > 1]


class _Beside:
    """The arrays beside the main array: in its group of the file, else at the root."""

    def __init__(self, container: Container, spec: Spec, main: Opened) -> None:
        self._container, self._spec, self._main = container, spec, main
        arrays, main_key = container.arrays, main.key or ""
        has_groups = container.has_groups
        self._keys = {key: key for key in arrays if "/" not in key or not has_groups}
        group = main_key.rpartition("/")[0]
        if has_groups and group:
            inside = [key for key in arrays if key.startswith(f"{group}/")]
            self._keys.update((key.removeprefix(f"{group}/"), key) for key in inside)
        self._keys.update(container.beside)
        # names without the main array
        self._others = {name: arrays[k] for name, k in self._keys.items() if k != main_key}

    def _open(self, name: str) -> Opened:
        key = self._keys[name]
        return array_of(self._container, Spec(self._spec.path, key), key)

    def labels(self) -> tuple[Opened | None, tuple[str, ...]]:
        """The labels, one value a row, and why arrays with such a name are not used as labels."""
        skipped = self._container.skipped
        n_rows = self._main.array.n_rows
        reasons = []
        for role in LABEL_KEYS:
            name, unreadable = role_key(self._others, [role]), role_key(skipped, [role])
            if name is not None:
                array = self._others[name]
                if array.shape[:1] != (n_rows,):
                    reasons.append(
                        f"its array {quoted(name)} is not used as labels: its shape is "
                        f"{array.shape}, where {n_rows} rows need one value each"
                    )
                    continue
                is_column = self._container.format in TABLES and len(array.shape) == 1
                if is_column and is_continuous(array.values()):  # a coordinate y
                    continue
                return self._open(name), ()
            if unreadable is not None:
                why = skipped[unreadable]
                if "Python objects" in why:
                    why = "it stores Python objects, which could run code: save labels.astype(str)"
                reasons.append(f"its array {quoted(unreadable)} is not used as labels: {why}")
        reasons = reasons or self._candidates()
        return None, tuple(f"{self._spec}: {reason}" for reason in reasons)

    def _candidates(self) -> list[str]:
        """A hint at an array that may be the labels, though its name does not say so."""
        one_a_row = (self._main.array.n_rows,)
        inside = [
            key
            for key, array in self._container.arrays.items()
            if array.shape == one_a_row and {*key.lower().split("/")[:-1]} & {*LABEL_KEYS}
        ]
        if inside:
            return [
                f"its array {quoted(inside[0])} may be the labels: if it is, pass --labels "
                f"{self._main.path}::{inside[0]}"
            ]
        others = [
            name
            for name, array in self._others.items()
            if array.shape == one_a_row
            and name.lower() not in (*ID_KEYS, *CLASS_NAMES_KEYS)
            and kind_of(array.dtype) not in "fc"
        ]
        if len(others) != 1 or self._container.format in TABLES:
            return []
        key = self._keys[others[0]]
        return [
            f"its array {quoted(key)} has one value a row, and no name that means labels: if "
            f"it has the classes, pass --labels {self._main.path}::{key}"
        ]

    def columns(self) -> list[str]:
        """A note on several arrays of which one may be the labels, where a format has columns."""
        keys = [
            key
            for name, key in self._container.beside.items()
            if name.lower() not in ID_KEYS
            and kind_of(self._container.arrays[key].dtype) not in "fc"
        ]
        if len(keys) < 2:
            return []
        return [
            f"{self._spec}: no labels are taken from its columns {some(map(quoted, keys))}; if one "
            f"has the classes, pass it: --labels {self._main.path}::{min(keys, key=_strangeness)}"
        ]

    def class_names(self) -> Opened | None:
        """The array of names of classes; a column of a table has one value a row, and is none."""
        name = role_key(self._others, CLASS_NAMES_KEYS)
        return None if name is None or self._container.format in TABLES else self._open(name)

    def names(self) -> Opened | None:
        """An array of ids with one value a row."""
        name = role_key(self._others, ID_KEYS)
        if name is None or self._others[name].shape != (self._main.array.n_rows,):
            return None
        return self._open(name)

    def ids(self, notes: list[str], found: list[FoundBeside]) -> Opened | None:
        """The ids of the rows; values of an array `id` that occur twice are no ids."""
        name = role_key(self._others, ID_KEYS)
        if name is None:
            return None
        array = self._others[name]
        if name.lower() == "id" and not (
            len(array.shape) == 1 and len(set(array.values()[:].tolist())) == array.n_rows
        ):
            notes.append(
                f"{self._spec}: rows are not matched by its array 'id': values occur twice"
            )
            return None
        ids = self._open(name)
        text = f"{self._spec}: rows are matched by its array {quoted(ids.key)}"
        found.append(FoundBeside("ids", str(ids.key), text))
        return ids

    def views(
        self, notes: list[str], found: list[FoundBeside], chosen: Sequence[int]
    ) -> tuple[Opened, ...] | None:
        """The views of the rows, all or the chosen ones."""
        for names in _views_among(self._keys):
            taken = _taken(len(names), chosen, str(self._spec))
            views = [self._open(names[v]) for v in taken]
            if len(taken) == 2:
                first, second = (quoted(view.key) for view in views)
                text = f"{self._spec}: positives are its views {first} and {second}"
                keys = " + ".join(str(view.key) for view in views)
                found.append(FoundBeside("views", keys, text))
            else:
                words = _pairs_in_words(taken, len(names))
                notes.append(f"{self._spec}: positives are {words}")
            return tuple(map(as_rows, views))
        return None
