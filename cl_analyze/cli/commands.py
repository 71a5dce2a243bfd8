"""Every command: name, help text and runner.

The declaration of an option names the commands that take it (`cl_analyze.options`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cl_analyze.errors import AnalysisError

Runner = Callable[[str, Mapping[str, Any]], None]
ARGUMENTS, FROM_FILE = "arguments", "from_file"
"""Parameters of a runner beside the options: the tokens of the command line, with those of the
project's file, and what that file added (`cli.defaults.FromFile`, or None)."""


MEASURE, DECIDE, LOOK = "Measure", "Compare and decide", "Look into a file"
"""Groups of commands, in the order in which `cl-analyze --help` lists them."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: name of the command.
        group: the group in the list of commands.
        summary: one line of the list of commands; at most 66 characters.
        text: one paragraph of the help.
        example: a command line, without the program's name.
        more: a further paragraph of `--help-all`; empty: none.
        runner: MODULE:FUNCTION in `cl_analyze.cli` that runs the command, imported at the call.
        files: placeholder and description of the file arguments in the help.
        needs_files: whether at least one file argument is required.
        refuser: MODULE:FUNCTION that is told why the runner cannot start; empty: none.
    """

    name: str
    group: str
    summary: str
    text: str
    example: str
    more: str = ""
    runner: str = "run:run_command"
    files: tuple[str, str] = ("EMB...", "Embeddings: PATH or PATH::KEY, or - for .npy from stdin")
    needs_files: bool = True
    refuser: str = ""

    def run(self, parameters: Mapping[str, Any]) -> None:
        """Run the command.

        Args:
            parameters: the command's parameters by name.

        Raises:
            AnalysisError: options or inputs cannot be used.
        """
        runner: Runner = _function(self.runner)
        runner(self.name, parameters)

    def refuse(self, parameters: Mapping[str, Any], error: AnalysisError) -> None:
        """Write to the files of the command that it could not start; the caller raises the error.

        Args:
            parameters: the command's parameters by name, as typed.
            error: the reason.
        """
        if self.refuser:
            _function(self.refuser)(parameters, error)


def _function(place: str) -> Any:
    """The function at MODULE:FUNCTION in `cl_analyze.cli`."""
    module, _, function = place.partition(":")
    return getattr(import_module(f"cl_analyze.cli.{module}"), function)


COMMANDS = (
    Command(
        "uniformity",
        MEASURE,
        "How evenly the embeddings cover the sphere",
        "The log of the mean Gaussian potential exp(-t|x-y|^2) over all pairs of rows, in nats "
        "(Wang & Isola). More negative is more uniform. `uniformity_gap` is the difference from "
        "the uniform distribution in the same dimension: it can be compared between dimensions.",
        "uniformity emb.npy --t 2",
    ),
    Command(
        "tolerance",
        MEASURE,
        "How similar embeddings of one class are",
        "The mean cosine similarity of pairs of rows of one class (Wang & Liu), and of pairs of "
        "different classes. Labels come from --labels, or from an array named labels, y or targets "
        "in the file.",
        "tolerance emb.npy --labels labels.csv",
    ),
    Command(
        "similarity",
        MEASURE,
        "Positives and nearest negatives, and what separates them",
        "Histograms of both; the cosine that separates them (AUROC, equal error rate, "
        "true-positive rates); and the negatives so near that they may be false ones. Positives "
        "are pairs of views, in the file or from --pairs; without views, rows of one class.",
        "similarity emb.npz --top-k 10 --fpr 0.001",
        "With --relevant, positives are the related pairs of queries and items. The figures also "
        "show the uniform distribution on the sphere.",
    ),
    Command(
        "penalty",
        MEASURE,
        "How each temperature spreads the penalty over the negatives",
        "The penalty on negatives by their similarity; its entropy and the effective number of "
        "negatives; the shares of the nearest and of false negatives (rows of the anchor's class); "
        "and temperatures to start from. Without EMB, similarities are spread evenly over [-1, 1], "
        "as in Fig. 3 of Wang & Liu.",
        "penalty --tau 0.07 0.2 0.5",
        files=("[EMB...]", "Embeddings: PATH or PATH::KEY  [default: even similarities]"),
        needs_files=False,
    ),
    Command(
        "losses",
        MEASURE,
        "Contrastive losses of saved views of the same rows",
        "InfoNCE, NT-Xent, DCL, DHEL, hard and simple contrastive losses, kernel losses, SigLIP, "
        "spectral contrastive, VICReg, Barlow Twins and, with labels, supervised losses. Each with "
        "its alignment and uniformity parts, its limits, and its gradient by similarity.",
        "losses view1.npy --pairs view2.npy --tau 0.1 0.5",
        "InfoNCE is one-way, symmetric, and with --queue. With --batch-size, also the expected "
        "loss over random batches. Of more than two views, the mean over pairs of views. With "
        "--relevant, losses of queries over items. Supervised losses that need no second view are "
        "also given for one view with labels.",
    ),
    Command(
        "quality",
        MEASURE,
        "Collapse, kNN and probe accuracy, retrieval, hubs",
        "The spectrum with a verdict on collapse; hubs and near-duplicates. With labels: kNN "
        "accuracy, a linear probe, neural collapse, overlap of classes, retrieval by class. With "
        "a second view or --relevant: retrieval in both directions (recall, nDCG, MRR, MAP); "
        "between views also alignment and the modality gap.",
        "quality test.npy --labels y.csv --train train.npz --k 1 20",
    ),
    Command(
        "compare",
        DECIDE,
        "Which checkpoint is better, and by more than noise?",
        "For every metric: the difference of each EMB from the first on the same rows, with a "
        "confidence interval and an adjusted p-value. Writes compare.html, compare.json, tables "
        "and figures.",
        "compare runs/step-*.npz --x step",
    ),
    Command(
        "report",
        DECIDE,
        "All metrics of one or more files, as a page, tables and figures",
        "One pass over the pairs serves all metrics. Several EMB stand side by side. Metrics that "
        "need labels or a second view are left out where there are none. Writes report.html, "
        "results.json, tables and figures.",
        "report runs/tau-*.npz --out out/",
    ),
    Command(
        "check",
        DECIDE,
        "Pass or fail, for CI: rules with bounds, or against a baseline",
        "Exit code 1 only if a rule fails, 2 if a rule cannot be judged. Where the confidence "
        "interval contains the bound, the rule is inconclusive, and does not fail. docs/ci.md "
        "tells how rules are written.",
        "check emb.npz --rules cl-analyze.toml --baseline base.json",
        runner="gate:run_gate",
        refuser="gate:refuse",
    ),
    Command(
        "inspect",
        LOOK,
        "What is in a file, and what is wrong with it",
        "Shape and dtype of every array; norms, invalid rows, duplicates and labels of embeddings; "
        "problems and their remedies. The exit code is 2 if a file has problems.",
        "inspect emb.npz",
        runner="inspect:run_inspection",
        files=("FILE...", "Files to look into: PATH or PATH::KEY"),
    ),
)
