"""What `cl-analyze` says of the study's runs, and one table of it over the seeds."""

from __future__ import annotations

import csv
import io
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cl_analyze.output import replace_file
from sample_data.study.plan import REFERENCE, SETTINGS, DataSet, Run
from sample_data.study.training import training_set

FAMILIES = ("uniformity", "tolerance", "similarity", "penalty", "quality")
FALSE_NEGATIVE_TAU = 0.07
K = 20


@dataclass(frozen=True)
class Measure:
    """A row of the table: which record of which comparison it is."""

    name: str
    title: str
    backbone: bool
    metric: str
    definition: str | None = None
    params: tuple[tuple[str, float], ...] = ()
    digits: int = 3
    percent: bool = False


MEASURES = (
    Measure("knn", f"kNN ({K}), embedding, %", False, "knn_accuracy", "train_set",
            (("k", K),), 1, True),
    Measure("probe", "linear probe, embedding, %", False, "probe_accuracy", "raw", (), 1, True),
    Measure("knn_backbone", f"kNN ({K}), backbone, %", True, "knn_accuracy", "train_set",
            (("k", K),), 1, True),
    Measure("probe_backbone", "linear probe, backbone, %", True, "probe_accuracy", "raw", (), 1,
            True),
    Measure("uniformity", "uniformity (−L)", False, "uniformity", "u_stat"),
    Measure("tolerance", "tolerance", False, "tolerance", "micro_excl"),
    Measure("false_negatives", f"false-negative share, % (τ {FALSE_NEGATIVE_TAU})", False,
            "penalty_false_negative_share", None, (("tau", FALSE_NEGATIVE_TAU),), 1, True),
    Measure("rank", "effective rank", False, "effective_rank", "raw", (), 1),
)  # fmt: skip
COLUMNS = ("data", "epochs", "loss", "tau", "seed", *(measure.name for measure in MEASURES))

Row = dict[str, str | float]


class CommandError(Exception):
    """A command of `cl-analyze` failed; the message has it and what it said."""


def analyse(out: Path, runs: Sequence[Run]) -> list[Row]:
    """Run `compare` over each seed's embeddings and backbones, and `report` over the first's.

    Returns:
        One row a run: see `COLUMNS`.  Uniformity is as `cl-analyze` prints it, negative.
    """
    rows = []
    for seed in sorted({run.seed for run in runs}):
        mine = [run for run in runs if run.seed == seed]
        found = {
            backbone: compare(out, mine, f"seed-{seed}{'-backbone' * backbone}", backbone)
            for backbone in (False, True)
        }
        for run in mine:
            row: Row = {
                "data": run.data.name,
                "epochs": run.data.epochs,
                "loss": run.setting.family,
                "tau": "" if run.setting.tau is None else run.setting.tau,
                "seed": seed,
            }
            for measure in MEASURES:
                row[measure.name] = value_of(found[measure.backbone], run, measure)
            rows.append(row)
    first = [run for run in runs if run.seed == runs[0].seed]
    with_tau = [run for run in first if run.setting.family == "contrastive"]
    if len(with_tau) > 1:
        compare(out, with_tau, "along-tau", False, "--x", "tau")
    table1 = [run for run in first if run.setting.family in ("contrastive", "simple")]
    command(out, first[0], "report", "report", [out / run.path for run in table1])
    return rows


def compare(
    out: Path, runs: Sequence[Run], folder: str, backbone: bool, *options: str
) -> dict[str, object]:
    """`cl-analyze compare` over runs of one seed; its document."""
    key = "::backbone" if backbone else ""
    files = [f"{out / run.path}{key}" for run in runs]
    names = [run.setting.name for run in runs]
    reference = files[names.index(REFERENCE) if REFERENCE in names else 0]
    place = command(
        out,
        runs[0],
        "compare",
        f"compare-{folder}",
        files,
        *(word for run in runs for word in ("--train", f"{training_set(out / run.path)}{key}")),
        "--against",
        reference,
        "--metrics",
        *(("quality",) if backbone else FAMILIES),
        "--cache",
        str(out / "cache"),
        *options,
    )
    found: dict[str, object] = json.loads((place / "compare.json").read_text())
    return found


