"""MLflow: numbers are metrics of a run, tables and figures are its files."""

from __future__ import annotations

import io
import time
from typing import Any

from cl_analyze.trackers.contents import Contents

_MOST = 1000
"""Metrics that MLflow takes in one request."""


def owns(to: Any) -> bool:
    """Whether an object is a run of MLflow."""
    return type(to).__module__.startswith("mlflow.") and hasattr(to, "info")


def log(contents: Contents, to: Any, folder: None) -> None:
    """Log to a run; None: to the active run, or to a new run that ends afterwards.

    Files are `tables/NAME.csv` and `figures/NAME.png`, at a step below `step-000100`.
    """
    import mlflow

    if to is not None:
        _log(contents, to.info.run_id)
        return
    active = mlflow.active_run()
    if active is not None:
        _log(contents, active.info.run_id)
        return
    with mlflow.start_run() as run:
        _log(contents, run.info.run_id)


def _log(contents: Contents, run_id: str) -> None:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    now, step = int(time.time() * 1000), contents.step or 0
    metrics = [Metric(name, value, now, step) for name, value in contents.named_numbers().items()]
    for first in range(0, len(metrics), _MOST):
        client.log_batch(run_id, metrics[first : first + _MOST])
    place = [] if contents.step is None else [f"step-{contents.step:06d}"]
    for name, table in contents.tables.items():
        text = io.StringIO()
        table.to_csv(text, index=False)
        client.log_text(run_id, text.getvalue(), contents.name(*place, "tables", f"{name}.csv"))
    for name, image in contents.images():
        client.log_image(run_id, image, contents.name(*place, "figures", f"{name}.png"))
