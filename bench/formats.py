"""Every file format against .npy in one run: reading all rows twice, and the memory that takes.

    python bench/formats.py                  # 60,000 x 512, about three minutes on two cores
    python bench/formats.py --rows 2000

Each format is read in a process of its own, block by block as the pair engine does, and a thousand
rows at random.  Memory is what the process holds at its peak beyond a process that reads nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def _arrow(rows: Rows, path: Path, compression: str | None) -> None:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = pa.table({"z": column})
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=5000, compression=compression or "none")
    else:
        pa.feather.write_feather(table, path, chunksize=5000, compression=compression)


def _hdf5(rows: Rows, path: Path, **options: object) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("z", data=rows, **options)


def _zarr(rows: Rows, path: Path) -> None:
    import zarr

    zarr.create_array(str(path), data=rows, chunks=(2000, rows.shape[1]))


def _safetensors(rows: Rows, path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"z": rows}, path)


def _torch(rows: Rows, path: Path) -> None:
    import torch

    torch.save(torch.from_numpy(rows), path)


WRITERS: dict[str, Callable[[Rows, Path], object]] = {
    "array.npy": lambda rows, path: np.save(path, rows),
    "stored.npz": lambda rows, path: np.savez(path, z=rows),
    "deflated.npz": lambda rows, path: np.savez_compressed(path, z=rows),
    "tensor.pt": _torch,
    "tensor.safetensors": _safetensors,
    "snappy.parquet": lambda rows, path: _arrow(rows, path, "snappy"),
    "plain.feather": lambda rows, path: _arrow(rows, path, "uncompressed"),
    "lz4.feather": lambda rows, path: _arrow(rows, path, "lz4"),
    "contiguous.h5": _hdf5,
    "gzip.h5": lambda rows, path: _hdf5(
        rows, path, chunks=(min(2000, len(rows)), min(64, rows.shape[1])), compression="gzip"
    ),
    "zstd.zarr": _zarr,
    "vectors.fbin": lambda rows, path: path.write_bytes(
        np.array(rows.shape, "<u4").tobytes() + rows.tobytes()
    ),
}


def _import(name: str) -> None:
    """What a process holds that reads nothing."""
    from cl_analyze.data import opening  # noqa: F401

    library = {".parquet": "pyarrow.parquet", ".feather": "pyarrow", ".h5": "h5py", ".zarr": "zarr"}
    library[".pt"] = "torch"
    __import__(library.get(Path(name).suffix, "numpy"))


def read(path: Path) -> float:
    """Seconds to read all rows twice, and a thousand at random."""
    from cl_analyze.data.opening import Spec, open_embeddings

    started = time.perf_counter()
    array = open_embeddings(Spec(str(path))).main.array
    for _ in range(2):
        for start in range(0, array.n_rows, 512):
            array.read(start, min(start + 512, array.n_rows)).max()
            array.give_back()
    array.take(np.random.default_rng(0).integers(0, array.n_rows, 1000)).max()
    return time.perf_counter() - started


def _peak() -> float:
    """Mebibytes at this process's peak; getrusage would count those of the process that forked."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _measured(path: Path) -> tuple[float, float]:
    """Seconds, and mebibytes beyond what the imports take."""
    found = []
    for side in ("--imports", "--read"):
        command = [sys.executable, __file__, side, str(path)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append([float(text) for text in out.split()])
    return found[1][0], found[1][1] - found[0][1]


def main() -> None:
    """Write the files, read each, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--imports", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.imports or given.read:
        _import(str(given.imports or given.read))
        seconds = read(given.read) if given.read else 0.0
        print(seconds, _peak())
        return
    rows = np.random.default_rng(0).standard_normal((given.rows, given.dim)).astype(np.float32)
    size = rows.nbytes / 2**20
    print(f"{given.rows:,} x {given.dim}, {size:.0f} MiB")
    print(f"{'':20}{'time / .npy':>12}{'memory / matrix':>17}")
    with tempfile.TemporaryDirectory() as folder:
        first = None
        for name, write in WRITERS.items():
            path = Path(folder) / name
            write(rows, path)
            seconds, memory = _measured(path)
            first = first or seconds
            print(f"{name:20}{seconds / first:12.1f}{memory / size:17.2f}", flush=True)


if __name__ == "__main__":
    main()
