"""Two sides of a comparison, each in a process of its own, in one run."""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping


def compare(
    script: str, description: str, sides: Mapping[str, Callable[..., float]], **defaults: int
) -> None:
    """Print seconds and peak memory of both sides, and the first's over the second's.

    Args:
        script: the file that calls this, started again for each side.
        description: of the script.
        sides: two functions that take the options and return seconds, ours first.
        defaults: whole-number options of the script.
    """
    parser = argparse.ArgumentParser(description=description)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--side", choices=list(sides), help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    side = options.pop("side")
    if side:
        print(sides[side](**options), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    found = []
    for name in sides:
        command = [sys.executable, script, *given, "--side", name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append([float(text) for text in out.split()])
        print(f"{name:12} {found[-1][0]:8.1f} s {found[-1][1]:8.0f} MiB")
    time_ratio, memory_ratio = (a / b for a, b in zip(*found, strict=True))
    print(f"{'ratio':12} {time_ratio:8.3f}   {memory_ratio:8.3f}")
