"""Weights & Biases: one entry of a run's history, with tables and images."""

from __future__ import annotations

from typing import Any

from cl_analyze.trackers.contents import Contents


def owns(to: Any) -> bool:
    """Whether an object is a run of wandb."""
    return type(to).__module__.startswith("wandb.") and hasattr(to, "log")


def log(contents: Contents, to: Any, folder: None) -> None:
    """Log to a run; None: to the active run, or to a new run that is finished afterwards."""
    import wandb

    run = wandb.run if to is None else to
    if run is not None:
        _log(contents, run)
        return
    with wandb.init() as new:
        _log(contents, new)


def _log(contents: Contents, run: Any) -> None:
    import wandb

    entry: dict[str, Any] = dict(contents.named_numbers())
    for name, table in contents.tables.items():
        rows: list[Any] = table.astype(object).where(table.notna(), None).values.tolist()
        entry[contents.name("tables", name)] = wandb.Table(
            columns=list(table.columns), data=rows, allow_mixed_types=True
        )
    for name, image in contents.images():
        entry[contents.name("figures", name)] = wandb.Image(image)
    run.log(entry, step=contents.step)
