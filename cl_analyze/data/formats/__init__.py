"""File formats: one file each, registered here by one line.

A format is a name, the suffixes that choose it, and a function from a path to a `Container`.
The suffix decides; for other content the error names the format that it looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cl_analyze.data.formats import (
    anndata,
    arrow,
    faiss_index,
    hdf5,
    json_text,
    matlab,
    npy,
    npz,
    pickles,
    projector,
    safetensors,
    torch_file,
    vectors,
    word_vectors,
    zarr,
)
from cl_analyze.data.formats.streams import GZIP, suffix_of
from cl_analyze.data.rows import Container
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some


@dataclass(frozen=True)
class Format:
    """A file format and how to open it.

    Attributes:
        name: for messages.
        suffixes: of its files, or of its directories where it has markers.
        open: from a path to the arrays of a file.
        entry: the noun of the error where no entry can be read; empty: there is no such error.
        markers: names of files that only a directory of this format has.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path], Container]
    entry: str = ""
    markers: tuple[str, ...] = ()


_COLUMN = "column of numbers, lists of numbers or words"


def _or_gzip(*suffixes: str) -> tuple[str, ...]:
    """Suffixes of text, which may be compressed."""
    return (*suffixes, *(f"{suffix}{GZIP}" for suffix in suffixes))


_FIELD = "field of number lists, numbers or words"
_PICKLES = (".pkl", ".pickle", ".joblib")
FORMATS = (
    Format("NumPy array", (".npy",), npy.open_npy),
    Format("NumPy archive", (".npz",), npz.open_npz, "readable array"),
    Format("PyTorch file", (".pt", ".pth", ".ckpt"), torch_file.open_torch, "tensor"),
    Format("safetensors file", (".safetensors",), safetensors.open_safetensors, "readable tensor"),
    Format("Parquet or Arrow file", (".parquet", ".feather", ".arrow"), arrow.open_arrow, _COLUMN),
    Format("HDF5 file", (".h5", ".hdf5"), hdf5.open_hdf5, "readable dataset"),
    Format("AnnData file", (".h5ad",), anndata.open_h5ad, "readable matrix"),
    Format("MATLAB file", (".mat",), matlab.open_mat, "readable variable"),
    Format("Zarr store", (".zarr",), zarr.open_zarr, "readable array", zarr.MARKERS),
    Format("big-ann vector file", (".fbin", ".u8bin", ".i8bin"), vectors.open_bin),
    Format("TEXMEX vector file", (".fvecs", ".bvecs"), vectors.open_vecs),
    Format("FAISS index", (".faiss", ".index"), faiss_index.open_faiss),
    Format("Python pickle", _PICKLES, pickles.open_pickle),
    Format("delimited text", _or_gzip(".csv", ".tsv"), projector.open_text_table),
    Format("plain text", _or_gzip(".txt"), word_vectors.open_txt),
    Format("word vectors", _or_gzip(".vec"), word_vectors.open_vec),
    Format("word2vec's binary file", (".bin",), word_vectors.open_word2vec),
    Format("JSON", _or_gzip(".json", ".jsonl", ".ndjson"), json_text.open_json, _FIELD),
)

