"""`cl-analyze compare`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, NegativesChoice, PrecisionChoice


def compare(
    embeddings: options.Embeddings,
    labels: options.LabelFiles = None,
    pairs: options.PairFiles = None,
    against: options.Against = None,
    x: options.Axis = None,
    cache: options.CacheFolder = None,
    metrics: options.MetricNames = None,
    ids: options.IdFiles = None,
    tau: options.Taus = None,
    t: options.Ts = None,
    train: options.TrainFiles = None,
    train_labels: options.TrainLabels = None,
    k: options.Ks = None,
    top_k: options.TopK = 10,
    negatives: options.NegativesOption = NegativesChoice.instance,
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
    """Checkpoints side by side: paired differences, the trade-off plane, how the space moved.

    Every metric of each EMB, its difference from the first (or --against) with an interval, and
    which of these are real. Writes compare.html, compare.json, tables and figures.

    Example: cl-analyze compare runs/step-*.npz --x step --cache .cl-analyze-cache
    """
    from cl_analyze.cli.run import run_command

    run_command("compare", "all", locals())
