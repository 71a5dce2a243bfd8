"""Every option, declared once: name, kind, default, check, help, and the commands that take it.

An option is a field of a dataclass in this file or in request.py.  Four things are derived from
the field: the commands' parameters and help (`cli/parameters.py`), the keywords of the Python
functions (`with_options`), the checks (each dataclass checks its fields), and docs/cli.md.  To add
an option, add a field.

request.py       embeddings and their companions
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
    Size,
    Whole,
    WholeOrAll,
    Words,
)
from cl_analyze.options.request import Request

Negatives = Literal["instance", "class"]
Precision = Literal["auto", "float32", "float64"]
OnInvalid = Literal["error", "drop"]
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
        "Temperatures",
        ("penalty", "losses", "compare", "report"),
    )
    ts: tuple[float, ...] = option(
        (2.0,),
        Numbers("T...", example="1 2 3"),
        MEASURED,
        "--t",
        "Exponents of uniformity",
        ("uniformity", "compare", "report"),
    )
    top_k: int = option(
        10,
        Whole("K"),
        MEASURED,
        "--top-k",
        "Nearest negatives to describe",
        ("similarity", "compare", "report"),
    )
    ks: tuple[int, ...] = option(
        (1, 10, 20, 200),
        Numbers("K...", whole=True, example="1 10 20"),
        MEASURED,
        "--k",
        "Numbers of neighbours for kNN accuracy, recall, hit rate and nDCG",
        ("quality", "compare", "report"),
    )
    suspects: int = option(
        200,
        Whole("N", least=0),
        MEASURED,
        "--suspects",
        "Rows of the table of suspect negatives; 0: none",
        ("similarity", "report"),
    )
    suspect_margin: float = option(
        0.95,
        Number("M"),
        MEASURED,
        "--suspect-margin",
        "A negative nearer than M times the positive is a suspect",
        ("similarity", "penalty", "compare", "report"),
    )
    fprs: tuple[float, ...] = option(
        (0.001, 0.01, 0.1),
        Shares("F..."),
        MEASURED,
        "--fpr",
        "False-positive rates at which positives are counted",
        ("similarity", "compare", "report"),
    )
    negatives: Negatives = option(
        "instance",
        Choice(words=("instance", "class")),
        MEASURED,
        "--negatives",
        "Negatives: every other row, or rows of other classes",
        ("similarity", "penalty", "compare", "report"),
    )
    n_negatives: int = option(
        4095,
        Whole("K", least=2),
        MEASURED,
        "--n-negatives",
        "Number of negatives when no EMB is given",
        ("penalty",),
    )
    curve_anchors: int | None = option(
        2_048,
        WholeOrAll("N|all"),
        MEASURED,
        "--curve-anchors",
        "Anchors for penalty mass and histograms",
        ("similarity", "penalty", "losses", "quality", "report"),
    )
    penalty_alpha: float | None = option(
        None,
        Share("A"),
        MEASURED,
        "--hard-alpha",
        "Draw curves over this hardest share of negatives",
        ("penalty",),
        unset="off",
    )
    hard_alpha: float = option(
        0.1,
        Share("A"),
        MEASURED,
        "--hard-alpha",
        "Share of negatives that hard losses keep",
        ("losses",),
    )
    simple_lambda: float | None = option(
        None,
        Number("L", or_zero=True),
        MEASURED,
        "--simple-lambda",
        "Weight of the simple losses' negatives",
        ("losses",),
        unset="1 / (number of negatives)",
    )
    kcl_t: float = option(
        2.0,
        Number("T"),
        MEASURED,
        "--kcl-t",
        "Kernel parameter t of the kernel losses (KCL)",
        ("losses",),
    )
    kcl_gamma: float = option(
        16.0, Number("G"), MEASURED, "--kcl-gamma", "Weight of the energies in KCL", ("losses",)
    )
    siglip_bias: float = option(
        -10.0,
        Real("B"),
        MEASURED,
        "--siglip-bias",
        "Bias of SigLIP, added to s / tau",
        ("losses",),
    )
    batch_sizes: tuple[int, ...] = option(
        (),
        Numbers("M...", whole=True, least=2, example="64 256"),
        MEASURED,
        "--batch-size",
        "Compute expected losses over batches of M pairs",
        ("losses",),
        unset="off",
    )
    alignment_power: float = option(
        2.0,
        Number("P"),
        MEASURED,
        "--alignment-power",
        "Exponent of distances in alignment",
        ("quality",),
    )
    projection: Projection = option(
        "auto",
        Choice(words=("auto", "pca", "tsne", "umap", "none")),
        MEASURED,
        "--projection",
        "2-D layout of the rows (auto: tsne where its extra is)",
        ("quality", "report"),
    )
    anchors: int | None = option(
        None,
        Whole("M", least=10),
        COMPUTATION,
        "--anchors",
        "Estimate means over rows from M anchors",
        ANALYSING,
        unset="off, exact",
    )
    seed: int = option(
        0,
        Whole("N", least=0),
        COMPUTATION,
        "--seed",
        "Seed of the random numbers",
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
class RunOptions(Checked):
    """How to compute.  Only `definition`, `unlabelled` and `on_invalid` select other results.

    The other fields change results by rounding errors only.

    Attributes that are not options:
        block: rows of a tile; None: the fastest size that fits into the memory budget.
        save_every: seconds between two saves of states to the `resume` folder.

    With precision "auto", float64 is used for float64 input of at most 20,000 rows, and for
    temperatures below 0.02.

    >>> RunOptions(precision="float64", threads=1).on_invalid
    'error'
    """

    device: str = option(
        "cpu", Kind("NAME"), COMPUTATION, "--device", "cpu, or with torch: cuda, mps", ANALYSING
    )
    precision: Precision = option(
        "auto",
        Choice(words=("auto", "float32", "float64")),
        COMPUTATION,
        "--precision",
        "Number type of the similarities",
        ANALYSING,
    )
    threads: int | None = option(
        None,
        Whole("N"),
        COMPUTATION,
        "--threads",
        "Number of threads",
        ANALYSING,
        unset="the cores",
    )
    memory: int | None = option(
        None,
        Size(),
        COMPUTATION,
        "--memory",
        "Memory budget, such as 2GiB",
        ANALYSING,
        unset="a quarter of the free memory",
    )
    block: int | None = None
    on_invalid: OnInvalid = option(
        "error",
        Choice(words=("error", "drop")),
        INPUTS,
        "--on-invalid",
        "Rows with NaN, infinity or zero norm",
        ANALYSING,
    )
    unlabelled: str | None = option(
        None, Kind("LABEL"), INPUTS, "--unlabelled", "Label value that marks unlabelled rows", EVERY
    )
    definition: str | None = option(
        None,
        Kind("NAME"),
        MEASURED,
        "--definition",
        "Show only this definition of metrics that have it",
        MEASURING,
    )
    resume: str | Path | None = option(
        None,
        Place("DIR"),
        COMPUTATION,
        "--resume",
        "Save states of long passes, and resume from them",
        ANALYSING,
    )
    save_every: float = 20.0
    scheduler: str | None = option(
        None,
        Kind("ADDRESS"),
        COMPUTATION,
        "--scheduler",
        "Dask cluster at tcp://HOST:PORT (extra: dask)",
        ANALYSING,
        only_typed="a file that comes with a project must not choose which machine is sent work",
    )


@dataclass(frozen=True)
class CompareOptions(Checked):
    """How checkpoints are compared."""

    against: str | None = option(
        None,
        Kind("FILE"),
        INPUTS,
        "--against",
        "The checkpoint to compare with",
        ("compare",),
        unset="the first, along --x",
    )
    x: str | None = option(
        None,
        Kind("WORD|PATTERN"),
        INPUTS,
        "--x",
        "Order files by the number after WORD, or by PATTERN's group",
        ("compare",),
    )
    cache: str | Path | None = option(
        None,
        Place("DIR"),
        COMPUTATION,
        "--cache",
        "Cache of metrics, by the hash of the inputs",
        ("compare",),
    )
    metrics: tuple[str, ...] | None = option(
        None,
        MetricNames("NAME...", words=(*FAMILIES, "all")),
        MEASURED,
        "--metrics",
        f"Single metrics, or families: {', '.join(FAMILIES)}",
        ("compare",),
        unset="all",
    )


@dataclass(frozen=True)
class CheckFiles(Checked):
    """Files that a check reads and writes."""

    rules: str | None = option(
        None,
        Place("FILE"),
        INPUTS,
        "--rules",
        "File of rules",
        ("check",),
        unset="cl-analyze.toml, or [tool.cl-analyze] in pyproject.toml",
    )
    baseline: str | None = option(
        None, Place("FILE"), INPUTS, "--baseline", "File written by --save-baseline", ("check",)
    )
    save_baseline: str | None = option(
        None,
        Place("FILE"),
        OUTPUT,
        "--save-baseline",
        "Save numbers in FILE.json, for paired tests FILE.npz",
        ("check",),
        only_typed="every check would replace the baseline",
    )
    junit: str | None = option(
        None, Place("FILE"), OUTPUT, "--junit", "Write verdicts as JUnit XML", ("check",)
    )
    markdown: str | None = option(
        None, Place("FILE"), OUTPUT, "--markdown", "Write verdicts as Markdown", ("check",)
    )


@dataclass(frozen=True)
class OutputOptions(Checked):
    """Where and how results are written."""

    out: str = option(
        "cl-analyze-out", Place("DIR"), OUTPUT, "-o --out", "Folder for the output files", MEASURING
    )
    formats: tuple[str, ...] = option(
        ("png",),
        Words("FMT...", words=FORMATS),
        OUTPUT,
        "--format",
        "Figures: png, svg, pdf",
        MEASURING,
    )
    no_files: bool = option(False, Flag(), OUTPUT, "--no-files", "Write no files", MEASURING)
    as_json: bool = option(
        False, Flag(), OUTPUT, "--json", "Print one JSON document on stdout", EVERY
    )
    full_json: bool = option(
        False,
        Flag(),
        OUTPUT,
        "--full-json",
        "Tables in the JSON file too, not only the paths of their CSV files",
        ("compare", "report"),
    )
    quiet: bool = option(
        False, Flag(), OUTPUT, "-q --quiet", "Print only errors on stderr", ANALYSING
    )
    verbose: bool = option(
        False, Flag(), OUTPUT, "-v --verbose", "Print more notes on stderr", ANALYSING
    )


@dataclass(frozen=True)
class ProjectOptions(Checked):
    """The file that holds defaults of the other options."""

    defaults_file: str | None = option(
        None,
        Place("FILE"),
        INPUTS,
        "--defaults",
        "Defaults of options, or none (--no-json turns off a flag)",
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
