""".pt and .pth: a tensor, or a dictionary of tensors, memory-mapped; nothing is ever executed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.data.rows import BFLOAT16, Container, RowArray
from cl_analyze.errors import DataError

_SAFE_SAVE = "save tensors alone, as torch.save({'embeddings': z, 'labels': y}, path)"


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        # torch warns of unusual pickles before it refuses them; the refusal says enough
        warnings.simplefilter("ignore", UserWarning)
        return _load_quietly(path)


def _load_quietly(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise DataError(f"not a readable PyTorch file: {_first_line(error)}") from error
    except OSError as error:  # what the ZIP's directory promises is not there
        raise DataError(
            f"not a readable PyTorch file ({error.strerror}); is it truncated? Save it again"
        ) from error
    except Exception as error:  # there is no end to how a damaged stack of instructions fails
        raise DataError(
            "not a PyTorch file of plain tensors (objects of other kinds could run code when "
            f"loaded, so they are refused): {_SAFE_SAVE}"
        ) from error
    try:  # the older format, before torch 1.6, cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"not a readable PyTorch file of plain tensors: {_SAFE_SAVE}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _tensor_values(tensor: Any) -> NDArray[Any]:
    import torch

    plain = tensor.detach()
    if plain.layout != torch.strided or plain.is_quantized:
        raise DataError("sparse and quantised tensors are not supported: save tensor.to_dense()")
    if plain.dtype == torch.bfloat16:
        words: NDArray[Any] = plain.view(torch.int16).numpy().view(np.uint16)
        return words
    try:
        values: NDArray[Any] = plain.resolve_conj().resolve_neg().numpy()
    except TypeError as error:
        raise DataError(f"{plain.dtype} has no NumPy equivalent: save tensor.float()") from error
    return values


def _array_of(value: Any) -> RowArray | str:
    """The array an entry holds, or in words why it holds none."""
    import torch

    if isinstance(value, torch.Tensor):
        try:
            array = _tensor_values(value)
        except DataError as error:
            return str(error)
        return RowArray.of(array, BFLOAT16 if value.dtype == torch.bfloat16 else None)
    if (
        isinstance(value, list)
        and value
        and isinstance(value[0], str | int | float | bool)
        and all(type(item) is type(value[0]) for item in value)
    ):
        return RowArray.of(np.array(value))
    if isinstance(value, list | tuple) and any(isinstance(item, torch.Tensor) for item in value):
        return f"a {type(value).__name__} of tensors: save torch.cat of batches, or a dictionary"
    return f"a {type(value).__name__}, not a tensor"


def _entries(content: Any, prefix: str = "", depth: int = 4) -> dict[str, Any]:
    """What a file holds by its keys, those of dictionaries in dictionaries as outer/inner."""
    if not isinstance(content, dict):
        return {"": content}
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, dict) and depth > 0
        found.update(_entries(value, f"{name}/", depth - 1) if inner else {name: value})
    return found


@dataclass(frozen=True)
class TorchEntry:
    """Loader of one entry; maps the file again wherever it is called."""

    path: Path
    key: str

    def __call__(self) -> NDArray[Any]:
        array = _array_of(_entries(_load(self.path))[self.key])
        if isinstance(array, str):
            raise DataError(f"{self.path}: entry {self.key!r} is {array}")
        return array.values()


def open_torch(path: Path) -> Container:
    """Open a PyTorch file with `weights_only=True`; imports torch.

    Raises:
        DataError: not a PyTorch file, objects other than tensors, or no tensor in it.
    """
    content = _load(path)
    entries = _entries(content)
    arrays: dict[str, RowArray] = {}
    skipped: dict[str, str] = {}
    for key, value in entries.items():
        array = _array_of(value)
        if isinstance(array, str):
            skipped[str(key)] = array
        else:
            arrays[str(key)] = RowArray(array.shape, array.dtype, TorchEntry(path, str(key)))
    if not arrays:
        found = ", ".join(f"{key or 'content'}: {why}" for key, why in skipped.items()) or "nothing"
        raise DataError(f"the file holds no tensor ({found}): {_SAFE_SAVE}")
    has_groups = isinstance(content, dict) and any(isinstance(v, dict) for v in content.values())
    return Container(path, "pt", arrays, skipped, has_groups=has_groups)
