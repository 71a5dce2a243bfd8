"""Runs that are stopped at random moments: files are whole or absent, and the next run succeeds.

    python -m tests.interruptions --rounds 300 --seed 1

The suite runs a dozen of these (tests/cli/test_interruptions.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from cl_analyze.checks.baseline import load_baseline
from cl_analyze.output import INDEX
from tests.forks import ROOT, Forks

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
SCENARIOS = {
    "report": ["report", "a.npz", "--out", "out"],
    "compare --cache": ["compare", "a.npz", "b.npz", "--out", "out", "--cache", "cache"],
    "--resume": ["similarity", "a.npz", "b.npz", "--out", "out", "--resume", "states"],
    "check": [
        "check", "a.npz", "--rules", "rules.toml", "--save-baseline", "out/base.json",
        "--junit", "out/junit.xml", "--markdown", "out/check.md",
    ],
}  # fmt: skip
_RULES = '[[rule]]\nmetric = "tolerance"\nmin = -1\n[[rule]]\nmetric = "uniformity"\nmax = 0\n'


@dataclass
class Whole:
    """What runs leave that nobody stops.

    Attributes:
        seconds: how long a run takes.
        files: what it writes.
    """

    seconds: float
    files: dict[str, bytes]


def prepare(folder: Path) -> None:
    """Two checkpoints with labels and views, and rules."""
    with np.load(ROOT / "sample_data" / "fashion-mnist-tau-0.2.npz") as arrays:
        for name, start in (("a", 0), ("b", 1)):
            part = {key: arrays[key][start::12] for key in arrays.files}
            np.savez(folder / f"{name}.npz", **part)
    (folder / "rules.toml").write_text(_RULES)
    (folder / "out").mkdir()


def written(folder: Path) -> dict[str, bytes]:
    """Files below a folder that are not inputs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent != folder
    }


def run(
    forks: Forks, name: str, folder: Path, signals: list[tuple[float, int]] | None = None
) -> tuple[int, str]:
    """Exit code and messages of a scenario's run."""
    variables = {**os.environ, "COLUMNS": "80", "SOURCE_DATE_EPOCH": "0"}
    result = forks.run(SCENARIOS[name], folder, None, variables, signals or ())
    return result.returncode, result.stderr.decode()


def undisturbed(forks: Forks, name: str) -> Whole:
    """A run that nobody stops."""
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        started = time.monotonic()
        code, said = run(forks, name, Path(place))
        assert code == 0, said
        return Whole(time.monotonic() - started, written(Path(place)))


def _comparable(name: str, content: bytes) -> object:
    """What must be the same twice: all but the time and the environment of a run."""
    if name.endswith(".json") and "base" not in name:
        document = json.loads(content)
        return {k: v for k, v in document.items() if k in ("results", "tables", "inputs")}
    if name.endswith((".html", ".npz", ".xml")) or name.startswith(("cache", "states", "out/base")):
        return (
            None  # times and paths are in them; that they are read again says that they are whole
        )
    return content


def assert_whole(found: dict[str, bytes], whole: Whole, left: bool, stopped: bool = False) -> None:
    """Every file is one that a whole run writes, with its content.

    Args:
        found: files that are there.
        whole: of a run that nobody stopped.
        left: whether half a file may be there under a temporary name.
        stopped: whether reports for CI may say that the run ended before it could judge.
    """
    for name, content in found.items():
        if ".cl-analyze-tmp" in name:
            assert left, f"{name} is left over"
            continue
        if name == f"out/{INDEX}":
            json.loads(content)
            continue
        assert name in whole.files, name
        if b"the run ended before it could judge" in content:
            assert stopped, f"{name} says that a run ended that went on"
            continue
        assert _comparable(name, content) == _comparable(name, whole.files[name]), name
        if name.endswith(".html"):
            assert content.rstrip().endswith(b"</html>"), name


def assert_read_again(folder: Path) -> None:
    """What programs read again is whole: a baseline with its arrays, JUnit's XML, the page."""
    base, junit = folder / "out" / "base.json", folder / "out" / "junit.xml"
    if base.exists():
        load_baseline(base)
    if junit.exists():
        ElementTree.parse(junit)


def stopped(
    forks: Forks, name: str, whole: Whole, folder: Path, random: np.random.Generator, rounds: int
) -> Counter[str]:
    """Stop runs in one folder at random moments, look at what each leaves, and let one end."""
    outcomes: Counter[str] = Counter()
    left = False  # by a run that was killed, until the next that writes
    for _ in range(rounds):
        number = SIGNALS[random.integers(len(SIGNALS))]
        # half of the moments lie where files are written, at the end
        low = 0.0 if random.random() < 0.5 else 0.7
        moment = whole.seconds * random.uniform(low, 1.05)
        code, said = run(forks, name, folder, [(moment, number)])
        assert code in (0, CODES[number]), (code, said)
        assert "Traceback" not in said, said
        found = written(folder)
        left = code != 0 and (left or number == signal.SIGKILL)
        assert_whole(found, whole, left, stopped=code != 0)
        assert_read_again(folder)
        state = "all" if found.keys() >= whole.files.keys() else "some" if found else "no"
        ending = "stopped" if code else "ended"
        outcomes[f"{signal.Signals(number).name}: {ending}, {state} files"] += 1
    code, said = run(forks, name, folder)
    assert code == 0, said
    assert_read_again(folder)
    found = written(folder)
    assert_whole(found, whole, left=False)
    missing = whole.files.keys() - found.keys()
    assert not missing, missing
    return outcomes


def main() -> int:
    """Many rounds, a fresh folder for every few."""
    parser = argparse.ArgumentParser(prog="python -m tests.interruptions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    forks, outcomes = Forks(), Counter[str]()
    a_folder = 6
    try:
        for name in SCENARIOS:
            whole = undisturbed(forks, name)
            for _ in range(-(-given.rounds // (a_folder * len(SCENARIOS)))):
                folder = Path(tempfile.mkdtemp(prefix="cl-analyze-stopped-"))
                prepare(folder)
                outcomes += stopped(forks, name, whole, folder, random, a_folder)
                shutil.rmtree(folder)
            print(f"{name}: {whole.seconds:.1f} s undisturbed, {outcomes.total()} stops so far")
    finally:
        forks.stop()
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:5}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
