""".h5ad: the matrices of an AnnData file, and columns of its `obs` as labels and ids.

Rows are observations (cells): `X`, `obsm/X_pca` and other matrices of `obsm` and `layers` are read
as in any HDF5 file.  What describes variables (`var`, `varm`, `varp`) has no rows of embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats import hdf5
from cl_analyze.data.formats.extra import imported, python_line
from cl_analyze.data.memory import require_room
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_MATRICES = ("obsm", "layers")
_OF_OTHERS = ("var", "varm", "varp", "obsp", "uns", "raw")
_CATEGORIES = ("codes", "categories")
_NULLABLE = ("values", "mask")
_PARTS_OF_SPARSE = frozenset({"data", "indices", "indptr"})
_READ_INDEX = """
import h5py, json, sys
with h5py.File(sys.argv[1], "r", locking="best-effort") as file:
    index = file[sys.argv[2]].attrs["_index"]
    json.dump(index if isinstance(index, str) else "_index", sys.stdout)
"""


@dataclass(frozen=True)
class _Column:
    """Loader of a column of `obs` that is stored as two arrays.

    Attributes:
        path, key: the file, and the column in it.
        first, second: categories and the code of each row (-1: missing), or values and the rows
            where they are missing.
        is_categorical: which of the two.
    """

    path: Path
    key: str
    first: RowArray
    second: RowArray
    is_categorical: bool

    def __call__(self) -> NDArray[Any]:
        name = f"{self.path}: {quoted(self.key)}"
        require_room(name, 16 * (self.first.n_rows + self.second.n_rows))
        first, second = self.first.values()[:], self.second.values()[:]
        if self.is_categorical:
            return _of_categories(name, first, second)
        values = first.astype(object)
        values[second.astype(bool)] = None
        return np.asarray(values)


def _of_categories(
    name: str, categories: NDArray[Any], codes: NDArray[np.integer[Any]]
) -> NDArray[Any]:
    """The category of each row, None where its code is -1."""
    if len(codes) and not -1 <= int(codes.min()) <= int(codes.max()) < len(categories):
        raise DataError(
            f"{name}: its codes must be -1 to {len(categories) - 1}, one for each category, "
            f"found {int(codes.min())} to {int(codes.max())}: is it damaged?"
        )
    values = np.empty(len(codes), dtype=object)
    present = codes >= 0
    values[present] = categories[codes[present]]
    return values


def _column(path: Path, key: str, arrays: dict[str, RowArray]) -> RowArray | None:
    """A column of two arrays; None where there are no such two of one axis."""
    for names, is_categorical in ((_CATEGORIES, True), (_NULLABLE, False)):
        one, two = (arrays.get(f"{key}/{name}") for name in names)
        if one is None or two is None or len(one.shape) != 1 or len(two.shape) != 1:
            continue
        if is_categorical and np.dtype(one.dtype).kind not in "iu":
            continue
        if not is_categorical and one.shape != two.shape:
            continue
        pair = (two, one) if is_categorical else (one, two)
        return RowArray(one.shape, "|O", _Column(path, key, *pair, is_categorical))
    return None


def _columns(path: Path, arrays: dict[str, RowArray]) -> Iterator[tuple[str, RowArray]]:
    """The columns of `obs`, with the names that they have there."""
    older = {key for key in arrays if key.startswith("obs/__categories/")}
    for key, array in arrays.items():
        parts = key.split("/")
        if parts[0] != "obs" or key in older:
            continue
        if len(parts) == 2 and len(array.shape) == 1:
            categories = arrays.get(f"obs/__categories/{parts[1]}")
            if categories is None or len(categories.shape) != 1:
                yield key, array
            else:  # as AnnData wrote them before 0.8
                yield key, RowArray(array.shape, "|O", _Column(path, key, categories, array, True))
        elif len(parts) == 3 and parts[2] in (_CATEGORIES[0], _NULLABLE[0]):
            column = _column(path, "/".join(parts[:2]), arrays)
            if column is not None:
                yield "/".join(parts[:2]), column


def _sparse(path: Path, key: str) -> str:
    """Why a sparse matrix is not read, and the line that makes it dense."""
    where = f"a.{key}" if key == "X" else "a.{}[{!r}]".format(*key.split("/", 1))
    line = python_line(
        f"import anndata, numpy; a = anndata.read_h5ad({str(path)!r}); "
        f"numpy.save({key.split('/')[-1] + '.npy'!r}, {where}.toarray())"
    )
    return f"a sparse matrix, which is not read; as a dense one: {line}"


def open_h5ad(path: Path) -> Container:
    """Open an AnnData file: `X`, the matrices of `obsm` and `layers`, the columns of `obs`.

    Raises:
        DependencyError: h5py is not installed.
        DataError: not an HDF5 file, or nothing in it can be read.
    """
    whole = hdf5.open_hdf5(path)
    where = path.absolute()
    index, sparse = _index_and_sparse(path)
    arrays: dict[str, RowArray] = {}
    skipped = {key: why for key, why in whole.skipped.items() if not key.startswith(_OF_OTHERS)}
    for key, array in whole.arrays.items():
        group, _, name = key.partition("/")
        if key == "X" or (group in _MATRICES and name and "/" not in name):
            arrays[key] = array
    columns = dict(_columns(where, whole.arrays))
    arrays.update(columns)
    skipped.update((key, _sparse(path, key)) for key in sparse)
    beside = {key.removeprefix("obs/"): key for key in columns}
    if f"obs/{index}" in columns:  # the names of the observations
        beside.pop(index, None)
        beside.setdefault("id", f"obs/{index}")
    has_matrix = any(len(array.shape) > 1 for array in arrays.values())
    instead = "" if has_matrix or not sparse else f"{sparse[0]} is {skipped[sparse[0]]}"
    return Container(path, "h5ad", arrays, skipped, has_groups=True, instead=instead, beside=beside)


def _index_and_sparse(path: Path) -> tuple[str, list[str]]:
    """The column of `obs` that is its index, and the matrices that are sparse."""
    h5py = imported("h5py", path)
    with hdf5.opened(path) as file:
        obs = file.get("obs")
        if not isinstance(obs, h5py.Group):
            raise DataError(
                "it has no group 'obs', as AnnData writes it since 0.7: read it by "
                "anndata.read_h5ad and write it again, or name it .h5"
            )
        groups = [file[name] for name in _MATRICES if isinstance(file.get(name), h5py.Group)]
        places = ["X", *(f"{group.name.strip('/')}/{key}" for group in groups for key in group)]
        sparse = [
            place
            for place in places
            if isinstance(file.get(place), h5py.Group) and {*file[place]} >= _PARTS_OF_SPARSE
        ]
        is_usual = "_index" in obs or "_index" not in obs.attrs
    index = "_index" if is_usual else hdf5.read_apart(_READ_INDEX, path, "obs")
    return index if isinstance(index, str) else "_index", sparse
