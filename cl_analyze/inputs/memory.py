"""Threads, precision and tile size of a run, from the machine and the memory budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cl_analyze.data.memory import free_memory, mebibytes
from cl_analyze.data.rows import stored_dtype
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import METRICS
from cl_analyze.metrics.anchors import WIDEST
from cl_analyze.options import MetricOptions, RunOptions
from cl_analyze.pairs import kernels
from cl_analyze.pairs.devices import named_devices, require_devices
from cl_analyze.pairs.plan import DEFAULT_BLOCK, MOST_BLOCKS, SMALLEST_BLOCK, spans
from cl_analyze.pairs.rescoring import MARGIN
from cl_analyze.processes import cores

FLOAT64_ROWS = 20_000
FLOAT64_TAU = 0.02
_THREADS_OF_A_GPU = 4
_LARGEST_BLOCK = 16 * DEFAULT_BLOCK
KEPT_ROWS = 128 << 20
"""Bytes of unit rows kept in memory when `--memory` is not passed; other rows are read again."""


def n_threads(run: RunOptions) -> int:
    """Number of threads: `--threads`, or the number of cores this process may use.

    Without compiled kernels one thread is added where there are several cores: it computes while
    others wait for the interpreter lock, which makes a run on two cores 10% faster.  Kernels hold
    the lock too little for that.  Each GPU is fed by four: some merge states while the kernels of
    another run.
    """
    if run.threads is not None:
        return run.threads
    if run.device.startswith("cuda"):
        return _THREADS_OF_A_GPU * len(named_devices(run.device))
    n_cores = cores()
    return n_cores + (n_cores > 1 and kernels.loaded() is None)


def threads_of_each(run: RunOptions) -> int:
    """Threads that feed each device: `n_threads` is their sum, but each has one at least."""
    return max(1, n_threads(run) // len(named_devices(run.device)))


def chosen_precision(
    stored: str, n_rows: int, options: MetricOptions, run: RunOptions
) -> type[np.floating[Any]]:
    """The dtype of the similarities of rows of a dtype; see `RunOptions.precision`."""
    if run.precision != "auto":
        return np.float32 if run.precision == "float32" else np.float64
    if run.device.startswith("mps"):  # mps has no float64
        return np.float32
    if min(options.taus) < FLOAT64_TAU:
        return np.float64
    wide = stored_dtype(stored).itemsize == 8
    return np.float64 if wide and n_rows <= FLOAT64_ROWS else np.float32


@dataclass(frozen=True)
class Room:
    """Division of a run's memory.

    Attributes:
        block: rows of a tile.
        cached: bytes for unit rows that are kept in memory, by each process.
        needed: bytes for everything else.
        kept_on_device: bytes of a GPU for unit rows that stay there.
    """

    block: int
    cached: int
    needed: int
    kept_on_device: int = 0


def room(
    run: RunOptions,
    n_rows: int,
    dim: int,
    dtype: type[np.floating[Any]],
    options: MetricOptions,
    names: Sequence[str],
    title: str,
) -> Room:
    """The largest block that the budget allows, and the memory that is left for unit rows.

    `--memory` holds for the machine, and for each GPU: there three quarters of what is free are the
    most.

    Raises:
        ConfigError: the budget is too small for the smallest block.
    """
    devices = named_devices(run.device)
    of_device = _device_budget(devices, run)
    budget = run.memory if run.memory is not None else free_memory() // 4
    size = np.dtype(dtype).itemsize
    n_anchors = options.anchors_of(n_rows) or n_rows
    families = [METRICS[name] for name in names]
    state_bytes = 64 * n_anchors + 64 * n_rows
    state_bytes += sum(family.memory(n_rows, dim, options, n_threads(run)) for family in families)
    if any(family.reads_neighbours for family in families):
        state_bytes += 40 * n_anchors * (options.n_neighbours_of(n_rows) + MARGIN)
    if options.anchors_of(n_rows) is not None:  # second moments of a few rows at a time
        state_bytes += 48 * min(dim, WIDEST) ** 2
    block = run.block or _usual_block(run, dim, of_device is not None)
    smallest = min(block, SMALLEST_BLOCK)
    remedies = "a smaller --k, fewer --tau" if "quality" in names else "fewer --tau"
    while True:
        n_blocks = len(spans(n_rows, block))
        n_tiles = n_blocks * (n_blocks + 1) // 2
        threads = min(threads_of_each(run) * len(devices), n_tiles)
        side = min(block, n_rows)
        n_held_blocks = min(MOST_BLOCKS, n_blocks) + 1
        n_on_device = min(2 * MOST_BLOCKS, n_blocks) + 1
        of_tiles = _TILES * side**2 * size
        of_blocks = side * dim * n_held_blocks * size
        of_thread = of_blocks + side * dim * 24 + (of_tiles if of_device is None else 0)
        needed = state_bytes + threads * of_thread
        # as of one device: the block, and with it every byte, does not depend on their number
        of_thread_there = of_tiles + side * dim * n_on_device * size
        on_device = min(threads_of_each(run), n_tiles) * of_thread_there
        fits_device = of_device is None or on_device <= of_device
        if needed <= budget and fits_device:
            limit = budget if run.memory is not None else KEPT_ROWS
            kept = 0 if of_device is None else of_device - on_device
            return Room(block, min(budget - needed, limit) // len(devices), needed, kept)
        if block == smallest or run.block is not None:
            if of_device is not None and not fits_device:
                raise ConfigError(
                    f"{title}: tiles of {block} rows need about {mebibytes(on_device)} of "
                    f"{run.device}, where this run may use {mebibytes(of_device)}; pass fewer "
                    "--threads, a larger --memory, or --device cpu"
                )
            raise ConfigError(
                f"{title}: {n_rows} rows of {dim} need about {mebibytes(needed)}, the budget is "
                f"{mebibytes(budget)}; pass --memory {needed // 2**20 + 1}MiB or more, "
                f"--anchors M for an estimate from M rows, {remedies}, or fewer --threads"
            )
        block = max(block // 2, smallest)


_TILES = 10
"""Arrays of a tile's size that a thread needs, at most."""


def _usual_block(run: RunOptions, dim: int, on_gpu: bool) -> int:
    """Rows of a tile, where the memory allows them: fewer for long rows, many for a GPU."""
    if on_gpu:
        return _LARGEST_BLOCK
    if run.device.startswith("mps"):
        return 4 * DEFAULT_BLOCK
    return DEFAULT_BLOCK if dim <= 1024 else DEFAULT_BLOCK // 2


def _device_budget(devices: Sequence[str], run: RunOptions) -> int | None:
    """Bytes of each GPU that a run may use; None without GPUs of CUDA.

    Where torch or the GPU is missing, the backend says so.
    """
    if not run.device.startswith("cuda"):
        return None
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    require_devices(devices)
    free = min(map(_free_of, map(torch.device, devices)))
    usable = 3 * free // 4
    return usable if run.memory is None else min(usable, run.memory)


def _free_of(device: Any) -> int:
    """Bytes of a GPU that are free, or that torch holds in this process without using them."""
    from torch import cuda

    free: int = cuda.mem_get_info(device)[0]
    return free + cuda.memory_reserved(device) - cuda.memory_allocated(device)
