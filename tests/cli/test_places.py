"""Places that cannot be read or written: exit code 2; what was there is whole, nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cl_analyze.options import RunOptions
from tests.forks import ROOT, SECONDS

RULES = '[[rule]]\nmetric = "uniformity"\nmax = 0\n'


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def emb(tmp_path, random):
    np.save(tmp_path / "emb.npy", random.standard_normal((60, 5)).astype(np.float32))
    (tmp_path / "rules.toml").write_text(RULES)
    return "emb.npy"


# ---- permissions


def without_rights(folder, *arguments):
    """A run that permissions hold for, also where the tests are run by root."""
    command = [sys.executable, "-m", "cl_analyze", *arguments]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("run by root, and there is no setpriv to give its rights away")
        caps = "-dac_override,-dac_read_search,-fowner"
        command = ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}", *command]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, env=environment
    )


UNREADABLE = (
    ["uniformity", "emb.npy"],
    ["uniformity", "emb.npz"],
    ["tolerance", "fine.npy", "--labels", "labels.txt"],
    ["uniformity", "locked/emb.npy"],
    ["uniformity", "locked"],
    ["uniformity", "locked/*.npy"],
    ["check", "fine.npy", "--rules", "secret.toml"],
)


def test_unreadable_files(tmp_path, random):
    rows = random.standard_normal((60, 5))
    np.save(tmp_path / "fine.npy", rows)
    np.save(tmp_path / "emb.npy", rows)
    np.savez(tmp_path / "emb.npz", rows)
    (tmp_path / "labels.txt").write_text("1\n" * 60)
    (tmp_path / "secret.toml").write_text(RULES)
    (tmp_path / "locked").mkdir()
    for name in ("emb.npy", "emb.npz", "labels.txt", "secret.toml", "locked"):
        (tmp_path / name).chmod(0)
    for arguments in UNREADABLE:
        result = without_rights(tmp_path, *arguments)
        assert result.returncode == 2, result
        assert "Permission denied" in result.stderr
        assert result.stderr.count("Error: ") == 1
        assert "internal error" not in result.stderr
    (tmp_path / "locked").chmod(0o700)


def test_read_only_folders(tmp_path, emb):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    (tmp_path / "out").chmod(0o500)
    for arguments in (
        ["uniformity", emb, "--out", "out"],
        ["uniformity", emb, "--out", "out/deeper"],
        ["check", emb, "--rules", "rules.toml", "--junit", "out/junit.xml"],
        ["compare", emb, emb, "--cache", "out/cache"],
    ):
        if arguments[0] == "compare":
            shutil.copy(tmp_path / emb, tmp_path / "other.npy")
            arguments[2] = "other.npy"
        result = without_rights(tmp_path, *arguments)
        assert result.returncode == 2, result
        assert "Permission denied" in result.stderr
        assert "internal error" not in result.stderr
    assert contents(tmp_path / "out") == {"mine.txt": b"kept"}
    assert not (tmp_path / "cl-analyze-out").exists()
    (tmp_path / "out").chmod(0o700)


# ---- a full disk


@pytest.fixture
def disk(tmp_path):
    """A file system of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk, leaving=0):
    """Take what is free, but for some bytes."""
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(b"\0" * (free - leaving))


WRITES = (
    ["uniformity", "{emb}", "--out", "{disk}/out"],
    ["penalty", "--out", "{disk}/other"],
    ["check", "{emb}", "--rules", "{rules}", "--junit", "{disk}/junit.xml"],
    ["check", "{emb}", "--rules", "{rules}", "--markdown", "{disk}/check.md"],
    ["check", "{emb}", "--rules", "{rules}", "--save-baseline", "{disk}/base.json"],
    [
        "compare",
        "{emb}",
        "{other}",
        "--metrics",
        "uniformity",
        "--cache",
        "{disk}/cache",
        "--no-files",
    ],
)


@pytest.mark.parametrize("arguments", WRITES, ids=lambda words: f"{words[0]} {words[-1][:4]}")
@pytest.mark.parametrize("leaving", [0, 8192])
def test_a_full_disk(cli, emb, disk, random, arguments, leaving):
    place = cli.folder
    np.save(place / "other.npy", random.standard_normal((60, 5)))
    assert cli("uniformity", emb, "--out", disk / "out").returncode == 0
    before = contents(disk)
    fill(disk, leaving)
    values = {"disk": disk, "emb": place / emb, "other": place / "other.npy"}
    values["rules"] = place / "rules.toml"
    result = cli(*(word.format(**values) for word in arguments))
    if leaving and result.returncode == 0:  # what was to be written is small
        return
    assert result.returncode == 2, result
    assert "No space left on device" in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "internal error" not in result.stderr
    (disk / "filler").unlink()
    assert contents(disk) == before, "what was there is there, whole, and nothing else"


def test_a_disk_that_fills_while_a_run_is_saved(cli, disk, random):
    """States are saved to go on from; without room for them the run fails, not its results."""
    assert RunOptions().save_every > 0
    np.save(cli.folder / "emb.npy", random.standard_normal((600, 5)))
    fill(disk)
    result = cli("uniformity", "emb.npy", "--resume", disk / "states", "--no-files")
    assert result.returncode == 2, result
    assert "No space left on device" in result.stderr
    assert "internal error" not in result.stderr
    assert contents(disk).keys() == {"filler"}
