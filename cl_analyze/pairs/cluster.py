"""A Dask cluster by its address."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

from cl_analyze._version import __version__
from cl_analyze.errors import ConfigError, DependencyError
from cl_analyze.quoting import quoted

CONNECT_SECONDS = 10


def _worker_version() -> str:
    from cl_analyze._version import __version__ as there

    return there


def _require_listener(address: str, host: str, port: int) -> None:
    """Ask whether anybody listens, which Dask does for long and with tracebacks.

    Raises:
        ConfigError: nobody does.
    """
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except (OSError, UnicodeError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers there "
            f"({getattr(error, 'strerror', None) or error}); write its address as tcp://host:8786"
        ) from error


def _connected(client: Any, address: str) -> Any:
    """A client of a scheduler that says who it is in time.

    Somebody who listens and says nothing would hold the client for a minute, whatever its timeout.

    Raises:
        TimeoutError: nobody has answered.
        Exception: what the client raises.
    """
    found: list[Any] = []

    def connect() -> None:
        try:
            found.append(client(address, timeout=CONNECT_SECONDS, set_as_default=False))
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            found.append(error)

    thread = threading.Thread(target=connect, daemon=True, name="connect")
    thread.start()
    thread.join(CONNECT_SECONDS + 1)
    if not found:
        raise TimeoutError
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


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
            "--scheduler needs dask.distributed: pip install 'cl-analyze[dask]'"
        ) from error
    scheme, separator, place = address.rpartition("://")
    host, colon, port = place.rpartition(":")
    is_place = host and colon and port.isascii() and port.isdigit() and int(port[:6]) < 65536
    if (separator and scheme not in ("tcp", "tls")) or not is_place:
        raise ConfigError(
            f"--scheduler {quoted(address, 80)} is no address; write it as tcp://host:8786"
        )
    _require_listener(address, host.strip("[]"), int(port))
    # its own reports of what failed come as tracebacks, beside the error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = _connected(Client, address)
    except Exception as error:  # of the network, of TLS, of messages that are none
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
        except Exception as error:  # it went away in between
            raise ConfigError(
                f"--scheduler {address}: the cluster does not answer ({type(error).__name__})"
            ) from error
        for worker, found in versions.items():
            if found != __version__:
                raise ConfigError(
                    f"--scheduler {address}: worker {worker} must have cl-analyze {__version__}, "
                    f"found {found!r}; install the same version there"
                )
        yield client
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone cannot be told
            client.close(timeout=CONNECT_SECONDS)
