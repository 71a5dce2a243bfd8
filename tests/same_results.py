"""Whether a change kept every number: the commands of two revisions, byte for byte.

    python -m tests.same_results REVISION [PATTERN...]

runs some hundred command lines (every command on the sample data, every metric on the adversarial
cases of tests/reference) on REVISION and on the working tree, and compares what they print and
write.  `results` and `tables` of JSON documents, and CSV tables, must be equal: the exit code is 1
where one is not.  Other differences (messages, pages, figures) are listed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.forks import ROOT, Forks
from tests.reference.cases import as_array, cases

SAMPLES = ROOT / "sample_data"
RULES = """
[[rule]]
metric = "uniformity_gap"
max = 1.0
[[rule]]
metric = "tolerance"
max_worse = 0.01
confidence = 0.9
[[rule]]
metric = "knn_accuracy"
params = { k = 10.0 }
min = 0.5
on_inconclusive = "fail"
[[rule]]
metric = "penalty_entropy"
params = { tau = 0.2 }
max_drop = 0.05
max_rise = 0
relative = true
severity = "warn"
[[rule]]
metric = "loss"
definition = "symmetric"
params = { name = "dhel", tau = 0.3 }
max = 9.0
[[rule]]
metric = "loss"
params = { name = "kcl_gaussian", gamma = 4, t = 2 }
max = 9.0
"""


def write_inputs(folder: Path) -> None:
    """The files that the command lines name."""
    (folder / "rules.toml").write_text(RULES)
    for tau in ("0.07", "0.2", "1.0"):
        with np.load(SAMPLES / f"fashion-mnist-tau-{tau}.npz") as arrays:
            parts = {name: arrays[name][::6] for name in arrays.files}
        np.savez(folder / f"tau-{tau}.npz", **parts)
    rows, labels = parts["view1"] if "view1" in parts else parts["embeddings"], parts["labels"]
    np.save(folder / "rows.npy", rows[:200])
    np.save(folder / "partners.npy", rows[:200] + 0.1 * np.roll(rows[:200], 1, 0))
    np.save(folder / "labels.npy", labels[:200])
    np.save(folder / "groups.npy", np.arange(200) // 4)
    np.save(folder / "ids.npy", np.arange(200)[::-1])
    np.save(folder / "train.npy", rows[200:400])
    np.save(folder / "train_labels.npy", labels[200:400])
    np.save(folder / "queue.npy", rows[300:340])
    np.save(folder / "anchors.npy", np.eye(rows.shape[1])[: len(np.unique(labels[:200]))])
    broken = rows[:200].copy()
    broken[[3, 70]] = np.nan
    np.save(folder / "broken.npy", broken)
    check = "check tau-0.2.npz --rules rules.toml --save-baseline earlier.json --quiet"
    subprocess.run(
        [sys.executable, "-m", "cl_analyze", *check.split()],
        cwd=folder,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    if not (folder / "earlier.json").exists():
        raise RuntimeError("the rules of the check commands cannot be judged")
    for name, (rows, labels) in cases().items():
        title = re.sub("[^a-z0-9]+", "-", name)
        other = np.roll(rows, 1, axis=1) + 0.5 * rows
        np.savez(folder / f"case-{title}.npz", embeddings=rows, labels=as_array(labels))
        np.savez(folder / f"views-{title}.npz", view1=rows, view2=other, labels=as_array(labels))


COMMANDS = """
uniformity tau-0.2.npz --t 1 2 3
uniformity tau-0.2.npz tau-1.0.npz --anchors 100 --groups none
uniformity rows.npy --groups groups.npy
uniformity broken.npy
uniformity broken.npy --on-invalid drop
uniformity rows.npy --precision float64
tolerance tau-0.2.npz
tolerance tau-0.2.npz --anchors 100
tolerance rows.npy --labels labels.npy --groups groups.npy --definition macro_excl
tolerance rows.npy
similarity tau-0.2.npz
similarity rows.npy --labels labels.npy --top-k 3 --negatives class
similarity rows.npy --pairs partners.npy --anchors 60
penalty
penalty --tau 0.07 0.2 --n-negatives 100 --hard-alpha 0.1
penalty tau-0.07.npz --hard-alpha 0.2
penalty tau-0.07.npz --anchors 120 --curve-anchors 50
penalty rows.npy --labels labels.npy --negatives class --curve-anchors all --groups groups.npy
losses tau-0.2.npz --tau 0.1 0.5
losses tau-0.2.npz --tau 0.1 --anchors 90
losses rows.npy --pairs partners.npy --queue queue.npy --batch-size 16 32 --tau 0.2
losses rows.npy --pairs partners.npy --labels labels.npy --clop-anchors anchors.npy --tau 0.2
losses rows.npy --pairs partners.npy --kcl-t 1 --kcl-gamma 4 --simple-lambda 0.5 --hard-alpha 0.3
losses rows.npy
quality tau-0.2.npz
quality rows.npy --labels labels.npy --train train.npy --train-labels train_labels.npy --k 1 5
quality rows.npy --pairs partners.npy --alignment-power 1 --groups groups.npy
quality rows.npy --labels labels.npy --anchors 70 --projection tsne
report tau-0.2.npz
report tau-0.07.npz tau-1.0.npz
report rows.npy --labels labels.npy --pairs partners.npy --queue queue.npy --ids ids.npy
report broken.npy --on-invalid drop --labels labels.npy --unlabelled 1
compare tau-0.07.npz tau-0.2.npz tau-1.0.npz --x tau --cache cache
compare tau-0.07.npz tau-0.2.npz --against tau-0.2.npz --metrics uniformity losses --tau 0.2
compare tau-0.07.npz tau-0.2.npz --metrics quality penalty --anchors 100 --definition micro_excl
check tau-0.2.npz --rules rules.toml
check tau-0.2.npz tau-1.0.npz --rules rules.toml --baseline earlier.json --json
check tau-1.0.npz --rules rules.toml --baseline earlier.json --junit j.xml --markdown m.md
check tau-0.2.npz --rules rules.toml --anchors 100 --seed 3 --save-baseline b.json
check tau-1.0.npz --rules rules.toml --save-baseline base --junit j.xml --markdown m.md
inspect tau-0.2.npz rows.npy broken.npy labels.npy
report tau-0.2.npz --memory 1KB
losses tau-0.2.npz --tau 0
quality tau-0.2.npz --k 0
"""


def command_lines(inputs: Path) -> Iterator[str]:
    """Each command line, its files with their paths."""
    for line in COMMANDS.strip().splitlines():
        words = [str(inputs / word) if (inputs / word).exists() else word for word in line.split()]
        yield " ".join(words)
        if words[0] not in ("inspect", "check"):
            yield " ".join([*words, "--json", "--no-files"])
    for path in sorted(inputs.glob("*-*.npz")):
        if path.name.startswith(("case-", "views-")):
            for further in ("", "--negatives class", "--anchors 11 --tau 0.07 0.5"):
                yield f"report {path} --json --no-files {further}".strip()


@dataclass(frozen=True)
class Ran:
    """What one command line printed and wrote."""

    code: int
    stdout: bytes
    stderr: bytes
    files: dict[str, bytes]


def run_all(root: Path, lines: list[str], folder: Path) -> list[Ran]:
    """Every command line on the checkout at `root`, each in a folder of its own."""
    forks = Forks(root)
    variables = {**os.environ, "COLUMNS": "80", "SOURCE_DATE_EPOCH": "0", "PYTHONPATH": str(root)}
    found = []
    for number, line in enumerate(lines):
        where = folder / str(number)
        where.mkdir(parents=True)
        done = forks.run(line.split(), where, None, variables)
        files = {
            str(path.relative_to(where)): path.read_bytes()
            for path in sorted(where.rglob("*"))
            if path.is_file() and not path.name.startswith("checkpoint-")  # of the cache
        }
        found.append(Ran(done.returncode, done.stdout, done.stderr, files))
    forks.stop()
    return found


def numbers(name: str, content: bytes) -> bytes | None:
    """The part that must not change: results and tables of a document; None: no numbers."""
    if name.endswith(".csv"):
        return content
    if name != "stdout" and not name.endswith(".json"):
        return None
    try:
        document = json.loads(content)
    except ValueError:
        return None
    kept = {key: document[key] for key in ("results", "tables", "verdicts") if key in document}
    return json.dumps(kept).encode()


_TIMES = re.compile(rb"about [\d.]+ \w+|[\d.e+]+ pairs/s|[\d.]+ \w+ left")


def differences(line: str, old: Ran, new: Ran) -> Iterator[tuple[bool, str]]:
    """Whether numbers changed, and what."""
    if old.code != new.code:
        yield True, f"{line}\n    exit code {old.code} -> {new.code}: {new.stderr.decode()[-600:]}"
    pieces = [
        {"stdout": ran.stdout, "stderr": _TIMES.sub(b"", ran.stderr), **ran.files}
        for ran in (old, new)
    ]
    for name in dict.fromkeys([*pieces[0], *pieces[1]]):
        before, after = (piece.get(name) for piece in pieces)
        if before == after:
            continue
        if before is None or after is None:
            yield True, f"{line}\n    {name} is {'new' if before is None else 'missing'}"
            continue
        is_number = numbers(name, before) != numbers(name, after)
        yield is_number, f"{line}\n    {name} differs{_first_difference(before, after)}"


def _first_difference(before: bytes, after: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    start = max(at - 60, 0)
    return f" at {at}\n      - {before[start : at + 90]!r}\n      + {after[start : at + 90]!r}"


def tell(*words: str) -> None:
    """A line on stdout."""
    sys.stdout.write(" ".join(words) + "\n")


def main(revision: str, patterns: list[str]) -> int:
    """Run both, print the differences; 1 where a number changed."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        old, new, inputs = work / "old", work / "new", work / "inputs"
        for folder in (old, new, inputs):
            folder.mkdir()
        archive = subprocess.run(
            ["git", "archive", revision], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "x"], cwd=old, check=True, input=archive.stdout)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
        for path in map(Path, filter(None, files.decode().split("\0"))):
            if (ROOT / path).exists():  # a copy, so that the tree may change meanwhile
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, new / path)
        write_inputs(inputs)
        lines = [
            line
            for line in command_lines(inputs)
            if not patterns or any(pattern in line for pattern in patterns)
        ]
        with ThreadPoolExecutor(2) as pool:
            ran = list(pool.map(run_all, (old, new), (lines, lines), (work / "a", work / "b")))
        found = [
            each for line, a, b in zip(lines, *ran, strict=True) for each in differences(line, a, b)
        ]
    for changed, text in found:
        tell("NUMBERS " if changed else "text    ", text.replace(name + "/", ""))
    bad = sum(changed for changed, _ in found)
    tell(f"{len(lines)} command lines: {bad} other numbers, {len(found) - bad} other texts")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
