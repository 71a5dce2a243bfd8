"""Numbers, tables and figures handed to a program that tracks experiments.

    contents.py     what is handed over, under which names
    mlflow.py       MLflow: metrics, and files of a run
    wandb.py        Weights & Biases: one entry of a run's history
    tensorboard.py  TensorBoard: scalars, texts, images of a SummaryWriter
    dvclive.py      DVCLive: metrics, images and tables of a Live

A module has `owns(to)`, which tells the tracker's own objects, and `log(contents, to, folder)`.
Libraries are imported by these functions alone, so that none of them needs to be installed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from cl_analyze.errors import ConfigError, DependencyError
from cl_analyze.quoting import nearest, quoted
from cl_analyze.trackers.contents import Contents

TRACKERS = ("mlflow", "wandb", "tensorboard", "dvclive")


def log(contents: Contents, to: Any, folder: str | Path | None = None) -> None:
    """Hand numbers, tables and figures to a tracker.

    Args:
        contents: what is handed over.
        to: name of a tracker, or its own object.
        folder: folder of the files of TensorBoard or DVCLive, if `to` is one of these names.

    Raises:
        ConfigError: `to` is no tracker, or has no folder.
        DependencyError: the tracker's library is not installed.
    """
    if isinstance(to, str):
        if to not in TRACKERS:
            raise ConfigError(
                f"no tracker {quoted(to)}{nearest(to, TRACKERS)}; there are {', '.join(TRACKERS)}"
            )
        name = to
    else:
        owners = [name for name in TRACKERS if import_module(f"{__name__}.{name}").owns(to)]
        if not owners:
            raise ConfigError(
                f"to must be one of {', '.join(TRACKERS)}, or an MLflow run, a run of wandb, a "
                f"SummaryWriter or a Live; found {type(to).__name__}"
            )
        name = owners[0]
    if folder is not None and (name not in ("tensorboard", "dvclive") or not isinstance(to, str)):
        raise ConfigError(
            'a folder goes with to="tensorboard" or to="dvclive": an object has its own, and '
            "mlflow and wandb have settings for theirs"
        )
    tracker = import_module(f"{__name__}.{name}")
    try:
        tracker.log(contents, None if isinstance(to, str) else to, folder)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name:
            raise
        raise DependencyError(f"{name} is not installed: pip install {name}") from error
    except ImportError as error:  # of one of its own dependencies
        raise DependencyError(
            f"{name} is installed, but cannot be imported: {error}; install a newer one: "
            f"pip install -U {name}"
        ) from error
