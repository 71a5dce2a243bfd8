"""From what the user names to arrays: PATH, PATH::KEY, standard input, or an array in memory."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cl_analyze.data.formats import directory_format, open_file
from cl_analyze.data.formats.columns import is_continuous, is_role
from cl_analyze.data.formats.npy import read_header
from cl_analyze.data.formats.projector import open_text_table, projector_vectors
from cl_analyze.data.formats.torch_file import is_weight
from cl_analyze.data.memory import mebibytes
from cl_analyze.data.remote import is_url, open_url
from cl_analyze.data.rows import (
    BFLOAT16,
    Container,
    RowArray,
    is_real,
    kind_of,
    stored_dtype,
    words,
)
from cl_analyze.data.shards import is_pattern, open_shards
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

LABEL_KEYS = ("labels", "y", "targets", "label", "target", "class")
ID_KEYS = ("ids", "id")
VIEW_KEYS = (("view1", "view2"), ("z1", "z2"))
NO_LABELS = "none"
"""In place of a file of labels: those in the embeddings' file are not used either."""
MAIN_KEY = "embeddings"
STDIN = "-"
TABLES = ("csv", "parquet", "feather", "arrow")
"""Formats of columns, where labels may be among the numbers."""
_MOST_LISTED = 12
_WORTH_A_NOTE = 64 << 20
"""Bytes decoded at once from which on the reader is told."""


@dataclass(frozen=True)
class Spec:
    """A file and, where the user named one, the array in it.

    >>> Spec.parse("runs/emb.npz::z")
    Spec(path='runs/emb.npz', key='z')
    """

    path: str
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Split PATH::KEY at the first `::`; a path that exists as it is written wins."""
        if not text:
            raise DataError("a path is empty; is a variable unset?")
        if "::" not in text or _exists(text):
            return cls(text)
        if is_url(text):  # a host may be written [::1]
            path, _, key = text.rpartition("::")
            if "/" in key:
                return cls(text)
            return cls(path, key)
        path, key = text.split("::", 1)
        if not path or not key:
            raise DataError(f"{quoted(text)}: write PATH::KEY, with a path and a key")
        return cls(path, key)

    def __str__(self) -> str:
        return self.path if self.key is None else f"{self.path}::{self.key}"


def _exists(text: str) -> bool:
    """Whether there is a file of this name; a name that cannot be one is none."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Opened:
    """One array with where it came from.

    Attributes:
        array: the rows.
        name: how messages call it.
        path: the file, None for an array in memory.
        key: the key in the file, None where there is none.
        shards: the files, where path stands for several.
    """

    array: RowArray
    name: str
    path: str | None = None
    key: str | None = None
    shards: tuple[Path, ...] = ()


@dataclass(frozen=True)
class OpenedEmbeddings:
    """Embeddings, and what the same file holds beside them.

    Attributes:
        main: the (N, D) embeddings.
        labels: (N,) labels of the same file, or None.
        views: two (N, D) views of the same rows, or None.
        notes: what was chosen without being asked for, for stderr.
        ids: (N,) what identifies the rows, of the same file, or None.
        warnings: what the rows may be instead.
        unused: why arrays with the name of labels are not taken as labels.
    """

    main: Opened
    labels: Opened | None = None
    views: tuple[Opened, Opened] | None = None
    notes: tuple[str, ...] = field(default=())
    ids: Opened | None = None
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


def real_path(path: str | Path) -> Path:
    """An absolute path with its links followed, whether or not there is anything at its end.

    Raises:
        DataError: links in a loop, or a name that cannot be one.
    """
    try:
        return Path(path).resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a path: {error}") from error


