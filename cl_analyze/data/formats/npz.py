""".npz: a ZIP of .npy members; compressed ones are decoded whole, others read by rows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from cl_analyze.data.formats.extra import own_errors
from cl_analyze.data.formats.npy import Header, read_header
from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import FileBytes
from cl_analyze.data.rows import Container, RowArray, words
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted

_STEP = 4 << 20


def read_arrays(stream: BinaryIO) -> dict[str, NDArray[Any]]:
    """All arrays of an archive that this program wrote.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy fail on damaged bytes in many ways
        raise ValueError(f"its arrays cannot be read: {error or type(error).__name__}") from error


def write_arrays(stream: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the bytes of numpy.savez; an interruption leaves no open ZIP file behind."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy_format.write_array(cast(BinaryIO, member), np.asarray(array), None, False)


@dataclass(frozen=True)
class _Stored:
    """Loader of a member that is not compressed: its rows are read from the archive."""

    source: FileBytes
    header: Header
    member: str
    start: int
    size: int
    checksum: int

    def __call__(self) -> Any:
        checksum = 0
        for at in range(self.start, self.start + self.size, _STEP):
            stop = min(at + _STEP, self.start + self.size)
            checksum = zlib.crc32(self.source.read(at, stop), checksum)
        if checksum != self.checksum:
            raise DataError(
                f"{self.source.name}: member {quoted(self.member)} is damaged (its CRC-32 is not "
                "the one that was saved with it); save the file again"
            )
        return self.header.rows_of(self.source)


@dataclass(frozen=True)
class _Whole:
    """Loader of a member that is compressed, a vector, or stored by columns; decodes it whole."""

    path: Path
    member: str
    size: int
    stored: int

    def __call__(self) -> NDArray[Any]:
        name = f"{self.path}: member {quoted(self.member)}"
        require_room(name, self.size, self.stored)
        with (
            own_errors(f"{name} cannot be read"),
            zipfile.ZipFile(self.path) as archive,
            archive.open(self.member) as stream,
        ):
            return words(npy_format.read_array(cast(BinaryIO, stream), allow_pickle=False))


def _row_array(path: Path, source: FileBytes, info: zipfile.ZipInfo, header: Header) -> RowArray:
    is_stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
    if is_stored and len(header.shape) > 1 and not header.fortran_order and header.n_bytes:
        start = _start_of(source, info)
        placed = replace(header, offset=start + header.offset)
        loader = _Stored(source, placed, info.filename, start, info.file_size, info.CRC)
        return RowArray(header.shape, header.dtype_name, loader)
    size, stored = header.n_bytes, info.compress_size
    whole = _Whole(path, info.filename, size, stored)
    return RowArray(header.shape, header.dtype_name, whole, size, stored)


def _start_of(source: FileBytes, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: behind its local header, whose name and extras may differ."""
    local = source.read(info.header_offset, info.header_offset + 30)
    name, extra = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    start = info.header_offset + 30 + name + extra
    if len(local) < 30 or start + info.file_size > source.size:
        raise DataError(f"truncated: member {quoted(info.filename)} is not all there")
    return start


def open_npz(path: Path) -> Container:
    """Open an .npz archive; shapes come from the members' headers.

    Raises:
        DataError: not a ZIP archive, or a member whose size contradicts its header.
    """
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    source = FileBytes.of(path)
    with (
        own_errors("not a readable .npz archive, or a truncated one"),
        zipfile.ZipFile(path) as archive,
    ):
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                skipped[info.filename] = "not an .npy member"
                continue
            key = info.filename.removesuffix(".npy")
            if key in arrays or key in skipped:
                raise DataError(f"member {quoted(key)} occurs twice; save the file again")
            try:
                with archive.open(info) as stream:
                    header = read_header(cast(BinaryIO, stream))
            except DataError as error:
                skipped[key] = str(error)
                continue
            if header.offset + header.n_bytes != info.file_size:
                raise DataError(
                    f"member {quoted(key)} promises shape {header.shape} "
                    f"({header.n_bytes} bytes) but holds {info.file_size - header.offset}; "
                    "save the file again"
                )
            arrays[key] = _row_array(path, source, info, header)
    return Container(path, "npz", arrays, skipped)
