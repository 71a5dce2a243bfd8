"""How fast, against what people use today: ratios in one run on one machine.

Each round runs every contender once, one after the other; the table gives the median over the
rounds of the ratio to the peer, so that a neighbour's load hits both.

    pip install '.[bench]'
    taskset -c 0,1 python bench/speed.py   # the whole table, about half an hour on two cores
    python bench/speed.py --rounds 1 --only uniformity top10
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cl_analyze as cla
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.inputs.memory import n_threads
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.engine import PairSource, reduce_pairs
from cl_analyze.pairs.executors import ThreadExecutor
from cl_analyze.pairs.plan import symmetric_plan
from cl_analyze.pairs.reducers import NearestNeighbours
from cl_analyze.pairs.rescoring import MARGIN, rescore

N_THREADS = 2
TAUS = (0.07, 0.2, 0.5, 1.0)
PDIST = f"""
import sys, numpy, torch
torch.set_num_threads({N_THREADS})
x = torch.nn.functional.normalize(torch.from_numpy(numpy.load(sys.argv[1])))
print(float(torch.pdist(x).pow(2).mul(-2).exp().mean().log()))
"""

Contender = Callable[[], object]
"""What is timed; where it returns a float, these are its seconds."""


def embeddings(n_rows: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Ten Gaussian clusters on the sphere, and their labels."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, n_rows)
    centres = random.standard_normal((10, dim))
    rows = (1.5 * random.standard_normal((n_rows, dim)) + centres[labels]).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def _process(*arguments: str) -> Contender:
    environment = {**os.environ, "OMP_NUM_THREADS": str(N_THREADS)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    return lambda: subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, env=environment
    )


def command_against_pdist(folder: Path, n_rows: int, dim: int) -> dict[str, Contender]:
    """The whole command, start-up included, and a process that runs torch.pdist."""
    path = folder / f"{n_rows}x{dim}.npy"
    np.save(path, embeddings(n_rows, dim)[0])
    ours = ("-m", "cl_analyze", "uniformity", str(path), "--no-files", "--quiet")
    return {
        "torch.pdist": _process("-c", PDIST, str(path)),
        "uniformity": _process(*ours),
    }


def top10_of_every_row(rows: NDArray[np.float32]) -> object:
    """The exact ten nearest of every row, in float64 order."""
    unit = UnitRows(RowArray.of(rows), np.float32, 1 << 30)
    reducer = NearestNeighbours(10 + MARGIN)
    executor = ThreadExecutor(n_threads(cla.RunOptions()))
    found = reduce_pairs(
        [reducer],
        PairSource(unit, unit),
        symmetric_plan(len(rows)),
        make_backend("cpu", np.float32),
        executor,
    )
    return rescore(found[reducer], 10, unit, unit, executor=executor)


def faiss_top11(rows: NDArray[np.float32]) -> object:
    """Faiss's exhaustive inner-product search, the row itself among the eleven."""
    import faiss

    faiss.omp_set_num_threads(N_THREADS)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index.search(rows, 11)


def sklearn_top11(rows: NDArray[np.float32]) -> object:
    """scikit-learn's brute-force neighbours (of unit rows Euclidean order is cosine order)."""
    from sklearn.neighbors import NearestNeighbors as Neighbours

    search = Neighbours(n_neighbors=11, algorithm="brute", n_jobs=N_THREADS)
    return search.fit(rows).kneighbors(rows, return_distance=True)