def open_container(path: str) -> Container:
    """What a path names: a file, shards, a URL, or - for standard input."""
    if path == STDIN:
        stream = io.BytesIO(sys.stdin.buffer.read())
        if not stream.getbuffer().nbytes:
            raise DataError("standard input is empty; - reads an .npy stream from it")
        try:
            header = read_header(stream)
            header.require_all(stream.getbuffer().nbytes)
            stream.seek(0)
            array = np.load(stream, allow_pickle=False)
        except (DataError, ValueError, EOFError) as error:
            raise DataError(f"standard input is not an .npy stream: {error}") from error
        return Container(Path(STDIN), "npy", {"": RowArray.of(words(array), header.dtype_name)})
    if is_url(path):
        return open_url(path)
    place = Path(path)
    try:
        if not is_pattern(path) or (place.is_dir() and directory_format(place) is not None):
            return open_file(place)
        vectors = projector_vectors(place)
        return open_shards(path) if vectors is None else open_file(vectors)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _listing(container: Container, keys: Sequence[str] = ()) -> str:
    """What a container holds, or some of it: its first arrays, and how many more there are."""
    parts = [
        f"{quoted(key)} {array.shape} {array.dtype_name}"
        for key, array in container.arrays.items()
        if not keys or key in keys
    ]
    if not keys:
        parts += [f"{quoted(key)} ({why})" for key, why in container.skipped.items()]
    return some(parts, _MOST_LISTED)


def open_array(spec: Spec, roles: Sequence[str]) -> Opened:
    """Open an array for a role such as labels: by key, by a usual name, or as the only one.

    Args:
        spec: the file and perhaps the key.
        roles: keys that mean this role, best first.

    Raises:
        DataError: no such key, or several arrays and none with a usual name.
    """
    container = open_container(spec.path)
    if spec.key is not None:
        return _by_key(container, spec)
    arrays = container.arrays
    if len(arrays) == 1:
        return _opened(container, spec, next(iter(arrays)))
    role = _role_key(arrays, roles)
    if role is not None:
        return _opened(container, spec, role)
    raise DataError(
        f"{spec}: several arrays, none named {' or '.join(roles)}; choose one as "
        f"{spec.path}::KEY from {_listing(container)}"
    )


def _opened(container: Container, spec: Spec, key: str) -> Opened:
    """One array of a container, called as the user would name it."""
    return Opened(container.arrays[key], str(spec), spec.path, key or None, container.shards)


def _role_key(arrays: dict[str, RowArray], roles: Sequence[str]) -> str | None:
    """The first key that means a role, whatever its case."""
    by_name = {key.lower(): key for key in reversed(arrays)}
    return next((by_name[role] for role in roles if role in by_name), None)


def _by_key(container: Container, spec: Spec) -> Opened:
    if container.format == "csv" and not container.has_keys and not container.shards:
        container = open_text_table(Path(container.path), header=True)
    if not container.has_keys:
        raise DataError(
            f"{spec}: a .{container.format} file has no keys; name it without ::{spec.key}"
        )
    key = spec.key or ""
    if container.has_groups and key not in container.arrays:
        key = _main_of_group(container, key.strip("/"))
    if key not in container.arrays:
        if key in container.skipped:
            raise DataError(f"{spec}: this entry cannot be read: {container.skipped[key]}")
        raise DataError(f"{spec}: no such key; the file holds {_listing(container)}")
    return _opened(container, spec, key)


def _main_of_group(container: Container, key: str) -> str:
    """The main array of a group: `embeddings`, or the only one with two axes; else the key."""
    inside = [name for name in container.arrays if name.startswith(f"{key}/")]
    matrices = [name for name in inside if len(container.arrays[name].shape) > 1]
    named = f"{key}/{MAIN_KEY}"
    return named if named in inside else matrices[0] if len(matrices) == 1 else key


def _check_matrix(array: RowArray, name: str) -> None:
    if not is_real(array.dtype):
        kind = np.dtype(array.dtype)
        what = {"c": "complex numbers", "U": "strings", "S": "bytes", "O": "objects"}.get(
            kind.kind, f"dtype {kind}"
        )
        raise DataError(f"{name}: embeddings must be real numbers, found {what}")
    if len(array.shape) != 2:
        raise DataError(
            f"{name}: embeddings must be a 2-D array (rows, dimensions), found shape "
            f"{array.shape}; {_reshaping(array.shape)}"
        )
    if array.shape[1] == 0:
        raise DataError(f"{name}: embeddings must have at least one dimension, found 0")
    if array.shape[0] < 2:
        raise DataError(f"{name}: at least 2 rows are needed, found {array.shape[0]}")


