"""The main job over time: the report of the eight samples, here and at an earlier revision.

Both run one after the other in each round, each round in the other order, from the same interpreter
and libraries; figures are medians of the rounds' ratios. A last run of this revision is cut into
phases, in one process and with one thread, where seconds add up.

    taskset -c 0,1 python bench/report.py --rounds 3
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
BEFORE = "9df9079"
SAMPLES = sorted((HERE / "sample_data").glob("*.npz"))
PROGRAM = "from cl_analyze.cli.entry import main; main()"


def extracted(revision: str, folder: Path) -> Path:
    """The files of a revision of this repository."""
    target = folder / revision
    target.mkdir()
    archive = subprocess.run(
        ["git", "archive", revision], check=True, capture_output=True, cwd=HERE
    )
    subprocess.run(["tar", "x", "-C", str(target)], check=True, input=archive.stdout)
    return target


def seconds(root: Path, files: list[Path], out: Path) -> tuple[float, float]:
    """CPU and wall seconds of a report in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, "report", *map(str, files), "--out", str(out)],
        check=True,
        capture_output=True,
        env=environment,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall


def compare(rounds: int, revision: str, folder: Path) -> Iterator[str]:
    """Lines of a table: CPU and wall time of both, and their ratios."""
    before = extracted(revision, folder)
    yield f"| report | | {revision} | here | ratio |"
    yield "| --- | --- | --- | --- | --- |"
    for title, files in (("eight samples", SAMPLES), ("one of them", SAMPLES[2:3])):
        found: list[dict[str, tuple[float, float]]] = []
        roots = {"before": before, "here": HERE}
        for _ in range(rounds + 1):  # the first compiles modules and fills caches
            names = list(roots) if len(found) % 2 else list(roots)[::-1]
            found.append({name: seconds(roots[name], files, folder / name) for name in names})
        for at, kind in enumerate(("CPU", "wall")):
            one, other = ([each[name][at] for each in found[1:]] for name in roots)
            ratio = statistics.median(b / a for a, b in zip(one, other, strict=True))
            yield (
                f"| {title} | {kind} | {statistics.median(one):.1f} s | "
                f"{statistics.median(other):.1f} s | {ratio:.2f} |"
            )


class Phases:
    """CPU seconds of functions, without those of phases inside them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = time.process_time()

    def _turn(self) -> None:
        now = time.process_time()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def watch(self, holder: Any, name: str, phase: str) -> None:
        """Count the calls of a function into a phase."""
        function: Callable[..., Any] = getattr(holder, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self._turn()
            self._open.append(phase)
            try:
                return function(*arguments, **options)
            finally:
                self._turn()
                self._open.pop()

        setattr(holder, name, watched)


def phases(out: Path) -> dict[str, float]:
    """CPU seconds of each phase of the report of the eight samples, in this process."""
    found = Phases()
    import_started = time.process_time()
    import jinja2  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import scipy.optimize
    import scipy.special  # noqa: F401

    from cl_analyze.analysis import run
    from cl_analyze.metrics import METRICS
    from cl_analyze.metrics.losses import family as losses
    from cl_analyze.metrics.losses.influence import Influence
    from cl_analyze.metrics.quality import logistic, spectrum
    from cl_analyze.metrics.runner import PairRunner
    from cl_analyze.options import FAMILIES, MetricOptions, Request, RunOptions
    from cl_analyze.report import files as report_files
    from cl_analyze.report import html

    found.seconds["imports"] = time.process_time() - import_started
    watched = [
        (run, "prepare", "reading and checking"),
        (run, "measure_one", "everything else"),
        (PairRunner, "over", "first pass and error bars of penalties"),
        (PairRunner, "all_pairs", "first pass and error bars of penalties"),
        (PairRunner, "anchored", "curves"),
        (PairRunner, "nearest_negatives", "neighbours scored again"),
        (losses, "Passes", "losses: pieces"),
        (Influence, "receive", "losses: error bars"),
        (losses, "gradient_table", "losses: gradient tables"),
        (logistic._Objective, "minimum", "linear probes"),
        (spectrum, "spectra", "spectra"),
        *((type(family), "compute", f"{name}, the rest") for name, family in METRICS.items()),
        (report_files, "draw", "descriptions of figures"),
        (report_files, "_tables_and_figures", "CSV"),
        (report_files, "to_json", "JSON"),
        (html, "render_html", "page"),
        (report_files, "write_files", "files"),
        (report_files, "render", "drawing"),
    ]
    for holder, name, phase in watched:
        found.watch(holder, name, phase)
    requests = [Request(file) for file in SAMPLES]
    report = run.run_analysis(requests, FAMILIES, MetricOptions(), RunOptions(threads=1), "report")
    report_files.write_report(report.document, out, ("png",))
    return found.seconds


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", default=BEFORE, help="a revision")
    parser.add_argument("--only-phases", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if not given.only_phases:
            for line in compare(given.rounds, given.against, Path(name)):
                print(line, flush=True)
            print()
        found = phases(Path(name) / "phases")
        total = sum(found.values())
        print("| phase | CPU seconds | share |\n| --- | --- | --- |")
        for phase, taken in sorted(found.items(), key=lambda entry: -entry[1]):
            print(f"| {phase} | {taken:.2f} | {100 * taken / total:.0f}% |")
        print(f"| all | {total:.2f} | |")


if __name__ == "__main__":
    main()
