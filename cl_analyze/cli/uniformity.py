"""`cl-analyze uniformity`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, PrecisionChoice


def uniformity(
    embeddings: options.Embeddings,
    t: options.Ts = None,
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
    """Uniformity, beside the uniform sphere's value.

    Log of the mean Gaussian potential exp(-t |x - y|^2) over all pairs i != j, in nats.

    More negative is more uniform. `uniformity_gap` is the distance to the uniform law in the same
    dimension, comparable between embeddings of different dimensions.

    Example: cl-analyze uniformity emb.npy --t 2
    """
    from cl_analyze.cli.run import run_command

    run_command("uniformity", ("uniformity",), locals())
