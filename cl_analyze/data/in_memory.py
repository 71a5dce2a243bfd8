"""Arrays that other libraries hold in memory: NumPy, torch, pandas, nested lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.columns import is_role
from cl_analyze.data.rows import RowArray, is_missing, words
from cl_analyze.data.tensors import tensor_array
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some


def array_in_memory(value: Any, name: str) -> RowArray:
    """Wrap a NumPy array, a torch tensor, a pandas object or a nested list.

    Raises:
        DataError: it cannot be made into an array.
    """
    kind = type(value)
    if isinstance(value, str | bytes | dict | set) or value is None:
        raise DataError(f"{name}: an array is needed, found a {kind.__name__}")
    if hasattr(value, "detach") and hasattr(value, "layout"):
        try:
            return tensor_array(value, in_memory=True)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
    if hasattr(value, "toarray"):
        raise DataError(f"{name}: sparse matrices are not supported: pass z.toarray()")
    if isinstance(value, np.ma.MaskedArray):
        if value.ndim != 1:
            raise DataError(f"{name}: masked arrays are not supported; pass the rows to be used")
        objects = value.data.astype(object)
        objects[np.ma.getmaskarray(value)] = None  # a label that is missing
        return RowArray.of(objects)
    if isinstance(value, list | tuple):
        if any(getattr(item, "ndim", 0) > 1 for item in value):
            raise DataError(
                f"{name}: a list of arrays is not one matrix; pass one (N, D) array, and analyse "
                "several one by one"
            )
        value = [_of_tensor(item) if hasattr(item, "detach") else item for item in value]
    try:
        array = np.asarray(value)
        if array.dtype.hasobject and array.ndim == 1:
            array = _stacked(array)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: rows must all have the same length: {error}") from error
    if array.dtype.hasobject and array.ndim != 1:
        raise DataError(
            f"{name}: embeddings must be real numbers, found Python objects{_of_columns(value)}"
        )
    return RowArray.of(words(array))


def _stacked(column: NDArray[Any]) -> NDArray[Any]:
    """A column of vectors as a matrix, a missing vector as NaN; other columns as they are."""
    first = next((np.asarray(row) for row in column if not is_missing(row)), None)
    if first is None or first.ndim == 0:
        return column
    nothing = np.full(first.shape, np.nan, dtype=np.float32)
    return np.stack([nothing if is_missing(row) else np.asarray(row) for row in column])


def _of_tensor(row: Any) -> Any:
    """The values of a tensor of a list, those of bfloat16 in float32, which has all of them."""
    plain = row.detach().cpu()
    return (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()


def refuse_roles(value: Any, name: str) -> None:
    """Raise a DataError for a DataFrame some of whose columns are no dimensions by their names."""
    if not (hasattr(value, "columns") and hasattr(value, "drop")):
        return
    columns = [str(column) for column in value.columns]
    roles = [column for column in columns if is_role(column, columns)]
    if roles:
        listed = ", ".join(map(repr, roles))
        raise DataError(
            f"{name}: the columns {some(map(quoted, roles))} are no dimensions by their names: "
            f"pass frame.drop(columns=[{listed}]), and labels by themselves"
        )


def _of_columns(value: Any) -> str:
    """The columns of a DataFrame that hold no numbers, and how to leave them out."""
    if not hasattr(value, "select_dtypes"):
        return ""
    others = [str(name) for name in value.columns.difference(value.select_dtypes("number").columns)]
    return (
        f" in the columns {some(map(quoted, others))}: pass frame.select_dtypes('number'), and "
        "labels by themselves"
    )
