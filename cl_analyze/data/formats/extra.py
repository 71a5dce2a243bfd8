"""Readers of the extra `formats`: libraries that are imported when a file asks for them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from cl_analyze.errors import DependencyError


def imported(module: str, path: Path) -> Any:
    """A library that reads this file.

    Raises:
        DependencyError: it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise DependencyError(
            f"{path}: reading this format needs {library}: pip install 'cl-analyze[formats]'"
        ) from error
