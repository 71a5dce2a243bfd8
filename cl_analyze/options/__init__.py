"""Every option, declared once: its name, kind, default, check, help, and the commands that have it.

An option is a field of a dataclass in this file.  From the field come the parameters of the
commands and their help (`cli/parameters.py`), the keywords of the Python functions
(`with_options`), the checks (the dataclasses check themselves) and docs/cli.md.  A further option
is one more field.

kinds.py         how values are written, and which are allowed
declaration.py   what an option is, and what is derived from it

Importing this loads the standard library alone: `--help` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
    Companions,
    Flag,
    Kind,
    Number,
    Numbers,
    Place,
    Share,
    Size,
    Whole,
    WholeOrAll,
    Words,
)

FAMILIES = ("uniformity", "tolerance", "similarity", "penalty", "losses", "quality")
"""Families of metrics; each has a command of its own name."""
FORMATS = ("png", "svg", "pdf")
"""Formats of the figures."""
Negatives = Literal["instance", "class"]
Precision = Literal["auto", "float32", "float64"]
OnInvalid = Literal["error", "drop"]
Projection = Literal["pca", "tsne", "umap"]

MEASURING = (*FAMILIES, "compare", "report")
"""Commands that measure."""
ANALYSING = (*MEASURING, "check")
"""Commands that measure, or judge what they measure."""
EVERY = (*ANALYSING, "inspect")


@dataclass(frozen=True)
class MetricOptions(Checked):
    """What is asked of the metrics.

    Attributes without an option of their own:
        exact_deletions: up to this many rows, error bars of penalties use every pair; above it
            `sampled_anchors` of them.
        n_voters: the most neighbours that a family of this run reads beside those of `top_k`.
        only: the metrics that are wanted, where a family can leave others out; empty: all.

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
        "Neighbours that vote, and that recall looks at",
        ("quality", "compare", "report"),
    )
    negatives: Negatives = option(
        "instance",
        Choice(words=("instance", "class")),
        MEASURED,
        "--negatives",
        "Every other row, or rows of other classes",
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
        MEASURED,
        "--curve-anchors",
        "Rows behind penalty mass and histograms",
        ("similarity", "penalty", "losses", "quality", "report"),
    )
    penalty_alpha: float | None = option(
        None,
        Share("A"),
        MEASURED,
        "--hard-alpha",
        "Curves over the hardest share of the negatives",
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
        2.0, Number("T"), MEASURED, "--kcl-t", "Parameter of the kernel losses (KCL)", ("losses",)
    )
    kcl_gamma: float = option(
        16.0, Number("G"), MEASURED, "--kcl-gamma", "Weight of the energies in KCL", ("losses",)
    )
    batch_sizes: tuple[int, ...] = option(
        (),
        Numbers("M...", whole=True, least=2, example="64 256"),
        MEASURED,
        "--batch-size",
        "Expected losses of batches of M pairs",
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
        "pca",
        Choice(words=("pca", "tsne", "umap")),
        MEASURED,
        "--projection",
        "Layout of rows in the plane (extra: projection)",
        ("quality",),
    )
    anchors: int | None = option(
        None,
        Whole("M", least=10),
        COMPUTATION,
        "--anchors",
        "Estimate means over rows from M rows against all",
        ANALYSING,
        unset="off, exact",
    )
    seed: int = option(
        0,
        Whole("N", least=0),
        COMPUTATION,
        "--seed",
        "Seed of everything drawn at random",
        ANALYSING,
    )
    exact_deletions: int = 10_000
    sampled_anchors: int = 2_048
    n_voters: int = 0
    only: tuple[str, ...] = ()

    def wants(self, metrics: Iterable[str]) -> bool:
        """Whether any of these metrics is wanted."""
        return not self.only or bool(set(self.only) & set(metrics))

    @property
    def pairs(self) -> Literal["all", "other_class"]:
        """The set of pairs that are negatives."""
        return "all" if self.negatives == "instance" else "other_class"

    def n_neighbours_of(self, n_rows: int) -> int:
        """Neighbours that families read: those described, the penalty's ten, voters, one more."""
        return max(self.top_k, 10, min(self.n_voters, n_rows)) + 1

    def anchors_of(self, n_rows: int) -> int | None:
        """Anchors from which means over that many rows are estimated; None: they are exact."""
        return None if self.anchors is None or self.anchors >= n_rows else self.anchors

    @property
    def negative_params(self) -> dict[str, str | int | float]:
        """The parameter that says which negatives, where they are not the default ones."""
        return {} if self.negatives == "instance" else {"negatives": self.negatives}


@dataclass(frozen=True)
class RunOptions(Checked):
    """How to compute; nothing here changes results beyond rounding.

    Attributes without an option of their own:
        block: rows of a tile; None: as many as are fast and the budget allows.
        save_every: seconds between two saves in `resume`.

    Precision auto takes float64 for float64 input of up to 20,000 rows, and for temperatures under
    0.02.

    >>> RunOptions(precision="float64", threads=1).on_invalid
    'error'
    """

    unlabelled: str | None = option(
        None, Kind("LABEL"), INPUTS, "--unlabelled", "A label value that means unlabelled", EVERY
    )
    on_invalid: OnInvalid = option(
        "error",
        Choice(words=("error", "drop")),
        INPUTS,
        "--on-invalid",
        "Rows with NaN, infinity or zero norm",
        ANALYSING,
    )
    definition: str | None = option(
        None,
        Kind("NAME"),
        MEASURED,
        "--definition",
        "Keep this definition alone where a metric has it",
        MEASURING,
    )
    device: str = option(
        "cpu", Kind("NAME"), COMPUTATION, "--device", "cpu, or by torch cuda, mps", ANALYSING
    )
    precision: Precision = option(
        "auto",
        Choice(words=("auto", "float32", "float64")),
        COMPUTATION,
        "--precision",
        "Of the similarities",
        ANALYSING,
    )
    threads: int | None = option(
        None, Whole("N"), COMPUTATION, "--threads", "Tiles at a time", ANALYSING, unset="cores + 1"
    )
    memory: int | None = option(
        None,
        Size(),
        COMPUTATION,
        "--memory",
        "Budget, as 2GiB",
        ANALYSING,
        unset="a quarter of what is free",
    )
    scheduler: str | None = option(
        None,
        Kind("ADDRESS"),
        COMPUTATION,
        "--scheduler",
        "Dask cluster at tcp://HOST:PORT (extra: dask)",
        ANALYSING,
    )
    resume: str | Path | None = option(
        None,
        Place("DIR"),
        COMPUTATION,
        "--resume",
        "Keep states of long passes, and go on from them",
        ANALYSING,
    )
    block: int | None = None
    save_every: float = 20.0


