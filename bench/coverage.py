"""Do the error bars hold?  Draw many sets of rows from one law and count how often they cover.

For each law and metric: the mean standard error over the standard deviation of the values (1 is
right, above is conservative), and the share of 95% intervals that cover the metric's expectation at
this number of rows (the mean over all repeats).

    python bench/coverage.py                      # 1,000 repeats, about ten minutes on two cores
    python bench/coverage.py --repeats 50 --rows 100
    python bench/coverage.py --losses --repeats 300    # two views of each row: the losses
    python bench/coverage.py --quality --repeats 300   # the same: representation quality
    python bench/coverage.py --neighbours --repeats 500    # nearest negatives, groups, copies
    python bench/coverage.py --positives --repeats 500     # thresholds, suspects, retrieval
    python bench/coverage.py --spread --repeats 500        # distances, spectra's scores, LiDAR
    python bench/coverage.py --between --repeats 500       # two checkpoints of the same rows
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cl_analyze as cla
from cl_analyze.analysis.run import families, run_analysis
from cl_analyze.metrics.quality.distances import METRICS as DISTANCES
from cl_analyze.metrics.quality.retrieval import METRICS as RETRIEVAL
from cl_analyze.metrics.similarity.separation import METRICS as SEPARATION
from cl_analyze.metrics.similarity.suspects import METRICS as SUSPECTS
from cl_analyze.options import MetricOptions, Request

Z95 = 1.959964
TAUS = (0.1, 0.5)
PARTS = ("loss_alignment", "loss_uniformity", "uniformity_of_uniform_law")

Law = Callable[[np.random.Generator, int], tuple[NDArray[np.float64], NDArray[np.int64]]]


def uniform_sphere(random: np.random.Generator, n: int):  # noqa: ANN201
    """Uniform points on the sphere of R^8, labels without meaning: the degenerate case."""
    return random.standard_normal((n, 8)), random.integers(0, 4, n)


def clusters(random: np.random.Generator, n: int):  # noqa: ANN201
    """Four Gaussian clusters of unequal weight in R^16, put on the sphere."""
    labels = random.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1])
    return random.standard_normal((n, 16)) + 2.0 * np.eye(4, 16)[labels], labels


def cone(random: np.random.Generator, n: int):  # noqa: ANN201
    """A narrow cone (collapsed embeddings) of two unequal classes in R^32."""
    labels = (random.random(n) < 0.3).astype(np.int64)
    return random.standard_normal((n, 32)) + 8.0 + np.eye(2, 32)[labels], labels


LAWS: dict[str, Law] = {"uniform sphere": uniform_sphere, "clusters": clusters, "cone": cone}


def groups_of_three(random: np.random.Generator, n: int):  # noqa: ANN201
    """The clusters, in groups of three noisy copies of a row (crops of an image)."""
    rows, labels = clusters(random, -(-n // 3))
    rows = np.repeat(rows, 3, axis=0) + 0.4 * random.standard_normal((3 * len(rows), 16))
    return rows[:n], np.repeat(labels, 3)[:n]


def copies(random: np.random.Generator, n: int):  # noqa: ANN201
    """The clusters, where every twentieth row is an exact copy of another."""
    rows, labels = clusters(random, n)
    rows[-(n // 20) :] = rows[: n // 20]
    return rows, labels


def clusters_of_ten(random: np.random.Generator, n: int):  # noqa: ANN201
    """Tight clusters of about ten rows each, in R^16."""
    labels = random.integers(0, n // 10, n)
    centres = np.random.default_rng(1).standard_normal((n // 10, 16))
    return centres[labels] + 0.1 * random.standard_normal((n, 16)), labels


NEAR_LAWS: dict[str, Law] = {
    "uniform sphere": uniform_sphere,
    "clusters": clusters,
    "groups of three": groups_of_three,
    "copies": copies,
    "clusters of ten": clusters_of_ten,
}


def pairs_of_views(random: np.random.Generator, n: int):  # noqa: ANN201
    """The clusters, and a very noisy second view of each row."""
    rows, labels = clusters(random, n)
    noisy = rows + 1.5 * random.standard_normal(rows.shape)
    return {"embeddings": rows, "pairs": noisy, "labels": labels}


def views_of_groups(random: np.random.Generator, n: int):  # noqa: ANN201
    """Two views, where groups of three rows belong together (`--groups`)."""
    rows, _ = groups_of_three(random, n)
    noisy = rows + 1.5 * random.standard_normal(rows.shape)
    return {"embeddings": rows, "pairs": noisy, "groups": np.arange(n) // 3}


def classes(random: np.random.Generator, n: int):  # noqa: ANN201
    """The clusters, without views: positives are the rows of one class."""
    rows, labels = clusters(random, n)
    return {"embeddings": rows, "labels": labels}


def queries_of_fixed_items(random: np.random.Generator, n: int):  # noqa: ANN201
    """Queries that belong to one to four of 100 items, which are the same in every draw."""
    fixed = np.random.default_rng(2)
    topics = np.sort(fixed.integers(0, 40, 100))
    centres = fixed.standard_normal((40, 16))
    items = centres[topics] + 0.5 * fixed.standard_normal((100, 16))
    chosen = topics[random.integers(0, 100, n)]
    queries = centres[chosen] + 0.8 * random.standard_normal((n, 16))
    relevant = np.argwhere(chosen[:, None] == topics)
    return {"embeddings": queries, "pairs": items, "relevant": relevant}


POSITIVE_LAWS: dict[str, Callable[[np.random.Generator, int], dict[str, Any]]] = {
    "pairs of views": pairs_of_views,
    "views of groups": views_of_groups,
    "classes": classes,
    "queries of fixed items": queries_of_fixed_items,
}


def surface(random: np.random.Generator, n: int):  # noqa: ANN201
    """Points near a sphere of three dimensions, in R^12, with labels of its eight halves."""
    rows = np.concatenate(
        [random.standard_normal((n, 4)), 1e-3 * random.standard_normal((n, 8))], axis=1
    )
    return rows, (rows[:, :3] > 0) @ np.array([1, 2, 4])


def scattered(random: np.random.Generator, n: int):  # noqa: ANN201
    """Six tight clusters, and one row in ten anywhere on the sphere of R^8."""
    labels = random.integers(0, 6, n)
    rows = np.eye(6, 8)[labels] + 0.03 * random.standard_normal((n, 8))
    is_far = random.random(n) < 0.1
    rows[is_far] = random.standard_normal((int(is_far.sum()), 8))
    return rows, labels


SPREAD_LAWS: dict[str, Law] = {
    "uniform sphere": uniform_sphere,
    "clusters": clusters,
    "groups of three": groups_of_three,
    "copies": copies,
    "surface": surface,
    "scattered": scattered,
}

BASIC = ("uniformity", "tolerance", "similarity", "penalty")
NEIGHBOURS = ("similarity",)
POSITIVES = ("similarity", "quality")
SPREAD = ("quality", "spread")
BETWEEN = ("cka", "neighbour_overlap", "procrustes_residual", "rsa", "knn_accuracy", "uniformity")
_OF_SPREAD = (
    *(metric.name for metric in DISTANCES),
    "uniformity_wasserstein", "vendi_score", "modality_gap_relative", "lidar",
)  # fmt: skip
_OF_POSITIVES = tuple(metric.name for metric in (*SEPARATION, *SUSPECTS, *RETRIEVAL))


def one_draw(
    law: str, n: int, metrics: tuple[str, ...], seed: int
) -> dict[str, tuple[float, float, float, float]]:
    """Value, standard error and 95% interval of every metric on one draw."""
    random = np.random.default_rng([seed, n])
    if metrics == POSITIVES:
        return positives_of_one_draw(POSITIVE_LAWS[law](random, n))
    rows, labels = {**LAWS, **NEAR_LAWS, **SPREAD_LAWS}[law](random, n)
    groups = np.arange(n) // 3 if law == "groups of three" else None
    if metrics == BETWEEN:
        return between_of_one_draw(rows, labels, random)
    run = cla.RunOptions(threads=1)
    if metrics == SPREAD:
        views = rows + 0.3 * random.standard_normal(rows.shape)
        request = Request(rows, labels=labels, pairs=views, groups=groups)
        asked = MetricOptions(only=_OF_SPREAD, ks=(1,))
        found = run_analysis([request], families(("quality",)), asked, run, "report").records
        return {
            _title(record): _with_interval(record)
            for record in found
            if record.std_error or record.interval
        }
    noisy = None
    if metrics not in (BASIC, NEIGHBOURS):
        noisy = rows + 0.7 * random.standard_normal(rows.shape)
    report = cla.analyze(
        rows, labels, noisy, taus=TAUS, metrics=metrics, ks=(1, 10, 20), groups=groups, run=run
    )
    found = {}
    for record in report.records:
        if record.metric in PARTS or record.std_error is None:
            continue
        if not record.std_error and record.interval is None:
            continue
        quantile = record.params.get("q", 0.5)
        group = record.params.get("group", "positive")
        if quantile != 0.5 and metrics != NEIGHBOURS:
            continue
        if group not in ("positive", "negative_1", "negative_10"):
            continue
        if metrics == NEIGHBOURS and (group == "positive" or "group" not in record.params):
            continue
        found[_title(record)] = _with_interval(record)
    return found


def between_of_one_draw(
    rows: NDArray[np.float64], labels: NDArray[np.int64], random: np.random.Generator
) -> dict[str, tuple[float, float, float, float]]:
    """As `one_draw`, of two checkpoints: how the space moved, and paired differences."""
    other = rows + 0.5 * random.standard_normal(rows.shape)
    run = cla.RunOptions(threads=1)
    report = cla.compare(
        {"one": rows, "other": other}, labels, metrics=BETWEEN, ks=(1, 10), run=run
    )
    moved = {
        _title(record).removesuffix(" one"): _with_interval(record)
        for record in report.records
        if "against" in record.params and record.std_error
    }
    differences = {
        f"difference of {row['metric']} {' '.join(map(str, json.loads(row['params']).values()))}": (
            row["difference"],
            row["std_error"],
            row["low"],
            row["high"],
        )
        for row in report.tables["compare"].rows
        if row["std_error"] and row["definition"] in ("u_stat", "leave_one_out")
    }
    return {**moved, **differences}


def positives_of_one_draw(
    given: dict[str, Any],
) -> dict[str, tuple[float, float, float, float]]:
    """As `one_draw`, of what asks how positives stand against negatives."""
    options = MetricOptions(only=_OF_POSITIVES, ks=(1, 10), taus=TAUS)  # no probe, no spectrum
    run = cla.RunOptions(threads=1)
    report = run_analysis([Request(**given)], families(POSITIVES), options, run, "report")
    return {
        _title(record): _with_interval(record)
        for record in report.records
        if record.metric in _OF_POSITIVES
        and (record.std_error or record.interval)
        # backward the items are the sample, which is the same here in every draw
        and not ("relevant" in given and record.params.get("direction") == "backward")
    }


def _title(record: cla.Record) -> str:
    params = " ".join(str(value) for value in record.params.values())
    return f"{record.name} {params}".strip()


def _with_interval(record: cla.Record) -> tuple[float, float, float, float]:
    width = Z95 * record.std_error
    low, high = record.interval or (record.value - width, record.value + width)
    return record.value, record.std_error, low, high


def coverage(
    law: str, n: int, repeats: int, jobs: int, metrics: tuple[str, ...] = BASIC
) -> dict[str, tuple[float, float]]:
    """For each metric: mean s.e. over standard deviation, and the share of covering intervals."""
    draw = partial(one_draw, law, n, metrics)
    if jobs == 1:
        draws = [draw(seed) for seed in range(repeats)]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            draws = list(pool.map(draw, range(repeats), chunksize=10))
    out = {}
    for name in (name for name in draws[-1] if all(name in one for one in draws)):
        values, errors, low, high = np.array([one[name] for one in draws]).T
        covers = (low <= values.mean()) & (values.mean() <= high)
        spread = float(values.std(ddof=1))
        out[name] = (float(errors.mean()) / spread if spread else math.nan, float(covers.mean()))
    return out


def main() -> None:
    """Print a table for each law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1000)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--losses", action="store_const", const=("losses",), dest="metrics")
    which.add_argument("--quality", action="store_const", const=("quality",), dest="metrics")
    which.add_argument("--neighbours", action="store_const", const=NEIGHBOURS, dest="metrics")
    which.add_argument("--positives", action="store_const", const=POSITIVES, dest="metrics")
    which.add_argument("--spread", action="store_const", const=SPREAD, dest="metrics")
    which.add_argument("--between", action="store_const", const=BETWEEN, dest="metrics")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    laws = {NEIGHBOURS: NEAR_LAWS, POSITIVES: POSITIVE_LAWS, SPREAD: SPREAD_LAWS}
    for law in laws.get(options.metrics, LAWS):
        print(f"\n{law}, N = {options.rows}, {options.repeats} repeats")
        print(f"{'metric':52} {'s.e./sd':>8} {'coverage':>9}")
        found = coverage(law, options.rows, options.repeats, options.jobs, options.metrics or BASIC)
        for name, (ratio, share) in found.items():
            print(f"{name:52} {ratio:8.3f} {share:9.3f}")


if __name__ == "__main__":
    main()
