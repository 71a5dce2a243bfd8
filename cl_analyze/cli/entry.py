"""The console script.  Exit codes: 0 done, 1 a check failed, 2 could not judge, 130/143 stopped.

The script installs signal handlers before it imports other modules, so that Ctrl-C never prints a
traceback.
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

CHECK_FAILED = 1  # only the verdict of `check` may use this code
COULD_NOT_JUDGE = 2
INTERRUPTED = 130
TERMINATED = 143
_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}


class _Terminated(BaseException):
    """The process received SIGTERM."""


_stopped: list[int] = []
"""Exit codes of the received signals.  Libraries may replace the exceptions of the handlers."""


def _on_signal(signum: int, frame: FrameType | None) -> NoReturn:
    _let_signals_end_the_process()  # a second signal ends the process
    _stopped.append(_CODES[signal.Signals(signum)])
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    raise _Terminated


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    """Exit immediately: all output has been written."""
    os._exit(_CODES[signal.Signals(signum)])


def _listen_to_signals() -> None:
    """Install handlers that stop the run in good order; an ignored SIGINT stays ignored."""
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
        arguments: arguments without the program's name; None: the arguments of this process.
    """
    for name in ("stdin", "stdout", "stderr"):  # a stream closed by the caller becomes empty
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    code = COULD_NOT_JUDGE
    try:
        _listen_to_signals()
        argument_list = list(sys.argv[1:] if arguments is None else arguments)
        if arguments is None and _is_memory_limited():
            from cl_analyze.cli.supervised import supervised

            code = supervised(lambda: _exit_code(argument_list))
        else:
            code = _exit_code(argument_list)
        _let_signals_end_the_process(_leave)
    except (
        KeyboardInterrupt,
        _Terminated,
    ):  # at the start or the end of the run: never exit code 1
        code = _stopped[0] if _stopped else INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _silence()
    if arguments is None:  # a signal could interrupt the shutdown of the interpreter
        import atexit

        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _is_memory_limited() -> bool:
    """Whether the memory of this process is limited.

    At the limit, BLAS can end the process with exit code 1.
    """
    try:
        import resource
    except ImportError:  # Windows
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _silence() -> None:
    """Redirect stdout and stderr to the null device, so that the last flush cannot fail."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nothing, number)


def complain(text: str) -> None:
    """Write a line to stderr; ignore a closed stderr."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def _resume_folder(arguments: list[str]) -> str | None:
    """The folder of --resume, of which the parser takes the last; None without the option."""
    folder = None
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        name, is_joined, value = argument.partition("=")
        if name == "--resume":
            folder = value if is_joined else following
    return folder


def _say_interrupted(arguments: list[str]) -> None:
    """Say on stderr what an interrupted run has kept, and how to resume."""
    can_resume = arguments[:1] not in (["inspect"], [])
    outcome = "nothing was written"
    folder = _resume_folder(arguments)
    if folder is not None:
        from cl_analyze.cli.terminal import shown

        outcome = f"what was computed is kept in {shown(folder)}: the same command goes on from it"
    elif can_resume:
        outcome += "; with --resume DIR the same command would go on from where it was"
    if not {"-q", "--quiet"} & set(arguments):
        complain(f"interrupted: {outcome}")


def _exit_code(arguments: list[str]) -> int:
    try:
        return _run(arguments)
    except (KeyboardInterrupt, _Terminated) as stop:
        _say_interrupted(arguments)
        return INTERRUPTED if isinstance(stop, KeyboardInterrupt) else TERMINATED
    except Exception as error:  # a crash means "could not judge", not a failed check
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

        if isinstance(error, ReaderGoneError | BrokenPipeError):  # not an error of the run
            _silence()
            return 0
        if os.environ.get("CL_ANALYZE_TRACEBACK") and not isinstance(error, AnalysisError):
            import traceback

            complain(traceback.format_exc())
            return COULD_NOT_JUDGE
        complain(f"Error: {shown(error_text(error))}")
        for note in getattr(error, "__notes__", ()) if isinstance(error, AnalysisError) else ():
            complain(shown(note))
        is_for_the_user = isinstance(error, AnalysisError)
        if not (is_for_the_user or is_out_of_memory(error) or is_of_the_system(error)):
            complain(
                "This is a bug in cl-analyze. Set CL_ANALYZE_TRACEBACK=1 to see where, and "
                "report it with the command line."
            )
        return COULD_NOT_JUDGE


def _run(arguments: list[str]) -> int:
    import gc
    import warnings

    shell = os.environ.get("_CL_ANALYZE_COMPLETE", "")
    if shell.startswith("complete_"):
        from cl_analyze.cli.completion import SHELLS, answer

        if shell in SHELLS:
            text, code = answer(shell, os.environ)
            sys.stdout.write(f"{text}\n" if text else "")
            return code

    gc.disable()  # nothing that is imported becomes garbage
    try:
        import typer

        from cl_analyze.cli.app import app
    finally:
        gc.freeze()
        gc.enable()

    if not sys.warnoptions:  # warnings for developers are not part of the output
        warnings.simplefilter("ignore")

    try:
        # a command adds the defaults of the project's file to `arguments`
        code = app(
            args=list(arguments), prog_name="cl-analyze", standalone_mode=False, obj=arguments
        )
    except typer.Abort:
        return COULD_NOT_JUDGE
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # only errors of the parser have this method; Typer does not export their class
            raise
        _complain_of_usage(error)
        return COULD_NOT_JUDGE
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else COULD_NOT_JUDGE if stop.code else 0
    if _stopped:  # Typer converts the exception of the handler to an exit code
        raise KeyboardInterrupt if _stopped[0] == INTERRUPTED else _Terminated
    return COULD_NOT_JUDGE if code == CHECK_FAILED else code if isinstance(code, int) else 0


def _complain_of_usage(error: Any) -> None:
    from cl_analyze.cli.terminal import shown

    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the message of this error is the help
        complain(error.format_message())
        return
    if context is not None:
        complain(context.get_usage())
        complain(f"Try '{context.command_path} --help' for help.\n")
    complain(f"Error: {shown(error.format_message())}")