def _reshaping(shape: tuple[int, ...]) -> str:
    """How an array of another number of axes becomes one of rows."""
    if len(shape) > 3 and math.prod(shape[2:]) > 1:
        return "average over the axes behind the second (or the tokens): save z.mean(axis=...)"
    if len(shape) > 2:
        return "save it as z.reshape(len(z), -1)"
    return "reshape it to (rows, dimensions)"


def _first_axis_is_one(stacked: RowArray, name: str) -> None:
    if stacked.shape[0] == 1 and stacked.shape[1] > 1:
        raise DataError(
            f"{name}: at least 2 rows are needed, found shape {stacked.shape}: its first axis has "
            "length 1; save z[0]"
        )


@dataclass(frozen=True)
class _Main:
    """The rows to measure, a pair of views where the array has several, and what was chosen."""

    array: RowArray
    views: tuple[Opened, Opened] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _main_of(opened: Opened) -> _Main:
    """The rows of an (N, D) array; of (N, V, D) the first view, and the first two as a pair.

    Raises:
        DataError: not real, not of two or three axes, or fewer than two rows.
    """
    array, name = opened.array, opened.name
    notes: list[str] = []
    warnings: list[str] = []
    views: tuple[Opened, Opened] | None = None
    if len(array.shape) == 3 and is_real(array.dtype):
        _first_axis_is_one(array, name)
        n_views = array.shape[1]
        if n_views == 0:
            raise DataError(f"{name}: an (N, V, D) array needs a view, found {array.shape}")
        if n_views > 1 and array.shape[2] == 1:
            raise DataError(
                f"{name}: {array.shape} would be {n_views} views of one dimension: save "
                "(rows, dimensions), z[:, :, 0]"
            )
        if n_views == 1:
            notes.append(f"{name}: {array.shape} read as (rows, dimensions): it has one view")
        else:
            first, second = (
                replace(opened, array=array.view_of(v), name=f"{name}[:, {v}]") for v in (0, 1)
            )
            views = (first, second)
            notes.append(
                f"{name}: {array.shape} read as (rows, views, dimensions); embeddings are view 0, "
                f"positives views 0 and 1 of {n_views}"
            )
        if n_views > MOST_VIEWS:
            warnings.append(
                f"{name}: {n_views} views of a row look like tokens or positions that were not "
                "pooled; of these only the first are measured: save the mean over them, "
                "z.mean(axis=1), or the one that stands for the row, z[:, 0]"
            )
        array = array.view_of(0)
    _check_matrix(array, name if views is None else views[0].name)
    n_rows, dim = array.shape
    if dim >= MOST_DIMENSIONS_PER_ROW * n_rows:
        warnings.append(
            f"{name}: {n_rows} rows of {dim} dimensions: is it (dimensions, rows)? Then save its "
            "transpose, z.T"
        )
    if stored_dtype(array.dtype) in (np.uint8, np.int8):
        notes.append(
            f"{name}: its bytes are read as numbers, {dim} dimensions; if they are packed bits, "
            f"eight to a byte, save numpy.unpackbits(z, axis=1), {8 * dim} dimensions"
        )
    return _Main(array, views, tuple(notes), tuple(warnings))


MOST_VIEWS = 16
"""Views of a row above which they are rather its tokens."""
MOST_DIMENSIONS_PER_ROW = 3
"""Dimensions for each row from which on a matrix may lie on its side."""


