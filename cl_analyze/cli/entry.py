"""The console script.  Exit codes: 0 done, 1 a check failed, 2 could not judge, 130/143 stopped.

It imports next to nothing before it listens to signals, so that Ctrl-C never prints a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Any, NoReturn

CHECK_FAILED = 1  # the verdict of a gate: nothing else may end with it
COULD_NOT_JUDGE = 2
INTERRUPTED = 130
TERMINATED = 143
_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class _Terminated(BaseException):
    """SIGTERM arrived."""


_stopped: list[int] = []
"""Exit codes of the signals that arrived: libraries may turn what these raise into other errors."""


def _on_signal(signum: int, frame: FrameType | None) -> NoReturn:
    _let_signals_end_the_process()  # the second one does
    _stopped.append(_CODES[signal.Signals(signum)])
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    raise _Terminated


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    """End at once: all that was to be written is written."""
    os._exit(_CODES[signal.Signals(signum)])


def _listen_to_signals() -> None:
    """Let SIGTERM, and SIGINT unless it is ignored, stop the run in good order."""
    signal.signal(signal.SIGTERM, _on_signal)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_signal)


def _let_signals_end_the_process(handler: object = signal.SIG_DFL) -> None:
    for number in _CODES:
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, handler)  # type: ignore[arg-type]


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
        given = list(sys.argv[1:] if arguments is None else arguments)
        if arguments is None and _is_memory_limited():
            from cl_analyze.cli.supervised import supervised

            code = supervised(lambda: _exit_code(given))
        else:
            code = _exit_code(given)
        _let_signals_end_the_process(_leave)
    except (KeyboardInterrupt, _Terminated):  # as the run begins or ends: never with exit code 1
        code = _stopped[0] if _stopped else INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence()
    if arguments is None:  # a signal would end the interpreter's own end
        import atexit

        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _is_memory_limited() -> bool:
    """Whether this process has a limit of its memory, at which BLAS ends it with exit code 1."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _silence() -> None:
    """Point both streams at nothing, so that the interpreter's last flush cannot fail."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nothing, number)


def complain(text: str) -> None:
    """A line on stderr, where it can be written."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _say_interrupted(arguments: list[str]) -> None:
    """What is left of a run that was stopped, and how to go on."""
    long = arguments[:1] not in (["inspect"], [])
    kept = "nothing was written"
    if any(argument.partition("=")[0] == "--resume" for argument in arguments):
        kept = "what was computed is kept: the same command goes on from there"
    elif long:
        kept += "; with --resume DIR the same command would go on from where it was"
    if not {"-q", "--quiet"} & set(arguments):
        complain(f"interrupted: {kept}")


def _exit_code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except (KeyboardInterrupt, _Terminated) as stop:
        _say_interrupted(arguments)
        return INTERRUPTED if isinstance(stop, KeyboardInterrupt) else TERMINATED
    except Exception as error:  # every crash is "could not judge", never a verdict
        if _stopped:
            _say_interrupted(arguments)
            return _stopped[0]
        from cl_analyze.cli.terminal import ReaderGoneError, shown
        from cl_analyze.errors import (
            AnalysisError,
            CheckFailedError,
            error_text,
            is_of_the_system,
            is_out_of_memory,
        )

        if isinstance(error, CheckFailedError):
            return CHECK_FAILED

        if isinstance(error, ReaderGoneError | BrokenPipeError):  # not our failure
            _silence()
            return 0
        if os.environ.get("CL_ANALYZE_TRACEBACK") and not isinstance(error, AnalysisError):
            import traceback

            complain(traceback.format_exc())
            return COULD_NOT_JUDGE
        complain(f"Error: {shown(error_text(error))}")
        ours = isinstance(error, AnalysisError)
        if not (ours or is_out_of_memory(error) or is_of_the_system(error)):
            complain(
                "This is a bug in cl-analyze. Set CL_ANALYZE_TRACEBACK=1 to see where, and "
                "report it with the command line."
            )
        return COULD_NOT_JUDGE


def _run(arguments: list[str]) -> int:
    import warnings

    import typer

    from cl_analyze.cli.app import app

    if not sys.warnoptions:  # what libraries say to programmers is no part of the output
        warnings.simplefilter("ignore")

    try:
        code = app(args=arguments, prog_name="cl-analyze", standalone_mode=False)
    except typer.Abort:
        return COULD_NOT_JUDGE
    except Exception as error:
        if not hasattr(error, "format_message"):  # the parser's errors, which Typer hides
            raise
        _complain_of_usage(error)
        return COULD_NOT_JUDGE
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else COULD_NOT_JUDGE if stop.code else 0
    if _stopped:  # Typer makes an exit code of what the signal raised
        raise KeyboardInterrupt if _stopped[0] == INTERRUPTED else _Terminated
    return COULD_NOT_JUDGE if code == CHECK_FAILED else code if isinstance(code, int) else 0


def _complain_of_usage(error: Any) -> None:
    from cl_analyze.cli.terminal import shown

    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help
        complain(error.format_message())
        return
    if context is not None:
        complain(context.get_usage())
        complain(f"Try '{context.command_path} --help' for help.\n")
    complain(f"Error: {shown(error.format_message())}")
