"""A Dask cluster by its address."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from cl_analyze._version import __version__
from cl_analyze.errors import ConfigError, DependencyError

CONNECT_SECONDS = 10


def _worker_version() -> str:
    from cl_analyze._version import __version__ as there

    return there


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
    host, separator, port = address.removeprefix("tcp://").rpartition(":")
    if "://" not in address and not (host and separator and port.isdigit()):
        raise ConfigError(f"--scheduler {address!r} is no address; write it as tcp://host:8786")
    try:
        connect: Any = Client
        client = connect(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers within {CONNECT_SECONDS} s "
            f"({type(error).__name__}); write its address as tcp://host:8786"
        ) from error
    try:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise ConfigError(f"--scheduler {address}: the cluster has no worker") from error
        versions = client.run(_worker_version, on_error="return")
        for worker, found in versions.items():
            if found != __version__:
                raise ConfigError(
                    f"--scheduler {address}: worker {worker} must have cl-analyze {__version__}, "
                    f"found {found!r}; install the same version there"
                )
        yield client
    finally:
        client.close()
