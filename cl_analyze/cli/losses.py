"""`cl-analyze losses`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, PrecisionChoice


def losses(
    embeddings: options.Embeddings,
    pairs: options.PairFiles = None,
    labels: options.LabelFiles = None,
    tau: options.Taus = None,
    hard_alpha: options.HardAlpha = 0.1,
    simple_lambda: options.SimpleLambda = None,
    kcl_t: options.KclT = 2.0,
    kcl_gamma: options.KclGamma = 16.0,
    batch_size: options.BatchSizes = None,
    queue: options.QueueFile = None,
    clop_anchors: options.ClopAnchors = None,
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
    """What every contrastive loss says about two saved views of the same rows.

    InfoNCE one way, symmetric and with a queue, hard and simple contrastive, NT-Xent, DCL, DHEL,
    kernel losses and, with labels, supervised ones: each split into alignment and uniformity, with
    its limits, its gradients by similarity and, with --batch-size, its expectation over batches.

    Example: cl-analyze losses view1.npy --pairs view2.npy --tau 0.1 0.5 --batch-size 64 256
    """
    from cl_analyze.cli.run import run_command

    run_command("losses", ("losses",), locals())