def open_embeddings(
    spec: Spec, with_labels: bool = True, with_views: bool = True, with_ids: bool = False
) -> OpenedEmbeddings:
    """Open embeddings and, where wanted, the labels, views and ids beside them.

    In a container the main array is the one named by `::KEY`, else the only 2-D real array, else
    `embeddings`; an (N, V, D) array gives its first view, and its first two views as a pair.

    Raises:
        DataError: the array is missing, ambiguous, not real, not 2-D, or has fewer than two rows.
    """
    container = open_container(spec.path)
    notes = [f"{spec}: {note}" for note in container.notes]
    if spec.key is not None:
        main = _by_key(container, spec)
    else:
        key, note = _choose_main(container, spec)
        main = _opened(container, spec, key)
        notes += note
    found = _main_of(main)
    main = replace(main, array=found.array)
    views = found.views if with_views else None
    notes += found.notes
    if main.array.at_once >= _WORTH_A_NOTE:
        times = main.array.at_once // max(main.array.stored, 1)
        stored = f", {times} times what is stored" if main.array.stored and times > 9 else ""
        notes.append(
            f"{spec}: {mebibytes(main.array.at_once)} of it are decoded at once{stored}, as a "
            f".{container.format} file like this one must be; .npy is read by rows"
        )
    labels: Opened | None = None
    ids: Opened | None = None
    unused: tuple[str, ...] = ()
    if container.has_keys:
        keys = _keys_beside(container, main.key or "")
        arrays = {name: container.arrays[key] for name, key in keys.items()}

        def beside(name: str) -> Opened:
            return _opened(container, Spec(spec.path, keys[name]), keys[name])

        own = {name: a for name, a in arrays.items() if keys[name] != main.key}
        if with_labels:
            name, unused = _labels_beside(container, own, main)
            labels = None if name is None else beside(name)
        role = _role_key(own, ID_KEYS) if with_ids else None
        if role is not None and role.lower() == "id" and not _all_differ(own[role]):
            notes.append(f"{spec}: rows are not matched by its array 'id': values occur twice")
            role = None
        if role is not None:
            ids = beside(role)
            notes.append(f"{spec}: rows are matched by its array {quoted(ids.key)}")
        for one, two in VIEW_KEYS if with_views else ():
            if views is None and one in arrays and two in arrays:
                views = (beside(one), beside(two))
                notes.append(
                    f"{spec}: positives are its views {quoted(views[0].key)} and "
                    f"{quoted(views[1].key)}"
                )
    if views is not None:
        views = (as_rows(views[0]), as_rows(views[1]))
    for view in views or ():
        _check_matrix(view.array, view.name)
        if view.array.n_rows != main.array.n_rows:
            raise DataError(
                f"{view.name} has {view.array.n_rows} rows, {main.name} has {main.array.n_rows}; "
                "a view must have one row for each embedding, in the same order"
            )
    if views is not None and views[0].array.shape[1] != views[1].array.shape[1]:
        raise DataError(
            f"{views[0].name} has {views[0].array.shape[1]} dimensions, {views[1].name} has "
            f"{views[1].array.shape[1]}; two views must have the same"
        )
    unused = tuple(f"{spec}: {text}" for text in unused)
    return OpenedEmbeddings(main, labels, views, tuple(notes), ids, found.warnings, unused)


def as_rows(opened: Opened) -> Opened:
    """An array of rows without its axis of one view: (N, 1, D) as (N, D), others as they are."""
    shape = opened.array.shape
    if len(shape) == 3 and shape[1] == 1:
        return replace(opened, array=opened.array.view_of(0))
    return opened


