"""The GPU check: exactness against float64 on the CPU, then times as ratios to the product alone.

    python bench/gpu.py                       # under four minutes on one GPU
    python bench/gpu.py --device cpu --rows 3000 --seconds 1    # how the script itself is tested

Needs torch, NumPy, SciPy and this repository, nothing installed.

The first table has the largest error of every reducer on small awkward rows (duplicates, antipodes,
unlabelled rows), of the mean over rows and of the worst row.  The second has times: the product
alone (half of X X' in tiles, as the pass computes it), brute force in torch (every row against all
others, `topk`), and the passes.  A pass that would take longer than its seconds is stopped, and the
time of the whole is computed from the pairs that it did: marked with ~.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def without_extras() -> None:
    """Let SciPy's copy of array-api-compat stand in where it is missing, and nothing pin BLAS."""
    try:
        import array_api_compat  # noqa: F401
    except ImportError:
        try:
            from scipy._external import array_api_compat as copy
        except ImportError:
            from scipy._lib import array_api_compat as copy
        import importlib

        sys.modules["array_api_compat"] = copy
        for name in ("numpy", "torch"):
            part = importlib.import_module(f"{copy.__name__}.{name}")
            sys.modules[f"array_api_compat.{name}"] = part
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        import contextlib

        stand_in = types.ModuleType("threadpoolctl")
        stand_in.threadpool_limits = lambda **_: contextlib.nullcontext()  # type: ignore[attr-defined]
        sys.modules["threadpoolctl"] = stand_in


without_extras()

import torch  # noqa: E402

from cl_analyze.data.rows import RowArray  # noqa: E402
from cl_analyze.data.unit import UnitRows  # noqa: E402
from cl_analyze.pairs.backend import Backend, make_backend  # noqa: E402
from cl_analyze.pairs.engine import PairSource, Reducer, reduce_pairs  # noqa: E402
from cl_analyze.pairs.executors import Executor, ThreadExecutor  # noqa: E402
from cl_analyze.pairs.plan import rectangular_plan, symmetric_plan  # noqa: E402
from cl_analyze.pairs.reducers import (  # noqa: E402
    LogSumOfSquares,
    NearestNeighbours,
    RowLogSumExp,
    SoftmaxMoments,
)
from cl_analyze.pairs.rescoring import MARGIN  # noqa: E402
from tests import reducer_cases  # noqa: E402

SIZES = ((100_000, 128), (100_000, 768), (1_000_000, 128))
TAUS = (0.07, 0.2, 0.5, 1.0)
_LONG = 3.0
KEPT_BYTES = 8 << 30
"""Of rows that stay on the device during a pass: a run takes what tiles leave of its memory."""
MEAN_LIMIT, ROW_LIMIT, EDGE_LIMIT, EXACT_LIMIT = 1e-6, 2e-3, 1e-3, 1e-9
"""Largest relative errors: of means over rows and of single rows in float32, of both where values
lie at an edge or the temperature is under 0.07, and of both in float64."""


