"""TensorBoard: scalars, images, and tables as texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cl_analyze.errors import DependencyError
from cl_analyze.trackers.contents import Contents

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 200
"""Rows of a table that are shown: TensorBoard keeps a text in memory."""


def owns(to: Any) -> bool:
    """Whether an object is a SummaryWriter, of torch or of tensorboardX."""
    return all(hasattr(to, name) for name in ("add_scalar", "add_image", "add_text"))


def log(contents: Contents, to: Any, folder: str | Path | None) -> None:
    """Log to a writer; None: to a new writer of the folder (`runs`), which is closed afterwards.

    Of a table the first 200 rows are written.
    """
    if to is not None:
        _log(contents, to)
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:  # torch's own words, and no name of a module
        raise DependencyError("tensorboard is not installed: pip install tensorboard") from error

    writer = SummaryWriter(str("runs" if folder is None else folder))
    try:
        _log(contents, writer)
    finally:
        writer.close()


def _log(contents: Contents, writer: Any) -> None:
    step = contents.step
    for name, value in contents.named_numbers().items():
        writer.add_scalar(name, value, step)
    for name, table in contents.tables.items():
        writer.add_text(contents.name("tables", name), _markdown(table), step)
    for name, image in contents.images():
        pixels = np.asarray(image)
        writer.add_image(contents.name("figures", name), pixels, step, dataformats="HWC")
    writer.flush()


def _markdown(table: pd.DataFrame) -> str:
    r"""The first rows of a table in Markdown.

    >>> import pandas as pd
    >>> print(_markdown(pd.DataFrame({"a|b": [1, None]})))
    | a\|b |
    |---|
    | 1.0 |
    |  |
    """
    shown = table.head(_MOST_ROWS).astype(object)
    rows = [list(table.columns), *shown.where(shown.notna(), "").values.tolist()]
    lines = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    lines.insert(1, "|---" * len(table.columns) + "|")
    if len(table) > _MOST_ROWS:
        lines.append(f"\nthe first {_MOST_ROWS} of {len(table)} rows")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