_TEXT = (".csv", ".tsv", ".txt", ".vec", ".json", ".jsonl", ".ndjson")
_MAGIC = (
    (b"\x93NUMPY", "a NumPy array (.npy)", (".npy",)),
    (b"PK\x03\x04", "a ZIP archive (.npz or .pt)", (".npz", ".pt", ".pth", ".ckpt")),
    (b"PK\x05\x06", "an empty ZIP archive", ()),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5)", (".h5", ".hdf5", ".h5ad")),
    (b"PAR1", "a Parquet file (.parquet)", (".parquet",)),
    (b"ARROW1", "an Arrow file (.arrow)", (".arrow", ".feather")),
    (b"IxF", "a FAISS index (.faiss)", (".faiss", ".index")),
    (b"IxM", "a FAISS index (.faiss)", (".faiss", ".index")),
    (b"\x1f\x8b", "gzip-compressed data", tuple(f"{s}{GZIP}" for s in _TEXT)),
    (b"\x80\x02", "a Python pickle", (".pt", ".pth", *_PICKLES)),
    (b"\x80\x03", "a Python pickle", _PICKLES),
    (b"\x80\x04", "a Python pickle", _PICKLES),
    (b"\x80\x05", "a Python pickle", _PICKLES),
)
"""First bytes, the format they stand for, and the suffixes of files that begin so."""
_BINARY = (".safetensors", ".arrow", ".fbin", ".u8bin", ".faiss", ".index", ".bin")
"""Suffixes of formats that begin with numbers, or in many ways."""
_IN_PLACE_OF_A_FILE = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run git lfs pull"),
    (b"<!doctype html", "an HTML page: did a download fail, or want a sign-in?"),
    (b"<html", "an HTML page: did a download fail, or want a sign-in?"),
)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _looks_like(path: Path) -> tuple[str, tuple[str, ...]]:
    """The format that the first bytes of a file stand for, and the suffixes of such files."""
    if path.is_dir():
        return "a directory", (suffix_of(path),)
    head = _head(path)
    for magic, name, suffixes in _MAGIC:
        if head.startswith(magic):
            return name, suffixes
    if not head:
        return "an empty file", (suffix_of(path),)
    if b"\0" in head:
        return "binary data of no known format", _BINARY
    return "text", _TEXT


def directory_format(path: Path) -> Format | None:
    """The format of a directory that is one store, found by the files in it."""
    for known in FORMATS:
        if any((path / marker).is_file() for marker in known.markers):
            return known
    return None


def open_file(path: Path) -> Container:
    """Open a file by its suffix, or a directory that is one store.

    Raises:
        DataError: no such file, a suffix without a reader, or content that is something else.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    suffix = suffix_of(path)
    if path.is_dir():
        known = directory_format(path)
        if known is None:
            raise DataError(f"{path} is a directory; name a file in it")
    elif not path.is_file():
        raise DataError(f"{path} is neither a regular file nor a link to one")
    else:
        known = _format_of(path)
    try:
        if path.is_file():
            head = _head(path)  # a file that may not be read says so here
            if not head:
                raise DataError("the file is empty: was saving it cut off, or the disk full?")
            for start, content in _IN_PLACE_OF_A_FILE:
                if head.lower().startswith(start):
                    raise DataError(f"this is {content}")
        container = known.open(path)
        if known.entry and not container.arrays:
            reasons = some(
                f"{quoted(k or 'content')}: {why}" for k, why in container.skipped.items()
            )
            remedy = f": {container.instead}" if container.instead else ""
            raise DataError(f"it holds no {known.entry} ({reasons or 'nothing'}){remedy}")
        return container
    except DataError as error:
        content, usual = _looks_like(path)
        hint = f" (expected a {known.name}; the content looks like {content})"
        raise DataError(f"{path}: {error}{'' if suffix in usual else hint}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _format_of(path: Path) -> Format:
    """The format of a file by its suffix."""
    suffix = suffix_of(path)
    for known in FORMATS:
        if suffix in known.suffixes and not known.markers:
            return known
    problem = f"the suffix {suffix!r} has no reader" if suffix else "the name has no suffix"
    readable = [suffix for known in FORMATS for suffix in known.suffixes]
    if suffix in readable:  # of a directory
        problem = f"a {suffix} store is a directory, and this is a file: unpack it"
    if suffix.endswith(GZIP):
        problem += f": unpack it with gunzip -k {quoted(path.name, 80)}"
    raise DataError(
        f"{path}: {problem} (its content looks like {_looks_like(path)[0]}); "
        f"readable: {' '.join(readable)}"
    )