def synchronise(device: str) -> None:
    """Wait for the kernels that were started."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


# ---- exactness


def error(found: object, exact: object) -> tuple[float, float]:
    """Relative error of the mean over rows, and of the worst row, over all arrays of a result."""
    of_mean = of_row = 0.0
    for a, b in zip(reducer_cases.arrays(found), reducer_cases.arrays(exact), strict=True):
        same_nowhere = np.isfinite(a) == np.isfinite(b)
        if not same_nowhere.all():
            return np.inf, np.inf
        a, b = np.where(np.isfinite(a), a, 0.0), np.where(np.isfinite(b), b, 0.0)
        scale = max(float(np.abs(b).mean()), 1e-300)
        of_mean = max(of_mean, abs(float((a - b).mean())) / scale)
        of_row = max(of_row, float(np.abs(a - b).max()) / max(float(np.abs(b).max()), 1e-300))
    return of_mean, of_row


def check(device: str, n_rows: int) -> bool:
    """Print the errors of every reducer on the device; whether all are within their limits."""
    rows, labels = reducer_cases.embeddings(7, n_rows, 24)
    made = reducer_cases.configurations(rows, labels)
    dtypes = (np.float32,) if device.startswith("mps") else (np.float64, np.float32)
    worst: dict[tuple[str, str], list[float]] = {}
    passed = True
    for plan in (symmetric_plan(n_rows, 700), rectangular_plan(n_rows, n_rows, 900)):
        wanted = [r for r in made if not (plan.symmetric and reducer_cases.is_rectangular_only(r))]
        exact = reduce_pairs(
            wanted,
            reducer_cases.source(rows, labels, np.float64),
            plan,
            make_backend("cpu", np.float64),
        )
        for dtype in dtypes:
            backend = make_backend(device, dtype, use_torch=True)
            found = reduce_pairs(wanted, reducer_cases.source(rows, labels, dtype), plan, backend)
            for reducer, result in found.items():
                kind = np.dtype(dtype).name
                has_edges = isinstance(reducer, reducer_cases.HAS_EDGES)
                small_tau = getattr(reducer, "tau", 1.0) < 0.07
                if dtype == np.float32 and (has_edges or small_tau):
                    kind = "float32, edges or tau 0.01"
                errors = error(result, exact[reducer])
                if kind == "float64":
                    passed &= max(errors) <= EXACT_LIMIT
                elif kind != "float32":
                    passed &= max(errors) <= EDGE_LIMIT
                else:
                    passed &= errors[0] <= MEAN_LIMIT and errors[1] <= ROW_LIMIT
                key = type(reducer).__name__, kind
                worst[key] = [max(p) for p in zip(worst.get(key, [0, 0]), errors, strict=True)]
    print(f"{'reducer':20} {'precision':28} {'error of mean':>14} {'of a row':>10}")
    for (name, kind), (of_mean, of_row) in sorted(worst.items()):
        print(f"{name:20} {kind:28} {of_mean:14.1e} {of_row:10.1e}")
    limits = (
        f"{MEAN_LIMIT:g} of means, {ROW_LIMIT:g} of rows in float32; {EXACT_LIMIT:g} in float64"
    )
    print(f"{'all within' if passed else 'NOT within'} {limits}\n", flush=True)
    return passed


# ---- times


class _TimeIsUpError(Exception):
    """The pass has had its seconds."""


def seconds_of_pass(
    reducers: list[Reducer],
    source: PairSource,
    n_rows: int,
    block: int,
    backend: Backend,
    most: float,
    executor: Executor,
) -> tuple[float, bool]:
    """Seconds of a symmetric pass, and whether they are computed from a part of it."""
    plan = symmetric_plan(n_rows, block)
    started = time.perf_counter()
    marks: list[tuple[float, int]] = []

    def progress(done: int, total: int) -> None:
        marks.append((time.perf_counter() - started, done))
        if marks[-1][0] > most and done < total:
            raise _TimeIsUpError

    try:
        reduce_pairs(reducers, source, plan, backend, executor, progress)
    except _TimeIsUpError:
        # the first unit has no bounds yet and starts the device: it counts once
        (first, first_done), (last, last_done) = marks[0], marks[-1]
        if last_done == first_done:
            return last * plan.n_pairs / last_done, True
        rate = (last - first) / (last_done - first_done)
        return first + rate * (plan.n_pairs - first_done), True
    return time.perf_counter() - started, False


def seconds_of_product(x: torch.Tensor, block: int, device: str, most: float) -> float:
    """Seconds of half of X X' in tiles, every tile in the same memory."""
    spans = symmetric_plan(len(x), block).row_spans
    out = torch.empty(block * block, device=x.device)
    tiles = [(a, b) for i, a in enumerate(spans) for b in spans[i:]]

    def multiply(a: tuple[int, int], b: tuple[int, int]) -> int:
        height, width = a[1] - a[0], b[1] - b[0]
        target = out[: height * width].view(height, width)
        torch.matmul(x[a[0] : a[1]], x[b[0] : b[1]].T, out=target)
        return height * width

    multiply(*tiles[0])
    synchronise(device)
    started, done = time.perf_counter(), 0
    for at, (a, b) in enumerate(tiles):
        done += multiply(a, b)
        if at % 50 == 49:
            synchronise(device)
            if time.perf_counter() - started > most:
                break
    synchronise(device)
    total = sum((a[1] - a[0]) * (b[1] - b[0]) for a, b in tiles)
    return (time.perf_counter() - started) * total / done


