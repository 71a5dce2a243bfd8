"""DVCLive: metrics with their history, images, and tables as CSV files of the folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from cl_analyze.output import write_files
from cl_analyze.trackers.contents import Contents


def owns(to: Any) -> bool:
    """Whether an object is a Live of DVCLive."""
    return all(hasattr(to, name) for name in ("log_metric", "log_image", "make_summary", "dir"))


def log(contents: Contents, to: Any, folder: str | Path | None) -> None:
    """Log to a Live; None: to a new one of the folder (`dvclive`), which continues earlier steps.

    The new Live makes no experiment of DVC and no dvc.yaml, and ends afterwards.  A table is
    FOLDER/tables/NAME.csv, of the last step.
    """
    if to is not None:
        _log(contents, to)
        return
    from dvclive import Live

    place = str("dvclive" if folder is None else folder)
    with Live(place, resume=True, save_dvc_exp=False, dvcyaml=None) as live:
        _log(contents, live)


def _log(contents: Contents, live: Any) -> None:
    if contents.step is not None:
        live.step = contents.step
    for name, value in contents.named_numbers().items():
        live.log_metric(name, value)
    for name, image in contents.images():
        live.log_image(contents.name("figures", f"{name}.png"), image)
    files = {}
    for name, table in contents.tables.items():
        text = io.StringIO()
        table.to_csv(text, index=False)
        files[contents.name("tables", f"{name}.csv")] = text.getvalue().encode()
    if files:
        write_files(Path(live.dir), contents.prefix or "log", files)
    live.make_summary()
