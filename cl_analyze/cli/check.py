"""`cl-analyze check`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, PrecisionChoice


def check(
    embeddings: options.Embeddings,
    rules: options.RulesFile = None,
    baseline: options.BaselineFile = None,
    save_baseline: options.SaveBaseline = None,
    junit: options.JUnitFile = None,
    markdown: options.MarkdownFile = None,
    labels: options.LabelFiles = None,
    pairs: options.PairFiles = None,
    ids: options.IdFiles = None,
    train: options.TrainFiles = None,
    train_labels: options.TrainLabels = None,
    queue: options.QueueFile = None,
    groups: options.GroupFile = None,
    unlabelled: options.Unlabelled = None,
    as_json: options.AsJson = False,
    device: options.DeviceOption = "cpu",
    precision: options.PrecisionOption = PrecisionChoice.auto,
    threads: options.Threads = None,
    memory: options.Memory = None,
    anchors: options.AnchorsOption = None,
    seed: options.Seed = 0,
    scheduler: options.SchedulerOption = None,
    resume: options.ResumeOption = None,
    on_invalid: options.OnInvalidOption = InvalidChoice.error,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Gates for CI: rules on the numbers, against bounds or against a baseline.

    Exit code 1 where a rule fails, and only then; 2 where it cannot be judged. An interval across a
    bound is inconclusive and does not fail. Rules: docs/ci.md.

    Example: cl-analyze check emb.npz --rules cl-analyze.toml --baseline base.json
    """
    from cl_analyze.cli.gate import run_gate

    run_gate(locals())
