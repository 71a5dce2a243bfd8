"""States of a long pass on disk, so that a run that was cut off goes on where it was.

One file for each pass, replaced whole every so often: the states after the units merged so far, in
plan order.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cl_analyze.errors import ConfigError
from cl_analyze.options import RunOptions
from cl_analyze.store import Store


class SavedPass:
    """Keeps one pass's states in a folder.

    Args:
        folder: made when it is missing.
        key: the pass's `store_key`.
        every: seconds between two saves; the last unit is saved always.
        on_resume: called with the pairs that an earlier run computed, and the pairs in all.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        every: float = RunOptions.save_every,
        on_resume: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.on_resume = on_resume
        self._store = Store(folder, "--resume")
        self._name = f"pass-{key[:32]}.npz"
        self._every = every
        self._last = time.monotonic()

    def load(self, identities: list[list[Any]]) -> tuple[int, list[list[Any]]] | None:
        """Units merged and states after them, where a run left any.

        Args:
            identities: for each reducer, the blocks' states before the pass.

        Raises:
            ConfigError: the file exists and cannot be read.
        """
        try:
            arrays = self._store.load(self._name)
            if arrays is None:
                return None
            n_units = int(arrays["n_units"])
            if n_units < 0:
                raise ValueError(f"{n_units} units are said")
            return n_units, [_unpacked(blocks, r, arrays) for r, blocks in enumerate(identities)]
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ConfigError(
                f"{self._store.folder / self._name} cannot be read ({error}); delete it to compute "
                "its pass again"
            ) from error

    def save(self, n_units: int, states: list[list[Any]], finished: bool) -> None:
        """Replace the file where it is time to, or where the pass is finished.

        Raises:
            ConfigError: the folder cannot be written.
        """
        if not finished and time.monotonic() - self._last < self._every:
            return
        arrays: dict[str, NDArray[Any]] = {"n_units": np.array(n_units)}
        for r, blocks in enumerate(states):
            for name in _fields(blocks[0]):
                values = [np.asarray(getattr(state, name) if name else state) for state in blocks]
                arrays[f"{r}/{name}"] = np.concatenate([value.ravel() for value in values])
                shapes = [(value.ndim, *value.shape, 0, 0)[:3] for value in values]
                arrays[f"{r}/{name}/shapes"] = np.array(shapes, dtype=np.int64)
        self._store.save(self._name, arrays)
        self._last = time.monotonic()


def _fields(state: Any) -> list[str]:
    """Names of a state's arrays; a state that is an array has one, the empty name."""
    return [""] if isinstance(state, np.ndarray) else [f.name for f in dataclasses.fields(state)]


def _unpacked(identities: list[Any], r: int, arrays: dict[str, NDArray[Any]]) -> list[Any]:
    """The states of all blocks of one reducer, of the identities' type."""

    def of_blocks(name: str) -> list[Any]:
        shapes = [tuple(row[1 : 1 + row[0]].tolist()) for row in arrays[f"{r}/{name}/shapes"]]
        edges = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        values = arrays[f"{r}/{name}"]
        if len(shapes) != len(identities) or edges[-1] != len(values):
            raise ValueError("it does not fit the pass")
        pieces = [
            values[start:stop].reshape(shape)
            for start, stop, shape in zip(edges[:-1], edges[1:], shapes, strict=True)
        ]
        is_number = bool(name) and not isinstance(getattr(first, name), np.ndarray)
        return [int(piece) for piece in pieces] if is_number else pieces

    first = identities[0]
    if isinstance(first, np.ndarray):
        return of_blocks("")
    columns = {name: of_blocks(name) for name in _fields(first)}
    return [
        type(first)(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    ]
