"""Every option, declared once: name, kind, default, check, help, and the commands that take it.

An option is a field of a dataclass in this file or in request.py.  Four things are derived from
the field: the commands' parameters and help (`cli/parameters.py`), the keywords of the Python
functions (`with_options`), the checks (each dataclass checks its fields), and docs/cli.md.  To add
an option, add a field.

request.py       embeddings and their companions
run.py           device, precision, threads, memory
checking.py      files that a check reads and writes
commands.py      names of families, and groups of commands
kinds.py         the form of values on the command line, and the allowed values
defaults.py      defaults of options from a project's file
declaration.py   the declaration of an option, and everything derived from it

`--help` imports this package, so the package imports only the standard library.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cl_analyze.options.checking import CheckFiles
from cl_analyze.options.commands import (
    ANALYSING,
    EVERY,
    FAMILIES,
    FORMATS,
    MEASURING,
    QUANTISED,
    TRANSFORMED,
)
from cl_analyze.options.declaration import (
    COMPUTATION,
    ESTIMATES,
    INPUTS,
    MEASURED,
    OUTPUT,
    Checked,
    option,
)
from cl_analyze.options.kinds import (
    Choice,
    Flag,
    Kind,
    MetricNames,
    Number,
    Numbers,
    Place,
    Real,
    Share,
    Shares,
    Whole,
    WholeOrAll,
    Words,
)
from cl_analyze.options.request import Request
from cl_analyze.options.run import Precision, RunOptions

Negatives = Literal["instance", "class"]
Projection = Literal["auto", "pca", "tsne", "umap", "none"]


@dataclass(frozen=True)
class MetricOptions(Checked):
    """Parameters of the metrics.

    Attributes that are not options:
        exact_deletions: with at most this many rows, the error bars of penalties use every pair;
            with more rows, they use the pairs of `sampled_anchors` anchors.
        n_voters: the largest number of neighbours that a metric reads, apart from `top_k`.
        only: the metrics to compute, where a family can skip metrics; empty: all metrics.

    >>> MetricOptions(taus=[0.5, 0.5]).taus
    (0.5,)
    """

    taus: tuple[float, ...] = option(
        (0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
        Numbers("TAU..."),
        MEASURED,
        "--tau",
        "Temperatures (tau) for penalties and losses",
        ("penalty", "losses", "compare", "report"),
        common_in=("penalty", "losses", "report"),
    )
    ts: tuple[float, ...] = option(
        (2.0,),
        Numbers("T...", example="1 2 3"),
        MEASURED,
        "--t",
        "Values of t in exp(-t|x-y|^2)",
        ("uniformity", "compare", "report"),
        common_in=("uniformity",),
    )
    top_k: int = option(
        10,
        Whole("K"),
        MEASURED,
        "--top-k",
        "Number of nearest negatives to describe",
        ("similarity", "compare", "report"),
        common_in=("similarity",),
    )
    ks: tuple[int, ...] = option(
        (1, 10, 20, 200),
        Numbers("K...", whole=True, example="1 10 20"),
        MEASURED,
        "--k",
        "Values of k for kNN accuracy, recall, hit rate and nDCG",
        ("quality", "compare", "report"),
        common_in=("quality", "report"),
    )
    suspects: int = option(
        200,
        Whole("N", least=0),
        MEASURED,
        "--suspects",
        "Number of suspected false negatives to list; 0: none",
        ("similarity", "report"),
    )
    suspect_margin: float = option(
        0.95,
        Number("M"),
        MEASURED,
        "--suspect-margin",
        "A negative is suspect if its similarity is above M times the positive's",
        ("similarity", "penalty", "compare", "report"),
    )
    fprs: tuple[float, ...] = option(
        (0.001, 0.01, 0.1),
        Shares("F..."),
        MEASURED,
        "--fpr",
        "Give the true-positive rate at these false-positive rates",
        ("similarity", "compare", "report"),
        common_in=("similarity",),
    )
    negatives: Negatives = option(
        "instance",
        Choice(words=("instance", "class")),
        MEASURED,
        "--negatives",
        "Negatives of a row: all other rows (instance), or rows of other classes (class)",
        ("similarity", "penalty", "compare", "report"),
    )
    n_negatives: int = option(
        4095,
        Whole("K", least=2),
        MEASURED,
        "--n-negatives",
        "Number of negatives where no EMB is given",
        ("penalty",),
    )
    curve_anchors: int | None = option(
        2_048,
        WholeOrAll("N|all"),
        ESTIMATES,
        "--curve-anchors",
        "Number of rows (anchors) from which histograms and curves are made",
        ("similarity", "penalty", "losses", "quality", "report"),
    )
    penalty_alpha: float | None = option(
        None,
        Share("A"),
        MEASURED,
        "--hard-alpha",
        "Curves over the hardest negatives alone, a share A of all",
        ("penalty",),
        unset="off",
    )
    hard_alpha: float = option(
        0.1,
        Share("A"),
        MEASURED,
        "--hard-alpha",
        "Share of the negatives that hard losses keep, the hardest ones",
        ("losses",),
    )
    simple_lambda: float | None = option(
        None,
        Number("L", or_zero=True),
        MEASURED,
        "--simple-lambda",
        "Weight lambda of the negatives in the simple losses",
        ("losses",),
        unset="1 / (number of negatives)",
    )
    kcl_t: float = option(
        2.0,
        Number("T"),
        MEASURED,
        "--kcl-t",
        "Kernel parameter t of the kernel contrastive losses (KCL)",
        ("losses",),
    )
    kcl_gamma: float = option(
        16.0,
        Number("G"),
        MEASURED,
        "--kcl-gamma",
        "Weight gamma of the energy (the uniformity part) in KCL",
        ("losses",),
    )
    siglip_bias: float = option(
        -10.0,
        Real("B"),
        MEASURED,
        "--siglip-bias",
        "Bias b of SigLIP: its logits are s / tau + b",
        ("losses",),
    )
    batch_sizes: tuple[int, ...] = option(
        (),
        Numbers("M...", whole=True, least=2, example="64 256"),
        MEASURED,
        "--batch-size",
        "Also give the expected loss over random batches of M pairs",
        ("losses",),
        unset="off",
        common_in=("losses",),
    )
    alignment_power: float = option(
        2.0,
        Number("P"),
        MEASURED,
        "--alignment-power",
        "Exponent of the distance between positives in alignment",
        ("quality",),
    )
    projection: Projection = option(
        "auto",
        Choice(words=("auto", "pca", "tsne", "umap", "none")),
        MEASURED,
        "--projection",
        "Method that draws the rows in 2-D (auto: tsne if scikit-learn is installed)",
        ("quality", "report"),
    )
    anchors: int | None = option(
        None,
        Whole("M", least=10),
        ESTIMATES,
        "--anchors",
        "Estimate means over rows from M random rows (anchors)",
        ANALYSING,
        unset="off: all rows, exact",
    )
    seed: int = option(
        0,
        Whole("N", least=0),
        ESTIMATES,
        "--seed",
        "Seed of all random numbers",
        ANALYSING,
    )
    exact_deletions: int = 10_000
    sampled_anchors: int = 2_048
    n_voters: int = 0
    only: tuple[str, ...] = ()

    def wants(self, metrics: Iterable[str]) -> bool:
        """Whether at least one of these metrics must be computed."""
        return not self.only or bool(set(self.only) & set(metrics))

    @property
    def negative_pairs(self) -> Literal["all", "other_class"]:
        """The set of pairs that are negatives."""
        return "all" if self.negatives == "instance" else "other_class"

    def n_neighbours_of(self, n_rows: int) -> int:
        """Number of neighbours to keep: the largest number that a family reads, and one more."""
        return max(self.top_k, 10, min(self.n_voters, n_rows)) + 1

    def anchors_of(self, n_rows: int) -> int | None:
        """Number of anchors that estimate a mean over `n_rows` rows; None: means are exact."""
        return None if self.anchors is None or self.anchors >= n_rows else self.anchors

    @property
    def of_instances(self) -> MetricOptions:
        """The same options, with every other row as a negative."""
        return replace(self, negatives="instance")

    @property
    def negative_params(self) -> dict[str, str | int | float]:
        """The record parameter for the choice of negatives; empty for the default choice."""
        return {} if self.negatives == "instance" else {"negatives": self.negatives}


@dataclass(frozen=True)
class CompareOptions(Checked):
    """How checkpoints are compared."""

    against: str | None = option(
        None,
        Kind("FILE"),
        INPUTS,
        "--against",
        "File to compare the others with",
        ("compare",),
        unset="the first file",
        about="the checkpoint with which the others are compared; None: the first, in the order "
        "of `x`.",
        common_in=("compare",),
    )
    x: str | None = option(
        None,
        Kind("WORD|PATTERN"),
        INPUTS,
        "--x",
        "Order files by a number in their names: after WORD, or in the group of a regular "
        "expression",
        ("compare",),
        about="a word: order the checkpoints by the number after it in their names; or a regular "
        "expression with one group: by the number in the group.",
        common_in=("compare",),
    )
    cache: str | Path | None = option(
        None,
        Place("DIR"),
        COMPUTATION,
        "--cache",
        "Folder that keeps metrics of files already measured, for later comparisons",
        ("compare",),
    )
    metrics: tuple[str, ...] | None = option(
        None,
        MetricNames("NAME...", words=(*FAMILIES, "all")),
        MEASURED,
        "--metrics",
        f"Compare only these metrics or families: {', '.join(FAMILIES)}",
        ("compare",),
        unset="all",
        common_in=("compare",),
    )


@dataclass(frozen=True)
class OutputOptions(Checked):
    """Where and how results are written."""

    out: str = option(
        "cl-analyze-out",
        Place("DIR"),
        OUTPUT,
        "-o --out",
        "Folder for all files",
        MEASURING,
        common_in=MEASURING,
    )
    formats: tuple[str, ...] = option(
        ("png",),
        Words("FMT...", words=FORMATS),
        OUTPUT,
        "--format",
        f"File formats of figures: {', '.join(FORMATS)}",
        MEASURING,
    )
    no_files: bool = option(
        False,
        Flag(),
        OUTPUT,
        "--no-files",
        "Write no files, only print",
        MEASURING,
        common_in=MEASURING,
    )
    as_json: bool = option(
        False,
        Flag(),
        OUTPUT,
        "--json",
        "Print one JSON document in place of the table",
        EVERY,
        common_in=EVERY,
    )
    long: bool = option(
        False,
        Flag(),
        OUTPUT,
        "--long",
        "Print a line for each number, with names as in the files",
        MEASURING,
    )
    full_json: bool = option(
        False,
        Flag(),
        OUTPUT,
        "--full-json",
        "Put whole tables into the JSON file, not only the paths of their CSV files",
        ("compare", "report"),
    )
    quiet: bool = option(
        False,
        Flag(),
        OUTPUT,
        "-q --quiet",
        "Print no notes and no progress, only errors",
        ANALYSING,
    )
    verbose: bool = option(
        False, Flag(), OUTPUT, "-v --verbose", "Print details and times too", ANALYSING
    )


@dataclass(frozen=True)
class ProjectOptions(Checked):
    """The file that holds defaults of the other options."""

    defaults_file: str | None = option(
        None,
        Place("FILE"),
        INPUTS,
        "--defaults",
        "File with defaults of options; none: use no such file",
        EVERY,
        unset="cl-analyze.toml, or [tool.cl-analyze] in pyproject.toml",
        only_typed="the file itself is chosen on the command line",
    )


DECLARING = (
    Request,
    MetricOptions,
    RunOptions,
    CompareOptions,
    CheckFiles,
    OutputOptions,
    ProjectOptions,
)
"""The dataclasses whose fields are the options."""

__all__ = [
    "DECLARING",
    "EVERY",
    "FAMILIES",
    "FORMATS",
    "QUANTISED",
    "TRANSFORMED",
    "CheckFiles",
    "CompareOptions",
    "MetricOptions",
    "Negatives",
    "OutputOptions",
    "Precision",
    "ProjectOptions",
    "Projection",
    "Request",
    "RunOptions",
]