def _labels_beside(
    container: Container, arrays: dict[str, RowArray], main: Opened
) -> tuple[str | None, tuple[str, ...]]:
    """The name of the labels beside the main array, and why others with such a name are none.

    Labels have one value a row; numbers of a table that are no classes are coordinates.
    """
    n_rows = main.array.n_rows
    by_name = {name.lower(): name for name in reversed(arrays)}
    unreadable = {name.lower(): name for name in container.skipped}
    why = []
    for role in LABEL_KEYS:
        if role in by_name:
            name = by_name[role]
            array = arrays[name]
            if array.shape[:1] != (n_rows,):
                why.append(
                    f"its array {quoted(name)} is not used as labels: its shape is {array.shape}, "
                    f"where {n_rows} rows need one value each"
                )
                continue
            is_column = container.format in TABLES and len(array.shape) == 1
            if is_column and is_continuous(array.values()):  # a coordinate y
                continue
            return name, ()
        if role in unreadable:
            name = unreadable[role]
            reason = container.skipped[name]
            if "Python objects" in reason:
                reason = "it stores Python objects, which could run code: save labels.astype(str)"
            why.append(f"its array {quoted(name)} is not used as labels: {reason}")
    others = [
        name
        for name, array in arrays.items()
        if array.shape == (n_rows,)
        and name.lower() not in ID_KEYS
        and kind_of(array.dtype) not in "fc"
    ]
    inside = [
        key
        for key, array in container.arrays.items()
        if array.shape == (n_rows,) and {*key.lower().split("/")[:-1]} & {*LABEL_KEYS}
    ]
    if inside and not why:
        why.append(
            f"its array {quoted(inside[0])} may be the labels: if it is, pass --labels "
            f"{main.path}::{inside[0]}"
        )
    if len(others) == 1 and not why and container.format not in TABLES:
        why.append(
            f"its array {quoted(others[0])} has one value a row, and no name that means labels: if "
            f"it has the classes, pass --labels {main.path}::{others[0]}"
        )
    return None, tuple(why)


def _all_differ(array: RowArray) -> bool:
    """Whether a vector has no value twice, so that it can identify rows."""
    return len(array.shape) == 1 and len(set(array.values()[:].tolist())) == array.n_rows


def _keys_beside(container: Container, main: str) -> dict[str, str]:
    """Name -> key of what belongs to the main array: in its group, else at the root."""
    root = {key: key for key in container.arrays if "/" not in key or not container.has_groups}
    group = main.rpartition("/")[0]
    if not container.has_groups or not group:
        return root
    prefix = f"{group}/"
    inside = (key for key in container.arrays if key.startswith(prefix))
    return {**root, **{key.removeprefix(prefix): key for key in inside}}


def _choose_main(container: Container, spec: Spec) -> tuple[str, list[str]]:
    """The main array's key, and a note where it was a choice."""
    arrays = container.arrays
    view_keys = {key for pair in VIEW_KEYS if set(pair) <= set(arrays) for key in pair}
    if not container.has_keys:
        return "", []
    if container.main is not None:
        note = f"{spec}: embeddings are its array {container.main!r}"
        return container.main, [note]
    if MAIN_KEY in arrays:
        return MAIN_KEY, []
    roles = {*LABEL_KEYS, *ID_KEYS, *view_keys}
    for n_axes in (2, 3):
        for kinds in ("f", "fiub"):
            found = [
                key
                for key, array in arrays.items()
                if len(array.shape) == n_axes and key not in roles and kind_of(array.dtype) in kinds
            ]
            if len(found) == 1 and not (container.instead and is_weight(found[0])):
                return found[0], []
            if found and container.instead:
                raise DataError(f"{spec}: {container.instead}")
            if found:
                several = _listing(container, found)
                raise DataError(
                    f"{spec}: several arrays could be the embeddings and none is named "
                    f"{MAIN_KEY!r}; choose one as {spec.path}::KEY from {several}"
                )
    for first, second in VIEW_KEYS:
        if {first, second} <= set(arrays):
            return first, [f"{spec}: no array {MAIN_KEY!r}; its view {first!r} stands for it"]
    if container.instead:
        raise DataError(f"{spec}: {container.instead}")
    raise DataError(f"{spec}: no 2-D array of real numbers; the file holds {_listing(container)}")


