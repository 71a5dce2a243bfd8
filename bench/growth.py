"""How time grows with the number of rows, from 1,000 to 1,000,000 of 128 dimensions: a figure.

    python bench/growth.py docs/growth.png        # about ten minutes on two cores

Exact passes are stopped after some seconds and computed from the pairs that they did: hollow marks.
The line of an estimate is a whole call of `analyze` with 2,000 anchors, which ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from gpu import everything, seconds_of_pass
from speed import TAUS, embeddings

import cl_analyze as cla
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.inputs.memory import n_threads
from cl_analyze.pairs.backend import make_backend
from cl_analyze.pairs.engine import PairSource, Reducer
from cl_analyze.pairs.executors import ThreadExecutor
from cl_analyze.pairs.plan import DEFAULT_BLOCK
from cl_analyze.pairs.reducers import LogSumOfSquares, NearestNeighbours, RowLogSumExp
from cl_analyze.pairs.rescoring import MARGIN

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
DIM = 128
ANCHORS = 2_000
PASSES: dict[str, list[Reducer]] = {
    "everything at four temperatures": everything(),
    "ten nearest neighbours": [NearestNeighbours(10 + MARGIN)],
    "uniformity": [RowLogSumExp(0.25), LogSumOfSquares(0.25)],
}
ESTIMATE = f"everything, estimated from {ANCHORS:,} anchors"

Point = tuple[int, float, bool]
"""Rows, seconds, and whether these are computed from a part of the pass."""


def measured(sizes: tuple[int, ...], most: float) -> dict[str, list[Point]]:
    """The points of every line; printed on the way."""
    lines: dict[str, list[Point]] = {name: [] for name in (*PASSES, ESTIMATE)}
    backend = make_backend("cpu", np.float32)
    executor = ThreadExecutor(n_threads(cla.RunOptions()))
    for n in sizes:
        rows, labels = embeddings(n, DIM)
        unit = UnitRows(RowArray.of(rows), np.float32, 1 << 30)
        source = PairSource(unit, unit, row_labels=labels, col_labels=labels)
        for name, reducers in PASSES.items():
            seconds, is_part = seconds_of_pass(
                reducers, source, n, DEFAULT_BLOCK, backend, most, executor
            )
            lines[name].append((n, seconds, is_part))
        if n > 4 * ANCHORS:
            started = time.perf_counter()
            cla.analyze(rows, labels, taus=TAUS, anchors=ANCHORS)
            lines[ESTIMATE].append((n, time.perf_counter() - started, False))
        for name, points in lines.items():
            if points and points[-1][0] == n:
                print(f"{n:10,} {name:45} {'~' * points[-1][2]}{points[-1][1]:.2f} s", flush=True)
    return lines


def draw(lines: dict[str, list[Point]], path: Path) -> None:
    """Save the figure: seconds over rows, both in logarithms."""
    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for (name, points), colour in zip(lines.items(), ("C3", "C0", "C2", "C1"), strict=True):
        if not points:
            continue
        n, seconds, _ = map(list, zip(*points, strict=True))
        axes.plot(n, seconds, color=colour, label=name, linewidth=1.4)
        for at, of_point, is_part in points:
            face = "white" if is_part else colour
            axes.plot(at, of_point, "o", color=colour, markerfacecolor=face, markersize=6)
    axes.set(xscale="log", yscale="log", xlabel=f"rows of {DIM} dimensions", ylabel="seconds")
    for seconds, name in ((1, "1 s"), (60, "1 min"), (3600, "1 h")):
        axes.axhline(seconds, color="0.85", linewidth=0.8, zorder=0)
        axes.annotate(
            name,
            (0.995, seconds),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            color="0.45",
            fontsize=9,
        )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="PNG file of the figure")
    parser.add_argument("--most-rows", type=int, default=SIZES[-1])
    parser.add_argument("--seconds", type=float, default=40.0, help="for one pass, at most")
    options = parser.parse_args()
    sizes = tuple(n for n in SIZES if n <= options.most_rows)
    draw(measured(sizes, options.seconds), options.path)


if __name__ == "__main__":
    main()