def seconds_of_brute_force(x: torch.Tensor, device: str, most: float) -> float:
    """Seconds of the ten nearest by topk over whole rows, a thousand rows at a time."""
    height = max(1, min(4096, (1 << 30) // len(x)))

    def search(start: int) -> None:
        torch.topk(x[start : start + height] @ x.T, 11, dim=1)

    search(0)
    synchronise(device)
    started, done = time.perf_counter(), 0
    for start in range(0, len(x), height):
        search(start)
        done += min(height, len(x) - start)
        synchronise(device)
        if time.perf_counter() - started > most:
            break
    return (time.perf_counter() - started) * len(x) / done


def everything() -> list[Reducer]:
    """What uniformity, similarity and penalty take of all pairs at four temperatures, labelled."""
    made: list[Reducer] = [
        RowLogSumExp(0.25),
        LogSumOfSquares(0.25),
        NearestNeighbours(10 + MARGIN),
    ]
    for tau in TAUS:
        made += [SoftmaxMoments(tau), RowLogSumExp(tau, "same_class")]
    return made


def works_of(
    n_rows: int, dim: int, device: str, block: int, most: float, executor: Executor
) -> dict[str, Callable[[], tuple[float, bool]]]:
    """What is timed at one size: name -> seconds, and whether they are computed from a part."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (n_rows,), generator=generator)
    x = torch.randn(n_rows, dim, generator=generator)
    x += 1.5 * torch.randn(10, dim, generator=generator)[labels]
    x = torch.nn.functional.normalize(x)
    on_device = x.to(device)
    unit, codes = UnitRows(RowArray.of(x.numpy()), np.float32, 1 << 40), labels.numpy()
    source = PairSource(unit, unit, row_labels=codes, col_labels=codes)
    backend = make_backend(device, np.float32, use_torch=True, kept_bytes=KEPT_BYTES)

    def of_pass(reducers: list[Reducer]) -> Callable[[], tuple[float, bool]]:
        def seconds() -> tuple[float, bool]:
            for _ in range(2):  # the first time kernels are compiled: much beside a short pass
                taken, is_part = seconds_of_pass(
                    reducers, source, n_rows, block, backend, most, executor
                )
                if is_part or taken > _LONG:
                    break
            return taken, is_part

        return seconds

    return {
        "product alone": lambda: (seconds_of_product(on_device, block, device, most), False),
        "brute force, topk": lambda: (seconds_of_brute_force(on_device, device, most), False),
        "top 10": of_pass([NearestNeighbours(10 + MARGIN)]),
        "uniformity": of_pass([RowLogSumExp(0.25), LogSumOfSquares(0.25)]),
        "everything": of_pass(everything()),
    }


def times(
    device: str, sizes: tuple[tuple[int, int], ...], block: int, most: float, executor: Executor
) -> None:
    """Print the table of times."""
    print(f"{'rows x dim':16} {'work':24} {'seconds':>9} {'ps a pair':>10} {'to product':>11}")
    for n_rows, dim in sizes:
        n_pairs, product = n_rows * (n_rows + 1) / 2, None
        for name, work in works_of(n_rows, dim, device, block, most, executor).items():
            with make_backend(device, np.float32, use_torch=True).computing():  # in true float32
                seconds, is_part = work()
            product = product or seconds
            print(
                f"{f'{n_rows:,} x {dim}':16} {name:24} {'~' * is_part + f'{seconds:.2f}':>9} "
                f"{seconds / n_pairs * 1e12:10.1f} {seconds / product:11.2f}",
                flush=True,
            )


def main() -> None:
    """Print both tables; exit with 1 where an error is beyond its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, help="of one small size in place of the three")
    parser.add_argument("--block", type=int, default=16384, help="rows of a tile")
    parser.add_argument("--threads", type=int, default=4, help="that feed the device")
    parser.add_argument("--seconds", type=float, default=12.0, help="for one pass, at most")
    options = parser.parse_args()
    device = options.device
    warnings.simplefilter("error")
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    print(f"{name}, torch {torch.__version__}, NumPy {np.__version__}\n", flush=True)
    passed = check(device, min(1500, options.rows or 1500))
    sizes = SIZES if options.rows is None else ((options.rows, 128),)
    block = min(options.block, options.rows or options.block)
    times(device, sizes, block, options.seconds, ThreadExecutor(options.threads))
    sys.exit(not passed)


if __name__ == "__main__":
    main()
