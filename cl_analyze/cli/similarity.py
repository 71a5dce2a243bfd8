"""`cl-analyze similarity`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, NegativesChoice, PrecisionChoice


def similarity(
    embeddings: options.Embeddings,
    labels: options.LabelFiles = None,
    pairs: options.PairFiles = None,
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
    """Positives and nearest negatives: histograms, means, quantiles.

    Positives are pairs of views where there are views (in the file, or by --pairs), else every pair
    of rows of one class. The uniform sphere's values stand beside them in the figures.

    Example: cl-analyze similarity emb.npz --top-k 10
    """
    from cl_analyze.cli.run import run_command

    run_command("similarity", ("similarity",), locals())
