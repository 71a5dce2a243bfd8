"""Work in forked copies of this process: for work that holds the interpreter lock, as drawing does.

A fork starts in some milliseconds and has all that the process has: modules, inputs, settings.  It
is safe where no other Python thread runs, whose locks the copy would keep locked for ever.  So work
is forked on Linux, from the only thread of a process that has not used a GPU.  Everywhere else the
calling process does the work itself, and so it does with the item of a copy that was killed.
Results are the same.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from cl_analyze.compatible import add_note

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")
Send = Callable[[Any], None]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def can_fork() -> bool:
    """Whether this process may fork: Linux, no other thread, no GPU used, memory not limited.

    Of the libraries with threads of their own only OpenBLAS stops and starts them around a fork;
    OpenMP's, as torch, scikit-learn and MKL bring them, can wait for ever in a copy.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    from threadpoolctl import threadpool_info

    for library in threadpool_info():
        if library["internal_api"] != "openblas" or library["threading_layer"] == "openmp":
            return False
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def in_processes(
    function: Callable[[Item, Send], Result],
    items: Sequence[Item],
    n_processes: int,
    on_message: Send = lambda message: None,
    fewest: int = 2,
) -> Iterator[Result]:
    """Yield function(item, send) for each item, in order, computed in forks of this process.

    Args:
        function: called with an item, and with a function that sends a message to this process.
            Results, messages and errors must be picklable.
        items: they are not pickled.
        n_processes: number of forks.
        fewest: number of forks below which nothing is forked.
        on_message: called with each message when it arrives.

    Raises:
        Exception: the error of the function for the next item.
    """
    n_processes = min(n_processes, len(items))
    if n_processes < fewest or not can_fork():
        yield from (function(item, on_message) for item in items)
        return
    from multiprocessing.connection import wait

    waiting = list(reversed(range(len(items))))
    outcomes: dict[int, tuple[bool, Any]] = {}
    lost: set[int] = set()
    copies: dict[Any, _Copy] = {}
    try:
        for _ in range(n_processes):
            copy = _Copy(function, items, list(copies))
            copies[copy.connection] = copy
            copy.give(waiting.pop())
        for position in range(len(items)):
            while copies and position not in outcomes and position not in lost:
                for ready in wait(list(copies)):
                    copy = copies[ready]
                    try:
                        kind, content = copy.connection.recv()
                    except (EOFError, OSError):
                        lost.add(copy.position)
                        copies.pop(ready).end()
                        continue
                    if kind == "message":
                        on_message(content)
                        continue
                    outcomes[copy.position] = kind == "result", content
                    if waiting:
                        copy.give(waiting.pop())
            if position not in outcomes:
                yield function(items[position], on_message)
                continue
            is_result, content = outcomes.pop(position)
            if not is_result:
                raise content
            yield content
    finally:
        for copy in copies.values():
            copy.end()


def apart(function: Callable[[Item], Result], item: Item) -> Result:
    """function(item), computed in a fork of this process where it may fork, else here.

    For libraries that would leave OpenMP in this process, which could then fork no more.  A fork
    does it itself: it forks no further.
    """
    if _is_fork:
        return function(item)
    return next(in_processes(lambda own, send: function(own), [item], 1, fewest=1))


_is_fork = False
"""Whether this process is a fork of `in_processes`."""


class _Copy:
    """A forked process that computes one item after the other.

    Attributes:
        connection: the connection to the process.
        position: position of the item that it computes.
    """

    def __init__(
        self,
        function: Callable[[Item, Send], Any],
        items: Sequence[Item],
        connections: Sequence[Connection],
    ) -> None:
        from multiprocessing import Pipe

        self.position = -1
        self.connection, end = Pipe()
        # a signal that arrives before the fork has its own handlers would run those of the caller
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of any other thread, those of OpenBLAS too
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pid = os.fork()
            if self._pid == 0:
                _serve(function, items, end, [self.connection, *connections])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end.close()

    def give(self, position: int) -> None:
        """Send the position of the next item; whoever waits notices if the process has died."""
        self.position = position
        with contextlib.suppress(OSError):
            self.connection.send(position)

    def end(self) -> None:
        """Kill the process."""
        self.connection.close()
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


def _serve(
    function: Callable[[Item, Send], Any],
    items: Sequence[Item],
    connection: Connection,
    of_caller: Sequence[Connection],
) -> NoReturn:
    """Compute the items that the caller asks for, until the caller is gone."""
    global _is_fork
    _is_fork = True
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the calling process as well
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _die_with_parent()
        for other in of_caller:
            other.close()
        # a collection would touch, and so copy, everything that is shared
        gc.freeze()
        gc.disable()

        def send(message: Any) -> None:
            connection.send(("message", message))

        while True:
            position = connection.recv()
            connection.send_bytes(_answer(function, items[position], send))
            gc.collect()  # between items, where there is little to look at
    finally:
        os._exit(0)


def _answer(function: Callable[[Item, Send], Any], item: Item, send: Send) -> bytes:
    """The pickled result or error of the function."""
    try:
        return pickle.dumps(("result", function(item, send)), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - it is raised in the calling process
        return pickle.dumps(("error", portable(error)))


def portable(error: Exception) -> Exception:
    """The error in a form that can be pickled, with its traceback as a note."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, its text is there
        error = RuntimeError(f"{type(error).__name__}: {error}")
    add_note(error, f"in another process:\n{text}")
    return error


def _die_with_parent() -> None:
    """Ask the system to kill this process when the calling process is killed."""
    import ctypes

    kill_with_parent = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(kill_with_parent, signal.SIGKILL)
