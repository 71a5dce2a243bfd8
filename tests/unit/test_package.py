"""What strangers get: contents of sdist and wheel, metadata, citation, and the files beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import cl_analyze
from cl_analyze.compatible import tomllib
from cl_analyze.pairs.kernels import build
from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
KERNELS = "cl_analyze/pairs/kernels/"


class Packages(NamedTuple):
    """The sdist, the wheel that is built from it, and the wheel without kernels."""

    sdist: Path
    wheel: Path
    pure: Path


def hatchling(folder, target, to, **environment):
    """Build one package of the files in a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "CL_ANALYZE_KERNELS"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(to)],
        cwd=folder,
        env={**kept, **environment},
        check=True,
        capture_output=True,
    )
    (made,) = to.iterdir()
    return made


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("packages")
    sdist = hatchling(ROOT, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    environment = {}
    if name := next(filter(shutil.which, ("cc", "gcc", "clang")), ""):
        quick = folder / "cc"  # optimising takes most of a build
        quick.write_text(f'#!/bin/sh\nexec {name} "$@" -O0\n')
        quick.chmod(0o755)
        environment["CC"] = str(quick)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    wheel = hatchling(unpacked, "wheel", folder / "wheel", **environment)
    pure = hatchling(ROOT, "wheel", folder / "pure", CL_ANALYZE_KERNELS="off")
    return Packages(sdist, wheel, pure)


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names)), "a file twice"
        return {name: archive.read(name) for name in names}


def tracked(*folders):
    """The files of the repository in some folders, but for those that git ignores."""
    from pathspec import GitIgnoreSpec

    ignored = GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {name for path in paths if not ignored.match_file(name := str(path.relative_to(ROOT)))}


def test_the_sdist_is_the_repository(packages):
    with tarfile.open(packages.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = {".ci", ".github", "bench", "cl_analyze", "docs", "sample_data", "tests"}
    alone = {
        *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CITATION.cff"),
        *("pyproject.toml", "hatch_build.py", "constraints.txt", "action.yml", "Dockerfile"),
        *(".dockerignore", ".pre-commit-hooks.yaml", ".gitignore", "PKG-INFO"),
    }
    assert names == tracked(*folders) | alone
    assert packages.sdist.stat().st_size < 20e6


def test_the_wheel_is_the_package_its_licences_and_the_kernels(packages):
    for wheel in (packages.wheel, packages.pure):
        files = contents(wheel)
        info = f"cl_analyze-{cl_analyze.__version__}.dist-info/"
        licences = {"LICENSE", "cl_analyze/report/static/LICENSE.plotly"}
        about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt"}
        about |= {f"licenses/{name}" for name in licences}
        (kernels,) = {KERNELS + build.LIBRARY, KERNELS + build.REASON} & set(files)
        assert set(files) == tracked("cl_analyze") | {kernels} | {info + name for name in about}
        assert "cl_analyze/py.typed" in files
        is_compiled = kernels.endswith(build.LIBRARY)
        assert is_compiled == (not wheel.name.endswith("-py3-none-any.whl"))
        assert re.search(rb"^Tag: py3-none-", files[info + "WHEEL"], re.MULTILINE)
        assert b"cl-analyze = cl_analyze.cli.entry:main" in files[info + "entry_points.txt"]
    assert packages.wheel.stat().st_size < 4e6
    assert contents(packages.pure)[KERNELS + build.REASON] == b"this wheel was built without them\n"


def test_the_sdist_builds_the_wheel_of_the_repository(packages):
    of_sdist, of_tree = contents(packages.wheel), contents(packages.pure)
    for files in (of_sdist, of_tree):
        for name in list(files):
            if name.startswith(KERNELS + "_kernels.") or name.endswith(("/WHEEL", "/RECORD")):
                del files[name]
    assert of_sdist == of_tree


def test_the_metadata_is_complete(packages):
    from packaging.metadata import Metadata

    (text,) = (text for name, text in contents(packages.wheel).items() if "/METADATA" in name)
    metadata = Metadata.from_email(text, validate=True)
    assert str(metadata.version) == cl_analyze.__version__
    assert metadata.license_expression == "MIT"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description
    assert metadata.description.startswith("# cl_analyze\n")
    assert metadata.author == "The cl_analyze developers"
    assert metadata.summary
    assert metadata.keywords
    minors = {name.rpartition(".")[2] for name in metadata.classifiers or () if ":: 3." in name}
    assert min(map(int, minors)) == 10
    assert metadata.requires_python == ">=3.10"
    assert not [name for name in metadata.requires_dist or () if name.url]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == cl_analyze.__version__
    assert citation["license"] == "MIT"
    assert f"## {cl_analyze.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    years = {
        (paper["authors"][0]["family-names"], paper["year"]) for paper in citation["references"]
    }
    assert years == {("Wang", 2021), ("Wang", 2020), ("Koromilas", 2024)}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_have_few_rights_and_fixed_actions(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120, name
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+(\.\d+)*|release/v\d+)", step["uses"])
            if "actions/checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            # expressions reach scripts as variables, never as part of their text
            script = step.get("run", "")
            assert "${{" not in script
            subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    writers = {
        name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job
    }
    assert writers == ({"publish": {"id-token": "write"}} if path.stem == "release" else {})


