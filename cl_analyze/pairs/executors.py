"""Where work runs: an executor takes a job and its units and yields results in the units' order.

A job is picklable and does one thing: `run(unit)`.  What a unit needs travels with it; what all
units share is in the job, which threads share and other processes get once.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from cl_analyze.errors import AnalysisError, ConfigError


class Job(Protocol):
    """What is to be done with each unit; picklable."""

    def run(self, unit: Any) -> Any:
        """The result of one unit."""
        ...


class Executor(Protocol):
    """Runs a job over units, in order."""

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield job.run(unit) for each unit, in the order of the units."""
        ...


class SerialExecutor:
    """One unit after the other, in the calling thread."""

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield job.run(unit) for each unit."""
        with single_threaded_blas():
            yield from map(job.run, units)


class ThreadExecutor:
    """A thread per unit; NumPy and BLAS let go of the interpreter lock while they compute.

    Args:
        n_threads: units computed at the same time.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield results in order, with a few units ahead; waiting units die with the caller."""
        with (
            single_threaded_blas(),
            ThreadPoolExecutor(self._n_threads, thread_name_prefix="pairs") as pool,
        ):
            yield from _in_order(
                lambda unit: pool.submit(job.run, unit), units, 2 * self._n_threads
            )


class FuturesExecutor:
    """Any `concurrent.futures`-style executor, or a Dask client: `submit` gives futures.

    Units go to other processes or machines, which open the files again; only states travel back.
    The job is pickled once.  A Dask client keeps it on its scheduler, so that a worker that joins
    late, or in place of a lost one, gets it too; other executors send it with each unit, and their
    processes unpickle it once.

    Args:
        client: has `submit(function, *arguments)`.
        n_ahead: units under way at the same time; None: what a Dask cluster has threads for, twice,
            or 16.
    """

    def __init__(self, client: Any, n_ahead: int | None = None) -> None:
        self._client = client
        self._n_ahead = n_ahead
        self._is_dask = hasattr(client, "scheduler_info")

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield results in order; a lost worker's units are computed again by the others (Dask)."""
        payload = pickle.dumps(job)
        token = hashlib.sha256(payload).hexdigest()
        if self._is_dask:
            shared = self._client.submit(bytes, payload, key=f"cl-analyze-{token}", pure=True)

            def submit(unit: Any) -> Any:
                return self._client.submit(_run_elsewhere, token, shared, unit, pure=False)

        else:

            def submit(unit: Any) -> Any:
                return self._client.submit(_run_elsewhere, token, payload, unit)

        yield from _in_order(submit, units, self._n_ahead or self._default_ahead())

    def _default_ahead(self) -> int:
        if not self._is_dask:
            return 16
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        n_threads: int = sum(worker["nthreads"] for worker in workers)
        return max(4, 2 * n_threads)


def as_executor(given: Any) -> Executor:
    """An executor as it is, or a wrapped Dask client or `concurrent.futures` executor.

    Raises:
        ConfigError: it can neither `run` nor `submit`.
    """
    if hasattr(given, "submit"):
        return FuturesExecutor(given)
    if hasattr(given, "run"):
        run: Executor = given
        return run
    raise ConfigError(
        f"executor must be a concurrent.futures executor or a Dask client, found {given!r}"
    )


def _in_order(submit: Any, units: Iterable[Any], n_ahead: int) -> Iterator[Any]:
    """Submit up to n units ahead and yield results in order; cancel the rest on the way out."""
    ahead: deque[Any] = deque()
    try:
        for unit in units:
            ahead.append(submit(unit))
            if len(ahead) >= n_ahead:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for waiting in ahead:
            waiting.cancel()


_jobs: dict[str, Job] = {}


def _run_elsewhere(token: str, payload: bytes, unit: Any) -> Any:
    """Run one unit in another process, which keeps the last job it was given."""
    if token not in _jobs:
        _jobs.clear()
        _jobs[token] = pickle.loads(payload)
    job = _jobs[token]
    try:
        with single_threaded_blas():
            return job.run(unit)
    except OSError as error:
        import socket

        raise AnalysisError(
            f"a worker on {socket.gethostname()} cannot read the input: {error}; every worker must "
            "see the file under the same path (a shared file system, or a URL)"
        ) from error


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
