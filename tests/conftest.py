"""Shared fixtures: the sample data, and a run of the command line as its users start it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_data"

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    max_examples=25,
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
    """Runs `python -m cl_analyze` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *arguments: object, stdin: bytes | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "cl_analyze", *map(str, arguments)],
            capture_output=True,
            cwd=self.folder,
            input=stdin,
            timeout=120,
            env={**os.environ, "COLUMNS": "80", **environment},
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


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)