@dataclass(frozen=True)
class Request:
    """One checkpoint as the user names it: paths (with ::KEY) or arrays.

    Attributes:
        embeddings: (N, D), or (N, V, D) views.
        labels, pairs, groups: one value, or one partner, a row; None where there are none.  Labels
            may be "none": then those in the embeddings' file are not used either.
        source: its name in the output; None: from the path.
        queue: (K, D) further negatives of the losses, or None.
        clop_anchors: (C, D) anchors of the classes for CLOP's term, in the classes' order, or None.
        train: (M, D) rows that classifiers learn from, or None.
        train_labels: their classes; None takes those in their file.
        ids: what identifies each row across files; None takes those in the embeddings' file where
            rows are to be matched.
        match: whether rows are to be matched with those of other checkpoints.

    >>> Request("run1/embeddings.npz::z", labels="labels.csv").pairs is None
    True
    """

    embeddings: Any
    labels: Any = option(
        None,
        Companions(),
        INPUTS,
        "-l --labels",
        "Labels: one file for all, or one for each EMB",
        tuple(name for name in EVERY if name != "uniformity"),
    )
    pairs: Any = option(
        None,
        Companions(shared=False),
        INPUTS,
        "-p --pairs",
        "Partners of the rows: one file for each EMB",
        ("similarity", "losses", "quality", "compare", "report", "check"),
    )
    groups: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--groups",
        "Rows that belong together, for error bars",
        ANALYSING,
    )
    source: str | None = None
    queue: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--queue",
        "Further negatives of the contrastive loss (MoCo)",
        ("losses", "check"),
    )
    clop_anchors: Any = option(
        None,
        Place("PATH"),
        INPUTS,
        "--clop-anchors",
        "CLOP's anchors, a row for each class in order",
        ("losses",),
        unset="the best fit",
    )
    train: Any = option(
        None,
        Companions(),
        INPUTS,
        "--train",
        "Rows that kNN and probe learn from",
        ("quality", "compare", "report", "check"),
        unset="leave-one-out, a part of EMB",
    )
    train_labels: Any = option(
        None,
        Companions(),
        INPUTS,
        "--train-labels",
        "Classes of these rows",
        ("quality", "compare", "report", "check"),
        unset="those in their file",
    )
    ids: Any = option(
        None,
        Companions(),
        INPUTS,
        "--ids",
        "Ids of the rows: one file for all, or one for each",
        ("compare", "check"),
    )
    match: bool = False


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
        "Order by the number after WORD, or PATTERN's group",
        ("compare",),
    )
    cache: str | Path | None = option(
        None,
        Place("DIR"),
        COMPUTATION,
        "--cache",
        "Keep numbers by the hash of what they are of",
        ("compare",),
    )
    metrics: tuple[str, ...] | None = option(
        None,
        Words("NAME...", words=FAMILIES),
        MEASURED,
        "--metrics",
        ", ".join(FAMILIES),
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
        "Rules",
        ("check",),
        unset="cl-analyze.toml, or [tool.cl-analyze] in pyproject.toml",
    )
    baseline: str | None = option(
        None, Place("FILE"), INPUTS, "--baseline", "What --save-baseline wrote before", ("check",)
    )
    save_baseline: str | None = option(
        None,
        Place("FILE"),
        OUTPUT,
        "--save-baseline",
        "Keep the numbers, and an .npz for paired tests",
        ("check",),
    )
    junit: str | None = option(
        None, Place("FILE"), OUTPUT, "--junit", "Write verdicts as JUnit XML", ("check",)
    )
    markdown: str | None = option(
        None, Place("FILE"), OUTPUT, "--markdown", "Write verdicts as Markdown", ("check",)
    )


@dataclass(frozen=True)
class OutputOptions(Checked):
    """Where results go."""

    out: str = option(
        "cl-analyze-out", Place("DIR"), OUTPUT, "-o --out", "Folder of the files", MEASURING
    )
    formats: tuple[str, ...] = option(
        ("png",), Words("FMT...", words=FORMATS), OUTPUT, "--format", "png, svg, pdf", MEASURING
    )
    no_files: bool = option(False, Flag(), OUTPUT, "--no-files", "Write no files", MEASURING)
    as_json: bool = option(
        False, Flag(), OUTPUT, "--json", "Print one JSON document on stdout", EVERY
    )
    quiet: bool = option(
        False, Flag(), OUTPUT, "-q --quiet", "Nothing on stderr but errors", ANALYSING
    )
    verbose: bool = option(False, Flag(), OUTPUT, "-v --verbose", "More notes on stderr", ANALYSING)


DECLARING = (Request, MetricOptions, RunOptions, CompareOptions, CheckFiles, OutputOptions)
"""The dataclasses whose fields are the options."""
