"""Every option of the command line, once: name, default and help."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from cl_analyze.errors import ConfigError
from cl_analyze.quoting import quoted

_INPUTS = "Inputs"
_OUTPUT = "Output"
_COMPUTE = "Computation"


class NegativesChoice(StrEnum):
    """Which pairs are negatives."""

    instance = "instance"
    klass = "class"


class PrecisionChoice(StrEnum):
    """Precision of the similarities."""

    auto = "auto"
    float32 = "float32"
    float64 = "float64"


class ProjectionChoice(StrEnum):
    """How rows are laid out in the plane."""

    pca = "pca"
    tsne = "tsne"
    umap = "umap"


class InvalidChoice(StrEnum):
    """What to do with rows that no metric can use."""

    error = "error"
    drop = "drop"


Embeddings = Annotated[
    list[str],
    typer.Argument(
        metavar="EMB...", help="Embeddings: PATH or PATH::KEY; - reads .npy from stdin."
    ),
]
OptionalEmbeddings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EMB]...",
        help="Embeddings: PATH or PATH::KEY; none: similarities spread evenly over [-1, 1].",
    ),
]
Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="Files to look into.")]
LabelFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        "-l",
        metavar="PATH",
        help="Labels: one file for all EMB, or repeat the option, one for each.",
    ),
]
PairFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--pairs", "-p", metavar="PATH", help="Partners of the rows; repeat it, one for each EMB."
    ),
]
GroupFile = Annotated[
    str | None,
    typer.Option(
        "--groups", metavar="PATH", help="Rows that belong together, for clustered error bars."
    ),
]
Unlabelled = Annotated[
    str | None,
    typer.Option("--unlabelled", metavar="LABEL", help="A label value that means unlabelled."),
]
Taus = Annotated[
    list[str] | None,
    typer.Option(
        "--tau", metavar="TAU...", help="Temperatures  [default: 0.07 0.1 0.2 0.3 0.5 0.7 1.0]"
    ),
]
Ts = Annotated[
    list[str] | None,
    typer.Option("--t", metavar="T...", help="Exponents of uniformity  [default: 2]"),
]
Definition = Annotated[
    str | None,
    typer.Option(
        "--definition", metavar="NAME", help="Keep this definition alone where a metric has it."
    ),
]
TopK = Annotated[int, typer.Option("--top-k", metavar="K", help="Nearest negatives to describe.")]
NegativesOption = Annotated[
    NegativesChoice,
    typer.Option(
        "--negatives", help="Every other row (instance), or rows of other classes (class)."
    ),
]
NNegatives = Annotated[
    int,
    typer.Option("--n-negatives", metavar="K", help="Number of negatives where no EMB is given."),
]
CurveAnchors = Annotated[
    str,
    typer.Option(
        "--curve-anchors",
        metavar="N|all",
        help="Rows behind the penalty mass and the all-pairs histogram.",
    ),
]
HardAlpha = Annotated[
    float,
    typer.Option(
        "--hard-alpha", metavar="A", help="Share of the negatives that the hard losses keep."
    ),
]
CurveAlpha = Annotated[
    float | None,
    typer.Option(
        "--hard-alpha",
        metavar="A",
        help="Curves over the hardest share A of each anchor's negatives too  [default: off]",
    ),
]
SimpleLambda = Annotated[
    float | None,
    typer.Option(
        "--simple-lambda",
        metavar="L",
        help="Weight of the simple losses' negatives  [default: 1 / (number of negatives)]",
    ),
]
KclT = Annotated[
    float, typer.Option("--kcl-t", metavar="T", help="Parameter of the kernel losses.")
]
KclGamma = Annotated[
    float,
    typer.Option("--kcl-gamma", metavar="G", help="Weight of the kernel losses' energies."),
]
BatchSizes = Annotated[
    list[str] | None,
    typer.Option(
        "--batch-size",
        metavar="M...",
        help="Estimate each loss's expectation over batches of M pairs  [default: off]",
    ),
]
Ks = Annotated[
    list[str] | None,
    typer.Option(
        "--k",
        metavar="K...",
        help="Neighbours that vote, and that recall looks at  [default: 1 10 20 200]",
    ),
]
AlignmentPower = Annotated[
    float,
    typer.Option("--alignment-power", metavar="P", help="Exponent of the distances in alignment."),
]
TrainFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--train",
        metavar="PATH",
        help="Rows that kNN and probe learn from: one file for all EMB, or repeat the option, one "
        "for each.  [default: leave-one-out, a part of EMB]",
    ),
]
TrainLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--train-labels",
        metavar="PATH",
        help="Their classes: one file, or repeat the option, one for each EMB  [default: those in "
        "the same file]",
    ),
]
ProjectionOption = Annotated[
    ProjectionChoice,
    typer.Option(
        "--projection", help="How rows are laid out in the plane (tsne, umap: extra projection)."
    ),
]
QueueFile = Annotated[
    str | None,
    typer.Option(
        "--queue",
        metavar="PATH",
        help="Further negatives of the contrastive loss (MoCo).",
    ),
]
ClopAnchors = Annotated[
    str | None,
    typer.Option(
        "--clop-anchors",
        metavar="PATH",
        help="CLOP's anchors, one row for each class in sorted order  [default: the best fit]",
    ),
]
AnchorsOption = Annotated[
    int | None,
    typer.Option(
        "--anchors",
        metavar="M",
        help="Estimate means over rows from M rows against all, each with a sampling_error  "
        "[default: off, exact]",
    ),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="DIR",
        help="Keep the states of long passes in DIR, and go on from them.",
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Compute on the Dask cluster at tcp://HOST:PORT (extra: dask).",
    ),
]
IdFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--ids",
        metavar="PATH",
        help="What identifies the rows: one file for all EMB, or repeat the option, one for each.",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="FILE",
        help="The checkpoint to compare with  [default: the first, along --x]",
    ),
]
Axis = Annotated[
    str | None,
    typer.Option(
        "--x",
        metavar="WORD|PATTERN",
        help="Order by the number after WORD in the names, or by PATTERN's group: 'tau=([0-9.]+)'.",
    ),
]
CacheFolder = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Keep what is measured in DIR by the hash of its content; safe to share and delete.",
    ),
]
MetricNames = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="NAME...",
        help="uniformity, tolerance, similarity, penalty, losses, quality  [default: all]",
    ),
]
RulesFile = Annotated[
    str | None,
    typer.Option(
        "--rules",
        metavar="FILE",
        help="Rules  [default: cl-analyze.toml, or [tool.cl-analyze] in pyproject.toml]",
    ),
]
BaselineFile = Annotated[
    str | None,
    typer.Option("--baseline", metavar="FILE", help="What --save-baseline wrote before."),
]
SaveBaseline = Annotated[
    str | None,
    typer.Option(
        "--save-baseline",
        metavar="FILE",
        help="Keep these numbers in FILE.json, and what paired tests need in FILE.npz.",
    ),
]
JUnitFile = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write verdicts as JUnit XML.")
]
MarkdownFile = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE", help="Write verdicts as Markdown.")
]
Out = Annotated[
    str, typer.Option("--out", "-o", metavar="DIR", help="Folder for tables and figures.")
]
NoFiles = Annotated[bool, typer.Option("--no-files", help="Write no files.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
FigureFormats = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="FMT...", help="Figures as png, svg, pdf  [default: png]"),
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="NAME", help="cpu, cuda or mps (these two use torch).")
]
PrecisionOption = Annotated[
    PrecisionChoice, typer.Option("--precision", help="Precision of the similarities.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Tiles at a time  [default: cores + 1]")
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Memory budget, as 2GiB  [default: a quarter of what is free]",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="N", help="Seed of everything drawn at random.")
]
OnInvalidOption = Annotated[
    InvalidChoice,
    typer.Option("--on-invalid", help="Rows with NaN, infinity or zero norm: refuse or drop."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More notes on stderr.")]

_SIZE = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB|K|M|G|T)?\Z", re.IGNORECASE
)
_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_size(text: str) -> int:
    """A size such as 2GiB or 500MB in bytes.

    >>> parse_size("2GiB"), parse_size("500 MB")
    (2147483648, 500000000)

    Raises:
        ConfigError: not a size.
    """
    match = _SIZE.match(text.strip())
    size = 0.0 if match is None else float(match[1]) * _UNITS[(match[2] or "").lower()]
    if not 1 <= size < 2**63:
        raise ConfigError(f"--memory: {quoted(text, 40)} is not a size; write 2GiB or 500MB")
    return int(size)


def parse_curve_anchors(text: str) -> int | None:
    """A number of anchors, or None for all.

    Raises:
        ConfigError: neither a whole number >= 1 nor `all`.
    """
    if text == "all":
        return None
    is_number = text.isascii() and text.isdigit() and len(text) < 19
    if not is_number or int(text) < 1:
        raise ConfigError(f"--curve-anchors: {quoted(text, 40)} is neither a number >= 1 nor all")
    return int(text)
