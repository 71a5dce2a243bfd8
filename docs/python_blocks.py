"""Blocks of the documentation that are Python programs.

A block begins with ```` ```python ````.  It runs as a program of its own.  The blocks of a page run
in the order of the page, in one folder, so that one reads the files that another wrote.

A block that imports packages which the tests do not need says so in a comment,
`# needs: timm torchvision`.  It runs alone in a folder, and only where all of them are installed.

Blocks of ```` ```py ```` are parts of programs and do not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NEEDS = re.compile(r"^# needs: (.+)$", re.MULTILINE)


def blocks(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each block of a page, and the packages that it needs."""
    for match in _BLOCK.finditer(text):
        needs = _NEEDS.search(match[1])
        yield match[1], tuple(needs[1].split()) if needs else ()


def run(block: str, folder: Path) -> None:
    """Run a block in a folder, without a network for models that are not on the machine.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{block}\n{done.stderr}")
