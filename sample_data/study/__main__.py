"""Train encoders with every loss and temperature, then compare what they learnt.

    python -m sample_data.study                  # both data sets, three seeds
    python -m sample_data.study --quick          # seven runs of each, short: the trend in minutes
    python -m sample_data.study --estimate       # how long it would take here

Runs are deterministic (one thread each, fixed seeds) and resumable: start the same command again,
and it goes on after the last run that was saved.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cl_analyze.output import replace_file
from sample_data.encoders import FASHION_MNIST
from sample_data.study.analysis import CommandError, analyse, compare, to_csv, to_markdown, to_text
from sample_data.study.figures import along_tau, trade_off
from sample_data.study.plan import DATA_SETS, QUICK, REFERENCE, SETTINGS, Run, runs
from sample_data.study.training import end_quietly, is_there, make, save, seconds_per_step

SPAWN = get_context("spawn")  # a fork of a process that has used threads may hang


def lasting(seconds: float) -> str:
    """A time to read: 40 s, 12 minutes."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(
        "python -m sample_data.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [data.name for data in DATA_SETS]
    parser.add_argument("--out", type=Path, default=Path("study"), help="where everything goes")
    parser.add_argument("--data", nargs="+", choices=names, default=names, help="default: both")
    parser.add_argument("--quick", action="store_true", help="fewer losses, one seed, few epochs")
    parser.add_argument("--seeds", type=int, help="default: 3, with --quick 1")
    parser.add_argument("--epochs", type=int, help="default: each data set's own")
    parser.add_argument(
        "--settings",
        nargs="+",
        metavar="NAME",
        choices=[setting.name for setting in SETTINGS],
        help="losses and temperatures, as contrastive-tau-0.3; default: all",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="default: cores")
    parser.add_argument("--images", type=Path, default=FASHION_MNIST, help="Fashion-MNIST's files")
    parser.add_argument("--estimate", action="store_true", help="say how long it takes, and stop")
    options = parser.parse_args(arguments)
    for name in ("seeds", "epochs", "jobs"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if "fashion-mnist" in options.data and not options.images.is_dir():
        parser.error(
            f"{options.images} is not there: on Debian, apt-get install dataset-fashion-mnist; "
            "elsewhere, point --images at a folder with the four IDX .gz files; or --data digits"
        )
    if not options.estimate:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--out {options.out}: {error.strerror or error}")
    return options


def planned(options: argparse.Namespace) -> list[list[Run]]:
    """What is to be trained, data set by data set."""
    names = tuple(options.settings or (QUICK if options.quick else [one.name for one in SETTINGS]))
    seeds = options.seeds or (1 if options.quick else 3)
    data_sets = [one.in_short() if options.quick else one for one in DATA_SETS]
    return [
        runs(replace(data, epochs=options.epochs or data.epochs), names, seeds)
        for data in data_sets
        if data.name in options.data
    ]


def estimated(studies: Sequence[Sequence[Run]], options: argparse.Namespace) -> float:
    """Seconds that it would take here, from a few steps and one analysis of each data set."""
    total = 0.0
    with ProcessPoolExecutor(options.jobs, SPAWN, end_quietly) as pool:
        for study in studies:
            left = [run for run in study if not is_there(run, options.out)]
            steps = sum(run.n_steps for run in left)
            futures = [
                pool.submit(seconds_per_step, study[0], options.images) for _ in range(options.jobs)
            ]
            step = statistics.fmean(future.result() for future in futures)
            training = steps * step / options.jobs
            analysis = len(study) * seconds_per_checkpoint(study[0])
            print(
                f"{study[0].data.title}: {len(left)} of {len(study)} runs to train, {steps} steps "
                f"at {step:.3f} s, {options.jobs} at a time: {lasting(training)}; then "
                f"compare and report: {lasting(analysis)}",
                flush=True,
            )
            total += training + analysis
    return total


def seconds_per_checkpoint(run: Run) -> float:
    """What comparing a run's embedding and backbone takes, from two runs of random rows as many."""
    random = np.random.default_rng(0)
    labels = np.arange(10 * run.data.test_rows_per_class) % 10
    learnt = np.arange(run.data.n_train) % 10

    def rows(classes: np.ndarray) -> np.ndarray:
        noise = random.standard_normal((len(classes), 64), dtype=np.float32)
        return noise + np.eye(10, 64, dtype=np.float32)[classes]

    two = runs(run.data, (SETTINGS[0].name, REFERENCE), 1)
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        out = Path(folder)
        for one in two:
            tested = {name: rows(labels) for name in ("embeddings", "view1", "view2", "backbone")}
            trained = {name: rows(learnt) for name in ("embeddings", "backbone")}
            ids = np.arange(len(labels))
            save(out / one.path, {**tested, "labels": labels, "ids": ids},
                 {**trained, "labels": learnt})  # fmt: skip
        started = time.perf_counter()
        for backbone in (False, True):
            compare(out, two, "estimate", backbone)
        return (time.perf_counter() - started) / len(two)


def train_all(studies: Sequence[Sequence[Run]], options: argparse.Namespace) -> None:
    """Train what is not there yet, a process a core."""
    todo = [run for study in studies for run in study if not is_there(run, options.out)]
    started = time.perf_counter()
    pool = ProcessPoolExecutor(options.jobs, SPAWN, end_quietly)
    try:
        futures = {pool.submit(make, run, options.out, options.images): run for run in todo}
        steps, done = sum(run.n_steps for run in todo), 0
        for i, future in enumerate(as_completed(futures), 1):
            run, seconds = futures[future], future.result()
            done += run.n_steps
            left = (time.perf_counter() - started) / done * (steps - done)
            print(f"  {i}/{len(todo)} {run.path} {seconds:.0f} s; {lasting(left)} left", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, compare, write `results.csv`, `tables.md` and figures; print the trend."""
    options = parsed(arguments)
    studies = planned(options)
    seconds = estimated(studies, options)
    print(f"about {lasting(seconds)} in all", flush=True)
    if options.estimate:
        return 0
    train_all(studies, options)
    rows = []
    for study in studies:
        data = study[0].data
        mine = analyse(options.out, study)
        rows += mine
        for name, png in (("along_tau", along_tau(mine, data)), ("plane", trade_off(mine, data))):
            replace_file(options.out / study[0].folder / f"{name}.png", png)
    replace_file(options.out / "results.csv", to_csv(rows).encode())
    tables = "\n".join(to_markdown(rows, study[0].data) for study in studies)
    replace_file(options.out / "tables.md", tables.encode())
    for study in studies:
        print("\n" + to_text(rows, study[0].data))
    print(f"{options.out}/results.csv, tables.md, and a folder for each data set")
    return 0


def program() -> int:
    """`main` as a program: stopped or failed without a traceback."""
    try:
        return main()
    except KeyboardInterrupt:
        print("stopped; the same command goes on after the last run that is saved", file=sys.stderr)
        return 130
    except CommandError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(program())
