"""TensorBoard's embedding projector: vectors, and a file of metadata beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cl_analyze.data.formats.columns import MATRIX
from cl_analyze.data.formats.delimited import open_delimited
from cl_analyze.data.rows import Container
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

_VECTORS = ("tensors.tsv", "vectors.tsv")
_METADATA = "metadata.tsv"
_FILES = (*_VECTORS, _METADATA)


def projector_vectors(folder: Path) -> Path | None:
    """The vectors of a folder that the projector wrote; None where it is no such folder."""
    if not (folder / _METADATA).is_file():
        return None
    return next((folder / name for name in _VECTORS if (folder / name).is_file()), None)


def open_text_table(path: Path, header: bool | None = None) -> Container:
    """Open delimited text; a projector's vectors get the columns of the metadata beside them.

    A single column of metadata without a name has the labels.  See `open_delimited`.
    """
    # the projector quotes nothing: a line of its metadata may be a quotation mark
    vectors = open_delimited(path, header, has_quotes=path.name not in _FILES)
    beside = path.parent / _METADATA
    if path.name not in _VECTORS or not beside.is_file() or MATRIX not in vectors.arrays:
        return vectors
    matrix = vectors.arrays[MATRIX]
    try:
        metadata = open_delimited(beside, has_quotes=False)
        n_rows = {array.n_rows for array in metadata.arrays.values()}
        if n_rows != {matrix.n_rows}:
            raise DataError(f"it has {max(n_rows, default=0)} rows")
    except DataError as error:
        note = f"{_METADATA} beside it is not used: {error}"
        return replace(vectors, notes=(*vectors.notes, note))
    columns = {key or "labels": a for key, a in metadata.arrays.items() if key != MATRIX}
    note = f"{_METADATA} beside it is its metadata: {some(map(quoted, columns), 10)}"
    return replace(
        vectors,
        arrays={MATRIX: matrix, **columns},
        skipped={},
        notes=(*vectors.notes, note),
        shards=(path, beside),
    )
