"""Threads that an interruption of the caller cannot leave waiting for ever.

Ctrl-C raises an exception in the main thread, wherever its code is.  Where that is inside
`concurrent.futures` or `threading.Condition`, which are written in Python, a lock stays locked: the
worker that needs it waits for ever, and so does whoever joins the worker.  Here the two sides share
nothing but `queue.SimpleQueue`, whose locks are taken and released inside one step.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

_SECONDS_OF_AN_END = 1.0
"""How long a caller waits for a thread that has nothing left to do.

Its last step takes a lock of `threading`, which an interruption can have left locked.
"""


class Threads:
    """Some threads, which start as `map` needs them and end with the `with` block.

    Args:
        n_threads: how many.

    >>> with Threads(2) as threads:
    ...     list(threads.map(abs, [-3, -2, -1], n_ahead=2))
    [3, 2, 1]
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._work: SimpleQueue[_Task | None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *error: object) -> None:
        self._work.put(None)
        for _ in self._threads:
            self._ended.get()
        for thread in self._threads:  # a daemon must not outlive the interpreter
            thread.join(_SECONDS_OF_AN_END)

    def map(
        self, function: Callable[[Any], Any], items: Iterable[Any], n_ahead: int
    ) -> Iterator[Any]:
        """Yield function(item) for each item, in the order of the items.

        Args:
            function: called in the threads.
            items: taken one by one, in the calling thread.
            n_ahead: items that are taken before the first result is yielded.

        Raises:
            Exception: what the function raised for the next item.
        """
        ahead: deque[_Task] = deque()
        try:
            for item in items:
                if len(self._threads) < self._n_threads:
                    queues = self._work, self._ended
                    thread = threading.Thread(target=_serve, args=queues, daemon=True, name="pairs")
                    thread.start()
                    self._threads.append(thread)
                ahead.append(_Task(function, item))
                self._work.put(ahead[-1])
                if len(ahead) >= n_ahead:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for task in ahead:
                task.is_wanted = False


class _Task:
    """One call of a function in a thread."""

    def __init__(self, function: Callable[[Any], Any], item: Any) -> None:
        self._function, self._item = function, item
        self._outcome: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.is_wanted = True

    def run(self) -> None:
        try:
            self._outcome.put((self._function(self._item), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            self._outcome.put((None, error))

    def result(self) -> Any:
        value, error = self._outcome.get()
        if error is not None:
            raise error
        return value


def _serve(work: SimpleQueue[_Task | None], ended: SimpleQueue[None]) -> None:
    """Run tasks.  None ends a thread, which puts it back for the next thread."""
    while (task := work.get()) is not None:
        if task.is_wanted:
            task.run()
    work.put(None)
    ended.put(None)
