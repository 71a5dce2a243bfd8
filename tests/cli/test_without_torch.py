"""Computing on the CPU needs no torch: every command, where importing torch fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from operator import attrgetter

import numpy as np
import pytest
from packaging.requirements import Requirement

from cl_analyze.compatible import tomllib
from cl_analyze.extras import pip_install
from tests.forks import ROOT, SECONDS

PROGRAM = """
import sys
sys.modules["torch"] = None  # importing it raises ModuleNotFoundError
from cl_analyze.cli.entry import main
main(sys.argv[1:])
"""
COMMANDS = (
    ["uniformity", "a.npy"],
    ["tolerance", "a.npz"],
    ["similarity", "a.npz", "--pairs", "b.npy"],
    ["penalty", "a.npy", "--tau", "0.2"],
    ["losses", "a.npz", "--pairs", "b.npy"],
    ["quality", "a.npz"],
    ["compare", "a.npz", "b.npy"],
    ["report", "a.npz", "--out", "out"],
    ["check", "a.npz", "--rules", "rules.toml"],
    ["inspect", "a.npz"],
)


def without_torch(folder, program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda words: words[0])
def test_every_command_runs(tmp_path, random, arguments):
    rows = random.standard_normal((60, 5))
    np.save(tmp_path / "a.npy", rows)
    np.save(tmp_path / "b.npy", rows + 0.1 * random.standard_normal((60, 5)))
    np.savez(tmp_path / "a.npz", embeddings=rows, labels=np.arange(60) % 3)
    (tmp_path / "rules.toml").write_text('[[rule]]\nmetric = "uniformity"\nmax = 0\n')
    result = without_torch(tmp_path, PROGRAM, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", ["uniformity", "inspect"])
def test_files_of_torch_name_the_command_that_installs_it(tmp_path, random, command):
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(random.standard_normal((60, 5))), tmp_path / "x.pt")
    result = without_torch(tmp_path, PROGRAM, command, "x.pt")
    assert result.stderr == "Error: x.pt: reading this format needs torch: pip install torch\n"
    assert result.returncode == 2


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_devices_name_the_command_that_installs_torch(tmp_path, random, device):
    np.save(tmp_path / "a.npy", random.standard_normal((60, 5)))
    result = without_torch(tmp_path, PROGRAM, "uniformity", "a.npy", "--device", device)
    assert result.stderr.endswith(
        f"Error: --device {device} needs torch, which is not installed: pip install torch\n"
    )
    assert result.returncode == 2


def test_the_recipe_without_torch_lists_all_other_packages():
    page = (ROOT / "docs" / "getting-started.md").read_text()
    (program,) = re.findall(r'^python -c "(.*)" > without-torch.txt$', page, re.M)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [Requirement(line) for line in project["dependencies"]]
    listed = [Requirement(line) for line in result.stdout.splitlines()]
    key = attrgetter("name")
    assert sorted(listed, key=key) == sorted(
        (one for one in declared if one.name != "torch"), key=key
    )


def test_python_and_what_needs_torch(tmp_path):
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, cl_analyze as cla, cl_analyze.losses, cl_analyze.training\n"
        "rows = np.random.default_rng(0).standard_normal((60, 5))\n"
        "assert cla.analyze(rows, np.arange(60) % 3).records.find('uniformity').value < 0\n"
        "for use in (lambda: cla.losses.DHEL, lambda: cla.training.Uniformity):\n"
        "    try: use()\n"
        "    except cla.DependencyError as error: print(error)\n"
    )
    result = without_torch(tmp_path, program)
    assert result.stdout == (
        "cl_analyze.losses.DHEL needs torch: pip install torch\n"
        f"cl_analyze.training.Uniformity needs torch: {pip_install('training')}\n"
    ), result.stderr
