""".npz: a ZIP of .npy members; each is read whole when it is first needed."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from numpy.lib import format as npy_format
from numpy.typing import NDArray

from cl_analyze.data.formats.npy import read_header, words
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import DataError


@dataclass(frozen=True)
class NpzMember:
    """Loader of one member; decompresses it into memory."""

    path: Path
    member: str

    def __call__(self) -> NDArray[Any]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                array: NDArray[Any] = npy_format.read_array(
                    cast(BinaryIO, stream), allow_pickle=False
                )
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise DataError(
                f"{self.path}: member {self.member!r} is damaged: {error}; save the file again"
            ) from error
        return words(array)


def open_npz(path: Path) -> Container:
    """Open an .npz archive; shapes come from the members' headers.

    Raises:
        DataError: not a ZIP archive, or a member whose size contradicts its header.
    """
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    skipped[info.filename] = "not an .npy member"
                    continue
                key = info.filename.removesuffix(".npy")
                try:
                    with archive.open(info) as stream:
                        header = read_header(cast(BinaryIO, stream))
                except DataError as error:
                    skipped[key] = str(error)
                    continue
                if header.offset + header.n_bytes != info.file_size:
                    raise DataError(
                        f"member {key!r} promises shape {header.shape} ({header.n_bytes} bytes) "
                        f"but holds {info.file_size - header.offset}; save the file again"
                    )
                arrays[key] = RowArray(
                    header.shape, header.stored_dtype, NpzMember(path, info.filename)
                )
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise DataError(
            f"not a readable .npz archive, or a truncated one: {error}; save it again"
        ) from error
    if not arrays:
        found = ", ".join(f"{key}: {why}" for key, why in skipped.items()) or "nothing"
        raise DataError(f"the archive holds no readable array ({found})")
    return Container(path, "npz", arrays, skipped)
