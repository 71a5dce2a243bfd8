"""A Dask cluster by its address."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

from cl_analyze._version import __version__
from cl_analyze.errors import ConfigError, DependencyError
from cl_analyze.extras import pip_install
from cl_analyze.quoting import quoted

CONNECT_SECONDS = 10


def _worker_version() -> str:
    from cl_analyze._version import __version__ as version_of_worker

    return version_of_worker


def _require_listener(address: str, host: str, port: int) -> None:
    """Try the address first: Dask itself tries for long, and reports it with tracebacks.

    Raises:
        ConfigError: nothing listens there.
    """
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except (OSError, UnicodeError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers there "
            f"({getattr(error, 'strerror', None) or error}); write its address as tcp://host:8786"
        ) from error


def _connected(client: Any, address: str) -> Any:
    """A client of a scheduler that answers in time.

    A server that listens and says nothing would hold the client for a minute, whatever its timeout.

    Raises:
        TimeoutError: the scheduler has not answered.
        Exception: an error of the client.
    """
    results: queue.Queue[Any] = queue.Queue()

    def connect() -> None:
        try:
            results.put(client(address, timeout=CONNECT_SECONDS, set_as_default=False))
        except Exception as error:  # noqa: BLE001  # raised below
            results.put(error)

    threading.Thread(target=connect, daemon=True, name="connect").start()
    try:
        result = results.get(timeout=CONNECT_SECONDS + 1)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result


@contextlib.contextmanager
def dask_client(address: str) -> Iterator[Any]:
    """A client of a running cluster, closed at the end; the cluster stays.

    Raises:
        DependencyError: dask.distributed is not installed.
        ConfigError: no scheduler answers, it has no worker, or its workers lack this package.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise DependencyError(
            f"--scheduler needs dask.distributed: {pip_install('dask')}"
        ) from error
    scheme, separator, place = address.rpartition("://")
    host, colon, port = place.rpartition(":")
    is_place = host and colon and port.isascii() and port.isdigit() and int(port[:6]) < 65536
    if (separator and scheme not in ("tcp", "tls")) or not is_place:
        raise ConfigError(
            f"--scheduler {quoted(address, 80)} is no address; write it as tcp://host:8786"
        )
    _require_listener(address, host.strip("[]"), int(port))
    # Dask would print tracebacks beside the error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = _connected(Client, address)
    except Exception as error:  # of the network, of TLS, or of another protocol
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers within {CONNECT_SECONDS} s "
            f"({type(error).__name__}); write its address as tcp://host:8786"
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise ConfigError(f"--scheduler {address}: the cluster has no worker") from error
        try:
            versions = client.run(_worker_version, on_error="return")
        except Exception as error:  # the scheduler is gone
            raise ConfigError(
                f"--scheduler {address}: the cluster does not answer ({type(error).__name__})"
            ) from error
        for worker, version in versions.items():
            if version != __version__:
                raise ConfigError(
                    f"--scheduler {address}: worker {worker} must have cl-analyze {__version__}, "
                    f"found {version!r}; install the same version there"
                )
        yield client
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.close(timeout=CONNECT_SECONDS)