def command(
    out: Path, run: Run, name: str, folder: str, files: Sequence[str | Path], *options: str
) -> Path:
    """Run a command of `cl-analyze` as its users do; where its files are.

    Raises:
        CommandError: it failed.
    """
    place = out / run.folder / folder
    words = ["cl-analyze", name, *map(str, files), *options, "--out", str(place), "--quiet"]
    print(f"  {name} of {len(files)} -> {place}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "cl_analyze", *words[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandError(f"{shlex.join(words)}\nended with {done.returncode}:\n{done.stderr}")
    replace_file(place / "command.txt", f"{shlex.join(words)}\n\n{done.stdout}".encode())
    return place


def value_of(document: dict[str, object], run: Run, measure: Measure) -> float:
    """The value of a measure for a run, from a comparison's document.

    Raises:
        LookupError: it is not there, or undefined.
    """
    records = document["results"]
    assert isinstance(records, list)
    for record in records:
        if (
            Path(record["source"].partition("::")[0]).name == f"{run.setting.name}.npz"
            and record["metric"] == measure.metric
            and record["definition"] == measure.definition
            and all(record["params"].get(key) == value for key, value in measure.params)
            and record["value"] is not None
        ):
            return float(record["value"])
    raise LookupError(f"{run.path}: there is no {measure.metric}[{measure.definition}]")


def to_csv(rows: Iterable[Row]) -> str:
    """The table of all runs, numbers as the shortest text that reads back equal."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def from_csv(text: str) -> list[Row]:
    """What `to_csv` wrote."""
    kinds = {"data": str, "loss": str, "epochs": int, "seed": int}
    return [
        {name: kinds.get(name, float)(value) if value else "" for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(text))
    ]


def over_seeds(rows: Sequence[Row], measure: Measure) -> tuple[float, float | None]:
    """Mean and standard deviation over runs that differ in their seed, as they are printed.

    Shares are in percent, and uniformity has the sign of Table 1: larger is more uniform.
    """
    scale = -1.0 if measure.name == "uniformity" else 100.0 if measure.percent else 1.0
    values = [scale * float(row[measure.name]) for row in rows]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def of(rows: Iterable[Row], loss: str, tau: float | None) -> list[Row]:
    """The runs of one loss and temperature."""
    return [
        row for row in rows if row["loss"] == loss and row["tau"] == ("" if tau is None else tau)
    ]


BLOCKS = (("contrastive", "simple"), ("hard-contrastive", "hard-simple"),
          ("dcl", "dhel", "kcl-gaussian"))  # fmt: skip
TITLES = {
    "contrastive": "contrastive",
    "simple": "simple",
    "hard-contrastive": "hard contrastive",
    "hard-simple": "hard simple",
    "dcl": "DCL",
    "dhel": "DHEL",
    "kcl-gaussian": "KCL gaussian",
}


def to_markdown(rows: Sequence[Row], data: DataSet) -> str:
    """Tables in the layout of Table 1: losses and temperatures across, measures down."""
    mine = [row for row in rows if row["data"] == data.name]
    blocks = []
    for families in BLOCKS:
        there = [
            one for one in SETTINGS if one.family in families and of(mine, one.family, one.tau)
        ]
        if not there:
            continue
        heads = [TITLES[one.family] + ("" if one.tau is None else f" {one.tau:g}") for one in there]
        lines = [f"| {data.title} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for measure in MEASURES:
            cells = [cell(of(mine, one.family, one.tau), measure) for one in there]
            cells = [text.replace(" ", "\u00a0") for text in cells]  # no line ends within a cell
            lines.append(f"| {measure.title} | {' | '.join(cells)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def to_text(rows: Sequence[Row], data: DataSet) -> str:
    """The same for a terminal: measures across, losses and temperatures down."""
    mine = [row for row in rows if row["data"] == data.name]
    there = [one for one in SETTINGS if of(mine, one.family, one.tau)]
    columns = [["", *(one.name for one in there)]]
    for measure in MEASURES:
        cells = [cell(of(mine, one.family, one.tau), measure) for one in there]
        columns.append([measure.name + " (−L)" * (measure.name == "uniformity"), *cells])
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in zip(*columns, strict=True)
    ]
    return f"{data.title}, {mine[0]['epochs']} epochs\n" + "\n".join(lines) + "\n"


def cell(rows: Sequence[Row], measure: Measure) -> str:
    """`81.4 ± 0.3`: the mean over seeds and their standard deviation."""
    mean, spread = over_seeds(rows, measure)
    text = f"{mean:.{measure.digits}f}"
    return text if spread is None else f"{text} ± {spread:.{measure.digits}f}"
