"""Do the errors of estimates (--anchors) hold?  Estimate real embeddings with many seeds.

For each metric: the share of estimates whose interval (1.96 sampling errors) covers the exact value
of the file, the mean sampling error over the spread of the estimates (1 is right, above is
conservative), and the mean standard error of the estimates over the exact run's.

    python bench/anchor_coverage.py               # 500 seeds, three sample files, minutes
    python bench/anchor_coverage.py --seeds 50 --anchors 200 FILE...
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

import cl_analyze as cla

Z95 = 1.959964
SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"
FILES = ("fashion-mnist-tau-0.07.npz", "fashion-mnist-tau-0.3.npz", "fashion-mnist-tau-1.0.npz")
OPTIONS = {
    "taus": (0.07, 0.5),
    "top_k": 10,
    "curve_anchors": 16,
    "metrics": ("uniformity", "similarity", "penalty"),
}


def _key(record: cla.Record) -> str | None:
    params = record.params
    if params.get("q", 0.5) != 0.5 or params.get("group", "positive") not in (
        "positive",
        "negative_1",
        "negative_10",
    ):
        return None
    return f"{record.name} {' '.join(str(value) for value in params.values())}".strip()


def numbers(path: str, anchors: int | None, seed: int) -> dict[str, tuple[float, float, float]]:
    """Value, sampling error and standard error of every metric that is estimated."""
    with np.load(path) as file:
        rows, labels = file["embeddings"], file["labels"]
    report = cla.analyze(
        rows, labels=labels, anchors=anchors, seed=seed, run=cla.RunOptions(threads=1), **OPTIONS
    )
    found = {}
    for record in report.records:
        key = _key(record)
        is_law = record.metric == "uniformity_of_uniform_law"
        if key is not None and record.value is not None and not is_law:
            found[key] = (record.value, record.sampling_error or 0.0, record.std_error or 0.0)
    return found


def coverage(
    path: str, anchors: int, seeds: Sequence[int], jobs: int
) -> dict[str, tuple[float, float, float]]:
    """For each metric: coverage, mean sampling error over spread, mean over exact s.e."""
    exact = numbers(path, None, 0)
    draw = partial(numbers, path, anchors)
    if jobs == 1:
        draws = [draw(seed) for seed in seeds]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            draws = list(pool.map(draw, seeds, chunksize=5))
    out = {}
    for name, (value, _, std_error) in exact.items():
        values, sampling, errors = np.array([one[name] for one in draws]).T
        covers = np.abs(values - value) <= Z95 * sampling
        out[name] = (
            float(covers.mean()),
            float(sampling.mean() / values.std(ddof=1)),
            float(errors.mean() / std_error),
        )
    return out


def main() -> None:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", default=[str(SAMPLES / name) for name in FILES])
    parser.add_argument("--anchors", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    for path in options.files:
        print(f"\n{Path(path).name}, {options.anchors} anchors, seeds 0 to {options.seeds - 1}")
        print(f"{'metric':52} {'coverage':>9} {'sampling/sd':>12} {'s.e./exact':>11}")
        found = coverage(path, options.anchors, range(options.seeds), options.jobs)
        for name, (covers, ratio, errors) in found.items():
            print(f"{name:52} {covers:9.3f} {ratio:12.3f} {errors:11.3f}")


if __name__ == "__main__":
    main()
