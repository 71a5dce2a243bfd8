"""Encoders that are ill in a known way, made from the sample data, for docs/reading-the-report.md.

Each function takes the arrays of a file (`embeddings`, `view1`, `view2`, `labels`, `ids`,
`class_names`) and returns those of the ill encoder.  Random numbers have a fixed seed.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.generic]]
SAMPLES = Path(__file__).parent.parent / "sample_data"
ROWS = 1000
"""Rows of each file: every second one of the sample data."""
MERGED = (5, 8)
"""Classes that `two_classes_merged` cannot tell apart: sandals and bags."""
_SPACES = ("embeddings", "view1", "view2")


def sample(tau: str, first: int = 0) -> Arrays:
    """Rows of the sample encoder trained at a temperature, from the given one on."""
    with np.load(SAMPLES / f"fashion-mnist-tau-{tau}.npz") as file:
        step = len(file["embeddings"]) // ROWS
        return {
            name: file[name] if name == "class_names" else _as_numbers(file[name][first::step])
            for name in file
        }


def _as_numbers(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Half-precision numbers in single precision."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def save(arrays: Arrays, path: Path) -> Path:
    """Write a file that is the same every time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as stream:
                np.lib.format.write_array(stream, array)
    return path


def _changed(
    arrays: Arrays, change: Callable[[npt.NDArray[np.float64], np.random.Generator], object]
) -> Arrays:
    """The file with its embeddings and both views changed and brought back to the sphere."""
    random = np.random.default_rng(0)
    found = dict(arrays)
    for name in _SPACES:
        rows = np.asarray(change(arrays[name].astype(np.float64), random))
        found[name] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def _noise(rows: npt.NDArray[np.float64], random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gaussian rows of norm 1 on average."""
    return random.standard_normal(rows.shape) / np.sqrt(rows.shape[1])


def few_directions(arrays: Arrays, kept: int = 2) -> Arrays:
    """Dimensional collapse: the first directions are kept, and 5% of noise hides that."""
    centred = arrays["embeddings"] - arrays["embeddings"].mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:kept]

    def change(
        rows: npt.NDArray[np.float64], random: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        flat = rows @ axes.T @ axes
        return flat / np.linalg.norm(flat, axis=1, keepdims=True) + 0.05 * _noise(rows, random)

    return _changed(arrays, change)


def cone(arrays: Arrays, length: float = 1.5) -> Arrays:
    """All rows have a direction in common, added to each of them."""
    common = np.zeros(arrays["embeddings"].shape[1])
    common[0] = length
    return _changed(arrays, lambda rows, random: rows + common)


def point(arrays: Arrays, length: float = 20.0) -> Arrays:
    """Complete collapse: what all rows have in common hides all else."""
    return cone(arrays, length)


def copies(arrays: Arrays, share: float = 0.3) -> Arrays:
    """A share of the rows are copies of others, as where a data set holds images twice."""
    n = len(arrays["embeddings"])
    random = np.random.default_rng(0)
    order = random.permutation(n)
    few = int(share * n)
    sources = np.arange(n)
    sources[order[:few]] = random.choice(order[few:], few)
    return {name: a if name in ("ids", "class_names") else a[sources] for name, a in arrays.items()}


def hubs(arrays: Arrays, n_dims: int = 512, share: float = 0.05) -> Arrays:
    """Much noise in many directions, but for a few rows: these become neighbours of all others."""
    n = len(arrays["embeddings"])
    sizes = np.where(np.random.default_rng(1).random((n, 1)) < share, 0.1, 3.0)

    def change(
        rows: npt.NDArray[np.float64], random: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        wide = np.zeros((n, n_dims))
        wide[:, : rows.shape[1]] = rows
        return wide + sizes * _noise(wide, random)

    return _changed(arrays, change)


def views_apart(arrays: Arrays, length: float = 1.0) -> Arrays:
    """The second view lies elsewhere, as images and texts of two towers do."""
    found = dict(arrays)
    rows = arrays["view2"].astype(np.float64)
    rows[:, 0] += length
    found["view2"] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def partners_mixed_up(arrays: Arrays, share: float = 0.3) -> Arrays:
    """A share of the rows have the second view of another row."""
    n = len(arrays["view2"])
    order = np.random.default_rng(0).permutation(n)[: int(share * n)]
    found = dict(arrays)
    found["view2"] = arrays["view2"].copy()
    found["view2"][order] = arrays["view2"][np.roll(order, 1)]
    return found


def two_classes_merged(arrays: Arrays) -> Arrays:
    """Rows of one class are put where those of another lie."""
    moved, there = (np.flatnonzero(arrays["labels"] == label) for label in MERGED)
    found = dict(arrays)
    random = np.random.default_rng(0)
    there = random.choice(there, len(moved))
    for name in _SPACES:
        rows = arrays[name][there].astype(np.float64)
        rows += 0.5 * _noise(rows, random)
        found[name] = arrays[name].copy()
        found[name][moved] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def noisy(arrays: Arrays, size: float = 1.0) -> Arrays:
    """Rows with noise added, as of an encoder early in training or of images it never saw."""
    return _changed(arrays, lambda rows, random: rows + size * _noise(rows, random))
