"""A run under a memory limit, in a process of its own that another one watches.

Where memory may run out (ulimit -v), BLAS and other libraries end the process by themselves, with
exit code 1 or a crash, or wait for ever.  Exit code 1 says that a check failed, and nothing else
may: so the process that computes is watched by one that does not.
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
"""Seconds that a run has to end by itself after a signal."""
WATCHED = 10.0
"""Seconds between two looks at what a run does."""
_LATER: dict[int, float] = {signal.SIGTERM: 0.0, signal.SIGINT: 0.5}
"""Seconds after which a signal is passed on."""


def supervised(run: Callable[[], int]) -> int:
    """The exit code of `run`, made in a child process; one that it did not choose is 2.

    Args:
        run: returns the exit code.
    """
    said, says = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(said)
        _compute(run, says)
    os.close(says)
    status = _wait(child)
    with os.fdopen(said, "rb") as stream:
        chosen = stream.read(1)
    if chosen:
        return chosen[0]
    how = f"with exit code {os.WEXITSTATUS(status)}"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGINT, signal.SIGTERM):
            return 128 + number
        how = f"by {signal.Signals(number).name}"
    complain(f"Error: {error_text(MemoryError(f'a library ended the run {how}'))}")
    return COULD_NOT_JUDGE


def _compute(run: Callable[[], int], says: int) -> None:
    """Run, say the exit code, and end."""
    # its threads would wait for each other for ever where one finds no memory
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    code = run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = COULD_NOT_JUDGE if code != CHECK_FAILED else code
    os.write(says, bytes([code]))
    os._exit(code)


def _wait(child: int) -> int:
    """The child's status; signals are passed on, and one that does not end it is followed by more.

    Ctrl-C at a terminal reaches both processes by itself: it is passed on a little later, where the
    child goes on.
    """
    arrived: list[tuple[int, float]] = []
    passed_on = False

    def remember(number: int, frame: object) -> None:
        arrived.append((number, time.monotonic()))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, remember)
    before, since = _seconds_of(child), time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.02)
        now = time.monotonic()
        if arrived and not passed_on and now - arrived[0][1] > _LATER[arrived[0][0]]:
            passed_on = True
            _send(child, arrived[0][0])
        if arrived and now - arrived[0][1] > PATIENCE:
            # it does not answer: what it was asked to end with is how it ends
            _send(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return arrived[0][0]
        if now - since > WATCHED:
            used = _seconds_of(child)
            in_vain = _asks_in_vain(used[0] - before[0], used[1] - before[1], now - since)
            if in_vain and _is_at_its_limit(child):
                _send(child, signal.SIGKILL)
                return os.waitpid(child, 0)[1]
            before, since = used, now


def _asks_in_vain(own: float, system: float, elapsed: float) -> bool:
    """Whether a process asks the system for memory again and again, and does nothing else.

    A run that waits for a disk or a network takes no processor time, one that computes takes its
    own.

    Args:
        own, system: seconds of processor time in the process and in the system.
        elapsed: seconds.

    >>> _asks_in_vain(0.5, 9.0, 10.0), _asks_in_vain(9.0, 0.5, 10.0), _asks_in_vain(0.0, 0.0, 10.0)
    (True, False, False)
    """
    return system > 0.5 * elapsed and own < 0.25 * elapsed


def _seconds_of(child: int) -> tuple[float, float]:
    """Processor time of a process, its own and in the system; none where it cannot be told."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        return int(fields[11]) / ticks, int(fields[12]) / ticks
    return 0.0, 0.0


def _is_at_its_limit(child: int) -> bool:
    """Whether a process has taken most of the memory that it may."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{child}/statm").read_text(encoding="ascii").split()[0])
        return pages * resource.getpagesize() > 0.75 * limit
    return False


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)
