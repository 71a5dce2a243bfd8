"""`cl-analyze penalty`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, NegativesChoice, PrecisionChoice


def penalty(
    embeddings: options.OptionalEmbeddings = None,
    labels: options.LabelFiles = None,
    tau: options.Taus = None,
    negatives: options.NegativesOption = NegativesChoice.instance,
    n_negatives: options.NNegatives = 4095,
    hard_alpha: options.CurveAlpha = None,
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
    """Relative penalty of each temperature on the negatives.

    Curves against similarity, entropy, effective number of negatives, shares of the nearest ones,
    and the share that falls on rows of the anchor's own class (false negatives). Without EMB: the
    setting of Wang & Liu's Fig. 3, similarities spread evenly over [-1, 1].

    Example: cl-analyze penalty --tau 0.07 0.2 0.5
    """
    from cl_analyze.cli.run import run_command

    run_command("penalty", ("penalty",), locals())
