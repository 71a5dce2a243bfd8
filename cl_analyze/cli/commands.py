"""Every command: its name, what it measures, and the text of its help.

Which options a command has is declared with the options (`cl_analyze.options`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Runner = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: its name.
        about: the text of its help; the first line stands in the list of commands.
        runner: MODULE:FUNCTION in `cl_analyze.cli` that runs it, imported when it is needed.
        files: how the help calls the files, and what they are.
        needs_files: whether at least one file must be named.
    """

    name: str
    about: str
    runner: str = "run:run_command"
    files: tuple[str, str] = ("EMB...", "Embeddings: PATH or PATH::KEY; - reads .npy from stdin")
    needs_files: bool = True

    def run(self, given: Mapping[str, Any]) -> None:
        """Run with the command's parameters by name.

        Raises:
            AnalysisError: options or inputs that cannot be used.
        """
        module, _, function = self.runner.partition(":")
        runner: Runner = getattr(import_module(f"cl_analyze.cli.{module}"), function)
        runner(self.name, given)


COMMANDS = (
    Command(
        "uniformity",
        """Uniformity, beside the uniform sphere's value.

        Log of the mean Gaussian potential exp(-t |x - y|^2) over all pairs i != j, in nats.

        More negative is more uniform. `uniformity_gap` is the distance to the uniform law in the
        same dimension, comparable between embeddings of different dimensions.

        Example: cl-analyze uniformity emb.npy --t 2
        """,
    ),
    Command(
        "tolerance",
        """Mean similarity within and between classes.

        Labels come from --labels, or from an array labels, y or targets in the same file.

        Example: cl-analyze tolerance emb.npy --labels labels.csv
        """,
    ),
    Command(
        "similarity",
        """Positives and nearest negatives: histograms, means, quantiles.

        Positives are pairs of views where there are views (in the file, or by --pairs), else every
        pair of rows of one class. The uniform sphere's values stand beside them in the figures.

        Example: cl-analyze similarity emb.npz --top-k 10
        """,
    ),
    Command(
        "penalty",
        """Relative penalty of each temperature on the negatives.

        Curves against similarity, entropy, effective number of negatives, shares of the nearest
        ones, and the share that falls on rows of the anchor's own class (false negatives). Without
        EMB: the setting of Wang & Liu's Fig. 3, similarities spread evenly over [-1, 1].

        Example: cl-analyze penalty --tau 0.07 0.2 0.5
        """,
        files=("[EMB]...", "Embeddings, as PATH or PATH::KEY  [default: none, even similarities]"),
        needs_files=False,
    ),
    Command(
        "losses",
        """What every contrastive loss says about two saved views of the same rows.

        InfoNCE one way, symmetric and with a queue, hard and simple contrastive, NT-Xent, DCL,
        DHEL, kernel losses and, with labels, supervised ones: each split into alignment and
        uniformity, with its limits, its gradients by similarity and, with --batch-size, its
        expectation over batches.

        Example: cl-analyze losses view1.npy --pairs view2.npy --tau 0.1 0.5 --batch-size 64 256
        """,
    ),
    Command(
        "quality",
        """Is a representation collapsed, is it useful, where does it fail.

        Spectrum and a verdict on collapse, hubs, near-duplicates; with labels kNN accuracy, a
        linear probe, neural collapse and the classes that overlap; with a second view alignment,
        retrieval in both directions and the modality gap.

        Example: cl-analyze quality test.npy --labels y.csv --train train.npz --k 1 20
        """,
    ),
    Command(
        "compare",
        """Checkpoints side by side: paired differences, the trade-off plane, how the space moved.

        Every metric of each EMB, its difference from the first (or --against) with an interval, and
        which of these are real. Writes compare.html, compare.json, tables and figures.

        Example: cl-analyze compare runs/step-*.npz --x step --cache .cl-analyze-cache
        """,
    ),
    Command(
        "report",
        """Everything at once: report.html, results.json, tables, figures.

        One pass over the pairs feeds every metric; several EMB stand side by side.

        Example: cl-analyze report runs/tau-*.npz --out out/
        """,
    ),
    Command(
        "check",
        """Gates for CI: rules on the numbers, against bounds or against a baseline.

        Exit code 1 where a rule fails, and only then; 2 where it cannot be judged. An interval
        across a bound is inconclusive and does not fail. Rules: docs/ci.md.

        Example: cl-analyze check emb.npz --rules cl-analyze.toml --baseline base.json
        """,
        "gate:run_gate",
    ),
    Command(
        "inspect",
        """What is in a file, and what is wrong with it.

        Every array with its shape and dtype; for embeddings norms, invalid rows, duplicates and
        labels; problems with their fix. A file with problems is exit code 2.

        Example: cl-analyze inspect emb.npz
        """,
        "inspect:run_inspection",
        ("FILE...", "Files to look into"),
    ),
)
