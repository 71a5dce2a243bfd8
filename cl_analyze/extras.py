"""How to install the libraries that some features need."""

from __future__ import annotations

import re
import shlex
from importlib import metadata
from pathlib import Path


def pip_install(extra: str) -> str:
    """The command that installs the libraries of an extra.

    It names the libraries and not this package, so that it also works for an installation from a
    clone or a wheel, whose package no index has.  Where this package is run from a clone that is
    not installed, it names the folder of the clone.

    Args:
        extra: name of an extra in pyproject.toml.

    >>> pip_install("faiss")
    "pip install 'faiss-cpu>=1.8'"
    """
    try:
        requirements = metadata.requires("cl-analyze") or []
    except metadata.PackageNotFoundError:
        clone = Path(__file__).resolve().parents[1]
        return f"pip install {shlex.quote(f'{clone}[{extra}]')}"
    of_extra = re.compile(rf"""\bextra == ['"]{extra}['"]""")
    libraries = [line.partition(";")[0].strip() for line in requirements if of_extra.search(line)]
    return "pip install " + " ".join(f"'{name}'" for name in libraries)
