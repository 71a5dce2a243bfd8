"""A process of its own for a library that a damaged file can crash, with limits of memory and time.

It runs a script of ours, which tells something as one line of JSON, and may send arrays behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_SECONDS, _BYTES_A_SECOND = 60, 1_000_000
"""Time that it may take: so many seconds, and one for each megabyte."""
_ROOM, _SIZES = 4 << 30, 8
"""Its address space: so many bytes, and so many sizes of the file and the values."""
_LONGEST_LINE = 1 << 28
NOT_FROM_HERE = """
import sys
sys.path[:1] = filter(None, sys.path[:1])
"""
"""Begins a script: none of its modules comes from the current folder."""
_START = f"""
{NOT_FROM_HERE}
import json, resource, signal
path, seconds, room = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
signal.alarm(seconds)
try:
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
except (ValueError, OSError):
    pass

def tell(**fields):
    sys.stdout.buffer.write(json.dumps(fields).encode() + b"\\n")
    sys.stdout.buffer.flush()
"""
"""Scripts find `path`, `tell` and, from `sys.argv[4]` on, their own arguments."""


@dataclass(frozen=True)
class Answer:
    """What the process sends.

    Attributes:
        told: its first line; empty where it ended before, as after a crash.
        stream: what comes behind.
    """

    told: dict[str, Any]
    stream: IO[bytes]

    def fill(self, array: NDArray[Any]) -> bool:
        """Read as many bytes as an array has into it; whether so many came."""
        wanted = memoryview(array.reshape(-1).view(np.uint8).data)
        done = 0
        while done < len(wanted):
            data = self.stream.read(min(1 << 20, len(wanted) - done))
            if not data:
                return False
            wanted[done : done + len(data)] = data
            done += len(data)
        return True


@contextlib.contextmanager
def answer_of(script: str, path: Path, size: int, *arguments: str) -> Iterator[Answer]:
    """Run a script on a file; the process is ended behind the block.

    Args:
        script: Python, which `_START` precedes.
        path: the file.
        size: bytes of the file and of the values together, by which time and memory are limited.
        arguments: what `sys.argv[4:]` is in the script.
    """
    limits = (str(_SECONDS + size // _BYTES_A_SECOND), str(_ROOM + _SIZES * size))
    command = [sys.executable, "-c", _START + script, str(path), *limits, *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=one_thread
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline(_LONGEST_LINE)
            told = dict(json.loads(line)) if line.endswith(b"\n") else {}
            yield Answer(told, process.stdout)
        finally:
            process.kill()
