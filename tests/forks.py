"""Runs the command line in forks of a process that has imported it, a second less a call.

Tests that ask how the program starts, or that change what the interpreter reads as it starts, run
`python -m cl_analyze` itself.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 1200
"""After which a command is taken to hang: no machine is as slow as that."""
AT_START = ("PYTHON", "LANG", "LC_", "OMP_", "OPENBLAS_", "MPL")
"""What the interpreter or libraries read as they start."""


def can_be_forked(environment: Mapping[str, str]) -> bool:
    """Whether a fork sees these variables as a new process would."""
    return hasattr(os, "fork") and not any(name.startswith(AT_START) for name in environment)


TORCH_FILES = (".pt", ".pth", ".bin", ".ckpt")
"""Suffixes of files that torch reads; their forks come from a process that has imported it."""


class Forks:
    """Processes that wait for command lines and run each in a fork, of the checkout at `root`.

    One of them has imported torch, which makes a fork of it slower.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._servers: dict[bool, subprocess.Popen[bytes]] = {}

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        stdin: bytes | None,
        environment: Mapping[str, str],
        signals: Sequence[tuple[float, int]] = (),
    ) -> subprocess.CompletedProcess[bytes]:
        """As subprocess.run of `python -m cl_analyze` would.

        Args:
            arguments: of the command line.
            folder: where it runs.
            stdin: what it reads there.
            environment: its variables.
            signals: seconds after its start, and the signal that it is sent then.
        """
        server = self._server(any(a.partition("::")[0].endswith(TORCH_FILES) for a in arguments))
        assert server.stdin is not None
        assert server.stdout is not None
        with tempfile.TemporaryDirectory() as name:
            files = {stream: str(Path(name) / stream) for stream in ("stdin", "stdout", "stderr")}
            Path(files["stdin"]).write_bytes(stdin or b"")
            request = {
                "arguments": list(arguments),
                "folder": str(folder),
                "environment": dict(environment),
                "files": files,
                "signals": list(signals),
            }
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()
            ready, _, _ = select.select([server.stdout], [], [], SECONDS)
            if not ready:
                self.stop()
                raise subprocess.TimeoutExpired(list(arguments), SECONDS)
            code = int(server.stdout.readline())
            out, err = (Path(files[stream]).read_bytes() for stream in ("stdout", "stderr"))
        return subprocess.CompletedProcess(list(arguments), code, out, err)

    def _server(self, has_torch: bool) -> subprocess.Popen[bytes]:
        """The process with torch, or the one without; it starts when it is first asked for."""
        if has_torch not in self._servers:
            self._servers[has_torch] = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", *(["torch"] if has_torch else [])],
                cwd=self._root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._servers[has_torch]

    def stop(self) -> None:
        """End the processes."""
        for server in self._servers.values():
            server.kill()
            server.communicate()
        self._servers.clear()


def _child(request: dict[str, object], listens: int) -> NoReturn:
    """Become the program: its folder, variables, streams and arguments.

    Args:
        request: what to run.
        listens: descriptor that is closed once the program listens to signals.
    """
    code = 1
    try:
        os.chdir(str(request["folder"]))
        os.environ.clear()
        os.environ.update(request["environment"])
        files = request["files"]
        modes = {"stdin": os.O_RDONLY, "stdout": os.O_WRONLY, "stderr": os.O_WRONLY}
        for number, (stream, mode) in enumerate(modes.items()):
            opened = os.open(files[stream], mode | (os.O_CREAT if number else 0), 0o600)
            os.dup2(opened, number)
        sys.argv = ["cl-analyze", *request["arguments"]]
        from cl_analyze.cli import entry

        listen = entry._listen_to_signals

        def listen_and_say() -> None:
            listen()
            os.close(listens)

        entry._listen_to_signals = listen_and_say
        entry.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - a crash is what a test may look for
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 1
        os._exit(code)


def _send(pid: int, signals: Sequence[tuple[float, int]], listens: int) -> None:
    """Send a child signals at their moments after it listens, unless it has ended by then."""
    if not signals:
        return
    os.read(listens, 1)  # the end of the file: a fork that does not listen yet is no program yet
    ended, started = os.pidfd_open(pid), time.monotonic()
    try:
        for moment, number in signals:
            left = max(0.0, started + moment - time.monotonic())
            if select.select([ended], [], [], left)[0]:
                return
            signal.pidfd_send_signal(ended, number)
    finally:
        os.close(ended)


def serve(more: Sequence[str]) -> None:
    """Import what the commands import, then run a command line a line of standard input.

    Args:
        more: modules to import as well.
    """
    import importlib

    for name in (
        "cli.app", "cli.gate", "cli.terminal", "analysis", "comparison", "checks", "checks.junit",
        "checks.text", "api", "report.html", "report.text", "figures.matplotlib_renderer",
        "figures.catalogue",
    ):  # fmt: skip
        importlib.import_module(f"cl_analyze.{name}")
    for name in (
        "scipy.special", "scipy.optimize", "matplotlib.figure", "matplotlib.backends.backend_agg",
        "PIL.PngImagePlugin", "jinja2", "rich.console", "multiprocessing.connection", *more,
    ):  # fmt: skip
        importlib.import_module(name)
    from cl_analyze.cli import app

    with contextlib.redirect_stdout(io.StringIO()):  # the parser imports more as it parses
        app.app(["--version"], standalone_mode=False)
        app.app(["inspect", "--help"], standalone_mode=False)
    gc.freeze()  # the collector of a fork touches, and so copies, nothing of what is here
    for line in sys.stdin.buffer:
        request = json.loads(line)
        listens, closed = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(request, closed)
        os.close(closed)
        _send(pid, request["signals"], listens)
        os.close(listens)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1:])
