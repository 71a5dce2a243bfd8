"""Work in forked copies of this process: for work that holds the interpreter lock, as drawing does.

A fork starts in some milliseconds and has all that the process has: modules, inputs, settings.  It
is safe where no other Python thread runs, whose locks the copy would keep locked for ever.  So work
is forked on Linux, from the only thread of a process, without a GPU in use; everywhere else, and
where a copy dies, the calling process does the work itself.  Results are the same.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Item = TypeVar("Item")
Result = TypeVar("Result")
Tell = Callable[[Any], None]


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def can_fork() -> bool:
    """Whether this process may fork: Linux, no other thread, no GPU in use, memory not limited."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def in_processes(
    function: Callable[[Item, Tell], Result],
    items: Sequence[Item],
    n_processes: int,
    heard: Tell = lambda message: None,
) -> Iterator[Result]:
    """Yield function(item, tell) for each item, in order, computed in forks of this process.

    Args:
        function: of an item, and of a function that tells the calling process something; what it
            returns, tells and raises must be picklable.
        items: what it is called with; they are not pickled.
        n_processes: copies at a time; with fewer than two nothing is forked.
        heard: called with what is told, as it comes.

    Raises:
        Exception: what the function raised for the next item.
    """
    n_processes = min(n_processes, len(items))
    if n_processes < 2 or not can_fork():
        yield from (function(item, heard) for item in items)
        return
    from multiprocessing.connection import wait

    waiting = list(reversed(range(len(items))))
    outcomes: dict[int, tuple[bool, Any]] = {}
    copies: dict[Connection, _Copy] = {}
    try:
        for _ in range(n_processes):
            copy = _Copy(function, items, copies)
            copies[copy.connection] = copy
            copy.give(waiting.pop())
        for position in range(len(items)):
            while position not in outcomes and copies:
                for ready in wait(list(copies)):
                    copy = copies[ready]  # type: ignore[index]
                    try:
                        kind, content = copy.connection.recv()
                    except (EOFError, OSError):  # it was killed; its item is done below
                        copies.pop(copy.connection).end()
                        continue
                    if kind == "told":
                        heard(content)
                        continue
                    outcomes[copy.position] = kind == "result", content
                    if waiting:
                        copy.give(waiting.pop())
            if position not in outcomes:
                yield function(items[position], heard)
                continue
            is_result, content = outcomes.pop(position)
            if not is_result:
                raise content
            yield content
    finally:
        for copy in copies.values():
            copy.end()


class _Copy:
    """A forked process that computes one item after the other.

    Attributes:
        connection: to the process.
        position: of the item that it has.
    """

    def __init__(
        self,
        function: Callable[[Item, Tell], Any],
        items: Sequence[Item],
        others: dict[Connection, _Copy],
    ) -> None:
        from multiprocessing import Pipe

        self.position = -1
        self.connection, end = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            for connection in (self.connection, *others):
                connection.close()
            _serve(function, items, end)
        end.close()

    def give(self, position: int) -> None:
        """Hand it an item; a process that has died is noticed by whoever waits for it."""
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
    function: Callable[[Item, Tell], Any], items: Sequence[Item], connection: Connection
) -> NoReturn:
    """Compute the items that are asked for, until the calling process is gone."""
    try:
        _die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the calling process as well
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            position = connection.recv()
            try:
                result = function(
                    items[position], lambda message: connection.send(("told", message))
                )
                answer = pickle.dumps(("result", result), pickle.HIGHEST_PROTOCOL)
            except Exception as error:  # noqa: BLE001 - it is raised in the calling process
                answer = pickle.dumps(("error", _portable(error)))
            connection.send_bytes(answer)
    finally:
        os._exit(0)


def _portable(error: Exception) -> Exception:
    """The error as the calling process can have it, with its traceback as a note."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, its text is there
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in a forked process:\n{text}")
    return error


def _die_with_parent() -> None:
    """Ask the system to kill this process where the calling one is killed."""
    import ctypes

    kill_with_parent = 1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(kill_with_parent, signal.SIGKILL)
