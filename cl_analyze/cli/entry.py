"""The console script.  Exit codes: 0 done, 1 a check failed, 2 could not judge, 130/143 stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

CHECK_FAILED = 1
COULD_NOT_JUDGE = 2
INTERRUPTED = 130
TERMINATED = 143


class CheckFailed(Exception):
    """A gate's verdict is fail: the one way to exit code 1."""


class _Terminated(BaseException):
    """SIGTERM arrived."""


def _on_sigterm(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: without the program's name; None: those of this process.
    """
    signal.signal(signal.SIGTERM, _on_sigterm)
    sys.exit(_exit_code(list(sys.argv[1:] if arguments is None else arguments)))


def _exit_code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except CheckFailed:
        return CHECK_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except _Terminated:
        return TERMINATED
    except BrokenPipeError:
        # the reader of stdout has what it wanted (| head): not our failure
        sys.stdout = open(os.devnull, "w")
        return 0
    except Exception as error:
        from cl_analyze.errors import AnalysisError

        if isinstance(error, AnalysisError):
            print(f"Error: {error}", file=sys.stderr)
        elif os.environ.get("CL_ANALYZE_TRACEBACK"):
            raise
        else:
            print(
                f"Error: internal error: {type(error).__name__}: {error}\n"
                "This is a bug in cl-analyze. Set CL_ANALYZE_TRACEBACK=1 to see where, and "
                "report it with the command line.",
                file=sys.stderr,
            )
        return COULD_NOT_JUDGE


def _run(arguments: list[str]) -> int:
    from cl_analyze.cli.app import app

    try:
        app(args=arguments, prog_name="cl-analyze")
    except SystemExit as stop:
        # Typer's own exits: 0 help and version, 2 usage, 130 Ctrl-C; its 1s are aborts and pipes
        code = stop.code if isinstance(stop.code, int) else COULD_NOT_JUDGE if stop.code else 0
        if code == CHECK_FAILED:
            return COULD_NOT_JUDGE
        sys.stdout.flush()
        return code
    sys.stdout.flush()
    return 0
