"""Shared fixtures: the sample data, and a run of the command line as its users start it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from cl_analyze.options import MetricOptions
from tests.forks import SECONDS, Forks, can_be_forked

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_data"

NIGHTLY = bool(os.environ.get("CL_ANALYZE_NIGHTLY"))
"""Whether campaigns run whole (`python -m tests.nightly`); the suite has about a tenth of each."""


def _not_as_pinned() -> list[str]:
    """NumPy and SciPy where their versions are not those of constraints.txt."""
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    found = {name: version(name) for name in ("numpy", "scipy")}
    return [f"{name} {own}" for name, own in found.items() if own != pinned[name]]


keeps_numbers = pytest.mark.skipif(
    bool(_not_as_pinned()),
    reason=f"numbers are kept for the versions in constraints.txt: {', '.join(_not_as_pinned())}",
)
"""For tests of printed numbers: those of the linear probe change with NumPy and SciPy."""

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=not NIGHTLY,
    max_examples=250 if NIGHTLY else 12,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture
def sample() -> Path:
    return SAMPLES / "fashion-mnist-tau-0.2.npz"


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every sixth row of a sample file: labels, views, and what a report takes little time for."""
    path = tmp_path_factory.mktemp("few") / "few.npz"
    with np.load(SAMPLES / "fashion-mnist-tau-0.2.npz") as arrays:
        np.savez(path, **{name: arrays[name][::6] for name in arrays.files})
    return path


class CommandLine:
    """Runs `python -m cl_analyze` in a folder, or a fork that does the same."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks

    def __call__(
        self, *arguments: object, stdin: bytes | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        texts = list(map(str, arguments))
        variables = {**os.environ, "COLUMNS": "80", **environment}
        if can_be_forked(environment):
            result = self.forks.run(texts, self.folder, stdin, variables)
        else:
            result = subprocess.run(
                [sys.executable, "-m", "cl_analyze", *texts],
                capture_output=True,
                cwd=self.folder,
                input=stdin,
                timeout=SECONDS,
                env=variables,
            )
        return subprocess.CompletedProcess(
            result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
        )

    def fails(self, *arguments: object, stdin: bytes | None = None) -> str:
        """The message of a run that must end with exit code 2, without traceback or files."""
        before = set(self.folder.rglob("*"))
        result = self(*arguments, stdin=stdin)
        assert result.returncode == 2, result
        assert result.stdout == "", "a failed run prints nothing on stdout"
        assert "Traceback" not in result.stderr
        assert "internal error" not in result.stderr, result.stderr
        assert set(self.folder.rglob("*")) == before, "a failed run leaves no file"
        return result.stderr


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    started = Forks()
    yield started
    started.stop()


@pytest.fixture
def cli(tmp_path: Path, forks: Forks) -> CommandLine:
    return CommandLine(tmp_path, forks)


def with_fewer_rows(monkeypatch, **values):
    """Other values of the attributes of `MetricOptions` that are no options, in every run.

    Setting the class's attributes would change nothing: the constructor has its own defaults.
    """
    original = MetricOptions.__post_init__

    def changed(self):
        original(self)
        for name, value in values.items():
            assert hasattr(self, name)
            object.__setattr__(self, name, value)

    monkeypatch.setattr(MetricOptions, "__post_init__", changed)
