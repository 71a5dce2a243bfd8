"""Where work runs: an executor takes a job and its units and yields results in the units' order.

A job is picklable and does one thing: `run(unit)`.  Data of one unit is in the unit; data that all
units share is in the job, which threads share and other processes get once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pickle
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from typing import Any, Protocol

from cl_analyze.errors import AnalysisError, ConfigError, DataError
from cl_analyze.pairs.threads import Threads


class Job(Protocol):
    """The work on a unit; picklable."""

    def run(self, unit: Any) -> Any:
        """The result of one unit."""
        ...


class Executor(Protocol):
    """Runs a job over units, in order."""

    @property
    def n_at_once(self) -> int:
        """Units that are computed at the same time."""
        ...

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield job.run(unit) for each unit, in the order of the units."""
        ...


class SerialExecutor:
    """One unit after the other, in the calling thread."""

    n_at_once = 1

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield job.run(unit) for each unit."""
        with single_threaded_blas():
            yield from map(job.run, units)


class ThreadExecutor:
    """A thread for each unit; kernels, NumPy and BLAS let go of the interpreter lock.

    Args:
        n_threads: units computed at the same time.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_at_once = n_threads

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield results in order, with a few units ahead; waiting units die with the caller."""
        with single_threaded_blas(), Threads(self.n_at_once) as threads:
            yield from threads.map(job.run, units, 2 * self.n_at_once)


_POLL_SECONDS, _MOST_SECONDS_WITHOUT_WORKERS = 5.0, 60.0
"""Seconds between two looks at a cluster, and without any worker until a run gives up."""


class FuturesExecutor:
    """Any `concurrent.futures`-style executor, or a Dask client: `submit` gives futures.

    Units go to other processes or machines, which open the files again; only states travel back.
    The job is pickled once.  A Dask client keeps it on its scheduler, so that workers that join
    later get it too.  Other executors send it with each unit, and their processes unpickle it once.

    Args:
        client: has `submit(function, *arguments)`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._is_dask = hasattr(client, "scheduler_info")

    @property
    def n_at_once(self) -> int:
        """Threads of a cluster's workers, or processes of a pool; 8 where they are not known."""
        if self._is_dask:
            return max(1, sum(int(worker["nthreads"]) for worker in self._workers().values()))
        n_workers = getattr(self._client, "_max_workers", None)
        return n_workers if isinstance(n_workers, int) else 8

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _result_of_cluster(self, future: Any) -> Any:
        """A result of a Dask cluster, which would wait for ever for workers that are all gone.

        Raises:
            AnalysisError: there has been no worker for a minute, or no scheduler.
        """
        without_workers = 0.0
        while True:
            try:
                return future.result(timeout=_POLL_SECONDS)
            except TimeoutError as error:
                if future.status not in ("pending", "lost"):
                    raise
                is_running = getattr(self._client, "status", "running") == "running"
                has_workers = is_running and self._workers()
                without_workers = 0.0 if has_workers else without_workers + _POLL_SECONDS
                if without_workers >= _MOST_SECONDS_WITHOUT_WORKERS or not is_running:
                    state = "has no worker any more" if is_running else "is gone"
                    raise AnalysisError(
                        f"the cluster {state}; start it again, and the run with --resume DIR"
                    ) from error

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield results in order; a lost worker's units are computed again by the others (Dask).

        Raises:
            AnalysisError: workers died, or cannot read the input.
        """
        client = self._client
        work: tuple[Any, ...] = (job.run,)
        options: dict[str, Any] = {}
        if not isinstance(client, ThreadPoolExecutor):
            payload: Any = pickle.dumps(job)
            token = hashlib.sha256(payload).hexdigest()
            if self._is_dask:
                payload = client.submit(bytes, payload, key=f"cl-analyze-{token}")
                options["pure"] = False
            work = (_run_elsewhere, _PROCESS, token, payload)
        wait = self._result_of_cluster if self._is_dask else _result
        n_ahead = max(4, 2 * self.n_at_once)
        try:
            with single_threaded_blas():
                yield from _in_order(
                    lambda unit: client.submit(*work, unit, **options), units, n_ahead, wait
                )
        except (BrokenExecutor, CancelledError) as error:
            raise AnalysisError(
                f"the workers are gone ({type(error).__name__}: {error}); were they out of memory?"
            ) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "distributed":
                raise
            raise AnalysisError(
                f"the cluster could not finish ({type(error).__name__}): {error}"
            ) from error


def as_executor(given: Any) -> Executor:
    """An executor as it is, or a wrapped Dask client or `concurrent.futures` executor.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(given, type):
        raise ConfigError(f"executor must be made first: pass {given.__name__}(...), not the class")
    if hasattr(given, "submit"):
        return FuturesExecutor(given)
    if hasattr(given, "n_at_once"):
        executor: Executor = given
        return executor
    raise ConfigError(
        f"executor must be a concurrent.futures executor or a Dask client, found {given!r}"
    )


def _result(future: Any) -> Any:
    return future.result()


def _in_order(
    submit: Any, units: Iterable[Any], n_ahead: int, wait: Callable[[Any], Any] = _result
) -> Iterator[Any]:
    """Submit up to n units ahead and yield results in order; cancel the rest on the way out."""
    ahead: deque[Any] = deque()
    try:
        for unit in units:
            try:
                ahead.append(submit(unit))
            except RuntimeError as error:  # it was shut down
                raise ConfigError(f"the executor takes no work: {error}") from error
            if len(ahead) >= n_ahead:
                yield wait(ahead.popleft())
        while ahead:
            yield wait(ahead.popleft())
    finally:
        for waiting in ahead:
            waiting.cancel()


_PROCESS = uuid.uuid4().hex
_jobs: dict[str, Job] = {}
_pinned = False


def _run_elsewhere(home: str, token: str, payload: bytes, unit: Any) -> Any:
    """Run one unit in another process, which keeps the last job it was given.

    Another process is pinned for good: its threads would undo each other's pinning.  Threads of
    the calling process are pinned by the caller.
    """
    global _pinned
    if home != _PROCESS and not _pinned:
        single_threaded_blas().__enter__()
        _pinned = True
    job = _jobs.get(token)
    if job is None:
        _jobs.clear()
        job = _jobs[token] = pickle.loads(payload)
    try:
        return job.run(unit)
    except (OSError, DataError) as error:
        import socket

        raise AnalysisError(
            f"a worker on {socket.gethostname()} cannot read the input: {error}; every worker must "
            "see the file under the same path (a shared file system, or a URL)"
        ) from error


@functools.lru_cache(1)
def _libraries(n_modules: int) -> Any:
    """The loaded libraries with threads; looked for again once more modules are imported."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def single_threaded_blas() -> contextlib.AbstractContextManager[Any]:
    """Pin BLAS (and torch on the CPU, where it is loaded) to one thread for a pass."""
    stack = contextlib.ExitStack()
    stack.enter_context(_libraries(len(sys.modules)).limit(limits=1))
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        stack.callback(torch.set_num_threads, before)
    return stack
