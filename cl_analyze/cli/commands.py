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


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: name of the command.
        about: text of the help; the list of commands shows the first line.
        runner: MODULE:FUNCTION in `cl_analyze.cli` that runs the command, imported at the call.
        files: placeholder and description of the file arguments in the help.
        needs_files: whether at least one file argument is required.
        refuser: MODULE:FUNCTION that is told why the runner cannot start; empty: none.
    """

    name: str
    about: str
    runner: str = "run:run_command"
    files: tuple[str, str] = ("EMB...", "Embeddings: PATH or PATH::KEY; - reads .npy from stdin")
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
        """Uniformity, compared with the uniform distribution.

        Log of the mean Gaussian potential exp(-t |x - y|^2) over all pairs i != j, in nats.

        More negative is more uniform. `uniformity_gap` is the difference from the uniform
        distribution in the same dimension; it can be compared between different dimensions.

        Example: cl-analyze uniformity emb.npy --t 2
        """,
    ),
    Command(
        "tolerance",
        """Mean similarity within and between classes.

        Labels come from --labels, or from an array named labels, y or targets in the same file.

        Example: cl-analyze tolerance emb.npy --labels labels.csv
        """,
    ),
    Command(
        "similarity",
        """Positives and nearest negatives: histograms, thresholds, suspects.

        With views (in the file, or from --pairs), positives are pairs of views; with --relevant,
        the related pairs of queries and items; without, all pairs of rows of one class. Which
        cosine separates positives from negatives (AUROC, equal error rate, rates at --fpr), and
        which negatives are so near that they may be false ones (--suspects). The figures also show
        the uniform distribution on the sphere.

        Example: cl-analyze similarity emb.npz --top-k 10 --fpr 0.001 --suspects
        """,
    ),
    Command(
        "penalty",
        """Relative penalty of each temperature on the negatives.

        Curves against similarity, entropy, effective number of negatives, shares of the nearest
        negatives, share of false negatives (rows of the anchor's class), and temperatures to start
        from. Without EMB, similarities are spread evenly over [-1, 1], as in Fig. 3 of Wang & Liu.

        Example: cl-analyze penalty --tau 0.07 0.2 0.5
        """,
        files=("[EMB]...", "Embeddings, as PATH or PATH::KEY  [default: even similarities]"),
        needs_files=False,
    ),
    Command(
        "losses",
        """Contrastive losses of saved views of the same rows.

        InfoNCE (one-way, symmetric, with a queue), hard and simple contrastive losses, NT-Xent,
        DCL, DHEL, kernel losses, SigLIP, spectral contrastive, VICReg, Barlow Twins and, with
        labels, supervised losses. For each loss: alignment and uniformity terms, limits, gradients
        by similarity and, with --batch-size, the expectation over batches. Of more views, the mean
        over pairs of views; with --relevant, losses of queries over items; of one view with
        labels, the supervised losses that need no other.

        Example: cl-analyze losses view1.npy --pairs view2.npy --tau 0.1 0.5 --batch-size 64 256
        """,
    ),
    Command(
        "quality",
        """Quality of a representation: collapse, accuracy, retrieval.

        Spectrum, a verdict on collapse, hubs and near-duplicates. With labels: kNN accuracy, a
        linear probe, neural collapse, overlapping classes and retrieval by class. With a second
        view or --relevant: retrieval in both directions (recall, nDCG, MRR, MAP), and, between
        views, alignment and the modality gap.

        Example: cl-analyze quality test.npy --labels y.csv --train train.npz --k 1 20
        """,
    ),
    Command(
        "compare",
        """Paired differences between checkpoints on the same rows.

        For every metric of each EMB: the difference from the first EMB (or --against), with an
        interval and an adjusted p-value. Writes compare.html, compare.json, tables and figures.

        Example: cl-analyze compare runs/step-*.npz --x step --cache .cl-analyze-cache
        """,
    ),
    Command(
        "report",
        """All metrics: report.html, results.json, tables, figures.

        One pass over the pairs serves all metrics. Several EMB are shown side by side.

        Example: cl-analyze report runs/tau-*.npz --out out/
        """,
    ),
    Command(
        "check",
        """Checks for CI: rules with bounds, or against a baseline.

        Exit code 1 only if a rule fails; 2 if a rule cannot be judged. If an interval contains the
        bound, the rule is inconclusive and does not fail. Rules: docs/ci.md.

        Example: cl-analyze check emb.npz --rules cl-analyze.toml --baseline base.json
        """,
        "gate:run_gate",
        refuser="gate:refuse",
    ),
    Command(
        "inspect",
        """Contents and problems of files.

        Shape and dtype of every array; norms, invalid rows, duplicates and labels of embeddings;
        problems and their remedies. The exit code is 2 if a file has problems.

        Example: cl-analyze inspect emb.npz
        """,
        "inspect:run_inspection",
        ("FILE...", "Files to inspect"),
    ),
)