def test_the_continuous_integration_runs_the_gate_and_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    gate, tests = workflow["jobs"]["gate"], workflow["jobs"]["tests"]
    assert ".ci/run" in [step.get("run") for step in gate["steps"]]
    pythons = {gate["container"]["image"].removeprefix("python:").partition("-")[0]}
    pythons |= set(map(str, tests["strategy"]["matrix"]["python"]))
    classifiers = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    assert pythons == set(classifiers)


def test_the_hook_takes_files_of_every_array_format_and_the_rest_as_arguments():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "cl-analyze check"
    assert hook["require_serial"], "one run for all files, against one baseline"
    assert hook["args"][-1] == "--", "a file's name is never an option"
    for name in ("emb.npz", "out/emb.npy", "emb.safetensors", "emb.parquet"):
        assert re.search(hook["files"], name), name
    for name in ("emb.npz.txt", "base.json", "emb_npz", "labels.csv"):
        assert not re.search(hook["files"], name), name


def test_the_image_runs_the_program_as_an_unprivileged_user_and_copies_files_that_exist():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (entry,) = (line for line in lines if line.startswith("ENTRYPOINT"))
    assert entry == 'ENTRYPOINT ["cl-analyze"]'
    bases = [line for line in lines if line.startswith("FROM")]
    assert len(bases) == 2
    after = lines[lines.index(bases[-1]) :]
    assert [line for line in after if line.startswith("USER")] == ["USER 1000:1000"]
    for line in lines:
        for name in re.findall(r"^COPY (?!--)(.*) \S+$", line):
            for part in name.split():
                assert (ROOT / part).exists(), part


def test_contributing_names_commands_that_are_there():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (setup,) = (
        line for line in (ROOT / "README.md").read_text().splitlines() if line.endswith("-m pytest")
    )
    assert setup in page
    for name in re.findall(r"`(?:\.venv/bin/)?python -m (tests\.\w+)", page):
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name
    for path in re.findall(r"`((?:tests|docs|bench|cl_analyze|\.ci)/[\w./-]+)`", page):
        assert (ROOT / path).exists(), path


def test_the_lines_for_the_first_release_write_the_address_everywhere(tmp_path):
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (lines,) = re.findall(r"^```sh\n(address=.*?)^```$", page, re.M | re.S)
    lines = lines.replace("https://HOST/OWNER/", "https://code.example/me/", 1)
    for name in ("CITATION.cff", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "ci.md", tmp_path / "docs")
    subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=tmp_path, check=True)
    address = "https://code.example/me/cl_analyze"
    citation = yaml.safe_load((tmp_path / "CITATION.cff").read_text())
    assert citation["repository-code"] == address
    gates = (tmp_path / "docs" / "ci.md").read_text()
    assert "OWNER/" not in gates
    assert f'"git+{address}@TAG"' in gates
    assert f"repo: {address}\n" in gates
    assert gates.count("uses: me/cl_analyze@v0") == 3
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert project["project"]["urls"]["Source"] == address
    assert project["project"]["dynamic"] == ["readme", "version"]
    assert "readme" not in project["project"]
    assert "hatch-fancy-pypi-readme" in project["build-system"]["requires"]
    readme = (ROOT / "README.md").read_text()
    for one in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        readme = re.sub(one["pattern"], one["replacement"], readme)
    links = re.findall(r"""\]\(([^)]+)\)|(?:href|src|srcset)="([^"]+)\"""", readme)
    assert len(links) > 20
    for link in map("".join, links):
        of_repository = re.fullmatch(rf"{address}/(?:raw|blob)/main/(.+)", link)
        assert of_repository, link
        assert (ROOT / of_repository[1]).exists(), link


def test_every_promise_of_the_security_page_names_a_test():
    page = (ROOT / "SECURITY.md").read_text()
    section = page.partition("## What is promised\n")[2].partition("\n## ")[0]
    _, *promises = section.split("\n- **")
    assert promises
    for promise in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
        assert named, promise
        assert promise.count("tests/") == len(named), promise
        for path, function in named:
            text = (ROOT / path).read_text()
            assert re.search(rf"^def {function}\(", text, re.M), (path, function)
