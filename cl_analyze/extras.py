"""How to install the libraries that some features need."""

from __future__ import annotations

import re
from importlib import metadata


def pip_install(extra: str) -> str:
    """The command that installs the libraries of an extra.

    It names the libraries and not this package, so that it also works for an installation from a
    clone or a wheel, whose package no index has.

    Args:
        extra: name of an extra in pyproject.toml.

    >>> pip_install("faiss")
    "pip install 'faiss-cpu>=1.8'"
    """
    try:
        requirements = metadata.requires("cl-analyze") or []
    except metadata.PackageNotFoundError:  # run from its sources
        requirements = []
    of_extra = re.compile(rf"""\bextra == ['"]{extra}['"]""")
    libraries = [line.partition(";")[0].strip() for line in requirements if of_extra.search(line)]
    return "pip install " + " ".join(f"'{name}'" for name in libraries or [f"cl-analyze[{extra}]"])