def floor(rows: NDArray[np.float32], n_exponentials: int) -> object:
    """Half of X X' by the best BLAS at hand, and one exponential a pair for each temperature."""
    import threading

    from threadpoolctl import threadpool_limits

    plan = symmetric_plan(len(rows), 1024)
    tiles = [tile for unit in plan.units() for tile in plan.tiles(unit)]

    def work(mine: list[tuple[int, int]]) -> None:
        product = np.empty((1024, 1024), np.float32)
        powers = np.empty((1024, 1024), np.float32)
        for i, j in mine:
            one, other = rows[slice(*plan.row_spans[i])], rows[slice(*plan.row_spans[j])]
            s = product[: len(one), : len(other)]
            e = powers[: len(one), : len(other)]
            np.matmul(one, other.T, out=s)
            for _ in range(n_exponentials):
                np.exp(s, out=e)

    with threadpool_limits(1):
        threads = [
            threading.Thread(target=work, args=(tiles[t::N_THREADS],)) for t in range(N_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return None


def everything(
    rows: NDArray[np.float32], labels: NDArray[np.int64], anchors: int | None = None
) -> object:
    """All four families at four temperatures, histograms and error bars included."""
    return cla.analyze(
        rows,
        labels=labels,
        taus=TAUS,
        anchors=anchors,
    )


_BEFORE = "9df9079"
"""A revision without compiled kernels, that of the first public figures."""
_LOSSES = """
import sys, time, numpy as np
import cl_analyze as cla
random = np.random.default_rng(0)
labels = random.integers(0, 10, 20_000)
u = random.standard_normal((20_000, 128)) + 1.2 * np.eye(10, 128)[labels]
v = (u + 0.4 * random.standard_normal(u.shape)).astype(np.float32)
started = time.perf_counter()
cla.losses(u.astype(np.float32), v, labels, taus=(0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0))
print(time.perf_counter() - started)
"""
_SECOND_PASS = """
import os, time, numpy as np
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.engine import PairSource, reduce_pairs
from cl_analyze.pairs.executors import ThreadExecutor
from cl_analyze.pairs.plan import symmetric_plan
from cl_analyze.pairs.reducers import LeaveOneOut, PenaltyGiven
n = 10_000
random = np.random.default_rng(0)
codes = random.integers(0, 10, n)
rows = (random.standard_normal((n, 128)) + 1.2 * np.eye(10, 128)[codes]).astype(np.float32)
unit = UnitRows(RowArray.of(rows), np.float32, 1 << 30)
source = PairSource(unit, unit, row_labels=codes, col_labels=codes)
few = np.full(n, 1e-3)
skip = np.full(n, -1)
def of_temperature(tau):
    given = PenaltyGiven(None, np.full(n, np.log(n) + 2 / tau), few, few, few, few, skip)
    return LeaveOneOut(tau, "all", True, given)
made = [of_temperature(tau) for tau in (0.07, 0.2, 0.5, 1.0)]
started = time.perf_counter()
reduce_pairs(made, source, symmetric_plan(n), make_backend("cpu", np.float32), ThreadExecutor(3))
print(time.perf_counter() - started)
"""


def against_before(folder: Path, code: str) -> dict[str, Contender]:
    """The same code on the revision before the kernels and on this one; it prints its seconds."""
    before, here = folder / "before", Path(__file__).resolve().parents[1]
    if not before.exists():
        before.mkdir()
        command = ["git", "archive", _BEFORE]
        archive = subprocess.run(command, check=True, capture_output=True, cwd=here)
        subprocess.run(["tar", "x", "-C", str(before)], input=archive.stdout, check=True)

    def seconds(root: Path) -> float:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, env=environment, cwd=folder)
        return float(done.stdout)

    return {f"at {_BEFORE}": lambda: seconds(before), "now": lambda: seconds(here)}


def cases(folder: Path) -> dict[str, Callable[[], dict[str, Contender]]]:
    """Name -> what to build the contenders with; the first contender is the peer."""
    made: dict[str, Callable[[], dict[str, Contender]]] = {}
    for n_rows, dim in ((10_000, 128), (20_000, 512)):
        made[f"uniformity {n_rows:,} x {dim}"] = lambda n=n_rows, d=dim: command_against_pdist(
            folder, n, d
        )
    for n_rows, dim in ((40_000, 128), (20_000, 768)):

        def neighbours(n: int = n_rows, d: int = dim) -> dict[str, Contender]:
            rows, labels = embeddings(n, d)
            return {
                "faiss top-11": lambda: faiss_top11(rows),
                "top-10": lambda: top10_of_every_row(rows),
                "everything": lambda: everything(rows, labels),
                "floor of top-10": lambda: floor(rows, 0),
                "floor of everything": lambda: floor(rows, len(TAUS) + 1),
                "scikit-learn top-11": lambda: sklearn_top11(rows),
            }

        made[f"top10 {n_rows:,} x {dim}"] = neighbours
    made["losses 20,000 x 128"] = lambda: against_before(folder, _LOSSES)
    made["error bars 10,000 x 128"] = lambda: against_before(folder, _SECOND_PASS)
    return made


def measure(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contender in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            started = time.perf_counter()
            own = contender()
            passed = time.perf_counter() - started
            seconds[name].append(own if isinstance(own, float) else passed)
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[""], help="cases whose names start so")
    options = parser.parse_args()
    print(f"{'case':24} {'contender':20} {'seconds':>8} {'ratio':>6} {'lowest':>7} {'highest':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, build in cases(Path(folder)).items():
            if not name.startswith(tuple(options.only)):
                continue
            seconds = measure(build(), options.rounds)
            peer = next(iter(seconds))
            for contender, taken in seconds.items():
                ratios = sorted(a / b for a, b in zip(taken, seconds[peer], strict=True))
                print(
                    f"{name:24} {contender:20} {statistics.median(taken):8.2f} "
                    f"{statistics.median(ratios):6.2f} {ratios[0]:7.2f} {ratios[-1]:8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
