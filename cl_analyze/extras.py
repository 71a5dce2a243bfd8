"""How to install the libraries that some features need."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path


def pip_install(extra: str) -> str:
    """The command that installs the libraries of an extra.

    It names the libraries and not this package, so that it also works for an installation from a
    clone or a wheel, whose package no index has.  It leaves out those that this Python cannot have:
    with one of them pip installs none.  Where this package is run from a clone that is not
    installed, it names the folder of the clone.

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
    from packaging.requirements import Requirement

    libraries = [
        f"'{one.name}{one.specifier}'"
        for one in map(Requirement, requirements)
        if one.marker is not None
        and one.marker.evaluate({"extra": extra})
        and not one.marker.evaluate({"extra": ""})  # a dependency of every installation
    ]
    return "pip install " + " ".join(libraries)
