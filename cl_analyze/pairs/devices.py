"""Several GPUs of one machine: a process for each, with a few threads that feed its device.

A process is started once for a run, because CUDA takes seconds to start.  Units go to whichever
device has a free thread.  Results are taken in the order of the plan: the number of devices changes
no byte, which is why the devices must be of one model.

A process is a new interpreter, not a fork, which CUDA does not survive, and not one of
`multiprocessing`, which would run the caller's script again.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from cl_analyze.errors import AnalysisError, ConfigError
from cl_analyze.pairs.backend import torch_for
from cl_analyze.pairs.executors import Job, ThreadExecutor, single_threaded_blas
from cl_analyze.processes import portable

_SERVE = (
    "import sys; sys.path[:] = sys.argv[4:]; "
    "from cl_analyze.pairs.devices import serve; serve(*sys.argv[1:4])"
)
_SECONDS_OF_AN_END = 10.0


def named_devices(device: str) -> tuple[str, ...]:
    """The devices of `--device`: cpu, mps, cuda, cuda:1, several by commas, or cuda:all.

    Raises:
        ConfigError: a device is named twice, or several are not all of CUDA.

    >>> named_devices("cuda:0,cuda:1")
    ('cuda:0', 'cuda:1')
    """
    if device == "cuda:all":
        return _all_of_cuda()
    names = tuple(name.strip() for name in device.split(","))
    if len(names) > 1 and not all(name.startswith("cuda:") for name in names):
        raise ConfigError(
            f"several devices must be such as --device cuda:0,cuda:1, found {device!r}"
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"--device names a device twice: {device}")
    return names


def _all_of_cuda() -> tuple[str, ...]:
    """Every CUDA device; one where there is none, which the backend refuses."""
    n_devices = torch_for("cuda:all").cuda.device_count()
    return tuple(f"cuda:{number}" for number in range(max(1, n_devices)))


class DevicesExecutor:
    """Runs units on several devices; close it, or use it in a `with` block.

    Jobs that do not compute on a device run on threads of this process.

    Args:
        devices: names of torch's devices, of one model.
        n_threads: threads of each, which compute one unit each at a time.

    Raises:
        ConfigError: devices are of several models, or the system cannot hand connections over.
    """

    def __init__(self, devices: Sequence[str], n_threads: int) -> None:
        if sys.platform == "win32":
            raise ConfigError(f"several devices need Linux; pass --device {devices[0]}")
        _require_one_model(devices)
        self._devices, self._n_threads = tuple(devices), n_threads
        self._processes: list[_Process] = []

    @property
    def n_at_once(self) -> int:
        """Units that all devices compute at the same time."""
        return len(self._devices) * self._n_threads

    def __enter__(self) -> DevicesExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.end()
        self._processes = []

    def run(self, job: Job, units: Iterable[Any]) -> Iterator[Any]:
        """Yield results in the order of the units, with a few units ahead.

        Raises:
            AnalysisError: a process died.
        """
        from cl_analyze.pairs.torch_backend import TorchBackend

        backend = getattr(job, "backend", None)
        if not isinstance(backend, TorchBackend):
            yield from ThreadExecutor(self.n_at_once).run(job, units)
            return
        if not self._processes:
            for name in self._devices:
                self._processes.append(_Process(name, self._n_threads))
        jobs = [replace(job, backend=backend.on(name)) for name in self._devices]  # type: ignore[type-var]
        try:
            for process, own in zip(self._processes, jobs, strict=True):
                process.send(("job", pickle.dumps(own)))
            yield from self._results(enumerate(units))
        except BaseException:  # units may be on their way: what they return belongs to nobody
            self.close()
            raise

    def _results(self, units: Iterator[tuple[int, Any]]) -> Iterator[Any]:
        from multiprocessing.connection import wait

        found: dict[int, Any] = {}
        n_ahead = 2 * self.n_at_once
        n_handed = 0
        for position in itertools.count():
            while position not in found:
                # no more than a process has threads: one of them is always free to take a unit
                while n_handed < position + n_ahead:
                    process = min(self._processes, key=lambda one: one.n_busy)
                    if process.n_busy == self._n_threads or (unit := next(units, None)) is None:
                        break
                    process.send(("unit", unit))
                    process.n_busy += 1
                    n_handed += 1
                if n_handed == position:
                    return
                busy = {one.connection: one for one in self._processes if one.n_busy}
                for ready in wait(list(busy)):
                    process = busy[ready]  # type: ignore[index]
                    at, is_result, content = process.receive()
                    process.n_busy -= 1
                    if not is_result:
                        raise content
                    found[at] = content
            yield found.pop(position)


def _require_one_model(devices: Sequence[str]) -> None:
    """Products of two models of GPU round differently.

    Raises:
        ConfigError: there are several, or a device is not there.
    """
    if not devices[0].startswith("cuda"):
        return
    torch = torch_for(",".join(devices))
    from cl_analyze.pairs.torch_backend import model_of

    if not torch.cuda.is_available():
        raise ConfigError(f"--device {','.join(devices)}: torch finds no CUDA device here")
    n = torch.cuda.device_count()
    for name in devices:
        number = name.partition(":")[2]
        if not number.isdecimal() or int(number) >= n:
            raise ConfigError(f"--device {name}: torch finds cuda:0 to cuda:{n - 1} here")
    models = {name: model_of(torch, torch.device(name)) for name in devices}
    if len(set(models.values())) > 1:
        listed = ", ".join(f"{name} {model}" for name, model in models.items())
        raise ConfigError(
            f"several devices must be of one model, or their bytes would differ; found {listed}"
        )


class _Process:
    """A process with a device.

    Attributes:
        connection: to the process.
        n_busy: units that it has.
    """

    def __init__(self, device: str, n_threads: int) -> None:
        from multiprocessing import Pipe

        self.device, self.n_busy = device, 0
        self.connection, end = Pipe()
        arguments = [str(end.fileno()), device, str(n_threads), *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _SERVE, *arguments],
            pass_fds=[end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        end.close()

    def send(self, message: tuple[str, Any]) -> None:
        """Send a job or a unit.

        Raises:
            AnalysisError: the process died.
        """
        try:
            self.connection.send(message)
        except OSError:
            raise self._died() from None

    def receive(self) -> tuple[int, bool, Any]:
        """Position of a unit, whether it has a result, and the result or the error.

        Raises:
            AnalysisError: the process died.
        """
        try:
            answer: tuple[int, bool, Any] = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        return answer

    def _died(self) -> AnalysisError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_OF_AN_END)
        return AnalysisError(
            f"the process of {self.device} ended (exit code {self._process.returncode}); was the "
            "machine out of memory? pass one device, or a smaller --memory"
        )

    def end(self) -> None:
        """Close the connection, on which the process ends, or is killed."""
        self.connection.close()
        self._process.terminate()
        try:
            self._process.wait(_SECONDS_OF_AN_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(descriptor: str, device: str, n_threads: str) -> None:
    """Compute units that arrive on a connection until it ends: the work of a device's process."""
    from multiprocessing.connection import Connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the calling process as well
    work = _Work(Connection(int(descriptor)))
    with single_threaded_blas():
        threads = [
            threading.Thread(target=work.go_on, name=f"{device} {number}", daemon=True)
            for number in range(int(n_threads))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class _Work:
    """What the threads of a device's process share."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._receiving, self._sending = threading.Lock(), threading.Lock()
        self._job: Any = None

    def go_on(self) -> None:
        """Take units and send their results, until the caller is gone."""
        while True:
            try:
                with self._receiving:
                    kind, content = self._connection.recv()
                    while kind == "job":
                        self._job = _unpickled(content)
                        kind, content = self._connection.recv()
                    job = self._job
                position, unit = content
                answer = self._answer(job, position, unit)
                with self._sending:
                    self._connection.send_bytes(answer)
            except (EOFError, OSError):
                return

    def _answer(self, job: Any, position: int, unit: Any) -> bytes:
        try:
            if isinstance(job, Exception):
                raise job
            result = position, True, job.run(unit)
            return pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 - it is raised in the calling process
            return pickle.dumps((position, False, portable(error)))


def _unpickled(payload: bytes) -> Any:
    """A job, or the error that its reading raises, which its units then raise."""
    try:
        return pickle.loads(payload)
    except Exception as error:  # noqa: BLE001 - raised by the units
        return error
