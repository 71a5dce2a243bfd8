"""Runs of the command line on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

_OF_A_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "CI"}
"""Variables that change what a terminal shows."""


def on_terminal(folder: Path, arguments: Sequence[str], columns: int, **environment: str) -> str:
    """What a command that succeeds writes to a terminal; stderr is dropped.

    Args:
        folder: the working folder.
        arguments: the arguments of the command line.
        columns: the width of the terminal.
        environment: further variables.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    variables = {k: v for k, v in os.environ.items() if k not in _OF_A_TERMINAL}
    with subprocess.Popen(
        [sys.executable, "-m", "cl_analyze", *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={**variables, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    return b"".join(parts).decode().replace("\r\n", "\n")
