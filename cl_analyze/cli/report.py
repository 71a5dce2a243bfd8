"""`cl-analyze report`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, NegativesChoice, PrecisionChoice


def report(
    embeddings: options.Embeddings,
    labels: options.LabelFiles = None,
    pairs: options.PairFiles = None,
    tau: options.Taus = None,
    t: options.Ts = None,
    train: options.TrainFiles = None,
    train_labels: options.TrainLabels = None,
    k: options.Ks = None,
    top_k: options.TopK = 10,
    negatives: options.NegativesOption = NegativesChoice.instance,
    curve_anchors: options.CurveAnchors = "2048",
    definition: options.Definition = None,
    groups: options.GroupFile = None,
    unlabelled: options.Unlabelled = None,
    out: options.Out = "cl-analyze-out",
    no_files: options.NoFiles = False,
    as_json: options.AsJson = False,
    formats: options.FigureFormats = None,
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
    """Everything at once: report.html, results.json, tables, figures.

    One pass over the pairs feeds every metric; several EMB stand side by side.

    Example: cl-analyze report runs/tau-*.npz --out out/
    """
    from cl_analyze.cli.run import run_command

    run_command("report", "all", locals())
