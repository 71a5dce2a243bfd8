"""`cl-analyze tolerance`."""

from __future__ import annotations

from cl_analyze.cli import options
from cl_analyze.cli.options import InvalidChoice, PrecisionChoice


def tolerance(
    embeddings: options.Embeddings,
    labels: options.LabelFiles = None,
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
    """Mean similarity within and between classes.

    Labels come from --labels, or from an array labels, y or targets in the same file.

    Example: cl-analyze tolerance emb.npy --labels labels.csv
    """
    from cl_analyze.cli.run import run_command

    run_command("tolerance", ("tolerance",), locals())