def from_memory(value: Any, name: str) -> Opened:
    """Wrap a NumPy array, a torch tensor, a pandas object or a nested list.

    Raises:
        DataError: it cannot be made into an array.
    """
    kind = type(value)
    if isinstance(value, str | bytes | dict | set) or value is None:
        raise DataError(f"{name}: an array is needed, found a {kind.__name__}")
    if hasattr(value, "detach") and hasattr(value, "layout"):
        return _from_tensor(value, name)
    if hasattr(value, "toarray"):
        raise DataError(f"{name}: sparse matrices are not supported: pass z.toarray()")
    if isinstance(value, np.ma.MaskedArray):
        if value.ndim != 1:
            raise DataError(f"{name}: masked arrays are not supported; pass the rows to be used")
        objects = value.data.astype(object)
        objects[np.ma.getmaskarray(value)] = None  # a label that is missing
        return Opened(RowArray.of(objects), name)
    if isinstance(value, list | tuple) and any(getattr(item, "ndim", 0) > 1 for item in value):
        raise DataError(
            f"{name}: a list of arrays is not one matrix; pass one (N, D) array, and analyse "
            "several one by one"
        )
    if isinstance(value, list | tuple) and any(hasattr(item, "detach") for item in value):
        value = [item.detach().cpu().numpy() if hasattr(item, "detach") else item for item in value]
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: rows must all have the same length: {error}") from error
    if array.dtype.hasobject and array.ndim == 1 and len(array) and np.ndim(array[0]) > 0:
        try:  # a column of vectors
            array = np.stack([np.asarray(row) for row in array])
        except (ValueError, TypeError) as error:
            raise DataError(f"{name}: rows must all have the same length: {error}") from error
    if array.dtype.hasobject and array.ndim != 1:
        raise DataError(
            f"{name}: embeddings must be real numbers, found Python objects{_of_columns(value)}"
        )
    return Opened(RowArray.of(words(array)), name)


def _refuse_roles(frame: Any, name: str) -> None:
    """Refuse a DataFrame some of whose columns are no dimensions by their names.

    Raises:
        DataError: names them, and how to leave them out.
    """
    columns = [str(column) for column in frame.columns]
    roles = [column for column in columns if is_role(column, columns)]
    if roles:
        listed = ", ".join(map(repr, roles))
        raise DataError(
            f"{name}: the columns {some(map(quoted, roles))} are no dimensions by their names: "
            f"pass frame.drop(columns=[{listed}]), and labels by themselves"
        )


def _of_columns(value: Any) -> str:
    """Which columns of a DataFrame are no numbers, and how to leave them out."""
    if not hasattr(value, "select_dtypes"):
        return ""
    others = [str(name) for name in value.columns.difference(value.select_dtypes("number").columns)]
    return (
        f" in the columns {some(map(quoted, others))}: pass frame.select_dtypes('number'), and "
        "labels by themselves"
    )


def _from_tensor(value: Any, name: str) -> Opened:
    import torch

    try:
        tensor = value.detach().cpu()
        if tensor.layout != torch.strided or tensor.is_nested:
            remedy = "z.to_padded_tensor(0)" if tensor.is_nested else "z.to_dense()"
            raise DataError(f"{name}: {tensor.layout} tensors are not dense: pass {remedy}")
        tensor = tensor.as_subclass(torch.Tensor).detach()
        if tensor.is_quantized:
            raise DataError(f"{name}: quantised tensors are not supported: pass z.dequantize()")
        if tensor.dtype == torch.bfloat16:
            raw = tensor.view(torch.int16).numpy().view(np.uint16)
            return Opened(RowArray.of(raw, BFLOAT16), name)
        array = tensor.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"{name}: NumPy has no {getattr(value, 'dtype', 'such')} numbers: pass z.float()"
        ) from error
    return Opened(RowArray.of(array), name)


def embeddings_from_memory(value: Any, name: str) -> OpenedEmbeddings:
    """Wrap an (N, D) array, or an (N, V, D) one as its first view and a pair of views.

    Raises:
        DataError: wrong rank or dtype, or fewer than two rows.
    """
    if hasattr(value, "columns") and hasattr(value, "drop"):
        _refuse_roles(value, name)
    opened = from_memory(value, name)
    found = _main_of(opened)
    return OpenedEmbeddings(
        replace(opened, array=found.array),
        views=found.views,
        notes=found.notes,
        warnings=found.warnings,
    )


def open_any(value: Any, name: str, roles: Sequence[str]) -> Opened:
    """A path (with or without ::KEY) or an array in memory, for a role such as labels."""
    if isinstance(value, str | Path):
        return open_array(Spec.parse(str(value)), roles)
    return from_memory(value, name)
