"""A run under a memory limit, in a child process that the parent process watches.

Under a memory limit (ulimit -v), BLAS and other libraries can end the process with exit code 1,
crash, or hang.  Exit code 1 must only mean that a check failed.  Therefore the child process
computes, and the parent process watches it and returns the exit code.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cl_analyze.cli.entry import CHECK_FAILED, COULD_NOT_JUDGE, complain
from cl_analyze.errors import error_text

PATIENCE = 5.0
"""Seconds between a signal and the kill of a run that has not ended."""
WATCHED = 10.0
"""Seconds between two checks of the processor time of a run."""
_LATER: dict[int, float] = {signal.SIGTERM: 0.0, signal.SIGINT: 0.5}
"""Seconds after which a signal is passed on to the child process."""


def supervised(run: Callable[[], int]) -> int:
    """The exit code of `run`, called in a child process; 2 if a library ended the process.

    Args:
        run: function that returns the exit code.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _compute(run, write_end)
    os.close(write_end)
    status = _wait(child)
    with os.fdopen(read_end, "rb") as stream:
        exit_code = stream.read(1)
    if exit_code:
        return exit_code[0]
    cause = f"with exit code {os.WEXITSTATUS(status)}"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGINT, signal.SIGTERM):
            return 128 + number
        cause = f"by {signal.Signals(number).name}"
    complain(f"Error: {error_text(MemoryError(f'a library ended the run {cause}'))}")
    return COULD_NOT_JUDGE


def _compute(run: Callable[[], int], write_end: int) -> None:
    """Call `run`, write the exit code to the pipe, and exit.

    BLAS gets one thread: several threads deadlock when one of them finds no memory.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    code = run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = COULD_NOT_JUDGE if code != CHECK_FAILED else code
    os.write(write_end, bytes([code]))
    os._exit(code)


def _wait(child: int) -> int:
    """Wait for the child and return its status; pass signals on, and kill a child that hangs.

    Ctrl-C at a terminal reaches both processes.  Therefore SIGINT is passed on only if the child
    still runs after half a second.
    """
    received: list[tuple[int, float]] = []
    passed_on = False

    def remember(number: int, frame: object) -> None:
        received.append((number, time.monotonic()))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, remember)
    times_before, checked_at = _seconds_of(child), time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.02)
        now = time.monotonic()
        if received and not passed_on and now - received[0][1] > _LATER[received[0][0]]:
            passed_on = True
            _send(child, received[0][0])
        if received and now - received[0][1] > PATIENCE:
            # the child does not react: kill it, and return the signal as its status
            _send(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return received[0][0]
        if now - checked_at > WATCHED:
            times_now = _seconds_of(child)
            in_vain = _asks_in_vain(
                times_now[0] - times_before[0], times_now[1] - times_before[1], now - checked_at
            )
            if in_vain and _is_at_its_limit(child):
                _send(child, signal.SIGKILL)
                return os.waitpid(child, 0)[1]
            times_before, checked_at = times_now, now


def _asks_in_vain(user: float, system: float, elapsed: float) -> bool:
    """Whether a process only repeats failing requests for memory.

    Such a process uses mostly system time.  A run that waits for a disk or a network uses no
    processor time, and a run that computes uses mostly user time.

    Args:
        user: seconds of processor time in user mode.
        system: seconds of processor time in the system.
        elapsed: seconds of wall-clock time.

    >>> _asks_in_vain(0.5, 9.0, 10.0), _asks_in_vain(9.0, 0.5, 10.0), _asks_in_vain(0.0, 0.0, 10.0)
    (True, False, False)
    """
    return system > 0.5 * elapsed and user < 0.25 * elapsed


def _seconds_of(child: int) -> tuple[float, float]:
    """User and system time of a process in seconds; zeros if they cannot be read."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return int(fields[11]) / ticks, int(fields[12]) / ticks
    return 0.0, 0.0


def _is_at_its_limit(child: int) -> bool:
    """Whether a process uses more than 75% of its memory limit."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{child}/statm").read_text(encoding="ascii").split()[0])
        return pages * resource.getpagesize() > 0.75 * limit
    return False


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
