"""Where tiles run: an executor maps a function over work and yields results in its order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Anything that maps a function over work, in order."""

    def map(self, function: Callable[[T], R], work: Iterable[T]) -> Iterator[R]:
        """Yield function(item) for each item, in the order of the work."""
        ...


class SerialExecutor:
    """One tile after the other, in the calling thread."""

    def map(self, function: Callable[[T], R], work: Iterable[T]) -> Iterator[R]:
        """Yield function(item) for each item."""
        return map(function, work)


class ThreadExecutor:
    """A thread per tile; NumPy and BLAS let go of the interpreter lock while they compute.

    Args:
        n_threads: tiles computed at the same time.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads

    def map(self, function: Callable[[T], R], work: Iterable[T]) -> Iterator[R]:
        """Yield results in order, with a few tiles computed ahead; waiting tiles die with it."""
        with ThreadPoolExecutor(self._n_threads, thread_name_prefix="pairs") as pool:
            ahead: deque[Future[R]] = deque()
            try:
                for item in work:
                    ahead.append(pool.submit(function, item))
                    if len(ahead) >= 4 * self._n_threads:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()


def single_threaded_blas() -> contextlib.AbstractContextManager[Any]:
    """Pin BLAS (and torch on the CPU, where it is loaded) to one thread for a pass."""
    import sys

    from threadpoolctl import threadpool_limits

    stack = contextlib.ExitStack()
    stack.enter_context(threadpool_limits(limits=1))
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        stack.callback(torch.set_num_threads, before)
    return stack
