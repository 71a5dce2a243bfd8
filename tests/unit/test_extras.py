"""How to install what an extra needs."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cl_analyze.compatible import tomllib
from cl_analyze.extras import pip_install
from tests.conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", ["formats", "faiss", "dask", "training", "sentence"])
def test_the_libraries_are_those_of_the_project_file(extra):
    required = list(map(Requirement, EXTRAS[extra]))
    libraries = [
        f"{one.name}{one.specifier}"
        for one in required
        if one.marker is None or one.marker.evaluate()
    ]
    assert libraries
    assert pip_install(extra) == "pip install " + " ".join(f"'{name}'" for name in libraries)


def test_libraries_for_another_python_and_those_of_all_installations_are_left_out(monkeypatch):
    """pip installs nothing at all where one of the libraries is not to be had for this Python."""
    lines = [
        "numpy>=1.26",
        "tomli>=2.0; python_version >= '3'",
        "h5py>=3.10; extra == 'formats'",
        "zarr>=3.0; (python_version < '3') and extra == 'formats'",
        "pyarrow>=16.0; (python_version >= '3') and extra == 'formats'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    assert pip_install("formats") == "pip install 'h5py>=3.10' 'pyarrow>=16.0'"


def test_without_metadata_the_extra_of_the_clone_is_named(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    command, action, what = shlex.split(pip_install("faiss"))
    assert (command, action) == ("pip", "install")
    folder, _, extra = what.partition("[")
    assert extra == "faiss]"
    assert (Path(folder) / "pyproject.toml").is_file()
