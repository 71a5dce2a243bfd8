"""`cl-analyze quality`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, PrecisionChoice, ProjectionChoice


def quality(
    embeddings: options.Embeddings,
    labels: options.LabelFiles = None,
    pairs: options.PairFiles = None,
    train: options.TrainFiles = None,
    train_labels: options.TrainLabels = None,
    k: options.Ks = None,
    alignment_power: options.AlignmentPower = 2.0,
    projection: options.ProjectionOption = ProjectionChoice.pca,
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
    """Is a representation collapsed, is it useful, where does it fail.

    Spectrum and a verdict on collapse, hubs, near-duplicates; with labels kNN accuracy, a linear
    probe, neural collapse and the classes that overlap; with a second view alignment, retrieval in
    both directions and the modality gap.

    Example: cl-analyze quality test.npy --labels y.csv --train train.npz --k 1 20
    """
    from cl_analyze.cli.run import run_command

    run_command("quality", ("quality",), locals())
