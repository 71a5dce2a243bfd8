"""How to install what an extra needs."""

from __future__ import annotations

import shlex
from importlib import metadata
from pathlib import Path

import pytest

from cl_analyze.compatible import tomllib
from cl_analyze.extras import pip_install
from tests.conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", ["formats", "faiss", "dask", "training", "sentence"])
def test_the_libraries_are_those_of_the_project_file(extra):
    libraries = [line.partition(";")[0] for line in EXTRAS[extra]]
    assert libraries
    assert pip_install(extra) == "pip install " + " ".join(f"'{name}'" for name in libraries)


def test_without_metadata_the_extra_of_the_clone_is_named(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    command, action, what = shlex.split(pip_install("faiss"))
    assert (command, action) == ("pip", "install")
    folder, _, extra = what.partition("[")
    assert extra == "faiss]"
    assert (Path(folder) / "pyproject.toml").is_file()
