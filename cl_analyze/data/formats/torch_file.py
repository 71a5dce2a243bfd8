""".pt, .pth, .ckpt: a tensor, or dictionaries of tensors, by rows; nothing is ever executed."""

from __future__ import annotations

import contextlib
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.formats.extra import imported, python_line
from cl_analyze.data.formats.pickles import TRUSTED
from cl_analyze.data.memory import require_room
from cl_analyze.data.ranged import FileBytes, RangedRows
from cl_analyze.data.rows import Container, RowArray, stored_dtype
from cl_analyze.data.tensors import tensor_array
from cl_analyze.errors import DataError
from cl_analyze.quoting import quoted, some

_SAFE_SAVE = "save tensors alone, as torch.save({'embeddings': z, 'labels': y}, path)"
_WEIGHTS = ("weight", "bias", "running_mean", "running_var", "in_proj_weight", "in_proj_bias")
_FEWEST_ALIKE = 20
_MOST_ENTRIES = 100_000


def _load(path: Path) -> Any:
    """The content of a file, mapped where its format allows."""
    torch = imported("torch", path, "pip install torch")
    with warnings.catch_warnings():
        # torch warns of unusual pickles before it refuses them; the refusal says enough
        warnings.simplefilter("ignore", UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except MemoryError:
            raise
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise DataError(f"not a readable PyTorch file: {lines[0]}") from error
        except OSError as error:  # the ZIP's directory promises members that are not there
            raise DataError(
                f"not a readable PyTorch file ({error.strerror}); is it truncated? Save it again"
            ) from error
        except Exception as error:  # there is no end to how a damaged stack of instructions fails
            if "numpy" in str(error):
                raise DataError(
                    "it holds NumPy arrays, which could run code when loaded: save "
                    "torch.from_numpy(z), or numpy.savez(path, embeddings=z, labels=y)"
                ) from error
            raise DataError(
                "not a PyTorch file of plain tensors (objects of other kinds could run code when "
                f"loaded, so they are refused): {_SAFE_SAVE}{_converted(path)}"
            ) from error
        try:  # the older format, before torch 1.6, cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise DataError(
                f"not a readable PyTorch file of plain tensors: {_SAFE_SAVE}"
            ) from error


def _converted(path: Path) -> str:
    """The command that takes the tensors out of a file with other objects, as a remedy."""
    line = python_line(
        f"import torch; d = torch.load({str(path)!r}, map_location='cpu', weights_only=False); "
        "d = d.get('state_dict', d); "
        "torch.save({k: v for k, v in d.items() if torch.is_tensor(v)}, "
        f"{path.stem + '-tensors.pt'!r})"
    )
    return f"; or take the tensors out of this one: {line} ({TRUSTED})"


def _refuse_compressed(path: Path) -> None:
    """Refuse a ZIP whose members are compressed: torch would take compressed bytes for values."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                    raise DataError(
                        f"its member {quoted(info.filename)} is compressed, which torch.save never "
                        "does: was the file repacked? Save the tensors again with torch.save"
                    )
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # the older format, or damaged: torch says so


def _array_of(value: Any) -> RowArray | str:
    """The array of an entry, or a text that says why the entry is no array."""
    import torch

    if isinstance(value, torch.Tensor):
        try:
            return tensor_array(value, in_memory=False)
        except DataError as error:
            return str(error)
    if isinstance(value, list | tuple) and value:
        scalars = _scalars(value)
        if scalars is not None:
            return RowArray.of(scalars)
        kind = type(value).__name__
        if any(isinstance(item, torch.Tensor) for item in value):
            return f"a {kind} of tensors: save torch.cat of batches, or a dictionary"
        if all(isinstance(item, dict) for item in value):
            return (
                f"a {kind} of dictionaries, as batches come: join the batches, "
                "{k: torch.cat([b[k] for b in batches]) for k in batches[0]}, and save that"
            )
    return f"a {type(value).__name__}, not a tensor"


def _scalars(values: Sequence[Any]) -> NDArray[Any] | None:
    """Labels as a list of numbers or words of one kind, some missing; None for other lists."""
    import torch

    plain = [
        value.item() if isinstance(value, torch.Tensor) and value.ndim == 0 else value
        for value in values
    ]
    kinds = {type(value) for value in plain} - {type(None)}
    if len(kinds) != 1 or not kinds <= {str, int, float, bool}:
        return None
    try:
        if None in plain:
            return np.array(plain, dtype=object)
        return np.array(plain)
    except OverflowError:
        return np.array([str(value) for value in plain])


def _entries(
    content: Any, prefix: str = "", depth: int = 4, above: tuple[int, ...] = ()
) -> dict[str, Any]:
    """The entries of a file by their keys; a dictionary in a dictionary has keys outer/inner."""
    if not isinstance(content, dict):
        return {"": content}
    entries: dict[str, Any] = {}
    within = (*above, id(content))
    for key, value in content.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, dict) and depth > 0 and id(value) not in within
        new = _entries(value, f"{name}/", depth - 1, within) if inner else {name: value}
        twice = next((key for key in new if key in entries), None)
        if twice is not None:  # 1 and "1"
            raise DataError(f"two of its keys are written {quoted(twice)}: give them other names")
        entries.update(new)
        if len(entries) > _MOST_ENTRIES:
            raise DataError(
                f"it holds more than {_MOST_ENTRIES} entries: save the embeddings in one tensor"
            )
    return entries


@dataclass(frozen=True)
class _Loader:
    """Loader of one entry; reads the file again wherever it is called.

    Attributes:
        path, key: of the entry.
        source: the file as it was when it was opened.
        size: bytes of the values.
    """

    path: Path
    key: str
    source: FileBytes
    size: int

    def __call__(self) -> Any:
        entry = f"{self.path}: entry {quoted(self.key)}"
        require_room(entry, self.size)
        self.source.check()
        array = _array_of(_entries(_load(self.path))[self.key])
        if isinstance(array, str):
            raise DataError(f"{entry} is {array}")
        values = np.array(array.values())  # of this entry alone, away from the map
        self.source.check()
        return values


def _rows_in(
    maps: Sequence[_Map], source: FileBytes, tensor: Any, array: RowArray
) -> RangedRows | None:
    """The rows of a mapped tensor by their place in the file; None where it is not known."""
    if not tensor.is_contiguous() or tensor.ndim < 1 or not tensor.numel():
        return None
    if tensor.is_conj() or tensor.is_neg():
        return None
    address = tensor.data_ptr()
    place = next((address - m.start + m.offset for m in maps if m.start <= address < m.stop), None)
    if place is None or place + array.n_bytes > source.size:
        return None
    return RangedRows(source, array.shape, stored_dtype(array.dtype), place)


@dataclass(frozen=True)
class _Map:
    """Addresses start..stop-1 are the file's bytes from an offset."""

    start: int
    stop: int
    offset: int


