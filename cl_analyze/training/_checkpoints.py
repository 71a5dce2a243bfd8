"""Files of embeddings that are saved while a model trains, for `cl-analyze compare`.

The callbacks of Lightning and of Hugging Face, and the evaluator of sentence-transformers, share
the names of files, the names and shapes of arrays, and the way to write them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_analyze.errors import ConfigError
from cl_analyze.output import replacing

ARRAYS = ("embeddings", "labels", "view1", "view2", "ids")


def checkpoint_name(epoch: int, step: int | None) -> str:
    """The name of a file without its suffix; `compare --x epoch` and `--x step` read the numbers.

    Args:
        epoch: number of the epoch in which the last step was done, from 0.
        step: optimiser steps done so far; None: unknown.

    >>> checkpoint_name(9, 570), checkpoint_name(9, None)
    ('epoch-0009-step-570', 'epoch-0009')
    """
    return f"epoch-{epoch:04d}" + ("" if step is None else f"-step-{step}")


def epoch_of(progress: float) -> int:
    """The epoch, from 0, in which the last step was done, from the epochs done so far.

    >>> [epoch_of(progress) for progress in (0.0, 0.5, 1.0, 1.25)]
    [0, 0, 0, 1]
    """
    return max(math.ceil(progress) - 1, 0)


def as_array(values: Any) -> NDArray[Any]:
    """Copy the values of a batch to an array; half precision becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach()
        if values.is_floating_point() and values.dtype != torch.float64:
            values = values.float()
        values = values.cpu().numpy()
    return np.array(values)


def checked_arrays(
    returned: Any, caller: str, function: str, place: str = ""
) -> dict[str, NDArray[Any]]:
    """Arrays to save, from the dictionary that a user's function returned.

    Args:
        returned: a dictionary with `embeddings` and the other arrays of `ARRAYS`; other keys are
            left out.
        caller: name of the class that saves, for messages.
        function: name of the user's function, for messages.
        place: which call of the function, for messages.

    Raises:
        ConfigError: there are no embeddings, or the shapes of arrays do not agree.
    """
    is_mapping = isinstance(returned, Mapping)
    if not is_mapping or "embeddings" not in returned:
        actual = f"keys {list(returned)}" if is_mapping else type(returned).__name__
        raise ConfigError(
            f"{caller}: {function} must return a dictionary with 'embeddings' (and "
            f"labels, view1, view2, ids where there are), found {actual}"
        )
    given = {name: returned[name] for name in ARRAYS if returned.get(name) is not None}
    arrays = {name: as_array(values) for name, values in given.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len({shape[:1] for shape in shapes.values()}) > 1 or () in shapes.values():
        raise ConfigError(
            f"{caller}: {place}{function} has shapes {shapes}: every array needs one entry a row"
        )
    for name, shape in shapes.items():
        _check_shape(name, shape, caller, function)
    return arrays


def _check_shape(name: str, shape: tuple[int, ...], caller: str, function: str) -> None:
    """Refuse shapes that the command line would refuse, before the training has ended."""
    if name in ("labels", "ids"):
        if len(shape) == 1:
            return
        needed, remedy = "one value a row", "one value each"
        if math.prod(shape[1:]) == 1:
            remedy = f"{name}.flatten()"
        elif name == "labels" and len(shape) == 2:
            remedy = "labels.argmax(1)"
    else:
        is_stack = name == "embeddings" and len(shape) == 3 and shape[1] > 0  # stacked views
        if len(shape) == 2 or is_stack:
            return
        needed, remedy = "(rows, dimensions)", "z.mean over the axes behind"
        if math.prod(shape[2:]) == 1 or len(shape) < 2:
            remedy = "z.flatten(1)"
    raise ConfigError(
        f"{caller}: {function} returns {name!r} of shape {shape}, and they must be {needed}: "
        f"return {remedy}"
    )


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], caller: str) -> None:
    """Write a file whole or not at all; rows with NaN or infinity are written with a warning.

    Args:
        path: the file; its folder is created if it is missing.
        arrays: `embeddings`, and other arrays, none of them of Python objects.
        caller: name of the class that saves, for messages.

    Raises:
        ConfigError: the file cannot be written.
    """
    embeddings = arrays["embeddings"]
    n_invalid = int((~np.isfinite(embeddings)).any(axis=tuple(range(1, embeddings.ndim))).sum())
    if n_invalid:
        warnings.warn(
            f"{caller}: {n_invalid} of {len(embeddings)} rows of {path} have NaN or "
            "infinity: has the training diverged?",
            UserWarning,
            stacklevel=2,
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise ConfigError(f"{caller}: cannot write {path}: {error.strerror or error}") from error
