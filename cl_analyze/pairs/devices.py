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
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cl_analyze.errors import AnalysisError, ConfigError
from cl_analyze.pairs.backend import torch_for
from cl_analyze.pairs.executors import Job, ThreadExecutor, single_threaded_blas
from cl_analyze.processes import portable

if TYPE_CHECKING:
    from cl_analyze.pairs.torch_backend import TorchBackend

_SERVE = (
    "import sys; sys.path[:] = sys.argv[4:]; "
    "from cl_analyze.pairs.devices import serve; serve(*sys.argv[1:4])"
)
_SECONDS_OF_AN_END = 10.0
_A_JOB_FOLLOWS = b"job"
_PLACE = 8
"""Bytes of a unit's position before its pickle; a message with fewer is no unit."""
_NO_UNIT = object()
_NAME_OF_CUDA = re.compile(r"cuda(:(0|[1-9][0-9]*))?\Z")


def named_devices(device: str) -> tuple[str, ...]:
    """The devices of `--device`: cpu, mps, cuda, cuda:1, several by commas, or cuda:all.

    Raises:
        ConfigError: a name has another form, or a device is named twice.

    >>> named_devices("cuda:0,cuda:1")
    ('cuda:0', 'cuda:1')
    """
    if device == "cuda:all":
        return _all_of_cuda()
    names = tuple(name.strip() for name in device.split(","))
    are_several = len(names) > 1
    for name in names:
        is_of_cuda = _NAME_OF_CUDA.match(name) and (":" in name or not are_several)
        if not is_of_cuda and (are_several or name not in ("cpu", "mps")):
            raise ConfigError(
                "--device must be cpu, mps, cuda, cuda:1, several such as cuda:0,cuda:1, or "
                f"cuda:all, found {device!r}"
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
        require_devices(devices)
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
        if any(process.n_busy for process in self._processes):
            self.close()  # an earlier pass was left: its units are still on their way
        bare = replace(job, backend=None)  # type: ignore[type-var]
        payload = pickle.dumps((backend.dtype, backend.kept_bytes, bare), pickle.HIGHEST_PROTOCOL)
        processes = self._processes
        try:
            for name in self._devices[len(processes) :]:
                processes.append(_Process(name, self._n_threads))
            for process in processes:
                process.send(_A_JOB_FOLLOWS)
                process.send(payload)
            yield from self._results(processes, iter(units), backend)
        except BaseException:  # units may be on their way: what they return belongs to nobody
            for process in processes:
                process.end()
            if self._processes is processes:
                self._processes = []
            raise

    def _results(
        self, processes: list[_Process], units: Iterator[Any], backend: TorchBackend
    ) -> Iterator[Any]:
        from multiprocessing.connection import wait

        found: dict[int, Any] = {}
        n_ahead = 2 * self.n_at_once
        n_handed = 0
        for position in itertools.count():
            while position not in found:
                # no more than a process has threads: one of them is always free to take a unit
                while n_handed < position + n_ahead:
                    process = min(processes, key=lambda one: one.n_busy)
                    if process.n_busy == self._n_threads:
                        break
                    unit = next(units, _NO_UNIT)
                    if unit is _NO_UNIT:
                        break
                    place = n_handed.to_bytes(_PLACE, "little")
                    process.send(place + pickle.dumps(unit, pickle.HIGHEST_PROTOCOL))
                    process.n_busy += 1
                    n_handed += 1
                if n_handed == position:
                    return
                busy = {one.connection: one for one in processes if one.n_busy}
                for ready in wait(list(busy)):
                    process = busy[ready]  # type: ignore[index]
                    answer = process.receive()
                    process.n_busy -= 1
                    if answer.shortage:
                        backend.tell_shortage(answer.shortage)
                    if answer.error is not None:
                        raise answer.error
                    found[answer.position] = answer.result
            yield found.pop(position)


def require_devices(devices: Sequence[str]) -> None:
    """Check that devices of CUDA are there, and of one model: products of two round differently.

    Raises:
        DependencyError: torch is not installed.
        ConfigError: a device is missing, or there are several models.
    """
    if not devices[0].startswith("cuda"):
        return
    torch = torch_for(",".join(devices))
    from cl_analyze.pairs.torch_backend import model_of

    if not torch.cuda.is_available():
        listed = ",".join(devices)
        raise ConfigError(f"--device {listed}: torch finds no such device here; use --device cpu")
    n = torch.cuda.device_count()
    for name in devices:
        if int(name.partition(":")[2] or 0) >= n:
            raise ConfigError(f"--device {name}: torch finds cuda:0 to cuda:{n - 1} here")
    models = {name: model_of(torch, torch.device(name)) for name in devices}
    if len(set(models.values())) > 1:
        listed = ", ".join(f"{name} {model}" for name, model in models.items())
        raise ConfigError(
            f"several devices must be of one model, or their bytes would differ; found {listed}"
        )


@dataclass(frozen=True)
class _Answer:
    """What a process sends for a unit.

    Attributes:
        position: of the unit.
        result, error: one of them.
        shortage: how its device computes tiles where the memory was full.
    """

    position: int
    result: Any = None
    error: Exception | None = None
    shortage: str = ""


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
        # Ctrl-C reaches every process of the terminal: this one has to wait until it can ignore it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, *arguments],
                pass_fds=[end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end.close()

    def send(self, message: bytes) -> None:
        """Send a pickled job or a unit.

        Raises:
            AnalysisError: the process died.
        """
        try:
            self.connection.send_bytes(message)
        except OSError:
            raise self._died() from None

    def receive(self) -> _Answer:
        """The answer to a unit.

        Raises:
            AnalysisError: the process died.
        """
        try:
            answer: _Answer = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        return answer

    def _died(self) -> AnalysisError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_OF_AN_END)
        return AnalysisError(
            f"the process of {self.device} ended (exit code {self._process.returncode}); what it "
            "said stands above; was the machine out of memory? pass one device, or less --memory"
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

    import torch  # noqa: F401 - whose threads are pinned too

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the calling process ends this one
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    work = _Work(Connection(int(descriptor)), device)
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
    """What the threads of a device's process share: the job, and a backend for each precision."""

    def __init__(self, connection: Any, device: str) -> None:
        self._connection, self._device = connection, device
        self._receiving, self._sending = threading.Lock(), threading.Lock()
        self._job: Any = None
        self._backends: dict[Any, TorchBackend] = {}

    def go_on(self) -> None:
        """Take units and send their answers, until the caller is gone.

        An error that cannot be sent ends the process: the caller would wait for its answer.
        """
        try:
            while True:
                self._one_unit()
        except (EOFError, ConnectionError):
            return
        except BaseException:  # noqa: BLE001 - the process ends
            traceback.print_exc()
            os._exit(1)

    def _one_unit(self) -> None:
        with self._receiving:
            message = self._connection.recv_bytes()
            while message == _A_JOB_FOLLOWS:
                self._job = self._unpickled(self._connection.recv_bytes())
                message = self._connection.recv_bytes()
            job = self._job
        answer = self._answer(job, message)
        with self._sending:
            self._connection.send_bytes(answer)

    def _answer(self, job: Any, message: bytes) -> bytes:
        position = int.from_bytes(message[:_PLACE], "little")
        try:
            if isinstance(job, Exception):
                raise job
            result = job.run(pickle.loads(memoryview(message)[_PLACE:]))
            answer = _Answer(position, result, shortage=job.backend.shortage)
            return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 - it is raised in the calling process
            return pickle.dumps(_Answer(position, error=portable(error)))

    def _unpickled(self, payload: bytes) -> Any:
        """A job with this device's backend, or the error of its reading, which its units raise."""
        from cl_analyze.pairs.torch_backend import TorchBackend

        for backend in self._backends.values():
            backend.release()  # of rows of the job before
        try:
            dtype, kept_bytes, job = pickle.loads(payload)
            if dtype not in self._backends:
                self._backends[dtype] = TorchBackend(dtype, self._device, kept_bytes)
            return replace(job, backend=self._backends[dtype])
        except Exception as error:  # noqa: BLE001 - raised by the units
            return error
