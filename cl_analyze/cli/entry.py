"""The console script.  Exit codes: 0 done, 1 a check failed, 2 could not judge, 130/143 stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

CHECK_FAILED = 1  # the verdict of a gate: nothing else may end with it
COULD_NOT_JUDGE = 2
INTERRUPTED = 130
TERMINATED = 143


class _Terminated(BaseException):
    """SIGTERM arrived."""


_stopped: list[int] = []
"""Exit codes of the signals that arrived: libraries may turn what these raise into other errors."""


def _on_signal(signum: int, frame: FrameType | None) -> NoReturn:
    _let_signals_end_the_process()  # the second one does
    if signum == signal.SIGINT:
        _stopped.append(INTERRUPTED)
        raise KeyboardInterrupt
    _stopped.append(TERMINATED)
    raise _Terminated


def _listen_to_signals() -> None:
    """Let SIGTERM, and SIGINT unless it is ignored, stop the run in good order."""
    signal.signal(signal.SIGTERM, _on_signal)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_signal)


def _let_signals_end_the_process() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, signal.SIG_DFL)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: without the program's name; None: those of this process.
    """
    for name in ("stdin", "stdout", "stderr"):  # closed by the caller: reads and writes nothing
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    code = COULD_NOT_JUDGE
    try:
        _listen_to_signals()
        code = _exit_code(list(sys.argv[1:] if arguments is None else arguments))
        _let_signals_end_the_process()
    except (KeyboardInterrupt, _Terminated):  # as the run begins or ends: never with exit code 1
        code = _stopped[0] if _stopped else INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence()
    sys.exit(code)


def _silence() -> None:
    """Point both streams at nothing, so that the interpreter's last flush cannot fail."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nothing, number)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _exit_code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except _Terminated:
        return TERMINATED
    except Exception as error:  # every crash is "could not judge", never a verdict
        if _stopped:
            return _stopped[0]
        from cl_analyze.cli.terminal import ReaderGoneError
        from cl_analyze.errors import AnalysisError, CheckFailedError

        if isinstance(error, CheckFailedError):
            return CHECK_FAILED

        if isinstance(error, ReaderGoneError | BrokenPipeError):  # not our failure
            _silence()
            return 0
        if isinstance(error, AnalysisError):
            _complain(f"Error: {error}")
        elif os.environ.get("CL_ANALYZE_TRACEBACK"):
            import traceback

            _complain(traceback.format_exc())
        else:
            _complain(
                f"Error: internal error: {type(error).__name__}: {error}\n"
                "This is a bug in cl-analyze. Set CL_ANALYZE_TRACEBACK=1 to see where, and "
                "report it with the command line."
            )
        return COULD_NOT_JUDGE


def _run(arguments: list[str]) -> int:
    from cl_analyze.cli.app import app

    try:
        app(args=arguments, prog_name="cl-analyze")
    except SystemExit as stop:
        # Typer's own exits: 0 help and version, 2 usage, 130 Ctrl-C; its 1s are aborts and pipes
        code = stop.code if isinstance(stop.code, int) else COULD_NOT_JUDGE if stop.code else 0
        return COULD_NOT_JUDGE if code == CHECK_FAILED else code
    return 0