def _maps_of(path: Path) -> list[_Map]:
    """The maps of a file (Linux).

    Empty for numbers of another byte order, which torch changes in a copy of the pages.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            orders = [n for n in archive.namelist() if n.rpartition("/")[2] == "byteorder"]
            if orders and archive.read(orders[0])[:8].decode("ascii", "replace") != sys.byteorder:
                return []
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []
    inode, maps = path.stat().st_ino, []
    with contextlib.suppress(OSError, ValueError):
        table = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        for line in table.split("\n"):
            span, _, rest = line.partition(" ")
            start, _, stop = span.partition("-")
            fields = rest.split()
            if stop and len(fields) > 3 and int(fields[3]) == inode:
                maps.append(_Map(int(start, 16), int(stop, 16), int(fields[1], 16)))
    return maps


def open_torch(path: Path) -> Container:
    """Open a PyTorch file with `weights_only=True`; imports torch.

    Raises:
        DependencyError: torch is not installed.
        DataError: not a PyTorch file, or objects other than tensors.
    """
    _refuse_compressed(path)
    source = FileBytes.of(path)
    content = _load(path)
    maps = _maps_of(path)
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    for key, value in _entries(content).items():
        array = _array_of(value)
        if isinstance(array, str):
            skipped[key] = array
        elif not hasattr(value, "data_ptr"):  # a list, which is decoded already
            arrays[key] = array
        elif (rows := _rows_in(maps, source, value, array)) is not None:
            arrays[key] = rows.as_array(array.dtype)
        else:
            size = array.n_bytes
            loader = _Loader(path.absolute(), key, source, size)
            arrays[key] = RowArray(array.shape, array.dtype, loader, size)
    has_groups = isinstance(content, dict) and any(isinstance(v, dict) for v in content.values())
    instead = _looks_like(arrays) if arrays else _SAFE_SAVE
    return Container(path, "pt", arrays, skipped, has_groups=has_groups, instead=instead)


def is_weight(key: str) -> bool:
    """Whether a key is one that torch gives a parameter of a model's layer."""
    return key.rpartition(".")[2] in _WEIGHTS


def _looks_like(arrays: dict[str, RowArray]) -> str:
    """The kind of a file without embeddings, and what to save: one vector a key, or weights."""
    shapes = Counter(array.shape for array in arrays.values())
    shape, count = shapes.most_common(1)[0]
    if count >= _FEWEST_ALIKE and count > 0.9 * len(arrays) and len(shape) == 1 and shape[0] > 1:
        return (
            f"it holds {count} vectors of {shape[0]}, one a key: save "
            "torch.stack(list(d.values())), and their keys as ids"
        )
    n_weights = sum(map(is_weight, arrays))
    if n_weights > max(1, len(arrays) / 2):
        return (
            f"it looks like a model's weights ({some(map(quoted, arrays), 2)}): save what the "
            "encoder says of the data, torch.save({'embeddings': z, 'labels': y}, path)"
        )
    return ""
